//! Names of network interfaces.

use std::fmt;

/// A network interface's name as the kernel accepts it: 1 to 15 bytes, without
/// `/`, `:`, white space or a NUL, and neither `.` nor `..` (`dev_valid_name()`
/// in the kernel's net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// Longest name in bytes: the kernel's IFNAMSIZ less the final NUL.
    pub const MAX: usize = 15;

    /// The name, or `None` where the kernel would refuse it.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::MAX;
        let allowed = !name
            .chars()
            .any(|c| matches!(c, '/' | ':' | '\0') || c.is_whitespace());
        (fits && allowed && name != "." && name != "..").then(|| Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
