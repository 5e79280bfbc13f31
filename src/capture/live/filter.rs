//! What is wanted in, the kernel's filter out, in the words of pcap-filter(7).

use crate::capture::LinkType;

/// Which packets the kernel is to let through.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// TCP and UDP ports for RDP, besides the usual ones.
    pub ports: Vec<u16>,
    /// Every TCP segment, so that RDP is found on any port.
    pub all_tcp: bool,
    /// A filter of the user's, whose packets are let through as well.
    pub also: Option<String>,
}

/// RDP, Hyper-V's console, HTTPS and HTTP for gateways, the Kerberos proxy among them, RPC over HTTP.
const TCP: [u16; 5] = [3389, 2179, 443, 80, 593];
/// RDP-UDP to the host and to the gateway.
const UDP: [u16; 2] = [3389, 3391];
/// DNS and Kerberos, over both.
const BOTH: [u16; 2] = [53, 88];

impl Wanted {
    /// The filter.
    pub fn filter(&self) -> String {
        let mut terms = Vec::new();
        if self.all_tcp {
            terms.push("tcp".to_owned());
        } else {
            terms.extend(TCP.iter().map(|port| format!("tcp port {port}")));
        }
        terms.extend(UDP.iter().map(|port| format!("udp port {port}")));
        terms.extend(BOTH.iter().chain(&self.ports).map(|port| format!("port {port}")));
        terms.push("icmp or icmp6".to_owned());
        // Ports stand in the first fragment only.
        terms.push("(ip[6:2] & 0x1fff != 0) or ip6 proto 44".to_owned());
        if let Some(also) = &self.also {
            terms.push(format!("({also})"));
        }
        terms.join(" or ")
    }
}

/// The filter for an interface whose packets are of this type: behind VLAN tags, too, where there can be some. On the pseudo-device of
/// Linux the system has taken one tag away, and what it shows of a packet with two is not whole.
pub(super) fn on(link: LinkType, filter: &str) -> String {
    if filter.is_empty() || link != LinkType::ETHERNET {
        return filter.to_owned();
    }
    // `vlan` moves the offsets of everything behind it, the second one by another tag: a provider's tag may stand before the customer's.
    format!("({filter}) or (vlan and ({filter})) or (vlan and ({filter}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_through(wanted: &Wanted, packet: &[u8]) -> bool {
        lets_through_on(LinkType::ETHERNET, wanted, packet)
    }

    fn lets_through_on(link: LinkType, wanted: &Wanted, packet: &[u8]) -> bool {
        let handle = if link == LinkType::RAW { LinkType::RAW_BSD } else { link };
        let dead = pcap::Capture::dead(pcap::Linktype(i32::from(handle.0))).unwrap();
        dead.compile(&on(link, &wanted.filter()), true).unwrap().filter(packet)
    }

    /// An IPv4 packet in an Ethernet frame, behind so many VLAN tags.
    fn ipv4(protocol: u8, fragment: u16, ports: (u16, u16), tags: usize) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        for tag in 0..tags {
            // The outer one is a provider's (IEEE 802.1ad) where there are two.
            bytes.extend(if tag + 1 < tags { [0x88, 0xa8, 0, 9] } else { [0x81, 0, 0, 7] });
        }
        bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 1]);
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.resize(bytes.len() + 16, 0);
        bytes
    }

    #[test]
    fn what_a_verdict_needs_passes_the_kernel_and_the_rest_stays_outside() {
        let wanted = Wanted::default();
        for (protocol, port) in [(6, 3389), (6, 443), (17, 3389), (17, 3391), (17, 53), (6, 88)] {
            for tags in 0..=2 {
                assert!(
                    lets_through(&wanted, &ipv4(protocol, 0, (50_000, port), tags)),
                    "{protocol} {port} behind {tags} tags"
                );
                assert!(lets_through(&wanted, &ipv4(protocol, 0, (port, 50_000), tags)));
            }
        }
        assert!(lets_through(&wanted, &ipv4(1, 0, (0, 0), 0)), "ICMP");
        assert!(lets_through(&wanted, &ipv4(17, 185, (1, 1), 1)), "a fragment");
        for tags in 0..=2 {
            assert!(!lets_through(&wanted, &ipv4(6, 0, (50_000, 8443), tags)));
            assert!(!lets_through(&wanted, &ipv4(17, 0, (50_000, 443), tags)));
        }
    }

    #[test]
    fn every_link_type_lets_through_the_same() {
        let wanted = Wanted::default();
        // What stands before the IP packet on a tunnel, on the pseudo-device in both its versions, on a BSD loopback and on PPP.
        let sll = [0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0];
        let sll2 = [8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0];
        let links: [(LinkType, &[u8]); 5] = [
            (LinkType::RAW, &[]),
            (LinkType::LINUX_SLL, &sll),
            (LinkType::LINUX_SLL2, &sll2),
            (LinkType::NULL, &[2, 0, 0, 0]),
            (LinkType::PPP, &[0xff, 3, 0, 0x21]),
        ];
        for (link, header) in links {
            let on_link = |protocol, port| [header, &ipv4(protocol, 0, (50_000, port), 0)[14..]].concat();
            assert!(lets_through_on(link, &wanted, &on_link(6, 3389)), "{link:?}");
            assert!(lets_through_on(link, &wanted, &on_link(17, 3391)), "{link:?}");
            assert!(!lets_through_on(link, &wanted, &on_link(6, 8443)), "{link:?}");
        }
    }

    #[test]
    fn it_can_be_widened() {
        let other = ipv4(6, 0, (50_000, 13_389), 0);
        let quic = ipv4(17, 0, (50_000, 443), 0);
        let all_tcp = Wanted {
            all_tcp: true,
            ..Wanted::default()
        };
        let port = Wanted {
            ports: vec![13_389],
            also: Some("udp port 443".to_owned()),
            ..Wanted::default()
        };
        assert!(lets_through(&all_tcp, &other) && !lets_through(&all_tcp, &quic));
        assert!(lets_through(&port, &other) && lets_through(&port, &quic));
    }
}
