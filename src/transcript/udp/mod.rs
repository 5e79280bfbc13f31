//! The transcript of one UDP conversation of Remote Desktop: its datagrams as tracked, what was said on it, and how far it came.

mod dtls;
mod ledger;
mod ordered;
mod progress;
mod recorder;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{Conversation, FlowKey, Side};
use crate::protocol::rdpeudp::UdpVersion;
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::certificate::Certificate;
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::transcript::moment::{Depth, Moment, Sealed, SealedKind, What};
use crate::transcript::phase::Role;
use crate::transcript::tcp::Window;

pub use dtls::Repeat;
pub use ledger::{Ledger, Stuck};
pub use ordered::Stalled;
pub use progress::UdpProgress;
pub use recorder::{Channel, CookieHash, Heard, Opening, SynSeen, UdpRecorder};

/// One UDP conversation, as it was seen and heard.
#[derive(Clone, Debug)]
pub struct UdpTranscript {
    /// Its number while it is worked on.
    pub id: u32,
    /// The source that holds it.
    pub source: u32,
    /// Its key.
    pub key: FlowKey,
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
    /// What it is for: `rdp_udp` or `gateway_udp`.
    pub role: Role,
    /// Its datagrams.
    pub udp: Conversation,
    /// What was said.
    pub heard: Heard,
    /// The span of the capture.
    pub window: Window,
}

impl UdpTranscript {
    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        let ledgers = self.heard.ledger.client.weight() + self.heard.ledger.server.weight();
        size_of::<UdpTranscript>() + self.udp.log.weight() + self.heard.moments.weight() + ledgers
    }

    /// The time of the first datagram.
    pub fn started(&self) -> Timestamp {
        self.udp.first().at
    }

    /// The time of the last datagram.
    pub fn ended(&self) -> Timestamp {
        self.udp.ended()
    }

    /// The first and the last frame.
    pub fn frames(&self) -> (FrameNo, FrameNo) {
        (self.udp.first().no, self.udp.last().no)
    }

    /// How long the capture goes on after the last datagram.
    pub fn watched_after(&self) -> Span {
        self.window.last.since(self.ended())
    }

    /// Whether it is RDP-UDP, and no DTLS by itself.
    pub fn is_rdp_udp(&self) -> bool {
        self.heard.channel != Channel::Dtls
    }

    /// Whether its beginning was not captured.
    pub fn is_midstream(&self) -> bool {
        match self.heard.channel {
            Channel::Dtls => self.client_hello().is_none(),
            Channel::RdpUdp => self.heard.opening.syns.is_empty() && self.heard.opening.syn_acks.is_empty(),
            Channel::RdpUdpUnproven | Channel::Unknown => true,
        }
    }

    /// The version of RDP-UDP that was chosen, or offered where nobody answered.
    pub fn version(&self) -> Option<UdpVersion> {
        let opening = &self.heard.opening;
        opening.syn_acks.first().or(opening.syns.first()).map(|syn| syn.version)
    }

    /// The identifier that it shares with the X.224 Connection Request or with the gateway's HTTP request.
    pub fn correlation_id(&self) -> Option<[u8; 16]> {
        let syns = self.heard.opening.syns.iter();
        syns.filter_map(|syn| syn.correlation_id)
            .find(|id| *id != [0; 16])
            .or(self.heard.gateway_mark)
    }

    fn outer(&self) -> impl DoubleEndedIterator<Item = &Moment> + Clone {
        self.heard.moments.iter().filter(|moment| moment.depth == Depth::OUTER)
    }

    fn find<'a, T>(&'a self, pick: impl Fn(&'a What) -> Option<T>) -> Option<(&'a Moment, T)> {
        self.outer()
            .find_map(|moment| pick(&moment.what).map(|found| (moment, found)))
    }

    /// The first ClientHello.
    pub fn client_hello(&self) -> Option<(&Moment, &ClientHello)> {
        self.find(|what| match what {
            What::ClientHello(hello) => Some(&**hello),
            _ => None,
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

    /// Alerts in clear, in order.
    pub fn alerts(&self) -> impl Iterator<Item = (&Moment, Alert)> {
        self.outer().filter_map(|moment| match moment.what {
            What::Alert(alert) => Some((moment, alert)),
            _ => None,
        })
    }

    /// Alerts that keys have opened, in order.
    pub fn opened_alerts(&self) -> impl Iterator<Item = (&Moment, Alert)> {
        self.heard.moments.iter().filter_map(|moment| match moment.what {
            What::Alert(alert) if moment.depth > Depth::OUTER => Some((moment, alert)),
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

    /// The first sealed alert: close_notify, or why a side leaves.
    pub fn goodbye(&self) -> Option<&Moment> {
        self.sealed()
            .find(|(_, sealed)| matches!(sealed.kind, SealedKind::AlertStated | SealedKind::AlertBySize))
            .map(|(moment, _)| moment)
    }

    /// The name that the client asked for.
    pub fn sni(&self) -> Option<&str> {
        self.client_hello()?.1.server_name.as_deref()
    }
}
