//! Which number a frame has in the slice and in the source.

use std::sync::Arc;

use crate::capture::FrameNo;
use crate::diagnosis::Verdict;
use crate::report::Report;

/// The numbers of the frames of a slice in its source.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// By place in the slice, rising.
    source: Vec<FrameNo>,
    /// Whether a report about it cites the source; otherwise it cites the slice.
    cites_source: bool,
}

impl Numbers {
    /// For a report that cites frames by their number in the source (`cites_source`) or in the slice.
    pub fn new(source: Vec<FrameNo>, cites_source: bool) -> Numbers {
        Numbers { source, cites_source }
    }

    /// Whether the report cites the source.
    pub fn cites_source(&self) -> bool {
        self.cites_source
    }

    /// How many frames the slice has.
    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// Whether the slice has none.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty()
    }

    /// The number in the slice of a frame that the report cites; `None` where the slice does not hold it.
    pub fn in_slice(&self, cited: FrameNo) -> Option<FrameNo> {
        if !self.cites_source {
            return Some(cited);
        }
        let place = self.source.binary_search(&cited).ok()?;
        Some(FrameNo::new(place as u64 + 1))
    }

    /// The first and the last number in the slice of what it holds between two frames that the report cites, both included; `None`
    /// where it holds nothing of that.
    fn stretch_in_slice(&self, (first, last): (FrameNo, FrameNo)) -> Option<(FrameNo, FrameNo)> {
        if !self.cites_source {
            return Some((first, last));
        }
        let before = self.source.partition_point(|no| *no < first) as u64;
        let until = self.source.partition_point(|no| *no <= last) as u64;
        (before < until).then_some((FrameNo::new(before + 1), FrameNo::new(until)))
    }

    /// The number in the source of a frame that the report cites.
    pub fn in_source(&self, cited: FrameNo) -> Option<FrameNo> {
        if self.cites_source {
            return Some(cited);
        }
        let place = usize::try_from(cited.number().checked_sub(1)?).ok()?;
        self.source.get(place).copied()
    }

    /// Makes a report that cites the source cite the slice. A frame that is not in the slice becomes 0; a connection whose first packets
    /// are not in it begins with the first frame after them.
    pub fn renumber(&self, report: &mut Report) {
        let turn = |no: &mut FrameNo| *no = self.in_slice(*no).unwrap_or_default();
        let turn_all = |verdict: &mut Verdict| {
            for evidence in &mut verdict.evidence {
                turn(&mut evidence.frame);
                evidence.text = self.in_text(&evidence.text);
            }
            // What lies outside the slice cannot be looked up there; a verdict without any evidence would be worse.
            if verdict.evidence.iter().any(|evidence| evidence.frame != FrameNo::default()) {
                verdict.evidence.retain(|evidence| evidence.frame != FrameNo::default());
            }
        };
        for connection in &mut report.connections {
            connection.frames = self.stretch_in_slice(connection.frames).unwrap_or_default();
            turn_all(Arc::make_mut(&mut connection.verdict));
            for step in &mut connection.timeline {
                step.frame = step.frame.and_then(|no| self.in_slice(no));
            }
            if let Some((_, after)) = &mut connection.metrics.longest_idle {
                turn(after);
            }
        }
        for attempt in &mut report.attempts {
            turn_all(Arc::make_mut(&mut attempt.verdict));
            for finding in &mut attempt.side_findings {
                finding.frames.iter_mut().for_each(turn);
                finding.frames.retain(|no| *no != FrameNo::default());
            }
        }
        for note in &mut report.quality {
            note.frame = note.frame.and_then(|no| self.in_slice(no));
        }
    }

    /// A sentence of a report that cites the source, with the frames that it names by their numbers in the slice. Where one of them is
    /// not there, all that are named together are said to be the source's.
    pub fn in_text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = [rest.find("frame "), rest.find("frames ")].into_iter().flatten().min() {
            let word = rest
                .get(at..)
                .and_then(|word| word.find(' '))
                .map_or(rest.len(), |blank| at + blank + 1);
            let (lead, behind) = rest.split_at(word);
            let named = named(behind);
            out.push_str(lead);
            out.push_str(&self.renamed(named));
            rest = behind.get(named.len()..).unwrap_or_default();
        }
        out.push_str(rest);
        out
    }

    /// `5`, `5 to 9`: numbers of frames with what stands between them.
    fn renamed(&self, named: &str) -> String {
        let words: Vec<&str> = named.split(' ').collect();
        let turned = words.iter().map(|word| match word.parse::<u64>() {
            Ok(number) => self.in_slice(FrameNo::new(number)).map(|no| no.to_string()),
            Err(_) => Some((*word).to_owned()),
        });
        match turned.collect::<Option<Vec<String>>>() {
            Some(turned) => turned.join(" "),
            None => format!("{named} of the source"),
        }
    }

    /// Runs of frames that follow each other in both: first and last in the slice, first and last in the source.
    pub fn runs(&self) -> Vec<[u64; 4]> {
        let mut runs: Vec<[u64; 4]> = Vec::new();
        for (slice, source) in (1..).zip(self.source.iter().map(|no| no.number())) {
            match runs.last_mut() {
                Some([_, last, _, end]) if *end + 1 == source => (*last, *end) = (slice, source),
                _ => runs.push([slice, slice, source, source]),
            }
        }
        runs
    }
}

/// The numbers at the begin of a text: one, or the first and the last of several.
fn named(text: &str) -> &str {
    let digits = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.bytes().take_while(u8::is_ascii_digit).count()
    };
    let mut end = digits(0);
    for between in [" to ", " and "] {
        let next = end + between.len();
        if end > 0 && text.get(end..next) == Some(between) && digits(next) > next {
            end = digits(next);
        }
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_both_ways() {
        let source: Vec<FrameNo> = [3, 4, 5, 9, 10].map(FrameNo::new).into();
        let numbers = Numbers::new(source.clone(), true);
        assert_eq!(
            (numbers.in_slice(FrameNo::new(9)), numbers.in_slice(FrameNo::new(6))),
            (Some(FrameNo::new(4)), None)
        );
        assert_eq!(numbers.runs(), [[1, 3, 3, 5], [4, 5, 9, 10]]);
        let stretch = |first, last| {
            let found = numbers.stretch_in_slice((FrameNo::new(first), FrameNo::new(last)));
            found.map(|(first, last)| (first.number(), last.number()))
        };
        assert_eq!(
            [stretch(1, 9), stretch(4, 4), stretch(6, 12), stretch(1, 2), stretch(6, 8)],
            [Some((1, 4)), Some((2, 2)), Some((4, 5)), None, None]
        );
        let numbers = Numbers::new(source, false);
        assert_eq!(
            (numbers.in_source(FrameNo::new(4)), numbers.in_source(FrameNo::new(0))),
            (Some(FrameNo::new(9)), None)
        );
    }

    #[test]
    fn frames_named_in_a_sentence_are_renumbered() {
        let numbers = Numbers::new([3, 4, 5, 9, 10].map(FrameNo::new).into(), true);
        for (text, renumbered) in [
            (
                "the packet before (frame 9): 3 ms earlier",
                "the packet before (frame 4): 3 ms earlier",
            ),
            ("windows count up (frames 3 to 10)", "windows count up (frames 1 to 5)"),
            ("answers frame 7 and frame 5", "answers frame 7 of the source and frame 3"),
            ("frames 3 and 6, then", "frames 3 and 6 of the source, then"),
            ("a frame of 3 bytes, the last frame ", "a frame of 3 bytes, the last frame "),
        ] {
            assert_eq!(numbers.in_text(text), renumbered);
        }
    }
}
