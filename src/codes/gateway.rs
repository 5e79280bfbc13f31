//! RD Gateway codes: the status of tunnel, authorisation and channel responses.

use super::{Code, Notation, Range, Space};

const SPEC: &str = "MS-TSGU 2.2.6 (return codes)";
const WIN32: &str = "MS-ERREF 2.2 (Win32 error codes), returned as MS-TSGU 2.2.6 permits";

/// RD Gateway status codes (`E_PROXY_*`).
pub static GATEWAY: Space = Space {
    slug: "gateway",
    title: "RD Gateway status (E_PROXY_*)",
    about: "Sent by the gateway in its handshake, tunnel, authorisation and channel responses and in close packets, inside the TLS connection on 443. The same code comes bare (0x59DA) or as an HRESULT (0x800759DA).",
    notation: Notation::Hex,
    ranges: &[
        Range {
            from: 0x8007_59D8,
            to: 0x8007_5A00,
            what: "an RD Gateway code (E_PROXY_*) as an HRESULT",
        },
        Range {
            from: 0x59D8,
            to: 0x5A00,
            what: "an RD Gateway code (E_PROXY_*) without the HRESULT prefix",
        },
        Range {
            from: 0x8007_0000,
            to: 0x8007_FFFF,
            what: "a Win32 error wrapped in an HRESULT: the low 16 bits are the Win32 number (net helpmsg N)",
        },
    ],
    tables: &[CODES],
    canonical: other_encoding,
};

/// The same code with, or without, the HRESULT prefix of Win32 errors.
fn other_encoding(number: u32) -> u32 {
    match number >> 16 {
        0x8007 => number & 0xFFFF,
        0 => 0x8007_0000 | number,
        _ => number,
    }
}

const AUTHORIZATION: &str = "With keys: the tunnel authorisation response carries it. Without: 42 bytes (TLS 1.2 GCM) from the gateway at once after the client's 72, then the client closes.";
const CHANNEL: &str = "With keys: the channel response carries it. Without: a record of 42 bytes from the gateway where 1901 or more were expected, then the client closes.";
const CLOSE: &str = "A working gateway connection; CLOSE_CHANNEL from the gateway, then a close.";
const SERVER_LOG: &[&str] = &[
    "On the gateway: Microsoft-Windows-TerminalServices-Gateway/Operational at that time; Get-Service TSGateway.",
    "Restart the service TSGateway when nobody needs it.",
];
const CAP: &[&str] = &[
    "RD Gateway Manager, Connection Authorization Policies: user group, computer group, authentication method.",
    "Event 201 on the gateway names user and policy; with a central NPS look at its Security events 6272 and 6273.",
];
const RAP: &[&str] = &[
    "RD Gateway Manager, Resource Authorization Policies: the user's group; the host in each form of its name that clients use (NetBIOS, FQDN, address); the port.",
    "Event 301 on the gateway names user and resource.",
];
const LIMITS: &[&str] =
    &["RD Gateway Manager: the limit of connections (server properties) and the time limits (policy, Timeouts)."];
const COOKIE: &[&str] = &[
    "Connect again; compare the clocks of gateway and issuer of the cookie.",
    "Check the pluggable authentication module (PAA) of the gateway.",
];

const fn proxy(
    number: u32,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new(number, name, meaning, picture, remedy, SPEC)
}

const CODES: &[Code] = &[
    proxy(
        0x8007_59D8,
        "E_PROXY_INTERNALERROR",
        "The gateway failed internally.",
        CLOSE,
        SERVER_LOG,
    ),
    proxy(
        0x8007_59DA,
        "E_PROXY_RAP_ACCESSDENIED",
        "No resource authorization policy (RAP) lets this user reach this host and port, in this form of its name.",
        CHANNEL,
        RAP,
    ),
    proxy(
        0x8007_59DB,
        "E_PROXY_NAP_ACCESSDENIED",
        "No connection authorization policy (CAP) lets this user in, from this computer, with this authentication method.",
        AUTHORIZATION,
        CAP,
    ),
    proxy(
        0x8007_59DD,
        "E_PROXY_TS_CONNECTFAILED",
        "The gateway could not open the TCP connection to the host.",
        "As for a channel refusal, but after a delay of seconds: the gateway waited for the host.",
        &[
            "On the gateway: Test-NetConnection HOST -Port 3389, and Resolve-DnsName HOST.",
            "Capture on the gateway toward the host: the same verdicts apply there (syn_dropped, port_closed ...).",
        ],
    ),
    proxy(
        0x8007_59DF,
        "E_PROXY_ALREADYDISCONNECTED",
        "The tunnel or channel is already gone.",
        CLOSE,
        SERVER_LOG,
    ),
    proxy(
        0x8007_59E9,
        "E_PROXY_CAPABILITYMISMATCH",
        "Version or capabilities of client and gateway do not fit.",
        AUTHORIZATION,
        &[
            "Update the older side.",
            "Policy on the gateway: does it demand a capability (consent message, device redirection) that the client lacks?",
        ],
    ),
    proxy(
        0x8007_59ED,
        "E_PROXY_QUARANTINE_ACCESSDENIED",
        "The health check (NAP quarantine) denies access; the client may go on.",
        AUTHORIZATION,
        CAP,
    ),
    proxy(
        0x8007_59EE,
        "E_PROXY_NOCERTAVAILABLE",
        "The gateway has no usable certificate.",
        CLOSE,
        &["RD Gateway Manager, Properties, SSL Certificate: bind a valid one."],
    ),
    proxy(
        0x8007_59F7,
        "E_PROXY_COOKIE_BADPACKET",
        "The authentication cookie is malformed.",
        AUTHORIZATION,
        COOKIE,
    ),
    proxy(
        0x8007_59F8,
        "E_PROXY_COOKIE_AUTHENTICATION_ACCESS_DENIED",
        "The authentication cookie was rejected.",
        AUTHORIZATION,
        COOKIE,
    ),
    proxy(
        0x8007_59F9,
        "E_PROXY_UNSUPPORTED_AUTHENTICATION_METHOD",
        "The gateway does not support the authentication method.",
        AUTHORIZATION,
        CAP,
    ),
    proxy(
        0x0000_59E6,
        "E_PROXY_MAXCONNECTIONSREACHED",
        "The gateway has its maximum of connections.",
        CHANNEL,
        LIMITS,
    ),
    proxy(
        0x0000_59E8,
        "E_PROXY_NOTSUPPORTED",
        "The gateway does not support the request.",
        CHANNEL,
        &["Update the older side."],
    ),
    proxy(
        0x0000_59F6,
        "E_PROXY_SESSIONTIMEOUT",
        "The gateway's session time limit was reached.",
        CLOSE,
        LIMITS,
    ),
    proxy(
        0x0000_59FA,
        "E_PROXY_REAUTH_AUTHN_FAILED",
        "The periodic authentication failed.",
        CLOSE,
        &["Connect again with the credentials typed anew; is the account locked, or the password changed?"],
    ),
    proxy(
        0x0000_59FB,
        "E_PROXY_REAUTH_CAP_FAILED",
        "The periodic check of the connection policy (CAP) failed.",
        CLOSE,
        CAP,
    ),
    proxy(
        0x0000_59FC,
        "E_PROXY_REAUTH_RAP_FAILED",
        "The periodic check of the resource policy (RAP) failed.",
        CLOSE,
        RAP,
    ),
    proxy(
        0x0000_59FD,
        "E_PROXY_SDR_NOT_SUPPORTED_BY_TS",
        "The host cannot exchange the device redirection policy.",
        CHANNEL,
        &[
            "Update the host, or take 'Only allow client connections to hosts that enforce RD Gateway device redirection' out of the connection policy.",
        ],
    ),
    proxy(
        0x0000_5A00,
        "E_PROXY_REAUTH_NAP_FAILED",
        "The periodic health check failed.",
        CLOSE,
        CAP,
    ),
    proxy(
        0x0000_04D4,
        "E_PROXY_CONNECTIONABORTED",
        "The connection was aborted.",
        CLOSE,
        SERVER_LOG,
    ),
    Code::new(
        0x0000_04CA,
        "ERROR_GRACEFUL_DISCONNECT",
        "An ordinary end.",
        CLOSE,
        &["Nothing to cure."],
        WIN32,
    ),
    Code::new(
        0x0000_0005,
        "ERROR_ACCESS_DENIED",
        "Access denied.",
        AUTHORIZATION,
        CAP,
        WIN32,
    ),
    Code::new(
        0x0000_0057,
        "ERROR_INVALID_PARAMETER",
        "A parameter is not valid.",
        CLOSE,
        &["Update the older side."],
        WIN32,
    ),
    Code::new(
        0x8009_030C,
        "SEC_E_LOGON_DENIED",
        "The gateway denied the logon.",
        "The HTTP authentication, or an extended authentication packet, ends with it.",
        &[
            "Type the gateway's credentials again; cmdkey /list and /delete.",
            "Security event 4625 on the gateway.",
        ],
        "MS-ERREF 2.1.1 (HRESULT)",
    ),
];
