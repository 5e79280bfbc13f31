//! Recognises frames that the capture holds more than once: mirror ports that see both directions of a switch, pktmon's components,
//! a capture on both sides of a router. They are no retransmissions, and their TTL is no anomaly.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::seen::Seen;
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

/// What was found out about copies in one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copies {
    /// How many frames were copies.
    pub count: u64,
    /// Of those, with another TTL: both sides of a router.
    pub routed: u64,
    /// An original and its copy.
    pub example: Option<(FrameNo, FrameNo)>,
    /// Packets looked at.
    pub packets: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CopyWatch {
    recent: [Option<Print>; REMEMBERED],
    at: usize,
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
        if let Some(slot) = self.recent.get_mut(self.at) {
            *slot = Some(Print {
                hash,
                ttl: seen.ttl,
                no: seen.no,
                at: seen.at,
            });
        }
        self.at = (self.at + 1) % REMEMBERED;
        false
    }
}

/// Whether a stack may send two packets that are equal to the last field within a moment: resets and bare acknowledgments with
/// an identification of zero, or without one (IPv6). No stack repeats a SYN or its answer so soon.
fn can_repeat_itself(seen: &Seen) -> bool {
    let bare = seen.len == 0 && !seen.flags.has(TcpFlags::SYN) && seen.ip_id.is_none_or(|id| id == 0);
    seen.is_reset() || bare
}
