//! The short way for ordinary frames: addresses, ports and lengths read at fixed offsets, without allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::{Frame, LinkType};

use super::bytes::{be16, be32};
use super::{Body, Cut, CutReason, Datagram, IpFacts, LinkFacts, Packet, TcpFlags, TcpOptions, link, transport, tunnel};

/// What a look at fixed offsets tells of an ordinary TCP or UDP packet; enough to look its flow up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// IP protocol: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// TCP control bits; none in UDP.
    pub flags: TcpFlags,
    /// Offset of the IP header in the frame, in bytes.
    pub ip_at: u32,
    /// Offset of the transport header in the frame, in bytes.
    pub transport_at: u32,
    /// Offset of the transport payload in the frame, in bytes.
    pub payload_at: u32,
    /// Captured bytes of payload.
    pub payload_seen: u32,
    /// Bytes of payload on the wire.
    pub payload_len: u32,
}

/// Looks at a frame; `None` means that it is not ordinary and has to go the full way of [`decode`](super::decode), not that there is nothing in it.
///
/// Ordinary are Ethernet with at most one VLAN tag, Linux cooked, loopback and raw IP; IPv4 that is no fragment and IPv6 without extension headers; TCP with
/// its whole header, and UDP on no tunnel's port.
#[inline]
pub fn peek(frame: &Frame<'_>) -> Option<Peek> {
    look(frame)
}

/// [`peek`] inside of its callers, where most of the answer stays in registers.
#[inline(always)]
pub(super) fn look(frame: &Frame<'_>) -> Option<Peek> {
    let b = frame.bytes;
    let ip_at = ip_offset(frame.link, b)?;
    let h: &[u8; 20] = b.get(ip_at..)?.first_chunk()?;
    match h[0] >> 4 {
        4 => {
            let header = usize::from(h[0] & 15) * 4;
            let total = usize::from(be16(h, 2));
            // More fragments, or an offset.
            if header < 20 || total < header || be16(h, 6) & 0x3FFF != 0 {
                return None;
            }
            let ports = transport(b, h[9], ip_at + header, ip_at + total)?;
            let (src, dst) = (Ipv4Addr::from(be32(h, 12)), Ipv4Addr::from(be32(h, 16)));
            Some(ports.between(IpAddr::V4(src), IpAddr::V4(dst), ip_at))
        }
        6 => {
            let h: &[u8; 40] = b[ip_at..].first_chunk()?;
            let payload = usize::from(be16(h, 4));
            if payload == 0 {
                return None;
            }
            let ports = transport(b, h[6], ip_at + 40, ip_at + 40 + payload)?;
            let (src, dst) = (h[8..].first_chunk::<16>()?, h[24..].first_chunk::<16>()?);
            Some(ports.between(IpAddr::V6(Ipv6Addr::from(*src)), IpAddr::V6(Ipv6Addr::from(*dst)), ip_at))
        }
        _ => None,
    }
}

/// Where the IP header begins.
#[inline]
fn ip_offset(link: LinkType, b: &[u8]) -> Option<usize> {
    match link {
        LinkType::ETHERNET => match be16(b.get(12..14)?, 0) {
            0x0800 | 0x86DD => Some(14),
            0x8100 | 0x88A8 => is_ip(b.get(16..18)?).then_some(18),
            _ => None,
        },
        LinkType::RAW | LinkType::RAW_BSD | LinkType::IPV4 | LinkType::IPV6 => Some(0),
        LinkType::LINUX_SLL => is_ip(b.get(14..16)?).then_some(16),
        LinkType::LINUX_SLL2 => (b.len() >= 20 && is_ip(b)).then_some(20),
        LinkType::NULL | LinkType::LOOP => link::is_ip_family(*b.first_chunk()?).then_some(4),
        _ => None,
    }
}

#[inline]
fn is_ip(ether_type: &[u8]) -> bool {
    matches!(be16(ether_type, 0), 0x0800 | 0x86DD)
}

/// A [`Peek`] before its addresses are known.
struct Transport {
    protocol: u8,
    flags: u16,
    src_port: u16,
    dst_port: u16,
    at: usize,
    payload_at: usize,
    payload_seen: usize,
    payload_len: usize,
}

impl Transport {
    #[inline(always)]
    fn between(self, src: IpAddr, dst: IpAddr, ip_at: usize) -> Peek {
        Peek {
            src,
            dst,
            src_port: self.src_port,
            dst_port: self.dst_port,
            protocol: self.protocol,
            flags: TcpFlags(self.flags),
            ip_at: ip_at as u32,
            transport_at: self.at as u32,
            payload_at: self.payload_at as u32,
            payload_seen: self.payload_seen as u32,
            payload_len: self.payload_len as u32,
        }
    }
}

/// Reads a transport header at `at`; `end` is where the IP packet ends on the wire: the frame may end before (snap length) or after (padding).
#[inline(always)]
fn transport(b: &[u8], protocol: u8, at: usize, end: usize) -> Option<Transport> {
    let seen = b.get(at..b.len().min(end))?;
    let (flags, header, end) = match protocol {
        6 => {
            let h: &[u8; 20] = seen.first_chunk()?;
            let header = usize::from(h[12] >> 4) * 4;
            if header < 20 || header > seen.len() {
                return None;
            }
            (be16(h, 12) & 0x0FFF, header, end)
        }
        17 => {
            let h: &[u8; 8] = seen.first_chunk()?;
            let len = usize::from(be16(h, 4));
            let dst_port = be16(h, 2);
            if len < 8 || at + len > end || tunnel::on_port(dst_port).is_some() {
                return None;
            }
            (0, 8, at + len)
        }
        _ => return None,
    };
    let payload_at = at + header;
    Some(Transport {
        protocol,
        flags,
        src_port: be16(seen, 0),
        dst_port: be16(seen, 2),
        at,
        payload_at,
        payload_seen: b.len().min(end) - payload_at,
        payload_len: end - payload_at,
    })
}

/// The whole packet of a frame of which `peek` is the [`Peek`]; the same as [`decode`](super::decode) would give, without looking again.
///
/// # Panics
/// Where `peek` was taken of another frame.
pub fn complete<'a>(frame: &Frame<'a>, peek: &Peek) -> Packet<'a> {
    build(frame, peek)
}

/// [`complete`] inside of its callers.
#[inline(always)]
pub(super) fn build<'a>(frame: &Frame<'a>, peek: &Peek) -> Packet<'a> {
    let b = frame.bytes;
    let ip = ip_facts(&b[peek.ip_at as usize..]);
    let transport = &b[peek.transport_at as usize..];
    let payload = &b[peek.payload_at as usize..][..peek.payload_seen as usize];
    let mut link = link_facts(frame, peek.ip_at as usize);
    let wire = frame.bytes.len().max(frame.wire_len as usize);
    let beyond = wire.saturating_sub(peek.ip_at as usize + ip.total_len as usize);
    link.trailer = u16::try_from(beyond).unwrap_or(u16::MAX);
    let short = |layer| {
        (peek.payload_seen < peek.payload_len).then_some(Cut {
            layer,
            why: CutReason::SnapLength,
        })
    };
    let (no, at, interface) = (frame.no, frame.at, frame.interface);
    let whole = |body, cut| Packet {
        no,
        at,
        interface,
        link,
        ip,
        body,
        cut,
    };
    if peek.protocol != 6 {
        let (src_port, dst_port) = (be16(transport, 0), be16(transport, 2));
        let datagram = Datagram {
            src_port,
            dst_port,
            payload,
            payload_len: peek.payload_len,
        };
        return whole(Body::Udp(datagram), short("udp payload"));
    }
    let header = &b[peek.transport_at as usize..peek.payload_at as usize];
    let h = header.first_chunk().expect("a peeked TCP header has 20 bytes or more");
    // One exit for each arrangement: joined, the options would go through memory, which costs as much as all the rest.
    match &header[20..] {
        [] => {
            let segment = transport::segment(h, TcpOptions::default(), payload, peek.payload_len);
            whole(Body::Tcp(segment), short("tcp payload"))
        }
        // What nearly every segment of a connection with timestamps carries (RFC 7323 appendix A).
        [1, 1, 8, 10, value @ ..] if value.len() == 8 => {
            let options = TcpOptions {
                timestamps: Some((be32(value, 0), be32(value, 4))),
                order: [1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                ..TcpOptions::default()
            };
            let segment = transport::segment(h, options, payload, peek.payload_len);
            whole(Body::Tcp(segment), short("tcp payload"))
        }
        other => {
            let (options, sound) = transport::tcp_options(other);
            let segment = transport::segment(h, options, payload, peek.payload_len);
            let malformed = Cut {
                layer: "tcp options",
                why: CutReason::Malformed,
            };
            whole(Body::Tcp(segment), if sound { short("tcp payload") } else { Some(malformed) })
        }
    }
}

/// The IP header of a peeked frame. Reading the addresses again is quicker than moving them out of the peek.
#[inline(always)]
fn ip_facts(h: &[u8]) -> IpFacts {
    if h[0] >> 4 == 4 {
        let h: &[u8; 20] = h.first_chunk().expect("a peeked IPv4 header has 20 bytes or more");
        IpFacts {
            src: IpAddr::V4(Ipv4Addr::from(be32(h, 12))),
            dst: IpAddr::V4(Ipv4Addr::from(be32(h, 16))),
            ttl: h[8],
            id: Some(be16(h, 4)),
            df: h[6] & 0x40 != 0,
            tos: h[1],
            flow_label: None,
            total_len: be16(h, 2).into(),
            fragment: false,
        }
    } else {
        let h: &[u8; 40] = h.first_chunk().expect("a peeked IPv6 header has 40 bytes");
        let [src, dst] = [8, 24].map(|at| IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|n| h[at + n]))));
        let first = be32(h, 0);
        IpFacts {
            src,
            dst,
            ttl: h[7],
            id: None,
            df: true,
            tos: (first >> 20) as u8,
            flow_label: Some(first & 0x000F_FFFF),
            total_len: 40 + u32::from(be16(h, 4)),
            fragment: false,
        }
    }
}

/// The link layer of a peeked frame.
#[inline(always)]
fn link_facts(frame: &Frame<'_>, ip_at: usize) -> LinkFacts {
    let b = frame.bytes;
    let mut facts = LinkFacts {
        direction: frame.direction,
        ..LinkFacts::default()
    };
    match frame.link {
        LinkType::ETHERNET => {
            facts.dst_mac = b.first_chunk().copied();
            facts.src_mac = b[6..].first_chunk().copied();
            facts.vlan = (ip_at == 18).then(|| be16(b, 14) & 0x0FFF);
        }
        LinkType::LINUX_SLL => {
            facts.direction = facts.direction.or(link::cooked_direction(be16(b, 0)));
            facts.src_mac = b[6..].first_chunk().copied().filter(|_| be16(b, 4) == 6);
        }
        LinkType::LINUX_SLL2 => {
            facts.direction = facts.direction.or(link::cooked_direction(b[10].into()));
            facts.src_mac = b[12..].first_chunk().copied().filter(|_| b[11] == 6);
        }
        _ => {}
    }
    facts
}
