//! Messages of a Windows logon, and their damaged and made-up relatives.

use proptest::prelude::*;

use super::super::bytes::hex;
use super::*;

/// KDC_ERR_PREAUTH_REQUIRED from a Windows domain controller, as framed on TCP.
const PREAUTH_REQUIRED: &str = "000000c7 7e81c43081c1a003020105a10302011ea411180f32303234303530363230303832355aa50502030cf927a603020119a9121b10\
    61642e69742d68656c702e6e696e6a61aa253023a003020102a11c301a1b066b72627467741b1061642e69742d68656c702e6e696e6a61ac5b0459\
    30573034a103020113a22d042b30293020a003020112a1191b1749542d48454c502d444341646d696e6973747261746f723005a0030201173009a1\
    03020102a20204003009a103020110a20204003009a10302010fa2020400";

/// The first AS-REQ of the same client.
const AS_REQ: &str = "000000f1 6a81ee3081eba103020105a20302010aa31530133011a10402020080a20904073005a0030101ffa481c73081c4a007030500408100\
    10a11a3018a003020101a111300f1b0d41646d696e6973747261746f72a2121b1061642e69742d68656c702e6e696e6a61a3253023a003020102a1\
    1c301a1b066b72627467741b1061642e69742d68656c702e6e696e6a61a511180f32313030303931333032343830355aa611180f32313030303931\
    333032343830355aa706020424588b73a81530130201120201110201170201180202ff79020103a91d301b3019a003020114a112041049542d4845\
    4c502d434c49454e542020";

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = vec![tag, 0x82];
    out.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    out.extend(body);
    out
}

fn number(context: u8, value: u8) -> Vec<u8> {
    tlv(0xA0 | context, &[&[2, 1, value]])
}

fn text(context: u8, value: &str) -> Vec<u8> {
    tlv(0xA0 | context, &[&tlv(0x1B, &[value.as_bytes()])])
}

fn time(context: u8, value: &str) -> Vec<u8> {
    tlv(0xA0 | context, &[&tlv(0x18, &[value.as_bytes()])])
}

fn principal(context: u8, parts: &[&str]) -> Vec<u8> {
    let strings: Vec<u8> = parts.iter().flat_map(|part| tlv(0x1B, &[part.as_bytes()])).collect();
    tlv(
        0xA0 | context,
        &[&tlv(0x30, &[&number(0, 2), &tlv(0xA1, &[&tlv(0x30, &[&strings])])])],
    )
}

/// KRB-ERROR with the given code, clocks and e-data.
fn krb_error(code: u8, ctime: Option<&str>, edata: &[u8]) -> Vec<u8> {
    let parts = [
        number(0, 5),
        number(1, 30),
        ctime.map(|at| time(2, at)).unwrap_or_default(),
        time(4, "20240506200825Z"),
        number(5, 9),
        number(6, code),
        text(9, "AD.EXAMPLE"),
        principal(10, &["TERMSRV", "host.ad.example"]),
        tlv(0xAC, &[&tlv(4, &[edata])]),
    ];
    tlv(0x7E, &[&tlv(0x30, &[&parts.concat()])])
}

fn error_of(bytes: &[u8]) -> Refusal {
    match parse(bytes) {
        Parsed::Done(
            Message {
                kind: Kind::KRB_ERROR,
                body: Body::Error(error),
            },
            used,
        ) if used == bytes.len() => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_windows_kdc_asks_for_preauthentication() {
    let bytes = hex(PREAUTH_REQUIRED);
    let Parsed::Done(message, used) = frame(&bytes) else {
        panic!("not read")
    };
    assert_eq!((used, message.kind), (bytes.len(), Kind::KRB_ERROR));
    let Body::Error(error) = message.body else {
        panic!("not an error")
    };
    assert_eq!(
        (error.code, error.realm.as_str(), error.sname.as_str()),
        (25, "ad.it-help.ninja", "krbtgt/ad.it-help.ninja")
    );
    // 2024-05-06 20:08:25 UTC
    assert_eq!(
        error.stime,
        Clock {
            seconds: 1_715_026_105,
            micros: 850_215
        }
    );
    assert_eq!((error.ctime, error.skew(), error.status), (None, None, None));
}

#[test]
fn a_windows_client_asks_for_its_first_ticket() {
    let bytes = hex(AS_REQ);
    let Parsed::Done(message, _) = frame(&bytes) else {
        panic!("not read")
    };
    let Body::Request(request) = message.body else {
        panic!("not a request")
    };
    assert_eq!(message.kind, Kind::AS_REQ);
    assert_eq!(request.cname.as_deref(), Some("Administrator"));
    assert_eq!(request.realm, "ad.it-help.ninja");
    assert_eq!(request.etypes, [18, 17, 23, 24, -135, 3]);
    assert_eq!(request.padata, [128]);
    assert_eq!(request.options.to_string(), "FORWARDABLE|RENEWABLE|CANONICALIZE|RENEWABLE_OK");
    assert!(!request.is_user_to_user());
}

#[test]
fn streams_are_framed_by_their_length() {
    let bytes = hex(AS_REQ);
    for end in 0..bytes.len() {
        assert_eq!(frame(&bytes[..end]), Parsed::More, "{end}");
    }
    assert_eq!(frame(b"\x03\x00\x00\x13\x0e\xe0"), Parsed::NotMine);
    assert_eq!(frame(b"\x00\x00\x00\x10GET "), Parsed::NotMine);
    assert_eq!(frame(&[0, 0, 0, 0]), Parsed::NotMine);
    // One byte less in the frame than the message says.
    let mut short = bytes.clone();
    short[3] -= 1;
    assert!(matches!(frame(&short), Parsed::Malformed(Flaw { at: LENGTH, .. })));
}

#[test]
fn the_skew_is_the_difference_of_two_clocks() {
    let error = error_of(&krb_error(37, Some("20240506195425Z"), &[]));
    assert_eq!((error.code, error.skew()), (37, Some(14 * 60)));
    assert_eq!(error.sname, "TERMSRV/host.ad.example");
    let behind = error_of(&krb_error(37, Some("20240506200925Z"), &[]));
    assert_eq!(behind.skew(), Some(-60));
}

#[test]
fn the_status_of_windows_is_found_in_each_of_its_wrappings() {
    // STATUS_ACCOUNT_DISABLED
    let bare = hex("720000c0 00000000 01000000");
    let data = tlv(0x30, &[&number(1, 3), &tlv(0xA2, &[&tlv(4, &[&bare])])]);
    let list = tlv(0x30, &[&data]);
    for edata in [&bare, &data, &list] {
        assert_eq!(error_of(&krb_error(18, None, edata)).status, Some(0xC000_0072));
    }
    let salt = tlv(
        0x30,
        &[&tlv(0x30, &[&number(1, 3), &tlv(0xA2, &[&tlv(4, &[b"CORP.EXuser1"])])])],
    );
    assert_eq!(error_of(&krb_error(25, None, &salt)).status, None);
    assert_eq!(error_of(&krb_error(18, None, b"\x30\x05junk")).status, None);
}

#[test]
fn a_user_to_user_request_carries_a_ticket() {
    let bytes = hex(AS_REQ);
    let options = bytes.windows(4).position(|it| it == [0x40, 0x81, 0, 0x10]).expect("options");
    let mut with_option = bytes;
    with_option[options + 3] = 0x08;
    let Parsed::Done(
        Message {
            body: Body::Request(mut request),
            ..
        },
        _,
    ) = frame(&with_option)
    else {
        panic!("not read")
    };
    assert!(request.options.contains(KdcOptions::ENC_TKT_IN_SKEY));
    assert!(!request.is_user_to_user(), "no ticket came along");
    request.additional_tickets = 1;
    assert!(request.is_user_to_user());
}

#[test]
fn a_reply_names_user_and_service() {
    let encrypted = |context: u8, etype: u8| {
        tlv(
            0xA0 | context,
            &[&tlv(0x30, &[&number(0, etype), &tlv(0xA2, &[&[4, 1, 0xEE]])])],
        )
    };
    let ticket = tlv(
        0x61,
        &[&tlv(
            0x30,
            &[
                &number(0, 5),
                &text(1, "AD.EXAMPLE"),
                &principal(2, &["TERMSRV", "host"]),
                &encrypted(3, 18),
            ],
        )],
    );
    let parts = [
        number(0, 5),
        number(1, 13),
        text(3, "AD.EXAMPLE"),
        principal(4, &["alice"]),
        tlv(0xA5, &[&ticket]),
        encrypted(6, 17),
    ];
    let bytes = tlv(0x6D, &[&tlv(0x30, &[&parts.concat()])]);
    let Parsed::Done(
        Message {
            kind: Kind::TGS_REP,
            body: Body::Reply(reply),
        },
        _,
    ) = parse(&bytes)
    else {
        panic!("not read")
    };
    assert_eq!(
        reply,
        Reply {
            crealm: "AD.EXAMPLE".into(),
            cname: "alice".into(),
            realm: "AD.EXAMPLE".into(),
            sname: "TERMSRV/host".into(),
            ticket_etype: 18,
            etype: 17,
        }
    );
}

#[test]
fn a_damaged_message_keeps_its_type() {
    let mut bytes = hex(PREAUTH_REQUIRED)[LENGTH..].to_vec();
    bytes[10] = 0xFF;
    let Parsed::Done(message, _) = parse(&bytes) else {
        panic!("not read")
    };
    assert_eq!(message.kind, Kind::KRB_ERROR);
    assert!(matches!(message.body, Body::Damaged(_)));
    let ap_req = tlv(0x6E, &[&[1, 2, 3]]);
    assert!(matches!(
        parse(&ap_req),
        Parsed::Done(
            Message {
                kind: Kind::AP_REQ,
                body: Body::Opaque
            },
            _
        )
    ));
}

proptest! {
    #[test]
    fn never_panics(at in 0usize..256, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..64), which in 0usize..3) {
        let mut bytes = match which {
            0 => hex(AS_REQ),
            1 => hex(PREAUTH_REQUIRED),
            _ => Vec::new(),
        };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.extend(tail);
        for parsed in [frame(&bytes), parse(&bytes), parse(bytes.get(LENGTH..).unwrap_or_default())] {
            if let Parsed::Done(_, used) = parsed {
                prop_assert!(used <= bytes.len());
            }
        }
    }
}
