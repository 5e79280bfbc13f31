//! ClientHello and ServerHello.

use crate::protocol::Flaw;
use crate::protocol::bytes::{Reader, u16_list_be};
use crate::protocol::tls::extension::{self, is_grease};
use crate::protocol::tls::record::Version;

/// The random that makes a ServerHello a HelloRetryRequest (RFC 8446 4.1.3).
const HELLO_RETRY_REQUEST: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A,
    0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// What a client offers, TLS or DTLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The version field, which in TLS 1.3 says 1.2.
    pub legacy_version: Version,
    /// The client's random, by which a key log finds the connection.
    pub random: [u8; 32],
    /// Empty when the client resumes nothing.
    pub session_id: Vec<u8>,
    /// DTLS: the cookie that answers a HelloVerifyRequest.
    pub cookie: Vec<u8>,
    /// In the client's order, reserved numbers included.
    pub cipher_suites: Vec<u16>,
    /// Compression methods; 0 is none.
    pub compression_methods: Vec<u8>,
    /// Extension numbers in the order of the wire.
    pub extensions: Vec<u16>,
    /// supported_versions, empty where the extension is absent.
    pub supported_versions: Vec<Version>,
    /// The host name that the client asks for (SNI).
    pub server_name: Option<String>,
    /// Application protocols (ALPN).
    pub alpn: Vec<String>,
    /// Groups for key exchange.
    pub groups: Vec<u16>,
    /// Groups for which a key is sent along.
    pub key_shares: Vec<u16>,
    /// Signature algorithms.
    pub signature_algorithms: Vec<u16>,
    /// Bytes of the session ticket; zero asks for one.
    pub session_ticket: Option<usize>,
    /// RFC 7627 is offered.
    pub extended_master_secret: bool,
    /// RFC 7366 is offered.
    pub encrypt_then_mac: bool,
    /// A TLS 1.3 resumption or an external key is offered.
    pub pre_shared_key: bool,
    /// Data is sent before the handshake ends.
    pub early_data: bool,
    /// The message had the form of SSL 2.0.
    pub sslv2_form: bool,
    /// Where the message breaks a rule; what stands before that place has been read.
    pub flaw: Option<Flaw>,
}

/// What the beginning of a stream shows of a ClientHello, without reading all of it: most HTTPS is told by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The name that it asks for.
    pub name: &'a str,
    /// Whether it was seen to offer HTTP/2.
    pub http2: bool,
    /// Whether all of it is here.
    pub whole: bool,
}

/// Looks at the ClientHello at the beginning of a stream. `None` also where the message is spread over records, where it asks for no name,
/// or where the bytes end before the name.
pub fn asked(stream: &[u8]) -> Option<Asked<'_>> {
    let mut reader = Reader::new(stream);
    let [22, 3, _] = reader.array()? else { return None };
    let record = usize::from(reader.u16_be()?);
    let whole = reader.rest().len() >= record;
    let [1, high, middle, low] = reader.array()? else {
        return None;
    };
    let message = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if message + 4 > record {
        return None;
    }
    let mut body = Reader::new(reader.rest().get(..message).unwrap_or(reader.rest()));
    // The version, 3 and a number in all that run over TCP, and the random.
    let [3, ..] = body.array::<34>()? else { return None };
    body.vec8()?;
    body.vec16_be()?;
    body.vec8()?;
    let block = usize::from(body.u16_be()?);
    let block = body.rest().get(..block).unwrap_or(body.rest());
    let (mut name, mut http2) = (None, false);
    for (kind, body) in extension::walk(block).map_while(Result::ok) {
        match kind {
            extension::SERVER_NAME => name = Some(std::str::from_utf8(extension::host_name(body)?).ok()?),
            extension::ALPN => http2 = extension::offers_http2(body),
            _ => {}
        }
    }
    name.map(|name| Asked { name, http2, whole })
}

impl ClientHello {
    /// Reads the body of the message, without the handshake header.
    ///
    /// # Errors
    /// When the part before the extensions breaks off.
    pub fn parse(body: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(body);
        let mut hello = Self::default();
        if hello.fixed_part(&mut reader).is_none() {
            return Err(Flaw {
                at: reader.position(),
                why: "the ClientHello breaks off",
            });
        }
        if reader.is_empty() {
            return Ok(hello);
        }
        let start = reader.position() + 2;
        // A block shorter than it says is read as far as it goes.
        let Some(length) = reader.u16_be() else {
            hello.flaw = Some(Flaw {
                at: start,
                why: "the extensions break off",
            });
            return Ok(hello);
        };
        let rest = reader.rest();
        let block = rest.get(..usize::from(length)).unwrap_or(rest);
        for item in extension::walk(block) {
            match item {
                Ok((kind, body)) => hello.extension(kind, body),
                Err(at) => {
                    hello.flaw = Some(Flaw {
                        at: start + at,
                        why: "an extension breaks off",
                    })
                }
            }
        }
        Ok(hello)
    }

    fn fixed_part(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.legacy_version = Version(reader.u16_be()?);
        self.random = reader.array()?;
        self.session_id = reader.vec8()?.to_vec();
        if self.legacy_version.is_datagram() {
            self.cookie = reader.vec8()?.to_vec();
        }
        self.cipher_suites = u16_list_be(reader.vec16_be()?);
        self.compression_methods = reader.vec8()?.to_vec();
        Some(())
    }

    fn extension(&mut self, kind: u16, body: &[u8]) {
        self.extensions.push(kind);
        let list16 = || u16_list_be(Reader::new(body).vec16_be().unwrap_or_default());
        match kind {
            extension::SERVER_NAME => self.server_name = extension::server_name(body),
            extension::SUPPORTED_GROUPS => self.groups = list16(),
            extension::SIGNATURE_ALGORITHMS => self.signature_algorithms = list16(),
            extension::ALPN => self.alpn = extension::alpn(body),
            extension::ENCRYPT_THEN_MAC => self.encrypt_then_mac = true,
            extension::EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            extension::SESSION_TICKET => self.session_ticket = Some(body.len()),
            extension::PRE_SHARED_KEY => self.pre_shared_key = true,
            extension::EARLY_DATA => self.early_data = true,
            extension::SUPPORTED_VERSIONS => {
                let versions = u16_list_be(Reader::new(body).vec8().unwrap_or_default());
                self.supported_versions = versions.into_iter().map(Version).collect();
            }
            extension::KEY_SHARE => self.key_shares = extension::key_share_groups(body),
            _ => {}
        }
    }

    /// The versions on offer, best first. Without supported_versions every version up to the stated one is.
    pub fn offered_versions(&self) -> Vec<Version> {
        if !self.supported_versions.is_empty() {
            let mut versions: Vec<_> = self
                .supported_versions
                .iter()
                .copied()
                .filter(|version| !is_grease(version.0))
                .collect();
            versions.sort_by_key(|version| std::cmp::Reverse(version.stream_equivalent()));
            return versions;
        }
        let known: &[Version] = if self.legacy_version.is_datagram() {
            &[Version::DTLS12, Version::DTLS10]
        } else {
            &[Version::TLS12, Version::TLS11, Version::TLS10, Version::SSL3]
        };
        let most = self.legacy_version.stream_equivalent();
        let upto: Vec<_> = known
            .iter()
            .copied()
            .filter(|version| version.stream_equivalent() <= most)
            .collect();
        if upto.is_empty() { vec![self.legacy_version] } else { upto }
    }

    /// The best version on offer.
    pub fn highest_version(&self) -> Version {
        self.offered_versions().first().copied().unwrap_or(self.legacy_version)
    }

    /// The name of the client's TLS stack in JA4 form, the same for every connection of one client program.
    ///
    /// Over TCP (`t`) or DTLS (`d`); the two hashes are the first 12 hex digits of SHA-256.
    pub fn ja4(&self) -> String {
        use sha2::{Digest, Sha256};
        let short = |text: String| {
            if text.is_empty() {
                return "000000000000".to_owned();
            }
            Sha256::digest(text.as_bytes())
                .iter()
                .take(6)
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let hex = |numbers: &[u16]| {
            numbers
                .iter()
                .map(|number| format!("{number:04x}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let mut ciphers: Vec<u16> = self.cipher_suites.iter().copied().filter(|n| !is_grease(*n)).collect();
        let mut extensions: Vec<u16> = self.extensions.iter().copied().filter(|n| !is_grease(*n)).collect();
        let transport = if self.legacy_version.is_datagram() { 'd' } else { 't' };
        let version = match self.highest_version() {
            Version::TLS13 => "13",
            Version::TLS12 => "12",
            Version::TLS11 => "11",
            Version::TLS10 => "10",
            Version::SSL3 => "s3",
            Version::SSL2 => "s2",
            Version::DTLS10 => "d1",
            Version::DTLS12 => "d2",
            Version::DTLS13 => "d3",
            _ => "00",
        };
        let name = if self.extensions.contains(&extension::SERVER_NAME) {
            'd'
        } else {
            'i'
        };
        let alpn = match self.alpn.first().map(String::as_bytes) {
            Some(&[first, .., last]) if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() => {
                format!("{}{}", char::from(first), char::from(last))
            }
            Some(&[only]) if only.is_ascii_alphanumeric() => format!("{0}{0}", char::from(only)),
            Some(&[first, .., last]) => format!("{:x}{:x}", first >> 4, last & 0x0F),
            Some(&[only]) => format!("{:x}{:x}", only >> 4, only & 0x0F),
            _ => "00".to_owned(),
        };
        let counts = format!("{:02}{:02}", ciphers.len().min(99), extensions.len().min(99));
        ciphers.sort_unstable();
        extensions.retain(|kind| !matches!(*kind, extension::SERVER_NAME | extension::ALPN));
        extensions.sort_unstable();
        let mut second = hex(&extensions);
        if !second.is_empty() && !self.signature_algorithms.is_empty() {
            second = format!("{second}_{}", hex(&self.signature_algorithms));
        }
        format!(
            "{transport}{version}{name}{counts}{alpn}_{}_{}",
            short(hex(&ciphers)),
            short(second)
        )
    }
}

/// What the server chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerHello {
    /// The version field, which in TLS 1.3 says 1.2.
    pub legacy_version: Version,
    /// supported_versions, where present.
    pub selected_version: Option<Version>,
    /// The server's random.
    pub random: [u8; 32],
    /// The client's own, if the server resumes (TLS 1.2) or always (TLS 1.3).
    pub session_id: Vec<u8>,
    /// The chosen suite.
    pub cipher_suite: u16,
    /// 0 is none.
    pub compression_method: u8,
    /// Extension numbers in the order of the wire.
    pub extensions: Vec<u16>,
    /// The chosen application protocol, in clear up to TLS 1.2.
    pub alpn: Option<String>,
    /// TLS 1.3: the group of the key exchange.
    pub group: Option<u16>,
    /// RFC 7627 is agreed.
    pub extended_master_secret: bool,
    /// RFC 7366 is agreed.
    pub encrypt_then_mac: bool,
    /// The server will send a ticket.
    pub session_ticket: bool,
    /// TLS 1.3: the server resumes with a pre-shared key.
    pub pre_shared_key: bool,
    /// The server asks for another ClientHello.
    pub hello_retry_request: bool,
    /// Where the message breaks a rule; what stands before that place has been read.
    pub flaw: Option<Flaw>,
}

impl ServerHello {
    /// Reads the body of the message, without the handshake header.
    ///
    /// # Errors
    /// When the part before the extensions breaks off.
    pub fn parse(body: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(body);
        let mut hello = Self::default();
        if hello.fixed_part(&mut reader).is_none() {
            return Err(Flaw {
                at: reader.position(),
                why: "the ServerHello breaks off",
            });
        }
        hello.hello_retry_request = hello.random == HELLO_RETRY_REQUEST;
        let start = reader.position() + 2;
        let Some(length) = reader.u16_be() else {
            return Ok(hello);
        };
        let rest = reader.rest();
        let block = rest.get(..usize::from(length)).unwrap_or(rest);
        for item in extension::walk(block) {
            match item {
                Ok((kind, body)) => hello.extension(kind, body),
                Err(at) => {
                    hello.flaw = Some(Flaw {
                        at: start + at,
                        why: "an extension breaks off",
                    })
                }
            }
        }
        Ok(hello)
    }

    fn fixed_part(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        self.legacy_version = Version(reader.u16_be()?);
        self.random = reader.array()?;
        self.session_id = reader.vec8()?.to_vec();
        self.cipher_suite = reader.u16_be()?;
        self.compression_method = reader.u8()?;
        Some(())
    }

    fn extension(&mut self, kind: u16, body: &[u8]) {
        self.extensions.push(kind);
        let mut reader = Reader::new(body);
        match kind {
            extension::SUPPORTED_VERSIONS => self.selected_version = reader.u16_be().map(Version),
            extension::ALPN => self.alpn = extension::alpn(body).into_iter().next(),
            extension::KEY_SHARE => self.group = reader.u16_be(),
            extension::EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            extension::ENCRYPT_THEN_MAC => self.encrypt_then_mac = true,
            extension::SESSION_TICKET => self.session_ticket = true,
            extension::PRE_SHARED_KEY => self.pre_shared_key = true,
            _ => {}
        }
    }

    /// The version that the connection speaks.
    pub fn version(&self) -> Version {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// Whether the server, able to speak a better version, says in its random that it was asked for an older
    /// one: somebody on the way, or the client's own retry, took the better one away (RFC 8446 4.1.3).
    pub fn marks_downgrade(&self) -> bool {
        self.version().stream_equivalent() < Version::TLS13 && matches!(&self.random[24..], b"DOWNGRD\x01" | b"DOWNGRD\x00")
    }
}
