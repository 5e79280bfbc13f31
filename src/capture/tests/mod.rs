//! Captures made by hand, one per variant of each format, and what reading them must give.

mod batches;
mod damage;
mod formats;
mod oracle;
mod pcap;
mod pcapng;
mod writer;

use std::io::{self, Cursor, Read};

use super::words::ByteOrder;
use super::*;

/// Read by the calling thread, and by one of its own.
pub(super) const DIRECT: OpenOptions = OpenOptions { read_ahead: false };
const AHEAD: OpenOptions = OpenOptions { read_ahead: true };

/// A frame with its own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub no: u64,
    pub at: i64,
    pub link: u16,
    pub interface: u32,
    pub bytes: Vec<u8>,
    pub wire_len: u32,
    pub direction: Option<Direction>,
    pub comments: Vec<String>,
}

/// Everything that came out of a source.
#[derive(Debug)]
pub(super) struct Outcome {
    pub frames: Vec<Owned>,
    pub secrets: Vec<Vec<u8>>,
    pub summary: SourceSummary,
}

impl Outcome {
    /// The texts of the shortfalls.
    pub fn shortfalls(&self) -> Vec<&str> {
        self.summary.shortfalls.iter().map(|s| s.text.as_str()).collect()
    }

    /// The bytes of the frames.
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.frames.iter().map(|f| f.bytes.as_slice()).collect()
    }
}

/// Hands out a few bytes at a time, as a pipe may.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(7);
        self.0.read(&mut buf[..n])
    }
}

/// Opens `file` as if it had been read from a disk.
pub(super) fn source(file: &[u8]) -> Result<Box<dyn Source + Send>, CaptureError> {
    open_stream(Box::new(Cursor::new(file.to_vec())), Path::new("x.cap"), DIRECT)
}

/// Reads a source to its end.
pub(super) fn drain(mut source: Box<dyn Source + Send>) -> Result<Outcome, CaptureError> {
    let (mut frames, mut secrets) = (Vec::new(), Vec::new());
    while let Some(event) = source.next()? {
        match event {
            Event::Frame(f) => frames.push(Owned {
                no: f.no.number(),
                at: f.at.0,
                link: f.link.0,
                interface: f.interface,
                bytes: f.bytes.to_vec(),
                wire_len: f.wire_len,
                direction: f.direction,
                comments: f.options.comments().collect(),
            }),
            Event::Secrets(bytes) => secrets.push(bytes.to_vec()),
        }
    }
    let summary = source.summary();
    Ok(Outcome {
        frames,
        secrets,
        summary,
    })
}

/// Reads `file` in one go, read ahead by a thread, and trickling through a pipe; all three must agree.
pub(super) fn read(file: &[u8]) -> Outcome {
    let whole = drain(source(file).unwrap()).unwrap();
    let path = Path::new("x.cap");
    let ahead = drain(open_stream(Box::new(Cursor::new(file.to_vec())), path, AHEAD).unwrap()).unwrap();
    let trickle = Trickle(Cursor::new(file.to_vec()));
    let trickled = drain(open_stream(Box::new(trickle), path, DIRECT).unwrap()).unwrap();
    for other in [&ahead, &trickled] {
        assert_eq!(whole.frames, other.frames);
        assert_eq!(whole.secrets, other.secrets);
        assert_eq!(whole.summary.shortfalls, other.summary.shortfalls);
    }
    whole
}

/// Builds bytes in a byte order.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    pub order: ByteOrder,
    pub bytes: Vec<u8>,
}

impl Bytes {
    pub fn new(order: ByteOrder) -> Self {
        Bytes {
            order,
            bytes: Vec::new(),
        }
    }

    pub fn u16(mut self, n: u16) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => n.to_le_bytes(),
            ByteOrder::Big => n.to_be_bytes(),
        });
        self
    }

    pub fn u32(mut self, n: u32) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => n.to_le_bytes(),
            ByteOrder::Big => n.to_be_bytes(),
        });
        self
    }

    pub fn u64(mut self, n: u64) -> Self {
        self.bytes.extend(match self.order {
            ByteOrder::Little => n.to_le_bytes(),
            ByteOrder::Big => n.to_be_bytes(),
        });
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn padded(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// A pcapng option.
    pub fn option(self, code: u16, value: &[u8]) -> Self {
        self.u16(code).u16(value.len() as u16).padded(value)
    }

    /// A pcapng block around `body`.
    pub fn block(self, kind: u32, body: Bytes) -> Self {
        let len = body.bytes.len() as u32 + 12;
        self.u32(kind).u32(len).raw(&body.bytes).u32(len)
    }

    /// Empty bytes in the same order, for the body of a block.
    pub fn body(&self) -> Bytes {
        Bytes::new(self.order)
    }
}

pub(super) const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

/// The time of the first packet of the captures made here, in seconds.
pub(super) const BEGIN: u32 = 1_700_000_000;

/// `n` pcap records, a tenth of a second apart, of 60 bytes and more that all hold the number of their packet.
pub(super) fn pcap_of(n: u32) -> Vec<u8> {
    let mut file = pcap::header(ByteOrder::Little, 0xa1b2_c3d4, 1);
    for i in 0..n {
        let payload = vec![i as u8; 60 + i as usize % 40];
        file = pcap::record(file, BEGIN + i / 10, i % 10 * 100_000, &payload, payload.len() as u32);
    }
    file.bytes
}

/// The same packets in a pcapng.
pub(super) fn pcapng_of(n: u32) -> Vec<u8> {
    let mut file = pcapng::interface(pcapng::section(Bytes::new(ByteOrder::Little)), 1, 0);
    for i in 0..n {
        let time = (u64::from(BEGIN) * 10 + u64::from(i)) * 100_000;
        file = pcapng::enhanced(file, 0, time, &vec![i as u8; 60 + i as usize % 40], |options| options);
    }
    file.bytes
}
