//! Names in RDP in clear: the cookie of X.224, the client's data in GCC, and, under Standard RDP Security, what MCS carries.

use super::Pseudonyms;
use super::der::{self, Kind};
use super::text::{Plan, be16, le16, le32};

/// Security header flags (MS-RDPBCGR section 2.2.8.1.1.2.1).
mod sec {
    pub const ENCRYPT: usize = 0x0008;
    pub const INFO: usize = 0x0040;
    pub const LICENSE: usize = 0x0080;
}

/// PDUs of the share data header that hold no names: control, synchronise, fonts, shutdown, errors, status.
const HARMLESS: [u8; 11] = [0x14, 0x1f, 0x24, 0x25, 0x26, 0x27, 0x28, 0x2f, 0x36, 0x17, 0x2b];

/// Redacts one TPKT packet; the plan counts from its begin.
pub(super) fn packet(bytes: &[u8], by: &mut Pseudonyms) -> Plan {
    let mut plan = Plan::default();
    let _ = match bytes.get(5) {
        Some(0xe0) => request(bytes, by, &mut plan),
        Some(0xd0) => Some(()),
        Some(0xf0) => mcs(bytes, by, &mut plan),
        _ => {
            plan.fill(7.min(bytes.len()), bytes.len().saturating_sub(7), 0);
            Some(())
        }
    };
    plan
}

/// MS-RDPBCGR section 2.2.1.1: a token or a cookie, up to a line end, before the negotiation.
fn request(bytes: &[u8], by: &mut Pseudonyms, plan: &mut Plan) -> Option<()> {
    const COOKIE: &[u8] = b"Cookie: mstshash=";
    const TOKEN: &[u8] = b"Cookie: msts=";
    const COLLECTION: &[u8] = b"tsv://MS Terminal Services Plugin.1.";
    let rest = bytes.get(11..)?;
    let end = match rest.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => end,
        // Without a line end there is only the negotiation, or a cut cookie.
        None if matches!(rest.first(), None | Some(1)) => return None,
        None => rest.len(),
    };
    let line = rest.get(..end)?;
    let lead = [COOKIE, TOKEN, COLLECTION]
        .iter()
        .find(|lead| line.starts_with(lead))
        .map_or(0, |lead| lead.len());
    plan.text(11 + lead, line.get(lead..)?, by);
    Some(())
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
        // The rest are numbers.
        _ => Some(()),
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
                        plan.wide(at + from, field, false, by);
                    }
                }
            }
            // SC_SECURITY: a chain of X.509 certificates in place of a bare key.
            0x0c02 => {
                let certificate = 20 + le32(block, 12).unwrap_or(0) as usize;
                if le32(block, certificate).is_some_and(|version| version & 0x7fff_ffff == 2) {
                    let mut one = certificate + 8;
                    while let Some(len) = le32(block, one) {
                        let Some(der) = block.get(one + 4..one + 4 + len as usize) else {
                            break;
                        };
                        der::redact(der, at + one + 4, Kind::Certificate, by, plan);
                        one += 4 + len as usize;
                    }
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
        return share(bytes, at, plan);
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
        _ if le16(bytes, at + 4) == Some(rest.len().saturating_sub(4)) => return share(bytes, at + 4, plan),
        _ => plan.fill(at + 4, rest.len().saturating_sub(4), 0),
    }
    Some(())
}

/// MS-RDPBCGR section 2.2.8.1.1.1: what draws, types and tells names is emptied.
fn share(bytes: &[u8], at: usize, plan: &mut Plan) -> Option<()> {
    let kind = le16(bytes, at + 2)? & 0xf;
    if kind == 7 {
        let start = at + 18;
        if !HARMLESS.contains(bytes.get(at + 14)?) {
            plan.fill(start, bytes.len().saturating_sub(start), 0);
        }
    }
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
            (_, true) => plan.wide(text, content, false, by),
            (_, false) => plan.text(text, content, by),
        }
        text += len + terminator;
    }
    // Extended: family, then address and folder with their lengths.
    let mut at = text + 2;
    for _ in 0..2 {
        let len = le16(bytes, at)?;
        plan.wide(at + 2, bytes.get(at + 2..at + 2 + len)?, false, by);
        at += 2 + len;
    }
    // Time zone, session and performance flags; then the cookie by which a client comes back.
    let cookie = at + 172 + 8;
    if let Some(len) = le16(bytes, cookie)
        && let Some(secret) = bytes.get(cookie + 2..cookie + 2 + len)
    {
        plan.fill(cookie + 2, secret.len(), 0);
    }
    Some(())
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
