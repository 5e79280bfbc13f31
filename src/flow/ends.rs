//! A list of which only the beginning and the end are kept: handshakes open a story, and refusals close it.

use std::collections::VecDeque;
use std::collections::vec_deque;
use std::iter::Chain;
use std::slice;

/// The first and the last of a list. What lies between leaves, and is given to whoever adds or narrows.
#[derive(Clone, Debug)]
pub struct Ends<T> {
    head: Vec<T>,
    tail: VecDeque<T>,
    head_max: usize,
    tail_max: usize,
}

impl<T> Ends<T> {
    /// A list of which the first `head_max` and the last `tail_max` are kept, one of the last at least.
    pub fn new(head_max: usize, tail_max: usize) -> Ends<T> {
        Ends {
            head: Vec::new(),
            tail: VecDeque::new(),
            head_max,
            tail_max,
        }
    }

    /// Adds one. Gives the one that leaves for it.
    pub fn push(&mut self, one: T) -> Option<T> {
        if self.head.len() < self.head_max {
            self.make_room();
            self.head.push(one);
            return None;
        }
        let gone = if self.tail.len() >= self.tail_max {
            self.tail.pop_front()
        } else {
            None
        };
        self.tail.push_back(one);
        gone
    }

    /// Most of these lists stay very short or reach some dozens. They grow in fewer steps than by doubling, for each step moves what is
    /// there.
    fn make_room(&mut self) {
        const STEPS: [usize; 2] = [4, 48];
        let len = self.head.len();
        if len == self.head.capacity() {
            let room = STEPS.into_iter().find(|step| *step > len).unwrap_or(len * 2);
            self.head.reserve_exact(room.min(self.head_max) - len);
        }
    }

    /// From here on keeps the first `head_max` and the last `tail_max`, if that is less than before. Gives those that leave, in order.
    pub fn narrow(&mut self, head_max: usize, tail_max: usize) -> Vec<T> {
        self.head_max = self.head_max.min(head_max);
        self.tail_max = self.tail_max.min(tail_max);
        let mut gone = self.head.split_off(self.head.len().min(self.head_max));
        // What the tail has room for is taken from the end of the head.
        let missing = self.tail_max.saturating_sub(self.tail.len());
        let late = gone.split_off(gone.len().saturating_sub(missing));
        late.into_iter().rev().for_each(|one| self.tail.push_front(one));
        let excess = self.tail.len().saturating_sub(self.tail_max);
        gone.extend(self.tail.drain(..excess));
        self.head.shrink_to_fit();
        self.tail.shrink_to_fit();
        gone
    }

    /// The first ones.
    pub fn head(&self) -> &[T] {
        &self.head
    }

    /// The last ones, where there are more than the first.
    pub fn tail(&self) -> vec_deque::Iter<'_, T> {
        self.tail.iter()
    }

    /// What is kept, in order.
    pub fn iter(&self) -> Chain<slice::Iter<'_, T>, vec_deque::Iter<'_, T>> {
        self.head.iter().chain(&self.tail)
    }

    /// The last one.
    pub fn last(&self) -> Option<&T> {
        self.tail.back().or(self.head.last())
    }

    /// The memory that it takes, in bytes; what its members hold outside of themselves is not counted.
    pub fn weight(&self) -> usize {
        (self.head.capacity() + self.tail.capacity()) * size_of::<T>()
    }

    /// Takes everything out, in order.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.head)
            .into_iter()
            .chain(std::mem::take(&mut self.tail))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is added and however it is narrowed, nothing is lost or told twice, and what is kept are the two ends.
        #[test]
        fn what_is_kept_and_what_leaves_is_everything(
            (head, tail) in (0..20_usize, 1..20_usize),
            steps in prop::collection::vec((0..30_usize, 0..20_usize, 1..20_usize), 0..8),
        ) {
            let (mut ends, mut gone, mut next) = (Ends::new(head, tail), Vec::new(), 0_usize);
            let (mut head, mut tail) = (head, tail);
            for (pushes, head_max, tail_max) in steps {
                for _ in 0..pushes {
                    gone.extend(ends.push(next));
                    next += 1;
                }
                (head, tail) = (head.min(head_max), tail.min(tail_max));
                gone.extend(ends.narrow(head_max, tail_max));
                prop_assert!(ends.head().len() <= head && ends.tail().len() <= tail);
                prop_assert!(ends.weight() <= (head + tail) * size_of::<usize>());
            }
            prop_assert!(ends.iter().is_sorted());
            prop_assert_eq!(ends.last().copied(), next.checked_sub(1));
            let kept: Vec<usize> = ends.iter().copied().collect();
            prop_assert!(next < head + tail || kept.len() >= tail);
            let mut all: Vec<usize> = kept.iter().chain(&gone).copied().collect();
            all.sort_unstable();
            prop_assert!(all.iter().copied().eq(0..next));
            prop_assert!(ends.take().eq(kept));
        }
    }
}
