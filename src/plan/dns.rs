//! Name resolution: whether /etc/resolv.conf can serve, by which tunnel the servers of each
//! zone are reached, and whose a link's settings in systemd-resolved are.
//!
//! What the agent changes by itself goes over D-Bus and undoes no one's choice: it starts a
//! systemd-resolved that is enabled and has failed, and it sets a tunnel's own servers where
//! no other program has. Files below /etc are changed by commands that a person runs.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    config::Settings,
    model::{
        Address, Code, DnsAnswer, DnsPlan, DnsSource, Finding, LinkDns, LinkKind, LinkZones, Mode,
        Node, Observation, Plan, Resolver, TUNNEL, Zone,
    },
};

/// Decides what name resolution depends on; the findings are what no query is needed for.
pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let node = plan.node.as_ref();
    let gateway = node.and_then(|node| node.gateway);
    let tunnel = tunnel_on_lo(&seen.resolver, seen).unwrap_or(TUNNEL);
    let mut addresses = seen.addresses.iter();
    let mut dns = DnsPlan {
        wsl: seen.mode.known() != Some(Mode::NotWsl),
        resolver: seen.resolver.clone(),
        source: seen.resolver.source(tunnel, gateway),
        address: node.map(Node::address),
        tunnel: addresses.any(|address| address.net.addr() == tunnel),
        zones: BTreeMap::new(),
    };
    dns.zones = zones(settings, seen, plan);
    if dns.wsl {
        if let Some(why) = dns.resolver.broken() {
            plan.find(Code::ResolvConfBroken, "", why);
        } else if dns.source == Some(DnsSource::WslTunnel) && !dns.tunnel {
            let detail = format!("/etc/resolv.conf names {tunnel}, which no interface has");
            plan.find(Code::DnsTunnelDead, "", detail);
        }
    }
    plan.dns = dns;
}

/// The address of WSL's tunnel, as it is in force: the server of WSL's resolv.conf that is
/// on `lo`, where WSL adds it. .wslconfig, which is Windows', may name another than
/// [`TUNNEL`] (microsoft/WSL: experimental.dnsTunnelingIpAddress).
#[must_use]
pub fn tunnel_on_lo(resolver: &Resolver, seen: &Observation) -> Option<IpAddr> {
    let is_wsls = resolver.source(TUNNEL, None)?.is_wsl();
    let first = resolver.servers().first()?.address;
    let mut on = seen.addresses.iter().filter(|one| one.net.addr() == first);
    let kind = |address: &Address| seen.link(address.link).map(|link| link.kind);
    let is_on_lo = on.any(|one| kind(one) == Some(LinkKind::Loopback));
    (is_wsls && is_on_lo && !first.is_loopback()).then_some(first)
}

fn is_tunnel(kind: LinkKind) -> bool {
    kind.is_wireguard() || kind == LinkKind::Tun
}

/// The tunnels that lead to the zones' servers.
fn zones(settings: &Settings, seen: &Observation, plan: &mut Plan) -> BTreeMap<u32, LinkZones> {
    let mut links: BTreeMap<u32, LinkZones> = BTreeMap::new();
    for (zone, servers) in &settings.dns.zones {
        let towards = |server: &IpAddr| {
            let index = seen.zone_links.get(server).copied().flatten()?;
            seen.link(index)
        };
        let tunnel = |server: &IpAddr| towards(server).filter(|link| is_tunnel(link.kind));
        let Some(link) = servers.iter().find_map(tunnel) else {
            let ways = servers.iter().map(|server| match towards(server) {
                Some(link) => format!(
                    "{server} is reached through {}, which is no tunnel of a mesh",
                    link.name
                ),
                None => format!("no route leads to {server}"),
            });
            plan.find(
                Code::ZoneUnreached,
                zone.as_str(),
                Vec::from_iter(ways).join("; "),
            );
            continue;
        };
        let by_it = |server: &&IpAddr| tunnel(server).is_some_and(|one| one.index == link.index);
        let servers: Vec<IpAddr> = servers.iter().filter(by_it).copied().collect();
        let entry = links.entry(link.index).or_insert_with(|| LinkZones {
            name: link.name.clone(),
            servers: servers.clone(),
            zones: Vec::new(),
        });
        if entry.servers == servers {
            entry.zones.push(zone.clone());
            continue;
        }
        let first = entry.zones.first().map(Zone::as_str).unwrap_or_default();
        let detail = format!(
            "its servers are not those of {first}, and both are reached through {}, for which systemd-resolved has one list of servers",
            link.name
        );
        plan.find(Code::ZoneConflict, zone.as_str(), detail);
    }
    links
}

/// What the answer of the server means; `None` where names resolve, or that is not known.
#[must_use]
pub fn dns_finding(dns: &DnsPlan, answer: &DnsAnswer) -> Option<Finding> {
    let DnsAnswer::Asked { server, .. } = answer else {
        return None;
    };
    if answer.works() != Some(false) {
        return None;
    }
    if dns.source == Some(DnsSource::WslTunnel) && dns.wsl && !answer.is_alive() {
        // Without the address the plan has said so.
        let detail = format!("{server} is on lo and does not answer");
        return dns
            .tunnel
            .then(|| Finding::new(Code::DnsTunnelDead, "", detail));
    }
    let source = dns.source.map(|source| format!(" ({source})"));
    let detail = format!("{answer}{}", source.unwrap_or_default());
    Some(Finding::new(Code::DnsUnanswered, "", detail))
}

/// What is to be done with a link's settings in systemd-resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneStep {
    /// They are as they should be.
    Nothing,
    /// Set them.
    Set,
    /// Take ours away.
    Revert,
    /// They are another program's, and stay.
    Taken,
}

/// Decides it: `ours` is what the agent set last, `now` what is there.
#[must_use]
pub fn zone_step(wanted: Option<&LinkDns>, ours: Option<&LinkDns>, now: &LinkDns) -> ZoneStep {
    let is_ours = ours.is_some_and(|ours| now.is_part_of(ours));
    match wanted {
        Some(wanted) if now == wanted => ZoneStep::Nothing,
        Some(_) if now.is_empty() || is_ours => ZoneStep::Set,
        Some(wanted) if now.is_part_of(wanted) => ZoneStep::Set,
        Some(_) => ZoneStep::Taken,
        None if is_ours && !now.is_empty() => ZoneStep::Revert,
        None => ZoneStep::Nothing,
    }
}

#[cfg(test)]
mod tests;
