//! Annotates a copy: packet comments for the evidence, a section comment with the verdict, secrets where they are wanted.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use crate::capture::{Event, Frame, FrameNo, SectionSummary, Source, Writer};
use crate::diagnosis::{Leans, Verdict};
use crate::evidence::raw::{Error, Kept};
use crate::evidence::select::shown;
use crate::report::Report;
use crate::report::model::Attempt;

/// What every comment of ours begins with, so that it is told from those that were there.
pub const PREFIX: &str = "rdpwhy: ";

/// What is written into a slice besides the packets.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Comments on the section.
    pub section: Vec<String>,
    /// Comments on packets, by their number in the source.
    pub frames: BTreeMap<u64, Vec<String>>,
}

impl Notes {
    /// The notes on an attempt. `source` holds lines on where the slice comes from.
    pub fn of(report: &Report, attempt: &Attempt, source: &[String], tool: &str) -> Notes {
        let verdict = &attempt.verdict;
        let mut section = vec![format!(
            "{PREFIX}{} [cause {}, {}; {tool}]",
            verdict.summary,
            verdict.cause.slug,
            verdict.confidence.slug()
        )];
        section.extend(source.iter().map(|line| format!("{PREFIX}{line}")));
        let mut frames: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (frame, text) in claims(report, attempt) {
            let comments = frames.entry(frame.number()).or_default();
            let comment = format!("{PREFIX}{text}");
            if !comments.contains(&comment) {
                comments.push(comment);
            }
        }
        Notes { section, frames }
    }
}

/// The claims about an attempt with the frame that shows each: its own verdict's first, then those of its connections.
fn claims(report: &Report, attempt: &Attempt) -> Vec<(FrameNo, String)> {
    let connections = shown(report, attempt);
    let source = connections.first().map(|connection| connection.source);
    let of_verdict = |verdict: &Verdict| -> Vec<(FrameNo, String)> {
        let told = verdict.evidence.iter().filter(|evidence| Some(evidence.source) == source);
        told.map(|evidence| {
            let lead = if evidence.leans == Leans::Against {
                "speaks against it: "
            } else {
                ""
            };
            (evidence.frame, format!("{lead}{}", evidence.text))
        })
        .collect()
    };
    let mut claims = of_verdict(&attempt.verdict);
    for connection in connections {
        claims.extend(of_verdict(&connection.verdict));
    }
    for note in attempt.side_findings.iter().filter(|note| Some(note.source) == source) {
        claims.extend(note.frames.iter().map(|frame| (*frame, note.text.clone())));
    }
    claims
}

/// What is kept of the strings by which the source describes where it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// All.
    Kept,
    /// None: no hardware, system, user application, no names and filters of interfaces.
    LeftOut,
}

/// Writes the frames of `copy` (made by [`raw::copy`](crate::evidence::raw::copy)) to `out` with `notes` and `secrets`.
/// `about` is how the source described itself.
///
/// # Errors
/// Those of `copy` and of `out`.
pub fn annotate<W: Write>(
    copy: &mut dyn Source,
    out: W,
    notes: &Notes,
    secrets: &[u8],
    about: &SectionSummary,
    origin: Origin,
    tool: &str,
) -> Result<W, Error> {
    let mut section = SectionSummary {
        application: Some(tool.to_owned()),
        comments: notes.section.clone(),
        ..SectionSummary::default()
    };
    if origin == Origin::Kept {
        section.hardware = about.hardware.clone();
        section.os = about.os.clone();
        section.comments = about.comments.iter().chain(&notes.section).cloned().collect();
    }
    let mut writer = Writer::new(out, &section)?;
    if !secrets.is_empty() {
        writer.secrets(secrets)?;
    }
    let mut ids: HashMap<u32, u32> = HashMap::new();
    loop {
        let mut added = None;
        match copy.next()? {
            None => break,
            Some(Event::Secrets(_)) => continue,
            Some(Event::Frame(frame)) => {
                if let Some(id) = ids.get(&frame.interface) {
                    write(&mut writer, *id, &frame, notes)?;
                } else {
                    added = Some(Kept::of(&frame));
                }
            }
        }
        if let Some(kept) = added {
            let mut interface = copy
                .summary()
                .interfaces
                .get(kept.frame().interface as usize)
                .cloned()
                .unwrap_or_default();
            interface.link = kept.frame().link;
            if origin == Origin::LeftOut {
                (interface.name, interface.description, interface.filter) = (None, None, None);
                interface.comments.clear();
            }
            let id = writer.interface(&interface)?;
            ids.insert(kept.frame().interface, id);
            write(&mut writer, id, &kept.frame(), notes)?;
        }
    }
    let summary = copy.summary();
    if let (Some(first), Some(last)) = summary.watched {
        let mut ids: Vec<(u32, u32)> = ids.iter().map(|(copy, out)| (*out, *copy)).collect();
        ids.sort_unstable();
        for (out, copy) in ids {
            let dropped = summary.interfaces.get(copy as usize).and_then(|interface| interface.dropped);
            writer.statistics(out, (first, last), dropped)?;
        }
    }
    Ok(writer.finish()?)
}

fn write<W: Write>(writer: &mut Writer<W>, id: u32, frame: &Frame<'_>, notes: &Notes) -> io::Result<()> {
    let number = frame.options.id().unwrap_or(frame.no.number());
    let none = Vec::new();
    let comments: Vec<String> = notes
        .frames
        .get(&number)
        .unwrap_or(&none)
        .iter()
        .map(|comment| format!("{comment} (frame {number} of the source)"))
        .collect();
    writer.frame(id, frame, &comments)
}
