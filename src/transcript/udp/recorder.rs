//! Listens to the datagrams of one conversation: RDP-UDP in its three versions with the TLS or DTLS inside, or DTLS by itself.

use crate::capture::Span;
use crate::flow::stream::Listener;
use crate::flow::{Limits, PerSide, Seen, Side};
use crate::protocol::Parsed;
use crate::protocol::rdpeudp::{self, Datagram, Flags, Role as Kind, UdpVersion};
use crate::protocol::rdpeudp2;
use crate::transcript::inbox::Stamp;
use crate::transcript::moment::Moments;
use crate::transcript::udp::dtls::{Dtls, Repeat};
use crate::transcript::udp::ledger::Ledger;
use crate::transcript::udp::ordered::{Ordered, Piece, Stalled};
use crate::transcript::{Keys, Recorder};

/// SYNs and SYN+ACKs that are kept; a client sends at most six.
const SYNS: usize = 16;
/// Repetitions of stream data that are kept.
const REPEATS: usize = 32;

/// What a conversation turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// RDP-UDP, proven by a SYN or SYN+ACK.
    RdpUdp,
    /// DTLS by itself.
    Dtls,
    /// Datagrams that are all RDP-UDP as far as it can be told without a SYN.
    RdpUdpUnproven,
    /// None of these.
    Unknown,
}

/// What a client shows as its right to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieHash {
    /// Nothing: versions 1 and 2.
    Absent,
    /// All zeros.
    Zero,
    /// A hash.
    Present,
}

/// A SYN or SYN+ACK.
#[derive(Clone, Copy, Debug)]
pub struct SynSeen {
    /// The datagram.
    pub seen: Seen,
    /// The version that is offered or chosen.
    pub version: UdpVersion,
    /// uUpStreamMtu, in bytes of UDP payload.
    pub upstream_mtu: u16,
    /// uDownStreamMtu.
    pub downstream_mtu: u16,
    /// Whether what is lost stays lost.
    pub lossy: bool,
    /// The identifier of the X.224 Connection Request.
    pub correlation_id: Option<[u8; 16]>,
    /// The hash of the security cookie.
    pub cookie_hash: CookieHash,
    /// The hash itself, where it is one.
    pub hash: Option<[u8; 32]>,
    /// Zeros behind the last field, which make the datagram as long as the MTU that it probes.
    pub padding: u32,
    initial_sequence: u32,
}

/// The opening of RDP-UDP.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The SYNs, in order; at most sixteen are kept.
    pub syns: Vec<SynSeen>,
    /// The SYN+ACKs.
    pub syn_acks: Vec<SynSeen>,
    /// The client's first datagram that acknowledges the SYN+ACK.
    pub opened: Option<Seen>,
    /// Whether there are datagrams other than SYN and SYN+ACK.
    others: bool,
}

impl Opening {
    /// Whether nothing but SYNs was sent by a client that sent so many datagrams.
    pub fn is_all(&self, datagrams: u64) -> bool {
        datagrams == self.syns.len() as u64 || (self.syns.len() >= SYNS && !self.others)
    }
}

/// What was heard of a conversation.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it is.
    pub channel: Channel,
    /// The opening.
    pub opening: Opening,
    /// TLS or DTLS.
    pub moments: Moments,
    /// Whether the handshake inside is DTLS.
    pub is_dtls: bool,
    /// Handshake datagrams that brought nothing new.
    pub repeats: Vec<Repeat>,
    /// Handshake messages of each side that did not arrive whole although later ones did.
    pub holes: PerSide<u32>,
    /// The number of the latest DTLS handshake message that each side began to send; 0 is the first one.
    pub latest_message: PerSide<Option<u16>>,
    /// The longest DTLS datagram with handshake messages of each side, in bytes of UDP payload.
    pub largest_flight: PerSide<u32>,
    /// What was acknowledged of each side's data.
    pub ledger: PerSide<Ledger>,
    /// Data of each side that wait at the end behind some that never came.
    pub stalled: PerSide<Option<Stalled>>,
    /// Datagrams with forward error correction.
    pub fec: u64,
    /// The first of them, and how many payloads it covers.
    pub first_fec: Option<(Seen, u8)>,
    /// Datagrams with an ACK vector, and the first of those that report something as missing.
    pub vectors: (u64, Option<Seen>),
    /// Datagrams that report congestion.
    pub congestion: u64,
    /// Who ended it with FIN, and where.
    pub fin: Option<Seen>,
    /// The mark of a gateway's client behind its ClientHello.
    pub gateway_mark: Option<[u8; 16]>,
    /// Datagrams that could not be read as what the conversation is.
    pub unread: u64,
}

/// Writes down one conversation.
#[derive(Debug)]
pub struct UdpRecorder {
    limits: Limits,
    keys: Keys,
    channel: Channel,
    opening: Opening,
    /// Datagrams without a SYN before them, and how many of them read as RDP-UDP and as RDP-UDP2.
    tally: [u32; 3],
    version: Option<UdpVersion>,
    stream: Option<Box<Stream>>,
    dtls: Option<Box<Dtls>>,
    ledger: PerSide<Ledger>,
    stream_repeats: Vec<Repeat>,
    fec: u64,
    first_fec: Option<(Seen, u8)>,
    vectors: (u64, Option<Seen>),
    congestion: u64,
    fin: Option<Seen>,
    gateway_mark: Option<[u8; 16]>,
    unread: u64,
}

/// The TLS stream of the reliable mode.
#[derive(Debug)]
struct Stream {
    order: PerSide<Ordered>,
    recorder: Recorder,
}

impl UdpRecorder {
    /// A recorder that has heard nothing.
    pub fn new(limits: &Limits, keys: Keys) -> UdpRecorder {
        UdpRecorder {
            limits: *limits,
            keys,
            channel: Channel::Unknown,
            opening: Opening::default(),
            tally: [0; 3],
            version: None,
            stream: None,
            dtls: None,
            ledger: PerSide::default(),
            stream_repeats: Vec::new(),
            fec: 0,
            first_fec: None,
            vectors: (0, None),
            congestion: 0,
            fin: None,
            gateway_mark: None,
            unread: 0,
        }
    }

    /// The memory that it takes beside itself, in bytes.
    pub fn weight(&self) -> usize {
        let stream = self
            .stream
            .as_ref()
            .map_or(0, |stream| size_of::<Stream>() + stream.recorder.weight());
        let dtls = self.dtls.as_ref().map_or(0, |dtls| size_of::<Dtls>() + dtls.moments.weight());
        stream + dtls + self.ledger.client.weight() + self.ledger.server.weight()
    }

    /// Whether a datagram begins another connection between the same ports.
    pub fn starts_over(&self, side: Side, payload: &[u8]) -> bool {
        match self.channel {
            Channel::RdpUdp => match (rdpeudp::recognise(payload), self.opening.syns.last()) {
                (Parsed::Done(datagram, _), Some(last)) => {
                    datagram.role() == Kind::Syn && datagram.syn.is_some_and(|syn| syn.initial_sequence != last.initial_sequence)
                }
                _ => false,
            },
            Channel::Dtls => self.dtls.as_ref().is_some_and(|dtls| dtls.starts_over(side, payload)),
            Channel::RdpUdpUnproven | Channel::Unknown => false,
        }
    }

    /// Listens to one datagram.
    pub fn datagram(&mut self, side: Side, payload: &[u8], seen: &Seen) {
        if let Parsed::Done(datagram, _) = rdpeudp::recognise(payload) {
            if self.channel != Channel::RdpUdp {
                self.ledger = PerSide::default();
            }
            self.channel = Channel::RdpUdp;
            self.syn(&datagram, seen);
            return;
        }
        match self.channel {
            Channel::RdpUdp => self.rdp_udp(side, payload, seen),
            Channel::Dtls => self.dtls().datagram(side, payload, seen),
            Channel::Unknown | Channel::RdpUdpUnproven => self.without_syn(side, payload, seen),
        }
    }

    fn dtls(&mut self) -> &mut Dtls {
        let (limits, keys) = (&self.limits, &self.keys);
        self.dtls.get_or_insert_with(|| Box::new(Dtls::new(limits, keys.clone())))
    }

    fn without_syn(&mut self, side: Side, payload: &[u8], seen: &Seen) {
        let [all, first, second] = &mut self.tally;
        if *all == 0 && Dtls::begins(payload) {
            self.channel = Channel::Dtls;
            self.gateway_mark = crate::protocol::gateway::udp::correlation_id(payload);
            self.dtls().datagram(side, payload, seen);
            return;
        }
        *all = all.saturating_add(1);
        let plain = rdpeudp::parse(payload).ok().filter(|datagram| {
            datagram.receive_window != 0
                && matches!(datagram.role(), Kind::Data | Kind::Ack | Kind::Fec)
                && datagram.source_ack.is_some()
        });
        let short = rdpeudp2::parse(payload)
            .ok()
            .filter(|packet| packet.dummy || packet.flags.0 != 0);
        *first += u32::from(plain.is_some());
        *second += u32::from(short.is_some());
        // As long as all of them read as one version their numbers are kept; of what they carry nothing is read without its beginning.
        match (plain, short, &self.tally) {
            (Some(datagram), _, [all, first, _]) if first == all => self.reckon_first(side, &datagram, seen),
            // Until now they could have been of the other version.
            (None, Some(_), [all, first, second]) if second == all && first + 1 == *all => self.ledger = PerSide::default(),
            (_, Some(packet), [all, _, second]) if second == all => self.reckon_second(side, &packet, seen),
            _ => self.ledger = PerSide::default(),
        }
        self.channel = match self.tally {
            // Three of sixteen flags must be clear in every datagram, and what the others announce must fit.
            [all, first, _] if first == all && all >= 8 => Channel::RdpUdpUnproven,
            // Twelve bits of a header are as they must be.
            [all, _, second] if second == all && all >= 4 => Channel::RdpUdpUnproven,
            _ => Channel::Unknown,
        };
    }

    fn syn(&mut self, datagram: &Datagram<'_>, seen: &Seen) {
        let (Some(syn), Some(version)) = (datagram.syn, datagram.version()) else {
            return;
        };
        let one = SynSeen {
            seen: *seen,
            version,
            upstream_mtu: syn.upstream_mtu,
            downstream_mtu: syn.downstream_mtu,
            lossy: datagram.flags.contains(Flags::SYNLOSSY),
            correlation_id: datagram.correlation_id,
            cookie_hash: match datagram.syn_ex.and_then(|ex| ex.cookie_hash) {
                None => CookieHash::Absent,
                Some(hash) if hash == [0; 32] => CookieHash::Zero,
                Some(_) => CookieHash::Present,
            },
            hash: datagram.syn_ex.and_then(|ex| ex.cookie_hash).filter(|hash| *hash != [0; 32]),
            padding: u32::try_from(datagram.padding).unwrap_or(u32::MAX),
            initial_sequence: syn.initial_sequence,
        };
        let answers = datagram.role() == Kind::SynAck;
        if answers {
            self.version = Some(version);
        }
        let list = if answers {
            &mut self.opening.syn_acks
        } else {
            &mut self.opening.syns
        };
        if list.len() < SYNS {
            list.push(one);
        }
    }

    fn rdp_udp(&mut self, side: Side, payload: &[u8], seen: &Seen) {
        self.opening.others = true;
        if side == Side::Client && !self.opening.syn_acks.is_empty() {
            self.opening.opened.get_or_insert(*seen);
        }
        if self.version == Some(UdpVersion::V3) {
            self.second(side, payload, seen);
        } else {
            self.first(side, payload, seen);
        }
    }

    /// MS-RDPEUDP: versions 1 and 2.
    fn first(&mut self, side: Side, payload: &[u8], seen: &Seen) {
        let Ok(datagram) = rdpeudp::parse(payload) else {
            self.unread += 1;
            return;
        };
        let before = self.ledger[side].repeats;
        self.reckon_first(side, &datagram, seen);
        if let Some(fec) = &datagram.fec {
            self.fec += 1;
            self.first_fec.get_or_insert((*seen, fec.range));
        }
        if !datagram.ack_vector.is_empty() {
            self.vectors.0 += 1;
            if datagram.ack_vector.iter().any(|run| !run.is_received()) {
                self.vectors.1.get_or_insert(*seen);
            }
        }
        self.congestion += u64::from(datagram.flags.contains(Flags::CN));
        if datagram.flags.contains(Flags::FIN) {
            self.fin.get_or_insert(*seen);
        }
        if let Some(source) = datagram.source {
            self.again(side, before, seen);
            self.data(side, source.start, u32::MAX, source.payload, seen);
        }
    }

    /// What a datagram of versions 1 and 2 acknowledges, and its own number.
    fn reckon_first(&mut self, side: Side, datagram: &Datagram<'_>, seen: &Seen) {
        let stamp = Stamp::from(seen);
        if let Some(highest) = datagram.source_ack {
            let delayed = datagram.flags.contains(Flags::ACKDELAYED);
            self.ledger[side.other()].acknowledge(highest, &datagram.ack_vector, delayed, stamp);
        }
        if let Some(fec) = &datagram.fec {
            self.ledger[side].number(fec.coded);
        }
        if let Some(source) = &datagram.source {
            self.ledger[side].note(source.coded, source.start, seen.len, stamp);
        }
    }

    /// MS-RDPEUDP2: version 3.
    fn second(&mut self, side: Side, payload: &[u8], seen: &Seen) {
        let Ok(packet) = rdpeudp2::parse(payload) else {
            self.unread += 1;
            return;
        };
        let before = self.ledger[side].repeats;
        self.reckon_second(side, &packet, seen);
        if let Some(vector) = &packet.ack_vector {
            self.vectors.0 += 1;
            if vector.runs.iter().any(|(arrived, _)| !arrived) {
                self.vectors.1.get_or_insert(*seen);
            }
        }
        if let (Some(_), Some((start, data)), false) = (packet.data_sequence, packet.data, packet.dummy) {
            self.again(side, before, seen);
            self.data(side, u32::from(start), 0xFFFF, &data, seen);
        }
    }

    /// What a datagram of version 3 acknowledges, and its own number.
    fn reckon_second(&mut self, side: Side, packet: &rdpeudp2::Packet, seen: &Seen) {
        let stamp = Stamp::from(seen);
        let other = &mut self.ledger[side.other()];
        other.shorten();
        if let Some(ack) = &packet.ack {
            let number = u32::from(ack.sequence);
            other.acknowledge_one(number, Some(Span::millis(i64::from(ack.delay_ms))), stamp);
            for before in 1..=u32::from(ack.delayed) {
                other.acknowledge_one(number.wrapping_sub(before) & 0xFFFF, None, stamp);
            }
        }
        if let Some(vector) = &packet.ack_vector {
            let mut number = u32::from(vector.base);
            for &(arrived, count) in &vector.runs {
                for _ in 0..count {
                    if arrived {
                        other.acknowledge_one(number, None, stamp);
                    } else {
                        other.miss(number);
                    }
                    number = number.wrapping_add(1) & 0xFFFF;
                }
            }
        }
        if let (Some(sequence), Some((start, _)), false) = (packet.data_sequence, &packet.data, packet.dummy) {
            let ledger = &mut self.ledger[side];
            ledger.shorten();
            ledger.note(u32::from(sequence), u32::from(*start), seen.len, stamp);
        }
    }

    fn again(&mut self, side: Side, repeats_before: u64, seen: &Seen) {
        if self.ledger[side].repeats > repeats_before && self.stream_repeats.len() < REPEATS {
            self.stream_repeats.push(Repeat { seen: *seen, kind: None });
        }
    }

    /// What RDP-UDP carries: DTLS in the lossy mode, a TLS stream in the reliable one.
    fn data(&mut self, side: Side, number: u32, mask: u32, payload: &[u8], seen: &Seen) {
        if self.stream.is_none() && (self.dtls.is_some() || Dtls::begins(payload)) {
            self.dtls().datagram(side, payload, seen);
            return;
        }
        let stream = self.stream.get_or_insert_with(|| {
            // The first data follow the SYN's number; version 3 numbers them anew.
            let first = |list: &[SynSeen]| {
                list.first()
                    .filter(|_| mask == u32::MAX)
                    .map(|syn| syn.initial_sequence.wrapping_add(1))
            };
            Box::new(Stream {
                order: PerSide {
                    client: Ordered::new(first(&self.opening.syns), mask),
                    server: Ordered::new(first(&self.opening.syn_acks), mask),
                },
                recorder: Recorder::new(&self.limits, self.opening.syns.is_empty(), self.keys.clone()),
            })
        });
        let Stream { order, recorder } = &mut **stream;
        for piece in order[side].push(number, payload, seen) {
            match piece {
                Piece::Bytes(bytes, seen) => recorder.bytes(side, &bytes, &seen),
                Piece::Gap(seen) => recorder.gap(side, u32::MAX, &seen),
            }
        }
    }

    /// What was heard, at the end.
    pub fn finish(self) -> Heard {
        let empty = Moments::new(0, 0);
        let is_dtls = self.dtls.is_some();
        let stalled = self.stream.as_ref().map_or_else(PerSide::default, |stream| PerSide {
            client: stream.order.client.stalled(),
            server: stream.order.server.stalled(),
        });
        let latest_message = self.dtls.as_ref().map_or_else(PerSide::default, |dtls| PerSide {
            client: dtls.highest(Side::Client),
            server: dtls.highest(Side::Server),
        });
        let (moments, mut repeats, holes, largest_flight) = match (self.dtls, self.stream) {
            (Some(dtls), _) => {
                let holes = if dtls.is_done() {
                    PerSide::default()
                } else {
                    PerSide {
                        client: dtls.holes(Side::Client),
                        server: dtls.holes(Side::Server),
                    }
                };
                let Dtls {
                    moments,
                    repeats,
                    largest_flight,
                    ..
                } = *dtls;
                (moments, repeats, holes, largest_flight)
            }
            (None, Some(stream)) => (
                stream.recorder.into_moments(),
                Vec::new(),
                PerSide::default(),
                PerSide::default(),
            ),
            (None, None) => (empty, Vec::new(), PerSide::default(), PerSide::default()),
        };
        let ledger = match self.channel {
            Channel::Unknown => PerSide::default(),
            Channel::RdpUdp | Channel::RdpUdpUnproven | Channel::Dtls => self.ledger,
        };
        repeats.extend(self.stream_repeats);
        repeats.sort_by_key(|repeat| repeat.seen.no);
        Heard {
            channel: self.channel,
            opening: self.opening,
            moments,
            is_dtls,
            repeats,
            holes,
            latest_message,
            largest_flight,
            ledger,
            stalled,
            fec: self.fec,
            first_fec: self.first_fec,
            vectors: self.vectors,
            congestion: self.congestion,
            fin: self.fin,
            gateway_mark: self.gateway_mark,
            unread: self.unread,
        }
    }
}
