//! Failures in, evidence on disk out, from a thread of its own: neither a slow disk nor the making of reports stops the capture.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use rdpwhy::capture::SourceSummary;
use rdpwhy::report::Report;

use crate::watch::keep::{Done, Keep};
use crate::watch::ring::{Memory, Ring};

/// So many failures wait for their evidence at one time.
const WAITING: usize = 64;
/// So many attempts are kept in one minute: a storm of failures is counted, and does not fill the disk with the same again and again.
const KEPT_PER_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// A failure whose evidence is to be written.
struct Job {
    no: u64,
    report: Report,
    memory: Memory,
}

/// The thread that writes, and what it has not written yet.
#[derive(Debug)]
pub struct Clerk {
    jobs: Option<SyncSender<Box<Job>>>,
    /// What became of each, in the order in which they were given.
    done: Receiver<(u64, anyhow::Result<Done>)>,
    /// The failures that it was given, in order and numbered: each is told when its evidence is on disk.
    waiting: VecDeque<(u64, Report)>,
    /// The number of the next one.
    next: u64,
    /// The begin of this minute, and how many attempts were kept in it.
    minute: (Instant, u32),
    /// Attempts whose evidence was kept, removed again and not written.
    pub kept: u64,
    /// See `kept`.
    pub removed: u64,
    /// See `kept`.
    pub failed: u64,
}

/// A failure whose evidence has been dealt with.
#[derive(Debug)]
pub struct Settled {
    /// The failure.
    pub report: Report,
    /// Where its evidence is, or why there is none.
    pub done: anyhow::Result<Done>,
}

/// A failure for which no evidence is written, and why.
#[derive(Debug)]
pub struct Refused {
    /// The failure.
    pub report: Report,
    /// Why, where that has not been said in this minute.
    pub why: Option<String>,
}

impl Clerk {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where none can be started.
    pub fn start(mut keep: Keep) -> io::Result<Clerk> {
        let (jobs, todo) = mpsc::sync_channel::<Box<Job>>(WAITING);
        let (tell, done) = mpsc::channel();
        let write = move || {
            for mut job in todo {
                if tell.send((job.no, keep.attempt(&job.report, &mut job.memory))).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("evidence".to_owned()).spawn(write)?;
        Ok(Clerk {
            jobs: Some(jobs),
            done,
            waiting: VecDeque::new(),
            next: 0,
            minute: (Instant::now(), 0),
            kept: 0,
            removed: 0,
            failed: 0,
        })
    }

    /// Takes a failure with what the ring remembers at this moment.
    ///
    /// # Errors
    /// The failure itself, where its evidence cannot be written: too many wait, or too many were kept in this minute.
    pub fn take(&mut self, mut report: Report, ring: &mut Ring, about: &SourceSummary) -> Result<(), Box<Refused>> {
        let now = Instant::now();
        if now - self.minute.0 >= MINUTE {
            self.minute = (now, 0);
        }
        self.minute.1 += 1;
        let why = if self.minute.1 > KEPT_PER_MINUTE {
            (self.minute.1 == KEPT_PER_MINUTE + 1).then(|| {
                format!("more than {KEPT_PER_MINUTE} failures in a minute: their evidence is not kept until the next one")
            })
        } else if self.waiting.len() >= WAITING || ring.is_strained() {
            Some("the disk is slower than the failures come: the evidence of one is not kept".to_owned())
        } else {
            let began = report.attempts.first().map(|attempt| attempt.started).unwrap_or_default();
            let memory = ring.share(&hosts(&report), began, about);
            if !memory.reaches {
                report.shortfalls.push(
                    "the first packets of this attempt had left the memory for recent packets: --ring-size and --ring-time"
                        .to_owned(),
                );
            }
            let no = self.next;
            let job = Box::new(Job {
                no,
                report: report.clone(),
                memory,
            });
            match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
                Some(Ok(())) => {
                    self.waiting.push_back((no, report));
                    self.next += 1;
                    return Ok(());
                }
                Some(Err(TrySendError::Full(_))) => Some("too many failures wait for their evidence".to_owned()),
                Some(Err(TrySendError::Disconnected(_))) | None => Some(GONE.to_owned()),
            }
        };
        self.failed += 1;
        Err(Box::new(Refused { report, why }))
    }

    /// The next failure whose evidence has been dealt with; `None` where there is none yet.
    pub fn settled(&mut self) -> Option<Settled> {
        loop {
            let done = match self.done.try_recv() {
                Ok((no, done)) if self.is_next(no) => done,
                Ok((_, done)) => {
                    self.count_late(&done);
                    continue;
                }
                Err(TryRecvError::Disconnected) if !self.waiting.is_empty() => Err(anyhow::anyhow!(GONE)),
                Err(_) => return None,
            };
            return self.settle(done);
        }
    }

    /// As [`settled`](Self::settled), and waits for it, but not beyond `until`.
    pub fn settled_until(&mut self, until: Instant) -> Option<Settled> {
        // Nothing more comes.
        self.jobs = None;
        if self.waiting.is_empty() {
            return None;
        }
        loop {
            let done = match self.done.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((no, done)) if self.is_next(no) => done,
                Ok((_, done)) => {
                    self.count_late(&done);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => Err(anyhow::anyhow!("the disk is too slow to wait for it")),
                Err(RecvTimeoutError::Disconnected) => Err(anyhow::anyhow!(GONE)),
            };
            return self.settle(done);
        }
    }

    /// Whether an answer is about the failure that is told next; otherwise it is about one that was given up.
    fn is_next(&self, no: u64) -> bool {
        self.waiting.front().is_some_and(|(next, _)| *next == no)
    }

    /// Counts evidence that came to the disk after its failure was told without it.
    fn count_late(&mut self, done: &anyhow::Result<Done>) {
        if let Ok(done) = done {
            self.failed = self.failed.saturating_sub(1);
            self.kept += 1;
            self.removed += done.removed.len() as u64;
        }
    }

    fn settle(&mut self, done: anyhow::Result<Done>) -> Option<Settled> {
        let (_, report) = self.waiting.pop_front()?;
        match &done {
            Ok(done) => {
                self.kept += 1;
                self.removed += done.removed.len() as u64;
            }
            Err(_) => self.failed += 1,
        }
        Some(Settled { report, done })
    }
}

/// Everybody whose packets evidence may hold: whom the client asks for names and tickets speaks with the client.
fn hosts(report: &Report) -> Vec<IpAddr> {
    let clients = report.attempts.iter().map(|attempt| attempt.client);
    let connections = report.connections.iter();
    let ends = connections.flat_map(|one| [Some(one.client.ip()), one.server.map(|server| server.ip())]);
    let mut hosts: Vec<IpAddr> = clients.chain(ends.flatten()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

const GONE: &str = "the thread that writes evidence has ended";

#[cfg(test)]
mod tests {
    use super::*;

    fn report(summary: &str) -> Report {
        let overall = crate::watch::tally::Tally::default().overall().unwrap();
        Report {
            unwanted: 0,
            sources: Vec::new(),
            connections: Vec::new(),
            attempts: Vec::new(),
            overall: rdpwhy::report::model::Overall {
                summary: summary.to_owned(),
                ..overall
            },
            quality: Vec::new(),
            notes: Vec::new(),
            shortfalls: Vec::new(),
            times: rdpwhy::report::model::Times::default(),
        }
    }

    #[test]
    fn evidence_that_comes_too_late_is_not_taken_for_that_of_the_next_failure() {
        let (tell, done) = mpsc::channel();
        let mut clerk = Clerk {
            jobs: None,
            done,
            waiting: (0..2).map(|no| (no, report(&no.to_string()))).collect(),
            next: 2,
            minute: (Instant::now(), 0),
            kept: 0,
            removed: 0,
            failed: 0,
        };
        let first = clerk.settled_until(Instant::now()).unwrap();
        assert!(first.done.is_err() && first.report.overall.summary == "0");
        for no in 0..2 {
            let done = Done {
                place: no.to_string().into(),
                removed: Vec::new(),
                stuck: None,
            };
            tell.send((no, Ok(done))).unwrap();
        }
        let second = clerk.settled_until(Instant::now()).unwrap();
        assert_eq!(second.report.overall.summary, "1");
        assert_eq!(second.done.unwrap().place, std::path::Path::new("1"));
        assert_eq!((clerk.kept, clerk.failed), (2, 0), "both are on disk");
    }
}
