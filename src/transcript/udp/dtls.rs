//! Listens to DTLS, on a conversation of its own or inside RDP-UDP: what is said in clear, what was repeated, and which messages of a
//! flight never arrived whole.

use crate::flow::{Limits, PerSide, Seen, Side};
use crate::protocol::Parsed;
use crate::protocol::dtls::{self, Arrival, DtlsHandshakeBuffer};
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::handshake::HandshakeType;
use crate::protocol::tls::record::{ContentType, RecordHeader, Version};
use crate::transcript::inbox::Stamp;
use crate::transcript::moment::{Depth, Frames, Moment, Moments, Sealed, SealedKind, What};
use crate::transcript::tls::Tls;

/// Repetitions that are kept; senders give up sooner.
const REPEATS: usize = 32;
/// Messages of a side whose completeness is known.
const MESSAGES: u16 = 64;

/// A handshake datagram that brought nothing new.
#[derive(Clone, Copy, Debug)]
pub struct Repeat {
    /// The datagram.
    pub seen: Seen,
    /// The first message in it; `None` where it is sealed.
    pub kind: Option<HandshakeType>,
}

/// The handshake messages of one side.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    whole: u64,
    highest: Option<u16>,
}

/// One DTLS association.
#[derive(Clone, Debug)]
pub(super) struct Dtls {
    tls: Tls,
    buffers: PerSide<DtlsHandshakeBuffer>,
    heard: PerSide<Heard>,
    pub(super) moments: Moments,
    pub(super) repeats: Vec<Repeat>,
    /// The longest datagram with handshake messages of each side.
    pub(super) largest_flight: PerSide<u32>,
    done: PerSide<bool>,
}

impl Dtls {
    pub(super) fn new(limits: &Limits) -> Dtls {
        Dtls {
            tls: Tls::default(),
            buffers: PerSide::default(),
            heard: PerSide::default(),
            moments: Moments::new(limits.moments_head, limits.moments_tail),
            repeats: Vec::new(),
            largest_flight: PerSide::default(),
            done: PerSide::default(),
        }
    }

    /// Whether these bytes begin with a record.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        matches!(dtls::record(bytes), Parsed::Done(..))
            || (bytes.len() >= dtls::HEADER_LEN && dtls::record(bytes) == Parsed::More)
    }

    /// Whether a datagram begins another association between the same ports: a first ClientHello in clear, where the handshake was done.
    pub(super) fn starts_over(&self, side: Side, bytes: &[u8]) -> bool {
        let Parsed::Done(record, _) = dtls::record(bytes) else {
            return false;
        };
        side == Side::Client
            && self.done.client
            && record.epoch == 0
            && record.sequence == 0
            && record.header.content_type == ContentType::HANDSHAKE
            && record.fragment.first() == Some(&HandshakeType::CLIENT_HELLO.0)
    }

    /// Whether both Finished messages have passed.
    pub(super) fn is_done(&self) -> bool {
        self.done.client && self.done.server
    }

    /// Messages of this side of which only later ones or parts came through.
    pub(super) fn holes(&self, side: Side) -> u32 {
        let Heard { whole, highest } = self.heard[side];
        highest.map_or(0, |highest| {
            let all = if highest >= MESSAGES - 1 {
                u64::MAX
            } else {
                (1 << (highest + 1)) - 1
            };
            (all & !whole).count_ones()
        })
    }

    /// Reads one datagram.
    pub(super) fn datagram(&mut self, side: Side, bytes: &[u8], seen: &Seen) {
        let stamp = Stamp::from(seen);
        let mut rest = bytes;
        let mut fresh = false;
        let mut again: Option<Option<HandshakeType>> = None;
        while !rest.is_empty() {
            if let Some(used) = self.unified(side, rest, stamp) {
                rest = rest.get(used..).unwrap_or_default();
                continue;
            }
            // Behind the first ClientHello stands what the gateway's client wants to be recognised by: no record, and no harm.
            let Parsed::Done(record, used) = dtls::record(rest) else {
                break;
            };
            rest = rest.get(used..).unwrap_or_default();
            let header = record.header;
            if record.is_sealed() {
                let sealed = self.tls.sealed_record(side, header);
                match sealed.kind {
                    SealedKind::Finished => {
                        self.done[side] = true;
                        fresh = true;
                    }
                    SealedKind::Handshake if header.content_type == ContentType::HANDSHAKE => again = again.or(Some(None)),
                    _ => fresh = true,
                }
                self.say(side, stamp, What::Sealed(sealed));
                continue;
            }
            match header.content_type {
                ContentType::HANDSHAKE => {
                    self.largest_flight[side] = self.largest_flight[side].max(seen.len);
                    match self.handshake(side, record.fragment, stamp) {
                        Some(kind) => again = again.or(Some(Some(kind))),
                        None => fresh = true,
                    }
                }
                ContentType::CHANGE_CIPHER_SPEC => self.say(side, stamp, What::ChangeCipherSpec),
                ContentType::ALERT => {
                    fresh = true;
                    if let Some(alert) = Alert::parse(record.fragment) {
                        self.say(side, stamp, What::Alert(alert));
                    }
                }
                _ => fresh = true,
            }
        }
        if let Some(kind) = again.filter(|_| !fresh)
            && self.repeats.len() < REPEATS
        {
            self.repeats.push(Repeat { seen: *seen, kind });
        }
    }

    /// Reads the handshake fragments of a record; gives the first message if there was nothing new in it.
    fn handshake(&mut self, side: Side, fragment: &[u8], stamp: Stamp) -> Option<HandshakeType> {
        let Ok(fragments) = dtls::handshake_fragments(fragment) else {
            return None;
        };
        let mut fresh = fragments.is_empty();
        for one in &fragments {
            let heard = &mut self.heard[side];
            heard.highest = heard.highest.max(Some(one.message_seq));
            match self.buffers[side].push(one) {
                Arrival::Complete(raw) => {
                    fresh = true;
                    if one.message_seq < MESSAGES {
                        heard.whole |= 1 << one.message_seq;
                    }
                    let what = self.tls.message(&raw);
                    self.say(side, stamp, what);
                }
                Arrival::Incomplete => fresh = true,
                Arrival::Repeated | Arrival::Dropped => {}
            }
        }
        fragments.first().map(|first| first.kind).filter(|_| !fresh)
    }

    /// Reads a sealed DTLS 1.3 record, where that version was agreed on, and gives its length.
    fn unified(&mut self, side: Side, bytes: &[u8], stamp: Stamp) -> Option<usize> {
        if self.tls.agreed.version != Some(Version::DTLS13) {
            return None;
        }
        let header = dtls::unified_header(bytes)?;
        let length = header
            .length
            .map_or(bytes.len().saturating_sub(header.header_len), usize::from)
            .min(bytes.len().saturating_sub(header.header_len));
        // Epoch 2 is the handshake; the client's part of it is its Finished, behind a certificate at most.
        let kind = match header.epoch_bits {
            2 if side == Side::Client && !self.done.client => {
                self.done = PerSide {
                    client: true,
                    server: true,
                };
                SealedKind::Finished
            }
            2 => SealedKind::Handshake,
            _ => SealedKind::Application,
        };
        let record = RecordHeader {
            content_type: ContentType::APPLICATION_DATA,
            version: Version::DTLS12,
            length: u16::try_from(length).unwrap_or(u16::MAX),
        };
        let plain = self.tls.sealed_record(side, record).plain;
        self.say(
            side,
            stamp,
            What::Sealed(Sealed {
                content_type: record.content_type,
                length: record.length,
                plain,
                kind,
            }),
        );
        Some(header.header_len + length)
    }

    fn say(&mut self, side: Side, stamp: Stamp, what: What) {
        self.moments.push(Moment {
            at: stamp.at,
            began: stamp.at,
            side,
            frames: Frames {
                first: stamp.no,
                last: stamp.no,
            },
            depth: Depth::OUTER,
            what,
        });
    }
}
