//! IP options and extension headers, TCP options, ICMP quotations, snap lengths, offload and checksums.

use std::net::{Ipv4Addr, SocketAddr};

use crate::capture::LinkType;

use super::super::checksum::{Checksum, of_frame, tcp_left_to_card, tcp_ok, udp_ok};
use super::super::{Body, Cut, CutReason, IcmpMessage, TcpFlags, decode, decode_checked};
use super::{before, ethernet, frame, ip4, segment, snapped, tcp4, tcp6, udp4};

/// An IPv6 packet whose payload begins with `extensions`, the first of which has the number `first`.
fn extended(first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut bytes = tcp6(b"rdp");
    let tail = bytes.split_off(40);
    bytes[6] = first;
    let len = (extensions.len() + tail.len()) as u16;
    bytes[4..6].copy_from_slice(&len.to_be_bytes());
    bytes.extend(extensions);
    bytes.extend(tail);
    bytes
}

#[test]
fn ipv4_options_and_ipv6_extension_headers_are_stepped_over() {
    let mut options = tcp4(b"rdp");
    options[0] = 0x46;
    options[3] += 4;
    options.splice(20..20, [0x94, 4, 0, 0]);
    let packet = decode(&frame(LinkType::RAW, &options)).unwrap();
    assert_eq!((segment(&packet).payload, packet.ip.total_len), (&b"rdp"[..], 47));

    let all = [
        &[60, 0, 0, 0, 0, 0, 0, 0][..],
        &[43, 0, 0, 0, 0, 0, 0, 0],
        &[51, 0, 0, 0, 0, 0, 0, 0],
        &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[6, 0, 0, 0, 0, 0, 0, 7],
    ]
    .concat();
    let bytes = extended(0, &all);
    let packet = decode(&frame(LinkType::RAW, &bytes)).unwrap();
    assert_eq!(
        (segment(&packet).payload, packet.ip.fragment, packet.cut),
        (&b"rdp"[..], false, None)
    );
}

#[test]
fn tcp_options_keep_values_and_order() {
    let mut bytes = tcp4(&[]);
    let options = [
        2, 4, 5, 0xB4, 1, 3, 3, 8, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4, 30, 3, 9, 1, 1, 0,
    ];
    bytes.extend(options);
    bytes[3] = bytes.len() as u8;
    bytes[32] = ((20 + options.len() as u8) / 4) << 4;
    bytes[33] = 0x02;
    let packet = decode(&frame(LinkType::RAW, &bytes)).unwrap();
    let s = segment(&packet);
    assert_eq!(s.flags, TcpFlags(TcpFlags::SYN));
    assert_eq!(
        (s.options.mss, s.options.window_scale, s.options.sack_permitted),
        (Some(1460), Some(8), true)
    );
    assert_eq!(
        (s.options.timestamps, s.options.sack),
        (Some((1, 2)), [Some((3, 4)), None, None, None])
    );
    assert_eq!(s.options.order, [2, 1, 3, 4, 8, 5, 30, 1, 1, 0, 0, 0]);
    assert_eq!((s.payload_len, packet.cut), (0, None));

    // An option that runs over the end: what stood before it stays.
    let last = bytes.len();
    bytes[last - 6] = 60;
    bytes[last - 5] = 60;
    let packet = decode(&frame(LinkType::RAW, &bytes)).unwrap();
    assert_eq!(segment(&packet).options.mss, Some(1460));
    assert_eq!(
        packet.cut,
        Some(Cut {
            layer: "tcp options",
            why: CutReason::Malformed
        })
    );
}

#[test]
fn a_snap_length_leaves_what_was_captured() {
    let bytes = ethernet(0x0800, &tcp4(b"0123456789"));
    let at = |seen| decode(&snapped(LinkType::ETHERNET, &bytes, seen));
    let cut = |layer| {
        Some(Cut {
            layer,
            why: CutReason::SnapLength,
        })
    };

    let packet = at(58).unwrap();
    assert_eq!((segment(&packet).payload, segment(&packet).payload_len), (&b"0123"[..], 10));
    assert_eq!((packet.cut, packet.link.trailer), (cut("tcp payload"), 0));
    let packet = at(50).unwrap();
    assert_eq!((segment(&packet).seq, segment(&packet).payload_len), (0x0102_0304, 10));
    assert_eq!(packet.cut, cut("tcp options"));
    let packet = at(40).unwrap();
    assert_eq!((packet.ip.ttl, packet.cut), (117, cut("tcp")));
    assert!(matches!(packet.body, Body::Other(6)));
    assert_eq!(at(30).unwrap_err(), cut("ipv4").unwrap());
    assert_eq!(at(10).unwrap_err(), cut("ethernet").unwrap());
}

#[test]
fn lengths_left_to_the_card_come_from_the_frame() {
    let mut bytes = ethernet(0x0800, &tcp4(&[7; 3000]));
    bytes[16..18].copy_from_slice(&[0, 0]);
    let packet = decode(&frame(LinkType::ETHERNET, &bytes)).unwrap();
    assert_eq!(
        (segment(&packet).payload_len, packet.ip.total_len, packet.cut),
        (3000, 3040, None)
    );

    let mut bytes = ethernet(0x86DD, &tcp6(&[7; 3000]));
    bytes[18..20].copy_from_slice(&[0, 0]);
    let packet = decode(&frame(LinkType::ETHERNET, &bytes)).unwrap();
    assert_eq!(
        (segment(&packet).payload_len, packet.ip.total_len, packet.cut),
        (3000, 3060, None)
    );
}

#[test]
fn contradictions_are_malformed_and_do_not_hide_the_header() {
    let mut short_offset = tcp4(b"rdp");
    short_offset[32] = 0x40;
    let packet = decode(&frame(LinkType::RAW, &short_offset)).unwrap();
    assert_eq!(
        packet.cut,
        Some(Cut {
            layer: "tcp",
            why: CutReason::Malformed
        })
    );
    assert_eq!((segment(&packet).seq, segment(&packet).payload_len), (0x0102_0304, 0));

    let mut wrong_version = tcp4(b"rdp");
    wrong_version[0] = 0x55;
    assert_eq!(
        decode(&frame(LinkType::RAW, &wrong_version)).unwrap_err().why,
        CutReason::Malformed
    );
}

fn icmp(bytes: &[u8]) -> IcmpMessage {
    match decode(&frame(LinkType::RAW, bytes)).unwrap().body {
        Body::Icmp(message) => message,
        other => panic!("expected ICMP, found {other:?}"),
    }
}

#[test]
fn icmp_errors_quote_the_packet_and_the_mtu() {
    // RFC 792 asks for the header and eight bytes.
    let quote = &tcp4(b"rdp")[..28];
    let message = icmp(&ip4(1, &before(&[3, 4, 0, 0, 0, 0, 5, 0x78], quote)));
    assert_eq!(
        (message.v6, message.kind, message.code, message.mtu),
        (false, 3, 4, Some(1400))
    );
    let quoted = message.quoted.unwrap();
    assert_eq!(quoted.src, SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 50_000));
    assert_eq!(quoted.dst, SocketAddr::new(Ipv4Addr::new(198, 51, 100, 2).into(), 3389));
    assert_eq!(
        (quoted.protocol, quoted.ttl, quoted.total_len, quoted.seq),
        (6, 117, 43, Some(0x0102_0304))
    );

    assert_eq!(
        icmp(&ip4(1, &before(&[3, 4, 0, 0, 0, 0, 0, 0], quote))).mtu,
        None,
        "a router from before RFC 1191"
    );
    let echo = icmp(&ip4(1, &[8, 0, 0, 0, 0, 1, 0, 1, 0x45, 0x45]));
    assert_eq!((echo.kind, echo.quoted), (8, None));

    let too_big = icmp(&ip4(58, &before(&[2, 0, 0, 0, 0, 0, 5, 0], &tcp6(b"rdp"))));
    assert_eq!((too_big.v6, too_big.mtu), (true, Some(1280)));
    assert_eq!(too_big.quoted.map(|q| (q.dst.port(), q.ttl, q.id)), Some((3389, 55, None)));
}

#[test]
fn checksums_are_told_right_wrong_and_left_to_the_card() {
    let mut bytes = tcp4(b"rdp");
    let packet = decode_checked(&frame(LinkType::RAW, &bytes)).unwrap();
    let ip = packet.ip;
    assert_eq!(segment(&packet).checksum_ok, Some(true));
    assert_eq!(
        decode_checked(&snapped(LinkType::RAW, &bytes, 42)).map(|p| segment(&p).checksum_ok),
        Ok(None)
    );
    assert_eq!(tcp_left_to_card(&ip, &bytes[20..]), Some(false));
    bytes[42] ^= 1;
    assert_eq!(tcp_ok(&ip, &bytes[20..]), Some(false));

    // What Linux leaves in the field: the sum of addresses, protocol and length.
    let words = [0xC000, 0x0201, 0xC633, 0x6402, 6, 23];
    let sum: u32 = words.iter().sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    bytes[36..38].copy_from_slice(&(sum as u16).to_be_bytes());
    assert_eq!(tcp_left_to_card(&ip, &bytes[20..]), Some(true));

    assert_eq!(of_frame(&frame(LinkType::RAW, &bytes)), Some(Checksum::LeftToCard));
    bytes[37] ^= 1;
    assert_eq!(of_frame(&frame(LinkType::RAW, &bytes)), Some(Checksum::Wrong));
    assert_eq!(of_frame(&frame(LinkType::RAW, &tcp4(b"rdp"))), Some(Checksum::Right));
    assert_eq!(of_frame(&snapped(LinkType::RAW, &bytes, 42)), None);

    let mut datagram = udp4(3389, b"syn");
    let ip = decode(&frame(LinkType::RAW, &datagram)).unwrap().ip;
    assert_eq!(udp_ok(&ip, &datagram[20..]), Some(true));
    datagram[30] ^= 1;
    assert_eq!(udp_ok(&ip, &datagram[20..]), Some(false));
    datagram[26..28].copy_from_slice(&[0, 0]);
    assert_eq!(udp_ok(&ip, &datagram[20..]), None);

    let six = tcp6(b"odd");
    assert_eq!(
        segment(&decode_checked(&frame(LinkType::RAW, &six)).unwrap()).checksum_ok,
        Some(true)
    );
}
