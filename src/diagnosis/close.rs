//! How a TCP connection stopped, as the packets alone tell it: whose FIN or RST came first, or who was left without an answer.

use crate::capture::{FrameNo, Span, Timestamp};
use crate::diagnosis::verdict::{EndedBy, Mechanism};
use crate::flow::{Marks, Reset, Seen, Side};
use crate::packet::TcpFlags;
use crate::transcript::hidden::{Hidden, Line, Said};
use crate::transcript::{SealedKind, Transcript};

/// How a connection stopped.
#[derive(Clone, Debug)]
pub enum Close {
    /// This side closed first, in order.
    Fin {
        /// Who.
        side: Side,
        /// The frame that shows it.
        frame: FrameNo,
        /// When.
        at: Timestamp,
        /// How it is known.
        known_by: KnownBy,
    },
    /// A reset ended it; `side` is who it claims to come from.
    Reset {
        /// The alleged sender.
        side: Side,
        /// The reset's place in `tcp.resets`.
        index: usize,
    },
    /// One side repeated itself and got no answer while the capture went on.
    Silence(Box<Silence>),
    /// Nothing of the kind was seen.
    Open,
}

/// How it is known that a side closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// By its FIN.
    Fin,
    /// By its close_notify: it ended TLS, and left it to the other side to close the connection.
    Notify,
    /// By the other side's close, which acknowledges a last word that was not captured.
    Answer,
}

/// A side that speaks and is not answered.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Who was not answered.
    pub waiting: Side,
    /// The first packet that was never acknowledged.
    pub first: Seen,
    /// The last copy of it, or the last packet of the side that waits.
    pub last: Seen,
    /// How often it was repeated.
    pub repeats: u32,
    /// The last packet of the other side, if it ever said anything.
    pub last_of_other: Option<Seen>,
}

/// How long a lone SYN may go unanswered before silence is more than the end of the capture. Every stack repeats it after 1 to 3 s.
const LONE_SYN: Span = Span::secs(3);

impl Close {
    /// Reads a transcript for how it stopped.
    pub fn of(t: &Transcript) -> Close {
        let fin = Side::BOTH
            .into_iter()
            .filter_map(|side| t.tcp.half[side].fin.map(|(frame, at, _)| (at, frame, side)))
            .min_by_key(|(at, frame, _)| (*at, *frame));
        let reset = t.tcp.resets.iter().enumerate().find(|(_, reset)| ends(t, reset));
        match (fin, reset) {
            (Some((at, frame, side)), Some((_, reset))) if (at, frame) <= (reset.seen.at, reset.seen.no) => {
                Close::fin(side, frame, at)
            }
            (_, Some((index, reset))) => Close::Reset {
                side: reset.seen.side,
                index,
            },
            (Some((at, frame, side)), None) => Close::fin(side, frame, at),
            // Where one direction was not captured, nothing can be said about answers.
            (None, None) if t.only_side().is_some() => Close::Open,
            (None, None) => silence(t).map_or(Close::Open, |silence| Close::Silence(Box::new(silence))),
        }
    }

    fn fin(side: Side, frame: FrameNo, at: Timestamp) -> Close {
        Close::Fin {
            side,
            frame,
            at,
            known_by: KnownBy::Fin,
        }
    }

    /// As [`Close::of`], in the light of what was said under TLS. A side that sends an alert and nothing more has decided: each side must
    /// answer close_notify with its own and close (RFC 5246 section 7.2.1), so that the other side's FIN or RST behind it only follows.
    pub fn told(t: &Transcript, hidden: &Hidden) -> Close {
        Close::ended_under_tls(t, hidden).answers_unseen(t)
    }

    fn ended_under_tls(t: &Transcript, hidden: &Hidden) -> Close {
        let close = Close::of(t);
        let side = match close {
            Close::Fin { side, .. } => side.other(),
            // A client that has ended TLS is answered with a FIN; who made a RST in the server's name is another question.
            Close::Reset { side: Side::Client, .. } => Side::Server,
            _ => return close,
        };
        let goodbye = |line: &Line| matches!(line.said, Said::Alert(_) | Said::Ultimatum(_) | Said::ShutdownRequest);
        let Some(alert) = hidden
            .find(goodbye)
            .filter(|line| line.side == side && matches!(line.said, Said::Alert(_)) && close.follows(t, line.frames.last))
        else {
            return close;
        };
        let goes_on = t.sealed().any(|(moment, sealed)| {
            moment.side == side && sealed.kind == SealedKind::Application && moment.frames.last > alert.frames.last
        });
        match goes_on {
            true => close,
            false => Close::Fin {
                side,
                frame: alert.frames.last,
                at: alert.at,
                known_by: KnownBy::Notify,
            },
        }
    }

    /// Whether the client closed first, as the server's close alone shows: it acknowledges more of the client than was captured, and no more than a
    /// close_notify and a FIN take.
    fn answers_unseen(self, t: &Transcript) -> Close {
        /// A close_notify under any cipher suite, and a FIN.
        const LAST_WORD: i32 = 64;
        let Close::Fin {
            side: Side::Server,
            frame,
            at,
            ..
        } = self
        else {
            return self;
        };
        let before = || {
            t.tcp
                .log
                .iter()
                .filter(|seen| seen.side == Side::Client && seen.no < frame && !seen.is_reset())
        };
        let end = before()
            .map(Seen::end)
            .reduce(|a, b| if (b.wrapping_sub(a) as i32) > 0 { b } else { a });
        let unseen = end
            .zip(t.tcp.log.get(frame))
            .map(|(end, close)| close.ack.wrapping_sub(end) as i32);
        match unseen {
            Some(1..=LAST_WORD) => Close::Fin {
                side: Side::Client,
                frame,
                at,
                known_by: KnownBy::Answer,
            },
            _ => self,
        }
    }

    /// Whether the capture does not show the close itself.
    pub fn is_guessed(&self) -> bool {
        matches!(
            self,
            Close::Fin {
                known_by: KnownBy::Answer,
                ..
            }
        )
    }

    /// The reset, if one ended the connection.
    pub fn reset<'t>(&self, t: &'t Transcript) -> Option<&'t Reset> {
        match self {
            Close::Reset { index, .. } => t.tcp.resets.get(*index),
            _ => None,
        }
    }

    /// Who closed, by the addresses on the packet.
    pub fn side(&self) -> Option<Side> {
        match self {
            Close::Fin { side, .. } | Close::Reset { side, .. } => Some(*side),
            Close::Silence(_) | Close::Open => None,
        }
    }

    /// The frame of the close.
    pub fn frame(&self, t: &Transcript) -> Option<FrameNo> {
        match self {
            Close::Fin { frame, .. } => Some(*frame),
            Close::Reset { .. } => self.reset(t).map(|reset| reset.seen.no),
            Close::Silence(silence) => Some(silence.last.no),
            Close::Open => None,
        }
    }

    /// The time of the close.
    pub fn at(&self, t: &Transcript) -> Option<Timestamp> {
        match self {
            Close::Fin { at, .. } => Some(*at),
            Close::Reset { .. } => self.reset(t).map(|reset| reset.seen.at),
            Close::Silence(silence) => Some(silence.first.at),
            Close::Open => None,
        }
    }

    /// Whether a frame comes before the close or with it; all do where there is none. Clocks may be so coarse that a word and its answer bear
    /// one time: frames stand in the order in which they were seen.
    pub fn follows(&self, t: &Transcript, frame: FrameNo) -> bool {
        match self {
            Close::Silence(silence) => frame <= silence.first.no,
            Close::Fin { .. } | Close::Reset { .. } => self.frame(t).is_none_or(|close| frame <= close),
            Close::Open => true,
        }
    }

    /// How it ended in the words of the contract, where nothing else decided before.
    pub fn mechanism(&self) -> Mechanism {
        match self {
            // A client's close_notify belongs to its orderly close.
            Close::Fin {
                side: Side::Server,
                known_by: KnownBy::Notify,
                ..
            } => Mechanism::TlsAlert,
            Close::Fin { .. } => Mechanism::Fin,
            Close::Reset { .. } => Mechanism::Rst,
            Close::Silence(_) => Mechanism::Silence,
            Close::Open => Mechanism::None,
        }
    }

    /// Who ended it in the words of the contract, if packets are what they claim to be.
    pub fn ended_by(&self) -> EndedBy {
        match self {
            Close::Fin { side, .. } | Close::Reset { side, .. } => side_ended(*side),
            Close::Silence(_) => EndedBy::Path,
            Close::Open => EndedBy::Open,
        }
    }
}

/// The contract's word for a side.
pub fn side_ended(side: Side) -> EndedBy {
    match side {
        Side::Client => EndedBy::Client,
        Side::Server => EndedBy::Server,
    }
}

/// Whether a reset ended the connection. A receiver ignores one whose numbers do not fit (RFC 9293 section 3.5.2, RFC 5961 section 3.2),
/// and then the connection goes on: both sides are heard later than what was under way could explain. Where only the alleged sender
/// goes on the receiver did take it, and the sender never sent it.
fn ends(t: &Transcript, reset: &Reset) -> bool {
    let goes_on = |side: Side| {
        let round_trip = t.tcp.rtt_min[side].map(|(rtt, _)| rtt).or(t.tcp.handshake_rtt()[side]);
        let under_way = round_trip.map_or(UNDER_WAY, |rtt| Span(rtt.0 + rtt.0 / 2).max(UNDER_WAY));
        t.tcp.log.iter().any(|seen| {
            seen.no > reset.seen.no && seen.side == side && !seen.is_reset() && seen.at.since(reset.seen.at) > under_way
        })
    };
    match t.only_side() {
        // The other side is not heard, but it is acknowledged: where that goes on growing, it goes on speaking.
        Some(side) => {
            let known = reset.own_last.map_or(reset.seen.ack, |own| own.ack);
            !t.tcp.log.iter().any(|seen| {
                seen.side == side && seen.no > reset.seen.no && !seen.is_reset() && (seen.ack.wrapping_sub(known) as i32) > 0
            })
        }
        None => !(goes_on(Side::Client) && goes_on(Side::Server)),
    }
}

/// Packets that had left before a reset arrived come this much later at most, where the round trip is short or not known.
const UNDER_WAY: Span = Span::millis(50);

fn silence(t: &Transcript) -> Option<Silence> {
    Side::BOTH
        .into_iter()
        .filter_map(|side| unanswered(t, side))
        .max_by_key(|silence| (silence.repeats, silence.last.at))
}

/// What `side` sent last and nobody acknowledged, if it was repeated while the other side was silent.
fn unanswered(t: &Transcript, side: Side) -> Option<Silence> {
    let half = &t.tcp.half[side];
    let other = t.tcp.half[side.other()].last;
    let outstanding = |seen: &Seen| {
        seen.side == side
            && (seen.len > 0 || seen.flags.has(TcpFlags::SYN | TcpFlags::FIN))
            && half.acked.is_none_or(|acked| (seen.end().wrapping_sub(acked) as i32) > 0)
    };
    let mut packets = t.tcp.log.iter().filter(|seen| outstanding(seen));
    let first = *packets.next()?;
    let repeats: Vec<&Seen> = t
        .tcp
        .log
        .iter()
        .filter(|seen| outstanding(seen) && seen.no > first.no && seen.seq == first.seq)
        .filter(|seen| seen.marks.has(Marks::RETRANSMISSION | Marks::FILLS_HOLE | Marks::KEEP_ALIVE))
        .collect();
    let last = repeats.last().map_or(first, |seen| **seen);
    let count = u32::try_from(repeats.len()).unwrap_or(u32::MAX);
    let alone_for = t.window.last.since(last.at);
    let lone_syn = first.flags.has(TcpFlags::SYN) && count == 0 && alone_for >= LONE_SYN;
    // A window of zero answers each probe (RFC 9293 section 3.8.6.1): the path carries, and it is the other side's program that takes nothing.
    let answered = other.is_some_and(|other| other.no > first.no && other.marks.has(Marks::ZERO_WINDOW));
    if answered {
        return None;
    }
    // The other side may go on repeating its own packets: it hears nothing either.
    let other_silent = other.is_none_or(|other| other.at < last.at || other.marks.has(Marks::RETRANSMISSION));
    ((count >= 2 || (count == 1 && alone_for >= LONE_SYN) || lone_syn) && (other_silent || count >= 3)).then_some(Silence {
        waiting: side,
        first,
        last,
        repeats: count,
        last_of_other: other,
    })
}
