//! The report as data: everything that a renderer may print, and nothing that it would have to compute.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::capture::{FrameNo, SourceSummary, Span, Timestamp};
use crate::diagnosis::{Cause, Confidence, EndedBy, Mechanism, Verdict};
use crate::packet::TcpFlags;
use crate::transcript::{Phase, Role, Transport, Vantage};

/// What was found in one run over one or more sources.
#[derive(Clone, Debug)]
pub struct Report {
    /// The captures, in the order in which they were given.
    pub sources: Vec<SourceReport>,
    /// Every judged connection, by time of its start.
    pub connections: Vec<Connection>,
    /// Every attempt, by time of its start.
    pub attempts: Vec<Attempt>,
    /// The one verdict for the ticket.
    pub overall: Overall,
    /// What the capture's quality allows and forbids, said before any verdict.
    pub quality: Vec<QualityNote>,
    /// Findings that are no verdicts: failed lookups not tied to RDP, UDP that is not RDP, refused SYNs elsewhere.
    pub notes: Vec<Note>,
    /// How many attempts were left out because nobody asked about them (host, user, time).
    pub unwanted: usize,
    /// What was counted instead of kept because of a limit; each is printed.
    pub shortfalls: Vec<String>,
    /// Round-trip and response times over all connections.
    pub times: Times,
}

/// One source with its summary.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// What the reader says of it.
    pub summary: SourceSummary,
    /// The SHA-256 of the file in lower-case hex, where it was asked for.
    pub sha256: Option<String>,
}

/// One connection (TCP or UDP conversation, or a lookup that failed before the first SYN).
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, counted from 1 by time of start.
    pub id: u32,
    /// The attempt that it belongs to.
    pub attempt: u32,
    /// The source that holds it, an index into [`Report::sources`].
    pub source: u32,
    /// What it is for.
    pub role: Role,
    /// What carries it.
    pub transport: Transport,
    /// The client; port 0 where it has none (a lookup).
    pub client: SocketAddr,
    /// The server; `None` for a name that was never resolved.
    pub server: Option<SocketAddr>,
    /// The name under which the client looked for the server (lookup, SNI), if known.
    pub server_name: Option<String>,
    /// The user name in the clear (cookie, NTLM), if any.
    pub user: Option<String>,
    /// What the TLS (or DTLS) handshake on it showed; `None` where there was none.
    pub tls: Option<TlsFacts>,
    /// Community ID version 1 of the flow; empty for lookups.
    pub community_id: String,
    /// Where the capture was taken, seen from this connection.
    pub vantage: Vantage,
    /// Why that vantage.
    pub vantage_why: String,
    /// The time of its first packet.
    pub started: Timestamp,
    /// From its first to its last packet.
    pub duration: Span,
    /// The first and the last of its frames.
    pub frames: (FrameNo, FrameNo),
    /// The first phase that it did not complete.
    pub phase: Phase,
    /// Whether that was told from record sizes, directions and timing under TLS.
    pub phase_inferred: bool,
    /// Who took the decision.
    pub ended_by: EndedBy,
    /// How.
    pub mechanism: Mechanism,
    /// Whether nothing was captured of it but what the server still says on a connection that the client gave up before.
    pub leftover: bool,
    /// Another capture of the same connection that shows it better: the number of that. Both have one verdict.
    pub same_as: Option<u32>,
    /// The judgement.
    pub verdict: Arc<Verdict>,
    /// What happened, in order.
    pub timeline: Vec<Step>,
    /// Figures.
    pub metrics: Metrics,
    /// Its first and last packets, for plots; bounded, the middle of a long connection is left out.
    pub series: Vec<Point>,
}

impl Connection {
    /// The first phase that the Remote Desktop connection did not complete, told apart behind a gateway, too, where `phase` says `session`.
    pub fn reached(&self) -> Phase {
        self.metrics.phases.last().map_or(self.phase, |(phase, _)| *phase)
    }
}

/// One packet of a connection as a plot shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Its frame.
    pub frame: FrameNo,
    /// Whose address it carries: the client's or the server's.
    pub from_client: bool,
    /// TCP control bits.
    pub flags: TcpFlags,
    /// Its first sequence number, counted from the lowest of its side that was seen.
    pub seq: u32,
    /// Payload bytes on the wire.
    pub len: u32,
    /// TTL or hop limit as captured.
    pub ttl: u8,
    /// Whether it carries again what was sent before.
    pub again: bool,
    /// From the segment that this one is the first to acknowledge to this one: the round trip to whoever sent this.
    pub round_trip: Option<Span>,
}

/// What a TLS or DTLS handshake shows to a bystander.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version agreed on, such as `TLS 1.2` or `DTLS 1.2`; the highest one offered where the server never answered.
    pub version: Option<String>,
    /// The cipher suite agreed on, by its registered name.
    pub cipher: Option<String>,
    /// The server name that the client sent (SNI).
    pub sni: Option<String>,
    /// Whether both Finished messages were seen (TLS 1.3: the client's).
    pub established: bool,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The server's own certificate, where it crossed in clear (up to TLS 1.2) or was decrypted.
    pub certificate: Option<CertificateFacts>,
}

/// The parts of a certificate that a diagnosis turns on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The names that it is made out to.
    pub names: Vec<String>,
    /// The serial number in upper-case hex without separators.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
}

/// Who a step of the timeline is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The client.
    Client,
    /// The server.
    Server,
    /// A device on the path; its address where it gave one (ICMP).
    Middlebox(Option<IpAddr>),
    /// Nobody: silence, the end of the capture.
    Nobody,
}

impl Speaker {
    /// The speaker in one word, as in `ended_by`.
    pub fn slug(self) -> &'static str {
        match self {
            Speaker::Client => "client",
            Speaker::Server => "server",
            Speaker::Middlebox(_) => "middlebox",
            Speaker::Nobody => "nobody",
        }
    }
}

/// One line of a timeline.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// The frame that shows it; `None` for silence.
    pub frame: Option<FrameNo>,
    /// Who.
    pub speaker: Speaker,
    /// The phase it belongs to.
    pub phase: Phase,
    /// What, in words.
    pub text: String,
    /// Whether it is read from packet sizes and timing only.
    pub inferred: bool,
    /// Whether the packet was lost on the way (sent and never acknowledged).
    pub lost: bool,
}

/// Figures of one connection. Times in nanoseconds ([`Span`]); `None` where they could not be measured.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Packets from the client and from the server.
    pub packets: [u64; 2],
    /// Payload bytes from the client and from the server, retransmissions not counted.
    pub bytes: [u64; 2],
    /// Retransmitted segments from the client and from the server.
    pub retransmissions: [u64; 2],
    /// Time spent in each phase that was entered, in order.
    pub phases: Vec<(Phase, Span)>,
    /// Round-trip time between the capture point and the client, from acknowledgments.
    pub rtt_client: Option<Quantiles>,
    /// Round-trip time between the capture point and the server.
    pub rtt_server: Option<Quantiles>,
    /// The server's own time to answer, network time taken out.
    pub server_response: Option<Quantiles>,
    /// The longest time in which nothing was sent in either direction, and the frame after which it began.
    pub longest_idle: Option<(Span, FrameNo)>,
    /// Smallest maximum segment size announced, client and server.
    pub mss: [Option<u16>; 2],
    /// What else a rule measured, by name: `rst_ttl`, `peer_ttl`, `idle_s`, `timer`, `lost_size_min`, ...
    pub facts: Vec<(&'static str, String)>,
}

/// Minimum, median, 95th percentile and maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantiles {
    /// The smallest.
    pub min: Span,
    /// The median.
    pub median: Span,
    /// The 95th percentile.
    pub p95: Span,
    /// The largest.
    pub max: Span,
    /// How many samples.
    pub count: u64,
}

/// Times over all connections of the report.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Round-trip times of both directions.
    pub rtt: Option<Quantiles>,
    /// Server response times.
    pub server_response: Option<Quantiles>,
}

/// One user action: the lookups, the connections and the side channels that belong together.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number, counted from 1 by time of start.
    pub id: u32,
    /// The client.
    pub client: IpAddr,
    /// The server's address, or the name where there is none.
    pub server: String,
    /// The time of its first packet.
    pub started: Timestamp,
    /// The last packet.
    pub ended: Timestamp,
    /// Its connections, by id.
    pub connections: Vec<u32>,
    /// The connection whose verdict it takes.
    pub decisive: u32,
    /// The judgement of the whole.
    pub verdict: Arc<Verdict>,
    /// Side findings of the attempt: a UDP channel that failed beside a healthy session, a Kerberos error that was survived.
    pub side_findings: Vec<Note>,
}

/// The one verdict for the ticket.
#[derive(Clone, Debug)]
pub struct Overall {
    /// The cause.
    pub cause: &'static Cause,
    /// Whether the user has nothing to complain about.
    pub healthy: bool,
    /// How sure.
    pub confidence: Option<Confidence>,
    /// The attempt that it comes from.
    pub attempt: Option<u32>,
    /// The connection that it comes from.
    pub connection: Option<u32>,
    /// One sentence.
    pub summary: String,
}

/// A finding with its frames.
#[derive(Clone, Debug)]
pub struct Note {
    /// The source.
    pub source: u32,
    /// The frames that show it.
    pub frames: Vec<FrameNo>,
    /// In words.
    pub text: String,
}

/// What is wrong with the capture itself.
#[derive(Clone, Debug)]
pub struct QualityNote {
    /// The source.
    pub source: u32,
    /// What is wrong and what it forbids, in words.
    pub text: String,
    /// The command that captures better.
    pub better: Option<String>,
    /// A frame that shows it.
    pub frame: Option<FrameNo>,
}

/// What the exit code of the offline commands says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every attempt healthy.
    Healthy,
    /// At least one failure diagnosed.
    Failure,
    /// Nothing to judge.
    NothingToJudge,
}

impl Report {
    /// The connection with this number.
    pub fn connection(&self, id: u32) -> Option<&Connection> {
        let by_place = self.connections.get((id as usize).wrapping_sub(1)).filter(|one| one.id == id);
        by_place.or_else(|| self.connections.iter().find(|one| one.id == id))
    }

    /// The attempt with this number.
    pub fn attempt(&self, id: u32) -> Option<&Attempt> {
        let by_place = self.attempts.get((id as usize).wrapping_sub(1)).filter(|one| one.id == id);
        by_place.or_else(|| self.attempts.iter().find(|one| one.id == id))
    }

    /// Seconds from the first packet of `source` to `at`, as Wireshark's time column counts.
    pub fn seconds_into(&self, source: u32, at: Timestamp) -> f64 {
        let first = self.sources.get(source as usize).and_then(|source| source.summary.first);
        at.since(first.unwrap_or(at)).as_secs_f64()
    }

    /// What the exit code says: 0, 1 or 3.
    pub fn outcome(&self) -> Outcome {
        let undecided = |cause: &Cause| matches!(cause.slug, "capture_incomplete" | "no_rdp");
        let failed = |verdict: &Verdict| !verdict.healthy() && !undecided(verdict.cause);
        if self.attempts.iter().any(|a| failed(&a.verdict)) || (!self.overall.cause.healthy && !undecided(self.overall.cause)) {
            Outcome::Failure
        } else if self.attempts.iter().any(|a| a.verdict.healthy()) {
            Outcome::Healthy
        } else {
            Outcome::NothingToJudge
        }
    }
}
