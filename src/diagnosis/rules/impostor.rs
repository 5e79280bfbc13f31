//! `middlebox_reset` without a RST: a device ends the handshake with a FIN or with a TLS alert in a host's name.

use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::{MIDDLEBOX_RESET, NEGOTIATION_CLOSED_BY_SERVER, TLS_ALERT, TLS_CLOSED_BY_SERVER};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Cause, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Opening, Seen, Side};
use crate::forensics::impostor;
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::record::Version;
use crate::transcript::Phase;

/// See the module. In a session a proxy that closes for its host is nothing out of the ordinary.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if matches!(case.phase(), Phase::Tcp | Phase::Session) || case.t.tcp.opening != Opening::Handshake {
        return None;
    }
    let alert = fatal_alert(case);
    let fin = match case.close {
        Close::Fin { side, frame, .. } => packet(case, side, |seen| seen.no == frame),
        _ => None,
    };
    let alerted = alert
        .as_ref()
        .map(|(seen, words)| (*seen, words.as_str(), Mechanism::TlsAlert));
    let closed = fin.map(|seen| (seen, "a FIN", Mechanism::Fin));
    let (seen, what, mechanism, signs) = [alerted, closed]
        .into_iter()
        .flatten()
        .find_map(|(seen, what, mechanism)| Some((seen, what, mechanism, impostor::signs(case.t, seen)?)))?;
    let side = seen.side;
    let host = case.server_label();
    let otherwise: &Cause = match (case.phase(), mechanism) {
        (_, Mechanism::TlsAlert) => &TLS_ALERT,
        (Phase::X224, _) => &NEGOTIATION_CLOSED_BY_SERVER,
        _ => &TLS_CLOSED_BY_SERVER,
    };
    let verdict = Verdict::new(
        &MIDDLEBOX_RESET,
        Confidence::Likely,
        Act::Network,
        format!(
            "a device on the path ended the connection to {host} with {what} in the {side}'s name, which the {side} did not send"
        ),
        case.packet(seen, format!("{what} in the {side}'s name ends the connection")),
    )
    .because(signs.into_iter().map(|sign| case.shows(sign.frame, sign.at, sign.text)))
    .because(
        packet(case, side, |later| later.no > seen.no && later.ttl != seen.ttl)
            .map(|later| case.packet(later, format!("the {side} itself speaks after that, with TTL {}", later.ttl))),
    );
    let verdict = match side {
        Side::Server => verdict.or(
            otherwise,
            "a load balancer or proxy that answers for the host ends it for a reason of its own; a capture at the host shows whether this ever left it",
        ),
        Side::Client => verdict,
    };
    let verdict = verdict
        .remedy(format!(
            "ask the firewall team which device closes connections of {} to TCP {} at this time; its log of that second names the rule or signature",
            case.t.client.ip(),
            case.t.server.port()
        ))
        .remedy(format!(
            "let that device pass RDP and TLS on TCP {} for this pair (intrusion prevention, application control, TLS inspection and web filters are the usual rules)",
            case.t.server.port()
        ))
        .remedy(format!(
            "to prove it: capture at the {side} at the same time; what arrives here and never left there was made in between"
        ));
    Some(Finding::new(verdict, EndedBy::Middlebox, mechanism))
}

/// The packet of the first fatal alert in clear, and the alert in words.
fn fatal_alert<'a>(case: &Case<'a>) -> Option<(&'a Seen, String)> {
    let version = case.t.server_hello().map_or(Version::TLS12, |(_, hello)| hello.version());
    let (moment, alert) = case
        .t
        .alerts()
        .find(|(_, alert)| alert.is_fatal(version) && alert.description != Alert::CLOSE_NOTIFY)?;
    let seen = packet(case, moment.side, |seen| seen.no == moment.frames.last)?;
    Some((seen, format!("a fatal TLS alert ({alert})")))
}

/// The first remembered packet of a side that `is_it`.
fn packet<'a>(case: &Case<'a>, side: Side, is_it: impl Fn(&Seen) -> bool) -> Option<&'a Seen> {
    case.t.tcp.log.iter().find(|seen| seen.side == side && is_it(seen))
}
