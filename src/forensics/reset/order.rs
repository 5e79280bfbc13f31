//! The signs in the order of events: too early for the peer, life after death, a second face, both ends at once.

use crate::capture::Span;
use crate::flow::{Marks, Seen};
use crate::forensics::reset::Scene;
use crate::forensics::reset::weights::Sign;
use crate::packet::TcpFlags;

/// Below this round trip the clocks and queues of a capture blur the order.
const COARSE: Span = Span::millis(3);
/// Packets may overtake each other within this time.
const REORDERING: Span = Span::millis(1);
/// How long after a RST signs of life are looked for: retransmissions of a live host come within seconds.
const AFTERLIFE: Span = Span::secs(10);

impl Scene<'_> {
    pub(super) fn order(&mut self) {
        self.timing();
        self.life_after();
        self.both_ends();
        self.second_face();
        self.challenge();
    }

    fn timing(&mut self) {
        let Some(trigger) = self.trigger.filter(|trigger| trigger.bound) else {
            self.missing
                .push("time of flight: the RST does not prove which packet it answers".to_owned());
            return;
        };
        let Some(rtt) = self.rtt else {
            self.missing
                .push(format!("time of flight: no round trip to the {} was measured", self.side));
            return;
        };
        if rtt.least < COARSE {
            self.missing.push(format!(
                "time of flight: the {} is {} away, too near to tell",
                self.side,
                rtt.least.human()
            ));
            return;
        }
        let seen = self.reset.seen;
        let (took, least) = (trigger.took.as_secs_f64(), rtt.least.as_secs_f64());
        let text = format!(
            "answers frame {} after {}; the smallest of {} round trips to the {} is {} (frame {})",
            trigger.seen.no,
            trigger.took.human(),
            rtt.samples,
            self.side,
            rtt.least.human(),
            rtt.frame
        );
        let sign = if took < 0.25 * least && took + 0.002 < 0.6 * least && rtt.samples >= 5 {
            Sign::FarTooEarly
        } else if took + 0.002 < 0.6 * least && (rtt.samples >= 3 || (took < 0.05 * least && least >= 0.01)) {
            Sign::TooEarly
        } else if took + 0.002 < 0.6 * least || (took + 0.002 < 0.85 * least && rtt.samples >= 2) {
            Sign::RatherEarly
        } else if took >= 0.9 * least && took <= 3.0 * least {
            Sign::OnTime
        } else {
            return;
        };
        // A device a few routers before the peer is as far away as the peer.
        let beside = self
            .signals
            .iter()
            .any(|signal| matches!(signal.sign, Sign::TtlBeside | Sign::TtlShifted | Sign::TtlNear));
        let share = match sign {
            Sign::OnTime if beside => 0.4,
            // One measurement may have waited for ARP or a busy host.
            Sign::TooEarly if rtt.samples < 3 => 0.75,
            _ => 1.0,
        };
        self.add(sign, share, seen.no, seen.at, text);
    }

    fn after(&self) -> impl Iterator<Item = &Seen> {
        let first = self.reset.seen;
        self.t
            .tcp
            .log
            .iter()
            .filter(move |seen| seen.no > first.no && seen.at.since(first.at) <= AFTERLIFE)
    }

    /// The alleged sender goes on as if it had sent nothing.
    fn life_after(&mut self) {
        let first = self.reset.seen;
        let acked_before = self
            .t
            .tcp
            .log
            .iter()
            .rfind(|seen| seen.side == self.side && seen.no < first.no && seen.flags.has(TcpFlags::ACK))
            .map(|seen| seen.ack)
            .or(self.t.tcp.half[self.side.other()].isn);
        let wait = self.rtt.map_or(REORDERING, |rtt| Span(rtt.least.0 / 5)).max(REORDERING);
        let next = self.reset.sender_next;
        let gait = self.habits.ip_id;
        let found = self.after().find_map(|seen| {
            if seen.side != self.side || seen.is_reset() || seen.flags.has(TcpFlags::SYN) {
                return None;
            }
            let new_bytes = seen.len > 0 && next.is_some_and(|next| (seen.end().wrapping_sub(next) as i32) > 0);
            let hears =
                seen.flags.has(TcpFlags::ACK) && acked_before.is_some_and(|before| (seen.ack.wrapping_sub(before) as i32) > 0);
            let ends = seen.flags.has(TcpFlags::FIN);
            let repeats = seen.len > 0 && seen.marks.has(Marks::RETRANSMISSION);
            if !(new_bytes || hears || ends || repeats) {
                return None;
            }
            let skips = gait.counts()
                && gait
                    .last
                    .zip(seen.ip_id)
                    .is_some_and(|((last, _, _), id)| (1..=4).contains(&id.wrapping_sub(last)))
                && first
                    .ip_id
                    .zip(gait.last)
                    .is_some_and(|(id, (last, _, _))| !(1..=64).contains(&id.wrapping_sub(last)));
            // A packet that was written before the RST may arrive after it.
            (skips || seen.at.since(first.at) > wait).then_some((*seen, new_bytes, hears, skips))
        });
        let Some((seen, new_bytes, hears, skips)) = found else {
            return;
        };
        let what = if new_bytes {
            "sends new data"
        } else if hears {
            "acknowledges new data"
        } else if seen.flags.has(TcpFlags::FIN) {
            "closes in order"
        } else {
            "repeats its data"
        };
        let later = seen.at.since(first.at).human();
        if skips {
            self.add(
                Sign::LifeAfterById,
                1.0,
                seen.no,
                seen.at,
                format!(
                    "the {} {what} {later} after its RST; IP-ID {} continues its count and leaves the RST's {} out",
                    self.side,
                    seen.ip_id.unwrap_or(0),
                    first.ip_id.unwrap_or(0)
                ),
            );
        } else {
            self.add(
                Sign::LifeAfter,
                1.0,
                seen.no,
                seen.at,
                format!("the {} {what} {later} after its RST", self.side),
            );
        }
    }

    /// Two ends do not reset each other at one moment: a RST is never answered.
    fn both_ends(&mut self) {
        let first = self.reset.seen;
        let quarter = self.rtt.map_or(Span(0), |rtt| Span(rtt.least.0 / 4));
        let near = Span::millis(5).max(quarter);
        let other = self.t.tcp.resets.iter().find(|other| {
            other.seen.side != self.side && other.seen.at.since(first.at) <= near && first.at.since(other.seen.at) <= near
        });
        let Some(other) = other.copied() else { return };
        // A RST that answers a late segment of the other side comes from a dead socket, not from a device.
        let mirrored = other.seen.ack == first.seq || other.seen.seq == first.ack || other.seen.flags == first.flags;
        let stray = |reset: &Seen| {
            !reset.flags.has(TcpFlags::ACK)
                && self.t.tcp.log.iter().any(|seen| {
                    seen.side != reset.side
                        && seen.no < reset.no
                        && !seen.is_reset()
                        && seen.ack == reset.seq
                        && reset.at.since(seen.at) <= near
                })
        };
        if mirrored && !stray(&other.seen) && !stray(&first) {
            self.add(
                Sign::BothEnds,
                1.0,
                other.seen.no,
                other.seen.at,
                format!(
                    "frames {} and {} reset both ends within {}",
                    first.no.min(other.seen.no),
                    first.no.max(other.seen.no),
                    Span((other.seen.at.since(first.at)).0.abs()).human()
                ),
            );
        }
    }

    /// The true host answers later segments with resets of its own kind.
    fn second_face(&mut self) {
        let first = self.reset.seen;
        if self.habits.ttl.contains(first.ttl) || self.habits.ttl.total() == 0 {
            return;
        }
        let later =
            self.t.tcp.resets.iter().find(|other| {
                other.seen.side == self.side && other.seen.no > first.no && self.habits.ttl.contains(other.seen.ttl)
            });
        if let Some(later) = later.map(|reset| reset.seen) {
            self.add(
                Sign::SecondFace,
                1.0,
                later.no,
                later.at,
                format!(
                    "a later RST in the {}'s name has its usual TTL {}, the first one {}",
                    self.side, later.ttl, first.ttl
                ),
            );
        }
    }

    /// RFC 5961: an inexact RST is asked back, and a genuine sender then sends the exact one.
    fn challenge(&mut self) {
        let first = self.reset.seen;
        if self.reset.receiver_expects.is_none_or(|expected| expected == first.seq) {
            return;
        }
        let asked = self
            .after()
            .find(|seen| seen.side != self.side && seen.len == 0 && !seen.is_reset() && seen.flags.has(TcpFlags::ACK))
            .copied();
        let Some(asked) = asked else { return };
        let exact = self.t.tcp.resets.iter().find(|other| {
            other.seen.side == self.side && other.seen.no > asked.no && other.seen.seq == asked.ack && other.seen.ttl == first.ttl
        });
        if let Some(exact) = exact.map(|reset| reset.seen) {
            self.add(
                Sign::ChallengeAnswered,
                1.0,
                exact.no,
                exact.at,
                format!(
                    "the receiver asked back (frame {}), and the exact RST followed with the same TTL {}",
                    asked.no, exact.ttl
                ),
            );
        }
    }
}
