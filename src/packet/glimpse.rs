//! What the first words of a frame tell of its flow, and no more: enough to pass over most packets of a big capture.

use crate::capture::LinkType;

use super::bytes::{be16, be32};
use super::{TcpFlags, fingerprint, link};

/// A frame as its first words show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glimpse<'a> {
    /// A TCP segment.
    Tcp {
        /// The fingerprint of its flow ([`fingerprint::between`]).
        fingerprint: u64,
        /// Source and destination port.
        ports: [u16; 2],
        /// Whether it has the control bit SYN.
        syn: bool,
    },
    /// A UDP datagram.
    Udp {
        /// Source and destination port.
        ports: [u16; 2],
        /// The captured bytes of its payload.
        payload: &'a [u8],
    },
    /// Nothing that [`decode`](super::decode) finds TCP, UDP, ICMP, a fragment or a tunnel in.
    Other,
    /// It has to be decoded.
    Unclear,
}

/// The EtherType of ARP, the one protocol beside IP that every Ethernet carries in numbers.
const ARP: u16 = 0x0806;

/// Looks at a frame.
#[inline(always)]
pub fn glimpse(link: LinkType, b: &[u8]) -> Glimpse<'_> {
    match ip_offset(link, b) {
        Some(at) => ip(b, at).unwrap_or(Glimpse::Unclear),
        None if link == LinkType::ETHERNET && b.get(12..14) == Some(&ARP.to_be_bytes()) => Glimpse::Other,
        None => Glimpse::Unclear,
    }
}

/// Where the IP header begins. Up to two VLAN tags, which providers' networks have, are passed.
#[inline(always)]
fn ip_offset(link: LinkType, b: &[u8]) -> Option<usize> {
    match link {
        LinkType::ETHERNET => {
            let mut at = 12;
            for _ in 0..3 {
                match be16(b.get(at..)?.first_chunk::<2>()?, 0) {
                    0x0800 | 0x86DD => return Some(at + 2),
                    0x8100 | 0x88A8 => at += 4,
                    _ => return None,
                }
            }
            None
        }
        LinkType::RAW | LinkType::RAW_BSD | LinkType::IPV4 | LinkType::IPV6 => Some(0),
        LinkType::LINUX_SLL => is_ip(b, 14).then_some(16),
        LinkType::LINUX_SLL2 => is_ip(b, 0).then_some(20),
        LinkType::NULL | LinkType::LOOP => link::is_ip_family(*b.first_chunk()?).then_some(4),
        _ => None,
    }
}

#[inline(always)]
fn is_ip(b: &[u8], at: usize) -> bool {
    matches!(b.get(at..at + 2), Some([0x08, 0x00] | [0x86, 0xDD]))
}

#[inline(always)]
fn ip(b: &[u8], at: usize) -> Option<Glimpse<'_>> {
    let h: &[u8; 20] = b.get(at..)?.first_chunk()?;
    match h[0] >> 4 {
        4 => {
            let header = usize::from(h[0] & 15) * 4;
            let total = usize::from(be16(h, 2));
            // More fragments, or an offset.
            if header < 20 || total < header || be16(h, 6) & 0x3FFF != 0 {
                return None;
            }
            let ends = |source, target| {
                let (from, to) = (be32(h, 12), be32(h, 16));
                (fingerprint::end4(from, source), fingerprint::end4(to, target))
            };
            transport(b, h[9], at + header, at + total, ends)
        }
        6 => {
            let h: &[u8; 40] = b.get(at..)?.first_chunk()?;
            let payload = usize::from(be16(h, 4));
            if payload == 0 {
                return None;
            }
            let (from, to): (&[u8; 16], &[u8; 16]) = (h[8..].first_chunk()?, h[24..].first_chunk()?);
            let ends = |source, target| {
                let end = |address: &[u8; 16], port| fingerprint::end6(u128::from_be_bytes(*address), port);
                (end(from, source), end(to, target))
            };
            transport(b, h[6], at + 40, at + 40 + payload, ends)
        }
        _ => None,
    }
}

#[inline(always)]
fn transport(b: &[u8], protocol: u8, at: usize, end: usize, ends: impl Fn(u16, u16) -> (u64, u64)) -> Option<Glimpse<'_>> {
    let seen = b.get(at..b.len().min(end))?;
    match protocol {
        6 => {
            let h: &[u8; 20] = seen.first_chunk()?;
            let ports = [be16(h, 0), be16(h, 2)];
            let (from, to) = ends(ports[0], ports[1]);
            Some(Glimpse::Tcp {
                fingerprint: fingerprint::of_ends(from, to, protocol),
                ports,
                syn: u16::from(h[13]) & TcpFlags::SYN != 0,
            })
        }
        17 => {
            let h: &[u8; 8] = seen.first_chunk()?;
            let len = usize::from(be16(h, 4));
            if len < 8 || at + len > end {
                return None;
            }
            Some(Glimpse::Udp {
                ports: [be16(h, 0), be16(h, 2)],
                payload: seen.get(8..seen.len().min(len))?,
            })
        }
        // IGMP, ESP, OSPF, PIM, VRRP, SCTP.
        2 | 50 | 89 | 103 | 112 | 132 => Some(Glimpse::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::capture::shipped;
    use crate::packet::{Body, decode};

    /// What a glimpse shows is what decoding finds, over every shipped capture.
    #[test]
    fn agrees_with_decoding() {
        let (mut told, mut unclear) = (0, 0);
        for path in shipped::all() {
            shipped::frames(&path, |frame| {
                let found = decode(frame);
                let ends = |from: u16, to: u16| {
                    let ip = found.as_ref().expect("a packet").ip;
                    (SocketAddr::new(ip.src, from), SocketAddr::new(ip.dst, to))
                };
                match (glimpse(frame.link, frame.bytes), found.as_ref().map(|packet| &packet.body)) {
                    (Glimpse::Tcp { fingerprint, ports, syn }, Ok(Body::Tcp(segment))) => {
                        let (from, to) = ends(segment.src_port, segment.dst_port);
                        assert_eq!(ports, [from.port(), to.port()]);
                        assert_eq!(syn, segment.flags.has(TcpFlags::SYN));
                        assert_eq!(fingerprint, super::fingerprint::between(from, to, 6));
                        told += 1;
                    }
                    (Glimpse::Udp { ports, payload }, Ok(Body::Udp(datagram))) => {
                        assert_eq!(ports, [datagram.src_port, datagram.dst_port]);
                        assert_eq!(payload, datagram.payload);
                        told += 1;
                    }
                    (Glimpse::Other, Ok(Body::Other(_)) | Err(_)) => told += 1,
                    (Glimpse::Unclear, _) => unclear += 1,
                    (glimpse, found) => panic!("{} frame {}: {glimpse:?}, {found:?}", path.display(), frame.no),
                }
            });
        }
        assert!(told > 20 * unclear, "{told} told, {unclear} unclear");
    }

    #[test]
    fn no_prefix_and_no_change_of_a_byte_leads_astray() {
        let mut frame = vec![2; 12];
        frame.extend([0x81, 0, 0, 7, 0x08, 0]);
        frame.extend([0x45, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([
            0xC0, 0, 0x0D, 0x3D, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0, 2, 4, 5, 0xB4,
        ]);
        for len in 0..frame.len() {
            for at in 0..len {
                let mut changed = frame[..len].to_vec();
                changed[at] ^= 0xFF;
                for link in [
                    LinkType::ETHERNET,
                    LinkType::RAW,
                    LinkType::LINUX_SLL,
                    LinkType::LINUX_SLL2,
                    LinkType::NULL,
                ] {
                    glimpse(link, &changed);
                }
            }
        }
        assert!(matches!(
            glimpse(LinkType::ETHERNET, &frame),
            Glimpse::Tcp {
                ports: [49_152, 3389],
                syn: true,
                ..
            }
        ));
    }
}
