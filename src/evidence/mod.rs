//! A report and its capture in, what one attaches to a ticket out: the packets that matter, annotated, on request redacted, in one file.
//!
//! [`select`] says which frames belong to an attempt, [`raw`] copies them out of the source in one pass, [`mod@slice`] annotates the
//! copy, [`redact`] takes names and addresses out of it, [`html`] draws the report, [`bundle`] puts it all together.

pub mod bundle;
pub mod hashing;
pub mod html;
pub mod numbers;
pub mod raw;
pub mod readme;
pub mod redact;
pub mod select;
pub mod slice;
pub mod staging;
