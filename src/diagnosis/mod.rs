//! Attempts in, verdicts out: the words of the contract and the rules that use them.

pub mod causes;
pub mod verdict;

pub use causes::CAUSES;
pub use verdict::{Act, Alternative, Cause, Confidence, EndedBy, Evidence, Family, Leans, Mechanism, Remedy, Verdict};
