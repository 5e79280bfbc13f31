//! Keeps the judged attempts within bounds: failures before healthy ones, and of a thousand equal failures the first few.

use std::collections::{BTreeMap, HashMap};

use crate::diagnosis::Cause;
use crate::examine::assemble::Row;

/// Of failures of one cause at one server so many are kept once half of the room is taken.
const ALIKE: u32 = 50;

/// So many connections there may be in so many rows: an attempt has one or two, and dozens where a client hammers a server.
const CONNECTIONS: usize = 3;
const OF_ROWS: usize = 2;

/// How many rows' room the row of an attempt takes that has so many connections.
pub(super) fn rows(connections: usize) -> usize {
    (connections * OF_ROWS / CONNECTIONS).max(1)
}

/// Healthy attempts so many keep the points of their plots; nobody looks at those of the thousandth.
const WITH_SERIES: usize = 100;

/// Says that there is room for a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    place: u64,
    /// Whether the row has the points of plots.
    pub(super) series: bool,
}

/// The place of a row that was admitted.
#[derive(Debug)]
struct Place {
    number: u64,
    cause: &'static str,
    healthy: bool,
    connections: usize,
    row: Option<Box<Row>>,
}

/// How much room is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    rows: usize,
    /// Connections and conversations of these rows.
    connections: usize,
}

impl Room {
    fn of(connections: usize) -> Room {
        Room { rows: 1, connections }
    }

    fn add(&mut self, other: Room) {
        self.rows += other.rows;
        self.connections += other.connections;
    }

    fn remove(&mut self, other: Room) {
        self.rows = self.rows.saturating_sub(other.rows);
        self.connections = self.connections.saturating_sub(other.connections);
    }

    /// Whether another one fits beside it into the room for `most` rows, or into a part of it. The first one always has connections enough.
    fn leaves(self, other: Room, most: usize, part: usize) -> bool {
        let fits = |taken: usize, most: usize| taken <= most.div_ceil(part);
        let connections = self.connections + other.connections;
        fits(self.rows + other.rows, most) && (self.rows == 0 || fits(connections, most.saturating_mul(CONNECTIONS) / OF_ROWS))
    }
}

/// Judged attempts, and what was only counted.
#[derive(Debug, Default)]
pub(super) struct Rows {
    places: Vec<Place>,
    next: u64,
    taken: Room,
    healthy: Room,
    alike: HashMap<(&'static str, String), u32>,
    counted: BTreeMap<&'static str, u64>,
}

impl Rows {
    /// A place for an attempt of this verdict at this server with so many connections, where room for `most` attempts is. Without room
    /// it is counted. A row is worth its making only if it is kept.
    pub(super) fn admit(&mut self, cause: &'static Cause, server: &str, connections: usize, most: usize) -> Option<Ticket> {
        let wanted = Room::of(connections);
        let room = if cause.healthy {
            self.healthy.leaves(wanted, most, 2) && self.taken.leaves(wanted, most, 1)
        } else {
            let alike = self.alike.entry((cause.slug, server.to_owned())).or_insert(0);
            *alike += 1;
            let crowded = !self.taken.leaves(wanted, most, 2) && *alike > ALIKE;
            !crowded && self.make_room(wanted, most)
        };
        if self.alike.len() > most {
            self.alike.clear();
        }
        if !room {
            *self.counted.entry(cause.slug).or_insert(0) += 1;
            return None;
        }
        self.taken.add(wanted);
        if cause.healthy {
            self.healthy.add(wanted);
        }
        self.next += 1;
        self.places.push(Place {
            number: self.next,
            cause: cause.slug,
            healthy: cause.healthy,
            connections,
            row: None,
        });
        Some(Ticket {
            place: self.next,
            series: !cause.healthy || self.healthy.rows <= WITH_SERIES,
        })
    }

    /// Puts a row in its place; a failure may have taken that in the meantime.
    pub(super) fn push(&mut self, ticket: Ticket, row: Row) {
        let place = self.places.binary_search_by_key(&ticket.place, |place| place.number);
        if let Some(place) = place.ok().and_then(|at| self.places.get_mut(at)) {
            place.row = Some(Box::new(row));
        }
    }

    /// Keeps a row, or counts it where there is no room for `most`.
    pub(super) fn offer(&mut self, row: Row, most: usize) {
        let attempt = row.attempt();
        if let Some(ticket) = self.admit(attempt.verdict.cause, &attempt.server, row.connections().len(), most) {
            self.push(ticket, row);
        }
    }

    /// Lets healthy rows go for a failure, the first ones first, until there is room for it.
    fn make_room(&mut self, wanted: Room, most: usize) -> bool {
        while !self.taken.leaves(wanted, most, 1) {
            if self.healthy.rows == 0 {
                return false;
            }
            let Some(at) = self.places.iter().position(|place| place.healthy) else {
                return false;
            };
            let place = self.places.remove(at);
            self.taken.remove(Room::of(place.connections));
            self.healthy.remove(Room::of(place.connections));
            *self.counted.entry(place.cause).or_insert(0) += 1;
        }
        true
    }

    /// The rows that were kept; there is room for as many again.
    pub(super) fn take(&mut self) -> Vec<Row> {
        (self.taken, self.healthy) = (Room::default(), Room::default());
        self.alike.clear();
        std::mem::take(&mut self.places)
            .into_iter()
            .filter_map(|place| place.row)
            .map(|row| *row)
            .collect()
    }

    /// What was only counted, in words.
    pub(super) fn shortfalls(&self) -> Vec<String> {
        if self.counted.is_empty() {
            return Vec::new();
        }
        let counts: Vec<String> = self.counted.iter().map(|(slug, n)| format!("{n} {slug}")).collect();
        vec![format!(
            "further attempts were judged and only counted: {}",
            counts.join(", ")
        )]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diagnosis::causes::{ESTABLISHED, NLA_LOGON_FAILED};

    proptest! {
        /// Whatever comes, there is room for it, nothing is lost without being counted, and no failure of its kind's first is while
        /// something healthy is kept.
        #[test]
        fn rows_stay_within_their_room(
            most in 1..40_usize,
            attempts in prop::collection::vec((any::<bool>(), 1..130_usize, 0..3_u8), 0..200),
        ) {
            let (mut rows, all) = (Rows::default(), attempts.len());
            let mut failures = HashMap::new();
            for (healthy, connections, server) in attempts {
                let cause = if healthy { &ESTABLISHED } else { &NLA_LOGON_FAILED };
                let ticket = rows.admit(cause, &server.to_string(), connections, most);
                if !healthy {
                    let alike = failures.entry(server).or_insert(0);
                    *alike += 1;
                    let others = rows.places.iter().any(|place| place.healthy);
                    prop_assert!(ticket.is_some() || !others || *alike > ALIKE);
                }
                let kept: usize = rows.places.iter().map(|place| place.connections).sum();
                prop_assert!(rows.places.len() <= most);
                prop_assert!(kept <= CONNECTIONS * most / OF_ROWS + 1 || rows.places.len() == 1);
                prop_assert_eq!((rows.taken.rows, rows.taken.connections), (rows.places.len(), kept));
            }
            prop_assert_eq!(rows.places.len() as u64 + rows.counted.values().sum::<u64>(), all as u64);
            prop_assert!(all == 0 || !rows.places.is_empty());
        }
    }
}
