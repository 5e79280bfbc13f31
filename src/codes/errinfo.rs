//! Set Error Info codes of general meaning: what the server says before it ends a connection.

use super::{Code, Notation, Range, Space, as_it_is, errinfo_protocol};

const SPEC: &str = "MS-RDPBCGR 2.2.5.1.1 (Set Error Info PDU Data)";

/// Set Error Info codes.
pub static ERRINFO: Space = Space {
    slug: "errinfo",
    title: "Set Error Info (server, ERRINFO_*)",
    about: "Sent by the server inside the session (hidden by TLS; 36 bytes of plaintext), normally followed by an MCS Disconnect Provider Ultimatum.",
    notation: Notation::Hex,
    ranges: &[
        Range {
            from: 0x0001,
            to: 0x00FF,
            what: "a general Set Error Info code",
        },
        Range {
            from: 0x0100,
            to: 0x01FF,
            what: "a licensing Set Error Info code",
        },
        Range {
            from: 0x0400,
            to: 0x04FF,
            what: "a connection broker Set Error Info code",
        },
        Range {
            from: 0x1000,
            to: 0x7FFF,
            what: "a protocol Set Error Info code; mstsc shows it as 'protocol error (code: 0x...)'",
        },
    ],
    tables: &[GENERAL, LICENSE, BROKER, errinfo_protocol::CODES],
    canonical: as_it_is,
};

const ENDED: &str = "An established session; a short record from the server (Set Error Info), then the 9-byte ultimatum, then the client's RST,ACK.";
const ENDED_EARLY: &str = "Client Info sent, then a short record from the server before any Demand Active (Set Error Info), the 9-byte ultimatum and a close.";
const CRASH: &[&str] = &[
    "On the host: System and Application event logs at that time (TermDD, Winlogon, Windows Error Reporting), display driver and Windows updates.",
    "Try with another user, and with the basic display driver.",
];

pub(super) const GENERAL: &[Code] = &[
    Code::new(0x0, "ERRINFO_NONE", "No error. Sent in the middle of ordinary logons.", "A short record from the server with no end after it.", &["Nothing to cure."], SPEC),
    Code::new(0x1, "ERRINFO_RPC_INITIATED_DISCONNECT", "An administrative tool in another session disconnected it.", ENDED, &["Ask the administrators of the host; Microsoft-Windows-TerminalServices-LocalSessionManager/Operational event 40 has the reason."], SPEC),
    Code::new(0x2, "ERRINFO_RPC_INITIATED_LOGOFF", "An administrative tool in another session logged the user off.", ENDED, &["Ask the administrators of the host."], SPEC),
    Code::new(0x3, "ERRINFO_IDLE_TIMEOUT", "The idle session limit was reached.", "An established session, no input from the client for the length of the limit, then Set Error Info and the ultimatum.", &["Policy 'Set time limit for active but idle Remote Desktop Services sessions' (MaxIdleTime), if the limit is not meant."], SPEC),
    Code::new(0x4, "ERRINFO_LOGON_TIMEOUT", "The limit for active sessions was reached.", ENDED, &["Policy 'Set time limit for active Remote Desktop Services sessions' (MaxConnectionTime), if the limit is not meant."], SPEC),
    Code::new(0x5, "ERRINFO_DISCONNECTED_BY_OTHERCONNECTION", "The same user connected from elsewhere and took the session over.", "An established session that ends with Set Error Info while another connection to the same host succeeds.", &["Ask the user about the other place; policy 'Restrict Remote Desktop Services users to a single session' decides whether a second session is made instead."], SPEC),
    Code::new(0x6, "ERRINFO_OUT_OF_MEMORY", "The server ran out of memory.", ENDED_EARLY, &["Memory, commit charge and desktop heap of the host; log off sessions that are not used (query session)."], SPEC),
    Code::new(0x7, "ERRINFO_SERVER_DENIED_CONNECTION", "The server denied the connection. It is a general refusal: logons disabled, drain mode, session limit, a policy of the host.", ENDED_EARLY, &[
        "On the host: change logon /query (and change logon /enable), query session, and the drain mode of the host in its collection.",
        "Session limits: policy 'Limit number of connections' (MaxInstanceCount); without the RD Session Host role two administrative sessions.",
        "Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational and -LocalSessionManager/Operational at that time.",
    ], SPEC)
        .not("7 is not Win32 error 7 (ERROR_ARENA_TRASHED, 'storage control blocks were destroyed'), not out of memory, not 'not a socket'. Those are readings of the number in other tables."),
    Code::new(0x9, "ERRINFO_SERVER_INSUFFICIENT_PRIVILEGES", "The user may not log on through Remote Desktop Services.", ENDED_EARLY, &["Add the user to 'Remote Desktop Users' on the host; user right 'Allow log on through Remote Desktop Services', and no 'Deny' of the same name.", "On a domain controller that right is given to administrators only."], SPEC),
    Code::new(0xA, "ERRINFO_SERVER_FRESH_CREDENTIALS_REQUIRED", "The server does not accept saved credentials.", ENDED_EARLY, &["Type the credentials; policy on the host: 'Always prompt for password upon connection'."], SPEC),
    Code::new(0xB, "ERRINFO_RPC_INITIATED_DISCONNECT_BYUSER", "The user disconnected from within the session. Ordinary.", ENDED, &["Nothing to cure."], SPEC),
    Code::new(0xC, "ERRINFO_LOGOFF_BY_USER", "The user logged off. Ordinary.", ENDED, &["Nothing to cure."], SPEC),
    Code::new(0xF, "ERRINFO_CLOSE_STACK_ON_DRIVER_NOT_READY", "The display driver in the session was not ready in time.", ENDED_EARLY, CRASH, SPEC),
    Code::new(0x10, "ERRINFO_SERVER_DWM_CRASH", "The window manager (DWM) of the session ended unexpectedly.", ENDED, CRASH, SPEC),
    Code::new(0x11, "ERRINFO_CLOSE_STACK_ON_DRIVER_FAILURE", "The display driver could not finish its start.", ENDED_EARLY, CRASH, SPEC),
    Code::new(0x12, "ERRINFO_CLOSE_STACK_ON_DRIVER_IFACE_FAILURE", "The display driver is up and cannot be used.", ENDED_EARLY, CRASH, SPEC),
    Code::new(0x17, "ERRINFO_SERVER_WINLOGON_CRASH", "Winlogon of the session ended unexpectedly.", ENDED, CRASH, SPEC),
    Code::new(0x18, "ERRINFO_SERVER_CSRSS_CRASH", "CSRSS of the session ended unexpectedly.", ENDED, CRASH, SPEC),
    Code::new(0x19, "ERRINFO_SERVER_SHUTDOWN", "The server is shutting down.", ENDED, &["Wait for the host, or ask who shut it down (System event 1074)."], SPEC),
    Code::new(0x1A, "ERRINFO_SERVER_REBOOT", "The server is rebooting.", ENDED, &["Wait for the host, or ask who restarted it (System event 1074)."], SPEC),
];

const LICENSING: &str =
    "Client Info sent, a licensing exchange that ends early, a short record (Set Error Info), the ultimatum and a close.";
const DIAGNOSER: &[&str] = &[
    "On the host: Remote Desktop Licensing Diagnoser (lsdiag.msc) names licence server, mode and errors.",
    "Can the host reach the licence server (RPC: TCP 135 and dynamic ports)?",
];
const STORE: &[&str] = &[
    "On the client: back up and delete HKLM\\SOFTWARE\\Microsoft\\MSLicensing, then start mstsc once as administrator; it makes a new store.",
    "Try another client: if that one works, the store was the cause.",
];

pub(super) const LICENSE: &[Code] = &[
    Code::new(
        0x100,
        "ERRINFO_LICENSE_INTERNAL",
        "The licensing component failed.",
        LICENSING,
        DIAGNOSER,
        SPEC,
    ),
    Code::new(
        0x101,
        "ERRINFO_LICENSE_NO_LICENSE_SERVER",
        "No licence server could be reached to provide a licence (often: the grace period of 120 days is over).",
        LICENSING,
        &[
            "Set licence server and mode: policies 'Use the specified Remote Desktop license servers' and 'Set the Remote Desktop licensing mode'.",
            "Remote Desktop Licensing Diagnoser (lsdiag.msc) on the host.",
            "For administration meanwhile: mstsc /admin needs no licence.",
        ],
        SPEC,
    ),
    Code::new(
        0x102,
        "ERRINFO_LICENSE_NO_LICENSE",
        "No client access licence (CAL) is available.",
        LICENSING,
        &[
            "Licence server: enough CALs of the right kind and version (RD Licensing Manager).",
            "Revoke per-device CALs of machines that are gone.",
        ],
        SPEC,
    ),
    Code::new(
        0x103,
        "ERRINFO_LICENSE_BAD_CLIENT_MSG",
        "The client sent an invalid licensing message.",
        LICENSING,
        STORE,
        SPEC,
    ),
    Code::new(
        0x104,
        "ERRINFO_LICENSE_HWID_DOESNT_MATCH_LICENSE",
        "The licence stored on the client belongs to other hardware (a cloned image).",
        LICENSING,
        STORE,
        SPEC,
    ),
    Code::new(
        0x105,
        "ERRINFO_LICENSE_BAD_CLIENT_LICENSE",
        "The licence stored on the client is malformed.",
        LICENSING,
        STORE,
        SPEC,
    ),
    Code::new(
        0x106,
        "ERRINFO_LICENSE_CANT_FINISH_PROTOCOL",
        "Network trouble ended the licensing exchange.",
        "Loss or silence within the licensing exchange.",
        &[
            "Look for loss and retransmissions between client and host in the capture.",
            "Try again; then the licence server's reachability from the host.",
        ],
        SPEC,
    ),
    Code::new(
        0x107,
        "ERRINFO_LICENSE_CLIENT_ENDED_PROTOCOL",
        "The client ended the licensing exchange.",
        LICENSING,
        STORE,
        SPEC,
    ),
    Code::new(
        0x108,
        "ERRINFO_LICENSE_BAD_CLIENT_ENCRYPTION",
        "A licensing message was wrongly encrypted.",
        LICENSING,
        STORE,
        SPEC,
    ),
    Code::new(
        0x109,
        "ERRINFO_LICENSE_CANT_UPGRADE_LICENSE",
        "The stored licence could not be upgraded or renewed.",
        LICENSING,
        &[
            "Licence server: CALs for the host's version of Windows Server.",
            "The client needs write access to HKLM\\SOFTWARE\\Microsoft\\MSLicensing: start mstsc once as administrator.",
        ],
        SPEC,
    ),
    Code::new(
        0x10A,
        "ERRINFO_LICENSE_NO_REMOTE_CONNECTIONS",
        "The remote computer is not licensed to accept remote connections.",
        LICENSING,
        &[
            "Use an edition of Windows that accepts Remote Desktop; install the RD Session Host role for more than two sessions.",
            "Licence server and mode as above (lsdiag.msc).",
        ],
        SPEC,
    ),
];

const BROKERED: &str =
    "A connection through a broker: Set Error Info before any desktop, or after a redirection to another host.";
const BROKER_REMEDY: &[&str] = &[
    "On the connection broker: Microsoft-Windows-TerminalServices-SessionBroker/Operational, state of the collection and of the target host.",
    "Can the client reach the target host directly, by the name or address that the redirection gives?",
];

const BROKER: &[Code] = &[
    Code::new(
        0x400,
        "ERRINFO_CB_DESTINATION_NOT_FOUND",
        "The broker did not find the target.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x402,
        "ERRINFO_CB_LOADING_DESTINATION",
        "The target is disconnecting from the broker.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x404,
        "ERRINFO_CB_REDIRECTING_TO_DESTINATION",
        "The redirection to the target failed.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x405,
        "ERRINFO_CB_SESSION_ONLINE_VM_WAKE",
        "The target virtual machine could not be woken.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x406,
        "ERRINFO_CB_SESSION_ONLINE_VM_BOOT",
        "The target virtual machine could not be started.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x407,
        "ERRINFO_CB_SESSION_ONLINE_VM_NO_DNS",
        "The target virtual machine's address is not known.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x408,
        "ERRINFO_CB_DESTINATION_POOL_NOT_FREE",
        "The pool has no free target.",
        BROKERED,
        &["Enlarge the pool, or log off sessions that are not used."],
        SPEC,
    ),
    Code::new(
        0x409,
        "ERRINFO_CB_CONNECTION_CANCELLED",
        "The connection was cancelled.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x410,
        "ERRINFO_CB_CONNECTION_ERROR_INVALID_SETTINGS",
        "The routing token's settings are not valid.",
        BROKERED,
        &[
            "Download the .rdp file again (RD Web or feed); an old one names a collection that is gone.",
            "Use the file's loadbalanceinfo unchanged.",
        ],
        SPEC,
    ),
    Code::new(
        0x411,
        "ERRINFO_CB_SESSION_ONLINE_VM_BOOT_TIMEOUT",
        "The target virtual machine did not start in time.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
    Code::new(
        0x412,
        "ERRINFO_CB_SESSION_ONLINE_VM_SESSMON_FAILED",
        "Session monitoring failed when the target virtual machine started.",
        BROKERED,
        BROKER_REMEDY,
        SPEC,
    ),
];
