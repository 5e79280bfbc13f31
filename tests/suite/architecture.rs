//! The house's rules that a compiler does not hold: which module may import which, and where time may come from.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules in the order in which bytes travel; each may import itself and what stands before it.
const ORDER: &[&str] = &[
    "capture",
    "packet",
    "flow",
    "transcript",
    "attempt",
    "forensics",
    "diagnosis",
    "report",
    "evidence",
];
/// The shelf: these import nothing of ours, and everything after `flow` may import them.
const SHELF: &[&str] = &["protocol", "codes"];
/// What everybody may use.
const COMMON: &[&str] = &["words"];
/// What sees every stage.
const ABOVE: &[&str] = &["bin", "examine", "lib"];

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    let mut looked = 0;
    for (path, module) in sources() {
        if ABOVE.contains(&module.as_str()) || COMMON.contains(&module.as_str()) {
            continue;
        }
        assert!(
            ORDER.contains(&module.as_str()) || SHELF.contains(&module.as_str()),
            "{} has no place in the order of modules",
            path.display()
        );
        looked += 1;
        let text = code(&path);
        for imported in imports(&text) {
            if !allowed(&module, &imported) {
                wrong.push(format!("{}: {module} imports {imported}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(looked > 20, "only {looked} files were looked at");
}

#[test]
fn time_comes_from_frames() {
    let mut wrong = Vec::new();
    for (path, module) in sources() {
        let live = path
            .components()
            .any(|part| part.as_os_str() == "live" || part.as_os_str() == "live.rs");
        if module == "bin" || (module == "capture" && live) {
            continue;
        }
        let text = code(&path);
        for clock in ["SystemTime", "Instant"] {
            if words(&text).any(|word| word == clock) {
                wrong.push(format!("{}: {clock}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_opens_with_a_sentence() {
    for (path, _) in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{} opens with {first:?}", path.display());
    }
}

#[test]
fn the_rules_themselves_catch_what_they_forbid() {
    assert!(allowed("flow", "capture") && allowed("report", "codes") && allowed("codes", "words"));
    assert!(!allowed("flow", "report") && !allowed("protocol", "capture") && !allowed("packet", "codes"));
    let text = "use crate::{capture::Frame, report::Report};\nfn f() { crate::examine::go() }";
    assert_eq!(imports(text).collect::<Vec<_>>(), ["capture", "report", "examine"]);
    assert_eq!(without_comments("a // Instant\nb /* no */"), "a \nb /* no */\n");
}

fn allowed(module: &str, imported: &str) -> bool {
    if module == imported || COMMON.contains(&imported) {
        return true;
    }
    if SHELF.contains(&module) {
        return false;
    }
    let place = |name: &str| ORDER.iter().position(|one| *one == name);
    match (place(module), place(imported)) {
        (Some(here), Some(there)) => there < here,
        (Some(here), None) => SHELF.contains(&imported) && Some(here) > place("packet"),
        (None, _) => false,
    }
}

/// Every source file with the module that it belongs to: the first part of its path below `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        Path::new(first.as_os_str())
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    files.into_iter().map(|path| (path.clone(), module(&path))).collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn code(path: &Path) -> String {
    without_comments(&fs::read_to_string(path).unwrap())
}

fn without_comments(text: &str) -> String {
    text.lines()
        .flat_map(|line| [line.split_once("//").map_or(line, |(code, _)| code), "\n"])
        .collect()
}

/// The names that follow `crate::`, also those in the braces of `crate::{..}`.
fn imports(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => {
            let mut depth = 0;
            let mut names = vec![String::new()];
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(String::new()),
                    _ if depth == 0 => names.last_mut().unwrap().push(c),
                    _ => {}
                }
            }
            names.iter().map(|name| first_word(name.trim())).collect()
        }
        None => vec![first_word(rest)],
    })
}

fn first_word(text: &str) -> String {
    words(text).next().unwrap_or_default().to_owned()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}
