//! Tests of decryption on real connections: of OpenSSL with itself, and of Windows where the shared captures are at hand.

use super::*;
use crate::protocol::Parsed;
use crate::protocol::tls::handshake::Handshake;
use crate::protocol::tls::peers::{Connection, has_openssl, openssl, openssl_with, windows_capture};
use crate::protocol::tls::record::{HEADER_LEN, record};
use crate::protocol::tls::size;

fn records(stream: &[u8]) -> Vec<(RecordHeader, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Parsed::Done(record, used) = record(&stream[at..]) {
        found.push((record.header, record.fragment));
        at += used;
    }
    found
}

fn hellos(connection: &Connection) -> (ClientHello, ServerHello) {
    let messages = |stream: &[u8]| -> Vec<Handshake> {
        let mut buffer = HandshakeBuffer::default();
        let handshake = records(stream)
            .into_iter()
            .filter(|(header, _)| header.content_type == ContentType::HANDSHAKE);
        let raw: Vec<_> = handshake.flat_map(|(_, fragment)| buffer.push(fragment)).collect();
        raw.iter()
            .filter_map(|message| Handshake::parse(message, None).ok())
            .collect()
    };
    let client = messages(&connection.client).into_iter().find_map(|message| match message {
        Handshake::ClientHello(hello) => Some(*hello),
        _ => None,
    });
    let server = messages(&connection.server).into_iter().find_map(|message| match message {
        Handshake::ServerHello(hello) if !hello.hello_retry_request => Some(*hello),
        _ => None,
    });
    (client.expect("a ClientHello"), server.expect("a ServerHello"))
}

fn decryptor(connection: &Connection) -> Result<Decryptor, WhyNoKeys> {
    let (client, server) = hellos(connection);
    let mut log = KeyLog::default();
    log.add(&connection.key_log);
    Decryptor::new(&client, &server, &log)
}

/// Everything that both directions say, and the application data alone.
fn open_all(connection: &Connection) -> (Vec<Plain>, Vec<Plain>) {
    let mut decryptor = decryptor(connection).expect("keys");
    let (_, hello) = hellos(connection);
    let suite = CipherSuite::new(hello.cipher_suite);
    let mut open = |sender, stream: &[u8]| -> Vec<Plain> {
        records(stream)
            .into_iter()
            .map(|(header, fragment)| {
                let plain = decryptor
                    .record(sender, header, fragment)
                    .unwrap_or_else(|why| panic!("{sender:?} {header:?}: {why:?}"));
                if plain.sealed {
                    let range = size::plaintext(header.length, hello.version(), &suite, hello.encrypt_then_mac).expect("a size");
                    assert!(range.contains(plain.bytes.len()), "{range:?} for {} bytes", plain.bytes.len());
                }
                plain
            })
            .collect()
    };
    (
        open(Sender::Client, &connection.client),
        open(Sender::Server, &connection.server),
    )
}

fn application_data(plains: &[Plain]) -> String {
    let data = plains
        .iter()
        .filter(|plain| plain.sealed && plain.content_type == ContentType::APPLICATION_DATA);
    data.map(|plain| String::from_utf8_lossy(&plain.bytes).into_owned()).collect()
}

/// Every protection that Windows, FreeRDP and xrdp agree on, against OpenSSL.
#[test]
fn connections_of_openssl_are_opened() {
    if !has_openssl() {
        return;
    }
    let cases: [(&[&str], bool, Version, u16); 25] = [
        (
            &["-tls1", "-cipher", "ECDHE-RSA-AES256-SHA:@SECLEVEL=0"],
            false,
            Version::TLS10,
            0xC014,
        ),
        (&["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"], true, Version::TLS10, 0x002F),
        (
            &["-tls1_1", "-cipher", "AES256-SHA:@SECLEVEL=0"],
            false,
            Version::TLS11,
            0x0035,
        ),
        (
            &["-tls1_1", "-cipher", "ECDHE-RSA-AES128-SHA:@SECLEVEL=0"],
            true,
            Version::TLS11,
            0xC013,
        ),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA"], false, Version::TLS12, 0xC014),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
            false,
            Version::TLS12,
            0xC027,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"],
            false,
            Version::TLS12,
            0xC028,
        ),
        (&["-tls1_2", "-cipher", "AES256-SHA256"], false, Version::TLS12, 0x003D),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA"], true, Version::TLS12, 0xC014),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"],
            true,
            Version::TLS12,
            0xC027,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"],
            true,
            Version::TLS12,
            0xC028,
        ),
        (&["-tls1_2", "-cipher", "AES128-SHA"], true, Version::TLS12, 0x002F),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            true,
            Version::TLS12,
            0xC02F,
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
            true,
            Version::TLS12,
            0xC030,
        ),
        (&["-tls1_2", "-cipher", "AES256-GCM-SHA384"], true, Version::TLS12, 0x009D),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
            true,
            Version::TLS12,
            0xCCA8,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
            true,
            Version::TLS13,
            0x1301,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
            true,
            Version::TLS13,
            0x1302,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
            true,
            Version::TLS13,
            0x1303,
        ),
        (&["-tls1_2", "-cipher", "AES128-CCM"], true, Version::TLS12, 0xC09C),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES256-CCM"], true, Version::TLS12, 0xC09F),
        (&["-tls1_2", "-cipher", "AES256-CCM8"], true, Version::TLS12, 0xC0A1),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"],
            true,
            Version::TLS13,
            0x1304,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_8_SHA256"],
            true,
            Version::TLS13,
            0x1305,
        ),
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "P-384"],
            true,
            Version::TLS13,
            0x1301,
        ),
    ];
    for (options, encrypt_then_mac, version, suite) in cases {
        let tls13 = version == Version::TLS13;
        let connection = openssl(options, encrypt_then_mac, tls13.then_some(("K", "KEYUPDATE")));
        let (_, hello) = hellos(&connection);
        assert_eq!((hello.version(), hello.cipher_suite), (version, suite), "{options:?}");
        let cbc = CipherSuite::new(suite).mac().is_some();
        assert_eq!(hello.encrypt_then_mac, cbc && encrypt_then_mac, "{options:?}");
        let (client, server) = open_all(&connection);
        let long = "x".repeat(3000);
        assert_eq!(
            application_data(&client),
            format!("first line\nsecond {long}\n"),
            "{options:?}"
        );
        assert_eq!(
            application_data(&server),
            format!("enil tsrif\n{long} dnoces\n"),
            "{options:?}"
        );
        let last = client.last().unwrap();
        assert_eq!(
            (last.content_type, last.bytes.as_slice()),
            (ContentType::ALERT, &[1, 0][..]),
            "close_notify"
        );
    }
}

#[test]
fn a_second_hello_changes_nothing() {
    if !has_openssl() {
        return;
    }
    let connection = openssl_with(
        &["-tls1_3", "-groups", "X25519:P-384"],
        &["-tls1_3", "-groups", "P-384"],
        false,
        None,
    );
    let Parsed::Done(first, _) = record(&connection.server) else {
        panic!("a record")
    };
    let retry = HandshakeBuffer::default().push(first.fragment);
    let Ok(Handshake::ServerHello(retry)) = Handshake::parse(&retry[0], None) else {
        panic!("a ServerHello")
    };
    assert!(retry.hello_retry_request);
    assert_eq!(retry.group, Some(24));
    let (client, _) = hellos(&connection);
    assert_eq!(
        Decryptor::new(&client, &retry, &KeyLog::default()).err(),
        Some(WhyNoKeys::RetryRequested)
    );
    assert!(application_data(&open_all(&connection).0).starts_with("first line\n"));
}

#[test]
fn a_handshake_inside_the_connection_changes_the_keys() {
    if !has_openssl() {
        return;
    }
    for cipher in ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA256"] {
        let client_options = ["-tls1_2", "-cipher", cipher];
        let server_options = ["-tls1_2", "-cipher", cipher, "-client_renegotiation"];
        let command = Some(("R", "RENEGOTIATING"));
        let connection = openssl_with(&client_options, &server_options, false, command);
        let mut log = KeyLog::default();
        log.add(&connection.key_log);
        assert_eq!(log.connections(), 2);

        // Without the new keys both directions end where they come into use.
        let mut first = decryptor(&connection).unwrap();
        let mut inner: Vec<Handshake> = Vec::new();
        for (sender, stream) in [(Sender::Client, &connection.client), (Sender::Server, &connection.server)] {
            let mut buffer = HandshakeBuffer::default();
            let mut last = None;
            for (header, fragment) in records(stream) {
                last = Some(first.record(sender, header, fragment));
                if let Some(Ok(plain)) = &last
                    && plain.sealed
                    && plain.content_type == ContentType::HANDSHAKE
                {
                    let raw = buffer.push(&plain.bytes);
                    inner.extend(
                        raw.iter()
                            .filter_map(|message| Handshake::parse(message, Some(Version::TLS12)).ok()),
                    );
                }
            }
            assert_eq!(last, Some(Err(WhyNot::Renegotiated)));
        }
        let hello = inner.iter().find_map(|message| {
            if let Handshake::ClientHello(hello) = message {
                Some(hello)
            } else {
                None
            }
        });
        let answer = inner.iter().find_map(|message| {
            if let Handshake::ServerHello(hello) = message {
                Some(hello)
            } else {
                None
            }
        });

        let mut second = decryptor(&connection).unwrap();
        second.renegotiate(hello.unwrap(), answer.unwrap(), &log).unwrap();
        let plains: Vec<_> = records(&connection.client)
            .into_iter()
            .map(|(header, fragment)| second.record(Sender::Client, header, fragment).unwrap())
            .collect();
        assert_eq!(
            application_data(&plains),
            format!("first line\nsecond {}\n", "x".repeat(3000))
        );
    }
}

#[test]
fn keys_of_another_connection_are_said_not_to_fit() {
    if !has_openssl() {
        return;
    }
    for (options, tls13) in [
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], false),
        (["-tls1_2", "-cipher", "AES128-SHA"], false),
        (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], true),
    ] {
        let mut connection = openssl(&options, true, None);
        let text = String::from_utf8(connection.key_log.clone()).unwrap();
        // Another secret under the same client random.
        let spoilt: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (rest, secret) = line.rsplit_once(' ').unwrap();
                format!("{rest} {}\n", "5a".repeat(secret.len() / 2))
            })
            .collect();
        connection.key_log = spoilt.concat().into_bytes();
        let mut decryptor = decryptor(&connection).unwrap();
        for (sender, stream) in [(Sender::Client, &connection.client), (Sender::Server, &connection.server)] {
            let answers: Vec<_> = records(stream)
                .into_iter()
                .filter_map(|(header, fragment)| decryptor.record(sender, header, fragment).err())
                .collect();
            assert!(answers.len() >= 2);
            assert!(answers.iter().all(|why| *why == WhyNot::KeysDoNotFit), "{answers:?}");
            assert_eq!(decryptor.opened(sender), 0);
        }
        connection.key_log = text.replace(' ', "  ").into_bytes();
        connection.key_log.extend(b"\n");
        assert!(!tls13 || !application_data(&open_all(&connection).0).is_empty());
        connection.key_log.clear();
        assert_eq!(super::tests::decryptor(&connection).err(), Some(WhyNoKeys::NotInLog));
    }
}

#[test]
fn missing_and_damaged_records_do_not_end_the_reading() {
    if !has_openssl() {
        return;
    }
    for options in [
        ["-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        ["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
        ["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
    ] {
        let tls10 = options[0] == "-tls1";
        let connection = openssl(&options, false, None);
        let all = records(&connection.client);
        // Behind "first line" come the long line, in front of which TLS 1.0 sends an empty record, and the close_notify.
        let behind = if tls10 { 3 } else { 2 };
        let first_data = all.len() - 1 - behind;
        // The record with "first line" is lost; under TLS 1.3 the Finished before it as well.
        let finished = if options[0] == "-tls1_3" { first_data - 1 } else { first_data };
        let mut decryptor = decryptor(&connection).unwrap();
        let mut answers = Vec::new();
        for (number, (header, fragment)) in all.iter().enumerate() {
            if (finished..=first_data).contains(&number) {
                decryptor.missing(Sender::Client, (fragment.len() + HEADER_LEN) as u64);
                continue;
            }
            answers.push(decryptor.record(Sender::Client, *header, fragment));
        }
        let close = answers.last().unwrap().as_ref().expect("the last record opens");
        assert_eq!(close.bytes, [1, 0], "{options:?}");
        // Under TLS 1.0 the lost record was the IV of the next one.
        assert_eq!(answers[finished].is_ok(), !tls10, "{options:?}");
        assert!(answers[finished + 1..].iter().all(Result::is_ok), "{options:?}");

        // The same record damaged in place.
        let mut decryptor = super::tests::decryptor(&connection).unwrap();
        let answers: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(number, (header, fragment))| {
                let mut fragment = fragment.to_vec();
                if number == first_data {
                    fragment[9] ^= 1;
                }
                decryptor.record(Sender::Client, *header, &fragment)
            })
            .collect();
        assert_eq!(answers[first_data], Err(WhyNot::NotAuthentic), "{options:?}");
        assert!(
            answers[first_data + 1].is_ok() && answers[first_data + 2].is_ok(),
            "{options:?}"
        );
    }
}

#[test]
fn connections_of_windows_are_opened() {
    for (name, first_client, first_server) in [
        // DER sequences: TSRequests.
        ("rdp-nla-ntlm-rejected1.pcapng", &[0x30][..], &[0x30][..]),
        ("rdp-nla-kerberos-auth1.pcapng", &[0x30], &[0x30]),
        ("rdp-restricted-admin-accepted1.pcapng", &[0x30], &[0x30]),
        // MCS Connect Initial and Response behind TPKT and X.224.
        (
            "rdp-no-nla-accepted1.pcapng",
            &[3, 0, 1, 0xCE, 2, 0xF0, 0x80, 0x7F, 0x65],
            &[3, 0, 0, 0x7E, 2, 0xF0, 0x80, 0x7F, 0x66],
        ),
        (
            "rdp-rdg-same-creds-kerberos-password-success1.pcapng",
            b"RDG_OUT_DATA /remoteDesktopGateway/",
            b"HTTP/1.1 ",
        ),
    ] {
        let Some(connection) = windows_capture(name) else { return };
        let (client, server) = open_all(&connection);
        for (plains, start) in [(&client, first_client), (&server, first_server)] {
            let data: Vec<_> = plains
                .iter()
                .filter(|plain| plain.sealed && plain.content_type == ContentType::APPLICATION_DATA)
                .collect();
            assert!(data.len() >= 2, "{name}");
            assert!(
                data[0].bytes.starts_with(start),
                "{name}: {:02x?}",
                &data[0].bytes[..16.min(data[0].bytes.len())]
            );
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_records_make_it_panic(
        suite in proptest::sample::select(vec![0xC014_u16, 0xC028, 0xC02F, 0xC030, 0xCCA8, 0x1301, 0x1302, 0x1303, 0x0005, 0x7A7A]),
        version in proptest::sample::select(vec![Version::SSL3, Version::TLS10, Version::TLS11, Version::TLS12, Version::TLS13, Version(0x7F1C)]),
        encrypt_then_mac: bool,
        stream: Vec<(bool, u8, Vec<u8>)>,
    ) {
        let mut log = KeyLog::default();
        for label in ["CLIENT_RANDOM", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0", "CLIENT_TRAFFIC_SECRET_0"] {
            log.add(format!("{label} {} {}", "00".repeat(32), "11".repeat(48)).as_bytes());
        }
        let server = ServerHello { legacy_version: version, cipher_suite: suite, encrypt_then_mac, ..ServerHello::default() };
        if let Ok(mut decryptor) = Decryptor::new(&ClientHello::default(), &server, &log) {
            for (from_client, kind, fragment) in stream {
                let sender = if from_client { Sender::Client } else { Sender::Server };
                let length = u16::try_from(fragment.len()).unwrap();
                let header = RecordHeader { content_type: ContentType(20 + kind % 5), version: Version::TLS12, length };
                decryptor.missing(sender, 100);
                let _ = decryptor.record(sender, header, &fragment);
            }
        }
    }
}
