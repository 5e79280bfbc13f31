//! How TCP stacks write their packets and their resets, as measured on the wire.

use super::random::Random;
use super::wire::{ACK, RST, Sent};

/// A family of TCP stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Linux,
    OldLinux,
    Windows,
    Apple,
}

/// One host: its family and the counters that its packets carry.
#[derive(Clone, Debug)]
pub struct Host {
    pub family: Family,
    pub is_client: bool,
    /// Routers between this host and the capture point.
    pub hops: u8,
    id: u16,
    clock: u32,
    timestamps: bool,
    window: u16,
    pub next: u32,
    pub expects: u32,
    /// The newest TSval of the other side.
    pub heard: u32,
}

impl Host {
    pub fn new(family: Family, is_client: bool, hops: u8, timestamps: bool, random: &mut Random) -> Host {
        Host {
            family,
            is_client,
            hops,
            id: random.below(65_536) as u16,
            clock: random.below(1 << 31) as u32,
            timestamps,
            window: 500 + random.below(60_000) as u16,
            next: random.below(1 << 32) as u32,
            expects: 0,
            heard: 0,
        }
    }

    pub fn initial_ttl(&self) -> u8 {
        if self.family == Family::Windows { 128 } else { 64 }
    }

    pub fn ttl(&self) -> u8 {
        self.initial_ttl() - self.hops
    }

    fn next_id(&mut self, random: &mut Random) -> u16 {
        match self.family {
            // Per connection.
            Family::Linux | Family::OldLinux => self.id = self.id.wrapping_add(1),
            // Per destination: other connections to it count, too.
            Family::Windows => {
                self.id = self
                    .id
                    .wrapping_add(1 + if random.chance(0.1) { random.below(12) as u16 } else { 0 })
            }
            Family::Apple => return 0,
        }
        self.id
    }

    fn clock_at(&self, at: i64) -> u32 {
        self.clock.wrapping_add((at / 1_000_000) as u32)
    }

    fn timestamp(&self, at: i64) -> Vec<u8> {
        let mut option = vec![1, 1, 8, 10];
        option.extend(self.clock_at(at).to_be_bytes());
        option.extend(self.heard.to_be_bytes());
        option
    }

    /// The options of SYN or SYN+ACK in this family's order.
    fn syn_options(&self, at: i64) -> Vec<u8> {
        let mut options = vec![2, 4, 5, 0xb4];
        match (self.family, self.timestamps) {
            (Family::Linux | Family::OldLinux, true) => {
                options.extend([4, 2]);
                options.extend(&self.timestamp(at)[2..]);
                options.extend([1, 3, 3, 7]);
            }
            (Family::Linux | Family::OldLinux, false) => options.extend([1, 1, 4, 2, 1, 3, 3, 7]),
            (Family::Windows, _) => options.extend([1, 3, 3, 8, 1, 1, 4, 2]),
            (Family::Apple, true) => {
                options.extend([1, 3, 3, 6]);
                options.extend(self.timestamp(at));
                options.extend([4, 2, 0, 0]);
            }
            (Family::Apple, false) => options.extend([1, 3, 3, 6, 4, 2, 0, 0]),
        }
        options
    }

    /// An ordinary packet.
    pub fn packet(&mut self, at: i64, flags: u8, payload: Vec<u8>, random: &mut Random) -> Sent {
        let syn = flags & super::wire::SYN != 0;
        let id = match (self.family, syn, self.is_client) {
            // Linux answers a SYN with identification 0.
            (Family::Linux | Family::OldLinux, true, false) => 0,
            _ => self.next_id(random),
        };
        let sent = Sent {
            at,
            from_client: self.is_client,
            ttl: self.ttl(),
            id,
            df: true,
            flags,
            seq: self.next,
            ack: if flags & ACK != 0 { self.expects } else { 0 },
            window: self.window,
            options: match (syn, self.timestamps) {
                (true, _) => self.syn_options(at),
                (false, true) => self.timestamp(at),
                (false, false) => Vec::new(),
            },
            payload,
            ..Sent::default()
        };
        self.next = sent.end();
        sent
    }

    /// The RST,ACK of a socket that is aborted.
    pub fn abort(&mut self, at: i64, random: &mut Random) -> Sent {
        let mut sent = self.packet(at, RST | ACK, Vec::new(), random);
        if matches!(self.family, Family::Windows | Family::Apple) {
            sent.window = 0;
            sent.options.clear();
        }
        if matches!(self.family, Family::Linux | Family::OldLinux) && random.chance(0.15) {
            sent.options.clear();
        }
        sent
    }

    /// The RST of a host that knows no such connection, in answer to `to`.
    pub fn unknown(&mut self, at: i64, to: &Sent, random: &mut Random) -> Sent {
        let id = match self.family {
            Family::Linux => 0,
            Family::OldLinux => random.below(65_536) as u16,
            Family::Windows => self.next_id(random),
            Family::Apple => {
                if random.chance(0.3) {
                    random.below(65_536) as u16
                } else {
                    0
                }
            }
        };
        Sent {
            at,
            from_client: self.is_client,
            ttl: self.ttl(),
            id,
            df: self.family != Family::Apple || random.chance(0.5),
            flags: RST,
            seq: to.ack,
            ack: if self.family == Family::Windows { to.ack } else { 0 },
            ..Sent::default()
        }
    }

    /// What this host's next identification will be.
    pub fn coming_id(&self) -> u16 {
        if self.family == Family::Apple {
            0
        } else {
            self.id.wrapping_add(1)
        }
    }
}
