//! Floods and scans stay inside the stated memory, and what was not kept is said.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use rdpwhy::capture::{self, Event, Frame, FrameNo, LinkType, OpenOptions, PacketOptions, SourceSummary, Timestamp};
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;

/// The bound of a SYN flood, in KiB of resident memory, whatever the number of flows.
const FLOOD_KIB: u64 = 128 * 1024;
/// How many flows the test sends; the benches send ten million.
const FLOWS: u32 = 400_000;

/// A pcap record with a TCP segment without payload.
fn record(n: u32, from: [u8; 4], to: [u8; 4], ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40];
    frame.extend((n as u16).to_be_bytes());
    frame.extend([0x40, 0, 60, 6, 0, 0]);
    frame.extend(from);
    frame.extend(to);
    frame.extend(ports.0.to_be_bytes());
    frame.extend(ports.1.to_be_bytes());
    frame.extend(n.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    recorded((START + i64::from(n) * MILLISECOND / 50, frame))
}

/// Feeds a flood to the program and returns the peak of its memory in KiB, and its report.
fn flood(make: impl Fn(u32) -> Vec<u8>) -> (u64, String) {
    feed((0..FLOWS).map(make))
}

/// Feeds records of a pcap file to the program and returns the peak of its memory in KiB, and its report.
fn feed(records: impl Iterator<Item = Vec<u8>>) -> (u64, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rdpwhy"))
        .args(["triage", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let mut input = std::io::BufWriter::with_capacity(1 << 20, child.stdin.take().expect("its input"));
    let mut header = Vec::new();
    for field in [0xA1B2_C3D4u32, 0x0004_0002, 0, 0, 65_535, 1] {
        header.extend(field.to_le_bytes());
    }
    input.write_all(&header).expect("the header");
    for record in records {
        input.write_all(&record).expect("a frame");
    }
    input.flush().expect("the last frames");
    // The program has read all but what its pipe holds; its peak so far is what the flood costs.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
    drop(input);
    let output = child.wait_with_output().expect("its end");
    (peak.unwrap_or(0), String::from_utf8(output.stdout).expect("text"))
}

fn spread(n: u32) -> [u8; 4] {
    let mixed = n.wrapping_mul(2_654_435_761);
    [20, (mixed >> 24) as u8, (mixed >> 12) as u8, n as u8]
}

#[test]
fn a_syn_flood_on_the_port_of_rdp_stays_within_bounds_and_is_counted() {
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("SKIPPED: this system does not tell the memory of a process");
        return;
    }
    let (peak, report) = flood(|n| record(n, spread(n), [10, 0, 0, 1], (1024 + (n % 60_000) as u16, 3389), 0x02));
    assert!(peak > 0 && peak < FLOOD_KIB, "{peak} KiB for {FLOWS} flows");
    assert!(report.contains("only counted"), "what was not kept is not said");
}

/// Refused connections are no half-open ones: a SYN that waits for its answer beside three thousand of them is not given up.
#[test]
fn a_waiting_syn_is_not_pushed_out_by_connections_that_ended() {
    let (client, server) = ([10, 0, 0, 7], [10, 0, 0, 1]);
    let waiting = record(0, client, server, (50_000, 3389), 0x02);
    let refused = (1..6_000).map(|n| match n % 2 {
        1 => record(n, spread(n), server, (50_000, 3389), 0x02),
        _ => record(n, server, spread(n - 1), (3389, 50_000), 0x14),
    });
    let (_, report) = feed(std::iter::once(waiting).chain(refused));
    assert!(report.contains("10.0.0.7"), "the client that waits is not told");
    assert!(!report.contains("half-open connections were only counted"));
}

#[test]
fn a_port_scan_stays_within_bounds() {
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("SKIPPED: this system does not tell the memory of a process");
        return;
    }
    let (peak, report) = flood(|n| {
        let host = (n / 1_000).to_be_bytes();
        record(
            n,
            [10, 9, 9, 9],
            [10, host[1], host[2], host[3]],
            (40_000, (n % 1_000) as u16 + 1),
            0x02,
        )
    });
    assert!(peak > 0 && peak < FLOOD_KIB, "{peak} KiB");
    assert!(report.contains("no_rdp"), "a scan of ports below 1000 is no Remote Desktop");
}

/// A session of a shipped capture that is played again and again between other hosts.
struct Session {
    frames: Vec<(i64, Vec<u8>)>,
}

impl Session {
    fn shipped(name: &str) -> Session {
        let path = crate::golden::captures().join(name).join("client.pcapng");
        let mut source = capture::open(&path, OpenOptions::default()).expect("a shipped capture");
        let mut frames = Vec::new();
        while let Some(event) = source.next().expect("a readable capture") {
            if let Event::Frame(frame) = event
                && frame.bytes.get(12..14) == Some(&[8, 0])
            {
                frames.push((frame.at.0, frame.bytes.to_vec()));
            }
        }
        let first = frames.first().expect("a session").0;
        frames.iter_mut().for_each(|(at, _)| *at -= first);
        Session { frames }
    }

    /// The frames of copy `n`, which begins at `start` nanoseconds: its hosts have addresses of their own, and checksums are right.
    fn copy(&self, n: u32, start: i64) -> impl Iterator<Item = (i64, Vec<u8>)> + '_ {
        self.frames.iter().map(move |(at, frame)| (start + at, moved(frame, n)))
    }
}

/// The same packet between the hosts of number `n`, with right checksums.
fn moved(frame: &[u8], n: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let [high, middle, upper, low] = n.to_be_bytes();
    let (client, server) = ([10 | high, 64 | middle, upper, low], [172, 16 | middle, upper, low]);
    let to_server = frame.get(36..38) == Some(&3389_u16.to_be_bytes());
    let (from, to) = if to_server { (client, server) } else { (server, client) };
    let addresses = [from, to].concat();
    for (at, new) in (26..34).step_by(2).zip(addresses.chunks(2)) {
        put(&mut frame, at, [new[0], new[1]], &[24, 50]);
    }
    frame
}

/// The same TCP or UDP packet between the same hosts, with the client's port of number `n` and a right checksum.
fn ported(frame: &[u8], n: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let to_server = frame.get(36..38) == Some(&3389_u16.to_be_bytes());
    let check = if frame[23] == 6 { 50 } else { 40 };
    let port = 20_000 + n as u16;
    put(&mut frame, if to_server { 34 } else { 36 }, port.to_be_bytes(), &[check]);
    frame
}

/// Writes a word and brings checksums up to date (RFC 1624).
fn put(frame: &mut [u8], at: usize, new: [u8; 2], checks: &[usize]) {
    let old = [frame[at], frame[at + 1]];
    for check in checks {
        let sum = [frame[*check], frame[check + 1]];
        let word = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
        let mut total = (word(sum) ^ 0xFFFF) + (word(old) ^ 0xFFFF) + word(new);
        total = (total & 0xFFFF) + (total >> 16);
        total = (total & 0xFFFF) + (total >> 16);
        frame[*check..check + 2].copy_from_slice(&(total as u16 ^ 0xFFFF).to_be_bytes());
    }
    frame[at..at + 2].copy_from_slice(&new);
}

fn push(examiner: &mut Examiner, no: u64, (at, bytes): &(i64, Vec<u8>)) {
    examiner.push(&Frame {
        no: FrameNo::new(no),
        at: Timestamp(*at),
        link: LinkType::ETHERNET,
        interface: 0,
        bytes,
        wire_len: bytes.len() as u32,
        direction: None,
        options: PacketOptions::default(),
    });
}

/// The report over `frames`.
fn report(frames: &[(i64, Vec<u8>)], options: Options) -> Report {
    let mut examiner = Examiner::new(options);
    for (no, frame) in (1..).zip(frames) {
        push(&mut examiner, no, frame);
    }
    examiner.end_source(SourceSummary::default(), None);
    examiner.finish()
}

const MILLISECOND: i64 = 1_000_000;
const START: i64 = 1_700_000_000_000 * MILLISECOND;

/// Sessions that begin one after the other, `apart` nanoseconds from start to start, in order of time.
fn crowd(name: &str, sessions: u32, apart: i64) -> Vec<(i64, Vec<u8>)> {
    let session = Session::shipped(name);
    let mut frames: Vec<(i64, Vec<u8>)> = (0..sessions)
        .flat_map(|n| session.copy(n, START + i64::from(n) * apart))
        .collect();
    frames.sort_by_key(|(at, _)| *at);
    frames
}

fn counts(report: &Report) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for attempt in &report.attempts {
        *counts.entry(attempt.verdict.cause.slug).or_insert(0) += 1;
    }
    counts
}

#[test]
fn where_memory_is_short_verdicts_stay_and_the_cost_is_said() {
    let frames = crowd("session-xrdp-tls13", 300, 100 * MILLISECOND);
    let roomy = report(&frames, Options::default());
    let mut options = Options::default();
    options.limits.flow_bytes = 2 << 20;
    options.limits.verdict_bytes = 0;
    let tight = report(&frames, options);
    assert_eq!(counts(&roomy), counts(&tight));
    assert!(roomy.shortfalls.is_empty(), "{:?}", roomy.shortfalls);
    let said = tight.shortfalls.join("\n");
    assert!(
        said.contains("judged before late packets could come") && said.contains("2 MiB"),
        "{said}"
    );
}

#[test]
fn however_many_threads_judge_the_report_is_the_same() {
    // Some at one time, which are judged together at the end; and one after the other, which are judged while others are read.
    for (sessions, apart) in [(150, 5 * MILLISECOND), (300, 1_000 * MILLISECOND)] {
        let frames = crowd("session-xrdp-tls13", sessions, apart);
        let [one, many] = [1, 5].map(|threads| {
            let options = Options {
                threads: NonZeroUsize::new(threads),
                ..Options::default()
            };
            format!("{:#?}", report(&frames, options))
        });
        assert!(one == many, "one thread and five do not say the same of {sessions} sessions");
    }
}

#[test]
fn a_client_that_never_rests_is_told_in_parts() {
    // The server refuses every connection, and the client asks again within the time in which that is one action.
    let frames: Vec<(i64, Vec<u8>)> = (0..300_u32)
        .flat_map(|n| {
            let at = START + i64::from(n) * 500 * MILLISECOND;
            let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
            let port = 20_000 + n as u16;
            let syn = record(n, client, server, (port, 3389), 0x02);
            let reset = record(n, server, client, (3389, port), 0x14);
            [(at, syn[16..].to_vec()), (at + MILLISECOND, reset[16..].to_vec())]
        })
        .collect();
    let report = report(&frames, Options::default());
    let most = Options::default().limits.attempt_connections;
    assert_eq!(report.connections.len(), 300);
    assert!(report.attempts.iter().all(|attempt| attempt.connections.len() <= most));
    let said = report.shortfalls.join("\n");
    assert!(said.contains("told in parts"), "{said}");
}

/// What happens again and again between two hosts, from port to port, `apart` nanoseconds from start to start, in order of time.
fn again(name: &str, times: u32, apart: i64) -> Vec<(i64, Vec<u8>)> {
    let session = Session::shipped(name);
    let transport = |frame: &[u8]| matches!(frame.get(23), Some(6 | 17));
    let mut frames: Vec<(i64, Vec<u8>)> = (0..times)
        .flat_map(|n| {
            let packets = session.frames.iter().filter(|(_, frame)| transport(frame));
            packets.map(move |(at, frame)| (START + i64::from(n) * apart + at, ported(frame, n)))
        })
        .collect();
    frames.sort_by_key(|(at, _)| *at);
    frames
}

#[test]
fn conversations_that_never_rest_are_told_in_parts() {
    let report = report(&again("udp-blocked-alone", 150, 200 * MILLISECOND), Options::default());
    let most = Options::default().limits.attempt_connections;
    assert_eq!(report.connections.len(), 150);
    assert!(report.attempts.iter().all(|attempt| attempt.connections.len() <= most));
    assert_eq!(counts(&report).into_iter().collect::<Vec<_>>(), [("udp_blocked", 3)]);
    let said = report.shortfalls.join("\n");
    assert!(said.contains("they were divided 2 times"), "{said}");
}

/// The bound of a capture in which every connection is Remote Desktop, in KiB of resident memory, whatever its length.
const CROWD_KIB: u64 = 64 * 1024;

#[test]
fn sessions_in_a_crowd_stay_within_bounds() {
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("SKIPPED: this system does not tell the memory of a process");
        return;
    }
    // A hundred sessions a second end, and each is watched for late packets: without a bound they would take some 60 MiB.
    let session = Session::shipped("session-xrdp-tls13");
    let frames = (0..6_000_u32).flat_map(|n| session.copy(n, START + i64::from(n) * 10 * MILLISECOND));
    let (peak, report) = feed(frames.map(recorded));
    assert!(peak > 0 && peak < CROWD_KIB, "{peak} KiB");
    assert!(report.contains("only counted"), "what was not kept is not said");
}

/// A pcap record with a frame.
fn recorded((at, frame): (i64, Vec<u8>)) -> Vec<u8> {
    let length = frame.len() as u32;
    let mut record = Vec::with_capacity(16 + frame.len());
    for field in [(at / 1_000_000_000) as u32, (at / 1_000 % 1_000_000) as u32, length, length] {
        record.extend(field.to_le_bytes());
    }
    record.extend(frame);
    record
}

/// One attempt has dozens of connections here: bounds that count attempts would let them take hundreds of MiB.
#[test]
fn a_guesser_of_passwords_stays_within_bounds() {
    if !std::path::Path::new("/proc/self/status").exists() {
        println!("SKIPPED: this system does not tell the memory of a process");
        return;
    }
    let frames = again("nla-error-logon-failure", 12_000, 2 * MILLISECOND);
    let (peak, report) = feed(frames.into_iter().map(recorded));
    assert!(peak > 0 && peak < CROWD_KIB, "{peak} KiB");
    assert!(report.contains("nla_logon_failed") && !report.contains("capture_incomplete"));
    assert!(report.contains("only counted") && report.contains("told in parts"));
}

#[test]
fn ten_thousand_sessions_at_one_time_are_followed_live() {
    const SESSIONS: u32 = 10_000;
    let session = Session::shipped("session-open-healthy");
    let mut examiner = Examiner::live(Options::default());
    // All begin before the first of them goes on.
    let (opening, talk) = session.frames.split_at(40);
    let mut no = 0;
    for part in [opening, talk] {
        for n in 0..SESSIONS {
            for (at, frame) in part {
                no += 1;
                let at = START + at + i64::from(n) * MILLISECOND / 10 + if part == talk { 2_000 * MILLISECOND } else { 0 };
                push(&mut examiner, no, &(at, moved(frame, n)));
            }
        }
    }
    assert_eq!(examiner.following(), SESSIONS as usize);
    assert_eq!(examiner.evicted(), 0);
    examiner.cut();
    let told = examiner.drain(&SourceSummary::default());
    assert_eq!(told.len(), SESSIONS as usize);
    assert!(told.iter().all(|report| report.overall.cause.slug == "established"));
}
