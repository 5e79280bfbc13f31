//! Save Session Info (MS-RDPBCGR 2.2.10.1): who is logged on, and what winlogon says about a logon that failed.

use crate::protocol::bytes::{Reader, utf16};
use crate::protocol::open::open_number;

/// One Save Session Info PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionInfo {
    /// INFOTYPE_LOGON or INFOTYPE_LOGON_LONG: somebody is logged on.
    Logon {
        /// The domain.
        domain: String,
        /// The user.
        user: String,
        /// The session.
        session_id: u32,
    },
    /// INFOTYPE_LOGON_PLAINNOTIFY: somebody is logged on.
    PlainNotify,
    /// INFOTYPE_LOGON_EXTENDED_INFO.
    Extended {
        /// An auto-reconnect cookie came with it; it is a secret and not kept.
        auto_reconnect: bool,
        /// A notification about the logon.
        notification: Option<LogonNotification>,
    },
    /// Another `infoType`.
    Other {
        /// `infoType`.
        kind: u32,
    },
}

/// TS_LOGON_ERRORS_INFO (MS-RDPBCGR 2.2.10.1.1.4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogonNotification {
    /// `ErrorNotificationType`: one of the names, or an NTSTATUS.
    pub kind: NotificationKind,
    /// `ErrorNotificationData`: 0 bad password, 1 password to be changed, 2 other, 3 warning, or a session.
    pub data: u32,
}

open_number! {
    /// `ErrorNotificationType`.
    NotificationKind: u32 {
        /// The session is in use.
        LOGON_MSG_SESSION_BUSY_OPTIONS = 0xFFFF_FFF8;
        /// The other user said no.
        LOGON_MSG_DISCONNECT_REFUSED = 0xFFFF_FFF9;
        /// No right to log on.
        LOGON_MSG_NO_PERMISSION = 0xFFFF_FFFA;
        /// Somebody must be put out first.
        LOGON_MSG_BUMP_OPTIONS = 0xFFFF_FFFB;
        /// Sessions to choose from.
        LOGON_MSG_RECONNECT_OPTIONS = 0xFFFF_FFFC;
        /// The session ends.
        LOGON_MSG_SESSION_TERMINATE = 0xFFFF_FFFD;
        /// The logon goes on.
        LOGON_MSG_SESSION_CONTINUE = 0xFFFF_FFFE;
        /// Access denied.
        ERROR_CODE_ACCESS_DENIED = 0xFFFF_FFFF;
    }
}

/// Reads the body of the data PDU. `None`: cut short.
pub(super) fn parse(body: &[u8]) -> Option<SessionInfo> {
    let mut reader = Reader::new(body);
    Some(match reader.u32_le()? {
        0 => logon(&mut reader)?,
        1 => logon_long(&mut reader)?,
        2 => SessionInfo::PlainNotify,
        3 => extended(&mut reader)?,
        kind => SessionInfo::Other { kind },
    })
}

/// TS_LOGON_INFO: fields of fixed width.
fn logon(reader: &mut Reader<'_>) -> Option<SessionInfo> {
    let _length = reader.u32_le()?;
    let domain = utf16(reader.take(52)?);
    let _length = reader.u32_le()?;
    let user = utf16(reader.take(512)?);
    Some(SessionInfo::Logon {
        domain,
        user,
        session_id: reader.u32_le()?,
    })
}

/// TS_LOGON_INFO_VERSION_2: texts behind 558 bytes of padding.
fn logon_long(reader: &mut Reader<'_>) -> Option<SessionInfo> {
    let (_version, _size) = (reader.u16_le()?, reader.u32_le()?);
    let session_id = reader.u32_le()?;
    let domain = usize::try_from(reader.u32_le()?).ok()?;
    let user = usize::try_from(reader.u32_le()?).ok()?;
    reader.take(558)?;
    Some(SessionInfo::Logon {
        domain: utf16(reader.take(domain)?),
        user: utf16(reader.take(user)?),
        session_id,
    })
}

/// TS_LOGON_INFO_EXTENDED: each field announced by a flag and preceded by its length.
fn extended(reader: &mut Reader<'_>) -> Option<SessionInfo> {
    let _length = reader.u16_le()?;
    let present = reader.u32_le()?;
    let auto_reconnect = present & 1 != 0;
    if auto_reconnect {
        let length = usize::try_from(reader.u32_le()?).ok()?;
        reader.take(length)?;
    }
    let notification = if present & 2 != 0 {
        let _length = reader.u32_le()?;
        Some(LogonNotification {
            kind: NotificationKind(reader.u32_le()?),
            data: reader.u32_le()?,
        })
    } else {
        None
    };
    Some(SessionInfo::Extended {
        auto_reconnect,
        notification,
    })
}
