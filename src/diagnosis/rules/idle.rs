//! `nat_mapping_lost`: after an idle time the path no longer carries the connection, and nobody says so.
//!
//! A device that forgot the connection drops what comes next, or a NAT makes a new mapping and the far host answers a port that it does
//! not know. What both have in common is the silence before, longer than any that the connection survived, and a path that was well
//! until then. A host that restarted meanwhile looks the same from here; that is said.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{IDLE_TIMEOUT_RESET, NAT_MAPPING_LOST, PATH_LOSS, PEER_RESET};
use crate::diagnosis::close::{Close, side_ended};
use crate::diagnosis::rules::{reset, way};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Opening;
use crate::forensics::loss::{self, Unanswered};
use crate::forensics::reset::Manner;
use crate::forensics::timers::Idle;
use crate::forensics::{Maker, View};
use crate::transcript::Phase;

/// From this silence on a lost mapping is likelier than an accident: no device's established timer is shorter.
const LONG: Span = Span::secs(60);
/// A shorter silence counts where it is many times longer than any that was survived.
const SHORT: Span = Span::secs(4);
/// So many times.
const TIMES: i64 = 3;

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if matches!(case.phase(), Phase::Tcp) {
        return None;
    }
    in_silence(case).or_else(|| unknown_to_the_host(case))
}

fn suspicious(idle: &Idle) -> bool {
    let longer = |times: i64| idle.survived.is_none_or(|survived| idle.any > survived.times(times));
    (idle.any >= LONG && longer(1)) || (idle.any >= SHORT && longer(TIMES))
}

fn sure(idle: &Idle) -> Confidence {
    if idle.any >= LONG {
        Confidence::Likely
    } else {
        Confidence::Possible
    }
}

/// Data after the silence are never answered.
fn in_silence(case: &Case<'_>) -> Option<Finding> {
    let lost = loss::unanswered(case.t)?;
    if !lost.is_telling(case.t) || lost.probes {
        return None;
    }
    // Somebody does say so: that is another finding.
    if way::icmp_error(case, lost.waiting, lost.first.no).is_some() {
        return None;
    }
    let idle = Idle::before(&case.t.tcp, &lost.first).filter(suspicious)?;
    let side = lost.waiting;
    let verdict = Verdict::new(
        &NAT_MAPPING_LOST,
        sure(&idle),
        Act::Network,
        format!(
            "after {} of silence the path no longer carried the connection to {}: a device on the way had forgotten it and dropped what the {side} sent next",
            human(idle.any),
            case.server_label()
        ),
        case.packet(&lost.first, format!("the {side}'s first packet after {} of silence; it is never acknowledged", human(idle.any))),
    )
    .because([reset::silence_evidence(case, &idle)])
    .because(repeats(case, &lost));
    let verdict = reset::with_timers(case, verdict, &idle, false).or(
        &PATH_LOSS,
        format!(
            "the path or the {} died during the silence; whether new connections to it worked right then tells the two apart",
            side.other()
        ),
    );
    Some(
        Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
            .fact("idle_s", reset::seconds(&idle))
            .fact("repeats", lost.repeats),
    )
}

/// The frames that show the repetition.
pub(super) fn repeats(case: &Case<'_>, lost: &Unanswered) -> Vec<crate::diagnosis::Evidence> {
    let mut shown = Vec::new();
    for (number, copy) in lost.copies.iter().enumerate() {
        let nth = number + 1;
        shown.push(case.packet(
            copy,
            format!(
                "the {} repeats itself, {} after the first try ({nth} of {})",
                lost.waiting,
                human(copy.at.since(lost.first.at)),
                lost.repeats
            ),
        ));
    }
    if lost.copies.last().is_none_or(|copy| copy.no != lost.last.no) && lost.last.no != lost.first.no {
        shown.push(case.packet(&lost.last, format!("the last of {} repetitions", lost.repeats)));
    }
    shown
}

/// The far host answers the first packet after the silence with the RST of a host that knows no such connection.
fn unknown_to_the_host(case: &Case<'_>) -> Option<Finding> {
    let Close::Reset { .. } = case.close else { return None };
    let reset_seen = case.close.reset(case.t)?;
    let found = case.attribution(reset_seen);
    if found.maker == Maker::Middlebox || found.manner != Manner::NoSocket || found.trigger.is_none() {
        return None;
    }
    let side = reset_seen.seen.side;
    // The other side's FIN beside it tells of a connection that both were just closing: its host answers what comes after its close so, and
    // of a silence before nothing was seen.
    let closing = case.t.tcp.half[side.other()].fin.is_some();
    let strange = case.t.tcp.opening == Opening::MidStream && case.t.tcp.habits[side].packets == 0 && !closing;
    let idle = reset::idle(case, reset_seen, &found).filter(suspicious);
    if idle.is_none() && !strange {
        return None;
    }
    // At the host itself: where it spoke before under these very ports, no device can have changed what it knows.
    let view = View::of(&case.t.tcp);
    if view.is_at(side) && view.sure && case.t.tcp.habits[side].packets > 0 {
        return Some(reset::peer_finding(case, reset_seen, &found));
    }
    // A RST that came another way than the host's packets: rather a device that forgot the connection than the host.
    if let Some(idle) = idle
        && (found.score > 0.0 || (found.came_another_way() && reset::is_timer(case, &found, &idle)))
    {
        return Some(reset::timer_finding(case, reset_seen, &found, &idle));
    }
    if found.came_another_way() {
        return Some(reset::device_finding(case, reset_seen, &found));
    }
    let gap = idle.map_or("an unseen time".to_owned(), |idle| human(idle.any));
    let confidence = if idle.is_some_and(|idle| idle.any >= LONG) && found.maker == Maker::Peer {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let verdict = Verdict::new(
        &NAT_MAPPING_LOST,
        confidence.min(Confidence::Possible),
        Act::Network,
        format!(
            "after {gap} of silence the {side} of the connection to {} no longer knew it and answered the next packet with a RST",
            case.server_label()
        ),
        case.packet(&reset_seen.seen, format!("RST of a host that knows no such connection: no ACK, and the sequence number of what it answers ({})", reset_seen.seen.seq)),
    )
    .because(found.trigger.map(|trigger| case.packet(&trigger.seen, format!("the packet that it answers {} later", human(trigger.took)))))
    .because(idle.map(|idle| reset::silence_evidence(case, &idle)))
    .because(case.signs(&found, false).take(4))
    .or(&PEER_RESET, format!("the {side} restarted, or its process ended, during the silence: its uptime and whether its other connections died, too, tell"))
    .or(&IDLE_TIMEOUT_RESET, "a device beside the host that forgot the connection answers the same way; a capture at the host tells");
    let verdict = match idle {
        Some(idle) => reset::with_timers(case, verdict, &idle, false),
        None => verdict.remedy("look for a NAT or load balancer that gave an existing connection a new port or another server"),
    };
    let finding = Finding::new(verdict, side_ended(side), Mechanism::Rst);
    Some(match idle {
        Some(idle) => finding.fact("idle_s", reset::seconds(&idle)),
        None => finding,
    })
}
