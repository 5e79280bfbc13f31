//! The packets of a flow as they are remembered: the first and the last, and between them those that nobody answered.

use crate::capture::FrameNo;
use crate::flow::ends::Ends;
use crate::flow::seen::{Marks, Seen};
use crate::flow::side::{PerSide, Side};

/// So many packets of the middle are kept in all.
const MOST: usize = 40;

/// What nothing has answered so far. It tells a dead path, and one that is dead for large packets, from a quiet one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Data.
    First,
    /// Data that were sent before.
    Again,
    /// A selective acknowledgment of data behind a hole.
    Selective,
}

impl Kind {
    /// Of the middle so many of each kind are kept.
    fn most(self) -> usize {
        match self {
            Kind::First | Kind::Selective => 8,
            Kind::Again => 24,
        }
    }

    /// The kind of a packet, given the highest acknowledgments of each side's bytes.
    fn of(seen: &Seen, acked: &PerSide<Option<u32>>) -> Option<Kind> {
        let beyond = |end: u32, side: Side| acked[side].is_some_and(|acked| (end.wrapping_sub(acked) as i32) > 0);
        match seen.sack {
            Some((_, right)) if beyond(right, seen.side.other()) => Some(Kind::Selective),
            _ if !seen.has_data() || !beyond(seen.end(), seen.side) => None,
            _ if seen.marks.has(Marks::RETRANSMISSION | Marks::FILLS_HOLE) => Some(Kind::Again),
            _ => Some(Kind::First),
        }
    }
}

/// The first and the last packets of a flow. The middle is only counted, but for what nobody answered.
#[derive(Clone, Debug)]
pub struct PacketLog {
    ends: Ends<Seen>,
    /// Of the middle, in order.
    unanswered: Vec<Seen>,
    forgotten: u64,
}

impl PacketLog {
    /// A log that keeps the first `head_max` and the last `tail_max` packets.
    pub fn new(head_max: usize, tail_max: usize) -> PacketLog {
        PacketLog {
            ends: Ends::new(head_max, tail_max),
            unanswered: Vec::new(),
            forgotten: 0,
        }
    }

    /// Remembers a packet. `acked` are the highest acknowledgments of each side's bytes; where there are none, the middle is counted.
    #[inline]
    pub fn push(&mut self, seen: Seen, acked: impl FnOnce() -> PerSide<Option<u32>>) {
        if let Some(gone) = self.ends.push(seen) {
            self.pass(gone, &acked());
        }
    }

    /// Forgets a packet of the middle, or keeps it.
    fn pass(&mut self, gone: Seen, acked: &PerSide<Option<u32>>) {
        self.forgotten += 1;
        let Some(kind) = Kind::of(&gone, acked) else { return };
        if self.unanswered.len() >= MOST {
            let before = self.unanswered.len();
            self.unanswered.retain(|seen| Kind::of(seen, acked).is_some());
            self.forgotten += (before - self.unanswered.len()) as u64;
        }
        let alike = self
            .unanswered
            .iter()
            .filter(|seen| Kind::of(seen, acked) == Some(kind))
            .count();
        if alike >= kind.most() {
            return;
        }
        self.unanswered.push(gone);
        self.forgotten -= 1;
    }

    /// From here on keeps the first `head_max` and the last `tail_max` packets, if that is less than before.
    pub fn narrow(&mut self, head_max: usize, tail_max: usize, acked: &PerSide<Option<u32>>) {
        // What was kept of the middle lies behind what leaves the head now, and before what leaves the end.
        let mut between = self.ends.narrow(head_max, tail_max);
        between.append(&mut self.unanswered);
        between.sort_by_key(|seen| seen.no);
        between.into_iter().for_each(|seen| self.pass(seen, acked));
        self.unanswered.shrink_to_fit();
    }

    /// What is remembered, in order of capture. In the middle [`PacketLog::forgotten`] packets may be missing.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Seen> + Clone {
        self.ends.head().iter().chain(&self.unanswered).chain(self.ends.tail())
    }

    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.ends.weight() + self.unanswered.capacity() * size_of::<Seen>()
    }

    /// How many packets of the middle were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The last packet.
    pub fn last(&self) -> Option<&Seen> {
        self.ends.last()
    }

    /// The first packet.
    pub fn first(&self) -> Option<&Seen> {
        self.ends.head().first()
    }

    /// The packet of this frame, if remembered.
    pub fn get(&self, no: FrameNo) -> Option<&Seen> {
        self.iter().find(|seen| seen.no == no)
    }
}
