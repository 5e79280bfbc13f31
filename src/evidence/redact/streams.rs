//! The heads of all streams of a capture, put together by sequence number, and what is to be replaced in them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::Pseudonyms;
use super::content;
use super::text::Plan;
use crate::capture::Frame;
use crate::packet::{Body, Segment, TcpFlags, decode};

/// How much of each direction of a connection is read: of RDP in clear, and of anything else, which tells what it is at its begin.
const RDP: usize = 32 << 20;
const HEAD: usize = 256 << 10;
/// How much of all connections together.
const ALL: usize = 128 << 20;
/// How many directions of connections are remembered.
const STREAMS: usize = 1 << 16;

/// The first bytes of one direction of a connection, as far as they were captured.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// The sequence number of the first byte.
    base: u32,
    /// Whether the SYN was seen.
    from_start: bool,
    bytes: Vec<u8>,
    /// As they are written.
    redacted: Vec<u8>,
    /// Captured stretches, rising, not touching.
    have: Vec<(usize, usize)>,
    /// The first place where a segment began with a record of sealed data.
    sealed: Option<usize>,
}

impl Tape {
    /// `len` bytes from `at` on, where all of them were captured.
    pub(super) fn get(&self, at: usize, len: usize) -> Option<&[u8]> {
        if self.available(at) < len {
            return None;
        }
        self.bytes.get(at..at + len)
    }

    /// How many bytes were captured from `at` on without a hole.
    pub(super) fn available(&self, at: usize) -> usize {
        let stretch = self.have.iter().find(|(from, to)| (*from..*to).contains(&at));
        stretch.map_or(0, |(_, to)| to - at)
    }

    /// The bytes from the begin to the first hole.
    pub(super) fn head(&self) -> &[u8] {
        self.get(0, self.available(0)).unwrap_or_default()
    }

    /// See the field.
    pub(super) fn sealed_at(&self) -> Option<usize> {
        self.sealed
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> usize {
        let clear = self.bytes.starts_with(&[3, 0]);
        let most = match self.sealed {
            // Nothing behind sealed data is read.
            Some(sealed) => sealed.min(HEAD),
            None if clear => RDP,
            None => HEAD,
        };
        let end = (at + bytes.len()).min(most);
        if at >= end {
            return 0;
        }
        let grown = end.saturating_sub(self.bytes.len());
        self.bytes.resize(self.bytes.len().max(end), 0);
        // What was captured first stands.
        let mut place = at;
        for (from, to) in self.have.iter().copied().chain([(usize::MAX, usize::MAX)]) {
            if to <= place {
                continue;
            }
            let until = from.clamp(place, end);
            if let Some(target) = self.bytes.get_mut(place..until)
                && let Some(source) = bytes.get(place - at..until - at)
            {
                target.copy_from_slice(source);
            }
            place = to.min(end).max(until);
            if place >= end {
                break;
            }
        }
        self.have.push((at, end));
        self.have.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(self.have.len());
        for (from, to) in self.have.drain(..) {
            match merged.last_mut() {
                Some((_, last)) if *last >= from => *last = (*last).max(to),
                _ => merged.push((from, to)),
            }
        }
        self.have = merged;
        grown
    }

    /// Keeps the bytes as the plan changes them.
    fn rewrite(&mut self, plan: &Plan) {
        self.redacted = self.bytes.clone();
        plan.apply(&mut self.redacted);
    }

    /// Replaces what stands at `at`.
    fn copy(&self, at: usize, payload: &mut [u8]) {
        let known = self.redacted.get(at..).unwrap_or_default();
        payload.iter_mut().zip(known).for_each(|(to, from)| *to = *from);
    }

    /// Whether these bytes at `at` are those that were understood.
    fn agrees(&self, at: usize, bytes: &[u8]) -> bool {
        let known = self.bytes.get(at..).unwrap_or_default();
        known.iter().zip(bytes).all(|(a, b)| a == b)
    }
}

/// A direction of a connection: from where to where.
type Direction = (SocketAddr, SocketAddr);

/// All streams.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// Later connections with the same addresses and ports follow each other.
    tapes: HashMap<Direction, Vec<(Tape, Plan)>>,
    /// Pairs of ends, the lower first, between which RDP over UDP was opened.
    sides: HashSet<Direction>,
    /// Which of them is going on, in the second pass.
    now: HashMap<Direction, usize>,
    /// Bytes kept of all.
    kept: usize,
}

impl Streams {
    /// Learns from one frame.
    pub(super) fn take(&mut self, frame: &Frame<'_>) {
        let Ok(packet) = decode(frame) else { return };
        let segment = match &packet.body {
            Body::Tcp(segment) => segment,
            Body::Udp(datagram) => {
                let from = SocketAddr::new(packet.ip.src, datagram.src_port);
                let to = SocketAddr::new(packet.ip.dst, datagram.dst_port);
                if content::opens_side_channel(datagram.payload) && self.sides.len() < STREAMS {
                    self.sides.insert(pair(from, to));
                }
                return;
            }
            _ => return,
        };
        let direction = (
            SocketAddr::new(packet.ip.src, segment.src_port),
            SocketAddr::new(packet.ip.dst, segment.dst_port),
        );
        if self.tapes.len() >= STREAMS && !self.tapes.contains_key(&direction) {
            return;
        }
        let syn = segment.flags.has(TcpFlags::SYN);
        let first = segment.seq.wrapping_add(u32::from(syn));
        let tapes = self.tapes.entry(direction).or_default();
        let fresh = match tapes.last() {
            None => true,
            Some((tape, _)) => syn && (tape.base != first || !tape.from_start),
        };
        if fresh {
            if !syn && segment.payload.is_empty() {
                return;
            }
            let tape = Tape {
                base: first,
                from_start: syn,
                ..Tape::default()
            };
            tapes.push((tape, Plan::default()));
        }
        if let Some((tape, _)) = tapes.last_mut()
            && !segment.payload.is_empty()
        {
            let at = first.wrapping_sub(tape.base) as usize;
            if at < 1 << 31 {
                if let [23, 3, 1..=4, ..] = segment.payload {
                    tape.sealed = Some(tape.sealed.map_or(at, |before| before.min(at)));
                }
                if self.kept < ALL {
                    self.kept += tape.put(at, segment.payload);
                }
            }
        }
    }

    /// Makes plans of what was learnt.
    pub(super) fn understand(&mut self, by: &mut Pseudonyms) {
        // In an order that does not depend on the hash, for the same pseudonyms under the same key.
        let mut directions: Vec<Direction> = self.tapes.keys().copied().collect();
        directions.sort_unstable();
        for direction in directions {
            let ports = [direction.0.port(), direction.1.port()];
            for (tape, plan) in self.tapes.get_mut(&direction).into_iter().flatten() {
                *plan = content::stream(tape, ports, by);
                tape.rewrite(plan);
                plan.forget_edits();
            }
        }
    }

    /// Begins the second pass.
    pub(super) fn rewind(&mut self) {
        self.now.clear();
    }

    /// Redacts the payload of a segment in place; gives how many of its bytes are understood.
    pub(super) fn redact(&mut self, from: SocketAddr, to: SocketAddr, segment: &Segment<'_>, payload: &mut [u8]) -> usize {
        let direction = (from, to);
        let Some(tapes) = self.tapes.get(&direction) else { return 0 };
        let syn = segment.flags.has(TcpFlags::SYN);
        let first = segment.seq.wrapping_add(u32::from(syn));
        let now = self.now.entry(direction).or_insert(0);
        if syn && let Some(next) = (*now..tapes.len()).find(|place| tapes.get(*place).is_some_and(|(tape, _)| tape.base == first))
        {
            *now = next;
        }
        let Some((tape, plan)) = tapes.get(*now) else { return 0 };
        let at = first.wrapping_sub(tape.base) as usize;
        if at >= 1 << 31 {
            // One byte before the next expected is a keep-alive; it says nothing.
            if payload.len() == 1 {
                payload.fill(0);
                return 1;
            }
            return 0;
        }
        let understood = plan.kept_from(at).saturating_sub(at).min(payload.len());
        // Bytes that differ from those that were understood are something else in the same place.
        let differs = tape.sealed.is_none_or(|sealed| at < sealed) && !tape.agrees(at, payload);
        if differs {
            return 0;
        }
        tape.copy(at, payload);
        understood
    }

    /// Whether RDP over UDP was opened between these ends.
    pub(super) fn is_side_channel(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.sides.contains(&pair(from, to))
    }
}

fn pair(a: SocketAddr, b: SocketAddr) -> Direction {
    (a.min(b), a.max(b))
}
