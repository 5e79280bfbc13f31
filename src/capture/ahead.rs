//! A source that is read in a thread of its own: bytes are copied and frames are found there, right after one another and in a buffer
//! that fits into the processor's cache. What arrives here are whole buffers, with the places of the frames in them.
//!
//! Finding frames is a walk from each to the next. In another thread than the one that copied, each step would wait for the
//! other processor's cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::batch::{self, Batch, Events, Frames, Gather, Marker, Parts};
use super::direct::{self, Direct};
use super::options::OptionList;
use super::{CaptureError, Event, Frame, PacketOptions, Shortfall, Source, SourceSummary};

/// Buffers between the two threads.
const BUFFERS: usize = 6;
/// So many used ones go back together: a thread that waits for one is woken once for all of them.
const RETURNED: usize = 3;
/// A buffer with frames.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Where in `bytes` the first frame's record begins; places count from here.
    start: usize,
    /// How many bytes the records take.
    taken: usize,
    frames: Frames,
    /// The number of the frame before the first.
    before: u64,
    big_endian: bool,
    in_order: bool,
}

/// An event that owns its bytes, frame and options one behind the other.
struct Single {
    /// What is known of the frame, without its bytes; `None` for secrets.
    frame: Option<Frame<'static>>,
    bytes: Vec<u8>,
    captured: usize,
    big_endian: bool,
}

impl Single {
    fn of(event: &Event<'_>) -> Single {
        match event {
            Event::Secrets(text) => Single {
                frame: None,
                bytes: text.to_vec(),
                captured: text.len(),
                big_endian: false,
            },
            Event::Frame(frame) => {
                let options = frame.options.0;
                Single {
                    frame: Some(Frame {
                        bytes: &[],
                        options: PacketOptions::default(),
                        ..*frame
                    }),
                    bytes: [frame.bytes, options.bytes()].concat(),
                    captured: frame.bytes.len(),
                    big_endian: options.big_endian(),
                }
            }
        }
    }

    fn event(&self) -> Event<'_> {
        let (bytes, options) = self.bytes.split_at(self.captured.min(self.bytes.len()));
        match self.frame {
            None => Event::Secrets(bytes),
            Some(frame) => Event::Frame(Frame {
                bytes,
                options: PacketOptions(OptionList::new(options, self.big_endian)),
                ..frame
            }),
        }
    }
}

/// What the reading thread sends.
enum Parcel {
    Frames(Chunk),
    One(Single),
    /// The end, or the error that ended it, and everything that is known of the source.
    End(Result<(), CaptureError>, Box<SourceSummary>),
}

/// A source whose frames were found ahead.
pub(super) struct Ahead {
    /// Sends the source to its thread, which is done when the first event is asked for: until then it can be told how to mark frames.
    start: Option<Box<dyn FnOnce(Marker, bool) + Send>>,
    marker: Marker,
    by_time: bool,
    full: Receiver<Parcel>,
    empty: Sender<Chunk>,
    /// Buffers that are used up.
    used: Vec<Chunk>,
    chunk: Chunk,
    /// How many frames of the chunk were given.
    given: usize,
    single: Option<Single>,
    summary: SourceSummary,
    read: Arc<AtomicU64>,
    ended: bool,
}

/// Moves `source` into a thread of its own; where no thread can be had, it stays what it is.
pub(super) fn ahead<S: Gather>(mut source: S) -> Box<dyn Source + Send> {
    let (full_sender, full) = sync_channel(BUFFERS);
    let (empty, empty_receiver) = channel();
    // The thread takes its source by message, so that the source is not lost where the thread cannot start.
    let (hand_over, source_receiver) = channel::<(S, bool)>();
    let read = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&read);
    let started = thread::Builder::new().name("read-ahead".into()).spawn(move || {
        if let Ok((source, by_time)) = source_receiver.recv() {
            pump(source, by_time, &full_sender, &empty_receiver, &counter);
        }
    });
    if started.is_err() {
        return Box::new(Direct::new(source));
    }
    let summary = source.summary();
    for _ in 0..BUFFERS {
        let _ = empty.send(Chunk::default());
    }
    Box::new(Ahead {
        start: Some(Box::new(move |marker, by_time| {
            source.mark_with(marker);
            drop(hand_over.send((source, by_time)));
        })),
        marker: batch::unmarked,
        by_time: false,
        full,
        empty,
        used: Vec::with_capacity(RETURNED),
        chunk: Chunk::default(),
        given: 0,
        single: None,
        summary,
        read,
        ended: false,
    })
}

/// Reads a source to its end into the buffers that come back.
fn pump<S: Gather>(mut source: S, by_time: bool, full: &SyncSender<Parcel>, empty: &Receiver<Chunk>, read: &AtomicU64) {
    loop {
        let found = direct::gather(&mut source, by_time);
        if found.taken == 0 {
            let parcel = match source.next() {
                Ok(Some(event)) => Parcel::One(Single::of(&event)),
                Ok(None) => Parcel::End(Ok(()), Box::new(source.summary())),
                Err(error) => Parcel::End(Err(error), Box::new(source.summary())),
            };
            let ended = matches!(parcel, Parcel::End(..));
            if full.send(parcel).is_err() || ended {
                return;
            }
            continue;
        }
        let Ok(mut chunk) = empty.recv() else { return };
        let Parts {
            window,
            tally,
            frames,
            big_endian,
        } = source.parts();
        chunk.before = tally.frames(frames, &found);
        window.advance(found.taken);
        chunk.start = window.hand_over(&mut chunk.bytes, found.taken);
        chunk.taken = found.taken;
        chunk.big_endian = big_endian;
        chunk.in_order = found.in_order;
        std::mem::swap(&mut chunk.frames, frames);
        read.store(window.bytes_read(), Ordering::Relaxed);
        if full.send(Parcel::Frames(chunk)).is_err() {
            return;
        }
    }
}

impl Ahead {
    /// Makes sure that something is there to give; `false` at the end.
    fn receive(&mut self) -> Result<bool, CaptureError> {
        if let Some(start) = self.start.take() {
            start(self.marker, self.by_time);
        }
        self.single = None;
        if self.given < self.chunk.frames.len() {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        match self.full.recv() {
            Ok(Parcel::Frames(chunk)) => {
                self.used.push(std::mem::replace(&mut self.chunk, chunk));
                self.given = 0;
                if self.used.len() >= RETURNED {
                    self.used.drain(..).for_each(|used| drop(self.empty.send(used)));
                }
                Ok(true)
            }
            Ok(Parcel::One(single)) => {
                self.single = Some(single);
                Ok(true)
            }
            Ok(Parcel::End(outcome, summary)) => {
                self.ended = true;
                self.summary = *summary;
                outcome.map(|()| false)
            }
            Err(_) => {
                self.ended = true;
                self.summary.shortfalls.push(Shortfall {
                    text: "reading stopped before the end of the capture".to_owned(),
                    offset: None,
                    after_frame: None,
                });
                Ok(false)
            }
        }
    }

    /// Up to `most` frames of the chunk.
    fn frames(&mut self, most: usize) -> Batch<'_> {
        let chunk = &self.chunk;
        let from = self.given;
        self.given = chunk.frames.len().min(from + most);
        Batch::new(
            chunk.bytes.get(chunk.start..chunk.start + chunk.taken).unwrap_or_default(),
            &chunk.frames,
            from..self.given,
            chunk.before,
            chunk.big_endian,
            chunk.in_order,
        )
    }
}

impl Source for Ahead {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        if !self.receive()? {
            return Ok(None);
        }
        if self.single.is_none() {
            return Ok(self.frames(1).frame(0).map(Event::Frame));
        }
        Ok(self.single.as_ref().map(Single::event))
    }

    fn several(&mut self) -> Result<Option<Events<'_>>, CaptureError> {
        if !self.receive()? {
            return Ok(None);
        }
        if self.single.is_none() {
            return Ok(Some(Events::Batch(self.frames(Batch::MOST))));
        }
        Ok(self.single.as_ref().map(|single| Events::One(single.event())))
    }

    fn mark_with(&mut self, marker: Marker) {
        self.marker = marker;
    }

    fn by_time(&mut self) {
        self.by_time = true;
    }

    fn summary(&self) -> SourceSummary {
        self.summary.clone()
    }

    fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
