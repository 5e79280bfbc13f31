//! Times of one kind on their way to minimum, median and percentile: the first ones as they are, more of them in a histogram.
//!
//! Most connections measure a few dozen times. A histogram takes kilobytes, and longer to make than such a connection to follow.

use std::sync::LazyLock;

use hdrhistogram::Histogram;

use crate::capture::Span;

/// The longest time that is told apart: one hour in microseconds.
const LONGEST_US: u64 = 3_600_000_000;
/// So many times are kept as they are.
const FEW: usize = 128;
/// Significant digits.
const DIGITS: u8 = 2;

/// A histogram that is only asked which times two digits do not tell apart.
static STEPS: LazyLock<Option<Histogram<u32>>> = LazyLock::new(|| Histogram::new_with_bounds(1, LONGEST_US, DIGITS).ok());

/// The longest time that two digits do not tell from this one.
fn highest(micros: u32) -> u64 {
    let micros = u64::from(micros);
    STEPS.as_ref().map_or(micros, |steps| steps.highest_equivalent(micros))
}

/// The shortest of the kind.
fn lowest(micros: u32) -> u64 {
    let micros = u64::from(micros);
    STEPS.as_ref().map_or(micros, |steps| steps.lowest_equivalent(micros))
}

/// What a report says of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The shortest.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// Longer than 95 of 100.
    pub p95: u64,
    /// The longest.
    pub max: u64,
    /// How many there are.
    pub count: u64,
}

impl Figures {
    /// The figures of a histogram; `None` where it is empty.
    pub fn of(histogram: &Histogram<u32>) -> Option<Figures> {
        (!histogram.is_empty()).then(|| Figures {
            min: histogram.min(),
            median: histogram.value_at_quantile(0.5),
            p95: histogram.value_at_quantile(0.95),
            max: histogram.max(),
            count: histogram.len(),
        })
    }
}

/// Times in microseconds, each told to two digits.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    few: Vec<u32>,
    many: Option<Box<Histogram<u32>>>,
}

impl Spread {
    /// Adds a time.
    pub fn record(&mut self, took: Span) {
        self.record_n(took.0.max(0) as u64 / 1_000, 1);
    }

    /// Adds a time in microseconds that was measured `n` times.
    pub fn record_n(&mut self, micros: u64, n: u32) {
        let micros = micros.clamp(1, LONGEST_US);
        if self.many.is_none() && self.few.len().saturating_add(n as usize) > FEW {
            self.many = self.histogram().map(Box::new);
            self.few = Vec::new();
        }
        match &mut self.many {
            // It resizes itself, so that nothing is too large for it.
            Some(many) => many.record_n(micros, n).unwrap_or_default(),
            None => {
                let micros = u32::try_from(micros).unwrap_or(u32::MAX);
                self.make_room(n as usize);
                self.few.extend(std::iter::repeat_n(micros, n as usize));
            }
        }
    }

    /// They grow in fewer steps than by doubling, for each step asks for memory.
    fn make_room(&mut self, more: usize) {
        const STEPS: [usize; 3] = [16, 48, FEW];
        let wanted = self.few.len() + more;
        if wanted > self.few.capacity() {
            let room = STEPS.into_iter().find(|step| *step >= wanted).unwrap_or(wanted);
            self.few.reserve_exact(room - self.few.len());
        }
    }

    /// How many times were added.
    pub fn len(&self) -> u64 {
        self.many.as_ref().map_or(self.few.len() as u64, |many| many.len())
    }

    /// The memory that they take, in bytes.
    pub fn weight(&self) -> usize {
        let many = self.many.as_ref().map_or(0, |many| many.distinct_values());
        (self.few.capacity() + many) * size_of::<u32>()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The middle one, in microseconds; `None` where there is none.
    pub fn median(&self) -> Option<u64> {
        match &self.many {
            Some(many) => Some(many.value_at_quantile(0.5)),
            None => {
                let mut few = self.few.clone();
                let middle = few.len().div_ceil(2).checked_sub(1)?;
                let (_, micros, _) = few.select_nth_unstable(middle);
                Some(highest(*micros))
            }
        }
    }

    /// Their figures; `None` where there are none.
    pub fn figures(&self) -> Option<Figures> {
        match &self.many {
            Some(many) => Figures::of(many),
            None => {
                let mut few = self.few.clone();
                few.sort_unstable();
                let up = |place: Option<&u32>| place.map(|micros| highest(*micros));
                // As a histogram counts: the first time at which so many have been seen.
                let at = |quantile: f64| (quantile * few.len() as f64).ceil() as usize;
                let place = |quantile: f64| few.get(at(quantile).max(1) - 1);
                Some(Figures {
                    min: lowest(*few.first()?),
                    median: up(place(0.5))?,
                    p95: up(place(0.95))?,
                    max: up(few.last())?,
                    count: few.len() as u64,
                })
            }
        }
    }

    /// The few as a histogram.
    fn histogram(&self) -> Option<Histogram<u32>> {
        let mut all = Histogram::new(DIGITS).ok()?;
        for micros in &self.few {
            all.record(u64::from(*micros)).ok()?;
        }
        Some(all)
    }

    /// Adds these times to a histogram of many connections, which is made at need.
    pub fn add_to(&self, all: &mut Option<Histogram<u32>>) {
        if self.is_empty() {
            return;
        }
        if all.is_none() {
            *all = Histogram::new(DIGITS).ok();
        }
        let Some(all) = all else { return };
        // It resizes itself, so that nothing is too large for it.
        match &self.many {
            Some(many) => all.add(&**many).unwrap_or_default(),
            None => self
                .few
                .iter()
                .for_each(|micros| all.record(u64::from(*micros)).unwrap_or_default()),
        }
    }

    /// Each time, rounded up to what two digits tell apart, less `way`, which was spent on the way.
    pub fn less(&self, way: u64) -> Spread {
        let mut own = Spread::default();
        match &self.many {
            Some(many) => {
                for step in many.iter_recorded() {
                    own.record_n(step.value_iterated_to().saturating_sub(way), step.count_at_value());
                }
            }
            None => {
                for micros in &self.few {
                    let step = highest(*micros);
                    own.record_n(step.saturating_sub(way), 1);
                }
            }
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the histogram says that has room for everything from the start.
    fn whole(micros: &[u64]) -> Histogram<u32> {
        let mut all = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).unwrap();
        micros
            .iter()
            .for_each(|one| all.saturating_record((*one).clamp(1, LONGEST_US)));
        all
    }

    #[test]
    fn few_and_many_are_told_as_one_large_histogram_tells_them() {
        let mut state = 7_u64;
        for n in [1, 2, 3, FEW - 1, FEW, FEW + 1, 700] {
            let micros: Vec<u64> = (0..n)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) >> (state % 31)
                })
                .collect();
            let mut spread = Spread::default();
            micros.iter().for_each(|one| spread.record_n(*one, 1));
            let expected = whole(&micros);
            assert_eq!(spread.figures(), Figures::of(&expected), "{n} times");
            assert_eq!(spread.median(), Some(expected.value_at_quantile(0.5)));
            let mut all = None;
            spread.add_to(&mut all);
            spread.add_to(&mut all);
            assert_eq!(all.unwrap().len(), 2 * n as u64);
            let less: Vec<u64> = expected
                .iter_recorded()
                .flat_map(|step| {
                    std::iter::repeat_n(step.value_iterated_to().saturating_sub(300), step.count_at_value() as usize)
                })
                .collect();
            assert_eq!(spread.less(300).figures(), Figures::of(&whole(&less)), "{n} times");
        }
        assert_eq!(Spread::default().figures(), None);
    }
}
