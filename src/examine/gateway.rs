//! Which HTTPS is an RD Gateway's. Most HTTPS is not, and leaves after its ClientHello; what is followed on a mere hint is judged only
//! where it behaves like a gateway's client.
//!
//! DTLS to UDP 3391 shows a gateway, too, and comes seconds after the HTTPS that it belongs to. So a few recent HTTPS flows whose client
//! is no browser are followed for a while on suspicion ([`Suspects`]). Where HTTPS comes in masses there is no room for most of them; of
//! those the rest is read once DTLS has shown what they are.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::attempt::GATEWAY_LABELS;
use crate::capture::{Span, Timestamp};
use crate::examine::Examiner;
use crate::flow::{Side, Slot};
use crate::protocol::Parsed;
use crate::protocol::gateway::http::Purpose;
use crate::protocol::tls::handshake::{Handshake, HandshakeBuffer};
use crate::protocol::tls::hello::{ClientHello, asked};
use crate::protocol::tls::record::{self, ContentType};
use crate::transcript::hidden::tunnel;
use crate::transcript::{Depth, GatewaySays, Transcript, What};

/// How many gateways are remembered.
pub(super) const GATEWAYS: usize = 4_096;

/// Big services whose names look alike and carry other things.
const OTHERS: &[&str] = &["google.com", "googleapis.com", "icloud.com", "apple.com", "amazonaws.com"];

/// Why a connection is taken for a gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was named on the command line, or content has shown it before: what fails here is judged.
    Known(String),
    /// Its name looks like one: a hint.
    Named(String),
    /// Keys will open it, and its content will tell.
    Keys,
    /// DTLS to UDP 3391 of the same host may follow.
    Suspect,
}

impl Reason {
    /// In words, for the report.
    pub(super) fn words(&self) -> String {
        match self {
            Reason::Known(why) => why.clone(),
            Reason::Named(name) => {
                format!("the name {name} looks like an RD Gateway's: a hint, not proof; --gateway {name} would say so")
            }
            Reason::Keys => "the TLS keys open it, and gateway requests are inside".to_owned(),
            Reason::Suspect => BESIDE.to_owned(),
        }
    }
}

/// Why HTTPS to a host is taken for a gateway's once DTLS has gone there.
const BESIDE: &str = "DTLS goes to UDP 3391 of the same host, as the side channel of an RD Gateway does";
/// How many flows are followed on suspicion at one time.
const SUSPECTS: usize = 64;
/// For how long: a client asks for its side channel as soon as the session inside the gateway's tunnel is up.
const SUSPECTED: Span = Span::secs(60);
/// For how many packets of both sides: a session comes up within a quarter of this.
const PACKETS: u64 = 400;
/// How many hosts are remembered to which DTLS went.
const HOSTS: usize = 1_024;

/// HTTPS flows that are followed although nothing but DTLS later on can say whether they are a gateway's.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The oldest first; slots may have gone to other flows since, which their numbers tell.
    flows: VecDeque<(Slot, u32, Timestamp)>,
    /// Hosts to whose UDP 3391 DTLS went.
    hosts: HashSet<IpAddr>,
}

impl Suspects {
    /// Whether DTLS went to UDP 3391 of this host.
    pub(super) fn is_shown(&self, host: IpAddr) -> bool {
        !self.hosts.is_empty() && self.hosts.contains(&host)
    }

    /// What is known of hosts, without the flows: for another examination of the same network.
    pub(super) fn known(self) -> Suspects {
        Suspects {
            flows: VecDeque::new(),
            hosts: self.hosts,
        }
    }

    /// Begins anew where the memory is full.
    pub(super) fn keep_flat(&mut self) {
        if self.hosts.len() >= HOSTS {
            self.hosts.clear();
        }
    }
}

/// A ClientHello at the start of a flow.
pub(super) enum Hello {
    /// It is here.
    Whole(Box<ClientHello>),
    /// More of it comes in another segment.
    Part,
    /// None.
    No,
}

/// Looks for a ClientHello in the first bytes of a flow.
pub(super) fn hello(payload: &[u8]) -> Hello {
    // A handshake record, and in it a ClientHello.
    if !matches!(payload, [0x16, 3, _, _, _, 1, ..]) {
        return Hello::No;
    }
    let Parsed::Done(header, used) = record::header(payload) else {
        return Hello::No;
    };
    let Some(fragment) = payload.get(used..used + usize::from(header.length)) else {
        return Hello::Part;
    };
    if header.content_type != ContentType::HANDSHAKE {
        return Hello::No;
    }
    let messages = HandshakeBuffer::default().push(fragment);
    match messages.first().map(|message| Handshake::parse(message, None)) {
        Some(Ok(Handshake::ClientHello(hello))) => Hello::Whole(hello),
        Some(_) => Hello::No,
        None => Hello::Part,
    }
}

/// Whether a name looks like a gateway's.
fn looks_like_gateway(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let ends_with = |end: &&str| {
        let start = name.len().checked_sub(end.len()).and_then(|start| name.get(start..));
        start.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
    };
    let Some((first, _domain)) = name.split_once('.') else {
        return false;
    };
    let is_label = |part: &str| {
        let part = part.trim_end_matches(|c: char| c.is_ascii_digit());
        GATEWAY_LABELS.iter().any(|label| label.eq_ignore_ascii_case(part))
    };
    first.split('-').any(is_label) && !OTHERS.iter().any(ends_with)
}

/// Whether a client offers HTTP/2, which is for browsers, and for the KDC proxy beside a gateway's own connection.
fn is_web(hello: &ClientHello) -> bool {
    hello.alpn.iter().any(|protocol| protocol == "h2")
}

impl Examiner {
    /// Whether the first bytes of a flow to `server` are a ClientHello that shows at a glance what reading all of it, or waiting for the
    /// rest of it, would end with, too: that it is no gateway's, and nothing to be followed on suspicion. Most HTTPS is like this.
    pub(super) fn is_plain_https(&mut self, server: SocketAddr, payload: &[u8], now: Timestamp) -> bool {
        let Some(asked) = asked(payload) else { return false };
        self.options.gateways.is_empty()
            && !looks_like_gateway(asked.name)
            && !self.state.gateways.contains(&server)
            && !self.state.suspects.is_shown(server.ip())
            && self.keys.is_empty()
            && (asked.http2 || (asked.whole && !self.has_room_for_suspect(now)))
    }

    /// Whether a flow to `server` that begins with this ClientHello could be a gateway's.
    pub(super) fn gateway_reason(&self, server: SocketAddr, hello: &ClientHello) -> Option<Reason> {
        let name = hello.server_name.as_deref();
        if let Some(why) = self.known_gateway(server, name) {
            return Some(why);
        }
        if self.keys.knows(&hello.random) {
            return Some(Reason::Keys);
        }
        let known_name = name.or_else(|| self.state.context.names.get(&server.ip()).map(String::as_str));
        known_name
            .filter(|name| looks_like_gateway(name))
            .map(|name| Reason::Named(name.to_owned()))
            .or_else(|| (!is_web(hello)).then_some(Reason::Suspect))
    }

    /// Why a flow to `server` could be a gateway's whose ClientHello was captured in part: its name may be there, and what it offers is not.
    /// A name that looks like one is no hint then, for whether the client behaves like a gateway's cannot be seen either.
    pub(super) fn unread_reason(&self, server: SocketAddr, hello: &[u8]) -> Reason {
        let name = asked(hello).map(|asked| asked.name);
        self.known_gateway(server, name).unwrap_or(Reason::Suspect)
    }

    /// Whether there is room for one more flow on suspicion at `now`. Those whose time is over leave.
    pub(super) fn has_room_for_suspect(&mut self, now: Timestamp) -> bool {
        while let Some(&(slot, id, since)) = self.state.suspects.flows.front() {
            let suspected = self.state.flows.get(slot).is_some_and(|live| live.is_suspect(id));
            if suspected && now.since(since) <= SUSPECTED {
                break;
            }
            self.state.suspects.flows.pop_front();
            if suspected {
                self.clear(slot);
            }
        }
        self.state.suspects.flows.len() < SUSPECTS
    }

    /// Remembers that this flow is followed on suspicion.
    pub(super) fn suspect(&mut self, slot: Slot, id: u32, now: Timestamp) {
        self.state.suspects.flows.push_back((slot, id, now));
    }

    /// Lets a flow go on which nothing was found for long enough.
    pub(super) fn clear_if_over(&mut self, slot: Slot, packets: u64, age: Span) {
        if packets >= PACKETS || age > SUSPECTED {
            self.clear(slot);
        }
    }

    fn clear(&mut self, slot: Slot) {
        if let Some((key, _)) = self.let_go(slot) {
            self.state.lobby.dismiss(&key);
        }
    }

    /// DTLS goes to UDP 3391 of this host: its HTTPS is a gateway's, what came before and what is to come.
    pub(super) fn show_gateway(&mut self, host: IpAddr) {
        if self.state.suspects.hosts.len() >= HOSTS || !self.state.suspects.hosts.insert(host) {
            return;
        }
        for (slot, id, _) in std::mem::take(&mut self.state.suspects.flows) {
            match self.state.flows.get_mut(slot) {
                Some(live) if live.is_suspect(id) && live.server.ip() == host => {
                    live.found_gateway(Reason::Known(BESIDE.to_owned()))
                }
                Some(live) if live.is_suspect(id) => {
                    let since = live.tcp.first().at;
                    self.suspect(slot, id, since);
                }
                _ => {}
            }
        }
        // Flows that were dismissed for want of room are looked at again: the rest of them is better than nothing.
        self.state.lobby.readmit_all_of(host);
    }

    /// Whether this end is a gateway that was named or has shown itself.
    pub(super) fn known_gateway(&self, server: SocketAddr, name: Option<&str>) -> Option<Reason> {
        let given = |name: &str| {
            self.options
                .gateways
                .iter()
                .find(|gateway| gateway.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.')))
        };
        let address = server.ip().to_string();
        let resolved = self.state.context.names.get(&server.ip()).map(String::as_str);
        if let Some(gateway) = name
            .and_then(given)
            .or_else(|| given(&address))
            .or_else(|| resolved.and_then(given))
        {
            return Some(Reason::Known(format!("--gateway {gateway} names it")));
        }
        if self.state.gateways.contains(&server) {
            return Some(Reason::Known(
                "another connection to it has shown that it is an RD Gateway".to_owned(),
            ));
        }
        self.state
            .suspects
            .is_shown(server.ip())
            .then(|| Reason::Known(BESIDE.to_owned()))
    }

    /// Whether what was followed as a gateway's connection is one, and what is known from it on. Web traffic is dropped.
    pub(super) fn is_gateway(&mut self, t: &Transcript, reason: &Reason) -> bool {
        let purposes = || {
            t.moments.iter().filter_map(|moment| match &moment.what {
                What::Gateway(says) if moment.depth == Depth(1) => Some(&**says),
                _ => None,
            })
        };
        let shown = purposes().any(|says| match says {
            GatewaySays::Request(request) => !matches!(request.purpose, Purpose::Other | Purpose::Tunnel),
            GatewaySays::Packet { .. } | GatewaySays::KdcRequest | GatewaySays::Kdc(_) => true,
            _ => false,
        });
        if shown {
            self.learn_gateway(t.server);
            return true;
        }
        let opened = t.moments.iter().any(|moment| moment.depth > Depth::OUTER);
        if opened || matches!(reason, Reason::Keys | Reason::Suspect) {
            return false;
        }
        let web = t.client_hello().is_some_and(|(_, hello)| is_web(hello));
        match reason {
            Reason::Known(_) => !web,
            _ => !web && (tunnel::behaves(t) || t.finished(Side::Server).is_none()),
        }
    }

    fn learn_gateway(&mut self, server: SocketAddr) {
        if self.state.gateways.len() < GATEWAYS {
            self.state.gateways.insert(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::capture::{Frame, SourceSummary, shipped};
    use crate::examine::Options;
    use crate::transcript::Role;

    /// The quick look at a ClientHello shows what reading it shows, wherever it is cut.
    #[test]
    fn hellos_at_a_glance() {
        use crate::packet::{Body, decode};

        let (mut hellos, mut named) = (0, 0);
        for path in shipped::all() {
            shipped::frames(&path, |frame| {
                let Ok(packet) = decode(frame) else { return };
                let Body::Tcp(segment) = &packet.body else { return };
                let Hello::Whole(hello) = hello(segment.payload) else {
                    return;
                };
                hellos += 1;
                let name = hello.server_name.as_deref();
                let found = asked(segment.payload);
                assert_eq!(found.map(|asked| asked.name), name);
                assert!(found.is_none_or(|asked| asked.whole && asked.http2 == is_web(&hello)));
                named += usize::from(name.is_some());
                for end in 0..segment.payload.len() {
                    // More may follow than was there.
                    let cut = asked(&segment.payload[..end]);
                    assert!(cut.is_none_or(|cut| Some(cut.name) == name && (is_web(&hello) || !cut.http2)));
                }
            });
        }
        assert!(hellos > 20 && named > 10, "{hellos} {named}");
    }

    /// A session through a gateway.
    fn session() -> PathBuf {
        let mut all = shipped::all().into_iter();
        all.find(|path| path.ends_with("gateway-session/client.pcapng"))
            .expect("a shipped capture")
    }

    /// The frames of a shipped capture, cut by a snap length, `copies` times from other ports of the client.
    fn cut(path: &Path, snap_length: usize, copies: u16, mut take: impl FnMut(&Frame<'_>)) {
        for n in 0..copies {
            shipped::frames(path, |frame| {
                let mut bytes = frame.bytes[..frame.bytes.len().min(snap_length)].to_vec();
                // Ethernet and IPv4 without options; ports of the lab's clients are high.
                for at in [34, 36] {
                    if let Some(port) = bytes.get_mut(at..at + 2)
                        && port[0] >= 0x80
                    {
                        port.copy_from_slice(&(0x8000 + n).to_be_bytes());
                    }
                }
                take(&Frame { bytes: &bytes, ..*frame });
            });
        }
    }

    #[test]
    fn a_named_gateway_is_known_although_a_snap_length_cuts_its_hellos() {
        let path = session();
        for snap_length in [60, 96] {
            let mut examiner = Examiner::new(Options {
                gateways: vec!["10.1.3.5".to_owned()],
                ..Options::default()
            });
            cut(&path, snap_length, 1, |frame| examiner.push(frame));
            examiner.end_source(SourceSummary::default(), None);
            let roles: Vec<Role> = examiner
                .finish()
                .connections
                .iter()
                .map(|connection| connection.role)
                .collect();
            assert_eq!(roles, [Role::Gateway], "{snap_length}");
        }
    }

    #[test]
    fn https_whose_hellos_are_cut_is_not_followed_in_masses() {
        let path = session();
        for snap_length in [60, 96] {
            let mut examiner = Examiner::new(Options::default());
            let mut most = 0;
            cut(&path, snap_length, 200, |frame| {
                examiner.push(frame);
                most = most.max(examiner.state.flows.len());
            });
            assert!(most <= SUSPECTS, "{snap_length}: {most}");
        }
    }

    #[test]
    fn names_of_gateways() {
        for name in [
            "rdgw.corp.example",
            "rdg01.example.com",
            "RDWEB.example.com.",
            "remote.example.com",
            "eu-rdgateway.example.com",
            "tsg.example.org",
            "gateway.example.org",
        ] {
            assert!(looks_like_gateway(name), "{name}");
        }
        for name in [
            "www.example.com",
            "gateway.icloud.com",
            "remotedesktop.google.com",
            "rdg",
            "api.example.com",
            "remoteness.example.com",
        ] {
            assert!(!looks_like_gateway(name), "{name}");
        }
    }
}
