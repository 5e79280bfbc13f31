//! Packets of the RD Gateway's HTTP transport (MS-TSGU 2.2.10): handshake, tunnel, authorisation, channel, data.

use super::super::bytes::{Reader, utf16};
use super::super::open::{open_bits, open_number};
use super::super::{Flaw, Parsed};

/// Bytes of HTTP_PACKET_HEADER (MS-TSGU 2.2.10.9).
pub const HEADER: usize = 8;

/// The longest packet: a field of lengths in 16 bits, twice, and the fixed parts.
const LONGEST: usize = 0x2_0100;

open_number! {
    /// HTTP_PACKET_TYPE (MS-TSGU 2.2.5.3.3).
    PacketType: u16 {
        /// The client's versions.
        HANDSHAKE_REQUEST = 0x01;
        /// The gateway's.
        HANDSHAKE_RESPONSE = 0x02;
        /// A leg of another authentication.
        EXTENDED_AUTH = 0x03;
        /// Asks for a tunnel.
        TUNNEL_CREATE = 0x04;
        /// The tunnel, or why not.
        TUNNEL_RESPONSE = 0x05;
        /// Asks whether this user and computer may.
        TUNNEL_AUTH = 0x06;
        /// What the connection authorisation policy says.
        TUNNEL_AUTH_RESPONSE = 0x07;
        /// Asks for a connection to a host.
        CHANNEL_CREATE = 0x08;
        /// What the resource authorisation policy, and the host, say.
        CHANNEL_RESPONSE = 0x09;
        /// RDP.
        DATA = 0x0A;
        /// A message for the user.
        SERVICE_MESSAGE = 0x0B;
        /// Asks for authentication again.
        REAUTH_MESSAGE = 0x0C;
        /// Nothing.
        KEEPALIVE = 0x0D;
        /// Ends the channel.
        CLOSE_CHANNEL = 0x10;
        /// Agrees.
        CLOSE_CHANNEL_RESPONSE = 0x11;
    }
}

open_bits! {
    /// HTTP_EXTENDED_AUTH (MS-TSGU 2.2.5.3.2).
    ExtendedAuth: u16, empty "none" {
        /// Smart card.
        SC = 0x01;
        /// Pluggable authentication (a cookie).
        PAA = 0x02;
        /// NTLM in the tunnel.
        SSPI_NTLM = 0x04;
        /// Bearer token.
        BEARER = 0x08;
    }
}

open_bits! {
    /// HTTP_CAPABILITY_TYPE (MS-TSGU 2.2.5.3.9).
    Capabilities: u32, empty "none" {
        /// Health check.
        QUAR_SOH = 0x01;
        /// Idle time limit.
        IDLE_TIMEOUT = 0x02;
        /// A text that the user must agree to.
        MESSAGING_CONSENT_SIGN = 0x04;
        /// Messages of the administrator.
        MESSAGING_SERVICE_MSG = 0x08;
        /// Authentication again and again.
        REAUTH = 0x10;
        /// The UDP side channel.
        UDP_TRANSPORT = 0x20;
    }
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its type.
    pub kind: PacketType,
    /// Its contents.
    pub body: Body<'a>,
}

/// The contents of a packet. Status codes are HRESULTs or Win32 codes; 0 is success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// MS-TSGU 2.2.10.10.
    HandshakeRequest {
        /// Protocol version, major and minor.
        version: (u8, u8),
        /// The client's version.
        client_version: u16,
        /// What the client can do beside HTTP authentication.
        extended_auth: ExtendedAuth,
    },
    /// MS-TSGU 2.2.10.11.
    HandshakeResponse {
        /// Status.
        status: u32,
        /// Protocol version, major and minor.
        version: (u8, u8),
        /// The gateway's version.
        server_version: u16,
        /// What the gateway wants beside HTTP authentication.
        extended_auth: ExtendedAuth,
    },
    /// MS-TSGU 2.2.10.7.
    ExtendedAuth {
        /// Status.
        status: u32,
        /// A token of the authentication.
        token: &'a [u8],
    },
    /// MS-TSGU 2.2.10.18.
    TunnelCreate {
        /// What the client can do.
        capabilities: Capabilities,
        /// Bytes of the PAA cookie, where one is sent. The cookie is a secret and is not kept.
        cookie: Option<usize>,
        /// The tunnel that is authenticated again.
        reauth_context: Option<u64>,
    },
    /// MS-TSGU 2.2.10.20.
    TunnelResponse {
        /// The gateway's version.
        server_version: u16,
        /// Status.
        status: u32,
        /// The tunnel's number.
        tunnel: Option<u32>,
        /// What the gateway can do.
        capabilities: Option<Capabilities>,
        /// The text that the user must agree to.
        consent: Option<String>,
    },
    /// MS-TSGU 2.2.10.14.
    TunnelAuth {
        /// The client computer's name.
        client_name: String,
    },
    /// MS-TSGU 2.2.10.16.
    TunnelAuthResponse {
        /// Status: the connection authorisation policy's verdict.
        status: u32,
        /// Device redirection flags (HTTP_TUNNEL_REDIR_*).
        redirection: Option<u32>,
        /// Idle time limit in minutes; 0 is none.
        idle_minutes: Option<u32>,
    },
    /// MS-TSGU 2.2.10.2.
    ChannelCreate {
        /// Names of the host, the first wished most; alternative names follow.
        resources: Vec<String>,
        /// TCP port.
        port: u16,
        /// 3 for RDP.
        protocol: u16,
    },
    /// MS-TSGU 2.2.10.4.
    ChannelResponse {
        /// Status: the resource authorisation policy's verdict, and whether the host could be reached.
        status: u32,
        /// The channel's number.
        channel: Option<u32>,
        /// The gateway's UDP port for the side channel.
        udp_port: Option<u16>,
        /// The cookie for the side channel, CMS SignedData.
        cookie: Option<&'a [u8]>,
    },
    /// MS-TSGU 2.2.10.6.
    Data(&'a [u8]),
    /// MS-TSGU 2.2.10.13.
    ServiceMessage(String),
    /// MS-TSGU 2.2.10.12.
    Reauth {
        /// The tunnel's context.
        context: u64,
    },
    /// MS-TSGU 2.2.10.8.
    Keepalive,
    /// MS-TSGU 2.2.10.1, and its answer.
    CloseChannel {
        /// Status.
        status: u32,
    },
    /// A type that is not known, contents as they are.
    Unknown(&'a [u8]),
    /// A known type whose contents are shorter than it says.
    Damaged(Flaw),
}

impl Body<'_> {
    /// The status of a response or a close; `None` for what carries none.
    #[must_use]
    pub const fn status(&self) -> Option<u32> {
        match self {
            Self::HandshakeResponse { status, .. }
            | Self::ExtendedAuth { status, .. }
            | Self::TunnelResponse { status, .. }
            | Self::TunnelAuthResponse { status, .. }
            | Self::ChannelResponse { status, .. }
            | Self::CloseChannel { status } => Some(*status),
            _ => None,
        }
    }
}

/// Where a UDP side channel leads, as its cookie says in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host's address, as the gateway knows it.
    pub address: String,
    /// The host's name, as the client asked for it.
    pub name: String,
    /// TCP port.
    pub port: u16,
}

/// Reads the target out of a cookie of [`Body::ChannelResponse`]: CMS SignedData around `UDPCOOKIE;user;expiry;address;name;port`,
/// UTF-16 with its NUL. The user in it is not read.
#[must_use]
pub fn cookie_target(cookie: &[u8]) -> Option<Target> {
    const MARK: &[u8] = b"U\0D\0P\0C\0O\0O\0K\0I\0E\0;\0";
    /// Sizes of the fields in MS-TSGU 2.2.11.8, in characters and with room to spare.
    const LONGEST: usize = 4096;
    let start = cookie.windows(MARK.len()).position(|it| it == MARK)?;
    let text = utf16(cookie.get(start..)?.get(..LONGEST).unwrap_or(cookie.get(start..)?));
    let mut fields = text.split(';').skip(3);
    let (address, name, port) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
    Some(Target {
        address: address.to_owned(),
        name: name.to_owned(),
        port,
    })
}

/// Reads one packet.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Packet<'_>> {
    let mut reader = Reader::new(bytes);
    let (Some(kind), Some(reserved), Some(length)) = (reader.u16_le(), reader.u16_le(), reader.u32_le()) else {
        return Parsed::More;
    };
    let length = length as usize;
    // Types are small and the reserved field is zero: text and TLS records are neither.
    if kind == 0 || kind > 0xFF || reserved != 0 || !(HEADER..=LONGEST).contains(&length) {
        return Parsed::NotMine;
    }
    let Some(contents) = reader.take(length - HEADER) else {
        return Parsed::More;
    };
    let kind = PacketType(kind);
    let mut inside = Reader::new(contents);
    let body = body(kind, contents, &mut inside).unwrap_or_else(|| {
        Body::Damaged(Flaw {
            at: HEADER + inside.position(),
            why: "gateway packet shorter than its fields",
        })
    });
    Parsed::Done(Packet { kind, body }, length)
}

fn body<'a>(kind: PacketType, contents: &'a [u8], r: &mut Reader<'a>) -> Option<Body<'a>> {
    Some(match kind {
        PacketType::HANDSHAKE_REQUEST => Body::HandshakeRequest {
            version: (r.u8()?, r.u8()?),
            client_version: r.u16_le()?,
            extended_auth: ExtendedAuth(r.u16_le()?),
        },
        PacketType::HANDSHAKE_RESPONSE => {
            let status = r.u32_le()?;
            // A refusal may end after its status.
            Body::HandshakeResponse {
                status,
                version: (r.u8().unwrap_or_default(), r.u8().unwrap_or_default()),
                server_version: r.u16_le().unwrap_or_default(),
                extended_auth: ExtendedAuth(r.u16_le().unwrap_or_default()),
            }
        }
        PacketType::EXTENDED_AUTH => Body::ExtendedAuth {
            status: r.u32_le()?,
            token: vec16(r).unwrap_or_default(),
        },
        PacketType::TUNNEL_CREATE => tunnel_create(r)?,
        PacketType::TUNNEL_RESPONSE => tunnel_response(r)?,
        PacketType::TUNNEL_AUTH => {
            r.u16_le()?;
            Body::TunnelAuth {
                client_name: utf16(vec16(r)?),
            }
        }
        PacketType::TUNNEL_AUTH_RESPONSE => {
            let status = r.u32_le()?;
            let fields = fields(r);
            Body::TunnelAuthResponse {
                status,
                redirection: optional(fields, 1, || r.u32_le())?,
                idle_minutes: optional(fields, 2, || r.u32_le())?,
            }
        }
        PacketType::CHANNEL_CREATE => channel_create(r)?,
        PacketType::CHANNEL_RESPONSE => {
            let status = r.u32_le()?;
            let fields = fields(r);
            // The order on the wire is not that of the bits: the port comes before the cookie.
            Body::ChannelResponse {
                status,
                channel: optional(fields, 1, || r.u32_le())?,
                udp_port: optional(fields, 4, || r.u16_le())?,
                cookie: optional(fields, 2, || vec16(r))?,
            }
        }
        PacketType::DATA => Body::Data(vec16(r)?),
        PacketType::SERVICE_MESSAGE => Body::ServiceMessage(utf16(vec16(r)?)),
        PacketType::REAUTH_MESSAGE => Body::Reauth {
            context: r.array().map(u64::from_le_bytes)?,
        },
        PacketType::KEEPALIVE => Body::Keepalive,
        PacketType::CLOSE_CHANNEL | PacketType::CLOSE_CHANNEL_RESPONSE => Body::CloseChannel { status: r.u32_le()? },
        _ => Body::Unknown(contents),
    })
}

fn tunnel_create<'a>(r: &mut Reader<'a>) -> Option<Body<'a>> {
    let capabilities = Capabilities(r.u32_le()?);
    let fields = fields(r);
    Some(Body::TunnelCreate {
        capabilities,
        reauth_context: optional(fields, 2, || r.array().map(u64::from_le_bytes))?,
        cookie: optional(fields, 1, || vec16(r).map(<[u8]>::len))?,
    })
}

fn tunnel_response<'a>(r: &mut Reader<'a>) -> Option<Body<'a>> {
    let (server_version, status) = (r.u16_le()?, r.u32_le()?);
    let fields = fields(r);
    let tunnel = optional(fields, 1, || r.u32_le())?;
    let capabilities = optional(fields, 2, || r.u32_le().map(Capabilities))?;
    // Health check: a nonce of 20 bytes and the server's certificate (MS-TSGU 2.2.10.21); neither says why a connection failed.
    optional(fields, 4, || {
        r.take(20)?;
        vec16(r)
    })?;
    let consent = optional(fields, 0x10, || vec16(r).map(utf16))?;
    Some(Body::TunnelResponse {
        server_version,
        status,
        tunnel,
        capabilities,
        consent,
    })
}

fn channel_create<'a>(r: &mut Reader<'a>) -> Option<Body<'a>> {
    let names = usize::from(r.u8()?) + usize::from(r.u8()?);
    let (port, protocol) = (r.u16_le()?, r.u16_le()?);
    let resources = (0..names).map(|_| vec16(r).map(utf16)).collect::<Option<_>>()?;
    Some(Body::ChannelCreate {
        resources,
        port,
        protocol,
    })
}

/// `fieldsPresent` and the two reserved bytes after it; a refusal may end before them.
fn fields(r: &mut Reader<'_>) -> u16 {
    let fields = r.u16_le().unwrap_or_default();
    r.u16_le();
    fields
}

/// A field that is there if its bit is set. The outer `None` is damage: the bit is set and the bytes are missing.
fn optional<T>(fields: u16, bit: u16, read: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    if fields & bit == 0 { Some(None) } else { read().map(Some) }
}

/// Bytes with their count in front, least significant first.
fn vec16<'a>(r: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut ahead = r.clone();
    let count = usize::from(ahead.u16_le()?);
    let taken = ahead.take(count)?;
    *r = ahead;
    Some(taken)
}

#[cfg(test)]
mod tests;
