//! Strings from the wire in, strings that are safe to show out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

/// `text` with everything escaped that would move a cursor, change colours, ring a bell, hide text or turn its direction.
///
/// Names, cookies, certificates and error texts come from the network: printed raw, they could rewrite the report.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(unsafe_to_print) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => safe.push_str("\\t"),
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            c if unsafe_to_print(c) && u32::from(c) < 0x100 => {
                let _ = write!(safe, "\\x{:02x}", u32::from(c));
            }
            c if unsafe_to_print(c) => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Writes `value` as JSON on one line that is safe to show: what a terminal must not see is written as `\u202e`.
///
/// JSON has such characters within strings only, where an escape stands for the character itself.
///
/// # Errors
/// Those of `out`.
pub(super) fn json<T: Serialize>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    let mut safe = SafeJson::new(out);
    serde_json::to_writer(&mut safe, value)?;
    safe.pass_on()
}

/// The same, indented.
///
/// # Errors
/// Those of `out`.
pub(super) fn json_indented<T: Serialize>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    let mut safe = SafeJson::new(out);
    serde_json::to_writer_pretty(&mut safe, value)?;
    safe.pass_on()
}

/// JSON in, the same JSON out, safe to show, a block at a time: the serializer writes two bytes here and three there, and a
/// report of thousands of connections has millions of them.
struct SafeJson<'a> {
    out: &'a mut dyn Write,
    block: Vec<u8>,
}

impl SafeJson<'_> {
    /// When a block is passed on, in bytes.
    const BLOCK: usize = 16 * 1024;

    fn new(out: &mut dyn Write) -> SafeJson<'_> {
        SafeJson { out, block: Vec::new() }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        // The serializer writes whole strings and whole escapes, never a part of a character; line ends are its own.
        let text = std::str::from_utf8(&self.block).map_err(io::Error::other)?;
        let mut passed = 0;
        let mut at = 0;
        while let Some(odd) = position_of_odd(&text.as_bytes()[at..]) {
            let from = at + odd;
            let character = text[from..].chars().next().unwrap_or_default();
            at = from + character.len_utf8();
            if unsafe_to_print(character) {
                self.out.write_all(&text.as_bytes()[passed..from])?;
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(self.out, "\\u{unit:04x}")?;
                }
                passed = at;
            }
        }
        self.out.write_all(&text.as_bytes()[passed..])?;
        self.block.clear();
        Ok(())
    }
}

impl io::Write for SafeJson<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.block.extend_from_slice(bytes);
        if self.block.len() >= Self::BLOCK {
            self.pass_on()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()?;
        self.out.flush()
    }
}

/// The first byte that is neither printable ASCII nor a line end.
fn position_of_odd(bytes: &[u8]) -> Option<usize> {
    let odd = |&byte: &u8| !matches!(byte, b' '..=b'~' | b'\n');
    // Piece by piece, without a way out within a piece, which lets the compiler look at many bytes at a time.
    let pieces = bytes.chunks(64);
    let whole = pieces
        .take_while(|piece| !piece.iter().fold(false, |found, byte| found | odd(byte)))
        .count()
        * 64;
    bytes.get(whole..)?.iter().position(odd).map(|at| whole + at)
}

/// Control characters, and the invisible ones by which a name can look like another: marks of direction, joiners, zero widths,
/// separators of lines and paragraphs, the byte order mark and tags.
fn unsafe_to_print(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["CONTOSO\\anna", "Zoë Müller", "リモート", "C:\\logs 100%"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_stays_the_same_and_becomes_safe() {
        let value = serde_json::json!({ "na\u{202e}me": "a\u{1b}\u{7f}\u{9b}b \u{e0041} Zoë\n" });
        let mut bytes = Vec::new();
        json_indented(&value, &mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && unsafe_to_print(c)), "{text:?}");
        assert!(
            text.contains("Zoë") && text.contains("\\u202e") && text.contains("\\udb40\\udc41"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    /// Whatever the texts are, and wherever a block ends between them.
    #[test]
    fn long_json_stays_the_same_and_becomes_safe() {
        let texts = prop::collection::vec("[ -~\u{1b}\u{80}-\u{9f}é\u{200b}-\u{202f}リ\u{e0041}]{0,40}", 300..900);
        proptest!(|(texts in texts)| {
            let mut bytes = Vec::new();
            json(&texts, &mut bytes).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(!text.chars().any(unsafe_to_print), "{:?}", text);
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), texts);
        });
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\\x1b[2Jb");
        assert_eq!(
            printable("bell\u{7} del\u{7f} csi\u{9b}31m"),
            "bell\\x07 del\\x7f csi\\x9b31m"
        );
        assert_eq!(printable("one\r\ntwo\tthree"), "one\\r\\ntwo\\tthree");
        assert_eq!(printable("gpj.\u{202e}exe\u{200b}"), "gpj.\\u{202e}exe\\u{200b}");
    }
}
