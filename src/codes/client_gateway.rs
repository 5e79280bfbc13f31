//! The client's disconnect reasons of the RD Gateway family, 0x03000000 + n.

use super::Code;

const SOURCE: &str = "Microsoft TechNet wiki 37870 (GetErrorDescription); not on the reference page";

const HTTP: &str = "TLS to the gateway on 443, then a close within the first messages. Without keys the HTTP status is hidden; with keys it is 401 or 403, or an E_PROXY code in a tunnel packet.";
const TLS: &str =
    "TLS to the gateway: server flight, then the client's alert or close. Up to TLS 1.2 the certificate is readable.";
const REACH: &str = "DNS failure for the gateway's name, SYNs to 443 unanswered or refused, or a connection that breaks in TLS.";
const POLICY: &str = "TLS and HTTP authentication done; the gateway answers the tunnel authorisation or the channel request with a short error, and the client closes.";
const LATER: &str = "A working gateway connection that the gateway ends: CLOSE_CHANNEL, then FIN or RST.";
const TARGET: &str = "The gateway's channel response comes after a delay of seconds and is an error; the connection from the gateway to the host is not in a capture taken at the client.";

const CREDENTIALS: &[&str] = &[
    "Type the gateway's credentials again, with the domain; remove saved ones: cmdkey /list, then cmdkey /delete:TARGET.",
    "On the gateway: Microsoft-Windows-TerminalServices-Gateway/Operational, and Security event 4625 with its Sub Status.",
    "For members of Protected Users publish a KDC proxy: they cannot use NTLM.",
];
const CERTIFICATE: &[&str] = &[
    "Compare the certificate's names, dates and issuer with the gateway name in the .rdp file ('gatewayhostname').",
    "Renew or bind the right certificate on the gateway (RD Gateway Manager, Properties, SSL Certificate).",
    "If the issuer is an inspection device, exclude the gateway from TLS inspection (443 and UDP 3391).",
];
const ADDRESS: &[&str] = &[
    "Resolve-DnsName GATEWAY; Test-NetConnection GATEWAY -Port 443 from the client.",
    "Check 'gatewayhostname' in the .rdp file, and the publishing rule of the firewall or proxy in front of the gateway.",
];
const CAP: &[&str] = &[
    "RD Gateway Manager, Connection Authorization Policies: user and computer groups, and the authentication method (password or smart card).",
    "Event 201 in Microsoft-Windows-TerminalServices-Gateway/Operational names the user.",
];
const RAP: &[&str] = &[
    "RD Gateway Manager, Resource Authorization Policies: the user's group, the host in every form of its name that is used (NetBIOS and FQDN), the port.",
    "Event 301 in Microsoft-Windows-TerminalServices-Gateway/Operational names user and resource.",
];
const SERVER: &[&str] = &[
    "On the gateway: Get-Service TSGateway, memory and processor, the log Microsoft-Windows-TerminalServices-Gateway/Operational.",
    "Try another gateway of the farm, or later.",
];
const PROXY: &[&str] = &[
    "Ask the owner of the web proxy for an exception for the gateway; netsh winhttp show proxy shows what the client uses.",
    "Bypass the proxy for the gateway in the client's proxy settings.",
];
const LIMIT: &[&str] = &[
    "Raise or remove the limit in RD Gateway Manager (server properties, or the policy's Timeouts tab), if the limit is not meant.",
];
const AGAIN: &[&str] = &[
    "Connect again with the credentials typed anew.",
    "If it recurs: the gateway's log, and the clock of client and gateway.",
];

const fn gateway(
    n: u32,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new(0x0300_0000 + n, name, meaning, picture, remedy, SOURCE)
}

/// Microsoft documents sentences, not names, for this family: the names here are short forms of the sentences.
pub(super) const CODES: &[Code] = &[
    gateway(
        1,
        "gateway: bad user or password",
        "The user name or password for the gateway is wrong.",
        HTTP,
        CREDENTIALS,
    ),
    gateway(
        2,
        "gateway: revocation check failed",
        "The revocation of the gateway's certificate could not be checked.",
        "TLS to the gateway done, and requests for a CRL or OCSP answer (HTTP) that fail; then the client's close.",
        &[
            "Let the client reach the CRL and OCSP addresses that stand in the certificate: certutil -url CERT.cer.",
            "Publish the CRL of a private authority where clients outside can fetch it.",
        ],
    ),
    gateway(
        3,
        "gateway: name, dates or trust",
        "The gateway's certificate does not fit its name, has expired, or is not trusted.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        4,
        "gateway: certificate revoked",
        "The gateway's certificate was revoked.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        5,
        "gateway: identity not verified",
        "The gateway's identity could not be verified.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        6,
        "gateway: certificate name",
        "The name in the certificate is not the gateway's.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        7,
        "gateway: certificate expired",
        "The gateway's certificate has expired or was revoked.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        8,
        "gateway: error on the host",
        "The remote computer behind the gateway failed.",
        TARGET,
        &[
            "Test-NetConnection HOST -Port 3389 on the gateway.",
            "Get-Service TermService on the host.",
        ],
    ),
    gateway(
        9,
        "gateway: sending failed",
        "Data could not be sent to the gateway.",
        REACH,
        ADDRESS,
    ),
    gateway(
        10,
        "gateway: receiving failed",
        "Data could not be received from the gateway.",
        REACH,
        ADDRESS,
    ),
    gateway(
        11,
        "gateway: other logon method",
        "The gateway wants another way to log on.",
        HTTP,
        CAP,
    ),
    gateway(
        12,
        "gateway: address",
        "The gateway's address cannot be reached or is wrong.",
        REACH,
        ADDRESS,
    ),
    gateway(
        13,
        "gateway: unavailable",
        "The gateway is unavailable for the moment.",
        REACH,
        SERVER,
    ),
    gateway(
        15,
        "gateway: low on resources",
        "The gateway is low on resources.",
        LATER,
        SERVER,
    ),
    gateway(
        21,
        "gateway: bad user or password",
        "The user name or password for the gateway is wrong.",
        HTTP,
        CREDENTIALS,
    ),
    gateway(
        24,
        "gateway: connection ended",
        "The gateway ended the connection.",
        LATER,
        SERVER,
    ),
    gateway(
        25,
        "gateway: ended by administrator",
        "The gateway's administrator ended the connection.",
        LATER,
        &["Ask the administrator of the gateway."],
    ),
    gateway(
        26,
        "gateway: credentials or card",
        "The credentials or the smart card were not accepted.",
        HTTP,
        CREDENTIALS,
    ),
    gateway(
        27,
        "gateway: resource policy (RAP)",
        "The resource authorization policy does not permit this user, this host, or this form of its name.",
        POLICY,
        RAP,
    ),
    gateway(
        28,
        "gateway: connection policy (CAP)",
        "The connection authorization policy does not permit this user, computer or authentication method.",
        POLICY,
        CAP,
    ),
    gateway(
        31,
        "gateway: access restricted",
        "Access to the gateway is restricted.",
        HTTP,
        CAP,
    ),
    gateway(
        32,
        "gateway: web proxy wants authentication",
        "A web proxy on the way wants authentication.",
        "CONNECT to a web proxy, answered 407.",
        PROXY,
    ),
    gateway(
        33,
        "gateway: password",
        "The password has expired or must change.",
        HTTP,
        &["Change the password first, for example on the RD Web password page."],
    ),
    gateway(
        34,
        "gateway: maximum of connections",
        "The gateway has its maximum of connections.",
        POLICY,
        LIMIT,
    ),
    gateway(
        35,
        "gateway: not supported",
        "The gateway does not support the request.",
        POLICY,
        &["Update the gateway or the client, whichever is older."],
    ),
    gateway(
        36,
        "gateway: client capability",
        "The client lacks a capability that the gateway wants.",
        POLICY,
        &["Update the client."],
    ),
    gateway(
        37,
        "gateway: incompatible",
        "Client and gateway are not compatible.",
        POLICY,
        &["Update the gateway or the client, whichever is older."],
    ),
    gateway(
        40,
        "gateway: no certificate",
        "The gateway has no certificate to use.",
        TLS,
        CERTIFICATE,
    ),
    gateway(
        41,
        "gateway: not allowed by the client",
        "The gateway is not in the client's list of allowed gateways.",
        "No connection to the gateway at all.",
        &["Client policy 'Set RD Gateway server address'; use the gateway that it names."],
    ),
    gateway(
        47,
        "gateway: firewall credentials missing",
        "A firewall before the gateway wants credentials, and none were given.",
        HTTP,
        PROXY,
    ),
    gateway(
        48,
        "gateway: firewall credentials",
        "A firewall before the gateway did not accept the credentials.",
        HTTP,
        PROXY,
    ),
    gateway(
        50,
        "gateway: idle time",
        "The gateway's idle time limit was reached.",
        LATER,
        LIMIT,
    ),
    gateway(
        51,
        "gateway: session time",
        "The gateway's session time limit was reached.",
        LATER,
        LIMIT,
    ),
    gateway(
        52,
        "gateway: bad cookie",
        "The authentication cookie is not valid.",
        POLICY,
        AGAIN,
    ),
    gateway(
        53,
        "gateway: cookie rejected",
        "The authentication cookie was rejected.",
        POLICY,
        AGAIN,
    ),
    gateway(
        55,
        "gateway: authentication method",
        "The gateway expects another authentication method.",
        HTTP,
        CAP,
    ),
    gateway(
        56,
        "gateway: re-authentication failed",
        "The periodic authentication failed.",
        LATER,
        AGAIN,
    ),
    gateway(
        57,
        "gateway: re-authorization failed",
        "The periodic authorization failed: the policies changed.",
        LATER,
        CAP,
    ),
    gateway(
        59,
        "gateway: policy exchange",
        "The gateway could not exchange the redirection policy with the host.",
        POLICY,
        &[
            "Update the host, or take 'Only allow client connections to hosts that enforce RD Gateway device redirection' out of the connection policy.",
        ],
    ),
    gateway(
        65,
        "gateway: health check",
        "The repeated health (NAP) check failed.",
        LATER,
        CAP,
    ),
    gateway(
        66,
        "gateway: cookie too large",
        "The authentication cookie is too large.",
        POLICY,
        AGAIN,
    ),
    gateway(
        68,
        "gateway: forward proxy",
        "A forward proxy is configured wrongly.",
        "CONNECT to a web proxy with an error answer.",
        PROXY,
    ),
    gateway(69, "gateway: no permission", "No permission for this resource.", POLICY, RAP),
    gateway(
        70,
        "gateway: no resources",
        "No resource is available for the user.",
        POLICY,
        RAP,
    ),
    gateway(
        74,
        "gateway: ports blocked",
        "The HTTPS ports that the gateway needs are blocked.",
        REACH,
        ADDRESS,
    ),
];
