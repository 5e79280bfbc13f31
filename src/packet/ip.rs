//! IPv4 and IPv6 with options and extension headers, and the way on to what they carry.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6ExtensionSlice, Ipv6HeaderSlice, LaxIpSlice};

use super::bytes::Bytes;
use super::decode::Walk;
use super::{Body, Cut, CutReason, IpFacts, Packet, Piece, TunnelKind, icmp, transport, tunnel};

/// An IP header as far as it goes, and what follows it.
pub(super) struct Header<'a> {
    /// The facts.
    pub facts: IpFacts,
    /// The protocol of what follows, after all extension headers.
    pub protocol: u8,
    /// What follows.
    pub payload: Bytes<'a>,
    /// The position in the fragmented datagram, where this is a piece of one.
    pub piece: Option<Position>,
    /// What was wrong with the header, where something was.
    pub cut: Option<Cut>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy)]
pub(super) struct Position {
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Offset of the fragment's first byte.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
}

/// Reads an IP packet and whatever it carries.
pub(super) fn ip<'a>(mut walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let header = header(b)?;
    let beyond = b.wire.saturating_sub(header.facts.total_len as usize);
    walk.link.trailer = u16::try_from(beyond).unwrap_or(u16::MAX);
    if let Some(at) = header.piece {
        let piece = Piece {
            protocol: header.protocol,
            id: at.id,
            offset: at.offset,
            more: at.more,
            payload: header.payload.seen,
            payload_len: header.payload.wire as u32,
        };
        let cut = Some(Cut {
            layer: "ip",
            why: CutReason::Fragment,
        });
        return Ok(walk.packet(header.facts, Body::Fragment(piece), cut));
    }
    Ok(payload(walk, header.facts, header.protocol, header.payload, header.cut))
}

/// Reads an IP header and its extension headers.
///
/// # Errors
/// Where the fixed part of the header (in IPv4 also its options) was not captured or contradicts itself.
pub(super) fn header<'a>(b: Bytes<'a>) -> Result<Header<'a>, Cut> {
    match b.head::<1>("ip")?[0] >> 4 {
        4 => b.head::<20>("ipv4").map(|_| ())?,
        6 => b.head::<40>("ipv6").map(|_| ())?,
        _ => {
            return Err(Cut {
                layer: "ip",
                why: CutReason::Malformed,
            });
        }
    }
    match LaxIpSlice::from_slice(b.seen) {
        Ok((LaxIpSlice::Ipv4(v4), trouble)) => {
            let h = v4.header();
            let header_len = h.slice().len();
            let (total, cut) = total4(&h, b.wire);
            let position = h.is_fragmenting_payload().then(|| Position {
                id: h.identification().into(),
                offset: u32::from(h.fragments_offset().byte_offset()),
                more: h.more_fragments(),
            });
            // A fragment is handed on from the end of the IPv4 header: only the first would hold an authentication header.
            let (protocol, skip) = match (position, v4.extensions().auth) {
                (None, Some(auth)) => (auth.next_header(), header_len + auth.slice().len()),
                _ => (h.protocol(), header_len),
            };
            Ok(Header {
                facts: facts4(&h, total, position.is_some()),
                protocol: protocol.0,
                payload: after(b, total, skip),
                piece: position,
                cut: cut.or(trouble.filter(|_| position.is_none()).map(|_| extension_cut(b, total))),
            })
        }
        Ok((LaxIpSlice::Ipv6(v6), trouble)) => {
            let h = v6.header();
            let total = total6(&h, b.wire);
            let mut found = Extensions {
                protocol: v6.payload().ip_number,
                len: v6.extensions().slice().len(),
                position: None,
            };
            if v6.is_payload_fragmented() {
                found = fragmentable(v6.extensions().clone().into_iter()).unwrap_or(found);
            }
            Ok(Header {
                facts: facts6(&h, total, found.position.is_some()),
                protocol: found.protocol.0,
                payload: after(b, total, 40 + found.len),
                piece: found.position,
                cut: trouble.filter(|_| found.position.is_none()).map(|_| extension_cut(b, total)),
            })
        }
        // The fixed part is there: what remains is options beyond the captured bytes, or lengths that contradict one another.
        Err(etherparse::err::ip::LaxHeaderSliceError::Len(e)) if e.required_len <= b.wire => Err(Cut {
            layer: "ipv4",
            why: CutReason::SnapLength,
        }),
        Err(_) => Err(Cut {
            layer: "ipv4",
            why: CutReason::Malformed,
        }),
    }
}

/// What the extension headers lead to.
struct Extensions {
    protocol: IpNumber,
    /// Their length.
    len: usize,
    position: Option<Position>,
}

/// The extension headers up to the first that fragments: what follows it is a piece of bytes, not yet a header.
fn fragmentable<'a>(headers: impl Iterator<Item = Ipv6ExtensionSlice<'a>>) -> Option<Extensions> {
    let mut len = 0;
    for header in headers {
        len += match &header {
            Ipv6ExtensionSlice::HopByHop(h) | Ipv6ExtensionSlice::Routing(h) | Ipv6ExtensionSlice::DestinationOptions(h) => {
                h.slice().len()
            }
            Ipv6ExtensionSlice::Authentication(h) => h.slice().len(),
            Ipv6ExtensionSlice::Fragment(h) => h.slice().len(),
        };
        if let Ipv6ExtensionSlice::Fragment(h) = header
            && h.is_fragmenting_payload()
        {
            return Some(Extensions {
                protocol: h.next_header(),
                len,
                position: Some(Position {
                    id: h.identification(),
                    offset: u32::from(h.fragment_offset().byte_offset()),
                    more: h.more_fragments(),
                }),
            });
        }
    }
    None
}

/// The bytes after `skip` bytes of headers, up to the packet's end and not into the padding.
fn after(b: Bytes<'_>, total: usize, skip: usize) -> Bytes<'_> {
    let end = b.seen.len().min(total);
    let seen = b.seen.get(skip..end).unwrap_or_default();
    Bytes::new(seen, total.saturating_sub(skip))
}

fn extension_cut(b: Bytes<'_>, total: usize) -> Cut {
    let why = if b.seen.len() < total {
        CutReason::SnapLength
    } else {
        CutReason::Malformed
    };
    Cut {
        layer: "ip extension headers",
        why,
    }
}

/// The length of an IPv4 packet. Zero is what the sending host's capture shows of a segment that the card will split: the frame's length counts then.
fn total4(h: &Ipv4HeaderSlice<'_>, wire: usize) -> (usize, Option<Cut>) {
    let total = usize::from(h.total_len());
    if total >= h.slice().len() {
        (total, None)
    } else {
        let cut = (total != 0).then_some(Cut {
            layer: "ipv4",
            why: CutReason::Malformed,
        });
        (wire, cut)
    }
}

/// The length of an IPv6 packet. Zero is a jumbogram (RFC 2675) or segmentation offload: the frame's length counts then.
fn total6(h: &Ipv6HeaderSlice<'_>, wire: usize) -> usize {
    match usize::from(h.payload_length()) {
        0 if h.next_header() != IpNumber::IPV6_NO_NEXT_HEADER => wire,
        payload => 40 + payload,
    }
}

fn facts4(h: &Ipv4HeaderSlice<'_>, total: usize, fragment: bool) -> IpFacts {
    IpFacts {
        src: IpAddr::V4(h.source_addr()),
        dst: IpAddr::V4(h.destination_addr()),
        ttl: h.ttl(),
        id: Some(h.identification()),
        df: h.dont_fragment(),
        tos: h.slice()[1],
        flow_label: None,
        total_len: total as u32,
        fragment,
    }
}

fn facts6(h: &Ipv6HeaderSlice<'_>, total: usize, fragment: bool) -> IpFacts {
    IpFacts {
        src: IpAddr::V6(h.source_addr()),
        dst: IpAddr::V6(h.destination_addr()),
        ttl: h.hop_limit(),
        id: None,
        df: true,
        tos: h.traffic_class(),
        flow_label: Some(h.flow_label().value()),
        total_len: total as u32,
        fragment,
    }
}

/// Reads what an IP packet carries: a transport, or a tunnel with another packet in it. A tunnel whose inside cannot be read leaves the outer packet.
pub(super) fn payload<'a>(walk: Walk, ip: IpFacts, protocol: u8, b: Bytes<'a>, cut: Option<Cut>) -> Packet<'a> {
    let inner = match protocol {
        4 | 41 => Some(walk.enter(TunnelKind::IpInIp, 0).and_then(|walk| self::ip(walk, b))),
        47 => Some(tunnel::gre(walk, b)),
        137 => Some(tunnel::mpls(walk, b)),
        _ => None,
    };
    match inner {
        Some(Ok(packet)) => return packet,
        Some(Err(inside)) => return walk.packet(ip, Body::Other(protocol), cut.or(Some(inside))),
        None => {}
    }
    let (body, found) = match protocol {
        6 => transport::tcp(&ip, b, walk.verify),
        17 => {
            let (body, found) = transport::udp(b);
            if let Body::Udp(datagram) = &body {
                let inside = Bytes::new(datagram.payload, datagram.payload_len as usize);
                match tunnel::udp(walk, datagram.dst_port, inside) {
                    Some(Ok(packet)) => return packet,
                    Some(Err(inside)) if inside.why == CutReason::SnapLength => {
                        return walk.packet(ip, body, Some(inside));
                    }
                    // Any port may be in use by something else.
                    Some(Err(_)) | None => {}
                }
            }
            (body, found)
        }
        1 => icmp::message(b, false),
        58 => icmp::message(b, true),
        other => (Body::Other(other), None),
    };
    walk.packet(ip, body, cut.or(found))
}
