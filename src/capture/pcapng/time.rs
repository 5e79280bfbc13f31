//! From the timestamps of a pcapng interface to nanoseconds.

use crate::capture::Resolution;

/// How the units of an interface become nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nanoseconds per unit.
    Times(u64),
    /// Units per nanosecond.
    Divided(u128),
    /// Units of 2^-n seconds.
    Binary(u8),
}

impl Scale {
    pub(super) fn of(resolution: Resolution) -> Self {
        match resolution.0 {
            n @ 0..=9 => Scale::Times(10u64.pow(9 - u32::from(n))),
            // What 128 bits cannot hold makes every time zero anyway.
            n @ 10..=0x7f => Scale::Divided(10u128.checked_pow(u32::from(n) - 9).unwrap_or(u128::MAX)),
            n => Scale::Binary(n & 0x7f),
        }
    }

    /// A time of so many units in nanoseconds, cut off below and held at the end of the range.
    #[inline]
    pub(super) fn nanos(self, units: u64) -> i64 {
        match self {
            Scale::Times(n) => units.checked_mul(n).and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX),
            Scale::Divided(n) => i64::try_from(u128::from(units) / n).unwrap_or(i64::MAX),
            Scale::Binary(n) => i64::try_from((u128::from(units) * 1_000_000_000) >> n).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resolution_yields_nanoseconds() {
        for (resolution, units, nanos) in [
            (6, 1_500_000, 1_500_000_000),
            (0, 2, 2_000_000_000),
            (3, 1, 1_000_000),
            (9, 7, 7),
            (12, 1_999, 1),
            (0x80, 3, 3_000_000_000),
            (0x8a, 1024 + 512, 1_500_000_000),
            (0xa0, (5 << 32) | 1 << 31, 5_500_000_000),
            (0x7f, u64::MAX, 0),
            (0xff, u64::MAX, 0),
            (0, u64::MAX, i64::MAX),
        ] {
            assert_eq!(Scale::of(Resolution(resolution)).nanos(units), nanos, "{resolution:#x}");
        }
    }
}
