//! Codes in, their names, meanings and remedies out, for people.

use std::io;

use rdpwhy::codes::{Answer, Code, Hit, Pair, SPACES, Space, Stray, search};
use rdpwhy::report::page::{BOLD, CARE, DIM, PLAIN, Page};

/// More entries than this are listed by name instead of told in full.
const IN_FULL: usize = 3;

/// Explains what was typed. `false` where nothing is known of it.
///
/// # Errors
/// Those of the page.
pub fn explain(page: &mut Page<'_>, typed: &[String]) -> io::Result<bool> {
    let asked = typed.join(" ");
    let answer = search(&asked);
    if answer.is_empty() {
        return Ok(false);
    }
    let Answer { pair, hits, strays } = answer;
    if let Some(pair) = pair {
        self::pair(page, pair)?;
        for hit in &hits {
            page.gap()?;
            brief(page, hit)?;
        }
    } else {
        let full = if hits.len() > IN_FULL { 1 } else { hits.len() };
        for (number, hit) in hits.iter().take(full).enumerate() {
            if number > 0 {
                page.gap()?;
            }
            entry(page, hit)?;
        }
        if let Some(rest @ [first, ..]) = hits.get(full..) {
            page.title(&format!(
                "{} more; name the space for one in full: rdpwhy explain {} {}",
                rest.len(),
                first.space.slug,
                shown(first)
            ))?;
            rest.iter().try_for_each(|hit| line(page, hit))?;
        }
    }
    strays.iter().try_for_each(|one| stray(page, one))?;
    Ok(true)
}

/// Lists every code, or those of the spaces that are named. `false` where a name is no space.
///
/// # Errors
/// Those of the page.
pub fn list(page: &mut Page<'_>, named: &[String]) -> io::Result<bool> {
    let known = |name: &String| SPACES.iter().any(|space| space.slug.eq_ignore_ascii_case(name));
    if !named.iter().all(known) {
        return Ok(false);
    }
    let wanted = |space: &Space| named.is_empty() || named.iter().any(|name| space.slug.eq_ignore_ascii_case(name));
    for (number, space) in SPACES.iter().filter(|space| wanted(space)).enumerate() {
        if number > 0 {
            page.gap()?;
        }
        page.row(&[], (&format!("{}: {}", space.slug, space.title), BOLD))?;
        page.row(&[("  ", PLAIN)], (space.about, DIM))?;
        for code in space.codes() {
            let number = space.show(code.number);
            page.row(&[(&format!("  {number:>18}  "), DIM)], (code.name, PLAIN))?;
        }
    }
    Ok(true)
}

fn shown(hit: &Hit) -> String {
    hit.space.show(hit.code.number)
}

fn entry(page: &mut Page<'_>, hit: &Hit) -> io::Result<()> {
    let Hit { space, code } = hit;
    head(page, hit)?;
    page.field("Meaning", code.meaning)?;
    page.field("On the wire", code.picture)?;
    for (number, step) in code.remedy.iter().enumerate() {
        page.field(if number == 0 { "What to do" } else { "" }, step)?;
    }
    if let Some(claim) = code.not {
        page.field("It is not", claim)?;
    }
    page.field("Space", &format!("{}: {}", space.slug, space.about))?;
    page.field("Source", code.source)
}

fn brief(page: &mut Page<'_>, hit: &Hit) -> io::Result<()> {
    head(page, hit)?;
    page.field("Meaning", hit.code.meaning)?;
    if let Some(claim) = hit.code.not {
        page.field("It is not", claim)?;
    }
    page.field("Source", hit.code.source)
}

fn head(page: &mut Page<'_>, hit: &Hit) -> io::Result<()> {
    let Code { number, name, .. } = hit.code;
    let number = both(hit.space, *number);
    page.row(&[(&number, BOLD), ("  ", PLAIN)], (name, BOLD))?;
    page.row(&[("  ", PLAIN)], (hit.space.title, DIM))
}

/// Hexadecimal and decimal, as people find it in windows and in logs.
fn both(space: &Space, number: u32) -> String {
    let shown = space.show(number);
    let decimal = number.to_string();
    let signed = number.cast_signed();
    match shown.strip_prefix("0x") {
        Some(_) if signed < 0 => format!("{shown} ({decimal}, {signed})"),
        Some(_) => format!("{shown} ({decimal})"),
        None if shown == decimal => format!("{decimal} ({number:#x})"),
        None => shown,
    }
}

fn line(page: &mut Page<'_>, hit: &Hit) -> io::Result<()> {
    let lead = format!("  {:<12}{:>12}  ", hit.space.slug, shown(hit));
    page.row(&[(&lead, DIM)], (hit.code.name, PLAIN))
}

fn pair(page: &mut Page<'_>, pair: &Pair) -> io::Result<()> {
    let head = format!(
        "{:#x} ({}) with extended {:#x} ({})",
        pair.reason, pair.reason, pair.extended, pair.extended
    );
    page.row(&[], (&head, BOLD))?;
    page.row(&[("  ", PLAIN)], (pair.title, PLAIN))?;
    page.gap()?;
    page.row(&[("  ", PLAIN)], (pair.meaning, PLAIN))?;
    page.title("What a capture may show")?;
    for (picture, means) in pair.pictures {
        page.row(&[("  - ", DIM)], (picture, PLAIN))?;
        page.row(&[("    ", DIM)], (means, DIM))?;
    }
    page.title("What to do")?;
    for (number, step) in (1..).zip(pair.remedy) {
        page.row(&[(&format!("  {number}. "), DIM)], (step, PLAIN))?;
    }
    page.title("What popular pages get wrong")?;
    for (claim, truth) in pair.not {
        page.row(&[("  - ", CARE)], (claim, PLAIN))?;
        page.row(&[("    ", DIM)], (truth, DIM))?;
    }
    page.title("Sources")?;
    pair.source
        .iter()
        .try_for_each(|source| page.row(&[("  ", PLAIN)], (source, DIM)))
}

fn stray(page: &mut Page<'_>, stray: &Stray) -> io::Result<()> {
    let number = stray.number;
    page.row(
        &[(&stray.typed, BOLD)],
        (&format!(" ({number:#x}, {number}) is in no table."), PLAIN),
    )?;
    for (space, range) in &stray.ranges {
        page.row(
            &[(&format!("  {:<12}", space.slug), DIM)],
            (&format!("would be {}", range.what), PLAIN),
        )?;
    }
    Ok(())
}
