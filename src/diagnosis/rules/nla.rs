//! `nla_logon_failed`, `credssp_policy`: the server refuses the logon inside CredSSP, RDSTLS or RDS AAD Auth, or policy keeps the two
//! sides' versions of CredSSP apart.
//!
//! A refusal has a shape that TLS cannot hide: an accepted leg is answered with far more bytes than an error code needs, and the client
//! goes on. Where the server speaks no error codes it sends an alert or closes right after the leg that carries the proof.

use crate::attempt::tickets::Says;
use crate::capture::{Span, Timestamp};
use crate::codes::{self, KERBEROS, NTSTATUS, RDSTLS};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{ABORTED_BY_CLIENT, CREDSSP_POLICY, HANDSHAKE_TIMEOUT, NLA_LOGON_FAILED, PEER_RESET};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::Side;
use crate::transcript::hidden::{Line, Package, Said};
use crate::transcript::{Moment, Pdu, Phase, Role, What};

/// A server that closes because of what it was told does so soon; Windows waits a second after a wrong password, a domain controller
/// may take a few.
const ANSWER: Span = Span::secs(15);

/// Nobody who was refused, and nobody who refused, waits longer before it closes.
const AT_ONCE: Span = Span::secs(2);

/// The first version of CredSSP with the fix for CVE-2018-0886.
const FIXED: u32 = 5;

/// A refusal that was said: an error code, a negative result, an alert in place of the next leg.
pub fn refusal(case: &Case<'_>) -> Option<Finding> {
    let hidden = &case.progress.hidden;
    if let Some(line) = hidden
        .find(|line| matches!(line.said, Said::LogonError(_) | Said::KerberosError(_)))
        .filter(|line| !line.inferred || !(guessed(case, line) || is_begun(case)))
    {
        return Some(refused(case, line, Mechanism::Refusal));
    }
    let negative = hidden.find(|line| match line.said {
        Said::EarlyResult(Some(code)) | Said::RdstlsResult(Some(code)) | Said::AadResult(Some(code)) => code != 0,
        _ => false,
    });
    if let Some(line) = negative {
        return Some(refused(case, line, Mechanism::Refusal));
    }
    if let Some(line) = unfinished(case) {
        return Some(refused(case, line, Mechanism::Refusal));
    }
    if case.phase() != Phase::CredSsp {
        return None;
    }
    // The early result has four bytes whatever it says; a client that was let in goes on with MCS, and one that was not is gone at once. A
    // server that waited before it closed had let it in.
    if let Some(line) = hidden.find(|line| line.said == Said::EarlyResult(None))
        && matches!(case.close, Close::Fin { .. } | Close::Reset { side: Side::Client, .. })
        && case
            .close
            .at(case.t)
            .is_some_and(|closed| closed.since(line.at) <= AT_ONCE && !case.has_hole(line.at, closed))
    {
        return Some(refused(case, line, Mechanism::Refusal));
    }
    let alert = hidden.find(|line| matches!(line.said, Said::Alert(_)))?;
    (alert.side == Side::Server && proof(case).is_some()).then(|| refused(case, alert, Mechanism::TlsAlert))
}

/// Whether bytes are missing around a refusal that only its size tells: what came there may have been the next step of an accepted logon.
fn guessed(case: &Case<'_>, line: &Line) -> bool {
    let from = leg_before(case, line).map_or(line.at, |(_, at)| at);
    case.has_hole(from, case.close.at(case.t).unwrap_or(case.t.ended()))
}

/// Whether a refusal that is told in a gateway's tunnel by what follows it may go on: an accepted logon begins with the same sizes.
fn is_begun(case: &Case<'_>) -> bool {
    case.t.role == Role::Gateway && matches!(case.close, Close::Open) && case.t.watched_after() < AT_ONCE
}

/// The result of RDSTLS or RDS AAD Auth has one size whatever it says; a client that was let in goes on with MCS.
fn unfinished<'a>(case: &'a Case<'_>) -> Option<&'a Line> {
    let closed = case.close.at(case.t)?;
    let hidden = &case.progress.hidden;
    let line = hidden.find(|line| matches!(line.said, Said::RdstlsResult(None) | Said::AadResult(None)))?;
    let left = matches!(case.close, Close::Fin { .. } | Close::Reset { side: Side::Client, .. });
    (case.phase() == Phase::Mcs && left && !hidden.was_said(Said::ConnectInitial) && !case.has_hole(line.at, closed))
        .then_some(line)
}

/// The server closes right after the leg that carries the proof, and says nothing.
pub fn closed(case: &Case<'_>) -> Option<Finding> {
    let Close::Fin {
        side: Side::Server, at, ..
    } = case.close
    else {
        return None;
    };
    let proof = proof(case).filter(|_| case.phase() == Phase::CredSsp)?;
    let waited = at.since(proof.at);
    if waited > ANSWER {
        return None;
    }
    let verdict = Verdict::new(
        &NLA_LOGON_FAILED,
        Confidence::Possible,
        Act::Client,
        format!(
            "{} took the client's proof of logon and closed {} later without a word: most likely a refused logon",
            case.host_label(),
            human(waited)
        ),
        case.close_evidence()?,
    )
    .because([case.line(proof)])
    .or(
        &PEER_RESET,
        "a crash of the server's security service looks the same; its event log would show it, and every user would fail",
    );
    Some(Finding::new(
        advice(verdict, None, Some(waited), case),
        EndedBy::Server,
        Mechanism::Fin,
    ))
}

/// The client left between CHALLENGE and AUTHENTICATE, and the versions tell why.
pub fn policy(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::CredSsp || !matches!(case.close, Close::Fin { .. } | Close::Reset { .. }) {
        return None;
    }
    let hidden = &case.progress.hidden;
    let ((client_moment, client), (server_moment, server)) = (version(case, Side::Client)?, version(case, Side::Server)?);
    let proved = hidden.find(|line| matches!(line.said, Said::NtlmAuthenticate | Said::KerberosApRequest));
    if client < FIXED || server >= FIXED || proved.is_some() {
        return None;
    }
    let goodbye = hidden.last(|line| line.side == Side::Client && matches!(line.said, Said::Alert(_)));
    let verdict = Verdict::new(
        &CREDSSP_POLICY,
        Confidence::Likely,
        Act::Server,
        format!(
            "the client speaks CredSSP version {client}, {} only version {server}, without the fix for CVE-2018-0886: the client's policy \"Encryption Oracle Remediation\" forbids to go on, and it left before it sent its proof",
            case.host_label()
        ),
        case.moment(server_moment, format!("the server answers with CredSSP version {server}: it lacks the update of 2018")),
    )
    .because([case.moment(client_moment, format!("the client offers CredSSP version {client}"))])
    .because(goodbye.map(|line| case.line(line)))
    .because(case.close_evidence())
    .remedy(format!(
        "install the current updates on {} (any cumulative update since March 2018 brings CredSSP version 5 or later)",
        case.host_name()
    ))
    .remedy("where the server is no Windows host, update the software that answers for it: gateway, broker, xrdp or FreeRDP")
    .test("on this one client set Encryption Oracle Remediation to \"Vulnerable\" (AllowEncryptionOracle = 2) and connect: success proves the cause. Set it back at once: it exposes the client's credentials");
    let how = goodbye.map_or(case.close.mechanism(), |_| Mechanism::TlsAlert);
    Some(
        Finding::new(verdict, EndedBy::Client, how)
            .fact("credssp_version_client", client)
            .fact("credssp_version_server", server),
    )
}

/// The last leg of the client that carries its proof, where the server has not answered it with a leg of its own.
fn proof<'a>(case: &'a Case<'_>) -> Option<&'a Line> {
    let lines = &case.progress.hidden.lines;
    let at = lines.iter().rposition(|line| {
        line.side == Side::Client
            && matches!(
                line.said,
                Said::NtlmAuthenticate | Said::KerberosApRequest | Said::PublicKey | Said::Credentials | Said::RedirectedLogon
            )
    })?;
    let answered = lines
        .get(at + 1..)
        .unwrap_or_default()
        .iter()
        .any(|line| line.side == Side::Server && !matches!(line.said, Said::Alert(_)));
    lines.get(at).filter(|_| !answered)
}

fn refused(case: &Case<'_>, line: &Line, mechanism: Mechanism) -> Finding {
    let host = case.host_label();
    let package = case.progress.hidden.package.map_or("", |package| package.name());
    let with = if package.is_empty() {
        String::new()
    } else {
        format!(" ({package})")
    };
    let (summary, code) = match line.said {
        Said::LogonError(Some(code)) => {
            let meaning = codes::lookup(&NTSTATUS, code).map_or("", |code| code.meaning);
            (
                format!(
                    "{host} refused the NLA logon{with} with {}: {meaning}",
                    codes::name(&NTSTATUS, code)
                ),
                Some(code),
            )
        }
        Said::RdstlsResult(Some(code)) => {
            let meaning = codes::lookup(&RDSTLS, code).map_or("", |code| code.meaning);
            (
                format!(
                    "{host} refused the logon of the redirected client with {}: {meaning}",
                    codes::name(&RDSTLS, code)
                ),
                None,
            )
        }
        Said::AadResult(Some(code)) => (
            format!(
                "{host} refused the logon with Entra ID: {}. {}",
                codes::name(&NTSTATUS, code),
                codes::lookup(&NTSTATUS, code).map_or("", |code| code.meaning)
            ),
            Some(code),
        ),
        Said::EarlyResult(_) => (
            format!(
                "{host} accepted the password{with} and then refused the user: not allowed to log on through Remote Desktop Services"
            ),
            None,
        ),
        Said::RdstlsResult(None) | Said::AadResult(None) => (
            format!(
                "{host} answered the logon with its result and the client did not go on: the logon was refused; TLS hides the result"
            ),
            None,
        ),
        Said::KerberosError(code) => (
            match code {
                Some(code) => format!(
                    "{host} turned the client's Kerberos ticket down with {}. {}",
                    codes::name(&KERBEROS, code),
                    codes::lookup(&KERBEROS, code).map_or("", |code| code.meaning)
                ),
                None => format!("{host} turned the client's Kerberos ticket down (KRB-ERROR in place of AP-REP)"),
            },
            None,
        ),
        Said::Alert(Some((_, 0))) => (
            format!(
                "{host} answered the client's proof of logon{with} with close_notify and no further leg: the logon was refused"
            ),
            None,
        ),
        Said::Alert(_) => (
            format!("{host} answered the client's proof of logon{with} with an alert and no further leg: the logon was refused"),
            None,
        ),
        _ => (
            format!("{host} refused the NLA logon{with}; TLS hides the error code, the sizes show the refusal"),
            None,
        ),
    };
    let confidence = match (line.inferred, line.said) {
        (false, Said::Alert(_)) | (true, _) => Confidence::Likely,
        (false, _) => Confidence::Certain,
    };
    let act = match line.said {
        Said::LogonError(Some(code)) | Said::AadResult(Some(code)) => who_acts(code),
        Said::RdstlsResult(Some(code)) => match code {
            RDSTLS_WRONG => Act::Client,
            RDSTLS_DENIED => Act::Server,
            _ => Act::Identity,
        },
        Said::EarlyResult(_) => Act::Server,
        Said::KerberosError(_) => Act::Identity,
        _ => Act::Client,
    };
    let shown = match line.said {
        Said::Alert(_) if line.inferred => case.shows(
            line.frames.last,
            line.at,
            "the server answers with an encrypted alert; an accepted logon is answered with another leg of CredSSP",
        ),
        _ => case.line(line),
    };
    let before = leg_before(case, line);
    let waited = before.as_ref().map(|before| line.at.since(before.1));
    let verdict = Verdict::new(&NLA_LOGON_FAILED, confidence, act, summary, shown)
        .because(before.map(|(evidence, _)| evidence))
        .because(fell_back(case))
        .because(follows(case));
    let verdict = match (code, old_client(case)) {
        (None, Some(version)) => verdict.or(
            &CREDSSP_POLICY,
            format!("the client speaks CredSSP version {version}, without the fix for CVE-2018-0886, and the host a later one: a host whose policy \"Encryption Oracle Remediation\" is \"Force Updated Clients\" turns such a client away like this; then the client must be updated"),
        ),
        _ => verdict,
    };
    let verdict = match line.said {
        Said::EarlyResult(None) => verdict.or(
            &ABORTED_BY_CLIENT,
            "TLS hides the result: a client that was let in and was ended at this very moment looks the same; the host's security log tells (event 4624 or 4625)",
        ),
        _ => verdict,
    };
    let verdict = match line.said {
        Said::EarlyResult(_) => verdict
            .remedy(format!(
                "on {} add the user to \"Remote Desktop Users\" (Add-LocalGroupMember -Group 'Remote Desktop Users' -Member DOMAIN\\user), or check the group that should grant it",
                case.host_name()
            ))
            .remedy("check the user rights \"Allow log on through Remote Desktop Services\" and \"Deny log on through Remote Desktop Services\" (gpresult /h on the host)"),
        Said::RdstlsResult(Some(code)) if codes::lookup(&RDSTLS, code).is_some() => codes::lookup(&RDSTLS, code)
            .map_or(&[][..], |known| known.remedy)
            .iter()
            .fold(verdict, |verdict, step| verdict.remedy(*step)),
        Said::KerberosError(Some(code)) if codes::lookup(&KERBEROS, code).is_some() => codes::lookup(&KERBEROS, code)
            .map_or(&[][..], |known| known.remedy)
            .iter()
            .fold(verdict, |verdict, step| verdict.remedy(*step)),
        Said::KerberosError(_) => verdict
            .remedy("compare the clocks of client, host and domain controller (w32tm /query /status); more than five minutes break Kerberos")
            .remedy(format!(
                "check that the name leads to the right host and that its SPN is unique: setspn -Q TERMSRV/{}",
                case.host_name()
            )),
        _ => advice(verdict, code, waited, case),
    };
    let mut finding = Finding::new(verdict, EndedBy::Server, mechanism);
    if let Some(code) = code {
        finding = finding.fact("error_code", format!("{code:#010x}"));
    }
    if let Some(waited) = waited {
        finding = finding.fact("answer_after", human(waited));
    }
    finding
}

/// RDSTLS results: wrong user or password, and no access to this host.
const RDSTLS_WRONG: u32 = 0x52E;
const RDSTLS_DENIED: u32 = 0x5;

/// The version of CredSSP that each side speaks, and the message that says so, where keys have opened it.
fn version<'a>(case: &'a Case<'_>, side: Side) -> Option<(&'a Moment, u32)> {
    case.t.moments.iter().find_map(|moment| match &moment.what {
        What::Pdu(pdu) if moment.side == side => match &**pdu {
            Pdu::CredSsp(request) => Some((moment, request.version)),
            _ => None,
        },
        _ => None,
    })
}

/// The version of a client that lacks the fix, before a host that has it.
fn old_client(case: &Case<'_>) -> Option<u32> {
    let (_, client) = version(case, Side::Client)?;
    let (_, server) = version(case, Side::Server)?;
    (client < FIXED && server >= FIXED).then_some(client)
}

/// The KDC's answer for which the client fell back to NTLM: nobody knows the service under this name, or the domain.
fn fell_back(case: &Case<'_>) -> Option<Evidence> {
    if case.progress.hidden.package != Some(Package::Ntlm) {
        return None;
    }
    let from = Timestamp(case.t.started().0.saturating_sub(ASKED_BEFORE.0));
    let answer = case
        .context
        .tickets
        .between(case.t.client.ip(), from, case.t.ended())
        .rfind(|answer| {
            matches!(&answer.says, Says::Error(refusal) if FALL_BACK.contains(&refusal.code) && is_for_the_logon(&refusal.sname))
        })?;
    let Says::Error(refusal) = &answer.says else { return None };
    let name = codes::name(&KERBEROS, u32::try_from(refusal.code).unwrap_or_default());
    Some(case.shows(
        answer.frame,
        answer.at,
        format!(
            "KRB-ERROR of {}: {name} for {}: without a ticket the client falls back to NTLM",
            answer.kdc, refusal.sname
        ),
    ))
}

/// Whether a ticket for this service, or for the way to it, is what a Remote Desktop client asks for.
fn is_for_the_logon(service: &str) -> bool {
    let class = service.split('/').next().unwrap_or_default();
    class.eq_ignore_ascii_case("TERMSRV") || class.eq_ignore_ascii_case("krbtgt")
}

/// A client asks the KDC just before its logon.
const ASKED_BEFORE: Span = Span::secs(30);
/// Errors after which clients try NTLM: service unknown, more than one of that name, option refused, no ticket-granting ticket, wrong realm.
const FALL_BACK: &[i32] = &[7, 8, 13, 67, 68];

/// The leg that the refusal answers.
fn leg_before(case: &Case<'_>, refusal: &Line) -> Option<(Evidence, crate::capture::Timestamp)> {
    let leg = case
        .progress
        .hidden
        .last(|line| line.side == Side::Client && line.at <= refusal.at && !matches!(line.said, Said::Alert(_)))?;
    Some((case.line(leg), leg.at))
}

/// The client's close that only follows the refusal.
fn follows(case: &Case<'_>) -> Option<Evidence> {
    let mut evidence = case.close_evidence().filter(|_| case.closed_by(Side::Client))?;
    evidence.text = format!("{}: it only follows the refusal", evidence.text);
    Some(evidence)
}

fn who_acts(code: u32) -> Act {
    match code {
        // Wrong user or password, in the words of both code spaces.
        0xC000_006D | 0xC000_006A | 0xC000_0064 | 0x8009_030C | 0x8009_030E => Act::Client,
        // NTLM refused, logon type not granted, Netlogon, secure channel, resources: the host's own affairs.
        0x8009_0302 | 0xC000_015B | 0xC000_0155 | 0xC000_0192 | 0xC000_018A | 0xC000_018D | 0xC000_009A | 0xC00A_0037 => {
            Act::Server
        }
        _ => Act::Identity,
    }
}

/// What helps: by the code where it is known.
fn advice(mut verdict: Verdict, code: Option<u32>, waited: Option<Span>, case: &Case<'_>) -> Verdict {
    if let Some(known) = code.and_then(|code| codes::lookup(&NTSTATUS, code)) {
        for step in known.remedy {
            verdict = verdict.remedy(*step);
        }
        return verdict;
    }
    let host = case.host_name();
    let verdict = verdict
        .remedy("type user name and password again, the name as DOMAIN\\user or user@domain; delete the saved ones (cmdkey /list, cmdkey /delete:TERMSRV/host)".replace("TERMSRV/host", &format!("TERMSRV/{host}")))
        .remedy(format!(
            "on {host} read Security event 4625 of this second: its Status and Sub Status tell wrong password, locked, disabled, expired, or a logon right that is missing"
        ))
        .remedy("if NTLM was used (an address instead of a name, or no domain controller in reach) and policy or the group Protected Users forbids it: connect by the full DNS name so that Kerberos can serve");
    if waited.is_none_or(|waited| waited >= LONG) {
        return verdict.or(
            &HANDSHAKE_TIMEOUT,
            "a server that ran out of time looks alike where the pause before the answer is long; event 4625 tells the two apart",
        );
    }
    verdict
}

/// A server that answers sooner has not run out of time.
const LONG: Span = Span::secs(3);
