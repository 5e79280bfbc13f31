//! Reads MCS PDUs in the light of what the connect PDUs agreed on: which channel is which, and what protects their content.

use crate::protocol::rdp::share::{self, DataKind};
use crate::protocol::rdp::{self, Message, Security};
use crate::protocol::{gcc, mcs};
use crate::transcript::moment::{Multitransport, Pdu, What};

/// The I/O channel of every known server, where SC_NET was not seen.
const IO_CHANNEL: u16 = 1003;

/// What MCS has agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    io: u16,
    message: Option<u16>,
    security: Security,
}

impl Default for Domain {
    fn default() -> Domain {
        Domain {
            io: IO_CHANNEL,
            message: None,
            security: Security::Enhanced,
        }
    }
}

impl Domain {
    /// What a PDU says.
    pub(super) fn says(&mut self, pdu: &mcs::Pdu<'_>) -> Vec<What> {
        let what = match pdu {
            mcs::Pdu::ConnectInitial { user_data } => What::ConnectInitial(gcc::client(user_data).ok().map(Box::new)),
            mcs::Pdu::ConnectResponse { result, user_data, .. } => {
                let data = gcc::server(user_data).ok();
                if let Some(data) = &data {
                    self.learn(data);
                }
                What::ConnectResponse {
                    result: *result,
                    data: data.map(Box::new),
                }
            }
            mcs::Pdu::ErectDomainRequest => What::ErectDomain,
            mcs::Pdu::AttachUserRequest => What::AttachUser,
            mcs::Pdu::AttachUserConfirm { result, .. } => What::AttachUserConfirm(*result),
            mcs::Pdu::ChannelJoinRequest { channel, .. } => What::Join(*channel),
            mcs::Pdu::ChannelJoinConfirm { requested, result, .. } => What::JoinConfirm {
                channel: *requested,
                result: *result,
            },
            mcs::Pdu::DisconnectProviderUltimatum { reason } => What::Ultimatum(*reason),
            mcs::Pdu::SendDataRequest(data) | mcs::Pdu::SendDataIndication(data) => return self.data(data),
            mcs::Pdu::Other { .. } => What::ChannelData { channel: 0, length: 0 },
        };
        vec![what]
    }

    fn learn(&mut self, data: &gcc::ServerData) {
        self.io = data.io_channel.unwrap_or(IO_CHANNEL);
        self.message = data.message_channel;
        if data.security.is_some_and(|security| security.method.0 != 0) {
            self.security = Security::Standard;
        }
    }

    fn data(&self, data: &mcs::SendData<'_>) -> Vec<What> {
        let unread = What::ChannelData {
            channel: data.channel,
            length: data.payload.len(),
        };
        let message = if data.channel == self.io {
            rdp::io_channel(data.payload, self.security)
        } else if Some(data.channel) == self.message {
            rdp::message_channel(data.payload)
        } else {
            return vec![unread];
        };
        let pdu = match message {
            Ok(Message::Share(pdus)) => return shares(pdus, unread),
            Ok(Message::SecurityExchange { .. }) => Pdu::SecurityExchange,
            Ok(Message::ClientInfo(info)) => Pdu::ClientInfo(info),
            Ok(Message::License(license)) => Pdu::License(license),
            Ok(Message::AutoDetect(_)) => Pdu::AutoDetect,
            Ok(Message::MultitransportRequest(request)) => Pdu::Multitransport(Multitransport::Request(request)),
            Ok(Message::MultitransportResponse(response)) => Pdu::Multitransport(Multitransport::Response(response)),
            Ok(Message::Redirection(redirection)) => Pdu::Redirection(redirection),
            Ok(Message::Encrypted { flags, length }) => Pdu::Encrypted { flags, length },
            Ok(Message::Heartbeat(_) | Message::Other { .. }) => return vec![unread],
            Err(flaw) => return vec![What::Malformed("RDP", Box::new(flaw))],
        };
        vec![What::Pdu(Box::new(pdu))]
    }
}

/// The Share Control PDUs of one payload that bear on the course of the connection.
fn shares(pdus: share::Pdus<'_>, unread: What) -> Vec<What> {
    let mut said: Vec<What> = pdus
        .filter_map(|pdu| match pdu {
            Ok(share::Pdu::Data(data)) if is_mere_session(data.kind) => None,
            Ok(share::Pdu::Flow | share::Pdu::Other { .. }) => None,
            Ok(pdu) => Some(What::Pdu(Box::new(Pdu::Share(pdu)))),
            Err(flaw) => Some(What::Malformed("RDP", Box::new(flaw))),
        })
        .collect();
    if said.is_empty() {
        said.push(unread);
    }
    said
}

/// Graphics, pointers, input and the like, of which a session has thousands.
fn is_mere_session(kind: DataKind) -> bool {
    matches!(
        kind,
        DataKind::PDUTYPE2_UPDATE
            | DataKind::PDUTYPE2_POINTER
            | DataKind::PDUTYPE2_INPUT
            | DataKind::PDUTYPE2_REFRESH_RECT
            | DataKind::PDUTYPE2_PLAY_SOUND
            | DataKind::PDUTYPE2_SUPPRESS_OUTPUT
            | DataKind::PDUTYPE2_SET_KEYBOARD_INDICATORS
            | DataKind::PDUTYPE2_FRAME_ACKNOWLEDGE
            | DataKind::PDUTYPE2_BITMAPCACHE_PERSISTENT_LIST
    )
}
