//! The shipped captures, for tests in any module.

use std::path::{Path, PathBuf};

use super::{Event, Frame, OpenOptions, SourceSummary, expand, open};

/// Every shipped capture.
pub(crate) fn all() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    expand(&folder).expect("the shipped captures")
}

/// Gives out everything that a capture contains, in order.
pub(crate) fn read(path: &Path, mut each: impl FnMut(Event<'_>)) -> SourceSummary {
    let mut source = open(path, OpenOptions { read_ahead: false }).expect("a capture");
    while let Some(event) = source.next().expect("a readable capture") {
        each(event);
    }
    source.summary()
}

/// Gives out the frames of a capture, in order.
pub(crate) fn frames(path: &Path, mut each: impl FnMut(&Frame<'_>)) {
    read(path, |event| {
        if let Event::Frame(frame) = event {
            each(&frame);
        }
    });
}
