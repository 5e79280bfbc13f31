//! The README of a bundle: what was done, by which version, with which options, what was removed.

use std::fmt::Write;

use textwrap::Options;

use crate::evidence::bundle::TOOL;
use crate::evidence::numbers::Numbers;
use crate::evidence::raw::Copied;
use crate::evidence::redact::Removed;
use crate::report::model::{Attempt, Report};
use crate::report::plain::printable;

/// What the source is called where its name would tell too much.
pub const SOURCE: &str = "source-capture";
/// What stands before the source's line in the manifest.
pub const SOURCE_MARK: &str = "# source: ";
/// How many runs of frame numbers are listed.
const RUNS: usize = 400;

/// What a README tells.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The report on the attempt.
    pub report: &'a Report,
    /// The attempt.
    pub attempt: &'a Attempt,
    /// The frames of the slice.
    pub numbers: &'a Numbers,
    /// How they were copied.
    pub copied: &'a Copied,
    /// The source's SHA-256; there is none of a live capture.
    pub hash: Option<&'a str>,
    /// The options of the command line.
    pub options: &'a [String],
    /// Neighbours of each frame.
    pub context: usize,
    /// Whether secrets were kept.
    pub with_secrets: bool,
    /// What redaction removed, where it was asked for.
    pub removed: Option<&'a Removed>,
    /// In what triage of the slice differs, where it does.
    pub differs: Option<&'a str>,
}

/// The text.
pub fn text(facts: &Facts<'_>) -> String {
    let mut text = String::new();
    let verdict = &facts.attempt.verdict;
    title(&mut text, "Evidence about a Remote Desktop connection");
    paragraph(&mut text, &verdict.summary);
    paragraph(
        &mut text,
        &format!(
            "Cause: {} ({}). Made by {TOOL}.",
            verdict.cause.slug,
            verdict.confidence.slug()
        ),
    );

    title(&mut text, "Files");
    for (name, what) in [
        (
            "report.html",
            "the report for a browser; it needs no network and runs no script",
        ),
        ("report.md", "the same in words, to paste into a ticket"),
        ("report.json", "the same for programs, schema rdpwhy.report/1"),
        ("slice.pcapng", "the packets of this attempt; open it in Wireshark"),
        (
            "manifest.sha256",
            match facts.hash {
                Some(_) => "SHA-256 of every file and of the source capture",
                None => "SHA-256 of every file",
            },
        ),
    ] {
        let _ = writeln!(text, "{name:<16} {what}");
    }
    text.push('\n');
    paragraph(&mut text, "To check that nothing was changed: sha256sum -c manifest.sha256.");

    if facts.hash.is_some() {
        paragraph(
            &mut text,
            "The source capture is not part of the bundle; its line in the manifest is a comment. To check it, too, run where it lies, with the path of this folder for BUNDLE:",
        );
        text.push_str("sed -n 's/^# source: //p' BUNDLE/manifest.sha256 | sha256sum -c\n\n");
    }
    if facts.removed.is_some() && facts.hash.is_some() {
        paragraph(
            &mut text,
            &format!("The source's own name is left out, for it may tell too much; there it is called {SOURCE}."),
        );
    }

    title(&mut text, "What was done");
    let options = if facts.options.is_empty() {
        "none".to_owned()
    } else {
        facts.options.join(" ")
    };
    paragraph(&mut text, &format!("Options: {}.", printable(&options)));
    paragraph(
        &mut text,
        &format!(
            "The slice holds {} of the source's {} packets: the connections of the attempt with what followed within 30 seconds, the lookups of its names, Kerberos, ICMP about its connections, its UDP side, and first packets of other connections between its hosts, by which a host is told from a device that speaks in its name{}. Times, lengths on the wire, interfaces and link types are the source's. Evidence carries a packet comment that begins with \"rdpwhy:\"; every packet carries its frame number in the source as packet identifier (frame.packet_id in Wireshark).",
            facts.numbers.len(),
            facts.copied.summary.packets,
            match facts.context {
                0 => String::new(),
                n => format!(", and {n} neighbours before and after each"),
            }
        ),
    );
    if facts.report.connections.iter().any(|one| one.same_as.is_some()) {
        paragraph(
            &mut text,
            "Another capture shows the same connection, and the verdict rests on it, too. The slice holds none of its packets; the evidence names the file and the frame. A slice of it is made with `rdpwhy slice`.",
        );
    }
    match facts.hash {
        Some(hash) => paragraph(&mut text, &format!("Source: SHA-256 {hash}.")),
        None => paragraph(
            &mut text,
            "Source: a live capture, of which only these packets were kept. Of long connections the first packets are whole, and the later ones are cut to their headers.",
        ),
    }
    match facts.differs {
        None => paragraph(
            &mut text,
            "Triage of the slice alone gives the same cause, phase and end as triage of the source.",
        ),
        Some(how) => paragraph(
            &mut text,
            &format!("CAUTION: {how}. The slice alone does not bear the verdict out."),
        ),
    }

    title(&mut text, "What was removed");
    paragraph(
        &mut text,
        match (facts.with_secrets, facts.copied.secrets.is_empty()) {
            (true, false) => {
                "Nothing of the TLS secrets of the sessions in the slice: whoever has this bundle can read those sessions. Secrets of other sessions were left out."
            }
            (true, true) => "TLS secrets: none were found for the sessions in the slice.",
            (false, _) => "TLS secrets, if the source had any.",
        },
    );
    match facts.removed {
        None => paragraph(&mut text, "Nothing else: names and addresses are the real ones."),
        Some(removed) => {
            paragraph(
                &mut text,
                "Addresses, hardware addresses, user, host and domain names are pseudonyms, the same ones everywhere in this bundle and others in every other bundle. Addresses that share a network still share one. Lengths and checksums are right.",
            );
            for line in removed.words() {
                paragraph(&mut text, &line);
            }
        }
    }

    title(&mut text, "Frame numbers");
    let runs = facts.numbers.runs();
    let _ = writeln!(text, "{:<20} in the source", "in slice.pcapng");
    let span = |from: u64, to: u64| {
        if from == to {
            from.to_string()
        } else {
            format!("{from}-{to}")
        }
    };
    for [from, to, source, end] in runs.iter().take(RUNS) {
        let _ = writeln!(text, "{:<20} {}", span(*from, *to), span(*source, *end));
    }
    if runs.len() > RUNS {
        let _ = writeln!(text, "and {} more runs: see the packet identifiers", runs.len() - RUNS);
    }
    let _ = writeln!(
        text,
        "\nThe reports cite frames of {}.",
        if facts.numbers.cites_source() {
            "the source"
        } else {
            "slice.pcapng"
        }
    );
    debug_assert!(facts.report.attempt(facts.attempt.id).is_some());
    text
}

fn title(text: &mut String, title: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{title}\n{}\n", "-".repeat(title.len()));
}

fn paragraph(text: &mut String, paragraph: &str) {
    let options = Options::new(78).break_words(false);
    text.push_str(&textwrap::fill(&printable(paragraph), options));
    text.push_str("\n\n");
}
