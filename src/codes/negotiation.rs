//! The failureCode of RDP_NEG_FAILURE: what the server says in clear in the X.224 Connection Confirm.

use super::{Code, Notation, Space, as_it_is};

const SPEC: &str = "MS-RDPBCGR 2.2.1.2.2 (RDP Negotiation Failure)";

/// X.224 negotiation failure codes.
pub static NEGOTIATION: Space = Space {
    slug: "x224",
    title: "X.224 negotiation failure",
    about: "Sent by the server in clear, in the Connection Confirm, before TLS.",
    notation: Notation::Hex,
    ranges: &[],
    tables: &[CODES],
    canonical: as_it_is,
};

const CODES: &[Code] = &[
    Code::new(
        1,
        "SSL_REQUIRED_BY_SERVER",
        "The server insists on TLS, and the client did not offer it: it asked for Standard RDP Security only, or for CredSSP alone (Restricted Admin, Remote Credential Guard) at a server that has TLS without CredSSP.",
        "Connection Request without the TLS bit (or without a negotiation request at all), Connection Confirm with failure 1, the client closes.",
        &[
            "Let the client use TLS: mstsc does so by itself; FreeRDP: /sec:tls or /sec:nla.",
            "Replace a client too old to negotiate (before RDP 5.2 it could not).",
            "As a test only: SecurityLayer = 0 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\WinStations\\RDP-Tcp lets it in without TLS, which gives up the server's identity and strong encryption.",
        ],
        SPEC,
    ),
    Code::new(
        2,
        "SSL_NOT_ALLOWED_BY_SERVER",
        "The server is set to the RDP security layer only, and the client asked for TLS.",
        "Connection Confirm with failure 2, the client closes with RST; mstsc connects again within about a second asking for no protocol at all, and that connection may work.",
        &[
            "Set the server's policy 'Require use of specific security layer for remote (RDP) connections' to SSL or Negotiate (SecurityLayer = 2 or 1 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\WinStations\\RDP-Tcp).",
            "Judge the next connection of the same client before calling this a failure: mstsc falls back by itself.",
        ],
        SPEC,
    ),
    Code::new(
        3,
        "SSL_CERT_NOT_ON_SERVER",
        "The server has no certificate, or no private key, that it can use for TLS.",
        "Connection Confirm with failure 3. A key that exists and cannot be read more often shows as a close right after the ClientHello.",
        &[
            "On the server: look for Schannel events 36870 and 36871 and TerminalServices-RemoteConnectionManager events 1057 and 1058.",
            "Give NETWORK SERVICE read access to the private key of the certificate (certlm.msc, Remote Desktop or Personal store, Manage Private Keys), then restart TermService.",
            "Let Windows make a new self-signed certificate: delete the one in the machine's 'Remote Desktop' store and restart TermService; xrdp: check that the xrdp user can read key.pem.",
        ],
        SPEC,
    ),
    Code::new(
        4,
        "INCONSISTENT_FLAGS",
        "The list of protocols contradicts the current security approach: the client began TLS or CredSSP outside the negotiation.",
        "Connection Confirm with failure 4 after unusual first bytes from the client.",
        &[
            "Use the negotiating way to connect; look for a proxy or a client that starts TLS directly on the port.",
            "Update the client.",
        ],
        SPEC,
    ),
    Code::new(
        5,
        "HYBRID_REQUIRED_BY_SERVER",
        "The server requires Network Level Authentication (NLA, CredSSP), and this connection did not offer it.",
        "Connection Request without the HYBRID bits, Connection Confirm with failure 5, the client closes within a millisecond. After a refused NLA logon mstsc makes such a connection by itself: then the refused logon is the cause and this one is its echo.",
        &[
            "Let the client use NLA: update it, and in the .rdp file set enablecredsspsupport:i:1; FreeRDP: /sec:nla.",
            "If the earlier connection of the same client ended in a refused logon, solve that one: account, password, NTLM policy, clock.",
            "For a password that must change first, change it at another sign-in (console, web, Ctrl+Alt+End in another session): NLA cannot.",
            "As a test only, on a network that you trust: UserAuthentication = 0 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\WinStations\\RDP-Tcp; set it back afterwards.",
        ],
        SPEC,
    )
    .not("Turning NLA off is the popular advice. It hides the reason, exposes the logon screen to anybody who can reach the port, and is a test at most."),
    Code::new(
        6,
        "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
        "The server requires TLS with a client certificate (certificate-based user authentication).",
        "Connection Confirm with failure 6, the client closes.",
        &[
            "Use a client and an account that have the certificate the server asks for.",
            "Ask the server's administrator which security layer is meant; Windows hosts normally require NLA instead (failure 5).",
        ],
        SPEC,
    ),
];
