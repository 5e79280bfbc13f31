//! Variants of the classic pcap file.

use super::*;

pub(super) fn header(order: ByteOrder, magic: u32, link: u32) -> Bytes {
    Bytes::new(order).u32(magic).u16(2).u16(4).u32(0).u32(0).u32(65535).u32(link)
}

pub(super) fn record(file: Bytes, seconds: u32, fraction: u32, payload: &[u8], wire: u32) -> Bytes {
    file.u32(seconds)
        .u32(fraction)
        .u32(payload.len() as u32)
        .u32(wire)
        .raw(payload)
}

#[test]
fn microseconds_and_nanoseconds_in_both_byte_orders() {
    for order in ORDERS {
        for (magic, unit, name, resolution) in [
            (0xa1b2_c3d4, 1_000, "pcap", Resolution::MICROS),
            (0xa1b2_3c4d, 1, "pcap (nanoseconds)", Resolution::NANOS),
        ] {
            let file = record(header(order, magic, 1), BEGIN, 5, b"first", 5);
            let file = record(file, BEGIN + 1, 999_999, b"second", 1514);
            let outcome = read(&file.bytes);
            let frame = |no, at, bytes: &[u8], wire_len| Owned {
                no,
                at,
                link: 1,
                interface: 0,
                bytes: bytes.to_vec(),
                wire_len,
                direction: None,
                comments: vec![],
            };
            let begin = i64::from(BEGIN) * 1_000_000_000;
            let last = begin + 1_000_000_000 + 999_999 * unit;
            assert_eq!(
                outcome.frames,
                [frame(1, begin + 5 * unit, b"first", 5), frame(2, last, b"second", 1514)]
            );
            let summary = outcome.summary;
            assert_eq!(summary.shortfalls, []);
            assert_eq!(summary.format, name);
            assert_eq!((summary.packets, summary.bytes), (2, file.bytes.len() as u64));
            assert_eq!(
                (summary.first, summary.last),
                (Some(Timestamp(begin + 5 * unit)), Some(Timestamp(last)))
            );
            assert_eq!(summary.link_types, [LinkType::ETHERNET]);
            let [interface] = &summary.interfaces[..] else {
                panic!("one interface")
            };
            assert_eq!(
                (interface.snaplen, interface.link, interface.resolution),
                (65535, LinkType::ETHERNET, resolution)
            );
        }
    }
}

#[test]
fn bits_that_tell_of_a_frame_check_sequence_are_no_part_of_the_link_type() {
    // Length 2 times 16 bits, and the bit that says that the length is present.
    let file = record(header(ByteOrder::Big, 0xa1b2_c3d4, 0x2400_0001), BEGIN, 0, b"x", 1);
    assert_eq!(read(&file.bytes).frames[0].link, 1);
}

#[test]
fn the_modified_variant_has_longer_record_headers_with_a_direction() {
    for order in ORDERS {
        // Under its own magic number, and under the ordinary one; with the longer headers that SuSE made of it.
        for (magic, more) in [(0xa1b2_cd34, 0), (0xa1b2_c3d4, 0), (0xa1b2_cd34, 4)] {
            let mut file = header(order, magic, 1);
            for (packet_type, payload) in [(0u8, &b"received"[..]), (4, b"sent, and longer"), (3, b"overheard")] {
                let len = payload.len() as u32;
                file = file.u32(BEGIN).u32(1).u32(len).u32(len).u32(2).u16(0x0800);
                file = file.raw(&[packet_type, 0]).raw(&vec![0; more]).raw(payload);
            }
            let outcome = read(&file.bytes);
            assert_eq!(outcome.payloads(), [&b"received"[..], b"sent, and longer", b"overheard"]);
            let directions: Vec<_> = outcome.frames.iter().map(|f| f.direction).collect();
            assert_eq!(directions, [Some(Direction::Inbound), Some(Direction::Outbound), None]);
            assert_eq!(outcome.summary.shortfalls, []);
        }
    }
}

#[test]
fn the_lengths_of_old_versions_stand_the_other_way_round() {
    for (minor, lengths) in [(2, [9, 3]), (3, [3, 9]), (3, [9, 3]), (4, [3, 9])] {
        let mut file = Bytes::new(ByteOrder::Little).u32(0xa1b2_c3d4).u16(2).u16(minor);
        file = file.u32(0).u32(0).u32(3).u32(1);
        for payload in [b"abc", b"def", b"ghi"] {
            file = file.u32(BEGIN).u32(0).u32(lengths[0]).u32(lengths[1]).raw(payload);
        }
        let outcome = read(&file.bytes);
        assert_eq!(outcome.payloads(), [b"abc", b"def", b"ghi"], "2.{minor}");
        assert!(outcome.frames.iter().all(|f| f.wire_len == 9));
    }
}

#[test]
fn odd_but_right_records_are_read() {
    let mut file = header(ByteOrder::Little, 0xa1b2_c3d4, 101);
    // A clock that is set back to 1970 and forth, fractions above a second, a wire length that was not filled in.
    for (seconds, fraction, wire) in [
        (BEGIN, 1, 4),
        (5, 2, 4),
        (6, 3, 4),
        (BEGIN, 4, 4),
        (BEGIN, 5_000_000, 4),
        (BEGIN, 6, 2),
        (BEGIN, 7, 4),
        (BEGIN, 8, 4),
    ] {
        file = record(file, seconds, fraction, b"data", wire);
    }
    let outcome = read(&file.bytes);
    assert_eq!(outcome.frames.len(), 8);
    assert_eq!(outcome.summary.shortfalls, []);
    assert_eq!(outcome.frames[1].at, 5_000_002_000);
}

#[test]
fn a_file_without_packets_is_a_capture() {
    let outcome = read(&header(ByteOrder::Little, 0xa1b2_c3d4, 1).bytes);
    assert_eq!(outcome.frames, []);
    assert_eq!((outcome.summary.shortfalls.len(), outcome.summary.first), (0, None));
}

#[test]
fn files_joined_end_to_end_are_read_on() {
    let mut file = record(header(ByteOrder::Little, 0xa1b2_c3d4, 1), BEGIN, 0, b"one", 3).bytes;
    let other = header(ByteOrder::Big, 0xa1b2_3c4d, 101);
    file.extend(record(record(other, 5, 6, b"two", 3), 5, 7, b"three", 5).bytes);
    let outcome = read(&file);
    let seen: Vec<_> = outcome
        .frames
        .iter()
        .map(|f| (f.no, f.at, f.link, f.interface, f.bytes.len()))
        .collect();
    let begin = i64::from(BEGIN) * 1_000_000_000;
    assert_eq!(
        seen,
        [
            (1, begin, 1, 0, 3),
            (2, 5_000_000_006, 101, 1, 3),
            (3, 5_000_000_007, 101, 1, 5)
        ]
    );
    assert_eq!(
        outcome.shortfalls(),
        ["another pcap file was joined on here; other tools stop at this place"]
    );
    assert_eq!(outcome.summary.interfaces.len(), 2);
}
