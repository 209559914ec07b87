//! Which interface and which address are this distribution's.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    config::Interface,
    model::{Code, DefaultRoute, Finding, Link, LinkKind, Node, Observation},
};

pub(super) fn select(interface: &Interface, seen: &Observation) -> Result<Node, Finding> {
    let mut links = seen.links.iter();
    let (subject, found, missing) = match interface {
        Interface::Auto => (
            "",
            default_link(seen),
            "there is no IPv4 default route".to_owned(),
        ),
        Interface::Named(name) => (
            name.as_str(),
            links.find(|link| link.name == *name),
            format!("there is no interface {name}"),
        ),
        Interface::Guid(guid) => (
            guid.as_str(),
            links.find(|link| link.guid.as_ref() == Some(guid)),
            "no interface has this Windows InterfaceGuid".to_owned(),
        ),
    };
    let link = found.ok_or_else(|| Finding::new(Code::NoInterface, subject, missing))?;
    let route = best_route(seen, |route| route.link == link.index);
    let net = address_on(link, route, seen).ok_or_else(|| {
        let detail = format!("{} has no IPv4 address", link.name);
        Finding::new(Code::NoAddress, link.name.as_str(), detail)
    })?;
    Ok(Node {
        link: link.clone(),
        net,
        gateway: route.and_then(gateway),
    })
}

fn gateway(route: &DefaultRoute) -> Option<Ipv4Addr> {
    match route.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        Some(IpAddr::V6(_)) | None => None,
    }
}

/// The interface of the best default route. `lo` and tunnels never count: an
/// exit node's default route must not make the tunnel its own underlay.
fn default_link(seen: &Observation) -> Option<&Link> {
    let link_of = |route: &DefaultRoute| seen.links.iter().find(|link| link.index == route.link);
    let counts =
        |route: &DefaultRoute| link_of(route).is_some_and(|link| link.kind == LinkKind::Other);
    best_route(seen, counts).and_then(link_of)
}

fn best_route(seen: &Observation, counts: impl Fn(&DefaultRoute) -> bool) -> Option<&DefaultRoute> {
    let routes = seen.routes.iter().filter(|route| counts(route));
    routes.min_by_key(|route| route.metric)
}

/// The address that Windows knows this machine by: the route's preferred
/// source, else one from the gateway's subnet, else the first; a secondary
/// address only where there is no other.
fn address_on(link: &Link, route: Option<&DefaultRoute>, seen: &Observation) -> Option<Ipv4Net> {
    let candidates = seen
        .addresses
        .iter()
        .filter(|address| address.link == link.index && address.global)
        .filter_map(|address| match address.net {
            IpNet::V4(net) => Some((net, address.secondary)),
            IpNet::V6(_) => None,
        });
    let rank = |(net, secondary): &(Ipv4Net, bool)| {
        let preferred = route.and_then(|route| route.source) == Some(IpAddr::V4(net.addr()));
        let gateway = route.and_then(gateway);
        let with_gateway = gateway.is_some_and(|gateway| net.contains(&gateway));
        (!preferred, !with_gateway, *secondary)
    };
    candidates.min_by_key(rank).map(|(net, _)| net)
}

#[cfg(test)]
mod tests;
