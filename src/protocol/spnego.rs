//! SPNEGO (RFC 4178, MS-SPNG) and the first bytes of the mechanisms in it.

use x509_parser::asn1_rs::{Class, Oid};

use super::open::open_number;
use super::{Flaw, ber, ntlm};

/// One token of a negotiation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation {
    /// What SPNEGO says around the mechanism's token; `None` is a bare token.
    pub envelope: Option<Envelope>,
    /// The mechanism's own token.
    pub token: Option<Token>,
}

/// A negotiation token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// NegTokenInit or NegTokenInit2.
    Init {
        /// `mechTypes`, the preferred one first.
        mechanisms: Vec<Mechanism>,
    },
    /// NegTokenResp.
    Response {
        /// `negState`.
        state: Option<NegState>,
        /// `supportedMech`.
        mechanism: Option<Mechanism>,
        /// `mechListMIC` is there.
        mic: bool,
    },
}

open_number! {
    /// `negState`.
    NegState: u8 {
        /// Done.
        ACCEPT_COMPLETED = 0;
        /// More to come.
        ACCEPT_INCOMPLETE = 1;
        /// No.
        REJECT = 2;
        /// Another mechanism, and its MIC.
        REQUEST_MIC = 3;
    }
}

/// A mechanism by its object identifier in dotted form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mechanism(pub String);

impl Mechanism {
    /// Its usual name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.0.as_str() {
            "1.2.840.113554.1.2.2" => "Kerberos",
            "1.2.840.48018.1.2.2" => "Kerberos (Microsoft)",
            "1.2.840.113554.1.2.2.3" => "Kerberos user-to-user",
            "1.3.6.1.4.1.311.2.2.10" => "NTLM",
            "1.3.6.1.4.1.311.2.2.30" => "NegoEx",
            "1.3.6.1.5.5.2" => "SPNEGO",
            _ => return None,
        })
    }
}

/// A mechanism's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// NTLM.
    Ntlm(ntlm::Message),
    /// Kerberos.
    Kerberos(KerberosToken),
    /// Something else, and how many bytes.
    Other(usize),
}

/// A Kerberos message in its GSS-API wrapping (RFC 4121 section 4.1, MS-KILE for user-to-user).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KerberosToken {
    /// `TOK_ID`.
    pub kind: KerberosKind,
    /// The service whose ticket is shown or asked for, such as `TERMSRV/host`.
    pub service: Option<String>,
    /// `error-code` of a KRB-ERROR.
    pub error_code: Option<u32>,
}

open_number! {
    /// `TOK_ID` of a Kerberos token, in network order.
    KerberosKind: u16 {
        /// AP-REQ.
        KRB_AP_REQ = 0x0100;
        /// AP-REP.
        KRB_AP_REP = 0x0200;
        /// KRB-ERROR.
        KRB_ERROR = 0x0300;
        /// TGT-REQ: the client asks for the server's own ticket.
        KRB_TGT_REQ = 0x0400;
        /// TGT-REP.
        KRB_TGT_REP = 0x0401;
    }
}

const SPNEGO: &[u8] = &[0x2B, 6, 1, 5, 5, 2];
/// Kerberos and its user-to-user variant begin alike; Microsoft's differs in the middle.
const KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 1, 2, 2];
const KERBEROS_MICROSOFT: &[u8] = &[0x2A, 0x86, 0x48, 0x82, 0xF7, 0x12, 1, 2, 2];

/// Reads one token of a negotiation, wrapped or bare.
///
/// # Errors
///
/// The flaw's place counts from the start of `token`.
pub fn parse(token: &[u8]) -> Result<Negotiation, Flaw> {
    let bare = |token| Negotiation {
        envelope: None,
        token: Some(token),
    };
    if let Some(known) = mechanism_token(token) {
        return Ok(bare(known));
    }
    let mut rest = token;
    let outer = ber::take(&mut rest).ok_or(Flaw {
        at: 0,
        why: "a negotiation token is no ASN.1 element",
    })?;
    let negotiation = match (outer.class, outer.tag) {
        // The initial token's wrapping: mechanism, then the choice.
        (Class::Application, 0) => {
            let mut inner = outer.body;
            let mechanism = ber::take(&mut inner);
            if mechanism.is_some_and(|it| it.is(ber::OBJECT_IDENTIFIER) && it.body == SPNEGO) {
                ber::take(&mut inner).and_then(|choice| init(choice.body))
            } else {
                None
            }
        }
        (Class::ContextSpecific, 0) => init(outer.body),
        (Class::ContextSpecific, 1) => response(outer.body),
        _ => return Ok(bare(Token::Other(token.len()))),
    };
    negotiation.ok_or(Flaw {
        at: token.len() - rest.len() - outer.body.len(),
        why: "a negotiation token's elements do not fit",
    })
}

fn init(choice: &[u8]) -> Option<Negotiation> {
    let sequence = ber::inside(choice, ber::SEQUENCE)?;
    let list = ber::field(sequence, 0).and_then(|list| ber::inside(list, ber::SEQUENCE));
    let mechanisms = ber::children(list.unwrap_or_default())
        .filter(|element| element.is(ber::OBJECT_IDENTIFIER))
        .map(|element| mechanism(element.body))
        .collect();
    Some(Negotiation {
        envelope: Some(Envelope::Init { mechanisms }),
        token: inner_token(sequence),
    })
}

fn response(choice: &[u8]) -> Option<Negotiation> {
    let sequence = ber::inside(choice, ber::SEQUENCE)?;
    let state = ber::field(sequence, 0)
        .and_then(|state| ber::inside(state, ber::ENUMERATED))
        .and_then(|state| state.first());
    Some(Negotiation {
        envelope: Some(Envelope::Response {
            state: state.copied().map(NegState),
            mechanism: ber::field(sequence, 1)
                .and_then(|it| ber::inside(it, ber::OBJECT_IDENTIFIER))
                .map(mechanism),
            mic: ber::field(sequence, 3).is_some(),
        }),
        token: inner_token(sequence),
    })
}

/// `mechToken` and `responseToken` have the same number.
fn inner_token(sequence: &[u8]) -> Option<Token> {
    let token = ber::inside(ber::field(sequence, 2)?, ber::OCTET_STRING)?;
    Some(mechanism_token(token).unwrap_or(Token::Other(token.len())))
}

fn mechanism(body: &[u8]) -> Mechanism {
    Mechanism(Oid::new(body.into()).to_id_string())
}

fn mechanism_token(token: &[u8]) -> Option<Token> {
    if token.starts_with(ntlm::SIGNATURE) {
        return ntlm::parse(token).ok().map(Token::Ntlm);
    }
    let mut rest = token;
    let outer = ber::take(&mut rest)?;
    // Windows also sends AP-REQ and its like without any wrapping.
    if outer.class == Class::Application && outer.tag != 0 {
        let kind = match outer.tag {
            14 => KerberosKind::KRB_AP_REQ,
            15 => KerberosKind::KRB_AP_REP,
            30 => KerberosKind::KRB_ERROR,
            _ => return None,
        };
        return Some(Token::Kerberos(kerberos(kind, token)));
    }
    let mut inner = outer.body;
    let mechanism = ber::take(&mut inner)?;
    let known =
        mechanism.is(ber::OBJECT_IDENTIFIER) && (mechanism.body.starts_with(KERBEROS) || mechanism.body == KERBEROS_MICROSOFT);
    let (kind, message) = inner.split_first_chunk::<2>()?;
    known.then(|| Token::Kerberos(kerberos(KerberosKind(u16::from_be_bytes(*kind)), message)))
}

fn kerberos(kind: KerberosKind, message: &[u8]) -> KerberosToken {
    let mut rest = message;
    let outer = ber::take(&mut rest).map(|element| element.body);
    // AP-REQ and KRB-ERROR have an application tag around their sequence, TGT-REQ is one.
    let sequence = |body| ber::inside(body, ber::SEQUENCE);
    let (service, error_code) = match kind {
        KerberosKind::KRB_AP_REQ => {
            let ticket = outer
                .and_then(sequence)
                .and_then(|fields| ber::field(fields, 3))
                .and_then(|mut ticket| ber::take(&mut ticket))
                .and_then(|ticket| sequence(ticket.body))
                .and_then(|fields| ber::field(fields, 2));
            (ticket.and_then(principal), None)
        }
        KerberosKind::KRB_ERROR => {
            let fields = outer.and_then(sequence);
            let code = fields
                .and_then(|fields| ber::field(fields, 6))
                .and_then(|code| ber::inside(code, ber::INTEGER))
                .and_then(ber::low_32_bits);
            let name = fields.and_then(|fields| ber::field(fields, 10));
            (name.and_then(principal), code)
        }
        KerberosKind::KRB_TGT_REQ => {
            let name = outer.and_then(|fields| ber::field(fields, 2));
            (name.and_then(principal), None)
        }
        _ => (None, None),
    };
    KerberosToken {
        kind,
        service,
        error_code,
    }
}

/// PrincipalName: its parts joined by slashes.
fn principal(name: &[u8]) -> Option<String> {
    let fields = ber::inside(name, ber::SEQUENCE)?;
    let parts: Vec<String> = ber::children(ber::inside(ber::field(fields, 1)?, ber::SEQUENCE)?)
        .map(|part| super::bytes::narrow(part.body))
        .collect();
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests;
