//! Puts the data of RDP-UDP's reliable mode into the order in which they were written.

use std::collections::BTreeMap;

use crate::flow::Seen;

/// Pieces that may wait behind a missing one; a sender's window is smaller.
const WAITING: usize = 64;
/// Bytes that may wait.
const WAITING_BYTES: usize = 128 * 1024;

/// What comes out.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Bytes in order, and the datagram that brought them.
    Bytes(Vec<u8>, Seen),
    /// Pieces are missing here for good.
    Gap(Seen),
}

/// Data that wait behind a hole which nothing fills.
#[derive(Clone, Copy, Debug)]
pub struct Stalled {
    /// The first datagram behind the hole.
    pub first: Seen,
    /// The last one.
    pub last: Seen,
    /// How many wait.
    pub count: u32,
    /// The longest of them, in bytes of payload.
    pub largest: u32,
}

/// One direction of a reliable channel.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    next: Option<u32>,
    mask: u32,
    /// By distance from the first number ever seen, so that a wrap does not disturb the order.
    waiting: BTreeMap<u32, (Vec<u8>, Seen)>,
    bytes: usize,
    origin: u32,
}

impl Ordered {
    /// A direction whose first number is `first`, or whatever comes first; numbers have as many bits as `mask`.
    pub(super) fn new(first: Option<u32>, mask: u32) -> Ordered {
        Ordered {
            next: first,
            mask,
            waiting: BTreeMap::new(),
            bytes: 0,
            origin: first.unwrap_or(0),
        }
    }

    /// Takes the payload with this number and gives what can be read now.
    pub(super) fn push(&mut self, number: u32, payload: &[u8], seen: &Seen) -> Vec<Piece> {
        let next = match self.next {
            Some(next) => next,
            None => {
                self.origin = number;
                self.next = Some(number);
                number
            }
        };
        let ahead = number.wrapping_sub(next) & self.mask;
        if ahead > self.mask / 2 {
            return Vec::new();
        }
        let distance = number.wrapping_sub(self.origin) & self.mask;
        if self.waiting.contains_key(&distance) {
            return Vec::new();
        }
        self.bytes += payload.len();
        self.waiting.insert(distance, (payload.to_vec(), *seen));
        let mut out = self.drain();
        if self.waiting.len() > WAITING || self.bytes > WAITING_BYTES {
            if let Some((&distance, (_, seen))) = self.waiting.first_key_value() {
                out.push(Piece::Gap(*seen));
                self.next = Some(self.origin.wrapping_add(distance) & self.mask);
            }
            out.extend(self.drain());
        }
        out
    }

    /// What waits behind a hole at this moment.
    pub(super) fn stalled(&self) -> Option<Stalled> {
        let waiting = || self.waiting.values().map(|(_, seen)| seen);
        Some(Stalled {
            first: *waiting().min_by_key(|seen| seen.no)?,
            last: *waiting().max_by_key(|seen| seen.no)?,
            count: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            largest: waiting().map(|seen| seen.len).max().unwrap_or(0),
        })
    }

    fn drain(&mut self) -> Vec<Piece> {
        let mut out = Vec::new();
        while let Some(next) = self.next {
            let distance = next.wrapping_sub(self.origin) & self.mask;
            let Some((bytes, seen)) = self.waiting.remove(&distance) else {
                break;
            };
            self.bytes -= bytes.len();
            out.push(Piece::Bytes(bytes, seen));
            self.next = Some(next.wrapping_add(1) & self.mask);
        }
        if self.waiting.is_empty() {
            self.origin = self.next.unwrap_or(self.origin);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{FrameNo, Timestamp};
    use crate::flow::Side;
    use crate::packet::{IpFacts, LinkFacts};

    fn seen() -> Seen {
        let ip = IpFacts {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            ttl: 64,
            id: None,
            df: true,
            tos: 0,
            flow_label: None,
            total_len: 0,
            fragment: false,
        };
        Seen::of_datagram(FrameNo::new(1), Timestamp(0), Side::Client, &LinkFacts::default(), &ip, 0)
    }

    fn text(pieces: Vec<Piece>) -> String {
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes, _) => String::from_utf8(bytes).unwrap_or_default(),
                Piece::Gap(_) => "#".to_owned(),
            })
            .collect()
    }

    #[test]
    fn repetitions_are_dropped_and_a_wrap_is_survived() {
        let mut ordered = Ordered::new(Some(0xFFFE), 0xFFFF);
        let mut out = String::new();
        for (number, payload) in [(0xFFFF, "b"), (0, "c"), (0xFFFE, "a"), (0xFFFE, "a"), (1, "d")] {
            out += &text(ordered.push(number, payload.as_bytes(), &seen()));
        }
        assert_eq!(out, "abcd");
        assert!(ordered.stalled().is_none());
        ordered.push(3, b"f", &seen());
        assert_eq!(ordered.stalled().map(|stalled| stalled.count), Some(1));
    }

    #[test]
    fn what_never_comes_is_given_up() {
        let mut ordered = Ordered::new(Some(0), u32::MAX);
        let out: String = (1..=70).map(|number| text(ordered.push(number, b"x", &seen()))).collect();
        assert_eq!(out, format!("#{}", "x".repeat(70)));
    }

    proptest! {
        #[test]
        fn any_order_of_numbers_is_survived(numbers in proptest::collection::vec(any::<u32>(), 0..300), short: bool) {
            let mut ordered = Ordered::new(None, if short { 0xFFFF } else { u32::MAX });
            for number in numbers {
                ordered.push(if short { number & 0xFFFF } else { number }, b"payload", &seen());
                prop_assert!(ordered.waiting.len() <= WAITING);
            }
        }
    }
}
