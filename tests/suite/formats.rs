//! What every format owes to its readers, held against the report of every shipped capture.

use std::path::Path;
use std::sync::LazyLock;

use rdpwhy::capture;
use rdpwhy::report::{Detail, FORMATS, Report, SCHEMA_TEXT, View};
use serde_json::Value;

use crate::golden::{captures, examine};

fn render(report: &Report, format: &str, view: &View) -> String {
    let format = FORMATS.iter().find(|one| one.name == format).unwrap();
    let mut bytes = Vec::new();
    (format.render)(report, view, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Looks at the report of every shipped capture; each is made once for all tests.
fn reports(look: impl Fn(&str, &Report)) {
    static REPORTS: LazyLock<Vec<(String, Report)>> = LazyLock::new(|| {
        let paths = capture::expand(&captures()).unwrap();
        let name = |path: &Path| path.strip_prefix(captures()).unwrap().display().to_string();
        paths.iter().map(|path| (name(path), examine(path, &[]))).collect()
    });
    assert!(!REPORTS.is_empty());
    REPORTS.iter().for_each(|(name, report)| look(name, report));
}

#[test]
fn json_of_every_capture_follows_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA_TEXT).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut of_lines = schema.clone();
    for key in ["type", "required", "properties"] {
        of_lines.as_object_mut().unwrap().remove(key);
    }
    of_lines["$ref"] = Value::from("#/$defs/line");
    let line_validator = jsonschema::validator_for(&of_lines).unwrap();
    reports(|name, report| {
        let document: Value = serde_json::from_str(&render(report, "json", &View::default())).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let lines = render(report, "ndjson", &View::default());
        assert_eq!(
            lines.lines().count(),
            report.connections.len() + report.attempts.len() + 1,
            "{name}"
        );
        for line in lines.lines() {
            assert!(
                line_validator.is_valid(&serde_json::from_str(line).unwrap()),
                "{name}: {line}"
            );
        }
    });
}

#[test]
fn numbers_in_a_report_refer_to_what_is_in_it() {
    reports(|name, report| {
        for (number, connection) in (1..).zip(&report.connections) {
            assert_eq!(connection.id, number, "{name}");
            let attempt = report
                .attempt(connection.attempt)
                .unwrap_or_else(|| panic!("{name}: no attempt {}", connection.attempt));
            assert!(attempt.connections.contains(&number), "{name}");
            let source = &report.sources[connection.source as usize].summary;
            assert!(
                connection.frames.0 <= connection.frames.1 && connection.frames.1.number() <= source.packets,
                "{name}"
            );
            for one in &connection.verdict.evidence {
                let packets = report.sources[one.source as usize].summary.packets;
                assert!((1..=packets).contains(&one.frame.number()), "{name}: frame {}", one.frame);
                assert!(!one.text.is_empty(), "{name}");
            }
        }
        for attempt in &report.attempts {
            assert!(attempt.connections.contains(&attempt.decisive), "{name}");
            assert!(report.connection(attempt.decisive).is_some(), "{name}");
        }
    });
}

#[test]
fn text_of_every_capture_fits_and_names_its_verdict_first() {
    let full = View {
        all: true,
        detail: Detail::Verbose,
        ..View::default()
    };
    reports(|name, report| {
        for view in [&View::default(), &full] {
            let text = render(report, "text", view);
            assert!(
                text.starts_with(&format!("{}: ", report.overall.cause.slug)),
                "{name}: {text}"
            );
            for line in text.lines() {
                assert!(line.chars().count() < 80, "{name}: {line}");
                assert!(!line.chars().any(char::is_control), "{name}: {line}");
            }
        }
    });
}

#[test]
fn every_verdict_is_fit_to_be_shown() {
    reports(|name, report| {
        for verdict in report
            .attempts
            .iter()
            .map(|one| &one.verdict)
            .chain(report.connections.iter().map(|one| &one.verdict))
        {
            let slug = verdict.cause.slug;
            assert!(!verdict.summary.is_empty(), "{name}: {slug}");
            assert!(verdict.summary.chars().count() < 360, "{name}: {slug}: {}", verdict.summary);
            // Safest first: what only proves a cause never leads.
            assert!(
                verdict.remedies.first().is_none_or(|first| !first.test_only),
                "{name}: {slug}"
            );
            let said = verdict
                .evidence
                .iter()
                .map(|one| &one.text)
                .chain(verdict.remedies.iter().map(|one| &one.text));
            for text in said.chain(verdict.alternatives.iter().map(|one| &one.why)) {
                assert_eq!(text.trim(), text, "{name}: {slug}");
                assert_eq!(text.matches('`').count() % 2, 0, "{name}: {slug}: {text}");
            }
            assert!(
                verdict.alternatives.iter().all(|other| other.cause != verdict.cause),
                "{name}: {slug} is its own alternative"
            );
        }
    });
}

#[test]
fn markdown_has_room_for_a_ticket() {
    reports(|name, report| {
        let text = render(report, "markdown", &View::default());
        let main = text
            .split("\n**Other attempts**")
            .next()
            .unwrap()
            .split("\n**Looked at by")
            .next()
            .unwrap();
        assert!(main.chars().count() < 4000, "{name}: {}", main.chars().count());
        assert!(text.starts_with(&format!("**`{}`**: ", report.overall.cause.slug)), "{name}");
    });
}

#[test]
fn elastic_gets_a_time_and_a_dataset_with_every_line() {
    reports(|name, report| {
        let lines = render(report, "ecs", &View::default());
        let summary = report.sources.iter().any(|source| source.summary.packets > 0);
        let wanted = report.connections.len() + report.attempts.len() + usize::from(summary);
        assert_eq!(lines.lines().count(), wanted, "{name}");
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(
                line["@timestamp"].is_string() && line["event"]["dataset"].is_string(),
                "{name}"
            );
        }
    });
}
