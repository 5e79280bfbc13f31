//! The sequence diagram of an attempt: client, middlebox where one spoke, server; arrows with what was said.

use std::collections::HashMap;

use textwrap::wrap;
use unicode_width::UnicodeWidthStr;

use super::svg::Svg;
use crate::capture::{FrameNo, Span, Timestamp};
use crate::diagnosis::{EndedBy, Leans};
use crate::evidence::select::shown;
use crate::packet::TcpFlags;
use crate::report::clock::duration;
use crate::report::model::{Attempt, Connection, Point, Report, Speaker, Step};
use crate::report::plain::printable;
use crate::report::words;
use crate::transcript::{Phase, Role};

/// More rows than this are not read any more; then the connection that decides is drawn alone.
const ROWS: usize = 90;
/// Nothing for so long is folded.
const FOLD: Span = Span::secs(2);
/// So many rows of a phase stay on one page.
const TOGETHER: usize = 8;
/// How far a band that goes on in the next part reaches into it; what is beyond the edge is not seen.
const BEYOND: f64 = 8.0;
/// By so much parts overlap; where they only touch, a line shows between them at some sizes.
const SEAM: f64 = 1.0;
/// The width of a character of the labels, on average: in plain and in bold type.
const CHARACTER: f64 = 6.9;
const BOLD: f64 = 7.6;
/// The height of a line of text.
const LINE: f64 = 16.0;

/// One arrow or remark.
struct Row {
    at: Timestamp,
    frame: Option<FrameNo>,
    phase: Phase,
    text: String,
    from: Place,
    to: Place,
    lost: bool,
    inferred: bool,
    mark: Option<usize>,
    connection: u32,
    /// Whether it stands in an even band.
    even: bool,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Client,
    Middle,
    Server,
    Nowhere,
}

/// Where things stand for one width.
struct Layout {
    width: f64,
    client: f64,
    server: f64,
    narrow: bool,
}

impl Layout {
    fn x(&self, place: Place) -> f64 {
        match place {
            Place::Client => self.client,
            Place::Middle | Place::Nowhere => (self.client + self.server) / 2.0,
            Place::Server => self.server,
        }
    }
}

/// Draws the attempt for a page so wide; `marks` are the numbers of the evidence by frame.
pub fn draw(report: &Report, attempt: &Attempt, marks: &HashMap<FrameNo, usize>, width: f64) -> String {
    let mut rows = rows(report, attempt, marks);
    let narrow = width < 600.0;
    let layout = Layout {
        width,
        client: if narrow { 10.0 } else { 200.0 },
        server: if narrow { width - 10.0 } else { width - 110.0 },
        narrow,
    };
    let middle = rows.iter().any(|row| row.from == Place::Middle || row.to == Place::Middle);
    let mut drawing = Drawing {
        parts: Vec::new(),
        front: Svg::new(width),
        back: Svg::new(width),
        top: 0.0,
        rows: 0,
        lives: 0.0,
        middle,
        layout: &layout,
    };
    let top = heads(&mut drawing.front, &layout, report, attempt, middle);
    drawing.lives = top;
    let mut y = top + 10.0;
    let mut band: Option<(Phase, f64)> = None;
    let mut even = false;
    let mut before: Option<(Timestamp, u32)> = None;
    let started = rows.first().map_or(attempt.started, |row| row.at);
    for row in &mut rows {
        let gap = before.map_or(Span(0), |(at, _)| row.at.since(at));
        let fold = gap >= FOLD;
        let other_connection = before.is_some_and(|(_, connection)| connection != row.connection);
        let new_phase = band.is_none_or(|(phase, _)| phase != row.phase);
        if new_phase {
            close(&mut drawing.back, &layout, band.take(), y, even);
            even = !even;
            y += 8.0;
        }
        if before.is_some() && (new_phase || drawing.rows >= TOGETHER) {
            // A band that goes on begins anew above the edge.
            if let Some((phase, from)) = band {
                close(&mut drawing.back, &layout, Some((phase, from)), y + BEYOND, even);
                band = Some((phase, y - BEYOND));
            }
            drawing.split(y);
        }
        drawing.rows += 1;
        let svg = &mut drawing.front;
        if fold {
            y = folded(svg, &layout, y, gap, even);
        }
        if other_connection {
            svg.text(
                "other",
                "middle",
                (layout.x(Place::Nowhere), y + 14.0),
                &other(report, row.connection),
            );
            y += 22.0;
        }
        if new_phase {
            band = Some((row.phase, y));
            svg.text(
                "phase",
                "start",
                if narrow { (18.0, y + 14.0) } else { (12.0, y + 16.0) },
                words::phase(row.phase),
            );
            y += if narrow { 18.0 } else { 6.0 };
        }
        row.even = even;
        y = arrow(svg, &layout, row, y, row.at.since(started));
        before = Some((row.at, row.connection));
    }
    close(&mut drawing.back, &layout, band, y + 6.0, even);
    drawing.split(y + 14.0);
    drawing.parts.concat()
}

/// The diagram in parts, one below the other, between which a page may end.
struct Drawing<'a> {
    parts: Vec<String>,
    front: Svg,
    back: Svg,
    /// Where the part begins.
    top: f64,
    /// Rows of the part.
    rows: usize,
    /// Where the lines of life begin.
    lives: f64,
    middle: bool,
    layout: &'a Layout,
}

impl Drawing<'_> {
    /// Ends a part.
    fn split(&mut self, y: f64) {
        // Whole numbers leave no seams.
        let y = y.round();
        let width = self.layout.width;
        for place in [Place::Client, Place::Middle, Place::Server] {
            if place != Place::Middle || self.middle {
                let class = if place == Place::Middle { "life middle" } else { "life" };
                let x = self.layout.x(place);
                self.back.line(class, (x, self.top.max(self.lives)), (x, y + SEAM));
            }
        }
        let mut part = std::mem::replace(&mut self.back, Svg::from(width, y));
        part.take(std::mem::replace(&mut self.front, Svg::from(width, y)));
        let title = match self.parts.len() {
            0 => "Sequence diagram of the attempt".to_owned(),
            n => format!("Sequence diagram of the attempt, part {}", n + 1),
        };
        self.parts.push(part.finish(y + SEAM, &title));
        self.top = y;
        self.rows = 0;
    }
}

/// Who stands at the top of the columns.
fn heads(svg: &mut Svg, layout: &Layout, report: &Report, attempt: &Attempt, middle: bool) -> f64 {
    let connection = report.connection(attempt.decisive);
    let server = match connection {
        Some(one) => match (one.server, &one.server_name) {
            (Some(server), _) => server.ip().to_string(),
            (None, Some(name)) => format!("asked for {name}"),
            (None, None) => attempt.server.clone(),
        },
        None => attempt.server.clone(),
    };
    let columns = (layout.width / if layout.narrow { 2.2 } else { 4.0 } / CHARACTER) as usize;
    let mut tallest = 1;
    let mut head = |place: Place, name: &str, address: &str| {
        let (anchor, x) = match (place, layout.narrow) {
            (Place::Client, true) => ("start", 6.0),
            (Place::Server, true) => ("end", layout.width - 6.0),
            _ => ("middle", layout.x(place)),
        };
        svg.text("who", anchor, (x, 18.0), name);
        let address = printable(address);
        let lines = wrap(&address, columns);
        tallest = tallest.max(lines.len());
        for (number, line) in lines.iter().enumerate() {
            svg.text("address", anchor, (x, 35.0 + LINE * number as f64), line);
        }
    };
    head(Place::Client, "Client", &attempt.client.to_string());
    if middle {
        head(Place::Middle, if layout.narrow { "Device" } else { "Device on the path" }, "");
    }
    let name = match connection {
        Some(one) if one.server.is_none() => "Resolver",
        Some(one) if one.role == Role::Gateway => "RD Gateway",
        _ => "Server",
    };
    head(Place::Server, name, &server);
    46.0 + LINE * (tallest - 1) as f64
}

fn other(report: &Report, id: u32) -> String {
    report.connection(id).map_or_else(String::new, |one| {
        format!("connection {id}: {} from port {}", words::role(one), one.client.port())
    })
}

/// Ends the band of a phase.
fn close(back: &mut Svg, layout: &Layout, band: Option<(Phase, f64)>, y: f64, even: bool) {
    if let Some((_, from)) = band {
        let class = if even { "band" } else { "band odd" };
        back.rect(class, (4.0, from - 2.0), (layout.width - 8.0, y - from), 6.0);
    }
}

/// A stretch in which nothing happens.
fn folded(svg: &mut Svg, layout: &Layout, y: f64, gap: Span, even: bool) -> f64 {
    for place in [Place::Client, Place::Server] {
        svg.path("fold", (layout.x(place) - 6.0, y + 14.0), "l12 -5m-12 11l12 -5");
    }
    let text = format!("{} of silence", duration(gap));
    let center = layout.x(Place::Nowhere);
    let half = text.width() as f64 * CHARACTER / 2.0 + 4.0;
    svg.rect(
        if even { "halo" } else { "halo odd" },
        (center - half, y + 7.0),
        (half * 2.0, LINE),
        3.0,
    );
    svg.text("quiet", "middle", (center, y + 19.0), &text);
    y + 32.0
}

/// One arrow with its words above it.
fn arrow(svg: &mut Svg, layout: &Layout, row: &Row, y: f64, after: Span) -> f64 {
    let (x1, x2) = (layout.x(row.from), layout.x(row.to));
    let room = match row.from {
        Place::Nowhere => layout.server - layout.client,
        _ if layout.narrow => layout.server - layout.client,
        _ => (x2 - x1).abs().max(250.0),
    };
    let text = if row.inferred {
        format!("{} (inferred)", row.text)
    } else {
        row.text.clone()
    };
    let text = printable(&text).into_owned();
    let character = if row.mark.is_some() { BOLD } else { CHARACTER };
    let columns = ((room - 16.0) / character).max(12.0) as usize;
    let lines = wrap(&text, columns);
    // Over the arrow, or over the middle where a short arrow's words are wider than it is.
    let center = if layout.narrow || row.from == Place::Nowhere {
        layout.x(Place::Nowhere)
    } else {
        (x1 + x2) / 2.0
    };
    let mut line = y + 4.0;
    for one in &lines {
        line += LINE;
        let half = one.width() as f64 * character / 2.0 + 4.0;
        svg.rect(
            if row.even { "halo" } else { "halo odd" },
            (center - half, line - 12.0),
            (half * 2.0, LINE),
            3.0,
        );
        let class = if row.mark.is_some() { "said strong" } else { "said" };
        svg.text(class, "middle", (center, line), one);
    }
    let base = line + 9.0;
    if row.from != Place::Nowhere {
        let class = match (row.mark.is_some(), row.from) {
            (true, _) => "arrow evidence",
            (_, Place::Client) => "arrow from-client",
            (_, Place::Server) => "arrow from-server",
            _ => "arrow",
        };
        svg.arrow(class, base, x1, x2, row.lost);
    }
    let time = if after.0 == 0 {
        "0".to_owned()
    } else {
        format!("+{}", duration(after))
    };
    let frame = row.frame.map_or_else(String::new, |frame| format!("#{frame}"));
    if layout.narrow {
        svg.text("time", "start", (18.0, base + 15.0), &time);
        svg.text("frame", "end", (layout.width - 18.0, base + 15.0), &frame);
        if let Some(mark) = row.mark {
            svg.mark((layout.x(Place::Nowhere), base + 13.0), mark);
            return base + 30.0;
        }
        return base + 20.0;
    }
    svg.text("time", "end", (layout.client - 16.0, base + 4.0), &time);
    svg.text("frame", "start", (layout.server + 16.0, base + 4.0), &frame);
    if let Some(mark) = row.mark {
        svg.mark((layout.width - 24.0, base), mark);
    }
    base + 8.0
}

/// The rows of the attempt, by time.
fn rows(report: &Report, attempt: &Attempt, marks: &HashMap<FrameNo, usize>) -> Vec<Row> {
    let all = shown(report, attempt);
    let mut rows: Vec<Row> = all.iter().flat_map(|one| of_connection(one, marks)).collect();
    if rows.len() > ROWS {
        rows = report
            .connection(attempt.decisive)
            .map_or_else(Vec::new, |one| of_connection(one, marks));
    }
    rows.sort_by_key(|row| (row.at, row.frame));
    rows
}

fn of_connection(connection: &Connection, marks: &HashMap<FrameNo, usize>) -> Vec<Row> {
    let mut rows: Vec<Row> = connection
        .timeline
        .iter()
        .map(|step| of_step(connection, step, marks))
        .collect();
    let shown: Vec<FrameNo> = rows.iter().filter_map(|row| row.frame).collect();
    // Evidence that the timeline does not tell is drawn from the packet itself.
    for point in connection.series.iter().filter(|point| !shown.contains(&point.frame)) {
        if let Some(mark) = marks.get(&point.frame) {
            let (from, to) = ends(connection, point.from_client, point.flags.has(TcpFlags::RST), true);
            let phase = rows
                .iter()
                .rev()
                .find(|row| row.at <= point.at)
                .map_or(connection.phase, |row| row.phase);
            rows.push(Row {
                at: point.at,
                frame: Some(point.frame),
                phase,
                text: packet(point.flags, point.len, point.again),
                from,
                to,
                lost: false,
                inferred: false,
                mark: Some(*mark),
                connection: connection.id,
                even: false,
            });
        }
    }
    rows
}

/// A packet in words, by its control bits.
fn packet(flags: TcpFlags, len: u32, again: bool) -> String {
    let names = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::ACK, "ACK"),
    ];
    let set: Vec<&str> = names
        .iter()
        .filter(|(bit, _)| flags.has(*bit))
        .map(|(_, name)| *name)
        .collect();
    let data = if len > 0 { format!("{len} bytes") } else { set.join(", ") };
    if again { format!("{data} again") } else { data }
}

/// Whether nothing came back any more after this packet, on a connection whose packets vanish.
fn unanswered(connection: &Connection, step: &Step) -> bool {
    let from_client = match step.speaker {
        Speaker::Client => true,
        Speaker::Server => false,
        _ => return false,
    };
    let answer = connection.series.iter().rev().find(|point| point.from_client != from_client);
    connection.ended_by == EndedBy::Path && answer.is_none_or(|answer| answer.at < step.at)
}

fn point(connection: &Connection, frame: FrameNo) -> Option<&Point> {
    connection.series.iter().find(|point| point.frame == frame)
}

fn of_step(connection: &Connection, step: &Step, marks: &HashMap<FrameNo, usize>) -> Row {
    let mark = step.frame.and_then(|frame| marks.get(&frame)).copied();
    let (from, to) = match step.speaker {
        Speaker::Nobody => (Place::Nowhere, Place::Nowhere),
        // A reset in a side's name goes to the other one.
        Speaker::Middlebox(_)
            if step
                .frame
                .and_then(|frame| point(connection, frame))
                .is_some_and(|point| point.from_client) =>
        {
            (Place::Middle, Place::Server)
        }
        Speaker::Middlebox(_) if step.text.contains("of the server") => (Place::Middle, Place::Server),
        Speaker::Middlebox(_) => (Place::Middle, Place::Client),
        side => ends(
            connection,
            side == Speaker::Client,
            step.text.starts_with("RST"),
            mark.is_some(),
        ),
    };
    Row {
        at: step.at,
        frame: step.frame,
        phase: step.phase,
        text: step.text.clone(),
        from,
        to,
        lost: step.lost || unanswered(connection, step),
        inferred: step.inferred,
        mark,
        connection: connection.id,
        even: false,
    }
}

/// From where to where a packet went. A reset that is evidence of a device on the path begins there, whoever's address it carries.
fn ends(connection: &Connection, from_client: bool, reset: bool, cited: bool) -> (Place, Place) {
    let cited_for = cited && connection.verdict.evidence.iter().any(|one| one.leans == Leans::For);
    let forged = reset && cited_for && connection.ended_by == EndedBy::Middlebox;
    match (from_client, forged) {
        (true, false) => (Place::Client, Place::Server),
        (false, false) => (Place::Server, Place::Client),
        (true, true) => (Place::Middle, Place::Server),
        (false, true) => (Place::Middle, Place::Client),
    }
}
