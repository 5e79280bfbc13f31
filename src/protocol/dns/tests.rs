//! DNS messages by hand, and the same messages as `simple-dns` reads and writes them.

use proptest::prelude::*;
use simple_dns::rdata::{A, AAAA, CNAME, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE};

use super::super::bytes::hex;
use super::*;

/// example.com IN A, with one compressed answer.
const ANSWER: &str = "abcd 8180 0001 0001 0000 0000 07 4578416d706c65 03 636f6d 00 0001 0001 \
    c00c 0001 0001 0000012c 0004 c0000201";

#[test]
fn a_compressed_answer() {
    let message = parse(&hex(ANSWER)).expect("message");
    assert_eq!((message.id, message.role, message.rcode), (0xABCD, Role::Response, 0));
    assert_eq!(
        message.questions,
        [Question {
            name: "example.com".into(),
            kind: RecordType::A
        }]
    );
    assert_eq!(
        message.answers,
        [Answer {
            name: "example.com".into(),
            ttl: 300,
            data: Data::A([192, 0, 2, 1].into())
        }]
    );
    assert_eq!((message.cut, message.truncated, message.is_no_data()), (None, false, false));
}

#[test]
fn a_cut_answer_keeps_its_head() {
    let bytes = hex(ANSWER);
    for end in HEADER..bytes.len() {
        let message = parse(&bytes[..end]).expect("header");
        assert!(message.cut.is_some(), "{end}");
        assert!(!message.is_no_data());
        assert!(message.answers.is_empty());
        assert_eq!(message.questions.len(), usize::from(end >= 29), "{end}");
    }
    assert!(parse(&bytes[..HEADER - 1]).is_err());
}

#[test]
fn no_data_is_not_a_name_error() {
    // The name exists and has no AAAA: rcode 0, a SOA in the authority section alone.
    let bytes = hex("0001 8580 0001 0000 0001 0000 0161 00 001c 0001 \
        00 0006 0001 00000e10 0016 00 00 00000001 00000002 00000003 00000004 00000005");
    let message = parse(&bytes).expect("message");
    assert_eq!(message.cut, None);
    assert!(message.is_no_data());
    let mut missing = bytes.clone();
    missing[3] |= 3;
    let message = parse(&missing).expect("message");
    assert_eq!((message.rcode, message.is_no_data()), (3, false));
    let mut truncated = bytes;
    truncated[2] |= 2;
    assert!(!parse(&truncated).expect("message").is_no_data());
}

#[test]
fn the_extended_response_code_keeps_its_number() {
    // BADCOOKIE (23): 7 in the header, 1 in the OPT record's TTL.
    let bytes = hex("0001 8187 0001 0000 0000 0001 0161 00 0001 0001 00 0029 04d0 01000000 0000");
    assert_eq!(parse(&bytes).expect("message").rcode, 23);
    let unassigned = hex("0001 818e 0000 0000 0000 0000");
    assert_eq!(parse(&unassigned).expect("message").rcode, 14);
}

#[test]
fn pointers_go_backward_only() {
    let to_itself = hex("0001 0100 0001 0000 0000 0000 c00c 0001 0001");
    assert!(parse(&to_itself).expect("header").cut.is_some());
    let forward = hex("0001 0100 0001 0000 0000 0000 c012 0001 0001 0161 00");
    assert!(parse(&forward).expect("header").cut.is_some());
    let long_chain: Vec<u8> = (0..200u16).flat_map(|n| (0xC000 | (n * 2 + 10)).to_be_bytes()).collect();
    let mut bytes = hex("0001 0100 00c8 0000 0000 0000");
    bytes.extend(long_chain);
    assert!(parse(&bytes).expect("header").cut.is_some());
}

#[test]
fn odd_labels_are_escaped() {
    let bytes = hex("0001 0100 0001 0000 0000 0000 04 612e5c20 01 c3 00 0021 0001");
    let message = parse(&bytes).expect("message");
    assert_eq!(message.questions[0].name, "a\\.\\\\\\032.\\195");
    assert_eq!(message.questions[0].kind, RecordType::SRV);
}

#[test]
fn counts_do_not_decide_the_memory() {
    let message = parse(&hex("0001 0100 ffff ffff ffff ffff")).expect("header");
    assert!(message.cut.is_some() && message.questions.is_empty());
    let mut many = hex("0001 8180 0000 0064 0000 0000");
    for n in 0..100u8 {
        many.extend(hex("00 0001 0001 00000000 0004 0a0000"));
        many.push(n);
    }
    let message = parse(&many).expect("message");
    assert_eq!(
        (message.answers.len(), message.left_out, message.cut),
        (KEPT, 100 - KEPT, None)
    );
}

#[test]
fn messages_on_a_stream() {
    let message = hex(ANSWER);
    let mut stream = u16::try_from(message.len()).expect("short").to_be_bytes().to_vec();
    stream.extend(&message);
    stream.push(0);
    assert_eq!(frame(&stream), Parsed::Done(&message[..], message.len() + 2));
    assert_eq!(frame(&stream[..message.len()]), Parsed::More);
    assert_eq!(frame(&[0]), Parsed::More);
    assert_eq!(frame(&[0, 5, 1, 2]), Parsed::NotMine);
}

#[test]
fn the_library_agrees_on_every_kind_of_record() {
    let mut packet = Packet::new_reply(7);
    packet.set_flags(PacketFlag::TRUNCATION);
    *packet.rcode_mut() = RCODE::ServerFailure;
    let name = Name::new_unchecked("_kerberos._tcp.DC._msdcs.corp.example");
    packet.questions.push(simple_dns::Question::new(
        name.clone(),
        QTYPE::TYPE(TYPE::SRV),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    let records = [
        RData::SRV(SRV {
            priority: 1,
            weight: 2,
            port: 88,
            target: Name::new_unchecked("DC1.corp.example"),
        }),
        RData::A(A { address: 0x0A00_0001 }),
        RData::AAAA(AAAA { address: 1 }),
        RData::CNAME(CNAME(Name::new_unchecked("other.corp.example"))),
    ];
    for data in records {
        packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, data));
    }
    for bytes in [
        packet.build_bytes_vec().expect("bytes"),
        packet.build_bytes_vec_compressed().expect("bytes"),
    ] {
        let message = parse(&bytes).expect("message");
        assert_eq!((message.cut, message.truncated, message.rcode), (None, true, 2));
        assert_eq!(message.questions[0].name, "_kerberos._tcp.dc._msdcs.corp.example");
        let data: Vec<_> = message.answers.iter().map(|answer| answer.data.clone()).collect();
        assert_eq!(
            data,
            [
                Data::Srv {
                    priority: 1,
                    weight: 2,
                    port: 88,
                    target: "dc1.corp.example".into()
                },
                Data::A([10, 0, 0, 1].into()),
                Data::Aaaa(1u128.into()),
                Data::Cname("other.corp.example".into()),
            ]
        );
        assert_eq!(message.addresses().count(), 2);
    }
}

proptest! {
    #[test]
    fn never_panics_and_reads_what_the_library_reads(
        bytes in proptest::collection::vec(any::<u8>(), 0..96),
        small in prop::bool::ANY,
    ) {
        let mut bytes = bytes;
        if small {
            // Counts that the bytes could hold make whole messages likelier.
            for (at, byte) in bytes.iter_mut().enumerate().take(HEADER).skip(4) {
                *byte = if at % 2 == 0 { 0 } else { *byte % 3 };
            }
        }
        let ours = parse(&bytes);
        prop_assert_eq!(ours.is_ok(), bytes.len() >= HEADER);
        if small && let (Ok(theirs), Ok(ours)) = (Packet::parse(&bytes), ours) && ours.cut.is_none() {
            prop_assert_eq!(ours.id, theirs.id());
            prop_assert_eq!(ours.questions.len(), theirs.questions.len());
            prop_assert_eq!(ours.answers.len(), theirs.answers.len());
        }
        if let Parsed::Done(_, used) = frame(&bytes) {
            prop_assert!(used <= bytes.len());
        }
    }
}
