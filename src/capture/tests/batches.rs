//! Whichever way events are taken from a source, they are the same: one by one, in batches, in turns, and found ahead in a thread.

use std::io::Cursor;
use std::path::Path;

use crate::capture::{Event, Events, Frame, LinkType, Mark, OpenOptions, SourceSummary, open_stream, shipped};

/// Everything that a source gives: what is known of each event in words, and its bytes; and the summary.
type Everything = (Vec<(String, Vec<u8>)>, String);

fn mark(link: LinkType, bytes: &[u8]) -> Mark {
    [link.0.into(), bytes.iter().map(|byte| u64::from(*byte)).sum()]
}

/// Takes everything out of a source, in the turns for which `take` says so in batches.
fn all(bytes: &[u8], read_ahead: bool, take: impl Fn(usize) -> bool) -> Option<Everything> {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let mut source = open_stream(input, Path::new("x"), OpenOptions { read_ahead }).ok()?;
    source.mark_with(mark);
    let mut events = Vec::new();
    let frame = |frame: &Frame<'_>| {
        let options: Vec<_> = frame.options.0.into_iter().collect();
        let about = format!(
            "{} {:?} {:?} {} {} {:?} {options:?}",
            frame.no, frame.at, frame.link, frame.interface, frame.wire_len, frame.direction
        );
        (about, frame.bytes.to_vec())
    };
    for turn in 0.. {
        let event = match take(turn) {
            true => source.several(),
            false => source.next().map(|event| event.map(Events::One)),
        };
        match event {
            Ok(Some(Events::Batch(batch))) => {
                assert!((1..=crate::capture::Batch::MOST).contains(&batch.len()));
                assert!(batch.frames().zip(batch.marks()).all(|(a, b)| mark(a.link, a.bytes) == *b));
                assert!(batch.frames().zip(batch.times(0)).all(|(a, b)| a.at == b));
                let (first, last) = (batch.times(0).min(), batch.times(0).max());
                assert_eq!(batch.span(0, batch.len()), first.zip(last));
                events.extend(batch.frames().map(|one| frame(&one)));
            }
            Ok(Some(Events::One(Event::Frame(one)))) => events.push(frame(&one)),
            Ok(Some(Events::One(Event::Secrets(text)))) => events.push((String::new(), text.to_vec())),
            Ok(None) => break,
            Err(error) => {
                events.push((error.to_string(), Vec::new()));
                break;
            }
        }
    }
    Some((events, told(&source.summary())))
}

fn told(summary: &SourceSummary) -> String {
    format!("{summary:?}")
}

fn same_in_every_way(bytes: &[u8], name: &str) {
    let Some(expected) = all(bytes, false, |_| false) else {
        return;
    };
    for read_ahead in [false, true] {
        for (way, take) in [
            ("batches", (|_| true) as fn(usize) -> bool),
            ("turns", |turn| turn % 3 == 1),
            ("one by one", |_| false),
        ] {
            let got = all(bytes, read_ahead, take).expect("it could be opened before");
            assert_eq!(got.0.len(), expected.0.len(), "{name}: {way}, {read_ahead}");
            assert!(got == expected, "{name}: {way}, {read_ahead}: {} {}", got.1, expected.1);
        }
    }
}

#[test]
fn of_every_shipped_capture() {
    for path in shipped::all() {
        let bytes = std::fs::read(&path).expect("a readable file");
        // The long ones show nothing that the short ones do not.
        if bytes.len() < 40_000 {
            same_in_every_way(&bytes, &path.display().to_string());
        }
    }
}

#[test]
fn of_damaged_captures() {
    for path in shipped::all().iter().step_by(40) {
        let bytes = std::fs::read(path).expect("a readable file");
        let bytes = &bytes[..bytes.len().min(4_000)];
        for at in (0..bytes.len()).step_by(211) {
            same_in_every_way(&bytes[..at], "cut");
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0xA5;
            same_in_every_way(&damaged, "damaged");
        }
    }
}

#[test]
fn of_joined_and_long_captures() {
    // Frames of many sizes, some longer than a buffer's rest, in classic files one behind the other.
    let mut file = Vec::new();
    for part in 0..2u32 {
        file.extend([
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
        ]);
        for n in 0..900u32 {
            let len = 1 + n.wrapping_mul(2_654_435_761) % if n % 50 == 0 { 200_000 } else { 1_500 };
            for word in [1_700_000_000 + part, n, len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend((0..len).map(|at| (at ^ n) as u8));
        }
    }
    same_in_every_way(&file, "joined");
    let frames = all(&file, true, |_| true).expect("a capture").0;
    assert_eq!(frames.len(), 1800);
}
