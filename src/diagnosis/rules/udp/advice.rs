//! What to do about UDP: which rule to open where, and the setting that proves it.

use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::Verdict;

/// From here on ports are picked by the system for each use.
const PICKED: u16 = 49_152;

/// The way: firewalls, NAT and the host's own rules.
pub(super) fn open_the_way(case: &UdpCase<'_>, verdict: Verdict) -> Verdict {
    let (client, server, host) = (case.t.client.ip(), case.t.server, case.server_host());
    let port = server.port();
    if case.is_relayed() {
        return prove(verdict.remedy(format!(
            "this RDP-UDP goes through the TURN relay {} (RDP Shortpath for public networks): allow UDP {port} to it from the session host as \
             well as from {client}, and exempt it from inspection on both ways",
            server.ip()
        )));
    }
    if port >= PICKED && !case.is_gateway() {
        return prove(verdict.remedy(format!(
            "port {port} was picked by the session host for this session, as RDP Shortpath for public networks does: both sides need UDP out to \
             any port and the answers back, and no symmetric NAT; where that cannot be, allow UDP 3478 to a TURN relay"
        )));
    }
    let verdict = verdict.remedy(format!(
        "ask the firewall team to allow UDP {port} from {client} to {} and its answers back, as well as TCP: they are two rules",
        server.ip()
    ));
    let verdict = if case.is_gateway() {
        verdict.remedy(format!(
            "on the gateway {host}: is UDP switched on (RD Gateway Manager, Properties, Transport Settings), is UDP {port} open in its \
             firewall, and does a load balancer send it to the same gateway as TCP 443?"
        ))
    } else {
        verdict.remedy(format!(
            "on {host}: `Get-NetFirewallRule -Name 'RemoteDesktop-UserMode-In-UDP'` must be enabled for this profile, and the policy \
             \"Select RDP transport protocols\" must not be \"Use only TCP\""
        ))
    };
    prove(verdict)
}

/// One flow of several to the same port is lost.
pub(super) fn one_flow(case: &UdpCase<'_>, verdict: Verdict) -> Verdict {
    let server = case.t.server;
    prove(verdict.remedy(format!(
        "the rule for UDP {} to {} is open, for the other conversation passes: look for what treats flows one by one, such as a NAT that ran \
         out of ports, a limit of sessions, a load balancer with several ways, or a limit of size that came later",
        server.port(),
        server.ip()
    )))
}

/// Devices that look into UDP.
pub(super) fn bypass(case: &UdpCase<'_>, verdict: Verdict) -> Verdict {
    let port = case.t.server.port();
    verdict.remedy(format!(
        "exempt UDP {port} to {} from inspection, policing and VPN tunnels that cannot carry it whole",
        case.server_host()
    ))
}

/// Every path carries this, and what fits into a frame of Ethernet with the headers of a ping.
const SMALL: u32 = 500;
const ETHERNET: u32 = 1_472;

/// Datagrams above the path's limit.
pub(super) fn size(case: &UdpCase<'_>, verdict: Verdict, largest: u32) -> Verdict {
    // Where only what passes is known, the search begins at the top.
    let largest = if largest < SMALL { ETHERNET } else { largest };
    let verdict = verdict.remedy(format!(
        "find the tunnel or link with the smaller MTU between {} and {}: `ping -f -l {largest} {}` from the client; raise its MTU, or let \
         it fragment or answer with ICMP",
        case.t.client.ip(),
        case.t.server.ip(),
        case.server_host()
    ));
    prove(verdict)
}

/// The setting that forces TCP: a test, since it takes the better transport away for good.
pub(super) fn prove(verdict: Verdict) -> Verdict {
    verdict.test(
        "on the client, as a test: `reg add \"HKLM\\SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services\\Client\" /v fClientDisableUDP \
         /t REG_DWORD /d 1 /f` forces TCP. If the delay or the freezing is gone, UDP is proven; delete the value afterwards",
    )
}
