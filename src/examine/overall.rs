//! Chooses the one verdict for the ticket.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::capture::{Span, Timestamp};
use crate::diagnosis::causes;
use crate::examine::Options;
use crate::report::model::{Attempt, Connection, Overall};
use crate::transcript::{Phase, Role, Transport, Vantage};

/// A failed attempt is history where the same client reached the same server within this time after it: the user got in.
const RECOVERED: Span = Span::secs(60);

/// The other family of addresses is tried so long before a try by the first one begins, or after it has ended, at most.
const BESIDE: Span = Span::secs(5);

/// Who gives one family of addresses up for the other begins there so soon after the last try, or tries so much longer.
const GIVEN_UP: Span = Span::secs(2);

/// What there is nothing of where there is no attempt to report.
#[derive(Clone, Copy, Debug)]
pub(super) enum Nothing {
    /// The captures are empty.
    Packets,
    /// They hold other traffic.
    Rdp,
    /// They hold attempts, and none that was asked about.
    Wanted {
        /// How many there are.
        found: usize,
    },
}

/// The attempt that explains the user's error, else the last healthy one, else `nothing`.
pub(super) fn choose(connections: &[Connection], attempts: &[Attempt], nothing: Nothing, options: &Options) -> Overall {
    let successes = Successes::of(attempts, connections);
    let rank = |attempt: &Attempt| {
        let verdict = &attempt.verdict;
        let class = match verdict.cause.slug {
            _ if verdict.healthy() => 2,
            "capture_incomplete" => 0,
            _ if successes.follow(attempt)
                || successes.by_the_other_family(attempt)
                || is_leftover(attempt, &successes, connections)
                || is_probe(attempt, attempts, connections) =>
            {
                1
            }
            "aborted_by_client" => 3,
            _ => 4,
        };
        let near = options.at.map(|at| -(at.since(attempt.started).0.abs()));
        // Of equal failures the first one began it; of successes the last one is where the user works.
        let order = if verdict.healthy() {
            i64::from(attempt.id)
        } else {
            -i64::from(attempt.id)
        };
        (near, class, verdict.confidence, order)
    };
    let Some(best) = attempts.iter().max_by_key(|attempt| rank(attempt)) else {
        return Overall {
            cause: &causes::NO_RDP,
            healthy: false,
            confidence: None,
            attempt: None,
            connection: None,
            summary: match nothing {
                Nothing::Packets => "there is not a single packet to look at".to_owned(),
                Nothing::Rdp => "there is no Remote Desktop, RD Gateway or RDP-UDP traffic in this capture".to_owned(),
                Nothing::Wanted { found: 1 } => {
                    "the one attempt in this capture is not what was asked for (host, user or time)".to_owned()
                }
                Nothing::Wanted { found } => {
                    format!("none of the {found} attempts in this capture is what was asked for (host, user or time)")
                }
            },
        };
    };
    // Where nothing failed that the user works with, a failed UDP channel is the news.
    let quiet = best.verdict.healthy() || best.verdict.cause.slug == "capture_incomplete";
    if let Some(side) = side_channel(connections, attempts, best.id).filter(|_| quiet) {
        return Overall {
            cause: side.verdict.cause,
            healthy: false,
            confidence: Some(side.verdict.confidence),
            attempt: Some(side.attempt),
            connection: Some(side.id),
            summary: side.verdict.summary.clone(),
        };
    }
    let decisive = connections.iter().find(|connection| connection.id == best.decisive);
    Overall {
        cause: best.verdict.cause,
        healthy: best.verdict.healthy(),
        confidence: Some(best.verdict.confidence),
        attempt: Some(best.id),
        connection: decisive.map(|connection| connection.id),
        summary: best.verdict.summary.clone(),
    }
}

/// A healthy attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Success<'a> {
    began: Timestamp,
    ended: Timestamp,
    user: Option<&'a str>,
}

/// The healthy attempts by client and server, in order.
struct Successes<'a> {
    all: HashMap<(IpAddr, &'a str), Vec<Success<'a>>>,
    /// When connections of healthy attempts began, of clients on which was captured: by the name of the server and whether over IPv4.
    named: HashMap<(&'a str, bool), Vec<Timestamp>>,
    /// The same by source, port of the server, and whether over IPv4.
    unnamed: HashMap<(u32, u16, bool), Vec<Timestamp>>,
    /// The one client of each source and family of addresses; `None` where there are several.
    sole: HashMap<(u32, bool), Option<IpAddr>>,
    connections: &'a [Connection],
}

impl<'a> Successes<'a> {
    fn of(attempts: &'a [Attempt], connections: &'a [Connection]) -> Self {
        let mut all: HashMap<_, Vec<Success<'_>>> = HashMap::new();
        for attempt in attempts.iter().filter(|attempt| attempt.verdict.healthy()) {
            let ends = (attempt.client, attempt.server.as_str());
            all.entry(ends).or_default().push(Success {
                began: attempt.started,
                ended: attempt.ended,
                user: user(attempt, connections),
            });
        }
        all.values_mut().for_each(|of_ends| of_ends.sort_unstable());
        let mut named: HashMap<_, Vec<Timestamp>> = HashMap::new();
        let mut unnamed: HashMap<_, Vec<Timestamp>> = HashMap::new();
        for attempt in attempts.iter().filter(|attempt| attempt.verdict.healthy()) {
            for one in own(attempt, connections).filter(|one| one.vantage == Vantage::Client) {
                if let Some((name, is_v4, began)) = family(one) {
                    named.entry((name, is_v4)).or_default().push(began);
                }
                if let Some(server) = one.server {
                    let key = (one.source, server.port(), server.is_ipv4());
                    unnamed.entry(key).or_default().push(one.started);
                }
            }
        }
        named.values_mut().for_each(|times| times.sort_unstable());
        unnamed.values_mut().for_each(|times| times.sort_unstable());
        Successes {
            all,
            named,
            unnamed,
            sole: sole_clients(connections),
            connections,
        }
    }

    /// Whether the host on which was captured reached the same name by the other family of addresses: clients try both, one soon after the
    /// other (RFC 8305), and the user is in.
    fn by_the_other_family(&self, failed: &Attempt) -> bool {
        let mut own = own(failed, self.connections);
        let Some(one) = own.find(|one| one.id == failed.decisive && one.phase == Phase::Tcp && one.vantage != Vantage::Server)
        else {
            return false;
        };
        let Some((name, is_v4, began)) = family(one) else {
            return self.by_the_other_family_unnamed(failed, one);
        };
        self.named.get(&(name, !is_v4)).is_some_and(|times| {
            let from = times.partition_point(|at| began.since(*at) > BESIDE);
            times.get(from).is_some_and(|at| at.since(failed.ended) <= BESIDE)
        })
    }

    /// The same where nothing captured names the host that failed, as a filter on its port leaves no lookups: the capture was taken at a client
    /// and shows one address of each family, which are then that client's, and it went over to the other one when it gave this one up.
    fn by_the_other_family_unnamed(&self, failed: &Attempt, one: &Connection) -> bool {
        let Some(server) = one.server.filter(|_| one.vantage == Vantage::Client) else {
            return false;
        };
        let is_v4 = server.is_ipv4();
        let is_sole = |is_v4: bool| matches!(self.sole.get(&(one.source, is_v4)), Some(Some(_)));
        let times = self.unnamed.get(&(one.source, server.port(), !is_v4));
        times.filter(|_| is_sole(is_v4) && is_sole(!is_v4)).is_some_and(|times| {
            let from = times.partition_point(|at| *at < failed.started);
            times.get(from).is_some_and(|at| at.since(failed.ended).0.abs() <= GIVEN_UP.0)
        })
    }

    /// Whether the same user reached the same server from the same client soon after this failure. Who lost a session and dialled again has
    /// lost it all the same.
    fn follow(&self, failed: &Attempt) -> bool {
        // A mapping is lost of what was open.
        let was_open = |one: &Connection| one.phase == Phase::Session || one.verdict.cause.slug == causes::NAT_MAPPING_LOST.slug;
        if own(failed, self.connections).any(|one| one.id == failed.decisive && was_open(one)) {
            return false;
        }
        let of_ends = self.of_ends(failed);
        let user = user(failed, self.connections);
        let later = of_ends.partition_point(|success| success.began < failed.ended);
        let mut soon = (of_ends.iter().skip(later)).take_while(|success| success.began.since(failed.ended) <= RECOVERED);
        soon.any(|success| user.zip(success.user).is_none_or(|(user, other)| user == other))
    }

    /// Whether the same client was at work on the same server when this failure began.
    fn run_beside(&self, failed: &Attempt) -> bool {
        let at = failed.started;
        let mut all = self.of_ends(failed).iter();
        all.any(|success| success.began <= at && at <= success.ended)
    }

    fn of_ends<'b>(&'b self, attempt: &'b Attempt) -> &'b [Success<'a>] {
        self.all
            .get(&(attempt.client, attempt.server.as_str()))
            .map_or(&[], Vec::as_slice)
    }
}

/// The one client of each source and family of addresses; `None` where there are several.
fn sole_clients(connections: &[Connection]) -> HashMap<(u32, bool), Option<IpAddr>> {
    let mut sole = HashMap::new();
    for one in connections {
        let client = one.client.ip();
        let known = sole.entry((one.source, client.is_ipv4())).or_insert(Some(client));
        *known = known.filter(|known| *known == client);
    }
    sole
}

/// The name of a connection's server, whether it was reached over IPv4, and when the connection began.
fn family(one: &Connection) -> Option<(&str, bool, Timestamp)> {
    Some((one.server_name.as_deref()?, one.server?.is_ipv4(), one.started))
}

/// The user whom the connections of an attempt name.
fn user<'a>(attempt: &'a Attempt, connections: &'a [Connection]) -> Option<&'a str> {
    own(attempt, connections).find_map(|one| one.user.as_deref())
}

/// The failed UDP conversation that is told: one of this attempt before others, of equals the first. One that a later conversation
/// replaced with success is history.
fn side_channel<'a>(connections: &'a [Connection], attempts: &[Attempt], attempt: u32) -> Option<&'a Connection> {
    let replaced = |failed: &Connection| {
        connections.iter().any(|later| {
            later.transport == Transport::Udp
                && later.verdict.healthy()
                && (later.attempt, later.role, later.server) == (failed.attempt, failed.role, failed.server)
                && later.started >= failed.started.plus(failed.duration)
        })
    };
    connections
        .iter()
        .filter(|one| one.transport == Transport::Udp && !one.verdict.healthy() && one.verdict.cause.slug != "capture_incomplete")
        .filter(|one| !replaced(one))
        .filter(|one| {
            let own = attempts.iter().find(|attempt| attempt.id == one.attempt);
            !own.is_some_and(|own| is_probe(own, attempts, connections))
        })
        .max_by_key(|one| (one.attempt == attempt, one.verdict.confidence, std::cmp::Reverse(one.id)))
}

/// The connections of an attempt.
fn own<'a>(attempt: &'a Attempt, connections: &'a [Connection]) -> impl Iterator<Item = &'a Connection> + Clone {
    // Connections are numbered in their order.
    let place = |id: &u32| connections.binary_search_by_key(id, |one| one.id).ok();
    attempt
        .connections
        .iter()
        .filter_map(place)
        .filter_map(|at| connections.get(at))
}

/// Whether an attempt is nothing but what the server says on connections that the client gave up before, while the client was at work in
/// another session there.
fn is_leftover(attempt: &Attempt, successes: &Successes<'_>, connections: &[Connection]) -> bool {
    own(attempt, connections).all(|one| one.leftover) && successes.run_beside(attempt)
}

/// Whether an attempt is a check, or a single datagram of somebody who does nothing else here, beside sessions of others that work: scanners
/// send such datagrams to every host that the Internet can reach.
fn is_probe(attempt: &Attempt, attempts: &[Attempt], connections: &[Connection]) -> bool {
    let own = own(attempt, connections);
    let single = || {
        own.clone()
            .all(|one| one.transport == Transport::Udp && one.metrics.packets[0] <= 1)
    };
    let known = || {
        attempts
            .iter()
            .any(|other| other.id != attempt.id && other.client == attempt.client)
    };
    let healthy = || attempts.iter().any(|other| other.id != attempt.id && other.verdict.healthy());
    (is_check(attempt, own.clone()) || (single() && !known())) && healthy()
}

/// Whether an attempt is what health checks, monitors and port scanners do: it opens the port and leaves without a word, or asks for the
/// protocol and leaves at once with the answer. No user waits for it. `own` are its connections.
fn is_check<'a>(attempt: &Attempt, mut own: impl Iterator<Item = &'a Connection>) -> bool {
    /// Who leaves later may have read a question first.
    const AT_ONCE: Span = Span::secs(2);
    /// Connection Requests are no longer; a ClientHello never is as short.
    const REQUEST: u64 = 90;
    attempt.verdict.cause.slug == causes::ABORTED_BY_CLIENT.slug
        && own.all(|one| {
            let said = one.metrics.bytes[0];
            one.transport == Transport::Tcp
                && one.role == Role::Rdp
                && one.phase <= Phase::Tls
                && (said == 0 || (said <= REQUEST && one.duration <= AT_ONCE))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    /// What the server still says on a connection that the client gave up is no headline beside the session in which the user works.
    #[test]
    fn a_leftover_is_no_headline_beside_a_session() {
        let chosen = |leftover: bool, minutes_later: i64| {
            let mut report = samples::leftover_beside_a_session();
            report.connections[1].leftover = leftover;
            let later = Span::secs(60 * minutes_later);
            report.attempts[1].started = report.attempts[1].started.plus(later);
            report.attempts[1].ended = report.attempts[1].ended.plus(later);
            choose(&report.connections, &report.attempts, Nothing::Rdp, &Options::default())
                .cause
                .slug
        };
        assert_eq!(chosen(true, 0), "completed");
        // The client had used it until then, or works in no other session.
        assert_eq!(chosen(false, 0), "nat_mapping_lost");
        assert_eq!(chosen(true, 5), "nat_mapping_lost");
    }
}
