//! `capture_incomplete`: the last resort. Says what is missing and what to capture next.

use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::CAPTURE_INCOMPLETE;
use crate::diagnosis::close::Close;
use crate::diagnosis::rules::timeout::has_the_word;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Evidence, Mechanism, Verdict};
use crate::flow::{Marks, Opening, Side};
use crate::forensics::loss::open_hole;
use crate::transcript::hidden::Said;
use crate::transcript::{Phase, What};

/// The command that captures a connection in full on Windows, without anything to install.
const ON_WINDOWS: &str = "on Windows: `pktmon start --capture --pkt-size 0 --comp nics -f rdp.etl`, reproduce, `pktmon stop`, `pktmon etl2pcap rdp.etl --out rdp.pcapng`";

/// What a side said of the end, where the capture does not show of what it was the end.
fn announcement(case: &Case<'_>) -> Option<Evidence> {
    let said = case.progress.hidden.last(|line| matches!(line.said, Said::Ultimatum(_)))?;
    (!said.text.is_empty()).then(|| case.line(said))
}

/// Finds where a close would be explained by what was not captured. Who closed is seen, and why is not.
pub fn holed(case: &Case<'_>) -> Option<Finding> {
    case.is_blind().then(|| judge(case))
}

/// Always finds: too little is known.
pub fn judge(case: &Case<'_>) -> Finding {
    let t = case.t;
    let last = t.tcp.last();
    let host = case.server_label();
    let gap = t.outer().find(|moment| matches!(moment.what, What::Gap(_)));
    let unseen = Side::BOTH.into_iter().find(|side| t.tcp.half[*side].unseen_at_end() > 0);
    let (why, what_next) = if let Some(seen) = t.only_side() {
        (
            format!(
                "only the {seen}'s packets are in this capture; what the {} answered to {host} was not captured",
                seen.other()
            ),
            "capture where both directions pass: on the client or the server itself, or with a mirror port that copies both directions",
        )
    } else if t.tcp.opening == Opening::MidStream {
        (
            format!(
                "the capture begins in the middle of the connection to {host}, so that its handshake and its logon are missing"
            ),
            "start the capture before the connection is opened",
        )
    } else if let Some(hole) = open_hole(t).filter(|_| matches!(case.close, Close::Open) && unseen.is_none()) {
        (
            format!(
                "the capture ends while the {} of the connection to {host} still waits for {} bytes of the {} that were lost on their way: whether they came is not known",
                hole.sender.other(),
                hole.bytes,
                hole.sender
            ),
            "let the capture run until the client shows its error: lost bytes are repeated within seconds, unless something swallows them",
        )
    } else if (gap.is_some() || unseen.is_some()) && case.phase() != Phase::Session {
        (
            format!("bytes of the handshake with {host} are missing from the capture, just where the answer lies"),
            "capture without a snap length and without loss (a larger buffer, a filter on the host)",
        )
    } else if matches!(case.close, Close::Open) {
        let quiet = t.watched_after();
        let state = if quiet.0 <= 0 {
            "with this connection's last packet".to_owned()
        } else {
            format!("{} after its last packet", human(quiet))
        };
        let turn = if has_the_word(case) {
            "; the client has the word, and may be asking its user about the certificate or for credentials"
        } else {
            ""
        };
        (
            format!(
                "the capture ends {state}, in phase {} of the connection to {host}: nothing has gone wrong up to there{turn}",
                case.phase()
            ),
            "let the capture run until the client shows its error",
        )
    } else {
        (
            format!(
                "what was captured of the connection to {host} does not tell why it ended in phase {}",
                case.phase()
            ),
            "capture at the client and at the server at the same time, from before the connection until after the error",
        )
    };
    let verdict = Verdict::new(
        &CAPTURE_INCOMPLETE,
        Confidence::Possible,
        Act::Nobody,
        why,
        case.packet(last, "the last packet of the connection in this capture"),
    )
    .because(gap.map(|moment| case.moment(moment, "bytes before this frame were not captured")))
    .because(unseen.and_then(|side| {
        let told = t
            .tcp
            .log
            .iter()
            .find(|seen| seen.side != side && seen.marks.has(Marks::ACKS_UNSEEN))?;
        Some(case.packet(told, format!("acknowledges bytes of the {side} that were not captured")))
    }))
    .because(announcement(case))
    .because(case.close_evidence())
    .remedy(what_next)
    .remedy(ON_WINDOWS)
    .remedy(format!(
        "elsewhere: `dumpcap -i <interface> -s 0 -B 64 -w rdp.pcapng -f 'host {} or port 53 or icmp'`",
        t.server.ip()
    ));
    let (ended_by, mechanism) = match case.close {
        Close::Silence(_) if t.only_side().is_some() => (EndedBy::Open, Mechanism::None),
        _ => (case.close.ended_by(), case.close.mechanism()),
    };
    Finding::new(verdict, ended_by, mechanism)
}
