//! From the secrets of a key log to the keys of a connection (RFC 2246 5, RFC 5246 5, RFC 8446 7).

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384};

use crate::protocol::tls::record::Version;
use crate::protocol::tls::suite::Hash;

/// HMAC over the parts, one after another.
pub(super) fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        // HMAC takes a key of any length; the error exists for other kinds of MAC.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
            return Vec::new();
        };
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
    match hash {
        Hash::Md5 => run::<Hmac<Md5>>(key, parts),
        Hash::Sha1 => run::<Hmac<Sha1>>(key, parts),
        Hash::Sha256 => run::<Hmac<Sha256>>(key, parts),
        Hash::Sha384 => run::<Hmac<Sha384>>(key, parts),
    }
}

/// P_hash of RFC 5246 5.
fn p_hash(hash: Hash, secret: &[u8], seed: &[&[u8]], length: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(length + hash.output_len());
    let mut a = hmac(hash, secret, seed);
    while output.len() < length {
        let parts: Vec<&[u8]> = std::iter::once(a.as_slice()).chain(seed.iter().copied()).collect();
        output.extend(hmac(hash, secret, &parts));
        a = hmac(hash, secret, &[&a]);
    }
    output.truncate(length);
    output
}

/// The pseudo-random function of TLS 1.0 to 1.2. `hash` is that of the suite and counts for TLS 1.2 only.
fn prf(version: Version, hash: Hash, secret: &[u8], seed: &[&[u8]], length: usize) -> Vec<u8> {
    if version >= Version::TLS12 {
        return p_hash(hash, secret, seed, length);
    }
    let half = secret.len().div_ceil(2);
    let mut output = p_hash(Hash::Md5, &secret[..half], seed, length);
    let other = p_hash(Hash::Sha1, &secret[secret.len() - half..], seed, length);
    output.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
    output
}

/// The key block of TLS 1.0 to 1.2.
pub(super) fn key_block(
    version: Version,
    hash: Hash,
    master: &[u8],
    server_random: &[u8; 32],
    client_random: &[u8; 32],
    length: usize,
) -> Vec<u8> {
    prf(
        version,
        hash,
        master,
        &[b"key expansion", server_random, client_random],
        length,
    )
}

/// HKDF-Expand-Label with an empty context. `None` where the secret is shorter than the hash's output, or too much is wanted.
pub(super) fn expand_label(hash: Hash, secret: &[u8], label: &str, length: usize) -> Option<Vec<u8>> {
    let mut info = u16::try_from(length).ok()?.to_be_bytes().to_vec();
    info.push(u8::try_from(6 + label.len()).ok()?);
    info.extend_from_slice(b"tls13 ");
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    let mut output = vec![0; length];
    let expanded = match hash {
        Hash::Sha256 => Hkdf::<Sha256>::from_prk(secret).ok()?.expand(&info, &mut output),
        Hash::Sha384 => Hkdf::<Sha384>::from_prk(secret).ok()?.expand(&info, &mut output),
        Hash::Md5 | Hash::Sha1 => return None,
    };
    expanded.ok().map(|()| output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;

    /// The published test vector for the PRF of TLS 1.2 with SHA-256.
    #[test]
    fn the_prf_gives_the_known_answer() {
        let secret = hex("9bbe436ba940f017b17652849a71db35");
        let seed = hex("a0ba9f936cda311827a6f796ffd5198c");
        let output = prf(Version::TLS12, Hash::Sha256, &secret, &[b"test label", &seed], 100);
        assert_eq!(output[..16], hex("e3f229ba727be17b8d122620557cd453"));
    }

    /// RFC 8448 3: the server's handshake traffic secret and its key and IV.
    #[test]
    fn labels_expand_to_the_known_answer() {
        let secret = hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38");
        assert_eq!(
            expand_label(Hash::Sha256, &secret, "key", 16),
            Some(hex("3fce516009c21727d0f2e4e86ee403bc"))
        );
        assert_eq!(
            expand_label(Hash::Sha256, &secret, "iv", 12),
            Some(hex("5d313eb2671276ee13000b30"))
        );
        assert_eq!(
            expand_label(Hash::Sha384, &secret, "key", 16),
            None,
            "the secret is too short for SHA-384"
        );
    }
}
