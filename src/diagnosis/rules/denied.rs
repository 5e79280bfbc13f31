//! `server_denied`, `session_closed_by_server`: Set Error Info, a negative MCS result or a Disconnect Provider Ultimatum before the
//! session is up; and a session that the server ends with an error, or without a word.

use crate::codes::{self, ERRINFO, GATEWAY, MCS_RESULT};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{COMPLETED, LICENSING_FAILED, MIDDLEBOX_RESET, SERVER_DENIED, SESSION_CLOSED_BY_SERVER};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Opening, Side};
use crate::transcript::Phase;
use crate::transcript::hidden::{Line, Said, phase_of};

/// Set Error Info codes that people cause on purpose: disconnected or logged off by the user.
const ORDINARY: [u32; 3] = [0x0, 0xB, 0xC];

/// A server that says no before the session is up.
pub fn denied(case: &Case<'_>) -> Option<Finding> {
    if !(Phase::Mcs..Phase::Session).contains(&case.phase()) {
        return None;
    }
    let hidden = &case.progress.hidden;
    let by_server = |wanted: fn(Said) -> bool| hidden.find(move |line| line.side == Side::Server && wanted(line.said));
    if let Some(line) = by_server(|said| {
        matches!(
            said,
            Said::ConnectResponse(Some(1..)) | Said::AttachConfirm(Some(1..)) | Said::JoinConfirm(Some(1..))
        )
    }) {
        return Some(turned_down(case, line));
    }
    let error = by_server(|said| matches!(said, Said::SetErrorInfo(code) if code != Some(0)));
    let ultimatum = by_server(|said| matches!(said, Said::Ultimatum(_)));
    // The server that is told goodbye may say so, too.
    let first = hidden.find(|line| matches!(line.said, Said::Ultimatum(_) | Said::SetErrorInfo(Some(1..) | None)))?;
    let line = error.or(ultimatum).filter(|_| first.side == Side::Server)?;
    let redirected = by_server(|said| said == Said::Redirection);
    if redirected.is_some() {
        return None;
    }
    let code = match line.said {
        Said::SetErrorInfo(code) => code,
        _ => None,
    };
    // An end that comes behind a hole may be that of a session whose beginning is in the hole.
    let before = hidden.last(|before| before.at <= line.at && phase_of(before.said).is_some());
    // What sizes tell rests on every record before.
    let known_since = before.filter(|_| !line.inferred).map_or(case.after_tls(), |before| before.at);
    // So may one in a connection of whose sequence nothing was captured: every logoff is announced with the same words.
    let headless = before.is_none() && case.t.tcp.opening == Opening::MidStream;
    if code.is_none_or(|code| ORDINARY.contains(&code)) && (headless || case.has_hole(known_since, line.at)) {
        return None;
    }
    let known = code.and_then(|code| codes::lookup(&ERRINFO, code));
    let host = case.host_label();
    let phase = case.phase();
    let summary = match (code, line.said) {
        (Some(code), _) => format!(
            "{host} refused the connection in {phase}: {}. {}",
            codes::name(&ERRINFO, code),
            known.map_or("", |known| known.meaning)
        ),
        (None, Said::SetErrorInfo(_)) => {
            format!("{host} refused the connection in {phase} with Set Error Info; TLS hides the code")
        }
        _ => format!("{host} ended the connection in {phase} with MCS Disconnect Provider Ultimatum"),
    };
    let confidence = if line.inferred {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let mut verdict = Verdict::new(&SERVER_DENIED, confidence, Act::Server, summary, case.line(line))
        .because(ultimatum.map(|line| case.line(line)))
        .because(case.close_evidence());
    if phase == Phase::Licensing && code.is_none() {
        verdict = verdict.or(
            &LICENSING_FAILED,
            "Windows announces licensing errors in the same way; the code, or the host's RD Licensing Diagnoser, tells them apart",
        );
    }
    let verdict = match known {
        Some(known) => known.remedy.iter().fold(verdict, |verdict, step| verdict.remedy(*step)),
        None => verdict
            .remedy(format!(
                "on {} look at the logs TerminalServices-RemoteConnectionManager and -LocalSessionManager (Operational) at this second; with xrdp at xrdp.log and xrdp-sesman.log",
                case.host_name()
            ))
            .remedy("check that logons are enabled (change logon /query), that the host is not in drain mode, and that no session limit is reached")
            .remedy("check that the user is in \"Remote Desktop Users\" and that licensing is in order (lsdiag.msc)"),
    };
    let finding = Finding::new(verdict, EndedBy::Server, Mechanism::Refusal);
    Some(match code {
        Some(code) => finding.fact("error_info", format!("{code:#x}")),
        None => finding,
    })
}

fn turned_down(case: &Case<'_>, line: &Line) -> Finding {
    let (what, result) = match line.said {
        Said::ConnectResponse(result) => ("the MCS connection", result),
        Said::AttachConfirm(result) => ("the user's attachment to MCS", result),
        _ => (
            "a virtual channel",
            match line.said {
                Said::JoinConfirm(result) => result,
                _ => None,
            },
        ),
    };
    let code = u32::from(result.unwrap_or_default());
    let verdict = Verdict::new(
        &SERVER_DENIED,
        Confidence::Certain,
        Act::Server,
        format!("{} turned {what} down: {}", case.host_label(), codes::name(&MCS_RESULT, code)),
        case.line(line),
    )
    .because(case.close_evidence())
    .remedy(
        "update both sides; a client that asks for unusual channels or settings may be turned down: try one without redirections",
    );
    Finding::new(verdict, EndedBy::Server, Mechanism::Refusal).fact("mcs_result", code)
}

/// The announcement with an error code that ends a session.
pub(super) fn announced_error(case: &Case<'_>) -> Option<(u32, Line)> {
    let line = case
        .progress
        .hidden
        .last(|line| line.side == Side::Server && matches!(line.said, Said::SetErrorInfo(_)))?;
    match line.said {
        Said::SetErrorInfo(Some(code)) if !ORDINARY.contains(&code) => Some((code, line.clone())),
        _ => None,
    }
}

/// A session that the server ends: with an error code, or without having announced it.
pub fn session_closed(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::Session {
        return None;
    }
    let host = case.host_label();
    let lasted = human(case.t.ended().since(case.progress.entered));
    if let Some((code, line)) = announced_error(case).filter(|_| !matches!(case.close, Close::Open)) {
        let known = codes::lookup(&ERRINFO, code);
        let verdict = Verdict::new(
            &SESSION_CLOSED_BY_SERVER,
            Confidence::Certain,
            Act::Server,
            format!(
                "{host} ended the session after {lasted}: {}. {}",
                codes::name(&ERRINFO, code),
                known.map_or("", |known| known.meaning)
            ),
            case.line(&line),
        )
        .because(case.close_evidence());
        let verdict = match known {
            Some(known) => known.remedy.iter().fold(verdict, |verdict, step| verdict.remedy(*step)),
            None => verdict.remedy("look the code up, and at the host's event log at this second"),
        };
        return Some(Finding::new(verdict, EndedBy::Server, Mechanism::Refusal).fact("error_info", format!("{code:#x}")));
    }
    if let Some(finding) = closed_by_gateway(case) {
        return Some(finding);
    }
    let Close::Fin { side: Side::Server, .. } = case.close else {
        return None;
    };
    // Where the client's packets were not captured its own close, which this may answer, is not seen either.
    if goodbye(case).is_some() || case.t.only_side() == Some(Side::Server) {
        return None;
    }
    let host = case.server_label();
    let alert = case
        .progress
        .hidden
        .last(|line| line.side == Side::Server && matches!(line.said, Said::Alert(_)));
    let close = case.close_evidence()?;
    let (shown, mechanism) = match alert {
        Some(line) => (case.line(line), Mechanism::TlsAlert),
        None => (close.clone(), Mechanism::Fin),
    };
    // How it came to the session was not captured, and whether it was one.
    let guessed = case.t.tcp.opening == Opening::MidStream && case.progress.inferred;
    let verdict = Verdict::new(
        &SESSION_CLOSED_BY_SERVER,
        if guessed { Confidence::Possible } else { Confidence::Likely },
        Act::Server,
        format!(
            "{host} closed the session after {lasted} without announcing it: no Set Error Info and no Disconnect Provider Ultimatum came before"
        ),
        shown,
    )
    .because([close])
    .or(&COMPLETED, "servers other than Windows may end an ordinary logoff like this; ask the user whether the session ended as wished")
    .or(&MIDDLEBOX_RESET, "a proxy or load balancer between the two closes its side like this, when it is restarted or a limit is reached")
    .remedy(format!(
        "on {} look for the end of the session's process at this second: System and Application log (TermService, dwm, winlogon), with xrdp its logs",
        case.server_host()
    ))
    .remedy("if a load balancer or proxy stands before the host, look at its limits for age and idle time");
    Some(Finding::new(verdict, EndedBy::Server, mechanism))
}

/// CLOSE_CHANNEL of a gateway with an error: the session worked, and the gateway ended it.
fn closed_by_gateway(case: &Case<'_>) -> Option<Finding> {
    let (code, line) = gateway_error(case)?;
    let known = codes::lookup(&GATEWAY, code);
    let verdict = Verdict::new(
        &SESSION_CLOSED_BY_SERVER,
        Confidence::Certain,
        Act::Gateway,
        format!(
            "the gateway {} ended the session after {}: {}. {}",
            case.server_label(),
            human(line.at.since(case.progress.entered)),
            codes::name(&GATEWAY, code),
            known.map_or("", |known| known.meaning)
        ),
        case.line(line),
    )
    .because(case.close_evidence());
    let verdict = match known {
        Some(known) => known.remedy.iter().fold(verdict, |verdict, step| verdict.remedy(*step)),
        None => verdict.remedy("on the gateway read the log TerminalServices-Gateway (Operational) at this second"),
    };
    Some(Finding::new(verdict, EndedBy::Server, Mechanism::Refusal).fact("gateway_code", format!("{code:#010x}")))
}

/// The status of a gateway's CLOSE_CHANNEL, where it is an error.
pub(super) fn gateway_error<'a>(case: &'a Case<'_>) -> Option<(u32, &'a Line)> {
    /// ERROR_GRACEFUL_DISCONNECT, with and without the facility of Win32.
    const GRACEFUL: [u32; 2] = [0x4CA, 0x8007_04CA];
    let line = case
        .progress
        .hidden
        .find(|line| line.side == Side::Server && matches!(line.said, Said::ChannelClosed(Some(1..))))?;
    // An answer to the client's own CLOSE_CHANNEL ends nothing.
    let asked = case
        .progress
        .hidden
        .find(|line| line.side == Side::Client && matches!(line.said, Said::ChannelClosed(_)));
    match line.said {
        Said::ChannelClosed(Some(code)) if !GRACEFUL.contains(&code) && asked.is_none_or(|asked| asked.at > line.at) => {
            Some((code, line))
        }
        _ => None,
    }
}

/// An announcement of the end by either side: the server's ultimatum, or the client's last word.
pub(super) fn goodbye<'a>(case: &'a Case<'_>) -> Option<&'a Line> {
    let hidden = &case.progress.hidden;
    let in_time = |line: &Line| case.close.follows(case.t, line.frames.last);
    let announces = |line: &Line| in_time(line) && matches!(line.said, Said::Ultimatum(_));
    hidden
        .last(|line| announces(line) && line.side == Side::Server)
        .or_else(|| hidden.last(|line| announces(line) && line.side == Side::Client))
        .or_else(|| {
            hidden.last(|line| {
                line.side == Side::Client
                    && (line.said == Said::ShutdownRequest || matches!(line.said, Said::Alert(_)))
                    && in_time(line)
            })
        })
}
