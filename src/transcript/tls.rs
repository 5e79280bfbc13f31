//! Follows one TLS connection record by record: what is said in clear, and what each sealed record is taken for.

use crate::flow::{PerSide, Side};
use crate::protocol::tls::alert::{Alert, SealedAlert, sealed_alert};
use crate::protocol::tls::handshake::{Handshake, HandshakeBuffer, HandshakeType, RawHandshake};
use crate::protocol::tls::record::{ContentType, RecordHeader, Version};
use crate::protocol::tls::size;
use crate::protocol::tls::suite::CipherSuite;
use crate::transcript::inbox::Stamp;
use crate::transcript::moment::{Agreed, Sealed, SealedKind, What};
use crate::transcript::shelf::Shelf;

/// How many certificates of a chain are read.
const CHAIN: usize = 4;
/// A Finished message is a 4-byte header and the hash of the handshake (RFC 8446 section 4.4.4).
const FINISHED: [usize; 2] = [4 + 32, 4 + 48];

/// The state of one TLS connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    pub(super) agreed: Agreed,
    buffers: PerSide<HandshakeBuffer>,
    begun: PerSide<Option<Stamp>>,
    sealed: PerSide<bool>,
    finished: PerSide<bool>,
    shelf: Shelf,
}

impl Tls {
    /// A connection of which nothing was read yet; certificates are looked for on `shelf`.
    pub(super) fn new(shelf: &Shelf) -> Tls {
        Tls {
            shelf: shelf.clone(),
            ..Tls::default()
        }
    }

    /// Whether records of this side are sealed by now.
    pub(super) fn is_sealed(&self, side: Side, header: RecordHeader) -> bool {
        self.sealed[side] || header.content_type == ContentType::APPLICATION_DATA
    }

    fn is_13(&self) -> bool {
        self.agreed
            .version
            .is_some_and(|version| version.stream_equivalent() == Version::TLS13)
    }

    /// Reads a record in clear and tells what it says, each with the frame of its first byte.
    pub(super) fn clear(&mut self, side: Side, header: RecordHeader, fragment: &[u8], first: Stamp) -> Vec<(Stamp, What)> {
        match header.content_type {
            ContentType::HANDSHAKE => self.handshake(side, fragment, first),
            ContentType::CHANGE_CIPHER_SPEC => {
                // TLS 1.3 sends it for the sake of middleboxes only (RFC 8446 appendix D.4).
                if !self.is_13() {
                    self.sealed[side] = true;
                }
                vec![(first, What::ChangeCipherSpec)]
            }
            ContentType::ALERT => match Alert::parse(fragment) {
                Some(alert) => vec![(first, What::Alert(alert))],
                None => vec![(first, What::Sealed(self.sealed_record(side, header)))],
            },
            _ => vec![(first, What::Sealed(self.sealed_record(side, header)))],
        }
    }

    fn handshake(&mut self, side: Side, fragment: &[u8], first: Stamp) -> Vec<(Stamp, What)> {
        if self.buffers[side].pending() == 0 {
            self.begun[side] = Some(first);
        }
        let mut said = Vec::new();
        for raw in self.buffers[side].push(fragment) {
            let began = self.begun[side].replace(first).unwrap_or(first);
            let what = self.message(&raw);
            said.push((began, what));
        }
        said
    }

    /// What of the handshake is told by messages that keys have opened: TLS 1.3 seals certificates and the request for one, and another
    /// handshake inside the connection is sealed as a whole.
    pub(super) fn opened_handshake(&mut self, side: Side, fragment: &[u8], first: Stamp) -> Vec<(Stamp, What)> {
        const CERTIFICATE_REQUEST: HandshakeType = HandshakeType(13);
        let mut said = self.handshake(side, fragment, first);
        said.retain(|(_, what)| match what {
            What::Certificates(_) | What::ClientHello(_) | What::ServerHello(_) => true,
            What::Handshake(kind) => *kind == CERTIFICATE_REQUEST,
            _ => false,
        });
        said
    }

    /// Whether the handshake is over: both sides have sent Finished.
    pub(super) fn is_over(&self) -> bool {
        self.finished.client && self.finished.server
    }

    /// Reads one handshake message in clear.
    pub(super) fn message(&mut self, raw: &RawHandshake) -> What {
        match Handshake::parse(raw, self.agreed.version) {
            Ok(Handshake::ClientHello(hello)) => What::ClientHello(hello),
            Ok(Handshake::ServerHello(hello)) => {
                if hello.hello_retry_request {
                    // TLS 1.3 alone has it; a ChangeCipherSpec may follow at once.
                    self.agreed.version = Some(Version::TLS13);
                } else {
                    self.agreed = Agreed {
                        version: Some(hello.version()),
                        suite: Some(CipherSuite::new(hello.cipher_suite)),
                        encrypt_then_mac: hello.encrypt_then_mac,
                    };
                }
                What::ServerHello(hello)
            }
            Ok(Handshake::Certificate(chain)) => {
                What::Certificates(chain.iter().take(CHAIN).filter_map(|der| self.shelf.read(der)).collect())
            }
            Ok(_) => What::Handshake(raw.kind),
            Err(flaw) => What::Malformed("TLS handshake", Box::new(flaw)),
        }
    }

    /// Tells what a sealed record is taken for; its content is not looked at.
    pub(super) fn sealed_record(&mut self, side: Side, header: RecordHeader) -> Sealed {
        let Agreed {
            version,
            suite,
            encrypt_then_mac,
        } = self.agreed;
        let plain = version
            .zip(suite)
            .and_then(|(version, suite)| size::plaintext(header.length, version, &suite, encrypt_then_mac));
        let alert = version
            .zip(suite)
            .and_then(|(version, suite)| sealed_alert(header, version, &suite));
        let kind = match (header.content_type, alert) {
            (ContentType::ALERT, _) | (_, Some(SealedAlert::Stated)) => SealedKind::AlertStated,
            (_, Some(SealedAlert::BySize)) => SealedKind::AlertBySize,
            (ContentType::HANDSHAKE, _) if !self.finished[side] => self.finish(side),
            (ContentType::HANDSHAKE, _) => SealedKind::Handshake,
            _ if self.is_13() && !self.finished.client => self.hidden_handshake(side, plain.and_then(|plain| plain.exact())),
            _ => SealedKind::Application,
        };
        Sealed {
            content_type: header.content_type,
            length: header.length,
            plain,
            kind,
        }
    }

    /// TLS 1.3 sends the rest of its handshake as application data: everything of the server before the client's Finished, and
    /// of the client up to the record that is as long as a Finished.
    fn hidden_handshake(&mut self, side: Side, plain: Option<usize>) -> SealedKind {
        match side {
            Side::Client if plain.is_some_and(|length| FINISHED.contains(&length)) => self.finish(side),
            _ => SealedKind::Handshake,
        }
    }

    fn finish(&mut self, side: Side) -> SealedKind {
        self.finished[side] = true;
        if self.is_13() {
            // The client answers the server's Finished with its own.
            self.finished.server = true;
        }
        SealedKind::Finished
    }

    /// A hole in this side's bytes: what stood half-read is worthless.
    pub(super) fn gap(&mut self, side: Side) {
        self.buffers[side] = HandshakeBuffer::default();
    }
}
