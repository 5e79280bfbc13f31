//! Share Control and Share Data PDUs (MS-RDPBCGR 2.2.8.1.1.1): activation, its end, and what the server says about errors.

use super::redirection::{self, Redirection};
use super::session_info::{self, SessionInfo};
use crate::protocol::Flaw;
use crate::protocol::bytes::{Reader, narrow};
use crate::protocol::open::open_number;

/// One Share Control PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// Demand Active, from the server.
    DemandActive(Capabilities),
    /// Confirm Active, from the client.
    ConfirmActive(Capabilities),
    /// Deactivate All: another activation follows, or the end.
    DeactivateAll,
    /// Server Redirection under TLS.
    Redirection(Redirection),
    /// A Share Data PDU.
    Data(Data),
    /// Flow control of the times before RDP 5.
    Flow,
    /// Another PDU type.
    Other {
        /// The low four bits of `pduType`.
        kind: u8,
    },
}

/// What Demand Active and Confirm Active have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `shareId`.
    pub share_id: u32,
    /// `sourceDescriptor`.
    pub source: String,
    /// `capabilitySetType` of each set, in order.
    pub sets: Vec<u16>,
}

/// A Share Data PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// `shareId`.
    pub share_id: u32,
    /// `pduType2`.
    pub kind: DataKind,
    /// What it says.
    pub content: Content,
}

/// What a Share Data PDU says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Control.
    Control {
        /// `action`.
        action: ControlAction,
    },
    /// Set Error Info: `errorInfo`.
    SetErrorInfo(u32),
    /// Server Status Info: `statusCode`.
    StatusInfo(u32),
    /// Save Session Info.
    SaveSessionInfo(SessionInfo),
    /// Compressed, and so unread.
    Compressed,
    /// Of a kind whose contents do not matter here, or too short for what its kind promises.
    Unread,
}

open_number! {
    /// `pduType2` (MS-RDPBCGR 2.2.8.1.1.1.2).
    DataKind: u8 {
        /// Graphics.
        PDUTYPE2_UPDATE = 0x02;
        /// Control.
        PDUTYPE2_CONTROL = 0x14;
        /// Pointer.
        PDUTYPE2_POINTER = 0x1B;
        /// Input.
        PDUTYPE2_INPUT = 0x1C;
        /// Synchronize.
        PDUTYPE2_SYNCHRONIZE = 0x1F;
        /// Refresh Rect.
        PDUTYPE2_REFRESH_RECT = 0x21;
        /// Play Sound.
        PDUTYPE2_PLAY_SOUND = 0x22;
        /// Suppress Output.
        PDUTYPE2_SUPPRESS_OUTPUT = 0x23;
        /// Shutdown Request: the user closes the client's window.
        PDUTYPE2_SHUTDOWN_REQUEST = 0x24;
        /// Shutdown Request Denied: the session is in use, ask the user.
        PDUTYPE2_SHUTDOWN_DENIED = 0x25;
        /// Save Session Info.
        PDUTYPE2_SAVE_SESSION_INFO = 0x26;
        /// Font List.
        PDUTYPE2_FONTLIST = 0x27;
        /// Font Map: the end of the activation.
        PDUTYPE2_FONTMAP = 0x28;
        /// Set Keyboard Indicators.
        PDUTYPE2_SET_KEYBOARD_INDICATORS = 0x29;
        /// Persistent Key List.
        PDUTYPE2_BITMAPCACHE_PERSISTENT_LIST = 0x2B;
        /// Bitmap Cache Error.
        PDUTYPE2_BITMAPCACHE_ERROR_PDU = 0x2C;
        /// Set Keyboard IME Status.
        PDUTYPE2_SET_KEYBOARD_IME_STATUS = 0x2D;
        /// Offscreen Bitmap Cache Error.
        PDUTYPE2_OFFSCRCACHE_ERROR_PDU = 0x2E;
        /// Set Error Info.
        PDUTYPE2_SET_ERROR_INFO_PDU = 0x2F;
        /// DrawNineGrid Cache Error.
        PDUTYPE2_DRAWNINEGRID_ERROR_PDU = 0x30;
        /// GDI+ Error.
        PDUTYPE2_DRAWGDIPLUS_ERROR_PDU = 0x31;
        /// Auto-Reconnect Status.
        PDUTYPE2_ARC_STATUS_PDU = 0x32;
        /// Server Status Info.
        PDUTYPE2_STATUS_INFO_PDU = 0x36;
        /// Monitor Layout.
        PDUTYPE2_MONITOR_LAYOUT_PDU = 0x37;
        /// Frame Acknowledge.
        PDUTYPE2_FRAME_ACKNOWLEDGE = 0x38;
    }
}

open_number! {
    /// `action` of a Control PDU.
    ControlAction: u16 {
        /// From the client.
        CTRLACTION_REQUEST_CONTROL = 1;
        /// From the server.
        CTRLACTION_GRANTED_CONTROL = 2;
        /// Not used.
        CTRLACTION_DETACH = 3;
        /// From both.
        CTRLACTION_COOPERATE = 4;
    }
}

const DEMAND_ACTIVE: u8 = 1;
const CONFIRM_ACTIVE: u8 = 3;
const DEACTIVATE_ALL: u8 = 6;
const DATA: u8 = 7;
const SERVER_REDIRECTION: u8 = 10;

/// PACKET_COMPRESSED of `compressedType`.
const COMPRESSED: u8 = 0x20;

/// `totalLength` of a flow PDU in place of a length, and the bytes that it takes.
const FLOW_MARK: u16 = 0x8000;
const FLOW_LENGTH: usize = 8;

/// Whether a Share Control header stands at the start. A basic security header in its place has flags in the second pair of bytes that
/// Windows does not clear (0xC700 and 0x0010 were seen), so the whole type with its version must fit.
pub(super) fn begins(payload: &[u8]) -> bool {
    match *payload {
        [0x00, 0x80, ..] => true,
        [_, _, kind, 0, ..] => matches!(kind, 0x11 | 0x13 | 0x16 | 0x17 | 0x1A),
        _ => false,
    }
}

/// The PDUs in one payload.
pub(super) const fn pdus(payload: &[u8]) -> Pdus<'_> {
    Pdus { payload, at: 0 }
}

/// The Share Control PDUs of one payload; a flaw ends them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdus<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Iterator for Pdus<'_> {
    type Item = Result<Pdu, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.payload.get(self.at..).filter(|it| !it.is_empty())?;
        match pdu(rest) {
            Some((pdu, used)) => {
                self.at += used;
                Some(Ok(pdu))
            }
            None => {
                let at = self.at;
                self.at = self.payload.len();
                Some(Err(Flaw {
                    at,
                    why: "a Share Control PDU is cut short",
                }))
            }
        }
    }
}

fn pdu(bytes: &[u8]) -> Option<(Pdu, usize)> {
    let mut reader = Reader::new(bytes);
    let length = reader.u16_le()?;
    if length == FLOW_MARK {
        return Some((Pdu::Flow, FLOW_LENGTH.min(bytes.len())));
    }
    let length = usize::from(length);
    let whole = bytes.get(..length)?;
    let mut reader = Reader::new(whole);
    let _length = reader.u16_le()?;
    let [kind, _version] = reader.array::<2>()?;
    let pdu = match kind & 0xF {
        DEMAND_ACTIVE => {
            let _source = reader.u16_le()?;
            Pdu::DemandActive(capabilities(&mut reader, false)?)
        }
        CONFIRM_ACTIVE => {
            let _source = reader.u16_le()?;
            Pdu::ConfirmActive(capabilities(&mut reader, true)?)
        }
        // Some servers send four bytes and no more.
        DEACTIVATE_ALL => Pdu::DeactivateAll,
        DATA => {
            let _source = reader.u16_le()?;
            Pdu::Data(data(&mut reader)?)
        }
        SERVER_REDIRECTION => {
            let (_source, _padding) = (reader.u16_le()?, reader.u16_le()?);
            Pdu::Redirection(redirection::parse(reader.rest())?)
        }
        kind => Pdu::Other { kind },
    };
    Some((pdu, length))
}

fn capabilities(reader: &mut Reader<'_>, confirm: bool) -> Option<Capabilities> {
    let share_id = reader.u32_le()?;
    if confirm {
        let _originator = reader.u16_le()?;
    }
    let source_length = usize::from(reader.u16_le()?);
    let _combined_length = reader.u16_le()?;
    let source = reader.take(source_length)?;
    let end = source.iter().position(|byte| *byte == 0);
    let source = narrow(end.and_then(|end| source.get(..end)).unwrap_or(source));
    let count = usize::from(reader.u16_le()?);
    let _padding = reader.u16_le()?;
    let sets = core::iter::from_fn(|| {
        let kind = reader.u16_le()?;
        let body = usize::from(reader.u16_le()?).checked_sub(4)?;
        reader.take(body)?;
        Some(kind)
    });
    Some(Capabilities {
        share_id,
        source,
        sets: sets.take(count).collect(),
    })
}

fn data(reader: &mut Reader<'_>) -> Option<Data> {
    let share_id = reader.u32_le()?;
    let [_padding, _stream] = reader.array::<2>()?;
    let _uncompressed_length = reader.u16_le()?;
    let kind = DataKind(reader.u8()?);
    let compression = reader.u8()?;
    let _compressed_length = reader.u16_le()?;
    let content = if compression & COMPRESSED != 0 {
        Content::Compressed
    } else {
        content(kind, reader.rest()).unwrap_or(Content::Unread)
    };
    Some(Data { share_id, kind, content })
}

fn content(kind: DataKind, body: &[u8]) -> Option<Content> {
    let mut reader = Reader::new(body);
    Some(match kind {
        DataKind::PDUTYPE2_CONTROL => Content::Control {
            action: ControlAction(reader.u16_le()?),
        },
        DataKind::PDUTYPE2_SET_ERROR_INFO_PDU => Content::SetErrorInfo(reader.u32_le()?),
        DataKind::PDUTYPE2_STATUS_INFO_PDU => Content::StatusInfo(reader.u32_le()?),
        DataKind::PDUTYPE2_SAVE_SESSION_INFO => Content::SaveSessionInfo(session_info::parse(body)?),
        _ => Content::Unread,
    })
}
