//! TCP segments with their options, and UDP datagrams.

use super::bytes::{Bytes, be16, be32};
use super::{Body, Cut, CutReason, Datagram, IpFacts, Segment, TcpFlags, TcpOptions, checksum};

/// How much of a TCP header must be there to be worth a segment: up to and with the window.
const TCP_MINIMUM: usize = 16;

/// Reads a TCP segment (RFC 9293 section 3.1) as far as it was captured.
pub(super) fn tcp<'a>(ip: &IpFacts, b: Bytes<'a>, verify: bool) -> (Body<'a>, Option<Cut>) {
    let h: &[u8; TCP_MINIMUM] = match b.head("tcp") {
        Ok(h) => h,
        Err(cut) => return (Body::Other(6), Some(cut)),
    };
    let header = usize::from(h[12] >> 4) * 4;
    let mut cut = None;
    let payload = if header < 20 {
        &[]
    } else {
        b.seen.get(header..).unwrap_or_default()
    };
    let payload_len = if header < 20 {
        0
    } else {
        b.wire.saturating_sub(header) as u32
    };
    let options = b.seen.get(20..b.seen.len().min(header)).unwrap_or_default();
    let (options, sound) = tcp_options(options);
    let mut segment = segment(h, options, payload, payload_len);
    if header < 20 || header > b.wire {
        cut = Some(Cut {
            layer: "tcp",
            why: CutReason::Malformed,
        });
    } else if header > b.seen.len() {
        cut = Some(Cut {
            layer: "tcp options",
            why: CutReason::SnapLength,
        });
    } else if !sound {
        cut = Some(Cut {
            layer: "tcp options",
            why: CutReason::Malformed,
        });
    } else if b.seen.len() < b.wire {
        cut = Some(Cut {
            layer: "tcp payload",
            why: CutReason::SnapLength,
        });
    }
    let whole = b.seen.len() == b.wire && !ip.fragment;
    if verify && whole {
        segment.checksum_ok = checksum::tcp_ok(ip, b.seen);
    }
    (Body::Tcp(segment), cut)
}

/// A segment from the fixed part of its header.
#[inline(always)]
pub(super) fn segment<'a>(h: &[u8; TCP_MINIMUM], options: TcpOptions, payload: &'a [u8], payload_len: u32) -> Segment<'a> {
    Segment {
        src_port: be16(h, 0),
        dst_port: be16(h, 2),
        seq: be32(h, 4),
        ack: be32(h, 8),
        flags: TcpFlags(be16(h, 12) & 0x0FFF),
        window: be16(h, 14),
        options,
        payload,
        payload_len,
        checksum_ok: None,
    }
}

/// Reads TCP options, and says whether they keep to the format; what stood before a break is kept.
pub(super) fn tcp_options(mut b: &[u8]) -> (TcpOptions, bool) {
    let mut found = TcpOptions::default();
    let mut count = 0;
    while let [kind, rest @ ..] = b {
        if *kind == 0 {
            break;
        }
        if let Some(slot) = found.order.get_mut(count) {
            *slot = *kind;
            count += 1;
        }
        if *kind == 1 {
            b = rest;
            continue;
        }
        let Some(len) = rest
            .first()
            .map(|len| usize::from(*len))
            .filter(|len| (2..=b.len()).contains(len))
        else {
            return (found, false);
        };
        let value = &b[2..len];
        match (*kind, value.len()) {
            (2, 2) => found.mss = Some(be16(value, 0)),
            (3, 1) => found.window_scale = Some(value[0]),
            (4, 0) => found.sack_permitted = true,
            (5, _) => {
                for (slot, block) in found.sack.iter_mut().zip(value.chunks_exact(8)) {
                    *slot = Some((be32(block, 0), be32(block, 4)));
                }
            }
            (8, 8) => found.timestamps = Some((be32(value, 0), be32(value, 4))),
            _ => {}
        }
        b = &b[len..];
    }
    (found, true)
}

/// Reads a UDP datagram (RFC 768).
pub(super) fn udp<'a>(b: Bytes<'a>) -> (Body<'a>, Option<Cut>) {
    let h: &[u8; 8] = match b.head("udp") {
        Ok(h) => h,
        Err(cut) => return (Body::Other(17), Some(cut)),
    };
    let claimed = usize::from(be16(h, 4));
    // 0 is a jumbogram (RFC 2675) or an offload's; another length that does not fit is wrong, and the IP header's counts.
    let wire = if (8..=b.wire).contains(&claimed) { claimed } else { b.wire };
    let b = b.limit(wire);
    let mut cut = None;
    if wire != claimed && claimed != 0 {
        cut = Some(Cut {
            layer: "udp",
            why: CutReason::Malformed,
        });
    } else if b.seen.len() < b.wire {
        cut = Some(Cut {
            layer: "udp payload",
            why: CutReason::SnapLength,
        });
    }
    let datagram = Datagram {
        src_port: be16(h, 0),
        dst_port: be16(h, 2),
        payload: &b.seen[8..],
        payload_len: (wire - 8) as u32,
    };
    (Body::Udp(datagram), cut)
}
