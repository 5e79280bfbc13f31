//! The pcapng file (draft-ietf-opsawg-pcapng): blocks in, packets and secrets out, and the way back into step after damage.

use std::path::PathBuf;

use super::batch::{self, Found, Frames, Gather, Marker, Parts, Place};
use super::options::{self, OptionList};
use super::tally::Tally;
use super::window::Window;
use super::words::ByteOrder;
use super::{CaptureError, Event, Frame, LinkType, PacketOptions, Source, SourceSummary, Timestamp};

mod blocks;
mod time;

pub(super) use blocks::kind;

/// The longest block that is believed.
const MAX_BLOCK: u32 = 8 << 20;
/// The shortest block: type, length, length again.
const MIN_BLOCK: usize = 12;

/// The magic number behind the length of a Section Header Block, in the byte order of the section.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// `TLSK`: secrets in a Decryption Secrets Block are a TLS key log.
pub(super) const TLS_KEY_LOG: u32 = 0x544c_534b;

/// What packets need to know of their interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    scale: time::Scale,
    /// `if_tsoffset` in nanoseconds.
    offset: i64,
}

impl Interface {
    #[inline]
    fn time(&self, units: u64) -> Timestamp {
        Timestamp(self.scale.nanos(units).saturating_add(self.offset))
    }
}

/// Reads a pcapng file.
pub(super) struct Pcapng {
    window: Window,
    tally: Tally,
    order: ByteOrder,
    /// The interfaces of the current section.
    interfaces: Vec<Interface>,
    /// How many interfaces the sections before had.
    interfaces_before: u32,
    /// The time of the last packet.
    previous: Timestamp,
    /// Whether a packet without a time was met.
    untimed: bool,
    /// Up to here a damaged block's real end was looked for.
    searched: u64,
    /// A block that was found whole: where it begins, its type and its length.
    found: Option<(u64, u32, usize)>,
    /// The frames of the present batch.
    frames: Frames,
    marker: Marker,
    path: PathBuf,
    ended: bool,
}

impl Pcapng {
    /// A reader at the first Section Header Block.
    pub(super) fn new(window: Window, mut summary: SourceSummary) -> Self {
        summary.format = format!("pcapng{}", summary.format);
        Pcapng {
            window,
            path: summary.path.clone(),
            tally: Tally::new(summary),
            order: ByteOrder::default(),
            interfaces: Vec::new(),
            interfaces_before: 0,
            previous: Timestamp::default(),
            untimed: false,
            searched: 0,
            found: None,
            frames: Frames::default(),
            marker: batch::unmarked,
            ended: false,
        }
    }

    /// The first `N` bytes of the block at the position; zeros where it is shorter.
    #[inline]
    fn head<const N: usize>(&self) -> &[u8; N] {
        self.window.bytes().first_chunk().unwrap_or(&[0; N])
    }

    /// The 32-bit number `at` bytes after the position; 0 where there is none.
    #[inline]
    fn u32(&self, at: usize) -> u32 {
        let word = self.window.bytes().get(at..).and_then(<[u8]>::first_chunk).unwrap_or(&[0; 4]);
        self.order.u32(word, 0)
    }

    /// The byte order of the Section Header Block at `at`, if there is one.
    fn section_order(&self, at: usize) -> Option<ByteOrder> {
        let head: &[u8; 12] = self.window.bytes().get(at..)?.first_chunk()?;
        if ByteOrder::Little.u32(head, 0) != kind::SECTION_HEADER {
            return None;
        }
        [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .find(|order| order.u32(head, 8) == BYTE_ORDER)
    }

    /// Whether a whole block stands at `at`: a type that is known and two lengths that agree.
    fn block_at(&mut self, at: usize) -> bool {
        if !self.window.ensure(at + MIN_BLOCK) {
            return false;
        }
        let section = self.section_order(at);
        if section.is_none() && !kind::ORDINARY.contains(&self.u32(at)) {
            return false;
        }
        let order = self.order;
        self.order = section.unwrap_or(order);
        let len = self.u32(at + 4);
        let end = at + len as usize;
        let sane = (MIN_BLOCK as u32..=MAX_BLOCK).contains(&len);
        let whole = sane && self.window.ensure(end) && self.u32(end - 4) == len;
        self.order = order;
        whole
    }

    /// Moves to the next place at which a whole block stands.
    fn resynchronise(&mut self) -> bool {
        while self.window.ensure(MIN_BLOCK + 1) {
            self.window.advance(1);
            let last = self.window.bytes().len() - MIN_BLOCK;
            let begins = |&at: &usize| kind::ORDINARY.contains(&self.u32(at)) || self.section_order(at).is_some();
            match (0..=last).find(begins) {
                Some(at) => {
                    self.window.advance(at);
                    if self.block_at(0) {
                        return true;
                    }
                }
                None => self.window.advance(last),
            }
        }
        false
    }

    /// Skips to the next whole block, or ends where there is none.
    #[cold]
    fn skip_damage(&mut self, what: &str) {
        let from = self.window.offset();
        if self.resynchronise() {
            let skipped = self.window.offset() - from;
            self.tally
                .shortfall(format!("{what}; {skipped} damaged bytes were skipped"), from);
        } else {
            let skipped = self.window.offset() + self.window.bytes().len() as u64 - from;
            self.stop(Some(format!("{what}; the last {skipped} bytes could not be read")), from);
        }
    }

    #[cold]
    fn stop(&mut self, cut: Option<String>, offset: u64) {
        self.window.settle(&mut self.tally, cut, offset);
        self.ended = true;
    }

    /// Finds the next block: its type and length, with the whole block in the window, or `None` at the end.
    #[inline]
    fn next_block(&mut self) -> Option<(u32, usize)> {
        loop {
            if self.ended || !self.window.ensure(MIN_BLOCK) {
                self.no_block();
                return None;
            }
            let head: &[u8; 8] = self.head();
            let (kind, len) = (self.order.u32(head, 0), self.order.u32(head, 4) as usize);
            if kind == kind::SECTION_HEADER {
                if let Some(len) = self.section_block() {
                    return Some((kind, len));
                }
            } else if self.whole_block(kind, len) {
                return Some((kind, len));
            }
        }
    }

    /// Whether the block at the position is whole. Otherwise moves on to one that may be.
    #[inline]
    fn whole_block(&mut self, kind: u32, len: usize) -> bool {
        if !(MIN_BLOCK..=MAX_BLOCK as usize).contains(&len) {
            self.skip_damage(&format!("a block claims an impossible length of {len} bytes"));
            return false;
        }
        if !self.window.ensure(len) {
            self.cut_block(kind, len);
            return false;
        }
        self.u32(len - 4) as usize == len || self.bad_trailer(len)
    }

    /// The length of the Section Header Block at the position, whose byte order holds from here on.
    #[cold]
    fn section_block(&mut self) -> Option<usize> {
        let Some(order) = self.section_order(0) else {
            self.skip_damage("a section has no byte order");
            return None;
        };
        self.order = order;
        let len = self.u32(4) as usize;
        self.whole_block(kind::SECTION_HEADER, len).then_some(len)
    }

    #[cold]
    fn no_block(&mut self) {
        if !self.ended {
            let rest = self.window.bytes().len();
            let cut = format!("the file is cut short, {rest} bytes into the header of a block");
            self.stop((rest > 0).then_some(cut), self.window.offset());
        }
    }

    /// The block at the position is longer than the file. Usually the file was cut; but a wrong length looks alike, and
    /// then there are whole blocks further on.
    #[cold]
    fn cut_block(&mut self, kind: u32, len: usize) {
        let from = self.window.offset();
        let rest = self.window.bytes().len();
        if self.resynchronise() {
            let skipped = self.window.offset() - from;
            let text = format!("a block claims {len} bytes, more than there are; {skipped} damaged bytes were skipped");
            self.tally.shortfall(text, from);
        } else {
            let what = if kind::is_packet(kind) { "a packet" } else { "a block" };
            self.stop(
                Some(format!("the file is cut short, {rest} bytes into {what} that takes {len}")),
                from,
            );
        }
    }

    /// The two lengths of a block differ. Where the second is believed by the block behind it, the first is the damaged one; else, where the
    /// first leads to another block, it is the right one.
    #[cold]
    fn bad_trailer(&mut self, len: usize) -> bool {
        // Each stretch is searched once, however many blocks claim it.
        let from = self.searched.saturating_sub(self.window.offset()).min(len as u64) as usize;
        let shorter = (from.next_multiple_of(4).max(MIN_BLOCK)..len)
            .step_by(4)
            .find(|&at| self.u32(at - 4) as usize == at && self.block_at(at));
        let reached = shorter.unwrap_or(len) as u64;
        self.searched = self.searched.max(self.window.offset() + reached);
        if let Some(at) = shorter {
            let text = format!("the two lengths of a block differ; its {at} bytes were skipped");
            self.tally.shortfall(text, self.window.offset());
            self.window.advance(at);
            return false;
        }
        let at_end = !self.window.ensure(len + 1);
        if at_end || self.block_at(len) {
            let text = "the two lengths of a block differ; the first was believed";
            self.tally.shortfall(text, self.window.offset());
            return true;
        }
        self.skip_damage("the two lengths of a block differ");
        false
    }
}

impl Source for Pcapng {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        loop {
            // What was found there already is not doubted twice.
            let found = self.found.take().filter(|(at, ..)| *at == self.window.offset());
            let Some((kind, len)) = found.map(|(_, kind, len)| (kind, len)).or_else(|| self.next_block()) else {
                return self.window.end(&self.path);
            };
            if !kind::is_packet(kind) {
                let secrets = self.other_block(kind, len);
                self.window.advance(len);
                match secrets {
                    Some(range) => return Ok(Some(Event::Secrets(&self.window.passed(len)[range]))),
                    None => continue,
                }
            }
            let packet = self.packet(kind, len);
            let interface = packet
                .as_ref()
                .and_then(|packet| self.interfaces.get(packet.interface as usize));
            let (Some(packet), Some(&interface)) = (packet, interface) else {
                self.unreadable_packet(len);
                self.window.advance(len);
                continue;
            };
            let id = self.interfaces_before + packet.interface;
            let (no, at) = match packet.at {
                Some(units) => {
                    let at = interface.time(units);
                    (self.tally.frame(at, interface.link), at)
                }
                None => (self.tally.untimed_frame(interface.link), self.untimed()),
            };
            self.previous = at;
            // The options end where the second length begins.
            let has_options = packet.options < len - 4;
            if has_options {
                self.count_drops(id, packet.options..len - 4);
            }
            self.window.advance(len);
            let block = self.window.passed(len);
            let options = match block.get(packet.options..len - 4) {
                Some(bytes) if has_options => PacketOptions(OptionList::new(bytes, self.order == ByteOrder::Big)),
                _ => PacketOptions::default(),
            };
            return Ok(Some(Event::Frame(Frame {
                no,
                at,
                link: interface.link,
                interface: id,
                bytes: &block[packet.data..packet.data + packet.captured],
                wire_len: packet.wire,
                direction: if has_options { options.direction() } else { None },
                options,
            })));
        }
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

impl Pcapng {
    /// [`Gather::gather`] in a byte order; where that is known when this is compiled, it takes less for each block.
    #[inline(always)]
    fn gather_in(&mut self, order: ByteOrder, most: usize) -> Found {
        let mut found = Found::NOTHING;
        let bytes = self.window.bytes();
        while self.frames.len() < most {
            let at = found.taken;
            let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<28>) else {
                break;
            };
            let len = order.u32(head, 4) as usize;
            let captured = order.u32(head, 20);
            let options = 28 + (captured as usize).next_multiple_of(4);
            if order.u32(head, 0) != kind::ENHANCED_PACKET || captured > blocks::MAX_PACKET || len < options + 4 {
                break;
            }
            let trailer = bytes.get(at + len - 4..).and_then(<[u8]>::first_chunk::<4>);
            let Some(interface) = self.interfaces.get(order.u32(head, 8) as usize) else {
                break;
            };
            if len > MAX_BLOCK as usize || trailer.is_none_or(|trailer| order.u32(trailer, 0) as usize != len) {
                break;
            }
            let Some(frame) = bytes.get(at + 28..at + 28 + captured as usize) else {
                break;
            };
            let options_len = len - 4 - options;
            // Drops are counted one by one.
            if options_len > 0
                && let Some(list) = bytes.get(at + options..at + len - 4)
                && OptionList::new(list, order == ByteOrder::Big)
                    .value(options::PACKET_DROPCOUNT)
                    .is_some()
            {
                break;
            }
            let time = interface.time(u64::from(order.u32(head, 12)) << 32 | u64::from(order.u32(head, 16)));
            let mark = (self.marker)(interface.link, frame);
            let place = Place {
                start: (at + 28) as u32,
                captured,
                wire: order.u32(head, 24),
                interface: self.interfaces_before + order.u32(head, 8),
                options: (at + options) as u32,
                options_len: options_len as u32,
                link: interface.link,
            };
            self.frames.push(time, mark, place);
            found.add(time, at + len);
            self.previous = time;
        }
        found
    }
}

impl Gather for Pcapng {
    fn gather(&mut self, most: usize) -> Found {
        self.frames.clear();
        match self.order {
            _ if self.ended => Found::NOTHING,
            ByteOrder::Little => self.gather_in(ByteOrder::Little, most),
            ByteOrder::Big => self.gather_in(ByteOrder::Big, most),
        }
    }

    fn prepare(&mut self) {
        while let Some((kind, len)) = self.next_block() {
            if kind::is_packet(kind) || kind == kind::SECRETS {
                self.found = Some((self.window.offset(), kind, len));
                return;
            }
            self.other_block(kind, len);
            self.window.advance(len);
        }
    }

    fn parts(&mut self) -> Parts<'_> {
        Parts {
            window: &mut self.window,
            tally: &mut self.tally,
            frames: &mut self.frames,
            big_endian: self.order == ByteOrder::Big,
        }
    }
}
