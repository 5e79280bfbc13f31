//! Options of pcapng blocks: a list of code, length and value, padded to 32 bits (draft-ietf-opsawg-pcapng section 3.5).

use super::Direction;

/// `opt_endofopt`.
pub(super) const END: u16 = 0;
/// `opt_comment`, allowed in every block.
pub(super) const COMMENT: u16 = 1;
/// `epb_flags` and `pack_flags`.
pub(super) const PACKET_FLAGS: u16 = 2;
/// `epb_dropcount`: packets lost between this packet and the one before on the same interface.
pub(super) const PACKET_DROPCOUNT: u16 = 4;
/// `epb_packetid`: what tells this packet from others.
pub(super) const PACKET_ID: u16 = 5;

/// The options of one block as they stand in the file. Iterating yields code and value, and ends at the first option
/// that does not fit into the block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionList<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl<'a> OptionList<'a> {
    /// The list in `bytes`, written in the given byte order.
    pub fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        OptionList { bytes, big_endian }
    }

    /// Whether the block carries no options.
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The options as they stand in the file.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether numbers in the values are big-endian.
    pub fn big_endian(self) -> bool {
        self.big_endian
    }

    /// The value of the first option with this code.
    pub fn value(self, code: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|option| option.0 == code).map(|option| option.1)
    }

    /// The first option with this code as a 16-bit number.
    pub fn u16(self, code: u16) -> Option<u16> {
        let bytes = self.value(code)?.first_chunk()?;
        Some(if self.big_endian {
            u16::from_be_bytes(*bytes)
        } else {
            u16::from_le_bytes(*bytes)
        })
    }

    /// The first option with this code as a 32-bit number.
    pub fn u32(self, code: u16) -> Option<u32> {
        let bytes = self.value(code)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(*bytes)
        } else {
            u32::from_le_bytes(*bytes)
        })
    }

    /// The first option with this code as a 64-bit number.
    pub fn u64(self, code: u16) -> Option<u64> {
        let bytes = self.value(code)?.first_chunk()?;
        Some(if self.big_endian {
            u64::from_be_bytes(*bytes)
        } else {
            u64::from_le_bytes(*bytes)
        })
    }

    /// The first option with this code as text; what is not UTF-8 is replaced, trailing NULs are dropped.
    pub fn text(self, code: u16) -> Option<String> {
        self.value(code).map(lossy)
    }

    /// Every comment (`opt_comment`), in order.
    pub fn comments(self) -> impl Iterator<Item = String> + 'a {
        self.into_iter()
            .filter(|option| option.0 == COMMENT)
            .map(|option| lossy(option.1))
    }
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

impl<'a> IntoIterator for OptionList<'a> {
    type Item = (u16, &'a [u8]);
    type IntoIter = OptionIter<'a>;

    fn into_iter(self) -> OptionIter<'a> {
        OptionIter {
            rest: self.bytes,
            big_endian: self.big_endian,
        }
    }
}

/// Iterates over an [`OptionList`].
#[derive(Clone, Debug)]
pub struct OptionIter<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl<'a> Iterator for OptionIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let [c0, c1, l0, l1, rest @ ..] = self.rest else {
            return None;
        };
        let read = if self.big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        let (code, len) = (read([*c0, *c1]), usize::from(read([*l0, *l1])));
        if code == END || len > rest.len() {
            self.rest = &[];
            return None;
        }
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((code, &rest[..len]))
    }
}

/// The options of one packet (Enhanced Packet Block or the obsolete Packet Block).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketOptions<'a>(pub OptionList<'a>);

impl<'a> PacketOptions<'a> {
    /// Every comment on the packet, in order.
    pub fn comments(self) -> impl Iterator<Item = String> + 'a {
        self.0.comments()
    }

    /// Whether the packet was received or sent, from the lowest bits of its flags word (section 4.3.1).
    pub fn direction(self) -> Option<Direction> {
        match self.0.u32(PACKET_FLAGS)? & 0b11 {
            0b01 => Some(Direction::Inbound),
            0b10 => Some(Direction::Outbound),
            _ => None,
        }
    }

    /// The identifier of the packet, where it has one.
    pub fn id(self) -> Option<u64> {
        self.0.u64(PACKET_ID)
    }

    /// Packets lost between this one and the one before on the same interface, where the capture counted them.
    pub fn dropped_before(self) -> Option<u64> {
        self.0.u64(PACKET_DROPCOUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_both_byte_orders() {
        let little = [1, 0, 3, 0, b'a', b'b', b'c', 0, 2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        let big = [0, 1, 0, 3, b'a', b'b', b'c', 0, 0, 2, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0];
        for options in [OptionList::new(&little, false), OptionList::new(&big, true)] {
            let packet = PacketOptions(options);
            assert_eq!(packet.comments().collect::<Vec<_>>(), ["abc"]);
            assert_eq!(packet.direction(), Some(Direction::Outbound));
            assert_eq!(packet.dropped_before(), None);
        }
    }

    #[test]
    fn several_comments_keep_their_order() {
        let bytes = [1, 0, 1, 0, b'x', 0, 0, 0, 1, 0, 1, 0, b'y', 0, 0, 0];
        assert_eq!(OptionList::new(&bytes, false).comments().collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn an_option_longer_than_its_block_ends_the_list() {
        let bytes = [1, 0, 1, 0, b'x', 0, 0, 0, 1, 0, 200, 0, b'y'];
        assert_eq!(OptionList::new(&bytes, false).into_iter().count(), 1);
        assert_eq!(OptionList::new(&bytes[..6], false).value(COMMENT), Some(&b"x"[..]));
        assert_eq!(OptionList::new(&bytes[..3], false).into_iter().count(), 0);
    }
}
