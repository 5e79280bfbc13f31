//! UDP that is no RDP but stands where RDP is expected, or leads to it: named in notes, never judged.

use std::net::SocketAddr;

use crate::capture::{FrameNo, Timestamp};
use crate::flow::{Conversation, Side};
use crate::protocol::stun::{self, Class, Method};
use crate::protocol::{Parsed, quic};
use crate::report::model::Note;

/// How many conversations are named.
const NAMED: usize = 16;
/// The port of STUN and TURN.
pub(super) const PORTS: [u16; 1] = [3478];

/// Whether STUN is looked for here.
pub(super) fn is_stun_port(port: u16) -> bool {
    PORTS.contains(&port)
}

/// What a stray datagram looks like.
pub(super) fn looks_like(payload: &[u8]) -> Option<&'static str> {
    if matches!(quic::parse(payload), Parsed::Done(..)) {
        return Some("QUIC");
    }
    if matches!(stun::parse(payload), Parsed::Done(..)) {
        return Some("STUN");
    }
    Some(match payload {
        // The first message of a handshake has its type, three zeros and one size; data have a counter and full blocks.
        [1, 0, 0, 0, ..] if payload.len() == 148 => "what looks like WireGuard",
        [2, 0, 0, 0, ..] if payload.len() == 92 => "what looks like WireGuard",
        [4, 0, 0, 0, ..] if payload.len() >= 32 && payload.len().is_multiple_of(16) => "what looks like WireGuard",
        // A hard reset of a client or a server: operation code and key number, then eight random bytes and what is acknowledged. What a
        // TURN relay passes on begins with the same byte.
        [0x38 | 0x40, ..] if matches!(payload.len(), 14..=86) && stun::channel_data(payload).is_none() => {
            "what looks like OpenVPN"
        }
        // Version 2, no padding, no extra sources, and a payload type that is in use.
        [0x80 | 0x90, 0..=34 | 96..=127, ..] if payload.len() > 12 => "what looks like RTP",
        // A standard query with one question.
        [_, _, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 | 1, ..] => "DNS",
        _ => return None,
    })
}

/// STUN between two ends.
#[derive(Debug)]
struct Stun {
    client: SocketAddr,
    server: SocketAddr,
    requests: u64,
    answers: u64,
    refused: Option<(Method, u16)>,
    relays: bool,
    frames: (FrameNo, FrameNo),
}

/// A conversation on one of RDP's ports that is something else.
#[derive(Debug)]
struct Other {
    client: SocketAddr,
    server: SocketAddr,
    packets: [u64; 2],
    frames: (FrameNo, FrameNo),
    looks_like: Option<&'static str>,
}

/// Strays of one source.
#[derive(Debug, Default)]
pub(super) struct Strays {
    stun: Vec<Stun>,
    others: Vec<Other>,
    uncounted: u64,
}

impl Strays {
    /// Takes a datagram from or to the port of STUN.
    pub(super) fn datagram(&mut self, (no, _): (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let Parsed::Done(message, _) = stun::parse(payload) else {
            return;
        };
        let asks = matches!(message.class, Class::Request | Class::Indication);
        let from_client = is_stun_port(to.port()) || (asks && !is_stun_port(from.port()));
        let (client, server) = if from_client { (from, to) } else { (to, from) };
        let known = self
            .stun
            .iter()
            .position(|stun| stun.client == client && stun.server == server);
        let at = match known {
            Some(at) => at,
            None if self.stun.len() < NAMED => {
                self.stun.push(Stun {
                    client,
                    server,
                    requests: 0,
                    answers: 0,
                    refused: None,
                    relays: false,
                    frames: (no, no),
                });
                self.stun.len() - 1
            }
            None => {
                self.uncounted += 1;
                return;
            }
        };
        if let Some(stun) = self.stun.get_mut(at) {
            stun.frames.1 = no;
            stun.relays |= message.method == Method::ALLOCATE;
            match message.class {
                Class::Request => stun.requests += 1,
                Class::Success => stun.answers += 1,
                Class::Error => {
                    stun.answers += 1;
                    // 401 and 438 ask for credentials and are part of every allocation.
                    stun.refused = message
                        .error
                        .filter(|code| !matches!(code, 401 | 438))
                        .map(|code| (message.method, code))
                        .or(stun.refused);
                }
                Class::Indication => {}
            }
        }
    }

    /// Takes a conversation on a port of ours that never showed RDP.
    pub(super) fn conversation(
        &mut self,
        udp: &Conversation,
        client: SocketAddr,
        server: SocketAddr,
        looks_like: Option<&'static str>,
    ) {
        if self.others.len() >= NAMED {
            self.uncounted += 1;
            return;
        }
        self.others.push(Other {
            client,
            server,
            packets: [udp.half[Side::Client].packets, udp.half[Side::Server].packets],
            frames: (udp.first().no, udp.last().no),
            looks_like,
        });
    }

    /// The notes of this source.
    pub(super) fn notes(&self, source: u32) -> Vec<Note> {
        let frames = |(first, last): (FrameNo, FrameNo)| if first == last { vec![first] } else { vec![first, last] };
        let mut notes: Vec<Note> = self
            .stun
            .iter()
            .map(|stun| {
                let what = if stun.relays { "STUN and TURN" } else { "STUN" };
                let outcome = match (stun.answers, stun.refused) {
                    (0, _) => "none is answered: over this server RDP Shortpath cannot find a way, and its sessions stay on TCP".to_owned(),
                    (answers, Some((method, code))) => format!("{answers} answers, {method} is refused with {code}"),
                    (answers, None) => format!("{answers} answers"),
                };
                Note {
                    source,
                    frames: frames(stun.frames),
                    text: format!(
                        "{what} from {} to {}: {} requests, {outcome}. RDP Shortpath for public networks begins like this, and so do \
                         telephony and conferences",
                        stun.client, stun.server, stun.requests
                    ),
                }
            })
            .collect();
        notes.extend(self.others.iter().map(|other| Note {
            source,
            frames: frames(other.frames),
            text: format!(
                "UDP between {} and {} is {}, although the port is one of Remote Desktop's ({} and {} datagrams)",
                other.client,
                other.server,
                other
                    .looks_like
                    .map_or_else(|| "no RDP-UDP and no DTLS".to_owned(), |name| format!("{name}, no RDP-UDP")),
                other.packets[0],
                other.packets[1]
            ),
        }));
        if self.uncounted > 0 {
            notes.push(Note {
                source,
                frames: Vec::new(),
                text: format!(
                    "{} more datagrams or conversations of this kind are not listed",
                    self.uncounted
                ),
            });
        }
        notes
    }
}
