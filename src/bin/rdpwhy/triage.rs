//! Paths in, a report out: opens every capture, feeds the examiner, says one clear line for each that could not be read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use rdpwhy::capture::{self, Event, Events, FrameNo, OpenOptions, Shortfall, Source, SourceSummary, Timestamp};
use rdpwhy::evidence::staging;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::model::Outcome;
use rdpwhy::report::{Detail, Report, View};

use crate::args::TriageArgs;
use crate::progress::Progress;
use crate::when::{Bounds, Moment};
use crate::{INPUT_ERROR, NOTHING_TO_JUDGE, complain, evidence, output};

/// A larger key log is a mistake; a line of it takes some 200 bytes.
const KEYLOG_MAX: u64 = 256 << 20;
/// How many packets go by between two looks at the clock.
const PACKETS_PER_LOOK: usize = 4096;

/// Reads the captures, writes the report, and says by its exit code what was found.
///
/// # Errors
/// Usage and output errors; a capture that cannot be read is told on standard error, and the others are read.
pub fn triage(args: &TriageArgs) -> anyhow::Result<ExitCode> {
    let paths = sources(&args.paths);
    if let Some(output) = &args.output
        && let Some(why) = output::refusal(output, args.force, &paths)
    {
        bail!("{}: {why}", output.display());
    }
    evidence::check(&args.evidence, args.force, &paths)?;
    let zone = if args.local { TimeZone::system() } else { TimeZone::UTC };
    let Some(report) = examine(args, &paths, &zone)? else {
        return Ok(ExitCode::from(INPUT_ERROR));
    };
    let redacted = evidence::bundle(args, &report, &zone)?;
    let code = match report.outcome() {
        Outcome::Healthy => 0,
        Outcome::Failure => 1,
        Outcome::NothingToJudge => NOTHING_TO_JUDGE,
    };
    if !args.evidence.cut.redact {
        print(args, &report, zone)?;
    } else if let Some(redacted) = redacted {
        if report.attempts.len() > 1 {
            complain("the report is about the attempt of the bundle alone: of the others there are no pseudonyms");
        }
        print(args, &redacted, zone)?;
    } else {
        complain("no report is written: without a bundle there are no pseudonyms");
    }
    // The program ends here, and thousands of verdicts take milliseconds to give back piece by piece.
    std::mem::forget(report);
    Ok(ExitCode::from(code))
}

/// Writes the report to where it was asked for.
fn print(args: &TriageArgs, report: &Report, zone: TimeZone) -> anyhow::Result<()> {
    let color = args.look.color.on_stdout();
    let view = View {
        all: args.all,
        detail: match (args.quiet, args.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        },
        color: if args.output.is_some() {
            args.look.color.in_file()
        } else {
            color
        },
        zone,
    };
    match &args.output {
        Some(path) => output::to_file(path, args.force, |out| (args.format.render)(report, &view, out))
            .with_context(|| path.display().to_string()),
        None => output::to_stdout(color, |out| (args.format.render)(report, &view, out)).context("standard output"),
    }
}

/// The captures behind the paths, each once, in the order given; says what cannot be found.
fn sources(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    let mut sources = Vec::new();
    for path in paths {
        match capture::expand(path) {
            Ok(found) => {
                for path in found {
                    let identity = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
                    if seen.insert(identity) {
                        sources.push(path);
                    }
                }
            }
            Err(error) => complain(&error.to_string()),
        }
    }
    sources
}

/// What the examiner finds in the captures; `None` where not one could be read.
pub fn examine(args: &TriageArgs, paths: &[PathBuf], zone: &TimeZone) -> anyhow::Result<Option<Report>> {
    let times = [args.since, args.until, args.at];
    let last = match times.iter().flatten().any(|moment| moment.needs_last()) {
        true => Some(last_packet(paths)?),
        false => None,
    };
    let total = paths
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|about| about.len())
        .sum();
    let mut progress = Progress::new(total);
    let mut feed = Feed {
        args,
        zone,
        alone: paths.len() == 1,
        last: last.flatten(),
        keylog: keylog(args)?,
        examiner: None,
        without_packets: Vec::new(),
    };
    let mut read = 0;
    for path in paths {
        match capture::open(path, OpenOptions::default()) {
            Ok(source) => {
                feed.source(path, source, &mut progress)?;
                read += 1;
            }
            Err(error) => progress.pause(|| complain(&error.to_string())),
        }
    }
    progress.finish();
    if read == 0 { Ok(None) } else { feed.finish().map(Some) }
}

/// What goes from the sources to the examiner.
struct Feed<'a> {
    args: &'a TriageArgs,
    zone: &'a TimeZone,
    /// Whether there is but one source.
    alone: bool,
    /// The last packet of all, where a time counts from it.
    last: Option<Timestamp>,
    keylog: Option<Vec<u8>>,
    /// Made with the first packet, by which times such as `10:53` are understood.
    examiner: Option<Examiner>,
    /// Sources that ended before there was an examiner.
    without_packets: Vec<(SourceSummary, Option<String>)>,
}

impl Feed<'_> {
    /// Reads one source to its end.
    fn source(&mut self, path: &Path, mut source: Box<dyn Source>, progress: &mut Progress) -> anyhow::Result<()> {
        source.by_time();
        source.mark_with(rdpwhy::examine::mark);
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        if let (Some(examiner), Some(keylog)) = (&mut self.examiner, &self.keylog) {
            examiner.secrets(keylog);
        }
        let mut since_look = 0;
        let failed = loop {
            let packets = match source.several() {
                Ok(Some(Events::Batch(batch))) => {
                    let first = batch.times(0).next().unwrap_or_default();
                    self.examiner(first, &secrets)?.push_all(&batch);
                    batch.len()
                }
                Ok(Some(Events::One(Event::Frame(frame)))) => {
                    self.examiner(frame.at, &secrets)?.push(&frame);
                    1
                }
                Ok(Some(Events::One(Event::Secrets(text)))) => {
                    match &mut self.examiner {
                        Some(examiner) => examiner.secrets(text),
                        None => secrets.push(text.to_vec()),
                    }
                    0
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            };
            since_look += packets;
            if since_look >= PACKETS_PER_LOOK {
                since_look = 0;
                progress.at(source.bytes_read());
            }
        };
        let mut summary = source.summary();
        progress.source_done(source.bytes_read());
        if let Some(error) = failed {
            progress.pause(|| complain(&error));
            summary.shortfalls.push(Shortfall {
                text: format!("reading stopped: {error}"),
                offset: None,
                after_frame: Some(FrameNo::new(summary.packets)),
            });
        }
        let sha256 = match self.args.hash && path != Path::new("-") {
            true => Some(staging::sha256(path).with_context(|| path.display().to_string())?),
            false => None,
        };
        match &mut self.examiner {
            Some(examiner) => examiner.end_source(summary, sha256),
            None => self.without_packets.push((summary, sha256)),
        }
        Ok(())
    }

    /// The examiner; made with the packet that is the first of all.
    fn examiner(&mut self, first: Timestamp, secrets: &[Vec<u8>]) -> anyhow::Result<&mut Examiner> {
        if self.examiner.is_none() {
            self.begin(first, secrets)?;
        }
        self.examiner.as_mut().context("an examination begins with its first packet")
    }

    /// Makes the examiner, now that the first packet is known, and gives it what came before.
    fn begin(&mut self, first: Timestamp, secrets: &[Vec<u8>]) -> anyhow::Result<()> {
        let bounds = Bounds { first, last: self.last };
        let resolve = |moment: Option<Moment>| match moment {
            None => Ok(None),
            Some(moment) => match moment.resolve(bounds, self.zone) {
                Some(at) => Ok(Some(at)),
                None => bail!("a time of --since, --until or --at lies outside the calendar"),
            },
        };
        let mut options = self.options();
        options.since = resolve(self.args.since)?;
        options.until = resolve(self.args.until)?;
        options.at = resolve(self.args.at)?;
        if options.since.zip(options.until).is_some_and(|(since, until)| since > until) {
            bail!("--since is later than --until: no attempt can be between them");
        }
        let examiner = self.examiner.insert(Examiner::new(options));
        for (summary, sha256) in self.without_packets.drain(..) {
            examiner.end_source(summary, sha256);
        }
        for text in self.keylog.iter().chain(secrets.iter()) {
            examiner.secrets(text);
        }
        Ok(())
    }

    fn options(&self) -> Options {
        Options {
            ports: self.args.port.clone(),
            hosts: self.args.host.clone(),
            users: self.args.user.clone(),
            gateways: self.args.gateway.clone(),
            without_plots: self.args.evidence.evidence.is_none(),
            alone: self.alone,
            ..Options::default()
        }
    }

    fn finish(mut self) -> anyhow::Result<Report> {
        let options = self.options();
        let mut examiner = self.examiner.take().unwrap_or_else(|| Examiner::new(options));
        for (summary, sha256) in self.without_packets {
            examiner.end_source(summary, sha256);
        }
        Ok(examiner.finish())
    }
}

/// The latest packet of all captures, for times that count from the end; `None` where there is no packet.
fn last_packet(paths: &[PathBuf]) -> anyhow::Result<Option<Timestamp>> {
    let mut last = None;
    for path in paths {
        if path == Path::new("-") {
            bail!("a time before the last packet (such as -5m) cannot be told from standard input; give it a file");
        }
        // What cannot be read is told when it is read for its packets.
        let Ok(mut source) = capture::open(path, OpenOptions::default()) else {
            continue;
        };
        while let Ok(Some(_)) = source.next() {}
        last = last.max(source.summary().last);
    }
    Ok(last)
}

/// The key log that was asked for, or that of the environment, if that can be read.
pub fn keylog(args: &TriageArgs) -> anyhow::Result<Option<Vec<u8>>> {
    let text = |path: &Path| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(KEYLOG_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    if let Some(path) = &args.keylog {
        return text(path).map(Some).with_context(|| path.display().to_string());
    }
    let Some(path) = std::env::var_os("SSLKEYLOGFILE").filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    // Set for browsers on many machines; that it cannot be read is no error of this run.
    Ok(text(Path::new(&path)).ok())
}
