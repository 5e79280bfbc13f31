//! Floods and scans stay inside the stated memory, and what was not kept is said.

use std::io::Write;
use std::process::{Command, Stdio};

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
    let mut record = Vec::with_capacity(16 + frame.len());
    let micros = u64::from(n) * 20;
    for field in [
        1_700_000_000 + (micros / 1_000_000) as u32,
        (micros % 1_000_000) as u32,
        frame.len() as u32,
        frame.len() as u32,
    ] {
        record.extend(field.to_le_bytes());
    }
    record.extend(frame);
    record
}

/// Feeds a flood to the program and returns the peak of its memory in KiB, and its report.
fn flood(make: impl Fn(u32) -> Vec<u8>) -> (u64, String) {
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
    for n in 0..FLOWS {
        input.write_all(&make(n)).expect("a frame");
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
