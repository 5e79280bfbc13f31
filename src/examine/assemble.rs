//! Turns a judged attempt into rows of the report.

use std::net::SocketAddr;

use crate::attempt::Attempt;
use crate::attempt::lookups::Lookup;
use crate::capture::{FrameNo, Span};
use crate::diagnosis::rules::dns::rcode;
use crate::diagnosis::{Context, EndedBy, Finding, Judgement, Mechanism};
use crate::examine::assemble_udp;
use crate::examine::series;
use crate::examine::times::{self, quantiles};
use crate::flow::Side;
use crate::forensics::View;
use crate::report::community_id::community_id;
use crate::report::model::{self, Metrics, Speaker};
use crate::report::timeline;
use crate::transcript::{Phase, Progress, Transcript, Transport, Vantage};

/// A judged attempt and its connections, not numbered yet.
#[derive(Debug)]
pub(super) struct Row {
    attempt: model::Attempt,
    connections: Vec<model::Connection>,
    decisive: usize,
}

impl Row {
    /// The attempt.
    pub(super) fn attempt(&self) -> &model::Attempt {
        &self.attempt
    }

    /// Lets the points of the plots go, which take most of a row's memory.
    pub(super) fn drop_series(&mut self) {
        for connection in &mut self.connections {
            connection.series = Default::default();
        }
    }

    /// Its connections.
    pub(super) fn connections(&self) -> &[model::Connection] {
        &self.connections
    }
}

/// Assembles the rows of one attempt.
pub(super) fn row(attempt: &Attempt, judgement: Judgement, context: &Context) -> Row {
    let Judgement { findings, udp, decisive } = judgement;
    let side_findings = if findings.is_empty() {
        Vec::new()
    } else {
        side_findings(attempt, &udp)
    };
    let conversations = assemble_udp::connections(attempt, udp, context);
    let connections: Vec<model::Connection> = attempt
        .connections
        .iter()
        .zip(findings)
        .map(|((t, progress), finding)| connection(t, progress, finding, context))
        .chain(conversations)
        .collect();
    let first = connections.get(decisive).or(connections.first());
    let server = first.map_or(String::new(), |c| {
        c.server
            .map_or_else(|| c.server_name.clone().unwrap_or_default(), |server| server.ip().to_string())
    });
    let verdict = first.map(|c| c.verdict.clone());
    Row {
        attempt: model::Attempt {
            id: attempt.id,
            client: attempt.client,
            server,
            started: attempt.started(),
            ended: attempt.ended(),
            connections: Vec::new(),
            decisive: 0,
            verdict: verdict.unwrap_or_else(|| unreachable_verdict(attempt)),
            side_findings,
        },
        connections,
        decisive,
    }
}

/// What failed beside the connections that the attempt is judged by.
fn side_findings(attempt: &Attempt, udp: &[Finding]) -> Vec<model::Note> {
    attempt
        .udp
        .iter()
        .zip(udp)
        .filter(|(_, finding)| !finding.verdict.healthy())
        .map(|((t, _), finding)| model::Note {
            source: t.source,
            frames: finding.verdict.evidence.iter().map(|evidence| evidence.frame).collect(),
            text: finding.verdict.summary.clone(),
        })
        .collect()
}

/// An attempt has at least one connection; this keeps the type honest without a panic.
fn unreachable_verdict(attempt: &Attempt) -> crate::diagnosis::Verdict {
    use crate::diagnosis::{Act, Confidence, Evidence, Leans, Verdict, causes};
    let evidence = Evidence {
        source: 0,
        frame: FrameNo(0),
        at: attempt.started(),
        leans: Leans::For,
        text: String::new(),
    };
    Verdict::new(
        &causes::CAPTURE_INCOMPLETE,
        Confidence::Possible,
        Act::Nobody,
        "nothing was seen of this attempt",
        evidence,
    )
}

/// Assembles the row of a lookup that failed.
pub(super) fn lookup_row(lookup: &Lookup, finding: Finding) -> Row {
    let steps = lookup
        .queries
        .iter()
        .map(|query| {
            (
                query.at,
                query.no,
                Speaker::Client,
                format!("asks {} for {} ({})", query.resolver, lookup.name, query.kind),
            )
        })
        .chain(lookup.replies.iter().map(|reply| {
            let words = format!(
                "{} answers for {} ({}): {}",
                reply.resolver,
                lookup.name,
                reply.kind,
                rcode(reply.rcode)
            );
            (reply.at, reply.no, Speaker::Server, words)
        }));
    let mut timeline: Vec<model::Step> = steps
        .map(|(at, no, speaker, text)| model::Step {
            at,
            frame: Some(no),
            speaker,
            phase: Phase::Dns,
            text,
            inferred: false,
            lost: false,
        })
        .collect();
    timeline.sort_by_key(|step| step.frame);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let connection = model::Connection {
        id: 0,
        attempt: 0,
        source: lookup.source,
        role: crate::transcript::Role::Rdp,
        transport: Transport::Dns,
        client: SocketAddr::new(lookup.client, 0),
        server: None,
        server_name: Some(lookup.name.clone()),
        user: None,
        tls: None,
        community_id: String::new(),
        vantage: Vantage::Unknown,
        vantage_why: String::new(),
        started: lookup.started(),
        duration: lookup.last.since(lookup.started()),
        frames: lookup.frames(),
        phase: Phase::Dns,
        phase_inferred: false,
        ended_by: finding.ended_by,
        mechanism: finding.mechanism,
        timeline,
        metrics: Metrics {
            packets: [count(lookup.queries.len()), count(lookup.replies.len())],
            ..Metrics::default()
        },
        series: Vec::new(),
        verdict: finding.verdict.clone(),
    };
    Row {
        attempt: model::Attempt {
            id: 0,
            client: lookup.client,
            server: lookup.name.clone(),
            started: lookup.started(),
            ended: lookup.last,
            connections: Vec::new(),
            decisive: 0,
            verdict: finding.verdict,
            side_findings: Vec::new(),
        },
        connections: vec![connection],
        decisive: 0,
    }
}

fn connection(t: &Transcript, progress: &Progress, finding: Finding, context: &Context) -> model::Connection {
    let tls = tls_facts(t, progress);
    let view = View::of(&t.tcp);
    let server_name = t
        .sni()
        .filter(|name| name.parse::<std::net::IpAddr>().is_err())
        .map(str::to_owned)
        .or_else(|| context.names.get(&t.server.ip()).cloned());
    let mut timeline = timeline::steps(t, progress);
    if finding.ended_by == EndedBy::Middlebox && finding.mechanism == Mechanism::Rst {
        let cited: Vec<FrameNo> = finding.verdict.evidence.iter().map(|one| one.frame).collect();
        timeline::unmask(&mut timeline, &cited);
    }
    model::Connection {
        id: t.id,
        attempt: 0,
        source: t.source,
        role: t.role,
        transport: Transport::Tcp,
        client: t.client,
        server: Some(t.server),
        server_name,
        user: t.cookie().map(str::to_owned),
        tls,
        community_id: community_id(6, t.client, t.server, 0),
        vantage: view.vantage,
        vantage_why: view.why,
        started: t.started(),
        duration: t.ended().since(t.started()),
        frames: t.frames(),
        phase: progress.stated(t.role),
        phase_inferred: progress.inferred,
        ended_by: finding.ended_by,
        mechanism: finding.mechanism,
        timeline,
        metrics: metrics(t, progress, finding.facts),
        series: series::points(&t.tcp.log),
        verdict: finding.verdict,
    }
}

fn tls_facts(t: &Transcript, progress: &Progress) -> Option<model::TlsFacts> {
    use crate::capture::Timestamp;
    use crate::protocol::tls::suite::CipherSuite;
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
        established: progress.completed(crate::transcript::Phase::Tls),
        resumed: answer.is_some() && t.certificate().is_none() && answer.is_some_and(|(_, answer)| answer.pre_shared_key),
        certificate: t.certificate().map(|(_, certificate)| model::CertificateFacts {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            names: certificate
                .dns_names
                .iter()
                .cloned()
                .chain(certificate.ip_addresses.iter().map(ToString::to_string))
                .collect(),
            serial: certificate.serial.clone(),
            not_before: seconds(certificate.not_before),
            not_after: seconds(certificate.not_after),
        }),
    })
}

fn metrics(t: &Transcript, progress: &Progress, mut facts: Vec<(&'static str, String)>) -> Metrics {
    facts.extend(crate::forensics::path::figures(t, progress));
    let tcp = &t.tcp;
    let both = |of: fn(&crate::flow::Half) -> u64| [of(&tcp.half.client), of(&tcp.half.server)];
    let mut phases: Vec<(crate::transcript::Phase, Span)> = progress
        .done
        .iter()
        .map(|milestone| (milestone.phase, milestone.done.since(milestone.began)))
        .collect();
    phases.push((progress.phase, t.ended().since(progress.entered)));
    Metrics {
        packets: both(|half| half.packets),
        bytes: both(|half| half.bytes),
        retransmissions: both(|half| half.retransmissions),
        phases,
        rtt_client: quantiles(tcp.rtt[Side::Client].as_deref()),
        rtt_server: quantiles(tcp.rtt[Side::Server].as_deref()),
        server_response: quantiles(times::server_response(tcp).as_ref()),
        longest_idle: tcp.longest_idle.map(|(span, seen)| (span, seen.no)),
        mss: [
            tcp.habits.client.syn.and_then(|syn| syn.mss),
            tcp.habits.server.syn.and_then(|syn| syn.mss),
        ],
        facts,
    }
}

/// Sorts the rows by time and numbers them from 1.
pub(super) fn number(mut rows: Vec<Row>) -> (Vec<model::Connection>, Vec<model::Attempt>) {
    rows.sort_by_key(|row| {
        let first = row.connections.first();
        (
            first.map_or(0, |c| c.source),
            row.attempt.started,
            first.map_or(FrameNo(0), |c| c.frames.0),
        )
    });
    let mut all: Vec<(usize, usize, model::Connection)> = Vec::new();
    let mut attempts = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let Row {
            mut attempt,
            connections,
            decisive,
        } = row;
        attempt.id = u32::try_from(at + 1).unwrap_or(u32::MAX);
        all.extend(
            connections
                .into_iter()
                .enumerate()
                .map(|(place, connection)| (at, place, connection)),
        );
        attempts.push((attempt, decisive));
    }
    all.sort_by_key(|(_, _, connection)| (connection.source, connection.started, connection.frames.0));
    let mut connections = Vec::with_capacity(all.len());
    for (number, (at, place, mut connection)) in all.into_iter().enumerate() {
        connection.id = u32::try_from(number + 1).unwrap_or(u32::MAX);
        if let Some((attempt, decisive)) = attempts.get_mut(at) {
            connection.attempt = attempt.id;
            attempt.connections.push(connection.id);
            if *decisive == place {
                attempt.decisive = connection.id;
            }
        }
        connections.push(connection);
    }
    (connections, attempts.into_iter().map(|(attempt, _)| attempt).collect())
}
