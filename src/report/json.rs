//! A report in, one JSON document of schema `rdpwhy.report/1` out; and the records that the other JSON formats share.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use serde_json::{Map, Value};

use super::clock::rfc3339;
use super::model::{Attempt, CertificateFacts, Connection, Metrics, Note, Overall, QualityNote, Quantiles, Report, SourceReport};
use super::model::{Speaker, Step, Times, TlsFacts};
use super::plain;
use super::{SCHEMA, View};
use crate::capture::{FrameNo, LinkType, Span};
use crate::diagnosis::{Act, Cause, Confidence, EndedBy, Leans, Mechanism, Remedy, Verdict};
use crate::transcript::{Phase, Role, Transport, Vantage};

/// Writes the document, indented, with a line end.
///
/// # Errors
/// Those of `out`.
pub fn render(report: &Report, _: &View, out: &mut dyn Write) -> io::Result<()> {
    plain::json_indented(&document(report), out)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    tool: Tool,
    sources: Vec<SourceRecord<'a>>,
    quality: Vec<QualityRecord<'a>>,
    connections: Vec<ConnectionRecord<'a>>,
    attempts: Vec<AttemptRecord<'a>>,
    overall: OverallRecord<'a>,
    notes: Vec<NoteRecord<'a>>,
    times: TimesRecord,
    shortfalls: &'a [String],
}

/// The program that wrote the report.
#[derive(Serialize)]
pub(super) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// This program.
pub(super) const TOOL: Tool = Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
};

fn document(report: &Report) -> Document<'_> {
    Document {
        schema: SCHEMA,
        tool: TOOL,
        sources: report.sources.iter().map(source).collect(),
        quality: report.quality.iter().map(quality).collect(),
        connections: report.connections.iter().map(|one| connection(report, one)).collect(),
        attempts: report.attempts.iter().map(|one| attempt(report, one)).collect(),
        overall: overall(&report.overall),
        notes: report.notes.iter().map(note).collect(),
        times: times(&report.times),
        shortfalls: &report.shortfalls,
    }
}

#[derive(Serialize)]
pub(super) struct SourceRecord<'a> {
    path: String,
    sha256: Option<&'a str>,
    format: &'a str,
    link_types: &'a [LinkType],
    packets: u64,
    bytes: u64,
    first: Option<String>,
    last: Option<String>,
    shortfalls: Vec<ShortfallRecord<'a>>,
}

#[derive(Serialize)]
struct ShortfallRecord<'a> {
    text: &'a str,
    offset: Option<u64>,
    after_frame: Option<FrameNo>,
}

pub(super) fn source(source: &SourceReport) -> SourceRecord<'_> {
    let summary = &source.summary;
    SourceRecord {
        path: summary.path.to_string_lossy().into_owned(),
        sha256: source.sha256.as_deref(),
        format: &summary.format,
        link_types: &summary.link_types,
        packets: summary.packets,
        bytes: summary.bytes,
        first: summary.first.map(rfc3339),
        last: summary.last.map(rfc3339),
        shortfalls: (summary.shortfalls.iter())
            .map(|one| ShortfallRecord {
                text: &one.text,
                offset: one.offset,
                after_frame: one.after_frame,
            })
            .collect(),
    }
}

#[derive(Serialize)]
pub(super) struct ConnectionRecord<'a> {
    id: u32,
    attempt: u32,
    source: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_as: Option<u32>,
    role: Role,
    transport: Transport,
    client: Endpoint,
    server: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsRecord<'a>>,
    community_id: Option<&'a str>,
    vantage: Vantage,
    vantage_why: &'a str,
    started: String,
    duration_s: f64,
    first_frame: FrameNo,
    last_frame: FrameNo,
    phase: Phase,
    phase_inferred: bool,
    ended_by: EndedBy,
    mechanism: Mechanism,
    verdict: VerdictRecord<'a>,
    timeline: Vec<StepRecord<'a>>,
    metrics: MetricsRecord,
}

#[derive(Serialize)]
struct Endpoint {
    addr: Option<IpAddr>,
    port: Option<u16>,
}

impl From<Option<SocketAddr>> for Endpoint {
    fn from(endpoint: Option<SocketAddr>) -> Endpoint {
        Endpoint {
            addr: endpoint.map(|endpoint| endpoint.ip()),
            port: endpoint.map(|endpoint| endpoint.port()).filter(|&port| port != 0),
        }
    }
}

#[derive(Serialize)]
struct TlsRecord<'a> {
    version: Option<&'a str>,
    cipher: Option<&'a str>,
    sni: Option<&'a str>,
    established: bool,
    resumed: bool,
    certificate: Option<CertificateRecord<'a>>,
}

#[derive(Serialize)]
struct CertificateRecord<'a> {
    subject: &'a str,
    issuer: &'a str,
    names: &'a [String],
    serial: &'a str,
    not_before: String,
    not_after: String,
}

/// One connection of `report`.
pub(super) fn connection<'a>(report: &'a Report, one: &'a Connection) -> ConnectionRecord<'a> {
    ConnectionRecord {
        id: one.id,
        attempt: one.attempt,
        source: one.source,
        same_as: one.same_as,
        role: one.role,
        transport: one.transport,
        client: Some(one.client).into(),
        server: one.server.into(),
        server_name: one.server_name.as_deref(),
        user: one.user.as_deref(),
        tls: one.tls.as_ref().map(tls),
        community_id: Some(one.community_id.as_str()).filter(|id| !id.is_empty()),
        vantage: one.vantage,
        vantage_why: &one.vantage_why,
        started: rfc3339(one.started),
        duration_s: one.duration.as_secs_f64(),
        first_frame: one.frames.0,
        last_frame: one.frames.1,
        phase: one.phase,
        phase_inferred: one.phase_inferred,
        ended_by: one.ended_by,
        mechanism: one.mechanism,
        verdict: verdict(report, &one.verdict),
        timeline: one.timeline.iter().map(|step| self::step(report, one.source, step)).collect(),
        metrics: metrics(&one.metrics),
    }
}

fn tls(tls: &TlsFacts) -> TlsRecord<'_> {
    TlsRecord {
        version: tls.version.as_deref(),
        cipher: tls.cipher.as_deref(),
        sni: tls.sni.as_deref(),
        established: tls.established,
        resumed: tls.resumed,
        certificate: tls.certificate.as_ref().map(certificate),
    }
}

fn certificate(certificate: &CertificateFacts) -> CertificateRecord<'_> {
    CertificateRecord {
        subject: &certificate.subject,
        issuer: &certificate.issuer,
        names: &certificate.names,
        serial: &certificate.serial,
        not_before: rfc3339(certificate.not_before),
        not_after: rfc3339(certificate.not_after),
    }
}

#[derive(Serialize)]
pub(super) struct VerdictRecord<'a> {
    cause: &'static Cause,
    healthy: bool,
    confidence: Confidence,
    summary: &'a str,
    act: Act,
    evidence: Vec<EvidenceRecord<'a>>,
    alternatives: Vec<AlternativeRecord<'a>>,
    remedies: &'a [Remedy],
}

#[derive(Serialize)]
struct EvidenceRecord<'a> {
    source: u32,
    frame: FrameNo,
    time_s: f64,
    leans: Leans,
    text: &'a str,
}

#[derive(Serialize)]
struct AlternativeRecord<'a> {
    cause: &'static Cause,
    why: &'a str,
}

fn verdict<'a>(report: &Report, verdict: &'a Verdict) -> VerdictRecord<'a> {
    VerdictRecord {
        cause: verdict.cause,
        healthy: verdict.healthy(),
        confidence: verdict.confidence,
        summary: &verdict.summary,
        act: verdict.act,
        evidence: (verdict.evidence.iter())
            .map(|one| EvidenceRecord {
                source: one.source,
                frame: one.frame,
                time_s: report.seconds_into(one.source, one.at),
                leans: one.leans,
                text: &one.text,
            })
            .collect(),
        alternatives: (verdict.alternatives.iter())
            .map(|one| AlternativeRecord {
                cause: one.cause,
                why: &one.why,
            })
            .collect(),
        remedies: &verdict.remedies,
    }
}

#[derive(Serialize)]
struct StepRecord<'a> {
    time_s: f64,
    frame: Option<FrameNo>,
    speaker: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    addr: Option<IpAddr>,
    phase: Phase,
    text: &'a str,
    inferred: bool,
    lost: bool,
}

fn step<'a>(report: &Report, source: u32, step: &'a Step) -> StepRecord<'a> {
    StepRecord {
        time_s: report.seconds_into(source, step.at),
        frame: step.frame,
        speaker: step.speaker.slug(),
        addr: match step.speaker {
            Speaker::Middlebox(addr) => addr,
            Speaker::Client | Speaker::Server | Speaker::Nobody => None,
        },
        phase: step.phase,
        text: &step.text,
        inferred: step.inferred,
        lost: step.lost,
    }
}

#[derive(Serialize)]
struct MetricsRecord {
    packets: Sides<u64>,
    bytes: Sides<u64>,
    retransmissions: Sides<u64>,
    phases: Vec<PhaseRecord>,
    rtt_client: Option<QuantilesRecord>,
    rtt_server: Option<QuantilesRecord>,
    server_response: Option<QuantilesRecord>,
    longest_idle: Option<IdleRecord>,
    mss: Sides<Option<u16>>,
    facts: Map<String, Value>,
}

#[derive(Serialize)]
struct Sides<T> {
    client: T,
    server: T,
}

impl<T> From<[T; 2]> for Sides<T> {
    fn from([client, server]: [T; 2]) -> Sides<T> {
        Sides { client, server }
    }
}

#[derive(Serialize)]
struct PhaseRecord {
    phase: Phase,
    duration_s: f64,
}

#[derive(Serialize)]
struct IdleRecord {
    duration_s: f64,
    after_frame: FrameNo,
}

#[derive(Serialize)]
struct QuantilesRecord {
    min_s: f64,
    median_s: f64,
    p95_s: f64,
    max_s: f64,
    count: u64,
}

impl From<&Quantiles> for QuantilesRecord {
    fn from(quantiles: &Quantiles) -> QuantilesRecord {
        QuantilesRecord {
            min_s: quantiles.min.as_secs_f64(),
            median_s: quantiles.median.as_secs_f64(),
            p95_s: quantiles.p95.as_secs_f64(),
            max_s: quantiles.max.as_secs_f64(),
            count: quantiles.count,
        }
    }
}

fn metrics(metrics: &Metrics) -> MetricsRecord {
    let idle = |&(duration, after_frame): &(Span, FrameNo)| IdleRecord {
        duration_s: duration.as_secs_f64(),
        after_frame,
    };
    MetricsRecord {
        packets: metrics.packets.into(),
        bytes: metrics.bytes.into(),
        retransmissions: metrics.retransmissions.into(),
        phases: (metrics.phases.iter())
            .map(|&(phase, spent)| PhaseRecord {
                phase,
                duration_s: spent.as_secs_f64(),
            })
            .collect(),
        rtt_client: metrics.rtt_client.as_ref().map(Into::into),
        rtt_server: metrics.rtt_server.as_ref().map(Into::into),
        server_response: metrics.server_response.as_ref().map(Into::into),
        longest_idle: metrics.longest_idle.as_ref().map(idle),
        mss: metrics.mss.into(),
        facts: (metrics.facts.iter())
            .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
            .collect(),
    }
}

#[derive(Serialize)]
pub(super) struct AttemptRecord<'a> {
    id: u32,
    client: IpAddr,
    server: &'a str,
    started: String,
    duration_s: f64,
    connections: &'a [u32],
    decisive: u32,
    verdict: VerdictRecord<'a>,
    side_findings: Vec<NoteRecord<'a>>,
}

/// One attempt of `report`.
pub(super) fn attempt<'a>(report: &Report, one: &'a Attempt) -> AttemptRecord<'a> {
    AttemptRecord {
        id: one.id,
        client: one.client,
        server: &one.server,
        started: rfc3339(one.started),
        duration_s: one.ended.since(one.started).as_secs_f64(),
        connections: &one.connections,
        decisive: one.decisive,
        verdict: verdict(report, &one.verdict),
        side_findings: one.side_findings.iter().map(note).collect(),
    }
}

#[derive(Serialize)]
pub(super) struct OverallRecord<'a> {
    cause: &'static Cause,
    healthy: bool,
    confidence: Option<Confidence>,
    attempt: Option<u32>,
    connection: Option<u32>,
    summary: &'a str,
}

pub(super) fn overall(overall: &Overall) -> OverallRecord<'_> {
    OverallRecord {
        cause: overall.cause,
        healthy: overall.healthy,
        confidence: overall.confidence,
        attempt: overall.attempt,
        connection: overall.connection,
        summary: &overall.summary,
    }
}

#[derive(Serialize)]
pub(super) struct NoteRecord<'a> {
    source: u32,
    frames: &'a [FrameNo],
    text: &'a str,
}

pub(super) fn note(note: &Note) -> NoteRecord<'_> {
    NoteRecord {
        source: note.source,
        frames: &note.frames,
        text: &note.text,
    }
}

#[derive(Serialize)]
pub(super) struct QualityRecord<'a> {
    source: u32,
    text: &'a str,
    better: Option<&'a str>,
    frame: Option<FrameNo>,
}

pub(super) fn quality(note: &QualityNote) -> QualityRecord<'_> {
    QualityRecord {
        source: note.source,
        text: &note.text,
        better: note.better.as_deref(),
        frame: note.frame,
    }
}

#[derive(Serialize)]
pub(super) struct TimesRecord {
    rtt: Option<QuantilesRecord>,
    server_response: Option<QuantilesRecord>,
}

pub(super) fn times(times: &Times) -> TimesRecord {
    TimesRecord {
        rtt: times.rtt.as_ref().map(Into::into),
        server_response: times.server_response.as_ref().map(Into::into),
    }
}

#[cfg(test)]
mod tests;
