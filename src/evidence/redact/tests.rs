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
