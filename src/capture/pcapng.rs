//! The pcapng file (draft-ietf-opsawg-pcapng): blocks in, packets and secrets out, and the way back into step after damage.

use std::path::PathBuf;

use super::options::OptionList;
use super::pcap::MAX_PACKET;
use super::tally::Tally;
use super::window::Window;
use super::{
    CaptureError, Event, Frame, FrameNo, InterfaceSummary, LinkType, PacketOptions, Resolution, SectionSummary, Source,
    SourceSummary, Timestamp,
};

/// The longest block that is believed.
const MAX_BLOCK: u32 = 8 << 20;
/// How many interfaces of one section are believed.
const MAX_INTERFACES: usize = 1 << 16;

/// Block types (sections 4 and 11.1).
pub(super) mod block {
    pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub const INTERFACE: u32 = 1;
    pub const OBSOLETE_PACKET: u32 = 2;
    pub const SIMPLE_PACKET: u32 = 3;
    pub const NAME_RESOLUTION: u32 = 4;
    pub const STATISTICS: u32 = 5;
    pub const ENHANCED_PACKET: u32 = 6;
    pub const SYSTEMD_JOURNAL: u32 = 9;
    pub const SECRETS: u32 = 10;
    pub const CUSTOM: u32 = 0xbad;
    pub const CUSTOM_NOT_COPIED: u32 = 0x4000_0bad;

    /// Every type that marks a place as the begin of a block when looking for one among garbage.
    pub const KNOWN: [u32; 11] = [
        SECTION_HEADER,
        INTERFACE,
        OBSOLETE_PACKET,
        SIMPLE_PACKET,
        NAME_RESOLUTION,
        STATISTICS,
        ENHANCED_PACKET,
        SYSTEMD_JOURNAL,
        SECRETS,
        CUSTOM,
        CUSTOM_NOT_COPIED,
    ];
}

/// The magic number behind the length of a Section Header Block, in the byte order of the section.
pub(super) const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// `TLSK`: secrets in a Decryption Secrets Block are a TLS key log.
pub(super) const TLS_KEY_LOG: u32 = 0x544c_534b;

/// How the timestamps of an interface become nanoseconds.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// Nanoseconds per unit.
    Times(u64),
    /// Units per nanosecond.
    Divided(u128),
    /// Units of 2^-n seconds.
    Binary(u8),
}

impl Scale {
    fn of(resolution: Resolution) -> Self {
        match resolution.0 {
            n @ 0..=9 => Scale::Times(10u64.pow(9 - u32::from(n))),
            // Ten to the 38th is the last power that fits; a finer unit than that makes every time zero anyway.
            n @ 10..=0x7f => Scale::Divided(10u128.checked_pow(u32::from(n) - 9).unwrap_or(u128::MAX)),
            n => Scale::Binary(n & 0x7f),
        }
    }

    #[inline]
    fn nanos(self, units: u64) -> i64 {
        match self {
            Scale::Times(n) => i64::try_from(units.saturating_mul(n)).unwrap_or(i64::MAX),
            Scale::Divided(n) => i64::try_from(u128::from(units) / n).unwrap_or(i64::MAX),
            Scale::Binary(n) => i64::try_from((u128::from(units) * 1_000_000_000) >> n).unwrap_or(i64::MAX),
        }
    }
}

/// What packets need to know of their interface.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    scale: Scale,
    /// `if_tsoffset` in nanoseconds.
    offset: i64,
}

impl Interface {
    #[inline]
    fn time(&self, units: u64) -> Timestamp {
        Timestamp(self.scale.nanos(units).saturating_add(self.offset))
    }
}

/// Where in a block its packet is, and what is known of it.
struct Packet {
    interface: u32,
    at: Option<u64>,
    captured: usize,
    wire: u32,
    /// Offset of the packet in the block.
    data: usize,
    /// Offset of the options in the block.
    options: usize,
}

/// What became of a block.
enum Read {
    Frame {
        frame: FrameNo,
        at: Timestamp,
        link: LinkType,
        interface: u32,
        packet: Packet,
    },
    Secrets {
        len: usize,
    },
    Nothing,
}

/// Reads a pcapng file.
pub(super) struct Pcapng {
    window: Window,
    tally: Tally,
    big_endian: bool,
    /// The interfaces of the current section.
    interfaces: Vec<Interface>,
    /// How many interfaces the sections before had.
    interfaces_before: u32,
    /// The time of the last packet that had one.
    previous: Timestamp,
    untimed: bool,
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
            big_endian: false,
            interfaces: Vec::new(),
            interfaces_before: 0,
            previous: Timestamp::default(),
            untimed: false,
            ended: false,
        }
    }

    #[inline]
    fn u16(&self, at: usize) -> u16 {
        let word = self
            .window
            .bytes()
            .get(at..)
            .and_then(|b| b.first_chunk())
            .copied()
            .unwrap_or_default();
        if self.big_endian {
            u16::from_be_bytes(word)
        } else {
            u16::from_le_bytes(word)
        }
    }

    #[inline]
    fn u32(&self, at: usize) -> u32 {
        let word = self
            .window
            .bytes()
            .get(at..)
            .and_then(|b| b.first_chunk())
            .copied()
            .unwrap_or_default();
        if self.big_endian {
            u32::from_be_bytes(word)
        } else {
            u32::from_le_bytes(word)
        }
    }

    fn options(&self, from: usize, to: usize) -> OptionList<'_> {
        OptionList::new(self.window.bytes().get(from..to).unwrap_or(&[]), self.big_endian)
    }

    /// The byte order of the Section Header Block at `at`, if there is one.
    fn section_order(&self, at: usize) -> Option<bool> {
        let bytes = self.window.bytes().get(at..)?;
        if *bytes.first_chunk()? != block::SECTION_HEADER.to_be_bytes() {
            return None;
        }
        let order: [u8; 4] = *bytes.get(8..)?.first_chunk()?;
        [true, false].into_iter().find(|&big| {
            order
                == if big {
                    BYTE_ORDER.to_be_bytes()
                } else {
                    BYTE_ORDER.to_le_bytes()
                }
        })
    }

    /// Whether a whole block stands at `at`: a type that is known and two lengths that agree.
    fn block_at(&mut self, at: usize) -> bool {
        if !self.window.ensure(at + 12) {
            return false;
        }
        let section = self.section_order(at);
        let known = section.is_some() || {
            let kind = self.u32(at);
            kind != block::SECTION_HEADER && block::KNOWN.contains(&kind)
        };
        if !known {
            return false;
        }
        let order = self.big_endian;
        self.big_endian = section.unwrap_or(order);
        let len = self.u32(at + 4);
        let sane = (12..=MAX_BLOCK).contains(&len);
        let whole = sane && self.window.ensure(at + len as usize) && self.u32(at + len as usize - 4) == len;
        self.big_endian = order;
        whole
    }

    /// Moves to the next place at which a whole block stands.
    fn resynchronise(&mut self) -> bool {
        while self.window.ensure(13) {
            self.window.advance(1);
            let last = self.window.bytes().len() - 12;
            let found = (0..=last).find(|&at| block::KNOWN.contains(&self.u32(at)) || self.section_order(at).is_some());
            match found {
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

    /// Finds the next block; its length, with the whole block in the window, or `None` at the end.
    #[inline]
    fn next_block(&mut self) -> Option<(u32, usize)> {
        while !self.ended {
            if !self.window.ensure(12) {
                let rest = self.window.bytes().len();
                let cut = format!("the file is cut short, {rest} bytes into the header of a block");
                self.stop((rest > 0).then_some(cut), self.window.offset());
                break;
            }
            let kind = self.u32(0);
            if kind == block::SECTION_HEADER {
                match self.section_order(0) {
                    Some(big_endian) => self.big_endian = big_endian,
                    None => {
                        self.skip_damage("a section has no byte order");
                        continue;
                    }
                }
            }
            let len = self.u32(4);
            if !(12..=MAX_BLOCK).contains(&len) {
                self.skip_damage(&format!("a block claims an impossible length of {len} bytes"));
                continue;
            }
            let len = len as usize;
            if !self.window.ensure(len) {
                self.cut_block(kind, len);
                continue;
            }
            if self.u32(len - 4) as usize != len && !self.bad_trailer(len) {
                continue;
            }
            return Some((kind, len));
        }
        None
    }

    /// The block at the position is longer than the file. Usually the file was cut; but a wrong length looks alike, and
    /// then there are whole blocks further on.
    #[cold]
    fn cut_block(&mut self, kind: u32, len: usize) {
        let from = self.window.offset();
        let rest = self.window.bytes().len();
        if self.resynchronise() {
            let skipped = self.window.offset() - from;
            self.tally.shortfall(
                format!("a block claims {len} bytes, more than there are; {skipped} damaged bytes were skipped"),
                from,
            );
        } else {
            let what = match kind {
                block::ENHANCED_PACKET | block::SIMPLE_PACKET | block::OBSOLETE_PACKET => "a packet",
                _ => "a block",
            };
            self.stop(
                Some(format!("the file is cut short, {rest} bytes into {what} that takes {len}")),
                from,
            );
        }
    }

    /// The two lengths of a block differ. Where the first leads to another block, it is the right one.
    #[cold]
    fn bad_trailer(&mut self, len: usize) -> bool {
        let at_end = !self.window.ensure(len + 1);
        if at_end || self.block_at(len) {
            self.tally.shortfall(
                "the two lengths of a block differ; the first was believed",
                self.window.offset(),
            );
            return true;
        }
        self.skip_damage("the two lengths of a block differ");
        false
    }

    /// Takes in the block of `len` bytes at the position, without moving.
    #[inline]
    fn read_block(&mut self, kind: u32, len: usize) -> Read {
        let packet = match kind {
            block::ENHANCED_PACKET => self.enhanced_packet(len),
            block::SIMPLE_PACKET => self.simple_packet(len),
            block::OBSOLETE_PACKET => self.obsolete_packet(len),
            _ => return self.other_block(kind, len),
        };
        let interface = packet
            .as_ref()
            .and_then(|p| self.interfaces.get(p.interface as usize))
            .copied();
        let (Some(packet), Some(interface)) = (packet, interface) else {
            return self.unreadable_packet(len);
        };
        let id = self.interfaces_before + packet.interface;
        // Most packets have no options; the list ends 4 bytes before the block does, with the second length.
        if packet.options + 8 <= len {
            self.count_drops(id, packet.options, len);
        }
        let (frame, at) = match packet.at {
            Some(units) => {
                let at = interface.time(units);
                (self.tally.frame(at, interface.link), at)
            }
            None => {
                if !std::mem::replace(&mut self.untimed, true) {
                    let text = "simple packets carry no time; each is given that of the packet before";
                    self.tally.shortfall(text, self.window.offset());
                }
                (self.tally.untimed_frame(interface.link), self.previous)
            }
        };
        self.previous = at;
        Read::Frame {
            frame,
            at,
            link: interface.link,
            interface: id,
            packet,
        }
    }

    /// Section 4.3.
    #[inline]
    fn enhanced_packet(&self, len: usize) -> Option<Packet> {
        let captured = self.u32(20);
        let options = 28 + (captured as usize).next_multiple_of(4);
        // Padding is not insisted on; some writers leave it out at the end.
        (len >= 32 && captured <= MAX_PACKET && captured as usize <= len - 32).then(|| Packet {
            interface: self.u32(8),
            at: Some(u64::from(self.u32(12)) << 32 | u64::from(self.u32(16))),
            captured: captured as usize,
            wire: self.u32(24),
            data: 28,
            options,
        })
    }

    /// Section 4.4: always on the first interface, whose snap length may have cut it.
    fn simple_packet(&self, len: usize) -> Option<Packet> {
        let wire = self.u32(8);
        let snaplen = match self.interfaces.first()?.snaplen {
            0 => u32::MAX,
            n => n,
        };
        let captured = wire.min(snaplen).min(u32::try_from(len.checked_sub(16)?).unwrap_or(u32::MAX));
        (captured <= MAX_PACKET).then_some(Packet {
            interface: 0,
            at: None,
            captured: captured as usize,
            wire,
            data: 12,
            options: len,
        })
    }

    /// Section A of the draft: 16 bits of interface, 16 bits of drops, then as in an Enhanced Packet Block.
    fn obsolete_packet(&mut self, len: usize) -> Option<Packet> {
        let packet = Packet {
            interface: u32::from(self.u16(8)),
            ..self.enhanced_packet(len)?
        };
        let drops = self.u16(10);
        if drops != 0 && drops != u16::MAX {
            let id = self.interfaces_before + packet.interface;
            self.tally.dropped(id, |before| before.unwrap_or(0) + u64::from(drops));
        }
        Some(packet)
    }

    #[cold]
    fn count_drops(&mut self, interface: u32, from: usize, len: usize) {
        if let Some(drops) = PacketOptions(self.options(from, len - 4)).dropped_before() {
            self.tally
                .dropped(interface, |before| before.unwrap_or(0).saturating_add(drops));
        }
    }

    #[cold]
    fn unreadable_packet(&mut self, len: usize) -> Read {
        let text = format!("a packet block of {len} bytes contradicts itself or names an interface that is not described");
        self.tally.unreadable_frame();
        self.tally.shortfall(text, self.window.offset());
        Read::Nothing
    }

    #[cold]
    fn other_block(&mut self, kind: u32, len: usize) -> Read {
        match kind {
            block::SECTION_HEADER => self.section_header(len),
            block::INTERFACE => self.interface_description(len),
            block::STATISTICS => self.statistics(len),
            block::SECRETS if self.u32(8) == TLS_KEY_LOG => {
                let secrets = self.u32(12) as usize;
                if secrets <= len.saturating_sub(20) {
                    return Read::Secrets { len: secrets };
                }
                self.tally
                    .shortfall("a block of secrets contradicts itself", self.window.offset());
            }
            // Name resolution, custom and unknown blocks tell nothing about packets.
            _ => {}
        }
        Read::Nothing
    }

    /// Section 4.1: forgets the interfaces of the section before.
    fn section_header(&mut self, len: usize) {
        self.interfaces_before = self.interfaces_before.saturating_add(self.interfaces.len() as u32);
        self.interfaces.clear();
        let options = self.options(24, len - 4);
        let section = SectionSummary {
            hardware: options.text(2),
            os: options.text(3),
            application: options.text(4),
            comments: options.comments().collect(),
        };
        self.tally.section(section);
    }

    /// Section 4.2.
    fn interface_description(&mut self, len: usize) {
        if len < 20 || self.interfaces.len() >= MAX_INTERFACES {
            let text = "the description of an interface contradicts itself or is one too many";
            self.tally.shortfall(text, self.window.offset());
            return;
        }
        let (link, snaplen) = (LinkType(self.u16(8)), self.u32(12));
        let options = self.options(16, len - 4);
        let resolution = options
            .value(9)
            .and_then(|v| v.first())
            .map_or(Resolution::MICROS, |r| Resolution(*r));
        let seconds = options.u64(14).unwrap_or(0) as i64;
        let summary = InterfaceSummary {
            name: options.text(2),
            description: options.text(3),
            // The first byte tells text from byte code.
            filter: options
                .value(11)
                .and_then(|v| v.split_first())
                .filter(|(kind, _)| **kind == 0)
                .map(|(_, text)| String::from_utf8_lossy(text).into_owned()),
            comments: options.comments().collect(),
            link,
            resolution,
            snaplen,
            dropped: None,
        };
        self.tally.interface(summary);
        self.interfaces.push(Interface {
            link,
            snaplen,
            scale: Scale::of(resolution),
            offset: seconds.saturating_mul(1_000_000_000),
        });
    }

    /// Section 4.6: the counters run on, so the last block of an interface is the one that counts.
    fn statistics(&mut self, len: usize) {
        if len < 24 {
            return;
        }
        let id = self.interfaces_before.saturating_add(self.u32(8));
        let options = self.options(20, len - 4);
        let dropped = match (options.u64(5), options.u64(7)) {
            (None, None) => return,
            (interface, system) => interface.unwrap_or(0).saturating_add(system.unwrap_or(0)),
        };
        self.tally.dropped(id, |_| dropped);
    }
}

impl Source for Pcapng {
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError> {
        loop {
            let Some((kind, len)) = self.next_block() else {
                return self.window.end(&self.path);
            };
            let read = self.read_block(kind, len);
            self.window.advance(len);
            match read {
                Read::Nothing => {}
                Read::Secrets { len: secrets } => {
                    return Ok(Some(Event::Secrets(&self.window.passed(len)[16..16 + secrets])));
                }
                Read::Frame {
                    frame,
                    at,
                    link,
                    interface,
                    packet,
                } => {
                    let block = self.window.passed(len);
                    let options = match block.get(packet.options..len - 4) {
                        Some(bytes) if !bytes.is_empty() => PacketOptions(OptionList::new(bytes, self.big_endian)),
                        _ => PacketOptions::default(),
                    };
                    return Ok(Some(Event::Frame(Frame {
                        no: frame,
                        at,
                        link,
                        interface,
                        bytes: &block[packet.data..packet.data + packet.captured],
                        wire_len: packet.wire,
                        direction: options.direction(),
                        options,
                    })));
                }
            }
        }
    }

    fn summary(&self) -> SourceSummary {
        self.tally.summary(self.bytes_read())
    }

    fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }
}
