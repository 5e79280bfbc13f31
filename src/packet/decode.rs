//! The whole way from a frame to its innermost IP packet, through any stack of links and tunnels that is known.

use crate::capture::{Frame, FrameNo, Timestamp};

use super::bytes::Bytes;
use super::{Cut, CutReason, IpFacts, LinkFacts, Packet, Tunnel, TunnelKind, fast, link};

/// How many tunnels may stand inside one another; what is deeper is not looked at.
const MAX_TUNNELS: u8 = 8;

/// Decodes a frame down to its innermost IP packet.
///
/// Ordinary frames go by the fixed offsets of [`fast::peek`]; the answer is the same as by the full way.
///
/// # Errors
/// The place and the reason, where the frame holds no IP packet whose header can be read (ARP, a snap length inside the IP header).
pub fn decode<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Cut> {
    match fast::look(frame) {
        Some(peek) => Ok(fast::build(frame, &peek)),
        None => walk(frame, false),
    }
}

/// As [`decode`], with the TCP checksum verified (`Segment::checksum_ok`) where the whole segment was captured.
///
/// # Errors
/// As for [`decode`].
pub fn decode_checked<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Cut> {
    walk(frame, true)
}

/// The full way, layer by layer.
pub(super) fn walk<'a>(frame: &Frame<'a>, verify: bool) -> Result<Packet<'a>, Cut> {
    let walk = Walk {
        no: frame.no,
        at: frame.at,
        interface: frame.interface,
        link: LinkFacts {
            direction: frame.direction,
            ..LinkFacts::default()
        },
        depth: 0,
        verify,
    };
    link::first(walk, frame.link, Bytes::new(frame.bytes, frame.wire_len as usize))
}

/// What is known above the layer that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The frame's number.
    pub no: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
    /// The frame's interface.
    pub interface: u32,
    /// What the links and tunnels so far said.
    pub link: LinkFacts,
    /// How many tunnels were entered.
    pub depth: u8,
    /// Whether TCP checksums are to be verified.
    pub verify: bool,
}

impl Walk {
    /// Steps into a tunnel.
    ///
    /// # Errors
    /// Where the nesting is deeper than is looked at.
    pub fn enter(mut self, kind: TunnelKind, id: u32) -> Result<Walk, Cut> {
        if self.depth >= MAX_TUNNELS {
            return Err(Cut {
                layer: "tunnels",
                why: CutReason::Unsupported,
            });
        }
        self.depth += 1;
        self.link.tunnel = Some(Tunnel { kind, id });
        Ok(self)
    }

    /// The packet that this walk arrived at.
    pub fn packet<'a>(self, ip: IpFacts, body: super::Body<'a>, cut: Option<Cut>) -> Packet<'a> {
        Packet {
            no: self.no,
            at: self.at,
            interface: self.interface,
            link: self.link,
            ip,
            body,
            cut,
        }
    }
}
