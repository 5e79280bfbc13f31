//! Verdicts as they fall: what an examination needs that has no end. What was told leaves, so that memory stays flat.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::attempt::Gathered;
use crate::capture::{SourceSummary, Span, Timestamp};
use crate::examine::court::Court;
use crate::examine::tcp::Live;
use crate::examine::{Examiner, Options, State, assemble, filter, names, overall};
use crate::flow::{FlowKey, Opening, Side};
use crate::report::Report;
use crate::report::model::{Connection, SourceReport, Times};
use crate::transcript::{Phase, Progress, Window};

/// A closed connection is judged so long after its last packet: a client's own retry comes within this time, and late packets too.
const SETTLED: Span = Span::secs(5);
/// A handshake is given up so long after the next repetition of its SYN was due. Waiting times double, so that the next one is due
/// when as much time again has passed as all repetitions have taken.
const OVERDUE: Span = Span::secs(4);
/// A connection that hangs between handshake and session, or a session whose data is not acknowledged, is given up after so long a
/// silence: all systems' retransmissions come closer together.
const HANGING: Span = Span::secs(150);
/// A session that is silent for so long is not there any more, whatever its ends believe: systems' keep-alives come every two hours.
const FORSAKEN: Span = Span::secs(24 * 3_600);
/// Packets of a connection that was judged are passed over until they have been absent for so long.
const PAST: Span = Span::secs(600);
/// How often failed lookups are looked for.
const LOOKUPS: Span = Span::secs(5);
/// A failed lookup waits so long for the use of the same name that ties it to Remote Desktop.
const LOOKUP_KEPT: Span = Span::secs(900);
/// How many told lookups are remembered to tell none twice.
const LOOKUPS_TOLD: usize = 4_096;
/// How many connections that were judged early are remembered until their attempt is told.
const EARLY: usize = 65_536;

/// What only an examination without end needs to remember.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// Attempts and connections told so far; numbers go on from here.
    attempts: u32,
    connections: u32,
    /// Lookups that were judged, by number, and the latest failure of each client and name.
    lookups: BTreeSet<u64>,
    failures: HashMap<(IpAddr, String), Timestamp>,
    next_lookups: Timestamp,
    /// Connections that were judged early because too many were open or took too much memory, by their ends and the time of their first
    /// packet.
    early: HashSet<(SocketAddr, SocketAddr, Timestamp)>,
    /// Until when lookups were looked at, and how many names were in use then.
    looked_until: Timestamp,
    names_then: usize,
}

impl Door {
    /// Notes that a connection is judged early, because too many are open or take too much memory.
    pub(super) fn note_early(&mut self, live: &Live) {
        if self.early.len() < EARLY {
            self.early.insert((live.client, live.server, live.tcp.first().at));
        }
    }

    /// Whether one of these connections was judged early; asked once.
    fn was_early(&mut self, connections: &[Connection]) -> bool {
        if self.early.is_empty() {
            return false;
        }
        let noted = connections
            .iter()
            .filter_map(|one| Some((one.client, one.server?, one.started)));
        // All are taken out.
        noted.filter(|one| self.early.remove(one)).count() > 0
    }
}

/// A connection that is followed at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// The time of its first packet.
    pub started: Timestamp,
    /// The first phase that it has not completed.
    pub phase: Phase,
}

/// How many connections are followed at one time on a live interface; half-open ones are small and may be as many.
const LIVE_CONNECTIONS: usize = 16_384;
/// How many judged ones are passed over.
const LIVE_JUDGED: usize = 65_536;
/// What they may weigh, as far as it is weighed: ten thousand sessions stay below it.
const LIVE_BYTES: usize = 384 << 20;

impl Examiner {
    /// An examiner for a capture that does not end: it is told the time with [`settle`](Self::settle), and gives its verdicts with
    /// [`drain`](Self::drain).
    pub fn live(mut options: Options) -> Examiner {
        // A machine that everybody connects through holds more connections at one time than a capture of one failure does.
        options.limits.connections = options.limits.connections.max(LIVE_CONNECTIONS);
        options.limits.half_open = options.limits.half_open.max(LIVE_CONNECTIONS);
        options.limits.flow_bytes = options.limits.flow_bytes.max(LIVE_BYTES);
        // Rows leave as they are told.
        options.limits.verdict_bytes = 0;
        options.limits.judged = options.limits.judged.max(LIVE_JUDGED);
        Examiner {
            door: Some(Box::default()),
            court: Court::on_the_spot(&options),
            ..Examiner::new(options)
        }
    }

    /// Judges what has ended, or gone silent long enough for its kind, at `now`. To be called about once a second, packets or not.
    pub fn settle(&mut self, now: Timestamp) {
        Window::widen(&mut self.state.window, now, now);
        let mut at = self.state.flows.oldest();
        while let Some(slot) = at {
            at = self.state.flows.newer(slot);
            let Some(live) = self.state.flows.get_mut(slot) else { break };
            let quiet = now.since(live.tcp.last().at);
            // The table is in the order of last packets: who comes later is not quiet for longer.
            if quiet < OVERDUE {
                break;
            }
            if is_over(live, quiet) {
                self.seal(slot);
            }
        }
        self.sweep_udp(now);
        self.ripen(now);
        self.settle_lookups(now);
        self.keep_flat(now);
    }

    /// Judges everything that is open, as at the end of a capture, and goes on in the same source: for a clock that was set, across
    /// which no time can be measured, and for the end.
    pub fn cut(&mut self) {
        self.seal_everything();
        let attempts = self.state.gatherer.finish();
        self.judge(attempts);
        let last = self.state.window.unwrap_or_default().last;
        self.tell_lookups(last, |_| true);
        let fresh = State::new(self.state.source, &self.options);
        let old = std::mem::replace(&mut self.state, fresh);
        // What is known of hosts and names does not depend on the clock.
        self.state.next_id = old.next_id;
        self.state.evicted = old.evicted;
        self.state.unanswered = old.unanswered;
        self.state.context = old.context;
        self.state.rdp_names = old.rdp_names;
        self.state.services = old.services;
        self.state.gateways = old.gateways;
        self.state.suspects = old.suspects.known();
        self.state.interest = old.interest;
        self.state.strays = old.strays;
        self.state.past = old.past;
        self.state.relief = old.relief;
        if let Some(door) = &mut self.door {
            door.lookups.clear();
            door.failures.clear();
            door.next_lookups = Timestamp(i64::MIN);
            door.looked_until = Timestamp(i64::MIN);
        }
    }

    /// Takes out the attempts that were judged since the last call: a report about each, in the order of their verdicts. `source` is
    /// what the source says of itself at this moment. Attempts and connections are numbered on from call to call.
    pub fn drain(&mut self, source: &SourceSummary) -> Vec<Report> {
        let rows = self.court.bench().rows.take();
        let Some(door) = &mut self.door else { return Vec::new() };
        let mut reports = Vec::new();
        for row in rows {
            if !filter::wanted(row.attempt(), row.connections(), &self.options) {
                continue;
            }
            let shortfalls = match door.was_early(row.connections()) {
                true => {
                    vec!["judged early, because too many connections were open at one time or took too much memory".to_owned()]
                }
                false => Vec::new(),
            };
            let (mut connections, mut attempts) = assemble::number(vec![row]);
            let (first_attempt, first_connection) = (door.attempts, door.connections);
            for attempt in &mut attempts {
                attempt.id += first_attempt;
                attempt.decisive += first_connection;
                attempt.connections.iter_mut().for_each(|id| *id += first_connection);
            }
            for connection in &mut connections {
                connection.id += first_connection;
                connection.attempt += first_attempt;
            }
            door.attempts = first_attempt.wrapping_add(u32::try_from(attempts.len()).unwrap_or(0));
            door.connections = first_connection.wrapping_add(u32::try_from(connections.len()).unwrap_or(0));
            let overall = overall::choose(&connections, &attempts, overall::Nothing::Rdp, &self.options);
            reports.push(Report {
                unwanted: 0,
                sources: vec![SourceReport {
                    summary: source.clone(),
                    sha256: None,
                }],
                connections,
                attempts,
                overall,
                quality: Vec::new(),
                notes: Vec::new(),
                shortfalls,
                times: Times::default(),
            });
        }
        reports
    }

    /// How many connections are followed at this moment.
    pub fn following(&self) -> usize {
        self.state.flows.len()
    }

    /// How many connections were judged early, or only counted, because too many were open, as in a flood or a scan, or because they took
    /// too much memory.
    pub fn evicted(&self) -> u64 {
        self.state.evicted + self.state.unanswered + self.state.relief.early()
    }

    /// The `most` connections with the latest packets, the latest first.
    pub fn followed(&self, most: usize) -> Vec<Followed> {
        let flows = &self.state.flows;
        let mut slots: Vec<_> = flows
            .slots()
            .into_iter()
            .filter_map(|slot| Some((flows.get(slot).filter(|live| !live.is_suspected())?.tcp.last().at, slot)))
            .collect();
        slots.sort_unstable_by_key(|(last, _)| std::cmp::Reverse(*last));
        slots
            .into_iter()
            .take(most)
            .filter_map(|(_, slot)| {
                let live = flows.get(slot)?;
                Some(Followed {
                    client: live.client,
                    server: live.server,
                    started: live.tcp.first().at,
                    phase: phase(live),
                })
            })
            .collect()
    }

    fn settle_lookups(&mut self, now: Timestamp) {
        let Some(door) = &mut self.door else { return };
        if now < door.next_lookups {
            return;
        }
        door.next_lookups = now.plus(LOOKUPS);
        let used = self.state.rdp_names.used.len();
        // A name that is newly in use may tie what was passed over before.
        let since = if used == door.names_then {
            door.looked_until
        } else {
            Timestamp(i64::MIN)
        };
        door.names_then = used;
        door.looked_until = now;
        self.tell_lookups(now, |settled| settled <= now && settled > since);
        self.state.lookups.forget_before(now.plus(Span(-LOOKUP_KEPT.0)));
    }

    /// Tells the failed lookups that are tied to Remote Desktop, those that settle at a time for which `is_due` says so.
    fn tell_lookups(&mut self, now: Timestamp, is_due: impl Fn(Timestamp) -> bool) {
        let names = self.known_names();
        let ties = names.ties();
        let Some(door) = &mut self.door else { return };
        for (number, lookup) in self.state.lookups.numbered() {
            let wait = if lookup.replies.is_empty() {
                names::SILENT
            } else {
                names::ANSWERED
            };
            if !is_due(lookup.last.plus(wait)) || door.lookups.contains(&number) {
                continue;
            }
            let Some(finding) = names::judge(lookup, &ties, &self.state.lookups, now) else {
                continue;
            };
            if door.lookups.len() >= LOOKUPS_TOLD {
                door.lookups.pop_first();
            }
            door.lookups.insert(number);
            let who = (lookup.client, lookup.name.clone());
            let told = door.failures.insert(who, lookup.started());
            if told.is_none_or(|before| lookup.started().since(before) > names::REPEATED) {
                self.court
                    .bench()
                    .rows
                    .offer(assemble::lookup_row(lookup, finding), self.options.limits.verdicts);
            }
        }
    }

    /// Lets go of what a long time has made useless.
    fn keep_flat(&mut self, now: Timestamp) {
        let Some(door) = &mut self.door else { return };
        // What was sealed and was no attempt is never asked for.
        if door.early.len() >= EARLY / 2 {
            door.early.retain(|(_, _, began)| now.since(*began) < PAST);
        }
        self.state.past.forget(now, PAST);
        if door.failures.len() >= LOOKUPS_TOLD {
            door.failures.retain(|_, at| now.since(*at) < LOOKUP_KEPT);
        }
        let state = &mut self.state;
        // Full memories of names, hosts and services begin anew: what is in use is learned again at its next use.
        if state.context.names.len() >= names::NAMES {
            state.context.names.clear();
        }
        if state.rdp_names.used.len() >= self.options.limits.lookups {
            state.rdp_names.used.clear();
        }
        if state.rdp_names.unheard.len() >= self.options.limits.lookups {
            state.rdp_names.unheard.clear();
        }
        if state.context.hosts.is_full() {
            state.context.hosts.clear();
        }
        if state.services.len() >= super::strangers::SERVICES {
            state.services.clear();
        }
        if state.gateways.len() >= super::gateway::GATEWAYS {
            state.gateways.clear();
        }
        state.suspects.keep_flat();
    }

    /// Judges the attempts to which nothing can be added at `now`.
    pub(super) fn ripen(&mut self, now: Timestamp) {
        if self.state.gatherer.is_empty() {
            return;
        }
        let (busy, followed, talking) = (&self.state.busy, &self.state.flows, &self.state.conversations);
        // What is still followed of its client, and may become a part of the attempt.
        let joins = |attempt: &Gathered| {
            let may_join = |(server, began): (IpAddr, Timestamp)| attempt.tried(server) && attempt.is_open(began);
            let mut flows = busy.flows(attempt.client).filter_map(|slot| followed.get(slot));
            let mut conversations = busy.conversations(attempt.client).filter_map(|slot| talking.get(slot));
            flows.any(|live| !live.is_suspected() && may_join((live.server.ip(), live.tcp.first().at)))
                || conversations.any(|live| may_join(live.place().1))
        };
        let ripe = self.state.gatherer.settled(now, joins);
        self.judge(ripe);
    }
}

/// Whether a connection that has been quiet for so long is at its end.
fn is_over(live: &mut Live, quiet: Span) -> bool {
    let tcp = &live.tcp;
    if tcp.closed.is_some() {
        return quiet >= SETTLED;
    }
    if quiet >= FORSAKEN {
        return true;
    }
    match tcp.opening {
        // Who was there before the capture may be a session that idles.
        Opening::MidStream => false,
        _ if !tcp.handshake.complete() => {
            let trying = tcp.last().at.since(tcp.first().at);
            quiet >= Span(trying.0.saturating_add(OVERDUE.0).min(HANGING.0))
        }
        _ if quiet < HANGING => false,
        _ => has_unanswered(live) || !is_session(live),
    }
}

/// Whether one side has sent what the other has not acknowledged.
fn has_unanswered(live: &Live) -> bool {
    Side::BOTH.iter().any(|side| {
        let half = &live.tcp.half[*side];
        matches!((half.next, half.acked), (Some(next), Some(acked)) if next.wrapping_sub(acked).cast_signed() > 0)
    })
}

/// Whether it has reached the session; found out once, for it reads the whole transcript.
fn is_session(live: &mut Live) -> bool {
    if !live.in_session {
        live.in_session = phase(live) == Phase::Session;
    }
    live.in_session
}

fn phase(live: &Live) -> Phase {
    if live.in_session {
        return Phase::Session;
    }
    Progress::of(&live.snapshot().into_transcript(
        FlowKey::new(live.client, live.server, crate::flow::key::TCP),
        0,
        Default::default(),
    ))
    .phase
}
