//! Everything that a rule may ask about one connection, and what a rule answers.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::attempt::Attempt;
use crate::attempt::tickets::Tickets;
use crate::capture::{FrameNo, Span, Timestamp};
use crate::diagnosis::close::{Close, KnownBy};
use crate::diagnosis::verdict::{Confidence, EndedBy, Evidence, Leans, Mechanism, Verdict};
use crate::flow::{Marks, Opening, Reset, Seen, Side, Values};
use crate::forensics::reset::trigger::RoundTrip;
use crate::forensics::{self, Attribution, Elsewhere, Maker};
use crate::packet::TcpFlags;
use crate::transcript::hidden::Line;
use crate::transcript::{GatewaySays, Moment, Phase, Progress, Role, Transcript, What};

/// What a host's packets look like over all that was captured of it, in a few fields.
#[derive(Clone, Debug, Default)]
pub struct HostPortrait {
    /// TTLs of packets other than resets, over all its connections and its ICMP echo.
    pub ttl: Values<u8>,
    /// The smallest round trip to it that any handshake showed.
    pub round_trip: Option<RoundTrip>,
}

/// Portraits of hosts.
#[derive(Clone, Debug, Default)]
pub struct HostBook {
    hosts: FxHashMap<IpAddr, HostPortrait>,
}

/// How many hosts are remembered.
const HOSTS: usize = 8_192;

impl HostBook {
    /// Adds what a packet says about its sender.
    pub fn learn(&mut self, host: IpAddr, ttl: u8, no: FrameNo) {
        // One look-up for a host that is known, as nearly all are: this runs for every packet that is followed.
        let room = self.hosts.len() < HOSTS;
        match self.hosts.get_mut(&host) {
            Some(portrait) => portrait.ttl.learn(ttl, no),
            None if room => self.hosts.entry(host).or_default().ttl.learn(ttl, no),
            None => {}
        }
    }

    /// Whether no other host is remembered.
    pub fn is_full(&self) -> bool {
        self.hosts.len() >= HOSTS
    }

    /// Forgets every host.
    pub fn clear(&mut self) {
        self.hosts.clear();
    }

    /// Adds the time that a host took to answer a SYN, which no stack delays.
    pub fn learn_round_trip(&mut self, host: IpAddr, asked: (FrameNo, Timestamp), answered: (FrameNo, Timestamp)) {
        let took = answered.1.since(asked.1);
        let Some(portrait) = self.hosts.get_mut(&host).filter(|_| took.0 > 0) else {
            return;
        };
        let known = portrait.round_trip;
        let samples = known.map_or(0, |known| known.samples) + 1;
        portrait.round_trip = Some(match known {
            Some(known) if known.least <= took => RoundTrip { samples, ..known },
            _ => RoundTrip {
                least: took,
                usual: took,
                samples,
                frame: answered.0,
                elsewhere: Some([asked, answered]),
            },
        });
    }

    /// The portrait of a host.
    pub fn get(&self, host: IpAddr) -> Option<&HostPortrait> {
        self.hosts.get(&host)
    }
}

/// A certificate that an address showed.
#[derive(Clone, Debug)]
pub struct ShownCertificate {
    /// Its issuer.
    pub issuer: String,
    /// Its serial number.
    pub serial: String,
    /// The frame that completed it.
    pub frame: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
}

/// The different certificates that each server showed.
#[derive(Clone, Debug, Default)]
pub struct CertificateBook {
    servers: HashMap<SocketAddr, Arc<Vec<ShownCertificate>>>,
}

/// How many certificates of one server are remembered.
const CERTIFICATES: usize = 8;

impl CertificateBook {
    /// Remembers the certificate that a connection showed.
    pub fn learn(&mut self, t: &Transcript) {
        let Some((moment, leaf)) = t.certificate() else { return };
        if self.servers.len() >= HOSTS && !self.servers.contains_key(&t.server) {
            return;
        }
        let shown = self.servers.entry(t.server).or_default();
        let known = shown.iter().any(|one| one.serial == leaf.serial && one.issuer == leaf.issuer);
        if !known && shown.len() < CERTIFICATES {
            Arc::make_mut(shown).push(ShownCertificate {
                issuer: leaf.issuer.clone(),
                serial: leaf.serial.clone(),
                frame: moment.frames.last,
                at: moment.at,
            });
        }
    }

    /// Remembers a certificate that no transcript shows.
    #[cfg(test)]
    pub(crate) fn add(&mut self, server: SocketAddr, shown: ShownCertificate) {
        Arc::make_mut(self.servers.entry(server).or_default()).push(shown);
    }

    /// A certificate of the same server from another issuer.
    pub fn other(&self, server: SocketAddr, issuer: &str, serial: &str) -> Option<&ShownCertificate> {
        self.servers
            .get(&server)?
            .iter()
            .find(|one| one.issuer != issuer && one.serial != serial)
    }
}

/// What is known around the attempts of one capture.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Portraits of hosts.
    pub hosts: HostBook,
    /// The certificates that servers showed.
    pub certificates: CertificateBook,
    /// Names that lookups gave to addresses, the latest last.
    pub names: FxHashMap<IpAddr, String>,
    /// What KDCs answered.
    pub tickets: Tickets,
}

impl Context {
    /// What is known around these attempts: of the hosts and servers that appear in them, and of nobody else.
    pub fn around<P>(&self, attempts: &[Attempt<P>]) -> Context {
        let mut around = Context::default();
        let mut clients = BTreeSet::new();
        for attempt in attempts {
            let tcp = attempt.connections.iter().map(|(t, _)| (t.client, t.server));
            let udp = attempt.udp.iter().map(|(t, _)| (t.client, t.server));
            for (client, server) in tcp.chain(udp) {
                clients.insert(client.ip());
                self.copy_host(client.ip(), &mut around);
                self.copy_host(server.ip(), &mut around);
                if let Some(name) = self.names.get(&server.ip()) {
                    around.names.entry(server.ip()).or_insert_with(|| name.clone());
                }
                if let Some(shown) = self.certificates.servers.get(&server) {
                    around.certificates.servers.entry(server).or_insert_with(|| Arc::clone(shown));
                }
            }
        }
        around.tickets = self.tickets.of(&clients);
        around
    }

    fn copy_host(&self, host: IpAddr, to: &mut Context) {
        if let Some(portrait) = self.hosts.get(host) {
            to.hosts.hosts.entry(host).or_insert_with(|| portrait.clone());
        }
    }
}

/// One connection in the light of its attempt.
#[derive(Debug)]
pub struct Case<'a> {
    /// What is known around it.
    pub context: &'a Context,
    /// The attempt.
    pub attempt: &'a Attempt,
    /// The connection.
    pub t: &'a Transcript,
    /// How far it came.
    pub progress: &'a Progress,
    /// How it stopped.
    pub close: Close,
}

/// What a rule finds: the verdict, and who ended the connection how.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The judgement.
    pub verdict: Verdict,
    /// Who took the decision.
    pub ended_by: EndedBy,
    /// How.
    pub mechanism: Mechanism,
    /// Figures that the report shows, by name.
    pub facts: Vec<(&'static str, String)>,
}

impl Finding {
    /// A finding without figures.
    pub fn new(verdict: Verdict, ended_by: EndedBy, mechanism: Mechanism) -> Finding {
        Finding {
            verdict,
            ended_by,
            mechanism,
            facts: Vec::new(),
        }
    }

    /// Adds a figure.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: impl ToString) -> Finding {
        self.facts.push((name, value.to_string()));
        self
    }
}

/// Who made a reset, as far as the packets tell.
#[derive(Clone, Debug)]
pub struct Origin {
    /// A device on the path, and not the host that it names.
    middlebox: bool,
    /// It cannot be told, and the way that it came speaks for a device.
    pub doubtful: bool,
    /// How sure that is.
    pub confidence: Confidence,
    /// The comparison, frame by frame.
    pub evidence: Vec<Evidence>,
}

impl Origin {
    /// Whether a device on the path made it.
    pub fn is_middlebox(&self) -> bool {
        self.middlebox
    }
}

impl Case<'_> {
    /// Who made a reset of this connection, against its alleged sender's habits and what else was captured of that host.
    pub fn attribution(&self, reset: &Reset) -> Attribution {
        let host = match reset.seen.side {
            Side::Client => self.t.client.ip(),
            Side::Server => self.t.server.ip(),
        };
        let elsewhere = self.context.hosts.get(host).map(|portrait| Elsewhere {
            ttl: &portrait.ttl,
            round_trip: portrait.round_trip,
        });
        forensics::attribute(self.t, reset, elsewhere)
    }

    /// Who made a reset that answers a SYN.
    pub fn reset_origin(&self, reset: &Reset) -> Origin {
        let found = self.attribution(reset);
        let confidence = match found.maker {
            Maker::CannotTell => Confidence::Possible,
            Maker::Middlebox | Maker::Peer => Confidence::Likely,
        };
        let middlebox = found.maker == Maker::Middlebox;
        Origin {
            middlebox,
            doubtful: found.maker == Maker::CannotTell && found.score > 0.0 && found.came_another_way(),
            confidence,
            evidence: self.signs(&found, middlebox).chain(self.compared_with(reset)).collect(),
        }
    }

    /// The handshake with the same host that shows how far it is, where another connection has one.
    fn compared_with(&self, reset: &Reset) -> impl Iterator<Item = Evidence> {
        let host = match reset.seen.side {
            Side::Client => self.t.client.ip(),
            Side::Server => self.t.server.ip(),
        };
        let measured = self.context.hosts.get(host).and_then(|portrait| portrait.round_trip);
        let frames = measured.and_then(|rtt| rtt.elsewhere.map(|frames| (rtt.least, frames)));
        frames.into_iter().flat_map(move |(took, [asked, answered])| {
            [
                self.shows(asked.0, asked.1, "a SYN to the same host, to compare with"),
                self.shows(
                    answered.0,
                    answered.1,
                    format!("the host's answer to it, {} later", human(took)),
                ),
            ]
        })
    }

    /// The signs of an attribution as evidence: those that speak for a device lean for the verdict if `device`, else against it.
    pub fn signs<'f>(&'f self, found: &'f Attribution, device: bool) -> impl Iterator<Item = Evidence> + 'f {
        found.signals.iter().map(move |signal| {
            if (signal.weight > 0.0) == device {
                self.shows(signal.frame, signal.at, signal.text.clone())
            } else {
                self.speaks_against(signal.frame, signal.at, signal.text.clone())
            }
        })
    }

    /// A piece of evidence for the verdict.
    pub fn shows(&self, frame: FrameNo, at: Timestamp, text: impl Into<String>) -> Evidence {
        Evidence {
            source: self.t.source,
            frame,
            at,
            leans: Leans::For,
            text: text.into(),
        }
    }

    /// A piece of evidence against the verdict.
    pub fn speaks_against(&self, frame: FrameNo, at: Timestamp, text: impl Into<String>) -> Evidence {
        Evidence {
            source: self.t.source,
            frame,
            at,
            leans: Leans::Against,
            text: text.into(),
        }
    }

    /// Evidence from a packet.
    pub fn packet(&self, seen: &Seen, text: impl Into<String>) -> Evidence {
        self.shows(seen.no, seen.at, text)
    }

    /// Evidence from a message.
    pub fn moment(&self, moment: &Moment, text: impl Into<String>) -> Evidence {
        self.shows(moment.frames.last, moment.at, text)
    }

    /// Evidence from a message behind TLS.
    pub fn line(&self, line: &Line) -> Evidence {
        let text = if line.text.is_empty() {
            format!("a message of the {}", line.side)
        } else {
            line.text.written()
        };
        self.shows(line.frames.last, line.at, text)
    }

    /// The close as evidence, where there is one.
    pub fn close_evidence(&self) -> Option<Evidence> {
        let (frame, at) = (self.close.frame(self.t)?, self.close.at(self.t)?);
        Some(match &self.close {
            Close::Fin {
                side,
                known_by: KnownBy::Notify,
                ..
            } => self.shows(
                frame,
                at,
                format!(
                    "the {side} ends TLS (an encrypted alert: close_notify, or why) and says nothing more; the close only follows"
                ),
            ),
            Close::Fin {
                side,
                known_by: KnownBy::Answer,
                ..
            } => self.shows(
                frame,
                at,
                format!(
                    "the {} closes, and acknowledges a last word of the {side} that was not captured: the {side} closed first",
                    side.other()
                ),
            ),
            Close::Fin { side, .. } => self.shows(frame, at, format!("the {side} closes the connection (FIN)")),
            Close::Reset { side, .. } => self.shows(frame, at, format!("a RST in the {side}'s name ends the connection")),
            Close::Silence(silence) => self.shows(
                frame,
                silence.last.at,
                format!(
                    "the {} repeats itself {} times and gets no answer",
                    silence.waiting, silence.repeats
                ),
            ),
            Close::Open => return None,
        })
    }

    /// The host behind a gateway that the connection got through to: what the client asked for, where its request was read.
    fn behind_gateway(&self) -> Option<Option<&(String, u16)>> {
        let through = self.t.role == Role::Gateway && self.progress.completed(Phase::Gateway);
        // Where the tunnel has two connections the other one holds the request.
        let others = self.attempt.connections.iter().map(|(t, _)| t);
        let halves = std::iter::once(self.t).chain(others.filter(|other| other.id != self.t.id && other.server == self.t.server));
        through.then(|| {
            halves.flat_map(|t| t.moments.iter()).find_map(|moment| match &moment.what {
                What::Gateway(says) => match &**says {
                    GatewaySays::Packet { target, .. } => target.as_ref(),
                    _ => None,
                },
                _ => None,
            })
        })
    }

    /// The Remote Desktop host as a person would name it: the other end of the connection, or the host behind it where that is a gateway
    /// which has let the connection through.
    pub fn host_label(&self) -> String {
        match self.behind_gateway() {
            Some(Some((host, port))) => format!("{host}:{port} behind the gateway {}", self.server_label()),
            Some(None) => format!("the host behind the gateway {}", self.server_label()),
            None => self.server_label(),
        }
    }

    /// The Remote Desktop host's name if one is known, else its address: what goes into commands.
    pub fn host_name(&self) -> String {
        match self.behind_gateway() {
            Some(Some((host, _))) => host.clone(),
            Some(None) => "the host behind the gateway".to_owned(),
            None => self.server_host(),
        }
    }

    /// The other end of the connection, host or gateway, as a person would name it: the name if one is known, and the address.
    pub fn server_label(&self) -> String {
        let name = self
            .t
            .sni()
            .map(str::to_owned)
            .or_else(|| self.context.names.get(&self.t.server.ip()).cloned());
        match name {
            Some(name) if name != self.t.server.ip().to_string() => format!("{name} ({})", self.t.server),
            Some(_) => self.t.server.to_string(),
            None => self.t.server.to_string(),
        }
    }

    /// The server's name if one is known, else its address: what goes into commands.
    pub fn server_host(&self) -> String {
        self.t
            .sni()
            .map(str::to_owned)
            .or_else(|| self.context.names.get(&self.t.server.ip()).cloned())
            .unwrap_or_else(|| self.t.server.ip().to_string())
    }

    /// Whether something that was said after `from` and up to `to` was not captured: one direction alone, a message with a hole, a packet
    /// behind one, or bytes that their receiver acknowledged and that never came by.
    pub fn has_hole(&self, from: Timestamp, to: Timestamp) -> bool {
        let during = |at: Timestamp| at > from && at <= to;
        let log = &self.t.tcp.log;
        let came_later = |acked: &Seen| {
            log.iter()
                .any(|seen| seen.no > acked.no && seen.side != acked.side && seen.len > 0 && seen.end() == acked.ack)
        };
        let filled = |after: &Seen| {
            log.iter()
                .any(|seen| seen.no > after.no && seen.side == after.side && seen.marks.has(Marks::FILLS_HOLE))
        };
        // A reset is no part of the stream; what was said before it and what it acknowledges was said all the same.
        let reset_acks_unseen = |reset: &Reset| {
            let seen = &reset.seen;
            let beyond = |number: u32, side: Side| {
                let next = self.t.tcp.half[side].next;
                next.is_some_and(|next| (1..1 << 16).contains(&number.wrapping_sub(next).cast_signed()))
            };
            let acknowledges = seen.flags.has(TcpFlags::ACK) && beyond(seen.ack, seen.side.other());
            during(seen.at) && (acknowledges || beyond(seen.seq, seen.side))
        };
        self.t.only_side().is_some()
            || self.t.tcp.resets.iter().any(reset_acks_unseen)
            || log
                .iter()
                .any(|seen| seen.marks.has(Marks::AFTER_HOLE) && during(seen.at) && !filled(seen))
            || self
                .t
                .outer()
                .any(|moment| matches!(moment.what, What::Gap(_)) && during(moment.at))
            || log
                .iter()
                .any(|seen| seen.marks.has(Marks::ACKS_UNSEEN) && during(seen.at) && !came_later(seen))
    }

    /// From when on what happened is known: the TLS handshake, which a hole cannot hide, or the start.
    pub fn after_tls(&self) -> Timestamp {
        let tls = self.progress.done.iter().find(|milestone| milestone.phase == Phase::Tls);
        tls.map_or(self.t.started(), |milestone| milestone.done)
    }

    /// The phase that the connection did not complete.
    pub fn phase(&self) -> Phase {
        self.progress.phase
    }

    /// Whether what was captured of the logon is too little to tell from it how the logon ended: a direction is missing, bytes are, or
    /// the beginning is. Words that were captured whole are as good as ever.
    pub fn is_blind(&self) -> bool {
        let Some(closed) = self.close.frame(self.t) else {
            return false;
        };
        match self.phase() {
            Phase::Session => return false,
            Phase::Tcp => return self.t.tcp.opening == Opening::MidStream,
            _ => {}
        }
        // By the frames and not by their times: clocks step.
        // What a snap length has cut off the client's request answers nothing; the alert with which a client refuses is never so long.
        let aside = |moment: &Moment| {
            let waits = self.phase() == Phase::Tls && self.closed_by(Side::Server);
            waits && moment.side == Side::Client && self.is_cut(moment)
        };
        let hole = self
            .t
            .outer()
            .any(|moment| matches!(moment.what, What::Gap(_)) && moment.frames.first <= closed && !aside(moment));
        let unseen = Side::BOTH.into_iter().any(|side| self.t.tcp.half[side].unseen_at_end() > 0);
        hole || unseen || self.is_headless() || self.t.only_side().is_some()
    }

    /// Whether bytes are missing because a snap length cut their packet.
    fn is_cut(&self, moment: &Moment) -> bool {
        let cut = |seen: &Seen| seen.no == moment.frames.first && seen.marks.has(Marks::CUT);
        matches!(moment.what, What::Gap(_)) && self.t.tcp.log.iter().any(cut)
    }

    /// The ClientHello, or the cut packet behind the Connection Confirm that must be it.
    pub fn hello(&self) -> Option<&Moment> {
        let whole = self.t.client_hello().map(|(moment, _)| moment);
        whole.or_else(|| {
            let (confirm, _) = self.t.confirm()?;
            let mut after = self.t.outer().filter(|moment| moment.frames.first > confirm.frames.last);
            let (tls, first) = (self.t.selected().is_some_and(|selected| selected.0 != 0), after.next()?);
            (tls && first.side == Side::Client && self.is_cut(first)).then_some(first)
        })
    }

    /// Whether the capture starts so late that what comes first cannot be told: without the Connection Confirm nobody knows whether
    /// CredSSP follows TLS, without a ClientHello nobody knows that it is TLS that begins.
    fn is_headless(&self) -> bool {
        let t = self.t;
        let begins = match t.role {
            Role::Rdp if self.phase() > Phase::Tls => t.confirm().is_some(),
            Role::Rdp => t.confirm().is_some() || t.request().is_some() || t.client_hello().is_some(),
            _ => t.client_hello().is_some(),
        };
        t.tcp.opening == Opening::MidStream && !begins
    }

    /// Whether this side closed, by the addresses on the packet.
    pub fn closed_by(&self, side: Side) -> bool {
        self.close.side() == Some(side)
    }

    /// From the last message of the connection to its close.
    pub fn quiet_before_close(&self) -> Option<Span> {
        let at = self.close.at(self.t)?;
        let last = self
            .t
            .moments
            .iter()
            .filter(|moment| moment.at <= at)
            .map(|moment| moment.at)
            .max()?;
        Some(at.since(last))
    }
}

/// A span in the words that fit its size.
pub fn human(span: Span) -> String {
    span.human()
}
