//! Elements of BER and DER, read through `asn1-rs`: tag, contents, and how long the whole is.

use x509_parser::asn1_rs::{Class, FromBer, Header, Length, nom};

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Universal, application, context-specific or private.
    pub(crate) class: Class,
    /// The tag's number.
    pub(crate) tag: u32,
    /// The contents.
    pub(crate) body: &'a [u8],
}

impl Element<'_> {
    /// Whether this is the universal type with that number.
    pub(crate) fn is(&self, tag: u32) -> bool {
        self.class == Class::Universal && self.tag == tag
    }
}

/// Universal tag numbers.
pub(crate) const INTEGER: u32 = 2;
pub(crate) const OCTET_STRING: u32 = 4;
pub(crate) const OBJECT_IDENTIFIER: u32 = 6;
pub(crate) const ENUMERATED: u32 = 10;
pub(crate) const SEQUENCE: u32 = 16;

/// Why there is no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end inside its identifier or length.
    More,
    /// They are no identifier and definite length.
    Wrong,
}

/// The header's and the whole element's length. The whole may be longer than `bytes`.
pub(crate) fn extent(bytes: &[u8]) -> Result<(Class, u32, usize, usize), Stop> {
    match Header::from_ber(bytes) {
        Ok((after, header)) => {
            let start = bytes.len() - after.len();
            let Length::Definite(length) = header.length() else {
                return Err(Stop::Wrong);
            };
            let end = start.checked_add(length).ok_or(Stop::Wrong)?;
            Ok((header.class(), header.tag().0, start, end))
        }
        Err(nom::Err::Incomplete(_)) => Err(Stop::More),
        Err(_) => Err(Stop::Wrong),
    }
}

/// Takes the first element off `bytes`.
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<Element<'a>> {
    let (class, tag, start, end) = extent(bytes).ok()?;
    let body = bytes.get(start..end)?;
    *bytes = bytes.get(end..)?;
    Some(Element { class, tag, body })
}

/// The elements of a constructed element's contents, up to the first that is damaged.
pub(crate) fn children(mut body: &[u8]) -> impl Iterator<Item = Element<'_>> {
    core::iter::from_fn(move || take(&mut body))
}

/// The contents of the element at the start of `body`, if it is the universal type with that number.
pub(crate) fn inside(mut body: &[u8], tag: u32) -> Option<&[u8]> {
    take(&mut body).filter(|element| element.is(tag)).map(|element| element.body)
}

/// The contents of the context-specific element with that number among the children of a sequence.
pub(crate) fn field(sequence: &[u8], number: u32) -> Option<&[u8]> {
    children(sequence)
        .find(|element| element.class == Class::ContextSpecific && element.tag == number)
        .map(|element| element.body)
}

/// A two's complement INTEGER of at most five bytes as the 32 bits that stand in it, so that a code of 0xC0000022 is the same in its
/// four-byte (negative) and five-byte form.
pub(crate) fn low_32_bits(integer: &[u8]) -> Option<u32> {
    let (first, _) = integer.split_first()?;
    if integer.len() > 5 {
        return None;
    }
    let fill: u32 = if first & 0x80 == 0 { 0 } else { u32::MAX };
    Some(integer.iter().fold(fill, |value, byte| value << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_high_code_are_the_same_number() {
        assert_eq!(low_32_bits(&[0xC0, 0, 0, 0x22]), Some(0xC000_0022));
        assert_eq!(low_32_bits(&[0, 0xC0, 0, 0, 0x22]), Some(0xC000_0022));
        assert_eq!(low_32_bits(&[0x80, 9, 3, 2]), Some(0x8009_0302));
        assert_eq!(low_32_bits(&[5]), Some(5));
        assert_eq!(low_32_bits(&[0xFF]), Some(u32::MAX));
        assert_eq!(low_32_bits(&[]), None);
        assert_eq!(low_32_bits(&[1, 2, 3, 4, 5, 6]), None);
    }

    #[test]
    fn elements_with_short_long_and_padded_lengths() {
        let mut bytes: &[u8] = &[4, 1, 9, 4, 0x81, 1, 8, 4, 0x84, 0, 0, 0, 1, 7, 4, 2, 6];
        let bodies: Vec<u8> = children(bytes).map(|element| element.body[0]).collect();
        assert_eq!(bodies, [9, 8, 7]);
        assert_eq!(take(&mut bytes).map(|it| it.is(OCTET_STRING)), Some(true));
        assert_eq!(extent(&[0x30]), Err(Stop::More));
        assert_eq!(extent(&[0x30, 0x82, 1]), Err(Stop::More));
        assert_eq!(extent(&[0x30, 0x80]), Err(Stop::Wrong));
        assert_eq!(extent(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), Err(Stop::Wrong));
        assert!(matches!(
            extent(&[0x30, 0x88, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            Err(Stop::Wrong)
        ));
        let (class, tag, _, _) = extent(&[0x7F, 0x65, 0]).expect("header");
        assert_eq!((class, tag), (Class::Application, 0x65));
    }
}
