//! One verdict on a connection that several captures show, each from its own place. What left one end and never came to the other, or
//! came and never left, is proof where a single capture allows an opinion.

use crate::diagnosis::causes::{
    CAPTURE_INCOMPLETE, COMPLETED, IDLE_TIMEOUT_RESET, MIDDLEBOX_RESET, PEER_RESET, SYN_RESET_BY_MIDDLEBOX,
};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Leans, Mechanism, Verdict};
use crate::flow::Side;
use crate::forensics::imprint::{Imprint, Passed, Search};
use crate::transcript::{Phase, Vantage};

/// A connection in one capture.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'a> {
    /// The source, an index into the report's sources.
    pub source: u32,
    /// What is compared of it.
    pub imprint: &'a Imprint,
    /// The resets of all connections in this capture.
    pub resets: &'a [Passed],
    /// The verdict on what this capture alone shows.
    pub verdict: &'a Verdict,
    /// Who ended it, by that verdict.
    pub ended_by: EndedBy,
    /// How.
    pub mechanism: Mechanism,
    /// How far it came.
    pub phase: Phase,
}

/// The verdict on what all captures show.
#[derive(Clone, Debug)]
pub struct Joint {
    /// The capture that shows it best, by its place among those given.
    pub place: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// How.
    pub mechanism: Mechanism,
}

/// The server and the client in words.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// The server with its port, as in summaries.
    pub server: &'a str,
    /// The client's address.
    pub client: std::net::IpAddr,
    /// The server's port.
    pub port: u16,
}

/// Judges a connection that two or more captures show. `None` where there are none.
pub fn judge(seats: &[Seat<'_>], ends: Ends<'_>) -> Option<Joint> {
    forged(seats, ends).or_else(|| genuine(seats)).or_else(|| best(seats))
}

impl Seat<'_> {
    fn evidence(&self, passed: Passed, leans: Leans, text: String) -> Evidence {
        Evidence {
            source: self.source,
            frame: passed.no,
            at: passed.at,
            leans,
            text,
        }
    }

    /// The reset that ended it, by its own verdict, and in whose name it came.
    fn reset(&self) -> Option<(Side, Passed)> {
        if self.mechanism != Mechanism::Rst {
            return None;
        }
        Side::BOTH.into_iter().find_map(|side| {
            let named = match self.ended_by {
                EndedBy::Client => side == Side::Client,
                EndedBy::Server => side == Side::Server,
                _ => true,
            };
            let cited = |reset: &&Passed| {
                self.verdict
                    .evidence
                    .iter()
                    .any(|one| one.frame == reset.no && one.leans == Leans::For)
            };
            let mut resets = self.imprint.resets(side).iter().filter(|_| named);
            resets.find(cited).map(|reset| (side, *reset))
        })
    }

    /// Where it was captured.
    fn place(&self) -> &'static str {
        match self.imprint.vantage {
            Vantage::Client => "at the client",
            Vantage::Server => "at the server",
            Vantage::Between | Vantage::Unknown => "on the way",
        }
    }
}

/// Every seat with every other one.
fn pairs<'a, 's>(seats: &'s [Seat<'a>]) -> impl Iterator<Item = ((usize, &'s Seat<'a>), &'s Seat<'a>)> {
    let all = seats.iter().enumerate();
    all.flat_map(move |(at, seat)| {
        let others = seats.iter().enumerate().filter(move |(other, _)| *other != at);
        others.map(move |(_, other)| ((at, seat), other))
    })
}

/// A reset that comes to one end, and never left the other, was made in between.
fn forged(seats: &[Seat<'_>], ends: Ends<'_>) -> Option<Joint> {
    let found = pairs(seats).filter_map(|((place, seat), other)| {
        let (side, reset) = seat.reset()?;
        match seat.imprint.look_for(&reset, side, other.imprint, other.resets) {
            Search::NeverSent { went_on, sure } => Some((place, seat, other, side, reset, went_on, sure)),
            _ => None,
        }
    });
    let (place, seat, other, side, reset, went_on, sure) = found.max_by_key(|(.., went_on, sure)| (*sure, went_on.is_some()))?;
    let proven = sure && went_on.is_some();
    let (here, there) = (seat.place(), other.place());
    let came = seat.evidence(
        reset,
        Leans::For,
        format!("RST in the {side}'s name, as it comes to the capture {here}"),
    );
    let last = went_on.or(other.imprint.sent[side].last);
    let silent = last.map(|last| {
        let how = match went_on {
            Some(_) => format!("the {side} itself goes on after that RST came {here}"),
            None => format!("the last packet of the {side} itself"),
        };
        other.evidence(last, Leans::For, format!("{how}; no such RST passes the capture {there}"))
    });
    let timer = seat.verdict.cause == &IDLE_TIMEOUT_RESET;
    let cause = match seat.phase {
        _ if timer => &IDLE_TIMEOUT_RESET,
        Phase::Tcp => &SYN_RESET_BY_MIDDLEBOX,
        _ => &MIDDLEBOX_RESET,
    };
    let summary = match timer {
        true => format!(
            "{}; the {side} never sent this RST, the two captures show",
            seat.verdict.summary
        ),
        false => format!(
            "a device between the two captures reset the connection to {} in the {side}'s name: its RST comes to the capture {here} and never passed the one {there}",
            ends.server
        ),
    };
    let confidence = if proven { Confidence::Certain } else { Confidence::Likely };
    let mut verdict = Verdict::new(cause, confidence, Act::Network, summary, came).because(silent);
    // What else this capture said of the RST stays true of a device's.
    let by_device = seat.ended_by == EndedBy::Middlebox;
    verdict = verdict.because(seat.verdict.evidence.iter().filter(|_| by_device).cloned());
    if !proven {
        verdict = verdict.or(
            &PEER_RESET,
            format!("only if the capture {there} missed the {side}'s RST, or the way does not lead past it"),
        );
    }
    if timer {
        verdict.remedies.clone_from(&seat.verdict.remedies);
    } else {
        let (client, port) = (ends.client, ends.port);
        verdict = verdict
            .remedy(format!(
                "ask whoever runs the devices between the two captures (firewall, intrusion prevention, VPN, load balancer) which of them resets {client} to TCP {port} at this time; its log of that second names the rule or signature"
            ))
            .remedy(format!(
                "let that device pass RDP and TLS on TCP {port} for this pair (intrusion prevention, application control, TLS inspection and connection limits are the usual rules)"
            ))
            .remedy("where several devices are in between: capture between two of them; the RST comes from the one behind which it is first seen");
    }
    Some(Joint {
        place,
        verdict,
        ended_by: EndedBy::Middlebox,
        mechanism: Mechanism::Rst,
    })
}

/// A reset that was seen to leave the host in whose name it comes is that host's, however odd it looked at the other end.
fn genuine(seats: &[Seat<'_>]) -> Option<Joint> {
    let mut found = pairs(seats).filter_map(|((_, seat), other)| {
        let (side, reset) = seat.reset()?;
        match seat.imprint.look_for(&reset, side, other.imprint, other.resets) {
            Search::Sent(sent) if other.imprint.is_at(side) => Some((seat, other, side, reset, sent)),
            _ => None,
        }
    });
    let (seat, other, side, reset, sent) = found.next()?;
    let by = |one: &Seat<'_>| {
        matches!(
            (one.ended_by, side),
            (EndedBy::Client, Side::Client) | (EndedBy::Server, Side::Server)
        )
    };
    // The capture at the host tells why it did.
    if !by(other) || other.mechanism != Mechanism::Rst {
        return None;
    }
    let place = seats.iter().position(|one| one.source == other.source)?;
    let left = other.evidence(sent, Leans::For, format!("the RST leaves the {side}'s host here"));
    let came = seat.evidence(
        reset,
        Leans::For,
        format!("the same RST as it comes to the capture {}", seat.place()),
    );
    let mut verdict = other.verdict.clone().because([left, came]);
    verdict.alternatives.retain(|one| one.cause != &MIDDLEBOX_RESET);
    verdict.confidence = verdict.confidence.max(Confidence::Likely);
    Some(Joint {
        place,
        verdict,
        ended_by: other.ended_by,
        mechanism: other.mechanism,
    })
}

/// Without a reset to compare: the capture that tells most, and what never came from one to the other.
fn best(seats: &[Seat<'_>]) -> Option<Joint> {
    let doubtful = |seat: &Seat<'_>| {
        seat.verdict.healthy() || seat.verdict.cause == &CAPTURE_INCOMPLETE || seat.verdict.confidence == Confidence::Possible
    };
    let all_doubtful = seats.iter().all(doubtful);
    let weight = |seat: &Seat<'_>| {
        let class = match seat.verdict.cause {
            cause if cause == &CAPTURE_INCOMPLETE => 0,
            cause if cause == &COMPLETED && seat.verdict.confidence > Confidence::Possible && all_doubtful => 3,
            cause if cause.healthy => 1,
            _ => 2,
        };
        let own = matches!(
            (seat.ended_by, seat.imprint.vantage),
            (EndedBy::Client, Vantage::Client) | (EndedBy::Server, Vantage::Server)
        );
        (class, telling(seat.verdict.cause.slug), seat.verdict.confidence, own)
    };
    let (place, seat) = seats
        .iter()
        .enumerate()
        .max_by_key(|(place, seat)| (weight(seat), std::cmp::Reverse(*place)))?;
    let mut verdict = seat.verdict.clone();
    if seat.ended_by == EndedBy::Path {
        let vanished: Vec<Evidence> = Side::BOTH.into_iter().flat_map(|side| vanished(seats, side)).collect();
        if !vanished.is_empty() && verdict.confidence == Confidence::Possible {
            verdict.confidence = Confidence::Likely;
        }
        verdict = verdict.because(vanished);
    }
    Some(Joint {
        place,
        verdict,
        ended_by: seat.ended_by,
        mechanism: seat.mechanism,
    })
}

/// How much a cause says: of two ends of a way that is dead the one that knows more of it.
fn telling(cause: &str) -> u8 {
    match cause {
        "pmtu_black_hole" | "one_way_path" => 3,
        "path_loss" | "nat_mapping_lost" => 2,
        "handshake_timeout" | "syn_dropped" | "aborted_by_client" | "established" => 0,
        _ => 1,
    }
}

/// What a side sent that the capture nearest to it shows, and the one farthest from it never saw.
fn vanished(seats: &[Seat<'_>], side: Side) -> Vec<Evidence> {
    let Some(((_, near), far)) = pairs(seats).find(|((_, seat), other)| seat.imprint.is_nearer(other.imprint, side)) else {
        return Vec::new();
    };
    let (sent, came) = (&near.imprint.sent[side], &far.imprint.sent[side]);
    let Some((last, end)) = sent.last.zip(sent.next) else {
        return Vec::new();
    };
    let Some((arrived, until)) = came.last.zip(came.next) else {
        let text = format!(
            "the last packet of the {side}; none of it ever comes to the capture {}",
            far.place()
        );
        return vec![near.evidence(last, Leans::For, text)];
    };
    let missing = end.wrapping_sub(until) as i32;
    if missing <= 0 {
        return Vec::new();
    }
    let text = format!(
        "the {side} sends {missing} bytes more than ever come to the capture {}",
        far.place()
    );
    vec![
        near.evidence(last, Leans::For, text),
        far.evidence(arrived, Leans::For, format!("the last packet of the {side} that comes here")),
    ]
}
