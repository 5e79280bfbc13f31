//! Tests of certificate reading against two certificates that OpenSSL made.

use super::*;
use crate::protocol::bytes::hex;

/// RSA 2048, with names, addresses and two uses.
const RSA: &str = include_str!("certificate_rsa.hex");
/// P-256, with nothing but a common name.
const EC: &str = include_str!("certificate_ec.hex");

fn rsa() -> Certificate {
    Certificate::parse(&hex(RSA)).unwrap()
}

fn ec() -> Certificate {
    Certificate::parse(&hex(EC)).unwrap()
}

#[test]
fn a_certificate_is_read() {
    let certificate = rsa();
    assert_eq!(certificate.subject, "O=Lab, CN=rds.example.com");
    assert_eq!(certificate.issuer, certificate.subject);
    assert_eq!(certificate.common_name.as_deref(), Some("rds.example.com"));
    assert_eq!(certificate.dns_names, ["rds.example.com", "*.rds.example.com"]);
    assert_eq!(
        certificate.ip_addresses,
        ["192.0.2.10".parse::<IpAddr>().unwrap(), "2001:db8::10".parse().unwrap()]
    );
    assert!(certificate.self_signed);
    assert_eq!((certificate.key.clone(), certificate.key_bits), (KeyKind::Rsa, 2048));
    assert_eq!(certificate.signature_algorithm, "sha256WithRSAEncryption");
    assert_eq!(certificate.serial, "16ed2aa0495f259d");
    let usage = ExtendedKeyUsage {
        server_auth: true,
        client_auth: false,
        remote_desktop: true,
    };
    assert_eq!(certificate.extended_key_usage, Some(usage));
    assert_eq!(
        (certificate.not_before, certificate.not_after),
        (1_795_197_235, 2_110_557_235)
    );
    assert_eq!(
        certificate.fingerprint(),
        "026bceebfb13c9e2570217bf38f81eae8d6ead8af0f1e3339e83e8c25cc9d6c6"
    );
}

#[test]
fn a_key_on_a_curve_is_read() {
    let certificate = ec();
    assert_eq!((certificate.key, certificate.key_bits), (KeyKind::EllipticCurve, 256));
    assert_eq!(certificate.signature_algorithm, "ecdsa-with-SHA256");
    assert_eq!(certificate.extended_key_usage, None);
}

#[test]
fn validity_depends_on_the_time_that_is_given() {
    let certificate = rsa();
    assert_eq!(certificate.validity_at(1_795_197_234), Validity::NotYet(1));
    assert_eq!(certificate.validity_at(1_795_197_235), Validity::Valid);
    assert_eq!(certificate.validity_at(2_110_557_235), Validity::Valid);
    assert_eq!(certificate.validity_at(2_110_557_245), Validity::Expired(10));
}

#[test]
fn names_are_compared_label_by_label() {
    let certificate = rsa();
    assert!(certificate.matches_name("RDS.Example.com."));
    assert!(certificate.matches_name("host.rds.example.com"));
    assert!(!certificate.matches_name("a.host.rds.example.com"));
    assert!(!certificate.matches_name(".rds.example.com"));
    assert!(!certificate.matches_name("rds"));
    assert!(!certificate.matches_name(""));
    assert!(certificate.matches_name("192.0.2.10"));
    assert!(certificate.matches_name("[2001:DB8::10]"));
    assert!(!certificate.matches_name("192.0.2.11"));
}

#[test]
fn the_common_name_counts_only_without_other_names() {
    let mut certificate = ec();
    assert!(certificate.matches_name("win-old"));
    assert!(!certificate.matches_name("192.0.2.10"));
    certificate.dns_names = vec!["other.example.com".into()];
    assert!(!certificate.matches_name("win-old"));
    certificate.dns_names.clear();
    certificate.common_name = Some("192.0.2.10".into());
    assert!(certificate.matches_name("192.0.2.10"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(flips in proptest::collection::vec((0_usize..915, 0_u8..), 0..8), cut in 0_usize..1000) {
        let mut der = hex(RSA);
        for (at, value) in flips {
            if let Some(byte) = der.get_mut(at) {
                *byte = value;
            }
        }
        der.truncate(cut);
        if let Ok(certificate) = Certificate::parse(&der) {
            certificate.matches_name("host.example.com");
            certificate.validity_at(0);
        }
    }
}
