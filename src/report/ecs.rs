//! A report in, JSON lines in the names of the Elastic Common Schema out, ready for a SIEM.
//!
//! One line per connection (`event.dataset` `rdpwhy.connection`), per attempt (`rdpwhy.attempt`; a failed one is an alert) and
//! for the whole (`rdpwhy.summary`, at the time of the last packet; none where no capture holds a packet). What the schema has
//! no name for stands under `rdpwhy`.
//!
//! Field reference: <https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html>

use std::io::{self, Write};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::clock::rfc3339;
use super::model::{Attempt, CertificateFacts, Connection, Report, TlsFacts};
use super::plain;
use super::{SCHEMA, View};
use crate::capture::{Span, Timestamp};
use crate::diagnosis::{EndedBy, Mechanism, Verdict};
use crate::transcript::{Role, Transport};

/// The version of the schema whose names are used.
const ECS: &str = "8.17.0";

/// Writes every line.
///
/// # Errors
/// Those of `out`.
pub fn render(report: &Report, _: &View, out: &mut dyn Write) -> io::Result<()> {
    let lines = report.connections.iter().map(|one| connection(report, one));
    let lines = lines
        .chain(report.attempts.iter().map(|one| attempt(report, one)))
        .chain(summary(report));
    for line in lines {
        plain::json(&line, out)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// One connection of `report`.
pub fn connection(report: &Report, one: &Connection) -> Value {
    let metrics = &one.metrics;
    let side = |addr: Option<IpAddr>, port: Option<u16>, name: Option<&str>, side: usize| {
        json!({
            "address": name.map(str::to_owned).or_else(|| addr.map(|addr| addr.to_string())),
            "ip": addr,
            "port": port.filter(|&port| port != 0),
            "domain": name,
            "packets": metrics.packets[side],
            "bytes": metrics.bytes[side],
        })
    };
    let server_ip = one.server.map(|server| server.ip());
    let (transport, protocol) = match (one.transport, one.role) {
        (Transport::Dns, _) => (None, "dns"),
        (transport, Role::Rdp | Role::RdpUdp) => (Some(transport.slug()), "rdp"),
        (transport, Role::Gateway) => (Some(transport.slug()), "https"),
        (transport, Role::GatewayUdp) => (Some(transport.slug()), "dtls"),
    };
    let mut event = event("connection", "event", &one.verdict, one.started, one.duration);
    event["type"] = json!(types(one));
    trimmed(json!({
        "@timestamp": rfc3339(one.started),
        "ecs": { "version": ECS },
        "message": one.verdict.summary,
        "event": event,
        "network": {
            "transport": transport,
            "protocol": protocol,
            "type": if one.client.is_ipv4() { "ipv4" } else { "ipv6" },
            "community_id": Some(&one.community_id).filter(|id| !id.is_empty()),
            "packets": metrics.packets.iter().sum::<u64>(),
            "bytes": metrics.bytes.iter().sum::<u64>(),
        },
        "source": side(Some(one.client.ip()), Some(one.client.port()), None, 0),
        "destination": side(server_ip, one.server.map(|server| server.port()), one.server_name.as_deref(), 1),
        "user": { "name": one.user },
        "related": related(one.client.ip(), one),
        "tls": one.tls.as_ref().map(tls),
        "log": { "file": { "path": path(report, one.source) } },
        "observer": observer(),
        "rdpwhy": {
            "schema": SCHEMA,
            "connection": one.id,
            "attempt": one.attempt,
            "role": one.role,
            "phase": one.phase,
            "phase_inferred": one.phase_inferred,
            "ended_by": one.ended_by,
            "mechanism": one.mechanism,
            "vantage": one.vantage,
            "verdict": verdict(&one.verdict),
            "first_frame": one.frames.0,
            "last_frame": one.frames.1,
        },
    }))
}

/// One attempt of `report`.
pub fn attempt(report: &Report, one: &Attempt) -> Value {
    let decisive = report.connection(one.decisive);
    let failed = outcome(&one.verdict) == "failure";
    let mut event = event(
        "attempt",
        if failed { "alert" } else { "event" },
        &one.verdict,
        one.started,
        one.ended.since(one.started),
    );
    event["type"] = json!(decisive.map_or_else(|| vec!["connection"], types));
    trimmed(json!({
        "@timestamp": rfc3339(one.started),
        "ecs": { "version": ECS },
        "message": one.verdict.summary,
        "event": event,
        "network": {
            "protocol": "rdp",
            "type": if one.client.is_ipv4() { "ipv4" } else { "ipv6" },
            "community_id": decisive.map(|one| &one.community_id).filter(|id| !id.is_empty()),
        },
        "source": { "address": one.client.to_string(), "ip": one.client },
        "destination": {
            "address": one.server,
            "ip": one.server.parse::<IpAddr>().ok(),
            "port": decisive.and_then(|one| one.server).map(|server| server.port()),
            "domain": decisive.and_then(|one| one.server_name.as_deref()),
        },
        "user": { "name": decisive.and_then(|one| one.user.as_deref()) },
        "related": decisive.map(|decisive| related(one.client, decisive)),
        "log": { "file": { "path": decisive.and_then(|one| path(report, one.source)) } },
        "observer": observer(),
        "rdpwhy": {
            "schema": SCHEMA,
            "attempt": one.id,
            "connections": one.connections,
            "decisive": one.decisive,
            "phase": decisive.map(|one| one.phase),
            "ended_by": decisive.map(|one| one.ended_by),
            "mechanism": decisive.map(|one| one.mechanism),
            "verdict": verdict(&one.verdict),
        },
    }))
}

/// The whole; `None` where no packet gives it a time.
fn summary(report: &Report) -> Option<Value> {
    let last = report.sources.iter().filter_map(|source| source.summary.last).max()?;
    let overall = &report.overall;
    let undecided = matches!(overall.cause.slug, "capture_incomplete" | "no_rdp");
    Some(trimmed(json!({
        "@timestamp": rfc3339(last),
        "ecs": { "version": ECS },
        "message": overall.summary,
        "event": {
            "kind": "event",
            "category": ["network"],
            "type": ["info"],
            "module": "rdpwhy",
            "dataset": "rdpwhy.summary",
            "outcome": if undecided { "unknown" } else if overall.cause.healthy { "success" } else { "failure" },
            "code": overall.cause,
            "reason": overall.summary,
        },
        "observer": observer(),
        "rdpwhy": {
            "schema": SCHEMA,
            "cause": overall.cause,
            "healthy": overall.healthy,
            "confidence": overall.confidence,
            "attempt": overall.attempt,
            "connection": overall.connection,
            "attempts": report.attempts.len(),
            "connections": report.connections.len(),
            "sources": report.sources.iter().map(|source| source.summary.path.to_string_lossy()).collect::<Vec<_>>(),
            "quality": report.quality.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(),
            "shortfalls": report.shortfalls,
        },
    })))
}

/// What a SIEM pivots on.
fn related(client: IpAddr, connection: &Connection) -> Value {
    let ips: Vec<IpAddr> = [Some(client), connection.server.map(|server| server.ip())]
        .into_iter()
        .flatten()
        .collect();
    json!({
        "ip": ips,
        "hosts": connection.server_name.as_ref().map(|name| vec![name]),
        "user": connection.user.as_ref().map(|user| vec![user]),
    })
}

fn event(what: &str, kind: &str, verdict: &Verdict, started: Timestamp, lasted: Span) -> Value {
    json!({
        "kind": kind,
        "category": ["network"],
        "module": "rdpwhy",
        "dataset": format!("rdpwhy.{what}"),
        "outcome": outcome(verdict),
        "code": verdict.cause,
        "reason": verdict.summary,
        "start": rfc3339(started),
        "end": rfc3339(started.plus(lasted)),
        "duration": lasted.0,
    })
}

fn outcome(verdict: &Verdict) -> &'static str {
    match verdict.cause.slug {
        _ if verdict.healthy() => "success",
        "capture_incomplete" | "no_rdp" => "unknown",
        _ => "failure",
    }
}

/// The schema's `event.type` of category `network`.
fn types(connection: &Connection) -> Vec<&'static str> {
    let mut types = vec!["connection"];
    if connection.ended_by != EndedBy::Open {
        types.push("end");
    }
    if matches!(
        connection.mechanism,
        Mechanism::Refusal | Mechanism::Icmp | Mechanism::TlsAlert
    ) {
        types.push("denied");
    }
    types
}

fn verdict(verdict: &Verdict) -> Value {
    json!({
        "cause": verdict.cause,
        "healthy": verdict.healthy(),
        "confidence": verdict.confidence,
        "act": verdict.act,
        "evidence": verdict.evidence.iter().map(|one| json!({
            "frame": one.frame,
            "leans": one.leans,
            "text": one.text,
        })).collect::<Vec<_>>(),
        "alternatives": verdict.alternatives.iter().map(|one| one.cause.slug).collect::<Vec<_>>(),
        "remedies": verdict.remedies.iter().filter(|one| !one.test_only).map(|one| one.text.as_str()).collect::<Vec<_>>(),
    })
}

fn tls(tls: &TlsFacts) -> Value {
    let (protocol, version) = match tls.version.as_deref().and_then(|version| version.split_once(' ')) {
        Some((protocol, version)) => (Some(protocol.to_ascii_lowercase()), Some(version)),
        None => (None, tls.version.as_deref()),
    };
    json!({
        "version_protocol": protocol,
        "version": version,
        "cipher": tls.cipher,
        "established": tls.established,
        "resumed": tls.resumed,
        "client": { "server_name": tls.sni },
        "server": tls.certificate.as_ref().map(certificate),
    })
}

fn certificate(certificate: &CertificateFacts) -> Value {
    let (not_before, not_after) = (rfc3339(certificate.not_before), rfc3339(certificate.not_after));
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": not_before,
        "not_after": not_after,
        "x509": {
            "subject": { "distinguished_name": certificate.subject },
            "issuer": { "distinguished_name": certificate.issuer },
            "alternative_names": certificate.names,
            "serial_number": certificate.serial,
            "not_before": not_before,
            "not_after": not_after,
        },
    })
}

fn observer() -> Value {
    json!({ "product": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION"), "type": "network" })
}

fn path(report: &Report, source: u32) -> Option<String> {
    let source = report.sources.get(source as usize)?;
    Some(source.summary.path.to_string_lossy().into_owned())
}

/// `value` without nulls and empty objects: in this schema what is not known is not there.
fn trimmed(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            (members.into_iter())
                .map(|(name, member)| (name, trimmed(member)))
                .filter(|(_, member)| !member.is_null() && member.as_object().is_none_or(|inner| !inner.is_empty()))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn lines(report: &Report) -> Vec<Value> {
        let mut bytes = Vec::new();
        render(report, &View::default(), &mut bytes).unwrap();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Values that the schema closes: a SIEM drops or misfiles what is not among them.
    #[test]
    fn closed_vocabularies_are_kept() {
        for (name, report) in samples::all() {
            for line in lines(&report) {
                let event = &line["event"];
                let one_of = |value: &Value, words: &[&str]| words.iter().any(|word| value == word);
                assert!(one_of(&event["kind"], &["alert", "event"]), "{name}: {event}");
                assert!(
                    one_of(&event["outcome"], &["success", "failure", "unknown"]),
                    "{name}: {event}"
                );
                assert_eq!(event["category"], json!(["network"]), "{name}");
                for word in event["type"].as_array().unwrap() {
                    assert!(one_of(word, &["connection", "end", "denied", "info"]), "{name}: {word}");
                }
                assert!(line["@timestamp"].as_str().unwrap().ends_with('Z'), "{name}");
                assert_eq!(line["ecs"]["version"], ECS, "{name}");
            }
        }
    }

    #[test]
    fn a_failed_attempt_is_one_alert() {
        let lines = lines(&samples::failed_logon());
        let alerts: Vec<&Value> = lines.iter().filter(|line| line["event"]["kind"] == "alert").collect();
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0]["event"]["dataset"], "rdpwhy.attempt");
        assert_eq!(alerts[0]["event"]["code"], "nla_logon_failed");
        assert_eq!(alerts[0]["user"]["name"], "CONTOSO\\anna");
    }

    #[test]
    fn a_connection_carries_its_ends_its_tls_and_its_community_id() {
        insta::assert_snapshot!(
            "connection",
            serde_json::to_string_pretty(&lines(&samples::failed_logon())[0]).unwrap()
        );
    }

    #[test]
    fn nothing_is_null() {
        fn has_null(value: &Value) -> bool {
            match value {
                Value::Null => true,
                Value::Object(members) => members.values().any(has_null),
                Value::Array(items) => items.iter().any(has_null),
                _ => false,
            }
        }
        for (name, report) in samples::all() {
            assert!(!lines(&report).iter().any(has_null), "{name}");
        }
    }
}
