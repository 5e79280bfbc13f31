//! Flow events and messages in, a transcript out: what was said, by whom, in which frames, and how far it came.

mod inbox;
pub mod moment;
pub mod phase;
pub mod recorder;
mod tls;

pub use inbox::Stamp;
pub use moment::{Depth, Foreign, Frames, Moment, Moments, Sealed, SealedKind, What};
pub use phase::{Phase, Role, Transport, Vantage};
pub use recorder::Recorder;
