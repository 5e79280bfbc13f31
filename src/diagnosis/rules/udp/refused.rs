//! `gateway_denied`, `dtls_failed`: DTLS or TLS stands, and inside it the other side says no to the channel. Only keys show it.
//!
//! A gateway answers the client's CONNECT_PKT, which carries the cookie that the channel's answer brought over HTTPS (MS-TSGU 2.2.11.4); a
//! host answers the tunnel's request, which carries the cookie of the multitransport request (MS-RDPEMT 2.2.2.2).

use crate::codes;
use crate::diagnosis::case::Finding;
use crate::diagnosis::causes::{DTLS_FAILED, GATEWAY_DENIED};
use crate::diagnosis::rules::udp::advice;
use crate::diagnosis::udp_case::UdpCase;
use crate::diagnosis::verdict::{Act, Confidence, EndedBy, Mechanism, Verdict};
use crate::transcript::moment::Multitransport;
use crate::transcript::{GatewaySays, Pdu, What};

/// HRESULTs from here on are errors.
const FAILED: u32 = 0x8000_0000;

/// See the module.
pub fn judge(case: &UdpCase<'_>) -> Option<Finding> {
    let (moment, code, of_gateway) = case.t.heard.moments.iter().find_map(|moment| match &moment.what {
        What::Gateway(says) => match **says {
            GatewaySays::SideResult(code) if code != 0 => Some((moment, code, true)),
            _ => None,
        },
        What::Pdu(pdu) => match **pdu {
            Pdu::Multitransport(Multitransport::TunnelResponse(code)) if code >= FAILED => Some((moment, code, false)),
            _ => None,
        },
        _ => None,
    })?;
    let known = codes::lookup(&codes::GATEWAY, code).filter(|_| of_gateway);
    let name = known.map_or_else(|| format!("0x{code:08X}"), |known| format!("{} (0x{code:08X})", known.name));
    let (cause, act, what) = match of_gateway {
        true => (&GATEWAY_DENIED, Act::Gateway, "the gateway refuses the UDP side channel"),
        false => (&DTLS_FAILED, Act::Server, "the host refuses the tunnel over UDP"),
    };
    let verdict = Verdict::new(
        cause,
        Confidence::Certain,
        act,
        case.summary(format!("{what} on {}: {name}", case.server_label())),
        case.moment(moment, format!("the answer to the client's request for the channel: {name}")),
    );
    let verdict = case.with_story(verdict).remedy(if of_gateway {
        "the cookie of the HTTPS channel must reach the gateway that issued it: a load balancer has to send UDP 3391 and TCP 443 of a client to \
         the same one"
    } else {
        "the cookie of the multitransport request must reach the host that sent it: a load balancer has to send UDP and TCP of a client to the \
         same one"
    });
    Some(Finding::new(advice::prove(verdict), EndedBy::Server, Mechanism::Refusal))
}
