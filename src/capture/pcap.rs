//! The classic pcap file (draft-ietf-opsawg-pcap) with its variants, and the way back into step after damage.

use std::path::PathBuf;

use super::batch::{self, Found, Frames, Gather, Marker, Parts, Place};
use super::tally::Tally;
use super::window::Window;
use super::words::ByteOrder;
use super::{
    CaptureError, Direction, Event, Frame, InterfaceSummary, LinkType, PacketOptions, Resolution, Source, SourceSummary,
    Timestamp,
};

/// The longest packet that is believed; what libpcap and Wireshark call the maximum snap length.
pub(super) const MAX_PACKET: u32 = 256 * 1024;
/// The longest length on the wire that is believed when looking for a record among garbage.
const MAX_WIRE: u32 = 16 << 20;
/// The file header: magic, version, two unused words, snap length, link type.
pub(super) const FILE_HEADER: usize = 24;
/// Size of a record header, but for that of the modified format.
const RECORD_HEADER: usize = 16;
/// Two neighbouring packets further apart than this are looked at twice, in seconds.
const DAY: u32 = 86_400;
/// How many records must follow one in step before a doubtful one is believed.
const FOLLOWERS: u32 = 2;

/// What a magic number says about a pcap file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    order: ByteOrder,
    nanos: bool,
    modified: bool,
}

impl Dialect {
    /// Tells a pcap file by its first four bytes.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let magic: [u8; 4] = *start.first_chunk()?;
        let dialect = |order: ByteOrder| {
            let (nanos, modified) = match order.u32(&magic, 0) {
                0xa1b2_c3d4 => (false, false),
                0xa1b2_3c4d => (true, false),
                // Alexey Kuznetsov's patch to libpcap: 8 more bytes in each record header.
                0xa1b2_cd34 => (false, true),
                _ => return None,
            };
            Some(Dialect { order, nanos, modified })
        };
        dialect(ByteOrder::Little).or_else(|| dialect(ByteOrder::Big))
    }

    fn name(self) -> &'static str {
        match (self.nanos, self.modified) {
            (true, _) => "pcap (nanoseconds)",
            (false, true) => "pcap (modified)",
            (false, false) => "pcap",
        }
    }
}

/// Which of the two lengths in a record header is the captured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    First,
    /// Before version 2.3.
    Second,
    /// Version 2.3, which was written both ways.
    Smaller,
}

/// A record header.
#[derive(Clone, Copy, Debug)]
struct Record {
    seconds: u32,
    fraction: u32,
    captured: u32,
    wire: u32,
}

/// What a file header says of the records after it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    order: ByteOrder,
    lengths: Lengths,
    /// Size of a record header.
    header: usize,
    /// Offset in the record header of the Linux packet type, where the variant has one.
    packet_type: Option<usize>,
    /// Fractions of a second are below this.
    fractions: u32,
    /// Nanoseconds per fraction.
    unit: i64,
    link: LinkType,
    snaplen: u32,
}

impl Layout {
    fn of(dialect: Dialect, header: &[u8; FILE_HEADER]) -> Self {
        let order = dialect.order;
        Layout {
            order,
            lengths: match (order.u16(header, 4), order.u16(header, 6)) {
                (2, 0..=2) | (0..=1, _) => Lengths::Second,
                (2, 3) => Lengths::Smaller,
                _ => Lengths::First,
            },
            header: if dialect.modified { 24 } else { RECORD_HEADER },
            packet_type: dialect.modified.then_some(22),
            fractions: if dialect.nanos { 1_000_000_000 } else { 1_000_000 },
            unit: if dialect.nanos { 1 } else { 1_000 },
            // The upper bits tell of a frame check sequence at the end of each packet.
            link: LinkType((order.u32(header, 20) & 0xffff) as u16),
            snaplen: order.u32(header, 16),
        }
    }

    /// Reads a record header.
    #[inline]
    fn record(&self, bytes: &[u8; 16]) -> Record {
        let order = self.order;
        let (captured, wire) = (order.u32(bytes, 8), order.u32(bytes, 12));
        let (captured, wire) = match self.lengths {
            Lengths::First => (captured, wire),
            Lengths::Second => (wire, captured),
            Lengths::Smaller => (captured.min(wire), captured.max(wire)),
        };
        Record {
            seconds: order.u32(bytes, 0),
            fraction: order.u32(bytes, 4),
            captured,
            wire,
        }
    }

    #[inline]
    fn well_formed(&self, record: Record) -> bool {
        // Wrapping below zero makes an empty packet, which zeroed parts of a file are full of, too long.
        record.captured.wrapping_sub(1) < MAX_PACKET && record.captured <= record.wire && record.fraction < self.fractions
    }

    /// When a record was captured.
    #[inline]
    fn time(&self, record: Record) -> Timestamp {
        Timestamp(i64::from(record.seconds) * 1_000_000_000 + i64::from(record.fraction) * self.unit)
    }
}

/// Reads a pcap file.
pub(super) struct Pcap {
    window: Window,
    tally: Tally,
    layout: Layout,
    /// Which of the files that were joined this is; almost always the first and only one.
    interface: u32,
    /// Seconds of the last record that was believed.
    previous: u32,
    /// The frames of the present batch.
    frames: Frames,
    marker: Marker,
    path: PathBuf,
    ended: bool,
}

impl Pcap {
    /// Reads the file header at the position of `window`; `None` where the file ends within it.
    pub(super) fn new(mut window: Window, dialect: Dialect, mut summary: SourceSummary) -> Option<Self> {
        let layout = Layout::of(dialect, window.peek()?);
        summary.format = format!("{}{}", dialect.name(), summary.format);
        let path = summary.path.clone();
        let mut pcap = Pcap {
            window,
            tally: Tally::new(summary),
            layout,
            interface: 0,
            previous: 0,
            frames: Frames::default(),
            marker: batch::unmarked,
            path,
            ended: false,
        };
        pcap.begin();
        Some(pcap)
    }

    /// Passes the file header at the position and gets ready for the records after it.
    fn begin(&mut self) {
        self.tally.interface(InterfaceSummary {
            link: self.layout.link,
            snaplen: self.layout.snaplen,
            resolution: if self.layout.unit == 1 {
                Resolution::NANOS
            } else {
                Resolution::MICROS
            },
            ..InterfaceSummary::default()
        });
        self.window.advance(FILE_HEADER);
        self.choose_header();
        if self.window.ensure(self.layout.header) {
            self.previous = self.record(0).seconds;
        }
    }

    /// Goes on with another pcap file where one was joined to the first (`cat a b > c`), which the format does not allow.
    fn joined_file(&mut self) -> bool {
        let Some(dialect) = Dialect::of(self.window.bytes()) else {
            return false;
        };
        let Some(header) = self.window.peek::<FILE_HEADER>() else {
            return false;
        };
        // Version 2, and the time zone that nobody ever filled in.
        if (dialect.order.u16(header, 4), dialect.order.u32(header, 8)) != (2, 0) {
            return false;
        }
        self.layout = Layout::of(dialect, header);
        self.tally.shortfall(
            "another pcap file was joined on here; other tools stop at this place",
            self.window.offset(),
        );
        self.interface = self.interface.saturating_add(1);
        self.begin();
        true
    }

    /// Some patched libpcaps wrote longer record headers than their magic number says. They are told by what follows the
    /// first record: only with the right size of header does a chain of records come out.
    fn choose_header(&mut self) {
        const NOKIA: (usize, Option<usize>) = (20, None);
        const RED_HAT: (usize, Option<usize>) = (24, Some(22));
        const SUSE: (usize, Option<usize>) = (28, Some(22));
        let written = (self.layout.header, self.layout.packet_type);
        for (candidate, followers) in [(written, 0), (NOKIA, 1), (RED_HAT, 1), (SUSE, 1)] {
            (self.layout.header, self.layout.packet_type) = candidate;
            if self.leads_on(0, followers) {
                return;
            }
        }
        (self.layout.header, self.layout.packet_type) = written;
    }

    /// The record header `at` bytes after the position, which the window must hold.
    #[inline]
    fn record(&self, at: usize) -> Record {
        let bytes = self.window.bytes().get(at..).and_then(<[u8]>::first_chunk);
        self.layout.record(bytes.unwrap_or(&[0; 16]))
    }

    /// Whether nothing about a record is odd. Odd ones are looked at twice; most of them are right all the same.
    #[inline]
    fn ordinary(&self, record: Record) -> bool {
        self.well_formed(record) && near(record.seconds, self.previous)
    }

    #[inline]
    fn well_formed(&self, record: Record) -> bool {
        self.layout.well_formed(record)
    }

    /// Whether the record `at` bytes after the position is followed by [`FOLLOWERS`] records in step, or by the end of the file with
    /// `at_least` so many records before it.
    fn leads_on(&mut self, mut at: usize, at_least: u32) -> bool {
        let mut seconds = None;
        for place in 0..=FOLLOWERS {
            if !self.window.ensure(at + self.layout.header) {
                // The end of the file behind a whole record; a few bytes more are the head of one that was cut.
                let end = self.window.bytes().len();
                return place > at_least && (at == end || (place > 1 && at < end));
            }
            let record = self.record(at);
            let lengths =
                record.captured <= MAX_PACKET && (place == 0 || (record.captured > 0 && (1..=MAX_WIRE).contains(&record.wire)));
            // Lengths that agree are as good a sign as a time that fits: 32 bits that garbage seldom gets right.
            let in_step = record.captured == record.wire || seconds.is_none_or(|s| near(record.seconds, s));
            if !(lengths && in_step) {
                return false;
            }
            seconds = Some(record.seconds);
            at += self.layout.header + record.captured as usize;
        }
        true
    }

    /// Moves to the next place that looks like a record near in time and that others follow.
    fn resynchronise(&mut self) -> bool {
        while self.window.ensure(self.layout.header + 1) {
            self.window.advance(1);
            let last = self.window.bytes().len() - self.layout.header;
            let found = (0..=last).find(|&at| {
                let record = self.record(at);
                let near = !self.tally.any_frame() || near(record.seconds, self.previous);
                near && record.wire <= MAX_WIRE && self.well_formed(record)
            });
            match found {
                Some(at) => {
                    self.window.advance(at);
                    if self.leads_on(0, 0) {
                        return true;
                    }
                }
                None => self.window.advance(last),
            }
        }
        false
    }

    /// Decides on a record that is not ordinary: `true` where the position now stands at a record to be
    /// read, `false` where it has to be looked at again.
    #[cold]
    fn doubt(&mut self) -> bool {
        if self.joined_file() {
            return false;
        }
        let from = self.window.offset();
        // More bytes than the packet had: where others follow after as many as it had, the first number is damaged.
        let record = self.record(0);
        let whole = self.layout.header + record.wire as usize;
        if record.captured > record.wire && (1..=MAX_PACKET).contains(&record.wire) && self.leads_on(whole, 0) {
            self.tally.shortfall(
                format!("a packet claims more bytes than it had; its {whole} bytes were skipped"),
                from,
            );
            self.window.advance(whole);
            return false;
        }
        if self.leads_on(0, 0) {
            return true;
        }
        let found = self.resynchronise();
        if found {
            let skipped = self.window.offset() - from;
            self.tally.shortfall(format!("{skipped} damaged bytes were skipped"), from);
        } else {
            let skipped = self.window.offset() + self.window.bytes().len() as u64 - from;
            self.stop(
                Some(format!("the last {skipped} bytes are damaged and could not be read")),
                from,
            );
        }
        found
    }

    /// Ends reading; `cut` says in what the file ended, if it was not between two packets.
    #[cold]
    fn stop(&mut self, cut: Option<String>, offset: u64) {
        self.window.settle(&mut self.tally, cut, offset);
        self.ended = true;
    }

    /// Finds the next record that can be read, with all of it in the window, or `None` at the end.
    fn next_record(&mut self) -> Option<Record> {
        loop {
            if self.ended || !self.window.ensure(self.layout.header) {
                if !self.ended {
                    let rest = self.window.bytes().len();
                    let cut = format!("the file is cut short, {rest} bytes into the header of a packet");
                    self.stop((rest > 0).then_some(cut), self.window.offset());
                }
                return None;
            }
            let mut record = self.record(0);
            if !self.ordinary(record) {
                if !self.doubt() {
                    continue;
                }
                record = self.record(0);
            }
            if self.window.ensure(self.layout.header + record.captured as usize) {
                return Some(record);
            }
            let rest = self.window.bytes().len();
            let cut = format!(
                "the file is cut short, {rest} bytes into a packet that takes {}",
                self.layout.header + record.captured as usize
            );
            self.stop(Some(cut), self.window.offset());
        }
    }
}

impl Source for Pcap {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        let Some(record) = self.next_record() else {
            return self.window.end(&self.path);
        };
        let direction = self
            .layout
            .packet_type
            .and_then(|at| linux_direction(self.window.bytes()[at]));
        let captured = record.captured as usize;
        self.window.advance(self.layout.header + captured);
        self.previous = record.seconds;
        let at = self.layout.time(record);
        Ok(Some(Event::Frame(Frame {
            no: self.tally.frame(at, self.layout.link),
            at,
            link: self.layout.link,
            interface: self.interface,
            bytes: self.window.passed(captured),
            wire_len: record.wire,
            direction,
            options: PacketOptions::default(),
        })))
    }

    fn mark_with(&mut self, marker: Marker) {
        self.marker = marker;
    }

    fn summary(&self) -> SourceSummary {
        self.tally.summary(self.bytes_read())
    }

    fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }
}

impl Pcap {
    /// [`Gather::gather`] for a layout; where most of it is known when this is compiled, it takes less for each record.
    #[inline(always)]
    fn gather_as(&mut self, layout: Layout, most: usize) -> Found {
        let mut found = Found::NOTHING;
        let bytes = self.window.bytes();
        let mut previous = self.previous;
        while self.frames.len() < most {
            let Some(header) = bytes.get(found.taken..).and_then(<[u8]>::first_chunk) else {
                break;
            };
            let record = layout.record(header);
            let start = found.taken + layout.header;
            let end = start + record.captured as usize;
            if !layout.well_formed(record) || !near(record.seconds, previous) {
                break;
            }
            let Some(frame) = bytes.get(start..end) else { break };
            previous = record.seconds;
            let at = layout.time(record);
            let mark = (self.marker)(layout.link, frame);
            let place = Place {
                start: start as u32,
                captured: record.captured,
                wire: record.wire,
                interface: self.interface,
                options: 0,
                options_len: 0,
                link: layout.link,
            };
            self.frames.push(at, mark, place);
            found.add(at, end);
        }
        self.previous = previous;
        found
    }
}

impl Gather for Pcap {
    fn gather(&mut self, most: usize) -> Found {
        self.frames.clear();
        let layout = self.layout;
        // The packet type is looked at one by one.
        if self.ended || layout.packet_type.is_some() {
            return Found::NOTHING;
        }
        let usual = Layout {
            order: ByteOrder::Little,
            lengths: Lengths::First,
            header: RECORD_HEADER,
            packet_type: None,
            ..layout
        };
        if layout == usual {
            self.gather_as(usual, most)
        } else {
            self.gather_as(layout, most)
        }
    }

    fn prepare(&mut self) {
        if let Some(record) = self.next_record() {
            self.previous = record.seconds;
        }
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            window: &mut self.window,
            tally: &mut self.tally,
            frames: &mut self.frames,
            big_endian: false,
        }
    }
}

/// The direction in the packet type of a Linux packet socket, as the modified format stores it.
fn linux_direction(packet_type: u8) -> Option<Direction> {
    match packet_type {
        // To this host, broadcast, multicast.
        0..=2 => Some(Direction::Inbound),
        // Sent by this host.
        4 => Some(Direction::Outbound),
        // To another host, seen in promiscuous mode.
        _ => None,
    }
}

/// Whether two times in seconds are within a day of each other.
#[inline]
fn near(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).wrapping_add(DAY) <= 2 * DAY
}
