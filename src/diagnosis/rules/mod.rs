//! The rules: one file per family of causes, one table in the order in which they are asked.

mod abort;
pub mod dns;
mod denied;
mod idle;
pub mod gateway;
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
mod timeout;
mod tls;
pub mod udp;
mod tls_sealed;
mod way;

use crate::diagnosis::case::{Case, Finding};

/// A rule: looks at a case, and finds something or nothing.
pub type Judge = fn(&Case<'_>) -> Option<Finding>;

/// The rules, the most telling first: what was said, then what was measured, then who closed.
pub const RULES: &[(&str, Judge)] = &[
    ("a refusal in the negotiation", negotiation::refusal),
    ("a service that is no RDP", negotiation::not_rdp),
    ("the way to the host", way::judge),
    ("a device that re-signs TLS", inspection::judge),
    ("a TLS alert", tls::alert),
    ("a gateway's answer", gateway::judge),
    ("a TLS alert under encryption", tls_sealed::judge),
    ("a reset by a device", reset::by_device),
    ("an error of the KDC", kerberos::judge),
    ("a refused logon", nla::refusal),
    ("a mapping that was lost in silence", idle::judge),
    ("large packets that vanish", pmtu::judge),
    ("packets that vanish", loss::judge),
    ("a licensing error", licensing::judge),
    ("a denial", denied::denied),
    ("a policy on CredSSP", nla::policy),
    ("a reset that is no host's way to leave", reset::odd),
    ("an ordinary end", ordinary::judge),
    ("a session that the server ended", denied::session_closed),
    ("a side that waited too long", timeout::judge),
    ("a hole in the evidence", incomplete::holed),
    ("a close in the logon", nla::closed),
    ("a close in the negotiation", negotiation::closed),
    ("a close in the TLS handshake", tls::closed),
    ("a client that left", abort::judge),
    ("a reset by the peer", reset::by_peer),
];

/// The finding of the first rule that finds something. The last resort says that the capture is not enough.
pub fn first(case: &Case<'_>) -> Finding {
    RULES
        .iter()
        .find_map(|(_, judge)| judge(case))
        .unwrap_or_else(|| incomplete::judge(case))
}
