//! Wireshark's editcap as a second opinion: the variants that it writes are read, and the commands that we give work.

use std::process::{Command, Stdio};

use super::*;

/// The directory with a pcap of ours and whether editcap is there to convert it.
fn capture() -> Option<(tempfile::TempDir, Outcome)> {
    if Command::new("editcap")
        .arg("-V")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("SKIPPED: editcap is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = pcap_of(30);
    std::fs::write(dir.path().join("plain.pcap"), &file).unwrap();
    Some((dir, read(&file)))
}

/// Converts `plain.pcap` to `name` in the format; false where this editcap does not know it.
fn editcap(dir: &Path, format: &str, name: &str) -> bool {
    let mut command = Command::new("editcap");
    command
        .current_dir(dir)
        .args(["-F", format, "plain.pcap", name])
        .stderr(Stdio::null());
    let done = command.status().unwrap().success();
    if !done {
        eprintln!("SKIPPED: editcap does not write {format}");
    }
    done
}

#[test]
fn every_pcap_that_editcap_writes_is_read() {
    let Some((dir, plain)) = capture() else { return };
    for format in [
        "pcap",
        "nsecpcap",
        "modpcap",
        "nokiapcap",
        "rh6_1pcap",
        "suse6_3pcap",
        "pcapng",
    ] {
        if editcap(dir.path(), format, "other.cap") {
            let outcome = read(&std::fs::read(dir.path().join("other.cap")).unwrap());
            let facts = |o: &Outcome| {
                o.frames
                    .iter()
                    .map(|f| (f.no, f.at, f.link, f.bytes.clone(), f.wire_len))
                    .collect::<Vec<_>>()
            };
            assert_eq!(facts(&outcome), facts(&plain), "{format}");
            assert_eq!(outcome.shortfalls(), [] as [&str; 0], "{format}");
        }
    }
}

#[test]
fn the_command_that_is_given_converts_the_file() {
    let Some((dir, plain)) = capture() else { return };
    for format in ["netmon1", "netmon2", "snoop", "ngsniffer", "ngwsniffer_2_0", "5views"] {
        if !editcap(dir.path(), format, "other.cap") {
            continue;
        }
        let file = std::fs::read(dir.path().join("other.cap")).unwrap();
        let stream = Box::new(Cursor::new(file));
        let Err(CaptureError::NeedsConversion { convert, .. }) = open_stream(stream, Path::new("other.cap"), DIRECT) else {
            panic!("{format} needs conversion")
        };
        let mut words = convert.split(' ');
        let status = Command::new(words.next().unwrap())
            .current_dir(dir.path())
            .args(words)
            .status()
            .unwrap();
        assert!(status.success(), "{convert}");
        let outcome = read(&std::fs::read(dir.path().join("other.pcapng")).unwrap());
        // Some of these formats pad short packets or round times; the number of packets stays.
        assert_eq!(outcome.frames.len(), plain.frames.len(), "{format}");
    }
}
