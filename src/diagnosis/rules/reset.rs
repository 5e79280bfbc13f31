//! `middlebox_reset`, `idle_timeout_reset`, `peer_reset`: who made the RST that ended the connection.
//!
//! A device on the path writes another host's address, but not its habits. What it cannot know or cannot do (the count of
//! identifications, the clock of timestamps, the way the packets take, the time that light needs) gives it away. Where the packets do
//! not tell, the likelier cause stands as `possible` beside its rival.

use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{IDLE_TIMEOUT_RESET, MIDDLEBOX_RESET, NAT_MAPPING_LOST, PEER_RESET};
use crate::diagnosis::close::{Close, side_ended};
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::flow::{Reset, Seen, Side};
use crate::forensics::reset::{Manner, place};
use crate::forensics::timers::{self, Idle, Kind};
use crate::forensics::{Attribution, Maker, View};
use crate::packet::TcpFlags;
use crate::transcript::{Phase, Vantage};

/// From this silence on a timer is worth looking for where it matches none of the table.
const LONG: crate::capture::Span = crate::capture::Span::secs(60);
/// No timer is shorter.
const SHORTEST: crate::capture::Span = crate::capture::Span::secs(4);
/// Packets that had left before a RST pass it by so much at most.
const UNDER_WAY: crate::capture::Span = crate::capture::Span::millis(50);
/// How many signs are cited.
const CITED: usize = 6;

/// A reset that a device on the path made.
pub fn by_device(case: &Case<'_>) -> Option<Finding> {
    let reset = taken(case)?;
    let found = case.attribution(reset);
    if found.maker != Maker::Middlebox {
        return None;
    }
    let idle = idle(case, reset, &found);
    match idle.filter(|idle| is_timer(case, &found, idle)) {
        Some(idle) => Some(timer_finding(case, reset, &found, &idle)),
        None => Some(device_finding(case, reset, &found)),
    }
}

/// A reset that rather a device made than the side whose name it bears, though it cannot be told; and, in a session, one in the client's
/// name that is not how clients leave.
pub fn odd(case: &Case<'_>) -> Option<Finding> {
    let reset = taken(case)?;
    let found = case.attribution(reset);
    let leaves_oddly = case.phase() == Phase::Session && had_no_socket(reset, &found);
    if let Some(later) = goes_on(case, reset).filter(|_| found.score <= 0.0) {
        return Some(not_the_socket(case, reset, &found, later));
    }
    match found.maker {
        Maker::CannotTell if found.score >= LEANING => Some(peer_finding(case, reset, &found)),
        _ if leaves_oddly && found.score <= 0.0 => {
            let mut finding = peer_finding(case, reset, &found);
            finding.verdict.confidence = finding.verdict.confidence.min(Confidence::Possible);
            finding.verdict.summary = format!(
                "the client's socket was already gone when the server's data came: its host answered with a RST; what ended it there cannot be seen here ({})",
                case.server_label()
            );
            Some(finding)
        }
        _ => None,
    }
}

/// What the client's socket sends after a RST without ACK in its name: whoever closes sends no more, and its RST would have been its last word.
fn goes_on<'t>(case: &Case<'t>, reset: &Reset) -> Option<&'t Seen> {
    let bare = reset.seen.side == Side::Client && !reset.seen.flags.has(TcpFlags::ACK) && case.t.tcp.half.client.fin.is_none();
    let mut later = case.t.tcp.log.iter().filter(|seen| {
        seen.side == Side::Client && seen.no > reset.seen.no && !seen.is_reset() && seen.at.since(reset.seen.at) > UNDER_WAY
    });
    later.next().filter(|_| bare)
}

/// A RST in the client's name that its socket knows nothing of, where no sign speaks for a device on the path.
fn not_the_socket(case: &Case<'_>, reset: &Reset, found: &Attribution, later: &Seen) -> Finding {
    let mut finding = peer_finding(case, reset, found);
    let here = View::of(&case.t.tcp).is_at(Side::Client);
    finding.verdict.confidence = if here { Confidence::Likely } else { Confidence::Possible };
    finding.verdict.summary = format!(
        "a RST in the client's name ended the connection to {}, and the client's socket did not send it: it goes on {} later; a packet filter or security agent of the client's host{} did",
        case.server_label(),
        human(later.at.since(reset.seen.at)),
        if here { "" } else { ", or a device beside it," }
    );
    finding.verdict = finding
        .verdict
        .because([case.packet(later, "the client's socket goes on after the RST in its name")]);
    finding.verdict.alternatives.retain(|one| one.cause == &MIDDLEBOX_RESET);
    finding.verdict.remedies = Vec::new();
    finding.verdict = finding
        .verdict
        .remedy(format!(
            "on the client {}: which firewall, VPN client or security agent began to reject connections to TCP {} at this time? Its log names the rule",
            case.t.client.ip(),
            case.t.server.port()
        ))
        .remedy("let that filter pass what belongs to connections that are already open, and Remote Desktop to this host");
    finding
}

/// Whether the client's host answers data of the server without a socket. Clients leave with FIN or RST,ACK: something else closed it
/// before.
pub(super) fn had_no_socket(reset: &Reset, found: &Attribution) -> bool {
    reset.seen.side == Side::Client && found.manner == Manner::NoSocket && reset.trigger.is_some_and(|trigger| trigger.len > 0)
}

/// A RST of the server without ACK, where it had not closed before: whoever sent it keeps no state of the connection. A process that closes with
/// data unread sends RST,ACK. Said as evidence.
pub(super) fn without_state(case: &Case<'_>) -> Option<crate::diagnosis::Evidence> {
    let reset = case.close.reset(case.t)?;
    let stateless = reset.seen.side == Side::Server
        && !reset.seen.flags.has(TcpFlags::ACK)
        && reset.trigger.is_some()
        && case.t.tcp.half.server.fin.is_none();
    stateless.then(|| {
        case.packet(
            &reset.seen,
            "the RST bears no ACK: its sender knows no such connection. Another machine of the same address, a virtual address that moved, or a \
             rule that rejects with RST, on the host or right before it, sends such; a process that closes sends RST,ACK",
        )
    })
}

/// From so many decibans on (two to one) the benefit of the doubt is no longer the host's.
const LEANING: f32 = 3.0;

/// The last resort for a reset: the peer's own, or not to be told.
pub fn by_peer(case: &Case<'_>) -> Option<Finding> {
    let reset = taken(case)?;
    let found = case.attribution(reset);
    // A client that resets leaves; why is for other rules to say.
    if reset.seen.side == Side::Client && found.maker != Maker::CannotTell {
        return None;
    }
    Some(peer_finding(case, reset, &found))
}

/// The reset that ended the connection after the three-way handshake; what answers a SYN is told elsewhere.
fn taken<'t>(case: &Case<'t>) -> Option<&'t Reset> {
    if case.phase() == Phase::Tcp {
        return None;
    }
    match case.close {
        Close::Reset { .. } => case.close.reset(case.t),
        _ => None,
    }
}

/// The silence that came before: before the packet that the reset answers, or before the reset itself.
pub(super) fn idle(case: &Case<'_>, reset: &Reset, found: &Attribution) -> Option<Idle> {
    let broken_by = found.trigger.map_or(reset.seen, |trigger| trigger.seen);
    Idle::before(&case.t.tcp, &broken_by)
}

/// Whether the silence is why: a known timer's time when nothing was said, or longer than anything that was survived.
pub(super) fn is_timer(case: &Case<'_>, found: &Attribution, idle: &Idle) -> bool {
    // Where one side alone was captured, the packet that the RST answers may be the other's, and the silence a pause that it broke.
    let shortest = if case.t.only_side().is_some() { LONG } else { SHORTEST };
    if idle.any < shortest {
        return false;
    }
    let outlasted = idle.survived.is_none_or(|survived| idle.any > survived);
    let handshake = case.phase() != Phase::Session;
    let known = timers::striking(idle.any).any(|timer| handshake || timer.kind == Kind::Idle);
    match found.manner {
        Manner::Expired => outlasted && (idle.any >= LONG || known),
        _ => outlasted && (idle.any >= LONG || (known && !handshake)),
    }
}

/// Nobody says in clear who made a RST: what is measured is likely at most. Where one direction was not captured, what the RST answers is not known,
/// nor whether its numbers fit that; one that came the host's own way may be its packet filter's.
fn confidence(case: &Case<'_>, found: &Attribution) -> Confidence {
    let own_way = found.distance.peer_hops == Some(found.distance.hops);
    match found.maker {
        Maker::CannotTell => Confidence::Possible,
        _ if own_way && case.t.only_side().is_some() => Confidence::Possible,
        _ => Confidence::Likely,
    }
}

pub(super) fn device_finding(case: &Case<'_>, reset: &Reset, found: &Attribution) -> Finding {
    let side = reset.seen.side;
    let host = case.server_label();
    let view = View::of(&case.t.tcp);
    let where_made = place(&found.distance, &view, side);
    let how = match found.manner {
        Manner::Injected => format!(", while the {side} itself went on"),
        Manner::Proxy => ", and it is one that answers in the host's place (proxy or load balancer)".to_owned(),
        _ => String::new(),
    };
    let verdict = Verdict::new(
        &MIDDLEBOX_RESET,
        confidence(case, found),
        Act::Network,
        format!("a device on the path reset the connection to {host} in the {side}'s name{how}; it stands {where_made}"),
        case.packet(&reset.seen, format!("RST in the {side}'s name ends the connection")),
    )
    .because(case.signs(found, true).take(CITED));
    let verdict = trigger_evidence(case, found, verdict);
    let verdict = with_missing(verdict, found)
        .or(
            &PEER_RESET,
            format!(
                "the {side} itself: {} % likely by these signs; a capture at the {side} shows whether the RST ever left it",
                percent(1.0 - found.probability())
            ),
        )
        .remedy(format!(
            "ask the firewall team which device {} resets {} to TCP {} at this time; its log of that second names the rule or signature",
            hop_words(found, &view),
            case.t.client.ip(),
            case.t.server.port()
        ))
        .remedy(format!(
            "let that device pass RDP and TLS on TCP {} for this pair (intrusion prevention, application control, TLS inspection and connection limits are the usual rules)",
            case.t.server.port()
        ))
        .remedy(format!(
            "to prove it: capture at the {side} at the same time; a RST that arrives here and never left there was made in between"
        ));
    figures(Finding::new(verdict, EndedBy::Middlebox, Mechanism::Rst), reset, found)
}

pub(super) fn timer_finding(case: &Case<'_>, reset: &Reset, found: &Attribution, idle: &Idle) -> Finding {
    let side = reset.seen.side;
    let view = View::of(&case.t.tcp);
    let unasked = found.manner == Manner::Expired || found.trigger.is_none();
    let gap = human(idle.any);
    let what = if case.phase() == Phase::Session {
        "session"
    } else {
        "handshake"
    };
    let summary = if unasked {
        format!(
            "a device on the path reset the {what} with {} after {gap} of silence: its timer ran out",
            case.server_label()
        )
    } else {
        format!(
            "a device on the path no longer knew the {what} with {} after {gap} of silence and reset the next packet",
            case.server_label()
        )
    };
    let verdict = Verdict::new(
        &IDLE_TIMEOUT_RESET,
        confidence(case, found),
        Act::Network,
        summary,
        case.packet(
            &reset.seen,
            format!("RST in the {side}'s name, made {}", place(&found.distance, &view, side)),
        ),
    )
    .because([silence_evidence(case, idle)])
    .because(case.signs(found, true).take(CITED));
    let verdict = trigger_evidence(case, found, verdict);
    let verdict = with_timers(case, verdict, idle, unasked);
    let verdict = with_missing(verdict, found).or(
        &PEER_RESET,
        format!(
            "the {side} itself with an idle limit of its own: {} % likely by these signs; its log tells",
            percent(1.0 - found.probability())
        ),
    );
    figures(Finding::new(verdict, EndedBy::Middlebox, Mechanism::Rst), reset, found).fact("idle_s", seconds(idle))
}

pub(super) fn peer_finding(case: &Case<'_>, reset: &Reset, found: &Attribution) -> Finding {
    let side = reset.seen.side;
    let host = case.server_label();
    let told = found.maker == Maker::Peer;
    let how = match found.manner {
        Manner::NoSocket => {
            "answered with the RST of a host that knows no such connection (its process or the host was restarted, or a device lost the connection)"
        }
        _ => "aborted the connection by its own TCP stack (the process ended, or closed with unread data)",
    };
    let leaning_device = !told && found.score > 0.0;
    if leaning_device {
        let view = View::of(&case.t.tcp);
        let verdict = Verdict::new(
            &MIDDLEBOX_RESET,
            Confidence::Possible,
            Act::Network,
            format!(
                "a RST in the {side}'s name ended the connection to {host}; whether the {side} or a device on the path made it cannot be told, a device is likelier ({} %)",
                percent(found.probability())
            ),
            case.packet(&reset.seen, format!("RST in the {side}'s name, {}", place(&found.distance, &view, side))),
        )
        .because(case.signs(found, true).take(CITED));
        let verdict = with_missing(verdict, found)
            .or(
                &PEER_RESET,
                format!("the {side}'s own stack; a capture at the {side} shows whether the RST left it"),
            )
            .remedy(format!(
                "capture at the {side} at the same time and look for this RST: if it never left there, a device between made it"
            ));
        return figures(Finding::new(verdict, EndedBy::Middlebox, Mechanism::Rst), reset, found);
    }
    let verdict = Verdict::new(
        &PEER_RESET,
        if told { Confidence::Likely } else { Confidence::Possible },
        if side == Side::Server { Act::Server } else { Act::Client },
        if told {
            format!("the {side} {how}: {host}")
        } else {
            match percent(1.0 - found.probability()) {
                likely @ 60.. => format!("a RST in the {side}'s name ended the connection to {host}; that the {side} made it is likelier ({likely} %), but a device on the path cannot be ruled out"),
                _ => format!("a RST in the {side}'s name ended the connection to {host}; whether the {side}'s host or something beside it made it cannot be told from here"),
            }
        },
        case.packet(&reset.seen, format!("RST in the {side}'s name ends the connection")),
    )
    .because(case.signs(found, false).take(CITED));
    let verdict = with_missing(verdict, found).or(
        &MIDDLEBOX_RESET,
        match found.manner {
            Manner::LocalHost => format!(
                "none on the path: the RST left the {side}'s own host; a filter driver or security agent on it looks the same"
            ),
            _ => format!(
                "a device beside the {side} or a filter on it looks the same from here: {} % likely by these signs",
                percent(found.probability())
            ),
        },
    );
    let verdict = match found.manner {
        Manner::NoSocket => verdict
            .or(&NAT_MAPPING_LOST, "a NAT or load balancer that sends the connection elsewhere since a moment leaves the same RST; the host's own uptime and other connections to it tell")
            .remedy(format!("on {}: did the host or TermService restart at this time? `Get-WinEvent -LogName System -MaxEvents 200 | ? Id -in 6005,6006,6008,7031,7034`", case.server_host()))
            .remedy("behind a load balancer: switch session affinity on, and do not rebalance established connections"),
        _ => verdict
            .remedy(format!("on {}: the event logs of this second: Microsoft-Windows-TerminalServices-LocalSessionManager/Operational, RemoteDesktopServices-RdpCoreTS/Operational, and Application for a crash of svchost or TermService", case.server_host()))
            .remedy("a security agent on the host that ends connections logs it there"),
    };
    figures(Finding::new(verdict, side_ended(side), Mechanism::Rst), reset, found)
}

fn percent(probability: f32) -> i32 {
    (probability * 100.0).round() as i32
}

pub(super) fn seconds(idle: &Idle) -> String {
    format!("{:.1}", idle.any.as_secs_f64())
}

fn hop_words(found: &Attribution, view: &View) -> String {
    let from = match view.vantage {
        Vantage::Client => "from the client",
        Vantage::Server => "from the server",
        Vantage::Between | Vantage::Unknown => "from where this was captured",
    };
    match found.distance.hops {
        _ if !found.distance.is_told() => "on the way".to_owned(),
        0 => format!("on the very next link {from}"),
        1 => format!("one router {from}"),
        hops => format!("{hops} routers {from}"),
    }
}

fn trigger_evidence(case: &Case<'_>, found: &Attribution, verdict: Verdict) -> Verdict {
    match found.trigger {
        Some(trigger) if trigger.bound => verdict.because([case.packet(
            &trigger.seen,
            format!(
                "the {}'s packet that the RST answers {} later",
                trigger.seen.side,
                human(trigger.took)
            ),
        )]),
        _ => verdict,
    }
}

/// What was not measured is said, so that nobody takes it for measured and found in order.
fn with_missing(mut verdict: Verdict, found: &Attribution) -> Verdict {
    if !found.missing.is_empty()
        && let Some(first) = verdict.evidence.first_mut()
    {
        first
            .text
            .push_str(&format!(" (not available: {})", found.missing.join("; ")));
    }
    verdict
}

pub(super) fn silence_evidence(case: &Case<'_>, idle: &Idle) -> crate::diagnosis::Evidence {
    let of = |side: Side| match idle.of[side] {
        Some(span) => format!("{} since the {side}'s last packet", human(span)),
        None => format!("no packet of the {side} before"),
    };
    let keep_alives = match idle.keep_alives {
        0 => "no keep-alive was seen".to_owned(),
        n => format!("{n} keep-alives were seen"),
    };
    let payload = idle
        .payload
        .map_or(String::new(), |span| format!(", {} since the last payload", human(span)));
    case.packet(
        &idle.after,
        format!(
            "the last packet before {} of silence ({}, {}{payload}; {keep_alives})",
            human(idle.any),
            of(Side::Client),
            of(Side::Server)
        ),
    )
}

/// Names the timers that fit, and gives the advice with this connection's numbers.
pub(super) fn with_timers(case: &Case<'_>, verdict: Verdict, idle: &Idle, unasked: bool) -> Verdict {
    let fitting: Vec<&timers::Timer> = if unasked {
        timers::striking(idle.any).collect()
    } else {
        timers::within(idle.survived, idle.any)
    };
    let names: Vec<String> = fitting
        .iter()
        .take(3)
        .map(|timer| format!("{} ({} s)", timer.device, timer.seconds))
        .collect();
    let survived = idle
        .survived
        .map_or("no shorter silence was seen to be survived".to_owned(), |span| {
            format!("{} were survived", human(span))
        });
    let bracket = if unasked {
        format!("the timer is {} or just below", human(idle.any))
    } else {
        format!("the timer is at most {}; {survived}", human(idle.any))
    };
    let known = if names.is_empty() {
        "it is none of the known defaults, so somebody has set it".to_owned()
    } else {
        format!("known timers that fit: {}", names.join(", "))
    };
    // Half of the shorter bound, in whole minutes as the policy counts, and never less than one.
    let bound = fitting.first().map_or(idle.any.as_secs_f64(), |timer| timer.seconds as f64);
    let minutes = ((bound / 60.0 / 2.0).floor() as i64).max(1);
    let mut verdict = verdict.remedy(format!(
        "keep the session from falling silent: on the host set the policy \"Configure keep-alive connection interval\" (KeepAliveEnable 1, KeepAliveInterval {minutes} minute{}), Computer Configuration, Remote Desktop Services, Connections",
        if minutes == 1 { "" } else { "s" }
    ));
    if bound <= 120.0 {
        verdict = verdict.remedy(
            "the policy counts whole minutes: for a shorter timer use TCP keep-alives on the client or the host (KeepAliveTime in HKLM\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters, in milliseconds)",
        );
    }
    verdict = verdict.remedy(format!(
        "or raise the device's idle timeout for TCP {} above the longest pause of your users ({bracket}; {known})",
        case.t.server.port()
    ));
    if let Some(timer) = fitting.first() {
        verdict = verdict.remedy(format!("where the device is {}: {}", timer.device, timer.raise));
    }
    verdict
}

fn figures(finding: Finding, reset: &Reset, found: &Attribution) -> Finding {
    let mut finding = finding
        .fact("rst_ttl", reset.seen.ttl)
        .fact("rst_hops", found.distance.hops)
        .fact("middlebox_probability", format!("{:.2}", found.probability()))
        .fact("middlebox_db", format!("{:.1}", found.score));
    if let Some(hops) = found.distance.peer_hops {
        finding = finding.fact("peer_hops", hops);
    }
    finding
}
