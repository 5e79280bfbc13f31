//! Names in the handshake messages of TLS and DTLS that cross in clear: ClientHello, Certificate, CertificateRequest.

use super::Pseudonyms;
use super::der::{self, Kind};
use super::names::Of;
use super::text::{Plan, be16, be24};

const CLIENT_HELLO: u8 = 1;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const CERTIFICATE_STATUS: u8 = 22;
/// Messages that hold numbers, keys of one session and signatures: HelloRequest, ServerHello, HelloVerifyRequest, NewSessionTicket,
/// ServerKeyExchange, ServerHelloDone, CertificateVerify, ClientKeyExchange, Finished.
const HARMLESS: [u8; 9] = [0, 2, 3, 4, 12, 14, 15, 16, 20];
/// Extensions of a ClientHello that hold names, or may: client_certificate_url, trusted_ca_keys, user_mapping, client_authz,
/// server_authz, srp, cached_info, certificate_authorities, oid_filters.
const NAMING: [usize; 9] = [2, 3, 6, 7, 8, 12, 25, 47, 48];

/// Redacts one handshake message whose body, as far as it is there, is `body`; the plan counts from its begin.
pub(super) fn message(kind: u8, body: &[u8], whole: bool, dtls: bool, by: &mut Pseudonyms) -> Plan {
    let mut plan = Plan::default();
    let done = match kind {
        CLIENT_HELLO => client_hello(body, dtls, by, &mut plan),
        // What of a message is cut away cannot be walked around.
        CERTIFICATE if whole => certificates(body, by, &mut plan),
        CERTIFICATE_REQUEST if whole => authorities(body, by, &mut plan),
        CERTIFICATE_STATUS if whole => status(body, by, &mut plan),
        kind if HARMLESS.contains(&kind) => Some(()),
        _ => None,
    };
    if done.is_none() {
        // What tells the version stays, and the length of the session identifier.
        plan.give_up(if kind == CLIENT_HELLO { 35 } else { 0 }, body.len());
    }
    plan
}

/// RFC 8446 section 4.1.2 and RFC 6066 section 3. What is cut is redacted as far as it goes.
fn client_hello(body: &[u8], dtls: bool, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let mut at = 34;
    at += 1 + usize::from(*body.get(at)?);
    if dtls {
        at += 1 + usize::from(*body.get(at)?);
    }
    at += 2 + be16(body, at)?;
    at += 1 + usize::from(*body.get(at)?);
    let Some(len) = be16(body, at) else { return Some(()) };
    let end = at + 2 + len;
    at += 2;
    while at + 4 <= end {
        let (Some(kind), Some(len)) = (be16(body, at), be16(body, at + 2)) else {
            return Some(());
        };
        let there = body.len().min(at + 4 + len);
        if kind == 0 {
            // A list of names, each with a kind and a length.
            let mut name = at + 6;
            while let Some(length) = be16(body, name + 1).filter(|_| name + 3 <= there) {
                plan.text(name + 3, body.get(name + 3..there.min(name + 3 + length))?, Of::Host, by);
                name += 3 + length;
            }
        } else if NAMING.contains(&kind) {
            plan.fill(at + 4, there.saturating_sub(at + 4), 0);
        }
        at += 4 + len;
    }
    Some(())
}

/// RFC 6066 section 8: an OCSP response, which names who answers and the certificate that it is about.
fn status(body: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let len = be24(body, 1)?;
    der::redact(body.get(4..4 + len)?, 4, Kind::Certificate, by, plan);
    plan.give_up(4 + len, body.len());
    Some(())
}

/// RFC 5246 section 7.4.2: a list of certificates.
fn certificates(body: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let mut at = 3;
    while at < body.len() {
        let len = be24(body, at)?;
        der::redact(body.get(at + 3..at + 3 + len)?, at + 3, Kind::Certificate, by, plan);
        at += 3 + len;
    }
    Some(())
}

/// RFC 5246 section 7.4.4: kinds, algorithms, and the names of authorities.
fn authorities(body: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let kinds = usize::from(*body.first()?);
    // Before TLS 1.2 there are no algorithms; the length that fits to the end tells.
    let fits = |at: usize| be16(body, at).is_some_and(|len| at + 2 + len == body.len());
    let mut at = 1 + kinds;
    if !fits(at) {
        at += 2 + be16(body, at)?;
    }
    at += 2;
    while at < body.len() {
        let len = be16(body, at)?;
        der::redact(body.get(at + 2..at + 2 + len)?, at + 2, Kind::Certificate, by, plan);
        at += 2 + len;
    }
    Some(())
}

/// Redacts a datagram of DTLS records (RFC 6347 section 4.1); `None` where it is none.
pub(super) fn dtls(bytes: &[u8], by: &mut Pseudonyms) -> Option<Plan> {
    let mut plan = Plan::default();
    let mut at = 0;
    while at < bytes.len() {
        let header: &[u8; 13] = bytes.get(at..)?.first_chunk()?;
        let (kind, epoch) = (header[0], be16(header, 3)?);
        if !(20..=26).contains(&kind) || header[1] != 0xfe {
            return None;
        }
        let len = be16(header, 11)?;
        let start = at + 13;
        let end = (start + len).min(bytes.len());
        // Sealed by the epoch, not by the kind of the record.
        if kind == 22 && epoch == 0 {
            let mut message_at = start;
            while let Some(body_at) = Some(message_at + 12).filter(|body_at| *body_at <= end) {
                let (total, fragment) = (be24(bytes, message_at + 1)?, be24(bytes, message_at + 9)?);
                let body_end = (body_at + fragment).min(end);
                let whole = fragment == total && body_end == body_at + fragment;
                let kind = *bytes.get(message_at)?;
                let body = bytes.get(body_at..body_end)?;
                if be24(bytes, message_at + 6)? == 0 {
                    plan.take(message(kind, body, whole, true, by), body_at);
                } else if !HARMLESS.contains(&kind) {
                    // A later part of a message cannot be walked.
                    plan.fill(body_at, body.len(), 0);
                }
                message_at = body_at + fragment;
            }
        }
        plan.keep(at..end);
        at = start + len;
    }
    Some(plan)
}
