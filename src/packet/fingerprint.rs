//! The fingerprint of a flow: 64 bits of its addresses, ports and protocol, the same for both directions. Fixed, so that the same
//! capture always takes the same way.

use std::net::{IpAddr, SocketAddr};

const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
const SECOND: u64 = 0xD6E8_FEB8_6659_FD93;
const THIRD: u64 = 0xE703_7ED1_A0B4_28DB;

/// The fingerprint of what passes between two ends.
#[inline]
pub fn between(a: SocketAddr, b: SocketAddr, protocol: u8) -> u64 {
    of_ends(end(a), end(b), protocol)
}

/// One end as a number.
#[inline]
fn end(at: SocketAddr) -> u64 {
    match at.ip() {
        IpAddr::V4(address) => end4(address.to_bits(), at.port()),
        IpAddr::V6(address) => end6(address.to_bits(), at.port()),
    }
}

/// An end with an IPv4 address: nothing is lost, and nothing mixed yet.
#[inline(always)]
pub(super) fn end4(address: u32, port: u16) -> u64 {
    u64::from(address) << 16 | u64::from(port)
}

/// An end with an IPv6 address.
#[inline(always)]
pub(super) fn end6(address: u128, port: u16) -> u64 {
    fold(
        (address >> 64) as u64 ^ FIRST,
        (address as u64 ^ SECOND).wrapping_add(u64::from(port) << 17),
    )
}

/// The fingerprint between two ends in either order.
#[inline(always)]
pub(super) fn of_ends(a: u64, b: u64, protocol: u8) -> u64 {
    let mixed = fold(a.min(b) ^ FIRST, a.max(b) ^ SECOND);
    fold(mixed ^ u64::from(protocol), THIRD)
}

/// One multiplication of 64 by 64 bits, both halves of the product folded into one another.
#[inline(always)]
pub(crate) fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn neighbours_are_told_apart() {
        let mut all = HashSet::new();
        let mut low = HashSet::new();
        for host in 0..64u32 {
            for port in 0..1024u16 {
                for address in [
                    IpAddr::from((host | 0x0A00_0000).to_be_bytes()),
                    Ipv6Addr::from(u128::from(host) << 40).into(),
                ] {
                    let print = between(SocketAddr::new(address, port), "10.1.0.1:443".parse().expect("an address"), 6);
                    low.insert(print & 0xF_FFFF);
                    assert!(all.insert(print));
                }
            }
        }
        // 131 072 thrown into 1 048 576 places meet 8 000 times by chance.
        assert!(low.len() > 122_000, "{}", low.len());
    }
}
