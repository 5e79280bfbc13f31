//! DTLS 1.0 and 1.2 in clear: records, handshake fragments and their reassembly; DTLS 1.3 as far as it shows (RFC 6347, RFC 9147).

use std::collections::VecDeque;

use crate::protocol::bytes::Reader;
use crate::protocol::tls::handshake::{HandshakeType, RawHandshake};
use crate::protocol::tls::record::{ContentType, MAX_FRAGMENT, RecordHeader, Version};
use crate::protocol::{Flaw, Parsed};

/// Bytes of a record header.
pub const HEADER_LEN: usize = 13;

/// Messages of one direction that are under way or remembered at once.
pub const MAX_MESSAGES: usize = 16;

/// Bytes of one message; a longer one is not put together. Certificate chains of real servers stay far below.
pub const MAX_MESSAGE: usize = 32 * 1024;

/// Pieces of one message that may stand apart from each other.
const MAX_PIECES: usize = 64;

/// One DTLS record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtlsRecord<'a> {
    /// Type, version and length, as in TLS.
    pub header: RecordHeader,
    /// Counts the changes of keys: 0 is in clear.
    pub epoch: u16,
    /// The record's number in its epoch, 48 bits.
    pub sequence: u64,
    /// The content, sealed or not.
    pub fragment: &'a [u8],
}

impl DtlsRecord<'_> {
    /// Whether the content is encrypted.
    pub fn is_sealed(&self) -> bool {
        self.epoch > 0
    }
}

/// Reads the record at the start of `bytes`, which are a datagram or what is left of one: a datagram may hold several.
///
/// Content types 20 to 24 and 26 with the version of DTLS 1.0 or 1.2, which DTLS 1.3 writes as well, are DTLS. `More` means that the
/// datagram was cut short.
pub fn record(bytes: &[u8]) -> Parsed<DtlsRecord<'_>> {
    let mine = |at: usize, test: fn(u8) -> bool| bytes.get(at).is_none_or(|&byte| test(byte));
    if !(mine(0, |b| (20..=24).contains(&b) || b == 26) && mine(1, |b| b == 0xFE) && mine(2, |b| b == 0xFF || b == 0xFD)) {
        return Parsed::NotMine;
    }
    let mut reader = Reader::new(bytes);
    let mut fields = || {
        let content_type = ContentType(reader.u8()?);
        let version = Version(reader.u16_be()?);
        let epoch = reader.u16_be()?;
        let sequence = u64::from(reader.u16_be()?) << 32 | u64::from(reader.u32_be()?);
        let length = reader.u16_be()?;
        Some((
            RecordHeader {
                content_type,
                version,
                length,
            },
            epoch,
            sequence,
        ))
    };
    let Some((header, epoch, sequence)) = fields() else {
        return Parsed::More;
    };
    if usize::from(header.length) > MAX_FRAGMENT {
        return Parsed::Malformed(Flaw {
            at: 11,
            why: "a DTLS record is longer than 2^14 + 2048 bytes",
        });
    }
    let end = HEADER_LEN + usize::from(header.length);
    match bytes.get(HEADER_LEN..end) {
        Some(fragment) => Parsed::Done(
            DtlsRecord {
                header,
                epoch,
                sequence,
                fragment,
            },
            end,
        ),
        None => Parsed::More,
    }
}

/// The records of a whole datagram, if it is DTLS: every byte must belong to one.
///
/// A random datagram passes with a chance of less than one in a million million: three header bytes have few values, and the
/// lengths must add up.
pub fn datagram(bytes: &[u8]) -> Option<Vec<DtlsRecord<'_>>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Parsed::Done(record, used) = record(&bytes[at..]) else {
            return None;
        };
        records.push(record);
        at += used;
    }
    (!records.is_empty()).then_some(records)
}

/// The unified header of a sealed DTLS 1.3 record (RFC 9147 4), without connection identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnifiedHeader {
    /// The low two bits of the epoch: 2 is the handshake, 3 the first application keys.
    pub epoch_bits: u8,
    /// The low bits of the sequence number, themselves encrypted.
    pub sequence: u16,
    /// Bytes of the sealed content; `None` where it runs to the end of the datagram.
    pub length: Option<u16>,
    /// Bytes of the header.
    pub header_len: usize,
}

/// Reads a unified header. Its three fixed bits alone prove nothing: use it only on a flow that agreed on DTLS 1.3.
pub fn unified_header(bytes: &[u8]) -> Option<UnifiedHeader> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    // 001CSLEE; with a connection identifier (C) its length would have to be known.
    if first & 0b1111_0000 != 0b0010_0000 {
        return None;
    }
    let sequence = if first & 0b1000 != 0 {
        reader.u16_be()?
    } else {
        u16::from(reader.u8()?)
    };
    let length = if first & 0b0100 != 0 { Some(reader.u16_be()?) } else { None };
    Some(UnifiedHeader {
        epoch_bits: first & 3,
        sequence,
        length,
        header_len: reader.position(),
    })
}

/// A piece of a handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeFragment<'a> {
    /// The message's number in the registry.
    pub kind: HandshakeType,
    /// Bytes of the whole message.
    pub length: u32,
    /// The message's place in the handshake; a retransmission keeps it.
    pub message_seq: u16,
    /// Where the piece belongs.
    pub offset: u32,
    /// The piece.
    pub bytes: &'a [u8],
}

/// Reads the handshake fragments of a record in clear.
///
/// # Errors
/// When a fragment breaks off, or reaches beyond its message.
pub fn handshake_fragments(content: &[u8]) -> Result<Vec<HandshakeFragment<'_>>, Flaw> {
    let mut reader = Reader::new(content);
    let mut fragments = Vec::new();
    while !reader.is_empty() {
        let at = reader.position();
        let fragment = fragment(&mut reader).ok_or(Flaw {
            at,
            why: "the handshake fragment breaks off",
        })?;
        if u64::from(fragment.offset) + fragment.bytes.len() as u64 > u64::from(fragment.length) {
            return Err(Flaw {
                at,
                why: "the handshake fragment reaches beyond its message",
            });
        }
        fragments.push(fragment);
    }
    Ok(fragments)
}

fn fragment<'a>(reader: &mut Reader<'a>) -> Option<HandshakeFragment<'a>> {
    let kind = HandshakeType(reader.u8()?);
    let length = reader.u24_be()?;
    let message_seq = reader.u16_be()?;
    let offset = reader.u24_be()?;
    let bytes = reader.vec24_be()?;
    Some(HandshakeFragment {
        kind,
        length,
        message_seq,
        offset,
        bytes,
    })
}

/// What a fragment brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Bytes of a message that is not yet whole.
    Incomplete,
    /// The last bytes of a message.
    Complete(RawHandshake),
    /// Bytes that were there already: a retransmission.
    Repeated,
    /// The message is longer than [`MAX_MESSAGE`] or comes in too many pieces.
    Dropped,
}

/// Puts the handshake messages of one direction together from fragments in any order.
#[derive(Clone, Debug, Default)]
pub struct DtlsHandshakeBuffer {
    messages: VecDeque<Partial>,
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Partial {
    message_seq: u16,
    kind: HandshakeType,
    length: usize,
    /// As far as bytes have come; grows only as they do.
    body: Vec<u8>,
    /// What is there, as ranges in order that do not touch.
    have: Vec<(usize, usize)>,
    given: bool,
}

impl DtlsHandshakeBuffer {
    /// Adds a fragment.
    ///
    /// A fragment that contradicts what is there under the same number begins the message anew: the peer has started another
    /// handshake between the same ports.
    pub fn push(&mut self, fragment: &HandshakeFragment<'_>) -> Arrival {
        let length = fragment.length as usize;
        let start = fragment.offset as usize;
        let end = start + fragment.bytes.len();
        if length > MAX_MESSAGE || end > length {
            self.dropped += 1;
            return Arrival::Dropped;
        }
        self.messages.retain(|partial| {
            partial.message_seq != fragment.message_seq
                || (partial.kind == fragment.kind && partial.length == length && partial.agrees(start, fragment.bytes))
        });
        if !self
            .messages
            .iter()
            .any(|partial| partial.message_seq == fragment.message_seq)
        {
            if self.messages.len() == MAX_MESSAGES {
                let oldest = self.messages.pop_front();
                self.dropped += u64::from(oldest.is_some_and(|partial| !partial.given));
            }
            let partial = Partial {
                message_seq: fragment.message_seq,
                kind: fragment.kind,
                length,
                body: Vec::new(),
                have: Vec::new(),
                given: false,
            };
            self.messages.push_back(partial);
        }
        let Some(partial) = self
            .messages
            .iter_mut()
            .find(|partial| partial.message_seq == fragment.message_seq)
        else {
            return Arrival::Dropped;
        };
        if partial.given || (start < end && partial.has(start, end)) {
            return Arrival::Repeated;
        }
        partial.add(start, fragment.bytes);
        if partial.have.len() > MAX_PIECES {
            partial.have.clear();
            self.dropped += 1;
            return Arrival::Dropped;
        }
        if partial.has(0, length) {
            partial.given = true;
            return Arrival::Complete(RawHandshake {
                kind: partial.kind,
                length,
                body: partial.body.clone(),
            });
        }
        Arrival::Incomplete
    }

    /// Messages that the bounds have cost.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Partial {
    fn has(&self, start: usize, end: usize) -> bool {
        start == end || self.have.iter().any(|&(from, to)| from <= start && end <= to)
    }

    fn agrees(&self, start: usize, bytes: &[u8]) -> bool {
        let end = start + bytes.len();
        self.have.iter().all(|&(from, to)| {
            let (from, to) = (from.max(start), to.min(end));
            from >= to || self.body[from..to] == bytes[from - start..to - start]
        })
    }

    fn add(&mut self, start: usize, bytes: &[u8]) {
        let (mut start, mut end) = (start, start + bytes.len());
        self.body.resize(self.body.len().max(end), 0);
        self.body[start..end].copy_from_slice(bytes);
        self.have.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        let place = self.have.partition_point(|&(from, _)| from < start);
        self.have.insert(place, (start, end));
    }
}

#[cfg(test)]
#[path = "dtls_tests.rs"]
mod tests;
