//! The gateway's UDP side channel (MS-TSGU 2.2.11): what DTLS carries, and the mark behind its ClientHello.

use super::super::bytes::Reader;
use super::super::open::open_number;

open_number! {
    /// UdpPktType (MS-TSGU 2.2.5.4.1).
    PacketType: u16 {
        /// Asks for the side channel.
        CONNECT_REQ = 1;
        /// The side channel, or why not.
        CONNECT_RESP = 2;
        /// RDP-UDP.
        PAYLOAD = 3;
        /// The end.
        DISCONNECT = 4;
        /// A part of a CONNECT_REQ: all that current clients send.
        CONNECT_REQ_FRAGMENT = 5;
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

/// The contents of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// CONNECT_PKT (2.2.11.3).
    Connect {
        /// The host's port.
        port: u16,
        /// Largest datagrams, up and down.
        mtu: (u16, u16),
        /// Whether the unreliable kind is asked for.
        lossy: bool,
        /// Bytes of the authentication cookie, which is a secret and is not kept.
        cookie: usize,
    },
    /// CONNECT_PKT_RESP (2.2.11.4).
    ConnectResponse {
        /// Largest datagrams, up and down.
        mtu: (u16, u16),
        /// Status; its low 32 bits are an HRESULT, 0 is success.
        result: i64,
    },
    /// DATA_PKT (2.2.11.5).
    Data(&'a [u8]),
    /// DISC_PKT (2.2.11.6).
    Disconnect {
        /// Why; its low 32 bits are an HRESULT.
        reason: i64,
    },
    /// CONNECT_PKT_FRAGMENT (2.2.11.10).
    Fragment {
        /// Which one.
        id: u16,
        /// Of how many.
        count: u16,
        /// Its part of the CONNECT_PKT.
        part: &'a [u8],
    },
    /// A type that is not known.
    Unknown(&'a [u8]),
}

/// Reads one packet, a DTLS record's plaintext; `None` where it is shorter than it says.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    let mut r = Reader::new(bytes);
    let (kind, length) = (PacketType(r.u16_le()?), usize::from(r.u16_le()?));
    let contents = r.take(length)?;
    let mut r = Reader::new(contents);
    let body = match kind {
        PacketType::CONNECT_REQ => {
            let (port, cookie) = (r.u16_le()?, usize::from(r.u16_le()?));
            let mtu = (r.u16_le()?, r.u16_le()?);
            let lossy = r.u32_le()? != 0;
            // snSendISN, then the cookie.
            r.u32_le()?;
            r.take(cookie)?;
            Body::Connect {
                port,
                mtu,
                lossy,
                cookie,
            }
        }
        PacketType::CONNECT_RESP => {
            let mtu = (r.u16_le()?, r.u16_le()?);
            r.u32_le()?;
            Body::ConnectResponse {
                mtu,
                result: r.array().map(i64::from_le_bytes)?,
            }
        }
        PacketType::PAYLOAD => Body::Data(contents),
        PacketType::DISCONNECT => Body::Disconnect {
            reason: r.array().map(i64::from_le_bytes)?,
        },
        PacketType::CONNECT_REQ_FRAGMENT => {
            let (id, count, length) = (r.u16_le()?, r.u16_le()?, usize::from(r.u16_le()?));
            Body::Fragment {
                id,
                count,
                part: r.take(length)?,
            }
        }
        _ => Body::Unknown(contents),
    };
    Some(Packet { kind, body })
}

/// UDP_CORRELATION_INFO (2.2.11.9) at the end of the datagram with the first ClientHello: the correlation identifier that the client
/// also sent over HTTP.
#[must_use]
pub fn correlation_id(datagram: &[u8]) -> Option<[u8; 16]> {
    const SIZE: usize = 26;
    const SIGNATURES: (u16, u16) = (0x1DAA, 0xAA1D);
    let mut r = Reader::new(datagram.get(datagram.len().checked_sub(SIZE)?..)?);
    r.u32_le()?;
    let first = r.u16_le()?;
    let id = r.array::<16>()?;
    let second = r.u16_le()?;
    ((first, second) == SIGNATURES && usize::from(r.u16_le()?) == SIZE).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    #[test]
    fn requests_answers_and_ends() {
        let connect = hex("0100 1300 3d0d 0300 d004 d004 01000000 11000000 aabbcc");
        assert_eq!(
            parse(&connect).map(|it| it.body),
            Some(Body::Connect {
                port: 3389,
                mtu: (1232, 1232),
                lossy: true,
                cookie: 3
            })
        );
        let refused = hex("0200 1000 d004 d004 00000000 da59078000000000");
        assert_eq!(
            parse(&refused).map(|it| it.body),
            Some(Body::ConnectResponse {
                mtu: (1232, 1232),
                result: 0x8007_59DA
            })
        );
        let end = hex("0400 0800 0000000000000000");
        assert_eq!(parse(&end).map(|it| it.body), Some(Body::Disconnect { reason: 0 }));
        let part = hex("0500 0800 0000 0200 0200 0102");
        assert_eq!(
            parse(&part).map(|it| it.body),
            Some(Body::Fragment {
                id: 0,
                count: 2,
                part: &[1, 2]
            })
        );
        assert_eq!(parse(&hex("0700 0100 ff")).map(|it| it.body), Some(Body::Unknown(&[0xFF])));
        assert_eq!(parse(&connect[..connect.len() - 1]), None);
    }

    #[test]
    fn the_mark_behind_the_client_hello() {
        let mut datagram = hex("16feff 0000 00000000");
        datagram.extend(hex("00000000 aa1d 000102030405060708090a0b0c0d0e0f 1daa 1a00"));
        assert_eq!(
            correlation_id(&datagram),
            Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        );
        datagram.push(0);
        assert_eq!(correlation_id(&datagram), None);
        assert_eq!(correlation_id(&[1, 2]), None);
    }

    proptest! {
        #[test]
        fn never_panics(kind in 0u8..7, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut packet = vec![kind, 0, bytes.len() as u8, 0];
            packet.extend(bytes);
            let _ = parse(&packet);
            let _ = correlation_id(&packet);
        }
    }
}
