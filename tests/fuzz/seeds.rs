//! Writes a seed corpus for every fuzz target from the captures that are shipped: whole files, frames, payloads.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rdpwhy::capture::{self, Event, OpenOptions};
use rdpwhy::packet::{self, Body};

/// Seeds of one target; more would only slow the start down.
const MOST: usize = 4_000;

/// Seeds of whole captures stay short: what matters of most attempts comes early, and long inputs are slow ones.
const LONGEST: usize = 6 * 1024;

/// The header of a pcap in little endian with nanoseconds, Ethernet.
const PCAP: [u8; 24] = [
    0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
];

struct Seeds {
    folder: PathBuf,
    known: HashSet<Vec<u8>>,
}

impl Seeds {
    fn new(target: &str) -> Seeds {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder).expect("a folder for seeds");
        Seeds { folder, known: HashSet::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && self.known.len() < MOST && self.known.insert(bytes.to_vec()) {
            fs::write(self.folder.join(format!("seed-{:05}", self.known.len())), bytes).expect("a seed");
        }
    }
}

fn main() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../captures");
    let [mut files, mut whole, mut frames, mut rdp, mut tls, mut udp, mut side, mut gateway] =
        ["capture", "examine", "packet", "rdp", "tls", "udp", "side", "gateway"].map(Seeds::new);
    for path in capture::expand(&captures).expect("the captures") {
        let bytes = fs::read(&path).expect("a capture");
        if bytes.len() < 16 * 1024 {
            files.add(&bytes);
        }
        if bytes.len() < LONGEST {
            whole.add(&bytes);
        }
        let mut beginning = PCAP.to_vec();
        let mut source = capture::open(&path, OpenOptions { read_ahead: false }).expect("a capture");
        while let Ok(Some(event)) = source.next() {
            let Event::Frame(frame) = event else { continue };
            // The first byte names the link type: 1 is Ethernet.
            frames.add(&[&[1], frame.bytes].concat());
            if beginning.len() + 16 + frame.bytes.len() < LONGEST {
                let (seconds, nanos) = (frame.at.0.div_euclid(1_000_000_000), frame.at.0.rem_euclid(1_000_000_000));
                for field in [seconds as u32, nanos as u32, frame.bytes.len() as u32, frame.wire_len] {
                    beginning.extend(field.to_le_bytes());
                }
                beginning.extend(frame.bytes);
            }
            match packet::decode(&frame).map(|packet| packet.body) {
                Ok(Body::Tcp(segment)) => {
                    for seeds in [&mut rdp, &mut tls, &mut gateway] {
                        seeds.add(segment.payload);
                    }
                    if [segment.src_port, segment.dst_port].iter().any(|port| matches!(port, 53 | 88)) {
                        side.add(segment.payload);
                    }
                }
                Ok(Body::Udp(datagram)) => {
                    udp.add(datagram.payload);
                    side.add(datagram.payload);
                }
                _ => {}
            }
        }
        whole.add(&beginning);
    }
}
