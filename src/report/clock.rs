//! Capture times in, the ways to print them out: RFC 3339 for machines, a date, an hour or a duration for people.

use jiff::tz::TimeZone;

use crate::capture::{Span, Timestamp};

/// RFC 3339 in UTC with all nine digits of the nanoseconds.
pub fn rfc3339(at: Timestamp) -> String {
    moment(at).strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// Date, time to the millisecond and the zone's abbreviation: `2026-03-04 10:53:01.204 UTC`.
pub fn date_time(at: Timestamp, zone: &TimeZone) -> String {
    moment(at)
        .to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S.%3f %Z")
        .to_string()
}

/// The time of day to the millisecond, without its zone.
pub fn time_of_day(at: Timestamp, zone: &TimeZone) -> String {
    moment(at).to_zoned(zone.clone()).strftime("%H:%M:%S.%3f").to_string()
}

/// The date alone.
pub fn date(at: Timestamp, zone: &TimeZone) -> String {
    moment(at).to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string()
}

/// A duration in the unit that a person would choose: `412 us`, `41.2 ms`, `1.204 s`, `5 min 2 s`, `2 h 5 min`, `3 d 4 h`.
pub fn duration(span: Span) -> String {
    if span.0 < 0 {
        return format!("-{}", duration(Span(span.0.saturating_neg())));
    }
    let ns = span.0;
    let tenths = |unit: i64| {
        let rounded = (ns + unit / 20) / (unit / 10);
        (rounded / 10, rounded % 10)
    };
    let seconds = ns.saturating_add(500_000_000) / 1_000_000_000;
    if ns < 999_500 {
        format!("{} us", (ns + 500) / 1_000)
    } else if ns < 999_950_000 {
        let (whole, tenth) = tenths(1_000_000);
        format!("{whole}.{tenth} ms")
    } else if ns < 59_999_500_000 {
        let ms = (ns + 500_000) / 1_000_000;
        format!("{}.{:03} s", ms / 1_000, ms % 1_000)
    } else if seconds < 3_600 {
        two(seconds, 60, "min", 1, "s")
    } else if seconds < 86_400 {
        two(seconds, 3_600, "h", 60, "min")
    } else {
        two(seconds, 86_400, "d", 3_600, "h")
    }
}

/// Seconds for a column that is read downwards: to the microsecond, as Wireshark shows them, where `all` that the column covers is
/// short, else to the millisecond.
pub fn seconds(span: Span, all: Span) -> String {
    if all < Span::secs(10) {
        format!("{:.6}", span.as_secs_f64())
    } else {
        format!("{:.3}", span.as_secs_f64())
    }
}

fn two(seconds: i64, big: i64, big_name: &str, small: i64, small_name: &str) -> String {
    match seconds % big / small {
        0 => format!("{} {big_name}", seconds / big),
        rest => format!("{} {big_name} {rest} {small_name}", seconds / big),
    }
}

/// Every `i64` of nanoseconds is in jiff's range (years 1677 to 2262).
fn moment(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_times_keep_every_nanosecond() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            rfc3339(Timestamp(1_772_621_581_000_000_001)),
            "2026-03-04T10:53:01.000000001Z"
        );
        assert!(rfc3339(Timestamp(i64::MAX)).starts_with("2262-"));
        assert!(rfc3339(Timestamp(i64::MIN)).starts_with("1677-"));
    }

    #[test]
    fn people_see_their_zone() {
        let at = Timestamp(1_772_621_581_204_900_000);
        assert_eq!(date_time(at, &TimeZone::UTC), "2026-03-04 10:53:01.204 UTC");
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(date_time(at, &berlin), "2026-03-04 11:53:01.204 CET");
        assert_eq!(time_of_day(at, &berlin), "11:53:01.204");
        assert_eq!(date(at, &berlin), "2026-03-04");
    }

    #[test]
    fn columns_are_as_fine_as_what_they_cover_is_short() {
        assert_eq!(seconds(Span(412_499), Span::secs(1)), "0.000412");
        assert_eq!(seconds(Span::micros(1_204_000), Span::secs(3_600)), "1.204");
        assert_eq!(seconds(Span::millis(-120), Span::secs(3_600)), "-0.120");
    }

    #[test]
    fn a_duration_never_rounds_into_the_next_unit() {
        for (ns, text) in [
            (0, "0 us"),
            (412_400, "412 us"),
            (999_499, "999 us"),
            (999_500, "1.0 ms"),
            (41_249_999, "41.2 ms"),
            (999_949_999, "999.9 ms"),
            (999_950_000, "1.000 s"),
            (1_204_000_000, "1.204 s"),
            (59_999_499_999, "59.999 s"),
            (59_999_500_000, "1 min"),
            (302_000_000_000, "5 min 2 s"),
            (3_599_600_000_000, "1 h"),
            (7_500_000_000_000, "2 h 5 min"),
            (273_600_000_000_000, "3 d 4 h"),
            (-1_204_000_000, "-1.204 s"),
        ] {
            assert_eq!(duration(Span(ns)), text, "{ns} ns");
        }
        assert!(duration(Span(i64::MIN)).starts_with("-106751 d"));
    }
}
