//! CredSSP (MS-CSSP 2.2.1): TSRequest, and the Early User Authorization Result of MS-RDPBCGR 2.2.10.2 that may follow.

use x509_parser::asn1_rs::Class;

use super::ber::{self, Stop};
use super::open::open_number;
use super::{Flaw, Parsed};

/// A TSRequest. What is encrypted is kept by its length alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TsRequest<'a> {
    /// `version`: 2 to 4 without, 5 and 6 with the fix for CVE-2018-0886.
    pub version: u32,
    /// `negoTokens`: SPNEGO ([`super::spnego`]) or bare NTLM ([`super::ntlm`]).
    pub tokens: Vec<&'a [u8]>,
    /// Bytes of `authInfo`, the sealed credentials.
    pub auth_info: Option<usize>,
    /// Bytes of `pubKeyAuth`.
    pub pub_key_auth: Option<usize>,
    /// `errorCode`: an NTSTATUS or a SECURITY_STATUS, from the server only, as 32 bits whatever its INTEGER's length.
    pub error_code: Option<u32>,
    /// `clientNonce` is there.
    pub client_nonce: bool,
}

open_number! {
    /// The Early User Authorization Result, which a server sends after CredSSP where PROTOCOL_HYBRID_EX was selected.
    EarlyUserAuthorization: u32 {
        /// The user may log on.
        AUTHZ_SUCCESS = 0;
        /// The user may not.
        AUTHZ_ACCESS_DENIED = 5;
    }
}

/// Kerberos tickets with large authorisation data stay far below this.
const LONGEST: usize = 1 << 20;

/// Reads the TSRequest at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<TsRequest<'_>> {
    if !matches!(bytes.first(), None | Some(0x30)) {
        return Parsed::NotMine;
    }
    let (start, end) = match ber::extent(bytes) {
        Ok((_, _, start, end)) => (start, end),
        Err(Stop::More) => return Parsed::More,
        Err(Stop::Wrong) => return Parsed::NotMine,
    };
    // LDAP and others are sequences as well; this one begins with [0] INTEGER of one byte.
    let head: &[u8] = &[0xA0, 3, 2, 1];
    let body = bytes.get(start..).unwrap_or_default();
    if body.iter().zip(head).any(|(left, right)| left != right) || end < start + head.len() + 1 {
        return Parsed::NotMine;
    }
    if end > LONGEST {
        return Parsed::Malformed(Flaw {
            at: 1,
            why: "a TSRequest is longer than a mebibyte",
        });
    }
    let Some(body) = bytes.get(start..end) else {
        return Parsed::More;
    };
    match fields(body) {
        Ok(request) => Parsed::Done(request, end),
        Err(at) => Parsed::Malformed(Flaw {
            at: start + at,
            why: "an element of a TSRequest does not fit",
        }),
    }
}

/// Reads the fields; an error is the offset of the one that does not fit.
fn fields(body: &[u8]) -> Result<TsRequest<'_>, usize> {
    let mut request = TsRequest::default();
    let mut rest = body;
    while !rest.is_empty() {
        let at = body.len() - rest.len();
        let element = ber::take(&mut rest).ok_or(at)?;
        if element.class != Class::ContextSpecific {
            continue;
        }
        let integer = || ber::inside(element.body, ber::INTEGER).and_then(ber::low_32_bits);
        let octets = || ber::inside(element.body, ber::OCTET_STRING);
        match element.tag {
            0 => request.version = integer().ok_or(at)?,
            1 => request.tokens = tokens(element.body).ok_or(at)?,
            2 => request.auth_info = Some(octets().ok_or(at)?.len()),
            3 => request.pub_key_auth = Some(octets().ok_or(at)?.len()),
            4 => request.error_code = Some(integer().ok_or(at)?),
            5 => request.client_nonce = true,
            _ => {}
        }
    }
    Ok(request)
}

/// NegoData: a sequence of sequences with one token each.
fn tokens(body: &[u8]) -> Option<Vec<&[u8]>> {
    ber::children(ber::inside(body, ber::SEQUENCE)?)
        .map(|item| ber::field(item.body, 0).and_then(|token| ber::inside(token, ber::OCTET_STRING)))
        .collect()
}

/// Reads the four bytes that may follow CredSSP. Another TSRequest and MCS are [`Parsed::NotMine`].
#[must_use]
pub fn early_user_authorization(bytes: &[u8]) -> Parsed<EarlyUserAuthorization> {
    match *bytes {
        [0x30 | 0x03, ..] => Parsed::NotMine,
        [a, b, c, d, ..] => Parsed::Done(EarlyUserAuthorization(u32::from_le_bytes([a, b, c, d])), 4),
        _ => Parsed::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    const NEGOTIATE: &str =
        "3037a003020106a130302e302ca02a04284e544c4d5353500001000000b78208e2000000000000000000000000000000000a005d580000000f";
    const REFUSAL: &str = "300da003020106a406020480090302";

    fn read(text: &str) -> TsRequest<'static> {
        let bytes: &'static [u8] = hex(text).leak();
        match parse(bytes) {
            Parsed::Done(request, used) => {
                assert_eq!(used, bytes.len());
                request
            }
            other => panic!("not a TSRequest: {other:?}"),
        }
    }

    #[test]
    fn the_first_leg() {
        let request = read(NEGOTIATE);
        assert_eq!(request.version, 6);
        assert_eq!(request.tokens.len(), 1);
        assert!(request.tokens[0].starts_with(b"NTLMSSP\0"));
        assert_eq!(request.error_code, None);
        assert!(!request.client_nonce);
    }

    #[test]
    fn an_error_code_in_every_form() {
        assert_eq!(read(REFUSAL).error_code, Some(0x8009_0302));
        for (text, code) in [
            ("300da003020106a4060204c000006d", 0xC000_006D),
            ("300ea003020106a407020500c000006d", 0xC000_006D),
            ("300aa003020103a403020105", 5),
            // Lengths that are longer than DER allows.
            ("3081 0fa003020106a4810702810 4c000006d", 0xC000_006D),
        ] {
            assert_eq!(read(text).error_code, Some(code), "{text}");
        }
    }

    #[test]
    fn sealed_fields_are_counted() {
        let request = read(
            "3065a003020106a35e045c050407ff0000001c0000000026d2d67f7f1cba449f9852ec487ab90c92b122509dba69c31121988c6e7d1fb21115ae62ab638ad02e5cbc206ce817da24db673cf95c3f0e47a82a7440d7baabd99fffac96cd26f4403ffd71811f6527",
        );
        assert_eq!(request.pub_key_auth, Some(0x5C));
        assert_eq!((request.auth_info, request.tokens.len()), (None, 0));
        let nonce = read("300fa003020106a2040402aabba5020400");
        assert_eq!(nonce.auth_info, Some(2));
        assert!(nonce.client_nonce);
    }

    #[test]
    fn two_in_one_record_are_split() {
        let stream = hex(&[NEGOTIATE, REFUSAL].concat());
        let Parsed::Done(_, used) = parse(&stream) else {
            panic!("not a TSRequest");
        };
        assert_eq!(used, 57);
        assert!(matches!(parse(&stream[used..]), Parsed::Done(_, 15)));
    }

    #[test]
    fn cuts_ask_for_more_and_strangers_are_turned_away() {
        for text in [NEGOTIATE, REFUSAL] {
            let whole = hex(text);
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), Parsed::More, "{text} cut at {cut}");
            }
        }
        assert_eq!(parse(&hex("300c020101600702010304008000")), Parsed::NotMine);
        assert_eq!(parse(&hex("3000")), Parsed::NotMine);
        assert_eq!(parse(&hex("03000013")), Parsed::NotMine);
        assert_eq!(parse(b"GET "), Parsed::NotMine);
    }

    #[test]
    fn a_complete_one_that_does_not_fit_is_malformed() {
        assert_eq!(
            parse(&hex("300da003020106a406020580090302")),
            Parsed::Malformed(Flaw {
                at: 7,
                why: "an element of a TSRequest does not fit"
            })
        );
        assert!(matches!(
            parse(&hex("3084 7fffffff a003020106")),
            Parsed::Malformed(Flaw { at: 1, .. })
        ));
    }

    #[test]
    fn the_early_result() {
        assert_eq!(
            early_user_authorization(&[0, 0, 0, 0]),
            Parsed::Done(EarlyUserAuthorization::AUTHZ_SUCCESS, 4)
        );
        assert_eq!(
            early_user_authorization(&[5, 0, 0, 0, 1]),
            Parsed::Done(EarlyUserAuthorization::AUTHZ_ACCESS_DENIED, 4)
        );
        assert_eq!(early_user_authorization(&[5, 0]), Parsed::More);
        assert_eq!(early_user_authorization(&hex(REFUSAL)), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn never_uses_more_than_there_is(at in 0usize..57, value: u8, body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut changed = hex(NEGOTIATE);
            changed[at] = value;
            let wrapped = [&[0x30, u8::try_from(body.len() + 5).expect("short"), 0xA0, 3, 2, 1, 6], &body[..]].concat();
            for input in [&changed, &wrapped, &body] {
                if let Parsed::Done(_, used) = parse(input) {
                    prop_assert!(used <= input.len() && used > 0);
                }
            }
        }
    }
}
