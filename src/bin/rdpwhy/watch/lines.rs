//! Reports, notices and counts in, lines out: one each for people, or the NDJSON of the schema.

use std::io;

use anstyle::Style;
use jiff::tz::TimeZone;
use rdpwhy::capture::Timestamp;
use rdpwhy::report::model::{Connection, Outcome};
use rdpwhy::report::page::{BAD, CARE, DIM, GOOD};
use rdpwhy::report::plain::printable;
use rdpwhy::report::{Report, SCHEMA, clock, ndjson};
use serde::Serialize;

use crate::watch::args::Lines;
use crate::watch::tally::Status;

/// How lines are written.
#[derive(Debug)]
pub struct Writer {
    /// For whom.
    pub lines: Lines,
    /// The zone of times for people.
    pub zone: TimeZone,
}

#[derive(Serialize)]
struct Line<'a, T> {
    schema: &'static str,
    r#type: &'a str,
    #[serde(flatten)]
    record: T,
}

#[derive(Serialize)]
struct Notice<'a> {
    at: String,
    text: &'a str,
}

impl Writer {
    /// The line of an attempt and, for machines, those of its connections.
    pub fn verdict(&self, report: &Report, outcome: Outcome, kept: Option<&str>) -> io::Result<String> {
        match self.lines {
            Lines::Text => Ok(self.sentence(report, outcome, kept)),
            Lines::Ndjson => {
                let mut bytes = Vec::new();
                report
                    .connections
                    .iter()
                    .try_for_each(|one| ndjson::connection(report, one, &mut bytes))?;
                report
                    .attempts
                    .iter()
                    .try_for_each(|one| ndjson::live_attempt(report, one, kept, &mut bytes))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    fn sentence(&self, report: &Report, outcome: Outcome, kept: Option<&str>) -> String {
        let Some(attempt) = report.attempts.first() else {
            return String::new();
        };
        let (word, style) = match outcome {
            Outcome::Healthy => ("ok     ", GOOD),
            Outcome::Failure => ("FAILED ", BAD),
            Outcome::NothingToJudge => ("unclear", CARE),
        };
        let decisive = report.connection(attempt.decisive).or(report.connections.first());
        let mut who = attempt.client.to_string();
        if let Some(user) = decisive.and_then(|connection| connection.user.as_deref()) {
            who.push_str(&format!(" ({user})"));
        }
        let verdict = &attempt.verdict;
        let place = decisive.map_or_else(|| attempt.server.clone(), server);
        let mut text = format!(
            "{} -> {}  {}, {}: {}",
            printable(&who),
            printable(&place),
            verdict.cause.slug,
            verdict.confidence,
            printable(&verdict.summary)
        );
        let notes = report.quality.iter().map(|note| note.text.as_str());
        for note in notes.chain(report.shortfalls.iter().map(String::as_str)).chain(kept) {
            text.push_str(&format!("  [{}]", printable(note)));
        }
        self.people(attempt.started, (word, style), &text)
    }

    /// The line of something that happened to the capture itself.
    pub fn notice(&self, at: Timestamp, text: &str) -> io::Result<String> {
        match self.lines {
            Lines::Text => Ok(self.people(at, ("notice ", CARE), &printable(text))),
            Lines::Ndjson => machine(
                "notice",
                Notice {
                    at: clock::rfc3339(at),
                    text,
                },
            ),
        }
    }

    /// The line of how the capture stands.
    pub fn status(&self, at: Timestamp, status: &Status) -> io::Result<String> {
        match self.lines {
            Lines::Text => Ok(self.people(at, ("status ", DIM), &in_words(status))),
            Lines::Ndjson => machine("status", status),
        }
    }

    fn people(&self, at: Timestamp, (word, style): (&str, Style), text: &str) -> String {
        let time = clock::date_time(at, &self.zone);
        format!("{DIM}{time}{DIM:#}  {style}{word}{style:#}  {text}\n")
    }
}

fn machine(kind: &str, record: impl Serialize) -> io::Result<String> {
    let line = Line {
        schema: SCHEMA,
        r#type: kind,
        record,
    };
    let mut text = serde_json::to_string(&line)?;
    text.push('\n');
    Ok(text)
}

fn server(connection: &Connection) -> String {
    match (connection.server_name.as_deref(), connection.server) {
        (Some(name), Some(server)) => format!("{name} ({server})"),
        (None, Some(server)) => server.to_string(),
        (name, None) => name.unwrap_or("?").to_owned(),
    }
}

/// The counts in one sentence.
pub fn in_words(status: &Status) -> String {
    let mut text = format!(
        "{} healthy, {} failed, {} unclear; {} open; {} packets",
        status.healthy, status.failed, status.undecided, status.following, status.packets
    );
    let missed = [
        (status.dropped_by_kernel, "dropped by the kernel"),
        (status.dropped_by_interface, "dropped by the interface"),
        (status.evicted, "connections judged early or only counted"),
        (status.ring_overruns, "left the memory for recent packets early"),
        (status.evidence_removed, "kept attempts removed to stay within bounds"),
        (status.evidence_failed, "failures without evidence"),
        (status.lines_lost, "lines lost on their way to a log"),
    ];
    for (n, what) in missed.iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {n} {what}"));
    }
    if missed.iter().all(|(n, _)| *n == 0) {
        text.push_str(", nothing missed");
    }
    if let Some(memory) = status.memory {
        text.push_str(&format!("; {} MiB of memory", memory >> 20));
    }
    text
}
