//! Connections that were judged while packets of them may still come: those change nothing any more.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::capture::{Span, Timestamp};
use crate::flow::FlowKey;
use crate::flow::key::BuildKeyHasher;
use crate::packet::{Segment, TcpFlags};

/// How many are remembered at one time.
const PASTS: usize = 32_768;

/// Such connections, with the time of their last packet.
#[derive(Debug, Default)]
pub(super) struct Past(HashMap<FlowKey, Timestamp, BuildKeyHasher>);

impl Past {
    /// Whether a segment belongs to a connection that was judged; a SYN begins a new one.
    pub(super) fn holds(&mut self, key: &FlowKey, segment: &Segment<'_>, at: Timestamp) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let fresh = segment.flags.has(TcpFlags::SYN) && !segment.flags.has(TcpFlags::ACK);
        if fresh {
            self.0.remove(key);
            return false;
        }
        match self.0.get_mut(key) {
            Some(last) => {
                *last = at;
                true
            }
            None => false,
        }
    }

    /// Passes over what follows of this connection.
    pub(super) fn pass(&mut self, key: &FlowKey, at: Timestamp) {
        if self.0.len() < PASTS {
            self.0.insert(*key, at);
        }
    }

    /// Their hosts, both ways round.
    pub(super) fn pairs(&self) -> HashSet<(IpAddr, IpAddr)> {
        let ends = self.0.keys().map(FlowKey::ends);
        ends.flat_map(|(a, b)| [(a.ip(), b.ip()), (b.ip(), a.ip())]).collect()
    }

    /// Forgets what was not heard of for `long` where many are remembered.
    pub(super) fn forget(&mut self, now: Timestamp, long: Span) {
        if self.0.len() >= PASTS / 2 {
            self.0.retain(|_, last| now.since(*last) < long);
        }
    }
}
