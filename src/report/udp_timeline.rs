//! The timeline of a UDP conversation.

use crate::capture::{Span, Timestamp};
use crate::codes;
use crate::diagnosis::case::human;
use crate::flow::{Seen, Side};
use crate::protocol::rdpeudp::UdpVersion;
use crate::protocol::tls::handshake::HandshakeType;
use crate::report::model::{Speaker, Step};
use crate::report::timeline::{in_order, speaker, words};
use crate::transcript::moment::Multitransport;
use crate::transcript::udp::{CookieHash, Repeat, SynSeen};
use crate::transcript::{GatewaySays, Pdu, Phase, UdpProgress, UdpTranscript, What};

/// The steps of a conversation, in order.
pub fn steps(t: &UdpTranscript, progress: &UdpProgress) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |at: Timestamp, frame, speaker, text: String, lost| {
        let phase = progress
            .done
            .iter()
            .find(|milestone| at <= milestone.done)
            .map_or(progress.phase, |milestone| milestone.phase);
        steps.push(Step {
            at,
            frame: Some(frame),
            speaker,
            phase,
            text,
            inferred: false,
            lost,
        });
    };
    let opening = &t.heard.opening;
    let silent = progress.phase == Phase::UdpHandshake && opening.syn_acks.is_empty();
    for (list, name) in [(&opening.syns, "SYN"), (&opening.syn_acks, "SYN+ACK")] {
        for (at, syn) in list.iter().enumerate() {
            add(
                syn.seen.at,
                syn.seen.no,
                speaker(syn.seen.side),
                syn_words(syn, name, at.checked_sub(1).and_then(|before| list.get(before))),
                silent,
            );
        }
    }
    if let Some(opened) = &opening.opened {
        let text = format!("RDP-UDP is open: the {} acknowledges the SYN+ACK", opened.side);
        add(opened.at, opened.no, speaker(opened.side), text, false);
    }
    for moment in t.heard.moments.iter() {
        if let Some(text) = inside(&moment.what).or_else(|| words(&moment.what, moment.side)) {
            let text = if t.heard.is_dtls {
                text.replace("TLS ", "DTLS ").replace("DDTLS", "DTLS")
            } else {
                text
            };
            add(moment.at, moment.frames.last, speaker(moment.side), text, false);
        }
    }
    for (first, text) in repeats(&t.heard.repeats) {
        add(first.at, first.no, speaker(first.side), text, false);
    }
    for seen in &t.udp.icmp {
        let message = &seen.message;
        let space = if message.v6 { &codes::ICMPV6 } else { &codes::ICMP };
        let number = u32::from(message.kind) << 8 | u32::from(message.code);
        let name = codes::lookup(space, number).map_or_else(|| space.show(number), |code| code.name.to_owned());
        let who = match seen.from {
            from if from == t.client.ip() => Speaker::Client,
            from if from == t.server.ip() => Speaker::Server,
            from => Speaker::Middlebox(Some(from)),
        };
        add(
            seen.at,
            seen.no,
            who,
            format!("ICMP about a datagram of the {}: {name}", seen.about),
            false,
        );
    }
    if let Some((seen, range)) = &t.heard.first_fec {
        let count = match t.heard.fec {
            1 => "the only one".to_owned(),
            n => format!("the first of {n}"),
        };
        let text = format!(
            "forward error correction (FEC) over {} datagrams, {count}",
            u16::from(*range) + 1
        );
        add(seen.at, seen.no, speaker(seen.side), text, false);
    }
    if let (count, Some(seen)) = &t.heard.vectors {
        let text = format!("an ACK vector reports datagrams as missing, the first that does of {count} in all");
        add(seen.at, seen.no, speaker(seen.side), text, false);
    }
    if let Some(fin) = &t.heard.fin {
        add(fin.at, fin.no, speaker(fin.side), "RDP-UDP FIN".to_owned(), false);
    }
    let last = t.udp.last();
    if steps.iter().all(|step| step.frame != Some(last.no)) {
        steps.push(Step {
            at: last.at,
            frame: Some(last.no),
            speaker: speaker(last.side),
            phase: progress.phase,
            text: format!("the last datagram, {} bytes", last.len),
            inferred: false,
            lost: false,
        });
    }
    in_order(steps)
}

/// Repetitions in a few words: a flight of the handshake as a whole, data of each side as a whole.
fn repeats(all: &[Repeat]) -> Vec<(Seen, String)> {
    const FLIGHT: Span = Span::millis(100);
    let mut steps: Vec<(Seen, String)> = Vec::new();
    let mut flight: Option<(Seen, Seen, Vec<&str>)> = None;
    let close = |flight: &mut Option<(Seen, Seen, Vec<&str>)>, steps: &mut Vec<(Seen, String)>| {
        if let Some((first, _, kinds)) = flight.take() {
            let mut names = kinds.clone();
            names.dedup();
            let text = match kinds.len() {
                1 => format!("{} again", names.join(", ")),
                n => format!("{} again, {n} datagrams", names.join(", ")),
            };
            steps.push((first, text));
        }
    };
    for repeat in all.iter().filter(|repeat| repeat.kind.is_some()) {
        let name = repeat.kind.and_then(HandshakeType::name).unwrap_or("handshake message");
        match &mut flight {
            Some((_, last, kinds)) if last.side == repeat.seen.side && repeat.seen.at.since(last.at) <= FLIGHT => {
                *last = repeat.seen;
                kinds.push(name);
            }
            _ => {
                close(&mut flight, &mut steps);
                flight = Some((repeat.seen, repeat.seen, vec![name]));
            }
        }
    }
    close(&mut flight, &mut steps);
    for side in Side::BOTH {
        let mut data = all.iter().filter(|repeat| repeat.kind.is_none() && repeat.seen.side == side);
        let Some(first) = data.next() else { continue };
        let text = match data.clone().next_back() {
            Some(last) => format!(
                "sends the same data again, {} times within {}, up to frame {}",
                data.count() + 1,
                human(last.seen.at.since(first.seen.at)),
                last.seen.no
            ),
            None => "sends the same data again".to_owned(),
        };
        steps.push((first.seen, text));
    }
    steps
}

/// What keys have opened of a side channel.
fn inside(what: &What) -> Option<String> {
    Some(match what {
        What::Gateway(says) => match **says {
            GatewaySays::SideConnect {
                port,
                lossy,
                mtu: (up, down),
            } => format!(
                "asks the gateway for UDP to port {port} of the host, {}, MTU {up} up and {down} down, with the cookie that it got over HTTPS",
                if lossy { "lossy" } else { "reliable" }
            ),
            GatewaySays::SideResult(0) => "the gateway opens the side channel".to_owned(),
            GatewaySays::SideResult(code) => format!("the gateway refuses the side channel: {}", codes::GATEWAY.show(code)),
            GatewaySays::SideEnd(code) => format!("ends the side channel, reason 0x{code:08X}"),
            _ => return None,
        },
        What::Pdu(pdu) => match **pdu {
            Pdu::Multitransport(Multitransport::TunnelRequest(id)) => {
                format!("asks for the tunnel that request {id} over TCP has invited to")
            }
            Pdu::Multitransport(Multitransport::TunnelResponse(0)) => "opens the tunnel".to_owned(),
            Pdu::Multitransport(Multitransport::TunnelResponse(code)) => {
                format!("answers the tunnel's request with 0x{code:08X}")
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn syn_words(syn: &SynSeen, name: &str, before: Option<&SynSeen>) -> String {
    let mode = if syn.lossy { ", lossy" } else { "" };
    let cookie = match syn.cookie_hash {
        CookieHash::Present => ", with the hash of a cookie",
        CookieHash::Zero => ", with an empty cookie hash",
        CookieHash::Absent => "",
    };
    let correlation = match syn.correlation_id {
        Some([a, b, c, d, ..]) if before.is_none() => format!(", correlation {a:02x}{b:02x}{c:02x}{d:02x}…"),
        _ => String::new(),
    };
    let size = match syn.padding {
        0 => format!("{} bytes", syn.seen.len),
        _ => format!("padded to {} bytes", syn.seen.len),
    };
    let version = match syn.version {
        UdpVersion::V1 => "version 1".to_owned(),
        UdpVersion::V2 => "version 2".to_owned(),
        UdpVersion::V3 => "version 3".to_owned(),
        UdpVersion(other) => format!("version 0x{other:04x}"),
    };
    let again = match before {
        Some(before) => format!(" again after {}", human(syn.seen.at.since(before.seen.at))),
        None => String::new(),
    };
    format!(
        "RDP-UDP {name}{again}: {version}, MTU {}, {size}{mode}{cookie}{correlation}",
        syn.upstream_mtu.min(syn.downstream_mtu)
    )
}
