//! `completed`, `established`, `capture_incomplete` on UDP.
//!
//! RDP-UDP has no goodbye that its clients use: a conversation simply stops when the session does. DTLS says close_notify.

use crate::capture::Span;
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{CAPTURE_INCOMPLETE, COMPLETED, ESTABLISHED};
use crate::diagnosis::rules::ordinary::{followed, until};
use crate::diagnosis::udp_case::{DEAD, UdpCase};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::transcript::{Depth, Phase, SealedKind};

fn confidence(case: &UdpCase<'_>) -> Confidence {
    if case.progress.inferred {
        Confidence::Possible
    } else {
        Confidence::Likely
    }
}

/// What was carried, in words.
fn carried(case: &UdpCase<'_>) -> String {
    let half = &case.t.udp.half;
    let lasted = human(case.t.ended().since(case.progress.entered));
    let lost: Vec<String> = Side::BOTH
        .into_iter()
        .filter_map(|side| Some((side, case.loss(side)?)))
        .filter(|(_, (lost, _))| *lost > 0)
        .map(|(side, (lost, total))| format!("{lost} of {total} from the {side}"))
        .collect();
    let lost = match lost.is_empty() {
        true => String::new(),
        false => format!("; its acknowledgments and numbers show as lost: {}", lost.join(", ")),
    };
    format!(
        "{} datagrams of the client and {} of the server, {lasted} of session{lost}",
        half.client.packets, half.server.packets
    )
}

/// Whether the gateway has said but one thing inside its DTLS: its yes or its no to the channel.
fn is_one_answer(case: &UdpCase<'_>) -> bool {
    let said = case
        .t
        .sealed()
        .filter(|(moment, sealed)| moment.side == Side::Server && sealed.kind == SealedKind::Application);
    case.is_gateway() && said.count() == 1 && case.t.heard.moments.iter().all(|moment| moment.depth == Depth::OUTER)
}

/// The session's end, or a goodbye on UDP itself.
pub fn ended(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Session {
        return None;
    }
    let (at, by, mechanism) = case.ordinary_end()?;
    // Who went on alone long before that had lost the other.
    if case
        .silence()
        .is_some_and(|silence| silence.count > 2 && !case.is_aftermath(silence.first.at))
    {
        return None;
    }
    let last = case.t.udp.last();
    let own = case.t.goodbye().filter(|moment| moment.at == at);
    let evidence = match (own, &case.t.heard.fin) {
        (Some(moment), _) => case.moment(moment, format!("the {} says goodbye (an encrypted alert)", moment.side)),
        (None, Some(fin)) => case.packet(fin, format!("the {} ends RDP-UDP (FIN)", fin.side)),
        (None, None) => case.packet(
            last,
            format!(
                "the last datagram, {} from the end of the session",
                human(Span(at.since(last.at).0.abs()))
            ),
        ),
    };
    // Both sides keep a living channel from falling silent; what ended long before the session did not end with it.
    let before = at.since(last.at);
    let (confidence, how) = if own.is_some() && is_one_answer(case) {
        let how = "came up and was closed after a single answer of the gateway, which may have refused the channel inside; the keys would tell";
        (Confidence::Possible, how.to_owned())
    } else if own.is_none() && case.t.heard.fin.is_none() && before >= DEAD {
        let how = format!(
            "worked, and fell silent {} before the session ended; why is not seen here",
            human(before)
        );
        (Confidence::Possible, how)
    } else {
        (confidence(case), "worked and ended with the session".to_owned())
    };
    let verdict = Verdict::new(
        &COMPLETED,
        confidence,
        Act::Nobody,
        format!("{} with {} {how}: {}", case.protocol(), case.server_label(), carried(case)),
        evidence,
    );
    Some(Finding::new(verdict, by, mechanism))
}

/// See the module.
pub fn judge(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Session || case.t.udp.half.client.packets == 0 || case.t.udp.half.server.packets == 0 {
        return None;
    }
    let last = case.t.udp.last();
    let left = case
        .t
        .udp
        .icmp
        .iter()
        .find(|icmp| icmp.about == Side::Server && icmp.from == case.t.client.ip());
    if let Some(icmp) = left {
        let verdict = Verdict::new(
            &COMPLETED,
            confidence(case),
            Act::Nobody,
            format!(
                "{} with {} worked until the client closed it: {}",
                case.protocol(),
                case.server_label(),
                carried(case)
            ),
            case.shows(icmp.no, icmp.at, "the client's host says that nobody listens any more"),
        );
        return Some(Finding::new(verdict, EndedBy::Client, Mechanism::Icmp));
    }
    if case.t.watched_after() >= DEAD {
        let verdict = Verdict::new(
            &COMPLETED,
            confidence(case),
            Act::Nobody,
            format!(
                "{} with {} worked and was given up by both sides: {}",
                case.protocol(),
                case.server_label(),
                carried(case)
            ),
            case.packet(
                last,
                format!("the last datagram; the capture goes on for {}", human(case.t.watched_after())),
            ),
        );
        return Some(Finding::new(verdict, EndedBy::Client, Mechanism::Silence));
    }
    let verdict = Verdict::new(
        &ESTABLISHED,
        confidence(case),
        Act::Nobody,
        format!(
            "{} with {} is up and alive {}: {}",
            case.protocol(),
            case.server_label(),
            until(case.t.window),
            carried(case)
        ),
        case.packet(last, "the last datagram of the conversation"),
    );
    let verdict = followed(verdict, case.t.window);
    Some(Finding::new(verdict, EndedBy::Open, Mechanism::None))
}

/// Too little is known.
pub fn incomplete(case: &UdpCase<'_>) -> Finding {
    let last = case.t.udp.last();
    let missing = if case.t.is_midstream() {
        "its beginning was not captured"
    } else if case.t.udp.half.client.packets == 0 {
        "nothing of the client was captured"
    } else {
        "the capture ends too soon after the last datagram"
    };
    let verdict = Verdict::new(
        &CAPTURE_INCOMPLETE,
        Confidence::Possible,
        Act::Nobody,
        format!(
            "the capture does not show how {} with {} fared: {missing}",
            case.protocol(),
            case.server_label()
        ),
        case.packet(last, "the last datagram of the conversation in this capture"),
    );
    Finding::new(verdict, EndedBy::Open, Mechanism::None)
}
