//! Early User Authorization Result: four bytes that say whether the authenticated user may come in.

use super::{Code, Notation, Space, as_it_is};

const SPEC: &str = "MS-RDPBCGR 2.2.10.2 (Early User Authorization Result PDU)";

/// Early User Authorization Result values.
pub static EARLY_USER_AUTH: Space = Space {
    slug: "euar",
    title: "Early User Authorization Result",
    about: "Sent by the server after CredSSP if PROTOCOL_HYBRID_EX was selected: 4 bytes of plaintext inside TLS.",
    notation: Notation::Hex,
    ranges: &[],
    tables: &[CODES],
    canonical: as_it_is,
};

const CODES: &[Code] = &[
    Code::new(
        0x0,
        "AUTHZ_SUCCESS",
        "The user may log on.",
        "A record of 4 bytes of plaintext from the server, then the client's MCS Connect-Initial.",
        &["Nothing to cure."],
        SPEC,
    ),
    Code::new(
        0x5,
        "AUTHZ_ACCESS_DENIED",
        "The user was authenticated and may not log on through Remote Desktop Services.",
        "A record of 4 bytes of plaintext from the server, then the client closes without MCS Connect-Initial.",
        &[
            "Add the user to 'Remote Desktop Users' on the host (Add-LocalGroupMember).",
            "User right 'Allow log on through Remote Desktop Services', and no 'Deny' of the same name.",
        ],
        SPEC,
    ),
];
