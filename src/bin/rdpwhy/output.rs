//! Bytes in, standard output or a file out: colour where it is wanted, files that are whole or not there.

use std::io::{self, BufWriter, Write};

use anstream::{AutoStream, ColorChoice};

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
}

/// Writes to standard output what `write` writes; a reader that has left early is no error.
pub fn to_stdout(color: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let choice = if color { ColorChoice::Always } else { ColorChoice::Never };
    let mut out = BufWriter::new(AutoStream::new(io::stdout(), choice));
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
