//! A report in, Markdown for a ticket out: the main part fits where tickets cut at 4,000 characters.

use std::io::{self, Write};

use super::clock::{date_time, duration, seconds, time_of_day};
use super::model::{Connection, Report, Speaker};
use super::plain::printable;
use super::{View, words};
use crate::diagnosis::{Leans, Verdict};

/// The main part has fewer characters than this.
const MAIN: usize = 4000;
/// A text from the report longer than this is cut.
const TEXT: usize = 320;

/// Writes the main part, about the headline's attempt, then the tables of the other attempts and of the sources.
///
/// # Errors
/// Those of `out`.
pub fn render(report: &Report, view: &View, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(main(report, view).as_bytes())?;
    others(report, view, out)?;
    sources(report, view, out)
}

/// Lines under a title, of which as many are written as there is room for.
struct Block {
    title: &'static str,
    /// Lines before the first one: the head of a table.
    head: String,
    lines: Vec<String>,
    /// Lower is given room first.
    rank: u8,
}

impl Block {
    fn new(rank: u8, title: &'static str, head: &str, lines: impl IntoIterator<Item = String>) -> Block {
        Block {
            title,
            head: head.to_owned(),
            lines: lines.into_iter().collect(),
            rank,
        }
    }

    /// What the title, the head and a remark on lines left out take.
    fn frame(&self) -> usize {
        self.title.len() + self.head.len() + 48
    }
}

fn main(report: &Report, view: &View) -> String {
    let overall = &report.overall;
    let mut text = format!("**`{}`**: {}\n", overall.cause.slug, escaped(&overall.summary));
    let mut blocks = vec![quality(report)];
    if let Some((_, connection, verdict)) = words::headline(report) {
        blocks.extend([
            facts(report, view, connection, verdict),
            evidence(report, connection, verdict),
            remedies(verdict),
            alternatives(verdict),
            timeline(view, connection),
        ]);
    }
    if report.attempts.is_empty() {
        let lines = words::nothing_found(report)
            .iter()
            .zip(1..)
            .map(|(step, number)| format!("{number}. {}\n", prose(step)));
        blocks.push(Block::new(0, "What to do", "", lines));
    }
    blocks.retain(|block| !block.lines.is_empty());
    let room = room(&blocks, MAIN.saturating_sub(text.chars().count() + 1));
    for (block, room) in blocks.iter().zip(room) {
        if room == 0 {
            continue;
        }
        text.push('\n');
        if !block.title.is_empty() {
            text.push_str(&format!("**{}**\n\n", block.title));
        }
        text.push_str(&block.head);
        block.lines.iter().take(room).for_each(|line| text.push_str(line));
        if room < block.lines.len() {
            let left = words::count((block.lines.len() - room) as u64, "more line");
            text.push_str(&format!("\n_{left} in the text report_\n"));
        }
    }
    text
}

/// How many lines of each block there is room for, the most important blocks first.
fn room(blocks: &[Block], mut left: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|&number| blocks[number].rank);
    let mut room = vec![0; blocks.len()];
    for number in order {
        let block = &blocks[number];
        let Some(mut rest) = left.checked_sub(block.frame()) else {
            continue;
        };
        for line in &block.lines {
            let Some(after) = rest.checked_sub(line.chars().count()) else {
                break;
            };
            rest = after;
            room[number] += 1;
        }
        if room[number] > 0 {
            left = rest;
        }
    }
    room
}

fn quality(report: &Report) -> Block {
    let lines = report.quality.iter().map(|note| {
        let better = note
            .better
            .as_ref()
            .map_or_else(String::new, |better| format!(" Better: {}", code(better)));
        format!("- {}{better}\n", escaped(&note.text))
    });
    Block::new(3, "About this capture", "", lines)
}

fn facts(report: &Report, view: &View, connection: &Connection, verdict: &Verdict) -> Block {
    let began = date_time(connection.started, &view.zone);
    let mut place = words::frames(connection);
    place.push_str(&format!(" of {}", words::source(report, connection.source)));
    let filter = words::wireshark_filter(connection).map(|filter| format!("| In Wireshark | {} |\n", code(&filter)));
    let rows = [
        ("Who must act", words::act(verdict).to_owned()),
        ("Confidence", words::confidence(verdict).to_owned()),
        ("Ended", words::ending(connection)),
        ("Client", words::client(connection)),
        ("Server", words::server(connection)),
        ("Began", format!("{began}, lasted {}", duration(connection.duration))),
        ("Where", place),
        ("Also shown", words::shown_by(report, connection)),
        ("Captured", words::vantage(connection.vantage).to_owned()),
    ];
    let lines = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("| {name} | {} |\n", escaped(&value)));
    Block::new(0, "", "| | |\n|---|---|\n", lines.chain(filter))
}

fn evidence(report: &Report, connection: &Connection, verdict: &Verdict) -> Block {
    let lines = verdict.evidence.iter().map(|one| {
        let sign = match one.leans {
            Leans::For => "for",
            Leans::Against => "against",
        };
        let held_by = words::held_by(report, connection, one);
        let at = seconds(one.at.since(held_by.started), held_by.duration);
        format!(
            "| {sign} | {} | {at} | {}{} |\n",
            one.frame,
            escaped(&words::sentence(&one.text)),
            escaped(&words::elsewhere(report, connection, one))
        )
    });
    Block::new(
        1,
        "Evidence",
        "| | Frame | Seconds | What it shows |\n|---|---:|---:|---|\n",
        lines,
    )
}

fn remedies(verdict: &Verdict) -> Block {
    let (tests, cures): (Vec<_>, Vec<_>) = verdict.remedies.iter().partition(|one| one.test_only);
    let lines = cures.into_iter().chain(tests).zip(1..).map(|(one, number)| {
        let mark = if one.test_only { "_Test only, not a cure:_ " } else { "" };
        format!("{number}. {mark}{}\n", prose(&words::sentence(&one.text)))
    });
    Block::new(2, "What to do", "", lines)
}

fn alternatives(verdict: &Verdict) -> Block {
    let lines = verdict
        .alternatives
        .iter()
        .map(|one| format!("- `{}`: {}\n", one.cause.slug, prose(&words::sentence(&one.why))));
    Block::new(4, "What else it could be", "", lines)
}

fn timeline(view: &View, connection: &Connection) -> Block {
    let phases = connection.metrics.phases.iter().map(|(phase, spent)| {
        let open = if *phase == connection.reached() {
            ", not completed"
        } else {
            ""
        };
        format!("| | | | _{}: {}{open}_ |\n", words::phase(*phase), duration(*spent))
    });
    let steps = connection.timeline.iter().map(|step| {
        let frame = step.frame.map_or_else(String::new, |frame| frame.to_string());
        let speaker = match step.speaker {
            Speaker::Nobody => "",
            other => other.slug(),
        };
        let lost = match (step.lost, step.inferred) {
            (true, _) => " (lost)",
            (false, true) => " (inferred)",
            (false, false) => "",
        };
        let at = seconds(step.at.since(connection.started), connection.duration);
        format!("| {at} | {frame} | {speaker} | {}{lost} |\n", escaped(&step.text))
    });
    let head = format!(
        "Seconds from {}.\n\n| Seconds | Frame | Who | What |\n|---:|---:|---|---|\n",
        time_of_day(connection.started, &view.zone)
    );
    Block::new(5, "Timeline", &head, phases.chain(steps))
}

fn others(report: &Report, view: &View, out: &mut dyn Write) -> io::Result<()> {
    let others: Vec<_> = report
        .attempts
        .iter()
        .filter(|one| Some(one.id) != report.overall.attempt)
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n**Other attempts**\n\n| # | Began | Client | Server | Cause | What happened |\n|---:|---|---|---|---|---|"
    )?;
    for one in others {
        writeln!(
            out,
            "| {} | {} | {} | {} | `{}` | {} |",
            one.id,
            date_time(one.started, &view.zone),
            one.client,
            escaped(&one.server),
            one.verdict.cause.slug,
            escaped(&one.verdict.summary)
        )?;
    }
    Ok(())
}

fn sources(report: &Report, view: &View, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n**Looked at by rdpwhy {}**\n", env!("CARGO_PKG_VERSION"))?;
    for (number, source) in (0..).zip(&report.sources) {
        let summary = &source.summary;
        write!(
            out,
            "- {}: {}, {}",
            code(&words::source(report, number)),
            summary.format,
            words::count(summary.packets, "packet")
        )?;
        if let (Some(first), Some(last)) = (summary.first, summary.last) {
            write!(out, ", {} to {}", date_time(first, &view.zone), date_time(last, &view.zone))?;
        }
        if let Some(sha256) = &source.sha256 {
            write!(out, ", SHA-256 `{sha256}`")?;
        }
        writeln!(out)?;
        for shortfall in &summary.shortfalls {
            writeln!(out, "  - {}", escaped(&shortfall.text))?;
        }
    }
    report
        .shortfalls
        .iter()
        .try_for_each(|one| writeln!(out, "- Not looked at: {}", escaped(one)))
}

/// Text that stays text: nothing from the wire becomes markup, a table column, a tag or a line of its own.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let cut: String = text.chars().take(TEXT).collect();
    let mut safe = String::with_capacity(cut.len() + 16);
    let mut before = ' ';
    let mut characters = cut.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            // Before a letter a backslash is no markup, and paths and accounts are full of them.
            '\\' if !characters.peek().is_some_and(char::is_ascii_punctuation) => safe.push(c),
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            // Within a word an underscore is no markup, and names of codes are full of them.
            '_' if before.is_alphanumeric() && characters.peek().is_some_and(|next| next.is_alphanumeric()) => safe.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => safe.extend(['\\', c]),
            '#' | '+' | '-' | '>' if safe.is_empty() => safe.extend(['\\', c]),
            _ => safe.push(c),
        }
        before = c;
    }
    if cut.len() < text.len() {
        safe.push_str(" ...");
    }
    safe
}

/// Text of a rule, in which commands stand between backticks: they become code, everything else stays text.
fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) || text.len() > 2 * TEXT {
        return escaped(text);
    }
    let part = |(number, part): (usize, &&str)| if number % 2 == 1 { code(part) } else { escaped(part) };
    parts.iter().enumerate().map(part).collect()
}

/// Text in a code span, which can hold everything but a backtick.
fn code(text: &str) -> String {
    format!("`{}`", printable(text).replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn markdown(report: &Report) -> String {
        let mut bytes = Vec::new();
        render(report, &View::default(), &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn tickets_read_as_they_should() {
        for (name, report) in samples::all() {
            insta::assert_snapshot!(name, markdown(&report));
        }
    }

    #[test]
    fn the_main_part_fits_whatever_the_report_holds() {
        let mut report = samples::failed_logon();
        let long = "x|<`* ".repeat(200);
        report.overall.summary = long.clone();
        let steps = report.connections[0].timeline.clone();
        for _ in 0..40 {
            report.connections[0].timeline.extend(steps.clone());
            let evidence = report.attempts[0].verdict.evidence[0].clone();
            let verdict = std::sync::Arc::make_mut(&mut report.attempts[0].verdict);
            verdict.evidence.push(evidence);
            verdict.remedies[0].text = long.clone();
        }
        let main = main(&report, &View::default());
        assert!(main.chars().count() < MAIN, "{}", main.chars().count());
        assert!(main.contains("**What to do**") || main.contains("**Evidence**"), "{main}");
        assert!(main.contains("more lines in the text report"), "{main}");
    }

    #[test]
    fn names_from_the_wire_stay_text() {
        let text = markdown(&samples::middlebox_reset());
        assert!(text.contains("&lt;script>\\x1b\\[2J\\|\\`x\\`\\|"), "{text}");
        assert!(!text.contains("<script"), "{text}");
        assert_eq!(
            escaped("# head STATUS_LOGON_FAILURE _x_ a*b"),
            "\\# head STATUS_LOGON_FAILURE \\_x\\_ a\\*b"
        );
        assert_eq!(code("a`b"), "`a'b`");
        assert_eq!(prose("run `a_b *x*` at *once*"), "run `a_b *x*` at \\*once\\*");
        assert_eq!(prose("an odd ` one *x*"), "an odd \\` one \\*x\\*");
    }
}
