//! Slices and redacted slices of every capture: the same verdict, and nothing that was to be left out.

use std::io::Cursor;
use std::path::Path;

use rdpwhy::capture::{self, Event, OpenOptions, SectionSummary, Source};
use rdpwhy::evidence::raw;
use rdpwhy::evidence::redact::Redactor;
use rdpwhy::evidence::select::Selection;
use rdpwhy::evidence::slice::{self, Notes, Origin};
use rdpwhy::examine::Examiner;
use rdpwhy::report::Report;

use crate::golden;

/// What a verdict turns on.
fn essence(report: &Report) -> [String; 4] {
    let connection = report.overall.connection.and_then(|id| report.connection(id));
    let word = |word: Option<&'static str>| word.unwrap_or("-").to_owned();
    [
        report.overall.cause.slug.to_owned(),
        word(connection.map(|connection| connection.phase.slug())),
        word(connection.map(|connection| connection.ended_by.slug())),
        word(connection.map(|connection| connection.mechanism.slug())),
    ]
}

fn source_of(bytes: Vec<u8>) -> Box<dyn Source + Send> {
    capture::open_stream(
        Box::new(Cursor::new(bytes)),
        Path::new("slice.pcapng"),
        OpenOptions::default(),
    )
    .unwrap()
}

fn examine(bytes: Vec<u8>, args: &[String]) -> Report {
    let mut examiner = Examiner::new(golden::options(args, Path::new("slice.pcapng")));
    let mut source = source_of(bytes);
    while let Some(event) = source.next().unwrap() {
        match event {
            Event::Frame(frame) => examiner.push(&frame),
            Event::Secrets(text) => examiner.secrets(text),
        }
    }
    examiner.end_source(source.summary(), None);
    examiner.finish()
}

/// The copy of the attempt that the report is about, and its slice.
fn slice_of(path: &Path, report: &Report) -> Option<(Vec<u8>, Vec<u8>)> {
    let attempt = report.overall.attempt?;
    let selection = Selection::of(report, attempt)?;
    let mut source = capture::open(path, OpenOptions::default()).unwrap();
    let mut copy = Vec::new();
    let (_, copied) = raw::copy(&mut *source, &mut copy, 0, b"", |frame| selection.takes(frame), |_| ()).unwrap();
    let notes = Notes::of(report, report.attempt(attempt)?, &[], "rdpwhy");
    let mut slice = Vec::new();
    let about = SectionSummary::default();
    slice::annotate(
        &mut *source_of(copy.clone()),
        &mut slice,
        &notes,
        &copied.secrets,
        &about,
        Origin::Kept,
        "rdpwhy",
    )
    .unwrap();
    Some((copy, slice))
}

#[test]
fn the_slice_of_every_capture_gets_the_same_verdict() {
    let only = std::env::var("RDPWHY_CASE").unwrap_or_default();
    let mut failed = 0;
    let mut looked = 0;
    for (name, path, truth) in golden::truths().into_iter().filter(|(name, _, _)| name.contains(&only)) {
        let report = golden::examine(&path, &truth.args);
        let Some((_, slice)) = slice_of(&path, &report) else {
            continue;
        };
        looked += 1;
        let (before, after) = (essence(&report), essence(&examine(slice, &truth.args)));
        if before != after {
            failed += 1;
            println!("{name}: {before:?} became {after:?}");
        }
    }
    assert!(looked > 0 && failed == 0, "{failed} of {looked} slices are judged otherwise");
}

/// The redacted copy of a slice, and who knows the pseudonyms.
fn redacted(copy: &[u8]) -> (Vec<u8>, Redactor) {
    let mut redactor = Redactor::with_key(*b"a key for tests, and only those.");
    redactor.learn(&mut *source_of(copy.to_vec()), &mut |_| ()).unwrap();
    let (out, _) = redactor
        .rewrite(&mut *source_of(copy.to_vec()), Vec::new(), &SectionSummary::default())
        .unwrap();
    (out, redactor)
}

#[test]
fn the_redacted_slice_of_every_capture_gets_the_same_verdict() {
    let only = std::env::var("RDPWHY_CASE").unwrap_or_default();
    let mut failed = 0;
    let mut looked = 0;
    for (name, path, truth) in golden::truths().into_iter().filter(|(name, _, _)| name.contains(&only)) {
        let report = golden::examine(&path, &truth.args);
        let Some((copy, slice)) = slice_of(&path, &report) else {
            continue;
        };
        looked += 1;
        let (redacted, redactor) = redacted(&copy);
        let args: Vec<String> = truth
            .args
            .iter()
            .map(|word| {
                if word.starts_with("--") || word.parse::<u16>().is_ok() {
                    word.clone()
                } else {
                    redactor.name(word)
                }
            })
            .collect();
        // Secrets are never part of a redacted slice: what only they tell cannot be told from it.
        let before = essence(&examine(without_secrets(slice), &truth.args));
        let after = essence(&examine(redacted, &args));
        if before != after {
            failed += 1;
            println!("{name}: {before:?} became {after:?}");
        }
    }
    assert!(
        looked > 0 && failed == 0,
        "{failed} of {looked} redacted slices are judged otherwise"
    );
}

fn without_secrets(slice: Vec<u8>) -> Vec<u8> {
    let about = SectionSummary::default();
    let notes = Notes::default();
    slice::annotate(
        &mut *source_of(slice),
        Vec::new(),
        &notes,
        b"",
        &about,
        Origin::Kept,
        "rdpwhy",
    )
    .unwrap()
}
