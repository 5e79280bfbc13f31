//! How far a connection came: which phases it completed, when, in which frame, and whether that was read or inferred.

use crate::capture::{FrameNo, Timestamp};
use crate::flow::{Opening, Seen, Side};
use crate::protocol::tls::record::{ContentType, Version};
use crate::transcript::What;
use crate::transcript::hidden::{self, Hidden, Line};
use crate::transcript::phase::{Phase, Role};
use crate::transcript::tcp::Transcript;

/// A phase that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// The phase.
    pub phase: Phase,
    /// When it was entered.
    pub began: Timestamp,
    /// When it was completed.
    pub done: Timestamp,
    /// The frame that completed it.
    pub frame: FrameNo,
    /// Told from sizes, directions and timing under TLS.
    pub inferred: bool,
}

/// How far a connection came.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The first phase that it did not complete.
    pub phase: Phase,
    /// Whether `phase` was told from sizes, directions and timing under TLS.
    pub inferred: bool,
    /// The phases that it completed, in order.
    pub done: Vec<Milestone>,
    /// When `phase` was entered.
    pub entered: Timestamp,
    /// What was made out under TLS.
    pub hidden: Hidden,
}

impl Progress {
    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        let lines = &self.hidden.lines;
        let words: usize = lines.iter().map(|line| line.text.weight()).sum();
        size_of::<Progress>() + lines.capacity() * size_of::<Line>() + words
    }

    /// Whether this phase was completed.
    pub fn completed(&self, phase: Phase) -> bool {
        self.done.iter().any(|milestone| milestone.phase == phase)
    }

    /// The phase as reports state it: on the way through a gateway `session` follows `gateway`, and how far the host behind it let the
    /// client come is told by the phases that were completed.
    pub fn stated(&self, role: Role) -> Phase {
        match self.phase {
            Phase::CredSsp | Phase::Mcs | Phase::Licensing | Phase::Activation if role == Role::Gateway => Phase::Session,
            phase => phase,
        }
    }

    /// Reads a transcript for how far it came.
    pub fn of(t: &Transcript) -> Progress {
        let mut walk = Walk {
            entered: t.started(),
            done: Vec::new(),
        };
        let hidden = hidden::read(t);
        let (phase, inferred) = match walk.go(t, &hidden) {
            (Phase::Tls | Phase::CredSsp | Phase::Mcs | Phase::Licensing | Phase::Activation, _) if outgrew_the_logon(t) => {
                (Phase::Session, true)
            }
            found => found,
        };
        Progress {
            phase,
            inferred,
            done: walk.done,
            entered: walk.entered,
            hidden,
        }
    }
}

/// Whether a connection that was open before the capture carries sealed data in both directions, and no handshake. The logon takes
/// less than a second or waits for a person; what goes on speaking both ways is a session.
fn runs_sealed(t: &Transcript) -> bool {
    /// More than any pause in a logon leaves to be said, and far less than a session says.
    const RECORDS: usize = 8;
    let opened = t.client_hello().is_some() || t.server_hello().is_some() || t.confirm().is_some() || t.request().is_some();
    let from = |side: Side| {
        t.sealed()
            .filter(|(moment, sealed)| moment.side == side && sealed.content_type == ContentType::APPLICATION_DATA)
            .count()
    };
    !opened && Side::BOTH.into_iter().all(|side| from(side) >= RECORDS)
}

/// Whether the server said more than any logon takes, where its messages could not be read to the end: the rest is a session's.
fn outgrew_the_logon(t: &Transcript) -> bool {
    /// Certificates, tickets, licenses and capabilities together take a tenth of it.
    const LOGON: u64 = 128 * 1024;
    t.role == Role::Rdp && t.tcp.half.server.bytes > LOGON && t.outer().any(|moment| matches!(moment.what, What::Gap(_)))
}

struct Walk {
    entered: Timestamp,
    done: Vec<Milestone>,
}

impl Walk {
    fn complete(&mut self, phase: Phase, done: Timestamp, frame: FrameNo, inferred: bool) {
        self.done.push(Milestone {
            phase,
            began: self.entered,
            done,
            frame,
            inferred,
        });
        self.entered = done;
    }

    fn go(&mut self, t: &Transcript, hidden: &Hidden) -> (Phase, bool) {
        let midstream = t.tcp.opening == Opening::MidStream;
        match t.tcp.handshake.ack.filter(|_| t.tcp.handshake.syn_ack.is_some()) {
            Some((frame, at)) => self.complete(Phase::Tcp, at, frame, false),
            // Resets alone: what they answer, a SYN as likely as anything, was not captured.
            None if midstream && t.tcp.log.iter().all(Seen::is_reset) => return (Phase::Tcp, false),
            None if midstream || !t.moments.is_empty() => {}
            None => return (Phase::Tcp, false),
        }
        if t.role == Role::Gateway {
            return self.tls(t).unwrap_or_else(|| self.behind(hidden, Phase::Gateway));
        }
        if t.is_direct() {
            let ended = self.tls(t);
            return ended.unwrap_or_else(|| match (t.confirm(), t.selected()) {
                (Some(_), None) => {
                    self.behind(hidden, Phase::X224);
                    (Phase::X224, false)
                }
                _ => self.behind(hidden, hidden.first_phase),
            });
        }
        if let Some((moment, _)) = t.confirm() {
            if t.selected().is_none() {
                return (Phase::X224, false);
            }
            self.complete(Phase::X224, moment.at, moment.frames.last, false);
        } else if !midstream || t.request().is_some() {
            // TLS or MCS without a Connection Confirm: its frame was not captured.
            let went_on = t.client_hello().is_some() || t.sealed().next().is_some() || hidden::in_clear(t);
            if !went_on {
                return (Phase::X224, false);
            }
        }
        if hidden::in_clear(t) {
            return self.behind(hidden, Phase::Mcs);
        }
        if midstream && runs_sealed(t) {
            return (Phase::Session, true);
        }
        self.tls(t).unwrap_or_else(|| self.behind(hidden, hidden.first_phase))
    }

    /// Both Finished messages; in TLS 1.3 the client's is the last.
    fn tls(&mut self, t: &Transcript) -> Option<(Phase, bool)> {
        let is_13 = t
            .server_hello()
            .is_some_and(|(_, hello)| hello.version().stream_equivalent() == Version::TLS13);
        let (client, server) = (t.finished(Side::Client), t.finished(Side::Server));
        let last = match (client, server) {
            (Some(client), _) if is_13 => Some(client),
            (Some(client), Some(server)) => Some(if client.at > server.at { client } else { server }),
            _ => None,
        };
        match last {
            Some(moment) => {
                self.complete(Phase::Tls, moment.at, moment.frames.last, false);
                None
            }
            // Application data of a connection whose handshake was not captured.
            None if t.client_hello().is_none() && t.sealed().next().is_some() => None,
            None => Some((Phase::Tls, false)),
        }
    }

    fn behind(&mut self, hidden: &Hidden, first: Phase) -> (Phase, bool) {
        for step in &hidden.completed {
            self.complete(step.phase, step.at, step.frame, step.inferred);
        }
        (hidden.phase.unwrap_or(first), hidden.inferred)
    }
}
