//! From the length of a sealed record to the length of what it hides.

use crate::protocol::tls::record::Version;
use crate::protocol::tls::suite::{CipherSuite, Protection};

/// How long the plaintext of a record is, in bytes; both ends belong to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaintextLength {
    /// At least so many.
    pub min: usize,
    /// At most so many.
    pub max: usize,
}

impl PlaintextLength {
    fn exactly(length: usize) -> Self {
        Self {
            min: length,
            max: length,
        }
    }

    /// The length, where the protection gives it away to the byte.
    pub fn exact(self) -> Option<usize> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether `length` is possible.
    pub fn contains(self, length: usize) -> bool {
        (self.min..=self.max).contains(&length)
    }

    /// Whether some length of `from..=to` is possible.
    pub fn meets(self, from: usize, to: usize) -> bool {
        self.min <= to && from <= self.max
    }
}

/// The plaintext lengths that a sealed record of `record_length` bytes (without its header) can hide.
///
/// AEAD and stream ciphers give one length (TLS 1.3 if the sender does not pad, as no known RDP peer does), CBC
/// a window as wide as a block: smallest padding assumed, which Schannel, OpenSSL and every other common
/// implementation use. `None` if the suite is unknown or no plaintext gives such a record.
pub fn plaintext(record_length: u16, version: Version, suite: &CipherSuite, encrypt_then_mac: bool) -> Option<PlaintextLength> {
    let length = usize::from(record_length);
    let version = version.stream_equivalent();
    let mac = suite.mac().map_or(0, |hash| hash.output_len());
    match suite.protection()? {
        Protection::Null | Protection::Stream => length.checked_sub(mac).map(PlaintextLength::exactly),
        Protection::AeadExplicitNonce { tag } | Protection::AeadImplicitNonce { tag } if version == Version::TLS13 => {
            // The true content type follows the content inside.
            length.checked_sub(tag + 1).map(PlaintextLength::exactly)
        }
        Protection::AeadExplicitNonce { tag } => length.checked_sub(8 + tag).map(PlaintextLength::exactly),
        Protection::AeadImplicitNonce { tag } => length.checked_sub(tag).map(PlaintextLength::exactly),
        Protection::Cbc { block } => {
            let iv = if version >= Version::TLS11 { block } else { 0 };
            let outside = iv + if encrypt_then_mac { mac } else { 0 };
            let inside = if encrypt_then_mac { 0 } else { mac };
            let blocks = length.checked_sub(outside).filter(|n| *n > 0 && n.is_multiple_of(block))?;
            // One byte tells the padding's length, and up to a block less one byte pads.
            let max = blocks.checked_sub(inside + 1)?;
            Some(PlaintextLength {
                min: blocks.saturating_sub(inside + block),
                max,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plaintext lengths and the record lengths that they give, by suite.
    #[test]
    fn the_sizes_of_the_table_are_inverted() {
        let plain = [2, 4, 9, 15, 34, 36, 57, 126];
        let cases: [(Version, u16, [u16; 8]); 7] = [
            (Version::TLS13, 0x1302, [19, 21, 26, 32, 51, 53, 74, 143]),
            (Version::TLS12, 0xC030, [26, 28, 33, 39, 58, 60, 81, 150]),
            (Version::TLS12, 0xCCA8, [18, 20, 25, 31, 50, 52, 73, 142]),
            (Version::TLS12, 0xC014, [48, 48, 48, 64, 80, 80, 96, 176]),
            (Version::TLS12, 0xC027, [64, 64, 64, 64, 96, 96, 112, 176]),
            (Version::TLS12, 0xC028, [80, 80, 80, 80, 112, 112, 128, 192]),
            (Version::TLS10, 0xC014, [32, 32, 32, 48, 64, 64, 80, 160]),
        ];
        for (version, id, lengths) in cases {
            let suite = CipherSuite::new(id);
            for (plain, length) in plain.into_iter().zip(lengths) {
                let range = plaintext(length, version, &suite, false).unwrap();
                assert!(range.contains(plain), "{suite} {length}: {range:?}");
                match suite.protection() {
                    Some(Protection::Cbc { .. }) => assert!(range.max - range.min <= 15, "{range:?}"),
                    _ => assert_eq!(range.exact(), Some(plain)),
                }
            }
        }
    }

    #[test]
    fn encrypt_then_mac_moves_the_mac_outside() {
        let suite = CipherSuite::new(0xC014);
        // 16 of IV, two blocks, 20 of MAC.
        assert_eq!(
            plaintext(16 + 32 + 20, Version::TLS12, &suite, true),
            Some(PlaintextLength { min: 16, max: 31 })
        );
        assert_eq!(plaintext(16 + 32 + 20, Version::TLS12, &suite, false), None);
    }

    #[test]
    fn impossible_lengths_have_no_plaintext() {
        assert_eq!(plaintext(10, Version::TLS12, &CipherSuite::new(0xC030), false), None);
        assert_eq!(plaintext(0, Version::TLS12, &CipherSuite::new(0xC014), false), None);
        assert_eq!(plaintext(16, Version::TLS12, &CipherSuite::new(0xC014), false), None);
        assert_eq!(plaintext(100, Version::TLS12, &CipherSuite::new(0x7A7A), false), None);
    }

    #[test]
    fn an_empty_cbc_record_of_tls10_is_possible() {
        let range = plaintext(32, Version::TLS10, &CipherSuite::new(0x002F), false).unwrap();
        assert_eq!((range.min, range.max), (0, 11));
        assert!(range.meets(4, 12));
    }
}
