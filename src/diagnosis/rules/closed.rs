//! `peer_reset` for a server that closes in the middle of the connection sequence without a word of why: neither a refusal, nor an error, nor
//! an ultimatum came before. A process that ends leaves a FIN where all was read that had arrived, and a RST where something was left; which
//! of the two is chance.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{NLA_LOGON_FAILED, PEER_RESET, PORT_CLOSED, SERVER_DENIED};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Verdict};
use crate::flow::Side;
use crate::transcript::{Phase, Role};

/// A listener that refuses so soon after the close has ended with it.
const WITH_IT: Span = Span::secs(10);

/// A server whose listener is gone right after: its service ended. How long anybody waited before does not matter then.
pub fn service_ended(case: &Case<'_>) -> Option<Finding> {
    let gone = refused_after(case)?;
    let mut finding = finding(case, vec![gone])?;
    finding.verdict.summary = format!(
        "{}: its listener refuses new connections right after, so that the service ended",
        finding.verdict.summary
    );
    finding.verdict = finding.verdict.or(
        &PORT_CLOSED,
        "what the user sees is the refusal of the next attempt: nothing listens any more",
    );
    Some(finding)
}

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    let (frame, at) = (case.close.frame(case.t)?, case.close.at(case.t)?);
    // What the client sends after the FIN finds no process any more.
    let no_reader = (case.t.tcp.resets.iter())
        .find(|reset| reset.seen.side == Side::Server && reset.seen.no > frame && reset.seen.at.since(at) <= WITH_IT);
    let shown = no_reader.map(|reset| {
        case.packet(
            &reset.seen,
            "the server's host has no reader any more for what the client still sends",
        )
    });
    finding(case, shown.into_iter().collect())
}

fn finding(case: &Case<'_>, more: Vec<Evidence>) -> Option<Finding> {
    let sequence = matches!(
        case.phase(),
        Phase::CredSsp | Phase::Mcs | Phase::Licensing | Phase::Activation
    );
    let (Close::Fin { side: Side::Server, .. }, Role::Rdp, true) = (&case.close, case.t.role, sequence) else {
        return None;
    };
    let host = case.server_label();
    let quiet = case.quiet_before_close().filter(|quiet| *quiet >= Span::millis(100));
    let verdict = Verdict::new(
        &PEER_RESET,
        if more.is_empty() {
            Confidence::Possible
        } else {
            Confidence::Likely
        },
        Act::Server,
        format!(
            "{host} closed the connection in phase {}{} without saying why: no refusal, no error and no ultimatum came before",
            case.phase(),
            quiet.map_or(String::new(), |quiet| format!(", {} after the last message,", human(quiet)))
        ),
        case.close_evidence()?,
    )
    .because(more)
    .because(
        case.t
            .moments
            .iter()
            .rev()
            .find(|moment| moment.side == Side::Client && Some(moment.at) <= case.close.at(case.t))
            .map(|moment| case.moment(moment, "the client's last message before it")),
    );
    let verdict = match case.phase() {
        Phase::CredSsp => verdict.or(
            &NLA_LOGON_FAILED,
            "a host that turns the logon down without an answer closes like this; Security event 4625 of this second tells",
        ),
        _ => verdict.or(
            &SERVER_DENIED,
            "a host that lets nobody in (drain mode, limit of connections) usually says so first; its event log of this second tells",
        ),
    };
    let verdict = verdict
        .remedy(format!(
            "on {}: did TermService or the session's process end at this second? `Get-WinEvent -LogName System -MaxEvents 200 | ? Id -in 7031,7034`, Application log event 1000; with xrdp its logs xrdp.log and xrdp-sesman.log",
            case.server_host()
        ))
        .remedy("if a load balancer or proxy stands before the host, look at its log of this second: it may have closed in the host's place");
    Some(Finding::new(verdict, EndedBy::Server, case.close.mechanism()))
}

/// The refusal of the client's next attempt by the same host.
fn refused_after(case: &Case<'_>) -> Option<Evidence> {
    let at = case.close.at(case.t)?;
    let (next, _) = (case.attempt.connections.iter())
        .find(|(other, _)| other.server == case.t.server && other.source == case.t.source && other.started() >= at)?;
    let reset = next.tcp.resets.first().filter(|reset| reset.seen.side == Side::Server)?;
    let refused = next.tcp.handshake.syn.is_some() && next.tcp.handshake.syn_ack.is_none();
    (refused && next.started().since(at) <= WITH_IT).then(|| {
        case.packet(
            &reset.seen,
            "the host answers the client's next SYN with a RST: the listener is gone",
        )
    })
}
