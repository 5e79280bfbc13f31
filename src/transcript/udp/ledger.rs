//! What the other side acknowledged of one side's RDP-UDP data: which datagrams arrived, which did not, how long and how large they were.

use std::collections::VecDeque;

use crate::capture::Span;
use crate::flow::Spread;
use crate::protocol::rdpeudp::AckRun;
use crate::transcript::inbox::Stamp;

/// How many datagrams are remembered; senders keep far fewer in flight.
const REMEMBERED: usize = 512;
/// Numbers that jump by more than any window holds belong to something else.
const JUMP: u32 = 4_096;
/// The longest round trip that is recorded, in microseconds.
const LONGEST: u64 = 60_000_000;

/// A datagram with data.
#[derive(Clone, Copy, Debug)]
struct Sent {
    coded: u32,
    start: u32,
    len: u32,
    stamp: Stamp,
    arrived: bool,
    missed: bool,
}

/// Data that was sent again and again and never acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The first datagram with these data.
    pub first: Stamp,
    /// The last one.
    pub last: Stamp,
    /// How many there were.
    pub attempts: u32,
    /// The shortest payload that no acknowledgment covers, in bytes.
    pub shortest: u32,
    /// Datagrams that were sent after the first one and acknowledged.
    pub arrived_after: u32,
    /// The longest of those, in bytes of payload.
    pub largest_arrived: u32,
}

/// The data datagrams of one side.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Datagrams with data.
    pub datagrams: u64,
    /// Of those, with data that were sent before.
    pub repeats: u64,
    /// Of those, acknowledged as arrived.
    pub arrived: u64,
    /// Of those, reported as missing.
    pub missed: u64,
    /// The longest of those, in bytes of payload.
    pub largest: u32,
    /// The first and the highest number, and how many had one: what is missing between was lost before this place.
    numbers: Option<(u32, u32, u64)>,
    /// What was missing before the numbers jumped.
    unseen: u64,
    /// Round-trip times between this place and the other side, in microseconds.
    pub rtt: Spread,
    sent: VecDeque<Sent>,
    mask: u32,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            datagrams: 0,
            repeats: 0,
            arrived: 0,
            missed: 0,
            largest: 0,
            numbers: None,
            unseen: 0,
            rtt: Spread::default(),
            sent: VecDeque::new(),
            mask: u32::MAX,
        }
    }
}

impl Ledger {
    /// The memory that it takes beside itself, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.sent.capacity() * size_of::<Sent>() + self.rtt.weight()
    }

    /// From here on numbers have 16 bits (MS-RDPEUDP2).
    pub(super) fn shorten(&mut self) {
        self.mask = 0xFFFF;
    }

    /// Notes a datagram: `coded` is its own number, `start` that of its data.
    pub(super) fn note(&mut self, coded: u32, start: u32, len: u32, stamp: Stamp) {
        self.datagrams += 1;
        self.largest = self.largest.max(len);
        self.number(coded);
        self.repeats += u64::from(self.sent.iter().any(|sent| sent.start == start));
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            coded,
            start,
            len,
            stamp,
            arrived: false,
            missed: false,
        });
    }

    /// Notes the number of a datagram: data, or forward error correction, which is numbered along with them.
    pub(super) fn number(&mut self, coded: u32) {
        let mask = self.mask;
        // How far one number is ahead of another, where they may have wrapped.
        let ahead = |of: u32| Some(coded.wrapping_sub(of) & mask).filter(|ahead| *ahead <= mask / 2);
        match &mut self.numbers {
            Some((first, highest, count)) => match ahead(*highest) {
                Some(step) if step <= JUMP => (*highest, *count) = (highest.wrapping_add(step), *count + 1),
                None if ahead(*first).is_some() => *count += 1,
                None if first.wrapping_sub(coded) & mask <= JUMP => {
                    *first = first.wrapping_sub(first.wrapping_sub(coded) & mask);
                    *count += 1;
                }
                _ => {
                    self.unseen += self.missing_numbers();
                    self.numbers = Some((coded, coded, 1));
                }
            },
            None => self.numbers = Some((coded, coded, 1)),
        }
    }

    fn missing_numbers(&self) -> u64 {
        self.numbers.map_or(0, |(first, highest, count)| {
            (u64::from(highest.wrapping_sub(first)) + 1).saturating_sub(count)
        })
    }

    /// How many datagrams were lost as far as it shows here: those that the other side misses, and those that never came by.
    pub fn lost(&self) -> u64 {
        self.missed + self.unseen + self.missing_numbers()
    }

    /// How many datagrams were sent as far as it shows here.
    pub fn total(&self) -> u64 {
        self.datagrams + self.lost() - self.missed
    }

    /// Notes an acknowledgment of MS-RDPEUDP: the highest number received, and runs from there downwards.
    pub(super) fn acknowledge(&mut self, highest: u32, runs: &[AckRun], delayed: bool, at: Stamp) {
        if !delayed {
            self.time(highest, Span::default(), at);
        }
        self.mark(highest, true);
        let mut number = highest;
        for run in runs {
            for _ in 0..run.count {
                self.mark(number, run.is_received());
                number = number.wrapping_sub(1) & self.mask;
            }
        }
    }

    /// Notes that this one datagram arrived; the answer was held back for `delay`.
    pub(super) fn acknowledge_one(&mut self, number: u32, delay: Option<Span>, at: Stamp) {
        if let Some(delay) = delay {
            self.time(number, delay, at);
        }
        self.mark(number, true);
    }

    /// Notes that this one datagram had not arrived yet.
    pub(super) fn miss(&mut self, number: u32) {
        self.mark(number, false);
    }

    fn mark(&mut self, number: u32, arrived: bool) {
        let mask = self.mask;
        let found = self.sent.iter_mut().rev().find(|sent| sent.coded & mask == number & mask);
        let Some(sent) = found.filter(|sent| !sent.arrived) else {
            return;
        };
        if arrived {
            sent.arrived = true;
            self.arrived += 1;
        } else if !sent.missed {
            sent.missed = true;
            self.missed += 1;
        }
    }

    fn time(&mut self, number: u32, delay: Span, at: Stamp) {
        let mask = self.mask;
        let found = self.sent.iter().rev().find(|sent| sent.coded & mask == number & mask);
        let Some(sent) = found.filter(|sent| !sent.arrived) else {
            return;
        };
        let micros = (at.at.since(sent.stamp.at).0 - delay.0) / 1_000;
        let Ok(micros) = u64::try_from(micros) else { return };
        self.rtt.record_n(micros.min(LONGEST), 1);
    }

    /// Whether anything was acknowledged.
    pub fn is_heard(&self) -> bool {
        self.arrived > 0
    }

    /// The first data that were sent at least `attempts` times over at least `span` and never acknowledged.
    pub fn stuck(&self, attempts: u32, span: Span) -> Option<Stuck> {
        let is_lost = |start: u32| self.sent.iter().all(|sent| sent.start != start || !sent.arrived);
        let first = self.sent.iter().find(|sent| {
            let copies = || self.sent.iter().filter(|other| other.start == sent.start);
            let last = copies().next_back().map_or(sent.stamp.at, |other| other.stamp.at);
            copies().count() >= attempts as usize && last.since(sent.stamp.at) >= span && is_lost(sent.start)
        })?;
        let copies = || self.sent.iter().filter(|other| other.start == first.start);
        let after = || self.sent.iter().filter(|sent| sent.stamp.no > first.stamp.no && sent.arrived);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Stuck {
            first: first.stamp,
            last: copies().next_back().map_or(first.stamp, |sent| sent.stamp),
            attempts: count(copies().count()),
            shortest: self
                .sent
                .iter()
                .filter(|sent| sent.stamp.no >= first.stamp.no && is_lost(sent.start))
                .map(|sent| sent.len)
                .min()
                .unwrap_or(first.len),
            arrived_after: count(after().count()),
            largest_arrived: after().map(|sent| sent.len).max().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{FrameNo, Timestamp};

    fn stamp(no: u64, millis: i64) -> Stamp {
        Stamp {
            no: FrameNo::new(no),
            at: Timestamp(millis * 1_000_000),
        }
    }

    #[test]
    fn acknowledgments_give_round_trips_and_losses() {
        let mut ledger = Ledger::default();
        for number in 0..4_u32 {
            ledger.note(10 + number, 10 + number, 100, stamp(u64::from(number), i64::from(number)));
        }
        let runs = [
            AckRun { state: 0, count: 1 },
            AckRun { state: 3, count: 1 },
            AckRun { state: 0, count: 2 },
        ];
        ledger.acknowledge(13, &runs, false, stamp(9, 23));
        assert_eq!((ledger.arrived, ledger.missed), (3, 1));
        let rtt = ledger.rtt.figures().expect("one sample");
        assert!((19_800..=20_200).contains(&rtt.max), "{}", rtt.max);
        ledger.note(14, 12, 100, stamp(10, 24));
        assert_eq!((ledger.datagrams, ledger.repeats), (5, 1));
    }

    #[test]
    fn what_never_came_by_is_counted() {
        let mut ledger = Ledger::default();
        for number in [10, 12, 13, 16] {
            ledger.note(number, number, 100, stamp(1, 0));
        }
        assert_eq!((ledger.lost(), ledger.total()), (3, 7));
        let mut short = Ledger::default();
        short.shorten();
        for number in [0xFFFE, 0xFFFF, 1, 0, 4] {
            short.note(number, number, 100, stamp(1, 0));
        }
        assert_eq!((short.lost(), short.total()), (2, 7), "across a wrap, and out of order");
        let mut short = Ledger::default();
        short.shorten();
        for number in [1, 0xFFFE, 0xFFFF, 0] {
            short.note(number, number, 100, stamp(1, 0));
        }
        assert_eq!((short.lost(), short.total()), (0, 4), "begun behind the wrap");
    }

    #[test]
    fn only_large_datagrams_are_stuck() {
        let mut ledger = Ledger::default();
        ledger.note(1, 1, 1_200, stamp(1, 0));
        ledger.note(2, 2, 90, stamp(2, 1));
        ledger.acknowledge(2, &[], false, stamp(3, 20));
        ledger.note(3, 1, 1_200, stamp(4, 1_000));
        ledger.note(4, 1, 1_200, stamp(5, 3_000));
        ledger.note(5, 5, 80, stamp(6, 3_001));
        ledger.acknowledge(5, &[], false, stamp(7, 3_020));
        let stuck = ledger.stuck(3, Span::secs(2)).expect("never arrives");
        assert_eq!(
            (stuck.attempts, stuck.shortest, stuck.arrived_after, stuck.largest_arrived),
            (3, 1_200, 2, 90)
        );
        assert_eq!(ledger.stuck(4, Span::secs(2)), None);
    }

    #[test]
    fn short_numbers_wrap() {
        let mut ledger = Ledger::default();
        ledger.shorten();
        ledger.note(0xFFFF, 0xFFFF, 10, stamp(1, 0));
        ledger.note(0, 0, 10, stamp(2, 1));
        ledger.acknowledge_one(0, Some(Span::millis(5)), stamp(3, 30));
        ledger.acknowledge_one(0xFFFF, None, stamp(3, 30));
        assert_eq!(ledger.arrived, 2);
        assert!(ledger.rtt.figures().is_some_and(|rtt| rtt.max < 25_000));
    }
}
