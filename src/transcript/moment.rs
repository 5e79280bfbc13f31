//! The atom of a transcript: at one time, in these frames, one side said this.

use std::sync::Arc;

use crate::capture::{FrameNo, Timestamp};
use crate::flow::Side;
use crate::flow::ends::Ends;
use crate::protocol::Flaw;
use crate::protocol::gateway::http::{Request, Response};
use crate::protocol::gateway::rpc::Fragment;
use crate::protocol::gateway::tsgu::PacketType;
use crate::protocol::gcc;
use crate::protocol::mcs::{McsResult, Reason};
use crate::protocol::preamble::Preamble;
use crate::protocol::rdp::info::ClientInfo;
use crate::protocol::rdp::license::License;
use crate::protocol::rdp::redirection::Redirection;
use crate::protocol::rdp::share;
use crate::protocol::rdp::{self, SecurityFlags};
use crate::protocol::tls::alert::Alert;
use crate::protocol::tls::certificate::Certificate;
use crate::protocol::tls::decrypt::WhyNot;
use crate::protocol::tls::handshake::HandshakeType;
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::record::{ContentType, Version};
use crate::protocol::tls::size::PlaintextLength;
use crate::protocol::tls::suite::CipherSuite;
use crate::protocol::x224;
use crate::protocol::{aad, kerberos, rdstls, spnego};

/// The frames that delivered a message: the one with its first byte and the one with its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frames {
    /// The frame with the first byte.
    pub first: FrameNo,
    /// The frame with the last byte.
    pub last: FrameNo,
}

/// Where in the nesting of protocols something was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth(pub u8);

impl Depth {
    /// On the connection itself, readable by anyone: X.224, TLS records, Standard RDP Security.
    pub const OUTER: Depth = Depth(0);
}

/// Something that was said.
#[derive(Clone, Debug)]
pub struct Moment {
    /// When its last byte passed.
    pub at: Timestamp,
    /// When its first byte passed.
    pub began: Timestamp,
    /// Who said it.
    pub side: Side,
    /// In which frames.
    pub frames: Frames,
    /// How deep: 0 on the connection itself, 1 inside its TLS, 2 inside a gateway's tunnel, 3 inside the TLS in that tunnel.
    pub depth: Depth,
    /// What.
    pub what: What,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum What {
    /// What stood before the first TPKT: a PROXY header or a preconnection blob.
    Preamble(Box<Preamble>),
    /// X.224 Connection Request.
    Request(Box<x224::ConnectionRequest>),
    /// X.224 Connection Confirm.
    Confirm(Box<x224::ConnectionConfirm>),
    /// X.224 Disconnect Request, reason.
    X224Disconnect(u8),
    /// X.224 Error, reject cause.
    X224Error(u8),
    /// TLS ClientHello.
    ClientHello(Box<ClientHello>),
    /// TLS ServerHello or HelloRetryRequest.
    ServerHello(Box<ServerHello>),
    /// A certificate chain, leaf first.
    Certificates(Vec<Arc<Certificate>>),
    /// Another handshake message in clear.
    Handshake(HandshakeType),
    /// ChangeCipherSpec.
    ChangeCipherSpec,
    /// An alert in clear.
    Alert(Alert),
    /// A sealed TLS record.
    Sealed(Sealed),
    /// MCS Connect-Initial with the client's GCC data, where they could be read.
    ConnectInitial(Option<Box<gcc::ClientData>>),
    /// MCS Connect-Response.
    ConnectResponse {
        /// The result.
        result: McsResult,
        /// The server's GCC data, where they could be read.
        data: Option<Box<gcc::ServerData>>,
    },
    /// MCS ErectDomainRequest.
    ErectDomain,
    /// MCS AttachUserRequest.
    AttachUser,
    /// MCS AttachUserConfirm.
    AttachUserConfirm(McsResult),
    /// MCS ChannelJoinRequest for this channel.
    Join(u16),
    /// MCS ChannelJoinConfirm.
    JoinConfirm {
        /// The channel that was asked for.
        channel: u16,
        /// The result.
        result: McsResult,
    },
    /// MCS DisconnectProviderUltimatum.
    Ultimatum(Reason),
    /// Data on an MCS channel whose content is not read further: its length.
    ChannelData {
        /// The channel.
        channel: u16,
        /// The length of the payload in bytes.
        length: usize,
    },
    /// A fast-path input or update: its length.
    FastPath(usize),
    /// A PDU of the I/O channel or the message channel, or of a logon that comes before MCS.
    Pdu(Box<Pdu>),
    /// What is said in the tunnel of an RD Gateway.
    Gateway(Box<GatewaySays>),
    /// A sealed record did not open with the keys that are there, for the first time in this direction.
    Unopened(WhyNot),
    /// Bytes that are neither RDP nor TLS; what they look like.
    Foreign(Box<Foreign>),
    /// Bytes that the capture lost or cut.
    Gap(u32),
    /// A message that breaks its protocol's rules.
    Malformed(&'static str, Box<Flaw>),
}

/// What RDP says once its connection stands, and how the user logs on before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pdu {
    /// CredSSP.
    CredSsp(CredSsp),
    /// Early User Authorization Result.
    EarlyResult(u32),
    /// RDSTLS.
    Rdstls(rdstls::Pdu),
    /// RDS AAD Auth.
    Aad(aad::Message),
    /// Security Exchange of Standard RDP Security.
    SecurityExchange,
    /// Client Info, without the password.
    ClientInfo(ClientInfo),
    /// A licensing PDU.
    License(License),
    /// Network auto-detection.
    AutoDetect,
    /// The server asks for a UDP side channel, and what becomes of it.
    Multitransport(Multitransport),
    /// Server Redirection.
    Redirection(Redirection),
    /// A Share Control PDU that is not mere graphics or input.
    Share(share::Pdu),
    /// Sealed by Standard RDP Security: flags and length of what is hidden, signature included.
    Encrypted {
        /// The flags of the security header.
        flags: SecurityFlags,
        /// Bytes behind the header.
        length: usize,
    },
}

/// How a UDP side channel is asked for over TCP, and how the client proves on UDP that it was asked (MS-RDPBCGR 2.2.15, MS-RDPEMT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multitransport {
    /// Initiate Multitransport Request, over TCP.
    Request(rdp::network::MultitransportRequest),
    /// Initiate Multitransport Response, over TCP.
    Response(rdp::network::MultitransportResponse),
    /// RDP_TUNNEL_CREATEREQUEST on UDP: the number of the request; its cookie is not kept.
    TunnelRequest(u32),
    /// RDP_TUNNEL_CREATERESPONSE on UDP: an HRESULT.
    TunnelResponse(u32),
}

/// What client and RD Gateway say to each other beside the RDP connection that they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewaySays {
    /// An HTTP request, without its credentials.
    Request(Box<Request>),
    /// An HTTP response.
    Response(Box<Response>),
    /// A tunnel packet.
    Packet {
        /// Its type.
        kind: PacketType,
        /// Its status, where it has one; 0 is success.
        status: Option<u32>,
        /// The host and port that it asks for.
        target: Option<(String, u16)>,
    },
    /// A fragment of RPC over HTTP that carries a result.
    Rpc(Fragment),
    /// On the UDP side channel: the client asks for the host with the cookie that it got over HTTPS.
    SideConnect {
        /// The host's port.
        port: u16,
        /// Whether the unreliable kind is asked for.
        lossy: bool,
        /// Largest datagrams, up and down, in bytes.
        mtu: (u16, u16),
    },
    /// On the UDP side channel: the gateway's answer, 0 or an error.
    SideResult(u32),
    /// On the UDP side channel: its end, and why.
    SideEnd(u32),
    /// The end of the WebSocket, with its status.
    WebSocketClose(Option<u16>),
    /// A request to the KDC proxy over HTTP/2.
    KdcRequest,
    /// Its HTTP status.
    KdcStatus(u16),
    /// A Kerberos message through the KDC proxy.
    Kdc(Box<kerberos::Message>),
}

/// What a TSRequest says in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredSsp {
    /// `version`.
    pub version: u32,
    /// The tokens in it.
    pub tokens: Vec<spnego::Negotiation>,
    /// `pubKeyAuth` is there.
    pub public_key: bool,
    /// `authInfo` is there.
    pub credentials: bool,
    /// `errorCode`.
    pub error: Option<u32>,
}

/// A TLS record whose content is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The content type in the record header.
    pub content_type: ContentType,
    /// The record's length without its header.
    pub length: u16,
    /// How long the plaintext is, where version and suite are known.
    pub plain: Option<PlaintextLength>,
    /// What it is taken for.
    pub kind: SealedKind,
}

/// What a sealed record is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedKind {
    /// The Finished message of this side.
    Finished,
    /// Another handshake message under encryption: TLS 1.3 server flight, client certificate, session ticket, renegotiation.
    Handshake,
    /// An alert that the record type gives away.
    AlertStated,
    /// An alert that only its size gives away (TLS 1.3).
    AlertBySize,
    /// Application data.
    Application,
}

/// Bytes of another protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What they look like, such as `SSH`; `None` for nothing known.
    pub looks_like: Option<&'static str>,
    /// The first bytes, at most 32.
    pub start: Vec<u8>,
}

/// The first and the last moments of a connection; those between are counted.
#[derive(Clone, Debug)]
pub struct Moments {
    ends: Ends<Moment>,
    forgotten: u64,
}

impl Moments {
    /// A container for `head_max` first and `tail_max` last moments.
    pub fn new(head_max: usize, tail_max: usize) -> Moments {
        Moments {
            ends: Ends::new(head_max, tail_max),
            forgotten: 0,
        }
    }

    /// Adds a moment.
    pub fn push(&mut self, moment: Moment) {
        self.forgotten += u64::from(self.ends.push(moment).is_some());
    }

    /// Takes what `other` remembers, in order, and leaves it empty.
    pub fn take_all(&mut self, other: &mut Moments) {
        self.forgotten += std::mem::take(&mut other.forgotten);
        other.ends.take().for_each(|moment| self.push(moment));
    }

    /// What is remembered, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Moment> + Clone {
        self.ends.iter()
    }

    /// The memory that it takes, in bytes; what a moment holds outside of itself is not counted.
    pub fn weight(&self) -> usize {
        self.ends.weight()
    }

    /// From here on keeps the first `head_max` and the last `tail_max` moments, if that is less than before.
    pub fn narrow(&mut self, head_max: usize, tail_max: usize) {
        self.forgotten += self.ends.narrow(head_max, tail_max).len() as u64;
    }

    /// How many moments of the middle were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The last moment.
    pub fn last(&self) -> Option<&Moment> {
        self.ends.last()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.ends.last().is_none()
    }
}

/// What TLS agreed on, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The version of the ServerHello.
    pub version: Option<Version>,
    /// The cipher suite of the ServerHello.
    pub suite: Option<CipherSuite>,
    /// Whether MAC follows encryption (RFC 7366).
    pub encrypt_then_mac: bool,
}
