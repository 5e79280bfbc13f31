//! One attempt in, its part of the text report out: the facts, the evidence, the timeline, what else it could be, what to do.

use std::io;

use anstyle::Style;

use crate::capture::{FrameNo, Timestamp};
use crate::diagnosis::{Leans, Verdict};
use crate::report::clock::{date_time, duration, seconds, time_of_day};
use crate::report::model::{Attempt, Connection, Note, Report, Speaker, Step};
use crate::report::page::{BAD, BOLD, CARE, DIM, GOOD, PLAIN, Page};
use crate::report::{Detail, View, words};
use crate::transcript::{Phase, Role, Transport, Vantage};

/// More steps than this are shown only with the verbose view; the beginning and the end are kept.
const STEPS: usize = 36;
/// How many steps at the beginning stay when the middle is left out.
const STEPS_HEAD: usize = 14;

/// The colour of a verdict.
pub(super) fn style(verdict: &Verdict) -> Style {
    match verdict.cause.slug {
        _ if verdict.healthy() => GOOD,
        "capture_incomplete" | "no_rdp" => CARE,
        _ => BAD,
    }
}

/// Everything below the line with the verdict.
pub(super) fn body(page: &mut Page<'_>, report: &Report, view: &View, told: (&Attempt, &Connection, &Verdict)) -> io::Result<()> {
    let (attempt, connection, verdict) = told;
    page.gap()?;
    facts(page, report, view, told)?;
    evidence(page, report, connection, verdict)?;
    timeline(page, view, connection, verdict)?;
    alternatives(page, verdict)?;
    remedies(page, verdict)?;
    others(page, report, view, told)?;
    let findings: Vec<&Note> = attempt
        .side_findings
        .iter()
        .filter(|note| note.text != verdict.summary)
        .collect();
    if !findings.is_empty() {
        page.title("Also seen in this attempt")?;
    }
    findings.into_iter().try_for_each(|finding| note(page, finding))
}

fn facts(page: &mut Page<'_>, report: &Report, view: &View, told: (&Attempt, &Connection, &Verdict)) -> io::Result<()> {
    let (attempt, connection, verdict) = told;
    page.field("Who must act", words::act(verdict))?;
    page.field("Confidence", words::confidence(verdict))?;
    page.field("Ended", &words::ending(connection))?;
    page.field("Client", &words::client(connection))?;
    page.field("Server", &words::server(connection))?;
    if connection.role != Role::Rdp || connection.transport == Transport::Dns {
        page.field("Connection", words::role(connection))?;
    }
    let began = date_time(connection.started, &view.zone);
    page.field("Began", &format!("{began}, lasted {}", duration(connection.duration)))?;
    let mut place = words::frames(connection);
    place.push_str(&format!(" of {}", words::source(report, connection.source)));
    if report.attempts.len() > 1 {
        place.push_str(&format!(" (attempt {} of {})", attempt.id, report.attempts.len()));
    }
    page.field("Where", &place)?;
    let also = words::shown_by(report, connection);
    if !also.is_empty() {
        page.field("Also shown", &also)?;
    }
    let verbose = view.detail == Detail::Verbose;
    if verbose || connection.vantage != Vantage::Unknown {
        let mut captured = words::vantage(connection.vantage).to_owned();
        if verbose && !connection.vantage_why.is_empty() {
            captured.push_str(&format!(": {}", connection.vantage_why));
        }
        page.field("Captured", &captured)?;
    }
    if view.detail == Detail::Verbose {
        figures(page, connection)?;
    }
    Ok(())
}

fn figures(page: &mut Page<'_>, connection: &Connection) -> io::Result<()> {
    if !connection.community_id.is_empty() {
        page.field("Community ID", &connection.community_id)?;
    }
    if let Some(tls) = &connection.tls {
        let mut parts: Vec<String> = [&tls.version, &tls.cipher].into_iter().flatten().cloned().collect();
        parts.extend(tls.sni.iter().map(|name| format!("for {name}")));
        if tls.resumed {
            parts.push("resumed".to_owned());
        }
        if !parts.is_empty() {
            page.field("TLS", &parts.join(", "))?;
        }
        if let Some(certificate) = &tls.certificate {
            page.field(
                "Certificate",
                &format!("{}, issued by {}", certificate.subject, certificate.issuer),
            )?;
        }
    }
    let metrics = &connection.metrics;
    for (side, name) in ["From client", "From server"].into_iter().enumerate() {
        let mut text = format!(
            "{}, {}",
            words::count(metrics.packets[side], "packet"),
            words::bytes(metrics.bytes[side])
        );
        if metrics.retransmissions[side] > 0 {
            text.push_str(&format!(
                ", {}",
                words::count(metrics.retransmissions[side], "retransmission")
            ));
        }
        if let Some(mss) = metrics.mss[side] {
            text.push_str(&format!(", MSS {mss}"));
        }
        page.field(name, &text)?;
    }
    for (name, measured) in [
        ("RTT client", &metrics.rtt_client),
        ("RTT server", &metrics.rtt_server),
        ("Server took", &metrics.server_response),
    ] {
        if let Some(q) = measured {
            let [min, median, p95, max] = [q.min, q.median, q.p95, q.max].map(duration);
            let samples = words::count(q.count, "sample");
            page.field(name, &format!("min {min}, median {median}, p95 {p95}, max {max} ({samples})"))?;
        }
    }
    if let Some((idle, after)) = metrics.longest_idle {
        page.field("Longest idle", &format!("{} after frame {after}", duration(idle)))?;
    }
    for (name, value) in &metrics.facts {
        page.field(name, value)?;
    }
    Ok(())
}

fn evidence(page: &mut Page<'_>, report: &Report, connection: &Connection, verdict: &Verdict) -> io::Result<()> {
    let against = verdict.evidence.iter().any(|one| one.leans == Leans::Against);
    page.title(if against {
        "Evidence for (+) and against (-)"
    } else {
        "Evidence"
    })?;
    columns(page)?;
    for one in &verdict.evidence {
        let sign = match one.leans {
            Leans::For => ("  + ", BOLD),
            Leans::Against => ("  - ", CARE),
        };
        let elsewhere = words::elsewhere(report, connection, one);
        let (frame, seconds) = place(words::held_by(report, connection, one), Some(one.frame), one.at);
        page.row(
            &[sign, (&frame, PLAIN), (&seconds, DIM)],
            (&format!("{}{elsewhere}", words::sentence(&one.text)), PLAIN),
        )?;
    }
    if let Some(filter) = words::wireshark_filter(connection) {
        page.row(&[("  In Wireshark: ", DIM)], (&format!("`{filter}`"), PLAIN))?;
    }
    Ok(())
}

fn columns(page: &mut Page<'_>) -> io::Result<()> {
    page.row(&[("    ", PLAIN)], (&format!("{:>7}  {:>9}", "frame", "seconds"), DIM))
}

/// A frame and a time after the begin, as wide as their columns.
fn place(connection: &Connection, frame: Option<FrameNo>, at: Timestamp) -> (String, String) {
    let frame = frame.map_or_else(|| "-".to_owned(), |frame| frame.to_string());
    let seconds = seconds(at.since(connection.started), connection.duration);
    (format!("{frame:>7}"), format!("  {seconds:>9}  "))
}

fn timeline(page: &mut Page<'_>, view: &View, connection: &Connection, verdict: &Verdict) -> io::Result<()> {
    let phases = &connection.metrics.phases;
    if connection.timeline.is_empty() && phases.is_empty() {
        return Ok(());
    }
    let zero = time_of_day(connection.started, &view.zone);
    let inferred = connection.timeline.iter().any(|step| step.inferred);
    let legend = if inferred { "; ~ inferred from sizes and timing" } else { "" };
    page.title(&format!("Timeline (0 is {zero}{legend})"))?;
    columns(page)?;
    let steps = &connection.timeline;
    let shorten = view.detail < Detail::Verbose && steps.len() > STEPS;
    let tail = steps.len().saturating_sub(STEPS - STEPS_HEAD);
    let kept = |number: usize, step: &Step| {
        !shorten || number < STEPS_HEAD || number >= tail || verdict.evidence.iter().any(|one| Some(one.frame) == step.frame)
    };
    let mut headings = Headings {
        connection,
        shown: Vec::new(),
        current: None,
    };
    let mut hidden = 0;
    for (number, step) in steps.iter().enumerate() {
        if !kept(number, step) {
            hidden += 1;
            continue;
        }
        left_out(page, &mut hidden)?;
        headings.before(page, step.phase)?;
        line(page, connection, step)?;
    }
    left_out(page, &mut hidden)?;
    headings.rest(page)
}

fn left_out(page: &mut Page<'_>, hidden: &mut usize) -> io::Result<()> {
    if *hidden > 0 {
        let text = format!("... {} (-v shows all)", words::count(*hidden as u64, "more step"));
        page.row(&[("                      ", PLAIN)], (&text, DIM))?;
        *hidden = 0;
    }
    Ok(())
}

fn line(page: &mut Page<'_>, connection: &Connection, step: &Step) -> io::Result<()> {
    let (speaker, style) = match step.speaker {
        Speaker::Client => ("client", PLAIN),
        Speaker::Server if step.phase == Phase::Dns => ("resolver", PLAIN),
        Speaker::Server => ("server", PLAIN),
        Speaker::Middlebox(_) => ("middlebox", BAD),
        Speaker::Nobody => ("", PLAIN),
    };
    let mut text = if step.inferred {
        format!("~ {}", step.text)
    } else {
        step.text.clone()
    };
    if let Speaker::Middlebox(Some(addr)) = step.speaker {
        text.push_str(&format!(" (from {addr})"));
    }
    if step.lost {
        text.push_str(" (lost)");
    }
    let (frame, seconds) = place(connection, step.frame, step.at);
    page.row(
        &[
            ("    ", PLAIN),
            (&frame, PLAIN),
            (&seconds, DIM),
            (&format!("{speaker:<11}"), style),
        ],
        (&text, PLAIN),
    )
}

/// The phases as headings between the steps, each with the time that was spent in it.
struct Headings<'a> {
    connection: &'a Connection,
    shown: Vec<Phase>,
    current: Option<Phase>,
}

impl Headings<'_> {
    /// The heading of `phase`, after those of earlier phases that left no step.
    fn before(&mut self, page: &mut Page<'_>, phase: Phase) -> io::Result<()> {
        if self.current == Some(phase) {
            return Ok(());
        }
        let order: Vec<Phase> = self.connection.metrics.phases.iter().map(|&(phase, _)| phase).collect();
        if let Some(place) = order.iter().position(|&one| one == phase) {
            for &earlier in &order[..place] {
                if !self.shown.contains(&earlier) {
                    self.heading(page, earlier)?;
                }
            }
        }
        self.heading(page, phase)
    }

    /// The headings of those phases that left no step at all.
    fn rest(&mut self, page: &mut Page<'_>) -> io::Result<()> {
        for &(phase, _) in &self.connection.metrics.phases {
            if !self.shown.contains(&phase) {
                self.heading(page, phase)?;
            }
        }
        Ok(())
    }

    fn heading(&mut self, page: &mut Page<'_>, phase: Phase) -> io::Result<()> {
        let first = !self.shown.contains(&phase);
        self.shown.push(phase);
        self.current = Some(phase);
        let mut after = String::new();
        if !first {
            after.push_str(", again");
        } else if let Some((_, spent)) = self.connection.metrics.phases.iter().find(|&&(one, _)| one == phase) {
            after.push_str(&format!(", {}", duration(*spent)));
        }
        let open = phase == self.connection.reached() && phase != Phase::Session;
        let open = if open { ", not completed" } else { "" };
        page.row(&[("  ", PLAIN), (words::phase(phase), BOLD), (&after, DIM)], (open, CARE))
    }
}

fn alternatives(page: &mut Page<'_>, verdict: &Verdict) -> io::Result<()> {
    if verdict.alternatives.is_empty() {
        return Ok(());
    }
    page.title("What else it could be")?;
    for one in &verdict.alternatives {
        page.row(
            &[("  ", PLAIN)],
            (&format!("{}: {}", one.cause.slug, words::sentence(&one.why)), PLAIN),
        )?;
    }
    Ok(())
}

fn remedies(page: &mut Page<'_>, verdict: &Verdict) -> io::Result<()> {
    if verdict.remedies.is_empty() {
        return Ok(());
    }
    page.title("What to do")?;
    let (tests, cures): (Vec<_>, Vec<_>) = verdict.remedies.iter().partition(|one| one.test_only);
    for (number, one) in (1..).zip(&cures) {
        page.row(&[(&format!("  {number}. "), DIM)], (&words::sentence(&one.text), PLAIN))?;
    }
    if !tests.is_empty() {
        page.row(
            &[("  ", PLAIN)],
            ("To prove it only; these are tests, not cures, and are to be undone:", CARE),
        )?;
    }
    for (number, one) in (cures.len() + 1..).zip(&tests) {
        page.row(&[(&format!("  {number}. "), DIM)], (&words::sentence(&one.text), PLAIN))?;
    }
    Ok(())
}

fn others(page: &mut Page<'_>, report: &Report, view: &View, told: (&Attempt, &Connection, &Verdict)) -> io::Result<()> {
    let (attempt, told, verdict) = told;
    let others: Vec<&Connection> = (attempt.connections.iter())
        .filter(|&&id| id != told.id)
        .filter_map(|&id| report.connection(id))
        .filter(|other| other.same_as.is_none())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    page.title("Other connections of this attempt")?;
    for other in others {
        let what = format!(
            "{}, {} to {}, {}: {}",
            words::role(other),
            words::client(other),
            words::server(other),
            words::frames(other),
            if other.verdict.cause == verdict.cause {
                "the same"
            } else {
                &other.verdict.summary
            },
        );
        page.row(
            &[("  ", PLAIN), (other.verdict.cause.slug, style(&other.verdict)), (" ", PLAIN)],
            ("", PLAIN),
        )?;
        page.row(&[("    ", PLAIN)], (&what, PLAIN))?;
        if view.detail == Detail::Verbose {
            timeline(page, view, other, &other.verdict)?;
        }
    }
    Ok(())
}

/// A finding with its frames.
pub(super) fn note(page: &mut Page<'_>, note: &Note) -> io::Result<()> {
    page.row(&[("  ", PLAIN)], (&format!("{}{}", note.text, frames(&note.frames)), PLAIN))
}

/// ` (frame 3)`, ` (frames 3, 5, 9 and 12 more)`.
fn frames(frames: &[FrameNo]) -> String {
    const NAMED: usize = 6;
    let named: Vec<String> = frames.iter().take(NAMED).map(ToString::to_string).collect();
    match frames {
        [] => String::new(),
        [one] => format!(" (frame {one})"),
        _ if frames.len() > NAMED => format!(" (frames {} and {} more)", named.join(", "), frames.len() - NAMED),
        _ => format!(" (frames {})", named.join(", ")),
    }
}
