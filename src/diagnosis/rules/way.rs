//! The way to the host: `one_way_path`, `syn_prohibited`, `host_unreachable`, `port_closed`, `syn_reset_by_middlebox`, `syn_dropped`.
//!
//! An ICMP error or a reset that answers the SYN says no in clear. Silence is told from the end of the capture by repetition, and a
//! path that works in one direction only by the side that goes on repeating what the other has long answered.

use crate::capture::{FrameNo, Span};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{
    HANDSHAKE_TIMEOUT, HOST_UNREACHABLE, ONE_WAY_PATH, PATH_LOSS, PORT_CLOSED, SYN_DROPPED, SYN_PROHIBITED,
    SYN_RESET_BY_MIDDLEBOX,
};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Cause, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{IcmpSeen, Marks, Opening, Reset, Seen, Side};
use crate::forensics::View;
use crate::packet::{IcmpMessage, TcpFlags};
use crate::transcript::Phase;

/// A SYN that was sent once may still be answered within this time; every stack repeats it sooner.
const LONE_SYN: Span = Span::secs(3);

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if let Some(finding) = too_late(case) {
        return Some(finding);
    }
    if let Some(finding) = one_way(case) {
        return Some(finding);
    }
    if let Some(reset) = refusal_alone(case) {
        return Some(closed(case, reset, Vec::new()));
    }
    if case.phase() != Phase::Tcp || case.t.tcp.opening == Opening::MidStream {
        return None;
    }
    prohibited(case).or_else(|| refused(case)).or_else(|| dropped(case))
}

/// A reset that can only answer a SYN, where the SYN was not captured: RST,ACK with the sequence number 0 (RFC 9293 section 3.10.7.1),
/// and nothing else of the connection.
fn refusal_alone<'t>(case: &Case<'t>) -> Option<&'t Reset> {
    let tcp = &case.t.tcp;
    let reset = tcp.resets.first()?;
    let refuses = reset.seen.side == Side::Server && reset.seen.seq == 0 && reset.seen.flags.has(TcpFlags::ACK);
    (tcp.opening == Opening::MidStream && refuses && tcp.log.iter().all(Seen::is_reset)).then_some(reset)
}

/// The answer comes when the client has given up: its host answers it with a RST, so that both directions work.
fn too_late(case: &Case<'_>) -> Option<Finding> {
    let tcp = &case.t.tcp;
    let ((syn_no, syn_at), (no, at)) = (tcp.handshake.syn?, tcp.handshake.syn_ack?);
    let refused = tcp
        .resets
        .iter()
        .find(|reset| reset.seen.side == Side::Client && reset.seen.no > no)?;
    let took = at.since(syn_at);
    if case.phase() != Phase::Tcp || tcp.handshake.ack.is_some() || took < PATIENT {
        return None;
    }
    let verdict = Verdict::new(
        &HANDSHAKE_TIMEOUT,
        Confidence::Likely,
        Act::Network,
        format!(
            "{} answers the SYN only after {}: the client had given up by then, and its host refuses the answer",
            case.server_label(),
            human(took)
        ),
        case.shows(no, at, "the SYN,ACK"),
    )
    .because([case.shows(syn_no, syn_at, format!("the first of {} SYNs", tcp.handshake.syns))])
    .because([case.packet(&refused.seen, "the client's host answers it with a RST: it knows no such connection any more")])
    .or(&SYN_DROPPED, "the first SYNs were lost, or the host was busy or just starting, and only a late one got through")
    .remedy(format!("is {} overloaded, or just started? A listener whose queue is full answers late or not at all", case.server_host()))
    .remedy("measure the way: a path that loses most packets, or a VPN or gateway that sets its tunnel up only when asked, answers as late");
    Some(Finding::new(verdict, EndedBy::Client, Mechanism::Rst))
}

/// Who answers a SYN later than this does not answer in time; clients wait 5 to 21 s in all, and the path is no satellite's.
const PATIENT: Span = Span::secs(3);

/// On a path that is only slow what seems lost comes within this time.
const SLOW: Span = Span::secs(6);

/// One side answers, and the other goes on as if it had not.
fn one_way(case: &Case<'_>) -> Option<Finding> {
    let tcp = &case.t.tcp;
    let (_, answered) = tcp.handshake.syn_ack?;
    // Who answers the SYN,ACK with a RST has it; unless it goes on with its SYN, for which it was no answer: it came from elsewhere.
    let refused = tcp
        .resets
        .iter()
        .find(|reset| reset.seen.side == Side::Client && reset.seen.at >= answered);
    let goes_on = |after: FrameNo| {
        tcp.log
            .iter()
            .any(|seen| seen.no > after && seen.side == Side::Client && seen.flags.has(TcpFlags::SYN))
    };
    if refused.is_some_and(|reset| !goes_on(reset.seen.no)) && case.phase() == Phase::Tcp {
        return None;
    }
    // Once the server has acknowledged a byte of the client both directions have worked.
    if !matches!(case.phase(), Phase::Tcp | Phase::X224) || tcp.half.server.first_data.is_some() || client_was_heard(case) {
        return None;
    }
    let again = |side: Side| {
        tcp.log.iter().filter(move |seen| {
            seen.side == side && seen.flags.has(TcpFlags::SYN) && seen.marks.has(Marks::RETRANSMISSION) && seen.at > answered
        })
    };
    let syn_again = again(Side::Client).next();
    // What the server repeats within a round trip of the client's ACK was sent before it can have had that.
    let heard_by = tcp
        .handshake
        .ack
        .zip(tcp.handshake.syn)
        .map(|((_, ack), (_, syn))| ack.plus(answered.since(syn)));
    let in_vain = |seen: &&Seen| heard_by.is_none_or(|heard_by| seen.at > heard_by);
    let syn_ack_again: Vec<&Seen> = again(Side::Server).filter(in_vain).collect();
    let client_answered = tcp.handshake.ack.is_some();
    // One copy may have been on its way when the server answered.
    let told_twice = again(Side::Client).count() >= 2 || case.t.window.last.since(answered) >= LONE_SYN;
    if let (Some(syn), false, true) = (syn_again, client_answered, told_twice) {
        return Some(one_way_finding(
            case,
            Side::Server,
            syn,
            "the client repeats its SYN although the server has answered it",
        ));
    }
    let first = syn_ack_again.first()?;
    if client_answered && (syn_ack_again.len() >= 2 || case.t.window.last.since(first.at) >= LONE_SYN) {
        return Some(one_way_finding(
            case,
            Side::Client,
            first,
            "the server repeats its SYN,ACK although the client has acknowledged it and gone on",
        ));
    }
    // The client does not repeat its SYN: it has the answer, and its ACK is what is missing. Where it does repeat it, the answer had not come
    // by then, and the server's copies answer that.
    let waited = case.t.window.last.since(first.at);
    (syn_again.is_none() && (syn_ack_again.len() > 2 || waited >= LONE_SYN)).then(|| {
        one_way_finding(
            case,
            Side::Client,
            first,
            "the server repeats its SYN,ACK; the client does not repeat its SYN, so it has the answer and its ACK does not arrive",
        )
    })
}

fn client_was_heard(case: &Case<'_>) -> bool {
    let half = &case.t.tcp.half.client;
    match (half.isn, half.acked) {
        (Some(isn), Some(acked)) => (acked.wrapping_sub(isn.wrapping_add(1)) as i32) > 0,
        _ => false,
    }
}

fn one_way_finding(case: &Case<'_>, lost: Side, seen: &Seen, text: &str) -> Finding {
    let to = lost.other();
    let view = View::of(&case.t.tcp);
    let arrives = view.sure && view.is_at(to);
    let repeats = case.t.tcp.half[lost].retransmissions + case.t.tcp.half[to].retransmissions;
    let answered = case.t.tcp.handshake.syn_ack.map(|(_, at)| case.t.window.last.since(at));
    let sure = if repeats >= 2 && answered.is_some_and(|waited| waited >= SLOW) {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    let verdict = Verdict::new(
        &ONE_WAY_PATH,
        sure,
        match (arrives, to) {
            (true, Side::Client) => Act::Client,
            (true, Side::Server) => Act::Server,
            (false, _) => Act::Network,
        },
        match arrives {
            true => format!("the connection to {} works in one direction only: what the {lost} sends arrives at the {to}'s host, where this was captured, and the {to} goes on as if it had not", case.server_label()),
            false => format!("the path to {} works in one direction only: what the {lost} sends does not reach the {to}", case.server_label()),
        },
        case.packet(seen, text),
    )
    .because(case.t.tcp.handshake.syn_ack.map(|(no, at)| case.shows(no, at, "the server's SYN,ACK")))
    .or(&PATH_LOSS, "the same happens where nearly every packet is lost; a second capture at the other end shows which packets arrive")
    .remedy_if(arrives, format!(
        "look on the {to}'s host itself: its firewall, a security agent, checksums that are wrong{}",
        if to == Side::Server { ", or a listener whose queue is full (Linux: `nstat -az TcpExtListenOverflows TcpExtListenDrops`)" } else { "" }
    ))
    .remedy(format!(
        "compare the routes of both directions: `tracert {}` from the client and `tracert {}` from the server; look for a second default gateway, a missing return route or asymmetric firewalls",
        case.server_host(),
        case.t.client.ip()
    ))
    .remedy("a stateful firewall that sees only one direction drops the rest: make both directions cross the same firewall")
    .remedy(format!("capture at the {to} at the same time and compare: the packets of the {lost} that are missing there were lost in between"));
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
}

/// What an ICMP error means for a connection that is being opened.
fn icmp_meaning(message: &IcmpMessage) -> Option<(&'static Cause, &'static str)> {
    icmp_words_of((message.v6, message.kind, message.code))
}

/// The same by ICMP version (6 or not), type and code.
pub(super) fn icmp_words_of(says: (bool, u8, u8)) -> Option<(&'static Cause, &'static str)> {
    // RFC 792, RFC 1812 section 5.2.7.1; RFC 4443 section 3.1.
    Some(match says {
        (false, 3, 9) => (
            &SYN_PROHIBITED,
            "communication with the network is administratively prohibited",
        ),
        (false, 3, 10) => (&SYN_PROHIBITED, "communication with the host is administratively prohibited"),
        (false, 3, 13) => (&SYN_PROHIBITED, "communication is administratively prohibited"),
        (true, 1, 1) => (&SYN_PROHIBITED, "communication is administratively prohibited"),
        (true, 1, 5) => (&SYN_PROHIBITED, "the source address fails a policy"),
        (true, 1, 6) => (&SYN_PROHIBITED, "the route to the destination rejects"),
        (false, 3, 0) => (&HOST_UNREACHABLE, "network unreachable"),
        (false, 3, 1) => (&HOST_UNREACHABLE, "host unreachable"),
        (false, 3, 2) => (&HOST_UNREACHABLE, "protocol unreachable"),
        (false, 3, 3) => (&HOST_UNREACHABLE, "port unreachable"),
        (false, 3, 5..=8 | 11 | 12) => (&HOST_UNREACHABLE, "destination unreachable"),
        (true, 1, 0) => (&HOST_UNREACHABLE, "no route to the destination"),
        (true, 1, 2) => (&HOST_UNREACHABLE, "beyond the scope of the source address"),
        (true, 1, 3) => (&HOST_UNREACHABLE, "address unreachable"),
        (true, 1, 4) => (&HOST_UNREACHABLE, "port unreachable"),
        (false, 11, 0) | (true, 3, 0) => (&HOST_UNREACHABLE, "time to live exceeded in transit: a routing loop"),
        _ => return None,
    })
}

/// The first ICMP error about what a side sent, after a frame, and what it says.
pub(super) fn icmp_error<'c>(case: &'c Case<'_>, about: Side, after: FrameNo) -> Option<(&'c IcmpSeen, &'static str)> {
    (case.t.tcp.icmp.iter())
        .filter(|icmp| icmp.about == about && icmp.no > after && icmp.message.quoted.is_some())
        .find_map(|icmp| icmp_meaning(&icmp.message).map(|(_, words)| (icmp, words)))
}

fn prohibited(case: &Case<'_>) -> Option<Finding> {
    let (icmp, cause, words) = case
        .t
        .tcp
        .icmp
        .iter()
        .filter(|icmp| icmp.about == Side::Client)
        .find_map(|icmp| icmp_meaning(&icmp.message).map(|(cause, words)| (icmp, cause, words)))?;
    if case.t.tcp.handshake.syn_ack.is_some() {
        return None;
    }
    let by_host = icmp.from == case.t.server.ip();
    let who = if by_host {
        "the host itself".to_owned()
    } else {
        format!("the device {}", icmp.from)
    };
    // What a short snap length has left of the message does not say which packet it is about; the moment does.
    let sure = match (icmp.message.quoted.is_some(), by_host) {
        (true, _) => Confidence::Certain,
        (false, true) => Confidence::Likely,
        (false, false) => Confidence::Possible,
    };
    let verdict = Verdict::new(
        cause,
        sure,
        if by_host { Act::Server } else { Act::Network },
        format!("{who} answers the SYN to {} with ICMP: {words}", case.server_label()),
        case.shows(icmp.no, icmp.at, icmp_words(icmp, words)),
    )
    .because(quoted_ttl(case, icmp))
    .because(
        case.t
            .tcp
            .handshake
            .syn
            .map(|(no, at)| case.shows(no, at, format!("the SYN to port {}", case.t.server.port()))),
    );
    let verdict = if cause == &SYN_PROHIBITED {
        verdict
            .remedy(format!(
                "ask whoever runs {} for a rule that allows TCP {} from {} to {}",
                icmp.from,
                case.t.server.port(),
                case.t.client.ip(),
                case.t.server.ip()
            ))
            .remedy("connect through the VPN or the RD Gateway that is meant for this way")
    } else {
        verdict
            .remedy(format!(
                "check the address: `nslookup {}`; then the route on {}: does it know the network of {}?",
                case.server_host(),
                icmp.from,
                case.t.server.ip()
            ))
            .remedy("check that the host is up and in the network (or VPN) that the address belongs to")
    };
    // Time exceeded, a routing loop, is no firewall's word.
    let is_loop = matches!((icmp.message.v6, icmp.message.kind), (false, 11) | (true, 3));
    let verdict = if cause == &HOST_UNREACHABLE && !is_loop {
        verdict.or(
            &SYN_PROHIBITED,
            format!(
                "firewalls that reject with \"{words}\" send the same message; the rule set of the device that sent it tells"
            ),
        )
    } else {
        verdict
    };
    Some(
        Finding::new(
            verdict,
            if by_host { EndedBy::Server } else { EndedBy::Middlebox },
            Mechanism::Icmp,
        )
        .fact("icmp_from", icmp.from),
    )
}

/// An ICMP error in words.
pub(super) fn icmp_words(icmp: &IcmpSeen, meaning: &str) -> String {
    format!(
        "ICMP{} type {} code {} from {}: {meaning}",
        if icmp.message.v6 { "v6" } else { "" },
        icmp.message.kind,
        icmp.message.code,
        icmp.from
    )
}

/// How far the device is: the quoted packet has lost one from its TTL at each hop up to there.
fn quoted_ttl(case: &Case<'_>, icmp: &IcmpSeen) -> Option<crate::diagnosis::Evidence> {
    let quoted = icmp.message.quoted.as_ref()?;
    let sent = case.t.tcp.log.iter().find(|seen| seen.side == icmp.about)?;
    let hops = sent.ttl.checked_sub(quoted.ttl)?;
    Some(case.shows(
        icmp.no,
        icmp.at,
        format!(
            "the quoted SYN had TTL {} there and {} here: the device is {hops} hops behind this capture",
            quoted.ttl, sent.ttl
        ),
    ))
}

fn refused(case: &Case<'_>) -> Option<Finding> {
    if case.t.tcp.handshake.syn_ack.is_some() {
        return None;
    }
    let reset = case.t.tcp.resets.iter().find(|reset| reset.seen.side == Side::Server)?;
    let origin = case.reset_origin(reset);
    if origin.is_middlebox() {
        let verdict = Verdict::new(
            &SYN_RESET_BY_MIDDLEBOX,
            origin.confidence,
            Act::Network,
            format!("a device on the path, not the host, refuses the SYN to {}", case.server_label()),
            case.packet(&reset.seen, "RST that answers the SYN"),
        )
        .because(origin.evidence)
        .or(&PORT_CLOSED, "the host itself refuses, and its other packets take another route; a capture at the host shows whether the SYN arrives there")
        .remedy(format!("ask the firewall team which device rejects TCP {} from {} to {}; it answers in the host's name", case.t.server.port(), case.t.client.ip(), case.t.server.ip()))
        .remedy(format!("capture on {}: if the SYN never arrives there, the device is proven", case.server_host()));
        return Some(Finding::new(verdict, EndedBy::Middlebox, Mechanism::Rst).fact("rst_ttl", reset.seen.ttl));
    }
    let doubtful = origin.doubtful;
    let mut finding = closed(case, reset, origin.evidence);
    if doubtful {
        finding.verdict.confidence = Confidence::Possible;
    }
    Some(finding)
}

fn closed(case: &Case<'_>, reset: &Reset, more: Vec<crate::diagnosis::Evidence>) -> Finding {
    let port = case.t.server.port();
    let compared = !more.is_empty();
    let verdict = Verdict::new(
        &PORT_CLOSED,
        Confidence::Likely,
        Act::Server,
        format!("{} refuses the connection: nothing listens on TCP {port}", case.server_label()),
        case.packet(&reset.seen, format!("RST that answers the SYN, TTL {}", reset.seen.ttl)),
    )
    .because(more)
    .or(
        &SYN_RESET_BY_MIDDLEBOX,
        if compared {
            "a firewall beside the host or on it refuses in its name; the host's own log or a capture on it tells"
        } else {
            "a firewall may refuse in the host's name, and this capture has no other packet of the host to compare with"
        },
    )
    .remedy(format!("on the host: is Remote Desktop switched on and TermService running? `Get-Service TermService`, `qwinsta`, `Test-NetConnection {} -Port {port}`", case.server_host()))
    .remedy("on the host: does the listener use another port? HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\WinStations\\RDP-Tcp, value PortNumber")
    .remedy("make sure that the address belongs to the host that is meant, not to an old lease or another machine");
    Finding::new(verdict, EndedBy::Server, Mechanism::Rst).fact("rst_ttl", reset.seen.ttl)
}

fn dropped(case: &Case<'_>) -> Option<Finding> {
    let tcp = &case.t.tcp;
    if tcp.handshake.syn_ack.is_some() || matches!(case.close, Close::Fin { .. } | Close::Reset { side: Side::Server, .. }) {
        return None;
    }
    let (no, at) = tcp.handshake.syn?;
    // Only who got the SYN,ACK can acknowledge it, captured or not.
    if (tcp.log.iter()).any(|seen| seen.side == Side::Client && seen.flags.has(TcpFlags::ACK) && seen.ack != 0) {
        return None;
    }
    let last = tcp.log.iter().rev().find(|seen| seen.flags.has(TcpFlags::SYN)).copied()?;
    let waited = case.t.window.last.since(at);
    if tcp.handshake.syns < 2 && waited < LONE_SYN {
        return None;
    }
    // Every stack repeats its SYN within seconds; one that does not has given up itself, or its repetitions were not captured.
    let (confidence, tries) = match tcp.handshake.syns {
        0 | 1 => (Confidence::Possible, format!("one SYN and no more in {} gets", human(waited))),
        // The first repetition comes after a second, and a lost SYN, a slow path or a host that is still looked for is not silence yet.
        2 if waited < LONE_SYN => (Confidence::Possible, format!("2 SYNs in {} get", human(last.at.since(at)))),
        n => (Confidence::Likely, format!("{n} SYNs in {} get", human(last.at.since(at)))),
    };
    let verdict = Verdict::new(
        &SYN_DROPPED,
        confidence,
        Act::Network,
        format!("{} never answers: {tries} neither an answer nor a refusal", case.server_label()),
        case.shows(no, at, format!("the first SYN to TCP {}", case.t.server.port())),
    )
    .because((last.no != no).then(|| {
        let watched = case.t.window.last.since(last.at);
        let until = if watched < Span::millis(1) { "when the capture ends".to_owned() } else { format!("within {}", human(watched)) };
        case.packet(&last, format!("the last of {} SYNs; no answer {until}", tcp.handshake.syns))
    }))
    .or(&HOST_UNREACHABLE, "the host may be switched off or its address unused; `ping` or another port of the host tells a dead host from a filter")
    .or(&ONE_WAY_PATH, "the answers may be lost on the way back; a capture at the host tells")
    .remedy(format!("`Test-NetConnection {} -Port {}` from another network: if that works, a firewall on this way drops the SYN", case.server_host(), case.t.server.port()))
    .remedy("on the host: is the rule group \"Remote Desktop\" enabled in Windows Firewall for this network profile? `Get-NetFirewallRule -DisplayGroup 'Remote Desktop'`")
    .remedy("in a cloud: does the network security group allow TCP 3389 from this address? Prefer a VPN, a bastion or an RD Gateway over opening the port to the world");
    let verdict = match View::of(tcp).is_at(Side::Client) {
        true => verdict,
        false => verdict.remedy("if this was captured on the host itself, its SYNs arrive, and the host drops them: its own firewall, or a listener whose queue is full (Linux: `nstat -az TcpExtListenOverflows`)"),
    };
    Some(Finding::new(verdict, EndedBy::Path, Mechanism::Silence).fact("syns", tcp.handshake.syns))
}
