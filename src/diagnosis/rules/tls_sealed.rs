//! `tls_alert` under encryption: in TLS 1.3 a server that turns the client's certificate down, or finds fault with its last flight, can say
//! so only after the handshake is over for the client.

use crate::capture::Span;
use crate::codes::{self, TLS_ALERT as ALERTS};
use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::{NLA_LOGON_FAILED, TLS_ALERT};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::transcript::hidden::Said;
use crate::transcript::{Phase, SealedKind};

/// Whoever checks a certificate answers within this time, its revocation lists included.
const AT_ONCE: Span = Span::secs(20);

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if !matches!(case.phase(), Phase::CredSsp | Phase::Mcs) {
        return None;
    }
    let alert = case.progress.hidden.find(|line| line.side == Side::Server)?;
    let Said::Alert(content) = alert.said else { return None };
    // It only answers a client that has closed.
    if case.closed_by(Side::Client) && !case.close.follows(case.t, alert.frames.last) {
        return None;
    }
    // A server whose patience is over ends TLS with close_notify, which has the same size; a certificate is checked at once.
    let asked = case
        .t
        .finished(Side::Client)
        .map_or(case.progress.entered, |finished| finished.at);
    if alert.inferred && alert.at.since(asked) > AT_ONCE {
        return None;
    }
    // close_notify is no fault of the handshake.
    let description = match content {
        Some((_, 0)) => return None,
        Some((_, description)) => Some(description),
        None => None,
    };
    // A client that has said goodbye is answered with close_notify.
    if case
        .progress
        .hidden
        .find(|line| matches!(line.said, Said::Alert(_) | Said::Ultimatum(_)))
        .is_some_and(|line| line.side == Side::Client)
    {
        return None;
    }
    // With something of the server's before it, or a hole where that may have been, the alert answers the logon.
    let spoke = case.t.sealed().any(|(moment, sealed)| {
        moment.side == Side::Server && sealed.kind == SealedKind::Application && moment.frames.last < alert.frames.last
    });
    if spoke || case.has_hole(case.t.started(), alert.at) {
        return None;
    }
    let named = description.map(|description| codes::name(&ALERTS, u32::from(description)));
    let verdict = Verdict::new(
        &TLS_ALERT,
        if named.is_some() { Confidence::Certain } else { Confidence::Likely },
        Act::Client,
        match &named {
            Some(name) => format!("{} ended the connection right after the TLS handshake: {name}", case.server_label()),
            None => format!(
                "{} answered the end of the TLS handshake with a sealed alert and nothing else: it does not take the client's certificate, or that it has none",
                case.server_label()
            ),
        },
        case.shows(
            alert.frames.last,
            alert.at,
            match &named {
                Some(name) => format!("TLS alert under encryption: {name}"),
                None => "a sealed alert is the server's first and only word after the handshake".to_owned(),
            },
        ),
    )
    .because(case.close_evidence())
    .or(
        &NLA_LOGON_FAILED,
        "a server that does not take NLA from this client may answer its first message like this; with the TLS keys the alert's name tells",
    )
    .remedy("if the server asks for client certificates: enrol one that it trusts, or find out who asked for them on this listener")
    .remedy(format!("read Schannel's events on {} at this second (System log, 36874 to 36888)", case.server_host()));
    Some(Finding::new(verdict, EndedBy::Server, Mechanism::TlsAlert))
}
