//! The short way and the full way give the same answer, and neither panics on anything.

use std::net::SocketAddr;

use proptest::prelude::*;

use crate::capture::{Frame, LinkType};

use super::super::decode::walk;
use super::super::fast::{complete, peek};
use super::super::fingerprint;
use super::super::fragments::Reassembler;
use super::super::glimpse::{Glimpse, glimpse, glimpse_inside};
use super::super::{Body, Packet, TcpFlags, decode_checked};
use super::{before, ethernet, frame, ip4, tcp4, tcp6, udp4};

const LINKS: [u16; 16] = [0, 1, 9, 12, 14, 50, 51, 101, 105, 108, 113, 127, 192, 228, 229, 276];

/// Holds the short way to the full way; answers whether the frame was ordinary.
pub(super) fn agree(frame: &Frame<'_>) -> bool {
    let full = walk(frame, false);
    let Some(peek) = peek(frame) else {
        return false;
    };
    let full: Packet<'_> = full.expect("what the short way reads the full way reads");
    assert_eq!(complete(frame, &peek), full);
    let (src_port, dst_port, flags, payload, len) = match &full.body {
        Body::Tcp(s) => (s.src_port, s.dst_port, s.flags, s.payload, s.payload_len),
        Body::Udp(d) => (d.src_port, d.dst_port, TcpFlags(0), d.payload, d.payload_len),
        other => panic!("peeked at {other:?}"),
    };
    assert_eq!(
        (peek.src, peek.dst, peek.src_port, peek.dst_port),
        (full.ip.src, full.ip.dst, src_port, dst_port)
    );
    assert_eq!(
        (peek.flags, peek.payload_len, peek.payload_seen as usize),
        (flags, len, payload.len())
    );
    assert_eq!(&frame.bytes[peek.payload_at as usize..][..payload.len()], payload);
    true
}

/// Holds a glimpse to the full way; answers whether it told anything.
pub(in crate::packet) fn holds_glimpse(frame: &Frame<'_>) -> bool {
    let found = walk(frame, false);
    let first = glimpse(frame.link, frame.bytes);
    let through = glimpse_inside(frame.link, frame.bytes);
    // What the first look shows shows through tunnels, too, but for ARP, which is none's.
    assert!(matches!(first, Glimpse::Unclear | Glimpse::Other) || first == through);
    let told = if first == Glimpse::Unclear { through } else { first };
    match (told, &found) {
        (
            Glimpse::Tcp { fingerprint, ports, syn },
            Ok(Packet {
                ip,
                body: Body::Tcp(segment),
                ..
            }),
        ) => {
            let (from, to) = (
                SocketAddr::new(ip.src, segment.src_port),
                SocketAddr::new(ip.dst, segment.dst_port),
            );
            assert_eq!(ports, [from.port(), to.port()]);
            assert_eq!(syn, segment.flags.has(TcpFlags::SYN));
            assert_eq!(fingerprint, fingerprint::between(from, to, 6));
            true
        }
        (
            Glimpse::Udp { ports, payload },
            Ok(Packet {
                body: Body::Udp(datagram),
                ..
            }),
        ) => {
            assert_eq!(ports, [datagram.src_port, datagram.dst_port]);
            assert_eq!(payload, datagram.payload);
            true
        }
        (
            Glimpse::Other,
            Ok(Packet {
                body: Body::Other(_), ..
            })
            | Err(_),
        ) => true,
        (Glimpse::Unclear, _) => false,
        (glimpse, found) => panic!("frame {}: {glimpse:?}, {found:?}", frame.no),
    }
}

/// Any bytes as any link type, through everything that takes frames.
fn survive(frame: &Frame<'_>) {
    agree(frame);
    holds_glimpse(frame);
    let Ok(packet) = decode_checked(frame) else {
        return;
    };
    let mut reassembler = Reassembler::new(4, 100_000);
    if let Some(whole) = reassembler.push(&packet) {
        let _ = whole.packet();
    }
}

/// Frames that get far into the decoder before they are damaged.
pub(super) fn seeds() -> Vec<(LinkType, Vec<u8>)> {
    let mirrored = ethernet(0x0800, &tcp4(b"payload"));
    let v2 = before(&[0x08, 0, 0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 8, 0, 0], &tcp4(b"x"));
    let wireless = [
        &[0x88, 1, 0, 0][..],
        &[1; 18],
        &[0; 4],
        &[0xAA, 0xAA, 3, 0, 0, 0, 8, 0],
        &tcp4(b"payload"),
    ]
    .concat();
    vec![
        (LinkType(127), before(&[0, 0, 8, 0, 0, 0, 0, 0], &wireless)),
        (LinkType(105), wireless),
        (LinkType::ETHERNET, mirrored.clone()),
        (LinkType::ETHERNET, ethernet(0x86DD, &tcp6(b"payload"))),
        (
            LinkType::ETHERNET,
            ethernet(0x8100, &before(&[0, 7, 8, 0], &udp4(3389, b"payload"))),
        ),
        (
            LinkType::ETHERNET,
            ethernet(0x8864, &before(&[0x11, 0, 0, 1, 0, 49, 0, 0x21], &tcp4(b"payload"))),
        ),
        (LinkType::ETHERNET, ethernet(0x8847, &before(&[0, 1, 1, 64], &mirrored))),
        (
            LinkType::ETHERNET,
            ethernet(0x8847, &before(&[0, 1, 0, 64, 0, 2, 1, 64], &tcp6(b"payload"))),
        ),
        (
            LinkType::LINUX_SLL,
            before(&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 8, 0], &tcp4(b"x")),
        ),
        (LinkType::LINUX_SLL2, v2),
        (LinkType::NULL, before(&[30, 0, 0, 0], &tcp6(b"x"))),
        (
            LinkType::RAW,
            ip4(47, &before(&[0x30, 0, 0x65, 0x58, 0, 0, 0, 1, 0, 0, 0, 1], &mirrored)),
        ),
        (
            LinkType::RAW,
            ip4(
                47,
                &[
                    &[0x10, 0, 0x22, 0xEB, 0, 0, 0, 1, 0x20, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..],
                    &mirrored,
                ]
                .concat(),
            ),
        ),
        (LinkType::RAW, udp4(4789, &before(&[8, 0, 0, 0, 0, 1, 2, 0], &mirrored))),
        (LinkType::RAW, udp4(6081, &before(&[0, 0, 0x65, 0x58, 0, 0, 9, 0], &mirrored))),
        (LinkType::RAW, ip4(1, &before(&[3, 4, 0, 0, 0, 0, 5, 0x78], &tcp4(b"x")))),
        (LinkType::RAW, ip4(41, &tcp6(b"x"))),
        (
            LinkType::RAW,
            ip4(47, &before(&[0xB0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2], &tcp4(b"x"))),
        ),
        (
            LinkType::RAW,
            ip4(
                47,
                &before(&[0x10, 0, 0x88, 0xBE, 0, 0, 0, 1, 0x10, 5, 0, 1, 0, 0, 0, 0], &mirrored),
            ),
        ),
        (LinkType::RAW, ip4(47, &before(&[0, 0, 0x88, 0xBE], &mirrored))),
        (
            LinkType::RAW,
            udp4(
                4789,
                &before(
                    &[8, 0, 0, 0, 0, 1, 2, 0],
                    &ethernet(0x0800, &udp4(4789, &before(&[8, 0, 0, 0, 0, 1, 3, 0], &mirrored))),
                ),
            ),
        ),
        (
            LinkType::RAW,
            udp4(6081, &before(&[1, 0, 8, 0, 0, 0, 9, 0, 1, 2, 3, 4], &tcp4(b"x"))),
        ),
    ]
}

#[test]
fn the_seeds_agree_and_the_ordinary_ones_go_the_short_way() {
    let ordinary = seeds().iter().filter(|(link, bytes)| agree(&frame(*link, bytes))).count();
    assert_eq!(ordinary, 6);
    let told = seeds()
        .iter()
        .filter(|(link, bytes)| holds_glimpse(&frame(*link, bytes)))
        .count();
    // Not wireless frames, an MPLS pseudowire, ERSPAN type III, and what ICMP quotes.
    assert_eq!(told, seeds().len() - 5);
}

proptest! {
    #[test]
    fn arbitrary_bytes(link in prop::sample::select(&LINKS[..]), bytes in prop::collection::vec(any::<u8>(), 0..300), more in 0..2000u32) {
        let whole = frame(LinkType(link), &bytes);
        survive(&Frame { wire_len: whole.wire_len + more, ..whole });
        survive(&Frame { wire_len: more, ..whole });
    }

    #[test]
    fn damaged_frames(
        seed in 0..22usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        keep in any::<prop::sample::Index>(),
        padding in 0..20usize,
    ) {
        let (link, mut bytes) = seeds().swap_remove(seed);
        let wire = bytes.len();
        bytes.resize(wire + padding, 0);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survive(&frame(link, &bytes));
        let seen = keep.index(bytes.len() + 1);
        survive(&Frame { bytes: &bytes[..seen], ..frame(link, &bytes) });
    }
}
