//! Decompression of captures: gzip, zstd, lz4 and xz, told by magic number.

use std::io::{self, BufRead, BufReader, Chain, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use lz4_flex::frame::FrameDecoder;

/// How much compressed input is read at a time.
const INPUT: usize = 128 * 1024;
/// What `xz -9` asks for is 65 MiB; a file that asks for more than this is refused rather than obeyed.
const XZ_MEMORY: u64 = 128 << 20;
/// The largest window that the zstd command line tool accepts unasked: 128 MiB, touched only as far as data fills it.
const ZSTD_WINDOW_LOG: u32 = 27;
/// The magic number of an lz4 frame.
const LZ4_FRAME: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// The magic number of the frame format that lz4 had before (`lz4 -l`).
const LZ4_LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];

/// A compression that is undone while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Lz4,
    Lz4Legacy,
    Xz,
}

impl Compression {
    /// Tells the compression by the first bytes of a file.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        Some(match start {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // Skippable frames, which `pzstd` writes in front; lz4 never begins with one.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            start if start.starts_with(&LZ4_FRAME) => Compression::Lz4,
            start if start.starts_with(&LZ4_LEGACY) => Compression::Lz4Legacy,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Lz4 | Compression::Lz4Legacy => "lz4",
            Compression::Xz => "xz",
        }
    }

    /// The command that undoes it and keeps the `FILE`, and the suffix that it takes off.
    pub(super) fn command(self) -> (&'static str, &'static str) {
        match self {
            Compression::Gzip => ("gzip -dk FILE", ".gz"),
            Compression::Zstd => ("zstd -d FILE", ".zst"),
            Compression::Lz4 | Compression::Lz4Legacy => ("lz4 -d FILE", ".lz4"),
            Compression::Xz => ("xz -dk FILE", ".xz"),
        }
    }

    /// A reader of what `input` holds, over all concatenated members or frames.
    ///
    /// # Errors
    /// Where the decompressor cannot be set up (memory).
    pub(super) fn decoder(self, input: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let buffered = |input| BufReader::with_capacity(INPUT, input);
        Ok(match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(buffered(input))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered(input))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
                Box::new(XzDecoder::new_stream(buffered(input), stream))
            }
            Compression::Lz4 => Box::new(Lz4Frames::new(input, &END_MARK)),
            Compression::Lz4Legacy => Box::new(Lz4Frames::new(input, &[])),
        })
    }
}

/// The end mark of an lz4 frame, which cannot begin a frame.
const END_MARK: [u8; 4] = [0; 4];

/// Input with an end mark of ours behind it.
type Guarded = Chain<Box<dyn Read + Send>, &'static [u8]>;

/// Reads concatenated lz4 frames. The decoder underneath takes a file that was cut between two blocks for a complete one;
/// an end mark of ours behind the input tells the two apart: only a frame that lacks its own will use it up.
struct Lz4Frames {
    decoder: FrameDecoder<BufReader<Guarded>>,
    guarded: bool,
}

impl Lz4Frames {
    fn new(input: Box<dyn Read + Send>, guard: &'static [u8]) -> Self {
        let input = BufReader::with_capacity(INPUT, input.chain(guard));
        Lz4Frames {
            decoder: FrameDecoder::new(input),
            guarded: !guard.is_empty(),
        }
    }
}

impl Read for Lz4Frames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.decoder.read(buf)?;
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            // The end of a frame, of the input, or an empty block.
            let rest = self.decoder.get_mut().fill_buf()?;
            match (self.guarded, rest) {
                (true, []) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame has no end")),
                (false, []) => return Ok(0),
                (true, rest) if rest == END_MARK => return Ok(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    fn text() -> Vec<u8> {
        (0..300_000u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect()
    }

    fn lz4(data: &[u8]) -> Vec<u8> {
        use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
        let info = FrameInfo::new().block_size(BlockSize::Max64KB);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::Gzip => {
                flate2::read::GzEncoder::new(data, flate2::Compression::fast())
                    .read_to_end(&mut out)
                    .unwrap();
            }
            Compression::Zstd => out = zstd::encode_all(data, 1).unwrap(),
            Compression::Xz => {
                liblzma::read::XzEncoder::new(data, 1).read_to_end(&mut out).unwrap();
            }
            Compression::Lz4 | Compression::Lz4Legacy => out = lz4(data),
        }
        out
    }

    fn inflate(file: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
        let compression = Compression::of(&file).unwrap();
        let mut decoder = compression.decoder(Box::new(Cursor::new(file))).unwrap();
        let mut out = Vec::new();
        let mut buf = vec![0; 10_000];
        loop {
            match decoder.read(&mut buf) {
                Ok(0) => return (out, Ok(())),
                Ok(n) => out.extend_from_slice(&buf[..n]),
                Err(error) => return (out, Err(error)),
            }
        }
    }

    const ALL: [Compression; 4] = [Compression::Gzip, Compression::Zstd, Compression::Lz4, Compression::Xz];

    #[test]
    fn concatenated_members_are_read_as_one() {
        let text = text();
        for compression in ALL {
            let (head, tail) = text.split_at(100_001);
            let mut file = compress(compression, head);
            file.extend(compress(compression, tail));
            assert_eq!(Compression::of(&file), Some(compression));
            let (out, end) = inflate(file);
            assert!(end.is_ok(), "{compression:?}: {end:?}");
            assert!(out == text, "{compression:?}");
        }
    }

    #[test]
    fn a_cut_file_gives_what_came_before_and_an_error() {
        let text = text();
        for compression in ALL {
            let file = compress(compression, &text);
            let (out, end) = inflate(file[..file.len() - 1].to_vec());
            assert!(end.is_err(), "{compression:?}");
            assert!(text.starts_with(&out));
            let (out, end) = inflate(file[..file.len() / 2].to_vec());
            assert!(end.is_err(), "{compression:?}");
            assert!(!out.is_empty() && text.starts_with(&out), "{compression:?}");
        }
    }

    #[test]
    fn an_lz4_file_cut_between_two_blocks_is_not_complete() {
        let file = lz4(&text());
        // The end mark is the last word of a frame without a content checksum.
        let (_, end) = inflate(file[..file.len() - 4].to_vec());
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
