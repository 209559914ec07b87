//! The generated network file.

use std::{net::IpAddr, num::NonZeroU16};

use super::env_file::{EnvFile, Key, TEMPLATE, Value, Values};
use crate::{
    config::Settings,
    model::{
        Action, Code, Fact, FactKey, FileChange, Link, ModeState, NetworkFile, Node, Observation,
        Patterns, Plan,
    },
};

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let tunnels = tunnels(settings, seen);
    let facts = tunnels.iter().map(|(key, link, value)| {
        let fact = Fact {
            interface: link.map(|link| link.name.clone()),
            value: value.as_ref().map_or("", Value::as_str).to_owned(),
        };
        (*key, fact)
    });
    plan.mesh = facts.collect();
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
    if file.is_foreign() {
        let detail = format!(
            "{path} has no key of wslmesh and may be another program's: add the line WSL_IP=\"\" to it, or name another file in [network] config-file"
        );
        return plan.find(Code::NetworkFileUnreadable, path, detail);
    }
    // Without an address the last one stays: a file that empties itself at
    // every flap would be worse for its readers.
    let Some(node) = &plan.node else { return };
    let mut values = values(settings, seen, node);
    values.extend(
        tunnels
            .into_iter()
            .map(|(key, _, value)| (Key::from(key), value)),
    );
    let interface = node.link.name.to_string();
    match Value::name(&interface) {
        Some(name) => drop(values.insert(Key::WslInterface, Some(name))),
        None => {
            let detail = format!("{interface:?} is not written");
            plan.find(Code::NetworkFileName, interface, detail);
        }
    }
    let after = file.set(&values);
    let changed = values.iter().filter(|(key, value)| {
        let value = value.as_ref().map_or("", Value::as_str);
        file.get(**key).unwrap_or_default() != value
    });
    if before != Some(after.as_slice()) {
        plan.actions.push(Action::WriteNetworkFile(FileChange {
            path: settings.config_file.clone(),
            before: before.map(<[u8]>::to_vec),
            after,
            keys: changed.map(|(key, _)| key.to_string()).collect(),
        }));
    }
}

fn values(settings: &Settings, seen: &Observation, node: &Node) -> Values {
    let keepalive = settings.keepalive.map_or(0, NonZeroU16::get);
    let mut values = Values::from([
        (Key::WslIp, Some(node.address().into())),
        (Key::WslNetwork, Some(node.net.trunc().into())),
        (Key::WslGateway, node.gateway.map(Value::from)),
        (Key::WslMtu, Some(node.link.mtu.into())),
        (
            Key::PrimaryDns,
            seen.resolver.servers().first().map(Value::from),
        ),
        (Key::KeepaliveInterval, Some(u32::from(keepalive).into())),
    ]);
    // While the answer is on its way, what an earlier run wrote is still true
    // unless the answer says otherwise.
    if seen.mode != ModeState::Pending {
        values.insert(Key::WslNetworkingMode, Value::name(&seen.mode.to_string()));
    }
    if let Some(windows) = seen.host.facts.windows_address {
        values.insert(Key::WindowsHostIp, Some(IpAddr::V4(windows).into()));
    }
    values
}

/// What is said of the tunnels, each with its link.
fn tunnels<'a>(
    settings: &Settings,
    seen: &'a Observation,
) -> Vec<(FactKey, Option<&'a Link>, Option<Value>)> {
    let tailscale = Patterns::new(&["tailscale*"]);
    let tailscale = first(seen, |link| tailscale.matches(&link.name));
    let wireguard =
        |link: &&Link| link.kind.is_wireguard() && settings.wireguard_interfaces.covers(link);
    let wireguard = first(seen, wireguard);
    let address = |key, link| (key, link, address_of(seen, link));
    let mut tunnels = vec![
        address(FactKey::MeshIpTailscale, tailscale),
        address(FactKey::MeshIpWireguard, wireguard),
    ];
    let device = wireguard.map(|link| seen.wireguard.get(&link.name)?.device());
    // Not readable now: the port of a moment ago is the better guess.
    if device != Some(None) {
        let port = device.flatten().and_then(|device| device.listen_port);
        let port = port.map(|port| Value::from(u32::from(port)));
        tunnels.push((FactKey::MeshPortWireguard, wireguard, port));
    }
    tunnels
}

impl From<FactKey> for Key {
    fn from(key: FactKey) -> Self {
        match key {
            FactKey::WslIp => Self::WslIp,
            FactKey::MeshIpTailscale => Self::MeshIpTailscale,
            FactKey::MeshIpWireguard => Self::MeshIpWireguard,
            FactKey::MeshPortWireguard => Self::MeshPortWireguard,
        }
    }
}

/// The first such link that has an address, by name: the kernel's order changes when
/// one of several is made again.
fn first<'a>(seen: &'a Observation, is: impl Fn(&&'a Link) -> bool) -> Option<&'a Link> {
    let links = seen.links.iter().filter(is);
    links.min_by_key(|link| (address_of(seen, Some(link)).is_none(), &link.name))
}

/// The first address of a link, IPv4 before IPv6.
fn address_of(seen: &Observation, link: Option<&Link>) -> Option<Value> {
    let link = link?.index;
    let here = seen
        .addresses
        .iter()
        .filter(|address| address.link == link && address.global);
    let addresses = here.map(|address| address.net.addr());
    addresses.min_by_key(IpAddr::is_ipv6).map(Value::from)
}

#[cfg(test)]
mod tests;
