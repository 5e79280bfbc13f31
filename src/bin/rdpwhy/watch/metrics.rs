//! Counts in, the text format of Prometheus out, over HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use rdpwhy::report::Report;

use crate::watch::tally::Status;

/// What the text is, as OpenMetrics names it.
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A scraper that is slower than this is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// No request is longer.
const REQUEST: u64 = 8 << 10;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    by: &'static str,
}

type Phases = Family<ByPhase, Histogram, fn() -> Histogram>;

/// What is served.
#[derive(Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    attempts: Family<ByCause, Counter>,
    phases: Phases,
    packets: Counter,
    drops: Family<By, Counter>,
    evicted: Counter,
    overruns: Counter,
    evidence: Family<By, Counter>,
    following: Gauge<u64, AtomicU64>,
    ring: Gauge<u64, AtomicU64>,
    memory: Gauge<u64, AtomicU64>,
}

/// From a quarter of a millisecond to two minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 20))
}

impl Metrics {
    /// Metrics that count from nothing.
    pub fn new() -> Metrics {
        let metrics = Metrics {
            registry: Arc::default(),
            attempts: Family::default(),
            phases: Family::new_with_constructor(durations),
            packets: Counter::default(),
            drops: Family::default(),
            evicted: Counter::default(),
            overruns: Counter::default(),
            evidence: Family::default(),
            following: Gauge::default(),
            ring: Gauge::default(),
            memory: Gauge::default(),
        };
        let mut all = Registry::with_prefix("rdpwhy");
        all.register("attempts", "Attempts by the cause of their verdict", metrics.attempts.clone());
        all.register(
            "phase_duration_seconds",
            "Time that connections spent in each phase",
            metrics.phases.clone(),
        );
        all.register("packets", "Packets taken from the kernel", metrics.packets.clone());
        all.register(
            "dropped_packets",
            "Packets that were never looked at, by who dropped them",
            metrics.drops.clone(),
        );
        all.register(
            "evicted_connections",
            "Connections judged early because too many were open or took too much memory",
            metrics.evicted.clone(),
        );
        all.register(
            "ring_overruns",
            "Packets that left the memory for recent packets before their time",
            metrics.overruns.clone(),
        );
        all.register(
            "evidence",
            "Attempts whose evidence was kept, removed again or not written",
            metrics.evidence.clone(),
        );
        all.register("open_connections", "Connections that are followed", metrics.following.clone());
        all.register("ring_bytes", "Bytes in the memory for recent packets", metrics.ring.clone());
        all.register("resident_memory_bytes", "Memory of the process", metrics.memory.clone());
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = all;
        metrics
    }

    /// Counts an attempt.
    pub fn attempt(&self, report: &Report) {
        let cause = report.overall.cause.slug;
        self.attempts.get_or_create(&ByCause { cause }).inc();
        for (phase, time) in report.connections.iter().flat_map(|connection| &connection.metrics.phases) {
            let phase = phase.slug();
            self.phases.get_or_create(&ByPhase { phase }).observe(time.as_secs_f64());
        }
    }

    /// Takes over how the capture stands.
    pub fn status(&self, status: &Status) {
        let reach = |counter: &Counter, now: u64| {
            counter.inc_by(now.saturating_sub(counter.get()));
        };
        reach(&self.packets, status.packets);
        reach(&self.evicted, status.evicted);
        reach(&self.overruns, status.ring_overruns);
        for (by, n) in [
            ("kernel", status.dropped_by_kernel),
            ("interface", status.dropped_by_interface),
        ] {
            reach(&self.drops.get_or_create(&By { by }), n);
        }
        for (by, n) in [
            ("kept", status.evidence_kept),
            ("removed", status.evidence_removed),
            ("failed", status.evidence_failed),
        ] {
            reach(&self.evidence.get_or_create(&By { by }), n);
        }
        self.following.set(status.following as u64);
        self.ring.set(status.ring_bytes);
        self.memory.set(status.memory.unwrap_or_default());
    }

    /// Serves them from a thread of its own, one scraper after the other.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let registry = Arc::clone(&self.registry);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // A scraper that goes away is its own affair.
                let _ = answer(&stream, &registry);
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve).map(drop)
    }
}

/// Answers one request of HTTP/1.0 or later, and closes.
fn answer(stream: &TcpStream, registry: &Mutex<Registry>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(stream.take(REQUEST));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut body = String::new();
    let status = match (method, path) {
        ("GET" | "HEAD", "/metrics") => {
            let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
            match encode(&mut body, &registry) {
                Ok(()) => "200 OK",
                Err(_) => "500 Internal Server Error",
            }
        }
        ("GET" | "HEAD", _) => "404 Not Found",
        _ => "405 Method Not Allowed",
    };
    let mut out = stream;
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: {CONTENT}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    out.write_all(head.as_bytes())?;
    if method != "HEAD" {
        out.write_all(body.as_bytes())?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scraper_gets_the_counts_and_nobody_else_anything() {
        let metrics = Metrics::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        metrics.serve(listener).unwrap();
        let status = Status {
            packets: 7,
            dropped_by_kernel: 3,
            ..Status::default()
        };
        metrics.status(&status);
        metrics.status(&status);
        let answer = get(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        assert!(answer.contains("rdpwhy_packets_total 7\n"), "{answer}");
        assert!(answer.contains("rdpwhy_dropped_packets_total{by=\"kernel\"} 3\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
        assert!(get(address, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 404 "));
        assert!(get(address, "POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 405 "));
    }
}
