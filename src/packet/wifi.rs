//! IEEE 802.11 data frames, as pktmon and monitor mode write them, bare or behind a radio header.

use crate::capture::LinkType;

use super::bytes::Bytes;
use super::decode::Walk;
use super::{Cut, CutReason, Packet, link};

/// `LINKTYPE_IEEE802_11`.
pub(crate) const IEEE802_11: LinkType = LinkType(105);
/// `LINKTYPE_IEEE802_11_RADIOTAP`.
pub(crate) const RADIOTAP: LinkType = LinkType(127);
/// `LINKTYPE_PPI`, which names the link type that follows.
pub(crate) const PPI: LinkType = LinkType(192);

/// The radiotap header: its length stands in the third and fourth byte, little-endian.
pub(super) fn radiotap<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 4] = b.head("radiotap")?;
    ieee802_11(
        walk,
        b.skip(usize::from(u16::from_le_bytes([h[2], h[3]])).max(4), "radiotap")?,
    )
}

/// The Per-Packet Information header.
pub(super) fn ppi<'a>(walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    let h: &[u8; 8] = b.head("ppi")?;
    let b = b.skip(usize::from(u16::from_le_bytes([h[2], h[3]])).max(8), "ppi")?;
    match LinkType(u16::from_le_bytes([h[4], h[5]])) {
        IEEE802_11 => ieee802_11(walk, b),
        LinkType::ETHERNET => link::ethernet(walk, b),
        _ => Err(Cut {
            layer: "ppi",
            why: CutReason::Unsupported,
        }),
    }
}

/// A data frame, IEEE 802.11-2020 section 9.3.2. What is encrypted on the air, aggregated, or no data is not decoded.
pub(super) fn ieee802_11<'a>(mut walk: Walk, b: Bytes<'a>) -> Result<Packet<'a>, Cut> {
    const TO_DS: u8 = 0x01;
    const FROM_DS: u8 = 0x02;
    const PROTECTED: u8 = 0x40;
    const HT_CONTROL: u8 = 0x80;

    let h: &[u8; 24] = b.head("802.11")?;
    let unsupported = Cut {
        layer: "802.11",
        why: CutReason::Unsupported,
    };
    // Version 0, type 2 (data), and not one of the subtypes without data.
    if h[0] & 0x0F != 0x08 || h[0] & 0x40 != 0 || h[1] & PROTECTED != 0 {
        return Err(unsupported);
    }
    let (to, from) = (h[1] & TO_DS != 0, h[1] & FROM_DS != 0);
    let mut header = if to && from { 30 } else { 24 };
    if h[0] & 0x80 != 0 {
        let aggregated = b.skip(header, "802.11")?.head::<2>("802.11")?[0] & 0x80 != 0;
        if aggregated {
            return Err(unsupported);
        }
        header += if h[1] & HT_CONTROL != 0 { 6 } else { 2 };
    }
    let address = |at: usize| h[at..].first_chunk().copied();
    walk.link.dst_mac = address(if to { 16 } else { 4 });
    walk.link.src_mac = match (to, from) {
        (true, true) => b.seen.get(24..).and_then(|rest| rest.first_chunk().copied()),
        (false, true) => address(16),
        (_, false) => address(10),
    };
    link::llc(walk, b.skip(header, "802.11")?)
}
