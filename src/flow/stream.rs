//! Puts one side's bytes in order: retransmissions and overlaps are taken out, holes are waited for within bounds.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use crate::capture::FrameNo;
use crate::flow::Limits;
use crate::flow::seen::Seen;
use crate::flow::side::Side;

/// Who wants the bytes of a connection in order.
pub trait Listener {
    /// The next bytes of `side`, delivered by the packet `seen` (or by an earlier one that had waited behind a hole).
    fn bytes(&mut self, side: Side, bytes: &[u8], seen: &Seen);

    /// `missing` bytes of `side` will never come: the capture lost or cut them.
    fn gap(&mut self, side: Side, missing: u32, seen: &Seen);
}

/// Segments of one side, on their way into order.
#[derive(Clone, Debug, Default)]
pub(super) struct Stream {
    /// The next sequence number to hand on.
    delivered: Option<u32>,
    /// Segments behind a hole, by sequence number.
    waiting: Vec<Waiting>,
    /// Bytes in `waiting`.
    held: usize,
    /// Fingerprints of the segments handed on last, to notice copies that differ.
    recent: std::collections::VecDeque<Print>,
}

#[derive(Clone, Debug)]
struct Waiting {
    seq: u32,
    bytes: Box<[u8]>,
    /// Length on the wire; more than `bytes` where the capture cut it.
    len: u32,
    seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Print {
    seq: u32,
    len: u32,
    hash: u64,
    no: FrameNo,
}

/// How many segments are remembered to notice differing copies.
const PRINTS: usize = 16;

impl Stream {
    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.held + self.waiting.capacity() * size_of::<Waiting>() + self.recent.capacity() * size_of::<Print>()
    }

    /// The sequence number after the last byte that was handed on; nothing before the first.
    pub(super) fn delivered(&self) -> Option<u32> {
        self.delivered
    }

    /// Whether some byte of `seq .. seq + len` has not been captured yet.
    pub(super) fn lacks(&self, seq: u32, len: u32) -> bool {
        let Some(delivered) = self.delivered else { return false };
        let end = seq.wrapping_add(len);
        if before_eq(end, delivered) {
            return false;
        }
        let mut at = if before_eq(seq, delivered) { delivered } else { seq };
        for held in &self.waiting {
            if before_eq(held.seq, at) {
                let held_end = held.seq.wrapping_add(held.len);
                if before_eq(at, held_end) {
                    at = held_end;
                }
            }
        }
        !before_eq(end, at)
    }

    /// The frame that carried the same bytes before with another content, if there is one; none did where they are `new`.
    pub(super) fn conflict(&mut self, seen: &Seen, payload: &[u8], new: bool) -> Option<FrameNo> {
        if payload.len() != seen.len as usize {
            return None;
        }
        let mut hasher = FixedState::default().build_hasher();
        hasher.write(payload);
        let print = Print {
            seq: seen.seq,
            len: seen.len,
            hash: hasher.finish(),
            no: seen.no,
        };
        let is_alike = |known: &&Print| known.seq == print.seq && known.len == print.len;
        let known = if new { None } else { self.recent.iter().find(is_alike) };
        match known {
            Some(known) => (known.hash != print.hash).then_some(known.no),
            None => {
                if self.recent.len() >= PRINTS {
                    self.recent.pop_front();
                }
                if self.recent.len() == self.recent.capacity() {
                    self.recent.reserve_exact(PRINTS / 2);
                }
                self.recent.push_back(print);
                None
            }
        }
    }

    /// Takes a segment in and hands on what is in order. `start` is where the stream begins if the SYN was seen;
    /// `acked` is how far the receiver has acknowledged: what lies before that and was not captured will not come.
    pub(super) fn push(
        &mut self,
        seen: &Seen,
        payload: &[u8],
        start: Option<u32>,
        acked: Option<u32>,
        limits: &Limits,
        listener: &mut impl Listener,
    ) {
        let delivered = *self.delivered.get_or_insert(start.unwrap_or(seen.seq));
        let behind = delivered.wrapping_sub(seen.seq) as i32;
        if behind >= 0 {
            self.hand_on(seen, payload, seen.seq, seen.len, listener);
        } else {
            self.hold(seen, payload, limits);
        }
        self.release(acked, limits, listener);
    }

    fn hand_on(&mut self, seen: &Seen, payload: &[u8], seq: u32, len: u32, listener: &mut impl Listener) {
        let delivered = self.delivered.unwrap_or(seq);
        let skip = delivered.wrapping_sub(seq);
        if skip >= len {
            return;
        }
        let new = payload.get(skip as usize..).unwrap_or_default();
        if !new.is_empty() {
            listener.bytes(seen.side, new, seen);
        }
        let cut = len.saturating_sub(skip.max(u32::try_from(payload.len()).unwrap_or(len)));
        if cut > 0 {
            listener.gap(seen.side, cut, seen);
        }
        self.delivered = Some(seq.wrapping_add(len));
    }

    fn hold(&mut self, seen: &Seen, payload: &[u8], limits: &Limits) {
        if self.waiting.iter().any(|held| held.seq == seen.seq && held.len >= seen.len) {
            return;
        }
        if self.held.saturating_add(payload.len()) > limits.out_of_order_bytes {
            return;
        }
        self.held += payload.len();
        let place = self.waiting.partition_point(|held| before_eq(held.seq, seen.seq));
        self.waiting.insert(
            place,
            Waiting {
                seq: seen.seq,
                bytes: payload.into(),
                len: seen.len,
                seen: *seen,
            },
        );
    }

    fn release(&mut self, acked: Option<u32>, limits: &Limits, listener: &mut impl Listener) {
        while let Some(first) = self.waiting.first() {
            let Some(delivered) = self.delivered else { return };
            let hole = first.seq.wrapping_sub(delivered) as i32;
            // A hole that the receiver has acknowledged past was lost by the capture, not by the network.
            let lost_by_capture = acked.is_some_and(|acked| before_eq(first.seq, acked) && before_eq(delivered, acked));
            let full =
                self.held.saturating_mul(2) > limits.out_of_order_bytes || self.waiting.len() > limits.out_of_order_segments;
            if hole > 0 && !lost_by_capture && !full {
                return;
            }
            self.take_first(listener);
        }
    }

    fn take_first(&mut self, listener: &mut impl Listener) {
        if self.waiting.is_empty() {
            return;
        }
        let held = self.waiting.remove(0);
        self.held = self.held.saturating_sub(held.bytes.len());
        if let Some(delivered) = self.delivered {
            let hole = held.seq.wrapping_sub(delivered) as i32;
            if hole > 0 {
                listener.gap(held.seen.side, hole.unsigned_abs(), &held.seen);
                self.delivered = Some(held.seq);
            }
        }
        self.hand_on(&held.seen, &held.bytes, held.seq, held.len, listener);
    }

    /// Hands on everything that still waits, with the holes before it.
    pub(super) fn flush(&mut self, listener: &mut impl Listener) {
        while !self.waiting.is_empty() {
            self.take_first(listener);
        }
    }
}

/// Whether `a` comes before `b` or is it, in sequence space (RFC 9293 section 3.4).
fn before_eq(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) as i32 >= 0
}
