//! TLS alerts: those in clear, and those that only their size betrays.

use std::fmt;

use crate::protocol::tls::record::{ContentType, RecordHeader, Version};
use crate::protocol::tls::size;
use crate::protocol::tls::suite::CipherSuite;

/// An alert whose two bytes are readable (RFC 8446 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert {
    /// 1 is a warning, 2 is fatal.
    pub level: u8,
    /// What is wrong.
    pub description: u8,
}

impl Alert {
    /// close_notify, the ordinary end.
    pub const CLOSE_NOTIFY: u8 = 0;
    /// unexpected_message: something came that does not belong there.
    pub const UNEXPECTED_MESSAGE: u8 = 10;
    /// decode_error: a message cannot be read, such as one that ends too early.
    pub const DECODE_ERROR: u8 = 50;

    /// Reads a record of type alert before encryption. Two bytes and a level of 1 or 2 are an alert in clear; a
    /// sealed one is longer under every protection but NULL.
    pub fn parse(fragment: &[u8]) -> Option<Self> {
        match *fragment {
            [level @ 1..=2, description] => Some(Self { level, description }),
            _ => None,
        }
    }

    /// Whether the sender gives the connection up. In TLS 1.3 the level is ignored and all but two alerts are fatal.
    pub fn is_fatal(self, version: Version) -> bool {
        if version.stream_equivalent() == Version::TLS13 {
            !matches!(self.description, 0 | 90)
        } else {
            self.level == 2
        }
    }

    /// The name in the registry of TLS alerts.
    pub fn name(self) -> Option<&'static str> {
        description_name(self.description)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            1 => "warning",
            _ => "fatal",
        };
        match self.name() {
            Some(name) => write!(f, "{level} {name} ({})", self.description),
            None => write!(f, "{level} alert {}", self.description),
        }
    }
}

/// The registered name of an alert description.
pub fn description_name(description: u8) -> Option<&'static str> {
    Some(match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// How sure it is that a sealed record is an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedAlert {
    /// The record says so itself: type 21 under TLS 1.2 or older.
    Stated,
    /// TLS 1.3 hides the type, but the content is exactly two bytes, and no message of RDP or CredSSP is so short.
    BySize,
}

/// Whether a record that was sent under encryption is an alert.
///
/// `version` is the one that the ServerHello selected, `suite` its cipher suite. Padding in TLS 1.3, which no
/// known RDP peer adds, hides an alert from this test.
pub fn sealed_alert(header: RecordHeader, version: Version, suite: &CipherSuite) -> Option<SealedAlert> {
    match header.content_type {
        ContentType::ALERT => Some(SealedAlert::Stated),
        ContentType::APPLICATION_DATA if version.stream_equivalent() == Version::TLS13 => {
            let sizes = size::plaintext(header.length, version, suite, false)?;
            (sizes.min == 2 && sizes.max == 2).then_some(SealedAlert::BySize)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_are_an_alert_in_clear() {
        let alert = Alert::parse(&[2, 48]).unwrap();
        assert_eq!(alert.to_string(), "fatal unknown_ca (48)");
        assert_eq!(Alert::parse(&[2, 200]).unwrap().to_string(), "fatal alert 200");
        assert_eq!(Alert::parse(&[0; 26]), None);
        assert_eq!(Alert::parse(&[7, 48]), None);
    }

    #[test]
    fn tls13_ignores_the_level() {
        let alert = Alert {
            level: 1,
            description: 116,
        };
        assert!(alert.is_fatal(Version::TLS13));
        assert!(!alert.is_fatal(Version::TLS12));
        assert!(
            !Alert {
                level: 2,
                description: Alert::CLOSE_NOTIFY
            }
            .is_fatal(Version::TLS13)
        );
    }

    #[test]
    fn sealed_alerts_are_told_by_type_or_size() {
        let record = |content_type, length| RecordHeader {
            content_type,
            version: Version::TLS12,
            length,
        };
        let sealed = |kind, length, version, suite| sealed_alert(record(kind, length), version, &CipherSuite::new(suite));
        assert_eq!(
            sealed(ContentType::ALERT, 26, Version::TLS12, 0xC030),
            Some(SealedAlert::Stated)
        );
        assert_eq!(
            sealed(ContentType::APPLICATION_DATA, 19, Version::TLS13, 0x1302),
            Some(SealedAlert::BySize)
        );
        assert_eq!(sealed(ContentType::APPLICATION_DATA, 21, Version::TLS13, 0x1302), None);
        assert_eq!(sealed(ContentType::APPLICATION_DATA, 26, Version::TLS12, 0xC030), None);
    }
}
