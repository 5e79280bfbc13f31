//! DNS messages (RFC 1035, EDNS of RFC 6891): who was asked for, what the answer was, and whether there was an address in it.
//!
//! Read here and not by a crate because a cut or damaged tail must not cost the head, an unknown response code must keep its number,
//! and the counts in a header must not decide how much memory is taken; the tests hold this reader against `simple-dns`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::bytes::Reader;
use super::open::open_number;
use super::{Flaw, Parsed};

/// Bytes of the fixed header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;

/// The longest name in wire form (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;

/// Compression pointers followed for one name: a name has at most 127 labels, so no honest one needs more.
const MOST_POINTERS: usize = 127;

/// Questions, and answers, that are kept of one message; what is beyond is counted in [`Message::left_out`].
pub const KEPT: usize = 64;

open_number! {
    /// A record type (IANA DNS parameters).
    RecordType: u16 {
        /// IPv4 address.
        A = 1;
        /// Name server.
        NS = 2;
        /// Another name for this one.
        CNAME = 5;
        /// Start of a zone.
        SOA = 6;
        /// Name for an address.
        PTR = 12;
        /// Mail exchange.
        MX = 15;
        /// Text.
        TXT = 16;
        /// IPv6 address.
        AAAA = 28;
        /// Service location.
        SRV = 33;
        /// EDNS.
        OPT = 41;
        /// Service binding for HTTPS.
        HTTPS = 65;
        /// Whatever there is.
        ANY = 255;
    }
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The client asks.
    Query,
    /// The resolver answers.
    Response,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name in lower case, without the final dot.
    pub name: String,
    /// The type of record.
    pub kind: RecordType,
}

/// One record of the answer section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name that owns it, in lower case.
    pub name: String,
    /// How long it may be kept, in seconds.
    pub ttl: u32,
    /// Its contents.
    pub data: Data,
}

/// The contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name to ask for instead, in lower case.
    Cname(String),
    /// A service (RFC 2782).
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equal priorities.
        weight: u16,
        /// TCP or UDP port.
        port: u16,
        /// The host, in lower case.
        target: String,
    },
    /// Another type, contents not read.
    Other(RecordType),
}

impl Data {
    /// The record's type.
    #[must_use]
    pub const fn kind(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::AAAA,
            Self::Cname(_) => RecordType::CNAME,
            Self::Srv { .. } => RecordType::SRV,
            Self::Other(kind) => *kind,
        }
    }
}

/// One DNS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Ties the response to the query.
    pub id: u16,
    /// Query or response.
    pub role: Role,
    /// Operation; 0 is an ordinary query.
    pub opcode: u8,
    /// The answer did not fit, and is to be asked for again over TCP.
    pub truncated: bool,
    /// Response code with its EDNS extension, 12 bits.
    pub rcode: u16,
    /// What was asked for.
    pub questions: Vec<Question>,
    /// What was answered.
    pub answers: Vec<Answer>,
    /// Questions and answers beyond [`KEPT`].
    pub left_out: usize,
    /// Why and where reading stopped before the end; what was read before stands.
    pub cut: Option<Flaw>,
}

impl Message {
    /// The addresses in the answer.
    pub fn addresses(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.answers.iter().filter_map(|answer| match answer.data {
            Data::A(address) => Some(address.into()),
            Data::Aaaa(address) => Some(address.into()),
            _ => None,
        })
    }

    /// Whether this response says that the name exists and has no record of the type asked for (RFC 2308 section 2.2, NODATA).
    #[must_use]
    pub fn is_no_data(&self) -> bool {
        let whole = !self.truncated && self.cut.is_none() && self.left_out == 0;
        self.role == Role::Response
            && self.rcode == 0
            && whole
            && self.questions.first().is_some_and(|question| {
                question.kind != RecordType::ANY && self.answers.iter().all(|it| it.data.kind() != question.kind)
            })
    }
}

/// Takes one message off a TCP stream (RFC 1035 section 4.2.2: two bytes of length in front).
#[must_use]
pub fn frame(bytes: &[u8]) -> Parsed<&[u8]> {
    let mut reader = Reader::new(bytes);
    let Some(length) = reader.u16_be().map(usize::from) else {
        return Parsed::More;
    };
    if length < HEADER {
        return Parsed::NotMine;
    }
    match reader.take(length) {
        Some(message) => Parsed::Done(message, reader.position()),
        None => Parsed::More,
    }
}

/// Whether a message may be an ordinary query for an address, or the answer to one: `false` only where the first question is seen to be
/// another. Quicker than reading it, for the many that are not.
#[must_use]
pub fn may_ask_for_address(bytes: &[u8]) -> bool {
    let Some((header, mut rest)) = bytes.split_first_chunk::<HEADER>() else {
        return true;
    };
    // The operation, and the count of questions.
    if header[2] & 0x78 != 0 || header[4..6] == [0, 0] {
        return false;
    }
    for _ in 0..LONGEST_NAME {
        match *rest {
            [0, high, low, ..] => {
                return matches!(
                    RecordType(u16::from_be_bytes([high, low])),
                    RecordType::A | RecordType::AAAA | RecordType::ANY
                );
            }
            [length @ 1..=63, ..] => rest = rest.get(1 + usize::from(length)..).unwrap_or_default(),
            // A pointer, or the end: reading it will tell.
            _ => return true,
        }
    }
    true
}

/// Reads one message.
///
/// # Errors
/// Only where the fixed header is not whole; later damage is kept in [`Message::cut`].
pub fn parse(bytes: &[u8]) -> Result<Message, Flaw> {
    let mut reader = Reader::new(bytes);
    let (Some(id), Some(flags), Some(counts)) = (reader.u16_be(), reader.u16_be(), reader.array::<8>()) else {
        return Err(Flaw {
            at: bytes.len(),
            why: "shorter than a DNS header",
        });
    };
    let [questions, answers, authorities, additionals] =
        [0, 2, 4, 6].map(|at| usize::from(u16::from_be_bytes([counts[at], counts[at + 1]])));
    let mut message = Message {
        id,
        role: if flags & 0x8000 == 0 { Role::Query } else { Role::Response },
        opcode: (flags >> 11 & 0xF) as u8,
        truncated: flags & 0x0200 != 0,
        rcode: flags & 0xF,
        questions: Vec::new(),
        answers: Vec::new(),
        left_out: 0,
        cut: None,
    };
    message.cut = sections(
        bytes,
        &mut reader,
        &mut message,
        [questions, answers, authorities, additionals],
    )
    .is_none()
    .then(|| Flaw {
        at: reader.position(),
        why: "a DNS record does not fit or its name is not valid",
    });
    Ok(message)
}

/// Reads the four sections until one record does not fit; the reader then stands before that record.
fn sections<'a>(bytes: &'a [u8], reader: &mut Reader<'a>, message: &mut Message, counts: [usize; 4]) -> Option<()> {
    let [questions, answers, authorities, additionals] = counts;
    for _ in 0..questions {
        let mut ahead = reader.clone();
        let name = name(bytes, &mut ahead)?;
        let kind = RecordType(ahead.u16_be()?);
        ahead.u16_be()?;
        *reader = ahead;
        keep(&mut message.questions, Question { name, kind }, &mut message.left_out);
    }
    for _ in 0..answers {
        let (name, record) = record(bytes, reader)?;
        let answer = Answer {
            name,
            ttl: record.ttl,
            data: record.data(bytes)?,
        };
        keep(&mut message.answers, answer, &mut message.left_out);
    }
    for _ in 0..authorities {
        record(bytes, reader)?;
    }
    for _ in 0..additionals {
        let (_, record) = record(bytes, reader)?;
        if record.kind == RecordType::OPT {
            // RFC 6891 section 6.1.3: the upper 8 of 12 bits stand first in the TTL.
            message.rcode |= ((record.ttl >> 24) as u16) << 4;
        }
    }
    Some(())
}

fn keep<T>(list: &mut Vec<T>, item: T, left_out: &mut usize) {
    if list.len() < KEPT {
        list.push(item);
    } else {
        *left_out += 1;
    }
}

/// A record's fixed part and the place of its contents.
struct Record {
    kind: RecordType,
    ttl: u32,
    start: usize,
    end: usize,
}

fn record<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Option<(String, Record)> {
    let mut ahead = reader.clone();
    let owner = name(bytes, &mut ahead)?;
    let kind = RecordType(ahead.u16_be()?);
    ahead.u16_be()?;
    let ttl = ahead.u32_be()?;
    let contents = ahead.vec16_be()?.len();
    let end = ahead.position();
    *reader = ahead;
    Some((
        owner,
        Record {
            kind,
            ttl,
            start: end - contents,
            end,
        },
    ))
}

impl Record {
    fn data(&self, bytes: &[u8]) -> Option<Data> {
        // Names in the contents may point backward into the message, so the reader runs over all of it up to the contents' end.
        let upto = bytes.get(..self.end)?;
        let mut reader = Reader::new(upto);
        reader.take(self.start)?;
        Some(match self.kind {
            RecordType::A => Data::A(Ipv4Addr::from(reader.array::<4>()?)),
            RecordType::AAAA => Data::Aaaa(Ipv6Addr::from(reader.array::<16>()?)),
            RecordType::CNAME => Data::Cname(name(upto, &mut reader)?),
            RecordType::SRV => Data::Srv {
                priority: reader.u16_be()?,
                weight: reader.u16_be()?,
                port: reader.u16_be()?,
                target: name(upto, &mut reader)?,
            },
            other => Data::Other(other),
        })
    }
}

/// A name at the reader, compression followed backward only (RFC 1035 section 4.1.4), in lower case and escaped as in section 5.1.
fn name<'a>(bytes: &'a [u8], reader: &mut Reader<'a>) -> Option<String> {
    // Nearly every name fits, and is read without a second request for memory.
    let mut text = String::with_capacity(64);
    let mut wire = 0;
    let mut here = reader.clone();
    let mut lowest = reader.position();
    let mut jumps = 0;
    loop {
        let length = here.u8()?;
        match length >> 6 {
            0 if length == 0 => break,
            0 => {
                wire += usize::from(length) + 1;
                if wire >= LONGEST_NAME {
                    return None;
                }
                if !text.is_empty() {
                    text.push('.');
                }
                here.take(usize::from(length))?
                    .iter()
                    .for_each(|byte| push_escaped(&mut text, *byte));
            }
            0b11 => {
                let target = usize::from(length & 0x3F) << 8 | usize::from(here.u8()?);
                if jumps == 0 {
                    *reader = here;
                }
                jumps += 1;
                if target >= lowest || jumps > MOST_POINTERS {
                    return None;
                }
                lowest = target;
                here = Reader::new(bytes);
                here.take(target)?;
            }
            _ => return None,
        }
    }
    if jumps == 0 {
        *reader = here;
    }
    Some(text)
}

fn push_escaped(text: &mut String, byte: u8) {
    match byte {
        b'.' | b'\\' => {
            text.push('\\');
            text.push(char::from(byte));
        }
        0x21..=0x7E => text.push(char::from(byte.to_ascii_lowercase())),
        other => {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\{other:03}");
        }
    }
}

#[cfg(test)]
mod tests;
