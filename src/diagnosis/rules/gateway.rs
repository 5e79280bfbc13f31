//! `gateway_http_error`, `gateway_denied`, `gateway_closed`: what an RD Gateway says, or fails to say, before the host is reached.

use crate::attempt::Attempt;
use crate::capture::Span;
use crate::codes::{self, GATEWAY, HTTP};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{COMPLETED, GATEWAY_CLOSED, GATEWAY_DENIED, GATEWAY_HTTP_ERROR, TLS_INSPECTION};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::protocol::gateway::http::Purpose;
use crate::transcript::hidden::{Line, Said, Words};
use crate::transcript::{GatewaySays, Phase, Progress, Role, Transcript, What};

/// A gateway that answers a channel request so late has tried to reach the host; a policy says no at once.
const TRIED: Span = Span::secs(1);

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.t.role != Role::Gateway {
        return None;
    }
    if let Some(finding) = kdc_proxy(case).or_else(|| in_channel(case)) {
        return Some(finding);
    }
    let hidden = &case.progress.hidden;
    // By its size an answer is only short, and a refusal where nothing follows it.
    let refusal = hidden.find(|line| matches!(line.said, Said::TunnelError(_)) && line.side == Side::Server);
    if let Some(line) = refusal.filter(|line| !line.inferred || is_final(case, line)) {
        return Some(denied(case, line));
    }
    if case.phase() != Phase::Gateway {
        return None;
    }
    let tunnel = hidden.find(|line| line.said == Said::Tunnel);
    let answer = hidden.last(|line| matches!(line.said, Said::HttpStatus(_)));
    match answer.map(|line| (line, line.said)) {
        // The challenges of NTLM and Kerberos have status 401, too: one is final where both sides leave it at that.
        Some((line, Said::HttpStatus(Some(status)))) if status >= 400 && (status != UNAUTHORIZED || is_final(case, line)) => {
            return Some(http_error(case, line, Some(status)));
        }
        _ => {}
    }
    let left = matches!(
        case.close,
        Close::Fin { side: Side::Client, .. } | Close::Reset { side: Side::Client, .. }
    );
    let server_ends = matches!(case.close, Close::Fin { side: Side::Server, .. });
    if !left && !server_ends {
        return None;
    }
    // By sizes alone: a request that was answered, and no tunnel after it.
    if let Some(line) = answer.filter(|line| line.inferred && tunnel.is_none() && is_final(case, line)) {
        return Some(http_error(case, line, None));
    }
    // A client that leaves on its own has a reason of its own.
    server_ends.then(|| closed(case)).flatten()
}

/// The status that asks for credentials.
const UNAUTHORIZED: u16 = 401;

/// Whether an answer was the last word: the connection was closed after it, and nothing in between is missing.
fn is_final(case: &Case<'_>, answer: &Line) -> bool {
    let known_since = if answer.inferred { case.after_tls() } else { answer.at };
    case.close
        .at(case.t)
        .is_some_and(|closed| !case.has_hole(known_since, closed))
}

fn http_error(case: &Case<'_>, line: &Line, status: Option<u16>) -> Finding {
    let host = case.server_label();
    let known = status.and_then(|status| codes::lookup(&HTTP, u32::from(status)));
    let summary = match status {
        Some(status) => format!(
            "the gateway {host} answered the client's request with {}. {}",
            line.text.written().replace("HTTP ", "HTTP status "),
            known.map_or_else(|| format!("Status {status} is an error."), |known| known.meaning.to_owned())
        ),
        None => format!(
            "the gateway {host} answered the client's request and no tunnel followed: an accepted request is answered with \"101 Switching Protocols\" and the client goes on with tunnel packets"
        ),
    };
    let confidence = if line.inferred {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let request = case
        .progress
        .hidden
        .last(|request| request.said == Said::HttpRequest && request.at <= line.at);
    let mut verdict = Verdict::new(&GATEWAY_HTTP_ERROR, confidence, Act::Gateway, summary, case.line(line))
        .because(request.map(|line| case.line(line)))
        .because(case.close_evidence());
    if let Some(known) = known {
        for step in known.remedy {
            verdict = verdict.remedy(*step);
        }
    } else {
        verdict = verdict
            .or(
                &GATEWAY_CLOSED,
                "the status is under TLS; a gateway that takes the request and closes looks alike. Its log, or the TLS keys, tell",
            )
            .remedy("type user name and password for the gateway again, the name as DOMAIN\\user or user@domain")
            .remedy(format!(
                "on {} read IIS's log (C:\\inetpub\\logs) for RDG_OUT_DATA at this second: 401 is the logon, 403 a rule of the site, 404 a missing role service, 502 to 504 a proxy before it",
                case.server_host()
            ))
            .remedy("if a reverse proxy or WAF stands before the gateway, check that it lets RDG_OUT_DATA and WebSocket through");
    }
    let finding = Finding::new(verdict, EndedBy::Server, Mechanism::Refusal);
    match status {
        Some(status) => finding.fact("http_status", status),
        None => finding,
    }
}

fn denied(case: &Case<'_>, line: &Line) -> Finding {
    let code = match line.said {
        Said::TunnelError(code) => code,
        _ => None,
    };
    let known = code.and_then(|code| codes::lookup(&GATEWAY, code));
    let asked = case
        .progress
        .hidden
        .last(|asked| asked.side == Side::Client && asked.at <= line.at && asked.said == Said::Tunnel);
    let waited = asked.map(|asked| line.at.since(asked.at));
    let host = case.server_label();
    let summary = match code {
        Some(code) => format!(
            "the gateway {host} refused the connection: {}. {}",
            codes::name(&GATEWAY, code),
            known.map_or("", |known| known.meaning)
        ),
        None => format!(
            "the gateway {host} refused the connection in its tunnel{}; the code is under TLS",
            match waited {
                Some(waited) if waited >= TRIED => format!(
                    ", {} after it was asked: it has probably tried to reach the host and failed",
                    human(waited)
                ),
                Some(_) => ", at once: probably a policy".to_owned(),
                None => String::new(),
            }
        ),
    };
    let confidence = if line.inferred {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let mut verdict = Verdict::new(&GATEWAY_DENIED, confidence, Act::Gateway, summary, case.line(line))
        .because(asked.map(|line| case.line(line)))
        .because(case.close_evidence());
    match known {
        Some(known) => {
            for step in known.remedy {
                verdict = verdict.remedy(*step);
            }
        }
        None => {
            verdict = verdict
                .remedy("on the gateway read the log TerminalServices-Gateway (Operational) at this second: 201 and 203 are the connection policy, 301 the resource policy, 304 a host that cannot be reached")
                .remedy("check that the user is in a group of the connection authorisation policy, and that the resource authorisation policy names the host in the form that the client uses (DNS name, NetBIOS name or address)")
                .remedy("from the gateway itself test the way to the host: Test-NetConnection HOST -Port 3389");
        }
    }
    let mut finding = Finding::new(verdict, EndedBy::Server, Mechanism::Refusal);
    if let Some(code) = code {
        finding = finding.fact("gateway_code", format!("{code:#010x}"));
    }
    if let Some(waited) = waited {
        finding = finding.fact("answer_after", human(waited));
    }
    finding
}

fn closed(case: &Case<'_>) -> Option<Finding> {
    let hidden = &case.progress.hidden;
    let asked = hidden.last(|line| line.side == Side::Client && matches!(line.said, Said::HttpRequest | Said::Tunnel))?;
    // The answer may be what was not captured.
    if case.close.at(case.t).is_some_and(|closed| case.has_hole(asked.at, closed)) {
        return None;
    }
    let alert = hidden.last(|line| line.side == Side::Server && matches!(line.said, Said::Alert(_)));
    let close = case.close_evidence()?;
    let answer = hidden.last(|line| line.side == Side::Server && matches!(line.said, Said::HttpStatus(_) | Said::Tunnel));
    let confidence = if asked.inferred {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let verdict = Verdict::new(
        &GATEWAY_CLOSED,
        confidence,
        Act::Gateway,
        format!(
            "the gateway {} took the client's request and closed the connection without going on",
            case.server_label()
        ),
        close,
    )
    .because([case.line(asked)])
    .because(answer.filter(|line| !line.text.is_empty()).map(|line| case.line(line)))
    .because(alert.map(|line| case.line(line)))
    .or(
        &TLS_INSPECTION,
        "a proxy or firewall that decrypts HTTPS often understands neither RDG_OUT_DATA nor WebSocket and closes here",
    )
    .remedy("if a reverse proxy, load balancer or TLS inspection stands before the gateway: let RDG_OUT_DATA, RDG_IN_DATA and WebSocket upgrades through, without buffering")
    .remedy(format!(
        "on {} look at the service TSGateway and its log TerminalServices-Gateway (Operational) at this second",
        case.server_host()
    ));
    Some(Finding::new(verdict, EndedBy::Server, Mechanism::Fin))
}

/// Whether a connection of an attempt only serves another one of it: the KDC proxy, or the client's half of a tunnel over two
/// connections, whose answers come in the other half.
pub fn is_errand(attempt: &Attempt, t: &Transcript, progress: &Progress) -> bool {
    is_kdc_proxy(t)
        || (t.role == Role::Gateway
            && progress.hidden.is_in_channel()
            && attempt
                .connections
                .iter()
                .any(|(other, progress)| other.id != t.id && other.role == Role::Gateway && progress.hidden.is_out_channel()))
}

/// The client's half of a tunnel over two connections, of which this one is the gateway's.
pub(super) fn client_half<'a>(case: &Case<'a>) -> Option<&'a Transcript> {
    if case.t.role != Role::Gateway || !case.progress.hidden.is_out_channel() {
        return None;
    }
    let (began, ended) = (case.t.started(), case.t.ended());
    case.attempt
        .connections
        .iter()
        .filter(|(t, progress)| {
            (t.client.ip(), t.server) == (case.t.client.ip(), case.t.server) && progress.hidden.is_in_channel()
        })
        .map(|(t, _)| t)
        .find(|t| (began..=ended).contains(&t.started()))
}

/// What the gateway was asked last while the tunnel was made, as its answers so far tell.
pub(super) fn question(case: &Case<'_>) -> &'static str {
    let hidden = &case.progress.hidden;
    let packets = |side: Side| {
        hidden
            .lines
            .iter()
            .filter(|line| line.said == Said::Tunnel && line.side == side)
            .count()
    };
    match (
        packets(Side::Client) > 0 || client_half(case).is_some(),
        packets(Side::Server),
    ) {
        (false, _) => "the client's request",
        (true, 0) => "HANDSHAKE_REQUEST",
        (true, 1) => "TUNNEL_CREATE",
        (true, 2) => "TUNNEL_AUTH",
        (true, 3) => "CHANNEL_CREATE, the request for the host behind it,",
        (true, _) => "its last message",
    }
}

fn in_channel(case: &Case<'_>) -> Option<Finding> {
    if !is_errand(case.attempt, case.t, case.progress) {
        return None;
    }
    let first = case.progress.hidden.find(|line| line.said == Said::Tunnel)?;
    let verdict = Verdict::new(
        &COMPLETED,
        if first.inferred {
            Confidence::Likely
        } else {
            Confidence::Certain
        },
        Act::Nobody,
        format!(
            "the client's half of a tunnel through {}; the answers come in the other connection",
            case.server_label()
        ),
        case.line(first),
    );
    Some(Finding::new(verdict, case.close.ended_by(), case.close.mechanism()))
}

/// Whether the connection serves the KDC proxy beside the gateway's own, and nothing else.
fn is_kdc_proxy(t: &Transcript) -> bool {
    let mut asked = false;
    for moment in t.moments.iter() {
        if let What::Gateway(says) = &moment.what {
            match &**says {
                GatewaySays::KdcRequest | GatewaySays::Kdc(_) => asked = true,
                GatewaySays::Request(request) if request.purpose == Purpose::KdcProxy => asked = true,
                GatewaySays::Request(_) | GatewaySays::Packet { .. } => return false,
                _ => {}
            }
        }
    }
    asked
}

/// The KDC proxy is a side errand: without it clients fall back to NTLM, so that its answer is a fact and no failure.
fn kdc_proxy(case: &Case<'_>) -> Option<Finding> {
    if !is_kdc_proxy(case.t) {
        return None;
    }
    let hidden = &case.progress.hidden;
    let status = hidden.find(|line| matches!(line.said, Said::KdcProxy(Some(_))));
    let asked = hidden.find(|line| matches!(line.said, Said::KdcProxy(_)))?;
    let refused = matches!(status.map(|line| line.said), Some(Said::KdcProxy(Some(code))) if code >= 400);
    let summary = if refused {
        format!(
            "a side connection to the KDC proxy of {}: {}; the client goes on without Kerberos",
            case.server_label(),
            status.map_or(&Words::NONE, |line| &line.text)
        )
    } else {
        format!("a side connection to the KDC proxy of {}", case.server_label())
    };
    let verdict = Verdict::new(
        &COMPLETED,
        Confidence::Certain,
        Act::Nobody,
        summary,
        case.line(status.unwrap_or(asked)),
    );
    Some(Finding::new(verdict, case.close.ended_by(), case.close.mechanism()))
}
