//! Plays connections through the real examiner and counts who is right: rdpwhy and two published methods.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use rdpwhy::capture::{self, Event, SourceSummary};
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::flow::Limits;
use rdpwhy::packet::{Body, decode};
use rdpwhy::report::Report;

use super::play::{Line, Origin, play};
use super::random::Random;
use super::wire;

/// Recorded sessions whose messages are played again.
const RECORDED: &[&str] = &[
    "session-open-healthy/client.pcapng",
    "client-closes-window-healthy/client.pcapng",
    "session-fin-healthy/client.pcapng",
];
/// The seed of the published figures.
pub const SEED: u64 = 2009;

/// Plays so many connections, as many genuine as forged; `show_misses` prints what was judged wrongly.
pub fn run(connections: usize, show_misses: bool) -> Tally {
    let scripts: Vec<Vec<Line>> = RECORDED.iter().map(|name| script(name)).collect();
    let mut random = Random::new(SEED);
    let mut tally = Tally::default();
    for number in 0..connections {
        let origins = if number % 2 == 0 { Origin::GENUINE } else { Origin::FORGED };
        let origin = origins[number / 2 % origins.len()];
        let script = &scripts[random.below(scripts.len() as u64) as usize];
        let played = play(script, origin, &mut random);
        let report = examine(&played.packets);
        let claim = Claim::of(&report);
        if show_misses && claim.is_wrong(origin) {
            println!(
                "{number} {origin:?}: {claim:?} {} (frame {})",
                report.overall.summary,
                played.reset + 1
            );
        }
        tally.add(
            origin,
            claim,
            wire::ttl_differs(&played.packets),
            wire::weaver(&played.packets),
        );
    }
    tally
}

/// The messages of a recorded session, without resets and closes.
fn script(name: &str) -> Vec<Line> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name);
    let mut source = capture::open(&path, capture::OpenOptions::default()).expect("a recorded session");
    let mut lines = Vec::new();
    while let Some(event) = source.next().expect("a readable capture") {
        let Event::Frame(frame) = event else { continue };
        let Ok(packet) = decode(&frame) else { continue };
        if let Body::Tcp(segment) = &packet.body
            && !segment.payload.is_empty()
            && (segment.src_port == 3389 || segment.dst_port == 3389)
        {
            lines.push(Line {
                from_client: segment.dst_port == 3389,
                payload: segment.payload.to_vec(),
            });
        }
    }
    assert!(lines.len() > 30, "{name} is too short");
    lines
}

fn examine(packets: &[wire::Sent]) -> Report {
    let mut ordered = packets.to_vec();
    ordered.sort_by_key(|packet| packet.at);
    let limits = Limits {
        connections: 16,
        strangers: 16,
        dismissed: 64,
        ..Limits::default()
    };
    let mut examiner = Examiner::new(Options {
        limits,
        ..Options::default()
    });
    let client = (Ipv4Addr::new(10, 20, 0, 7), 50_123);
    let server = (Ipv4Addr::new(192, 0, 2, 33), 3389);
    wire::feed(&mut examiner, &ordered, client, server);
    examiner.end_source(SourceSummary::default(), None);
    examiner.finish()
}

/// What a report says about the origin of the RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    device: bool,
    confidence: &'static str,
}

impl Claim {
    fn of(report: &Report) -> Claim {
        let connection = report.connections.first();
        Claim {
            device: connection.is_some_and(|connection| connection.ended_by.slug() == "middlebox"),
            confidence: connection.map_or("none", |connection| connection.verdict.confidence.slug()),
        }
    }

    fn is_firm(self) -> bool {
        self.confidence != "possible"
    }

    fn is_wrong(self, origin: Origin) -> bool {
        self.device != origin.is_forged() || (origin.is_forged() && !self.is_firm())
    }
}

/// What was counted.
#[derive(Default)]
pub struct Tally {
    /// Per claim (device or host, confidence): how many, how many right.
    words: BTreeMap<(bool, &'static str), (u32, u32)>,
    /// Per origin: how many; a device at likely or certain; a device at possible; TTL differs; the method of 2009.
    origins: Vec<(Origin, [u32; 5])>,
}

impl Tally {
    fn add(&mut self, origin: Origin, claim: Claim, ttl: bool, weaver: bool) {
        let word = self.words.entry((claim.device, claim.confidence)).or_default();
        word.0 += 1;
        word.1 += u32::from(claim.device == origin.is_forged());
        if !self.origins.iter().any(|(known, _)| *known == origin) {
            self.origins.push((origin, [0; 5]));
        }
        if let Some((_, counts)) = self.origins.iter_mut().find(|(known, _)| *known == origin) {
            let found = [
                true,
                claim.device && claim.is_firm(),
                claim.device && !claim.is_firm(),
                ttl,
                weaver,
            ];
            for (count, found) in counts.iter_mut().zip(found) {
                *count += u32::from(found);
            }
        }
    }

    /// The sum of one column (1: rdpwhy at likely or certain, 3: TTL differs, 4: Weaver et al.; 0: all) over some origins.
    pub fn sum(&self, wanted: impl Fn(Origin) -> bool, column: usize) -> u32 {
        self.origins
            .iter()
            .filter(|(origin, _)| wanted(*origin))
            .map(|(_, counts)| counts[column])
            .sum()
    }

    /// The tables of the documentation.
    pub fn tables(&self) -> String {
        use std::fmt::Write;
        let mut out = format!("{} connections, seed {SEED}\n\n", self.sum(|_| true, 0));
        let _ = writeln!(
            out,
            "| origin of the RST | connections | device, likely or certain | device, possible | TTL differs | Weaver et al. 2009 |"
        );
        let _ = writeln!(out, "|---|---:|---:|---:|---:|---:|");
        for (origin, [all, firm, possible, ttl, weaver]) in &self.origins {
            let kind = match (origin.is_forged(), origin.is_held_out()) {
                (false, _) => "genuine",
                (true, false) => "device",
                (true, true) => "device, held out",
            };
            let _ = writeln!(out, "| {kind}: {origin:?} | {all} | {firm} | {possible} | {ttl} | {weaver} |");
        }
        let _ = writeln!(
            out,
            "\n| method | precision | recall | recall, held-out kinds | genuine called a device's, per thousand |"
        );
        let _ = writeln!(out, "|---|---:|---:|---:|---:|");
        for (name, column) in [
            ("rdpwhy, likely or certain", 1),
            ("TTL differs", 3),
            ("Weaver et al. 2009", 4),
        ] {
            let hits = self.sum(Origin::is_forged, column);
            let alarms = self.sum(|origin| !origin.is_forged(), column);
            let share = |part: u32, whole: u32| f64::from(part) / f64::from(whole.max(1));
            let _ = writeln!(
                out,
                "| {name} | {:.4} | {:.4} | {:.4} | {:.2} |",
                share(hits, hits + alarms),
                share(hits, self.sum(Origin::is_forged, 0)),
                share(self.sum(Origin::is_held_out, column), self.sum(Origin::is_held_out, 0)),
                1000.0 * share(alarms, self.sum(|origin| !origin.is_forged(), 0))
            );
        }
        let _ = writeln!(out, "\n| what is said | said | right | share |");
        let _ = writeln!(out, "|---|---:|---:|---:|");
        for ((device, word), (said, right)) in &self.words {
            let who = if *device { "a device made it" } else { "a host made it" };
            let _ = writeln!(
                out,
                "| {who}, {word} | {said} | {right} | {:.4} |",
                f64::from(*right) / f64::from((*said).max(1))
            );
        }
        out
    }
}
