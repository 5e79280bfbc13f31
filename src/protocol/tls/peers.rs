//! Where the tests of decryption take their connections from: OpenSSL talking with itself, and captures of Windows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

/// The bytes of one connection, per direction, and the key log.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) client: Vec<u8>,
    pub(super) server: Vec<u8>,
    pub(super) key_log: Vec<u8>,
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

pub(super) fn has_openssl() -> bool {
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
pub(super) fn openssl(options: &[&str], encrypt_then_mac: bool, command: Option<(&str, &str)>) -> Connection {
    openssl_with(options, options, encrypt_then_mac, command)
}

pub(super) fn openssl_with(
    options: &[&str],
    server_options: &[&str],
    encrypt_then_mac: bool,
    command: Option<(&str, &str)>,
) -> Connection {
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
        .args(server_options);
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
    if let Some((command, done)) = command {
        say(&mut input, command);
        read_until(&mut errors, done);
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

/// Reads a pcapng file of Ethernet frames with IPv4 and TCP: the key logs in it, and the payloads per direction of the
/// first stream that has a client hello, put in order by sequence number.
pub(super) fn windows_capture(name: &str) -> Option<Connection> {
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
