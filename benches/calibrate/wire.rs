//! Frames as a capture point sees them, and the two published methods that look at the same frames.

use std::net::Ipv4Addr;

use rdpwhy::capture::{Frame, FrameNo, LinkType, PacketOptions, Timestamp};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// Everything that is written into one packet.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Capture time in nanoseconds.
    pub at: i64,
    pub from_client: bool,
    pub ttl: u8,
    pub id: u16,
    pub df: bool,
    pub tos: u8,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Sent {
    pub fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.payload.len() as u32)
            .wrapping_add(u32::from(self.flags & SYN != 0))
            .wrapping_add(u32::from(self.flags & FIN != 0))
    }

    pub fn is_reset(&self) -> bool {
        self.flags & RST != 0
    }

    /// The frame: Ethernet, IPv4, TCP.
    pub fn bytes(&self, client: (Ipv4Addr, u16), server: (Ipv4Addr, u16)) -> Vec<u8> {
        let (from, to) = if self.from_client {
            (client, server)
        } else {
            (server, client)
        };
        let mut tcp = Vec::new();
        tcp.extend(from.1.to_be_bytes());
        tcp.extend(to.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push((((20 + self.options.len()) / 4) << 4) as u8);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0, 0, 0]);
        tcp.extend(&self.options);
        tcp.extend(&self.payload);
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
        if self.from_client {
            frame.rotate_left(0);
            frame[5] = 2;
            frame[11] = 1;
        }
        frame.extend([0x45, self.tos]);
        frame.extend(((20 + tcp.len()) as u16).to_be_bytes());
        frame.extend(self.id.to_be_bytes());
        frame.extend([if self.df { 0x40 } else { 0 }, 0, self.ttl, 6, 0, 0]);
        frame.extend(from.0.octets());
        frame.extend(to.0.octets());
        frame.extend(tcp);
        frame
    }
}

/// Feeds frames in the order of their times.
pub fn feed(examiner: &mut rdpwhy::examine::Examiner, packets: &[Sent], client: (Ipv4Addr, u16), server: (Ipv4Addr, u16)) {
    for (number, packet) in packets.iter().enumerate() {
        let bytes = packet.bytes(client, server);
        examiner.push(&Frame {
            no: FrameNo::new(number as u64 + 1),
            at: Timestamp(packet.at),
            link: LinkType::ETHERNET,
            interface: 0,
            bytes: &bytes,
            wire_len: bytes.len() as u32,
            direction: None,
            options: PacketOptions::default(),
        });
    }
}

/// Says "forged" when the TTL of the first RST differs from every other packet of the same direction before it.
pub fn ttl_differs(packets: &[Sent]) -> bool {
    let Some(at) = packets.iter().position(Sent::is_reset) else {
        return false;
    };
    let reset = &packets[at];
    packets[..at]
        .iter()
        .filter(|packet| packet.from_client == reset.from_client)
        .all(|packet| packet.ttl != reset.ttl)
}

/// Weaver, Sommer and Paxson, Detecting Forged TCP Reset Packets (NDSS 2009): RST_SEQ_DATA, DATA_SEQ_RST, RST_SEQ_CHANGE, RST_ACK_CHANGE.
pub fn weaver(packets: &[Sent]) -> bool {
    let Some(at) = packets.iter().position(Sent::is_reset) else {
        return false;
    };
    let reset = &packets[at];
    let same = |packet: &&Sent| packet.from_client == reset.from_client;
    let ahead = |a: u32, b: u32| (a.wrapping_sub(b) as i32) > 0;
    let within = |packet: &&Sent| packet.at - reset.at <= 2_000_000_000;
    let rst_seq_data = packets[at + 1..]
        .iter()
        .filter(same)
        .filter(within)
        .any(|packet| !packet.is_reset() && !packet.payload.is_empty() && ahead(packet.end(), reset.seq));
    let most = packets[..at]
        .iter()
        .filter(same)
        .map(Sent::end)
        .reduce(|a, b| if ahead(b, a) { b } else { a });
    let data_seq_rst = most.is_some_and(|most| ahead(most, reset.seq)) && reset.seq != 0;
    let changes = |of: fn(&Sent) -> u32| {
        packets[at + 1..]
            .iter()
            .filter(same)
            .filter(|packet| packet.is_reset())
            .any(|packet| {
                of(packet) != of(reset) && ahead(of(packet), of(reset)) && most.is_none_or(|most| ahead(of(packet), most))
            })
    };
    rst_seq_data
        || data_seq_rst
        || changes(|packet| packet.seq)
        || changes(|packet| if packet.flags & ACK != 0 { packet.ack } else { 0 })
}
