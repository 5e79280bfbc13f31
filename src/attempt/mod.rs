//! Transcripts in, attempts out: what belongs to one user action.

pub mod lookups;
pub mod tickets;
pub mod udp;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use smallvec::SmallVec;
use udp::Waiting;

use crate::capture::{Span, Timestamp};
use crate::flow::{Opening, Seen, Side};
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

/// A session that lasted so long was one, and not a step on the way to one.
const WORKED: Span = Span::millis(500);

/// One user action; `P` is how far each of its connections came.
#[derive(Clone, Debug)]
pub struct Attempt<P = Progress> {
    /// Its number while it is worked on.
    pub id: u32,
    /// The client.
    pub client: IpAddr,
    /// Its TCP connections, by time.
    pub connections: Vec<(Transcript, P)>,
    /// Its UDP conversations, by time.
    pub udp: Vec<(UdpTranscript, UdpProgress)>,
    // What is asked for at every sweep and of every connection of the client, reckoned anew with everything that is added: to look it up
    // in the transcripts would wait for memory each time.
    servers: SmallVec<[IpAddr; 1]>,
    ended: Timestamp,
    weight: usize,
    /// Whether its client may have left to ask its user; read where that decides.
    may_be_asking: OnceCell<bool>,
}

/// An action that may still grow, or is on its way to its judge. How far a connection came is a long reading, which few are asked for
/// before they are judged, in a thread beside.
pub type Gathered = Attempt<OnceCell<Progress>>;

impl Gathered {
    /// An action of which nothing is known yet.
    fn new(id: u32, client: IpAddr) -> Gathered {
        Attempt {
            id,
            client,
            connections: Vec::new(),
            udp: Vec::new(),
            servers: SmallVec::new(),
            ended: Timestamp(i64::MIN),
            weight: 0,
            may_be_asking: OnceCell::new(),
        }
    }

    /// Adds a connection, by time of its start.
    fn add(&mut self, t: Transcript) {
        let (server, ended, weight) = (t.server.ip(), t.ended(), t.weight());
        let at = self.connections.partition_point(|(other, _)| other.started() <= t.started());
        // A transcript is large: no room is made for more than there are.
        self.connections.reserve_exact(1);
        self.connections.insert(at, (t, OnceCell::new()));
        self.reckon(server, ended, weight);
    }

    /// Reckons anew after something was added: what it weighs, with whom, and when it ended.
    fn reckon(&mut self, server: IpAddr, ended: Timestamp, weight: usize) {
        if !self.tried(server) {
            self.servers.push(server);
        }
        self.ended = self.ended.max(ended);
        self.weight += weight;
        self.may_be_asking = OnceCell::new();
    }

    /// Whether another connection of the same client to the same server that begins at this time still belongs to this action.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let silent = at.since(self.ended);
        silent <= RETRY || (silent <= PROMPT && self.may_be_asking())
    }

    fn may_be_asking(&self) -> bool {
        *self.may_be_asking.get_or_init(|| {
            let last = self.connections.last();
            last.is_some_and(|(t, progress)| may_be_asking(t, || progress.get_or_init(|| Progress::of(t)).phase))
        })
    }

    /// Whether this connection belongs to the action.
    pub fn takes(&self, t: &Transcript) -> bool {
        self.client == t.client.ip() && self.tried(t.server.ip()) && self.is_open(t.started()) && {
            // Two sessions that run side by side are two actions; a gateway's pair of channels is one.
            let alongside = self.connections.iter().any(|(other, progress)| {
                other.ended() > t.started()
                    && other.role == Role::Rdp
                    && t.role == Role::Rdp
                    && progress.get_or_init(|| Progress::of(other)).phase == Phase::Session
            });
            !alongside && !self.begins_anew(t)
        }
    }

    /// Whether this connection is another action although it follows at once: after a session there is nothing left to try, and another name is
    /// another user. A broker that leads a session on to another host gives the client a token for it.
    fn begins_anew(&self, t: &Transcript) -> bool {
        let before = || {
            self.connections
                .iter()
                .rev()
                .filter(|(other, _)| other.started() <= t.started())
        };
        let named = before().find_map(|(other, _)| other.cookie());
        let another_user = named.zip(t.cookie()).is_some_and(|(before, now)| before != now);
        let led_on = t.request().is_some_and(|(_, request)| request.routing_token.is_some());
        let after_session = || {
            let (other, progress) = before().next()?;
            // How far it came is not read where it was too short for a session.
            if other.role != Role::Rdp || t.role != Role::Rdp || t.started().since(other.started()) < WORKED {
                return None;
            }
            let progress = progress.get_or_init(|| Progress::of(other));
            (progress.phase == Phase::Session && other.ended().since(progress.entered) >= WORKED).then_some(())
        };
        // What goes on without a SYN and hears nothing but RSTs was open before: a session whose mapping was lost is no try that is repeated.
        let lost_before = || {
            before().next().is_some_and(|(other, _)| {
                let mut heard = other.tcp.log.iter().filter(|seen| seen.side == Side::Server).peekable();
                let denied = heard.peek().is_some() && heard.all(Seen::is_reset);
                // A SYN before it would be in the capture.
                let watched = other.started().since(other.window.first) >= WATCHED && !other.tcp.first().is_reset();
                let both = (other.role, t.role) == (Role::Rdp, Role::Rdp);
                both && other.tcp.opening == Opening::MidStream && denied && watched
            })
        };
        another_user
            || (!led_on && t.tcp.opening == Opening::Handshake && lost_before())
            || (!led_on && after_session().is_some())
    }

    /// The action with how far each of its connections came.
    pub fn read(self) -> Attempt {
        let read = |(t, progress): (Transcript, OnceCell<Progress>)| {
            let progress = progress.into_inner().unwrap_or_else(|| Progress::of(&t));
            (t, progress)
        };
        Attempt {
            id: self.id,
            client: self.client,
            connections: self.connections.into_iter().map(read).collect(),
            udp: self.udp,
            servers: self.servers,
            ended: self.ended,
            weight: self.weight,
            may_be_asking: self.may_be_asking,
        }
    }
}

/// A connection that goes on without a SYN so long after the capture began was not opened in it.
const WATCHED: Span = Span::secs(1);

impl<P> Attempt<P> {
    /// The time of its first packet.
    pub fn started(&self) -> Timestamp {
        let udp = self.udp.iter().map(|(t, _)| t.started());
        let tcp = self.connections.iter().map(|(t, _)| t.started());
        tcp.chain(udp).min().unwrap_or_default()
    }

    /// The time of its last packet.
    pub fn ended(&self) -> Timestamp {
        self.ended
    }

    /// How many connections and conversations it has.
    pub fn len(&self) -> usize {
        self.connections.len() + self.udp.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Whether it tried this server.
    pub fn tried(&self, server: IpAddr) -> bool {
        self.servers.contains(&server)
    }
}

/// Whether the client may have left to ask its user about a certificate or for credentials: it closed first, after it had seen what
/// to ask about, and nobody had refused anything.
fn may_be_asking(t: &Transcript, phase: impl FnOnce() -> Phase) -> bool {
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
        && matches!(phase(), Phase::X224 | Phase::Tls | Phase::CredSsp | Phase::Mcs)
}

/// Gathers transcripts into attempts.
#[derive(Debug)]
pub struct Gatherer {
    /// Attempts that may still grow, by client, so that a flood of clients costs each only its own.
    open: BTreeMap<IpAddr, Vec<Gathered>>,
    /// Conversations whose attempt is not known yet.
    udp: Vec<Waiting>,
    next: u32,
    /// Connections of one attempt at most.
    most: usize,
    /// How many attempts had more and are told in parts.
    divided: u64,
    /// The memory of what is open, in bytes.
    weight: usize,
}

impl Gatherer {
    /// A gatherer of attempts with at most so many connections, and as many conversations.
    pub fn new(most: usize) -> Gatherer {
        Gatherer {
            open: BTreeMap::new(),
            udp: Vec::new(),
            next: 0,
            most: most.max(1),
            divided: 0,
            weight: 0,
        }
    }

    /// Takes a finished connection in.
    pub fn push(&mut self, t: Transcript) {
        self.weight += t.weight();
        let most = self.most;
        let open = self.open.entry(t.client.ip()).or_default();
        let takes = open.iter_mut().rev().find(|attempt| attempt.takes(&t));
        match takes {
            Some(attempt) if attempt.connections.len() < most => {
                attempt.add(t);
                return;
            }
            Some(_) => self.divided += 1,
            None => {}
        }
        self.next += 1;
        let mut attempt = Gathered::new(self.next, t.client.ip());
        attempt.add(t);
        open.push(attempt);
    }

    /// The attempts to which nothing can be added any more at `now`, given the starts of connections that are still followed.
    pub fn settled(&mut self, now: Timestamp, still_followed: impl Fn(&Gathered) -> bool) -> Vec<Gathered> {
        self.attach();
        let most = self.most;
        let mut ripe: Vec<Gathered> = Vec::new();
        self.open.retain(|_, open| {
            ripe.extend(open.extract_if(.., |attempt| {
                attempt.connections.len() >= most || (!attempt.is_open(now) && !still_followed(attempt))
            }));
            !open.is_empty()
        });
        ripe.extend(self.alone(now, |attempt| !still_followed(attempt)));
        self.weight = self.weight.saturating_sub(ripe.iter().map(Gathered::weight).sum());
        ripe.sort_unstable_by_key(|attempt| attempt.id);
        ripe
    }

    /// Takes attempts out although something might still be added, those that ended first before others, until no more than
    /// `weight` bytes are waiting.
    pub fn hurry(&mut self, weight: usize) -> Vec<Gathered> {
        self.attach();
        let mut ends: Vec<(Timestamp, u32, usize)> = self
            .open
            .values()
            .flatten()
            .map(|attempt| (attempt.ended(), attempt.id, attempt.weight()))
            .collect();
        ends.sort_unstable();
        let mut left = ends.iter().map(|(_, _, weight)| weight).sum::<usize>();
        let mut taken = BTreeSet::new();
        for (_, id, one) in ends {
            if left <= weight {
                break;
            }
            left -= one;
            taken.insert(id);
        }
        self.weight = left + self.udp.iter().map(|waiting| waiting.0.weight()).sum::<usize>();
        let mut hurried = Vec::with_capacity(taken.len());
        self.open.retain(|_, open| {
            hurried.extend(open.extract_if(.., |attempt| taken.contains(&attempt.id)));
            !open.is_empty()
        });
        if self.weight > weight {
            hurried.extend(self.alone(Timestamp(i64::MAX), |_| true));
            self.weight = left;
        }
        hurried.sort_unstable_by_key(|attempt| attempt.id);
        hurried
    }

    /// The memory of what waits, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// How many attempts had more connections than one may have.
    pub fn divided(&self) -> u64 {
        self.divided
    }

    /// Whether no attempt is waiting.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.udp.is_empty()
    }

    /// All attempts, at the end.
    pub fn finish(&mut self) -> Vec<Gathered> {
        self.attach();
        self.weight = 0;
        let mut all: Vec<Gathered> = std::mem::take(&mut self.open).into_values().flatten().collect();
        all.extend(self.alone(Timestamp(i64::MAX), |_| true));
        all.sort_unstable_by_key(|attempt| attempt.id);
        all
    }
}
