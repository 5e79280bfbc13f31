//! MCS (T.125): results of confirms, and reasons of the Disconnect Provider Ultimatum.

use super::{Code, Notation, Space, as_it_is};

const RESULT: &str = "ITU-T T.125 (Result); MS-RDPBCGR 2.2.1.4, 2.2.1.7, 2.2.1.9";
const REASON: &str = "ITU-T T.125 (Reason); MS-RDPBCGR 2.2.2.3";

/// MCS results, 4 bits.
pub static MCS_RESULT: Space = Space {
    slug: "mcs",
    title: "MCS result",
    about: "Sent by the server in Connect-Response, Attach User Confirm and Channel Join Confirm.",
    notation: Notation::Decimal,
    ranges: &[],
    tables: &[RESULTS],
    canonical: as_it_is,
};

/// MCS Disconnect Provider Ultimatum reasons.
pub static MCS_DISCONNECT: Space = Space {
    slug: "mcs-disconnect",
    title: "MCS Disconnect Provider Ultimatum reason",
    about: "Sent by either side as its last word: 9 bytes of plaintext.",
    notation: Notation::Decimal,
    ranges: &[],
    tables: &[REASONS],
    canonical: as_it_is,
};

const CONFIRM: &str = "A Connect-Response, or an 11- or 15-byte confirm, and then a close instead of the next request.";
const REMEDY: &[&str] = &[
    "Update both sides; try another client to tell the client from the host.",
    "On the host: Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational, and its resources.",
];

const fn result(number: u32, name: &'static str, meaning: &'static str) -> Code {
    Code::new(number, name, meaning, CONFIRM, REMEDY, RESULT)
}

const RESULTS: &[Code] = &[
    Code::new(
        0,
        "rt-successful",
        "Successful.",
        "The next request follows.",
        &["Nothing to cure."],
        RESULT,
    ),
    result(1, "rt-domain-merging", "Domains are being merged."),
    result(2, "rt-domain-not-hierarchical", "The domain is not hierarchical."),
    result(3, "rt-no-such-channel", "There is no such channel."),
    result(4, "rt-no-such-domain", "There is no such domain."),
    result(5, "rt-no-such-user", "There is no such user channel."),
    result(6, "rt-not-admitted", "The user was not admitted to the channel."),
    result(7, "rt-other-user-id", "The user identifier is another's."),
    result(8, "rt-parameters-unacceptable", "The domain parameters are not acceptable."),
    result(9, "rt-token-not-available", "The token is not available."),
    result(10, "rt-token-not-possessed", "The token is not possessed."),
    result(11, "rt-too-many-channels", "There are too many channels."),
    result(12, "rt-too-many-tokens", "There are too many tokens."),
    result(13, "rt-too-many-users", "There are too many users."),
    result(14, "rt-unspecified-failure", "A failure that is not specified."),
    result(15, "rt-user-rejected", "The user was rejected."),
];

const LAST_WORD: &str = "9 bytes of plaintext from the server, then the client's RST,ACK (or the other way round).";

const REASONS: &[Code] = &[
    Code::new(
        0,
        "rn-domain-disconnected",
        "The domain is disconnected.",
        LAST_WORD,
        REMEDY,
        REASON,
    ),
    Code::new(
        1,
        "rn-provider-initiated",
        "The provider (the server) ended it.",
        LAST_WORD,
        &["Look for the Set Error Info before it: that one has the reason."],
        REASON,
    ),
    Code::new(2, "rn-token-purged", "A token was purged.", LAST_WORD, REMEDY, REASON),
    Code::new(
        3,
        "rn-user-requested",
        "Requested by the user, says the name. Windows sends it for every end it announces, and xrdp for refusals too.",
        LAST_WORD,
        &["Look for the Set Error Info before it: that one has the reason."],
        REASON,
    )
    .not("It does not prove that the user did it: servers send 3 for every logoff, disconnect and refusal."),
    Code::new(4, "rn-channel-purged", "A channel was purged.", LAST_WORD, REMEDY, REASON),
];
