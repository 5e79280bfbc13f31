//! Slices, redaction and bundles: what the user asks for in, files out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;
use rdpwhy::capture::{self, CaptureError, OpenOptions};
use rdpwhy::evidence::bundle::{self, Made, Order, Packets};
use rdpwhy::evidence::staging;
use rdpwhy::examine::{Examiner, Options};
use rdpwhy::report::Report;

use crate::args::{CutArgs, EvidenceArgs, RedactArgs, SliceArgs, TriageArgs};
use crate::progress::Progress;
use crate::{complain, interrupt, triage};

/// Why the files must not be written, if so; asked before the work.
///
/// # Errors
/// In words for the user.
pub fn check(args: &EvidenceArgs, force: bool, sources: &[PathBuf]) -> anyhow::Result<()> {
    if let Some(goal) = &args.evidence {
        refuse(goal, args.cut.map.as_deref(), force, sources)?;
    }
    Ok(())
}

/// Fails where the goal or the map must not be written, or a source cannot be read a second time.
fn refuse(goal: &Path, map: Option<&Path>, force: bool, sources: &[PathBuf]) -> anyhow::Result<()> {
    for source in sources {
        let is_file = fs::metadata(source).is_ok_and(|about| about.is_file());
        if source == Path::new("-") || (source.exists() && !is_file) {
            bail!(
                "{}: the packets are read a second time, which standard input and pipes cannot give; save them to a file first",
                source.display()
            );
        }
    }
    for path in [Some(goal), map].into_iter().flatten() {
        staging::refuse_existing(path, force).with_context(|| path.display().to_string())?;
        if sources.iter().any(|source| is_same(source, path)) {
            bail!("{}: is one of the captures to be read", path.display());
        }
    }
    if let Some(map) = map
        && (is_same(goal, map) || whole(map).starts_with(whole(goal)))
    {
        bail!("{}: the way back must not be a part of what is passed on", map.display());
    }
    Ok(())
}

fn is_same(a: &Path, b: &Path) -> bool {
    whole(a) == whole(b)
}

/// The path without links and `..`, as far as it exists.
fn whole(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::canonicalize(path).unwrap_or_else(|_| match (parent, path.file_name()) {
        (Some(parent), Some(name)) => whole(parent).join(name),
        (None, Some(name)) => std::env::current_dir().unwrap_or_default().join(name),
        _ => path.to_owned(),
    })
}

/// Makes the bundle of `--evidence`, and gives its report where that was redacted.
///
/// # Errors
/// What could not be read or written.
pub fn bundle(args: &TriageArgs, report: &Report, zone: &TimeZone) -> anyhow::Result<Option<Report>> {
    let Some(goal) = &args.evidence.evidence else {
        return Ok(None);
    };
    interrupt::clean_up(goal)?;
    let done = cut(args, &args.evidence.cut, report, zone, |order, triage, tick| {
        bundle::make(order, Packets::File, goal, triage, tick)
    })?;
    let Some(made) = done else { return Ok(None) };
    complain(&format!("{}: {} frames of the attempt", goal.display(), made.frames));
    Ok(made.redacted)
}

/// Writes a slice.
///
/// # Errors
/// What could not be read or written.
pub fn slice(args: &SliceArgs) -> anyhow::Result<ExitCode> {
    let triage_args = args.as_triage();
    refuse(
        &args.output,
        args.cut.map.as_deref(),
        args.force,
        std::slice::from_ref(&args.path),
    )?;
    let zone = TimeZone::UTC;
    let Some(report) = triage::examine(&triage_args, std::slice::from_ref(&args.path), &zone)? else {
        return Ok(ExitCode::from(crate::INPUT_ERROR));
    };
    interrupt::clean_up(&args.output)?;
    let made = cut(&triage_args, &args.cut, &report, &zone, |order, triage, tick| {
        bundle::make_slice(order, Packets::File, &args.output, triage, tick)
    })?;
    let Some(made) = made else {
        return Ok(ExitCode::from(crate::NOTHING_TO_JUDGE));
    };
    complain(&format!("{}: {} frames", args.output.display(), made.frames));
    Ok(ExitCode::SUCCESS)
}

/// Redacts a whole capture.
///
/// # Errors
/// What could not be read or written.
pub fn redact(args: &RedactArgs) -> anyhow::Result<ExitCode> {
    refuse(
        &args.output,
        args.map.as_deref(),
        args.force,
        std::slice::from_ref(&args.path),
    )?;
    interrupt::clean_up(&args.output)?;
    let total = std::fs::metadata(&args.path).map_or(0, |about| about.len());
    let mut progress = Progress::new(total);
    let map = args.map.as_deref();
    let made = bundle::redact_file(&args.path, &args.output, map, args.force, &mut |bytes| progress.at(bytes));
    progress.finish();
    let made = made?;
    made.warnings.iter().for_each(|warning| complain(warning));
    complain(&format!("{}: {} frames", args.output.display(), made.frames));
    Ok(ExitCode::SUCCESS)
}

type Make<'a> = dyn FnMut(&Path, &dyn Fn(&str) -> String) -> Result<Report, CaptureError> + 'a;

/// Cuts the attempt out; `None` where there is none.
fn cut(
    args: &TriageArgs,
    how: &CutArgs,
    report: &Report,
    zone: &TimeZone,
    make: impl FnOnce(&Order<'_>, &mut Make<'_>, &mut dyn FnMut(u64)) -> Result<Made, bundle::Error>,
) -> anyhow::Result<Option<Made>> {
    let Some(attempt) = how.attempt.or(report.overall.attempt) else {
        complain("no attempt was found, so there is no evidence to write");
        return Ok(None);
    };
    if report.attempt(attempt).is_none() {
        bail!("there is no attempt {attempt}; the report counts {}", report.attempts.len());
    }
    let key_log = triage::keylog(args)?.unwrap_or_default();
    let options: Vec<String> = described(args, how);
    let order = Order {
        report,
        attempt,
        context: how.context,
        with_secrets: how.with_secrets,
        key_log: &key_log,
        redact: how.redact,
        map: how.map.as_deref(),
        options: &options,
        zone,
        force: args.force,
    };
    let read = report.connection(report.attempt(attempt).map_or(0, |attempt| attempt.decisive));
    let source = read.and_then(|connection| report.sources.get(connection.source as usize));
    let mut progress = Progress::new(source.map_or(0, |source| source.summary.bytes));
    let examined = Options {
        ports: args.port.clone(),
        hosts: args.host.clone(),
        users: args.user.clone(),
        gateways: args.gateway.clone(),
        ..Options::default()
    };
    let secrets = how.with_secrets.then_some(&*key_log);
    let mut again = |path: &Path, name: &dyn Fn(&str) -> String| examine_slice(&examined, secrets, path, name);
    let made = make(&order, &mut again, &mut |bytes| progress.at(bytes));
    progress.finish();
    let made = made?;
    made.warnings.iter().for_each(|warning| complain(warning));
    Ok(Some(made))
}

/// Triage of a slice with `options`, whose names pass through `name`: the slice may have others.
///
/// # Errors
/// Where it cannot be read.
pub fn examine_slice(
    options: &Options,
    secrets: Option<&[u8]>,
    path: &Path,
    name: &dyn Fn(&str) -> String,
) -> Result<Report, CaptureError> {
    let named = |names: &[String]| names.iter().map(|one| name(one)).collect();
    let mut examiner = Examiner::new(Options {
        ports: options.ports.clone(),
        hosts: named(&options.hosts),
        users: named(&options.users),
        gateways: named(&options.gateways),
        ..Options::default()
    });
    if let Some(text) = secrets {
        examiner.secrets(text);
    }
    let mut source = capture::open(path, OpenOptions::default())?;
    source.by_time();
    while let Some(event) = source.next()? {
        examiner.feed(event);
    }
    examiner.end_source(source.summary(), None);
    Ok(examiner.finish())
}

/// The options that bear on the bundle, for its README; names are left out where they are redacted.
fn described(args: &TriageArgs, how: &CutArgs) -> Vec<String> {
    let mut words = Vec::new();
    let shown = |name: &String| if how.redact { "(redacted)".to_owned() } else { name.clone() };
    for (option, names) in [("--host", &args.host), ("--user", &args.user), ("--gateway", &args.gateway)] {
        words.extend(names.iter().map(|name| format!("{option} {}", shown(name))));
    }
    words.extend(args.port.iter().map(|port| format!("--port {port}")));
    words.extend(how.attempt.map(|attempt| format!("--attempt {attempt}")));
    if how.context > 0 {
        words.push(format!("--context {}", how.context));
    }
    for (given, option) in [
        (how.with_secrets, "--with-secrets"),
        (how.redact, "--redact"),
        (args.keylog.is_some(), "--keylog"),
    ] {
        if given {
            words.push(option.to_owned());
        }
    }
    words
}
