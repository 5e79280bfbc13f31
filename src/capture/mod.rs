//! Bytes in, [`Frame`]s out: the sources of packets and the words that every later stage uses for them.
//!
//! [`expand`] turns the paths that a user gives into files, [`open`] one of them into a [`Source`]: `magic` tells the format,
//! `inflate` undoes a compression, `window` keeps the bytes, `pcap` and `pcapng` find the packets in them, `tally` counts.
//! [`Writer`] writes packets back into a pcapng.

use std::fmt;
use std::path::{Path, PathBuf};

mod ahead;
mod batch;
mod direct;
mod inflate;
#[cfg(feature = "live")]
pub mod live;
mod magic;
mod open;
mod options;
mod order;
mod paths;
mod pcap;
mod pcapng;
mod tally;
mod window;
mod words;
mod writer;

pub use batch::{Batch, Events, Mark, Marker};
pub use open::{OpenOptions, open, open_stream};
pub use options::{OptionList, PacketOptions};
pub use paths::expand;
pub use writer::Writer;

/// The number of a frame in its source, counted from 1 over all packets of all interfaces, as Wireshark counts. Frames compare in the
/// order in which they are given, which is another where a source gives them [by time](Source::by_time).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNo(
    /// The place in the order in which frames are given, and in the lowest 16 bits how much greater the number is, as an [`i16`].
    u64,
);

impl FrameNo {
    /// The number of a frame that is given where it stands.
    pub const fn new(number: u64) -> FrameNo {
        FrameNo(number << 16)
    }

    /// The number of a frame that is given at the place of the frame `place`.
    pub(crate) const fn moved(number: u64, place: u64) -> FrameNo {
        FrameNo(place << 16 | number.wrapping_sub(place) & 0xFFFF)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        (self.0 >> 16).wrapping_add_signed((self.0 as i16) as i64)
    }
}

impl fmt::Display for FrameNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl fmt::Debug for FrameNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameNo").field(&self.number()).finish()
    }
}

impl serde::Serialize for FrameNo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.number())
    }
}

/// A moment of capture time in nanoseconds since 1970-01-01T00:00:00Z. Comes from frames, never from a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A signed distance between two [`Timestamp`]s, in nanoseconds. Captures do run backwards, hence signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Timestamp {
    /// The distance from `earlier` to `self`; negative where the clock of the capture ran backwards.
    pub fn since(self, earlier: Timestamp) -> Span {
        // A damaged capture may claim any time. What lies further apart than nine years is not measured, and sums of such spans
        // stay numbers.
        const FARTHEST: i64 = 1 << 58;
        Span(self.0.saturating_sub(earlier.0).clamp(-FARTHEST, FARTHEST))
    }

    /// This moment shifted by `span`.
    pub fn plus(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Span {
    /// The span of `n` milliseconds.
    pub const fn millis(n: i64) -> Span {
        Span(n.saturating_mul(1_000_000))
    }

    /// The span of `n` microseconds.
    pub const fn micros(n: i64) -> Span {
        Span(n.saturating_mul(1_000))
    }

    /// The span of `n` seconds.
    pub const fn secs(n: i64) -> Span {
        Span(n.saturating_mul(1_000_000_000))
    }

    /// This span and another.
    pub const fn plus(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }

    /// This span `n` times.
    pub const fn times(self, n: i64) -> Span {
        Span(self.0.saturating_mul(n))
    }

    /// This span in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This span in the words that fit its size, such as `12.4 ms` or `5 min 12 s`.
    pub fn human(self) -> String {
        match self.as_secs_f64().abs() {
            s if s < 0.000_95 => format!("{:.0} us", s * 1e6),
            s if s < 0.095 => format!("{:.1} ms", s * 1e3),
            s if s < 0.95 => format!("{:.0} ms", s * 1e3),
            s if s < 95.0 => format!("{s:.1} s"),
            s if s < 5_400.0 => {
                // Rounded first: 119.7 s are 2 min 0 s, and not 1 min 60 s.
                let whole = s.round() as u64;
                format!("{} min {} s", whole / 60, whole % 60)
            }
            s => format!("{:.1} h", s / 3_600.0),
        }
    }
}

/// A link-layer type as registered by the tcpdump group (`LINKTYPE_*`); unknown values stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback, address family in the capturing host's byte order.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet.
    pub const ETHERNET: LinkType = LinkType(1);
    /// PPP with HDLC-like framing.
    pub const PPP: LinkType = LinkType(9);
    /// Raw IP as OpenBSD and old libpcap number it.
    pub const RAW_BSD: LinkType = LinkType(12);
    /// Raw IPv4 or IPv6, told by the version nibble.
    pub const RAW: LinkType = LinkType(101);
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// Raw IPv4.
    pub const IPV4: LinkType = LinkType(228);
    /// Raw IPv6.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);
}

/// Which way a packet crossed the capturing interface, where the format records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received by the capturing host.
    Inbound,
    /// Sent by the capturing host.
    Outbound,
}

impl Direction {
    /// The lowest bits of the pcapng flags word that say so (draft-ietf-opsawg-pcapng section 4.3.1).
    fn flags(self) -> u32 {
        match self {
            Direction::Inbound => 0b01,
            Direction::Outbound => 0b10,
        }
    }
}

/// One captured frame, borrowed from its source until the next one is read.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its 1-based number in the source.
    pub no: FrameNo,
    /// When it was captured.
    pub at: Timestamp,
    /// The link-layer type of the interface that saw it.
    pub link: LinkType,
    /// The interface that saw it: its index among all interfaces of the source (over all sections), 0 where the format has none.
    pub interface: u32,
    /// The captured bytes, from the link-layer header on.
    pub bytes: &'a [u8],
    /// The length on the wire in bytes; larger than `bytes.len()` where a snap length cut the frame.
    pub wire_len: u32,
    /// Inbound or outbound, where the format says so (pcapng `epb_flags`).
    pub direction: Option<Direction>,
    /// The pcapng options of the packet (comments, flags, drop count) as they stand in the file; empty elsewhere.
    pub options: PacketOptions<'a>,
}

/// What a source yields: mostly frames, now and then something that is not a packet.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A packet.
    Frame(Frame<'a>),
    /// TLS secrets embedded in a pcapng (Decryption Secrets Block of type `TLSK`): the text of an NSS key log.
    Secrets(&'a [u8]),
}

/// A source of frames. `next` yields `None` at the end; damage is not an error but a [`Shortfall`] in the summary.
pub trait Source {
    /// The next event, borrowed until the next call.
    ///
    /// # Errors
    /// Only where the source itself fails (an I/O error); a damaged capture ends early and says so in [`Source::summary`].
    fn next(&mut self) -> Result<Option<Event<'_>>, CaptureError>;

    /// The next events, as many as lie ready in memory, borrowed until the next call. The same events in the same order as
    /// [`Source::next`] gives them; both may be called in turns.
    ///
    /// # Errors
    /// As [`Source::next`].
    fn several(&mut self) -> Result<Option<Events<'_>>, CaptureError> {
        Ok(self.next()?.map(Events::One))
    }

    /// From here on the frames of batches bear the marks that `marker` gives them; without it their marks are zero.
    fn mark_with(&mut self, _marker: Marker) {}

    /// From here on frames that stand a little later in the file than their time come where their time is, with the numbers that they
    /// have in the file.
    fn by_time(&mut self) {}

    /// What is known of the source so far; complete once `next` has returned `None`.
    fn summary(&self) -> SourceSummary;

    /// How many bytes of the input have been consumed, for a progress bar.
    fn bytes_read(&self) -> u64;
}

/// What a source was and what could not be read of it.
#[derive(Clone, Debug, Default)]
pub struct SourceSummary {
    /// The path as the user gave it; `-` for standard input.
    pub path: PathBuf,
    /// The file format in words, such as `pcapng` or `pcap (nanoseconds), gzip`.
    pub format: String,
    /// Every link type that occurred, in order of appearance.
    pub link_types: Vec<LinkType>,
    /// Packets read.
    pub packets: u64,
    /// Bytes of the file consumed (compressed size for a compressed file).
    pub bytes: u64,
    /// The earliest and the latest time of a frame.
    pub first: Option<Timestamp>,
    /// See `first`.
    pub last: Option<Timestamp>,
    /// When the capturing itself began and ended, where the file states it (`isb_starttime`, `isb_endtime`): the time over
    /// which silence was watched. The earliest and the latest over all interfaces.
    pub watched: (Option<Timestamp>, Option<Timestamp>),
    /// What the file says of each section: one for most files, several where pcapng files were joined, none for pcap.
    pub sections: Vec<SectionSummary>,
    /// The interfaces by index, over all sections.
    pub interfaces: Vec<InterfaceSummary>,
    /// Frames that stood later in the file than their time and were put where it is ([`Source::by_time`]): how many, and the first.
    pub late: Option<(u64, FrameNo)>,
    /// What was damaged, cut or dropped.
    pub shortfalls: Vec<Shortfall>,
}

/// One section of a pcapng file (Section Header Block, draft-ietf-opsawg-pcapng section 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SectionSummary {
    /// The hardware that captured.
    pub hardware: Option<String>,
    /// The operating system that captured.
    pub os: Option<String>,
    /// The application that wrote the section.
    pub application: Option<String>,
    /// Comments on the section.
    pub comments: Vec<String>,
}

/// One interface of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSummary {
    /// The name in the file.
    pub name: Option<String>,
    /// The description in the file.
    pub description: Option<String>,
    /// The capture filter in words, where the file has one.
    pub filter: Option<String>,
    /// Comments on the interface.
    pub comments: Vec<String>,
    /// The link-layer type of its packets.
    pub link: LinkType,
    /// The unit in which the file counts time on this interface.
    pub resolution: Resolution,
    /// The snap length in bytes; 0 for none.
    pub snaplen: u32,
    /// Packets that the capture dropped on this interface, where it counted them.
    pub dropped: Option<u64>,
}

/// The unit of a timestamp in a file, as pcapng's `if_tsresol` writes it (draft-ietf-opsawg-pcapng section 4.2):
/// 10^-n seconds, or 2^-n where the top bit is set. [`Timestamp`] keeps nanoseconds; what is finer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution(pub u8);

impl Resolution {
    /// Milliseconds.
    pub const MILLIS: Resolution = Resolution(3);
    /// Microseconds, which is also what a pcapng interface has that does not state its resolution.
    pub const MICROS: Resolution = Resolution(6);
    /// Nanoseconds.
    pub const NANOS: Resolution = Resolution(9);
}

impl Default for Resolution {
    fn default() -> Self {
        Resolution::MICROS
    }
}

/// Something of a source that could not be read, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// What happened, in words for the user.
    pub text: String,
    /// The byte offset in the (decompressed) file.
    pub offset: Option<u64>,
    /// The frame after which it happened.
    pub after_frame: Option<FrameNo>,
}

/// Why a source could not be looked at, in words for the user.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is empty.
    #[error("{}: the file is empty", shown(path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A known format that has to be converted first.
    #[error("{}: this is {what}; convert it with: {convert}", shown(path))]
    NeedsConversion {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// The exact command that makes a capture of it.
        convert: String,
    },
    /// Not a capture at all.
    #[error("{}: not a packet capture ({what})", shown(path))]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        what: String,
    },
}

/// The name of a source in words for the user.
fn shown(path: &Path) -> std::path::Display<'_> {
    if path == Path::new("-") {
        Path::new("standard input").display()
    } else {
        path.display()
    }
}

#[cfg(test)]
pub(crate) mod shipped;
#[cfg(test)]
mod tests;
