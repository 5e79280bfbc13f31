//! A fingerprint by which the second copy of a packet is known, whichever mirror port or capture component it came through.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::{Body, Packet};

/// How many bytes at either end of the payload count.
const SAMPLE: usize = 16;

/// A hash over what every copy of one packet has in common and what tells it from the next packet of its flow: addresses, ports, IP identification, numbers,
/// control bits, options and some payload. The TTL, the link layer and the VLAN are left out: they differ between the two sides of a router.
///
/// Equal hashes mean copies only within a moment: IPv6 and some stacks (identification 0) repeat pure acknowledgments bit by bit.
pub fn identity(packet: &Packet<'_>) -> u64 {
    let mut hash = FxHasher::default();
    packet.ip.src.hash(&mut hash);
    packet.ip.dst.hash(&mut hash);
    packet.ip.id.hash(&mut hash);
    packet.ip.flow_label.hash(&mut hash);
    match &packet.body {
        Body::Tcp(s) => {
            (6u8, s.src_port, s.dst_port, s.seq, s.ack, s.flags.0, s.window).hash(&mut hash);
            (s.options.timestamps, s.options.sack, s.options.mss).hash(&mut hash);
            payload(s.payload, s.payload_len, &mut hash);
        }
        Body::Udp(d) => {
            (17u8, d.src_port, d.dst_port).hash(&mut hash);
            payload(d.payload, d.payload_len, &mut hash);
        }
        Body::Icmp(m) => {
            (1u8, m.v6, m.kind, m.code, m.mtu).hash(&mut hash);
            if let Some(q) = &m.quoted {
                (q.src, q.dst, q.protocol, q.id, q.seq).hash(&mut hash);
            }
        }
        Body::Fragment(p) => {
            (44u8, p.protocol, p.id, p.offset, p.more).hash(&mut hash);
            payload(p.payload, p.payload_len, &mut hash);
        }
        Body::Other(protocol) => (0u8, *protocol, packet.ip.total_len).hash(&mut hash),
    }
    hash.finish()
}

fn payload(bytes: &[u8], wire_len: u32, hash: &mut FxHasher) {
    wire_len.hash(hash);
    bytes[..bytes.len().min(SAMPLE)].hash(hash);
    bytes[bytes.len().saturating_sub(SAMPLE)..].hash(hash);
}
