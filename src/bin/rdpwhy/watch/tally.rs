//! Reports in, counts out: how many attempts, of which cause, and what was missed meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rdpwhy::capture::live::Drops;
use rdpwhy::capture::{Span, Timestamp};
use rdpwhy::diagnosis::{CAUSES, Confidence, Mechanism};
use rdpwhy::report::Report;
use rdpwhy::report::model::{Outcome, Overall, QualityNote};
use serde::Serialize;

/// How many times at which packets were dropped are remembered.
const MOMENTS: usize = 256;

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts that had nothing wrong.
    pub healthy: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts of which too little was seen.
    pub undecided: u64,
    /// Attempts by cause.
    pub causes: BTreeMap<&'static str, u64>,
    /// The verdict for the summary: the first failure, else the last success, else whatever was last.
    pub headline: Option<Overall>,
    drops: Drops,
    /// When drops were noticed: between which two looks, and how many.
    dropped: VecDeque<(Timestamp, Timestamp, u64)>,
    looked: Option<Timestamp>,
}

impl Tally {
    /// Attempts of all kinds.
    pub fn attempts(&self) -> u64 {
        self.healthy + self.failed + self.undecided
    }

    /// Takes what was dropped so far; returns how many more than before.
    pub fn look(&mut self, now: Timestamp, drops: Drops) -> u64 {
        let more = drops.all().saturating_sub(self.drops.all());
        let since = self.looked.replace(now).unwrap_or(now);
        self.drops = drops;
        if more > 0 {
            if self.dropped.len() >= MOMENTS {
                self.dropped.pop_front();
            }
            self.dropped.push_back((since, now, more));
        }
        more
    }

    /// Says in the verdicts of a report what the capture missed while its attempt ran, and believes less where they rest on silence.
    pub fn own_up(&self, report: &mut Report) {
        let Some(attempt) = report.attempts.first_mut() else { return };
        let (began, ended) = (attempt.started, attempt.ended.plus(Span::secs(1)));
        let during = self
            .dropped
            .iter()
            .filter(|(since, until, _)| *until >= began && *since <= ended);
        let missed: u64 = during.map(|(_, _, n)| n).sum();
        if missed == 0 {
            return;
        }
        report.quality.push(QualityNote {
            source: 0,
            text: format!(
                "the capture itself dropped {missed} packets while this attempt ran: what seems to be missing may be there"
            ),
            better: Some("a larger --buffer, or fewer packets with -i on the interface towards the hosts".to_owned()),
            frame: None,
        });
        let silent = |mechanism| matches!(mechanism, Mechanism::Silence | Mechanism::None);
        for connection in &mut report.connections {
            if silent(connection.mechanism) && connection.verdict.confidence == Confidence::Likely {
                Arc::make_mut(&mut connection.verdict).confidence = Confidence::Possible;
                if attempt.decisive == connection.id {
                    Arc::make_mut(&mut attempt.verdict).confidence = Confidence::Possible;
                    report.overall.confidence = Some(Confidence::Possible);
                }
            }
        }
    }

    /// Counts a report about one attempt.
    pub fn count(&mut self, report: &Report) -> Outcome {
        let outcome = report.outcome();
        match outcome {
            Outcome::Healthy => self.healthy += 1,
            Outcome::Failure => self.failed += 1,
            Outcome::NothingToJudge => self.undecided += 1,
        }
        *self.causes.entry(report.overall.cause.slug).or_default() += 1;
        let told_failure = self.failed > 1 || (self.failed == 1 && outcome != Outcome::Failure);
        let told_success = self.healthy > 0 && outcome == Outcome::NothingToJudge;
        if !told_failure && !told_success {
            self.headline = Some(report.overall.clone());
        }
        outcome
    }

    /// The verdict for the summary, also where there was no attempt.
    pub fn overall(&self) -> Option<Overall> {
        self.headline.clone().or_else(|| {
            Some(Overall {
                cause: CAUSES.iter().find(|cause| cause.slug == "no_rdp")?,
                healthy: false,
                confidence: None,
                attempt: None,
                connection: None,
                summary: "there was no Remote Desktop, RD Gateway or RDP-UDP traffic".to_owned(),
            })
        })
    }

    /// What the exit code says.
    pub fn outcome(&self) -> Outcome {
        match (self.failed, self.healthy) {
            (0, 0) => Outcome::NothingToJudge,
            (0, _) => Outcome::Healthy,
            _ => Outcome::Failure,
        }
    }
}

/// How the capture stands, as it is shown, written and served.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// The time, RFC 3339.
    pub at: String,
    /// Packets taken from the kernel.
    pub packets: u64,
    /// Connections that are followed.
    pub following: usize,
    /// Attempts that had nothing wrong.
    pub healthy: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Attempts of which too little was seen.
    pub undecided: u64,
    /// Packets that the kernel dropped because its buffer was full.
    pub dropped_by_kernel: u64,
    /// Packets that an interface or its driver dropped.
    pub dropped_by_interface: u64,
    /// Connections that were judged early, or only counted, because too many were open or took too much memory.
    pub evicted: u64,
    /// Packets in the ring.
    pub ring_packets: usize,
    /// Bytes in the ring.
    pub ring_bytes: u64,
    /// Packets that left the ring before their time because it was full.
    pub ring_overruns: u64,
    /// Attempts whose evidence is kept.
    pub evidence_kept: u64,
    /// Attempts whose evidence was removed again to stay within bounds.
    pub evidence_removed: u64,
    /// Attempts whose evidence could not be written.
    pub evidence_failed: u64,
    /// Lines that could not be written to the log file or the system's log.
    pub lines_lost: u64,
    /// Memory of this process in bytes, where the system tells.
    pub memory: Option<u64>,
}

/// The memory of this process in bytes.
pub fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4_096)
}
