//! A pcapng writer (draft-ietf-opsawg-pcapng): one little-endian section with its interfaces, packets, comments and secrets.

use std::io::{self, Write};

use super::options;
use super::pcapng::{BYTE_ORDER, TLS_KEY_LOG, kind};
use super::{Frame, InterfaceSummary, LinkType, PacketOptions, Resolution, SectionSummary, Timestamp};

/// The longest value that an option can hold.
const MAX_OPTION: usize = u16::MAX as usize;
/// Codes of the options that are written besides those in [`options`].
mod code {
    pub const SHB_HARDWARE: u16 = 2;
    pub const SHB_OS: u16 = 3;
    pub const SHB_USERAPPL: u16 = 4;
    pub const IF_NAME: u16 = 2;
    pub const IF_DESCRIPTION: u16 = 3;
    pub const IF_TSRESOL: u16 = 9;
    pub const IF_FILTER: u16 = 11;
    pub const ISB_STARTTIME: u16 = 2;
    pub const ISB_ENDTIME: u16 = 3;
    pub const ISB_IFDROP: u16 = 5;
    pub const EPB_HASH: u16 = 3;
    pub const EPB_QUEUE: u16 = 6;
    pub const EPB_VERDICT: u16 = 7;
}

/// Writes a pcapng file block by block: the section is written at once, then each interface before its first packet.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    interfaces: Vec<Interface>,
    block: Vec<u8>,
}

/// What packets need to know of the interface that they are written for.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// Nanoseconds per unit of time.
    unit: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file with one section; of `section` only what is set is written.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn new(out: W, section: &SectionSummary) -> io::Result<Self> {
        let mut writer = Writer {
            out,
            interfaces: Vec::new(),
            block: Vec::new(),
        };
        writer.begin(kind::SECTION_HEADER);
        writer.word(BYTE_ORDER);
        // Version 1.0, and a length that is not stated.
        writer.block.extend_from_slice(&[1, 0, 0, 0]);
        writer.block.extend_from_slice(&[0xff; 8]);
        for (code, value) in [
            (code::SHB_HARDWARE, &section.hardware),
            (code::SHB_OS, &section.os),
            (code::SHB_USERAPPL, &section.application),
        ] {
            writer.text(code, value.as_deref());
        }
        section
            .comments
            .iter()
            .for_each(|comment| writer.text(options::COMMENT, Some(comment)));
        writer.finish_block(true)?;
        Ok(writer)
    }

    /// Adds an interface as a source describes it and returns its index for [`frame`](Self::frame). Its resolution is
    /// kept where it is one of 10^-0 to 10^-9 seconds; finer and binary ones become nanoseconds.
    ///
    /// # Errors
    /// Where `out` fails.
    pub fn interface(&mut self, interface: &InterfaceSummary) -> io::Result<u32> {
        let resolution = match interface.resolution {
            Resolution(n @ 0..=9) => n,
            Resolution(_) => Resolution::NANOS.0,
        };
        self.begin(kind::INTERFACE);
        self.block.extend_from_slice(&interface.link.0.to_le_bytes());
        self.block.extend_from_slice(&[0; 2]);
        self.word(interface.snaplen);
        self.text(code::IF_NAME, interface.name.as_deref());
        self.text(code::IF_DESCRIPTION, interface.description.as_deref());
        if let Some(filter) = &interface.filter {
            // The first byte says that words follow.
            let words = clipped(filter, MAX_OPTION - 1);
            self.option(code::IF_FILTER, &[&[0], words.as_bytes()].concat());
        }
        self.option(code::IF_TSRESOL, &[resolution]);
        interface
            .comments
            .iter()
            .for_each(|comment| self.text(options::COMMENT, Some(comment)));
        self.finish_block(true)?;
        let unit = 10u64.pow(u32::from(Resolution::NANOS.0 - resolution));
        self.interfaces.push(Interface {
            link: interface.link,
            unit,
        });
        Ok(u32::try_from(self.interfaces.len() - 1).unwrap_or(u32::MAX))
    }

    /// Writes TLS secrets in the format of an NSS key log. They hold for the packets after them.
    ///
    /// # Errors
    /// Where `out` fails, or where the log is longer than a block can be.
    pub fn secrets(&mut self, key_log: &[u8]) -> io::Result<()> {
        self.begin(kind::SECRETS);
        self.word(TLS_KEY_LOG);
        self.word(length(key_log.len())?);
        self.padded(key_log);
        self.finish_block(false)
    }

    /// Writes a packet for the interface of that index: its time, both lengths and its options are kept as they are, and
    /// `comments` come after the comments that it has. A frame whose [`options`](Frame::options) are emptied loses them.
    ///
    /// # Errors
    /// Where `out` fails, or with [`io::ErrorKind::InvalidInput`] where there is no such interface, its link type is not
    /// that of the frame, or the time lies before 1970 and cannot be written.
    pub fn frame(&mut self, interface: u32, frame: &Frame<'_>, comments: &[String]) -> io::Result<()> {
        self.numbered_frame(interface, frame, comments, None)
    }

    /// As [`frame`](Self::frame), with an identifier of the packet (`epb_packetid`) in place of the one that it may have.
    ///
    /// # Errors
    /// As for [`frame`](Self::frame).
    pub fn numbered_frame(&mut self, interface: u32, frame: &Frame<'_>, comments: &[String], id: Option<u64>) -> io::Result<()> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let Some(&Interface { link, unit }) = self.interfaces.get(interface as usize) else {
            return Err(invalid("a packet for an interface that was not added"));
        };
        if link != frame.link {
            return Err(invalid("a packet for an interface of another link type"));
        }
        let time = u64::try_from(frame.at.0).map_err(|_| invalid("a packet from before 1970"))? / unit;
        self.begin(kind::ENHANCED_PACKET);
        self.word(interface);
        self.word((time >> 32) as u32);
        self.word(time as u32);
        self.word(length(frame.bytes.len())?);
        self.word(frame.wire_len);
        self.padded(frame.bytes);
        let before = self.block.len();
        self.copy_options(frame.options, id.is_none());
        if let Some(id) = id {
            self.option(options::PACKET_ID, &id.to_le_bytes());
        }
        if frame.options.direction().is_none()
            && let Some(direction) = frame.direction
        {
            self.option(options::PACKET_FLAGS, &direction.flags().to_le_bytes());
        }
        comments.iter().for_each(|comment| self.text(options::COMMENT, Some(comment)));
        let any = self.block.len() > before;
        self.finish_block(any)
    }

    /// Writes when the capturing on that interface began and ended, which tells silence from the end of the capture, and how
    /// many packets it dropped where that is known (Interface Statistics Block).
    ///
    /// # Errors
    /// Where `out` fails, or where there is no such interface or the times lie before 1970.
    pub fn statistics(&mut self, interface: u32, watched: (Timestamp, Timestamp), dropped: Option<u64>) -> io::Result<()> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let Some(&Interface { unit, .. }) = self.interfaces.get(interface as usize) else {
            return Err(invalid("statistics of an interface that was not added"));
        };
        let units = |at: Timestamp| {
            u64::try_from(at.0)
                .map(|ns| ns / unit)
                .map_err(|_| invalid("a time before 1970"))
        };
        let halves = |time: u64| (time.rotate_left(32)).to_le_bytes();
        let (began, ended) = (units(watched.0)?, units(watched.1)?);
        self.begin(kind::STATISTICS);
        self.word(interface);
        self.block.extend_from_slice(&halves(ended));
        self.option(code::ISB_STARTTIME, &halves(began));
        self.option(code::ISB_ENDTIME, &halves(ended));
        if let Some(dropped) = dropped {
            self.option(code::ISB_IFDROP, &dropped.to_le_bytes());
        }
        self.finish_block(true)
    }

    /// Ends the file and gives back what it was written to.
    ///
    /// # Errors
    /// Where `out` fails to flush.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// Copies the options of a packet into the byte order of this file. Those of unknown meaning are left out where they
    /// would have to be turned around.
    fn copy_options(&mut self, PacketOptions(list): PacketOptions<'_>, with_id: bool) {
        for (code, value) in list {
            if code == options::PACKET_ID && !with_id {
                continue;
            }
            match (code, value.len()) {
                (options::PACKET_FLAGS | code::EPB_QUEUE, 4) | (options::PACKET_DROPCOUNT | options::PACKET_ID, 8) => {
                    let mut value = value.to_vec();
                    if list.big_endian() {
                        value.reverse();
                    }
                    self.option(code, &value);
                }
                // Words, or bytes after a byte that tells their kind.
                (options::COMMENT | code::EPB_HASH | code::EPB_VERDICT, _) => self.option(code, value),
                _ if !list.big_endian() => self.option(code, value),
                _ => {}
            }
        }
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.word(kind);
        self.word(0);
    }

    fn word(&mut self, word: u32) {
        self.block.extend_from_slice(&word.to_le_bytes());
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, code: u16, text: Option<&str>) {
        if let Some(text) = text {
            self.option(code, clipped(text, MAX_OPTION).as_bytes());
        }
    }

    /// Writes one option; a value that is too long is left out (texts are clipped before).
    fn option(&mut self, code: u16, value: &[u8]) {
        if let Ok(len) = u16::try_from(value.len()) {
            self.block.extend_from_slice(&code.to_le_bytes());
            self.block.extend_from_slice(&len.to_le_bytes());
            self.padded(value);
        }
    }

    fn finish_block(&mut self, has_options: bool) -> io::Result<()> {
        if has_options {
            self.word(u32::from(options::END));
        }
        let len = length(self.block.len() + 4)?;
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.word(len);
        self.out.write_all(&self.block)
    }
}

fn length(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too long for a pcapng block"))
}

/// The longest begin of `text` of at most `max` bytes.
fn clipped(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
