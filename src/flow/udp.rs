//! One UDP conversation: who sent how much when, and the ICMP errors about it.

use crate::capture::{Span, Timestamp};
use crate::flow::Limits;
use crate::flow::habits::Habits;
use crate::flow::seen::{PacketLog, Seen};
use crate::flow::side::{PerSide, Side};
use crate::flow::tcp::IcmpSeen;
use crate::packet::{Datagram, IcmpMessage, Packet};

/// What is counted of one side of a UDP conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpHalf {
    /// Datagrams.
    pub packets: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// The last datagram.
    pub last: Option<Seen>,
    /// The longest payload, in bytes.
    pub largest: u32,
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
    /// The longest time without a datagram, and the one after which it began.
    pub longest_idle: Option<(Span, Seen)>,
    first: Seen,
}

/// How many ICMP messages are kept.
const KEPT: usize = 16;

impl Conversation {
    /// A conversation that begins with `first`.
    pub fn new(first: Seen, limits: &Limits) -> Conversation {
        Conversation {
            half: PerSide::default(),
            habits: PerSide::default(),
            log: PacketLog::new(limits.log_head, limits.log_tail),
            icmp: Vec::new(),
            longest_idle: None,
            first,
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

    /// Tracks one datagram.
    pub fn push(&mut self, packet: &Packet<'_>, datagram: &Datagram<'_>, side: Side) -> Seen {
        let seen = Seen::of_datagram(packet.no, packet.at, side, &packet.link, &packet.ip, datagram.payload_len);
        if let Some(last) = self.log.last() {
            let gap = seen.at.since(last.at);
            if self.longest_idle.is_none_or(|(longest, _)| gap > longest) {
                self.longest_idle = Some((gap, *last));
            }
        }
        let half = &mut self.half[side];
        half.packets += 1;
        half.bytes += u64::from(datagram.payload_len);
        half.largest = half.largest.max(datagram.payload_len);
        half.last = Some(seen);
        self.habits[side].learn(&seen);
        self.log.push(seen);
        seen
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
