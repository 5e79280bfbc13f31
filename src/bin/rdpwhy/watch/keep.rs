//! A report and its packets in, evidence in a folder out: whole or not there, and never more than was asked for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use jiff::tz::TimeZone;
use rdpwhy::evidence::bundle::{self, Order, Packets};
use rdpwhy::examine::Options;
use rdpwhy::report::{Report, clock};

use crate::watch::ring::Memory;

/// Begins the names of what is not complete.
const PART: &str = ".rdpwhy-part-";
/// Begins the names of what is complete, which sort by time.
const NAME: &str = "rdpwhy-";
/// Says that a process uses the folder.
const LOCK: &str = ".rdpwhy-lock";

/// What is kept of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A folder with reports, packets and a manifest
    Folder,
    /// The same in one zip archive
    Zip,
    /// The packets alone, with the verdict as comments
    Slice,
}

impl Form {
    /// What the names of this form end in.
    fn suffix(self) -> &'static str {
        match self {
            Form::Folder => "",
            Form::Zip => ".zip",
            Form::Slice => ".pcapng",
        }
    }
}

/// What is kept, and how much of it.
#[derive(Debug)]
pub struct Terms {
    /// In which form.
    pub form: Form,
    /// Whether names and addresses are replaced.
    pub redact: bool,
    /// Attempts at most.
    pub most: usize,
    /// Bytes at most.
    pub most_bytes: u64,
    /// The options of the watch, by which packets are examined once more.
    pub options: Options,
    /// Those that bear on evidence, in the words of the command line.
    pub words: Vec<String>,
    /// The zone for times.
    pub zone: TimeZone,
}

/// The folder of evidence.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    terms: Terms,
    /// What is there, the oldest first: name and size.
    there: Vec<(String, u64)>,
    _lock: File,
}

/// What keeping an attempt came to.
#[derive(Debug)]
pub struct Done {
    /// Where the evidence is.
    pub place: PathBuf,
    /// What had to leave.
    pub removed: Vec<String>,
    /// Why something that had to leave is still there.
    pub stuck: Option<io::Error>,
}

impl Keep {
    /// Takes the folder into use: makes it where it is not there, removes what a killed process left unfinished, counts what is there.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or written, or another process uses it.
    pub fn open(folder: &Path, terms: Terms) -> anyhow::Result<Keep> {
        let named = || folder.display().to_string();
        fs::create_dir_all(folder).with_context(named)?;
        let lock = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(folder.join(LOCK))
            .with_context(named)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("{}: another rdpwhy keeps its evidence there", named()),
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(named),
        }
        let mut there = Vec::new();
        for entry in fs::read_dir(folder).with_context(named)? {
            let entry = entry.with_context(named)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PART) {
                fs::remove_dir_all(entry.path()).with_context(named)?;
            } else if is_ours(&name) {
                there.push((name, size(&entry.path())?));
            }
        }
        there.sort();
        Ok(Keep {
            folder: folder.to_owned(),
            terms,
            there,
            _lock: lock,
        })
    }

    /// Keeps the packets and the report of an attempt. When this returns, they are on the disk, whatever happens to the machine.
    ///
    /// # Errors
    /// Where the disk is full or gone; nothing of the attempt is left then.
    pub fn attempt(&mut self, report: &Report, memory: &mut Memory) -> anyhow::Result<Done> {
        let name = self.name(report);
        let part = self.folder.join(format!("{PART}{name}"));
        let made = self.make(&part, &name, report, memory);
        // Empty by now, if all went well; the error that matters is the first one.
        let _ = fs::remove_dir_all(&part);
        let bytes = made?;
        let place = self.folder.join(&name);
        self.there.push((name, bytes));
        let (removed, stuck) = self.make_room();
        Ok(Done { place, removed, stuck })
    }

    /// Makes it in a hidden folder and renames it when it is whole: its size in bytes.
    fn make(&self, part: &Path, name: &str, report: &Report, memory: &mut Memory) -> anyhow::Result<u64> {
        let Terms {
            form,
            redact,
            options,
            words,
            zone,
            ..
        } = &self.terms;
        let Some(attempt) = report.attempts.first() else {
            bail!("the report is about no attempt");
        };
        fs::create_dir(part)?;
        let goal = part.join(name);
        let order = Order {
            report,
            attempt: attempt.id,
            context: 0,
            with_secrets: false,
            key_log: b"",
            redact: *redact,
            map: None,
            options: words,
            zone,
            force: false,
        };
        let mut triage =
            |path: &Path, renamed: &dyn Fn(&str) -> String| crate::evidence::examine_slice(options, None, path, renamed);
        let packets = Packets::Memory(memory);
        match form {
            Form::Slice => bundle::make_slice(&order, packets, &goal, &mut triage, &mut |_| ()),
            Form::Folder | Form::Zip => bundle::make(&order, packets, &goal, &mut triage, &mut |_| ()),
        }?;
        if goal.is_dir() {
            sync_folder(&goal)?;
        }
        let bytes = size(&goal)?;
        let place = self.folder.join(name);
        fs::rename(&goal, &place)?;
        if let Err(error) = sync_folder(&self.folder) {
            // What may not outlast a power failure is not kept; it leaves with the hidden folder.
            let _ = fs::rename(&place, &goal);
            return Err(error.into());
        }
        Ok(bytes)
    }

    /// A name that sorts by time, says what it is about, and is not there yet.
    fn name(&self, report: &Report) -> String {
        let attempt = report.attempts.first();
        let began = attempt.map(|attempt| attempt.started).unwrap_or_default();
        let stamp: String = clock::rfc3339(began)
            .chars()
            .take(19)
            .filter(|c| *c != '-' && *c != ':')
            .collect();
        let number = attempt.map(|attempt| attempt.id).unwrap_or_default();
        let mut base = format!("{NAME}{stamp}Z-{number:06}-");
        if let Some(attempt) = attempt.filter(|_| !self.terms.redact) {
            base.push_str(&format!("{}-", attempt.client.to_string().replace(':', "_")));
        }
        base.push_str(report.overall.cause.slug);
        let suffix = self.terms.form.suffix();
        let mut name = format!("{base}{suffix}");
        let mut again = 1;
        while self.folder.join(&name).exists() {
            again += 1;
            name = format!("{base}-{again}{suffix}");
        }
        name
    }

    /// Removes the oldest until all is within bounds: what left, and why something could not. That is tried again the next time, and what
    /// comes after it leaves in its stead.
    fn make_room(&mut self) -> (Vec<String>, Option<io::Error>) {
        let (mut removed, mut stuck) = (Vec::new(), None);
        let mut oldest = 0;
        loop {
            let bytes: u64 = self.there.iter().map(|(_, bytes)| bytes).sum();
            let is_within = self.there.len() <= self.terms.most && bytes <= self.terms.most_bytes;
            // The newest one stays, even where it is larger than everything may be.
            let is_newest = oldest + 1 >= self.there.len();
            let Some((name, _)) = self.there.get(oldest).filter(|_| !is_within && !is_newest) else {
                return (removed, stuck);
            };
            match self.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    stuck.get_or_insert(error);
                    oldest += 1;
                }
                _ => removed.push(self.there.remove(oldest).0),
            }
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        // Hidden first, so that nobody finds half of it; it is hidden already where it could not be removed the last time.
        let going = self.folder.join(format!("{PART}{name}"));
        if path.is_dir() {
            fs::rename(&path, &going)?;
        }
        if going.is_dir() {
            fs::remove_dir_all(&going)
        } else {
            fs::remove_file(&path)
        }
    }
}

/// Whether a name is one that [`Keep::name`] makes, such as `rdpwhy-20250102T030405Z-000001-port_closed`: nothing else is ever removed.
fn is_ours(name: &str) -> bool {
    const SHAPE: &str = "00000000T000000Z-000000-";
    let Some(rest) = name.strip_prefix(NAME) else { return false };
    rest.len() > SHAPE.len()
        && rest.chars().zip(SHAPE.chars()).all(|(c, shape)| match shape {
            '0' => c.is_ascii_digit(),
            _ => c == shape,
        })
}

/// Makes sure that what was made in a folder, or renamed into it, stays there when the power fails.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened as files.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The bytes of a file, or of the files in a folder.
fn size(path: &Path) -> io::Result<u64> {
    let about = fs::metadata(path)?;
    if about.is_file() {
        return Ok(about.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_it_made_is_counted_and_removed() {
        for ours in [
            "rdpwhy-20250102T030405Z-000001-10.0.0.5-port_closed",
            "rdpwhy-20250102T030405Z-000001-syn_dropped-2.zip",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for foreign in ["rdpwhy-0.1.0", "rdpwhy-notes", "rdpwhy-20250102T030405Z", "diary", ""] {
            assert!(!is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn what_cannot_be_removed_is_said_and_counted_on() {
        let folder = tempfile::tempdir().unwrap();
        let terms = Terms {
            form: Form::Zip,
            redact: false,
            most: 2,
            most_bytes: 1_000,
            options: Options::default(),
            words: Vec::new(),
            zone: TimeZone::UTC,
        };
        let mut keep = Keep::open(folder.path(), terms).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        // A file is no folder: this one cannot be removed, whoever asks.
        keep.there = ["a/x", "b", "c"].map(|name| (name.to_owned(), 1)).into();
        let (removed, stuck) = keep.make_room();
        assert!(removed == ["b"] && stuck.is_some(), "{removed:?} {stuck:?}");
        let left: Vec<&str> = keep.there.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["a/x", "c"]);
    }
}
