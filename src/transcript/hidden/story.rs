//! From lines to phases: which were completed, by which message, and which was not.

use crate::flow::Side;
use crate::transcript::hidden::said::{Line, Said};
use crate::transcript::hidden::{Hidden, HiddenStep, Package};
use crate::transcript::phase::Phase;

/// The phases behind TLS, in order.
const ORDER: [Phase; 6] = [
    Phase::Gateway,
    Phase::CredSsp,
    Phase::Mcs,
    Phase::Licensing,
    Phase::Activation,
    Phase::Session,
];

/// The place of a phase in that order.
fn place(phase: Phase) -> usize {
    ORDER.iter().position(|other| *other == phase).unwrap_or(0)
}

/// The phase to which a message belongs; what can be said at any time belongs to none.
pub fn phase_of(said: Said) -> Option<Phase> {
    Some(match said {
        Said::HttpRequest | Said::HttpStatus(_) | Said::Tunnel | Said::TunnelError(_) | Said::ChannelOpen => Phase::Gateway,
        Said::NtlmNegotiate
        | Said::NtlmChallenge
        | Said::NtlmAuthenticate
        | Said::KerberosTicket
        | Said::KerberosApRequest
        | Said::KerberosApReply
        | Said::KerberosError(_)
        | Said::CredSspLeg
        | Said::PublicKey
        | Said::Credentials
        | Said::LogonError(_)
        | Said::EarlyResult(_) => Phase::CredSsp,
        Said::RedirectedLogon
        | Said::RdstlsResult(_)
        | Said::AadResult(_)
        | Said::ConnectInitial
        | Said::ConnectResponse(_)
        | Said::AttachUser
        | Said::AttachConfirm(_)
        | Said::Join
        | Said::JoinConfirm(_)
        | Said::SecurityExchange
        | Said::ClientInfo => Phase::Mcs,
        Said::License | Said::LicenseDone(_) | Said::LicenseError(_) => Phase::Licensing,
        Said::DemandActive | Said::ConfirmActive | Said::Finalization | Said::FontMap => Phase::Activation,
        Said::LoggedOn | Said::LogonNotice(_) | Said::ShutdownRequest => Phase::Session,
        Said::ChannelClosed(_)
        | Said::KdcProxy(_)
        | Said::AutoDetect
        | Said::Redirection
        | Said::SetErrorInfo(_)
        | Said::Ultimatum(_)
        | Said::Alert(_)
        | Said::Data => return None,
    })
}

/// Whether a message completes its phase by itself.
fn completes(said: Said) -> bool {
    matches!(
        said,
        Said::ChannelOpen | Said::EarlyResult(Some(0)) | Said::ClientInfo | Said::LicenseDone(Some(_)) | Said::FontMap
    )
}

/// Tells how far the lines lead. `hybrid` tells whether CredSSP is one of the phases.
pub(super) fn tell(lines: Vec<Line>, first_phase: Phase, hybrid: bool) -> Hidden {
    let mut hidden = Hidden {
        first_phase,
        phase: None,
        inferred: lines.is_empty() || lines.iter().any(|line| line.inferred),
        completed: Vec::new(),
        package: package(&lines),
        lines: Vec::new(),
    };
    let order = ORDER
        .into_iter()
        .filter(|phase| place(*phase) >= place(first_phase) && (hybrid || *phase != Phase::CredSsp));
    let mut phase = None;
    for next in order {
        phase = Some(next);
        let Some(line) = completion(&lines, next) else { break };
        hidden.completed.push(HiddenStep {
            phase: next,
            at: line.at,
            frame: line.frames.last,
            inferred: line.inferred,
        });
    }
    if !lines.is_empty() {
        hidden.phase = phase;
    }
    hidden.lines = lines;
    hidden
}

/// The message with which a phase was completed: the one that says so, or the last of the phase before another phase began.
fn completion(lines: &[Line], phase: Phase) -> Option<&Line> {
    let stated = lines
        .iter()
        .find(|line| phase_of(line.said) == Some(phase) && completes(line.said));
    if stated.is_some() {
        return stated;
    }
    let Some(later) = lines
        .iter()
        .position(|line| phase_of(line.said).is_some_and(|of| place(of) > place(phase)))
    else {
        return (phase == Phase::Licensing).then(|| licensed_and_denied(lines)).flatten();
    };
    let before = lines.get(..later).unwrap_or_default();
    before
        .iter()
        .rev()
        .find(|line| phase_of(line.said) == Some(phase))
        .or_else(|| lines.get(later))
}

/// The end of a whole licensing exchange that Set Error Info follows: a server that turns the client down in licensing says so with a
/// licensing error, so that this is a denial after STATUS_VALID_CLIENT.
fn licensed_and_denied(lines: &[Line]) -> Option<&Line> {
    let done = lines.iter().position(|line| matches!(line.said, Said::LicenseDone(_)))?;
    let (before, after) = lines.split_at(done);
    let whole = before
        .iter()
        .any(|line| line.said == Said::License && line.side == Side::Client);
    let denied = after.iter().any(|line| matches!(line.said, Said::SetErrorInfo(_)));
    lines.get(done).filter(|_| whole && denied)
}

fn package(lines: &[Line]) -> Option<Package> {
    lines.iter().find_map(|line| match line.said {
        Said::NtlmNegotiate | Said::NtlmChallenge | Said::NtlmAuthenticate => Some(Package::Ntlm),
        Said::KerberosTicket | Said::KerberosApRequest | Said::KerberosApReply => Some(Package::Kerberos),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::hidden::records::tests::exact;

    fn line(said: Said) -> Line {
        exact(&[1])[0].line(said, "")
    }

    fn phase(said: &[Said]) -> Option<Phase> {
        tell(said.iter().copied().map(line).collect(), Phase::CredSsp, true).phase
    }

    #[test]
    fn a_phase_is_complete_when_the_next_one_begins() {
        assert_eq!(phase(&[]), None);
        assert_eq!(phase(&[Said::NtlmNegotiate]), Some(Phase::CredSsp));
        assert_eq!(phase(&[Said::Credentials, Said::EarlyResult(None)]), Some(Phase::CredSsp));
        assert_eq!(phase(&[Said::Credentials, Said::EarlyResult(Some(0))]), Some(Phase::Mcs));
        assert_eq!(phase(&[Said::Credentials, Said::EarlyResult(Some(5))]), Some(Phase::CredSsp));
        assert_eq!(phase(&[Said::Credentials, Said::ConnectInitial]), Some(Phase::Mcs));
        assert_eq!(phase(&[Said::ConnectInitial, Said::ClientInfo]), Some(Phase::Licensing));
        assert_eq!(
            phase(&[Said::ClientInfo, Said::LicenseDone(None), Said::SetErrorInfo(None)]),
            Some(Phase::Licensing)
        );
        assert_eq!(phase(&[Said::ClientInfo, Said::LicenseError(6)]), Some(Phase::Licensing));
        assert_eq!(phase(&[Said::ClientInfo, Said::DemandActive]), Some(Phase::Activation));
        assert_eq!(phase(&[Said::DemandActive, Said::FontMap]), Some(Phase::Session));
    }

    #[test]
    fn what_can_come_at_any_time_moves_nothing() {
        assert_eq!(phase(&[Said::ConnectInitial, Said::Ultimatum(None)]), Some(Phase::Mcs));
        assert_eq!(phase(&[Said::NtlmAuthenticate, Said::Alert(None)]), Some(Phase::CredSsp));
    }
}
