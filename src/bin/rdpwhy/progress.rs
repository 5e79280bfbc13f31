//! A progress bar on standard error: only on a terminal, and only for work that takes longer than half a second.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// The bar, shown or not.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Whether it is to be shown once the patience is over.
    wanted: bool,
    /// Bytes of the sources that are done.
    done: u64,
}

impl Progress {
    /// A bar for `total` bytes of input; 0 where that is not known.
    pub fn new(total: u64) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let template = match total {
            0 => "{spinner} reading {bytes} ({bytes_per_sec})",
            _ => "reading [{bar:40}] {percent}% of {total_bytes} ({bytes_per_sec}, {eta} left)",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Progress {
            bar,
            began: Instant::now(),
            wanted: io::stderr().is_terminal() && !dumb,
            done: 0,
        }
    }

    /// So many bytes of the present source are read.
    pub fn at(&mut self, bytes: u64) {
        if self.wanted && self.began.elapsed() >= PATIENCE {
            self.wanted = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(self.done.saturating_add(bytes));
    }

    /// The present source is done, after so many bytes.
    pub fn source_done(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
    }

    /// Hides the bar while something else is printed.
    pub fn pause(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
