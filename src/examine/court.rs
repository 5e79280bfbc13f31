//! Judges settled attempts, beside the reading once there are many: a verdict depends on its attempt and on what was known around it
//! at that time, and on nothing that comes later. Attempts go in with a copy of just that, in order, and rows come out in this order.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::attempt::Gathered;
use crate::diagnosis::Context;
use crate::examine::assemble::Extras;
use crate::examine::{Options, assemble, crew, filter, keep, times};

/// So many attempts are judged on the spot: a small capture is done before a thread has begun.
const ON_THE_SPOT: usize = 64;
/// So many bytes of attempts make up a load for the thread that judges: each load wakes it. A docket is no heavier by more than one attempt.
pub(super) const LOAD: usize = 192 << 10;
/// So many loads wait while one is judged and the next one grows. They come in heaps, when memory is short and when time has passed; but what
/// waits takes memory, where short connections wait three times what they weigh.
const WAITING: usize = 6;

/// Attempts that settled at one time, and what was known around them.
pub(super) type Docket = (Vec<Gathered>, Context);

/// What judging needs and leaves.
#[derive(Debug, Default)]
pub(super) struct Bench {
    options: Options,
    /// How many threads judge.
    hands: usize,
    /// How many rows are kept.
    most: usize,
    pub(super) rows: keep::Rows,
    pub(super) times: times::Tally,
    /// Attempts that nobody asked about.
    pub(super) unwanted: usize,
}

impl Bench {
    /// Judges attempts with as many threads as there may be.
    fn judge(&mut self, (attempts, context): Docket) {
        let (options, context) = (&self.options, &context);
        let judged = crew::each(attempts, self.hands, |attempt| {
            let attempt = attempt.read();
            let judgement = crate::diagnosis::judge(&attempt, context);
            (attempt, judgement)
        });
        let mut kept = Vec::new();
        for (attempt, judgement) in judged {
            if !filter::is_wanted(&attempt, context, options) {
                self.unwanted += 1;
                continue;
            }
            attempt.connections.iter().for_each(|(t, _)| self.times.add(&t.tcp));
            let cause = assemble::verdict(&attempt, &judgement).cause;
            let server = assemble::server(&attempt, &judgement);
            let admitted = self.rows.admit(cause, &server, attempt.len(), self.most);
            if let Some(ticket) = admitted {
                kept.push((attempt, judgement, ticket));
            }
        }
        let (plots, imprints) = (!options.without_plots, !options.alone);
        let rows = crew::each(kept, self.hands, |(attempt, judgement, ticket)| {
            let extras = Extras {
                plots: ticket.series && plots,
                imprints,
            };
            (ticket, assemble::row(&attempt, judgement, context, extras))
        });
        rows.into_iter().for_each(|(ticket, row)| self.rows.push(ticket, row));
    }
}

/// Where attempts are judged.
#[derive(Debug)]
pub(super) struct Court {
    /// Empty while a thread has it.
    bench: Bench,
    beside: Option<Beside>,
    /// So many attempts more are judged on the spot.
    patience: usize,
    /// How many rows' room the attempts take that came.
    came: usize,
}

/// The thread that judges, and what it is given next.
#[derive(Debug)]
struct Beside {
    load: Vec<Docket>,
    loaded: usize,
    sender: SyncSender<Vec<Docket>>,
    thread: JoinHandle<Bench>,
}

impl Court {
    /// A court that keeps as many rows as the limits say.
    pub(super) fn new(options: &Options) -> Court {
        Court {
            bench: Bench {
                options: options.clone(),
                hands: crew::hands(options.threads),
                most: options.limits.verdicts,
                ..Bench::default()
            },
            beside: None,
            patience: ON_THE_SPOT,
            came: 0,
        }
    }

    /// A court for verdicts that are told as they fall: all are judged at once, and rows leave at once, so that the connections bound
    /// them.
    pub(super) fn on_the_spot(options: &Options) -> Court {
        let mut court = Court::new(options);
        court.bench.most = usize::MAX;
        court.patience = usize::MAX;
        court
    }

    /// Judges attempts, now or soon.
    pub(super) fn judge(&mut self, docket: Docket) {
        self.came += rows(&docket);
        match &mut self.beside {
            Some(beside) => {
                beside.loaded += docket.0.iter().map(Gathered::weight).sum::<usize>();
                beside.load.push(docket);
                if beside.loaded >= LOAD {
                    beside.send();
                }
            }
            None => {
                self.patience = self.patience.saturating_sub(docket.0.len());
                self.bench.judge(docket);
                if self.patience == 0 && self.bench.hands > 1 {
                    self.go_beside();
                }
            }
        }
    }

    /// Judges attempts with all hands, after everything that came before: for the end of a source, where nothing else is to be done.
    pub(super) fn judge_at_once(&mut self, docket: Docket) {
        self.came += rows(&docket);
        self.bench().judge(docket);
    }

    /// How many rows' room the attempts take that were judged, or will be soon.
    #[inline]
    pub(super) fn came(&self) -> usize {
        self.came
    }

    /// Gives the bench to a thread, if one can be had.
    fn go_beside(&mut self) {
        let (sender, loads) = sync_channel::<Vec<Docket>>(WAITING);
        let (hand_over, bench) = sync_channel::<Bench>(1);
        let started = thread::Builder::new().name("judge".into()).spawn(move || {
            give_way();
            let mut bench = bench.recv().unwrap_or_default();
            // Two processors are at work already, those that read and follow.
            let hands = bench.hands;
            bench.hands = hands.saturating_sub(2).max(1);
            for load in loads {
                load.into_iter().for_each(|docket| bench.judge(docket));
            }
            Bench { hands, ..bench }
        });
        let Ok(thread) = started else { return };
        let _ = hand_over.send(std::mem::take(&mut self.bench));
        self.beside = Some(Beside {
            load: Vec::new(),
            loaded: 0,
            sender,
            thread,
        });
    }

    /// The bench, when everything that came has been judged.
    pub(super) fn bench(&mut self) -> &mut Bench {
        if let Some(mut beside) = self.beside.take() {
            beside.send();
            drop(beside.sender);
            self.bench = match beside.thread.join() {
                Ok(bench) => bench,
                Err(panic) => std::panic::resume_unwind(panic),
            };
        }
        &mut self.bench
    }
}

/// Lets the threads that read and follow go first: a verdict can wait, and they wait for one another.
fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(5);
}

/// How many rows' room the attempts of a docket take.
fn rows(docket: &Docket) -> usize {
    docket.0.iter().map(|attempt| keep::rows(attempt.len())).sum()
}

impl Beside {
    /// Sends what is loaded. The thread ends only after the sender, or by a panic, which shows when it is joined.
    fn send(&mut self) {
        self.loaded = 0;
        let _ = self.sender.send(std::mem::take(&mut self.load));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{FrameNo, shipped};
    use crate::diagnosis::case::ShownCertificate;
    use crate::examine::Examiner;

    /// What could be known around an attempt, and is in few captures: names of its servers, other certificates that they showed, and
    /// what else was seen of those who sent ICMP errors.
    fn enrich(context: &mut Context, attempt: &crate::attempt::Attempt) {
        let tcp = attempt.connections.iter().map(|(t, _)| (t.server, t.started()));
        let udp = attempt.udp.iter().map(|(t, _)| (t.server, t.started()));
        for (server, at) in tcp.chain(udp) {
            context.names.insert(server.ip(), "named.example".to_owned());
            let other = ShownCertificate {
                issuer: "CN=another".to_owned(),
                serial: "02".to_owned(),
                frame: FrameNo::new(1),
                at,
            };
            context.certificates.add(server, other);
        }
        let tcp = attempt.connections.iter().flat_map(|(t, _)| &t.tcp.icmp);
        let udp = attempt.udp.iter().flat_map(|(t, _)| &t.udp.icmp);
        for error in tcp.chain(udp) {
            (1..=5).for_each(|no| context.hosts.learn(error.from, error.ttl.wrapping_add(7), FrameNo::new(no)));
        }
    }

    /// What goes along with an attempt is all that its verdict and its row ask for.
    #[test]
    fn what_is_known_around_an_attempt_is_enough_for_it() {
        let mut judged = 0;
        for path in shipped::all() {
            let mut examiner = Examiner::new(Options::default());
            shipped::read(&path, |event| examiner.feed(event));
            examiner.seal_everything();
            for attempt in examiner.state.gatherer.finish().into_iter().map(Gathered::read) {
                let extras = Extras {
                    plots: false,
                    imprints: true,
                };
                let told = |context: &Context| {
                    let judgement = crate::diagnosis::judge(&attempt, context);
                    let wanted = filter::is_wanted(&attempt, context, &examiner.options);
                    format!("{wanted} {:?}", assemble::row(&attempt, judgement, context, extras))
                };
                let seen = examiner.state.context.clone();
                let mut more = seen.clone();
                enrich(&mut more, &attempt);
                for everything in [seen, more] {
                    let around = everything.around(std::slice::from_ref(&attempt));
                    assert_eq!(told(&everything), told(&around), "{}", path.display());
                }
                judged += 1;
            }
        }
        assert!(judged > 500, "{judged}");
    }
}
