//! What TLS hides, told from record sizes, directions and timing, or read where the session's keys are known.
//!
//! Either way the result is the same: lines that say what each message means. One reading of the lines gives the phases, so that a
//! verdict with keys and one without can differ in detail, not in direction.

mod content;
mod credssp;
mod rdp;
mod records;
pub mod said;
mod story;
pub mod tunnel;

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::Side;
use crate::protocol::mcs::McsResult;
use crate::protocol::x224::Protocols;
use crate::transcript::moment::{Depth, Frames, SealedKind, What};
use crate::transcript::phase::{Phase, Role};
use crate::transcript::tcp::Transcript;
pub use said::{Line, Said, Words};
pub use story::phase_of;

/// A connection of which no landmark was seen has reached the session where each side has sent so many records: MCS to Font Map takes
/// no known client and server as many.
const SURELY_SESSION: usize = 30;

/// How soon a client leaves after an error.
const AT_ONCE: Span = Span::secs(5);

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

/// The authentication package inside CredSSP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// NTLM.
    Ntlm,
    /// Kerberos.
    Kerberos,
}

impl Package {
    /// The usual name.
    pub fn name(self) -> &'static str {
        match self {
            Package::Ntlm => "NTLM",
            Package::Kerberos => "Kerberos",
        }
    }
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
    /// NTLM or Kerberos, where CredSSP shows it.
    pub package: Option<Package>,
    /// The messages that tell it, in order.
    pub lines: Vec<Line>,
}

impl Hidden {
    /// The first line that `pick` wants.
    pub fn find(&self, pick: impl Fn(&Line) -> bool) -> Option<&Line> {
        self.lines.iter().find(|line| pick(line))
    }

    /// The last line that `pick` wants.
    pub fn last(&self, pick: impl Fn(&Line) -> bool) -> Option<&Line> {
        self.lines.iter().rev().find(|line| pick(line))
    }

    /// Whether this is the gateway's half of a tunnel over two connections: it answers what was asked in the other one.
    pub fn is_out_channel(&self) -> bool {
        let by = |side: Side| self.find(|line| line.side == side && is_tunnel(line.said)).is_some();
        by(Side::Server) && !by(Side::Client)
    }

    /// Whether this is the client's half of a tunnel over two connections.
    pub fn is_in_channel(&self) -> bool {
        let by = |side: Side| self.find(|line| line.side == side && is_tunnel(line.said)).is_some();
        by(Side::Client) && !by(Side::Server)
    }

    /// Whether somebody said this.
    pub fn was_said(&self, said: Said) -> bool {
        self.lines.iter().any(|line| line.said == said)
    }
}

fn is_tunnel(said: Said) -> bool {
    matches!(said, Said::Tunnel | Said::TunnelError(_) | Said::ChannelOpen)
}

/// Reads what is behind the TLS of a connection.
pub fn read(t: &Transcript) -> Hidden {
    let security = Security::of(t);
    let mut hidden = if t.role == Role::Gateway {
        through_gateway(t, security)
    } else if in_clear(t) {
        return clear_progress(t);
    } else {
        let first_phase = if security.hybrid { Phase::CredSsp } else { Phase::Mcs };
        let sizes = by_size(t, Depth::OUTER, security);
        opened(t, content::lines(t, Depth(1)), sizes, first_phase, security.hybrid)
    };
    if hidden.phase == Some(Phase::Licensing) {
        surely_licensed(t, &mut hidden);
    }
    if hidden.phase != Some(Phase::Session) {
        surely_session(t, &mut hidden);
    }
    if let Some((left, _, _)) = t.tcp.half.client.fin {
        retract(&mut hidden, left);
    }
    hidden
}

/// What was still on its way when the client closed completes nothing: nobody was there to read it.
fn retract(hidden: &mut Hidden, left: FrameNo) {
    let kept = hidden.completed.iter().take_while(|step| step.frame <= left).count();
    if let Some(step) = hidden.completed.get(kept) {
        hidden.phase = Some(step.phase);
        hidden.inferred |= step.inferred;
        hidden.completed.truncate(kept);
    }
}

/// A licensing error has the size of STATUS_VALID_CLIENT, and the server ends the connection after it. Where nobody says or does
/// anything of the kind, licensing was done.
fn surely_licensed(t: &Transcript, hidden: &mut Hidden) {
    let Some(at) = hidden.lines.iter().position(|line| line.said == Said::LicenseDone(None)) else {
        return;
    };
    let ended = t.tcp.half.server.fin.is_some()
        || t.tcp.resets.iter().any(|reset| reset.seen.side == Side::Server)
        || hidden.lines.iter().skip(at).any(|line| {
            line.side == Side::Server && matches!(line.said, Said::Ultimatum(_) | Said::Alert(_) | Said::SetErrorInfo(_))
        });
    let Some(line) = hidden.lines.get(at) else { return };
    // A client that is told an error leaves at once; one that hears nothing more is patient.
    let soon = line.at.plus(AT_ONCE);
    let left_at_once = t.tcp.half.client.fin.is_some_and(|(_, at, _)| at <= soon)
        || t.tcp
            .resets
            .iter()
            .any(|reset| reset.seen.side == Side::Client && reset.seen.at <= soon);
    if !ended && !left_at_once {
        hidden.completed.push(HiddenStep {
            phase: Phase::Licensing,
            at: line.at,
            frame: line.frames.last,
            inferred: true,
        });
        hidden.phase = Some(Phase::Activation);
    }
}

/// What the negotiation selected.
#[derive(Clone, Copy)]
struct Security {
    hybrid: bool,
    early_result: bool,
    redirected: bool,
    /// RDS AAD Auth, not RDSTLS.
    entra: bool,
}

impl Security {
    fn of(t: &Transcript) -> Security {
        // Without a negotiation ahead of TLS both sides have settled on CredSSP beforehand.
        let agreed = if t.is_direct() { Protocols::PROTOCOL_HYBRID.0 } else { 0 };
        let selected = t.selected().map_or(agreed, |selected| selected.0);
        let has = |protocol: Protocols| selected & protocol.0 != 0;
        let early_result = has(Protocols::PROTOCOL_HYBRID_EX);
        Security {
            hybrid: early_result || has(Protocols::PROTOCOL_HYBRID),
            early_result,
            redirected: has(Protocols::PROTOCOL_RDSTLS) || has(Protocols::PROTOCOL_RDSAAD),
            entra: has(Protocols::PROTOCOL_RDSAAD),
        }
    }
}

/// The gateway's tunnel and what it carries.
fn through_gateway(t: &Transcript, security: Security) -> Hidden {
    let mut lines = tunnel::by_content(t);
    if lines.is_empty() {
        return story::tell(tunnel::by_size(t), Phase::Gateway, true);
    }
    // X.224 of the host is in clear inside the tunnel, and its TLS is opened with keys of its own, or told by sizes.
    let inside = content::lines(t, Depth(3));
    if inside.is_empty() && t.selected().is_some() {
        lines.extend(by_size(t, Depth(2), security));
    } else {
        lines.extend(inside);
    }
    lines.extend(content::lines(t, Depth(2)));
    lines.sort_by_key(|line| (line.at, line.frames.last));
    story::tell(lines, Phase::Gateway, security.hybrid)
}

/// What the keys of the connection have opened, if they have. Where they ceased to open records the sizes tell how it went on.
fn opened(t: &Transcript, lines: Vec<Line>, sizes: Vec<Line>, first_phase: Phase, hybrid: bool) -> Hidden {
    if lines.is_empty() {
        return story::tell(sizes, first_phase, hybrid);
    }
    let broken = t.moments.iter().any(|moment| matches!(moment.what, What::Unopened(_)));
    let content = story::tell(lines, first_phase, hybrid);
    if !broken {
        return content;
    }
    let last = content.lines.last().map_or(Timestamp::default(), |line| line.at);
    let mut lines = content.lines;
    lines.extend(sizes.into_iter().filter(|line| line.at > last));
    story::tell(lines, first_phase, hybrid)
}

/// The lines that sizes tell.
fn by_size(t: &Transcript, depth: Depth, security: Security) -> Vec<Line> {
    let records = records::collect(t, depth);
    let mut lines = Vec::new();
    let initial = rdp::find_connect_initial(&records);
    let before = initial.unwrap_or(records.len());
    let (logon, rest) = records.split_at(before);
    if security.hybrid {
        let used = credssp::read(logon, security.early_result, &mut lines);
        let left = logon.get(used..).unwrap_or_default();
        match initial {
            Some(_) => rdp::read(rest, &mut lines),
            None => rdp::read(left, &mut lines),
        }
    } else if security.redirected {
        redirected(logon, initial.is_some(), security.entra, &mut lines);
        rdp::read(rest, &mut lines);
    } else {
        match initial {
            Some(_) => rdp::read(rest, &mut lines),
            None => rdp::read(&records, &mut lines),
        }
    }
    lines
}

/// RDSTLS and RDS AAD Auth: the server begins, the client asks, the server answers with the result.
fn redirected(records: &[records::Record], goes_on: bool, entra: bool, lines: &mut Vec<Line>) {
    /// An Authentication Response, and `{"authentication_result":N}` with a number of any length.
    const RESULT: [(usize, usize); 2] = [(10, 10), (26, 44)];
    let (name, (from, to), said) = if entra {
        ("RDS AAD Auth", RESULT[1], Said::AadResult(None))
    } else {
        ("RDSTLS", RESULT[0], Said::RdstlsResult(None))
    };
    let asked = records.iter().position(|record| record.side == Side::Client && !record.alert);
    let result = asked
        .and_then(|asked| Some(asked + records.get(asked..)?.iter().position(|record| record.side == Side::Server)?))
        .filter(|at| !goes_on && records.get(*at).is_some_and(|record| record.fits(from, to)));
    for (at, record) in records.iter().enumerate() {
        if record.alert {
            lines.push(credssp::alert(record));
        } else if result == Some(at) {
            lines.push(record.line(
                said,
                format!("the result of {name}; the client of an accepted logon goes on with MCS Connect-Initial"),
            ));
        } else {
            let of = match record.side {
                Side::Client => "the client's request",
                Side::Server => "the server's first word",
            };
            lines.push(record.line(Said::RedirectedLogon, format!("{name}, {of}")));
        }
    }
}

/// Where holes in the capture or unusual clients hide the landmarks, the mere number of records tells a session.
fn surely_session(t: &Transcript, hidden: &mut Hidden) {
    let after = hidden
        .last(|line| matches!(line.said, Said::ClientInfo | Said::ChannelOpen))
        .map_or(FrameNo::new(0), |line| line.frames.last);
    let application: Vec<_> = t
        .sealed()
        .filter(|(moment, sealed)| sealed.kind == SealedKind::Application && moment.frames.first > after)
        .map(|(moment, _)| moment)
        .collect();
    let of = |side: Side| {
        application
            .iter()
            .filter(|moment| moment.side == side)
            .nth(SURELY_SESSION - 1)
    };
    // Of a gateway's two connections the one from the gateway carries no packet of the client.
    let half = t.role == Role::Gateway && hidden.is_out_channel();
    let last = match (of(Side::Client), of(Side::Server)) {
        (Some(client), Some(server)) => Some(if client.at > server.at { client } else { server }),
        (None, Some(server)) if half => Some(server),
        _ => None,
    };
    let Some(last) = last else { return };
    // Requests of web traffic are no landmark: a gateway's tunnel must have been seen.
    if t.role == Role::Gateway && hidden.find(|line| line.said == Said::ChannelOpen).is_none() {
        return;
    }
    let done = hidden.completed.last().map(|step| step.phase);
    for phase in [Phase::CredSsp, Phase::Mcs, Phase::Licensing, Phase::Activation] {
        let begun = phase >= hidden.first_phase || hidden.first_phase == Phase::Gateway;
        let ahead = done.is_none_or(|done| phase > done || done == Phase::Gateway);
        if begun && ahead && (t.confirm().is_some() || t.is_direct() || t.role == Role::Gateway) {
            hidden.completed.push(HiddenStep {
                phase,
                at: last.at,
                frame: last.frames.last,
                inferred: true,
            });
        }
    }
    hidden.phase = Some(Phase::Session);
    hidden.inferred = true;
    hidden.lines.push(Line {
        said: Said::Data,
        side: Side::Server,
        at: last.at,
        frames: Frames {
            first: last.frames.first,
            last: last.frames.last,
        },
        inferred: true,
        text: Words::Plain(
            format!("{SURELY_SESSION} records of each side: more than any known client and server need to reach the session")
                .into(),
        ),
    });
}

/// Whether the connection has no TLS: Standard RDP Security was selected, or MCS was spoken in clear.
pub fn in_clear(t: &Transcript) -> bool {
    (t.selected().is_some_and(|protocols| protocols.0 == 0) && !t.is_direct())
        || t.outer().any(|moment| match &moment.what {
            What::ConnectInitial(_) | What::AttachUser | What::ChannelData { .. } | What::FastPath(_) | What::Pdu(_) => true,
            What::ConnectResponse { result, .. } => *result == McsResult::RT_SUCCESSFUL,
            _ => false,
        })
}

/// How far Standard RDP Security came: MCS headers are in clear, their content may not be.
fn clear_progress(t: &Transcript) -> Hidden {
    let mut hidden = story::tell(content::lines(t, Depth::OUTER), Phase::Mcs, false);
    let data = t
        .outer()
        // A PDU that the snap length cuts is a hole.
        .filter(|moment| matches!(moment.what, What::ChannelData { .. } | What::FastPath(_) | What::Gap(_)))
        .nth(2 * SURELY_SESSION);
    if let Some(moment) = data
        && hidden.phase != Some(Phase::Session)
    {
        hidden.phase = Some(Phase::Session);
        hidden.inferred = true;
        hidden.completed.push(HiddenStep {
            phase: Phase::Mcs,
            at: moment.at,
            frame: moment.frames.last,
            inferred: true,
        });
    }
    hidden
}
