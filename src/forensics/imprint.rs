//! By what a connection is known again in another capture of the same time, and what two captures of it prove together: which packets
//! left one end and never came to the other, and which came that never left.

use std::net::SocketAddr;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{PerSide, Seen, Side};
use crate::packet::TcpFlags;
use crate::transcript::{Transcript, Vantage, Window};

/// Of each side so many of the first and of the last packets with sequence numbers of their own serve to compare clocks.
const SAMPLES: usize = 4;
/// So many resets of a connection are compared.
const RESETS: usize = 8;
/// Two captures that both begin within a connection show the same one where its sequence numbers lie so near: it went on for a while in
/// one of them.
const NEAR: u32 = 1 << 24;
/// A packet that passes two captures takes no longer between them.
const ON_THE_WAY: Span = Span::secs(3);
/// Two clocks.
#[derive(Clone, Copy, Debug)]
struct Clock {
    ahead: Span,
    within: Span,
}

/// A packet, as far as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The frame.
    pub no: FrameNo,
    /// Its time, by the clock of its capture.
    pub at: Timestamp,
    /// Sequence number.
    pub seq: u32,
}

impl Passed {
    fn of(seen: &Seen) -> Passed {
        Passed {
            no: seen.no,
            at: seen.at,
            seq: seen.seq,
        }
    }
}

/// What one side sent, as one capture shows it.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Initial sequence number, where the SYN was seen.
    isn: Option<u32>,
    /// The sequence number after its last byte.
    pub next: Option<u32>,
    /// Its usual TTL or hop limit.
    ttl: Option<u8>,
    /// Its first and last packets that take room in sequence numbers.
    samples: Vec<Passed>,
    /// Its resets.
    resets: Vec<Passed>,
    /// Its last packet that is no reset.
    pub last: Option<Passed>,
}

/// What is compared of a connection.
#[derive(Clone, Debug)]
pub struct Imprint {
    /// The client and the server.
    pub ends: (SocketAddr, SocketAddr),
    /// Both sides.
    pub sent: PerSide<Sent>,
    /// Where it was captured.
    pub vantage: Vantage,
    /// Whether all its resets are here, and the capture lost nothing that was acknowledged.
    is_whole: bool,
    window: Window,
}

impl Imprint {
    /// What is compared of a connection.
    pub fn of(t: &Transcript, vantage: Vantage) -> Imprint {
        Imprint {
            ends: (t.client, t.server),
            sent: PerSide {
                client: Sent::of(t, Side::Client),
                server: Sent::of(t, Side::Server),
            },
            vantage,
            is_whole: t.tcp.reset_count <= RESETS as u64 && Side::BOTH.iter().all(|side| t.tcp.half[*side].unseen == 0),
            window: t.window,
        }
    }

    /// Whether it was captured at the host of this side.
    pub fn is_at(&self, side: Side) -> bool {
        match side {
            Side::Client => self.vantage == Vantage::Client,
            Side::Server => self.vantage == Vantage::Server,
        }
    }

    /// Both initial sequence numbers, where both SYNs were seen.
    pub fn numbers(&self) -> Option<[u32; 2]> {
        Some([self.sent.client.isn?, self.sent.server.isn?])
    }

    /// Whether both are the same connection. Initial sequence numbers are drawn by chance and pass every NAT (two of them, or one and the
    /// ports, are not met twice); where a capture begins later, the same ends and numbers that are near.
    pub fn is_of_same(&self, other: &Imprint) -> bool {
        let isn = Side::BOTH.map(|side| self.sent[side].isn.zip(other.sent[side].isn));
        match isn {
            [Some((client, same)), Some((server, alike))] => client == same && server == alike,
            [Some((client, same)), None] => client == same && self.ends == other.ends,
            [None, Some((server, alike))] => server == alike && self.ends == other.ends,
            [None, None] => {
                let near = Side::BOTH.map(|side| {
                    let both = self.sent[side].next.zip(other.sent[side].next);
                    both.map(|(a, b)| (a.wrapping_sub(b) as i32).unsigned_abs() < NEAR)
                });
                // Where a recorder cut its recording, one part may hold one packet of it.
                let enough = !near.contains(&None) || self.is_beside_in_time(other);
                self.ends == other.ends && !near.contains(&Some(false)) && near.contains(&Some(true)) && enough
            }
        }
    }

    /// Whether one capture begins when the other one is over: one recorder that cut its recording, and no second place.
    pub fn is_beside_in_time(&self, other: &Imprint) -> bool {
        self.window.last <= other.window.first || other.window.last <= self.window.first
    }

    /// Whether this capture was taken nearer to the host of `side` than the other one: each router takes one from the TTL.
    pub fn is_nearer(&self, other: &Imprint, side: Side) -> bool {
        let gains = |of: Side| match (self.sent[of].ttl, other.sent[of].ttl) {
            (Some(here), Some(there)) => (i16::from(here) - i16::from(there)).signum(),
            _ => 0,
        };
        let place = |vantage: Vantage| match vantage {
            Vantage::Client => 1,
            Vantage::Between | Vantage::Unknown => 0,
            Vantage::Server => -1,
        };
        let to_client = gains(Side::Client) - gains(Side::Server) + (place(self.vantage) - place(other.vantage));
        match side {
            Side::Client => to_client > 0,
            Side::Server => to_client < 0,
        }
    }

    /// What the clock of `other` shows more than this one's, and how far that may be wrong. A packet that passes both shows the difference and
    /// the time that it took, one of the other direction the difference without it (RFC 5905 section 8).
    fn clock(&self, other: &Imprint) -> Option<Clock> {
        let pairs = |side: Side| {
            let (mine, theirs) = (&self.sent[side], &other.sent[side]);
            let both = mine
                .once()
                .filter_map(|sent| Some((sent, theirs.once().find(|same| same.seq == sent.seq)?)));
            both.map(|(sent, same)| same.at.since(sent.at).0)
        };
        // What comes from the client's side comes later at the server's.
        let first = if self.is_nearer(other, Side::Client) {
            Side::Client
        } else {
            Side::Server
        };
        match (pairs(first).min(), pairs(first.other()).max()) {
            (Some(there), Some(back)) => Some(Clock {
                ahead: Span(there / 2 + back / 2),
                within: Span((there / 2 - back / 2).abs()),
            }),
            (one, other) => one.or(other).map(|ahead| Clock {
                ahead: Span(ahead),
                within: Span::secs(1),
            }),
        }
    }

    /// The resets that came here in the name of `side`.
    pub fn resets(&self, side: Side) -> &[Passed] {
        &self.sent[side].resets
    }

    /// Looks for a reset that came here in the name of `side` in another capture, nearer to that side. `all` are the resets of all connections in
    /// that capture: a NAT that gave the connection another port carries back what its host sent to that.
    pub fn look_for(&self, reset: &Passed, side: Side, other: &Imprint, all: &[Passed]) -> Search {
        let Some(Clock { ahead, within }) = self.clock(other).filter(|_| other.is_nearer(self, side)) else {
            return Search::CannotTell;
        };
        let then = reset.at.plus(ahead);
        // It would have left before it came.
        let is_it = |sent: &&Passed| {
            let took = then.since(sent.at);
            took <= ON_THE_WAY && took >= Span(-within.0)
        };
        if let Some(sent) = other.sent[side].resets.iter().find(is_it) {
            return Search::Sent(*sent);
        }
        if all.iter().any(|sent| sent.seq == reset.seq && is_it(&sent)) {
            return Search::CannotTell;
        }
        if then < other.window.first || then > other.window.last || other.window.early {
            return Search::CannotTell;
        }
        Search::NeverSent {
            // What left after this one came was sent by somebody who knows nothing of it.
            went_on: other.sent[side].last.filter(|last| last.at > then.plus(within)),
            sure: other.is_whole && other.is_at(side),
        }
    }
}

/// Whether a reset is found nearer to its alleged sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// It passed there, too.
    Sent(Passed),
    /// It never passed there.
    NeverSent {
        /// The alleged sender's last packet, where it sent one after the reset.
        went_on: Option<Passed>,
        /// Whether nothing escaped the other capture, which was taken at the alleged sender.
        sure: bool,
    },
    /// The other capture ends before, its clock or place is not known, or it shows the reset in what looks like another connection.
    CannotTell,
}

impl Sent {
    /// Samples that were not repeated: of others it is not known which one came.
    fn once(&self) -> impl Iterator<Item = &Passed> + Clone {
        let alike = |one: &Passed| self.samples.iter().filter(|other| other.seq == one.seq).count();
        self.samples.iter().filter(move |one| alike(one) == 1)
    }

    fn of(t: &Transcript, side: Side) -> Sent {
        let half = &t.tcp.half[side];
        let own = || t.tcp.log.iter().filter(move |seen| seen.side == side && !seen.is_reset());
        let takes_room = |seen: &&Seen| seen.len > 0 || seen.flags.has(TcpFlags::SYN);
        let first = own().filter(takes_room).take(SAMPLES);
        let mut samples: Vec<Passed> = first.map(Passed::of).collect();
        let later = |seen: &&Seen| samples.last().is_none_or(|last| seen.no > last.no);
        let last: Vec<Passed> = own()
            .rev()
            .filter(takes_room)
            .take(SAMPLES)
            .filter(later)
            .map(Passed::of)
            .collect();
        samples.extend(last);
        let habits = &t.tcp.habits[side];
        let usual = habits.ttl.usual().or(habits.handshake_ttl.usual());
        let resets = t.tcp.resets.iter().filter(|reset| reset.seen.side == side).take(RESETS);
        Sent {
            isn: half.isn,
            next: half.next,
            ttl: usual.map(|ttl| ttl.value),
            samples,
            resets: resets.map(|reset| Passed::of(&reset.seen)).collect(),
            last: own().next_back().map(Passed::of),
        }
    }
}
