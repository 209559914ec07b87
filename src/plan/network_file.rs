//! The generated network file.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::env_file::{EnvFile, Key, TEMPLATE, Value, Values};
use crate::{
    config::Settings,
    model::{
        Action, Code, FileChange, Link, ModeState, NetworkFile, Node, Observation, Patterns, Plan,
    },
};

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let path = settings.config_file.display().to_string();
    let before = match &seen.network_file {
        NetworkFile::Unreadable(why) => {
            return plan.find(Code::NetworkFileUnreadable, path, why.as_str());
        }
        NetworkFile::Missing => None,
        NetworkFile::Content(content) => Some(content.as_slice()),
    };
    let file = match EnvFile::parse(before.unwrap_or(TEMPLATE.as_bytes())) {
        Ok(file) => file,
        Err(error) => {
            let detail = format!("{path}:{error}");
            return plan.find(Code::NetworkFileUnreadable, path, detail);
        }
    };
    // Without an address the last one stays: a file that empties itself at
    // every flap would be worse for its readers.
    let Some(node) = &plan.node else { return };
    let mut values = values(settings, seen, node);
    let interface = node.link.name.to_string();
    match Value::name(&interface) {
        Some(name) => drop(values.insert(Key::WslInterface, Some(name))),
        None => {
            let detail = format!("{interface:?} is not written");
            plan.find(Code::NetworkFileName, interface, detail);
        }
    }
    let after = file.set(&values);
    if before != Some(after.as_slice()) {
        plan.actions.push(Action::WriteNetworkFile(FileChange {
            path: settings.config_file.clone(),
            before: before.map(<[u8]>::to_vec),
            after,
        }));
    }
}

fn values(settings: &Settings, seen: &Observation, node: &Node) -> Values {
    let ipv4 = |address: Ipv4Addr| Value::from(IpAddr::V4(address));
    let keepalive = settings
        .keepalive
        .map_or(0, |keepalive| u32::from(keepalive.get()));
    let tailscale = Patterns::new(&["tailscale*"]);
    let mut values = Values::from([
        (Key::WslIp, Some(ipv4(node.address()))),
        (Key::WslNetwork, Some(IpNet::V4(node.net.trunc()).into())),
        (Key::WslGateway, node.gateway.map(ipv4)),
        (Key::WslMtu, Some(node.link.mtu.into())),
        (Key::PrimaryDns, seen.dns.map(Value::from)),
        (Key::KeepaliveInterval, Some(keepalive.into())),
        (
            Key::MeshIpTailscale,
            address_of(seen, |link| tailscale.matches(&link.name)),
        ),
    ]);
    match &seen.mode {
        // The answer is on its way; what an earlier run wrote is still true
        // unless the answer says otherwise.
        ModeState::Pending => {}
        mode @ (ModeState::Known(_) | ModeState::Unknown(_)) => {
            drop(values.insert(Key::WslNetworkingMode, Value::name(&mode.to_string())))
        }
    }
    if let Some(windows) = seen.host.facts.windows_address {
        values.insert(Key::WindowsHostIp, Some(ipv4(windows)));
    }
    let wireguard = seen
        .links
        .iter()
        .find(|link| link.kind.is_wireguard() && settings.wireguard_interfaces.matches(&link.name));
    values.insert(
        Key::MeshIpWireguard,
        wireguard.and_then(|device| address_of(seen, |link| link.index == device.index)),
    );
    let device = wireguard.map(|link| seen.wireguard.get(&link.name)?.device());
    // Not readable now: the port of a moment ago is the better guess.
    if device != Some(None) {
        let port = device.flatten().and_then(|device| device.listen_port);
        let port = port.map(|port| Value::from(u32::from(port)));
        values.insert(Key::MeshPortWireguard, port);
    }
    values
}

/// First address of the first such link, IPv4 before IPv6.
fn address_of(seen: &Observation, is: impl Fn(&Link) -> bool) -> Option<Value> {
    let link = seen.links.iter().find(|link| is(link))?;
    let mut addresses: Vec<IpAddr> = seen
        .addresses
        .iter()
        .filter(|address| address.link == link.index && address.global)
        .map(|address| address.net.addr())
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().map(|address| Value::from(*address))
}

#[cfg(test)]
mod tests;
