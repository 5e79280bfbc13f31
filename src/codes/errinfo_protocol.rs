//! Set Error Info codes of the protocol range: the server found fault with what the client sent.

use super::Code;

const SPEC: &str = "MS-RDPBCGR 2.2.5.1.1 (Set Error Info PDU Data)";

const PICTURE: &str =
    "A short record from the server (Set Error Info) right after a message of the client, the 9-byte ultimatum, and a close.";
const MALFORMED: &[&str] = &[
    "Update the client and the host; a Windows client should not cause this, so ask for client name and build first.",
    "Connect with mstsc to tell the client from the path; then look for a device that rewrites the stream.",
];
const GRAPHICS: &[&str] = &[
    "On the host: display driver, Windows updates; policy 'Use hardware graphics adapters for all Remote Desktop Services sessions' set to Disabled as a test.",
    "Lower resolution, monitors and colour depth in the client.",
];
const MONITORS: &[&str] = &[
    "Use fewer monitors, or a smaller layout ('use multimon:i:0', 'selectedmonitors' in the .rdp file).",
    "Update the client.",
];
const ENCRYPTION: &[&str] = &[
    "Let both sides use TLS instead of Standard RDP Security (SecurityLayer = 2).",
    "Compare captures of both ends: changed bytes on the path cause this too.",
];

const fn fault(number: u32, name: &'static str, meaning: &'static str) -> Code {
    Code::new(number, name, meaning, PICTURE, MALFORMED, SPEC)
}

const fn other(number: u32, name: &'static str, meaning: &'static str, remedy: &'static [&'static str]) -> Code {
    Code::new(number, name, meaning, PICTURE, remedy, SPEC)
}

pub(super) const CODES: &[Code] = &[
    fault(0x10C9, "ERRINFO_UNKNOWNPDUTYPE2", "Unknown pduType2 in a Share Data Header."),
    fault(0x10CA, "ERRINFO_UNKNOWNPDUTYPE", "Unknown pduType in a Share Control Header."),
    fault(0x10CB, "ERRINFO_DATAPDUSEQUENCE", "A slow-path data PDU out of sequence."),
    fault(
        0x10CD,
        "ERRINFO_CONTROLPDUSEQUENCE",
        "A slow-path non-data PDU out of sequence.",
    ),
    fault(0x10CE, "ERRINFO_INVALIDCONTROLPDUACTION", "Invalid action in a Control PDU."),
    fault(0x10CF, "ERRINFO_INVALIDINPUTPDUTYPE", "Invalid type of input event."),
    fault(0x10D0, "ERRINFO_INVALIDINPUTPDUMOUSE", "Invalid flags in a mouse event."),
    fault(0x10D1, "ERRINFO_INVALIDREFRESHRECTPDU", "Invalid Refresh Rect PDU."),
    fault(
        0x10D2,
        "ERRINFO_CREATEUSERDATAFAILED",
        "The server could not build its GCC Conference Create Response.",
    ),
    fault(0x10D3, "ERRINFO_CONNECTFAILED", "The channel connection phase failed."),
    fault(
        0x10D4,
        "ERRINFO_CONFIRMACTIVEWRONGSHAREID",
        "Wrong share identifier in Confirm Active.",
    ),
    fault(
        0x10D5,
        "ERRINFO_CONFIRMACTIVEWRONGORIGINATOR",
        "Wrong originator in Confirm Active.",
    ),
    fault(
        0x10DA,
        "ERRINFO_PERSISTENTKEYPDUBADLENGTH",
        "Persistent Key List PDU too short.",
    ),
    fault(0x10DB, "ERRINFO_PERSISTENTKEYPDUILLEGALFIRST", "A second PERSIST_FIRST_PDU."),
    fault(
        0x10DC,
        "ERRINFO_PERSISTENTKEYPDUTOOMANYTOTALKEYS",
        "More than 262144 persistent bitmap keys.",
    ),
    fault(
        0x10DD,
        "ERRINFO_PERSISTENTKEYPDUTOOMANYCACHEKEYS",
        "More keys than the cache was announced to hold.",
    ),
    fault(0x10DE, "ERRINFO_INPUTPDUBADLENGTH", "Input PDU too short."),
    fault(
        0x10DF,
        "ERRINFO_BITMAPCACHEERRORPDUBADLENGTH",
        "Bitmap Cache Error PDU too short.",
    ),
    fault(
        0x10E0,
        "ERRINFO_SECURITYDATATOOSHORT",
        "Fast-path data too short for its signature or FIPS information.",
    ),
    fault(
        0x10E1,
        "ERRINFO_VCHANNELDATATOOSHORT",
        "Too little data for a channel header.",
    ),
    fault(
        0x10E2,
        "ERRINFO_SHAREDATATOOSHORT",
        "Too little data for a share, control or font header.",
    ),
    fault(0x10E3, "ERRINFO_BADSUPRESSOUTPUTPDU", "Bad Suppress Output PDU."),
    fault(0x10E5, "ERRINFO_CONFIRMACTIVEPDUTOOSHORT", "Confirm Active too short."),
    fault(
        0x10E7,
        "ERRINFO_CAPABILITYSETTOOSMALL",
        "Too little data for a capability set header.",
    ),
    fault(
        0x10E8,
        "ERRINFO_CAPABILITYSETTOOLARGE",
        "A capability set claims more data than there is.",
    ),
    fault(0x10E9, "ERRINFO_NOCURSORCACHE", "The client announced no pointer cache."),
    fault(
        0x10EA,
        "ERRINFO_BADCAPABILITIES",
        "The server rejected the client's capabilities.",
    ),
    fault(
        0x10EC,
        "ERRINFO_VIRTUALCHANNELDECOMPRESSIONERR",
        "Virtual channel data could not be decompressed.",
    ),
    fault(
        0x10ED,
        "ERRINFO_INVALIDVCCOMPRESSIONTYPE",
        "Invalid compression type on a virtual channel.",
    ),
    fault(0x10EF, "ERRINFO_INVALIDCHANNELID", "Invalid channel identifier."),
    other(
        0x10F0,
        "ERRINFO_VCHANNELSTOOMANY",
        "More than 31 static virtual channels.",
        &["Remove channel add-ins from the client until it asks for at most 31 static channels."],
    ),
    other(
        0x10F3,
        "ERRINFO_REMOTEAPPSNOTENABLED",
        "The host accepts RemoteApp only, and the client asked for a desktop.",
        &[
            "Start the published RemoteApp from its .rdp file.",
            "Or allow desktops on the host: remove it from RemoteApp-only publishing.",
        ],
    ),
    fault(
        0x10F4,
        "ERRINFO_CACHECAPNOTSET",
        "Persistent keys without the bitmap cache revision 2 capability.",
    ),
    fault(
        0x10F5,
        "ERRINFO_BITMAPCACHEERRORPDUBADLENGTH2",
        "Bitmap Cache Error PDU: count and data differ.",
    ),
    fault(
        0x10F6,
        "ERRINFO_OFFSCRCACHEERRORPDUBADLENGTH",
        "Offscreen Bitmap Cache Error PDU too short.",
    ),
    fault(
        0x10F7,
        "ERRINFO_DNGCACHEERRORPDUBADLENGTH",
        "DrawNineGrid Cache Error PDU too short.",
    ),
    fault(0x10F8, "ERRINFO_GDIPLUSPDUBADLENGTH", "GDI+ Error PDU too short."),
    fault(
        0x1111,
        "ERRINFO_SECURITYDATATOOSHORT2",
        "Too little data for a Basic Security Header.",
    ),
    fault(
        0x1112,
        "ERRINFO_SECURITYDATATOOSHORT3",
        "Too little data for a Non-FIPS or FIPS Security Header.",
    ),
    fault(
        0x1113,
        "ERRINFO_SECURITYDATATOOSHORT4",
        "Security Exchange PDU: length and data differ.",
    ),
    fault(
        0x1114,
        "ERRINFO_SECURITYDATATOOSHORT5",
        "Info Packet: too little data for the fixed part and strings.",
    ),
    fault(
        0x1115,
        "ERRINFO_SECURITYDATATOOSHORT6",
        "Info Packet: too little data for the counts.",
    ),
    fault(
        0x1116,
        "ERRINFO_SECURITYDATATOOSHORT7",
        "Info Packet: too little data for the client address family.",
    ),
    fault(
        0x1117,
        "ERRINFO_SECURITYDATATOOSHORT8",
        "Info Packet: too little data for the client address.",
    ),
    fault(
        0x1118,
        "ERRINFO_SECURITYDATATOOSHORT9",
        "Info Packet: too little data for the length of the client directory.",
    ),
    fault(
        0x1119,
        "ERRINFO_SECURITYDATATOOSHORT10",
        "Info Packet: too little data for the client directory.",
    ),
    fault(
        0x111A,
        "ERRINFO_SECURITYDATATOOSHORT11",
        "Info Packet: too little data for the time zone.",
    ),
    fault(
        0x111B,
        "ERRINFO_SECURITYDATATOOSHORT12",
        "Info Packet: too little data for the session identifier.",
    ),
    fault(
        0x111C,
        "ERRINFO_SECURITYDATATOOSHORT13",
        "Info Packet: too little data for the performance flags.",
    ),
    fault(
        0x111D,
        "ERRINFO_SECURITYDATATOOSHORT14",
        "Info Packet: too little data for the length of the auto-reconnect cookie.",
    ),
    fault(
        0x111E,
        "ERRINFO_SECURITYDATATOOSHORT15",
        "Info Packet: too little data for the auto-reconnect cookie.",
    ),
    fault(
        0x111F,
        "ERRINFO_SECURITYDATATOOSHORT16",
        "Info Packet: the auto-reconnect cookie is longer than 128 bytes.",
    ),
    fault(
        0x1120,
        "ERRINFO_SECURITYDATATOOSHORT17",
        "Extended Info Packet: too little data for the client address family.",
    ),
    fault(
        0x1121,
        "ERRINFO_SECURITYDATATOOSHORT18",
        "Extended Info Packet: too little data for the client address.",
    ),
    fault(
        0x1122,
        "ERRINFO_SECURITYDATATOOSHORT19",
        "Extended Info Packet: too little data for the length of the client directory.",
    ),
    fault(
        0x1123,
        "ERRINFO_SECURITYDATATOOSHORT20",
        "Extended Info Packet: too little data for the client directory.",
    ),
    fault(
        0x1124,
        "ERRINFO_SECURITYDATATOOSHORT21",
        "Extended Info Packet: too little data for the time zone.",
    ),
    fault(
        0x1125,
        "ERRINFO_SECURITYDATATOOSHORT22",
        "Extended Info Packet: too little data for the session identifier.",
    ),
    fault(
        0x1126,
        "ERRINFO_SECURITYDATATOOSHORT23",
        "Too little data for the Client Info PDU.",
    ),
    other(
        0x1129,
        "ERRINFO_BADMONITORDATA",
        "Client Monitor Data: count and data differ.",
        MONITORS,
    ),
    fault(
        0x112A,
        "ERRINFO_VCDECOMPRESSEDREASSEMBLEFAILED",
        "Virtual channel data could not be put together.",
    ),
    fault(0x112B, "ERRINFO_VCDATATOOLONG", "A virtual channel chunk is too long."),
    fault(0x112C, "ERRINFO_BAD_FRAME_ACK_DATA", "Frame acknowledge PDU too short."),
    other(
        0x112D,
        "ERRINFO_GRAPHICSMODENOTSUPPORTED",
        "The client's graphics mode is not supported.",
        GRAPHICS,
    ),
    other(
        0x112E,
        "ERRINFO_GRAPHICSSUBSYSTEMRESETFAILED",
        "The server's graphics could not be reset.",
        GRAPHICS,
    ),
    other(
        0x112F,
        "ERRINFO_GRAPHICSSUBSYSTEMFAILED",
        "The server's graphics failed (encoder or driver).",
        GRAPHICS,
    ),
    fault(
        0x1130,
        "ERRINFO_TIMEZONEKEYNAMELENGTHTOOSHORT",
        "Time zone key name too short.",
    ),
    fault(0x1131, "ERRINFO_TIMEZONEKEYNAMELENGTHTOOLONG", "Time zone key name too long."),
    fault(
        0x1132,
        "ERRINFO_DYNAMICDSTDISABLEDFIELDMISSING",
        "The dynamic daylight saving field is missing.",
    ),
    fault(
        0x1133,
        "ERRINFO_VCDECODINGERROR",
        "Dynamic virtual channel data could not be processed.",
    ),
    other(
        0x1134,
        "ERRINFO_VIRTUALDESKTOPTOOLARGE",
        "The virtual desktop is larger than 32766 pixels in a direction.",
        MONITORS,
    ),
    other(
        0x1135,
        "ERRINFO_MONITORGEOMETRYVALIDATIONFAILED",
        "The layout of the monitors is not valid.",
        MONITORS,
    ),
    other(0x1136, "ERRINFO_INVALIDMONITORCOUNT", "Too many monitors.", MONITORS),
    other(
        0x1191,
        "ERRINFO_UPDATESESSIONKEYFAILED",
        "Standard RDP Security: the session keys could not be renewed.",
        ENCRYPTION,
    ),
    other(
        0x1192,
        "ERRINFO_DECRYPTFAILED",
        "Standard RDP Security: decryption, or making the keys, failed.",
        ENCRYPTION,
    ),
    other(
        0x1193,
        "ERRINFO_ENCRYPTFAILED",
        "Standard RDP Security: encryption failed.",
        ENCRYPTION,
    ),
    other(
        0x1194,
        "ERRINFO_ENCPKGMISMATCH",
        "Standard RDP Security: no encryption method in common.",
        ENCRYPTION,
    ),
    other(
        0x1195,
        "ERRINFO_DECRYPTFAILED2",
        "Standard RDP Security: clear data where encrypted data was expected.",
        ENCRYPTION,
    ),
];
