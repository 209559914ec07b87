//! What a first run need not ask for: the tunnels and the services of this distribution.

use std::{collections::BTreeSet, fmt, net::IpAddr, path::Path};

use super::{checks::lifetime, facts::Facts};
use crate::interop::ini::{Ini, boolean};
use crate::model::{InterfaceName, LinkKind, Protocol};

/// The UDP port that tailscaled binds unless its configuration names another one
/// (tailscaled's option `--port`, /etc/default/tailscaled).
const TAILSCALE_PORT: u16 = 41641;

/// Whose tunnel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunnelKind {
    /// WireGuard, set up by the administrator.
    WireGuard,
    /// Tailscale's.
    Tailscale,
    /// NetBird's, which is a WireGuard device of its own program.
    NetBird,
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WireGuard => "WireGuard",
            Self::Tailscale => "Tailscale",
            Self::NetBird => "NetBird",
        })
    }
}

/// A tunnel that is there, or that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// Whose.
    pub kind: TunnelKind,
    /// Its interface.
    pub name: InterfaceName,
    /// Its UDP port here, where it is known.
    pub port: Option<u16>,
    /// What brings it up, where it is not.
    pub fix: Option<String>,
}

/// The tunnels, by kind and name.
///
/// # Errors
/// The network could not be observed, for this reason.
pub fn tunnels(facts: &Facts) -> Result<Vec<Tunnel>, String> {
    let observation = facts.observation.as_ref().map_err(Clone::clone)?;
    let mut found: Vec<Tunnel> = Vec::new();
    for link in &observation.links {
        let name = link.name.as_str();
        let has_address = observation
            .addresses
            .iter()
            .any(|has| has.link == link.index && matches!(has.net.addr(), IpAddr::V4(_)));
        let reading = observation.wireguard.get(&link.name);
        let port = reading.and_then(|reading| reading.device()?.listen_port);
        let (kind, port, start) = match link.kind {
            _ if is_netbird(name) => (TunnelKind::NetBird, port, "sudo netbird up".to_owned()),
            kind if kind.is_wireguard() => {
                let start = format!("sudo wg-quick up {name}");
                (TunnelKind::WireGuard, port, start)
            }
            LinkKind::Tun if name.starts_with("tailscale") => {
                let port = binds(facts, TAILSCALE_PORT).then_some(TAILSCALE_PORT);
                (TunnelKind::Tailscale, port, "sudo tailscale up".to_owned())
            }
            _ => continue,
        };
        found.push(Tunnel {
            kind,
            name: link.name.clone(),
            port,
            fix: (!link.up || !has_address).then_some(start),
        });
    }
    let mut add = |kind, name: &str, fix: String| {
        let is_it = |tunnel: &Tunnel| match kind {
            TunnelKind::WireGuard => tunnel.name.as_str() == name,
            kind => tunnel.kind == kind,
        };
        if let Some(name) = InterfaceName::new(name)
            && !found.iter().any(is_it)
        {
            let (port, fix) = (None, Some(fix));
            found.push(Tunnel {
                kind,
                name,
                port,
                fix,
            });
        }
    };
    let guarded = facts.local.iter().flat_map(|local| &local.guarded);
    for file in guarded.filter(|file| file.path.starts_with("/etc/wireguard/")) {
        let name = Path::new(&file.path)
            .file_stem()
            .and_then(|name| name.to_str());
        if let Some(name) = name {
            let start = format!("sudo systemctl enable --now wg-quick@{name}");
            add(TunnelKind::WireGuard, name, start);
        }
    }
    let has_unit = |name| facts.unit(name).ok().flatten().is_some();
    if has_unit("tailscaled.service") {
        add(
            TunnelKind::Tailscale,
            "tailscale0",
            "sudo tailscale up".to_owned(),
        );
    }
    if has_unit("netbird.service") {
        add(TunnelKind::NetBird, "wt0", "sudo netbird up".to_owned());
    }
    found.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(found)
}

/// NetBird's interface is `wt0` unless its configuration says otherwise.
fn is_netbird(name: &str) -> bool {
    let number = name.strip_prefix("wt").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn binds(facts: &Facts, port: u16) -> bool {
    let sockets = facts.sockets().into_iter().flatten();
    let mut udp = sockets.filter(|socket| socket.protocol == Protocol::Udp);
    udp.any(|socket| socket.port == port)
}

/// The TCP ports at which services take what comes from elsewhere.
#[must_use]
pub fn services(facts: &Facts) -> BTreeSet<u16> {
    let sockets = facts.sockets().into_iter().flatten();
    let open =
        sockets.filter(|socket| socket.protocol == Protocol::Tcp && !socket.address.is_loopback());
    open.map(|socket| socket.port).collect()
}

/// Why WSL stops this distribution although its services run, where instanceIdleTimeout
/// would keep it.
#[must_use]
pub fn stops_when_idle(facts: &Facts) -> Option<String> {
    let verdict = lifetime::idle(facts).unwrap_or_else(|skipped| skipped);
    let stops = verdict.is_bad() && facts.knows_idle_timeout() != Some(false);
    stops.then(|| verdict.detail())
}

/// Whether WSL is not to start systemd here, and has not.
#[must_use]
pub fn lacks_systemd(facts: &Facts) -> bool {
    let asked = |conf: &Ini| conf.get("boot.systemd").and_then(boolean) == Some(true);
    facts.local().is_ok_and(|local| !local.systemd)
        && facts.wsl_conf().is_ok_and(|conf| !asked(&conf))
}

#[cfg(test)]
mod tests;
