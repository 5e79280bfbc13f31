//! Which TCP stack a side runs, as far as its SYN and its TTL tell.

use crate::flow::Habits;
use crate::forensics::vantage::initial_ttl;

/// A family of TCP stacks that write resets alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Linux and Android.
    Linux,
    /// Windows.
    Windows,
    /// A TTL of 128 with the SYN options of another system: a changed default, or a device that speaks for the host.
    Mixed,
    /// macOS, iOS.
    Apple,
    /// Another one, or nothing to tell it by.
    Unknown,
}

/// MSS, SACK permitted, timestamps; MSS, no-op, no-op, SACK permitted; MSS, no-op, no-op, timestamps: only Linux writes these orders.
const LINUX: [&[u8]; 3] = [&[2, 4, 8], &[2, 1, 1, 4], &[2, 1, 1, 8]];
/// MSS, no-op, window scale, no-op, no-op, timestamps, SACK permitted, end.
const APPLE: &[u8] = &[2, 1, 3, 1, 1, 8, 4, 0];

impl Stack {
    /// Tells a side's stack.
    pub fn of(habits: &Habits) -> Stack {
        let class = habits
            .ttl
            .usual()
            .or(habits.handshake_ttl.usual())
            .map(|ttl| initial_ttl(ttl.value));
        let order = habits.syn.map(|syn| syn.order).unwrap_or_default();
        let linux = LINUX.iter().any(|start| order.starts_with(start));
        match class {
            Some(128) if linux => Stack::Mixed,
            Some(128) => Stack::Windows,
            Some(64) if linux => Stack::Linux,
            Some(64) if order.starts_with(APPLE) => Stack::Apple,
            _ => Stack::Unknown,
        }
    }

    /// The name for a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Stack::Linux => "a Linux host",
            Stack::Windows => "a Windows host",
            Stack::Mixed => "a host with TTL 128",
            Stack::Apple => "an Apple host",
            Stack::Unknown => "a host of unknown kind",
        }
    }
}
