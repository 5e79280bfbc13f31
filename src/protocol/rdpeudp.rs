//! RDP-UDP versions 1 and 2, and the opening of version 3 (MS-RDPEUDP): SYN, SYN+ACK, ACK, DATA and FEC datagrams.

use super::bytes::Reader;
use super::open::{open_bits, open_number};
use super::{Flaw, Parsed};

/// Bytes of RDPUDP_FEC_HEADER, which every datagram starts with.
pub const HEADER_LEN: usize = 8;

/// The MTUs that the specification allows in a SYN (MS-RDPEUDP 2.2.2.5).
pub const MTU: std::ops::RangeInclusive<u16> = 1132..=1232;

/// snSourceAck of a SYN, which acknowledges nothing.
const NOTHING: u32 = 0xFFFF_FFFF;

/// The most elements of an ACK vector (MS-RDPEUDP 2.2.2.7).
const MAX_ACK_VECTOR: usize = 2048;

open_bits! {
    /// uFlags of RDPUDP_FEC_HEADER (MS-RDPEUDP 2.2.2.1).
    Flags: u16, empty "none" {
        /// Opens the connection.
        SYN = 0x0001;
        /// Ends it.
        FIN = 0x0002;
        /// snSourceAck counts; an ACK vector follows, but not in a SYN+ACK.
        ACK = 0x0004;
        /// A payload follows.
        DATA = 0x0008;
        /// The payload is a forward error correction of others.
        FEC = 0x0010;
        /// Congestion notification: the receiver misses datagrams.
        CN = 0x0020;
        /// Congestion window reset: the sender has reacted.
        CWR = 0x0040;
        /// Unused.
        SACK_OPTION = 0x0080;
        /// The start of the ACK vector is set anew.
        ACK_OF_ACKS = 0x0100;
        /// The connection does not repeat what is lost.
        SYNLOSSY = 0x0200;
        /// The ACK was delayed: it says nothing about the round trip.
        ACKDELAYED = 0x0400;
        /// A correlation identifier follows.
        CORRELATION_ID = 0x0800;
        /// The version follows.
        SYNEX = 0x1000;
    }
}

open_number! {
    /// uUdpVer of RDPUDP_SYNDATAEX_PAYLOAD (MS-RDPEUDP 2.2.2.9).
    UdpVersion: u16 {
        /// Version 1.
        V1 = 0x0001;
        /// Version 2: shorter timers.
        V2 = 0x0002;
        /// Version 3: the data travels in MS-RDPEUDP2 packets.
        V3 = 0x0101;
    }
}

/// RDPUDP_SYNDATA_PAYLOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syn {
    /// The sender's first sequence number.
    pub initial_sequence: u32,
    /// The largest datagram that the sender means to send, in bytes of UDP payload.
    pub upstream_mtu: u16,
    /// The largest datagram that the sender takes, in bytes of UDP payload.
    pub downstream_mtu: u16,
}

/// RDPUDP_SYNDATAEX_PAYLOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynEx {
    /// uSynExFlags; bit 0 says that the version counts.
    pub flags: u16,
    /// The highest version that the sender speaks; in a SYN+ACK the one that is chosen.
    pub version: UdpVersion,
    /// SHA-256 of the security cookie that TCP has delivered. Stated in version 3; some version 2 clients send it as well. All
    /// zeros where the client does not prove itself.
    pub cookie_hash: Option<[u8; 32]>,
}

/// One run of datagrams in an ACK vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRun {
    /// VECTOR_ELEMENT_STATE: 0 received, 3 not yet received, the others are reserved.
    pub state: u8,
    /// How many datagrams in a row, 1 to 64: the wire counts from zero.
    pub count: u8,
}

impl AckRun {
    /// Whether the datagrams of the run have arrived.
    pub fn is_received(self) -> bool {
        self.state == 0
    }
}

/// The payload of a DATA datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// snCoded: the number of the datagram; a retransmission gets a new one.
    pub coded: u32,
    /// snSourceStart: the number of the payload; a retransmission keeps it.
    pub start: u32,
    /// TLS records on a reliable connection, DTLS records on a lossy one.
    pub payload: &'a [u8],
}

/// The payload of a FEC datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fec<'a> {
    /// snCoded: the number of the datagram.
    pub coded: u32,
    /// snSourceStart: the first payload that it can restore.
    pub start: u32,
    /// How many payloads after the first one it covers.
    pub range: u8,
    /// Its place among the datagrams of the same range.
    pub index: u8,
    /// The coded bytes.
    pub payload: &'a [u8],
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// snSourceAck: the highest number received; `None` in a SYN.
    pub source_ack: Option<u32>,
    /// uReceiveWindowSize, in datagrams.
    pub receive_window: u16,
    /// uFlags.
    pub flags: Flags,
    /// What has arrived, from `source_ack` downwards.
    pub ack_vector: Vec<AckRun>,
    /// snResetSeqNum: acknowledgements up to here have been seen.
    pub ack_of_acks: Option<u32>,
    /// Of a SYN or SYN+ACK.
    pub syn: Option<Syn>,
    /// The identifier of the TCP connection's X.224 Connection Request.
    pub correlation_id: Option<[u8; 16]>,
    /// Version and cookie hash.
    pub syn_ex: Option<SynEx>,
    /// The payload.
    pub source: Option<Source<'a>>,
    /// The error correction.
    pub fec: Option<Fec<'a>>,
    /// Bytes behind all this; in a SYN they fill the datagram up to the MTU that is being probed.
    pub padding: usize,
    /// Whether those are zeros, as they should be.
    pub padding_is_zero: bool,
}

/// What a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens the connection.
    Syn,
    /// Answers the SYN.
    SynAck,
    /// Carries data, with an acknowledgement or without.
    Data,
    /// Carries error correction.
    Fec,
    /// Acknowledges only.
    Ack,
    /// None of these.
    Other,
}

impl Datagram<'_> {
    /// What the datagram is for.
    pub fn role(&self) -> Role {
        if self.syn.is_some() {
            if self.flags.contains(Flags::ACK) {
                Role::SynAck
            } else {
                Role::Syn
            }
        } else if self.source.is_some() {
            Role::Data
        } else if self.fec.is_some() {
            Role::Fec
        } else if self.flags.contains(Flags::ACK) {
            Role::Ack
        } else {
            Role::Other
        }
    }

    /// The version on offer or chosen: stated, or 1 where nothing is.
    pub fn version(&self) -> Option<UdpVersion> {
        self.syn?;
        Some(
            self.syn_ex
                .filter(|ex| ex.flags & 1 != 0)
                .map_or(UdpVersion::V1, |ex| ex.version),
        )
    }
}

/// Recognises a SYN or SYN+ACK, the only datagrams that prove by themselves that a flow is RDP-UDP.
///
/// All must hold: no unknown flag; SYN without FIN, DATA or FEC; a window that is not zero; both MTUs within [`MTU`]; a SYN acknowledges
/// nothing (0xFFFFFFFF), a SYN+ACK something else; and nothing but zeros behind the last field.
pub fn recognise(bytes: &[u8]) -> Parsed<Datagram<'_>> {
    if bytes.len() < HEADER_LEN {
        return Parsed::NotMine;
    }
    let mut flags = Reader::new(&bytes[6..]);
    let flags = Flags(flags.u16_be().unwrap_or_default());
    let others = Flags::FIN.0 | Flags::DATA.0 | Flags::FEC.0;
    if !flags.contains(Flags::SYN) || flags.unknown() != 0 || flags.0 & others != 0 {
        return Parsed::NotMine;
    }
    let Ok(datagram) = parse(bytes) else {
        return Parsed::NotMine;
    };
    let Some(syn) = datagram.syn else {
        return Parsed::NotMine;
    };
    let acknowledges = flags.contains(Flags::ACK);
    let plausible = datagram.source_ack.is_some() == acknowledges
        && datagram.receive_window != 0
        && MTU.contains(&syn.upstream_mtu)
        && MTU.contains(&syn.downstream_mtu)
        && datagram.padding_is_zero;
    if plausible {
        Parsed::Done(datagram, bytes.len())
    } else {
        Parsed::NotMine
    }
}

/// Reads a datagram of a flow that is known to be RDP-UDP.
///
/// # Errors
/// When a structure that the flags announce does not fit, or the flags are unknown.
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, Flaw> {
    let mut reader = Reader::new(bytes);
    let Some(mut datagram) = header(&mut reader) else {
        return Err(Flaw {
            at: bytes.len(),
            why: "the RDP-UDP header breaks off",
        });
    };
    if datagram.flags.unknown() != 0 {
        return Err(Flaw {
            at: 6,
            why: "the RDP-UDP flags are unknown",
        });
    }
    match body(&mut reader, &mut datagram) {
        Some(()) => Ok(datagram),
        None => Err(Flaw {
            at: reader.position(),
            why: "a structure that the RDP-UDP flags announce does not fit",
        }),
    }
}

fn header<'a>(reader: &mut Reader<'_>) -> Option<Datagram<'a>> {
    let source_ack = reader.u32_be()?;
    let receive_window = reader.u16_be()?;
    let flags = Flags(reader.u16_be()?);
    Some(Datagram {
        source_ack: (source_ack != NOTHING).then_some(source_ack),
        receive_window,
        flags,
        ack_vector: Vec::new(),
        ack_of_acks: None,
        syn: None,
        correlation_id: None,
        syn_ex: None,
        source: None,
        fec: None,
        padding: 0,
        padding_is_zero: true,
    })
}

fn body<'a>(reader: &mut Reader<'a>, datagram: &mut Datagram<'a>) -> Option<()> {
    let flags = datagram.flags;
    let is_syn = flags.contains(Flags::SYN);
    // In a SYN+ACK the flag only says that snSourceAck counts (MS-RDPEUDP 3.1.5.1.3).
    if flags.contains(Flags::ACK) && !is_syn {
        datagram.ack_vector = ack_vector(reader)?;
    }
    if flags.contains(Flags::ACK_OF_ACKS) {
        datagram.ack_of_acks = Some(reader.u32_be()?);
    }
    if is_syn {
        let (initial_sequence, upstream_mtu, downstream_mtu) = (reader.u32_be()?, reader.u16_be()?, reader.u16_be()?);
        datagram.syn = Some(Syn {
            initial_sequence,
            upstream_mtu,
            downstream_mtu,
        });
    }
    if flags.contains(Flags::CORRELATION_ID) {
        datagram.correlation_id = Some(reader.array()?);
        reader.take(16)?;
    }
    if flags.contains(Flags::SYNEX) {
        let (ex_flags, version) = (reader.u16_be()?, UdpVersion(reader.u16_be()?));
        datagram.syn_ex = Some(SynEx {
            flags: ex_flags,
            version,
            cookie_hash: cookie_hash(reader, flags, version)?,
        });
    }
    if flags.contains(Flags::FEC) {
        let (coded, start) = (reader.u32_be()?, reader.u32_be()?);
        let (range, index) = (reader.u8()?, reader.u8()?);
        reader.take(2)?;
        datagram.fec = Some(Fec {
            coded,
            start,
            range,
            index,
            payload: reader.take(reader.rest().len())?,
        });
    } else if flags.contains(Flags::DATA) {
        let (coded, start) = (reader.u32_be()?, reader.u32_be()?);
        datagram.source = Some(Source {
            coded,
            start,
            payload: reader.take(reader.rest().len())?,
        });
    }
    datagram.padding = reader.rest().len();
    // A thousand bytes: all at once, without a branch for each.
    datagram.padding_is_zero = reader.rest().iter().fold(0, |all, byte| all | byte) == 0;
    Some(())
}

/// The specification has the hash in the client's SYN of version 3. Clients of version 2 have been seen to send it too: there, bytes
/// that are not padding are the hash.
fn cookie_hash(reader: &mut Reader<'_>, flags: Flags, version: UdpVersion) -> Option<Option<[u8; 32]>> {
    if flags.contains(Flags::ACK) {
        return Some(None);
    }
    if version == UdpVersion::V3 {
        return reader.array().map(Some);
    }
    match reader.clone().array::<32>() {
        Some(hash) if hash != [0; 32] => reader.array().map(Some),
        _ => Some(None),
    }
}

/// RDPUDP_ACK_VECTOR_HEADER, which is padded to a multiple of four bytes.
fn ack_vector(reader: &mut Reader<'_>) -> Option<Vec<AckRun>> {
    let count = usize::from(reader.u16_be()?);
    if count > MAX_ACK_VECTOR {
        return None;
    }
    let elements = reader.take(count)?;
    reader.take((2 + count).next_multiple_of(4) - 2 - count)?;
    Some(
        elements
            .iter()
            .map(|element| AckRun {
                state: element >> 6,
                count: (element & 0x3F) + 1,
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;
    use crate::protocol::tls::record::record;

    /// A SYN of Windows, padded to its MTU.
    fn syn() -> Vec<u8> {
        let mut bytes = hex(
            "ffffffff 0040 1801 0b127f15 04d0 04d0 7855d064fbaf43f0b6e8f8aadfad0000 00000000000000000000000000000000 0001 0003",
        );
        bytes.resize(1232, 0);
        bytes
    }

    fn syn_ack() -> Vec<u8> {
        let mut bytes = hex("0b127f15 0040 1005 0f94ea0b 04d0 04d0 0001 0002");
        bytes.resize(1232, 0);
        bytes
    }

    #[test]
    fn a_syn_of_windows_is_recognised() {
        let bytes = syn();
        let Parsed::Done(syn, 1232) = recognise(&bytes) else {
            panic!("a SYN")
        };
        assert_eq!(syn.role(), Role::Syn);
        assert_eq!(syn.flags.to_string(), "SYN|CORRELATION_ID|SYNEX");
        assert_eq!(syn.source_ack, None);
        assert_eq!(syn.receive_window, 64);
        let (mtu, first) = (1232, 0x0B12_7F15);
        assert_eq!(
            syn.syn,
            Some(Syn {
                initial_sequence: first,
                upstream_mtu: mtu,
                downstream_mtu: mtu
            })
        );
        assert_eq!(syn.correlation_id.map(|id| id[..4].to_vec()), Some(hex("7855d064")));
        assert_eq!(syn.version(), Some(UdpVersion(3)));
        assert_eq!(syn.syn_ex.and_then(|ex| ex.cookie_hash), None);
        assert_eq!((syn.padding, syn.padding_is_zero), (1180, true));
    }

    #[test]
    fn a_syn_ack_has_no_ack_vector() {
        let bytes = syn_ack();
        let Parsed::Done(answer, _) = recognise(&bytes) else {
            panic!("a SYN+ACK")
        };
        assert_eq!(answer.role(), Role::SynAck);
        assert_eq!(answer.source_ack, Some(0x0B12_7F15));
        assert_eq!(answer.version(), Some(UdpVersion::V2));
        assert!(answer.ack_vector.is_empty());
    }

    #[test]
    fn version_three_carries_a_cookie_hash() {
        let mut bytes = hex("ffffffff 0040 1001 00000001 04d0 046c 0001 0101");
        bytes.extend([7; 32]);
        bytes.resize(1132, 0);
        let Parsed::Done(syn, _) = recognise(&bytes) else {
            panic!("a SYN")
        };
        assert_eq!(syn.syn_ex.and_then(|ex| ex.cookie_hash), Some([7; 32]));
        assert_eq!(syn.version().unwrap().to_string(), "V3");
        // The same under version 2, and absent.
        bytes[18..20].copy_from_slice(&[0, 2]);
        let Parsed::Done(syn, _) = recognise(&bytes) else {
            panic!("a SYN")
        };
        assert_eq!(syn.syn_ex.and_then(|ex| ex.cookie_hash), Some([7; 32]));
        bytes[20..52].fill(0);
        let Parsed::Done(syn, _) = recognise(&bytes) else {
            panic!("a SYN")
        };
        assert_eq!(syn.syn_ex.and_then(|ex| ex.cookie_hash), None);
    }

    #[test]
    fn data_with_tls_inside_is_read() {
        let bytes = hex("0b127f17 00c8 000c 0001 01 1f 0f94ea0d 0f94ea0d 140303000101");
        let data = parse(&bytes).unwrap();
        assert_eq!(data.role(), Role::Data);
        assert_eq!(data.ack_vector, [AckRun { state: 0, count: 2 }]);
        assert!(data.ack_vector[0].is_received());
        let source = data.source.unwrap();
        assert_eq!((source.coded, source.start), (0x0F94_EA0D, 0x0F94_EA0D));
        assert!(matches!(record(source.payload), Parsed::Done(..)));
        assert_eq!(data.version(), None);
    }

    #[test]
    fn acknowledgements_and_error_correction_are_read() {
        let ack = hex("0b127f17 00c8 0124 0003 c0 03 00 000000 0f94ea00");
        let ack = parse(&ack).unwrap();
        assert_eq!(ack.role(), Role::Ack);
        let runs: Vec<_> = ack.ack_vector.iter().map(|run| (run.is_received(), run.count)).collect();
        assert_eq!(runs, [(false, 1), (true, 4), (true, 1)]);
        assert_eq!(ack.ack_of_acks, Some(0x0F94_EA00));
        let fec = hex("0b127f17 00c8 0018 00000009 00000005 03 01 0000 aabb");
        let fec = parse(&fec).unwrap();
        assert_eq!(fec.role(), Role::Fec);
        assert_eq!(
            fec.fec,
            Some(Fec {
                coded: 9,
                start: 5,
                range: 3,
                index: 1,
                payload: &[0xAA, 0xBB]
            })
        );
    }

    #[test]
    fn what_is_almost_a_syn_is_not_one() {
        let cases: [(usize, &[u8]); 8] = [
            (0, &[0, 0, 0, 1]),
            (4, &[0, 0]),
            (6, &[0x38]),
            (7, &[0x03]),
            (7, &[0x09]),
            (12, &[4, 0x6B]),
            (14, &[5, 0xDC]),
            (600, &[1]),
        ];
        for (at, change) in cases {
            let mut bytes = syn();
            bytes[at..at + change.len()].copy_from_slice(change);
            assert_eq!(recognise(&bytes), Parsed::NotMine, "{at}");
        }
        let mut bytes = syn_ack();
        bytes[..4].fill(0xFF);
        assert_eq!(recognise(&bytes), Parsed::NotMine);
        assert_eq!(recognise(&syn()[..7]), Parsed::NotMine);
        assert_eq!(recognise(&syn()[..40]), Parsed::NotMine);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), flags in 0_u16..0x2000) {
            let _ = parse(&bytes);
            if bytes.len() > 8 {
                bytes[6..8].copy_from_slice(&flags.to_be_bytes());
                let _ = parse(&bytes);
            }
        }

        #[test]
        fn random_datagrams_are_not_rdp(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(recognise(&bytes), Parsed::NotMine);
        }
    }
}
