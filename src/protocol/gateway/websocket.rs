//! WebSocket frames (RFC 6455 section 5) between a client and an RD Gateway.

use super::super::bytes::Reader;
use super::super::open::open_number;
use super::super::{Flaw, Parsed};

/// The longest payload that is waited for; a gateway's frames hold one tunnel packet, of at most 64 KiB and its headers.
pub const LONGEST: u64 = 1 << 20;

open_number! {
    /// What a frame is for.
    Opcode: u8 {
        /// Another part of the message before.
        CONTINUATION = 0;
        /// Text.
        TEXT = 1;
        /// Bytes: all that a gateway uses.
        BINARY = 2;
        /// The end.
        CLOSE = 8;
        /// Are you there?
        PING = 9;
        /// I am.
        PONG = 10;
    }
}

/// One frame, its mask taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether the message ends with it.
    pub fin: bool,
    /// What it is for.
    pub opcode: Opcode,
    /// Whether it was masked, as a client must.
    pub masked: bool,
    /// Its contents.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether its payload continues the stream of tunnel packets: parts of a message follow one another, control frames stand between.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(self.opcode, Opcode::CONTINUATION | Opcode::TEXT | Opcode::BINARY)
    }

    /// The status of a close frame (RFC 6455 section 7.4); `None` where it gives none.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        if self.opcode == Opcode::CLOSE {
            Reader::new(&self.payload).u16_be()
        } else {
            None
        }
    }
}

/// Reads one frame.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Frame> {
    let mut reader = Reader::new(bytes);
    let Some(first) = reader.u8() else {
        return Parsed::More;
    };
    let (fin, opcode) = (first & 0x80 != 0, Opcode(first & 0x0F));
    if first & 0x70 != 0 || opcode.name().is_none() {
        return Parsed::NotMine;
    }
    let Some(second) = reader.u8() else {
        return Parsed::More;
    };
    let masked = second & 0x80 != 0;
    let length = match second & 0x7F {
        126 => reader.u16_be().map(u64::from),
        127 => reader.array().map(u64::from_be_bytes),
        short => Some(u64::from(short)),
    };
    let Some(length) = length else {
        return Parsed::More;
    };
    if first & 0x08 != 0 && (length > 125 || !fin) {
        return Parsed::Malformed(Flaw {
            at: 1,
            why: "WebSocket control frame too long or in parts",
        });
    }
    if length > LONGEST {
        return Parsed::Malformed(Flaw {
            at: 2,
            why: "WebSocket frame longer than any gateway writes",
        });
    }
    let mask = if masked { reader.array::<4>() } else { Some([0; 4]) };
    let (Some(mask), Some(payload)) = (
        mask,
        usize::try_from(length)
            .ok()
            .filter(|_| mask.is_some())
            .and_then(|it| reader.take(it)),
    ) else {
        return Parsed::More;
    };
    let payload = payload
        .iter()
        .zip(mask.iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    Parsed::Done(
        Frame {
            fin,
            opcode,
            masked,
            payload,
        },
        reader.position(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    #[test]
    fn a_masked_frame_of_a_windows_client() {
        let bytes = hex("828e 343cb699 353cb6993a3cb699353cb699343c");
        let Parsed::Done(frame, used) = parse(&bytes) else {
            panic!("not read")
        };
        assert_eq!(
            (used, frame.fin, frame.opcode, frame.masked),
            (bytes.len(), true, Opcode::BINARY, true)
        );
        assert_eq!(frame.payload, hex("01000000 0e000000 01000000 0000"));
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::More, "{end}");
        }
    }

    #[test]
    fn each_form_of_length() {
        let mut medium = hex("827e 0100");
        medium.resize(4 + 256, 7);
        assert!(matches!(parse(&medium), Parsed::Done(frame, 260) if frame.payload.len() == 256));
        let mut long = hex("827f 0000000000010000");
        long.resize(10 + 0x1_0000, 7);
        assert!(matches!(parse(&long), Parsed::Done(_, 0x1_000A)));
        assert!(matches!(parse(&hex("827f ffffffffffffffff")), Parsed::Malformed(_)));
    }

    #[test]
    fn closes_say_why() {
        assert!(
            matches!(parse(&hex("8802 03e8")), Parsed::Done(frame, 4) if frame.close_code() == Some(1000) && !frame.is_data())
        );
        assert!(matches!(parse(&hex("8800")), Parsed::Done(frame, 2) if frame.close_code().is_none()));
        assert!(matches!(parse(&hex("0200")), Parsed::Done(frame, 2) if !frame.fin && frame.is_data()));
        assert!(matches!(parse(&hex("0802 03e8")), Parsed::Malformed(_)));
        assert_eq!(parse(&hex("c200")), Parsed::NotMine);
        assert_eq!(parse(&hex("1603")), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), plain: bool) {
            let mut bytes = bytes;
            if let (true, Some(first)) = (plain, bytes.first_mut()) {
                *first &= 0x8F;
            }
            if let Parsed::Done(frame, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len() && frame.payload.len() < used);
            }
        }
    }
}
