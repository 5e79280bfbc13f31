//! Measurements on a transcript: where the capture was taken, who made a RST, which timer ran out, what the path lost.

pub mod impostor;
pub mod imprint;
pub mod inspection;
pub mod loss;
pub mod path;
pub mod pmtu;
pub mod reset;
pub mod timers;
pub mod udp_timers;
pub mod vantage;

pub use reset::{Attribution, Elsewhere, Maker, attribute};
pub use vantage::View;
