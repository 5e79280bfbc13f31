//! A fingerprint by which the second copy of a packet is known, whichever mirror port or capture component it came through.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use rustc_hash::FxHasher;

use super::{Body, Packet};

/// A hash over what every copy of one packet has in common and what tells it from the next packet of its flow: addresses, ports, IP identification, numbers,
/// control bits, options and some payload. The TTL, the link layer and the VLAN are left out: they differ between the two sides of a router.
///
/// Equal hashes mean copies only within a moment: IPv6 and some stacks (identification 0) repeat pure acknowledgments bit by bit.
pub fn identity(packet: &Packet<'_>) -> u64 {
    let mut hash = FxHasher::default();
    // Few wide words instead of many fields: this runs for every packet of a flow.
    for address in [packet.ip.src, packet.ip.dst] {
        match address {
            IpAddr::V4(v4) => hash.write_u32(v4.to_bits()),
            IpAddr::V6(v6) => hash.write_u128(v6.to_bits()),
        }
    }
    let id = u64::from(packet.ip.id.unwrap_or(0)) << 32 | u64::from(packet.ip.flow_label.unwrap_or(0));
    match &packet.body {
        Body::Tcp(s) => {
            hash.write_u64(id | 6 << 56);
            hash.write_u64(words(
                u32::from(s.src_port) << 16 | u32::from(s.dst_port),
                u32::from(s.window) << 16 | u32::from(s.flags.0),
            ));
            hash.write_u64(words(s.seq, s.ack));
            if let Some((value, echo)) = s.options.timestamps {
                hash.write_u64(words(value, echo));
            }
            for (left, right) in s.options.sack.iter().map_while(|block| *block) {
                hash.write_u64(words(left, right));
            }
            payload(s.payload, s.payload_len, &mut hash);
        }
        Body::Udp(d) => {
            hash.write_u64(id | 17 << 56);
            hash.write_u32(u32::from(d.src_port) << 16 | u32::from(d.dst_port));
            payload(d.payload, d.payload_len, &mut hash);
        }
        Body::Icmp(m) => {
            hash.write_u64(id | 1 << 56);
            m.hash(&mut hash);
        }
        Body::Fragment(p) => {
            hash.write_u64(id | 44 << 56);
            (p.protocol, p.id, p.offset, p.more).hash(&mut hash);
            payload(p.payload, p.payload_len, &mut hash);
        }
        Body::Other(protocol) => {
            hash.write_u64(id);
            hash.write_u64(words(u32::from(*protocol), packet.ip.total_len));
        }
    }
    hash.finish()
}

fn words(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// The length and both ends of a payload: the beginning tells messages apart, the end tells encrypted records apart.
fn payload(bytes: &[u8], wire_len: u32, hash: &mut FxHasher) {
    hash.write_u32(wire_len);
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            hash.write_u64(u64::from_le_bytes(*first));
            hash.write_u64(u64::from_le_bytes(*last));
        }
        _ => hash.write(bytes),
    }
}
