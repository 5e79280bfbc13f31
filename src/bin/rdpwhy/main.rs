//! Arguments in, a report and an exit code out.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use rdpwhy::diagnosis::{CAUSES, Family};
use rdpwhy::report::SCHEMA_TEXT;
use rdpwhy::report::page::{BOLD, PLAIN, Page};
use rdpwhy::report::plain::printable;

use args::{Cli, Command, ExplainArgs};

mod args;
mod evidence;
mod explain;
#[cfg(feature = "live")]
mod interfaces;
mod interrupt;
mod man;
mod output;
mod progress;
mod triage;
#[cfg(feature = "live")]
mod watch;
mod when;

/// Judging frees in one thread what another one made, for which the system's allocator takes a lock each time.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Usage or input error: nothing could be looked at.
const INPUT_ERROR: u8 = 2;
/// Nothing to judge: no RDP in it, or too little of it.
const NOTHING_TO_JUDGE: u8 = 3;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell where even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(INPUT_ERROR));
        }
    };
    let done = match cli.command {
        None => triage::triage(&cli.triage),
        Some(Command::Triage(args)) => triage::triage(&args),
        #[cfg(feature = "live")]
        Some(Command::Watch(args)) => watch::watch(&args),
        #[cfg(feature = "live")]
        Some(Command::Interfaces(look)) => list_interfaces(look.color.on_stdout()),
        Some(Command::Slice(args)) => evidence::slice(&args),
        Some(Command::Redact(args)) => evidence::redact(&args),
        Some(Command::Explain(args)) => explain_codes(&args),
        Some(Command::Causes(look)) => done(output::to_stdout(look.color.on_stdout(), |out| {
            causes(&mut Page::new(out, look.color.on_stdout()))
        })),
        Some(Command::Schema) => done(output::to_stdout(false, |out| out.write_all(SCHEMA_TEXT.as_bytes()))),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_BIN_NAME"), &mut script);
            done(output::to_stdout(false, |out| out.write_all(&script)))
        }
        Some(Command::Man) => done(output::to_stdout(false, man::page)),
    };
    done.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::from(INPUT_ERROR)
    })
}

/// One line on standard error.
fn complain(text: &str) {
    // Nobody is left to tell where even this cannot be printed.
    let _ = writeln!(io::stderr(), "rdpwhy: {}", printable(text));
}

fn done(result: io::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS).context("standard output")
}

#[cfg(feature = "live")]
fn list_interfaces(color: bool) -> anyhow::Result<ExitCode> {
    let listed = rdpwhy::capture::live::interfaces()?;
    done(output::to_stdout(color, |out| {
        interfaces::list(&mut Page::new(out, color), &listed)
    }))
}

fn explain_codes(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let color = args.look.color.on_stdout();
    let mut known = true;
    output::to_stdout(color, |out| {
        let page = &mut Page::new(out, color);
        known = if args.list {
            explain::list(page, &args.codes)?
        } else {
            explain::explain(page, &args.codes)?
        };
        Ok(())
    })
    .context("standard output")?;
    if known {
        return Ok(ExitCode::SUCCESS);
    }
    let asked = args.codes.join(" ");
    complain(&format!(
        "nothing is known of {asked:?}; rdpwhy explain --list prints every code"
    ));
    Ok(ExitCode::from(INPUT_ERROR))
}

fn causes(page: &mut Page<'_>) -> io::Result<()> {
    for (number, &family) in Family::ALL.iter().enumerate() {
        if number > 0 {
            page.gap()?;
        }
        page.row(&[], (family.slug(), BOLD))?;
        for cause in CAUSES.iter().filter(|cause| cause.family == family) {
            page.row(
                &[("  ", PLAIN), (&format!("{:<30}", cause.slug), PLAIN)],
                (cause.meaning, PLAIN),
            )?;
        }
    }
    Ok(())
}
