//! RDP inside an opened TLS connection: CredSSP, RDSTLS or RDS AAD Auth first where they were agreed on, then TPKT and fast-path PDUs.

use crate::flow::{PerSide, Side};
use crate::protocol::x224::{self, Tpdu};
use crate::protocol::{Parsed, aad, credssp, mcs, rdpemt, rdstls, spnego, tpkt};
use crate::transcript::domain::Domain;
use crate::transcript::inbox::{Inbox, Stamp};
use crate::transcript::moment::{CredSsp, Depth, Frames, Moment, Moments, Multitransport, Pdu, What};

/// How many tokens of one TSRequest are read; there is one in practice.
const TOKENS: usize = 4;

/// The content of an opened TLS connection to a host.
#[derive(Debug)]
pub(super) struct RdpStream {
    depth: Depth,
    message_bytes: usize,
    inbox: PerSide<Inbox>,
    /// Bytes were missing: what follows is out of step until a TPKT begins.
    lost: PerSide<bool>,
    mcs: bool,
    domain: Domain,
}

impl RdpStream {
    pub(super) fn new(depth: Depth, message_bytes: usize) -> RdpStream {
        RdpStream {
            depth,
            message_bytes,
            inbox: PerSide::default(),
            lost: PerSide::default(),
            mcs: false,
            domain: Domain::default(),
        }
    }

    /// The content of one record.
    pub(super) fn bytes(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) {
        self.inbox[side].push(bytes, first);
        let mut inbox = std::mem::take(&mut self.inbox[side]);
        while !inbox.is_empty() {
            let began = inbox.first().unwrap_or(first);
            let used = self.read(side, inbox.bytes(), began, last, moments);
            if used == 0 {
                break;
            }
            inbox.consume(used);
        }
        if inbox.bytes().len() > self.message_bytes {
            inbox.clear();
            self.lost[side] = true;
        }
        self.inbox[side] = inbox;
    }

    /// Records of this side are missing.
    pub(super) fn gap(&mut self, side: Side) {
        self.inbox[side].clear();
        self.lost[side] = true;
    }

    /// Reads one message; returns how many bytes it has, 0 if more are needed.
    fn read(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        if self.lost[side] {
            // A record begins with a PDU on every known peer.
            if !matches!(x224::parse(bytes), Parsed::Done(..) | Parsed::More) || bytes.first() != Some(&3) {
                return bytes.len();
            }
            self.lost[side] = false;
        }
        let mut say = |what: What| {
            moments.push(Moment {
                at: last.at,
                began: first.at,
                side,
                frames: Frames {
                    first: first.no,
                    last: last.no,
                },
                depth: self.depth,
                what,
            });
        };
        let pdu = |pdu: Pdu| What::Pdu(Box::new(pdu));
        if !self.mcs {
            if let Some((said, used)) = tunnel(side, bytes) {
                say(pdu(Pdu::Multitransport(said)));
                return used;
            }
            match before_mcs(side, bytes) {
                Parsed::Done(said, used) => {
                    say(pdu(said));
                    return used;
                }
                Parsed::More => return 0,
                Parsed::Malformed(flaw) => {
                    say(What::Malformed("CredSSP", Box::new(flaw)));
                    return bytes.len();
                }
                Parsed::NotMine => {}
            }
        }
        match x224::parse(bytes) {
            Parsed::Done(Tpdu::Data(data), used) => {
                match mcs::parse(data.payload) {
                    Ok(parsed) => {
                        self.mcs = true;
                        self.domain.says(&parsed).into_iter().for_each(say);
                    }
                    Err(flaw) => say(What::Malformed("MCS", Box::new(flaw))),
                }
                used
            }
            Parsed::Done(Tpdu::DisconnectRequest(request), used) => {
                say(What::X224Disconnect(request.reason));
                used
            }
            // In the direct approach the negotiation follows the logon.
            Parsed::Done(Tpdu::ConnectionRequest(request), used) => {
                say(What::Request(Box::new(request)));
                used
            }
            Parsed::Done(Tpdu::ConnectionConfirm(confirm), used) => {
                say(What::Confirm(Box::new(confirm)));
                used
            }
            Parsed::Done(Tpdu::Error(_), used) => used,
            Parsed::More => 0,
            Parsed::Malformed(flaw) => {
                say(What::Malformed("X.224", Box::new(flaw)));
                bytes.len()
            }
            Parsed::NotMine if self.mcs => match tpkt::unit(bytes) {
                Parsed::Done(_, used) => {
                    say(What::FastPath(used));
                    used
                }
                Parsed::More => 0,
                Parsed::NotMine | Parsed::Malformed(_) => {
                    self.lost[side] = true;
                    bytes.len()
                }
            },
            Parsed::NotMine => bytes.len(),
        }
    }
}

/// The creation of the tunnel that RDP-UDP carries (MS-RDPEMT), which stands where MCS begins on TCP; its requests and answers have one
/// size each, and nothing else of RDP begins like them.
pub(super) fn tunnel(side: Side, bytes: &[u8]) -> Option<(Multitransport, usize)> {
    let begins: &[u8] = match side {
        Side::Client => &[0, 24, 0, 4],
        Side::Server => &[1, 4, 0, 4],
    };
    let Parsed::Done(pdu, used) = rdpemt::parse(bytes.starts_with(begins).then_some(bytes)?) else {
        return None;
    };
    match pdu {
        rdpemt::TunnelPdu::CreateRequest { request_id, .. } => Some((Multitransport::TunnelRequest(request_id), used)),
        rdpemt::TunnelPdu::CreateResponse { hr_response } => Some((Multitransport::TunnelResponse(hr_response), used)),
        rdpemt::TunnelPdu::Data(_) | rdpemt::TunnelPdu::Other(_) => None,
    }
}

/// What may come before MCS.
fn before_mcs(side: Side, bytes: &[u8]) -> Parsed<Pdu> {
    match credssp::parse(bytes) {
        Parsed::Done(request, used) => {
            let tokens = request
                .tokens
                .iter()
                .take(TOKENS)
                .filter_map(|token| spnego::parse(token).ok())
                .collect();
            return Parsed::Done(
                Pdu::CredSsp(CredSsp {
                    version: request.version,
                    tokens,
                    public_key: request.pub_key_auth.is_some(),
                    credentials: request.auth_info.is_some(),
                    error: request.error_code,
                }),
                used,
            );
        }
        Parsed::More => return Parsed::More,
        Parsed::Malformed(flaw) => return Parsed::Malformed(flaw),
        Parsed::NotMine => {}
    }
    match rdstls::parse(bytes) {
        Parsed::Done(said, used) => return Parsed::Done(Pdu::Rdstls(said), used),
        Parsed::More => return Parsed::More,
        Parsed::Malformed(flaw) => return Parsed::Malformed(flaw),
        Parsed::NotMine => {}
    }
    match aad::parse(bytes) {
        Parsed::Done(said, used) => return Parsed::Done(Pdu::Aad(said), used),
        Parsed::More => return Parsed::More,
        Parsed::Malformed(flaw) => return Parsed::Malformed(flaw),
        Parsed::NotMine => {}
    }
    if side == Side::Server {
        return match credssp::early_user_authorization(bytes) {
            Parsed::Done(result, used) => Parsed::Done(Pdu::EarlyResult(result.0), used),
            Parsed::More => Parsed::More,
            Parsed::Malformed(flaw) => Parsed::Malformed(flaw),
            Parsed::NotMine => Parsed::NotMine,
        };
    }
    Parsed::NotMine
}
