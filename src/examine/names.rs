//! Lookups: what clients asked for, and which failed lookups belong to RDP.

use std::net::{IpAddr, SocketAddr};

use crate::attempt::lookups::{Lookup, Lookups, RdpNames, Ties};
use crate::capture::{FrameNo, Span, Timestamp};
use crate::diagnosis::Finding;
use crate::diagnosis::rules::dns;
use crate::examine::{Examiner, assemble};
use crate::protocol::{Parsed, dns as dns_message};

/// The port of DNS.
pub(super) const DNS: u16 = 53;
/// How many names of addresses are remembered.
pub(super) const NAMES: usize = 8_192;
/// The same name without a domain of its own is asked for again under each suffix, and again by the application: within this time it
/// is one failure, told once.
pub(super) const REPEATED: Span = Span::secs(30);
/// A lookup that was answered is settled so long after its last packet: the client may go on with another name.
pub(super) const ANSWERED: Span = Span::secs(6);
/// A lookup without an answer is settled so long after its last packet: no resolver waits longer for the next try.
pub(super) const SILENT: Span = Span::secs(16);

impl Examiner {
    /// Takes a datagram from or to port 53.
    pub(super) fn dns_datagram(&mut self, stamp: (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if !dns_message::may_ask_for_address(payload) {
            return;
        }
        let Ok(message) = dns_message::parse(payload) else {
            return;
        };
        let most = self.options.limits.lookups;
        let given = self
            .state
            .lookups
            .push(self.state.source, stamp, from.ip(), to.ip(), &message, most);
        if let Some((name, addresses)) = given {
            for address in addresses {
                let names = &mut self.state.context.names;
                if names.len() < NAMES || names.contains_key(&address) {
                    names.insert(address, name.clone());
                }
            }
        }
    }

    /// Takes a segment from or to port 53: messages behind a length each (RFC 1035 section 4.2.2). Those that are spread over
    /// segments are rare and are left out.
    pub(super) fn dns_segment(&mut self, stamp: (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let mut rest = payload;
        while let Parsed::Done(message, used) = dns_message::frame(rest) {
            self.dns_datagram(stamp, from, to, message);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Judges the failed lookups that are tied to RDP; others become a note.
    pub(super) fn judge_lookups(&mut self) {
        let last = self.state.window.unwrap_or_default().last;
        let names = self.known_names();
        let ties = names.ties();
        let lookups = std::mem::take(&mut self.state.lookups);
        let mut seen: Vec<(IpAddr, String, Timestamp)> = Vec::new();
        for lookup in lookups.iter() {
            let told = seen.iter().any(|(client, name, at)| {
                *client == lookup.client && *name == lookup.name && lookup.started().since(*at) <= REPEATED
            });
            if !told && let Some(finding) = judge(lookup, &ties, &lookups, last) {
                seen.push((lookup.client, lookup.name.clone(), lookup.started()));
                self.court
                    .bench()
                    .rows
                    .offer(assemble::lookup_row(lookup, finding), self.options.limits.verdicts);
            }
        }
        if lookups.forgotten > 0 {
            self.shortfalls.push(format!(
                "{} older lookups were forgotten to stay within memory before it was known whether they were for Remote Desktop",
                lookups.forgotten
            ));
        }
    }

    /// The names under which RDP was used, and those that were given on the command line.
    pub(super) fn known_names(&self) -> RdpNames {
        let mut names = self.state.rdp_names.clone();
        let given = self.options.hosts.iter().chain(&self.options.gateways);
        names.given = given
            .filter(|name| name.parse::<IpAddr>().is_err())
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        names
    }
}

/// Judges a lookup; `None` where nothing ties it to RDP, or where it did not fail. `last` is until when was captured.
pub(super) fn judge(lookup: &Lookup, ties: &Ties<'_>, all: &Lookups, last: Timestamp) -> Option<Finding> {
    let tie = ties.tie(lookup, all)?;
    if !ties.is_heard(lookup.client, all) {
        return None;
    }
    dns::judge(lookup, tie, last.since(lookup.last))
}
