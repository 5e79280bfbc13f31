//! The command line: every argument, its help and its check, in one place.

use std::ffi::OsString;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Says why a Remote Desktop connection failed: reads packet captures, names the cause, who ended the connection, the frames
/// that prove it, and what to do.
#[derive(Debug, Parser)]
#[command(
    name = "rdpwhy",
    version,
    about,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 80
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Explain codes: of mstsc's window, X.224, TLS, NTSTATUS, licensing, gateway, Kerberos, DNS
    Explain(ExplainArgs),
    /// List every cause that a verdict can name
    Causes(LookArgs),
    /// Print the JSON Schema of --format json and ndjson
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page in roff; for example: rdpwhy man | man -l -
    Man,
}

/// What to explain.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Numbers (0x904, 2308, -1073741715), names, words, or a space before a number (kerberos 7); two numbers are read as
    /// mstsc's error code and extended error code
    #[arg(value_name = "CODE", required_unless_present = "list", allow_hyphen_values = true)]
    pub codes: Vec<String>,

    /// List every code, or those of the spaces that are named
    #[arg(long)]
    pub list: bool,

    #[command(flatten)]
    pub look: LookArgs,
}

/// How output for people looks.
#[derive(Args, Clone, Copy, Debug)]
pub struct LookArgs {
    /// When to colour; auto heeds NO_COLOR, CLICOLOR_FORCE and TERM=dumb
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Color::Auto, action = ArgAction::Set)]
    pub color: Color,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that can.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Cli {
    /// Reads `arguments`, the program's name first.
    ///
    /// # Errors
    /// Help, version and mistakes, as clap prints them.
    pub fn read<I: IntoIterator<Item = OsString>>(arguments: I) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(arguments)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn subcommands_do_not_want_paths() {
        let Command::Explain(explain) = read("rdpwhy explain -1073741715 0x7").unwrap().command else {
            panic!()
        };
        assert_eq!(explain.codes, ["-1073741715", "0x7"]);
        assert!(matches!(
            read("rdpwhy causes --color never").unwrap().command,
            Command::Causes(_)
        ));
        assert!(read("rdpwhy explain").is_err());
        assert!(matches!(read("rdpwhy explain --list").unwrap().command, Command::Explain(_)));
    }
}
