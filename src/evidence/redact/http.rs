//! The head of an HTTP message: what tells how the conversation goes on stays, names and secrets do not.

use super::Pseudonyms;
use super::names::Of;
use super::streams::Tape;
use super::text::Plan;

/// Methods, those of gateways included (MS-TSGU section 2.2.3.1, MS-RPCH section 2.1.2.1.1).
const METHODS: [&[u8]; 14] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"PATCH",
    b"TRACE",
    b"PRI",
    b"RDG_IN_DATA",
    b"RDG_OUT_DATA",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
];

/// Reason phrases: those of RFC 9110, of its extensions, of proxies, and of a gateway that refuses a user.
const REASONS: [&str; 58] = [
    "Accepted",
    "Access Denied",
    "Bad Gateway",
    "Bad Request",
    "Conflict",
    "Connection Established",
    "Content Too Large",
    "Continue",
    "Created",
    "Expectation Failed",
    "Failed Dependency",
    "Forbidden",
    "Found",
    "Gateway Timeout",
    "Gone",
    "HTTP Version Not Supported",
    "Internal Server Error",
    "Length Required",
    "Locked",
    "Loop Detected",
    "Method Not Allowed",
    "Misdirected Request",
    "Moved Permanently",
    "Moved Temporarily",
    "Multiple Choices",
    "Network Authentication Required",
    "No Content",
    "Non-Authoritative Information",
    "Not Acceptable",
    "Not Found",
    "Not Implemented",
    "Not Modified",
    "OK",
    "Object Moved",
    "Partial Content",
    "Payload Too Large",
    "Payment Required",
    "Permanent Redirect",
    "Precondition Failed",
    "Precondition Required",
    "Proxy Authentication Required",
    "Range Not Satisfiable",
    "Request Entity Too Large",
    "Request Header Fields Too Large",
    "Request Timeout",
    "Reset Content",
    "See Other",
    "Service Unavailable",
    "Switching Protocols",
    "Temporary Redirect",
    "Too Many Requests",
    "Unauthorized",
    "Unprocessable Content",
    "Unsupported Media Type",
    "URI Too Long",
    "Use Proxy",
    "User Account Restricted",
    "Variant Also Negotiates",
];

/// Products whose names say nothing about who runs them; each may have a version of digits and dots.
const PRODUCTS: [&str; 14] = [
    "Microsoft-HTTPAPI",
    "Microsoft-IIS",
    "MS-RDGateway",
    "MSRPC",
    "Apache",
    "nginx",
    "squid",
    "HAProxy",
    "envoy",
    "cloudflare",
    "AkamaiGHost",
    "BigIP",
    "awselb",
    "lighttpd",
];

/// Headers that tell how a message goes on and nothing about people.
const PLAIN_HEADERS: [&str; 13] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "content-type",
    "date",
    "accept",
    "cache-control",
    "pragma",
    "expect",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "keep-alive",
];

/// Ways to log on, as HTTP and the gateway's own header name them.
const SCHEMES: [&str; 9] = [
    "basic",
    "bearer",
    "digest",
    "kerberos",
    "negotiate",
    "ntlm",
    "paa",
    "smartcard",
    "sspi_ntlm",
];

/// Redacts the head of one message; says where the next one begins, or [`usize::MAX`] where a body follows, which is not understood.
pub(super) fn head(tape: &Tape, at: usize, plan: &mut Plan, by: &mut Pseudonyms) -> Option<usize> {
    const HEAD: usize = 16 << 10;
    let bytes = tape.get(at, tape.available(at).min(HEAD))?;
    let first = bytes.split(|byte| *byte == b'\r').next()?;
    let is_answer = first.starts_with(b"HTTP/1.");
    let is_request = first.windows(9).any(|part| part.starts_with(b" HTTP/1."));
    if !is_answer && !is_request {
        return None;
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    if is_answer {
        status_line(first, at, plan, by);
    } else {
        request_line(first, at, plan, by)?;
    }
    let mut from = first.len() + 2;
    let mut body = false;
    for line in bytes.get(from..end)?.split_inclusive(|byte| *byte == b'\n') {
        body |= header(line, at + from, plan, by);
        from += line.len();
    }
    plan.keep(at..at + end);
    Some(if body { usize::MAX } else { at + end })
}

/// `HTTP/1.1 401 Unauthorized`.
fn status_line(line: &[u8], at: usize, plan: &mut Plan, by: &mut Pseudonyms) {
    /// The version, a blank, and the status.
    const STATUS: usize = 12;
    let known = match line {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', status @ ..] => {
            status.len() >= 3 && status.iter().take(3).all(u8::is_ascii_digit)
        }
        _ => false,
    };
    let from = if known { STATUS } else { b"HTTP/1.".len() };
    let phrase = line.get(from..).unwrap_or_default();
    let said = str::from_utf8(phrase).unwrap_or_default().trim();
    if !(known && (said.is_empty() || REASONS.iter().any(|reason| reason.eq_ignore_ascii_case(said)))) {
        plan.text(at + from, phrase, Of::User, by);
    }
}

/// `GET /path HTTP/1.1`.
fn request_line(line: &[u8], at: usize, plan: &mut Plan, by: &mut Pseudonyms) -> Option<()> {
    const VERSION: usize = b" HTTP/1.1".len();
    let path = line.iter().position(|byte| *byte == b' ')? + 1;
    let last = line.windows(6).rposition(|part| part == b" HTTP/")?;
    let method = line.get(..path - 1)?;
    if !METHODS.contains(&method) {
        plan.text(at, method, Of::User, by);
    }
    // In a line of two words the path is not there.
    if path <= last {
        plan.text(at + path, line.get(path..last)?, Of::Host, by);
    }
    if let Some(rest) = line.get(last + VERSION..) {
        plan.text(at + last + VERSION, rest, Of::User, by);
    }
    Some(())
}

/// One line `Name: value`; says whether it announces a body.
fn header(line: &[u8], at: usize, plan: &mut Plan, by: &mut Pseudonyms) -> bool {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    let value = line.get(colon + 1..).unwrap_or_default();
    let place = at + colon + 1 + (value.len() - value.trim_ascii_start().len());
    let value = value.trim_ascii();
    if name.contains("auth") || name == "rdg-user-id" || name.contains("cookie") || name.contains("token") {
        credentials(value, place, plan);
    } else if matches!(name.as_str(), "server" | "user-agent") {
        products(value, place, plan, by);
    } else if !PLAIN_HEADERS.contains(&name.as_str()) {
        plan.text(place, value, Of::Host, by);
    }
    (name == "content-length" && value != b"0") || name == "transfer-encoding"
}

/// The scheme stays, what follows holds names and secrets, in base64 mostly.
fn credentials(value: &[u8], place: usize, plan: &mut Plan) {
    let word = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let scheme = str::from_utf8(value.get(..word).unwrap_or_default()).unwrap_or_default();
    let known = SCHEMES.iter().any(|one| scheme.eq_ignore_ascii_case(one));
    let stays = if known { word } else { 0 };
    plan.fill(place + stays, value.len() - stays, b'A');
    if known && stays < value.len() {
        plan.fill(place + stays, 1, b' ');
    }
}

/// A list of products with versions: only the well-known ones stay.
fn products(value: &[u8], place: usize, plan: &mut Plan, by: &mut Pseudonyms) {
    let mut at = place;
    for word in value.split(|byte| *byte == b' ') {
        if !is_product(word) {
            plan.text(at, word, Of::User, by);
        }
        at += word.len() + 1;
    }
}

fn is_product(word: &[u8]) -> bool {
    let text = str::from_utf8(word).unwrap_or_default();
    let (name, version) = text.split_once('/').unwrap_or((text, ""));
    PRODUCTS.iter().any(|product| product.eq_ignore_ascii_case(name))
        && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}
