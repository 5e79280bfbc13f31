//! Looks at a packet capture and says why a Remote Desktop connection failed, who ended it, and what to do.
//!
//! Bytes travel one way, and the modules stand in the order in which they travel:
//!
//! 1. [`capture`]: bytes in, [`capture::Frame`] out (files, pipes, live interfaces)
//! 2. [`packet`]: one frame in, one [`packet::Packet`] out; stateless
//! 3. [`protocol`] and [`codes`]: a shelf of pure parsers and the dictionary of numbers
//! 4. [`transcript`]: what was said, by whom, in which frames
//! 5. [`forensics`]: what the packets measure: who made a RST, where the capture was taken, timers, loss, path MTU
//! 6. [`diagnosis`]: the verdict
//! 7. [`report`]: text, JSON and the other formats
//! 8. [`evidence`]: the packets that matter, annotated, redacted, in one file
//!
//! A module imports only what stands above it in this list; a test reads the sources and holds them to it.

#![deny(unsafe_code)]

pub mod capture;
pub mod codes;
pub mod packet;
pub mod flow;
pub mod protocol;
pub mod transcript;
pub mod attempt;
pub mod forensics;
pub mod diagnosis;
pub mod report;
pub mod evidence;
mod words;
pub mod examine;
