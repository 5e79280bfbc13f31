//! The command line's definition in, one manual page about all of it out, in roff.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::args::{Cli, EXAMPLES, EXIT_CODES};

const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "SSLKEYLOGFILE",
        "A file in NSS key log format, used like that of --keylog where it can be read.",
    ),
    ("NO_COLOR", "Where it is set and not empty, --color auto does not colour."),
    (
        "CLICOLOR_FORCE",
        "Where it is set and not 0, --color auto colours even where no terminal is.",
    ),
    ("TERM", "On a dumb terminal there is neither colour nor a progress bar."),
    ("TZ", "The zone of --local."),
];

/// Writes the page.
///
/// # Errors
/// Those of `out`.
pub fn page(out: &mut dyn Write) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    for rest in [" [OPTIONS] PATH...", " triage [OPTIONS] PATH...", " COMMAND [OPTIONS] ..."] {
        synopsis.text([bold("rdpwhy"), roman(rest)]).control("br", []);
    }
    synopsis.to_writer(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "triage") {
        subcommand(sub, out)?;
    }
    let mut rest = Roff::new();
    preformatted(&mut rest, "EXIT STATUS", EXIT_CODES);
    rest.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in ENVIRONMENT {
        rest.control("TP", []).text([bold(*name)]).text([roman(*meaning)]);
    }
    preformatted(&mut rest, "EXAMPLES", EXAMPLES);
    rest.control("SH", ["SEE ALSO"]);
    rest.text([
        bold("tshark"),
        roman("(1), "),
        bold("tcpdump"),
        roman("(1), "),
        bold("editcap"),
        roman("(1)"),
    ]);
    rest.to_writer(out)
}

/// A subcommand with its help, as it prints it itself.
fn subcommand(sub: &mut Command, out: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    let title = format!("rdpwhy {}", sub.get_name()).to_uppercase();
    preformatted(&mut roff, &title, &sub.render_help().to_string());
    roff.to_writer(out)
}

fn preformatted(roff: &mut Roff, title: &str, text: &str) {
    roff.control("SH", [title]).control("nf", []);
    let indented = text.lines().all(|line| line.is_empty() || line.starts_with("  "));
    for line in text.trim_end().lines() {
        roff.text([roman(if indented { line.trim_start() } else { line })]);
    }
    roff.control("fi", []);
}
