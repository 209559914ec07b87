//! What a Windows administrator agrees to, and how it follows from the settings.
//!
//! The elevated side checks each forward against this, and the administrator is
//! asked again only when it changes.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::distribution::Distribution;
use crate::{
    config::{Backend, Firewall, Forward, Protocol},
    host::contract::PolicyGap,
    model::{PlainText, PortRange, SyncMode, display_as_serialized, forward_ports, from_word},
};

display_as_serialized!(Profile);

/// The version of a policy's form.
pub const VERSION: u32 = 2;

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
    /// The networking mode that the firewall rules are for.
    pub mode: SyncMode,
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
    pub listen_address: IpAddr,
    /// Windows' ports to listen on.
    pub listen_ports: PortRange,
    /// Ports in the distribution.
    pub connect_ports: PortRange,
    /// Whom Windows' firewall lets in.
    pub firewall: Firewall,
    /// What may serve it; never `none`, and of UDP never the port proxy.
    pub backend: Backend,
}

impl Policy {
    /// Why this policy does not allow the forward with this backend; `None` where it does.
    /// `forbidden` as for [`Self::proxied`].
    #[must_use]
    pub fn gap(&self, forward: &Forward, backend: Backend, forbidden: bool) -> Option<PolicyGap> {
        gap(&self.grants, forward, backend, self.mode, forbidden)
    }

    /// The grants whose forwards the port proxy serves; `forbidden`: where the relay may
    /// not be started on this Windows.
    pub fn proxied(&self, forbidden: bool) -> impl Iterator<Item = &Grant> {
        let nat = self.mode == SyncMode::Nat;
        (self.grants.iter()).filter(move |grant| nat && grant.is_proxied(grant.backend, forbidden))
    }
}

/// Why the grants do not allow a forward, or one of its ports; each of them finds its own.
pub(super) fn gap(
    grants: &[Grant],
    forward: &Forward,
    backend: Backend,
    mode: SyncMode,
    forbidden: bool,
) -> Option<PolicyGap> {
    let gap = |single: Forward| single_gap(grants, &single, backend, mode, forbidden);
    forward.singles().find_map(gap)
}

/// The rule of the elevated side: protocol and ports choose the grant. The relay holds a
/// forward to its own firewall where its grant's lets in more.
fn single_gap(
    grants: &[Grant],
    forward: &Forward,
    backend: Backend,
    mode: SyncMode,
    forbidden: bool,
) -> Option<PolicyGap> {
    let Some(grant) = grants.iter().find(|grant| grant.has_ports_of(forward)) else {
        return Some(PolicyGap::OutsidePolicy);
    };
    let proxied = |backend| grant.is_proxied(backend, forbidden);
    let guest = mode == SyncMode::Mirrored;
    if grant.listen_address != forward.listen_address {
        Some(PolicyGap::ListenAddress)
    } else if !guest && proxied(backend) != proxied(grant.backend) {
        Some(PolicyGap::Backend)
    } else if forward.firewall > grant.firewall
        || ((guest || proxied(backend)) && forward.firewall < grant.firewall)
    {
        Some(PolicyGap::Firewall)
    } else {
        None
    }
}

impl Grant {
    /// Whether the port proxy serves it in NAT mode where its backend is this one.
    fn is_proxied(&self, backend: Backend, forbidden: bool) -> bool {
        self.protocol == Protocol::Tcp
            && self.listen_address.is_ipv4()
            && match backend {
                Backend::Portproxy => true,
                Backend::Auto => forbidden,
                Backend::Relay | Backend::Tunnel | Backend::None => false,
            }
    }

    /// Whether both ranges have the forward's ports.
    #[must_use]
    pub fn has_ports_of(&self, forward: &Forward) -> bool {
        self.protocol == forward.protocol
            && self.listen_ports.includes(forward.listen_port)
            && self.connect_ports.includes(forward.connect_port)
    }

    /// Whether both agree in everything but ports.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (
            self.protocol,
            self.listen_address,
            self.firewall,
            self.backend,
        ) == (
            other.protocol,
            other.listen_address,
            other.firewall,
            other.backend,
        )
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
        let usual = self.listen_address == Ipv4Addr::UNSPECIFIED
            && self.firewall == Firewall::Local
            && self.backend == Backend::Auto;
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
        let (protocol, listen_ports, connect) = forward_ports(text)?;
        Ok(Self {
            protocol,
            listen_address: Ipv4Addr::UNSPECIFIED.into(),
            listen_ports,
            connect_ports: connect.unwrap_or(listen_ports),
            firewall: Firewall::Local,
            backend: Backend::Auto,
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
        let by = match self.backend {
            Backend::Portproxy => ", by the port proxy",
            Backend::Relay => ", by the relay",
            Backend::Auto | Backend::Tunnel | Backend::None => "",
        };
        write!(
            f,
            "{} {:>11} -> {:<11} on {:<15} {who}{by}",
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
