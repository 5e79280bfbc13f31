//! Tunnels that mirror ports, cloud taps and access networks put around a packet: MPLS, GRE, ERSPAN, VXLAN, GENEVE.

use super::bytes::{Bytes, be16, be32};
use super::decode::Walk;
use super::{Cut, CutReason, Packet, TunnelKind, ip, link};

/// What tunnel a UDP datagram to this port may be.
#[inline(always)]
pub(super) fn on_port(dst_port: u16) -> Option<OnUdp> {
    match dst_port {
        // The registered port, and the one that Linux used before and overlays still use.
        4789 | 8472 => Some(OnUdp::Vxlan),
        6081 => Some(OnUdp::Geneve),
        _ => None,
    }
}

/// A tunnel over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnUdp {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
}

/// Transparent Ethernet Bridging.
pub(super) const ETHERNET_BRIDGING: u16 = 0x6558;

/// An MPLS label stack, RFC 3032. The label does not say what follows: the first nibble does (RFC 4928), and what is neither IPv4 nor IPv6 is taken as an
/// Ethernet pseudowire with (RFC 4448) or without control word.
pub(super) fn mpls<'a>(walk: Walk, mut b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let label = loop {
        let entry = be32(b.head::<4>("mpls")?, 0);
        b = b.skip(4, "mpls")?;
        if entry & 0x100 != 0 {
            break entry >> 12;
        }
    };
    let walk = walk.enter(TunnelKind::Mpls, label)?;
    let [first] = *b.head("mpls")?;
    match first >> 4 {
        4 if looks_ipv4(b) => ip::ip(walk, b),
        6 if !carries_ip(b) => ip::ip(walk, b),
        0 if b.seen.get(4..).is_some_and(|seen| carries_ip(Bytes::new(seen, seen.len()))) => {
            link::ethernet(walk, b.skip(4, "mpls")?)
        }
        _ => link::ethernet(walk, b),
    }
}

/// Whether an IPv4 header is plausible here; a hardware address may begin with a 4 as well.
fn looks_ipv4(b: Bytes<'_>) -> bool {
    b.seen.first_chunk().is_some_and(|h: &[u8; 20]| {
        let header = usize::from(h[0] & 15) * 4;
        let total = usize::from(be16(h, 2));
        header >= 20 && (total == 0 || (total >= header && total <= b.wire))
    })
}

/// Whether an Ethernet header here would name IP, or a VLAN tag.
fn carries_ip(b: Bytes<'_>) -> bool {
    b.seen
        .get(12..14)
        .is_some_and(|kind| matches!(be16(kind, 0), 0x0800 | 0x86DD | 0x8100 | 0x88A8))
}

/// GRE, RFC 2784 with the key and the sequence number of RFC 2890, and version 1 of RFC 2637 (PPTP).
pub(super) fn gre<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;

    let h: &[u8; 4] = b.head("gre")?;
    let (flags, kind) = (be16(h, 0), be16(h, 2));
    if flags & ROUTING != 0 || flags & 7 > 1 {
        return Err(Cut {
            layer: "gre",
            why: CutReason::Unsupported,
        });
    }
    let mut b = b.skip(4, "gre")?;
    if flags & CHECKSUM != 0 {
        b = b.skip(4, "gre")?;
    }
    let mut key = 0;
    if flags & KEY != 0 {
        key = be32(b.head::<4>("gre")?, 0);
        b = b.skip(4, "gre")?;
    }
    if flags & SEQUENCE != 0 {
        b = b.skip(4, "gre")?;
    }
    if flags & 7 == 1 {
        if flags & ACKNOWLEDGMENT != 0 {
            b = b.skip(4, "gre")?;
        }
        // In version 1 the key holds the payload's length and the call identifier.
        let walk = walk.enter(TunnelKind::Gre, key & 0xFFFF)?;
        return link::ppp(walk, b);
    }
    match kind {
        // Type I has no header of its own and no sequence number; types II and III have both.
        0x88BE if flags & SEQUENCE == 0 => link::ethernet(walk.enter(TunnelKind::Erspan, 0)?, b),
        0x88BE | 0x22EB => erspan(walk, b),
        ETHERNET_BRIDGING => link::ethernet(walk.enter(TunnelKind::Gre, key)?, b),
        _ => link::ether_type(walk.enter(TunnelKind::Gre, key)?, kind, b),
    }
}

/// The header of ERSPAN type II (version 1) or type III (version 2).
fn erspan<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 8] = b.head("erspan")?;
    let walk = walk.enter(TunnelKind::Erspan, (be16(h, 2) & 0x03FF).into())?;
    match h[0] >> 4 {
        1 => link::ethernet(walk, b.skip(8, "erspan")?),
        2 => {
            let last = be16(b.head::<12>("erspan")?, 10);
            // The lowest bit says that a platform-specific subheader of 8 bytes follows.
            let b = b.skip(if last & 1 == 1 { 20 } else { 12 }, "erspan")?;
            match (last >> 10) & 0x1F {
                0 => link::ethernet(walk, b),
                2 => ip::ip(walk, b),
                _ => Err(Cut {
                    layer: "erspan",
                    why: CutReason::Unsupported,
                }),
            }
        }
        _ => Err(Cut {
            layer: "erspan",
            why: CutReason::Unsupported,
        }),
    }
}

/// The payload of a UDP datagram as a tunnel, where its destination port may be one's and its header agrees.
pub(super) fn udp<'a>(walk: Walk, dst_port: u16, b: Bytes<'a>) -> Option<Result<Packet<'a>, Cut>> {
    Some(match on_port(dst_port)? {
        OnUdp::Vxlan => vxlan(walk, b),
        OnUdp::Geneve => geneve(walk, b),
    })
}

/// VXLAN, RFC 7348 section 5; the group policy extension's bits are let pass.
fn vxlan<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 8] = b.head("vxlan")?;
    if h[0] & 0x7F != 0x08 || h[7] != 0 {
        return Err(Cut {
            layer: "vxlan",
            why: CutReason::Malformed,
        });
    }
    link::ethernet(walk.enter(TunnelKind::Vxlan, be32(h, 4) >> 8)?, b.skip(8, "vxlan")?)
}

/// GENEVE, RFC 8926 section 3.4.
fn geneve<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 8] = b.head("geneve")?;
    if h[0] >> 6 != 0 || h[7] != 0 {
        return Err(Cut {
            layer: "geneve",
            why: CutReason::Malformed,
        });
    }
    let walk = walk.enter(TunnelKind::Geneve, be32(h, 4) >> 8)?;
    let b = b.skip(8 + usize::from(h[0] & 0x3F) * 4, "geneve")?;
    match be16(h, 2) {
        ETHERNET_BRIDGING => link::ethernet(walk, b),
        kind => link::ether_type(walk, kind, b),
    }
}
