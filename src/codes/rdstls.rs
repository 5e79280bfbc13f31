//! RDSTLS authentication results: the second connection after a redirection.

use super::{Code, Notation, Range, Space, entry, ntstatus};

const SPEC: &str = "MS-RDPBCGR 2.2.17.4 (RDSTLS Authentication Response PDU)";

/// RDSTLS result codes.
pub static RDSTLS: Space = Space {
    slug: "rdstls",
    title: "RDSTLS authentication result",
    about: "Sent by the host (10 bytes of plaintext inside TLS) where PROTOCOL_RDSTLS was selected, after a redirection by a broker. The numbers are Win32 errors.",
    notation: Notation::Hex,
    ranges: &[Range {
        from: 0x1,
        to: 0xFFFF,
        what: "a Win32 error (net helpmsg N)",
    }],
    tables: &[CODES],
    canonical: without_hresult,
};

fn without_hresult(number: u32) -> u32 {
    if number >> 16 == 0x8007 { number & 0xFFFF } else { number }
}

const PICTURE: &str = "After a redirection: TLS, a first record of 8 bytes of plaintext from the host (capabilities), the client's request, 10 bytes from the host, and a close.";

/// The NTSTATUS of the same meaning lends its sentences.
const fn like(number: u32, name: &'static str, status: u32) -> Code {
    let twin = entry(ntstatus::CODES, status);
    Code::new(number, name, twin.meaning, PICTURE, twin.remedy, SPEC)
}

const CODES: &[Code] = &[
    Code::new(
        0x0,
        "RDSTLS_RESULT_SUCCESS",
        "Authenticated.",
        "10 bytes of plaintext from the host, then the client's MCS Connect-Initial.",
        &["Nothing to cure."],
        SPEC,
    ),
    Code::new(
        0x5,
        "RDSTLS_RESULT_ACCESS_DENIED",
        "Access denied.",
        PICTURE,
        &[
            "Group 'Remote Desktop Users' and user right 'Allow log on through Remote Desktop Services' on the target host.",
            "Is the target in the same collection as the broker says?",
        ],
        SPEC,
    ),
    like(0x52E, "RDSTLS_RESULT_LOGON_FAILURE", 0xC000_006D),
    like(0x530, "RDSTLS_RESULT_INVALID_LOGON_HOURS", 0xC000_006F),
    like(0x532, "RDSTLS_RESULT_PASSWORD_EXPIRED", 0xC000_0071),
    like(0x533, "RDSTLS_RESULT_ACCOUNT_DISABLED", 0xC000_0072),
    like(0x773, "RDSTLS_RESULT_PASSWORD_MUST_CHANGE", 0xC000_0224),
    like(0x775, "RDSTLS_RESULT_ACCOUNT_LOCKED_OUT", 0xC000_0234),
];
