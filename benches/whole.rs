//! Whole captures from the first byte to the verdict: every shipped capture once, and the longest of them alone.

use std::hint::black_box;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rdpwhy::capture::{self, OpenOptions};
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    capture::expand(&folder).expect("the shipped captures can be listed")
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("a shipped capture can be read")
}

/// What triage does with one capture, without the disk.
fn examine(path: &Path, bytes: &[u8]) -> Report {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    let mut source =
        capture::open_stream(input, path, OpenOptions { read_ahead: false }).expect("a shipped capture can be opened");
    let mut examiner = Examiner::new(Options::default());
    while let Some(event) = source.next().expect("memory does not fail") {
        examiner.feed(event);
    }
    examiner.end_source(source.summary(), None);
    examiner.finish()
}

fn whole(c: &mut Criterion) {
    let all: Vec<(PathBuf, Vec<u8>)> = captures()
        .into_iter()
        .map(|path| {
            let bytes = read(&path);
            (path, bytes)
        })
        .collect();
    let mut group = c.benchmark_group("whole");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(all.iter().map(|(_, bytes)| bytes.len() as u64).sum()));
    group.bench_function("every shipped capture", |b| {
        b.iter(|| {
            all.iter()
                .map(|(path, bytes)| examine(path, bytes))
                .for_each(|report| drop(black_box(report)))
        });
    });
    if let Some((path, bytes)) = all.iter().max_by_key(|(_, bytes)| bytes.len()) {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("the largest shipped capture", |b| b.iter(|| examine(path, black_box(bytes))));
    }
    group.finish();
}

criterion_group!(benches, whole);
criterion_main!(benches);
