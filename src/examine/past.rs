//! Connections that were judged while packets of them may still come: those change nothing any more.

use rustc_hash::FxHashMap;

use crate::capture::{Span, Timestamp};
use crate::flow::FlowKey;
use crate::packet::{Segment, TcpFlags};

/// How many are remembered at one time.
const PASTS: usize = 65_536;

/// Fingerprints of such connections, with the time of their last packet.
#[derive(Debug, Default)]
pub(super) struct Past(FxHashMap<u64, Timestamp>);

impl Past {
    /// Whether a segment belongs to a connection that was judged; a SYN begins a new one.
    pub(super) fn holds(&mut self, key: &FlowKey, segment: &Segment<'_>, at: Timestamp) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let fresh = segment.flags.has(TcpFlags::SYN) && !segment.flags.has(TcpFlags::ACK);
        if fresh {
            self.0.remove(&key.fingerprint());
            return false;
        }
        match self.0.get_mut(&key.fingerprint()) {
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
            self.0.insert(key.fingerprint(), at);
        }
    }

    /// Forgets what was not heard of for `long` where many are remembered.
    pub(super) fn forget(&mut self, now: Timestamp, long: Span) {
        if self.0.len() >= PASTS / 2 {
            self.0.retain(|_, last| now.since(*last) < long);
        }
    }
}
