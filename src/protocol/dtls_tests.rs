//! Tests of DTLS against messages of OpenSSL.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::protocol::Sender;
use crate::protocol::bytes::hex;
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::certificate::Certificate;
use crate::protocol::tls::decrypt::{Decryptor, WhyNot};
use crate::protocol::tls::handshake::Handshake;
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::keylog::KeyLog;

#[test]
fn a_hello_verify_request_is_read() {
    // Version 1.0 in the record although 1.2 is to be spoken, as RFC 6347 4.2.1 asks for.
    let bytes = hex("16feff0000000000000000001b 0300000f 0000 000000 00000f feff 0c 000102030405060708090a0b");
    let records = datagram(&bytes).unwrap();
    assert_eq!((records.len(), records[0].epoch, records[0].is_sealed()), (1, 0, false));
    let fragments = handshake_fragments(records[0].fragment).unwrap();
    let mut buffer = DtlsHandshakeBuffer::default();
    let Arrival::Complete(message) = buffer.push(&fragments[0]) else {
        panic!("a whole message")
    };
    let request = Handshake::parse(&message, None).unwrap();
    assert_eq!(
        request,
        Handshake::HelloVerifyRequest {
            cookie: (0..12).collect()
        }
    );
    assert_eq!(buffer.push(&fragments[0]), Arrival::Repeated);
}

#[test]
fn several_records_share_a_datagram() {
    let bytes = hex("14fefd0000000000000003000101 15fefd00010000000000000002aabb");
    let records = datagram(&bytes).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].sequence, records[1].epoch), (3, 1));
    assert!(records[1].is_sealed());
    assert!(datagram(&bytes[..bytes.len() - 1]).is_none());
    assert!(datagram(b"").is_none());
    assert_eq!(record(&bytes[..5]), Parsed::More);
}

#[test]
fn an_alert_in_clear_is_read() {
    let bytes = hex("15fefd0000000000000005000202 28");
    assert_eq!(
        Alert::parse(datagram(&bytes).unwrap()[0].fragment),
        Some(Alert {
            level: 2,
            description: 40
        })
    );
}

#[test]
fn a_client_hello_with_cookie_is_read() {
    let mut body = hex("fefd");
    body.extend([7; 32]);
    body.extend(hex("00 04 01020304 0002 c030 01 00 0006 0017 0000 0016 0000"));
    body.truncate(body.len() - 2);
    let message = RawHandshake {
        kind: HandshakeType::CLIENT_HELLO,
        length: body.len(),
        body,
    };
    let Ok(Handshake::ClientHello(hello)) = Handshake::parse(&message, None) else {
        panic!("a ClientHello")
    };
    assert_eq!(hello.cookie, [1, 2, 3, 4]);
    assert_eq!(hello.cipher_suites, [0xC030]);
    assert_eq!(hello.offered_versions(), [Version::DTLS12, Version::DTLS10]);
    assert!(hello.extended_master_secret);
    assert!(hello.ja4().starts_with("dd2i0101"), "{}", hello.ja4());
}

#[test]
fn fragments_come_in_any_order() {
    let body: Vec<u8> = (0..100).collect();
    let piece = |from: usize, to: usize| HandshakeFragment {
        kind: HandshakeType::CERTIFICATE,
        length: 100,
        message_seq: 2,
        offset: u32::try_from(from).unwrap(),
        bytes: &body[from..to],
    };
    let mut buffer = DtlsHandshakeBuffer::default();
    assert_eq!(buffer.push(&piece(60, 100)), Arrival::Incomplete);
    assert_eq!(buffer.push(&piece(0, 30)), Arrival::Incomplete);
    assert_eq!(buffer.push(&piece(60, 90)), Arrival::Repeated);
    let Arrival::Complete(message) = buffer.push(&piece(20, 70)) else {
        panic!("whole")
    };
    assert_eq!(message.body, body);
    assert_eq!(buffer.push(&piece(0, 30)), Arrival::Repeated);
}

#[test]
fn a_new_handshake_between_the_same_ports_starts_anew() {
    let hello = |bytes| HandshakeFragment {
        kind: HandshakeType::CLIENT_HELLO,
        length: 4,
        message_seq: 0,
        offset: 0,
        bytes,
    };
    let mut buffer = DtlsHandshakeBuffer::default();
    assert!(matches!(buffer.push(&hello(&[1, 2, 3, 4])), Arrival::Complete(_)));
    assert_eq!(buffer.push(&hello(&[1, 2, 3, 4])), Arrival::Repeated);
    assert!(matches!(buffer.push(&hello(&[5, 6, 7, 8])), Arrival::Complete(_)));
}

#[test]
fn the_bounds_are_counted() {
    let mut buffer = DtlsHandshakeBuffer::default();
    let long = HandshakeFragment {
        kind: HandshakeType(11),
        length: 0xFF_FFFF,
        message_seq: 0,
        offset: 0,
        bytes: &[0],
    };
    assert_eq!(buffer.push(&long), Arrival::Dropped);
    for message_seq in 0..=MAX_MESSAGES as u16 {
        buffer.push(&HandshakeFragment {
            length: 2,
            message_seq,
            ..long
        });
    }
    assert_eq!(buffer.dropped(), 2);
}

#[test]
fn an_empty_message_is_whole_at_once() {
    let done = HandshakeFragment {
        kind: HandshakeType(14),
        length: 0,
        message_seq: 5,
        offset: 0,
        bytes: &[],
    };
    let mut buffer = DtlsHandshakeBuffer::default();
    assert!(matches!(buffer.push(&done), Arrival::Complete(_)));
    assert_eq!(buffer.push(&done), Arrival::Repeated);
}

#[test]
fn a_unified_header_is_read() {
    let header = unified_header(&[0b0010_1110, 0x12, 0x34, 0, 50, 1, 2]).unwrap();
    assert_eq!(
        header,
        UnifiedHeader {
            epoch_bits: 2,
            sequence: 0x1234,
            length: Some(50),
            header_len: 5
        }
    );
    assert_eq!(unified_header(&[0x16, 0xFE, 0xFD]), None);
}

/// OpenSSL's client and server, with a path MTU so small that the certificate comes in pieces.
#[test]
fn handshakes_of_openssl_are_followed() {
    for cipher in ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA"] {
        follow_openssl(cipher);
    }
}

fn follow_openssl(cipher: &str) {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut command = Command::new("openssl");
        command.current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    let request = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lab", "-keyout", "key.pem", "-out", "cert.pem",
    ];
    if !run().args(request).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let mut server = run()
        .args([
            "s_server",
            "-dtls1_2",
            "-listen",
            "-mtu",
            "300",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
            "-accept",
            "127.0.0.1:0",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let accept = lines
        .find_map(|line| Some(line.ok()?.strip_prefix("ACCEPT ")?.to_owned()))
        .expect("the server listens");
    let front = UdpSocket::bind("127.0.0.1:0").unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").unwrap();
    back.connect(&accept).unwrap();
    let between = front.local_addr().unwrap().to_string();
    let mut client = run()
        .args([
            "s_client",
            "-dtls1_2",
            "-mtu",
            "300",
            "-cipher",
            cipher,
            "-keylogfile",
            "keys.log",
            "-connect",
            &between,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();

    let mut said: [Vec<(u16, HandshakeType)>; 2] = Default::default();
    let mut buffers: [DtlsHandshakeBuffer; 2] = Default::default();
    let mut hidden = Vec::new();
    let (mut client_hello, mut server_hello) = (ClientHello::default(), ServerHello::default());
    let mut pieces = 0;
    let mut sealed = [false; 2];
    let mut chunk = [0; 2048];
    let mut peer = None;
    for socket in [&front, &back] {
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    }
    // Every turn waits for a datagram; OpenSSL sends again after a second, so this many turns are ample.
    for turn in 0..1600 {
        if sealed == [true; 2] {
            break;
        }
        let from_client = turn % 2 == 0;
        let count = if from_client {
            let Ok((count, from)) = front.recv_from(&mut chunk) else {
                continue;
            };
            peer = Some(from);
            back.send(&chunk[..count]).unwrap();
            count
        } else {
            let Ok(count) = back.recv(&mut chunk) else { continue };
            front.send_to(&chunk[..count], peer.unwrap()).unwrap();
            count
        };
        let side = usize::from(!from_client);
        for record in datagram(&chunk[..count]).expect("DTLS") {
            if record.is_sealed() {
                sealed[side] = true;
                hidden.push((from_client, record.header, record.sequence, record.fragment.to_vec()));
            }
            if record.is_sealed() || record.header.content_type != ContentType::HANDSHAKE {
                continue;
            }
            for fragment in handshake_fragments(record.fragment).unwrap() {
                pieces += u32::from((fragment.bytes.len() as u32) < fragment.length);
                if let Arrival::Complete(message) = buffers[side].push(&fragment) {
                    let read = Handshake::parse(&message, Some(Version::DTLS12)).unwrap();
                    if let Handshake::Certificate(chain) = &read {
                        assert!(Certificate::parse(&chain[0]).unwrap().matches_name("lab"));
                    }
                    match read {
                        Handshake::ClientHello(hello) => client_hello = *hello,
                        Handshake::ServerHello(hello) => server_hello = *hello,
                        _ => {}
                    }
                    said[side].push((fragment.message_seq, message.kind));
                }
            }
        }
    }
    for child in [&mut client, &mut server] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut log = KeyLog::default();
    log.add(&std::fs::read(dir.path().join("keys.log")).unwrap());
    let mut decryptor = Decryptor::new(&client_hello, &server_hello, &log).unwrap();
    // Both ends' Finished; the last first, as no order is needed.
    assert!(hidden.len() >= 2);
    for (from_client, header, sequence, fragment) in hidden.iter().rev() {
        let sender = if *from_client { Sender::Client } else { Sender::Server };
        let record = DtlsRecord {
            header: *header,
            epoch: 1,
            sequence: *sequence,
            fragment,
        };
        let plain = decryptor.datagram_record(sender, &record).unwrap();
        assert!(plain.sealed);
        if plain.content_type == ContentType::HANDSHAKE {
            assert_eq!(handshake_fragments(&plain.bytes).unwrap()[0].kind, HandshakeType::FINISHED);
        }
        let wrong = DtlsRecord {
            sequence: sequence + 1,
            ..record
        };
        assert_eq!(decryptor.datagram_record(sender, &wrong), Err(WhyNot::NotAuthentic));
    }
    let kinds = |said: &[(u16, HandshakeType)]| said.iter().map(|(seq, kind)| (*seq, kind.0)).collect::<Vec<_>>();
    assert_eq!(kinds(&said[0]), [(0, 1), (1, 1), (2, 16)]);
    assert_eq!(kinds(&said[1]), [(0, 3), (1, 2), (2, 11), (3, 12), (4, 14), (5, 4)]);
    assert!(pieces >= 3, "the certificate came in {pieces} pieces");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), forced: bool) {
        if forced && bytes.len() > 13 {
            let length = (bytes.len() - 13) as u8;
            bytes[..3].copy_from_slice(&[22, 0xFE, 0xFD]);
            bytes[11..13].copy_from_slice(&[0, length]);
        }
        unified_header(&bytes);
        let mut buffer = DtlsHandshakeBuffer::default();
        for record in datagram(&bytes).unwrap_or_default() {
            for fragment in handshake_fragments(record.fragment).unwrap_or_default() {
                buffer.push(&fragment);
            }
        }
    }

    #[test]
    fn any_cut_and_order_gives_the_message(body in proptest::collection::vec(any::<u8>(), 1..400), cuts in proptest::collection::vec(0_usize..400, 0..20), seed: u64) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).chain([0, body.len()]).collect();
        cuts.sort_unstable();
        let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).filter(|(from, to)| from < to).collect();
        let turn = (seed as usize) % pieces.len();
        pieces.rotate_left(turn);
        let mut buffer = DtlsHandshakeBuffer::default();
        let mut whole = Vec::new();
        for (from, to) in pieces {
            let fragment = HandshakeFragment { kind: HandshakeType(11), length: body.len() as u32, message_seq: 1, offset: from as u32, bytes: &body[from..to] };
            if let Arrival::Complete(message) = buffer.push(&fragment) {
                whole.push(message.body);
            }
        }
        prop_assert_eq!(whole, vec![body]);
    }
}
