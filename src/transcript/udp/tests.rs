//! Tests of the recorder: conversations made by hand, and bytes at random.

use proptest::prelude::*;

use super::*;
use crate::flow::{Limits, Seen};
use crate::packet::{IpFacts, LinkFacts};
use crate::protocol::tls::handshake::HandshakeType;
use crate::transcript::Keys;

fn seen(no: u64, side: Side, len: usize) -> Seen {
    let ip = IpFacts {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        ttl: 64,
        id: None,
        df: true,
        tos: 0,
        flow_label: None,
        total_len: 28,
        fragment: false,
    };
    let millis = i64::try_from(no).unwrap_or(0) * 100;
    let at = Timestamp(millis * 1_000_000);
    Seen::of_datagram(
        FrameNo::new(no),
        at,
        side,
        &LinkFacts::default(),
        &ip,
        u32::try_from(len).unwrap_or(0),
    )
}

/// Plays datagrams, 100 ms apart.
fn play(datagrams: &[(Side, Vec<u8>)]) -> Heard {
    let mut recorder = UdpRecorder::new(&Limits::default(), Keys::default());
    for (no, (side, bytes)) in (1..).zip(datagrams) {
        recorder.datagram(*side, bytes, &seen(no, *side, bytes.len()));
    }
    recorder.finish()
}

const C: Side = Side::Client;
const S: Side = Side::Server;
const FIRST: u32 = 0x1000;

/// A SYN or SYN+ACK; the acknowledged number makes it the latter.
fn syn(acknowledges: Option<u32>, version: u16) -> Vec<u8> {
    let flags: u16 = if acknowledges.is_some() { 0x1005 } else { 0x1801 };
    let mut bytes = acknowledges.unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend([0, 64]);
    bytes.extend(flags.to_be_bytes());
    bytes.extend(FIRST.to_be_bytes());
    bytes.extend([0x04, 0xD0, 0x04, 0xD0]);
    if acknowledges.is_none() {
        bytes.extend([7; 16]);
        bytes.extend([0; 16]);
    }
    bytes.extend([0, 1]);
    bytes.extend(version.to_be_bytes());
    bytes.resize(1232, 0);
    bytes
}

/// Data number `number`, sent as datagram `coded`, that acknowledge `heard` and `more` before it.
fn data(heard: u32, more: u8, coded: u32, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = heard.to_be_bytes().to_vec();
    bytes.extend([0, 64, 0, 0x0C, 0, 1, more, 0]);
    bytes.extend(coded.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn sealed_tls() -> Vec<u8> {
    let mut record = vec![23, 3, 3, 0, 40];
    record.resize(45, 0xEE);
    record
}

#[test]
fn the_opening_is_kept_with_its_repetitions() {
    let heard = play(&[
        (C, syn(None, 2)),
        (C, syn(None, 2)),
        (S, syn(Some(FIRST), 2)),
        (C, data(FIRST, 0, FIRST + 1, FIRST + 1, &[22, 3, 1])),
    ]);
    assert_eq!(heard.channel, Channel::RdpUdp);
    assert_eq!((heard.opening.syns.len(), heard.opening.syn_acks.len()), (2, 1));
    assert_eq!(heard.opening.syns[0].correlation_id, Some([7; 16]));
    assert_eq!(heard.opening.opened.map(|seen| seen.no), Some(FrameNo::new(4)));
}

#[test]
fn a_stream_is_read_in_order_and_its_repetitions_are_counted() {
    let record = sealed_tls();
    let (one, two) = record.split_at(20);
    let heard = play(&[
        (C, syn(None, 2)),
        (S, syn(Some(FIRST), 2)),
        (C, data(FIRST, 0, FIRST + 2, FIRST + 2, two)),
        (C, data(FIRST, 0, FIRST + 3, FIRST + 1, one)),
        (C, data(FIRST, 0, FIRST + 4, FIRST + 1, one)),
        (S, data(FIRST + 4, 2, FIRST + 1, FIRST + 1, &sealed_tls())),
    ]);
    assert_eq!(heard.moments.iter().count(), 2, "one record of each side");
    assert_eq!(
        (
            heard.ledger.client.datagrams,
            heard.ledger.client.repeats,
            heard.ledger.client.arrived
        ),
        (3, 1, 3)
    );
    assert!(!heard.ledger.client.rtt.is_empty());
    assert!(heard.stalled.client.is_none());
}

#[test]
fn data_that_never_come_leave_others_waiting() {
    let mut datagrams = vec![(C, syn(None, 2)), (S, syn(Some(FIRST), 2))];
    datagrams.extend((2..7).map(|number| (S, data(FIRST, 0, FIRST + number, FIRST + number, &sealed_tls()))));
    let stalled = play(&datagrams).stalled.server.expect("a hole");
    assert_eq!(
        (stalled.count, stalled.first.no, stalled.last.no),
        (5, FrameNo::new(3), FrameNo::new(7))
    );
}

/// A DTLS record in clear with one handshake fragment.
fn handshake(kind: u8, message: u16, body: &[u8], offset: usize, part: &[u8]) -> Vec<u8> {
    let mut fragment = vec![kind];
    let three = |n: usize| u32::try_from(n).unwrap_or(0).to_be_bytes()[1..].to_vec();
    fragment.extend(three(body.len()));
    fragment.extend(message.to_be_bytes());
    fragment.extend(three(offset));
    fragment.extend(three(part.len()));
    fragment.extend(part);
    let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(u16::try_from(fragment.len()).unwrap_or(0).to_be_bytes());
    record.extend(fragment);
    record
}

/// The body of a ClientHello of DTLS 1.2.
fn client_hello() -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend([1; 32]);
    body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]);
    body
}

#[test]
fn repetitions_and_missing_parts_of_a_flight_are_told() {
    let hello = client_hello();
    let certificate = vec![0; 600];
    let heard = play(&[
        (C, handshake(1, 0, &hello, 0, &hello)),
        (S, handshake(2, 0, &[0; 70], 0, &[0; 70])),
        (S, handshake(11, 1, &certificate, 0, &certificate[..200])),
        (S, handshake(14, 2, &[], 0, &[])),
        (C, handshake(1, 0, &hello, 0, &hello)),
        (S, handshake(11, 1, &certificate, 0, &certificate[..200])),
    ]);
    assert_eq!(heard.channel, Channel::Dtls);
    assert_eq!((heard.holes.client, heard.holes.server), (0, 1));
    let again: Vec<_> = heard
        .repeats
        .iter()
        .map(|repeat| (repeat.seen.no.number(), repeat.kind))
        .collect();
    assert_eq!(
        again,
        [(5, Some(HandshakeType::CLIENT_HELLO)), (6, Some(HandshakeType::CERTIFICATE))]
    );
}

#[test]
fn other_datagrams_stay_unknown() {
    let log: Vec<_> = (0..20).map(|_| (C, b"<134>host app: a line of a log".to_vec())).collect();
    assert_eq!(play(&log).channel, Channel::Unknown);
    let zeros: Vec<_> = (0..20).map(|_| (C, vec![0; 64])).collect();
    assert_eq!(play(&zeros).channel, Channel::Unknown);
}

#[test]
fn a_conversation_without_its_syn_is_taken_for_what_it_can_be() {
    let middle: Vec<_> = (1..12)
        .map(|n| {
            (
                if n % 2 == 0 { C } else { S },
                data(FIRST + n, 0, FIRST + n, FIRST + n, &sealed_tls()),
            )
        })
        .collect();
    assert_eq!(play(&middle).channel, Channel::RdpUdpUnproven);
}

#[test]
fn another_syn_begins_another_connection() {
    let mut recorder = UdpRecorder::new(&Limits::default(), Keys::default());
    let first = syn(None, 2);
    recorder.datagram(C, &first, &seen(1, C, first.len()));
    assert!(!recorder.starts_over(C, &first), "a repetition");
    let mut other = first.clone();
    other[11] ^= 1;
    assert!(recorder.starts_over(C, &other));
}

proptest! {
    #[test]
    fn no_conversation_makes_it_panic(
        version in prop_oneof![Just(1_u16), Just(2), Just(0x0101), Just(9)],
        open: bool,
        rest in proptest::collection::vec((any::<bool>(), 0_u8..5, proptest::collection::vec(any::<u8>(), 0..80)), 0..40),
    ) {
        let mut datagrams = Vec::new();
        if open {
            datagrams.push((C, syn(None, version)));
            datagrams.push((S, syn(Some(FIRST), version)));
        }
        for (client, kind, bytes) in rest {
            let side = if client { C } else { S };
            let number = FIRST.wrapping_add(u32::from(bytes.first().copied().unwrap_or(0)));
            datagrams.push((side, match kind {
                0 => data(number, 3, number, number, &bytes),
                1 => handshake(bytes.first().copied().unwrap_or(1), u16::from(kind), &bytes, 0, &bytes),
                2 => [&[23, 0xFE, 0xFD, 0, 1][..], &bytes].concat(),
                _ => bytes,
            }));
        }
        let heard = play(&datagrams);
        prop_assert!(heard.opening.syns.len() <= 16);
        prop_assert!(heard.repeats.len() <= 64);
    }
}
