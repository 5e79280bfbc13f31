//! RDSTLS (MS-RDPBCGR 2.2.17): how a redirected client logs on.

use super::bytes::{Reader, utf16};
use super::open::open_number;
use super::{Flaw, Parsed};

/// One RDSTLS PDU. Passwords, cookies and tokens are kept by their length alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// Capabilities, from the server; the first record after TLS.
    Capabilities {
        /// `supportedVersions`: bit 0 version 1, bit 1 version 2.
        versions: u16,
    },
    /// Authentication Request with a password.
    Password {
        /// `UserName`.
        user: String,
        /// `Domain`.
        domain: String,
        /// Bytes of the sealed password.
        password_length: usize,
    },
    /// Authentication Request with an auto-reconnect cookie.
    AutoReconnect {
        /// `SessionID`.
        session_id: u32,
    },
    /// Authentication Request with other credentials, which take the rest of what is here.
    OtherCredentials {
        /// `DataType`.
        data_type: u16,
    },
    /// Authentication Response.
    Response {
        /// `ResultCode`.
        result: ResultCode,
    },
}

open_number! {
    /// `ResultCode`, a Win32 error.
    ResultCode: u32 {
        /// Done.
        RDSTLS_RESULT_SUCCESS = 0;
        /// Not for this user.
        RDSTLS_RESULT_ACCESS_DENIED = 0x5;
        /// Wrong user or password.
        RDSTLS_RESULT_LOGON_FAILURE = 0x52E;
        /// Outside the hours.
        RDSTLS_RESULT_INVALID_LOGON_HOURS = 0x530;
        /// The password is too old.
        RDSTLS_RESULT_PASSWORD_EXPIRED = 0x532;
        /// The account is disabled.
        RDSTLS_RESULT_ACCOUNT_DISABLED = 0x533;
        /// The password must be changed.
        RDSTLS_RESULT_PASSWORD_MUST_CHANGE = 0x773;
        /// The account is locked.
        RDSTLS_RESULT_ACCOUNT_LOCKED_OUT = 0x775;
    }
}

const CAPABILITIES: u8 = 1;
const AUTHENTICATION_REQUEST: u8 = 2;
const AUTHENTICATION_RESPONSE: u8 = 4;

/// Reads the PDU at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Pdu> {
    // Version 1 or 2, then the type: two numbers of two bytes that tell it from all else that may follow TLS.
    let head = |at: usize, valid: &[u8]| bytes.get(at).is_none_or(|byte| valid.contains(byte));
    if !(head(0, &[1, 2]) && head(1, &[0]) && head(2, &[1, 2, 4]) && head(3, &[0])) {
        return Parsed::NotMine;
    }
    let mut reader = Reader::new(bytes);
    let Some([_, _, kind, _]) = reader.array::<4>() else {
        return Parsed::More;
    };
    let Some(data_type) = reader.u16_le() else {
        return Parsed::More;
    };
    if kind != AUTHENTICATION_REQUEST && data_type != 1 {
        return Parsed::Malformed(Flaw {
            at: 4,
            why: "an RDSTLS PDU has a data type that its type does not allow",
        });
    }
    match body(kind, data_type, &mut reader) {
        Some(pdu) => Parsed::Done(pdu, reader.position()),
        None => Parsed::More,
    }
}

/// A length in two bytes and what it counts.
fn counted<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::from(reader.u16_le()?);
    reader.take(length)
}

fn body(kind: u8, data_type: u16, reader: &mut Reader<'_>) -> Option<Pdu> {
    Some(match (kind, data_type) {
        (CAPABILITIES, _) => Pdu::Capabilities {
            versions: reader.u16_le()?,
        },
        (AUTHENTICATION_RESPONSE, _) => Pdu::Response {
            result: ResultCode(reader.u32_le()?),
        },
        (_, 1) => {
            let _redirection_guid = counted(reader)?;
            Pdu::Password {
                user: utf16(counted(reader)?),
                domain: utf16(counted(reader)?),
                password_length: counted(reader)?.len(),
            }
        }
        (_, 2) => {
            let session_id = reader.u32_le()?;
            let _cookie = counted(reader)?;
            Pdu::AutoReconnect { session_id }
        }
        (_, data_type) => {
            reader.take(reader.rest().len())?;
            Pdu::OtherCredentials { data_type }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    const CAPABILITIES: &str = "0100 0100 0100 0300";
    const PASSWORD: &str = "0100 0200 0100 0200 aabb 0600 610062000000 0400 44000000 0300 112233";

    #[test]
    fn every_pdu_and_every_cut() {
        let pdus = [
            (CAPABILITIES, Pdu::Capabilities { versions: 3 }),
            (
                PASSWORD,
                Pdu::Password {
                    user: "ab".to_owned(),
                    domain: "D".to_owned(),
                    password_length: 3,
                },
            ),
            ("0100 0200 0200 07000000 0200 aabb", Pdu::AutoReconnect { session_id: 7 }),
            (
                "0100 0400 0100 2e050000",
                Pdu::Response {
                    result: ResultCode::RDSTLS_RESULT_LOGON_FAILURE,
                },
            ),
        ];
        for (text, pdu) in pdus {
            let whole = hex(text);
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), Parsed::More, "{text} cut at {cut}");
            }
            assert_eq!(parse(&whole), Parsed::Done(pdu, whole.len()));
        }
        assert_eq!(
            parse(&hex("0200 0200 0300 aabb")),
            Parsed::Done(Pdu::OtherCredentials { data_type: 3 }, 8)
        );
    }

    #[test]
    fn strangers_and_broken_ones() {
        for other in ["0300", "30", "7b22", "0101", "01000300", "00000000"] {
            assert_eq!(parse(&hex(other)), Parsed::NotMine, "{other}");
        }
        assert!(matches!(
            parse(&hex("010004000200 00000000")),
            Parsed::Malformed(Flaw { at: 4, .. })
        ));
    }

    proptest! {
        #[test]
        fn never_uses_more_than_there_is(kind in 0u8..6, tail in proptest::collection::vec(any::<u8>(), 0..60)) {
            let bytes = [&[1, 0, kind, 0], &tail[..]].concat();
            if let Parsed::Done(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len() && used > 0);
            }
        }
    }
}
