//! Histograms of the connections in, the figures of the report out: round trips, and what of an answer's time was the server's own.

use hdrhistogram::Histogram;

use crate::capture::Span;
use crate::flow::{Connection, Side};
use crate::report::model::{Quantiles, Times};

/// Times over all connections.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rtt: Option<Histogram<u32>>,
    server_response: Option<Histogram<u32>>,
}

impl Tally {
    /// Adds those of one connection. Of its two round trips the longer one counts: the other is the way to the near side, which
    /// is next to nothing where the capture was taken on that side.
    pub(super) fn add(&mut self, tcp: &Connection) {
        let median = |side: Side| tcp.rtt[side].as_deref().map(|rtt| rtt.value_at_quantile(0.5));
        let far = if median(Side::Client) > median(Side::Server) {
            Side::Client
        } else {
            Side::Server
        };
        if let Some(rtt) = tcp.rtt[far].as_deref() {
            merge(&mut self.rtt, rtt);
        }
        if let Some(response) = server_response(tcp) {
            merge(&mut self.server_response, &response);
        }
    }

    /// The figures.
    pub(super) fn times(&self) -> Times {
        Times {
            rtt: quantiles(self.rtt.as_ref()),
            server_response: quantiles(self.server_response.as_ref()),
        }
    }
}

/// How long the server itself took to answer: the times seen at the capture, less the shortest round trip to the server.
pub(super) fn server_response(tcp: &Connection) -> Option<Histogram<u32>> {
    let seen = tcp.response[Side::Server].as_deref()?;
    let way = tcp.rtt_min[Side::Server].map_or(0, |(rtt, _)| u64::try_from(rtt.0 / 1_000).unwrap_or(0));
    let mut own = Histogram::new_from(seen);
    for step in seen.iter_recorded() {
        own.saturating_record_n(step.value_iterated_to().saturating_sub(way).max(1), step.count_at_value());
    }
    Some(own)
}

/// Minimum, median, 95th percentile and maximum of a histogram of microseconds; `None` where it is empty.
pub(super) fn quantiles(histogram: Option<&Histogram<u32>>) -> Option<Quantiles> {
    let histogram = histogram.filter(|histogram| !histogram.is_empty())?;
    let micros = |value: u64| Span::micros(i64::try_from(value).unwrap_or(i64::MAX));
    Some(Quantiles {
        min: micros(histogram.min()),
        median: micros(histogram.value_at_quantile(0.5)),
        p95: micros(histogram.value_at_quantile(0.95)),
        max: micros(histogram.max()),
        count: histogram.len(),
    })
}

fn merge(all: &mut Option<Histogram<u32>>, one: &Histogram<u32>) {
    let all = all.get_or_insert_with(|| {
        let mut empty = Histogram::new_from(one);
        empty.auto(true);
        empty
    });
    // It resizes itself, so that nothing is too large for it.
    let _ = all.add(one);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(micros: &[u64]) -> Histogram<u32> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2).unwrap();
        histogram.auto(true);
        micros.iter().for_each(|&value| histogram.saturating_record(value));
        histogram
    }

    #[test]
    fn histograms_of_different_size_are_merged() {
        let mut all = None;
        merge(&mut all, &histogram(&[100, 200]));
        merge(&mut all, &histogram(&[3_000_000_000]));
        let found = quantiles(all.as_ref()).unwrap();
        assert_eq!(found.count, 3);
        assert_eq!(found.min, Span::micros(100));
        assert!(found.max >= Span::micros(2_990_000_000), "{found:?}");
        assert!((Span::micros(199)..=Span::micros(202)).contains(&found.median), "{found:?}");
    }

    #[test]
    fn without_samples_there_are_no_figures() {
        assert_eq!(quantiles(None), None);
        assert_eq!(quantiles(Some(&histogram(&[]))), None);
    }
}
