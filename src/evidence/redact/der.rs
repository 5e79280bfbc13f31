//! Names, addresses, serial numbers and keys in DER: certificates (RFC 5280) and Kerberos messages (RFC 4120). No length changes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Pseudonyms;
use super::names::Of;
use super::text::{Plan, is_printable};

/// How deep structures may stand in one another.
const DEPTH: u8 = 32;
/// Opaque bytes of this length and more may be a fingerprint.
const FINGERPRINT: usize = 16;

/// How long flags in a Kerberos message are: a count of unused bits, and 32 bits.
const FLAGS: usize = 5;
/// Numbers in a Kerberos message have 32 bits, unsigned ones a byte of sign before them.
const NUMBER: usize = 5;

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;

/// 1.3.6.1.4.1.311.21.8, under which Active Directory Certificate Services names templates.
const TEMPLATES: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 0x15, 8];

/// What the structure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keys, serial numbers and fingerprints name the owner: public registers list them.
    Certificate,
    /// Passwords can be guessed from what is sealed, so that nothing of it is left, nor of any other opaque string.
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
    let end = match kind {
        Kind::Certificate => bytes.len(),
        Kind::Kerberos => message_end(bytes),
    };
    let message = bytes.get(..end.min(bytes.len())).unwrap_or_default();
    walk(message, end, offset, kind, by, plan, 0);
    plan.fill(offset + message.len(), bytes.len() - message.len(), 0);
}

/// Where the Kerberos message at the begin of `bytes` ends, which may be behind what was captured; 0 where there is none. Tags and
/// lengths stay as they are, so that text which only looks like them must be known by what holds for every message: one of the
/// application tags of RFC 4120 section 5.10, and a sequence that fills it.
fn message_end(bytes: &[u8]) -> usize {
    let outer = element(bytes, 0).filter(|outer| matches!(outer.tag, 0x6a..=0x6f | 0x74..=0x76 | 0x7e));
    let inner = outer.as_ref().and_then(|outer| element(bytes, outer.start));
    match (outer, inner) {
        (Some(outer), Some(inner)) if inner.tag == SEQUENCE && inner.end == outer.end => outer.end,
        _ => 0,
    }
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

/// `end` is where the elements end by the length around them: behind `bytes` where those are cut.
fn walk(bytes: &[u8], end: usize, offset: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan, depth: u8) {
    // EncryptedData is a sequence of [0] etype, perhaps [1] kvno, and [2] cipher; no other sequence with [0] has octets in [2] that
    // are not opaque.
    let sealing = kind == Kind::Kerberos && bytes.first() == Some(&0xa0);
    let mut at = 0;
    while at < bytes.len() {
        // What is cut is redacted as far as it goes; what is no DER, or too deep, is emptied.
        let found = element(bytes, at).filter(|one| depth <= DEPTH && (kind == Kind::Certificate || belongs(one, end)));
        let content = found.as_ref().and_then(|one| bytes.get(one.start..one.end.min(bytes.len())));
        let (Some(one), Some(content)) = (&found, content) else {
            return plan.fill(offset + at, bytes.len() - at, 0);
        };
        let place = offset + one.start;
        let length = one.end - one.start;
        if sealing && one.tag == 0xa2 && content.first() == Some(&OCTET_STRING) {
            let header = element(content, 0).map_or(0, |octets| octets.start.min(content.len()));
            plan.fill(place + header, content.len() - header, 0);
        } else if one.tag & 0x20 != 0 {
            walk(content, length, place, kind, by, plan, depth + 1);
        } else if one.tag == OCTET_STRING {
            octets(content, length, place, kind, by, plan, depth);
        } else if kind == Kind::Kerberos {
            kerberos(one.tag, content, place, by, plan);
        } else {
            certificate(one.tag, content, place, by, plan);
        }
        at = one.end;
    }
}

/// Whether an element may stand in a Kerberos message: in the structure that holds it, and with a tag that such messages have.
fn belongs(one: &Element, end: usize) -> bool {
    one.end <= end && (one.tag & 0x20 == 0 || matches!(one.tag, SEQUENCE | 0x31 | 0x60..=0x7e | 0xa0..=0xbe))
}

/// OCTET STRING, often a wrapping.
fn octets(content: &[u8], length: usize, place: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan, depth: u8) {
    let cut = content.len() < length;
    match kind {
        // Of what is cut, whatever is a structure is walked as far as it goes.
        Kind::Kerberos if depth < DEPTH && opens(content, length) && (cut || is_whole(content)) => {
            walk(content, length, place, kind, by, plan, depth + 1);
        }
        Kind::Certificate if depth < DEPTH && is_whole(content) => walk(content, length, place, kind, by, plan, depth + 1),
        _ if is_printable(content) => plan.text(place, content, of(kind), by),
        Kind::Kerberos => opaque(content, place, by, plan),
        Kind::Certificate if content.len() >= FINGERPRINT => plan.put(place, by.names.scrambled(content)),
        Kind::Certificate => {}
    }
}

/// Whether a structure begins here that has `length` bytes, or is the first of several.
fn opens(content: &[u8], length: usize) -> bool {
    element(content, 0).is_some_and(|one| one.tag & 0x20 != 0 && belongs(&one, length))
}

/// Octets of a Kerberos message that are neither structure nor text.
fn opaque(content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    match *content {
        // HostAddress.
        [a, b, c, d] => plan.put(place, by.addresses.v4(Ipv4Addr::new(a, b, c, d)).octets().to_vec()),
        // KERB-EXT-ERROR (MS-KILE section 2.2.2): an NTSTATUS that is an error, zeros, and flags. It decides verdicts.
        [_, _, _, 0xc0..=0xff, 0, 0, 0, 0, _, 0, 0, 0] => {}
        _ => match content.first_chunk::<16>().filter(|_| content.len() == 16) {
            Some(v6 @ [0x20 | 0xfc..=0xfe, ..]) => plan.put(place, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec()),
            _ => plan.fill(place, content.len(), 0),
        },
    }
}

fn of(kind: Kind) -> Of {
    match kind {
        Kind::Certificate => Of::Certificate,
        Kind::Kerberos => Of::Host,
    }
}

/// A primitive element of a Kerberos message: numbers, flags, times and identifiers stay.
fn kerberos(tag: u8, content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    let stays = match tag {
        0x06 => true,
        0x01 | 0x02 | 0x05 | 0x0a => content.len() <= NUMBER,
        // A time, which has no letters but that of its zone.
        0x17 | 0x18 => content.iter().all(|byte| byte.is_ascii_digit() || *byte == b'Z'),
        0x03 => content.len() <= FLAGS,
        _ => false,
    };
    if !stays && !text(tag, content, place, Kind::Kerberos, by, plan) {
        plan.fill(place, content.len(), 0);
    }
}

/// A text in one of the encodings of ASN.1; says whether it is one.
fn text(tag: u8, content: &[u8], place: usize, kind: Kind, by: &mut Pseudonyms, plan: &mut Plan) -> bool {
    match tag {
        // UTF8String, NumericString, PrintableString, T61String, IA5String, VisibleString, GeneralString.
        0x0c | 0x12 | 0x13 | 0x14 | 0x16 | 0x1a | 0x1b => plan.text(place, content, of(kind), by),
        // BMPString.
        0x1e => plan.wide(place, content, true, of(kind), by),
        // UniversalString.
        0x1c => plan.fill(place, content.len(), b'x'),
        _ => return false,
    }
    true
}

/// A primitive element of a certificate.
fn certificate(tag: u8, content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    if text(tag, content, place, Kind::Certificate, by, plan) {
        return;
    }
    match tag {
        // BIT STRING: a key or a signature.
        0x03 if content.len() > FINGERPRINT => bits(content, place, by, plan),
        // OBJECT IDENTIFIER: that of a template is made of numbers of its own for every Active Directory.
        0x06 if content.starts_with(TEMPLATES) => {
            let arcs = content.get(TEMPLATES.len()..).unwrap_or_default();
            let changed = by.names.scrambled(arcs);
            // Seven bits of a number in each byte; the first byte of a number is not 0x80.
            let arcs = arcs.iter().zip(changed).map(|(old, new)| old & 0x80 | (new & 0x7f).max(1));
            plan.put(place + TEMPLATES.len(), arcs.collect());
        }
        // INTEGER: a serial number, or a part of a key. The first byte holds the sign.
        0x02 if content.len() > 4 => number(content, place, by, plan),
        0x80..=0x9f => general_name(tag, content, place, by, plan),
        _ => {}
    }
}

/// GeneralName (RFC 5280 section 4.2.1.6), or something else under a tag of its own.
fn general_name(tag: u8, content: &[u8], place: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    match *content {
        _ if is_printable(content) && content.len() > 1 => plan.text(place, content, Of::Host, by),
        // iPAddress.
        [a, b, c, d] if tag == 0x87 => plan.put(place, by.addresses.v4(Ipv4Addr::new(a, b, c, d)).octets().to_vec()),
        _ if tag == 0x87 => match content.first_chunk::<16>() {
            Some(v6) => plan.put(place, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec()),
            // A network in a constraint on names.
            None => plan.fill(place, content.len(), 0),
        },
        // Names in another encoding.
        _ if matches!(tag, 0x81 | 0x82 | 0x86) && content.len() < FINGERPRINT => plan.text(place, content, Of::Host, by),
        _ if content.len() >= FINGERPRINT => plan.put(place, by.names.scrambled(content)),
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
        walk(inner, inner.len(), place + 1, Kind::Certificate, by, plan, DEPTH - 1);
        return;
    }
    if let Some(rest) = inner.get(1..) {
        plan.put(place + 2, by.names.scrambled(rest));
    }
}
