//! Endpoints in, Community ID version 1 out: the flow hash by which other monitors name the same conversation.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The IP protocol number of TCP.
pub const TCP: u8 = 6;
/// The IP protocol number of UDP.
pub const UDP: u8 = 17;

/// The Community ID of a TCP or UDP conversation, the same from either direction. `seed` is 0 unless a site sets its own.
///
/// [Community ID specification](https://github.com/corelight/community-id-spec): SHA-1 over seed, the smaller endpoint's
/// address, the larger one's, protocol, a zero byte and both ports, all in network byte order.
pub fn community_id(protocol: u8, a: SocketAddr, b: SocketAddr, seed: u16) -> String {
    let (low, high) = if key(a) <= key(b) { (a, b) } else { (b, a) };
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    hash.update(octets(low.ip()));
    hash.update(octets(high.ip()));
    hash.update([protocol, 0]);
    hash.update(low.port().to_be_bytes());
    hash.update(high.port().to_be_bytes());
    format!("1:{}", STANDARD.encode(hash.finalize()))
}

fn key(endpoint: SocketAddr) -> (Vec<u8>, u16) {
    (octets(endpoint.ip()), endpoint.port())
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values published with the specification (baseline files for seeds 0 and 1) and by other implementations.
    #[test]
    fn agrees_with_the_published_baseline() {
        for (protocol, a, b, seed, id) in [
            (
                TCP,
                "128.232.110.120:34855",
                "66.35.250.204:80",
                0,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                TCP,
                "66.35.250.204:80",
                "128.232.110.120:34855",
                0,
                "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            ),
            (
                TCP,
                "128.232.110.120:34855",
                "66.35.250.204:80",
                1,
                "1:3V71V58M3Ksw/yuFALMcW0LAHvc=",
            ),
            (
                TCP,
                "128.232.110.120:34855",
                "66.35.250.204:80",
                123,
                "1:hTSGlFQnR58UCk+NfKRZzA32dPg=",
            ),
            (
                TCP,
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                0,
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
            (TCP, "10.0.0.1:10", "10.0.0.2:11569", 0, "1:SXBGMX1lBOwhhoDrZynfROxnhnM="),
            (UDP, "192.168.1.52:54585", "8.8.8.8:53", 0, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (UDP, "192.168.1.52:54585", "8.8.8.8:53", 1, "1:Q9We8WO3piVF8yEQBNJF4uiSVrI="),
        ] {
            assert_eq!(
                community_id(protocol, a.parse().unwrap(), b.parse().unwrap(), seed),
                id,
                "{a} {b} {seed}"
            );
        }
    }

    #[test]
    fn both_directions_of_an_ipv6_flow_agree() {
        let (a, b) = ("[2001:db8::1]:50000".parse().unwrap(), "[2001:db8::2]:3389".parse().unwrap());
        assert_eq!(community_id(TCP, a, b, 0), community_id(TCP, b, a, 0));
        assert_ne!(community_id(TCP, a, b, 0), community_id(UDP, a, b, 0));
    }

    #[test]
    fn between_two_ports_of_one_address_the_lower_port_comes_first() {
        let (a, b) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:3389".parse().unwrap());
        assert_eq!(community_id(TCP, a, b, 0), community_id(TCP, b, a, 0));
    }
}
