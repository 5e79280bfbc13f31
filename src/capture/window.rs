//! A sliding window of contiguous bytes over a file, a pipe or a decompressor, in constant memory.
//!
//! Plain reads into a buffer that stays in the processor's cache, not a memory map: on warm files of a gigabyte and more
//! they took half to three quarters of the time of a map in every variant that was tried (sequential advice, populating,
//! releasing passed pages), because copying 256 KiB out of the page cache costs less than mapping 64 pages of it. They
//! also cannot be killed by SIGBUS when the file shrinks, and need no `unsafe`.

use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::CaptureError;
use super::inflate::Compression;
use super::tally::Tally;

/// How much is read at a time.
const CHUNK: usize = 256 * 1024;
/// Chunks in flight between the reading thread and the window.
const CHUNKS: usize = 8;
/// Room in front of each chunk for what is left of the one before, so that a packet across the border is contiguous.
const HEADROOM: usize = 64 * 1024;

/// Bytes handed from the reading thread to the window: a buffer, and how many bytes from [`HEADROOM`] on are valid.
type Chunk = (Vec<u8>, usize);

/// Where the window gets more bytes from.
enum Feed {
    /// Read by the calling thread.
    Direct(Box<dyn Read + Send>),
    /// Read (and decompressed) by a thread of its own, which ends when the window is dropped.
    Ahead {
        full: Receiver<io::Result<Chunk>>,
        empty: Sender<Vec<u8>>,
    },
    /// Nothing more will come.
    Ended,
}

/// The window. Bytes before the position stay readable until the next call that may need more bytes.
pub(super) struct Window {
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    /// Offset in the stream of `buf[0]`; wraps below zero while the headroom of the first chunk precedes the stream.
    base: u64,
    feed: Feed,
    fault: Option<io::Error>,
    /// Bytes that the decompressor has taken in, where there is one.
    compressed: Option<Arc<AtomicU64>>,
}

impl Window {
    /// A window over `input`, read by the calling thread as bytes are asked for (a live pipe never waits for more).
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Window {
            buf: Vec::new(),
            pos: 0,
            end: 0,
            base: 0,
            feed: Feed::Direct(input),
            fault: None,
            compressed: None,
        }
    }

    /// A window over what the compressed `input` holds, read and decompressed by a thread of its own.
    ///
    /// # Errors
    /// Where the decompressor cannot be set up.
    pub(super) fn inflating(compression: Compression, input: Box<dyn Read + Send>) -> io::Result<Self> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            input,
            taken: Arc::clone(&taken),
        };
        let mut window = Window::new(compression.decoder(Box::new(counted))?);
        window.compressed = Some(taken);
        window.read_ahead();
        Ok(window)
    }

    /// Moves reading into a thread of its own. Falls back to reading in this one where no thread can be had.
    pub(super) fn read_ahead(&mut self) {
        let Feed::Direct(input) = std::mem::replace(&mut self.feed, Feed::Ended) else {
            return;
        };
        let (full_sender, full) = sync_channel(CHUNKS);
        let (empty, empty_receiver) = channel();
        // The thread takes its input by message, so that the input is not lost where the thread cannot start.
        let (hand_over, input_receiver) = channel::<Box<dyn Read + Send>>();
        let started = thread::Builder::new().name("read-ahead".into()).spawn(move || {
            if let Ok(input) = input_receiver.recv() {
                pump(input, &full_sender, &empty_receiver);
            }
        });
        self.feed = match started {
            Err(_) => Feed::Direct(input),
            Ok(_) => {
                for _ in 0..CHUNKS {
                    let _ = empty.send(Vec::new());
                }
                match hand_over.send(input) {
                    Ok(()) => Feed::Ahead { full, empty },
                    Err(returned) => Feed::Direct(returned.0),
                }
            }
        };
    }

    /// Turns the window back into a stream of the bytes from the position on.
    pub(super) fn into_reader(mut self) -> Box<dyn Read + Send> {
        self.buf.truncate(self.end);
        let mut rest = Cursor::new(std::mem::take(&mut self.buf));
        rest.set_position(self.pos as u64);
        match self.feed {
            Feed::Direct(input) => Box::new(rest.chain(input)),
            Feed::Ahead { .. } | Feed::Ended => Box::new(rest),
        }
    }

    /// Offset of the position in the (decompressed) stream.
    pub(super) fn offset(&self) -> u64 {
        self.base.wrapping_add(self.pos as u64)
    }

    /// Tries to have `n` bytes from the position on; returns whether they are there. `false` means that the stream ends before.
    #[inline]
    pub(super) fn ensure(&mut self, n: usize) -> bool {
        self.end - self.pos >= n || self.refill(n)
    }

    /// What is there from the position on, without reading more.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf[self.pos..self.end]
    }

    /// The first `N` bytes from the position on.
    #[inline]
    pub(super) fn peek<const N: usize>(&mut self) -> Option<&[u8; N]> {
        if self.ensure(N) { self.bytes().first_chunk() } else { None }
    }

    /// Moves the position forward over bytes that [`ensure`](Self::ensure) made available.
    #[inline]
    pub(super) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.pos);
        self.pos = (self.pos + n).min(self.end);
    }

    /// The `n` bytes just before the position, as they were passed by the last [`advance`](Self::advance).
    #[inline]
    pub(super) fn passed(&self, n: usize) -> &[u8] {
        &self.buf[self.pos.saturating_sub(n)..self.pos]
    }

    /// Whether an error ended the stream.
    pub(super) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    /// The error that ended the stream, if one did; given once.
    pub(super) fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    /// Gives the buffer away in exchange for `buf`, into which the bytes from the position on go. Returns where in the buffer the `n`
    /// bytes before the position begin.
    pub(super) fn hand_over(&mut self, buf: &mut Vec<u8>, n: usize) -> usize {
        let start = self.pos - n.min(self.pos);
        let rest = self.end - self.pos;
        let lead = lead(rest);
        grow(buf, lead + rest + CHUNK);
        buf[lead..lead + rest].copy_from_slice(&self.buf[self.pos..self.end]);
        self.base = self.offset().wrapping_sub(lead as u64);
        std::mem::swap(&mut self.buf, buf);
        (self.pos, self.end) = (lead, lead + rest);
        start
    }

    /// How much of the file has been consumed: of its compressed bytes where it is compressed.
    pub(super) fn bytes_read(&self) -> u64 {
        self.compressed
            .as_ref()
            .map_or_else(|| self.offset(), |taken| taken.load(Ordering::Relaxed))
    }

    /// Accounts for the end of the stream: `cut` says in the middle of what it came, if it was in the middle of anything.
    /// Damaged compression is the cause of such a cut and stands in its place.
    pub(super) fn settle(&mut self, tally: &mut Tally, cut: Option<String>, offset: u64) {
        // Errors without a number do not come from the operating system but from the decompressor.
        match self.fault.take_if(|fault| fault.raw_os_error().is_none()) {
            Some(fault) => {
                let text = format!("the compressed data cannot be read further: {fault}");
                tally.shortfall(text, self.offset() + self.bytes().len() as u64);
            }
            None => {
                if let Some(cut) = cut {
                    tally.shortfall(cut, offset);
                }
            }
        }
    }

    /// The end of a source: an error of the operating system once, if one ended the stream, otherwise nothing.
    ///
    /// # Errors
    /// That error.
    pub(super) fn end<T>(&mut self, path: &Path) -> Result<Option<T>, CaptureError> {
        match self.take_fault() {
            Some(source) => Err(CaptureError::Io {
                path: path.to_owned(),
                source,
            }),
            None => Ok(None),
        }
    }

    #[cold]
    fn refill(&mut self, n: usize) -> bool {
        while self.end - self.pos < n {
            let more = match self.feed {
                Feed::Direct(_) => self.refill_direct(n),
                Feed::Ahead { .. } => self.refill_ahead(n),
                Feed::Ended => return false,
            };
            match more {
                Ok(true) => {}
                Ok(false) => self.feed = Feed::Ended,
                Err(error) => {
                    self.fault = Some(error);
                    self.feed = Feed::Ended;
                }
            }
        }
        true
    }

    /// Room of the buffer for a request of `n` bytes: a part more than asked, so that requests that move on byte by byte
    /// do not move the buffer each time.
    fn capacity_for(n: usize) -> usize {
        n + CHUNK.max(n / 4)
    }

    fn refill_direct(&mut self, n: usize) -> io::Result<bool> {
        let Feed::Direct(input) = &mut self.feed else {
            return Ok(false);
        };
        let rest = self.end - self.pos;
        let lead = lead(rest);
        if self.pos > lead {
            self.buf.copy_within(self.pos..self.end, lead);
            self.base = self.base.wrapping_add((self.pos - lead) as u64);
            (self.pos, self.end) = (lead, lead + rest);
        }
        // Grow with what has arrived, not with what a length field promises.
        let room = self.pos + Self::capacity_for(n).min(rest * 2 + CHUNK);
        grow(&mut self.buf, room);
        let stop = self.buf.len().min(self.end + CHUNK);
        let got = read_some(input, &mut self.buf[self.end..stop])?;
        self.end += got;
        Ok(got > 0)
    }

    fn refill_ahead(&mut self, n: usize) -> io::Result<bool> {
        let Feed::Ahead { full, empty } = &self.feed else {
            return Ok(false);
        };
        let (mut chunk, len) = match full.recv() {
            Ok(result) => result?,
            Err(_) => return Ok(false),
        };
        let left = self.end - self.pos;
        if left <= HEADROOM && left + len >= n {
            let start = HEADROOM - left;
            chunk[start..HEADROOM].copy_from_slice(&self.buf[self.pos..self.end]);
            self.base = self.offset().wrapping_sub(start as u64);
            std::mem::swap(&mut self.buf, &mut chunk);
            (self.pos, self.end) = (start, HEADROOM + len);
        } else {
            if self.pos > self.end / 2 {
                self.buf.copy_within(self.pos..self.end, 0);
                self.base = self.base.wrapping_add(self.pos as u64);
                (self.pos, self.end) = (0, left);
            }
            self.buf.truncate(self.end);
            self.buf.extend_from_slice(&chunk[HEADROOM..HEADROOM + len]);
            self.end += len;
        }
        let _ = empty.send(chunk);
        Ok(true)
    }
}

/// How far from the start of a buffer a rest is put, so that what is read behind it begins at a multiple of this many bytes. Where it
/// begins one to fifteen bytes into a page, processors with fast string copies (seen on AMD's) take three times as long for it.
fn lead(rest: usize) -> usize {
    const ALIGNMENT: usize = 64;
    rest.wrapping_neg() % ALIGNMENT
}

/// Makes a buffer so long at least, and little longer: a vector that grows on its own doubles.
fn grow(buf: &mut Vec<u8>, len: usize) {
    const STEP: usize = 16 * 1024;
    if buf.len() < len {
        let len = len.next_multiple_of(STEP);
        buf.reserve_exact(len - buf.len());
        buf.resize(len, 0);
    }
}

/// Reads `input` to its end into the buffers that come back from the window.
fn pump(mut input: Box<dyn Read + Send>, full: &SyncSender<io::Result<Chunk>>, empty: &Receiver<Vec<u8>>) {
    while let Ok(mut buf) = empty.recv() {
        if buf.capacity() > 2 * (HEADROOM + CHUNK) {
            buf = Vec::new();
        }
        buf.resize(HEADROOM + CHUNK, 0);
        let mut end = HEADROOM;
        let mut failed = None;
        while end < buf.len() {
            match read_some(&mut input, &mut buf[end..]) {
                Ok(0) => break,
                Ok(got) => end += got,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let full_chunk = end == buf.len();
        if end > HEADROOM && full.send(Ok((buf, end - HEADROOM))).is_err() {
            return;
        }
        if let Some(error) = failed {
            let _ = full.send(Err(error));
            return;
        }
        if !full_chunk {
            return;
        }
    }
}

/// Counts the bytes that pass.
struct Counted {
    input: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buf)?;
        self.taken.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

fn read_some(input: &mut Box<dyn Read + Send>, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yields `pattern(i)` for `len` bytes in reads of odd sizes, then an error if asked to.
    struct Odd {
        at: u64,
        len: u64,
        fail: bool,
    }

    fn pattern(i: u64) -> u8 {
        (i.wrapping_mul(0x9e37_79b9) >> 11) as u8
    }

    impl Read for Odd {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = (buf.len() as u64).min(self.len - self.at).min(1 + self.at % 70_001);
            if n == 0 && self.fail {
                return Err(io::Error::other("the disk broke"));
            }
            for (i, byte) in buf[..n as usize].iter_mut().enumerate() {
                *byte = pattern(self.at + i as u64);
            }
            self.at += n;
            Ok(n as usize)
        }
    }

    fn windows(len: u64, fail: bool) -> [Window; 2] {
        let direct = Window::new(Box::new(Odd { at: 0, len, fail }));
        let mut ahead = Window::new(Box::new(Odd { at: 0, len, fail }));
        ahead.ensure(5);
        ahead.read_ahead();
        [direct, ahead]
    }

    #[test]
    fn every_byte_arrives_once_and_in_order() {
        let len = 3_000_000;
        for mut window in windows(len, false) {
            let mut step = 1usize;
            loop {
                step = (step * 7 + 3) % 400_000;
                if !window.ensure(step + 1) {
                    break;
                }
                let offset = window.offset();
                window.advance(step + 1);
                let passed = window.passed(step + 1);
                assert!(passed.iter().enumerate().all(|(i, b)| *b == pattern(offset + i as u64)));
            }
            assert_eq!(window.offset() + window.bytes().len() as u64, len);
        }
    }

    #[test]
    fn memory_does_not_follow_a_length_that_is_only_promised() {
        for mut window in windows(1000, false) {
            assert!(!window.ensure(8 << 20));
            assert_eq!(window.bytes().len(), 1000);
            assert!(window.buf.capacity() < 1 << 20);
        }
    }

    #[test]
    fn an_error_ends_the_stream_after_the_bytes_before_it() {
        for mut window in windows(600_000, true) {
            assert!(window.ensure(600_000));
            assert!(!window.ensure(600_001));
            assert_eq!(window.end::<()>(Path::new("x")).unwrap_err().to_string(), "x: the disk broke");
            assert!(window.end::<()>(Path::new("x")).unwrap().is_none());
        }
    }

    #[test]
    fn what_was_looked_at_can_be_read_again() {
        let [mut window, _] = windows(500_000, false);
        assert!(window.ensure(10));
        let mut all = Vec::new();
        window.into_reader().read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 500_000);
        assert!(all.iter().enumerate().all(|(i, b)| *b == pattern(i as u64)));
    }
}
