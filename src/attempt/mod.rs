//! Transcripts in, attempts out: what belongs to one user action.

pub mod lookups;
pub mod tickets;
pub mod udp;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::capture::{Span, Timestamp};
use crate::flow::Opening;
use crate::protocol::x224::Answer;
use crate::transcript::{Phase, Progress, Role, Transcript, UdpProgress, UdpTranscript};

/// First labels of names under which RD Gateways are published; digits behind them and parts after a hyphen do not matter.
pub const GATEWAY_LABELS: &[&str] = &[
    "rdg",
    "rdgw",
    "rdgateway",
    "rdsgw",
    "rdsgateway",
    "rdweb",
    "rds",
    "rdp",
    "rdpgw",
    "rdpgateway",
    "tsg",
    "tsgw",
    "tsgateway",
    "tsweb",
    "remote",
    "remotedesktop",
    "remoteapp",
    "gateway",
    "gw",
];

/// A retry by the client itself follows the end of the connection before it within this time. mstsc needs 3 ms to 1.1 s for its
/// fallbacks, and Windows 0.5 s to repeat a refused SYN; a person needs longer.
const RETRY: Span = Span::secs(5);
/// A client that left on its own after it had seen the certificate may be asking its user, who answers within this time.
const PROMPT: Span = Span::secs(60);

/// One user action.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number while it is worked on.
    pub id: u32,
    /// The client.
    pub client: IpAddr,
    /// Its TCP connections, by time.
    pub connections: Vec<(Transcript, Progress)>,
    /// Its UDP conversations, by time.
    pub udp: Vec<(UdpTranscript, UdpProgress)>,
}

impl Attempt {
    /// The time of its first packet.
    pub fn started(&self) -> Timestamp {
        let udp = self.udp.iter().map(|(t, _)| t.started());
        let tcp = self.connections.iter().map(|(t, _)| t.started());
        tcp.chain(udp).min().unwrap_or_default()
    }

    /// The time of its last packet.
    pub fn ended(&self) -> Timestamp {
        let udp = self.udp.iter().map(|(t, _)| t.ended());
        self.connections
            .iter()
            .map(|(t, _)| t.ended())
            .chain(udp)
            .max()
            .unwrap_or_default()
    }

    /// The servers that it tried.
    pub fn servers(&self) -> Vec<IpAddr> {
        let udp = self.udp.iter().map(|(t, _)| t.server.ip());
        let mut servers: Vec<IpAddr> = self.connections.iter().map(|(t, _)| t.server.ip()).chain(udp).collect();
        servers.sort_unstable();
        servers.dedup();
        servers
    }

    /// Until when another connection of the same client to the same server still belongs to this action.
    pub fn open_until(&self) -> Timestamp {
        let ended = self.ended();
        let patient = self
            .connections
            .last()
            .is_some_and(|(t, progress)| may_be_asking(t, progress));
        ended.plus(if patient { PROMPT } else { RETRY })
    }

    /// Whether this connection belongs to the action.
    pub fn takes(&self, t: &Transcript) -> bool {
        self.client == t.client.ip() && self.servers().contains(&t.server.ip()) && t.started() <= self.open_until() && {
            // Two sessions that run side by side are two actions; a gateway's pair of channels is one.
            let alongside = self.connections.iter().any(|(other, progress)| {
                other.ended() > t.started() && progress.phase == Phase::Session && other.role == Role::Rdp && t.role == Role::Rdp
            });
            !alongside
        }
    }
}

/// Whether the client may have left to ask its user about a certificate or for credentials: it closed first, after it had seen what
/// to ask about, and nobody had refused anything.
fn may_be_asking(t: &Transcript, progress: &Progress) -> bool {
    let refused = t
        .confirm()
        .is_some_and(|(_, confirm)| matches!(confirm.answer, Answer::Failure { .. }));
    let left_first = t.tcp.half.client.fin.is_some()
        || t.tcp
            .resets
            .first()
            .is_some_and(|reset| reset.seen.side == crate::flow::Side::Client);
    !refused
        && left_first
        && t.tcp.opening != Opening::MidStream
        && matches!(progress.phase, Phase::X224 | Phase::Tls | Phase::CredSsp | Phase::Mcs)
}

/// Gathers transcripts into attempts.
#[derive(Debug, Default)]
pub struct Gatherer {
    /// Attempts that may still grow, by client, so that a flood of clients costs each only its own.
    open: BTreeMap<IpAddr, Vec<Attempt>>,
    /// Conversations whose attempt is not known yet.
    udp: Vec<(UdpTranscript, UdpProgress)>,
    next: u32,
}

impl Gatherer {
    /// Takes a finished connection in.
    pub fn push(&mut self, t: Transcript) {
        let progress = Progress::of(&t);
        let open = self.open.entry(t.client.ip()).or_default();
        if let Some(attempt) = open.iter_mut().rev().find(|attempt| attempt.takes(&t)) {
            let at = attempt
                .connections
                .partition_point(|(other, _)| other.started() <= t.started());
            attempt.connections.insert(at, (t, progress));
            return;
        }
        self.next += 1;
        open.push(Attempt {
            id: self.next,
            client: t.client.ip(),
            connections: vec![(t, progress)],
            udp: Vec::new(),
        });
    }

    /// The attempts to which nothing can be added any more at `now`, given the starts of connections that are still followed.
    pub fn settled(&mut self, now: Timestamp, still_followed: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        self.attach();
        let mut ripe: Vec<Attempt> = Vec::new();
        for open in self.open.values_mut() {
            ripe.extend(open.extract_if(.., |attempt| attempt.open_until() < now && !still_followed(attempt)));
        }
        self.open.retain(|_, open| !open.is_empty());
        ripe.extend(self.alone(now, |attempt| !still_followed(attempt)));
        ripe.sort_unstable_by_key(|attempt| attempt.id);
        ripe
    }

    /// Whether no attempt is waiting.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.udp.is_empty()
    }

    /// All attempts, at the end.
    pub fn finish(&mut self) -> Vec<Attempt> {
        self.attach();
        let mut all: Vec<Attempt> = std::mem::take(&mut self.open).into_values().flatten().collect();
        all.extend(self.alone(Timestamp(i64::MAX), |_| true));
        all.sort_unstable_by_key(|attempt| attempt.id);
        all
    }
}
