//! The settings of a Windows client and server (Standard RDP Security, so in clear), cut and compared with `ironrdp-pdu`.

use super::*;
use crate::protocol::bytes::hex;
use crate::protocol::mcs;
use proptest::prelude::*;

/// TPKT, X.224 and Connect-Initial of mstsc on build 22621.
const CONNECT_INITIAL: &str = "
    030001ce02f0807f658201c20401010401010101ff30190201220201020201000201010201000201010202ffff020102301902010102010102010102
    010102010002010102020420020102301c0202ffff0202fc170202ffff0201010201000201010202ffff02010204820161000500147c000181580008
    00100001c00044756361814a01c0ea00100008000004000301ca03aa090400005d580000490054002d00480045004c0050002d0043004c0049004500
    4e0054000000000004000000000000000c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000
    00000000000000000000000000000000000000000000000001ca01000000000018000f002f0f380033003700380034006300630038002d0030003100
    610036002d0034006400390035002d0039003800630038002d0033003800660038006600610065000000060000000000000000000000000000000000
    00000000000004c00c00150000000000000002c00c001b0000000000000003c0380004000000726470647200000000008080726470736e6400000000
    00c0636c6970726472000000a0c0647264796e766300000080c006c00800000000000ac0080000000000";

/// The answer of a Windows server, with its certificate cut out of SC_SECURITY.
const SETTINGS: &str = "
    000500147c00012a14760a01010001c0004d63446e45
    010c10000e0008000000000006000000
    030c1000eb030400ec03ed03ee03ef03
    020c140002000000020000002000000078010000
    040c0600f003
    080c080000000000";

fn user_data(bytes: &[u8]) -> &[u8] {
    match mcs::parse(&bytes[7..]) {
        Ok(mcs::Pdu::ConnectInitial { user_data }) => user_data,
        other => panic!("not a Connect-Initial: {other:?}"),
    }
}

#[test]
fn the_settings_of_a_windows_client() {
    let bytes = hex(CONNECT_INITIAL);
    let data = client(user_data(&bytes)).expect("settings");
    let core = data.core.expect("core");
    assert_eq!(core.client_name, "IT-HELP-CLIENT");
    assert_eq!(core.client_build, 22621);
    assert_eq!((core.desktop_width, core.desktop_height), (1024, 768));
    assert_eq!(core.server_selected_protocol, Some(Protocols(0)));
    let early = core.early_capabilities.expect("early capabilities");
    assert!(early.contains(ClientCapabilities::RNS_UD_CS_SUPPORT_ERRINFO_PDU));
    assert!(early.contains(ClientCapabilities::RNS_UD_CS_SUPPORT_HEARTBEAT_PDU));
    let names: Vec<&str> = data.channels.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["rdpdr", "rdpsnd", "cliprdr", "drdynvc"]);
    assert_eq!(data.encryption_methods, Some(EncryptionMethods(0x1B)));
    assert_eq!(data.multitransport, Some(MultitransportFlags(0)));
    assert!(data.message_channel);
    let cluster = data.cluster.expect("cluster");
    assert!(!cluster.redirected());
    assert_eq!(cluster.redirection_version(), 5);
}

#[test]
fn the_settings_of_a_windows_server() {
    // SC_SECURITY states lengths and its block ends early: what is there is read, and the walk goes on behind the block.
    let data = server(&hex(SETTINGS)).expect("settings");
    assert_eq!(data.result, 0);
    let core = data.core.expect("core");
    assert_eq!(core.version, 0x0008_000E);
    assert_eq!(core.client_requested_protocols, Some(Protocols(0)));
    assert_eq!(data.io_channel, Some(1003));
    assert_eq!(data.channels, [1004, 1005, 1006, 1007]);
    assert_eq!(data.message_channel, Some(1008));
    assert_eq!(data.multitransport, Some(MultitransportFlags(0)));
    let security = data.security.expect("security");
    assert_eq!(security.method, EncryptionMethods::ENCRYPTION_METHOD_128BIT);
    assert_eq!(security.level, EncryptionLevel::ENCRYPTION_LEVEL_CLIENT_COMPATIBLE);
    assert_eq!(security.certificate_length, 0x178);
}

#[test]
fn a_refused_conference_keeps_its_result() {
    let refused = SETTINGS
        .replacen("0101 00", "0101 20", 1)
        .replacen("14760a01010001c0", "14760a01012001c0", 1);
    assert_eq!(server(&hex(&refused)).map(|data| data.result), Ok(2));
}

#[test]
fn unknown_blocks_and_values_are_kept() {
    let data = client(&hex(
        "000500147c0001 1b 00080010 0001c000 44756361 12 0dc00600abcd 04c00c00ffffffff07000000",
    ))
    .expect("settings");
    assert_eq!(data.other, [(0xC00D, 2)]);
    assert_eq!(data.cluster.map(|it| it.redirection_version()), Some(15));
    assert_eq!(data.core, None);
}

#[test]
fn ironrdp_reads_the_same() {
    use ironrdp_pdu::x224::X224Data;
    let bytes = hex(CONNECT_INITIAL);
    let ours = client(user_data(&bytes)).expect("settings");
    let envelope: ironrdp_pdu::x224::X224<X224Data<'_>> = ironrdp_pdu::decode(&bytes).expect("decodes");
    let theirs: ironrdp_pdu::mcs::ConnectInitial = ironrdp_pdu::decode(&envelope.0.data).expect("decodes");
    let theirs = theirs.conference_create_request.into_gcc_blocks();
    let core = ours.core.expect("core");
    assert_eq!(core.client_name, theirs.core.client_name);
    assert_eq!(core.client_build, theirs.core.client_build);
    assert_eq!(core.version, theirs.core.version.0);
    assert_eq!(
        core.early_capabilities.map(|it| it.0),
        theirs.core.optional_data.early_capability_flags.map(|it| it.bits())
    );
    assert_eq!(
        core.server_selected_protocol.map(|it| it.0),
        theirs.core.optional_data.server_selected_protocol.map(|it| it.bits())
    );
    let names: Vec<String> = theirs
        .network
        .expect("network")
        .channels
        .iter()
        .filter_map(|it| it.name.as_str().map(str::to_owned))
        .collect();
    let ours_names: Vec<String> = ours.channels.into_iter().map(|it| it.name).collect();
    assert_eq!(ours_names, names);
}

#[test]
fn every_cut_is_survived_and_short_ones_are_flaws() {
    let bytes = hex(CONNECT_INITIAL);
    let whole = user_data(&bytes);
    for cut in 0..whole.len() {
        let result = client(&whole[..cut]);
        if cut < 20 {
            assert!(result.is_err(), "cut at {cut}");
        }
    }
}

proptest! {
    #[test]
    fn never_panics(at in 0usize..512, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = hex(CONNECT_INITIAL);
        let index = at % bytes.len();
        bytes[index] = value;
        if let Ok(mcs::Pdu::ConnectInitial { user_data }) = mcs::parse(&bytes[7..]) {
            let _ = client(user_data);
        }
        let _ = server(&[KEY, &tail].concat());
        let _ = client(&[KEY, &tail].concat());
    }
}
