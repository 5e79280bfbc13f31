//! What is remembered of a packet once its bytes are gone.

use crate::capture::{Direction, FrameNo, Timestamp};
use crate::flow::side::Side;
use crate::packet::{IpFacts, LinkFacts, Segment, TcpFlags};

/// What tracking found out about a packet when it passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub u16);

impl Marks {
    /// Carries bytes (or SYN, FIN) that this side had sent before.
    pub const RETRANSMISSION: u16 = 1 << 0;
    /// Starts beyond the next expected byte: something before it is missing or late.
    pub const AFTER_HOLE: u16 = 1 << 1;
    /// Fills a hole: a late first sight of bytes that later ones had overtaken.
    pub const FILLS_HOLE: u16 = 1 << 2;
    /// A keep-alive probe: no or one byte, one before the next expected.
    pub const KEEP_ALIVE: u16 = 1 << 3;
    /// Acknowledges bytes that were never captured.
    pub const ACKS_UNSEEN: u16 = 1 << 4;
    /// Announces a window of zero.
    pub const ZERO_WINDOW: u16 = 1 << 5;
    /// Carries bytes that differ from what was sent before at the same place.
    pub const CONFLICT: u16 = 1 << 6;
    /// A pure acknowledgment that repeats the one before.
    pub const DUPLICATE_ACK: u16 = 1 << 7;
    /// Longer than the path's packets can be: segmentation or receive offload.
    pub const OFFLOADED: u16 = 1 << 8;
    /// Was cut by the snap length.
    pub const CUT: u16 = 1 << 9;
    /// Was put together from fragments.
    pub const FRAGMENTED: u16 = 1 << 10;
    /// Came after the connection had already ended by RST or by FIN from both sides.
    pub const AFTERGLOW: u16 = 1 << 11;

    /// Whether any of `bits` is set.
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }
}

/// A packet as it is remembered: its headers, not its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// Who sent it, by its addresses.
    pub side: Side,
    /// TCP control bits; none for UDP.
    pub flags: TcpFlags,
    /// Sequence number; 0 for UDP.
    pub seq: u32,
    /// Acknowledgment number as in the header, also without the ACK bit.
    pub ack: u32,
    /// Payload bytes on the wire.
    pub len: u32,
    /// Window as sent.
    pub window: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// IPv4 identification.
    pub ip_id: Option<u16>,
    /// Don't Fragment.
    pub df: bool,
    /// IPv6 flow label.
    pub flow_label: Option<u32>,
    /// TSval and TSecr.
    pub timestamps: Option<(u32, u32)>,
    /// The highest SACK block.
    pub sack: Option<(u32, u32)>,
    /// Length of the IP packet.
    pub ip_len: u32,
    /// Source hardware address.
    pub src_mac: Option<[u8; 6]>,
    /// Bytes behind the IP packet.
    pub trailer: u16,
    /// Whether the capturing host sent or received it, where the capture says so.
    pub direction: Option<Direction>,
    /// Whether there were options beyond timestamps and SACK (a fingerprint of the stack).
    pub has_options: bool,
    /// What tracking found out.
    pub marks: Marks,
}

impl Seen {
    /// Remembers a TCP segment.
    pub fn of_segment(no: FrameNo, at: Timestamp, side: Side, link: &LinkFacts, ip: &IpFacts, segment: &Segment<'_>) -> Seen {
        Seen {
            flags: segment.flags,
            seq: segment.seq,
            ack: segment.ack,
            window: segment.window,
            timestamps: segment.options.timestamps,
            sack: segment
                .options
                .sack
                .iter()
                .flatten()
                .copied()
                .reduce(|a, b| if b.1.wrapping_sub(a.1) as i32 > 0 { b } else { a }),
            has_options: segment.options.order.first().is_some_and(|kind| *kind != 0),
            ..Seen::of_datagram(no, at, side, link, ip, segment.payload_len)
        }
    }

    /// Remembers a UDP datagram of `len` payload bytes.
    pub fn of_datagram(no: FrameNo, at: Timestamp, side: Side, link: &LinkFacts, ip: &IpFacts, len: u32) -> Seen {
        Seen {
            no,
            at,
            side,
            flags: TcpFlags(0),
            seq: 0,
            ack: 0,
            len,
            window: 0,
            ttl: ip.ttl,
            tos: ip.tos,
            ip_id: ip.id,
            df: ip.df,
            flow_label: ip.flow_label,
            timestamps: None,
            sack: None,
            ip_len: ip.total_len,
            src_mac: link.src_mac,
            trailer: link.trailer,
            direction: link.direction,
            has_options: false,
            marks: Marks(if ip.fragment { Marks::FRAGMENTED } else { 0 }),
        }
    }

    /// The sequence number after this segment: its payload, SYN and FIN counted.
    pub fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(u32::from(self.flags.has(TcpFlags::SYN)))
            .wrapping_add(u32::from(self.flags.has(TcpFlags::FIN)))
    }

    /// Whether this is a reset.
    pub fn is_reset(&self) -> bool {
        self.flags.has(TcpFlags::RST)
    }

    /// Whether it carries payload bytes, keep-alive probes not counted.
    pub fn has_data(&self) -> bool {
        self.len > 0 && !self.marks.has(Marks::KEEP_ALIVE)
    }
}
