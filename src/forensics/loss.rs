//! What was sent and never acknowledged, how much was sent twice, and which side of the capture loses it.

use crate::capture::{FrameNo, Span};
use crate::flow::{Connection, Marks, Seen, Side};
use crate::packet::TcpFlags;
use crate::transcript::Transcript;

/// Something that a side repeated until it, or the capture, ended, and that was never acknowledged.
#[derive(Clone, Debug)]
pub struct Unanswered {
    /// Who was not answered.
    pub waiting: Side,
    /// The first packet of what was never acknowledged.
    pub first: Seen,
    /// The first repetitions, at most three.
    pub copies: Vec<Seen>,
    /// How often it was repeated.
    pub repeats: u32,
    /// The last repetition.
    pub last: Seen,
    /// The last packet of the other side before it.
    pub heard_before: Option<Seen>,
    /// The first packet of the other side that arrived well after it, although it acknowledges nothing of it.
    pub heard_after: Option<Seen>,
    /// The first packet of the other side after the waiting side had given up.
    pub heard_too_late: Option<Seen>,
    /// The first keep-alive probe that was not answered, before or among what was not.
    pub probed: Option<Seen>,
    /// Whether these are keep-alive probes of an idle connection.
    pub probes: bool,
    /// The RST with which the waiting side gave up. What the other side says after it finds nobody who could answer.
    pub gave_up: Option<FrameNo>,
}

/// How many repetitions are kept.
const COPIES: usize = 3;
/// So long a side must have tried in vain.
const IN_VAIN: Span = Span::millis(1500);

impl Unanswered {
    /// From the first to the last try.
    pub fn lasted(&self) -> Span {
        self.last.at.since(self.first.at)
    }

    /// Whether this is more than a capture that ends while something is under way.
    pub fn is_telling(&self, t: &Transcript) -> bool {
        // Probes are few and far between: the RST after them says that they were given up.
        if self.probes && self.gave_up.is_some() && self.repeats >= 1 {
            return true;
        }
        // So was a probe before them, which any host answers at once.
        if self.repeats >= 2 && self.probed.is_some_and(|probe| self.last.at.since(probe.at) >= IN_VAIN) {
            return true;
        }
        let watched = t.window.last.since(self.first.at);
        (self.repeats >= 3 && self.lasted() >= IN_VAIN) || (self.repeats >= 2 && watched >= Span::secs(5))
    }
}

/// What was not answered at the end of a connection; the side that tried more often if it is both.
pub fn unanswered(t: &Transcript) -> Option<Unanswered> {
    // Where one direction was not captured, nothing can be said about answers.
    if t.only_side().is_some() {
        return None;
    }
    Side::BOTH
        .into_iter()
        .filter_map(|side| of_side(&t.tcp, side))
        .max_by_key(|found| (!found.probes, found.repeats, found.last.no))
}

fn of_side(tcp: &Connection, side: Side) -> Option<Unanswered> {
    let half = &tcp.half[side];
    // A reset of the other side is an answer.
    let answered = tcp.resets.iter().any(|reset| reset.seen.side == side.other());
    if answered || tcp.handshake.syn.is_some() && !tcp.is_set_up() {
        return None;
    }
    // What comes after the side's own reset is no longer its voice.
    let own_end = tcp
        .resets
        .iter()
        .find(|reset| reset.seen.side == side)
        .map(|reset| reset.seen.no);
    let speaks = || {
        tcp.log
            .iter()
            .filter(move |seen| seen.side == side && !seen.is_reset() && own_end.is_none_or(|end| seen.no < end))
    };
    let heard = |seen: &&Seen| seen.side == side.other() && !seen.is_reset() && own_end.is_none_or(|end| seen.no < end);
    let unacked = |seen: &Seen| half.acked.is_none_or(|acked| (seen.end().wrapping_sub(acked) as i32) > 0);
    let carries = |seen: &Seen| seen.len > 0 || seen.flags.has(TcpFlags::FIN);
    let mut outstanding = speaks().filter(|seen| carries(seen) && unacked(seen) && !seen.marks.has(Marks::KEEP_ALIVE));
    let (first, copies, probes): (Seen, Vec<&Seen>, bool) = match outstanding.next() {
        Some(first) => {
            let copies = speaks()
                .filter(|seen| seen.no > first.no && carries(seen) && unacked(seen))
                .filter(|seen| seen.marks.has(Marks::RETRANSMISSION | Marks::FILLS_HOLE | Marks::KEEP_ALIVE))
                .collect();
            (*first, copies, false)
        }
        None => {
            let since = tcp.log.iter().rfind(heard).map_or(tcp.first().no, |last| last.no);
            let mut probes = speaks().filter(|seen| seen.marks.has(Marks::KEEP_ALIVE) && seen.no > since);
            (*probes.next()?, probes.collect(), true)
        }
    };
    let last = copies.last().map_or(first, |seen| **seen);
    let late = first.at.plus(Span::millis(300));
    let heard_last = tcp.log.iter().rfind(heard).map(|last| last.no);
    let probed = speaks().find(|seen| seen.marks.has(Marks::KEEP_ALIVE) && heard_last.is_none_or(|last| seen.no > last));
    Some(Unanswered {
        probed: probed.copied(),
        waiting: side,
        first,
        repeats: u32::try_from(copies.len()).unwrap_or(u32::MAX),
        copies: copies.iter().take(COPIES).map(|seen| **seen).collect(),
        last,
        heard_before: tcp.log.iter().filter(heard).rfind(|seen| seen.no < first.no).copied(),
        heard_after: tcp
            .log
            .iter()
            .filter(heard)
            .find(|seen| seen.no > first.no && seen.at > late)
            .copied(),
        heard_too_late: own_end.and_then(|end| {
            let mut after = tcp.log.iter().filter(|seen| seen.no > end && seen.at > late);
            after.find(|seen| seen.side == side.other() && !seen.is_reset()).copied()
        }),
        probes,
        gave_up: own_end,
    })
}

/// Bytes that never arrived: their sender goes on behind them, nothing brings them, and the receiver still waits.
#[derive(Clone, Copy, Debug)]
pub struct Hole {
    /// Who sent what is missing.
    pub sender: Side,
    /// How many bytes.
    pub bytes: u32,
    /// The packet that shows them to be missing.
    pub shown_by: Seen,
}

/// A hole that is open when the connection falls silent. What the capture lost is no hole: its receiver has it.
pub fn open_hole(t: &Transcript) -> Option<Hole> {
    Side::BOTH.into_iter().find_map(|sender| {
        let half = &t.tcp.half[sender];
        let (acked, last) = (half.acked?, half.last?);
        let bytes = last.seq.wrapping_sub(acked);
        let missing = (1..1 << 20).contains(&bytes) && !last.is_reset();
        let brought = t.tcp.log.iter().any(|seen| {
            seen.side == sender
                && seen.len > 0
                && (seen.end().wrapping_sub(acked) as i32) > 0
                && (seen.seq.wrapping_sub(acked) as i32) <= 0
        });
        (missing && !brought).then_some(Hole {
            sender,
            bytes,
            shown_by: last,
        })
    })
}

/// How much of what one side sent had to be sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Segments with payload, and repeated SYNs.
    pub segments: u64,
    /// Of those, sent again, or filling a hole late.
    pub again: u64,
}

impl Rate {
    /// The rate of a side. What the capture itself lost is not in it: such bytes are acknowledged and never repeated.
    pub fn of(tcp: &Connection, side: Side) -> Rate {
        let half = &tcp.half[side];
        Rate {
            segments: half.data_segments + half.retransmissions,
            again: half.retransmissions + half.hole_fills,
        }
    }

    /// The rate of a side's data. A SYN may have been dropped for want of room for connections, and not on the path.
    pub fn of_data(tcp: &Connection, side: Side) -> Rate {
        let syns = match side {
            Side::Client => tcp.handshake.syns,
            Side::Server => tcp.handshake.syn_acks,
        };
        let repeated = u64::from(syns.saturating_sub(1));
        let Rate { segments, again } = Rate::of(tcp, side);
        Rate {
            segments: segments.saturating_sub(repeated),
            again: again.saturating_sub(repeated),
        }
    }

    /// The share, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.segments == 0 {
            0.0
        } else {
            self.again as f64 / self.segments as f64
        }
    }

    /// The lower end of Wilson's 95 % interval of the share: what is surely lost at least.
    pub fn surely(&self) -> f64 {
        if self.segments == 0 {
            return 0.0;
        }
        let n = self.segments as f64;
        let p = self.share().min(1.0);
        let z = 1.96;
        let centre = p + z * z / (2.0 * n);
        let spread = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        ((centre - spread) / (1.0 + z * z / n)).max(0.0)
    }

    /// In words: `3 of 40 segments again (7.5 %)`.
    pub fn words(&self) -> String {
        format!(
            "{} of {} segments sent again ({:.1} %)",
            self.again,
            self.segments,
            self.share() * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_segments_prove_little() {
        let few = Rate { segments: 10, again: 1 };
        let many = Rate {
            segments: 1000,
            again: 100,
        };
        assert!((few.share() - many.share()).abs() < 1e-9);
        assert!(few.surely() < 0.03 && many.surely() > 0.08);
    }
}
