//! Which attempt a UDP conversation belongs to: by the correlation identifier that both carry, else by addresses and time.

use crate::attempt::{Attempt, Gatherer};
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

impl Attempt {
    /// Whether this conversation belongs to the action, told by addresses and time.
    pub fn takes_udp(&self, t: &UdpTranscript) -> bool {
        self.client == t.client.ip() && self.tried(t.server.ip()) && {
            let began = t.started();
            began.plus(EARLY) >= self.started() && began <= self.ended().plus(LATE)
        }
    }

    /// Whether one of its Connection Requests carries this identifier.
    fn is_correlated(&self, t: &UdpTranscript) -> bool {
        t.correlation_id().is_some_and(|id| {
            self.connections
                .iter()
                .any(|(tcp, _)| tcp.request().is_some_and(|(_, request)| request.correlation_id == Some(id)))
        })
    }

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

    /// Adds a conversation, by time of its start.
    fn add_udp(&mut self, t: UdpTranscript, progress: UdpProgress) {
        let at = self.udp.partition_point(|(other, _)| other.started() <= t.started());
        self.udp.insert(at, (t, progress));
        self.reckon();
    }
}

impl Gatherer {
    /// Takes a finished conversation in.
    pub fn push_udp(&mut self, t: UdpTranscript) {
        let progress = UdpProgress::of(&t);
        self.weight += t.weight();
        self.udp.push((t, progress));
    }

    /// Gives every waiting conversation to its attempt, where that is known by now.
    pub(super) fn attach(&mut self) {
        let waiting = std::mem::take(&mut self.udp);
        for (t, progress) in waiting {
            // The same correlation identifier ties them across addresses; without one the client's own attempts are asked.
            let correlated = t
                .correlation_id()
                .and_then(|_| self.open.values_mut().flatten().rfind(|attempt| attempt.is_correlated(&t)));
            if let Some(attempt) = correlated {
                attempt.add_udp(t, progress);
                continue;
            }
            let (own, most) = (self.open.get_mut(&t.client.ip()), self.most);
            let takes = |attempt: &&mut Attempt| attempt.udp.len() < most && attempt.takes_udp(&t);
            match own.and_then(|open| open.iter_mut().rfind(takes)) {
                Some(attempt) => attempt.add_udp(t, progress),
                None => self.udp.push((t, progress)),
            }
        }
    }

    /// Conversations without TCP, as attempts of their own; `is_over` says that no TCP can come for one.
    pub(super) fn alone(&mut self, now: Timestamp, is_over: impl Fn(&Attempt) -> bool) -> Vec<Attempt> {
        let mut waiting = std::mem::take(&mut self.udp);
        waiting.sort_by_key(|(t, _)| (t.started(), t.id));
        let mut attempts: Vec<Attempt> = Vec::new();
        for (t, progress) in waiting {
            let together = |attempt: &&mut Attempt| {
                attempt.client == t.client.ip()
                    && attempt.tried(t.server.ip())
                    && attempt
                        .udp
                        .last()
                        .is_some_and(|(other, _)| t.started().since(other.started()) <= TOGETHER)
            };
            if let Some(attempt) = attempts.iter_mut().rev().find(together) {
                attempt.add_udp(t, progress);
                continue;
            }
            self.next += 1;
            let client = t.client.ip();
            attempts.push(Attempt::new(self.next, client, Vec::new(), vec![(t, progress)]));
        }
        let (ripe, early): (Vec<Attempt>, Vec<Attempt>) = attempts
            .into_iter()
            .partition(|attempt| now.since(attempt.ended()) >= ALONE && is_over(attempt));
        self.udp.extend(early.into_iter().flat_map(|attempt| attempt.udp));
        ripe
    }
}
