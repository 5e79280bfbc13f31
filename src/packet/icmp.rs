//! ICMP (RFC 792) and ICMPv6 (RFC 4443) messages with the packet that an error quotes.

use std::net::SocketAddr;

use super::bytes::{Bytes, be16, be32};
use super::{Body, Cut, IcmpMessage, Quoted, ip};

/// Reads an ICMP message as far as it was captured.
pub(super) fn message<'a>(b: Bytes<'a>, v6: bool) -> (Body<'a>, Option<Cut>) {
    let (layer, number) = if v6 { ("icmpv6", 58) } else { ("icmp", 1) };
    let [kind, code, ..] = match b.head::<4>(layer) {
        Ok(h) => *h,
        Err(cut) => return (Body::Other(number), Some(cut)),
    };
    let mut found = IcmpMessage {
        v6,
        kind,
        code,
        mtu: None,
        quoted: None,
    };
    // Destination unreachable, source quench, redirect, time exceeded, parameter problem; in ICMPv6 all errors are below 128.
    let quotes = if v6 {
        (1..128).contains(&kind)
    } else {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    };
    if !quotes {
        return (Body::Icmp(found), None);
    }
    let h: &[u8; 8] = match b.head(layer) {
        Ok(h) => h,
        Err(cut) => return (Body::Icmp(found), Some(cut)),
    };
    found.mtu = match (v6, kind, code) {
        // Routers from before RFC 1191 leave it 0: unknown.
        (false, 3, 4) => Some(u32::from(be16(h, 6))).filter(|mtu| *mtu != 0),
        (true, 2, _) => Some(be32(h, 4)),
        _ => None,
    };
    match b.skip(8, layer).and_then(quoted) {
        Ok(quoted) => {
            found.quoted = Some(quoted);
            (Body::Icmp(found), None)
        }
        Err(cut) => (Body::Icmp(found), Some(cut)),
    }
}

/// The quoted packet; ports are 0 where they were not quoted.
fn quoted(b: Bytes<'_>) -> Result<Quoted, Cut> {
    let header = ip::header(b)?;
    let transport = match header.piece {
        // Only the first fragment begins with the transport header.
        Some(at) if at.offset != 0 => &[],
        _ => header.payload.seen,
    };
    let ports = match (header.protocol, transport.first_chunk::<4>()) {
        (6 | 17, Some(h)) => (be16(h, 0), be16(h, 2)),
        _ => (0, 0),
    };
    let seq = transport
        .first_chunk::<8>()
        .filter(|_| header.protocol == 6)
        .map(|h| be32(h, 4));
    let facts = header.facts;
    Ok(Quoted {
        src: SocketAddr::new(facts.src, ports.0),
        dst: SocketAddr::new(facts.dst, ports.1),
        protocol: header.protocol,
        ttl: facts.ttl,
        id: facts.id,
        total_len: facts.total_len,
        seq,
    })
}
