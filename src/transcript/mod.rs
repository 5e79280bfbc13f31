//! Flow events and messages in, a transcript out: what was said, by whom, in which frames, and how far it came.

pub mod phase;

pub use phase::{Phase, Role, Transport, Vantage};
