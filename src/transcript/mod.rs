//! Flow events and messages in, a transcript out: what was said, by whom, in which frames, and how far it came.

mod domain;
mod halves;
pub mod hidden;
mod inbox;
pub mod keys;
pub mod moment;
mod opened;
pub mod phase;
pub mod progress;
pub mod recorder;
mod shelf;
mod stream;
pub mod tcp;
mod tls;
mod tunnel;
pub mod udp;

pub use inbox::Stamp;
pub use keys::Keys;
pub use moment::{CredSsp, Depth, Foreign, Frames, GatewaySays, Moment, Moments, Pdu, Sealed, SealedKind, What};
pub use phase::{Phase, Role, Transport, Vantage};
pub use progress::{Milestone, Progress};
pub use recorder::Recorder;
pub use shelf::Shelf;
pub use tcp::{Transcript, Window};
pub use udp::{UdpProgress, UdpRecorder, UdpTranscript};
