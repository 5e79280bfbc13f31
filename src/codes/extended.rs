//! The client's extended disconnect reasons: mostly Set Error Info codes as mstsc repeats them.

use super::{Code, Notation, Range, Space, as_it_is, entry, errinfo, errinfo_protocol};

const PAGE: &str = "learn.microsoft.com: ExtendedDisconnectReasonCode enumeration";

/// mstsc extended disconnect reasons.
pub static EXTENDED: Space = Space {
    slug: "extended",
    title: "extended disconnect reason (mstsc, ExtendedDisconnectReason)",
    about: "The second number in mstsc's window. It shares its numbers with Set Error Info, plus a few that only the client makes. Never read it as a Win32, NTSTATUS or HRESULT number.",
    notation: Notation::Hex,
    ranges: &[
        Range {
            from: 0x0D,
            to: 0xFF,
            what: "an extended reason equal to a general Set Error Info code",
        },
        Range {
            from: 0x100,
            to: 0x1FF,
            what: "an extended reason of licensing",
        },
        Range {
            from: 0x1000,
            to: 0x7FFF,
            what: "exDiscReasonProtocolRange: a Set Error Info protocol code",
        },
    ],
    tables: &[CODES, errinfo_protocol::CODES],
    canonical: as_it_is,
};

const fn general(number: u32, name: &'static str) -> Code {
    entry(errinfo::GENERAL, number).twin(name, PAGE)
}

const fn license(number: u32, name: &'static str) -> Code {
    entry(errinfo::LICENSE, number).twin(name, PAGE)
}

const CODES: &[Code] = &[
    Code::new(0x0, "exDiscReasonNoInfo", "No additional information.", "Whatever the first number says; the server sent no Set Error Info.", &["Explain the first number."], PAGE),
    general(0x1, "exDiscReasonAPIInitiatedDisconnect"),
    general(0x2, "exDiscReasonAPIInitiatedLogoff"),
    general(0x3, "exDiscReasonServerIdleTimeout"),
    general(0x4, "exDiscReasonServerLogonTimeout"),
    general(0x5, "exDiscReasonReplacedByOtherConnection"),
    general(0x6, "exDiscReasonOutOfMemory"),
    Code::new(0x7, "exDiscReasonServerDeniedConnection", "The server denied the connection. As an extended reason it is a hint, not proof: clients are widely reported to show it also where the connection broke in the TLS handshake, when no server could have said anything.", "With proof: Client Info, a short record (Set Error Info 0x7), the ultimatum, a close. Without: a FIN or RST at an earlier phase.", &[
        "Look at the packets first: did the server get as far as saying it? If the connection ended before Client Info, treat this number as noise and go by the phase.",
        "If it did: on the host change logon /query, session limits (MaxInstanceCount), drain mode of the host in its collection.",
        "Microsoft-Windows-TerminalServices-RemoteConnectionManager/Operational on the host at that time.",
    ], PAGE)
        .not("7 is not Win32 error 7 (ERROR_ARENA_TRASHED, 'storage control blocks were destroyed'), not out of memory, not 'not a socket', not layer 7. Those are readings of the number in other tables."),
    Code::new(0x8, "exDiscReasonServerDeniedConnectionFips", "Denied for security reasons (FIPS). Made by the client; never sent by the server.", "The connection ends in the security phase.", &["Policy 'System cryptography: Use FIPS compliant algorithms' on both sides: both or neither.", "Update the client."], PAGE),
    general(0x9, "exDiscReasonServerInsufficientPrivileges"),
    general(0xA, "exDiscReasonServerFreshCredsRequired"),
    general(0xB, "exDiscReasonRpcInitiatedDisconnectByUser"),
    general(0xC, "exDiscReasonLogoffByUser"),
    license(0x100, "exDiscReasonLicenseInternal"),
    license(0x101, "exDiscReasonLicenseNoLicenseServer"),
    license(0x102, "exDiscReasonLicenseNoLicense"),
    license(0x103, "exDiscReasonLicenseErrClientMsg"),
    license(0x104, "exDiscReasonLicenseHwidDoesntMatchLicense"),
    license(0x105, "exDiscReasonLicenseErrClientLicense"),
    license(0x106, "exDiscReasonLicenseCantFinishProtocol"),
    license(0x107, "exDiscReasonLicenseClientEndedProtocol"),
    license(0x108, "exDiscReasonLicenseErrClientEncryption"),
    license(0x109, "exDiscReasonLicenseCantUpgradeLicense"),
    license(0x10A, "exDiscReasonLicenseNoRemoteConnections"),
    Code::new(0x10B, "exDiscReasonLicenseCreatingLicStoreAccDenied", "The client could not write its licence store in the registry. Made by the client; never sent by the server.", "A close by the client in the licensing exchange.", &["Start mstsc once as administrator, so that HKLM\\SOFTWARE\\Microsoft\\MSLicensing can be written; then as the user."], PAGE),
    Code::new(0x300, "exDiscReasonRdpEncInvalidCredentials", "Invalid credentials with RDP encryption. Made by the client; never sent by the server.", "The connection ends in the security phase.", &["Type the credentials again.", "Let both sides use TLS and NLA."], PAGE),
];
