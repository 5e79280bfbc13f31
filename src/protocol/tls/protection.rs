//! Opening one sealed record with the keys of its direction.

use aes::{Aes128, Aes256};
use aes_gcm::aead::Aead as _;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, KeyInit, KeyIvInit};
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::Payload;

use crate::protocol::tls::key_schedule::hmac;
use crate::protocol::tls::keylog::Secret;
use crate::protocol::tls::record::{RecordHeader, Version};
use crate::protocol::tls::suite::{Cipher, CipherSuite, Hash, Protection};

const AES_BLOCK: usize = 16;

/// The keys of one direction.
pub(super) enum RecordKeys {
    /// GCM and ChaCha20-Poly1305.
    Aead {
        cipher: AeadCipher,
        /// Twelve bytes, or the first four where the rest travels.
        iv: Vec<u8>,
        explicit_nonce: bool,
        tls13: bool,
    },
    /// AES in CBC mode with a MAC.
    Cbc(Box<CbcKeys>),
}

pub(super) enum AeadCipher {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
    ChaCha(Box<ChaCha20Poly1305>),
}

pub(super) struct CbcKeys {
    key: Secret,
    mac_key: Secret,
    mac: Hash,
    encrypt_then_mac: bool,
    /// TLS 1.0: the last block of the record before, which is the next one's IV. Later versions send the IV.
    chained_iv: Option<[u8; AES_BLOCK]>,
}

/// How many bytes of key material one direction needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeySizes {
    pub(super) mac: usize,
    pub(super) key: usize,
    pub(super) iv: usize,
}

impl KeySizes {
    /// `None` for a suite that this file does not open.
    pub(super) fn of(suite: &CipherSuite, version: Version) -> Option<Self> {
        let key = suite.key_len().filter(|length| matches!(length, 16 | 32))?;
        let iv = match (suite.cipher()?, suite.protection()?) {
            (Cipher::AesGcm, Protection::AeadExplicitNonce { tag: 16 }) if version == Version::TLS13 => 12,
            (Cipher::AesGcm, Protection::AeadExplicitNonce { tag: 16 }) => 4,
            (Cipher::ChaCha20Poly1305, _) => 12,
            (Cipher::AesCbc, Protection::Cbc { .. }) if version == Version::TLS10 => AES_BLOCK,
            (Cipher::AesCbc, Protection::Cbc { .. }) if version < Version::TLS13 => 0,
            _ => return None,
        };
        Some(Self {
            mac: suite.mac().map_or(0, Hash::output_len),
            key,
            iv,
        })
    }
}

impl RecordKeys {
    /// Makes the keys of a direction; the slices have the lengths of [`KeySizes`].
    pub(super) fn new(
        suite: &CipherSuite,
        version: Version,
        encrypt_then_mac: bool,
        mac_key: &[u8],
        key: &[u8],
        iv: &[u8],
    ) -> Option<Self> {
        let tls13 = version == Version::TLS13;
        let cipher = match (suite.cipher()?, key.len()) {
            (Cipher::AesGcm, 16) => AeadCipher::Aes128(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            (Cipher::AesGcm, 32) => AeadCipher::Aes256(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            (Cipher::ChaCha20Poly1305, _) => AeadCipher::ChaCha(Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?)),
            (Cipher::AesCbc, 16 | 32) => {
                return Some(Self::Cbc(Box::new(CbcKeys {
                    key: Secret::new(key),
                    mac_key: Secret::new(mac_key),
                    mac: suite.mac()?,
                    encrypt_then_mac,
                    chained_iv: if version == Version::TLS10 {
                        Some(iv.try_into().ok()?)
                    } else {
                        None
                    },
                })));
            }
            _ => return None,
        };
        Some(Self::Aead {
            cipher,
            iv: iv.to_vec(),
            explicit_nonce: iv.len() == 4,
            tls13,
        })
    }

    /// The plaintext, if the record is authentic under `sequence`.
    pub(super) fn open(&self, sequence: u64, header: RecordHeader, fragment: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Aead {
                cipher,
                iv,
                explicit_nonce,
                tls13,
            } => {
                let (explicit, sealed) = fragment.split_at_checked(if *explicit_nonce { 8 } else { 0 })?;
                let mut nonce = [0; 12];
                if *explicit_nonce {
                    nonce[..4].copy_from_slice(iv.get(..4)?);
                    nonce[4..].copy_from_slice(explicit);
                } else {
                    nonce.copy_from_slice(iv);
                    nonce[4..]
                        .iter_mut()
                        .zip(sequence.to_be_bytes())
                        .for_each(|(byte, number)| *byte ^= number);
                }
                let plain_length = u16::try_from(sealed.len().checked_sub(16)?).ok()?;
                let stated = header.to_bytes();
                let counted = pseudo_header(sequence, header, plain_length);
                cipher.open(&nonce, if *tls13 { &stated } else { &counted }, sealed)
            }
            Self::Cbc(keys) => keys.open(sequence, header, fragment),
        }
    }

    /// Notes that a record went by, opened or not: under TLS 1.0 its last block is the IV of the next.
    pub(super) fn advance(&mut self, fragment: &[u8]) {
        if let Self::Cbc(keys) = self
            && let Some(iv) = &mut keys.chained_iv
            && let outside = if keys.encrypt_then_mac { keys.mac.output_len() } else { 0 }
            && let Some(last) = fragment
                .get(..fragment.len().saturating_sub(outside))
                .and_then(<[u8]>::last_chunk)
        {
            *iv = *last;
        }
    }
}

/// What TLS 1.0 to 1.2 authenticate along with the content: sequence number, type, version, length.
fn pseudo_header(sequence: u64, header: RecordHeader, length: u16) -> [u8; 13] {
    let mut bytes = [0; 13];
    bytes[..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[8..].copy_from_slice(&RecordHeader { length, ..header }.to_bytes());
    bytes
}

impl AeadCipher {
    fn open(&self, nonce: &[u8; 12], aad: &[u8], msg: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg, aad };
        match self {
            Self::Aes128(cipher) => cipher.decrypt(nonce.into(), payload).ok(),
            Self::Aes256(cipher) => cipher.decrypt(nonce.into(), payload).ok(),
            Self::ChaCha(cipher) => cipher.decrypt(nonce.into(), payload).ok(),
        }
    }
}

impl CbcKeys {
    fn open(&self, sequence: u64, header: RecordHeader, fragment: &[u8]) -> Option<Vec<u8>> {
        let mac_length = self.mac.output_len();
        let protected = if self.encrypt_then_mac {
            let (protected, mac) = fragment.split_at_checked(fragment.len().checked_sub(mac_length)?)?;
            self.verify(sequence, header, protected, mac)?;
            protected
        } else {
            fragment
        };
        let (iv, sealed) = match self.chained_iv {
            Some(iv) => (iv, protected),
            None => protected.split_first_chunk().map(|(iv, sealed)| (*iv, sealed))?,
        };
        let mut plain = self.decrypt(&iv, sealed)?;
        // The last byte counts the bytes of padding before it, each of which repeats it.
        let padding = usize::from(*plain.last()?) + 1;
        let unpadded = plain.len().checked_sub(padding)?;
        if plain[unpadded..].iter().any(|&byte| usize::from(byte) + 1 != padding) {
            return None;
        }
        plain.truncate(unpadded);
        if !self.encrypt_then_mac {
            let content = unpadded.checked_sub(mac_length)?;
            self.verify(sequence, header, &plain[..content], &plain[content..])?;
            plain.truncate(content);
        }
        Some(plain)
    }

    fn verify(&self, sequence: u64, header: RecordHeader, content: &[u8], mac: &[u8]) -> Option<()> {
        let length = u16::try_from(content.len()).ok()?;
        let expected = hmac(
            self.mac,
            self.mac_key.bytes(),
            &[&pseudo_header(sequence, header, length), content],
        );
        (expected == mac).then_some(())
    }

    fn decrypt(&self, iv: &[u8; AES_BLOCK], sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.is_empty() || !sealed.len().is_multiple_of(AES_BLOCK) {
            return None;
        }
        let mut plain = sealed.to_vec();
        let (blocks, _) = Array::slice_as_chunks_mut(&mut plain);
        if self.key.bytes().len() == 16 {
            cbc::Decryptor::<Aes128>::new_from_slices(self.key.bytes(), iv)
                .ok()?
                .decrypt_blocks(blocks);
        } else {
            cbc::Decryptor::<Aes256>::new_from_slices(self.key.bytes(), iv)
                .ok()?
                .decrypt_blocks(blocks);
        }
        Some(plain)
    }
}
