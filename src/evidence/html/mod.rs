//! The report as one self-contained page: no script, nothing from the network, fit for print, phones and dark rooms.

mod plots;
mod sequence;
mod svg;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;

use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::capture::FrameNo;
use crate::diagnosis::Leans;
use crate::evidence::numbers::Numbers;
use crate::report::clock::{date_time, duration, seconds};
use crate::report::model::{Attempt, Connection, Report};
use crate::report::plain::printable;
use crate::report::words;
use crate::transcript::Transport;
use plots::Plot;

/// The widths for which drawings are made: a screen or a sheet of paper, and a phone.
const WIDTHS: [f64; 2] = [920.0, 356.0];
const STYLE: &str = include_str!("style.css");

/// What the page shows. Every text from the wire passes through the template's escaping.
#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    style: &'static str,
    style_hash: String,
    tone: &'static str,
    word: &'static str,
    title: String,
    summary: String,
    cause: &'static str,
    meaning: &'static str,
    confidence: &'static str,
    act: &'static str,
    facts: Vec<(&'static str, String)>,
    remedies: Vec<(bool, Prose)>,
    sequence: [String; 2],
    evidence: Vec<Claim>,
    beside: Vec<String>,
    alternatives: Vec<(&'static str, Prose)>,
    plots: Vec<Plot>,
    quality: Vec<Quality>,
    shortfalls: Vec<String>,
    checks: Vec<(String, String)>,
    capture: Vec<(&'static str, String)>,
    notice: String,
    both_numbers: bool,
    /// Whose numbers the frames have that sentences name.
    named: &'static str,
    tool: &'static str,
}

/// What is wrong with the capture.
struct Quality {
    text: String,
    frame: Option<FrameNo>,
    better: Option<String>,
}

/// One row of the table of evidence.
struct Claim {
    number: usize,
    against: bool,
    /// Whether its frame is in the capture that the slice was cut from.
    own: bool,
    cited: FrameNo,
    slice: Option<FrameNo>,
    source: Option<FrameNo>,
    time: String,
    text: String,
}

/// Writes the page about an attempt. `notice` says how the page came about, `numbers` which frames the slice holds.
///
/// # Errors
/// Those of `out`.
pub fn render(
    report: &Report,
    attempt: &Attempt,
    numbers: &Numbers,
    zone: &TimeZone,
    notice: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let page = page(report, attempt, numbers, zone, notice);
    let text = page.render().map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

fn page(report: &Report, attempt: &Attempt, numbers: &Numbers, zone: &TimeZone, notice: &str) -> Page {
    let headline = words::headline(report).filter(|(of, _, _)| of.id == attempt.id);
    let decisive = headline
        .map(|(_, connection, _)| connection)
        .or_else(|| report.connection(attempt.decisive));
    let verdict = headline.map_or(&*attempt.verdict, |(_, _, verdict)| verdict);
    let source = decisive.map_or(0, |connection| connection.source);
    let evidence: Vec<Claim> = (1..)
        .zip(&verdict.evidence)
        .map(|(number, evidence)| {
            let own = evidence.source == source;
            let elsewhere = match own {
                true => String::new(),
                false => format!(" (frame {} of {})", evidence.frame, words::source(report, evidence.source)),
            };
            Claim {
                number,
                against: evidence.leans == Leans::Against,
                own,
                cited: evidence.frame,
                slice: numbers.in_slice(evidence.frame).filter(|_| own),
                source: numbers.in_source(evidence.frame).filter(|_| own),
                time: decisive.map_or_else(String::new, |decisive| {
                    let held_by = words::held_by(report, decisive, evidence);
                    seconds(evidence.at.since(held_by.started), held_by.duration)
                }),
                text: shown(&format!("{}{elsewhere}", words::sentence(&evidence.text))),
            }
        })
        .collect();
    let mut marks: HashMap<FrameNo, usize> = HashMap::new();
    for claim in evidence.iter().filter(|claim| claim.own) {
        marks.entry(claim.cited).or_insert(claim.number);
    }
    let (tone, word) = match (verdict.cause.slug, verdict.healthy()) {
        (_, true) => ("good", "Healthy"),
        ("capture_incomplete" | "no_rdp", _) => ("unsure", "Not enough to judge"),
        _ => ("bad", "Failed"),
    };
    let about = report.sources.get(source as usize);
    Page {
        style: STYLE,
        style_hash: STANDARD.encode(Sha256::digest(STYLE.as_bytes())),
        tone,
        word,
        title: shown(&format!("{} to {}", attempt.client, attempt.server)),
        summary: shown(&words::sentence(&verdict.summary)),
        cause: verdict.cause.slug,
        meaning: verdict.cause.meaning,
        confidence: words::confidence(verdict),
        act: words::act(verdict),
        facts: decisive.map_or_else(Vec::new, |connection| facts(connection, zone)),
        remedies: verdict
            .remedies
            .iter()
            .map(|remedy| (remedy.test_only, prose(&words::sentence(&remedy.text))))
            .collect(),
        sequence: WIDTHS.map(|width| sequence::draw(report, attempt, &marks, width)),
        beside: attempt.side_findings.iter().map(|note| shown(&note.text)).collect(),
        alternatives: verdict
            .alternatives
            .iter()
            .map(|one| (one.cause.slug, prose(&one.why)))
            .collect(),
        plots: decisive.map_or_else(Vec::new, |connection| plots::draw(connection, &marks, WIDTHS)),
        quality: report
            .quality
            .iter()
            .filter(|note| note.source == source)
            .map(|note| Quality {
                text: shown(&words::sentence(&note.text)),
                frame: note.frame,
                better: note.better.as_deref().map(shown),
            })
            .collect(),
        shortfalls: about
            .into_iter()
            .flat_map(|about| about.summary.shortfalls.iter().map(|one| shown(&one.text)))
            .chain(report.shortfalls.iter().map(|one| shown(one)))
            .collect(),
        checks: checks(decisive, &evidence),
        capture: about.map_or_else(Vec::new, |about| {
            let name = about.summary.path.file_name().map(|name| name.to_string_lossy().into_owned());
            let times = about.summary.first.zip(about.summary.last);
            [
                ("Capture", name.map(|name| shown(&name))),
                ("Format", Some(shown(&about.summary.format))),
                (
                    "Packets",
                    Some(format!(
                        "{}, {} in the slice",
                        words::grouped(about.summary.packets),
                        words::grouped(numbers.len() as u64)
                    )),
                ),
                ("From", times.map(|(first, _)| date_time(first, zone))),
                ("To", times.map(|(_, last)| date_time(last, zone))),
                ("SHA-256", about.sha256.clone()),
            ]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
        }),
        notice: shown(notice),
        named: if numbers.cites_source() { "the source" } else { "the slice" },
        both_numbers: evidence.iter().any(|claim| claim.slice != claim.source),
        evidence,
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
    }
}

/// Text in pieces: what stands between backticks is a command.
type Prose = Vec<(bool, String)>;

fn prose(text: &str) -> Prose {
    let whole = text.matches('`').count().is_multiple_of(2);
    let pieces = text.split('`').enumerate();
    if !whole {
        return vec![(false, shown(text))];
    }
    pieces
        .filter(|(_, piece)| !piece.is_empty())
        .map(|(place, piece)| (place % 2 == 1, shown(piece)))
        .collect()
}

/// Text from the wire without what would turn directions or hide; the template escapes the rest.
fn shown(text: &str) -> String {
    printable(text).into_owned()
}

fn facts(connection: &Connection, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let tls = connection.tls.as_ref().and_then(|tls| {
        let version = tls.version.clone()?;
        Some(
            tls.cipher
                .as_ref()
                .map_or(version.clone(), |cipher| format!("{version}, {cipher}")),
        )
    });
    let mut facts = vec![
        ("Client", words::client(connection)),
        ("Server", words::server(connection)),
        ("When", date_time(connection.started, zone)),
        ("Lasted", duration(connection.duration)),
        ("Ended", words::ending(connection)),
        ("Captured", words::vantage(connection.vantage).to_owned()),
    ];
    facts.extend(tls.map(|tls| ("TLS", tls)));
    if !connection.community_id.is_empty() {
        facts.push(("Community ID", connection.community_id.clone()));
    }
    facts.into_iter().map(|(name, value)| (name, shown(&value))).collect()
}

/// Display filters for Wireshark, with what each shows.
fn checks(connection: Option<&Connection>, evidence: &[Claim]) -> Vec<(String, String)> {
    let mut checks = vec![(
        "Every packet that carries a remark of this report".to_owned(),
        "frame.comment contains \"rdpwhy:\"".to_owned(),
    )];
    if let Some(connection) = connection
        && let Some(server) = connection.server
    {
        let client = connection.client;
        let family = |ip: IpAddr| if ip.is_ipv4() { "ip" } else { "ipv6" };
        let layer = if connection.transport == Transport::Tcp {
            "tcp"
        } else {
            "udp"
        };
        checks.push((
            "The whole connection".to_owned(),
            format!(
                "{}.addr == {} && {}.addr == {} && {layer}.port == {} && {layer}.port == {}",
                family(client.ip()),
                client.ip(),
                family(server.ip()),
                server.ip(),
                client.port(),
                server.port()
            ),
        ));
        if layer == "tcp" {
            checks.push((
                "Its resets and closes".to_owned(),
                "tcp.flags.reset == 1 || tcp.flags.fin == 1".to_owned(),
            ));
            checks.push(("What was sent again or not seen".to_owned(), "tcp.analysis.flags".to_owned()));
        }
    }
    let numbers: Vec<String> = evidence.iter().filter_map(|claim| Some(claim.slice?.to_string())).collect();
    if !numbers.is_empty() {
        let mut seen = Vec::new();
        for number in numbers {
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        checks.push((
            "The evidence, in slice.pcapng".to_owned(),
            format!("frame.number in {{{}}}", seen.join(", ")),
        ));
    }
    checks
}
