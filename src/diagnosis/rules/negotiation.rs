//! X.224 negotiation: the server's failure codes, a server that closes without an answer, and services that are no RDP.

use crate::capture::Timestamp;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{
    MIDDLEBOX_RESET, NEGOTIATION_CLOSED_BY_SERVER, NEGOTIATION_INCONSISTENT, NLA_REQUIRED, NOT_RDP_SERVICE,
    SERVER_CERTIFICATE_MISSING, SERVER_DENIED, TLS_NOT_ALLOWED, TLS_REQUIRED, USER_AUTH_TLS_REQUIRED,
};
use crate::diagnosis::close::Close;
use crate::diagnosis::rules::reset;
use crate::diagnosis::verdict::{Act, Cause, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::protocol::x224::{Answer, FailureCode};
use crate::transcript::{Phase, What};

/// A failure code of the server, in clear.
pub fn refusal(case: &Case<'_>) -> Option<Finding> {
    let (moment, confirm) = case.t.confirm()?;
    let Answer::Failure { code } = confirm.answer else {
        return None;
    };
    let Some((cause, act, words)) = meaning(code) else {
        let verdict = Verdict::new(
            &SERVER_DENIED,
            Confidence::Certain,
            Act::Server,
            format!(
                "{} refuses the negotiation with the unknown failure code {:#x}",
                case.server_label(),
                code.0
            ),
            case.moment(moment, format!("X.224 negotiation failure, code {:#x}", code.0)),
        );
        return Some(Finding::new(verdict, EndedBy::Server, Mechanism::Refusal));
    };
    let offered = case.t.request().and_then(|(moment, request)| {
        let negotiation = request.negotiation.as_ref()?;
        Some(case.moment(moment, format!("the client offers {}", negotiation.protocols)))
    });
    let verdict = Verdict::new(
        cause,
        Confidence::Certain,
        act,
        format!("{} {words}", case.server_label()),
        case.moment(moment, format!("X.224 negotiation failure: {code} ({})", code.0)),
    )
    .because(offered)
    .because(
        case.closed_by(Side::Client)
            .then(|| case.close_evidence())
            .flatten()
            .map(|mut evidence| {
                evidence.text = "the client only hangs up after the refusal".to_owned();
                evidence
            }),
    );
    Some(Finding::new(remedies(verdict, code, case), EndedBy::Server, Mechanism::Refusal).fact("failure_code", code.0))
}

fn meaning(code: FailureCode) -> Option<(&'static Cause, Act, &'static str)> {
    Some(match code {
        FailureCode::SSL_REQUIRED_BY_SERVER => (
            &TLS_REQUIRED,
            Act::Client,
            "insists on TLS, and the client offered only Standard RDP Security",
        ),
        FailureCode::SSL_NOT_ALLOWED_BY_SERVER => (
            &TLS_NOT_ALLOWED,
            Act::Server,
            "is set to Standard RDP Security only and turns TLS down",
        ),
        FailureCode::SSL_CERT_NOT_ON_SERVER => (
            &SERVER_CERTIFICATE_MISSING,
            Act::Server,
            "has no certificate that it can use for TLS",
        ),
        FailureCode::INCONSISTENT_FLAGS => (
            &NEGOTIATION_INCONSISTENT,
            Act::Client,
            "finds the client's security flags contradictory",
        ),
        FailureCode::HYBRID_REQUIRED_BY_SERVER => (
            &NLA_REQUIRED,
            Act::Client,
            "requires Network Level Authentication, and the client did not offer it",
        ),
        FailureCode::SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER => (
            &USER_AUTH_TLS_REQUIRED,
            Act::Client,
            "insists on TLS with a client certificate",
        ),
        _ => return None,
    })
}

fn remedies(verdict: Verdict, code: FailureCode, case: &Case<'_>) -> Verdict {
    match code {
        FailureCode::HYBRID_REQUIRED_BY_SERVER => verdict
            .remedy("switch NLA on in the client: in the .rdp file `enablecredsspsupport:i:1`; with FreeRDP `/sec:nla`; a client that cannot do NLA needs an update")
            .remedy("check that the connection really reaches the client's CredSSP: smart card or saved credentials policies (\"Restrict delegation of credentials\") may switch it off")
            .test("switching NLA off on the server proves the cause, and lets anyone reach the logon screen: do not leave it off"),
        FailureCode::SSL_REQUIRED_BY_SERVER => verdict
            .remedy("let the client offer TLS and NLA: remove `/sec:rdp` or `negotiate security layer:i:0` from its settings, or update it")
            .test("policy \"Require use of specific security layer\" = RDP on the server proves the cause; it gives up server authentication: a test, not a cure"),
        FailureCode::SSL_NOT_ALLOWED_BY_SERVER => verdict
            .remedy("on the server set the policy \"Require use of specific security layer for remote (RDP) connections\" to Negotiate or SSL (registry SecurityLayer = 2 under WinStations\\RDP-Tcp)")
            .remedy("with xrdp: `security_layer=negotiate` in xrdp.ini, and a certificate that it can read")
            .test("a client that falls back to Standard RDP Security gets in; its encryption is obsolete"),
        FailureCode::SSL_CERT_NOT_ON_SERVER => verdict
            .remedy("on the server look for Schannel events 36870/36871 and TerminalServices-RemoteConnectionManager 1057/1058: the certificate or its private key is missing or unreadable")
            .remedy("give NETWORK SERVICE read permission on the private key (C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys), or delete the broken \"Remote Desktop\" certificate and restart TermService so that it makes a new one")
            .remedy("with xrdp: check that the xrdp user may read the files that `certificate` and `key_file` name in xrdp.ini"),
        FailureCode::INCONSISTENT_FLAGS => verdict
            .remedy("remove settings that force one security layer from the .rdp file or the client's command line, and update the client")
            .remedy(format!("check what sits between client and {}: a proxy that rewrites the Connection Request causes this, too", case.server_host())),
        FailureCode::SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER => verdict
            .remedy("enrol a client certificate (or smart card) that the server trusts, or connect with a client that can present it")
            .remedy("check the server's authentication policy: who asked for client certificates on this listener?"),
        _ => verdict,
    }
}

/// Something answers, and it is not RDP.
pub fn not_rdp(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::X224 {
        return None;
    }
    if let Some(finding) = other_service(case) {
        return Some(finding);
    }
    let (side, moment, foreign) = Side::BOTH
        .into_iter()
        .rev()
        .find_map(|side| case.t.foreign(side).map(|(moment, foreign)| (side, moment, foreign)))?;
    let what = foreign
        .looks_like
        .map_or("bytes of an unknown protocol".to_owned(), str::to_owned);
    let (summary, confidence) = match side {
        Side::Server => (
            format!("what answers on {} is not Remote Desktop but {what}", case.server_label()),
            Confidence::Certain,
        ),
        Side::Client => (
            format!("what is spoken on {} is not Remote Desktop but {what}", case.server_label()),
            Confidence::Possible,
        ),
    };
    let start: String = foreign
        .start
        .iter()
        .take(16)
        .map(|byte| {
            if byte.is_ascii_graphic() || *byte == b' ' {
                char::from(*byte)
            } else {
                '.'
            }
        })
        .collect();
    let verdict = Verdict::new(
        &NOT_RDP_SERVICE,
        confidence,
        Act::Server,
        summary,
        case.moment(moment, format!("the {side} says \"{start}\"")),
    );
    let verdict = where_to_look(verdict, case);
    let (ended_by, mechanism) = match case.close {
        // The client that finds no RDP hangs up; what decided is the answer.
        _ if side == Side::Server && case.t.request().is_some() && !matches!(case.close, Close::Open) => {
            (EndedBy::Server, Mechanism::Refusal)
        }
        _ => (case.close.ended_by(), case.close.mechanism()),
    };
    Some(Finding::new(verdict, ended_by, mechanism))
}

/// An answer to the Connection Request that is well formed and cannot come from Remote Desktop: a TLS alert before anybody began TLS,
/// or the request itself, as an echo service sends it back.
fn other_service(case: &Case<'_>) -> Option<Finding> {
    let t = case.t;
    // Where the request was not captured the server's own numbers tell that it had said nothing before.
    let half = &t.tcp.half.server;
    let first_word = half
        .isn
        .zip(half.first_data)
        .filter(|(isn, first)| first.seq == isn.wrapping_add(1));
    let speaks_first = first_word
        .map(|(_, first)| first.no)
        .filter(|_| t.only_side() == Some(Side::Server));
    if t.request().is_none() && speaks_first.is_none() || t.client_hello().is_some() || t.confirm().is_some() {
        return None;
    }
    let (moment, what) = case.t.outer().find_map(|moment| match (&moment.what, moment.side) {
        (What::Alert(alert), Side::Server) => {
            Some((moment, format!("TLS without X.224 (it answers with the TLS alert {alert})")))
        }
        (What::Request(_), Side::Server) => Some((moment, "a service that sends back what it gets (echo)".to_owned())),
        _ => None,
    })?;
    // The first answer may be what was not captured.
    if speaks_first != Some(moment.frames.first) && case.has_hole(Timestamp(i64::MIN), moment.at) {
        return None;
    }
    let verdict = Verdict::new(
        &NOT_RDP_SERVICE,
        Confidence::Certain,
        Act::Server,
        format!("what answers on {} is not Remote Desktop but {what}", case.server_label()),
        case.moment(moment, format!("the server answers the Connection Request: {what}")),
    );
    Some(Finding::new(
        where_to_look(verdict, case),
        EndedBy::Server,
        Mechanism::Refusal,
    ))
}

fn where_to_look(verdict: Verdict, case: &Case<'_>) -> Verdict {
    let port = case.t.server.port();
    verdict
        .remedy(format!(
            "check which service listens on TCP {port} of {}: `netstat -abno` or `Get-NetTCPConnection -LocalPort {port}`",
            case.server_host()
        ))
        .remedy("check the address and the port in the client, and port forwarding or load balancing on the way")
}

/// The server took the Connection Request and closed without an answer.
pub fn closed(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::X224 || case.t.confirm().is_some() || !case.closed_by(Side::Server) {
        return None;
    }
    let asked = case.t.request().map(|(moment, _)| moment);
    let at = case.close.at(case.t)?;
    let after = asked.map(|asked| at.since(asked.at));
    let summary = match after {
        Some(after) => format!(
            "{} took the Connection Request and closed {} later without an answer",
            case.server_label(),
            human(after)
        ),
        None => format!(
            "{} accepted the connection and closed it before anything was said",
            case.server_label()
        ),
    };
    let stateless = reset::without_state(case);
    let confidence = if asked.is_some() && stateless.is_none() {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let verdict = Verdict::new(&NEGOTIATION_CLOSED_BY_SERVER, confidence, Act::Server, summary, case.close_evidence()?)
        .because(asked.map(|asked| case.moment(asked, "the Connection Request")))
        .because(stateless)
        .or(&MIDDLEBOX_RESET, "a firewall that knows RDP may cut the connection at the Connection Request; a capture at the server tells")
        .remedy("on the server: is TermService healthy? Event logs TerminalServices-RemoteConnectionManager and System at that minute; `Restart-Service TermService -Force` when nobody works on it")
        .remedy("check limits that act before the logon: maximum connections of the listener, `change logon /query`, brute-force protection that bars this address")
        .remedy("behind a load balancer or a port forward: does the back end exist and listen?");
    Some(Finding::new(verdict, EndedBy::Server, case.close.mechanism()))
}
