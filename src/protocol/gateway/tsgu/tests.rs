//! Packets of a Windows client and gateway, and refusals built from the specification.

use proptest::prelude::*;

use super::*;
use crate::protocol::bytes::hex;

fn body_of(bytes: &[u8]) -> Body<'_> {
    match parse(bytes) {
        Parsed::Done(packet, used) if used == bytes.len() => packet.body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_windows_client_reaches_its_host() {
    let request = hex("0100 0000 0e000000 01 00 0000 0000");
    assert_eq!(
        body_of(&request),
        Body::HandshakeRequest {
            version: (1, 0),
            client_version: 0,
            extended_auth: ExtendedAuth(0)
        }
    );
    let response = hex("0200 0000 12000000 00000000 01 00 0000 0700");
    let Body::HandshakeResponse {
        status: 0,
        version: (1, 0),
        extended_auth,
        ..
    } = body_of(&response)
    else {
        panic!("not read")
    };
    assert_eq!(extended_auth.to_string(), "SC|PAA|SSPI_NTLM");
    let tunnel = hex("0500 0000 1a000000 0000 00000000 0300 0000 07000000 3f000000");
    let Body::TunnelResponse {
        status: 0,
        tunnel: Some(7),
        capabilities: Some(capabilities),
        consent: None,
        ..
    } = body_of(&tunnel)
    else {
        panic!("not read")
    };
    assert_eq!((capabilities.0, capabilities.unknown()), (0x3F, 0));
    let authorised = hex("0700 0000 18000000 00000000 0300 0000 00000080 00000000");
    assert_eq!(
        body_of(&authorised),
        Body::TunnelAuthResponse {
            status: 0,
            redirection: Some(0x8000_0000),
            idle_minutes: Some(0)
        }
    );
    let data = hex("0a00 0000 1d000000 1300 030000130ed00000123400021f080008000000");
    assert!(matches!(body_of(&data), Body::Data(inner) if inner.len() == 19 && inner.starts_with(&[3, 0, 0, 0x13])));
}

#[test]
fn a_channel_response_offers_the_udp_side() {
    let response = hex("0900 0000 1b000000 00000000 0700 0000 01000000 3f0d 0300 aabbcc");
    assert_eq!(
        body_of(&response),
        Body::ChannelResponse {
            status: 0,
            channel: Some(1),
            udp_port: Some(3391),
            cookie: Some(&[0xAA, 0xBB, 0xCC])
        }
    );
}

#[test]
fn the_cookie_names_the_host_behind_the_gateway() {
    let cookie = hex(
        "308207350609 81c2 5500 4400 5000 4300 4f00 4f00 4b00 4900 4500 3b00 4900 5400 5c00 4100 3b00 3100 3300 3b00 3100 3000 2e00 3100 \
         3b00 5400 4500 5300 5400 2e00 6100 3b00 3300 3300 3800 3900 0000 a082 0495",
    );
    let target = Target {
        address: "10.1".into(),
        name: "TEST.a".into(),
        port: 3389,
    };
    assert_eq!(cookie_target(&cookie), Some(target));
    assert_eq!(cookie_target(&cookie[..cookie.len() - 16]), None);
    assert_eq!(cookie_target(b"U\0D\0P\0"), None);
}

#[test]
fn refusals_are_short_and_keep_their_status() {
    let rap = hex("0900 0000 10000000 da590780 0000 0000");
    assert_eq!(body_of(&rap).status(), Some(0x8007_59DA));
    let bare = hex("0700 0000 0c000000 db590780");
    assert_eq!(body_of(&bare).status(), Some(0x8007_59DB));
    let handshake = hex("0200 0000 0c000000 e9590780");
    assert_eq!(body_of(&handshake).status(), Some(0x8007_59E9));
    let close = hex("1000 0000 0c000000 ca040000");
    assert_eq!(body_of(&close), Body::CloseChannel { status: 0x4CA });
    assert_eq!(body_of(&hex("0d00 0000 08000000")), Body::Keepalive);
}

#[test]
fn names_of_client_and_host() {
    let auth = hex("0600 0000 14000000 0000 0800 50004300 31000000");
    assert_eq!(
        body_of(&auth),
        Body::TunnelAuth {
            client_name: "PC1".into()
        }
    );
    let channel = hex("0800 0000 1c000000 01 01 3d0d 0300 0400 68000000 0600 680032000000");
    assert_eq!(
        body_of(&channel),
        Body::ChannelCreate {
            resources: vec!["h".into(), "h2".into()],
            port: 3389,
            protocol: 3
        }
    );
}

#[test]
fn a_cookie_is_counted_and_not_kept() {
    let create = hex("0400 0000 15000000 3f000000 0100 0000 0300 616263");
    assert_eq!(
        body_of(&create),
        Body::TunnelCreate {
            capabilities: Capabilities(0x3F),
            cookie: Some(3),
            reauth_context: None
        }
    );
    let again = hex("0400 0000 18000000 3f000000 0200 0000 0807060504030201");
    assert!(matches!(
        body_of(&again),
        Body::TunnelCreate {
            reauth_context: Some(0x0102_0304_0506_0708),
            cookie: None,
            ..
        }
    ));
}

#[test]
fn what_is_short_what_is_unknown_and_what_is_not_ours() {
    let short = hex("0a00 0000 0c000000 1300 0300");
    assert!(matches!(body_of(&short), Body::Damaged(Flaw { at: 8, .. })));
    let unknown = hex("2200 0000 09000000 ff");
    assert!(matches!(
        parse(&unknown),
        Parsed::Done(
            Packet {
                kind: PacketType(0x22),
                body: Body::Unknown([0xFF])
            },
            9
        )
    ));
    for bytes in [
        &b"HTTP/1.1 200 OK"[..],
        b"\x16\x03\x03\x00\x50\x01\x00\x00\x4c",
        b"\x03\x00\x00\x13\x0e\xd0\x00\x00",
    ] {
        assert_eq!(parse(bytes), Parsed::NotMine);
    }
    let whole = hex("0900 0000 10000000 da590780 0000 0000");
    for end in 0..whole.len() {
        assert_eq!(parse(&whole[..end]), Parsed::More, "{end}");
    }
}

proptest! {
    #[test]
    fn never_panics(kind in 0u16..0x14, contents in proptest::collection::vec(any::<u8>(), 0..64), cut in 0usize..80) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(u32::try_from(contents.len() + HEADER).unwrap_or_default().to_le_bytes());
        bytes.extend(&contents);
        bytes.truncate(cut);
        if let Parsed::Done(_, used) = parse(&bytes) {
            prop_assert!(used <= bytes.len());
        }
    }
}
