//! The PDUs of MS-RDPBCGR that MCS carries on the I/O channel and on the message channel.
//!
//! `ironrdp-pdu` reads most of them and is the tests' oracle; it fails on code points that it does not know (error codes among them),
//! keeps passwords, and wants to be told beforehand which PDU comes.

pub mod info;
pub mod license;
pub mod network;
pub mod redirection;
pub mod session_info;
pub mod share;

use super::Flaw;
use super::bytes::Reader;
use super::open::open_bits;

/// What protects the PDUs, which decides where security headers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS around everything, or Standard RDP Security with ENCRYPTION_LEVEL_NONE: only some PDUs have a security header.
    Enhanced,
    /// Standard RDP Security with encryption: every PDU has a security header.
    Standard,
}

/// What one payload holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Security Exchange: the client's random number, sealed with the server's key.
    SecurityExchange {
        /// Bytes of the sealed number.
        length: u32,
    },
    /// Client Info.
    ClientInfo(info::ClientInfo),
    /// A licensing PDU.
    License(license::License),
    /// Auto-detection of the network.
    AutoDetect(network::AutoDetect),
    /// Heartbeat.
    Heartbeat(network::Heartbeat),
    /// Initiate Multitransport Request.
    MultitransportRequest(network::MultitransportRequest),
    /// Initiate Multitransport Response.
    MultitransportResponse(network::MultitransportResponse),
    /// Server Redirection under Standard RDP Security; under TLS it is one of [`share::Pdu`].
    Redirection(redirection::Redirection),
    /// Share Control PDUs, one or several.
    Share(share::Pdus<'a>),
    /// Sealed by Standard RDP Security: only the flags can be read.
    Encrypted {
        /// The flags of the security header.
        flags: SecurityFlags,
        /// Bytes behind the header, signature included.
        length: usize,
    },
    /// A security header whose flags announce none of these.
    Other {
        /// The flags of the security header.
        flags: SecurityFlags,
        /// Bytes behind the header.
        length: usize,
    },
}

open_bits! {
    /// Flags of the basic security header (MS-RDPBCGR 2.2.8.1.1.2.1).
    SecurityFlags: u16, empty "none" {
        /// Security Exchange.
        SEC_EXCHANGE_PKT = 0x0001;
        /// Initiate Multitransport Request.
        SEC_TRANSPORT_REQ = 0x0002;
        /// Initiate Multitransport Response.
        SEC_TRANSPORT_RSP = 0x0004;
        /// Encrypted.
        SEC_ENCRYPT = 0x0008;
        /// Not used any more.
        SEC_RESET_SEQNO = 0x0010;
        /// Not used any more.
        SEC_IGNORE_SEQNO = 0x0020;
        /// Client Info.
        SEC_INFO_PKT = 0x0040;
        /// Licensing.
        SEC_LICENSE_PKT = 0x0080;
        /// The sender can encrypt, or encrypts, licensing PDUs.
        SEC_LICENSE_ENCRYPT = 0x0200;
        /// Server Redirection.
        SEC_REDIRECTION_PKT = 0x0400;
        /// The signature is salted.
        SEC_SECURE_CHECKSUM = 0x0800;
        /// Auto-Detect Request.
        SEC_AUTODETECT_REQ = 0x1000;
        /// Auto-Detect Response.
        SEC_AUTODETECT_RSP = 0x2000;
        /// Heartbeat.
        SEC_HEARTBEAT = 0x4000;
        /// The second half of the field counts; it never does.
        SEC_FLAGSHI_VALID = 0x8000;
    }
}

/// Bytes of the basic security header.
const SECURITY_HEADER: usize = 4;

/// Reads one payload of the I/O channel.
///
/// # Errors
///
/// The flaw's place counts from the start of `payload`.
pub fn io_channel(payload: &[u8], security: Security) -> Result<Message<'_>, Flaw> {
    if security == Security::Enhanced && share::begins(payload) {
        return Ok(Message::Share(share::pdus(payload)));
    }
    with_security_header(payload)
}

/// Reads one payload of the message channel, where every PDU has a security header.
///
/// # Errors
///
/// The flaw's place counts from the start of `payload`.
pub fn message_channel(payload: &[u8]) -> Result<Message<'_>, Flaw> {
    with_security_header(payload)
}

fn with_security_header(payload: &[u8]) -> Result<Message<'_>, Flaw> {
    let mut reader = Reader::new(payload);
    let (Some(flags), Some(_flags_high)) = (reader.u16_le(), reader.u16_le()) else {
        return Err(Flaw {
            at: 0,
            why: "a PDU is too short for a security header",
        });
    };
    let flags = SecurityFlags(flags);
    let body = reader.rest();
    // Encryption hides the rest, except that licensing and the exchange itself set bits of the same field with other meanings.
    if flags.contains(SecurityFlags::SEC_ENCRYPT) {
        return Ok(Message::Encrypted {
            flags,
            length: body.len(),
        });
    }
    let message = if flags.contains(SecurityFlags::SEC_EXCHANGE_PKT) {
        reader.u32_le().map(|length| Message::SecurityExchange { length })
    } else if flags.contains(SecurityFlags::SEC_INFO_PKT) {
        info::parse(body).map(Message::ClientInfo)
    } else if flags.contains(SecurityFlags::SEC_LICENSE_PKT) {
        license::parse(body).map(Message::License)
    } else if flags.contains(SecurityFlags::SEC_AUTODETECT_REQ) || flags.contains(SecurityFlags::SEC_AUTODETECT_RSP) {
        network::auto_detect(body).map(Message::AutoDetect)
    } else if flags.contains(SecurityFlags::SEC_HEARTBEAT) {
        network::heartbeat(body).map(Message::Heartbeat)
    } else if flags.contains(SecurityFlags::SEC_TRANSPORT_REQ) {
        network::multitransport_request(body).map(Message::MultitransportRequest)
    } else if flags.contains(SecurityFlags::SEC_TRANSPORT_RSP) {
        network::multitransport_response(body).map(Message::MultitransportResponse)
    } else if flags.contains(SecurityFlags::SEC_REDIRECTION_PKT) {
        redirection::parse(body).map(Message::Redirection)
    } else if share::begins(body) {
        // Standard RDP Security at the low level leaves what the server sends in clear, behind the header.
        Some(Message::Share(share::pdus(body)))
    } else {
        Some(Message::Other {
            flags,
            length: body.len(),
        })
    };
    message.ok_or(Flaw {
        at: SECURITY_HEADER,
        why: "the PDU that the security header announces is cut short",
    })
}

#[cfg(test)]
mod tests;
