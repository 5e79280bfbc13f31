//! What stands in each kind of pcapng block.

use std::ops::Range;

use super::time::Scale;
use super::{Interface, Pcapng, TLS_KEY_LOG};
use crate::capture::options::OptionList;
pub(super) use crate::capture::pcap::MAX_PACKET;
use crate::capture::words::ByteOrder;
use crate::capture::{InterfaceSummary, LinkType, PacketOptions, Resolution, SectionSummary, Timestamp};

/// How many interfaces of one section are believed.
const MAX_INTERFACES: usize = 1 << 16;

/// How many comments on a section or an interface are kept.
const COMMENTS: usize = 64;

/// Block types (sections 4 and 11.1).
pub(in crate::capture) mod kind {
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

    /// The types that mark the begin of a block when one is looked for among garbage; a Section Header Block is told by
    /// more than its type.
    pub const ORDINARY: [u32; 10] = [
        ENHANCED_PACKET,
        INTERFACE,
        OBSOLETE_PACKET,
        SIMPLE_PACKET,
        NAME_RESOLUTION,
        STATISTICS,
        SYSTEMD_JOURNAL,
        SECRETS,
        CUSTOM,
        CUSTOM_NOT_COPIED,
    ];

    /// Whether a block of this type holds a packet.
    #[inline]
    pub fn is_packet(kind: u32) -> bool {
        matches!(kind, ENHANCED_PACKET | SIMPLE_PACKET | OBSOLETE_PACKET)
    }
}

/// Codes of the options that are looked at (sections 4.1, 4.2 and 4.6).
mod option {
    pub const SHB_HARDWARE: u16 = 2;
    pub const SHB_OS: u16 = 3;
    pub const SHB_USERAPPL: u16 = 4;
    pub const IF_NAME: u16 = 2;
    pub const IF_DESCRIPTION: u16 = 3;
    pub const IF_TSRESOL: u16 = 9;
    pub const IF_FILTER: u16 = 11;
    pub const IF_TSOFFSET: u16 = 14;
    pub const ISB_STARTTIME: u16 = 2;
    pub const ISB_ENDTIME: u16 = 3;
    pub const ISB_IFDROP: u16 = 5;
    pub const ISB_OSDROP: u16 = 7;
}

/// Where in a block its packet is, and what is known of it.
pub(super) struct Packet {
    pub(super) interface: u32,
    /// In units of the interface.
    pub(super) at: Option<u64>,
    pub(super) captured: usize,
    pub(super) wire: u32,
    /// Offset of the packet in the block.
    pub(super) data: usize,
    /// Offset of the options in the block.
    pub(super) options: usize,
}

impl Pcapng {
    fn options(&self, range: Range<usize>) -> OptionList<'_> {
        OptionList::new(self.window.bytes().get(range).unwrap_or(&[]), self.order == ByteOrder::Big)
    }

    /// The packet of the block of `len` bytes at the position; `None` where the block contradicts itself.
    #[inline]
    pub(super) fn packet(&mut self, kind: u32, len: usize) -> Option<Packet> {
        match kind {
            kind::ENHANCED_PACKET => self.enhanced_packet(len),
            kind::SIMPLE_PACKET => self.simple_packet(len),
            _ => self.obsolete_packet(len),
        }
    }

    /// Section 4.3.
    #[inline]
    fn enhanced_packet(&self, len: usize) -> Option<Packet> {
        let head: &[u8; 28] = self.head();
        let word = |at| self.order.u32(head, at);
        let captured = word(20);
        (len >= 32 && captured <= MAX_PACKET && captured as usize <= len - 32).then(|| Packet {
            interface: word(8),
            at: Some(u64::from(word(12)) << 32 | u64::from(word(16))),
            captured: captured as usize,
            wire: word(24),
            data: 28,
            options: 28 + (captured as usize).next_multiple_of(4),
        })
    }

    /// Section 4.4: always on the first interface, whose snap length may have cut it.
    #[cold]
    fn simple_packet(&self, len: usize) -> Option<Packet> {
        let wire = self.u32(8);
        let snaplen = match self.interfaces.first()?.snaplen {
            0 => u32::MAX,
            n => n,
        };
        let room = u32::try_from(len.checked_sub(16)?).unwrap_or(u32::MAX);
        let captured = wire.min(snaplen).min(room);
        (captured <= MAX_PACKET).then_some(Packet {
            interface: 0,
            at: None,
            captured: captured as usize,
            wire,
            data: 12,
            options: len,
        })
    }

    /// Appendix A: 16 bits of interface and 16 bits of drops, then as in an Enhanced Packet Block.
    #[cold]
    fn obsolete_packet(&mut self, len: usize) -> Option<Packet> {
        let head: &[u8; 12] = self.head();
        let (interface, drops) = (self.order.u16(head, 8), self.order.u16(head, 10));
        let packet = Packet {
            interface: u32::from(interface),
            ..self.enhanced_packet(len)?
        };
        if drops != 0 && drops != u16::MAX {
            let id = self.interfaces_before.saturating_add(packet.interface);
            self.tally
                .dropped(id, |before| before.unwrap_or(0).saturating_add(u64::from(drops)));
        }
        Some(packet)
    }

    /// The time for a packet without one.
    #[cold]
    pub(super) fn untimed(&mut self) -> Timestamp {
        if !std::mem::replace(&mut self.untimed, true) {
            let text = "simple packets carry no time; each is given that of the packet before";
            self.tally.shortfall(text, self.window.offset());
        }
        self.previous
    }

    #[cold]
    pub(super) fn count_drops(&mut self, interface: u32, options: Range<usize>) {
        if let Some(drops) = PacketOptions(self.options(options)).dropped_before() {
            self.tally
                .dropped(interface, |before| before.unwrap_or(0).saturating_add(drops));
        }
    }

    #[cold]
    pub(super) fn unreadable_packet(&mut self, len: usize) {
        let text = format!("a packet block of {len} bytes contradicts itself or names an interface that is not described");
        self.tally.unreadable_frame();
        self.tally.shortfall(text, self.window.offset());
    }

    /// Takes in a block of `len` bytes that holds no packet; where in it there are TLS secrets, if there are.
    #[cold]
    pub(super) fn other_block(&mut self, kind: u32, len: usize) -> Option<Range<usize>> {
        match kind {
            kind::SECTION_HEADER => self.section_header(len),
            kind::INTERFACE => self.interface_description(len),
            kind::STATISTICS => self.statistics(len),
            kind::SECRETS if len >= 20 && self.u32(8) == TLS_KEY_LOG => {
                let secrets = self.u32(12) as usize;
                if secrets <= len - 20 {
                    return Some(16..16 + secrets);
                }
                self.tally
                    .shortfall("a block of secrets contradicts itself", self.window.offset());
            }
            // Wireshark shows these as records among the packets, with numbers of their own.
            kind::SYSTEMD_JOURNAL | kind::CUSTOM | kind::CUSTOM_NOT_COPIED => self.tally.unreadable_frame(),
            // Name resolution and unknown blocks tell nothing about packets.
            _ => {}
        }
        None
    }

    /// Section 4.1: forgets the interfaces of the section before.
    fn section_header(&mut self, len: usize) {
        let before = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces_before = self.interfaces_before.saturating_add(before);
        self.interfaces.clear();
        let options = self.options(24..len - 4);
        let section = SectionSummary {
            hardware: options.text(option::SHB_HARDWARE),
            os: options.text(option::SHB_OS),
            application: options.text(option::SHB_USERAPPL),
            comments: options.comments().take(COMMENTS).collect(),
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
        let head: &[u8; 16] = self.head();
        let (link, snaplen) = (LinkType(self.order.u16(head, 8)), self.order.u32(head, 12));
        let options = self.options(16..len - 4);
        let resolution = match options.value(option::IF_TSRESOL) {
            Some([resolution, ..]) => Resolution(*resolution),
            _ => Resolution::default(),
        };
        let seconds = options.u64(option::IF_TSOFFSET).unwrap_or(0).cast_signed();
        let filter = match options.value(option::IF_FILTER) {
            // The first byte tells words from byte code.
            Some([0, words @ ..]) => Some(String::from_utf8_lossy(words).into_owned()),
            _ => None,
        };
        let summary = InterfaceSummary {
            name: options.text(option::IF_NAME),
            description: options.text(option::IF_DESCRIPTION),
            filter,
            comments: options.comments().take(COMMENTS).collect(),
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
        let options = self.options(20..len - 4);
        let time = |code| {
            let raw = options.u64(code)?;
            // The upper half comes first in either byte order.
            let units = if options.big_endian() { raw } else { raw.rotate_left(32) };
            Some(self.interfaces.get(self.u32(8) as usize)?.time(units))
        };
        let (began, ended) = (time(option::ISB_STARTTIME), time(option::ISB_ENDTIME));
        let dropped = match (options.u64(option::ISB_IFDROP), options.u64(option::ISB_OSDROP)) {
            (None, None) => None,
            (interface, system) => Some(interface.unwrap_or(0).saturating_add(system.unwrap_or(0))),
        };
        self.tally.watched(began, ended);
        if let Some(dropped) = dropped {
            self.tally.dropped(id, |_| dropped);
        }
    }
}
