//! ICMP and ICMPv6 errors: what the path says about a packet that it did not deliver.

use super::{Code, Notation, Range, Space, as_it_is};

const V4: &str = "RFC 792, RFC 1812 5.2.7 and the IANA ICMP Type Numbers registry";
const V6: &str = "RFC 4443 3 and the IANA ICMPv6 Type Numbers registry";

/// ICMP (IPv4), `type << 8 | code`.
pub static ICMP: Space = Space {
    slug: "icmp",
    title: "ICMP (type and code)",
    about: "Sent by the host itself or by a router on the path, with the head of the packet that it did not deliver.",
    notation: Notation::TypeCode,
    ranges: &[
        Range {
            from: 0x0300,
            to: 0x03FF,
            what: "ICMP destination unreachable",
        },
        Range {
            from: 0x0500,
            to: 0x05FF,
            what: "an ICMP redirect, which is no error of this connection",
        },
        Range {
            from: 0x0B00,
            to: 0x0BFF,
            what: "ICMP time exceeded",
        },
        Range {
            from: 0x0C00,
            to: 0x0CFF,
            what: "an ICMP parameter problem",
        },
    ],
    tables: &[V4_CODES],
    canonical: as_it_is,
};

/// ICMPv6, `type << 8 | code`.
pub static ICMPV6: Space = Space {
    slug: "icmpv6",
    title: "ICMPv6 (type and code)",
    about: "Sent by the host itself or by a router on the path, with the head of the packet that it did not deliver.",
    notation: Notation::TypeCode,
    ranges: &[
        Range {
            from: 0x0100,
            to: 0x01FF,
            what: "ICMPv6 destination unreachable",
        },
        Range {
            from: 0x0300,
            to: 0x03FF,
            what: "ICMPv6 time exceeded",
        },
        Range {
            from: 0x0400,
            to: 0x04FF,
            what: "an ICMPv6 parameter problem",
        },
    ],
    tables: &[V6_CODES],
    canonical: as_it_is,
};

const SYN: &str =
    "A SYN (or a datagram), then an ICMP message that quotes it. Its source address names the router or host that speaks.";
const ROUTE: &[&str] = &[
    "Ask the owner of the router whose address sent it: no route, or the host is off or gone from its network.",
    "tracert HOST (or Test-NetConnection HOST -TraceRoute) from the client; on a VPN check that its route for the host is up.",
];
const PROHIBITED: &[&str] = &[
    "Ask the owner of the device whose address sent it for a rule: client, host, TCP 3389 (UDP 3389 for the UDP side).",
    "Do not open 3389 to the Internet: use a gateway or a VPN.",
];
const PORT: &[&str] = &[
    "On the host: Get-Service TermService; Get-NetUDPEndpoint -LocalPort 3389 or Get-NetTCPConnection -LocalPort 3389 -State Listen.",
    "For the UDP side alone nothing is broken: the session goes on over TCP.",
];
const SIZE: &str = "Full-sized packets quoted by 'fragmentation needed' (or 'packet too big') with the MTU of the next link. Ordinary if the sender then sends smaller ones; a black hole if it does not.";
const MTU: &[&str] = &[
    "Let ICMP 'fragmentation needed' (type 3 code 4; ICMPv6 type 2) pass every firewall on the path.",
    "Clamp the MSS on the tunnel or VPN, or set its MTU on the client (netsh interface ipv4 show subinterfaces).",
];
const TTL: &[&str] = &["Look for a routing loop: tracert shows the same routers again and again."];
const RARE: &[&str] = &["Ask the owner of the device whose address sent it."];

const fn v4(
    kind: u8,
    code: u8,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new((kind as u32) << 8 | code as u32, name, meaning, picture, remedy, V4)
}

const fn v6(
    kind: u8,
    code: u8,
    name: &'static str,
    meaning: &'static str,
    picture: &'static str,
    remedy: &'static [&'static str],
) -> Code {
    Code::new((kind as u32) << 8 | code as u32, name, meaning, picture, remedy, V6)
}

const V4_CODES: &[Code] = &[
    v4(
        3,
        0,
        "network unreachable",
        "The router has no route to the network.",
        SYN,
        ROUTE,
    ),
    v4(
        3,
        1,
        "host unreachable",
        "The last router cannot reach the host (no ARP answer: off, gone, wrong address).",
        SYN,
        ROUTE,
    ),
    v4(
        3,
        2,
        "protocol unreachable",
        "The host does not know the protocol.",
        SYN,
        RARE,
    ),
    v4(
        3,
        3,
        "port unreachable",
        "Nobody listens on the port, says the host (or a firewall that rejects so).",
        SYN,
        PORT,
    ),
    v4(
        3,
        4,
        "fragmentation needed and DF set",
        "The packet is too large for the next link and may not be fragmented.",
        SIZE,
        MTU,
    ),
    v4(3, 5, "source route failed", "A source route failed.", SYN, RARE),
    v4(3, 6, "destination network unknown", "The network is not known.", SYN, ROUTE),
    v4(3, 7, "destination host unknown", "The host is not known.", SYN, ROUTE),
    v4(3, 8, "source host isolated", "The source is isolated (obsolete).", SYN, RARE),
    v4(
        3,
        9,
        "network administratively prohibited",
        "A device's rules forbid the network.",
        SYN,
        PROHIBITED,
    ),
    v4(
        3,
        10,
        "host administratively prohibited",
        "A device's rules forbid the host.",
        SYN,
        PROHIBITED,
    ),
    v4(
        3,
        11,
        "network unreachable for type of service",
        "No route for this type of service.",
        SYN,
        ROUTE,
    ),
    v4(
        3,
        12,
        "host unreachable for type of service",
        "The host cannot be reached with this type of service.",
        SYN,
        ROUTE,
    ),
    v4(
        3,
        13,
        "communication administratively prohibited",
        "A device's rules forbid this traffic.",
        SYN,
        PROHIBITED,
    ),
    v4(
        3,
        14,
        "host precedence violation",
        "The precedence is not permitted.",
        SYN,
        RARE,
    ),
    v4(
        3,
        15,
        "precedence cutoff in effect",
        "The precedence is below the network's minimum.",
        SYN,
        RARE,
    ),
    v4(
        4,
        0,
        "source quench",
        "A request to send slower (deprecated; ignored by hosts).",
        SYN,
        RARE,
    ),
    v4(
        5,
        0,
        "redirect for the network",
        "A better router exists; no error.",
        "Redirects beside a working connection.",
        &["Nothing to cure for this connection."],
    ),
    v4(
        5,
        1,
        "redirect for the host",
        "A better router exists; no error.",
        "Redirects beside a working connection.",
        &["Nothing to cure for this connection."],
    ),
    v4(
        11,
        0,
        "time to live exceeded in transit",
        "The packet crossed too many routers: a loop, or a very small TTL.",
        SYN,
        TTL,
    ),
    v4(
        11,
        1,
        "fragment reassembly time exceeded",
        "Fragments were missing.",
        "Fragmented packets of which some are lost.",
        MTU,
    ),
    v4(
        12,
        0,
        "parameter problem",
        "A field of the IP header is not valid.",
        SYN,
        RARE,
    ),
];

const V6_CODES: &[Code] = &[
    v6(1, 0, "no route to destination", "The router has no route.", SYN, ROUTE),
    v6(
        1,
        1,
        "communication administratively prohibited",
        "A device's rules forbid this traffic.",
        SYN,
        PROHIBITED,
    ),
    v6(
        1,
        2,
        "beyond scope of source address",
        "The source address's scope does not reach the destination.",
        SYN,
        ROUTE,
    ),
    v6(
        1,
        3,
        "address unreachable",
        "The last router cannot reach the host (no neighbour answer).",
        SYN,
        ROUTE,
    ),
    v6(
        1,
        4,
        "port unreachable",
        "Nobody listens on the port, says the host (or a firewall that rejects so).",
        SYN,
        PORT,
    ),
    v6(
        1,
        5,
        "source address failed ingress/egress policy",
        "The source address is not permitted there.",
        SYN,
        PROHIBITED,
    ),
    v6(
        1,
        6,
        "reject route to destination",
        "A route exists that rejects.",
        SYN,
        PROHIBITED,
    ),
    v6(
        2,
        0,
        "packet too big",
        "The packet is too large for the next link.",
        SIZE,
        MTU,
    ),
    v6(
        3,
        0,
        "hop limit exceeded in transit",
        "The packet crossed too many routers: a loop, or a very small hop limit.",
        SYN,
        TTL,
    ),
    v6(
        3,
        1,
        "fragment reassembly time exceeded",
        "Fragments were missing.",
        "Fragmented packets of which some are lost.",
        MTU,
    ),
    v6(4, 0, "erroneous header field", "A header field is not valid.", SYN, RARE),
    v6(
        4,
        1,
        "unrecognized next header",
        "The next header type is not known.",
        SYN,
        RARE,
    ),
    v6(4, 2, "unrecognized IPv6 option", "An option is not known.", SYN, RARE),
];
