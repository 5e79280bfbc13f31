//! Everything that a rule may ask about one UDP conversation in the light of its attempt.

use crate::attempt::Attempt;
use crate::capture::{FrameNo, Span, Timestamp};
use crate::diagnosis::case::{Context, human};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{EndedBy, Evidence, Leans, Mechanism, Verdict};
use crate::flow::{Opening, Seen, Side};
use crate::transcript::moment::Multitransport;
use crate::transcript::{Moment, Pdu, Phase, Role, Transcript, UdpProgress, UdpTranscript, What};

/// One UDP conversation in the light of its attempt.
#[derive(Debug)]
pub struct UdpCase<'a> {
    /// What is known around it.
    pub context: &'a Context,
    /// The attempt.
    pub attempt: &'a Attempt,
    /// The conversation.
    pub t: &'a UdpTranscript,
    /// How far it came.
    pub progress: &'a UdpProgress,
}

/// A side that went on alone.
#[derive(Clone, Copy, Debug)]
pub struct UdpSilence {
    /// Who was not answered any more.
    pub waiting: Side,
    /// Its first datagram without an answer.
    pub first: Seen,
    /// Its last one.
    pub last: Seen,
    /// How many there were.
    pub count: u64,
    /// The last datagram of the other side.
    pub last_of_other: Seen,
    /// How long neither had said anything before.
    pub idle: Option<Span>,
    /// The longest payload without an answer, in bytes.
    pub largest: u32,
}

/// How the TCP connection beside a conversation did, which the user works with.
#[derive(Clone, Debug)]
pub struct Beside {
    /// In words, for the summary; begins with a lower-case letter.
    pub words: String,
    /// A frame of it.
    pub evidence: Evidence,
    /// Whether it carried the session.
    pub works: bool,
    /// When it closed, who closed it and how.
    pub closed: Option<(Timestamp, EndedBy, Mechanism)>,
}

/// A close of TCP this long after the last datagram is still the reason why nothing follows it.
const AFTER: Span = Span::secs(10);
/// The port of STUN and TURN.
const RELAY: u16 = 3478;
/// A silent peer is given up for dead after this time (MS-RDPEUDP 3.1.1.9).
pub(super) const DEAD: Span = Span::secs(65);
/// A segment of TCP with more than this is a part of the picture, and no mere heartbeat.
const PICTURE: u32 = 200;
/// A silence that begins this long before the close of TCP has another reason.
const BEFORE: Span = Span::secs(2);

impl UdpCase<'_> {
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

    /// Evidence from a datagram.
    pub fn packet(&self, seen: &Seen, text: impl Into<String>) -> Evidence {
        self.shows(seen.no, seen.at, text)
    }

    /// Evidence from a message.
    pub fn moment(&self, moment: &Moment, text: impl Into<String>) -> Evidence {
        self.shows(moment.frames.last, moment.at, text)
    }

    /// The phase that the conversation did not complete.
    pub fn phase(&self) -> Phase {
        self.progress.phase
    }

    /// The server's name if one is known, else its address: what goes into commands.
    pub fn server_host(&self) -> String {
        let address = self.t.server.ip();
        let tcp = self.attempt.connections.iter().map(|(tcp, _)| tcp);
        let from_tcp = tcp.filter(|tcp| tcp.server.ip() == address).find_map(|tcp| tcp.sni());
        let name = self.t.sni().or(from_tcp).map(str::to_owned);
        name.or_else(|| self.context.names.get(&address).cloned())
            .unwrap_or_else(|| address.to_string())
    }

    /// The server as a person would name it, with its UDP port.
    pub fn server_label(&self) -> String {
        let (host, port) = (self.server_host(), self.t.server.port());
        if host == self.t.server.ip().to_string() {
            format!("UDP {port} on {host}")
        } else {
            format!("UDP {port} on {host} ({})", self.t.server.ip())
        }
    }

    /// The peer that is to answer, as a person would name it: behind a TURN relay it is not the relay, which answers for itself.
    pub fn peer_label(&self) -> String {
        if self.is_relayed() {
            format!("the peer behind the TURN relay {}", self.t.server)
        } else {
            self.server_label()
        }
    }

    /// Whether RDP-UDP goes through a TURN relay.
    pub fn is_relayed(&self) -> bool {
        self.t.is_rdp_udp() && self.t.server.port() == RELAY
    }

    /// Whether this is the side channel of an RD Gateway.
    pub fn is_gateway(&self) -> bool {
        self.t.role == Role::GatewayUdp
    }

    /// What the conversation speaks.
    pub fn protocol(&self) -> &'static str {
        if self.t.is_rdp_udp() { "RDP-UDP" } else { "DTLS" }
    }

    /// The TCP connection that ran beside the conversation.
    pub fn beside(&self) -> Option<Beside> {
        let (tcp, progress) = self.attempt.beside(self.t)?;
        let works = progress.phase == Phase::Session;
        let close = Close::of(tcp);
        let after = tcp.ended().since(self.t.started());
        let unknown = tcp.tcp.opening == Opening::MidStream;
        let words = match (works, after.0 > 0) {
            (false, _) if unknown => format!(
                "a TCP connection to {} goes on beside it, whose beginning is not here",
                tcp.server
            ),
            (true, true) => "the session itself runs over TCP meanwhile".to_owned(),
            (true, false) => "the session over TCP had come up".to_owned(),
            (false, _) => format!(
                "the TCP connection beside it does not get beyond its phase {}",
                progress.phase
            ),
        };
        let last = tcp.tcp.last();
        let entered = progress.done.last().filter(|_| works);
        let evidence = match entered {
            Some(done) => self.shows(
                done.frame,
                done.done,
                format!(
                    "TCP to {} is ready for the session; it is used for {}. What fails on UDP explains delay and quality, and no refused logon",
                    tcp.server,
                    human(tcp.ended().since(done.done))
                ),
            ),
            None if unknown => self.shows(
                last.no,
                last.at,
                format!("the last packet of TCP to {}, which began before it was looked at", tcp.server),
            ),
            None => self.shows(
                last.no,
                last.at,
                format!(
                    "the last packet of TCP to {}, phase {}: the user's error is explained there, UDP is a side finding",
                    tcp.server, progress.phase
                ),
            ),
        };
        let closed = match close {
            Close::Fin { .. } | Close::Reset { .. } => close.at(tcp).map(|at| (at, close.ended_by(), close.mechanism())),
            Close::Silence(_) | Close::Open => None,
        };
        Some(Beside {
            words,
            evidence,
            works,
            closed,
        })
    }

    /// Whether what happened at `at` only follows the end of the session: TCP was closed, or a side had said goodbye.
    pub fn is_aftermath(&self, at: Timestamp) -> bool {
        let said = self.t.heard.fin.map(|fin| fin.at);
        let goodbye = self
            .t
            .goodbye()
            .filter(|_| self.phase() == Phase::Session)
            .map(|moment| moment.at);
        let tcp = self.beside().and_then(|beside| beside.closed).map(|(closed, ..)| closed);
        said.into_iter().chain(goodbye).chain(tcp).any(|end| at.plus(BEFORE) >= end)
    }

    /// When and by whom the session was ended in an ordinary way.
    pub fn ordinary_end(&self) -> Option<(Timestamp, EndedBy, Mechanism)> {
        use crate::diagnosis::close::side_ended;
        if let Some(fin) = &self.t.heard.fin {
            return Some((fin.at, side_ended(fin.side), Mechanism::Fin));
        }
        if let Some(moment) = self.t.goodbye() {
            return Some((moment.at, side_ended(moment.side), Mechanism::TlsAlert));
        }
        let closed = self.beside()?.closed?;
        (self.t.ended() <= closed.0.plus(AFTER)).then_some(closed)
    }

    /// The side that was left alone, if the conversation ends so.
    pub fn silence(&self) -> Option<UdpSilence> {
        Side::BOTH.into_iter().find_map(|waiting| {
            let half = &self.t.udp.half[waiting];
            let alone = half.alone?;
            let last_of_other = self.t.udp.half[waiting.other()].last?;
            let (first, count) = alone.unanswered();
            Some(UdpSilence {
                waiting,
                first,
                last: alone.last,
                count,
                last_of_other,
                idle: alone.idle_before(),
                largest: alone.largest,
            })
        })
    }

    /// Adds to a verdict what the TCP connection beside it shows, and what ties the two together.
    pub fn with_story(&self, verdict: Verdict) -> Verdict {
        let story = self.beside().map(|beside| beside.evidence);
        verdict
            .because(story)
            .because(self.correlation())
            .because(self.invitation())
            .because(self.report())
    }

    /// The Connection Request with the same correlation identifier.
    fn correlation(&self) -> Option<Evidence> {
        let id = self.t.correlation_id()?;
        let tcp = self.attempt.connections.iter().map(|(tcp, _)| tcp);
        let (moment, _) = tcp
            .filter_map(|tcp| tcp.request())
            .find(|(_, request)| request.correlation_id == Some(id))?;
        Some(self.moment(
            moment,
            "the X.224 Connection Request on TCP carries the correlation identifier of this RDP-UDP SYN: they are one action",
        ))
    }

    /// What was said about side channels inside the TCP connections, where keys have opened them.
    fn multitransport(&self) -> impl Iterator<Item = (&Transcript, &Moment, Multitransport)> {
        self.attempt.connections.iter().flat_map(|(tcp, _)| {
            tcp.moments.iter().filter_map(move |moment| match &moment.what {
                What::Pdu(pdu) => match **pdu {
                    Pdu::Multitransport(said) => Some((tcp, moment, said)),
                    _ => None,
                },
                _ => None,
            })
        })
    }

    /// The server's invitation whose cookie the SYN proves.
    fn invitation(&self) -> Option<Evidence> {
        let hash = self.t.heard.opening.syns.iter().find_map(|syn| syn.hash)?;
        self.multitransport().find_map(|(_, moment, said)| match said {
            Multitransport::Request(request) if request.cookie_hash == hash => Some(self.moment(
                moment,
                format!(
                    "the server's Initiate Multitransport Request {} over TCP; the SYN carries the hash of its cookie",
                    request.request_id
                ),
            )),
            _ => None,
        })
    }

    /// The client's word over TCP that UDP could not be set up.
    fn report(&self) -> Option<Evidence> {
        self.multitransport().find_map(|(_, moment, said)| match said {
            Multitransport::Response(response) if response.result != 0 && moment.at >= self.t.started() => Some(self.moment(
                moment,
                format!(
                    "the client tells the server over TCP that UDP could not be set up (request {}, 0x{:08X})",
                    response.request_id, response.result
                ),
            )),
            _ => None,
        })
    }

    /// Another conversation of this action with the same port that works: the way for UDP is open.
    pub fn sibling(&self) -> Option<&UdpTranscript> {
        self.attempt
            .udp
            .iter()
            .find(|(other, progress)| {
                other.id != self.t.id
                    && other.server == self.t.server
                    && progress.phase == Phase::Session
                    && other.udp.half.server.last.is_some_and(|seen| seen.at > self.t.started())
            })
            .map(|(other, _)| other)
    }

    /// How much of a side's data is lost, in words, where its numbers and acknowledgments tell.
    pub fn loss(&self, side: Side) -> Option<(u64, u64)> {
        let ledger = &self.t.heard.ledger[side];
        (ledger.total() > 0).then(|| (ledger.lost(), ledger.total()))
    }

    /// The first part of the picture that TCP carries after `at`.
    pub fn tcp_goes_on(&self, at: Timestamp) -> Option<&Seen> {
        let (tcp, _) = self.attempt.beside(self.t)?;
        tcp.tcp
            .log
            .iter()
            .find(|seen| seen.at > at && seen.side == Side::Server && seen.len > PICTURE)
    }

    /// Adds what the user notices of a session whose UDP stops at `first`; `last` is the last attempt to use it.
    pub fn felt(&self, verdict: Verdict, first: &Seen, last: &Seen) -> Verdict {
        if self.phase() != Phase::Session || self.attempt.beside(self.t).is_none() {
            return verdict;
        }
        match self.tcp_goes_on(first.at) {
            Some(seen) => verdict.because([self.packet(
                seen,
                format!(
                    "TCP carries the session again, {} after the silence began: for that long the picture was frozen",
                    human(seen.at.since(first.at))
                ),
            )]),
            None => verdict.because([self.packet(
                last,
                format!(
                    "the picture freezes until the client gives UDP up, after {} at most",
                    human(DEAD)
                ),
            )]),
        }
    }

    /// A summary, with the TCP connection's part of the story behind it.
    pub fn summary(&self, what: String) -> String {
        match self.beside() {
            Some(beside) => format!("{what}; {}", beside.words),
            None => what,
        }
    }
}
