//! Prefix-preserving pseudonyms for addresses (Crypto-PAn: Xu, Fan, Ammar, Moon 2002), and hardware addresses that keep their vendor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// How many addresses are remembered; beyond, they are worked out anew each time.
const REMEMBERED: usize = 1 << 16;

/// Maps addresses.
pub(super) struct Addresses {
    cipher: Aes128,
    pad: u128,
    known: RefCell<BTreeMap<IpAddr, IpAddr>>,
    hardware: RefCell<BTreeMap<[u8; 6], [u8; 6]>>,
}

impl std::fmt::Debug for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of every log.
        f.debug_struct("Addresses").finish_non_exhaustive()
    }
}

impl Addresses {
    /// A mapping under the first 16 bytes of the key; the other 16 make the padding.
    pub(super) fn new(key: &[u8; 32]) -> Addresses {
        let (cipher, pad) = key.split_at(16);
        let mut halves = [[0; 16]; 2];
        halves[0].copy_from_slice(cipher);
        halves[1].copy_from_slice(pad);
        let cipher = Aes128::new(&halves[0].into());
        let pad = u128::from_be_bytes(encrypt(&cipher, halves[1]));
        Addresses {
            cipher,
            pad,
            known: RefCell::default(),
            hardware: RefCell::default(),
        }
    }

    /// The pseudonym of an address.
    pub(super) fn of(&self, address: IpAddr) -> IpAddr {
        if let Some(known) = self.known.borrow().get(&address) {
            return *known;
        }
        let pseudonym = match address {
            IpAddr::V4(v4) => IpAddr::V4(self.v4(v4)),
            IpAddr::V6(v6) => IpAddr::V6(self.v6(v6)),
        };
        let mut known = self.known.borrow_mut();
        if known.len() < REMEMBERED {
            known.insert(address, pseudonym);
        }
        pseudonym
    }

    /// See [`of`](Self::of). Special ranges map into themselves, and nothing else maps into them.
    pub(super) fn v4(&self, address: Ipv4Addr) -> Ipv4Addr {
        let kept = kept_v4(address);
        let mut bits = address.to_bits();
        // Walking on along the permutation keeps it one.
        for _ in 0..64 {
            bits = (self.prefix_preserving(u128::from(bits) << 96, kept, 32) >> 96) as u32;
            if kept_v4(Ipv4Addr::from_bits(bits)) == kept {
                break;
            }
        }
        Ipv4Addr::from_bits(bits)
    }

    /// See [`of`](Self::of).
    pub(super) fn v6(&self, address: Ipv6Addr) -> Ipv6Addr {
        let bits = address.to_bits();
        if let Some(v4) = address.to_ipv4_mapped() {
            return self.v4(v4).to_ipv6_mapped();
        }
        let kept = match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => 128,
            // NAT64 (RFC 6052) holds an IPv4 address.
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
                let v4 = self.v4(Ipv4Addr::from_bits(bits as u32));
                return Ipv6Addr::from_bits(bits >> 32 << 32 | u128::from(v4.to_bits()));
            }
            // Solicited-node multicast holds the end of an address.
            [0xff02, 0, 0, 0, 0, 1, high, _] if high >> 8 == 0xff => 104,
            // A prefix of a network is a part of the address (RFC 3306).
            [0xff30..=0xff3f, ..] => 32,
            [0xff00..=0xffff, ..] => 128,
            [0xfe80..=0xfebf, ..] => 64,
            [0xfc00..=0xfdff, ..] => 8,
            _ => 3,
        };
        Ipv6Addr::from_bits(self.prefix_preserving(bits, kept, 128))
    }

    /// Flips each bit after the first `kept` ones of `width` depending on the bits before it.
    fn prefix_preserving(&self, bits: u128, kept: u32, width: u32) -> u128 {
        let mut flips = 0u128;
        for at in kept..width {
            let mask = if at == 0 { 0 } else { u128::MAX << (128 - at) };
            let block = (bits & mask) | (self.pad & !mask);
            let out = encrypt(&self.cipher, block.to_be_bytes());
            flips |= u128::from(out[0] >> 7) << (127 - at);
        }
        bits ^ flips
    }

    /// The pseudonym of a hardware address: its vendor is kept where it has one; group addresses are no names, but for those that
    /// hold a part of a host's address.
    pub(super) fn hardware(&self, address: [u8; 6]) -> [u8; 6] {
        const LOCAL: u8 = 2;
        let [a, b, c, d, e, f] = address;
        match address {
            [0x33, 0x33, 0xff, ..] => {
                // Of solicited-node multicast (RFC 2464 section 7).
                let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(d), u16::from(e) << 8 | u16::from(f));
                let [.., d, e, f] = self.v6(group).octets();
                return [a, b, c, d, e, f];
            }
            [0 | 0xff, b, c, ..] if [b, c, d, e, f].iter().all(|byte| *byte == a) => return address,
            // Groups that are not of a cluster (03-bf and the cluster's IPv4 address; 01-00-5e-7f and the end of it).
            [0x01, 0, 0x5e, 0x7f, ..] => {}
            [0x33, 0x33, ..] => return address,
            [a, ..] if a & 1 == 1 && a & LOCAL == 0 => return address,
            _ => {}
        }
        if let Some(known) = self.hardware.borrow().get(&address) {
            return *known;
        }
        if a & LOCAL != 0 {
            return self.local(address);
        }
        // Four rounds of a Feistel network over the last 24 bits: no two become one.
        let (mut left, mut right) = (
            (u16::from(d) << 4) | u16::from(e >> 4),
            (u16::from(e & 15) << 8) | u16::from(f),
        );
        for round in 0..4u8 {
            let mut block = [0; 16];
            block[..6].copy_from_slice(&[a, b, c, round, (right >> 8) as u8, right as u8]);
            block[15] = 0x6d;
            let out = encrypt(&self.cipher, block);
            (left, right) = (right, left ^ (u16::from_be_bytes([out[0], out[1]]) & 0xfff));
        }
        let bits = u32::from(left) << 12 | u32::from(right);
        let [_, d, e, f] = bits.to_be_bytes();
        self.remember([a, b, c, d, e, f], address)
    }

    /// A pseudonym of an address without a vendor: random ones of clients, those of containers and clusters, which hold IPv4 addresses.
    /// The first byte stays, for it tells the kind.
    fn local(&self, address: [u8; 6]) -> [u8; 6] {
        let [a, b, c, d, e, f] = address;
        let (mut left, mut right) = (
            u32::from(b) << 12 | u32::from(c) << 4 | u32::from(d >> 4),
            u32::from(d & 15) << 16 | u32::from(e) << 8 | u32::from(f),
        );
        for round in 0..4u8 {
            let [_, high, middle, low] = right.to_be_bytes();
            let mut block = [0; 16];
            block[..5].copy_from_slice(&[a, round, high, middle, low]);
            block[15] = 0x6c;
            let out = encrypt(&self.cipher, block);
            (left, right) = (right, left ^ (u32::from_be_bytes([0, out[0], out[1], out[2]]) & 0xf_ffff));
        }
        let bits = u64::from(left) << 20 | u64::from(right);
        let [_, _, _, b, c, d, e, f] = bits.to_be_bytes();
        self.remember([a, b, c, d, e, f], address)
    }

    fn remember(&self, pseudonym: [u8; 6], address: [u8; 6]) -> [u8; 6] {
        let mut known = self.hardware.borrow_mut();
        if known.len() < REMEMBERED {
            known.insert(address, pseudonym);
        }
        pseudonym
    }

    /// Pseudonym and address, as far as remembered.
    pub(super) fn map(&self) -> BTreeMap<String, String> {
        self.known
            .borrow()
            .iter()
            .map(|(from, to)| (to.to_string(), from.to_string()))
            .collect()
    }

    /// Pseudonym and hardware address, as far as remembered.
    pub(super) fn hardware_map(&self) -> BTreeMap<String, String> {
        let shown = |address: &[u8; 6]| address.map(|byte| format!("{byte:02x}")).join(":");
        self.hardware
            .borrow()
            .iter()
            .map(|(from, to)| (shown(to), shown(from)))
            .collect()
    }
}

fn encrypt(cipher: &Aes128, block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

/// How many bits at the begin of an address say what kind it is, and are kept.
fn kept_v4(address: Ipv4Addr) -> u32 {
    match address.octets() {
        [0 | 127, ..] | [224..=255, ..] => 32,
        [10, ..] => 8,
        [172, 16..=31, ..] => 12,
        [192, 168, ..] | [169, 254, ..] => 16,
        [100, 64..=127, ..] => 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::new(b"0123456789abcdef0123456789ABCDEF")
    }

    #[test]
    fn prefixes_are_preserved_and_kinds_stay_recognisable() {
        let addresses = addresses();
        let shared = |a: Ipv4Addr, b: Ipv4Addr| (a.to_bits() ^ b.to_bits()).leading_zeros();
        let all: Vec<Ipv4Addr> = ["10.1.2.3", "10.1.2.77", "10.1.9.3", "10.200.0.1", "192.168.1.4", "172.20.1.1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for a in &all {
            for b in &all {
                assert_eq!(shared(addresses.v4(*a), addresses.v4(*b)), shared(*a, *b), "{a} {b}");
            }
            assert_ne!(addresses.v4(*a), *a);
            assert!(addresses.v4(*a).is_private());
        }
        for same in ["127.0.0.1", "224.0.0.251", "255.255.255.255", "0.0.0.0"] {
            let address: Ipv4Addr = same.parse().unwrap();
            assert_eq!(addresses.v4(address), address);
        }
        for public in 0..500u32 {
            let address = Ipv4Addr::from_bits(0x0808_0000 + public * 65_537);
            assert_eq!(kept_v4(addresses.v4(address)), kept_v4(address), "{address}");
        }
    }

    #[test]
    fn no_two_addresses_become_one() {
        let addresses = addresses();
        let v4: std::collections::BTreeSet<_> = (0..2_000)
            .map(|n| addresses.v4(Ipv4Addr::from_bits(0x0a01_0000 + n)))
            .collect();
        assert_eq!(v4.len(), 2_000);
        let hardware: std::collections::BTreeSet<_> = (0..2_000u32)
            .map(|n| {
                let [_, d, e, f] = n.to_be_bytes();
                addresses.hardware([0, 0x50, 0x56, d, e, f])
            })
            .collect();
        assert_eq!(hardware.len(), 2_000);
        assert!(hardware.iter().all(|address| address.starts_with(&[0, 0x50, 0x56])));
        assert_eq!(addresses.hardware([0xff; 6]), [0xff; 6]);
        let local: std::collections::BTreeSet<_> = (0..2_000u32)
            .map(|n| {
                let [_, d, e, f] = n.to_be_bytes();
                addresses.hardware([2, 0xbf, 10, d, e, f])
            })
            .collect();
        assert_eq!(local.len(), 2_000);
        let cluster = addresses.hardware([3, 0xbf, 10, 1, 2, 3]);
        assert!(cluster[0] == 3 && cluster[2..] != [10, 1, 2, 3]);
        let node = addresses.hardware([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let group = addresses.v6("ff02::1:ff12:3456".parse().unwrap()).octets();
        assert!(node[3..] == group[13..] && node[3..] != [0x12, 0x34, 0x56]);
        assert_eq!(addresses.hardware([0x01, 0, 0x5e, 0, 0, 0xfb]), [0x01, 0, 0x5e, 0, 0, 0xfb]);
    }

    #[test]
    fn version_6_keeps_its_kinds() {
        let addresses = addresses();
        let of = |text: &str| addresses.v6(text.parse().unwrap());
        assert!(of("fe80::1234").is_unicast_link_local() && of("fe80::1234").segments()[..4] == [0xfe80, 0, 0, 0]);
        assert_eq!(of("ff02::fb"), "ff02::fb".parse::<Ipv6Addr>().unwrap());
        assert_eq!(of("::1"), Ipv6Addr::LOCALHOST);
        let (a, b) = (of("2001:db8:1::1"), of("2001:db8:1::2"));
        assert_eq!(a.to_bits() >> 2, (a.to_bits() >> 2));
        assert_eq!(a.to_bits() >> 64, b.to_bits() >> 64);
        assert_eq!(a.segments()[0] >> 13, 1);
    }
}
