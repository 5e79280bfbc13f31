//! Words and styles in, lines of at most 79 columns out; the one place where a string from the wire is made safe and coloured.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use textwrap::{Options, WordSeparator, WordSplitter};
use unicode_width::UnicodeWidthStr;

use crate::report::plain::printable;

/// One column less than 80: some consoles break the line after the eightieth character.
pub const WIDTH: usize = 79;

/// Plain text.
pub const PLAIN: Style = Style::new();
/// Titles, and what must be seen first.
pub const BOLD: Style = Style::new().bold();
/// What only orders the page: labels, times, numbers of frames.
pub const DIM: Style = Style::new().dimmed();
/// A failure.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Nothing wrong.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Not decided, or to be read with care.
pub const CARE: Style = AnsiColor::Yellow.on_default();

/// A piece of a line with its style.
pub type Piece<'a> = (&'a str, Style);

/// The page that is being written. Its methods fail only where the output does.
pub struct Page<'a> {
    out: &'a mut dyn Write,
    color: bool,
}

impl<'a> Page<'a> {
    /// A page that is written to `out`.
    pub fn new(out: &'a mut dyn Write, color: bool) -> Page<'a> {
        Page { out, color }
    }

    /// An empty line.
    pub fn gap(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }

    /// A title over a section, after an empty line.
    pub fn title(&mut self, title: &str) -> io::Result<()> {
        self.gap()?;
        self.row(&[], (title, BOLD))
    }

    /// `lead` once, then `text` wrapped in the columns that are left; its further lines begin under its first.
    pub fn row(&mut self, lead: &[Piece<'_>], text: Piece<'_>) -> io::Result<()> {
        let mut lead: Vec<(String, Style)> = lead
            .iter()
            .map(|&(text, style)| (printable(text).into_owned(), style))
            .collect();
        let indent: usize = lead.iter().map(|(text, _)| text.width()).sum();
        if let (true, Some((last, _))) = (text.0.is_empty(), lead.last_mut()) {
            last.truncate(last.trim_end().len());
        }
        let pad = " ".repeat(indent);
        for (text, style) in &lead {
            self.piece(text, *style)?;
        }
        let safe = printable(text.0);
        for (number, line) in wrap(&safe, WIDTH.saturating_sub(indent).max(20)).iter().enumerate() {
            if number > 0 {
                self.out.write_all(pad.as_bytes())?;
            }
            self.piece(line, text.1)?;
            self.gap()?;
        }
        Ok(())
    }

    /// A verdict: the slug in `style`, its sentence behind it, further lines indented by two.
    pub fn verdict(&mut self, slug: &str, style: Style, sentence: &str) -> io::Result<()> {
        let whole = format!("{slug}: {sentence}");
        for (number, line) in wrap(&printable(&whole), WIDTH - 2).iter().enumerate() {
            match line.strip_prefix(slug) {
                Some(rest) if number == 0 => {
                    self.piece(slug, style)?;
                    self.piece(rest, BOLD)?;
                }
                _ if number == 0 => self.piece(line, style)?,
                _ => {
                    self.piece("  ", PLAIN)?;
                    self.piece(line, BOLD)?;
                }
            }
            self.gap()?;
        }
        Ok(())
    }

    /// A rule across the page that carries a name, after an empty line.
    pub fn rule(&mut self, name: &str) -> io::Result<()> {
        self.gap()?;
        let dashes = "-".repeat(WIDTH.saturating_sub(name.width() + 4));
        self.row(&[("-- ", DIM), (name, BOLD), (" ", PLAIN), (&dashes, DIM)], ("", PLAIN))
    }

    /// A label in its column and a text beside it.
    pub fn field(&mut self, label: &str, text: &str) -> io::Result<()> {
        self.row(&[("  ", PLAIN), (&format!("{label:<14}"), DIM)], (text, PLAIN))
    }

    fn piece(&mut self, text: &str, style: Style) -> io::Result<()> {
        if self.color && style != PLAIN && !text.trim().is_empty() {
            write!(self.out, "{style}{text}{style:#}")
        } else {
            self.out.write_all(text.as_bytes())
        }
    }
}

/// Lines of at most `width` columns. Words are parted at blanks only, and commands between backticks not even there where they fit
/// a line, so that they can be copied; a word that is too long for a line is broken.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let whole = whole_commands(text, width);
    let options = Options::new(width)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(&whole, options);
    lines.into_iter().map(|line| line.replace(UNPARTED, " ")).collect()
}

/// A blank at which no line is broken.
const UNPARTED: char = '\u{a0}';

/// `text` with the blanks of those commands made unpartable that are not longer than a line.
fn whole_commands(text: &str, width: usize) -> String {
    let mut whole = String::with_capacity(text.len());
    for (number, part) in text.split('`').enumerate() {
        if number > 0 {
            whole.push('`');
        }
        // Every second part stands between backticks. Punctuation may follow, hence the room for it.
        if number % 2 == 1 && part.width() + 4 <= width {
            whole.extend(part.chars().map(|c| if c == ' ' { UNPARTED } else { c }));
        } else {
            whole.push_str(part);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(draw: impl FnOnce(&mut Page<'_>) -> io::Result<()>, color: bool) -> String {
        let mut bytes = Vec::new();
        draw(&mut Page::new(&mut bytes, color)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_is_wrapped_under_its_own_first_column() {
        let text = "word ".repeat(30);
        let drawn = page(|page| page.field("Label", &text), false);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("  Label         word"));
        assert!(lines[1].starts_with("                word"));
        assert!(lines.iter().all(|line| line.width() <= WIDTH), "{drawn}");
    }

    #[test]
    fn wide_characters_count_twice_and_long_words_are_broken() {
        let text = "リモート".repeat(20);
        let drawn = page(|page| page.field("Name", &text), false);
        assert!(drawn.lines().all(|line| line.width() <= WIDTH), "{drawn}");
    }

    #[test]
    fn a_command_is_not_parted_at_its_hyphens() {
        let text = format!("{} Test-NetConnection", "x".repeat(55));
        let drawn = page(|page| page.field("Do", &text), false);
        assert!(drawn.lines().any(|line| line.trim() == "Test-NetConnection"), "{drawn}");
    }

    #[test]
    fn a_command_stays_on_one_line_where_it_fits() {
        let text = format!("{} `nslookup rds02.corp.lab`, then go on", "word ".repeat(10));
        let drawn = page(|page| page.field("Do", &text), false);
        assert!(drawn.contains("`nslookup rds02.corp.lab`,"), "{drawn}");
        let long = format!("`{}`", "word ".repeat(30).trim());
        let drawn = page(|page| page.field("Do", &long), false);
        assert!(drawn.lines().count() == 3 && !drawn.contains(UNPARTED), "{drawn}");
    }

    #[test]
    fn colour_never_comes_from_the_wire() {
        let drawn = page(|page| page.row(&[("\u{1b}[31m ", PLAIN)], ("\u{1b}[0m", PLAIN)), true);
        assert_eq!(drawn, "\\x1b[31m \\x1b[0m\n");
        assert!(page(|page| page.title("Evidence"), true).contains("\u{1b}[1m"));
        assert!(!page(|page| page.title("Evidence"), false).contains('\u{1b}'));
    }
}
