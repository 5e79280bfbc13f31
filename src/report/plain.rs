//! Strings from the wire in, strings that are safe to show out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

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

/// JSON that goes through it stays the same JSON and becomes safe to show: what a terminal must not see is written as `\u202e`.
///
/// JSON has such characters within strings only, where an escape stands for the character itself.
pub(super) struct SafeJson<'a>(pub(super) &'a mut dyn io::Write);

impl io::Write for SafeJson<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The serializer writes whole strings and whole escapes, never a part of a character; line ends are its own.
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.0.write_all(bytes);
        };
        let mut rest = text;
        while let Some(at) = rest.find(|c| c != '\n' && unsafe_to_print(c)) {
            let (before, from) = rest.split_at(at);
            self.0.write_all(before.as_bytes())?;
            let mut characters = from.chars();
            for unit in characters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        self.0.write_all(rest.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
        serde_json::to_writer_pretty(SafeJson(&mut bytes), &value).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.chars().any(|c| c != '\n' && unsafe_to_print(c)), "{text:?}");
        assert!(
            text.contains("Zoë") && text.contains("\\u202e") && text.contains("\\udb40\\udc41"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
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
