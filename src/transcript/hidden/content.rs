//! The same lines from messages that can be read: in clear under Standard RDP Security, or opened with the session's keys.

use crate::codes::{self, ERRINFO, NTSTATUS};
use crate::flow::Side;
use crate::protocol::rdp::SecurityFlags;
use crate::protocol::rdp::license::{LicenseErrorCode, LicenseKind, StateTransition};
use crate::protocol::rdp::session_info::SessionInfo;
use crate::protocol::rdp::share::{self, Content, DataKind};
use crate::protocol::spnego::{KerberosKind, Token};
use crate::protocol::tls::size::PlaintextLength;
use crate::protocol::{aad, ntlm};
use crate::transcript::hidden::rdp;
use crate::transcript::hidden::records::Record;
use crate::transcript::hidden::said::{Line, Said, Words};
use crate::transcript::moment::{CredSsp, Depth, Moment, Pdu, What};
use crate::transcript::tcp::Transcript;

/// TPKT, X.224 and MCS headers around a PDU, in bytes.
const AROUND: usize = 14;
/// The signature of Standard RDP Security; FIPS adds four bytes and up to seven of padding.
const SIGNATURE: usize = 8;
/// See [`SIGNATURE`].
const FIPS: usize = 11;

/// The lines of the messages at `depth`.
pub(super) fn lines(t: &Transcript, depth: Depth) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut sealed = Vec::new();
    for moment in t.moments.iter().filter(|moment| moment.depth == depth) {
        if let What::Pdu(pdu) = &moment.what
            && let Pdu::Encrypted { flags, length } = **pdu
        {
            encrypted(moment, flags, length, &mut sealed, &mut lines);
            continue;
        }
        if let Some((said, text)) = meaning(&moment.what, moment.side) {
            lines.push(line(moment, said, text));
        }
    }
    if !sealed.is_empty() {
        let mut inferred = Vec::new();
        rdp::after_client_info(&sealed, &mut inferred);
        // MCS, and with it the announcement of the end, is in clear.
        inferred.retain(|line| !matches!(line.said, Said::Ultimatum(_)));
        for line in &mut inferred {
            line.text.protect("under RC4 or FIPS encryption");
        }
        lines.extend(inferred);
        lines.sort_by_key(|line| (line.at, line.frames.last));
    }
    lines
}

fn line(moment: &Moment, said: Said, text: String) -> Line {
    Line {
        said,
        side: moment.side,
        at: moment.at,
        frames: moment.frames,
        inferred: false,
        text: Words::Plain(text.into()),
    }
}

/// What Standard RDP Security hides: the flags of the security header tell Client Info and licensing, sizes the rest.
fn encrypted(moment: &Moment, flags: SecurityFlags, length: usize, sealed: &mut Vec<Record>, lines: &mut Vec<Line>) {
    if flags.contains(SecurityFlags::SEC_INFO_PKT) && moment.side == Side::Client {
        lines.push(line(
            moment,
            Said::ClientInfo,
            "Client Info, its content encrypted".to_owned(),
        ));
        return;
    }
    if flags.contains(SecurityFlags::SEC_REDIRECTION_PKT) {
        lines.push(line(
            moment,
            Said::Redirection,
            "Server Redirection, its content encrypted".to_owned(),
        ));
        return;
    }
    if flags.contains(SecurityFlags::SEC_LICENSE_PKT) {
        // STATUS_VALID_CLIENT and every error message have 16 bytes and a blob; requests and licenses are far longer.
        let short = length.saturating_sub(SIGNATURE) <= 40;
        let (said, text) = if short && moment.side == Side::Server {
            (
                Said::LicenseDone(None),
                format!("a licensing message of {length} encrypted bytes: STATUS_VALID_CLIENT, or an error"),
            )
        } else {
            (Said::License, "licensing, its content encrypted".to_owned())
        };
        lines.push(line(moment, said, text));
        return;
    }
    let whole = length.saturating_sub(SIGNATURE) + AROUND;
    sealed.push(Record {
        side: moment.side,
        at: moment.at,
        frames: moment.frames,
        size: PlaintextLength {
            min: whole.saturating_sub(FIPS),
            max: whole + 1,
        },
        alert: false,
    });
}

/// What a message means, with the words for it; `None` for what tells nothing about the course.
fn meaning(what: &What, side: Side) -> Option<(Said, String)> {
    let plain = |said: Said, text: &str| Some((said, text.to_owned()));
    match what {
        What::ConnectInitial(data) => {
            let client = data.as_ref().and_then(|data| data.core.as_ref());
            let text = match client {
                Some(core) => format!(
                    "MCS Connect-Initial of {}, client build {}",
                    if core.client_name.is_empty() {
                        "a client without a name"
                    } else {
                        &core.client_name
                    },
                    core.client_build
                ),
                None => "MCS Connect-Initial".to_owned(),
            };
            Some((Said::ConnectInitial, text))
        }
        What::ConnectResponse { result, .. } => Some((
            Said::ConnectResponse(Some(result.0)),
            format!("MCS Connect-Response: {result}"),
        )),
        What::ErectDomain | What::AttachUser => plain(Said::AttachUser, ""),
        What::AttachUserConfirm(result) => Some((
            Said::AttachConfirm(Some(result.0)),
            if result.0 == 0 {
                String::new()
            } else {
                format!("MCS Attach User Confirm: {result}")
            },
        )),
        What::Join(_) => plain(Said::Join, ""),
        What::JoinConfirm { channel, result } => Some((
            Said::JoinConfirm(Some(result.0)),
            if result.0 == 0 {
                String::new()
            } else {
                format!("MCS Channel Join Confirm for channel {channel}: {result}")
            },
        )),
        What::Ultimatum(reason) => Some((
            Said::Ultimatum(Some(reason.0)),
            format!("MCS Disconnect Provider Ultimatum of the {side}: {reason}"),
        )),
        What::Alert(alert) => Some((
            Said::Alert(Some((alert.level, alert.description))),
            format!("TLS alert under encryption: {alert}"),
        )),
        What::Pdu(pdu) => of_pdu(pdu),
        _ => None,
    }
}

fn of_pdu(pdu: &Pdu) -> Option<(Said, String)> {
    let plain = |said: Said, text: &str| Some((said, text.to_owned()));
    match pdu {
        Pdu::CredSsp(request) => Some(credssp(request)),
        Pdu::EarlyResult(code) => Some((
            Said::EarlyResult(Some(*code)),
            match code {
                0 => "Early User Authorization Result: the user may log on".to_owned(),
                code => format!("Early User Authorization Result: access denied ({code:#x})"),
            },
        )),
        Pdu::Rdstls(crate::protocol::rdstls::Pdu::Response { result }) => {
            Some((Said::RdstlsResult(Some(result.0)), format!("RDSTLS result: {result}")))
        }
        Pdu::Rdstls(_) => plain(Said::RedirectedLogon, "RDSTLS"),
        Pdu::Aad(aad::Message::Result { code }) => Some((
            Said::AadResult(Some(*code)),
            format!("RDS AAD Auth result: {}", codes::name(&NTSTATUS, *code)),
        )),
        Pdu::Aad(_) => plain(Said::RedirectedLogon, "RDS AAD Auth"),
        Pdu::SecurityExchange => plain(Said::SecurityExchange, "Security Exchange"),
        Pdu::ClientInfo(info) => Some((
            Said::ClientInfo,
            if info.user.is_empty() {
                "Client Info without a user name".to_owned()
            } else {
                format!("Client Info for {}", account(&info.domain, &info.user))
            },
        )),
        Pdu::License(license) => Some(match (license.kind, license.error) {
            (LicenseKind::ERROR_ALERT, Some(error)) if error.code == LicenseErrorCode::STATUS_VALID_CLIENT => (
                Said::LicenseDone(Some(error.code.0)),
                "licensing: STATUS_VALID_CLIENT".to_owned(),
            ),
            (LicenseKind::ERROR_ALERT, Some(error)) => (
                if error.transition == StateTransition::ST_TOTAL_ABORT {
                    Said::LicenseError(error.code.0)
                } else {
                    Said::License
                },
                format!("licensing error message: {}, {}", error.code, error.transition),
            ),
            (LicenseKind::NEW_LICENSE | LicenseKind::UPGRADE_LICENSE, _) => {
                (Said::LicenseDone(Some(0)), format!("licensing: {}", license.kind))
            }
            _ => (Said::License, format!("licensing: {}", license.kind)),
        }),
        Pdu::AutoDetect => plain(Said::AutoDetect, ""),
        Pdu::Multitransport(_) | Pdu::Encrypted { .. } => None,
        Pdu::Redirection(_) => plain(Said::Redirection, "Server Redirection: the client is sent to another host"),
        Pdu::Share(share) => of_share(share),
    }
}

fn of_share(pdu: &share::Pdu) -> Option<(Said, String)> {
    let plain = |said: Said, text: &str| Some((said, text.to_owned()));
    match pdu {
        share::Pdu::DemandActive(_) => plain(Said::DemandActive, "Demand Active"),
        share::Pdu::ConfirmActive(_) => plain(Said::ConfirmActive, "Confirm Active"),
        share::Pdu::Redirection(_) => plain(Said::Redirection, "Server Redirection: the client is sent to another host"),
        share::Pdu::Data(data) => match (&data.content, data.kind) {
            (Content::SetErrorInfo(code), _) => Some((
                Said::SetErrorInfo(Some(*code)),
                match code {
                    0 => String::new(),
                    code => format!("Set Error Info: {}", codes::name(&ERRINFO, *code)),
                },
            )),
            (Content::SaveSessionInfo(info), _) => match info {
                SessionInfo::Logon { domain, user, .. } => Some((
                    Said::LoggedOn,
                    format!("Save Session Info: {} is logged on", account(domain, user)),
                )),
                SessionInfo::PlainNotify => plain(Said::LoggedOn, "Save Session Info: the user is logged on"),
                SessionInfo::Extended { notification, .. } => notification.map(|notification| {
                    (
                        Said::LogonNotice(Some(notification.kind.0)),
                        format!("Save Session Info: {}, {:#x}", notification.kind, notification.data),
                    )
                }),
                SessionInfo::Other { .. } => None,
            },
            (_, DataKind::PDUTYPE2_FONTMAP) => plain(Said::FontMap, "Font Map, the end of the activation"),
            (_, DataKind::PDUTYPE2_SYNCHRONIZE | DataKind::PDUTYPE2_CONTROL | DataKind::PDUTYPE2_FONTLIST) => {
                plain(Said::Finalization, "")
            }
            (_, DataKind::PDUTYPE2_SHUTDOWN_REQUEST) => {
                plain(Said::ShutdownRequest, "Shutdown Request: the user closes the window")
            }
            _ => None,
        },
        _ => None,
    }
}

/// A TSRequest is told by the most telling of its fields.
fn credssp(request: &CredSsp) -> (Said, String) {
    let version = request.version;
    if let Some(code) = request.error {
        return (
            Said::LogonError(Some(code)),
            format!("CredSSP version {version}: errorCode {}", codes::name(&NTSTATUS, code)),
        );
    }
    if request.credentials {
        return (
            Said::Credentials,
            format!("CredSSP version {version}: the client hands its credentials over (authInfo)"),
        );
    }
    for token in request.tokens.iter().filter_map(|negotiation| negotiation.token.as_ref()) {
        let (said, words) = match token {
            Token::Ntlm(ntlm::Message::Negotiate { .. }) => (Said::NtlmNegotiate, "NTLM NEGOTIATE".to_owned()),
            Token::Ntlm(ntlm::Message::Challenge { target_name, .. }) => {
                (Said::NtlmChallenge, format!("NTLM CHALLENGE of {target_name}"))
            }
            Token::Ntlm(ntlm::Message::Authenticate(logon)) => (
                Said::NtlmAuthenticate,
                format!("NTLM AUTHENTICATE of {}", account(&logon.domain, &logon.user)),
            ),
            Token::Kerberos(kerberos) => match kerberos.kind {
                KerberosKind::KRB_AP_REQ => (Said::KerberosApRequest, "Kerberos AP-REQ".to_owned()),
                KerberosKind::KRB_AP_REP => (Said::KerberosApReply, "Kerberos AP-REP".to_owned()),
                KerberosKind::KRB_ERROR => (Said::KerberosError(kerberos.error_code), "Kerberos KRB-ERROR".to_owned()),
                kind => (Said::KerberosTicket, format!("Kerberos {kind}")),
            },
            _ => continue,
        };
        return (said, format!("CredSSP version {version}: {words}"));
    }
    if request.public_key {
        return (Said::PublicKey, format!("CredSSP version {version}: pubKeyAuth"));
    }
    (Said::CredSspLeg, format!("CredSSP version {version}"))
}

fn account(domain: &str, user: &str) -> String {
    if domain.is_empty() {
        user.to_owned()
    } else {
        format!("{domain}\\{user}")
    }
}
