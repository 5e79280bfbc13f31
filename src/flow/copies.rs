//! Recognises frames that the capture holds more than once: mirror ports that see both directions of a switch, pktmon's components,
//! a capture on both sides of a router. They are no retransmissions, and their TTL is no anomaly.

use std::collections::VecDeque;
use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::seen::Seen;
use crate::flow::side::Side;
use crate::packet::{Segment, TcpFlags};

/// Within this time the same packet is taken for a copy; pktmon's components lie up to some milliseconds apart.
const WINDOW: Span = Span::millis(5);
/// How many packets are remembered.
const REMEMBERED: usize = 8;
/// How many bytes of the payload are compared.
const COMPARED: usize = 64;
/// Copies of packets other than resets after which copies of resets are believed, too. A host answers each stray segment with an
/// identical reset, so a lone pair of equal resets proves nothing.
const PROVEN: u64 = 2;

/// Files of two capture points that were merged hold each packet twice, as far apart as the way between them is long: the SYN shows it.
const APART: Span = Span::secs(2);
/// How much longer than the SYN's the way of other packets may be.
const JITTER: Span = Span::millis(200);
/// So many packets are remembered then.
const FAR: usize = 128;

/// What was found out about copies in one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copies {
    /// How many frames were copies.
    pub count: u64,
    /// Of those, with another TTL: both sides of a router.
    pub routed: u64,
    /// An original and its copy.
    pub example: Option<(FrameNo, FrameNo)>,
    /// The SYN at one capture point and at another one farther away, where the file holds both.
    pub apart: Option<(FrameNo, FrameNo)>,
    /// Packets looked at.
    pub packets: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CopyWatch {
    recent: [Option<Print>; REMEMBERED],
    at: usize,
    /// The client's first SYN.
    syn: Option<Print>,
    far: Option<Box<Far>>,
}

/// The packets of the last moments, where two capture points are in one file.
#[derive(Clone, Debug)]
struct Far {
    within: Span,
    prints: VecDeque<Print>,
}

#[derive(Clone, Copy, Debug)]
struct Print {
    hash: u64,
    ttl: u8,
    no: FrameNo,
    at: Timestamp,
}

impl CopyWatch {
    /// Whether this packet is a copy of one that just passed; counts it.
    pub(super) fn is_copy(&mut self, segment: &Segment<'_>, seen: &Seen, copies: &mut Copies) -> bool {
        let mut hasher = FxHasher::default();
        hasher.write_u64(seen.side as u64 | u64::from(seen.flags.0) << 8 | u64::from(seen.ip_id.unwrap_or(0)) << 32);
        hasher.write_u64(u64::from(seen.seq) << 32 | u64::from(seen.ack));
        hasher.write_u64(u64::from(seen.len) << 32 | u64::from(seen.window));
        if let Some((value, echo)) = seen.timestamps {
            hasher.write_u64(u64::from(value) << 32 | u64::from(echo));
        }
        hasher.write(segment.payload.get(..COMPARED).unwrap_or(segment.payload));
        let hash = hasher.finish();
        copies.packets += 1;
        let original = self
            .recent
            .iter()
            .flatten()
            .find(|print| print.hash == hash && seen.at.since(print.at) <= WINDOW && print.at.since(seen.at) <= WINDOW)
            .copied();
        if let Some(original) = original
            && (!can_repeat_itself(seen) || copies.count >= PROVEN)
        {
            copies.count += 1;
            copies.routed += u64::from(original.ttl != seen.ttl);
            copies.example.get_or_insert((original.no, seen.no));
            return true;
        }
        if self.is_far_copy(Print::of(hash, seen), seen, copies) {
            copies.count += 1;
            copies.routed += 1;
            return true;
        }
        if let Some(slot) = self.recent.get_mut(self.at) {
            *slot = Some(Print::of(hash, seen));
        }
        self.at = (self.at + 1) % REMEMBERED;
        false
    }
}

impl CopyWatch {
    /// Whether another capture point shows this packet, too: with the same identification or timestamp, which no stack gives to what it sends again,
    /// and with another TTL.
    #[inline]
    fn is_far_copy(&mut self, print: Print, seen: &Seen, copies: &mut Copies) -> bool {
        let marked = seen.ip_id.is_some_and(|id| id != 0) || seen.timestamps.is_some();
        if seen.flags.has(TcpFlags::SYN) && seen.side == Side::Client {
            let first = self.syn.get_or_insert(print);
            let took = Span(seen.at.since(first.at).0.abs());
            if !marked || first.hash != print.hash || first.ttl == print.ttl || took > APART {
                return false;
            }
            copies.apart.get_or_insert((first.no, seen.no));
            let within = Span(2 * took.0).plus(JITTER);
            self.far.get_or_insert_with(|| {
                Box::new(Far {
                    within,
                    prints: VecDeque::with_capacity(FAR),
                })
            });
            return true;
        }
        let Some(far) = &mut self.far else { return false };
        let is_same = |other: &Print| other.hash == print.hash && other.ttl != print.ttl && seen.at.since(other.at) <= far.within;
        if marked && far.prints.iter().any(is_same) {
            return true;
        }
        if far.prints.len() >= FAR {
            far.prints.pop_front();
        }
        far.prints.push_back(print);
        false
    }
}

impl Print {
    fn of(hash: u64, seen: &Seen) -> Print {
        Print {
            hash,
            ttl: seen.ttl,
            no: seen.no,
            at: seen.at,
        }
    }
}

/// Whether a stack may send two packets that are equal to the last field within a moment: resets and bare acknowledgments with
/// an identification of zero, or without one (IPv6). No stack repeats a SYN or its answer so soon.
fn can_repeat_itself(seen: &Seen) -> bool {
    let bare = seen.len == 0 && !seen.flags.has(TcpFlags::SYN) && seen.ip_id.is_none_or(|id| id == 0);
    seen.is_reset() || bare
}
