//! Live interfaces in, verdicts as they fall out, for as long as one likes.

use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::tz::TimeZone;
use rdpwhy::capture::Timestamp;
use rdpwhy::capture::live::{Live, News, Tick};
use rdpwhy::examine::Examiner;
use rdpwhy::report::model::{Outcome, SourceReport, Times};
use rdpwhy::report::{Report, clock, ndjson};

use args::{Lines, WatchArgs};
use clerk::{Clerk, Settled};
use keep::{Keep, Terms};
use lines::Writer;
use metrics::Metrics;
use ring::Ring;
use sinks::{Sinks, Urgency};
use tally::{Status, Tally};
use view::View;

pub mod args;
mod clerk;
mod keep;
mod lines;
mod metrics;
#[cfg(unix)]
mod privileges;
mod ring;
mod sinks;
mod tally;
mod view;

/// How often verdicts are looked for.
const ROUND: Duration = Duration::from_secs(1);
/// Between two looks at the time under load.
const BURST: u32 = 256;
/// How often the screen is drawn.
const DRAWING: Duration = Duration::from_millis(250);
/// How often machines are told how the capture stands, where nobody said.
const STATUS: Duration = Duration::from_secs(60);
/// At the end the kernel's buffer is read for at most so long,
const REST: Duration = Duration::from_secs(2);
/// and until it has been empty for so long, which is longer than the kernel gathers packets.
const PAUSE: Duration = Duration::from_millis(100);
/// At the end, evidence is waited for at most so long; systemd waits for 30 s.
const LAST_EVIDENCE: Duration = Duration::from_secs(20);

/// Watches until it is stopped, and says what was found.
///
/// # Errors
/// Where the capture cannot begin, or a place to write to cannot be opened.
pub fn watch(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    if args.systemd_unit {
        return systemd_unit();
    }
    if args.interfaces().is_empty() {
        anyhow::bail!("name an interface with -i; rdpwhy interfaces lists them");
    }
    let stop = Arc::new(AtomicBool::new(false));
    // The second Ctrl-C ends it at once.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let live = Live::open(args.live())?;
    let listener = match args.metrics {
        Some(place) => Some(TcpListener::bind(place.0).with_context(|| format!("metrics on {}", place.0))?),
        None => None,
    };
    #[cfg(unix)]
    let syslog = match args.syslog {
        true => Some(sinks::Syslog::open().context("the system's log")?),
        false => None,
    };
    #[cfg(unix)]
    let user = privileges::drop_to(args.run_as.as_deref())?;
    #[cfg(not(unix))]
    let user: Option<String> = None;
    let as_whom = || match &user {
        Some(user) => format!(" (as {user}, to whom the rights of root were dropped; --run-as names another)"),
        None => String::new(),
    };
    let log = match &args.log {
        Some(path) => Some(
            sinks::Rotated::open(path, args.log_size, args.log_keep)
                .with_context(|| format!("{}{}", path.display(), as_whom()))?,
        ),
        None => None,
    };
    let zone = if args.local { TimeZone::system() } else { TimeZone::UTC };
    let keep = match &args.evidence {
        Some(folder) => Some(Keep::open(folder, terms(args, &zone)).with_context(|| format!("evidence{}", as_whom()))?),
        None => None,
    };
    let clerk = match keep {
        Some(keep) => Some(Clerk::start(keep).context("evidence")?),
        None => None,
    };
    let metrics = Metrics::new();
    if let Some(listener) = listener {
        metrics.serve(listener).context("metrics")?;
    }
    let now = Instant::now();
    let every = args.status.map(|time| time.0);
    let view = match args.tui {
        true => {
            let title = args.interfaces().join(", ");
            Some(View::open(title, zone.clone()).context("a screen needs a terminal")?)
        }
        false => None,
    };
    let watch = Watch {
        args,
        live,
        examiner: Examiner::live(args.options()),
        ring: Ring::new(if clerk.is_some() { args.ring_size << 20 } else { 0 }, args.ring_time.0),
        clerk,
        writer: Writer {
            lines: args.format,
            zone,
        },
        sinks: Sinks {
            stdout: !args.tui,
            color: args.look.color.on_stdout(),
            log,
            #[cfg(unix)]
            syslog,
            lost: 0,
            failing: false,
        },
        tally: Tally::default(),
        metrics,
        view,
        next_drawing: now,
        stop,
        started: now,
        next_round: now + ROUND,
        status_every: every.or((args.format == Lines::Ndjson).then_some(STATUS)),
        next_status: now + every.unwrap_or(STATUS),
        last_frame: None,
    };
    watch.run()
}

/// Prints the unit with the place of this program in it.
fn systemd_unit() -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("the place of this program")?;
    let unit = include_str!("rdpwhy-watch.service").replace("@PROGRAM@", &program.to_string_lossy());
    crate::output::to_stdout(false, |out| out.write_all(unit.as_bytes())).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// What evidence is to be kept.
fn terms(args: &WatchArgs, zone: &TimeZone) -> Terms {
    let options = args.options();
    let shown = |name: &String| if args.redact { "(redacted)".to_owned() } else { name.clone() };
    let mut words = vec!["watch".to_owned()];
    for (option, names) in [
        ("--host", &options.hosts),
        ("--user", &options.users),
        ("--gateway", &options.gateways),
    ] {
        words.extend(names.iter().map(|name| format!("{option} {}", shown(name))));
    }
    words.extend(args.port.iter().map(|port| format!("--port {port}")));
    for (given, option) in [(args.all_tcp, "--all-tcp"), (args.redact, "--redact")] {
        if given {
            words.push(option.to_owned());
        }
    }
    Terms {
        form: args.evidence_form,
        redact: args.redact,
        most: args.evidence_count as usize,
        most_bytes: args.evidence_size << 20,
        options,
        words,
        zone: zone.clone(),
    }
}

/// Everything that takes part.
struct Watch<'a> {
    args: &'a WatchArgs,
    live: Live,
    examiner: Examiner,
    ring: Ring,
    clerk: Option<Clerk>,
    writer: Writer,
    sinks: Sinks,
    tally: Tally,
    metrics: Metrics,
    view: Option<View>,
    next_drawing: Instant,
    stop: Arc<AtomicBool>,
    started: Instant,
    next_round: Instant,
    status_every: Option<Duration>,
    next_status: Instant,
    /// The time of the last packet, where there was no pause since the last round: the kernel may hold more.
    last_frame: Option<Timestamp>,
}

impl Watch<'_> {
    fn run(mut self) -> anyhow::Result<ExitCode> {
        self.greet()?;
        self.watch_on()?;
        // The terminal is given back before the last lines.
        if self.view.take().is_some() {
            self.sinks.stdout = true;
        }
        self.take_rest();
        self.finish()
    }

    fn watch_on(&mut self) -> anyhow::Result<()> {
        let mut burst = 0;
        loop {
            match self.live.tick() {
                Tick::Frame(frame) => {
                    self.last_frame = Some(frame.at);
                    if self.clerk.is_some() {
                        self.ring.push(&frame);
                    }
                    self.examiner.push(&frame);
                    burst += 1;
                    if burst < BURST {
                        continue;
                    }
                }
                Tick::Idle => self.last_frame = None,
                Tick::News(news) => self.news(&news)?,
            }
            burst = 0;
            while let Some(settled) = self.clerk.as_mut().and_then(Clerk::settled) {
                self.tell_settled(settled)?;
            }
            let now = Instant::now();
            if now >= self.next_round {
                self.next_round = now + ROUND;
                self.round(now)?;
            }
            if self.view.is_some() && now >= self.next_drawing {
                self.next_drawing = now + DRAWING;
                self.draw()?;
            }
            if self.is_done(now) {
                return Ok(());
            }
        }
    }

    /// Takes what the kernel still holds: what passed before the end is judged, too.
    fn take_rest(&mut self) {
        let until = Instant::now() + REST;
        let mut quiet = Instant::now();
        while Instant::now() < until && quiet.elapsed() < PAUSE {
            if let Tick::Frame(frame) = self.live.tick() {
                if self.clerk.is_some() {
                    self.ring.push(&frame);
                }
                self.examiner.push(&frame);
                quiet = Instant::now();
            }
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        let reached = |limit: Option<u64>, n: u64| limit.is_some_and(|limit| n >= limit);
        self.stop.load(Ordering::Relaxed)
            || self.args.duration.is_some_and(|time| now - self.started >= time.0)
            || reached(self.args.count, self.tally.attempts())
            || (self.args.until_failure && self.tally.failed > 0)
    }

    fn greet(&mut self) -> anyhow::Result<()> {
        let text = format!("watching {}", self.args.interfaces().join(", "));
        self.notice(&text)
    }

    fn news(&mut self, news: &News) -> anyhow::Result<()> {
        if matches!(news, News::ClockSet(_)) {
            self.examiner.cut();
            self.deliver()?;
        }
        self.notice(&news.to_string())
    }

    /// Once a second.
    fn round(&mut self, now: Instant) -> anyhow::Result<()> {
        // While packets wait in the kernel, the time is that of the last one taken out.
        let at = self.last_frame.unwrap_or_else(Live::now);
        let drops = self.live.drops();
        let more = self.tally.look(at, drops);
        if more > 0 {
            self.notice(&format!(
                "{more} packets were dropped before they could be looked at ({} by the kernel, {} by the interface since the start)",
                drops.kernel, drops.interface
            ))?;
        }
        self.examiner.settle(at);
        self.deliver()?;
        let status = self.status();
        self.metrics.status(&status);
        if let Some(view) = &mut self.view {
            view.second(&status);
        }
        if let Some(every) = self.status_every
            && now >= self.next_status
        {
            self.next_status = now + every;
            let line = self.writer.status(Live::now(), &status)?;
            self.say(Urgency::Info, &line);
        }
        Ok(())
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        let status = self.status();
        if let Some(view) = &mut self.view {
            view.draw(Live::now(), &status, &self.examiner.followed(view::OPEN))?;
            if view.wants_end()? {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Tells the attempts that were judged.
    fn deliver(&mut self) -> anyhow::Result<()> {
        let source = self.live.summary();
        for mut report in self.examiner.drain(&source) {
            self.tally.own_up(&mut report);
            let outcome = self.tally.count(&report);
            self.metrics.attempt(&report);
            let ends: Vec<_> = report.connections.iter().map(|one| (one.client, one.server)).collect();
            match (&mut self.clerk, outcome) {
                (Some(clerk), Outcome::Failure) => match clerk.take(report, &mut self.ring, &source) {
                    // It is told when its evidence is on disk.
                    Ok(()) => {}
                    Err(refused) => {
                        if let Some(why) = &refused.why {
                            self.notice(why)?;
                        }
                        self.tell(&refused.report, outcome, None)?;
                    }
                },
                _ => self.tell(&report, outcome, None)?,
            }
            for (client, server) in ends {
                if let Some(server) = server {
                    self.ring.close(client, server);
                }
            }
            if self.is_done(Instant::now()) && !self.stop.load(Ordering::Relaxed) {
                // --count and --until-failure mean exactly that many.
                break;
            }
        }
        Ok(())
    }

    /// Tells a failure whose evidence has been dealt with: what was told is on disk.
    fn tell_settled(&mut self, Settled { report, done }: Settled) -> anyhow::Result<()> {
        let place = match done {
            Ok(done) => {
                if !done.removed.is_empty() {
                    self.notice(&format!(
                        "evidence removed to stay within bounds: {}",
                        done.removed.join(", ")
                    ))?;
                }
                if let Some(error) = &done.stuck {
                    self.notice(&format!("evidence that had to leave could not be removed: {error}"))?;
                }
                Some(done.place.display().to_string())
            }
            Err(error) => {
                self.notice(&format!("the evidence of the next failure could not be kept: {error:#}"))?;
                None
            }
        };
        self.tell(&report, Outcome::Failure, place.as_deref())
    }

    /// Tells an attempt.
    fn tell(&mut self, report: &Report, outcome: Outcome, kept: Option<&str>) -> anyhow::Result<()> {
        if let Some(view) = &mut self.view {
            view.verdict(report, outcome);
        }
        if outcome != Outcome::Failure && !self.args.all {
            return Ok(());
        }
        let line = self.writer.verdict(report, outcome, kept)?;
        let urgency = match outcome {
            Outcome::Failure => Urgency::Warning,
            _ => Urgency::Info,
        };
        self.say(urgency, &line);
        Ok(())
    }

    fn notice(&mut self, text: &str) -> anyhow::Result<()> {
        if let Some(view) = &mut self.view {
            view.notice(Live::now(), text);
        }
        let line = self.writer.notice(Live::now(), text)?;
        self.say(Urgency::Notice, &line);
        Ok(())
    }

    fn say(&mut self, urgency: Urgency, line: &str) {
        let delivered = self.sinks.line(urgency, line);
        if delivered.reader_left {
            // A reader such as `head` has what it wanted.
            self.sinks.stdout = false;
            self.stop.store(true, Ordering::Relaxed);
        }
        if let Some(trouble) = delivered.trouble {
            crate::complain(&trouble);
        }
    }

    fn status(&self) -> Status {
        let drops = self.live.drops();
        let (ring_packets, ring_bytes) = self.ring.held();
        let kept = |of: fn(&Clerk) -> u64| self.clerk.as_ref().map_or(0, of);
        Status {
            at: clock::rfc3339(Live::now()),
            packets: self.live.packets(),
            following: self.examiner.following(),
            healthy: self.tally.healthy,
            failed: self.tally.failed,
            undecided: self.tally.undecided,
            dropped_by_kernel: drops.kernel,
            dropped_by_interface: drops.interface,
            evicted: self.examiner.evicted(),
            ring_packets,
            ring_bytes,
            ring_overruns: self.ring.overruns,
            evidence_kept: kept(|clerk| clerk.kept),
            evidence_removed: kept(|clerk| clerk.removed),
            evidence_failed: kept(|clerk| clerk.failed),
            lines_lost: self.sinks.lost,
            memory: tally::memory(),
        }
    }

    /// Judges what is open, tells it, and says how it was.
    fn finish(mut self) -> anyhow::Result<ExitCode> {
        let source = self.live.summary();
        self.tally.look(Live::now(), self.live.drops());
        self.args_met_or(|watch| {
            watch.examiner.settle(Live::now());
            watch.examiner.cut();
            watch.deliver()
        })?;
        let until = Instant::now() + LAST_EVIDENCE;
        while let Some(settled) = self.clerk.as_mut().and_then(|clerk| clerk.settled_until(until)) {
            self.tell_settled(settled)?;
        }
        let status = self.status();
        match self.args.format {
            Lines::Text => {
                let watched = clock::duration(rdpwhy::capture::Span(
                    i64::try_from(self.started.elapsed().as_nanos()).unwrap_or(i64::MAX),
                ));
                let mut text = format!("watched for {watched}: {}", lines::in_words(&status));
                for (cause, n) in &self.tally.causes {
                    text.push_str(&format!("; {n} x {cause}"));
                }
                self.notice(&text)?;
            }
            Lines::Ndjson => {
                let line = self.writer.status(Live::now(), &status)?;
                self.say(Urgency::Info, &line);
                if let Some(line) = self.summary(source)? {
                    self.say(Urgency::Info, &line);
                }
            }
        }
        Ok(ExitCode::from(match self.tally.outcome() {
            Outcome::Healthy => 0,
            Outcome::Failure => 1,
            Outcome::NothingToJudge => 3,
        }))
    }

    /// Does it, unless --count or --until-failure have what they wanted.
    fn args_met_or(&mut self, then: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let met =
            self.args.count.is_some_and(|n| self.tally.attempts() >= n) || (self.args.until_failure && self.tally.failed > 0);
        if met { Ok(()) } else { then(self) }
    }

    /// The last line for machines.
    fn summary(&self, source: rdpwhy::capture::SourceSummary) -> anyhow::Result<Option<String>> {
        let Some(overall) = self.tally.overall() else {
            return Ok(None);
        };
        let mut shortfalls = Vec::new();
        if self.examiner.evicted() > 0 {
            shortfalls.push(format!(
                "{} connections were judged early, or only counted, because too many were open at one time or took too much memory",
                self.examiner.evicted()
            ));
        }
        let report = Report {
            unwanted: 0,
            sources: vec![SourceReport {
                summary: source,
                sha256: None,
            }],
            connections: Vec::new(),
            attempts: Vec::new(),
            overall,
            quality: Vec::new(),
            notes: Vec::new(),
            shortfalls,
            times: Times::default(),
        };
        let mut bytes = Vec::new();
        ndjson::summary(&report, &mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
