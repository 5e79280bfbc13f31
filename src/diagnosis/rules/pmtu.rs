//! `pmtu_black_hole`: large packets vanish, small ones pass, and no ICMP says why, or it says so and is not heeded.

use crate::diagnosis::case::{Case, Finding, human};
use crate::diagnosis::causes::{PATH_LOSS, PMTU_BLACK_HOLE};
use crate::diagnosis::close::Close;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::forensics::pmtu::{self, BlackHole};
use crate::transcript::Phase;

/// The maximum packet sizes of usual tunnels, in bytes: PPPoE, GRE and 6in4, VXLAN, IPsec and WireGuard, the floor of IPv6.
const STEPS: &[(u32, &str)] = &[
    (1492, "PPPoE"),
    (1480, "GRE or 6in4"),
    (1450, "VXLAN"),
    (1438, "IPsec"),
    (1420, "WireGuard"),
    (1400, "IPsec or a VPN client"),
    (1380, "IPsec over NAT"),
    (1280, "the floor of IPv6"),
];

/// See the module.
pub fn judge(case: &Case<'_>) -> Option<Finding> {
    if case.phase() == Phase::Tcp {
        return None;
    }
    // Who closes while the other side's packets still vanish has given up; a close after all arrived has another reason.
    if let Close::Fin { .. } = case.close
        && case.phase() == Phase::Session
    {
        return None;
    }
    let hole = pmtu::find(case.t)?;
    Some(finding(case, &hole))
}

fn finding(case: &Case<'_>, hole: &BlackHole) -> Finding {
    let sender = hole.sender;
    let header = if case.t.server.is_ipv4() { 40 } else { 60 };
    // Twelve bytes of timestamps are part of the segment size that is announced.
    let told = hole.icmp.as_ref().and_then(|icmp| icmp.message.mtu);
    let fits = told.unwrap_or(hole.largest_passed.max(if case.t.server.is_ipv4() { 576 } else { 1280 }));
    let mss = fits.saturating_sub(header);
    let step = STEPS
        .iter()
        .find(|(size, _)| hole.smallest_lost.is_none_or(|lost| *size < lost) && *size >= fits)
        .filter(|_| told.is_none());
    let summary = match (hole.smallest_lost, told) {
        (Some(lost), Some(mtu)) => format!(
            "packets above {mtu} bytes from the {sender} do not pass on the way to {}, a router says so, and the {sender} goes on sending {lost} bytes",
            case.server_label()
        ),
        (Some(lost), None) => format!(
            "large packets from the {sender} vanish on the way ({}): {lost} bytes never arrive, {} bytes do, and no ICMP says why",
            case.server_label(),
            hole.largest_passed
        ),
        (None, _) => format!(
            "large packets from the {sender} never arrive ({}): a hole of {} bytes, whole segments of the largest size, stays open while packets up to {} bytes come through",
            case.server_label(),
            hole.hole.unwrap_or(0),
            hole.largest_passed
        ),
    };
    let confidence = match (&hole.ignored_by, hole.smallest_lost) {
        (Some(_), _) => Confidence::Certain,
        (None, Some(_)) => Confidence::Likely,
        (None, None) if hole.lasted >= crate::capture::Span::secs(1) => Confidence::Likely,
        (None, None) => Confidence::Possible,
    };
    let first = match hole.smallest_lost {
        Some(_) => case.packet(
            &hole.first,
            format!("the first packet of {} bytes that is never acknowledged", hole.first.ip_len),
        ),
        None => case.packet(
            &hole.first,
            format!(
                "the first packet behind the hole: {} bytes; {} bytes before it never arrive",
                hole.first.ip_len,
                hole.hole.unwrap_or(0)
            ),
        ),
    };
    let mut verdict = Verdict::new(&PMTU_BLACK_HOLE, confidence, Act::Network, summary, first);
    if let Some(icmp) = &hole.icmp {
        verdict = verdict.because([case.shows(
            icmp.no,
            icmp.at,
            format!(
                "ICMP from {}: packets above {} bytes do not pass",
                icmp.from,
                icmp.message
                    .mtu
                    .map_or("an unsaid number of".to_owned(), |mtu| mtu.to_string())
            ),
        )]);
    }
    if let Some(ignored) = &hole.ignored_by {
        verdict = verdict.because([case.packet(
            ignored,
            format!("sent at {} bytes all the same, after that ICMP", ignored.ip_len),
        )]);
    }
    verdict = verdict.because(hole.copies.iter().map(|copy| {
        case.packet(
            copy,
            format!(
                "repeated {} after the first try, {} bytes",
                human(copy.at.since(hole.first.at)),
                copy.ip_len
            ),
        )
    }));
    if hole.passed.no != hole.first.no {
        verdict = verdict.because([case.packet(
            &hole.passed,
            match (hole.passed.side == sender, hole.passed.no < hole.first.no) {
                (true, true) => format!("{} bytes, sent before, arrived: nothing larger did", hole.passed.ip_len),
                (true, false) => format!("{} bytes, sent later, arrive", hole.passed.ip_len),
                (false, _) => format!("the {}'s packets still arrive", sender.other()),
            },
        )]);
    }
    let mut verdict = verdict
        .or(
            &PATH_LOSS,
            "loss that happens to hit the large packets only, or a filter that drops this content; `ping -f -l` with two sizes tells",
        )
        .remedy(format!(
            "find the size that passes: from the client `ping {} -f -l {}`, then smaller until it is answered; add 28 for the MTU",
            case.server_host(),
            hole.smallest_lost.unwrap_or(1500).saturating_sub(28)
        ))
        .remedy(format!(
            "clamp the TCP MSS to {mss} or less on the tunnel or router at which the size changes (MTU {fits} {}{})",
            match told.is_some() || hole.largest_passed >= fits {
                true => "passes",
                false => "is what every path has to carry",
            },
            step.map_or(String::new(), |(size, name)| format!("; {size} would be usual for {name}"))
        ))
        .remedy("let ICMP type 3 code 4 (IPv6: ICMPv6 type 2) pass on every firewall of the way, and in the host's own firewall");
    verdict = verdict.test(format!(
        "set the MTU by hand on the {sender}: `netsh interface {} set subinterface \"Ethernet\" mtu={fits} store=active`; if Remote Desktop then works, the path MTU is proven",
        if case.t.server.is_ipv4() { "ipv4" } else { "ipv6" }
    ));
    Finding::new(verdict, EndedBy::Path, Mechanism::Silence)
        .fact(
            "lost_size_min",
            hole.smallest_lost.map_or("unknown".to_owned(), |size| size.to_string()),
        )
        .fact("passed_size_max", hole.largest_passed)
        .fact("mss_that_fits", mss)
}
