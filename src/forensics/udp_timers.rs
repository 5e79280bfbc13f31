//! Default times after which devices forget a silent UDP conversation. Every one of them can be set otherwise.

use crate::capture::Span;

/// One device's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpTimer {
    /// Whose.
    pub device: &'static str,
    /// How long a mapping lives without a datagram.
    pub lives: Span,
    /// Where the value stands.
    pub source: &'static str,
}

macro_rules! timers {
    ($($seconds:literal $device:literal $source:literal;)+) => {
        &[$(UdpTimer { device: $device, lives: Span::secs($seconds), source: $source },)+]
    };
}

/// The defaults, shortest first.
pub const UDP_TIMERS: &[UdpTimer] = timers! {
    30 "Linux conntrack, one direction only" "kernel documentation, nf_conntrack_udp_timeout";
    30 "Palo Alto Networks" "PAN-OS administrator's guide, session timeouts";
    30 "Google Cloud NAT" "Cloud NAT documentation, UDP mapping idle timeout";
    30 "SonicWall" "field knowledge: default UDP connection timeout";
    40 "Check Point" "field knowledge: UDP virtual session timeout";
    60 "F5 BIG-IP" "field knowledge: UDP profile, idle timeout";
    60 "Juniper SRX" "field knowledge: junos-udp inactivity timeout";
    60 "pf and pfSense, both directions" "pf.conf(5), udp.multiple";
    120 "Linux conntrack, both directions" "kernel documentation, nf_conntrack_udp_timeout_stream";
    120 "Cisco ASA and FTD" "ASA configuration guide, timeout udp 0:02:00";
    120 "AWS Network Load Balancer" "AWS documentation, UDP flow idle timeout";
    120 "Windows NAT" "field knowledge: Get-NetNat, UdpIdleSessionTimeout";
    180 "FortiGate" "FortiOS administration guide, udp-idle-timer";
    180 "AWS EC2 security groups, streams" "AWS documentation, connection tracking timeouts";
    180 "MikroTik, streams" "field knowledge: udp-stream-timeout";
    240 "Azure NAT Gateway and Load Balancer" "Azure documentation, NAT gateway timers: UDP 4 minutes";
    300 "Cisco IOS NAT" "field knowledge: ip nat translation udp-timeout";
    300 "IPVS (Kubernetes)" "ipvsadm(8), --set";
    350 "AWS NAT gateway" "AWS documentation, NAT gateway idle timeout";
    600 "Google Cloud VPC firewall" "field knowledge: connection tracking";
};

/// A mapping is swept up to this much early, for the clock's sake.
const EARLY: Span = Span::secs(1);

/// The defaults that fit: longer than the longest silence that was survived, not longer than the fatal one; the longest first, since
/// people and programs are seldom silent for much longer than needed.
pub fn fitting(survived: Option<Span>, fatal: Span) -> Vec<&'static UdpTimer> {
    let least = survived.unwrap_or_default();
    let most = Span(fatal.0.saturating_add(EARLY.0));
    UDP_TIMERS
        .iter()
        .rev()
        .filter(|timer| timer.lives > least && timer.lives <= most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_lies_between_what_was_survived_and_what_was_not() {
        let seconds = |survived: Option<i64>, fatal: i64| -> Vec<i64> {
            let mut all: Vec<i64> = fitting(survived.map(Span::secs), Span::secs(fatal))
                .iter()
                .map(|timer| timer.lives.0 / 1_000_000_000)
                .collect();
            all.dedup();
            all
        };
        assert_eq!(seconds(Some(50), 125), [120, 60]);
        assert_eq!(seconds(None, 35), [30]);
        assert_eq!(seconds(Some(20), 25), [] as [i64; 0]);
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(UDP_TIMERS.windows(2).all(|pair| pair[0].lives <= pair[1].lives));
    }
}
