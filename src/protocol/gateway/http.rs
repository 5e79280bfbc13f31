//! HTTP/1.1 heads and chunks (RFC 9112, read with `httparse`), as clients and RD Gateways write them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::bytes::{narrow, utf16};
use super::super::{Flaw, Parsed};

/// The longest head that is waited for. HTTP.sys takes 16 KiB by default, and 64 KiB in one field at most.
pub const LONGEST_HEAD: usize = 64 * 1024;

/// The longest chunk that is waited for.
pub const LONGEST_CHUNK: usize = 1 << 20;

const MOST_FIELDS: usize = 128;

/// The longest method name; `RPC_OUT_DATA` has twelve letters.
const LONGEST_METHOD: usize = 24;

/// A request or a response, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// From the client.
    Request(Box<Request>),
    /// From the server, or from a proxy before it.
    Response(Box<Response>),
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `RDG_OUT_DATA`: the gateway's channel to the client, and with WebSocket the only one.
    GatewayOut,
    /// `RDG_IN_DATA`: the client's channel to the gateway.
    GatewayIn,
    /// `RPC_OUT_DATA`: the same over RPC (MS-RPCH).
    RpcOut,
    /// `RPC_IN_DATA`.
    RpcIn,
    /// `POST` to the KDC proxy (MS-KKDCP).
    KdcProxy,
    /// `CONNECT` to a web proxy.
    Tunnel,
    /// Any other request.
    Other,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method as written.
    pub method: String,
    /// The request target.
    pub target: String,
    /// What method and target are for.
    pub purpose: Purpose,
    /// `Host`.
    pub host: Option<String>,
    /// `User-Agent`; `MS-RDGateway/1.0` from Windows clients.
    pub user_agent: Option<String>,
    /// `RDG-Connection-Id`, the same in both channels.
    pub connection_id: Option<String>,
    /// `RDG-Correlation-Id`, in the gateway's event log.
    pub correlation_id: Option<String>,
    /// `RDG-User-Id`, decoded.
    pub user_id: Option<String>,
    /// `RDG-Client-ApiBuild`: the client's operating system and build.
    pub client_build: Option<String>,
    /// `Authorization`, or `Proxy-Authorization`.
    pub credentials: Option<Credentials>,
    /// Whether a WebSocket is asked for.
    pub upgrade: bool,
    /// How the body ends.
    pub body: Body,
}

/// A response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase, for example `User Account Restricted`.
    pub reason: String,
    /// `Server`.
    pub server: Option<String>,
    /// `Via`: a proxy named itself.
    pub via: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `WWW-Authenticate` and `Proxy-Authenticate`, in order.
    pub challenges: Vec<Credentials>,
    /// Whether the connection becomes a WebSocket.
    pub upgrade: bool,
    /// How the body ends.
    pub body: Body,
}

/// An authentication scheme with its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `Negotiate`, `NTLM`, `Basic`, `Bearer`, `SSPI_NTLM` and others.
    pub scheme: String,
    /// What follows the scheme, decoded from Base64. Empty where nothing follows or it is no Base64, and always for schemes other than
    /// the two that carry SPNEGO or NTLM messages: those tokens are secrets.
    pub token: Vec<u8>,
}

/// How a body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// After so many bytes. A gateway's channel announces more than will ever come.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Reads one head.
#[must_use]
pub fn head(bytes: &[u8]) -> Parsed<Head> {
    const PREFIX: &[u8] = b"HTTP/1.";
    if bytes.iter().zip(PREFIX).all(|(left, right)| left == right) {
        return if bytes.is_empty() { Parsed::More } else { response(bytes) };
    }
    let method = bytes.iter().take_while(|it| it.is_ascii_uppercase() || **it == b'_').count();
    match bytes.get(method) {
        _ if method > LONGEST_METHOD || method == 0 => Parsed::NotMine,
        None => Parsed::More,
        Some(b' ') if method > 2 => request(bytes),
        Some(_) => Parsed::NotMine,
    }
}

fn request(bytes: &[u8]) -> Parsed<Head> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let used = match unfinished(bytes, parsed.parse(bytes)) {
        Ok(used) => used,
        Err(stop) => return stop,
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Parsed::Malformed(Flaw {
            at: 0,
            why: "HTTP request without method or target",
        });
    };
    let fields = Fields(parsed.headers);
    let request = Request {
        method: method.to_owned(),
        target: target.to_owned(),
        purpose: purpose(method, target),
        host: fields.text("Host"),
        user_agent: fields.text("User-Agent"),
        connection_id: fields.text("RDG-Connection-Id"),
        correlation_id: fields.text("RDG-Correlation-Id"),
        user_id: fields
            .text("RDG-User-Id")
            .map(|value| STANDARD.decode(&value).map_or(value, |name| utf16(&name))),
        client_build: fields.text("RDG-Client-ApiBuild"),
        credentials: fields
            .all("Authorization")
            .chain(fields.all("Proxy-Authorization"))
            .map(credentials)
            .next(),
        upgrade: fields.asks_for_websocket(),
        body: fields.body().unwrap_or(Body::None),
    };
    Parsed::Done(Head::Request(Box::new(request)), used)
}

fn response(bytes: &[u8]) -> Parsed<Head> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let used = match unfinished(bytes, parsed.parse(bytes)) {
        Ok(used) => used,
        Err(stop) => return stop,
    };
    let Some(status) = parsed.code else {
        return Parsed::Malformed(Flaw {
            at: 0,
            why: "HTTP response without a status",
        });
    };
    let fields = Fields(parsed.headers);
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let response = Response {
        status,
        reason: parsed.reason.unwrap_or_default().trim().to_owned(),
        server: fields.text("Server"),
        via: fields.text("Via"),
        location: fields.text("Location"),
        challenges: fields
            .all("WWW-Authenticate")
            .chain(fields.all("Proxy-Authenticate"))
            .map(credentials)
            .collect(),
        upgrade: status == 101 && fields.asks_for_websocket(),
        body: if bodiless {
            Body::None
        } else {
            fields.body().unwrap_or(Body::Close)
        },
    };
    Parsed::Done(Head::Response(Box::new(response)), used)
}

fn unfinished(bytes: &[u8], result: httparse::Result<usize>) -> Result<usize, Parsed<Head>> {
    match result {
        Ok(httparse::Status::Complete(used)) => Ok(used),
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => Err(Parsed::More),
        Ok(httparse::Status::Partial) => Err(Parsed::Malformed(Flaw {
            at: LONGEST_HEAD,
            why: "HTTP head without an end",
        })),
        Err(httparse::Error::Version) => Err(Parsed::NotMine),
        Err(httparse::Error::TooManyHeaders) => Err(Parsed::Malformed(Flaw {
            at: 0,
            why: "HTTP head with too many fields",
        })),
        Err(_) => Err(Parsed::Malformed(Flaw {
            at: 0,
            why: "not an HTTP head",
        })),
    }
}

fn purpose(method: &str, target: &str) -> Purpose {
    match method {
        "RDG_OUT_DATA" => Purpose::GatewayOut,
        "RDG_IN_DATA" => Purpose::GatewayIn,
        "RPC_OUT_DATA" => Purpose::RpcOut,
        "RPC_IN_DATA" => Purpose::RpcIn,
        "CONNECT" => Purpose::Tunnel,
        "POST" if target.trim_end_matches('/').eq_ignore_ascii_case("/KdcProxy") => Purpose::KdcProxy,
        _ => Purpose::Other,
    }
}

fn credentials(value: &[u8]) -> Credentials {
    let text = narrow(value);
    let (scheme, token) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let readable = ["Negotiate", "NTLM"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
    let token = if readable {
        STANDARD.decode(token.trim()).unwrap_or_default()
    } else {
        Vec::new()
    };
    Credentials {
        scheme: scheme.to_owned(),
        token,
    }
}

/// Header fields; names do not depend on case.
struct Fields<'h, 'b>(&'h [httparse::Header<'b>]);

impl<'b> Fields<'_, 'b> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.0
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.all(name).next().map(narrow)
    }

    fn asks_for_websocket(&self) -> bool {
        self.text("Upgrade")
            .is_some_and(|value| value.to_ascii_lowercase().contains("websocket"))
    }

    fn body(&self) -> Option<Body> {
        if self
            .text("Transfer-Encoding")
            .is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
        {
            return Some(Body::Chunked);
        }
        let length: u64 = self.text("Content-Length")?.trim().parse().ok()?;
        Some(if length == 0 { Body::None } else { Body::Length(length) })
    }
}

/// Reads one chunk with its framing (RFC 9112 section 7.1); the last one is empty, and takes its trailer section with it.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Parsed<&[u8]> {
    const END: &[u8] = b"\r\n";
    let (start, size) = match httparse::parse_chunk_size(bytes) {
        Ok(httparse::Status::Complete(found)) => found,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_METHOD => return Parsed::More,
        Ok(httparse::Status::Partial) | Err(_) => {
            return Parsed::Malformed(Flaw {
                at: 0,
                why: "not a chunk size",
            });
        }
    };
    let size = match usize::try_from(size) {
        Ok(size) if size <= LONGEST_CHUNK => size,
        _ => {
            return Parsed::Malformed(Flaw {
                at: 0,
                why: "chunk longer than any gateway writes",
            });
        }
    };
    if size == 0 {
        let mut trailer = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let after = bytes.get(start..).unwrap_or_default();
        return match httparse::parse_headers(after, &mut trailer) {
            Ok(httparse::Status::Complete((used, _))) => Parsed::Done(&[], start + used),
            Ok(httparse::Status::Partial) if after.len() < LONGEST_HEAD => Parsed::More,
            _ => Parsed::Malformed(Flaw {
                at: start,
                why: "not a trailer section",
            }),
        };
    }
    let Some(data) = bytes.get(start..start + size) else {
        return Parsed::More;
    };
    match bytes.get(start + size..start + size + END.len()) {
        Some(END) => Parsed::Done(data, start + size + END.len()),
        Some(_) => Parsed::Malformed(Flaw {
            at: start + size,
            why: "chunk without CRLF after it",
        }),
        None => Parsed::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUT: &[u8] = b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nCache-Control: no-cache\r\nConnection: Upgrade\r\n\
        Pragma: no-cache\r\nUpgrade: websocket\r\nAccept: */*\r\nUser-Agent: MS-RDGateway/1.0\r\n\
        RDG-Connection-Id: {7485D9AA-5664-40F3-8E07-D1F8D284}\r\nRDG-Correlation-Id: {559E3B89-03A5-43E1-AC17-AD48EA850000}\r\n\
        RDG-User-Id: QQBkAG0AaQBuAA==\r\nRDG-Client-ApiBuild: Type=OO; Build=WinBuild\r\n\
        Authorization: Negotiate TlRMTVNTUAABAAAA\r\nHost: gw.example\r\nContent-Length: 0\r\n\r\n";

    fn request_of(bytes: &[u8]) -> Request {
        match head(bytes) {
            Parsed::Done(Head::Request(request), used) if used == bytes.len() => *request,
            other => panic!("{other:?}"),
        }
    }

    fn response_of(bytes: &[u8]) -> Response {
        match head(bytes) {
            Parsed::Done(Head::Response(response), used) if used == bytes.len() => *response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_request_of_a_windows_client() {
        let request = request_of(OUT);
        assert_eq!(
            (request.purpose, request.upgrade, request.body),
            (Purpose::GatewayOut, true, Body::None)
        );
        assert_eq!(request.user_id.as_deref(), Some("Admin"));
        assert_eq!(request.connection_id.as_deref(), Some("{7485D9AA-5664-40F3-8E07-D1F8D284}"));
        assert_eq!(
            request.correlation_id.as_deref(),
            Some("{559E3B89-03A5-43E1-AC17-AD48EA850000}")
        );
        let credentials = request.credentials.expect("credentials");
        assert_eq!(
            (credentials.scheme.as_str(), credentials.token.as_slice()),
            ("Negotiate", &b"NTLMSSP\0\x01\0\0\0"[..])
        );
        for end in 0..OUT.len() {
            assert_eq!(head(&OUT[..end]), Parsed::More, "{end}");
        }
    }

    #[test]
    fn refusals_keep_their_reason() {
        let response = response_of(
            b"HTTP/1.1 401 User Account Restricted\r\nServer: Microsoft-HTTPAPI/2.0\r\nwww-authenticate: Negotiate TlRMTVNTUAACAAAA\r\n\
              WWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 13\r\n\r\n",
        );
        assert_eq!(
            (response.status, response.reason.as_str(), response.body),
            (401, "User Account Restricted", Body::Length(13))
        );
        assert_eq!(response.challenges.len(), 2);
        assert_eq!(response.challenges[0].token, b"NTLMSSP\0\x02\0\0\0");
        assert_eq!(
            response.challenges[1],
            Credentials {
                scheme: "Basic".into(),
                token: vec![]
            }
        );
        let bare = response_of(b"HTTP/1.1 502 \r\n\r\n");
        assert_eq!((bare.status, bare.reason.as_str(), bare.body), (502, "", Body::Close));
        let switching = response_of(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        assert!(switching.upgrade && switching.body == Body::None);
    }

    #[test]
    fn every_door_of_a_gateway_is_known() {
        let purpose = |line: &str| request_of(format!("{line} HTTP/1.1\r\n\r\n").as_bytes()).purpose;
        assert_eq!(purpose("RDG_IN_DATA /remoteDesktopGateway/"), Purpose::GatewayIn);
        assert_eq!(purpose("RPC_IN_DATA /rpc/rpcproxy.dll?localhost:3388"), Purpose::RpcIn);
        assert_eq!(
            purpose("RPC_OUT_DATA /rpcwithcert/rpcproxy.dll?localhost:3388"),
            Purpose::RpcOut
        );
        assert_eq!(purpose("POST /kdcproxy/"), Purpose::KdcProxy);
        assert_eq!(purpose("CONNECT gw.example:443"), Purpose::Tunnel);
        assert_eq!(purpose("GET /RDWeb"), Purpose::Other);
    }

    #[test]
    fn other_protocols_are_not_mine() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"\x03\x00\x00\x13",
            b"SSH-2.0-x",
            b"PRI\x00",
            b"HELLOHELLOHELLOHELLOHELLOHELLO",
            b"get / HTTP/1.1",
        ] {
            assert_eq!(head(bytes), Parsed::NotMine, "{bytes:?}");
        }
        // The preface of HTTP/2 is written so that a server of HTTP/1 sees a version that it does not know.
        assert_eq!(head(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Parsed::NotMine);
    }

    #[test]
    fn secrets_of_other_schemes_are_not_kept() {
        let request = request_of(b"GET / HTTP/1.1\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n");
        assert_eq!(
            request.credentials,
            Some(Credentials {
                scheme: "Basic".into(),
                token: vec![]
            })
        );
    }

    #[test]
    fn chunks_and_their_end() {
        assert_eq!(chunk(b"4\r\nabcd\r\n0\r\n\r\n"), Parsed::Done(&b"abcd"[..], 9));
        assert_eq!(chunk(b"0\r\n\r\nrest"), Parsed::Done(&b""[..], 5));
        assert_eq!(chunk(b"0\r\nX: y\r\n\r\n"), Parsed::Done(&b""[..], 11));
        assert_eq!(chunk(b"4;name=value\r\nabcd\r"), Parsed::More);
        assert_eq!(chunk(b""), Parsed::More);
        assert!(matches!(chunk(b"4\r\nabcdef"), Parsed::Malformed(Flaw { at: 7, .. })));
        assert!(matches!(chunk(b"zz\r\n"), Parsed::Malformed(_)));
        assert!(matches!(chunk(b"fffffff\r\n"), Parsed::Malformed(_)));
    }

    proptest! {
        #[test]
        fn never_panics(at in 0usize..600, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..40), ours: bool) {
            let mut bytes = if ours { OUT.to_vec() } else { Vec::new() };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.extend(tail);
            if let Parsed::Done(_, used) = head(&bytes) {
                prop_assert!(used <= bytes.len());
            }
            if let Parsed::Done(data, used) = chunk(&bytes) {
                prop_assert!(data.len() <= used && used <= bytes.len());
            }
        }
    }
}
