//! Takes names and addresses out of a capture: pseudonyms of the same length, consistent over the capture, checksums made right.
//!
//! Two passes: the first one learns what the streams say and where names stand in them, the second one rewrites. Payload that is not
//! understood is cut to headers, and counted.

mod address;
mod content;
mod der;
mod dns;
mod frame;
mod http;
mod names;
mod rdp;
mod streams;
#[cfg(test)]
mod tests;
mod text;
mod tls;

use std::collections::HashMap;
use std::io::Write;

use aes_gcm::aead::Generate;

use crate::capture::{Event, PacketOptions, SectionSummary, Source, Writer};
use crate::evidence::raw::{Error, Kept};
use crate::report::words;
use address::Addresses;
use names::Names;
use streams::Streams;

/// What stands for what: addresses, hardware addresses, names.
#[derive(Debug)]
pub(crate) struct Pseudonyms {
    addresses: Addresses,
    names: Names,
}

/// Replaces names and addresses, with a key of its own.
#[derive(Debug)]
pub struct Redactor {
    pseudonyms: Pseudonyms,
    streams: Streams,
}

/// What a redaction took away.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// Frames written.
    pub frames: u64,
    /// Frames that were cut to their headers because their payload is not understood.
    pub cut: u64,
    /// Frames that are neither IP nor ARP, or in a link layer that is not understood: of these only the link header is left.
    pub not_ip: u64,
    /// Blocks of TLS secrets that were left out.
    pub secrets: u64,
}

impl Removed {
    /// In words, one line for each.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |n: u64, what: &str| {
            if n > 0 {
                words.push(format!("{}: {what}.", words::count(n, "frame")));
            }
        };
        say(self.cut, "cut to headers, because the payload is in clear and not understood");
        say(self.not_ip, "cut to the link header, because it is not IP");
        if self.secrets > 0 {
            words.push(format!("{} of TLS secrets left out.", words::count(self.secrets, "block")));
        }
        words
    }
}

impl Redactor {
    /// A redactor with a fresh random key; `None` where the system gives no random numbers.
    pub fn new() -> Option<Redactor> {
        let key: [u8; 32] = Generate::try_generate().ok()?;
        Some(Redactor::with_key(key))
    }

    /// A redactor with this key.
    pub fn with_key(key: [u8; 32]) -> Redactor {
        Redactor {
            pseudonyms: Pseudonyms {
                addresses: Addresses::new(&key),
                names: Names::new(&key),
            },
            streams: Streams::default(),
        }
    }

    /// The first pass: learns what the streams of `source` say.
    ///
    /// # Errors
    /// Those of the source.
    pub fn learn(&mut self, source: &mut dyn Source, tick: &mut dyn FnMut(u64)) -> Result<(), crate::capture::CaptureError> {
        const FRAMES_PER_TICK: u64 = 4_096;
        while let Some(event) = source.next()? {
            if let Event::Frame(frame) = event {
                self.streams.take(&frame);
                if frame.no.number().is_multiple_of(FRAMES_PER_TICK) {
                    tick(source.bytes_read());
                }
            }
        }
        self.streams.understand(&mut self.pseudonyms);
        Ok(())
    }

    /// The second pass: writes the frames of `source`, redacted, to `out`. Comments, strings about the capturing machine and TLS
    /// secrets are left out; identifiers of packets are kept.
    ///
    /// # Errors
    /// Those of the source and of `out`.
    pub fn rewrite<W: Write>(
        &mut self,
        source: &mut dyn Source,
        out: W,
        section: &SectionSummary,
    ) -> Result<(W, Removed), Error> {
        let mut writer = Writer::new(out, section)?;
        let mut ids: HashMap<u32, u32> = HashMap::new();
        let mut removed = Removed::default();
        self.streams.rewind();
        loop {
            let kept = match source.next()? {
                None => break,
                Some(Event::Secrets(_)) => {
                    removed.secrets += 1;
                    continue;
                }
                Some(Event::Frame(frame)) => Kept::of(&frame),
            };
            let frame = kept.frame();
            let id = match ids.get(&frame.interface) {
                Some(id) => *id,
                None => {
                    let about = source.summary();
                    let mut interface = about.interfaces.get(frame.interface as usize).cloned().unwrap_or_default();
                    interface.link = frame.link;
                    (interface.name, interface.description, interface.filter) = (None, None, None);
                    interface.comments.clear();
                    let id = writer.interface(&interface)?;
                    ids.insert(frame.interface, id);
                    id
                }
            };
            let rewritten = frame::rewrite(&frame, &mut self.pseudonyms, &mut self.streams);
            removed.frames += 1;
            removed.cut += u64::from(rewritten.cut);
            removed.not_ip += u64::from(rewritten.not_ip);
            let number = frame.options.id().unwrap_or(frame.no.number());
            let frame = crate::capture::Frame {
                bytes: &rewritten.bytes,
                direction: frame.direction.or(frame.options.direction()),
                options: PacketOptions::default(),
                ..frame
            };
            writer.numbered_frame(id, &frame, &[], Some(number))?;
        }
        let summary = source.summary();
        let first = summary.watched.0.or(summary.first);
        let last = summary.watched.1.or(summary.last);
        if let (Some(first), Some(last)) = (first, last) {
            let mut ids: Vec<(u32, u32)> = ids.iter().map(|(from, to)| (*to, *from)).collect();
            ids.sort_unstable();
            for (to, from) in ids {
                let dropped = summary.interfaces.get(from as usize).and_then(|interface| interface.dropped);
                writer.statistics(to, (first, last), dropped)?;
            }
        }
        Ok((writer.finish()?, removed))
    }

    /// What stands for this name or address in the redacted capture.
    pub fn name(&self, name: &str) -> String {
        match name.parse() {
            Ok(address) => self.pseudonyms.addresses.of(address).to_string(),
            Err(_) => self.pseudonyms.names.known_text(name),
        }
    }

    /// The way back: pseudonyms with what they stand for.
    pub fn map(&self) -> serde_json::Value {
        serde_json::json!({
            "schema": "rdpwhy.redaction/1",
            "addresses": self.pseudonyms.addresses.map(),
            "hardware_addresses": self.pseudonyms.addresses.hardware_map(),
            "names": self.pseudonyms.names.map(),
        })
    }
}
