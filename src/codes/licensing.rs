//! Licensing: the codes and state transitions of the License Error Message.

use super::{Code, Notation, Space, as_it_is};

const SPEC: &str = "MS-RDPBCGR 2.2.1.12.1.3 (Licensing Error Message)";

/// dwErrorCode of the License Error Message.
pub static LICENSING: Space = Space {
    slug: "licensing",
    title: "licensing error",
    about: "Sent by either side in the licensing exchange after Client Info (hidden by TLS). STATUS_VALID_CLIENT is the ordinary end of it.",
    notation: Notation::Hex,
    ranges: &[],
    tables: &[CODES],
    canonical: as_it_is,
};

/// dwStateTransition of the License Error Message.
pub static LICENSING_TRANSITION: Space = Space {
    slug: "licensing-transition",
    title: "licensing state transition",
    about: "What the receiver of a licensing error does next.",
    notation: Notation::Hex,
    ranges: &[],
    tables: &[TRANSITIONS],
    canonical: as_it_is,
};

const EXCHANGE: &str =
    "After Client Info: a licensing exchange of more than one message that ends in a short message and a close.";
const STORE: &[&str] = &[
    "On the client: back up and delete HKLM\\SOFTWARE\\Microsoft\\MSLicensing, then start mstsc once as administrator.",
    "Try another client: if that one works, the store was the cause.",
];
const SERVER: &[&str] = &[
    "On the host: Remote Desktop Licensing Diagnoser (lsdiag.msc).",
    "Licence server and mode by policy: 'Use the specified Remote Desktop license servers', 'Set the Remote Desktop licensing mode'.",
];

const CODES: &[Code] = &[
    Code::new(
        0x1,
        "ERR_INVALID_SERVER_CERTIFICATE",
        "The client does not accept the server's licensing certificate.",
        EXCHANGE,
        &[
            "On the host: back up and delete the values Certificate, X509 Certificate, X509 Certificate ID and X509 Certificate2 under HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\RCM, then restart: it makes them anew.",
            "Update the client.",
        ],
        SPEC,
    ),
    Code::new(0x2, "ERR_NO_LICENSE", "The client has no licence.", EXCHANGE, SERVER, SPEC),
    Code::new(
        0x3,
        "ERR_INVALID_MAC",
        "The check sum of a licensing message is wrong.",
        EXCHANGE,
        STORE,
        SPEC,
    ),
    Code::new(
        0x4,
        "ERR_INVALID_SCOPE",
        "The licence is of another scope (issuer).",
        EXCHANGE,
        STORE,
        SPEC,
    ),
    Code::new(
        0x6,
        "ERR_NO_LICENSE_SERVER",
        "No licence server is available.",
        EXCHANGE,
        &[
            "Set licence server and mode on the host; lsdiag.msc names what is missing.",
            "Can the host reach the licence server (RPC: TCP 135 and dynamic ports)?",
            "For administration meanwhile: mstsc /admin.",
        ],
        SPEC,
    ),
    Code::new(
        0x7,
        "STATUS_VALID_CLIENT",
        "The client is valid, go on. The ordinary, good answer.",
        "A record of 34 bytes of plaintext (35 from FreeRDP) after Client Info, then Demand Active.",
        &["Nothing to cure."],
        SPEC,
    )
    .not("7 here is success; it has nothing to do with the extended reason 7."),
    Code::new(0x8, "ERR_INVALID_CLIENT", "The client was rejected.", EXCHANGE, STORE, SPEC),
    Code::new(
        0xB,
        "ERR_INVALID_PRODUCTID",
        "The licence is for another product.",
        EXCHANGE,
        STORE,
        SPEC,
    ),
    Code::new(
        0xC,
        "ERR_INVALID_MESSAGE_LEN",
        "A licensing message has a wrong length.",
        EXCHANGE,
        STORE,
        SPEC,
    ),
];

const TRANSITIONS: &[Code] = &[
    Code::new(
        0x1,
        "ST_TOTAL_ABORT",
        "The licensing exchange ends, and with it the connection.",
        EXCHANGE,
        &["Explain the error code beside it."],
        SPEC,
    ),
    Code::new(
        0x2,
        "ST_NO_TRANSITION",
        "Nothing changes: goes with STATUS_VALID_CLIENT.",
        "Demand Active follows.",
        &["Nothing to cure."],
        SPEC,
    ),
    Code::new(
        0x3,
        "ST_RESET_PHASE_TO_START",
        "The licensing exchange starts again.",
        "Another licence request follows.",
        &["Explain the error code beside it."],
        SPEC,
    ),
    Code::new(
        0x4,
        "ST_RESEND_LAST_MESSAGE",
        "The last message is to be sent again.",
        "The last message is repeated.",
        &["Explain the error code beside it."],
        SPEC,
    ),
];
