//! A report in, a page for people out: the verdict first, then what proves it, then everything else, in 80 columns.

use std::io::{self, Write};

use crate::report::clock::{date_time, duration};
use crate::report::model::{Quantiles, Report};
use crate::report::page::{self, CARE, DIM, PLAIN, Page};
use crate::report::{Detail, View, words};

mod attempt;
mod others;

/// So many captures are named where none of them has shortfalls; `--all` names every one.
const CAPTURES: usize = 20;

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
    if report.attempts.is_empty() {
        page.title("What to do")?;
        for (number, step) in (1..).zip(words::nothing_found(report)) {
            page.row(&[(&format!("  {number}. "), DIM)], (step, PLAIN))?;
        }
    }
    others::attempts(page, report, view)?;
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
    sources(page, report, view)
}

fn sources(page: &mut Page<'_>, report: &Report, view: &View) -> io::Result<()> {
    let mut quiet = 0_usize;
    for (number, one) in (0..).zip(&report.sources) {
        let has_news = !one.summary.shortfalls.is_empty() || one.sha256.is_some();
        if view.all || has_news || number < CAPTURES as u32 {
            source(page, report, view, number)?;
        } else {
            quiet += 1;
        }
    }
    if quiet > 0 {
        let text = format!(
            "and {} that were read to the end (--all names them)",
            words::count(quiet as u64, "more capture")
        );
        page.row(&[("  ", PLAIN)], (&text, DIM))?;
    }
    Ok(())
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
        if report.sources.len() > 1 {
            text = format!("{}: {text}", words::source(report, note.source));
        }
        page.row(&[("  ! ", CARE)], (&text, PLAIN))?;
        if let Some(better) = &note.better {
            page.row(&[("    Better: ", DIM)], (better, PLAIN))?;
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

fn source(page: &mut Page<'_>, report: &Report, view: &View, number: u32) -> io::Result<()> {
    let Some(source) = report.sources.get(number as usize) else {
        return Ok(());
    };
    let summary = &source.summary;
    page.row(&[("  ", PLAIN)], (&words::source(report, number), PLAIN))?;
    let mut what = format!(
        "{}, {}, {}",
        summary.format,
        words::count(summary.packets, "packet"),
        words::bytes(summary.bytes)
    );
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        what.push_str(&format!(
            ", {} from {}",
            duration(last.since(first)),
            date_time(first, &view.zone)
        ));
    }
    page.row(&[("    ", PLAIN)], (&what, DIM))?;
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
