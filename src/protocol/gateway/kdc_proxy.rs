//! Messages of the KDC proxy (MS-KKDCP 2.2.2): a Kerberos message carried over HTTPS.

use x509_parser::asn1_rs::Class;

use super::super::{Flaw, Parsed, ber, kerberos};

/// KDC-PROXY-MESSAGE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The Kerberos message inside, framed as on TCP.
    pub kerberos: kerberos::Message,
    /// The realm to ask (requests only).
    pub target_domain: Option<String>,
}

/// Universal SEQUENCE.
const SEQUENCE: u32 = 16;

/// Reads one message, the body of a request or a response.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<Message> {
    let (start, end) = match ber::extent(bytes) {
        Ok((Class::Universal, SEQUENCE, start, end)) => (start, end),
        Err(ber::Stop::More) if bytes.first().is_none_or(|first| *first == 0x30) => return Parsed::More,
        _ => return Parsed::NotMine,
    };
    let Some(body) = bytes.get(start..end) else {
        return Parsed::More;
    };
    let field = |number| {
        let outer = ber::children(body).find(|it| it.class == Class::ContextSpecific && it.tag == number)?;
        ber::take(&mut &*outer.body).map(|inner| inner.body)
    };
    let Some(inner) = field(0) else {
        return Parsed::Malformed(Flaw {
            at: start,
            why: "KDC-PROXY-MESSAGE without kerb-message",
        });
    };
    match kerberos::frame(inner) {
        Parsed::Done(kerberos, _) => {
            let target_domain = field(1).map(|name| String::from_utf8_lossy(name).into_owned());
            Parsed::Done(Message { kerberos, target_domain }, end)
        }
        _ => Parsed::Malformed(Flaw {
            at: start,
            why: "KDC-PROXY-MESSAGE without a Kerberos message",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    /// The first AS-REQ of a Windows client through a gateway.
    const REQUEST: &str = "3082010f a081f8 0481f5 000000f1 6a81ee3081eba103020105a20302010aa31530133011a10402020080a20904073005a0030101ff\
        a481c73081c4a00703050040810010a11a3018a003020101a111300f1b0d41646d696e6973747261746f72a2121b1061642e69742d68656c702e6e696e6a61\
        a3253023a003020102a11c301a1b066b72627467741b1061642e69742d68656c702e6e696e6a61a511180f32313030303931333032343830355aa611180f\
        32313030303931333032343830355aa70602045abc8033a81530130201120201110201170201180202ff79020103a91d301b3019a003020114a1120410\
        49542d48454c502d434c49454e542020 a1121b1061642e69742d68656c702e6e696e6a61";

    #[test]
    fn a_request_through_a_gateway() {
        let bytes = hex(REQUEST);
        let Parsed::Done(message, used) = parse(&bytes) else {
            panic!("not read")
        };
        assert_eq!(
            (used, message.target_domain.as_deref()),
            (bytes.len(), Some("ad.it-help.ninja"))
        );
        assert_eq!(message.kerberos.kind, kerberos::Kind::AS_REQ);
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Parsed::More, "{end}");
        }
    }

    #[test]
    fn what_is_something_else() {
        assert_eq!(parse(b"<!DOCTYPE HTML"), Parsed::NotMine);
        assert!(matches!(parse(&hex("3003 020101")), Parsed::Malformed(_)));
        assert!(matches!(parse(&hex("3006 a0040402 0000")), Parsed::Malformed(_)));
    }

    proptest! {
        #[test]
        fn never_panics(at in 0usize..280, value: u8) {
            let mut bytes = hex(REQUEST);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            if let Parsed::Done(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
