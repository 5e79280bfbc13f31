//! MCS (T.125) as RDP uses it: what a data TPDU carries.
//!
//! `ironrdp-pdu` reads the result of AttachUserConfirm and ChannelJoinConfirm as a byte and turns a result other than success into a
//! decoding error, and results other than success are what this is for; it is the tests' oracle for the rest.

use x509_parser::asn1_rs::Class;

use super::Flaw;
use super::ber;
use super::bytes::Reader;
use super::open::open_number;

/// One MCS PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pdu<'a> {
    /// Connect-Initial; the user data is a GCC Conference Create Request ([`super::gcc::client`]).
    ConnectInitial {
        /// `userData`.
        user_data: &'a [u8],
    },
    /// Connect-Response; the user data is a GCC Conference Create Response ([`super::gcc::server`]), empty in some refusals.
    ConnectResponse {
        /// `result`.
        result: McsResult,
        /// `calledConnectId`.
        called_connect_id: u32,
        /// `userData`.
        user_data: &'a [u8],
    },
    /// ErectDomainRequest.
    ErectDomainRequest,
    /// AttachUserRequest.
    AttachUserRequest,
    /// AttachUserConfirm.
    AttachUserConfirm {
        /// `result`.
        result: McsResult,
        /// The user's channel, which a refusal leaves out.
        initiator: Option<u16>,
    },
    /// ChannelJoinRequest.
    ChannelJoinRequest {
        /// The user's channel.
        initiator: u16,
        /// The channel to join.
        channel: u16,
    },
    /// ChannelJoinConfirm.
    ChannelJoinConfirm {
        /// `result`.
        result: McsResult,
        /// The user's channel.
        initiator: u16,
        /// The channel that was asked for.
        requested: u16,
        /// The channel that was joined, which a refusal leaves out.
        channel: Option<u16>,
    },
    /// SendDataRequest, from the client.
    SendDataRequest(SendData<'a>),
    /// SendDataIndication, from the server.
    SendDataIndication(SendData<'a>),
    /// DisconnectProviderUltimatum. Windows and xrdp send `RN_USER_REQUESTED` for refusals as well.
    DisconnectProviderUltimatum {
        /// `reason`.
        reason: Reason,
    },
    /// Another choice of DomainMCSPDU, by its number (T.125 section 7).
    Other {
        /// The number of the choice.
        choice: u8,
    },
}

/// Data on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendData<'a> {
    /// The sender's user channel; 1002 is the server.
    pub initiator: u16,
    /// The channel; 1003 is the I/O channel of Windows servers, [`super::gcc::ServerData`] says which it is.
    pub channel: u16,
    /// `userData`.
    pub payload: &'a [u8],
}

open_number! {
    /// Result (T.125 section 7).
    McsResult: u8 {
        /// Done.
        RT_SUCCESSFUL = 0;
        /// Domains are merging.
        RT_DOMAIN_MERGING = 1;
        /// A cycle of domains.
        RT_DOMAIN_NOT_HIERARCHICAL = 2;
        /// No such channel.
        RT_NO_SUCH_CHANNEL = 3;
        /// No such domain.
        RT_NO_SUCH_DOMAIN = 4;
        /// No such user.
        RT_NO_SUCH_USER = 5;
        /// Not admitted to a private channel.
        RT_NOT_ADMITTED = 6;
        /// The user channel of another.
        RT_OTHER_USER_ID = 7;
        /// Domain parameters without common ground.
        RT_PARAMETERS_UNACCEPTABLE = 8;
        /// The token is taken.
        RT_TOKEN_NOT_AVAILABLE = 9;
        /// The token is not held.
        RT_TOKEN_NOT_POSSESSED = 10;
        /// Too many channels.
        RT_TOO_MANY_CHANNELS = 11;
        /// Too many tokens.
        RT_TOO_MANY_TOKENS = 12;
        /// Too many users.
        RT_TOO_MANY_USERS = 13;
        /// No reason given.
        RT_UNSPECIFIED_FAILURE = 14;
        /// The user said no.
        RT_USER_REJECTED = 15;
    }
}

open_number! {
    /// Reason of a DisconnectProviderUltimatum (T.125 section 7).
    Reason: u8 {
        /// The domain is gone.
        RN_DOMAIN_DISCONNECTED = 0;
        /// The provider, a server, ends it.
        RN_PROVIDER_INITIATED = 1;
        /// A token was purged.
        RN_TOKEN_PURGED = 2;
        /// A user asked for it; see [`Pdu::DisconnectProviderUltimatum`].
        RN_USER_REQUESTED = 3;
        /// A channel was purged.
        RN_CHANNEL_PURGED = 4;
    }
}

/// The smallest dynamic channel: PER sends user channels less this.
const USER_CHANNEL_BASE: u16 = 1001;

const CONNECT_INITIAL: u32 = 101;
const CONNECT_RESPONSE: u32 = 102;

/// Reads the MCS PDU in the payload of one data TPDU.
///
/// # Errors
///
/// The flaw's place counts from the start of `payload`.
pub fn parse(payload: &[u8]) -> Result<Pdu<'_>, Flaw> {
    match payload.first() {
        None => Err(Flaw {
            at: 0,
            why: "a data TPDU carries nothing",
        }),
        Some(0x7F) => connect(payload).ok_or(Flaw {
            at: 0,
            why: "an MCS connect PDU's elements do not fit",
        }),
        Some(_) => domain(payload).ok_or(Flaw {
            at: 1,
            why: "an MCS domain PDU is cut short",
        }),
    }
}

/// The BER side: Connect-Initial and Connect-Response.
fn connect(mut payload: &[u8]) -> Option<Pdu<'_>> {
    let outer = ber::take(&mut payload)?;
    if outer.class != Class::Application {
        return None;
    }
    match outer.tag {
        CONNECT_INITIAL => {
            // Two selectors come first and are octet strings as well.
            let user_data = ber::children(outer.body)
                .filter(|element| element.is(ber::OCTET_STRING))
                .nth(2)?;
            Some(Pdu::ConnectInitial {
                user_data: user_data.body,
            })
        }
        CONNECT_RESPONSE => {
            let find = |tag| ber::children(outer.body).find(|element| element.is(tag));
            let [result] = find(ber::ENUMERATED)?.body else {
                return None;
            };
            Some(Pdu::ConnectResponse {
                result: McsResult(*result),
                called_connect_id: find(ber::INTEGER)
                    .and_then(|element| ber::low_32_bits(element.body))
                    .unwrap_or_default(),
                user_data: find(ber::OCTET_STRING).map(|element| element.body).unwrap_or_default(),
            })
        }
        _ => None,
    }
}

/// The aligned PER side: six bits of choice, then the fields.
fn domain(payload: &[u8]) -> Option<Pdu<'_>> {
    let mut reader = Reader::new(payload);
    let first = reader.u8()?;
    let user = |number: u16| number.checked_add(USER_CHANNEL_BASE);
    Some(match first >> 2 {
        1 => Pdu::ErectDomainRequest,
        8 => {
            let second = reader.u8()?;
            Pdu::DisconnectProviderUltimatum {
                reason: Reason((first & 3) << 1 | second >> 7),
            }
        }
        10 => Pdu::AttachUserRequest,
        11 => Pdu::AttachUserConfirm {
            result: result(first, reader.u8()?),
            initiator: if first & 2 == 0 { None } else { Some(user(reader.u16_be()?)?) },
        },
        14 => Pdu::ChannelJoinRequest {
            initiator: user(reader.u16_be()?)?,
            channel: reader.u16_be()?,
        },
        15 => Pdu::ChannelJoinConfirm {
            result: result(first, reader.u8()?),
            initiator: user(reader.u16_be()?)?,
            requested: reader.u16_be()?,
            channel: if first & 2 == 0 { None } else { Some(reader.u16_be()?) },
        },
        25 => Pdu::SendDataRequest(send_data(&mut reader)?),
        26 => Pdu::SendDataIndication(send_data(&mut reader)?),
        choice => Pdu::Other { choice },
    })
}

/// The four bits of an enumeration that begins in the lowest bit of the first byte.
const fn result(first: u8, second: u8) -> McsResult {
    McsResult((first & 1) << 3 | second >> 5)
}

fn send_data<'a>(reader: &mut Reader<'a>) -> Option<SendData<'a>> {
    let initiator = reader.u16_be()?.checked_add(USER_CHANNEL_BASE)?;
    let channel = reader.u16_be()?;
    let _priority_and_segmentation = reader.u8()?;
    let length = per_length(reader)?;
    Some(SendData {
        initiator,
        channel,
        payload: reader.take(length)?,
    })
}

/// A PER length as RDP implementations write it: one byte below 128, else fifteen bits.
pub(super) fn per_length(reader: &mut Reader<'_>) -> Option<usize> {
    let first = reader.u8()?;
    if first & 0x80 == 0 {
        return Some(usize::from(first));
    }
    Some(usize::from(first & 0x7F) << 8 | usize::from(reader.u8()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::bytes::hex;
    use ironrdp_pdu::{mcs, x224::X224};
    use proptest::prelude::*;

    #[test]
    fn attaching_and_joining() {
        assert_eq!(parse(&hex("0401000100")), Ok(Pdu::ErectDomainRequest));
        assert_eq!(parse(&hex("28")), Ok(Pdu::AttachUserRequest));
        assert_eq!(
            parse(&hex("2e000008")),
            Ok(Pdu::AttachUserConfirm {
                result: McsResult::RT_SUCCESSFUL,
                initiator: Some(1009)
            })
        );
        assert_eq!(
            parse(&hex("38000803f1")),
            Ok(Pdu::ChannelJoinRequest {
                initiator: 1009,
                channel: 1009
            })
        );
        assert_eq!(
            parse(&hex("3e00000803f103f1")),
            Ok(Pdu::ChannelJoinConfirm {
                result: McsResult::RT_SUCCESSFUL,
                initiator: 1009,
                requested: 1009,
                channel: Some(1009)
            })
        );
    }

    #[test]
    fn refusals_keep_their_result() {
        // Aligned PER: choice 11 or 15, no optional field, four bits of result.
        assert_eq!(
            parse(&[0x2D, 0xA0]),
            Ok(Pdu::AttachUserConfirm {
                result: McsResult::RT_TOO_MANY_USERS,
                initiator: None
            })
        );
        assert_eq!(
            parse(&hex("3c60000803ef")),
            Ok(Pdu::ChannelJoinConfirm {
                result: McsResult::RT_NO_SUCH_CHANNEL,
                initiator: 1009,
                requested: 1007,
                channel: None
            })
        );
        assert_eq!(McsResult(11).to_string(), "RT_TOO_MANY_CHANNELS");
    }

    #[test]
    fn the_ultimatum_and_its_reason() {
        for (bytes, reason) in [
            ([0x20, 0x80], Reason::RN_PROVIDER_INITIATED),
            ([0x21, 0x80], Reason::RN_USER_REQUESTED),
            ([0x21, 0x00], Reason::RN_TOKEN_PURGED),
            ([0x22, 0x00], Reason::RN_CHANNEL_PURGED),
            ([0x23, 0x80], Reason(7)),
        ] {
            assert_eq!(parse(&bytes), Ok(Pdu::DisconnectProviderUltimatum { reason }));
        }
    }

    #[test]
    fn data_with_both_kinds_of_length() {
        let short = hex("68000103eb70 03 aabbcc");
        assert_eq!(
            parse(&short),
            Ok(Pdu::SendDataIndication(SendData {
                initiator: 1002,
                channel: 1003,
                payload: &[0xAA, 0xBB, 0xCC]
            }))
        );
        let mut long = hex("64000803eb708110");
        long.extend([7; 0x110]);
        let Ok(Pdu::SendDataRequest(data)) = parse(&long) else {
            panic!("not data");
        };
        assert_eq!((data.initiator, data.payload.len()), (1009, 0x110));
        assert!(parse(&long[..long.len() - 1]).is_err());
    }

    #[test]
    fn every_cut_of_a_complete_payload_is_a_flaw() {
        for whole in ["2e000008", "3e00000803f103f1", "38000803f1", "68000103eb7003aabbcc", "2180"] {
            let whole = hex(whole);
            for cut in 0..whole.len() {
                assert!(parse(&whole[..cut]).is_err(), "{whole:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_connect_response_that_refuses() {
        let refusal = hex("7f6624 0a0108 020100 301a020122020103020100020101020100020101020300fff8020102 0400");
        assert_eq!(
            parse(&refusal[..]),
            Ok(Pdu::ConnectResponse {
                result: McsResult::RT_PARAMETERS_UNACCEPTABLE,
                called_connect_id: 0,
                user_data: &[]
            })
        );
    }

    #[test]
    fn ironrdp_reads_the_same() {
        for whole in [
            "0300000b02f0802e000008",
            "0300000c02f08038000803f1",
            "0300000f02f0803e00000803f103f1",
            "0300000902f0802180",
            "0300001102f08068000103eb7003aabbcc",
        ] {
            let whole = hex(whole);
            let oracle = ironrdp_pdu::decode::<X224<mcs::McsMessage<'_>>>(&whole).expect("decodes").0;
            let agrees = match (oracle, parse(&whole[7..]).expect("parses")) {
                (mcs::McsMessage::AttachUserConfirm(theirs), Pdu::AttachUserConfirm { result, initiator }) => {
                    theirs.result == result.0 && Some(theirs.initiator_id) == initiator
                }
                (mcs::McsMessage::ChannelJoinRequest(theirs), Pdu::ChannelJoinRequest { initiator, channel }) => {
                    theirs.initiator_id == initiator && theirs.channel_id == channel
                }
                (mcs::McsMessage::ChannelJoinConfirm(theirs), Pdu::ChannelJoinConfirm { requested, channel, .. }) => {
                    theirs.requested_channel_id == requested && Some(theirs.channel_id) == channel
                }
                (mcs::McsMessage::DisconnectProviderUltimatum(theirs), Pdu::DisconnectProviderUltimatum { reason }) => {
                    mcs::DisconnectReason::from_u8(reason.0) == Some(theirs.reason)
                }
                (mcs::McsMessage::SendDataIndication(theirs), Pdu::SendDataIndication(ours)) => {
                    theirs.channel_id == ours.channel && *theirs.user_data == *ours.payload
                }
                _ => false,
            };
            assert!(agrees, "{whole:x?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), first: u8) {
            let _ = parse(&bytes);
            let _ = parse(&[&[first], &bytes[..]].concat());
            let _ = parse(&[&[0x7F, 0x66], &bytes[..]].concat());
        }
    }
}
