//! RDS AAD Auth (MS-RDPBCGR 5.4.5.4): three JSON objects, each closed by a NUL, log a user of Entra ID on.

use serde_json::Value;

use super::{Flaw, Parsed};

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// `ts_nonce`, from the server; the first record after TLS.
    Nonce,
    /// `rdp_assertion`, from the client: a signed token, of which only the length is kept.
    Assertion {
        /// Bytes of the token.
        length: usize,
    },
    /// `authentication_result`, from the server.
    Result {
        /// 0, or an HRESULT or NTSTATUS.
        code: u32,
    },
    /// An object with none of these.
    Other,
}

/// Assertions have 1.5 to 4 KiB; this is for the ones of big directories.
const LONGEST: usize = 1 << 16;

/// Reads the message at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Message> {
    match bytes {
        [] | [b'{'] => return Parsed::More,
        [b'{', b'"' | b' ' | b'\r' | b'\n' | b'\t' | b'}', ..] => {}
        _ => return Parsed::NotMine,
    }
    let window = bytes.get(..LONGEST).unwrap_or(bytes);
    let mut objects = serde_json::Deserializer::from_slice(window).into_iter::<Value>();
    match objects.next() {
        Some(Ok(object)) => {
            let end = objects.byte_offset();
            let terminator = usize::from(bytes.get(end) == Some(&0));
            Parsed::Done(message(&object), end + terminator)
        }
        Some(Err(error)) if error.is_eof() && bytes.len() < LONGEST => Parsed::More,
        Some(Err(_)) | None => Parsed::Malformed(Flaw {
            at: objects.byte_offset(),
            why: "a message of RDS AAD Auth is not one JSON object",
        }),
    }
}

fn message(object: &Value) -> Message {
    if let Some(assertion) = object.get("rdp_assertion").and_then(Value::as_str) {
        return Message::Assertion { length: assertion.len() };
    }
    if object.get("ts_nonce").is_some() {
        return Message::Nonce;
    }
    // The number is written with a sign by some and without by others; both have the same 32 bits.
    let result = object.get("authentication_result");
    let code = result
        .and_then(Value::as_i64)
        .and_then(|code| u32::try_from(code & 0xFFFF_FFFF).ok());
    code.map_or(Message::Other, |code| Message::Result { code })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_messages() {
        assert_eq!(parse(b"{\"ts_nonce\":\"abc\"}\0"), Parsed::Done(Message::Nonce, 19));
        assert_eq!(
            parse(b"{\"rdp_assertion\":\"a.b.c\"}\0{"),
            Parsed::Done(Message::Assertion { length: 5 }, 26)
        );
        for text in [
            &b"{\"authentication_result\":3221225581}"[..],
            b"{\"authentication_result\":-1073741715}",
        ] {
            assert_eq!(parse(text), Parsed::Done(Message::Result { code: 0xC000_006D }, text.len()));
        }
        assert_eq!(parse(b"{}"), Parsed::Done(Message::Other, 2));
    }

    #[test]
    fn cuts_strangers_and_broken_ones() {
        let whole = b"{\"ts_nonce\":\"abc\"}";
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::More, "cut at {cut}");
        }
        assert_eq!(parse(&[0x30, 0x37]), Parsed::NotMine);
        assert_eq!(parse(b"{x"), Parsed::NotMine);
        assert!(matches!(parse(b"{\"a\":}"), Parsed::Malformed(_)));
        let endless = [b"{\"a\":\"".to_vec(), vec![b'x'; LONGEST]].concat();
        assert!(matches!(parse(&endless), Parsed::Malformed(_)));
    }

    proptest! {
        #[test]
        fn never_uses_more_than_there_is(tail in "[\\[\\]{}\",:a0 -]{0,40}") {
            let text = format!("{{\"{tail}");
            if let Parsed::Done(_, used) = parse(text.as_bytes()) {
                prop_assert!(used <= text.len());
            }
        }
    }
}
