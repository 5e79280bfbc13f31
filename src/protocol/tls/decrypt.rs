//! Decryption of a connection, record after record, with the secrets of a key log.

use std::fmt;

use crate::protocol::Sender;
use crate::protocol::dtls::DtlsRecord;
use crate::protocol::tls::handshake::{HandshakeBuffer, HandshakeType};
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::key_schedule::{expand_label, key_block};
use crate::protocol::tls::keylog::{KeyLog, Secret, Secrets};
use crate::protocol::tls::protection::{KeySizes, RecordKeys};
use crate::protocol::tls::record::{ContentType, RecordHeader, Version};
use crate::protocol::tls::suite::{CipherSuite, Hash};

/// Sequence numbers ahead that are tried when a record does not open, so that one that was lost or damaged does not end
/// the reading. Every record that fails in a row adds one.
const WINDOW: u64 = 8;

/// The same after a gap of unknown size: as many records as fit into a large lost window of TCP.
const WINDOW_AFTER_GAP: u64 = 256;

/// The shortest record that can be lost: header, one byte, and the least protection (RFC 8446 5.2).
const SHORTEST_RECORD: u64 = 5 + 1 + 17;

/// Records in a row that may fail before a direction is given up.
const GIVE_UP: u32 = 32;

/// A jump of the explicit nonce up to which it is believed to count records.
const NONCE_JUMP: u64 = 1 << 20;

/// Why a connection cannot be decrypted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNoKeys {
    /// The key log does not know the client random.
    NotInLog,
    /// The log knows the connection, but not the secrets that this version needs.
    Incomplete,
    /// Keys of this version are not derived here.
    Version(Version),
    /// This cipher suite is not opened here.
    Suite(u16),
    /// The records are compressed.
    Compressed(u8),
    /// The server has asked for another ClientHello and has not chosen yet.
    RetryRequested,
}

/// Why a record was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhyNot {
    /// The first sealed record of this direction does not authenticate: the secrets belong to something else.
    KeysDoNotFit,
    /// Records before were opened, this one does not authenticate: it is damaged, foreign, or too many are missing.
    NotAuthentic,
    /// The log has no secret for this direction, or (TLS 1.3) none for its handshake.
    NoSecret,
    /// TLS 1.3: sent before the handshake under keys that are not derived here.
    EarlyData,
    /// The connection has agreed on new keys inside the old ones, and [`Decryptor::renegotiate`] was not asked for them.
    Renegotiated,
}

/// The content of a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Plain {
    /// What the content is; in TLS 1.3 the one that was hidden.
    pub content_type: ContentType,
    /// The content.
    pub bytes: Vec<u8>,
    /// Whether it had been encrypted.
    pub sealed: bool,
}

impl fmt::Debug for Plain {
    /// Without the content, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            content_type,
            bytes,
            sealed,
        } = self;
        write!(f, "Plain {{ {content_type:?}, {} bytes, sealed: {sealed} }}", bytes.len())
    }
}

/// Opens the records of one connection, in the order in which each direction sent them.
pub struct Decryptor {
    version: Version,
    client: Option<Direction>,
    server: Option<Direction>,
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opened = |direction: &Option<Direction>| direction.as_ref().map(|direction| direction.opened);
        f.debug_struct("Decryptor")
            .field("version", &self.version)
            .field("opened_of_client", &opened(&self.client))
            .field("opened_of_server", &opened(&self.server))
            .finish()
    }
}

struct Direction {
    keys: RecordKeys,
    schedule: Schedule,
    /// Up to TLS 1.2: ChangeCipherSpec has been seen.
    sealed: bool,
    sequence: u64,
    opened: u64,
    failed_in_row: u32,
    window: u64,
    /// Up to TLS 1.2: the explicit nonce and the sequence number of the last record that was opened.
    nonce: Option<(u64, u64)>,
    /// TLS 1.3: the first records are under keys that are missing.
    handshake_hidden: bool,
    early_data: bool,
    ended: Option<WhyNot>,
}

/// Where the next keys of a direction come from.
enum Schedule {
    /// TLS 1.0 to 1.2: another handshake inside this one, if [`Decryptor::renegotiate`] has prepared them.
    Negotiated(Option<RecordKeys>),
    /// TLS 1.3.
    Tls13(Box<Schedule13>),
}

struct Schedule13 {
    suite: CipherSuite,
    hash: Hash,
    /// The secret of the traffic keys, those in use or those to come.
    traffic: Option<Secret>,
    /// The keys in use are those of the handshake.
    in_handshake: bool,
    messages: HandshakeBuffer,
}

impl Decryptor {
    /// Prepares the keys of a connection from its hellos.
    ///
    /// # Errors
    /// When the log has no secrets for it, or its protection is none of AES-CBC, AES-GCM, AES-CCM, ChaCha20-Poly1305, 3DES-CBC
    /// and RC4 under TLS 1.0 to 1.3 or DTLS 1.0 to 1.2.
    pub fn new(client: &ClientHello, server: &ServerHello, log: &KeyLog) -> Result<Self, WhyNoKeys> {
        let version = server.version();
        if server.hello_retry_request {
            return Err(WhyNoKeys::RetryRequested);
        }
        let secrets = log.secrets(&client.random);
        let by_session = || log.master_by_session(&server.session_id);
        if secrets.is_none() && by_session().is_none() {
            return Err(WhyNoKeys::NotInLog);
        }
        let stated = version;
        let version = version.stream_equivalent();
        let derived = Version::TLS10..=if stated.is_datagram() {
            Version::TLS12
        } else {
            Version::TLS13
        };
        if !derived.contains(&version) {
            return Err(WhyNoKeys::Version(stated));
        }
        if server.compression_method != 0 {
            return Err(WhyNoKeys::Compressed(server.compression_method));
        }
        let suite = CipherSuite::new(server.cipher_suite);
        let unsupported = WhyNoKeys::Suite(server.cipher_suite);
        let sizes = KeySizes::of(&suite, version).ok_or(unsupported)?;
        let hash = suite.prf().ok_or(unsupported)?;
        if version == Version::TLS13 {
            let secrets = secrets.ok_or(WhyNoKeys::Incomplete)?;
            return Self::tls13(client, &suite, hash, secrets).ok_or(WhyNoKeys::Incomplete);
        }
        let master = secrets
            .and_then(|secrets| secrets.master.as_ref())
            .or_else(by_session)
            .ok_or(WhyNoKeys::Incomplete)?;
        let KeySizes { mac, key, iv } = sizes;
        let block = key_block(
            version,
            hash,
            master.bytes(),
            &server.random,
            &client.random,
            2 * (mac + key + iv),
        );
        let (macs, rest) = block.split_at(2 * mac);
        let (keys, ivs) = rest.split_at(2 * key);
        let (client_mac, server_mac) = macs.split_at(mac);
        let (client_key, server_key) = keys.split_at(key);
        let (client_iv, server_iv) = ivs.split_at(iv);
        let direction = |mac: &[u8], key: &[u8], iv: &[u8]| {
            RecordKeys::new(&suite, version, server.encrypt_then_mac, mac, key, iv)
                .map(|keys| Direction::new(keys, Schedule::Negotiated(None)))
        };
        Ok(Self {
            version,
            client: Some(direction(client_mac, client_key, client_iv).ok_or(unsupported)?),
            server: Some(direction(server_mac, server_key, server_iv).ok_or(unsupported)?),
        })
    }

    fn tls13(client: &ClientHello, suite: &CipherSuite, hash: Hash, secrets: &Secrets) -> Option<Self> {
        let direction = |handshake: &Option<Secret>, traffic: &Option<Secret>| {
            let keys = keys13(suite, hash, handshake.as_ref().or(traffic.as_ref())?)?;
            let schedule = Schedule13 {
                suite: *suite,
                hash,
                traffic: traffic.clone(),
                in_handshake: handshake.is_some(),
                messages: HandshakeBuffer::default(),
            };
            let mut direction = Direction::new(keys, Schedule::Tls13(Box::new(schedule)));
            direction.handshake_hidden = handshake.is_none();
            Some(direction)
        };
        let mut from_client = direction(&secrets.client_handshake, &secrets.client_traffic);
        let from_server = direction(&secrets.server_handshake, &secrets.server_traffic);
        if from_client.is_none() && from_server.is_none() {
            return None;
        }
        if let Some(direction) = &mut from_client {
            direction.early_data = client.early_data;
        }
        Some(Self {
            version: Version::TLS13,
            client: from_client,
            server: from_server,
        })
    }

    /// Opens the next record of one direction. Records in clear come back as they are.
    ///
    /// Every record after the hellos must pass through here, in order: the ChangeCipherSpec or the Finished among them switches
    /// the keys on. Records of one direction that the capture does not have are announced with [`Self::missing`].
    ///
    /// # Errors
    /// When the record is sealed and does not open.
    pub fn record(&mut self, sender: Sender, header: RecordHeader, fragment: &[u8]) -> Result<Plain, WhyNot> {
        let tls13 = self.version == Version::TLS13;
        let direction = match sender {
            Sender::Client => self.client.as_mut(),
            Sender::Server => self.server.as_mut(),
        };
        let clear = Plain {
            content_type: header.content_type,
            bytes: Vec::new(),
            sealed: false,
        };
        if tls13 && header.content_type != ContentType::APPLICATION_DATA {
            return Ok(Plain {
                bytes: fragment.to_vec(),
                ..clear
            });
        }
        let Some(direction) = direction else {
            return Err(WhyNot::NoSecret);
        };
        if !tls13 && !direction.sealed {
            direction.sealed = header.content_type == ContentType::CHANGE_CIPHER_SPEC;
            return Ok(Plain {
                bytes: fragment.to_vec(),
                ..clear
            });
        }
        direction.open(header, fragment)
    }

    /// Prepares the keys of a handshake inside the connection, from the hellos that came out of it. Up to TLS 1.2; the
    /// ChangeCipherSpec of each direction then brings them into use.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn renegotiate(&mut self, client: &ClientHello, server: &ServerHello, log: &KeyLog) -> Result<(), WhyNoKeys> {
        let later = Self::new(client, server, log)?;
        if later.version == Version::TLS13 {
            return Err(WhyNoKeys::Version(later.version));
        }
        for (now, later) in [(&mut self.client, later.client), (&mut self.server, later.server)] {
            if let (
                Some(Direction {
                    schedule: Schedule::Negotiated(next),
                    ..
                }),
                Some(later),
            ) = (now, later)
            {
                *next = Some(later.keys);
            }
        }
        Ok(())
    }

    /// Opens a record of a DTLS connection, in any order: it states its own number.
    ///
    /// # Errors
    /// When the record is sealed and does not open.
    pub fn datagram_record(&mut self, sender: Sender, record: &DtlsRecord<'_>) -> Result<Plain, WhyNot> {
        let content_type = record.header.content_type;
        if !record.is_sealed() {
            return Ok(Plain {
                content_type,
                bytes: record.fragment.to_vec(),
                sealed: false,
            });
        }
        if record.epoch > 1 {
            return Err(WhyNot::Renegotiated);
        }
        let direction = match sender {
            Sender::Client => self.client.as_mut(),
            Sender::Server => self.server.as_mut(),
        };
        let direction = direction.ok_or(WhyNot::NoSecret)?;
        let number = u64::from(record.epoch) << 48 | record.sequence;
        match direction.keys.open(number, record.header, record.fragment) {
            Some(bytes) => {
                direction.opened += 1;
                Ok(Plain {
                    content_type,
                    bytes,
                    sealed: true,
                })
            }
            None if direction.opened == 0 => Err(WhyNot::KeysDoNotFit),
            None => Err(WhyNot::NotAuthentic),
        }
    }

    /// Announces that about `bytes` bytes of records of this direction are missing before the next one.
    pub fn missing(&mut self, sender: Sender, bytes: u64) {
        let direction = match sender {
            Sender::Client => self.client.as_mut(),
            Sender::Server => self.server.as_mut(),
        };
        if let Some(direction) = direction {
            direction.window = direction.window.max((bytes / SHORTEST_RECORD + 1).min(WINDOW_AFTER_GAP));
        }
    }

    /// How many sealed records of a direction have been opened.
    pub fn opened(&self, sender: Sender) -> u64 {
        match sender {
            Sender::Client => self.client.as_ref(),
            Sender::Server => self.server.as_ref(),
        }
        .map_or(0, |direction| direction.opened)
    }
}

fn keys13(suite: &CipherSuite, hash: Hash, secret: &Secret) -> Option<RecordKeys> {
    let sizes = KeySizes::of(suite, Version::TLS13)?;
    let key = expand_label(hash, secret.bytes(), "key", sizes.key)?;
    let iv = expand_label(hash, secret.bytes(), "iv", sizes.iv)?;
    RecordKeys::new(suite, Version::TLS13, false, &[], &key, &iv)
}

impl Direction {
    fn new(keys: RecordKeys, schedule: Schedule) -> Self {
        Self {
            keys,
            schedule,
            sealed: false,
            sequence: 0,
            opened: 0,
            failed_in_row: 0,
            window: 0,
            nonce: None,
            handshake_hidden: false,
            early_data: false,
            ended: None,
        }
    }

    fn open(&mut self, header: RecordHeader, fragment: &[u8]) -> Result<Plain, WhyNot> {
        if let Some(why) = self.ended {
            return Err(why);
        }
        let found = self.find(header, fragment);
        self.keys.advance(fragment);
        let Some((sequence, bytes)) = found else {
            return Err(self.failed());
        };
        self.sequence = sequence + 1;
        self.opened += 1;
        self.failed_in_row = 0;
        self.window = WINDOW;
        self.nonce = fragment.first_chunk().map(|nonce| (u64::from_be_bytes(*nonce), sequence));
        let mut plain = Plain {
            content_type: header.content_type,
            bytes,
            sealed: true,
        };
        match &mut self.schedule {
            Schedule::Tls13(_) => {
                // The content, its type, and zeros that hide its length.
                let end = plain.bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
                plain.content_type = ContentType(plain.bytes.get(end).copied().unwrap_or(0));
                plain.bytes.truncate(end);
                if plain.content_type == ContentType::HANDSHAKE {
                    self.follow_handshake(&plain.bytes);
                }
            }
            Schedule::Negotiated(next) if plain.content_type == ContentType::CHANGE_CIPHER_SPEC => match next.take() {
                Some(keys) => {
                    self.keys = keys;
                    self.sequence = 0;
                    self.nonce = None;
                }
                None => self.ended = Some(WhyNot::Renegotiated),
            },
            Schedule::Negotiated(_) => {}
        }
        Ok(plain)
    }

    /// Finds the sequence number, and in TLS 1.3 the keys, under which the record is authentic.
    fn find(&mut self, header: RecordHeader, fragment: &[u8]) -> Option<(u64, Vec<u8>)> {
        let expected = self.sequence;
        if let Some(bytes) = self.keys.open(expected, header, fragment) {
            return Some((expected, bytes));
        }
        if self.opened == 0 && self.window == 0 && !self.handshake_hidden {
            return None;
        }
        let fixed = matches!(self.schedule, Schedule::Negotiated(_));
        // The common stacks count records in the explicit nonce, whatever number they begin with.
        if let (true, Some((nonce, sequence)), Some(here)) = (fixed, self.nonce, fragment.first_chunk()) {
            let jump = u64::from_be_bytes(*here).wrapping_sub(nonce);
            let guess = sequence.wrapping_add(jump);
            if jump < NONCE_JUMP
                && guess > expected
                && let Some(bytes) = self.keys.open(guess, header, fragment)
            {
                return Some((guess, bytes));
            }
        }
        let window = self.window + u64::from(self.failed_in_row);
        if let Some(found) = try_range(&mut self.keys, expected + 1, window, header, fragment) {
            return Some(found);
        }
        // The record that switched the keys may be among those that are missing.
        let Schedule::Tls13(schedule) = &mut self.schedule else {
            return None;
        };
        let (mut keys, secret) = schedule.next_keys()?;
        let found = try_range(&mut keys, 0, window + 1, header, fragment)?;
        self.keys = keys;
        schedule.switch_to(secret);
        Some(found)
    }

    fn failed(&mut self) -> WhyNot {
        self.failed_in_row += 1;
        let why = match self.opened {
            0 if self.handshake_hidden => WhyNot::NoSecret,
            0 if self.early_data => WhyNot::EarlyData,
            // After a gap nobody knows whether the keys or the count are wrong.
            0 if self.window > 0 => WhyNot::NotAuthentic,
            0 => WhyNot::KeysDoNotFit,
            _ => WhyNot::NotAuthentic,
        };
        if why == WhyNot::KeysDoNotFit && self.window == 0 || self.failed_in_row >= GIVE_UP {
            self.ended = Some(if why == WhyNot::NotAuthentic {
                why
            } else {
                WhyNot::KeysDoNotFit
            });
        }
        why
    }

    fn follow_handshake(&mut self, content: &[u8]) {
        let Schedule::Tls13(schedule) = &mut self.schedule else {
            return;
        };
        for message in schedule.messages.push(content) {
            let switches = match message.kind {
                HandshakeType::FINISHED => schedule.in_handshake,
                HandshakeType::KEY_UPDATE => !schedule.in_handshake,
                _ => false,
            };
            if !switches {
                continue;
            }
            match schedule.next_keys() {
                Some((keys, secret)) => {
                    self.keys = keys;
                    self.sequence = 0;
                    schedule.switch_to(secret);
                }
                None => self.ended = Some(WhyNot::NoSecret),
            }
        }
    }
}

fn try_range(keys: &mut RecordKeys, from: u64, count: u64, header: RecordHeader, fragment: &[u8]) -> Option<(u64, Vec<u8>)> {
    (from..from.saturating_add(count)).find_map(|sequence| Some((sequence, keys.open(sequence, header, fragment)?)))
}

impl Schedule13 {
    /// The keys after those in use: the traffic keys after the handshake's, the updated ones after those.
    fn next_keys(&self) -> Option<(RecordKeys, Secret)> {
        let current = self.traffic.as_ref()?;
        let secret = if self.in_handshake {
            current.clone()
        } else {
            Secret::new(&expand_label(
                self.hash,
                current.bytes(),
                "traffic upd",
                self.hash.output_len(),
            )?)
        };
        Some((keys13(&self.suite, self.hash, &secret)?, secret))
    }

    fn switch_to(&mut self, secret: Secret) {
        self.traffic = Some(secret);
        self.in_handshake = false;
    }
}

#[cfg(test)]
#[path = "decrypt_tests.rs"]
mod tests;
