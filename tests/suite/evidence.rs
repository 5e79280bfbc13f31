//! Slices and redacted slices of every capture: the same verdict, and nothing that was to be left out.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rdpwhy::capture::{self, FrameNo, OpenOptions, SectionSummary, Source};
use rdpwhy::evidence::html;
use rdpwhy::evidence::numbers::Numbers;
use rdpwhy::evidence::raw;
use rdpwhy::evidence::redact::Redactor;
use rdpwhy::evidence::select::Selection;
use rdpwhy::evidence::slice::{self, Notes, Origin};
use rdpwhy::examine::Examiner;
use rdpwhy::report::{Report, View, json};

use crate::golden;

/// What a verdict turns on.
fn essence(report: &Report) -> [String; 4] {
    let connection = report.overall.connection.and_then(|id| report.connection(id));
    let word = |word: Option<&'static str>| word.unwrap_or("-").to_owned();
    [
        report.overall.cause.slug.to_owned(),
        word(connection.map(|connection| connection.phase.slug())),
        word(connection.map(|connection| connection.ended_by.slug())),
        word(connection.map(|connection| connection.mechanism.slug())),
    ]
}

fn source_of(bytes: Vec<u8>) -> Box<dyn Source + Send> {
    capture::open_stream(
        Box::new(Cursor::new(bytes)),
        Path::new("slice.pcapng"),
        OpenOptions::default(),
    )
    .unwrap()
}

fn examine(bytes: Vec<u8>, args: &[String]) -> Report {
    let mut examiner = Examiner::new(golden::options(args, Path::new("slice.pcapng")));
    let mut source = source_of(bytes);
    while let Some(event) = source.next().unwrap() {
        examiner.feed(event);
    }
    examiner.end_source(source.summary(), None);
    examiner.finish()
}

/// The copy of the attempt that the report is about, and its slice.
fn slice_of(path: &Path, report: &Report) -> Option<(Vec<u8>, Vec<u8>)> {
    let attempt = report.overall.attempt?;
    let selection = Selection::of(report, attempt)?;
    let mut source = capture::open(path, OpenOptions::default()).unwrap();
    let mut copy = Vec::new();
    let (_, copied) = raw::copy(&mut *source, &mut copy, 0, b"", |frame| selection.takes(frame), |_| ()).unwrap();
    let notes = Notes::of(report, report.attempt(attempt)?, &[], "rdpwhy");
    let mut slice = Vec::new();
    let about = SectionSummary::default();
    slice::annotate(
        &mut *source_of(copy.clone()),
        &mut slice,
        &notes,
        &copied.secrets,
        &about,
        Origin::Kept,
        "rdpwhy",
    )
    .unwrap();
    Some((copy, slice))
}

/// Every shipped capture, and those of the public corpus, with the arguments that triage needs.
fn captures() -> Vec<(String, PathBuf, Vec<String>)> {
    let only = std::env::var("RDPWHY_CASE").unwrap_or_default();
    let shipped = golden::truths()
        .into_iter()
        .map(|(name, path, truth)| (name, path, truth.args));
    let mut all: Vec<_> = shipped.collect();
    for entry in golden::corpus().iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension.to_string_lossy().starts_with("pcap"))
        {
            all.push((path.display().to_string(), path, Vec::new()));
        }
    }
    all.retain(|(name, _, _)| name.contains(&only));
    all
}

#[test]
fn the_slice_of_every_capture_gets_the_same_verdict() {
    let mut failed = 0;
    let mut looked = 0;
    for (name, path, args) in captures() {
        let report = golden::examine(&path, &args);
        let Some((_, slice)) = slice_of(&path, &report) else {
            continue;
        };
        looked += 1;
        let (before, after) = (essence(&report), essence(&examine(slice, &args)));
        if before != after {
            failed += 1;
            println!("{name}: {before:?} became {after:?}");
        }
    }
    assert!(looked > 0 && failed == 0, "{failed} of {looked} slices are judged otherwise");
}

/// The redacted copy of a slice, and who knows the pseudonyms.
fn redacted(copy: &[u8]) -> (Vec<u8>, Redactor) {
    let mut redactor = Redactor::with_key(*b"a key for tests, and only those.");
    redactor.learn(&mut *source_of(copy.to_vec()), &mut |_| ()).unwrap();
    let (out, _) = redactor
        .rewrite(&mut *source_of(copy.to_vec()), Vec::new(), &SectionSummary::default())
        .unwrap();
    (out, redactor)
}

#[test]
fn the_redacted_slice_of_every_capture_gets_the_same_verdict() {
    let mut failed = 0;
    let mut looked = 0;
    for (name, path, args) in captures() {
        let report = golden::examine(&path, &args);
        let Some((copy, slice)) = slice_of(&path, &report) else {
            continue;
        };
        looked += 1;
        let (redacted, redactor) = redacted(&copy);
        let pseudonyms: Vec<String> = args
            .iter()
            .map(|word| {
                if word.starts_with("--") || word.parse::<u16>().is_ok() {
                    word.clone()
                } else {
                    redactor.name(word)
                }
            })
            .collect();
        // Secrets are never part of a redacted slice: what only they tell cannot be told from it.
        let before = essence(&examine(without_secrets(slice), &args));
        let again = examine(redacted.clone(), &pseudonyms);
        let after = essence(&again);
        let leaks = leaks(&report, &redacted, &again);
        if before != after || !leaks.is_empty() {
            failed += 1;
            println!("{name}: {before:?} became {after:?}; leaks {leaks:?}");
        }
    }
    assert!(
        looked > 0 && failed == 0,
        "{failed} of {looked} redacted slices are judged otherwise"
    );
}

/// Names and addresses of `report` that still stand in a redacted slice, or in what triage says about it.
fn leaks(report: &Report, redacted: &[u8], again: &Report) -> Vec<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    let mine = |id: u32| Some(id) == report.overall.attempt;
    for connection in report.connections.iter().filter(|connection| mine(connection.attempt)) {
        names.extend(connection.user.clone());
        names.extend(connection.server_name.clone());
        addresses.insert(connection.client.ip());
        addresses.extend(connection.server.map(|server| server.ip()));
        if let Some(tls) = &connection.tls {
            names.extend(tls.sni.clone());
            if let Some(certificate) = &tls.certificate {
                names.extend(certificate.names.iter().cloned());
                let parts = certificate.subject.split(", ").chain(certificate.issuer.split(", "));
                names.extend(parts.filter_map(|part| Some(part.split_once('=')?.1.to_owned())));
            }
        }
    }
    let mut said = Vec::new();
    json::render(again, &View::default(), &mut said).unwrap();
    let holds = |text: &[u8], part: &[u8]| text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    let wide = |name: &str| name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut leaks = Vec::new();
    for name in names
        .into_iter()
        .filter(|name| name.len() >= 5 && name.parse::<IpAddr>().is_err() && name != "localhost")
    {
        let seen = [name.as_bytes(), &wide(&name)].iter().any(|part| holds(redacted, part));
        if seen || holds(&said, name.as_bytes()) {
            leaks.push(name);
        }
    }
    for address in addresses.into_iter().filter(|address| !address.is_loopback()) {
        let bytes = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let text = String::from_utf8_lossy(&said);
        if holds(redacted, &bytes) || text.contains(&format!("{address}\"")) || text.contains(&format!("{address}:")) {
            leaks.push(address.to_string());
        }
    }
    leaks
}

#[test]
fn a_name_from_the_wire_stays_text_in_the_page() {
    let path = golden::captures().join("timer-reset-client-180/client.pcapng");
    let mut report = golden::examine(&path, &[]);
    let evil = "<script>alert(1)</script>\"'><img src=x>\u{202e}";
    for connection in &mut report.connections {
        connection.user = Some(evil.to_owned());
        connection.server_name = Some(evil.to_owned());
        for step in &mut connection.timeline {
            step.text.push_str(evil);
        }
    }
    for attempt in &mut report.attempts {
        let verdict = std::sync::Arc::make_mut(&mut attempt.verdict);
        verdict.summary.push_str(evil);
        verdict.evidence[0].text.push_str(evil);
        verdict.remedies[0].text.push_str(evil);
    }
    let attempt = report.attempts[0].clone();
    let numbers = Numbers::new((1..=200).map(FrameNo::new).collect(), true);
    let mut page = Vec::new();
    html::render(&report, &attempt, &numbers, &jiff::tz::TimeZone::UTC, evil, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("script") && !page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains(" style=") && !page.contains("url("));
    for drawing in ["<svg", "class=\"mark\"", "Sequence numbers", "href=\"#e1\"", "id=\"e1\""] {
        assert!(page.contains(drawing), "{drawing}");
    }
}

#[test]
fn a_bundle_is_whole_and_checks_out() {
    let folder = tempfile::tempdir().unwrap();
    let capture = golden::captures().join("timer-reset-client-180/client.pcapng");
    let run = |goal: &str, options: &[&str]| {
        let goal = folder.path().join(goal);
        let mut command = assert_cmd::Command::cargo_bin("rdpwhy").unwrap();
        command
            .args(["triage", "-q"])
            .arg(&capture)
            .arg("--evidence")
            .arg(&goal)
            .args(options);
        (command.assert(), goal)
    };
    let (done, plain) = run("plain", &[]);
    done.code(1);
    let manifest = std::fs::read_to_string(plain.join("manifest.sha256")).unwrap();
    assert_eq!(manifest.lines().count(), 6);
    for line in manifest.lines() {
        let source = line.strip_prefix("# source: ");
        let (hash, name) = source.unwrap_or(line).split_once("  ").unwrap();
        let path = match source {
            Some(_) => capture.with_file_name(name),
            None => plain.join(name),
        };
        assert_eq!(rdpwhy::evidence::staging::sha256(&path).unwrap(), hash, "{name}");
    }
    let sums = std::process::Command::new("sha256sum")
        .args(["--strict", "-c", "manifest.sha256"])
        .current_dir(&plain)
        .output();
    match sums {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr)),
        Err(error) => println!("skipped: sha256sum: {error}"),
    }
    run("plain", &[]).0.code(2);
    run("plain", &["--force"]).0.code(1);
    let map = folder.path().join("map.json");
    let (done, zip) = run("case.zip", &["--redact", "--map", map.to_str().unwrap()]);
    done.code(1);
    let mut zip = zip::ZipArchive::new(std::fs::File::open(zip).unwrap()).unwrap();
    let names: BTreeSet<String> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    let all = [
        "README.txt",
        "manifest.sha256",
        "report.html",
        "report.json",
        "report.md",
        "slice.pcapng",
    ];
    assert_eq!(names, all.map(str::to_owned).into());
    for name in all {
        let mut bytes = Vec::new();
        std::io::copy(&mut zip.by_name(name).unwrap(), &mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["labuser", "host.lab", "client.pcapng", "10.1.4.20"] {
            assert!(!text.contains(secret), "{name} tells {secret}");
        }
    }
    assert!(std::fs::read_to_string(map).unwrap().contains("labuser"));
    let left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".part") || name.contains(".old"))
        .collect();
    assert_eq!(left, [] as [&str; 0]);
}

#[test]
fn what_is_printed_beside_a_redacted_bundle_knows_no_names() {
    let folder = tempfile::tempdir().unwrap();
    for (case, secrets) in [
        (
            "nla-wrong-password-tls12",
            &["10.1.1.10", "anna", "10.1.3.20", "client.pcapng"][..],
        ),
        ("device-many-flows", &["10.1.1.10", "10.1.4.20", "client.pcapng"]),
    ] {
        let capture = golden::captures().join(case).join("client.pcapng");
        for format in rdpwhy::report::FORMATS {
            let goal = folder.path().join(format!("{case}-{}", format.name));
            let written = folder.path().join(format!("{case}-{}.out", format.name));
            let mut command = assert_cmd::Command::cargo_bin("rdpwhy").unwrap();
            command.args(["triage", "--redact", "--format", format.name]).arg(&capture);
            command.arg("--evidence").arg(&goal).arg("-o").arg(&written);
            let done = command.assert().code(1);
            let output = done.get_output();
            let report = std::fs::read_to_string(&written).unwrap();
            let bundled = std::fs::read_to_string(goal.join("report.md")).unwrap();
            assert!(!report.is_empty() && output.stdout.is_empty());
            for secret in secrets {
                assert!(!report.contains(secret), "{case} as {} tells {secret}", format.name);
                assert!(!bundled.contains(secret), "{case}: the bundle tells {secret}");
            }
            let several = String::from_utf8_lossy(&output.stderr).contains("the attempt of the bundle alone");
            assert_eq!(several, case == "device-many-flows");
        }
    }
}

#[test]
fn frames_and_times_in_a_bundle_are_said_to_be_whose_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for (case, file, code) in [
        ("inject-both-ends", "server.pcapng", 1),
        ("inject-both-ends", "client.pcapng", 1),
        ("session-fallback-nla", "client.pcapng", 0),
    ] {
        let goal = folder.path().join(format!("{case}-{file}"));
        let mut command = assert_cmd::Command::cargo_bin("rdpwhy").unwrap();
        command.args(["triage", "-q", "--evidence"]).arg(&goal);
        command.arg(golden::captures().join(case).join(file)).assert().code(code);
        let page = std::fs::read_to_string(goal.join("report.html")).unwrap();
        let said = std::fs::read_to_string(goal.join("report.md")).unwrap();
        let is_row = |line: &&str| line.starts_with("| for |") || line.starts_with("| against |");
        let mut lines = said.lines().skip_while(|line| !is_row(line));
        let rows: Vec<&str> = lines.by_ref().take_while(is_row).collect();
        assert!(!rows.is_empty());
        for row in rows {
            let seconds = row.split('|').nth(3).unwrap().trim();
            assert!(page.contains(&format!("data-name=\"Seconds\">{seconds}<")), "{case}: {row}");
        }
        assert_eq!(
            page.contains("Frames that a sentence names are those of the source."),
            page.contains("In source")
        );
        let slice = std::fs::read(goal.join("slice.pcapng")).unwrap();
        for (number, comment) in comments(slice) {
            let named = comment.split("packet before (frame ").nth(1);
            if let Some(before) = named.and_then(|rest| rest.split(')').next()) {
                assert!(
                    before.parse::<u64>().unwrap() < number,
                    "{case}: slice frame {number}: {comment}"
                );
            }
        }
    }
}

/// The packet comments of a slice with the numbers of their frames there.
fn comments(slice: Vec<u8>) -> Vec<(u64, String)> {
    let mut comments = Vec::new();
    let mut source = source_of(slice);
    while let Some(event) = source.next().unwrap() {
        if let capture::Event::Frame(frame) = event {
            comments.extend(frame.options.comments().map(|text| (frame.no.number(), text)));
        }
    }
    comments
}

#[test]
fn a_report_is_not_printed_where_there_are_no_pseudonyms() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("empty.pcap");
    let header = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0";
    std::fs::write(&none, header).unwrap();
    let mut command = assert_cmd::Command::cargo_bin("rdpwhy").unwrap();
    command
        .args(["triage", "--redact", "--evidence"])
        .arg(folder.path().join("bundle"))
        .arg(none);
    let done = command.assert().code(3);
    assert!(done.get_output().stdout.is_empty());
}

#[test]
fn a_way_back_that_cannot_be_written_leaves_no_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let capture = golden::captures().join("timer-reset-client-180/client.pcapng");
    let run = |options: &[&str], goal: &Path, map: &Path| {
        let mut command = assert_cmd::Command::cargo_bin("rdpwhy").unwrap();
        command.args(options).arg(goal).arg("--map").arg(map).arg(&capture);
        command.assert()
    };
    let nowhere = folder.path().join("nowhere/map.json");
    let goal = folder.path().join("goal");
    for options in [
        &["triage", "-q", "--redact", "--evidence"][..],
        &["slice", "--redact", "-o"],
        &["redact", "-o"],
    ] {
        run(options, &goal, &nowhere).code(2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{options:?}");
    }
    let map = folder.path().join("map.json");
    run(&["redact", "-o"], &goal, &map).success();
    assert!(goal.is_file());
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(map).unwrap().permissions()) & 0o777,
        0o600
    );
}

fn without_secrets(slice: Vec<u8>) -> Vec<u8> {
    let about = SectionSummary::default();
    let notes = Notes::default();
    slice::annotate(
        &mut *source_of(slice),
        Vec::new(),
        &notes,
        b"",
        &about,
        Origin::Kept,
        "rdpwhy",
    )
    .unwrap()
}
