//! Packets in, flows out: the only long-lived state. Who talks to whom, in which order, and what each side usually looks like.

pub mod copies;
pub mod ends;
pub mod habits;
pub mod key;
pub mod lobby;
pub mod log;
pub mod seen;
pub mod side;
pub mod spread;
pub mod stream;
pub mod table;
pub mod tcp;
pub mod udp;

pub use habits::{Habits, IpIdGait, SynFacts, Value, Values};
pub use key::FlowKey;
pub use lobby::{Lobby, Stranger, Stub};
pub use log::PacketLog;
pub use seen::{Marks, Seen};
pub use side::{PerSide, Side};
pub use spread::{Figures, Spread};
pub use stream::Listener;
pub use table::{Bookmark, Slot, Table};
pub use tcp::{Connection, Half, Handshake, IcmpSeen, Opening, Reset};
pub use udp::{Alone, Conversation, UdpHalf};

/// Every bound on memory. Whatever a bound costs is counted and printed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Packets kept from the start of a flow.
    pub log_head: usize,
    /// Packets kept from the end of a flow.
    pub log_tail: usize,
    /// Bytes of one side that may wait behind a hole.
    pub out_of_order_bytes: usize,
    /// Segments of one side that may wait behind a hole.
    pub out_of_order_segments: usize,
    /// Connections that could be RDP and are followed at one time.
    pub connections: usize,
    /// Of those, connections whose handshake is not complete; a flood of them must not push others out.
    pub half_open: usize,
    /// Bytes that connections may take, followed ones and those that wait for their verdict together: their logs, moments and
    /// buffers are weighed, what TLS and its keys own is not. Beyond it the ended ones are
    /// judged before late packets could come, then the middle of long ones is forgotten, then the longest silent one is judged.
    pub flow_bytes: usize,
    /// Bytes that are reckoned for each of [`verdicts`](Self::verdicts): connections may take them, too, as long as the rows of
    /// judged attempts do not.
    pub verdict_bytes: usize,
    /// Connections that were judged while packets of them may still come, and whose packets are passed over.
    pub judged: usize,
    /// Connections of one attempt, and as many conversations; those that follow are another attempt.
    pub attempt_connections: usize,
    /// Flows of which only the first packets are known, kept until their content shows what they are.
    pub strangers: usize,
    /// Flows that are known not to be RDP and are passed over.
    pub dismissed: usize,
    /// Bytes of a message that is not complete yet.
    pub message_bytes: usize,
    /// Moments of a transcript kept from its start.
    pub moments_head: usize,
    /// Moments of a transcript kept from its end.
    pub moments_tail: usize,
    /// Judged attempts kept in full, with half as many connections more; others are only counted. Failures may take all of it, healthy
    /// attempts half.
    pub verdicts: usize,
    /// Lookups (DNS, Kerberos) remembered at one time.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            log_head: 128,
            log_tail: 128,
            out_of_order_bytes: 256 * 1024,
            out_of_order_segments: 64,
            connections: 8_192,
            half_open: 2_048,
            flow_bytes: 8 << 20,
            verdict_bytes: 8 << 10,
            judged: 8_192,
            attempt_connections: 64,
            strangers: 8_192,
            dismissed: 1 << 20,
            message_bytes: 128 * 1024,
            moments_head: 256,
            moments_tail: 64,
            verdicts: 2_000,
            lookups: 4_096,
        }
    }
}
