//! `tls_inspection`: a device ended TLS in the server's place, signed a certificate of its own, and the connection failed for that.
//!
//! Told by the issuer: products sign with authorities of their own name. Or told by change: the same address showed another issuer's
//! certificate before. A Remote Desktop host signs its own certificate or has one of the company's authority; neither changes within
//! a capture but for a renewal, which keeps the issuer.

use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::{CERTIFICATE_UNTRUSTED, TLS_INSPECTION};
use crate::diagnosis::close::side_ended;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::forensics::inspection::{self, Mark};
use crate::protocol::tls::alert::Alert;
use crate::transcript::Phase;

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if !matches!(case.phase(), Phase::Tls | Phase::CredSsp | Phase::Gateway) {
        return None;
    }
    let (moment, leaf) = case.t.certificate()?;
    // bad_certificate, certificate_unknown, unknown_ca: RFC 8446 section 6.2.
    let alert = case
        .t
        .alerts()
        .find(|(moment, alert)| moment.side == Side::Client && matches!(alert.description, 42 | 46 | 48));
    let left = alert.is_none() && case.phase() == Phase::Tls && case.close.side() == Some(Side::Client);
    if alert.is_none() && !left {
        return None;
    }
    let mark = case
        .t
        .chain()
        .into_iter()
        .flat_map(|(_, chain)| chain)
        .find_map(|certificate| inspection::mark(certificate));
    let other = case.context.certificates.other(case.t.server, &leaf.issuer, &leaf.serial);
    let (why, confidence) = match (&mark, other) {
        (Some(Mark::Product(product)), _) => (format!("its issuer is {product}"), Confidence::Likely),
        (Some(Mark::Word(word)), _) => (
            format!("its issuer calls itself a device of that kind (\u{201c}{word}\u{201d})"),
            Confidence::Likely,
        ),
        (None, Some(other)) if !leaf.self_signed => (
            format!(
                "the same address showed a certificate of another issuer ({}) in frame {}",
                other.issuer, other.frame
            ),
            Confidence::Possible,
        ),
        _ => return None,
    };
    let host = case.server_label();
    let first = match alert {
        Some((moment, alert)) => case.moment(moment, format!("the client turns the certificate down: {}", describe(alert))),
        None => case.close_evidence()?,
    };
    let verdict = Verdict::new(
        &TLS_INSPECTION,
        if alert.is_some() { confidence } else { Confidence::Possible },
        Act::Network,
        format!("a device on the path re-signed the TLS of {host}, and the client turned its certificate down: {why}"),
        first,
    )
    .because([case.moment(
        moment,
        format!("certificate of {}, issued by {}", leaf.subject, leaf.issuer),
    )])
    .because(other.map(|other| case.shows(other.frame, other.at, format!("the same address with a certificate issued by {}", other.issuer))))
    .or(
        &CERTIFICATE_UNTRUSTED,
        "the host itself has that certificate; look at it on the host: the thumbprint in the TLS listener's settings tells",
    )
    .remedy(format!(
        "exempt {} port {} from TLS inspection: Remote Desktop binds its logon to the server's own certificate, so an inspected connection cannot log on with NLA",
        case.server_host(),
        case.t.server.port()
    ))
    .remedy("a trusted authority of the device on the client silences the warning, but NLA still fails, for CredSSP checks the public key (MS-CSSP section 3.1.5)");
    let mechanism = if alert.is_some() {
        Mechanism::TlsAlert
    } else {
        case.close.mechanism()
    };
    let ended: EndedBy = side_ended(Side::Client);
    Some(Finding::new(verdict, ended, mechanism).fact("issuer", &leaf.issuer))
}

fn describe(alert: Alert) -> String {
    alert.to_string()
}
