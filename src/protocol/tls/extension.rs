//! Extensions of the hellos: numbers, names, and walking over them.

use crate::protocol::bytes::Reader;

/// server_name.
pub const SERVER_NAME: u16 = 0;
/// supported_groups.
pub const SUPPORTED_GROUPS: u16 = 10;
/// signature_algorithms.
pub const SIGNATURE_ALGORITHMS: u16 = 13;
/// application_layer_protocol_negotiation.
pub const ALPN: u16 = 16;
/// encrypt_then_mac (RFC 7366).
pub const ENCRYPT_THEN_MAC: u16 = 22;
/// extended_master_secret (RFC 7627).
pub const EXTENDED_MASTER_SECRET: u16 = 23;
/// session_ticket (RFC 5077).
pub const SESSION_TICKET: u16 = 35;
/// pre_shared_key.
pub const PRE_SHARED_KEY: u16 = 41;
/// early_data.
pub const EARLY_DATA: u16 = 42;
/// supported_versions.
pub const SUPPORTED_VERSIONS: u16 = 43;
/// certificate_authorities.
pub const CERTIFICATE_AUTHORITIES: u16 = 47;
/// key_share.
pub const KEY_SHARE: u16 = 51;
/// renegotiation_info (RFC 5746).
pub const RENEGOTIATION_INFO: u16 = 0xFF01;

/// Whether a number is one of those that stand for nothing and test a peer's tolerance (RFC 8701).
pub fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && high & 0x0F == 0x0A
}

/// The registered name of a group for key exchange.
pub fn group_name(group: u16) -> Option<&'static str> {
    Some(match group {
        21 => "secp224r1",
        23 => "secp256r1",
        24 => "secp384r1",
        25 => "secp521r1",
        26 => "brainpoolP256r1",
        27 => "brainpoolP384r1",
        28 => "brainpoolP512r1",
        29 => "x25519",
        30 => "x448",
        256 => "ffdhe2048",
        257 => "ffdhe3072",
        258 => "ffdhe4096",
        259 => "ffdhe6144",
        260 => "ffdhe8192",
        0x11EB => "SecP256r1MLKEM768",
        0x11EC => "X25519MLKEM768",
        _ => return None,
    })
}

/// Walks over an extension block, without its length. The last item is an error where the block breaks off.
pub(super) fn walk(block: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), usize>> {
    let mut reader = Reader::new(block);
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || reader.is_empty() {
            return None;
        }
        let start = reader.position();
        match reader.u16_be().and_then(|kind| Some((kind, reader.vec16_be()?))) {
            Some(extension) => Some(Ok(extension)),
            None => {
                broken = true;
                Some(Err(start))
            }
        }
    })
}

/// The first host name of a server_name extension.
pub(super) fn server_name(body: &[u8]) -> Option<String> {
    host_name(body).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// [`server_name`] as it stands there.
pub(super) fn host_name(body: &[u8]) -> Option<&[u8]> {
    let mut names = Reader::new(Reader::new(body).vec16_be()?);
    while let (Some(kind), Some(name)) = (names.u8(), names.vec16_be()) {
        if kind == 0 {
            return Some(name);
        }
    }
    None
}

/// The protocol names of an ALPN extension.
pub(super) fn alpn(body: &[u8]) -> Vec<String> {
    let mut names = Reader::new(Reader::new(body).vec16_be().unwrap_or_default());
    std::iter::from_fn(|| names.vec8())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// Whether an ALPN extension names HTTP/2.
pub(super) fn offers_http2(body: &[u8]) -> bool {
    let mut names = Reader::new(Reader::new(body).vec16_be().unwrap_or_default());
    std::iter::from_fn(|| names.vec8()).any(|name| name == b"h2")
}

/// The groups for which a ClientHello's key_share extension carries a key.
pub(super) fn key_share_groups(body: &[u8]) -> Vec<u16> {
    let mut shares = Reader::new(Reader::new(body).vec16_be().unwrap_or_default());
    std::iter::from_fn(|| {
        let group = shares.u16_be()?;
        shares.vec16_be()?;
        Some(group)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_told_from_the_rest() {
        assert!(is_grease(0x0A0A) && is_grease(0xFAFA));
        assert!(!is_grease(0x0A1A) && !is_grease(0x1301) && !is_grease(0x0B0B));
    }

    #[test]
    fn a_block_that_breaks_off_gives_what_it_has() {
        let block = [0, 23, 0, 0, 0, 16, 0, 9, 1];
        let seen: Vec<_> = walk(&block).collect();
        assert_eq!(seen, [Ok((23, &[][..])), Err(4)]);
    }
}
