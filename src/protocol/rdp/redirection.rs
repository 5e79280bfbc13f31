//! Server Redirection (MS-RDPBCGR 2.2.13): a broker sends the client to another host.

use crate::protocol::bytes::{Reader, narrow, utf16};
use crate::protocol::open::open_bits;

/// RDP_SERVER_REDIRECTION_PACKET. The password, its cookie and the certificate are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirection {
    /// `SessionID`: the session to which to reconnect.
    pub session_id: u32,
    /// `RedirFlags`.
    pub flags: RedirectionFlags,
    /// `TargetNetAddress`.
    pub address: Option<String>,
    /// `LoadBalanceInfo`: the routing token of the next Connection Request.
    pub load_balance_info: Option<String>,
    /// `UserName`.
    pub user: Option<String>,
    /// `Domain`.
    pub domain: Option<String>,
    /// Bytes of `Password`.
    pub password_length: Option<u32>,
    /// `TargetFQDN`.
    pub fqdn: Option<String>,
    /// `TargetNetBiosName`.
    pub netbios_name: Option<String>,
    /// `TargetNetAddresses`.
    pub addresses: Vec<String>,
}

open_bits! {
    /// `RedirFlags`.
    RedirectionFlags: u32, empty "none" {
        /// `TargetNetAddress` is there.
        LB_TARGET_NET_ADDRESS = 0x0000_0001;
        /// `LoadBalanceInfo` is there.
        LB_LOAD_BALANCE_INFO = 0x0000_0002;
        /// `UserName` is there.
        LB_USERNAME = 0x0000_0004;
        /// `Domain` is there.
        LB_DOMAIN = 0x0000_0008;
        /// `Password` is there.
        LB_PASSWORD = 0x0000_0010;
        /// Do not save the user name.
        LB_DONTSTOREUSERNAME = 0x0000_0020;
        /// A smart card is wanted.
        LB_SMARTCARD_LOGON = 0x0000_0040;
        /// Only information: the client stays.
        LB_NOREDIRECT = 0x0000_0080;
        /// `TargetFQDN` is there.
        LB_TARGET_FQDN = 0x0000_0100;
        /// `TargetNetBiosName` is there.
        LB_TARGET_NETBIOS_NAME = 0x0000_0200;
        /// `TargetNetAddresses` is there.
        LB_TARGET_NET_ADDRESSES = 0x0000_0800;
        /// `TsvUrl` is there.
        LB_CLIENT_TSV_URL = 0x0000_1000;
        /// The server knows `TsvUrl`.
        LB_SERVER_TSV_CAPABLE = 0x0000_2000;
        /// `Password` is sealed for RDSTLS.
        LB_PASSWORD_IS_PK_ENCRYPTED = 0x0000_4000;
        /// `RedirectionGuid` is there.
        LB_REDIRECTION_GUID = 0x0000_8000;
        /// `TargetCertificate` is there.
        LB_TARGET_CERTIFICATE = 0x0001_0000;
    }
}

/// Reads the packet from its own `Flags` on. A field that does not fit ends the reading; `None`: cut short before `RedirFlags`.
pub(super) fn parse(body: &[u8]) -> Option<Redirection> {
    let mut reader = Reader::new(body);
    let (_flags, _length) = (reader.u16_le()?, reader.u16_le()?);
    let mut packet = Redirection {
        session_id: reader.u32_le()?,
        flags: RedirectionFlags(reader.u32_le()?),
        ..Redirection::default()
    };
    fields(&mut packet, &mut reader);
    Some(packet)
}

/// The fields in the order of the specification, each where its flag says so.
fn fields(packet: &mut Redirection, reader: &mut Reader<'_>) -> Option<()> {
    let flags = packet.flags;
    let mut field = |bit| {
        if !flags.contains(bit) {
            return Some(None);
        }
        let length = usize::try_from(reader.u32_le()?).ok()?;
        reader.take(length).map(Some)
    };
    packet.address = field(RedirectionFlags::LB_TARGET_NET_ADDRESS)?.map(utf16);
    packet.load_balance_info = field(RedirectionFlags::LB_LOAD_BALANCE_INFO)?.map(narrow);
    packet.user = field(RedirectionFlags::LB_USERNAME)?.map(utf16);
    packet.domain = field(RedirectionFlags::LB_DOMAIN)?.map(utf16);
    packet.password_length =
        field(RedirectionFlags::LB_PASSWORD)?.map(|password| u32::try_from(password.len()).unwrap_or(u32::MAX));
    packet.fqdn = field(RedirectionFlags::LB_TARGET_FQDN)?.map(utf16);
    packet.netbios_name = field(RedirectionFlags::LB_TARGET_NETBIOS_NAME)?.map(utf16);
    field(RedirectionFlags::LB_CLIENT_TSV_URL)?;
    field(RedirectionFlags::LB_REDIRECTION_GUID)?;
    field(RedirectionFlags::LB_TARGET_CERTIFICATE)?;
    if let Some(list) = field(RedirectionFlags::LB_TARGET_NET_ADDRESSES)? {
        let mut list = Reader::new(list);
        let count = usize::try_from(list.u32_le()?).ok()?;
        packet.addresses = core::iter::from_fn(|| {
            let length = usize::try_from(list.u32_le()?).ok()?;
            list.take(length).map(utf16)
        })
        .take(count)
        .collect();
    }
    Some(())
}
