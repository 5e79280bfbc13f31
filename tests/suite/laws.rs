//! What must not change a verdict: the time of day, a mirror port that doubles every frame, other traffic in between.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use rdpwhy::capture::{
    self, Direction, Event, Events, Frame, FrameNo, InterfaceSummary, LinkType, OpenOptions, PacketOptions, Resolution,
    SectionSummary, Span, Timestamp, Writer,
};
use rdpwhy::diagnosis::Mechanism;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::model::Connection;
use rdpwhy::report::{self, Report};
use rdpwhy::transcript::{Phase, Transport};

use crate::golden::{self, Truth};

/// A frame that outlives its source.
#[derive(Clone)]
pub struct Kept {
    pub at: Timestamp,
    link: LinkType,
    interface: u32,
    pub bytes: Vec<u8>,
    wire_len: u32,
    direction: Option<Direction>,
}

impl Kept {
    pub fn frame(&self, no: FrameNo) -> Frame<'_> {
        Frame {
            no,
            at: self.at,
            link: self.link,
            interface: self.interface,
            bytes: &self.bytes,
            wire_len: self.wire_len,
            direction: self.direction,
            options: PacketOptions::default(),
        }
    }
}

pub fn frames_of(path: &Path) -> Vec<Kept> {
    let mut source = capture::open(path, OpenOptions::default()).expect("a capture");
    let mut frames = Vec::new();
    while let Some(event) = source.next().expect("a readable capture") {
        if let Event::Frame(frame) = event {
            frames.push(Kept {
                at: frame.at,
                link: frame.link,
                interface: frame.interface,
                bytes: frame.bytes.to_vec(),
                wire_len: frame.wire_len,
                direction: frame.direction,
            });
        }
    }
    frames
}

pub fn judge(frames: &[Kept], args: &[String]) -> Report {
    let mut examiner = Examiner::new(golden::options(args, Path::new("laws")));
    for (place, kept) in frames.iter().enumerate() {
        examiner.push(&kept.frame(FrameNo::new(place as u64 + 1)));
    }
    examiner.end_source(capture::SourceSummary::default(), None);
    examiner.finish()
}

/// What a verdict says, without frame numbers and times.
fn essence(report: &Report) -> String {
    let overall = &report.overall;
    match overall
        .connection
        .and_then(|id| report.connections.iter().find(|connection| connection.id == id))
    {
        Some(c) => format!(
            "{} in {} by {} through {}, {} -> {:?}",
            overall.cause.slug, c.phase, c.ended_by, c.mechanism, c.client, c.server
        ),
        None => overall.cause.slug.to_owned(),
    }
}

fn holds(law: &str, captures: &[(String, std::path::PathBuf, Truth)], change: impl Fn(&[Kept]) -> Vec<Kept>) {
    let mut broken = 0;
    for (name, path, truth) in captures {
        let frames = frames_of(path);
        let (before, after) = (
            essence(&judge(&frames, &truth.args)),
            essence(&judge(&change(&frames), &truth.args)),
        );
        if before != after {
            broken += 1;
            println!("{name}: {law} turns \"{before}\" into \"{after}\"");
        }
    }
    assert!(broken == 0, "{law} changes {broken} of {} verdicts", captures.len());
}

#[test]
fn another_time_of_day_changes_nothing() {
    // An hour: certificates of the laboratory are valid for longer than that, and are judged by the time of the capture.
    holds("another hour", &golden::truths(), |frames| {
        frames
            .iter()
            .map(|kept| Kept {
                at: kept.at.plus(Span::secs(3_600)),
                ..kept.clone()
            })
            .collect()
    });
}

/// A file of frames in the order in which they stand, looked at as a user's is.
fn judge_file(frames: &[Kept], args: &[String]) -> Report {
    let mut writer = Writer::new(Vec::new(), &SectionSummary::default()).expect("memory takes everything");
    let mut ids = HashMap::new();
    for kept in frames {
        let id = *ids.entry((kept.interface, kept.link)).or_insert_with(|| {
            let about = InterfaceSummary {
                link: kept.link,
                resolution: Resolution::NANOS,
                ..InterfaceSummary::default()
            };
            writer.interface(&about).expect("memory takes everything")
        });
        writer
            .frame(id, &kept.frame(FrameNo::default()), &[])
            .expect("memory takes everything");
    }
    let file = Cursor::new(writer.finish().expect("memory takes everything"));
    let mut source = capture::open_stream(Box::new(file), Path::new("laws"), OpenOptions::default()).expect("a capture");
    source.by_time();
    let mut examiner = Examiner::new(golden::options(args, Path::new("laws")));
    while let Some(event) = source.next().expect("a readable capture") {
        examiner.feed(event);
    }
    examiner.end_source(source.summary(), None);
    examiner.finish()
}

#[test]
fn frames_that_stand_later_in_the_file_than_their_time_change_nothing() {
    let mut broken = Vec::new();
    for (name, path, truth) in golden::truths() {
        let frames = frames_of(&path);
        // Every third frame waits in the queue of a card until its successor was written.
        let mut late = frames.clone();
        let mut moved = 0;
        for place in (0..late.len().saturating_sub(1)).step_by(3) {
            let wait = late[place + 1].at.since(late[place].at);
            if wait > Span(0) && wait <= Span::millis(50) {
                late.swap(place, place + 1);
                moved += 1;
            }
        }
        let (before, after) = (judge_file(&frames, &truth.args), judge_file(&late, &truth.args));
        if essence(&before) != essence(&after) {
            broken.push(format!("{name}: \"{}\" becomes \"{}\"", essence(&before), essence(&after)));
        }
        // Captures whose own times go back are ordered as they stand.
        let told = |report: &Report| {
            report
                .quality
                .iter()
                .filter_map(|note| note.text.split_once(" stand later"))
                .count()
        };
        if moved > 1 && frames.is_sorted_by_key(|kept| kept.at) && (told(&before), told(&after)) != (0, 1) {
            broken.push(format!("{name}: the notes do not tell of {moved} late frames"));
        }
    }
    assert!(broken.is_empty(), "{} differ:\n{}", broken.len(), broken.join("\n"));
}

/// RDP is known by what is said, and a connection on a port of its own loses nothing of its handshake.
#[test]
fn another_port_changes_nothing() {
    // What is said tells the port: not where nothing is, where it is cut, or was not captured from its beginning. What ICMP quotes keeps its port.
    let speaks = |report: &Report| {
        let tcp = || report.connections.iter().filter(|one| one.transport == Transport::Tcp);
        let said = |one: &Connection| one.phase > Phase::Tcp && one.metrics.bytes[0] > 0 && one.mechanism != Mechanism::Icmp;
        let whole = |one: &Connection| one.metrics.phases.first().is_some_and(|(phase, _)| *phase == Phase::Tcp);
        tcp().next().is_some() && tcp().all(|one| said(one) && whole(one))
    };
    let told = |report: &Report| format!("{} ({:?})", essence(report), report.overall.confidence);
    let (mut looked_at, mut broken) = (0, 0);
    for (name, path, truth) in golden::truths() {
        let mut frames = frames_of(&path);
        let report = judge(&frames, &truth.args);
        if !speaks(&report) || name.contains("snaplen") || name.contains("icmp") {
            continue;
        }
        looked_at += 1;
        for frame in &mut frames {
            let Some(at) = tcp_header(&frame.bytes) else { continue };
            for port in [at, at + 2] {
                if frame.bytes.get(port..port + 2) == Some(&3_389_u16.to_be_bytes()) {
                    frame.bytes[port..port + 2].copy_from_slice(&13_389_u16.to_be_bytes());
                }
            }
        }
        let (before, after) = (told(&report), told(&judge(&frames, &truth.args)));
        if before != after.replace(":13389", ":3389") {
            broken += 1;
            println!("{name}: another port turns \"{before}\" into \"{after}\"");
        }
    }
    assert!(looked_at > 300, "{looked_at}");
    assert!(broken == 0, "another port changes {broken} of {looked_at} verdicts");
}

/// Where the TCP header of a frame of Ethernet begins.
fn tcp_header(bytes: &[u8]) -> Option<usize> {
    match (bytes.get(12..14)?, bytes.get(23)?, bytes.get(20)?) {
        ([8, 0], 6, _) => Some(14 + usize::from(bytes[14] & 15) * 4),
        ([0x86, 0xDD], _, 6) => Some(54),
        _ => None,
    }
}

#[test]
fn a_mirror_port_that_doubles_every_frame_changes_nothing() {
    holds("doubling every frame", &golden::truths(), |frames| {
        frames
            .iter()
            .flat_map(|kept| {
                [
                    kept.clone(),
                    Kept {
                        at: kept.at.plus(Span::micros(3)),
                        ..kept.clone()
                    },
                ]
            })
            .collect()
    });
}

#[test]
fn a_mirror_that_sends_through_a_tunnel_changes_nothing() {
    // VXLAN as cloud mirrors send it: Ethernet, IPv4, UDP 4789, network 42, and the frame.
    const OUTER: usize = 14 + 20 + 8 + 8;
    let shell = |inside: usize| {
        let length = |less: usize| u16::try_from(inside + OUTER - less).unwrap_or(u16::MAX).to_be_bytes();
        let mut bytes = vec![0x02, 0, 0, 0, 0xAA, 1, 0x02, 0, 0, 0, 0xAA, 2, 0x08, 0, 0x45, 0];
        bytes.extend(length(14));
        bytes.extend([0, 7, 0, 0, 60, 17, 0, 0, 172, 16, 0, 1, 172, 16, 0, 2]);
        bytes.extend([0x9C, 0x40, 0x12, 0xB5]);
        bytes.extend(length(34));
        bytes.extend([0, 0, 0x08, 0, 0, 0, 0, 0, 42, 0]);
        bytes
    };
    holds("a tunnel", &golden::truths(), |frames| {
        frames
            .iter()
            .map(|kept| match kept.link {
                LinkType::ETHERNET => {
                    let mut bytes = shell(kept.wire_len as usize);
                    bytes.extend(&kept.bytes);
                    Kept {
                        bytes,
                        wire_len: kept.wire_len + OUTER as u32,
                        ..kept.clone()
                    }
                }
                _ => kept.clone(),
            })
            .collect()
    });
}

#[test]
fn strangers_in_between_change_nothing() {
    // Web traffic of another client, one packet after each packet of the case.
    let stranger = |n: u64| {
        let mut bytes = vec![
            0x02, 0, 0, 0, 0, 9, 0x02, 0, 0, 0, 0, 8, 0x08, 0, 0x45, 0, 0, 60, 0, n as u8, 0x40, 0, 61, 6, 0, 0,
        ];
        bytes.extend([198, 51, 100, (n % 250) as u8, 203, 0, 113, 7]);
        bytes.extend([0xC0, (n % 200) as u8, 0x1F, 0x90]);
        bytes.extend([
            0,
            0,
            1,
            n as u8,
            0,
            0,
            2,
            0,
            0x50,
            if n.is_multiple_of(3) { 0x02 } else { 0x18 },
            0x20,
            0,
            0,
            0,
            0,
            0,
        ]);
        bytes.extend(b"GET / HTTP/1.1\r\n\r\n\0\0");
        bytes
    };
    holds("other traffic", &golden::truths(), |frames| {
        let mut n = 0;
        frames
            .iter()
            .flat_map(|kept| {
                n += 1;
                let bytes = stranger(n);
                let wire_len = bytes.len() as u32;
                let link = LinkType::ETHERNET;
                [
                    kept.clone(),
                    Kept {
                        at: kept.at,
                        link,
                        interface: 0,
                        bytes,
                        wire_len,
                        direction: None,
                    },
                ]
            })
            .collect()
    });
}

/// Who sent the last segment with data, told by the port of the gateway (Ethernet, IPv4).
fn last_word_is_the_gateways(frames: &[Kept]) -> bool {
    let word = |bytes: &[u8]| {
        let (ip, tcp) = (bytes.get(14..)?, bytes.get(34..)?);
        let is_tcp = ip.first() == Some(&0x45) && ip.get(9) == Some(&6);
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let headers = 20 + usize::from(tcp.get(12)? >> 4) * 4;
        (is_tcp && total > headers).then(|| tcp.starts_with(&443_u16.to_be_bytes()))
    };
    frames.iter().rev().find_map(|frame| word(&frame.bytes)).unwrap_or(false)
}

/// A gateway answers one connection of a tunnel on the other: wherever the capture stops and stays silent, a tunnel whose last word is the gateway's
/// is owed nothing, and while the tunnel is being made nothing is said of an answer that may wait for the host.
#[test]
fn a_tunnel_over_two_connections_does_not_hang_where_the_capture_ends() {
    let path = golden::captures().join("gateway-session-two-channels/client.pcapng");
    let frames = frames_of(&path);
    let (mut answered, mut asked) = (0, 0);
    for end in 31..frames.len().min(60) {
        let mut cut = frames[..end].to_vec();
        let mut silence = cut.last().expect("a frame").clone();
        silence.at = silence.at.plus(Span::secs(15));
        // A gratuitous ARP of nobody: time passes.
        silence.bytes = [&[0xFF; 6][..], &[2, 0, 0, 0, 0, 0x99, 8, 6], &[0; 28]].concat();
        silence.wire_len = silence.bytes.len() as u32;
        let is_answered = last_word_is_the_gateways(&cut);
        cut.push(silence);
        let report = judge(&cut, &[]);
        let causes = report.connections.iter().map(|connection| connection.verdict.cause.slug);
        let hangs = causes.clone().any(|cause| cause == "handshake_timeout");
        let in_tunnel = report
            .connections
            .iter()
            .all(|connection| connection.phase == rdpwhy::transcript::Phase::Gateway);
        if is_answered || in_tunnel {
            assert!(!hangs, "{end}: {causes:?}", causes = causes.collect::<Vec<_>>());
        }
        answered += usize::from(is_answered);
        asked += usize::from(hangs);
    }
    assert!(answered > 10 && asked > 0, "{answered} {asked}");
}

#[test]
fn frames_in_any_order_are_survived() {
    for (place, (name, path, truth)) in golden::truths().iter().enumerate() {
        let mut frames = frames_of(path);
        // A shuffle that is the same in every run, another for every capture.
        let mut state = place as u64 + 1;
        for at in (1..frames.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            frames.swap(at, (state >> 33) as usize % (at + 1));
        }
        let report = judge(&frames, &truth.args);
        for connection in &report.connections {
            for evidence in &connection.verdict.evidence {
                let known = evidence.frame.number() >= 1 && evidence.frame.number() <= frames.len() as u64;
                assert!(known, "{name}: frame {} is cited of {}", evidence.frame, frames.len());
            }
        }
    }
}

#[test]
fn a_capture_without_rdp_stays_without() {
    let report = Examiner::new(Options::default()).finish();
    assert_eq!(report.overall.cause.slug, "no_rdp");
    assert!(report.connections.is_empty());
}

/// The whole report on a file, taken in batches or one frame at a time, read in a thread of its own or not.
fn whole_report(path: &Path, args: &[String], batches: bool, read_ahead: bool) -> String {
    let bytes = std::fs::read(path).expect("a readable file");
    let mut source = capture::open_stream(Box::new(Cursor::new(bytes)), path, OpenOptions { read_ahead }).expect("a capture");
    source.by_time();
    // Without marks, batches are looked at frame by frame.
    if read_ahead {
        source.mark_with(rdpwhy::examine::mark);
    }
    let mut examiner = Examiner::new(golden::options(args, path));
    loop {
        let events = match batches {
            true => source.several(),
            false => source.next().map(|event| event.map(Events::One)),
        };
        match events.expect("a readable capture") {
            Some(Events::Batch(batch)) => examiner.push_all(&batch),
            Some(Events::One(Event::Frame(frame))) => examiner.push(&frame),
            Some(Events::One(Event::Secrets(text))) => examiner.secrets(text),
            None => break,
        }
    }
    examiner.end_source(source.summary(), None);
    let report = examiner.finish();
    let json = report::FORMATS
        .iter()
        .find(|format| format.name == "json")
        .expect("the format");
    let mut text = Vec::new();
    (json.render)(&report, &report::View::default(), &mut text).expect("memory takes everything");
    String::from_utf8(text).expect("text")
}

#[test]
fn batches_and_threads_change_nothing() {
    for (name, path, truth) in golden::truths() {
        let expected = whole_report(&path, &truth.args, false, false);
        for (batches, read_ahead) in [(true, false), (true, true)] {
            let got = whole_report(&path, &truth.args, batches, read_ahead);
            assert!(got == expected, "{name}, batches: {batches}, read ahead: {read_ahead}");
        }
    }
}

/// Every attempt of a report, in the words of the contract.
fn attempts(reports: &[Report]) -> Vec<String> {
    let mut told: Vec<String> = reports
        .iter()
        .flat_map(|report| report.attempts.iter().map(move |attempt| (report, attempt)))
        .map(|(report, attempt)| {
            let connection = report.connection(attempt.decisive);
            let words = connection.map(|c| {
                format!(
                    "{} in {} by {} through {}",
                    c.verdict.cause.slug, c.phase, c.ended_by, c.mechanism
                )
            });
            format!(
                "{} -> {}: {}; {}",
                attempt.client,
                attempt.server,
                attempt.verdict.cause.slug,
                words.unwrap_or_default()
            )
        })
        .collect();
    told.sort();
    told
}

/// As on a live interface: the time goes on in silence, too, and what was judged is taken out every second.
fn judge_live(frames: &[Kept], args: &[String]) -> Vec<Report> {
    let mut examiner = Examiner::live(golden::options(args, Path::new("laws")));
    let source = capture::SourceSummary::default();
    let mut told = Vec::new();
    let mut clock = frames.first().map(|first| first.at).unwrap_or_default();
    for (place, kept) in frames.iter().enumerate() {
        while kept.at.since(clock) >= Span::secs(1) {
            clock = clock.plus(Span::secs(1));
            examiner.settle(clock);
            told.extend(examiner.drain(&source));
        }
        examiner.push(&kept.frame(FrameNo::new(place as u64 + 1)));
    }
    examiner.cut();
    told.extend(examiner.drain(&source));
    told
}

#[test]
fn verdicts_that_fall_one_by_one_are_those_of_the_whole() {
    let mut broken = Vec::new();
    for (name, path, truth) in golden::truths() {
        let frames = frames_of(&path);
        let whole = attempts(&[judge(&frames, &truth.args)]);
        let mut fallen = attempts(&judge_live(&frames, &truth.args));
        if name == "timer-reset-server-900/server.pcapng" {
            // The client speaks once more, half a minute after a device has reset the connection: live it has been judged by then, and
            // what follows of it is passed over.
            let late = whole.iter().find(|told| told.contains("nat_mapping_lost"));
            fallen.extend(late.cloned());
            fallen.sort();
        }
        if whole != fallen {
            broken.push(format!("{name}: {whole:#?} as a whole, {fallen:#?} as they fall"));
        }
    }
    assert!(broken.is_empty(), "{} differ:\n{}", broken.len(), broken.join("\n"));
}
