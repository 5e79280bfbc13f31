//! Reports built by hand, as the examiner would build them, for the tests of the renderers.

use super::model::{Attempt, CertificateFacts, Connection, Metrics, Note, Overall, QualityNote, Quantiles, Report, SourceReport};
use super::model::{Speaker, Step, Times, TlsFacts};
use crate::capture::{FrameNo, LinkType, Shortfall, SourceSummary, Span, Timestamp};
use crate::diagnosis::{Act, Confidence, EndedBy, Evidence, Leans, Mechanism, Verdict, causes};
use crate::transcript::{Phase, Role, Transport, Vantage};

/// 2026-03-04 10:53:00 UTC, when every sample begins.
pub(super) const START: Timestamp = Timestamp(1_772_621_580_000_000_000);

fn at(ms: i64) -> Timestamp {
    START.plus(Span::millis(ms))
}

fn seen(frame: u64, ms: i64, text: &str) -> Evidence {
    Evidence {
        source: 0,
        frame: FrameNo::new(frame),
        at: at(ms),
        leans: Leans::For,
        text: text.to_owned(),
    }
}

fn step(phase: Phase, frame: u64, ms: i64, speaker: Speaker, text: &str) -> Step {
    let frame = Some(FrameNo::new(frame)).filter(|frame| frame.number() > 0);
    Step {
        at: at(ms),
        frame,
        speaker,
        phase,
        text: text.to_owned(),
        inferred: false,
        lost: false,
    }
}

fn quantiles(min: i64, median: i64, p95: i64, max: i64, count: u64) -> Option<Quantiles> {
    let [min, median, p95, max] = [min, median, p95, max].map(Span::micros);
    Some(Quantiles {
        min,
        median,
        p95,
        max,
        count,
    })
}

fn source(path: &str) -> SourceReport {
    SourceReport {
        summary: SourceSummary {
            path: path.into(),
            format: "pcapng".to_owned(),
            link_types: vec![LinkType::ETHERNET],
            packets: 1284,
            bytes: 812_345,
            first: Some(START),
            last: Some(at(152_232)),
            ..SourceSummary::default()
        },
        sha256: None,
    }
}

fn connection(id: u32, ms: i64, lasted: i64, phase: Phase, ended: (EndedBy, Mechanism), verdict: Verdict) -> Connection {
    Connection {
        id,
        attempt: id,
        source: 0,
        role: Role::Rdp,
        transport: Transport::Tcp,
        client: "10.1.2.3:51544".parse().unwrap(),
        server: Some("10.9.8.7:3389".parse().unwrap()),
        server_name: Some("rds01.contoso.com".to_owned()),
        user: None,
        tls: None,
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".to_owned(),
        vantage: Vantage::Client,
        vantage_why: "the client's packets arrive with TTL 128, the server's with 117".to_owned(),
        started: at(ms),
        duration: Span::millis(lasted),
        frames: (FrameNo::new(96), FrameNo::new(121)),
        phase,
        phase_inferred: false,
        ended_by: ended.0,
        mechanism: ended.1,
        leftover: false,
        same_as: None,
        verdict: verdict.into(),
        timeline: Vec::new(),
        metrics: Metrics {
            packets: [14, 11],
            bytes: [3_912, 4_203],
            mss: [Some(1460), Some(1380)],
            ..Metrics::default()
        },
        series: Vec::new(),
    }
}

fn attempt(connection: &Connection) -> Attempt {
    Attempt {
        id: connection.attempt,
        client: connection.client.ip(),
        server: connection
            .server
            .map_or_else(|| connection.server_name.clone().unwrap(), |server| server.ip().to_string()),
        started: connection.started,
        ended: connection.started.plus(connection.duration),
        connections: vec![connection.id],
        decisive: connection.id,
        verdict: connection.verdict.clone(),
        side_findings: Vec::new(),
    }
}

fn report(connections: Vec<Connection>) -> Report {
    let attempts: Vec<Attempt> = connections.iter().map(attempt).collect();
    let first = &attempts[0];
    Report {
        sources: vec![source("captures/office-vpn.pcapng")],
        overall: Overall {
            cause: first.verdict.cause,
            healthy: first.verdict.healthy(),
            confidence: Some(first.verdict.confidence),
            attempt: Some(first.id),
            connection: Some(first.decisive),
            summary: first.verdict.summary.clone(),
        },
        attempts,
        connections,
        quality: Vec::new(),
        notes: Vec::new(),
        unwanted: 0,
        shortfalls: Vec::new(),
        times: Times {
            rtt: quantiles(210, 31_000, 44_800, 61_200, 120),
            server_response: quantiles(900, 4_100, 88_000, 1_204_000, 31),
        },
    }
}

/// A logon that NLA refused, told from record sizes, with a healthy attempt after it.
pub(super) fn failed_logon() -> Report {
    let verdict = Verdict::new(
        &causes::NLA_LOGON_FAILED,
        Confidence::Likely,
        Act::Identity,
        "The server refused the logon of CONTOSO\\anna during NLA, after the password had been sent.",
        seen(118, 412, "The server answers the client's credentials with one record of 78 bytes, the size of an error code."),
    )
    .because([
        seen(120, 413, "The server closes the connection right after it."),
        Evidence { leans: Leans::Against, ..seen(99, 51, "No key log was given: the error code itself cannot be read.") },
    ])
    .or(&causes::CREDSSP_POLICY, "A server that insists on a newer CredSSP version answers with a record of similar size; the server's event log (Security, 4625) tells the two apart.")
    .remedy("Look in the Security event log of rds01.contoso.com for event 4625 at 2026-03-04 10:53 UTC: its Sub Status says whether the password was wrong (0xC000006A), expired (0xC0000071) or the account locked (0xC0000234).")
    .remedy("Delete stored credentials on the client: cmdkey /delete:TERMSRV/rds01.contoso.com")
    .test("Log on with the same account from a machine in the domain.");
    let mut failed = connection(1, 0, 1_204, Phase::CredSsp, (EndedBy::Server, Mechanism::Refusal), verdict);
    failed.user = Some("CONTOSO\\anna".to_owned());
    failed.phase_inferred = true;
    failed.tls = Some(TlsFacts {
        version: Some("TLS 1.2".to_owned()),
        cipher: Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned()),
        sni: Some("rds01.contoso.com".to_owned()),
        established: true,
        resumed: false,
        certificate: Some(CertificateFacts {
            subject: "CN=rds01.contoso.com".to_owned(),
            issuer: "CN=CONTOSO Issuing CA, O=CONTOSO".to_owned(),
            names: vec!["rds01.contoso.com".to_owned()],
            serial: "1B3F".to_owned(),
            not_before: at(-86_400_000),
            not_after: at(86_400_000),
        }),
    });
    failed.timeline = vec![
        step(Phase::Tcp, 96, 0, Speaker::Client, "SYN"),
        step(Phase::Tcp, 97, 31, Speaker::Server, "SYN, ACK"),
        step(
            Phase::X224,
            98,
            31,
            Speaker::Client,
            "Connection Request, cookie mstshash=anna, asks for TLS or NLA",
        ),
        step(Phase::X224, 99, 51, Speaker::Server, "Connection Confirm, NLA selected"),
        step(
            Phase::Tls,
            101,
            60,
            Speaker::Client,
            "ClientHello, TLS 1.2, server name rds01.contoso.com",
        ),
        step(
            Phase::Tls,
            103,
            92,
            Speaker::Server,
            "ServerHello, certificate of rds01.contoso.com",
        ),
        Step {
            inferred: true,
            ..step(Phase::CredSsp, 114, 380, Speaker::Client, "credentials")
        },
        Step {
            inferred: true,
            ..step(Phase::CredSsp, 118, 412, Speaker::Server, "error code")
        },
        step(Phase::CredSsp, 120, 413, Speaker::Server, "FIN"),
    ];
    failed.metrics.phases = [
        (Phase::Tcp, 31_000),
        (Phase::X224, 20_000),
        (Phase::Tls, 61_500),
        (Phase::CredSsp, 301_200),
    ]
    .map(|(phase, us)| (phase, Span::micros(us)))
    .to_vec();
    failed.metrics.rtt_server = quantiles(30_100, 31_000, 33_000, 61_200, 12);
    failed.metrics.longest_idle = Some((Span::millis(268), FrameNo::new(112)));
    failed.metrics.facts = vec![("error_record", "78".to_owned())];
    let mut later = healthy(2, 64_000);
    later.frames = (FrameNo::new(130), FrameNo::new(1201));
    report(vec![failed, later])
}

fn healthy(id: u32, ms: i64) -> Connection {
    let verdict = Verdict::new(
        &causes::COMPLETED,
        Confidence::Certain,
        Act::Nobody,
        "The session was reached and the client closed it in the ordinary way.",
        seen(1201, ms + 88_000, "The client closes with RST, ACK, as Windows clients do."),
    );
    connection(id, ms, 88_000, Phase::Session, (EndedBy::Client, Mechanism::Rst), verdict)
}

/// A session, and in its middle a word of the server on a connection that the client's host does not know.
pub(crate) fn leftover_beside_a_session() -> Report {
    let verdict = Verdict::new(
        &causes::NAT_MAPPING_LOST,
        Confidence::Possible,
        Act::Network,
        "The client no longer knew the connection and answered the next packet with a RST.",
        seen(700, 30_000, "RST of a host that knows no such connection."),
    );
    let mut stray = connection(2, 30_000, 0, Phase::Mcs, (EndedBy::Client, Mechanism::Rst), verdict);
    stray.client.set_port(51_501);
    stray.leftover = true;
    report(vec![healthy(1, 0), stray])
}

/// One healthy session whose UDP side channel was blocked, which makes the headline.
pub(super) fn healthy_without_udp() -> Report {
    let verdict = Verdict::new(
        &causes::UDP_BLOCKED,
        Confidence::Likely,
        Act::Network,
        "UDP 3389 to 10.9.8.7 is never answered; the session went on over TCP.",
        seen(140, 66_000, "The first of 3 RDP-UDP SYNs, none of which is answered."),
    );
    let mut udp = connection(
        2,
        66_000,
        6_200,
        Phase::UdpHandshake,
        (EndedBy::Path, Mechanism::Silence),
        verdict,
    );
    (udp.attempt, udp.role, udp.transport) = (1, Role::RdpUdp, Transport::Udp);
    udp.timeline = vec![
        Step {
            lost: true,
            ..step(
                Phase::UdpHandshake,
                140,
                66_000,
                Speaker::Client,
                "RDP-UDP SYN, versions 1 to 3",
            )
        },
        Step {
            lost: true,
            ..step(Phase::UdpHandshake, 152, 69_500, Speaker::Client, "RDP-UDP SYN again")
        },
        step(Phase::UdpHandshake, 0, 72_200, Speaker::Nobody, "no answer in 6.2 s"),
    ];
    let mut report = report(vec![healthy(1, 64_000)]);
    report.attempts[0].connections.push(2);
    report.attempts[0].side_findings.push(Note {
        source: 0,
        frames: vec![FrameNo::new(140), FrameNo::new(152)],
        text: udp.verdict.summary.clone(),
    });
    report.overall = Overall {
        cause: udp.verdict.cause,
        healthy: false,
        confidence: Some(Confidence::Likely),
        attempt: Some(1),
        connection: Some(2),
        summary: udp.verdict.summary.clone(),
    };
    report.connections.push(udp);
    report
}

/// A reset that a device on the path made, in a capture of poor quality from two files, with hostile names.
pub(super) fn middlebox_reset() -> Report {
    let verdict = Verdict::new(
        &causes::MIDDLEBOX_RESET,
        Confidence::Likely,
        Act::Network,
        "A device on the path reset the connection in the server's name, 9 ms after the ClientHello.",
        seen(104, 69, "RST with TTL 61, IP-ID 0 and no timestamp; the server's other packets arrive with TTL 117 and rising IP-IDs."),
    )
    .because([Evidence { source: 1, ..seen(88, 69, "The server's own capture shows no RST leaving it.") }])
    .or(&causes::PEER_RESET, "Only if the server answers through two paths of different length.")
    .remedy("Ask whoever runs the firewall between 10.1.2.3 and 10.9.8.7 for its log of TCP 51544 to 3389 at 10:53:00 UTC; exempt TCP 3389 from application inspection.");
    let mut reset = connection(1, 0, 69, Phase::Tls, (EndedBy::Middlebox, Mechanism::Rst), verdict.clone());
    reset.user = Some("<script>\u{1b}[2J|`x`|\u{202e}nimda".to_owned());
    reset.timeline = vec![
        step(Phase::Tcp, 96, 0, Speaker::Client, "SYN"),
        step(Phase::Tls, 101, 60, Speaker::Client, "ClientHello"),
        step(
            Phase::Tls,
            104,
            69,
            Speaker::Middlebox(Some("192.0.2.1".parse().unwrap())),
            "RST",
        ),
    ];
    reset.metrics.phases = vec![
        (Phase::Tcp, Span::millis(31)),
        (Phase::X224, Span::millis(29)),
        (Phase::Tls, Span::millis(9)),
    ];
    let mut again = connection(2, 20_000, 71, Phase::Tls, (EndedBy::Middlebox, Mechanism::Rst), verdict);
    again.frames = (FrameNo::new(201), FrameNo::new(209));
    let mut cut = connection(3, 150_000, 0, Phase::Tcp, (EndedBy::Open, Mechanism::None), {
        let why = "The capture ends 2 ms after the SYN, within a normal delay.";
        Verdict::new(
            &causes::CAPTURE_INCOMPLETE,
            Confidence::Certain,
            Act::Nobody,
            why,
            seen(1284, 152_230, "SYN, then the capture ends."),
        )
    });
    cut.frames = (FrameNo::new(1284), FrameNo::new(1284));
    let mut report = report(vec![reset, again, cut]);
    report.sources.push(source("captures/server side.pcapng"));
    report.sources[0].sha256 = Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned());
    report.sources[0].summary.shortfalls.push(Shortfall {
        text: "the file was cut short in the middle of a packet".to_owned(),
        offset: Some(812_345),
        after_frame: Some(FrameNo::new(1284)),
    });
    report.quality.push(QualityNote {
        source: 0,
        text: "Every packet is cut to 128 bytes: certificates and error codes are missing.".to_owned(),
        better: Some("pktmon start --capture --pkt-size 0 --comp nics -f rdp.etl".to_owned()),
        frame: Some(FrameNo::new(3)),
    });
    report
        .shortfalls
        .push("1,024 connections were forgotten because more than 65,536 were open at once".to_owned());
    report
}

/// A name that does not exist.
pub(super) fn unknown_name() -> Report {
    let verdict = Verdict::new(
        &causes::DNS_NAME_NOT_FOUND,
        Confidence::Certain,
        Act::Client,
        "The name rds1.contoso.com does not exist (NXDOMAIN from 10.1.2.1).",
        seen(12, 4, "NXDOMAIN for rds1.contoso.com, type A."),
    )
    .remedy("Check the spelling; ask the resolver by hand: Resolve-DnsName rds1.contoso.com -Server 10.1.2.1");
    let mut lookup = connection(1, 0, 4, Phase::Dns, (EndedBy::Server, Mechanism::Refusal), verdict);
    (lookup.transport, lookup.server, lookup.community_id) = (Transport::Dns, None, String::new());
    (lookup.client, lookup.server_name) = ("10.1.2.3:0".parse().unwrap(), Some("rds1.contoso.com".to_owned()));
    lookup.frames = (FrameNo::new(11), FrameNo::new(12));
    let mut report = report(vec![lookup]);
    report.times = Times::default();
    report
}

/// A capture without any RDP in it.
pub(super) fn no_rdp() -> Report {
    let mut report = unknown_name();
    report.connections.clear();
    report.attempts.clear();
    report.overall = Overall {
        cause: &causes::NO_RDP,
        healthy: false,
        confidence: None,
        attempt: None,
        connection: None,
        summary: "No Remote Desktop, RD Gateway or RDP-UDP traffic in 1,284 packets.".to_owned(),
    };
    report.notes.push(Note {
        source: 0,
        frames: (1..=9).map(FrameNo::new).collect(),
        text: "9 failed lookups of wpad".to_owned(),
    });
    report
}

/// Every sample with its name.
pub(super) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("failed_logon", failed_logon()),
        ("healthy_without_udp", healthy_without_udp()),
        ("middlebox_reset", middlebox_reset()),
        ("unknown_name", unknown_name()),
        ("no_rdp", no_rdp()),
    ]
}
