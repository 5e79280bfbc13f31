//! Handshake messages: put together from records, and read.

use crate::protocol::Flaw;
use crate::protocol::bytes::{Reader, u16_list_be};
use crate::protocol::tls::extension;
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::record::Version;

/// Bytes in front of every handshake message: type and length.
pub const HEADER_LEN: usize = 4;

/// Bytes of one message that are kept; certificate chains of real servers stay far below.
pub const MAX_KEPT: usize = 64 * 1024;

/// The number of a handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandshakeType(pub u8);

impl HandshakeType {
    /// client_hello.
    pub const CLIENT_HELLO: Self = Self(1);
    /// server_hello, and in TLS 1.3 hello_retry_request.
    pub const SERVER_HELLO: Self = Self(2);
    /// certificate.
    pub const CERTIFICATE: Self = Self(11);
    /// finished.
    pub const FINISHED: Self = Self(20);
    /// key_update.
    pub const KEY_UPDATE: Self = Self(24);

    /// The registered name.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "hello_request",
            1 => "client_hello",
            2 => "server_hello",
            3 => "hello_verify_request",
            4 => "new_session_ticket",
            5 => "end_of_early_data",
            8 => "encrypted_extensions",
            11 => "certificate",
            12 => "server_key_exchange",
            13 => "certificate_request",
            14 => "server_hello_done",
            15 => "certificate_verify",
            16 => "client_key_exchange",
            20 => "finished",
            21 => "certificate_url",
            22 => "certificate_status",
            24 => "key_update",
            67 => "next_protocol",
            254 => "message_hash",
            _ => return None,
        })
    }
}

/// One handshake message as it came, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHandshake {
    /// Its number.
    pub kind: HandshakeType,
    /// The length that its header states.
    pub length: usize,
    /// The body; shorter than `length` where that is above [`MAX_KEPT`].
    pub body: Vec<u8>,
}

/// Puts the handshake messages of one direction together from the records that carry them.
///
/// One message may span records and one record may hold several. A message above [`MAX_KEPT`] is cut to that
/// and the rest of it is dropped.
#[derive(Clone, Debug, Default)]
pub struct HandshakeBuffer {
    bytes: Vec<u8>,
    /// Bytes of a cut message that are still to come, and to drop.
    to_drop: usize,
    dropped: u64,
}

impl HandshakeBuffer {
    /// Adds the fragment of a handshake record and gives the messages that it completes.
    pub fn push(&mut self, fragment: &[u8]) -> Vec<RawHandshake> {
        let skip = self.to_drop.min(fragment.len());
        self.to_drop -= skip;
        self.dropped += skip as u64;
        self.bytes.extend_from_slice(&fragment[skip..]);
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some(&[kind, a, b, c]) = self.bytes[at..].first_chunk::<HEADER_LEN>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let kept = length.min(MAX_KEPT);
            let start = at + HEADER_LEN;
            let Some(body) = self.bytes.get(start..start + kept) else {
                break;
            };
            messages.push(RawHandshake {
                kind: HandshakeType(kind),
                length,
                body: body.to_vec(),
            });
            at = start + kept;
            let beyond = length - kept;
            let here = beyond.min(self.bytes.len() - at);
            at += here;
            self.dropped += here as u64;
            self.to_drop = beyond - here;
        }
        self.bytes.drain(..at);
        messages
    }

    /// Bytes of a message that is not yet complete.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that the bound has cost.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// A handshake message that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The server asks for a new handshake.
    HelloRequest,
    /// The client's offer.
    ClientHello(Box<ClientHello>),
    /// The server's choice, or its HelloRetryRequest.
    ServerHello(Box<ServerHello>),
    /// DTLS: the server asks the client to prove its address.
    HelloVerifyRequest {
        /// The cookie to send back.
        cookie: Vec<u8>,
    },
    /// A ticket to resume with.
    NewSessionTicket {
        /// Seconds.
        lifetime: u32,
        /// Bytes of the ticket.
        length: usize,
    },
    /// TLS 1.3: the client has no more early data.
    EndOfEarlyData,
    /// TLS 1.3: the server's other extensions.
    EncryptedExtensions {
        /// Extension numbers in the order of the wire.
        extensions: Vec<u16>,
        /// The chosen application protocol.
        alpn: Option<String>,
    },
    /// A certificate chain in DER, the sender's own first. Empty where a client has none to show.
    Certificate(Vec<Vec<u8>>),
    /// Up to TLS 1.2: the server's part of an ephemeral key exchange.
    ServerKeyExchange {
        /// The named group, if the exchange is one on elliptic curves.
        group: Option<u16>,
    },
    /// The server wants a certificate of the client.
    CertificateRequest(CertificateRequest),
    /// Up to TLS 1.2: the server has said all.
    ServerHelloDone,
    /// Proof of the private key.
    CertificateVerify {
        /// The signature algorithm, stated since TLS 1.2.
        algorithm: Option<u16>,
    },
    /// Up to TLS 1.2: the client's part of the key exchange.
    ClientKeyExchange,
    /// The end of the handshake.
    Finished,
    /// A stapled OCSP answer.
    CertificateStatus,
    /// TLS 1.3: the sender's next record is under new keys.
    KeyUpdate {
        /// The peer is asked to do the same.
        requested: bool,
    },
    /// Any other number.
    Other(HandshakeType),
}

/// What the server wants in a client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Certificate types, up to TLS 1.2 (1 is RSA, 64 ECDSA).
    pub types: Vec<u8>,
    /// Signature algorithms that it takes.
    pub signature_algorithms: Vec<u16>,
    /// How many authorities it names.
    pub authorities: usize,
}

impl Handshake {
    /// Reads a message. `version` is the version of the ServerHello, `None` before it: three messages have
    /// another form in TLS 1.3, and one another form before TLS 1.2.
    ///
    /// # Errors
    /// When the message breaks off or its lengths do not agree.
    pub fn parse(message: &RawHandshake, version: Option<Version>) -> Result<Self, Flaw> {
        let version = version.map(Version::stream_equivalent);
        let tls13 = version == Some(Version::TLS13);
        let body = message.body.as_slice();
        let mut reader = Reader::new(body);
        let parsed = match message.kind.0 {
            0 => Some(Self::HelloRequest),
            1 => return ClientHello::parse(body).map(|hello| Self::ClientHello(Box::new(hello))),
            2 => return ServerHello::parse(body).map(|hello| Self::ServerHello(Box::new(hello))),
            3 => hello_verify_request(&mut reader),
            4 => new_session_ticket(&mut reader, tls13),
            5 => Some(Self::EndOfEarlyData),
            8 => encrypted_extensions(&mut reader),
            11 => certificate(&mut reader, tls13, message.length > body.len()),
            12 => Some(Self::ServerKeyExchange {
                group: named_group(body),
            }),
            13 if tls13 => certificate_request_13(&mut reader),
            13 => certificate_request(&mut reader, version.is_none_or(|version| version >= Version::TLS12)),
            14 => Some(Self::ServerHelloDone),
            15 => {
                let stated = version.is_none_or(|version| version >= Version::TLS12);
                Some(Self::CertificateVerify {
                    algorithm: if stated { reader.u16_be() } else { None },
                })
            }
            16 => Some(Self::ClientKeyExchange),
            20 => Some(Self::Finished),
            22 => Some(Self::CertificateStatus),
            24 => reader.u8().map(|requested| Self::KeyUpdate {
                requested: requested == 1,
            }),
            _ => Some(Self::Other(message.kind)),
        };
        parsed.ok_or(Flaw {
            at: reader.position(),
            why: "the handshake message breaks off",
        })
    }
}

fn hello_verify_request(reader: &mut Reader<'_>) -> Option<Handshake> {
    reader.u16_be()?;
    let cookie = reader.vec8()?.to_vec();
    Some(Handshake::HelloVerifyRequest { cookie })
}

fn new_session_ticket(reader: &mut Reader<'_>, tls13: bool) -> Option<Handshake> {
    let lifetime = reader.u32_be()?;
    if tls13 {
        reader.u32_be()?;
        reader.vec8()?;
    }
    let length = reader.vec16_be()?.len();
    Some(Handshake::NewSessionTicket { lifetime, length })
}

fn encrypted_extensions(reader: &mut Reader<'_>) -> Option<Handshake> {
    let mut extensions = Vec::new();
    let mut alpn = None;
    for (kind, body) in extension::walk(reader.vec16_be()?).flatten() {
        extensions.push(kind);
        if kind == extension::ALPN {
            alpn = extension::alpn(body).into_iter().next();
        }
    }
    Some(Handshake::EncryptedExtensions { extensions, alpn })
}

/// The chain. A message that was cut to the bound gives the certificates that came whole.
fn certificate(reader: &mut Reader<'_>, tls13: bool, cut: bool) -> Option<Handshake> {
    if tls13 {
        reader.vec8()?;
    }
    let list = if cut {
        reader.u24_be()?;
        reader.rest()
    } else {
        reader.vec24_be()?
    };
    let mut entries = Reader::new(list);
    let mut chain = Vec::new();
    while !entries.is_empty() {
        let entry = entries.vec24_be();
        let extensions = if tls13 { entries.vec16_be() } else { Some(&[][..]) };
        match entry {
            Some(der) => chain.push(der.to_vec()),
            None if cut => break,
            None => return None,
        }
        if extensions.is_none() && !cut {
            return None;
        }
    }
    Some(Handshake::Certificate(chain))
}

/// ECParameters of curve type 3, named_curve (RFC 8422 5.4). A finite-field exchange starts with the length of
/// its prime instead, whose high byte is never 3: that would be a prime of 6144 bits or more, which no RDP peer uses.
fn named_group(body: &[u8]) -> Option<u16> {
    match *body {
        [3, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

fn certificate_request(reader: &mut Reader<'_>, algorithms: bool) -> Option<Handshake> {
    let types = reader.vec8()?.to_vec();
    let signature_algorithms = if algorithms {
        u16_list_be(reader.vec16_be()?)
    } else {
        Vec::new()
    };
    let authorities = count_vectors(reader.vec16_be()?);
    Some(Handshake::CertificateRequest(CertificateRequest {
        types,
        signature_algorithms,
        authorities,
    }))
}

fn certificate_request_13(reader: &mut Reader<'_>) -> Option<Handshake> {
    reader.vec8()?;
    let mut request = CertificateRequest::default();
    for (kind, body) in extension::walk(reader.vec16_be()?).flatten() {
        let list = Reader::new(body).vec16_be().unwrap_or_default();
        match kind {
            extension::SIGNATURE_ALGORITHMS => request.signature_algorithms = u16_list_be(list),
            extension::CERTIFICATE_AUTHORITIES => request.authorities = count_vectors(list),
            _ => {}
        }
    }
    Some(Handshake::CertificateRequest(request))
}

fn count_vectors(list: &[u8]) -> usize {
    let mut reader = Reader::new(list);
    std::iter::from_fn(|| reader.vec16_be()).count()
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
