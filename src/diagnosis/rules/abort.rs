//! `aborted_by_client`: the client left on its own and nothing was wrong that could be seen: a prompt, a probe, a retry.

use crate::capture::Span;
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{ABORTED_BY_CLIENT, CERTIFICATE_UNTRUSTED, CREDSSP_POLICY, HANDSHAKE_TIMEOUT, MIDDLEBOX_RESET};
use crate::diagnosis::rules::reset::had_no_socket;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::{Opening, Side};
use crate::packet::TcpFlags;
use crate::protocol::x224::{Answer, Protocols, RequestFlags, ResponseFlags};
use crate::transcript::hidden::Said;
use crate::transcript::{Moment, Phase, Role, SealedKind};

/// A pause that only a person makes: longer than any answer of a healthy host.
const PERSON: Span = Span::secs(2);

/// Whether the client closes behind bytes that it sent, or acknowledges bytes of the server, and none of them was captured.
fn said_more(case: &Case<'_>) -> bool {
    let half = &case.t.tcp.half;
    let begun = |side: Side| half[side].isn.map(|isn| isn.wrapping_add(1));
    let beyond = |number: u32, side: Side| begun(side).is_some_and(|begun| (number.wrapping_sub(begun) as i32) > 1);
    case.t.tcp.log.iter().any(|seen| {
        seen.side == Side::Client
            && !seen.flags.has(TcpFlags::SYN)
            && (beyond(seen.seq, Side::Client) || (seen.flags.has(TcpFlags::ACK) && beyond(seen.ack, Side::Server)))
    })
}

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    // A client that says close_notify has decided, whoever sends the first FIN.
    let said_goodbye = case.closed_by(Side::Server) && first_goodbye(case);
    if !(case.closed_by(Side::Client) || said_goodbye) || case.phase() == Phase::Session {
        return None;
    }
    // A capture that begins inside TLS shows an end, and not whether the logon was done before.
    if case.t.tcp.opening == Opening::MidStream && case.t.client_hello().is_none() && case.phase() > Phase::Tls {
        return None;
    }
    // So does one of SYN, FIN and RST alone, whose numbers show that more was said.
    if case.phase() == Phase::Tcp && said_more(case) {
        return None;
    }
    let quiet = case.quiet_before_close();
    let pause = quiet.filter(|quiet| *quiet >= PERSON);
    let host = case.host_label();
    let (summary, act) = match case.phase() {
        Phase::Tcp => (
            format!("the client gave the connection to {host} up while it was being opened"),
            Act::Client,
        ),
        Phase::X224 if case.t.request().is_none() => (
            format!(
                "the client opened a connection to {host} and closed it without a word: a port check, or a connection that it did not need"
            ),
            Act::Nobody,
        ),
        Phase::X224 => (
            format!("the client left before {host} answered its Connection Request"),
            Act::Client,
        ),
        Phase::Tls if case.t.client_hello().is_none() => (
            format!(
                "the client left after the negotiation with {host} was agreed, before TLS began: a cancelled prompt, a probe or a retry"
            ),
            Act::Client,
        ),
        Phase::Tls => (format!("the client left during the TLS handshake with {host}"), Act::Client),
        _ if unprotected(case) => (
            format!(
                "the client left during the connection sequence with {host}, under Standard RDP Security, before the logon was done"
            ),
            Act::Client,
        ),
        Phase::Gateway => (
            format!("the client left while the tunnel through the gateway {host} was being made"),
            Act::Client,
        ),
        Phase::Licensing | Phase::Activation => (
            format!("the client left during the connection sequence with {host}, after its logon and before the session"),
            Act::Client,
        ),
        _ => (
            format!(
                "the client left after TLS with {host} was up and before the logon was done: a certificate question, a cancelled prompt or a probe"
            ),
            Act::Client,
        ),
    };
    let lacks = not_offered(case);
    let unasked = unasked(case);
    let turned_down = unasked.as_ref().filter(|_| lacks.is_none() && is_mute_since_confirm(case));
    let forgotten = has_forgotten(case);
    let (summary, act) = match (&lacks, turned_down) {
        _ if forgotten => (
            format!(
                "the client's host knew the connection to {host} no longer when it was answered; what had ended it there, before the logon was done, is \
                 not in this capture"
            ),
            Act::Client,
        ),
        (Some((mode, _)), _) => (
            format!("the client insists on {mode}, which {host} does not offer in its Connection Confirm, and left"),
            act,
        ),
        (None, Some(choice)) => (
            format!(
                "{host} selects {}, the client offers {}, and left without another word",
                choice.selected, choice.offered
            ),
            Act::Server,
        ),
        (None, None) => (summary, act),
    };
    let summary = match pause {
        Some(pause) => format!("{summary} (after a pause of {})", human(pause)),
        None => summary,
    };
    // A client that dials again at once has left to try something else; that says less about this connection.
    let redialled = case
        .attempt
        .connections
        .iter()
        .any(|(other, _)| other.started() > case.t.started());
    // Through a gateway only half of what was said inside may be seen, and that half only by its sizes.
    let hidden = &case.progress.hidden;
    let veiled = case.t.role == Role::Gateway
        && (hidden.is_in_channel()
            || hidden.is_out_channel()
            || (case.progress.completed(Phase::Gateway) && case.progress.inferred));
    let confidence = if redialled || veiled || forgotten {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    let verdict = Verdict::new(&ABORTED_BY_CLIENT, confidence, act, summary, case.close_evidence()?)
        .because(goodbye(case))
        .because(lacks.as_ref().map(|(_, answer)| answer.clone()))
        .because(unasked.as_ref().map(|choice| {
            let Choice {
                selected,
                offered,
                moment,
            } = choice;
            let words = format!("the server selects {selected}, which the client (it offers {offered}) may not want");
            case.moment(moment, words)
        }));
    let verdict = match lacks {
        Some((mode, _)) => verdict.remedy(format!(
            "allow {mode} on {host} (HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa, DisableRestrictedAdmin = 0), or connect without it"
        )),
        None => verdict,
    };
    let verdict = match case.phase() {
        _ if forgotten => verdict
            .or(
                &MIDDLEBOX_RESET,
                "a device between here and the client that resets both ends, or the client alone, leaves this picture",
            )
            .remedy("capture at the client, too: it shows what ended the connection there"),
        _ if turned_down.is_some() => verdict.remedy(format!(
            "let {host} agree to a protocol that the client offers (Windows: the security layer of the RDP listener; xrdp: security_layer=negotiate), or let the \
             client accept the host's, if it is old and the network is trusted"
        )),
        Phase::CredSsp | Phase::Mcs if !unprotected(case) => verdict
            .or(&CERTIFICATE_UNTRUSTED, "clients that ask the user about the certificate close like this when the answer is no")
            .remedy("ask the user what the client showed: a certificate warning or a credential prompt that was cancelled leaves exactly this picture"),
        Phase::X224 if case.t.request().is_some() => {
            verdict.or(&HANDSHAKE_TIMEOUT, "the client may have lost patience with a slow server; the time before its close tells")
        }
        _ => verdict.remedy("if the user saw an error here, note its code and time, and capture again: the network shows no fault"),
    };
    let verdict = match case.phase() {
        Phase::CredSsp if !proved(case) => verdict.or(
            &CREDSSP_POLICY,
            "a client whose policy \"Encryption Oracle Remediation\" turns an unpatched server down, or that may not send NTLM, leaves here, too; the versions are under TLS",
        ),
        _ => verdict,
    };
    let how = if said_goodbye {
        Mechanism::TlsAlert
    } else {
        case.close.mechanism()
    };
    Some(Finding::new(verdict, EndedBy::Client, how))
}

/// What the client asks for and the server's answer lacks; mstsc leaves then with error 0xe09.
fn not_offered(case: &Case<'_>) -> Option<(&'static str, Evidence)> {
    let asked = case.t.request()?.1.negotiation.as_ref()?.flags;
    let (moment, confirm) = case.t.confirm()?;
    let Answer::Response { flags, .. } = confirm.answer else {
        return None;
    };
    let answer = || case.moment(moment, format!("the server's Connection Confirm offers {flags}"));
    if !matches!(case.phase(), Phase::Tls | Phase::CredSsp) {
        return None;
    }
    if asked.contains(RequestFlags::RESTRICTED_ADMIN_MODE_REQUIRED)
        && !flags.contains(ResponseFlags::RESTRICTED_ADMIN_MODE_SUPPORTED)
    {
        Some(("Restricted Admin", answer()))
    } else if asked.contains(RequestFlags::REDIRECTED_AUTHENTICATION_MODE_REQUIRED)
        && !flags.contains(ResponseFlags::REDIRECTED_AUTHENTICATION_MODE_SUPPORTED)
    {
        Some(("Remote Credential Guard", answer()))
    } else {
        None
    }
}

/// A protocol that the client had not offered, and the server selected.
struct Choice<'a> {
    selected: Protocols,
    offered: Protocols,
    moment: &'a Moment,
}

/// The server's choice of a protocol that the client had not offered.
fn unasked<'a>(case: &Case<'a>) -> Option<Choice<'a>> {
    let (moment, _) = case.t.confirm()?;
    let selected = case.t.selected()?;
    let offered = case.t.request()?.1.negotiation.as_ref()?.protocols;
    (selected.0 & !offered.0 != 0 || (selected.0 == 0 && offered.0 != 0)).then_some(Choice {
        selected,
        offered,
        moment,
    })
}

/// Whether the client sent nothing after the Connection Confirm, whole or in part: it did not accept the choice.
fn is_mute_since_confirm(case: &Case<'_>) -> bool {
    let client = &case.t.tcp.half.client;
    let confirmed = case.t.confirm().map(|(moment, _)| moment.frames.last);
    confirmed.is_some_and(|confirmed| client.last_data.is_none_or(|last| last.no <= confirmed)) && client.unseen == 0
}

/// Whether the client's RST only answers data of the server: its host knew the connection no longer.
fn has_forgotten(case: &Case<'_>) -> bool {
    let client = &case.t.tcp.half.client;
    let first = case.t.tcp.resets.first().filter(|_| client.fin.is_none());
    first.is_some_and(|reset| had_no_socket(reset, &case.attribution(reset)))
}

/// Whether Standard RDP Security was selected: no TLS, no certificate.
fn unprotected(case: &Case<'_>) -> bool {
    case.t.client_hello().is_none() && case.t.selected().is_some_and(|selected| selected.0 == 0)
}

/// Whether the client's alert is the first of the two sides' last words.
pub(super) fn first_goodbye(case: &Case<'_>) -> bool {
    let alerts = &case.progress.hidden;
    alerts
        .find(|line| matches!(line.said, Said::Alert(_) | Said::Ultimatum(_)))
        .is_some_and(|line| line.side == Side::Client && case.close.follows(case.t, line.frames.last))
}

/// Whether the client had sent its proof of logon.
fn proved(case: &Case<'_>) -> bool {
    let hidden = &case.progress.hidden;
    hidden
        .find(|line| matches!(line.said, Said::NtlmAuthenticate | Said::KerberosApRequest))
        .is_some()
}

/// The client's last sealed alert: clients that say no after the handshake say close_notify before they close.
fn goodbye(case: &Case<'_>) -> Option<Evidence> {
    let (moment, sealed) = case.t.sealed().rev().find(|(moment, sealed)| {
        moment.side == Side::Client && matches!(sealed.kind, SealedKind::AlertStated | SealedKind::AlertBySize)
    })?;
    Some(case.moment(
        moment,
        format!(
            "the client sends an encrypted alert ({} bytes): close_notify, or why it leaves",
            sealed.length
        ),
    ))
}
