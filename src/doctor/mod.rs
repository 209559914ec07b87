//! The examination of a machine: every check of the troubleshooting lists that
//! can be made from inside a distribution.
//!
//! [`gather`] reads the machine into [`Facts`] and changes nothing; [`examine`]
//! judges them and does not look at anything else.

mod checks;
mod facts;
mod read;
mod registry;
mod resolv;
#[cfg(test)]
mod testing;
mod verdict;

pub use facts::Facts;
pub use read::{Wish, gather};
pub use registry::{Check, Fix, Group};
pub use verdict::{Grade, Part, Verdict};

/// Judges the facts: the checks of these groups, of all where none is named.
#[must_use]
pub fn examine(facts: &Facts, groups: &[Group]) -> Vec<(Check, Verdict)> {
    let wanted = |check: &&Check| groups.is_empty() || groups.contains(&check.group());
    let checks = Check::ALL.iter().filter(wanted);
    checks.map(|check| (*check, check.run(facts))).collect()
}
