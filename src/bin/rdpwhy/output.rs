//! Bytes in, standard output or a file out: colour where it is wanted, files that are whole or not there.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anstream::{AutoStream, ColorChoice};
use rdpwhy::evidence::staging::{self, Readers};

use crate::args::Color;

impl Color {
    /// Whether standard output is to be coloured: NO_COLOR, CLICOLOR_FORCE, TERM and the terminal decide where it is `auto`.
    pub fn on_stdout(self) -> bool {
        match self {
            Color::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            Color::Always => true,
            Color::Never => false,
        }
    }

    /// Whether a file is to be coloured: only where that was asked for.
    pub fn in_file(self) -> bool {
        self == Color::Always
    }
}

/// Writes to standard output what `write` writes; a reader that has left early is no error.
pub fn to_stdout(color: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Colours need a look at every byte, for terminals that know no escapes; a report of 24 MB in JSON has none.
    let stdout = io::stdout();
    let written = if color {
        buffered(AutoStream::always(stdout), write)
    } else {
        buffered(stdout.lock(), write)
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn buffered(out: impl Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write(&mut out).and_then(|()| out.flush())
}

/// Why `path` must not be written, if so; asked before the work, so that an hour of reading is not lost.
pub fn refusal(path: &Path, force: bool, sources: &[PathBuf]) -> Option<String> {
    let same = |source: &PathBuf| matches!((fs::canonicalize(source), fs::canonicalize(path)), (Ok(a), Ok(b)) if a == b);
    match fs::metadata(path) {
        Ok(about) if about.is_dir() => Some("is a directory".to_owned()),
        Ok(about) if !about.is_file() => None,
        Ok(_) if sources.iter().any(same) => Some("is one of the captures to be read".to_owned()),
        Ok(_) if !force => Some("exists already; --force overwrites it".to_owned()),
        _ => None,
    }
}

/// Writes `path` whole or not at all.
pub fn to_file(path: &Path, force: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    staging::write_whole(path, Readers::Usual, force, write)
}
