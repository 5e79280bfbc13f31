//! Where flows wait whose content has not shown yet what they are. Strangers are remembered by their first packets; those that turn
//! out to be something else are dismissed and passed over from then on. Both memories are fixed in size.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::capture::{FrameNo, Timestamp};
use crate::flow::key::{BuildKeyHasher, FlowKey};
use crate::flow::seen::Seen;
use crate::packet::{TcpFlags, TcpOptions};

/// How many packets of a stranger are remembered: SYN, SYN+ACK, ACK and one more.
const PACKETS: usize = 4;
/// How many are remembered where SYN or SYN+ACK are repeated.
const MOST: usize = 12;
/// Fingerprints that share one line of memory.
const WAYS: usize = 8;

/// A packet of a stranger: its headers and options.
#[derive(Clone, Copy, Debug)]
pub struct Stub {
    /// The headers; `side` is meaningless until the client is known.
    pub seen: Seen,
    /// The TCP options.
    pub options: TcpOptions,
    /// Who sent it.
    pub from: SocketAddr,
}

/// A flow of which only the first packets are known.
#[derive(Clone, Debug)]
pub struct Stranger {
    /// Its key.
    pub key: FlowKey,
    /// Its first packets, in order.
    pub stubs: smallvec::SmallVec<[Stub; PACKETS]>,
}

impl Stranger {
    /// Whether this SYN begins another connection between the same ports: its sequence number is not that of the SYN before.
    fn is_reborn_by(&self, stub: &Stub) -> bool {
        let is_syn = |flags: TcpFlags| flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK);
        is_syn(stub.seen.flags)
            && self
                .stubs
                .iter()
                .find(|known| is_syn(known.seen.flags) && known.from == stub.from)
                .is_none_or(|known| known.seen.seq != stub.seen.seq)
    }

    /// The end to which the first SYN went, if the first packet is one.
    pub fn server(&self) -> Option<SocketAddr> {
        let first = self.stubs.first()?;
        let (low, high) = self.key.ends();
        let to = if first.from == low { high } else { low };
        let flags = first.seen.flags;
        (flags.has(TcpFlags::SYN) && !flags.has(TcpFlags::ACK)).then_some(to)
    }
}

/// Strangers and the dismissed.
#[derive(Debug)]
pub struct Lobby {
    /// Grows with need, to `room` at most; from then on rows are used in turn.
    strangers: Vec<Stranger>,
    /// Rows whose stranger has shown what it is. They have no packets.
    free: Vec<u32>,
    room: usize,
    /// Their rows by fingerprint; the row tells whether it is the flow.
    index: HashMap<u64, u32, BuildKeyHasher>,
    next: usize,
    dismissed: Vec<[u32; WAYS]>,
    /// The latest that were dismissed, by their servers: at most as many as there is room for strangers.
    dismissed_from: VecDeque<(IpAddr, u64)>,
    turn: u32,
    dismissals: u64,
    readmissions: u64,
    /// Strangers that had to leave before they showed what they are.
    pub forgotten: u64,
}

impl Lobby {
    /// A lobby for so many strangers and so many dismissed flows.
    pub fn new(strangers: usize, dismissed: usize) -> Lobby {
        let sets = (dismissed / WAYS).max(1).next_power_of_two();
        Lobby {
            strangers: Vec::new(),
            free: Vec::new(),
            room: strangers.max(1),
            index: HashMap::default(),
            next: 0,
            dismissed: vec![[0; WAYS]; sets],
            dismissed_from: VecDeque::new(),
            turn: 0,
            dismissals: 0,
            readmissions: 0,
            forgotten: 0,
        }
    }

    /// Whether this flow is known to be nothing of ours.
    #[inline]
    pub fn is_dismissed(&self, fingerprint: u64) -> bool {
        let (set, tag) = self.place(fingerprint);
        self.dismissed.get(set).is_some_and(|ways| has(ways, tag))
    }

    /// Grows with every flow that is dismissed and was not.
    #[inline]
    pub fn dismissals(&self) -> u64 {
        self.dismissals
    }

    /// Grows with every flow that was dismissed and is not any more.
    #[inline]
    pub fn readmissions(&self) -> u64 {
        self.readmissions
    }

    /// Passes over this flow from now on.
    pub fn dismiss(&mut self, key: &FlowKey) {
        if let Some(server) = self.forget(key) {
            if self.dismissed_from.len() >= self.room {
                self.dismissed_from.pop_front();
            }
            self.dismissed_from.push_back((server.ip(), key.fingerprint()));
        }
        let (set, tag) = self.place(key.fingerprint());
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn as usize % WAYS;
        if let Some(ways) = self.dismissed.get_mut(set)
            && !has(ways, tag)
        {
            let free = ways.iter().position(|way| *way == 0).unwrap_or(turn);
            if let Some(way) = ways.get_mut(free) {
                // The one that leaves for it was dismissed, too.
                self.readmissions += u64::from(*way != 0);
                *way = tag;
                self.dismissals += 1;
            }
        }
    }

    /// Looks at this flow anew: a SYN begins another connection between the same ports.
    pub fn readmit(&mut self, fingerprint: u64) {
        let (set, tag) = self.place(fingerprint);
        if let Some(ways) = self.dismissed.get_mut(set) {
            for way in ways.iter_mut().filter(|way| **way == tag) {
                *way = 0;
                self.readmissions += 1;
            }
        }
    }

    #[inline]
    fn place(&self, fingerprint: u64) -> (usize, u32) {
        let set = (fingerprint as usize) & (self.dismissed.len() - 1);
        // Zero marks a free way.
        (set, ((fingerprint >> 32) as u32).max(1))
    }

    /// Remembers a packet of a flow that has not shown what it is.
    pub fn remember(&mut self, key: FlowKey, stub: Stub) {
        if let Some(at) = self.index.get(&key.fingerprint()) {
            if let Some(stranger) = self.strangers.get_mut(*at as usize)
                && stranger.key == key
            {
                if stranger.is_reborn_by(&stub) {
                    stranger.stubs.clear();
                }
                if stranger.stubs.len() < MOST {
                    stranger.stubs.push(stub);
                }
            }
            return;
        }
        let at = match self.free.pop() {
            Some(at) => at as usize,
            None if self.strangers.len() < self.room => self.strangers.len(),
            None => {
                let at = self.next;
                self.next = (at + 1) % self.room;
                at
            }
        };
        match self.strangers.get_mut(at) {
            // Written over in place: a row is large, and a flood comes here with every packet.
            Some(old) => {
                if !old.stubs.is_empty() {
                    self.index.remove(&old.key.fingerprint());
                    self.forgotten += 1;
                }
                old.key = key;
                old.stubs.clear();
                old.stubs.shrink_to_fit();
                old.stubs.push(stub);
            }
            None => self.strangers.push(Stranger {
                key,
                stubs: smallvec::smallvec![stub],
            }),
        }
        self.index.insert(key.fingerprint(), u32::try_from(at).unwrap_or(0));
    }

    /// When this stranger's last SYN passed, if nothing but SYNs is known of it. An answer may be to an earlier one: the time to it is
    /// then too short, never too long.
    pub fn last_syn(&self, key: &FlowKey) -> Option<(FrameNo, Timestamp)> {
        let at = self.index.get(&key.fingerprint())?;
        let stranger = self.strangers.get(*at as usize);
        let stubs = &stranger.filter(|stranger| stranger.key == *key)?.stubs;
        let is_syn = |stub: &Stub| stub.seen.flags.has(TcpFlags::SYN) && !stub.seen.flags.has(TcpFlags::ACK);
        stubs
            .last()
            .filter(|_| stubs.iter().all(is_syn))
            .map(|last| (last.seen.no, last.seen.at))
    }

    /// Takes a stranger out: it turned out to be of interest.
    pub fn take(&mut self, key: &FlowKey) -> Option<Stranger> {
        let stranger = self.row(key)?;
        let stubs = std::mem::take(&mut stranger.stubs);
        self.release(key);
        Some(Stranger { key: *key, stubs })
    }

    /// Forgets a stranger; gives its server, if that is known.
    fn forget(&mut self, key: &FlowKey) -> Option<SocketAddr> {
        let stranger = self.row(key)?;
        let server = stranger.server();
        stranger.stubs.clear();
        self.release(key);
        server
    }

    fn row(&mut self, key: &FlowKey) -> Option<&mut Stranger> {
        let at = *self.index.get(&key.fingerprint())?;
        self.strangers.get_mut(at as usize).filter(|stranger| stranger.key == *key)
    }

    fn release(&mut self, key: &FlowKey) {
        self.free.extend(self.index.remove(&key.fingerprint()));
    }

    /// Looks anew at the flows of this server that were dismissed last.
    pub fn readmit_all_of(&mut self, host: IpAddr) {
        let mut again = Vec::new();
        self.dismissed_from.retain(|(server, fingerprint)| {
            let of_host = *server == host;
            if of_host {
                again.push(*fingerprint);
            }
            !of_host
        });
        again.into_iter().for_each(|fingerprint| self.readmit(fingerprint));
    }

    /// Takes out every stranger that began with a SYN to one of these servers.
    pub fn take_all_to(&mut self, is_wanted: impl Fn(SocketAddr) -> bool) -> Vec<Stranger> {
        let wanted: Vec<FlowKey> = self
            .strangers
            .iter()
            .filter(|row| row.server().is_some_and(&is_wanted))
            .map(|row| row.key)
            .collect();
        wanted.iter().filter_map(|key| self.take(key)).collect()
    }
}

/// Whether one of the ways holds this tag. Looks at all of them at once: stopping at the first would cost a branch for each.
#[inline]
fn has(ways: &[u32; WAYS], tag: u32) -> bool {
    ways.iter().fold(false, |found, way| found | (*way == tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::key::TCP;
    use crate::flow::side::Side;
    use crate::packet::{IpFacts, LinkFacts};

    fn server() -> SocketAddr {
        SocketAddr::new([10, 0, 0, 2].into(), 443)
    }

    fn key(port: u16) -> FlowKey {
        FlowKey::new(SocketAddr::new([10, 0, 0, 1].into(), port), server(), TCP)
    }

    /// A SYN from this port of the client.
    fn syn(port: u16) -> Stub {
        let from = SocketAddr::new([10, 0, 0, 1].into(), port);
        let ip = IpFacts {
            src: from.ip(),
            dst: server().ip(),
            ttl: 64,
            id: None,
            df: true,
            tos: 0,
            flow_label: None,
            total_len: 40,
            fragment: false,
        };
        let seen = Seen::of_datagram(FrameNo::new(1), Timestamp(0), Side::Client, &LinkFacts::default(), &ip, 0);
        Stub {
            seen: Seen {
                flags: TcpFlags(TcpFlags::SYN),
                seq: u32::from(port),
                ..seen
            },
            options: TcpOptions::default(),
            from,
        }
    }

    #[test]
    fn rows_of_the_dismissed_are_used_again() {
        let mut lobby = Lobby::new(4, 1_024);
        for port in 1..=100 {
            lobby.remember(key(port), syn(port));
            lobby.dismiss(&key(port));
        }
        assert_eq!((lobby.strangers.len(), lobby.forgotten), (1, 0));
        assert!((1..=100).all(|port| lobby.is_dismissed(key(port).fingerprint())));
        assert!(lobby.take(&key(100)).is_none());
        // One that waits stays what it is while others come and go.
        lobby.remember(key(200), syn(200));
        for port in 201..=300 {
            lobby.remember(key(port), syn(port));
            lobby.dismiss(&key(port));
        }
        let waited = lobby.take(&key(200)).expect("it was not forgotten");
        assert_eq!((waited.stubs.len(), waited.server()), (1, Some(server())));
        assert!(lobby.take(&key(200)).is_none());
    }

    #[test]
    fn without_room_the_strangers_leave_in_turn() {
        let mut lobby = Lobby::new(4, 1_024);
        for port in 1..=10 {
            lobby.remember(key(port), syn(port));
            lobby.remember(key(port), syn(port));
        }
        assert_eq!((lobby.strangers.len(), lobby.forgotten), (4, 6));
        let left: Vec<u16> = (1..=10).filter(|port| lobby.take(&key(*port)).is_some()).collect();
        assert_eq!(left, [7, 8, 9, 10]);
        assert!(lobby.index.is_empty());
    }

    #[test]
    fn the_dismissed_of_a_server_are_looked_at_again() {
        let mut lobby = Lobby::new(4, 1_024);
        for port in 1..=6 {
            lobby.remember(key(port), syn(port));
            lobby.dismiss(&key(port));
        }
        lobby.readmit_all_of([10, 0, 0, 3].into());
        assert!(lobby.is_dismissed(key(6).fingerprint()));
        lobby.readmit_all_of(server().ip());
        // Those of whom it is known: the latest, as many as there is room for strangers.
        let dismissed: Vec<bool> = (1..=6).map(|port| lobby.is_dismissed(key(port).fingerprint())).collect();
        assert_eq!(dismissed, [true, true, false, false, false, false]);
    }
}
