//! The TLS secrets of one examination, shared by all connections that are being followed.

use std::sync::{Arc, PoisonError, RwLock};

use crate::protocol::tls::decrypt::{Decryptor, WhyNoKeys};
use crate::protocol::tls::hello::{ClientHello, ServerHello};
use crate::protocol::tls::keylog::KeyLog;
use crate::transcript::halves::Halves;
use crate::transcript::shelf::Shelf;

/// Secrets that may grow while connections are read: a pcapng hands its own out between its packets. With them goes what
/// connections have in common: tunnels that they carry in halves, and certificates that were read.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    log: Arc<RwLock<KeyLog>>,
    pub(super) halves: Halves,
    pub(super) shelf: Shelf,
}

impl Keys {
    /// Adds the text of a key log.
    pub fn add(&self, text: &[u8]) {
        self.log.write().unwrap_or_else(PoisonError::into_inner).add(text);
    }

    /// Whether there is nothing usable.
    pub fn is_empty(&self) -> bool {
        self.log.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// For how many connections there are secrets.
    pub fn connections(&self) -> usize {
        self.log.read().unwrap_or_else(PoisonError::into_inner).connections()
    }

    /// Whether any text of a key log was handed in, usable or not.
    pub fn were_given(&self) -> bool {
        self.unusable_lines() > 0 || !self.is_empty()
    }

    /// Lines of key logs that are neither usable nor comments.
    pub fn unusable_lines(&self) -> u64 {
        self.log.read().unwrap_or_else(PoisonError::into_inner).unusable_lines()
    }

    /// Whether there is something for the connection of this client random.
    pub fn knows(&self, client_random: &[u8; 32]) -> bool {
        self.log.read().unwrap_or_else(PoisonError::into_inner).knows(client_random)
    }

    /// Prepares the keys of a connection.
    ///
    /// # Errors
    /// As [`Decryptor::new`].
    pub(super) fn decryptor(&self, client: &ClientHello, server: &ServerHello) -> Result<Decryptor, WhyNoKeys> {
        Decryptor::new(client, server, &self.log.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prepares the keys of another handshake inside a connection.
    ///
    /// # Errors
    /// As [`Decryptor::new`].
    pub(super) fn renegotiate(
        &self,
        decryptor: &mut Decryptor,
        client: &ClientHello,
        server: &ServerHello,
    ) -> Result<(), WhyNoKeys> {
        decryptor.renegotiate(client, server, &self.log.read().unwrap_or_else(PoisonError::into_inner))
    }
}
