//! Link layers: Ethernet with VLAN tags, Linux cooked, raw IP, loopback, PPP and PPPoE; 802.11 is next door.

use crate::capture::{Direction, LinkType};

use super::bytes::{Bytes, be16};
use super::decode::Walk;
use super::{Cut, CutReason, Packet, TunnelKind, ip, tunnel, wifi};

/// `LINKTYPE_PPP_HDLC`: PPP in HDLC-like framing, address and control present.
pub(crate) const PPP_HDLC: LinkType = LinkType(50);
/// `LINKTYPE_PPP_ETHER`: PPPoE without the Ethernet header.
pub(crate) const PPP_ETHER: LinkType = LinkType(51);
/// Raw IP as BSD/OS numbers it.
pub(crate) const RAW_BSDOS: LinkType = LinkType(14);

/// Reads the outermost layer.
pub(super) fn first<'a>(walk: Walk, link: LinkType, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    match link {
        LinkType::ETHERNET => ethernet(walk, b),
        LinkType::RAW | LinkType::RAW_BSD | RAW_BSDOS | LinkType::IPV4 | LinkType::IPV6 => ip::ip(walk, b),
        LinkType::LINUX_SLL => cooked(walk, b),
        LinkType::LINUX_SLL2 => cooked2(walk, b),
        LinkType::NULL | LinkType::LOOP => loopback(walk, b),
        LinkType::PPP | PPP_HDLC => ppp(walk, b),
        PPP_ETHER => pppoe(walk, b),
        wifi::IEEE802_11 => wifi::ieee802_11(walk, b),
        wifi::RADIOTAP => wifi::radiotap(walk, b),
        wifi::PPI => wifi::ppi(walk, b),
        _ => Err(Cut {
            layer: "link type",
            why: CutReason::Unsupported,
        }),
    }
}

/// Ethernet II or IEEE 802.3.
pub(super) fn ethernet<'a>(mut walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 14] = b.head("ethernet")?;
    walk.link.dst_mac = h.first_chunk().copied();
    walk.link.src_mac = h[6..].first_chunk().copied();
    ether_type(walk, be16(h, 12), b.skip(14, "ethernet")?)
}

/// Whether an EtherType is that of a VLAN tag: 802.1Q, 802.1ad and the two that came before it.
fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, 0x8100 | 0x88A8 | 0x9100 | 0x9200)
}

/// What follows an EtherType, VLAN tags in any number included.
pub(super) fn ether_type<'a>(mut walk: Walk, mut kind: u16, mut b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    while is_vlan(kind) {
        let h: &[u8; 4] = b.head("vlan")?;
        walk.link.vlan = Some(be16(h, 0) & 0x0FFF);
        kind = be16(h, 2);
        b = b.skip(4, "vlan")?;
    }
    match kind {
        0x0800 | 0x86DD => ip::ip(walk, b),
        0x8847 | 0x8848 => tunnel::mpls(walk, b),
        0x8864 => pppoe(walk, b),
        // A length and not a type: IEEE 802.3.
        0..=1500 => llc(walk, b.limit(kind as usize)),
        _ => Err(Cut {
            layer: "ethertype",
            why: CutReason::Unsupported,
        }),
    }
}

/// IEEE 802.2 LLC with SNAP, which carries an EtherType (RFC 1042).
pub(super) fn llc<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let unsupported = Cut {
        layer: "llc",
        why: CutReason::Unsupported,
    };
    let [0xAA, 0xAA, 3, 0, 0, 0, hi, lo] = b.head::<8>("llc")? else {
        return Err(unsupported);
    };
    match u16::from_be_bytes([*hi, *lo]) {
        // Nothing else: a VLAN tag here could lead to LLC again, a ladder as long as the frame.
        kind @ (0x0800 | 0x86DD) => ether_type(walk, kind, b.skip(8, "llc")?),
        _ => Err(unsupported),
    }
}

/// The direction that a Linux cooked packet type tells; `PACKET_OTHERHOST` (3) tells none.
pub(super) fn cooked_direction(packet_type: u16) -> Option<Direction> {
    match packet_type {
        0..=2 => Some(Direction::Inbound),
        4 => Some(Direction::Outbound),
        _ => None,
    }
}

/// `LINKTYPE_LINUX_SLL`.
fn cooked<'a>(mut walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 16] = b.head("linux cooked")?;
    walk.link.direction = walk.link.direction.or(cooked_direction(be16(h, 0)));
    if be16(h, 4) == 6 {
        walk.link.src_mac = h[6..].first_chunk().copied();
    }
    ether_type(walk, be16(h, 14), b.skip(16, "linux cooked")?)
}

/// `LINKTYPE_LINUX_SLL2`.
fn cooked2<'a>(mut walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 20] = b.head("linux cooked")?;
    walk.link.direction = walk.link.direction.or(cooked_direction(h[10].into()));
    if h[11] == 6 {
        walk.link.src_mac = h[12..].first_chunk().copied();
    }
    ether_type(walk, be16(h, 0), b.skip(20, "linux cooked")?)
}

/// Whether a loopback header names IPv4 or IPv6, in either byte order. `AF_INET` is 2 everywhere; `AF_INET6` is 10 on Linux, 23 on Windows, 24 on NetBSD
/// and OpenBSD, 28 on FreeBSD and 30 on macOS.
pub(super) fn is_ip_family(h: [u8; 4]) -> bool {
    let family = match h {
        [f, 0, 0, 0] | [0, 0, 0, f] => f,
        _ => return false,
    };
    matches!(family, 2 | 10 | 23 | 24 | 28 | 30)
}

/// `LINKTYPE_NULL` and `LINKTYPE_LOOP`.
fn loopback<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    if !is_ip_family(*b.head("loopback")?) {
        return Err(Cut {
            layer: "loopback",
            why: CutReason::Unsupported,
        });
    }
    ip::ip(walk, b.skip(4, "loopback")?)
}

/// PPPoE session, RFC 2516 section 4.
fn pppoe<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 6] = b.head("pppoe")?;
    if h[0] != 0x11 || h[1] != 0 {
        return Err(Cut {
            layer: "pppoe",
            why: CutReason::Unsupported,
        });
    }
    let walk = walk.enter(TunnelKind::Pppoe, be16(h, 2).into())?;
    ppp(walk, b.skip(6, "pppoe")?.limit(be16(h, 4).into()))
}

/// PPP, RFC 1661: address and control and the first protocol byte may be compressed away.
pub(super) fn ppp<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let b = if b.seen.starts_with(&[0xFF, 0x03]) {
        b.skip(2, "ppp")?
    } else {
        b
    };
    let [first] = *b.head("ppp")?;
    let (protocol, b) = if first & 1 == 1 {
        (first.into(), b.skip(1, "ppp")?)
    } else {
        (be16(b.head::<2>("ppp")?, 0), b.skip(2, "ppp")?)
    };
    match protocol {
        0x0021 | 0x0057 => ip::ip(walk, b),
        0x0281 | 0x0283 => tunnel::mpls(walk, b),
        _ => Err(Cut {
            layer: "ppp",
            why: CutReason::Unsupported,
        }),
    }
}
