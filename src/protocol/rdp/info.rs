//! Client Info (MS-RDPBCGR 2.2.1.11), without its password.

use crate::protocol::bytes::{Reader, narrow, utf16};
use crate::protocol::open::open_bits;

/// TS_INFO_PACKET. Neither the password nor the auto-reconnect cookie is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// `CodePage`: the code page, or the input locale under INFO_UNICODE.
    pub code_page: u32,
    /// `flags`.
    pub flags: InfoFlags,
    /// `Domain`.
    pub domain: String,
    /// `UserName`.
    pub user: String,
    /// Bytes of the password as sent; 0 is none.
    pub password_length: u16,
    /// `AlternateShell`: a program to start in place of the desktop.
    pub alternate_shell: String,
    /// `WorkingDir`.
    pub working_dir: String,
    /// TS_EXTENDED_INFO_PACKET, which clients since RDP 5.0 send.
    pub extended: Option<ExtendedInfo>,
}

/// TS_EXTENDED_INFO_PACKET (MS-RDPBCGR 2.2.1.11.1.1.1); a field past the end is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedInfo {
    /// `clientAddressFamily`: 2 IPv4, 23 IPv6.
    pub address_family: u16,
    /// `clientAddress`: the client's own address as it sees it, which differs from the packets' where NAT stands between.
    pub address: String,
    /// `clientDir`: where the client program is installed.
    pub dir: String,
    /// `clientSessionId`: the session on the client in which the client runs.
    pub session_id: Option<u32>,
    /// `performanceFlags`.
    pub performance_flags: Option<u32>,
    /// Bytes of the auto-reconnect cookie; anything but 0 is an automatic reconnection.
    pub auto_reconnect_length: u16,
}

open_bits! {
    /// `flags` of TS_INFO_PACKET; INFO_CompressionTypeMask (0x1E00) is a number and has no names here.
    InfoFlags: u32, empty "none" {
        /// A mouse is there.
        INFO_MOUSE = 0x0000_0001;
        /// No Ctrl+Alt+Del needed.
        INFO_DISABLECTRLALTDEL = 0x0000_0002;
        /// Log on with these credentials.
        INFO_AUTOLOGON = 0x0000_0008;
        /// Text is UTF-16.
        INFO_UNICODE = 0x0000_0010;
        /// Maximise the shell.
        INFO_MAXIMIZESHELL = 0x0000_0020;
        /// Tell the client of the logon.
        INFO_LOGONNOTIFY = 0x0000_0040;
        /// Compression is wanted.
        INFO_COMPRESSION = 0x0000_0080;
        /// The Windows key works.
        INFO_ENABLEWINDOWSKEY = 0x0000_0100;
        /// Audio stays at the server.
        INFO_REMOTECONSOLEAUDIO = 0x0000_2000;
        /// Encryption both ways.
        INFO_FORCE_ENCRYPTED_CS_PDU = 0x0000_4000;
        /// RemoteApp.
        INFO_RAIL = 0x0000_8000;
        /// Errors of the logon are wanted.
        INFO_LOGONERRORS = 0x0001_0000;
        /// The mouse has a wheel.
        INFO_MOUSE_HAS_WHEEL = 0x0002_0000;
        /// The password is a smart card's PIN.
        INFO_PASSWORD_IS_SC_PIN = 0x0004_0000;
        /// No audio.
        INFO_NOAUDIOPLAYBACK = 0x0008_0000;
        /// Saved credentials were used.
        INFO_USING_SAVED_CREDS = 0x0010_0000;
        /// Audio from the client.
        INFO_AUDIOCAPTURE = 0x0020_0000;
        /// No video redirection.
        INFO_VIDEO_DISABLE = 0x0040_0000;
        /// Reserved.
        INFO_RESERVED1 = 0x0080_0000;
        /// Reserved.
        INFO_RESERVED2 = 0x0100_0000;
        /// RemoteApp with high definition.
        INFO_HIDEF_RAIL_SUPPORTED = 0x0200_0000;
    }
}

/// Bytes of `clientTimeZone`.
const TIME_ZONE: usize = 172;

/// Reads what follows the security header. `None`: cut short in its obligatory part.
pub(super) fn parse(body: &[u8]) -> Option<ClientInfo> {
    let mut reader = Reader::new(body);
    let (code_page, flags) = (reader.u32_le()?, InfoFlags(reader.u32_le()?));
    let wide = flags.contains(InfoFlags::INFO_UNICODE);
    let mut lengths = [0; 5];
    for length in &mut lengths {
        *length = reader.u16_le()?;
    }
    let [domain, user, password, shell, dir] = lengths;
    // Each length leaves out the terminator that follows the text.
    let mut bytes = |length: u16| reader.take(usize::from(length) + if wide { 2 } else { 1 });
    let text = |bytes: &[u8]| decode(bytes, wide);
    let mut info = ClientInfo {
        code_page,
        flags,
        domain: text(bytes(domain)?),
        user: text(bytes(user)?),
        password_length: password,
        ..ClientInfo::default()
    };
    bytes(password)?;
    info.alternate_shell = text(bytes(shell)?);
    info.working_dir = text(bytes(dir)?);
    info.extended = reader.u16_le().map(|address_family| extended(address_family, &mut reader));
    Some(info)
}

fn decode(bytes: &[u8], wide: bool) -> String {
    if wide {
        return utf16(bytes);
    }
    let end = bytes.iter().position(|byte| *byte == 0);
    narrow(end.and_then(|end| bytes.get(..end)).unwrap_or(bytes))
}

fn extended(address_family: u16, reader: &mut Reader<'_>) -> ExtendedInfo {
    let mut info = ExtendedInfo {
        address_family,
        ..ExtendedInfo::default()
    };
    extended_tail(&mut info, reader);
    info
}

/// Fills the fields that are there; the end may come after any of them.
fn extended_tail(info: &mut ExtendedInfo, reader: &mut Reader<'_>) -> Option<()> {
    // These lengths count the terminator, and the text is always UTF-16.
    let address = reader.u16_le()?;
    info.address = utf16(reader.take(usize::from(address))?);
    let dir = reader.u16_le()?;
    info.dir = utf16(reader.take(usize::from(dir))?);
    reader.take(TIME_ZONE)?;
    info.session_id = Some(reader.u32_le()?);
    info.performance_flags = Some(reader.u32_le()?);
    info.auto_reconnect_length = reader.u16_le()?;
    Some(())
}
