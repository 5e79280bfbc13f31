//! `peer_reset`: one side takes nothing more although its host answers each probe, until the other side gives up; where the capture ends before, it is
//! `capture_incomplete`.
//!
//! RFC 9293 section 3.8.6.1: a receiver whose program does not read announces a window of zero, and its host goes on answering probes. The path
//! carries, the host is up, and the program hangs.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{ABORTED_BY_CLIENT, CAPTURE_INCOMPLETE, PEER_RESET};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::{Marks, Seen, Side};
use crate::forensics::Maker;
use crate::transcript::Phase;

/// A program that reads nothing for so long hangs: a busy one takes a part of it now and then.
const HANGS: Span = Span::secs(5);
/// How many answers are cited.
const CITED: usize = 3;

/// A side that takes nothing more.
struct Stalled<'a> {
    /// Who.
    side: Side,
    /// All that it said last: that it takes nothing.
    closed: Vec<&'a Seen>,
}

impl<'a> Stalled<'a> {
    /// The side that takes nothing, at the end of the packets that `is_before` lets pass, and is probed by the other one.
    fn of(case: &Case<'a>, side: Side, is_before: impl Fn(&Seen) -> bool) -> Option<Stalled<'a>> {
        let before = || case.t.tcp.log.iter().filter(|seen| is_before(seen) && !seen.is_reset());
        let own = before().rev().filter(|seen| seen.side == side);
        let mut closed: Vec<&Seen> = own.take_while(|seen| seen.marks.has(Marks::ZERO_WINDOW)).collect();
        closed.reverse();
        let first = closed.first()?;
        let probed = before().any(|seen| seen.side != side && seen.no > first.no);
        (closed.len() >= 2 && probed).then_some(Stalled { side, closed })
    }

    fn answers(&self, case: &Case<'_>, first: &Seen) -> Vec<Evidence> {
        let later = self.closed.iter().rev().take(CITED).rev().filter(|seen| seen.no != first.no);
        let words = |seen: &Seen| {
            let after = human(seen.at.since(first.at));
            format!("its host answers, and the window is still 0 after {after}")
        };
        later.map(|seen| case.packet(seen, words(seen))).collect()
    }

    fn who(&self, host: &str) -> String {
        match self.side {
            Side::Client => format!("the client took nothing more of what the server {host} sent"),
            Side::Server => format!("the server {host} took nothing more"),
        }
    }
}

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() == Phase::Tcp {
        return None;
    }
    match case.close {
        Close::Reset { side: left, .. } => left_behind(case, left),
        Close::Open => Side::BOTH.into_iter().find_map(|side| waiting(case, side)),
        _ => None,
    }
}

/// The capture ends while one side takes nothing.
fn waiting(case: &Case<'_>, side: Side) -> Option<Finding> {
    let stalled = Stalled::of(case, side, |_| true)?;
    let first = stalled.closed.first()?;
    let waited = case.t.window.last.since(first.at);
    if waited < HANGS {
        return None;
    }
    let act = match side {
        Side::Client => Act::Client,
        Side::Server => Act::Server,
    };
    let verdict = Verdict::new(
        &CAPTURE_INCOMPLETE,
        Confidence::Possible,
        act,
        format!(
            "{} for {} when the capture ends: its window is closed although its host answers each probe, so its program hangs; whether it came back is not known",
            stalled.who(&case.server_label()),
            human(waited)
        ),
        case.packet(first, format!("the {side} announces a window of 0: it has no room for more")),
    )
    .because(stalled.answers(case, first))
    .or(&PEER_RESET, "the other side gives up after a while and resets the connection")
    .remedy(match side {
        Side::Client => "on the client: what does the Remote Desktop client do? A suspended virtual machine or laptop, a window being dragged, a dialog that blocks it".to_owned(),
        Side::Server => format!("on {}: what do the service and the session do? Processor, memory, a dump or a debugger that stopped it", case.host_name()),
    })
    .remedy("let the capture run on until the client shows its error");
    Some(Finding::new(verdict, EndedBy::Open, Mechanism::None).fact("waited_s", format!("{:.1}", waited.as_secs_f64())))
}

/// One side gave up, for the other took nothing.
fn left_behind(case: &Case<'_>, left: Side) -> Option<Finding> {
    let reset = case.close.reset(case.t)?;
    let stalled = Stalled::of(case, left.other(), |seen| seen.no < reset.seen.no)?;
    let first = stalled.closed.first()?;
    let waited = reset.seen.at.since(first.at);
    if waited < HANGS || case.attribution(reset).maker == Maker::Middlebox {
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
            stalled.who(&host),
            human(waited)
        ),
        case.packet(first, format!("the {} announces a window of 0: it has no room for more", stalled.side)),
    )
    .because(stalled.answers(case, first))
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
