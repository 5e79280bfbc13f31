//! Plots of a connection: round trips and gaps, TTL, sequence numbers, over a time axis that folds where nothing happens.

use std::collections::HashMap;

use super::svg::Svg;
use crate::capture::{FrameNo, Span, Timestamp};
use crate::packet::TcpFlags;
use crate::report::clock::duration;
use crate::report::model::{Connection, Point};
use crate::transcript::Transport;

/// Fewer packets than this say less in a plot than in the timeline.
const WORTH: usize = 4;
/// A pause is folded where it is longer than this, and longer than everything else together.
const FOLD: Span = Span::secs(1);
/// Space left and right of the axis.
const MARGIN: (f64, f64) = (64.0, 14.0);
/// Space above and below it.
const EDGE: (f64, f64) = (14.0, 34.0);

/// The triangle of a reset.
const RESET: &str = "l6.5 11h-13Z";

/// A plot with its caption.
#[derive(Debug)]
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// How to read it.
    pub caption: String,
    /// For a wide and for a narrow page.
    pub svg: [String; 2],
}

/// The plots that a connection is good for.
pub fn draw(connection: &Connection, marks: &HashMap<FrameNo, usize>, widths: [f64; 2]) -> Vec<Plot> {
    let points = &connection.series;
    if points.len() < WORTH {
        return Vec::new();
    }
    let each = |plot: fn(&Connection, &HashMap<FrameNo, usize>, f64) -> Option<String>| {
        let [wide, narrow] = widths.map(|width| plot(connection, marks, width));
        Some([wide?, narrow?])
    };
    let mut plots = Vec::new();
    if let Some(svg) = each(times) {
        plots.push(Plot {
            title: "Round trips and gaps",
            caption: "Each dot is an acknowledgment: how long after the packet that it acknowledges it passed the capture point. Bars are stretches in which nobody sent anything. The scale is logarithmic.".to_owned(),
            svg,
        });
    }
    if let Some(svg) = each(ttl) {
        plots.push(Plot {
            title: "TTL of each side",
            caption: ttl_caption(points),
            svg,
        });
    }
    if let Some(svg) = each(sequence) {
        let (title, caption) = if connection.transport == Transport::Tcp {
            (
                "Sequence numbers",
                "Each stroke is a segment: when it passed, and which bytes of its side's stream it carries. Rings are bytes that were sent again.",
            )
        } else {
            (
                "Datagrams",
                "Each stroke is a datagram: when it passed, and how many bytes it carries. Rings are data that were sent again.",
            )
        };
        plots.push(Plot {
            title,
            caption: caption.to_owned(),
            svg,
        });
    }
    plots
}

/// The usual value of each side, and the resets that differ.
fn ttl_caption(points: &[Point]) -> String {
    let usual = |client: bool| {
        let mut counts: HashMap<u8, usize> = HashMap::new();
        for point in points
            .iter()
            .filter(|point| point.from_client == client && !point.flags.has(TcpFlags::RST))
        {
            *counts.entry(point.ttl).or_default() += 1;
        }
        counts
            .into_iter()
            .max_by_key(|(ttl, count)| (*count, *ttl))
            .map(|(ttl, _)| ttl)
    };
    let words =
        |client: bool, name: &str| usual(client).map(|ttl| format!("The {name}'s packets usually arrive with TTL {ttl}."));
    let odd: Vec<String> = points
        .iter()
        .filter(|point| point.flags.has(TcpFlags::RST) && usual(point.from_client).is_some_and(|ttl| ttl != point.ttl))
        .take(4)
        .map(|point| format!("#{} with {}", point.frame, point.ttl))
        .collect();
    let mut text: Vec<String> = words(true, "client").into_iter().chain(words(false, "server")).collect();
    if !odd.is_empty() {
        text.push(format!("Resets that differ from it: {}.", odd.join(", ")));
    }
    text.join(" ")
}

/// The time axis: seconds since the first packet, with long pauses folded to a fixed width.
struct Axis {
    first: Timestamp,
    /// Begin and end of each fold.
    folds: Vec<(Timestamp, Timestamp)>,
    scale: f64,
    width: f64,
}

/// The width of a fold.
const FOLDED: f64 = 34.0;

impl Axis {
    fn new(points: &[Point], width: f64) -> Option<Axis> {
        let (first, last) = (points.iter().map(|p| p.at).min()?, points.iter().map(|p| p.at).max()?);
        let mut times: Vec<Timestamp> = points.iter().map(|point| point.at).collect();
        times.sort_unstable();
        let mut gaps: Vec<(Timestamp, Timestamp)> = times
            .windows(2)
            .filter_map(|pair| Some((*pair.first()?, *pair.last()?)))
            .collect();
        gaps.sort_by_key(|(a, b)| std::cmp::Reverse(b.since(*a)));
        let mut rest = last.since(first);
        let mut folds = Vec::new();
        for (a, b) in gaps.into_iter().take(5) {
            let gap = b.since(a);
            if gap < FOLD || gap.0 < (rest.0 - gap.0) / 2 {
                break;
            }
            rest = Span(rest.0 - gap.0);
            folds.push((a, b));
        }
        folds.sort_unstable();
        let room = width - MARGIN.0 - MARGIN.1 - FOLDED * folds.len() as f64 - 10.0;
        Some(Axis {
            first,
            folds,
            scale: room / (rest.0.max(1) as f64),
            width,
        })
    }

    fn x(&self, at: Timestamp) -> f64 {
        let mut ns = at.since(self.first).0 as f64;
        let mut x = MARGIN.0 + 5.0;
        for (a, b) in &self.folds {
            if at >= *b {
                ns -= b.since(*a).0 as f64;
                x += FOLDED;
            }
        }
        x + ns * self.scale
    }

    /// The frame of the plot, the folds and the labels of time.
    fn draw(&self, svg: &mut Svg, height: f64) {
        let bottom = height - EDGE.1;
        svg.line("axis", (MARGIN.0, bottom), (self.width - MARGIN.1, bottom));
        let mut edges = vec![(self.first, self.folds.first().map(|fold| fold.0))];
        for (number, (a, b)) in self.folds.iter().enumerate() {
            let (from, to) = (self.x(*a), self.x(*b));
            svg.rect(
                "folded",
                (from + 4.0, EDGE.0),
                ((to - from - 8.0).max(4.0), bottom - EDGE.0),
                2.0,
            );
            // Neighbouring labels stand on two levels.
            let level = if number % 2 == 0 { 14.0 } else { 27.0 };
            svg.text("tick", "middle", ((from + to) / 2.0, bottom + level), &duration(b.since(*a)));
            edges.push((*b, self.folds.get(number + 1).map(|fold| fold.0)));
        }
        svg.text("tick", "middle", (MARGIN.0 + 5.0, bottom + 16.0), "0");
        for (from, until) in edges {
            self.ticks(svg, bottom, from, until);
        }
    }

    /// Round numbers of seconds between two folds.
    fn ticks(&self, svg: &mut Svg, bottom: f64, from: Timestamp, until: Option<Timestamp>) {
        let right = until.map_or(self.width - MARGIN.1, |until| self.x(until));
        let left = self.x(from);
        let per_tick = 92.0 / self.scale;
        let step = [1i64, 2, 5]
            .into_iter()
            .flat_map(|n| (0..13).map(move |power| n * 10i64.pow(power)))
            .filter(|step| *step as f64 >= per_tick)
            .min()
            .unwrap_or(i64::MAX);
        let offset = from.since(self.first).0;
        let mut at = (offset / step + 1).saturating_mul(step);
        for _ in 0..24 {
            let x = self.x(self.first.plus(Span(at)));
            if x > right - 24.0 || !x.is_finite() {
                break;
            }
            if x > left + 24.0 {
                svg.line("axis", (x, bottom), (x, bottom + 4.0));
                svg.text("tick", "middle", (x, bottom + 16.0), &duration(Span(at)));
            }
            at = at.saturating_add(step);
        }
    }
}

fn class(point: &Point) -> &'static str {
    if point.from_client { "dot-client" } else { "dot-server" }
}

fn side(point: &Point) -> &'static str {
    if point.from_client { "client" } else { "server" }
}

fn times(connection: &Connection, marks: &HashMap<FrameNo, usize>, width: f64) -> Option<String> {
    const HEIGHT: f64 = 230.0;
    let points = &connection.series;
    let trips: Vec<(&Point, Span)> = points.iter().filter_map(|point| Some((point, point.round_trip?))).collect();
    let gaps: Vec<(Timestamp, Span)> = points
        .windows(2)
        .filter_map(|pair| Some((pair.first()?.at, pair.last()?.at.since(pair.first()?.at))))
        .filter(|(_, gap)| gap.0 >= 200_000_000)
        .collect();
    if trips.len() < 3 && gaps.is_empty() {
        return None;
    }
    let axis = Axis::new(points, width)?;
    let spans = || trips.iter().map(|(_, span)| *span).chain(gaps.iter().map(|(_, gap)| *gap));
    let decade = |span: Span| (span.0.max(1_000) as f64).log10();
    let low = spans().map(decade).fold(f64::MAX, f64::min).floor();
    let high = spans().map(decade).fold(f64::MIN, f64::max).ceil().max(low + 1.0);
    let bottom = HEIGHT - EDGE.1;
    let y = |span: Span| bottom - (decade(span) - low) / (high - low) * (bottom - EDGE.0);
    let mut svg = Svg::new(width);
    for power in low as i32..=high as i32 {
        let ns = Span(10i64.saturating_pow(power.max(0).unsigned_abs()));
        svg.line("grid", (MARGIN.0, y(ns)), (width - MARGIN.1, y(ns)));
        svg.text("tick", "end", (MARGIN.0 - 8.0, y(ns) + 4.0), &round(ns));
    }
    axis.draw(&mut svg, HEIGHT);
    for (at, gap) in &gaps {
        let (from, to) = (axis.x(*at), axis.x(at.plus(*gap)));
        svg.rect(
            "gap",
            (from + 1.0, y(*gap)),
            ((to - from - 2.0).max(3.0), bottom - y(*gap)),
            1.0,
        );
    }
    for (point, span) in trips {
        let about = format!("frame {}: {} acknowledges after {}", point.frame, side(point), duration(span));
        svg.dot(
            class(point),
            (axis.x(point.at), y(span)),
            if marks.contains_key(&point.frame) { 5.0 } else { 3.2 },
            &about,
        );
    }
    Some(svg.finish(HEIGHT, "Round-trip times and gaps over time"))
}

/// A power of ten of nanoseconds.
fn round(span: Span) -> String {
    match span.0 {
        0..1_000_000 => format!("{} us", span.0 / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", span.0 / 1_000_000),
        ns => format!("{} s", ns / 1_000_000_000),
    }
}

fn ttl(connection: &Connection, marks: &HashMap<FrameNo, usize>, width: f64) -> Option<String> {
    const HEIGHT: f64 = 210.0;
    let points = &connection.series;
    let axis = Axis::new(points, width)?;
    let low = f64::from(points.iter().map(|point| point.ttl).min()?);
    let high = f64::from(points.iter().map(|point| point.ttl).max()?);
    let (low, high) = ((low - 8.0).max(0.0), (high + 8.0).min(255.0));
    let bottom = HEIGHT - EDGE.1;
    let y = |ttl: f64| bottom - (ttl - low) / (high - low).max(1.0) * (bottom - EDGE.0);
    let mut svg = Svg::new(width);
    let step = if high - low > 100.0 {
        50.0
    } else if high - low > 40.0 {
        20.0
    } else {
        5.0
    };
    let mut line = (low / step).ceil() * step;
    while line <= high {
        svg.line("grid", (MARGIN.0, y(line)), (width - MARGIN.1, y(line)));
        svg.text("tick", "end", (MARGIN.0 - 8.0, y(line) + 4.0), &format!("{line}"));
        line += step;
    }
    axis.draw(&mut svg, HEIGHT);
    let (resets, others): (Vec<&Point>, Vec<&Point>) = points.iter().partition(|point| point.flags.has(TcpFlags::RST));
    let place = |point: &Point| (axis.x(point.at), y(f64::from(point.ttl)));
    for point in others {
        let about = format!("frame {}: {} with TTL {}", point.frame, side(point), point.ttl);
        svg.dot(class(point), place(point), 3.2, &about);
    }
    let mut taken: Vec<(f64, f64)> = points.iter().map(place).collect();
    for (number, point) in resets.into_iter().enumerate() {
        let (x, y) = place(point);
        svg.path("reset", (x, y - 7.0), RESET);
        if number < 4 || marks.contains_key(&point.frame) {
            let label = format!("RST #{}, TTL {}", point.frame, point.ttl);
            let wide = label.len() as f64 * 7.4;
            let left = x > width / 2.0;
            let (anchor, x, from) = if left {
                ("end", x - 10.0, x - 10.0 - wide)
            } else {
                ("start", x + 10.0, x + 10.0)
            };
            // The first place above the reset, or else below it, where no packet and no other label is.
            let free = |line: &f64| {
                let hit = |(px, py): &(f64, f64)| *px > from - 5.0 && *px < from + wide + 5.0 && (py - line + 4.0).abs() < 11.0;
                *line > 11.0 && *line < bottom - 2.0 && !taken.iter().any(hit)
            };
            let above = (0..12).map(|step| y - 3.0 - 7.0 * f64::from(step));
            let below = (2..12).map(|step| y + 7.0 * f64::from(step));
            let line = above.chain(below).find(free).unwrap_or(y - 3.0);
            svg.text("label", anchor, (x, line), &label);
            let beads = (0..=label.len()).map(|bead| (from + 7.4 * bead as f64, line - 4.0));
            taken.extend(beads);
        }
    }
    Some(svg.finish(HEIGHT, "TTL of the packets of each side over time"))
}

fn sequence(connection: &Connection, _: &HashMap<FrameNo, usize>, width: f64) -> Option<String> {
    const HEIGHT: f64 = 250.0;
    /// A forged reset may carry any number; it must not squeeze the plot.
    const BELIEVED: u32 = 1 << 30;
    let points: Vec<&Point> = connection
        .series
        .iter()
        .filter(|point| point.len > 0 && point.seq < BELIEVED)
        .collect();
    if points.len() < 3 {
        return None;
    }
    let axis = Axis::new(&connection.series, width)?;
    let high = points.iter().map(|point| point.seq.saturating_add(point.len)).max()?.max(1);
    let step = step(high);
    let bottom = HEIGHT - EDGE.1;
    let y = |seq: u32| bottom - f64::from(seq) / f64::from(high) * (bottom - EDGE.0);
    let mut svg = Svg::new(width);
    for at in (0..=high).step_by(step as usize) {
        svg.line("grid", (MARGIN.0, y(at)), (width - MARGIN.1, y(at)));
        svg.text("tick", "end", (MARGIN.0 - 8.0, y(at) + 4.0), &bytes(at));
    }
    axis.draw(&mut svg, HEIGHT);
    for point in &points {
        let x = axis.x(point.at);
        let (top, low) = (y(point.seq.saturating_add(point.len)), y(point.seq));
        svg.line(
            if point.from_client { "stroke-client" } else { "stroke-server" },
            (x, low),
            (x, top.min(low - 2.0)),
        );
        if point.again {
            let about = format!("frame {}: {} bytes of the {} again", point.frame, point.len, side(point));
            svg.dot("again", (x, (top + low) / 2.0), 6.0, &about);
        }
    }
    for point in connection
        .series
        .iter()
        .filter(|point| point.flags.has(TcpFlags::RST) && point.seq <= high)
    {
        svg.path("reset", (axis.x(point.at), y(point.seq) - 7.0), RESET);
    }
    Some(svg.finish(HEIGHT, "The segments or datagrams of each side over time"))
}

/// A round number of bytes that goes three to seven times into `high`.
fn step(high: u32) -> u32 {
    let rough = (high / 7).max(1);
    let power = 10u32.pow(rough.ilog10());
    [1, 2, 5, 10]
        .iter()
        .map(|n| power.saturating_mul(*n))
        .find(|step| *step >= rough)
        .unwrap_or(rough)
}

fn bytes(n: u32) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{} kB", f64::from(n) / 1e3),
        _ => format!("{} MB", f64::from(n) / 1e6),
    }
}
