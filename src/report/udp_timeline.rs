//! The timeline of a UDP conversation.

use crate::capture::Timestamp;
use crate::codes;
use crate::protocol::rdpeudp::UdpVersion;
use crate::report::model::{Speaker, Step};
use crate::report::timeline::{in_order, speaker, words};
use crate::transcript::udp::{CookieHash, SynSeen};
use crate::transcript::{Phase, UdpProgress, UdpTranscript};

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
                syn_words(syn, name, at > 0),
                silent,
            );
        }
    }
    if let Some(opened) = &opening.opened {
        let text = format!("RDP-UDP is open: the {} acknowledges the SYN+ACK", opened.side);
        add(opened.at, opened.no, speaker(opened.side), text, false);
    }
    for moment in t.heard.moments.iter() {
        if let Some(text) = words(&moment.what, moment.side) {
            let text = if t.heard.is_dtls {
                text.replace("TLS ", "DTLS ").replace("DDTLS", "DTLS")
            } else {
                text
            };
            add(moment.at, moment.frames.last, speaker(moment.side), text, false);
        }
    }
    for repeat in &t.heard.repeats {
        let what = repeat.kind.and_then(|kind| kind.name()).unwrap_or("the same data");
        add(
            repeat.seen.at,
            repeat.seen.no,
            speaker(repeat.seen.side),
            format!("{what} again"),
            false,
        );
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

fn syn_words(syn: &SynSeen, name: &str, again: bool) -> String {
    let mode = if syn.lossy { ", lossy" } else { "" };
    let cookie = match syn.cookie_hash {
        CookieHash::Present => ", with the hash of a cookie",
        CookieHash::Absent | CookieHash::Zero => "",
    };
    let version = match syn.version {
        UdpVersion::V1 => "version 1".to_owned(),
        UdpVersion::V2 => "version 2".to_owned(),
        UdpVersion::V3 => "version 3".to_owned(),
        UdpVersion(other) => format!("version 0x{other:04x}"),
    };
    format!(
        "RDP-UDP {name}{}: {version}, MTU {}, {} bytes{mode}{cookie}",
        if again { " again" } else { "" },
        syn.upstream_mtu.min(syn.downstream_mtu),
        syn.seen.len
    )
}
