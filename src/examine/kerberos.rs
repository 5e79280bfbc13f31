//! Kerberos beside Remote Desktop: what KDCs answered goes into the book that rules look into.

use std::net::SocketAddr;

use crate::attempt::tickets::KERBEROS;
use crate::capture::{FrameNo, Timestamp};
use crate::examine::Examiner;
use crate::protocol::Parsed;
use crate::protocol::kerberos;

impl Examiner {
    /// Takes a datagram from or to port 88.
    pub(super) fn kerberos_datagram(&mut self, stamp: (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if from.port() == KERBEROS
            && let Parsed::Done(message, _) = kerberos::parse(payload)
        {
            self.state.context.tickets.push(stamp, to.ip(), from.ip(), message);
        }
    }

    /// Takes a segment from or to port 88. Errors fit into one; of longer answers the beginning tells enough.
    pub(super) fn kerberos_segment(&mut self, stamp: (FrameNo, Timestamp), from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if from.port() != KERBEROS || payload.is_empty() {
            return;
        }
        let tickets = &mut self.state.context.tickets;
        match kerberos::frame(payload) {
            Parsed::Done(message, _) => tickets.push(stamp, to.ip(), from.ip(), message),
            Parsed::More => tickets.push_beginning(stamp, to.ip(), from.ip(), payload),
            Parsed::NotMine | Parsed::Malformed(_) => {}
        }
    }
}
