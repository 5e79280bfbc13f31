//! Output that is whole or not there: everything is made in a folder beside the goal and renamed at the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::evidence::hashing::Hashing;

/// A file that only a bundle has.
pub const MANIFEST: &str = "manifest.sha256";
/// What a bundle holds: a folder with a manifest and nothing besides these may be replaced.
pub const FILES: [&str; 6] = [
    "report.html",
    "report.md",
    "report.json",
    "slice.pcapng",
    "README.txt",
    MANIFEST,
];

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Whoever the system's settings let.
    Usual,
    /// Its owner alone.
    Owner,
}

/// A folder beside the goal. What is still in it when it goes out of scope is removed.
#[derive(Debug)]
pub struct Staging {
    goal: PathBuf,
    folder: PathBuf,
}

impl Staging {
    /// Makes the folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn beside(goal: &Path) -> io::Result<Staging> {
        let folder = Staging::folder(goal);
        fs::create_dir(&folder)?;
        Ok(Staging {
            goal: goal.to_owned(),
            folder,
        })
    }

    /// The folder in which this process makes what is to stand at `goal`.
    pub fn folder(goal: &Path) -> PathBuf {
        with_suffix(goal, "part")
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A new file in the folder.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn create(&self, name: &str) -> io::Result<BufWriter<File>> {
        Ok(BufWriter::new(File::create_new(self.path(name))?))
    }

    /// Writes a whole file into the folder.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = self.create(name)?;
        write(&mut out)?;
        close(out)
    }

    /// Removes a file from the folder.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// Makes one file of the folder the goal.
    ///
    /// # Errors
    /// Where the goal exists and `force` is not given, or those of renaming.
    pub fn promote(self, name: &str, force: bool) -> io::Result<()> {
        refuse_existing(&self.goal, force)?;
        fs::rename(self.path(name), &self.goal)
    }

    /// Makes the folder itself the goal.
    ///
    /// # Errors
    /// Where the goal exists and `force` is not given or it is no bundle, or those of renaming.
    pub fn promote_folder(self, force: bool) -> io::Result<()> {
        refuse_existing(&self.goal, force)?;
        if !self.goal.exists() {
            return fs::rename(&self.folder, &self.goal);
        }
        let old = with_suffix(&self.goal, "old");
        fs::rename(&self.goal, &old)?;
        if let Err(error) = fs::rename(&self.folder, &self.goal) {
            fs::rename(&old, &self.goal)?;
            return Err(error);
        }
        if old.is_dir() {
            fs::remove_dir_all(&old)
        } else {
            fs::remove_file(&old)
        }
    }

    /// Packs these files of the folder into a zip archive and makes it the goal.
    ///
    /// # Errors
    /// Where the goal exists and `force` is not given, or those of writing.
    pub fn promote_zipped(self, names: &[&str], force: bool) -> io::Result<()> {
        const ARCHIVE: &str = "archive.zip";
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .large_file(true);
        let mut zip = ZipWriter::new(File::create_new(self.path(ARCHIVE))?);
        for name in names {
            zip.start_file(*name, options)?;
            io::copy(&mut File::open(self.path(name))?, &mut zip)?;
        }
        zip.finish()?.sync_all()?;
        self.promote(ARCHIVE, force)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already where the folder itself became the goal; there is nobody to tell of another error.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ends a file: all of it is on the disk, or the error says why not.
///
/// # Errors
/// Those of writing.
pub fn close(out: BufWriter<File>) -> io::Result<()> {
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Why `goal` must not be made, if so.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where it exists and `force` is not given, or it is a folder that is no bundle or holds more.
pub fn refuse_existing(goal: &Path, force: bool) -> io::Result<()> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    match fs::symlink_metadata(goal) {
        Err(_) => Ok(()),
        Ok(about) if about.is_dir() && !goal.join(MANIFEST).is_file() => refuse("is a folder and no bundle; it is left alone"),
        Ok(_) if !force => refuse("exists already; --force overwrites it"),
        Ok(about) if about.is_dir() => match foreign(goal)? {
            Some(name) => refuse(&format!(
                "holds {name}, which is no part of a bundle; the folder is left alone"
            )),
            None => Ok(()),
        },
        Ok(_) => Ok(()),
    }
}

/// Something in a folder that is no file of a bundle.
fn foreign(folder: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !FILES.contains(&name.as_str()) || !entry.file_type()?.is_file() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Writes `path` whole or not at all: beside it first, renamed at the end. Devices and pipes are written directly.
///
/// # Errors
/// Where it exists and `force` is not given, or those of writing.
pub fn write_whole(
    path: &Path,
    readers: Readers,
    force: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        let mut out = BufWriter::new(OpenOptions::new().write(true).open(path)?);
        return write(&mut out).and_then(|()| out.flush());
    }
    let beside = with_suffix(path, "part");
    let written = create_for(&beside, readers).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        close(out)?;
        if !force && fs::exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn create_for(path: &Path, readers: Readers) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = readers;
    options.open(path)
}

/// The SHA-256 of a file in lower-case hex.
///
/// # Errors
/// Those of reading.
pub fn sha256(path: &Path) -> io::Result<String> {
    Hashing::open(path)?.finish()
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One line of a manifest as `sha256sum` writes and reads it.
pub fn manifest_line(hash: &str, name: &str) -> String {
    if name.contains(['\\', '\n', '\r']) {
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        format!("\\{hash}  {escaped}\n")
    } else {
        format!("{hash}  {name}\n")
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{suffix}", std::process::id()));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_half_made_remains() {
        let folder = tempfile::tempdir().unwrap();
        let goal = folder.path().join("case.zip");
        {
            let staging = Staging::beside(&goal).unwrap();
            staging.write("a", |out| out.write_all(b"a")).unwrap();
            let full = staging.write("b", |_| Err(io::ErrorKind::StorageFull.into()));
            assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_goal_is_overwritten_only_by_force_and_a_foreign_folder_never() {
        let folder = tempfile::tempdir().unwrap();
        let goal = folder.path().join("case");
        fs::create_dir(&goal).unwrap();
        fs::write(goal.join("diary"), "dear").unwrap();
        let staging = || {
            let staging = Staging::beside(&goal).unwrap();
            staging.write(MANIFEST, |out| out.write_all(b"")).unwrap();
            staging
        };
        assert!(staging().promote_folder(true).is_err());
        assert!(goal.join("diary").is_file());
        fs::remove_dir_all(&goal).unwrap();
        staging().promote_folder(false).unwrap();
        assert!(staging().promote_folder(false).is_err());
        staging().promote_folder(true).unwrap();
        // Something of the user's beside the bundle, and a folder under the name of a file.
        for (name, is_folder) in [("diary", false), ("report.md", true)] {
            let foreign = goal.join(name);
            if is_folder {
                fs::create_dir(&foreign).unwrap();
            } else {
                fs::write(&foreign, "dear").unwrap();
            }
            let error = staging().promote_folder(true).unwrap_err();
            assert!(error.to_string().contains(name) && foreign.exists(), "{error}");
            if is_folder {
                fs::remove_dir(&foreign).unwrap();
            } else {
                fs::remove_file(&foreign).unwrap();
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn manifests_are_as_sha256sum_writes_them() {
        assert_eq!(manifest_line("00", "a b.txt"), "00  a b.txt\n");
        assert_eq!(manifest_line("00", "a\\b"), "\\00  a\\\\b\n");
    }
}
