//! What one frame costs: the look at fixed offsets, the whole packet, the full way through a tunnel, the fingerprint, the checksum.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::PacketBuilder;
use rdpwhy::capture::{Frame, FrameNo, LinkType, PacketOptions, Timestamp};
use rdpwhy::packet::{checksum, decode, fast};

fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        no: FrameNo::new(1),
        at: Timestamp(0),
        link: LinkType::ETHERNET,
        interface: 0,
        bytes,
        wire_len: bytes.len() as u32,
        direction: None,
        options: PacketOptions::default(),
    }
}

/// A segment of the size that is the mean of mixed traffic, over IPv4.
fn segment() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 2], 117)
        .tcp(50_000, 3389, 1, 64_240)
        .ack(1)
        .write(&mut out, &[0x17; 317])
        .expect("a vector takes any packet");
    out
}

/// The same segment as a cloud tap sends it.
fn mirrored(segment: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4])
        .ipv4([203, 0, 113, 1], [203, 0, 113, 2], 64)
        .udp(40_000, 4789)
        .write(&mut out, &[&[8, 0, 0, 0, 0, 0, 1, 0], segment].concat())
        .expect("a vector takes any packet");
    out
}

fn packet(c: &mut Criterion) {
    let ordinary = segment();
    let tunnelled = mirrored(&ordinary);
    let (ordinary, tunnelled) = (frame(&ordinary), frame(&tunnelled));

    let mut group = c.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));
    group.bench_function("peek", |b| b.iter(|| fast::peek(black_box(&ordinary))));
    group.bench_function("decode", |b| b.iter(|| decode(black_box(&ordinary))));
    group.bench_function("decode in VXLAN", |b| b.iter(|| decode(black_box(&tunnelled))));
    group.bench_function("checksum", |b| b.iter(|| checksum::of_frame(black_box(&ordinary))));
    group.finish();
}

criterion_group!(benches, packet);
criterion_main!(benches);
