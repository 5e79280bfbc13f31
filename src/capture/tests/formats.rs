//! Telling formats, and what is said of those that cannot be read.

use std::fs;
use std::io::Write;

use super::*;

fn refused(file: &[u8]) -> CaptureError {
    match source(file) {
        Err(error) => error,
        Ok(source) => panic!("opened as {}", source.summary().format),
    }
}

#[track_caller]
fn needs(file: &[u8], kind: &str, command: &str) {
    match refused(file) {
        CaptureError::NeedsConversion { what, convert, .. } => assert_eq!((what, convert.as_str()), (kind, command)),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn neither(file: &[u8], words: &str) {
    match refused(file) {
        CaptureError::NotACapture { what, .. } => assert_eq!(what, words),
        other => panic!("{other}"),
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(data, flate2::Compression::fast())
        .read_to_end(&mut out)
        .unwrap();
    out
}

/// The begin of a Windows event trace: buffer header, event header, log file header, names in UTF-16.
fn event_trace(logger: &str) -> Vec<u8> {
    let mut file = Bytes::new(ByteOrder::Little).u32(0x1_0000).raw(&[0; 68]);
    file = file.raw(&[2, 0, 2, 0xc0]).raw(&[0; 28]).u32(0x1_0000).raw(&[0; 276]);
    let name: Vec<u8> = logger.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut file = file.raw(&name).bytes;
    file.resize(0x1_0000, 0xff);
    file
}

#[test]
fn foreign_captures_come_with_the_command_that_converts_them() {
    needs(
        b"RTSS\x01\x01aaaaaaaaaaaa",
        "a Microsoft Network Monitor 1 capture",
        "editcap x.cap x.pcapng",
    );
    needs(
        b"GMBU\x00\x02aaaaaaaaaaaa",
        "a Microsoft Network Monitor 2 capture",
        "editcap x.cap x.pcapng",
    );
    needs(
        b"snoop\0\0\0\0\0\0\x02\0\0\0\x04",
        "a snoop capture",
        "editcap x.cap x.pcapng",
    );
    needs(b"TRSNIFF data    \x1a\0", "a Sniffer capture", "editcap x.cap x.pcapng");
    needs(b"XCP\0\x30\x30\x32\x2e\0\0", "a NetXRay capture", "editcap x.cap x.pcapng");
    needs(
        &gzip(b"snoop\0\0\0\0\0\0\x02\0\0\0\x04"),
        "a snoop capture",
        "gzip -dk x.cap && editcap x.cap x.pcapng",
    );
    let mut erf = Vec::new();
    for i in 0..3u32 {
        erf.extend(0x8000_0000u32.to_le_bytes());
        erf.extend((BEGIN + i).to_le_bytes());
        erf.extend([2, 4, 0, 20 + 60, 0, 0, 0, 60]);
        erf.extend([0; 64]);
    }
    needs(&erf, "an ERF capture (Endace)", "editcap x.cap x.pcapng");
}

#[test]
fn the_two_kinds_of_event_trace_are_told_apart() {
    let pktmon = "pktmon etl2pcap x.cap --out x.pcapng";
    let netsh = "etl2pcapng x.cap x.pcapng";
    needs(&event_trace("PktMon"), "a Windows event trace made by pktmon", pktmon);
    needs(
        &event_trace("C:\\Windows\\System32\\pktmon.etl"),
        "a Windows event trace made by pktmon",
        pktmon,
    );
    needs(
        &event_trace("-NetTrace-LAB-admin"),
        "a Windows event trace made by netsh trace",
        netsh,
    );
    let CaptureError::NeedsConversion { what, convert, .. } = refused(&event_trace("NT Kernel Logger")) else {
        panic!("an event trace")
    };
    assert_eq!(what, "a Windows event trace");
    assert!(convert.contains(pktmon) && convert.contains(netsh));
}

#[test]
fn archives_are_named() {
    needs(b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaa", "a zip archive", "unzip x.cap -d x");
    needs(b"7z\xbc\xaf\x27\x1c\0\x04aaaaaaaaa", "a 7z archive", "7z x x.cap");
    needs(b"BZh91AY&SYaaaaaaaaa", "a bzip2 file", "bunzip2 -k x.cap");
    let cabinet = "a cabinet such as netsh trace makes; the capture is the .etl in it";
    needs(b"MSCF\0\0\0\0aaaaaaaaaaaa", cabinet, "expand x.cap -F:*.etl .");
}

#[test]
fn what_is_no_capture_is_said_in_one_line() {
    neither(b"ElfFile\0\0\0\0\0\0\0\0\0\0\0", "a Windows event log, .evtx");
    neither(b"12:00:01 IP 10.0.0.1 > 10.0.0.2: Flags [S]\n", "a text file");
    neither("\u{feff}Größe".as_bytes(), "a text file");
    neither(b"hi", "a text file");
    neither(&gzip(b"hello"), "inside gzip: a text file");
    neither(&gzip(b""), "a gzip file with nothing in it");
    neither(
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff],
        "unknown, begins with 00 01 02 03 04 05 06 07; if Wireshark opens it, convert it with: editcap x.cap x.pcapng",
    );
    neither(&pcap_of(1)[..20], "a pcap file cut short, 20 bytes into its header of 24");
    let mangled: Vec<u8> = pcapng_of(1)
        .iter()
        .flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] })
        .collect();
    neither(
        &mangled,
        "a pcapng file that a transfer in text mode has destroyed; transfer it again in binary mode",
    );
    let CaptureError::NotACapture { what, .. } = refused(&gzip(&pcap_of(9))[..12]) else {
        panic!("not a capture")
    };
    assert!(what.starts_with("a damaged gzip file"), "{what}");
    assert!(matches!(refused(b""), CaptureError::Empty { .. }));
    assert_eq!(refused(b"").to_string(), "x.cap: the file is empty");
    let Err(nothing) = open_stream(Box::new(io::empty()), Path::new("-"), DIRECT) else {
        panic!("nothing to read")
    };
    assert_eq!(nothing.to_string(), "standard input: the file is empty");
}

#[test]
fn file_names_in_commands_are_quoted_where_they_need_it() {
    let stream = Box::new(Cursor::new(b"snoop\0\0\0\0\0\0\x02\0\0\0\x04".to_vec()));
    let path = Path::new("my OUT dir/of FILE.v1.cap");
    let Err(CaptureError::NeedsConversion { convert, .. }) = open_stream(stream, path, DIRECT) else {
        panic!("snoop")
    };
    assert_eq!(
        convert,
        "editcap \"my OUT dir/of FILE.v1.cap\" \"my OUT dir/of FILE.v1.pcapng\""
    );
}

#[test]
fn every_compression_of_every_format() {
    for (file, name) in [(pcap_of(50), "pcap"), (pcapng_of(50), "pcapng")] {
        let plain = read(&file);
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&file).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&file[..], 1).read_to_end(&mut xz).unwrap();
        for (packed, compression) in [
            (gzip(&file), "gzip"),
            (zstd::encode_all(&file[..], 1).unwrap(), "zstd"),
            (lz4.finish().unwrap(), "lz4"),
            (xz, "xz"),
        ] {
            let outcome = read(&packed);
            assert_eq!(outcome.frames, plain.frames, "{compression}");
            assert_eq!(outcome.summary.format, format!("{name}, {compression}"));
            assert_eq!(outcome.summary.bytes, packed.len() as u64);
            assert_eq!(outcome.shortfalls(), [] as [&str; 0]);
        }
    }
}

#[test]
fn files_directories_and_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("deep/deeper")).unwrap();
    fs::create_dir(at(".hidden")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    for (name, bytes) in [
        ("b.txt", pcap_of(1)),
        ("a.bin", gzip(&pcapng_of(2))),
        ("deep/deeper/c.etl", event_trace("PktMon")),
        ("deep/notes.pcap", b"not a capture at all".to_vec()),
        ("deep/list.zip", b"PK\x03\x04aaaaaaaaaaaaaaaa".to_vec()),
        (".hidden/d.pcap", pcap_of(1)),
        (".e.pcap", pcap_of(1)),
        ("nothing", vec![]),
    ] {
        fs::write(at(name), bytes).unwrap();
    }
    assert_eq!(
        expand(dir.path()).unwrap(),
        [at("a.bin"), at("b.txt"), at("deep/deeper/c.etl")]
    );
    assert_eq!(expand(&at("deep/notes.pcap")).unwrap(), [at("deep/notes.pcap")]);
    assert_eq!(expand(Path::new("-")).unwrap(), [Path::new("-")]);
    let none = expand(&at("empty")).unwrap_err();
    assert!(
        none.to_string()
            .ends_with("empty: not a packet capture (a directory without captures)"),
        "{none}"
    );
    let missing = expand(&at("missing")).unwrap_err();
    assert!(matches!(&missing, CaptureError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));

    let outcome = drain(open(&at("a.bin"), OpenOptions::default()).unwrap()).unwrap();
    assert_eq!(outcome.frames.len(), 2);
    assert_eq!(outcome.summary.path, at("a.bin"));
    let kind = |path: &Path| match open(path, OpenOptions::default()) {
        Err(CaptureError::Io { source, .. }) => source.kind(),
        _ => panic!("an error of the operating system"),
    };
    assert_eq!(kind(&at("missing")), io::ErrorKind::NotFound);
    assert_eq!(kind(dir.path()), io::ErrorKind::IsADirectory);
    assert!(matches!(
        open(&at("nothing"), OpenOptions::default()),
        Err(CaptureError::Empty { .. })
    ));
}

#[test]
fn a_large_file_is_the_same_with_one_thread_and_with_two() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.pcap");
    fs::write(&path, pcap_of(60_000)).unwrap();
    let [one, two] = [false, true].map(|read_ahead| drain(open(&path, OpenOptions { read_ahead }).unwrap()).unwrap());
    assert_eq!(one.frames.len(), 60_000);
    assert_eq!(one.frames, two.frames);
    assert_eq!(
        (one.summary.bytes, two.summary.bytes),
        (fs::metadata(&path).unwrap().len(), one.summary.bytes)
    );
}
