//! Verdicts in, bytes out: the report as data and one renderer per format.

use std::io::{self, Write};

use jiff::tz::TimeZone;

pub mod clock;
pub mod community_id;
pub mod ecs;
pub mod json;
pub mod markdown;
pub mod model;
pub mod ndjson;
pub mod page;
pub mod plain;
pub mod text;
pub mod timeline;
pub mod udp_timeline;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod samples;

pub use model::Report;

/// The name of the JSON schema that the JSON formats follow.
pub const SCHEMA: &str = "rdpwhy.report/1";

/// The JSON Schema of [`SCHEMA`], as `rdpwhy schema` prints it.
pub const SCHEMA_TEXT: &str = include_str!("rdpwhy.report.1.schema.json");

/// How much a report for people says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The verdict alone.
    Quiet,
    /// What one pastes into a ticket.
    #[default]
    Normal,
    /// Every step, every connection and every figure.
    Verbose,
}

/// How a report for people is to be shown. The formats for machines do not depend on it.
#[derive(Clone, Debug)]
pub struct View {
    /// Whether healthy attempts and repeated failures are shown in full too.
    pub all: bool,
    /// How much is said.
    pub detail: Detail,
    /// Whether to colour with ANSI escape sequences.
    pub color: bool,
    /// The zone for times.
    pub zone: TimeZone,
}

impl Default for View {
    fn default() -> View {
        View {
            all: false,
            detail: Detail::Normal,
            color: false,
            zone: TimeZone::UTC,
        }
    }
}

/// One way to write a report.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The name on the command line.
    pub name: &'static str,
    /// What it is for, in a few words.
    pub description: &'static str,
    /// Writes the report.
    pub render: fn(&Report, &View, &mut dyn Write) -> io::Result<()>,
}

/// Every format, the default first. A new one is one file and one line here.
pub const FORMATS: &[Format] = &[
    Format {
        name: "text",
        description: "for people, 80 columns",
        render: text::render,
    },
    Format {
        name: "json",
        description: "one document of schema rdpwhy.report/1",
        render: json::render,
    },
    Format {
        name: "ndjson",
        description: "one line per connection, per attempt, and a summary",
        render: ndjson::render,
    },
    Format {
        name: "ecs",
        description: "the same lines in Elastic Common Schema, for a SIEM",
        render: ecs::render,
    },
    Format {
        name: "markdown",
        description: "for a ticket, the main part under 4,000 characters",
        render: markdown::render,
    },
];
