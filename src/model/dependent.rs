//! Units that follow this node's address.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{ModeState, Node, display_as_serialized};

display_as_serialized!(UnitAction);

/// systemd's limit without the final NUL (UNIT_NAME_MAX in its
/// src/basic/unit-def.h).
const LONGEST: usize = 255;

/// The kinds of units (systemd.unit(5)).
const KINDS: &str = "service socket device mount automount swap target path timer slice scope";

/// The name of one unit of systemd, with its suffix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// Takes a name as systemctl does: one without a suffix is a service's.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead, without the name.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (stem, whole) = match text.rsplit_once('.') {
            Some((stem, kind)) if KINDS.split(' ').any(|known| known == kind) => {
                (stem, text.to_owned())
            }
            _ => (text, format!("{text}.service")),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        if stem.is_empty() {
            return Err("a unit's name has something before its suffix, such as \"nginx.service\"");
        }
        if whole.len() > LONGEST {
            return Err("a unit's name has at most 255 characters");
        }
        if !stem.chars().all(plain) {
            return Err(
                "a unit's name has letters, digits and : - _ . \\ @ only; `systemd-escape` makes one of a path",
            );
        }
        match stem.split_once('@') {
            Some(("", _)) => Err(
                "a template's name has something before the @, such as \"wg-quick@wg0.service\"",
            ),
            Some((_, "")) => Err(
                "a template alone cannot run: name the instance too, such as \"wg-quick@wg0.service\"",
            ),
            Some(_) | None => Ok(Self(whole)),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is done to a unit that runs. One that does not run is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitAction {
    /// Reload it where it can be reloaded, else restart it.
    #[default]
    ReloadOrRestart,
    /// Reload it.
    Reload,
    /// Stop and start it.
    Restart,
}

/// A unit and what to do to it when the address has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The unit.
    pub unit: UnitName,
    /// What is done.
    pub action: UnitAction,
}

/// This node's address changed, for those who depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressChange {
    /// The address that dependents were notified of last.
    pub old: IpAddr,
    /// The node now.
    pub new: Node,
    /// WSL's networking mode, as far as it is known.
    pub mode: ModeState,
}

#[cfg(test)]
mod tests;
