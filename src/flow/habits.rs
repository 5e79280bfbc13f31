//! A constant-size portrait of one side of a flow: what its packets usually look like. Resets never sit for it.

use std::collections::BTreeMap;

use crate::capture::{Direction, FrameNo, Timestamp};
use crate::flow::seen::Seen;
use crate::packet::TcpFlags;

/// How many different values of one field are told apart; the rest is only counted.
const VALUES: usize = 6;

/// The values that a header field took, with how often and where first and last.
#[derive(Clone, Debug, Default)]
pub struct Values<T> {
    // Most fields never change: a second value is worth an allocation.
    seen: smallvec::SmallVec<[Value<T>; 1]>,
    others: u64,
}

/// One value of a field.
#[derive(Clone, Copy, Debug)]
pub struct Value<T> {
    /// The value.
    pub value: T,
    /// How many packets carried it.
    pub count: u64,
    /// The first frame that carried it.
    pub first: FrameNo,
    /// The last frame that carried it.
    pub last: FrameNo,
}

impl<T: Copy + PartialEq> Values<T> {
    /// Counts a value.
    pub fn learn(&mut self, value: T, no: FrameNo) {
        if let Some(known) = self.seen.iter_mut().find(|known| known.value == value) {
            known.count += 1;
            known.last = no;
        } else if self.seen.len() < VALUES {
            self.seen.push(Value {
                value,
                count: 1,
                first: no,
                last: no,
            });
        } else {
            self.others += 1;
        }
    }

    /// The most frequent value.
    pub fn usual(&self) -> Option<Value<T>> {
        self.seen.iter().copied().reduce(|a, b| if b.count > a.count { b } else { a })
    }

    /// The value if there is only one.
    pub fn only(&self) -> Option<Value<T>> {
        if self.others == 0 && self.seen.len() == 1 {
            self.seen.first().copied()
        } else {
            None
        }
    }

    /// Every value that was told apart, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Value<T>> {
        self.seen.iter()
    }

    /// Whether this value occurred.
    pub fn contains(&self, value: T) -> bool {
        self.seen.iter().any(|known| known.value == value)
    }

    /// How many packets were counted.
    pub fn total(&self) -> u64 {
        self.seen.iter().map(|known| known.count).sum::<u64>() + self.others
    }
}

/// How a side numbers its IPv4 packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpIdGait {
    /// Packets with an identification.
    pub packets: u64,
    /// Of those, zero.
    pub zeros: u64,
    /// Steps forward by 1.
    pub plus_one: u64,
    /// Steps forward by 1 to 64.
    pub small_steps: u64,
    /// Steps by more than 1000 or backwards.
    pub jumps: u64,
    /// Steps of zero: the same identification again.
    pub repeats: u64,
    /// The last identification, and where.
    pub last: Option<(u16, FrameNo, Timestamp)>,
    /// Bytes sent since, to allow for one identification per segment of an offloaded super-segment.
    pub last_ip_len: u32,
}

impl IpIdGait {
    fn add(&mut self, seen: &Seen) {
        let Some(id) = seen.ip_id else { return };
        self.packets += 1;
        if id == 0 {
            self.zeros += 1;
        }
        if let Some((last, _, _)) = self.last {
            match id.wrapping_sub(last) {
                0 => self.repeats += 1,
                1 => {
                    self.plus_one += 1;
                    self.small_steps += 1;
                }
                2..=64 => self.small_steps += 1,
                65..=1000 => {}
                _ => self.jumps += 1,
            }
        }
        self.last = Some((id, seen.no, seen.at));
        self.last_ip_len = seen.ip_len;
    }

    /// Whether the identifications count upwards: at least three, not zero, and most steps small.
    pub fn counts(&self) -> bool {
        let steps = self.packets.saturating_sub(1);
        self.packets >= 3 && self.zeros * 4 <= self.packets && self.small_steps * 2 >= steps
    }
}

/// What one side's packets usually look like.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Packets that sat for the portrait: neither SYN nor RST, nor copies.
    pub packets: u64,
    /// TTL or hop limit of ordinary packets.
    pub ttl: Values<u8>,
    /// TTL of SYN or SYN+ACK, which devices may answer in a host's place.
    pub handshake_ttl: Values<u8>,
    /// IP identification.
    pub ip_id: IpIdGait,
    /// Don't Fragment.
    pub df: Values<bool>,
    /// TOS or traffic class without the ECN bits.
    pub tos: Values<u8>,
    /// IPv6 flow label.
    pub flow_label: Values<u32>,
    /// Source hardware address.
    pub mac: Values<[u8; 6]>,
    /// The SYN or SYN+ACK: window, MSS, option order.
    pub syn: Option<SynFacts>,
    /// Packets with a timestamp option.
    pub with_timestamps: u64,
    /// The first and the last TSval with their times.
    pub ts_first: Option<(u32, Timestamp, FrameNo)>,
    /// See `ts_first`.
    pub ts_last: Option<(u32, Timestamp, FrameNo)>,
    /// The newest TSval of the other side that this side has echoed.
    pub ts_echoed: Option<u32>,
    /// The last window, not scaled.
    pub window: Option<u16>,
    /// Frames shorter than Ethernet's minimum that came without padding: written on the capturing host.
    pub unpadded_short: u64,
    /// Short frames that were padded to Ethernet's minimum: they crossed a wire.
    pub padded_short: u64,
    /// Packets longer than 1514 bytes of IP: segmentation or receive offload at the capture point.
    pub oversized: u64,
    /// Packets that the capturing host sent, as the capture's own notes say.
    pub outbound: u64,
    /// Packets that the capturing host received, as the capture's own notes say.
    pub inbound: u64,
    /// Segments whose checksum was checked and wrong.
    pub bad_checksums: u64,
    /// Segments whose checksum was checked and right.
    pub good_checksums: u64,
}

/// What a SYN or SYN+ACK says about the stack that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynFacts {
    /// The frame.
    pub no: FrameNo,
    /// Window.
    pub window: u16,
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// Timestamps offered.
    pub timestamps: bool,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Option kinds in order.
    pub order: [u8; 12],
    /// TTL.
    pub ttl: u8,
    /// IP identification.
    pub ip_id: Option<u16>,
}

/// The largest IP packet of an Ethernet without jumbo frames, in bytes.
const ETHERNET_MTU: u32 = 1500;
/// IP length below which an Ethernet frame needs padding (60 bytes less the 14 of the header).
const SHORT: u32 = 46;

impl Habits {
    /// Adds a packet to the portrait. SYNs and resets are kept apart by the caller's choice of method.
    pub fn learn(&mut self, seen: &Seen) {
        if seen.is_reset() {
            return;
        }
        match seen.direction {
            Some(Direction::Outbound) => self.outbound += 1,
            Some(Direction::Inbound) => self.inbound += 1,
            None => {}
        }
        if let Some(mac) = seen.src_mac {
            self.mac.learn(mac, seen.no);
        }
        if seen.flags.has(TcpFlags::SYN) {
            self.handshake_ttl.learn(seen.ttl, seen.no);
            return;
        }
        self.packets += 1;
        self.ttl.learn(seen.ttl, seen.no);
        self.ip_id.add(seen);
        self.df.learn(seen.df, seen.no);
        self.tos.learn(seen.tos & !0x03, seen.no);
        if let Some(label) = seen.flow_label {
            self.flow_label.learn(label, seen.no);
        }
        if let Some((value, echo)) = seen.timestamps {
            self.with_timestamps += 1;
            self.ts_first.get_or_insert((value, seen.at, seen.no));
            self.ts_last = Some((value, seen.at, seen.no));
            self.ts_echoed = Some(echo);
        }
        self.window = Some(seen.window);
        if seen.ip_len < SHORT && seen.src_mac.is_some() {
            if seen.trailer == 0 {
                self.unpadded_short += 1;
            } else {
                self.padded_short += 1;
            }
        }
        if seen.ip_len > ETHERNET_MTU {
            self.oversized += 1;
        }
    }

    /// Remembers the stack's own words in SYN or SYN+ACK; the first wins.
    pub fn learn_syn(&mut self, facts: SynFacts) {
        self.syn.get_or_insert(facts);
    }

    /// Every TTL that this side was seen with, SYNs included, with the counts.
    pub fn all_ttls(&self) -> BTreeMap<u8, u64> {
        let mut all = BTreeMap::new();
        for value in self.ttl.iter().chain(self.handshake_ttl.iter()) {
            *all.entry(value.value).or_insert(0) += value.count;
        }
        all
    }
}
