//! `handshake_timeout`: a side had the word and did not speak, or the path was so slow that the other side lost patience.
//!
//! The acknowledgment of the question tells the two apart: it comes from the kernel after one round trip, the answer from the service.

use crate::capture::{Span, Timestamp};
use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{ABORTED_BY_CLIENT, CAPTURE_INCOMPLETE, GATEWAY_DENIED, HANDSHAKE_TIMEOUT, PATH_LOSS};
use crate::diagnosis::close::{Close, side_ended};
use crate::diagnosis::rules::abort::first_goodbye;
use crate::diagnosis::rules::gateway;
use crate::diagnosis::verdict::{Act, Confidence, Verdict};
use crate::flow::{Marks, Opening, Seen, Side};
use crate::forensics::loss::Rate;
use crate::transcript::hidden::Said;
use crate::transcript::{Phase, Role, SealedKind, Transcript};

/// A side that owes an answer so long, when the other side loses patience, is slow.
const SLOW: Span = Span::secs(5);
/// A server that owes an answer so long when the capture ends may hang, although its client still waits: clients begin to give up by then.
const HANGS: Span = Span::secs(10);
/// A round trip above this is a slow path; satellites need 600 ms.
const SLOW_PATH: Span = Span::millis(1500);
/// On a slow path patience ends no sooner than this.
const PATIENCE: Span = Span::secs(8);
/// From MCS on, each side answers the other at once, and so many questions and answers go before the session at least: TCP, X.224, TLS, and in MCS
/// Connect-Initial, Attach User and a channel each (MS-RDPBCGR section 1.3.1.1).
const EXCHANGES: i64 = 8;
/// Through a gateway its handshake, tunnel, authorisation and channel come before ([MS-TSGU] section 1.3.1.2), and most of the logon is CredSSP.
const EXCHANGES_BEHIND_GATEWAY: i64 = 14;
/// Nobody answers a question in less than this, so a client that never paused as long asked its user nothing.
const PAUSE: Span = Span::secs(2);
/// Loss above this share makes a path unusable for Remote Desktop.
const LOSSY: f64 = 0.08;

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if matches!(case.phase(), Phase::Tcp | Phase::Session) {
        return None;
    }
    let (closer, at) = match case.close {
        Close::Fin { side, at, .. } => (Some(side), at),
        Close::Reset { side, .. } => (Some(side), case.close.at(case.t)?),
        Close::Open => (None, case.t.window.last),
        Close::Silence(_) => return None,
    };
    // A server that answers the client's close_notify closes its end before the client's FIN is there.
    let closer = closer.map(|side| if first_goodbye(case) { Side::Client } else { side });
    let said = last_words(case, at);
    let waited = said.map_or(at.since(case.progress.entered), |(_, seen)| at.since(seen.at));
    // Who spoke last waits for the other, but where a phase begins it is not for the other to begin it.
    let waiting = match said {
        None => Side::Server,
        Some(_) if has_the_word(case) => Side::Server,
        Some((_, seen)) if owes_demand_active(case, seen) => Side::Client,
        Some((_, seen)) => seen.side,
    };
    let Some(closer) = closer else {
        // A client that does not go on may be asking its user. A gateway answers one connection of a tunnel on the other, and waits for its host.
        let hangs = waiting == Side::Client && waited >= HANGS && case.phase() != Phase::Gateway;
        return hangs.then(|| slow_side(case, waiting, said, waited)).flatten();
    };
    if closer == Side::Client && is_mute(case) {
        return None;
    }
    let lasted = at.since(case.t.started());
    slow_path(case, closer, lasted)
        .or_else(|| worn_out(case, closer, lasted))
        .or_else(|| {
            (closer == waiting && waited >= SLOW)
                .then(|| slow_side(case, waiting, said, waited))
                .flatten()
        })
}

/// Whether the last words are the end of licensing, the server's: Demand Active, the server's, too, follows ([MS-RDPBCGR] 1.3.1.1).
fn owes_demand_active(case: &Case<'_>, last: &Seen) -> bool {
    let done = case.progress.hidden.last(|line| matches!(line.said, Said::LicenseDone(_)));
    match case.phase() {
        Phase::Activation => last.no <= done.map_or(last.no, |line| line.frames.last) && last.at <= case.progress.entered,
        Phase::Licensing => done.is_some_and(|line| line.frames.last == last.no),
        _ => false,
    }
}

/// The last segment with something to answer up to this time, and its connection: a tunnel over two connections is asked on the client's half, and
/// answers on this one.
fn last_words<'a>(case: &Case<'a>, at: Timestamp) -> Option<(&'a Transcript, &'a Seen)> {
    let of = |t: &'a Transcript| {
        let is_word = |seen: &&Seen| seen.has_data() && seen.at <= at && !is_goodbye(t, seen);
        t.tcp.log.iter().rfind(is_word).map(|seen| (t, seen))
    };
    let halves = std::iter::once(case.t).chain(gateway::client_half(case));
    halves.filter_map(of).max_by_key(|(_, seen)| seen.no)
}

/// Whether a segment carries a TLS alert and nothing else: who says that it closes waits for nothing.
fn is_goodbye(t: &Transcript, seen: &Seen) -> bool {
    let mut records = t
        .sealed()
        .rev()
        .skip_while(|(moment, _)| moment.frames.last > seen.no)
        .take_while(|(moment, _)| moment.frames.last == seen.no)
        .filter(|(moment, _)| moment.side == seen.side)
        .peekable();
    records.peek().is_some()
        && records.all(|(moment, sealed)| {
            moment.frames.first == seen.no && matches!(sealed.kind, SealedKind::AlertStated | SealedKind::AlertBySize)
        })
}

/// Whether the word is with the client, who begins what comes after the TLS handshake and said nothing since its Finished.
pub(super) fn has_the_word(case: &Case<'_>) -> bool {
    let mut said = case
        .t
        .sealed()
        .filter(|(moment, _)| moment.side == Side::Client)
        .skip_while(|(_, sealed)| sealed.kind != SealedKind::Finished);
    said.next().is_some() && said.all(|(_, sealed)| matches!(sealed.kind, SealedKind::AlertStated | SealedKind::AlertBySize))
}

/// Whether the client, who has the first word, closed without having said one, lost ones included: it waited for nothing.
fn is_mute(case: &Case<'_>) -> bool {
    let client = &case.t.tcp.half.client;
    let fin = client.fin.map(|(_, _, end)| end.wrapping_sub(1));
    let mut resets = case.t.tcp.resets.iter().filter(|reset| reset.seen.side == Side::Client);
    let closed = fin.or_else(|| resets.next().map(|reset| reset.seen.seq));
    client.first_data.is_none() && client.isn.is_some_and(|isn| closed == Some(isn.wrapping_add(1)))
}

fn round_trip(case: &Case<'_>) -> Option<Span> {
    let tcp = &case.t.tcp;
    let of = |side: Side| {
        let measured = tcp.rtt_min[side].map(|(rtt, _)| rtt);
        let handshake = tcp.handshake_rtt()[side];
        match (measured, handshake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    };
    match (of(Side::Client), of(Side::Server)) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    }
}

fn slow_path(case: &Case<'_>, closer: Side, lasted: Span) -> Option<Finding> {
    let rtt = round_trip(case)?;
    let worst = Side::BOTH
        .into_iter()
        .map(|side| (side, Rate::of_data(&case.t.tcp, side)))
        .max_by(|a, b| a.1.surely().total_cmp(&b.1.surely()))?;
    let lossy = worst.1.surely() >= LOSSY || (worst.1.share() >= 0.25 && worst.1.again >= 3);
    // Clients end the whole of a handshake that takes too long, however quick each answer is for this path.
    let exchanges = match case.t.role {
        Role::Gateway => EXCHANGES_BEHIND_GATEWAY,
        _ => EXCHANGES,
    };
    let consumed = is_unattended(case, closer) && lasted >= PATIENCE && rtt.times(exchanges) >= Span(lasted.0 / 2);
    if !consumed && (lasted < PATIENCE.min(rtt.times(3)) || !(rtt >= SLOW_PATH || (lossy && lasted >= Span::secs(3)))) {
        return None;
    }
    let (server_thinks, why) = (
        case.t
            .tcp
            .response
            .server
            .figures()
            .map(|times| Span::micros(i64::try_from(times.min).unwrap_or(0))),
        if rtt >= SLOW_PATH || consumed {
            format!("a round trip takes {}", human(rtt))
        } else {
            format!("packets are lost on it ({}: {})", worst.0, worst.1.words())
        },
    );
    let (first, first_at) = case.t.tcp.handshake.syn_ack.or(case.t.tcp.handshake.syn)?;
    let verdict = Verdict::new(
        &HANDSHAKE_TIMEOUT,
        Confidence::Likely,
        Act::Network,
        format!(
            "the path to {} is too slow: {why}, and the {closer} gave up after {} in the handshake; the server is not to blame",
            case.server_label(),
            human(lasted)
        ),
        case.close_evidence()?,
    )
    .because([case.shows(first, first_at, format!("the handshake's answer; a round trip takes {}", human(rtt)))])
    .because(server_thinks.and_then(|thinks| {
        let answer = case.t.tcp.half.server.first_data?;
        Some(case.packet(&answer, format!("the server's first answer; its quickest came {} after the question, network included", human(thinks))))
    }))
    .because(
        case.t
            .tcp
            .log
            .iter()
            .filter(|seen| seen.marks.has(Marks::RETRANSMISSION))
            .take(3)
            .map(|seen| case.packet(seen, format!("the {} has to send again", seen.side))),
    )
    .or(&ABORTED_BY_CLIENT, "the user may have cancelled for another reason; on this path nobody would have waited long")
    .or(&PATH_LOSS, "if the loss grows the connection dies of it instead")
    .remedy("the VPN or the line is the place to look: compare the round trip with and without it (`pathping`, `Test-NetConnection -TraceRoute`), and look for saturation and bufferbloat")
    .remedy("prefer a VPN or RD Gateway nearer to the user; over lossy lines let UDP through, which Remote Desktop needs to cope with loss");
    Some(
        Finding::new(verdict, side_ended(closer), case.close.mechanism())
            .fact("rtt_ms", format!("{:.1}", rtt.as_secs_f64() * 1e3)),
    )
}

/// Whether the client left where no client asks its user any more, and never paused long enough for a question before: it ran into a limit of its own.
fn is_unattended(case: &Case<'_>, closer: Side) -> bool {
    let machines = matches!(case.phase(), Phase::Mcs | Phase::Licensing | Phase::Activation);
    let path = case.t.tcp.rtt_min[Side::Client].map_or(Span::default(), |(rtt, _)| rtt);
    let longest = case
        .t
        .tcp
        .response
        .client
        .figures()
        .map(|times| Span::micros(i64::try_from(times.max).unwrap_or(i64::MAX)));
    closer == Side::Client
        && machines
        && case.t.tcp.opening == Opening::Handshake
        && longest.is_none_or(|longest| longest <= PAUSE.plus(path))
}

/// A client that had to wait for answers, and again for what was lost, until its time for the handshake was over; how much of it the path took cannot
/// be told.
fn worn_out(case: &Case<'_>, closer: Side, lasted: Span) -> Option<Finding> {
    let again: Vec<&Seen> = case
        .t
        .tcp
        .log
        .iter()
        .filter(|seen| seen.marks.has(Marks::RETRANSMISSION))
        .collect();
    if !is_unattended(case, closer) || lasted < PATIENCE || again.len() < 2 {
        return None;
    }
    let slowest = case
        .t
        .tcp
        .response
        .server
        .figures()
        .map(|times| Span::micros(i64::try_from(times.max).unwrap_or(i64::MAX)))?;
    let verdict = Verdict::new(
        &HANDSHAKE_TIMEOUT,
        Confidence::Possible,
        Act::Network,
        format!(
            "the connection sequence with {} was slow, and the client gave up after {}: packets had to be sent again, and answers took up to {}",
            case.host_label(),
            human(lasted),
            human(slowest)
        ),
        case.close_evidence()?,
    )
    .because(again.iter().take(3).map(|seen| case.packet(seen, format!("the {} has to send again", seen.side))))
    .or(&ABORTED_BY_CLIENT, "the user may have cancelled; from here on the client asks nothing")
    .remedy("look at the path first, for loss and saturation: `pathping`, and the VPN's or the line's own counters")
    .remedy(format!("then at {}: load at this time, and the reach of its domain controllers", case.host_name()));
    Some(Finding::new(verdict, side_ended(closer), case.close.mechanism()))
}

fn slow_side(case: &Case<'_>, waiting: Side, said: Option<(&Transcript, &Seen)>, waited: Span) -> Option<Finding> {
    let slow = waiting.other();
    // What the slow side was told, or what it ended itself and has to go on from.
    let told = said.is_none_or(|(_, seen)| seen.side == waiting);
    let by_gateway = slow == Side::Server && case.t.role == Role::Gateway && case.phase() == Phase::Gateway;
    let question = match (said, case.phase()) {
        (None, _) => "the handshake".to_owned(),
        (Some(_), Phase::X224) => "the Connection Request".to_owned(),
        (Some(_), Phase::Tls) if waiting == Side::Client => "the ClientHello".to_owned(),
        (Some(_), Phase::Tls) => "the Connection Confirm".to_owned(),
        (Some(_), _) if by_gateway => gateway::question(case).to_owned(),
        (Some(_), _) if !told && slow == Side::Client => "the TLS handshake".to_owned(),
        (Some(_), _) if !told => "licensing".to_owned(),
        (Some(_), phase) if slow == Side::Client => format!("the last message in phase {phase}"),
        (Some(_), phase) => format!("its last message in phase {phase}"),
    };
    let alive = said.and_then(|(t, last)| {
        t.tcp.log.iter().find(|seen| {
            let hears = !told || (seen.ack.wrapping_sub(last.end()) as i32) >= 0;
            seen.side == slow && seen.no > last.no && !seen.is_reset() && hears
        })
    });
    // Without an acknowledgment nobody knows whether the question arrived, or whether the path carries an answer. A client that begins nothing
    // was asked nothing.
    if said.is_some() && alive.is_none() && told {
        return None;
    }
    let host = case.host_label();
    let open = matches!(case.close, Close::Open);
    let summary = match slow {
        Side::Server => {
            let (word, end) = match (open, by_gateway) {
                (true, _) => ("the server hangs", "the capture ends while the client still waits"),
                (false, true) => ("the gateway is slow, not the path", "the client gave up"),
                (false, false) => ("the server is slow, not the path", "the client gave up"),
            };
            let what = match (told, open) {
                (true, true) => format!("got {question} and has not answered it"),
                (true, false) => format!("got {question} and did not answer it"),
                (false, true) => format!("is done with {question} and has not sent its Demand Active"),
                (false, false) => format!("was done with {question} and did not send its Demand Active"),
            };
            format!("{word}: {host} {what} in {}; {end}", human(waited))
        }
        Side::Client => format!(
            "the client did not go on after {question}: the server {host} waited {} and closed",
            human(waited)
        ),
    };
    let end = if open {
        Some(case.packet(case.t.tcp.last(), "the last packet of the connection in this capture"))
    } else {
        case.close_evidence()
    };
    // Where one phase ends and the next begins may be told from sizes alone, and whose word it is in a tunnel.
    let veiled = case.progress.inferred && slow == Side::Server && (!told || case.progress.completed(Phase::Gateway));
    let unheard = alive.is_none() && slow == Side::Server;
    let confidence = if open || veiled || unheard {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    let verdict = Verdict::new(
        &HANDSHAKE_TIMEOUT,
        confidence,
        match slow {
            Side::Server if by_gateway => Act::Gateway,
            Side::Server => Act::Server,
            Side::Client => Act::Client,
        },
        summary,
        end?,
    )
    .because(said.map(|(_, seen)| {
        case.packet(
            seen,
            format!("the {}'s last words: {}", seen.side, question.trim_end_matches(',')),
        )
    }))
    .because(
        said.zip(alive.filter(|_| told || slow == Side::Server))
            .map(|((_, last), seen)| {
                let after = human(seen.at.since(last.at));
                let words = if told {
                    format!("the {slow}'s host acknowledges it {after} later, so it arrived; its service says nothing more")
                } else {
                    format!("the {slow}'s host is heard {after} later, so the path carries; its service says nothing more")
                };
                case.packet(seen, words)
            }),
    )
    .because(round_trip(case).and_then(|rtt| {
        let (frame, at) = case.t.tcp.handshake.syn_ack?;
        Some(case.shows(frame, at, format!("the path is quick: a round trip takes {}", human(rtt))))
    }));
    let (other, why) = if open {
        (
            &CAPTURE_INCOMPLETE,
            "the answer may have come after the capture's end: let it run until the client shows its error",
        )
    } else {
        (
            &ABORTED_BY_CLIENT,
            "the user may have cancelled meanwhile; the host owed an answer all the same",
        )
    };
    let verdict = match slow {
        Side::Server if by_gateway => verdict
            .or(other, why)
            .or(
                &GATEWAY_DENIED,
                "a gateway that cannot reach the host says so (E_PROXY_TS_CONNECTFAILED) only after twenty seconds and more: let the next attempt run until the client shows its error",
            )
            .remedy(format!("on {}: does it reach the host that was asked for? Name resolution there, `Test-NetConnection HOST -Port 3389`, and the firewall between them", case.server_host()))
            .remedy("look at its log TerminalServices-Gateway (Operational) at this time; policies are asked of NPS or RADIUS, and of domain controllers, before it answers"),
        Side::Server => verdict
            .or(other, why)
            .remedy(format!("on {}: load, memory and disk at this time, and the reach of its domain controllers and revocation lists: in TLS and CredSSP they are asked before the answer", case.host_name()))
            .remedy("on the host: is TermService hanging? `Get-Service TermService`, event log Microsoft-Windows-RemoteDesktopServices-RdpCoreTS/Operational; restart the service in a maintenance window")
            .remedy("if hundreds of connections arrive from everywhere, a scan keeps the listener busy: put it behind a VPN or RD Gateway"),
        Side::Client => verdict
            .or(&ABORTED_BY_CLIENT, "a credential prompt or certificate question stood open on the client, and nobody answered it")
            .remedy("ask the user: a prompt that stays open longer than the server waits ends like this; dial again and answer within the server's time")
            .remedy("a scanner or monitor that opens connections and says nothing leaves the same picture"),
    };
    Some(
        Finding::new(verdict, case.close.ended_by(), case.close.mechanism())
            .fact("waited_s", format!("{:.1}", waited.as_secs_f64())),
    )
}
