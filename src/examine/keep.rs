//! Keeps the judged attempts within bounds: failures before healthy ones, and of a thousand equal failures the first few.

use std::collections::{BTreeMap, HashMap};

use crate::diagnosis::Cause;
use crate::examine::assemble::Row;

/// Of failures of one cause at one server so many are kept once half of the room is taken.
const ALIKE: u32 = 50;

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
    row: Option<Box<Row>>,
}

/// Judged attempts, and what was only counted.
#[derive(Debug, Default)]
pub(super) struct Rows {
    places: Vec<Place>,
    next: u64,
    healthy: usize,
    alike: HashMap<(&'static str, String), u32>,
    counted: BTreeMap<&'static str, u64>,
}

impl Rows {
    /// A place for an attempt of this verdict at this server, where `most` are kept; without room it is counted. A row is worth
    /// its making only if it is kept.
    pub(super) fn admit(&mut self, cause: &'static Cause, server: &str, most: usize) -> Option<Ticket> {
        let room = if cause.healthy {
            self.healthy * 2 < most && self.places.len() < most
        } else {
            let alike = self.alike.entry((cause.slug, server.to_owned())).or_insert(0);
            *alike += 1;
            let crowded = self.places.len() * 2 >= most && *alike > ALIKE;
            !crowded && (self.places.len() < most || self.make_room())
        };
        if self.alike.len() > most {
            self.alike.clear();
        }
        if !room {
            *self.counted.entry(cause.slug).or_insert(0) += 1;
            return None;
        }
        self.healthy += usize::from(cause.healthy);
        self.next += 1;
        self.places.push(Place {
            number: self.next,
            cause: cause.slug,
            healthy: cause.healthy,
            row: None,
        });
        Some(Ticket {
            place: self.next,
            series: !cause.healthy || self.healthy <= WITH_SERIES,
        })
    }

    /// Puts a row in its place; a failure may have taken that in the meantime.
    pub(super) fn push(&mut self, ticket: Ticket, row: Row) {
        let place = self.places.binary_search_by_key(&ticket.place, |place| place.number);
        if let Some(place) = place.ok().and_then(|at| self.places.get_mut(at)) {
            place.row = Some(Box::new(row));
        }
    }

    /// Keeps a row, or counts it where `most` rows leave no room.
    pub(super) fn offer(&mut self, row: Row, most: usize) {
        if let Some(ticket) = self.admit(row.attempt().verdict.cause, &row.attempt().server, most) {
            self.push(ticket, row);
        }
    }

    /// Lets a healthy row go for a failure.
    fn make_room(&mut self) -> bool {
        let Some(left) = self.healthy.checked_sub(1) else {
            return false;
        };
        let Some(at) = self.places.iter().position(|place| place.healthy) else {
            return false;
        };
        let place = self.places.remove(at);
        self.healthy = left;
        *self.counted.entry(place.cause).or_insert(0) += 1;
        true
    }

    /// The rows that were kept; there is room for as many again.
    pub(super) fn take(&mut self) -> Vec<Row> {
        self.healthy = 0;
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
