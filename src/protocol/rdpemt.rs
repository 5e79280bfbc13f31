//! The tunnel inside RDP-UDP's TLS or DTLS (MS-RDPEMT): its creation, and the frames that it carries.

use super::bytes::Reader;
use super::open::open_number;
use super::{Flaw, Parsed};

open_number! {
    /// Action of RDP_TUNNEL_HEADER (MS-RDPEMT 2.2.1.1).
    Action: u8 {
        /// RDP_TUNNEL_CREATEREQUEST.
        CREATEREQUEST = 0;
        /// RDP_TUNNEL_CREATERESPONSE.
        CREATERESPONSE = 1;
        /// RDP_TUNNEL_DATA.
        DATA = 2;
    }
}

/// One tunnel PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelPdu<'a> {
    /// The client proves that it is the one of the TCP connection.
    CreateRequest {
        /// requestId of the Initiate Multitransport Request.
        request_id: u32,
        /// The security cookie of the same request.
        cookie: &'a [u8; 16],
    },
    /// The server's answer.
    CreateResponse {
        /// An HRESULT; below 0x80000000 is success.
        hr_response: u32,
    },
    /// A frame of a dynamic virtual channel.
    Data(&'a [u8]),
    /// Any other action.
    Other(Action),
}

/// Reads one PDU from the decrypted stream.
pub fn parse(bytes: &[u8]) -> Parsed<TunnelPdu<'_>> {
    let mut reader = Reader::new(bytes);
    let (Some(first), Some(payload_len), Some(header_len)) = (reader.u8(), reader.u16_le(), reader.u8()) else {
        return Parsed::More;
    };
    let action = Action(first & 0x0F);
    // Flags, the high nibble, are unused and zero.
    if first & 0xF0 != 0 {
        return Parsed::NotMine;
    }
    let (header_len, payload_len) = (usize::from(header_len), usize::from(payload_len));
    if header_len < 4 {
        return Parsed::Malformed(Flaw {
            at: 3,
            why: "a tunnel header is shorter than its fixed part",
        });
    }
    let end = header_len + payload_len;
    let Some(payload) = bytes.get(header_len..end) else {
        return Parsed::More;
    };
    let mut reader = Reader::new(payload);
    let pdu = match action {
        Action::CREATEREQUEST => {
            let (Some(request_id), Some(_reserved), Some(cookie)) =
                (reader.u32_le(), reader.u32_le(), reader.rest().first_chunk())
            else {
                return Parsed::Malformed(Flaw {
                    at: 1,
                    why: "a tunnel create request is too short",
                });
            };
            TunnelPdu::CreateRequest { request_id, cookie }
        }
        Action::CREATERESPONSE => match reader.u32_le() {
            Some(hr_response) => TunnelPdu::CreateResponse { hr_response },
            None => {
                return Parsed::Malformed(Flaw {
                    at: 1,
                    why: "a tunnel create response is too short",
                });
            }
        },
        Action::DATA => TunnelPdu::Data(payload),
        other => TunnelPdu::Other(other),
    };
    Parsed::Done(pdu, end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;

    #[test]
    fn the_creation_of_a_tunnel_is_read() {
        let bytes = hex("00 1800 04 01000000 00000000 000102030405060708090a0b0c0d0e0f");
        let cookie: [u8; 16] = std::array::from_fn(|at| at as u8);
        assert_eq!(bytes.len(), 28, "the request that a sealed record of 52 bytes hides");
        assert_eq!(
            parse(&bytes),
            Parsed::Done(
                TunnelPdu::CreateRequest {
                    request_id: 1,
                    cookie: &cookie
                },
                28
            )
        );
        assert_eq!(parse(&bytes[..27]), Parsed::More);
        let bytes = hex("01 0400 04 00000000");
        assert_eq!(parse(&bytes), Parsed::Done(TunnelPdu::CreateResponse { hr_response: 0 }, 8));
    }

    #[test]
    fn data_and_subheaders_are_read() {
        // A subheader of three bytes behind the fixed header.
        let bytes = hex("02 0200 07 030000 aabb 02");
        assert_eq!(parse(&bytes), Parsed::Done(TunnelPdu::Data(&[0xAA, 0xBB]), 9));
    }

    #[test]
    fn other_bytes_are_not_a_tunnel() {
        assert_eq!(parse(&hex("30 1800 04")), Parsed::NotMine);
        assert_eq!(parse(&hex("05 0000 04")), Parsed::Done(TunnelPdu::Other(Action(5)), 4));
        assert!(matches!(parse(&hex("01 0000 04")), Parsed::Malformed(_)));
        assert!(matches!(parse(&hex("02 0000 03")), Parsed::Malformed(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse(&bytes);
        }
    }
}
