//! Keeps the attempts that the user asked about.

use std::net::IpAddr;

use crate::attempt::Attempt;
use crate::capture::Timestamp;
use crate::diagnosis::Context;
use crate::examine::{Options, assemble, assemble_udp};
use crate::report::model;

/// mstsc cuts the user name in the cookie of its Connection Request to so many characters.
const COOKIE: usize = 9;

/// Whether a row is one that the user asked about.
pub(super) fn wanted(attempt: &model::Attempt, connections: &[model::Connection], options: &Options) -> bool {
    let parties: Vec<Party<'_>> = connections
        .iter()
        .map(|one| Party {
            client: one.client.ip(),
            server: one.server.map(|server| server.ip()),
            name: one.server_name.as_deref(),
            user: one.user.as_deref(),
        })
        .collect();
    asked(attempt.started, attempt.ended, &parties, options)
}

/// Whether an attempt is one that the user asked about.
pub(super) fn is_wanted(attempt: &Attempt, context: &Context, options: &Options) -> bool {
    let tcp = attempt.connections.iter().map(|(t, _)| Party {
        client: t.client.ip(),
        server: Some(t.server.ip()),
        name: assemble::server_name(t, context),
        user: t.cookie(),
    });
    let udp = attempt.udp.iter().map(|(t, _)| Party {
        client: t.client.ip(),
        server: Some(t.server.ip()),
        name: assemble_udp::server_name(attempt, t, context),
        user: None,
    });
    let anyone = options.hosts.is_empty() && options.users.is_empty();
    let parties: Vec<Party<'_>> = if anyone { Vec::new() } else { tcp.chain(udp).collect() };
    asked(attempt.started(), attempt.ended(), &parties, options)
}

/// The ends of a connection, and who uses it.
struct Party<'a> {
    client: IpAddr,
    server: Option<IpAddr>,
    name: Option<&'a str>,
    user: Option<&'a str>,
}

fn asked(started: Timestamp, ended: Timestamp, parties: &[Party<'_>], options: &Options) -> bool {
    let in_time = options.since.is_none_or(|since| ended >= since) && options.until.is_none_or(|until| started <= until);
    let host = options.hosts.is_empty()
        || options
            .hosts
            .iter()
            .any(|host| parties.iter().any(|party| is_host(party, host)));
    let user = options.users.is_empty()
        || options
            .users
            .iter()
            .any(|user| parties.iter().any(|party| is_user(party, user)));
    in_time && host && user
}

/// Whether this host, by name or address, is an end of the connection. A name without a domain matches its first label.
fn is_host(party: &Party<'_>, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if let Ok(address) = host.parse::<IpAddr>() {
        return party.client == address || party.server == Some(address);
    }
    party.name.is_some_and(|name| {
        name.eq_ignore_ascii_case(host)
            || (!host.contains('.') && name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(host)))
    })
}

/// Whether this is the user of the connection, with or without a domain in front.
fn is_user(party: &Party<'_>, user: &str) -> bool {
    let Some(seen) = party.user else {
        return false;
    };
    let bare = |name: &str| name.rsplit('\\').next().unwrap_or(name).to_ascii_lowercase();
    let cut = seen.chars().count() >= COOKIE && user.to_ascii_lowercase().starts_with(&seen.to_ascii_lowercase());
    seen.eq_ignore_ascii_case(user)
        || bare(seen) == bare(user)
        || cut
        || (seen.chars().count() >= COOKIE && bare(user).starts_with(&bare(seen)))
}
