//! The README is true: it shows what the program prints, and lists every cause.

use std::path::Path;
use std::process::Command;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md")
}

#[test]
fn the_example_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_rdpwhy"))
        .arg("captures/nla-required-tls-client/client.pcapng")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("SSLKEYLOGFILE")
        .output()
        .expect("the program");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.contains("nla_required"), "it prints no verdict: {printed}");
    assert!(
        readme().contains(printed.trim_end()),
        "README.md shows something else than:\n{printed}"
    );
}

#[test]
fn every_cause_is_listed_with_its_meaning() {
    let text = readme();
    for cause in rdpwhy::diagnosis::CAUSES {
        let row = format!("| `{}` | {} |", cause.slug, cause.meaning);
        assert!(text.contains(&row), "README.md lacks the row {row}");
    }
}
