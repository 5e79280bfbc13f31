//! `kerberos_failed`: the logon was refused, or not even begun, and the KDC's error before it says why.
//!
//! Most KDC errors are ordinary: pre-authentication is always asked for first, and without a ticket clients fall back to NTLM. An error
//! becomes the cause only where the logon then failed, and only one that NTLM cannot get around: the account, the password, the clock.

use crate::attempt::tickets::{Answer, Says};
use crate::capture::{Span, Timestamp};
use crate::codes::{self, KERBEROS, NTSTATUS};
use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::{KERBEROS_FAILED, NLA_LOGON_FAILED};
use crate::diagnosis::close::Close;
use crate::diagnosis::rules::nla;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Verdict};
use crate::flow::Side;
use crate::protocol::kerberos::{Body, Refusal};
use crate::transcript::hidden::Said;
use crate::transcript::{GatewaySays, Phase, What};

/// The client asks the KDC between the negotiation and its first words in CredSSP, or just before it connects.
const BEFORE: Span = Span::secs(30);
/// A clock as a service may see it after the logon was refused.
const AFTER: Span = Span::secs(1);

/// Errors that explain a failed logon by themselves: the account, the password, the clock, the policy (RFC 4120 section 7.5.9 and
/// RFC 4556). Others make the client try NTLM.
const EXPLAINS: &[i32] = &[
    1, 2, 3, 6, 12, 14, 16, 17, 18, 20, 21, 23, 24, 31, 32, 33, 37, 41, 62, 63, 64, 65, 66, 70, 71, 72, 73, 74, 75, 76,
];

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::CredSsp {
        return None;
    }
    let refused = nla::refusal(case).or_else(|| nla::closed(case));
    if refused.is_none() && !left_without_a_word(case) {
        return None;
    }
    let (evidence, refusal) = explanation(case)?;
    let mut evidence = evidence.into_iter();
    let first = evidence.next()?;
    let code = u32::try_from(refusal.code).unwrap_or_default();
    let known = codes::lookup(&KERBEROS, code);
    let name = codes::name(&KERBEROS, code);
    let user = refusal.cname.clone().unwrap_or_default();
    let about = if user.is_empty() {
        String::new()
    } else {
        format!(" for {user}")
    };
    let status = refusal.status.map(|status| codes::name(&NTSTATUS, status));
    let summary = format!(
        "the KDC answered {name}{about}{}, and the logon at {} then {}. {}",
        status.as_ref().map_or(String::new(), |status| format!(" ({status})")),
        case.host_label(),
        if refused.is_some() {
            "failed"
        } else {
            "was not even tried: the client left"
        },
        known.map_or("", |known| known.meaning)
    );
    let mut verdict = Verdict::new(&KERBEROS_FAILED, Confidence::Likely, act(refusal.code), summary, first).because(evidence);
    let (ended_by, mechanism) = match &refused {
        Some(finding) => {
            verdict = verdict.because(finding.verdict.evidence.iter().cloned()).or(
                &NLA_LOGON_FAILED,
                "the server's refusal is the last word; where the client used NTLM after the KDC's error, the two may have reasons of their own",
            );
            (finding.ended_by, finding.mechanism)
        }
        None => {
            verdict = verdict.because(case.close_evidence());
            (EndedBy::Client, case.close.mechanism())
        }
    };
    if let Some(known) = known {
        for step in known.remedy {
            verdict = verdict.remedy(*step);
        }
    }
    if let Some(skew) = refusal.skew().filter(|skew| skew.abs() >= 60) {
        verdict = verdict.remedy(format!(
            "the clocks of client and KDC differ by {} s: correct the one that is wrong (w32tm /resync, or its time server)",
            skew.abs()
        ));
    }
    let mut finding = Finding::new(verdict, ended_by, mechanism).fact("kerberos_error", refusal.code);
    if let Some(finding_before) = refused {
        finding.facts.extend(finding_before.facts);
    }
    Some(finding)
}

/// The client closed after TLS and said nothing in CredSSP.
fn left_without_a_word(case: &Case<'_>) -> bool {
    let left = matches!(case.close, Close::Fin { .. } | Close::Reset { side: Side::Client, .. });
    let spoke = case
        .progress
        .hidden
        .find(|line| !matches!(line.said, Said::Alert(_)))
        .is_some();
    left && !spoke
}

/// The errors that explain the failure, as evidence, and the first of them; none if a success came after them.
fn explanation(case: &Case<'_>) -> Option<(Vec<Evidence>, Refusal)> {
    let to = case.close.at(case.t).unwrap_or(case.t.ended()).plus(AFTER);
    let from = Timestamp(case.t.started().0.saturating_sub(BEFORE.0));
    let mut errors: Vec<(&Answer, &Refusal)> = Vec::new();
    for answer in case.context.tickets.between(case.t.client.ip(), from, to) {
        match &answer.says {
            Says::Error(refusal) if EXPLAINS.contains(&refusal.code) => errors.push((answer, refusal)),
            Says::Error(_) => {}
            Says::LoggedOn | Says::Ticket => errors.clear(),
        }
    }
    let Some((_, first)) = errors.first().copied() else {
        return through_proxy(case, to).map(|(evidence, refusal)| (vec![evidence], refusal));
    };
    let shown = errors
        .iter()
        .take(CITED)
        .map(|(answer, refusal)| {
            let code = u32::try_from(refusal.code).unwrap_or_default();
            case.shows(
                answer.frame,
                answer.at,
                format!("KRB-ERROR of {}: {}", answer.kdc, codes::name(&KERBEROS, code)),
            )
        })
        .collect();
    Some((shown, first.clone()))
}

/// Clients repeat themselves; so many errors are shown.
const CITED: usize = 4;

/// The same through the KDC proxy of a gateway.
fn through_proxy(case: &Case<'_>, to: Timestamp) -> Option<(Evidence, Refusal)> {
    let messages = case.attempt.connections.iter().flat_map(|(t, _)| t.moments.iter());
    messages
        .filter(|moment| moment.side == Side::Server && moment.at <= to)
        .filter_map(|moment| match &moment.what {
            What::Gateway(says) => match &**says {
                GatewaySays::Kdc(message) => match &message.body {
                    Body::Error(refusal) if EXPLAINS.contains(&refusal.code) => Some((moment, refusal)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .next_back()
        .map(|(moment, refusal)| {
            let code = u32::try_from(refusal.code).unwrap_or_default();
            let shown = case.moment(
                moment,
                format!("KRB-ERROR through the KDC proxy: {}", codes::name(&KERBEROS, code)),
            );
            (shown, (**refusal).clone())
        })
}

fn act(code: i32) -> Act {
    match code {
        // Wrong password.
        24 | 31 => Act::Client,
        _ => Act::Identity,
    }
}
