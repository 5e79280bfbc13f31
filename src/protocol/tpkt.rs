//! Where one PDU of an RDP stream ends: TPKT (RFC 1006 section 6) and the fast-path header (MS-RDPBCGR 2.2.8.1.2, 2.2.9.1.2).

use super::{Flaw, Parsed};

/// Bytes of a TPKT header.
pub const HEADER: usize = 4;

/// The shortest TPKT: its header and the shortest TPDU (RFC 1006 section 6).
const SHORTEST: usize = HEADER + 3;

/// One unit of an RDP stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit<'a> {
    /// A TPKT; what stands after its header is a TPDU ([`super::x224`]).
    Tpkt(&'a [u8]),
    /// A fast-path input (from the client) or update (from the server).
    FastPath(FastPath<'a>),
}

/// A fast-path PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPath<'a> {
    /// `fpInputHeader` or `fpOutputHeader` as sent.
    pub header: u8,
    /// What follows the length: FIPS information, signature, event count and data, which depend on the direction and the encryption.
    pub body: &'a [u8],
}

impl FastPath<'_> {
    /// The events that the header counts; 0 means that the count stands in the body. Meaningful from the client only.
    #[must_use]
    pub const fn events(self) -> u8 {
        self.header >> 2 & 0xF
    }

    /// FASTPATH_INPUT_SECURE_CHECKSUM or FASTPATH_OUTPUT_SECURE_CHECKSUM.
    #[must_use]
    pub const fn salted_checksum(self) -> bool {
        self.header & 0x40 != 0
    }

    /// FASTPATH_INPUT_ENCRYPTED or FASTPATH_OUTPUT_ENCRYPTED.
    #[must_use]
    pub const fn encrypted(self) -> bool {
        self.header & 0x80 != 0
    }
}

/// Reads the TPKT at the start of `bytes` and gives what follows its header.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<&[u8]> {
    match *bytes {
        [] | [3] | [3, 0] | [3, 0, _] => Parsed::More,
        [3, 0, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length < SHORTEST {
                return Parsed::Malformed(Flaw {
                    at: 2,
                    why: "a TPKT is shorter than the shortest TPDU",
                });
            }
            match bytes.get(HEADER..length) {
                Some(body) => Parsed::Done(body, length),
                None => Parsed::More,
            }
        }
        _ => Parsed::NotMine,
    }
}

/// Reads the TPKT or fast-path PDU at the start of `bytes`.
///
/// A fast-path PDU is told by the low two bits of its first byte alone, so this is for streams that are known to be RDP.
#[must_use]
pub fn unit(bytes: &[u8]) -> Parsed<Unit<'_>> {
    let Some(&header) = bytes.first() else {
        return Parsed::More;
    };
    if header == 3 {
        return match parse(bytes) {
            Parsed::Done(body, used) => Parsed::Done(Unit::Tpkt(body), used),
            Parsed::More => Parsed::More,
            Parsed::NotMine => Parsed::NotMine,
            Parsed::Malformed(flaw) => Parsed::Malformed(flaw),
        };
    }
    if header & 3 != 0 {
        return Parsed::NotMine;
    }
    let (start, length) = match *bytes {
        [_, first, second, ..] if first & 0x80 != 0 => (3, usize::from(first & 0x7F) << 8 | usize::from(second)),
        [_, first, ..] if first & 0x80 == 0 => (2, usize::from(first)),
        _ => return Parsed::More,
    };
    if length <= start {
        return Parsed::Malformed(Flaw {
            at: 1,
            why: "a fast-path PDU is shorter than its own header",
        });
    }
    match bytes.get(start..length) {
        Some(body) => Parsed::Done(Unit::FastPath(FastPath { header, body }), length),
        None => Parsed::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ERECT_DOMAIN: [u8; 12] = [0x03, 0x00, 0x00, 0x0c, 0x02, 0xf0, 0x80, 0x04, 0x01, 0x00, 0x01, 0x00];

    #[test]
    fn every_cut_of_a_tpkt_asks_for_more() {
        for cut in 0..ERECT_DOMAIN.len() {
            assert_eq!(parse(&ERECT_DOMAIN[..cut]), Parsed::More, "cut at {cut}");
            assert_eq!(unit(&ERECT_DOMAIN[..cut]), Parsed::More, "cut at {cut}");
        }
        assert_eq!(parse(&ERECT_DOMAIN), Parsed::Done(&ERECT_DOMAIN[4..], ERECT_DOMAIN.len()));
    }

    #[test]
    fn other_protocols_are_turned_away_at_once() {
        for first in [&b"G"[..], b"SSH-2.0", &[0x16, 3, 1], &[3, 1], &[5, 1, 0]] {
            assert_eq!(parse(first), Parsed::NotMine);
        }
    }

    #[test]
    fn a_tpkt_without_room_for_a_tpdu_is_malformed() {
        assert!(matches!(parse(&[3, 0, 0, 6, 2, 0xF0]), Parsed::Malformed(Flaw { at: 2, .. })));
    }

    #[test]
    fn fast_path_lengths_have_one_or_two_bytes() {
        let short = [0xC4, 0x05, 1, 2, 3, 9];
        let Parsed::Done(Unit::FastPath(pdu), 5) = unit(&short) else {
            panic!("not a fast-path PDU");
        };
        assert_eq!((pdu.events(), pdu.body), (1, &[1, 2, 3][..]));
        assert!(pdu.encrypted() && pdu.salted_checksum());

        let long = [0x00, 0x80, 0x05, 1, 2];
        assert_eq!(
            unit(&long),
            Parsed::Done(
                Unit::FastPath(FastPath {
                    header: 0,
                    body: &[1, 2]
                }),
                5
            )
        );
        for cut in 0..5 {
            assert_eq!(unit(&long[..cut]), Parsed::More, "cut at {cut}");
        }
        assert!(matches!(unit(&[0, 1]), Parsed::Malformed(_)));
        assert_eq!(unit(&[0x16, 3, 1]), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn never_uses_more_than_there_is(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Parsed::Done(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
            if let Parsed::Done(_, used) = unit(&bytes) {
                prop_assert!(used <= bytes.len() && used > 0);
            }
        }
    }
}
