//! `completed`, `established`: a connection that reached the session and closed as Remote Desktop closes, or is still alive.
//!
//! mstsc ends every connection with RST,ACK; clients of the Windows 7 era send FIN and their servers answer with RST. None of that is
//! a failure. A session that stopped in another way is left to the other rules.

use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{COMPLETED, ESTABLISHED};
use crate::diagnosis::close::{Close, side_ended};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::Side;
use crate::transcript::Phase;

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() != Phase::Session {
        return None;
    }
    let confidence = if case.progress.inferred {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    let lasted = human(case.t.ended().since(case.progress.entered));
    match case.close {
        Close::Open => {
            let last = case.t.tcp.last();
            let verdict = Verdict::new(
                &ESTABLISHED,
                confidence,
                Act::Nobody,
                format!(
                    "the session with {} is up and still alive when the capture ends",
                    case.server_label()
                ),
                case.packet(last, format!("last packet of the connection, {lasted} into the session")),
            );
            Some(Finding::new(verdict, EndedBy::Open, Mechanism::None))
        }
        Close::Fin { side: Side::Client, .. } | Close::Reset { side: Side::Client, .. } => {
            let verdict = Verdict::new(
                &COMPLETED,
                confidence,
                Act::Nobody,
                format!(
                    "the session with {} ran for {lasted} and was closed by the client in the ordinary way",
                    case.server_label()
                ),
                case.close_evidence()?,
            );
            Some(Finding::new(verdict, side_ended(Side::Client), case.close.mechanism()))
        }
        _ => None,
    }
}
