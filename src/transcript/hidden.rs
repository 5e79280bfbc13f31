//! What TLS hides, told from record sizes, directions and timing, or read where the session's keys are known.

use crate::capture::{FrameNo, Timestamp};
use crate::flow::Side;
use crate::protocol::x224::Protocols;
use crate::transcript::moment::{SealedKind, What};
use crate::transcript::phase::Phase;
use crate::transcript::tcp::Transcript;

/// A phase behind TLS that was completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenStep {
    /// The phase.
    pub phase: Phase,
    /// When.
    pub at: Timestamp,
    /// The frame that completed it.
    pub frame: FrameNo,
    /// Whether sizes and timing tell it, not content.
    pub inferred: bool,
}

/// What was made out behind TLS.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// The phase that follows TLS: `credssp` where HYBRID was selected, else `mcs`.
    pub first_phase: Phase,
    /// The first phase that was not completed, if anything was said behind TLS.
    pub phase: Option<Phase>,
    /// Whether that was told from sizes and timing.
    pub inferred: bool,
    /// The phases that were completed, in order.
    pub completed: Vec<HiddenStep>,
}

/// Reads what is behind the TLS of a connection.
pub fn read(t: &Transcript) -> Hidden {
    let hybrid = t
        .selected()
        .is_some_and(|selected| selected.0 & (Protocols::PROTOCOL_HYBRID.0 | Protocols::PROTOCOL_HYBRID_EX.0) != 0);
    let first_phase = if hybrid { Phase::CredSsp } else { Phase::Mcs };
    let mut hidden = Hidden {
        first_phase,
        phase: None,
        inferred: true,
        completed: Vec::new(),
    };
    let application: Vec<_> = t
        .sealed()
        .filter(|(_, sealed)| sealed.kind == SealedKind::Application)
        .collect();
    let of = |side: Side| application.iter().filter(|(moment, _)| moment.side == side).count();
    // The fewest records with which any known client and server come from MCS to Font Map: 13 and 15.
    if of(Side::Client) >= 18 && of(Side::Server) >= 18 {
        if let Some((moment, _)) = application.get(36) {
            hidden.completed.push(HiddenStep {
                phase: first_phase,
                at: moment.at,
                frame: moment.frames.last,
                inferred: true,
            });
        }
        hidden.phase = Some(Phase::Session);
    }
    hidden
}

/// How far Standard RDP Security came: MCS headers are in clear, their content may not be.
pub fn clear_progress(t: &Transcript) -> Hidden {
    let mut clear = Hidden {
        first_phase: Phase::Mcs,
        phase: None,
        inferred: false,
        completed: Vec::new(),
    };
    let mut data = PerCount::default();
    for moment in t.outer() {
        if let What::ChannelData { .. } | What::FastPath(_) = moment.what {
            data.count += 1;
            if data.count == 12 {
                clear.completed.push(HiddenStep {
                    phase: Phase::Mcs,
                    at: moment.at,
                    frame: moment.frames.last,
                    inferred: true,
                });
                clear.phase = Some(Phase::Session);
                clear.inferred = true;
            }
        }
    }
    clear
}

#[derive(Default)]
struct PerCount {
    count: u32,
}
