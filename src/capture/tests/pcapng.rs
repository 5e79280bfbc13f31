//! Blocks and options of the pcapng file.

use super::super::pcapng::kind;
use super::*;

pub(super) fn section(file: Bytes) -> Bytes {
    let body = file.body().u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
    file.block(kind::SECTION_HEADER, body)
}

pub(super) fn interface(file: Bytes, link: u16, snaplen: u32) -> Bytes {
    let body = file.body().u16(link).u16(0).u32(snaplen);
    file.block(kind::INTERFACE, body)
}

pub(super) fn enhanced(file: Bytes, id: u32, time: u64, payload: &[u8], options: impl FnOnce(Bytes) -> Bytes) -> Bytes {
    let len = payload.len() as u32;
    let body = file
        .body()
        .u32(id)
        .u32((time >> 32) as u32)
        .u32(time as u32)
        .u32(len)
        .u32(len)
        .padded(payload);
    file.block(kind::ENHANCED_PACKET, options(body))
}

#[test]
fn sections_of_different_byte_order_each_with_their_own_interfaces() {
    let mut file = Bytes::new(ByteOrder::Little);
    for order in [ByteOrder::Little, ByteOrder::Big] {
        file.order = order;
        let body = file.body().u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
        let body = body
            .option(4, b"dumpcap")
            .option(3, b"Windows")
            .option(1, b"note")
            .option(0, b"");
        file = file.block(kind::SECTION_HEADER, body);
        // Microseconds by default; nanoseconds and an hour of offset; 2^-10 seconds.
        file = interface(file, 1, 0);
        let hour = file.body().u64(3600).bytes;
        let body = file
            .body()
            .u16(101)
            .u16(0)
            .u32(96)
            .option(9, &[9])
            .option(14, &hour)
            .option(2, b"eth1");
        file = file.block(
            kind::INTERFACE,
            body.option(11, b"\0port 3389").option(3, b"the card").option(0, b""),
        );
        let body = file.body().u16(113).u16(0).u32(0).option(9, &[0x8a]);
        file = file.block(kind::INTERFACE, body);
        file = enhanced(file, 1, 7, b"raw", |o| o);
        file = enhanced(file, 0, 1_500_000, b"ethernet", |o| o);
        file = enhanced(file, 2, 1536, b"cooked", |o| o);
    }
    let outcome = read(&file.bytes);
    assert_eq!(outcome.shortfalls(), [] as [&str; 0]);
    let seen: Vec<_> = outcome.frames.iter().map(|f| (f.no, f.interface, f.link, f.at)).collect();
    let hour = 3_600_000_000_000;
    assert_eq!(
        seen,
        [
            (1, 1, 101, hour + 7),
            (2, 0, 1, 1_500_000_000),
            (3, 2, 113, 1_500_000_000),
            (4, 4, 101, hour + 7),
            (5, 3, 1, 1_500_000_000),
            (6, 5, 113, 1_500_000_000),
        ]
    );
    let summary = outcome.summary;
    assert_eq!(summary.format, "pcapng");
    assert_eq!(summary.link_types, [LinkType::RAW, LinkType::ETHERNET, LinkType::LINUX_SLL]);
    assert_eq!(summary.sections.len(), 2);
    assert_eq!(summary.sections[1].application.as_deref(), Some("dumpcap"));
    assert_eq!(summary.sections[1].os.as_deref(), Some("Windows"));
    assert_eq!(summary.sections[1].comments, ["note"]);
    assert_eq!(summary.interfaces.len(), 6);
    let named = &summary.interfaces[4];
    assert_eq!(named.name.as_deref(), Some("eth1"));
    assert_eq!(named.description.as_deref(), Some("the card"));
    assert_eq!(named.filter.as_deref(), Some("port 3389"));
    assert_eq!(
        (named.snaplen, named.resolution, named.link),
        (96, Resolution::NANOS, LinkType::RAW)
    );
}

#[test]
fn flags_comments_and_drops_of_a_packet() {
    for order in ORDERS {
        let file = interface(section(Bytes::new(order)), 1, 0);
        let word = |n| Bytes::new(order).u32(n).bytes;
        let long = |n| Bytes::new(order).u64(n).bytes;
        let file = enhanced(file, 0, 1, b"in", |o| {
            o.option(1, b"one").option(2, &word(1)).option(1, b"two").option(0, b"")
        });
        let file = enhanced(file, 0, 2, b"out.", |o| {
            o.option(2, &word(2)).option(4, &long(5)).option(0, b"")
        });
        let file = enhanced(file, 0, 3, b"none", |o| o.option(2, &word(0)).option(4, &long(2)));
        let outcome = read(&file.bytes);
        assert_eq!(outcome.payloads(), [&b"in"[..], b"out.", b"none"]);
        assert_eq!(outcome.frames[0].comments, ["one", "two"]);
        let directions: Vec<_> = outcome.frames.iter().map(|f| f.direction).collect();
        assert_eq!(directions, [Some(Direction::Inbound), Some(Direction::Outbound), None]);
        assert_eq!(outcome.summary.interfaces[0].dropped, Some(7));
    }
}

#[test]
fn simple_and_obsolete_packets() {
    for order in ORDERS {
        let mut file = interface(interface(section(Bytes::new(order)), 1, 8), 101, 0);
        file = enhanced(file, 0, 1_000_000, b"before", |o| o);
        let body = file.body().u32(20).raw(b"cut by s");
        file = file.block(kind::SIMPLE_PACKET, body);
        let body = file.body().u32(3).padded(b"abc");
        file = file.block(kind::SIMPLE_PACKET, body);
        let flags = file.body().u32(2).bytes;
        let body = file
            .body()
            .u16(1)
            .u16(4)
            .u32(0)
            .u32(9)
            .u32(5)
            .u32(50)
            .padded(b"older")
            .option(2, &flags);
        file = file.block(kind::OBSOLETE_PACKET, body);
        let outcome = read(&file.bytes);
        assert_eq!(outcome.payloads(), [&b"before"[..], b"cut by s", b"abc", b"older"]);
        let seen: Vec<_> = outcome
            .frames
            .iter()
            .map(|f| (f.no, f.at, f.link, f.wire_len, f.direction))
            .collect();
        let second = 1_000_000_000;
        assert_eq!(
            seen,
            [
                (1, second, 1, 6, None),
                (2, second, 1, 20, None),
                (3, second, 1, 3, None),
                (4, 9_000, 101, 50, Some(Direction::Outbound)),
            ]
        );
        assert_eq!(outcome.summary.interfaces[1].dropped, Some(4));
        assert_eq!(
            outcome.shortfalls(),
            ["simple packets carry no time; each is given that of the packet before"]
        );
    }
}

#[test]
fn statistics_count_drops_of_interface_and_system() {
    for order in ORDERS {
        let mut file = interface(section(Bytes::new(order)), 1, 0);
        for (interface, system) in [(1, 2), (10, 20)] {
            let [interface, system] = [interface, system].map(|n| Bytes::new(order).u64(n).bytes);
            let body = file
                .body()
                .u32(0)
                .u64(0)
                .option(5, &interface)
                .option(7, &system)
                .option(0, b"");
            file = file.block(kind::STATISTICS, body);
        }
        // For an interface that does not exist.
        let body = file.body().u32(9).u64(0).option(5, &[1; 8]);
        file = file.block(kind::STATISTICS, body);
        assert_eq!(read(&file.bytes).summary.interfaces[0].dropped, Some(30));
    }
}

#[test]
fn tls_secrets_come_out_and_other_blocks_do_not_matter() {
    for order in ORDERS {
        let mut file = section(Bytes::new(order));
        let body = file.body().u32(0x544c_534b).u32(13).padded(b"CLIENT_RANDOM");
        file = file.block(kind::SECRETS, body);
        // WireGuard keys, names, custom data, a block of the future.
        let body = file.body().u32(0x5747_4b4c).u32(4).raw(b"keys");
        file = file.block(kind::SECRETS, body);
        for unknown in [kind::NAME_RESOLUTION, kind::CUSTOM, kind::SYSTEMD_JOURNAL, 0x7777] {
            let body = file.body().raw(&[0xee; 400]);
            file = file.block(unknown, body);
        }
        file = enhanced(interface(file, 1, 0), 0, 0, b"x", |o| o);
        let outcome = read(&file.bytes);
        assert_eq!(outcome.secrets, [b"CLIENT_RANDOM"]);
        assert_eq!(outcome.frames.len(), 1);
        assert_eq!(outcome.shortfalls(), [] as [&str; 0]);
    }
}

#[test]
fn a_packet_that_cannot_be_placed_still_has_its_number() {
    let file = interface(section(Bytes::new(ByteOrder::Little)), 1, 0);
    let file = enhanced(file, 7, 0, b"nowhere", |o| o);
    let file = enhanced(file, 0, 0, b"here", |o| o);
    let outcome = read(&file.bytes);
    assert_eq!(outcome.frames.iter().map(|f| f.no).collect::<Vec<_>>(), [2]);
    assert_eq!(outcome.summary.shortfalls[0].after_frame, Some(FrameNo::new(1)));
    assert!(outcome.shortfalls()[0].contains("names an interface that is not described"));
}

#[test]
fn descriptions_of_interfaces_are_bounded() {
    let mut file = section(Bytes::new(ByteOrder::Little));
    let name = vec![b'n'; 60_000];
    for _ in 0..5000 {
        let body = file
            .body()
            .u16(1)
            .u16(0)
            .u32(0)
            .option(2, if file.bytes.len() < 9_000_000 { &name } else { b"n" });
        file = file.block(kind::INTERFACE, body);
    }
    file = enhanced(file, 4999, 0, b"last", |o| o);
    let outcome = drain(source(&file.bytes).unwrap()).unwrap();
    assert_eq!(outcome.frames[0].interface, 4999);
    let kept: usize = outcome
        .summary
        .interfaces
        .iter()
        .filter_map(|i| i.name.as_ref())
        .map(String::len)
        .sum();
    assert!(kept <= 4 << 20, "{kept}");
    assert_eq!(outcome.shortfalls(), ["904 further interfaces are not described"]);
}
