//! TCP and UDP checksums, verified on demand: most packets are never asked.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;

use crate::capture::Frame;

use super::bytes::be16;
use super::{IpFacts, fast};

/// What the checksum of a TCP segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Right,
    /// It is wrong: damaged on the way, or written by something that did not compute it.
    Wrong,
    /// It holds what a sending host leaves for the card to complete: the frame was captured before it went out.
    LeftToCard,
}

/// Looks at the TCP checksum of an ordinary frame (see [`fast::peek`]); `None` where the frame is not one, or was cut.
pub fn of_frame(frame: &Frame<'_>) -> Option<Checksum> {
    let peek = fast::peek(frame).filter(|peek| peek.protocol == 6 && peek.payload_seen == peek.payload_len)?;
    let ip = fast::complete(frame, &peek).ip;
    let segment = frame
        .bytes
        .get(peek.transport_at as usize..(peek.payload_at + peek.payload_seen) as usize)?;
    Some(match (tcp_ok(&ip, segment)?, tcp_left_to_card(&ip, segment)?) {
        (true, _) => Checksum::Right,
        (false, true) => Checksum::LeftToCard,
        (false, false) => Checksum::Wrong,
    })
}

/// Whether the checksum of a whole TCP segment (header and payload, not cut) is right; `None` where it is too short for a header.
///
/// A wrong checksum in a frame that the capturing host sent is the rule where the card fills it in: see [`tcp_left_to_card`].
pub fn tcp_ok(ip: &IpFacts, segment: &[u8]) -> Option<bool> {
    (segment.len() >= 20).then(|| pseudo(ip, 6, segment.len()).add_slice(segment).ones_complement() == 0)
}

/// Whether the checksum of a whole UDP datagram is right; `None` where it is too short for a header, or the sender computed none (IPv4 only).
pub fn udp_ok(ip: &IpFacts, datagram: &[u8]) -> Option<bool> {
    if datagram.len() < 8 || (ip.src.is_ipv4() && be16(datagram, 6) == 0) {
        return None;
    }
    Some(pseudo(ip, 17, datagram.len()).add_slice(datagram).ones_complement() == 0)
}

/// Whether the checksum field of a whole TCP segment holds the sum of the pseudo-header alone, as a sending host leaves it for the card to complete
/// (checksum offload); `None` where it is too short for a header.
pub fn tcp_left_to_card(ip: &IpFacts, segment: &[u8]) -> Option<bool> {
    let stored = [*segment.get(16)?, *segment.get(17)?];
    // The sum is kept in the byte order in which it stands in a packet.
    (segment.len() >= 20).then(|| stored == (!pseudo(ip, 6, segment.len()).ones_complement()).to_ne_bytes())
}

/// The sum over the pseudo-header, RFC 9293 section 3.1 and RFC 8200 section 8.1.
fn pseudo(ip: &IpFacts, protocol: u8, len: usize) -> Sum16BitWords {
    let mut sum = Sum16BitWords::new();
    for address in [ip.src, ip.dst] {
        sum = match address {
            IpAddr::V4(v4) => sum.add_4bytes(v4.octets()),
            IpAddr::V6(v6) => sum.add_16bytes(v6.octets()),
        };
    }
    sum.add_2bytes([0, protocol]).add_4bytes((len as u32).to_be_bytes())
}
