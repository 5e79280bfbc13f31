//! Keeps the judged attempts within bounds: failures before healthy ones, and of a thousand equal failures the first few.

use std::collections::{BTreeMap, HashMap};

use crate::examine::assemble::Row;

/// Of failures of one cause at one server so many are kept once half of the room is taken.
const ALIKE: u32 = 50;

/// Healthy attempts so many keep the points of their plots; nobody looks at those of the thousandth.
const WITH_SERIES: usize = 100;

/// Judged attempts, and what was only counted.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    healthy: usize,
    alike: HashMap<(&'static str, String), u32>,
    counted: BTreeMap<&'static str, u64>,
}

impl Rows {
    /// Keeps a row, or counts it where `most` rows leave no room.
    pub(super) fn push(&mut self, mut row: Row, most: usize) {
        let verdict = &row.attempt().verdict;
        let (slug, healthy) = (verdict.cause.slug, verdict.healthy());
        if healthy {
            if self.healthy * 2 >= most || self.rows.len() >= most {
                *self.counted.entry(slug).or_insert(0) += 1;
                return;
            }
            self.healthy += 1;
            if self.healthy > WITH_SERIES {
                row.drop_series();
            }
        } else {
            let alike = self.alike.entry((slug, row.attempt().server.clone())).or_insert(0);
            *alike += 1;
            let crowded = self.rows.len() * 2 >= most && *alike > ALIKE;
            if crowded || (self.rows.len() >= most && !self.make_room()) {
                *self.counted.entry(slug).or_insert(0) += 1;
                return;
            }
        }
        self.rows.push(row);
        if self.alike.len() > most {
            self.alike.clear();
        }
    }

    /// Lets a healthy row go for a failure.
    fn make_room(&mut self) -> bool {
        let Some(place) = self.rows.iter().position(|row| row.attempt().verdict.healthy()) else {
            return false;
        };
        let row = self.rows.remove(place);
        self.healthy = self.healthy.saturating_sub(1);
        *self.counted.entry(row.attempt().verdict.cause.slug).or_insert(0) += 1;
        true
    }

    /// The rows that were kept; there is room for as many again.
    pub(super) fn take(&mut self) -> Vec<Row> {
        self.healthy = 0;
        self.alike.clear();
        std::mem::take(&mut self.rows)
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
