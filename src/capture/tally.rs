//! The running account of a source: what was read, and what could not be.

use super::batch::{Found, Frames};
use super::{FrameNo, InterfaceSummary, LinkType, SectionSummary, Shortfall, SourceSummary, Timestamp};

/// How many shortfalls are kept word for word; further ones are counted.
const SHORTFALLS: usize = 64;
/// How many interfaces and sections are described; further ones are read but not described.
const DESCRIBED: usize = 4096;
/// How many bytes all descriptions may take; further ones are left out.
const DESCRIPTIONS: usize = 4 << 20;

/// Counts frames and remembers damage while a source is read.
#[derive(Debug)]
pub(super) struct Tally {
    summary: SourceSummary,
    first: i64,
    last: i64,
    link: Option<LinkType>,
    /// The number of the last frame, read or not.
    no: u64,
    further_shortfalls: u64,
    further_interfaces: u64,
    /// What is left of [`DESCRIPTIONS`].
    room: usize,
}

impl Tally {
    pub(super) fn new(summary: SourceSummary) -> Self {
        Tally {
            summary,
            first: i64::MAX,
            last: i64::MIN,
            link: None,
            no: 0,
            further_shortfalls: 0,
            further_interfaces: 0,
            room: DESCRIPTIONS,
        }
    }

    /// Counts a frame of `link` whose time the file states, and gives it its number.
    #[inline]
    pub(super) fn frame(&mut self, at: Timestamp, link: LinkType) -> FrameNo {
        self.first = self.first.min(at.0);
        self.last = self.last.max(at.0);
        self.untimed_frame(link)
    }

    /// Counts frames whose times the file states; gives the number before the first.
    pub(super) fn frames(&mut self, frames: &Frames, found: &Found) -> u64 {
        let before = self.no;
        self.first = self.first.min(found.first.0);
        self.last = self.last.max(found.last.0);
        for place in &frames.places {
            if self.link != Some(place.link) {
                self.meet_link(place.link);
            }
        }
        self.summary.packets += frames.len() as u64;
        self.no += frames.len() as u64;
        before
    }

    /// Counts frames that stand later than their time; the first is so many places behind the last frame that was counted.
    pub(super) fn late(&mut self, late: Option<(u64, usize)>) {
        if let Some((n, place)) = late {
            let first = FrameNo::new(self.no + place as u64 + 1);
            let (sum, _) = self.summary.late.get_or_insert((0, first));
            *sum += n;
        }
    }

    /// Counts a frame without a time of its own.
    #[inline]
    pub(super) fn untimed_frame(&mut self, link: LinkType) -> FrameNo {
        if self.link != Some(link) {
            self.meet_link(link);
        }
        self.summary.packets += 1;
        self.no += 1;
        FrameNo::new(self.no)
    }

    /// Takes in that the link type changes.
    #[cold]
    fn meet_link(&mut self, link: LinkType) {
        self.link = Some(link);
        if !self.summary.link_types.contains(&link) && self.summary.link_types.len() < DESCRIBED {
            self.summary.link_types.push(link);
        }
    }

    /// Whether any frame was counted.
    pub(super) fn any_frame(&self) -> bool {
        self.no > 0
    }

    /// Gives a number to a packet that is there but cannot be read, or to a record that is no packet, so that the numbers of the others stay Wireshark's.
    pub(super) fn unreadable_frame(&mut self) {
        self.no += 1;
    }

    /// Records damage at `offset`, after the last frame.
    pub(super) fn shortfall(&mut self, text: impl Into<String>, offset: u64) {
        let after_frame = (self.no > 0).then_some(FrameNo::new(self.no));
        self.push(Shortfall {
            text: text.into(),
            offset: Some(offset),
            after_frame,
        });
    }

    fn push(&mut self, shortfall: Shortfall) {
        if self.summary.shortfalls.len() < SHORTFALLS {
            self.summary.shortfalls.push(shortfall);
        } else {
            self.further_shortfalls += 1;
        }
    }

    /// Describes one more interface.
    pub(super) fn interface(&mut self, mut interface: InterfaceSummary) {
        if self.summary.interfaces.len() >= DESCRIBED {
            self.further_interfaces += 1;
            return;
        }
        let InterfaceSummary {
            name,
            description,
            filter,
            comments,
            ..
        } = &mut interface;
        self.keep([name, description, filter], comments);
        self.summary.interfaces.push(interface);
    }

    /// Takes the room that texts need, or empties them where there is no more.
    fn keep(&mut self, texts: [&mut Option<String>; 3], comments: &mut Vec<String>) {
        let lengths = texts
            .iter()
            .filter_map(|text| text.as_ref())
            .chain(&*comments)
            .map(|text| text.len());
        match self.room.checked_sub(lengths.sum()) {
            Some(room) => self.room = room,
            None => {
                texts.into_iter().for_each(|text| *text = None);
                comments.clear();
            }
        }
    }

    /// Changes the count of dropped packets of an interface.
    pub(super) fn dropped(&mut self, interface: u32, change: impl FnOnce(Option<u64>) -> u64) {
        if let Some(interface) = self.summary.interfaces.get_mut(interface as usize) {
            interface.dropped = Some(change(interface.dropped));
        }
    }

    /// Takes in when the capturing on an interface began and ended.
    pub(super) fn watched(&mut self, began: Option<Timestamp>, ended: Option<Timestamp>) {
        let (first, last) = &mut self.summary.watched;
        *first = first.iter().copied().chain(began).min();
        *last = (*last).max(ended);
    }

    /// Describes one more section.
    pub(super) fn section(&mut self, mut section: SectionSummary) {
        if self.summary.sections.len() < DESCRIBED {
            let SectionSummary {
                hardware,
                os,
                application,
                comments,
            } = &mut section;
            self.keep([hardware, os, application], comments);
            self.summary.sections.push(section);
        }
    }

    /// Everything known so far.
    pub(super) fn summary(&self, bytes: u64) -> SourceSummary {
        let mut summary = self.summary.clone();
        summary.bytes = bytes;
        if self.first <= self.last {
            summary.first = Some(Timestamp(self.first));
            summary.last = Some(Timestamp(self.last));
        }
        for (count, what) in [
            (self.further_shortfalls, "further damaged places are not listed"),
            (self.further_interfaces, "further interfaces are not described"),
        ] {
            if count > 0 {
                summary.shortfalls.push(Shortfall {
                    text: format!("{count} {what}"),
                    offset: None,
                    after_frame: None,
                });
            }
        }
        summary
    }
}
