//! A cursor over bytes that answers `None` where they end, and text of an unstated encoding.

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

    /// The bytes that were not read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
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

    /// Four bytes, least significant first.
    pub(crate) fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
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
        assert_eq!(reader.rest(), [3]);
    }

    #[test]
    fn text_that_is_not_utf8_loses_nothing() {
        assert_eq!(narrow(b"J\xF6rg"), "J\u{f6}rg");
        assert_eq!(narrow("J\u{f6}rg".as_bytes()), "J\u{f6}rg");
    }
}
