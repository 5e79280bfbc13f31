//! A bounded table of flows in the order of their last activity, so that the longest silent one can leave first.

use std::collections::HashMap;

use crate::flow::key::{BuildKeyHasher, FlowKey};

/// The place of a flow in the table; valid until the flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Row<T> {
    key: FlowKey,
    value: T,
    newer: u32,
    older: u32,
}

/// Where somebody who goes through the flows by their last activity has come to. A flow that is touched is behind all bookmarks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bookmark {
    /// The first.
    First,
    /// Another one.
    Second,
}

/// Flows by key, with the least recently touched at hand.
#[derive(Debug)]
pub struct Table<T> {
    index: HashMap<FlowKey, u32, BuildKeyHasher>,
    rows: Vec<Option<Row<T>>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// For each bookmark the last flow that it has passed.
    passed: [u32; 2],
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            index: HashMap::default(),
            rows: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            passed: [NONE; 2],
        }
    }
}

impl<T> Table<T> {
    /// How many flows it holds.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The flow of this key.
    pub fn find(&self, key: &FlowKey) -> Option<Slot> {
        self.index.get(key).map(|at| Slot(*at))
    }

    /// Adds a flow as the most recently touched one. A flow of the same key is returned.
    pub fn insert(&mut self, key: FlowKey, value: T) -> (Slot, Option<T>) {
        let displaced = self.find(&key).and_then(|slot| self.remove(slot)).map(|(_, old)| old);
        let row = Some(Row {
            key,
            value,
            newer: NONE,
            older: NONE,
        });
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.rows.get_mut(at as usize) {
                    *place = row;
                }
                at
            }
            None => {
                self.rows.push(row);
                u32::try_from(self.rows.len() - 1).unwrap_or(NONE)
            }
        };
        self.index.insert(key, at);
        self.link_newest(at);
        (Slot(at), displaced)
    }

    /// The flow in this slot, marked as the most recently touched one.
    pub fn touch(&mut self, slot: Slot) -> Option<&mut T> {
        if self.newest != slot.0 || self.passed.contains(&slot.0) {
            self.unlink(slot.0);
            self.link_newest(slot.0);
        }
        self.get_mut(slot)
    }

    /// The flow in this slot.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.rows.get_mut(slot.0 as usize)?.as_mut().map(|row| &mut row.value)
    }

    /// The flow in this slot.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.rows.get(slot.0 as usize)?.as_ref().map(|row| &row.value)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, slot: Slot) -> Option<(FlowKey, T)> {
        self.rows.get(slot.0 as usize)?.as_ref()?;
        self.unlink(slot.0);
        let row = self.rows.get_mut(slot.0 as usize)?.take()?;
        self.index.remove(&row.key);
        self.free.push(slot.0);
        Some((row.key, row.value))
    }

    /// The flow that was touched least recently.
    pub fn oldest(&self) -> Option<Slot> {
        (self.oldest != NONE).then_some(Slot(self.oldest))
    }

    /// The flow that was touched last.
    pub fn newest(&self) -> Option<Slot> {
        (self.newest != NONE).then_some(Slot(self.newest))
    }

    /// The flow that was touched next after this one.
    pub fn newer(&self, slot: Slot) -> Option<Slot> {
        let newer = self.rows.get(slot.0 as usize)?.as_ref()?.newer;
        (newer != NONE).then_some(Slot(newer))
    }

    /// The least recently touched flow that the bookmark has not passed.
    pub fn ahead(&self, bookmark: Bookmark) -> Option<Slot> {
        match self.passed[bookmark as usize] {
            NONE => self.oldest(),
            at => self.newer(Slot(at)),
        }
    }

    /// Moves a bookmark past the flow that is [`ahead`](Self::ahead) of it.
    pub fn pass(&mut self, bookmark: Bookmark) {
        if let Some(slot) = self.ahead(bookmark) {
            self.passed[bookmark as usize] = slot.0;
        }
    }

    /// All flows, in the order in which they were last touched, oldest first.
    pub fn slots(&self) -> Vec<Slot> {
        let mut all = Vec::with_capacity(self.len());
        let mut at = self.oldest();
        while let Some(slot) = at {
            all.push(slot);
            at = self.newer(slot);
        }
        all
    }

    fn row_mut(&mut self, at: u32) -> Option<&mut Row<T>> {
        self.rows.get_mut(at as usize)?.as_mut()
    }

    fn link_newest(&mut self, at: u32) {
        let before = std::mem::replace(&mut self.newest, at);
        if let Some(row) = self.row_mut(at) {
            row.older = before;
            row.newer = NONE;
        }
        match self.row_mut(before) {
            Some(row) => row.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.row_mut(at).map(|row| (row.newer, row.older)) else {
            return;
        };
        for passed in self.passed.iter_mut().filter(|passed| **passed == at) {
            *passed = older;
        }
        match self.row_mut(newer) {
            Some(row) => row.older = older,
            None => self.newest = older,
        }
        match self.row_mut(older) {
            Some(row) => row.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey::new(
            SocketAddr::new([10, 0, 0, 1].into(), port),
            SocketAddr::new([10, 0, 0, 2].into(), 3389),
            6,
        )
    }

    proptest! {
        /// Whatever is added, touched and taken out: a bookmark passes each flow once after each touch, in the order of the touches.
        #[test]
        fn a_bookmark_passes_each_touch_once(steps in prop::collection::vec((0..4_u8, 0..12_u16), 0..200)) {
            let mut table = Table::default();
            // What the bookmark has not passed, in order.
            let mut ahead: Vec<u16> = Vec::new();
            for (step, port) in steps {
                let slot = table.find(&key(port));
                match (step, slot) {
                    (0, None) => {
                        table.insert(key(port), port);
                        ahead.push(port);
                    }
                    (1, Some(slot)) => {
                        table.touch(slot);
                        ahead.retain(|one| *one != port);
                        ahead.push(port);
                    }
                    (2, Some(slot)) => {
                        table.remove(slot);
                        ahead.retain(|one| *one != port);
                    }
                    (3, _) => {
                        let passed = table.ahead(Bookmark::Second).and_then(|slot| table.get(slot).copied());
                        prop_assert_eq!(passed, ahead.first().copied());
                        table.pass(Bookmark::Second);
                        ahead.drain(..ahead.len().min(1));
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn the_newest_one_is_ahead_of_a_bookmark_again_once_it_is_touched() {
        let mut table = Table::default();
        let (slot, _) = table.insert(key(1), 1);
        table.pass(Bookmark::First);
        assert_eq!(table.ahead(Bookmark::First), None);
        table.touch(slot);
        assert_eq!(table.ahead(Bookmark::First), Some(slot));
    }

    #[test]
    fn the_longest_untouched_is_the_oldest() {
        let mut table = Table::default();
        let slots: Vec<Slot> = (1..=4).map(|port| table.insert(key(port), port).0).collect();
        table.touch(slots[0]);
        table.remove(slots[2]);
        let order: Vec<u16> = table
            .slots()
            .into_iter()
            .filter_map(|slot| table.get(slot).copied())
            .collect();
        assert_eq!(order, [2, 4, 1]);
        assert_eq!(table.oldest(), Some(slots[1]));
        let (again, displaced) = table.insert(key(2), 20);
        assert_eq!(displaced, Some(2));
        assert_eq!(table.get(again), Some(&20));
        assert_eq!(table.len(), 3);
    }
}
