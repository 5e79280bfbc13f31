//! Names, addresses, serial numbers and keys in DER: certificates (RFC 5280) and Kerberos messages (RFC 4120). No length changes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Pseudonyms;
use super::names::Of;
use super::text::{Plan, is_printable};

/// How deep structures may stand in one another.
const DEPTH: u8 = 32;
/// Opaque bytes of this length and more may be a fingerprint.
const FINGERPRINT: usize = 16;

/// 1.3.6.1.4.1.311.21.8, under which Active Directory Certificate Services names templates.
const TEMPLATES: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x15, 8];

/// What the structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keys, serial numbers and fingerprints name the owner: public registers list them.
    Certificate,
    /// Opaque strings are sealed.
    Kerberos,
}

/// One element: its tag, where its content begins and ends.
struct Element {
    tag: u8,
    start: usize,
    end: usize,
}

/// Replaces names in `bytes`, which stand at `offset` of the plan.
pub(super) fn redact(bytes: &[u8], offset: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan) {
    walk(bytes, offset, kind, by, plan, 0);
}

/// Whether `bytes` is one structure after the other, to the last byte, or a single text, number or string of octets.
fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 0;
    let constructed = bytes
        .first()
        .is_some_and(|tag| matches!(tag, 0x30 | 0x31 | 0x60..=0x7e | 0xa0..=0xbe));
    let single = bytes
        .first()
        .is_some_and(|tag| matches!(tag, 0x02..=0x04 | 0x06 | 0x0a | 0x0c | 0x13 | 0x14 | 0x16 | 0x1a..=0x1c | 0x1e));
    while at < bytes.len() {
        match element(bytes, at) {
            Some(one) if one.end <= bytes.len() && (constructed || one.end == bytes.len()) => at = one.end,
            _ => return false,
        }
    }
    constructed || single
}

fn element(bytes: &[u8], at: usize) -> Option<Element> {
    let tag = *bytes.get(at)?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let first = usize::from(*bytes.get(at + 1)?);
    let (start, len) = match first {
        0..=0x7f => (at + 2, first),
        0x81..=0x84 => {
            let count = first - 0x80;
            let len = bytes
                .get(at + 2..at + 2 + count)?
                .iter()
                .fold(0usize, |len, byte| len << 8 | usize::from(*byte));
            (at + 2 + count, len)
        }
        _ => return None,
    };
    Some(Element {
        tag,
        start,
        end: start.checked_add(len)?,
    })
}

fn walk(bytes: &[u8], offset: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan, depth: u8) {
    let mut at = 0;
    while at < bytes.len() {
        // What is cut is redacted as far as it goes; what is no DER, or too deep, is emptied.
        let found = element(bytes, at).filter(|_| depth <= DEPTH);
        let content = found.as_ref().and_then(|one| bytes.get(one.start..one.end.min(bytes.len())));
        let (Some(one), Some(content)) = (&found, content) else {
            return plan.fill(offset + at, bytes.len() - at, 0);
        };
        let place = offset + one.start;
        if one.tag & 0x20 != 0 {
            walk(content, place, kind, by, plan, depth + 1);
        } else {
            primitive(one.tag, content, place, kind, by, plan, depth);
        }
        at = one.end;
    }
}

fn primitive(tag: u8, content: &[u8], place: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan, depth: u8) {
    let of = if kind == Kind::Certificate {
        Of::Certificate
    } else {
        Of::Host
    };
    match tag {
        // UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString, GeneralString.
        0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1a | 0x1b => plan.text(place, content, of, by),
        // BMPString.
        0x1e => plan.wide(place, content, true, of, by),
        // UniversalString.
        0x1c => plan.fill(place, content.len(), b'x'),
        // OCTET STRING, often a wrapping.
        0x04 if depth < DEPTH && is_whole(content) => walk(content, place, kind, by, plan, depth + 1),
        0x04 if is_printable(content) => plan.text(place, content, of, by),
        0x04 if kind == Kind::Kerberos => match *content {
            // HostAddress.
            [a, b, c, d] => plan.put(place, by.addresses.v4(Ipv4Addr::new(a, b, c, d)).octets().to_vec()),
            _ => {
                if let ([0x20 | 0xfc..=0xfe, ..], Some(v6)) =
                    (content, content.first_chunk::<16>().filter(|_| content.len() == 16))
                {
                    plan.put(place, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec());
                }
            }
        },
        0x04 if content.len() >= FINGERPRINT => plan.put(place, by.names.scrambled(content)),
        // BIT STRING: a key or a signature.
        0x03 if kind == Kind::Certificate && content.len() > FINGERPRINT => bits(content, place, by, plan),
        // OBJECT IDENTIFIER: that of a template is made of numbers of its own for every Active Directory.
        0x06 if content.starts_with(TEMPLATES) => {
            let arcs = content.get(TEMPLATES.len()..).unwrap_or_default();
            let changed = by.names.scrambled(arcs);
            // Seven bits of a number in each byte; the first byte of a number is not 0x80.
            let arcs = arcs.iter().zip(changed).map(|(old, new)| old & 0x80 | (new & 0x7f).max(1));
            plan.put(place + TEMPLATES.len(), arcs.collect());
        }
        // INTEGER: a serial number, or a part of a key. The first byte holds the sign.
        0x02 if kind == Kind::Certificate && content.len() > 4 => number(content, place, by, plan),
        0x80..=0x9f => match *content {
            _ if is_printable(content) && content.len() > 1 => plan.text(place, content, Of::Host, by),
            // GeneralName: iPAddress.
            [a, b, c, d] if tag == 0x87 => plan.put(place, by.addresses.v4(Ipv4Addr::new(a, b, c, d)).octets().to_vec()),
            _ if tag == 0x87 => match content.first_chunk::<16>() {
                Some(v6) => plan.put(place, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec()),
                // A network in a constraint on names.
                None => plan.fill(place, content.len(), 0),
            },
            // Names in another encoding.
            _ if kind == Kind::Certificate && matches!(tag, 0x81 | 0x82 | 0x86) && content.len() < FINGERPRINT => {
                plan.text(place, content, Of::Host, by);
            }
            _ if kind == Kind::Certificate && content.len() >= FINGERPRINT => plan.put(place, by.names.scrambled(content)),
            _ => {}
        },
        _ => {}
    }
}

fn number(content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    // Behind a sign byte of zero the next one must keep its top bit, or the encoding would not be the shortest.
    let keep = if content.first() == Some(&0) { 2 } else { 1 };
    if let Some(rest) = content.get(keep..content.len() - 1) {
        plan.put(place + keep, by.names.scrambled(rest));
    }
}

/// A key that is a structure of numbers, a point on a curve, or a signature. The first byte counts unused bits.
fn bits(content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    let inner = content.get(1..).unwrap_or_default();
    if is_whole(inner) {
        // Numbers in a sequence; nothing deeper.
        walk(inner, place + 1, Kind::Certificate, by, plan, DEPTH - 1);
        return;
    }
    if let Some(rest) = inner.get(1..) {
        plan.put(place + 2, by.names.scrambled(rest));
    }
}
