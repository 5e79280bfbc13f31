//! Frames made by hand and by generators, and what has to be read from them.

pub(super) mod agreement;
mod encapsulation;
mod headers;
mod oracle;

use etherparse::PacketBuilder;

use crate::capture::{Frame, FrameNo, LinkType, PacketOptions, Timestamp};

use super::{Body, Packet, Segment};

/// A frame that was captured whole.
fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame {
        no: FrameNo::new(7),
        at: Timestamp(1_000),
        link,
        interface: 0,
        bytes,
        wire_len: bytes.len() as u32,
        direction: None,
        options: PacketOptions::default(),
    }
}

/// A frame of which a snap length left `seen` bytes.
fn snapped(link: LinkType, bytes: &[u8], seen: usize) -> Frame<'_> {
    Frame {
        bytes: &bytes[..seen],
        wire_len: bytes.len() as u32,
        ..frame(link, bytes)
    }
}

/// An IPv4 packet with a TCP segment that carries `payload`.
fn tcp4(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 117)
        .tcp(50_000, 3389, 0x0102_0304, 64_240)
        .ack(0x0A0B_0C0D)
        .psh()
        .write(&mut out, payload)
        .unwrap();
    out
}

/// An IPv6 packet with a TCP segment that carries `payload`.
fn tcp6(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv6([0x20; 16], [0x21; 16], 55)
        .tcp(50_000, 3389, 0x0102_0304, 64_240)
        .ack(0x0A0B_0C0D)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// An IPv4 packet of `protocol` around `payload`.
fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([203, 0, 113, 1], [203, 0, 113, 2], 64)
        .write(&mut out, protocol.into(), payload)
        .unwrap();
    out
}

/// An IPv4 packet with a UDP datagram around `payload`.
fn udp4(dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([203, 0, 113, 1], [203, 0, 113, 2], 64)
        .udp(40_000, dst_port)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// `header` in front of `payload`.
fn before(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

/// An Ethernet frame.
fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 0xD, 2, 0, 0, 0, 0, 0x5];
    out.extend(kind.to_be_bytes());
    out.extend(payload);
    out
}

fn segment<'a, 'b>(packet: &'b Packet<'a>) -> &'b Segment<'a> {
    match &packet.body {
        Body::Tcp(segment) => segment,
        other => panic!("expected a segment, found {other:?}"),
    }
}
