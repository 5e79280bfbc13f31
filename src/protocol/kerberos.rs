//! Kerberos messages (RFC 4120) on UDP or TCP 88, read with `kerberos-parser`, and the Windows error data in them (MS-KILE 2.2).

use kerberos_parser::krb5::{KdcRep, KdcReq, KrbError, PrincipalName};
use kerberos_parser::krb5_parser::{parse_as_rep, parse_as_req, parse_tgs_rep, parse_tgs_req};
use x509_parser::asn1_rs::{BitString, Class, FromDer, GeneralizedTime, nom};

use super::ber;
use super::bytes::Reader;
use super::open::{open_bits, open_number};
use super::{Flaw, Parsed};

/// Bytes of the length in front of a message on TCP (RFC 4120 section 7.2.2).
pub const LENGTH: usize = 4;

/// The longest message that is waited for. Windows bounds a ticket by MaxTokenSize, 48000 bytes by default and 65535 at most.
const LONGEST: usize = 1 << 20;

open_number! {
    /// Message type: the application tag (RFC 4120 section 5.10).
    Kind: u32 {
        /// Asks for the first ticket.
        AS_REQ = 10;
        /// The first ticket.
        AS_REP = 11;
        /// Asks for a ticket to a service.
        TGS_REQ = 12;
        /// A ticket to a service.
        TGS_REP = 13;
        /// Shows a ticket to a service.
        AP_REQ = 14;
        /// The service's answer.
        AP_REP = 15;
        /// Integrity only.
        KRB_SAFE = 20;
        /// Encrypted.
        KRB_PRIV = 21;
        /// Tickets handed on.
        KRB_CRED = 22;
        /// A refusal, or a question.
        KRB_ERROR = 30;
    }
}

open_bits! {
    /// KDCOptions (RFC 4120 section 5.4.1; bit 0 of the specification is the most significant).
    KdcOptions: u32, empty "none" {
        /// The ticket may be forwarded.
        FORWARDABLE = 0x4000_0000;
        /// The ticket may be renewed.
        RENEWABLE = 0x0080_0000;
        /// The KDC may answer with a referral or a canonical name.
        CANONICALIZE = 0x0001_0000;
        /// A shorter renewable life will do.
        RENEWABLE_OK = 0x0000_0010;
        /// User-to-user: encrypt the ticket in the session key of the ticket that comes along.
        ENC_TKT_IN_SKEY = 0x0000_0008;
        /// Renew the ticket that comes along.
        RENEW = 0x0000_0002;
        /// Validate the ticket that comes along.
        VALIDATE = 0x0000_0001;
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: Kind,
    /// Its contents, as far as they are in clear.
    pub body: Body,
}

/// The contents of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// AS-REQ or TGS-REQ.
    Request(Request),
    /// AS-REP or TGS-REP.
    Reply(Reply),
    /// KRB-ERROR.
    Error(Box<Refusal>),
    /// A type whose contents are not read.
    Opaque,
    /// The type is known from the tag, and the contents break the specification.
    Damaged(Flaw),
}

/// KDC-REQ (RFC 4120 section 5.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The user (AS-REQ only).
    pub cname: Option<String>,
    /// The realm asked.
    pub realm: String,
    /// The service, for example `TERMSRV/host.example`.
    pub sname: Option<String>,
    /// Options.
    pub options: KdcOptions,
    /// Encryption types offered, the client's favourite first.
    pub etypes: Vec<i32>,
    /// Types of the pre-authentication data; 2 is an encrypted timestamp, 16 a smart card's PKINIT.
    pub padata: Vec<i32>,
    /// Tickets that come along (for user-to-user).
    pub additional_tickets: usize,
}

impl Request {
    /// Whether a user-to-user ticket is asked for, as CredSSP does for the server's computer account.
    #[must_use]
    pub const fn is_user_to_user(&self) -> bool {
        self.options.contains(KdcOptions::ENC_TKT_IN_SKEY) && self.additional_tickets > 0
    }
}

/// KDC-REP (RFC 4120 section 5.4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The user's realm.
    pub crealm: String,
    /// The user.
    pub cname: String,
    /// The realm of the ticket.
    pub realm: String,
    /// The service of the ticket.
    pub sname: String,
    /// Encryption type of the ticket.
    pub ticket_etype: i32,
    /// Encryption type of the part for the client.
    pub etype: i32,
}

/// KRB-ERROR (RFC 4120 section 5.9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `error-code`.
    pub code: i32,
    /// The client's clock as it stood in the request, if the KDC repeats it.
    pub ctime: Option<Clock>,
    /// The server's clock.
    pub stime: Clock,
    /// The user's realm.
    pub crealm: Option<String>,
    /// The user.
    pub cname: Option<String>,
    /// The service's realm.
    pub realm: String,
    /// The service.
    pub sname: String,
    /// `e-text`.
    pub text: Option<String>,
    /// The NTSTATUS of KERB-EXT-ERROR in `e-data` (MS-KILE 2.2.1 and 2.2.2).
    pub status: Option<u32>,
}

impl Refusal {
    /// The server's clock minus the client's, in whole seconds, if both are known.
    #[must_use]
    pub fn skew(&self) -> Option<i64> {
        Some(self.stime.seconds.saturating_sub(self.ctime?.seconds))
    }
}

/// A time of day as Kerberos writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970, UTC.
    pub seconds: i64,
    /// Microseconds, below 1000000.
    pub micros: u32,
}

/// Takes one message off a TCP stream.
#[must_use]
pub fn frame(bytes: &[u8]) -> Parsed<Message> {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.u32_be().map(|length| length as usize) else {
        return Parsed::More;
    };
    if length == 0 || length > LONGEST || reader.rest().first().is_some_and(|first| !is_tag(*first)) {
        return Parsed::NotMine;
    }
    let Some(message) = reader.take(length) else {
        return Parsed::More;
    };
    match parse(message) {
        Parsed::Done(message, _) => Parsed::Done(message, reader.position()),
        Parsed::NotMine => Parsed::NotMine,
        Parsed::Malformed(flaw) => Parsed::Malformed(Flaw {
            at: LENGTH + flaw.at,
            ..flaw
        }),
        // The stream's length is all there is: a message that wants more was framed wrongly.
        Parsed::More => Parsed::Malformed(Flaw {
            at: LENGTH,
            why: "Kerberos message longer than its frame",
        }),
    }
}

/// Reads one message at the start of `bytes`: a datagram, or what stands inside another protocol.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Message> {
    match bytes.first() {
        None => return Parsed::More,
        Some(first) if !is_tag(*first) => return Parsed::NotMine,
        Some(_) => {}
    }
    let (tag, start, end) = match ber::extent(bytes) {
        Ok((Class::Application, tag, start, end)) => (tag, start, end),
        Ok(_) => return Parsed::NotMine,
        Err(ber::Stop::More) => return Parsed::More,
        Err(ber::Stop::Wrong) => {
            return Parsed::Malformed(Flaw {
                at: 0,
                why: "not a Kerberos tag and length",
            });
        }
    };
    if end > LONGEST {
        return Parsed::NotMine;
    }
    let Some(whole) = bytes.get(..end) else {
        return Parsed::More;
    };
    let kind = Kind(tag);
    let body = match kind {
        Kind::AS_REQ => read(parse_as_req(whole), request),
        Kind::TGS_REQ => read(parse_tgs_req(whole), request),
        Kind::AS_REP => read(parse_as_rep(whole), reply),
        Kind::TGS_REP => read(parse_tgs_rep(whole), reply),
        Kind::KRB_ERROR => read(KrbError::from_der(whole), refusal),
        _ => Some(Body::Opaque),
    };
    let damaged = Body::Damaged(Flaw {
        at: start,
        why: "Kerberos message not as RFC 4120 defines it",
    });
    Parsed::Done(
        Message {
            kind,
            body: body.unwrap_or(damaged),
        },
        end,
    )
}

/// The first byte of a message: application class, constructed, and one of the tags of RFC 4120 section 5.10.
const fn is_tag(first: u8) -> bool {
    matches!(first, 0x6A..=0x6F | 0x74..=0x76 | 0x7E)
}

fn read<T, E>(parsed: Result<(&[u8], T), nom::Err<E>>, body: fn(&T) -> Option<Body>) -> Option<Body> {
    parsed.ok().and_then(|(_, value)| body(&value))
}

fn request(from: &KdcReq<'_>) -> Option<Body> {
    let body = &from.req_body;
    Some(Body::Request(Request {
        cname: body.cname.as_ref().map(PrincipalName::to_string),
        realm: body.realm.0.clone(),
        sname: body.sname.as_ref().map(PrincipalName::to_string),
        options: KdcOptions(first_32(&body.kdc_options)),
        etypes: body.etype.iter().map(|etype| etype.0).collect(),
        padata: from.padata.iter().map(|padata| padata.padata_type.0).collect(),
        additional_tickets: body.additional_tickets.len(),
    }))
}

fn reply(from: &KdcRep<'_>) -> Option<Body> {
    Some(Body::Reply(Reply {
        crealm: from.crealm.0.clone(),
        cname: from.cname.to_string(),
        realm: from.ticket.realm.0.clone(),
        sname: from.ticket.sname.to_string(),
        ticket_etype: from.ticket.enc_part.etype.0,
        etype: from.enc_part.etype.0,
    }))
}

fn refusal(from: &KrbError<'_>) -> Option<Body> {
    let ctime = from
        .ctime
        .as_ref()
        .and_then(|time| clock(time, from.cusec.unwrap_or_default()));
    Some(Body::Error(Box::new(Refusal {
        code: from.error_code.0,
        ctime,
        stime: clock(&from.stime, from.susec)?,
        crealm: from.crealm.as_ref().map(|realm| realm.0.clone()),
        cname: from.cname.as_ref().map(PrincipalName::to_string),
        realm: from.realm.0.clone(),
        sname: from.sname.to_string(),
        text: from.etext.clone(),
        status: from.edata.and_then(extended_error),
    })))
}

fn first_32(bits: &BitString<'_>) -> u32 {
    bits.as_ref()
        .iter()
        .take(4)
        .zip([24, 16, 8, 0])
        .fold(0, |all, (byte, shift)| all | u32::from(*byte) << shift)
}

fn clock(time: &GeneralizedTime, micros: u32) -> Option<Clock> {
    Some(Clock {
        seconds: time.utc_datetime().ok()?.unix_timestamp(),
        micros,
    })
}

/// `data-type` of KERB-ERROR-DATA that holds a KERB-EXT-ERROR (MS-KILE 2.2.1). PA-PW-SALT of METHOD-DATA has the same number.
const EXTENDED: &[u8] = &[3];

/// The NTSTATUS in `e-data`: KERB-ERROR-DATA, a list of such (as METHOD-DATA is written), or the bare KERB-EXT-ERROR.
fn extended_error(edata: &[u8]) -> Option<u32> {
    if let Some(status) = ext_error(edata) {
        return Some(status);
    }
    let outer = ber::take(&mut &*edata).filter(|element| element.is(SEQUENCE))?;
    typed_value(outer.body).or_else(|| {
        ber::children(outer.body)
            .filter(|element| element.is(SEQUENCE))
            .find_map(|element| typed_value(element.body))
    })
}

/// Universal SEQUENCE.
const SEQUENCE: u32 = 16;

fn typed_value(body: &[u8]) -> Option<u32> {
    let context = |number| {
        let outer = ber::children(body).find(|it| it.class == Class::ContextSpecific && it.tag == number)?;
        ber::take(&mut &*outer.body)
    };
    let kind = context(1).filter(|it| it.is(ber::INTEGER))?;
    let value = context(2).filter(|it| it.is(ber::OCTET_STRING))?;
    if kind.body == EXTENDED { ext_error(value.body) } else { None }
}

/// KERB-EXT-ERROR (MS-KILE 2.2.2): status, reserved, flags. The severity tells it from a salt of twelve letters.
fn ext_error(bytes: &[u8]) -> Option<u32> {
    /// The two upper bits of an NTSTATUS that is an error (MS-ERREF 2.3).
    const ERROR: u32 = 0b11;
    let mut reader = Reader::new(bytes);
    let (status, reserved, flags) = (reader.u32_le()?, reader.u32_le()?, reader.u32_le()?);
    (reader.is_empty() && reserved == 0 && flags & 1 != 0 && status >> 30 == ERROR).then_some(status)
}

#[cfg(test)]
mod tests;
