//! What is inside a TLS connection whose keys are known: records are opened one by one, and their content is read as RDP or as the
//! tunnel of an RD Gateway.

use crate::flow::{Limits, PerSide, Side};
use crate::protocol::Sender;
use crate::protocol::tls::decrypt::{Decryptor, WhyNot};
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::record::{ContentType, RecordHeader};
use crate::transcript::inbox::Stamp;
use crate::transcript::keys::Keys;
use crate::transcript::moment::{Depth, Moments};
use crate::transcript::stream::RdpStream;
use crate::transcript::tunnel::Tunnel;

/// The opened side of one TLS connection.
#[derive(Debug)]
pub(super) struct Opened {
    decryptor: Decryptor,
    inside: Inside,
    depth: Depth,
    limits: Limits,
    keys: Keys,
    /// Whether a record of this side has failed to open; it is said once.
    failed: PerSide<bool>,
}

#[derive(Debug)]
enum Inside {
    /// Nothing has been said yet.
    Nothing,
    Rdp(Box<RdpStream>),
    Tunnel(Box<Tunnel>),
}

/// What a record turned out to be, as far as the TLS layer has to know.
pub(super) enum Opening {
    /// Content, which was read.
    Content,
    /// A handshake message under encryption.
    Handshake(Vec<u8>),
    /// An alert under encryption.
    Alert(Vec<u8>),
    /// It did not open, for the first time in this direction.
    Failed(WhyNot),
    /// Nothing to say.
    Nothing,
}

pub(super) fn sender(side: Side) -> Sender {
    match side {
        Side::Client => Sender::Client,
        Side::Server => Sender::Server,
    }
}

impl Opened {
    pub(super) fn new(decryptor: Decryptor, depth: Depth, limits: &Limits, keys: &Keys) -> Opened {
        Opened {
            decryptor,
            inside: Inside::Nothing,
            depth,
            limits: *limits,
            keys: keys.clone(),
            failed: PerSide::default(),
        }
    }

    /// How deep its content is.
    pub(super) fn depth(&self) -> Depth {
        self.depth
    }

    /// Another handshake inside the connection has come to its ServerHello.
    pub(super) fn renegotiate(&mut self, client: &ClientHello, server: &ServerHello) {
        // Without its keys the records after it do not open, which is said then.
        let _known = self.keys.renegotiate(&mut self.decryptor, client, server);
    }

    /// A record in clear between the hellos and the keys: the keys follow from its place.
    pub(super) fn pass(&mut self, side: Side, header: RecordHeader, fragment: &[u8]) {
        // Records in clear never fail.
        let _clear = self.decryptor.record(sender(side), header, fragment);
    }

    /// Opens a sealed record and reads its content.
    pub(super) fn record(
        &mut self,
        side: Side,
        header: RecordHeader,
        fragment: &[u8],
        (first, last): (Stamp, Stamp),
        moments: &mut Moments,
    ) -> Opening {
        match self.decryptor.record(sender(side), header, fragment) {
            Ok(plain) => match plain.content_type {
                ContentType::APPLICATION_DATA => {
                    self.content(side, &plain.bytes, first, last, moments);
                    Opening::Content
                }
                ContentType::HANDSHAKE => Opening::Handshake(plain.bytes),
                ContentType::ALERT => Opening::Alert(plain.bytes),
                _ => Opening::Nothing,
            },
            Err(why) => {
                self.inside_gap(side);
                let first_time = !std::mem::replace(&mut self.failed[side], true);
                if first_time { Opening::Failed(why) } else { Opening::Nothing }
            }
        }
    }

    fn content(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) {
        if bytes.is_empty() {
            return;
        }
        if let Inside::Nothing = self.inside {
            self.inside = if Tunnel::begins(side, bytes) {
                Inside::Tunnel(Box::new(Tunnel::new(self.depth, &self.limits, &self.keys)))
            } else {
                Inside::Rdp(Box::new(RdpStream::new(self.depth, self.limits.message_bytes)))
            };
        }
        match &mut self.inside {
            Inside::Rdp(stream) => stream.bytes(side, bytes, first, last, moments),
            Inside::Tunnel(tunnel) => tunnel.bytes(side, bytes, first, last, moments),
            Inside::Nothing => {}
        }
    }

    /// Hands over what was said in other connections on behalf of this one.
    pub(super) fn finish(&mut self, moments: &mut Moments) {
        if let Inside::Tunnel(tunnel) = &mut self.inside {
            tunnel.finish(moments);
        }
    }

    /// About so many bytes of records are missing.
    pub(super) fn gap(&mut self, side: Side, bytes: u32) {
        self.decryptor.missing(sender(side), u64::from(bytes));
        self.inside_gap(side);
    }

    fn inside_gap(&mut self, side: Side) {
        match &mut self.inside {
            Inside::Rdp(stream) => stream.gap(side),
            Inside::Tunnel(tunnel) => tunnel.gap(side),
            Inside::Nothing => {}
        }
    }
}
