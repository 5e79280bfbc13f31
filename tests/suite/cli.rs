//! The program as a user runs it: arguments, exit codes, standard output and standard error.

use assert_cmd::Command;
use rdpwhy::diagnosis::CAUSES;

/// The program, without the settings of whoever runs the tests.
fn rdpwhy() -> Command {
    let mut command = Command::cargo_bin("rdpwhy").unwrap();
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "SSLKEYLOGFILE", "TERM", "COLORTERM"] {
        command.env_remove(name);
    }
    command
}

/// What a run printed, and how it ended.
struct Ran {
    out: String,
    err: String,
    code: i32,
}

fn run(arguments: &[&str]) -> Ran {
    let output = rdpwhy().args(arguments).output().unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

#[test]
fn help_and_version_are_answers() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for command in ["triage", "explain", "causes", "schema", "completions", "man"] {
        assert!(help.out.contains(command), "{command} is missing in {}", help.out);
    }
    assert!(help.out.lines().all(|line| line.chars().count() <= 80), "{}", help.out);
    let version = run(&["--version"]);
    assert_eq!(
        (version.code, version.out.trim()),
        (0, concat!("rdpwhy ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn mistakes_go_to_standard_error_with_code_2() {
    for arguments in [
        &[][..],
        &["triage"],
        &["-q", "-v", "a.pcap"],
        &["--format", "xml", "a.pcap"],
        &["explain"],
        &["completions", "cobol"],
        &["--no-such-option"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn explain_reads_what_people_type() {
    for (arguments, told) in [
        (&["explain", "0x904", "0x7"][..], "disconnectReasonAtClientWinsockFDCLOSE"),
        (&["explain", "2308"], "disconnectReasonAtClientWinsockFDCLOSE"),
        (&["explain", "-1073741715"], "STATUS_LOGON_FAILURE"),
        (&["explain", "HYBRID_REQUIRED_BY_SERVER"], "HYBRID_REQUIRED_BY_SERVER"),
        (&["explain", "kerberos", "7"], "KDC_ERR_S_PRINCIPAL_UNKNOWN"),
        (&["explain", "--list"], "NXDOMAIN"),
        (&["explain", "--list", "dns"], "NXDOMAIN"),
        (&["explain", "0xC000FFFE"], "is in no table"),
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.out.contains(told), "{arguments:?}: {}", ran.out);
        assert!(
            ran.out.lines().all(|line| line.chars().count() <= 80),
            "{arguments:?}: {}",
            ran.out
        );
    }
    let unknown = run(&["explain", "zzzz"]);
    assert_eq!((unknown.code, unknown.out.as_str(), unknown.err.lines().count()), (2, "", 1));
    assert_eq!(run(&["explain", "--list", "no-such-space"]).code, 2);
}

#[test]
fn causes_prints_the_whole_table() {
    let ran = run(&["causes"]);
    assert_eq!(ran.code, 0);
    for cause in CAUSES {
        assert!(ran.out.contains(cause.slug), "{}", cause.slug);
    }
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).out).unwrap();
    assert_eq!(schema["properties"]["schema"]["const"], "rdpwhy.report/1");
}

#[test]
fn completions_and_manual_name_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).out.contains("explain"), "{shell}");
    }
    let man = run(&["man"]).out;
    assert!(man.contains(".TH rdpwhy 1") && man.contains("explain"), "{man}");
}

#[test]
fn colour_comes_when_it_is_wanted() {
    let escapes = |command: &mut Command| {
        String::from_utf8(command.output().unwrap().stdout)
            .unwrap()
            .contains('\u{1b}')
    };
    assert!(!escapes(rdpwhy().args(["causes"])), "a pipe is no terminal");
    assert!(escapes(rdpwhy().args(["causes", "--color", "always"])));
    assert!(
        escapes(rdpwhy().args(["causes", "--color", "always"]).env("NO_COLOR", "1")),
        "the argument wins"
    );
    assert!(escapes(rdpwhy().args(["causes"]).env("CLICOLOR_FORCE", "1")));
    assert!(!escapes(
        rdpwhy().args(["causes", "--color", "never"]).env("CLICOLOR_FORCE", "1")
    ));
}

/// A reader that leaves early (`rdpwhy ... | head -1`) ends the run quietly, with its ordinary code.
#[cfg(unix)]
#[test]
fn a_reader_that_leaves_is_no_error() {
    use std::process::{Command, Stdio};

    for arguments in [
        &["explain", "--list"][..],
        &["causes"],
        &["schema"],
        &["man"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_rdpwhy"))
            .args(arguments)
            .stdout(Stdio::from(writer))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{arguments:?}"
        );
    }
}

/// A capture with a SYN to port 3389 and the host's refusal of it: pcap, Ethernet, IPv4.
fn refused() -> Vec<u8> {
    let mut bytes = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 0xffff, 1].map(u32::to_be_bytes).concat();
    bytes[4..8].copy_from_slice(&[0, 2, 0, 4]);
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    for (at, from, to, ports, seq, ack, flags) in [
        (0_u32, client, server, [50_000_u16, 3389], 1000_u32, 0_u32, 0x02_u8),
        (500, server, client, [3389, 50_000], 0, 1001, 0x14),
    ] {
        let tcp = [
            &ports.map(u16::to_be_bytes).concat()[..],
            &seq.to_be_bytes(),
            &ack.to_be_bytes(),
            &[0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0],
        ]
        .concat();
        let ip = [&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0][..], &from, &to].concat();
        let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0][..], &ip, &tcp].concat();
        let length = u32::try_from(frame.len()).unwrap();
        bytes.extend([1_772_621_580, at, length, length].map(u32::to_be_bytes).concat());
        bytes.extend(frame);
    }
    bytes
}

/// A directory with a capture, an empty file, a text file and an empty directory.
fn captures() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("refused.pcap"), refused()).unwrap();
    std::fs::write(at("empty.pcap"), b"").unwrap();
    std::fs::write(at("notes.txt"), "the user says it does not work\n").unwrap();
    std::fs::create_dir(at("nothing")).unwrap();
    directory
}

fn run_in(directory: &tempfile::TempDir, arguments: &[&str]) -> Ran {
    let output = rdpwhy().current_dir(directory.path()).args(arguments).output().unwrap();
    Ran {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

#[test]
fn what_cannot_be_read_is_told_in_one_line_and_code_2() {
    let directory = captures();
    for path in ["missing.pcap", "empty.pcap", "notes.txt", "nothing"] {
        for arguments in [&[path][..], &["triage", path], &["--format", "json", path]] {
            let ran = run_in(&directory, arguments);
            assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
            assert_eq!(ran.err.lines().count(), 1, "{arguments:?}: {}", ran.err);
            assert!(
                ran.err.starts_with("rdpwhy: ") && ran.err.contains(path),
                "{arguments:?}: {}",
                ran.err
            );
        }
    }
}

#[test]
fn the_other_paths_are_still_read() {
    let directory = captures();
    let ran = run_in(
        &directory,
        &["missing.pcap", "notes.txt", "refused.pcap", "nothing", "--format", "json"],
    );
    assert_eq!((ran.code, ran.err.lines().count()), (1, 3), "{}", ran.err);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["sources"].as_array().unwrap().len(), 1);
    assert_eq!(report["sources"][0]["packets"], 2);
    assert_eq!(report["overall"]["cause"], "port_closed");
}

#[test]
fn a_directory_is_every_capture_in_it_and_a_path_is_read_once() {
    let directory = captures();
    let ran = run_in(&directory, &[".", "refused.pcap", "./refused.pcap", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(report["sources"].as_array().unwrap().len(), 1, "{}", ran.err);
}

#[test]
fn standard_input_is_a_capture_too() {
    let output = rdpwhy().args(["-", "-q"]).write_stdin(refused()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(b"port_closed: "));
    let nothing = rdpwhy().args(["-"]).write_stdin("").output().unwrap();
    assert_eq!((nothing.status.code(), nothing.stdout.as_slice()), (Some(2), &b""[..]));
}

#[test]
fn a_report_file_is_whole_and_never_overwritten_unasked() {
    let directory = captures();
    let arguments = ["refused.pcap", "--format", "json", "-o", "report.json"];
    let first = run_in(&directory, &arguments);
    assert_eq!((first.code, first.out.as_str(), first.err.as_str()), (1, "", ""));
    let written = std::fs::read_to_string(directory.path().join("report.json")).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&written).is_ok());

    std::fs::write(directory.path().join("report.json"), "mine").unwrap();
    let second = run_in(&directory, &arguments);
    assert_eq!((second.code, second.err.lines().count()), (2, 1), "{}", second.err);
    assert_eq!(std::fs::read_to_string(directory.path().join("report.json")).unwrap(), "mine");

    let forced = run_in(&directory, &[&arguments[..], &["--force"]].concat());
    assert_eq!(forced.code, 1, "{}", forced.err);
    assert_eq!(
        std::fs::read_to_string(directory.path().join("report.json")).unwrap(),
        written
    );

    for target in ["refused.pcap", "nothing", "no-such-directory/report.json"] {
        let ran = run_in(&directory, &["refused.pcap", "-o", target, "--force"]);
        assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "{target}: {}", ran.err);
    }
    assert_eq!(std::fs::read(directory.path().join("refused.pcap")).unwrap(), refused());
    let left = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".part"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_hash_is_given_where_it_is_asked_for() {
    use sha2::Digest;

    let directory = captures();
    let hash = |arguments: &[&str]| {
        let report: serde_json::Value = serde_json::from_str(&run_in(&directory, arguments).out).unwrap();
        report["sources"][0]["sha256"].clone()
    };
    let wanted: String = sha2::Sha256::digest(refused())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash(&["refused.pcap", "--format", "json", "--hash"]), wanted);
    assert_eq!(hash(&["refused.pcap", "--format", "json"]), serde_json::Value::Null);
}

#[test]
fn times_are_understood_by_the_capture() {
    let directory = captures();
    let attempts = |arguments: &[&str]| {
        let ran = run_in(&directory, &[&["refused.pcap", "--format", "json"][..], arguments].concat());
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        report["attempts"].as_array().unwrap().len()
    };
    assert_eq!(attempts(&["--since", "10:52", "--until", "10:54"]), 1);
    assert_eq!(attempts(&["--since", "2026-03-04T10:54:00Z"]), 0);
    assert_eq!(attempts(&["--since", "-5m"]), 1);
    assert_eq!(attempts(&["--until", "10:52"]), 0);
    assert_eq!(attempts(&["--since", "+1s"]), 0);
    let piped = rdpwhy()
        .args(["-", "--since", "-5m"])
        .write_stdin(refused())
        .output()
        .unwrap();
    assert_eq!(piped.status.code(), Some(2));
}

#[test]
fn a_missing_key_log_is_an_error_and_one_of_the_environment_is_not() {
    let directory = captures();
    let ran = run_in(&directory, &["refused.pcap", "--keylog", "missing.txt"]);
    assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "{}", ran.err);
    let output = rdpwhy()
        .current_dir(directory.path())
        .env("SSLKEYLOGFILE", "missing.txt")
        .arg("refused.pcap")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(1), &b""[..]));
}
