//! The direction-free name of a flow, and a seeded hash of it.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::SocketAddr;

use crate::packet::fingerprint::{self, fold};

/// TCP or UDP, by IP protocol number.
pub const TCP: u8 = 6;
/// See [`TCP`].
pub const UDP: u8 = 17;

/// Addresses, ports and protocol of a flow; the same for both directions.
#[derive(Clone, Copy, Debug, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    low: SocketAddr,
    high: SocketAddr,
    protocol: u8,
    /// Kept because it is needed several times for each packet.
    fingerprint: u64,
}

impl FlowKey {
    /// The key of a packet from `from` to `to`.
    pub fn new(from: SocketAddr, to: SocketAddr, protocol: u8) -> FlowKey {
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        FlowKey {
            low,
            high,
            protocol,
            fingerprint: fingerprint::between(low, high, protocol),
        }
    }

    /// Both ends, lower first.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.low, self.high)
    }

    /// The IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// A 64-bit hash that spreads well enough to be used as a fingerprint.
    #[inline]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl PartialEq for FlowKey {
    /// Most keys that differ differ in their fingerprint, too, which is one comparison.
    #[inline]
    fn eq(&self, other: &FlowKey) -> bool {
        self.fingerprint == other.fingerprint
            && self.low == other.low
            && self.high == other.high
            && self.protocol == other.protocol
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// Hashes a [`FlowKey`] by its fingerprint, which needs no further mixing.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = fold(self.0 ^ u64::from(*byte), 0x9E37_79B9_7F4A_7C15);
        }
    }

    #[inline]
    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

/// The hasher of maps that are keyed by flows.
pub type BuildKeyHasher = BuildHasherDefault<KeyHasher>;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn both_directions_have_one_key() {
        let (a, b) = (at("10.0.0.1:50000"), at("10.0.0.2:3389"));
        assert_eq!(FlowKey::new(a, b, TCP), FlowKey::new(b, a, TCP));
        assert_eq!(FlowKey::new(a, b, TCP).fingerprint(), fingerprint::between(b, a, TCP));
        assert_ne!(FlowKey::new(a, b, TCP).fingerprint(), FlowKey::new(a, b, UDP).fingerprint());
    }

    #[test]
    fn neighbours_spread() {
        let mut low_bits = std::collections::BTreeSet::new();
        for port in 0..4096u16 {
            let key = FlowKey::new(SocketAddr::new([10, 0, 0, 1].into(), port), at("10.0.0.2:3389"), TCP);
            low_bits.insert(key.fingerprint() & 0xFFFF);
        }
        assert!(low_bits.len() > 3900, "{}", low_bits.len());
    }
}
