//! What a RST answers, and how long its alleged sender would need to answer it.

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{Opening, Reset, Seen, Side};
use crate::packet::TcpFlags;
use crate::transcript::Transcript;

/// The segment that a RST answers.
#[derive(Clone, Copy, Debug)]
pub struct Trigger {
    /// The earliest segment that it can answer.
    pub seen: Seen,
    /// From that segment to the RST.
    pub took: Span,
    /// Whether the RST proves that its sender had seen the segment: it acknowledges its end, echoes its timestamp, or is of the kind
    /// that only an answer can be.
    pub bound: bool,
}

/// The round trip from the capture point to a side and back.
#[derive(Clone, Copy, Debug)]
pub struct RoundTrip {
    /// The smallest one.
    pub least: Span,
    /// The usual one; an acknowledgment may be delayed.
    pub usual: Span,
    /// Measurements.
    pub samples: u64,
    /// The frame that completed the smallest one.
    pub frame: FrameNo,
    /// Where it was measured in another connection to the same host: the SYN and its answer.
    pub elsewhere: Option<[(FrameNo, Timestamp); 2]>,
}

impl RoundTrip {
    /// Measures the round trip to `side`. An acknowledgment may be delayed by its sender, a SYN's answer is not; where no handshake
    /// was captured, only many samples make a minimum.
    pub fn to(t: &Transcript, side: Side) -> Option<RoundTrip> {
        let tcp = &t.tcp;
        let samples = tcp.rtt[side].len();
        let handshake = tcp.handshake_rtt()[side].filter(|rtt| rtt.0 > 0);
        let answered = match side {
            Side::Server => tcp.handshake.syn_ack,
            Side::Client => tcp.handshake.ack,
        };
        let measured = tcp.rtt_min[side];
        match (handshake, measured) {
            (Some(rtt), Some((least, _))) if rtt <= least => Some((rtt, answered?.0, samples + 1)),
            (_, Some((least, frame))) if tcp.opening == Opening::Handshake || handshake.is_some() || samples >= 8 => {
                Some((least, frame, samples + u64::from(handshake.is_some())))
            }
            (Some(rtt), None) => Some((rtt, answered?.0, 1)),
            _ => None,
        }
        .map(|(least, frame, samples)| {
            let median = tcp.rtt[side]
                .median()
                .map_or(least, |micros| Span::micros(i64::try_from(micros).unwrap_or(i64::MAX)));
            RoundTrip {
                least,
                usual: median.max(least),
                samples,
                frame,
                elsewhere: None,
            }
        })
    }
}

/// Silence of the other side before a RST after which it answers nothing.
const UNRELATED: Span = Span::secs(1);

/// Queues on the way may hold an answer up for so long beside twice its usual time.
const QUEUES: Span = Span::millis(5);

/// Finds what a RST answers.
pub fn find(t: &Transcript, reset: &Reset, rtt: Option<RoundTrip>) -> Option<Trigger> {
    let seen = &reset.seen;
    let other = seen.side.other();
    let last = reset.trigger?;
    let patience = UNRELATED.max(rtt.map_or(Span(0), |rtt| rtt.least.times(3)));
    if seen.at.since(last.at) > patience {
        return None;
    }
    let acked = seen.flags.has(TcpFlags::ACK);
    // RST,ACK that acknowledges the end of a segment, or echoes its timestamp: its sender has seen that segment.
    let proven = before(t, seen).rev().find(|segment| {
        let advances = segment.side == other && segment.end() != segment.seq && !segment.is_reset();
        let by_ack = acked && segment.end() == seen.ack;
        let by_echo = seen
            .timestamps
            .zip(segment.timestamps)
            .is_some_and(|((_, echo), (value, _))| echo == value);
        advances && (by_ack || by_echo)
    });
    if let Some(segment) = proven {
        // The bytes may have been sent more than once: the first copy may be the one that it answers.
        let first = before(t, seen)
            .find(|copy| copy.side == other && copy.end() == segment.end() && copy.end() != copy.seq)
            .unwrap_or(segment);
        // What was acknowledged long ago is no news: an abort at any later time says the same.
        let known = before(t, seen).any(|answer| {
            answer.side == seen.side
                && answer.no > first.no
                && answer.flags.has(TcpFlags::ACK)
                && (answer.ack.wrapping_sub(first.end()) as i32) >= 0
        });
        return Some(Trigger {
            seen: *first,
            took: seen.at.since(first.at),
            bound: !known,
        });
    }
    if acked {
        return Some(Trigger {
            seen: last,
            took: seen.at.since(last.at),
            bound: false,
        });
    }
    // A RST without ACK is what a host without a socket answers to a segment that acknowledges just this number. What the sender
    // acknowledged while it was alive it does not answer so, and what it answers it answers at once: a segment that is older than the
    // round trip with room for queues got no answer because the host still knew it.
    let alive_at = reset.own_last.and_then(|own| {
        before(t, seen)
            .rfind(|segment| segment.side == other && segment.len > 0 && segment.end() == own.ack && segment.no < own.no)
    });
    let at_once = rtt
        .map_or(patience, |rtt| {
            Span(rtt.usual.0.saturating_mul(2)).max(rtt.least.times(2)).plus(QUEUES)
        })
        .min(patience);
    let earliest = before(t, seen).find(|segment| {
        segment.side == other
            && segment.flags.has(TcpFlags::ACK)
            && segment.ack == seen.seq
            && alive_at.is_none_or(|known| segment.no > known.no)
            && seen.at.since(segment.at) <= at_once
    });
    let first = earliest.copied().unwrap_or(last);
    Some(Trigger {
        seen: first,
        took: seen.at.since(first.at),
        bound: earliest.is_some(),
    })
}

/// What passed before a packet, in order.
pub(super) fn before<'t>(t: &'t Transcript, seen: &Seen) -> impl DoubleEndedIterator<Item = &'t Seen> + Clone {
    let no = seen.no;
    t.tcp.log.iter().filter(move |other| other.no < no)
}

/// The silence in both directions before a RST, or before the packets that it answers.
pub fn idle_before(t: &Transcript, reset: &Reset, trigger: Option<&Trigger>) -> Span {
    let (no, at): (FrameNo, Timestamp) = match trigger {
        Some(trigger) => (trigger.seen.no, trigger.seen.at),
        None => (reset.seen.no, reset.seen.at),
    };
    t.tcp
        .log
        .iter()
        .rfind(|seen| seen.no < no)
        .map_or(Span(0), |last| at.since(last.at))
}
