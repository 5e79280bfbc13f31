//! How far a UDP conversation came.

use crate::capture::{FrameNo, Timestamp};
use crate::flow::Side;
use crate::protocol::tls::record::Version;
use crate::transcript::moment::SealedKind;
use crate::transcript::phase::Phase;
use crate::transcript::progress::Milestone;
use crate::transcript::udp::{Channel, UdpTranscript};

/// How far a UDP conversation came.
#[derive(Clone, Debug)]
pub struct UdpProgress {
    /// The first phase that it did not complete.
    pub phase: Phase,
    /// Whether that was inferred: the beginning was not captured.
    pub inferred: bool,
    /// The phases that it completed, in order.
    pub done: Vec<Milestone>,
    /// When `phase` was entered.
    pub entered: Timestamp,
}

impl UdpProgress {
    /// Reads a transcript for how far it came.
    pub fn of(t: &UdpTranscript) -> UdpProgress {
        let mut progress = UdpProgress {
            phase: Phase::Session,
            inferred: t.is_midstream(),
            done: Vec::new(),
            entered: t.started(),
        };
        if t.heard.channel == Channel::RdpUdp && !progress.rdp_udp(t) {
            return progress;
        }
        progress.tls(t);
        progress
    }

    /// Whether this phase was completed.
    pub fn completed(&self, phase: Phase) -> bool {
        self.done.iter().any(|milestone| milestone.phase == phase)
    }

    fn complete(&mut self, phase: Phase, done: Timestamp, frame: FrameNo) {
        self.done.push(Milestone {
            phase,
            began: self.entered,
            done,
            frame,
            inferred: false,
        });
        self.entered = done;
    }

    /// SYN, SYN+ACK, and whatever of the client acknowledges it.
    fn rdp_udp(&mut self, t: &UdpTranscript) -> bool {
        let opening = &t.heard.opening;
        match (opening.syn_acks.first(), opening.opened) {
            (Some(_), Some(opened)) => {
                self.complete(Phase::UdpHandshake, opened.at, opened.no);
                true
            }
            // Data without a SYN+ACK: it was not captured.
            (None, _) if t.heard.moments.last().is_some() => true,
            _ => {
                self.phase = Phase::UdpHandshake;
                false
            }
        }
    }

    fn tls(&mut self, t: &UdpTranscript) {
        let is_13 = t
            .server_hello()
            .is_some_and(|(_, hello)| hello.version().stream_equivalent() == Version::TLS13);
        let (client, server) = (t.finished(Side::Client), t.finished(Side::Server));
        let last = match (client, server) {
            (Some(client), _) if is_13 => Some(client),
            (Some(client), Some(server)) => Some(if client.at > server.at { client } else { server }),
            _ => None,
        };
        let (done, spoke) = (last.map(|moment| (moment.at, moment.frames.last)), self.spoke_sealed(t));
        match (done, spoke) {
            (Some((at, frame)), _) => self.complete(Phase::Dtls, at, frame),
            // Both sides exchange data: a Finished was lost before this place, and repeated under another number.
            (None, Some((at, frame))) => self.complete(Phase::Dtls, at, frame),
            (None, None) if t.is_midstream() => {}
            (None, None) => self.phase = Phase::Dtls,
        }
    }

    /// The first application data of the side that speaks later.
    fn spoke_sealed(&self, t: &UdpTranscript) -> Option<(Timestamp, FrameNo)> {
        let first = |side: Side| {
            t.sealed()
                .find(|(moment, sealed)| moment.side == side && sealed.kind == SealedKind::Application)
                .map(|(moment, _)| (moment.at, moment.frames.last))
        };
        Some(first(Side::Client)?.max(first(Side::Server)?))
    }
}
