//! Which forwards a first run makes.

use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    str::FromStr,
};

use clap::ValueEnum;

use crate::{
    config::{Backend, Firewall, Forward, Protocol, Remarks, Settings, connect_ports},
    doctor::{Tunnel, TunnelKind},
    model::{PortRange, forward_ports},
};

/// Who may connect to the forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Reach {
    /// The local subnet of Windows by IPv4, as far as its firewall lets in
    Lan,
    /// The same by IPv4 and IPv6
    Lan6,
    /// Programs of this Windows only
    Windows,
}

/// A port of Windows and where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Wanted {
    protocol: Protocol,
    listen: PortRange,
    connect: PortRange,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (protocol, listen, connect) = forward_ports(text)?;
        Ok(Self {
            protocol,
            listen,
            connect: connect_ports(listen, connect)?,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.protocol, self.listen)?;
        if self.connect != self.listen {
            write!(f, ":{}", self.connect)?;
        }
        Ok(())
    }
}

/// The answer for no port at all.
pub(super) const NONE: &str = "none";

/// Reads a list of ports as a person writes it.
pub(super) fn parse_list(text: &str) -> Result<Vec<Wanted>, String> {
    if text == NONE {
        return Ok(Vec::new());
    }
    let words = text.split([' ', ',', '\t']).filter(|word| !word.is_empty());
    words.map(str::parse).collect()
}

/// Reads who may connect.
pub(super) fn parse_reach(text: &str) -> Result<Reach, String> {
    Reach::from_str(text, true).map_err(|_| format!("{text:?}: write lan, lan6 or windows"))
}

/// What is proposed: the port of each WireGuard device, at which no forward leads yet.
pub(super) fn proposed(tunnels: &[Tunnel], settings: &Settings) -> Vec<Wanted> {
    let ports = tunnels
        .iter()
        .filter(|tunnel| tunnel.kind == TunnelKind::WireGuard);
    let ports = ports.filter_map(|tunnel| tunnel.port.and_then(NonZeroU16::new));
    let wanted = ports.map(|port| Wanted {
        protocol: Protocol::Udp,
        listen: port.into(),
        connect: port.into(),
    });
    let is_new = |wanted: &Wanted| !settings.forwards.iter().any(|one| leads(one, wanted));
    let new: BTreeSet<Wanted> = wanted.filter(is_new).collect();
    new.into_iter().collect()
}

fn leads(forward: &Forward, wanted: &Wanted) -> bool {
    forward.protocol == wanted.protocol && forward.connect_port.includes(wanted.connect)
}

/// The forwards for these ports, named for what they lead to. What is configured
/// already is left out.
///
/// # Errors
/// Another forward has a port, in words.
pub(super) fn forwards(
    wanted: &[Wanted],
    reach: Reach,
    tunnels: &[Tunnel],
    settings: &Settings,
) -> Result<Vec<Forward>, String> {
    let mut made: Vec<Forward> = Vec::new();
    for one in wanted {
        let (listen_address, firewall) = match reach {
            Reach::Lan => (Ipv4Addr::UNSPECIFIED.into(), Firewall::Local),
            Reach::Lan6 => (Ipv6Addr::UNSPECIFIED.into(), Firewall::Local),
            Reach::Windows => (Ipv4Addr::LOCALHOST.into(), Firewall::None),
        };
        let mut forward = Forward {
            name: String::new(),
            protocol: one.protocol,
            listen_address,
            listen_port: one.listen,
            connect_address: None,
            connect_port: one.connect,
            firewall,
            backend: None,
            proxy_protocol: None,
            remarks: Remarks::default(),
        };
        if listen_address.is_ipv6() && settings.backend_of(&forward) == Backend::Portproxy {
            return Err(
                "the port proxy takes no IPv6: choose lan, or set backend = \"auto\" in [host]"
                    .to_owned(),
            );
        }
        let there = || settings.forwards.iter().chain(&made);
        if let Some(other) = there().find(|other| other.clashes_with(&forward)) {
            if (other.listen_port, other.connect_port) == (one.listen, one.connect) {
                if listen_address.is_ipv6() && other.listen_address != listen_address {
                    return Err(format!(
                        "{one}: forward {:?} listens at {} alone: set its listen-address = \"{listen_address}\" where it is configured (wslmesh forward list)",
                        other.name, other.listen_address
                    ));
                }
                continue;
            }
            return Err(format!(
                "{one}: forward {:?} has this port of Windows: choose another, or remove it first: wslmesh forward remove {}",
                other.name, other.name
            ));
        }
        let base = base_name(one, tunnels);
        let number = (2..).map(|number| format!("{base}-{number}"));
        let mut names = std::iter::once(base.clone()).chain(number);
        // There are fewer others than numbers.
        let free = names.find(|name| there().all(|other| other.name != *name));
        forward.name = free.unwrap_or_default();
        made.push(forward);
    }
    Ok(made)
}

/// `wg0` for its port, `ssh` for port 22, else such as `tcp-8080`.
fn base_name(wanted: &Wanted, tunnels: &[Tunnel]) -> String {
    let port = wanted.connect.first().get();
    let is_single = wanted.connect.len() == 1;
    let mut of_tunnel = (tunnels.iter()).filter(|tunnel| is_single && tunnel.port == Some(port));
    match (wanted.protocol, of_tunnel.next()) {
        // Characters that a forward's name cannot have.
        (Protocol::Udp, Some(tunnel)) if crate::config::is_name(tunnel.name.as_str()) => {
            tunnel.name.to_string()
        }
        (Protocol::Tcp, _) if is_single && port == 22 => "ssh".to_owned(),
        (protocol, _) => format!("{protocol}-{}", wanted.connect),
    }
}

#[cfg(test)]
mod tests;
