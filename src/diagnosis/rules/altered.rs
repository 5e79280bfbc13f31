//! `tls_alert` for bytes that changed on their way: a side could not verify or decrypt a record that TCP delivered, and said so.
//!
//! TCP's checksum finds most damage on a wire. What a device, a driver or a network card changes it also sums up anew, and only TLS notices:
//! `bad_record_mac` (RFC 8446 section 6.2) ends the connection wherever it stands.

use crate::codes::{self, TLS_ALERT as ALERTS};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{MIDDLEBOX_RESET, TLS_ALERT};
use crate::diagnosis::close::side_ended;
use crate::diagnosis::verdict::{Act, Confidence, Mechanism, Verdict};
use crate::transcript::Phase;
use crate::transcript::hidden::Said;

/// bad_record_mac, decryption_failed, record_overflow.
const ALTERED: [u8; 3] = [20, 21, 22];

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    let (line, description) = case.progress.hidden.lines.iter().find_map(|line| match line.said {
        Said::Alert(Some((_, description))) if ALTERED.contains(&description) => Some((line, description)),
        _ => None,
    })?;
    let (side, name) = (line.side, codes::name(&ALERTS, u32::from(description)));
    let what = match case.phase() {
        Phase::Session => format!("the session after {}", human(line.at.since(case.progress.entered))),
        phase => format!("the connection in phase {phase}"),
    };
    let verdict = Verdict::new(
        &TLS_ALERT,
        Confidence::Certain,
        Act::Network,
        format!(
            "the {side} ended {what} ({}): {name}, a record of the {} did not arrive as it was sent",
            case.server_label(),
            side.other()
        ),
        case.shows(line.frames.last, line.at, format!("TLS alert under encryption: {name}")),
    )
    .because(case.close_evidence())
    .or(
        &MIDDLEBOX_RESET,
        "a device that injects bytes of its own into the stream leaves the same alert; a capture at the other end shows which bytes differ",
    )
    .remedy(format!(
        "capture at both ends at the same time and compare the last records of the {}: where bytes differ, something between the captures changes them",
        side.other()
    ))
    .remedy("take out of the way, one after the other: VPN client, WAN optimiser, docking station or network card (update its driver, switch off its checksum and segmentation offload), security agent");
    Some(Finding::new(verdict, side_ended(side), Mechanism::TlsAlert))
}
