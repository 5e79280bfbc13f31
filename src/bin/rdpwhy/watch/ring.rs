//! Frames in, what passed lately out: bounded by time and by bytes. Packets lie in blocks, which whoever writes evidence shares with the
//! ring instead of copying them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rdpwhy::capture::{
    CaptureError, Event, Frame, FrameNo, InterfaceSummary, LinkType, PacketOptions, Source, SourceSummary, Span, Timestamp,
};
use rdpwhy::packet::{Body, decode, fast};
use rustc_hash::FxHashSet;

/// The first bytes of each flow are kept whole; a session's pictures and other bulk are cut to headers.
const WHOLE: u64 = 512 << 10;
/// What is kept of a packet of bulk: enough for all headers and the start of a record.
const HEADERS: usize = 160;
/// How many flows are told apart at one time.
const FLOWS: usize = 65_536;
/// The ring is forgotten block by block: a block holds at most this part of the bytes and of the time that the ring may hold,
const PARTS: u64 = 64;
/// and never more bytes than this, for it is allocated in one piece.
const BLOCK: u64 = 256 << 10;

/// A packet that is remembered: where its bytes end in its block, and what is known besides.
#[derive(Debug)]
struct Kept {
    no: FrameNo,
    at: Timestamp,
    end: u32,
    wire_len: u32,
    interface: u32,
    link: LinkType,
}

/// Packets that are forgotten together.
#[derive(Debug)]
struct Block {
    packets: Vec<Kept>,
    bytes: Vec<u8>,
    /// Who sends, receives or is spoken of in these packets.
    hosts: FxHashSet<IpAddr>,
    /// What this block adds to `alive`.
    size: u64,
    /// The bytes of all blocks that the ring or evidence in the making still hold.
    alive: Arc<AtomicU64>,
}

impl Block {
    fn new(alive: &Arc<AtomicU64>) -> Block {
        Block {
            packets: Vec::new(),
            bytes: Vec::new(),
            hosts: FxHashSet::default(),
            size: 0,
            alive: Arc::clone(alive),
        }
    }

    /// What it takes in memory.
    fn weight(&self) -> u64 {
        // A hash table has a byte of its own for each place.
        let hosts = self.hosts.capacity() * (size_of::<IpAddr>() + 1);
        (self.bytes.capacity() + self.packets.capacity() * size_of::<Kept>() + hosts) as u64
    }

    fn push(&mut self, frame: &Frame<'_>, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.packets.push(Kept {
            no: frame.no,
            at: frame.at,
            end: u32::try_from(self.bytes.len()).unwrap_or(u32::MAX),
            wire_len: frame.wire_len,
            interface: frame.interface,
            link: frame.link,
        });
    }

    /// Ends it: nothing is added any more.
    fn freeze(mut self) -> Arc<Block> {
        self.bytes.shrink_to_fit();
        self.packets.shrink_to_fit();
        self.hosts.shrink_to_fit();
        self.size = self.weight();
        self.alive.fetch_add(self.size, Ordering::Relaxed);
        Arc::new(self)
    }

    fn frame(&self, place: usize) -> Option<Frame<'_>> {
        let kept = self.packets.get(place)?;
        let before = place.checked_sub(1).and_then(|before| self.packets.get(before));
        let start = before.map_or(0, |before| before.end as usize);
        Some(Frame {
            no: kept.no,
            at: kept.at,
            link: kept.link,
            interface: kept.interface,
            bytes: self.bytes.get(start..kept.end as usize)?,
            wire_len: kept.wire_len,
            direction: None,
            options: PacketOptions::default(),
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.alive.fetch_sub(self.size, Ordering::Relaxed);
    }
}

/// What passed lately.
#[derive(Debug)]
pub struct Ring {
    blocks: VecDeque<Arc<Block>>,
    open: Block,
    bytes: u64,
    packets: usize,
    most_bytes: u64,
    most_time: Span,
    alive: Arc<AtomicU64>,
    /// Bytes seen of each flow.
    flows: HashMap<(SocketAddr, SocketAddr), u64>,
    /// Packets that left before their time because the ring was full.
    pub overruns: u64,
    /// Whether any packet left, for whatever reason.
    has_forgotten: bool,
}

impl Ring {
    /// A ring for so many bytes and so long a time.
    pub fn new(bytes: u64, time: std::time::Duration) -> Ring {
        let alive = Arc::default();
        Ring {
            blocks: VecDeque::new(),
            open: Block::new(&alive),
            bytes: 0,
            packets: 0,
            most_bytes: bytes,
            most_time: Span(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            alive,
            flows: HashMap::new(),
            overruns: 0,
            has_forgotten: false,
        }
    }

    /// Remembers a frame.
    pub fn push(&mut self, frame: &Frame<'_>) {
        let peek = fast::peek(frame);
        let ends = peek.map(|peek| {
            (
                SocketAddr::new(peek.src, peek.src_port),
                SocketAddr::new(peek.dst, peek.dst_port),
            )
        });
        let is_bulk = ends.is_some_and(|(from, to)| self.is_bulk(from, to, frame.bytes.len() as u64));
        let bytes = if is_bulk {
            frame.bytes.get(..HEADERS).unwrap_or(frame.bytes)
        } else {
            frame.bytes
        };
        let began = self.open.packets.first().map(|first| first.at);
        let most_time = Span(self.most_time.0 / PARTS as i64);
        let is_full = self.open.bytes.len() as u64 >= (self.most_bytes / PARTS).min(BLOCK);
        if began.is_some_and(|began| is_full || frame.at.since(began) > most_time) {
            self.close_block();
        }
        match ends {
            Some((from, to)) => self.open.hosts.extend([from.ip(), to.ip()]),
            None => self.open.hosts.extend(hosts_of(frame)),
        }
        self.open.push(frame, bytes);
        while let Some(oldest) = self.blocks.front() {
            // Of a clock that was set back, the first packet may be the younger one.
            let expires = |kept: &Kept| frame.at.since(kept.at) > self.most_time;
            let expired = oldest.packets.last().is_none_or(expires);
            if !expired && self.bytes <= self.most_bytes {
                break;
            }
            if !expired {
                self.overruns += oldest.packets.iter().filter(|kept| !expires(kept)).count() as u64;
            }
            self.bytes -= oldest.size;
            self.packets -= oldest.packets.len();
            self.has_forgotten = true;
            self.blocks.pop_front();
        }
    }

    fn close_block(&mut self) {
        let block = std::mem::replace(&mut self.open, Block::new(&self.alive)).freeze();
        self.bytes += block.size;
        self.packets += block.packets.len();
        self.blocks.push_back(block);
    }

    /// Whether this packet comes after the first bytes of its flow.
    fn is_bulk(&mut self, a: SocketAddr, b: SocketAddr, len: u64) -> bool {
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
        let open = &self.open;
        (self.packets + open.packets.len(), self.bytes + open.weight())
    }

    /// Whether evidence that waits to be written holds on to more than the ring itself may: it must not grow with a slow disk.
    pub fn is_strained(&self) -> bool {
        self.alive.load(Ordering::Relaxed) > self.most_bytes.saturating_mul(2)
    }

    /// What is remembered at this moment, for evidence about an attempt of these hosts that began then: packets of others are among
    /// them.
    pub fn share(&mut self, hosts: &[IpAddr], began: Timestamp, about: &SourceSummary) -> Memory {
        if !self.open.packets.is_empty() {
            self.close_block();
        }
        let oldest = self.blocks.front().and_then(|block| block.packets.first());
        let concerns = |block: &&Arc<Block>| hosts.iter().any(|host| block.hosts.contains(host));
        let blocks: Vec<Arc<Block>> = self.blocks.iter().filter(concerns).map(Arc::clone).collect();
        let mut summary = about.clone();
        summary.interfaces.clear();
        Memory {
            reaches: !self.has_forgotten || oldest.is_some_and(|oldest| oldest.at <= began),
            blocks,
            known: about.interfaces.clone(),
            places: HashMap::new(),
            summary,
            block: 0,
            packet: 0,
        }
    }
}

/// The hosts of a packet that cannot be looked at in passing; those of the packet that an ICMP message is about, too.
fn hosts_of(frame: &Frame<'_>) -> Vec<IpAddr> {
    let Ok(packet) = decode(frame) else { return Vec::new() };
    let mut hosts = vec![packet.ip.src, packet.ip.dst];
    if let Body::Icmp(message) = &packet.body
        && let Some(quoted) = &message.quoted
    {
        hosts.extend([quoted.src.ip(), quoted.dst.ip()]);
    }
    hosts
}

/// What was remembered at one moment, to be read once as a capture: frames have the numbers that they had live.
#[derive(Debug)]
pub struct Memory {
    /// Whether packets from the begin of the attempt were still there.
    pub reaches: bool,
    blocks: Vec<Arc<Block>>,
    /// The interfaces of the live capture.
    known: Vec<InterfaceSummary>,
    /// Those of this one: an interface that was away may be of another link type since, and is another interface in a file.
    places: HashMap<(u32, LinkType), u32>,
    summary: SourceSummary,
    block: usize,
    packet: usize,
}

impl Source for Memory {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        while self
            .blocks
            .get(self.block)
            .is_some_and(|block| self.packet >= block.packets.len())
        {
            (self.block, self.packet) = (self.block + 1, 0);
        }
        self.packet += 1;
        let frame = self.blocks.get(self.block).and_then(|block| block.frame(self.packet - 1));
        let Some(frame) = frame else { return Ok(None) };
        let interface = *self.places.entry((frame.interface, frame.link)).or_insert_with(|| {
            let place = u32::try_from(self.summary.interfaces.len()).unwrap_or(u32::MAX);
            let known = self.known.get(frame.interface as usize).cloned().unwrap_or_default();
            self.summary.interfaces.push(InterfaceSummary {
                link: frame.link,
                ..known
            });
            place
        });
        Ok(Some(Event::Frame(Frame { interface, ..frame })))
    }

    fn summary(&self) -> SourceSummary {
        self.summary.clone()
    }

    fn bytes_read(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))];

    /// A SYN of 10.0.0.1 to a host with the number of the frame.
    fn push(ring: &mut Ring, no: u64, at: i64) {
        let host = [10, 1, (no >> 8) as u8, no as u8];
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], host, 64)
            .tcp(50_000, 3389, no as u32, 64_240)
            .syn();
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[]).unwrap();
        ring.push(&Frame {
            no: FrameNo::new(no),
            at: Timestamp(at * 1_000_000_000),
            link: LinkType::ETHERNET,
            interface: 0,
            bytes: &bytes,
            wire_len: bytes.len() as u32,
            direction: None,
            options: PacketOptions::default(),
        });
    }

    fn share(ring: &mut Ring, hosts: &[IpAddr], began: i64) -> Memory {
        ring.share(hosts, Timestamp(began), &SourceSummary::default())
    }

    fn numbers(memory: &mut Memory) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Some(Event::Frame(frame)) = memory.next().unwrap() {
            assert_eq!(frame.bytes[32..34], (frame.no.number() as u16).to_be_bytes());
            numbers.push(frame.no.number());
        }
        numbers
    }

    #[test]
    fn time_and_bytes_bound_it_and_only_bytes_are_an_overrun() {
        // So small that each packet has a block of its own.
        let mut ring = Ring::new(2_000, std::time::Duration::from_secs(5));
        let mut pushed = 0;
        while ring.overruns == 0 {
            push(&mut ring, pushed, 0);
            pushed += 1;
        }
        let held = ring.held().0 as u64;
        assert!(held > 5 && held == pushed - 1, "{held} of {pushed}");
        assert!(!share(&mut ring, &US, -1).reaches && share(&mut ring, &US, 0).reaches);
        push(&mut ring, pushed, 1);
        let overruns = ring.overruns;
        push(&mut ring, pushed + 1, 6);
        assert_eq!(
            (numbers(&mut share(&mut ring, &US, 0)), ring.overruns),
            (vec![pushed, pushed + 1], overruns),
            "what was too old left without being missed"
        );
        let mut ring = Ring::new(64 << 10, std::time::Duration::from_secs(5));
        (0..8).for_each(|no| push(&mut ring, no, no as i64));
        let second = 1_000_000_000;
        assert_eq!(ring.overruns, 0);
        assert!(
            !share(&mut ring, &US, second).reaches && share(&mut ring, &US, 3 * second).reaches,
            "an attempt that takes longer than the time of the ring lacks its first packets"
        );
    }

    #[test]
    fn what_was_shared_stays_whatever_the_ring_forgets_and_is_counted_until_it_goes() {
        let mut ring = Ring::new(64 << 10, std::time::Duration::from_secs(900));
        let mut shared = Vec::new();
        for round in 0..4 {
            (round * 1_000..(round + 1) * 1_000).for_each(|no| push(&mut ring, no, no as i64 / 100));
            shared.push(share(&mut ring, &US, 0));
        }
        assert!(ring.is_strained() && ring.held().1 <= 68 << 10, "{:?}", ring.held());
        for (round, memory) in (1..).zip(&mut shared) {
            let numbers = numbers(memory);
            assert_eq!(numbers.last(), Some(&(round * 1_000 - 1)));
            assert!(numbers.len() > 200 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        shared.clear();
        assert!(!ring.is_strained());
    }

    #[test]
    fn packets_far_from_those_of_a_host_are_not_shared() {
        let mut ring = Ring::new(64 << 10, std::time::Duration::from_secs(900));
        (0..200).for_each(|no| push(&mut ring, no, 0));
        let host = |no: u8| [IpAddr::from([10, 1, 0, no])];
        let found = numbers(&mut share(&mut ring, &host(150), 0));
        assert!(found.contains(&150) && found.len() < 50, "{found:?}");
        assert_eq!(numbers(&mut share(&mut ring, &host(250), 0)), [0; 0]);
    }
}
