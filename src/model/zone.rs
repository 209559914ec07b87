//! Names that servers of the mesh resolve, and the settings of a link for them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use super::{DnsSource, InterfaceName, Resolver};

/// A domain of the mesh, such as `mesh.internal`: lower case, without a final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Zone(String);

/// Longest domain and label (RFC 1035, section 2.3.4).
const LONGEST: (usize, usize) = (253, 63);

/// Domains without a dot that are no one's in the public DNS (ICANN's resolution of
/// 2024-07-29 on .internal; RFC 6762, appendix G; RFC 6761, section 6.2).
const PRIVATE: &[&str] = &[
    "internal", "intranet", "private", "corp", "home", "lan", "test",
];

impl Zone {
    /// Reads a domain.
    ///
    /// # Errors
    /// What is wrong with it, and the fix.
    pub fn parse(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= LONGEST.1
                && label.chars().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_number = |label: &str| label.chars().all(|c| c.is_ascii_digit());
        let last = name.rsplit('.').next().unwrap_or_default();
        let why = match () {
            () if name.is_empty() => {
                "this is the root: all names would go to these servers; write a domain such as \"mesh.internal\""
            }
            () if !text.is_ascii() => {
                "a domain is written in ASCII: its form with xn-- (`idn2 NAME` prints it)"
            }
            () if text.starts_with('~') => "leave the ~ out: a zone is always for routing alone",
            () if name.len() > LONGEST.0 || !name.split('.').all(is_label) || is_number(last) => {
                "this is no domain: write labels of letters, digits and - with dots between, such as \"mesh.internal\""
            }
            () if name == "local" || name == "localhost" => {
                "this name is for this machine and its neighbours (RFC 6762, RFC 6761); choose another, such as \"mesh.internal\""
            }
            () if !name.contains('.') && !PRIVATE.contains(&&*name) => {
                "all names of a whole top-level domain would go to these servers; write a domain with a dot, such as \"mesh.internal\""
            }
            () => return Ok(Self(name)),
        };
        Err(why.to_owned())
    }

    /// The domain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an address is no server that a tunnel may lead to; `None` where it may be one.
#[must_use]
pub fn no_zone_server(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    Some(match address {
        _ if address.is_unspecified() => "this is no server's address",
        _ if address == IpAddr::V4(Ipv4Addr::BROADCAST) || address.is_multicast() => {
            "this is the address of many"
        }
        _ if address.is_loopback() => {
            "this machine is behind no tunnel: name the server's address in the mesh"
        }
        _ if link_local => "no route leads to a link-local address: name another one",
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => "write the IPv4 address itself",
        _ => return None,
    })
}

/// A link's own settings in systemd-resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinkDns {
    /// Its servers.
    pub servers: Vec<IpAddr>,
    /// Its domains, and whether each is for routing alone (`~NAME` in resolvectl(1)).
    pub domains: Vec<(String, bool)>,
    /// Whether names of no domain may go to it.
    pub default_route: bool,
}

impl LinkDns {
    /// Whether this is the other one, or a part of it, as when a run was ended between.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        (self.servers.is_empty() || self.servers == other.servers)
            && (self.domains.is_empty() || self.domains == other.domains)
    }

    /// Whether neither servers nor domains are set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.domains.is_empty()
    }
}

impl fmt::Display for LinkDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domains = self.domains.iter().map(|(name, routes)| match routes {
            true => format!("~{name}"),
            false => name.clone(),
        });
        let servers = self.servers.iter().map(ToString::to_string);
        f.write_str(&Vec::from_iter(servers.chain(domains)).join(" "))
    }
}

/// The zones of one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkZones {
    /// The tunnel.
    pub name: InterfaceName,
    /// Their servers.
    pub servers: Vec<IpAddr>,
    /// Their names.
    pub zones: Vec<Zone>,
}

impl LinkZones {
    /// The link's settings for them: routing alone, and nothing else goes there.
    #[must_use]
    pub fn wanted(&self) -> LinkDns {
        let domains = self.zones.iter();
        LinkDns {
            servers: self.servers.clone(),
            domains: domains.map(|zone| (zone.to_string(), true)).collect(),
            default_route: false,
        }
    }
}

/// What name resolution depends on: the same again needs no new look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsPlan {
    /// Whether WSL has a part in it.
    pub wsl: bool,
    /// /etc/resolv.conf.
    pub resolver: Resolver,
    /// Who wrote it.
    pub source: Option<DnsSource>,
    /// This distribution's address.
    pub address: Option<IpAddr>,
    /// Whether an interface has the address of WSL's tunnel.
    pub tunnel: bool,
    /// The zones of each tunnel, by its index.
    pub zones: BTreeMap<u32, LinkZones>,
}

/// An address as systemd-resolved's D-Bus interface has it: the family (AF_INET,
/// AF_INET6) and its bytes.
#[must_use]
pub fn address_bytes(address: IpAddr) -> (i32, Vec<u8>) {
    match address {
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, ip.octets().to_vec()),
    }
}

/// The same backwards; `None` for another family or length.
#[must_use]
pub fn address_of(family: i32, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        2 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        10 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
