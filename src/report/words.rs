//! The contract's slugs in, the words by which people say them out.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::diagnosis::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::report::model::{Attempt, Connection, Report};
use crate::transcript::{Phase, Role, Transport, Vantage};

/// What to do where a report holds no attempt.
pub(crate) fn nothing_found(report: &Report) -> &'static [&'static str] {
    match report.unwanted {
        0 => NOTHING_FOUND,
        _ => NOTHING_WANTED,
    }
}

const NOTHING_WANTED: &[&str] = &[
    "Widen what is asked for: leave out --host, --user, --since and --until, and see which attempts the capture holds: `rdpwhy FILE`",
];

/// What to do where a capture holds no attempt.
const NOTHING_FOUND: &[&str] = &[
    "Capture where the traffic passes, best on the client and on every interface (a VPN has its own), and start before the user tries: \
     `pktmon start --capture --pkt-size 0 --comp nics -f rdp.etl`, `pktmon stop`, `pktmon etl2pcap rdp.etl -o rdp.pcapng`; or \
     `tcpdump -i any -s 0 -w rdp.pcap`",
    "If the way leads through an RD Gateway that is not recognised, name it: `rdpwhy --gateway NAME FILE`",
    "If the name of the host is not found, name it, so that its failed lookups count: `rdpwhy --host NAME FILE`",
];

/// Who that is.
pub(crate) fn act(verdict: &Verdict) -> &'static str {
    match verdict.act {
        Act::Nobody if !verdict.healthy() => "nobody yet: the capture does not tell",
        Act::Client => "client: the user or the client machine",
        Act::Server => "server: the administrator of the Remote Desktop host",
        Act::Network => "network: whoever runs firewall, VPN, routers, DNS",
        Act::Gateway => "gateway: the administrator of the RD Gateway",
        Act::Identity => "identity: whoever runs accounts and domain controllers",
        Act::Nobody => "nobody: nothing has to be done",
    }
}

/// How often a verdict of this confidence is right.
pub(crate) fn confidence(verdict: &Verdict) -> &'static str {
    match verdict.confidence {
        Confidence::Certain => "certain: right about 99 times in 100",
        Confidence::Likely => "likely: right about 9 times in 10",
        Confidence::Possible if verdict.alternatives.is_empty() => "possible: right about 6 times in 10",
        Confidence::Possible => "possible: right about 6 times in 10, read the alternatives",
    }
}

/// The phase by its usual name.
pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "name lookup",
        Phase::Tcp => "TCP handshake",
        Phase::X224 => "X.224 negotiation",
        Phase::Tls => "TLS handshake",
        Phase::CredSsp => "CredSSP (NLA)",
        Phase::Mcs => "MCS connect",
        Phase::Licensing => "licensing",
        Phase::Activation => "activation",
        Phase::Session => "session",
        Phase::Gateway => "gateway tunnel",
        Phase::UdpHandshake => "UDP handshake",
        Phase::Dtls => "TLS or DTLS over UDP",
    }
}

/// Who ended the connection, how, and where in its course.
pub(crate) fn ending(connection: &Connection) -> String {
    let who = match (connection.ended_by, connection.reached()) {
        (EndedBy::Open, Phase::Session) => return "not ended: still alive when the capture ends".to_owned(),
        (EndedBy::Open, _) => {
            return format!("not ended: the capture ends first, in phase {}", place(connection));
        }
        (EndedBy::Client, _) => "by the client",
        (EndedBy::Server, Phase::Dns) => "by the resolver",
        (EndedBy::Server, _) => "by the server",
        (EndedBy::Middlebox, _) => "by a device on the path",
        (EndedBy::Path, _) => {
            return format!(
                "by the path: packets vanish and nobody speaks, in phase {}",
                place(connection)
            );
        }
    };
    let how = match connection.mechanism {
        Mechanism::Rst if connection.verdict.healthy() => " with a reset (RST), which is ordinary,",
        Mechanism::Fin => " with an orderly close (FIN)",
        Mechanism::Rst => " with a reset (RST)",
        Mechanism::Icmp => " with an ICMP error",
        Mechanism::TlsAlert => " with a TLS alert",
        Mechanism::Refusal if connection.verdict.healthy() => ", which announced it,",
        Mechanism::Refusal => " with a refusal",
        Mechanism::Silence => " in silence",
        Mechanism::None => "",
    };
    format!("{who}{how} in phase {}", place(connection))
}

fn place(connection: &Connection) -> String {
    let slug = connection.phase.slug();
    let inner = match connection.reached() {
        reached if reached == connection.phase => String::new(),
        reached => format!(" (of the host behind the gateway: {reached})"),
    };
    let inferred = if connection.phase_inferred { " (inferred)" } else { "" };
    format!("{slug}{inner}{inferred}")
}

/// Its frames, first to last.
pub(crate) fn frames(connection: &Connection) -> String {
    match connection.frames {
        (first, last) if first == last => format!("frame {first}"),
        (first, last) => format!("frames {first} to {last}"),
    }
}

/// The captures that show a connection: those of the report that are the same one, itself left out.
fn twins<'a>(report: &'a Report, connection: &'a Connection) -> impl Iterator<Item = &'a Connection> {
    let leader = |one: &Connection| one.same_as.unwrap_or(one.id);
    let attempt = report.attempt(connection.attempt);
    let own = attempt.map_or(&[][..], |attempt| &attempt.connections);
    own.iter()
        .filter_map(|id| report.connection(*id))
        .filter(move |other| other.id != connection.id && leader(other) == leader(connection))
}

/// Where else a connection is shown, in words; empty where one capture alone shows it.
pub(crate) fn shown_by(report: &Report, connection: &Connection) -> String {
    let each = twins(report, connection).map(|other| {
        format!(
            "{} of {}, captured {}",
            frames(other),
            source(report, other.source),
            vantage(other.vantage)
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// The connection in the source that holds a piece of evidence about it: by its clock the time is shown.
pub(crate) fn held_by<'a>(report: &'a Report, connection: &'a Connection, evidence: &Evidence) -> &'a Connection {
    let elsewhere = || twins(report, connection).find(|other| other.source == evidence.source);
    match connection.source == evidence.source {
        true => connection,
        false => elsewhere().unwrap_or(connection),
    }
}

/// What stands behind the words of a piece of evidence that is in another source than the connection.
pub(crate) fn elsewhere(report: &Report, connection: &Connection, evidence: &Evidence) -> String {
    match connection.source == evidence.source {
        true => String::new(),
        false => format!(" (in {})", source(report, evidence.source)),
    }
}

/// The display filter by which Wireshark shows the connection (a lookup: the queries for its name).
pub(super) fn wireshark_filter(connection: &Connection) -> Option<String> {
    if connection.server.is_none() {
        let name = connection.server_name.as_deref()?;
        // A name from the wire goes into a filter only where it cannot be anything but a name.
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        return plain.then(|| format!("dns.qry.name == \"{name}\""));
    }
    // The client's port is enough: it has no other connection from there at that time.
    let client = connection.client;
    let family = if client.is_ipv4() { "ip" } else { "ipv6" };
    let transport = connection.transport.slug();
    Some(format!(
        "{family}.addr == {} && {transport}.port == {}",
        client.ip(),
        client.port()
    ))
}

/// Where the capture was taken.
pub(crate) fn vantage(vantage: Vantage) -> &'static str {
    match vantage {
        Vantage::Client => "on the client or beside it",
        Vantage::Server => "on the server or beside it",
        Vantage::Between => "between client and server",
        Vantage::Unknown => "at a place that the packets do not tell",
    }
}

/// What the connection is for and by what it travels.
pub(crate) fn role(connection: &Connection) -> &'static str {
    match (connection.transport, connection.role) {
        (Transport::Dns, _) => "lookup",
        (_, Role::Rdp) => "RDP",
        (_, Role::Gateway) => "RD Gateway",
        (_, Role::RdpUdp) => "RDP over UDP",
        (_, Role::GatewayUdp) => "RD Gateway over UDP",
    }
}

/// The client with port and user.
pub(crate) fn client(connection: &Connection) -> String {
    let mut text = match connection.client.port() {
        0 => connection.client.ip().to_string(),
        _ => connection.client.to_string(),
    };
    if let Some(user) = &connection.user {
        text.push_str(", user ");
        text.push_str(user);
    }
    text
}

/// The server with name, address and port, as far as they are known.
pub(crate) fn server(connection: &Connection) -> String {
    let named = |address: &SocketAddr| {
        connection
            .server_name
            .as_ref()
            .filter(|name| **name != address.ip().to_string())
    };
    match (&connection.server_name, connection.server) {
        (Some(_), Some(address)) => named(&address).map_or_else(|| address.to_string(), |name| format!("{name} ({address})")),
        (Some(name), None) => format!("{name}, no address"),
        (None, Some(address)) => address.to_string(),
        (None, None) => "unknown".to_owned(),
    }
}

/// The verdict that the ticket is about, with its attempt and connection.
///
/// It is the attempt's own, except where a healthy attempt's side channel makes the headline.
pub(crate) fn headline(report: &Report) -> Option<(&Attempt, &Connection, &Verdict)> {
    let attempt = report.attempt(report.overall.attempt?)?;
    let connection =
        (report.overall.connection.and_then(|id| report.connection(id))).or_else(|| report.connection(attempt.decisive))?;
    if attempt.verdict.cause == report.overall.cause {
        Some((attempt, connection, &attempt.verdict))
    } else {
        Some((attempt, connection, &connection.verdict))
    }
}

/// A source of `report`: by the last part of its path where it is the only one, by its whole path among others.
pub(crate) fn source(report: &Report, number: u32) -> String {
    let Some(source) = report.sources.get(number as usize) else {
        return "an unknown capture".to_owned();
    };
    let path = &source.summary.path;
    match path.file_name() {
        _ if path.as_os_str() == "-" => "standard input".to_owned(),
        Some(name) if report.sources.len() == 1 => name.to_string_lossy().into_owned(),
        _ => path.to_string_lossy().into_owned(),
    }
}

/// `text` as a sentence of its own: an ordinary first word gets a capital letter, a name or a command stays as it is.
pub(crate) fn sentence(text: &str) -> Cow<'_, str> {
    let first = text.split(' ').next().unwrap_or_default().trim_end_matches([',', ':', ';']);
    let ordinary = first.len() != text.len() && first.bytes().all(|b| b.is_ascii_lowercase());
    match text.split_at_checked(1) {
        Some((head, tail)) if ordinary && !first.is_empty() => Cow::Owned(head.to_ascii_uppercase() + tail),
        _ => Cow::Borrowed(text),
    }
}

/// `n` with its digits in groups of three.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `n` with its noun in the right number: `1 packet`, `1,284 packets`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(n))
}

/// A number of bytes in the unit that a person would choose.
pub(crate) fn bytes(n: u64) -> String {
    let scaled = |unit: f64, name: &str| format!("{:.1} {name}", n as f64 / unit);
    match n {
        0..1_000 => count(n, "byte"),
        1_000..999_950 => scaled(1e3, "kB"),
        999_950..999_950_000 => scaled(1e6, "MB"),
        _ => scaled(1e9, "GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordinary_words_are_capitalised() {
        for (text, wanted) in [
            ("the client offers TLS", "The client offers TLS"),
            ("on the host: look", "On the host: look"),
            ("fClientDisableUDP is a policy", "fClientDisableUDP is a policy"),
            ("10.1.2.3 answers", "10.1.2.3 answers"),
            ("`qwinsta` tells", "`qwinsta` tells"),
            ("rds01.corp.lab is down", "rds01.corp.lab is down"),
            ("nslookup", "nslookup"),
            ("élan vital", "élan vital"),
            ("", ""),
        ] {
            assert_eq!(sentence(text), wanted);
        }
    }

    #[test]
    fn a_filter_names_the_connection_and_holds_nothing_foreign() {
        use crate::report::samples;

        let mut report = samples::failed_logon();
        let tcp = "ip.addr == 10.1.2.3 && tcp.port == 51544";
        assert_eq!(wireshark_filter(&report.connections[0]).as_deref(), Some(tcp));
        report.connections[0].server = None;
        assert_eq!(
            wireshark_filter(&report.connections[0]).as_deref(),
            Some("dns.qry.name == \"rds01.contoso.com\"")
        );
        report.connections[0].server_name = Some("x\" || frame".to_owned());
        assert_eq!(wireshark_filter(&report.connections[0]), None);
    }

    #[test]
    fn numbers_are_grouped_and_bytes_scaled() {
        assert_eq!(
            (grouped(0).as_str(), grouped(999).as_str(), grouped(1_234_567).as_str()),
            ("0", "999", "1,234,567")
        );
        assert_eq!(count(1, "packet"), "1 packet");
        assert_eq!(
            (bytes(999).as_str(), bytes(1_000).as_str(), bytes(999_950).as_str()),
            ("999 bytes", "1.0 kB", "1.0 MB")
        );
        assert_eq!(bytes(1_500_000_000), "1.5 GB");
    }
}
