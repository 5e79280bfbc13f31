//! Sealed records made ready for reading by size: session tickets left out, records that were split put together.

use std::borrow::Cow;

use crate::capture::Timestamp;
use crate::flow::{PerSide, Side};
use crate::protocol::tls::record::Version;
use crate::protocol::tls::size::PlaintextLength;
use crate::transcript::hidden::said::{Line, Said, TLS, Words};
use crate::transcript::moment::{Depth, Frames, SealedKind, What};
use crate::transcript::tcp::Transcript;

/// A session ticket is smaller than this under TLS 1.3, and larger than [`TICKET_MIN`], in plaintext.
const TICKET_MAX: usize = 1_100;
/// See [`TICKET_MAX`].
const TICKET_MIN: usize = 60;
/// Most connections have no more records than this before the session.
const LOGON: usize = 32;
/// In a split record, TLS 1.0 sends one byte ahead (the countermeasure to BEAST).
const SPLIT: usize = 1;

/// One message by its size, as far as a record's length gives it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub side: Side,
    /// When its last byte passed.
    pub at: Timestamp,
    pub frames: Frames,
    /// How long its plaintext is.
    pub size: PlaintextLength,
    /// An alert.
    pub alert: bool,
}

impl Record {
    /// Whether the plaintext can have `from` to `to` bytes.
    pub fn fits(&self, from: usize, to: usize) -> bool {
        !self.alert && self.size.meets(from, to)
    }

    /// Whether the plaintext has at least `bytes` bytes.
    pub fn at_least(&self, bytes: usize) -> bool {
        !self.alert && self.size.min >= bytes
    }

    /// What the record is taken for.
    pub fn line(&self, said: Said, what: impl Into<Cow<'static, str>>) -> Line {
        let what = what.into();
        let text = if what.is_empty() {
            Words::NONE
        } else {
            Words::Taken {
                size: self.size,
                under: TLS,
                what,
            }
        };
        Line {
            said,
            side: self.side,
            at: self.at,
            frames: self.frames,
            inferred: true,
            text,
        }
    }
}

/// The records with application data at `depth`, in order, and alerts among them.
pub(super) fn collect(t: &Transcript, depth: Depth) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::with_capacity(LOGON);
    for moment in t.moments.iter().filter(|moment| moment.depth == depth) {
        let What::Sealed(sealed) = &moment.what else { continue };
        let alert = match sealed.kind {
            SealedKind::Application => false,
            SealedKind::AlertStated | SealedKind::AlertBySize => true,
            SealedKind::Finished | SealedKind::Handshake => continue,
        };
        let size = match sealed.plain {
            Some(size) => size,
            None if alert => PlaintextLength { min: 2, max: 2 },
            None => continue,
        };
        records.push(Record {
            side: moment.side,
            at: moment.at,
            frames: moment.frames,
            size,
            alert,
        });
    }
    let version = t
        .moments
        .iter()
        .filter(|moment| moment.depth == depth)
        .find_map(|moment| match &moment.what {
            What::ServerHello(hello) if !hello.hello_retry_request => Some(hello.version().stream_equivalent()),
            _ => None,
        });
    match version {
        Some(Version::TLS13) => drop_tickets(&mut records),
        Some(version) if version < Version::TLS11 => records = join_split(&records),
        _ => {}
    }
    records
}

/// TLS 1.3 servers send session tickets as application data: before the client has said anything, where RDP servers are silent, or
/// ahead of the answer to the client's first message.
pub(super) fn drop_tickets(records: &mut Vec<Record>) {
    let is_ticket = |record: &Record| record.side == Side::Server && !record.alert && record.fits(TICKET_MIN, TICKET_MAX);
    let Some(client) = records.iter().position(|record| record.side == Side::Client && !record.alert) else {
        // RDSTLS and RDS AAD Auth begin with the server; two of one size, or one before silence, are tickets.
        return records.retain(|record| !is_ticket(record));
    };
    let answer = records.iter().skip(client).position(|record| record.side == Side::Server);
    let Some(answer) = answer.map(|at| at + client) else {
        let mut at = 0;
        return records.retain(|record| {
            at += 1;
            at > client || !is_ticket(record)
        });
    };
    let burst = records
        .iter()
        .skip(answer)
        .take_while(|record| record.side == Side::Server)
        .count();
    let run: Vec<Record> = records.iter().skip(answer).take(burst).copied().collect();
    // OpenSSL sends two of the same size in one go, others one. The last record of the run is the answer, unless nothing but a
    // pair of tickets has arrived.
    let pair = matches!(run.as_slice(), [a, b, ..] if a.size == b.size && is_ticket(a));
    let ahead = match (pair, run.len()) {
        (true, n) if n > 2 => 2,
        (true, _) => 2,
        (false, n) if n > 1 => usize::from(
            run.first()
                .is_some_and(|first| is_ticket(first) && !looks_like_first_answer(first)),
        ),
        _ => 0,
    };
    let mut at = 0;
    records.retain(|record| {
        let place = at;
        at += 1;
        !((place < client && is_ticket(record)) || (answer..answer + ahead).contains(&place))
    });
}

/// A record that is followed by another one of the server and still may be its first answer: too small for a ticket of OpenSSL or
/// Schannel, which hold an encrypted state.
fn looks_like_first_answer(record: &Record) -> bool {
    record.fits(0, 150)
}

/// Clients of TLS 1.0 may send the first byte of each message in a record of its own.
fn join_split(records: &[Record]) -> Vec<Record> {
    let splits = |side: Side| {
        records
            .iter()
            .find(|record| record.side == side && !record.alert)
            .is_some_and(|first| first.fits(SPLIT, SPLIT))
    };
    let splits = PerSide {
        client: splits(Side::Client),
        server: splits(Side::Server),
    };
    let mut joined: Vec<Record> = Vec::with_capacity(records.len());
    let mut ahead: PerSide<Option<Record>> = PerSide::default();
    for record in records {
        if record.alert || !splits[record.side] {
            joined.push(*record);
            continue;
        }
        match ahead[record.side].take() {
            None if record.fits(SPLIT, SPLIT) => ahead[record.side] = Some(*record),
            None => joined.push(*record),
            Some(first) => joined.push(Record {
                size: PlaintextLength {
                    min: record.size.min + SPLIT,
                    max: record.size.max + SPLIT,
                },
                frames: Frames {
                    first: first.frames.first,
                    last: record.frames.last,
                },
                ..*record
            }),
        }
    }
    joined
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::capture::FrameNo;

    /// Records of exact sizes; negative ones are the server's.
    pub fn exact(sizes: &[i64]) -> Vec<Record> {
        windows(sizes, |size| (size, size))
    }

    /// Records whose sizes are known as `window` says.
    pub fn windows(sizes: &[i64], window: fn(usize) -> (usize, usize)) -> Vec<Record> {
        sizes
            .iter()
            .zip(1_u64..)
            .map(|(size, no)| {
                let (min, max) = window(usize::try_from(size.unsigned_abs()).expect("a size"));
                Record {
                    side: if *size < 0 { Side::Server } else { Side::Client },
                    at: Timestamp(i64::try_from(no).expect("small") * 1_000_000),
                    frames: Frames {
                        first: FrameNo::new(no),
                        last: FrameNo::new(no),
                    },
                    size: PlaintextLength { min, max },
                    alert: *size == 2 || *size == -2,
                }
            })
            .collect()
    }

    fn sizes(records: &[Record]) -> Vec<i64> {
        records
            .iter()
            .map(|record| {
                let size = i64::try_from(record.size.max).expect("small");
                if record.side == Side::Server { -size } else { size }
            })
            .collect()
    }

    #[test]
    fn tickets_before_and_after_the_first_message_are_left_out() {
        let mut before = exact(&[-233, -233, 93, -162, 429]);
        drop_tickets(&mut before);
        assert_eq!(sizes(&before), [93, -162, 429]);
        let mut after = exact(&[93, -233, -233, -162, 429]);
        drop_tickets(&mut after);
        assert_eq!(sizes(&after), [93, -162, 429]);
        let mut split = exact(&[-233, 93, -233, -162, 429]);
        drop_tickets(&mut split);
        assert_eq!(sizes(&split), [93, -162, 429]);
        let mut alone = exact(&[-233, -233, 2]);
        drop_tickets(&mut alone);
        assert_eq!(sizes(&alone), [2]);
    }

    #[test]
    fn a_first_answer_without_a_ticket_stays() {
        let mut records = exact(&[467, -118, 12, 8, -11]);
        drop_tickets(&mut records);
        assert_eq!(sizes(&records), [467, -118, 12, 8, -11]);
    }

    #[test]
    fn split_records_are_joined() {
        let records = windows(
            &[1, 56, -300, 1, 500],
            |size| if size == 1 { (0, 11) } else { (size, size + 15) },
        );
        let joined = join_split(&records);
        assert_eq!(joined.len(), 3);
        assert!(joined[0].fits(57, 57) && joined[2].fits(501, 501));
        assert_eq!(joined[0].frames.first, FrameNo::new(1));
    }
}
