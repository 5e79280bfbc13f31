//! Names in every place where clear text may hold them: none is left, and what tells the protocol is.

use std::io::Cursor;
use std::path::Path;

use super::*;
use crate::capture::{self, Direction, Frame, FrameNo, InterfaceSummary, LinkType, OpenOptions, Resolution, Timestamp};
use crate::protocol::Parsed;

const CLIENT: [u8; 4] = [10, 77, 88, 99];
const SERVER: [u8; 4] = [203, 0, 113, 55];
const MACS: [u8; 12] = [0x00, 0x15, 0x5d, 0xa1, 0xb2, 0xc3, 0x00, 0x50, 0x56, 0xd4, 0xe5, 0xf6];

/// A capture with these frames, as a pcapng.
fn file(link: LinkType, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &SectionSummary::default()).unwrap();
    let about = InterfaceSummary {
        link,
        resolution: Resolution::NANOS,
        name: Some("Meyer's port".to_owned()),
        ..InterfaceSummary::default()
    };
    let id = writer.interface(&about).unwrap();
    for (number, bytes) in (1..).zip(frames) {
        let frame = Frame {
            no: FrameNo::new(number),
            at: Timestamp(1_700_000_000_000_000_000 + number as i64),
            link,
            interface: 0,
            bytes,
            wire_len: bytes.len() as u32,
            direction: None::<Direction>,
            options: PacketOptions::default(),
        };
        writer.frame(id, &frame, &["seen by Meyer".to_owned()]).unwrap();
    }
    writer.finish().unwrap()
}

/// The redacted file and, one by one, its frames.
fn redacted(link: LinkType, frames: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let open =
        |bytes: Vec<u8>| capture::open_stream(Box::new(Cursor::new(bytes)), Path::new("a"), OpenOptions::default()).unwrap();
    let source = file(link, frames);
    let mut redactor = Redactor::with_key(*b"a key for tests, and only those.");
    redactor.learn(&mut *open(source.clone()), &mut |_| ()).unwrap();
    let (out, _) = redactor
        .rewrite(&mut *open(source), Vec::new(), &SectionSummary::default())
        .unwrap();
    let mut written = Vec::new();
    let mut again = open(out.clone());
    while let Some(event) = again.next().unwrap() {
        if let Event::Frame(frame) = event {
            written.push(frame.bytes.to_vec());
        }
    }
    (out, written)
}

fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = [&MACS[..], &[8, 0, 0x45, 0]].concat();
    frame.extend_from_slice(&(20 + body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend_from_slice(&[CLIENT, SERVER].concat());
    frame.extend_from_slice(body);
    frame
}

/// The segments of a stream from client to server, the SYN first.
fn stream(port: u16, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut seq = 1_000u32;
    let mut frames = Vec::new();
    for (flags, part) in [(2u8, &[][..])].into_iter().chain(parts.iter().map(|part| (0x18, *part))) {
        let mut tcp = [40_000u16.to_be_bytes(), port.to_be_bytes()].concat();
        tcp.extend_from_slice(&seq.to_be_bytes());
        tcp.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 255, 255, 0, 0, 0, 0]);
        tcp.extend_from_slice(part);
        seq += u32::from(flags == 2) + part.len() as u32;
        frames.push(ipv4(6, &tcp));
    }
    frames
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut udp = [
        50_000u16.to_be_bytes(),
        port.to_be_bytes(),
        (8 + payload.len() as u16).to_be_bytes(),
        [0, 0],
    ]
    .concat();
    udp.extend_from_slice(payload);
    ipv4(17, &udp)
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Fails where one of the names stands in `bytes`, in whatever case, in ASCII or UTF-16.
fn assert_clean(bytes: &[u8], names: &[&str], what: &str) {
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    for name in names {
        assert!(!holds(name.as_bytes()) && !holds(&wide(name)), "{what} tells {name}");
    }
    for address in [&CLIENT[..], &SERVER, &MACS[3..6], &MACS[9..]] {
        assert!(!holds(address), "{what} tells {address:x?}");
    }
}

fn tpkt(body: &[u8]) -> Vec<u8> {
    [&[3, 0], &(4 + body.len() as u16).to_be_bytes()[..], body].concat()
}

#[test]
fn every_line_of_a_connection_request_is_redacted() {
    let token = format!("Cookie: msts={}.15629.0000\r\n", u32::from_le_bytes(SERVER));
    let mut body = vec![0, 0xe0, 0, 0, 0, 0, 0];
    body.extend_from_slice(token.as_bytes());
    body.extend_from_slice(b"Cookie: mstshash=MEYERDOM\\_svc_meyer\r\n\x01\x00\x08\x00\x03\x00\x00\x00");
    let id = *b"CorrelationOfMey";
    body.extend_from_slice(&[6, 0, 0x24, 0]);
    body.extend_from_slice(&id);
    body.extend_from_slice(&[0; 16]);
    body[0] = body.len() as u8 - 1;
    let request = tpkt(&body);
    let (out, frames) = redacted(LinkType::ETHERNET, &stream(3389, &[&request]));
    assert_clean(
        &out,
        &["meyer", "CorrelationOfMey", &u32::from_le_bytes(SERVER).to_string()],
        "the request",
    );
    let said = frames[1].get(54..).unwrap();
    let Parsed::Done(packet, _) = crate::protocol::x224::parse(said) else {
        panic!("the request is none any more");
    };
    let text = format!("{packet:?}");
    assert!(text.contains("Msts") && text.contains("correlation_id: Some"), "{text}");
    assert_eq!(said.len(), request.len());
}

#[test]
fn headers_of_http_without_a_scheme_are_secrets() {
    let head = b"GET http://rds.meyer.example/x HTTP/1.1\r\nHost: rds.meyer.example\r\nX-Auth-Token: meyersecret\r\n\
        Cookie: id=meyercookie\r\nAuthorization: Basic bWV5ZXI6c2VjcmV0\r\nProxy-Authorization: NTLM TlRMTVNTUAABMeyer\r\n\
        RDG-User-Id: meyer\r\n\r\n";
    let (out, frames) = redacted(LinkType::ETHERNET, &stream(8080, &[head]));
    assert_clean(&out, &["meyer", "bWV5ZXI6c2VjcmV0", "secret"], "the head");
    let said = String::from_utf8_lossy(&frames[1][54..]).into_owned();
    assert!(
        said.contains("Authorization: Basic AAAA") && said.contains("NTLM AAAA"),
        "{said}"
    );
}

#[test]
fn the_header_of_a_balancer_loses_its_names() {
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let name = b"rds.meyer.example";
    v2.extend_from_slice(&(12 + 3 + name.len() as u16).to_be_bytes());
    v2.extend_from_slice(&[CLIENT, SERVER].concat());
    v2.extend_from_slice(&[0x9c, 0x40, 0x0d, 0x3d, 2, 0, name.len() as u8]);
    v2.extend_from_slice(name);
    let (out, _) = redacted(LinkType::ETHERNET, &stream(3389, &[&v2]));
    assert_clean(&out, &["meyer"], "version 2");
    let v1 = b"PROXY TCP6 2001:db8:abcd::face 2001:db8:abcd::beef 56324 3389\r\n";
    let (out, _) = redacted(LinkType::ETHERNET, &stream(3389, &[v1]));
    assert_clean(&out, &["abcd", "face", "beef", "56324"], "version 1");
}

#[test]
fn a_certificate_of_which_the_end_is_missing_is_emptied() {
    // The first record holds the begin of a Certificate that goes on in a record that was not captured.
    let name = b"\x0c\x11rds.meyer.example";
    let mut body = vec![11, 0, 4, 0, 0, 3, 0xfd, 0, 3, 0xfa, 0x30, 0x82, 3, 0xf6];
    body.extend_from_slice(name);
    let record = [&[22, 3, 3], &(body.len() as u16).to_be_bytes()[..], &body].concat();
    let (out, _) = redacted(LinkType::ETHERNET, &stream(3389, &[&record]));
    assert_clean(&out, &["meyer"], "the record");
    // A status response: an OCSP answer in clear.
    let answer = [&[0x30, name.len() as u8][..], name].concat();
    let mut status = vec![22, 0, 0, 4 + answer.len() as u8, 1, 0, 0, answer.len() as u8];
    status.extend_from_slice(&answer);
    let record = [&[22, 3, 3], &(status.len() as u16).to_be_bytes()[..], &status].concat();
    let (out, _) = redacted(LinkType::ETHERNET, &stream(3389, &[&record]));
    assert_clean(&out, &["meyer"], "the status");
}

#[test]
fn der_that_cannot_be_walked_is_emptied() {
    // An indefinite length, which DER has not, in a Kerberos message.
    let message = b"\x6a\x80\x30\x80\xa1\x80\x1b\x0fmeyer.example.x\0\0\0\0";
    let (out, _) = redacted(LinkType::ETHERNET, &[udp(88, message)]);
    assert_clean(&out, &["meyer"], "the message");
}

#[test]
fn who_logged_on_without_encryption_is_not_told() {
    let mut info = vec![1, 0, 0, 0, 1, 0];
    info.extend_from_slice(&wide("MEYERDOM\\anna.meyer"));
    let mut share = ((18 + info.len()) as u16).to_le_bytes().to_vec();
    share.extend_from_slice(&[0x17, 0, 0xea, 3, 0xea, 3, 1, 0, 0, 1]);
    share.extend_from_slice(&(info.len() as u16).to_le_bytes());
    share.extend_from_slice(&[0x26, 0, 0, 0]);
    share.extend_from_slice(&info);
    let mut mcs = vec![2, 0xf0, 0x80, 0x68, 0, 1, 3, 0xeb, 0x70, share.len() as u8];
    mcs.extend_from_slice(&share);
    let (out, _) = redacted(LinkType::ETHERNET, &stream(3389, &[&tpkt(&mcs)]));
    assert_clean(&out, &["meyer", "anna"], "Save Session Info");
}

#[test]
fn neighbour_discovery_keeps_its_form_and_loses_addresses() {
    let host = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0x15, 0x5d, 0xff, 0xfe, 0xa1, 0xb2, 0xc3];
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xa1, 0xb2, 0xc3];
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&host);
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(&MACS[..6]);
    let mut frame = vec![0x33, 0x33, 0xff, 0xa1, 0xb2, 0xc3];
    frame.extend_from_slice(&MACS[..6]);
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend_from_slice(&host);
    frame.extend_from_slice(&group);
    frame.extend_from_slice(&message);
    let (out, frames) = redacted(LinkType::ETHERNET, &[frame]);
    assert_clean(&out, &["\u{a1}"], "the solicitation");
    let bytes = &frames[0];
    // The option is one still, the group is that of the hardware address, and the vendor is kept.
    assert_eq!(bytes[78..83], [1, 1, 0, 0x15, 0x5d]);
    assert_eq!((&bytes[..3], &bytes[3..6]), (&[0x33, 0x33, 0xff][..], &bytes[51..54]));
}

#[test]
fn other_link_layers_lose_their_addresses_and_keep_their_packets() {
    let packet = ipv4(6, &stream(3389, &[])[0][34..])[14..].to_vec();
    let wifi = {
        let mut frame = vec![8, 1, 0, 0];
        frame.extend_from_slice(&MACS[..6]);
        frame.extend_from_slice(&MACS[6..]);
        frame.extend_from_slice(&MACS[..6]);
        frame.extend_from_slice(&[0, 0, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
        [frame, packet.clone()].concat()
    };
    // The far end of a tunnel as link address, and something old behind it.
    let cooked = [&[0, 0, 3, 0x0a, 0, 4][..], &SERVER, &[0xa1, 0xb2, 0xc3, 0xd4, 8, 0], &packet].concat();
    for (link, frame) in [(LinkType(105), wifi), (LinkType::LINUX_SLL, cooked)] {
        let length = frame.len();
        let (out, frames) = redacted(link, &[frame]);
        assert_clean(&out, &["Meyer"], "the frame");
        assert_eq!(frames[0].len(), length);
    }
}

#[test]
fn a_side_channel_is_known_by_its_syn_on_any_port() {
    let mut syn = vec![0xff, 0xff, 0xff, 0xff, 0, 64, 0x18, 1];
    syn.extend_from_slice(&[0; 8]);
    syn.extend_from_slice(b"CorrelationOfMey");
    syn.resize(1_232, 0);
    let data = [&[0, 0, 0, 1, 0, 64, 0, 8, 0, 0][..], b"meyer.example", &wide("MEYER-PC")].concat();
    let (out, frames) = redacted(LinkType::ETHERNET, &[udp(3390, &syn), udp(3390, &data)]);
    assert_clean(&out, &["meyer", "CorrelationOfMey"], "the side channel");
    assert_eq!(frames[1].len(), 42 + data.len());
}

#[test]
fn what_a_relay_is_told_keeps_its_form() {
    // An Allocate response: a relayed address of the server, who made the relay, and its realm.
    let mut message = vec![1, 3, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let address = u32::from_be_bytes(SERVER) ^ 0x2112_a442;
    message.extend_from_slice(&[0, 0x16, 0, 8, 0, 1, 0x12, 0x34]);
    message.extend_from_slice(&address.to_be_bytes());
    message.extend_from_slice(b"\x00\x14\x00\x0dmeyer.example\0\0\0");
    message[3] = message.len() as u8 - 20;
    let (out, frames) = redacted(LinkType::ETHERNET, &[udp(3478, &message)]);
    assert_clean(&out, &["meyer"], "the message");
    let said = &frames[0][42..];
    assert!(said.len() == message.len() && said[..28] == message[..28] && said[28..32] != address.to_be_bytes());
}

/// One element of DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let length = match len {
        0..0x80 => vec![len as u8],
        _ => [&[0x82], &(len as u16).to_be_bytes()[..]].concat(),
    };
    [&[tag][..], &length, content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

const CIPHER: &[u8] = b"\x30\x0c\x02\x01\x05SEALEDSEA and what could be guessed with it \x9f\xf0";
const CHECKSUM: &[u8] = &[0xc5, 0x11, 0xde, 0x5f, 0x01, 0xaa, 0xbb, 0xcc, 0xdd, 0x10, 0xf2, 0x81];

/// EncryptedData: etype, kvno, cipher.
fn sealed() -> Vec<u8> {
    sequence(&[
        der(0xa0, &der(2, &[18])),
        der(0xa1, &der(2, &[2])),
        der(0xa2, &der(4, CIPHER)),
    ])
}

/// A principal's name: kind and components.
fn principal(name: &str) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = name.split('/').map(|part| der(0x1b, part.as_bytes())).collect();
    sequence(&[der(0xa0, &der(2, &[2])), der(0xa1, &sequence(&parts))])
}

/// Pre-authentication data: kind and value.
fn padata(kind: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[der(0xa1, &der(2, &[kind])), der(0xa2, &der(4, value))])
}

fn ticket() -> Vec<u8> {
    let parts = [
        der(0xa0, &der(2, &[5])),
        der(0xa1, &der(0x1b, b"MEYER.EXAMPLE")),
        der(0xa2, &principal("TERMSRV/rds.meyer.example")),
        der(0xa3, &sealed()),
    ];
    der(0x61, &sequence(&parts))
}

/// TGS-REQ with the AP-REQ that proves who asks, a checksum, an encrypted timestamp and a smart card's data.
fn tgs_request() -> Vec<u8> {
    let ap = [
        der(0xa0, &der(2, &[5])),
        der(0xa1, &der(2, &[14])),
        der(0xa2, &der(3, &[0, 0, 0, 0, 0])),
        der(0xa3, &ticket()),
        der(0xa4, &sealed()),
    ];
    let checksum = sequence(&[der(0xa0, &der(2, &[16])), der(0xa1, &der(4, CHECKSUM))]);
    let card = sequence(&[der(0x80, b"\x01certificate of anna meyer\x02")]);
    let padata = [
        padata(1, &der(0x6e, &sequence(&ap))),
        padata(2, &sealed()),
        padata(16, &card),
        padata(36, &checksum),
        padata(38, CHECKSUM),
    ];
    let body = [
        der(0xa0, &der(3, &[0, 0x40, 0x81, 0, 0])),
        der(0xa2, &der(0x1b, b"MEYER.EXAMPLE")),
        der(0xa3, &principal("TERMSRV/rds.meyer.example")),
        der(0xa5, &der(0x18, b"20370913024805Z")),
        der(0xa7, &der(2, &[1, 2, 3, 4])),
        der(0xa8, &sequence(&[der(2, &[18]), der(2, &[17])])),
        der(0xaa, &sealed()),
    ];
    let request = [
        der(0xa1, &der(2, &[5])),
        der(0xa2, &der(2, &[12])),
        der(0xa3, &sequence(&padata)),
        der(0xa4, &sequence(&body)),
    ];
    der(0x6c, &sequence(&request))
}

/// Fails where three bytes or more of something sealed are left.
fn assert_unsealed(bytes: &[u8], what: &str) {
    for part in CIPHER.windows(4).chain(CHECKSUM.windows(4)) {
        assert!(!bytes.windows(4).any(|window| window == part), "{what} tells {part:x?}");
    }
}

#[test]
fn nothing_sealed_by_a_password_is_left_of_kerberos() {
    let message = tgs_request();
    let framed = [&(message.len() as u32).to_be_bytes()[..], &message].concat();
    for frames in [vec![udp(88, &message)], stream(88, &[&framed])] {
        let (out, frames) = redacted(LinkType::ETHERNET, &frames);
        assert_clean(&out, &["meyer", "anna"], "the request");
        assert_unsealed(&out, "the request");
        let said = frames.last().unwrap();
        let said = &said[said.len() - message.len()..];
        let Parsed::Done(before, _) = crate::protocol::kerberos::parse(&message) else {
            panic!("the request is none");
        };
        let Parsed::Done(after, _) = crate::protocol::kerberos::parse(said) else {
            panic!("the request is none any more");
        };
        let (before, after) = (format!("{before:?}"), format!("{after:?}"));
        assert!(
            before.contains("etypes: [18, 17]") && before.contains("padata: [1, 2, 16, 36, 38]"),
            "{before}"
        );
        assert!(
            after.contains("etypes: [18, 17]") && after.contains("padata: [1, 2, 16, 36, 38]"),
            "{after}"
        );
        assert!(after.contains("TERMSRV/") && after.contains(".EXAMPLE"), "{after}");
    }
}

#[test]
fn an_extended_error_stays_in_kerberos() {
    let status = [0x72, 0, 0, 0xc0, 0, 0, 0, 0, 1, 0, 0, 0];
    let error = [
        der(0xa0, &der(2, &[5])),
        der(0xa1, &der(2, &[30])),
        der(0xa4, &der(0x18, b"20260913024805Z")),
        der(0xa5, &der(2, &[7])),
        der(0xa6, &der(2, &[18])),
        der(0xa9, &der(0x1b, b"MEYER.EXAMPLE")),
        der(0xaa, &principal("krbtgt/MEYER.EXAMPLE")),
        der(0xac, &der(4, &padata(3, &status))),
    ];
    let message = der(0x7e, &sequence(&error));
    let (out, frames) = redacted(LinkType::ETHERNET, &[udp(88, &message)]);
    assert_clean(&out, &["meyer"], "the error");
    let Parsed::Done(parsed, _) = crate::protocol::kerberos::parse(&frames[0][42..]) else {
        panic!("the error is none any more");
    };
    assert!(
        format!("{parsed:?}").contains(&format!("status: Some({})", 0xc000_0072_u32)),
        "{parsed:?}"
    );
}

#[test]
fn kerberos_is_redacted_wherever_it_is_cut() {
    let message = tgs_request();
    let whole = udp(88, &message);
    for len in (42..whole.len()).step_by(3) {
        let (out, frames) = redacted(LinkType::ETHERNET, &[whole[..len].to_vec()]);
        assert_clean(
            &out,
            &["meyer", "anna", "EYER.E", "termsrv/rds"],
            &format!("the first {len} bytes"),
        );
        assert_unsealed(&out, &format!("the first {len} bytes"));
        assert_eq!(frames[0].len(), len);
    }
}

#[test]
fn what_is_no_kerberos_on_its_port_is_emptied() {
    for junk in [
        &b"zzkrbgarbage zzmeyer"[..],
        b"~0meyer",
        b"\x7e\x82\x00\x10\x30\x0d\x1b\x05meyer",
        b"n\x19jmeyermeyer",
    ] {
        let (out, _) = redacted(LinkType::ETHERNET, &[udp(88, junk)]);
        assert_clean(&out, &["meyer", "garbage"], "the datagram");
    }
    let behind = [der(0x6e, &sequence(&[der(0xa0, &der(2, &[5]))])), b"anna meyer".to_vec()].concat();
    let (out, _) = redacted(LinkType::ETHERNET, &[udp(88, &behind)]);
    assert_clean(&out, &["meyer", "anna"], "the datagram");
}

/// A name as DNS writes it.
fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(labels(name));
    message.extend([0, 12, 0, 1]);
    message
}

#[test]
fn what_follows_the_records_of_dns_is_emptied() {
    let mut message = question("rds.meyer.example");
    message.extend_from_slice(b"anna at meyer's");
    for junk in [&message[..], b"anna meyer", b"anna meyer and what else there is"] {
        let (out, frames) = redacted(LinkType::ETHERNET, &[udp(53, junk)]);
        assert_clean(&out, &["meyer", "anna"], "the datagram");
        assert_eq!(frames[0].len(), 42 + junk.len());
    }
}

#[test]
fn reverse_names_are_those_of_the_pseudonym() {
    let redactor = Redactor::with_key(*b"a key for tests, and only those.");
    let v6: std::net::Ipv6Addr = "2001:db8:1:2:215:5dff:fea1:b2c3".parse().unwrap();
    let reversed = |bits: u128| {
        let nibbles = format!("{bits:032x}");
        let nibbles: Vec<String> = nibbles.chars().rev().map(String::from).collect();
        format!("{}.ip6.arpa", nibbles.join("."))
    };
    let expected = reversed(redactor.pseudonyms.addresses.v6(v6).to_bits());
    let (_, frames) = redacted(LinkType::ETHERNET, &[udp(53, &question(&reversed(v6.to_bits())))]);
    assert_eq!(frames[0][42..], question(&expected));
    // The name of its network.
    let zone = |name: &str| name.split('.').skip(20).collect::<Vec<&str>>().join(".");
    let (_, frames) = redacted(LinkType::ETHERNET, &[udp(53, &question(&zone(&reversed(v6.to_bits()))))]);
    assert_eq!(frames[0][42..], question(&zone(&expected)));
    // In the room of three digits every number can be told.
    let [a, b, c, d] = redactor
        .pseudonyms
        .addresses
        .v4(std::net::Ipv4Addr::new(10, 177, 188, 199))
        .octets();
    let (_, frames) = redacted(LinkType::ETHERNET, &[udp(53, &question("199.188.177.10.in-addr.arpa"))]);
    assert_eq!(frames[0][42..], question(&format!("{d:03}.{c:03}.{b:03}.{a}.in-addr.arpa")));
    let (_, frames) = redacted(LinkType::ETHERNET, &[udp(53, &question("9.8.7.10.in-addr.arpa"))]);
    assert!(!frames[0][42..].windows(4).any(|part| part == [b'9', 1, b'8', 1]));
}

#[test]
fn of_an_unknown_protocol_no_word_is_left() {
    for (said, left) in [
        (&b"meyer01.meyer.example VAULT\r\npassword: secret\r\n"[..], &b""[..]),
        (b"annameyer", b""),
        (b"meyer\x01\x02\x03secret", b""),
        (b"SSH-2.0-MeyerVault_1\r\n", b"SSH-2.0"),
        (b"220 mail.meyer.example ESMTP\r\n", b"220 "),
    ] {
        let (out, frames) = redacted(LinkType::ETHERNET, &stream(4000, &[said]));
        assert_clean(&out, &["meyer", "anna", "vault", "secret"], "the stream");
        assert!(frames[1][54..].starts_with(left));
    }
}

#[test]
fn of_http_only_well_known_words_stay() {
    for (head, stays) in [
        (
            &b"HTTP/1.1 302 Moved for anna\r\nServer: meyersrv/1.2\r\n\r\n"[..],
            &["HTTP/1.1 302 "][..],
        ),
        (
            b"HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-HTTPAPI/2.0 (meyer)\r\n\r\n",
            &["HTTP/1.1 401 Unauthorized\r", "Microsoft-HTTPAPI/2.0 ("],
        ),
        (
            b"ANNA /x HTTP/1.1meyer\r\nUser-Agent: MS-RDGateway/1.0 anna/5\r\n\r\n",
            &[" HTTP/1.1", "User-Agent: MS-RDGateway/1.0 "],
        ),
        (
            b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n",
            &["HTTP/1.1 200 OK\r\nServer: nginx\r"],
        ),
    ] {
        let (out, frames) = redacted(LinkType::ETHERNET, &stream(8080, &[head]));
        assert_clean(&out, &["anna", "meyer"], "the head");
        let said = String::from_utf8_lossy(&frames[1][54..]).into_owned();
        assert!(
            said.len() == head.len() && stays.iter().all(|part| said.contains(part)),
            "{said}"
        );
    }
}

#[test]
fn an_address_in_the_place_of_a_name_is_that_of_the_host_or_nobodys() {
    let redactor = Redactor::with_key(*b"a key for tests, and only those.");
    for last in 100..=199 {
        let address = std::net::Ipv4Addr::new(203, 0, 113, last);
        let pseudonym = redactor.pseudonyms.addresses.v4(address).to_string();
        let head = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let (_, frames) = redacted(LinkType::ETHERNET, &stream(8080, &[head.as_bytes()]));
        let said = String::from_utf8_lossy(&frames[1][54..]).into_owned();
        let host = if pseudonym.len() == address.to_string().len() {
            &pseudonym
        } else {
            "0.100.100.100"
        };
        assert!(said.contains(&format!("Host: {host}\r")), "{said}");
    }
}

#[test]
fn a_certificate_on_a_side_channel_stays_one() {
    let mut syn = vec![0xff, 0xff, 0xff, 0xff, 0, 64, 0x18, 1];
    syn.resize(1_232, 0);
    let dates = sequence(&[der(0x17, b"261120191825Z"), der(0x17, b"270519191825Z")]);
    let name = sequence(&[der(
        0x31,
        &sequence(&[der(6, &[0x55, 4, 3]), der(0x0c, b"rds.meyer.example")]),
    )]);
    let certificate = sequence(&[sequence(&[name, dates.clone()])]);
    let [_, _, high, low] = (certificate.len() as u32 + 6).to_be_bytes();
    let [_, _, list_high, list_low] = (certificate.len() as u32 + 3).to_be_bytes();
    let [_, _, own_high, own_low] = (certificate.len() as u32).to_be_bytes();
    let message = [
        &[11, 0, high, low, 0, list_high, list_low, 0, own_high, own_low][..],
        &certificate,
    ]
    .concat();
    let record = [&[22, 3, 3], &(message.len() as u16).to_be_bytes()[..], &message].concat();
    let plain = [&[0, 0, 0, 1, 0, 64, 0, 8][..], &record, b"meyer's rest"].concat();
    // In version 3 the first byte of the record stands before everything.
    let mut swapped = [&[22, 4, 0x60, 1, 0, 1, 0, 0xe0][..], &record[1..], b"meyer's rest"].concat();
    swapped.truncate(8 + record.len() - 1 + 12);
    for data in [plain, swapped] {
        let (out, frames) = redacted(LinkType::ETHERNET, &[udp(3389, &syn), udp(3389, &data)]);
        assert_clean(&out, &["meyer"], "the side channel");
        let said = &frames[1][42..];
        assert_eq!((said.len(), &said[..13]), (data.len(), &data[..13]));
        assert!(said.windows(dates.len()).any(|part| part == dates), "the dates are gone");
    }
}
