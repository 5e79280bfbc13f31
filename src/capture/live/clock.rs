//! The clocks of this machine in, sleep and a clock that was set out.

use std::time::Instant;

use super::{Live, News};
use crate::capture::{Span, Timestamp};

/// What a clock may run away from another by without having been set: adjustments of NTP are slow.
const SLACK: Span = Span::millis(1_000);

/// Three clocks, as they stood at the last look.
#[derive(Debug)]
pub(super) struct Clock {
    /// Runs while the machine is awake.
    awake: Instant,
    /// Runs always, where the system has such a clock.
    always: Option<Span>,
    /// What packets are stamped with.
    wall: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            awake: Instant::now(),
            always: always(),
            wall: Live::now(),
        }
    }

    /// What has happened since the last look.
    pub(super) fn look(&mut self) -> Option<News> {
        let now = Clock::new();
        let awake = Span(i64::try_from(now.awake.duration_since(self.awake).as_nanos()).unwrap_or(i64::MAX));
        let wall = now.wall.since(self.wall);
        let passed = match (self.always, now.always) {
            (Some(before), Some(after)) => Span(after.0.saturating_sub(before.0)),
            _ => awake,
        };
        *self = now;
        judge(awake, passed, wall)
    }
}

/// What it means that the three clocks went on by so much.
fn judge(awake: Span, passed: Span, wall: Span) -> Option<News> {
    let set = Span(wall.0.saturating_sub(passed.0));
    if set.0.saturating_abs() > SLACK.0 {
        return Some(News::ClockSet(set));
    }
    let slept = Span(passed.0.saturating_sub(awake.0));
    (slept > SLACK).then_some(News::Slept(slept))
}

#[cfg(target_os = "linux")]
fn always() -> Option<Span> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(Span(time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)))
}

#[cfg(not(target_os = "linux"))]
fn always() -> Option<Span> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_a_clock_that_was_set_are_told_apart() {
        let s = Span::secs;
        assert_eq!(judge(s(1), s(1), s(1)), None);
        assert_eq!(judge(s(1), s(1), Span::millis(1_400)), None);
        assert_eq!(judge(s(1), s(3_601), s(3_601)), Some(News::Slept(s(3_600))));
        assert_eq!(judge(s(1), s(1), s(3_601)), Some(News::ClockSet(s(3_600))));
        assert_eq!(judge(s(1), s(1), s(-59)), Some(News::ClockSet(s(-60))));
    }
}
