//! The tunnel of an RD Gateway inside an opened TLS connection (MS-TSGU): HTTP, then WebSocket frames or chunks with tunnel packets, then
//! the RDP connection that they carry; RPC over HTTP; or HTTP/2 with requests to the KDC proxy.

use crate::flow::{Limits, PerSide, Side};
use crate::protocol::Parsed;
use crate::protocol::gateway::http::{self, Head, Purpose};
use crate::protocol::gateway::tsgu::Body;
use crate::protocol::gateway::{http2, kdc_proxy, rpc, tsgu, websocket};
use crate::transcript::halves::{Carried, Half};
use crate::transcript::inbox::{Inbox, Stamp};
use crate::transcript::keys::Keys;
use crate::transcript::moment::{Depth, Frames, GatewaySays, Moment, Moments, What};
use crate::transcript::recorder::Layer;

/// What stands next in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// A request or a response.
    Head,
    /// So many bytes of a body that is not read.
    Skip(u64),
    /// WebSocket frames.
    Frames,
    /// Chunks that carry tunnel packets.
    Chunks,
    /// Tunnel packets one after the other.
    Packets,
    /// RPC fragments.
    Rpc,
    /// HTTP/2 frames.
    Http2,
    /// A message of the KDC proxy.
    Kdc(u64),
    /// Nothing that is read.
    Nothing,
}

/// The content of an opened TLS connection to a gateway.
#[derive(Debug)]
pub(super) struct Tunnel {
    depth: Depth,
    message_bytes: usize,
    expect: PerSide<Expect>,
    inbox: PerSide<Inbox>,
    /// Tunnel packets, taken out of their frames.
    packets: PerSide<Inbox>,
    /// Bodies of HTTP/2 streams, taken out of their frames.
    bodies: PerSide<Vec<u8>>,
    purpose: Option<Purpose>,
    /// What the client calls the tunnel.
    name: Option<String>,
    /// Without WebSocket a gateway sends random bytes ahead of its packets (MS-TSGU 3.3.5.1), which are passed over.
    seed: bool,
    /// Frames of this side are missing: what follows is out of step until a record begins with one.
    lost: PerSide<bool>,
    inner: Inner,
    limits: Limits,
    keys: Keys,
}

/// What the tunnel carries.
#[derive(Debug)]
enum Inner {
    /// Both directions of it.
    Whole(Box<Layer>),
    /// One direction of it: the other one is in another connection.
    Half(Half),
}

/// HANDSHAKE_RESPONSE begins like this: its type, nothing, and its length.
const HANDSHAKE_RESPONSE: [u8; 8] = [2, 0, 0, 0, 18, 0, 0, 0];
/// The seed is shorter than this.
const SEED: usize = 512;

/// The longest body of a KDC proxy message that is read.
const KDC_MESSAGE: usize = 64 * 1024;

impl Tunnel {
    /// Whether the first bytes inside TLS are those of HTTP: a client that speaks RDP begins with TPKT or CredSSP.
    pub(super) fn begins(side: Side, bytes: &[u8]) -> bool {
        side == Side::Client && (bytes.starts_with(b"PRI * HTTP/2") || !matches!(http::head(bytes), Parsed::NotMine))
    }

    pub(super) fn new(depth: Depth, limits: &Limits, keys: &Keys) -> Tunnel {
        Tunnel {
            depth,
            message_bytes: limits.message_bytes,
            expect: PerSide {
                client: Expect::Head,
                server: Expect::Head,
            },
            inbox: PerSide::default(),
            packets: PerSide::default(),
            bodies: PerSide::default(),
            purpose: None,
            name: None,
            seed: false,
            lost: PerSide::default(),
            inner: Inner::Whole(Tunnel::layer(depth, limits, keys)),
            limits: *limits,
            keys: keys.clone(),
        }
    }

    fn layer(depth: Depth, limits: &Limits, keys: &Keys) -> Box<Layer> {
        Box::new(Layer::new(Depth(depth.0 + 1), limits, false, keys.clone()))
    }

    /// This connection is one of the tunnel's two.
    fn is_half(&mut self, name: Option<&str>) {
        // A tunnel inside a tunnel is nobody's, and must not meet its own lock.
        if let (Some(name), Inner::Whole(_), Depth(1)) = (name, &self.inner, self.depth) {
            let (depth, limits, keys) = (self.depth, &self.limits, &self.keys);
            self.inner = Inner::Half(keys.halves.join(name, || Carried {
                inner: Tunnel::layer(depth, limits, keys),
                said: Moments::new(limits.moments_head, limits.moments_tail),
            }));
        }
    }

    /// What the tunnel carries is told by the connection from the gateway.
    fn tells(&self) -> bool {
        self.purpose == Some(Purpose::GatewayOut)
    }

    /// Takes over what was said in the other connection of the tunnel.
    pub(super) fn finish(&mut self, moments: &mut Moments) {
        if let Inner::Half(half) = &self.inner
            && self.tells()
        {
            moments.take_all(&mut half.carried().said);
        }
    }

    fn carry(&mut self, side: Side, data: &[u8], stamp: Stamp, moments: &mut Moments) {
        let tells = self.tells();
        match &mut self.inner {
            Inner::Whole(inner) => inner.content(side, data, stamp, moments),
            Inner::Half(half) => {
                let mut carried = half.carried();
                let Carried { inner, said } = &mut *carried;
                inner.content(side, data, stamp, said);
                if tells {
                    moments.take_all(said);
                }
            }
        }
    }

    /// The content of one record.
    pub(super) fn bytes(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) {
        if self.expect[side] == Expect::Nothing || (self.lost[side] && !self.is_in_step(side, bytes)) {
            return;
        }
        self.lost[side] = false;
        self.inbox[side].push(bytes, first);
        let mut inbox = std::mem::take(&mut self.inbox[side]);
        while !inbox.is_empty() {
            let began = inbox.first().unwrap_or(first);
            let used = self.read(side, inbox.bytes(), began, last, moments);
            if used == 0 {
                break;
            }
            inbox.consume(used);
        }
        if inbox.bytes().len() > self.message_bytes || self.expect[side] == Expect::Nothing {
            inbox.clear();
            self.expect[side] = Expect::Nothing;
        }
        self.inbox[side] = inbox;
        self.finish(moments);
    }

    /// Records of this side are missing: packets are found again where one begins a record.
    pub(super) fn gap(&mut self, side: Side) {
        self.inbox[side].clear();
        self.packets[side].clear();
        match self.expect[side] {
            Expect::Frames | Expect::Chunks | Expect::Packets => {
                self.lost[side] = true;
                match &mut self.inner {
                    Inner::Whole(inner) => inner.lose(side),
                    Inner::Half(half) => half.carried().inner.lose(side),
                }
            }
            _ => self.expect[side] = Expect::Nothing,
        }
    }

    /// Whether a record begins with a tunnel packet in its framing.
    fn is_in_step(&self, side: Side, bytes: &[u8]) -> bool {
        let is_packet = |bytes: &[u8]| matches!(tsgu::parse(bytes), Parsed::Done(packet, _) if packet.kind.name().is_some());
        match self.expect[side] {
            Expect::Frames => {
                matches!(websocket::parse(bytes), Parsed::Done(frame, _) if !frame.is_data() || is_packet(&frame.payload))
            }
            Expect::Chunks => matches!(http::chunk(bytes), Parsed::Done(data, _) if is_packet(data)),
            _ => is_packet(bytes),
        }
    }

    fn say(&self, side: Side, first: Stamp, last: Stamp, says: GatewaySays, moments: &mut Moments) {
        moments.push(Moment {
            at: last.at,
            began: first.at,
            side,
            frames: Frames {
                first: first.no,
                last: last.no,
            },
            depth: self.depth,
            what: What::Gateway(Box::new(says)),
        });
    }

    fn read(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        match self.expect[side] {
            Expect::Head => self.head(side, bytes, first, last, moments),
            Expect::Skip(left) => {
                let used = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.expect[side] = match left - used as u64 {
                    0 => Expect::Head,
                    left => Expect::Skip(left),
                };
                used
            }
            Expect::Frames => match websocket::parse(bytes) {
                Parsed::Done(frame, used) => {
                    if frame.is_data() {
                        self.packets(side, &frame.payload, first, last, moments);
                    } else if frame.opcode == websocket::Opcode::CLOSE {
                        let code = frame.close_code();
                        self.say(side, first, last, GatewaySays::WebSocketClose(code), moments);
                    }
                    used
                }
                Parsed::More => 0,
                Parsed::NotMine | Parsed::Malformed(_) => self.give_up(side, bytes),
            },
            Expect::Chunks => match http::chunk(bytes) {
                Parsed::Done(data, used) => {
                    let data = data.to_vec();
                    self.packets(side, &data, first, last, moments);
                    used
                }
                Parsed::More => 0,
                Parsed::NotMine | Parsed::Malformed(_) => self.give_up(side, bytes),
            },
            Expect::Packets => {
                self.packets(side, bytes, first, last, moments);
                bytes.len()
            }
            Expect::Rpc => match rpc::parse(bytes) {
                Parsed::Done(fragment, used) => {
                    if let rpc::Body::Fault(_) | rpc::Body::Response(_) | rpc::Body::BindNak(_) = fragment.body {
                        self.say(side, first, last, GatewaySays::Rpc(fragment), moments);
                    }
                    used
                }
                Parsed::More => 0,
                Parsed::NotMine | Parsed::Malformed(_) => self.give_up(side, bytes),
            },
            Expect::Kdc(length) => self.kdc(side, bytes, length, first, last, moments),
            Expect::Http2 => self.http2(side, bytes, first, last, moments),
            Expect::Nothing => bytes.len(),
        }
    }

    fn give_up(&mut self, side: Side, bytes: &[u8]) -> usize {
        self.expect[side] = Expect::Nothing;
        bytes.len()
    }

    fn head(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        if side == Side::Client && bytes.starts_with(http2::PREFACE) {
            self.expect = PerSide {
                client: Expect::Http2,
                server: Expect::Http2,
            };
            return http2::PREFACE.len();
        }
        if side == Side::Client && http2::PREFACE.starts_with(bytes) {
            return 0;
        }
        match http::head(bytes) {
            Parsed::Done(Head::Request(mut request), used) => {
                self.purpose = Some(request.purpose);
                if request.purpose == Purpose::GatewayIn && request.body != http::Body::None {
                    self.is_half(request.connection_id.as_deref());
                }
                self.name = request.connection_id.clone();
                self.expect[side] = match (request.purpose, request.body) {
                    (Purpose::KdcProxy, http::Body::Length(length)) => Expect::Kdc(length),
                    (Purpose::GatewayIn, http::Body::Chunked) => Expect::Chunks,
                    (Purpose::GatewayIn, http::Body::Length(_)) => Expect::Packets,
                    (Purpose::RpcIn | Purpose::RpcOut, http::Body::Length(length)) if length > 0 => Expect::Rpc,
                    (_, http::Body::None) => Expect::Head,
                    (_, http::Body::Length(length)) => Expect::Skip(length),
                    (_, http::Body::Chunked | http::Body::Close) => Expect::Nothing,
                };
                // A token of NTLM or Kerberos has nothing to do in a report.
                if let Some(credentials) = &mut request.credentials {
                    credentials.token.clear();
                }
                self.say(side, first, last, GatewaySays::Request(request), moments);
                used
            }
            Parsed::Done(Head::Response(mut response), used) => {
                let gateway = matches!(self.purpose, Some(Purpose::GatewayOut | Purpose::GatewayIn));
                self.seed = self.purpose == Some(Purpose::GatewayOut) && response.status == 200;
                if self.seed {
                    let name = self.name.take();
                    self.is_half(name.as_deref());
                }
                self.expect[side] = match response.body {
                    _ if response.status == 101 => {
                        self.expect.client = Expect::Frames;
                        Expect::Frames
                    }
                    http::Body::Chunked if gateway && response.status == 200 => Expect::Chunks,
                    http::Body::Length(_) | http::Body::Close if gateway && response.status == 200 => Expect::Packets,
                    http::Body::Length(length) if self.purpose == Some(Purpose::KdcProxy) => Expect::Kdc(length),
                    http::Body::Length(_) | http::Body::Close
                        if matches!(self.purpose, Some(Purpose::RpcIn | Purpose::RpcOut)) && response.status == 200 =>
                    {
                        Expect::Rpc
                    }
                    http::Body::None => Expect::Head,
                    http::Body::Length(length) => Expect::Skip(length),
                    http::Body::Chunked | http::Body::Close => Expect::Nothing,
                };
                for challenge in &mut response.challenges {
                    challenge.token.clear();
                }
                self.say(side, first, last, GatewaySays::Response(response), moments);
                used
            }
            Parsed::More => 0,
            Parsed::NotMine | Parsed::Malformed(_) => self.give_up(side, bytes),
        }
    }

    /// Takes tunnel packets out of a stretch of their stream.
    fn packets(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) {
        self.packets[side].push(bytes, first);
        let mut stream = std::mem::take(&mut self.packets[side]);
        if side == Side::Server && self.seed {
            let start = stream
                .bytes()
                .windows(HANDSHAKE_RESPONSE.len())
                .position(|window| window == HANDSHAKE_RESPONSE);
            match start {
                Some(start) => {
                    stream.consume(start);
                    self.seed = false;
                }
                None => {
                    if stream.bytes().len() > SEED {
                        stream.clear();
                        self.expect[side] = Expect::Nothing;
                    }
                    self.packets[side] = stream;
                    return;
                }
            }
        }
        loop {
            let began = stream.first().unwrap_or(first);
            match tsgu::parse(stream.bytes()) {
                Parsed::Done(packet, used) => {
                    match &packet.body {
                        Body::Data(data) => self.carry(side, data, last, moments),
                        Body::Keepalive => {}
                        body => {
                            let target = match body {
                                Body::ChannelCreate { resources, port, .. } => {
                                    resources.first().map(|name| (name.clone(), *port))
                                }
                                _ => None,
                            };
                            let says = GatewaySays::Packet {
                                kind: packet.kind,
                                status: body.status(),
                                target,
                            };
                            self.say(side, began, last, says, moments);
                        }
                    }
                    stream.consume(used);
                }
                Parsed::More => break,
                Parsed::NotMine | Parsed::Malformed(_) => {
                    stream.clear();
                    self.expect[side] = Expect::Nothing;
                    break;
                }
            }
        }
        if stream.bytes().len() > 2 * self.message_bytes {
            stream.clear();
            self.expect[side] = Expect::Nothing;
        }
        self.packets[side] = stream;
    }

    fn kdc(&mut self, side: Side, bytes: &[u8], length: u64, first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > KDC_MESSAGE {
            return self.give_up(side, bytes);
        }
        let Some(body) = bytes.get(..length) else { return 0 };
        if let Parsed::Done(message, _) = kdc_proxy::parse(body) {
            self.say(side, first, last, GatewaySays::Kdc(Box::new(message.kerberos)), moments);
        }
        self.expect[side] = Expect::Head;
        length
    }

    fn http2(&mut self, side: Side, bytes: &[u8], first: Stamp, last: Stamp, moments: &mut Moments) -> usize {
        let (frame, used) = match http2::frame(bytes) {
            Parsed::Done(frame, used) => (frame, used),
            Parsed::More => return 0,
            Parsed::NotMine | Parsed::Malformed(_) => return self.give_up(side, bytes),
        };
        let contents = frame.contents().unwrap_or_default();
        if frame.kind == http2::FrameType::HEADERS
            && let Ok(pseudo) = http2::pseudo(contents)
        {
            if pseudo.kdc_proxy {
                self.purpose = Some(Purpose::KdcProxy);
                self.say(side, first, last, GatewaySays::KdcRequest, moments);
            }
            if let Some(status) = pseudo.status
                && self.purpose == Some(Purpose::KdcProxy)
            {
                self.say(side, first, last, GatewaySays::KdcStatus(status), moments);
            }
            self.bodies[side].clear();
        }
        if frame.kind == http2::FrameType::DATA && self.purpose == Some(Purpose::KdcProxy) {
            let body = &mut self.bodies[side];
            if body.len() + contents.len() <= KDC_MESSAGE {
                body.extend_from_slice(contents);
            }
            if let Parsed::Done(message, _) = kdc_proxy::parse(body) {
                body.clear();
                self.say(side, first, last, GatewaySays::Kdc(Box::new(message.kerberos)), moments);
            }
        }
        used
    }
}
