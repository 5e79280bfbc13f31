//! Frames in, what passed lately out: bounded by time and by bytes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use rdpwhy::capture::{Frame, FrameNo, LinkType, PacketOptions, Span, Timestamp};
use rdpwhy::packet::fast;

/// The first bytes of each flow are kept whole; a session's pictures and other bulk are cut to headers.
const WHOLE: u64 = 512 << 10;
/// What is kept of a packet of bulk: enough for all headers and the start of a record.
const HEADERS: usize = 160;
/// How many flows are told apart at one time.
const FLOWS: usize = 65_536;
/// What a packet costs besides its bytes.
const OVERHEAD: u64 = 128;
/// A packet that is remembered.
#[derive(Debug)]
struct Kept {
    no: FrameNo,
    at: Timestamp,
    link: LinkType,
    interface: u32,
    wire_len: u32,
    /// Who sent it to whom, where that stands at a fixed place.
    ends: Option<(IpAddr, IpAddr)>,
    bytes: Box<[u8]>,
}

impl Kept {
    /// The frame again.
    fn frame(&self) -> Frame<'_> {
        Frame {
            no: self.no,
            at: self.at,
            link: self.link,
            interface: self.interface,
            bytes: &self.bytes,
            wire_len: self.wire_len,
            direction: None,
            options: PacketOptions::default(),
        }
    }
}

/// What passed lately.
#[derive(Debug)]
pub struct Ring {
    packets: VecDeque<Kept>,
    bytes: u64,
    most_bytes: u64,
    most_time: Span,
    /// Bytes seen of each flow.
    flows: HashMap<(SocketAddr, SocketAddr), u64>,
    /// Packets that left before their time because the ring was full.
    pub overruns: u64,
}

impl Ring {
    /// A ring for so many bytes and so long a time.
    pub fn new(bytes: u64, time: std::time::Duration) -> Ring {
        Ring {
            packets: VecDeque::new(),
            bytes: 0,
            most_bytes: bytes,
            most_time: Span(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            flows: HashMap::new(),
            overruns: 0,
        }
    }

    /// Remembers a frame.
    pub fn push(&mut self, frame: &Frame<'_>) {
        let ends = fast::peek(frame).map(|peek| {
            (
                SocketAddr::new(peek.src, peek.src_port),
                SocketAddr::new(peek.dst, peek.dst_port),
            )
        });
        let bytes = if self.is_bulk(ends, frame.bytes.len() as u64) {
            frame.bytes.get(..HEADERS).unwrap_or(frame.bytes)
        } else {
            frame.bytes
        };
        self.bytes += bytes.len() as u64 + OVERHEAD;
        self.packets.push_back(Kept {
            no: frame.no,
            at: frame.at,
            link: frame.link,
            interface: frame.interface,
            wire_len: frame.wire_len,
            ends: ends.map(|(from, to)| (from.ip(), to.ip())),
            bytes: bytes.into(),
        });
        while let Some(oldest) = self.packets.front() {
            let expired = frame.at.since(oldest.at) > self.most_time;
            if !expired && self.bytes <= self.most_bytes {
                break;
            }
            self.overruns += u64::from(!expired);
            self.bytes -= oldest.bytes.len() as u64 + OVERHEAD;
            self.packets.pop_front();
        }
    }

    /// Whether this packet comes after the first bytes of its flow.
    fn is_bulk(&mut self, ends: Option<(SocketAddr, SocketAddr)>, len: u64) -> bool {
        let Some((a, b)) = ends else { return false };
        if self.flows.len() >= FLOWS {
            self.flows.clear();
        }
        let seen = self.flows.entry((a.min(b), a.max(b))).or_default();
        *seen += len;
        *seen > WHOLE
    }

    /// Forgets the past of a flow, because a new connection between the same ports may come.
    pub fn close(&mut self, client: SocketAddr, server: SocketAddr) {
        self.flows.remove(&(client.min(server), client.max(server)));
    }

    /// How many packets and bytes are remembered.
    pub fn held(&self) -> (usize, u64) {
        (self.packets.len(), self.bytes)
    }

    /// Whether packets from the time of this moment are still there.
    pub fn reaches(&self, at: Timestamp) -> bool {
        self.overruns == 0 || self.packets.front().is_some_and(|oldest| oldest.at <= at)
    }

    /// What is remembered of these hosts, the oldest first, and what cannot be told at a glance to be of others.
    pub fn of<'a>(&'a self, hosts: &'a HashSet<IpAddr>) -> impl Iterator<Item = Frame<'a>> {
        let concerns = move |kept: &&Kept| match &kept.ends {
            Some((from, to)) => hosts.contains(from) || hosts.contains(to),
            None => true,
        };
        self.packets.iter().filter(concerns).map(Kept::frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(no: u64, at: i64, bytes: &[u8]) -> Frame<'_> {
        Frame {
            no: FrameNo(no),
            at: Timestamp(at * 1_000_000_000),
            link: LinkType::ETHERNET,
            interface: 0,
            bytes,
            wire_len: bytes.len() as u32,
            direction: None,
            options: PacketOptions::default(),
        }
    }

    #[test]
    fn time_and_bytes_bound_it_and_only_bytes_are_an_overrun() {
        let mut ring = Ring::new(10 * (100 + OVERHEAD), std::time::Duration::from_secs(5));
        let packet = [0_u8; 100];
        for n in 0..10 {
            ring.push(&frame(n, 0, &packet));
        }
        assert_eq!((ring.held().0, ring.overruns), (10, 0));
        ring.push(&frame(10, 1, &packet));
        assert_eq!((ring.held().0, ring.overruns), (10, 1));
        assert!(!ring.reaches(Timestamp(-1)) && ring.reaches(Timestamp(0)));
        ring.push(&frame(11, 6, &packet));
        assert_eq!(
            (ring.held().0, ring.overruns),
            (2, 1),
            "what was too old left without being missed"
        );
    }
}
