//! How much `rdpwhy watch` bears: a sender replays the shipped captures, mixed and with other addresses each time, as fast as is asked
//! for. Not part of an ordinary run, for it wants the machine to itself: `docs/live.md` has the command and the figures.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Watch, Wire, packets, shipped};
use crate::golden;

/// Bytes of the bulk packets of other traffic, on HTTPS and inside sessions.
const BULK: usize = 1_400;

/// Every IPv4 packet of the shipped captures, file by file.
fn mixed() -> Vec<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(golden::captures()).unwrap().flatten() {
        let Ok(inside) = fs::read_dir(folder.path()) else { continue };
        for file in inside.flatten().map(|entry| entry.path()) {
            let name = file.to_string_lossy().into_owned();
            let usable = name.ends_with(".pcapng") && !name.ends_with("-keys.pcapng");
            if !usable || !is_ethernet(&file) {
                continue;
            }
            let ipv4 = |frame: &Vec<u8>| frame.len() < 9_000 && frame.get(12..14) == Some(&[8, 0]);
            let frames: Vec<Vec<u8>> = packets(&file).into_iter().map(|(_, bytes)| bytes).filter(ipv4).collect();
            if !frames.is_empty() {
                files.push(frames);
            }
        }
    }
    assert!(files.len() > 20, "only {} captures can be replayed", files.len());
    files
}

fn is_ethernet(path: &std::path::Path) -> bool {
    use rdpwhy::capture::{LinkType, OpenOptions, open};
    let Ok(mut source) = open(path, OpenOptions::default()) else {
        return false;
    };
    while let Ok(Some(_)) = source.next() {}
    source.summary().link_types == [LinkType::ETHERNET]
}

/// The same conversation between other hosts: `round` goes into both addresses.
fn moved(frame: &[u8], round: u32) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let [_, high, middle, low] = round.to_be_bytes();
    for at in [26, 30] {
        if let Some(address) = frame.get_mut(at..at + 4) {
            address[0] ^= high;
            address[1] ^= middle;
            address[2] ^= low;
        }
    }
    frame
}

/// Sends `frames` at `rate` packets a second for as long as there are some; gives what it sent: packets, bytes, time.
fn send(wire: &Wire, rate: f64, frames: impl Iterator<Item = Vec<u8>>) -> (u64, u64, Duration) {
    let mut out = pcap::Capture::from_device(wire.near.as_str()).unwrap().open().unwrap();
    let began = Instant::now();
    let (mut sent, mut bytes) = (0_u64, 0_u64);
    for frame in frames {
        // Pacing in small groups: a sleep is coarser than the distance of two packets.
        if sent.is_multiple_of(64) {
            let due = Duration::from_secs_f64(sent as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        out.sendpacket(frame.as_slice()).unwrap();
        sent += 1;
        bytes += frame.len() as u64;
    }
    (sent, bytes, began.elapsed())
}

fn told(what: &str, (sent, bytes, time): (u64, u64, Duration), lines: &[Value]) {
    let seconds = time.as_secs_f64();
    let status = lines.iter().rev().find(|line| line["type"] == "status").unwrap();
    println!(
        "{what}: sent {sent} packets in {seconds:.1} s, {:.0} packets/s, {:.0} Mbit/s; {status}",
        sent as f64 / seconds,
        bytes as f64 * 8e-6 / seconds,
    );
    let memory: Vec<u64> = lines
        .iter()
        .filter(|line| line["type"] == "status")
        .filter_map(|line| Some(line["memory"].as_u64()? >> 20))
        .collect();
    println!("{what}: MiB of memory, second by second: {memory:?}");
}

/// Rounds of the mixed captures, without end.
fn rounds(files: &[Vec<Vec<u8>>]) -> impl Iterator<Item = Vec<u8>> {
    (1_u32..).flat_map(move |round| files.iter().flatten().map(move |frame| moved(frame, round)))
}

/// The mixed captures without end, each time between hosts of their own, so that each is an attempt of its own.
fn strangers(files: &[Vec<Vec<u8>>]) -> impl Iterator<Item = Vec<u8>> {
    let numbered = (1_u32..).zip(files.iter().cycle());
    numbered.flat_map(|(number, file)| file.iter().map(move |frame| moved(frame, number)))
}

fn bulk(number: usize) -> Vec<u8> {
    let ports = if number.is_multiple_of(2) {
        (50_000, 443)
    } else {
        (50_001, 3389)
    };
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 200, 0, 1], [10, 200, 0, 2], 64)
        .tcp(ports.0, ports.1, u32::try_from(number * BULK / 2).unwrap_or(0), 64_240)
        .ack(1);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[0x17; BULK - 54]).unwrap();
    bytes
}

const ARGUMENTS: &[&str] = &["--status", "1s", "--buffer", "256"];
/// Stands for the folder of evidence in arguments.
const FOLDER: &str = "FOLDER";

fn run(what: &str, arguments: &[&str], rate: f64, frames: impl Iterator<Item = Vec<u8>>) -> Option<()> {
    let wire = Wire::new()?;
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path().to_string_lossy().into_owned();
    let all: Vec<&str> = ARGUMENTS
        .iter()
        .chain(arguments)
        .copied()
        .map(|argument| if argument == FOLDER { folder.as_str() } else { argument })
        .collect();
    let watch = Watch::start(&wire, &all);
    let sent = send(&wire, rate, frames);
    let (_, lines) = watch.stop();
    told(what, sent, &lines);
    Some(())
}

#[test]
#[ignore = "a measurement, which wants the machine to itself"]
fn packets_per_second() {
    let files = mixed();
    run("100,000 packets/s", &[], 100_000.0, rounds(&files).take(2_000_000));
}

#[test]
#[ignore = "a measurement, which wants the machine to itself"]
fn bits_per_second() {
    let files = mixed();
    // Five packets of bulk for one of the captures come to 1,200 bytes on average.
    let mut captured = rounds(&files);
    let frames = (0..2_000_000_usize).map(move |n| if n % 6 == 0 { captured.next().unwrap() } else { bulk(n) });
    run("1 Gbit/s", &[], 105_000.0, frames);
}

#[test]
#[ignore = "a measurement, which wants the machine to itself"]
fn a_week_of_connections() {
    let files = mixed();
    // Two thousand connections a day, in three minutes: longer than any of them is waited for.
    let packets = files.iter().cycle().take(14_000).map(Vec::len).sum();
    run(
        "a week",
        &["--evidence", FOLDER, "--evidence-count", "50"],
        5_000.0,
        strangers(&files).take(packets),
    );
}

#[test]
#[ignore = "a measurement, which wants the machine to itself"]
fn ten_thousand_sessions() {
    let session: Vec<Vec<u8>> = packets(&shipped("session-open-healthy/client.pcapng"))
        .into_iter()
        .map(|(_, bytes)| bytes)
        .filter(|frame| frame.get(12..14) == Some(&[8, 0]))
        .collect();
    // One after the other they open, then all of them talk at once.
    let (opening, talk) = session.split_at(session.len() / 2);
    let opened = (1..=10_000_u32).flat_map(|number| opening.iter().map(move |frame| moved(frame, number)));
    let talking = talk
        .iter()
        .take(20)
        .flat_map(|frame| (1..=10_000_u32).map(move |number| moved(frame, number)));
    run("10,000 sessions", &[], 40_000.0, opened.chain(talking));
}
