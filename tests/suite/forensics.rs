//! Short synthetic connections, each with one thing that gives a RST away, and a small run of the calibration.

use std::net::Ipv4Addr;

use rdpwhy::capture::SourceSummary;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;
use rdpwhy::report::model::Connection;

#[path = "../../benches/calibrate/play.rs"]
mod play;
#[path = "../../benches/calibrate/random.rs"]
mod random;
#[path = "../../benches/calibrate/run.rs"]
mod run;
#[path = "../../benches/calibrate/stack.rs"]
mod stack;
#[path = "../../benches/calibrate/wire.rs"]
mod wire;

use play::Origin;
use wire::{ACK, FIN, PSH, RST, SYN, Sent};

const MS: i64 = 1_000_000;
/// Round trip of the synthetic path, captured at the client.
const RTT: i64 = 20 * MS;

/// X.224 Connection Request and Confirm for TLS (MS-RDPBCGR 2.2.1.1, 2.2.1.2).
const REQUEST: &[u8] = &[3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 1, 0, 0, 0];
const CONFIRM: &[u8] = &[3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, 2, 0, 8, 0, 1, 0, 0, 0];

/// A connection of a Linux client (TTL 64 here) with a Windows server (TTL 125 here), as its packets pass the client.
struct Scene {
    packets: Vec<Sent>,
    now: i64,
    seq: [u32; 2],
    id: [u16; 2],
    ttl: [u8; 2],
}

impl Scene {
    fn new() -> Scene {
        Scene {
            packets: Vec::new(),
            now: 1_700_000_000_000 * MS,
            seq: [1_000, 900_000],
            id: [0x100, 0x2b10],
            ttl: [64, 125],
        }
    }

    fn say(&mut self, server: bool, flags: u8, payload: &[u8]) -> Sent {
        let (own, other) = (usize::from(server), usize::from(!server));
        self.id[own] = self.id[own].wrapping_add(1);
        let options = match (flags & SYN != 0, server) {
            (true, false) => vec![2, 4, 5, 0xb4, 1, 1, 4, 2],
            (true, true) => vec![2, 4, 5, 0xb4, 1, 3, 3, 8],
            _ => Vec::new(),
        };
        let sent = Sent {
            at: self.now,
            from_client: !server,
            ttl: self.ttl[own],
            id: self.id[own],
            df: true,
            flags,
            seq: self.seq[own],
            ack: if flags & ACK != 0 { self.seq[other] } else { 0 },
            window: 8_000,
            options,
            payload: payload.to_vec(),
            ..Sent::default()
        };
        self.seq[own] = sent.end();
        self.packets.push(sent.clone());
        sent
    }

    /// Client asks, server answers one round trip later.
    fn exchange(&mut self, question: &[u8], answer: &[u8]) {
        self.now += 5 * MS;
        self.say(false, ACK | PSH, question);
        self.now += RTT;
        self.say(true, ACK | PSH, answer);
    }

    /// Handshake, negotiation, and so many exchanges of sealed TLS records: a session, as far as sizes and numbers tell.
    fn session(rounds: usize) -> Scene {
        let mut scene = Scene::new();
        scene.say(false, SYN, &[]);
        scene.now += RTT;
        scene.say(true, SYN | ACK, &[]);
        scene.now += MS / 20;
        scene.say(false, ACK, &[]);
        scene.exchange(REQUEST, CONFIRM);
        for round in 0..rounds {
            let mut record = vec![0x17, 3, 3, 0, 40 + (round % 50) as u8];
            record.resize(5 + 40 + round % 50, 0xA5);
            scene.exchange(&record.clone(), &record);
        }
        scene.now += 300 * MS;
        scene
    }

    fn push(&mut self, sent: Sent) {
        self.packets.push(sent);
    }

    /// A RST,ACK in the server's name, exact in every number, as its own stack would write it now.
    fn servers_reset(&self) -> Sent {
        Sent {
            at: self.now,
            from_client: false,
            ttl: self.ttl[1],
            id: self.id[1].wrapping_add(1),
            df: true,
            flags: RST | ACK,
            seq: self.seq[1],
            ack: self.seq[0],
            ..Sent::default()
        }
    }

    fn examine(&self) -> Report {
        let mut examiner = Examiner::new(Options::default());
        let client = (Ipv4Addr::new(10, 0, 0, 5), 50_001);
        let server = (Ipv4Addr::new(10, 0, 9, 9), 3389);
        wire::feed(&mut examiner, &self.packets, client, server);
        examiner.end_source(SourceSummary::default(), None);
        examiner.finish()
    }

    fn judge(&self) -> Connection {
        self.examine().connections.into_iter().next().expect("one connection")
    }
}

fn said(connection: &Connection) -> (&'static str, &'static str, &'static str) {
    (
        connection.verdict.cause.slug,
        connection.verdict.confidence.slug(),
        connection.ended_by.slug(),
    )
}

/// Whether the evidence names this frame with these words.
fn cites(connection: &Connection, frame: usize, words: &str) -> bool {
    connection
        .verdict
        .evidence
        .iter()
        .any(|evidence| evidence.frame.number() == frame as u64 && evidence.text.contains(words))
}

#[test]
fn the_vantage_is_told_from_ttl_and_time() {
    let connection = Scene::session(20).judge();
    assert_eq!(connection.vantage.slug(), "client", "{}", connection.vantage_why);
    let mut between = Scene::session(20);
    for packet in &mut between.packets {
        packet.ttl -= 2;
    }
    assert_eq!(between.judge().vantage.slug(), "between");
}

#[test]
fn a_reset_with_the_servers_own_habits_is_the_servers() {
    let mut scene = Scene::session(20);
    scene.push(scene.servers_reset());
    let connection = scene.judge();
    assert_eq!(connection.ended_by.slug(), "server");
    assert_ne!(connection.verdict.cause.slug, "middlebox_reset");
    assert_ne!(connection.verdict.confidence.slug(), "possible");
}

#[test]
fn a_ttl_of_another_class_is_a_devices() {
    let mut scene = Scene::session(20);
    scene.push(Sent {
        ttl: 63,
        id: 0,
        ..scene.servers_reset()
    });
    let connection = scene.judge();
    assert_eq!(connection.ended_by.slug(), "middlebox");
    assert_eq!(connection.verdict.cause.slug, "middlebox_reset");
    let reset = scene.packets.len();
    assert!(
        cites(&connection, reset, "TTL 63, the server's other"),
        "{:?}",
        connection.verdict.evidence
    );
    assert!(cites(&connection, reset, ": 125"));
}

#[test]
fn a_route_change_by_one_is_no_device() {
    let mut scene = Scene::session(20);
    scene.push(Sent {
        ttl: 124,
        ..scene.servers_reset()
    });
    let (cause, confidence, _) = said(&scene.judge());
    assert!(cause != "middlebox_reset" || confidence == "possible", "{cause} {confidence}");
}

#[test]
fn an_answer_sooner_than_the_round_trip_is_a_devices_whatever_else_fits() {
    let mut scene = Scene::session(20);
    let mut record = vec![0x17, 3, 3, 0, 30];
    record.resize(35, 1);
    scene.say(false, ACK | PSH, &record);
    scene.now += MS / 2;
    scene.push(scene.servers_reset());
    let connection = scene.judge();
    assert_eq!(said(&connection), ("middlebox_reset", "likely", "middlebox"));
    assert!(cites(&connection, scene.packets.len(), "round trips"));
}

#[test]
fn life_after_the_reset_shows_that_it_was_forged() {
    let mut scene = Scene::session(20);
    let mut record = vec![0x17, 3, 3, 0, 30];
    record.resize(35, 1);
    scene.say(false, ACK | PSH, &record);
    scene.now += MS;
    scene.push(Sent {
        id: 0x9999,
        ..scene.servers_reset()
    });
    scene.now += RTT;
    scene.say(true, ACK | PSH, &record);
    let connection = scene.judge();
    assert_eq!(connection.verdict.cause.slug, "middlebox_reset");
    assert!(cites(&connection, scene.packets.len(), "sends new data"));
}

#[test]
fn a_reset_that_both_ends_ignore_ends_nothing() {
    let mut scene = Scene::session(20);
    scene.push(Sent {
        ttl: 57,
        seq: scene.seq[1].wrapping_add(10_000_000),
        ..scene.servers_reset()
    });
    for _ in 0..4 {
        scene.exchange(&[0x17, 3, 3, 0, 1, 9], &[0x17, 3, 3, 0, 1, 9]);
    }
    let connection = scene.judge();
    assert_eq!(connection.ended_by.slug(), "open");
}

#[test]
fn a_sweeper_strikes_at_its_time() {
    let mut scene = Scene::session(20);
    scene.now += 240_700 * MS;
    scene.push(Sent {
        ttl: 62,
        id: 7,
        ..scene.servers_reset()
    });
    let connection = scene.judge();
    assert_eq!(connection.verdict.cause.slug, "idle_timeout_reset");
    assert!(connection.verdict.remedies.iter().any(|remedy| remedy.text.contains("240 s")));
    assert!(
        connection
            .verdict
            .remedies
            .iter()
            .any(|remedy| remedy.text.contains("KeepAliveInterval 2"))
    );
}

#[test]
fn data_after_a_long_silence_that_vanish_are_a_lost_mapping() {
    let mut scene = Scene::session(20);
    scene.now += 905_000 * MS;
    let first = scene.say(false, ACK | PSH, &[0x17, 3, 3, 0, 1, 9]);
    for wait in [300, 600, 1200, 2400, 4800] {
        scene.now += wait * MS;
        scene.push(Sent {
            at: scene.now,
            id: first.id + 1,
            ..first.clone()
        });
    }
    let connection = scene.judge();
    assert_eq!(said(&connection), ("nat_mapping_lost", "likely", "path"));
    assert_eq!(connection.mechanism.slug(), "silence");
}

#[test]
fn the_same_without_a_silence_is_path_loss() {
    let mut scene = Scene::session(20);
    let first = scene.say(false, ACK | PSH, &[0x17, 3, 3, 0, 1, 9]);
    for wait in [300, 600, 1200, 2400, 4800] {
        scene.now += wait * MS;
        scene.push(Sent {
            at: scene.now,
            id: first.id + 1,
            ..first.clone()
        });
    }
    assert_eq!(said(&scene.judge()), ("path_loss", "likely", "path"));
}

#[test]
fn an_unknown_connection_after_silence_names_both_explanations() {
    let mut scene = Scene::session(20);
    scene.now += 312_000 * MS;
    let asked = scene.say(false, ACK | PSH, &[0x17, 3, 3, 0, 1, 9]);
    scene.now += RTT + MS;
    scene.push(Sent {
        flags: RST,
        seq: asked.ack,
        ack: asked.ack,
        ..scene.servers_reset()
    });
    let connection = scene.judge();
    assert_eq!(connection.verdict.cause.slug, "nat_mapping_lost");
    let others: Vec<&str> = connection.verdict.alternatives.iter().map(|other| other.cause.slug).collect();
    assert!(others.contains(&"peer_reset"), "{others:?}");
}

#[test]
fn large_packets_that_vanish_while_small_ones_pass_are_a_black_hole() {
    let mut scene = Scene::session(20);
    scene.packets.iter_mut().for_each(|packet| {
        // The same conversation, captured at the server.
        packet.ttl = if packet.from_client { 61 } else { 128 };
    });
    scene.ttl = [61, 128];
    let big = scene.say(true, ACK | PSH, &[0xA5; 1460]);
    scene.say(true, ACK | PSH, &[0xA5; 200]);
    let (left, right) = (big.end(), scene.seq[1]);
    scene.now += RTT;
    let mut sack = vec![1, 1, 5, 10];
    sack.extend(left.to_be_bytes());
    sack.extend(right.to_be_bytes());
    scene.push(Sent {
        at: scene.now,
        from_client: true,
        ttl: 61,
        id: 0x777,
        df: true,
        flags: ACK,
        seq: scene.seq[0],
        ack: big.seq,
        window: 8_000,
        options: sack,
        ..Sent::default()
    });
    for wait in [300, 600, 1200, 2400] {
        scene.now += wait * MS;
        scene.push(Sent {
            at: scene.now,
            id: big.id.wrapping_add(9),
            ..big.clone()
        });
    }
    let connection = scene.judge();
    assert_eq!(connection.verdict.cause.slug, "pmtu_black_hole");
    assert!(
        connection.verdict.summary.contains("1500 bytes never arrive"),
        "{}",
        connection.verdict.summary
    );
}

#[test]
fn a_server_that_owes_an_answer_is_slow_and_the_path_is_not() {
    let mut scene = Scene::new();
    scene.say(false, SYN, &[]);
    scene.now += RTT;
    scene.say(true, SYN | ACK, &[]);
    scene.say(false, ACK, &[]);
    scene.say(false, ACK | PSH, REQUEST);
    scene.now += RTT;
    scene.say(true, ACK, &[]);
    scene.now += 15_000 * MS;
    scene.say(false, FIN | ACK, &[]);
    let connection = scene.judge();
    assert_eq!(said(&connection), ("handshake_timeout", "likely", "client"));
    assert!(connection.verdict.summary.contains("the server is slow, not the path"));
}

#[test]
fn the_calibration_holds() {
    let tally = run::run(600, false);
    let genuine = |origin: Origin| !origin.is_forged();
    let forged = tally.sum(Origin::is_forged, 0);
    let found = tally.sum(Origin::is_forged, 1);
    assert_eq!(
        tally.sum(genuine, 1),
        0,
        "genuine resets called a device's: {}",
        tally.tables()
    );
    assert!(f64::from(found) >= 0.92 * f64::from(forged), "{}", tally.tables());
    assert!(found > tally.sum(Origin::is_forged, 3) && found > tally.sum(Origin::is_forged, 4));
    assert!(tally.sum(genuine, 3) > 0, "the play has no traps");
}

#[test]
fn a_syn_proxy_and_a_clamped_segment_size_are_noticed() {
    let mut scene = Scene::session(10);
    let answer = scene
        .packets
        .iter_mut()
        .find(|packet| packet.flags == SYN | ACK)
        .expect("a SYN,ACK");
    answer.ttl = 63;
    answer.options[2..4].copy_from_slice(&1360_u16.to_be_bytes());
    let connection = scene.judge();
    let fact = |name: &str| {
        connection
            .metrics
            .facts
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.clone())
    };
    assert!(fact("syn_proxy").is_some_and(|words| words.contains("63") && words.contains("125")));
    assert!(fact("mss_of_server").is_some_and(|words| words.starts_with("1360")));
}
