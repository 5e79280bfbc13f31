//! Frames that lie one behind another in a source's memory, handed on together: what every packet costs anyway is paid once for
//! many, and a reader can look at all of them before it decides on one, so that its waits for memory overlap.

use std::ops::Range;

use super::options::OptionList;
use super::tally::Tally;
use super::window::Window;
use super::{Event, Frame, FrameNo, LinkType, PacketOptions, Source, Timestamp};

/// Where a frame lies in the bytes of its batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: u32,
    pub(super) captured: u32,
    pub(super) wire: u32,
    pub(super) interface: u32,
    /// Where the options begin and how many bytes they take.
    pub(super) options: u32,
    pub(super) options_len: u32,
    pub(super) link: LinkType,
}

/// Frames one behind the other. What is asked of every frame lies apart from what is asked of the few that are wanted: all of it
/// goes from one processor's cache to another's.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) times: Vec<Timestamp>,
    pub(super) marks: Vec<Mark>,
    pub(super) places: Vec<Place>,
    /// Where each of them stood in the file, counted from the first; empty where they are in the order of the file.
    pub(super) order: Vec<u32>,
}

impl Frames {
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.marks.clear();
        self.places.clear();
        self.order.clear();
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    #[inline(always)]
    pub(super) fn push(&mut self, at: Timestamp, mark: Mark, place: Place) {
        self.times.push(at);
        self.marks.push(mark);
        self.places.push(place);
    }
}

/// What a first look at a frame found, in whatever way the one who asked for it writes it down.
pub type Mark = [u64; 2];

/// A first look at a frame. It runs where the frame is found, while its bytes are in the cache of the processor that read them, and
/// depends on nothing else.
pub type Marker = fn(LinkType, &[u8]) -> Mark;

/// Looks at nothing.
pub(super) fn unmarked(_: LinkType, _: &[u8]) -> Mark {
    Mark::default()
}

/// Frames in the order of the source, borrowed until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    times: &'a [Timestamp],
    marks: &'a [Mark],
    places: &'a [Place],
    /// Where each stood in the file; empty where they stand as in the file.
    order: &'a [u32],
    /// The number of the frame before those that were found together, and how many of them come before this batch.
    before: u64,
    from: usize,
    /// Byte order of the options.
    big_endian: bool,
    /// Whether no frame is earlier than the one before it.
    in_order: bool,
}

impl<'a> Batch<'a> {
    /// A batch has no more frames than this: their first bytes stay in the processor's first cache.
    pub const MOST: usize = 64;

    /// The frames of a range; `before` is the number of the frame before the first of all.
    pub(super) fn new(
        bytes: &'a [u8],
        frames: &'a Frames,
        range: Range<usize>,
        before: u64,
        big_endian: bool,
        in_order: bool,
    ) -> Batch<'a> {
        Batch {
            bytes,
            times: frames.times.get(range.clone()).unwrap_or_default(),
            marks: frames.marks.get(range.clone()).unwrap_or_default(),
            order: frames.order.get(range.clone()).unwrap_or_default(),
            before,
            from: range.start,
            places: frames.places.get(range).unwrap_or_default(),
            big_endian,
            in_order,
        }
    }

    /// How many frames there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The marks of the frames: what the [`Marker`] found that was given to the source.
    #[inline]
    pub fn marks(&self) -> &'a [Mark] {
        self.marks
    }

    /// The times of the frames from the one at `from` on.
    #[inline]
    pub fn times(&self, from: usize) -> impl Iterator<Item = Timestamp> + Clone + use<'a> {
        self.times.get(from..).unwrap_or_default().iter().copied()
    }

    /// The earliest and the latest time of the frames from one place to before another.
    #[inline]
    pub fn span(&self, from: usize, until: usize) -> Option<(Timestamp, Timestamp)> {
        let times = self.times.get(from..until)?;
        if self.in_order {
            return Some((*times.first()?, *times.last()?));
        }
        Some((*times.iter().min()?, *times.iter().max()?))
    }

    /// A frame, counted from 0.
    pub fn frame(&self, place: usize) -> Option<Frame<'a>> {
        let found = self.places.get(place)?;
        let options = PacketOptions(OptionList::new(
            part(self.bytes, found.options, found.options_len),
            self.big_endian,
        ));
        Some(Frame {
            no: self.number(place),
            at: *self.times.get(place)?,
            link: found.link,
            interface: found.interface,
            bytes: part(self.bytes, found.start, found.captured),
            wire_len: found.wire,
            direction: if found.options_len > 0 { options.direction() } else { None },
            options,
        })
    }

    fn number(&self, place: usize) -> FrameNo {
        match self.order.get(place) {
            None => FrameNo::new(self.before + (self.from + place) as u64 + 1),
            Some(stood) => FrameNo::moved(
                self.before + u64::from(*stood) + 1,
                self.before + (self.from + place) as u64 + 1,
            ),
        }
    }

    /// All frames.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'a>> + use<'a> {
        let batch = *self;
        (0..batch.len()).filter_map(move |place| batch.frame(place))
    }
}

#[inline]
fn part(bytes: &[u8], start: u32, len: u32) -> &[u8] {
    let start = start as usize;
    bytes.get(start..start + len as usize).unwrap_or_default()
}

/// What a source yields to a reader that takes many frames at a time.
#[derive(Clone, Copy, Debug)]
pub enum Events<'a> {
    /// One or more frames.
    Batch(Batch<'a>),
    /// A frame that is not ordinary, one that reaches over the end of a stretch of memory, or something that is no packet.
    One(Event<'a>),
}

/// What frames that were found together have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The bytes that they take, from the position of the window on; 0 where there is no frame.
    pub(super) taken: usize,
    /// The earliest and the latest time.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// Whether no frame is earlier than the one before it.
    pub(super) in_order: bool,
}

impl Found {
    pub(super) const NOTHING: Found = Found {
        taken: 0,
        first: Timestamp(i64::MAX),
        last: Timestamp(i64::MIN),
        in_order: true,
    };

    #[inline(always)]
    pub(super) fn add(&mut self, at: Timestamp, end: usize) {
        self.taken = end;
        self.in_order &= at >= self.last;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

/// A source that finds frames in a window.
pub(super) trait Gather: Source + Send + 'static {
    /// Finds up to `most` ordinary frames that are whole in the window from the position on, and writes down where they are. The
    /// position stays.
    fn gather(&mut self, most: usize) -> Found;

    /// Passes over what is no event, and reads until the next ordinary frame is whole in the window, if one comes next.
    fn prepare(&mut self);

    /// What a batch is made of.
    fn parts(&mut self) -> Parts<'_>;
}

/// The parts of a source that gathers.
pub(super) struct Parts<'a> {
    pub(super) window: &'a mut Window,
    pub(super) tally: &'a mut Tally,
    /// The frames that were gathered.
    pub(super) frames: &'a mut Frames,
    /// Byte order of their options.
    pub(super) big_endian: bool,
}
