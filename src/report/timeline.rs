//! The timeline of a connection: its transcript in steps that a person can follow.

use crate::capture::{FrameNo, Timestamp};
use crate::codes;
use crate::flow::{Marks, Side};
use crate::packet::TcpFlags;
use crate::protocol::preamble::Preamble;
use crate::protocol::tls::decrypt::WhyNot;
use crate::protocol::tls::suite::CipherSuite;
use crate::protocol::x224::Answer;
use crate::report::model::{Speaker, Step};
use crate::transcript::hidden::Said;
use crate::transcript::{Depth, Phase, Progress, SealedKind, Transcript, What};

/// What a reset is called.
const RST: &str = "RST";
/// How many steps a timeline has at most; the middle of a long one is left out, and that is a step.
const STEPS: usize = 60;

/// The steps of a connection, in order.
pub fn steps(t: &Transcript, progress: &Progress) -> Vec<Step> {
    let mut steps = Vec::new();
    let phase_at = |at: Timestamp| {
        progress
            .done
            .iter()
            .find(|milestone| at <= milestone.done)
            .map_or(progress.phase, |milestone| milestone.phase)
    };
    packets(t, phase_at, &mut steps);
    icmp(t, phase_at, &mut steps);
    for moment in t.moments.iter() {
        // What was opened is told by the lines of the reading, below.
        if moment.depth > Depth::OUTER && matches!(moment.what, What::Alert(_)) {
            continue;
        }
        if let Some(text) = words(&moment.what, moment.side) {
            steps.push(Step {
                at: moment.at,
                frame: Some(moment.frames.last),
                speaker: speaker(moment.side),
                phase: phase_at(moment.at),
                text,
                inferred: false,
                lost: false,
            });
        }
    }
    // What is behind TLS, and MCS wherever it is spoken, comes from the reading that the verdict rests on, too.
    for line in progress.hidden.lines.iter().filter(|line| !line.text.is_empty()) {
        let sealed_alert = line.inferred && matches!(line.said, Said::Alert(_));
        if !sealed_alert {
            steps.push(Step {
                at: line.at,
                frame: Some(line.frames.last),
                speaker: speaker(line.side),
                phase: phase_at(line.at),
                text: line.text.written(),
                inferred: line.inferred,
                lost: false,
            });
        }
    }
    in_order(steps)
}

/// Steps in order, at most so many as a page takes.
pub(super) fn in_order(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_by_key(|step| (step.at, step.frame));
    if steps.len() > STEPS {
        let tail = steps.split_off(steps.len() - STEPS / 3);
        let left_out = steps.split_off(STEPS - STEPS / 3 - 1);
        if let Some(first) = left_out.first() {
            steps.push(Step {
                frame: None,
                speaker: Speaker::Nobody,
                text: format!("{} more steps are left out here", left_out.len()),
                ..first.clone()
            });
        }
        steps.extend(tail);
    }
    steps
}

/// Gives the resets of `frames` to the device that made them in a side's name.
pub fn unmask(steps: &mut [Step], frames: &[FrameNo]) {
    for step in steps
        .iter_mut()
        .filter(|step| step.text == RST && step.frame.is_some_and(|frame| frames.contains(&frame)))
    {
        step.text = format!("RST in the {}'s name", step.speaker.slug());
        step.speaker = Speaker::Middlebox(None);
    }
}

pub(super) fn speaker(side: Side) -> Speaker {
    match side {
        Side::Client => Speaker::Client,
        Side::Server => Speaker::Server,
    }
}

/// Handshake, closes and retransmissions.
fn packets(t: &Transcript, phase_at: impl Fn(Timestamp) -> Phase, steps: &mut Vec<Step>) {
    let mut closed = [false; 2];
    for seen in t.tcp.log.iter() {
        let flags = seen.flags;
        let again = seen.marks.has(Marks::RETRANSMISSION);
        let text = if flags.has(TcpFlags::RST) {
            if seen.marks.has(Marks::AFTERGLOW) {
                continue;
            }
            RST
        } else if flags.has(TcpFlags::SYN) {
            match (flags.has(TcpFlags::ACK), again) {
                (false, false) => "SYN",
                (false, true) => "SYN again",
                (true, false) => "SYN, ACK",
                (true, true) => "SYN, ACK again",
            }
        } else if flags.has(TcpFlags::FIN) {
            let place = usize::from(seen.side == Side::Server);
            match closed.get_mut(place) {
                Some(done) if !*done => *done = true,
                _ => continue,
            }
            "FIN"
        } else if again && seen.len > 0 {
            "the same bytes again"
        } else {
            continue;
        };
        steps.push(Step {
            at: seen.at,
            frame: Some(seen.no),
            speaker: speaker(seen.side),
            phase: phase_at(seen.at),
            text: text.to_owned(),
            inferred: false,
            lost: false,
        });
    }
}

/// ICMP errors about the connection: of the host itself, or of a device on the path.
fn icmp(t: &Transcript, phase_at: impl Fn(Timestamp) -> Phase, steps: &mut Vec<Step>) {
    for seen in &t.tcp.icmp {
        let message = &seen.message;
        let space = if message.v6 { &codes::ICMPV6 } else { &codes::ICMP };
        let number = u32::from(message.kind) << 8 | u32::from(message.code);
        let name = codes::lookup(space, number).map_or_else(|| space.show(number), |code| code.name.to_owned());
        let mtu = message
            .mtu
            .map_or_else(String::new, |mtu| format!(", next hop takes {mtu} bytes"));
        steps.push(Step {
            at: seen.at,
            frame: Some(seen.no),
            speaker: match seen.from {
                from if from == t.client.ip() => Speaker::Client,
                from if from == t.server.ip() => Speaker::Server,
                from => Speaker::Middlebox(Some(from)),
            },
            phase: phase_at(seen.at),
            text: format!("ICMP about a packet of the {}: {name}{mtu}", seen.about),
            inferred: false,
            lost: false,
        });
    }
}

/// What a message says, in words; `None` for what would only fill the page.
pub(super) fn words(what: &What, side: Side) -> Option<String> {
    Some(match what {
        What::Request(request) => match &request.negotiation {
            Some(negotiation) => format!("X.224 Connection Request, offers {}", listed(negotiation.protocols)),
            None => "X.224 Connection Request without a negotiation: Standard RDP Security only".to_owned(),
        },
        What::Confirm(confirm) => match confirm.answer {
            Answer::Absent => "X.224 Connection Confirm without a negotiation: Standard RDP Security".to_owned(),
            Answer::Response { selected, .. } => format!("X.224 Connection Confirm, selects {}", listed(selected)),
            Answer::Failure { code } => format!("X.224 negotiation failure: {code}"),
            Answer::Unknown { kind } => format!("X.224 Connection Confirm with an unknown structure 0x{kind:02x}"),
        },
        What::Preamble(preamble) => match **preamble {
            Preamble::Proxy { .. } => "a PROXY header: a load balancer says for whom it speaks".to_owned(),
            Preamble::Preconnection { .. } => {
                "a preconnection blob: the client names the virtual machine or session that it wants".to_owned()
            }
        },
        What::X224Disconnect(reason) => format!("X.224 Disconnect Request, reason {reason}"),
        What::X224Error(cause) => format!("X.224 Error, cause {cause}"),
        What::ClientHello(hello) => match &hello.server_name {
            Some(name) => format!("TLS ClientHello for {name}, up to {}", hello.highest_version()),
            None => format!("TLS ClientHello without a server name, up to {}", hello.highest_version()),
        },
        What::ServerHello(hello) if hello.hello_retry_request => "TLS HelloRetryRequest".to_owned(),
        What::ServerHello(hello) => format!(
            "TLS ServerHello: {}, {}",
            hello.version(),
            CipherSuite::new(hello.cipher_suite)
        ),
        What::Certificates(chain) => match chain.first() {
            Some(leaf) => format!("certificate of {}, issued by {}", leaf.subject, leaf.issuer),
            None => "an empty certificate message".to_owned(),
        },
        What::Alert(alert) => format!("TLS alert: {alert}"),
        What::Sealed(sealed) => match sealed.kind {
            SealedKind::Finished => "TLS Finished".to_owned(),
            SealedKind::AlertStated => format!("an encrypted TLS alert ({} bytes)", sealed.length),
            SealedKind::AlertBySize => format!(
                "an encrypted record of {} bytes: too short for anything but a TLS alert",
                sealed.length
            ),
            SealedKind::Handshake | SealedKind::Application => return None,
        },
        What::Foreign(foreign) => match foreign.looks_like {
            Some(name) => format!("not RDP: {name}"),
            None => "bytes that are not RDP".to_owned(),
        },
        What::Gap(missing) => format!("{missing} bytes of the {side} are missing from the capture"),
        What::Malformed(protocol, flaw) => format!("a malformed {protocol} message: {}", flaw.why),
        What::Handshake(_)
        | What::ChangeCipherSpec
        | What::ConnectInitial(_)
        | What::ConnectResponse { .. }
        | What::Ultimatum(_)
        | What::ErectDomain
        | What::AttachUser
        | What::AttachUserConfirm(_)
        | What::Join(_)
        | What::JoinConfirm { .. }
        | What::ChannelData { .. }
        | What::FastPath(_)
        | What::Gateway(_)
        | What::Pdu(_) => return None,
        What::Unopened(why) => unopened(*why).to_owned(),
    })
}

/// The names of flags with blanks between them, so that a line can be broken there.
fn listed(flags: impl std::fmt::Display) -> String {
    flags.to_string().replace('|', ", ")
}

/// Why the keys that are there do not open a record.
fn unopened(why: WhyNot) -> &'static str {
    match why {
        WhyNot::KeysDoNotFit => "the TLS keys for this connection do not fit: its content stays hidden",
        WhyNot::NotAuthentic => "from here on the TLS keys open no record: too many are missing, or this one is damaged",
        WhyNot::NoSecret => "the key log has no secret for this direction",
        WhyNot::EarlyData => "early data, whose keys are not derived here",
        WhyNot::Renegotiated => "TLS was renegotiated: what follows stays hidden",
    }
}
