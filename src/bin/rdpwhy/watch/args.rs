//! The arguments of `watch`, their help and their checks.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};
use rdpwhy::capture::live::{LiveOptions, Wanted};
use rdpwhy::examine::Options;

use crate::args::{EXIT_CODES, LookArgs};
use crate::watch::keep::Form;

const EXAMPLES: &str = "  rdpwhy watch -i eth0
  rdpwhy watch -i eth0 -i wg0 --evidence /var/lib/rdpwhy --log /var/log/rdpwhy.log
  rdpwhy watch --until-failure --duration 8h --evidence .
  rdpwhy watch -i eth0 --format ndjson --metrics 127.0.0.1:9389 | jq .
";

fn after_help() -> String {
    format!("Exit status:\n{EXIT_CODES}\nExamples:\n{EXAMPLES}")
}

/// How verdicts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// One line each, for people.
    Text,
    /// The lines of schema rdpwhy.report/1, as they fall.
    Ndjson,
}

/// What to watch and what to do with it.
#[derive(Args, Debug)]
#[command(after_help = after_help())]
pub struct WatchArgs {
    /// The interface to capture on; may be repeated [default on Linux: any]
    #[arg(short, long, value_name = "NAME", help_heading = "Capture")]
    pub interface: Vec<String>,

    /// Take this TCP and UDP port for RDP, besides 3389
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Capture")]
    pub port: Vec<u16>,

    /// Capture what this filter lets through as well (pcap-filter syntax)
    #[arg(long, value_name = "FILTER", help_heading = "Capture")]
    pub filter: Option<String>,

    /// Capture all of TCP, so that RDP is found on any port
    #[arg(long, help_heading = "Capture")]
    pub all_tcp: bool,

    /// Bytes captured of each packet
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(128..=262_144), help_heading = "Capture")]
    pub snaplen: u32,

    /// The kernel's buffer for each interface, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_024), help_heading = "Capture")]
    pub buffer: u32,

    /// Take packets one by one as they come, not in blocks every 20 ms
    #[arg(long, help_heading = "Capture")]
    pub immediate: bool,

    /// Leave the interface out of promiscuous mode
    #[arg(long, help_heading = "Capture")]
    pub no_promiscuous: bool,

    /// Drop the rights of root to this user once the interfaces are open; root keeps them
    /// [default: who called sudo, else nobody]
    #[cfg(unix)]
    #[arg(long, value_name = "USER", help_heading = "Capture")]
    pub run_as: Option<String>,

    /// Only attempts with this host
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Selection")]
    pub host: Vec<String>,

    /// Only attempts of this user
    #[arg(long, value_name = "USER", help_heading = "Selection")]
    pub user: Vec<String>,

    /// Take this name or address for an RD Gateway
    #[arg(long, value_name = "NAME|ADDRESS", help_heading = "Selection")]
    pub gateway: Vec<String>,

    /// Report healthy attempts, too
    #[arg(long, help_heading = "Output")]
    pub all: bool,

    /// How to write verdicts
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Lines::Text, help_heading = "Output")]
    pub format: Lines,

    /// Write verdicts to FILE as well, which is rotated by size
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    pub log: Option<PathBuf>,

    /// Rotate the file of --log at this size in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub log_size: u64,

    /// Keep so many rotated files of --log
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000), help_heading = "Output")]
    pub log_keep: u32,

    /// Send verdicts to the system's log (syslog, journald) as well
    #[cfg(unix)]
    #[arg(long, help_heading = "Output")]
    pub syslog: bool,

    /// Say how the capture stands every so often (such as 10m); NDJSON: every minute where this is not given
    #[arg(long, value_name = "TIME", help_heading = "Output")]
    pub status: Option<Time>,

    /// Show a screen instead of lines: rates, open connections, verdicts
    #[arg(long, help_heading = "Output", conflicts_with = "format")]
    pub tui: bool,

    /// Serve figures for Prometheus here; a port alone is one on the loopback
    #[arg(long, value_name = "[ADDRESS:]PORT", help_heading = "Output")]
    pub metrics: Option<Place>,

    /// Keep a bundle of evidence about each failed attempt in DIR: its packets and reports
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Evidence")]
    pub evidence: Option<PathBuf>,

    /// In which form to keep it
    #[arg(long, value_name = "FORM", value_enum, default_value_t = Form::Folder, requires = "evidence", help_heading = "Evidence")]
    pub evidence_form: Form,

    /// Replace names and addresses in evidence
    #[arg(long, requires = "evidence", help_heading = "Evidence")]
    pub redact: bool,

    /// Keep at most so many attempts in DIR; the oldest leave first
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Evidence")]
    pub evidence_count: u32,

    /// Keep at most so many MiB in DIR; the oldest leave first
    #[arg(long, value_name = "MIB", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Evidence")]
    pub evidence_size: u64,

    /// Remember packets for so long, in memory
    #[arg(long, value_name = "TIME", default_value = "15m", help_heading = "Evidence")]
    pub ring_time: Time,

    /// Remember at most so many MiB of packets
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Evidence")]
    pub ring_size: u64,

    /// Stop after so long (such as 90s, 10m, 8h)
    #[arg(long, value_name = "TIME", help_heading = "End")]
    pub duration: Option<Time>,

    /// Stop after so many attempts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "End")]
    pub count: Option<u64>,

    /// Stop at the first failure
    #[arg(long, help_heading = "End")]
    pub until_failure: bool,

    #[command(flatten)]
    pub look: LookArgs,

    /// Print a unit for systemd and do nothing else
    #[arg(long, exclusive = true)]
    pub systemd_unit: bool,

    /// Show times in the local zone instead of UTC
    #[arg(long)]
    pub local: bool,
}

impl WatchArgs {
    /// The interfaces to open.
    pub fn interfaces(&self) -> Vec<String> {
        if self.interface.is_empty() && cfg!(target_os = "linux") {
            return vec![rdpwhy::capture::live::ANY.to_owned()];
        }
        self.interface.clone()
    }

    /// How to capture.
    pub fn live(&self) -> LiveOptions {
        let wanted = Wanted {
            ports: self.port.clone(),
            all_tcp: self.all_tcp,
            also: self.filter.clone(),
        };
        LiveOptions {
            interfaces: self.interfaces(),
            filter: wanted.filter(),
            snaplen: self.snaplen,
            buffer: self.buffer << 20,
            immediate: self.immediate,
            promiscuous: !self.no_promiscuous,
        }
    }

    /// What to look for.
    pub fn options(&self) -> Options {
        Options {
            ports: self.port.clone(),
            hosts: self.host.clone(),
            users: self.user.clone(),
            gateways: self.gateway.clone(),
            ..Options::default()
        }
    }
}

/// Where to listen: `9389` on the loopback, or `192.0.2.1:9389`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub SocketAddr);

impl FromStr for Place {
    type Err = String;

    fn from_str(typed: &str) -> Result<Place, String> {
        let on_loopback = typed.parse::<u16>().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        on_loopback
            .ok()
            .or_else(|| typed.parse().ok())
            .map(Place)
            .ok_or_else(|| format!("{typed:?} is no address with a port; write 9389 or 192.0.2.1:9389"))
    }
}

/// A length of time as users write it: `90s`, `10m`, `8h`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(typed: &str) -> Result<Time, String> {
        let read = typed.parse::<jiff::SignedDuration>().ok();
        read.and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero())
            .map(Time)
            .ok_or_else(|| format!("{typed:?} is no length of time; write 90s, 10m, 8h or 1h30m"))
    }
}
