//! What recorders leave out, cut off and mix up, and what must not be made of it.

use rdpwhy::capture::{FrameNo, Timestamp};
use rdpwhy::diagnosis::Confidence;
use rdpwhy::packet::{Body, decode};
use rdpwhy::report::Report;

use crate::golden;
use crate::laws::{Kept, frames_of, judge};

/// How a capture is spoilt.
enum Spoilt {
    /// It begins with this frame.
    From(usize),
    /// It ends with this frame.
    Until(usize),
    /// This frame is not in it.
    Without(usize),
    /// The clock counts so many nanoseconds at a time.
    Clock(i64),
    /// Only what was sent from this port is in it.
    Sent(u16),
    /// Segments without a flag but ACK, and without payload, are filtered out.
    WithoutAcks,
    /// Another capture of the same event was merged into it.
    With(&'static str),
}

use Spoilt::{Clock, From, Sent, Until, With, Without, WithoutAcks};

fn frames(case: &str, file: &str) -> Vec<Kept> {
    frames_of(&golden::captures().join(case).join(file))
}

/// The source port and whether nothing but an acknowledgment is in a frame.
fn tcp(frame: &Kept) -> Option<(u16, bool)> {
    let frame = frame.frame(FrameNo::new(1));
    let packet = decode(&frame).ok()?;
    match &packet.body {
        Body::Tcp(segment) => Some((segment.src_port, segment.payload_len == 0 && segment.flags.0 == 0x10)),
        _ => None,
    }
}

impl Spoilt {
    fn spoil(&self, case: &str, frames: &[Kept]) -> Vec<Kept> {
        let numbered = || frames.iter().zip(1..);
        let keep = |is_kept: &dyn Fn(&Kept, usize) -> bool| -> Vec<Kept> {
            let kept = numbered().filter(|(frame, number)| is_kept(frame, *number));
            kept.map(|(frame, _)| frame.clone()).collect()
        };
        match self {
            From(first) => keep(&|_, number| number >= *first),
            Until(last) => keep(&|_, number| number <= *last),
            Without(lost) => keep(&|_, number| number != *lost),
            Sent(port) => keep(&|frame, _| tcp(frame).is_some_and(|(from, _)| from == *port)),
            WithoutAcks => keep(&|frame, _| !tcp(frame).is_some_and(|(_, bare)| bare)),
            Clock(step) => frames
                .iter()
                .map(|frame| {
                    let mut coarse = frame.clone();
                    coarse.at = Timestamp(frame.at.0 / step * step);
                    coarse
                })
                .collect(),
            With(other) => {
                let mut all = frames.to_vec();
                all.extend(self::frames(case, other));
                all.sort_by_key(|frame| frame.at);
                all
            }
        }
    }
}

fn told(report: &Report) -> (&'static str, Option<Confidence>) {
    (report.overall.cause.slug, report.overall.confidence)
}

/// What is in such a capture is enough to tell how the connection ended.
#[test]
fn spoilt_captures_tell_what_they_still_show() {
    const MS: i64 = 1_000_000;
    let cases: &[(&str, &str, Spoilt, &[&str])] = &[
        // With equal times the order of the frames counts.
        (
            "session-xrdp-killed",
            "client.pcapng",
            Clock(MS),
            &["session_closed_by_server"],
        ),
        (
            "session-lost-reconnected",
            "client.pcapng",
            Clock(MS),
            &["session_closed_by_server"],
        ),
        (
            "gateway-session-timeout",
            "client.pcapng",
            Clock(MS),
            &["session_closed_by_server"],
        ),
        // The receiver itself asks for what is missing; the SYN has no part in it.
        (
            "pmtu-session-1280-v6",
            "client.pcapng",
            From(4),
            &["path_loss", "pmtu_black_hole"],
        ),
        ("device-suricata-mcs", "server.pcapng", From(4), &["middlebox_reset"]),
        ("loss-30-dies", "client.pcapng", From(14), &["path_loss", "handshake_timeout"]),
        // Data and answers prove the handshake.
        ("timer-drop-350", "client.pcapng", Without(4), &["nat_mapping_lost"]),
        ("timer-reset-both-240", "client.pcapng", Without(4), &["idle_timeout_reset"]),
        ("path-loss-session-rst", "client.pcapng", Without(4), &["path_loss"]),
        // Each packet is there twice, and what is there once is the device's.
        ("inject-mimic", "client.pcapng", With("server.pcapng"), &["middlebox_reset"]),
        (
            "reject-answers-then-close",
            "client.pcapng",
            With("server.pcapng"),
            &["middlebox_reset"],
        ),
        (
            "fault-reject-session",
            "client.pcapng",
            With("server.pcapng"),
            &["middlebox_reset"],
        ),
        ("session-fin-healthy", "client.pcapng", With("server.pcapng"), &["completed"]),
    ];
    let mut wrong = 0;
    for (case, file, how, wanted) in cases {
        let report = judge(&how.spoil(case, &frames(case, file)), &[]);
        let (slug, _) = told(&report);
        if !wanted.contains(&slug) {
            wrong += 1;
            println!(
                "{case}/{file}: {slug}, not {}: {}",
                wanted.join(" or "),
                report.overall.summary
            );
        }
    }
    assert!(wrong == 0, "{wrong} of {} are wrong", cases.len());
}

/// What such a capture does not show is not `likely`.
#[test]
fn spoilt_captures_do_not_tell_what_they_do_not_show() {
    let cases: &[(&str, &str, Spoilt, &[&str])] = &[
        // The logon has only begun: what an accepted one goes on with may come.
        (
            "gateway-session-two-channels",
            "client.pcapng",
            Until(67),
            &["nla_logon_failed"],
        ),
        // A window of zero is an answer.
        ("client-takes-nothing", "client.pcapng", Until(132), &["path_loss"]),
        // Nobody knows what the other side said in the silence of this one.
        ("fault-reject-session", "client.pcapng", Sent(3389), &["idle_timeout_reset"]),
        ("genuine-host-firewall", "server.pcapng", Sent(3389), &["middlebox_reset"]),
        // A server that goes on after the end of licensing has not refused it.
        ("session-redirected", "client.pcapng", Until(49), &["licensing_failed"]),
        // Nobody knows who waited.
        ("slow-server-x224", "client.pcapng", WithoutAcks, &["aborted_by_client"]),
        ("pmtu-session-1450", "client.pcapng", WithoutAcks, &["completed"]),
    ];
    let mut wrong = 0;
    for (case, file, how, never) in cases {
        let report = judge(&how.spoil(case, &frames(case, file)), &[]);
        let (slug, confidence) = told(&report);
        let vanished = slug == "no_rdp";
        if vanished || (never.contains(&slug) && confidence > Some(Confidence::Possible)) {
            wrong += 1;
            println!("{case}/{file}: {slug} {confidence:?}: {}", report.overall.summary);
        }
    }
    assert!(wrong == 0, "{wrong} of {} are wrong", cases.len());
}
