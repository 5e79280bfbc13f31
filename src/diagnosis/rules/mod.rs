//! The rules: one file per family of causes, one table in the order in which they are asked.

mod abort;
mod altered;
mod closed;
pub mod dns;
mod denied;
mod idle;
pub mod gateway;
mod impostor;
mod incomplete;
mod kerberos;
mod inspection;
mod licensing;
mod loss;
mod negotiation;
mod nla;
mod ordinary;
mod pmtu;
mod reset;
mod stalled;
mod timeout;
mod tls;
pub mod udp;
mod tls_sealed;
mod way;

use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::{Confidence, Mechanism};
use crate::transcript::Phase;

/// A rule: looks at a case, and finds something or nothing.
pub type Judge = fn(&Case<'_>) -> Option<Finding>;

/// What a rule needs of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// It goes by words or packets that are there.
    Little,
    /// It also goes by what was not said, or by what an inferred message must have been: it needs the whole logon.
    Whole,
}

/// The rules, the most telling first: what was said, then what was measured, then who closed.
pub const RULES: &[(&str, Needs, Judge)] = &[
    ("a refusal in the negotiation", Needs::Little, negotiation::refusal),
    ("a service that is no RDP", Needs::Little, negotiation::not_rdp),
    ("the way to the host", Needs::Little, way::judge),
    ("a device that re-signs TLS", Needs::Little, inspection::judge),
    ("a device that speaks in a host's name", Needs::Little, impostor::judge),
    ("a TLS alert", Needs::Little, tls::alert),
    ("bytes that changed on their way", Needs::Little, altered::judge),
    ("a gateway's answer", Needs::Little, gateway::judge),
    ("a TLS alert under encryption", Needs::Whole, tls_sealed::judge),
    ("a reset by a device", Needs::Little, reset::by_device),
    ("an error of the KDC", Needs::Whole, kerberos::judge),
    ("a refused logon", Needs::Whole, nla::refusal),
    ("a side that takes nothing more", Needs::Little, stalled::judge),
    ("a mapping that was lost in silence", Needs::Little, idle::judge),
    ("large packets that vanish", Needs::Little, pmtu::judge),
    ("packets that vanish", Needs::Little, loss::judge),
    ("a licensing error", Needs::Whole, licensing::judge),
    ("a denial", Needs::Whole, denied::denied),
    ("a policy on CredSSP", Needs::Whole, nla::policy),
    ("a reset that is no host's way to leave", Needs::Little, reset::odd),
    ("an ordinary end", Needs::Little, ordinary::judge),
    ("a session that the server ended", Needs::Little, denied::session_closed),
    ("a service that ended", Needs::Whole, closed::service_ended),
    ("a side that waited too long", Needs::Whole, timeout::judge),
    ("a hole in the evidence", Needs::Little, incomplete::holed),
    ("a close in the logon", Needs::Whole, nla::closed),
    ("a close in the negotiation", Needs::Whole, negotiation::closed),
    ("a close in the TLS handshake", Needs::Whole, tls::closed),
    ("a client that left", Needs::Whole, abort::judge),
    ("a server that closed in the logon", Needs::Whole, closed::judge),
    ("a reset by the peer", Needs::Whole, reset::by_peer),
];

/// The finding of the first rule that finds something. The last resort says that the capture is not enough.
pub fn first(case: &Case<'_>) -> Finding {
    // What was read after TLS in clear, or with keys, was read.
    let in_part = case.is_blind() && (case.progress.inferred || case.phase() <= Phase::Tls);
    RULES
        .iter()
        .filter(|(_, needs, _)| !in_part || *needs == Needs::Little)
        .find_map(|(_, _, judge)| judge(case))
        .map(|finding| guessed(case, finding))
        .unwrap_or_else(|| incomplete::judge(case))
}

/// A close that was not captured makes nothing likely that was not said, nor do two capture points in one file, whose packets come in the order of
/// neither. Without acknowledgments it is not known who heard whom.
fn guessed(case: &Case<'_>, mut finding: Finding) -> Finding {
    let vague = case.close.is_guessed() || case.t.tcp.copies.apart.is_some() || case.t.lacks_acknowledgments();
    if vague && finding.verdict.confidence != Confidence::Certain && finding.mechanism != Mechanism::Refusal {
        finding.verdict.confidence = Confidence::Possible;
    }
    finding
}
