//! Negotiations as real clients and servers send them, cut, damaged and compared with `ironrdp-pdu`.

use super::*;
use crate::protocol::bytes::hex;
use ironrdp_pdu::{nego, x224::X224};
use proptest::prelude::*;

const REQUEST: &str = "0300002f2ae00000000000436f6f6b69653a206d737473686173683d49542d48454c505c410d0a010008000b000000";
const CONFIRM: &str = "030000130ed00000123400021f080008000000";

/// A Connection Request with this variable part and the right lengths.
fn request(variable: &[u8]) -> Vec<u8> {
    let length = u8::try_from(11 + variable.len()).expect("short");
    let mut bytes = vec![3, 0, 0, length, length - 5, 0xE0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(variable);
    bytes
}

fn read_request(bytes: &[u8]) -> ConnectionRequest {
    match parse(bytes) {
        Parsed::Done(Tpdu::ConnectionRequest(request), used) => {
            assert_eq!(used, bytes.len());
            request
        }
        other => panic!("not a Connection Request: {other:?}"),
    }
}

fn read_answer(text: &str) -> Answer {
    match parse(&hex(text)) {
        Parsed::Done(Tpdu::ConnectionConfirm(confirm), _) => confirm.answer,
        other => panic!("not a Connection Confirm: {other:?}"),
    }
}

#[test]
fn a_request_with_cookie_and_protocols() {
    let request = read_request(&hex(REQUEST));
    assert_eq!(request.cookie.as_deref(), Some("IT-HELP\\A"));
    let negotiation = request.negotiation.expect("negotiation");
    assert_eq!(
        negotiation.protocols.to_string(),
        "PROTOCOL_SSL|PROTOCOL_HYBRID|PROTOCOL_HYBRID_EX"
    );
    assert_eq!(negotiation.flags, RequestFlags(0));
    assert!(request.leftover.is_empty() && request.routing_token.is_none());
}

#[test]
fn no_structure_is_not_protocol_zero() {
    let legacy = hex("030000241fe00000000000436f6f6b69653a206d737473686173683d4137303036370d0a");
    assert_eq!(read_request(&legacy).negotiation, None);
    assert_eq!(read_request(&legacy).cookie.as_deref(), Some("A70067"));
    assert_eq!(
        read_request(&request(&[1, 0, 8, 0, 0, 0, 0, 0])).negotiation,
        Some(NegotiationRequest {
            flags: RequestFlags(0),
            protocols: Protocols(0)
        })
    );
    assert_eq!(read_answer("0300000b06d00000123400"), Answer::Absent);
    assert_eq!(
        read_answer("030000130ed000001234000200080000000000"),
        Answer::Response {
            flags: ResponseFlags(0),
            selected: Protocols(0)
        }
    );
}

#[test]
fn a_restricted_admin_request() {
    let negotiation = read_request(&hex(
        "0300002f2ae00000000000436f6f6b69653a206d737473686173683d41646d696e697374720d0a010108000a000000",
    ))
    .negotiation
    .expect("negotiation");
    assert!(negotiation.flags.contains(RequestFlags::RESTRICTED_ADMIN_MODE_REQUIRED));
    assert_eq!(negotiation.protocols, Protocols(0x0A));
}

#[test]
fn routing_tokens_and_their_address() {
    let msts = read_request(&request(b"Cookie: msts=3640205228.15629.0000\r\n\x01\0\x08\0\x03\0\0\0"));
    let token = msts.routing_token.expect("token");
    assert_eq!(token.kind, RoutingTokenKind::Msts);
    assert_eq!(token.address, Some(SocketAddrV4::new(Ipv4Addr::new(172, 31, 249, 216), 3389)));
    assert_eq!(msts.negotiation.map(|it| it.protocols), Some(Protocols(0x03)));

    let tsv = read_request(&request(b"tsv://MS Terminal Services Plugin.1.Farm\r\n"));
    let token = tsv.routing_token.expect("token");
    assert_eq!(
        (token.kind, token.text.as_str(), token.address),
        (RoutingTokenKind::Tsv, "tsv://MS Terminal Services Plugin.1.Farm", None)
    );
}

#[test]
fn correlation_information_and_a_cookie_that_is_not_utf8() {
    let mut variable = b"Cookie: mstshash=J\xF6rg\r\n\x01\x08\x08\0\x0B\0\0\0\x06\0\x24\0".to_vec();
    variable.extend(1..=16);
    variable.extend([0; 16]);
    variable.push(0x99);
    let request = read_request(&request(&variable));
    assert_eq!(request.cookie.as_deref(), Some("J\u{f6}rg"));
    assert_eq!(
        request.correlation_id,
        Some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
    );
    assert_eq!(request.leftover, [0x99]);
}

#[test]
fn a_request_of_another_iso_protocol_keeps_its_parameters() {
    let request = read_request(&hex("0300001611e00000000100c1020100c2020102c0010a"));
    assert_eq!(request.leftover[0], 0xC1);
    assert_eq!(request.negotiation, None);
}

#[test]
fn refusals_known_and_unknown() {
    assert_eq!(
        read_answer("030000130ed000001234000300080005000000"),
        Answer::Failure {
            code: FailureCode::HYBRID_REQUIRED_BY_SERVER
        }
    );
    assert_eq!(
        read_answer("030000130ed0000012340003000800ff000000"),
        Answer::Failure { code: FailureCode(0xFF) }
    );
    assert_eq!(
        read_answer("030000130ed000001234000900080005000000"),
        Answer::Unknown { kind: 9 }
    );
}

#[test]
fn a_confirm_whose_structure_states_a_wrong_length_is_not_an_answer() {
    let damaged = hex("030000130ed000001234000203000001000002");
    let Parsed::Done(Tpdu::ConnectionConfirm(confirm), _) = parse(&damaged) else {
        panic!("not a Connection Confirm");
    };
    assert_eq!(confirm.answer, Answer::Unknown { kind: 2 });
    assert_eq!(confirm.leftover, damaged[11..]);
}

#[test]
fn the_other_tpdus() {
    assert_eq!(
        parse(&hex("0300000b0680000012348000")),
        Parsed::Done(
            Tpdu::DisconnectRequest(DisconnectRequest {
                dst_ref: 0,
                src_ref: 0x1234,
                reason: 0x80
            }),
            11
        )
    );
    assert_eq!(
        parse(&hex("03000009047012340200")),
        Parsed::Done(
            Tpdu::Error(TpduError {
                dst_ref: 0x1234,
                cause: 2
            }),
            9
        )
    );
    assert_eq!(
        parse(&hex("0300000902f0802180")),
        Parsed::Done(
            Tpdu::Data(Data {
                end: true,
                payload: &[0x21, 0x80]
            }),
            9
        )
    );
}

#[test]
fn every_cut_asks_for_more_and_other_protocols_are_turned_away() {
    for whole in [hex(REQUEST), hex(CONFIRM)] {
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), Parsed::More, "cut at {cut}");
        }
    }
    assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Parsed::NotMine);
    assert_eq!(parse(b"SSH-2.0-OpenSSH"), Parsed::NotMine);
    assert_eq!(parse(&[0x16, 0x03, 0x01, 0x02, 0x00]), Parsed::NotMine);
    // Q.931 in H.225.
    assert_eq!(parse(&hex("030001f60802")), Parsed::NotMine);
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    assert!(matches!(
        parse(&hex("0300000b0ad00000123400")),
        Parsed::Malformed(Flaw { at: 4, .. })
    ));
    assert!(matches!(parse(&hex("0300000905f0802180")), Parsed::Malformed(_)));
    assert!(matches!(parse(&hex("0300000705e0000000")), Parsed::Malformed(_)));
}

#[test]
fn ironrdp_reads_the_same() {
    let bytes = hex(REQUEST);
    let oracle = ironrdp_pdu::decode::<X224<nego::ConnectionRequest>>(&bytes)
        .expect("decodes")
        .0;
    let ours = read_request(&bytes);
    assert_eq!(oracle.nego_data, ours.cookie.map(nego::NegoRequestData::cookie));
    assert_eq!(Some(oracle.protocol.bits()), ours.negotiation.map(|it| it.protocols.0));
    let oracle = ironrdp_pdu::decode::<X224<nego::ConnectionConfirm>>(&hex(CONFIRM))
        .expect("decodes")
        .0;
    let nego::ConnectionConfirm::Response { flags, protocol } = oracle else {
        panic!("not a response");
    };
    assert_eq!(
        read_answer(CONFIRM),
        Answer::Response {
            flags: ResponseFlags(flags.bits()),
            selected: Protocols(protocol.bits())
        }
    );
}

proptest! {
    #[test]
    fn never_panics_and_never_uses_more_than_there_is(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        at in 0usize..64,
        value: u8,
    ) {
        let mut changed = hex(REQUEST);
        let index = at % changed.len();
        changed[index] = value;
        for input in [&bytes, &changed, &request(&bytes)] {
            if let Parsed::Done(_, used) = parse(input) {
                prop_assert!(used <= input.len());
            }
        }
    }

    #[test]
    fn agrees_with_ironrdp_where_it_decodes(flags: u8, protocols in 0u32..0x20, cookie in "[a-zA-Z0-9\\\\]{1,20}") {
        let mut variable = format!("Cookie: mstshash={cookie}\r\n").into_bytes();
        variable.extend([1, flags & 3, 8, 0]);
        variable.extend(protocols.to_le_bytes());
        let bytes = request(&variable);
        let oracle = ironrdp_pdu::decode::<X224<nego::ConnectionRequest>>(&bytes).expect("decodes").0;
        let ours = read_request(&bytes);
        prop_assert_eq!(Some(oracle.protocol.bits()), ours.negotiation.map(|it| it.protocols.0));
        prop_assert_eq!(oracle.nego_data, ours.cookie.map(nego::NegoRequestData::cookie));
    }
}
