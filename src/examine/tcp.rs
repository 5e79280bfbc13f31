//! The way of a TCP segment: past the lobby in a few steps if it is nothing of ours, else into its connection.

use std::net::{IpAddr, SocketAddr};

use crate::attempt::tickets::KERBEROS;
use crate::capture::{Frame, FrameNo, Span, Timestamp};
use crate::examine::Examiner;
use crate::examine::gateway::Reason;
use crate::examine::names::DNS;
use crate::examine::relief::Kept;
use crate::flow::key::{TCP, UDP};
use crate::flow::{Bookmark, Connection, FlowKey, Opening, Seen, Side, Slot, Stranger};
use crate::packet::fast::{self, Peek};
use crate::packet::{Body, IcmpMessage, Packet, Quoted, Segment, TcpFlags, checksum};
use crate::transcript::{Recorder, Role, Transcript, Window};

/// An ICMP error about a SYN comes within this time, and among so many of the latest.
const ERROR_COMES: Span = Span::secs(3);
const LAST_OPENED: usize = 64;

/// A connection that is being followed.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: u32,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) role: Role,
    role_why: Option<String>,
    /// Why it is followed as a gateway's connection, where it is.
    pub(super) gateway: Option<Reason>,
    /// Whether its ClientHello is not whole yet.
    pub(super) undecided: bool,
    /// In its own place: it is large, and goes from here into the transcript.
    pub(super) tcp: Box<Connection>,
    pub(super) recorder: Recorder,
    /// Whether it counts as one whose handshake is not complete.
    half_open: bool,
    /// Whether it is known to have reached the session; `false` where nobody asked.
    pub(super) in_session: bool,
    /// Its weight as it was counted last.
    pub(super) weighed: usize,
    /// How many steps of narrowing it has gone through for want of memory.
    pub(super) narrowed: usize,
    /// Whether its middle was forgotten for that.
    forgotten: bool,
}

impl Live {
    /// Whether nothing but suspicion is known of it.
    pub(super) fn is_suspected(&self) -> bool {
        self.gateway == Some(Reason::Suspect)
    }

    /// Whether this is the flow of that number and nothing but suspicion is known of it.
    pub(super) fn is_suspect(&self, id: u32) -> bool {
        self.id == id && self.is_suspected()
    }

    /// Its host has shown that it is a gateway.
    pub(super) fn found_gateway(&mut self, reason: Reason) {
        self.gateway = Some(reason);
    }

    /// What was seen and heard so far, to look at while it goes on.
    pub(super) fn snapshot(&self) -> Live {
        Live {
            role_why: self.role_why.clone(),
            gateway: self.gateway.clone(),
            tcp: self.tcp.clone(),
            recorder: self.recorder.snapshot(),
            ..*self
        }
    }

    /// Whether it has gone past the handshake, or ended in it.
    fn has_answered(&self) -> bool {
        self.tcp.handshake.ack.is_some() || self.tcp.closed.is_some() || self.recorder.moments().last().is_some()
    }

    /// Its key.
    pub(super) fn key(&self) -> FlowKey {
        FlowKey::new(self.client, self.server, TCP)
    }

    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Live>() - size_of::<Recorder>() + self.tcp.weight() + self.recorder.weight()
    }

    /// Weighs it again, as a part of what is `held`.
    pub(super) fn weigh(&mut self, held: &mut usize) {
        let weight = self.weight();
        *held = (*held + weight).saturating_sub(std::mem::replace(&mut self.weighed, weight));
    }

    /// Forgets the middle of a long connection. Tells whether it is the first time that there was anything to forget.
    pub(super) fn narrow(&mut self, kept: Kept) -> bool {
        let before = self.tcp.log.forgotten() + self.recorder.moments().forgotten();
        self.tcp.narrow(kept.log.0, kept.log.1);
        let (head, tail) = if self.role == Role::Gateway {
            kept.gateway
        } else {
            kept.moments
        };
        self.recorder.narrow(head, tail);
        let after = self.tcp.log.forgotten() + self.recorder.moments().forgotten();
        after > before && !std::mem::replace(&mut self.forgotten, true)
    }

    /// What was seen and heard, as if it ended now.
    pub(super) fn into_transcript(self, key: FlowKey, source: u32, window: Window) -> Transcript {
        let Live {
            id,
            client,
            server,
            role,
            role_why,
            mut tcp,
            mut recorder,
            half_open: _,
            in_session: _,
            weighed: _,
            narrowed: _,
            forgotten: _,
            gateway: _,
            undecided: _,
        } = self;
        tcp.finish(&mut recorder);
        Transcript {
            id,
            source,
            key,
            client,
            server,
            role,
            role_why,
            tcp,
            moments: recorder.into_moments(),
            window,
        }
    }
}

/// After its end a connection is watched for late packets for so long: retransmissions and answers to stray segments.
const AFTERGLOW: Span = Span::secs(30);
/// A SYN that nobody answers is given up after so long; Linux takes 127 s, Windows 21 s.
const HALF_OPEN: Span = Span::secs(150);
/// On so many packets of each side the checksum is verified, to see whether it is left to the card.
const CHECKSUMS: u64 = 8;

/// A connection is weighed again after so many packets, and when it ends.
const WEIGHED: u64 = 16;

/// The parts of a segment that decide whose it is.
pub(super) struct Glance<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) flags: TcpFlags,
    pub(super) payload: &'a [u8],
}

impl Examiner {
    pub(super) fn tcp_peeked(&mut self, frame: &Frame<'_>, peek: &Peek) {
        let start = peek.payload_at as usize;
        let glance = Glance {
            from: SocketAddr::new(peek.src, peek.src_port),
            to: SocketAddr::new(peek.dst, peek.dst_port),
            flags: peek.flags,
            payload: frame.bytes.get(start..start + peek.payload_seen as usize).unwrap_or_default(),
        };
        self.overhear((frame.no, frame.at), &glance);
        let key = FlowKey::new(glance.from, glance.to, TCP);
        if self.is_wanted(&key, &glance) {
            let packet = fast::complete(frame, peek);
            if let Body::Tcp(segment) = &packet.body {
                let transport = frame
                    .bytes
                    .get(peek.transport_at as usize..start + peek.payload_seen as usize);
                self.track(key, &packet, segment, &glance, transport);
            }
        }
    }

    pub(super) fn tcp_decoded(&mut self, packet: &Packet<'_>, segment: &Segment<'_>) {
        let glance = Glance {
            from: SocketAddr::new(packet.ip.src, segment.src_port),
            to: SocketAddr::new(packet.ip.dst, segment.dst_port),
            flags: segment.flags,
            payload: segment.payload,
        };
        self.overhear((packet.no, packet.at), &glance);
        let key = FlowKey::new(glance.from, glance.to, TCP);
        if self.is_wanted(&key, &glance) {
            self.track(key, packet, segment, &glance, None);
        }
    }

    /// Hears what goes on beside Remote Desktop: lookups and the answers of KDCs.
    fn overhear(&mut self, stamp: (FrameNo, Timestamp), glance: &Glance<'_>) {
        if glance.from.port() == DNS || glance.to.port() == DNS {
            self.dns_segment(stamp, glance.from, glance.to, glance.payload);
        }
        if glance.from.port() == KERBEROS {
            self.kerberos_segment(stamp, glance.from, glance.to, glance.payload);
        }
    }

    /// Whether a segment could be of interest at all. Most are not, and leave here.
    fn is_wanted(&mut self, key: &FlowKey, glance: &Glance<'_>) -> bool {
        if self.is_service(glance.to) || self.is_service(glance.from) {
            return true;
        }
        if glance.flags.has(TcpFlags::SYN) {
            if !glance.flags.has(TcpFlags::ACK) {
                self.state.lobby.readmit(key.fingerprint());
            }
            return true;
        }
        !self.state.lobby.is_dismissed(key.fingerprint())
    }

    fn track(&mut self, key: FlowKey, packet: &Packet<'_>, segment: &Segment<'_>, glance: &Glance<'_>, transport: Option<&[u8]>) {
        if let Some(slot) = self.state.flows.find(&key) {
            self.follow(slot, packet, segment, glance, transport);
        } else if self.state.past.holds(&key, segment, packet.at) {
            // It was judged; what still comes changes nothing.
        } else if self.is_service(glance.to) || self.is_service(glance.from) {
            let stranger = self.state.lobby.take(&key);
            self.begin(key, stranger, packet, segment, glance, None);
        } else {
            self.meet(key, packet, segment, glance);
        }
        if self.is_full() {
            self.relieve(packet.at);
        }
    }

    pub(super) fn is_service(&self, end: SocketAddr) -> bool {
        // The set of ports holds those of the services, too, and says no to nearly everything.
        self.state.interest.has_service(end.port())
            && (super::RDP_PORTS.contains(&end.port())
                || self.options.ports.contains(&end.port())
                || self.state.services.contains(&end))
    }

    pub(super) fn begin(
        &mut self,
        key: FlowKey,
        stranger: Option<Stranger>,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
        glance: &Glance<'_>,
        service: Option<SocketAddr>,
    ) {
        let (client, server) = match stranger.as_ref().and_then(Stranger::server).or(service) {
            Some(server) if server == glance.to => (glance.from, glance.to),
            Some(_) => (glance.to, glance.from),
            None => self.tell_sides(glance),
        };
        let slot = stranger
            .and_then(|stranger| self.replay(&stranger, server))
            .unwrap_or_else(|| {
                let side = if glance.from == client { Side::Client } else { Side::Server };
                let first = Seen::of_segment(packet.no, packet.at, side, &packet.link, &packet.ip, segment);
                self.open_connection(key, client, server, opening(segment.flags), first)
            });
        self.follow(slot, packet, segment, glance, None);
    }

    /// Who is the client, where no SYN and no content has told.
    fn tell_sides(&self, glance: &Glance<'_>) -> (SocketAddr, SocketAddr) {
        let (from, to) = (glance.from, glance.to);
        let syn = glance.flags.has(TcpFlags::SYN);
        let answer = glance.flags.has(TcpFlags::ACK);
        let from_is_client = match (syn, answer) {
            (true, false) => true,
            (true, true) => false,
            _ => match (self.is_service(to), self.is_service(from)) {
                (true, false) => true,
                (false, true) => false,
                _ => from.port() >= to.port(),
            },
        };
        if from_is_client { (from, to) } else { (to, from) }
    }

    pub(super) fn open_connection(
        &mut self,
        key: FlowKey,
        client: SocketAddr,
        server: SocketAddr,
        opening: Opening,
        first: Seen,
    ) -> Slot {
        if self.state.flows.len() >= self.options.limits.connections
            && let Some(oldest) = self.state.flows.oldest()
        {
            self.evict(oldest);
        }
        self.state.next_id += 1;
        let mut live = Box::new(Live {
            id: self.state.next_id,
            client,
            server,
            role: Role::Rdp,
            role_why: None,
            gateway: None,
            undecided: false,
            tcp: Box::new(Connection::new(opening, first, &self.options.limits)),
            half_open: opening == Opening::Handshake,
            in_session: false,
            weighed: 0,
            narrowed: 0,
            forgotten: false,
            recorder: Recorder::new(&self.options.limits, opening == Opening::MidStream, self.keys.clone()),
        });
        let id = live.id;
        live.weighed = live.weight();
        self.state.held += live.weighed;
        if let Some(same) = self.state.flows.find(&key) {
            self.let_go(same);
        }
        let (slot, _) = self.state.flows.insert(key, live);
        self.state.busy.add_flow(client.ip(), slot);
        if opening == Opening::Handshake {
            self.state.half_open.push_back((slot, id, false));
            self.state.still_half_open += 1;
            self.bound_half_open();
        }
        slot
    }

    /// Lets the oldest connection go whose handshake did not complete, where there are too many of them. One whose SYN was repeated
    /// is spared once: floods and scans do not repeat themselves, people's machines do.
    fn bound_half_open(&mut self) {
        let most = self.options.limits.half_open;
        let flows = &self.state.flows;
        let is_waiting = |slot: Slot, id: u32| flows.get(slot).is_some_and(|live| live.id == id && live.half_open);
        if self.state.half_open.len() > 2 * most.max(LAST_OPENED) {
            self.state.half_open.retain(|(slot, id, _)| is_waiting(*slot, *id));
        }
        while self.state.still_half_open > most {
            let Some((slot, id, spared)) = self.state.half_open.pop_front() else {
                return;
            };
            let Some(live) = self.state.flows.get(slot).filter(|live| live.id == id && live.half_open) else {
                continue;
            };
            if live.tcp.handshake.syns > 1 && !spared {
                self.state.half_open.push_back((slot, id, true));
                continue;
            }
            self.let_go(slot);
            self.state.unanswered += 1;
        }
    }

    fn follow(&mut self, slot: Slot, packet: &Packet<'_>, segment: &Segment<'_>, glance: &Glance<'_>, transport: Option<&[u8]>) {
        let limits = &self.options.limits;
        let Some(live) = self.state.flows.touch(slot) else { return };
        let side = if glance.from == live.client {
            Side::Client
        } else {
            Side::Server
        };
        if live.tcp.is_reborn_by(side, segment) {
            let key = FlowKey::new(glance.from, glance.to, TCP);
            let https = live.gateway.is_some();
            self.seal(slot);
            if https {
                return self.meet(key, packet, segment, glance);
            }
            self.begin(key, None, packet, segment, glance, Some(glance.to));
            return;
        }
        let habits = &live.tcp.habits[side];
        let checked = transport
            .filter(|_| habits.good_checksums + habits.bad_checksums < CHECKSUMS && packet.cut.is_none())
            .and_then(|bytes| match checksum::tcp_left_to_card(&packet.ip, bytes) {
                Some(true) => Some(false),
                // A checksum that is plainly wrong says nothing about the card.
                _ => checksum::tcp_ok(&packet.ip, bytes).filter(|ok| *ok),
            });
        let Live { tcp, recorder, .. } = &mut **live;
        let was_open = tcp.closed.is_none();
        let seen = if checked.is_some() {
            let segment = Segment {
                checksum_ok: checked,
                ..segment.clone()
            };
            tcp.push(packet, &segment, side, limits, recorder)
        } else {
            tcp.push(packet, segment, side, limits, recorder)
        };
        let undecided = live.undecided;
        let ended = (was_open && live.tcp.closed.is_some()).then_some(live.id);
        if live.half_open && live.has_answered() {
            live.half_open = false;
            self.state.still_half_open -= 1;
        }
        if ended.is_some() || live.tcp.copies.packets.is_multiple_of(WEIGHED) {
            live.weigh(&mut self.state.held);
        }
        let suspected = live.is_suspected().then(|| {
            let packets = live.tcp.half[Side::Client].packets + live.tcp.half[Side::Server].packets;
            (packets, packet.at.since(live.tcp.first().at))
        });
        if let Some(seen) = seen
            && !seen.is_reset()
        {
            let asked = live
                .tcp
                .handshake
                .syn
                .filter(|_| seen.flags.has(TcpFlags::SYN) && side == Side::Server && live.tcp.handshake.syns == 1);
            self.state.context.hosts.learn(glance.from.ip(), seen.ttl, seen.no);
            if let Some(asked) = asked {
                self.state
                    .context
                    .hosts
                    .learn_round_trip(glance.from.ip(), asked, (seen.no, seen.at));
            }
        }
        if let Some(id) = ended {
            self.note_end(slot, id);
        }
        if undecided {
            self.decide_https(slot);
        } else if let Some((packets, age)) = suspected {
            self.clear_if_over(slot, packets, age);
        }
    }

    pub(super) fn icmp(&mut self, packet: &Packet<'_>, message: &IcmpMessage) {
        let Some(quoted) = &message.quoted else {
            // Echoes show how far a host is. Neighbour discovery does not: its hop limit is always 255 (RFC 4861).
            if matches!((message.v6, message.kind), (false, 0 | 8) | (true, 128 | 129)) {
                self.state.context.hosts.learn(packet.ip.src, packet.ip.ttl, packet.no);
            } else if packet.cut.is_some() && matches!((message.v6, message.kind), (false, 3) | (true, 1)) {
                match self.opened_by(packet.ip.dst, packet.at) {
                    Some(live) => live.tcp.push_icmp(packet, message, Side::Client),
                    None => self.udp_icmp_cut(packet, message),
                }
            }
            return;
        };
        if quoted.protocol == UDP {
            self.udp_icmp(packet, message);
            return;
        }
        let key = FlowKey::new(quoted.src, quoted.dst, quoted.protocol);
        let slot = self.state.flows.find(&key).or_else(|| self.opened_between(quoted));
        if let Some(slot) = slot
            && let Some(live) = self.state.flows.get_mut(slot)
        {
            let by_client = quoted.src == live.client || (quoted.src.port() == 0 && quoted.src.ip() == live.client.ip());
            let about = if by_client { Side::Client } else { Side::Server };
            live.tcp.push_icmp(packet, message, about);
        }
    }

    /// The connection that a host is just opening, for an ICMP error to this host of whose quote nothing was captured.
    fn opened_by(&mut self, client: IpAddr, at: Timestamp) -> Option<&mut Live> {
        let mut waiting = self.state.half_open.iter().rev().take(LAST_OPENED);
        let slot = waiting.find_map(|(slot, id, _)| {
            let live = self.state.flows.get(*slot).filter(|live| live.id == *id)?;
            let asked = live.client.ip() == client && live.tcp.handshake.syn_ack.is_none();
            (asked && at.since(live.tcp.last().at) <= ERROR_COMES).then_some(*slot)
        })?;
        self.state.flows.get_mut(slot).map(|live| &mut **live)
    }

    /// The connection of these hosts that waits for an answer to its SYN, for a quote whose ports a short snap length has cut off. The
    /// identification tells which packet is quoted, where there is one.
    fn opened_between(&self, quoted: &Quoted) -> Option<Slot> {
        if quoted.protocol != TCP || quoted.src.port() != 0 || quoted.dst.port() != 0 {
            return None;
        }
        let fits = |slot: Slot, id: u32| {
            self.state.flows.get(slot).is_some_and(|live| {
                let syn = live.tcp.last();
                live.id == id
                    && (live.client.ip(), live.server.ip()) == (quoted.src.ip(), quoted.dst.ip())
                    && live.tcp.handshake.syn_ack.is_none()
                    && quoted.id.is_none_or(|id| syn.ip_id == Some(id))
            })
        };
        let mut waiting = self.state.half_open.iter().rev().take(LAST_OPENED);
        waiting.find(|(slot, id, _)| fits(*slot, *id)).map(|(slot, _, _)| *slot)
    }

    /// Takes connections out that are over, and attempts to which nothing can be added.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        // Nothing but a packet ends a connection or answers its SYN, and a packet puts it at the end of the table: each is looked at once
        // for each time, however many idle there.
        let mut over = Vec::new();
        for (bookmark, time) in [(Bookmark::First, AFTERGLOW), (Bookmark::Second, HALF_OPEN)] {
            let flows = &mut self.state.flows;
            while let Some((slot, live)) = flows.ahead(bookmark).and_then(|slot| Some((slot, flows.get(slot)?)))
                && now.since(live.tcp.last().at) >= time
            {
                let is_over = match bookmark {
                    Bookmark::First => live.tcp.closed.is_some(),
                    Bookmark::Second => {
                        live.tcp.handshake.syn_ack.is_none() && live.tcp.opening == Opening::Handshake && !live.tcp.is_set_up()
                    }
                };
                if is_over {
                    over.push((live.tcp.last().no, slot));
                }
                flows.pass(bookmark);
            }
        }
        over.sort_unstable();
        over.dedup();
        over.into_iter().for_each(|(_, slot)| self.seal(slot));
        let flows = &self.state.flows;
        let is_judged = |(slot, id): &(Slot, u32)| flows.get(*slot).is_none_or(|live| live.id != *id);
        while self.state.ended.front().is_some_and(is_judged) {
            self.state.ended.pop_front();
        }
        self.sweep_udp(now);
        self.ripen(now);
        self.state.past.forget(now, AFTERGLOW);
    }

    /// Judges a connection although it goes on, because too many are open or they take too much memory.
    pub(super) fn evict(&mut self, slot: Slot) {
        self.state.evicted += 1;
        if let (Some(door), Some(live)) = (&mut self.door, self.state.flows.get(slot)) {
            door.note_early(live);
        }
        self.seal_within(slot, true);
    }

    /// Takes a connection out.
    pub(super) fn let_go(&mut self, slot: Slot) -> Option<(FlowKey, Box<Live>)> {
        let (key, live) = self.state.flows.remove(slot)?;
        self.state.held = self.state.held.saturating_sub(live.weighed);
        self.state.still_half_open -= usize::from(live.half_open);
        self.state.busy.remove_flow(live.client.ip(), slot);
        Some((key, live))
    }

    pub(super) fn seal(&mut self, slot: Slot) {
        self.seal_within(slot, false);
    }

    /// Takes a connection out, at its end or `early`.
    fn seal_within(&mut self, slot: Slot, early: bool) {
        let Some((key, live)) = self.let_go(slot) else {
            return;
        };
        if self.door.is_some() {
            self.state.past.pass(&key, live.tcp.last().at);
        }
        let window = Window {
            early,
            ..self.state.window.unwrap_or_default()
        };
        let reason = live.gateway.clone();
        let mut transcript = live.into_transcript(key, self.state.source, window);
        if let Some(reason) = reason {
            if !self.is_gateway(&transcript, &reason) {
                return;
            }
            transcript.role_why = Some(reason.words());
        }
        self.gather(transcript);
    }

    pub(super) fn seal_everything(&mut self) {
        self.seal_all_udp();
        let mut slots: Vec<(u32, Slot)> = self
            .state
            .flows
            .slots()
            .into_iter()
            .filter_map(|slot| Some((self.state.flows.get(slot)?.id, slot)))
            .collect();
        slots.sort_unstable_by_key(|(id, _)| *id);
        for (_, slot) in slots {
            self.seal(slot);
        }
    }
}

pub(super) fn opening(flags: TcpFlags) -> Opening {
    match (flags.has(TcpFlags::SYN), flags.has(TcpFlags::ACK)) {
        (true, false) => Opening::Handshake,
        (true, true) => Opening::SynAck,
        _ => Opening::MidStream,
    }
}
