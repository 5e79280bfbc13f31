//! `peer_reset`: one side takes nothing more although its host answers each probe, until the other side gives up.
//!
//! RFC 9293 section 3.8.6.1: a receiver whose program does not read announces a window of zero, and its host goes on answering probes. The path
//! carries, the host is up, and the program hangs.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{ABORTED_BY_CLIENT, PEER_RESET};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Marks, Seen, Side};
use crate::forensics::Maker;
use crate::transcript::Phase;

/// A program that reads nothing for so long hangs: a busy one takes a part of it now and then.
const HANGS: Span = Span::secs(5);
/// How many answers are cited.
const CITED: usize = 3;

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    let reset = case.close.reset(case.t)?;
    let Close::Reset { side: left, .. } = case.close else {
        return None;
    };
    if case.phase() == Phase::Tcp {
        return None;
    }
    let stalled = left.other();
    let before = || {
        case.t
            .tcp
            .log
            .iter()
            .filter(|seen| seen.no < reset.seen.no && !seen.is_reset())
    };
    // All that it said last: that it takes nothing.
    let mut closed: Vec<&Seen> = before()
        .rev()
        .filter(|seen| seen.side == stalled)
        .take_while(|seen| seen.marks.has(Marks::ZERO_WINDOW))
        .collect();
    closed.reverse();
    let first = closed.first()?;
    let waited = reset.seen.at.since(first.at);
    let probes: Vec<&Seen> = before().filter(|seen| seen.side == left && seen.no > first.no).collect();
    if waited < HANGS || closed.len() < 2 || probes.is_empty() || case.attribution(reset).maker == Maker::Middlebox {
        return None;
    }
    let (ended_by, act) = match left {
        Side::Client => (EndedBy::Client, Act::Server),
        Side::Server => (EndedBy::Server, Act::Client),
    };
    let host = case.server_label();
    let verdict = Verdict::new(
        &PEER_RESET,
        Confidence::Likely,
        act,
        format!(
            "{} for {}: its window was closed although its host answered each probe, so its program hung; the {left} gave up and reset the connection",
            match stalled {
                Side::Client => format!("the client took nothing more of what the server {host} sent"),
                Side::Server => format!("the server {host} took nothing more"),
            },
            human(waited)
        ),
        case.packet(first, format!("the {stalled} announces a window of 0: it has no room for more")),
    )
    .because(
        (closed.iter().rev().take(CITED).rev().filter(|seen| seen.no != first.no))
            .map(|seen| case.packet(seen, format!("its host answers, and the window is still 0 after {}", human(seen.at.since(first.at))))),
    )
    .because(case.close_evidence());
    let verdict = match left {
        Side::Client => verdict
            .or(&ABORTED_BY_CLIENT, "the user may have closed the window that no longer reacted; the server took nothing all the same")
            .remedy(format!("on {}: what did the service and the session do at this time? Processor, memory, a dump or a debugger that stopped it", case.host_name())),
        Side::Server => verdict
            .remedy("on the client: what did the Remote Desktop client do at this time? Processor, memory, a suspended virtual machine or laptop, a window being dragged or a dialog that blocks it"),
    };
    Some(Finding::new(verdict, ended_by, Mechanism::Rst).fact("waited_s", format!("{:.1}", waited.as_secs_f64())))
}
