//! Names in RDP in clear: the cookie of X.224, the client's data in GCC, and, under Standard RDP Security, what MCS carries.

use std::net::{IpAddr, Ipv4Addr};

use super::Pseudonyms;
use super::der::{self, Kind};
use super::names::Of;
use super::text::{Plan, be16, le16, le32};

/// Security header flags (MS-RDPBCGR section 2.2.8.1.1.2.1).
mod sec {
    pub const ENCRYPT: usize = 0x0008;
    pub const INFO: usize = 0x0040;
    pub const LICENSE: usize = 0x0080;
}

/// PDUs of the share data header that hold no names: control, synchronise, shutdown, fonts, errors, status.
const HARMLESS: [u8; 8] = [0x14, 0x1f, 0x24, 0x25, 0x27, 0x28, 0x2f, 0x36];
/// Save Session Info, which tells who has logged on.
const SESSION_INFO: u8 = 0x26;

/// Redacts one TPKT packet; the plan counts from its begin.
pub(super) fn packet(bytes: &[u8], by: &mut Pseudonyms) -> Plan {
    /// TPKT, length and code of X.224.
    const HEADER: usize = 7;
    /// The fixed part of a confirmation and its negotiation.
    const CONFIRMATION: usize = 11 + 8;
    let mut plan = Plan::default();
    let done = match bytes.get(5) {
        Some(0xe0) => request(bytes, by, &mut plan),
        Some(0xd0) => {
            plan.give_up(CONFIRMATION, bytes.len());
            Some(())
        }
        Some(0xf0) => mcs(bytes, by, &mut plan),
        _ => None,
    };
    if done.is_none() {
        plan.give_up(HEADER, bytes.len());
    }
    plan
}

/// MS-RDPBCGR section 2.2.1.1: tokens and cookies, each a line, before the negotiation and the correlation identifier.
fn request(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let mut at = 11;
    while let Some(rest) = bytes
        .get(at..)
        .filter(|rest| rest.first().is_some_and(|byte| !byte.is_ascii_control()))
    {
        let end = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
        line(rest.get(..end)?, at, by, plan);
        at += end;
        at += if bytes.get(at..)?.starts_with(b"\r\n") { 2 } else { 0 };
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if let [1, _, 8, 0, ..] = rest {
        at += 8;
    }
    if let Some([6, 0, 0x24, 0, id @ ..]) = bytes.get(at..)
        && let Some(id) = id.get(..16)
    {
        plan.put(at + 4, correlation(id, by));
        at += 4 + id.len();
    }
    plan.give_up(at, bytes.len());
    Some(())
}

/// The identifier by which logs of client and host are matched. It holds no carriage return, and begins with neither 0 nor 0xF4
/// (MS-RDPBCGR section 2.2.1.1.2).
pub(super) fn correlation(id: &[u8], by: &Pseudonyms) -> Vec<u8> {
    let mut id = by.names.scrambled(id);
    for (at, byte) in id.iter_mut().enumerate() {
        if *byte == 0x0d || (at == 0 && matches!(*byte, 0 | 0xf4)) {
            *byte ^= 1;
        }
    }
    id
}

fn line(line: &[u8], at: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    const COOKIE: &[u8] = b"Cookie: mstshash=";
    const TOKEN: &[u8] = b"Cookie: msts=";
    const COLLECTION: &[u8] = b"tsv://MS Terminal Services Plugin.1.";
    if let Some(token) = line.strip_prefix(TOKEN) {
        plan.put(at + TOKEN.len(), address_token(token, by));
        return;
    }
    let lead = [COOKIE, COLLECTION]
        .iter()
        .find(|lead| line.starts_with(lead))
        .map_or(0, |lead| lead.len());
    plan.text(at + lead, line.get(lead..).unwrap_or_default(), Of::User, by);
}

/// `ADDRESS.PORT.0000` in decimal, the address least significant byte first. The number of digits stays; where the pseudonym has more,
/// every digit of the address becomes a 1.
fn address_token(token: &[u8], by: &Pseudonyms) -> Vec<u8> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (address, rest) = token.split_at(digits);
    let number = str::from_utf8(address).ok().and_then(|text| text.parse::<u32>().ok());
    let pseudonym = number.map(|number| {
        let address = by.addresses.of(Ipv4Addr::from(number.to_le_bytes()).into());
        let octets = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(_) => [0; 4],
        };
        format!("{:0digits$}", u32::from_le_bytes(octets))
    });
    let mut token = match pseudonym {
        Some(text) if text.len() == digits => text.into_bytes(),
        _ => vec![b'1'; digits],
    };
    // Port and padding are numbers; in the tokens of other balancers the rest may be a name.
    if rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        token.extend_from_slice(rest);
    } else {
        token.extend(
            rest.iter()
                .map(|byte| if byte.is_ascii_alphanumeric() { b'x' } else { *byte }),
        );
    }
    token
}

/// An MCS message behind the X.224 data header.
fn mcs(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    match (bytes.get(7)?, bytes.get(8)) {
        // Connect-Initial and Connect-Response.
        (0x7f, Some(0x65 | 0x66)) => connect(bytes, by, plan),
        // SendDataRequest and SendDataIndication.
        (0x64 | 0x68, _) => {
            let long = bytes.get(13)? & 0x80 != 0;
            data(bytes, if long { 15 } else { 14 }, by, plan)
        }
        // The rest are a few numbers.
        _ => {
            plan.give_up(24, bytes.len());
            Some(())
        }
    }
}

/// T.124 ConferenceCreate: the blocks of user data stand behind the key `Duca` or `McDn`.
fn connect(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let key = bytes.windows(4).position(|four| four == b"Duca" || four == b"McDn")? + 4;
    let mut at = key + if bytes.get(key)? & 0x80 != 0 { 2 } else { 1 };
    while let (Some(kind), Some(len)) = (le16(bytes, at), le16(bytes, at + 2)) {
        if len < 4 {
            break;
        }
        let block = bytes.get(at..bytes.len().min(at + len))?;
        match kind {
            // CS_CORE: client name, input method, product identifier.
            0xc001 => {
                for (from, to) in [(24, 56), (68, 132), (146, 210)] {
                    if let Some(field) = block.get(from..to.min(block.len())) {
                        plan.wide(at + from, field, false, Of::Host, by);
                    }
                }
            }
            // SC_SECURITY: a bare key, or a chain of X.509 certificates.
            0x0c02 => {
                let certificate = 20 + le32(block, 12).unwrap_or(0) as usize;
                match le32(block, certificate).map(|version| version & 0x7fff_ffff) {
                    Some(2) => {
                        let mut one = certificate + 8;
                        while let Some(len) = le32(block, one) {
                            let there = block.len().min(one + 4 + len as usize);
                            let Some(der) = block.get(one + 4..there) else { break };
                            der::redact(der, at + one + 4, Kind::Certificate, by, plan);
                            one += 4 + len as usize;
                        }
                    }
                    // Three numbers, kind and length of the key; five numbers of its own, the modulus; kind and length of a
                    // signature, and that.
                    Some(_) => {
                        const KEY: usize = 16;
                        const MODULUS: usize = 20;
                        const SIGNATURE: usize = 4;
                        let end = certificate + KEY + le16(block, certificate + 14).unwrap_or(0);
                        for range in [certificate + KEY + MODULUS..end, end + SIGNATURE..block.len()] {
                            if let Some(part) = block.get(range.clone()) {
                                plan.put(at + range.start, by.names.scrambled(part));
                            }
                        }
                    }
                    None => {}
                }
            }
            _ => {}
        }
        at += len;
    }
    Some(())
}

/// What a channel carries under Standard RDP Security. The security header stands first until a session runs without encryption.
fn data(bytes: &[u8], at: usize, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let flags = le16(bytes, at)?;
    let rest = bytes.get(at..)?;
    // A share control header begins with its own length, a security header with flags.
    if flags == rest.len() {
        return share(bytes, at, by, plan);
    }
    match flags {
        _ if flags & sec::ENCRYPT != 0 => plan.fill(at + 4, rest.len().saturating_sub(4), 0),
        _ if flags & sec::INFO != 0 => return info(bytes, at + 4, by, plan),
        _ if flags & sec::LICENSE != 0 => {
            // The error message is the only one without names and keys.
            if bytes.get(at + 4) != Some(&0xff) {
                plan.fill(at + 8, rest.len().saturating_sub(8), 0);
            }
        }
        _ if le16(bytes, at + 4) == Some(rest.len().saturating_sub(4)) => return share(bytes, at + 4, by, plan),
        _ => plan.fill(at + 4, rest.len().saturating_sub(4), 0),
    }
    Some(())
}

/// MS-RDPBCGR section 2.2.8.1.1.1: what draws, types, tells names or leads to another host is emptied.
fn share(bytes: &[u8], at: usize, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    let kind = le16(bytes, at + 2)? & 0xf;
    match kind {
        // Demand active: the source's name, then capabilities.
        1 => {
            let len = le16(bytes, at + 10)?;
            plan.text(at + 14, bytes.get(at + 14..at + 14 + len)?, Of::Host, by);
        }
        // Confirm active: the same; capabilities for input hold the name of a file.
        3 => {
            let len = le16(bytes, at + 12)?;
            plan.text(at + 16, bytes.get(at + 16..at + 16 + len)?, Of::Host, by);
            capabilities(bytes, at + 16 + len, plan)?;
        }
        // Deactivate all.
        6 => {}
        7 => {
            let start = at + 18;
            let compressed = bytes.get(at + 15)? & 0x20 != 0;
            match bytes.get(at + 14)? {
                kind if HARMLESS.contains(kind) && !compressed => {}
                &SESSION_INFO if !compressed => session_info(bytes, start, plan)?,
                _ => plan.give_up(start, bytes.len()),
            }
        }
        _ => plan.give_up(at + 6, bytes.len()),
    }
    Some(())
}

/// The set for input holds the file name of an input method (MS-RDPBCGR section 2.2.7.1.6).
fn capabilities(bytes: &[u8], at: usize, plan: &mut Plan) -> Option<()> {
    const INPUT: usize = 13;
    let count = le16(bytes, at)?;
    let mut at = at + 4;
    for _ in 0..count {
        let (kind, len) = (le16(bytes, at)?, le16(bytes, at + 2)?.max(4));
        if kind == INPUT {
            let from = (at + 24).min(at + len);
            plan.fill(from, at + len - from, 0);
        }
        at += len;
    }
    Some(())
}

/// MS-RDPBCGR section 2.2.10.1: the kind stays, and of the extended kind which fields there are and the error of the logon.
fn session_info(bytes: &[u8], at: usize, plan: &mut Plan) -> Option<()> {
    const EXTENDED: u32 = 3;
    const COOKIE: u32 = 1;
    if le32(bytes, at)? != EXTENDED {
        plan.give_up(at + 4, bytes.len());
        return Some(());
    }
    let present = le32(bytes, at + 6)?;
    let mut place = at + 10;
    if present & COOKIE != 0 {
        let len = le32(bytes, place)? as usize;
        plan.fill(place + 4, len.min(bytes.len().saturating_sub(place + 4)), 0);
        place = place.saturating_add(4 + len);
    }
    // The length of the error and its two numbers.
    plan.give_up(place.saturating_add(12), bytes.len());
    Some(())
}

/// MS-RDPBCGR section 2.2.1.11.1.1: domain, user, password, shell, folder; then address, folder and time zone of the client.
fn info(bytes: &[u8], at: usize, by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    const UNICODE: u32 = 0x10;
    let wide = le32(bytes, at + 4)? & UNICODE != 0;
    let terminator = if wide { 2 } else { 1 };
    let mut text = at + 18;
    for field in 0..5 {
        let len = le16(bytes, at + 8 + field * 2)?;
        let content = bytes.get(text..text + len)?;
        match (field, wide) {
            // Nothing of a password may remain, not even its pattern.
            (2, _) => plan.fill(text, len, b'x'),
            (_, true) => plan.wide(text, content, false, Of::User, by),
            (_, false) => plan.text(text, content, Of::User, by),
        }
        text += len + terminator;
    }
    // Extended: family, then address and folder with their lengths.
    let address = text + 2;
    let Some(len) = le16(bytes, address) else { return Some(()) };
    client_address(bytes.get(address + 2..address + 2 + len)?, address + 2, by, plan);
    let folder = address + 2 + len;
    let len = le16(bytes, folder)?;
    plan.wide(folder + 2, bytes.get(folder + 2..folder + 2 + len)?, false, Of::User, by);
    // The time zone tells where the client is. The session and the performance flags stay.
    const ZONE: usize = 172;
    let zone = folder + 2 + len;
    plan.fill(zone, ZONE.min(bytes.len().saturating_sub(zone)), 0);
    // The cookie by which a client comes back, and the key of the time zone.
    let cookie = zone + ZONE + 8 + 2;
    plan.give_up(cookie, bytes.len());
    Some(())
}

/// The client's own address in UTF-16, which ends with a NUL.
fn client_address(field: &[u8], at: usize, by: &mut Pseudonyms, plan: &mut Plan) {
    let units = field.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let pseudonym = String::from_utf16_lossy(&text)
        .parse()
        .ok()
        .map(|address| by.addresses.of(address).to_string());
    match pseudonym {
        Some(pseudonym) if pseudonym.len() * 2 <= field.len() => {
            let mut bytes: Vec<u8> = pseudonym.encode_utf16().flat_map(u16::to_le_bytes).collect();
            bytes.resize(field.len(), 0);
            plan.put(at, bytes);
        }
        _ => plan.wide(at, field, false, Of::Host, by),
    }
}

/// The length of a fast-path PDU at the begin of `bytes` and of its header (MS-RDPBCGR section 2.2.9.1.2).
pub(super) fn fast_path(bytes: &[u8]) -> Option<(usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    if first & 3 != 0 {
        return None;
    }
    let (len, header) = match second & 0x80 {
        0 => (usize::from(second), 2),
        _ => (be16(bytes, 1)? & 0x7fff, 3),
    };
    (len > header).then_some((len, header))
}

/// A fast-path PDU with the heads of its events or updates and nothing in them; `None` where it is sealed or not understood.
pub(super) fn emptied(pdu: &[u8], header: usize, from_client: bool) -> Option<Vec<u8>> {
    const SEALED: u8 = 0xc0;
    const COMPRESSION: u8 = 0x80;
    let first = *pdu.first()?;
    if first & SEALED != 0 {
        return None;
    }
    let mut out = vec![0; pdu.len()];
    out.get_mut(..header)?.copy_from_slice(pdu.get(..header)?);
    let mut at = header;
    if from_client {
        // MS-RDPBCGR section 2.2.8.1.2. The count of events stands in the first byte, or in one of its own.
        if first >> 2 & 0xf == 0 {
            *out.get_mut(at)? = *pdu.get(at)?;
            at += 1;
        }
        while at < pdu.len() {
            let event = *pdu.get(at)?;
            *out.get_mut(at)? = event;
            at += 1 + match event >> 5 {
                0 => 1,
                1 | 2 | 5 => 6,
                3 => 0,
                4 => 2,
                6 => 4,
                _ => return None,
            };
        }
    } else {
        // MS-RDPBCGR section 2.2.9.1.2.1: kind, flags of compression where the kind says so, length.
        while at < pdu.len() {
            let head = if pdu.get(at)? & SEALED == COMPRESSION { 4 } else { 3 };
            out.get_mut(at..at + head)?.copy_from_slice(pdu.get(at..at + head)?);
            at += head + le16(pdu, at + head - 2)?;
        }
    }
    (at == pdu.len()).then_some(out)
}
