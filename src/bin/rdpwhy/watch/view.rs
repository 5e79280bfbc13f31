//! How the capture stands in, a screen of it out, which leaves the terminal as it was.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, List, ListItem, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};
use rdpwhy::capture::Timestamp;
use rdpwhy::examine::Followed;
use rdpwhy::report::model::Outcome;
use rdpwhy::report::plain::printable;
use rdpwhy::report::{Report, clock};

use crate::watch::lines;
use crate::watch::tally::Status;

/// How many open connections are shown.
pub const OPEN: usize = 12;
/// How many verdicts are remembered for the screen.
const VERDICTS: usize = 100;
/// How many seconds of the packet rate are remembered.
const RATES: usize = 300;
/// The upper ends of the bars of round-trip times, in microseconds.
const BARS: [(u64, &str); 9] = [
    (1_000, "<1"),
    (2_000, "2"),
    (5_000, "5"),
    (10_000, "10"),
    (20_000, "20"),
    (50_000, "50"),
    (100_000, "100"),
    (200_000, "200"),
    (u64::MAX, "+"),
];

/// The screen.
#[derive(Debug)]
pub struct View {
    terminal: DefaultTerminal,
    title: String,
    zone: TimeZone,
    verdicts: VecDeque<(Outcome, String)>,
    rates: VecDeque<u64>,
    packets: u64,
    round_trips: Option<Histogram<u32>>,
}

impl View {
    /// Takes the terminal; it is given back when this is dropped, and by a panic.
    ///
    /// # Errors
    /// Where standard output is no terminal that can be taken.
    pub fn open(title: String, zone: TimeZone) -> io::Result<View> {
        Ok(View {
            terminal: ratatui::try_init()?,
            title,
            zone,
            verdicts: VecDeque::new(),
            rates: VecDeque::new(),
            packets: 0,
            round_trips: Histogram::new_with_bounds(1, 600_000_000, 2).ok(),
        })
    }

    /// Remembers a verdict, and the round-trip times of its connections.
    pub fn verdict(&mut self, report: &Report, outcome: Outcome) {
        let medians = report.connections.iter().filter_map(|connection| {
            let metrics = &connection.metrics;
            let ways = [metrics.rtt_client, metrics.rtt_server];
            ways.into_iter().flatten().map(|times| times.median).max()
        });
        if let Some(round_trips) = &mut self.round_trips {
            for median in medians {
                round_trips.saturating_record(u64::try_from(median.0 / 1_000).unwrap_or(0).max(1));
            }
        }
        let Some(attempt) = report.attempts.first() else { return };
        if self.verdicts.len() >= VERDICTS {
            self.verdicts.pop_back();
        }
        let time = clock::time_of_day(attempt.started, &self.zone);
        let verdict = &attempt.verdict;
        let text = format!(
            "{time}  {} -> {}  {} ({}): {}",
            attempt.client, attempt.server, verdict.cause.slug, verdict.confidence, verdict.summary
        );
        self.verdicts.push_front((outcome, printable(&text).into_owned()));
    }

    /// Remembers something that happened to the capture itself.
    pub fn notice(&mut self, at: Timestamp, text: &str) {
        let time = clock::time_of_day(at, &self.zone);
        self.verdicts
            .push_front((Outcome::NothingToJudge, printable(&format!("{time}  {text}")).into_owned()));
        self.verdicts.truncate(VERDICTS);
    }

    /// Notes the rate; called once a second.
    pub fn second(&mut self, status: &Status) {
        if self.rates.len() >= RATES {
            self.rates.pop_back();
        }
        self.rates.push_front(status.packets.saturating_sub(self.packets));
        self.packets = status.packets;
    }

    /// Whether the user has asked for the end.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn wants_end(&mut self) -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
                    KeyCode::Char('c') if control => return Ok(true),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    /// Draws the screen.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn draw(&mut self, now: Timestamp, status: &Status, open: &[Followed]) -> io::Result<()> {
        let View {
            terminal,
            title,
            zone,
            verdicts,
            rates,
            round_trips,
            ..
        } = self;
        let screen = Screen {
            title,
            zone,
            verdicts,
            rates,
            round_trips: round_trips.as_ref(),
            now,
            status,
            open,
        };
        terminal.draw(|frame| screen.draw(frame)).map(drop)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Everything that one drawing shows.
struct Screen<'a> {
    title: &'a str,
    zone: &'a TimeZone,
    verdicts: &'a VecDeque<(Outcome, String)>,
    rates: &'a VecDeque<u64>,
    round_trips: Option<&'a Histogram<u32>>,
    now: Timestamp,
    status: &'a Status,
    open: &'a [Followed],
}

impl Screen<'_> {
    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, counts, middle, verdicts] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(5),
            Constraint::Length(OPEN as u16 / 2 + 4),
            Constraint::Min(3),
        ])
        .areas(frame.area());
        let [rate, words] = Layout::horizontal([Constraint::Percentage(40), Constraint::Percentage(60)]).areas(counts);
        let [open, trips] =
            Layout::horizontal([Constraint::Min(30), Constraint::Length(BARS.len() as u16 * 3 + 2)]).areas(middle);
        let time = clock::date_time(self.now, self.zone);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let title = Line::from(vec![
            Span::styled(format!("rdpwhy watch {}", self.title), bold),
            Span::raw(format!("   {time}   q ends")),
        ]);
        frame.render_widget(title, head);
        let per_second = self.rates.front().copied().unwrap_or(0);
        let rates: Vec<u64> = self.rates.iter().copied().collect();
        let spark = Sparkline::default()
            .block(Block::bordered().title(format!("{per_second} packets/s")))
            .data(rates);
        frame.render_widget(spark, rate);
        let status = Paragraph::new(lines::in_words(self.status))
            .wrap(ratatui::widgets::Wrap { trim: true })
            .block(Block::bordered().title("since the start"));
        frame.render_widget(status, words);
        frame.render_widget(self.connections(), open);
        frame.render_widget(self.round_trips(), trips);
        let items = self.verdicts.iter().map(|(outcome, text)| {
            let color = match outcome {
                Outcome::Healthy => Color::Green,
                Outcome::Failure => Color::Red,
                Outcome::NothingToJudge => Color::Yellow,
            };
            ListItem::new(Line::styled(text.as_str(), Style::new().fg(color)))
        });
        frame.render_widget(List::new(items).block(Block::bordered().title("verdicts")), verdicts);
    }

    fn connections(&self) -> Table<'_> {
        let rows = self.open.iter().map(|one| {
            Row::new([
                one.client.ip().to_string(),
                one.server.to_string(),
                one.phase.slug().to_owned(),
                clock::duration(self.now.since(one.started)),
            ])
        });
        let widths = [
            Constraint::Fill(4),
            Constraint::Fill(5),
            Constraint::Length(10),
            Constraint::Length(8),
        ];
        let title = format!("{} open", self.status.following);
        Table::new(rows, widths).block(Block::bordered().title(title))
    }

    fn round_trips(&self) -> BarChart<'_> {
        let mut low = 0;
        let bars = BARS.iter().map(|&(high, label)| {
            let count = self
                .round_trips
                .map_or(0, |times| times.count_between(low, high.saturating_sub(1)));
            low = high;
            Bar::default().value(count).label(label)
        });
        BarChart::default()
            .block(Block::bordered().title("round trips, ms"))
            .bar_width(3)
            .bar_gap(0)
            .data(BarGroup::default().bars(&bars.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn a_small_and_a_large_screen_show_what_matters() {
        let verdicts = VecDeque::from([(Outcome::Failure, "10:53:01.204  10.0.0.5 -> 10.0.0.9  port_closed".to_owned())]);
        let status = Status {
            failed: 1,
            dropped_by_kernel: 42,
            ..Status::default()
        };
        let open = [Followed {
            client: "10.0.0.5:50000".parse().unwrap(),
            server: "10.0.0.9:3389".parse().unwrap(),
            started: Timestamp(0),
            phase: rdpwhy::transcript::Phase::Tls,
        }];
        for (width, height) in [(80, 24), (200, 60), (10, 3)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            let screen = Screen {
                title: "eth0",
                zone: &TimeZone::UTC,
                verdicts: &verdicts,
                rates: &VecDeque::from([1, 2, 3]),
                round_trips: None,
                now: Timestamp(1_000_000_000),
                status: &status,
                open: &open,
            };
            terminal.draw(|frame| screen.draw(frame)).unwrap();
            let shown = terminal.backend().to_string();
            if width >= 80 {
                for words in ["eth0", "1 failed", "42", "10.0.0.5", "10.0.0.9:3389", "tls", "port_closed"] {
                    assert!(
                        shown.contains(words),
                        "{words} is not on a screen of {width}x{height}:\n{shown}"
                    );
                }
            }
        }
    }
}
