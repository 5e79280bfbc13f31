//! `udp_rejected`: an ICMP error refuses the datagrams.
//!
//! Port unreachable is a host's own word that nothing listens; prohibited is a firewall's. Who said it stands in the source address, and
//! how far away it is in the TTL that the quoted datagram had left. An error for a datagram whose conversation went on refuses nothing.

use crate::capture::Span;
use crate::diagnosis::case::Finding;
use crate::diagnosis::causes::{UDP_BLOCKED, UDP_REJECTED};
use crate::diagnosis::rules::udp::advice;
use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::{IcmpSeen, Side};
use crate::packet::IcmpMessage;
use crate::transcript::Phase;

/// Datagrams of the other side that were under way when the error was written still arrive within this time.
const UNDER_WAY: Span = Span::millis(500);

/// What an error says about a datagram; `None` where it refuses nothing.
pub(super) fn meaning(message: &IcmpMessage) -> Option<&'static str> {
    Some(match (message.v6, message.kind, message.code) {
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) => "port unreachable",
        (false, 3, 4) | (true, 2, 0) => "packet too big",
        (false, 3, 9) => "network administratively prohibited",
        (false, 3, 10) => "host administratively prohibited",
        (false, 3, 13) => "communication administratively prohibited",
        (true, 1, 0) => "no route to the destination",
        (true, 1, 1) => "administratively prohibited",
        (true, 1, 3) => "address unreachable",
        (true, 1, 4) => "port unreachable",
        (true, 1, 5) => "the source address failed a policy",
        (true, 1, 6) => "reject route to the destination",
        (false, 11, 0) | (true, 3, 0) => "time to live exceeded: a routing loop",
        _ => return None,
    })
}

/// See the module.
pub fn judge(case: &UdpCase<'_>) -> Option<Finding> {
    let (icmp, words) = case
        .t
        .udp
        .icmp
        .iter()
        .filter(|icmp| icmp.about == Side::Client || is_forbidden_by_device(case, icmp))
        .find_map(|icmp| meaning(&icmp.message).map(|words| (icmp, words)))?;
    let answered = case.t.udp.half[icmp.about.other()].last;
    if answered.is_some_and(|seen| seen.at > icmp.at.plus(UNDER_WAY)) || case.is_aftermath(icmp.at) {
        return None;
    }
    let mid = case.phase() == Phase::Session;
    let host = icmp.from == case.t.server.ip();
    let posing = host && is_out_of_line(case, icmp);
    let who = match (host, posing) {
        (true, false) => "the host itself".to_owned(),
        (true, true) => "a device in the host's name".to_owned(),
        (false, _) => format!("the device {}", icmp.from),
    };
    let port = case.t.server.port();
    let what = if mid {
        format!(
            "{who} ends the {} conversation with {}: ICMP {words}",
            case.protocol(),
            case.server_label()
        )
    } else if words == "port unreachable" && host && !posing {
        format!(
            "nothing listens on {}: the host answers with ICMP {words}",
            case.server_label()
        )
    } else {
        format!("{who} refuses {}: ICMP {words}", case.server_label())
    };
    let certain = if posing { Confidence::Likely } else { Confidence::Certain };
    let act = match (host && !posing, case.is_gateway()) {
        (true, true) => Act::Gateway,
        (true, false) => Act::Server,
        (false, _) => Act::Network,
    };
    let said = format!(
        "ICMP{} type {} code {} from {}: {words}",
        if icmp.message.v6 { "v6" } else { "" },
        icmp.message.kind,
        icmp.message.code,
        icmp.from
    );
    let first = case.t.udp.first();
    let verdict = Verdict::new(
        &UDP_REJECTED,
        certain,
        act,
        case.summary(what),
        case.shows(icmp.no, icmp.at, said),
    )
    .because(distance(case, icmp))
    .because((!mid).then(|| case.packet(first, format!("the first datagram to UDP {port}, {} bytes", first.len))));
    let verdict = case.with_story(verdict);
    let verdict = match case.t.udp.log.iter().find(|seen| seen.at >= icmp.at) {
        Some(first) if mid => case.felt(verdict, first, case.t.udp.last()),
        _ => verdict,
    };
    let verdict = if words == "port unreachable" && host {
        verdict.or(
            &UDP_BLOCKED,
            "a firewall on the host or beside it can write the same message in the host's name; the host's own log tells",
        )
    } else {
        verdict
    };
    let verdict = if let Some(mtu) = icmp.message.mtu {
        advice::size(case, verdict, mtu.saturating_sub(28))
    } else {
        advice::open_the_way(case, verdict)
    };
    let by = if host && !posing {
        EndedBy::Server
    } else {
        EndedBy::Middlebox
    };
    Some(Finding::new(verdict, by, Mechanism::Icmp).fact("icmp_from", icmp.from))
}

/// Whether a device says that the server's datagrams are not allowed. Other errors about them only say that the client has gone, or that
/// a NAT does not know it any more.
fn is_forbidden_by_device(case: &UdpCase<'_>, icmp: &IcmpSeen) -> bool {
    let forbidden = matches!(
        (icmp.message.v6, icmp.message.kind, icmp.message.code),
        (false, 3, 9 | 10 | 13) | (true, 1, 1 | 5)
    );
    icmp.about == Side::Server && forbidden && icmp.from != case.t.client.ip()
}

/// Whether the error's TTL differs from that of all other packets of the host.
fn is_out_of_line(case: &UdpCase<'_>, icmp: &IcmpSeen) -> bool {
    let usual = case.context.hosts.get(icmp.from).and_then(|portrait| portrait.ttl.only());
    usual.is_some_and(|usual| usual.count >= 3 && usual.value.abs_diff(icmp.ttl) % 64 != 0 && usual.value != icmp.ttl)
}

/// How far the sender of an error is: the quoted datagram has lost one from its TTL at each hop up to there.
pub(super) fn distance(case: &UdpCase<'_>, icmp: &IcmpSeen) -> Option<Evidence> {
    let quoted = icmp.message.quoted.as_ref()?;
    let sent = case
        .t
        .udp
        .log
        .iter()
        .find(|seen| seen.side == icmp.about && seen.no < icmp.no)?;
    let hops = sent.ttl.checked_sub(quoted.ttl)?;
    let place = match hops {
        0 => "the sender of the error stands beside this capture".to_owned(),
        1 => "the sender of the error is one hop behind this capture".to_owned(),
        n => format!("the sender of the error is {n} hops behind this capture"),
    };
    Some(case.packet(
        sent,
        format!("sent with TTL {}, quoted with TTL {}: {place}", sent.ttl, quoted.ttl),
    ))
}
