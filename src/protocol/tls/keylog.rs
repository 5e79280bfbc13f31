//! Key logs in the NSS format: the secrets of TLS connections, found by the client's random.

use std::collections::HashMap;
use std::fmt;

/// Connections whose secrets are kept. A log beyond this is not read further; what it costs is counted.
pub const MAX_CONNECTIONS: usize = 65_536;

/// Secret bytes, which never print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// What the log holds for one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Up to TLS 1.2.
    pub(super) master: Option<Secret>,
    /// TLS 1.3, each for the client's and the server's direction.
    pub(super) client_handshake: Option<Secret>,
    pub(super) server_handshake: Option<Secret>,
    pub(super) client_traffic: Option<Secret>,
    pub(super) server_traffic: Option<Secret>,
}

/// Everything that the key logs of one examination hold.
#[derive(Clone, Debug, Default)]
pub struct KeyLog {
    by_random: HashMap<[u8; 32], Secrets>,
    by_session: HashMap<Vec<u8>, Secret>,
    unusable_lines: u64,
    dropped_lines: u64,
}

impl KeyLog {
    /// Adds the text of a key log: a file, or one embedded in a capture. May be called again and again.
    ///
    /// Reads what is well-formed and counts the rest. A byte order mark and UTF-16, as Windows PowerShell writes it,
    /// are understood.
    pub fn add(&mut self, text: &[u8]) {
        let utf16: Vec<u8>;
        let text = match text {
            [0xFF, 0xFE, rest @ ..] => {
                // Every character of the format is ASCII; another one spoils its line as it should.
                utf16 = rest
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&[low, high]| if high == 0 { low } else { b'?' })
                    .collect();
                &utf16
            }
            [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
            _ => text,
        };
        for line in text.split(|&byte| byte == b'\n' || byte == b'\r') {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if self.line(line).is_none() {
                self.unusable_lines += 1;
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let (label, first, second) = (words.next()?, words.next()?, words.next()?);
        if label == b"RSA" {
            // "RSA Session-ID:<hex> Master-Key:<hex>". The other form holds a pre-master secret under a part of the
            // encrypted one, which no program has written since the client random took its place.
            let id = unhex(first.strip_prefix(b"Session-ID:")?, 1..=32)?;
            let master = unhex(second.strip_prefix(b"Master-Key:")?, 48..=48)?;
            if self.by_session.len() >= MAX_CONNECTIONS && !self.by_session.contains_key(&id) {
                self.dropped_lines += 1;
            } else {
                self.by_session.insert(id, Secret::new(&master));
            }
            return Some(());
        }
        let place: fn(&mut Secrets) -> &mut Option<Secret> = match label {
            b"CLIENT_RANDOM" => |secrets| &mut secrets.master,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => |secrets| &mut secrets.client_handshake,
            b"SERVER_HANDSHAKE_TRAFFIC_SECRET" => |secrets| &mut secrets.server_handshake,
            b"CLIENT_TRAFFIC_SECRET_0" => |secrets| &mut secrets.client_traffic,
            b"SERVER_TRAFFIC_SECRET_0" => |secrets| &mut secrets.server_traffic,
            // Later traffic secrets follow from the first; the others protect nothing that is read here.
            b"EXPORTER_SECRET" | b"EARLY_EXPORTER_SECRET" | b"CLIENT_EARLY_TRAFFIC_SECRET" | b"EARLY_EXPORTER_MASTER_SECRET" => {
                return Some(());
            }
            _ if label.starts_with(b"CLIENT_TRAFFIC_SECRET_") || label.starts_with(b"SERVER_TRAFFIC_SECRET_") => return Some(()),
            _ => return None,
        };
        let random: [u8; 32] = unhex(first, 32..=32)?.try_into().ok()?;
        // A master secret has 48 bytes, a traffic secret as many as the hash of its suite.
        let secret = Secret::new(&unhex(second, if label == b"CLIENT_RANDOM" { 48..=48 } else { 32..=48 })?);
        if self.by_random.len() >= MAX_CONNECTIONS && !self.by_random.contains_key(&random) {
            self.dropped_lines += 1;
            return Some(());
        }
        *place(self.by_random.entry(random).or_default()) = Some(secret);
        Some(())
    }

    pub(super) fn secrets(&self, client_random: &[u8; 32]) -> Option<&Secrets> {
        self.by_random.get(client_random)
    }

    pub(super) fn master_by_session(&self, session_id: &[u8]) -> Option<&Secret> {
        self.by_session.get(session_id)
    }

    /// Whether the log has something for the connection of this client random.
    pub fn knows(&self, client_random: &[u8; 32]) -> bool {
        self.by_random.contains_key(client_random)
    }

    /// Whether nothing usable was found.
    pub fn is_empty(&self) -> bool {
        self.by_random.is_empty() && self.by_session.is_empty()
    }

    /// How many connections the log has secrets for.
    pub fn connections(&self) -> usize {
        self.by_random.len() + self.by_session.len()
    }

    /// Lines that are no comment and not usable.
    pub fn unusable_lines(&self) -> u64 {
        self.unusable_lines
    }

    /// Usable lines that [`MAX_CONNECTIONS`] has cost.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }
}

fn unhex(digits: &[u8], bytes: std::ops::RangeInclusive<usize>) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) || !bytes.contains(&(digits.len() / 2)) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    digits
        .as_chunks()
        .0
        .iter()
        .map(|&[high, low]| Some(value(high)? << 4 | value(low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label: &str, random: u8, secret: u8, bytes: usize) -> String {
        format!(
            "{label} {} {}\n",
            format!("{random:02x}").repeat(32),
            format!("{secret:02X}").repeat(bytes)
        )
    }

    #[test]
    fn secrets_are_found_by_the_client_random() {
        let mut log = KeyLog::default();
        log.add(b"# comment\r\n\r\n");
        log.add(line("CLIENT_RANDOM", 1, 0xAB, 48).as_bytes());
        log.add(line("CLIENT_TRAFFIC_SECRET_0", 2, 3, 32).as_bytes());
        log.add(line("SERVER_TRAFFIC_SECRET_0", 2, 4, 32).trim_end().as_bytes());
        log.add(line("EXPORTER_SECRET", 2, 5, 32).as_bytes());
        log.add(line("CLIENT_TRAFFIC_SECRET_1", 2, 6, 32).as_bytes());
        assert_eq!((log.connections(), log.unusable_lines()), (2, 0));
        assert!(log.knows(&[1; 32]) && !log.knows(&[3; 32]));
        assert_eq!(log.secrets(&[1; 32]).unwrap().master, Some(Secret::new(&[0xAB; 48])));
        let second = log.secrets(&[2; 32]).unwrap();
        assert_eq!(second.client_traffic, Some(Secret::new(&[3; 32])));
        assert_eq!(second.server_traffic, Some(Secret::new(&[4; 32])));
        assert_eq!(second.master, None);
    }

    #[test]
    fn broken_lines_are_counted_and_harm_nothing() {
        let mut log = KeyLog::default();
        log.add(b"CLIENT_RANDOM 00 11\nnonsense\nCLIENT_RANDOM zz\n\xff\xff \x00 x\nRSA 0011223344556677 00\n");
        log.add(line("CLIENT_RANDOM", 1, 1, 47).as_bytes());
        log.add(line("CLIENT_RANDOM", 9, 1, 48).as_bytes());
        assert_eq!((log.connections(), log.unusable_lines()), (1, 6));
    }

    #[test]
    fn windows_text_is_understood() {
        let text = line("CLIENT_RANDOM", 7, 1, 48).replace('\n', "\r\n");
        let mut utf16 = vec![0xFF, 0xFE];
        utf16.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let mut log = KeyLog::default();
        log.add(&utf16);
        log.add(&[b"\xEF\xBB\xBF", line("CLIENT_RANDOM", 8, 1, 48).as_bytes()].concat());
        assert_eq!((log.connections(), log.unusable_lines()), (2, 0));
    }

    #[test]
    fn a_session_id_finds_a_master_secret() {
        let mut log = KeyLog::default();
        log.add(format!("RSA Session-ID:0A0b Master-Key:{}", "cd".repeat(48)).as_bytes());
        assert_eq!(log.master_by_session(&[10, 11]), Some(&Secret::new(&[0xCD; 48])));
    }

    #[test]
    fn secrets_do_not_print() {
        let mut log = KeyLog::default();
        log.add(line("CLIENT_RANDOM", 1, 0xAB, 48).as_bytes());
        let printed = format!("{log:?}").to_lowercase();
        assert!(!printed.contains("abab") && !printed.contains("171, 171"), "{printed}");
    }

    #[test]
    fn the_number_of_connections_is_bounded() {
        let mut log = KeyLog::default();
        let secret = "00".repeat(48);
        for number in 0..=MAX_CONNECTIONS {
            log.add(format!("CLIENT_RANDOM {number:064x} {secret}").as_bytes());
        }
        assert_eq!((log.connections(), log.dropped_lines()), (MAX_CONNECTIONS, 1));
    }
}
