//! HTTP/2 frames (RFC 9113) as the KDC proxy beside an RD Gateway uses them, and the status in a header block (HPACK, RFC 7541).

use super::super::bytes::Reader;
use super::super::open::open_number;
use super::super::{Flaw, Parsed};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's header.
const HEADER: usize = 9;

/// The longest frame that is waited for; 16 KiB is the default limit, and the KDC proxy's messages are smaller than this.
const LONGEST: usize = 1 << 18;

open_number! {
    /// Frame type (RFC 9113 section 6).
    FrameType: u8 {
        /// A part of a body.
        DATA = 0;
        /// A header block.
        HEADERS = 1;
        /// A priority.
        PRIORITY = 2;
        /// Ends one stream.
        RST_STREAM = 3;
        /// Settings.
        SETTINGS = 4;
        /// A promise.
        PUSH_PROMISE = 5;
        /// Are you there?
        PING = 6;
        /// Ends the connection.
        GOAWAY = 7;
        /// Flow control.
        WINDOW_UPDATE = 8;
        /// More of a header block.
        CONTINUATION = 9;
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: FrameType,
    /// Flags, whose meaning depends on the type.
    pub flags: u8,
    /// Which stream; 0 is the connection.
    pub stream: u32,
    /// Its contents.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The body's bytes of a DATA frame, or the header block of a HEADERS frame: padding and priority taken off.
    #[must_use]
    pub fn contents(&self) -> Option<&'a [u8]> {
        const PADDED: u8 = 0x08;
        const PRIORITY: u8 = 0x20;
        if !matches!(self.kind, FrameType::DATA | FrameType::HEADERS) {
            return None;
        }
        let mut r = Reader::new(self.payload);
        let padding = if self.flags & PADDED == 0 { 0 } else { usize::from(r.u8()?) };
        if self.kind == FrameType::HEADERS && self.flags & PRIORITY != 0 {
            r.take(5)?;
        }
        let rest = r.rest();
        rest.get(..rest.len().checked_sub(padding)?)
    }

    /// Whether it is the last of its stream from this side (END_STREAM).
    #[must_use]
    pub const fn ends_stream(&self) -> bool {
        matches!(self.kind, FrameType::DATA | FrameType::HEADERS) && self.flags & 0x01 != 0
    }

    /// The error code of RST_STREAM and GOAWAY (RFC 9113 section 7).
    #[must_use]
    pub fn error_code(&self) -> Option<u32> {
        let mut r = Reader::new(self.payload);
        match self.kind {
            FrameType::RST_STREAM => r.u32_be(),
            FrameType::GOAWAY => r.take(4).and_then(|_| r.u32_be()),
            _ => None,
        }
    }
}

/// Reads one frame; the preface is to be taken off before.
#[must_use]
pub fn frame(bytes: &[u8]) -> Parsed<Frame<'_>> {
    let mut r = Reader::new(bytes);
    let (Some(length), Some(kind), Some(flags), Some(stream)) = (r.u24_be(), r.u8(), r.u8(), r.u32_be()) else {
        return Parsed::More;
    };
    let length = length as usize;
    let kind = FrameType(kind);
    // A type that is not known is allowed, and so rare that bytes which are no frame are likelier.
    if length > LONGEST || stream >> 31 != 0 || kind.0 > 0x20 {
        return Parsed::NotMine;
    }
    match r.take(length) {
        Some(payload) => Parsed::Done(
            Frame {
                kind,
                flags,
                stream,
                payload,
            },
            HEADER + length,
        ),
        None => Parsed::More,
    }
}

/// What the header block of a first HEADERS frame says, as far as it can be read without the dynamic table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pseudo {
    /// `:status` of a response.
    pub status: Option<u16>,
    /// Whether `:path` is `/KdcProxy`.
    pub kdc_proxy: bool,
}

/// Reads the pseudo-header fields at the start of a header block.
///
/// # Errors
/// Where the block breaks HPACK's encoding.
pub fn pseudo(block: &[u8]) -> Result<Pseudo, Flaw> {
    let mut r = Reader::new(block);
    let mut found = Pseudo::default();
    while !r.is_empty() {
        let at = r.position();
        field(&mut r, &mut found).ok_or(Flaw {
            at,
            why: "not an HPACK field",
        })?;
    }
    Ok(found)
}

/// Indices of the static table (RFC 7541 appendix A).
const PATH: [u32; 2] = [4, 5];
const STATUS: std::ops::RangeInclusive<u32> = 8..=14;
/// The statuses that have an index of their own, from 8 on.
const STATUSES: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

fn field(r: &mut Reader<'_>, found: &mut Pseudo) -> Option<()> {
    let first = *r.rest().first()?;
    if first & 0x80 != 0 {
        let index = integer(r, 7)?;
        if let Some(status) = index.checked_sub(*STATUS.start()).and_then(|it| STATUSES.get(it as usize)) {
            found.status = found.status.or(Some(*status));
        }
        return (index != 0).then_some(());
    }
    if first & 0xE0 == 0x20 {
        // A new size of the dynamic table.
        return integer(r, 5).map(|_| ());
    }
    let index = integer(r, if first & 0x40 != 0 { 6 } else { 4 })?;
    let is_status = if index == 0 {
        string(r)?.1 == b":status"
    } else {
        STATUS.contains(&index)
    };
    let (huffman, value) = string(r)?;
    if is_status {
        found.status = found.status.or_else(|| status(huffman, value));
    }
    found.kdc_proxy |= PATH.contains(&index) && is_kdc_proxy(huffman, value);
    Some(())
}

/// An integer with a prefix of so many bits (RFC 7541 section 5.1).
fn integer(r: &mut Reader<'_>, prefix: u32) -> Option<u32> {
    let mask = (1u32 << prefix) - 1;
    let mut value = u32::from(r.u8()?) & mask;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14, 21] {
        let byte = u32::from(r.u8()?);
        value = value.checked_add((byte & 0x7F) << shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A string, and whether it is written in the Huffman code.
fn string<'a>(r: &mut Reader<'a>) -> Option<(bool, &'a [u8])> {
    let huffman = r.rest().first()? & 0x80 != 0;
    let length = integer(r, 7)? as usize;
    Some((huffman, r.take(length)?))
}

fn is_kdc_proxy(huffman: bool, value: &[u8]) -> bool {
    /// `/KdcProxy` in the Huffman code.
    const CODED: &[u8] = &[0x63, 0x34, 0x84, 0xD7, 0x61, 0xFC, 0xFA];
    if huffman {
        value == CODED
    } else {
        value.eq_ignore_ascii_case(b"/KdcProxy")
    }
}

fn status(huffman: bool, value: &[u8]) -> Option<u16> {
    let digits: Vec<u8> = if huffman { huffman_digits(value)? } else { value.to_vec() };
    if digits.len() != 3 {
        return None;
    }
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Digits in the Huffman code (RFC 7541 appendix B): 0 to 2 in five bits, 3 to 9 in six. Other letters make it `None`.
fn huffman_digits(value: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::new();
    let bits: Vec<u8> = value
        .iter()
        .take(4)
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let mut rest = bits.as_slice();
    let number = |bits: &[u8]| bits.iter().fold(0u8, |all, bit| all << 1 | bit);
    while rest.len() >= 5 && rest.contains(&0) {
        let (short, after) = rest.split_at_checked(5)?;
        if number(short) < 3 {
            digits.push(b'0' + number(short));
            rest = after;
        } else {
            let (long, after) = rest.split_at_checked(6)?;
            digits.push(number(long).checked_sub(0x19).filter(|it| *it < 7).map(|it| b'3' + it)?);
            rest = after;
        }
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    /// POST /KdcProxy of a Windows client.
    const REQUEST: &str = "000047 01 04 00000001 83 44876 33484d761fcfa 41943256 9cb456b4de171c8b992b4e5a2b5ea355d07f87 \
        5886a8eb10649cbf 4085aec1cd48ff86a8eb10649cbf 7a89ea5b232d8743015c1f 5c03323735";
    /// HTTP.sys without a KDC proxy: 503 as letters.
    const REFUSED: &str = "00004a 01 04 00000001 48 03 353033 5f9349 7ca589d34d1f6a1271d882a60b50b0d043 1b769 0d06258741e54ad8f7efd70ebc8c0 97 \
        070f1296c361be940814d03f4a0802694102e001702053168dff 5c03333236";

    fn headers(text: &str) -> Pseudo {
        let bytes = hex(text);
        let Parsed::Done(frame, used) = frame(&bytes) else {
            panic!("not read")
        };
        assert_eq!((used, frame.kind), (bytes.len(), FrameType::HEADERS));
        pseudo(frame.contents().expect("block")).expect("fields")
    }

    #[test]
    fn a_kdc_proxy_that_is_not_published() {
        assert_eq!(
            headers(REQUEST),
            Pseudo {
                status: None,
                kdc_proxy: true
            }
        );
        assert_eq!(
            headers(REFUSED),
            Pseudo {
                status: Some(503),
                kdc_proxy: false
            }
        );
    }

    #[test]
    fn each_way_to_write_a_status() {
        let status = |text: &str| pseudo(&hex(text)).expect("fields").status;
        assert_eq!(status("88"), Some(200));
        assert_eq!(status("8d"), Some(404));
        assert_eq!(status("3f e11f 8e"), Some(500));
        // 502 in the Huffman code: 011011 00000 00010.
        assert_eq!(status("48 82 6c02"), Some(502));
        assert_eq!(status("00 07 3a737461747573 03 343031"), Some(401));
        assert_eq!(status("83"), None);
        assert!(pseudo(&hex("80")).is_err());
        assert!(pseudo(&hex("48 05 35")).is_err());
    }

    #[test]
    fn frames_and_their_padding() {
        let padded = hex("000009 01 28 00000001 02 00000000 10 88 0000");
        assert!(matches!(frame(&padded), Parsed::Done(frame, 18) if frame.contents() == Some(&[0x88][..])));
        let reset = hex("000004 03 00 00000001 00000008");
        assert!(matches!(frame(&reset), Parsed::Done(frame, 13) if frame.error_code() == Some(8) && frame.contents().is_none()));
        let data = hex("000002 00 01 00000001 abcd");
        assert!(
            matches!(frame(&data), Parsed::Done(frame, 11) if frame.ends_stream() && frame.contents() == Some(&[0xAB, 0xCD][..]))
        );
        assert_eq!(frame(&data[..10]), Parsed::More);
        assert_eq!(frame(b"HTTP/1.1 200 OK"), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = pseudo(&bytes);
            if let Parsed::Done(frame, used) = frame(&bytes) {
                prop_assert!(used <= bytes.len());
                let _ = (frame.contents(), frame.error_code());
            }
        }
    }
}
