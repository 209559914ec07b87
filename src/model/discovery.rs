//! Ports on which something listens in this network namespace.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU16,
};

use super::{Link, Protocol, socket::takes_all};

/// Where something listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its port.
    pub port: NonZeroU16,
    /// Its address; all where unspecified.
    pub address: IpAddr,
    /// Whether it is bound to `::` and takes no IPv4.
    pub ipv6_only: bool,
    /// The index of the one interface from which it takes packets, if there is one.
    pub interface: Option<u32>,
}

impl Listener {
    /// Whether it takes packets to all IPv4 addresses of this machine.
    #[must_use]
    pub fn is_everywhere(&self) -> bool {
        self.address.is_unspecified() && !self.ipv6_only && self.interface.is_none()
    }

    /// Its address, where what this machine alone sends to it reaches it.
    #[must_use]
    pub fn loopback(&self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if address.is_loopback() && self.interface.is_none() => {
                Some(address)
            }
            _ => None,
        }
    }

    /// Whether what is sent to this address of this interface reaches it.
    #[must_use]
    pub fn takes(&self, address: IpAddr, link: &Link) -> bool {
        (self.address == address || takes_all(self.address, self.ipv6_only, address))
            && self
                .interface
                .is_none_or(|interface| interface == link.index)
    }
}

/// A port that may become a forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Where it listens.
    pub at: Listener,
    /// The program, its unit or the container engine; empty where it is not known.
    pub by: String,
    /// Where a rule of the kernel passes on what comes to the port, if it is that and says so.
    pub to: Option<Ipv4Addr>,
}

impl fmt::Display for Discovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at.protocol, self.at.port)?;
        match self.by.as_str() {
            "" => Ok(()),
            by => write!(f, " ({by})"),
        }
    }
}

/// What a finding about forwards that were discovered is about.
pub const DISCOVERED: &str = "discovered";

/// For a person, that a forward was discovered, and what listens there if that is known.
#[must_use]
pub fn discovered_by(by: &str) -> String {
    match by {
        "" => DISCOVERED.to_owned(),
        by => format!("{DISCOVERED}: {by}"),
    }
}
