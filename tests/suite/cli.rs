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
    for command in ["explain", "causes", "schema", "completions", "man"] {
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
    for arguments in [&[][..], &["explain"], &["completions", "cobol"], &["--no-such-option"]] {
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
