//! Opening a capture: a file or standard input, compressed or not, in whatever format its first bytes tell.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::ahead;
use super::batch::Gather;
use super::direct::Direct;
use super::inflate::Compression;
use super::magic::{self, Format};
use super::pcap::{self, Pcap};
use super::pcapng::Pcapng;
use super::window::Window;
use super::{CaptureError, Source, SourceSummary};

/// Files smaller than this are not worth a thread.
const WORTH_A_THREAD: u64 = 4 << 20;

/// How to open a capture.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// Read large files ahead in a thread of their own. Compressed files are always decompressed in one.
    pub read_ahead: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { read_ahead: true }
    }
}

/// Opens the capture at `path`, or standard input for `-`. The format is told by the first bytes, never by the name.
///
/// # Errors
/// [`CaptureError::Io`] where the file cannot be opened or read (a directory among them; [`expand`](super::expand) makes
/// files of those), [`CaptureError::Empty`], [`CaptureError::NeedsConversion`] and [`CaptureError::NotACapture`] as they say.
pub fn open(path: &Path, options: OpenOptions) -> Result<Box<dyn Source + Send>, CaptureError> {
    let failed = |source| CaptureError::Io {
        path: path.to_owned(),
        source,
    };
    let (input, worth_a_thread): (Box<dyn Read + Send>, bool) = if path == Path::new("-") {
        (Box::new(io::stdin()), false)
    } else {
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        (Box::new(file), about.is_file() && about.len() >= WORTH_A_THREAD)
    };
    open_stream(
        input,
        path,
        OpenOptions {
            read_ahead: options.read_ahead && worth_a_thread,
        },
    )
}

/// Opens a capture that comes out of `input`, such as a buffer or a connection; `path` is what it is called.
///
/// # Errors
/// As [`open`].
pub fn open_stream(
    input: Box<dyn Read + Send>,
    path: &Path,
    options: OpenOptions,
) -> Result<Box<dyn Source + Send>, CaptureError> {
    let mut window = Window::new(input);
    // No more than is needed to tell: a live pipe may hold no more for a while.
    window.ensure(16);
    let compression = Compression::of(window.bytes());
    if let Some(compression) = compression {
        window = Window::inflating(compression, window.into_reader()).map_err(|source| CaptureError::Io {
            path: path.to_owned(),
            source,
        })?;
        window.ensure(16);
    }
    let format = match magic::readable(window.bytes()) {
        Some(format) => format,
        None => {
            window.ensure(magic::LOOK);
            if window.bytes().len() < 16 && (window.bytes().is_empty() || window.has_fault()) {
                return Err(nothing_there(window, path, compression));
            }
            magic::of(&window.bytes()[..window.bytes().len().min(magic::LOOK)])
        }
    };
    let ahead = options.read_ahead && compression.is_none();
    let summary = SourceSummary {
        path: path.to_owned(),
        format: compression.map(|c| format!(", {}", c.name())).unwrap_or_default(),
        ..SourceSummary::default()
    };
    match format {
        Format::Pcap(dialect) => {
            let len = window.bytes().len();
            let cut = || CaptureError::NotACapture {
                path: path.to_owned(),
                what: format!("a pcap file cut short, {len} bytes into its header of {}", pcap::FILE_HEADER),
            };
            Ok(source(Pcap::new(window, dialect, summary).ok_or_else(cut)?, ahead))
        }
        Format::Pcapng => Ok(source(Pcapng::new(window, summary), ahead)),
        Format::Foreign { what, convert, .. } => Err(CaptureError::NeedsConversion {
            path: path.to_owned(),
            what,
            convert: conversion(path, compression, convert),
        }),
        Format::Other(what) => Err(not_a_capture(path, compression, what.to_owned())),
        Format::Unknown => {
            let first: Vec<String> = window.bytes().iter().take(8).map(|b| format!("{b:02x}")).collect();
            let convert = conversion(path, compression, magic::EDITCAP);
            let what = format!(
                "unknown, begins with {}; if Wireshark opens it, convert it with: {convert}",
                first.join(" ")
            );
            Err(not_a_capture(path, compression, what))
        }
    }
}

/// A source, read in a thread of its own or in the calling one.
fn source<S: Gather>(source: S, ahead: bool) -> Box<dyn Source + Send> {
    if ahead {
        ahead::ahead(source)
    } else {
        Box::new(Direct::new(source))
    }
}

fn not_a_capture(path: &Path, compression: Option<Compression>, what: String) -> CaptureError {
    let what = match compression {
        Some(compression) => format!("inside {}: {what}", compression.name()),
        None => what,
    };
    CaptureError::NotACapture {
        path: path.to_owned(),
        what,
    }
}

/// The command that converts the file at `path`, with the one before it that decompresses it.
fn conversion(path: &Path, compression: Option<Compression>, convert: magic::Convert) -> String {
    let name = if path == Path::new("-") {
        "FILE".into()
    } else {
        path.to_string_lossy()
    };
    match compression {
        None => convert.command(&name),
        Some(compression) => {
            let (command, suffix) = compression.command();
            let inner = name.strip_suffix(suffix).unwrap_or(&name);
            format!("{} && {}", magic::Convert(command).command(&name), convert.command(inner))
        }
    }
}

/// Why there is not a single byte, or too few before an error to tell anything.
fn nothing_there(mut window: Window, path: &Path, compression: Option<Compression>) -> CaptureError {
    let path = path.to_owned();
    match (window.take_fault(), compression) {
        (Some(fault), Some(compression)) if fault.raw_os_error().is_none() => CaptureError::NotACapture {
            path,
            what: format!("a damaged {} file: {fault}", compression.name()),
        },
        (Some(source), _) => CaptureError::Io { path, source },
        (None, Some(compression)) => CaptureError::NotACapture {
            path,
            what: format!("a {} file with nothing in it", compression.name()),
        },
        (None, None) => CaptureError::Empty { path },
    }
}

/// Whether the file at `path` is a capture, one that can be read or one that can be converted.
pub(super) fn is_capture(path: &Path) -> io::Result<bool> {
    let mut window = Window::new(Box::new(File::open(path)?));
    window.ensure(magic::LOOK);
    if let Some(compression) = Compression::of(window.bytes()) {
        let mut inner = compression.decoder(window.into_reader())?;
        let mut start = Vec::new();
        // A damaged file is still a capture if its begin says so.
        let _ = inner.by_ref().take(magic::LOOK as u64).read_to_end(&mut start);
        return Ok(capture(&magic::of(&start)));
    }
    Ok(capture(&magic::of(&window.bytes()[..window.bytes().len().min(magic::LOOK)])))
}

fn capture(format: &Format) -> bool {
    matches!(
        format,
        Format::Pcap(_) | Format::Pcapng | Format::Foreign { capture: true, .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Event, FrameNo};

    /// Real captures beside the repository; their absence is said aloud.
    fn corpus() -> Vec<std::path::PathBuf> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
        if !dir.is_dir() {
            eprintln!("SKIPPED: no corpus of real captures beside the repository");
            return Vec::new();
        }
        super::super::expand(&dir).unwrap()
    }

    /// What capinfos counts, or `None` where it is not installed.
    fn capinfos(path: &Path) -> Option<u64> {
        let out = std::process::Command::new("capinfos")
            .args(["-M", "-c", "-T", "-r"])
            .arg(path)
            .output()
            .ok()?;
        String::from_utf8_lossy(&out.stdout).trim().rsplit('\t').next()?.parse().ok()
    }

    #[test]
    fn every_frame_of_the_corpus_is_counted_as_capinfos_counts() {
        for path in corpus() {
            let mut source = open(&path, OpenOptions::default()).unwrap();
            let mut last = FrameNo::new(0);
            while let Some(event) = source.next().unwrap() {
                if let Event::Frame(frame) = event {
                    assert_eq!(frame.no.number(), last.number() + 1);
                    assert!(frame.bytes.len() <= frame.wire_len as usize);
                    last = frame.no;
                }
            }
            let summary = source.summary();
            assert_eq!(summary.shortfalls, [], "{}", path.display());
            assert_eq!(summary.packets, last.number());
            match capinfos(&path) {
                Some(count) => assert_eq!(count, last.number(), "{}", path.display()),
                None => eprintln!("SKIPPED: capinfos is not installed"),
            }
        }
    }
}
