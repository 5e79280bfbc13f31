//! What a capture that shows a part only must not claim: its first frames missing, one direction, a snap length, an early end.

use rdpwhy::diagnosis::Confidence;
use rdpwhy::report::Report;

use crate::golden;
use crate::laws::{Kept, frames_of, judge};

fn frames(file: &str) -> Vec<Kept> {
    frames_of(&golden::captures().join(format!("{file}.pcapng")))
}

fn of(frames: &[Kept]) -> Report {
    judge(frames, &[])
}

fn cause(report: &Report) -> &'static str {
    report.overall.cause.slug
}

/// The sender of an IPv4 packet in Ethernet.
fn sender(frame: &Kept) -> Option<[u8; 4]> {
    let is_v4 = frame.bytes.get(12..14) == Some(&[8, 0]);
    frame.bytes.get(26..)?.first_chunk().copied().filter(|_| is_v4)
}

/// The client of all cases.
const CLIENT: [u8; 4] = [10, 1, 1, 10];

fn from_client(file: &str) -> Vec<Kept> {
    let mut frames = frames(file);
    frames.retain(|frame| sender(frame) == Some(CLIENT));
    frames
}

fn from_others(file: &str) -> Vec<Kept> {
    let mut frames = frames(file);
    frames.retain(|frame| sender(frame) != Some(CLIENT));
    frames
}

#[test]
fn a_resolver_that_cannot_be_heard_is_not_silent() {
    for case in [
        "dns-query-lost-healthy",
        "dns-second-resolver-healthy",
        "dns-nxdomain-then-works",
    ] {
        let report = of(&from_client(&format!("{case}/client")));
        let lookups = report
            .attempts
            .iter()
            .filter(|attempt| attempt.verdict.cause.slug.starts_with("dns_"));
        assert_eq!(lookups.count(), 0, "{case}: {}", cause(&report));
    }
}

#[test]
fn an_announced_end_of_what_was_not_seen_to_begin_denies_nothing() {
    let all = frames("session-xrdp-rdp-logoff/client");
    // The ultimatum is frame 66.
    for begin in 40..66 {
        let report = of(&all[begin..]);
        assert_ne!(cause(&report), "server_denied", "from frame {}", begin + 1);
    }
    let report = of(&all[53..]);
    let told = &report.connections[0].verdict.evidence;
    assert!(
        told.iter().any(|evidence| evidence.text.contains("RN_USER_REQUESTED")),
        "{told:?}"
    );
}

#[test]
fn a_first_word_in_tls_is_no_remote_desktop() {
    assert_eq!(cause(&of(&from_others("not-rdp-tls-alert/client"))), "not_rdp_service");
    // Where the first word is not known to be the first nothing is certain.
    let report = of(&frames("not-rdp-tls-alert/client")[7..]);
    assert_eq!(report.overall.confidence, Some(Confidence::Possible), "{}", cause(&report));
}

#[test]
fn one_direction_does_not_tell_who_closed_first() {
    for case in ["session-xrdp-rdp-plain", "session-fallback-rdp"] {
        let report = of(&from_others(&format!("{case}/client")));
        assert_eq!(cause(&report), "capture_incomplete", "{case}");
    }
}

#[test]
fn an_alert_behind_the_servers_flight_is_not_about_cipher_suites() {
    let mut frames = from_others("tls-client-certificate-tls12/client");
    frames.iter_mut().for_each(|frame| frame.bytes.truncate(96));
    assert_eq!(cause(&of(&frames)), "tls_alert");
}

#[test]
fn a_slow_path_is_not_likely_one_way() {
    for file in ["client", "server"] {
        let frames = frames(&format!("slow-path-handshake/{file}"));
        for end in 3..frames.len().min(30) {
            let report = of(&frames[..end]);
            let likely = report.overall.confidence > Some(Confidence::Possible);
            assert!(cause(&report) != "one_way_path" || !likely, "{file}, {end} frames");
        }
    }
}

#[test]
fn two_syns_in_a_second_are_not_likely_dropped() {
    let frames = frames("syn-lost-healthy/client");
    let report = of(&frames[..4]);
    assert_eq!(
        (cause(&report), report.overall.confidence),
        ("syn_dropped", Some(Confidence::Possible))
    );
}

#[test]
fn the_other_family_of_addresses_gets_the_user_in_without_lookups_too() {
    let mut frames = frames("two-families-v6-dropped/client");
    let is_tcp = |frame: &Kept| match frame.bytes.get(12..14) {
        Some([8, 0]) => frame.bytes.get(23) == Some(&6),
        Some([0x86, 0xDD]) => frame.bytes.get(20) == Some(&6),
        _ => false,
    };
    frames.retain(is_tcp);
    assert_eq!(cause(&of(&frames)), "completed");
    // Another host speaks beside: whose success it is cannot be told.
    let mut other = frames.clone();
    other.retain(|frame| sender(frame).is_some());
    other.iter_mut().for_each(|frame| {
        for at in [26, 30] {
            if frame.bytes[at..at + 4] == CLIENT {
                frame.bytes[at + 3] += 1;
            }
        }
    });
    frames.extend(other);
    assert_eq!(cause(&of(&frames)), "syn_dropped");
}

#[test]
fn the_last_packets_of_a_close_are_no_lost_mapping() {
    for (case, begin) in [
        ("session-shadow-nla-wan", 69),
        ("session-fallback-nla", 94),
        ("session-shadow-nla-tls13", 83),
    ] {
        let report = of(&frames(&format!("{case}/client"))[begin..]);
        assert_eq!(cause(&report), "capture_incomplete", "{case}");
    }
}

#[test]
fn udp_that_stops_is_dropped_without_its_handshake_too() {
    for (file, begin) in [
        ("udp-dropped-both/server", 108),
        ("udp-dropped-to-client/server", 71),
        ("dtls-dropped/client", 24),
    ] {
        assert_eq!(cause(&of(&frames(file)[begin..])), "udp_dropped", "{file}");
    }
    // The same, wherever the capture of a conversation that goes well begins.
    for file in [
        "udp-session-healthy/client",
        "udp-v3-healthy/client",
        "udp-loss-healthy/client",
        "dtls-healthy/client",
    ] {
        let frames = frames(file);
        for begin in (0..frames.len()).step_by(5) {
            assert_ne!(cause(&of(&frames[begin..])), "udp_dropped", "{file} from {begin}");
        }
    }
}
