//! What the writer writes, read back by the reader and by tshark.

use std::process::{Command, Stdio};

use super::super::pcapng::kind;
use super::*;

/// Copies a capture frame by frame, with a comment on every second frame.
fn copy(file: &[u8], section: &SectionSummary) -> Vec<u8> {
    // Interfaces are known once the source has been read.
    let interfaces = drain(source(file).unwrap()).unwrap().summary.interfaces;
    let mut writer = Writer::new(Vec::new(), section).unwrap();
    for interface in &interfaces {
        writer.interface(interface).unwrap();
    }
    let mut source = source(file).unwrap();
    while let Some(event) = source.next().unwrap() {
        match event {
            Event::Frame(frame) => {
                let comments = if frame.no.number() % 2 == 0 {
                    vec!["rdpwhy: the reset".to_owned()]
                } else {
                    vec![]
                };
                writer.frame(frame.interface, &frame, &comments).unwrap();
            }
            Event::Secrets(secrets) => writer.secrets(secrets).unwrap(),
        }
    }
    writer.finish().unwrap()
}

/// A capture with everything that the writer has to keep.
fn rich(order: ByteOrder) -> Vec<u8> {
    let mut file = pcapng::section(Bytes::new(order));
    let body = file
        .body()
        .u16(1)
        .u16(0)
        .u32(96)
        .option(9, &[9])
        .option(2, b"eth0")
        .option(3, b"uplink")
        .option(11, b"\0tcp");
    file = file.block(kind::INTERFACE, body.option(1, b"of an interface"));
    let body = file.body().u16(101).u16(0).u32(0).option(9, &[3]);
    file = file.block(kind::INTERFACE, body);
    let body = file.body().u32(0x544c_534b).u32(6).padded(b"secret");
    file = file.block(kind::SECRETS, body);
    let (flags, drops) = (file.body().u32(2).bytes, file.body().u64(3).bytes);
    let body = file.body().u32(0).u32(395_812).u32(12_345).u32(5).u32(1514).padded(b"12345");
    let body = body
        .option(1, b"was there")
        .option(2, &flags)
        .option(4, &drops)
        .option(1, b"this too");
    file = file.block(kind::ENHANCED_PACKET, body.option(3, &[2, 1, 2, 3, 4]));
    file = pcapng::enhanced(file, 1, u64::from(BEGIN) * 1000 + 7, b"raw packet", |o| o);
    file.bytes
}

#[test]
fn everything_survives_a_round_trip() {
    for order in ORDERS {
        let file = rich(order);
        let section = SectionSummary {
            application: Some("rdpwhy".into()),
            comments: vec!["refused".into(), "hash of the source".into()],
            ..SectionSummary::default()
        };
        let before = read(&file);
        let after = read(&copy(&file, &section));
        let mut expected = before.frames.clone();
        expected[1].comments.push("rdpwhy: the reset".into());
        assert_eq!(after.frames, expected);
        assert_eq!(after.frames[0].comments, ["was there", "this too"]);
        assert_eq!(
            (after.frames[0].wire_len, after.frames[0].direction),
            (1514, Some(Direction::Outbound))
        );
        assert_eq!(after.secrets, [b"secret"]);
        assert_eq!(after.summary.interfaces, before.summary.interfaces);
        assert_eq!(after.summary.interfaces[0].dropped, Some(3));
        assert_eq!(after.summary.sections, [section]);
        assert_eq!(after.shortfalls(), [] as [&str; 0]);
    }
}

#[test]
fn a_pcap_becomes_a_pcapng_of_the_same_resolution() {
    let outcome = read(&copy(&pcap_of(20), &SectionSummary::default()));
    assert_eq!(outcome.summary.interfaces[0].resolution, Resolution::MICROS);
    let plain = read(&pcap_of(20));
    assert!(
        outcome
            .frames
            .iter()
            .zip(&plain.frames)
            .all(|(a, b)| (a.at, &a.bytes) == (b.at, &b.bytes))
    );
    assert_eq!(outcome.frames.len(), 20);
}

#[test]
fn long_texts_are_clipped_and_wrong_frames_refused() {
    let mut writer = Writer::new(Vec::new(), &SectionSummary::default()).unwrap();
    let interface = InterfaceSummary {
        link: LinkType::ETHERNET,
        ..InterfaceSummary::default()
    };
    let id = writer.interface(&interface).unwrap();
    let frame = Frame {
        no: FrameNo::new(1),
        at: Timestamp(5_000),
        link: LinkType::ETHERNET,
        interface: 0,
        bytes: b"abc",
        wire_len: 3,
        direction: Some(Direction::Inbound),
        options: PacketOptions::default(),
    };
    writer.frame(id, &frame, &["ä".repeat(40_000)]).unwrap();
    for wrong in [
        Frame {
            link: LinkType::RAW,
            ..frame
        },
        Frame {
            at: Timestamp(-1),
            ..frame
        },
    ] {
        assert_eq!(writer.frame(id, &wrong, &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(writer.frame(9, &frame, &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    let outcome = read(&writer.finish().unwrap());
    assert_eq!(outcome.frames.len(), 1);
    assert_eq!(outcome.frames[0].comments, ["ä".repeat(32_767)]);
    assert_eq!(outcome.frames[0].direction, Some(Direction::Inbound));
    assert_eq!(outcome.frames[0].at, 5_000);
}

#[test]
fn tshark_shows_what_was_written() {
    if Command::new("tshark")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("SKIPPED: tshark is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.pcapng");
    std::fs::write(&path, copy(&rich(ByteOrder::Big), &SectionSummary::default())).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"]);
    for field in [
        "frame.number",
        "frame.time_epoch",
        "frame.len",
        "frame.cap_len",
        "frame.interface_id",
        "frame.comment",
    ] {
        tshark.args(["-e", field]);
    }
    let out = tshark.arg("-r").arg(&path).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rows = String::from_utf8(out.stdout).unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let time = (395_812u64 << 32) + 12_345;
    let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
    assert_eq!(
        rows,
        [
            format!("1|{seconds}.{nanos:09}|1514|5|0|was there;this too"),
            format!("2|{BEGIN}.007000000|10|10|1|rdpwhy: the reset"),
        ]
    );
}
