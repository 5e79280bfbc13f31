//! Says from the first bytes of one direction of a stream which protocol it speaks.

use super::x224::{Answer, Tpdu};
use super::{Parsed, preamble, tpkt, x224};

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// The protocol, and where it begins: behind the preambles ([`preamble`]), else 0.
    Is(Service, usize),
    /// Too few bytes to tell, and they begin like something known.
    More,
    /// Nothing known.
    Unknown,
}

/// A protocol as its first bytes show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// An RDP client's X.224 Connection Request.
    RdpRequest,
    /// An RDP server's X.224 Connection Confirm.
    RdpConfirm,
    /// RDP in clear from later in the connection: MCS in data TPDUs.
    RdpData,
    /// X.224 that is not RDP: S7, MMS and others of ISO 8073.
    IsoTransport,
    /// H.225 call signalling.
    H225,
    /// A TLS ClientHello, or a ClientHello in the form of SSL 2.
    TlsClientHello,
    /// A TLS ServerHello.
    TlsServerHello,
    /// Another TLS record: an alert, or the middle of a connection.
    Tls,
    /// An HTTP request.
    HttpRequest,
    /// An HTTP response.
    HttpResponse,
    /// SSH.
    Ssh,
    /// SMTP.
    Smtp,
    /// FTP.
    Ftp,
    /// A greeting that SMTP and FTP share.
    SmtpOrFtp,
    /// POP3.
    Pop3,
    /// IMAP.
    Imap,
    /// SMB.
    Smb,
    /// VNC.
    Vnc,
    /// Telnet.
    Telnet,
    /// MySQL or MariaDB.
    MySql,
    /// PostgreSQL.
    PostgreSql,
    /// Microsoft SQL Server.
    Tds,
    /// Redis.
    Redis,
    /// LDAP.
    Ldap,
    /// DCE/RPC.
    DceRpc,
    /// SOCKS 5.
    Socks,
    /// Citrix ICA.
    Ica,
    /// BitTorrent.
    BitTorrent,
    /// X11.
    X11,
    /// XMPP.
    Xmpp,
}

impl Service {
    /// Whether these are the first bytes of RDP itself.
    #[must_use]
    pub const fn is_rdp(self) -> bool {
        matches!(self, Self::RdpRequest | Self::RdpConfirm | Self::RdpData)
    }

    /// The protocol's usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RdpRequest | Self::RdpConfirm | Self::RdpData => "RDP",
            Self::IsoTransport => "ISO transport (S7, MMS or another)",
            Self::H225 => "H.225",
            Self::TlsClientHello | Self::TlsServerHello | Self::Tls => "TLS",
            Self::HttpRequest | Self::HttpResponse => "HTTP",
            Self::Ssh => "SSH",
            Self::Smtp => "SMTP",
            Self::Ftp => "FTP",
            Self::SmtpOrFtp => "SMTP or FTP",
            Self::Pop3 => "POP3",
            Self::Imap => "IMAP",
            Self::Smb => "SMB",
            Self::Vnc => "VNC",
            Self::Telnet => "Telnet",
            Self::MySql => "MySQL",
            Self::PostgreSql => "PostgreSQL",
            Self::Tds => "Microsoft SQL Server",
            Self::Redis => "Redis",
            Self::Ldap => "LDAP",
            Self::DceRpc => "DCE/RPC",
            Self::Socks => "SOCKS",
            Self::Ica => "Citrix ICA",
            Self::BitTorrent => "BitTorrent",
            Self::X11 => "X11",
            Self::Xmpp => "XMPP",
        }
    }
}

/// What one look at the bytes says, before preambles are considered.
enum Guess {
    Is(Service),
    More,
    No,
}

/// A proxy's header and a preconnection blob may both be there.
const PREAMBLES: usize = 2;

/// A greeting line longer than this is judged by its beginning.
const GREETING_LONGEST: usize = 512;

/// Looks at the first bytes of one direction.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    let mut at = 0;
    for _ in 0..PREAMBLES {
        match preamble::parse(bytes.get(at..).unwrap_or_default()) {
            Parsed::Done(_, used) => at += used,
            // A blob may begin like a greeting of MySQL or SMB: whoever has more than a beginning wins.
            Parsed::More | Parsed::NotMine | Parsed::Malformed(_) => break,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    match service(rest) {
        Guess::Is(service) => Sniffed::Is(service, at),
        Guess::More => Sniffed::More,
        Guess::No if preamble::parse(rest) == Parsed::More => Sniffed::More,
        Guess::No => Sniffed::Unknown,
    }
}

fn service(bytes: &[u8]) -> Guess {
    let guess = match bytes.first() {
        None => return Guess::More,
        Some(3) => in_tpkt(bytes),
        Some(0x14..=0x17) => tls(bytes),
        Some(0x80) => ssl_2(bytes),
        Some(0) => length_first(bytes),
        Some(0x30) => ldap(bytes),
        Some(5) => dce_rpc_or_socks(bytes),
        Some(b'2') => greeting(bytes),
        Some(0xFF) => telnet(bytes),
        Some(0x04 | 0x12) => tds(bytes),
        Some(_) => Guess::No,
    };
    if !matches!(guess, Guess::No) {
        return guess;
    }
    let mut more = false;
    for (prefix, service) in PREFIXES {
        if bytes.starts_with(prefix) {
            return Guess::Is(*service);
        }
        more |= prefix.starts_with(bytes);
    }
    if more { Guess::More } else { mysql(bytes) }
}

fn in_tpkt(bytes: &[u8]) -> Guess {
    if tpkt::parse(bytes) == Parsed::NotMine {
        return Guess::No;
    }
    match x224::parse(bytes) {
        Parsed::Done(Tpdu::ConnectionRequest(request), _) => match request.leftover.first() {
            None => Guess::Is(Service::RdpRequest),
            Some(0x80..) => Guess::Is(Service::IsoTransport),
            // The client asked for something, and junk follows.
            Some(_) if request.negotiation.is_some() || request.cookie.is_some() => Guess::Is(Service::RdpRequest),
            Some(_) => Guess::No,
        },
        Parsed::Done(Tpdu::ConnectionConfirm(confirm), _) => match confirm.answer {
            Answer::Absent | Answer::Response { .. } | Answer::Failure { .. } => Guess::Is(Service::RdpConfirm),
            Answer::Unknown { kind: 0x80.. } => Guess::Is(Service::IsoTransport),
            Answer::Unknown { .. } => Guess::No,
        },
        Parsed::Done(Tpdu::Data(data), _) => mcs(data.payload),
        Parsed::Done(_, _) | Parsed::Malformed(_) => Guess::No,
        Parsed::More => incomplete_tpdu(bytes),
        // Q.931 (protocol discriminator 8) stands where X.224 has its length.
        Parsed::NotMine if bytes.get(4) == Some(&8) => Guess::Is(Service::H225),
        Parsed::NotMine => Guess::No,
    }
}

/// The beginning of a TPKT whose rest is not here: a long one, or cut by the snap length.
fn incomplete_tpdu(bytes: &[u8]) -> Guess {
    match (bytes.get(5), bytes.get(11)) {
        (Some(0xE0), Some(1 | b' '..=b'~')) => Guess::Is(Service::RdpRequest),
        (Some(0xD0), Some(2 | 3)) => Guess::Is(Service::RdpConfirm),
        (Some(0xE0 | 0xD0), Some(0x80..)) => Guess::Is(Service::IsoTransport),
        (Some(0xE0 | 0xD0), Some(_)) => Guess::No,
        (Some(0xF0), Some(_)) => mcs(bytes.get(7..).unwrap_or_default()),
        _ => Guess::More,
    }
}

/// The PDUs of MCS that RDP uses; S7 has 0x32 in this place, MMS a session PDU.
fn mcs(payload: &[u8]) -> Guess {
    match *payload {
        [0x7F, 0x65 | 0x66, ..]
        | [0x04, 0x01, ..]
        | [0x28]
        | [0x2C..=0x2F, _]
        | [0x2E..=0x2F, _, _, _]
        | [0x38, _, _, _, _]
        | [0x3C..=0x3F, _, _, _, _, _, ..]
        | [0x20..=0x22, _]
        | [0x64 | 0x68, _, _, _, _, 0x30 | 0x70 | 0xB0 | 0xF0, ..] => Guess::Is(Service::RdpData),
        _ => Guess::No,
    }
}

fn tls(bytes: &[u8]) -> Guess {
    match *bytes {
        [_] | [_, 3] => Guess::More,
        [0x16, 3, 0..=4] | [0x16, 3, 0..=4, _] | [0x16, 3, 0..=4, _, _] => Guess::More,
        [0x16, 3, 0..=4, _, _, 1, ..] => Guess::Is(Service::TlsClientHello),
        [0x16, 3, 0..=4, _, _, 2, ..] => Guess::Is(Service::TlsServerHello),
        [_, 3, 0..=4, ..] => Guess::Is(Service::Tls),
        _ => Guess::No,
    }
}

/// A ClientHello of SSL 2 that offers SSL 3 or TLS.
fn ssl_2(bytes: &[u8]) -> Guess {
    match *bytes {
        [_] | [_, _] | [_, _, 1] | [_, _, 1, 3] => Guess::More,
        [_, _, 1, 3, 0..=3, ..] => Guess::Is(Service::TlsClientHello),
        _ => Guess::No,
    }
}

/// Protocols that begin with a length in network order: SMB in a NetBIOS session, and PostgreSQL.
fn length_first(bytes: &[u8]) -> Guess {
    match *bytes {
        [_, _, _, _, 0xFD..=0xFF, b'S', b'M', b'B', ..] => Guess::Is(Service::Smb),
        [0, 0, 0, 8, 4, 0xD2, 0x16, 0x2E..=0x30, ..] | [0, 0, _, _, 0, 3, 0, 0, b'u', ..] => Guess::Is(Service::PostgreSql),
        _ if bytes.len() < 8 => Guess::More,
        _ => Guess::No,
    }
}

/// An LDAPMessage: a sequence that begins with a message number and goes on with an application tag. A TSRequest begins with `[0]`.
fn ldap(bytes: &[u8]) -> Guess {
    let body = match *bytes {
        [_, 0..0x80, ..] => bytes.get(2..),
        [_, 0x80..=0x84, ..] => bytes.get(2 + usize::from(bytes.get(1).map_or(0, |it| it & 7))..),
        [_] => return Guess::More,
        _ => return Guess::No,
    };
    match body {
        Some([2, length @ 1..=4, rest @ ..]) => match rest.get(usize::from(*length)) {
            Some(0x40..0x80) => Guess::Is(Service::Ldap),
            Some(_) => Guess::No,
            None => Guess::More,
        },
        Some([] | [2]) | None => Guess::More,
        Some(_) => Guess::No,
    }
}

fn dce_rpc_or_socks(bytes: &[u8]) -> Guess {
    match *bytes {
        [5, 0 | 1, 0..=19, _, 0 | 0x10, 0, 0, 0, ..] => Guess::Is(Service::DceRpc),
        // The greeting of a SOCKS client: how many methods, then the methods.
        [5, count @ 1..=9, ref methods @ ..] if methods.len() == usize::from(count) => Guess::Is(Service::Socks),
        _ if bytes.len() < 8 => Guess::More,
        _ => Guess::No,
    }
}

/// `220` and the text of its line.
fn greeting(bytes: &[u8]) -> Guess {
    match *bytes {
        [b'2'] | [b'2', b'2'] | [b'2', b'2', b'0'] => return Guess::More,
        [b'2', b'2', b'0', b' ' | b'-', ..] => {}
        _ => return Guess::No,
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let contains = |word: &[u8]| line.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    if contains(b"SMTP") {
        Guess::Is(Service::Smtp)
    } else if contains(b"FTP") {
        Guess::Is(Service::Ftp)
    } else if line.len() == bytes.len() && bytes.len() < GREETING_LONGEST {
        Guess::More
    } else {
        Guess::Is(Service::SmtpOrFtp)
    }
}

fn telnet(bytes: &[u8]) -> Guess {
    match *bytes {
        [_] | [_, 0xFB..=0xFE] => Guess::More,
        [_, 0xFB..=0xFE, _, ..] => Guess::Is(Service::Telnet),
        _ => Guess::No,
    }
}

/// PRELOGIN of Tabular Data Stream, and the answer to it.
fn tds(bytes: &[u8]) -> Guess {
    match *bytes {
        [_, 1, high, _, 0, _, _, 0, ..] if high < 0x10 => Guess::Is(Service::Tds),
        [_] | [_, 1, ..] if bytes.len() < 8 => Guess::More,
        _ => Guess::No,
    }
}

/// The server's greeting: length in three bytes, number 0, protocol 10, then its version as text. Any first byte is possible.
fn mysql(bytes: &[u8]) -> Guess {
    match *bytes {
        [_, 0, 0, 0, 10, b'0'..=b'9', ..] => Guess::Is(Service::MySql),
        [_, 0] | [_, 0, 0] | [_, 0, 0, 0] | [_, 0, 0, 0, 10] => Guess::More,
        _ => Guess::No,
    }
}

/// How many of the first bytes tell which protocol it is, and nothing else: for whoever must not tell more.
#[must_use]
pub fn telling(bytes: &[u8]) -> usize {
    let Guess::Is(service) = service(bytes) else { return 0 };
    let length = match service {
        Service::Telnet => 3,
        Service::TlsClientHello => 5,
        Service::MySql => 6,
        Service::Smb | Service::Tds | Service::DceRpc => 8,
        Service::PostgreSql => 9,
        Service::Ldap => ldap_header(bytes),
        Service::Socks => bytes.len(),
        _ => prefix(bytes),
    };
    length.min(bytes.len())
}

/// The bytes of an LDAPMessage up to the tag of what it asks.
fn ldap_header(bytes: &[u8]) -> usize {
    let outer = match bytes.get(1) {
        Some(length @ 0x80..) => 2 + usize::from(length & 7),
        _ => 2,
    };
    let number = bytes.get(outer + 1).map_or(0, |length| usize::from(*length));
    outer + 2 + number + 1
}

/// The length of the word of a protocol at the begin, with its version.
fn prefix(bytes: &[u8]) -> usize {
    /// As in `RFB 003.008`.
    const VERSION: usize = 7;
    let words = PREFIXES.iter().map(|(word, _)| *word).chain([&b"220 "[..], b"220-"]);
    let length = words
        .filter(|word| bytes.starts_with(word))
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0);
    let versioned = [&b"HTTP/"[..], b"SSH-", b"RFB "].iter().any(|word| bytes.starts_with(word));
    let version = bytes.get(length..).unwrap_or_default().iter();
    let version = version
        .take(VERSION)
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.');
    length + if versioned { version.count() } else { 0 }
}

/// A first line of text with every letter blanked out that does not help to tell the protocol.
#[must_use]
pub fn told(line: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = line.iter().map(|byte| if *byte == b' ' { b' ' } else { b'x' }).collect();
    let mut stays = |from: usize, to: usize| {
        if let (Some(out), Some(line)) = (out.get_mut(from..to), line.get(from..to)) {
            out.copy_from_slice(line);
        }
    };
    stays(0, prefix(line));
    // Both greet with 220, and say what they are behind their names.
    for word in [&b"SMTP"[..], b"FTP"] {
        for at in 0..line.len() {
            if line
                .get(at..at + word.len())
                .is_some_and(|part| part.eq_ignore_ascii_case(word))
            {
                stays(at, at + word.len());
            }
        }
    }
    out
}

/// Protocols that their first bytes alone tell.
const PREFIXES: &[(&[u8], Service)] = &[
    (b"GET ", Service::HttpRequest),
    (b"POST ", Service::HttpRequest),
    (b"HEAD ", Service::HttpRequest),
    (b"PUT ", Service::HttpRequest),
    (b"DELETE ", Service::HttpRequest),
    (b"OPTIONS ", Service::HttpRequest),
    (b"CONNECT ", Service::HttpRequest),
    (b"PATCH ", Service::HttpRequest),
    (b"TRACE ", Service::HttpRequest),
    (b"PRI * HTTP/2", Service::HttpRequest),
    (b"RDG_IN_DATA ", Service::HttpRequest),
    (b"RDG_OUT_DATA ", Service::HttpRequest),
    (b"RPC_IN_DATA ", Service::HttpRequest),
    (b"RPC_OUT_DATA ", Service::HttpRequest),
    (b"HTTP/", Service::HttpResponse),
    (b"SSH-", Service::Ssh),
    (b"EHLO ", Service::Smtp),
    (b"HELO ", Service::Smtp),
    (b"554 ", Service::Smtp),
    (b"554-", Service::Smtp),
    (b"+OK", Service::Pop3),
    (b"* OK", Service::Imap),
    (b"* BYE", Service::Imap),
    (b"* PREAUTH", Service::Imap),
    (b"RFB 00", Service::Vnc),
    (b"+PONG", Service::Redis),
    (b"-ERR ", Service::Redis),
    (b"-NOAUTH", Service::Redis),
    (b"-DENIED", Service::Redis),
    (b"\x7F\x7FICA", Service::Ica),
    (b"\x13BitTorrent", Service::BitTorrent),
    (b"l\0\x0B\0\0\0", Service::X11),
    (b"B\0\0\x0B\0\0", Service::X11),
    (b"<stream:", Service::Xmpp),
    (b"<?xml version='1.0'?><stream", Service::Xmpp),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use proptest::prelude::*;

    fn is(bytes: &[u8]) -> Option<Service> {
        match sniff(bytes) {
            Sniffed::Is(service, 0) => Some(service),
            _ => None,
        }
    }

    #[test]
    fn what_tells_a_protocol_is_enough_to_tell_it_and_no_more() {
        for (line, blanked) in [
            (&b"SSH-2.0-Meyer_9.2p1 vault"[..], &b"SSH-2.0xxxxxxxxxxxx xxxxx"[..]),
            (b"220 mail.meyer.example ESMTP Meyer", b"220 xxxxxxxxxxxxxxxxxx xSMTP xxxxx"),
            (b"RFB 003.008", b"RFB 003.008"),
            (b"meyer01 login:", b"xxxxxxx xxxxxx"),
            (b"* OK meyer ready", b"* OK xxxxx xxxxx"),
        ] {
            assert_eq!(told(line), blanked);
            assert_eq!(sniff(&[line, b"\r\n"].concat()), sniff(&[blanked, b"\r\n"].concat()));
        }
        for text in [
            "00000045ff534d4272",
            "0000002f00030000757365720000",
            "308400000043020103633c04",
            "05000b0310000000480000",
            "fffd18fffd20",
            "1201003400000000",
            "4a0000000a382e30",
            "802e0103010015",
        ] {
            let bytes = hex(text);
            let length = telling(&bytes);
            assert!(length > 0 && sniff(&bytes[..length]) == sniff(&bytes), "{text}");
        }
        assert_eq!((telling(b"meyer"), telling(&[1, 2, 3])), (0, 0));
    }

    const REQUEST: &str = "030000130ee00000000000010008000b000000";

    #[test]
    fn rdp_is_known_by_its_negotiation() {
        for (text, service) in [
            (REQUEST, Service::RdpRequest),
            (
                "030000241fe00000000000436f6f6b69653a206d737473686173683d4137303036370d0a",
                Service::RdpRequest,
            ),
            ("0300000b06e00000000000", Service::RdpRequest),
            ("030000130ed00000123400021f080008000000", Service::RdpConfirm),
            ("030000130ed000001234000300080005000000", Service::RdpConfirm),
            ("0300000b06d00000123400", Service::RdpConfirm),
            ("0300000802f08028", Service::RdpData),
            ("0300000b02f0802e000008", Service::RdpData),
            ("0300000902f0802180", Service::RdpData),
            (
                "0300002402f08068000103eb3016160017000000ea030100000116002f0000000b000000",
                Service::RdpData,
            ),
            // The beginning of a Connect-Initial.
            ("030001ce02f0807f658201c204", Service::RdpData),
        ] {
            assert_eq!(is(&hex(text)), Some(service), "{text}");
            assert!(service.is_rdp());
        }
    }

    #[test]
    fn neighbours_of_rdp_are_told_apart() {
        // S7: Connection Request, Connection Confirm, data; H.225; a confirm whose structure is broken.
        for (text, service) in [
            ("0300001611e00000000100c1020100c2020102c0010a", Some(Service::IsoTransport)),
            ("0300001611d00001000100c0010ac1020100c2020102", Some(Service::IsoTransport)),
            ("0300001902f08032010000000000080000f0000001000101e0", None),
            ("030001f60802000105", Some(Service::H225)),
            ("030000130ed000001234000203000001000002", None),
        ] {
            assert_eq!(is(&hex(text)), service, "{text}");
        }
    }

    #[test]
    fn other_services_are_named() {
        for (bytes, service) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Service::Ssh),
            (b"HTTP/1.1 400 Bad Request\r\n", Service::HttpResponse),
            (b"RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1", Service::HttpRequest),
            (b"220 mail.example.org ESMTP Postfix\r\n", Service::Smtp),
            (b"220-Welcome to an ftp server\r\n", Service::Ftp),
            (b"220 ready\r\n", Service::SmtpOrFtp),
            (b"+OK ready", Service::Pop3),
            (b"* OK IMAP4", Service::Imap),
            (b"RFB 003.008\n", Service::Vnc),
            (b"\0\0\0\x85\xFFSMBr", Service::Smb),
            (b"\0\0\0\xF8\xFESMB@", Service::Smb),
            (b"J\0\0\0\x0A8.0.36\0", Service::MySql),
            (b"\xFF\xFD\x18\xFF\xFD\x20", Service::Telnet),
            (&[0x16, 3, 1, 2, 0, 1, 0], Service::TlsClientHello),
            (&[0x16, 3, 3, 0, 0x7A, 2, 0], Service::TlsServerHello),
            (&[0x15, 3, 3, 0, 2, 2, 50], Service::Tls),
            (&[0x80, 0x2E, 1, 3, 1, 0, 0x15], Service::TlsClientHello),
            (&[5, 1, 0], Service::Socks),
            (&[5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0], Service::DceRpc),
            (&[0x30, 0x0C, 2, 1, 1, 0x60, 7], Service::Ldap),
            (&[0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F], Service::PostgreSql),
            (&[0x12, 1, 0, 0x2F, 0, 0, 1, 0, 0], Service::Tds),
        ] {
            assert_eq!(is(bytes), Some(service), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_at_once() {
        for bytes in [
            &[0x05, 0, 0, 0x13, 0x0E, 0xD0, 0, 0x34][..],
            b"hello",
            &[0xDE, 0xAD, 0xBE, 0xEF],
            &[3, 1, 2],
            &[0x16, 9],
            &[0x30, 0x37, 0xA0, 3, 2, 1, 6],
        ] {
            assert_eq!(sniff(bytes), Sniffed::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn a_beginning_asks_for_more() {
        for whole in [
            &hex(REQUEST)[..11],
            b"SSH",
            b"GE",
            b"22",
            b"220 mail",
            &[0x16, 3, 1, 2, 0],
            b"PROXY TCP4 ",
        ] {
            for cut in 0..=whole.len() {
                assert_eq!(sniff(&whole[..cut]), Sniffed::More, "{whole:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn preambles_are_skipped() {
        let proxy = b"PROXY TCP4 203.0.113.7 192.0.2.10 51234 3389\r\n";
        let blob = hex("10000000000000000100000015cd5b07");
        let stream = [&proxy[..], &blob, &hex(REQUEST)].concat();
        assert_eq!(sniff(&stream), Sniffed::Is(Service::RdpRequest, proxy.len() + blob.len()));
        assert_eq!(sniff(proxy), Sniffed::More);
        assert_eq!(
            sniff(&[&proxy[..], b"GET / HTTP/1.1"].concat()),
            Sniffed::Is(Service::HttpRequest, proxy.len())
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_inside(bytes in proptest::collection::vec(any::<u8>(), 0..64), first: u8) {
            for input in [&bytes, &[&[first], &bytes[..]].concat(), &[&[3, 0, 0], &bytes[..]].concat()] {
                if let Sniffed::Is(_, at) = sniff(input) {
                    prop_assert!(at < input.len());
                }
            }
        }
    }
}
