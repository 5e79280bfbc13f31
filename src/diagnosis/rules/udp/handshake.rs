//! `dtls_failed`: a TLS or DTLS handshake over UDP that ends in an alert, or stands still though datagrams pass.

use crate::capture::Span;
use crate::diagnosis::case::{Finding, human};
use crate::diagnosis::causes::{DTLS_FAILED, TLS_INSPECTION, UDP_DROPPED};
use crate::diagnosis::close::side_ended;
use crate::diagnosis::rules::udp::advice;
use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::protocol::tls::record::Version;
use crate::transcript::Phase;

/// A handshake over UDP takes no longer, repetitions of lost flights included.
const STILL: Span = Span::secs(10);

impl UdpCase<'_> {
    /// What the handshake of this phase is called.
    pub(super) fn phase_words(&self) -> &'static str {
        match (self.phase(), self.t.heard.is_dtls) {
            (Phase::UdpHandshake, _) => "RDP-UDP",
            (_, true) => "DTLS",
            (_, false) => "TLS",
        }
    }
}

/// A fatal alert, in clear or after the keys were changed.
pub fn alert(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Dtls {
        return None;
    }
    let version = case.t.server_hello().map_or(Version::DTLS12, |(_, hello)| hello.version());
    let clear = case
        .t
        .alerts()
        .find(|(_, alert)| alert.is_fatal(version))
        .map(|(moment, alert)| (moment, alert.to_string(), Confidence::Certain));
    let opened = || {
        case.t
            .opened_alerts()
            .find(|(_, alert)| alert.is_fatal(version))
            .map(|(moment, alert)| (moment, alert.to_string(), Confidence::Certain))
    };
    let sealed = || {
        let moment = case.t.goodbye()?;
        Some((moment, "an encrypted alert".to_owned(), Confidence::Likely))
    };
    let (moment, what, confidence) = clear.or_else(opened).or_else(sealed)?;
    let side = moment.side;
    let act = match (side, case.is_gateway()) {
        (Side::Client, _) => Act::Client,
        (Side::Server, true) => Act::Gateway,
        (Side::Server, false) => Act::Server,
    };
    let words = case.phase_words();
    let summary = case.summary(format!(
        "the {side} ends the {words} handshake with {} by an alert: {what}",
        case.server_label()
    ));
    let verdict = Verdict::new(
        &DTLS_FAILED,
        confidence,
        act,
        summary,
        case.moment(moment, format!("{words} alert of the {side}: {what}")),
    )
    .because(
        case.t
            .client_hello()
            .map(|(hello, offer)| case.moment(hello, format!("the client offers up to {}", offer.highest_version()))),
    )
    .because(
        case.t
            .certificate()
            .map(|(moment, leaf)| case.moment(moment, format!("certificate of {}, issued by {}", leaf.subject, leaf.issuer))),
    );
    let verdict = case.with_story(verdict);
    let verdict = if side == Side::Client {
        verdict
            .or(&TLS_INSPECTION, "a device that re-signs the connection shows another certificate than the one on TCP; compare their issuers")
            .remedy(format!(
                "compare the certificate on UDP with the one on TCP: {} must show the same one on both, and the client must trust it",
                case.server_host()
            ))
    } else {
        verdict.remedy(format!(
            "make sure that {} has a certificate for UDP and speaks a DTLS version and a cipher suite that the client offers (Schannel's \
             registry settings for DTLS 1.0 and 1.2)",
            case.server_host()
        ))
    };
    Some(Finding::new(advice::prove(verdict), side_ended(side), Mechanism::TlsAlert))
}

/// Datagrams pass in both directions, and the handshake does not come to its end.
pub fn stuck(case: &UdpCase<'_>) -> Option<Finding> {
    if case.phase() != Phase::Dtls || case.t.is_midstream() {
        return None;
    }
    let (last, since) = (case.t.udp.last(), case.progress.entered);
    let tried = last.at.since(since);
    let repeats = case.t.heard.repeats.len();
    let over = case.t.watched_after() >= STILL || (repeats >= 3 && tried >= Span::secs(2));
    if !over || case.is_aftermath(last.at) {
        return None;
    }
    let words = case.phase_words();
    let reached = case.t.heard.moments.last();
    let summary = case.summary(format!(
        "the {words} handshake with {} does not come to its end: {} and {} datagrams in {}",
        case.server_label(),
        case.t.udp.half.client.packets,
        case.t.udp.half.server.packets,
        human(tried)
    ));
    let verdict = Verdict::new(
        &DTLS_FAILED,
        Confidence::Possible,
        Act::Network,
        summary,
        case.packet(
            last,
            format!(
                "the last datagram of the handshake; nothing follows for {}",
                human(case.t.watched_after())
            ),
        ),
    )
    .because(reached.map(|moment| case.moment(moment, format!("the last message of the handshake is the {}'s", moment.side))))
    .because(
        case.t
            .heard
            .repeats
            .last()
            .map(|repeat| case.packet(&repeat.seen, format!("one of {repeats} repetitions"))),
    );
    let verdict = case.with_story(verdict).or(
        &UDP_DROPPED,
        "one direction may lose the datagrams that the other waits for; a capture at the other end tells",
    );
    let verdict = advice::prove(advice::bypass(case, verdict));
    Some(Finding::new(verdict, EndedBy::Path, Mechanism::Silence).fact("udp_repeats", repeats))
}
