//! A report in, a page for people out: the verdict first, then what proves it, then everything else, in 80 columns.

use std::cmp::Reverse;
use std::io::{self, Write};

use crate::diagnosis::Verdict;
use crate::report::clock::{date, date_time, duration, time_of_day};
use crate::report::model::{Attempt, Quantiles, Report, SourceReport};
use crate::report::page::{self, CARE, DIM, PLAIN, Page};
use crate::report::{Detail, View, words};

mod attempt;

/// So many different failures are shown in full; `--all` shows every one.
const IN_FULL: usize = 5;

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn render(report: &Report, view: &View, out: &mut dyn Write) -> io::Result<()> {
    let page = &mut Page::new(out, view.color);
    let headline = words::headline(report);
    let style = headline.map_or(CARE, |(_, _, verdict)| attempt::style(verdict));
    page.verdict(report.overall.cause.slug, style, &report.overall.summary)?;
    if view.detail == Detail::Quiet {
        return Ok(());
    }
    quality(page, report)?;
    if let Some(told) = headline {
        attempt::body(page, report, view, told)?;
    }
    other_attempts(page, report, view)?;
    times(page, report)?;
    if !report.notes.is_empty() {
        page.title("Beside Remote Desktop")?;
        report.notes.iter().try_for_each(|note| attempt::note(page, note))?;
    }
    if !report.shortfalls.is_empty() {
        page.title("Not looked at")?;
        for one in &report.shortfalls {
            page.row(&[("  ! ", CARE)], (one, PLAIN))?;
        }
    }
    page.title(concat!("Looked at by rdpwhy ", env!("CARGO_PKG_VERSION")))?;
    report.sources.iter().try_for_each(|one| source(page, view, one))
}

fn quality(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    if report.quality.is_empty() {
        return Ok(());
    }
    page.title("About this capture")?;
    for note in &report.quality {
        let mut text = note.text.clone();
        if let Some(frame) = note.frame {
            text.push_str(&format!(" (frame {frame})"));
        }
        if let (true, Some(source)) = (report.sources.len() > 1, report.sources.get(note.source as usize)) {
            text = format!("{}: {text}", words::source_name(&source.summary));
        }
        page.row(&[("  ! ", CARE)], (&text, PLAIN))?;
        if let Some(better) = &note.better {
            page.row(&[("    Better: ", DIM)], (better, PLAIN))?;
        }
    }
    Ok(())
}

/// The attempts beside the headline's: failures in rank, each different one in full, then those that were not judged, then the
/// healthy ones.
fn other_attempts(page: &mut Page<'_>, report: &Report, view: &View) -> io::Result<()> {
    let mut rest: Vec<&Attempt> = report
        .attempts
        .iter()
        .filter(|one| Some(one.id) != report.overall.attempt)
        .collect();
    rest.sort_by_key(|one| (rank(&one.verdict), Reverse(one.verdict.confidence), one.started));
    let mut told: Vec<&Attempt> = words::headline(report).map(|(attempt, _, _)| attempt).into_iter().collect();
    let (mut again, mut more, mut undecided, mut healthy) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in rest {
        let Some(connection) = report.connection(one.decisive) else {
            continue;
        };
        let rank = rank(&one.verdict);
        let repeated = told.iter().any(|other| same_failure(one, other));
        if view.all || (rank == Rank::Failed && !repeated && told.len() < IN_FULL) {
            page.rule(&format!("attempt {} of {}", one.id, report.attempts.len()))?;
            page.verdict(one.verdict.cause.slug, attempt::style(&one.verdict), &one.verdict.summary)?;
            attempt::body(page, report, view, (one, connection, &one.verdict))?;
            told.push(one);
            continue;
        }
        match rank {
            Rank::Failed if repeated => again.push(one),
            Rank::Failed => more.push(one),
            Rank::Undecided => undecided.push(one),
            Rank::Healthy => healthy.push(one),
        }
    }
    for (title, told, attempts) in [
        ("The same failure again (--all shows these in full)", Told::Already, again),
        ("More failed attempts (--all shows these in full)", Told::Summary, more),
        ("Not judged", Told::Summary, undecided),
        ("Healthy attempts", Told::Already, healthy),
    ] {
        list(page, report, view, title, told, &attempts)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Failed,
    Undecided,
    Healthy,
}

fn rank(verdict: &Verdict) -> Rank {
    match verdict.cause.slug {
        _ if verdict.healthy() => Rank::Healthy,
        "capture_incomplete" | "no_rdp" => Rank::Undecided,
        _ => Rank::Failed,
    }
}

fn same_failure(one: &Attempt, other: &Attempt) -> bool {
    one.verdict.cause == other.verdict.cause && one.client == other.client && one.server == other.server
}

/// Whether the summary of an attempt in a list says anything new.
#[derive(Clone, Copy)]
enum Told {
    /// It is that of an attempt above, or the ordinary one.
    Already,
    /// It is to be told.
    Summary,
}

fn list(page: &mut Page<'_>, report: &Report, view: &View, title: &str, told: Told, attempts: &[&Attempt]) -> io::Result<()> {
    if attempts.is_empty() {
        return Ok(());
    }
    page.title(title)?;
    for one in attempts {
        let Some(connection) = report.connection(one.decisive) else {
            continue;
        };
        let lead = format!("{:>5}  {}  ", one.id, time_of_day(one.started, &view.zone));
        let slug = one.verdict.cause.slug;
        page.row(&[(&lead, DIM), (slug, attempt::style(&one.verdict))], ("", PLAIN))?;
        let indent = " ".repeat(lead.len());
        let what = format!(
            "{} to {}, {}",
            one.client,
            words::server(connection),
            words::frames(connection)
        );
        let text = match told {
            Told::Already => format!("{what}, {}", duration(one.ended.since(one.started))),
            Told::Summary => format!("{what}: {}", one.verdict.summary),
        };
        page.row(&[(&indent, PLAIN)], (&text, PLAIN))?;
        for note in &one.side_findings {
            page.row(&[(&indent, PLAIN)], (&note.text, CARE))?;
        }
    }
    Ok(())
}

fn times(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    let rows = [
        ("Round trip", report.times.rtt),
        ("Server's answer", report.times.server_response),
    ];
    if rows.iter().all(|(_, measured)| measured.is_none()) {
        return Ok(());
    }
    page.gap()?;
    let heads = format!(
        "{:<16}{:>11}{:>11}{:>11}{:>11}{:>9}",
        "Times", "min", "median", "p95", "max", "samples"
    );
    page.row(&[], (&heads, page::BOLD))?;
    for (name, measured) in rows {
        let Some(Quantiles {
            min,
            median,
            p95,
            max,
            count,
        }) = measured
        else {
            continue;
        };
        let [min, median, p95, max] = [min, median, p95, max].map(duration);
        let cells = format!("{min:>11}{median:>11}{p95:>11}{max:>11}{:>9}", words::grouped(count));
        page.row(&[(&format!("  {name:<14}"), PLAIN), (&cells, PLAIN)], ("", PLAIN))?;
    }
    Ok(())
}

fn source(page: &mut Page<'_>, view: &View, source: &SourceReport) -> io::Result<()> {
    let summary = &source.summary;
    let what = format!(
        "{}: {}, {}, {}",
        words::source_name(summary),
        summary.format,
        words::count(summary.packets, "packet"),
        words::bytes(summary.bytes)
    );
    page.row(&[("  ", PLAIN)], (&what, PLAIN))?;
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        let end = if date(first, &view.zone) == date(last, &view.zone) {
            time_of_day(last, &view.zone)
        } else {
            date_time(last, &view.zone)
        };
        let text = format!("{} to {end} ({})", date_time(first, &view.zone), duration(last.since(first)));
        page.row(&[("    ", PLAIN)], (&text, DIM))?;
    }
    if let Some(sha256) = &source.sha256 {
        page.row(&[("    sha256 ", DIM)], (sha256, PLAIN))?;
    }
    for interface in &summary.interfaces {
        if let Some(dropped) = interface.dropped.filter(|&dropped| dropped > 0) {
            let name = interface.name.as_deref().unwrap_or("the interface");
            let text = format!("{name} dropped {} while capturing", words::count(dropped, "packet"));
            page.row(&[("    ! ", CARE)], (&text, PLAIN))?;
        }
    }
    for shortfall in &summary.shortfalls {
        let mut text = shortfall.text.clone();
        if let Some(offset) = shortfall.offset {
            text.push_str(&format!(", at offset {offset}"));
        }
        if let Some(frame) = shortfall.after_frame {
            text.push_str(&format!(", after frame {frame}"));
        }
        page.row(&[("    ! ", CARE)], (&text, PLAIN))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::report::samples;

    fn text(report: &Report, view: &View) -> String {
        let mut bytes = Vec::new();
        render(report, view, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn reports_read_as_they_should() {
        for (name, report) in samples::all() {
            insta::assert_snapshot!(name, text(&report, &View::default()));
        }
        let verbose = View {
            all: true,
            detail: Detail::Verbose,
            ..View::default()
        };
        insta::assert_snapshot!("failed_logon_verbose", text(&samples::failed_logon(), &verbose));
    }

    #[test]
    fn every_line_fits_and_nothing_from_the_wire_steers_the_terminal() {
        let full = View {
            all: true,
            detail: Detail::Verbose,
            ..View::default()
        };
        for (name, report) in samples::all() {
            for line in text(&report, &full).lines() {
                assert!(line.width() <= page::WIDTH, "{name}: {line}");
                assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{name}: {line}");
                assert_eq!(line, line.trim_end(), "{name}");
            }
        }
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        for (name, report) in samples::all() {
            let colored = text(
                &report,
                &View {
                    color: true,
                    ..View::default()
                },
            );
            assert_eq!(
                anstream::adapter::strip_str(&colored).to_string(),
                text(&report, &View::default()),
                "{name}"
            );
            assert!(colored.contains('\u{1b}'), "{name}");
        }
    }

    #[test]
    fn the_first_line_is_the_verdict_and_quiet_is_nothing_else() {
        for (name, report) in samples::all() {
            let quiet = text(
                &report,
                &View {
                    detail: Detail::Quiet,
                    ..View::default()
                },
            );
            assert!(quiet.starts_with(&format!("{}: ", report.overall.cause.slug)), "{name}");
            assert!(text(&report, &View::default()).starts_with(&quiet), "{name}");
            assert!(quiet.lines().count() <= 2, "{name}");
        }
    }
}
