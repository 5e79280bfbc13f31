//! The command line: every argument, its help and its check, in one place.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use rdpwhy::report::{FORMATS, Format};

use crate::when::Moment;

/// What the exit status says.
pub const EXIT_CODES: &str = "  0  every attempt healthy
  1  at least one failure diagnosed (a failed UDP side channel included)
  2  usage or input error: nothing could be looked at
  3  nothing to judge: no RDP in it, or too little of it
";

/// Ways to use it.
pub const EXAMPLES: &str = "  rdpwhy trace.pcapng
  rdpwhy --host rds01.contoso.com --since 10:50 captures/
  tcpdump -w - port 3389 | rdpwhy -
  rdpwhy explain 0x904 0x7
";

fn after_help() -> String {
    format!("Exit status:\n{EXIT_CODES}\nExamples:\n{EXAMPLES}")
}

/// Says why a Remote Desktop connection failed: reads packet captures, names the cause, who ended the connection, the frames
/// that prove it, and what to do.
#[derive(Debug, Parser)]
#[command(
    name = "rdpwhy",
    version,
    about,
    after_help = after_help(),
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    max_term_width = 80
)]
pub struct Cli {
    /// Without a subcommand the arguments are those of `triage`.
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub triage: TriageArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read captures and say why connections failed (the default)
    Triage(Box<TriageArgs>),
    /// Watch live interfaces and give verdicts as they fall
    #[cfg(feature = "live")]
    Watch(Box<crate::watch::args::WatchArgs>),
    /// List the interfaces that watch can capture on
    #[cfg(feature = "live")]
    Interfaces(LookArgs),
    /// Write the packets of one attempt into a pcapng of its own, with remarks on those that are evidence
    Slice(Box<SliceArgs>),
    /// Replace names and addresses in a capture by pseudonyms of the same length
    Redact(RedactArgs),
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

/// How to look at captures and what to print.
#[derive(Args, Debug)]
#[command(
    after_help = after_help(),
    group = ArgGroup::new("writes").multiple(true),
    mut_arg("attempt", of_a_bundle),
    mut_arg("context", of_a_bundle),
    mut_arg("with_secrets", of_a_bundle),
    mut_arg("redact", of_a_bundle),
    mut_arg("map", of_a_bundle)
)]
pub struct TriageArgs {
    /// Captures, directories of captures, or - for standard input
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// How to write the report
    #[arg(long, value_name = "FORMAT", default_value = FORMATS[0].name, value_parser = format_parser())]
    pub format: &'static Format,

    /// Write the report to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "writes")]
    pub output: Option<PathBuf>,

    /// Overwrite the files of --output, --evidence and --map
    #[arg(long, requires = "writes")]
    pub force: bool,

    /// Only attempts with this host
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Selection")]
    pub host: Vec<String>,

    /// Only attempts of this user
    #[arg(long, value_name = "USER", help_heading = "Selection")]
    pub user: Vec<String>,

    /// Take this name or address for an RD Gateway
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Selection")]
    pub gateway: Vec<String>,

    /// Take this TCP and UDP port for RDP, besides 3389
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Selection")]
    pub port: Vec<u16>,

    /// Only attempts under way at this time or later (RFC 3339, "2026-03-04 10:53", 10:53 on the first packet's day,
    /// +30s after the first packet, -5m before the last)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub since: Option<Moment>,

    /// Only attempts that begin at this time or earlier
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub until: Option<Moment>,

    /// The attempt nearest to this time is the one for the ticket
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = "Selection")]
    pub at: Option<Moment>,

    /// NSS key log for decrypting TLS [default: the file that SSLKEYLOGFILE names]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keylog: Option<PathBuf>,

    /// Add the SHA-256 of every source to the report
    #[arg(long)]
    pub hash: bool,

    /// Show healthy attempts and repeated failures in full too
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    pub evidence: EvidenceArgs,

    #[command(flatten)]
    pub look: LookArgs,

    /// Print the verdict alone
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print every step, every connection and every figure
    #[arg(short, long)]
    pub verbose: bool,

    /// Show times in UTC (the default)
    #[arg(long, conflicts_with = "local")]
    pub utc: bool,

    /// Show times in the local zone
    #[arg(long)]
    pub local: bool,
}

/// Without `--evidence` nothing is cut out, and a report in clear would be printed to whoever asked for pseudonyms.
fn of_a_bundle(arg: Arg) -> Arg {
    arg.requires("evidence")
}

/// Evidence for a ticket.
#[derive(Args, Clone, Debug, Default)]
pub struct EvidenceArgs {
    /// Write a bundle for a ticket: reports, the packets that matter, checksums; a zip archive where PATH ends in .zip,
    /// else a folder
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath, help_heading = "Evidence", group = "writes")]
    pub evidence: Option<PathBuf>,

    #[command(flatten)]
    pub cut: CutArgs,
}

/// How an attempt is cut out of a capture.
#[derive(Args, Clone, Debug, Default)]
pub struct CutArgs {
    /// The attempt of this number in the report [default: the one of the verdict]
    #[arg(long, value_name = "N", help_heading = "Evidence")]
    pub attempt: Option<u32>,

    /// Keep N frames before and after each frame of the attempt
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = context, help_heading = "Evidence")]
    pub context: usize,

    /// Keep the TLS secrets of the sessions in the slice: whoever has it can read them
    #[arg(long, conflicts_with = "redact", help_heading = "Evidence")]
    pub with_secrets: bool,

    /// Replace names and addresses by pseudonyms, in the slice and in every report, the one that is printed included
    #[arg(long, help_heading = "Evidence")]
    pub redact: bool,

    /// Write what each pseudonym stands for to FILE
    #[arg(long, value_name = "FILE", requires = "redact", value_hint = ValueHint::FilePath, help_heading = "Evidence")]
    pub map: Option<PathBuf>,
}

fn context(typed: &str) -> Result<usize, String> {
    const MOST: usize = 10_000;
    match typed.parse() {
        Ok(n) if n <= MOST => Ok(n),
        _ => Err(format!("a number from 0 to {MOST} is wanted")),
    }
}

/// What to cut out, and where to.
#[derive(Args, Debug)]
pub struct SliceArgs {
    /// The capture
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,

    /// The slice
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Overwrite the files of --output and --map
    #[arg(long)]
    pub force: bool,

    /// Only attempts with this host
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub host: Vec<String>,

    /// Only attempts of this user
    #[arg(long, value_name = "USER")]
    pub user: Vec<String>,

    /// Take this name or address for an RD Gateway
    #[arg(long, value_name = "NAME|ADDRESS")]
    pub gateway: Vec<String>,

    /// Take this TCP and UDP port for RDP, besides 3389
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Vec<u16>,

    /// The attempt nearest to this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub at: Option<Moment>,

    /// NSS key log for decrypting TLS [default: the file that SSLKEYLOGFILE names]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keylog: Option<PathBuf>,

    #[command(flatten)]
    pub cut: CutArgs,
}

impl SliceArgs {
    /// The triage by which the attempt is found.
    pub fn as_triage(&self) -> TriageArgs {
        TriageArgs {
            paths: vec![self.path.clone()],
            format: &FORMATS[0],
            output: None,
            force: self.force,
            host: self.host.clone(),
            user: self.user.clone(),
            gateway: self.gateway.clone(),
            port: self.port.clone(),
            since: None,
            until: None,
            at: self.at,
            keylog: self.keylog.clone(),
            hash: false,
            all: false,
            evidence: EvidenceArgs::default(),
            look: LookArgs { color: Color::Never },
            quiet: false,
            verbose: false,
            utc: true,
            local: false,
        }
    }
}

/// What to redact, and where to.
#[derive(Args, Debug)]
pub struct RedactArgs {
    /// The capture
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub path: PathBuf,

    /// The redacted capture, a pcapng
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Overwrite the files of --output and --map
    #[arg(long)]
    pub force: bool,

    /// Write what each pseudonym stands for to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub map: Option<PathBuf>,
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

fn format_parser() -> impl TypedValueParser<Value = &'static Format> {
    let names = FORMATS
        .iter()
        .map(|format| PossibleValue::new(format.name).help(format.description));
    PossibleValuesParser::new(names).map(|name| FORMATS.iter().find(|format| format.name == name).unwrap_or(&FORMATS[0]))
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
    fn a_bare_path_is_triage() {
        let bare = read("rdpwhy --all a.pcap b.pcapng --port 3390 --port 3391").unwrap();
        assert!(bare.command.is_none());
        assert_eq!(bare.triage.paths, ["a.pcap", "b.pcapng"].map(PathBuf::from));
        assert_eq!((bare.triage.port, bare.triage.all), (vec![3390, 3391], true));
        let Some(Command::Triage(named)) = read("rdpwhy triage - --format json").unwrap().command else {
            panic!()
        };
        assert_eq!((named.paths, named.format.name), (vec![PathBuf::from("-")], "json"));
    }

    #[test]
    fn subcommands_do_not_want_paths() {
        let Some(Command::Explain(explain)) = read("rdpwhy explain -1073741715 0x7").unwrap().command else {
            panic!()
        };
        assert_eq!(explain.codes, ["-1073741715", "0x7"]);
        assert!(matches!(
            read("rdpwhy causes --color never").unwrap().command,
            Some(Command::Causes(_))
        ));
        assert!(read("rdpwhy explain").is_err());
        assert!(matches!(
            read("rdpwhy explain --list").unwrap().command,
            Some(Command::Explain(_))
        ));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "rdpwhy",
            "rdpwhy triage",
            "rdpwhy --format xml a.pcap",
            "rdpwhy --port 0 a.pcap",
            "rdpwhy --port 65536 a.pcap",
            "rdpwhy -q -v a.pcap",
            "rdpwhy --utc --local a.pcap",
            "rdpwhy --force a.pcap",
            "rdpwhy --since soon a.pcap",
            "rdpwhy --redact a.pcap",
            "rdpwhy triage a.pcap --redact --map b",
            "rdpwhy --context 3 a.pcap",
            "rdpwhy --attempt 2 a.pcap",
            "rdpwhy --with-secrets a.pcap",
        ] {
            let error = read(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
        let error = read("rdpwhy --redact a.pcap").unwrap_err().to_string();
        assert!(error.contains("--evidence"), "{error}");
        assert!(read("rdpwhy --redact --map b --context 3 --evidence c a.pcap").is_ok());
        assert!(read("rdpwhy slice a.pcap -o b.pcapng --redact --context 3").is_ok());
        assert_eq!(read("rdpwhy --help").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn times_relative_to_the_end_may_begin_with_a_minus() {
        assert!(read("rdpwhy --since -5m --until 10:53 a.pcap").is_ok());
    }
}
