//! Turns the judged UDP conversations of an attempt into rows of the report.

use std::sync::Arc;

use crate::attempt::Attempt;
use crate::capture::Span;
use crate::diagnosis::{Context, Finding};
use crate::examine::series;
use crate::examine::times::of_spread;
use crate::flow::key::UDP;
use crate::flow::{Side, UdpHalf};
use crate::forensics::View;
use crate::forensics::vantage::is_initial;
use crate::protocol::tls::suite::CipherSuite;
use crate::report::community_id::community_id;
use crate::report::model::{self, Metrics};
use crate::report::udp_timeline;
use crate::transcript::{Phase, Transport, UdpProgress, UdpTranscript, Vantage};

/// The rows of an attempt's conversations.
pub(super) fn connections(attempt: &Attempt, findings: Vec<Finding>, context: &Context, plots: bool) -> Vec<model::Connection> {
    attempt
        .udp
        .iter()
        .zip(findings)
        .map(|((t, progress), finding)| connection(attempt, t, progress, finding, context, plots))
        .collect()
}

/// The name of a conversation's server: as TLS asked for it, here or on the connection beside it, or as a lookup told it.
pub(super) fn server_name<'a>(attempt: &'a Attempt, t: &'a UdpTranscript, context: &'a Context) -> Option<&'a str> {
    let beside = || {
        attempt
            .beside(t)
            .filter(|(tcp, _)| tcp.server.ip() == t.server.ip())
            .and_then(|(tcp, _)| tcp.sni())
    };
    t.sni()
        .or_else(beside)
        .filter(|name| name.parse::<std::net::IpAddr>().is_err())
        .or_else(|| context.names.get(&t.server.ip()).map(String::as_str))
}

fn connection(
    attempt: &Attempt,
    t: &UdpTranscript,
    progress: &UdpProgress,
    finding: Finding,
    context: &Context,
    plots: bool,
) -> model::Connection {
    let beside = attempt.beside(t).map(|(tcp, _)| tcp);
    let (vantage, vantage_why) = match beside
        .map(|tcp| View::of(&tcp.tcp))
        .filter(|view| view.vantage != Vantage::Unknown)
    {
        Some(view) => (view.vantage, format!("as for the TCP connection beside it: {}", view.why)),
        None => vantage(t),
    };
    let mut facts = finding.facts;
    facts.extend(figures(t));
    model::Connection {
        id: t.id,
        attempt: 0,
        source: t.source,
        role: t.role,
        transport: Transport::Udp,
        client: t.client,
        server: Some(t.server),
        server_name: server_name(attempt, t, context).map(str::to_owned),
        user: None,
        tls: tls_facts(t, progress),
        community_id: community_id(UDP, t.client, t.server, 0),
        vantage,
        vantage_why,
        started: t.started(),
        duration: t.ended().since(t.started()),
        frames: t.frames(),
        phase: progress.phase,
        phase_inferred: progress.inferred,
        ended_by: finding.ended_by,
        mechanism: finding.mechanism,
        timeline: udp_timeline::steps(t, progress),
        metrics: metrics(t, progress, facts),
        series: if plots { series::points(&t.udp.log) } else { Vec::new() },
        leftover: false,
        same_as: None,
        verdict: Arc::new(finding.verdict),
    }
}

/// The vantage by the TTLs of both sides alone; each host writes a round one and each router takes one away.
fn vantage(t: &UdpTranscript) -> (Vantage, String) {
    let usual = |side: Side| t.udp.habits[side].ttl.usual().map(|ttl| ttl.value);
    let (client, server) = (usual(Side::Client), usual(Side::Server));
    match (client, server) {
        (Some(client), Some(server)) => match (is_initial(client), is_initial(server)) {
            (true, false) => (
                Vantage::Client,
                format!("the client's datagrams have their initial TTL {client}, the server's arrive with {server}"),
            ),
            (false, true) => (
                Vantage::Server,
                format!("the server's datagrams have their initial TTL {server}, the client's arrive with {client}"),
            ),
            (false, false) => (
                Vantage::Between,
                format!("neither side's datagrams have an initial TTL any more (client {client}, server {server})"),
            ),
            (true, true) => (
                Vantage::Unknown,
                "both sides' datagrams have their initial TTL here".to_owned(),
            ),
        },
        (Some(client), None) if is_initial(client) => (
            Vantage::Client,
            format!("the client's datagrams have their initial TTL {client}; the server's are not seen"),
        ),
        _ => (Vantage::Unknown, "the datagrams do not tell".to_owned()),
    }
}

fn tls_facts(t: &UdpTranscript, progress: &UdpProgress) -> Option<model::TlsFacts> {
    use crate::capture::Timestamp;
    let hello = t.client_hello();
    let answer = t.server_hello();
    if hello.is_none() && answer.is_none() {
        return None;
    }
    let version = answer
        .map(|(_, answer)| answer.version())
        .or(hello.map(|(_, hello)| hello.highest_version()));
    let seconds = |unix: i64| Timestamp(unix.saturating_mul(1_000_000_000));
    Some(model::TlsFacts {
        version: version.map(|version| version.to_string()),
        cipher: answer.map(|(_, answer)| CipherSuite::new(answer.cipher_suite).to_string()),
        sni: t.sni().map(str::to_owned),
        established: progress.completed(Phase::Dtls),
        resumed: answer.is_some_and(|(_, answer)| answer.pre_shared_key),
        certificate: t.certificate().map(|(_, certificate)| model::CertificateFacts {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            names: certificate.dns_names.clone(),
            serial: certificate.serial.clone(),
            not_before: seconds(certificate.not_before),
            not_after: seconds(certificate.not_after),
        }),
    })
}

fn metrics(t: &UdpTranscript, progress: &UdpProgress, facts: Vec<(&'static str, String)>) -> Metrics {
    let both = |of: fn(&UdpHalf) -> u64| [of(&t.udp.half.client), of(&t.udp.half.server)];
    let mut phases: Vec<(Phase, Span)> = progress
        .done
        .iter()
        .map(|milestone| (milestone.phase, milestone.done.since(milestone.began)))
        .collect();
    phases.push((progress.phase, t.ended().since(progress.entered)));
    let repeats = |side: Side| {
        let handshake = t
            .heard
            .repeats
            .iter()
            .filter(|repeat| repeat.seen.side == side && repeat.kind.is_some())
            .count() as u64;
        let opening = match side {
            Side::Client => &t.heard.opening.syns,
            Side::Server => &t.heard.opening.syn_acks,
        };
        handshake + t.heard.ledger[side].repeats + (opening.len() as u64).saturating_sub(1)
    };
    Metrics {
        packets: both(|half| half.packets),
        bytes: both(|half| half.bytes),
        retransmissions: [repeats(Side::Client), repeats(Side::Server)],
        phases,
        // Each side's acknowledgments time the way to it.
        rtt_client: of_spread(&t.heard.ledger.server.rtt),
        rtt_server: of_spread(&t.heard.ledger.client.rtt),
        longest_idle: t.udp.longest_idle.map(|(span, seen)| (span, seen.no)),
        facts,
        ..Metrics::default()
    }
}

/// What RDP-UDP says about itself.
fn figures(t: &UdpTranscript) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(version) = t.version() {
        facts.push(("rdp_udp_version", version.to_string()));
    }
    let opening = &t.heard.opening;
    if let Some(syn) = opening.syn_acks.first().or(opening.syns.first()) {
        facts.push(("rdp_udp_mtu", format!("{} up, {} down", syn.upstream_mtu, syn.downstream_mtu)));
        facts.push(("rdp_udp_mode", if syn.lossy { "lossy" } else { "reliable" }.to_owned()));
    }
    for (name, side) in [("udp_lost_client", Side::Client), ("udp_lost_server", Side::Server)] {
        let ledger = &t.heard.ledger[side];
        if ledger.total() > 0 {
            facts.push((name, format!("{} of {}", ledger.lost(), ledger.total())));
        }
    }
    if let Some(id) = t.correlation_id() {
        facts.push(("correlation_id", id.iter().map(|byte| format!("{byte:02x}")).collect()));
    }
    if opening.syns.len() > 1 {
        let gaps: Vec<String> = opening
            .syns
            .windows(2)
            .filter_map(|pair| Some(pair.get(1)?.seen.at.since(pair.first()?.seen.at)))
            .map(|gap| format!("{:.2}", gap.as_secs_f64()))
            .collect();
        facts.push(("rdp_udp_syn_gaps_s", gaps.join(", ")));
    }
    for (name, count) in [
        ("rdp_udp_ack_vectors", t.heard.vectors.0),
        ("rdp_udp_fec", t.heard.fec),
        ("rdp_udp_congestion", t.heard.congestion),
        ("udp_copies", t.udp.copies),
    ] {
        if count > 0 {
            facts.push((name, count.to_string()));
        }
    }
    facts
}
