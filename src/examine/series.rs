//! The packets of a connection as a plot shows them, from its log.

use crate::flow::{PacketLog, Seen, Side};
use crate::packet::TcpFlags;
use crate::report::model::Point;

use crate::flow::Marks;

/// Every packet that the log remembers, with the round trips that its acknowledgments show.
pub(super) fn points(log: &PacketLog) -> Vec<Point> {
    let mut base = [None::<u32>; 2];
    for seen in log.iter().filter(|seen| counts(seen)) {
        let lowest = &mut base[place(seen.side)];
        // The lower of two numbers, as long as they are less than half the circle apart.
        match lowest {
            Some(low) if seen.seq.wrapping_sub(*low) < 1 << 31 => {}
            _ => *lowest = Some(seen.seq),
        }
    }
    let mut waiting: [Vec<Seen>; 2] = [Vec::new(), Vec::new()];
    log.iter()
        .map(|seen| {
            let mine = place(seen.side);
            let mut round_trip = None;
            if seen.flags.has(TcpFlags::ACK) && !seen.is_reset() {
                let other = &mut waiting[1 - mine];
                let acknowledged = |sent: &Seen| seen.ack.wrapping_sub(sent.end()) < 1 << 31;
                // The latest of those acknowledged: an acknowledgment may have waited for it, not for the ones before.
                round_trip = other
                    .iter()
                    .rev()
                    .find(|sent| acknowledged(sent))
                    .map(|sent| seen.at.since(sent.at))
                    .filter(|span| span.0 >= 0);
                other.retain(|sent| !acknowledged(sent));
            }
            if seen.end() != seen.seq {
                if seen.marks.has(Marks::RETRANSMISSION) {
                    // Which copy is acknowledged cannot be told (Karn).
                    waiting[mine].retain(|sent| sent.end() != seen.end());
                } else {
                    waiting[mine].push(*seen);
                }
            }
            Point {
                at: seen.at,
                frame: seen.no,
                from_client: seen.side == Side::Client,
                flags: seen.flags,
                seq: base[mine].map_or(0, |base| seen.seq.wrapping_sub(base)),
                len: seen.len,
                ttl: seen.ttl,
                again: seen.marks.has(Marks::RETRANSMISSION),
                round_trip,
            }
        })
        .collect()
}

/// The sequence number of a reset may be forged, and that of a keep-alive lies one too low.
fn counts(seen: &Seen) -> bool {
    !seen.is_reset() && !seen.marks.has(Marks::KEEP_ALIVE)
}

fn place(side: Side) -> usize {
    usize::from(side == Side::Server)
}
