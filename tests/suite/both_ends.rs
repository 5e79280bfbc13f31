//! Captures of one connection taken at several places: one attempt, and what they prove together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rdpwhy::capture::{self, Event, Frame, FrameNo, Span};
use rdpwhy::diagnosis::Confidence;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;
use rdpwhy::transcript::Transport;

use crate::{golden, laws};

/// Triage of several files together, the clock of the last one fast by `ahead`.
fn examine(paths: &[PathBuf], ahead: Span) -> Report {
    let mut examiner = Examiner::new(Options::default());
    for (place, path) in paths.iter().enumerate() {
        let mut source = capture::open(path, capture::OpenOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        source.by_time();
        let ahead = if place + 1 == paths.len() { ahead } else { Span::default() };
        while let Some(event) = source.next().expect("a readable file") {
            match event {
                Event::Frame(frame) => examiner.push(&Frame {
                    at: frame.at.plus(ahead),
                    ..frame
                }),
                other => examiner.feed(other),
            }
        }
        let mut summary = source.summary();
        let shift = |time: &mut Option<capture::Timestamp>| *time = time.map(|at| at.plus(ahead));
        [
            &mut summary.first,
            &mut summary.last,
            &mut summary.watched.0,
            &mut summary.watched.1,
        ]
        .into_iter()
        .for_each(shift);
        examiner.end_source(summary, None);
    }
    examiner.finish()
}

fn of(case: &str, places: &[&str]) -> Vec<PathBuf> {
    places
        .iter()
        .map(|place| golden::captures().join(case).join(format!("{place}.pcapng")))
        .collect()
}

fn told(report: &Report) -> (&'static str, Option<Confidence>) {
    (report.overall.cause.slug, report.overall.confidence)
}

/// What one capture can only guess, two of them prove, whatever their clocks say.
#[test]
fn both_ends_prove_what_one_can_only_guess() {
    use Confidence::{Certain, Likely};
    let cases = [
        // It came to the client and never left the server, which goes on.
        ("inject-client-only", "middlebox_reset", Certain),
        ("inject-hello-other-ttl", "middlebox_reset", Certain),
        ("inject-same-ttl-other-id", "middlebox_reset", Certain),
        ("device-pf-credssp", "middlebox_reset", Certain),
        // It came to the server and never left the client, which lost the path.
        ("middlebox-reject-server-side", "middlebox_reset", Certain),
        ("reject-answers-then-close", "middlebox_reset", Certain),
        ("timer-reset-server-900", "idle_timeout_reset", Certain),
        // It left the host in whose name it came.
        ("fault-reboot", "peer_reset", Likely),
        ("host-rejects-session", "peer_reset", Likely),
        ("genuine-host-firewall", "peer_reset", Likely),
        // The answer was sent, and never came.
        ("one-way-syn-ack-lost", "one_way_path", Likely),
        ("black-hole-tls-flight", "pmtu_black_hole", Likely),
        ("timer-drop-real", "nat_mapping_lost", Likely),
        // Neither end has an end of it.
        ("session-fin-healthy", "completed", Likely),
    ];
    for (case, cause, confidence) in cases {
        for ahead in [Span::default(), Span::secs(-7_203), Span::secs(86_400)] {
            for places in [["client", "server"], ["server", "client"]] {
                let paths = of(case, &places);
                if !paths.iter().all(|path| path.is_file()) {
                    panic!("{case}: no captures of both ends");
                }
                let report = examine(&paths, ahead);
                assert_eq!(told(&report), (cause, Some(confidence)), "{case}, {places:?}, {ahead:?}");
            }
        }
    }
}

/// All captures of a case together: the connections are found again, and the verdict is one that a person wrote of one of the files.
#[test]
fn captures_of_one_case_agree() {
    let mut cases: BTreeMap<PathBuf, Vec<(PathBuf, golden::Truth)>> = BTreeMap::new();
    for (_, path, truth) in golden::truths() {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["client", "between", "server"].contains(&name.as_str()) && truth.args.is_empty() {
            cases.entry(folder).or_default().push((path, truth));
        }
    }
    let mut joined = 0;
    for (folder, files) in cases.iter().filter(|(_, files)| files.len() > 1) {
        let case = folder.display();
        let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
        let report = examine(&paths, Span::default());
        let truths = || files.iter().flat_map(|(_, truth)| truth.cause.iter().chain(&truth.overall));
        let slug = report.overall.cause.slug;
        assert!(
            truths().any(|cause| cause == slug),
            "{case}: {slug}: {}",
            report.overall.summary
        );
        for one in &report.connections {
            let Some(other) = one.same_as else { continue };
            let leader = report.connection(other).expect("the other one");
            assert_eq!(
                (one.attempt, one.verdict.cause.slug),
                (leader.attempt, leader.verdict.cause.slug),
                "{case}"
            );
            assert_ne!(one.source, leader.source, "{case}");
            assert_eq!(leader.same_as, None, "{case}");
            joined += 1;
        }
        for evidence in report.attempts.iter().flat_map(|attempt| &attempt.verdict.evidence) {
            let packets = report.sources[evidence.source as usize].summary.packets;
            assert!((1..=packets).contains(&evidence.frame.number()), "{case}: {evidence:?}");
        }
    }
    assert!(joined > 100, "{joined}");
}

/// The same file twice is one attempt, and says what it says alone.
#[test]
fn the_same_capture_twice_says_the_same() {
    for case in [
        "nla-wrong-password",
        "inject-client-only",
        "path-loss-session",
        "session-fin-healthy",
    ] {
        let [path] = &of(case, &["client"])[..] else {
            panic!("one path")
        };
        let once = examine(std::slice::from_ref(path), Span::default());
        let twice = examine(&[path.clone(), path.clone()], Span::default());
        assert_eq!(told(&once), told(&twice), "{case}");
        assert_eq!(once.attempts.len(), twice.attempts.len(), "{case}");
        let tcp = |report: &Report| {
            report
                .connections
                .iter()
                .filter(|one| one.transport == Transport::Tcp)
                .count()
        };
        assert_eq!(2 * tcp(&once), tcp(&twice), "{case}");
    }
}

/// A recording that its recorder cut in two is told as one.
#[test]
fn parts_of_one_recording_go_together() {
    for (case, cause) in [
        ("peer-reset-linger", "peer_reset"),
        ("path-loss-session", "path_loss"),
        ("session-fin-healthy", "completed"),
        ("peer-reset-windows", "peer_reset"),
    ] {
        let frames = laws::frames_of(&golden::captures().join(case).join("client.pcapng"));
        let mut examiner = Examiner::new(Options::default());
        for part in frames.chunks(frames.len().div_ceil(2)) {
            for (frame, number) in part.iter().zip(1..) {
                examiner.push(&frame.frame(FrameNo::new(number)));
            }
            examiner.end_source(capture::SourceSummary::default(), None);
        }
        let report = examiner.finish();
        assert_eq!((report.overall.cause.slug, report.attempts.len()), (cause, 1), "{case}");
        assert!(
            report
                .quality
                .iter()
                .any(|one| one.better.as_ref().is_some_and(|better| better.contains("mergecap"))),
            "{case}"
        );
    }
}
