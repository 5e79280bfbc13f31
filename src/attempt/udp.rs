//! Which attempt a UDP conversation belongs to: by the correlation identifier that both carry, else by addresses and time.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::attempt::{Attempt, Gathered, Gatherer};
use crate::capture::{Span, Timestamp};
use crate::transcript::{Progress, Role, Transcript, UdpProgress, UdpTranscript};

/// The invitation to UDP comes over TCP, so TCP is there first; clocks of two capture interfaces may differ by this much.
const EARLY: Span = Span::secs(2);
/// UDP that begins this long after the last TCP packet belongs to something else.
const LATE: Span = Span::secs(10);
/// Conversations without TCP between the same hosts are one action where they begin within this time of each other: the reliable
/// and the lossy channel, and repetitions.
const TOGETHER: Span = Span::secs(30);
/// A conversation without TCP is given up for lost after this time: TCP may only be judged later.
const ALONE: Span = Span::secs(60);

impl<P> Attempt<P> {
    /// Whether this conversation belongs to the action, told by addresses and time.
    pub fn takes_udp(&self, t: &UdpTranscript) -> bool {
        self.client == t.client.ip() && self.tried(t.server.ip()) && {
            let began = t.started();
            began.plus(EARLY) >= self.started() && began <= self.ended().plus(LATE)
        }
    }
}

impl Attempt {
    /// The TCP connection that ran beside a conversation: to the same host, under way when it began, and the one that came furthest.
    pub fn beside(&self, t: &UdpTranscript) -> Option<&(Transcript, Progress)> {
        let role = if t.role == Role::GatewayUdp {
            Role::Gateway
        } else {
            Role::Rdp
        };
        self.connections
            .iter()
            .filter(|(tcp, _)| tcp.started() <= t.started().plus(EARLY) && tcp.ended().plus(LATE) >= t.started())
            .max_by_key(|(tcp, progress)| (tcp.server.ip() == t.server.ip(), tcp.role == role, progress.phase))
    }
}

impl Gathered {
    /// Adds a conversation, by time of its start.
    fn add_udp(&mut self, waiting: Waiting) {
        let (t, progress) = *waiting;
        let (server, ended, weight) = (t.server.ip(), t.ended(), t.weight());
        let at = self.udp.partition_point(|(other, _)| other.started() <= t.started());
        self.udp.reserve_exact(1);
        self.udp.insert(at, (t, progress));
        self.reckon(server, ended, weight);
    }
}

/// A conversation whose attempt is not known yet. It is large, and moved often.
pub(super) type Waiting = Box<(UdpTranscript, UdpProgress)>;

/// Conversations that are one action.
struct Together {
    client: IpAddr,
    /// When the last one began.
    last: Timestamp,
    /// Whether there were more than one action may have.
    goes_on: bool,
    members: Vec<Waiting>,
}

impl Gatherer {
    /// Takes a finished conversation in.
    pub fn push_udp(&mut self, t: UdpTranscript) {
        let progress = UdpProgress::of(&t);
        self.weight += t.weight();
        self.udp.push(Box::new((t, progress)));
    }

    /// Gives every waiting conversation to its attempt, where that is known by now.
    pub(super) fn attach(&mut self) {
        if self.udp.is_empty() {
            return;
        }
        let correlated = self.correlated();
        let most = self.most;
        for waiting in std::mem::take(&mut self.udp) {
            let t = &waiting.0;
            // The same correlation identifier ties them across addresses; without one the client's own attempts are asked.
            let place = t.correlation_id().and_then(|id| correlated.get(&id));
            let attempt = match place {
                Some((client, at)) => self.open.get_mut(client).and_then(|open| open.get_mut(*at)),
                None => self.open.get_mut(&t.client.ip()).and_then(|open| {
                    let takes = |attempt: &&mut Gathered| attempt.udp.len() < most && attempt.takes_udp(t);
                    open.iter_mut().rfind(takes)
                }),
            };
            match attempt {
                Some(attempt) => attempt.add_udp(waiting),
                None => self.udp.push(waiting),
            }
        }
    }

    /// The attempts of which a Connection Request carries a correlation identifier that a conversation waits with, the last one of each.
    fn correlated(&self) -> HashMap<[u8; 16], (IpAddr, usize)> {
        let waiting: HashSet<[u8; 16]> = self.udp.iter().filter_map(|waiting| waiting.0.correlation_id()).collect();
        let mut found = HashMap::new();
        if waiting.is_empty() {
            return found;
        }
        for (client, open) in &self.open {
            for (at, attempt) in open.iter().enumerate() {
                let requests = attempt.connections.iter().filter_map(|(t, _)| t.request());
                let ids = requests.filter_map(|(_, request)| request.correlation_id);
                found.extend(ids.filter(|id| waiting.contains(id)).map(|id| (id, (*client, at))));
            }
        }
        found
    }

    /// Conversations without TCP, as attempts of their own; `is_over` says that no TCP can come for one.
    pub(super) fn alone(&mut self, now: Timestamp, is_over: impl Fn(&Gathered) -> bool) -> Vec<Gathered> {
        self.udp.sort_by_key(|waiting| (waiting.0.started(), waiting.0.id));
        let mut all: Vec<Together> = Vec::new();
        // Of these hosts the last ones.
        let mut last: HashMap<(IpAddr, IpAddr), usize> = HashMap::new();
        for waiting in std::mem::take(&mut self.udp) {
            let t = &waiting.0;
            let hosts = (t.client.ip(), t.server.ip());
            let before = last.get(&hosts).and_then(|at| all.get_mut(*at));
            match before.filter(|before| t.started().since(before.last) <= TOGETHER) {
                Some(before) if before.members.len() < self.most => {
                    before.last = t.started();
                    before.members.push(waiting);
                    continue;
                }
                Some(before) => before.goes_on = true,
                None => {}
            }
            last.insert(hosts, all.len());
            all.push(Together {
                client: t.client.ip(),
                last: t.started(),
                goes_on: false,
                members: vec![waiting],
            });
        }
        let mut ripe = Vec::new();
        for one in all {
            if one.members.iter().any(|waiting| now.since(waiting.0.ended()) < ALONE) {
                self.udp.extend(one.members);
                continue;
            }
            let mut attempt = Gathered::new(self.next + 1, one.client);
            one.members.into_iter().for_each(|waiting| attempt.add_udp(waiting));
            if is_over(&attempt) {
                self.next += 1;
                self.divided += u64::from(one.goes_on);
                ripe.push(attempt);
            } else {
                self.udp.extend(attempt.udp.into_iter().map(Box::new));
            }
        }
        ripe
    }
}
