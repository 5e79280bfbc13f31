//! X.224 class 0 TPDUs in their TPKT, with the negotiation of MS-RDPBCGR 2.2.1.1 and 2.2.1.2.
//!
//! `ironrdp-pdu` reads these too, and loses what a failure turns on: it cannot tell a message without a negotiation structure from one
//! that asks for or selects protocol 0, knows one of the three routing tokens, and wants the cookie to be UTF-8. It is the tests' oracle.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::bytes::{Reader, narrow};
use super::open::{open_bits, open_number};
use super::{Flaw, Parsed, tpkt};

/// One TPDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tpdu<'a> {
    /// CR: the client's first message.
    ConnectionRequest(ConnectionRequest),
    /// CC: the server's answer, also where it refuses.
    ConnectionConfirm(ConnectionConfirm),
    /// DR.
    DisconnectRequest(DisconnectRequest),
    /// ER.
    Error(TpduError),
    /// DT: the envelope of everything later.
    Data(Data<'a>),
}

/// The client's Connection Request (MS-RDPBCGR 2.2.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionRequest {
    /// The length indicator as sent; a correct one is the TPKT's length less 5.
    pub length_indicator: u8,
    /// Destination reference, 0 by the rules.
    pub dst_ref: u16,
    /// Source reference.
    pub src_ref: u16,
    /// Class and options, 0 by the rules.
    pub class: u8,
    /// Where a load balancer or broker wants the connection to go.
    pub routing_token: Option<RoutingToken>,
    /// What follows `Cookie: mstshash=`: the name that was typed, which Windows cuts to nine characters.
    pub cookie: Option<String>,
    /// RDP_NEG_REQ; `None` is a client that speaks Standard RDP Security and knows nothing else.
    pub negotiation: Option<NegotiationRequest>,
    /// The `correlationId` of RDP_NEG_CORRELATION_INFO.
    pub correlation_id: Option<[u8; 16]>,
    /// Bytes that fit none of these. Parameters of ISO 8073 (first byte 0xC0 to 0xC2) show a protocol other than RDP.
    pub leftover: Vec<u8>,
}

/// A routing token (MS-RDPBCGR 2.2.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingToken {
    /// Which of the known forms.
    pub kind: RoutingTokenKind,
    /// The whole line without its CRLF.
    pub text: String,
    /// The address inside `msts=ADDRESS.PORT.0000`, where it has that form.
    pub address: Option<SocketAddrV4>,
}

/// The forms of routing tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutingTokenKind {
    /// `Cookie: msts=`, from a load balancer or the session directory.
    Msts,
    /// `tsv://`, from a connection broker.
    Tsv,
    /// `mth://`, from a connection broker.
    Mth,
    /// Another line of printable text.
    Other,
}

/// RDP_NEG_REQ (MS-RDPBCGR 2.2.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiationRequest {
    /// Flags.
    pub flags: RequestFlags,
    /// `requestedProtocols`; 0 asks for Standard RDP Security in so many words.
    pub protocols: Protocols,
}

/// The server's Connection Confirm (MS-RDPBCGR 2.2.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfirm {
    /// The length indicator as sent; a correct one is the TPKT's length less 5.
    pub length_indicator: u8,
    /// Destination reference.
    pub dst_ref: u16,
    /// Source reference: 0x1234 from Windows and xrdp, 0 from FreeRDP.
    pub src_ref: u16,
    /// Class and options, 0 by the rules.
    pub class: u8,
    /// What the server says to the negotiation.
    pub answer: Answer,
    /// Bytes after it.
    pub leftover: Vec<u8>,
}

/// The negotiation's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No structure at all: a server that knows, or wants, only Standard RDP Security.
    Absent,
    /// RDP_NEG_RSP (MS-RDPBCGR 2.2.1.2.1).
    Response {
        /// What the server supports.
        flags: ResponseFlags,
        /// `selectedProtocol`, one of the values of [`Protocols`].
        selected: Protocols,
    },
    /// RDP_NEG_FAILURE (MS-RDPBCGR 2.2.1.2.2).
    Failure {
        /// `failureCode`.
        code: FailureCode,
    },
    /// A structure that is neither, or states a length other than 8: its bytes stand in `leftover`.
    Unknown {
        /// The structure's first byte.
        kind: u8,
    },
}

/// DR (X.224 section 13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectRequest {
    /// Destination reference.
    pub dst_ref: u16,
    /// Source reference.
    pub src_ref: u16,
    /// Reason (X.224 section 13.5.3): 0 not specified, 1 congestion, 2 not attached, 3 address unknown, 128 normal, ...
    pub reason: u8,
}

/// ER (X.224 section 13.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpduError {
    /// Destination reference.
    pub dst_ref: u16,
    /// Reject cause: 0 not specified, 1 invalid parameter code, 2 invalid TPDU type, 3 invalid parameter value.
    pub cause: u8,
}

/// DT (X.224 section 13.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Whether this TPDU ends its unit; RDP never splits one.
    pub end: bool,
    /// What it carries: MCS ([`super::mcs`]).
    pub payload: &'a [u8],
}

open_bits! {
    /// Security protocols (MS-RDPBCGR 2.2.1.1.1). Standard RDP Security is the empty set.
    Protocols: u32, empty "PROTOCOL_RDP" {
        /// TLS.
        PROTOCOL_SSL = 1;
        /// TLS and CredSSP.
        PROTOCOL_HYBRID = 2;
        /// TLS and RDSTLS.
        PROTOCOL_RDSTLS = 4;
        /// TLS, CredSSP and the Early User Authorization Result.
        PROTOCOL_HYBRID_EX = 8;
        /// TLS and RDS AAD.
        PROTOCOL_RDSAAD = 0x10;
    }
}

open_bits! {
    /// Flags of RDP_NEG_REQ (MS-RDPBCGR 2.2.1.1.1).
    RequestFlags: u8, empty "none" {
        /// The client insists on Restricted Admin.
        RESTRICTED_ADMIN_MODE_REQUIRED = 1;
        /// The client insists on Remote Credential Guard.
        REDIRECTED_AUTHENTICATION_MODE_REQUIRED = 2;
        /// RDP_NEG_CORRELATION_INFO follows.
        CORRELATION_INFO_PRESENT = 8;
    }
}

open_bits! {
    /// Flags of RDP_NEG_RSP (MS-RDPBCGR 2.2.1.2.1).
    ResponseFlags: u8, empty "none" {
        /// Extended client data blocks are understood.
        EXTENDED_CLIENT_DATA_SUPPORTED = 1;
        /// The graphics pipeline is understood.
        DYNVC_GFX_PROTOCOL_SUPPORTED = 2;
        /// Reserved, and set by Windows.
        NEGRSP_FLAG_RESERVED = 4;
        /// Restricted Admin is possible.
        RESTRICTED_ADMIN_MODE_SUPPORTED = 8;
        /// Remote Credential Guard is possible.
        REDIRECTED_AUTHENTICATION_MODE_SUPPORTED = 0x10;
    }
}

open_number! {
    /// `failureCode` of RDP_NEG_FAILURE (MS-RDPBCGR 2.2.1.2.2).
    FailureCode: u32 {
        /// The server wants TLS or better.
        SSL_REQUIRED_BY_SERVER = 1;
        /// The server wants Standard RDP Security.
        SSL_NOT_ALLOWED_BY_SERVER = 2;
        /// The server has no certificate that it can use.
        SSL_CERT_NOT_ON_SERVER = 3;
        /// The request contradicts the protocol that is already in effect.
        INCONSISTENT_FLAGS = 4;
        /// The server wants NLA.
        HYBRID_REQUIRED_BY_SERVER = 5;
        /// The server wants TLS with a client certificate.
        SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER = 6;
        /// The server wants RDS AAD.
        ENTRA_AUTH_REQUIRED_BY_SERVER = 7;
    }
}

const CONNECTION_REQUEST: u8 = 0xE0;
const CONNECTION_CONFIRM: u8 = 0xD0;
const DISCONNECT_REQUEST: u8 = 0x80;
const ERROR: u8 = 0x70;
const DATA: u8 = 0xF0;

/// Reads the TPKT at the start of `bytes` and the TPDU in it.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Tpdu<'_>> {
    let framed = tpkt::parse(bytes);
    if matches!(framed, Parsed::NotMine | Parsed::Malformed(_)) {
        return match framed {
            Parsed::Malformed(flaw) => Parsed::Malformed(flaw),
            _ => Parsed::NotMine,
        };
    }
    // H.225 calls travel in TPKTs as well: the code decides before the whole TPKT is here.
    let known = |code: &u8| {
        matches!(
            code & 0xF0,
            CONNECTION_REQUEST | CONNECTION_CONFIRM | DISCONNECT_REQUEST | ERROR | DATA
        )
    };
    if !bytes.get(5).is_none_or(known) {
        return Parsed::NotMine;
    }
    let Parsed::Done(body, used) = framed else {
        return Parsed::More;
    };
    match tpdu(body) {
        Ok(tpdu) => Parsed::Done(tpdu, used),
        Err(flaw) => Parsed::Malformed(flaw),
    }
}

fn tpdu(body: &[u8]) -> Result<Tpdu<'_>, Flaw> {
    let flaw = |at, why| Flaw { at, why };
    let short = flaw(4, "the TPDU's header is cut short by its TPKT");
    let mut reader = Reader::new(body);
    let indicator = reader.u8().ok_or(short)?;
    if usize::from(indicator) >= body.len() {
        return Err(flaw(4, "the length indicator points behind the TPKT"));
    }
    let code = reader.u8().ok_or(short)?;
    if code & 0xF0 == DATA {
        if indicator != 2 {
            return Err(flaw(4, "a data TPDU's length indicator is not 2"));
        }
        let sequence = reader.u8().ok_or(short)?;
        return Ok(Tpdu::Data(Data {
            end: sequence & 0x80 != 0,
            payload: reader.rest(),
        }));
    }
    let dst_ref = reader.u16_be().ok_or(short)?;
    if code & 0xF0 == ERROR {
        let cause = reader.u8().ok_or(short)?;
        return Ok(Tpdu::Error(TpduError { dst_ref, cause }));
    }
    let src_ref = reader.u16_be().ok_or(short)?;
    let last = reader.u8().ok_or(short)?;
    if code & 0xF0 == DISCONNECT_REQUEST {
        return Ok(Tpdu::DisconnectRequest(DisconnectRequest {
            dst_ref,
            src_ref,
            reason: last,
        }));
    }
    if indicator < 6 {
        return Err(flaw(4, "the length indicator leaves out the fixed part"));
    }
    // The TPKT bounds the variable part, not the indicator, which cannot count past 254 and is wrong in some clients.
    if code & 0xF0 == CONNECTION_REQUEST {
        let mut request = ConnectionRequest {
            length_indicator: indicator,
            dst_ref,
            src_ref,
            class: last,
            ..ConnectionRequest::default()
        };
        variable_part(&mut request, reader.rest());
        return Ok(Tpdu::ConnectionRequest(request));
    }
    let (answer, leftover) = answer(reader.rest());
    Ok(Tpdu::ConnectionConfirm(ConnectionConfirm {
        length_indicator: indicator,
        dst_ref,
        src_ref,
        class: last,
        answer,
        leftover: leftover.to_vec(),
    }))
}

/// Reads the lines, the negotiation request and the correlation information, each where it is there.
fn variable_part(request: &mut ConnectionRequest, mut rest: &[u8]) {
    while let Some((line, after)) = text_line(rest) {
        if let Some(name) = line.strip_prefix(b"Cookie: mstshash=") {
            if request.cookie.is_some() {
                break;
            }
            request.cookie = Some(narrow(name));
        } else {
            if request.routing_token.is_some() {
                break;
            }
            request.routing_token = Some(routing_token(line));
        }
        rest = after;
    }
    let mut reader = Reader::new(rest);
    if let Some((1, flags, protocols)) = negotiation(&mut reader) {
        request.negotiation = Some(NegotiationRequest {
            flags: RequestFlags(flags),
            protocols: Protocols(protocols),
        });
        rest = reader.rest();
    }
    if let [6, 0, 0x24, 0, information @ ..] = rest
        && let Some((id, after)) = information.split_first_chunk::<16>()
        && let Some(after) = after.get(16..)
    {
        request.correlation_id = Some(*id);
        rest = after;
    }
    request.leftover = rest.to_vec();
}

/// A line of text that ends in CRLF and has no control characters; its bytes beyond ASCII are of an unstated code page.
fn text_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| byte.is_ascii_control()).filter(|end| *end > 0)?;
    let (line, after) = bytes.split_at_checked(end)?;
    Some((line, after.strip_prefix(b"\r\n")?))
}

fn routing_token(line: &[u8]) -> RoutingToken {
    let (kind, address) = if let Some(token) = line.strip_prefix(b"Cookie: msts=") {
        (RoutingTokenKind::Msts, msts_address(token))
    } else if line.starts_with(b"tsv://") {
        (RoutingTokenKind::Tsv, None)
    } else if line.starts_with(b"mth://") {
        (RoutingTokenKind::Mth, None)
    } else {
        (RoutingTokenKind::Other, None)
    };
    RoutingToken {
        kind,
        text: narrow(line),
        address,
    }
}

/// `ADDRESS.PORT.0000`: the decimal forms of a little-endian IPv4 address and of a byte-swapped port.
fn msts_address(token: &[u8]) -> Option<SocketAddrV4> {
    let mut fields = core::str::from_utf8(token).ok()?.split('.');
    let address: u32 = fields.next()?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address.to_le_bytes()), port.swap_bytes()))
}

/// The eight bytes that all three negotiation structures share: type, flags, length 8, value.
fn negotiation(reader: &mut Reader<'_>) -> Option<(u8, u8, u32)> {
    let mut ahead = reader.clone();
    let (kind, flags, length) = (ahead.u8()?, ahead.u8()?, ahead.u16_le()?);
    let value = ahead.u32_le()?;
    (length == 8).then(|| {
        *reader = ahead;
        (kind, flags, value)
    })
}

fn answer(rest: &[u8]) -> (Answer, &[u8]) {
    let Some(&kind) = rest.first() else {
        return (Answer::Absent, rest);
    };
    let mut reader = Reader::new(rest);
    let answer = match negotiation(&mut reader) {
        Some((2, flags, selected)) => Answer::Response {
            flags: ResponseFlags(flags),
            selected: Protocols(selected),
        },
        Some((3, _, code)) => Answer::Failure { code: FailureCode(code) },
        _ => return (Answer::Unknown { kind }, rest),
    };
    (answer, reader.rest())
}

#[cfg(test)]
mod tests;
