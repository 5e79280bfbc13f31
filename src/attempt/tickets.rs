//! What the KDC answered to which client: Kerberos beside Remote Desktop, over UDP and TCP 88.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::capture::{FrameNo, Timestamp};
use crate::protocol::kerberos::{Body, Kind, Message, Refusal};

/// The port of Kerberos.
pub const KERBEROS: u16 = 88;
/// How many answers are remembered; the oldest leave first.
const ANSWERS: usize = 4_096;

/// One answer of a KDC.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its frame.
    pub frame: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// Who asked.
    pub client: IpAddr,
    /// Who answered.
    pub kdc: IpAddr,
    /// What.
    pub says: Says,
}

/// What a KDC answered.
#[derive(Clone, Debug)]
pub enum Says {
    /// The first ticket of a user: the password was right.
    LoggedOn,
    /// A ticket for a service.
    Ticket,
    /// KRB-ERROR.
    Error(Box<Refusal>),
}

/// The answers of KDCs in one capture.
#[derive(Clone, Debug, Default)]
pub struct Tickets {
    answers: VecDeque<Answer>,
    /// The places of each client's answers, counted from the first of all, those that left included.
    by_client: FxHashMap<IpAddr, VecDeque<u64>>,
    /// Answers that left to stay within memory.
    pub forgotten: u64,
}

impl Tickets {
    /// Takes a message that `kdc` sent to `client`.
    pub fn push(&mut self, (frame, at): (FrameNo, Timestamp), client: IpAddr, kdc: IpAddr, message: Message) {
        let says = match (message.kind, message.body) {
            (_, Body::Error(refusal)) => Says::Error(refusal),
            (kind, _) => match success(kind) {
                Some(says) => says,
                None => return,
            },
        };
        self.add(Answer {
            frame,
            at,
            client,
            kdc,
            says,
        });
    }

    /// Takes the beginning of a segment that `kdc` sent to `client`: tickets of Windows do not fit into one segment, and their content
    /// is not needed.
    pub fn push_beginning(&mut self, (frame, at): (FrameNo, Timestamp), client: IpAddr, kdc: IpAddr, payload: &[u8]) {
        // Four bytes of length, then the application tag.
        const APPLICATION: u8 = 0x60;
        let Some(says) = payload
            .get(4)
            .filter(|tag| **tag > APPLICATION)
            .and_then(|tag| success(Kind(u32::from(tag - APPLICATION))))
        else {
            return;
        };
        self.add(Answer {
            frame,
            at,
            client,
            kdc,
            says,
        });
    }

    fn add(&mut self, answer: Answer) {
        if self.answers.len() >= ANSWERS
            && let Some(gone) = self.answers.pop_front()
        {
            self.forgotten += 1;
            // The oldest of all is the oldest of its client.
            if let Entry::Occupied(mut places) = self.by_client.entry(gone.client) {
                places.get_mut().pop_front();
                if places.get().is_empty() {
                    places.remove();
                }
            }
        }
        let place = self.forgotten + self.answers.len() as u64;
        self.by_client.entry(answer.client).or_default().push_back(place);
        self.answers.push_back(answer);
    }

    /// The answers to one client, in order.
    fn to(&self, client: IpAddr) -> impl DoubleEndedIterator<Item = &Answer> {
        let places = self.by_client.get(&client).into_iter().flatten();
        places.filter_map(|place| self.answers.get(usize::try_from(place - self.forgotten).ok()?))
    }

    /// The answers to these clients.
    pub fn of(&self, clients: &BTreeSet<IpAddr>) -> Tickets {
        let mut some = Tickets {
            forgotten: self.forgotten,
            ..Tickets::default()
        };
        let answers = clients.iter().flat_map(|client| self.to(*client));
        answers.for_each(|answer| some.add(answer.clone()));
        some
    }

    /// The answers to `client` from `from` to `to`, in order.
    pub fn between(&self, client: IpAddr, from: Timestamp, to: Timestamp) -> impl DoubleEndedIterator<Item = &Answer> {
        self.to(client).filter(move |answer| (from..=to).contains(&answer.at))
    }
}

fn success(kind: Kind) -> Option<Says> {
    match kind {
        Kind::AS_REP => Some(Says::LoggedOn),
        Kind::TGS_REP => Some(Says::Ticket),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Parsed;
    use crate::protocol::kerberos;
    use std::net::Ipv4Addr;

    fn at(no: u64) -> (FrameNo, Timestamp) {
        (FrameNo::new(no), Timestamp(i64::try_from(no).expect("small")))
    }

    #[test]
    fn errors_and_beginnings_of_tickets_are_kept_by_client() {
        let (client, kdc) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));
        let mut tickets = Tickets::default();
        tickets.push_beginning(at(1), client, kdc, &[0, 0, 6, 0, 0x6B, 0x82]);
        tickets.push_beginning(at(2), client, kdc, &[0, 0, 6, 0, 0x6A, 0x82]);
        tickets.push_beginning(at(3), client, kdc, &[0, 0]);
        assert_eq!(tickets.between(client, Timestamp(0), Timestamp(9)).count(), 1);
        assert_eq!(tickets.between(kdc, Timestamp(0), Timestamp(9)).count(), 0);
        assert_eq!(tickets.between(client, Timestamp(2), Timestamp(9)).count(), 0);
        assert!(matches!(kerberos::parse(&[]), Parsed::More));
    }

    #[test]
    fn memory_is_bounded() {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut tickets = Tickets::default();
        for no in 0..=ANSWERS as u64 {
            tickets.push_beginning(at(no), client, client, &[0, 0, 6, 0, 0x6D]);
        }
        assert_eq!(tickets.forgotten, 1);
        assert_eq!(tickets.between(client, Timestamp(0), Timestamp(0)).count(), 0);
        assert_eq!(tickets.between(client, Timestamp(0), Timestamp(i64::MAX)).count(), ANSWERS);
    }
}
