//! Names of network interfaces, and with wildcards as the configuration writes them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Link, LinkKind, display_as_serialized};

display_as_serialized!(InterfacePattern);

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

/// An interface name in which `*` matches any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// The pattern, or `None` when it could never match an interface name.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        let literal = pattern.replace('*', "");
        let name = InterfaceName::new(&literal).is_some() || literal.starts_with('.');
        let fits = name || literal.is_empty() && !pattern.is_empty();
        fits.then(|| Self(pattern.to_owned()))
    }

    /// The name, where it is one.
    #[must_use]
    pub fn literal(&self) -> Option<InterfaceName> {
        let is_literal = self.0 != Patterns::WIREGUARD && !self.0.contains('*');
        InterfaceName::new(&self.0).filter(|_| is_literal)
    }

    /// Whether the pattern covers this name.
    #[must_use]
    pub fn matches(&self, name: &InterfaceName) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == name.0;
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let inner = name
            .0
            .strip_prefix(start)
            .and_then(|name| name.strip_suffix(end));
        inner.is_some_and(|mut name| {
            // The first occurrence of a part leaves most for those after it.
            middle.split('*').all(|part| {
                let found = name.split_once(part);
                name = found.map_or(name, |(_, after)| after);
                found.is_some()
            })
        })
    }
}

impl TryFrom<String> for InterfacePattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| {
            format!(
                "{text:?} can never match an interface: write a name of at most 15 characters such as \"wg0\", with * for any run of characters such as \"wg*\""
            )
        })
    }
}

/// A list of patterns; a name belongs to it when one of them covers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
pub struct Patterns(Vec<InterfacePattern>);

impl Patterns {
    /// In a list of patterns: every WireGuard device, whatever its name.
    pub const WIREGUARD: &str = "@wireguard";

    /// The patterns of a list of literals; those that can never match are left out.
    #[must_use]
    pub fn new(patterns: &[&str]) -> Self {
        let possible = patterns.iter().filter_map(|p| InterfacePattern::new(p));
        Self(possible.collect())
    }

    /// Whether one of the patterns covers this name.
    #[must_use]
    pub fn matches(&self, name: &InterfaceName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether one of the patterns covers this link, by its name or its kind. None covers the
    /// tunnel to Windows.
    #[must_use]
    pub fn covers(&self, link: &Link) -> bool {
        let by_kind = || self.0.iter().any(|pattern| pattern.0 == Self::WIREGUARD);
        let covers = self.matches(&link.name) || link.kind.is_wireguard() && by_kind();
        covers && link.kind != LinkKind::Tunnel
    }

    /// The patterns in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &InterfacePattern> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
