//! A packet other than a RST that bears a host's address and that the host did not write: the FIN or the alert by which a device ends a
//! connection in the host's name. It is told by what a device can hardly copy: the way, the options of TCP, and the time.

use crate::capture::{FrameNo, Span, Timestamp};
use crate::flow::{Seen, Side};
use crate::packet::TcpFlags;
use crate::transcript::Transcript;

/// So many packets of the host have to agree before another one is remarkable.
const FEW: usize = 3;
/// A shorter round trip than this says nothing: processors and captures are no more exact.
const EXACT: Span = Span::millis(2);
/// Only one sign may be the whim of a route or of a clock.
const ENOUGH: usize = 2;

/// Something that shows that a packet is not the work of the host that it names.
#[derive(Clone, Debug)]
pub struct Sign {
    /// The frame that shows it.
    pub frame: FrameNo,
    /// The frame's time.
    pub at: Timestamp,
    /// In words, with both values.
    pub text: String,
}

/// The signs that the host whose address `seen` bears did not write it; none where they are not enough.
pub fn signs(t: &Transcript, seen: &Seen) -> Option<Vec<Sign>> {
    let own: Vec<&Seen> = (t.tcp.log.iter())
        .filter(|before| before.side == seen.side && before.no < seen.no && !before.is_reset())
        .collect();
    let mut found: Vec<Sign> = [other_way(seen, &own), other_form(t, seen, &own)]
        .into_iter()
        .flatten()
        .collect();
    if !found.is_empty() {
        found.extend(too_soon(t, seen, &own));
    }
    (found.len() >= ENOUGH).then_some(found)
}

/// It came another way than every packet before it.
fn other_way(seen: &Seen, own: &[&Seen]) -> Option<Sign> {
    let first = own.first()?;
    let one_way = own.len() >= FEW && own.iter().all(|before| before.ttl == first.ttl);
    (one_way && seen.ttl != first.ttl).then(|| Sign {
        frame: seen.no,
        at: seen.at,
        text: format!(
            "TTL {}, the {}'s {} packets before it: {}",
            seen.ttl,
            seen.side,
            own.len(),
            first.ttl
        ),
    })
}

/// RFC 7323 section 3.2: once both SYNs had the timestamp option, every segment but a RST has it.
fn other_form(t: &Transcript, seen: &Seen, own: &[&Seen]) -> Option<Sign> {
    // Where a SYN was not captured, the packets after it tell: nobody may send the option who was not offered it.
    let agreed = Side::BOTH.into_iter().all(|side| match t.tcp.habits[side].syn {
        Some(syn) => syn.timestamps,
        None => t.tcp.half[side].packets > 0 && t.tcp.habits[side].with_timestamps > 0,
    });
    let kept = own.len() >= FEW && own.iter().all(|before| before.timestamps.is_some());
    (agreed && kept && seen.timestamps.is_none()).then(|| Sign {
        frame: seen.no,
        at: seen.at,
        text: format!(
            "it lacks the timestamp option, which the {}'s {} packets before it have and a TCP that agreed to it never leaves out",
            seen.side,
            own.len()
        ),
    })
}

/// It answers in less than half of the time that the way to the host and back ever took.
fn too_soon(t: &Transcript, seen: &Seen, own: &[&Seen]) -> Option<Sign> {
    let answered = |answer: &Seen| {
        let is_asked = |asked: &&Seen| {
            asked.side != seen.side && asked.no < answer.no && asked.end() != asked.seq && asked.end() == answer.ack
        };
        answer
            .flags
            .has(TcpFlags::ACK)
            .then(|| t.tcp.log.iter().find(is_asked))
            .flatten()
    };
    let known = |answer: &Seen| own.iter().any(|before| before.no < answer.no && before.ack == answer.ack);
    let times: Vec<Span> = (own.iter())
        .filter(|answer| !known(answer))
        .filter_map(|answer| Some(answer.at.since(answered(answer)?.at)))
        .collect();
    let least = times
        .iter()
        .copied()
        .min()
        .filter(|least| times.len() >= 2 && *least >= EXACT)?;
    let took = seen.at.since(answered(seen).filter(|_| !known(seen))?.at);
    (took.times(2) < least).then(|| Sign {
        frame: seen.no,
        at: seen.at,
        text: format!(
            "it answers after {}; the way to the {} and back took {} at least",
            took.human(),
            seen.side,
            least.human()
        ),
    })
}
