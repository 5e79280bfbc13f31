//! A verdict with the session's keys and one without them never contradict each other.

use std::path::{Path, PathBuf};

use rdpwhy::capture::{self, Event, OpenOptions};
use rdpwhy::examine::Examiner;
use rdpwhy::report::Report;
use rdpwhy::transcript::Transport;

use crate::golden;

/// What keys may add, as (with keys, without): each time TLS hides the code, the version or the very protocol that tells.
const LESS_SPECIFIC: &[(&str, &str)] = &[
    // The code of Set Error Info tells a time limit from a logoff.
    ("session_closed_by_server", "completed"),
    // CredSSP's versions are inside.
    ("credssp_policy", "aborted_by_client"),
    // Licensing errors and STATUS_VALID_CLIENT have one size, and Set Error Info carries both kinds of codes.
    ("licensing_failed", "server_denied"),
    ("server_denied", "licensing_failed"),
    // The HTTP status and the tunnel's codes are inside.
    ("gateway_denied", "gateway_http_error"),
    ("gateway_denied", "gateway_closed"),
    ("gateway_closed", "gateway_http_error"),
    ("gateway_http_error", "gateway_closed"),
    // The gateway's yes and its no to a side channel have one size.
    ("gateway_denied", "completed"),
    // An alert's name is inside.
    ("certificate_untrusted", "aborted_by_client"),
    // So is that a record could not be verified: the alert is as long as close_notify.
    ("tls_alert", "session_closed_by_server"),
    ("tls_alert", "peer_reset"),
    ("tls_alert", "completed"),
];

/// Without keys nothing says that HTTPS under a plain name belongs to Remote Desktop.
const UNRECOGNISED: &str = "no_rdp";

fn without_keys(path: &Path, args: &[String]) -> Option<Report> {
    let mut secrets = false;
    let mut examiner = Examiner::new(golden::options(args, path));
    let mut source = capture::open(path, OpenOptions::default()).expect("a capture");
    while let Some(event) = source.next().expect("a readable capture") {
        match event {
            Event::Frame(frame) => examiner.push(&frame),
            Event::Secrets(_) => secrets = true,
        }
    }
    examiner.end_source(source.summary(), None);
    secrets.then(|| examiner.finish())
}

/// Where the two departs from each other beyond what the keys may add.
fn contradictions(with: &Report, without: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let (a, b) = (with.overall.cause.slug, without.overall.cause.slug);
    let gateway = |slug: &str| slug.starts_with("gateway_");
    let allowed = a == b || LESS_SPECIFIC.contains(&(a, b)) || (b == UNRECOGNISED && gateway(a));
    if !allowed {
        found.push(format!("{a} with keys, {b} without"));
    }
    let decisive = |report: &Report| {
        let id = report.overall.connection?;
        report.connections.iter().find(|connection| connection.id == id).cloned()
    };
    if let (true, Some(x), Some(y)) = (a == b, decisive(with), decisive(without)) {
        if x.phase != y.phase && y.phase.place() > x.phase.place() {
            found.push(format!("phase {} with keys, {} without", x.phase, y.phase));
        }
        // A refusal inside DTLS is hidden, and the goodbye that follows it is not.
        let hidden = x.transport == Transport::Udp && a != b;
        if x.ended_by != y.ended_by && !hidden {
            found.push(format!("ended by {} with keys, {} without", x.ended_by, y.ended_by));
        }
    }
    found
}

fn captures() -> Vec<(PathBuf, Vec<String>)> {
    let mut all: Vec<_> = golden::truths()
        .into_iter()
        .filter(|(name, _, _)| name.contains("keys"))
        .map(|(_, path, truth)| (path, truth.args))
        .collect();
    match golden::corpus() {
        Some(folder) => {
            let files = std::fs::read_dir(folder).expect("the corpus");
            all.extend(
                files
                    .map(|entry| (entry.expect("an entry").path(), Vec::new()))
                    .filter(|(path, _)| {
                        path.extension()
                            .is_some_and(|extension| extension == "pcapng" || extension == "pcap")
                    }),
            );
        }
        None => println!("SKIPPED in part: the public corpus is not beside the repository"),
    }
    all
}

#[test]
fn keys_add_detail_and_change_no_verdict() {
    let mut compared = 0;
    let mut contradictory = 0;
    for (path, args) in captures() {
        let Some(without) = without_keys(&path, &args) else { continue };
        compared += 1;
        let with = golden::examine(&path, &args);
        let found = contradictions(&with, &without);
        if !found.is_empty() {
            contradictory += 1;
            println!("{}: {}", path.display(), found.join("; "));
        }
    }
    assert!(compared > 40, "only {compared} captures hold keys");
    assert_eq!(contradictory, 0, "of {compared} captures");
}

#[test]
fn keys_of_another_connection_are_said_not_to_fit() {
    let path = golden::captures().join("session-shadow-nla-tls12/client-keys.pcapng");
    let mut examiner = Examiner::new(golden::options(&[], &path));
    let mut source = capture::open(&path, OpenOptions::default()).expect("a capture");
    while let Some(event) = source.next().expect("a readable capture") {
        match event {
            Event::Frame(frame) => examiner.push(&frame),
            Event::Secrets(text) => {
                // The right random, and the wrong secret.
                let text = String::from_utf8_lossy(text).into_owned();
                for line in text.lines() {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    if let [label, random, secret] = words[..] {
                        let wrong: String = secret.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
                        examiner.secrets(format!("{label} {random} {wrong}\n").as_bytes());
                    }
                }
            }
        }
    }
    examiner.end_source(source.summary(), None);
    let report = examiner.finish();
    assert_eq!(report.overall.cause.slug, "completed");
    assert!(
        report.notes.iter().any(|note| note.text.contains("do not fit")),
        "{:?}",
        report.notes
    );
}

#[test]
fn keys_of_strangers_and_broken_key_logs_are_said_not_to_serve() {
    let path = golden::captures().join("nla-error-locked-out/client.pcapng");
    let foreign = format!("CLIENT_RANDOM {} {}\n", "00".repeat(32), "11".repeat(48));
    for (log, words) in [(foreign.as_str(), "do not fit"), ("not a key log\n", "no usable line")] {
        let mut examiner = Examiner::new(golden::options(&[], &path));
        examiner.secrets(log.as_bytes());
        let mut source = capture::open(&path, OpenOptions::default()).expect("a capture");
        while let Some(event) = source.next().expect("a readable capture") {
            if let Event::Frame(frame) = event {
                examiner.push(&frame);
            }
        }
        examiner.end_source(source.summary(), None);
        let report = examiner.finish();
        assert_eq!(report.overall.cause.slug, "nla_logon_failed");
        assert!(
            report.notes.iter().any(|note| note.text.contains(words)),
            "{:?}",
            report.notes
        );
    }
}
