//! DNS messages, and those of its kin that speak it on other ports: names label by label in place, addresses in answers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Pseudonyms;
use super::names::Of;
use super::text::{Plan, be16};

/// The length of the header.
const HEADER: usize = 12;
/// No message has more questions; what has is something else on the same port.
const QUESTIONS: usize = 16;
/// Nor more records in one of its sections.
const RECORDS: usize = 4_096;
/// How many labels of a name are followed, and how often elsewhere.
const LABELS: usize = 128;
const JUMPS: usize = 16;

/// Redacts a message (RFC 1035 section 4).
pub(super) fn redact(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) {
    let from = match walk(bytes, by, plan) {
        // Nothing that counts follows the records.
        Some(end) => end,
        // What cannot be walked to its end is emptied behind the header, names that were found before included.
        None if is_header(bytes) => HEADER,
        None => 0,
    };
    plan.fill(from, bytes.len().saturating_sub(from), 0);
}

/// Whether the numbers at the begin may be those of a message.
fn is_header(bytes: &[u8]) -> bool {
    let number = |at| be16(bytes, at).unwrap_or(usize::MAX);
    number(4) <= QUESTIONS && [6, 8, 10].iter().all(|at| number(*at) <= RECORDS)
}

/// Says where the last record ends.
fn walk(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<usize> {
    if !is_header(bytes) {
        return None;
    }
    let questions = be16(bytes, 4)?;
    let records = be16(bytes, 6)? + be16(bytes, 8)? + be16(bytes, 10)?;
    let mut at = HEADER;
    for _ in 0..questions {
        at = name(bytes, at, by, plan)? + 4;
    }
    for _ in 0..records {
        let head = name(bytes, at, by, plan)?;
        let (kind, len) = (be16(bytes, head)?, be16(bytes, head + 8)?);
        let start = head + 10;
        record(bytes, kind, start, len, by, plan)?;
        at = start + len;
    }
    (at <= bytes.len()).then_some(at)
}

/// The data of one record.
fn record(bytes: &[u8], kind: usize, start: usize, len: usize, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let data = bytes.get(start..start + len)?;
    match (kind, data) {
        (1, [a, b, c, d]) => plan.put(start, by.addresses.v4(Ipv4Addr::new(*a, *b, *c, *d)).octets().to_vec()),
        (28, _) => {
            let v6 = data.first_chunk::<16>().filter(|_| len == 16)?;
            plan.put(start, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec());
        }
        // NS, CNAME, PTR, DNAME; MX; SRV; SOA.
        (2 | 5 | 12 | 39, _) => {
            name(bytes, start, by, plan)?;
        }
        (15, _) => {
            name(bytes, start + 2, by, plan)?;
        }
        (33, _) => {
            name(bytes, start + 6, by, plan)?;
        }
        (6, _) => {
            let second = name(bytes, start, by, plan)?;
            name(bytes, second, by, plan)?;
        }
        // Options of OPT may name the client's network, too.
        _ => plan.fill(start, len, 0),
    }
    Some(())
}

/// A name in place, label by label; gives where it ends.
fn name(bytes: &[u8], mut at: usize, by: &mut Pseudonyms, plan: &mut Plan) -> Option<usize> {
    let begin = at;
    let mut labels: Vec<(usize, &[u8])> = Vec::new();
    let end = loop {
        match *bytes.get(at)? {
            0 => break at + 1,
            0xc0.. => break at + 2,
            len @ 1..=63 => {
                labels.push((at + 1, bytes.get(at + 1..at + 1 + usize::from(len))?));
                at += 1 + usize::from(len);
            }
            _ => return None,
        }
        if at - begin > 255 {
            return None;
        }
    };
    // A pointer is two bytes, of which the second may be cut away.
    if end > bytes.len() {
        return None;
    }
    if let Some(new) = reverse(&spelled(bytes, begin), by) {
        for ((place, label), new) in labels.iter().zip(new) {
            plan.put(*place, fitted(&new, label.len()));
        }
        return Some(end);
    }
    // Replaced as one text, so that a top-level domain is known by its place.
    let closed = bytes.get(at) == Some(&0);
    let whole: Vec<String> = labels
        .iter()
        .map(|(_, label)| String::from_utf8_lossy(label).into_owned())
        .collect();
    let mut text = whole.join(".");
    if !closed {
        // More labels follow elsewhere.
        text.push_str(".-.x");
    }
    let replaced = by.names.text(&text, Of::Host);
    for ((place, label), new) in labels.iter().zip(replaced.split('.')) {
        if new.len() == label.len() && !label.contains(&b'.') {
            plan.put(*place, new.as_bytes().to_vec());
        } else {
            plan.fill(*place, label.len(), b'x');
        }
    }
    Some(end)
}

/// All labels of the name at `at` in lower case, those elsewhere in the message included.
fn spelled(bytes: &[u8], mut at: usize) -> Vec<String> {
    let mut labels = Vec::new();
    let mut jumps = 0;
    while labels.len() < LABELS && jumps < JUMPS {
        match bytes.get(at) {
            Some(len @ 1..=63) => {
                let next = at + 1 + usize::from(*len);
                let label = bytes.get(at + 1..next).unwrap_or_default();
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at = next;
            }
            Some(0xc0..) => {
                at = be16(bytes, at).unwrap_or(0) & 0x3fff;
                jumps += 1;
            }
            _ => break,
        }
    }
    labels
}

/// The labels by which the pseudonym of an address, or of a network, is looked up, where `labels` look one up (RFC 1035 section 3.5,
/// RFC 3596 section 2.5). Pseudonyms keep prefixes, so that those of a network are those of its addresses.
fn reverse(labels: &[String], by: &Pseudonyms) -> Option<Vec<String>> {
    let [numbers @ .., kind, arpa] = labels else { return None };
    let mut new = match kind.as_str() {
        "in-addr" if numbers.len() <= 4 => {
            let mut octets = [0; 4];
            for (octet, label) in octets.iter_mut().zip(numbers.iter().rev()) {
                *octet = label.parse().ok()?;
            }
            let octets = by.addresses.v4(Ipv4Addr::from(octets)).octets();
            octets.iter().take(numbers.len()).map(u8::to_string).collect::<Vec<String>>()
        }
        "ip6" if numbers.len() <= 32 => {
            let mut bits = 0u128;
            for label in numbers.iter().rev() {
                bits = bits << 4 | u128::from(u8::from_str_radix(label, 16).ok().filter(|nibble| *nibble < 16)?);
            }
            let missing = 4 * (32 - numbers.len());
            let pseudonym = by
                .addresses
                .v6(Ipv6Addr::from_bits(bits.checked_shl(missing as u32).unwrap_or(0)));
            let nibbles = format!("{:032x}", pseudonym.to_bits());
            nibbles.chars().take(numbers.len()).map(String::from).collect()
        }
        _ => return None,
    };
    if arpa != "arpa" {
        return None;
    }
    new.reverse();
    new.extend([kind.clone(), arpa.clone()]);
    Some(new)
}

/// A label in the room of another one: zeros before a number that is shorter; one that is longer cannot be told.
fn fitted(label: &str, room: usize) -> Vec<u8> {
    match label.len() {
        len if len <= room => format!("{label:0>room$}").into_bytes(),
        _ => vec![b'x'; room],
    }
}
