//! The attempts beside the headline's: failures in rank, each different one in full, then those that were not judged, then the
//! healthy ones.

use std::cmp::Reverse;
use std::io;

use super::attempt;
use crate::diagnosis::{CAUSES, Verdict};
use crate::report::clock::{date, duration, time_of_day};
use crate::report::model::{Attempt, Report};
use crate::report::page::{CARE, DIM, PLAIN, Page};
use crate::report::{View, words};

/// So many different failures are shown in full; `--all` shows every one.
const IN_FULL: usize = 5;
/// So many attempts are named in a list; `--all` shows every one.
const IN_LIST: usize = 20;
/// From so many attempts on they are counted by cause.
const WORTH_A_TALLY: usize = 6;

/// All of them.
pub(super) fn attempts(page: &mut Page<'_>, report: &Report, view: &View) -> io::Result<()> {
    tally(page, report)?;
    let mut rest: Vec<&Attempt> = report
        .attempts
        .iter()
        .filter(|one| Some(one.id) != report.overall.attempt)
        .collect();
    rest.sort_by_key(|one| (rank(&one.verdict), Reverse(one.verdict.confidence), one.started, one.id));
    let mut told: Vec<&Attempt> = words::headline(report).map(|(attempt, _, _)| attempt).into_iter().collect();
    let mut lists: [Vec<&Attempt>; 4] = Default::default();
    let [again, more, undecided, healthy] = &mut lists;
    for one in rest {
        let Some(connection) = report.connection(one.decisive) else {
            continue;
        };
        let rank = rank(&one.verdict);
        let repeated = rank == Rank::Failed && told.iter().any(|other| same_failure(one, other));
        if view.all || (rank == Rank::Failed && !repeated && told.len() < IN_FULL) {
            page.rule(&format!("attempt {} of {}", one.id, report.attempts.len()))?;
            page.verdict(one.verdict.cause.slug, attempt::style(&one.verdict), &one.verdict.summary)?;
            attempt::body(page, report, view, (one, connection, &one.verdict))?;
            if !view.all {
                told.push(one);
            }
            continue;
        }
        match rank {
            Rank::Failed if repeated => again.push(one),
            Rank::Failed => more.push(one),
            Rank::Undecided => undecided.push(one),
            Rank::Healthy => healthy.push(one),
        }
    }
    let kinds = [
        ("The same failure again", Told::Already),
        ("More failed attempts", Told::Summary),
        ("Not judged", Told::Summary),
        ("Healthy attempts", Told::Already),
    ];
    for ((title, told), attempts) in kinds.into_iter().zip(&mut lists) {
        attempts.sort_by_key(|one| (one.started, one.id));
        list(page, report, view, title, told, attempts)?;
    }
    Ok(())
}

/// How many attempts ended in what.
fn tally(page: &mut Page<'_>, report: &Report) -> io::Result<()> {
    if report.attempts.len() < WORTH_A_TALLY {
        return Ok(());
    }
    page.title(&format!("{} in all", words::count(report.attempts.len() as u64, "attempt")))?;
    let mut counts: Vec<(usize, &Attempt)> = CAUSES
        .iter()
        .filter_map(|cause| {
            let of = |one: &&Attempt| one.verdict.cause == *cause;
            Some((report.attempts.iter().filter(of).count(), report.attempts.iter().find(of)?))
        })
        .collect();
    counts.sort_by_key(|(count, one)| (rank(&one.verdict), Reverse(*count)));
    for (count, one) in counts {
        let lead = format!("{:>7}  ", words::grouped(count as u64));
        page.row(&[(&lead, PLAIN)], (one.verdict.cause.slug, attempt::style(&one.verdict)))?;
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
    let (Some(first), Some(last)) = (attempts.first(), attempts.last()) else {
        return Ok(());
    };
    page.title(title)?;
    let one_day = date(first.started, &view.zone) == date(last.started, &view.zone);
    for one in attempts.iter().take(IN_LIST) {
        let Some(connection) = report.connection(one.decisive) else {
            continue;
        };
        let mut began = time_of_day(one.started, &view.zone);
        if !one_day {
            began = format!("{} {began}", date(one.started, &view.zone));
        }
        let lead = format!("{:>5}  {began}  ", one.id);
        page.row(&[(&lead, DIM)], (one.verdict.cause.slug, attempt::style(&one.verdict)))?;
        let mut text = format!(
            "{} to {}, {}",
            one.client,
            words::server(connection),
            words::frames(connection)
        );
        if report.sources.len() > 1 {
            text.push_str(&format!(" of {}", words::source(report, connection.source)));
        }
        match told {
            Told::Already => text.push_str(&format!(", {}", duration(one.ended.since(one.started)))),
            Told::Summary => text.push_str(&format!(": {}", one.verdict.summary)),
        }
        page.row(&[("         ", PLAIN)], (&text, PLAIN))?;
        for note in &one.side_findings {
            page.row(&[("         ", PLAIN)], (&note.text, CARE))?;
        }
    }
    if let Some(left @ 1..) = attempts.len().checked_sub(IN_LIST) {
        let text = format!(
            "and {} (--all shows every one in full)",
            words::grouped(left as u64) + " more"
        );
        page.row(&[("         ", PLAIN)], (&text, DIM))?;
    }
    Ok(())
}
