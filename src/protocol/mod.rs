//! Stream bytes in, messages out: a shelf of pure parsers that import nothing of ours.
//!
//! What reads from a stream gives [`Parsed`]; what reads a unit whose end is already known gives a `Result` with a [`Flaw`].

pub mod aad;
mod ber;
mod bytes;
pub mod credssp;
pub mod datagram;
pub mod dns;
pub mod dtls;
pub mod gateway;
pub mod gcc;
pub mod kerberos;
pub mod mcs;
pub mod ntlm;
mod open;
pub mod preamble;
pub mod quic;
pub mod rdp;
pub mod rdpemt;
pub mod rdpeudp2;
pub mod rdpeudp;
pub mod rdstls;
pub mod sniff;
pub mod spnego;
pub mod stun;
pub mod tls;
pub mod tpkt;
pub mod x224;

/// The outcome of looking for one message at the start of `bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A message, and how many bytes it took.
    Done(T, usize),
    /// The bytes are a correct beginning; more are needed. Never returned for a complete message.
    More,
    /// The bytes belong to another protocol.
    NotMine,
    /// The bytes belong to this protocol and break its rules.
    Malformed(Flaw),
}

/// Which end of a conversation sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The end that opened the connection.
    Client,
    /// The end that answered.
    Server,
}

/// A broken rule, with the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Offset from the start of the message.
    pub at: usize,
    /// Which rule.
    pub why: &'static str,
}
