//! Auto-detection, heartbeats and the invitation to UDP (MS-RDPBCGR 2.2.14 to 2.2.16).

use sha2::{Digest, Sha256};

use crate::protocol::bytes::Reader;

/// An Auto-Detect Request or Response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoDetect {
    /// `headerTypeId`: a response (1) and not a request (0).
    pub response: bool,
    /// `sequenceNumber`, which pairs the two.
    pub sequence: u16,
    /// `requestType` or `responseType`.
    pub kind: u16,
    /// What it reports.
    pub result: Option<AutoDetectResult>,
}

/// What an Auto-Detect PDU reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoDetectResult {
    /// Network Characteristics Result, from the server.
    Network {
        /// Lowest round trip, milliseconds.
        base_rtt: Option<u32>,
        /// Kilobits a second.
        bandwidth: Option<u32>,
        /// Average round trip, milliseconds.
        average_rtt: u32,
    },
    /// Bandwidth Measure Results, from the client.
    Bandwidth {
        /// Milliseconds between the first and the last byte.
        time: u32,
        /// How many bytes came.
        bytes: u32,
    },
}

/// Server Heartbeat (MS-RDPBCGR 2.2.16.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Seconds between two.
    pub period: u8,
    /// How many may be missed before a warning.
    pub warning: u8,
    /// How many more before a reconnection.
    pub reconnect: u8,
}

/// Initiate Multitransport Request (MS-RDPBCGR 2.2.15.1). The cookie is a secret of the connection; only its hash is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultitransportRequest {
    /// `requestId`, which the tunnel over UDP repeats.
    pub request_id: u32,
    /// `requestedProtocol`: 1 reliable, 2 lossy.
    pub protocol: u16,
    /// SHA-256 of `securityCookie`, which the SYN of RDP-UDP version 3 carries.
    pub cookie_hash: [u8; 32],
}

/// Initiate Multitransport Response (MS-RDPBCGR 2.2.15.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultitransportResponse {
    /// `requestId`.
    pub request_id: u32,
    /// `hrResponse`: 0, or 0x80004004 (E_ABORT) where UDP could not be set up.
    pub result: u32,
}

/// Reads what follows the security header. `None`: cut short.
pub(super) fn auto_detect(body: &[u8]) -> Option<AutoDetect> {
    let mut reader = Reader::new(body);
    let _length = reader.u8()?;
    let response = reader.u8()? & 1 == 1;
    let (sequence, kind) = (reader.u16_le()?, reader.u16_le()?);
    let mut next = || reader.u32_le();
    let network = |base_rtt, bandwidth, average_rtt| AutoDetectResult::Network {
        base_rtt,
        bandwidth,
        average_rtt,
    };
    let result = match (response, kind) {
        (false, 0x0840) => Some(network(Some(next()?), None, next()?)),
        (false, 0x0880) => Some(network(None, Some(next()?), next()?)),
        (false, 0x08C0) => Some(network(Some(next()?), Some(next()?), next()?)),
        (true, 0x0003 | 0x000B) => Some(AutoDetectResult::Bandwidth {
            time: next()?,
            bytes: next()?,
        }),
        _ => None,
    };
    Some(AutoDetect {
        response,
        sequence,
        kind,
        result,
    })
}

/// Reads what follows the security header. `None`: cut short.
pub(super) fn heartbeat(body: &[u8]) -> Option<Heartbeat> {
    let [_reserved, period, warning, reconnect] = Reader::new(body).array::<4>()?;
    Some(Heartbeat {
        period,
        warning,
        reconnect,
    })
}

/// Reads what follows the security header. `None`: cut short.
pub(super) fn multitransport_request(body: &[u8]) -> Option<MultitransportRequest> {
    let mut reader = Reader::new(body);
    let request_id = reader.u32_le()?;
    let protocol = reader.u16_le()?;
    let _reserved = reader.u16_le()?;
    let cookie = reader.array::<16>()?;
    Some(MultitransportRequest {
        request_id,
        protocol,
        cookie_hash: Sha256::digest(cookie).into(),
    })
}

/// Reads what follows the security header. `None`: cut short.
pub(super) fn multitransport_response(body: &[u8]) -> Option<MultitransportResponse> {
    let mut reader = Reader::new(body);
    Some(MultitransportResponse {
        request_id: reader.u32_le()?,
        result: reader.u32_le()?,
    })
}
