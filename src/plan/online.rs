//! Whether the node and its tunnels can be used.

use std::net::SocketAddr;

use super::plan;
use crate::{
    config::Settings,
    model::{
        Action, Address, Device, DeviceReading, FactKey, InterfaceName, Link, Observation,
        PublicKey, is_fresh, some_of,
    },
};

/// What can be used, in words, and what cannot, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// The node.
    pub node: Result<String, String>,
    /// The tunnels.
    pub tunnels: Vec<(InterfaceName, Result<String, String>)>,
}

impl Online {
    /// Whether the node can be used and all tunnels, or `any` of them.
    #[must_use]
    pub fn is_reached(&self, any: bool) -> bool {
        let mut tunnels = self.tunnels.iter().map(|(_, tunnel)| tunnel.is_ok());
        let tunnels = match any && !self.tunnels.is_empty() {
            true => tunnels.any(|usable| usable),
            false => tunnels.all(|usable| usable),
        };
        self.node.is_ok() && tunnels
    }
}

/// Judges the node and these tunnels. With `file` the network file has to have their
/// addresses, too: who starts next may read it.
#[must_use]
pub fn online(
    settings: &Settings,
    tunnels: &[InterfaceName],
    file: bool,
    seen: &Observation,
    now_unix: u64,
) -> Online {
    let plan = plan(settings, seen);
    let node = match (&plan.node, plan.findings.first()) {
        (Some(node), _) => Ok(format!("{} {}", node.link.name, node.address())),
        (None, Some(finding)) => Err(finding.detail.clone()),
        (None, None) => Err("there is no address".to_owned()),
    };
    let addresses = [
        FactKey::WslIp,
        FactKey::MeshIpTailscale,
        FactKey::MeshIpWireguard,
    ];
    let addresses = addresses.map(|key| key.to_string());
    let is_old = |action: &Action| match action {
        Action::WriteNetworkFile(change) => change.keys.iter().any(|key| addresses.contains(key)),
        _ => false,
    };
    let is_old = file && plan.actions.iter().any(is_old);
    let judged = tunnels
        .iter()
        .map(|name| (name.clone(), tunnel(name, seen, now_unix)));
    Online {
        node: node.and_then(|node| match is_old {
            true => Err(format!(
                "{} is not up to date yet",
                settings.config_file.display()
            )),
            false => Ok(node),
        }),
        tunnels: judged.collect(),
    }
}

/// Whether a tunnel can be used.
fn tunnel(name: &InterfaceName, seen: &Observation, now_unix: u64) -> Result<String, String> {
    let link = seen.links.iter().find(|link| link.name == *name);
    let link = link.ok_or("there is no such interface")?;
    if !link.up {
        return Err("the interface is not up".to_owned());
    }
    let address = address(link, seen).ok_or("the interface has no address")?;
    let address = address.net.addr();
    match seen.wireguard.get(name) {
        None if link.kind.is_wireguard() => Err("its peers are not known".to_owned()),
        None => Ok(address.to_string()),
        Some(DeviceReading::Busy(why) | DeviceReading::Unreadable(why)) => Err(why.clone()),
        Some(DeviceReading::Device(device)) => {
            handshake(device, now_unix).map(|state| format!("{address}, {state}"))
        }
    }
}

fn address<'a>(link: &Link, seen: &'a Observation) -> Option<&'a Address> {
    let mut here = seen.addresses.iter().filter(|one| one.link == link.index);
    here.find(|address| address.is_usable())
}

/// The state of a device's sessions. One whose peers have no endpoint can only wait for
/// them to speak first.
fn handshake(device: &Device, now_unix: u64) -> Result<String, String> {
    let ago = |at: u64| format!("handshake {} s ago", now_unix.saturating_sub(at));
    let last = device
        .peers
        .values()
        .filter_map(|peer| peer.handshake)
        .max();
    let endpoints = device.peers.values().filter_map(|peer| peer.endpoint);
    let endpoints: Vec<SocketAddr> = endpoints.collect();
    match last {
        Some(at) if is_fresh(at, now_unix) => Ok(ago(at)),
        _ if endpoints.is_empty() => Ok("waits for its peers".to_owned()),
        Some(at) if at <= now_unix => Err(format!("no peer answers, last {}", ago(at))),
        Some(_) => Err("no peer answers since the clock was set back".to_owned()),
        None => {
            let endpoints = some_of(endpoints.iter().map(ToString::to_string));
            Err(format!("no peer has answered yet: {endpoints}"))
        }
    }
}

/// The peers of a device that have an endpoint and do not answer.
#[must_use]
pub fn silent_peers(device: &Device, now_unix: u64) -> Vec<PublicKey> {
    let silent = device.peers.iter().filter(|(_, peer)| {
        peer.endpoint.is_some() && !peer.handshake.is_some_and(|at| is_fresh(at, now_unix))
    });
    silent.map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests;
