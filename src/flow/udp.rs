//! One UDP conversation: who sent how much when, who went on alone, and the ICMP errors about it.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::capture::{Span, Timestamp};
use crate::flow::Limits;
use crate::flow::habits::Habits;
use crate::flow::log::PacketLog;
use crate::flow::seen::Seen;
use crate::flow::side::{PerSide, Side};
use crate::flow::tcp::IcmpSeen;
use crate::packet::{Datagram, IcmpMessage, Packet};

/// What a side sent since the last datagram of the other one.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// The first such datagram.
    pub first: Seen,
    /// The last one.
    pub last: Seen,
    /// How many.
    pub count: u64,
    /// The longest payload among them, in bytes.
    pub largest: u32,
    /// The shortest payload among them, in bytes.
    pub smallest: u32,
    /// The longest time in which neither side had sent anything, up to the first one or between two of them.
    pub idle: Span,
    /// The datagram that ended that time.
    pub broken_by: Seen,
    /// How many were sent before it.
    pub before_idle: u64,
}

/// An idle time of this length is told from the ordinary pauses between repetitions.
const IDLE: Span = Span::secs(10);
/// So many datagrams may stand before an idle time without an answer: acknowledgments want none.
const UNANSWERED: u64 = 2;

impl Alone {
    /// The first datagram that should have been answered, and how many follow it, itself counted: what was sent before a long idle
    /// time was the end of an exchange that went well.
    pub fn unanswered(&self) -> (Seen, u64) {
        if self.idle >= IDLE && self.before_idle <= UNANSWERED {
            (self.broken_by, self.count - self.before_idle)
        } else {
            (self.first, self.count)
        }
    }

    /// The idle time before the silence, where there was one.
    pub fn idle_before(&self) -> Option<Span> {
        (self.idle >= IDLE && self.before_idle <= UNANSWERED).then_some(self.idle)
    }
}

/// What is counted of one side of a UDP conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpHalf {
    /// Datagrams.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// The first datagram.
    pub first: Option<Seen>,
    /// The last datagram.
    pub last: Option<Seen>,
    /// The longest payload, in bytes.
    pub largest: u32,
    /// What it sent since the other side was last heard.
    pub alone: Option<Alone>,
    /// The most datagrams that it sent in a row before the other side spoke again.
    pub most_alone: u64,
    /// The longest time from the first to the last of those.
    pub longest_alone: Span,
}

/// One UDP conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Both sides.
    pub half: PerSide<UdpHalf>,
    /// Their portraits.
    pub habits: PerSide<Habits>,
    /// Its datagrams.
    pub log: PacketLog,
    /// ICMP errors about it.
    pub icmp: Vec<IcmpSeen>,
    /// An ICMP error to its client right after a datagram, whose quotation the snap length has cut: it may be about it.
    pub icmp_cut: Option<IcmpSeen>,
    /// The longest time without a datagram, and the one after which it began.
    pub longest_idle: Option<(Span, Seen)>,
    /// The longest time without a datagram after which both sides spoke again.
    pub survived: Option<Span>,
    /// Frames that the capture holds twice.
    pub copies: u64,
    first: Seen,
    recent: [Option<(u64, Timestamp)>; REMEMBERED],
    next_recent: usize,
}

/// How many ICMP messages are kept.
const KEPT: usize = 16;
/// Datagrams among which copies are looked for.
const REMEMBERED: usize = 4;
/// Within this time an equal datagram is a copy that the capture made: no sender of RDP-UDP or DTLS repeats itself so fast.
const COPY: Span = Span::millis(5);
/// How many bytes of the payload are compared.
const COMPARED: usize = 64;

impl Conversation {
    /// A conversation that begins with `first`.
    pub fn new(first: Seen, limits: &Limits) -> Conversation {
        Conversation {
            half: PerSide::default(),
            habits: PerSide::default(),
            log: PacketLog::new(limits.log_head, limits.log_tail),
            icmp: Vec::new(),
            icmp_cut: None,
            longest_idle: None,
            survived: None,
            copies: 0,
            first,
            recent: [None; REMEMBERED],
            next_recent: 0,
        }
    }

    /// The first datagram.
    pub fn first(&self) -> &Seen {
        &self.first
    }

    /// The last datagram.
    pub fn last(&self) -> &Seen {
        self.log.last().unwrap_or(&self.first)
    }

    /// Tracks one datagram; `None` for a frame that the capture holds twice.
    pub fn push(&mut self, packet: &Packet<'_>, datagram: &Datagram<'_>, side: Side) -> Option<Seen> {
        let seen = Seen::of_datagram(packet.no, packet.at, side, &packet.link, &packet.ip, datagram.payload_len);
        if self.is_copy(&seen, datagram.payload) {
            self.copies += 1;
            return None;
        }
        let idle = self.log.last().map_or(Span::default(), |last| seen.at.since(last.at));
        if let Some(last) = self.log.last()
            && self.longest_idle.is_none_or(|(longest, _)| idle > longest)
        {
            self.longest_idle = Some((idle, *last));
        }
        if let Some(alone) = self.half[side.other()].alone.take() {
            let other = &mut self.half[side.other()];
            other.most_alone = other.most_alone.max(alone.count);
            other.longest_alone = other.longest_alone.max(alone.last.at.since(alone.unanswered().0.at));
            self.survived = self.survived.max(Some(alone.idle));
        }
        let half = &mut self.half[side];
        half.packets += 1;
        half.bytes += u64::from(datagram.payload_len);
        half.largest = half.largest.max(datagram.payload_len);
        half.first.get_or_insert(seen);
        half.last = Some(seen);
        let alone = half.alone.get_or_insert(Alone {
            first: seen,
            last: seen,
            count: 0,
            largest: 0,
            smallest: u32::MAX,
            idle,
            broken_by: seen,
            before_idle: 0,
        });
        if idle > alone.idle {
            alone.idle = idle;
            alone.broken_by = seen;
            alone.before_idle = alone.count;
        }
        alone.last = seen;
        alone.count += 1;
        alone.largest = alone.largest.max(datagram.payload_len);
        alone.smallest = alone.smallest.min(datagram.payload_len);
        self.habits[side].learn(&seen);
        self.log.push(seen, PerSide::default);
        Some(seen)
    }

    fn is_copy(&mut self, seen: &Seen, payload: &[u8]) -> bool {
        let mut hasher = FxHasher::default();
        hasher.write_u64(seen.side as u64 | u64::from(seen.ip_id.unwrap_or(0)) << 8 | u64::from(seen.len) << 32);
        hasher.write(payload.get(..COMPARED).unwrap_or(payload));
        let hash = hasher.finish();
        let known = |recent: &(u64, Timestamp)| recent.0 == hash && seen.at.since(recent.1).0.abs() <= COPY.0;
        if self.recent.iter().flatten().any(known) {
            return true;
        }
        if let Some(slot) = self.recent.get_mut(self.next_recent) {
            *slot = Some((hash, seen.at));
        }
        self.next_recent = (self.next_recent + 1) % REMEMBERED;
        false
    }

    /// Remembers an ICMP error that quotes a datagram which `about` sent.
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

    /// The time of the last datagram.
    pub fn ended(&self) -> Timestamp {
        self.last().at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::FrameNo;
    use crate::packet::{Body, IpFacts, LinkFacts};

    fn say(conversation: &mut Conversation, no: u64, millis: i64, side: Side, payload: &[u8]) -> Option<Seen> {
        let packet = packet(no, millis);
        let datagram = Datagram {
            src_port: 1,
            dst_port: 2,
            payload,
            payload_len: u32::try_from(payload.len()).unwrap_or(0),
        };
        conversation.push(&packet, &datagram, side)
    }

    fn packet(no: u64, millis: i64) -> Packet<'static> {
        Packet {
            no: FrameNo::new(no),
            at: Timestamp(millis * 1_000_000),
            interface: 0,
            link: LinkFacts::default(),
            ip: IpFacts {
                src: [10, 0, 0, 1].into(),
                dst: [10, 0, 0, 2].into(),
                ttl: 64,
                id: Some(7),
                df: true,
                tos: 0,
                flow_label: None,
                total_len: 40,
                fragment: false,
            },
            body: Body::Other(0),
            cut: None,
        }
    }

    fn start() -> Conversation {
        let seen = Seen::of_datagram(
            FrameNo::new(1),
            Timestamp(0),
            Side::Client,
            &LinkFacts::default(),
            &packet(1, 0).ip,
            1,
        );
        Conversation::new(seen, &Limits::default())
    }

    #[test]
    fn who_goes_on_alone_is_known_with_the_silence_before() {
        let mut conversation = start();
        say(&mut conversation, 1, 0, Side::Client, b"a");
        say(&mut conversation, 2, 20, Side::Server, b"b");
        say(&mut conversation, 3, 60_000, Side::Client, b"c");
        say(&mut conversation, 4, 60_020, Side::Server, b"d");
        assert_eq!(conversation.survived, Some(Span::millis(59_980)));
        say(&mut conversation, 5, 160_020, Side::Client, b"ee");
        say(&mut conversation, 6, 161_020, Side::Client, b"fff");
        let alone = conversation.half.client.alone.expect("nobody answers");
        assert_eq!((alone.count, alone.largest, alone.smallest), (2, 3, 2));
        assert_eq!(alone.idle_before(), Some(Span::secs(100)));
        assert_eq!(conversation.survived, Some(Span::millis(59_980)));
        assert!(conversation.half.server.alone.is_none());
    }

    #[test]
    fn an_acknowledgment_before_an_idle_time_is_not_part_of_the_silence() {
        let mut conversation = start();
        say(&mut conversation, 1, 0, Side::Client, b"a");
        say(&mut conversation, 2, 20, Side::Server, b"b");
        say(&mut conversation, 3, 40, Side::Client, b"ack");
        say(&mut conversation, 4, 60_000, Side::Client, b"c");
        say(&mut conversation, 5, 61_000, Side::Client, b"c2");
        let alone = conversation.half.client.alone.expect("nobody answers");
        let (first, count) = alone.unanswered();
        assert_eq!((first.no, count), (FrameNo::new(4), 2));
        assert_eq!(alone.idle_before(), Some(Span::millis(59_960)));
    }

    #[test]
    fn a_frame_held_twice_is_counted_once() {
        let mut conversation = start();
        assert!(say(&mut conversation, 1, 0, Side::Client, b"hello").is_some());
        assert!(say(&mut conversation, 2, 1, Side::Client, b"hello").is_none());
        assert!(say(&mut conversation, 3, 500, Side::Client, b"hello").is_some());
        assert_eq!((conversation.copies, conversation.half.client.packets), (1, 2));
    }
}
