//! The rules for UDP conversations, in the order in which they are asked.
//!
//! UDP is optional: a client that gets no answer stays on TCP. So no finding here speaks about the session itself, and each says what
//! the TCP connection beside it did.

mod advice;
mod blocked;
mod dropped;
mod handshake;
mod ordinary;
mod refused;
mod rejected;

use crate::attempt::Attempt;
use crate::diagnosis::case::{Context, Finding};
use crate::diagnosis::udp_case::UdpCase;

/// A rule.
pub type UdpJudge = fn(&UdpCase<'_>) -> Option<Finding>;

/// The rules: what was said, then what never came, then what stopped.
pub const UDP_RULES: &[(&str, UdpJudge)] = &[
    ("an ICMP error that refuses", rejected::judge),
    ("an alert", handshake::alert),
    ("a side channel that is refused", refused::judge),
    ("no answer at all", blocked::judge),
    ("only large datagrams vanish", dropped::by_size),
    ("a flight that is repeated on both sides", dropped::flight),
    ("a direction that stopped", dropped::one_way),
    ("a direction that loses most of it", dropped::heavy_loss),
    ("an end that follows the session's", ordinary::ended),
    ("a side that is heard no more", dropped::alone),
    ("a handshake that stands still", handshake::stuck),
    ("an ordinary conversation", ordinary::judge),
];

/// The finding of the first rule that finds something. The last resort says that the capture is not enough.
pub fn first(case: &UdpCase<'_>) -> Finding {
    UDP_RULES
        .iter()
        .find_map(|(_, judge)| judge(case))
        .unwrap_or_else(|| ordinary::incomplete(case))
        .fact("udp_protocol", case.protocol())
}

/// The findings of an attempt's conversations, in their order.
pub fn judge_all(attempt: &Attempt, context: &Context) -> Vec<Finding> {
    attempt
        .udp
        .iter()
        .map(|(t, progress)| {
            first(&UdpCase {
                context,
                attempt,
                t,
                progress,
            })
        })
        .collect()
}

/// The conversation that decides over an attempt without TCP: the failure that began it, else the last that worked.
pub fn decisive(findings: &[Finding]) -> usize {
    let weight = |finding: &Finding| match finding.verdict.cause.slug {
        "capture_incomplete" => 0,
        _ if finding.verdict.healthy() => 1,
        _ => 2,
    };
    let best = findings.iter().enumerate().max_by_key(|(at, finding)| {
        let weight = weight(finding);
        let order = if weight == 2 { -(*at as i64) } else { *at as i64 };
        (weight, finding.verdict.confidence, order)
    });
    best.map_or(0, |(at, _)| at)
}
