//! What must hold for every parser on every input: no panic, no more bytes taken than given, and an end. The fuzz targets call these
//! functions, and `cargo test` replays every input that once broke one of them, beside slices of the shipped captures.

use std::io::Cursor;
use std::path::Path;

use rdpwhy::capture::{self, Direction, Event, Frame, FrameNo, LinkType, OpenOptions, PacketOptions, Timestamp};
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::flow::Limits;
use rdpwhy::packet::{self, fragments::Reassembler};
use rdpwhy::protocol::{self, Parsed};

/// A function that must survive every input.
type Oracle = fn(&[u8]);

/// Every oracle by the name of its fuzz target.
pub const ORACLES: &[(&str, Oracle)] = &[
    ("capture", capture_file),
    ("packet", packet_decoder),
    ("rdp", rdp),
    ("tls", tls),
    ("udp", udp),
    ("side", side),
    ("gateway", gateway),
    ("examine", examine),
];

fn sound<T>(parsed: Parsed<T>, given: &[u8]) {
    match parsed {
        Parsed::Done(_, used) => assert!(used <= given.len() && used > 0, "took {used} of {} bytes", given.len()),
        Parsed::Malformed(_) | Parsed::More | Parsed::NotMine => {}
    }
}

/// The file readers: whatever the bytes, frames come in order and end.
pub fn capture_file(bytes: &[u8]) {
    let source = capture::open_stream(
        Box::new(Cursor::new(bytes.to_vec())),
        Path::new("fuzz"),
        OpenOptions { read_ahead: false },
    );
    let Ok(mut source) = source else { return };
    let mut last = FrameNo::new(0);
    while let Ok(Some(event)) = source.next() {
        if let Event::Frame(frame) = event {
            assert!(frame.no > last, "frame {} after {last}", frame.no);
            last = frame.no;
        }
    }
}

/// The link types that the decoder knows, and one that it does not.
const LINKS: [u16; 14] = [0, 1, 9, 12, 50, 101, 105, 108, 113, 127, 192, 228, 229, 276];

fn frame(bytes: &[u8], no: u64) -> Option<Frame<'_>> {
    let (first, rest) = bytes.split_first()?;
    let link = LinkType(LINKS.get(usize::from(first & 0x0F)).copied().unwrap_or(147));
    let wire_len = u32::try_from(rest.len()).ok()? + if first & 0x10 != 0 { 400 } else { 0 };
    Some(Frame {
        no: FrameNo::new(no),
        at: Timestamp(no as i64 * 1_000_000),
        link,
        interface: 0,
        bytes: rest,
        wire_len,
        direction: (first & 0x20 != 0).then_some(Direction::Inbound),
        options: PacketOptions::default(),
    })
}

/// The packet decoder: the short way and the long way agree, fragments stay within bounds.
pub fn packet_decoder(bytes: &[u8]) {
    let Some(frame) = frame(bytes, 1) else { return };
    let decoded = packet::decode(&frame);
    if let Some(peek) = packet::fast::peek(&frame) {
        let seen = peek.payload_at as usize + peek.payload_seen as usize;
        assert!(seen <= frame.bytes.len(), "the payload ends behind the frame");
        assert!(decoded.is_ok(), "the short way found a packet and the long way did not");
    }
    let mut pieces = Reassembler::new(4, 4096);
    if let Ok(packet) = decoded
        && let Some(whole) = pieces.push(&packet)
    {
        let _ = whole.packet();
    }
}

/// X.224 and all that RDP says above it.
pub fn rdp(bytes: &[u8]) {
    sound(protocol::tpkt::parse(bytes), bytes);
    sound(protocol::tpkt::unit(bytes), bytes);
    sound(protocol::x224::parse(bytes), bytes);
    sound(protocol::preamble::parse(bytes), bytes);
    sound(protocol::credssp::parse(bytes), bytes);
    sound(protocol::credssp::early_user_authorization(bytes), bytes);
    sound(protocol::rdstls::parse(bytes), bytes);
    sound(protocol::aad::parse(bytes), bytes);
    let _ = protocol::sniff::sniff(bytes);
    let _ = protocol::mcs::parse(bytes);
    let _ = protocol::gcc::client(bytes);
    let _ = protocol::gcc::server(bytes);
    let _ = protocol::spnego::parse(bytes);
    let _ = protocol::ntlm::parse(bytes);
    for security in [protocol::rdp::Security::Enhanced, protocol::rdp::Security::Standard] {
        if let Ok(protocol::rdp::Message::Share(pdus)) = protocol::rdp::io_channel(bytes, security) {
            assert!(pdus.count() <= bytes.len(), "more PDUs than bytes");
        }
    }
    let _ = protocol::rdp::message_channel(bytes);
}

/// TLS records, handshake messages, certificates and key logs.
pub fn tls(bytes: &[u8]) {
    use protocol::tls;
    sound(tls::record::header(bytes), bytes);
    sound(tls::record::record(bytes), bytes);
    sound(tls::record::sslv2_client_hello(bytes), bytes);
    let _ = tls::hello::ClientHello::parse(bytes);
    let _ = tls::hello::ServerHello::parse(bytes);
    let _ = tls::certificate::Certificate::parse(bytes);
    let _ = tls::alert::Alert::parse(bytes);
    let mut keys = tls::keylog::KeyLog::default();
    keys.add(bytes);
    let mut buffer = tls::handshake::HandshakeBuffer::default();
    for piece in bytes.chunks(97) {
        for raw in buffer.push(piece) {
            for version in [None, Some(tls::record::Version::TLS12), Some(tls::record::Version::TLS13)] {
                let _ = tls::handshake::Handshake::parse(&raw, version);
            }
        }
    }
    assert!(buffer.pending() <= tls::handshake::MAX_KEPT + 4);
}

/// What comes in datagrams: RDP-UDP, DTLS, STUN, QUIC.
pub fn udp(bytes: &[u8]) {
    sound(protocol::rdpeudp::recognise(bytes), bytes);
    sound(protocol::rdpemt::parse(bytes), bytes);
    sound(protocol::stun::parse(bytes), bytes);
    sound(protocol::quic::parse(bytes), bytes);
    sound(protocol::dtls::record(bytes), bytes);
    let _ = protocol::rdpeudp::parse(bytes);
    let _ = protocol::rdpeudp2::parse(bytes);
    let _ = protocol::datagram::recognise(bytes);
    let _ = protocol::dtls::datagram(bytes);
    let _ = protocol::dtls::unified_header(bytes);
    let _ = protocol::dtls::handshake_fragments(bytes);
    let _ = protocol::gateway::udp::parse(bytes);
    let _ = protocol::gateway::udp::correlation_id(bytes);
}

/// What is said beside RDP: DNS and Kerberos.
pub fn side(bytes: &[u8]) {
    sound(protocol::dns::frame(bytes), bytes);
    let _ = protocol::dns::parse(bytes);
    sound(protocol::kerberos::frame(bytes), bytes);
    sound(protocol::kerberos::parse(bytes), bytes);
}

/// What goes through an RD Gateway.
pub fn gateway(bytes: &[u8]) {
    use protocol::gateway;
    sound(gateway::http::head(bytes), bytes);
    sound(gateway::http::chunk(bytes), bytes);
    sound(gateway::http2::frame(bytes), bytes);
    sound(gateway::websocket::parse(bytes), bytes);
    sound(gateway::tsgu::parse(bytes), bytes);
    sound(gateway::kdc_proxy::parse(bytes), bytes);
    sound(gateway::rpc::parse(bytes), bytes);
    let _ = gateway::http2::pseudo(bytes);
    let _ = gateway::tsgu::cookie_target(bytes);
}

/// The whole: bytes taken as a capture, and judged. Whatever is cited belongs to the capture.
pub fn examine(bytes: &[u8]) {
    let source = capture::open_stream(
        Box::new(Cursor::new(bytes.to_vec())),
        Path::new("fuzz"),
        OpenOptions { read_ahead: false },
    );
    let Ok(mut source) = source else { return };
    // Narrow bounds: they are met by short inputs, too, and tables that nothing fills cost no time.
    let limits = Limits {
        connections: 8,
        half_open: 4,
        strangers: 8,
        dismissed: 8,
        verdicts: 4,
        lookups: 8,
        ..Limits::default()
    };
    let mut examiner = Examiner::new(Options {
        limits,
        ..Options::default()
    });
    let mut last = FrameNo::new(0);
    while let Ok(Some(event)) = source.next() {
        match event {
            Event::Frame(frame) => {
                last = frame.no;
                examiner.push(&frame);
            }
            Event::Secrets(text) => examiner.secrets(text),
        }
    }
    examiner.end_source(source.summary(), None);
    let report = examiner.finish();
    for connection in &report.connections {
        assert!(!connection.verdict.evidence.is_empty(), "a verdict without evidence");
        for evidence in &connection.verdict.evidence {
            assert!(
                evidence.frame <= last && evidence.frame.number() > 0,
                "frame {} is cited, {last} is the last",
                evidence.frame
            );
        }
    }
}
