//! What a user types for a time in, a moment of capture time out.

use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use rdpwhy::capture::{Span, Timestamp};

/// A moment as it was typed; some kinds need the capture to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A moment in itself: RFC 3339.
    Exact(Timestamp),
    /// A date and a time in the zone of the report.
    Civil(DateTime),
    /// A time on the day of the first packet, in the zone of the report.
    OfDay(Time),
    /// So long after the first packet.
    AfterFirst(Span),
    /// So long before the last packet.
    BeforeLast(Span),
}

/// The times of a capture by which moments are understood.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The first packet.
    pub first: Timestamp,
    /// The last packet, where it is known already.
    pub last: Option<Timestamp>,
}

impl Moment {
    /// Whether the end of the capture must be known.
    pub fn needs_last(self) -> bool {
        matches!(self, Moment::BeforeLast(_))
    }

    /// The moment of capture time that is meant; `None` where it lies outside all calendars or needs an end that is not known.
    pub fn resolve(self, bounds: Bounds, zone: &TimeZone) -> Option<Timestamp> {
        let civil = |date_time: DateTime| {
            let zoned = date_time.to_zoned(zone.clone()).ok()?;
            i64::try_from(zoned.timestamp().as_nanosecond()).ok().map(Timestamp)
        };
        match self {
            Moment::Exact(at) => Some(at),
            Moment::Civil(date_time) => civil(date_time),
            Moment::OfDay(time) => {
                let first = jiff::Timestamp::from_nanosecond(i128::from(bounds.first.0)).ok()?;
                civil(first.to_zoned(zone.clone()).date().to_datetime(time))
            }
            Moment::AfterFirst(span) => Some(bounds.first.plus(span)),
            Moment::BeforeLast(span) => Some(bounds.last?.plus(Span(span.0.saturating_neg()))),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(typed: &str) -> Result<Moment, String> {
        let text = typed.trim();
        if let Some(rest) = text.strip_prefix('+') {
            return span(rest).map(Moment::AfterFirst).ok_or_else(|| not_understood(typed));
        }
        if let Some(rest) = text.strip_prefix('-') {
            return span(rest).map(Moment::BeforeLast).ok_or_else(|| not_understood(typed));
        }
        if let Ok(exact) = text.parse::<jiff::Timestamp>() {
            return i64::try_from(exact.as_nanosecond())
                .map(|ns| Moment::Exact(Timestamp(ns)))
                .map_err(|_| not_understood(typed));
        }
        if let Ok(date_time) = text.parse::<DateTime>() {
            return Ok(Moment::Civil(date_time));
        }
        if let Some(exact) = epoch(text) {
            return Ok(Moment::Exact(exact));
        }
        // Only with a colon: "2308" is a code, and a slip, not the time 23:08.
        match text.parse::<Time>() {
            Ok(time) if text.contains(':') => Ok(Moment::OfDay(time)),
            _ => Err(not_understood(typed)),
        }
    }
}

/// Seconds since 1970 as `tshark -e frame.time_epoch` prints them: nine digits or more, so that no code is taken for them.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() < 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(nanos)
        .map(Timestamp)
}

fn span(text: &str) -> Option<Span> {
    let duration: SignedDuration = text.parse().ok().filter(|_| !text.starts_with(['-', '+']))?;
    i64::try_from(duration.as_nanos()).ok().filter(|&ns| ns >= 0).map(Span)
}

fn not_understood(typed: &str) -> String {
    format!(
        "{typed:?} is no time; write 2026-03-04T10:53:00Z, \"2026-03-04 10:53\", 10:53, 1772621580.5 (seconds since 1970), +30s or -5m"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-04 10:53:00 UTC.
    const FIRST: Timestamp = Timestamp(1_772_621_580_000_000_000);

    fn resolved(typed: &str, zone: &TimeZone) -> Option<i64> {
        let bounds = Bounds {
            first: FIRST,
            last: Some(FIRST.plus(Span::secs(600))),
        };
        typed
            .parse::<Moment>()
            .unwrap()
            .resolve(bounds, zone)
            .map(|at| at.since(FIRST).0 / 1_000_000)
    }

    #[test]
    fn every_way_to_write_a_time() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (typed, zone, ms) in [
            ("2026-03-04T10:53:00.5Z", &TimeZone::UTC, 500),
            ("2026-03-04T11:53:00+01:00", &TimeZone::UTC, 0),
            ("2026-03-04 10:54", &TimeZone::UTC, 60_000),
            ("2026-03-04T11:54", &berlin, 60_000),
            ("10:53:01.25", &TimeZone::UTC, 1_250),
            ("11:53", &berlin, 0),
            ("10:52", &TimeZone::UTC, -60_000),
            ("+30s", &TimeZone::UTC, 30_000),
            ("+1h30m", &TimeZone::UTC, 5_400_000),
            ("-5m", &TimeZone::UTC, 300_000),
            ("-250ms", &TimeZone::UTC, 599_750),
        ] {
            assert_eq!(resolved(typed, zone), Some(ms), "{typed}");
        }
    }

    #[test]
    fn a_time_before_the_end_needs_the_end() {
        let bounds = Bounds {
            first: FIRST,
            last: None,
        };
        let moment: Moment = "-5m".parse().unwrap();
        assert!(moment.needs_last());
        assert_eq!(moment.resolve(bounds, &TimeZone::UTC), None);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for typed in [
            "",
            "soon",
            "2308",
            "25:00",
            "+",
            "-",
            "--5m",
            "+-5m",
            "5m",
            "2026-13-01",
            "9999999999-01-01T00:00:00Z",
        ] {
            assert!(typed.parse::<Moment>().is_err(), "{typed}");
        }
    }
}
