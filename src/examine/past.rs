//! Connections that were judged while packets of them may still come: those change nothing any more.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::capture::{Span, Timestamp};
use crate::flow::FlowKey;
use crate::flow::key::BuildKeyHasher;
use crate::packet::{Segment, TcpFlags};

type Ended = HashMap<FlowKey, Timestamp, BuildKeyHasher>;

/// Such connections, with the time of their last packet. Where they are many the earlier half is forgotten.
#[derive(Debug, Default)]
pub(super) struct Past {
    late: Ended,
    early: Ended,
    room: usize,
}

impl Past {
    /// A memory for so many.
    pub(super) fn new(room: usize) -> Past {
        Past { room, ..Past::default() }
    }

    /// Whether a segment belongs to a connection that was judged; a SYN begins a new one.
    pub(super) fn holds(&mut self, key: &FlowKey, segment: &Segment<'_>, at: Timestamp) -> bool {
        if self.late.is_empty() && self.early.is_empty() {
            return false;
        }
        let fresh = segment.flags.has(TcpFlags::SYN) && !segment.flags.has(TcpFlags::ACK);
        if fresh {
            self.late.remove(key);
            self.early.remove(key);
            return false;
        }
        let known = self.late.get_mut(key).or_else(|| self.early.get_mut(key));
        known.map(|last| *last = at).is_some()
    }

    /// Passes over what follows of this connection.
    pub(super) fn pass(&mut self, key: &FlowKey, at: Timestamp) {
        if self.late.len() >= self.room / 2 {
            self.early = std::mem::take(&mut self.late);
        }
        self.late.insert(*key, at);
    }

    /// Their hosts, both ways round.
    pub(super) fn pairs(&self) -> HashSet<(IpAddr, IpAddr)> {
        let ends = self.late.keys().chain(self.early.keys()).map(FlowKey::ends);
        ends.flat_map(|(a, b)| [(a.ip(), b.ip()), (b.ip(), a.ip())]).collect()
    }

    /// Forgets what was not heard of for `long` where many are remembered.
    pub(super) fn forget(&mut self, now: Timestamp, long: Span) {
        if self.late.len() + self.early.len() >= self.room / 2 {
            self.late.retain(|_, last| now.since(*last) < long);
            self.early.retain(|_, last| now.since(*last) < long);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn the_latest_are_remembered_and_a_syn_begins_anew() {
        let key = |port: u16| {
            let client = SocketAddr::new([10, 0, 0, 1].into(), port);
            FlowKey::new(client, SocketAddr::new([10, 0, 0, 2].into(), 3389), 6)
        };
        let segment = |flags: u16| Segment {
            src_port: 0,
            dst_port: 3389,
            seq: 0,
            ack: 0,
            flags: TcpFlags(flags),
            window: 0,
            options: Default::default(),
            payload: &[],
            payload_len: 0,
            checksum_ok: None,
        };
        let mut past = Past::new(8);
        (1..=100).for_each(|port| past.pass(&key(port), Timestamp(0)));
        assert!(past.late.len() + past.early.len() <= 8);
        assert!((97..=100).all(|port| past.holds(&key(port), &segment(TcpFlags::ACK), Timestamp(1))));
        assert!(!past.holds(&key(1), &segment(TcpFlags::ACK), Timestamp(1)));
        assert!(!past.holds(&key(100), &segment(TcpFlags::SYN), Timestamp(2)));
        assert!(!past.holds(&key(100), &segment(TcpFlags::ACK), Timestamp(2)));
    }
}
