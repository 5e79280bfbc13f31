//! A source whose frames are found by the thread that takes them: for small files, pipes and what is decompressed beside.

use super::batch::{Batch, Events, Found, Gather, Marker, Parts};
use super::order;
use super::{CaptureError, Event, Source, SourceSummary};

/// How many frames are found together at most.
const MOST: usize = 4096;

/// Finds the next ordinary frames of a source, and puts them in the order of time if `by_time`.
pub(super) fn gather<S: Gather>(source: &mut S, by_time: bool) -> Found {
    let mut found = source.gather(MOST);
    if found.taken == 0 {
        source.prepare();
        found = source.gather(MOST);
    }
    if by_time && !found.in_order {
        let Parts { tally, frames, .. } = source.parts();
        let late = order::by_time(frames);
        tally.late(late);
        found.in_order = frames.times.is_sorted();
    }
    found
}

/// A source that is read where it is asked.
pub(super) struct Direct<S> {
    source: S,
    by_time: bool,
    /// What was found together, how many of its frames were given, and the number of the frame before the first.
    found: Found,
    given: usize,
    before: u64,
}

impl<S: Gather> Direct<S> {
    pub(super) fn new(source: S) -> Direct<S> {
        Direct {
            source,
            by_time: false,
            found: Found::NOTHING,
            given: 0,
            before: 0,
        }
    }

    /// Whether a frame is there to give, looking for more if there is none.
    fn find(&mut self) -> bool {
        if self.found.taken > 0 && self.given < self.source.parts().frames.len() {
            return true;
        }
        self.given = 0;
        self.found = gather(&mut self.source, self.by_time);
        if self.found.taken == 0 {
            return false;
        }
        let Parts {
            window, tally, frames, ..
        } = self.source.parts();
        self.before = tally.frames(frames, &self.found);
        window.advance(self.found.taken);
        true
    }

    /// Up to `most` of the frames that were found.
    fn frames(&mut self, most: usize) -> Batch<'_> {
        let Parts {
            window,
            frames,
            big_endian,
            ..
        } = self.source.parts();
        let from = self.given;
        self.given = frames.len().min(from + most);
        Batch::new(
            window.passed(self.found.taken),
            frames,
            from..self.given,
            self.before,
            big_endian,
            self.found.in_order,
        )
    }
}

impl<S: Gather> Source for Direct<S> {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        if self.find() {
            return Ok(self.frames(1).frame(0).map(Event::Frame));
        }
        self.source.next()
    }

    fn several(&mut self) -> Result<Option<Events<'_>>, CaptureError> {
        if self.find() {
            return Ok(Some(Events::Batch(self.frames(Batch::MOST))));
        }
        Ok(self.source.next()?.map(Events::One))
    }

    fn mark_with(&mut self, marker: Marker) {
        self.source.mark_with(marker);
    }

    fn by_time(&mut self) {
        self.by_time = true;
    }

    fn summary(&self) -> SourceSummary {
        self.source.summary()
    }

    fn bytes_read(&self) -> u64 {
        self.source.bytes_read()
    }
}
