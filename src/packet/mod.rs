//! One [`Frame`](crate::capture::Frame) in, one [`Packet`] out: stateless decoding of link, tunnel, network and transport headers.

mod bytes;
pub mod checksum;
mod decode;
pub mod fast;
pub mod fingerprint;
pub mod fragments;
pub mod glimpse;
mod icmp;
mod ip;
mod link;
mod transport;
mod tunnel;
mod wifi;

use std::net::{IpAddr, SocketAddr};

pub use decode::{decode, decode_checked};
pub(crate) use link::{PPP_ETHER, PPP_HDLC, RAW_BSDOS};
pub(crate) use wifi::{IEEE802_11, PPI, RADIOTAP};

use crate::capture::{Direction, FrameNo, Timestamp};

/// A decoded frame; a view into the frame's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The frame's number.
    pub no: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
    /// The interface that saw it.
    pub interface: u32,
    /// The link layer and the tunnels around the innermost IP packet.
    pub link: LinkFacts,
    /// The innermost IP header.
    pub ip: IpFacts,
    /// What the IP packet carries.
    pub body: Body<'a>,
    /// Why decoding stopped early, if it did; what was decoded before stays usable.
    pub cut: Option<Cut>,
}

/// What the link layer says about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// Source hardware address (Ethernet, or the 6-byte address of a Linux cooked capture).
    pub src_mac: Option<[u8; 6]>,
    /// Destination hardware address; absent in Linux cooked captures.
    pub dst_mac: Option<[u8; 6]>,
    /// The innermost 802.1Q VLAN identifier.
    pub vlan: Option<u16>,
    /// The innermost tunnel.
    pub tunnel: Option<Tunnel>,
    /// Inbound or outbound, from the capture format or the Linux cooked packet type.
    pub direction: Option<Direction>,
    /// Bytes after the end of the IP packet (Ethernet padding); outbound frames on the sending host have none.
    pub trailer: u16,
}

/// A tunnel that carried the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which kind.
    pub kind: TunnelKind,
    /// The key, VNI, session or label that tells tunnels of one kind apart; 0 where there is none.
    pub id: u32,
}

/// The tunnels that mirror ports, cloud taps and access networks use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// RFC 2784/2890.
    Gre,
    /// ERSPAN type I to III inside GRE.
    Erspan,
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// RFC 2003, RFC 4213.
    IpInIp,
    /// RFC 2516.
    Pppoe,
    /// RFC 3032.
    Mpls,
}

/// The header of the innermost IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFacts {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// IPv4 identification; `None` for IPv6 (unless a fragment header carried one, which is not a per-packet gait).
    pub id: Option<u16>,
    /// IPv4 Don't Fragment; IPv6 has no such bit and counts as set.
    pub df: bool,
    /// IPv4 TOS or IPv6 traffic class, ECN bits included.
    pub tos: u8,
    /// IPv6 flow label.
    pub flow_label: Option<u32>,
    /// Length of the IP packet on the wire in bytes, header included. With segmentation offload this may exceed the MTU.
    pub total_len: u32,
    /// Whether this packet was reassembled from fragments, or is a fragment whose rest is missing.
    pub fragment: bool,
}

/// What an IP packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A UDP datagram.
    Udp(Datagram<'a>),
    /// An ICMP or ICMPv6 message.
    Icmp(IcmpMessage),
    /// A piece of a fragmented datagram; [`fragments::Reassembler`] puts them together.
    Fragment(Piece<'a>),
    /// Another IP protocol, by number.
    Other(u8),
}

/// TCP control bits, RFC 9293 section 3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u16);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u16 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u16 = 0x02;
    /// Reset the connection.
    pub const RST: u16 = 0x04;
    /// Push.
    pub const PSH: u16 = 0x08;
    /// The acknowledgment number is significant.
    pub const ACK: u16 = 0x10;
    /// The urgent pointer is significant.
    pub const URG: u16 = 0x20;
    /// Explicit congestion notification echo.
    pub const ECE: u16 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u16 = 0x80;
    /// The four bits above CWR: reserved (the lowest was the ECN nonce sum).
    pub const RESERVED: u16 = 0xF00;

    /// Whether any of `bits` is set.
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number; meaningful with the ACK bit, kept without it because some stacks betray themselves there.
    pub ack: u32,
    /// Control bits.
    pub flags: TcpFlags,
    /// Window as sent, not scaled.
    pub window: u16,
    /// Options.
    pub options: TcpOptions,
    /// The captured payload.
    pub payload: &'a [u8],
    /// The payload's length on the wire; larger than `payload.len()` where a snap length cut it.
    pub payload_len: u32,
    /// Whether the checksum is right; `None` where it cannot be told (cut, fragment, or not checked).
    pub checksum_ok: Option<bool>,
}

/// The TCP options that say something about the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale shift.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// Timestamp value and echo reply (RFC 7323).
    pub timestamps: Option<(u32, u32)>,
    /// The first blocks of a SACK option, left and right edge.
    pub sack: [Option<(u32, u32)>; 4],
    /// The option kinds in order, up to 12, zero padded: a fingerprint of the stack that wrote them.
    pub order: [u8; 12],
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// The captured payload.
    pub payload: &'a [u8],
    /// The payload's length on the wire.
    pub payload_len: u32,
}

/// One fragment of an IP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The IP protocol of the whole datagram (in IPv6: the next header after the fragment header).
    pub protocol: u8,
    /// Identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// The offset of the first byte in the whole datagram's payload, in bytes.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
    /// The captured bytes.
    pub payload: &'a [u8],
    /// Their length on the wire.
    pub payload_len: u32,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IcmpMessage {
    /// True for ICMPv6.
    pub v6: bool,
    /// The message type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// Next-hop MTU of "fragmentation needed" (IPv4 3/4) or "packet too big" (IPv6 2); in bytes.
    pub mtu: Option<u32>,
    /// The packet that it quotes, where it quotes one.
    pub quoted: Option<Quoted>,
}

/// The packet inside an ICMP error, as far as it was quoted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quoted {
    /// The quoted packet's source.
    pub src: SocketAddr,
    /// The quoted packet's destination.
    pub dst: SocketAddr,
    /// The quoted IP protocol: 6 TCP, 17 UDP.
    pub protocol: u8,
    /// TTL as it was when the reporting device saw the packet.
    pub ttl: u8,
    /// IPv4 identification.
    pub id: Option<u16>,
    /// Length of the quoted IP packet on the wire.
    pub total_len: u32,
    /// TCP sequence number, where at least 8 bytes of the transport header were quoted.
    pub seq: Option<u32>,
}

/// Why decoding stopped before the transport payload's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The layer that could not be decoded in full, such as `ipv4` or `tcp options`.
    pub layer: &'static str,
    /// Why.
    pub why: CutReason,
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// The capture's snap length ended the bytes.
    SnapLength,
    /// The header contradicts itself.
    Malformed,
    /// A fragment whose other pieces have not (all) been seen.
    Fragment,
    /// A link type, EtherType or protocol that is not decoded.
    Unsupported,
}

#[cfg(test)]
mod tests;
