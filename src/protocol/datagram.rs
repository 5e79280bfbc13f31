//! Says from one UDP payload which protocol it speaks, whatever the port.

use super::{Parsed, dtls, quic, rdpeudp, stun};

/// What a datagram shows by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatagramService {
    /// The SYN or SYN+ACK of RDP-UDP; later datagrams of it show nothing.
    RdpUdp,
    /// DTLS, in clear or sealed.
    Dtls,
    /// STUN or TURN.
    Stun,
    /// The handshake of QUIC.
    Quic,
}

/// Recognises a datagram. Each test is strict enough to stand alone; their first bytes exclude each other but for those of RDP-UDP, which
/// is asked first and wants the most.
pub fn recognise(bytes: &[u8]) -> Option<DatagramService> {
    if matches!(rdpeudp::recognise(bytes), Parsed::Done(..)) {
        Some(DatagramService::RdpUdp)
    } else if dtls::datagram(bytes).is_some() {
        Some(DatagramService::Dtls)
    } else if matches!(stun::parse(bytes), Parsed::Done(..)) {
        Some(DatagramService::Stun)
    } else if matches!(quic::parse(bytes), Parsed::Done(..)) {
        Some(DatagramService::Quic)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::bytes::hex;

    #[test]
    fn each_protocol_is_told() {
        let mut syn = hex("ffffffff 0040 1001 00000001 04d0 04d0 0001 0001");
        syn.resize(1232, 0);
        let cases = [
            (syn, Some(DatagramService::RdpUdp)),
            (hex("15fefd00000000000000050002 0228"), Some(DatagramService::Dtls)),
            (
                hex("0001 0000 2112a442 000102030405060708090a0b"),
                Some(DatagramService::Stun),
            ),
            (
                hex("c000000001 08 8394c8f03e515708 00 00449e7b9aec34"),
                Some(DatagramService::Quic),
            ),
            // A DNS query, and a data datagram of RDP-UDP.
            (hex("1234 0100 0001 0000 0000 0000 0161 00 0001 0001"), None),
            (hex("0b127f17 00c8 000c 0001 01 1f 0f94ea0d 0f94ea0d 140303000101"), None),
        ];
        for (bytes, service) in cases {
            assert_eq!(recognise(&bytes), service, "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn random_datagrams_are_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(recognise(&bytes), None);
        }
    }
}
