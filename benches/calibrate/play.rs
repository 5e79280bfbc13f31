//! Plays one connection: a recorded exchange of messages, between two hosts of known kind, ended by a RST of known origin.

use super::random::Random;
use super::stack::{Family, Host};
use super::wire::{ACK, PSH, RST, SYN, Sent};

/// What one side said in a recorded connection.
#[derive(Clone, Debug)]
pub struct Line {
    pub from_client: bool,
    pub payload: Vec<u8>,
}

/// Where a RST came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    // Genuine.
    Abort,
    NoSocket,
    AbortAfterRouteChange,
    NoSocketAfterRouteChange,
    AbortAfterIdle,
    ClientLeaves,
    // By a device.
    LinuxReject,
    PfReturn,
    IpfwReset,
    Suricata,
    Appliance,
    BothEnds,
    CountingFan,
    Tcpkill,
    IdleExpiry,
    StateMiss,
    // Held out: no weight was chosen with these in mind.
    SameTtlOtherCount,
    PerfectMimic,
    MirroredTtl,
    StaleFan,
}

impl Origin {
    pub const GENUINE: &'static [Origin] = &[
        Origin::Abort,
        Origin::NoSocket,
        Origin::AbortAfterRouteChange,
        Origin::NoSocketAfterRouteChange,
        Origin::AbortAfterIdle,
        Origin::ClientLeaves,
    ];
    pub const FORGED: &'static [Origin] = &[
        Origin::LinuxReject,
        Origin::PfReturn,
        Origin::IpfwReset,
        Origin::Suricata,
        Origin::Appliance,
        Origin::BothEnds,
        Origin::CountingFan,
        Origin::Tcpkill,
        Origin::IdleExpiry,
        Origin::StateMiss,
        Origin::SameTtlOtherCount,
        Origin::PerfectMimic,
        Origin::MirroredTtl,
        Origin::StaleFan,
    ];

    pub fn is_forged(self) -> bool {
        Origin::FORGED.contains(&self)
    }

    pub fn is_held_out(self) -> bool {
        matches!(
            self,
            Origin::SameTtlOtherCount | Origin::PerfectMimic | Origin::MirroredTtl | Origin::StaleFan
        )
    }
}

/// A played connection.
pub struct Played {
    pub packets: Vec<Sent>,
    /// The frame of the RST that ended it.
    pub reset: usize,
}

/// The path between the two hosts and the capture point on it.
struct Path {
    /// One way from the capture point to the client and to the server, in nanoseconds.
    client: i64,
    server: i64,
    /// Share of the delay that varies.
    jitter: f64,
}

struct Stage<'r> {
    random: &'r mut Random,
    path: Path,
    client: Host,
    server: Host,
    now: i64,
    packets: Vec<Sent>,
}

const MS: i64 = 1_000_000;

impl Stage<'_> {
    fn delay(&mut self, to_client: bool) -> i64 {
        let one_way = if to_client { self.path.client } else { self.path.server };
        let vary = self.random.unit() * self.path.jitter;
        // From the capture point to the host and back.
        (2.0 * one_way as f64 * (1.0 + vary)) as i64 + 20_000 + self.random.below(60_000) as i64
    }

    fn host(&mut self, client: bool) -> &mut Host {
        if client { &mut self.client } else { &mut self.server }
    }

    fn say(&mut self, client: bool, flags: u8, payload: Vec<u8>) {
        let at = self.now;
        let sent = match client {
            true => self.client.packet(at, flags, payload, self.random),
            false => self.server.packet(at, flags, payload, self.random),
        };
        let clock = sent.options.windows(2).position(|pair| pair == [8, 10]).and_then(|place| {
            let value = sent.options.get(place + 2..place + 6)?;
            Some(u32::from_be_bytes(value.try_into().ok()?))
        });
        let other = self.host(!client);
        other.expects = sent.end();
        if let Some(clock) = clock {
            other.heard = clock;
        }
        self.packets.push(sent);
    }

    /// The other side's turn: its packet passes the capture point after its round trip from here.
    fn turn(&mut self, client: bool, thinks: i64) {
        self.now += self.delay(client) + thinks;
    }
}

fn host_kinds(random: &mut Random) -> (Family, Family) {
    let client = random.pick(&[Family::Windows, Family::Windows, Family::Linux, Family::Apple]);
    let server = random.pick(&[
        Family::Windows,
        Family::Windows,
        Family::Windows,
        Family::Linux,
        Family::OldLinux,
    ]);
    (client, server)
}

/// Plays a script up to a RST of `origin`.
pub fn play(script: &[Line], origin: Origin, random: &mut Random) -> Played {
    let (client_family, server_family) = host_kinds(random);
    let timestamps = client_family != Family::Windows && server_family != Family::Windows;
    // Captured at the client, at the server, or between.
    let place = random.pick(&[0, 0, 1, 2]);
    let hops = 3 + random.below(12) as u8;
    let one_way = (random.between(2.0, 60.0) * MS as f64) as i64;
    let (to_client, share) = match place {
        0 => (0, 0.0),
        1 => (hops, 1.0),
        _ => {
            let n = 1 + random.below(u64::from(hops) - 2) as u8;
            (n, f64::from(n) / f64::from(hops))
        }
    };
    let mut stage = Stage {
        path: Path {
            client: (one_way as f64 * share) as i64,
            server: (one_way as f64 * (1.0 - share)) as i64,
            jitter: random.between(0.0, 0.15),
        },
        client: Host::new(client_family, true, to_client, timestamps, random),
        server: Host::new(server_family, false, hops - to_client, timestamps, random),
        now: 1_700_000_000_000 * MS,
        packets: Vec::new(),
        random,
    };
    stage.say(true, SYN, Vec::new());
    // A host that is woken, or whose address must be asked for first, takes its time for the first answer only.
    let slow = if stage.random.chance(0.08) {
        stage.random.between(20.0, 300.0)
    } else {
        0.0
    };
    stage.turn(false, (slow * MS as f64) as i64);
    stage.say(false, SYN | ACK, Vec::new());
    stage.turn(true, 0);
    stage.say(true, ACK, Vec::new());
    // Whose name the RST bears. At a host only what comes from the other side can be forged.
    let in_clients_name = match (origin, place) {
        (Origin::ClientLeaves, _) => true,
        (_, 0) if origin.is_forged() => false,
        (_, 1) if origin.is_forged() => true,
        (_, 2) => stage.random.chance(0.3),
        _ => false,
    };
    let idle_kind = matches!(origin, Origin::AbortAfterIdle | Origin::IdleExpiry | Origin::StateMiss);
    let cut = match stage.random.below(10) {
        _ if idle_kind || origin == Origin::ClientLeaves => script.len(),
        0 => 1,
        1 => 3.min(script.len()),
        2 | 3 => 4 + stage.random.below(script.len() as u64 - 4) as usize,
        _ => script.len() - stage.random.below(script.len() as u64 / 4) as usize,
    };
    // The RST answers a message of the other side: the script stops before one.
    let cut = (cut.min(script.len())..script.len())
        .find(|at| script[*at].from_client != in_clients_name)
        .unwrap_or(script.len());
    let mut last_client = true;
    for line in &script[..cut] {
        if line.from_client != last_client {
            let thinks = (stage.random.between(0.1, 4.0) * MS as f64) as i64;
            stage.turn(line.from_client, thinks);
        } else {
            let pause = if stage.random.chance(0.3) {
                20 + stage.random.below(150) as i64
            } else {
                0
            };
            stage.now += pause * MS + 30_000;
            if pause > 0 {
                // The other side acknowledges what it was told meanwhile.
                let back = stage.delay(!line.from_client);
                stage.now += back;
                stage.say(!line.from_client, ACK, Vec::new());
                let back = stage.delay(line.from_client);
                stage.now += back;
            }
        }
        stage.say(line.from_client, ACK | PSH, line.payload.clone());
        last_client = line.from_client;
    }
    end(&mut stage, origin, in_clients_name)
}

fn end(stage: &mut Stage<'_>, origin: Origin, in_clients_name: bool) -> Played {
    let peer = in_clients_name;
    let other = !in_clients_name;
    // Everything is acknowledged, then a pause.
    stage.turn(peer, 0);
    stage.say(peer, ACK, Vec::new());
    let pause = match origin {
        Origin::AbortAfterIdle => stage.random.pick(&[600, 900, 1800, 3600, 70, 1234]) * 1000 * MS,
        Origin::IdleExpiry => {
            stage.random.pick(&[180, 240, 300, 350, 900, 3600]) * 1000 * MS + stage.random.below(1200) as i64 * MS
        }
        Origin::StateMiss => stage.random.pick(&[243, 355, 905, 1830, 3700]) * 1000 * MS,
        _ => stage.random.below(400) as i64 * MS + 300 * MS,
    };
    stage.now += pause;
    if origin.is_forged() {
        return forge(stage, origin, peer);
    }
    if matches!(origin, Origin::AbortAfterRouteChange | Origin::NoSocketAfterRouteChange) {
        let host = stage.host(peer);
        host.hops = if host.hops > 1 { host.hops - 1 } else { host.hops + 1 };
    }
    let at;
    match origin {
        Origin::NoSocket | Origin::NoSocketAfterRouteChange => {
            stage.say(other, ACK | PSH, vec![0x17, 3, 3, 0, 40]);
            let asked = stage.packets.last().cloned().unwrap_or_default();
            stage.turn(peer, 0);
            let now = stage.now;
            let sent = match peer {
                true => stage.client.unknown(now, &asked, stage.random),
                false => stage.server.unknown(now, &asked, stage.random),
            };
            at = stage.packets.len();
            stage.packets.push(sent);
        }
        _ => {
            if origin == Origin::ClientLeaves {
                stage.say(false, ACK | PSH, vec![0x17, 3, 3, 0, 36]);
                stage.turn(true, MS / 5);
            }
            let now = stage.now;
            let sent = match peer {
                true => stage.client.abort(now, stage.random),
                false => stage.server.abort(now, stage.random),
            };
            at = stage.packets.len();
            stage.packets.push(sent);
        }
    }
    recorded(stage, at)
}

/// A RST by a device between the capture point and the peer, or (for a capture at a host) on the way to that host.
fn forge(stage: &mut Stage<'_>, origin: Origin, peer: bool) -> Played {
    let other = !peer;
    let unasked = matches!(origin, Origin::IdleExpiry);
    let (peer_hops, peer_initial) = {
        let host = stage.host(peer);
        (host.hops, host.initial_ttl())
    };
    // Anywhere between here and the peer, at least one router before it. A perfect mimic is betrayed by its time alone, so it stands in
    // the nearer half: beside the peer nothing at all would tell it from the peer.
    let room = if origin == Origin::PerfectMimic {
        peer_hops.div_ceil(2)
    } else {
        peer_hops
    };
    let hops = stage.random.below(u64::from(room.max(1))) as u8;
    let share = f64::from(hops) / f64::from(peer_hops.max(1));
    let trigger = if unasked {
        None
    } else {
        stage.say(other, ACK | PSH, vec![0x17, 3, 3, 0, 60, 1, 2, 3]);
        stage.packets.last().cloned()
    };
    let round_trip = stage.delay(peer);
    let asked_at = stage.now;
    let now = asked_at + (round_trip as f64 * share) as i64 + 100_000;
    let (seq, coming, own_window, own_ttl, expects) = {
        let host = stage.host(peer);
        (host.next, host.coming_id(), 0, host.ttl(), host.expects)
    };
    let random_id = stage.random.below(65_535) as u16 + 1;
    let base = Sent {
        at: now,
        from_client: peer,
        ttl: 64 - hops,
        id: 0,
        df: true,
        flags: RST | ACK,
        seq,
        ack: expects,
        ..Sent::default()
    };
    let after = trigger.as_ref().map_or(expects, Sent::end);
    let copies: Vec<Sent> = match origin {
        Origin::LinuxReject | Origin::StateMiss => vec![Sent {
            flags: RST,
            ack: 0,
            ..base
        }],
        Origin::PfReturn => vec![Sent {
            tos: 0x10,
            id: random_id,
            ack: after,
            ..base
        }],
        Origin::IpfwReset => vec![Sent {
            tos: 0x10,
            id: random_id,
            df: false,
            flags: RST,
            ack: 0,
            ..base
        }],
        Origin::Suricata => vec![Sent {
            df: false,
            id: random_id,
            ack: after,
            window: trigger.as_ref().map_or(0, |trigger| trigger.window),
            ..base
        }],
        Origin::Appliance | Origin::BothEnds | Origin::IdleExpiry => vec![Sent {
            ttl: stage.random.pick(&[255, 255, 128, 64]) - hops,
            id: random_id,
            ack: after,
            ..base
        }],
        Origin::CountingFan => (0..3)
            .map(|n| Sent {
                at: now + i64::from(n) * 150_000,
                ttl: 60 + (random_id % 90) as u8,
                id: random_id.wrapping_add(n as u16 * 13),
                seq: seq.wrapping_add([0, 1460, 4380][n as usize]),
                window: 1980 + n as u16,
                ack: after,
                ..base.clone()
            })
            .collect(),
        Origin::Tcpkill => (0..3)
            .map(|n: u32| Sent {
                at: now + i64::from(n) * 80_000,
                flags: RST,
                df: false,
                id: random_id.wrapping_mul(n as u16 + 3),
                seq: seq.wrapping_add(n * 8192),
                ack: 0,
                ..base.clone()
            })
            .collect(),
        Origin::SameTtlOtherCount => vec![Sent {
            ttl: own_ttl,
            id: coming.wrapping_add(5_000 + random_id % 40_000),
            ack: after,
            ..base
        }],
        Origin::PerfectMimic => vec![Sent {
            ttl: own_ttl,
            id: coming,
            ack: after,
            window: own_window,
            ..base
        }],
        Origin::MirroredTtl => vec![Sent {
            ttl: trigger.as_ref().map_or(64, |trigger| trigger.ttl).saturating_sub(1 + hops),
            id: random_id,
            ack: after,
            ..base
        }],
        Origin::StaleFan => [0u32, 300, 600]
            .into_iter()
            .map(|step| Sent {
                at: now + i64::from(step) * 1_000,
                ttl: peer_initial - hops,
                id: random_id.wrapping_add(step as u16),
                seq: seq.wrapping_add(step),
                flags: RST,
                ack: 0,
                ..base.clone()
            })
            .collect(),
        _ => Vec::new(),
    };
    let at = stage.packets.len();
    stage.packets.extend(copies);
    // Seen between the two, with the device on the link: it resets the other end as well.
    if origin == Origin::BothEnds && hops == 0 {
        let seen_leaving = stage.host(other).hops > 0;
        let twin = Sent {
            at: now + 60_000,
            from_client: other,
            ttl: stage.packets[at].ttl,
            id: random_id.wrapping_add(1),
            df: true,
            flags: RST | ACK,
            seq: stage.packets[at].ack,
            ack: stage.packets[at].seq,
            ..Sent::default()
        };
        if seen_leaving {
            stage.packets.push(twin);
        }
    }
    // A device beside the line lets the packet pass: the peer answers as if nothing had happened, and the host, which has closed,
    // answers that with a RST of its own. A device in the line swallows it.
    let beside_the_line = matches!(
        origin,
        Origin::CountingFan | Origin::Tcpkill | Origin::SameTtlOtherCount | Origin::StaleFan
    ) || (origin == Origin::Suricata && stage.random.chance(0.5));
    if beside_the_line && !unasked {
        stage.now = asked_at + round_trip;
        stage.say(peer, ACK | PSH, vec![0x17, 3, 3, 0, 200, 1, 2]);
        let asked = stage.packets.last().cloned().unwrap_or_default();
        stage.turn(other, 0);
        let now = stage.now;
        let answer = match other {
            true => stage.client.unknown(now, &asked, stage.random),
            false => stage.server.unknown(now, &asked, stage.random),
        };
        stage.packets.push(answer);
    }
    recorded(stage, at)
}

/// What a recorder makes of the packets: some lose a few, some hold each twice, at one place or on both sides of a router.
fn recorded(stage: &mut Stage<'_>, reset: usize) -> Played {
    let packets = std::mem::take(&mut stage.packets);
    let (loses, doubles, routed) = match stage.random.below(100) {
        0..8 => (0.03, false, false),
        8..16 => (0.0, true, false),
        16..20 => (0.0, true, true),
        _ => (0.0, false, false),
    };
    let mut kept = Vec::with_capacity(packets.len());
    let mut at = 0;
    for (number, packet) in packets.into_iter().enumerate() {
        if number == reset {
            at = kept.len();
        } else if loses > 0.0 && stage.random.chance(loses) {
            continue;
        }
        let copy = doubles.then(|| Sent {
            at: packet.at + 4_000 + stage.random.below(30_000) as i64,
            ttl: packet.ttl - u8::from(routed),
            ..packet.clone()
        });
        kept.push(packet);
        kept.extend(copy);
    }
    Played {
        packets: kept,
        reset: at,
    }
}
