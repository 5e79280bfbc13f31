//! The transcript of one TCP connection: its packets as tracked, its messages as recorded, and the questions that rules ask of them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{Connection, FlowKey, Opening, Reset, Seen, Side};
use crate::packet::TcpFlags;
use crate::protocol::preamble::Preamble;
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::certificate::Certificate;
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::x224::{Answer, ConnectionConfirm, ConnectionRequest, Protocols};
use crate::transcript::moment::{Depth, Foreign, Moment, Moments, Sealed, SealedKind, What};
use crate::transcript::phase::Role;

/// What the capture shows around a connection, to tell an end from the end of the capture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The first frame of the capture.
    pub first: Timestamp,
    /// The last frame of the capture, or of what was captured so far.
    pub last: Timestamp,
    /// Whether it had to be judged while it may have gone on, because more was open at one time than fits into memory.
    pub early: bool,
}

impl Window {
    /// Takes frames in that lie between these times.
    #[inline]
    pub fn widen(window: &mut Option<Window>, first: Timestamp, last: Timestamp) {
        let early = false;
        let window = window.get_or_insert(Window { first, last, early });
        window.first = window.first.min(first);
        window.last = window.last.max(last);
    }
}

/// One TCP connection, as it was seen and heard.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Its number while it is worked on; connections of one capture are numbered in order of appearance.
    pub id: u32,
    /// The source that holds it.
    pub source: u32,
    /// Its key.
    pub key: FlowKey,
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// What it is for.
    pub role: Role,
    /// Why it is taken for an RD Gateway connection, where it is.
    pub role_why: Option<String>,
    /// Its packets.
    pub tcp: Box<Connection>,
    /// What was said.
    pub moments: Moments,
    /// The span of the capture.
    pub window: Window,
}

impl Transcript {
    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Transcript>() + self.tcp.weight() + self.moments.weight()
    }

    /// Whether nothing was captured of it but what the server still says on it, and RSTs without ACK of the client, as a host sends them that
    /// knows no such connection (RFC 9293 section 3.10.7.1): the client gave it up before, and no user waits for it.
    pub fn is_leftover(&self) -> bool {
        let denies = |reset: &Reset| reset.seen.side == Side::Client && !reset.seen.flags.has(TcpFlags::ACK);
        self.tcp.opening == Opening::MidStream
            && self.tcp.habits[Side::Client].packets == 0
            && !self.tcp.resets.is_empty()
            && self.tcp.resets.iter().all(denies)
    }

    /// The time of the first packet.
    pub fn started(&self) -> Timestamp {
        self.tcp.first().at
    }

    /// The time of the last packet.
    pub fn ended(&self) -> Timestamp {
        self.tcp.last().at
    }

    /// How long the capture goes on after the last packet of this connection.
    pub fn watched_after(&self) -> Span {
        self.window.last.since(self.ended())
    }

    /// What was said on the connection itself, not inside TLS.
    pub fn outer(&self) -> impl DoubleEndedIterator<Item = &Moment> + Clone {
        self.moments.iter().filter(|moment| moment.depth == Depth::OUTER)
    }

    fn find<'a, T>(&'a self, pick: impl Fn(&'a What) -> Option<T>) -> Option<(&'a Moment, T)> {
        self.outer()
            .find_map(|moment| pick(&moment.what).map(|found| (moment, found)))
    }

    /// The same wherever it was said: on the connection itself, or in a gateway's tunnel.
    fn find_anywhere<'a, T>(&'a self, pick: impl Fn(&'a What) -> Option<T>) -> Option<(&'a Moment, T)> {
        self.moments
            .iter()
            .find_map(|moment| pick(&moment.what).map(|found| (moment, found)))
    }

    /// The X.224 Connection Request, in a gateway's tunnel the one to the host behind it.
    pub fn request(&self) -> Option<(&Moment, &ConnectionRequest)> {
        self.find_anywhere(|what| {
            if let What::Request(request) = what {
                Some(&**request)
            } else {
                None
            }
        })
    }

    /// The X.224 Connection Confirm, in a gateway's tunnel that of the host behind it.
    pub fn confirm(&self) -> Option<(&Moment, &ConnectionConfirm)> {
        self.find_anywhere(|what| {
            if let What::Confirm(confirm) = what {
                Some(&**confirm)
            } else {
                None
            }
        })
    }

    /// The security protocol that the server selected; Standard RDP Security is the empty set.
    pub fn selected(&self) -> Option<Protocols> {
        match self.confirm()?.1.answer {
            Answer::Absent => Some(Protocols(0)),
            Answer::Response { selected, .. } => Some(selected),
            Answer::Failure { .. } | Answer::Unknown { .. } => None,
        }
    }

    /// Whether the client takes the direct approach (MS-RDPBCGR section 5.4.2.2), as to the console of a virtual machine: it names the
    /// machine in a preconnection blob, begins TLS and CredSSP at once, and X.224 follows inside them.
    pub fn is_direct(&self) -> bool {
        let mut named = false;
        for moment in self.outer() {
            match &moment.what {
                What::Preamble(preamble) if matches!(**preamble, Preamble::Preconnection { .. }) => named = true,
                What::Request(_) | What::Confirm(_) => return false,
                What::ClientHello(_) => return named,
                _ => {}
            }
        }
        false
    }

    /// The first ClientHello.
    pub fn client_hello(&self) -> Option<(&Moment, &ClientHello)> {
        self.find(|what| {
            if let What::ClientHello(hello) = what {
                Some(&**hello)
            } else {
                None
            }
        })
    }

    /// The ServerHello; a HelloRetryRequest is none.
    pub fn server_hello(&self) -> Option<(&Moment, &ServerHello)> {
        self.find(|what| match what {
            What::ServerHello(hello) if !hello.hello_retry_request => Some(&**hello),
            _ => None,
        })
    }

    /// The server's certificate.
    pub fn certificate(&self) -> Option<(&Moment, &Certificate)> {
        self.outer()
            .filter(|moment| moment.side == Side::Server)
            .find_map(|moment| match &moment.what {
                What::Certificates(chain) => chain.first().map(|leaf| (moment, &**leaf)),
                _ => None,
            })
    }

    /// The server's chain, leaf first.
    pub fn chain(&self) -> Option<(&Moment, &[Arc<Certificate>])> {
        self.outer()
            .filter(|moment| moment.side == Side::Server)
            .find_map(|moment| match &moment.what {
                What::Certificates(chain) if !chain.is_empty() => Some((moment, chain.as_slice())),
                _ => None,
            })
    }

    /// Alerts in clear, in order.
    pub fn alerts(&self) -> impl Iterator<Item = (&Moment, Alert)> {
        self.outer().filter_map(|moment| match moment.what {
            What::Alert(alert) => Some((moment, alert)),
            _ => None,
        })
    }

    /// Sealed records, in order.
    pub fn sealed(&self) -> impl DoubleEndedIterator<Item = (&Moment, Sealed)> + Clone {
        self.outer().filter_map(|moment| match moment.what {
            What::Sealed(sealed) => Some((moment, sealed)),
            _ => None,
        })
    }

    /// When a side's Finished passed.
    pub fn finished(&self, side: Side) -> Option<&Moment> {
        self.sealed()
            .find(|(moment, sealed)| moment.side == side && sealed.kind == SealedKind::Finished)
            .map(|(moment, _)| moment)
    }

    /// The first words of a side that speaks something other than RDP.
    pub fn foreign(&self, side: Side) -> Option<(&Moment, &Foreign)> {
        self.outer()
            .filter(|moment| moment.side == side)
            .find_map(|moment| match &moment.what {
                What::Foreign(foreign) => Some((moment, &**foreign)),
                _ => None,
            })
    }

    /// The name that the client asked TLS for.
    pub fn sni(&self) -> Option<&str> {
        self.client_hello()?.1.server_name.as_deref()
    }

    /// The user in the cookie of the Connection Request; mstsc cuts it to nine characters.
    pub fn cookie(&self) -> Option<&str> {
        self.request()?.1.cookie.as_deref()
    }

    /// The side of which alone packets were captured, although the other one evidently spoke: its words are acknowledged.
    pub fn only_side(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| {
            let (seen, other) = (&self.tcp.half[*side], &self.tcp.half[side.other()]);
            let answers = |seen: &Seen| seen.side == *side && seen.flags.has(TcpFlags::ACK) && !seen.flags.has(TcpFlags::RST);
            other.packets == 0 && seen.packets >= 2 && self.tcp.log.iter().any(answers)
        })
    }

    /// Whether a filter left the bare acknowledgments out: the handshake of a client that speaks ends with one (RFC 9293 section 3.5).
    pub fn lacks_acknowledgments(&self) -> bool {
        let bare = |seen: &Seen| seen.len == 0 && seen.flags == TcpFlags(TcpFlags::ACK);
        let speaks = self.tcp.half.client.first_data.is_some();
        self.tcp.handshake.syn_ack.is_some() && speaks && self.only_side().is_none() && !self.tcp.log.iter().any(bare)
    }

    /// The first and the last frame.
    pub fn frames(&self) -> (FrameNo, FrameNo) {
        (self.tcp.first().no, self.tcp.last().no)
    }
}
