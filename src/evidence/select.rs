//! Which frames of a capture belong to an attempt: its connections, its lookups, its tickets, the ICMP about it and its UDP side.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::capture::{Frame, FrameNo, Span, Timestamp};
use crate::flow::FlowKey;
use crate::flow::key::{TCP, UDP};
use crate::packet::{Body, Packet, TcpFlags, decode, fast};
use crate::protocol::{Parsed, dns};
use crate::report::Report;
use crate::report::model::{Attempt, Connection};
use crate::transcript::Transport;

/// How long after the end of a connection its late packets still belong to it, as long as they are watched for a verdict.
const AFTERGLOW: Span = Span::secs(30);
/// Tickets are asked for shortly before and during an attempt.
const TICKETS: Span = Span::secs(30);
/// An address that was looked up so long before an attempt is not asked for again: names are kept that long by clients.
const LOOKUPS: Span = Span::secs(3_600);
/// The ports of RDP over UDP: to the host, and to a gateway.
const UDP_SIDES: [u16; 2] = [3389, 3391];
/// So many packets of other connections show what a host's packets look like: its TTL, its round trip.
const PORTRAITS: u32 = 64;
const DNS: u16 = 53;
const KERBEROS: u16 = 88;

/// The frames of one attempt, as conditions on a frame.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The attempt's number.
    pub attempt: u32,
    /// The source that holds it, an index into the report's sources.
    pub source: u32,
    flows: HashMap<FlowKey, Vec<Stretch>>,
    clients: HashSet<IpAddr>,
    servers: HashSet<IpAddr>,
    ports: HashSet<u16>,
    names: HashSet<String>,
    cited: HashSet<FrameNo>,
    /// How many more handshakes of other connections are taken.
    portraits: Cell<u32>,
    from: Timestamp,
    until: Timestamp,
}

/// A part of a flow: by time, or by frames where the clock of the capture stepped.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: Timestamp,
    until: Timestamp,
    frames: (FrameNo, FrameNo),
    /// The first frame of another attempt's connection with the same addresses and ports.
    before: Option<FrameNo>,
}

impl Selection {
    /// The selection for the attempt of this number; `None` where there is none.
    pub fn of(report: &Report, attempt: u32) -> Option<Selection> {
        let attempt = report.attempt(attempt)?;
        let mine = shown(report, attempt);
        let source = mine.first()?.source;
        let mut selection = Selection {
            attempt: attempt.id,
            source,
            flows: HashMap::new(),
            clients: HashSet::new(),
            servers: HashSet::new(),
            ports: HashSet::new(),
            names: HashSet::new(),
            cited: HashSet::new(),
            portraits: Cell::new(PORTRAITS),
            from: attempt.started,
            until: attempt.ended.plus(AFTERGLOW),
        };
        selection.clients.insert(attempt.client);
        for connection in mine.iter().copied().chain(ties(report, attempt, &mine)) {
            selection.connection(report, connection);
        }
        let verdicts = mine.iter().map(|connection| &connection.verdict).chain([&attempt.verdict]);
        for evidence in verdicts.flat_map(|verdict| &verdict.evidence) {
            if evidence.source == source {
                selection.cited.insert(evidence.frame);
            }
        }
        for note in attempt.side_findings.iter().filter(|note| note.source == source) {
            selection.cited.extend(&note.frames);
        }
        Some(selection)
    }

    fn connection(&mut self, report: &Report, connection: &Connection) {
        self.clients.insert(connection.client.ip());
        let sni = connection.tls.as_ref().and_then(|tls| tls.sni.as_ref());
        for name in connection.server_name.iter().chain(sni) {
            self.names.insert(plain(name));
        }
        self.from = self.from.min(connection.started);
        let ended = connection.started.plus(connection.duration);
        self.until = self.until.max(ended.plus(AFTERGLOW));
        let Some(server) = connection.server else { return };
        self.servers.insert(server.ip());
        self.ports.insert(server.port());
        let protocol = match connection.transport {
            Transport::Dns => return,
            Transport::Tcp => TCP,
            _ => UDP,
        };
        let before = report
            .connections
            .iter()
            .filter(|other| other.attempt != connection.attempt && other.frames.0 > connection.frames.0)
            .filter(|other| {
                (other.source, other.client, other.server) == (connection.source, connection.client, connection.server)
            })
            .map(|other| other.frames.0)
            .min();
        let key = FlowKey::new(connection.client, server, protocol);
        self.flows.entry(key).or_default().push(Stretch {
            from: connection.started,
            until: ended.plus(AFTERGLOW),
            frames: connection.frames,
            before,
        });
    }

    /// Whether the frame belongs to the attempt.
    pub fn takes(&self, frame: &Frame<'_>) -> bool {
        if self.cited.contains(&frame.no) {
            return true;
        }
        match fast::peek(frame) {
            Some(peek) => {
                let (from, to) = (
                    SocketAddr::new(peek.src, peek.src_port),
                    SocketAddr::new(peek.dst, peek.dst_port),
                );
                if !self.concerns(peek.src, peek.dst) {
                    return false;
                }
                let start = peek.payload_at as usize;
                let payload = frame.bytes.get(start..start + peek.payload_seen as usize).unwrap_or_default();
                self.takes_transport((frame.no, frame.at), from, to, peek.protocol, payload)
                    || (peek.flags.has(TcpFlags::SYN)
                        && payload.is_empty()
                        && !self.is_judged(from.port(), to.port())
                        && self.is_portrait(peek.src, peek.dst))
            }
            None => decode(frame).is_ok_and(|packet| self.takes_packet(&packet)),
        }
    }

    fn concerns(&self, src: IpAddr, dst: IpAddr) -> bool {
        [src, dst]
            .iter()
            .any(|address| self.clients.contains(address) || self.servers.contains(address))
    }

    fn takes_packet(&self, packet: &Packet<'_>) -> bool {
        let (src, dst) = (packet.ip.src, packet.ip.dst);
        let stamp = (packet.no, packet.at);
        match &packet.body {
            Body::Tcp(segment) => self.takes_transport(
                stamp,
                SocketAddr::new(src, segment.src_port),
                SocketAddr::new(dst, segment.dst_port),
                TCP,
                segment.payload,
            ),
            Body::Udp(datagram) => self.takes_transport(
                stamp,
                SocketAddr::new(src, datagram.src_port),
                SocketAddr::new(dst, datagram.dst_port),
                UDP,
                datagram.payload,
            ),
            // Echo replies.
            Body::Icmp(message) if matches!((message.v6, message.kind), (false, 0) | (true, 129)) => self.is_portrait(src, dst),
            Body::Icmp(message) => message.quoted.as_ref().is_some_and(|quoted| {
                let key = FlowKey::new(quoted.src, quoted.dst, quoted.protocol);
                self.in_flow(&key, stamp)
                    || (quoted.protocol == UDP && self.is_side(stamp.1, quoted.src, quoted.dst))
                    || (self.is_near(stamp.1) && self.is_service(quoted.src, quoted.dst))
            }),
            Body::Fragment(_) => {
                let pair = |a: &IpAddr, b: &IpAddr| self.clients.contains(a) && self.servers.contains(b);
                self.is_near(stamp.1) && (pair(&src, &dst) || pair(&dst, &src))
            }
            Body::Other(_) => false,
        }
    }

    fn takes_transport(
        &self,
        stamp: (FrameNo, Timestamp),
        from: SocketAddr,
        to: SocketAddr,
        protocol: u8,
        payload: &[u8],
    ) -> bool {
        let key = FlowKey::new(from, to, protocol);
        if self.in_flow(&key, stamp) || (protocol == UDP && self.is_side(stamp.1, from, to)) {
            return true;
        }
        let by = |port: u16| from.port() == port || to.port() == port;
        if by(DNS) {
            return stamp.1 >= self.from.plus(Span(-LOOKUPS.0)) && stamp.1 <= self.until && self.is_lookup(protocol, payload);
        }
        by(KERBEROS) && self.is_near(stamp.1)
    }

    /// Whether a connection on these ports would be judged itself.
    fn is_judged(&self, from: u16, to: u16) -> bool {
        [from, to]
            .iter()
            .any(|port| self.ports.contains(port) || UDP_SIDES.contains(port))
    }

    /// Whether one more packet that opens a connection between the hosts of the attempt, or answers a ping, is taken: by such
    /// packets a host is told from a device that speaks in its name.
    fn is_portrait(&self, src: IpAddr, dst: IpAddr) -> bool {
        let pair = |client: &IpAddr, server: &IpAddr| self.clients.contains(client) && self.servers.contains(server);
        let left = self.portraits.get();
        if left == 0 || !(pair(&src, &dst) || pair(&dst, &src)) {
            return false;
        }
        self.portraits.set(left - 1);
        true
    }

    fn in_flow(&self, key: &FlowKey, (no, at): (FrameNo, Timestamp)) -> bool {
        self.flows.get(key).is_some_and(|stretches| {
            stretches.iter().any(|one| {
                let by_time = at >= one.from && at <= one.until && one.before.is_none_or(|before| no < before);
                by_time || (no >= one.frames.0 && no <= one.frames.1)
            })
        })
    }

    fn is_near(&self, at: Timestamp) -> bool {
        at >= self.from.plus(Span(-TICKETS.0)) && at <= self.until
    }

    /// Whether this is the UDP side of the attempt: from a client of it to a server of it, on a port for that.
    fn is_side(&self, at: Timestamp, from: SocketAddr, to: SocketAddr) -> bool {
        let towards = |client: SocketAddr, server: SocketAddr| {
            self.clients.contains(&client.ip())
                && self.servers.contains(&server.ip())
                && (UDP_SIDES.contains(&server.port()) || self.ports.contains(&server.port()))
        };
        self.is_near(at) && (towards(from, to) || towards(to, from))
    }

    /// Whether a quoted packet went from a client or server of the attempt to a resolver or a KDC.
    fn is_service(&self, from: SocketAddr, to: SocketAddr) -> bool {
        self.concerns(from.ip(), to.ip()) && [DNS, KERBEROS].iter().any(|port| from.port() == *port || to.port() == *port)
    }

    /// Whether a DNS message is about a name of the attempt, or answers with an address of its servers.
    fn is_lookup(&self, protocol: u8, payload: &[u8]) -> bool {
        let mut rest = payload;
        if protocol == UDP {
            return self.is_about(rest);
        }
        while let Parsed::Done(message, used) = dns::frame(rest) {
            if self.is_about(message) {
                return true;
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        false
    }

    fn is_about(&self, message: &[u8]) -> bool {
        let Ok(message) = dns::parse(message) else { return false };
        message.questions.iter().any(|question| self.is_named(&question.name))
            || message.addresses().any(|address| self.servers.contains(&address))
    }

    /// A name of the attempt, or the same host under another suffix: resolvers try several.
    fn is_named(&self, name: &str) -> bool {
        let name = plain(name);
        let host = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        self.names.contains(&name) || self.names.iter().any(|own| host(own) == host(&name))
    }
}

/// The connections of an attempt in the source that shows it best: a slice is cut from one capture.
pub(super) fn shown<'a>(report: &'a Report, attempt: &Attempt) -> Vec<&'a Connection> {
    let all = || attempt.connections.iter().filter_map(|id| report.connection(*id));
    let best = report.connection(attempt.decisive).or_else(|| all().next());
    all()
        .filter(|one| best.is_some_and(|best| best.source == one.source))
        .collect()
}

/// A failed lookup is judged because the client uses RDP with this name, or in its domain: the connection that shows it, the
/// nearest in time.
fn ties<'a>(report: &'a Report, attempt: &Attempt, mine: &[&Connection]) -> Option<&'a Connection> {
    let lookup = mine.iter().find(|connection| connection.transport == Transport::Dns)?;
    let name = plain(lookup.server_name.as_deref()?);
    let domain = name.split_once('.').map(|(_, domain)| domain.to_owned());
    let rank = |connection: &Connection| {
        let sni = connection.tls.as_ref().and_then(|tls| tls.sni.as_ref());
        let names = || connection.server_name.iter().chain(sni).map(|name| plain(name));
        let host = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
        if names().any(|other| other == name || host(&other) == host(&name)) {
            Some(0)
        } else if names().any(|other| other.split_once('.').map(|(_, domain)| domain.to_owned()) == domain) {
            Some(1)
        } else {
            None
        }
    };
    report
        .connections
        .iter()
        .filter(|one| one.attempt != attempt.id && one.source == lookup.source && one.client.ip() == attempt.client)
        .filter(|one| one.transport == Transport::Tcp)
        .filter_map(|one| Some((rank(one)?, one.started.since(lookup.started).0.saturating_abs(), one)))
        .min_by_key(|(rank, distance, _)| (*rank, *distance))
        .map(|(_, _, one)| one)
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
