//! From the paths that a user gives to the captures behind them.

use std::fs;
use std::path::{Path, PathBuf};

use super::CaptureError;
use super::open::is_capture;

/// How deep directories are searched.
const DEPTH: usize = 16;

/// The captures at `path`: itself if it is a file (whatever is in it) or `-`, or every capture below it if it is a
/// directory, in order of their names. Captures are told by their first bytes; those that have to be converted first
/// are among them, so that they are named and not passed over. Hidden entries and links to directories are skipped.
///
/// # Errors
/// Where the path does not exist or cannot be read, or a directory holds no capture.
pub fn expand(path: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let failed = |path: &Path, source| CaptureError::Io {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") || !fs::metadata(path).map_err(|e| failed(path, e))?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut captures = Vec::new();
    search(path, DEPTH, &mut captures).map_err(|e| failed(path, e))?;
    if captures.is_empty() {
        return Err(CaptureError::NotACapture {
            path: path.to_owned(),
            what: "a directory without captures".into(),
        });
    }
    captures.sort();
    Ok(captures)
}

fn search(directory: &Path, depth: usize, captures: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth > 0 {
                // A directory below that cannot be read does not hide the others.
                let _ = search(&path, depth - 1, captures);
            }
        } else if fs::metadata(&path).is_ok_and(|about| about.is_file()) {
            match is_capture(&path) {
                Ok(true) => captures.push(path),
                Ok(false) => {}
                // Opening it again will say what is wrong with it.
                Err(_) => captures.push(path),
            }
        }
    }
    Ok(())
}
