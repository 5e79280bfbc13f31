//! The only file that sees every stage: frames in, a report out. Reads no clock and opens no file.

mod assemble;
mod assemble_udp;
mod busy;
mod court;
mod crew;
mod filter;
mod keep;
mod gateway;
mod kerberos;
mod live;
mod names;
mod overall;
mod past;
mod quality;
mod relief;
mod secrets;
mod series;
mod sieve;
mod strangers;
mod strays;
mod tcp;
mod times;
mod twins;
mod udp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use rustc_hash::FxHashSet;

use crate::attempt::lookups::{Lookups, RdpNames};
use crate::attempt::tickets::KERBEROS;
use crate::attempt::{Gathered, Gatherer};
use crate::capture::{Event, Frame, SourceSummary, Span, Timestamp};
use crate::diagnosis::Context;
use crate::flow::{Limits, Lobby, Side, Slot, Table};
use crate::packet::fragments::Reassembler;
use crate::packet::{Body, Packet, fast};
use crate::report::Report;
use crate::report::model;
use crate::transcript::{Keys, Transcript, Window};
pub use live::Followed;
pub use sieve::mark;
use tcp::Live;

/// What to look for, and how much to remember.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Additional ports on which RDP is expected; content is recognised on every port.
    pub ports: Vec<u16>,
    /// Only connections with one of these hosts, by name or address; empty for all.
    pub hosts: Vec<String>,
    /// Only connections of these users, as the cookie or NTLM names them; empty for all.
    pub users: Vec<String>,
    /// RD Gateways, by name or address.
    pub gateways: Vec<String>,
    /// Only attempts that were under way at or after this time.
    pub since: Option<Timestamp>,
    /// Only attempts that began at or before this time.
    pub until: Option<Timestamp>,
    /// The attempt nearest to this time is the one for the ticket.
    pub at: Option<Timestamp>,
    /// Every bound on memory.
    pub limits: Limits,
    /// How many threads judge; `None` for as many as there are processors. The report is the same.
    pub threads: Option<NonZeroUsize>,
    /// Whether the points of plots, which the page of an evidence bundle shows, are left out.
    pub without_plots: bool,
    /// Whether no other source comes: then nothing is kept by which connections are known again in it.
    pub alone: bool,
}

/// The ports on which RDP is expected without being told: RDP itself, and Hyper-V's console.
const RDP_PORTS: [u16; 2] = [3389, 2179];
/// How often, in capture time, finished connections are looked for.
const SWEEP: Span = Span::secs(5);

/// Takes frames and gives a report.
#[derive(Debug)]
pub struct Examiner {
    options: Options,
    state: State,
    sources: Vec<model::SourceReport>,
    /// Where attempts are judged, and their rows.
    court: court::Court,
    quality: Vec<model::QualityNote>,
    notes: Vec<model::Note>,
    shortfalls: Vec<String>,
    /// Set where verdicts are given as they fall.
    door: Option<Box<live::Door>>,
    /// TLS secrets of all sources.
    keys: Keys,
}

/// What is known of the source that is being read.
#[derive(Debug)]
struct State {
    source: u32,
    window: Option<Window>,
    next_sweep: Timestamp,
    next_id: u32,
    interest: sieve::Interest,
    services: FxHashSet<SocketAddr>,
    /// RD Gateways that content has shown.
    gateways: FxHashSet<SocketAddr>,
    /// HTTPS that may turn out to be a gateway's, and hosts whose DTLS says so.
    suspects: gateway::Suspects,
    /// TLS secrets that did not serve.
    unserved: secrets::Unserved,
    flows: Table<Box<Live>>,
    /// Connections whose handshake was not complete when they were last looked at, oldest first, and whether they were spared once.
    half_open: VecDeque<(Slot, u32, bool)>,
    /// How many of them are so still.
    still_half_open: usize,
    /// Connections in the order in which they ended, some of them judged meanwhile.
    ended: VecDeque<(Slot, u32)>,
    lobby: Lobby,
    fragments: Reassembler,
    gatherer: Gatherer,
    lookups: Lookups,
    rdp_names: RdpNames,
    context: Context,
    quality: quality::Quality,
    conversations: Table<Box<udp::LiveUdp>>,
    /// Both, by client.
    busy: busy::Busy,
    strays: strays::Strays,
    evicted: u64,
    unanswered: u64,
    /// The memory of what is followed, in bytes.
    held: usize,
    relief: relief::Relief,
    past: past::Past,
}

impl State {
    fn new(source: u32, options: &Options) -> State {
        let limits = &options.limits;
        State {
            source,
            window: None,
            next_sweep: Timestamp(i64::MIN),
            next_id: 0,
            interest: sieve::Interest::new(options),
            services: FxHashSet::default(),
            gateways: FxHashSet::default(),
            suspects: gateway::Suspects::default(),
            unserved: secrets::Unserved::default(),
            flows: Table::default(),
            half_open: VecDeque::new(),
            still_half_open: 0,
            ended: VecDeque::new(),
            lobby: Lobby::new(limits.strangers, limits.dismissed),
            fragments: Reassembler::new(256, 1 << 20),
            gatherer: Gatherer::new(limits.attempt_connections),
            lookups: Lookups::default(),
            rdp_names: RdpNames::default(),
            context: Context::default(),
            quality: quality::Quality::default(),
            conversations: Table::default(),
            busy: busy::Busy::default(),
            strays: strays::Strays::default(),
            evicted: 0,
            unanswered: 0,
            held: 0,
            relief: relief::Relief::default(),
            past: past::Past::new(limits.judged),
        }
    }
}

impl Examiner {
    /// An examiner that has seen nothing yet.
    pub fn new(options: Options) -> Examiner {
        let state = State::new(0, &options);
        Examiner {
            court: court::Court::new(&options),
            options,
            state,
            sources: Vec::new(),
            quality: Vec::new(),
            notes: Vec::new(),
            shortfalls: Vec::new(),
            keys: Keys::default(),
            door: None,
        }
    }

    /// Takes a frame that could be of interest.
    fn take(&mut self, frame: &Frame<'_>) {
        match fast::peek(frame) {
            Some(peek) if peek.protocol == crate::flow::key::TCP => self.tcp_peeked(frame, &peek),
            Some(peek) => {
                if peek.src_port == names::DNS || peek.dst_port == names::DNS {
                    let start = peek.payload_at as usize;
                    let payload = frame.bytes.get(start..start + peek.payload_seen as usize).unwrap_or_default();
                    let (from, to) = (
                        SocketAddr::new(peek.src, peek.src_port),
                        SocketAddr::new(peek.dst, peek.dst_port),
                    );
                    self.dns_datagram((frame.no, frame.at), from, to, payload);
                }
                self.udp_peeked(frame, &peek);
                if peek.src_port == KERBEROS {
                    let start = peek.payload_at as usize;
                    let payload = frame.bytes.get(start..start + peek.payload_seen as usize).unwrap_or_default();
                    let (from, to) = (
                        SocketAddr::new(peek.src, peek.src_port),
                        SocketAddr::new(peek.dst, peek.dst_port),
                    );
                    self.kerberos_datagram((frame.no, frame.at), from, to, payload);
                }
            }
            None => self.push_slowly(frame),
        }
    }

    fn keep_time(&mut self, at: Timestamp) {
        Window::widen(&mut self.state.window, at, at);
        if at >= self.state.next_sweep && self.door.is_none() {
            self.state.next_sweep = at.plus(SWEEP);
            self.sweep(at);
        }
    }

    fn push_slowly(&mut self, frame: &Frame<'_>) {
        let Ok(packet) = crate::packet::decode(frame) else { return };
        if let Body::Fragment(_) = packet.body {
            if let Some(whole) = self.state.fragments.push(&packet) {
                self.push_packet(&whole.packet());
            }
            return;
        }
        self.push_packet(&packet);
    }

    fn push_packet(&mut self, packet: &Packet<'_>) {
        match &packet.body {
            Body::Tcp(segment) => self.tcp_decoded(packet, segment),
            Body::Icmp(message) => self.icmp(packet, message),
            Body::Udp(datagram) => {
                if datagram.src_port == names::DNS || datagram.dst_port == names::DNS {
                    let from = SocketAddr::new(packet.ip.src, datagram.src_port);
                    let to = SocketAddr::new(packet.ip.dst, datagram.dst_port);
                    self.dns_datagram((packet.no, packet.at), from, to, datagram.payload);
                }
                self.udp_decoded(packet, datagram);
                if datagram.src_port == KERBEROS {
                    let from = SocketAddr::new(packet.ip.src, datagram.src_port);
                    let to = SocketAddr::new(packet.ip.dst, datagram.dst_port);
                    self.kerberos_datagram((packet.no, packet.at), from, to, datagram.payload);
                }
            }
            Body::Fragment(_) | Body::Other(_) => {}
        }
    }

    /// Takes whatever the current source gives.
    pub fn feed(&mut self, event: Event<'_>) {
        match event {
            Event::Frame(frame) => self.push(&frame),
            Event::Secrets(text) => self.secrets(text),
        }
    }

    /// Takes TLS secrets: the text of an NSS key log. They serve the connections whose handshake comes later; nothing is kept of the
    /// sealed records of those that came before.
    pub fn secrets(&mut self, text: &[u8]) {
        self.keys.add(text);
    }

    /// Ends the current source; frames that follow belong to the next one.
    pub fn end_source(&mut self, summary: SourceSummary, sha256: Option<String>) {
        self.watched(summary.watched);
        self.seal_everything();
        let attempts = self.state.gatherer.finish();
        for docket in self.dockets(attempts) {
            self.court.judge_at_once(docket);
        }
        self.note_keys();
        self.judge_lookups();
        if self.state.evicted > 0 {
            self.shortfalls.push(format!(
                "{} connections were judged early because more than {}, or more than fit into memory, were open at one time",
                self.state.evicted, self.options.limits.connections
            ));
        }
        self.notes.extend(self.state.strays.notes(self.state.source));
        if self.state.unanswered > 0 {
            self.shortfalls.push(format!(
                "{} unanswered or half-open connections were only counted: more than {} were open at one time, as in a flood or a scan",
                self.state.unanswered, self.options.limits.half_open
            ));
        }
        self.shortfalls.extend(self.state.relief.words());
        if self.state.gatherer.divided() > 0 {
            self.shortfalls.push(format!(
                "attempts with more than {1} connections are told in parts; they were divided {0} times",
                self.state.gatherer.divided(),
                self.options.limits.attempt_connections
            ));
        }
        let fragments = self.state.fragments.stats();
        self.quality
            .extend(self.state.quality.notes(self.state.source, &summary, fragments));
        self.sources.push(model::SourceReport { summary, sha256 });
        self.state = State::new(self.state.source + 1, &self.options);
    }

    /// Takes in when the capturing began and ended: silence before the first and after the last packet is silence, too. A file
    /// that claims more than a day of it is not believed.
    fn watched(&mut self, (began, ended): (Option<Timestamp>, Option<Timestamp>)) {
        const BELIEVED: Span = Span::secs(86_400);
        let Some(window) = &mut self.state.window else { return };
        if let Some(began) = began.filter(|began| window.first.since(*began) <= BELIEVED) {
            window.first = window.first.min(began);
        }
        if let Some(ended) = ended.filter(|ended| ended.since(window.last) <= BELIEVED) {
            window.last = window.last.max(ended);
        }
    }

    /// The report over all sources.
    pub fn finish(mut self) -> Report {
        let bench = self.court.bench();
        self.shortfalls.extend(bench.rows.shortfalls());
        let mut rows = bench.rows.take();
        let found = rows.len() + bench.unwanted;
        let times = bench.times.times();
        rows.retain(|row| filter::wanted(row.attempt(), row.connections(), &self.options));
        let nothing = match found {
            0 if self.sources.iter().all(|source| source.summary.packets == 0) => overall::Nothing::Packets,
            0 => overall::Nothing::Rdp,
            found => overall::Nothing::Wanted { found },
        };
        let unwanted = found - rows.len();
        let (rows, cut) = twins::join(rows);
        self.quality.extend(cut.into_iter().map(|(source, cut)| model::QualityNote {
            source,
            text: format!(
                "{} in the next capture: one recorder cut its recording, and the whole tells more than its parts",
                if cut == 1 {
                    "1 connection goes on".to_owned()
                } else {
                    format!("{cut} connections go on")
                }
            ),
            better: Some("mergecap -w whole.pcapng FILE...".to_owned()),
            frame: None,
        }));
        let (connections, attempts) = assemble::number(rows);
        let overall = overall::choose(&connections, &attempts, nothing, &self.options);
        Report {
            sources: self.sources,
            overall,
            connections,
            attempts,
            quality: self.quality,
            notes: self.notes,
            unwanted,
            shortfalls: self.shortfalls,
            times,
        }
    }

    /// Judges attempts to which nothing can be added any more.
    fn judge(&mut self, attempts: Vec<Gathered>) {
        for docket in self.dockets(attempts) {
            self.court.judge(docket);
        }
    }

    /// Attempts, some at a time, with what is known around them now.
    fn dockets(&mut self, attempts: Vec<Gathered>) -> Vec<court::Docket> {
        /// Judged attempts take memory until their rows are made: those of so many connections at a time, or of so many bytes.
        const TOGETHER: (usize, usize) = (64, court::LOAD);
        let mut dockets = Vec::new();
        let mut left = attempts.into_iter();
        loop {
            let (mut some, mut connections, mut bytes) = (Vec::new(), 0, 0);
            while connections < TOGETHER.0
                && bytes < TOGETHER.1
                && let Some(attempt) = left.next()
            {
                connections += attempt.len();
                bytes += attempt.weight();
                some.push(attempt);
            }
            if some.is_empty() {
                return dockets;
            }
            some.iter().for_each(|attempt| self.note_names(attempt));
            let context = self.state.context.around(&some);
            dockets.push((some, context));
        }
    }

    /// The names under which the hosts of an attempt are in use, and whether what its client is told was captured.
    fn note_names(&mut self, attempt: &Gathered) {
        for (t, _) in &attempt.connections {
            let unheard = &mut self.state.rdp_names.unheard;
            if t.only_side() == Some(Side::Client) && unheard.len() < self.options.limits.lookups {
                unheard.insert(attempt.client);
            }
            let named = self.state.context.names.get(&t.server.ip()).map(String::as_str);
            for name in named.into_iter().chain(t.sni()) {
                if self.state.rdp_names.used.len() < self.options.limits.lookups {
                    self.state.rdp_names.used.insert((attempt.client, name.to_ascii_lowercase()));
                }
            }
        }
    }

    fn gather(&mut self, transcript: Transcript) {
        self.account_for_keys(&transcript);
        self.state.context.certificates.learn(&transcript);
        self.state.quality.learn(&transcript);
        self.state.gatherer.push(transcript);
    }
}
