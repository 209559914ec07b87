//! Interface names with wildcards, as the configuration writes them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::InterfaceName;

/// An interface name in which `*` matches any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct InterfacePattern(String);

impl InterfacePattern {
    /// The pattern, or `None` when it could never match an interface name.
    #[must_use]
    pub fn new(pattern: &str) -> Option<Self> {
        let literal = pattern.replace('*', "");
        let fits = if literal.is_empty() {
            !pattern.is_empty()
        } else {
            InterfaceName::new(&literal).is_some() || literal.starts_with('.')
        };
        fits.then(|| Self(pattern.to_owned()))
    }

    /// Whether the pattern covers this name.
    #[must_use]
    pub fn matches(&self, name: &InterfaceName) -> bool {
        wildcard(self.0.as_bytes(), name.as_str().as_bytes())
    }
}

/// Matches byte by byte; on a mismatch the last `*` takes one byte more.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&wanted) if wanted == byte => {
                p += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((after_star, taken)) = retry else {
                    return false;
                };
                retry = Some((after_star, taken + 1));
                p = after_star;
                t = taken + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|&byte| byte == b'*')
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InterfacePattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::new(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} can never match an interface: write a name of at most 15 characters such as \"wg0\", with * for any run of characters such as \"wg*\""
            ))
        })
    }
}

/// A list of patterns; a name belongs to it when one of them covers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Patterns(Vec<InterfacePattern>);

impl Patterns {
    /// The patterns of a list of literals; those that can never match are left out.
    #[must_use]
    pub fn new(patterns: &[&str]) -> Self {
        Self(
            patterns
                .iter()
                .filter_map(|p| InterfacePattern::new(p))
                .collect(),
        )
    }

    /// Whether one of the patterns covers this name.
    #[must_use]
    pub fn matches(&self, name: &InterfaceName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// The patterns in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &InterfacePattern> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
