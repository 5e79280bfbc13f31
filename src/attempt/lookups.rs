//! Name lookups of clients: who asked for which name, and what came back. Bounded; the oldest leave first, those that failed last.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::capture::{FrameNo, Span, Timestamp};
use crate::protocol::dns::{Message, RecordType, Role};

/// Queries for one name that follow each other within this time are one lookup; resolvers of all systems give up within 15 s.
const BURST: Span = Span::secs(15);
/// How many queries and answers of one lookup are kept.
const KEPT: usize = 24;

/// One query.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// The type of record.
    pub kind: RecordType,
    /// Who was asked.
    pub resolver: IpAddr,
    /// What ties the answer to it.
    id: u16,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// The type of record that had been asked for.
    pub kind: RecordType,
    /// Who answered.
    pub resolver: IpAddr,
    /// Response code.
    pub rcode: u16,
    /// The addresses in it.
    pub addresses: Vec<IpAddr>,
    /// Whether it says that the name exists and has no such record.
    pub no_data: bool,
    /// Whether it was cut and is to be asked for again over TCP.
    pub truncated: bool,
}

/// An ICMP error that says that a query does not arrive.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// The frame.
    pub no: FrameNo,
    /// Its time.
    pub at: Timestamp,
    /// Who sent it.
    pub from: IpAddr,
    /// Who had been asked.
    pub resolver: IpAddr,
    /// Whether it is ICMPv6; type; code.
    pub says: (bool, u8, u8),
}

/// What came of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An address.
    Found,
    /// The name does not exist, or has no address.
    NotFound,
    /// A resolver answered with an error.
    Failed(u16),
    /// Asked again and again, and no answer.
    NoAnswer,
    /// Too little was seen.
    Unknown,
}

/// One client asks for the address of one name.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The source that holds it.
    pub source: u32,
    /// Who asks.
    pub client: IpAddr,
    /// The name, in lower case.
    pub name: String,
    /// The queries for addresses.
    pub queries: Vec<Query>,
    /// The answers.
    pub replies: Vec<Reply>,
    /// ICMP errors in place of answers.
    pub refusals: Vec<Refusal>,
    /// The time of the last packet.
    pub last: Timestamp,
    /// Whether its failure has no harmless explanation in the lookups around it, where that had to be settled before the end.
    alone: Option<bool>,
}

impl Lookup {
    /// The time of the first packet.
    pub fn started(&self) -> Timestamp {
        let query = self.queries.first().map(|query| query.at);
        let reply = self.replies.first().map(|reply| reply.at);
        query.into_iter().chain(reply).min().unwrap_or(self.last)
    }

    /// The first and the last frame.
    pub fn frames(&self) -> (FrameNo, FrameNo) {
        let all = || {
            self.queries
                .iter()
                .map(|query| query.no)
                .chain(self.replies.iter().map(|reply| reply.no))
                .chain(self.refusals.iter().map(|refusal| refusal.no))
        };
        (all().min().unwrap_or_default(), all().max().unwrap_or_default())
    }

    /// Whether it was answered with an address of this type.
    fn is_answered(&self, kind: RecordType) -> bool {
        self.replies
            .iter()
            .any(|reply| reply.kind == kind && !reply.addresses.is_empty())
    }

    /// Whether this query is one that was captured before, as mirrored ports bring packets twice: who has an address does not ask the same
    /// resolver again so soon. Who was answered with an error does.
    fn has_copy(&self, id: u16, kind: RecordType, resolver: IpAddr, at: Timestamp) -> bool {
        let is_it =
            |query: &Query| (query.id, query.kind, query.resolver) == (id, kind, resolver) && at.since(query.at) <= COPIED;
        self.is_answered(kind) && self.queries.iter().any(is_it)
    }

    /// What came of it, given how long the capture goes on after it.
    pub fn outcome(&self, watched_after: Span) -> Outcome {
        if self.replies.iter().any(|reply| !reply.addresses.is_empty()) {
            return Outcome::Found;
        }
        if self.replies.iter().any(|reply| reply.rcode == 3) {
            return Outcome::NotFound;
        }
        let asked: HashSet<RecordType> = self.queries.iter().map(|query| query.kind).collect();
        let empty: HashSet<RecordType> = self
            .replies
            .iter()
            .filter(|reply| reply.no_data)
            .map(|reply| reply.kind)
            .collect();
        if !empty.is_empty() && asked.is_subset(&empty) && empty.contains(&RecordType::A) {
            return Outcome::NotFound;
        }
        if let Some(reply) = self.replies.iter().rev().find(|reply| reply.rcode != 0) {
            return Outcome::Failed(reply.rcode);
        }
        if !self.replies.is_empty() {
            // A cut answer is none: what it asks for, the same over TCP, did not come.
            let cut = self.replies.iter().filter(|reply| reply.truncated).count();
            let in_vain = cut == self.replies.len() && (cut >= 2 || watched_after >= Span::secs(5));
            return if in_vain { Outcome::NoAnswer } else { Outcome::Unknown };
        }
        let most = asked
            .iter()
            .map(|kind| self.queries.iter().filter(|query| query.kind == *kind).count())
            .max()
            .unwrap_or(0);
        if most >= 2 || (most == 1 && (!self.refusals.is_empty() || watched_after >= Span::secs(5))) {
            Outcome::NoAnswer
        } else {
            Outcome::Unknown
        }
    }
}

/// A mirrored port brings the copy of a packet within this time; resolvers wait longer before they ask again.
const COPIED: Span = Span::millis(100);

/// A client that asks for another name within this time after a failure may have meant that.
const MEANT: Span = Span::secs(5);

/// All lookups of a capture, as far as they are remembered.
#[derive(Debug, Default)]
pub struct Lookups {
    /// Those that failed and had to leave `all`: which names are those of Remote Desktop is known at the end.
    failed: VecDeque<Lookup>,
    /// Lookups by number of arrival; the first has the number `gone`.
    all: VecDeque<Lookup>,
    gone: u64,
    open: FxHashMap<(IpAddr, String), u64>,
    /// Lookups that had to leave before it was known what they have to do with Remote Desktop.
    pub forgotten: u64,
}

impl Lookups {
    /// Takes a message in; returns the addresses that it gives to a name.
    pub fn push(
        &mut self,
        source: u32,
        (no, at): (FrameNo, Timestamp),
        from: IpAddr,
        to: IpAddr,
        message: &Message,
        most: usize,
    ) -> Option<(String, Vec<IpAddr>)> {
        let question = message.questions.first()?;
        if !matches!(question.kind, RecordType::A | RecordType::AAAA | RecordType::ANY) || message.opcode != 0 {
            return None;
        }
        let (client, resolver) = match message.role {
            Role::Query => (from, to),
            Role::Response => (to, from),
        };
        let lookup = self.lookup(source, client, resolver, message, at, most)?;
        lookup.last = at;
        match message.role {
            Role::Query => {
                if lookup.queries.len() < KEPT && !lookup.has_copy(message.id, question.kind, resolver, at) {
                    lookup.queries.push(Query {
                        no,
                        at,
                        kind: question.kind,
                        resolver,
                        id: message.id,
                    });
                }
                None
            }
            Role::Response => {
                let addresses: Vec<IpAddr> = message.addresses().collect();
                if lookup.replies.len() < KEPT {
                    lookup.replies.push(Reply {
                        no,
                        at,
                        kind: question.kind,
                        resolver,
                        rcode: message.rcode,
                        addresses: addresses.clone(),
                        no_data: message.is_no_data(),
                        truncated: message.truncated,
                    });
                }
                Some((question.name.clone(), addresses))
            }
        }
    }

    /// Takes an ICMP error about a query of this client in: the latest lookup that waits for that resolver is the one.
    pub fn refuse(&mut self, client: IpAddr, refusal: Refusal) {
        /// An error comes back at once; resolvers are asked for another name meanwhile at most so often.
        const LATEST: usize = 32;
        const COMES: Span = Span::secs(5);
        let waits = |lookup: &&mut Lookup| {
            lookup.client == client
                && lookup.queries.last().is_some_and(|query| {
                    query.resolver == refusal.resolver && refusal.at.since(query.at) <= COMES && lookup.refusals.len() < KEPT
                })
        };
        if let Some(lookup) = self.all.iter_mut().rev().take(LATEST).find(waits) {
            lookup.refusals.push(refusal);
        }
    }

    fn lookup(
        &mut self,
        source: u32,
        client: IpAddr,
        resolver: IpAddr,
        message: &Message,
        at: Timestamp,
        most: usize,
    ) -> Option<&mut Lookup> {
        let question = message.questions.first()?;
        let name = question.name.as_str();
        let key = (client, name.to_owned());
        // A question that was answered with an address and is asked again is another lookup.
        let asked_anew = |lookup: &Lookup| {
            message.role == Role::Query
                && lookup.is_answered(question.kind)
                && !lookup.has_copy(message.id, question.kind, resolver, at)
        };
        let known = self
            .open
            .get(&key)
            .and_then(|number| usize::try_from(number.checked_sub(self.gone)?).ok());
        let place = match known.filter(|place| {
            self.all
                .get(*place)
                .is_some_and(|lookup| at.since(lookup.last) <= BURST && !asked_anew(lookup))
        }) {
            Some(place) => place,
            None => {
                if self.all.len() >= most
                    && let Some(old) = self.all.pop_front()
                {
                    self.gone += 1;
                    self.close(&old);
                    self.set_aside(old, at, most);
                }
                self.open.insert(key, self.gone + self.all.len() as u64);
                self.all.push_back(Lookup {
                    source,
                    client,
                    name: name.to_owned(),
                    queries: Vec::new(),
                    replies: Vec::new(),
                    refusals: Vec::new(),
                    last: at,
                    alone: None,
                });
                self.all.len() - 1
            }
        };
        self.all.get_mut(place)
    }

    /// All lookups with their numbers, in order of appearance.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Lookup)> {
        (self.gone..).zip(&self.all)
    }

    /// Lets go of lookups at the front whose last packet lies before `at`.
    pub fn forget_before(&mut self, at: Timestamp) {
        while let Some(old) = self.all.pop_front_if(|lookup| lookup.last < at) {
            self.gone += 1;
            self.close(&old);
        }
    }

    /// What is asked under this name from now on is another lookup.
    fn close(&mut self, gone: &Lookup) {
        let key = (gone.client, gone.name.clone());
        if self.open.get(&key).is_some_and(|number| *number < self.gone) {
            self.open.remove(&key);
        }
    }

    /// Keeps a lookup that has left, if it failed; a quarter as many as all others.
    fn set_aside(&mut self, mut old: Lookup, now: Timestamp, most: usize) {
        match old.outcome(now.since(old.last)) {
            Outcome::Found => return,
            Outcome::Unknown => {
                self.forgotten += 1;
                return;
            }
            Outcome::NotFound | Outcome::Failed(_) | Outcome::NoAnswer => {}
        }
        if self.failed.len() >= most.div_ceil(4) {
            self.failed.pop_front();
            self.forgotten += 1;
        }
        // What came soon after it is still there; later it will have left.
        let around = self.all.iter().take_while(|other| other.started().since(old.last) <= BURST);
        old.alone = Some(is_alone_among(&old, around));
        self.failed.push_back(old);
    }

    /// Whether the failure of this lookup has no harmless explanation in those around it: the same host was found under another suffix,
    /// or the client asked for something else right afterwards and got it.
    pub fn is_alone(&self, lookup: &Lookup) -> bool {
        lookup.alone.unwrap_or_else(|| is_alone_among(lookup, self.all.iter()))
    }

    /// All lookups, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Lookup> {
        self.failed.iter().chain(&self.all)
    }
}

fn is_alone_among<'a>(lookup: &Lookup, mut others: impl Iterator<Item = &'a Lookup>) -> bool {
    let first = lookup.name.split('.').next();
    !others.any(|other| {
        let another = other.client == lookup.client && other.name != lookup.name;
        let same_host = || other.last.since(lookup.started()).0.abs() <= BURST.0 && other.name.split('.').next() == first;
        let next = || (Span(0)..=MEANT).contains(&other.started().since(lookup.last));
        another && (same_host() || next()) && other.outcome(Span::default()) == Outcome::Found
    })
}

/// What ties a failed lookup to Remote Desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// It lies in the domain of a host to which this client uses RDP, and nothing else followed it.
    SameDomain,
    /// RDP was used under this name before or after, or it was given on the command line.
    SameName,
}

/// What is known of the RDP of a capture, to tie lookups to it.
#[derive(Clone, Debug, Default)]
pub struct RdpNames {
    /// Names that were given on the command line, in lower case.
    pub given: HashSet<String>,
    /// Clients with the names of the hosts to which they use RDP, in lower case.
    pub used: HashSet<(IpAddr, String)>,
    /// Clients of whose TCP connections only their own direction was captured: what they are told passes elsewhere.
    pub unheard: HashSet<IpAddr>,
}

impl RdpNames {
    /// The names in the order in which lookups ask for them: thousands of lookups are compared with thousands of names.
    pub fn ties(&self) -> Ties<'_> {
        let used = || self.used.iter().map(|(client, name)| (*client, name.as_str()));
        Ties {
            names: self
                .given
                .iter()
                .map(String::as_str)
                .chain(used().map(|(_, name)| name))
                .collect(),
            domains: used()
                .filter_map(|(client, name)| Some((client, name.split_once('.')?.1)))
                .collect(),
            unheard: &self.unheard,
        }
    }
}

/// [`RdpNames`], ready for many lookups.
#[derive(Debug)]
pub struct Ties<'a> {
    /// The names that were given or used.
    names: FxHashSet<&'a str>,
    /// Clients with the domains of the names that they used.
    domains: FxHashSet<(IpAddr, &'a str)>,
    unheard: &'a HashSet<IpAddr>,
}

impl Ties<'_> {
    /// Whether and how this lookup belongs to RDP.
    pub fn tie(&self, lookup: &Lookup, all: &Lookups) -> Option<Tie> {
        let name = lookup.name.as_str();
        if self.names.contains(name) {
            return Some(Tie::SameName);
        }
        // A search suffix on a name that is found is how resolvers work, and service records and proxies are asked for all the time.
        let (first, domain) = name.split_once('.')?;
        if first.starts_with('_') || matches!(first, "wpad" | "isatap") || !self.domains.contains(&(lookup.client, domain)) {
            return None;
        }
        all.is_alone(lookup).then_some(Tie::SameDomain)
    }

    /// Whether an answer to this client would have been captured. Where its connections have but one direction, silence of a resolver is
    /// silence of the capture, unless something else about a lookup came back to it.
    pub fn is_heard(&self, client: IpAddr, all: &Lookups) -> bool {
        let told = |lookup: &Lookup| lookup.client == client && !(lookup.replies.is_empty() && lookup.refusals.is_empty());
        !self.unheard.contains(&client) || all.iter().any(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dns::{Answer, Data, Question};

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const RESOLVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 53));
    const MOST: usize = 8;

    /// A query, or its answer: an address or, without one, NXDOMAIN.
    fn say(lookups: &mut Lookups, name: &str, role: Role, at: Timestamp, found: bool) {
        let is_answer = role == Role::Response;
        let address = Answer {
            name: name.to_owned(),
            ttl: 60,
            data: Data::A([10, 0, 0, 9].into()),
        };
        let message = Message {
            id: 1,
            role,
            opcode: 0,
            truncated: false,
            rcode: if is_answer && !found { 3 } else { 0 },
            questions: vec![Question {
                name: name.to_owned(),
                kind: RecordType::A,
            }],
            answers: if is_answer && found { vec![address] } else { Vec::new() },
            left_out: 0,
            cut: None,
        };
        let (from, to) = if is_answer { (RESOLVER, CLIENT) } else { (CLIENT, RESOLVER) };
        lookups.push(0, (FrameNo::new(1), at), from, to, &message, MOST);
    }

    /// The client asks for a name and gets an answer at once.
    fn ask(lookups: &mut Lookups, name: &str, second: i64, found: bool) {
        let at = Timestamp(second * 1_000_000_000);
        say(lookups, name, Role::Query, at, found);
        say(lookups, name, Role::Response, at, found);
    }

    /// A mirrored port brings the copy of a query behind its answer; one that comes later is another question.
    #[test]
    fn a_copy_of_a_query_asks_nothing() {
        for (after, number) in [(Span::millis(1), 1), (Span::secs(3), 2)] {
            let mut lookups = Lookups::default();
            ask(&mut lookups, "rds01.corp.example", 100, true);
            say(
                &mut lookups,
                "rds01.corp.example",
                Role::Query,
                Timestamp(100_000_000_000).plus(after),
                true,
            );
            assert_eq!(lookups.numbered().count(), number);
            assert!(lookups.numbered().all(|(_, lookup)| lookup.queries.len() == 1));
        }
    }

    /// Twenty lookups of other names, one a minute.
    fn noise(lookups: &mut Lookups, from: i64) {
        (0..20).for_each(|n| ask(lookups, &format!("noise{n}.example"), from + 60 * n, true));
    }

    #[test]
    fn failures_outlast_what_was_found() {
        let mut lookups = Lookups::default();
        noise(&mut lookups, 100);
        ask(&mut lookups, "rds01.corp.example", 2_000, false);
        noise(&mut lookups, 2_100);
        // A slip of the pen, and what was meant.
        ask(&mut lookups, "rsd02.corp.example", 4_000, false);
        ask(&mut lookups, "rds02.corp.example", 4_003, true);
        noise(&mut lookups, 4_100);
        let failed: Vec<(&str, bool)> = lookups
            .iter()
            .filter(|lookup| lookup.outcome(Span::default()) != Outcome::Found)
            .map(|lookup| (lookup.name.as_str(), lookups.is_alone(lookup)))
            .collect();
        assert_eq!(failed, [("rds01.corp.example", true), ("rsd02.corp.example", false)]);
        assert_eq!((lookups.all.len(), lookups.forgotten), (MOST, 0));
        // Of failures a quarter as many are kept, and what is lost is counted.
        (0..20).for_each(|n| ask(&mut lookups, &format!("no{n}.example"), 10_000 + 60 * n, false));
        assert_eq!((lookups.failed.len(), lookups.forgotten), (2, 12));
    }
}
