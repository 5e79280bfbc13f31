//! An RD Gateway's tunnel: read where keys open it, else told from sizes. The first tunnel packets have fixed sizes, and what they carry
//! adds a fixed number of bytes, so that even the RDP connection inside shows its sizes two layers deep.

use crate::flow::Side;
use crate::protocol::gateway::http::Purpose;
use crate::protocol::gateway::rpc;
use crate::protocol::gateway::tsgu::PacketType;
use crate::protocol::tls::size::PlaintextLength;
use crate::transcript::hidden::records::{self, Record};
use crate::transcript::hidden::said::{Line, Said, Words};
use crate::transcript::hidden::{credssp, rdp};
use crate::transcript::moment::{Depth, GatewaySays, Moment, What};
use crate::transcript::tcp::Transcript;

/// A WebSocket header: two bytes, two more for the length of longer frames, four for the client's mask (RFC 6455 section 5.2).
const FRAME: usize = 2;
const LONG_FRAME: usize = 2;
const MASK: usize = 4;
/// The longest frame with a short header.
const SHORT: usize = 125;
/// HANDSHAKE_REQUEST and HANDSHAKE_RESPONSE (MS-TSGU 2.2.10.10, 2.2.10.11).
const HANDSHAKE_REQUEST: usize = 14;
const HANDSHAKE_RESPONSE: usize = 18;
/// The first packet of the client's half, which sends chunks of a request without end (RFC 9112 section 7.1): bare, or with the chunk's length of one
/// digit and its two line ends in the same record.
const HANDSHAKE_REQUESTS: [usize; 2] = [HANDSHAKE_REQUEST, HANDSHAKE_REQUEST + 5];
/// TUNNEL_CREATE, the shortest packet that follows (MS-TSGU 2.2.10.18).
const TUNNEL: usize = 16;
/// The header and length of a DATA packet.
const DATA: usize = 10;
/// A TLS record's header.
const RECORD: usize = 5;
/// What TLS adds to a plaintext inside the tunnel, where the inner handshake cannot be read: TLS 1.2 with AES-GCM, TLS 1.3, TLS 1.2
/// with ChaCha20-Poly1305.
const OVERHEADS: [usize; 3] = [24, TLS13, 16];
/// A request for the gateway's channel with its headers is longer than this.
const REQUEST: usize = 150;
/// An alert inside the tunnel.
const ALERT: usize = 2;
/// Requests of one connection before the tunnel: three legs of authentication, and one more.
const REQUESTS: usize = 6;
/// `TUNNEL_RESPONSE`, `TUNNEL_AUTH_RESPONSE` and `CHANNEL_RESPONSE` without their optional fields: what a refusal sends.
const REFUSALS: [usize; 3] = [18, 16, 16];

/// The packet inside a WebSocket frame inside a record, by size.
fn packet(record: &Record) -> PlaintextLength {
    let mask = if record.side == Side::Client { MASK } else { 0 };
    let strip = |size: usize| {
        let short = size.saturating_sub(FRAME + mask);
        if short <= SHORT {
            short
        } else {
            short.saturating_sub(LONG_FRAME)
        }
    };
    PlaintextLength {
        min: strip(record.size.min),
        max: strip(record.size.max),
    }
}

fn is_packet(record: &Record, size: usize) -> bool {
    !record.alert && packet(record).contains(size)
}

/// The place of HANDSHAKE_REQUEST that HANDSHAKE_RESPONSE answers.
fn handshake(records: &[Record]) -> Option<usize> {
    records.windows(2).position(|pair| match pair {
        [request, response] => {
            request.side == Side::Client
                && response.side == Side::Server
                && is_packet(request, HANDSHAKE_REQUEST)
                && is_packet(response, HANDSHAKE_RESPONSE)
        }
        _ => false,
    })
}

/// Where the packets begin in one of the two connections of a client without WebSocket: after the last word of the other side one side
/// sends packets alone, and the first one has the size of its handshake.
fn half(records: &[Record]) -> Option<(Side, usize)> {
    let plain = |side: Side| move |record: &Record| record.side == side && !record.alert;
    Side::BOTH.into_iter().find_map(|side| {
        let firsts = match side {
            Side::Client => HANDSHAKE_REQUESTS,
            Side::Server => [HANDSHAKE_RESPONSE; 2],
        };
        let is_first = |record: &Record| record.size.exact().is_some_and(|size| firsts.contains(&size));
        let silent_from = records.iter().rposition(plain(side.other()))? + 1;
        let run = records.get(silent_from..).unwrap_or_default();
        let at = run.iter().position(|record| plain(side)(record) && is_first(record))?;
        // The next one is a tunnel's request or response, which is no shorter.
        let next = run.get(at + 1).is_none_or(|next| next.alert || next.at_least(TUNNEL));
        next.then_some((side, silent_from + at))
    })
}

/// The lines of such a half.
fn half_lines(records: &[Record], side: Side, begin: usize, lines: &mut Vec<Line>) {
    let packets: Vec<&Record> = records
        .iter()
        .skip(begin)
        .filter(|record| record.side == side && !record.alert)
        .collect();
    for (step, record) in packets.iter().take(STEPS).enumerate() {
        if side == Side::Client {
            lines.push(record.line(
                Said::Tunnel,
                "a tunnel packet in one of the two connections of a client without WebSocket",
            ));
            continue;
        }
        let refused = step
            .checked_sub(1)
            .and_then(|step| REFUSALS.get(step))
            .is_some_and(|size| record.size.exact() == Some(*size));
        lines.push(if refused && packets.len() == step + 1 {
            record.line(
                Said::TunnelError(None),
                "a response without any of the fields that come with success, and nothing follows it",
            )
        } else if step + 1 == STEPS {
            record.line(Said::ChannelOpen, "the fourth response: the channel to the host is open")
        } else {
            record.line(Said::Tunnel, "the gateway's answer")
        });
    }
    if side == Side::Server {
        half_logon(packets.get(STEPS..).unwrap_or_default(), lines);
    }
}

/// The host's words in the half that comes from the gateway: Connection Confirm, its flight, its Finished or tickets, the answer to the
/// first leg, and where the logon is refused an error code and nothing more.
fn half_logon(packets: &[&Record], lines: &mut Vec<Line>) {
    if packets.len() > LOGON {
        return;
    }
    let data = |record: &Record| record.size.exact().and_then(|size| size.checked_sub(DATA));
    let sizes: Option<Vec<usize>> = packets.iter().map(|record| data(record)).collect();
    let Some([confirm, flight @ ..]) = sizes.as_deref() else {
        return;
    };
    let Some((last, before)) = flight.split_last() else { return };
    let legs = before.iter().scan(0, |sent, size| {
        *sent += size;
        Some(*sent)
    });
    let after_flight = legs.skip_while(|sent| *sent < FLIGHT).skip(1).count();
    let refusal = REFUSED_13.contains(last) || REFUSED_12.contains(last);
    if *confirm != CONFIRM_X224 || after_flight == 0 || !refusal {
        return;
    }
    let Some((error, legs)) = packets.split_last() else { return };
    if let Some(leg) = legs.last() {
        lines.push(leg.line(
            Said::CredSspLeg,
            "data from the host inside the tunnel: its answer to the first leg of CredSSP",
        ));
    }
    lines.push(error.line(
        Said::LogonError(None),
        "data from the host that holds a TSRequest with an error code, and nothing follows it (an accepted logon answers with 40 bytes more)",
    ));
}

/// The host says no more than this up to a refusal: Connection Confirm, its flight in parts, Finished or two tickets, one or two legs, the error.
const LOGON: usize = 10;
/// A TSRequest with an error code, 15 or 16 bytes, under TLS 1.3 and under TLS 1.2 with AES-GCM.
const REFUSED_13: [usize; 2] = [RECORD + TLS13 + 15, RECORD + TLS13 + 16];
const REFUSED_12: [usize; 2] = [RECORD + 24 + 15, RECORD + 24 + 16];

/// Handshake, tunnel, authorisation, channel.
const STEPS: usize = 4;

/// Whether sizes behave as those of a gateway's client: a few large requests, and then the tunnel or the end.
pub fn behaves(t: &Transcript) -> bool {
    let records = records::collect(t, Depth::OUTER);
    if handshake(&records).is_some() || half(&records).is_some() {
        return true;
    }
    let client: Vec<&Record> = records
        .iter()
        .filter(|record| record.side == Side::Client && !record.alert)
        .collect();
    let few = client.len() <= REQUESTS;
    let large = client.first().is_some_and(|record| record.at_least(REQUEST));
    // A page is larger than any answer of a gateway to its channel's request.
    let page: usize = records
        .iter()
        .filter(|record| record.side == Side::Server && !record.alert)
        .map(|record| record.size.max)
        .sum();
    few && large && page <= PAGE
}

/// Answers of a gateway before the tunnel: a challenge and an error page of IIS or nginx for each request.
const PAGE: usize = 8_000;

/// The lines that sizes tell.
pub(super) fn by_size(t: &Transcript) -> Vec<Line> {
    let records = records::collect(t, Depth::OUTER);
    let mut lines = Vec::new();
    let half = half(&records).filter(|_| handshake(&records).is_none());
    let begin = handshake(&records).or(half.map(|(_, at)| at)).unwrap_or(records.len());
    for record in records.iter().take(begin) {
        lines.push(match (record.alert, record.side) {
            (true, _) => credssp::alert(record),
            (false, Side::Client) => record.line(Said::HttpRequest, "a request to the gateway"),
            (false, Side::Server) => record.line(Said::HttpStatus(None), "the gateway's answer to the request"),
        });
    }
    if let Some((side, at)) = half {
        half_lines(&records, side, at, &mut lines);
        lines.extend(records.iter().skip(at).filter(|record| record.alert).map(credssp::alert));
        return lines;
    }
    let mut step = 0;
    let mut opened = None;
    for (at, record) in records.get(begin..).unwrap_or_default().iter().enumerate() {
        if record.alert {
            lines.push(credssp::alert(record));
            continue;
        }
        if record.side == Side::Client {
            let name = ["HANDSHAKE_REQUEST", "TUNNEL_CREATE", "TUNNEL_AUTH", "CHANNEL_CREATE"]
                .get(step)
                .copied()
                .unwrap_or("a tunnel packet");
            lines.push(record.line(Said::Tunnel, format!("the size of {name} in a WebSocket frame")));
            continue;
        }
        let goes_on = records
            .get(begin + at + 1..)
            .unwrap_or_default()
            .iter()
            .any(|next| next.side == Side::Client && !next.alert && next.at_least(FRAME + MASK + 8));
        let refused = step
            .checked_sub(1)
            .and_then(|step| REFUSALS.get(step))
            .is_some_and(|size| is_packet(record, *size));
        if refused && !goes_on {
            let name = ["TUNNEL_RESPONSE", "TUNNEL_AUTH_RESPONSE", "CHANNEL_RESPONSE"]
                .get(step - 1)
                .copied()
                .unwrap_or_default();
            lines.push(record.line(
                Said::TunnelError(None),
                format!("{name} without any of the fields that come with success, and the client does not go on"),
            ));
        } else if step == 0 && !goes_on {
            lines.push(record.line(
                Said::TunnelError(None),
                "HANDSHAKE_RESPONSE, after which the client does not go on: the gateway does not take its version or its kind of authentication",
            ));
        } else if step == 3 {
            lines.push(record.line(
                Said::ChannelOpen,
                "the size of CHANNEL_RESPONSE with a channel: the gateway has reached the host",
            ));
            opened = Some(begin + at + 1);
            break;
        } else {
            lines.push(record.line(Said::Tunnel, "the gateway's answer"));
        }
        step += 1;
    }
    if let Some(opened) = opened {
        inside(records.get(opened..).unwrap_or_default(), &mut lines);
    }
    lines
}

/// The records inside DATA packets, if TLS adds `overhead` bytes to each plaintext.
fn carried(records: &[Record], overhead: usize) -> Vec<Record> {
    records
        .iter()
        .map(|record| {
            let payload = packet(record);
            let strip = |size: usize| size.saturating_sub(DATA + RECORD + overhead);
            let size = PlaintextLength {
                min: strip(payload.min),
                max: strip(payload.max),
            };
            Record {
                size,
                // Nothing of RDP has two bytes.
                alert: record.alert || size.exact() == Some(ALERT),
                ..*record
            }
        })
        .collect()
}

/// The RDP connection that DATA packets carry.
fn inside(records: &[Record], lines: &mut Vec<Line>) {
    let begin = lines.len();
    let legs = logon(records).map(|(at, overhead)| {
        let mut legs = carried(records.get(at..).unwrap_or_default(), overhead);
        if overhead == TLS13 {
            records::drop_tickets(&mut legs);
        }
        (legs, overhead)
    });
    let found = OVERHEADS
        .iter()
        .filter(|overhead| legs.as_ref().is_none_or(|(_, known)| known == *overhead))
        .find_map(|overhead| {
            let inner = carried(records, *overhead);
            rdp::find_connect_initial(&inner).map(|at| (inner, at))
        });
    if let Some((legs, _)) = &legs {
        let before = rdp::find_connect_initial(legs).unwrap_or(legs.len());
        // Without CredSSP the first message is Connect-Initial.
        let logon = legs.get(..before).unwrap_or_default();
        if found.is_none() && rdp::begins(logon) {
            rdp::read(logon, lines);
        } else if before > 0 {
            credssp::read(logon, true, lines);
        }
    }
    if let Some((inner, at)) = found {
        rdp::read(inner.get(at..).unwrap_or_default(), lines);
    }
    for line in lines.iter_mut().skip(begin) {
        line.text.protect("under TLS inside the gateway's tunnel");
    }
}

/// X.224 Connection Request: with a cookie and a correlation at most.
const REQUEST_X224: (usize, usize) = (11, 250);
/// X.224 Connection Confirm with its negotiation.
const CONFIRM_X224: usize = 19;
/// The shortest ClientHello, and a server's flight with a certificate.
const HELLO: usize = 90;
const FLIGHT: usize = 500;
/// ChangeCipherSpec and the client's Finished of TLS 1.3, with SHA-256 and with SHA-384.
const FINISHED_13: [usize; 2] = [6 + RECORD + TLS13 + 36, 6 + RECORD + TLS13 + 52];
/// What TLS 1.3 adds to a plaintext.
const TLS13: usize = 17;
/// ChangeCipherSpec and the server's Finished of TLS 1.2 with ChaCha20-Poly1305.
const FINISHED_CHACHA: usize = 6 + RECORD + 16 + 16;

/// Where the host's TLS handshake inside the tunnel is over, and what its TLS adds to each plaintext: X.224 and the handshake go first,
/// and each of their steps has a size of its own.
fn logon(records: &[Record]) -> Option<(usize, usize)> {
    let data = |record: &Record| {
        let payload = packet(record);
        PlaintextLength {
            min: payload.min.saturating_sub(DATA),
            max: payload.max.saturating_sub(DATA),
        }
    };
    let from = |at: usize, side: Side| {
        records
            .get(at)
            .filter(|record| record.side == side && !record.alert)
            .map(data)
    };
    let request = from(0, Side::Client)?;
    let confirm = from(1, Side::Server)?;
    let hello = from(2, Side::Client)?;
    let flight = records
        .get(3..)?
        .iter()
        .take_while(|record| record.side == Side::Server && !record.alert)
        .count();
    let sent: usize = records.iter().skip(3).take(flight).map(|record| data(record).min).sum();
    if !request.meets(REQUEST_X224.0, REQUEST_X224.1) || !confirm.contains(CONFIRM_X224) || hello.min < HELLO || sent < FLIGHT {
        return None;
    }
    let keys = 3 + flight;
    let client = from(keys, Side::Client)?;
    if client.exact().is_some_and(|exact| FINISHED_13.contains(&exact)) {
        return Some((keys + 1, TLS13));
    }
    let server = from(keys + 1, Side::Server)?.exact()?;
    let overhead = if server == FINISHED_CHACHA {
        OVERHEADS[2]
    } else {
        OVERHEADS[0]
    };
    Some((keys + 2, overhead))
}

/// The lines of what was opened.
pub(super) fn by_content(t: &Transcript) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut side_errand = false;
    for moment in t.moments.iter().filter(|moment| moment.depth == Depth(1)) {
        let (said, text) = match &moment.what {
            What::Gateway(says) => {
                if let GatewaySays::Request(request) = &**says {
                    side_errand = request.purpose == Purpose::KdcProxy;
                }
                match meaning(says, side_errand) {
                    Some(found) => found,
                    None => continue,
                }
            }
            What::Alert(alert) => (
                Said::Alert(Some((alert.level, alert.description))),
                format!("TLS alert under encryption: {alert}"),
            ),
            _ => continue,
        };
        lines.push(line(moment, said, text));
    }
    lines
}

fn line(moment: &Moment, said: Said, text: String) -> Line {
    Line {
        said,
        side: moment.side,
        at: moment.at,
        frames: moment.frames,
        inferred: false,
        text: Words::Plain(text.into()),
    }
}

fn meaning(says: &GatewaySays, side_errand: bool) -> Option<(Said, String)> {
    Some(match says {
        GatewaySays::Request(request) => {
            let with = request
                .credentials
                .as_ref()
                .map_or(String::new(), |credentials| format!(", {}", credentials.scheme));
            (
                if request.purpose == Purpose::KdcProxy {
                    Said::KdcProxy(None)
                } else {
                    Said::HttpRequest
                },
                format!("{} {}{with}", request.method, request.target),
            )
        }
        GatewaySays::Response(response) => {
            let text = format!("HTTP {} {}", response.status, response.reason);
            let said = if side_errand {
                Said::KdcProxy(Some(response.status))
            } else {
                Said::HttpStatus(Some(response.status))
            };
            (said, text)
        }
        GatewaySays::Packet { kind, status, target } => {
            let mut text = kind.to_string();
            if let Some((host, port)) = target {
                text.push_str(&format!(" to {host}:{port}"));
            }
            if let Some(status) = status.filter(|status| *status != 0) {
                text.push_str(&format!(", status {status:#010x}"));
            }
            let failed = status.filter(|status| *status != 0);
            let said = match (*kind, failed) {
                (PacketType::CLOSE_CHANNEL | PacketType::CLOSE_CHANNEL_RESPONSE, _) => Said::ChannelClosed(*status),
                (_, Some(status)) => Said::TunnelError(Some(status)),
                (PacketType::CHANNEL_RESPONSE, None) => Said::ChannelOpen,
                _ => Said::Tunnel,
            };
            (said, text)
        }
        GatewaySays::Rpc(fragment) => match fragment.body {
            rpc::Body::Fault(status) => (Said::TunnelError(Some(status)), format!("RPC fault {status:#x}")),
            rpc::Body::Response(Some(status)) if status != 0 => {
                (Said::TunnelError(Some(status)), format!("RPC result {status:#010x}"))
            }
            rpc::Body::BindNak(reason) => (Said::TunnelError(None), format!("RPC BIND_NAK, reason {reason}")),
            _ => (Said::Tunnel, String::new()),
        },
        GatewaySays::SideConnect { .. } | GatewaySays::SideResult(_) | GatewaySays::SideEnd(_) => return None,
        GatewaySays::WebSocketClose(code) => (
            Said::ChannelClosed(None),
            match code {
                Some(code) => format!("WebSocket close, status {code}"),
                None => "WebSocket close".to_owned(),
            },
        ),
        GatewaySays::KdcRequest => (Said::KdcProxy(None), "a request to the KDC proxy".to_owned()),
        GatewaySays::KdcStatus(status) => (Said::KdcProxy(Some(*status)), format!("the KDC proxy answers HTTP {status}")),
        GatewaySays::Kdc(_) => (Said::KdcProxy(None), "a Kerberos message through the KDC proxy".to_owned()),
    })
}
