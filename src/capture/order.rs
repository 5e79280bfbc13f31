//! Frames that stand later in a file than their time: capturing on several interfaces or queues of a network card, each of which hands over
//! its packets a little later than another, writes them so. The time is right, the order of the file is not.
//!
//! A clock that was set back looks alike at first: what was captured after it bears earlier times than what was captured before. There the
//! order of the file is right. It is told by how far times go back: `ntpd` sets a clock at 128 ms and more, `systemd-timesyncd` at 400 ms, and
//! both let it go slower for less.

use super::batch::Frames;
use super::{Span, Timestamp};

/// Frames that are later than this were not held up; the clock was set.
const HELD_UP: Span = Span::millis(100);
/// So many frames may lie between two places where time goes on: the Linux kernel takes up to 64 packets of one queue before it looks at the next.
const REACH: usize = 256;

/// Puts frames that stand a little later than their time where their time is. Gives how many were late, and the place of the first in
/// the order of the file.
pub(super) fn by_time(frames: &mut Frames) -> Option<(u64, usize)> {
    let times = &frames.times;
    // The earliest time from each place on: where none of them is before all that was, time goes on.
    let mut earliest = times.clone();
    for place in (1..earliest.len()).rev() {
        if let [before, after] = &mut earliest[place - 1..=place] {
            *before = (*before).min(*after);
        }
    }
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    let mut late = None;
    let mut from = 0;
    let mut latest = Timestamp(i64::MIN);
    for until in 1..=times.len() {
        latest = latest.max(times[until - 1]);
        if earliest.get(until).is_some_and(|earliest| *earliest < latest) {
            continue;
        }
        if let Some((n, first)) = held_up(&times[from..until]) {
            order[from..until].sort_by_key(|place| times[*place as usize]);
            let (sum, _) = late.get_or_insert((0, from + first));
            *sum += n;
        }
        from = until;
    }
    late?;
    fn arranged<T: Copy>(list: &[T], order: &[u32]) -> Vec<T> {
        order.iter().filter_map(|place| list.get(*place as usize).copied()).collect()
    }
    frames.times = arranged(&frames.times, &order);
    frames.marks = arranged(&frames.marks, &order);
    frames.places = arranged(&frames.places, &order);
    frames.order = order;
    late
}

/// How many of these frames, between two places where time goes on, are earlier than one before them, and the first that is: if they
/// were only held up.
fn held_up(times: &[Timestamp]) -> Option<(u64, usize)> {
    if times.len() < 2 || times.len() > REACH {
        return None;
    }
    let (mut latest, mut n, mut first) = (Timestamp(i64::MIN), 0, None);
    for (place, at) in times.iter().enumerate() {
        if *at < latest {
            if latest.since(*at) > HELD_UP {
                return None;
            }
            n += 1;
            first = first.or(Some(place));
        }
        latest = latest.max(*at);
    }
    Some((n, first?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HELD_UP, REACH, by_time};
    use crate::capture::batch::{Frames, Place};
    use crate::capture::{LinkType, Timestamp};

    /// Frames at these times in milliseconds, numbered by their starts.
    fn frames(times: &[i64]) -> Frames {
        let mut frames = Frames::default();
        for (place, at) in times.iter().enumerate() {
            let place = Place {
                start: place as u32,
                captured: 0,
                wire: 0,
                interface: 0,
                options: 0,
                options_len: 0,
                link: LinkType::ETHERNET,
            };
            frames.push(Timestamp(at * 1_000_000), [place.start.into(), 0], place);
        }
        frames
    }

    fn arranged(times: &[i64]) -> (Vec<u32>, Option<(u64, usize)>) {
        let mut frames = frames(times);
        let late = by_time(&mut frames);
        (frames.places.iter().map(|place| place.start).collect(), late)
    }

    #[test]
    fn neighbours_that_changed_places_change_them_back() {
        assert_eq!(arranged(&[10, 12, 11, 20, 30, 29]), (vec![0, 2, 1, 3, 5, 4], Some((2, 2))));
    }

    #[test]
    fn a_clock_that_was_set_back_stays_so() {
        let forward = |n: usize| (0..n as u32).collect::<Vec<_>>();
        assert_eq!(arranged(&[1_000, 1_010, 800, 810, 1_100]), (forward(5), None), "by 200 ms");
        let tail: Vec<i64> = [1_000, 1_050]
            .into_iter()
            .chain((0..REACH as i64).map(|n| 1_000 + n / 8))
            .collect();
        assert_eq!(arranged(&tail), (forward(tail.len()), None), "too many to have been held up");
    }

    #[test]
    fn equal_times_keep_their_order() {
        assert_eq!(arranged(&[5, 7, 6, 6, 7]), (vec![0, 2, 3, 1, 4], Some((2, 2))));
    }

    proptest! {
        #[test]
        fn every_frame_stays_and_only_held_up_ones_move(times in proptest::collection::vec(0i64..400, 0..120)) {
            let mut list = frames(&times);
            let late = by_time(&mut list);
            let mut places: Vec<u32> = list.places.iter().map(|place| place.start).collect();
            prop_assert_eq!(late.is_some(), !list.order.is_empty());
            for ((at, place), mark) in list.times.iter().zip(&list.places).zip(&list.marks) {
                prop_assert_eq!(at.0, times[place.start as usize] * 1_000_000);
                prop_assert_eq!(mark[0], u64::from(place.start));
            }
            if late.is_some() {
                prop_assert_eq!(&places, &list.order);
            }
            // What was moved was not held up for longer than that.
            for (place, was) in places.iter().enumerate() {
                if (*was as usize) > place {
                    let passed = times[place..*was as usize].iter().max().copied().unwrap_or(0);
                    prop_assert!((passed - times[*was as usize]) * 1_000_000 <= HELD_UP.0);
                }
            }
            places.sort_unstable();
            prop_assert_eq!(places, (0..times.len() as u32).collect::<Vec<_>>());
        }
    }
}
