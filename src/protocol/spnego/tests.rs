//! Tokens of a Kerberos logon as Windows sends them, cut and damaged.

use super::*;
use crate::protocol::Parsed;
use crate::protocol::bytes::hex;
use crate::protocol::credssp;
use proptest::prelude::*;

/// The client's first TSRequest: NegTokenInit with TGT-REQ.
const TGT_REQ: &str = "
    3081aca003020106a181a43081a130819ea0819b04819860819506062b0601050502a0818a308187a030302e06092a864882f71201020206092a8648
    86f712010202060a2b06010401823702021e060a2b06010401823702020aa2530451604f060a2a864886f712010202030400303fa003020105a10302
    0110a2333031a003020102a12a30281b075445524d5352561b1d49542d48454c502d544553542e61642e69742d68656c702e6e696e6a61";

/// The server's third: NegTokenResp with AP-REP.
const AP_REP: &str = "
    3081e0a003020106a181d83081d53081d2a081cf0481cca181c93081c6a0030a0101a2819e04819b608198060a2a864886f7120102020302006f8187
    308184a003020105a10302010fa2783076a003020112a26f046db4ceef0eb0f6f6fda805d3849a2546db8a3493084c40469e5f5df21ebb35c93e59e8
    f94b93950caf6e3cba27b2ba8712fe19eeff917f6789e75f43a941efa6e7216835980f3415c1c55415225f85362223d30db559387e7ba60c21d2325e
    ce4f29d5c339bba675ae51f5af3db1a31e041c040405ffffffffff0000000026d2d67e148592e3def2a25cb3fd48b9";

/// The client's last with a token: the MIC alone.
const MIC: &str = "
    3081bca003020106a131302f302da02b0429a1273025a0030a0100a31e041c040404ffffffffff00000000493289a9fb81d2da1a3bbf0f474035bfa3
    5e045c050406ff0000001c00000000493289aab4c7bcc886d1b970a6e6bb55603740fbdd7d214d5949453309bad449f819e7e648656c79a5a2787278
    b254aacf315f2bbe2c133c70c32991fd1be2f35095c084f0bc714fe74658958cb2cdeda5220420c667c8f9c4a571209f79a6dbdbe877655591ff9729
    87e1dba2b0cfdff1045bca";

fn token(text: &str) -> Vec<u8> {
    match credssp::parse(&hex(text)) {
        Parsed::Done(request, _) => request.tokens[0].to_vec(),
        other => panic!("not a TSRequest: {other:?}"),
    }
}

#[test]
fn the_client_asks_for_the_servers_ticket() {
    let negotiation = parse(&token(TGT_REQ)).expect("token");
    let Some(Envelope::Init { mechanisms }) = negotiation.envelope else {
        panic!("not a NegTokenInit");
    };
    let names: Vec<_> = mechanisms.iter().map(Mechanism::name).collect();
    assert_eq!(
        names,
        [Some("Kerberos (Microsoft)"), Some("Kerberos"), Some("NegoEx"), Some("NTLM")]
    );
    assert_eq!(
        negotiation.token,
        Some(Token::Kerberos(KerberosToken {
            kind: KerberosKind::KRB_TGT_REQ,
            service: Some("TERMSRV/IT-HELP-TEST.ad.it-help.ninja".to_owned()),
            error_code: None
        }))
    );
}

#[test]
fn the_server_answers() {
    let negotiation = parse(&token(AP_REP)).expect("token");
    assert_eq!(
        negotiation.envelope,
        Some(Envelope::Response {
            state: Some(NegState::ACCEPT_INCOMPLETE),
            mechanism: None,
            mic: true
        })
    );
    let Some(Token::Kerberos(kerberos)) = negotiation.token else {
        panic!("not Kerberos");
    };
    assert_eq!(kerberos.kind, KerberosKind::KRB_AP_REP);

    let last = parse(&token(MIC)).expect("token");
    assert_eq!(last.token, None);
    assert_eq!(
        last.envelope,
        Some(Envelope::Response {
            state: Some(NegState::ACCEPT_COMPLETED),
            mechanism: None,
            mic: true
        })
    );
}

/// One short DER element.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u8::try_from(body.len()).expect("short");
    assert!(length < 0x80);
    [&[tag, length], &body[..]].concat()
}

#[test]
fn a_kerberos_error_and_its_code() {
    let strings = element(0x30, &[&element(0x1B, &[b"TERMSRV"]), &element(0x1B, &[b"h"])]);
    let name = element(0x30, &[&hex("a003020102"), &element(0xA1, &[&strings])]);
    let fields = element(0x30, &[&hex("a003020105 a10302011e a603020125"), &element(0xAA, &[&name])]);
    let error = element(0x7E, &[&fields]);
    let token = element(0x60, &[&hex("06092a864886f712010202 0300"), &error]);
    let kerberos = KerberosToken {
        kind: KerberosKind::KRB_ERROR,
        service: Some("TERMSRV/h".to_owned()),
        error_code: Some(37),
    };
    assert_eq!(
        parse(&token),
        Ok(Negotiation {
            envelope: None,
            token: Some(Token::Kerberos(kerberos.clone()))
        })
    );
    assert_eq!(parse(&error).map(|it| it.token), Ok(Some(Token::Kerberos(kerberos.clone()))));
    let octets = element(0xA2, &[&element(4, &[&token])]);
    let response = element(0xA1, &[&element(0x30, &[&hex("a0030a0102"), &octets])]);
    assert_eq!(
        parse(&response),
        Ok(Negotiation {
            envelope: Some(Envelope::Response {
                state: Some(NegState::REJECT),
                mechanism: None,
                mic: false
            }),
            token: Some(Token::Kerberos(kerberos))
        })
    );
}

#[test]
fn a_ticket_names_its_service() {
    let strings = element(0x30, &[&element(0x1B, &[b"TERMSRV"]), &element(0x1B, &[b"host"])]);
    let name = element(0x30, &[&hex("a003020102"), &element(0xA1, &[&strings])]);
    let realm = element(0xA1, &[&element(0x1B, &[b"EXAMPLE.ORG"])]);
    let fields = element(0x30, &[&hex("a003020105"), &realm, &element(0xA2, &[&name])]);
    let ticket = element(0xA3, &[&element(0x61, &[&fields])]);
    let request = element(0x30, &[&hex("a003020105 a10302010e"), &ticket]);
    let token = parse(&element(0x6E, &[&request])).expect("token").token;
    assert_eq!(
        token,
        Some(Token::Kerberos(KerberosToken {
            kind: KerberosKind::KRB_AP_REQ,
            service: Some("TERMSRV/host".to_owned()),
            error_code: None
        }))
    );
}

#[test]
fn bare_ntlm_and_unknown_tokens() {
    let bare = hex("4e544c4d5353500001000000b78208e2");
    assert!(matches!(
        parse(&bare),
        Ok(Negotiation {
            envelope: None,
            token: Some(Token::Ntlm(ntlm::Message::Negotiate { .. }))
        })
    ));
    assert_eq!(parse(&[4, 1, 7]).map(|it| it.token), Ok(Some(Token::Other(3))));
    assert_eq!(Mechanism("1.2.3".to_owned()).name(), None);
    assert_eq!(NegState(9).to_string(), "0x9");
}

#[test]
fn every_cut_of_a_complete_token_is_a_flaw() {
    for text in [TGT_REQ, AP_REP, MIC] {
        let whole = token(text);
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn never_panics(at in 0usize..400, value: u8, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for text in [TGT_REQ, AP_REP] {
            let mut token = token(text);
            let index = at % token.len();
            token[index] = value;
            let _ = parse(&token);
        }
        let _ = parse(&bytes);
    }
}
