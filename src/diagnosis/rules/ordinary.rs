//! `completed`, `established`: a connection that reached the session and closed as Remote Desktop closes, or is still alive.
//!
//! mstsc ends every connection with RST,ACK; clients of the Windows 7 era send FIN and their servers answer with RST. A server that ends
//! a session announces it with Set Error Info and Disconnect Provider Ultimatum, and the close that follows decides nothing. None of
//! that is a failure. A session that stopped in another way is left to the other rules.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{CAPTURE_INCOMPLETE, COMPLETED, ESTABLISHED, SESSION_CLOSED_BY_SERVER};
use crate::diagnosis::close::{Close, side_ended};
use crate::diagnosis::rules::denied;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Opening, Side};
use crate::protocol::x224::RequestFlags;
use crate::transcript::hidden::{Line, Said};
use crate::transcript::{Phase, Window};

/// Until when what is open was followed, in words.
pub(super) fn until(window: Window) -> &'static str {
    match window.early {
        true => "where it was judged, for more was open at one time than fits into memory",
        false => "when the capture ends",
    }
}

/// What is open and was judged early may have ended in any way.
pub(super) fn followed(mut verdict: Verdict, window: Window) -> Verdict {
    if !window.early {
        return verdict;
    }
    verdict.confidence = Confidence::Possible;
    verdict.or(
        &CAPTURE_INCOMPLETE,
        "how it ended was not followed: read the part of the capture around it, cut out with `editcap -A` and `-B`, or one filtered by its client's address",
    )
}

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::Session || denied::announced_error(case).is_some() || denied::gateway_error(case).is_some() {
        return None;
    }
    let confidence = match (case.t.tcp.opening, case.progress.inferred) {
        // How it came to the session was not captured.
        (Opening::MidStream, true) => Confidence::Possible,
        (_, true) => Confidence::Likely,
        (_, false) => Confidence::Certain,
    };
    if let Some(line) = denied::goodbye(case).filter(|line| line.side == Side::Server) {
        return Some(turned_away(case, line).unwrap_or_else(|| announced(case, line, confidence)));
    }
    let lasted = human(case.t.ended().since(case.progress.entered));
    match case.close {
        Close::Open => {
            let (last, window) = (case.t.tcp.last(), case.t.window);
            let verdict = Verdict::new(
                &ESTABLISHED,
                confidence,
                Act::Nobody,
                format!(
                    "the session with {} is up and still alive {}",
                    case.host_label(),
                    until(window)
                ),
                case.packet(last, format!("last packet of the connection, {lasted} into the session")),
            )
            .because(up(case));
            let verdict = followed(verdict, window);
            Some(Finding::new(verdict, EndedBy::Open, Mechanism::None))
        }
        Close::Fin { side: Side::Client, .. } | Close::Reset { side: Side::Client, .. } => Some(by_client(case, confidence)?),
        // The server's close answers the client's last word.
        Close::Fin { side: Side::Server, .. } if denied::goodbye(case).is_some() => Some(by_client(case, confidence)?),
        _ => None,
    }
}

fn by_client(case: &Case<'_>, confidence: Confidence) -> Option<Finding> {
    let lasted = human(case.t.ended().since(case.progress.entered));
    let verdict = Verdict::new(
        &COMPLETED,
        confidence,
        Act::Nobody,
        format!(
            "the session with {} ran for {lasted} and was closed by the client in the ordinary way",
            case.host_label()
        ),
        case.close_evidence()?,
    )
    .because(
        denied::goodbye(case)
            .filter(|line| !line.text.is_empty())
            .map(|line| case.line(line)),
    )
    .because(up(case));
    Some(Finding::new(verdict, side_ended(Side::Client), case.close.mechanism()))
}

/// The server says that the session ends.
fn announced(case: &Case<'_>, line: &Line, confidence: Confidence) -> Finding {
    let error = case
        .progress
        .hidden
        .last(|line| line.side == Side::Server && matches!(line.said, Said::SetErrorInfo(code) if code != Some(0)));
    let lasted = human(line.at.since(case.progress.entered));
    let mut verdict = Verdict::new(
        &COMPLETED,
        confidence,
        Act::Nobody,
        format!(
            "the session with {} ran for {lasted} and ended in the ordinary way: the server announced it, as it does for every logoff and disconnection",
            case.host_label()
        ),
        case.line(line),
    )
    .because(error.map(|line| case.line(line)))
    .because(case.close_evidence())
    .because(up(case));
    if error.is_some_and(|line| line.said == Said::SetErrorInfo(None)) {
        verdict = verdict.or(
            &SESSION_CLOSED_BY_SERVER,
            "the code of Set Error Info is under TLS: a time limit, an administrator or another connection of the user is announced in the same way; the TLS keys, or the host's log LocalSessionManager, would tell",
        );
    }
    Finding::new(verdict, EndedBy::Server, Mechanism::Refusal)
}

/// A logon with credentials that are never typed in the session: Restricted Admin and Remote Credential Guard bring the client's own. Windows
/// tells the client of every logon; a host that ends the session without having told has turned the user away inside it.
fn turned_away(case: &Case<'_>, line: &Line) -> Option<Finding> {
    let (asked, request) = case.t.request()?;
    let flags = request.negotiation.as_ref()?.flags;
    let mode = if flags.contains(RequestFlags::RESTRICTED_ADMIN_MODE_REQUIRED) {
        "Restricted Admin"
    } else if flags.contains(RequestFlags::REDIRECTED_AUTHENTICATION_MODE_REQUIRED) {
        "Remote Credential Guard"
    } else {
        return None;
    };
    let hidden = &case.progress.hidden;
    let entered = case.progress.entered;
    let told = hidden.was_said(Said::LoggedOn) || case.t.moments.forgotten() > 0 || case.has_hole(entered, line.at);
    let lasted = line.at.since(entered);
    if told || lasted > LOGON {
        return None;
    }
    let host = case.host_label();
    let verdict = Verdict::new(
        &SESSION_CLOSED_BY_SERVER,
        // By size alone only a notice with the means to reconnect is known, and hosts may be set not to give any.
        if line.inferred { Confidence::Possible } else { Confidence::Likely },
        Act::Identity,
        format!(
            "{host} ended the session after {} without having logged the user on: the client asked for {mode}, and the host turned the user away in the session instead of in the logon",
            human(lasted)
        ),
        case.line(line),
    )
    .because(
        hidden
            .last(|line| line.side == Side::Server && matches!(line.said, Said::SetErrorInfo(code) if code != Some(0)))
            .map(|line| case.line(line)),
    )
    .because([case.moment(asked, format!("the client asks for {mode}: it brings no password that could be typed in the session"))])
    .because(up(case))
    .because(case.close_evidence())
    .or(
        &COMPLETED,
        "a user who closes the session before the desktop is there leaves the same picture; event 4624 (logon) or 4625 (refused) on the host tells",
    )
    .remedy(format!(
        "on {} read Security event 4625 of this second: it names the account restriction",
        case.host_name()
    ))
    .remedy(match mode {
        "Restricted Admin" => {
            "Restricted Admin must be allowed on the host (HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa, DisableRestrictedAdmin = 0), and the user must be an administrator of the host"
        }
        _ => {
            "Remote Credential Guard must be allowed on the host (HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa, DisableRestrictedAdmin = 0), the logon must be Kerberos, and the user must be in Remote Desktop Users"
        }
    });
    Some(Finding::new(verdict, EndedBy::Server, Mechanism::Refusal))
}

/// Windows logs on within seconds; a host that is slow to do so takes no longer.
const LOGON: Span = Span::secs(60);

/// The message with which the session was up.
fn up(case: &Case<'_>) -> Option<crate::diagnosis::verdict::Evidence> {
    let hidden = &case.progress.hidden;
    hidden
        .find(|line| line.said == Said::LoggedOn)
        .or_else(|| hidden.find(|line| line.said == Said::FontMap))
        .map(|line| case.line(line))
}
