//! What each stage costs alone: reading, decoding, the look-up of a flow, reassembly, TLS, judging.

use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rdpwhy::capture::{self, Event, Frame, FrameNo, LinkType, OpenOptions, PacketOptions, Source, Timestamp};
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::flow::key::TCP;
use rdpwhy::flow::{Connection, FlowKey, Limits, Listener, Lobby, Opening, Seen, Side, Table};
use rdpwhy::packet::{Body, decode, fast};
use rdpwhy::protocol::tls::record;

/// A session over TLS from its SYN to its end.
const SESSION: &str = "captures/session-xrdp-tls13/client.pcapng";

fn session() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(SESSION)).expect("a shipped capture can be read")
}

fn open(bytes: &[u8]) -> Box<dyn Source + Send> {
    let input = Box::new(Cursor::new(bytes.to_vec()));
    capture::open_stream(input, Path::new(SESSION), OpenOptions { read_ahead: false }).expect("a shipped capture can be opened")
}

/// A frame that owns its bytes.
struct Kept {
    at: Timestamp,
    link: LinkType,
    bytes: Vec<u8>,
}

impl Kept {
    fn frame(&self, no: u64) -> Frame<'_> {
        Frame {
            no: FrameNo::new(no),
            at: self.at,
            link: self.link,
            interface: 0,
            bytes: &self.bytes,
            wire_len: self.bytes.len() as u32,
            direction: None,
            options: PacketOptions::default(),
        }
    }
}

fn frames(bytes: &[u8]) -> Vec<Kept> {
    let mut source = open(bytes);
    let mut kept = Vec::new();
    while let Some(event) = source.next().expect("memory does not fail") {
        if let Event::Frame(frame) = event {
            kept.push(Kept {
                at: frame.at,
                link: frame.link,
                bytes: frame.bytes.to_vec(),
            });
        }
    }
    kept
}

/// Takes what reassembly hands on, and does nothing with it.
#[derive(Default)]
struct Count(u64);

impl Listener for Count {
    fn bytes(&mut self, _: Side, bytes: &[u8], _: &Seen) {
        self.0 += bytes.len() as u64;
    }

    fn gap(&mut self, _: Side, missing: u32, _: &Seen) {
        self.0 += u64::from(missing);
    }
}

/// One connection through sequence numbers and reassembly.
fn reassemble(frames: &[Kept]) -> u64 {
    let limits = Limits::default();
    let mut count = Count::default();
    let mut connection: Option<Connection> = None;
    for (no, kept) in frames.iter().enumerate() {
        let frame = kept.frame(no as u64 + 1);
        let Ok(packet) = decode(&frame) else { continue };
        let Body::Tcp(segment) = &packet.body else { continue };
        let side = if segment.dst_port == 3389 {
            Side::Client
        } else {
            Side::Server
        };
        connection
            .get_or_insert_with(|| {
                let first = Seen::of_segment(packet.no, packet.at, side, &packet.link, &packet.ip, segment);
                Connection::new(Opening::Handshake, first, &limits)
            })
            .push(&packet, segment, side, &limits, &mut count);
    }
    count.0
}

fn stages(c: &mut Criterion) {
    let bytes = session();
    let kept = frames(&bytes);
    let packets = kept.len() as u64;
    let mut group = c.benchmark_group("stages");

    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("reading", |b| {
        b.iter(|| {
            let mut source = open(black_box(&bytes));
            while let Ok(Some(event)) = source.next() {
                black_box(event);
            }
        });
    });

    group.throughput(Throughput::Elements(packets));
    group.bench_function("decoding", |b| {
        b.iter(|| {
            for kept in &kept {
                let frame = kept.frame(1);
                if let Some(peek) = fast::peek(black_box(&frame)) {
                    black_box(fast::complete(&frame, &peek));
                }
            }
        });
    });
    group.bench_function("reassembly", |b| b.iter(|| reassemble(black_box(&kept))));
    group.bench_function("following", |b| {
        b.iter_batched(
            || Examiner::new(Options::default()),
            |mut examiner| {
                for (no, kept) in kept.iter().enumerate() {
                    examiner.push(&kept.frame(no as u64 + 1));
                }
                examiner
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("judging", |b| {
        // Everything is pushed before the clock starts: what is left is the transcript, the rules and the report.
        b.iter_batched(
            || {
                let mut examiner = Examiner::new(Options::default());
                for (no, kept) in kept.iter().enumerate() {
                    examiner.push(&kept.frame(no as u64 + 1));
                }
                (examiner, open(&bytes).summary())
            },
            |(mut examiner, summary)| {
                examiner.end_source(summary, None);
                examiner.finish()
            },
            BatchSize::SmallInput,
        );
    });

    let keys: Vec<FlowKey> = (0..4096u32)
        .map(|n| {
            let client = ([10, 0, (n >> 8) as u8, n as u8], 50_000).into();
            FlowKey::new(client, ([192, 0, 2, 1], 443).into(), TCP)
        })
        .collect();
    let mut table = Table::default();
    let mut lobby = Lobby::new(Limits::default().strangers, Limits::default().dismissed);
    for key in &keys {
        table.insert(*key, ());
        lobby.dismiss(key);
    }
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("flow look-up", |b| {
        b.iter(|| keys.iter().filter(|key| table.find(black_box(key)).is_some()).count())
    });
    group.bench_function("dismissed look-up", |b| {
        b.iter(|| {
            keys.iter()
                .filter(|key| lobby.is_dismissed(black_box(key).fingerprint()))
                .count()
        });
    });

    let records: Vec<u8> = std::iter::repeat_n([0x17, 3, 3, 0, 32].into_iter().chain([0xA5; 32]), 256)
        .flatten()
        .collect();
    group.throughput(Throughput::Bytes(records.len() as u64));
    group.bench_function("TLS records", |b| {
        b.iter(|| {
            let mut at = 0;
            while let rdpwhy::protocol::Parsed::Done(header, used) = record::header(black_box(&records[at..])) {
                at += used + usize::from(header.length);
            }
            at
        });
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
