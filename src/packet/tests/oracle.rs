//! The same frames as tshark reads them, field by field; skipped, visibly, where tshark or the captures are absent.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::capture::{Event, Frame, LinkType, OpenOptions, open};

use super::super::{Body, Packet, TcpFlags, decode, decode_checked};
use super::agreement::{agree, seeds};

/// Fields of tshark in the order in which [`ours`] writes them.
const FIELDS: [&str; 24] = [
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.id",
    "ip.flags.df",
    "ip.dsfield",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "ipv6.tclass",
    "ipv6.flow",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.len",
    "tcp.options.mss_val",
    "tcp.options.wscale.shift",
    "tcp.options.timestamp.tsval",
    "tcp.checksum.status",
    "udp.srcport",
    "udp.dstport",
];

/// What tshark reads of every frame of a capture, the innermost occurrence of each field; `None` where tshark is absent.
fn theirs(capture: &Path) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(capture)
        .args(["-n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=l"]);
    command.args([
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.defragment:FALSE",
        "-o",
        "ipv6.defragment:FALSE",
    ]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    // Whatever errors quote would be the innermost.
    command.args(["-Y", "frame", "-e", "icmp.type", "-e", "icmpv6.type"]);
    let out = command.output().ok()?;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Versions differ in the words for booleans and in the width of hexadecimal numbers.
    let value = |field: &str| match (field, field.strip_prefix("0x")) {
        ("True", _) => "1".to_owned(),
        ("False", _) => "0".to_owned(),
        (_, Some(hex)) => u64::from_str_radix(hex, 16).unwrap().to_string(),
        _ => field.to_owned(),
    };
    let rows = String::from_utf8_lossy(&out.stdout);
    Some(rows.lines().map(|row| row.split('|').map(value).collect()).collect())
}

fn ours(packet: &Packet<'_>) -> Vec<String> {
    let ip = &packet.ip;
    let none = String::new;
    let mut row = match ip.id {
        Some(id) => vec![
            ip.src.to_string(),
            ip.dst.to_string(),
            ip.ttl.to_string(),
            id.to_string(),
            u8::from(ip.df).to_string(),
            ip.tos.to_string(),
            none(),
            none(),
            none(),
            none(),
            none(),
        ],
        None => {
            let mut row = vec![none(); 6];
            row.extend([
                ip.src.to_string(),
                ip.dst.to_string(),
                ip.ttl.to_string(),
                ip.tos.to_string(),
                ip.flow_label.unwrap_or(0).to_string(),
            ]);
            row
        }
    };
    let text = |value: Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    match &packet.body {
        Body::Tcp(s) => row.extend([
            s.src_port.to_string(),
            s.dst_port.to_string(),
            s.seq.to_string(),
            s.ack.to_string(),
            s.flags.0.to_string(),
            s.window.to_string(),
            s.payload_len.to_string(),
            text(s.options.mss.map(u32::from)),
            text(s.options.window_scale.map(u32::from)),
            text(s.options.timestamps.map(|(value, _)| value)),
            // 0 bad, 1 good, 2 unverified.
            s.checksum_ok.map_or("2", |ok| if ok { "1" } else { "0" }).to_owned(),
            none(),
            none(),
        ]),
        Body::Udp(d) => {
            row.extend(vec![none(); 11]);
            row.extend([d.src_port.to_string(), d.dst_port.to_string()]);
        }
        _ => row.extend(vec![none(); 13]),
    }
    row
}

/// Compares one frame with tshark's row for it; answers whether it was compared.
fn compare(frame: &Frame<'_>, row: &[String], name: &str) -> bool {
    let quotes = row[FIELDS.len()..].iter().any(|kind| !kind.is_empty());
    let tunnelled = |packet: &Packet<'_>| packet.link.tunnel.is_some();
    match decode_checked(frame) {
        Err(_) => {
            assert!(
                row[0].is_empty() && row[6].is_empty(),
                "{name} frame {}: tshark reads IP",
                frame.no
            );
            true
        }
        Ok(packet) if quotes => {
            assert!(matches!(packet.body, Body::Icmp(_)), "{name} frame {}", frame.no);
            false
        }
        Ok(packet) => {
            let mut mine = ours(&packet);
            let mut row = row[..FIELDS.len()].to_vec();
            if tunnelled(&packet) {
                // The innermost occurrence of a field that only an outer packet has is the outer's.
                for (mine, row) in mine.iter_mut().zip(&mut row).filter(|(mine, _)| mine.is_empty()) {
                    row.clone_from(mine);
                }
            }
            let named = |row: Vec<String>| FIELDS.into_iter().zip(row).collect::<Vec<_>>();
            assert_eq!(named(mine), named(row), "{name} frame {}", frame.no);
            true
        }
    }
}

#[test]
fn the_corpus_reads_as_in_tshark() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: {} is absent", folder.display());
        return;
    };
    let captures = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(is_capture));
    let captures: Vec<PathBuf> = captures.collect();
    let (mut compared, mut ordinary, mut connections) = (0, 0, 0);
    for path in &captures {
        let Some(rows) = theirs(path) else {
            eprintln!("skipped: tshark is absent");
            return;
        };
        let mut source = open(path, OpenOptions::default()).unwrap();
        let mut rows = rows.iter();
        while let Some(event) = source.next().unwrap() {
            let Event::Frame(frame) = event else { continue };
            ordinary += usize::from(agree(&frame));
            compared += usize::from(compare(&frame, rows.next().unwrap(), &path.display().to_string()));
            connections += usize::from(matches!(decode(&frame).map(|p| p.body), Ok(Body::Tcp(s)) if s.flags.has(TcpFlags::SYN)));
        }
        assert_eq!(rows.next(), None, "{}: tshark reads more frames", path.display());
    }
    assert!(
        compared > 1000 && ordinary > 1000 && connections > 20,
        "{compared} compared, {ordinary} ordinary"
    );
}

fn is_capture(extension: &std::ffi::OsStr) -> bool {
    extension == "pcap" || extension == "pcapng"
}

#[test]
fn tunnels_made_by_hand_read_as_in_tshark() {
    let folder = tempfile::tempdir().unwrap();
    let mut links: Vec<LinkType> = seeds().iter().map(|(link, _)| *link).collect();
    links.dedup();
    for link in links {
        let path = folder.path().join(format!("{}.pcap", link.0));
        let frames: Vec<Vec<u8>> = seeds()
            .into_iter()
            .filter(|(of, _)| *of == link)
            .map(|(_, bytes)| bytes)
            .collect();
        std::fs::write(&path, pcap(link, &frames)).unwrap();
        let Some(rows) = theirs(&path) else {
            eprintln!("skipped: tshark is absent");
            return;
        };
        assert_eq!(rows.len(), frames.len());
        for (bytes, row) in frames.iter().zip(&rows) {
            // Labels do not say what they carry, and tshark guesses an Ethernet pseudowire only where it is told to.
            if row[0].is_empty() && row[6].is_empty() && bytes[12..14] == [0x88, 0x47] {
                continue;
            }
            compare(&super::frame(link, bytes), row, &format!("{link:?} {bytes:02x?}"));
        }
    }
}

/// A capture file in the classic format.
fn pcap(link: LinkType, frames: &[Vec<u8>]) -> Vec<u8> {
    let header: [u32; 6] = [0xA1B2_C3D4, 0x0004_0002, 0, 0, 65_535, link.0.into()];
    let mut out: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for frame in frames {
        let len = frame.len() as u32;
        out.extend([1_u32, 0, len, len].iter().flat_map(|word| word.to_le_bytes()));
        out.extend(frame);
    }
    out
}
