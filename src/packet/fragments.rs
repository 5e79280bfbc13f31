//! IPv4 and IPv6 fragments put together, within bounds.

use std::collections::VecDeque;
use std::net::IpAddr;

use etherparse::{IpNumber, Ipv6ExtensionsSlice};
use rustc_hash::FxHashMap;

use crate::capture::{FrameNo, Span, Timestamp};

use super::bytes::{Bytes, be16};
use super::decode::Walk;
use super::{Body, IpFacts, LinkFacts, Packet, Piece, ip};

/// The longest payload that fragments can make up: the IP length field has 16 bits.
const MAX_DATAGRAM: usize = 65_535;

/// How long the pieces of one datagram may take (RFC 8200 section 4.5: 60 s); after that the identification means another datagram.
const PATIENCE: Span = Span::secs(60);

/// Puts fragments together. Where two overlap the first bytes seen win, as a duplicate must not change what was read.
#[derive(Debug)]
pub struct Reassembler {
    max_datagrams: usize,
    max_bytes: usize,
    bytes: usize,
    waiting: FxHashMap<Key, Waiting>,
    /// Keys with the serial number of their datagram, oldest first; entries of datagrams that are gone are skipped.
    order: VecDeque<(u64, Key)>,
    serial: u64,
    stats: FragmentStats,
}

/// What became of fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentStats {
    /// Fragments seen.
    pub pieces: u64,
    /// Datagrams put together.
    pub complete: u64,
    /// Datagrams given up because the bounds were reached.
    pub evicted: u64,
    /// Datagrams given up because their identification came into use again before they were whole.
    pub expired: u64,
    /// Fragments that contradict the format (beyond the largest datagram, or not a multiple of eight bytes long with more to follow).
    pub malformed: u64,
    /// Fragments that a snap length cut: their datagrams cannot become whole.
    pub cut: u64,
    /// Fragments with bytes that differ from those already seen at the same place.
    pub conflicting: u64,
    /// Datagrams that still wait for pieces.
    pub incomplete: u64,
}

/// RFC 791 section 3.2 and RFC 8200 section 4.5: what belongs to one datagram. IPv6 leaves the protocol out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    protocol: Option<u8>,
}

/// A datagram that is not whole yet.
#[derive(Debug)]
struct Waiting {
    serial: u64,
    first: FrameNo,
    first_at: Timestamp,
    protocol: u8,
    bytes: Vec<u8>,
    /// The ranges of `bytes` that are filled, sorted and disjoint.
    filled: Vec<(usize, usize)>,
    /// The length of the whole, once the last fragment told it.
    len: Option<usize>,
    /// What the fragment at offset 0 says; it speaks for the whole.
    head: Option<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    ip: IpFacts,
    protocol: u8,
    /// Bytes of headers in front of the fragment's payload.
    header_len: u32,
}

impl Waiting {
    fn new(serial: u64, packet: &Packet<'_>, protocol: u8) -> Waiting {
        Waiting {
            serial,
            first: packet.no,
            first_at: packet.at,
            protocol,
            bytes: Vec::new(),
            filled: Vec::new(),
            len: None,
            head: None,
        }
    }

    /// Adds a piece and says whether it contradicted what was there; what was there stays.
    fn add(&mut self, ip: IpFacts, piece: &Piece<'_>) -> bool {
        let (start, end) = (piece.offset as usize, piece.offset as usize + piece.payload.len());
        let mut conflict = false;
        if !piece.more {
            conflict |= *self.len.get_or_insert(end) != end;
        }
        if start == 0 && self.head.is_none() {
            let header_len = ip.total_len.saturating_sub(piece.payload_len);
            self.head = Some(Head {
                ip,
                protocol: piece.protocol,
                header_len,
            });
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let mut at = start;
        // The ranges that touch or overlap this piece become one range with it.
        let first = self.filled.partition_point(|(_, to)| *to < start);
        let last = self.filled.partition_point(|(from, _)| *from <= end);
        for &(from, to) in &self.filled[first..last] {
            let (from, to) = (from.clamp(start, end), to.clamp(start, end));
            if at < from {
                self.bytes[at..from].copy_from_slice(&piece.payload[at - start..from - start]);
            }
            conflict |= self.bytes[from..to] != piece.payload[from - start..to - start];
            at = at.max(to);
        }
        self.bytes[at..end].copy_from_slice(&piece.payload[at - start..]);
        let touched = &self.filled[first..last];
        let merged = (
            touched.first().map_or(start, |(from, _)| start.min(*from)),
            touched.last().map_or(end, |(_, to)| end.max(*to)),
        );
        self.filled.splice(first..last, [merged]);
        conflict
    }

    /// The header and the length of the whole, once nothing is missing.
    fn whole(&self) -> Option<(Head, usize)> {
        let len = self.len?;
        let (from, to) = *self.filled.first()?;
        (from == 0 && to >= len).then_some((self.head?, len))
    }
}

/// A datagram whose pieces have not all been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol of the whole.
    pub protocol: u8,
    /// Source and destination port, where the first fragment of a TCP or UDP datagram was among the pieces.
    pub ports: Option<(u16, u16)>,
    /// The frame that brought the first piece to be seen.
    pub first: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// Bytes of the datagram's payload that were seen.
    pub seen: usize,
}

/// A datagram put together; [`Reassembled::packet`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    no: FrameNo,
    at: Timestamp,
    interface: u32,
    link: LinkFacts,
    ip: IpFacts,
    protocol: u8,
    bytes: Vec<u8>,
}

impl Reassembled {
    /// The packet as if it had come whole, with the number and time of the fragment that completed it and the header of its first fragment;
    /// `ip.fragment` is set. Tunnels inside it are followed.
    pub fn packet(&self) -> Packet<'_> {
        let walk = Walk {
            no: self.no,
            at: self.at,
            interface: self.interface,
            link: self.link,
            depth: 0,
            verify: false,
        };
        let (protocol, payload) = match self.ip.src {
            IpAddr::V4(_) => (self.protocol, &self.bytes[..]),
            // The fragmentable part may begin with more extension headers.
            IpAddr::V6(_) => {
                let (_, protocol, rest, _) = Ipv6ExtensionsSlice::from_slice_lax(IpNumber(self.protocol), &self.bytes);
                (protocol.0, rest)
            }
        };
        ip::payload(walk, self.ip, protocol, Bytes::new(payload, payload.len()), None)
    }
}

impl Reassembler {
    /// A reassembler that keeps at most `max_datagrams` incomplete datagrams of at most `max_bytes` together; the oldest goes first.
    pub fn new(max_datagrams: usize, max_bytes: usize) -> Reassembler {
        Reassembler {
            max_datagrams,
            max_bytes,
            bytes: 0,
            waiting: FxHashMap::default(),
            order: VecDeque::new(),
            serial: 0,
            stats: FragmentStats::default(),
        }
    }

    /// What became of the fragments so far.
    pub fn stats(&self) -> FragmentStats {
        FragmentStats {
            incomplete: self.waiting.len() as u64,
            ..self.stats
        }
    }

    /// The datagrams that still wait for pieces, in the order in which their first pieces came.
    pub fn incomplete(&self) -> impl Iterator<Item = Incomplete> + '_ {
        self.order.iter().filter_map(|(serial, key)| {
            let waiting = self.waiting.get(key).filter(|w| w.serial == *serial)?;
            let has_ports = matches!(waiting.protocol, 6 | 17) && waiting.head.is_some();
            let ports = waiting.bytes.first_chunk::<4>().filter(|_| has_ports);
            Some(Incomplete {
                src: key.src,
                dst: key.dst,
                protocol: waiting.protocol,
                ports: ports.map(|h| (be16(h, 0), be16(h, 2))),
                first: waiting.first,
                at: waiting.first_at,
                seen: waiting.filled.iter().map(|(from, to)| to - from).sum(),
            })
        })
    }

    /// Takes a packet; answers with the whole datagram where it was the last missing piece. Packets that are no fragments are let pass.
    pub fn push(&mut self, packet: &Packet<'_>) -> Option<Reassembled> {
        let Body::Fragment(piece) = &packet.body else {
            return None;
        };
        self.stats.pieces += 1;
        let end = piece.offset as usize + piece.payload_len as usize;
        if piece.payload_len == 0 || end > MAX_DATAGRAM || (piece.more && piece.payload_len % 8 != 0) {
            self.stats.malformed += 1;
            return None;
        }
        if piece.payload.len() < piece.payload_len as usize {
            self.stats.cut += 1;
            return None;
        }
        let key = Key {
            src: packet.ip.src,
            dst: packet.ip.dst,
            id: piece.id,
            protocol: packet.ip.src.is_ipv4().then_some(piece.protocol),
        };
        if self.waiting.get(&key).is_some_and(|w| packet.at.since(w.first_at) > PATIENCE) {
            self.forget(&key);
            self.stats.expired += 1;
        }
        let serial = self.serial;
        let waiting = self
            .waiting
            .entry(key)
            .or_insert_with(|| Waiting::new(serial, packet, piece.protocol));
        if waiting.serial == serial {
            self.serial += 1;
            self.order.push_back((serial, key));
        }
        let before = waiting.bytes.len();
        self.stats.conflicting += u64::from(waiting.add(packet.ip, piece));
        self.bytes += waiting.bytes.len() - before;
        if let Some((head, len)) = waiting.whole() {
            let mut bytes = self.forget(&key)?.bytes;
            bytes.truncate(len);
            self.stats.complete += 1;
            return Some(Reassembled {
                no: packet.no,
                at: packet.at,
                interface: packet.interface,
                link: packet.link,
                ip: IpFacts {
                    total_len: head.header_len + len as u32,
                    fragment: true,
                    ..head.ip
                },
                protocol: head.protocol,
                bytes,
            });
        }
        self.keep_bounds();
        None
    }

    fn forget(&mut self, key: &Key) -> Option<Waiting> {
        let gone = self.waiting.remove(key)?;
        self.bytes -= gone.bytes.len();
        Some(gone)
    }

    fn keep_bounds(&mut self) {
        while self.waiting.len() > self.max_datagrams || self.bytes > self.max_bytes {
            let Some((serial, key)) = self.order.pop_front() else {
                return;
            };
            if self.waiting.get(&key).is_some_and(|w| w.serial == serial) {
                self.forget(&key);
                self.stats.evicted += 1;
            }
        }
        // Most datagrams become whole: their entries must not pile up behind one that never does.
        if self.order.len() > 2 * self.waiting.len() + 16 {
            let waiting = &self.waiting;
            self.order
                .retain(|(serial, key)| waiting.get(key).is_some_and(|w| w.serial == *serial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::*;
    use crate::capture::{Frame, LinkType, PacketOptions};
    use etherparse::{IpFragOffset, Ipv4Header, PacketBuilder};

    const DATAGRAM: usize = 1500;

    /// A UDP datagram in IPv4 fragments: (offset, length) each; `id` tells datagrams apart.
    fn fragment4(id: u16, offset: usize, len: usize, last: bool) -> Vec<u8> {
        let whole = datagram4();
        let body = &whole[20 + offset..20 + offset + len];
        let mut header = Ipv4Header::from_slice(&whole).unwrap().0;
        header.identification = id;
        header.total_len = (20 + len) as u16;
        header.dont_fragment = false;
        header.more_fragments = !last;
        header.fragment_offset = IpFragOffset::try_new((offset / 8) as u16).unwrap();
        let mut out = header.to_bytes().to_vec();
        out.extend(body);
        out
    }

    fn datagram4() -> Vec<u8> {
        let payload: Vec<u8> = (0..DATAGRAM - 8).map(|n| n as u8).collect();
        let mut out = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 60)
            .udp(40_000, 3389)
            .write(&mut out, &payload)
            .unwrap();
        out
    }

    fn push(to: &mut Reassembler, no: u64, bytes: &[u8]) -> Option<Reassembled> {
        let frame = Frame {
            no: FrameNo::new(no),
            at: Timestamp(no as i64 * 1_000_000_000),
            link: LinkType::RAW,
            interface: 0,
            bytes,
            wire_len: bytes.len() as u32,
            direction: None,
            options: PacketOptions::default(),
        };
        let packet = decode(&frame).unwrap();
        assert!(packet.ip.fragment);
        to.push(&packet)
    }

    #[track_caller]
    fn assert_whole(done: &Reassembled, no: u64) {
        let packet = done.packet();
        let whole = datagram4();
        assert_eq!(
            (packet.no, packet.ip.fragment, packet.ip.ttl, packet.ip.total_len),
            (FrameNo::new(no), true, 60, 1520)
        );
        match packet.body {
            Body::Udp(d) => assert_eq!((d.dst_port, d.payload, d.payload_len), (3389, &whole[28..], 1492)),
            other => panic!("expected a datagram, found {other:?}"),
        }
    }

    #[test]
    fn in_any_order_with_overlaps_and_copies() {
        let pieces = [(0, 512, false), (512, 512, false), (256, 512, false), (1024, 476, true)];
        let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]];
        for order in orders {
            let mut to = Reassembler::new(4, 10_000);
            let mut done = Vec::new();
            for (no, at) in order.into_iter().enumerate() {
                let (offset, len, last) = pieces[at];
                done.extend(push(&mut to, no as u64, &fragment4(9, offset, len, last)).map(|whole| (no, whole)));
            }
            let (no, whole) = &done[0];
            assert_whole(whole, *no as u64);
            assert_eq!((to.stats().complete, to.stats().conflicting), (1, 0), "{order:?}");
        }
    }

    #[test]
    fn the_first_bytes_win_and_a_conflict_is_counted() {
        let mut to = Reassembler::new(4, 10_000);
        assert_eq!(push(&mut to, 1, &fragment4(9, 512, 512, false)), None);
        let mut forged = fragment4(9, 512, 512, false);
        forged[20..].fill(0xEE);
        assert_eq!(push(&mut to, 2, &forged), None);
        assert_eq!(push(&mut to, 3, &fragment4(9, 1024, 476, true)), None);
        let done = push(&mut to, 4, &fragment4(9, 0, 512, false)).unwrap();
        assert_whole(&done, 4);
        assert_eq!(to.stats().conflicting, 1);
    }

    #[test]
    fn ipv6_fragments_lead_to_the_transport() {
        let mut whole = Vec::new();
        PacketBuilder::ipv6([1; 16], [2; 16], 60)
            .udp(40_000, 3389)
            .write(&mut whole, &[5; 1992])
            .unwrap();
        let fragment = |offset: usize, len: usize, last: bool| {
            let mut out = whole[..40].to_vec();
            out[6] = 44;
            out[4..6].copy_from_slice(&((len + 8) as u16).to_be_bytes());
            let [hi, lo] = (offset as u16 | u16::from(!last)).to_be_bytes();
            out.extend([17, 0, hi, lo, 0, 1, 2, 3]);
            out.extend(&whole[40 + offset..40 + offset + len]);
            out
        };
        let mut to = Reassembler::new(4, 10_000);
        assert_eq!(push(&mut to, 1, &fragment(1232, 768, true)), None);
        let done = push(&mut to, 2, &fragment(0, 1232, false)).unwrap();
        match done.packet().body {
            Body::Udp(d) => assert_eq!((d.src_port, d.payload), (40_000, &[5; 1992][..])),
            other => panic!("expected a datagram, found {other:?}"),
        }
    }

    #[test]
    fn bounds_evict_the_oldest_and_count() {
        let mut to = Reassembler::new(2, 2000);
        for id in 1..=3 {
            push(&mut to, id.into(), &fragment4(id, 0, 512, false));
        }
        assert_eq!((to.stats().evicted, to.stats().incomplete), (1, 2));
        push(&mut to, 4, &fragment4(3, 1024, 476, true));
        assert_eq!(
            (to.stats().evicted, to.stats().incomplete),
            (2, 1),
            "2012 bytes are more than 2000"
        );
        assert!(push(&mut to, 5, &fragment4(3, 512, 512, false)).is_some());
        assert_eq!((to.stats().complete, to.stats().incomplete, to.bytes), (1, 0, 0));
        for id in 0..1000 {
            push(&mut to, 6, &fragment4(id, 0, 512, false));
            push(&mut to, 6, &fragment4(id, 512, 988, true));
        }
        assert_eq!(to.stats().complete, 1001);
        assert!(to.order.len() <= 20, "{} entries", to.order.len());
    }

    #[test]
    fn what_never_became_whole_is_told_with_its_ports() {
        let mut to = Reassembler::new(4, 10_000);
        push(&mut to, 3, &fragment4(1, 512, 512, false));
        push(&mut to, 4, &fragment4(2, 0, 512, false));
        push(&mut to, 5, &fragment4(2, 1024, 476, true));
        let left: Vec<_> = to.incomplete().map(|i| (i.first, i.protocol, i.ports, i.seen)).collect();
        assert_eq!(
            left,
            [
                (FrameNo::new(3), 17, None, 512),
                (FrameNo::new(4), 17, Some((40_000, 3389)), 988)
            ]
        );
    }

    #[test]
    fn a_reused_identification_begins_anew() {
        let mut to = Reassembler::new(4, 10_000);
        push(&mut to, 1, &fragment4(9, 0, 512, false));
        assert_eq!(push(&mut to, 100, &fragment4(9, 512, 988, true)), None);
        assert_eq!(to.stats().expired, 1);
        assert_whole(&push(&mut to, 101, &fragment4(9, 0, 512, false)).unwrap(), 101);
    }
}
