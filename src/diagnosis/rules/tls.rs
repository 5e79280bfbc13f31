//! The TLS handshake, to the host or to the gateway: alerts, certificates that were turned down, and closes without a word.

use crate::capture::Timestamp;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{
    ABORTED_BY_CLIENT, CERTIFICATE_BAD, CERTIFICATE_EXPIRED, CERTIFICATE_NAME_MISMATCH, CERTIFICATE_NOT_YET_VALID,
    CERTIFICATE_UNTRUSTED, MIDDLEBOX_RESET, NOT_RDP_SERVICE, TLS_ALERT, TLS_CIPHER_MISMATCH, TLS_CLOSED_BY_CLIENT,
    TLS_CLOSED_BY_SERVER, TLS_VERSION_MISMATCH,
};
use crate::diagnosis::close::side_ended;
use crate::diagnosis::rules::reset;
use crate::diagnosis::verdict::{Act, Cause, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::{Opening, Side};
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::certificate::{Certificate, Validity};
use crate::protocol::tls::record::Version;
use crate::transcript::{Moment, Phase, SealedKind, What};

/// A fatal alert in clear that ended the handshake.
pub fn alert(case: &Case<'_>) -> Option<Finding> {
    let version = case.t.server_hello().map_or(Version::TLS12, |(_, hello)| hello.version());
    let (moment, alert) = case.t.alerts().find(|(moment, alert)| {
        // An alert that follows the other side's close answers it and decides nothing.
        alert.is_fatal(version) && (case.close.follows(case.t, moment.frames.last) || case.close.side() == Some(moment.side))
    })?;
    // Nobody turns down what was not begun: where the client said nothing after the Connection Confirm it had left, and this answers that.
    let begun = case.t.confirm().is_none_or(|(confirm, _)| {
        case.t
            .tcp
            .log
            .iter()
            .any(|seen| seen.side == Side::Client && seen.has_data() && seen.no > confirm.frames.last)
    });
    if moment.side == Side::Server && !begun && case.t.only_side().is_none() {
        return None;
    }
    if alert.description == Alert::CLOSE_NOTIFY {
        return None;
    }
    let (cause, confidence) = meaning(case, moment, alert);
    // Servers answer a client that closes in the middle of the handshake with one of these, and its close was not captured.
    let may_answer_close = moment.side == Side::Server
        && matches!(alert.description, Alert::UNEXPECTED_MESSAGE | Alert::DECODE_ERROR)
        && case.t.only_side() == Some(Side::Server);
    // What the alert answers was not captured: it may be the Connection Request, and the service no Remote Desktop.
    let unasked = moment.side == Side::Server && case.t.tcp.opening == Opening::MidStream && !begun_seen(case);
    let confidence = if may_answer_close || unasked {
        Confidence::Possible
    } else {
        confidence
    };
    let who = moment.side;
    let host = case.server_label();
    let summary = if is_about_certificate(cause) {
        format!(
            "the {who} turned down the certificate of {}: {}",
            if who == Side::Client { host.as_str() } else { "the client" },
            words(case, cause, alert)
        )
    } else {
        format!(
            "the {who} ended the TLS handshake ({host}) with a fatal alert: {alert}{}",
            offers(case, cause)
        )
    };
    let act = match (cause.slug, who) {
        ("tls_version_mismatch" | "tls_cipher_mismatch", _) => Act::Server,
        (_, Side::Client) if is_about_certificate(cause) => Act::Server,
        (_, Side::Client) => Act::Client,
        (_, Side::Server) => Act::Server,
    };
    let verdict = Verdict::new(
        cause,
        confidence,
        act,
        summary,
        case.moment(moment, format!("TLS alert of the {who}: {alert}")),
    )
    .because(certificate_evidence(case, cause))
    .because(hello_evidence(case, cause));
    let verdict = if may_answer_close {
        verdict.or(
            &ABORTED_BY_CLIENT,
            "a client that closes in the middle of the handshake may be answered so, and what the client sent is not in this capture",
        )
    } else {
        verdict
    };
    let verdict = if unasked {
        verdict.or(
            &NOT_RDP_SERVICE,
            "a service that speaks TLS from its first byte answers a Connection Request with an alert, and what the client asked is not in this capture",
        )
    } else {
        verdict
    };
    let verdict = remedies(verdict, cause, case);
    Some(Finding::new(verdict, side_ended(who), Mechanism::TlsAlert).fact("alert", alert.description))
}

/// Whether anything of the negotiation or of the TLS handshake is in the capture.
fn begun_seen(case: &Case<'_>) -> bool {
    case.t.confirm().is_some() || case.t.client_hello().is_some() || case.t.server_hello().is_some()
}

/// What an alert means here. RFC 8446 section 6.2 gives the descriptions; which one a stack chooses for a certificate that it does not
/// like varies, so the certificate itself is asked where it was seen.
fn meaning(case: &Case<'_>, moment: &Moment, alert: Alert) -> (&'static Cause, Confidence) {
    let certain = Confidence::Certain;
    let seen = certificate_fault(case, moment.at);
    let from_client = moment.side == Side::Client;
    match alert.description {
        45 => match seen {
            Some(fault @ (_, true)) if fault.0 == &CERTIFICATE_NOT_YET_VALID => (fault.0, certain),
            _ => (&CERTIFICATE_EXPIRED, certain),
        },
        48 => (&CERTIFICATE_UNTRUSTED, certain),
        42 | 46 if from_client => match seen {
            Some((cause, true)) => (cause, Confidence::Likely),
            // Stacks say this for a wrong name and a wrong date, too; the certificate or the name that would tell was not seen.
            _ if case.t.certificate().is_none() || asked_name(case).is_none() => (&CERTIFICATE_BAD, Confidence::Likely),
            _ => (&CERTIFICATE_BAD, certain),
        },
        42..=44 | 46 | 113 => (&CERTIFICATE_BAD, certain),
        70 | 86 => (&TLS_VERSION_MISMATCH, certain),
        71 => (&TLS_CIPHER_MISMATCH, certain),
        // handshake_failure is what OpenSSL and Schannel say when no suite fits; after the ServerHello it means something else.
        40 if !from_client && !has_begun_flight(case, moment) => (&TLS_CIPHER_MISMATCH, Confidence::Likely),
        _ => (&TLS_ALERT, certain),
    }
}

/// Whether the server had answered the ClientHello before this alert, so that a suite was agreed. The first thing that a server says in TLS is
/// its ServerHello (RFC 8446 section 4), and it said so even where a snap length cut it off.
fn has_begun_flight(case: &Case<'_>, alert: &Moment) -> bool {
    let confirmed = case.t.confirm().map(|(confirm, _)| confirm.frames.last);
    let of_flight = |moment: &Moment| {
        moment.side == Side::Server
            && !matches!(moment.what, What::Alert(_))
            && moment.frames.last < alert.frames.first
            && confirmed.is_none_or(|confirmed| moment.frames.first > confirmed)
    };
    case.t.server_hello().is_some() || case.t.outer().any(of_flight)
}

/// What is wrong with the server's certificate as far as it was seen, and whether it is a fault that every client sees.
fn certificate_fault(case: &Case<'_>, at: Timestamp) -> Option<(&'static Cause, bool)> {
    let (_, leaf) = case.t.certificate()?;
    match leaf.validity_at(at.0.div_euclid(1_000_000_000)) {
        Validity::NotYet(_) => return Some((&CERTIFICATE_NOT_YET_VALID, true)),
        Validity::Expired(_) => return Some((&CERTIFICATE_EXPIRED, true)),
        Validity::Valid => {}
    }
    if let Some(name) = asked_name(case)
        && !leaf.matches_name(&name)
    {
        return Some((&CERTIFICATE_NAME_MISMATCH, true));
    }
    if leaf.self_signed {
        return Some((&CERTIFICATE_UNTRUSTED, false));
    }
    None
}

/// The name under which the client looked for the server.
fn asked_name(case: &Case<'_>) -> Option<String> {
    case.t
        .sni()
        .map(str::to_owned)
        .or_else(|| case.context.names.get(&case.t.server.ip()).cloned())
}

fn is_about_certificate(cause: &Cause) -> bool {
    cause.slug.starts_with("certificate_")
}

fn words(case: &Case<'_>, cause: &'static Cause, alert: Alert) -> String {
    match cause.slug {
        "certificate_expired" => "it has expired".to_owned(),
        "certificate_not_yet_valid" => "it is not valid yet".to_owned(),
        "certificate_name_mismatch" => match asked_name(case) {
            Some(name) => format!("it is not made out to {name}"),
            None => "it is made out to another name".to_owned(),
        },
        "certificate_untrusted" => "its issuer is not trusted".to_owned(),
        _ => format!("{alert}"),
    }
}

/// What the ClientHello offered, where nothing of it fitted.
fn offers(case: &Case<'_>, cause: &Cause) -> String {
    let Some((_, hello)) = case.t.client_hello() else {
        return String::new();
    };
    match cause.slug {
        "tls_version_mismatch" => format!("; the client offers up to {}", hello.highest_version()),
        "tls_cipher_mismatch" => format!("; none of the client's {} cipher suites fits", hello.cipher_suites.len()),
        _ => String::new(),
    }
}

fn hello_evidence(case: &Case<'_>, cause: &Cause) -> Option<Evidence> {
    if !matches!(cause.slug, "tls_version_mismatch" | "tls_cipher_mismatch") {
        return None;
    }
    let (moment, hello) = case.t.client_hello()?;
    let versions: Vec<String> = hello.offered_versions().iter().map(ToString::to_string).collect();
    Some(case.moment(
        moment,
        format!(
            "ClientHello: {}; {} cipher suites",
            versions.join(", "),
            hello.cipher_suites.len()
        ),
    ))
}

fn date(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

fn certificate_evidence(case: &Case<'_>, cause: &Cause) -> Option<Evidence> {
    if !is_about_certificate(cause) {
        return None;
    }
    let (moment, leaf) = case.t.certificate()?;
    Some(case.moment(moment, describe(case, leaf, cause)))
}

fn describe(case: &Case<'_>, leaf: &Certificate, cause: &Cause) -> String {
    let base = format!("certificate \"{}\" issued by \"{}\"", leaf.subject, leaf.issuer);
    match cause.slug {
        "certificate_expired" => format!("{base}, valid until {}", date(leaf.not_after)),
        "certificate_not_yet_valid" => format!("{base}, valid from {}", date(leaf.not_before)),
        "certificate_name_mismatch" => {
            let names = if leaf.dns_names.is_empty() {
                leaf.common_name.clone().unwrap_or_default()
            } else {
                leaf.dns_names.join(", ")
            };
            format!(
                "{base}, made out to {names}; the client asked for {}",
                asked_name(case).unwrap_or_default()
            )
        }
        _ if leaf.self_signed => format!("{base}: self-signed"),
        _ => base,
    }
}

fn remedies(verdict: Verdict, cause: &Cause, case: &Case<'_>) -> Verdict {
    let host = case.server_host();
    match cause.slug {
        "certificate_expired" => verdict
            .remedy(format!("renew the certificate of {host} and bind it to the listener (RDP-Tcp: `SSLCertificateSHA1Hash`; RD Gateway: its properties); a self-signed one is made anew when it is deleted from the store \"Remote Desktop\" and TermService is restarted"))
            .remedy("check the clocks of both sides: a wrong date makes a good certificate look expired"),
        "certificate_not_yet_valid" => verdict
            .remedy(format!("check the clocks: `w32tm /query /status` on the client and on {host}; one of them is behind the other"))
            .remedy("a certificate that really starts later has to be replaced by one that is valid now"),
        "certificate_name_mismatch" => verdict
            .remedy(format!("connect with a name that the certificate holds, or issue one that holds {host} (subject alternative name)"))
            .remedy("check DNS: an alias or an old record may lead to another machine, whose certificate this is"),
        "certificate_untrusted" => verdict
            .remedy(format!("put the issuing CA of {host} into the client's trusted roots (by policy), or give the server a certificate of a CA that the client trusts"))
            .remedy("check that the server sends its intermediate certificates")
            .test("accepting the warning once proves the cause; a client that always accepts also accepts an attacker"),
        "certificate_bad" => verdict
            .remedy(format!("look at the certificate of {host}: key usage, extended key usage (server authentication), key length, signature algorithm, revocation list reachable from the client")),
        "tls_version_mismatch" => verdict
            .remedy("let both sides speak TLS 1.2 or 1.3: on Windows the SCHANNEL\\Protocols keys of client and server, on others `ssl_protocols` or the crypto policy; update the older side")
            .test("switching an old TLS version on again proves the cause, and weakens every connection: a test, not a cure"),
        "tls_cipher_mismatch" => verdict
            .remedy("compare the cipher suites of both sides (`Get-TlsCipherSuite`, policy \"SSL Cipher Suite Order\", hardening tools) and give them one of ECDHE with AES-GCM in common; a suite also needs a certificate of its kind (RSA or ECDSA)"),
        _ => verdict.remedy(format!("look for the Schannel events 36874, 36887 and 36888 on {host} and on the client at that minute: they name the reason behind the alert")),
    }
}

/// A close during the handshake without an alert in clear.
pub fn closed(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::Tls {
        return None;
    }
    match case.close.side()? {
        Side::Server => server_closed(case),
        Side::Client if case.t.client_hello().is_none() => None,
        Side::Client => client_closed(case),
    }
}

fn server_closed(case: &Case<'_>) -> Option<Finding> {
    let hello_at = case.hello()?;
    let hello = case.t.client_hello().map(|(_, hello)| hello);
    let at = case.close.at(case.t)?;
    let answered = case.t.server_hello();
    let host = case.server_label();
    let summary = match answered {
        None => format!(
            "{host} closed {} after the ClientHello, without a ServerHello and without an alert",
            human(at.since(hello_at.at))
        ),
        Some(_) => format!("{host} closed during the TLS handshake without an alert"),
    };
    let stateless = reset::without_state(case);
    let verdict = Verdict::new(
        &TLS_CLOSED_BY_SERVER,
        if stateless.is_none() && hello.is_some() {
            Confidence::Likely
        } else {
            Confidence::Possible
        },
        Act::Server,
        summary,
        case.close_evidence()?,
    )
    .because([case.moment(hello_at, "the ClientHello")])
    .because(stateless)
    .or(
        &MIDDLEBOX_RESET,
        "a device that inspects TLS may cut the connection in the server's name; a capture at the server tells",
    );
    let verdict = match hello
        .map(|hello| hello.highest_version())
        .filter(|highest| *highest < Version::TLS12)
    {
        Some(highest) => verdict.or(
            &TLS_VERSION_MISMATCH,
            format!("the client offers {highest} at most, and a server may close instead of saying so"),
        ),
        None => verdict,
    };
    let verdict = verdict
        .remedy("on the server look for Schannel events 36870 and 36871 and for TerminalServices-RemoteConnectionManager 1057: the private key of the certificate cannot be used")
        .remedy("give NETWORK SERVICE read permission on the key under C:\\ProgramData\\Microsoft\\Crypto\\RSA\\MachineKeys, or delete the self-signed \"Remote Desktop\" certificate and restart TermService")
        .remedy("check SCHANNEL hardening on the server: TLS versions and cipher suites that are switched off");
    Some(Finding::new(verdict, EndedBy::Server, case.close.mechanism()))
}

fn client_closed(case: &Case<'_>) -> Option<Finding> {
    let at = case.close.at(case.t)?;
    let sealed_alert = case.t.sealed().find(|(moment, sealed)| {
        moment.side == Side::Client && matches!(sealed.kind, SealedKind::AlertStated | SealedKind::AlertBySize)
    });
    let host = case.server_label();
    let answered = case.t.server_hello().is_some();
    let evidence = match sealed_alert {
        Some((moment, sealed)) => case.moment(
            moment,
            format!("the client sends an encrypted alert ({} bytes)", sealed.length),
        ),
        None => case.close_evidence()?,
    };
    let mechanism = if sealed_alert.is_some() {
        Mechanism::TlsAlert
    } else {
        case.close.mechanism()
    };
    // Only a fault that the certificate shows plainly is called the reason; that it is self-signed is the rule with RDP.
    if let Some((cause, true)) = certificate_fault(case, at).filter(|_| answered) {
        let verdict = Verdict::new(
            cause,
            Confidence::Likely,
            Act::Server,
            format!(
                "the client closed after it had seen the certificate of {host}: {}",
                fault_words(case, cause)
            ),
            evidence,
        )
        .because(certificate_evidence(case, cause))
        .or(
            &ABORTED_BY_CLIENT,
            "the client may have left for another reason; what it showed to its user tells",
        );
        return Some(Finding::new(remedies(verdict, cause, case), EndedBy::Client, mechanism));
    }
    let verdict = if answered {
        Verdict::new(
            &TLS_CLOSED_BY_CLIENT,
            Confidence::Likely,
            Act::Client,
            format!("the client closed during the TLS handshake with {host}, after the server's flight and without saying why"),
            evidence,
        )
        .because(certificate_evidence(case, &CERTIFICATE_UNTRUSTED))
        .or(&CERTIFICATE_UNTRUSTED, "clients that do not trust the certificate often close without an alert; what the client showed tells")
        .remedy("ask what the client showed: a certificate warning points at the certificate, its chain or its name")
        .remedy("on the client look for Schannel events 36880 to 36888 and CAPI2 (operational log): certificate chain building is logged there")
    } else {
        Verdict::new(
            &TLS_CLOSED_BY_CLIENT,
            Confidence::Likely,
            Act::Client,
            format!("the client closed after its ClientHello to {host}, before the server had answered"),
            evidence,
        )
        .remedy("see how long the client waited: a short wait is a cancelled or replaced connection, a long one a slow server")
    };
    Some(Finding::new(verdict, EndedBy::Client, mechanism))
}

fn fault_words(case: &Case<'_>, cause: &'static Cause) -> String {
    match cause.slug {
        "certificate_expired" => "it has expired".to_owned(),
        "certificate_not_yet_valid" => "it is not valid yet".to_owned(),
        _ => match asked_name(case) {
            Some(name) => format!("it is not made out to {name}"),
            None => "it is made out to another name".to_owned(),
        },
    }
}
