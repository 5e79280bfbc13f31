//! Attempts in, verdicts out: the words of the contract and the rules that use them.
//!
//! An attempt is judged connection by connection. The rules stand in one table, the most telling first: what was said decides before
//! what was measured, and who sent a RST is asked last.

pub mod case;
pub mod causes;
pub mod close;
pub mod joint;
pub mod rules;
pub mod udp_case;
pub mod verdict;

pub use case::{Case, Context, Finding, HostBook};
pub use causes::CAUSES;
pub use close::Close;
pub use udp_case::UdpCase;
pub use verdict::{Act, Alternative, Cause, Confidence, EndedBy, Evidence, Family, Leans, Mechanism, Remedy, Verdict};

use crate::attempt::Attempt;
use crate::transcript::{Progress, Transcript};

/// The judgement of one attempt: a finding for each of its connections, and which of them decides.
#[derive(Debug)]
pub struct Judgement {
    /// The findings, in the order of the attempt's connections.
    pub findings: Vec<Finding>,
    /// The findings of its UDP conversations, in their order.
    pub udp: Vec<Finding>,
    /// The connection whose verdict the attempt takes; UDP conversations count behind the connections.
    pub decisive: usize,
}

/// Judges an attempt.
pub fn judge(attempt: &Attempt, context: &Context) -> Judgement {
    let mut findings: Vec<Finding> = attempt
        .connections
        .iter()
        .map(|(t, progress)| {
            rules::first(&Case {
                context,
                attempt,
                t,
                progress,
                close: Close::told(t, &progress.hidden),
            })
        })
        .collect();
    let udp = rules::udp::judge_all(attempt, context);
    // TCP decides wherever there is any: a client without UDP goes on working.
    let decisive = if findings.is_empty() {
        rules::udp::decisive(&udp)
    } else {
        decisive(attempt, &findings)
    };
    share(attempt, &mut findings, decisive);
    Judgement { findings, udp, decisive }
}

/// A connection that only serves the decisive one shares its fate: by itself it shows nothing of a session.
fn share(attempt: &Attempt, findings: &mut [Finding], decisive: usize) {
    let Some(fate) = findings.get(decisive).map(|finding| finding.verdict.cause) else {
        return;
    };
    for (at, ((t, progress), finding)) in attempt.connections.iter().zip(findings).enumerate() {
        if at != decisive && rules::gateway::is_errand(attempt, t, progress) {
            finding.verdict.cause = fate;
            finding.verdict.confidence = Confidence::Possible;
        }
    }
}

/// A connection that succeeded decides over those before it. Otherwise it is the failure that came furthest: a server that refused
/// the logon explains more than its refusal of the retry without NLA. What cannot be judged, or was left by the client on its own,
/// decides only where there is nothing else, or where the capture ends while it is past the point at which the others failed.
fn decisive(attempt: &Attempt, findings: &[Finding]) -> usize {
    let weight = |finding: &Finding| match finding.verdict.cause.slug {
        _ if finding.verdict.healthy() => 3,
        "capture_incomplete" => 0,
        "aborted_by_client" => 1,
        _ => 2,
    };
    let outdone = |at: usize, t: &Transcript, progress: &Progress| {
        let mut later = attempt.connections.iter().zip(findings).skip(at + 1);
        later.any(|((other, further), finding)| {
            (other.role, other.server) == (t.role, t.server)
                && finding.ended_by == EndedBy::Open
                && further.completed(progress.phase)
        })
    };
    let best = attempt
        .connections
        .iter()
        .zip(findings)
        .enumerate()
        .max_by_key(|(at, ((t, progress), finding))| {
            let errand = rules::gateway::is_errand(attempt, t, progress);
            let leftover = t.is_leftover();
            let weight = match weight(finding) {
                _ if errand => -1,
                _ if leftover => 0,
                1 | 2 if outdone(*at, t, progress) => 0,
                weight => weight,
            };
            // Of equal failures the first one began it; of successes the last one is where the user works.
            let order = if finding.verdict.healthy() {
                *at as i64
            } else {
                -(*at as i64)
            };
            let reached = if leftover { 0 } else { progress.phase.place() };
            (weight, reached, finding.verdict.confidence, order)
        });
    best.map_or(0, |(at, _)| at)
}
