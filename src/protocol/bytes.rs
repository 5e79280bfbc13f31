//! A cursor over bytes that answers `None` where they end, and the text encodings of the RDP family.

/// Reads numbers and slices from the front of a byte slice; every read that does not fit is `None` and moves nothing.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// The bytes that were not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether every byte was read.
    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.rest().get(..count)?;
        self.at += count;
        Some(taken)
    }

    /// The next `N` bytes, by value.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, _) = self.rest().split_first_chunk::<N>()?;
        self.at += N;
        Some(*head)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, least significant first.
    pub(crate) fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Two bytes, most significant first.
    pub(crate) fn u16_be(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, most significant first.
    pub(crate) fn u24_be(&mut self) -> Option<u32> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, most significant first.
    pub(crate) fn u32_be(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Four bytes, least significant first.
    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A vector with a one-byte length in front.
    pub(crate) fn vec8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let count = usize::from(ahead.u8()?);
        self.take_after(ahead, count)
    }

    /// A vector with a two-byte length in front, most significant first.
    pub(crate) fn vec16_be(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let count = usize::from(ahead.u16_be()?);
        self.take_after(ahead, count)
    }

    /// A vector with a three-byte length in front, most significant first.
    pub(crate) fn vec24_be(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let count = ahead.u24_be()? as usize;
        self.take_after(ahead, count)
    }

    fn take_after(&mut self, mut ahead: Self, count: usize) -> Option<&'a [u8]> {
        let taken = ahead.take(count)?;
        *self = ahead;
        Some(taken)
    }
}

/// The 16-bit numbers in `bytes`, most significant byte first; an odd byte at the end is left out.
pub(crate) fn u16_list_be(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

/// UTF-16LE text up to the first NUL; a lone surrogate or an odd last byte becomes U+FFFD.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let pairs = bytes.chunks(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0xFFFD,
    });
    char::decode_utf16(pairs.take_while(|unit| *unit != 0))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Text of an unstated 8-bit encoding: UTF-8 where it is valid, else byte for byte as Latin-1, so that nothing is lost.
pub(crate) fn narrow(bytes: &[u8]) -> String {
    core::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

/// The bytes that a test writes in hexadecimal; blanks do not count.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte");
    digits
        .chunks(2)
        .map(|pair| {
            let pair = core::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_does_not_fit_moves_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32_le(), None);
        assert_eq!(reader.u16_be(), Some(0x0102));
        assert_eq!(reader.u16_le(), None);
        assert_eq!(reader.position(), 2);
        assert_eq!(reader.take(2), None);
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.vec8(), None);
        assert_eq!((reader.position(), reader.is_empty()), (2, false));
    }

    #[test]
    fn counted_vectors_are_read() {
        let mut reader = Reader::new(&[1, 7, 0, 1, 8, 0, 0, 1, 9, 0, 2, 5]);
        assert_eq!(reader.vec8(), Some(&[7][..]));
        assert_eq!(reader.vec16_be(), Some(&[8][..]));
        assert_eq!(reader.vec24_be(), Some(&[9][..]));
        assert_eq!(reader.vec16_be(), None);
        assert_eq!(reader.u24_be(), Some(0x00_0205));
        assert_eq!(u16_list_be(&[1, 2, 3]), [0x0102]);
    }

    #[test]
    fn text_ends_at_nul_and_survives_damage() {
        assert_eq!(utf16(b"A\0\xE9\0\0\0B\0"), "A\u{e9}");
        assert_eq!(utf16(&[0x00, 0xD8, 0x41, 0x00, 0x42]), "\u{fffd}A\u{fffd}");
        assert_eq!(narrow(b"J\xF6rg"), "J\u{f6}rg");
        assert_eq!(narrow("J\u{f6}rg".as_bytes()), "J\u{f6}rg");
    }
}
