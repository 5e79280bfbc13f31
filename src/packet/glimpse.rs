//! What the first words of a frame tell of its flow, and no more: enough to pass over most packets of a big capture.

use crate::capture::LinkType;

use super::bytes::{be16, be32};
use super::tunnel::{self, OnUdp};
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

/// So many tunnels may stand inside one another for a glimpse.
const TUNNELS: u8 = 3;

/// Looks at a frame, and not into tunnels.
#[inline(always)]
pub fn glimpse(link: LinkType, b: &[u8]) -> Glimpse<'_> {
    match ip_offset(link, b) {
        Some(at) => ip(b, at, |_, _| None).unwrap_or(Glimpse::Unclear),
        None if link == LinkType::ETHERNET && b.get(12..14) == Some(&ARP.to_be_bytes()) => Glimpse::Other,
        None => Glimpse::Unclear,
    }
}

/// Looks at a frame of which [`glimpse`] shows nothing, through the common tunnels. Apart, because what is seldom needed slows down what is done
/// for each frame.
#[inline(never)]
pub fn glimpse_inside(link: LinkType, b: &[u8]) -> Glimpse<'_> {
    let found = match ip_offset(link, b) {
        Some(at) => ip(b, at, |around, b| inside(b, around, 0)),
        None if link == LinkType::ETHERNET => beside_ip(b, 0, 0),
        None => None,
    };
    found.unwrap_or(Glimpse::Unclear)
}

/// Where the IP header begins.
#[inline(always)]
fn ip_offset(link: LinkType, b: &[u8]) -> Option<usize> {
    match link {
        LinkType::ETHERNET => {
            let (kind, at) = ether_type(b, 0)?;
            matches!(kind, IP | 0x86DD).then_some(at)
        }
        LinkType::RAW | LinkType::RAW_BSD | LinkType::IPV4 | LinkType::IPV6 => Some(0),
        LinkType::LINUX_SLL => is_ip(b, 14).then_some(16),
        LinkType::LINUX_SLL2 => is_ip(b, 0).then_some(20),
        LinkType::NULL | LinkType::LOOP => link::is_ip_family(*b.first_chunk()?).then_some(4),
        _ => None,
    }
}

/// The EtherType of the Ethernet frame at `at`, and where what it names begins. Up to two VLAN tags, which providers' networks have, are passed.
#[inline(always)]
fn ether_type(b: &[u8], at: usize) -> Option<(u16, usize)> {
    let mut at = at + 12;
    for _ in 0..3 {
        match be16(b.get(at..)?.first_chunk::<2>()?, 0) {
            0x8100 | 0x88A8 | 0x9100 | 0x9200 => at += 4,
            kind => return Some((kind, at + 2)),
        }
    }
    None
}

/// An Ethernet frame whose EtherType is not that of IP.
fn beside_ip(b: &[u8], at: usize, depth: u8) -> Option<Glimpse<'_>> {
    match ether_type(b, at)? {
        (0x8847 | 0x8848, at) => mpls(b, at, depth),
        (0x8864, at) => pppoe(b, at, depth),
        _ => None,
    }
}

#[inline(always)]
fn is_ip(b: &[u8], at: usize) -> bool {
    matches!(b.get(at..at + 2), Some([0x08, 0x00] | [0x86, 0xDD]))
}

#[inline(always)]
fn ip<'a>(b: &'a [u8], at: usize, enter: impl Fn(Around, &'a [u8]) -> Option<Glimpse<'a>>) -> Option<Glimpse<'a>> {
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
            transport(b, h[9], at + header, at + total, ends, enter)
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
            transport(b, h[6], at + 40, at + 40 + payload, ends, enter)
        }
        _ => None,
    }
}

#[inline(always)]
fn transport<'a>(
    b: &'a [u8],
    protocol: u8,
    at: usize,
    end: usize,
    ends: impl Fn(u16, u16) -> (u64, u64),
    enter: impl Fn(Around, &'a [u8]) -> Option<Glimpse<'a>>,
) -> Option<Glimpse<'a>> {
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
            let ports = [be16(h, 0), be16(h, 2)];
            let payload = seen.get(8..seen.len().min(len))?;
            match tunnel::on_port(ports[1]) {
                None => Some(Glimpse::Udp { ports, payload }),
                Some(kind) => enter(Around::Udp(kind), payload),
            }
        }
        4 | 41 => enter(Around::Ip, seen),
        47 => enter(Around::Gre, seen),
        // IGMP, ESP, OSPF, PIM, VRRP, SCTP.
        2 | 50 | 89 | 103 | 112 | 132 => Some(Glimpse::Other),
        _ => None,
    }
}

/// What stands around another packet.
#[derive(Clone, Copy, Debug)]
enum Around {
    Ip,
    Gre,
    Udp(OnUdp),
}

/// What a tunnel carries, where its header is one of the common ones and the packet in it is ordinary. Anything else has to be decoded.
fn inside(b: &[u8], around: Around, depth: u8) -> Option<Glimpse<'_>> {
    let (kind, at) = match around {
        Around::Ip => (IP, 0),
        Around::Gre => gre(b)?,
        Around::Udp(OnUdp::Geneve) => {
            let h: &[u8; 8] = b.first_chunk()?;
            let sound = h[0] >> 6 == 0 && h[7] == 0;
            sound.then(|| (be16(h, 2), 8 + usize::from(h[0] & 0x3F) * 4))?
        }
        Around::Udp(OnUdp::Vxlan) => {
            let h: &[u8; 8] = b.first_chunk()?;
            let sound = h[0] & 0x7F == 0x08 && h[7] == 0;
            sound.then_some((tunnel::ETHERNET_BRIDGING, 8))?
        }
    };
    match kind {
        IP | 0x86DD => deeper(b, at, depth),
        tunnel::ETHERNET_BRIDGING => match ether_type(b, at)? {
            (IP | 0x86DD, at) => deeper(b, at, depth),
            _ if depth < TUNNELS => beside_ip(b, at, depth + 1),
            _ => None,
        },
        _ => None,
    }
}

/// The EtherType of IPv4.
const IP: u16 = 0x0800;

/// An IP packet in a tunnel.
fn deeper(b: &[u8], at: usize, depth: u8) -> Option<Glimpse<'_>> {
    (depth < TUNNELS)
        .then(|| ip(b, at, |around, b| inside(b, around, depth + 1)))
        .flatten()
}

/// What follows the headers of GRE and ERSPAN, as [`decode`](super::decode) reads them, without routing and without PPTP: an EtherType, and where it begins.
fn gre(b: &[u8]) -> Option<(u16, usize)> {
    let h: &[u8; 4] = b.first_chunk()?;
    let (flags, kind) = (be16(h, 0), be16(h, 2));
    if flags & 0x4007 != 0 {
        return None;
    }
    // Checksum, key, sequence number: four bytes each.
    let at = 4 + (flags & 0xB000).count_ones() as usize * 4;
    let has_sequence = flags & 0x1000 != 0;
    match kind {
        0x88BE if !has_sequence => Some((tunnel::ETHERNET_BRIDGING, at)),
        // Type II; type III has more to be read.
        0x88BE | 0x22EB => (b.get(at)? >> 4 == 1).then_some((tunnel::ETHERNET_BRIDGING, at + 8)),
        kind => Some((kind, at)),
    }
}

/// MPLS where the first nibble leaves no doubt about what follows.
fn mpls(b: &[u8], mut at: usize, depth: u8) -> Option<Glimpse<'_>> {
    while b.get(at + 2)? & 1 == 0 {
        at += 4;
    }
    let b = b.get(at + 4..)?;
    let h: &[u8; 20] = b.first_chunk()?;
    let total = usize::from(be16(h, 2));
    match h[0] >> 4 {
        4 if (1..=b.len()).contains(&total) => deeper(b, 0, depth),
        6 if !matches!(be16(h, 12), 0x0800 | 0x86DD | 0x8100 | 0x88A8) => deeper(b, 0, depth),
        _ => None,
    }
}

/// PPPoE with an uncompressed protocol field.
fn pppoe(b: &[u8], at: usize, depth: u8) -> Option<Glimpse<'_>> {
    let h: &[u8; 8] = b.get(at..)?.first_chunk()?;
    let end = at + 6 + usize::from(be16(h, 4));
    match h {
        [0x11, 0, _, _, _, _, 0, 0x21 | 0x57] => deeper(b.get(..b.len().min(end))?, at + 8, depth),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::shipped;
    use crate::packet::tests::agreement;

    /// What a glimpse shows is what decoding finds, over every shipped capture.
    #[test]
    fn agrees_with_decoding() {
        let (mut told, mut unclear) = (0, 0);
        for path in shipped::all() {
            shipped::frames(&path, |frame| {
                if agreement::holds_glimpse(frame) {
                    told += 1;
                } else {
                    unclear += 1;
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
