//! HTTP statuses as an RD Gateway, its KDC proxy and the proxies before them give them.

use super::{Code, Notation, Range, Space, as_it_is};

const SPEC: &str = "RFC 9110 15; MS-TSGU (HTTP transport)";

/// HTTP statuses in the gateway's context.
pub static HTTP: Space = Space {
    slug: "http",
    title: "HTTP status (RD Gateway, KDC proxy)",
    about: "Sent by the gateway, or by a reverse proxy before it, to RDG_OUT_DATA, RDG_IN_DATA, RPC_*_DATA or POST /KdcProxy: inside TLS, so readable with keys only. The client writes it to its trace (RDGClientTrace).",
    notation: Notation::Decimal,
    ranges: &[
        Range {
            from: 300,
            to: 399,
            what: "an HTTP redirection, which RDP clients do not follow",
        },
        Range {
            from: 400,
            to: 499,
            what: "an HTTP status that blames the request",
        },
        Range {
            from: 500,
            to: 599,
            what: "an HTTP status that blames the server, or a proxy before it",
        },
    ],
    tables: &[CODES],
    canonical: as_it_is,
};

const REFUSED: &str =
    "With keys: the status line. Without: TLS to the gateway, one or two requests, a short answer, FIN from both.";
const BACKEND: &[&str] = &[
    "On the reverse proxy or load balancer: its log for this request, and its health check of the gateway.",
    "On the gateway: Get-Service TSGateway, W3SVC; HTTPERR log under C:\\Windows\\System32\\LogFiles\\HTTPERR.",
];
const METHOD: &[&str] = &[
    "Let the device in front pass the methods RDG_OUT_DATA, RDG_IN_DATA, RPC_IN_DATA and RPC_OUT_DATA, the path /remoteDesktopGateway/ and long-lived bodies.",
    "As a test connect to the gateway directly, without that device.",
];

const CODES: &[Code] = &[
    Code::new(
        101,
        "Switching Protocols",
        "The WebSocket is up: the gateway accepted the credentials.",
        "197 bytes of plaintext from the gateway, then the tunnel.",
        &["Nothing to cure."],
        SPEC,
    ),
    Code::new(
        200,
        "OK",
        "The request was accepted (two-connection mode, or the KDC proxy's answer).",
        "200, then a second TLS connection with RDG_IN_DATA; or a Kerberos message from the KDC proxy.",
        &["Nothing to cure."],
        SPEC,
    ),
    Code::new(
        302,
        "Found",
        "Redirected: usually a login page of a device before the gateway.",
        REFUSED,
        METHOD,
        SPEC,
    ),
    Code::new(
        400,
        "Bad Request",
        "The request was not understood: often a device before the gateway that does not know its methods, or too large headers (a big Kerberos ticket).",
        REFUSED,
        &[
            "Let the device in front pass RDG_* methods and the path /remoteDesktopGateway/.",
            "For users in many groups: MaxFieldLength and MaxRequestBytes under HKLM\\SYSTEM\\CurrentControlSet\\Services\\HTTP\\Parameters on the gateway.",
        ],
        SPEC,
    ),
    Code::new(
        401,
        "Unauthorized",
        "Ordinary as the first leg of NTLM. Final, with a reason phrase such as 'User Account Restricted', it is the refusal.",
        "401 with a challenge, answered by the client: ordinary. 401 and FIN: refused.",
        &[
            "Type the gateway's credentials again; cmdkey /list, then cmdkey /delete:TARGET.",
            "Security event 4625 on the gateway: Sub Status.",
            "Protected Users cannot use NTLM: publish a KDC proxy or let clients reach a domain controller.",
        ],
        SPEC,
    )
    .not("A 401 followed by another request is a leg of NTLM and no error."),
    Code::new(
        403,
        "Forbidden",
        "Refused by policy: IP restrictions or TLS settings of the web server, a device before it; some clients then fall back to RPC over HTTP.",
        REFUSED,
        &[
            "IIS on the gateway: IP restrictions, 'Require SSL', client certificates for /remoteDesktopGateway and /rpc.",
            "Log of the device in front of it.",
        ],
        SPEC,
    ),
    Code::new(
        404,
        "Not Found",
        "The path does not exist: not a gateway, the role is not installed, or the wrong published site.",
        REFUSED,
        &[
            "Check the gateway's name in the .rdp file; Get-WindowsFeature RDS-Gateway on the server.",
            "Publishing rule for /remoteDesktopGateway, /rpc and /KdcProxy.",
        ],
        SPEC,
    ),
    Code::new(
        405,
        "Method Not Allowed",
        "The method was refused: a device or web server that does not know RDG_*.",
        REFUSED,
        METHOD,
        SPEC,
    ),
    Code::new(
        407,
        "Proxy Authentication Required",
        "A web proxy on the client's side wants credentials.",
        "CONNECT to the proxy in clear, answered 407.",
        &["Exception for the gateway on the proxy; netsh winhttp show proxy on the client."],
        SPEC,
    ),
    Code::new(
        408,
        "Request Timeout",
        "The server waited too long for the request.",
        REFUSED,
        BACKEND,
        SPEC,
    ),
    Code::new(
        411,
        "Length Required",
        "A device does not accept the gateway's long-lived body.",
        REFUSED,
        METHOD,
        SPEC,
    ),
    Code::new(
        413,
        "Content Too Large",
        "A device limits the size of the body, which is unlimited by design here.",
        REFUSED,
        METHOD,
        SPEC,
    ),
    Code::new(429, "Too Many Requests", "A device limits the rate.", REFUSED, BACKEND, SPEC),
    Code::new(
        500,
        "Internal Server Error",
        "The gateway's web server failed.",
        REFUSED,
        BACKEND,
        SPEC,
    ),
    Code::new(
        501,
        "Not Implemented",
        "The method is not implemented: a device that does not know RDG_*.",
        REFUSED,
        METHOD,
        SPEC,
    ),
    Code::new(
        502,
        "Bad Gateway",
        "A proxy before the gateway got no good answer from it.",
        REFUSED,
        BACKEND,
        SPEC,
    ),
    Code::new(
        503,
        "Service Unavailable",
        "The service is down or not published. To POST /KdcProxy: no KDC proxy, and the client falls back to NTLM.",
        "To the gateway: a short answer and FIN. To the KDC proxy: HTTP/2 HEADERS with :status 503, then the client's NTLM.",
        &[
            "Get-Service TSGateway, KPSSVC; application pools in IIS.",
            "Publish the KDC proxy (service KPSSVC, path /KdcProxy) where Kerberos is meant.",
        ],
        SPEC,
    ),
    Code::new(
        504,
        "Gateway Timeout",
        "A proxy before the gateway waited too long for it.",
        REFUSED,
        BACKEND,
        SPEC,
    ),
];
