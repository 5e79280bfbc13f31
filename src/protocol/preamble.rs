//! What may stand in front of the first TPKT: a PROXY protocol header, or the preconnection blob of MS-RDPEPS 2.2.1.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bytes::{Reader, utf16};
use super::{Flaw, Parsed};

/// One preamble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// A header of the PROXY protocol, written by a load balancer.
    Proxy {
        /// 1 or 2.
        version: u8,
        /// Who connected to the balancer, and to which of its addresses; `None` for its own health checks and for unknown families.
        endpoints: Option<Endpoints>,
    },
    /// A preconnection blob: the client names the virtual machine or session that it wants.
    Preconnection {
        /// 1, or 2 with a payload.
        version: u32,
        /// `Id`.
        id: u32,
        /// `wszPCB`.
        payload: Option<String>,
    },
}

/// The connection that a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The real client.
    pub source: SocketAddr,
    /// The address that it connected to.
    pub destination: SocketAddr,
}

const PROXY_1: &[u8] = b"PROXY ";
/// The longest header of version 1 with its CRLF.
const PROXY_1_LONGEST: usize = 107;
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BLOB_SHORTEST: usize = 16;
/// No limit stands in the specification; the blobs that Hyper-V reads hold a GUID and a word or two. The bound keeps text of other
/// protocols, whose second byte is greater, from being waited for.
const BLOB_LONGEST: usize = 512;

/// Reads the preamble at the start of `bytes`. A TPKT is [`Parsed::NotMine`] from its first byte on.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Preamble> {
    match bytes.first() {
        None => Parsed::More,
        Some(b'P') if agrees(bytes, PROXY_1) => proxy_1(bytes),
        Some(b'\r') if agrees(bytes, PROXY_2) => proxy_2(bytes),
        Some(_) => preconnection(bytes),
    }
}

/// Whether one of the two is the beginning of the other.
fn agrees(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.iter().zip(prefix).all(|(left, right)| left == right)
}

fn proxy_1(bytes: &[u8]) -> Parsed<Preamble> {
    let window = bytes.get(..PROXY_1_LONGEST).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < PROXY_1_LONGEST {
            Parsed::More
        } else {
            Parsed::Malformed(Flaw {
                at: 0,
                why: "a PROXY header of version 1 is longer than 107 bytes",
            })
        };
    };
    let line = bytes.get(PROXY_1.len()..end).and_then(|line| core::str::from_utf8(line).ok());
    let Some(line) = line else {
        return Parsed::Malformed(Flaw {
            at: PROXY_1.len(),
            why: "a PROXY header of version 1 is not ASCII",
        });
    };
    let endpoints = || {
        let mut words = line.split(' ').skip(1);
        let source = words.next()?.parse().ok()?;
        let destination = words.next()?.parse().ok()?;
        Some(Endpoints {
            source: SocketAddr::new(source, words.next()?.parse().ok()?),
            destination: SocketAddr::new(destination, words.next()?.parse().ok()?),
        })
    };
    Parsed::Done(
        Preamble::Proxy {
            version: 1,
            endpoints: endpoints(),
        },
        end + 2,
    )
}

fn proxy_2(bytes: &[u8]) -> Parsed<Preamble> {
    let mut reader = Reader::new(bytes);
    let Some([command, family, high, low]) = reader.take(PROXY_2.len()).and_then(|_| reader.array::<4>()) else {
        return Parsed::More;
    };
    if command >> 4 != 2 {
        return Parsed::Malformed(Flaw {
            at: PROXY_2.len(),
            why: "a PROXY header with the signature of version 2 has another version",
        });
    }
    let Some(body) = reader.take(usize::from(u16::from_be_bytes([high, low]))) else {
        return Parsed::More;
    };
    // Command 0 (LOCAL) is a health check of the balancer itself.
    let endpoints = (command & 0xF == 1).then(|| proxy_2_endpoints(family, body)).flatten();
    Parsed::Done(Preamble::Proxy { version: 2, endpoints }, reader.position())
}

fn proxy_2_endpoints(family: u8, body: &[u8]) -> Option<Endpoints> {
    let mut reader = Reader::new(body);
    let (source, destination) = match family {
        0x11 => (
            Ipv4Addr::from(reader.array::<4>()?).into(),
            Ipv4Addr::from(reader.array::<4>()?).into(),
        ),
        0x21 => (
            Ipv6Addr::from(reader.array::<16>()?).into(),
            Ipv6Addr::from(reader.array::<16>()?).into(),
        ),
        _ => return None,
    };
    Some(Endpoints {
        source: SocketAddr::new(source, reader.u16_be()?),
        destination: SocketAddr::new(destination, reader.u16_be()?),
    })
}

fn preconnection(bytes: &[u8]) -> Parsed<Preamble> {
    // Size, flags (always 0) and version decide byte by byte, so that no other protocol is waited for.
    let mut head = [0; 12];
    for (to, from) in head.iter_mut().zip(bytes) {
        *to = *from;
    }
    let [low, high, s2, s3, f0, f1, f2, f3, version, v1, v2, v3] = head;
    let size = usize::from(u16::from_le_bytes([low, high]));
    let possible = size.is_multiple_of(2)
        && size <= BLOB_LONGEST
        && (bytes.len() < 2 || size >= BLOB_SHORTEST)
        && [s2, s3, f0, f1, f2, f3, v1, v2, v3] == [0; 9]
        && (bytes.len() < 9 || matches!(version, 1 | 2));
    if !possible {
        return Parsed::NotMine;
    }
    let Some(blob) = bytes.get(..size).filter(|_| bytes.len() >= 2) else {
        return Parsed::More;
    };
    let mut reader = Reader::new(blob.get(12..).unwrap_or_default());
    let id = reader.u32_le().unwrap_or_default();
    let payload = if version == 2 {
        let count = reader.u16_le().map(|count| usize::from(count) * 2);
        match count.and_then(|count| reader.take(count)) {
            Some(text) => Some(utf16(text)),
            None => {
                return Parsed::Malformed(Flaw {
                    at: 16,
                    why: "the text of a preconnection blob does not fit its size",
                });
            }
        }
    } else {
        None
    };
    Parsed::Done(
        Preamble::Preconnection {
            version: u32::from(version),
            id,
            payload,
        },
        size,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    fn cuts(whole: &[u8]) {
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::More, "cut at {cut}");
        }
    }

    #[test]
    fn proxy_protocol_version_1() {
        let header = b"PROXY TCP4 203.0.113.7 192.0.2.10 51234 3389\r\n";
        cuts(header);
        let mut stream = header.to_vec();
        stream.extend([3, 0, 0, 0x13]);
        assert_eq!(
            parse(&stream),
            Parsed::Done(
                Preamble::Proxy {
                    version: 1,
                    endpoints: Some(Endpoints {
                        source: "203.0.113.7:51234".parse().expect("address"),
                        destination: "192.0.2.10:3389".parse().expect("address"),
                    })
                },
                header.len()
            )
        );
        assert_eq!(
            parse(b"PROXY UNKNOWN\r\n"),
            Parsed::Done(
                Preamble::Proxy {
                    version: 1,
                    endpoints: None
                },
                15
            )
        );
        assert!(matches!(
            parse(&[b"PROXY ".to_vec(), vec![b'x'; 120]].concat()),
            Parsed::Malformed(_)
        ));
    }

    #[test]
    fn proxy_protocol_version_2() {
        let header = hex("0d0a0d0a000d0a515549540a 21 11 000c cb007107 c000020a c822 0d3d");
        cuts(&header);
        let Parsed::Done(
            Preamble::Proxy {
                version: 2,
                endpoints: Some(endpoints),
            },
            28,
        ) = parse(&header)
        else {
            panic!("not a PROXY header");
        };
        assert_eq!(endpoints.source.to_string(), "203.0.113.7:51234");
        assert_eq!(endpoints.destination.to_string(), "192.0.2.10:3389");
        let local = hex("0d0a0d0a000d0a515549540a 20 00 0000");
        assert_eq!(
            parse(&local),
            Parsed::Done(
                Preamble::Proxy {
                    version: 2,
                    endpoints: None
                },
                16
            )
        );
    }

    #[test]
    fn preconnection_blobs_of_both_versions() {
        // MS-RDPEPS 4.1 and 4.2.
        let first = hex("10000000 00000000 01000000 15cd5b07");
        cuts(&first);
        assert_eq!(
            parse(&first),
            Parsed::Done(
                Preamble::Preconnection {
                    version: 1,
                    id: 123_456_789,
                    payload: None
                },
                16
            )
        );
        let second = hex("2200000000000000020000000000000008005400650073007400 56004d00 31000000");
        cuts(&second);
        assert_eq!(
            parse(&second),
            Parsed::Done(
                Preamble::Preconnection {
                    version: 2,
                    id: 0,
                    payload: Some("TestVM1".to_owned())
                },
                34
            )
        );
        let liar = hex("1200000000000000020000000000000009 00");
        assert!(matches!(parse(&liar), Parsed::Malformed(_)));
    }

    #[test]
    fn other_beginnings_are_turned_away() {
        for other in [
            &[3, 0][..],
            b"GE",
            b"POST / HTTP/1.1",
            b"SSH-",
            &[0x16, 3],
            &[0x0D, 0x0A, 0x47],
            &[0x30, 0x37],
            b"EHLO",
        ] {
            assert_eq!(parse(other), Parsed::NotMine, "{other:?}");
        }
    }

    #[test]
    fn ironrdp_reads_the_same_blob() {
        use ironrdp_pdu::pcb::{PcbVersion, PreconnectionBlob};
        let second = hex("2200000000000000020000000000000008005400650073007400 56004d00 31000000");
        let oracle: PreconnectionBlob = ironrdp_pdu::decode(&second).expect("decodes");
        assert_eq!(oracle.version, PcbVersion::V2);
        assert_eq!(oracle.v2_payload.as_deref(), Some("TestVM1"));
    }

    proptest! {
        #[test]
        fn never_uses_more_than_there_is(tail in proptest::collection::vec(any::<u8>(), 0..80), kind in 0usize..4) {
            let heads: [&[u8]; 4] = [b"", PROXY_1, PROXY_2, &[0x22, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]];
            let bytes = [heads[kind], &tail].concat();
            if let Parsed::Done(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len() && used > 0);
            }
        }
    }
}
