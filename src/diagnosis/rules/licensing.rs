//! `licensing_failed`: the server answers Client Info with a licensing error, or closes while licensing is under way.

use crate::capture::Span;
use crate::codes::{self, LICENSING};
use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::{LICENSING_FAILED, SERVER_DENIED};
use crate::diagnosis::close::Close;
use crate::diagnosis::rules::abort::first_goodbye;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::transcript::hidden::{Line, Said};
use crate::transcript::{Phase, SealedKind};

/// A client that was refused closes within this time; one that waits longer got no refusal, and nothing else either.
const AT_ONCE: Span = Span::secs(5);

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    let hidden = &case.progress.hidden;
    if let Some(line) = hidden.find(|line| matches!(line.said, Said::LicenseError(_)) && line.side == Side::Server) {
        return Some(stated(case, line));
    }
    if case.phase() != Phase::Licensing || hidden.find(|line| matches!(line.said, Said::SetErrorInfo(_))).is_some() {
        return None;
    }
    let info = hidden.find(|line| line.said == Said::ClientInfo)?;
    // What was said in a hole may have been a denial, or the session.
    if case
        .close
        .at(case.t)
        .is_some_and(|closed| case.has_hole(if info.inferred { case.after_tls() } else { info.at }, closed))
    {
        return None;
    }
    let message = hidden
        .last(|line| line.side == Side::Server && line.inferred && matches!(line.said, Said::LicenseDone(None) | Said::License));
    // The size of a licensing error is that of its good end, too; a server that goes on after it has refused nothing, and a client that then
    // leaves was sent elsewhere, or had enough.
    let goes_on = message.is_some_and(|line| {
        case.t.sealed().any(|(moment, sealed)| {
            moment.side == Side::Server && sealed.kind == SealedKind::Application && moment.frames.last > line.frames.last
        })
    });
    // What the server says once the client has closed answers that, however late the path delivers it.
    let client_first = first_goodbye(case);
    let first = |line: &Line| line.side == Side::Server && !client_first && case.close.follows(case.t, line.frames.last);
    let ultimatum = hidden.find(|line| first(line) && matches!(line.said, Said::Ultimatum(_)));
    // An ultimatum with nothing of licensing before it is a denial, whatever its reason.
    if ultimatum.is_some() && message.is_none() {
        return None;
    }
    let alert = hidden.find(|line| first(line) && matches!(line.said, Said::Alert(_)));
    let server_closed = matches!(case.close, Close::Fin { side: Side::Server, .. }) && !client_first;
    let gave_up = matches!(
        case.close,
        Close::Fin { side: Side::Client, .. } | Close::Reset { side: Side::Client, .. }
    ) && !goes_on
        && message
            .zip(case.close.at(case.t))
            .is_some_and(|(line, closed)| line.said == Said::LicenseDone(None) && closed.since(line.at) <= AT_ONCE);
    if ultimatum.is_none() && alert.is_none() && !server_closed && !gave_up {
        return None;
    }
    let spoke = message.is_some_and(|line| line.said == Said::LicenseDone(None));
    let (mechanism, shown) = match (spoke, ultimatum, alert) {
        (true, ..) => (Mechanism::Refusal, message.map(|line| case.line(line))),
        (false, Some(line), _) => (Mechanism::Refusal, Some(case.line(line))),
        (false, None, Some(line)) => (Mechanism::TlsAlert, Some(case.line(line))),
        (false, None, None) => (Mechanism::Fin, case.close_evidence()),
    };
    let summary = if spoke {
        format!(
            "{} sent a message of the size of a licensing error and the connection ended: nothing of the activation followed",
            case.host_label()
        )
    } else {
        format!(
            "{} took the client's information and closed the connection in licensing",
            case.host_label()
        )
    };
    let verdict = Verdict::new(&LICENSING_FAILED, Confidence::Likely, Act::Server, summary, shown?)
        .because(message.map(|line| case.line(line)))
        .because([case.line(info)])
        .because(ultimatum.or(alert).map(|line| case.line(line)))
        .because(case.close_evidence())
        .or(
            &SERVER_DENIED,
            "a host that lets nobody in at this time (drain mode, logons disabled, session limit) closes at the same place; its event log tells them apart",
        );
    Some(Finding::new(advice(verdict, case), EndedBy::Server, mechanism))
}

fn stated(case: &Case<'_>, line: &Line) -> Finding {
    let code = match line.said {
        Said::LicenseError(code) => code,
        _ => 0,
    };
    let known = codes::lookup(&LICENSING, code);
    let verdict = Verdict::new(
        &LICENSING_FAILED,
        Confidence::Certain,
        Act::Server,
        format!(
            "{} refused the connection in licensing: {}. {}",
            case.host_label(),
            codes::name(&LICENSING, code),
            known.map_or("", |known| known.meaning)
        ),
        case.line(line),
    )
    .because(case.close_evidence());
    let verdict = match known {
        Some(known) => known.remedy.iter().fold(verdict, |verdict, step| verdict.remedy(*step)),
        None => advice(verdict, case),
    };
    Finding::new(verdict, EndedBy::Server, Mechanism::Refusal).fact("licensing_code", format!("{code:#x}"))
}

fn advice(verdict: Verdict, case: &Case<'_>) -> Verdict {
    verdict
        .remedy(format!(
            "on {} run RD Licensing Diagnoser (lsdiag.msc): is a license server named and in reach, is the licensing mode set, is the grace period of 120 days over?",
            case.host_name()
        ))
        .remedy("check the license server: service running, client access licenses left, version not older than the host's")
        .remedy("if only one client is affected: rename HKLM\\SOFTWARE\\Microsoft\\MSLicensing on it and start its client once as administrator, so that it asks for a new license")
}
