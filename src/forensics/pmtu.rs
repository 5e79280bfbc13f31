//! Only large packets vanish: which sizes pass, which do not, and what ICMP says about it.
//!
//! A packet passed if it was acknowledged, also selectively. Seen from the sender's side the large segments are repeated in vain while
//! shorter ones after them arrive; seen from the receiver's side a hole stays open while shorter packets go past it.

use crate::capture::{Span, Timestamp};
use crate::flow::{Connection, IcmpSeen, Marks, Opening, Seen, Side};
use crate::transcript::Transcript;

/// The sizes that a path lets through and those that it does not, in bytes of IP packet.
#[derive(Clone, Debug)]
pub struct BlackHole {
    /// Who sends what vanishes.
    pub sender: Side,
    /// The first packet that never arrives (seen from the receiver: the first packet behind the hole).
    pub first: Seen,
    /// Copies of packets that never arrive, the first eight.
    pub copies: Vec<Seen>,
    /// Tries in vain.
    pub tries: u32,
    /// The smallest packet that never arrives; `None` where it was lost before the capture point.
    pub smallest_lost: Option<u32>,
    /// The largest packet that arrives since.
    pub largest_passed: u32,
    /// A packet that arrives after the first one was lost.
    pub passed: Seen,
    /// Bytes missing at the receiver, where the capture is behind the hole.
    pub hole: Option<u32>,
    /// From the first to the last sign.
    pub lasted: Span,
    /// ICMP "fragmentation needed" or "packet too big" about this side's packets.
    pub icmp: Option<IcmpSeen>,
    /// A packet of the sender's that is larger than that ICMP allows, sent after it.
    pub ignored_by: Option<Seen>,
}

/// Sizes below this pass everywhere (RFC 791: 576, RFC 8200: 1280 less what tunnels take).
const SMALL: u32 = 576;
/// A repetition in vain lasts so long at least.
const IN_VAIN: Span = Span::millis(1500);
/// How many copies are kept.
const COPIES: usize = 8;

/// Looks for a black hole for large packets in either direction.
pub fn find(t: &Transcript) -> Option<BlackHole> {
    let tcp = &t.tcp;
    Side::BOTH
        .into_iter()
        .find_map(|side| from_before(tcp, side))
        .or_else(|| Side::BOTH.into_iter().find_map(|side| from_behind(tcp, side, t.window.last)))
}

/// Headers of a full segment: IP, TCP and timestamps.
fn on_the_wire(tcp: &Connection, seen: &Seen) -> u32 {
    let mss = tcp.habits[seen.side.other()]
        .syn
        .and_then(|syn| syn.mss)
        .map_or(1460, u32::from);
    let headers = seen.ip_len.saturating_sub(seen.len);
    // What offload has not cut yet leaves the card in segments of the maximum size; options count against it.
    seen.ip_len
        .min(mss.saturating_add(headers.min(40 + u32::from(seen.ip_id.is_none()) * 20)))
}

fn icmp_about(tcp: &Connection, side: Side) -> Option<IcmpSeen> {
    tcp.icmp
        .iter()
        .find(|icmp| {
            let message = &icmp.message;
            icmp.about == side && matches!((message.v6, message.kind, message.code), (false, 3, 4) | (true, 2, _))
        })
        .cloned()
}

fn from_before(tcp: &Connection, side: Side) -> Option<BlackHole> {
    let half = &tcp.half[side];
    let acked = half.acked?;
    let sacked = |seen: &Seen| {
        tcp.log.iter().any(|ack| {
            ack.side != side
                && ack.sack.is_some_and(|(left, right)| {
                    (seen.seq.wrapping_sub(left) as i32) >= 0 && (right.wrapping_sub(seen.end()) as i32) >= 0
                })
        })
    };
    let arrived = |seen: &Seen| (acked.wrapping_sub(seen.end()) as i32) >= 0 || sacked(seen);
    let data = || tcp.log.iter().filter(move |seen| seen.side == side && seen.has_data());
    let first = data().find(|seen| !arrived(seen) && on_the_wire(tcp, seen) > SMALL)?;
    let lost: Vec<&Seen> = data().filter(|seen| seen.no >= first.no && !arrived(seen)).collect();
    let copies: Vec<&Seen> = lost
        .iter()
        .copied()
        .filter(|seen| seen.no > first.no && seen.marks.has(Marks::RETRANSMISSION))
        .collect();
    let last = *copies.last()?;
    let tries = u32::try_from(copies.len()).unwrap_or(u32::MAX);
    if tries < 3 || last.at.since(first.at) < IN_VAIN {
        return None;
    }
    // What was tried again and again must be large; a short packet that does not pass either is plain loss.
    let smallest = copies.iter().map(|seen| on_the_wire(tcp, seen)).min()?;
    let passed = data()
        .filter(|seen| seen.no > first.no && arrived(seen))
        .max_by_key(|seen| on_the_wire(tcp, seen));
    let icmp = icmp_about(tcp, side);
    let others = || {
        tcp.log
            .iter()
            .filter(|seen| seen.side != side && seen.no > first.no && !seen.is_reset())
    };
    let answers = others().find(|seen| seen.at.since(first.at) > Span::millis(1));
    // The first packets of that size, of several, and nothing as large before them: a path that broke down has not waited for them.
    let before = || data().filter(|seen| seen.no < first.no && arrived(seen));
    let others = || {
        tcp.log
            .iter()
            .filter(|seen| seen.side != side && seen.no > first.no && !seen.is_reset())
    };
    // The other side lives, and does not repeat itself: it hears the short packets.
    let lives = || others().any(|seen| seen.at.since(first.at) >= IN_VAIN);
    let repeats_itself = || {
        others()
            .filter(|seen| seen.has_data() && seen.marks.has(Marks::RETRANSMISSION))
            .count()
            > 1
    };
    let lossy_before = || {
        let again = Marks::RETRANSMISSION | Marks::FILLS_HOLE;
        tcp.log.iter().any(|seen| seen.no < first.no && seen.marks.has(again))
    };
    let never_passed = || {
        let passed = before().max_by_key(|seen| on_the_wire(tcp, seen));
        // What the path carried before the capture began is not known.
        let known = tcp.opening != Opening::MidStream;
        passed.filter(|_| known && tries >= 4 && lives() && !repeats_itself() && !lossy_before())
    };
    let passed = match (passed, &icmp, answers) {
        (Some(passed), _, Some(_)) => *passed,
        // The router says so itself; then no short packet need prove it.
        (None, Some(_), Some(answer)) => *answer,
        (None, None, Some(_)) => *never_passed()?,
        _ => return None,
    };
    let largest = if passed.side == side { on_the_wire(tcp, &passed) } else { 0 };
    if smallest <= largest.max(SMALL) {
        return None;
    }
    let ignored_by = icmp.as_ref().and_then(|icmp| {
        let limit = icmp.message.mtu?;
        copies
            .iter()
            .copied()
            .find(|seen| seen.no > icmp.no && on_the_wire(tcp, seen) > limit)
            .copied()
    });
    Some(BlackHole {
        sender: side,
        first: *first,
        copies: copies.iter().take(COPIES).map(|seen| **seen).collect(),
        tries,
        smallest_lost: Some(smallest),
        largest_passed: largest,
        passed,
        hole: None,
        lasted: last.at.since(first.at),
        icmp,
        ignored_by,
    })
}

/// Behind the hole: bytes are missing that no packet ever brings, and what comes is short. `ends` is the end of the capture.
fn from_behind(tcp: &Connection, side: Side, ends: Timestamp) -> Option<BlackHole> {
    let half = &tcp.half[side];
    let (acked, next) = (half.acked?, half.next?);
    if (next.wrapping_sub(acked) as i32) <= 0 || half.fin.is_some() || tcp.resets.iter().any(|reset| reset.seen.side == side) {
        return None;
    }
    let behind = |seen: &&Seen| seen.side == side && seen.has_data() && (seen.seq.wrapping_sub(acked) as i32) > 0;
    let first = tcp.log.iter().find(behind)?;
    let came_since: Vec<&Seen> = tcp
        .log
        .iter()
        .filter(|seen| seen.side == side && seen.no >= first.no && seen.has_data())
        .collect();
    // Whoever filled the hole up to the capture point, before or later: then it is not a hole here.
    let covers = |seen: &Seen| (seen.seq.wrapping_sub(acked) as i32) <= 0 && (seen.end().wrapping_sub(acked) as i32) > 0;
    let filled = tcp
        .log
        .iter()
        .any(|seen| seen.side == side && seen.has_data() && covers(seen));
    let hole = first.seq.wrapping_sub(acked);
    let mss = tcp.habits[side.other()].syn.and_then(|syn| syn.mss).map_or(1460, u32::from);
    let options = if tcp.habits[side].with_timestamps > 0 { 12 } else { 0 };
    let segment = mss.saturating_sub(options).max(1);
    // The hole consists of full segments, and what passed it does not.
    let full = hole >= segment && hole % segment == 0;
    let largest = came_since.iter().map(|seen| on_the_wire(tcp, seen)).max()?;
    let headers = first.ip_len.saturating_sub(first.len);
    // Its sender repeats the missing bytes within a second; where nothing comes, the capture must have waited for that.
    let spoken = tcp.last().at.since(first.at);
    let waited = ends.since(first.at);
    let watched = if waited >= IN_VAIN { waited } else { spoken };
    let asks = tcp
        .log
        .iter()
        .filter(|seen| seen.side != side && seen.no > first.no && seen.ack == acked)
        .count();
    if filled || !full || largest >= segment + headers || asks == 0 || watched < Span::millis(200) {
        return None;
    }
    let repeated: Vec<&&Seen> = came_since
        .iter()
        .filter(|seen| seen.no > first.no && seen.marks.has(Marks::RETRANSMISSION))
        .collect();
    Some(BlackHole {
        sender: side,
        first: *first,
        copies: repeated.iter().take(COPIES).map(|seen| ***seen).collect(),
        tries: u32::try_from(repeated.len()).unwrap_or(u32::MAX),
        smallest_lost: None,
        largest_passed: largest,
        passed: *first,
        hole: Some(hole),
        lasted: watched,
        icmp: icmp_about(tcp, side),
        ignored_by: None,
    })
}
