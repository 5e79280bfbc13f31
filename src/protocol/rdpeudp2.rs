//! RDP-UDP version 3 after its opening: the packets of MS-RDPEUDP2.

use super::Flaw;
use super::bytes::Reader;
use super::open::open_bits;

/// The fewest bytes on the wire: the prefix byte and seven of the packet, padded where it is shorter.
pub const MIN_LEN: usize = 8;

open_bits! {
    /// Flags of the packet header (MS-RDPEUDP2 2.2.1.1), twelve bits.
    Flags2: u16, empty "none" {
        /// One or more packets are acknowledged.
        ACK = 0x001;
        /// Data follows.
        DATA = 0x004;
        /// The state of several packets follows.
        ACKVEC = 0x008;
        /// Acknowledgements are acknowledged.
        AOA = 0x010;
        /// The receiver's overhead follows.
        OVERHEADSIZE = 0x040;
        /// How the receiver may delay its acknowledgements.
        DELAYACKINFO = 0x100;
    }
}

/// Acknowledgement payload (MS-RDPEUDP2 2.2.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Low 16 bits of the acknowledged sequence number.
    pub sequence: u16,
    /// When that packet was received, in units of 4 microseconds, low 24 bits.
    pub received_at: u32,
    /// Milliseconds from then to this acknowledgement.
    pub delay_ms: u8,
    /// How many packets before it are acknowledged along with it.
    pub delayed: u8,
}

/// Acknowledgement vector payload (MS-RDPEUDP2 2.2.1.2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckVector {
    /// Low 16 bits of the first sequence number.
    pub base: u16,
    /// When the last packet was received, in units of 4 microseconds, and the milliseconds since then.
    pub received: Option<(u32, u8)>,
    /// Runs of packets from `base` on: arrived or not, and how many.
    pub runs: Vec<(bool, u8)>,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// A dummy: to be acknowledged, and nothing else.
    pub dummy: bool,
    /// Which payloads there are.
    pub flags: Flags2,
    /// Base-two logarithm of the receive window, in packets.
    pub log_window: u8,
    /// Acknowledgement.
    pub ack: Option<Ack>,
    /// Bytes of header below this layer.
    pub overhead: Option<u8>,
    /// How many acknowledgements may be held back, and for how many milliseconds.
    pub delay_ack: Option<(u8, u16)>,
    /// Low 16 bits of the number up to which acknowledgements were seen.
    pub ack_of_acks: Option<u16>,
    /// Low 16 bits of this packet's sequence number; a retransmission gets a new one.
    pub data_sequence: Option<u16>,
    /// Acknowledgements of several packets.
    pub ack_vector: Option<AckVector>,
    /// Low 16 bits of the data's number, which a retransmission keeps, and the data: TLS records.
    pub data: Option<(u16, Vec<u8>)>,
}

/// Reads a packet of a flow that agreed on version 3.
///
/// Nothing in it is fixed enough to tell it from random bytes: use it only after a SYN and a SYN+ACK of version 3 ([`super::rdpeudp`]).
///
/// # Errors
/// When the packet type or a flag is unknown, or a payload that the flags announce does not fit.
pub fn parse(wire: &[u8]) -> Result<Packet, Flaw> {
    if wire.len() < MIN_LEN {
        return Err(Flaw {
            at: wire.len(),
            why: "the RDP-UDP2 packet breaks off",
        });
    }
    // The prefix byte changes places with the eighth, so that the first bytes look like no known protocol (3.1.1.1.5).
    let mut bytes = wire.to_vec();
    bytes.swap(0, 7);
    let prefix = bytes[0];
    let dummy = match prefix >> 1 & 0x0F {
        0 => false,
        8 => true,
        _ => {
            return Err(Flaw {
                at: 7,
                why: "the RDP-UDP2 packet type is unknown",
            });
        }
    };
    if prefix & 1 != 0 {
        return Err(Flaw {
            at: 7,
            why: "the reserved bit of the RDP-UDP2 prefix is set",
        });
    }
    // A packet below seven bytes was padded and states its length; zero and seven mean the whole.
    let packet = match usize::from(prefix >> 5) {
        0 | 7 => &bytes[1..],
        short => &bytes[1..=short],
    };
    let mut reader = Reader::new(packet);
    let word = reader.u16_le().ok_or(Flaw {
        at: 1,
        why: "the RDP-UDP2 header breaks off",
    })?;
    let flags = Flags2(word & 0x0FFF);
    if flags.unknown() != 0 || flags.contains(Flags2(Flags2::ACK.0 | Flags2::ACKVEC.0)) {
        return Err(Flaw {
            at: 1,
            why: "the RDP-UDP2 flags are unknown or exclude each other",
        });
    }
    let mut parsed = Packet {
        dummy,
        flags,
        log_window: (word >> 12) as u8,
        ack: None,
        overhead: None,
        delay_ack: None,
        ack_of_acks: None,
        data_sequence: None,
        ack_vector: None,
        data: None,
    };
    match payloads(&mut reader, &mut parsed) {
        Some(()) => Ok(parsed),
        None => Err(Flaw {
            at: 1 + reader.position(),
            why: "a payload that the RDP-UDP2 flags announce does not fit",
        }),
    }
}

/// In the order of MS-RDPEUDP2 2.2.1, which is not that of the flags.
fn payloads(reader: &mut Reader<'_>, packet: &mut Packet) -> Option<()> {
    let flags = packet.flags;
    if flags.contains(Flags2::ACK) {
        let sequence = reader.u16_le()?;
        let received_at = u24_le(reader)?;
        let delay_ms = reader.u8()?;
        let delayed = reader.u8()? & 0x0F;
        reader.take(usize::from(delayed))?;
        packet.ack = Some(Ack {
            sequence,
            received_at,
            delay_ms,
            delayed,
        });
    }
    if flags.contains(Flags2::OVERHEADSIZE) {
        packet.overhead = Some(reader.u8()?);
    }
    if flags.contains(Flags2::DELAYACKINFO) {
        packet.delay_ack = Some((reader.u8()?, reader.u16_le()?));
    }
    if flags.contains(Flags2::AOA) {
        packet.ack_of_acks = Some(reader.u16_le()?);
    }
    if flags.contains(Flags2::DATA) {
        packet.data_sequence = Some(reader.u16_le()?);
    }
    if flags.contains(Flags2::ACKVEC) {
        packet.ack_vector = Some(ack_vector(reader)?);
    }
    if flags.contains(Flags2::DATA) {
        packet.data = Some((reader.u16_le()?, reader.rest().to_vec()));
    }
    Some(())
}

fn ack_vector(reader: &mut Reader<'_>) -> Option<AckVector> {
    let base = reader.u16_le()?;
    let packed = reader.u8()?;
    let received = if packed & 0x80 != 0 {
        Some((u24_le(reader)?, reader.u8()?))
    } else {
        None
    };
    let mut runs = Vec::new();
    for &element in reader.take(usize::from(packed & 0x7F))? {
        if element & 0x80 != 0 {
            runs.push((element & 0x40 != 0, element & 0x3F));
        } else {
            // Seven packets one by one, the first in the lowest bit.
            runs.extend((0..7).map(|bit| (element >> bit & 1 != 0, 1)));
        }
    }
    Some(AckVector { base, received, runs })
}

fn u24_le(reader: &mut Reader<'_>) -> Option<u32> {
    reader.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
}

#[cfg(test)]
mod tests {
    use ironrdp_rdpeudp::pdu;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;

    /// Puts the prefix in front and swaps, as a sender does.
    fn wire(packet: &[u8]) -> Vec<u8> {
        let mut wire = vec![(packet.len().min(7) as u8) << 5];
        wire.extend_from_slice(packet);
        wire.resize(wire.len().max(MIN_LEN), 0);
        wire.swap(0, 7);
        wire
    }

    #[test]
    fn an_acknowledgement_with_data_is_read() {
        let packet = parse(&wire(&hex("05 60 3412 010000 07 00 0a00 0b00 170303"))).unwrap();
        assert!(!packet.dummy);
        assert_eq!((packet.flags.to_string().as_str(), packet.log_window), ("ACK|DATA", 6));
        assert_eq!(
            packet.ack,
            Some(Ack {
                sequence: 0x1234,
                received_at: 1,
                delay_ms: 7,
                delayed: 0
            })
        );
        assert_eq!(packet.data_sequence, Some(10));
        assert_eq!(packet.data, Some((11, vec![0x17, 3, 3])));
    }

    #[test]
    fn a_vector_is_read() {
        let packet = parse(&wire(&hex("08 00 0100 82 030000 09 c5 02"))).unwrap();
        let vector = packet.ack_vector.unwrap();
        assert_eq!((vector.base, vector.received), (1, Some((3, 9))));
        assert_eq!(vector.runs[..3], [(true, 5), (false, 1), (true, 1)]);
        assert_eq!(vector.runs.len(), 8);
    }

    #[test]
    fn a_short_packet_is_cut_to_its_length() {
        let packet = parse(&wire(&hex("10 30 0700"))).unwrap();
        assert_eq!((packet.ack_of_acks, packet.log_window), (Some(7), 3));
        assert!(parse(&wire(&hex("10 30 07"))).is_err());
    }

    #[test]
    fn what_the_specification_forbids_is_refused() {
        assert!(parse(&[0; 7]).is_err());
        assert!(parse(&wire(&hex("02 00 000000000000"))).is_err(), "an unknown flag");
        assert!(
            parse(&wire(&hex("09 00 00000000000000000000"))).is_err(),
            "both kinds of acknowledgement"
        );
        let mut typed = wire(&hex("10 30 0700 00000000"));
        typed[7] |= 0x02;
        assert!(parse(&typed).is_err(), "an unknown packet type");
    }

    proptest! {
        /// Everything that an independent implementation writes is read as it was meant.
        #[test]
        fn another_implementation_agrees(
            log_window_size in 0_u8..16,
            ack in proptest::option::of((any::<u16>(), 0_u32..1 << 24, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..16))),
            overhead_size in proptest::option::of(any::<u8>()),
            delay in proptest::option::of(any::<(u8, u16)>()),
            data in proptest::option::of((any::<u16>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..50))),
            is_dummy: bool,
        ) {
            let packet = pdu::V2Packet {
                header: pdu::V2Header { flags: pdu::V2Flags::empty(), log_window_size },
                ack: ack.clone().map(|(seq_num, received_ts, send_ack_time_gap, delay_ack_time_additions)| pdu::AckPayload {
                    seq_num, received_ts, send_ack_time_gap, delay_ack_time_scale: 3, delay_ack_time_additions,
                }),
                overhead_size: overhead_size.map(|overhead_size| pdu::OverheadSizePayload { overhead_size }),
                delay_ack_info: delay.map(|(max_delayed_acks, delayed_ack_timeout_ms)| pdu::DelayAckInfoPayload { max_delayed_acks, delayed_ack_timeout_ms }),
                ack_of_acks: None,
                data_header: data.as_ref().map(|(data_seq_num, ..)| pdu::DataHeader { data_seq_num: *data_seq_num }),
                ack_vector: None,
                data_body: data.as_ref().map(|(_, channel_seq_num, data)| pdu::DataBody { channel_seq_num: *channel_seq_num, data: data.clone() }),
            };
            let mut wire = Vec::new();
            pdu::encode_with_prefix(&ironrdp_core::encode_vec(&packet).unwrap(), is_dummy, &mut wire).unwrap();
            let parsed = parse(&wire).unwrap();
            prop_assert_eq!(parsed.dummy, is_dummy);
            prop_assert_eq!(parsed.log_window, log_window_size);
            prop_assert_eq!(parsed.ack.map(|ack| (ack.sequence, ack.received_at, ack.delay_ms, usize::from(ack.delayed))),
                ack.map(|(sequence, at, gap, more)| (sequence, at, gap, more.len())));
            prop_assert_eq!(parsed.overhead, overhead_size);
            prop_assert_eq!(parsed.delay_ack, delay);
            prop_assert_eq!(parsed.data_sequence, data.as_ref().map(|(sequence, ..)| *sequence));
            prop_assert_eq!(parsed.data, data.map(|(_, channel, data)| (channel, data)));
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&bytes);
            if bytes.len() > 8 {
                bytes[7] = 0xE0;
                let _ = parse(&bytes);
            }
        }
    }
}
