//! What the path does beside carrying packets: loss and round trips phase by phase, devices that answer SYNs or clamp the segment size.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::capture::{Span, Timestamp};
use crate::flow::{Marks, Seen, Side};
use crate::forensics::loss::Rate;
use crate::transcript::{Progress, Transcript};

/// A maximum segment size that a device on the way has lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    /// Whose SYN or SYN+ACK carries it.
    pub side: Side,
    /// The size, in bytes.
    pub mss: u16,
    /// What an Ethernet would give.
    pub usual: u16,
}

/// Segment sizes below what an Ethernet gives, of a side that is not where the capture was taken: its own host knows its link. Also a
/// tunnel interface on that host looks so.
pub fn clamps(t: &Transcript) -> Vec<Clamp> {
    let usual = if t.server.is_ipv4() { 1460 } else { 1440 };
    Side::BOTH
        .into_iter()
        .filter_map(|side| {
            let mss = t.tcp.habits[side].syn?.mss?;
            (mss < usual && mss >= 536).then_some(Clamp { side, mss, usual })
        })
        .collect()
}

/// The TTL of the SYN+ACK and that of the server's data, where something else answered the SYN (a SYN proxy, a full proxy, a balancer).
pub fn syn_proxy(t: &Transcript) -> Option<(u8, u8)> {
    let habits = &t.tcp.habits.server;
    let (syn, data) = (habits.handshake_ttl.only()?, habits.ttl.only()?);
    (syn.value != data.value && data.count >= 3).then_some((syn.value, data.value))
}

/// How the path behaved in one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// The phase's name in the contract.
    pub phase: &'static str,
    /// The smallest time from data to their acknowledgment by the client, and by the server.
    pub rtt: [Option<Span>; 2],
    /// Segments of client and server that were sent again.
    pub again: [u32; 2],
    /// Segments of client and server with payload.
    pub segments: [u32; 2],
}

impl Pace {
    /// In words: `tls: 21.0 ms to the server, 1 of 6 segments sent again`.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        for (side, rtt) in ["client", "server"].into_iter().zip(self.rtt) {
            if let Some(rtt) = rtt {
                parts.push(format!("{} to the {side}", rtt.human()));
            }
        }
        for ((side, again), all) in ["client", "server"].into_iter().zip(self.again).zip(self.segments) {
            if again > 0 {
                parts.push(format!("{again} of the {side}'s {all} segments sent again"));
            }
        }
        format!(
            "{}: {}",
            self.phase,
            if parts.is_empty() {
                "nothing measured".to_owned()
            } else {
                parts.join(", ")
            }
        )
    }
}

/// Loss and round trips phase by phase, over the packets that are remembered.
pub fn paces(t: &Transcript, progress: &Progress) -> Vec<Pace> {
    let mut spans: Vec<(&'static str, Timestamp, Timestamp)> = progress
        .done
        .iter()
        .map(|milestone| (milestone.phase.slug(), milestone.began, milestone.done))
        .collect();
    spans.push((progress.phase.slug(), progress.entered, t.ended()));
    spans
        .into_iter()
        .map(|(phase, from, to)| {
            let within = |seen: &&Seen| seen.at >= from && seen.at <= to;
            let count = |side: Side, wanted: &dyn Fn(&Seen) -> bool| {
                u32::try_from(
                    t.tcp
                        .log
                        .iter()
                        .filter(within)
                        .filter(|seen| seen.side == side && seen.has_data() && wanted(seen))
                        .count(),
                )
                .unwrap_or(u32::MAX)
            };
            let again = |seen: &Seen| seen.marks.has(Marks::RETRANSMISSION | Marks::FILLS_HOLE);
            Pace {
                phase,
                rtt: Side::BOTH.map(|side| quickest(t, side, from, to)),
                again: Side::BOTH.map(|side| count(side, &again)),
                segments: Side::BOTH.map(|side| count(side, &|_| true)),
            }
        })
        .collect()
}

/// The smallest time from data of the other side to `side`'s acknowledgment of just their end; what was sent twice measures nothing.
fn quickest(t: &Transcript, side: Side, from: Timestamp, to: Timestamp) -> Option<Span> {
    // Backwards, so that what comes later is known: the first acknowledgment of each number, and where data begin.
    let mut answers: FxHashMap<u32, Timestamp> = FxHashMap::default();
    let mut begun: FxHashSet<u32> = FxHashSet::default();
    let mut least = None;
    for seen in t.tcp.log.iter().rev().filter(|seen| seen.at >= from && seen.at <= to) {
        if seen.side == side {
            answers.insert(seen.ack, seen.at);
            continue;
        }
        if seen.has_data()
            && !seen.marks.has(Marks::RETRANSMISSION)
            && !begun.contains(&seen.seq)
            && let Some(answered) = answers.get(&seen.end())
        {
            let took = answered.since(seen.at);
            least = Some(least.map_or(took, |least: Span| least.min(took)));
        }
        if seen.len > 0 {
            begun.insert(seen.seq);
        }
    }
    least
}

/// The figures of a connection's path, by name.
pub fn figures(t: &Transcript, progress: &Progress) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for (name, side) in [("loss_from_client", Side::Client), ("loss_from_server", Side::Server)] {
        let rate = Rate::of(&t.tcp, side);
        if rate.again > 0 {
            facts.push((name, rate.words()));
        }
    }
    // A path that loses nothing is told by the round trips of the whole connection.
    if !facts.is_empty() {
        let words: Vec<String> = paces(t, progress).iter().map(Pace::words).collect();
        facts.push(("path_by_phase", words.join("; ")));
    }
    if let Some((syn, data)) = syn_proxy(t) {
        facts.push((
            "syn_proxy",
            format!(
                "the SYN,ACK came with TTL {syn}, the server's data with {data}: something on the path answers SYNs in its place"
            ),
        ));
    }
    for clamp in clamps(t) {
        let name = match clamp.side {
            Side::Client => "mss_of_client",
            Side::Server => "mss_of_server",
        };
        facts.push((
            name,
            format!(
                "{} instead of {}: a tunnel, or a device that clamps it",
                clamp.mss, clamp.usual
            ),
        ));
    }
    facts
}
