//! Idle times before an end, and the known timers that fit them.
//!
//! Devices differ in what refreshes their state: any packet, only packets from inside, only payload. So the gap is measured in four
//! ways. A device that acts by itself does so at its time; one that has merely forgotten is found out by the next packet, and its
//! time lies between the longest silence that the connection survived and the one that it did not.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::capture::{Span, Timestamp};
use crate::flow::{Connection, Marks, PerSide, Seen, Side};

/// What a timer measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An established connection without packets.
    Idle,
    /// A handshake that stands still.
    HalfOpen,
    /// A limit of the server itself.
    Session,
}

/// What a device does when its timer has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// Resets by itself.
    Reset,
    /// Resets the next packet.
    Reply,
    /// Drops what comes later.
    Silent,
}

/// How well a value is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sure {
    /// Read in the maker's text or in an RFC.
    Documented,
    /// Seen in captures.
    Measured,
    /// Field knowledge.
    Known,
}

/// A known timer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// Whose.
    pub device: String,
    /// Its default, in seconds.
    pub seconds: i64,
    /// What it measures.
    pub kind: Kind,
    /// What happens when it runs out.
    pub ends: Ends,
    /// How well it is known.
    pub sure: Sure,
    /// Where the value is from.
    pub source: String,
    /// What to raise.
    pub raise: String,
}

#[derive(Deserialize)]
struct File {
    timer: Vec<Timer>,
}

/// Every known timer, the shortest first.
pub fn known() -> &'static [Timer] {
    static KNOWN: OnceLock<Vec<Timer>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let mut timers = toml::from_str(include_str!("timers.toml")).map_or_else(|_| Vec::new(), |file: File| file.timer);
        timers.sort_by_key(|timer| timer.seconds);
        timers
    })
}

/// A sweeper strikes this much early, for the clock's sake.
const EARLY: f64 = 1.0;
/// A sweeper strikes this much late at most, or 2 %.
const LATE: f64 = 3.0;

/// The idle or half-open timer that strikes by itself after this silence, the closest if there are several.
pub fn struck(gap: Span) -> Option<&'static Timer> {
    striking(gap).next()
}

/// All of them, the closest first.
pub fn striking(gap: Span) -> impl Iterator<Item = &'static Timer> {
    let seconds = gap.as_secs_f64();
    let mut fitting: Vec<&Timer> = known()
        .iter()
        .filter(|timer| timer.kind != Kind::Session)
        .filter(|timer| {
            let due = timer.seconds as f64;
            seconds >= due - EARLY && seconds <= due + LATE.max(due * 0.02)
        })
        .collect();
    fitting.sort_by(|a, b| {
        let off = |timer: &Timer| (timer.seconds as f64 - seconds).abs();
        off(a).total_cmp(&off(b))
    });
    fitting.into_iter()
}

/// The idle timers longer than the longest silence that was survived and not longer than the one that was not, the closest first.
pub fn within(survived: Option<Span>, fatal: Span) -> Vec<&'static Timer> {
    let least = survived.map_or(0.0, |span| span.as_secs_f64());
    let most = fatal.as_secs_f64() + EARLY;
    let mut fitting: Vec<&Timer> = known()
        .iter()
        .filter(|timer| timer.kind == Kind::Idle)
        .filter(|timer| (timer.seconds as f64) > least && (timer.seconds as f64) <= most)
        .collect();
    fitting.reverse();
    fitting
}

/// The silence before an end.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// The last packet before it.
    pub after: Seen,
    /// The first packet after it.
    pub broken_by: Seen,
    /// Since the last packet of either side.
    pub any: Span,
    /// Since the last packet of each side.
    pub of: PerSide<Option<Span>>,
    /// Since the last payload of either side, keep-alives not counted.
    pub payload: Option<Span>,
    /// The longest silence after which the connection went on well.
    pub survived: Option<Span>,
    /// Keep-alive probes of either side before it.
    pub keep_alives: u64,
}

impl Idle {
    /// Measures the silence that ended with `broken_by`: the packet that broke it, or the RST that came out of it.
    pub fn before(tcp: &Connection, broken_by: &Seen) -> Option<Idle> {
        let earlier = || tcp.log.iter().filter(|seen| seen.no < broken_by.no);
        let after = *earlier().next_back()?;
        let since = |at: Timestamp| broken_by.at.since(at);
        let last_of = |side: Side| earlier().rfind(|seen| seen.side == side).map(|seen| since(seen.at));
        let payload = earlier().rfind(|seen| seen.has_data()).map(|seen| since(seen.at));
        let any = since(after.at);
        Some(Idle {
            after,
            broken_by: *broken_by,
            any,
            of: PerSide {
                client: last_of(Side::Client),
                server: last_of(Side::Server),
            },
            payload,
            survived: survived(tcp, &after),
            keep_alives: earlier().filter(|seen| seen.marks.has(Marks::KEEP_ALIVE)).count() as u64,
        })
    }
}

/// The longest silence before `last`, over what is remembered of the connection.
fn survived(tcp: &Connection, last: &Seen) -> Option<Span> {
    let mut longest: Option<Span> = None;
    let mut previous: Option<&Seen> = None;
    for seen in tcp.log.iter().take_while(|seen| seen.no <= last.no) {
        if let Some(previous) = previous {
            longest = longest.max(Some(seen.at.since(previous.at)));
        }
        previous = Some(seen);
    }
    // The middle of a long connection is not remembered packet by packet, its longest silence is.
    let whole = tcp.longest_idle.filter(|(_, after)| after.no < last.no).map(|(span, _)| span);
    longest.max(whole).filter(|span| *span >= Span::secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses_and_names_its_sources() {
        assert!(known().len() >= 20);
        for timer in known() {
            assert!(
                timer.seconds > 0 && timer.source.len() > 10 && timer.raise.len() > 10,
                "{timer:?}"
            );
        }
    }

    #[test]
    fn a_sweeper_strikes_on_time_and_a_little_late() {
        let name = |seconds: f64| struck(Span((seconds * 1e9) as i64)).map(|timer| timer.seconds);
        assert_eq!(name(181.46), Some(180));
        assert_eq!(name(239.2), Some(240));
        assert_eq!(name(3665.0), Some(3600));
        assert_eq!(name(120.0), None);
        assert_eq!(name(270.0), None);
    }

    #[test]
    fn a_forgetful_device_lies_between_what_was_survived_and_what_was_not() {
        let seconds = |survived: Option<i64>, fatal: i64| -> Vec<i64> {
            let mut all: Vec<i64> = within(survived.map(Span::secs), Span::secs(fatal))
                .iter()
                .map(|timer| timer.seconds)
                .collect();
            all.dedup();
            all
        };
        assert_eq!(seconds(Some(250), 352), [350, 300]);
        assert_eq!(seconds(Some(400), 450), [] as [i64; 0]);
        assert_eq!(seconds(None, 243).first(), Some(&240));
    }
}
