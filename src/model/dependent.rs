//! Units that follow this node's address and its tunnels.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{InterfaceName, Subject, display_as_serialized};

display_as_serialized!(UnitAction, FactKey, FollowedEvent);

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

    /// Whether it makes tunnels: restarted after each change of a tunnel it would make
    /// another change.
    #[must_use]
    pub fn makes_tunnels(&self) -> bool {
        const OTHERS: [&str; 5] = [
            "wg-quick.target",
            "tailscaled.service",
            "netbird.service",
            "systemd-networkd.service",
            "NetworkManager.service",
        ];
        self.0.starts_with("wg-quick@") || OTHERS.contains(&self.as_str())
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

/// What dependents can follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FollowedEvent {
    /// The node's address.
    Address,
    /// The tunnels.
    Mesh,
}

impl FollowedEvent {
    /// Both, in the order in which their hooks run.
    pub const ALL: [Self; 2] = [Self::Address, Self::Mesh];

    /// The folder of hooks below `hooks.d`, and what a hook reads in `WSLMESH_EVENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address-changed",
            Self::Mesh => "mesh-changed",
        }
    }
}

/// The events that a unit follows, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<FollowedEvent>")]
pub struct Follows {
    /// The node's address.
    pub address: bool,
    /// The tunnels.
    pub mesh: bool,
}

impl Follows {
    /// The address alone.
    pub const ADDRESS: Self = Self {
        address: true,
        mesh: false,
    };

    /// Whether it is among them.
    #[must_use]
    pub fn includes(self, event: FollowedEvent) -> bool {
        match event {
            FollowedEvent::Address => self.address,
            FollowedEvent::Mesh => self.mesh,
        }
    }
}

impl TryFrom<Vec<String>> for Follows {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        const CHOICE: &str = "write \"address\", \"mesh\" or both";
        let mut follows = Self {
            address: false,
            mesh: false,
        };
        for word in &words {
            match word.as_str() {
                "address" => follows.address = true,
                "mesh" => follows.mesh = true,
                _ => return Err(format!("{word:?} is no event: {CHOICE}")),
            }
        }
        match words.as_slice() {
            [] => Err(format!("it is empty: {CHOICE}")),
            _ => Ok(follows),
        }
    }
}

impl From<Follows> for Vec<FollowedEvent> {
    fn from(follows: Follows) -> Self {
        let mut events = Self::from(FollowedEvent::ALL);
        events.retain(|event| follows.includes(*event));
        events
    }
}

/// A unit and what to do to it when something that it follows has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The unit.
    pub unit: UnitName,
    /// What is done.
    pub action: UnitAction,
    /// What it follows, where the unit says so itself.
    pub on: Option<Follows>,
}

impl Dependent {
    /// What it follows, where `usual` is what units follow that say nothing themselves. A
    /// unit that makes tunnels does not follow them.
    #[must_use]
    pub fn follows(&self, usual: Follows) -> Follows {
        let follows = self.on.unwrap_or(usual);
        match self.unit.makes_tunnels() {
            true => Follows {
                mesh: false,
                ..follows
            },
            false => follows,
        }
    }
}

/// A key of the network file that dependents follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FactKey {
    /// The node's address.
    WslIp,
    /// The address of the tunnel of Tailscale.
    MeshIpTailscale,
    /// The address of the tunnel of WireGuard.
    MeshIpWireguard,
    /// Its UDP port.
    MeshPortWireguard,
}

impl FactKey {
    /// The event that a change of it is.
    #[must_use]
    pub fn event(self) -> FollowedEvent {
        match self {
            Self::WslIp => FollowedEvent::Address,
            Self::MeshIpTailscale | Self::MeshIpWireguard | Self::MeshPortWireguard => {
                FollowedEvent::Mesh
            }
        }
    }
}

/// What a key stands for now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fact {
    /// The interface.
    pub interface: Option<InterfaceName>,
    /// The value; empty where there is none.
    pub value: String,
}

/// The tunnels' facts; without a key whose value is not known now.
pub type Mesh = BTreeMap<FactKey, Fact>;

/// A tunnel's fact changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MeshChange {
    /// The tunnel; the one that was lost where there is none now.
    pub interface: String,
    /// Which fact.
    pub key: FactKey,
    /// Its value before; empty where there was none.
    pub old: String,
    /// Its value now; empty where there is none.
    pub new: String,
}

impl fmt::Display for MeshChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            key,
            old,
            new,
        } = self;
        let what = match key {
            FactKey::MeshPortWireguard => "port",
            FactKey::WslIp | FactKey::MeshIpTailscale | FactKey::MeshIpWireguard => "address",
        };
        write!(f, "tunnel {interface}: {what} ")?;
        match (old.as_str(), new.as_str()) {
            ("", new) => f.write_str(new),
            (old, "") => write!(f, "{old} is lost"),
            (old, new) => write!(f, "{old} -> {new}"),
        }?;
        write!(f, " ({key})")
    }
}

/// A change that dependents are notified of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed.
    pub key: FactKey,
    /// The interface; empty where it is not known.
    pub interface: String,
    /// The value that dependents were notified of last; empty for none.
    pub old: String,
    /// The value now; empty for none.
    pub new: String,
    /// Who knows another one than the old, since a run was interrupted.
    pub known: BTreeMap<Subject, String>,
}

impl Change {
    /// The value that this one was notified of last.
    #[must_use]
    pub fn old_of(&self, subject: &str) -> &str {
        self.known.get(subject).unwrap_or(&self.old)
    }

    /// Whether this one knows the new value.
    #[must_use]
    pub fn is_known_to(&self, subject: &str) -> bool {
        self.old_of(subject) == self.new
    }
}

#[cfg(test)]
mod tests;
