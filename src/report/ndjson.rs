//! A report in, one JSON line per connection, per attempt and for the whole out, for log pipelines and `jq`.

use std::io::{self, Write};

use serde::Serialize;

use super::json::{
    self, AttemptRecord, ConnectionRecord, NoteRecord, OverallRecord, QualityRecord, SourceRecord, TOOL, TimesRecord, Tool,
};
use super::model::{Attempt, Connection, Report};
use super::plain;
use super::{SCHEMA, View};

/// Writes every line: the connections, the attempts, the summary.
///
/// # Errors
/// Those of `out`.
pub fn render(report: &Report, _: &View, out: &mut dyn Write) -> io::Result<()> {
    report.connections.iter().try_for_each(|one| connection(report, one, out))?;
    report.attempts.iter().try_for_each(|one| attempt(report, one, out))?;
    summary(report, out)
}

/// Writes the line of one connection of `report`.
///
/// # Errors
/// Those of `out`.
pub fn connection(report: &Report, one: &Connection, out: &mut dyn Write) -> io::Result<()> {
    line::<ConnectionRecord<'_>>("connection", json::connection(report, one), out)
}

/// Writes the line of one attempt of `report`.
///
/// # Errors
/// Those of `out`.
pub fn attempt(report: &Report, one: &Attempt, out: &mut dyn Write) -> io::Result<()> {
    line::<AttemptRecord<'_>>("attempt", json::attempt(report, one), out)
}

/// Writes the line of an attempt that was judged live: with what the capture missed meanwhile, and where its evidence is kept, if it is.
///
/// # Errors
/// Those of `out`.
pub fn live_attempt(report: &Report, one: &Attempt, kept: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let record = LiveAttempt {
        attempt: json::attempt(report, one),
        quality: report.quality.iter().map(json::quality).collect(),
        shortfalls: &report.shortfalls,
        kept,
    };
    line("attempt", record, out)
}

#[derive(Serialize)]
struct LiveAttempt<'a> {
    #[serde(flatten)]
    attempt: AttemptRecord<'a>,
    quality: Vec<QualityRecord<'a>>,
    shortfalls: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a str>,
}

/// Writes the last line: everything of `report` but its connections and attempts.
///
/// # Errors
/// Those of `out`.
pub fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let summary = Summary {
        tool: TOOL,
        sources: report.sources.iter().map(json::source).collect(),
        quality: report.quality.iter().map(json::quality).collect(),
        overall: json::overall(&report.overall),
        notes: report.notes.iter().map(json::note).collect(),
        times: json::times(&report.times),
        shortfalls: &report.shortfalls,
    };
    line("summary", summary, out)
}

#[derive(Serialize)]
struct Summary<'a> {
    tool: Tool,
    sources: Vec<SourceRecord<'a>>,
    quality: Vec<QualityRecord<'a>>,
    overall: OverallRecord<'a>,
    notes: Vec<NoteRecord<'a>>,
    times: TimesRecord,
    shortfalls: &'a [String],
}

#[derive(Serialize)]
struct Line<T> {
    schema: &'static str,
    r#type: &'static str,
    #[serde(flatten)]
    record: T,
}

fn line<T: Serialize>(r#type: &'static str, record: T, out: &mut dyn Write) -> io::Result<()> {
    let line = Line {
        schema: SCHEMA,
        r#type,
        record,
    };
    plain::json(&line, out)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::{SCHEMA_TEXT, samples};

    fn lines(report: &Report) -> Vec<Value> {
        let mut bytes = Vec::new();
        render(report, &View::default(), &mut bytes).unwrap();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn every_line_follows_the_schema() {
        let mut schema: Value = serde_json::from_str(SCHEMA_TEXT).unwrap();
        // The document's own rules give way to those of a line.
        let document = schema.as_object_mut().unwrap();
        for key in ["type", "required", "properties"] {
            document.remove(key);
        }
        document.insert("$ref".to_owned(), Value::from("#/$defs/line"));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (name, report) in samples::all() {
            for line in lines(&report) {
                let errors: Vec<String> = validator.iter_errors(&line).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{name}: {errors:#?}");
            }
        }
        assert!(!validator.is_valid(&serde_json::json!({ "schema": "rdpwhy.report/1", "type": "summary" })));
    }

    #[test]
    fn there_is_one_line_for_each_and_one_for_all() {
        for (name, report) in samples::all() {
            let lines = lines(&report);
            let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
            assert_eq!(of("connection"), report.connections.len(), "{name}");
            assert_eq!(of("attempt"), report.attempts.len(), "{name}");
            assert_eq!(
                (of("summary"), &lines.last().unwrap()["type"]),
                (1, &Value::from("summary")),
                "{name}"
            );
        }
    }
}
