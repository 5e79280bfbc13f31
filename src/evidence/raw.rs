//! The one pass over a source: copies the selected frames with their neighbours, unchanged, and collects the TLS secrets about them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};

use crate::capture::{
    CaptureError, Direction, Event, Frame, FrameNo, InterfaceSummary, LinkType, SectionSummary, Source, Timestamp,
};
use crate::capture::{PacketOptions, SourceSummary, Writer};
use crate::packet::{Body, decode};

/// How many bytes of TLS secrets are remembered while the sessions that they belong to are not known yet.
const SECRETS: usize = 64 << 20;
/// How many ClientHellos of a copy are remembered for their secrets.
const RANDOMS: usize = 4_096;
/// How many frames before another may be kept as its neighbours, in bytes.
const NEIGHBOURS: usize = 64 << 20;

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source fails.
    #[error(transparent)]
    Source(#[from] CaptureError),
    /// The copy cannot be written.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// What a copy holds.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The numbers that the frames have in the source, in the order of the copy.
    pub frames: Vec<FrameNo>,
    /// Lines of an NSS key log for the sessions whose ClientHello is in the copy.
    pub secrets: Vec<u8>,
    /// Whether the source holds TLS secrets, of whatever session.
    pub has_secrets: bool,
    /// Bytes of secrets that were too many to be looked at.
    pub secrets_passed_over: u64,
    /// What the source says of itself.
    pub summary: SourceSummary,
}

/// Copies the frames that `wanted` takes, and `context` frames before and after each, from `source` to `out`: a pcapng whose
/// packets carry their number in the source as identifier. `tick` is told of the bytes read, for a progress bar.
///
/// # Errors
/// Those of the source and of `out`.
pub fn copy<W: Write>(
    source: &mut dyn Source,
    out: W,
    context: usize,
    secrets: &[u8],
    wanted: impl FnMut(&Frame<'_>) -> bool,
    tick: impl FnMut(u64),
) -> Result<(W, Copied), Error> {
    let mut copier = Copier {
        writer: Writer::new(out, &SectionSummary::default())?,
        ids: HashMap::new(),
        interfaces: Vec::new(),
        copied: Copied::default(),
        randoms: HashSet::new(),
        secrets: Vec::new(),
    };
    copier.take_secrets(secrets);
    run(&mut copier, source, context, wanted, tick)?;
    copier.finish(source.summary())
}

fn run<W: Write>(
    copier: &mut Copier<W>,
    source: &mut dyn Source,
    context: usize,
    mut wanted: impl FnMut(&Frame<'_>) -> bool,
    mut tick: impl FnMut(u64),
) -> Result<(), Error> {
    const FRAMES_PER_TICK: u64 = 4_096;
    let mut before: VecDeque<Kept> = VecDeque::new();
    let (mut bytes_before, mut after) = (0, 0);
    loop {
        // What is kept of interfaces is asked for before the frame is borrowed.
        let known = copier.interfaces.len();
        let mut unknown = None;
        match source.next()? {
            None => return Ok(()),
            Some(Event::Secrets(text)) => {
                copier.copied.has_secrets = true;
                copier.take_secrets(text);
            }
            Some(Event::Frame(frame)) => {
                let is_wanted = wanted(&frame);
                if is_wanted || after > 0 {
                    if frame.interface as usize >= known {
                        unknown = Some(Kept::of(&frame));
                    } else {
                        before.drain(..).try_for_each(|kept| copier.frame(&kept.frame()))?;
                        copier.frame(&frame)?;
                        copier.take_random(&frame);
                    }
                    bytes_before = 0;
                    after = if is_wanted { context } else { after - 1 };
                } else if context > 0 {
                    bytes_before += frame.bytes.len();
                    before.push_back(Kept::of(&frame));
                    while before.len() > context || bytes_before > NEIGHBOURS {
                        bytes_before -= before.pop_front().map_or(0, |kept| kept.bytes.len());
                    }
                }
                if frame.no.number().is_multiple_of(FRAMES_PER_TICK) {
                    tick(source.bytes_read());
                }
            }
        }
        if let Some(kept) = unknown {
            copier.interfaces = source.summary().interfaces;
            before.drain(..).try_for_each(|kept| copier.frame(&kept.frame()))?;
            copier.frame(&kept.frame())?;
            copier.take_random(&kept.frame());
        }
    }
}

/// A frame that outlives its source's buffer.
pub(super) struct Kept {
    no: FrameNo,
    at: Timestamp,
    link: LinkType,
    interface: u32,
    bytes: Vec<u8>,
    wire_len: u32,
    direction: Option<Direction>,
    options: Vec<u8>,
    big_endian: bool,
}

impl Kept {
    pub(super) fn of(frame: &Frame<'_>) -> Kept {
        let PacketOptions(list) = frame.options;
        Kept {
            no: frame.no,
            at: frame.at,
            link: frame.link,
            interface: frame.interface,
            bytes: frame.bytes.to_vec(),
            wire_len: frame.wire_len,
            direction: frame.direction,
            options: list.bytes().to_vec(),
            big_endian: list.big_endian(),
        }
    }

    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            no: self.no,
            at: self.at,
            link: self.link,
            interface: self.interface,
            bytes: &self.bytes,
            wire_len: self.wire_len,
            direction: self.direction,
            options: PacketOptions(crate::capture::OptionList::new(&self.options, self.big_endian)),
        }
    }
}

struct Copier<W: Write> {
    writer: Writer<W>,
    /// Interfaces of the source and of the copy.
    ids: HashMap<u32, u32>,
    interfaces: Vec<InterfaceSummary>,
    copied: Copied,
    randoms: HashSet<String>,
    secrets: Vec<u8>,
}

impl<W: Write> Copier<W> {
    fn frame(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let id = match self.ids.get(&frame.interface) {
            Some(id) => *id,
            None => {
                let mut interface = self.interfaces.get(frame.interface as usize).cloned().unwrap_or_default();
                interface.link = frame.link;
                let id = self.writer.interface(&interface)?;
                self.ids.insert(frame.interface, id);
                id
            }
        };
        self.copied.frames.push(frame.no);
        self.writer.numbered_frame(id, frame, &[], Some(frame.no.number()))
    }

    /// Remembers the client random of a ClientHello, by which a key log names its session.
    fn take_random(&mut self, frame: &Frame<'_>) {
        let Ok(packet) = decode(frame) else { return };
        let payload = match packet.body {
            Body::Tcp(segment) => segment.payload,
            Body::Udp(datagram) => datagram.payload,
            _ => return,
        };
        if let Some(random) = client_random(payload)
            && self.randoms.len() < RANDOMS
        {
            self.randoms.insert(random.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }

    fn take_secrets(&mut self, text: &[u8]) {
        if self.secrets.len() + text.len() > SECRETS {
            self.copied.secrets_passed_over += text.len() as u64;
            return;
        }
        self.secrets.extend_from_slice(text);
        self.secrets.push(b'\n');
    }

    fn finish(mut self, summary: SourceSummary) -> Result<(W, Copied), Error> {
        let first = summary.watched.0.into_iter().chain(summary.first).min();
        let last = summary.watched.1.max(summary.last);
        if let (Some(first), Some(last)) = (first, last) {
            let mut ids: Vec<(u32, u32)> = self.ids.iter().map(|(source, copy)| (*copy, *source)).collect();
            ids.sort_unstable();
            for (copy, source) in ids {
                let dropped = summary
                    .interfaces
                    .get(source as usize)
                    .and_then(|interface| interface.dropped);
                self.writer.statistics(copy, (first, last), dropped)?;
            }
        }
        let out = self.writer.finish()?;
        for line in self.secrets.split(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line);
            let random = text.split_ascii_whitespace().nth(1).map(str::to_ascii_lowercase);
            if random.is_some_and(|random| self.randoms.contains(&random)) {
                self.copied.secrets.extend_from_slice(text.trim_end().as_bytes());
                self.copied.secrets.push(b'\n');
            }
        }
        self.copied.summary = summary;
        Ok((out, self.copied))
    }
}

/// The random of a TLS or DTLS ClientHello at the begin of a payload.
fn client_random(payload: &[u8]) -> Option<&[u8]> {
    // Record header, handshake header, version: 5 + 4 + 2 bytes in TLS, 13 + 12 + 2 in DTLS.
    let at = match payload {
        [0x16, 3, _, _, _, 1, ..] => 11,
        [0x16, 0xfe, ..] if payload.get(13) == Some(&1) => 27,
        _ => return None,
    };
    payload.get(at..at + 32)
}
