//! `capture_incomplete`: the last resort. Says what is missing and what to capture next.

use crate::diagnosis::case::{Case, Finding};
use crate::diagnosis::causes::CAPTURE_INCOMPLETE;
use crate::diagnosis::verdict::{Act, Confidence, Verdict};

/// Always finds: too little is known.
pub fn judge(case: &Case<'_>) -> Finding {
    let last = case.t.tcp.last();
    let verdict = Verdict::new(
        &CAPTURE_INCOMPLETE,
        Confidence::Possible,
        Act::Nobody,
        format!(
            "the capture does not show how the connection to {} ended",
            case.server_label()
        ),
        case.packet(last, "last packet of the connection in this capture"),
    );
    Finding::new(verdict, case.close.ended_by(), case.close.mechanism())
}
