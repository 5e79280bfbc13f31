//! A report and its packets in, a folder of evidence out: whole or not there, and never more than was asked for.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rdpwhy::capture::{Frame, FrameNo, InterfaceSummary, LinkType, SectionSummary, SourceSummary, Span, Writer};
use rdpwhy::evidence::select::Selection;
use rdpwhy::evidence::slice::Notes;
use rdpwhy::packet::fast;
use rdpwhy::report::model::Attempt;
use rdpwhy::report::{FORMATS, Report, View, clock};

use crate::watch::ring::Ring;

/// Begins the names of folders that are not complete.
const PART: &str = ".rdpwhy-part-";
/// Begins the names of complete folders, which sort by time.
const NAME: &str = "rdpwhy-";
/// Says that a process uses the folder.
const LOCK: &str = ".rdpwhy-lock";
/// What passed between client and server so long before and after an attempt is kept, too.
const NEAR: Span = Span::secs(10);
/// The program and its version, as a slice names it.
const TOOL: &str = concat!("rdpwhy ", env!("CARGO_PKG_VERSION"));
/// The packets.
const SLICE: &str = "slice.pcapng";

/// The folder of evidence.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    most: usize,
    most_bytes: u64,
    /// What is there, the oldest first: name and size.
    there: Vec<(String, u64)>,
    _lock: File,
    /// Attempts that were kept, removed again and not written.
    pub kept: u64,
    /// See `kept`.
    pub removed: u64,
    /// See `kept`.
    pub failed: u64,
}

/// What keeping an attempt came to.
#[derive(Debug)]
pub struct Done {
    /// The folder of the attempt.
    pub folder: PathBuf,
    /// Folders that had to leave.
    pub removed: Vec<String>,
}

impl Keep {
    /// Takes the folder into use: makes it where it is not there, removes what a killed process left unfinished, counts what is there.
    ///
    /// # Errors
    /// Where the folder cannot be made, read or written, or another process uses it.
    pub fn open(folder: &Path, most: u32, most_mib: u64) -> anyhow::Result<Keep> {
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
            } else if name.starts_with(NAME) && entry.path().join(SLICE).is_file() {
                there.push((name, size(&entry.path())?));
            }
        }
        there.sort();
        Ok(Keep {
            folder: folder.to_owned(),
            most: most as usize,
            most_bytes: most_mib << 20,
            there,
            _lock: lock,
            kept: 0,
            removed: 0,
            failed: 0,
        })
    }

    /// Keeps the packets and the report of an attempt.
    ///
    /// # Errors
    /// Where the disk is full or gone; nothing of the attempt is left then.
    pub fn attempt(&mut self, report: &Report, ring: &Ring, source: &SourceSummary) -> io::Result<Done> {
        let done = self.write(report, ring, source);
        match &done {
            Ok(done) => {
                self.kept += 1;
                self.removed += done.removed.len() as u64;
            }
            Err(_) => self.failed += 1,
        }
        done
    }

    fn write(&mut self, report: &Report, ring: &Ring, source: &SourceSummary) -> io::Result<Done> {
        let Some(attempt) = report.attempts.first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let name = self.name(report, attempt.id);
        let part = self.folder.join(format!("{PART}{name}"));
        let written = fs::create_dir(&part)
            .and_then(|()| fill(&part, report, ring, source))
            .and_then(|()| fs::rename(&part, self.folder.join(&name)));
        if let Err(error) = written {
            // The error that matters is the first one.
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
        let folder = self.folder.join(&name);
        self.there.push((name, size(&folder)?));
        Ok(Done {
            removed: self.make_room()?,
            folder,
        })
    }

    /// A name that sorts by time, says what it is about, and is not there yet.
    fn name(&self, report: &Report, attempt: u32) -> String {
        let began = report.attempts.first().map(|attempt| attempt.started).unwrap_or_default();
        let client = report.attempts.first().map(|attempt| attempt.client.to_string());
        let stamp: String = clock::rfc3339(began)
            .chars()
            .take(19)
            .filter(|c| *c != '-' && *c != ':')
            .collect();
        let words = [
            client.unwrap_or_default().replace(':', "_"),
            report.overall.cause.slug.to_owned(),
        ];
        let base = format!("{NAME}{stamp}Z-{attempt:06}-{}", words.join("-"));
        let mut name = base.clone();
        let mut number = 1;
        while self.folder.join(&name).exists() {
            number += 1;
            name = format!("{base}-{number}");
        }
        name
    }

    fn make_room(&mut self) -> io::Result<Vec<String>> {
        let mut removed = Vec::new();
        loop {
            let bytes: u64 = self.there.iter().map(|(_, bytes)| bytes).sum();
            // The newest one stays, even where it is larger than everything may be.
            if self.there.len() <= 1 || (self.there.len() <= self.most && bytes <= self.most_bytes) {
                return Ok(removed);
            }
            let (name, _) = self.there.remove(0);
            // Hidden first, so that nobody finds half of it.
            let going = self.folder.join(format!("{PART}{name}"));
            match fs::rename(self.folder.join(&name), &going).and_then(|()| fs::remove_dir_all(&going)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed.push(name),
            }
        }
    }
}

/// Writes the files of one attempt.
fn fill(folder: &Path, report: &Report, ring: &Ring, source: &SourceSummary) -> io::Result<()> {
    let mut numbers = HashMap::new();
    let mut slice = source.clone();
    slice.path = SLICE.into();
    slice.format = "pcapng".to_owned();
    let file = |name: &str| File::create_new(folder.join(name)).map(BufWriter::new);
    let told = report.attempts.first();
    let Some((attempt, selection)) = told.and_then(|attempt| Some((attempt, Selection::of(report, attempt.id)?))) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let servers = report.connections.iter().filter_map(|connection| connection.server);
    let hosts: HashSet<IpAddr> = servers.map(|server| server.ip()).chain([attempt.client]).collect();
    let origin = format!("captured live on {}", source.path.display());
    let notes = Notes::of(report, attempt, &[origin], TOOL);
    let none = Vec::new();
    let section = SectionSummary {
        application: Some(TOOL.to_owned()),
        comments: notes.section.clone(),
        ..SectionSummary::default()
    };
    let mut writer = Writer::new(file(SLICE)?, &section)?;
    let mut interfaces: HashMap<(u32, LinkType), u32> = HashMap::new();
    slice.packets = 0;
    (slice.first, slice.last) = (None, None);
    for frame in ring
        .of(&hosts)
        .filter(|frame| selection.takes(frame) || is_near(frame, report, attempt))
    {
        let interface = match interfaces.get(&(frame.interface, frame.link)) {
            Some(known) => *known,
            None => {
                let about = source.interfaces.get(frame.interface as usize).cloned().unwrap_or_default();
                let index = writer.interface(&InterfaceSummary {
                    link: frame.link,
                    ..about
                })?;
                interfaces.insert((frame.interface, frame.link), index);
                index
            }
        };
        let comments = notes.frames.get(&frame.no).unwrap_or(&none);
        writer.frame(interface, &frame, comments)?;
        slice.packets += 1;
        slice.first = slice.first.or(Some(frame.at));
        slice.last = Some(frame.at);
        numbers.insert(frame.no, FrameNo(slice.packets));
    }
    let written = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    written.sync_all()?;
    slice.bytes = written.metadata()?.len();
    let mut report = report.clone();
    renumber(&mut report, &numbers);
    for source in &mut report.sources {
        source.summary = slice.clone();
    }
    if let Some(attempt) = report.attempts.first()
        && !ring.reaches(attempt.started)
    {
        report.shortfalls.push(
            "the first packets of this attempt had left the memory for recent packets: --ring-size and --ring-time".to_owned(),
        );
    }
    for (format, name) in [("json", "report.json"), ("markdown", "report.md")] {
        let Some(format) = FORMATS.iter().find(|one| one.name == format) else {
            continue;
        };
        let mut out = file(name)?;
        (format.render)(&report, &View::default(), &mut out)?;
        out.flush()?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    }
    Ok(())
}

/// Whether a frame shows what client and server had with each other shortly before and after: from other connections a verdict knows
/// how far the hosts are, and what else stands between them.
fn is_near(frame: &Frame<'_>, report: &Report, attempt: &Attempt) -> bool {
    if frame.at < attempt.started.plus(Span(-NEAR.0)) || frame.at > attempt.ended.plus(NEAR) {
        return false;
    }
    let Some(peek) = fast::peek(frame) else { return false };
    let servers = report.connections.iter().filter_map(|connection| connection.server);
    let ends = [(peek.src, peek.dst), (peek.dst, peek.src)];
    servers
        .map(|server| server.ip())
        .any(|server| ends.contains(&(attempt.client, server)))
}

/// Turns the numbers of the live capture into those of the slice; a frame that is not in it becomes 0.
fn renumber(report: &mut Report, numbers: &HashMap<FrameNo, FrameNo>) {
    let turn = |no: &mut FrameNo| *no = numbers.get(no).copied().unwrap_or_default();
    let turn_all = |verdict: &mut rdpwhy::diagnosis::Verdict| {
        verdict.evidence.iter_mut().for_each(|evidence| turn(&mut evidence.frame));
        // What lies outside the slice cannot be looked up there; a verdict without any evidence would be worse.
        if verdict.evidence.iter().any(|evidence| evidence.frame != FrameNo::default()) {
            verdict.evidence.retain(|evidence| evidence.frame != FrameNo::default());
        }
    };
    for connection in &mut report.connections {
        turn(&mut connection.frames.0);
        turn(&mut connection.frames.1);
        turn_all(&mut connection.verdict);
        for step in &mut connection.timeline {
            step.frame = step.frame.and_then(|no| numbers.get(&no).copied());
        }
        if let Some((_, after)) = &mut connection.metrics.longest_idle {
            turn(after);
        }
    }
    for attempt in &mut report.attempts {
        turn_all(&mut attempt.verdict);
        for finding in &mut attempt.side_findings {
            finding.frames.iter_mut().for_each(turn);
        }
    }
    for note in &mut report.quality {
        note.frame = note.frame.and_then(|no| numbers.get(&no).copied());
    }
}

/// The bytes of the files in a folder.
fn size(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}
