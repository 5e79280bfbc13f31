//! Telling formats by their first bytes, never by the name of the file: captures, what can be converted, what is neither.

use super::pcap::Dialect;
use super::pcapng::BYTE_ORDER;

/// How many bytes are looked at where the first sixteen do not tell.
pub(super) const LOOK: usize = 8 * 1024;

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A classic pcap file.
    Pcap(Dialect),
    /// A pcapng file.
    Pcapng,
    /// A capture or a container in another format, and the command that makes a pcapng of it.
    Foreign {
        what: &'static str,
        convert: Convert,
        capture: bool,
    },
    /// No capture; in words.
    Other(&'static str),
    /// Nothing that is known here.
    Unknown,
}

/// The command that converts a file; `FILE` stands for the file and `OUT` for its name with `.pcapng` in place of the ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Convert(pub &'static str);

impl Convert {
    /// The command for the file of this name.
    pub(super) fn command(self, file: &str) -> String {
        let stem = match file.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && !ending.contains(['/', '\\']) => stem,
            _ => file,
        };
        let words = self.0.split(' ').map(|word| match word {
            "FILE" => quoted(file),
            "OUT" => quoted(&format!("{stem}.pcapng")),
            "DIR" => quoted(stem),
            word => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Quotes a file name for cmd, PowerShell and POSIX shells alike, where it needs quotes.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._-/\\:+,=@".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

/// Wireshark's converter, which tells the format itself.
pub(super) const EDITCAP: Convert = Convert("editcap FILE OUT");
const UNZIP: Convert = Convert("unzip FILE -d DIR");
const PKTMON: Convert = Convert("pktmon etl2pcap FILE --out OUT");
const NETSH: Convert = Convert("etl2pcapng FILE OUT");
const EITHER_ETL: Convert =
    Convert("etl2pcapng FILE OUT (made by netsh trace), or: pktmon etl2pcap FILE --out OUT (made by pktmon)");

/// Tells a capture by the first 16 bytes of a file; what is no capture that can be read needs [`of`].
pub(super) fn readable(start: &[u8]) -> Option<Format> {
    if let Some(dialect) = Dialect::of(start) {
        return Some(Format::Pcap(dialect));
    }
    let order: [u8; 4] = *start.get(8..)?.first_chunk()?;
    let pcapng =
        start.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) && (order == BYTE_ORDER.to_be_bytes() || order == BYTE_ORDER.to_le_bytes());
    pcapng.then_some(Format::Pcapng)
}

/// Tells the format of a file by its first bytes, of which [`LOOK`] are wanted.
pub(super) fn of(start: &[u8]) -> Format {
    if let Some(format) = readable(start) {
        return format;
    }
    let foreign = |what, convert, capture| Format::Foreign { what, convert, capture };
    let other = Format::Other;
    match start {
        [b'R', b'T', b'S', b'S', ..] => foreign("a Microsoft Network Monitor 1 capture", EDITCAP, true),
        [b'G', b'M', b'B', b'U', ..] => foreign("a Microsoft Network Monitor 2 capture", EDITCAP, true),
        [b's', b'n', b'o', b'o', b'p', 0, 0, 0, ..] => foreign("a snoop capture", EDITCAP, true),
        [b'T', b'R', b'S', b'N', b'I', b'F', b'F', b' ', ..] => foreign("a Sniffer capture", EDITCAP, true),
        [b'O', b'b', b's', b'e', b'r', b'v', b'e', b'r', ..] => foreign("an Observer capture", EDITCAP, true),
        [5, b'V', b'N', b'F', ..] => foreign("a Visual Networks capture", EDITCAP, true),
        [0xaa, 0xaa, 0xaa, 0xaa, 0x20, 0, 0, 0, ..] => foreign("a 5View capture", EDITCAP, true),
        [b'X', b'C', b'P', 0, ..] => foreign("a NetXRay capture", EDITCAP, true),
        [0xac | 0xab, 1, 0, 0x1c, ..] | [0x1c, 0, 1, 0xac | 0xab, ..] => foreign("an IXIA capture", EDITCAP, true),
        [b'P', b'K', 3, 4, ..] => foreign("a zip archive", UNZIP, false),
        [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => foreign("a 7z archive", Convert("7z x FILE"), false),
        [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => foreign("a rar archive", Convert("unrar x FILE"), false),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => foreign("a bzip2 file", Convert("bunzip2 -k FILE"), false),
        [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => foreign(
            "a cabinet such as netsh trace makes; the capture is the .etl in it",
            Convert("expand FILE -F:*.etl ."),
            false,
        ),
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', 0, ..] => other("a Windows event log, .evtx"),
        [0x0a, 0x0d, 0x0d, 0x0a, ..] if start.len() < 12 => other("a pcapng file that ends in its first block"),
        [0x0d, 0x0a, 0x0d, ..] | [0x0a, 0x0d, 0x0a, ..] | [0x0a, 0x0a, ..] if mangled(start) => {
            other("a pcapng file that a transfer in text mode has destroyed; transfer it again in binary mode")
        }
        _ if event_trace(start) => match trace_logger(start) {
            Some(Logger::Pktmon) => foreign("a Windows event trace made by pktmon", PKTMON, true),
            Some(Logger::Netsh) => foreign("a Windows event trace made by netsh trace", NETSH, true),
            None => foreign("a Windows event trace", EITHER_ETL, true),
        },
        _ if erf(start) => foreign("an ERF capture (Endace)", EDITCAP, true),
        _ if text(start) => other("a text file"),
        _ => Format::Unknown,
    }
}

/// Whether the byte order mark of a pcapng file is still there although the magic number before it was mangled.
fn mangled(start: &[u8]) -> bool {
    let head = &start[..start.len().min(24)];
    [BYTE_ORDER.to_be_bytes(), BYTE_ORDER.to_le_bytes()]
        .iter()
        .any(|mark| head.windows(4).any(|w| w == mark))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// Whether this is a Windows event trace: a buffer header of 72 bytes (`WMI_BUFFER_HEADER`), then a system event header
/// with its marker, then the `TRACE_LOGFILE_HEADER`, which repeats the size of the buffer.
fn event_trace(start: &[u8]) -> bool {
    const BUFFER_HEADER: usize = 72;
    const EVENT_HEADER: usize = 32;
    let size = le32(start, 0);
    size.is_some_and(|size| size >= 1024 && size.is_multiple_of(1024))
        && size == le32(start, BUFFER_HEADER + EVENT_HEADER)
        // Header types 1 and 2 are 32 and 64 bits; the flags say that this is a trace header.
        && matches!(start.get(BUFFER_HEADER + 2..BUFFER_HEADER + 4), Some([1 | 2, flags]) if flags & 0xc0 == 0xc0)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logger {
    Pktmon,
    Netsh,
}

/// Who made an event trace, from the names of the session and of the file that follow the header in UTF-16.
fn trace_logger(start: &[u8]) -> Option<Logger> {
    let says = |word: &str| {
        let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
        start.windows(wide.len()).any(|w| w.eq_ignore_ascii_case(&wide))
    };
    if says("PktMon") {
        Some(Logger::Pktmon)
    } else if says("NetTrace") {
        Some(Logger::Netsh)
    } else {
        None
    }
}

/// Whether this is a chain of Extensible Record Format records, which have no magic number: time, type, flags, record
/// length, loss counter, length on the wire.
fn erf(start: &[u8]) -> bool {
    const RECORDS: u32 = 3;
    let mut at = 0;
    let mut previous: Option<u32> = None;
    for record in 0..RECORDS {
        let Some(head) = start.get(at..at + 16) else {
            // A short file must end with its record.
            return record > 0 && at == start.len();
        };
        let (fraction, seconds) = (le32(head, 0), le32(head, 4).unwrap_or(0));
        let kind = head[8] & 0x7f;
        let record_len = usize::from(u16::from_be_bytes([head[10], head[11]]));
        let wire = u16::from_be_bytes([head[14], head[15]]);
        // 1990 to 2100; the fraction of a second is binary and seldom zero everywhere.
        let time = (0x2585_0000..0xf487_0000).contains(&seconds) && fraction.is_some();
        let near = previous.is_none_or(|p| seconds.abs_diff(p) <= 86_400);
        if !(time && near && (1..=48).contains(&kind) && record_len >= 18 && wire > 0) {
            return false;
        }
        previous = Some(seconds);
        at += record_len;
    }
    true
}

/// Whether this reads as text: UTF-8 without control characters but white space, or UTF-16 with its mark.
fn text(start: &[u8]) -> bool {
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        return true;
    }
    let printable = |s: &str| {
        s.chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b'))
    };
    match std::str::from_utf8(start) {
        Ok(s) => printable(s),
        // The last character may be cut.
        Err(e) => e.error_len().is_none() && std::str::from_utf8(&start[..e.valid_up_to()]).is_ok_and(printable),
    }
}
