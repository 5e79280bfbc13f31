//! Keeps the attempts that the user asked about.

use std::net::IpAddr;

use crate::examine::Options;
use crate::report::model::{Attempt, Connection};

/// mstsc cuts the user name in the cookie of its Connection Request to so many characters.
const COOKIE: usize = 9;

/// Whether an attempt with these connections is one that the user asked about.
pub(super) fn wanted(attempt: &Attempt, connections: &[Connection], options: &Options) -> bool {
    let in_time =
        options.since.is_none_or(|since| attempt.ended >= since) && options.until.is_none_or(|until| attempt.started <= until);
    let host = options.hosts.is_empty()
        || options
            .hosts
            .iter()
            .any(|host| connections.iter().any(|connection| is_host(connection, host)));
    let user = options.users.is_empty()
        || options
            .users
            .iter()
            .any(|user| connections.iter().any(|connection| is_user(connection, user)));
    in_time && host && user
}

/// Whether this host, by name or address, is an end of the connection. A name without a domain matches its first label.
fn is_host(connection: &Connection, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if let Ok(address) = host.parse::<IpAddr>() {
        return connection.client.ip() == address || connection.server.is_some_and(|server| server.ip() == address);
    }
    connection.server_name.as_deref().is_some_and(|name| {
        name.eq_ignore_ascii_case(host)
            || (!host.contains('.') && name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(host)))
    })
}

/// Whether this is the user of the connection, with or without a domain in front.
fn is_user(connection: &Connection, user: &str) -> bool {
    let Some(seen) = connection.user.as_deref() else {
        return false;
    };
    let bare = |name: &str| name.rsplit('\\').next().unwrap_or(name).to_ascii_lowercase();
    let cut = seen.chars().count() >= COOKIE && user.to_ascii_lowercase().starts_with(&seen.to_ascii_lowercase());
    seen.eq_ignore_ascii_case(user)
        || bare(seen) == bare(user)
        || cut
        || (seen.chars().count() >= COOKIE && bare(user).starts_with(&bare(seen)))
}
