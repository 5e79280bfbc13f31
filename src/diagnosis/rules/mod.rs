//! The rules: one file per family of causes, one table in the order in which they are asked.

mod abort;
pub mod dns;
mod incomplete;
mod negotiation;
mod ordinary;
mod tls;
mod way;

use crate::diagnosis::case::{Case, Finding};

/// A rule: looks at a case, and finds something or nothing.
pub type Judge = fn(&Case<'_>) -> Option<Finding>;

/// The rules, the most telling first: what was said, then what was measured, then who closed.
pub const RULES: &[(&str, Judge)] = &[
    ("a refusal in the negotiation", negotiation::refusal),
    ("a service that is no RDP", negotiation::not_rdp),
    ("the way to the host", way::judge),
    ("a TLS alert", tls::alert),
    ("an ordinary end", ordinary::judge),
    ("a close in the negotiation", negotiation::closed),
    ("a close in the TLS handshake", tls::closed),
    ("a client that left", abort::judge),
];

/// The finding of the first rule that finds something. The last resort says that the capture is not enough.
pub fn first(case: &Case<'_>) -> Finding {
    RULES
        .iter()
        .find_map(|(_, judge)| judge(case))
        .unwrap_or_else(|| incomplete::judge(case))
}
