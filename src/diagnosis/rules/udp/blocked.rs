//! `udp_blocked`: requests that are never answered, or whose answers do not come through.
//!
//! RDP-UDP clients repeat their SYN after 3.5 and 2.7 s and give up after the third; DTLS doubles its time from one second on. One
//! request alone is no proof: an answer may come after the end of the capture.

use crate::capture::{Span, Timestamp};
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{UDP_BLOCKED, UDP_REJECTED};
use crate::diagnosis::rules::udp::{advice, rejected};
use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Seen, Side};
use crate::transcript::Phase;

/// A request that was sent twice has waited for this long at least.
const WAITED: Span = Span::millis(900);
/// A lone request may still be answered within this time: the slowest client repeats it after 3.5 s.
const LONE: Span = Span::secs(5);
/// So many repetitions are listed one by one.
const SHOWN: usize = 6;
/// A timer is known by its value to this.
const NEAR: Span = Span::millis(400);

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
    // Who goes on from its first message has got an answer, which this capture does not hold.
    let asks = match case.t.is_rdp_udp() {
        true => case.t.heard.opening.opened.is_none() && case.t.heard.opening.is_all(count),
        false => case.t.heard.latest_message.client == Some(0),
    };
    if !asks {
        return None;
    }
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
    let summary = case.summary(format!("{} never answers: {times}", case.peer_label()));
    let cut = case.t.udp.icmp_cut.as_ref();
    let confidence = if count >= 2 && cut.is_none() {
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
    .because((count > 1).then(|| {
        case.packet(
            last,
            format!("the last of {count}, {} after the first{}", human(over), gaps(case)),
        )
    }))
    .because(cut.map(|icmp| {
        case.shows(
            icmp.no,
            icmp.at,
            format!(
                "an ICMP error from {} comes right after a request ({}), and the snap length has cut what it is about: it may refuse this one",
                icmp.from,
                rejected::meaning(&icmp.message).unwrap_or("of another kind")
            ),
        )
    }))
    .because(case.sibling().map(|sibling| {
        case.packet(
            sibling.udp.last(),
            format!(
                "another UDP conversation with {} from port {} works: the port is open, and this one alone is lost",
                case.t.server,
                sibling.client.port()
            ),
        )
    }));
    let verdict = case.with_story(verdict);
    let verdict = felt(case, verdict, over, (first, last));
    let verdict = verdict.or(
        &UDP_REJECTED,
        "the host may have no UDP listener while a filter swallows its ICMP answer; a capture on the host shows whether the datagrams arrive",
    );
    let verdict = match case.sibling() {
        Some(_) => advice::one_flow(case, verdict),
        None => advice::open_the_way(case, verdict),
    };
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

/// The times between the repetitions, which tell who sent them.
fn gaps(case: &UdpCase<'_>) -> String {
    let sent: Vec<Timestamp> = match case.t.is_rdp_udp() {
        true => case.t.heard.opening.syns.iter().map(|syn| syn.seen.at).collect(),
        false => {
            let log = case.t.udp.log.iter().filter(|seen| seen.side == Side::Client);
            log.map(|seen| seen.at).collect()
        }
    };
    let gaps: Vec<Span> = sent
        .windows(2)
        .filter_map(|pair| Some(pair.get(1)?.since(*pair.first()?)))
        .collect();
    if gaps.is_empty() || gaps.len() > SHOWN {
        return String::new();
    }
    let near = |gap: Option<&Span>, millis: i64| gap.is_some_and(|gap| (gap.0 - Span::millis(millis).0).abs() <= NEAR.0);
    let whose = if case.t.is_rdp_udp() && gaps.len() == 2 && near(gaps.first(), 3_500) && near(gaps.get(1), 2_700) {
        ", as a Windows client repeats its SYN before it gives up"
    } else if !case.t.is_rdp_udp() && near(gaps.first(), 1_000) {
        ", as DTLS doubles its waiting time"
    } else {
        ""
    };
    let words: Vec<String> = gaps.iter().map(|gap| human(*gap)).collect();
    format!(" (repeated after {}{whose})", words.join(", "))
}

/// What the user notices: nothing but a slower connection, where TCP goes on.
fn felt(case: &UdpCase<'_>, verdict: Verdict, over: Span, (first, last): (&Seen, &Seen)) -> Verdict {
    if !case.beside().is_some_and(|beside| beside.works) {
        return verdict;
    }
    let after = "less fluent video and sound afterwards";
    let (seen, text) = match case.tcp_goes_on(first.at) {
        Some(seen) if seen.at < last.at => (
            seen,
            format!(
                "TCP goes on {} after the first request, while the client still tries UDP for {}: the user notices no more delay than that, and {after}",
                human(seen.at.since(first.at)),
                human(over)
            ),
        ),
        Some(seen) => (
            seen,
            format!(
                "the client tries UDP for {} and then stays on TCP, which goes on {} after the first request: the user notices a delay of that \
                 length at most, and {after}",
                human(over),
                human(seen.at.since(first.at))
            ),
        ),
        None => (
            last,
            format!(
                "the client tried for {} and stayed on TCP: the user notices a delay of that length at most, and {after}",
                human(over)
            ),
        ),
    };
    verdict.because([case.packet(seen, text)])
}

/// The server answers, and the client goes on asking.
fn answers_lost(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::UdpHandshake {
        return first_flight_lost(case);
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
    Some(lost_answers(case, verdict))
}

fn lost_answers(case: &UdpCase<'_>, verdict: Verdict) -> Finding {
    let verdict = advice::open_the_way(case, case.with_story(verdict));
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence).fact(
        "udp_lost_direction",
        format!("from the {} to the {}", Side::Server, Side::Client),
    )
}

/// The same for DTLS by itself: the client never gets beyond its first message, although the server answers it.
fn first_flight_lost(case: &UdpCase<'_>) -> Option<Finding> {
    let heard = &case.t.heard;
    if case.t.is_rdp_udp() || heard.latest_message.client != Some(0) {
        return None;
    }
    let answer = case.t.udp.half.server.first?;
    let mut again = heard
        .repeats
        .iter()
        .filter(|repeat| repeat.seen.side == Side::Client && repeat.seen.at > answer.at);
    let (first, last) = (again.next()?, again.next_back()?);
    if last.seen.at.since(first.seen.at) < WAITED || case.is_aftermath(answer.at) {
        return None;
    }
    let summary = case.summary(format!(
        "the answers of {} do not reach the client: {} leave, and the client repeats its ClientHello",
        case.server_label(),
        case.t.udp.half.server.packets
    ));
    let verdict = Verdict::new(
        &UDP_BLOCKED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.packet(&answer, format!("the server answers with {} bytes", answer.len)),
    )
    .because([case.packet(
        &last.seen,
        "the client sends the same ClientHello again after that: it has not got the answer",
    )]);
    Some(lost_answers(case, verdict))
}
