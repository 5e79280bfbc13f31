//! DNS response codes, as they decide whether there is an address to connect to.

use super::{Code, Notation, Range, Space, as_it_is};

const SPEC: &str = "RFC 1035 4.1.1 and the IANA DNS RCODEs registry";
const UPDATE: &str = "RFC 2136 2.2";
const EDNS: &str = "RFC 6891 9 and the IANA DNS RCODEs registry";

/// DNS response codes, the EDNS extended ones included.
pub static DNS: Space = Space {
    slug: "dns",
    title: "DNS response code",
    about: "Sent by the resolver in clear (UDP or TCP 53), before the first SYN.",
    notation: Notation::Decimal,
    ranges: &[
        Range {
            from: 12,
            to: 3840,
            what: "a DNS response code that is not assigned",
        },
        Range {
            from: 3841,
            to: 4095,
            what: "a DNS response code for private use",
        },
    ],
    tables: &[CODES],
    canonical: as_it_is,
};

const ASKED: &str = "Query and response on port 53; no SYN to the host afterwards, or only after another name was asked for.";
const NAME: &[&str] = &[
    "Check the spelling; try the full name: Resolve-DnsName HOST.DOMAIN.",
    "Check the client's DNS servers and search suffixes, on a VPN its split-DNS rules (Get-DnsClientNrptPolicy).",
    "Create or correct the record on the DNS server (dynamic registration of the host: ipconfig /registerdns).",
];
const SERVER: &[&str] = &[
    "Ask another server: Resolve-DnsName HOST -Server ADDRESS.",
    "On the DNS server: its log, forwarders, and whether it reaches them; DNSSEC validation.",
    "Check that the client uses the servers that it should (Get-DnsClientServerAddress).",
];
const OTHER: &[&str] = &["Update or correct the resolver; ask another server to compare."];

const CODES: &[Code] = &[
    Code::new(
        0,
        "NOERROR",
        "No error. With no record in the answer it still means: no address of this kind (NODATA).",
        ASKED,
        &["If the answer has no address: ask for the other kind (A or AAAA), and check the record's type."],
        SPEC,
    ),
    Code::new(1, "FORMERR", "The server did not understand the query.", ASKED, OTHER, SPEC),
    Code::new(
        2,
        "SERVFAIL",
        "The server failed: it could not reach the servers of the domain, or DNSSEC did not validate.",
        ASKED,
        SERVER,
        SPEC,
    ),
    Code::new(3, "NXDOMAIN", "The name does not exist.", ASKED, NAME, SPEC),
    Code::new(4, "NOTIMP", "The server does not do this kind of query.", ASKED, OTHER, SPEC),
    Code::new(
        5,
        "REFUSED",
        "The server refuses to answer this client, or for this domain.",
        ASKED,
        SERVER,
        SPEC,
    ),
    Code::new(
        6,
        "YXDOMAIN",
        "A name exists that should not (dynamic update).",
        ASKED,
        OTHER,
        UPDATE,
    ),
    Code::new(
        7,
        "YXRRSET",
        "A record exists that should not (dynamic update).",
        ASKED,
        OTHER,
        UPDATE,
    ),
    Code::new(
        8,
        "NXRRSET",
        "A record that should exist does not (dynamic update).",
        ASKED,
        OTHER,
        UPDATE,
    ),
    Code::new(
        9,
        "NOTAUTH",
        "The server is not the authority, or the query is not authorised.",
        ASKED,
        OTHER,
        UPDATE,
    ),
    Code::new(
        10,
        "NOTZONE",
        "The name is not in the zone (dynamic update).",
        ASKED,
        OTHER,
        UPDATE,
    ),
    Code::new(
        11,
        "DSOTYPENI",
        "The DSO type is not implemented.",
        ASKED,
        OTHER,
        "RFC 8490 10.2",
    ),
    Code::new(16, "BADVERS", "The EDNS version is not supported.", ASKED, OTHER, EDNS),
    Code::new(17, "BADKEY", "The key is not recognised (TSIG).", ASKED, OTHER, "RFC 8945 3"),
    Code::new(
        18,
        "BADTIME",
        "The signature is out of its time window (TSIG): clocks differ.",
        ASKED,
        &["Correct the clocks of client and server."],
        "RFC 8945 3",
    ),
    Code::new(
        22,
        "BADTRUNC",
        "Bad truncation of a signature (TSIG).",
        ASKED,
        OTHER,
        "RFC 8945 3",
    ),
    Code::new(
        23,
        "BADCOOKIE",
        "The server cookie is bad or missing; the client asks again. Ordinary.",
        ASKED,
        &["Nothing to cure."],
        "RFC 7873 8",
    ),
];
