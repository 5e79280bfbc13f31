//! X.509 certificates: the facts that decide whether a Remote Desktop client trusts its server.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{Oid, OidRegistry};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::protocol::Flaw;

/// Object identifier of Windows' key usage "Remote Desktop Authentication".
const REMOTE_DESKTOP_AUTHENTICATION: &str = "1.3.6.1.4.1.311.54.1.2";

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The whole subject, as text.
    pub subject: String,
    /// The whole issuer, as text.
    pub issuer: String,
    /// The subject's common name; the most specific one where there are several.
    pub common_name: Option<String>,
    /// DNS names of the subject alternative name.
    pub dns_names: Vec<String>,
    /// Addresses of the subject alternative name.
    pub ip_addresses: Vec<IpAddr>,
    /// First second of its validity, in seconds since 1970-01-01 UTC.
    pub not_before: i64,
    /// Last second of its validity, in seconds since 1970-01-01 UTC.
    pub not_after: i64,
    /// The public key.
    pub key: KeyKind,
    /// Bits of the public key; 0 where that is not known.
    pub key_bits: usize,
    /// The signature algorithm's name, or its object identifier.
    pub signature_algorithm: String,
    /// Issuer and subject are equal byte for byte. The signature itself is not verified.
    pub self_signed: bool,
    /// It may sign other certificates.
    pub is_ca: bool,
    /// Extended key usage; `None` where the extension is absent, which allows every use.
    pub extended_key_usage: Option<ExtendedKeyUsage>,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 over the whole certificate.
    pub sha256: [u8; 32],
}

/// The kind of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// A point on an elliptic curve.
    EllipticCurve,
    /// DSA.
    Dsa,
    /// Any other, by object identifier.
    Other(String),
}

/// The uses that a certificate is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// serverAuth, or anyExtendedKeyUsage.
    pub server_auth: bool,
    /// clientAuth, or anyExtendedKeyUsage.
    pub client_auth: bool,
    /// Windows' "Remote Desktop Authentication".
    pub remote_desktop: bool,
}

/// How a moment stands to a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Seconds until it begins.
    NotYet(i64),
    /// Within.
    Valid,
    /// Seconds since it ended.
    Expired(i64),
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// When the bytes are not an X.509 certificate; the place is always its start.
    pub fn parse(der: &[u8]) -> Result<Self, Flaw> {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Err(Flaw {
                at: 0,
                why: "the certificate is not X.509 in DER",
            });
        };
        let subject = certificate.subject();
        let issuer = certificate.issuer();
        let (key, key_bits) = key(certificate.public_key());
        let mut dns_names = Vec::new();
        let mut ip_addresses = Vec::new();
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => ip_addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        let extended_key_usage = certificate.extended_key_usage().ok().flatten().map(|usage| ExtendedKeyUsage {
            server_auth: usage.value.server_auth || usage.value.any,
            client_auth: usage.value.client_auth || usage.value.any,
            remote_desktop: usage
                .value
                .other
                .iter()
                .any(|oid| oid.to_id_string() == REMOTE_DESKTOP_AUTHENTICATION),
        });
        Ok(Self {
            subject: subject.to_string(),
            issuer: issuer.to_string(),
            common_name: common_name(subject),
            dns_names,
            ip_addresses,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            key,
            key_bits,
            signature_algorithm: algorithm_name(&certificate.signature_algorithm.algorithm),
            self_signed: subject.as_raw() == issuer.as_raw(),
            is_ca: certificate.is_ca(),
            extended_key_usage,
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            sha256: Sha256::digest(der).into(),
        })
    }

    /// How `unix_seconds` stands to the validity; both ends belong to it.
    pub fn validity_at(&self, unix_seconds: i64) -> Validity {
        if unix_seconds < self.not_before {
            Validity::NotYet(self.not_before.saturating_sub(unix_seconds))
        } else if unix_seconds > self.not_after {
            Validity::Expired(unix_seconds.saturating_sub(self.not_after))
        } else {
            Validity::Valid
        }
    }

    /// Whether a user who typed `name`, a host name or an address, gets what the certificate promises (RFC 6125 6).
    ///
    /// A wildcard stands for exactly one label, the leftmost. The common name counts only where there is no
    /// DNS name: as mstsc does, and as self-signed Remote Desktop certificates need, whose common name is all they
    /// have. An address is compared with the addresses, and with the common name as text.
    pub fn matches_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(address) = address {
            let text = || self.common_name.as_deref().and_then(|common| common.parse().ok());
            return self.ip_addresses.contains(&address)
                || (self.dns_names.is_empty() && self.ip_addresses.is_empty() && text() == Some(address));
        }
        if self.dns_names.is_empty() {
            return self.common_name.as_deref().is_some_and(|pattern| name_fits(pattern, name));
        }
        self.dns_names.iter().any(|pattern| name_fits(pattern, name))
    }

    /// SHA-256 over the certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn name_fits(pattern: &str, name: &str) -> bool {
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    if let Some(parent) = pattern.strip_prefix("*.") {
        return name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent));
    }
    !name.is_empty() && pattern.eq_ignore_ascii_case(name)
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let attribute = name.iter_common_name().last()?;
    match attribute.as_str() {
        Ok(text) => Some(text.to_owned()),
        Err(_) => {
            // BMPString, which old Windows authorities write, and anything else that is not UTF-8.
            let bytes = attribute.as_slice();
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            let bmp = attribute.attr_value().header.tag().0 == 30;
            Some(if bmp {
                String::from_utf16_lossy(&units)
            } else {
                String::from_utf8_lossy(bytes).into_owned()
            })
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> (KeyKind, usize) {
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            // Bits of the modulus without the leading zeros that DER may need.
            let modulus = rsa.modulus;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let bits = modulus
                .get(zeros)
                .map_or(0, |first| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize);
            (KeyKind::Rsa, bits)
        }
        Ok(PublicKey::EC(_)) => (KeyKind::EllipticCurve, curve_bits(info)),
        Ok(PublicKey::DSA(y)) => (KeyKind::Dsa, y.len() * 8),
        _ => (KeyKind::Other(info.algorithm.algorithm.to_id_string()), 0),
    }
}

/// The size of a named curve, else of the point's coordinate.
fn curve_bits(info: &SubjectPublicKeyInfo<'_>) -> usize {
    let named = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok());
    match named.map(|oid| oid.to_id_string()).as_deref() {
        Some("1.2.840.10045.3.1.7") => 256,
        Some("1.3.132.0.34") => 384,
        Some("1.3.132.0.35") => 521,
        _ => info.parsed().map_or(0, |key| key.key_size()),
    }
}

fn algorithm_name(oid: &Oid<'_>) -> String {
    let registry = OidRegistry::default().with_crypto();
    registry
        .get(oid)
        .map_or_else(|| oid.to_id_string(), |entry| entry.sn().to_owned())
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
