//! `udp_blocked`: requests that are never answered, or whose answers do not come through.
//!
//! RDP-UDP clients repeat their SYN after 3.5 and 2.7 s and give up after the third; DTLS doubles its time from one second on. One
//! request alone is no proof: an answer may come after the end of the capture.

use crate::capture::{Span, Timestamp};
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{UDP_BLOCKED, UDP_REJECTED};
use crate::diagnosis::rules::udp::advice;
use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Seen, Side};
use crate::transcript::Phase;

/// A request that was sent twice has waited for this long at least.
const WAITED: Span = Span::millis(900);
/// A lone request may still be answered within this time: the slowest client repeats it after 3.5 s.
const LONE: Span = Span::secs(5);

/// See the module.
pub fn judge(case: &UdpCase<'_>) -> Option<Finding> {
    if !matches!(case.phase(), Phase::UdpHandshake | Phase::Dtls) || case.t.is_midstream() {
        return None;
    }
    let client = &case.t.udp.half.client;
    let (first, last) = (client.first?, client.last?);
    if case.t.udp.half.server.packets == 0 {
        return unanswered(case, &first, &last, client.packets);
    }
    answers_lost(case)
}

fn waited(case: &UdpCase<'_>, since: Timestamp) -> Span {
    case.t.window.last.since(since)
}

fn unanswered(case: &UdpCase<'_>, first: &Seen, last: &Seen, count: u64) -> Option<Finding> {
    let enough = match count {
        0 => false,
        // A lone request of somebody who has no session is a probe, as scanners send them.
        1 => waited(case, first.at) >= LONE && case.attempt.beside(case.t).is_some(),
        2 => waited(case, first.at) >= WAITED && last.at.since(first.at) >= WAITED,
        _ => last.at.since(first.at) >= WAITED,
    };
    if !enough || case.is_aftermath(first.at) {
        return None;
    }
    let over = last.at.since(first.at);
    let what = if case.t.is_rdp_udp() {
        "RDP-UDP SYN"
    } else {
        "DTLS ClientHello"
    };
    let times = match count {
        1 => format!("one {what}"),
        n => format!("{n} {what}s in {}", human(over)),
    };
    let summary = case.summary(format!("{} never answers: {times}", case.server_label()));
    let confidence = if count >= 2 {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let verdict = Verdict::new(
        &UDP_BLOCKED,
        confidence,
        Act::Network,
        summary,
        case.packet(
            first,
            format!("the first {what}, {} bytes; nothing ever comes back", first.len),
        ),
    )
    .because((count > 1).then(|| case.packet(last, format!("the last of {count}, {} after the first", human(over)))));
    let verdict = case.with_story(verdict);
    let verdict = felt(case, verdict, over, last);
    let verdict = verdict.or(
        &UDP_REJECTED,
        "the host may have no UDP listener while a filter swallows its ICMP answer; a capture on the host shows whether the datagrams arrive",
    );
    let verdict = advice::open_the_way(case, verdict);
    let verdict = if first.len >= 1_000 {
        verdict.remedy(format!(
            "these datagrams are padded to {} bytes on purpose: a path that drops UDP of that size blocks RDP over UDP as well; \
             `ping -f -l {} {}` tells",
            first.len,
            first.len,
            case.server_host()
        ))
    } else {
        verdict
    };
    Some(
        Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
            .fact("udp_requests", count)
            .fact("udp_waited_s", format!("{:.2}", over.as_secs_f64())),
    )
}

/// What the user notices: nothing but a slower connection, where TCP goes on.
fn felt(case: &UdpCase<'_>, verdict: Verdict, over: Span, last: &Seen) -> Verdict {
    match case.beside() {
        Some(beside) if beside.works => verdict.because([case.packet(
            last,
            format!(
                "the client tried for {} and stayed on TCP: the user notices a delay of that length at most, and less fluent video and sound afterwards",
                human(over)
            ),
        )]),
        _ => verdict,
    }
}

/// The server answers, and the client goes on asking.
fn answers_lost(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::UdpHandshake {
        return None;
    }
    let opening = &case.t.heard.opening;
    let (answer, request) = (opening.syn_acks.first()?, opening.syns.last()?);
    let again = opening.syns.iter().filter(|syn| syn.seen.at > answer.seen.at).count();
    let answers = opening.syn_acks.len();
    let last = opening.syn_acks.last()?.seen;
    // The client repeats its SYN, or the server its answer while the client is heard no more.
    if again == 0 && (answers < 2 || last.at.since(answer.seen.at) < WAITED) {
        return None;
    }
    let summary = case.summary(format!(
        "the answers of {} do not reach the client: {answers} SYN+ACKs leave, and the client {}",
        case.server_label(),
        if again > 0 { "repeats its SYN" } else { "never goes on" }
    ));
    let verdict = Verdict::new(
        &UDP_BLOCKED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.packet(
            &answer.seen,
            format!("the server answers with a SYN+ACK of {} bytes", answer.seen.len),
        ),
    )
    .because([if again > 0 {
        case.packet(
            &request.seen,
            "the client repeats its SYN after that: it has not got the answer",
        )
    } else {
        case.packet(&last, format!("the server repeats its answer, {answers} times in all"))
    }]);
    let verdict = advice::open_the_way(case, case.with_story(verdict));
    Some(
        Finding::new(verdict, EndedBy::Path, Mechanism::Silence).fact("udp_lost_direction", format!("from the {}", Side::Server)),
    )
}
