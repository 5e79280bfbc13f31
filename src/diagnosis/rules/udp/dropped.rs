//! `udp_dropped`: it was up, and then one or both directions stopped arriving; or only its large datagrams never arrive.
//!
//! Every side of RDP-UDP acknowledges what it hears within a fifth of a second, on the gateway's DTLS as well. So a side that sends on
//! and on and hears nothing has lost the other. Who only listens for longer than before is not lost: the run without an answer must be
//! longer than any that was answered.

use crate::capture::Span;
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{DTLS_FAILED, NAT_MAPPING_LOST, PATH_LOSS, UDP_DROPPED};
use crate::diagnosis::rules::udp::{advice, rejected};
use crate::diagnosis::udp_case::{UdpCase, UdpSilence};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::forensics::udp_timers;
use crate::protocol::tls::handshake::HandshakeType;
use crate::transcript::Phase;

/// So many datagrams without an answer are no accident.
const UNANSWERED: u64 = 3;
/// Where nothing shows what wants an answer, it takes more of them.
const SEALED: u64 = 5;
/// A handshake repeats itself from half a second on.
const REPEATED: Span = Span::millis(900);
/// In a session answers come within this time; the slowest acknowledgment is held back for 200 ms.
const SILENT: Span = Span::secs(2);
/// Data that were sent so often and never acknowledged are lost for good.
const ATTEMPTS: u32 = 3;
/// A datagram of this size is a large one: it does not fit through tunnels as small ones do.
const LARGE: u32 = 900;
/// A datagram of this size needs the whole of an ordinary path.
const FULL: u32 = 1_200;
/// Of so many datagrams a loss of half is no accident, and nothing that a session can use.
const MANY: u64 = 30;

/// A direction, in words.
fn from(side: Side) -> String {
    format!("from the {side} to the {}", side.other())
}

/// What times are counted from, in words.
fn begun(case: &UdpCase<'_>) -> &'static str {
    match case.t.is_midstream() {
        true => "its first datagram here",
        false => "it had begun",
    }
}

/// Only large datagrams vanish.
pub fn by_size(case: &UdpCase<'_>) -> Option<Finding> {
    acknowledged_by_size(case)
        .or_else(|| missing_by_size(case))
        .or_else(|| flight_by_size(case))
}

/// Seen from where they do not arrive: a hole that no repetition fills, while later and smaller datagrams come.
fn missing_by_size(case: &UdpCase<'_>) -> Option<Finding> {
    let (side, stalled) = Side::BOTH
        .into_iter()
        .filter_map(|side| Some((side, case.t.heard.stalled[side]?)))
        .find(|(side, stalled)| {
            // Only data count: the SYN+ACK says what the path carried once, in the handshake.
            let longest = case.t.heard.ledger[*side].largest;
            u64::from(stalled.count) >= UNANSWERED
                && stalled.last.at.since(stalled.first.at) >= SILENT
                && stalled.largest < longest
                && !case.is_aftermath(stalled.first.at)
        })?;
    let summary = case.summary(format!(
        "large datagrams {} vanish while small ones pass: data are missing for {} and no repetition of them arrives, while {} datagrams of \
         up to {} bytes do. The path's MTU is too small for UDP on this way",
        from(side),
        human(stalled.last.at.since(stalled.first.at)),
        stalled.count,
        stalled.largest
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.packet(&stalled.first, "what was sent before this datagram is missing"),
    )
    .because([case.packet(
        &stalled.last,
        format!("the {}th datagram after the hole; nothing has filled it", stalled.count),
    )]);
    Some(sized(case, verdict, side, stalled.largest + 1, stalled.largest))
}

/// RDP-UDP's own acknowledgments: small datagrams arrive after large ones that never do.
fn acknowledged_by_size(case: &UdpCase<'_>) -> Option<Finding> {
    let (side, stuck) = Side::BOTH
        .into_iter()
        .filter_map(|side| Some((side, case.t.heard.ledger[side].stuck(ATTEMPTS, SILENT)?)))
        .find(|(_, stuck)| stuck.arrived_after >= 2 && stuck.largest_arrived > 0 && stuck.largest_arrived < stuck.shortest)?;
    let summary = case.summary(format!(
        "large datagrams {} vanish while small ones pass: {} bytes and more never arrive, {} bytes do. The path's MTU is too small for UDP on this way",
        from(side),
        stuck.shortest,
        stuck.largest_arrived
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.shows(
            stuck.first.no,
            stuck.first.at,
            format!("the {side} sends data that are never acknowledged"),
        ),
    )
    .because([case.shows(
        stuck.last.no,
        stuck.last.at,
        format!(
            "the same data for the {}th time; meanwhile {} smaller datagrams were acknowledged",
            stuck.attempts, stuck.arrived_after
        ),
    )]);
    Some(sized(case, verdict, side, stuck.shortest, stuck.largest_arrived))
}

/// Both sides repeat themselves in a DTLS handshake: one of them has not got what the other one answers with.
pub fn flight(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Dtls || !case.t.heard.is_dtls || case.t.is_midstream() {
        return None;
    }
    let heard = &case.t.heard;
    let repeats = |side: Side| heard.repeats.iter().filter(move |repeat| repeat.seen.side == side);
    let (mine, theirs) = (repeats(Side::Client), repeats(Side::Server));
    if mine.clone().count() < 2 || theirs.clone().count() < 2 {
        return None;
    }
    // A client that repeats its ClientHello has not got the server's flight; one that repeats what answers this flight is not heard.
    let asks = mine.clone().all(|repeat| repeat.kind == Some(HandshakeType::CLIENT_HELLO));
    let side = if asks { Side::Server } else { Side::Client };
    let (first, last) = (repeats(side).next()?, repeats(side).next_back()?);
    let other = repeats(side.other()).next_back()?;
    if last.seen.at.since(first.seen.at) < REPEATED || case.is_aftermath(first.seen.at) {
        return None;
    }
    let (largest, passed) = (heard.largest_flight[side], heard.largest_flight[side.other()]);
    let summary = case.summary(format!(
        "the DTLS handshake with {} loses one direction: the {side}'s answers do not arrive at the {}, whose own datagrams pass",
        case.server_label(),
        side.other()
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.packet(
            &last.seen,
            format!(
                "the {side} repeats its flight, {} datagrams in all; the longest has {largest} bytes",
                repeats(side).count()
            ),
        ),
    )
    .because([case.packet(
        &other.seen,
        format!(
            "the {} repeats what this flight answers: it has not got it; its own datagrams of up to {passed} bytes pass",
            side.other()
        ),
    )]);
    let verdict = case.with_story(verdict).or(
        &DTLS_FAILED,
        "a device that looks into the handshake may drop exactly these datagrams; a capture at the other end tells which ones arrive",
    );
    let verdict = advice::open_the_way(case, advice::bypass(case, verdict));
    Some(
        Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
            .fact("udp_lost_direction", from(side))
            .fact("udp_unanswered_size_max", largest),
    )
}

/// More than half of a side's datagrams are lost: what is left is no session.
pub fn heavy_loss(case: &UdpCase<'_>) -> Option<Finding> {
    let (side, (lost, total)) = Side::BOTH
        .into_iter()
        .filter_map(|side| Some((side, case.loss(side)?)))
        .find(|(_, (lost, total))| *total >= MANY && lost * 2 > *total)?;
    if case.phase() != Phase::Session || case.t.is_midstream() {
        return None;
    }
    let other = case.loss(side.other()).unwrap_or_default();
    let last = case.t.udp.last();
    let reported = case.t.heard.vectors.1.unwrap_or(*last);
    let summary = case.summary(format!(
        "most datagrams {} are lost: {lost} of {total}; in the other direction {} of {}. The channel is up, and useless",
        from(side),
        other.0,
        other.1
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        Confidence::Possible,
        Act::Network,
        summary,
        case.packet(&reported, "the first ACK vector that reports datagrams as missing"),
    )
    .because([case.packet(last, "the last datagram of the conversation; the loss goes on up to here")]);
    let verdict = case.with_story(verdict).or(
        &PATH_LOSS,
        "a link that loses packets of every kind shows the same; TCP beside it then repeats itself as well",
    );
    let verdict = verdict.remedy(format!(
        "look for a policer, a rate limit or a quality-of-service class for UDP {} between {} and {}: it drops what exceeds its rate",
        case.t.server.port(),
        case.t.client.ip(),
        case.t.server.ip()
    ));
    let verdict = advice::prove(verdict);
    Some(Finding::new(verdict, EndedBy::Path, Mechanism::Silence).fact("udp_lost_direction", from(side)))
}

/// A DTLS flight whose large datagrams never arrive.
fn flight_by_size(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Dtls || !case.t.heard.is_dtls {
        return None;
    }
    let heard = &case.t.heard;
    let repeats = |side: Side| heard.repeats.iter().filter(move |repeat| repeat.seen.side == side);
    // Seen from where they do not arrive: parts of a flight come through, and always the same ones are missing.
    for side in Side::BOTH {
        let holes = heard.holes[side];
        let again = repeats(Side::Client).count() + repeats(Side::Server).count();
        let arrived = case.t.udp.half[side].largest;
        // What arrives must be small, or its size explains nothing.
        if holes > 0 && again >= 2 && arrived < FULL {
            let repeat = repeats(side).next_back().or(repeats(side.other()).next_back())?;
            let summary = case.summary(format!(
                "large datagrams {} vanish while small ones pass: {holes} messages of the {side}'s DTLS handshake never arrive whole, and what \
                 arrives is not longer than {arrived} bytes. The path's MTU is too small for UDP on this way",
                from(side)
            ));
            let verdict = Verdict::new(
                &UDP_DROPPED,
                Confidence::Likely,
                Act::Network,
                summary,
                case.packet(
                    &repeat.seen,
                    "the handshake repeats itself, and the same messages are missing again",
                ),
            );
            return Some(sized(case, verdict, side, arrived + 1, arrived));
        }
    }
    // Seen from where they are sent: the flight is repeated, and the other side repeats what came before it.
    let side = Side::BOTH
        .into_iter()
        .find(|side| heard.largest_flight[*side] >= LARGE && repeats(*side).count() >= 2 && repeats(side.other()).count() >= 2)?;
    let repeat = repeats(side).next_back()?;
    let theirs = repeats(side.other()).next_back()?;
    // Something small of this side was understood before, or the other one would not have come so far.
    let understood = case.t.udp.log.iter().find(|seen| seen.side == side && seen.len < LARGE)?;
    let large = heard.largest_flight[side];
    let summary = case.summary(format!(
        "large datagrams {} vanish while small ones pass: the {side}'s DTLS flight with datagrams of {large} bytes never arrives whole. The \
         path's MTU is too small for UDP on this way",
        from(side)
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        Confidence::Likely,
        Act::Network,
        summary,
        case.packet(&repeat.seen, format!("the {side} repeats its flight")),
    )
    .because([
        case.packet(
            &theirs.seen,
            format!("the {} repeats what the flight answers: it has not got it", side.other()),
        ),
        case.packet(
            understood,
            format!("a datagram of {} bytes was understood before", understood.len),
        ),
    ]);
    Some(sized(case, verdict, side, large, understood.len))
}

fn sized(case: &UdpCase<'_>, verdict: Verdict, side: Side, lost: u32, arrived: u32) -> Finding {
    let mtu = case.t.udp.icmp.iter().find(|icmp| icmp.message.mtu.is_some());
    let verdict = case.with_story(verdict).because(mtu.map(|icmp| {
        let next = icmp.message.mtu.unwrap_or_default();
        case.shows(
            icmp.no,
            icmp.at,
            format!("ICMP packet too big from {}: its next hop takes {next} bytes", icmp.from),
        )
    }));
    let verdict = verdict.or(
        &DTLS_FAILED,
        "a device that looks into the handshake may drop exactly these datagrams; the same size of other content tells",
    );
    let verdict = advice::size(case, advice::bypass(case, verdict), lost);
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
        .fact("lost_size_min", lost)
        .fact("arrived_size_max", arrived)
        .fact("udp_lost_direction", from(side))
}

/// A side goes on, and the other is heard no more.
pub fn alone(case: &UdpCase<'_>) -> Option<Finding> {
    let silence = case.silence()?;
    let UdpSilence {
        waiting,
        first,
        last,
        count,
        last_of_other,
        idle,
        largest,
    } = silence;
    let lasted = last.at.since(first.at);
    let half = &case.t.udp.half[waiting];
    let session = case.phase() == Phase::Session;
    // DTLS alone does not show whether anything wants an answer: here the other side must have kept up before.
    let must_answer = case.t.is_rdp_udp() && !case.t.is_midstream();
    let beyond = if must_answer {
        count > half.most_alone && lasted > half.longest_alone
    } else {
        count >= SEALED && lasted > Span(half.longest_alone.0.saturating_mul(2))
    };
    let spoke = !session || must_answer || last_of_other.at > case.progress.entered;
    // Where the capture begins in the session the other side had spoken in it before, and how is not known.
    let heard = spoke || case.t.is_midstream();
    let enough = if session {
        count >= UNANSWERED && lasted >= SILENT && beyond && heard
    } else {
        (count >= UNANSWERED && lasted >= REPEATED) || (count >= 2 && lasted >= REPEATED && case.t.watched_after() >= SILENT)
    };
    if !enough || case.is_aftermath(first.at) {
        return None;
    }
    // A client that closes the session leaves the host alone, too; without TCP in the capture that cannot be told apart.
    let left = session && waiting == Side::Server && case.attempt.beside(case.t).is_none();
    let other = waiting.other();
    let after = last_of_other.at.since(case.t.started());
    let refusal = case
        .t
        .udp
        .icmp
        .iter()
        .filter(|icmp| icmp.about == waiting && icmp.at >= first.at)
        .find_map(|icmp| rejected::meaning(&icmp.message).map(|words| (icmp, words)));
    let when = match (session, idle) {
        (true, Some(idle)) => format!("after {} in which neither side sent anything", human(idle)),
        (true, None) => format!("{} after {}", human(after), begun(case)),
        (false, _) => format!("in the {} handshake, after the first answers", case.phase_words()),
    };
    let summary = case.summary(format!(
        "{} fell silent {when}: nothing of the {other} arrives any more, while the {waiting} sends {count} datagrams in {}",
        case.server_label(),
        human(lasted)
    ));
    let verdict = Verdict::new(
        &UDP_DROPPED,
        if count >= UNANSWERED && !left && spoke {
            Confidence::Likely
        } else {
            Confidence::Possible
        },
        Act::Network,
        summary,
        case.packet(
            &last_of_other,
            format!("the last datagram of the {other}, {} bytes", last_of_other.len),
        ),
    )
    .because([
        case.packet(
            &first,
            format!("the first datagram of the {waiting} without an answer, {} bytes", first.len),
        ),
        case.packet(
            &last,
            format!(
                "the last of {count}; the longest has {largest} bytes. The direction {} is the silent one here; whether the other one still \
                 carries anything, a capture at the {other} tells",
                from(other)
            ),
        ),
    ])
    .because(refusal.map(|(icmp, words)| {
        case.shows(
            icmp.no,
            icmp.at,
            format!(
                "{} tells the {waiting}: {words}. It knows the conversation no more",
                icmp.from
            ),
        )
    }));
    let verdict = timers(case, case.with_story(verdict), &silence);
    let verdict = case.felt(verdict, &first, &last);
    let verdict = one_place(case, verdict, &silence);
    let verdict = advice::open_the_way(case, advice::bypass(case, verdict));
    let verdict = match case.phase() {
        Phase::Dtls => verdict.or(
            &DTLS_FAILED,
            "a host that cannot take the handshake, for want of a certificate or a version, may say nothing, and so may a device that looks into it",
        ),
        _ => verdict,
    };
    let arrived = case.t.udp.half[other].largest;
    let (by, mechanism) = match refusal {
        Some((icmp, _)) if icmp.from != case.t.client.ip() && icmp.from != case.t.server.ip() => {
            (EndedBy::Middlebox, Mechanism::Icmp)
        }
        _ => (EndedBy::Path, Mechanism::Silence),
    };
    Some(
        Finding::new(verdict, by, mechanism)
            .fact("udp_silent_side", other)
            .fact("udp_lost_direction", from(other))
            .fact("udp_unanswered_size_max", largest)
            .fact("udp_arrived_size_max", arrived)
            .fact("udp_unanswered", count)
            .fact("udp_silent_s", format!("{:.2}", lasted.as_secs_f64()))
            .fact("udp_up_s", format!("{:.2}", after.as_secs_f64())),
    )
}

/// What a single place cannot tell.
fn one_place(case: &UdpCase<'_>, verdict: Verdict, silence: &UdpSilence) -> Verdict {
    let tcp_went_on = case.attempt.beside(case.t).is_some_and(|(tcp, _)| {
        tcp.tcp.half[silence.waiting.other()]
            .last
            .is_some_and(|seen| seen.at > silence.first.at)
    });
    if tcp_went_on {
        verdict
    } else {
        verdict.or(
            &PATH_LOSS,
            "nothing else of the silent side is seen after that: it, or the whole way to it, may be gone, TCP included",
        )
    }
}

/// An idle time before the silence, against the timers of known devices.
fn timers(case: &UdpCase<'_>, verdict: Verdict, silence: &UdpSilence) -> Verdict {
    let Some(idle) = silence.idle else {
        return verdict.or(
            &NAT_MAPPING_LOST,
            "a NAT or firewall that restarts or fails over forgets its mappings without an idle time",
        );
    };
    let fitting = udp_timers::fitting(case.t.udp.survived, idle);
    let names: Vec<String> = fitting
        .iter()
        .take(4)
        .map(|timer| format!("{} ({} s)", timer.device, timer.lives.0 / 1_000_000_000))
        .collect();
    let survived = match case.t.udp.survived.filter(|span| *span >= Span::secs(1)) {
        Some(survived) => format!("it had survived {} before", human(survived)),
        None => "no idle time before is known to have been survived".to_owned(),
    };
    let known = match names.is_empty() {
        true => String::new(),
        false => format!("; defaults that fit: {}", names.join(", ")),
    };
    verdict
        .because([case.packet(
            &silence.first,
            format!("sent after an idle time of {}; {survived}{known}", human(idle)),
        )])
        .or(
            &NAT_MAPPING_LOST,
            "a NAT or firewall has forgotten the silent UDP conversation; its table and its UDP time-out tell",
        )
        .remedy(format!(
            "raise the UDP time-out of the NAT or firewall above {} (RFC 4787 asks for two minutes at least, and for five by default)",
            human(idle)
        ))
}

/// Both sides speak, and one of them acknowledges nothing: one direction is lost.
pub fn one_way(case: &UdpCase<'_>) -> Option<Finding> {
    let (side, stuck) = Side::BOTH
        .into_iter()
        .filter_map(|side| Some((side, case.t.heard.ledger[side].stuck(ATTEMPTS, REPEATED)?)))
        .find(|(side, stuck)| {
            let other = case.t.udp.half[side.other()].last;
            stuck.arrived_after == 0 && other.is_some_and(|seen| seen.at > stuck.first.at)
        })?;
    if case.is_aftermath(stuck.first.at) {
        return None;
    }
    let other = case.t.udp.half[side.other()].last?;
    let up = stuck.first.at.since(case.t.started());
    let summary = case.summary(format!(
        "{} lost one direction {} after {}: nothing arrives any more {}, while the {} is still heard",
        case.server_label(),
        human(up),
        begun(case),
        from(side),
        side.other()
    ));
    // Without the handshake the numbers are read as what they must be, and nothing proves it.
    let confidence = if case.t.is_midstream() {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    let verdict = Verdict::new(
        &UDP_DROPPED,
        confidence,
        Act::Network,
        summary,
        case.shows(
            stuck.first.no,
            stuck.first.at,
            format!("the {side} sends data that are never acknowledged"),
        ),
    )
    .because([
        case.shows(
            stuck.last.no,
            stuck.last.at,
            format!("the same data for the {}th time", stuck.attempts),
        ),
        case.packet(&other, format!("the {} goes on, and acknowledges none of them", side.other())),
    ]);
    let verdict = case.with_story(verdict);
    let verdict = match case.t.udp.log.iter().find(|seen| seen.no == stuck.first.no) {
        Some(first) => case.felt(verdict, first, &other),
        None => verdict,
    };
    let verdict = verdict.or(
        &NAT_MAPPING_LOST,
        "a NAT that has forgotten the mapping still lets the side through that is inside of it",
    );
    let verdict = advice::open_the_way(case, advice::bypass(case, verdict));
    Some(
        Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
            .fact("udp_lost_direction", from(side))
            .fact("udp_unanswered_size_min", stuck.shortest)
            .fact("udp_up_s", format!("{:.2}", up.as_secs_f64())),
    )
}
