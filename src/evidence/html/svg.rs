//! Pieces of SVG as text: everything from the wire goes through [`escaped`].

use std::fmt::Write;

use crate::report::plain::printable;

/// A drawing in the making.
#[derive(Debug)]
pub struct Svg {
    body: String,
    /// Width of the canvas.
    pub width: f64,
    /// The height at which it begins, where it is a part of a taller drawing.
    top: f64,
}

impl Svg {
    /// An empty drawing so wide.
    pub fn new(width: f64) -> Svg {
        Svg::from(width, 0.0)
    }

    /// An empty part, so wide, of a taller drawing that has the part's upper edge at `top`. Heights are those of the whole drawing.
    pub fn from(width: f64, top: f64) -> Svg {
        Svg {
            body: String::new(),
            width,
            top,
        }
    }

    /// The drawing, down to the height `bottom`, with a title for those who do not see it.
    pub fn finish(self, bottom: f64, title: &str) -> String {
        let height = bottom - self.top;
        format!(
            "<svg viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>",
            self.width,
            escaped(title),
            self.body
        )
    }

    /// Draws `other` over this.
    pub fn take(&mut self, other: Svg) {
        self.body.push_str(&other.body);
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let (y1, y2) = (y1 - self.top, y2 - self.top);
        let _ = write!(
            self.body,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A path that begins at a place; `d` goes on from there in relative steps.
    pub fn path(&mut self, class: &str, (x, y): (f64, f64), d: &str) {
        let y = y - self.top;
        let _ = write!(self.body, "<path class=\"{class}\" d=\"M{x:.1} {y:.1}{d}\"/>");
    }

    /// A rectangle.
    pub fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), radius: f64) {
        let y = y - self.top;
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\"/>"
        );
    }

    /// A dot; what `about` says appears when it is pointed at.
    pub fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, about: &str) {
        let y = y - self.top;
        let _ = write!(
            self.body,
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            escaped(about)
        );
    }

    /// A line of text; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let y = y - self.top;
        let _ = write!(
            self.body,
            "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        );
    }

    /// An arrow from `x1` to `x2`; its head is at `x2`, or a cross where the packet was lost on the way.
    pub fn arrow(&mut self, class: &str, y: f64, x1: f64, x2: f64, lost: bool) {
        let towards = (x2 - x1).signum();
        let tip = if lost { x1 + (x2 - x1) * 0.62 } else { x2 };
        self.line(class, (x1, y), (tip - if lost { 0.0 } else { towards * 5.0 }, y));
        if lost {
            self.path(&format!("{class} cross"), (tip - 5.0, y - 5.0), "l10 10m0 -10l-10 10");
        } else {
            let d = format!("l{:.1} -4.5v9Z", -towards * 9.0);
            self.path(&format!("{class} head"), (tip, y), &d);
        }
    }

    /// A numbered mark that leads to the explanation of the evidence of this number.
    pub fn mark(&mut self, (x, y): (f64, f64), number: usize) {
        let y = y - self.top;
        let _ = write!(
            self.body,
            "<a href=\"#e{number}\"><circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"10\"/>\
             <text class=\"marked\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{number}</text></a>",
            y + 4.0
        );
    }
}

/// `text` as it may stand between tags and in attributes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
