//! Tests of decryption on real connections: of OpenSSL with itself, and of Windows where the shared captures are at hand.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use super::*;
use crate::protocol::Parsed;
use crate::protocol::tls::handshake::Handshake;
use crate::protocol::tls::record::{HEADER_LEN, record};
use crate::protocol::tls::size;

/// The bytes of one connection, per direction, and the key log.
#[derive(Default)]
struct Connection {
    client: Vec<u8>,
    server: Vec<u8>,
    key_log: Vec<u8>,
}

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
    let read = |stream: &[u8]| {
        let mut buffer = HandshakeBuffer::default();
        let mut found = Vec::new();
        for (header, fragment) in records(stream)
            .into_iter()
            .take_while(|(header, _)| header.content_type.0 == 22)
        {
            assert_eq!(header.content_type, ContentType::HANDSHAKE);
            found.extend(buffer.push(fragment));
        }
        found.into_iter().next().map(|message| Handshake::parse(&message, None))
    };
    match (read(&connection.client), read(&connection.server)) {
        (Some(Ok(Handshake::ClientHello(client))), Some(Ok(Handshake::ServerHello(server)))) => (*client, *server),
        other => panic!("no hellos: {other:?}"),
    }
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

/// The server's key and certificate, made once.
static CERTIFICATE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until `pattern` has come by and returns everything read.
fn read_until(from: &mut impl Read, pattern: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&text).contains(pattern) {
        match from.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => panic!("ended before {pattern:?}: {}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        all.extend_from_slice(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // The other side may have closed already.
    let _ = to.shutdown(std::net::Shutdown::Write);
    all
}

/// Writes a line at once, so that the reader does not see it in parts.
fn say(to: &mut ChildStdin, line: &str) {
    to.write_all(format!("{line}\n").as_bytes()).expect("the peer listens");
}

fn has_openssl() -> bool {
    let found = Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: openssl is not installed");
    }
    found
}

/// Has OpenSSL's server, which sends every line back reversed, talk to OpenSSL's client.
fn openssl(options: &[&str], encrypt_then_mac: bool, key_update: bool) -> Connection {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let config = if encrypt_then_mac { "" } else { "Options = -EncryptThenMac\n" };
    let config = format!(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nCipherString = ALL:@SECLEVEL=0\nMinProtocol = TLSv1\n{config}[req]\ndistinguished_name = dn\n[dn]\n"
    );
    std::fs::write(file("openssl.cnf"), config).unwrap();
    let run = || {
        let mut command = Command::new("openssl");
        command.env("OPENSSL_CONF", file("openssl.cnf")).current_dir(dir.path());
        command
    };
    let (key, certificate) = CERTIFICATE.get_or_init(|| {
        let request = [
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lab", "-keyout", "key.pem", "-out", "cert.pem",
        ];
        let made = run().args(request).stderr(Stdio::null()).status();
        assert!(made.unwrap().success());
        (
            std::fs::read(file("key.pem")).unwrap(),
            std::fs::read(file("cert.pem")).unwrap(),
        )
    });
    std::fs::write(file("key.pem"), key).unwrap();
    std::fs::write(file("cert.pem"), certificate).unwrap();

    let mut server = run();
    server
        .args([
            "s_server",
            "-rev",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
        ])
        .args(options);
    let mut server = Killed(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut server_says = server.0.stdout.take().unwrap();
    read_until(&mut server_says, "ACCEPT ");
    let line = read_until(&mut server_says, "\n");
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let between = listener.local_addr().unwrap();
    let proxy = thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let back = thread::spawn(move || copy(server_too, client_too));
        let client = copy(client, server);
        (client, back.join().unwrap())
    });

    let mut client = run();
    client
        .args(["s_client", "-connect", &between.to_string(), "-keylogfile", "keys.log"])
        .args(options);
    let mut client = Killed(
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut input = client.0.stdin.take().unwrap();
    let mut output = client.0.stdout.take().unwrap();
    let mut errors = client.0.stderr.take().unwrap();
    say(&mut input, "first line");
    read_until(&mut output, "enil tsrif\n");
    if key_update {
        say(&mut input, "K");
        read_until(&mut errors, "KEYUPDATE");
    }
    let long = "x".repeat(3000);
    say(&mut input, &format!("second {long}"));
    read_until(&mut output, "x dnoces\n");
    say(&mut input, "Q");
    drop(input);
    client.0.wait().unwrap();
    let (client, server) = proxy.join().unwrap();
    Connection {
        client,
        server,
        key_log: std::fs::read(file("keys.log")).unwrap(),
    }
}

/// Every protection that Windows, FreeRDP and xrdp agree on, against OpenSSL.
#[test]
fn connections_of_openssl_are_opened() {
    if !has_openssl() {
        return;
    }
    let cases: [(&[&str], bool, Version, u16); 20] = [
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
        (
            &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "P-384"],
            true,
            Version::TLS13,
            0x1301,
        ),
    ];
    for (options, encrypt_then_mac, version, suite) in cases {
        let tls13 = version == Version::TLS13;
        let connection = openssl(options, encrypt_then_mac, tls13);
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
fn keys_of_another_connection_are_said_not_to_fit() {
    if !has_openssl() {
        return;
    }
    for (options, tls13) in [
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], false),
        (["-tls1_2", "-cipher", "AES128-SHA"], false),
        (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], true),
    ] {
        let mut connection = openssl(&options, true, false);
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
        let connection = openssl(&options, false, false);
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

/// Reads a pcapng file of Ethernet frames with IPv4 and TCP: the key logs in it, and the payloads per direction of the
/// first stream that has a client hello, put in order by sequence number.
fn windows_capture(name: &str) -> Option<Connection> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus").join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: ../shared/corpus/{name} is absent");
        return None;
    };
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let u16_be = |frame: &[u8], at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let mut connection = Connection::default();
    let mut segments: Vec<((usize, usize), u32, Vec<u8>)> = Vec::new();
    let mut at = 0;
    while at + 12 <= bytes.len() {
        let (kind, length) = (u32_at(at), u32_at(at + 4));
        if kind == 10 {
            let count = u32_at(at + 12);
            connection.key_log.extend_from_slice(&bytes[at + 16..at + 16 + count]);
        }
        if kind == 6 {
            let frame = &bytes[at + 28..at + 28 + u32_at(at + 20)];
            if u16_be(frame, 12) == 0x0800 && frame[23] == 6 {
                let tcp = 14 + usize::from(frame[14] & 15) * 4;
                let payload = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
                // Frames that the card was to cut into segments state no length.
                let end = if u16_be(frame, 16) == 0 {
                    frame.len()
                } else {
                    14 + u16_be(frame, 16)
                };
                let sequence = u32::from_be_bytes(frame[tcp + 4..tcp + 8].try_into().unwrap());
                if payload < end {
                    segments.push((
                        (u16_be(frame, tcp), u16_be(frame, tcp + 2)),
                        sequence,
                        frame[payload..end].to_vec(),
                    ));
                }
            }
        }
        at += length;
    }
    let stream = |ports: (usize, usize)| {
        let mut own: Vec<_> = segments.iter().filter(|(seen, ..)| *seen == ports).collect();
        let first = own[0].1;
        own.sort_by_key(|(_, sequence, _)| sequence.wrapping_sub(first));
        let mut data = Vec::new();
        for (_, sequence, payload) in own {
            let skip = data
                .len()
                .checked_sub(sequence.wrapping_sub(first) as usize)
                .unwrap_or_else(|| panic!("{name}: no gap"));
            data.extend_from_slice(payload.get(skip..).unwrap_or_default());
        }
        let start = data
            .windows(3)
            .position(|bytes| bytes == [0x16, 3, 1] || bytes == [0x16, 3, 3])
            .unwrap();
        data.split_off(start)
    };
    let (client, server) = segments.iter().find(|(_, _, data)| data[..2] == [0x16, 3]).unwrap().0;
    connection.client = stream((client, server));
    connection.server = stream((server, client));
    Some(connection)
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
