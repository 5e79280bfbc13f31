//! The rules: one file per family of causes, one table in the order in which they are asked.

mod incomplete;
mod ordinary;

use crate::diagnosis::case::{Case, Finding};

/// A rule: looks at a case, and finds something or nothing.
pub type Judge = fn(&Case<'_>) -> Option<Finding>;

/// The rules, the most telling first.
pub const RULES: &[(&str, Judge)] = &[("ordinary", ordinary::judge)];

/// The finding of the first rule that finds something. The last resort says that the capture is not enough.
pub fn first(case: &Case<'_>) -> Finding {
    RULES
        .iter()
        .find_map(|(_, judge)| judge(case))
        .unwrap_or_else(|| incomplete::judge(case))
}
