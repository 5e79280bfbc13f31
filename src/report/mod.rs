//! Verdicts in, bytes out: the report as data and one renderer per format.

pub mod community_id;
pub mod model;

pub use model::Report;
