//! Every shipped capture against the truth that a person wrote, and the public corpus against its labels.

use std::path::{Path, PathBuf};

use rdpwhy::capture;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;
use serde::Deserialize;

/// What a person says of one capture file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    file: String,
    #[serde(default)]
    pub vantage: Vec<String>,
    /// The overall cause where it differs from the first of `cause`.
    pub overall: Option<String>,
    pub cause: Vec<String>,
    #[serde(default)]
    pub phase: Vec<String>,
    #[serde(default)]
    pub ended_by: Vec<String>,
    #[serde(default)]
    pub mechanism: Vec<String>,
    pub healthy: Option<bool>,
    #[serde(default)]
    pub cite: Vec<u64>,
    #[serde(default)]
    pub never: Vec<String>,
    #[serde(default)]
    pub says: Vec<String>,
    #[serde(default)]
    pub unsaid: Vec<String>,
    #[serde(default)]
    pub args: Vec<String>,
    /// `real` or `moved`: how idle times came about, for the reader.
    #[serde(rename = "idle")]
    pub _idle: Option<String>,
}

#[derive(Debug, Deserialize)]
struct TruthFile {
    capture: Vec<Truth>,
}

#[derive(Debug, Deserialize)]
struct Label {
    file: String,
    cause: Vec<String>,
    phase: Vec<String>,
    ended_by: Vec<String>,
    mechanism: Vec<String>,
}

/// The folder of the shipped captures.
pub fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// The public corpus, which is not part of the repository.
pub fn corpus() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    folder.is_dir().then_some(folder)
}

/// The command line options that bear on the verdict.
pub fn options(args: &[String], path: &Path) -> Options {
    let mut options = Options::default();
    let mut words = args.iter();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        match name.as_str() {
            "--host" => options.hosts.push(value.clone()),
            "--user" => options.users.push(value.clone()),
            "--gateway" => options.gateways.push(value.clone()),
            "--port" => options.ports.push(value.parse().expect("a port")),
            other => panic!("{}: the option {other} is not known here", path.display()),
        }
    }
    options
}

/// Triage of one file.
pub fn examine(path: &Path, args: &[String]) -> Report {
    let mut examiner = Examiner::new(options(args, path));
    let mut source = capture::open(path, capture::OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    source.by_time();
    while let Some(event) = source.next().expect("a readable file") {
        examiner.feed(event);
    }
    examiner.end_source(source.summary(), None);
    examiner.finish()
}

/// Where a report departs from the truth; empty where it does not.
pub fn departures(report: &Report, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    let overall = &report.overall;
    let slug = overall.cause.slug;
    let wanted = truth
        .overall
        .as_ref()
        .map_or_else(|| truth.cause.clone(), |one| vec![one.clone()]);
    let mut expect = |what: &str, wanted: &[String], got: &str| {
        if !wanted.is_empty() && !wanted.iter().any(|one| one == got) {
            wrong.push(format!("{what} is {got}, not {}", wanted.join(" or ")));
        }
    };
    let accepted: Vec<String> = wanted.iter().chain(&truth.cause).cloned().collect();
    expect("cause", &accepted, slug);
    let decisive = overall
        .connection
        .and_then(|id| report.connections.iter().find(|connection| connection.id == id));
    if let Some(connection) = decisive {
        expect("phase", &truth.phase, connection.phase.slug());
        expect("ended_by", &truth.ended_by, connection.ended_by.slug());
        expect("mechanism", &truth.mechanism, connection.mechanism.slug());
        expect("vantage", &truth.vantage, connection.vantage.slug());
        for frame in &truth.cite {
            if !connection
                .verdict
                .evidence
                .iter()
                .any(|evidence| evidence.frame.number() == *frame)
            {
                wrong.push(format!("frame {frame} is not cited"));
            }
        }
    } else if !truth.phase.is_empty() {
        wrong.push("no connection was found".to_owned());
    }
    if let Some(healthy) = truth.healthy
        && healthy != overall.healthy
    {
        wrong.push(format!("healthy is {}", overall.healthy));
    }
    if let Some(connection) = decisive {
        let verdict = &connection.verdict;
        let others = verdict.alternatives.iter().map(|other| other.why.as_str());
        let remedies = verdict.remedies.iter().map(|remedy| remedy.text.as_str());
        let words: Vec<&str> = std::iter::once(verdict.summary.as_str())
            .chain(others)
            .chain(remedies)
            .collect();
        let said = |word: &&String| words.iter().any(|words| words.contains(word.as_str()));
        wrong.extend(
            truth
                .says
                .iter()
                .filter(|word| !said(word))
                .map(|word| format!("{word:?} is not said")),
        );
        wrong.extend(truth.unsaid.iter().filter(said).map(|word| format!("{word:?} is said")));
    }
    for never in &truth.never {
        if !rdpwhy::diagnosis::causes::CAUSES.iter().any(|cause| cause.slug == never) {
            wrong.push(format!("{never} is the name of no cause"));
        }
        let sure = |verdict: &rdpwhy::diagnosis::Verdict| {
            verdict.cause.slug == never && verdict.confidence > rdpwhy::diagnosis::Confidence::Possible
        };
        if report.connections.iter().any(|connection| sure(&connection.verdict)) {
            wrong.push(format!("{never} must not be said here"));
        }
    }
    wrong
}

/// All truths with the file that each is about.
pub fn truths() -> Vec<(String, PathBuf, Truth)> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(captures())
        .expect("captures")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    for folder in folders.iter().filter(|folder| folder.join("truth.toml").is_file()) {
        let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(folder.join("truth.toml")).expect("truth.toml");
        let file: TruthFile = toml::from_str(&text).unwrap_or_else(|error| panic!("{case}/truth.toml: {error}"));
        for truth in file.capture {
            all.push((format!("{case}/{}", truth.file), folder.join(&truth.file), truth));
        }
    }
    all
}

#[test]
fn every_capture_gets_its_verdict() {
    let only = std::env::var("RDPWHY_CASE").unwrap_or_default();
    let all: Vec<_> = truths().into_iter().filter(|(name, _, _)| name.contains(&only)).collect();
    let mut failed = 0;
    for (name, path, truth) in &all {
        let report = examine(path, &truth.args);
        let wrong = departures(&report, truth);
        if !wrong.is_empty() {
            failed += 1;
            println!("{name}: {}\n    {}", wrong.join("; "), report.overall.summary);
        }
    }
    assert!(failed == 0, "{failed} of {} captures are judged wrongly", all.len());
}

#[test]
fn the_public_corpus_gets_its_labels() {
    let Some(folder) = corpus() else {
        println!("SKIPPED: the public corpus is not beside the repository");
        return;
    };
    let text = std::fs::read_to_string(folder.join("labels.json")).expect("labels.json");
    let labels: Vec<Label> = serde_json::from_str(&text).expect("labels");
    let mut failed = 0;
    for label in &labels {
        let report = examine(&folder.join(&label.file), &[]);
        let truth = Truth {
            file: label.file.clone(),
            vantage: Vec::new(),
            overall: None,
            cause: label.cause.clone(),
            phase: label.phase.clone(),
            ended_by: label.ended_by.clone(),
            mechanism: label.mechanism.clone(),
            healthy: None,
            cite: Vec::new(),
            never: Vec::new(),
            says: Vec::new(),
            unsaid: Vec::new(),
            args: Vec::new(),
            _idle: None,
        };
        let wrong = departures(&report, &truth);
        if !wrong.is_empty() {
            failed += 1;
            println!("{}: {}\n    {}", label.file, wrong.join("; "), report.overall.summary);
        }
    }
    assert!(failed == 0, "{failed} of {} captures are judged wrongly", labels.len());
}
