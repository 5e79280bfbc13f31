//! QUIC's long header (RFC 8999, RFC 9000 17.2), by which a handshake on UDP 443 is told from everything else.

use std::fmt;

use super::Parsed;
use super::bytes::Reader;

/// The most bytes of a connection identifier in the known versions.
const MAX_CONNECTION_ID: usize = 20;

/// The fewest bytes of a datagram that opens a handshake (RFC 9000 14.1).
const MIN_INITIAL: usize = 1200;

/// A version number as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuicVersion(pub u32);

impl QuicVersion {
    /// Version negotiation: the server speaks none of the client's versions.
    pub const NEGOTIATION: Self = Self(0);
    /// RFC 9000.
    pub const V1: Self = Self(1);
    /// RFC 9369.
    pub const V2: Self = Self(0x6B33_43CF);

    /// The name, if the version is a known one.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NEGOTIATION => "version negotiation",
            Self::V1 => "QUIC 1",
            Self::V2 => "QUIC 2",
            Self(number) if number >> 8 == 0x00FF_0000 => "QUIC draft",
            Self(number) if number & 0x0F0F_0F0F == 0x0A0A_0A0A => "reserved version",
            _ => return None,
        })
    }
}

impl fmt::Display for QuicVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "QUIC version 0x{:08x}", self.0),
        }
    }
}

/// The invariant part of a long header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongHeader {
    /// The version.
    pub version: QuicVersion,
    /// The packet type's two bits; in version 1 zero is Initial, 1 0-RTT, 2 Handshake, 3 Retry. Version 2 counts differently.
    pub packet_type: u8,
    /// Destination connection identifier.
    pub destination: Vec<u8>,
    /// Source connection identifier.
    pub source: Vec<u8>,
}

impl LongHeader {
    /// Whether this opens a handshake.
    pub fn is_initial(&self) -> bool {
        match self.version {
            QuicVersion::V2 => self.packet_type == 1,
            QuicVersion::NEGOTIATION => false,
            _ => self.packet_type == 0,
        }
    }
}

/// Reads the long header of a datagram.
///
/// Only a known version makes it QUIC, together with the form bit, the fixed bit (save in version negotiation) and connection identifiers that
/// fit. Later packets of a connection have a short header, which nothing tells from random bytes.
pub fn parse(bytes: &[u8]) -> Parsed<LongHeader> {
    let mut reader = Reader::new(bytes);
    let mut fields = || Some((reader.u8()?, QuicVersion(reader.u32_be()?), reader.vec8()?, reader.vec8()?));
    let Some((first, version, destination, source)) = fields() else {
        return Parsed::NotMine;
    };
    let negotiation = version == QuicVersion::NEGOTIATION;
    let formed = first & 0x80 != 0 && (negotiation || first & 0x40 != 0);
    let identified = destination.len() <= MAX_CONNECTION_ID && source.len() <= MAX_CONNECTION_ID;
    // A negotiation lists versions of four bytes each, at least one; a random datagram with four zeros would not.
    let rest = reader.rest().len();
    let filled = if negotiation {
        rest > 0 && rest.is_multiple_of(4) && !source.is_empty()
    } else {
        rest > 0
    };
    // The versions that are reserved to test a server's tolerance are many, so the size of a first datagram must speak for them.
    let reserved = version.0 & 0x0F0F_0F0F == 0x0A0A_0A0A && bytes.len() < MIN_INITIAL;
    if !formed || !identified || !filled || reserved || version.name().is_none() {
        return Parsed::NotMine;
    }
    let header = LongHeader {
        version,
        packet_type: first >> 4 & 3,
        destination: destination.to_vec(),
        source: source.to_vec(),
    };
    Parsed::Done(header, reader.position())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;

    #[test]
    fn an_initial_packet_is_recognised() {
        // RFC 9001 A.2, the client's first bytes.
        let bytes = hex("c000000001088394c8f03e5157080000449e7b9aec34");
        let Parsed::Done(header, 15) = parse(&bytes) else {
            panic!("QUIC: {:?}", parse(&bytes))
        };
        assert_eq!(header.version.to_string(), "QUIC 1");
        assert!(header.is_initial());
        assert_eq!((header.destination.len(), header.source.len()), (8, 0));
    }

    #[test]
    fn a_negotiation_is_recognised() {
        let bytes = hex("80 00000000 00 04 01020304 00000001 6b3343cf");
        let Parsed::Done(header, _) = parse(&bytes) else {
            panic!("QUIC")
        };
        assert_eq!(header.version, QuicVersion::NEGOTIATION);
        assert!(!header.is_initial());
    }

    #[test]
    fn other_datagrams_are_not_quic() {
        // A short header, an unknown version, a missing fixed bit, a long identifier, and the SYN of RDP-UDP.
        for text in [
            "4000000001",
            "c012345678000000",
            "8000000001000000",
            "c00000000115",
            "ffffffff0040180100000000",
        ] {
            assert_eq!(parse(&hex(text)), Parsed::NotMine, "{text}");
        }
    }

    proptest! {
        #[test]
        fn random_datagrams_are_not_quic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(parse(&bytes), Parsed::NotMine);
        }
    }
}
