//! Logon errors in Save Session Info: what happened at the logon screen of a session.

use super::{Code, Notation, Range, Space, as_it_is};

const SPEC: &str = "MS-RDPBCGR 2.2.10.1.1.4.1.1 (Logon Errors Info)";

/// Both fields may hold one.
const NTSTATUS: Range = Range {
    from: 0xC000_0000,
    to: 0xCFFF_FFFF,
    what: "an NTSTATUS: look there",
};

/// ErrorNotificationType of Logon Errors Info.
pub static LOGON_NOTIFICATION: Space = Space {
    slug: "logon",
    title: "logon notification (Save Session Info)",
    about: "Sent by the server inside the session while the user logs on (hidden by TLS; 625 bytes of plaintext). Most are information, not errors.",
    notation: Notation::Hex,
    ranges: &[NTSTATUS],
    tables: &[TYPES],
    canonical: as_it_is,
};

/// ErrorNotificationData of Logon Errors Info.
pub static LOGON_NOTIFICATION_DATA: Space = Space {
    slug: "logon-data",
    title: "logon notification data (Save Session Info)",
    about: "The number beside a logon notification; it may also be a session identifier or an NTSTATUS.",
    notation: Notation::Hex,
    ranges: &[NTSTATUS],
    tables: &[DATA],
    canonical: as_it_is,
};

const SCREEN: &str =
    "An activated session, no 'logged on' pair of records from the server yet; a record of 625 bytes of plaintext.";
const NONE: &[&str] = &["Nothing to cure by itself; look at what follows."];
const ASK: &[&str] = &[
    "Ask the user what the logon screen said.",
    "On the host: Microsoft-Windows-TerminalServices-LocalSessionManager/Operational.",
];

const TYPES: &[Code] = &[
    Code::new(
        0xFFFF_FFFF,
        "ERROR_CODE_ACCESS_DENIED",
        "Access was denied at the logon screen.",
        SCREEN,
        &["Group 'Remote Desktop Users' and user right 'Allow log on through Remote Desktop Services'."],
        SPEC,
    ),
    Code::new(
        0xFFFF_FFFE,
        "LOGON_MSG_SESSION_CONTINUE",
        "The logon goes on. Ordinary.",
        SCREEN,
        NONE,
        SPEC,
    ),
    Code::new(
        0xFFFF_FFFD,
        "LOGON_MSG_SESSION_TERMINATE",
        "The session is ending.",
        SCREEN,
        ASK,
        SPEC,
    ),
    Code::new(
        0xFFFF_FFFC,
        "LOGON_MSG_RECONNECT_OPTIONS",
        "The user is asked which of several sessions to reconnect to.",
        SCREEN,
        NONE,
        SPEC,
    ),
    Code::new(
        0xFFFF_FFFB,
        "LOGON_MSG_BUMP_OPTIONS",
        "The user is asked whether to take another user's place (session limit).",
        SCREEN,
        &["Log off sessions that are not used (query session), or raise the limit."],
        SPEC,
    ),
    Code::new(
        0xFFFF_FFFA,
        "LOGON_MSG_NO_PERMISSION",
        "The user may not disconnect the other user.",
        SCREEN,
        &["Wait for the other user, or ask an administrator to end that session."],
        SPEC,
    ),
    Code::new(
        0xFFFF_FFF9,
        "LOGON_MSG_DISCONNECT_REFUSED",
        "The other user declined to leave.",
        SCREEN,
        &["Wait for the other user, or ask an administrator to end that session."],
        SPEC,
    ),
    Code::new(
        0xFFFF_FFF8,
        "LOGON_MSG_SESSION_BUSY_OPTIONS",
        "The session is busy: another logon to it is in progress.",
        SCREEN,
        &["Wait and connect again; look for two clients of the same user."],
        SPEC,
    ),
];

const DATA: &[Code] = &[
    Code::new(
        0x0,
        "LOGON_FAILED_BAD_PASSWORD",
        "Wrong user or password at the logon screen.",
        SCREEN,
        &["Type them again with the domain; cmdkey /delete:TERMSRV/HOST removes saved ones."],
        SPEC,
    ),
    Code::new(
        0x1,
        "LOGON_FAILED_UPDATE_PASSWORD",
        "The password must change.",
        SCREEN,
        &["Change it at the logon screen that is shown."],
        SPEC,
    ),
    Code::new(
        0x2,
        "LOGON_FAILED_OTHER",
        "The logon failed for another reason.",
        SCREEN,
        &["On the host, Security event 4625."],
        SPEC,
    ),
    Code::new(0x3, "LOGON_WARNING", "The logon screen shows a warning.", SCREEN, ASK, SPEC),
];
