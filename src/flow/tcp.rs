//! One TCP connection as a bystander sees it: sequence numbers of both sides, bytes in order, round trips, resets.

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::Limits;
use crate::flow::copies::{Copies, CopyWatch};
use crate::flow::habits::{Habits, SynFacts};
use crate::flow::log::PacketLog;
use crate::flow::seen::{Marks, Seen};
use crate::flow::side::{PerSide, Side};
use crate::flow::spread::Spread;
use crate::flow::stream::{Listener, Stream};
use crate::packet::{IcmpMessage, Packet, Segment, TcpFlags};

/// How the capture of a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// With a SYN: sides, sequence numbers and options are known.
    Handshake,
    /// With a SYN+ACK: the client's SYN was not captured, the sides are known.
    SynAck,
    /// In the middle: the sides were told by port or content.
    MidStream,
}

/// The frames of the three-way handshake.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handshake {
    /// The first SYN.
    pub syn: Option<(FrameNo, Timestamp)>,
    /// How many times the SYN was sent.
    pub syns: u32,
    /// The first SYN+ACK.
    pub syn_ack: Option<(FrameNo, Timestamp)>,
    /// How many times the SYN+ACK was sent.
    pub syn_acks: u32,
    /// The client's first segment that acknowledges the SYN+ACK.
    pub ack: Option<(FrameNo, Timestamp)>,
}

impl Handshake {
    /// Whether all three steps were seen.
    pub fn complete(&self) -> bool {
        self.syn_ack.is_some() && self.ack.is_some()
    }
}

/// A reset, with the state of the connection when it passed.
#[derive(Clone, Copy, Debug)]
pub struct Reset {
    /// The segment.
    pub seen: Seen,
    /// The sequence number that its alleged sender would use next, as far as was captured.
    pub sender_next: Option<u32>,
    /// The highest acknowledgment that the other side had sent for the alleged sender's bytes.
    pub receiver_expects: Option<u32>,
    /// The sequence number that the other side would use next: what an exact acknowledgment says.
    pub receiver_next: Option<u32>,
    /// The last packet of the other side before it: what may have triggered it.
    pub trigger: Option<Seen>,
    /// The last packet of its alleged sender before it.
    pub own_last: Option<Seen>,
    /// Whether the connection had already ended before it.
    pub afterglow: bool,
    /// The first bytes of its payload: some stacks and devices put a reason there.
    pub payload: [u8; REASON],
}

/// How many bytes of a reset's payload are kept.
pub const REASON: usize = 32;

/// An ICMP error that quotes a packet of this connection.
#[derive(Clone, Debug)]
pub struct IcmpSeen {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// Who sent the ICMP message.
    pub from: std::net::IpAddr,
    /// The TTL with which the ICMP message arrived.
    pub ttl: u8,
    /// The message.
    pub message: IcmpMessage,
    /// Who sent the quoted packet.
    pub about: Side,
}

/// Everything that is tracked of one side.
#[derive(Clone, Debug)]
pub struct Half {
    /// Initial sequence number, where the SYN was seen.
    pub isn: Option<u32>,
    /// The sequence number after the last byte that this side was seen to send.
    pub next: Option<u32>,
    /// The highest acknowledgment that the other side sent for this side's bytes.
    pub acked: Option<u32>,
    /// Where and when this side sent FIN.
    pub fin: Option<(FrameNo, Timestamp, u32)>,
    /// Window scale shift in force.
    pub window_scale: u8,
    /// Packets, resets and copies included except copies of the capture.
    pub packets: u64,
    /// Segments with new payload.
    pub data_segments: u64,
    /// Payload bytes, retransmissions not counted.
    pub bytes: u64,
    /// Segments that carry what was sent before.
    pub retransmissions: u64,
    /// Segments that filled a hole late: lost before the capture point and sent again, or overtaken.
    pub hole_fills: u64,
    /// Keep-alive probes.
    pub keep_alives: u64,
    /// Bytes that the other side acknowledged and the capture never saw.
    pub unseen: u64,
    /// Last packet of this side.
    pub last: Option<Seen>,
    /// Last packet with new payload.
    pub last_data: Option<Seen>,
    /// First packet with payload.
    pub first_data: Option<Seen>,
    /// Largest IP packet with payload that was acknowledged, in bytes.
    pub largest_acked: u32,
    /// Segments waiting for their acknowledgment, for round-trip times: end, time, IP length, frame.
    outstanding: Option<(u32, Timestamp)>,
    /// Sent and not yet acknowledged: end and IP length, bounded.
    in_flight: smallvec::SmallVec<[(u32, u32); 4]>,
    last_ack_sent: Option<(u32, u16)>,
    stream: Stream,
}

impl Half {
    /// Bytes at the end of what this side said that the other side has acknowledged and the capture never saw. Zero where the
    /// capture shows neither the SYN nor any data of this side.
    pub fn unseen_at_end(&self) -> u32 {
        let end = self.stream.delivered().or(self.isn.map(|isn| isn.wrapping_add(1)));
        let (Some(acked), Some(end)) = (self.acked, end) else {
            return 0;
        };
        let beyond = acked.wrapping_sub(end) as i32;
        // A FIN counts as one, and says nothing.
        u32::try_from(beyond.saturating_sub(1)).unwrap_or(0)
    }

    fn new() -> Half {
        Half {
            isn: None,
            next: None,
            acked: None,
            fin: None,
            window_scale: 0,
            packets: 0,
            data_segments: 0,
            bytes: 0,
            retransmissions: 0,
            hole_fills: 0,
            keep_alives: 0,
            unseen: 0,
            last: None,
            last_data: None,
            first_data: None,
            largest_acked: 0,
            outstanding: None,
            in_flight: smallvec::SmallVec::new(),
            last_ack_sent: None,
            stream: Stream::default(),
        }
    }
}

/// How many segments in flight are remembered for the size statistics.
const IN_FLIGHT: usize = 32;
/// How many resets and ICMP messages of one connection are kept.
const KEPT: usize = 16;

/// One TCP connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// How its capture begins.
    pub opening: Opening,
    /// The three-way handshake.
    pub handshake: Handshake,
    /// Both sides.
    pub half: PerSide<Half>,
    /// Their portraits.
    pub habits: PerSide<Habits>,
    /// Their portraits as they were when the first reset passed.
    pub before_reset: Option<Box<PerSide<Habits>>>,
    /// Its packets.
    pub log: PacketLog,
    /// Its resets, in order.
    pub resets: Vec<Reset>,
    /// How many resets passed.
    pub reset_count: u64,
    /// ICMP errors about it.
    pub icmp: Vec<IcmpSeen>,
    /// Frames that the capture holds more than once.
    pub copies: Copies,
    /// When it ended: a reset, or FIN from both sides acknowledged or not.
    pub closed: Option<Timestamp>,
    /// The longest time in which neither side sent anything, and the packet after which it began.
    pub longest_idle: Option<(Span, Seen)>,
    /// Frames whose time lies before their predecessor's.
    pub clock_steps_back: u64,
    /// Segments cut by the snap length.
    pub cut: u64,
    /// Bytes that were sent twice with different content: the two frames.
    pub conflicts: Vec<(FrameNo, FrameNo)>,
    /// Round-trip time between the capture point and each side, in microseconds.
    pub rtt: PerSide<Spread>,
    /// Smallest round-trip time between the capture point and each side with the acknowledging frame.
    pub rtt_min: PerSide<Option<(Span, FrameNo)>>,
    /// Time from the other side's last byte to this side's first answering byte, in microseconds, network included.
    pub response: PerSide<Spread>,
    watch: CopyWatch,
    first: Seen,
}

/// The highest acknowledgment of each side's bytes.
fn acked(half: &PerSide<Half>) -> PerSide<Option<u32>> {
    PerSide {
        client: half.client.acked,
        server: half.server.acked,
    }
}

impl Connection {
    /// A connection that begins with `seen`.
    pub fn new(opening: Opening, first: Seen, limits: &Limits) -> Connection {
        Connection {
            opening,
            handshake: Handshake::default(),
            half: PerSide {
                client: Half::new(),
                server: Half::new(),
            },
            habits: PerSide::default(),
            before_reset: None,
            log: PacketLog::new(limits.log_head, limits.log_tail),
            resets: Vec::new(),
            reset_count: 0,
            icmp: Vec::new(),
            copies: Copies::default(),
            closed: None,
            longest_idle: None,
            clock_steps_back: 0,
            cut: 0,
            conflicts: Vec::new(),
            rtt: PerSide::default(),
            rtt_min: PerSide::default(),
            response: PerSide::default(),
            watch: CopyWatch::default(),
            first,
        }
    }

    /// The first packet.
    pub fn first(&self) -> &Seen {
        &self.first
    }

    /// The last packet that is not a copy.
    pub fn last(&self) -> &Seen {
        self.log.last().unwrap_or(&self.first)
    }

    /// Whether a SYN with this sequence number begins another connection between the same ports.
    pub fn is_reborn_by(&self, side: Side, segment: &Segment<'_>) -> bool {
        segment.flags.has(TcpFlags::SYN)
            && !segment.flags.has(TcpFlags::ACK | TcpFlags::RST)
            && match self.half[side].isn {
                Some(isn) => isn != segment.seq,
                // Without a known start the SYN cannot belong to the bytes that were seen.
                None => self.half[side].next.is_some(),
            }
            // A simultaneous open: the other side's SYN passes before any answer.
            && !(side == Side::Server && self.half[Side::Server].isn.is_none() && !self.handshake_answered())
    }

    /// Whether the handshake is done, by its own packets or by what cannot come before its end (RFC 9293 section 3.5): data of the server, or
    /// data of the client and a word of the server.
    pub fn is_set_up(&self) -> bool {
        let server = &self.half.server;
        let spoke = |half: &Half| half.first_data.is_some();
        self.handshake.ack.is_some()
            || spoke(server)
            || (spoke(&self.half.client) && server.last.is_some_and(|seen| !seen.is_reset()))
    }

    fn handshake_answered(&self) -> bool {
        self.handshake.syn_ack.is_some() || self.half.server.next.is_some()
    }

    /// Tracks one segment, and hands the bytes that are new and in order to `listener`.
    pub fn push(
        &mut self,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
        side: Side,
        limits: &Limits,
        listener: &mut impl Listener,
    ) -> Option<Seen> {
        let seen = Seen::of_segment(packet.no, packet.at, side, &packet.link, &packet.ip, segment);
        self.push_seen(seen, segment, limits, listener)
    }

    /// Tracks a segment that was remembered before it was known what the connection is; `segment` has its options and payload.
    pub fn push_seen(
        &mut self,
        mut seen: Seen,
        segment: &Segment<'_>,
        limits: &Limits,
        listener: &mut impl Listener,
    ) -> Option<Seen> {
        let side = seen.side;
        if self.watch.is_copy(segment, &seen, &mut self.copies) {
            return None;
        }
        if let Some(last) = self.log.last() {
            let gap = seen.at.since(last.at);
            if gap.0 < 0 {
                self.clock_steps_back += 1;
            } else if self.longest_idle.is_none_or(|(longest, _)| gap > longest) {
                self.longest_idle = Some((gap, *last));
            }
        }
        if (segment.payload.len() as u64) < u64::from(segment.payload_len) {
            seen.marks.0 |= Marks::CUT;
            self.cut += 1;
        }
        if self.closed.is_some() {
            seen.marks.0 |= Marks::AFTERGLOW;
        }
        if seen.is_reset() {
            self.push_reset(seen, segment.payload);
        } else {
            self.push_handshake(&mut seen, segment);
            self.sequence(&mut seen, segment, limits, listener);
            if seen.flags.has(TcpFlags::ACK) {
                self.acknowledge(&mut seen);
            }
            self.habits[side].learn(&seen);
            if let Some(ok) = segment.checksum_ok {
                let habits = &mut self.habits[side];
                if ok {
                    habits.good_checksums += 1
                } else {
                    habits.bad_checksums += 1
                }
            }
        }
        let half = &mut self.half[side];
        half.packets += 1;
        half.last = Some(seen);
        let half = &self.half;
        self.log.push(seen, || acked(half));
        if self.closed.is_none() && self.half.client.fin.is_some() && self.half.server.fin.is_some() {
            self.closed = Some(seen.at);
        }
        Some(seen)
    }

    fn push_reset(&mut self, seen: Seen, payload: &[u8]) {
        self.reset_count += 1;
        if self.before_reset.is_none() {
            self.before_reset = Some(Box::new(self.habits.clone()));
        }
        if self.resets.len() < KEPT {
            let (own, other) = (&self.half[seen.side], &self.half[seen.side.other()]);
            let mut reason = [0; REASON];
            for (kept, byte) in reason.iter_mut().zip(payload) {
                *kept = *byte;
            }
            // Most connections that are reset are reset once.
            self.resets.reserve_exact(1);
            self.resets.push(Reset {
                seen,
                sender_next: own.next,
                receiver_expects: own.acked,
                receiver_next: other.next,
                trigger: other.last,
                own_last: own.last,
                afterglow: self.closed.is_some(),
                payload: reason,
            });
        }
        self.closed.get_or_insert(seen.at);
    }

    fn push_handshake(&mut self, seen: &mut Seen, segment: &Segment<'_>) {
        let side = seen.side;
        if !seen.flags.has(TcpFlags::SYN) {
            if side == Side::Client && self.handshake.syn_ack.is_some() && seen.flags.has(TcpFlags::ACK) {
                self.handshake.ack.get_or_insert((seen.no, seen.at));
            }
            return;
        }
        let half = &mut self.half[side];
        if half.isn == Some(seen.seq) {
            seen.marks.0 |= Marks::RETRANSMISSION;
            half.retransmissions += 1;
        }
        half.isn.get_or_insert(seen.seq);
        half.window_scale = segment.options.window_scale.unwrap_or(0);
        self.habits[side].learn_syn(SynFacts {
            no: seen.no,
            window: seen.window,
            mss: segment.options.mss,
            window_scale: segment.options.window_scale,
            timestamps: segment.options.timestamps.is_some(),
            sack_permitted: segment.options.sack_permitted,
            order: segment.options.order,
            ttl: seen.ttl,
            ip_id: seen.ip_id,
        });
        if side == Side::Client {
            self.handshake.syns += 1;
            self.handshake.syn.get_or_insert((seen.no, seen.at));
        } else {
            self.handshake.syn_acks += 1;
            self.handshake.syn_ack.get_or_insert((seen.no, seen.at));
        }
    }

    /// Places a segment in its side's sequence space and hands on what is new.
    fn sequence(&mut self, seen: &mut Seen, segment: &Segment<'_>, limits: &Limits, listener: &mut impl Listener) {
        let side = seen.side;
        let asked = self.half[side.other()].last_data.as_ref().map(|asked| (asked.no, asked.at));
        let own_before = self.half[side].last_data.as_ref().map(|own| own.no);
        let half = &mut self.half[side];
        let next = *half.next.get_or_insert(seen.seq);
        let ahead = seen.seq.wrapping_sub(next) as i32;
        let fresh = seen.end().wrapping_sub(next) as i32;
        // RFC 9293 section 3.8.4: a probe of no or one garbage byte, one before the next expected, while nothing is outstanding.
        let idle = half
            .last
            .as_ref()
            .is_none_or(|last| seen.at.since(last.at) >= Span::millis(900));
        let all_acked = half.acked.is_none_or(|acked| acked.wrapping_sub(next) as i32 >= 0);
        if ahead == -1
            && !seen.flags.has(TcpFlags::SYN | TcpFlags::FIN)
            && (seen.len == 0 || (seen.len == 1 && idle && all_acked))
        {
            seen.marks.0 |= Marks::KEEP_ALIVE;
            half.keep_alives += 1;
            return;
        }
        if let Some((at_fin, _, _)) = half.fin
            && seen.flags.has(TcpFlags::FIN)
            && at_fin != seen.no
        {
            seen.marks.0 |= Marks::RETRANSMISSION;
        }
        if seen.flags.has(TcpFlags::FIN) && half.fin.is_none() {
            half.fin = Some((seen.no, seen.at, seen.end()));
        }
        if ahead > 0 && (seen.len > 0 || seen.flags.has(TcpFlags::FIN)) {
            seen.marks.0 |= Marks::AFTER_HOLE;
        }
        if fresh > 0 {
            half.next = Some(seen.end());
        }
        if seen.len == 0 {
            return;
        }
        let fills = fresh <= 0 && half.stream.lacks(seen.seq, seen.len);
        if fills {
            seen.marks.0 |= Marks::FILLS_HOLE;
            half.hole_fills += 1;
        } else if ahead < 0 {
            seen.marks.0 |= Marks::RETRANSMISSION;
            half.retransmissions += 1;
            // Karn: an acknowledgment that may answer either copy measures nothing.
            half.outstanding = None;
        }
        if fresh > 0 || fills {
            half.data_segments += 1;
            half.first_data.get_or_insert(*seen);
            half.last_data = Some(*seen);
            half.bytes += if fills {
                u64::from(seen.len)
            } else {
                u64::from(fresh.unsigned_abs().min(seen.len))
            };
            if half.in_flight.len() < IN_FLIGHT {
                half.in_flight.push((seen.end(), seen.ip_len));
            }
            if half.outstanding.is_none() && fresh > 0 && ahead == 0 {
                half.outstanding = Some((seen.end(), seen.at));
            }
            // The first byte after the other side's last one answers it.
            if let Some((asked, asked_at)) = asked
                && own_before.is_none_or(|own| own < asked)
            {
                self.response[side].record(seen.at.since(asked_at));
            }
        }
        let half = &mut self.half[side];
        if let Some(earlier) = half.stream.conflict(seen, segment.payload, ahead >= 0) {
            seen.marks.0 |= Marks::CONFLICT;
            if self.conflicts.len() < KEPT {
                self.conflicts.push((earlier, seen.no));
            }
        }
        let start = half.isn.map(|isn| isn.wrapping_add(1));
        half.stream.push(seen, segment.payload, start, half.acked, limits, listener);
    }

    fn acknowledge(&mut self, seen: &mut Seen) {
        let side = seen.side;
        let pure = seen.len == 0 && !seen.flags.has(TcpFlags::SYN | TcpFlags::FIN) && !seen.marks.has(Marks::KEEP_ALIVE);
        let own = &mut self.half[side];
        if pure && own.last_ack_sent == Some((seen.ack, seen.window)) {
            seen.marks.0 |= Marks::DUPLICATE_ACK;
        }
        own.last_ack_sent = Some((seen.ack, seen.window));
        if seen.window == 0 && !seen.flags.has(TcpFlags::SYN) {
            seen.marks.0 |= Marks::ZERO_WINDOW;
        }
        let half = &mut self.half[side.other()];
        if let Some(next) = half.next {
            let beyond = seen.ack.wrapping_sub(next) as i32;
            if beyond > 0 && beyond < 1 << 30 {
                seen.marks.0 |= Marks::ACKS_UNSEEN;
                half.unseen += u64::from(beyond.unsigned_abs());
                half.next = Some(seen.ack);
            }
        }
        if half.acked.is_none_or(|acked| (seen.ack.wrapping_sub(acked) as i32) > 0) {
            half.acked = Some(seen.ack);
        }
        let mut largest = half.largest_acked;
        half.in_flight.retain(|(end, size)| {
            let covered = seen.ack.wrapping_sub(*end) as i32 >= 0;
            if covered {
                largest = largest.max(*size);
            }
            !covered
        });
        half.largest_acked = largest;
        if let Some((end, at)) = half.outstanding
            && seen.ack.wrapping_sub(end) as i32 >= 0
        {
            half.outstanding = None;
            let took = seen.at.since(at);
            if took.0 >= 0 {
                self.rtt[side].record(took);
                if self.rtt_min[side].is_none_or(|(least, _)| took < least) {
                    self.rtt_min[side] = Some((took, seen.no));
                }
            }
        }
    }

    /// Forgets the middle of a long log.
    pub fn narrow(&mut self, head: usize, tail: usize) {
        self.log.narrow(head, tail, &acked(&self.half));
    }

    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        let sides =
            Side::BOTH.map(|side| self.half[side].stream.weight() + self.rtt[side].weight() + self.response[side].weight());
        let before_reset = self.before_reset.as_ref().map_or(0, |before| size_of_val(&**before));
        let few = self.resets.capacity() * size_of::<Reset>() + self.icmp.capacity() * size_of::<IcmpSeen>();
        size_of::<Connection>() + self.log.weight() + sides.iter().sum::<usize>() + before_reset + few
    }

    /// Remembers an ICMP error that quotes a packet which `about` sent.
    pub fn push_icmp(&mut self, packet: &Packet<'_>, message: &IcmpMessage, about: Side) {
        if self.icmp.len() < KEPT {
            self.icmp.push(IcmpSeen {
                no: packet.no,
                at: packet.at,
                from: packet.ip.src,
                ttl: packet.ip.ttl,
                message: message.clone(),
                about,
            });
        }
    }

    /// Hands on what still waits behind a hole; called once, when nothing more will come.
    pub fn finish(&mut self, listener: &mut impl Listener) {
        for side in Side::BOTH {
            self.half[side].stream.flush(listener);
        }
    }

    /// The round trip of the whole path as the SYN and its answer measured it, when both sides of it were seen.
    pub fn handshake_rtt(&self) -> PerSide<Option<Span>> {
        let Handshake {
            syn,
            syns,
            syn_ack,
            syn_acks,
            ack,
        } = self.handshake;
        PerSide {
            server: match (syn, syn_ack) {
                (Some((_, asked)), Some((_, answered))) if syns == 1 => Some(answered.since(asked)),
                _ => None,
            },
            client: match (syn_ack, ack) {
                (Some((_, asked)), Some((_, answered))) if syn_acks == 1 => Some(answered.since(asked)),
                _ => None,
            },
        }
    }
}
