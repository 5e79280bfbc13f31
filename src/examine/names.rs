//! Lookups: what clients asked for, and which failed lookups belong to RDP.

use std::net::{IpAddr, SocketAddr};

use crate::attempt::lookups::Tie;
use crate::capture::{FrameNo, Timestamp};
use crate::diagnosis::rules::dns;
use crate::examine::{Examiner, assemble};
use crate::protocol::Parsed;

/// The port of DNS.
pub(super) const DNS: u16 = 53;
/// How many names of addresses are remembered.
const NAMES: usize = 8_192;

impl Examiner {
    /// Takes a datagram from or to port 53.
    pub(super) fn dns_datagram(&mut self, stamp: (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let Ok(message) = crate::protocol::dns::parse(payload) else {
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
        while let Parsed::Done(message, used) = crate::protocol::dns::frame(rest) {
            self.dns_datagram(stamp, from, to, message);
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Judges the failed lookups that are tied to RDP; others become a note.
    pub(super) fn judge_lookups(&mut self) {
        let last = self.state.window.unwrap_or_default().last;
        let mut names = std::mem::take(&mut self.state.rdp_names);
        let given = self.options.hosts.iter().chain(&self.options.gateways);
        names.given = given
            .filter(|name| name.parse::<IpAddr>().is_err())
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        let lookups = std::mem::take(&mut self.state.lookups);
        let mut seen: Vec<(IpAddr, String, Timestamp)> = Vec::new();
        for lookup in lookups.iter() {
            let Some(tie) = names.tie(lookup, &lookups) else { continue };
            // The same name without a domain of its own is asked for again under each suffix: one failure, told once.
            let told = seen.iter().any(|(client, name, at)| {
                *client == lookup.client && *name == lookup.name && lookup.started().since(*at) <= crate::capture::Span::secs(30)
            });
            let watched = last.since(lookup.last);
            if let Some(finding) = dns::judge(lookup, tie, watched)
                && !told
                && !(tie == Tie::SameDomain && lookups.iter().any(|other| followed_by_success(other, lookup)))
            {
                seen.push((lookup.client, lookup.name.clone(), lookup.started()));
                self.rows.push(assemble::lookup_row(lookup, finding));
            }
        }
        if lookups.forgotten > 0 {
            self.shortfalls.push(format!(
                "{} older lookups were forgotten to stay within memory",
                lookups.forgotten
            ));
        }
    }
}

/// Whether the client asked for something else right afterwards and got it: it may have meant that.
fn followed_by_success(other: &crate::attempt::lookups::Lookup, failed: &crate::attempt::lookups::Lookup) -> bool {
    let after = other.started().since(failed.last);
    other.client == failed.client
        && other.name != failed.name
        && after.0 >= 0
        && after <= crate::capture::Span::secs(5)
        && other.outcome(crate::capture::Span::default()) == crate::attempt::lookups::Outcome::Found
}
