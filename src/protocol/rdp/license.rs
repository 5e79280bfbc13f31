//! Licensing PDUs (MS-RDPBCGR 2.2.1.12, MS-RDPELE 2.2.2): which one, and what an error message says.

use crate::protocol::bytes::Reader;
use crate::protocol::open::open_number;

/// One licensing PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct License {
    /// `bMsgType`.
    pub kind: LicenseKind,
    /// `flags`: the version (2 or 3) in the low four bits, 0x80 for EXTENDED_ERROR_MSG_SUPPORTED.
    pub flags: u8,
    /// `wMsgSize`: the whole PDU from its own header on.
    pub size: u16,
    /// The contents of an error message.
    pub error: Option<LicenseError>,
}

/// LICENSE_ERROR_MESSAGE (MS-RDPBCGR 2.2.1.12.1.3). Success is one of these: STATUS_VALID_CLIENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LicenseError {
    /// `dwErrorCode`.
    pub code: LicenseErrorCode,
    /// `dwStateTransition`.
    pub transition: StateTransition,
    /// `wBlobType` and `wBlobLen` of `bbErrorInfo`, where they are there.
    pub blob: Option<(u16, u16)>,
}

open_number! {
    /// `bMsgType`.
    LicenseKind: u8 {
        /// From the server.
        LICENSE_REQUEST = 0x01;
        /// From the server.
        PLATFORM_CHALLENGE = 0x02;
        /// From the server: done.
        NEW_LICENSE = 0x03;
        /// From the server: done.
        UPGRADE_LICENSE = 0x04;
        /// From a client that has a license.
        LICENSE_INFO = 0x12;
        /// From a client that has none.
        NEW_LICENSE_REQUEST = 0x13;
        /// From the client.
        PLATFORM_CHALLENGE_RESPONSE = 0x15;
        /// From either.
        ERROR_ALERT = 0xFF;
    }
}

open_number! {
    /// `dwErrorCode`.
    LicenseErrorCode: u32 {
        /// The client dislikes the license server's certificate.
        ERR_INVALID_SERVER_CERTIFICATE = 1;
        /// No license.
        ERR_NO_LICENSE = 2;
        /// A checksum does not fit.
        ERR_INVALID_MAC = 3;
        /// The scope does not fit.
        ERR_INVALID_SCOPE = 4;
        /// No license server.
        ERR_NO_LICENSE_SERVER = 6;
        /// Success.
        STATUS_VALID_CLIENT = 7;
        /// The client is refused.
        ERR_INVALID_CLIENT = 8;
        /// The product does not fit.
        ERR_INVALID_PRODUCTID = 0xB;
        /// A length does not fit.
        ERR_INVALID_MESSAGE_LEN = 0xC;
    }
}

open_number! {
    /// `dwStateTransition`.
    StateTransition: u32 {
        /// Close the connection.
        ST_TOTAL_ABORT = 1;
        /// Go on.
        ST_NO_TRANSITION = 2;
        /// Begin the phase again.
        ST_RESET_PHASE_TO_START = 3;
        /// Send the last message again.
        ST_RESEND_LAST_MESSAGE = 4;
    }
}

/// Reads what follows the security header. `None`: cut short.
pub(super) fn parse(body: &[u8]) -> Option<License> {
    let mut reader = Reader::new(body);
    let kind = LicenseKind(reader.u8()?);
    let (flags, size) = (reader.u8()?, reader.u16_le()?);
    let error = if kind == LicenseKind::ERROR_ALERT {
        Some(LicenseError {
            code: LicenseErrorCode(reader.u32_le()?),
            transition: StateTransition(reader.u32_le()?),
            blob: reader.u16_le().zip(reader.u16_le()),
        })
    } else {
        None
    };
    Some(License {
        kind,
        flags,
        size,
        error,
    })
}
