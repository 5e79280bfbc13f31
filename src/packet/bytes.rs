//! A cursor over captured bytes that also knows how many bytes there were on the wire.

use super::{Cut, CutReason};

/// The captured bytes of a layer and the layer's length on the wire; `seen.len() <= wire` always holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    /// What was captured.
    pub seen: &'a [u8],
    /// How long the layer was on the wire.
    pub wire: usize,
}

impl<'a> Bytes<'a> {
    /// A layer of `wire` bytes of which `seen` were captured; a wire length below the captured one is corrected.
    pub fn new(seen: &'a [u8], wire: usize) -> Bytes<'a> {
        Bytes {
            seen,
            wire: wire.max(seen.len()),
        }
    }

    /// The first `N` bytes.
    ///
    /// # Errors
    /// The cut in `layer`: by the snap length where the wire had them, malformed where it had not.
    pub fn head<const N: usize>(self, layer: &'static str) -> Result<&'a [u8; N], Cut> {
        self.seen.first_chunk().ok_or_else(|| self.short(N, layer))
    }

    /// What follows the first `n` bytes.
    ///
    /// # Errors
    /// As for [`Bytes::head`].
    pub fn skip(self, n: usize, layer: &'static str) -> Result<Bytes<'a>, Cut> {
        match self.seen.get(n..) {
            Some(seen) => Ok(Bytes {
                seen,
                wire: self.wire - n,
            }),
            None => Err(self.short(n, layer)),
        }
    }

    /// The first `n` bytes as a layer of that length, where it is that long: what follows is padding.
    pub fn limit(self, n: usize) -> Bytes<'a> {
        if n >= self.wire {
            return self;
        }
        Bytes {
            seen: &self.seen[..self.seen.len().min(n)],
            wire: n,
        }
    }

    fn short(self, needed: usize, layer: &'static str) -> Cut {
        let why = if needed <= self.wire {
            CutReason::SnapLength
        } else {
            CutReason::Malformed
        };
        Cut { layer, why }
    }
}

/// The big-endian number at `at`; the caller has checked the length.
pub(super) fn be16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// The big-endian number at `at`; the caller has checked the length.
pub(super) fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}
