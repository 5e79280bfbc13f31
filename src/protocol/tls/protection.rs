//! Opening one sealed record with the keys of its direction.

use aes::{Aes128, Aes256};
use aes_gcm::aead::{Aead, AeadCore, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use cbc::cipher::array::Array;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit, StreamCipher};
use ccm::Ccm;
use ccm::consts::{U8, U12, U16};
use chacha20poly1305::ChaCha20Poly1305;
use des::TdesEde3;
use rc4::Rc4;

use crate::protocol::tls::key_schedule::hmac;
use crate::protocol::tls::keylog::Secret;
use crate::protocol::tls::record::{RecordHeader, Version};
use crate::protocol::tls::suite::{Cipher, CipherSuite, Hash, Protection};

/// The keys of one direction.
pub(super) enum RecordKeys {
    /// GCM, CCM and ChaCha20-Poly1305.
    Aead {
        open: Opener,
        /// Twelve bytes, or the first four where the rest travels.
        iv: Vec<u8>,
        explicit_nonce: bool,
        /// Bytes of the authentication tag.
        tag: usize,
        tls13: bool,
    },
    /// AES or 3DES in CBC mode with a MAC.
    Cbc(Box<CbcKeys>),
    /// RC4 with a MAC.
    Stream(Box<StreamKeys>),
}

/// Opens with the key that it holds: nonce, ciphertext and what is authenticated with it.
type Opener = Box<dyn Fn(&[u8; 12], Payload<'_, '_>) -> Option<Vec<u8>> + Send + Sync>;

fn opener<A>(key: &[u8]) -> Option<Opener>
where
    A: KeyInit + Aead + AeadCore<NonceSize = U12> + Send + Sync + 'static,
{
    let cipher = A::new_from_slice(key).ok()?;
    Some(Box::new(move |nonce, payload| cipher.decrypt(nonce.into(), payload).ok()))
}

/// The key of a MAC and its hash.
struct MacKey {
    key: Secret,
    hash: Hash,
}

pub(super) struct CbcKeys {
    key: Secret,
    cipher: BlockCipher,
    mac: MacKey,
    encrypt_then_mac: bool,
    /// TLS 1.0: the last block of the record before, which is the next one's IV. Later versions send the IV.
    chained_iv: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum BlockCipher {
    Aes128,
    Aes256,
    TripleDes,
}

pub(super) struct StreamKeys {
    cipher: Rc4,
    /// Key stream for the next bytes of the direction, as far as it was asked for.
    ahead: Vec<u8>,
    mac: MacKey,
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
        let key = suite.key_len()?;
        let iv = match (suite.cipher()?, suite.protection()?) {
            (Cipher::AesGcm | Cipher::AesCcm, Protection::AeadExplicitNonce { .. }) if version == Version::TLS13 => 12,
            (Cipher::AesGcm | Cipher::AesCcm, Protection::AeadExplicitNonce { .. }) => 4,
            (Cipher::ChaCha20Poly1305, _) => 12,
            (Cipher::AesCbc | Cipher::TripleDesCbc, Protection::Cbc { block }) if version == Version::TLS10 => block,
            (Cipher::AesCbc | Cipher::TripleDesCbc, Protection::Cbc { .. }) if version < Version::TLS13 => 0,
            (Cipher::Rc4, Protection::Stream) if version < Version::TLS13 => 0,
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
        let mac = || {
            Some(MacKey {
                key: Secret::new(mac_key),
                hash: suite.mac()?,
            })
        };
        let cbc = |cipher: BlockCipher| {
            Some(Self::Cbc(Box::new(CbcKeys {
                key: Secret::new(key),
                cipher,
                mac: mac()?,
                encrypt_then_mac,
                chained_iv: (version == Version::TLS10).then(|| iv.to_vec()),
            })))
        };
        let (open, tag) = match (suite.cipher()?, suite.protection()?, key.len()) {
            (Cipher::AesGcm, _, 16) => (opener::<Aes128Gcm>(key)?, 16),
            (Cipher::AesGcm, _, 32) => (opener::<Aes256Gcm>(key)?, 16),
            (Cipher::AesCcm, Protection::AeadExplicitNonce { tag: 16 }, 16) => (opener::<Ccm<Aes128, U16, U12>>(key)?, 16),
            (Cipher::AesCcm, Protection::AeadExplicitNonce { tag: 16 }, 32) => (opener::<Ccm<Aes256, U16, U12>>(key)?, 16),
            (Cipher::AesCcm, Protection::AeadExplicitNonce { tag: 8 }, 16) => (opener::<Ccm<Aes128, U8, U12>>(key)?, 8),
            (Cipher::AesCcm, Protection::AeadExplicitNonce { tag: 8 }, 32) => (opener::<Ccm<Aes256, U8, U12>>(key)?, 8),
            (Cipher::ChaCha20Poly1305, ..) => (opener::<ChaCha20Poly1305>(key)?, 16),
            (Cipher::AesCbc, _, 16) => return cbc(BlockCipher::Aes128),
            (Cipher::AesCbc, _, 32) => return cbc(BlockCipher::Aes256),
            (Cipher::TripleDesCbc, _, 24) => return cbc(BlockCipher::TripleDes),
            (Cipher::Rc4, ..) => {
                return Some(Self::Stream(Box::new(StreamKeys {
                    cipher: Rc4::new_from_slice(key).ok()?,
                    ahead: Vec::new(),
                    mac: mac()?,
                })));
            }
            _ => return None,
        };
        Some(Self::Aead {
            open,
            iv: iv.to_vec(),
            explicit_nonce: iv.len() == 4,
            tag,
            tls13: version == Version::TLS13,
        })
    }

    /// The plaintext, if the record is authentic under `sequence`.
    pub(super) fn open(&mut self, sequence: u64, header: RecordHeader, fragment: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Aead {
                open,
                iv,
                explicit_nonce,
                tag,
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
                let plain_length = u16::try_from(sealed.len().checked_sub(*tag)?).ok()?;
                let stated = header.to_bytes();
                let counted = pseudo_header(sequence, header, plain_length);
                let aad: &[u8] = if *tls13 { &stated } else { &counted };
                open(&nonce, Payload { msg: sealed, aad })
            }
            Self::Cbc(keys) => keys.open(sequence, header, fragment),
            Self::Stream(keys) => keys.open(sequence, header, fragment),
        }
    }

    /// Notes that a record went by, opened or not: under TLS 1.0 its last block is the IV of the next, and the key stream of RC4 runs on.
    pub(super) fn advance(&mut self, fragment: &[u8]) {
        match self {
            Self::Aead { .. } => {}
            Self::Cbc(keys) => {
                let outside = if keys.encrypt_then_mac {
                    keys.mac.hash.output_len()
                } else {
                    0
                };
                let sealed = fragment.len().saturating_sub(outside);
                if let Some(iv) = &mut keys.chained_iv
                    && let Some(last) = sealed.checked_sub(iv.len()).and_then(|from| fragment.get(from..sealed))
                {
                    iv.copy_from_slice(last);
                }
            }
            Self::Stream(keys) => keys.pass(fragment.len()),
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

impl MacKey {
    fn verify(&self, sequence: u64, header: RecordHeader, content: &[u8], mac: &[u8]) -> Option<()> {
        let length = u16::try_from(content.len()).ok()?;
        let expected = hmac(
            self.hash,
            self.key.bytes(),
            &[&pseudo_header(sequence, header, length), content],
        );
        (expected == mac).then_some(())
    }
}

impl StreamKeys {
    fn open(&mut self, sequence: u64, header: RecordHeader, fragment: &[u8]) -> Option<Vec<u8>> {
        self.provide(fragment.len());
        let mut plain: Vec<u8> = fragment.iter().zip(&self.ahead).map(|(byte, key)| byte ^ key).collect();
        let content = plain.len().checked_sub(self.mac.hash.output_len())?;
        self.mac.verify(sequence, header, &plain[..content], &plain[content..])?;
        plain.truncate(content);
        Some(plain)
    }

    /// Makes sure that there is key stream for so many bytes.
    fn provide(&mut self, bytes: usize) {
        let there = self.ahead.len();
        if there < bytes {
            self.ahead.resize(bytes, 0);
            self.cipher.apply_keystream(&mut self.ahead[there..]);
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.provide(bytes);
        self.ahead.drain(..bytes);
    }
}

impl CbcKeys {
    fn open(&self, sequence: u64, header: RecordHeader, fragment: &[u8]) -> Option<Vec<u8>> {
        let mac_length = self.mac.hash.output_len();
        let protected = if self.encrypt_then_mac {
            let (protected, mac) = fragment.split_at_checked(fragment.len().checked_sub(mac_length)?)?;
            self.mac.verify(sequence, header, protected, mac)?;
            protected
        } else {
            fragment
        };
        let (iv, sealed) = match &self.chained_iv {
            Some(iv) => (iv.as_slice(), protected),
            None => protected.split_at_checked(self.cipher.block())?,
        };
        let mut plain = self.decrypt(iv, sealed)?;
        // The last byte counts the bytes of padding before it, each of which repeats it.
        let padding = usize::from(*plain.last()?) + 1;
        let unpadded = plain.len().checked_sub(padding)?;
        if plain[unpadded..].iter().any(|&byte| usize::from(byte) + 1 != padding) {
            return None;
        }
        plain.truncate(unpadded);
        if !self.encrypt_then_mac {
            let content = unpadded.checked_sub(mac_length)?;
            self.mac.verify(sequence, header, &plain[..content], &plain[content..])?;
            plain.truncate(content);
        }
        Some(plain)
    }

    fn decrypt(&self, iv: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        fn run<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], plain: &mut [u8]) -> Option<()> {
            let (blocks, _) = Array::slice_as_chunks_mut(plain);
            cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?.decrypt_blocks(blocks);
            Some(())
        }
        if sealed.is_empty() || !sealed.len().is_multiple_of(self.cipher.block()) {
            return None;
        }
        let mut plain = sealed.to_vec();
        let key = self.key.bytes();
        match self.cipher {
            BlockCipher::Aes128 => run::<Aes128>(key, iv, &mut plain)?,
            BlockCipher::Aes256 => run::<Aes256>(key, iv, &mut plain)?,
            BlockCipher::TripleDes => run::<TdesEde3>(key, iv, &mut plain)?,
        }
        Some(plain)
    }
}

impl BlockCipher {
    /// Bytes of a block.
    fn block(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes256 => 16,
            Self::TripleDes => 8,
        }
    }
}
