//! The bytes of one side that no complete message has claimed yet, with the frames that brought them.

use smallvec::SmallVec;

use crate::capture::{FrameNo, Timestamp};
use crate::flow::Seen;

/// A frame and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
}

impl From<&Seen> for Stamp {
    fn from(seen: &Seen) -> Stamp {
        Stamp {
            no: seen.no,
            at: seen.at,
        }
    }
}

/// Bytes that wait for the rest of their message.
#[derive(Clone, Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Where in `bytes` each contributing frame begins.
    marks: SmallVec<[(usize, Stamp); 2]>,
    /// Bytes still to come of a message whose content is not wanted, with the frame of its first byte.
    pub(super) skip: usize,
}

impl Inbox {
    /// Adds what a frame brought.
    pub(super) fn push(&mut self, bytes: &[u8], stamp: Stamp) {
        self.marks.push((self.bytes.len(), stamp));
        self.bytes.extend_from_slice(bytes);
    }

    /// The memory that it takes beside itself, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.capacity()
    }

    /// What waits.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame that brought the first waiting byte.
    pub(super) fn first(&self) -> Option<Stamp> {
        self.marks.first().map(|(_, stamp)| *stamp)
    }

    /// Takes `n` bytes away from the front.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.bytes.len());
        self.bytes.drain(..n);
        let last_before = self.marks.iter().rposition(|(offset, _)| *offset <= n).unwrap_or(0);
        self.marks.drain(..last_before);
        for (offset, _) in &mut self.marks {
            *offset = offset.saturating_sub(n);
        }
        if self.bytes.is_empty() {
            self.marks.clear();
            // One long message must not hold its memory for the rest of a long connection.
            if self.bytes.capacity() > 1024 {
                self.bytes = Vec::new();
            }
        }
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self) {
        let n = self.bytes.len();
        self.consume(n);
        self.skip = 0;
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(no: u64) -> Stamp {
        Stamp {
            no: FrameNo::new(no),
            at: Timestamp(0),
        }
    }

    #[test]
    fn the_first_byte_keeps_its_frame() {
        let mut inbox = Inbox::default();
        inbox.push(b"abc", stamp(1));
        inbox.push(b"defg", stamp(2));
        inbox.consume(2);
        assert_eq!((inbox.bytes(), inbox.first()), (&b"cdefg"[..], Some(stamp(1))));
        inbox.consume(1);
        assert_eq!((inbox.bytes(), inbox.first()), (&b"defg"[..], Some(stamp(2))));
        inbox.push(b"h", stamp(3));
        inbox.consume(4);
        assert_eq!((inbox.bytes(), inbox.first()), (&b"h"[..], Some(stamp(3))));
        inbox.consume(1);
        assert_eq!(inbox.first(), None);
    }
}
