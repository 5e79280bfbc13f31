//! TLS from SSL 3.0 to 1.3: records, handshake, alerts, certificates, sizes, and decryption with a key log.

pub mod alert;
pub mod certificate;
pub mod decrypt;
pub mod extension;
pub mod handshake;
pub mod hello;
mod key_schedule;
pub mod keylog;
#[cfg(test)]
mod peers;
mod protection;
pub mod record;
pub mod size;
pub mod suite;
