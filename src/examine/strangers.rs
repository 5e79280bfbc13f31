//! Flows that have not shown yet what they are: their first packets wait in the lobby, and their first payload decides.

use std::net::{IpAddr, SocketAddr};

use crate::examine::Examiner;
use crate::examine::gateway::{self, Hello, Reason};
use crate::examine::tcp::{Glance, Live, opening};
use crate::flow::{FlowKey, Seen, Side, Slot, Stranger, Stub};
use crate::packet::{Packet, Segment, TcpFlags};
use crate::protocol::Parsed;
use crate::protocol::x224;
use crate::transcript::{Role, What};

/// The port of HTTPS.
const HTTPS: u16 = 443;
/// How many places where RDP was spoken on unusual ports are remembered.
pub(super) const SERVICES: usize = 4_096;

impl Examiner {
    /// A segment of a flow that has not shown yet what it is.
    pub(super) fn meet(&mut self, key: FlowKey, packet: &Packet<'_>, segment: &Segment<'_>, glance: &Glance<'_>) {
        if glance.payload.is_empty() && segment.payload_len > 0 && !segment.flags.has(TcpFlags::SYN) {
            // All of its first payload was cut away: what it is will not be seen.
            return self.meet_midstream(key, packet, segment, glance);
        }
        if glance.payload.is_empty() {
            self.learn_host(packet, glance);
            let seen = Seen::of_segment(packet.no, packet.at, Side::Client, &packet.link, &packet.ip, segment);
            self.learn_round_trip(&key, &seen, glance.from.ip());
            self.state.lobby.remember(
                key,
                Stub {
                    seen,
                    options: segment.options,
                    from: glance.from,
                },
            );
            return;
        }
        match sniff(glance.payload) {
            Sniffed::Rdp { server } => {
                let service = if server { glance.from } else { glance.to };
                // Before others that wait for this service are taken: what came before of this one is replayed in front of what comes now.
                let stranger = self.state.lobby.take(&key);
                self.learn_service(service);
                self.begin(key, stranger, packet, segment, glance, Some(service));
            }
            Sniffed::Nothing => self.meet_https(key, packet, segment, glance),
        }
    }

    /// Bytes that are no RDP: HTTPS that could be a gateway's is followed, all else is dismissed.
    fn meet_https(&mut self, key: FlowKey, packet: &Packet<'_>, segment: &Segment<'_>, glance: &Glance<'_>) {
        if self.is_plain_https(glance.to, glance.payload, packet.at) {
            return self.turn_away(&key, packet, glance);
        }
        let is_cut = (segment.payload.len() as u64) < u64::from(segment.payload_len);
        let mut undecided = false;
        let reason = match gateway::hello(glance.payload) {
            Hello::Whole(hello) => self.gateway_reason(glance.to, &hello),
            Hello::Part if is_cut => Some(self.unread_reason(glance.to, glance.payload)),
            // The rest of it decides.
            Hello::Part => {
                undecided = true;
                Some(Reason::Keys)
            }
            Hello::No => return self.meet_midstream(key, packet, segment, glance),
        };
        let suspect = reason == Some(Reason::Suspect);
        let Some(reason) = reason.filter(|_| !suspect || self.has_room_for_suspect(packet.at)) else {
            return self.turn_away(&key, packet, glance);
        };
        let stranger = self.state.lobby.take(&key);
        self.begin(key, stranger, packet, segment, glance, Some(glance.to));
        if let Some(slot) = self.state.flows.find(&key)
            && let Some(live) = self.state.flows.get_mut(slot)
        {
            live.role = Role::Gateway;
            live.undecided = undecided;
            live.gateway = Some(reason);
            let id = live.id;
            if suspect {
                self.suspect(slot, id, packet.at);
            }
        }
    }

    /// TLS from its middle, or without its content: of interest where its host has shown that it is a gateway.
    fn meet_midstream(&mut self, key: FlowKey, packet: &Packet<'_>, segment: &Segment<'_>, glance: &Glance<'_>) {
        let is_tls = matches!(glance.payload, [] | [0x14..=0x17, 3, ..]);
        let known = [glance.to, glance.from]
            .into_iter()
            .filter(|end| is_tls && end.port() == HTTPS)
            .find_map(|end| Some((end, self.known_gateway(end, None)?)));
        let Some((server, reason)) = known else {
            return self.turn_away(&key, packet, glance);
        };
        let stranger = self.state.lobby.take(&key);
        self.begin(key, stranger, packet, segment, glance, Some(server));
        if let Some(slot) = self.state.flows.find(&key)
            && let Some(live) = self.state.flows.get_mut(slot)
        {
            live.role = Role::Gateway;
            live.gateway = Some(reason);
        }
    }

    /// A ClientHello that came in parts is whole, or its rest was not captured: its flow is a gateway's, or nothing of ours.
    pub(super) fn decide_https(&mut self, slot: Slot) {
        let Some(live) = self.state.flows.get(slot) else { return };
        let found = live.recorder.moments().iter().find_map(|moment| match &moment.what {
            What::ClientHello(hello) => Some(Some(hello.clone())),
            What::Gap(_) => Some(None),
            _ => None,
        });
        let Some(hello) = found else { return };
        let (server, since) = (live.server, live.tcp.last().at);
        let reason = match hello {
            Some(hello) => self.gateway_reason(server, &hello),
            None => Some(self.unread_reason(server, &[])),
        };
        let suspect = reason == Some(Reason::Suspect);
        match reason.filter(|_| !suspect || self.has_room_for_suspect(since)) {
            Some(reason) => {
                if let Some(live) = self.state.flows.get_mut(slot) {
                    live.gateway = Some(reason);
                    live.undecided = false;
                    let id = live.id;
                    if suspect {
                        self.suspect(slot, id, since);
                    }
                }
            }
            None => {
                if let Some((key, _)) = self.let_go(slot) {
                    self.state.lobby.dismiss(&key);
                }
            }
        }
    }

    /// Dismisses a stranger whose content has shown that it is nothing of ours.
    fn turn_away(&mut self, key: &FlowKey, packet: &Packet<'_>, glance: &Glance<'_>) {
        self.learn_host(packet, glance);
        self.state.lobby.dismiss(key);
    }

    /// What a packet that is not followed tells about its sender; following one tells it, too.
    fn learn_host(&mut self, packet: &Packet<'_>, glance: &Glance<'_>) {
        if !glance.flags.has(TcpFlags::RST) {
            self.state.context.hosts.learn(glance.from.ip(), packet.ip.ttl, packet.no);
        }
    }

    /// What a stranger's handshake tells about its server: how long the way to it takes.
    fn learn_round_trip(&mut self, key: &FlowKey, seen: &Seen, host: IpAddr) {
        if !seen.is_reset()
            && seen.flags.has(TcpFlags::SYN)
            && seen.flags.has(TcpFlags::ACK)
            && let Some(asked) = self.state.lobby.last_syn(key)
        {
            self.state.context.hosts.learn_round_trip(host, asked, (seen.no, seen.at));
        }
    }

    /// RDP was spoken here: what was refused or dropped at this place before belongs to the story, too.
    fn learn_service(&mut self, service: SocketAddr) {
        if self.state.services.len() >= SERVICES || !self.state.services.insert(service) {
            return;
        }
        self.state.interest.add_service(service.port());
        for stranger in self.state.lobby.take_all_to(|end| end == service) {
            self.replay(&stranger, service);
        }
    }

    pub(super) fn replay(&mut self, stranger: &Stranger, service: SocketAddr) -> Option<Slot> {
        let mut slot = None;
        for stub in &stranger.stubs {
            let segment = segment_of(stub);
            if slot.is_none() {
                let (low, high) = stranger.key.ends();
                let client = if low == service { high } else { low };
                let side = if stub.from == client { Side::Client } else { Side::Server };
                let opening = opening(stub.seen.flags);
                slot = Some(self.open_connection(stranger.key, client, service, opening, Seen { side, ..stub.seen }));
            }
            let limits = self.options.limits;
            if let Some(live) = slot.and_then(|slot| self.state.flows.touch(slot)) {
                let side = if stub.from == live.client {
                    Side::Client
                } else {
                    Side::Server
                };
                let Live { tcp, recorder, .. } = &mut **live;
                tcp.push_seen(Seen { side, ..stub.seen }, &segment, &limits, recorder);
            }
        }
        if let Some(slot) = slot
            && let Some(live) = self.state.flows.get(slot)
            && live.tcp.closed.is_some()
        {
            self.note_end(slot, live.id);
        }
        slot
    }
}

fn segment_of(stub: &Stub) -> Segment<'static> {
    Segment {
        src_port: stub.from.port(),
        dst_port: 0,
        seq: stub.seen.seq,
        ack: stub.seen.ack,
        flags: stub.seen.flags,
        window: stub.seen.window,
        options: stub.options,
        payload: &[],
        payload_len: stub.seen.len,
        checksum_ok: None,
    }
}

/// What the first bytes of a flow show.
enum Sniffed {
    /// RDP; `server` if these are the server's words.
    Rdp { server: bool },
    /// Nothing of ours.
    Nothing,
}

/// Looks at the first bytes of a flow. Ten bytes decide.
fn sniff(payload: &[u8]) -> Sniffed {
    if payload.first() != Some(&3) {
        return Sniffed::Nothing;
    }
    match x224::parse(payload) {
        Parsed::Done(x224::Tpdu::ConnectionRequest(request), _)
            if request.cookie.is_some() || request.negotiation.is_some() || request.routing_token.is_some() =>
        {
            Sniffed::Rdp { server: false }
        }
        Parsed::Done(x224::Tpdu::ConnectionConfirm(confirm), _)
            if matches!(confirm.answer, x224::Answer::Response { .. } | x224::Answer::Failure { .. }) =>
        {
            Sniffed::Rdp { server: true }
        }
        _ => Sniffed::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::capture::shipped;
    use crate::examine::Options;
    use crate::packet::decode;

    /// Whether a host's packets wait, are dismissed or are followed: each counts once in its portrait.
    #[test]
    fn no_packet_sits_twice_for_the_portrait_of_its_host() {
        let mut counted = 0;
        for path in shipped::all() {
            let mut examiner = Examiner::new(Options::default());
            let mut sent: BTreeMap<IpAddr, u64> = BTreeMap::new();
            shipped::frames(&path, |frame| {
                if let Ok(packet) = decode(frame) {
                    *sent.entry(packet.ip.src).or_default() += 1;
                }
                examiner.push(frame);
            });
            for (host, sent) in sent {
                let portrait = examiner.state.context.hosts.get(host);
                let learned = portrait.map_or(0, |portrait| portrait.ttl.total());
                assert!(learned <= sent, "{}: {host} sent {sent}, {learned} counted", path.display());
                counted += learned;
            }
        }
        assert!(counted > 10_000, "{counted}");
    }
}
