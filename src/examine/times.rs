//! Histograms of the connections in, the figures of the report out: round trips, and what of an answer's time was the server's own.

use hdrhistogram::Histogram;

use crate::capture::Span;
use crate::flow::{Connection, Figures, Side, Spread};
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
        let far = if tcp.rtt[Side::Client].median() > tcp.rtt[Side::Server].median() {
            Side::Client
        } else {
            Side::Server
        };
        tcp.rtt[far].add_to(&mut self.rtt);
        server_response(tcp).add_to(&mut self.server_response);
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
pub(super) fn server_response(tcp: &Connection) -> Spread {
    let way = tcp.rtt_min[Side::Server].map_or(0, |(rtt, _)| u64::try_from(rtt.0 / 1_000).unwrap_or(0));
    tcp.response[Side::Server].less(way)
}

/// [`quantiles`] of one connection's times.
pub(super) fn of_spread(times: &Spread) -> Option<Quantiles> {
    times.figures().map(told)
}

/// Minimum, median, 95th percentile and maximum of a histogram of microseconds; `None` where it is empty.
fn quantiles(histogram: Option<&Histogram<u32>>) -> Option<Quantiles> {
    histogram.and_then(Figures::of).map(told)
}

fn told(figures: Figures) -> Quantiles {
    let micros = |value: u64| Span::micros(i64::try_from(value).unwrap_or(i64::MAX));
    Quantiles {
        min: micros(figures.min),
        median: micros(figures.median),
        p95: micros(figures.p95),
        max: micros(figures.max),
        count: figures.count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(micros: &[u64]) -> Spread {
        let mut spread = Spread::default();
        micros.iter().for_each(|&value| spread.record_n(value, 1));
        spread
    }

    #[test]
    fn times_of_different_length_are_put_together() {
        let mut all = None;
        spread(&[100, 200]).add_to(&mut all);
        spread(&[3_000_000_000]).add_to(&mut all);
        let found = quantiles(all.as_ref()).unwrap();
        assert_eq!(found.count, 3);
        assert_eq!(found.min, Span::micros(100));
        assert!(found.max >= Span::micros(2_990_000_000), "{found:?}");
        assert!((Span::micros(199)..=Span::micros(202)).contains(&found.median), "{found:?}");
    }

    #[test]
    fn without_samples_there_are_no_figures() {
        assert_eq!(quantiles(None), None);
        assert_eq!(of_spread(&spread(&[])), None);
    }
}
