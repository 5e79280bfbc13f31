//! What a stream or a datagram says: which stretches of it are understood, and where names stand in them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Pseudonyms;
use super::der::{self, Kind};
use super::names::Of;
use super::streams::Tape;
use super::text::{Plan, be16, be24, is_printable};
use super::{dns, http, rdp, tls};
use crate::protocol::preamble::{self, Preamble};
use crate::protocol::{Parsed, sniff, stun};

const DNS: u16 = 53;
const KERBEROS: u16 = 88;
/// The kind of a record that carries bytes to be sent back (RFC 6520).
const HEARTBEAT: u8 = 24;
/// Multicast DNS and link-local name resolution, which speak DNS.
const DNS_LIKE: [u16; 3] = [DNS, 5353, 5355];
/// RDP over UDP, to the host and to a gateway.
const RDP_UDP: [u16; 2] = [3389, 3391];
/// TURN relays.
const RELAY: [u16; 1] = [3478];
/// The longest first line of another protocol that is kept.
const LINE: usize = 512;
/// Text of this length and more in a datagram that is not understood in full is taken for text.
const TEXT: usize = 5;

/// Redacts a stream by its head; `ports` are those of both ends.
pub(super) fn stream(tape: &Tape, ports: [u16; 2], by: &mut Pseudonyms) -> Plan {
    let mut plan = Plan::default();
    let end = if ports.contains(&DNS) {
        framed(tape, &mut plan, 2, |body, plan| dns::redact(body, by, plan))
    } else if ports.contains(&KERBEROS) {
        framed(tape, &mut plan, 4, |body, plan| {
            der::redact(body, 0, Kind::Kerberos, by, plan)
        })
    } else {
        conversation(tape, &mut plan, by)
    };
    // Where sealed records go by later, the whole is a TLS connection of which a part was not seen.
    if let Some(sealed) = tape.sealed_at().filter(|sealed| *sealed >= end || end == 0) {
        plan.keep(sealed..usize::MAX);
    }
    plan
}

/// Messages behind a length each. Says how far they go.
fn framed(tape: &Tape, plan: &mut Plan, size: usize, mut message: impl FnMut(&[u8], &mut Plan)) -> usize {
    let mut at = 0;
    while let Some(header) = tape.get(at, size) {
        let len = match header {
            [a, b] => usize::from(*a) << 8 | usize::from(*b),
            [_, rest @ ..] => be24(rest, 0).unwrap_or(0),
            [] => 0,
        };
        let Some(body) = tape.get(at + size, len) else { break };
        let mut part = Plan::default();
        message(body, &mut part);
        plan.take(part, at + size);
        plan.keep(at..at + size + len);
        at += size + len;
    }
    at
}

/// RDP, TLS, HTTP, or the first line of something else. Says how far it is understood.
fn conversation(tape: &Tape, plan: &mut Plan, by: &mut Pseudonyms) -> usize {
    let mut handshake = Handshake::default();
    let end = walk(tape, plan, &mut handshake, by);
    // A message of which the end is missing.
    handshake.redact(true, plan, by);
    end
}

fn walk(tape: &Tape, plan: &mut Plan, handshake: &mut Handshake, by: &mut Pseudonyms) -> usize {
    let mut at = preamble(tape, plan, by);
    // Whose stream it is, told by the first packet: a Connection Request or its Confirm.
    let from_client = match tape.get(at, 6) {
        Some([3, 0, .., 0xe0]) => Some(true),
        Some([3, 0, .., 0xd0]) => Some(false),
        _ => None,
    };
    loop {
        let Some(first) = tape.get(at, 1).and_then(|bytes| bytes.first().copied()) else {
            return at;
        };
        let next = match first {
            3 if tape.get(at, 2).is_some_and(|bytes| bytes[1] == 0) => tpkt(tape, at, plan, by),
            20..=24 if tape.get(at, 2).is_some_and(|bytes| bytes[1] == 3) => match record(tape, at, plan, handshake, by) {
                Record::Next(next) => Some(next),
                Record::Sealed => {
                    plan.keep(at..usize::MAX);
                    return usize::MAX;
                }
                Record::Cut => None,
            },
            _ if at > 0 && first & 3 == 0 => fast_path(tape, at, from_client, plan),
            _ => http::head(tape, at, plan, by).or_else(|| line(tape, at, plan).map(|_| usize::MAX)),
        };
        match next {
            Some(usize::MAX) | None => return at,
            Some(next) => at = next,
        }
    }
}

/// The header of a load balancer or a preconnection blob.
fn preamble(tape: &Tape, plan: &mut Plan, by: &mut Pseudonyms) -> usize {
    let head = tape.head();
    let Parsed::Done(found, len) = preamble::parse(head) else {
        return 0;
    };
    let bytes = head.get(..len).unwrap_or_default();
    match found {
        Preamble::Proxy { version: 1, .. } => {
            // Digits for digits would make numbers that no address has.
            let lead = b"PROXY TCP4 ".len();
            let digits = bytes.iter().map(|byte| if byte.is_ascii_hexdigit() { b'1' } else { *byte });
            plan.put(lead, digits.skip(lead).collect());
        }
        Preamble::Proxy { .. } => {
            const HEADER: usize = 16;
            let addresses = match bytes.get(13) {
                Some(0x11 | 0x12) => 4,
                Some(0x21 | 0x22) => 16,
                _ => 0,
            };
            // Behind addresses and ports: the name that was asked for, names of certificates and networks, a checksum.
            let known = if addresses == 0 { HEADER } else { HEADER + 2 * addresses + 4 };
            plan.give_up(known, bytes.len());
            for at in [HEADER, HEADER + addresses] {
                let rest = bytes.get(at..).unwrap_or_default();
                if let (4, Some([a, b, c, d])) = (addresses, rest.first_chunk()) {
                    plan.put(at, by.addresses.v4(Ipv4Addr::new(*a, *b, *c, *d)).octets().to_vec());
                } else if let (16, Some(v6)) = (addresses, rest.first_chunk::<16>()) {
                    plan.put(at, by.addresses.v6(Ipv6Addr::from(*v6)).octets().to_vec());
                }
            }
        }
        // A virtual machine's name or identifier, in UTF-16 behind numbers.
        _ => {
            if let Some(text) = bytes.get(18..) {
                plan.wide(18, text, false, Of::User, by);
            }
        }
    }
    plan.keep(0..len);
    len
}

fn tpkt(tape: &Tape, at: usize, plan: &mut Plan, by: &mut Pseudonyms) -> Option<usize> {
    let len = be16(tape.get(at, 4)?, 2)?.max(4);
    // A packet of which the end is missing is redacted as far as it goes.
    let there = tape.available(at).min(len);
    plan.take(rdp::packet(tape.get(at, there)?, by), at);
    plan.keep(at..at + there);
    (there == len).then_some(at + len)
}

fn fast_path(tape: &Tape, at: usize, from_client: Option<bool>, plan: &mut Plan) -> Option<usize> {
    let (len, header) = rdp::fast_path(tape.get(at, 3)?)?;
    match tape.get(at, len).and_then(|pdu| rdp::emptied(pdu, header, from_client?)) {
        Some(emptied) => plan.put(at, emptied),
        None => plan.fill(at + header, len - header, 0),
    }
    plan.keep(at..at + len);
    Some(at + len)
}

/// Handshake messages that go over several records, with the places of their bytes.
#[derive(Default)]
struct Handshake {
    bytes: Vec<u8>,
    places: Vec<usize>,
    changed: bool,
}

impl Handshake {
    /// Redacts the messages that are whole, and where nothing more comes also the one that is not.
    fn redact(&mut self, cut: bool, plan: &mut Plan, by: &mut Pseudonyms) {
        while let Some(total) = be24(&self.bytes, 1) {
            let whole = self.bytes.len() >= 4 + total;
            if !whole && !cut {
                break;
            }
            let end = (4 + total).min(self.bytes.len());
            let body = self.bytes.get(4..end).unwrap_or_default();
            let part = tls::message(self.bytes[0], body, whole, false, by);
            plan.take_scattered(part, self.places.get(4..).unwrap_or_default());
            self.bytes.drain(..end);
            self.places.drain(..end);
        }
    }
}

enum Record {
    Next(usize),
    Sealed,
    Cut,
}

fn record(tape: &Tape, at: usize, plan: &mut Plan, handshake: &mut Handshake, by: &mut Pseudonyms) -> Record {
    let Some(header) = tape.get(at, 5) else { return Record::Cut };
    let (kind, len) = (header[0], be16(header, 3).unwrap_or(0));
    if len > (1 << 14) + 2_048 {
        return Record::Cut;
    }
    match kind {
        23 => return Record::Sealed,
        22 => {}
        _ => {
            handshake.changed |= kind == 20;
            if kind == HEARTBEAT {
                plan.fill(at + 5, len, 0);
            }
            plan.keep(at..at + 5 + len);
            return Record::Next(at + 5 + len);
        }
    }
    let there = tape.available(at + 5).min(len);
    let body = tape.get(at + 5, there).unwrap_or_default();
    // After ChangeCipherSpec a ClientHello in clear answers a HelloRetryRequest; everything else is sealed.
    let hello = body.first() == Some(&1) && be24(body, 1).is_some_and(|total| total + 4 == len);
    if handshake.changed && !hello {
        plan.keep(at..at + 5 + len);
        return Record::Next(at + 5 + len);
    }
    handshake.bytes.extend_from_slice(body);
    handshake.places.extend(at + 5..at + 5 + there);
    let cut = there < len;
    handshake.redact(cut, plan, by);
    plan.keep(at..at + 5 + there);
    if cut { Record::Cut } else { Record::Next(at + 5 + len) }
}

/// The first line of another protocol: what of it tells which one it is stays, and nothing else.
fn line(tape: &Tape, at: usize, plan: &mut Plan) -> Option<()> {
    /// So many bytes of something that is no text are there still, though not as they were.
    const MAGIC: usize = 8;
    let bytes = tape.get(at, tape.available(at).min(LINE))?;
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\r' || *byte == b'\n')
        .unwrap_or(bytes.len());
    let text = bytes.get(..end).unwrap_or_default();
    if at > 0 {
        return None;
    }
    let telling = sniff::telling(bytes);
    if is_printable(text) {
        let ends = bytes
            .get(end..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        plan.put(at, sniff::told(text));
        plan.keep(at..at + end + ends);
    } else {
        let there = MAGIC.min(bytes.len());
        plan.fill(at + telling, there.saturating_sub(telling), b'x');
        plan.keep(at..at + telling.max(there));
    }
    Some(())
}

/// Redacts a UDP datagram.
pub(super) fn datagram(bytes: &[u8], ports: [u16; 2], rdp: bool, by: &mut Pseudonyms) -> Plan {
    let mut plan = Plan::default();
    let on = |of: &[u16]| ports.iter().any(|port| of.contains(port));
    if on(&DNS_LIKE) {
        dns::redact(bytes, by, &mut plan);
        plan.keep(0..bytes.len());
    } else if on(&[KERBEROS]) {
        der::redact(bytes, 0, Kind::Kerberos, by, &mut plan);
        plan.keep(0..bytes.len());
    } else if let Some(sealed) = tls::dtls(bytes, by) {
        return sealed;
    } else if on(&RDP_UDP) || rdp {
        side_channel(bytes, by, &mut plan);
        plan.keep(0..bytes.len());
    } else if stun::begins(bytes) {
        relay(bytes, by, &mut plan);
        plan.keep(0..bytes.len());
    } else if let Some(inner) = on(&RELAY).then(|| stun::channel_data(bytes)).flatten() {
        const HEADER: usize = 4;
        let part = tls::dtls(inner, by).unwrap_or_else(|| {
            let mut part = Plan::default();
            side_channel(inner, by, &mut part);
            part
        });
        plan.take(part, HEADER);
        plan.give_up(HEADER + inner.len(), bytes.len());
        plan.keep(0..bytes.len());
    }
    plan
}

/// STUN and TURN (RFC 8489 section 14, RFC 8656 section 18): mapped and relayed addresses are replaced, codes and numbers stay, the rest is
/// emptied.
fn relay(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) {
    const COOKIE: u32 = 0x2112_a442;
    const V4: usize = 1;
    let mut at = stun::HEADER_LEN;
    while let (Some(kind), Some(len)) = (be16(bytes, at), be16(bytes, at + 2)) {
        let start = at + 4;
        let end = (start + len.next_multiple_of(4)).min(bytes.len());
        let family = be16(bytes, start).map(|family| family & 0xff);
        let word = bytes
            .get(start + 4..)
            .and_then(|rest| rest.first_chunk().copied())
            .map(u32::from_be_bytes);
        match (kind, family, word) {
            (0x0012 | 0x0016 | 0x0020, Some(V4), Some(word)) => {
                let new = by.addresses.v4(Ipv4Addr::from_bits(word ^ COOKIE)).to_bits() ^ COOKIE;
                plan.put(start + 4, new.to_be_bytes().to_vec());
            }
            (0x0001, Some(V4), Some(word)) => {
                plan.put(start + 4, by.addresses.v4(Ipv4Addr::from_bits(word)).octets().to_vec());
            }
            // Of addresses of version 6 family and port stay, of an error its code.
            (0x0001 | 0x0009 | 0x0012 | 0x0016 | 0x0020, ..) => plan.give_up_between(start + 4, end),
            // Channel number, lifetime, transport, family.
            (0x000c | 0x000d | 0x0017 | 0x0019, ..) => {}
            _ => plan.give_up_between(start, end),
        }
        at = start + len.next_multiple_of(4);
    }
}

/// Whether a datagram asks for RDP over UDP: nothing was received yet, and the flag of a SYN is set (MS-RDPEUDP section 2.2.2.1).
pub(super) fn opens_side_channel(bytes: &[u8]) -> bool {
    bytes.len() > SYN_IDS && bytes.starts_with(&[0xff; 4]) && be16(bytes, 6).is_some_and(|flags| flags & SYN != 0)
}

const SYN: usize = 1;
/// The flag that says that the correlation identifier is there.
const SYN_HAS_ID: usize = 0x0800;
/// Where that stands in a SYN.
const SYN_IDS: usize = 16;

/// How far behind the begin of a datagram of RDP-UDP what it carries begins.
const CARRIED: usize = 64;

/// RDP-UDP with whatever it carries: records of TLS in clear and a ClientHello of DTLS are read, other text is emptied. Emptying a
/// stretch of a sealed record that looks like text by chance takes nothing away.
fn side_channel(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) {
    if opens_side_channel(bytes) {
        if be16(bytes, 6).is_some_and(|flags| flags & SYN_HAS_ID != 0)
            && let Some(id) = bytes.get(SYN_IDS..SYN_IDS + 16)
        {
            plan.put(SYN_IDS, rdp::correlation(id, by));
        }
        return;
    }
    let hello = |at: usize| {
        let rest = bytes.get(at..)?;
        match rest {
            [22, 0xfe, ..] if rest.get(13) == Some(&1) => Some((at + 25, be24(rest, 14)?)),
            _ => None,
        }
    };
    let mut from = 0;
    if let Some((body, len)) = (0..bytes.len().min(CARRIED)).find_map(hello)
        && let Some(content) = bytes.get(body..bytes.len().min(body + len))
    {
        plan.take(tls::message(1, content, true, true, by), body);
        from = body + content.len();
    } else if let Some(end) = orders(bytes.len())
        .iter()
        .find_map(|order| clear_records(bytes, order, plan, by))
    {
        from = end;
    }
    for step in [1, 2] {
        // Step 2 finds text in UTF-16 in either byte order.
        for phase in 0..step {
            empty_texts(bytes, from + phase, step, plan);
        }
    }
}

/// The orders in which the bytes of a datagram may have to be read: as they are, and as version 3 of RDP-UDP changes them, where the
/// first and the eighth change places (MS-RDPEUDP2 section 2.2.1).
fn orders(len: usize) -> Vec<Vec<usize>> {
    const PREFIX: usize = 7;
    let mut orders = vec![(0..len).collect::<Vec<usize>>(); 2];
    if let Some(swapped) = orders.last_mut().filter(|_| len > PREFIX) {
        swapped.swap(0, PREFIX);
    }
    orders
}

/// Records of TLS in clear near the begin of a datagram; says where they end.
fn clear_records(bytes: &[u8], order: &[usize], plan: &mut Plan, by: &mut Pseudonyms) -> Option<usize> {
    let view: Vec<u8> = order.iter().filter_map(|place| bytes.get(*place).copied()).collect();
    let begins = |at: &usize| matches!(view.get(*at..), Some([22, 3, 0..=4, _, _, 1 | 2 | 11..=16 | 20 | 22, ..]));
    let mut at = (0..view.len().min(CARRIED)).find(begins)?;
    let mut handshake = Handshake::default();
    while let Some([kind @ 20..=23, 3, 0..=4, high, low, ..]) = view.get(at..) {
        let start = at + 5;
        let end = (start + usize::from(u16::from_be_bytes([*high, *low]))).min(view.len());
        if *kind == 22 && !handshake.changed {
            handshake.bytes.extend_from_slice(view.get(start..end)?);
            handshake.places.extend_from_slice(order.get(start..end)?);
        }
        handshake.changed |= *kind == 20;
        at = end;
    }
    // What goes on in the next datagram is redacted as far as it goes.
    handshake.redact(true, plan, by);
    Some(at)
}

/// Empties runs of printable characters that stand `step` bytes from each other with nothing between them, from `from` on.
fn empty_texts(bytes: &[u8], from: usize, step: usize, plan: &mut Plan) {
    let mut run: Vec<usize> = Vec::new();
    for at in (from..bytes.len()).step_by(step) {
        let letter = bytes.get(at).is_some_and(|byte| (0x20..0x7f).contains(byte));
        if letter && (step == 1 || bytes.get(at + 1) == Some(&0)) {
            run.push(at);
            continue;
        }
        empty_text(&mut run, plan);
    }
    empty_text(&mut run, plan);
}

fn empty_text(run: &mut Vec<usize>, plan: &mut Plan) {
    if run.len() >= TEXT {
        run.iter().for_each(|at| plan.fill(*at, 1, b'x'));
    }
    run.clear();
}
