//! Cipher suites: what a number means for names, keys and sizes.

use std::fmt;

use tls_parser::{TlsCipherEnc, TlsCipherEncMode, TlsCipherKx, TlsCipherMac, TlsCipherSuite, TlsPRF};

/// How a suite protects records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// No encryption, a MAC at most.
    Null,
    /// A stream cipher with a MAC (RC4).
    Stream,
    /// A block cipher in CBC mode with a MAC.
    Cbc {
        /// Bytes of a cipher block.
        block: usize,
    },
    /// AEAD whose nonce travels in part: 8 explicit bytes under TLS 1.2 (GCM, CCM).
    AeadExplicitNonce {
        /// Bytes of the authentication tag.
        tag: usize,
    },
    /// AEAD whose nonce does not travel (ChaCha20-Poly1305).
    AeadImplicitNonce {
        /// Bytes of the authentication tag.
        tag: usize,
    },
}

/// The cipher that hides the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// None.
    Null,
    /// RC4.
    Rc4,
    /// AES in CBC mode.
    AesCbc,
    /// AES in Galois/Counter mode.
    AesGcm,
    /// AES in CCM mode.
    AesCcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
    /// 3DES in CBC mode.
    TripleDesCbc,
    /// Any other (ARIA, Camellia, SEED, IDEA, DES, SM4, ...).
    Other,
}

/// A hash function, of a MAC or of the key derivation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl Hash {
    /// Bytes of its output.
    pub fn output_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

/// A cipher suite, known or not.
#[derive(Clone, Copy, Debug)]
pub struct CipherSuite {
    /// The number on the wire.
    pub id: u16,
    known: Option<&'static TlsCipherSuite>,
}

impl PartialEq for CipherSuite {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for CipherSuite {}

impl CipherSuite {
    /// TLS_FALLBACK_SCSV: the client says that it tried a higher version before (RFC 7507).
    pub const FALLBACK_SCSV: u16 = 0x5600;
    /// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746).
    pub const RENEGOTIATION_INFO_SCSV: u16 = 0x00FF;

    /// The suite with this number.
    pub fn new(id: u16) -> Self {
        Self {
            id,
            known: TlsCipherSuite::from_id(id),
        }
    }

    /// The registered name.
    pub fn name(&self) -> Option<&'static str> {
        match self.id {
            Self::FALLBACK_SCSV => Some("TLS_FALLBACK_SCSV"),
            Self::RENEGOTIATION_INFO_SCSV => Some("TLS_EMPTY_RENEGOTIATION_INFO_SCSV"),
            _ => self.known.map(|suite| suite.name),
        }
    }

    /// How records are protected, if the suite is known.
    pub fn protection(&self) -> Option<Protection> {
        let suite = self.known?;
        Some(match (self.cipher()?, suite.enc_mode) {
            (Cipher::Null, _) => Protection::Null,
            (Cipher::Rc4, _) => Protection::Stream,
            (Cipher::ChaCha20Poly1305, _) => Protection::AeadImplicitNonce { tag: 16 },
            (_, TlsCipherEncMode::Gcm) => Protection::AeadExplicitNonce { tag: 16 },
            (_, TlsCipherEncMode::Ccm) => {
                let tag = if suite.name.ends_with("_CCM_8") || suite.name.ends_with("_CCM_8_SHA256") {
                    8
                } else {
                    16
                };
                Protection::AeadExplicitNonce { tag }
            }
            (_, TlsCipherEncMode::Cbc) => match suite.enc_block_size() {
                0 => return None,
                block => Protection::Cbc { block },
            },
            (_, TlsCipherEncMode::Null) => return None,
        })
    }

    /// The cipher, if the suite is known.
    pub fn cipher(&self) -> Option<Cipher> {
        let suite = self.known?;
        Some(match (suite.enc, suite.enc_mode) {
            (TlsCipherEnc::Null, _) => Cipher::Null,
            (TlsCipherEnc::Rc4, _) => Cipher::Rc4,
            (TlsCipherEnc::Chacha20_Poly1305, _) => Cipher::ChaCha20Poly1305,
            (TlsCipherEnc::Aes, TlsCipherEncMode::Cbc) => Cipher::AesCbc,
            (TlsCipherEnc::Aes, TlsCipherEncMode::Gcm) => Cipher::AesGcm,
            (TlsCipherEnc::Aes, TlsCipherEncMode::Ccm) => Cipher::AesCcm,
            (TlsCipherEnc::TripleDes, _) => Cipher::TripleDesCbc,
            _ => Cipher::Other,
        })
    }

    /// Bytes of the cipher's key.
    pub fn key_len(&self) -> Option<usize> {
        Some(match self.cipher()? {
            // The registry's table counts neither the parity bits of DES nor ChaCha20's second half.
            Cipher::ChaCha20Poly1305 => 32,
            Cipher::TripleDesCbc => 24,
            _ => self.known?.enc_key_size(),
        })
    }

    /// The hash of the record MAC; none for AEAD.
    pub fn mac(&self) -> Option<Hash> {
        match self.known?.mac {
            TlsCipherMac::HmacMd5 => Some(Hash::Md5),
            TlsCipherMac::HmacSha1 => Some(Hash::Sha1),
            TlsCipherMac::HmacSha256 => Some(Hash::Sha256),
            TlsCipherMac::HmacSha384 => Some(Hash::Sha384),
            TlsCipherMac::Null | TlsCipherMac::HmacSha512 | TlsCipherMac::Aead => None,
        }
    }

    /// The hash of the key derivation in TLS 1.2 and 1.3. Older versions use MD5 with SHA-1 for every suite.
    pub fn prf(&self) -> Option<Hash> {
        match self.known?.prf {
            TlsPRF::Default | TlsPRF::Sha256 | TlsPRF::Md5AndSha1 | TlsPRF::Sha1 | TlsPRF::Null => Some(Hash::Sha256),
            TlsPRF::Sha384 => Some(Hash::Sha384),
            TlsPRF::Sha512 | TlsPRF::Sm3 => None,
        }
    }

    /// Whether the suite belongs to TLS 1.3, where a suite names no key exchange.
    pub fn is_tls13(&self) -> bool {
        self.known.is_some_and(|suite| suite.kx == TlsCipherKx::Tls13)
    }

    /// Whether the keys stay secret when the server's private key is lost later.
    pub fn has_forward_secrecy(&self) -> Option<bool> {
        Some(matches!(
            self.known?.kx,
            TlsCipherKx::Dhe | TlsCipherKx::Ecdhe | TlsCipherKx::Aecdh | TlsCipherKx::Eccpwd | TlsCipherKx::Tls13
        ))
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "cipher suite 0x{:04x}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_that_rdp_meets_are_known() {
        use Protection::{AeadExplicitNonce, AeadImplicitNonce, Cbc, Stream};
        let cases = [
            (0xC030, Cipher::AesGcm, AeadExplicitNonce { tag: 16 }, 32, None, Hash::Sha384),
            (0xC02F, Cipher::AesGcm, AeadExplicitNonce { tag: 16 }, 16, None, Hash::Sha256),
            (
                0xC028,
                Cipher::AesCbc,
                Cbc { block: 16 },
                32,
                Some(Hash::Sha384),
                Hash::Sha384,
            ),
            (
                0xC027,
                Cipher::AesCbc,
                Cbc { block: 16 },
                16,
                Some(Hash::Sha256),
                Hash::Sha256,
            ),
            (0xC014, Cipher::AesCbc, Cbc { block: 16 }, 32, Some(Hash::Sha1), Hash::Sha256),
            (0x002F, Cipher::AesCbc, Cbc { block: 16 }, 16, Some(Hash::Sha1), Hash::Sha256),
            (
                0x003D,
                Cipher::AesCbc,
                Cbc { block: 16 },
                32,
                Some(Hash::Sha256),
                Hash::Sha256,
            ),
            (
                0x000A,
                Cipher::TripleDesCbc,
                Cbc { block: 8 },
                24,
                Some(Hash::Sha1),
                Hash::Sha256,
            ),
            (0x0005, Cipher::Rc4, Stream, 16, Some(Hash::Sha1), Hash::Sha256),
            (
                0xCCA8,
                Cipher::ChaCha20Poly1305,
                AeadImplicitNonce { tag: 16 },
                32,
                None,
                Hash::Sha256,
            ),
            (0x1301, Cipher::AesGcm, AeadExplicitNonce { tag: 16 }, 16, None, Hash::Sha256),
            (0x1302, Cipher::AesGcm, AeadExplicitNonce { tag: 16 }, 32, None, Hash::Sha384),
            (
                0x1303,
                Cipher::ChaCha20Poly1305,
                AeadImplicitNonce { tag: 16 },
                32,
                None,
                Hash::Sha256,
            ),
            (0x1305, Cipher::AesCcm, AeadExplicitNonce { tag: 8 }, 16, None, Hash::Sha256),
            (0xC0A1, Cipher::AesCcm, AeadExplicitNonce { tag: 8 }, 32, None, Hash::Sha256),
            (0xC09D, Cipher::AesCcm, AeadExplicitNonce { tag: 16 }, 32, None, Hash::Sha256),
        ];
        for (id, cipher, protection, key_len, mac, prf) in cases {
            let suite = CipherSuite::new(id);
            assert_eq!(suite.cipher(), Some(cipher), "{suite}");
            assert_eq!(suite.protection(), Some(protection), "{suite}");
            assert_eq!(suite.key_len(), Some(key_len), "{suite}");
            assert_eq!(suite.mac(), mac, "{suite}");
            assert_eq!(suite.prf(), Some(prf), "{suite}");
        }
    }

    #[test]
    fn unknown_suites_keep_their_number() {
        let suite = CipherSuite::new(0x7A7A);
        assert_eq!(suite.to_string(), "cipher suite 0x7a7a");
        assert_eq!(suite.protection(), None);
        assert_eq!(CipherSuite::new(0x5600).to_string(), "TLS_FALLBACK_SCSV");
    }
}
