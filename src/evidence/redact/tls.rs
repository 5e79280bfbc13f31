//! Names in the handshake messages of TLS and DTLS that cross in clear: ClientHello, Certificate, CertificateRequest.

use super::Pseudonyms;
use super::der::{self, Kind};
use super::text::{Plan, be16, be24};

const CLIENT_HELLO: u8 = 1;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;

/// Redacts one handshake message whose body, as far as it is there, is `body`; the plan counts from its begin.
pub(super) fn message(kind: u8, body: &[u8], whole: bool, dtls: bool, by: &mut Pseudonyms) -> Plan {
    let mut plan = Plan::default();
    match kind {
        CLIENT_HELLO => {
            let _ = client_hello(body, dtls, by, &mut plan);
        }
        CERTIFICATE if whole => {
            let _ = certificates(body, by, &mut plan);
        }
        // A chain of which a part is missing cannot be walked.
        CERTIFICATE => plan.fill(0, body.len(), 0),
        CERTIFICATE_REQUEST => {
            let _ = authorities(body, by, &mut plan);
        }
        _ => {}
    }
    plan
}

/// RFC 8446 section 4.1.2 and RFC 6066 section 3.
fn client_hello(body: &[u8], dtls: bool, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let mut at = 34;
    at += 1 + usize::from(*body.get(at)?);
    if dtls {
        at += 1 + usize::from(*body.get(at)?);
    }
    at += 2 + be16(body, at)?;
    at += 1 + usize::from(*body.get(at)?);
    let end = at + 2 + be16(body, at)?;
    at += 2;
    while at + 4 <= end {
        let (kind, len) = (be16(body, at)?, be16(body, at + 2)?);
        if kind == 0 {
            // A list of names, each with a kind and a length.
            let mut name = at + 6;
            while name + 3 <= at + 4 + len {
                let length = be16(body, name + 1)?;
                let there = body.len().min(name + 3 + length);
                plan.text(name + 3, body.get(name + 3..there)?, by);
                name += 3 + length;
            }
        }
        at += 4 + len;
    }
    Some(())
}

/// RFC 5246 section 7.4.2: a list of certificates.
fn certificates(body: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let mut at = 3;
    while at + 3 <= body.len() {
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
    while at + 2 <= body.len() {
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
        if kind == 22 && epoch == 0 {
            let mut message_at = start;
            while let Some(body_at) = Some(message_at + 12).filter(|body_at| *body_at <= end) {
                let (total, fragment) = (be24(bytes, message_at + 1)?, be24(bytes, message_at + 9)?);
                let body_end = (body_at + fragment).min(end);
                let whole = fragment == total && body_end == body_at + fragment;
                let part = message(*bytes.get(message_at)?, bytes.get(body_at..body_end)?, whole, true, by);
                plan.take(part, body_at);
                message_at = body_at + fragment;
            }
        }
        plan.keep(at..end);
        at = start + len;
    }
    Some(plan)
}
