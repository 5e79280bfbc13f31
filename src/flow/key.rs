//! The direction-free name of a flow, and a seeded hash of it.

use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};

/// TCP or UDP, by IP protocol number.
pub const TCP: u8 = 6;
/// See [`TCP`].
pub const UDP: u8 = 17;

/// Addresses, ports and protocol of a flow; the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
        let mut state = mix(
            SEED,
            u64::from(self.protocol) << 32 | u64::from(self.low.port()) << 16 | u64::from(self.high.port()),
        );
        for addr in [self.low.ip(), self.high.ip()] {
            state = match addr {
                IpAddr::V4(v4) => mix(state, u64::from(v4.to_bits())),
                IpAddr::V6(v6) => {
                    let bits = v6.to_bits();
                    mix(mix(state, bits as u64), (bits >> 64) as u64)
                }
            };
        }
        state
    }
}

/// An arbitrary odd constant; fixed, so that the same capture always takes the same way.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(state: u64, word: u64) -> u64 {
    let product =
        u128::from(state ^ word.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0xA076_1D64_78BD_642F_E703_7ED1_A0B4_28DB);
    (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(29)
}

/// Hashes a [`FlowKey`] by its fingerprint.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 = mix(self.0, u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word);
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
