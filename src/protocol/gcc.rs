//! GCC Conference Create Request and Response (T.124) and the settings in them (MS-RDPBCGR 2.2.1.3 and 2.2.1.4).
//!
//! `ironrdp-pdu` refuses the whole message where one enumeration has a value that it does not know or an obligatory block is missing;
//! here each block is read as far as it goes, and it is the tests' oracle.

use super::Flaw;
use super::bytes::{Reader, narrow, utf16};
use super::mcs::per_length;
use super::open::{open_bits, open_number};
use super::x224::Protocols;

/// What the client tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientData {
    /// CS_CORE.
    pub core: Option<ClientCore>,
    /// CS_SECURITY: the encryption methods of Standard RDP Security that the client knows (both fields together).
    pub encryption_methods: Option<EncryptionMethods>,
    /// CS_NET: the static virtual channels that it wants.
    pub channels: Vec<Channel>,
    /// CS_CLUSTER.
    pub cluster: Option<ClientCluster>,
    /// CS_MONITOR: how many monitors.
    pub monitors: Option<u32>,
    /// CS_MCS_MSGCHANNEL was sent: the client understands the message channel.
    pub message_channel: bool,
    /// CS_MULTITRANSPORT.
    pub multitransport: Option<MultitransportFlags>,
    /// Type and body length of every other block, in order.
    pub other: Vec<(u16, u16)>,
}

/// CS_CORE (MS-RDPBCGR 2.2.1.3.2); a field past the block's end is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCore {
    /// 0x00080004 for RDP 5.0 to 8.1, 0x00080005 and up for 10.0 and later.
    pub version: u32,
    /// Pixels.
    pub desktop_width: u16,
    /// Pixels.
    pub desktop_height: u16,
    /// The input locale's identifier.
    pub keyboard_layout: u32,
    /// The build of the client's operating system or program: 22621 is Windows 11 22H2.
    pub client_build: u32,
    /// The client's computer name, at most 15 characters.
    pub client_name: String,
    /// `earlyCapabilityFlags`.
    pub early_capabilities: Option<ClientCapabilities>,
    /// `connectionType`: 1 modem ... 6 LAN, 7 detect.
    pub connection_type: Option<u8>,
    /// `serverSelectedProtocol`, which must repeat that of the Connection Confirm.
    pub server_selected_protocol: Option<Protocols>,
}

/// A static virtual channel that the client asks for (MS-RDPBCGR 2.2.1.3.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Such as `rdpdr`, `cliprdr`, `drdynvc`.
    pub name: String,
    /// CHANNEL_OPTION_*.
    pub options: u32,
}

/// CS_CLUSTER (MS-RDPBCGR 2.2.1.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientCluster {
    /// `Flags` as sent.
    pub flags: u32,
    /// `RedirectedSessionID`; meaningful where REDIRECTED_SESSIONID_FIELD_VALID is set.
    pub session_id: u32,
}

impl ClientCluster {
    /// REDIRECTED_SESSIONID_FIELD_VALID: this connection was redirected to a session.
    #[must_use]
    pub const fn redirected(self) -> bool {
        self.flags & 2 != 0
    }

    /// ServerSessionRedirectionVersionMask: 0 for version 1, and so on.
    #[must_use]
    pub const fn redirection_version(self) -> u8 {
        (self.flags >> 2 & 0xF) as u8
    }
}

/// What the server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerData {
    /// The result of the Conference Create Response (T.124): 0 success, 1 user rejected, 2 resources not available, ...
    pub result: u8,
    /// SC_CORE.
    pub core: Option<ServerCore>,
    /// SC_SECURITY.
    pub security: Option<ServerSecurity>,
    /// SC_NET `MCSChannelId`: the I/O channel.
    pub io_channel: Option<u16>,
    /// SC_NET: the channels' numbers in the order of the client's request; 0 for one that is refused.
    pub channels: Vec<u16>,
    /// SC_MCS_MSGCHANNEL: the message channel.
    pub message_channel: Option<u16>,
    /// SC_MULTITRANSPORT.
    pub multitransport: Option<MultitransportFlags>,
    /// Type and body length of every other block, in order.
    pub other: Vec<(u16, u16)>,
}

/// SC_CORE (MS-RDPBCGR 2.2.1.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerCore {
    /// As in [`ClientCore::version`].
    pub version: u32,
    /// `clientRequestedProtocols`: what the server received in the Connection Request. A value other than the one that was sent there
    /// shows a change on the way.
    pub client_requested_protocols: Option<Protocols>,
    /// `earlyCapabilityFlags`.
    pub early_capabilities: Option<ServerCapabilities>,
}

/// SC_SECURITY (MS-RDPBCGR 2.2.1.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSecurity {
    /// `encryptionMethod`; the empty set under TLS.
    pub method: EncryptionMethods,
    /// `encryptionLevel`.
    pub level: EncryptionLevel,
    /// Bytes of the server's random number.
    pub random_length: u32,
    /// Bytes of the server's certificate.
    pub certificate_length: u32,
}

open_bits! {
    /// `earlyCapabilityFlags` of CS_CORE.
    ClientCapabilities: u16, empty "none" {
        /// Set Error Info may be sent.
        RNS_UD_CS_SUPPORT_ERRINFO_PDU = 0x0001;
        /// 32 bits per pixel.
        RNS_UD_CS_WANT_32BPP_SESSION = 0x0002;
        /// Server Status Info may be sent.
        RNS_UD_CS_SUPPORT_STATUSINFO_PDU = 0x0004;
        /// Keys longer than 512 bits.
        RNS_UD_CS_STRONG_ASYMMETRIC_KEYS = 0x0008;
        /// Relative mouse events.
        RNS_UD_CS_RELATIVE_MOUSE_INPUT = 0x0010;
        /// `connectionType` counts.
        RNS_UD_CS_VALID_CONNECTION_TYPE = 0x0020;
        /// Monitor Layout may be sent.
        RNS_UD_CS_SUPPORT_MONITOR_LAYOUT_PDU = 0x0040;
        /// Auto-detection.
        RNS_UD_CS_SUPPORT_NETCHAR_AUTODETECT = 0x0080;
        /// The graphics pipeline.
        RNS_UD_CS_SUPPORT_DYNVC_GFX_PROTOCOL = 0x0100;
        /// Dynamic daylight saving.
        RNS_UD_CS_SUPPORT_DYNAMIC_TIME_ZONE = 0x0200;
        /// Heartbeats.
        RNS_UD_CS_SUPPORT_HEARTBEAT_PDU = 0x0400;
        /// Channel joins may be left out.
        RNS_UD_CS_SUPPORT_SKIP_CHANNELJOIN = 0x0800;
    }
}

open_bits! {
    /// `earlyCapabilityFlags` of SC_CORE.
    ServerCapabilities: u32, empty "none" {
        /// Edge actions, first version.
        RNS_UD_SC_EDGE_ACTIONS_SUPPORTED_V1 = 1;
        /// Dynamic daylight saving.
        RNS_UD_SC_DYNAMIC_DST_SUPPORTED = 2;
        /// Edge actions, second version.
        RNS_UD_SC_EDGE_ACTIONS_SUPPORTED_V2 = 4;
        /// Channel joins may be left out.
        RNS_UD_SC_SKIP_CHANNELJOIN_SUPPORTED = 8;
    }
}

open_bits! {
    /// Encryption methods of Standard RDP Security.
    EncryptionMethods: u32, empty "ENCRYPTION_METHOD_NONE" {
        /// RC4, 40 bits.
        ENCRYPTION_METHOD_40BIT = 1;
        /// RC4, 128 bits.
        ENCRYPTION_METHOD_128BIT = 2;
        /// RC4, 56 bits.
        ENCRYPTION_METHOD_56BIT = 8;
        /// 3DES and SHA-1.
        ENCRYPTION_METHOD_FIPS = 0x10;
    }
}

open_number! {
    /// Encryption levels of Standard RDP Security.
    EncryptionLevel: u32 {
        /// Nothing.
        ENCRYPTION_LEVEL_NONE = 0;
        /// From the client only.
        ENCRYPTION_LEVEL_LOW = 1;
        /// As the client can.
        ENCRYPTION_LEVEL_CLIENT_COMPATIBLE = 2;
        /// 128 bits or no connection.
        ENCRYPTION_LEVEL_HIGH = 3;
        /// FIPS or no connection.
        ENCRYPTION_LEVEL_FIPS = 4;
    }
}

open_bits! {
    /// Flags of CS_MULTITRANSPORT and SC_MULTITRANSPORT (MS-RDPBCGR 2.2.1.3.8, 2.2.1.4.6).
    MultitransportFlags: u32, empty "none" {
        /// RDP-UDP, reliable.
        TRANSPORTTYPE_UDPFECR = 1;
        /// RDP-UDP, lossy.
        TRANSPORTTYPE_UDPFECL = 4;
        /// UDP is wanted where possible.
        TRANSPORTTYPE_UDP_PREFERRED = 0x100;
        /// Channels may move from TCP to UDP.
        SOFTSYNC_TCP_TO_UDP = 0x200;
    }
}

const CS_CORE: u16 = 0xC001;
const CS_SECURITY: u16 = 0xC002;
const CS_NET: u16 = 0xC003;
const CS_CLUSTER: u16 = 0xC004;
const CS_MONITOR: u16 = 0xC005;
const CS_MCS_MSGCHANNEL: u16 = 0xC006;
const CS_MULTITRANSPORT: u16 = 0xC00A;
const SC_CORE: u16 = 0x0C01;
const SC_SECURITY: u16 = 0x0C02;
const SC_NET: u16 = 0x0C03;
const SC_MCS_MSGCHANNEL: u16 = 0x0C04;
const SC_MULTITRANSPORT: u16 = 0x0C08;

/// The object identifier of T.124 as the key of ConnectData.
const KEY: &[u8] = &[0x00, 0x05, 0x00, 0x14, 0x7C, 0x00, 0x01];

/// Reads the user data of an MCS Connect-Initial.
///
/// # Errors
///
/// The flaw's place counts from the start of `user_data`. A damaged block is not an error: it counts as absent.
pub fn client(user_data: &[u8]) -> Result<ClientData, Flaw> {
    let (_, blocks) = conference(user_data, b"Duca")?;
    let mut data = ClientData::default();
    for (kind, body) in Blocks(blocks) {
        let mut reader = Reader::new(body);
        match kind {
            CS_CORE => data.core = client_core(&mut reader),
            CS_SECURITY => {
                let methods = reader.u32_le().map(|plain| {
                    // A French client puts them into the second field (MS-RDPBCGR 2.2.1.3.3).
                    EncryptionMethods(plain | reader.u32_le().unwrap_or_default())
                });
                data.encryption_methods = methods;
            }
            CS_NET => {
                let _count = reader.u32_le();
                data.channels = core::iter::from_fn(|| channel(&mut reader)).collect();
            }
            CS_CLUSTER => {
                data.cluster = reader
                    .u32_le()
                    .zip(reader.u32_le())
                    .map(|(flags, session_id)| ClientCluster { flags, session_id });
            }
            CS_MONITOR => data.monitors = reader.u32_le().and_then(|_flags| reader.u32_le()),
            CS_MCS_MSGCHANNEL => data.message_channel = true,
            CS_MULTITRANSPORT => data.multitransport = reader.u32_le().map(MultitransportFlags),
            _ => data.other.push((kind, block_length(body))),
        }
    }
    Ok(data)
}

/// Reads the user data of an MCS Connect-Response.
///
/// # Errors
///
/// The flaw's place counts from the start of `user_data`. A damaged block is not an error: it counts as absent.
pub fn server(user_data: &[u8]) -> Result<ServerData, Flaw> {
    let (result, blocks) = conference(user_data, b"McDn")?;
    let mut data = ServerData {
        result,
        ..ServerData::default()
    };
    for (kind, body) in Blocks(blocks) {
        let mut reader = Reader::new(body);
        match kind {
            SC_CORE => {
                data.core = reader.u32_le().map(|version| ServerCore {
                    version,
                    client_requested_protocols: reader.u32_le().map(Protocols),
                    early_capabilities: reader.u32_le().map(ServerCapabilities),
                });
            }
            SC_SECURITY => {
                data.security = reader.u32_le().zip(reader.u32_le()).map(|(method, level)| ServerSecurity {
                    method: EncryptionMethods(method),
                    level: EncryptionLevel(level),
                    random_length: reader.u32_le().unwrap_or_default(),
                    certificate_length: reader.u32_le().unwrap_or_default(),
                });
            }
            SC_NET => {
                data.io_channel = reader.u16_le();
                let count = reader.u16_le().unwrap_or_default();
                data.channels = core::iter::from_fn(|| reader.u16_le()).take(usize::from(count)).collect();
            }
            SC_MCS_MSGCHANNEL => data.message_channel = reader.u16_le(),
            SC_MULTITRANSPORT => data.multitransport = reader.u32_le().map(MultitransportFlags),
            _ => data.other.push((kind, block_length(body))),
        }
    }
    Ok(data)
}

/// A block's length comes from 16 bits, so a body's length fits them.
fn block_length(body: &[u8]) -> u16 {
    u16::try_from(body.len()).unwrap_or(u16::MAX)
}

/// Skips the PER of ConnectData up to the settings and gives the result (0 in a request) and the settings.
fn conference<'a>(user_data: &'a [u8], h221: &[u8; 4]) -> Result<(u8, &'a [u8]), Flaw> {
    let Some(after) = user_data.strip_prefix(KEY) else {
        return Err(Flaw {
            at: 0,
            why: "the user data is not a GCC conference",
        });
    };
    conference_body(after, h221).ok_or(Flaw {
        at: KEY.len(),
        why: "the GCC conference PDU carries no settings of RDP",
    })
}

fn conference_body<'a>(after: &'a [u8], h221: &[u8; 4]) -> Option<(u8, &'a [u8])> {
    let mut reader = Reader::new(after);
    // MS-RDPBCGR 3.2.5.3.4 has clients ignore this length; Windows servers write 0x2A.
    per_length(&mut reader)?;
    let choice = reader.u8()?;
    let result = if choice & 0x70 == 0x10 {
        let _node = reader.u16_be()?;
        let tag_length = reader.u8()?;
        reader.take(usize::from(tag_length))?;
        // An extension bit, then three bits.
        reader.u8()? >> 4 & 7
    } else {
        // Selection of the optional fields, conference name (a numeric string: length less 1, one digit), padding.
        reader.take(4)?;
        0
    };
    // One set of user data, its h221NonStandard key: length less 4, then the text.
    let (_sets, _choice, _length) = (reader.u8()?, reader.u8()?, reader.u8()?);
    if reader.array::<4>()? != *h221 {
        return None;
    }
    let length = per_length(&mut reader)?;
    let rest = reader.rest();
    Some((result, rest.get(..length).unwrap_or(rest)))
}

/// The settings' blocks: type, length that counts its own header, body.
struct Blocks<'a>(&'a [u8]);

impl<'a> Iterator for Blocks<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = Reader::new(self.0);
        let kind = reader.u16_le()?;
        let length = usize::from(reader.u16_le()?).checked_sub(4)?;
        let body = reader.take(length)?;
        self.0 = reader.rest();
        Some((kind, body))
    }
}

fn channel(reader: &mut Reader<'_>) -> Option<Channel> {
    let name = reader.take(8)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(8);
    Some(Channel {
        name: narrow(name.get(..end).unwrap_or(name)),
        options: reader.u32_le()?,
    })
}

fn client_core(reader: &mut Reader<'_>) -> Option<ClientCore> {
    let mut core = ClientCore {
        version: reader.u32_le()?,
        desktop_width: reader.u16_le()?,
        desktop_height: reader.u16_le()?,
        ..ClientCore::default()
    };
    // colorDepth, SASSequence
    reader.take(4)?;
    core.keyboard_layout = reader.u32_le()?;
    core.client_build = reader.u32_le()?;
    core.client_name = utf16(reader.take(32)?);
    // Everything from here may be missing, from the end backwards.
    client_core_tail(reader, &mut core);
    Some(core)
}

fn client_core_tail(reader: &mut Reader<'_>, core: &mut ClientCore) -> Option<()> {
    // keyboardType, keyboardSubType, keyboardFunctionKey, imeFileName; postBeta2ColorDepth, clientProductId, serialNumber,
    // highColorDepth, supportedColorDepths
    reader.take(12 + 64)?;
    reader.take(2 + 2 + 4 + 2 + 2)?;
    core.early_capabilities = Some(ClientCapabilities(reader.u16_le()?));
    // clientDigProductId
    reader.take(64)?;
    core.connection_type = Some(reader.u8()?);
    // pad1octet
    reader.u8()?;
    core.server_selected_protocol = Some(Protocols(reader.u32_le()?));
    Some(())
}

#[cfg(test)]
mod tests;
