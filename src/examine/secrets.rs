//! What became of the TLS secrets: those that did not fit, and those that came too late, are said.

use crate::capture::FrameNo;
use crate::examine::Examiner;
use crate::protocol::tls::decrypt::WhyNot;
use crate::report::model::Note;
use crate::transcript::{Depth, Transcript, What};

/// How many frames a note names.
const NAMED: usize = 8;

/// Connections whose secrets did not serve, in one source.
#[derive(Debug, Default)]
pub(super) struct Unserved {
    unfit: Vec<FrameNo>,
    unfit_count: u64,
    late: Vec<FrameNo>,
    late_count: u64,
    strange: Vec<FrameNo>,
    strange_count: u64,
    served: bool,
}

impl Examiner {
    /// Looks at a finished connection for secrets that did not open it.
    pub(super) fn account_for_keys(&mut self, t: &Transcript) {
        let unfit = t
            .moments
            .iter()
            .find(|moment| matches!(moment.what, What::Unopened(WhyNot::KeysDoNotFit)));
        if let Some(moment) = unfit {
            self.state.unserved.unfit_count += 1;
            if self.state.unserved.unfit.len() < NAMED {
                self.state.unserved.unfit.push(moment.frames.last);
            }
            return;
        }
        let opened = t
            .moments
            .iter()
            .any(|moment| moment.depth > Depth::OUTER || matches!(moment.what, What::Unopened(_)));
        let unserved = &mut self.state.unserved;
        unserved.served |= opened;
        let Some((moment, hello)) = t.client_hello().filter(|_| !opened && t.sealed().next().is_some()) else {
            return;
        };
        let (frames, count) = if self.keys.knows(&hello.random) {
            (&mut unserved.late, &mut unserved.late_count)
        } else {
            (&mut unserved.strange, &mut unserved.strange_count)
        };
        *count += 1;
        if frames.len() < NAMED {
            frames.push(moment.frames.last);
        }
    }

    /// Says it, at the end of a source.
    pub(super) fn note_keys(&mut self) {
        let Unserved {
            unfit,
            unfit_count,
            late,
            late_count,
            strange,
            strange_count,
            served,
        } = std::mem::take(&mut self.state.unserved);
        let source = self.state.source;
        // Files with secrets for some of their connections are ordinary; secrets that serve nothing were meant to.
        if strange_count > 0 && !served && unfit_count + late_count == 0 && self.keys.were_given() {
            let known = self.keys.connections();
            self.notes.push(Note {
                source,
                frames: strange,
                text: if known == 0 {
                    format!(
                        "the key log has no usable line ({} are not in the NSS format): {strange_count} connection(s) stay hidden",
                        self.keys.unusable_lines()
                    )
                } else {
                    format!(
                        "the TLS secrets do not fit: they are those of {known} other connection(s), and none is for the {strange_count} connection(s) here, whose content stays hidden"
                    )
                },
            });
        }
        if unfit_count > 0 {
            self.notes.push(Note {
                source,
                frames: unfit,
                text: format!(
                    "the TLS secrets for {unfit_count} connection(s) do not fit: the first sealed record does not open with them, and what is inside stays hidden"
                ),
            });
        }
        if late_count > 0 {
            self.notes.push(Note {
                source,
                frames: late,
                text: format!(
                    "the TLS secrets for {late_count} connection(s) did not serve: they come after the handshake in this file, are incomplete, or belong to a cipher that is not opened here. With --keylog, or secrets at the front of the file (editcap --inject-secrets), what is inside can be read"
                ),
            });
        }
    }
}
