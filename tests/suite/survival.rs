//! Inputs that once broke a parser, and captures cut at any place.

use std::path::Path;

use crate::oracles::{ORACLES, examine};

#[test]
fn inputs_that_once_broke_a_parser_stay_harmless() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions");
    for entry in std::fs::read_dir(folder).expect("the folder of regressions") {
        let path = entry.expect("an entry").path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (oracle, check) in ORACLES {
            if name.starts_with(oracle) {
                check(&bytes);
            }
        }
    }
}

#[test]
fn every_prefix_of_a_capture_is_survived() {
    let all = crate::golden::truths();
    // A spread over all cases; each is cut at places that lie in headers and in the middle of packets.
    for (_, path, _) in all.iter().step_by(9) {
        let bytes = std::fs::read(path).expect("a capture");
        for cut in (0..bytes.len()).step_by((bytes.len() / 12).max(1)) {
            examine(&bytes[..cut]);
        }
    }
}
