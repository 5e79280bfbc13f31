//! Listens to DTLS, on a conversation of its own or inside RDP-UDP: what is said in clear, what was repeated, and which messages of a
//! flight never arrived whole. Where keys open it, the beginning of what it carries is read: a gateway's packets (MS-TSGU 2.2.11), or the
//! tunnel of RDP-UDP (MS-RDPEMT).

use crate::flow::{Limits, PerSide, Seen, Side};
use crate::protocol::Parsed;
use crate::protocol::dtls::{self, Arrival, DtlsHandshakeBuffer, DtlsRecord};
use crate::protocol::gateway::udp as side_channel;
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::decrypt::Decryptor;
use crate::protocol::tls::handshake::HandshakeType;
use crate::protocol::tls::hello::ClientHello;
use crate::protocol::tls::record::{ContentType, RecordHeader, Version};
use crate::transcript::inbox::Stamp;
use crate::transcript::keys::Keys;
use crate::transcript::moment::{Depth, Frames, GatewaySays, Moment, Moments, Pdu, Sealed, SealedKind, What};
use crate::transcript::opened::sender;
use crate::transcript::stream::tunnel;
use crate::transcript::tls::Tls;

/// Repetitions that are kept; senders give up sooner.
const REPEATS: usize = 32;
/// Parts of a request for the side channel, and bytes of all of them; a cookie has some two thousand.
const PARTS: usize = 32;
const REQUEST: usize = 32 * 1024;
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
    lowest: Option<u16>,
    highest: Option<u16>,
}

/// One DTLS association.
#[derive(Debug)]
pub(super) struct Dtls {
    tls: Tls,
    buffers: PerSide<DtlsHandshakeBuffer>,
    heard: PerSide<Heard>,
    pub(super) moments: Moments,
    pub(super) repeats: Vec<Repeat>,
    /// The longest datagram with handshake messages of each side.
    pub(super) largest_flight: PerSide<u32>,
    done: PerSide<bool>,
    keys: Keys,
    /// The last ClientHello, while keys may be found for it.
    hello: Option<Box<ClientHello>>,
    opened: Option<Decryptor>,
    /// The parts of the client's request for the side channel that have come.
    parts: Vec<Option<Vec<u8>>>,
}

impl Dtls {
    pub(super) fn new(limits: &Limits, keys: Keys) -> Dtls {
        Dtls {
            tls: Tls::new(&keys.shelf),
            buffers: PerSide::default(),
            heard: PerSide::default(),
            moments: Moments::new(limits.moments_head, limits.moments_tail),
            repeats: Vec::new(),
            largest_flight: PerSide::default(),
            done: PerSide::default(),
            keys,
            hello: None,
            opened: None,
            parts: Vec::new(),
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
        let Heard { whole, lowest, highest } = self.heard[side];
        let up_to = |number: u16| match number {
            MESSAGES.. => u64::MAX,
            number => (1 << number) - 1,
        };
        // What stands before the first message that was heard may have passed before the capture began.
        lowest.zip(highest).map_or(0, |(lowest, highest)| {
            (up_to(highest.saturating_add(1)) & !up_to(lowest) & !whole).count_ones()
        })
    }

    /// The number of the latest message that this side began to send.
    pub(super) fn highest(&self, side: Side) -> Option<u16> {
        self.heard[side].highest
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
                self.open(side, &record, stamp);
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
            heard.lowest = Some(heard.lowest.map_or(one.message_seq, |lowest| lowest.min(one.message_seq)));
            match self.buffers[side].push(one) {
                Arrival::Complete(raw) => {
                    fresh = true;
                    if one.message_seq < MESSAGES {
                        heard.whole |= 1 << one.message_seq;
                    }
                    let what = self.tls.message(&raw);
                    self.find_keys(&what);
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

    /// Prepares the keys once both hellos have been heard.
    fn find_keys(&mut self, what: &What) {
        match what {
            What::ClientHello(hello) if !self.keys.is_empty() => self.hello = Some(hello.clone()),
            What::ServerHello(answer) if !answer.hello_retry_request => {
                let hello = self.hello.take();
                self.opened = hello.and_then(|hello| self.keys.decryptor(&hello, answer).ok());
            }
            _ => {}
        }
    }

    /// Opens a sealed record where there are keys for it, and reads what it carries as far as it tells how the channel fares.
    fn open(&mut self, side: Side, record: &DtlsRecord<'_>, stamp: Stamp) {
        let Some(plain) = self
            .opened
            .as_mut()
            .and_then(|keys| keys.datagram_record(sender(side), record).ok())
        else {
            return;
        };
        match plain.content_type {
            ContentType::ALERT => {
                if let Some(alert) = Alert::parse(&plain.bytes) {
                    self.say_inside(side, stamp, What::Alert(alert));
                }
            }
            ContentType::APPLICATION_DATA => {
                if let Some((said, _)) = tunnel(side, &plain.bytes) {
                    self.say_inside(side, stamp, What::Pdu(Box::new(Pdu::Multitransport(said))));
                } else if let Some(packet) = side_channel::parse(&plain.bytes) {
                    self.side_channel(side, &packet.body, stamp);
                }
            }
            _ => {}
        }
    }

    fn side_channel(&mut self, side: Side, body: &side_channel::Body<'_>, stamp: Stamp) {
        use side_channel::Body;
        // Results are 64 bits wide and carry an HRESULT in their lower half.
        let low = |status: i64| status as u32;
        let says = match *body {
            Body::Connect { port, mtu, lossy, .. } if side == Side::Client => GatewaySays::SideConnect { port, lossy, mtu },
            Body::Fragment { id, count, part } if side == Side::Client => {
                let Some(whole) = self.part(id, count, part) else { return };
                match side_channel::parse(&whole).map(|packet| packet.body) {
                    Some(Body::Connect { port, mtu, lossy, .. }) => GatewaySays::SideConnect { port, lossy, mtu },
                    _ => return,
                }
            }
            Body::ConnectResponse { result, .. } if side == Side::Server => GatewaySays::SideResult(low(result)),
            Body::Disconnect { reason } => GatewaySays::SideEnd(low(reason)),
            _ => return,
        };
        self.say_inside(side, stamp, What::Gateway(Box::new(says)));
    }

    /// Adds a part of the request; gives the whole with the last one. Parts are repeated until they are answered.
    fn part(&mut self, id: u16, count: u16, part: &[u8]) -> Option<Vec<u8>> {
        let (id, count) = (usize::from(id), usize::from(count));
        let held: usize = self.parts.iter().flatten().map(Vec::len).sum();
        if count > PARTS || held + part.len() > REQUEST {
            return None;
        }
        // The specification does not say whether the first one has the number 0 or 1; both fit.
        if self.parts.len() != count + 1 {
            self.parts = vec![None; count + 1];
        }
        let slot = self.parts.get_mut(id).filter(|slot| slot.is_none())?;
        *slot = Some(part.to_vec());
        let have: Vec<&[u8]> = self.parts.iter().flatten().map(Vec::as_slice).collect();
        (have.len() == count).then(|| have.concat())
    }

    fn say(&mut self, side: Side, stamp: Stamp, what: What) {
        self.say_at(Depth::OUTER, side, stamp, what);
    }

    fn say_inside(&mut self, side: Side, stamp: Stamp, what: What) {
        self.say_at(Depth(1), side, stamp, what);
    }

    fn say_at(&mut self, depth: Depth, side: Side, stamp: Stamp, what: What) {
        self.moments.push(Moment {
            at: stamp.at,
            began: stamp.at,
            side,
            frames: Frames {
                first: stamp.no,
                last: stamp.no,
            },
            depth,
            what,
        });
    }
}
