//! The whole: slice, reports, manifest and a README, in a zip archive or a folder, whole or not there.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::capture::{self, CaptureError, FrameNo, OpenOptions, SectionSummary, Source};
use crate::evidence::hashing::Hashing;
use crate::evidence::html;
use crate::evidence::numbers::Numbers;
use crate::evidence::raw::{self, Copied};
use crate::evidence::readme;
use crate::evidence::redact::{Redactor, Removed};
use crate::evidence::select::{Selection, shown};
use crate::evidence::slice::{self, Notes, Origin};
use crate::evidence::staging::{self, MANIFEST, Readers, Staging};
use crate::report::model::{Attempt, Overall, Report};
use crate::report::{View, json, markdown};

/// The name of the slice in a bundle.
pub const SLICE: &str = staging::FILES[3];
const COPY: &str = "copy.pcapng";
const REDACTED: &str = "redacted.pcapng";
const REPORTS: [&str; 3] = [staging::FILES[0], staging::FILES[1], staging::FILES[2]];
const README: &str = staging::FILES[4];
/// The program and its version, as slices and READMEs name it.
pub const TOOL: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// What is wanted.
#[derive(Debug)]
pub struct Order<'a> {
    /// What triage of the sources said.
    pub report: &'a Report,
    /// The attempt that it is about.
    pub attempt: u32,
    /// Frames kept before and after each frame of the attempt.
    pub context: usize,
    /// Whether TLS secrets of the sessions in the slice are kept.
    pub with_secrets: bool,
    /// A key log that was given besides the secrets in the source.
    pub key_log: &'a [u8],
    /// Whether names and addresses are replaced.
    pub redact: bool,
    /// Where the way back from pseudonyms to names is written to.
    pub map: Option<&'a Path>,
    /// The options of the command line, for the README.
    pub options: &'a [String],
    /// The zone for times.
    pub zone: &'a TimeZone,
    /// Whether an existing goal is replaced.
    pub force: bool,
}

/// Where the packets are.
pub enum Packets<'a> {
    /// In the file that the report's source names; it is read again.
    File,
    /// In memory, with the numbers that the report cites: what is left of a live capture. The reports of the bundle cite the slice then,
    /// the only capture that anybody can open.
    Memory(&'a mut dyn Source),
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such attempt.
    #[error("the report has no attempt {0}")]
    NoAttempt(u32),
    /// The source cannot be read a second time.
    #[error("standard input cannot be read twice; give a file")]
    NotAFile,
    /// The source fails.
    #[error(transparent)]
    Source(#[from] CaptureError),
    /// The goal cannot be written.
    #[error("{}: {error}; nothing was left behind", path.display())]
    Write {
        /// The goal.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The source is not what it was when it was judged.
    #[error("{}: the file has changed since it was read first", .0.display())]
    Changed(PathBuf),
    /// The key for the redaction cannot be drawn.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Frames in the slice.
    pub frames: u64,
    /// What the user should know: a verdict that the slice does not bear out, secrets that were passed over.
    pub warnings: Vec<String>,
    /// The report about the slice, in which there are only pseudonyms, where redaction of an attempt was asked for.
    pub redacted: Option<Report>,
}

/// Triage of a slice, with the options of the first run; names in them pass through the function first.
pub type Triage<'a> = &'a mut dyn FnMut(&Path, &dyn Fn(&str) -> String) -> Result<Report, CaptureError>;

/// A slice in the making, with the report that goes with it.
struct Sliced {
    numbers: Numbers,
    copied: Copied,
    /// The report about the attempt alone, citing frames as `numbers` says.
    report: Report,
    attempt: u32,
    /// The source's hash, where the source is a file.
    hash: Option<String>,
    redactor: Option<(Redactor, Removed)>,
    /// What triage of the slice alone says otherwise.
    differs: Option<String>,
}

/// Makes a slice at `goal`.
///
/// # Errors
/// See [`Error`]; nothing is left behind.
pub fn make_slice(
    order: &Order<'_>,
    packets: Packets<'_>,
    goal: &Path,
    triage: Triage<'_>,
    tick: &mut dyn FnMut(u64),
) -> Result<Made, Error> {
    let write = at(goal);
    staging::refuse_existing(goal, order.force).map_err(&write)?;
    let staging = Staging::beside(goal).map_err(&write)?;
    let sliced = prepare(order, packets, &staging, goal, triage, tick)?;
    let map = order.map.zip(sliced.redactor());
    after_map(map, order.force, || staging.promote(SLICE, order.force).map_err(&write))?;
    Ok(sliced.made())
}

/// Makes a bundle at `goal`: a zip archive where its name ends in `.zip`, else a folder.
///
/// # Errors
/// See [`Error`]; nothing is left behind.
pub fn make(
    order: &Order<'_>,
    packets: Packets<'_>,
    goal: &Path,
    triage: Triage<'_>,
    tick: &mut dyn FnMut(u64),
) -> Result<Made, Error> {
    let write = at(goal);
    staging::refuse_existing(goal, order.force).map_err(&write)?;
    let staging = Staging::beside(goal).map_err(&write)?;
    let sliced = prepare(order, packets, &staging, goal, triage, tick)?;
    sliced.reports(order, &staging).map_err(&write)?;
    let zipped = goal
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    after_map(order.map.zip(sliced.redactor()), order.force, || {
        let done = if zipped {
            staging.promote_zipped(&staging::FILES, order.force)
        } else {
            staging.promote_folder(order.force)
        };
        done.map_err(&write)
    })?;
    Ok(sliced.made())
}

/// Writes the way back and lets `appear` make the goal: pseudonyms whose way back could not be written are lost on whoever asked
/// for it, and a way back from what did not come about is only a list of names.
fn after_map(map: Option<(&Path, &Redactor)>, force: bool, appear: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    if let Some((path, redactor)) = map {
        let written = staging::write_whole(path, Readers::Owner, force, |out| {
            serde_json::to_writer_pretty(&mut *out, &redactor.map())?;
            out.write_all(b"\n")
        });
        written.map_err(at(path))?;
    }
    let appeared = appear();
    if let (Err(_), Some((path, _))) = (&appeared, map)
        && path.is_file()
    {
        // The error that matters is the first one.
        let _ = std::fs::remove_file(path);
    }
    appeared
}

/// Redacts the whole capture at `source` into `goal`, and writes the way back to `map`.
///
/// # Errors
/// See [`Error`]; nothing is left behind.
pub fn redact_file(
    source: &Path,
    goal: &Path,
    map: Option<&Path>,
    force: bool,
    tick: &mut dyn FnMut(u64),
) -> Result<Made, Error> {
    let write = at(goal);
    if source == Path::new("-") {
        return Err(Error::NotAFile);
    }
    staging::refuse_existing(goal, force).map_err(&write)?;
    let staging = Staging::beside(goal).map_err(&write)?;
    let mut redactor = Redactor::new().ok_or(Error::NoRandomness)?;
    let options = OpenOptions::default();
    redactor.learn(&mut *capture::open(source, options)?, tick)?;
    let out = staging.create(SLICE).map_err(&write)?;
    let section = SectionSummary {
        application: Some(TOOL.to_owned()),
        comments: vec![format!(
            "{}{}",
            slice::PREFIX,
            "redacted; names and addresses are not the real ones"
        )],
        ..SectionSummary::default()
    };
    let (out, removed) = split(redactor.rewrite(&mut *capture::open(source, options)?, out, &section), goal)?;
    staging::close(out).map_err(&write)?;
    let map = map.map(|path| (path, &redactor));
    after_map(map, force, || staging.promote(SLICE, force).map_err(&write))?;
    Ok(Made {
        frames: removed.frames,
        warnings: removed.words(),
        redacted: None,
    })
}

fn at(goal: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::Write {
        path: goal.to_owned(),
        error,
    }
}

/// Tells errors of reading from those of writing.
fn split<T>(result: Result<T, raw::Error>, goal: &Path) -> Result<T, Error> {
    result.map_err(|error| match error {
        raw::Error::Source(error) => Error::Source(error),
        raw::Error::Write(error) => at(goal)(error),
    })
}

/// Makes the slice in the staging folder, and the report that goes with it.
fn prepare(
    order: &Order<'_>,
    packets: Packets<'_>,
    staging: &Staging,
    goal: &Path,
    triage: Triage<'_>,
    tick: &mut dyn FnMut(u64),
) -> Result<Sliced, Error> {
    let write = at(goal);
    let selection = Selection::of(order.report, order.attempt).ok_or(Error::NoAttempt(order.attempt))?;
    let about = order
        .report
        .sources
        .get(selection.source as usize)
        .ok_or(Error::NoAttempt(order.attempt))?;
    let options = OpenOptions::default();
    let path = &about.summary.path;
    let unreadable = |source| CaptureError::Io {
        path: path.clone(),
        source,
    };
    let mut file;
    let (reader, source): (_, &mut dyn Source) = match packets {
        Packets::File => {
            if path == Path::new("-") {
                return Err(Error::NotAFile);
            }
            // Hashed in the same pass.
            let reader = Hashing::open(path).map_err(unreadable)?;
            file = capture::open_stream(Box::new(reader.clone()), path, options)?;
            (Some(reader), &mut *file)
        }
        Packets::Memory(source) => (None, source),
    };
    // In the order in which the report was made.
    source.by_time();
    let out = staging.create(COPY).map_err(&write)?;
    let key_log = if order.with_secrets { order.key_log } else { b"" };
    let (out, copied) = split(
        raw::copy(source, out, order.context, key_log, |frame| selection.takes(frame), tick),
        goal,
    )?;
    staging::close(out).map_err(&write)?;
    let hash = match reader {
        Some(reader) => Some(reader.finish().map_err(unreadable)?),
        None => None,
    };
    if about.sha256.is_some() && hash.is_some() && about.sha256 != hash {
        return Err(Error::Changed(path.clone()));
    }
    let packets = about.summary.packets;
    let lines = [match &hash {
        Some(hash) => format!(
            "cut from a capture of {packets} packets with SHA-256 {hash}; the packet identifiers are the frame numbers there"
        ),
        None => format!("cut from a live capture after {packets} packets; the packet identifiers are their numbers there"),
    }];
    let open = |name: &str| capture::open(&staging.path(name), options);
    let annotate = |from: &str, notes: &Notes, origin: Origin| -> Result<(), Error> {
        let out: BufWriter<File> = staging.create(SLICE).map_err(&write)?;
        let secrets: &[u8] = if order.with_secrets { &copied.secrets } else { b"" };
        let none = SectionSummary::default();
        let about = copied.summary.sections.first().unwrap_or(&none);
        let out = split(
            slice::annotate(&mut *open(from)?, out, notes, secrets, about, origin, TOOL),
            goal,
        )?;
        staging::close(out).map_err(&write)
    };
    let numbers = Numbers::new(copied.frames.clone(), !order.redact);
    let has_secrets = !order.with_secrets && (copied.has_secrets || !order.key_log.is_empty());
    let mut sliced = if order.redact {
        let mut redactor = Redactor::new().ok_or(Error::NoRandomness)?;
        redactor.learn(&mut *open(COPY)?, &mut |_| ())?;
        let out = staging.create(REDACTED).map_err(&write)?;
        let (out, removed) = split(redactor.rewrite(&mut *open(COPY)?, out, &SectionSummary::default()), goal)?;
        staging::close(out).map_err(&write)?;
        let mut report = triage(&staging.path(REDACTED), &|name| redactor.name(name))?;
        for source in &mut report.sources {
            source.summary.path = PathBuf::from(SLICE);
        }
        let wanted = essence(order.report, order.attempt);
        let attempt = corresponding(&report, order, &numbers);
        let found = attempt.and_then(|id| essence(&report, id));
        let Some(attempt) = attempt else {
            return Err(Error::NoAttempt(order.attempt));
        };
        let report = only(report, attempt);
        let notes = report
            .attempt(attempt)
            .map_or_else(Notes::default, |of| in_source(Notes::of(&report, of, &lines, TOOL), &numbers));
        annotate(REDACTED, &notes, Origin::LeftOut)?;
        staging.remove(REDACTED).map_err(&write)?;
        Sliced {
            numbers,
            copied: Copied::default(),
            report,
            attempt,
            hash,
            redactor: Some((redactor, removed)),
            differs: difference(wanted, found, has_secrets, is_joint(order)),
        }
    } else {
        let mut report = only(order.report.clone(), order.attempt);
        if let Some(source) = report.sources.get_mut(selection.source as usize) {
            source.sha256.clone_from(&hash);
        }
        let notes = report.attempt(order.attempt).map_or_else(Notes::default, |of| {
            in_words_of_slice(Notes::of(&report, of, &lines, TOOL), &numbers)
        });
        annotate(COPY, &notes, Origin::Kept)?;
        let again = triage(&staging.path(SLICE), &|name| name.to_owned())?;
        let in_slice = Numbers::new(copied.frames.clone(), false);
        let found = corresponding(&again, order, &in_slice).and_then(|id| essence(&again, id));
        let numbers = match &hash {
            Some(_) => numbers,
            None => {
                numbers.renumber(&mut report);
                report.sources = again.sources;
                for source in &mut report.sources {
                    source.summary.path = PathBuf::from(SLICE);
                    source.sha256 = Some(staging::sha256(&staging.path(SLICE)).map_err(&write)?);
                }
                in_slice
            }
        };
        Sliced {
            numbers,
            copied: Copied::default(),
            differs: difference(essence(&report, order.attempt), found, has_secrets, is_joint(order)),
            report,
            attempt: order.attempt,
            hash,
            redactor: None,
        }
    };
    staging.remove(COPY).map_err(&write)?;
    sliced.copied = copied;
    let told = sliced.differs.iter().map(|how| format!("CAUTION: {how}"));
    sliced.report.shortfalls.extend(told);
    Ok(sliced)
}

/// Moves notes on frames of the slice to the numbers that those have in the source, by which they are written.
fn in_source(notes: Notes, numbers: &Numbers) -> Notes {
    Notes {
        frames: notes
            .frames
            .into_iter()
            .filter_map(|(frame, comments)| Some((numbers.in_source(FrameNo::new(frame))?.number(), comments)))
            .collect(),
        ..notes
    }
}

/// Renumbers the frames that notes name: whoever reads them has the slice before him.
fn in_words_of_slice(mut notes: Notes, numbers: &Numbers) -> Notes {
    for comment in notes.frames.values_mut().flatten() {
        *comment = numbers.in_text(comment);
    }
    notes
}

/// The attempt in the report on a slice that is the one that the slice was made for: it begins with the same frame.
fn corresponding(report: &Report, order: &Order<'_>, numbers: &Numbers) -> Option<u32> {
    let first = |report: &Report, attempt: &Attempt| -> Option<FrameNo> {
        shown(report, attempt).iter().map(|connection| connection.frames.0).min()
    };
    let wanted = order
        .report
        .attempt(order.attempt)
        .and_then(|attempt| first(order.report, attempt));
    let same = report
        .attempts
        .iter()
        .find(|attempt| first(report, attempt).and_then(|frame| numbers.in_source(frame)) == wanted);
    same.map(|attempt| attempt.id).or(report.overall.attempt)
}

/// What a verdict turns on: cause, phase, who ended it, how.
fn essence(report: &Report, attempt: u32) -> Option<String> {
    let attempt = report.attempt(attempt)?;
    let connection = report.connection(attempt.decisive)?;
    Some(format!(
        "{} (phase {}, ended by {}, {})",
        attempt.verdict.cause.slug,
        connection.phase.slug(),
        connection.ended_by.slug(),
        connection.mechanism.slug()
    ))
}

/// Whether the verdict rests on more captures than the one from which the slice is cut.
fn is_joint(order: &Order<'_>) -> bool {
    let attempt = order.report.attempt(order.attempt);
    attempt.is_some_and(|attempt| shown(order.report, attempt).len() < attempt.connections.len())
}

fn difference(source: Option<String>, slice: Option<String>, left_out: bool, joint: bool) -> Option<String> {
    if source == slice {
        return None;
    }
    let word = |word: Option<String>| word.unwrap_or_else(|| "no verdict".to_owned());
    let why = if left_out {
        "; the source's TLS secrets, which are left out of the slice, tell more"
    } else if joint {
        "; the same connections in another capture, of which the slice holds nothing, tell more (cut a slice of that one, too)"
    } else {
        ""
    };
    Some(format!(
        "triage of the slice alone says {}, that of the source {}{why}",
        word(slice),
        word(source)
    ))
}

/// The report about one attempt.
fn only(mut report: Report, attempt: u32) -> Report {
    report.connections.retain(|connection| connection.attempt == attempt);
    report.attempts.retain(|one| one.id == attempt);
    report.notes.clear();
    if report.overall.attempt != Some(attempt)
        && let Some(one) = report.attempts.first()
    {
        report.overall = Overall {
            cause: one.verdict.cause,
            healthy: one.verdict.healthy(),
            confidence: Some(one.verdict.confidence),
            attempt: Some(attempt),
            connection: Some(one.decisive),
            summary: one.verdict.summary.clone(),
        };
    }
    report
}

impl Sliced {
    fn made(self) -> Made {
        let mut warnings: Vec<String> = self.differs.into_iter().collect();
        if self.copied.secrets_passed_over > 0 {
            warnings.push(format!(
                "{} bytes of TLS secrets were too many to be looked at",
                self.copied.secrets_passed_over
            ));
        }
        let report = self.report;
        let redacted = self.redactor.map(|(_, removed)| {
            warnings.extend(removed.words());
            report
        });
        Made {
            frames: self.numbers.len() as u64,
            warnings,
            redacted,
        }
    }

    fn redactor(&self) -> Option<&Redactor> {
        self.redactor.as_ref().map(|(redactor, _)| redactor)
    }

    /// Writes reports, README and manifest beside the slice.
    fn reports(&self, order: &Order<'_>, staging: &Staging) -> io::Result<()> {
        let attempt = self.report.attempt(self.attempt).ok_or(io::ErrorKind::NotFound)?;
        let view = View {
            all: true,
            zone: order.zone.clone(),
            ..View::default()
        };
        let notice = match (order.redact, &self.hash) {
            (true, _) => {
                "Names and addresses in this report and in slice.pcapng are pseudonyms; lengths, times and checksums are true."
            }
            (false, Some(_)) => "Made from the capture named above; slice.pcapng holds the packets of this attempt alone.",
            (false, None) => "Made from a live capture, of which slice.pcapng holds the packets of this attempt.",
        };
        staging.write(REPORTS[0], |out| {
            html::render(&self.report, attempt, &self.numbers, order.zone, notice, out)
        })?;
        staging.write(REPORTS[1], |out| markdown::render(&self.report, &view, out))?;
        staging.write(REPORTS[2], |out| json::render(&self.report, &view, out))?;
        let text = readme::text(&readme::Facts {
            report: &self.report,
            attempt,
            numbers: &self.numbers,
            copied: &self.copied,
            hash: self.hash.as_deref(),
            options: order.options,
            context: order.context,
            with_secrets: order.with_secrets,
            removed: self.redactor.as_ref().map(|(_, removed)| removed),
            differs: self.differs.as_deref(),
        });
        staging.write(README, |out| out.write_all(text.as_bytes()))?;
        let mut manifest = String::new();
        for name in REPORTS.iter().chain(&[SLICE, README]) {
            manifest.push_str(&staging::manifest_line(&staging::sha256(&staging.path(name))?, name));
        }
        if let Some(hash) = &self.hash {
            // A comment to sha256sum, which would fail on a file that is not there.
            manifest.push_str(readme::SOURCE_MARK);
            manifest.push_str(&staging::manifest_line(hash, &self.source_name()));
        }
        staging.write(MANIFEST, |out| out.write_all(manifest.as_bytes()))
    }

    /// The name of the source in the manifest; a file's name may be a customer's.
    fn source_name(&self) -> String {
        if self.redactor.is_some() {
            return readme::SOURCE.to_owned();
        }
        let decisive = self.report.attempts.first().map_or(0, |attempt| attempt.decisive);
        let connection = self.report.connection(decisive).or(self.report.connections.first());
        let source = connection.and_then(|connection| self.report.sources.get(connection.source as usize));
        source
            .and_then(|source| source.summary.path.file_name())
            .map_or_else(|| readme::SOURCE.to_owned(), |name| name.to_string_lossy().into_owned())
    }
}
