//! Tests of the handshake against messages of Windows clients and servers.

use proptest::prelude::*;

use super::*;
use crate::protocol::Parsed;
use crate::protocol::bytes::hex;
use crate::protocol::tls::record::record;

/// mstsc of Windows 11 to an address: no SNI; offers TLS 1.3.
pub(crate) const WINDOWS_11: &str = "1603010109010001050303956675bd3fa2686597738870b1fb49abfff7e55d18d0f834131e97959ef34930207e83d3883e49203d5e9dca6628f7b3c829dd9fc5da83fa15a5bf8ba435eb48f1002813021301c02cc02bc030c02fc024c023c028c027c00ac009c014c013009d009c003d003c0035002f010000940000000f000d00000a31302e31302e302e3130000500050100000000002b0009080304030303020301000d001a001808040805080604010501020104030503020302020601060300230000000a00080006001d00170018003300260024001d002070dde10541416df27ace2b890376108de445163b12b23f018c6478a155efae540031000000170000ff01000100002d00020101";

/// The hellos, without certificate, of Windows Server 2022 in answer to it.
const SERVER_2022: &str = "02000051030366393925976f5cffb94fd9c619dd66ea8b66c4cd82ccda9e0f113df493d416e520953b0000ae9bbfc6d22c8f7f938e698d5168b0b99cd73ec8f56c3d9743a35b55c03000000900170000ff01000100";

fn messages(record_hex: &str) -> Vec<RawHandshake> {
    let bytes = hex(record_hex);
    let Parsed::Done(record, used) = record(&bytes) else {
        panic!("a record")
    };
    assert_eq!(used, bytes.len());
    HandshakeBuffer::default().push(record.fragment)
}

fn client_hello(record_hex: &str) -> ClientHello {
    match Handshake::parse(&messages(record_hex)[0], None) {
        Ok(Handshake::ClientHello(hello)) => *hello,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_hello_of_windows_11_is_read() {
    let hello = client_hello(WINDOWS_11);
    assert_eq!(hello.legacy_version, Version::TLS12);
    assert_eq!(
        hello.supported_versions,
        [Version::TLS13, Version::TLS12, Version::TLS11, Version::TLS10]
    );
    assert_eq!(hello.highest_version(), Version::TLS13);
    assert_eq!(hello.server_name.as_deref(), Some("10.10.0.10"));
    assert_eq!(hello.cipher_suites.len(), 20);
    assert_eq!(hello.cipher_suites[..3], [0x1302, 0x1301, 0xC02C]);
    assert_eq!(hello.groups, [29, 23, 24]);
    assert_eq!(hello.key_shares, [29]);
    assert_eq!(hello.signature_algorithms.len(), 12);
    assert_eq!(hello.session_ticket, Some(0));
    assert!(hello.extended_master_secret && !hello.encrypt_then_mac);
    assert!(hello.alpn.is_empty());
    assert_eq!(hello.random[..4], [0x95, 0x66, 0x75, 0xBD]);
    assert_eq!(hello.session_id.len(), 32);
    assert_eq!(hello.flaw, None);
}

#[test]
fn an_old_client_hello_is_read() {
    let hello = client_hello(
        "16030100740100007003014d570ec58a9b7d325ed908de8cb2b4de50ec88184a1f6ec723c1d5a344a6cc34000018002f00350005000ac013c014c009c00a00320038001300040100002f00000012001000000d3139322e3136382e312e313530000500050100000000000a0006000400170018000b00020100",
    );
    assert_eq!(hello.offered_versions(), [Version::TLS10, Version::SSL3]);
    assert_eq!(hello.server_name.as_deref(), Some("192.168.1.150"));
    assert!(!hello.extended_master_secret);
}

#[test]
fn a_server_hello_is_read() {
    let raw = HandshakeBuffer::default().push(&hex(SERVER_2022));
    let Ok(Handshake::ServerHello(hello)) = Handshake::parse(&raw[0], None) else {
        panic!("a ServerHello")
    };
    assert_eq!(hello.version(), Version::TLS12);
    assert_eq!(hello.cipher_suite, 0xC030);
    assert!(hello.extended_master_secret && !hello.encrypt_then_mac && !hello.hello_retry_request);
    assert!(!hello.marks_downgrade());
}

#[test]
fn a_retry_request_and_a_downgrade_are_told() {
    let mut body =
        hex("0303cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c00130200000c002b000203040033000200 17");
    let hello = ServerHello::parse(&body).unwrap();
    assert!(hello.hello_retry_request);
    assert_eq!(hello.version(), Version::TLS13);
    assert_eq!(hello.group, Some(23));
    body[26..34].copy_from_slice(b"DOWNGRD\x01");
    body.truncate(38);
    let hello = ServerHello::parse(&body).unwrap();
    assert!(hello.marks_downgrade());
    assert!(!hello.hello_retry_request);
}

#[test]
fn messages_are_put_together_from_any_cut() {
    let mut stream = hex(SERVER_2022);
    stream.extend(hex("0e000000"));
    for cut in 0..stream.len() {
        let mut buffer = HandshakeBuffer::default();
        let mut got = buffer.push(&stream[..cut]);
        got.extend(buffer.push(&stream[cut..]));
        assert_eq!(got.len(), 2, "cut at {cut}");
        assert_eq!(
            Handshake::parse(&got[1], Some(Version::TLS12)),
            Ok(Handshake::ServerHelloDone)
        );
        assert_eq!(buffer.pending(), 0);
    }
}

#[test]
fn a_message_above_the_bound_is_cut_and_counted() {
    let length = MAX_KEPT + 1000;
    let mut buffer = HandshakeBuffer::default();
    let header = [11, 0, (length >> 8) as u8, length as u8];
    let header = [header[0], (length >> 16) as u8, header[2], header[3]];
    let mut got = buffer.push(&header);
    for _ in 0..length / 100 {
        got.extend(buffer.push(&[0; 100]));
    }
    got.extend(buffer.push(&vec![0; length % 100]));
    got.extend(buffer.push(&hex("0e000000")));
    assert_eq!(got.len(), 2);
    assert_eq!((got[0].length, got[0].body.len()), (length, MAX_KEPT));
    assert_eq!(got[1].kind, HandshakeType(14));
    assert_eq!((buffer.dropped(), buffer.pending()), (1000, 0));
}

#[test]
fn the_other_messages_are_read() {
    let parse = |text: &str, version| {
        let raw = HandshakeBuffer::default().push(&hex(text));
        Handshake::parse(&raw[0], version)
    };
    let tls12 = Some(Version::TLS12);
    let tls13 = Some(Version::TLS13);
    assert_eq!(
        parse("0400000a 00000e10 0004 01020304", tls12),
        Ok(Handshake::NewSessionTicket {
            lifetime: 3600,
            length: 4
        })
    );
    assert_eq!(
        parse("04000011 00000e10 00000001 0101 0004 01020304 0000", tls13),
        Ok(Handshake::NewSessionTicket {
            lifetime: 3600,
            length: 4
        })
    );
    assert_eq!(
        parse("0b00000a 000007 000001aa 000000", tls12),
        Ok(Handshake::Certificate(vec![vec![0xAA], vec![]]))
    );
    assert_eq!(
        parse("0b00000a 00 000006 000001aa 0000", tls13),
        Ok(Handshake::Certificate(vec![vec![0xAA]]))
    );
    assert_eq!(parse("0b000003 000000", tls12), Ok(Handshake::Certificate(vec![])));
    assert!(parse("0b000003 000001", tls12).is_err());
    assert_eq!(
        parse("0c000003 03001d", tls12),
        Ok(Handshake::ServerKeyExchange { group: Some(29) })
    );
    assert_eq!(parse("18000001 01", tls13), Ok(Handshake::KeyUpdate { requested: true }));
    assert_eq!(
        parse("0f000002 0804", tls12),
        Ok(Handshake::CertificateVerify { algorithm: Some(0x0804) })
    );
    assert_eq!(parse("63000000", tls12), Ok(Handshake::Other(HandshakeType(99))));
    assert_eq!(
        parse("0d00000f 020140 0004 04010503 0004 0002 3000 ", tls12).map(|message| match message {
            Handshake::CertificateRequest(request) => (request.types, request.signature_algorithms, request.authorities),
            other => panic!("{other:?}"),
        }),
        Ok((vec![1, 64], vec![0x0401, 0x0503], 1))
    );
    assert_eq!(
        parse("0800000d 000b 0010 0005 0003 026832 000a 0000", tls13).map(|message| matches!(
            message,
            Handshake::EncryptedExtensions { alpn: Some(name), .. } if name == "h2"
        )),
        Ok(true)
    );
}

#[test]
fn a_broken_extension_leaves_what_came_before_it() {
    let mut bytes = hex(WINDOWS_11);
    bytes.truncate(bytes.len() - 2);
    let hello = ClientHello::parse(&bytes[9..]).unwrap();
    assert_eq!(hello.highest_version(), Version::TLS13);
    assert!(hello.flaw.is_some());
}

/// The example of the JA4 specification.
#[test]
fn the_client_fingerprint_follows_the_specification() {
    let hello = ClientHello {
        legacy_version: Version::TLS12,
        supported_versions: vec![Version(0x3A3A), Version::TLS13, Version::TLS12],
        cipher_suites: vec![
            0x1A1A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D,
            0x002F, 0x0035,
        ],
        extensions: vec![
            0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B, 0xFF01, 0x000B,
            0x000A, 0x0015, 0x5A5A,
        ],
        signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
        alpn: vec!["h2".into()],
        ..ClientHello::default()
    };
    assert_eq!(hello.ja4(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_u8..30, version in any::<u16>()) {
        let message = RawHandshake { kind: HandshakeType(kind), length: body.len(), body };
        for version in [None, Some(Version(version)), Some(Version::TLS13), Some(Version::TLS12), Some(Version::TLS10)] {
            let _ = Handshake::parse(&message, version);
        }
        let mut buffer = HandshakeBuffer::default();
        for chunk in message.body.chunks(7) {
            buffer.push(chunk);
        }
    }

    #[test]
    fn a_damaged_hello_never_panics(flips in proptest::collection::vec((9_usize..270, any::<u8>()), 1..10), cut in 9_usize..271) {
        let mut bytes = hex(WINDOWS_11);
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Ok(hello) = ClientHello::parse(&bytes[9..cut.min(bytes.len())]) {
            hello.ja4();
            hello.highest_version();
        }
    }
}
