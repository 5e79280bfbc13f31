//! STUN and TURN (RFC 8489, RFC 8656), by which RDP Shortpath finds its way: recognised, with what a verdict needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::Reader;
use super::open::open_number;
use super::{Flaw, Parsed};

/// Bytes of the header.
pub const HEADER_LEN: usize = 20;

const MAGIC_COOKIE: u32 = 0x2112_A442;
const MAPPED_ADDRESS: u16 = 0x0001;
const ERROR_CODE: u16 = 0x0009;
const XOR_RELAYED_ADDRESS: u16 = 0x0016;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

open_number! {
    /// What a message is about.
    Method: u16 {
        /// Which address does the world see?
        BINDING = 0x001;
        /// TURN: lend me an address.
        ALLOCATE = 0x003;
        /// TURN: I still need it.
        REFRESH = 0x004;
        /// TURN: pass this on.
        SEND = 0x006;
        /// TURN: this has come.
        DATA = 0x007;
        /// TURN: let this peer send.
        CREATE_PERMISSION = 0x008;
        /// TURN: a short name for a peer.
        CHANNEL_BIND = 0x009;
    }
}

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Asks.
    Request,
    /// Tells and wants no answer.
    Indication,
    /// Answers.
    Success,
    /// Refuses.
    Error,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stun {
    /// What it does.
    pub class: Class,
    /// What it is about.
    pub method: Method,
    /// The same in a request, its repetitions and its answer.
    pub transaction: [u8; 12],
    /// The sender's address as the server sees it.
    pub mapped: Option<SocketAddr>,
    /// TURN: the address that was lent.
    pub relayed: Option<SocketAddr>,
    /// ERROR-CODE, such as 401 or 486.
    pub error: Option<u16>,
}

/// Whether a datagram has STUN's two zero bits and its magic cookie.
pub fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0..0x40, _, _, _, 0x21, 0x12, 0xA4, 0x42, ..])
}

/// The content of a ChannelData message (RFC 8656 12.4), by which a TURN server and its client pass on what a peer sends or is sent: a
/// channel number, a length that fills the datagram up to three bytes of padding, and the data.
pub fn channel_data(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let (channel, length) = (reader.u16_be()?, usize::from(reader.u16_be()?));
    let content = reader.take(length)?;
    ((0x4000..0x5000).contains(&channel) && length > 0 && reader.rest().len() <= 3).then_some(content)
}

/// Reads a datagram. Two zero bits, a length that is a multiple of four and fills the datagram, and the magic cookie make it STUN.
pub fn parse(bytes: &[u8]) -> Parsed<Stun> {
    let mut reader = Reader::new(bytes);
    let mut fields = || Some((reader.u16_be()?, reader.u16_be()?, reader.u32_be()?, reader.array()?));
    let Some((kind, length, cookie, transaction)) = fields() else {
        return Parsed::NotMine;
    };
    let length = usize::from(length);
    if kind >= 0x4000 || cookie != MAGIC_COOKIE || !length.is_multiple_of(4) || bytes.len() != HEADER_LEN + length {
        return Parsed::NotMine;
    }
    let class = match (kind >> 8 & 1, kind >> 4 & 1) {
        (0, 0) => Class::Request,
        (0, _) => Class::Indication,
        (_, 0) => Class::Success,
        _ => Class::Error,
    };
    // The class's two bits stand between the method's.
    let method = Method((kind >> 2 & 0x0F80) | (kind >> 1 & 0x0070) | (kind & 0x000F));
    let mut stun = Stun {
        class,
        method,
        transaction,
        mapped: None,
        relayed: None,
        error: None,
    };
    while !reader.is_empty() {
        let at = reader.position();
        let Some((kind, value)) = attribute(&mut reader) else {
            return Parsed::Malformed(Flaw {
                at,
                why: "a STUN attribute breaks off",
            });
        };
        match kind {
            XOR_MAPPED_ADDRESS => stun.mapped = address(value, Some(&transaction)),
            MAPPED_ADDRESS if stun.mapped.is_none() => stun.mapped = address(value, None),
            XOR_RELAYED_ADDRESS => stun.relayed = address(value, Some(&transaction)),
            ERROR_CODE => stun.error = value.get(2..4).map(|code| u16::from(code[0] & 7) * 100 + u16::from(code[1])),
            _ => {}
        }
    }
    Parsed::Done(stun, bytes.len())
}

fn attribute<'a>(reader: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    let kind = reader.u16_be()?;
    let value = reader.vec16_be()?;
    reader.take(value.len().next_multiple_of(4) - value.len())?;
    Some((kind, value))
}

/// An address, hidden from meddling routers by exclusive or with the cookie and the transaction where that is given.
fn address(value: &[u8], transaction: Option<&[u8; 12]>) -> Option<SocketAddr> {
    let mut mask = [0; 16];
    if let Some(transaction) = transaction {
        mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        mask[4..].copy_from_slice(transaction);
    }
    let mut reader = Reader::new(value);
    let family = reader.u16_be()? & 0xFF;
    let port = reader.u16_be()? ^ u16::from_be_bytes([mask[0], mask[1]]);
    let address = match family {
        1 => {
            let bytes = reader.array::<4>()?;
            IpAddr::V4(Ipv4Addr::from(std::array::from_fn(|at| bytes[at] ^ mask[at])))
        }
        2 => {
            let bytes = reader.array::<16>()?;
            IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|at| bytes[at] ^ mask[at])))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;

    /// RFC 5769 2.2, the sample IPv4 response.
    const RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

    #[test]
    fn a_binding_response_is_read() {
        let Parsed::Done(stun, used) = parse(&hex(RESPONSE)) else {
            panic!("STUN")
        };
        assert_eq!(used, 80);
        assert_eq!((stun.class, stun.method), (Class::Success, Method::BINDING));
        assert_eq!(stun.mapped, Some("192.0.2.1:32853".parse().unwrap()));
    }

    /// RFC 5769 2.3, the sample IPv6 response.
    #[test]
    fn an_address_of_version_6_is_read() {
        let bytes = hex(
            "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
        );
        let Parsed::Done(stun, _) = parse(&bytes) else {
            panic!("STUN")
        };
        assert_eq!(
            stun.mapped,
            Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap())
        );
    }

    #[test]
    fn a_refused_allocation_is_read() {
        let bytes = hex("0113 000c 2112a442 000102030405060708090a0b 0009 0006 0000 0401 4e6f 0000");
        let Parsed::Done(stun, _) = parse(&bytes) else {
            panic!("STUN")
        };
        assert_eq!(
            (stun.class, stun.method, stun.error),
            (Class::Error, Method::ALLOCATE, Some(401))
        );
        assert_eq!(stun.method.to_string(), "ALLOCATE");
    }

    #[test]
    fn what_a_relay_passes_on_is_taken_out() {
        assert_eq!(channel_data(&hex("4001 0003 aabbcc 00")), Some(&[0xAA, 0xBB, 0xCC][..]));
        for other in [
            "4001 0004 aabbcc",
            "4001 0003 aabbcc 00000000",
            "3fff 0001 aa",
            "4001 0000",
            "40",
        ] {
            assert_eq!(channel_data(&hex(other)), None, "{other}");
        }
    }

    #[test]
    fn other_datagrams_are_not_stun() {
        let good = hex(RESPONSE);
        for (at, value) in [(0, 0x40), (3, 0x3D), (3, 0x38), (4, 0x20)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(parse(&bytes), Parsed::NotMine, "{at}");
        }
        assert_eq!(parse(&good[..19]), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(flips in proptest::collection::vec((20_usize..80, any::<u8>()), 0..10)) {
            let mut bytes = hex(RESPONSE);
            for (at, value) in flips {
                bytes[at] = value;
            }
            parse(&bytes);
        }
    }
}
