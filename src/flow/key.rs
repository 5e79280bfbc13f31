//! The direction-free name of a flow, and a seeded hash of it.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// TCP or UDP, by IP protocol number.
pub const TCP: u8 = 6;
/// See [`TCP`].
pub const UDP: u8 = 17;

/// Addresses, ports and protocol of a flow; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    low: SocketAddr,
    high: SocketAddr,
    protocol: u8,
}

impl FlowKey {
    /// The key of a packet from `from` to `to`.
    pub fn new(from: SocketAddr, to: SocketAddr, protocol: u8) -> FlowKey {
        let (low, high) = if from <= to { (from, to) } else { (to, from) };
        FlowKey { low, high, protocol }
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
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.low, self.high, self.protocol)
    }
}

/// The fingerprint of the flow between two ends, in either order: what most packets need of their flow, without sorting its ends.
#[inline]
pub fn fingerprint(a: SocketAddr, b: SocketAddr, protocol: u8) -> u64 {
    mix(u64::from(protocol), spread(a).wrapping_add(spread(b)))
}

#[inline]
fn spread(end: SocketAddr) -> u64 {
    match end.ip() {
        IpAddr::V4(v4) => mix(SEED, u64::from(v4.to_bits()) << 16 | u64::from(end.port())),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix(mix(SEED ^ u64::from(end.port()), bits as u64), (bits >> 64) as u64)
        }
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint());
    }
}

/// An arbitrary odd constant; fixed, so that the same capture always takes the same way.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// One multiplication of 64 by 64 bits, both halves of the product folded into one another.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word.wrapping_mul(0xD6E8_FEB8_6659_FD93)) * u128::from(0xE703_7ED1_A0B4_28DB_u64);
    (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(29)
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
            self.0 = mix(self.0, u64::from(*byte));
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
        assert_eq!(FlowKey::new(a, b, TCP).fingerprint(), fingerprint(b, a, TCP));
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
