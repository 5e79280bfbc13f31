//! Turns a judged attempt into rows of the report.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::attempt::Attempt;
use crate::attempt::lookups::Lookup;
use crate::capture::{FrameNo, Span};
use crate::diagnosis::rules::dns::rcode;
use crate::diagnosis::{Context, EndedBy, Finding, Judgement, Mechanism, Verdict};
use crate::examine::assemble_udp;
use crate::examine::series;
use crate::examine::times::{self, of_spread};
use crate::flow::Side;
use crate::forensics::View;
use crate::forensics::imprint::Imprint;
use crate::report::community_id::community_id;
use crate::report::model::{self, Metrics, Speaker};
use crate::report::timeline;
use crate::transcript::{Phase, Progress, Transcript, Transport, Vantage};

/// A judged attempt and its connections, not numbered yet.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) attempt: model::Attempt,
    pub(super) connections: Vec<model::Connection>,
    /// The place of the connection that decides.
    pub(super) decisive: usize,
    /// What other captures are compared by, of the TCP connections, which come first.
    pub(super) imprints: Vec<Imprint>,
    /// Places of connections that another capture shows better, each with the place of that.
    pub(super) twins: Vec<(usize, usize)>,
}

impl Row {
    /// The attempt.
    pub(super) fn attempt(&self) -> &model::Attempt {
        &self.attempt
    }

    /// Its connections.
    pub(super) fn connections(&self) -> &[model::Connection] {
        &self.connections
    }
}

/// The verdict that an attempt takes.
pub(super) fn verdict<'a>(attempt: &Attempt, judgement: &'a Judgement) -> Cow<'a, Verdict> {
    let Judgement { findings, udp, decisive } = judgement;
    let all = || findings.iter().chain(udp);
    all().nth(*decisive).or_else(|| all().next()).map_or_else(
        || Cow::Owned(unreachable_verdict(attempt)),
        |finding| Cow::Borrowed(&finding.verdict),
    )
}

/// The server that an attempt is about.
pub(super) fn server(attempt: &Attempt, judgement: &Judgement) -> String {
    let servers = || {
        let udp = attempt.udp.iter().map(|(t, _)| t.server);
        attempt.connections.iter().map(|(t, _)| t.server).chain(udp)
    };
    let decisive = servers().nth(judgement.decisive).or_else(|| servers().next());
    decisive.map_or(String::new(), |server| server.ip().to_string())
}

/// What a row has beside what every reader wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extras {
    /// The points of plots.
    pub(super) plots: bool,
    /// What other captures are compared by.
    pub(super) imprints: bool,
}

/// Assembles the rows of one attempt.
pub(super) fn row(attempt: &Attempt, judgement: Judgement, context: &Context, extras: Extras) -> Row {
    let plots = extras.plots;
    let server = server(attempt, &judgement);
    let Judgement { findings, udp, decisive } = judgement;
    let side_findings = if findings.is_empty() {
        Vec::new()
    } else {
        side_findings(attempt, &udp)
    };
    let conversations = assemble_udp::connections(attempt, udp, context, plots);
    let mut connections: Vec<model::Connection> = attempt
        .connections
        .iter()
        .zip(findings)
        .map(|((t, progress), finding)| connection(t, progress, finding, context, plots))
        .chain(conversations)
        .collect();
    connections.iter_mut().for_each(shrink);
    let tcp = attempt.connections.iter().zip(&connections).filter(|_| extras.imprints);
    let imprints = tcp.map(|((t, _), connection)| Imprint::of(t, connection.vantage)).collect();
    let verdict = connections.get(decisive).or(connections.first()).map_or_else(
        || Arc::new(unreachable_verdict(attempt)),
        |connection| Arc::clone(&connection.verdict),
    );
    Row {
        attempt: model::Attempt {
            id: attempt.id,
            client: attempt.client,
            server,
            started: attempt.started(),
            ended: attempt.ended(),
            connections: Vec::new(),
            decisive: 0,
            verdict,
            side_findings,
        },
        connections,
        decisive,
        imprints,
        twins: Vec::new(),
    }
}

/// Gives back the room that lists and words had to grow in: thousands of rows are kept to the end.
fn shrink(connection: &mut model::Connection) {
    connection.timeline.shrink_to_fit();
    connection.timeline.iter_mut().for_each(|step| trim(&mut step.text));
    connection.metrics.facts.shrink_to_fit();
    connection.metrics.facts.iter_mut().for_each(|(_, words)| trim(words));
    connection.vantage_why.shrink_to_fit();
    let verdict = Arc::make_mut(&mut connection.verdict);
    verdict.evidence.shrink_to_fit();
    verdict.evidence.iter_mut().for_each(|evidence| trim(&mut evidence.text));
    verdict.remedies.shrink_to_fit();
    verdict.remedies.iter_mut().for_each(|remedy| trim(&mut remedy.text));
    verdict.alternatives.shrink_to_fit();
    verdict.alternatives.iter_mut().for_each(|other| trim(&mut other.why));
}

/// Gives back what words do not need, where it is so much that an allocator would notice: it has sizes 16 bytes apart.
fn trim(text: &mut String) {
    if text.capacity() - text.len() >= 16 {
        text.shrink_to_fit();
    }
}

/// The name of a connection's server: as TLS asked for it, or as a lookup told it.
pub(super) fn server_name<'a>(t: &'a Transcript, context: &'a Context) -> Option<&'a str> {
    t.sni()
        .filter(|name| name.parse::<std::net::IpAddr>().is_err())
        .or_else(|| context.names.get(&t.server.ip()).map(String::as_str))
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
fn unreachable_verdict(attempt: &Attempt) -> Verdict {
    use crate::diagnosis::{Act, Confidence, Evidence, Leans, causes};
    let evidence = Evidence {
        source: 0,
        frame: FrameNo::new(0),
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
        leftover: false,
        same_as: None,
        verdict: Arc::new(finding.verdict),
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
            verdict: Arc::clone(&connection.verdict),
            side_findings: Vec::new(),
        },
        connections: vec![connection],
        decisive: 0,
        imprints: Vec::new(),
        twins: Vec::new(),
    }
}

fn connection(t: &Transcript, progress: &Progress, finding: Finding, context: &Context, plots: bool) -> model::Connection {
    let tls = tls_facts(t, progress);
    let view = View::of(&t.tcp);
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
        server_name: server_name(t, context).map(str::to_owned),
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
        series: if plots { series::points(&t.tcp.log) } else { Vec::new() },
        leftover: t.is_leftover(),
        same_as: None,
        verdict: Arc::new(finding.verdict),
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
        rtt_client: of_spread(&tcp.rtt[Side::Client]),
        rtt_server: of_spread(&tcp.rtt[Side::Server]),
        server_response: of_spread(&times::server_response(tcp)),
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
            first.map_or(FrameNo::new(0), |c| c.frames.0),
        )
    });
    let mut all: Vec<(usize, usize, model::Connection)> = Vec::new();
    let mut attempts = Vec::new();
    let mut twins = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let Row {
            mut attempt,
            connections,
            decisive,
            imprints: _,
            twins: own,
        } = row;
        twins.extend(own.into_iter().map(|(place, leader)| ((at, place), (at, leader))));
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
    let mut ids = HashMap::new();
    for (number, (at, place, mut connection)) in all.into_iter().enumerate() {
        connection.id = u32::try_from(number + 1).unwrap_or(u32::MAX);
        if !twins.is_empty() {
            ids.insert((at, place), connection.id);
        }
        if let Some((attempt, decisive)) = attempts.get_mut(at) {
            connection.attempt = attempt.id;
            attempt.connections.push(connection.id);
            if *decisive == place {
                attempt.decisive = connection.id;
            }
        }
        connections.push(connection);
    }
    for (place, leader) in twins {
        let twin = ids.get(&place).and_then(|id| connections.get_mut(*id as usize - 1));
        if let Some(twin) = twin {
            twin.same_as = ids.get(&leader).copied();
        }
    }
    (connections, attempts.into_iter().map(|(attempt, _)| attempt).collect())
}
