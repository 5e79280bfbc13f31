//! What the two numbers of mstsc's window say together: error code and extended error code.

/// A pair of client disconnect reason and extended reason with something to say beyond its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// The client disconnect reason ("error code").
    pub reason: u32,
    /// The extended reason ("extended error code").
    pub extended: u32,
    /// One line.
    pub title: &'static str,
    /// What the two say together, and what they do not.
    pub meaning: &'static str,
    /// What a capture may show, and what each picture means: the ways to split the pair into causes.
    pub pictures: &'static [(&'static str, &'static str)],
    /// What to do, the safest first.
    pub remedy: &'static [&'static str],
    /// Popular claims, and what is true.
    pub not: &'static [(&'static str, &'static str)],
    /// The pages and sections behind it.
    pub source: &'static [&'static str],
}

const REASON: &str = "learn.microsoft.com: IMsTscAxEvents::OnDisconnected (discReason)";
const EXTENDED: &str = "learn.microsoft.com: ExtendedDisconnectReasonCode enumeration";
const ERRINFO: &str = "MS-RDPBCGR 2.2.5.1.1 (Set Error Info PDU Data)";

/// The pair with these two numbers, if it has an entry of its own.
pub(super) fn find(reason: u32, extended: u32) -> Option<&'static Pair> {
    PAIRS.iter().find(|pair| pair.reason == reason && pair.extended == extended)
}

pub(super) const PAIRS: &[Pair] = &[
    Pair {
        reason: 0x904,
        extended: 0x7,
        title: "The connection was closed under the client. The numbers name no cause; the packets do.",
        meaning: "0x904 (2308, disconnectReasonAtClientWinsockFDCLOSE) is the client saying that its TCP connection was closed by the other side, or by something between them. Extended 0x7 (exDiscReasonServerDeniedConnection) reads 'the server denied the connection'. It is proof of a denial only where the server got as far as saying so (Set Error Info 0x7, after Client Info). Clients are widely reported to show the same pair where the connection broke in the TLS handshake, when no server could have said anything. So: a path existed, the conversation was cut while it was being secured or set up, and neither number says by whom or why.",
        pictures: &[
            (
                "The Connection Request is answered with FIN or RST, or not at all",
                "The host turned the connection away before speaking (service starting or hung, connection limit, protection against password guessing), or another service is on the port.",
            ),
            (
                "Connection Confirm, ClientHello, then FIN or RST from the host without ServerHello or alert",
                "The host cannot use its certificate's private key, or a device on the path blocks TLS. Schannel events 36870, 36871 and 36874 on the host tell.",
            ),
            (
                "ClientHello, then a TLS alert from the host",
                "No TLS version or cipher suite in common (70, 40), or an internal error of the host (80).",
            ),
            (
                "Server flight, then the client's alert or close",
                "The client turned the certificate down: dates, names, issuer.",
            ),
            (
                "TLS done, CredSSP, and the host closes after the client's AUTHENTICATE",
                "A refused logon: password, account, NTLM policy.",
            ),
            (
                "Client Info, a short record from the host (Set Error Info), the 9-byte ultimatum",
                "Here the host really denied it: logons disabled, session limit, drain mode, rights.",
            ),
            (
                "An established session, a silence of a round number of minutes, then RST",
                "An idle timer of a firewall, NAT or load balancer.",
            ),
            (
                "A RST whose TTL, IP-ID or timing do not fit the host's other packets",
                "A device between client and host made it.",
            ),
            (
                "Retransmissions without answer, then a close",
                "Loss: a path, VPN or MTU problem.",
            ),
        ],
        remedy: &[
            "Capture on the client while it fails, and run rdpwhy on the file: it names the phase and the side that closed. Best with a second capture on the host at the same time.",
            "Test-NetConnection HOST -Port 3389 on the client. On the host: Get-Service TermService; System event log, source Schannel (36870, 36871, 36874, 36888); Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational.",
            "Closed right after the ClientHello: give NETWORK SERVICE read access to the private key of the RDP certificate, or let Windows make a new one (delete it from the machine's 'Remote Desktop' store, restart TermService).",
            "Closed after AUTHENTICATE: Security event 4625 on the host; cmdkey /delete:TERMSRV/HOST on the client.",
            "Closed by Set Error Info: change logon /query, query session, MaxInstanceCount, drain mode on the host.",
            "RST after idle time: raise the idle timer for TCP 3389 on the device, or KeepAliveEnable = 1 and KeepAliveInterval (minutes) under HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services on the host.",
            "As a test of the UDP side only: fClientDisableUDP = 1 under HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services\\Client; take it back if nothing changes.",
        ],
        not: &[
            (
                "0x7 is ERROR_ARENA_TRASHED, 'storage control blocks were destroyed', out of memory, or 'not a socket'",
                "Those are readings of the number in the tables of Win32 and Winsock. Here 7 is exDiscReasonServerDeniedConnection.",
            ),
            (
                "0x904 is a licensing error",
                "Licensing is 0x808 (failed) and 0x908 (timed out); 0x908 and 0x904 get mixed up. Deleting MSLicensing helps only where the connection ends within the licensing exchange.",
            ),
            (
                "0x904 / 0x7 is a dirty cache of licences, thumbnails or settings, or 'transport layer 7'",
                "Neither number has anything to do with it.",
            ),
            (
                "0x904 is a certificate error",
                "That is one of its causes. It is shown by a close right after the ClientHello, or by the client's alert.",
            ),
            (
                "0x7 proves that the server sent a denial",
                "Only if a Set Error Info is there: a short record from the host after Client Info, before the ultimatum.",
            ),
            (
                "Turn off NLA, set oracle remediation to 'Vulnerable'",
                "Both weaken the host and hide the cause. They are tests at most, to be taken back; the cure is to update the older side or to mend the logon.",
            ),
            (
                "Turn off TCP sequence number randomisation on the firewall",
                "It does not make resets, and is no cure.",
            ),
        ],
        source: &[REASON, EXTENDED, ERRINFO],
    },
    Pair {
        reason: 0x904,
        extended: 0x0,
        title: "The connection was closed under the client, and the server said nothing about it.",
        meaning: "0x904 (2308) is the client saying that its TCP connection was closed by the other side, or by something between them. Extended 0x0 adds nothing: no Set Error Info came. The packets decide.",
        pictures: &[
            (
                "Closed right after credentials were typed",
                "Refused in CredSSP without a code, or closed after AUTHENTICATE: look at Security event 4625 on the host.",
            ),
            (
                "Closed before or within TLS",
                "Certificate key, TLS versions, a device on the path.",
            ),
            (
                "Closed in a working session",
                "Idle timer, loss, restart of the host or of a device.",
            ),
        ],
        remedy: &[
            "Capture on the client while it fails and run rdpwhy: the phase and the sender of the close decide.",
            "On the host: Schannel and TerminalServices-RemoteConnectionManager event logs at that time.",
        ],
        not: &[("0x904 is a licensing error", "Licensing is 0x808 and 0x908.")],
        source: &[REASON, EXTENDED],
    },
    Pair {
        reason: 0x3,
        extended: 0x7,
        title: "The server ended the connection and said that it denies it.",
        meaning: "0x3 is an announced disconnection by the server; extended 0x7 is its reason, Set Error Info SERVER_DENIED_CONNECTION. Unlike 0x904 with 0x7 the server did speak.",
        pictures: &[(
            "Client Info, a short record from the host, the 9-byte ultimatum, a close",
            "The denial itself: logons disabled, session limit, drain mode.",
        )],
        remedy: &[
            "On the host: change logon /query, query session, MaxInstanceCount, drain mode of the host in its collection.",
            "Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational on the host.",
        ],
        not: &[("7 is ERROR_ARENA_TRASHED", "That is Win32 error 7, another table.")],
        source: &[REASON, EXTENDED, ERRINFO],
    },
    Pair {
        reason: 0x3,
        extended: 0xB,
        title: "An ordinary end: the user disconnected from within the session.",
        meaning: "0x3 is an announced disconnection by the server, 0xB says that it was started in the session by the user. Not an error.",
        pictures: &[(
            "An established session, Set Error Info, the ultimatum, the client's RST,ACK",
            "The ordinary end.",
        )],
        remedy: &["Nothing to cure. If nobody did it, look for scripts or tools in the session that call tsdiscon."],
        not: &[("0x3 is an error", "Not with 0xB or 0xC.")],
        source: &[REASON, EXTENDED, ERRINFO],
    },
    Pair {
        reason: 0x3,
        extended: 0xC,
        title: "An ordinary end: the user logged off.",
        meaning: "0x3 is an announced disconnection by the server, 0xC says that the user logged off. Not an error.",
        pictures: &[(
            "An established session, Set Error Info, the ultimatum, the client's RST,ACK",
            "The ordinary end.",
        )],
        remedy: &["Nothing to cure. A log-off right after the logon points to the user's profile or logon script."],
        not: &[("0x3 is an error", "Not with 0xB or 0xC.")],
        source: &[REASON, EXTENDED, ERRINFO],
    },
];
