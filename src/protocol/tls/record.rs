//! The TLS record layer: the five-byte header, and the SSL 2.0 form of a ClientHello.

use std::fmt;

use crate::protocol::bytes::{Reader, u16_list_be};
use crate::protocol::tls::hello::ClientHello;
use crate::protocol::{Flaw, Parsed};

/// Bytes of a record header.
pub const HEADER_LEN: usize = 5;

/// The longest fragment that any version allows: 2^14 plus 2048 for the protection (RFC 5246 6.2.3).
pub const MAX_FRAGMENT: usize = 16_384 + 2_048;

/// A protocol version as it stands on the wire, TLS or DTLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16);

impl Version {
    /// SSL 2.0, seen only in ClientHellos of the old form.
    pub const SSL2: Self = Self(0x0002);
    /// SSL 3.0.
    pub const SSL3: Self = Self(0x0300);
    /// TLS 1.0.
    pub const TLS10: Self = Self(0x0301);
    /// TLS 1.1.
    pub const TLS11: Self = Self(0x0302);
    /// TLS 1.2.
    pub const TLS12: Self = Self(0x0303);
    /// TLS 1.3.
    pub const TLS13: Self = Self(0x0304);
    /// DTLS 1.0.
    pub const DTLS10: Self = Self(0xFEFF);
    /// DTLS 1.2.
    pub const DTLS12: Self = Self(0xFEFD);
    /// DTLS 1.3.
    pub const DTLS13: Self = Self(0xFEFC);

    /// The usual name, if the number is a known version.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::SSL2 => "SSL 2.0",
            Self::SSL3 => "SSL 3.0",
            Self::TLS10 => "TLS 1.0",
            Self::TLS11 => "TLS 1.1",
            Self::TLS12 => "TLS 1.2",
            Self::TLS13 => "TLS 1.3",
            Self::DTLS10 => "DTLS 1.0",
            Self::DTLS12 => "DTLS 1.2",
            Self::DTLS13 => "DTLS 1.3",
            _ => return None,
        })
    }

    /// Whether the numbering is that of DTLS, which counts downwards.
    pub fn is_datagram(self) -> bool {
        self.0 >= 0xFE00
    }

    /// The TLS version with the same rules: DTLS 1.0 is TLS 1.1, DTLS 1.2 is TLS 1.2 (RFC 6347 1).
    pub fn stream_equivalent(self) -> Self {
        match self {
            Self::DTLS10 => Self::TLS11,
            Self::DTLS12 => Self::TLS12,
            Self::DTLS13 => Self::TLS13,
            other => other,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "version 0x{:04x}", self.0),
        }
    }
}

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(pub u8);

impl ContentType {
    /// ChangeCipherSpec.
    pub const CHANGE_CIPHER_SPEC: Self = Self(20);
    /// An alert, in clear or sealed.
    pub const ALERT: Self = Self(21);
    /// Handshake messages, in clear or sealed.
    pub const HANDSHAKE: Self = Self(22);
    /// Application data; in TLS 1.3 everything that is sealed.
    pub const APPLICATION_DATA: Self = Self(23);
    /// Heartbeat (RFC 6520).
    pub const HEARTBEAT: Self = Self(24);

    /// The name in RFC 8446.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::CHANGE_CIPHER_SPEC => "change_cipher_spec",
            Self::ALERT => "alert",
            Self::HANDSHAKE => "handshake",
            Self::APPLICATION_DATA => "application_data",
            Self::HEARTBEAT => "heartbeat",
            _ => return None,
        })
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// What the record says that it carries.
    pub content_type: ContentType,
    /// The record layer's version, which is not the one that the hellos agree on.
    pub version: Version,
    /// Bytes of the fragment, without the header.
    pub length: u16,
}

impl RecordHeader {
    /// The five bytes as they stand on the wire, which TLS 1.3 authenticates.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [major, minor] = self.version.0.to_be_bytes();
        let [high, low] = self.length.to_be_bytes();
        [self.content_type.0, major, minor, high, low]
    }
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The header.
    pub header: RecordHeader,
    /// The bytes after it, sealed or not.
    pub fragment: &'a [u8],
}

/// Reads a record header. Content types 20 to 24 and versions 3.0 to 3.4 are TLS.
pub fn header(bytes: &[u8]) -> Parsed<RecordHeader> {
    let mine = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| test(byte));
    if !(mine(0, |b| (20..=24).contains(&b)) && mine(1, |b| b == 3) && mine(2, |b| b <= 4)) {
        return Parsed::NotMine;
    }
    let Some(&[content_type, major, minor, high, low]) = bytes.first_chunk::<HEADER_LEN>() else {
        return Parsed::More;
    };
    let length = u16::from_be_bytes([high, low]);
    if usize::from(length) > MAX_FRAGMENT {
        return Parsed::Malformed(Flaw {
            at: 3,
            why: "a TLS record is longer than 2^14 + 2048 bytes",
        });
    }
    let content_type = ContentType(content_type);
    // Only application data may be empty (RFC 5246 6.2.1).
    if length == 0 && content_type != ContentType::APPLICATION_DATA {
        return Parsed::Malformed(Flaw {
            at: 3,
            why: "a TLS record of this type may not be empty",
        });
    }
    let version = Version(u16::from_be_bytes([major, minor]));
    Parsed::Done(
        RecordHeader {
            content_type,
            version,
            length,
        },
        HEADER_LEN,
    )
}

/// Reads a whole record.
pub fn record(bytes: &[u8]) -> Parsed<Record<'_>> {
    let header = match header(bytes) {
        Parsed::Done(header, _) => header,
        Parsed::More => return Parsed::More,
        Parsed::NotMine => return Parsed::NotMine,
        Parsed::Malformed(flaw) => return Parsed::Malformed(flaw),
    };
    let end = HEADER_LEN + usize::from(header.length);
    match bytes.get(HEADER_LEN..end) {
        Some(fragment) => Parsed::Done(Record { header, fragment }, end),
        None => Parsed::More,
    }
}

/// Reads a ClientHello in the form of SSL 2.0, which old clients send to offer SSL 3.0 or TLS (RFC 5246 E.2).
///
/// Strict, because its first byte says little: the lengths must add up to the record.
pub fn sslv2_client_hello(bytes: &[u8]) -> Parsed<ClientHello> {
    let mine = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| test(byte));
    // Two-byte header with the top bit set, message type 1, version 0.2 or 3.x.
    if !(mine(0, |b| b & 0x80 != 0) && mine(2, |b| b == 1) && mine(3, |b| b == 0 || b == 3)) {
        return Parsed::NotMine;
    }
    let Some(&[high, low, _, major, minor, s1, s0, i1, i0, c1, c0]) = bytes.first_chunk::<11>() else {
        return Parsed::More;
    };
    let version = Version(u16::from_be_bytes([major, minor]));
    let length = usize::from(u16::from_be_bytes([high & 0x7F, low]));
    let suites = usize::from(u16::from_be_bytes([s1, s0]));
    let session_id = usize::from(u16::from_be_bytes([i1, i0]));
    let challenge = usize::from(u16::from_be_bytes([c1, c0]));
    let known = version == Version::SSL2 || (Version::SSL3..=Version::TLS12).contains(&version);
    if !known
        || length != 9 + suites + session_id + challenge
        || !suites.is_multiple_of(3)
        || suites == 0
        || !(session_id == 0 || session_id == 16)
        || !(16..=32).contains(&challenge)
    {
        return Parsed::NotMine;
    }
    let Some(body) = bytes.get(11..2 + length) else {
        return Parsed::More;
    };
    let mut reader = Reader::new(body);
    let (Some(specs), Some(id), Some(challenge)) = (reader.take(suites), reader.take(session_id), reader.take(challenge)) else {
        return Parsed::More;
    };
    // A cipher spec that starts with zero is a TLS cipher suite; others exist in SSL 2.0 only.
    let tls_suites: Vec<u8> = specs
        .chunks_exact(3)
        .filter(|spec| spec[0] == 0)
        .flat_map(|spec| [spec[1], spec[2]])
        .collect();
    // The challenge is the random, filled with zeros on the left.
    let mut random = [0; 32];
    random[32 - challenge.len()..].copy_from_slice(challenge);
    let hello = ClientHello {
        legacy_version: version,
        random,
        session_id: id.to_vec(),
        cipher_suites: u16_list_be(&tls_suites),
        compression_methods: vec![0],
        sslv2_form: true,
        ..ClientHello::default()
    };
    Parsed::Done(hello, 2 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_needs_all_its_bytes() {
        let bytes = [21, 3, 3, 0, 2, 2, 70];
        for end in 0..bytes.len() {
            assert_eq!(record(&bytes[..end]), Parsed::More, "{end} bytes");
        }
        let Parsed::Done(alert, 7) = record(&bytes) else {
            panic!("a whole record")
        };
        assert_eq!(alert.header.content_type, ContentType::ALERT);
        assert_eq!(alert.header.version, Version::TLS12);
        assert_eq!(alert.fragment, [2, 70]);
        assert_eq!(alert.header.to_bytes(), bytes[..5]);
    }

    #[test]
    fn other_protocols_are_not_tls() {
        for bytes in [
            &b"HTTP/1.1 400"[..],
            &[3, 0, 0, 19, 14],
            &[22, 2, 0, 0, 1],
            &[22, 3, 9, 0, 1],
            b"\x16H",
        ] {
            assert_eq!(header(bytes), Parsed::NotMine);
        }
    }

    #[test]
    fn lengths_are_held_to_the_rules() {
        assert!(matches!(
            header(&[23, 3, 3, 0x48, 0x01]),
            Parsed::Malformed(Flaw { at: 3, .. })
        ));
        assert!(matches!(header(&[23, 3, 3, 0x48, 0x00]), Parsed::Done(..)));
        assert!(matches!(header(&[23, 3, 3, 0, 0]), Parsed::Done(..)));
        assert!(matches!(header(&[22, 3, 3, 0, 0]), Parsed::Malformed(_)));
    }

    #[test]
    fn an_sslv2_hello_is_read() {
        let mut bytes = vec![0x80, 9 + 9 + 16, 1, 3, 1, 0, 9, 0, 0, 0, 16];
        bytes.extend([0, 0, 0x2F, 1, 0, 0x80, 0, 0, 0x35]);
        bytes.extend(1..=16);
        let Parsed::Done(hello, used) = sslv2_client_hello(&bytes) else {
            panic!("a ClientHello")
        };
        assert_eq!(used, bytes.len());
        assert!(hello.sslv2_form);
        assert_eq!(hello.legacy_version, Version::TLS10);
        assert_eq!(hello.cipher_suites, [0x2F, 0x35]);
        assert_eq!(hello.random[..16], [0; 16]);
        assert_eq!(hello.random[31], 16);
        bytes[6] = 8;
        assert_eq!(sslv2_client_hello(&bytes), Parsed::NotMine);
    }

    #[test]
    fn unknown_versions_keep_their_number() {
        assert_eq!(Version(0x7F1C).to_string(), "version 0x7f1c");
        assert_eq!(Version::DTLS12.to_string(), "DTLS 1.2");
        assert!(Version::DTLS12.is_datagram());
    }
}
