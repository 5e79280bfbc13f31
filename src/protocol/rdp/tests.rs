//! PDUs as Windows sends them, cut, damaged and compared with `ironrdp-pdu`.

use super::info::InfoFlags;
use super::license::{LicenseErrorCode, LicenseKind, StateTransition};
use super::network::AutoDetectResult;
use super::redirection::RedirectionFlags;
use super::session_info::{LogonNotification, NotificationKind, SessionInfo};
use super::share::{Content, ControlAction, DataKind, Pdu};
use super::*;
use crate::protocol::bytes::hex;
use proptest::prelude::*;

/// Client Info of mstsc; the high half of its security header is not cleared.
const CLIENT_INFO: &str = "
    400000c7090409043341030000003c000000000000000000410064006d0069006e006900730074007200610074006f0072004000610064002e006900
    74002d00680065006c0070002e006e0069006e006a006100000000000000000002001800310030002e00310030002e0030002e003100330031000000
    400043003a005c00570069006e0064006f00770073005c00730079007300740065006d00330032005c006d007300740073006300610078002e006400
    6c006c0000002c0100004500610073007400650072006e0020005300740061006e0064006100720064002000540069006d0065000000000000000000
    000000000000000000000000000000000b00000001000200000000000000000000004500610073007400650072006e0020004400610079006c006900
    6700680074002000540069006d0065000000000000000000000000000000000000000000000000000300000002000200000000000000c4ffffff0100
    0000860100000000640000002a004500610073007400650072006e0020005300740061006e0064006100720064002000540069006d0065000000";

/// Demand Active of a Windows server.
const DEMAND_ACTIVE: &str = "
    c9011100ea03ea0301000400b301524450001100000009000800ea03000001001800010003000002000000001d04000000000000010114000c000200
    0000400600000a0008000600000008000a000100190019001b00060003000e0008000100000002001c00200001000100010000040003000001000100
    001e010000001d00600004b91b8dca0f004f15589fae2d1a87e2d6000300010103122f777672bd6344afb3b73c9c6f788600040000000000a651439c
    3535ae42910ccdfce5760b5800040000000000d4cc44278a9d744e803c0ecbeea19c5400040000000000030058000000000000000000000000000000
    000040420f0001001400000001000000aa000101010101000000010000010000000101010101010101000101010100000000a106060040420f004042
    0f00010000000000000012000800010000000d0058007503000000000000000000000000000000000000000000000000000000000000000000000000
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000017000800ff00000018000b000200
    0000030c001a0008002a0030001c000c0052000000000000001e0008000000000000000000";

const VALID_CLIENT: &str = "80000000ff031000070000000200000004000000";
const SET_ERROR_INFO: &str = "160017000000ea030100000116002f0000000b000000";

fn read(text: &str) -> Message<'static> {
    let bytes: &'static [u8] = hex(text).leak();
    io_channel(bytes, Security::Enhanced).expect("parses")
}

fn share(text: &str) -> Vec<Pdu> {
    match read(text) {
        Message::Share(pdus) => pdus.map(|it| it.expect("parses")).collect(),
        other => panic!("not a Share PDU: {other:?}"),
    }
}

fn content(text: &str) -> (DataKind, Content) {
    match share(text).pop() {
        Some(Pdu::Data(data)) => (data.kind, data.content),
        other => panic!("not a data PDU: {other:?}"),
    }
}

#[test]
fn client_info_without_its_password() {
    let Message::ClientInfo(info) = read(CLIENT_INFO) else {
        panic!("not a Client Info");
    };
    assert_eq!(info.user, "Administrator@ad.it-help.ninja");
    assert_eq!((info.domain.as_str(), info.password_length), ("", 0));
    assert!(info.flags.contains(InfoFlags::INFO_UNICODE));
    let extended = info.extended.expect("extended");
    assert_eq!(extended.address, "10.10.0.131");
    assert_eq!(extended.address_family, 2);
    assert_eq!(extended.dir, "C:\\Windows\\system32\\mstscax.dll");
    assert_eq!(extended.auto_reconnect_length, 0);
}

#[test]
fn a_password_leaves_only_its_length() {
    // Domain "D", user "u", password "secret", nothing else; the text is not UTF-16.
    let message = read("40000000 00000000 00000000 0100 0100 0600 0000 0000 4400 7500 73656372657400 00 00");
    let Message::ClientInfo(info) = &message else {
        panic!("not a Client Info");
    };
    assert_eq!((info.domain.as_str(), info.user.as_str()), ("D", "u"));
    assert_eq!(info.password_length, 6);
    assert!(!format!("{message:?}").contains("secret"));
    assert_eq!(info.extended, None);
}

#[test]
fn licensing_success_and_refusal() {
    let Message::License(license) = read(VALID_CLIENT) else {
        panic!("not licensing");
    };
    let error = license.error.expect("error message");
    assert_eq!(error.code, LicenseErrorCode::STATUS_VALID_CLIENT);
    assert_eq!(error.transition, StateTransition::ST_NO_TRANSITION);
    assert_eq!(error.blob, Some((4, 0)));
    // flagsHi 0x0010, as a Windows 2003 server leaves it.
    assert_eq!(
        read("80021000ff0210000700000002000000 28140000"),
        read("80020000ff0210000700000002000000 28140000")
    );
    let Message::License(refusal) = read("80000000 ff031000 06000000 01000000 04000000") else {
        panic!("not licensing");
    };
    let error = refusal.error.expect("error message");
    assert_eq!(error.code.to_string(), "ERR_NO_LICENSE_SERVER");
    assert_eq!(error.transition.to_string(), "ST_TOTAL_ABORT");
    let Message::License(request) = read("80000000 01030800 aabbccdd") else {
        panic!("not licensing");
    };
    assert_eq!((request.kind, request.error), (LicenseKind::LICENSE_REQUEST, None));
}

#[test]
fn activation() {
    let [Pdu::DemandActive(demand)] = &share(DEMAND_ACTIVE)[..] else {
        panic!("not Demand Active");
    };
    assert_eq!(demand.source, "RDP");
    assert_eq!(demand.share_id, 0x0001_03EA);
    assert_eq!(demand.sets.len(), 17);
    assert_eq!(demand.sets[..3], [9, 1, 20]);
    assert_eq!(
        content("1a001700f103ea03010000010c00140000000400000000000000"),
        (
            DataKind::PDUTYPE2_CONTROL,
            Content::Control {
                action: ControlAction::CTRLACTION_COOPERATE
            }
        )
    );
    assert_eq!(
        content("1a001700ea03ea03010000021a00280000000000000003000400"),
        (DataKind::PDUTYPE2_FONTMAP, Content::Unread)
    );
    assert_eq!(share("04001600"), [Pdu::DeactivateAll]);
    assert_eq!(share("0c001600f103ea030100 0000"), [Pdu::DeactivateAll]);
}

#[test]
fn error_and_status_codes_stay_numbers() {
    assert_eq!(
        content(SET_ERROR_INFO),
        (DataKind::PDUTYPE2_SET_ERROR_INFO_PDU, Content::SetErrorInfo(0xB))
    );
    assert_eq!(
        content("160017000000ea030100000116002f000000efbeadde").1,
        Content::SetErrorInfo(0xDEAD_BEEF)
    );
    assert_eq!(
        content("160017000000ea030100000116003600000001040000").1,
        Content::StatusInfo(0x401)
    );
    assert_eq!(content("160017000000ea030100000116002f2000000b000000").1, Content::Compressed);
}

#[test]
fn several_share_pdus_in_one_payload() {
    let kinds: Vec<bool> = share(&[SET_ERROR_INFO, "04001600", SET_ERROR_INFO].concat())
        .iter()
        .map(|pdu| matches!(pdu, Pdu::Data(_)))
        .collect();
    assert_eq!(kinds, [true, false, true]);
    let bytes = hex(&[SET_ERROR_INFO, "1600170000"].concat());
    let Ok(Message::Share(mut pdus)) = io_channel(&bytes, Security::Enhanced) else {
        panic!("not a Share PDU");
    };
    assert!(matches!(pdus.next(), Some(Ok(_))));
    assert!(matches!(pdus.next(), Some(Err(Flaw { at: 22, .. }))));
    assert_eq!(pdus.next(), None);
}

#[test]
fn logon_notifications() {
    let padding = "00".repeat(570);
    let text = format!("62021700ea03ea03010000016202260000000300000012000200000008000000feffffff03000000{padding}");
    assert_eq!(
        content(&text).1,
        Content::SaveSessionInfo(SessionInfo::Extended {
            auto_reconnect: false,
            notification: Some(LogonNotification {
                kind: NotificationKind::LOGON_MSG_SESSION_CONTINUE,
                data: 3
            })
        })
    );
    let padding = "00".repeat(558);
    let text = format!(
        "60021700ea03ea0301000001600226000000 01000000 0100 12000000 02000000 06000000 04000000 {padding} 490054000000 61000000"
    );
    assert_eq!(
        content(&text).1,
        Content::SaveSessionInfo(SessionInfo::Logon {
            domain: "IT".to_owned(),
            user: "a".to_owned(),
            session_id: 2
        })
    );
    assert_eq!(
        content("1a001700ea03ea03010000011a00260000000900000000000000").1,
        Content::SaveSessionInfo(SessionInfo::Other { kind: 9 })
    );
}

#[test]
fn the_message_channel() {
    assert_eq!(
        message_channel(&hex("0040000000010808")),
        Ok(Message::Heartbeat(network::Heartbeat {
            period: 1,
            warning: 8,
            reconnect: 8
        }))
    );
    assert_eq!(
        message_channel(&hex("0020a063060100000000")),
        Ok(Message::AutoDetect(network::AutoDetect {
            response: true,
            sequence: 0,
            kind: 0,
            result: None
        }))
    );
    let Ok(Message::AutoDetect(report)) = message_channel(&hex("00100000 12000500c008 0a000000 e8030000 0c000000")) else {
        panic!("not auto-detection");
    };
    assert_eq!(
        report.result,
        Some(AutoDetectResult::Network {
            base_rtt: Some(10),
            bandwidth: Some(1000),
            average_rtt: 12
        })
    );
}

#[test]
fn the_invitation_to_udp_keeps_the_hash_of_its_cookie() {
    let Message::MultitransportRequest(request) = read("02000000 01000000 0100 0000 00000000000000000000000000000000") else {
        panic!("not a Multitransport Request");
    };
    assert_eq!((request.request_id, request.protocol), (1, 1));
    // SHA-256 of sixteen zero bytes.
    assert_eq!(request.cookie_hash[..4], [0x37, 0x47, 0x08, 0xff]);
    assert_eq!(
        read("04000000 01000000 04400080"),
        Message::MultitransportResponse(network::MultitransportResponse {
            request_id: 1,
            result: 0x8000_4004
        })
    );
}

#[test]
fn redirections_of_both_kinds_are_the_same() {
    let packet = "0004 3a00 07000000 15010000 06000000 6100 6200 0000 04000000 7500 0000 \
                  08000000 aabbccddeeff0011 06000000 680031000000";
    let Message::Redirection(standard) = read(&format!("00040000 {packet}")) else {
        panic!("not a redirection");
    };
    assert_eq!(standard.session_id, 7);
    assert_eq!(standard.address.as_deref(), Some("ab"));
    assert_eq!(standard.user.as_deref(), Some("u"));
    assert_eq!(standard.password_length, Some(8));
    assert_eq!(standard.fqdn.as_deref(), Some("h1"));
    assert!(standard.flags.contains(RedirectionFlags::LB_TARGET_FQDN));
    let length = 8 + hex(packet).len();
    let enhanced = share(&format!("{length:02x}001a00ea03 0000 {packet}"));
    assert_eq!(enhanced, [Pdu::Redirection(standard)]);
}

#[test]
fn standard_security_hides_and_tells_so() {
    let sealed = hex("08080000f1f9cd4c07845db933ebbe71");
    assert_eq!(
        io_channel(&sealed, Security::Standard),
        Ok(Message::Encrypted {
            flags: SecurityFlags(0x0808),
            length: 12
        })
    );
    assert_eq!(
        io_channel(&hex("010200000801000010ad6400"), Security::Standard),
        Ok(Message::SecurityExchange { length: 0x108 })
    );
    let clear = hex(&["00000000", SET_ERROR_INFO].concat());
    assert!(matches!(io_channel(&clear, Security::Standard), Ok(Message::Share(_))));
    assert!(matches!(
        io_channel(&hex("00010000aa"), Security::Standard),
        Ok(Message::Other { length: 1, .. })
    ));
}

#[test]
fn every_cut_of_a_complete_payload_is_a_flaw() {
    for text in [VALID_CLIENT, "0040000000010808", "0100000008010000"] {
        let whole = hex(text);
        // The blob of an error message may be missing.
        let end = if text == VALID_CLIENT { 16 } else { whole.len() };
        for cut in 0..end {
            assert!(message_channel(&whole[..cut]).is_err(), "{text} cut at {cut}");
        }
    }
    let whole = hex(SET_ERROR_INFO);
    for cut in 4..whole.len() {
        let Ok(Message::Share(mut pdus)) = io_channel(&whole[..cut], Security::Enhanced) else {
            panic!("not a Share PDU");
        };
        assert!(matches!(pdus.next(), Some(Err(_))), "cut at {cut}");
    }
}

#[test]
fn ironrdp_reads_the_same() {
    use ironrdp_pdu::rdp::headers::{ShareControlHeader, ShareControlPdu, ShareDataPdu};
    use ironrdp_pdu::rdp::{ClientInfoPdu, server_license::LicensePdu};

    let bytes = hex(CLIENT_INFO);
    let theirs: ClientInfoPdu = ironrdp_pdu::decode(&bytes).expect("decodes");
    let Message::ClientInfo(ours) = read(CLIENT_INFO) else {
        panic!("not a Client Info");
    };
    assert_eq!(theirs.client_info.credentials.username, ours.user);
    let extended = ours.extended.expect("extended");
    assert_eq!(theirs.client_info.extra_info.address, extended.address);
    assert_eq!(theirs.client_info.extra_info.dir, extended.dir);

    let bytes = hex(VALID_CLIENT);
    let LicensePdu::LicensingErrorMessage(theirs) = ironrdp_pdu::decode(&bytes).expect("decodes") else {
        panic!("not an error message");
    };
    assert_eq!(format!("{:?}", theirs.error_code), "StatusValidClient");

    let bytes = hex(DEMAND_ACTIVE);
    let theirs: ShareControlHeader = ironrdp_pdu::decode(&bytes).expect("decodes");
    let ShareControlPdu::ServerDemandActive(theirs_pdu) = theirs.share_control_pdu else {
        panic!("not Demand Active");
    };
    let [Pdu::DemandActive(ours)] = &share(DEMAND_ACTIVE)[..] else {
        panic!("not Demand Active");
    };
    assert_eq!(theirs.share_id, ours.share_id);
    assert_eq!(theirs_pdu.pdu.capability_sets.len(), ours.sets.len());

    let bytes = hex(SET_ERROR_INFO);
    let theirs: ShareControlHeader = ironrdp_pdu::decode(&bytes).expect("decodes");
    let ShareControlPdu::Data(data) = theirs.share_control_pdu else {
        panic!("not a data PDU");
    };
    assert!(matches!(data.share_data_pdu, ShareDataPdu::ServerSetErrorInfo(_)));
}

proptest! {
    #[test]
    fn never_panics(
        head in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..120),
        at in 0usize..600,
        value: u8,
    ) {
        let mut bytes = head.to_le_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(&body);
        let mut info = hex(CLIENT_INFO);
        let index = at % info.len();
        info[index] = value;
        let mut demand = hex(DEMAND_ACTIVE);
        let index = at % demand.len();
        demand[index] = value;
        for input in [&bytes, &body, &info, &demand] {
            for security in [Security::Enhanced, Security::Standard] {
                if let Ok(Message::Share(pdus)) = io_channel(input, security) {
                    prop_assert!(pdus.count() <= input.len());
                }
            }
            let _ = message_channel(input);
        }
    }
}
