//! Where the capture was taken, told from the packets of one connection, with the reasons.
//!
//! Every host writes a round TTL (64, 128, 255) and every router takes one away; a host sees its own short frames before the card
//! pads them and its own checksums before the card fills them in; and who stands beside a host waits no time for its answer.

use crate::capture::Span;
use crate::flow::{Connection, PerSide, Side};
use crate::transcript::Vantage;

/// Where the capture was taken.
#[derive(Clone, Debug)]
pub struct View {
    /// The place.
    pub vantage: Vantage,
    /// Whether nothing of weight speaks against it.
    pub sure: bool,
    /// The reasons, in words.
    pub why: String,
}

/// The initial values of TTL and hop limit that today's stacks use. 32 is left out: what arrives with 32 or less is a 64 far away.
const INITIAL_TTLS: [u8; 3] = [64, 128, 255];
/// A host answers itself within this time; no path of more than a switch does.
const AT_ONCE: Span = Span::millis(1);

impl View {
    /// Reads a connection for the place of its capture.
    pub fn of(tcp: &Connection) -> View {
        let mut votes = Votes::default();
        votes.ttl(tcp);
        votes.direction(tcp);
        votes.card(tcp);
        votes.round_trips(tcp);
        if tcp.copies.routed > 0 {
            votes.add(
                Vantage::Between,
                5.0,
                format!(
                    "{} packets appear twice with different TTLs, on both sides of a router",
                    tcp.copies.routed
                ),
            );
        }
        votes.decide()
    }

    /// Whether the capture was taken on the host of this side.
    pub fn is_at(&self, side: Side) -> bool {
        self.vantage == at(side)
    }
}

/// The smallest usual initial TTL that is not below `ttl`.
pub fn initial_ttl(ttl: u8) -> u8 {
    INITIAL_TTLS.into_iter().find(|initial| *initial >= ttl).unwrap_or(255)
}

/// Whether a packet with this TTL has not crossed a router yet.
pub fn is_initial(ttl: u8) -> bool {
    INITIAL_TTLS.contains(&ttl)
}

fn at(side: Side) -> Vantage {
    match side {
        Side::Client => Vantage::Client,
        Side::Server => Vantage::Server,
    }
}

#[derive(Default)]
struct Votes {
    cast: Vec<(Vantage, f32, String)>,
}

impl Votes {
    fn add(&mut self, vantage: Vantage, weight: f32, why: String) {
        self.cast.push((vantage, weight, why));
    }

    fn ttl(&mut self, tcp: &Connection) {
        // A side of which nothing but resets was captured is known by those.
        let usual = |side: Side| {
            let habits = &tcp.habits[side];
            let reset = || {
                tcp.resets
                    .iter()
                    .find(|reset| reset.seen.side == side)
                    .map(|reset| reset.seen.ttl)
            };
            habits
                .ttl
                .usual()
                .or(habits.handshake_ttl.usual())
                .map_or_else(reset, |ttl| Some(ttl.value))
        };
        let ttl = PerSide {
            client: usual(Side::Client),
            server: usual(Side::Server),
        };
        let (client, server) = match (ttl.client, ttl.server) {
            (Some(client), Some(server)) => (client, server),
            (Some(client), None) => return self.client_alone(tcp, client),
            _ => return,
        };
        match (is_initial(client), is_initial(server)) {
            (true, false) => self.add(
                Vantage::Client,
                3.0,
                format!("the client's packets have their initial TTL {client}, the server's arrive with {server}"),
            ),
            (false, true) => self.add(
                Vantage::Server,
                3.0,
                format!("the server's packets have their initial TTL {server}, the client's arrive with {client}"),
            ),
            (false, false) => self.add(
                Vantage::Between,
                4.0,
                format!("neither side's packets have an initial TTL any more (client {client}, server {server})"),
            ),
            (true, true) => {}
        }
    }

    /// Nobody answers: then only the client's own packets tell something.
    fn client_alone(&mut self, tcp: &Connection, client: u8) {
        if is_initial(client) {
            self.add(
                Vantage::Client,
                1.5,
                format!("the client's packets have their initial TTL {client}"),
            );
            return;
        }
        let device = tcp.icmp.iter().find(|icmp| {
            icmp.message
                .quoted
                .as_ref()
                .is_some_and(|quoted| quoted.dst.ip() != icmp.from)
        });
        if let Some(device) = device {
            self.add(
                Vantage::Between,
                2.0,
                format!(
                    "the client's packets arrive with TTL {client}, and the device {} that refuses them is still ahead",
                    device.from
                ),
            );
        }
    }

    fn direction(&mut self, tcp: &Connection) {
        let (client, server) = (&tcp.habits.client, &tcp.habits.server);
        match (client.outbound > client.inbound, server.outbound > server.inbound) {
            (true, false) if server.inbound > 0 => self.add(
                Vantage::Client,
                6.0,
                "the capture notes the client's packets as sent by the capturing host".to_owned(),
            ),
            (false, true) if client.inbound > 0 => self.add(
                Vantage::Server,
                6.0,
                "the capture notes the server's packets as sent by the capturing host".to_owned(),
            ),
            (false, false) if client.inbound > 0 && server.inbound > 0 => self.add(
                Vantage::Between,
                4.0,
                "the capture notes both sides' packets as received".to_owned(),
            ),
            _ => {}
        }
    }

    /// What a network card does to packets after the capturing host has handed them over.
    fn card(&mut self, tcp: &Connection) {
        for side in Side::BOTH {
            let (own, other) = (&tcp.habits[side], &tcp.habits[side.other()]);
            if own.bad_checksums >= 2 && own.good_checksums == 0 && other.good_checksums > 0 && other.bad_checksums == 0 {
                self.add(at(side), 4.0, format!("the {side}'s checksums are not filled in yet"));
            }
            if own.unpadded_short > 0 && own.padded_short == 0 && other.padded_short > 0 && other.unpadded_short == 0 {
                self.add(
                    at(side),
                    3.0,
                    format!("the {side}'s short frames are not padded, the {}'s are", side.other()),
                );
            }
            if own.oversized > 0 && other.oversized == 0 {
                self.add(
                    at(side),
                    1.0,
                    format!(
                        "{} of the {side}'s segments are longer than a frame, not cut by the card yet",
                        own.oversized
                    ),
                );
            }
        }
        let (client, server) = (&tcp.habits.client, &tcp.habits.server);
        if client.padded_short > 0 && server.padded_short > 0 && client.unpadded_short + server.unpadded_short == 0 {
            self.add(Vantage::Between, 1.5, "both sides' short frames are padded".to_owned());
        }
    }

    fn round_trips(&mut self, tcp: &Connection) {
        let rtt = tcp.handshake_rtt();
        let (Some(to_server), Some(to_client)) = (rtt.server, rtt.client) else {
            return;
        };
        let words = format!(
            "the server answers the SYN after {}, the client the SYN+ACK after {}",
            to_server.human(),
            to_client.human()
        );
        if to_client <= AT_ONCE && to_server.0 >= to_client.0.saturating_mul(5) {
            self.add(Vantage::Client, 1.5, words);
        } else if to_server <= AT_ONCE && to_client.0 >= to_server.0.saturating_mul(5) {
            self.add(Vantage::Server, 1.5, words);
        } else if to_client <= AT_ONCE
            && to_server <= AT_ONCE
            && tcp.habits.client.ttl.usual().is_some_and(|ttl| is_initial(ttl.value))
        {
            // On one network segment the host itself answers some times quicker than the other end of the cable.
            if to_server.0 >= to_client.0.saturating_mul(3) {
                self.add(Vantage::Client, 1.5, words);
            } else if to_client.0 >= to_server.0.saturating_mul(3) {
                self.add(Vantage::Server, 1.5, words);
            }
        } else if to_client > AT_ONCE.times(2) && to_server > AT_ONCE.times(2) {
            self.add(Vantage::Between, 2.0, words);
        }
    }

    fn decide(self) -> View {
        let total = |vantage: Vantage| -> f32 {
            self.cast
                .iter()
                .filter(|(cast, _, _)| *cast == vantage)
                .map(|(_, weight, _)| weight)
                .sum()
        };
        let mut ranked = [Vantage::Client, Vantage::Server, Vantage::Between].map(|vantage| (vantage, total(vantage)));
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let [(best, most), (_, next), _] = ranked;
        let lead = most - next;
        let reasons = |wanted: &dyn Fn(Vantage) -> bool| -> String {
            let words: Vec<&str> = self
                .cast
                .iter()
                .filter(|(vantage, _, _)| wanted(*vantage))
                .map(|(_, _, why)| why.as_str())
                .collect();
            words.join("; ")
        };
        if most < 1.5 || lead < 1.0 {
            let why = if self.cast.is_empty() {
                "TTLs, times and frame lengths of both sides look alike here".to_owned()
            } else {
                format!("the signs disagree or are too weak: {}", reasons(&|_| true))
            };
            return View {
                vantage: Vantage::Unknown,
                sure: false,
                why,
            };
        }
        let mut why = reasons(&|vantage| vantage == best);
        let against = reasons(&|vantage| vantage != best);
        if !against.is_empty() {
            why = format!("{why} (against it: {against})");
        }
        View {
            vantage: best,
            sure: lead >= 3.0,
            why,
        }
    }
}
