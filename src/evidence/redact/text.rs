//! Replacements in a run of bytes: texts in the encodings of the wire, filled and scrambled stretches.

use std::net::IpAddr;
use std::ops::Range;

use super::Pseudonyms;
use super::names::Of;

/// What is to be replaced in a run of bytes, and how far the run is understood.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Offsets and what stands there instead.
    edits: Vec<(usize, Vec<u8>)>,
    /// The stretches that are understood, rising.
    kept: Vec<Range<usize>>,
}

impl Plan {
    /// Everything up to here, from the end of what was understood before, is understood.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        match self.kept.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ if range.is_empty() => {}
            _ => self.kept.push(range),
        }
    }

    /// How far from `from` on everything is understood; `from` itself where nothing is.
    pub(super) fn kept_from(&self, from: usize) -> usize {
        let range = self.kept.iter().find(|range| range.contains(&from));
        range.map_or(from, |range| range.end)
    }

    /// Puts `bytes` at `at`.
    pub(super) fn put(&mut self, at: usize, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.edits.push((at, bytes));
        }
    }

    /// Puts `len` times the same byte at `at`.
    pub(super) fn fill(&mut self, at: usize, len: usize, byte: u8) {
        self.put(at, vec![byte; len]);
    }

    /// Replaces a text in ASCII or UTF-8.
    pub(super) fn text(&mut self, at: usize, bytes: &[u8], of: Of, by: &mut Pseudonyms) {
        let replaced = match std::str::from_utf8(bytes) {
            Ok(text) => match address(text, by) {
                Some(address) => address.into_bytes(),
                None => by.names.text(text, of).into_bytes(),
            },
            Err(_) => Vec::new(),
        };
        if replaced.len() == bytes.len() {
            self.put(at, replaced);
        } else {
            self.put(at, blanked(bytes));
        }
    }

    /// Replaces a text in UTF-16; in a field of fixed size it ends at the first NUL, and what is behind that is emptied.
    pub(super) fn wide(&mut self, at: usize, bytes: &[u8], big_endian: bool, of: Of, by: &mut Pseudonyms) {
        let unit = |pair: &[u8]| match pair {
            [a, b] if big_endian => u16::from_be_bytes([*a, *b]),
            [a, b] => u16::from_le_bytes([*a, *b]),
            _ => 0,
        };
        let units: Vec<u16> = bytes.chunks_exact(2).map(unit).take_while(|unit| *unit != 0).collect();
        let text = String::from_utf16_lossy(&units);
        let mut replaced: Vec<u16> = by.names.text(&text, of).encode_utf16().collect();
        if replaced.len() != units.len() {
            replaced = vec![u16::from(b'x'); units.len()];
        }
        let mut out: Vec<u8> = replaced
            .iter()
            .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect();
        out.resize(bytes.len(), 0);
        self.put(at, out);
    }

    /// Empties everything from `from` to the end of a run of `len` bytes that was to be walked and could not: also what was
    /// replaced there before.
    pub(super) fn give_up(&mut self, from: usize, len: usize) {
        self.fill(from, len.saturating_sub(from), 0);
    }

    /// Empties what stands from `from` to `end`.
    pub(super) fn give_up_between(&mut self, from: usize, end: usize) {
        self.fill(from, end.saturating_sub(from), 0);
    }

    /// Takes the replacements and stretches of a part that begins at `offset` of this one.
    pub(super) fn take(&mut self, part: Plan, offset: usize) {
        for (at, bytes) in part.edits {
            self.edits.push((at + offset, bytes));
        }
        for range in part.kept {
            self.keep(range.start + offset..range.end.saturating_add(offset));
        }
    }

    /// Takes only the replacements of a part whose bytes stand at `places` of this one.
    pub(super) fn take_scattered(&mut self, part: Plan, places: &[usize]) {
        for (at, bytes) in part.edits {
            for (offset, byte) in bytes.into_iter().enumerate() {
                if let Some(place) = places.get(at + offset) {
                    match self.edits.last_mut() {
                        Some((begin, run)) if *begin + run.len() == *place => run.push(byte),
                        _ => self.edits.push((*place, vec![byte])),
                    }
                }
            }
        }
    }

    /// Puts the replacements into the run.
    pub(super) fn apply(&self, bytes: &mut [u8]) {
        for (at, replacement) in &self.edits {
            let rest = bytes.get_mut(*at..).unwrap_or_default();
            rest.iter_mut().zip(replacement).for_each(|(to, from)| *to = *from);
        }
    }

    /// Leaves only what is understood.
    pub(super) fn forget_edits(&mut self) {
        self.edits = Vec::new();
    }
}

/// Addresses of 7 to 15 characters that no host has: of "this network" (RFC 1122 section 3.2.1.3), and of the reserved one.
const NOBODY: [&str; 9] = [
    "0.0.0.0",
    "0.0.0.10",
    "0.0.0.100",
    "0.0.10.100",
    "0.0.100.100",
    "0.10.100.100",
    "0.100.100.100",
    "255.255.255.10",
    "255.255.255.100",
];

/// The pseudonym of an address that stands where a name may stand. One that is longer or shorter has no room: then nobody's address
/// of the right length, by which it is still told that there was an address, and which is not taken for another host's.
fn address(text: &str, by: &Pseudonyms) -> Option<String> {
    let address: IpAddr = text.parse().ok()?;
    let own = by.addresses.of(address).to_string();
    let nobody = NOBODY.iter().find(|nobody| nobody.len() == text.len());
    Some(match nobody {
        Some(nobody) if address.is_ipv4() && own.len() != text.len() => (*nobody).to_owned(),
        _ => own,
    })
}

/// Letters and digits as `x`, the rest as it is.
fn blanked(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_punctuation() || byte.is_ascii_whitespace() {
                *byte
            } else {
                b'x'
            }
        })
        .collect()
}

/// Whether `bytes` is printable ASCII and not empty.
pub(super) fn is_printable(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// The 16-bit number at `at`, most significant byte first.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    let pair: &[u8; 2] = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_be_bytes(*pair)))
}

/// The 24-bit number at `at`, most significant byte first.
pub(super) fn be24(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c]: [u8; 3] = *bytes.get(at..)?.first_chunk()?;
    Some(usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
}

/// The 16-bit number at `at`, least significant byte first.
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<usize> {
    let pair: &[u8; 2] = bytes.get(at..)?.first_chunk()?;
    Some(usize::from(u16::from_le_bytes(*pair)))
}

/// The 32-bit number at `at`, least significant byte first.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
