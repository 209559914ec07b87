//! What a Windows administrator agrees to, and how it follows from the settings.
//!
//! The elevated side holds each forward against this, and nobody else is asked
//! again until it changes.

mod range;
mod wanted;

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

pub use self::{
    range::{PortRange, Ports, port},
    wanted::{PolicyError, grants},
};
use super::Distribution;
use crate::config::{Firewall, Forward, Protocol};

/// The version of a policy's form.
pub const VERSION: u32 = 1;

/// What is agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// [`VERSION`].
    pub version: u32,
    /// The package that asked for it.
    pub package: String,
    /// The distribution that is started after a Windows logon.
    pub distribution: Distribution,
    /// Whether it is started after a Windows logon.
    pub logon: bool,
    /// The kinds of networks that the firewall rules are for; not empty.
    pub profiles: Profiles,
    /// What may be forwarded; the first one that holds a forward's ports counts.
    pub grants: Vec<Grant>,
}

/// Ports that may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Grant {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Windows' address to listen on.
    pub listen_address: Ipv4Addr,
    /// Windows' ports to listen on.
    pub listen_ports: PortRange,
    /// Ports in the distribution.
    pub connect_ports: PortRange,
    /// Whom Windows' firewall lets in.
    pub firewall: Firewall,
}

/// Whether a policy allows a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// As it is configured.
    Covered,
    /// No grant holds its ports.
    OutsidePolicy,
    /// Its ports are allowed on another address.
    ListenAddress,
    /// Its ports are allowed with another firewall.
    Firewall,
}

impl Policy {
    /// Whether this policy allows the forward.
    #[must_use]
    pub fn covers(&self, forward: &Forward) -> Coverage {
        covers(&self.grants, forward)
    }
}

/// The rule of the elevated side: protocol and ports choose the grant.
fn covers(grants: &[Grant], forward: &Forward) -> Coverage {
    match grants.iter().find(|grant| grant.holds(forward)) {
        None => Coverage::OutsidePolicy,
        Some(grant) if grant.listen_address != forward.listen_address => Coverage::ListenAddress,
        Some(grant) if grant.firewall != forward.firewall => Coverage::Firewall,
        Some(_) => Coverage::Covered,
    }
}

impl Grant {
    /// Whether both ranges hold the forward's ports.
    fn holds(&self, forward: &Forward) -> bool {
        self.protocol == forward.protocol
            && self.listen_ports.holds(forward.listen_port)
            && self.connect_ports.holds(forward.connect_port)
    }
}

impl Grant {
    /// Whether it allows everything that the other does, in the same way.
    fn includes(&self, other: &Self) -> bool {
        let alike = (self.protocol, self.listen_address, self.firewall)
            == (other.protocol, other.listen_address, other.firewall);
        alike
            && self.listen_ports.includes(other.listen_ports)
            && self.connect_ports.includes(other.connect_ports)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.firewall {
            Firewall::None => "no firewall rule",
            Firewall::Local => "from the local subnet",
            Firewall::Full => "from everywhere",
        };
        write!(
            f,
            "{} {:>11} -> {:<11} on {:<15} {who}",
            self.protocol,
            self.listen_ports.to_string(),
            self.connect_ports.to_string(),
            self.listen_address.to_string(),
        )
    }
}

/// A kind of network, as Windows calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A domain's.
    Domain,
    /// One that the user trusts.
    Private,
    /// Every other; what Windows takes a new network for.
    Public,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "domain",
            Self::Private => "private",
            Self::Public => "public",
        })
    }
}

/// One or more kinds of networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Profile>")]
pub struct Profiles(BTreeSet<Profile>);

/// There is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name at least one of domain, private and public")]
pub struct NoProfile;

impl Default for Profiles {
    /// Networks that somebody chose to trust.
    fn default() -> Self {
        Self([Profile::Domain, Profile::Private].into())
    }
}

impl Profiles {
    /// Whether this kind is among them.
    #[must_use]
    pub fn holds(&self, profile: Profile) -> bool {
        self.0.contains(&profile)
    }
}

impl TryFrom<BTreeSet<Profile>> for Profiles {
    type Error = NoProfile;

    fn try_from(profiles: BTreeSet<Profile>) -> Result<Self, NoProfile> {
        if profiles.is_empty() {
            Err(NoProfile)
        } else {
            Ok(Self(profiles))
        }
    }
}

impl FromStr for Profiles {
    type Err = String;

    /// Reads `domain,private`.
    fn from_str(text: &str) -> Result<Self, String> {
        let profile = |word: &str| match word.trim() {
            "domain" => Ok(Profile::Domain),
            "private" => Ok(Profile::Private),
            "public" => Ok(Profile::Public),
            other => Err(format!(
                "{other:?} is no kind of network: write domain, private, public, or several with commas between"
            )),
        };
        let profiles: BTreeSet<Profile> = text.split(',').map(profile).collect::<Result<_, _>>()?;
        Self::try_from(profiles).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(", "))
    }
}
