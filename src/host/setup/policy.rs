//! What a Windows administrator agrees to, and how it follows from the settings.
//!
//! The elevated side checks each forward against this, and the administrator is
//! asked again only when it changes.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{distribution::Distribution, range::PortRange};
use crate::{
    config::{Firewall, Forward, Protocol},
    host::contract::PolicyGap,
    model::{PlainText, display_as_serialized, from_word},
};

display_as_serialized!(Profile);

/// The version of a policy's form.
pub const VERSION: u32 = 1;

/// What an administrator approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Policy {
    /// [`VERSION`].
    pub version: u32,
    /// The package that asked for it.
    pub package: PlainText,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl Policy {
    /// Why this policy does not allow the forward; `None` where it does.
    #[must_use]
    pub fn gap(&self, forward: &Forward) -> Option<PolicyGap> {
        gap(&self.grants, forward)
    }
}

/// The rule of the elevated side: protocol and ports choose the grant.
pub(super) fn gap(grants: &[Grant], forward: &Forward) -> Option<PolicyGap> {
    match grants.iter().find(|grant| grant.has_ports_of(forward)) {
        None => Some(PolicyGap::OutsidePolicy),
        Some(grant) if grant.listen_address != forward.listen_address => {
            Some(PolicyGap::ListenAddress)
        }
        Some(grant) if grant.firewall != forward.firewall => Some(PolicyGap::Firewall),
        Some(_) => None,
    }
}

impl Grant {
    /// Whether both ranges have the forward's ports.
    pub(super) fn has_ports_of(&self, forward: &Forward) -> bool {
        self.protocol == forward.protocol
            && self.listen_ports.has(forward.listen_port)
            && self.connect_ports.has(forward.connect_port)
    }

    /// Whether both agree in everything but ports.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.protocol, self.listen_address, self.firewall)
            == (other.protocol, other.listen_address, other.firewall)
    }

    /// Whether it allows everything that the other does, in the same way.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.is_like(other)
            && self.listen_ports.includes(other.listen_ports)
            && self.connect_ports.includes(other.connect_ports)
    }

    /// The option of `wslmesh host install` that makes it; `None` where none can.
    #[must_use]
    pub fn option(&self) -> Option<String> {
        let usual = self.listen_address.is_unspecified() && self.firewall == Firewall::Local;
        let connect = if self.connect_ports == self.listen_ports {
            String::new()
        } else {
            format!(":{}", self.connect_ports)
        };
        usual.then(|| format!("--ports {}:{}{connect}", self.protocol, self.listen_ports))
    }
}

impl FromStr for Grant {
    type Err = String;

    /// Reads `PROTO:FROM-TO[:CONNECT]`, with what a forward has where nothing is said.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(protocol), Some(listen), connect, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("write it as tcp:8000-8010, or tcp:8000:80 where the port in the distribution is another".to_owned());
        };
        let protocol = from_word(protocol)
            .map_err(|_| format!("{protocol:?} is no protocol: write tcp or udp"))?;
        let listen_ports = listen.parse()?;
        Ok(Self {
            protocol,
            listen_address: Ipv4Addr::UNSPECIFIED,
            listen_ports,
            connect_ports: connect.map_or(Ok(listen_ports), str::parse)?,
            firewall: Firewall::Local,
        })
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

/// One or more kinds of networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Profile>")]
pub struct Profiles(BTreeSet<Profile>);

impl Default for Profiles {
    /// Networks that were made trusted.
    fn default() -> Self {
        Self([Profile::Domain, Profile::Private].into())
    }
}

impl Profiles {
    /// Whether this kind is among them.
    #[must_use]
    pub fn has(&self, profile: Profile) -> bool {
        self.0.contains(&profile)
    }
}

impl TryFrom<BTreeSet<Profile>> for Profiles {
    type Error = &'static str;

    fn try_from(profiles: BTreeSet<Profile>) -> Result<Self, &'static str> {
        if profiles.is_empty() {
            Err("name at least one of domain, private and public")
        } else {
            Ok(Self(profiles))
        }
    }
}

impl FromStr for Profiles {
    type Err = String;

    /// Reads `domain,private`.
    fn from_str(text: &str) -> Result<Self, String> {
        let profile = |word: &str| {
            let word = word.trim();
            from_word(word).map_err(|_| {
                format!(
                    "{word:?} is no kind of network: write domain, private, public, or several with commas between"
                )
            })
        };
        let profiles: Result<BTreeSet<Profile>, String> = text.split(',').map(profile).collect();
        Ok(Self::try_from(profiles?)?)
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests;
