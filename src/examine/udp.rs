//! The way of a UDP datagram: past a look at its ports and first bytes if it is nothing of ours, else into its conversation.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::attempt::lookups::Refusal;
use crate::capture::{Frame, Span, Timestamp};
use crate::examine::Examiner;
use crate::examine::names::DNS;
use crate::examine::strays;
use crate::flow::key::UDP;
use crate::flow::{Conversation, FlowKey, IcmpSeen, Limits, Seen, Side, Slot};
use crate::packet::fast::{self, Peek};
use crate::packet::{Body, Datagram, IcmpMessage, Packet};
use crate::protocol::gateway;
use crate::protocol::rdpeudp::{self, HEADER_LEN, MTU};
use crate::protocol::{Parsed, dtls, stun};
use crate::transcript::udp::Channel;
use crate::transcript::{Keys, Role, UdpRecorder, UdpTranscript, Window};

/// A conversation that is being followed.
#[derive(Debug)]
pub(super) struct LiveUdp {
    id: u32,
    client: SocketAddr,
    server: SocketAddr,
    udp: Conversation,
    recorder: UdpRecorder,
    looks_like: Option<&'static str>,
    /// Its weight as it was counted last.
    weighed: usize,
}

/// The port of RDP-UDP on a host.
const RDP_UDP: u16 = 3389;
/// The port on which hosts of Azure Virtual Desktop take RDP Shortpath for managed networks.
const SHORTPATH: u16 = 3390;
/// The port of an RD Gateway's UDP side.
const GATEWAY_UDP: u16 = 3391;
/// The ports on which datagrams are looked at whatever they begin with.
pub(super) const PORTS: [u16; 3] = [RDP_UDP, SHORTPATH, GATEWAY_UDP];
/// A conversation that was silent for so long is over: NAT mappings and the peers themselves live no longer.
const OVER: Span = Span::secs(900);
/// The same where somebody waits for the verdict and no TCP connection runs between the two hosts.
const WATCHED: Span = Span::secs(30);
/// An ICMP error comes within this time after the datagram that it is about.
const ERROR_COMES: Span = Span::secs(1);
/// The same for one that was answered, and of whose TCP connection nothing was ever seen: it may idle, and go on.
const ALONE: Span = Span::secs(150);
/// What a SYN that the snap length cut is filled up to: its fields end before.
const SYN_FIELDS: usize = 128;

impl LiveUdp {
    fn of(
        id: u32,
        (client, server): (SocketAddr, SocketAddr),
        first: Seen,
        payload: &[u8],
        limits: &Limits,
        keys: Keys,
    ) -> LiveUdp {
        LiveUdp {
            id,
            client,
            server,
            udp: Conversation::new(first, limits),
            recorder: UdpRecorder::new(limits, keys),
            looks_like: strays::looks_like(payload),
            weighed: 0,
        }
    }

    /// The memory that it takes, in bytes.
    fn weight(&self) -> usize {
        size_of::<LiveUdp>() + self.udp.log.weight() + self.recorder.weight()
    }

    /// Its client, its server, and when it began.
    pub(super) fn place(&self) -> (IpAddr, (IpAddr, Timestamp)) {
        (self.client.ip(), (self.server.ip(), self.udp.first().at))
    }

    fn side_of_host(&self, host: IpAddr) -> Option<Side> {
        match host {
            host if host == self.client.ip() => Some(Side::Client),
            host if host == self.server.ip() => Some(Side::Server),
            _ => None,
        }
    }

    fn side_of(&self, from: SocketAddr) -> Side {
        if from == self.client { Side::Client } else { Side::Server }
    }
}

impl Examiner {
    /// Takes a datagram that was found at fixed offsets.
    #[inline]
    pub(super) fn udp_peeked(&mut self, frame: &Frame<'_>, peek: &Peek) {
        let start = peek.payload_at as usize;
        let payload = frame.bytes.get(start..start + peek.payload_seen as usize).unwrap_or_default();
        if self.is_wanted_udp(peek.src_port, peek.dst_port, payload) {
            let packet = fast::complete(frame, peek);
            if let Body::Udp(datagram) = &packet.body {
                self.udp_decoded(&packet, datagram);
            }
        }
    }

    /// Whether a datagram could be of interest at all. Most are not, and leave here.
    #[inline]
    fn is_wanted_udp(&self, src: u16, dst: u16, payload: &[u8]) -> bool {
        let interest = &self.state.interest;
        interest.has_udp_service(dst) || interest.has_udp_service(src) || could_begin(payload)
    }

    /// Takes a datagram whose headers are read.
    pub(super) fn udp_decoded(&mut self, packet: &Packet<'_>, datagram: &Datagram<'_>) {
        let from = SocketAddr::new(packet.ip.src, datagram.src_port);
        let to = SocketAddr::new(packet.ip.dst, datagram.dst_port);
        if !self.is_wanted_udp(from.port(), to.port(), datagram.payload) {
            return;
        }
        let key = FlowKey::new(from, to, UDP);
        let mut slot = self.state.conversations.find(&key);
        let at_relay = strays::is_stun_port(from.port()) || strays::is_stun_port(to.port());
        // What a relay carries is read like the datagram that it is; what is said to the relay, or to find a way, is no part of it.
        let relayed = at_relay.then(|| stun::channel_data(datagram.payload)).flatten();
        if relayed.is_none() && (at_relay || slot.is_some()) && stun::begins(datagram.payload) {
            self.state.strays.datagram((packet.no, packet.at), from, to, datagram.payload);
            return;
        }
        let inner = relayed.map(|content| Datagram {
            payload: content,
            payload_len: u32::try_from(content.len()).unwrap_or(u32::MAX),
            ..datagram.clone()
        });
        let datagram = inner.as_ref().unwrap_or(datagram);
        let payload = filled(datagram);
        if let Some(known) = slot
            && let Some(live) = self.state.conversations.get(known)
            && live.recorder.starts_over(live.side_of(from), &payload)
        {
            self.seal_udp(known);
            slot = None;
        }
        let Some(slot) = slot.or_else(|| self.begin_udp(key, packet, datagram, (from, to), &payload)) else {
            return;
        };
        let Some(live) = self.state.conversations.touch(slot) else {
            return;
        };
        let side = live.side_of(from);
        if let Some(seen) = live.udp.push(packet, datagram, side) {
            live.recorder.datagram(side, &payload, &seen);
            self.state.context.hosts.learn(from.ip(), seen.ttl, seen.no);
        }
        if let Some(live) = self.state.conversations.get_mut(slot) {
            let weight = live.weight();
            self.state.held = (self.state.held + weight).saturating_sub(std::mem::replace(&mut live.weighed, weight));
        }
        if self.is_full() {
            self.relieve(packet.at);
        }
    }

    fn begin_udp(
        &mut self,
        key: FlowKey,
        packet: &Packet<'_>,
        datagram: &Datagram<'_>,
        (from, to): (SocketAddr, SocketAddr),
        payload: &[u8],
    ) -> Option<Slot> {
        let from_is_client = match self.client_by_content(from, to, payload) {
            Some(from_is_client) => from_is_client,
            None => {
                if strays::is_stun_port(from.port()) || strays::is_stun_port(to.port()) {
                    return None;
                }
                match (self.is_udp_service(to), self.is_udp_service(from)) {
                    (true, false) => true,
                    (false, true) => false,
                    (true, true) => from.port() >= to.port(),
                    // Content alone made it worth a look, and it is not what it looked like.
                    (false, false) => return None,
                }
            }
        };
        let (client, server) = if from_is_client { (from, to) } else { (to, from) };
        self.state.interest.add_udp_service(server.port());
        let marked = gateway::udp::correlation_id(payload).is_some();
        if (server.port() == GATEWAY_UDP || marked) && matches!(dtls::record(payload), Parsed::Done(..)) {
            self.show_gateway(server.ip());
        }
        if self.state.conversations.len() >= self.options.limits.connections
            && let Some(oldest) = self.state.conversations.oldest()
        {
            self.state.evicted += 1;
            self.seal_udp_within(oldest, true);
        }
        self.state.next_id += 1;
        let side = if from_is_client { Side::Client } else { Side::Server };
        let first = Seen::of_datagram(packet.no, packet.at, side, &packet.link, &packet.ip, datagram.payload_len);
        let live = LiveUdp::of(
            self.state.next_id,
            (client, server),
            first,
            payload,
            &self.options.limits,
            self.keys.clone(),
        );
        let (slot, _) = self.state.conversations.insert(key, Box::new(live));
        self.state.busy.add_conversation(client.ip(), slot);
        Some(slot)
    }

    /// Whether the sender is the client of something of ours, where the datagram alone proves it.
    fn client_by_content(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<bool> {
        if let Parsed::Done(datagram, _) = rdpeudp::recognise(payload) {
            return Some(datagram.role() == rdpeudp::Role::Syn);
        }
        let marked = gateway::udp::correlation_id(payload).is_some();
        if looks_like_client_hello(payload) && (marked || self.is_udp_service(to) || self.is_known_gateway(to)) {
            return Some(true);
        }
        let begins = matches!(dtls::record(payload), Parsed::Done(..));
        if begins
            && (self.is_udp_service(from) || self.is_udp_service(to))
            && self.is_udp_service(from) != self.is_udp_service(to)
        {
            return Some(self.is_udp_service(to));
        }
        None
    }

    fn is_udp_service(&self, end: SocketAddr) -> bool {
        PORTS.contains(&end.port()) || self.options.ports.contains(&end.port())
    }

    /// Whether the user named this address as a gateway's.
    fn is_known_gateway(&self, end: SocketAddr) -> bool {
        let name = self.state.context.names.get(&end.ip());
        self.options.gateways.iter().any(|gateway| {
            let gateway = gateway.trim_end_matches('.');
            gateway.parse() == Ok(end.ip()) || name.is_some_and(|name| name.eq_ignore_ascii_case(gateway))
        })
    }

    /// Takes an ICMP error that quotes a datagram.
    pub(super) fn udp_icmp(&mut self, packet: &Packet<'_>, message: &IcmpMessage) {
        let Some(quoted) = &message.quoted else { return };
        if quoted.dst.port() == DNS && matches!((message.v6, message.kind), (false, 3 | 11) | (true, 1 | 3)) {
            let refusal = Refusal {
                no: packet.no,
                at: packet.at,
                from: packet.ip.src,
                resolver: quoted.dst.ip(),
                says: (message.v6, message.kind, message.code),
            };
            self.state.lookups.refuse(quoted.src.ip(), refusal);
        }
        let key = FlowKey::new(quoted.src, quoted.dst, UDP);
        if let Some(slot) = self.state.conversations.find(&key)
            && let Some(live) = self.state.conversations.get_mut(slot)
        {
            let about = live.side_of(quoted.src);
            live.udp.push_icmp(packet, message, about);
        }
    }

    /// Takes an ICMP error whose quotation is cut: it may be about the conversation that its receiver has just used.
    pub(super) fn udp_icmp_cut(&mut self, packet: &Packet<'_>, message: &IcmpMessage) {
        let Some(slot) = self.state.conversations.newest() else {
            return;
        };
        let Some(live) = self.state.conversations.get_mut(slot) else {
            return;
        };
        let about = live.side_of_host(packet.ip.dst);
        let recent = packet.at.since(live.udp.last().at) <= ERROR_COMES && about == Some(live.udp.last().side);
        if let Some(about) = about.filter(|_| recent && live.udp.icmp_cut.is_none()) {
            live.udp.icmp_cut = Some(IcmpSeen {
                no: packet.no,
                at: packet.at,
                from: packet.ip.src,
                ttl: packet.ip.ttl,
                message: message.clone(),
                about,
            });
        }
    }

    /// Takes conversations out that were silent for long.
    pub(super) fn sweep_udp(&mut self, now: Timestamp) {
        // Who waits for verdicts need not wait for a conversation whose session is gone.
        let watching = self.door.is_some();
        let flows = &self.state.flows;
        let sessions: HashSet<(IpAddr, IpAddr)> = if watching && !self.state.conversations.is_empty() {
            let live = flows.slots().into_iter().filter_map(|slot| flows.get(slot));
            live.map(|live| (live.client.ip(), live.server.ip())).collect()
        } else {
            HashSet::new()
        };
        // Those whose TCP connections were judged; found out where it is asked for.
        let gone = OnceCell::new();
        let mut at = self.state.conversations.oldest();
        while let Some(slot) = at {
            at = self.state.conversations.newer(slot);
            let Some(live) = self.state.conversations.get(slot) else {
                break;
            };
            let quiet = now.since(live.udp.last().at);
            if quiet < OVER && (!watching || quiet < WATCHED) {
                break;
            }
            let pair = (live.client.ip(), live.server.ip());
            let answered = Side::BOTH.iter().all(|side| live.udp.half[*side].packets > 0);
            let may_idle = || {
                answered && quiet < ALONE && self.door.is_some() && !gone.get_or_init(|| self.state.past.pairs()).contains(&pair)
            };
            if quiet >= OVER || !(sessions.contains(&pair) || may_idle()) {
                self.seal_udp(slot);
            }
        }
    }

    fn seal_udp(&mut self, slot: Slot) {
        self.seal_udp_within(slot, false);
    }

    /// Takes a conversation out, at its end or `early`.
    fn seal_udp_within(&mut self, slot: Slot, early: bool) {
        let Some((key, live)) = self.state.conversations.remove(slot) else {
            return;
        };
        let LiveUdp {
            id,
            client,
            server,
            udp,
            recorder,
            looks_like,
            weighed,
        } = *live;
        self.state.held = self.state.held.saturating_sub(weighed);
        self.state.busy.remove_conversation(client.ip(), slot);
        let heard = recorder.finish();
        if heard.channel == Channel::Unknown {
            self.state.strays.conversation(&udp, client, server, looks_like);
            return;
        }
        let at_gateway = server.port() == GATEWAY_UDP || heard.gateway_mark.is_some() || self.is_known_gateway(server);
        let role = if heard.channel == Channel::Dtls && at_gateway {
            Role::GatewayUdp
        } else {
            Role::RdpUdp
        };
        self.state.gatherer.push_udp(UdpTranscript {
            id,
            source: self.state.source,
            key,
            client,
            server,
            role,
            udp,
            heard,
            window: Window {
                early,
                ..self.state.window.unwrap_or_default()
            },
        });
    }

    /// Judges conversations whose last datagram came before `silent`, the longest silent first, until `over` bytes are free.
    pub(super) fn hurry_udp(&mut self, silent: Timestamp, mut over: usize) {
        while over > 0
            && let Some(slot) = self.state.conversations.oldest()
            && let Some(live) = self.state.conversations.get(slot)
            && live.udp.last().at <= silent
        {
            over = over.saturating_sub(live.weighed);
            self.state.relief.hurry_one();
            self.seal_udp(slot);
        }
    }

    /// Judges the longest silent conversation if it was silent before `silent`, or anyway where that is not given; tells whether it did.
    pub(super) fn evict_udp(&mut self, silent: Option<Timestamp>) -> bool {
        let conversations = &self.state.conversations;
        let oldest = conversations.oldest().filter(|slot| {
            let last = conversations.get(*slot).map(|live| live.udp.last().at);
            last.is_some() && (silent.is_none() || last < silent)
        });
        let Some(oldest) = oldest else { return false };
        self.state.evicted += 1;
        self.seal_udp_within(oldest, true);
        true
    }

    pub(super) fn seal_all_udp(&mut self) {
        for slot in self.state.conversations.slots() {
            self.seal_udp(slot);
        }
    }
}

/// Whether a datagram could be the first of something of ours, on whatever port.
#[inline(always)]
pub(super) fn could_begin(payload: &[u8]) -> bool {
    looks_like_syn(payload) || looks_like_client_hello(payload)
}

/// Whether a datagram has a SYN's flags and MTUs in their places: three comparisons that nearly no other datagram passes.
#[inline]
fn looks_like_syn(payload: &[u8]) -> bool {
    let Some(&[_, _, _, _, _, _, high, low, _, _, _, _, up_high, up_low, down_high, down_low]) = payload.first_chunk::<16>()
    else {
        return false;
    };
    let mtu = |high: u8, low: u8| MTU.contains(&u16::from_be_bytes([high, low]));
    // SYN, and none of the three bits that mean nothing.
    low & 0x01 != 0 && high & 0xE0 == 0 && mtu(up_high, up_low) && mtu(down_high, down_low)
}

/// Whether a datagram begins with a DTLS record in clear that holds a ClientHello.
#[inline]
fn looks_like_client_hello(payload: &[u8]) -> bool {
    matches!(payload, [22, 0xFE, 0xFD | 0xFF, 0, 0, ..]) && payload.get(dtls::HEADER_LEN) == Some(&1)
}

/// The payload; where the snap length cut a SYN, with zeros in place of the padding that most of it is.
fn filled<'a>(datagram: &Datagram<'a>) -> Cow<'a, [u8]> {
    let whole = (datagram.payload_len as usize).min(SYN_FIELDS);
    if datagram.payload.len() < whole && datagram.payload.len() >= 2 * HEADER_LEN && looks_like_syn(datagram.payload) {
        let mut bytes = datagram.payload.to_vec();
        bytes.resize(whole, 0);
        return Cow::Owned(bytes);
    }
    Cow::Borrowed(datagram.payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_known_by_few_bytes() {
        let mut syn = vec![
            0xFF, 0xFF, 0xFF, 0xFF, 0, 0x40, 0x18, 0x01, 1, 2, 3, 4, 0x04, 0xD0, 0x04, 0xD0,
        ];
        assert!(looks_like_syn(&syn));
        syn[13] = 0xD1;
        assert!(!looks_like_syn(&syn), "an upstream MTU of 1233");
        assert!(!looks_like_syn(&syn[..15]));
        let cut = Datagram {
            src_port: 1,
            dst_port: 2,
            payload: &[
                0xFF, 0xFF, 0xFF, 0xFF, 0, 0x40, 0x18, 0x01, 1, 2, 3, 4, 0x04, 0xD0, 0x04, 0xD0, 9,
            ],
            payload_len: 1232,
        };
        assert!(matches!(rdpeudp::recognise(&filled(&cut)), Parsed::Done(..)));
    }

    #[test]
    fn a_client_hello_is_known_by_few_bytes() {
        let hello = [22, 0xFE, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1, 0, 0];
        assert!(looks_like_client_hello(&hello));
        assert!(!looks_like_client_hello(&hello[..13]));
        assert!(
            !looks_like_client_hello(b"\x16\xFE\xFD\x00\x01\x00\x00\x00\x00\x00\x00\x00\x14\x01"),
            "sealed"
        );
    }
}
