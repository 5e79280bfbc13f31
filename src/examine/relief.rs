//! Keeps what is followed, and what waits for its verdict, within its bytes. What can be judged without loss goes first; what it costs
//! is counted and said.

use crate::capture::{Span, Timestamp};
use crate::examine::Examiner;
use crate::flow::Slot;

/// The next look at a memory that is full comes after so many packets: it takes a walk over everything that is followed.
const PACKETS: u32 = 2_048;
/// Of the bytes that are allowed so many stay free after a look, as a share of eight.
const FREE: usize = 2;
/// What is kept of a connection where memory is short, first and where that is not enough: packets from its start and from its end,
/// and moments. The way to the session takes no known client and server as many moments; through a gateway it takes more.
const NARROW: [Kept; 2] = [
    Kept {
        log: (48, 32),
        moments: (192, 16),
        gateway: (192, 16),
    },
    Kept {
        log: (24, 16),
        moments: (128, 8),
        gateway: (192, 16),
    },
];
/// A conversation over UDP that was silent for so long is judged where memory is short.
const SILENT: Span = Span::secs(30);

/// How much of the start and of the end of a connection is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Packets.
    pub(super) log: (usize, usize),
    /// Moments.
    pub(super) moments: (usize, usize),
    /// Moments of a gateway's connection.
    pub(super) gateway: (usize, usize),
}

/// What was done to stay within bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Relief {
    /// Packets until the next look.
    pause: u32,
    /// Connections that had ended and were judged before late packets could come.
    hurried: u64,
    /// Attempts that were judged before another connection could belong to them.
    attempts: u64,
    /// Long connections whose middle was forgotten.
    narrowed: u64,
    /// The bytes there were at the last look.
    room: usize,
}

impl Relief {
    /// Counts something that had ended and is judged now.
    pub(super) fn hurry_one(&mut self) {
        self.hurried += 1;
    }

    /// How many connections were judged early.
    pub(super) fn early(&self) -> u64 {
        self.hurried
    }

    /// What it cost, in words; nothing where it cost nothing.
    pub(super) fn words(&self) -> Option<String> {
        let parts: Vec<String> = [
            (self.hurried, "ended connections were judged before late packets could come"),
            (self.attempts, "attempts were judged before a retry could come"),
            (self.narrowed, "long connections lost the middle of their record"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
        (!parts.is_empty()).then(|| {
            format!(
                "{}: more was open or had just ended at one time than fits into {} MiB",
                parts.join(", "),
                self.room >> 20
            )
        })
    }
}

impl Examiner {
    /// Whether more is held than may be.
    #[inline]
    pub(super) fn is_full(&mut self) -> bool {
        let held = self.state.held + self.state.gatherer.weight();
        if held <= self.room() {
            return false;
        }
        let relief = &mut self.state.relief;
        relief.pause = relief.pause.saturating_sub(1);
        relief.pause == 0
    }

    /// The bytes that what is followed may take now.
    #[inline]
    fn room(&self) -> usize {
        let limits = &self.options.limits;
        limits.flow_bytes + limits.verdicts.saturating_sub(self.court.came()) * limits.verdict_bytes
    }

    /// Makes room: first what has ended is judged, then the middle of long connections is forgotten, then the longest silent one goes.
    pub(super) fn relieve(&mut self, now: Timestamp) {
        self.state.relief.pause = PACKETS;
        let bytes = self.room();
        self.state.relief.room = bytes;
        let goal = bytes - bytes / 8 * FREE;
        self.hurry_ended(goal, now);
        if self.excess(goal) > 0 {
            let waiting = self.state.gatherer.weight();
            let attempts = self.state.gatherer.hurry(waiting.saturating_sub(self.excess(goal)));
            self.state.relief.attempts += attempts.len() as u64;
            self.judge(attempts);
        }
        for step in 0..NARROW.len() {
            let mut at = self.state.flows.oldest();
            while let Some(slot) = at.filter(|_| self.excess(goal) > 0) {
                at = self.state.flows.newer(slot);
                self.narrow(slot, step);
            }
        }
        while self.excess(bytes) > 0 {
            let flows = &self.state.flows;
            let oldest = flows.oldest().and_then(|slot| Some((slot, flows.get(slot)?.tcp.last().at)));
            if !self.evict_udp(oldest.map(|(_, silent)| silent)) {
                let Some((slot, _)) = oldest else { break };
                self.evict(slot);
            }
            let attempts = self.state.gatherer.hurry(0);
            self.judge(attempts);
        }
    }

    /// By how many bytes more is held than `goal`.
    fn excess(&self, goal: usize) -> usize {
        (self.state.held + self.state.gatherer.weight()).saturating_sub(goal)
    }

    /// Remembers that a connection has ended, for the time when memory is short.
    pub(super) fn note_end(&mut self, slot: Slot, id: u32) {
        if self.state.ended.len() >= 2 * self.options.limits.connections.max(1) {
            let flows = &self.state.flows;
            self.state
                .ended
                .retain(|(slot, id)| flows.get(*slot).is_some_and(|live| live.id == *id));
        }
        self.state.ended.push_back((slot, id));
    }

    /// Judges connections that have ended, the first one first, and conversations over UDP that fell silent.
    fn hurry_ended(&mut self, goal: usize, now: Timestamp) {
        let mut over = self.state.held.saturating_sub(goal / 2);
        while over > 0
            && let Some((slot, id)) = self.state.ended.pop_front()
        {
            if let Some(live) = self.state.flows.get(slot).filter(|live| live.id == id) {
                over = over.saturating_sub(live.weighed);
                self.state.relief.hurry_one();
                self.state.past.pass(&live.key(), live.tcp.last().at);
                self.seal(slot);
            }
        }
        self.hurry_udp(now.plus(Span(-SILENT.0)), over);
    }

    /// Takes a connection a step further, if it has not gone it.
    fn narrow(&mut self, slot: Slot, step: usize) {
        let Some(kept) = NARROW.get(step) else { return };
        let Some(live) = self.state.flows.get_mut(slot).filter(|live| live.narrowed <= step) else {
            return;
        };
        live.narrowed = step + 1;
        if live.narrow(*kept) {
            self.state.relief.narrowed += 1;
        }
        live.weigh(&mut self.state.held);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capture::shipped;
    use crate::diagnosis::Confidence;
    use crate::examine::Options;
    use crate::report::model::Attempt;

    /// When memory is short.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Short {
        Never,
        Always,
        AtTheEnd,
    }

    fn narrow_all(examiner: &mut Examiner, step: usize) {
        let mut at = examiner.state.flows.oldest();
        while let Some(slot) = at {
            at = examiner.state.flows.newer(slot);
            examiner.narrow(slot, step);
        }
    }

    /// What is judged of a capture where all connections are narrowed by so many steps, and of how many something was forgotten.
    fn verdicts(path: &Path, short: Short, step: usize) -> (Vec<(&'static str, Confidence)>, u64) {
        let mut examiner = Examiner::new(Options::default());
        let summary = shipped::read(path, |event| {
            examiner.feed(event);
            if short == Short::Always {
                narrow_all(&mut examiner, step);
            }
        });
        if short == Short::AtTheEnd {
            narrow_all(&mut examiner, step);
        }
        let narrowed = examiner.state.relief.narrowed;
        examiner.end_source(summary, None);
        let told = |attempt: &Attempt| (attempt.verdict.cause.slug, attempt.verdict.confidence);
        (examiner.finish().attempts.iter().map(told).collect(), narrowed)
    }

    #[test]
    fn what_is_forgotten_changes_no_verdict() {
        let mut forgotten = 0;
        for path in shipped::all() {
            let (all, none) = verdicts(&path, Short::Never, 0);
            assert_eq!(none, 0, "{}", path.display());
            for short in [Short::Always, Short::AtTheEnd] {
                for step in 0..NARROW.len() {
                    let (some, connections) = verdicts(&path, short, step);
                    forgotten += connections;
                    assert_eq!(all, some, "{}: {short:?}, step {step}", path.display());
                }
            }
        }
        assert!(forgotten > 60, "{forgotten}");
    }

    /// A session that had to be judged while it went on is not said to be alive at the end of the capture, nor with the usual confidence.
    #[test]
    fn who_is_judged_early_was_not_followed_to_the_end() {
        let mut early = 0;
        for path in shipped::all() {
            let mut examiner = Examiner::new(Options::default());
            let summary = shipped::read(&path, |event| examiner.feed(event));
            while let Some(slot) = examiner.state.flows.oldest() {
                examiner.evict(slot);
            }
            examiner.end_source(summary, None);
            let attempts = examiner.finish().attempts;
            for verdict in attempts
                .iter()
                .map(|attempt| &attempt.verdict)
                .filter(|verdict| verdict.cause.slug == "established")
            {
                assert_eq!(verdict.confidence, Confidence::Possible, "{}", path.display());
                assert!(verdict.summary.contains("judged"), "{}: {}", path.display(), verdict.summary);
                early += 1;
            }
        }
        assert!(early > 10, "{early}");
    }
}
