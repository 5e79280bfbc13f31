//! The disconnect reasons of the Windows client: the "error code" in mstsc's window and the discReason of its control.

use super::{Code, Notation, Range, Space, as_it_is, client_gateway};

const PAGE: &str = "learn.microsoft.com: IMsTscAxEvents::OnDisconnected";
const WIKI: &str = "Microsoft TechNet wiki 37870 (GetErrorDescription); not on the reference page";

/// mstsc disconnect reasons, the gateway family included.
pub static CLIENT: Space = Space {
    slug: "client",
    title: "client disconnect reason (mstsc, discReason)",
    about: "Made up by the client itself, never sent on the wire: the first number in mstsc's 'Error code: 0x904, Extended error code: 0x7'.",
    notation: Notation::Hex,
    ranges: &[
        Range {
            from: 0x0300_0000,
            to: 0x0300_00FF,
            what: "a client disconnect reason of the RD Gateway family (0x03000000 + n)",
        },
        Range {
            from: 0x0200_0000,
            to: 0x0200_00FF,
            what: "a client disconnect reason of the RemoteApp family",
        },
        Range {
            from: 4,
            to: 0x3FFF,
            what: "a client disconnect reason that Microsoft does not document; the low byte is by habit the stage (4 network, 6 security or memory, 7 TLS and CredSSP, 8 timing, licensing and names, 9 NLA policy, 0xA smart card)",
        },
    ],
    tables: &[DOCUMENTED, WIKI_ONLY, client_gateway::CODES],
    canonical: as_it_is,
};

const NAME: &str = "A DNS failure (NXDOMAIN, SERVFAIL, no answer) and no SYN afterwards.";
const NAME_REMEDY: &[&str] = &[
    "Resolve-DnsName HOST (or nslookup HOST) on the client, with the same VPN state as when it failed; try the full name.",
    "Check the client's DNS servers and search suffixes; on a VPN, its split-DNS rules.",
    "Correct the record, the .rdp file's 'full address', or the hosts file.",
];
const CONNECT: &str =
    "SYNs unanswered, answered with RST, or answered with ICMP: which of the three it is names the party to ask.";
const CONNECT_REMEDY: &[&str] = &[
    "Test-NetConnection HOST -Port 3389 from the client; then the same from a machine next to the host.",
    "On the host: Get-Service TermService; Get-NetTCPConnection -LocalPort 3389 -State Listen; the firewall group 'Remote Desktop'.",
    "Ask the owner of the firewall between them with the frame of the first SYN.",
];
const RESET: &str = "RST (or a run of unanswered retransmissions) on the client's connection; where it came from is the question to put to the capture.";
const RESET_REMEDY: &[&str] = &[
    "Run rdpwhy on a capture of the failure and act on the phase and the side that it names.",
    "Capture on both ends at the same time: a RST that only one end sent, or neither, names the path.",
];
const MEMORY: &str = "Nothing on the wire but the client's own close.";
const MEMORY_REMEDY: &[&str] = &[
    "Free memory on the client, close other sessions, restart it.",
    "Lower the session's colour depth, resolution or number of monitors.",
];
const SECURITY: &str = "Standard RDP Security (no TLS), or a TLS connection with damaged contents; then the client's close.";
const SECURITY_REMEDY: &[&str] = &[
    "Update both sides and let them use TLS (the server's policy 'Require use of specific security layer': SSL or Negotiate).",
    "Look for a device that rewrites the stream; compare captures of both ends.",
    "On the host check the policies 'Set client connection encryption level' and FIPS: both sides must agree.",
];
const INTERNAL_REMEDY: &[&str] = &[
    "Read the client's event log: Microsoft-Windows-TerminalServices-RDPClient/Operational.",
    "Update the client; try another client to tell the client from the host.",
];
const LOGON: &str = "NLA: TLS, then the CredSSP exchange, the server's short refusal after AUTHENTICATE (or a Kerberos error on port 88), and the client's RST.";

const DOCUMENTED: &[Code] = &[
    Code::new(0x0, "disconnectReasonNoInfo", "No information is available.", MEMORY, INTERNAL_REMEDY, PAGE),
    Code::new(0x1, "disconnectReasonLocalNotError", "The client disconnected on its own. Not an error.", "The client's RST,ACK or FIN.", &["Nothing to cure."], PAGE),
    Code::new(0x2, "disconnectReasonRemoteByUser", "The user disconnected at the other end. Not an error.", "Set Error Info and an MCS Disconnect Provider Ultimatum from the server, the client's RST,ACK.", &["Nothing to cure; the extended code says who did it."], PAGE),
    Code::new(0x3, "disconnectReasonByServer", "The server disconnected. Not an error by itself: the extended code says why.", "Set Error Info and an MCS Disconnect Provider Ultimatum from the server, the client's RST,ACK.", &["Explain the extended code: 0xB and 0xC are ordinary, 0x3 and 0x4 are time limits, 0x7 and 0x9 are refusals, 0x101 and above are licensing."], PAGE)
        .not("0x3 is not an error as such: with extended 0xB or 0xC it is an ordinary end."),
    Code::new(0x104, "disconnectReasonDNSLookupFailed", "The name could not be resolved.", NAME, NAME_REMEDY, PAGE)
        .not("0x104 is no firewall error: nothing was sent to the host yet."),
    Code::new(0x106, "disconnectReasonOutOfMemory", "The client ran out of memory.", MEMORY, MEMORY_REMEDY, PAGE),
    Code::new(0x108, "disconnectReasonConnectionTimedOut", "The connection timed out.", "SYNs without answer, or a connection on which one side stopped answering.", CONNECT_REMEDY, PAGE),
    Code::new(0x204, "disconnectReasonSocketConnectFailed", "The TCP connection could not be made.", CONNECT, CONNECT_REMEDY, PAGE)
        .not("0x204 does not say that a firewall did it: a stopped service, a wrong address and a switched-off host give the same number. The packets tell them apart."),
    Code::new(0x206, "disconnectReasonOutOfMemory2", "The client ran out of memory.", MEMORY, MEMORY_REMEDY, PAGE),
    Code::new(0x208, "disconnectReasonHostNotFound", "The host was not found.", NAME, NAME_REMEDY, PAGE),
    Code::new(0x304, "disconnectReasonWinsockSendFailed", "Sending failed: the connection was gone under the client.", RESET, RESET_REMEDY, PAGE),
    Code::new(0x306, "disconnectReasonOutOfMemory3", "The client ran out of memory.", MEMORY, MEMORY_REMEDY, PAGE),
    Code::new(0x308, "disconnectReasonInvalidIPAddr", "The IP address is not valid.", "No SYN at all.", &["Correct the address or name in the .rdp file ('full address')."], PAGE),
    Code::new(0x404, "disconnectReasonSocketRecvFailed", "Receiving failed: the connection was reset.", RESET, RESET_REMEDY, PAGE),
    Code::new(0x406, "disconnectReasonInvalidSecurityData", "Security data from the server is not valid.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0x408, "disconnectReasonInternalError", "Internal error of the client.", MEMORY, INTERNAL_REMEDY, PAGE),
    Code::new(0x506, "disconnectReasonInvalidEncryption", "The encryption method is not valid.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0x508, "disconnectReasonDNSLookupFailed2", "The name could not be resolved.", NAME, NAME_REMEDY, PAGE),
    Code::new(0x604, "disconnectReasonGetHostByNameFailed", "The name could not be resolved (gethostbyname failed).", NAME, NAME_REMEDY, PAGE),
    Code::new(0x606, "disconnectReasonInvalidServerSecurityInfo", "The server's security data is not valid.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0x608, "disconnectReasonTimerError", "A timer of the client failed.", MEMORY, INTERNAL_REMEDY, PAGE),
    Code::new(0x704, "disconnectReasonTimeoutOccurred", "A time-out during the connection.", "A long silence after the last message that was answered: SYN, Connection Request, ClientHello or CredSSP.", &["Find the message that got no answer, and ask its receiver: a slow host (CPU, disk, certificate revocation check) or a path that drops.", "Test-NetConnection HOST -Port 3389; then compare with a client in the host's own network."], PAGE)
        .not("0x708 is often called the time-out; 0x704 is the time-out, 0x708 says that a console session is in progress."),
    Code::new(0x706, "disconnectReasonServerCertificateUnpackErr", "The server's certificate could not be unpacked (Standard RDP Security).", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0x804, "disconnectReasonInvalidIP", "Bad IP address.", "No SYN at all.", &["Correct the address in the .rdp file ('full address'), check the port after the colon."], PAGE),
    Code::new(0x807, "SSL_ERR_LOGON_FAILURE", "NLA: the logon failed.", LOGON, &["Type user and password again, with the domain (DOMAIN\\user or user@domain).", "Remove saved ones: cmdkey /list, then cmdkey /delete:TERMSRV/HOST.", "On the host read Security event 4625: its Sub Status is the real reason."], PAGE),
    Code::new(0x808, "disconnectReasonLicensingFailed", "The licensing exchange failed.", "The connection ends after Client Info, within the licensing exchange.", &["Explain the extended code (0x100 to 0x10A) first.", "On the host: Remote Desktop Licensing Diagnoser (lsdiag.msc); licence server and mode.", "On the client, if its stored licence is damaged: back up and delete HKLM\\SOFTWARE\\Microsoft\\MSLicensing, then start mstsc once as administrator."], PAGE),
    Code::new(0x904, "disconnectReasonAtClientWinsockFDCLOSE", "The client's TCP connection was closed by the other side, or by something between them. It says that, and nothing about why.", "A FIN or RST toward the client with no Disconnect Provider Ultimatum before it. The last thing that was said before it is the finding: see the phase.", &[
        "Capture on the client while it fails, and run rdpwhy: the phase and the sender of the close decide what comes next.",
        "Closed before the Connection Confirm or right after the ClientHello: on the host check Schannel events 36870, 36871, 36874, TermService's state, and read access of NETWORK SERVICE to the private key of the RDP certificate.",
        "Closed after the client's AUTHENTICATE: treat it as a refused logon; Security event 4625 on the host.",
        "Closed in a working session after an idle time: compare the gap with the timers of firewalls and NAT on the path; KeepAliveEnable and KeepAliveInterval under HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services on the host hold them open.",
    ], PAGE)
        .not("0x904 is not licensing (0x808 failed, 0x908 timed out), not 'transport layer 7', not a settings cache, and a certificate is only one of its causes."),
    Code::new(0x906, "disconnectReasonInternalSecurityError", "Internal security error of the client.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0x908, "disconnectReasonLicensingTimeout", "The licensing exchange timed out.", "Client Info sent, and no licensing message (or no end of the exchange) from the host.", &["Can the host reach its licence server (RPC: TCP 135 and dynamic ports)?", "On the host: Remote Desktop Licensing Diagnoser (lsdiag.msc).", "Look for loss between client and host during the exchange."], PAGE)
        .not("This one, 0x908, is licensing; 0x904 is not, although many pages mix them up."),
    Code::new(0xA06, "disconnectReasonInternalSecurityError2", "Internal security error of the client.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0xA07, "SSL_ERR_NO_SUCH_USER", "NLA: the user does not exist.", LOGON, &["Check spelling and domain; for a local account write HOST\\user.", "On the host read Security event 4625 (Sub Status 0xC0000064)."], PAGE),
    Code::new(0xB06, "disconnectReasonEncryptionError", "An encryption error.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0xB07, "SSL_ERR_ACCOUNT_DISABLED", "NLA: the account is disabled.", LOGON, &["Enable the account (Enable-ADAccount, or net user NAME /active:yes for a local one)."], PAGE)
        .not("0xB07 is the disabled account; 'NLA required' is 0xB09."),
    Code::new(0xC06, "disconnectReasonDecryptionError", "A decryption error.", SECURITY, SECURITY_REMEDY, PAGE),
    Code::new(0xC07, "SSL_ERR_ACCOUNT_RESTRICTION", "NLA: an account restriction forbids the logon (Protected Users over NTLM, blank password, policy).", LOGON, &["Make Kerberos possible: use the host's full name, let the client reach a domain controller on port 88 or a KDC proxy.", "Blank passwords may not be used over the network: set a password.", "On the host read Security event 4625 for the restriction."], PAGE),
    Code::new(0xC08, "disconnectReasonClientDecompressionError", "Data from the server could not be unpacked.", "An established session that the client ends.", &["Update the client; as a test set compression:i:0 in the .rdp file."], PAGE),
    Code::new(0xD07, "SSL_ERR_ACCOUNT_LOCKED_OUT", "NLA: the account is locked out.", LOGON, &["Find what locks it (Security event 4740 on the domain controller) before unlocking it (Unlock-ADAccount)."], PAGE),
    Code::new(0xE07, "SSL_ERR_ACCOUNT_EXPIRED", "NLA: the account has expired.", LOGON, &["Extend it: Set-ADAccountExpiration."], PAGE),
    Code::new(0xF07, "SSL_ERR_PASSWORD_EXPIRED", "NLA: the password has expired.", LOGON, &["Change it at the console, on the web (RD Web password page) or in another session: NLA cannot change it."], PAGE),
    Code::new(0x1207, "SSL_ERR_PASSWORD_MUST_CHANGE", "NLA: the password must change before the first logon.", LOGON, &["Change it elsewhere first, or clear 'User must change password at next logon'."], PAGE),
    Code::new(0x1607, "SSL_ERR_DELEGATION_POLICY", "Policy on the client does not allow sending these credentials to this server.", "The client closes after the server's CHALLENGE or pubKeyAuth; nothing more is said.", &["Make Kerberos work (full host name, domain controller reachable): mutual authentication satisfies the default policy.", "Add TERMSRV/HOST to the policy 'Allow delegating default (or saved) credentials' under Computer Configuration, Administrative Templates, System, Credentials Delegation."], PAGE),
    Code::new(0x1707, "SSL_ERR_POLICY_NTLM_ONLY", "Delegation needs mutual authentication, and only NTLM was possible.", "NTLM in the first CredSSP message, the client closes without sending credentials.", &["Use the host's full name and let the client reach a domain controller, so that Kerberos is used.", "Where NTLM is meant: the policy '... with NTLM-only server authentication' for that server alone."], PAGE),
    Code::new(0x1807, "SSL_ERR_NO_AUTHENTICATING_AUTHORITY", "No domain controller could be reached, or the domain is wrong.", "Port 88 unanswered or absent, SRV lookups without answer; the CredSSP exchange ends early.", &["nltest /dsgetdc:DOMAIN on client and host; DNS SRV records _kerberos._tcp.dc._msdcs.DOMAIN.", "From outside: VPN, or a KDC proxy on the gateway."], PAGE),
    Code::new(0x1B07, "SSL_ERR_CERT_EXPIRED", "The server's certificate has expired or is not valid, or the client's clock is wrong.", "Server flight, then the client's alert or close.", &["Compare the certificate's dates with both clocks; correct the wrong clock first.", "Renew and bind the certificate."], PAGE),
    Code::new(0x1C07, "SSL_ERR_SMARTCARD_WRONG_PIN", "Wrong smart card PIN.", "A close by the client in CredSSP.", &["Type the PIN again; mind the counter: the card blocks."], PAGE),
    Code::new(0x2107, "SSL_ERR_FRESH_CRED_REQUIRED_BY_SERVER", "The server does not accept saved credentials.", "Set Error Info 0xA or an early close after CredSSP.", &["Type the credentials; the policy on the host is 'Always prompt for password upon connection'."], PAGE),
    Code::new(0x2207, "SSL_ERR_SMARTCARD_CARD_BLOCKED", "The smart card is blocked.", "A close by the client in CredSSP.", &["Have the card unblocked with its PUK or by its issuer."], PAGE),
];

const NLA_REFUSED: &str = "Connection Confirm without the protocol that the client's policy wants; the client closes.";

const WIKI_ONLY: &[Code] = &[
    Code::new(
        0x10A,
        "smart card service not running",
        "The smart card service is not running on the client.",
        MEMORY,
        &["Start-Service SCardSvr on the client."],
        WIKI,
    ),
    Code::new(
        0x20A,
        "no smart card reader",
        "No smart card reader was found.",
        MEMORY,
        &["Plug in the reader; check its driver."],
        WIKI,
    ),
    Code::new(
        0x30A,
        "no smart card",
        "No card is inserted.",
        MEMORY,
        &["Insert the card."],
        WIKI,
    ),
    Code::new(
        0x40A,
        "smart card subsystem error",
        "The smart card subsystem failed.",
        MEMORY,
        &["certutil -scinfo on the client; restart SCardSvr."],
        WIKI,
    ),
    Code::new(
        0x708,
        "console session in progress",
        "A console session is in progress.",
        "The server ends the connection after it was set up.",
        &["End the other connection to the console session (query session, logoff ID)."],
        WIKI,
    )
    .not("0x708 is not the time-out; that is 0x704."),
    Code::new(
        0x907,
        "unexpected server certificate",
        "The server's certificate is not the one expected.",
        "Server flight, then the client's close.",
        &[
            "Compare the certificate's fingerprint with the host's own before accepting it.",
            "Look for TLS inspection or a wrong DNS record.",
        ],
        WIKI,
    ),
    Code::new(
        0xB04,
        "generic connect failure",
        "Cannot connect; no reason given.",
        CONNECT,
        CONNECT_REMEDY,
        WIKI,
    ),
    Code::new(
        0xB09,
        "NLA required by server",
        "The server requires Network Level Authentication and the client does not do it.",
        "Connection Confirm with failure 5, HYBRID_REQUIRED_BY_SERVER.",
        &[
            "Update the client and enable NLA in it (enablecredsspsupport:i:1).",
            "If this came after a refused logon, solve that one first.",
        ],
        WIKI,
    )
    .not("0xB09 is 'NLA required'; 0xB07 is a disabled account."),
    Code::new(
        0xD09,
        "NLA required by client policy",
        "The client's policy wants NLA and the server does not offer it.",
        NLA_REFUSED,
        &["Enable NLA on the server; it is the default since Windows Server 2012."],
        WIKI,
    ),
    Code::new(
        0xE06,
        "FIPS level not supported",
        "The client cannot do the FIPS level that the server wants.",
        SECURITY,
        SECURITY_REMEDY,
        WIKI,
    ),
    Code::new(
        0xE08,
        "automatic reconnection failed",
        "The client could not reconnect by itself.",
        RESET,
        RESET_REMEDY,
        WIKI,
    ),
    Code::new(
        0xE09,
        "Restricted Admin not supported",
        "The server does not support Restricted Admin mode (or Remote Credential Guard).",
        "Connection Request with flag 0x01 or 0x02, Connection Confirm without 0x08 or 0x10; the client closes.",
        &[
            "Update the host; DisableRestrictedAdmin = 0 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Lsa on it permits the mode.",
            "Connect without /restrictedAdmin or /remoteGuard if the host is trusted with the credentials.",
        ],
        WIKI,
    ),
    Code::new(
        0xF08,
        "credentials may not be sent",
        "Delegation policy does not allow sending the credentials.",
        "The client closes in CredSSP before sending credentials.",
        &["Policy 'Allow delegating ... credentials' for TERMSRV/HOST; better: make Kerberos work."],
        WIKI,
    ),
    Code::new(
        0x1007,
        "logon hours",
        "The account may not log on at this time.",
        LOGON,
        &["Logon hours of the account (Active Directory Users and Computers, Account tab)."],
        WIKI,
    ),
    Code::new(
        0x1008,
        "low video resources",
        "The client has too few video resources.",
        MEMORY,
        MEMORY_REMEDY,
        WIKI,
    ),
    Code::new(
        0x1107,
        "workstation restriction",
        "The account may log on only from other computers.",
        LOGON,
        &["'Log On To' list of the account: the client's name must be in it."],
        WIKI,
    ),
    Code::new(
        0x1307,
        "logon type not granted",
        "The account lacks the right to log on this way.",
        LOGON,
        &[
            "'Allow log on through Remote Desktop Services' and 'Access this computer from the network' on the host; group Remote Desktop Users.",
        ],
        WIKI,
    ),
    Code::new(
        0x1407,
        "Kerberos user-to-user required",
        "The host wants Kerberos User2User, which was not possible.",
        LOGON,
        &["Use the host's full name; let the client reach a domain controller on port 88."],
        WIKI,
    ),
    Code::new(
        0x1D07,
        "clock difference",
        "The clocks of client and host, or domain controller, differ too much.",
        "KRB_AP_ERR_SKEW (37) on port 88, or a refused CredSSP exchange.",
        &[
            "w32tm /query /status on both, then w32tm /resync.",
            "On virtual machines check the hypervisor's time synchronisation.",
        ],
        WIKI,
    ),
    Code::new(
        0x2507,
        "RemoteApp reconnection failed",
        "A RemoteApp program could not reconnect by itself.",
        RESET,
        RESET_REMEDY,
        WIKI,
    ),
    Code::new(
        0x2604,
        "version mismatch",
        "The versions of client and server do not fit.",
        "A close by the client after the server's first data.",
        &["Update the older side."],
        WIKI,
    ),
    Code::new(
        0x0200_0001,
        "RemoteApp reconnection failed (session)",
        "A RemoteApp session could not be reconnected.",
        RESET,
        RESET_REMEDY,
        WIKI,
    ),
    Code::new(
        0x0200_0002,
        "RemoteApp not supported",
        "The server does not support RemoteApp.",
        "Set Error Info or a close after activation.",
        &["Publish the program on the host, or connect to the full desktop."],
        WIKI,
    ),
];
