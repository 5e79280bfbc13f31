//! Connections that several captures show, as administrators take them at both ends of a way: they are one attempt, with one verdict.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::diagnosis::causes::CAPTURE_INCOMPLETE;
use crate::diagnosis::joint::{self, Ends, Seat};
use crate::examine::assemble::Row;
use crate::flow::Side;
use crate::forensics::imprint::{Imprint, Passed};
use crate::report::words;

/// So many captures of one connection are compared.
const MOST: usize = 8;

/// A connection: its row, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    row: usize,
    at: usize,
}

/// Makes one row of those that show the same connections in different sources, and one verdict for each such connection. Tells of how many
/// connections each source shows a part only, and another one how they went on.
pub(super) fn join(mut rows: Vec<Row>) -> (Vec<Row>, BTreeMap<u32, u64>) {
    let groups = groups(&rows);
    let mut cut = BTreeMap::new();
    for group in groups.iter().filter(|group| is_cut(&rows, group)) {
        let sources = group
            .iter()
            .filter_map(|place| rows.get(place.row)?.connections.get(place.at));
        if let Some(first) = sources.map(|one| one.source).min() {
            *cut.entry(first).or_insert(0) += 1;
        }
    }
    let resets = resets(&rows);
    let mut joined = Sets::new(rows.len());
    let mut leaders = HashMap::new();
    for group in &groups {
        if let Some(leader) = judge(&mut rows, group, &resets) {
            leaders.extend(group.iter().map(|place| (*place, leader)));
            group.iter().for_each(|place| joined.unite(place.row, leader.row));
        }
    }
    let mut merged: Vec<Vec<usize>> = Vec::new();
    let mut set_of: HashMap<usize, usize> = HashMap::new();
    for row in 0..rows.len() {
        let set = *set_of.entry(joined.root(row)).or_insert(merged.len());
        if set == merged.len() {
            merged.push(Vec::new());
        }
        if let Some(set) = merged.get_mut(set) {
            set.push(row);
        }
    }
    let mut rows: Vec<Option<Row>> = rows.into_iter().map(Some).collect();
    let take = |set: Vec<usize>| merge(&mut rows, &set, &leaders);
    (merged.into_iter().filter_map(take).collect(), cut)
}

/// Whether the sources of a connection follow one another.
fn is_cut(rows: &[Row], group: &[Place]) -> bool {
    let imprint = |place: &Place| rows.get(place.row).and_then(|row| row.imprints.get(place.at));
    let mut imprints = group.iter().filter_map(imprint);
    let first = imprints.next();
    first.is_some_and(|first| imprints.all(|other| first.is_beside_in_time(other)))
}

/// The resets of all connections, by source.
fn resets(rows: &[Row]) -> HashMap<u32, Vec<Passed>> {
    let mut all: HashMap<u32, Vec<Passed>> = HashMap::new();
    for row in rows {
        for (connection, imprint) in row.connections.iter().zip(&row.imprints) {
            let own = Side::BOTH.into_iter().flat_map(|side| imprint.resets(side));
            all.entry(connection.source).or_default().extend(own);
        }
    }
    all
}

/// The connections that more than one source shows.
fn groups(rows: &[Row]) -> Vec<Vec<Place>> {
    let source = |place: Place| {
        rows.get(place.row)
            .and_then(|row| row.connections.get(place.at))
            .map(|one| one.source)
    };
    let mut all: Vec<(Place, &Imprint)> = Vec::new();
    for (row, one) in rows.iter().enumerate() {
        let imprints = one.imprints.iter().enumerate();
        all.extend(imprints.map(|(at, imprint)| (Place { row, at }, imprint)));
    }
    let mut several = all.iter().filter_map(|(place, _)| source(*place));
    let first = several.next();
    if several.all(|other| Some(other) == first) {
        return Vec::new();
    }
    let mut alike: HashMap<Mark, Vec<usize>> = HashMap::new();
    let mut sets: Vec<Vec<Place>> = all.iter().map(|(place, _)| vec![*place]).collect();
    let mut set_of: Vec<usize> = (0..all.len()).collect();
    for (at, (place, imprint)) in all.iter().enumerate() {
        for mark in marks(imprint) {
            let before = alike.entry(mark).or_default();
            for other in before.iter().copied() {
                let Some((_, theirs)) = all.get(other) else { continue };
                let (mine, others) = (set_of[at], set_of[other]);
                let apart = mine != others
                    && sets[mine]
                        .iter()
                        .all(|one| sets[others].iter().all(|other| source(*one) != source(*other)))
                    && sets[mine].len() + sets[others].len() <= MOST;
                if apart && imprint.is_of_same(theirs) && source(*place).is_some() {
                    let moved = std::mem::take(&mut sets[mine]);
                    set_of.iter_mut().filter(|set| **set == mine).for_each(|set| *set = others);
                    sets[others].extend(moved);
                }
            }
            before.push(at);
        }
    }
    sets.retain(|set| set.len() > 1);
    sets
}

/// What connections have in common that may be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mark {
    Numbers([u32; 2]),
    Ends(SocketAddr, SocketAddr),
}

fn marks(imprint: &Imprint) -> impl Iterator<Item = Mark> {
    let (client, server) = imprint.ends;
    let numbers = imprint.numbers().map(Mark::Numbers);
    [Mark::Ends(client, server)].into_iter().chain(numbers)
}

/// Judges a connection by all its captures. Gives the one that shows it best.
fn judge(rows: &mut [Row], group: &[Place], resets: &HashMap<u32, Vec<Passed>>) -> Option<Place> {
    let mut seats = Vec::new();
    let mut words = None;
    for place in group {
        let row = rows.get(place.row)?;
        let (connection, imprint) = (row.connections.get(place.at)?, row.imprints.get(place.at)?);
        words.get_or_insert_with(|| (words::server(connection), connection.client.ip(), imprint.ends.1.port()));
        seats.push(Seat {
            source: connection.source,
            imprint,
            resets: resets.get(&connection.source).map_or(&[], Vec::as_slice),
            verdict: &connection.verdict,
            ended_by: connection.ended_by,
            mechanism: connection.mechanism,
            phase: connection.phase,
        });
    }
    let (server, client, port) = words?;
    let server = &server;
    let joint = joint::judge(&seats, Ends { server, client, port })?;
    let leader = *group.get(joint.place)?;
    let verdict = Arc::new(joint.verdict);
    for place in group {
        let connection = rows.get_mut(place.row)?.connections.get_mut(place.at)?;
        connection.verdict = Arc::clone(&verdict);
        connection.ended_by = joint.ended_by;
        connection.mechanism = joint.mechanism;
    }
    Some(leader)
}

/// Makes one row of several.
fn merge(rows: &mut [Option<Row>], set: &[usize], leaders: &HashMap<Place, Place>) -> Option<Row> {
    if let [alone] = set {
        return rows.get_mut(*alone)?.take();
    }
    // The capture that shows more of the attempt knows how it went on.
    let weight = |row: &Row| {
        let verdict = row.connections.get(row.decisive).map(|one| &one.verdict);
        (
            row.imprints.len(),
            verdict.map(|verdict| (verdict.cause.slug != CAPTURE_INCOMPLETE.slug, verdict.confidence)),
        )
    };
    let decides = set
        .iter()
        .filter_map(|at| Some((*at, rows.get(*at)?.as_ref()?)))
        .max_by_key(|(at, row)| (weight(row), std::cmp::Reverse(*at)))
        .map(|(row, decisive)| Place {
            row,
            at: decisive.decisive,
        })?;
    let decisive = leaders.get(&decides).copied().unwrap_or(decides);
    let mut whole: Option<Row> = None;
    let mut begins: HashMap<usize, usize> = HashMap::new();
    let mut attempt = None;
    for at in set {
        let mut row = rows.get_mut(*at)?.take()?;
        if *at == decisive.row {
            attempt = Some((
                row.attempt.client,
                row.attempt.server.clone(),
                row.attempt.started,
                row.attempt.ended,
            ));
        }
        let Some(whole) = &mut whole else {
            begins.insert(*at, 0);
            whole = Some(row);
            continue;
        };
        begins.insert(*at, whole.connections.len());
        whole.connections.append(&mut row.connections);
        whole.attempt.side_findings.append(&mut row.attempt.side_findings);
    }
    let mut whole = whole?;
    let moved = |place: &Place| begins.get(&place.row).map(|begin| begin + place.at);
    whole.decisive = moved(&decisive)?;
    let own = leaders.iter().filter(|(place, leader)| place != leader);
    whole.twins = own
        .filter_map(|(place, leader)| Some((moved(place)?, moved(leader)?)))
        .collect();
    if let Some((client, server, started, ended)) = attempt {
        whole.attempt.client = client;
        whole.attempt.server = server;
        whole.attempt.started = started;
        whole.attempt.ended = ended;
    }
    if let Some(connection) = whole.connections.get(whole.decisive) {
        whole.attempt.verdict = Arc::clone(&connection.verdict);
    }
    Some(whole)
}

/// Sets that grow together.
struct Sets(Vec<usize>);

impl Sets {
    fn new(len: usize) -> Sets {
        Sets((0..len).collect())
    }

    fn root(&self, mut one: usize) -> usize {
        while let Some(above) = self.0.get(one).filter(|above| **above != one) {
            one = *above;
        }
        one
    }

    fn unite(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(root) = self.0.get_mut(one.max(other)) {
            *root = one.min(other);
        }
    }
}
