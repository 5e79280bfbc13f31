//! `path_loss`: what one side sends is repeated and never acknowledged, until a side gives up.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{NAT_MAPPING_LOST, ONE_WAY_PATH, PATH_LOSS, PMTU_BLACK_HOLE};
use crate::diagnosis::close::Close;
use crate::diagnosis::rules::{idle, way};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Marks, Side};
use crate::forensics::View;
use crate::forensics::loss::{self, Rate, Unanswered};
use crate::packet::TcpFlags;
use crate::transcript::Phase;

/// A sender repeats what was lost several times in this time.
const IN_VAIN: Span = Span::secs(3);
/// Packets that had left before others arrived come this much later at most, where the round trip is short or not known.
const UNDER_WAY: Span = Span::millis(50);

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() == Phase::Tcp {
        return None;
    }
    let Some(lost) = loss::unanswered(case.t).filter(|lost| lost.is_telling(case.t)) else {
        return left_open(case).or_else(|| missed(case)).or_else(|| lost_answer(case));
    };
    // A close by the side that did not answer is an answer.
    if let Close::Fin { side, .. } = case.close
        && side != lost.waiting
    {
        return None;
    }
    told_by_icmp(case, &lost).or_else(|| Some(finding(case, &lost)))
}

/// A connection that fell silent over bytes that never came, after others had to be repeated.
fn left_open(case: &Case<'_>) -> Option<Finding> {
    if !matches!(case.close, Close::Open | Close::Silence(_)) {
        return None;
    }
    let hole = loss::open_hole(case.t)?;
    let again: Vec<_> = case
        .t
        .tcp
        .log
        .iter()
        .filter(|seen| seen.marks.has(Marks::RETRANSMISSION))
        .collect();
    if again.len() < 3 {
        return None;
    }
    let sender = hole.sender;
    let verdict = Verdict::new(
        &PATH_LOSS,
        Confidence::Possible,
        Act::Network,
        format!(
            "the path to {} loses packets until the connection dies of it: {} bytes of the {sender} never arrived, and {} packets had to be sent again",
            case.server_label(),
            hole.bytes,
            again.len()
        ),
        case.packet(
            &hole.shown_by,
            format!("the {sender} is {} bytes further than what arrived of it", hole.bytes),
        ),
    )
    .because(again.iter().rev().take(4).map(|seen| case.packet(seen, format!("the {} sends again", seen.side))))
    .or(&ONE_WAY_PATH, "a device that carries one direction only; then everything of one side is missing")
    .remedy(format!("measure the way: `pathping {}` from the client: where does the loss begin?", case.server_host()))
    .remedy(format!("capture at the {sender} at the same time: packets that are missing here were lost on the way"));
    Some(Finding::new(verdict, EndedBy::Path, Mechanism::Silence))
}

/// A receiver that asks for the same bytes for seconds, while later ones come, lacks them itself: what only the capture lost it would acknowledge.
fn missed(case: &Case<'_>) -> Option<Finding> {
    if !matches!(case.close, Close::Open | Close::Silence(_)) {
        return None;
    }
    let hole = loss::open_hole(case.t)?;
    let (sender, receiver) = (hole.sender, hole.sender.other());
    let acked = case.t.tcp.half[sender].acked?;
    let log = &case.t.tcp.log;
    let behind = log
        .iter()
        .find(|seen| seen.side == sender && seen.has_data() && (seen.seq.wrapping_sub(acked) as i32) > 0)?;
    let asks: Vec<_> = log
        .iter()
        .filter(|seen| seen.side == receiver && seen.no > behind.no && seen.flags.has(TcpFlags::ACK) && seen.ack == acked)
        .collect();
    let last = asks.last().filter(|last| last.at.since(behind.at) >= IN_VAIN)?;
    let selective = asks.iter().any(|seen| seen.sack.is_some());
    let bytes = behind.seq.wrapping_sub(acked);
    let verdict = Verdict::new(
        &PATH_LOSS,
        if selective { Confidence::Likely } else { Confidence::Possible },
        Act::Network,
        format!(
            "the path to {} loses what the {sender} says: {bytes} bytes of it never arrive, later ones do, and the {receiver} still asks for them after {}",
            case.server_label(),
            human(last.at.since(behind.at))
        ),
        case.packet(behind, format!("the {sender} is {bytes} bytes further than what arrived of it")),
    )
    .because(asks.first().filter(|first| first.no < last.no).map(|first| case.packet(first, format!("the {receiver} asks for them"))))
    .because([case.packet(last, format!("the {receiver} still asks for them"))])
    .or(
        &PMTU_BLACK_HOLE,
        "if only large packets vanish: short ones of the same sender come through here, and whole segments are missing",
    )
;
    Some(missing(case, verdict, sender))
}

/// What to do where bytes of a side are missing at their receiver.
fn missing(case: &Case<'_>, verdict: Verdict, sender: Side) -> Finding {
    let verdict = verdict
        .remedy(format!(
            "compare sizes: `ping -f -l 1472 {}` and smaller ones, and clamp the MSS or lower the MTU where the large ones vanish",
            case.server_host()
        ))
        .remedy(format!(
            "capture at the {sender} at the same time: packets that are missing here were lost on the way"
        ));
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
}

/// The receiver gave up in the logon while the other side's bytes were missing: that side had answered.
fn lost_answer(case: &Case<'_>) -> Option<Finding> {
    let closed = case.close.at(case.t).filter(|_| case.phase() != Phase::Session)?;
    let hole = loss::open_hole(case.t).filter(|hole| case.close.side() == Some(hole.sender.other()))?;
    let acked = case.t.tcp.half[hole.sender].acked?;
    let log = &case.t.tcp.log;
    let shown_by = log
        .iter()
        .find(|seen| seen.side == hole.sender && !seen.is_reset() && (seen.seq.wrapping_sub(acked) as i32) > 0)?;
    // What only the capture lost the receiver has, and every packet of it that leaves later acknowledges it: it must say itself that it
    // still waits, and must have waited for longer than a sender takes to repeat.
    let under_way = case.t.tcp.rtt_min[hole.sender].map_or(UNDER_WAY, |(rtt, _)| rtt.times(2).max(UNDER_WAY));
    let still_waits = log.iter().rev().find(|seen| {
        let waits = seen.flags.has(TcpFlags::ACK) && seen.ack == acked;
        seen.side != hole.sender && waits && seen.at.since(shown_by.at) >= under_way
    })?;
    let asked = log
        .iter()
        .rfind(|seen| seen.side != hole.sender && seen.has_data() && seen.at < shown_by.at)
        .map_or(shown_by.at, |seen| seen.at);
    let waited = closed.since(asked);
    if still_waits.at.since(asked) < IN_VAIN {
        return None;
    }
    let (sender, receiver) = (hole.sender, hole.sender.other());
    let verdict = Verdict::new(
        &PATH_LOSS,
        Confidence::Likely,
        Act::Network,
        format!(
            "the path to {} loses what the {sender} says: {} bytes of it never arrived, as its later packets show, and the {receiver} gave up after {}",
            case.server_label(),
            hole.bytes,
            human(waited)
        ),
        case.packet(
            shown_by,
            format!("the {sender} is {} bytes further than what arrived of it: it has answered", hole.bytes),
        ),
    )
    .because([case.packet(still_waits, format!("the {receiver} still waits for them"))])
    .because(case.close_evidence())
    .or(
        &PMTU_BLACK_HOLE,
        "if only large packets vanish: short ones of the same sender come through here; fragments of which some are dropped look the same",
    )
;
    Some(missing(case, verdict, sender))
}

/// A device, or the host itself, says why what one side sends is not delivered.
fn told_by_icmp(case: &Case<'_>, lost: &Unanswered) -> Option<Finding> {
    let side = lost.waiting;
    let (icmp, meaning) = way::icmp_error(case, side, lost.first.no)?;
    let other = match side {
        Side::Client => case.t.server,
        Side::Server => case.t.client,
    };
    let by_host = icmp.from == other.ip();
    let (who, ended_by, act) = match (by_host, side) {
        (true, Side::Client) => ("the host itself".to_owned(), EndedBy::Server, Act::Server),
        (true, Side::Server) => ("the client's host itself".to_owned(), EndedBy::Client, Act::Client),
        (false, _) => (format!("the device {}", icmp.from), EndedBy::Middlebox, Act::Network),
    };
    let verdict = Verdict::new(
        &PATH_LOSS,
        Confidence::Likely,
        act,
        format!(
            "{who} does not let through what {} and says so with ICMP: {meaning}; the {side} repeated itself for {} in vain",
            match side {
                Side::Client => format!("the client sends to {}", case.server_label()),
                Side::Server => format!("the server {} sends", case.server_label()),
            },
            human(lost.lasted())
        ),
        case.shows(icmp.no, icmp.at, way::icmp_words(icmp, meaning)),
    )
    .because([case.packet(&lost.first, format!("the {side}'s packet that is never acknowledged"))])
    .because(idle::repeats(case, lost))
    .because(
        lost.heard_before
            .map(|seen| case.packet(&seen, format!("the last packet of the {} before it", side.other()))),
    );
    let verdict = match case.close {
        Close::Reset { .. } => verdict.because(case.close_evidence()),
        _ => verdict,
    };
    let verdict = verdict
        .or(
            &NAT_MAPPING_LOST,
            "a device that lost its state may reject what it no longer knows; then new connections work at once",
        )
        .remedy(format!(
            "ask whoever runs {} what changed at this time: a rule, a route, or the link to {}",
            icmp.from,
            other.ip()
        ))
        .remedy(format!(
            "dial again: the ICMP error that answers the new SYN, if one does, tells whether {} is still out of reach",
            other.ip()
        ));
    Some(Finding::new(verdict, ended_by, Mechanism::Icmp).fact("icmp_from", icmp.from))
}

fn finding(case: &Case<'_>, lost: &Unanswered) -> Finding {
    let side = lost.waiting;
    let other = side.other();
    let tcp = &case.t.tcp;
    // The other side goes on repeating what it was long told to have arrived: it does not hear.
    let repeats_itself = tcp
        .log
        .iter()
        .filter(|seen| seen.side == other && seen.no > lost.first.no && lost.gave_up.is_none_or(|end| seen.no < end))
        .find(|seen| seen.has_data() && seen.marks.has(Marks::RETRANSMISSION));
    let (way, hint) = match (lost.heard_after, repeats_itself) {
        (Some(_), Some(_)) => (
            format!("the {other} is still heard, so only the way from the {side} to the {other} is broken"),
            true,
        ),
        (Some(_), None) => (format!("the {other} is still heard, but acknowledges nothing of it"), true),
        (None, _) if lost.heard_too_late.is_some() => (
            format!(
                "nothing of the {other} was heard until the {side} gave up; it speaks later, so that it was up, and one direction or both are broken"
            ),
            false,
        ),
        (None, _) => (
            format!(
                "nothing of the {other} is heard any more; from here it cannot be told which direction is broken, or whether the {other} is down"
            ),
            false,
        ),
    };
    let rates: Vec<String> = Side::BOTH
        .into_iter()
        .filter(|of| Rate::of(tcp, *of).surely() > 0.02)
        .map(|of| format!("{of}: {}", Rate::of(tcp, of).words()))
        .collect();
    let what = if lost.probes { "keep-alive probes" } else { "data" };
    let view = View::of(tcp);
    let arrives = view.sure && view.is_at(other);
    let (begin, way) = match arrives {
        true => (
            format!(
                "what the {side} sent arrives at the {other}'s host, where this was captured, and is not taken there ({})",
                case.server_label()
            ),
            format!("the {other}'s host drops it: its firewall, a security agent, or checksums that are wrong"),
        ),
        false => (format!("the path to {} lost what the {side} sent", case.server_label()), way),
    };
    let mut summary = format!(
        "{begin}: its {what} were repeated {} in {} and never acknowledged; {way}",
        if lost.repeats == 1 {
            "once".to_owned()
        } else {
            format!("{} times", lost.repeats)
        },
        human(lost.lasted())
    );
    if !rates.is_empty() {
        summary.push_str(&format!(" (over the connection: {})", rates.join("; ")));
    }
    let confidence = if lost.repeats >= 4 || lost.lasted().as_secs_f64() >= 4.0 {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let verdict = Verdict::new(
        &PATH_LOSS,
        confidence,
        match (arrives, other) {
            (true, Side::Client) => Act::Client,
            (true, Side::Server) => Act::Server,
            (false, _) => Act::Network,
        },
        summary,
        case.packet(&lost.first, format!("the {side}'s packet that is never acknowledged")),
    )
    .because(idle::repeats(case, lost))
    .because(repeats_itself.map(|seen| {
        case.packet(
            seen,
            format!("the {other} repeats data that the {side} has acknowledged: it does not hear the {side}"),
        )
    }))
    .because(
        lost.heard_before
            .map(|seen| case.packet(&seen, format!("the last packet of the {other} before it"))),
    )
    .because(
        lost.heard_too_late
            .map(|seen| case.packet(&seen, format!("the {other} speaks again, after the {side} had given up"))),
    );
    let verdict = match case.close {
        Close::Reset { .. } => verdict.because(case.close_evidence()),
        _ => verdict,
    };
    let verdict = if hint {
        verdict.or(&ONE_WAY_PATH, "a route or a stateful device that carries one direction only")
    } else {
        verdict.or(
            &NAT_MAPPING_LOST,
            "a device that dropped its state looks the same; then it begins after a pause, and new connections work at once",
        )
    };
    let verdict = verdict
        .remedy_if(arrives, format!("look on the {other}'s host itself at this second: what changed in its firewall or security agent, and what its interface counts as errors (`netstat -s`)"))
        .remedy(format!("measure the way: `pathping {}` from the client (or `mtr -T -P {} {}`): where does the loss begin?", case.server_host(), case.t.server.port(), case.server_host()))
        .remedy("compare with Wi-Fi, VPN and docking station taken out of the way one after the other; look for interface errors, roaming and VPN reconnects at this time")
        .remedy(format!("capture at the {other} at the same time: packets of the {side} that are missing there were lost on the way to it"));
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
        .fact("repeats", lost.repeats)
        .fact("in_vain_s", format!("{:.1}", lost.lasted().as_secs_f64()))
}
