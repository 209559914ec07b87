//! Which interface and which address are this distribution's.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    config::Interface,
    model::{Code, DefaultRoute, Finding, Link, LinkKind, Node, Observation, Plan},
};

pub(super) fn select(interface: &Interface, seen: &Observation) -> Result<Node, Finding> {
    let find = |subject: &str, is: &dyn Fn(&Link) -> bool, missing: String| {
        let found = seen.links.iter().filter(|link| is(link));
        // Beside `wlan0`, mirrored mode has a `_wlan0` with the same GUID.
        let found = found.min_by_key(|link| link.name.as_str().starts_with('_'));
        found.ok_or_else(|| Finding::new(Code::NoInterface, subject, missing))
    };
    let (link, reason) = match interface {
        Interface::Auto => default_link(seen)?,
        Interface::Named(name) => {
            let missing = format!("there is no interface {name}");
            (
                find(name.as_str(), &|link| link.name == *name, missing)?,
                None,
            )
        }
        Interface::Guid(guid) => {
            let missing = "no interface has this Windows InterfaceGuid".to_owned();
            let is = |link: &Link| link.guid.as_deref() == Some(guid);
            (find(guid, &is, missing)?, None)
        }
    };
    let route = best_route(seen, link);
    let net = address_on(link, route, seen).ok_or_else(|| {
        let all = ipv4_on(link, seen).map(|(net, _)| net.to_string());
        let detail = match all.collect::<Vec<_>>().as_slice() {
            [] => ipv6_alone(link, seen)
                .unwrap_or_else(|| format!("{} has no IPv4 address", link.name)),
            link_local => format!(
                "{} has no IPv4 address but the link-local {}",
                link.name,
                link_local.join(", ")
            ),
        };
        Finding::new(Code::NoAddress, link.name.as_str(), detail)
    })?;
    Ok(Node {
        link: link.clone(),
        net,
        gateway: route.and_then(gateway),
        reason,
    })
}

/// Finds a gateway that packets reach another way than the node's, as through an exit
/// node: what Windows forwards to this distribution then gets no answer.
pub(super) fn plan(seen: &Observation, plan: &mut Plan) {
    let Some(node) = &plan.node else { return };
    let Some(route) = best_route(seen, &node.link) else {
        return;
    };
    let by = route.towards_gateway.filter(|by| *by != node.link.index);
    let by = by.and_then(|by| seen.link(by));
    if let (Some(by), Some(gateway)) = (by, route.gateway) {
        let detail = format!(
            "packets to the gateway {gateway} leave by {} and not by {}",
            by.name, node.link.name
        );
        plan.find(Code::GatewayRoute, by.name.as_str(), detail);
    }
}

fn gateway(route: &DefaultRoute) -> Option<Ipv4Addr> {
    match route.gateway {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        Some(IpAddr::V6(_)) | None => None,
    }
}

/// A link that the node may be, with its best default route.
struct Candidate<'a> {
    link: &'a Link,
    net: Option<Ipv4Net>,
    route: &'a DefaultRoute,
    /// Why another one is to be preferred.
    doubt: Option<String>,
}

/// The interface of the best default route, and why, where that is not obvious. `lo`
/// and tunnels never count: an exit node's default route must not make the tunnel its
/// own underlay. An interface without an address, a bridge or another virtual one,
/// and what looks like a VPN adapter of Windows (which mirrored mode shows as `ethN`)
/// only count where there is no better one.
fn default_link(seen: &Observation) -> Result<(&Link, Option<String>), Finding> {
    let nothing = |detail: String| Finding::new(Code::NoInterface, "", detail);
    let is_underlay = |link: &&Link| matches!(link.kind, LinkKind::Other | LinkKind::Virtual);
    let links = || seen.links.iter().filter(is_underlay);
    let mut candidates: Vec<Candidate<'_>> = links()
        .filter_map(|link| {
            let route = best_route(seen, link)?;
            Some(Candidate {
                link,
                net: address_on(link, Some(route), seen),
                route,
                doubt: None,
            })
        })
        .collect();
    let some_gateway = candidates.iter().any(|one| one.route.gateway.is_some());
    for one in &mut candidates {
        one.doubt = doubt(one, some_gateway);
    }
    candidates.sort_by_key(|one| {
        let no_address = one.net.is_none();
        (
            no_address,
            one.doubt.is_some(),
            one.route.metric,
            one.link.name.clone(),
        )
    });
    if let Some((best, others)) = candidates.split_first() {
        let mut passed_over = others
            .iter()
            .filter(|other| other.route.metric <= best.route.metric);
        let passed_over = passed_over.find_map(|other| Some((other, other.why_not()?)));
        let rival = others.first().filter(|other| other.why_not().is_none());
        let metric = best.route.metric;
        let reason = match (&best.doubt, passed_over, rival) {
            (Some(doubt), ..) if best.net.is_some() => Some(format!(
                "{} {doubt}, but no better one has a default route",
                best.link.name
            )),
            (_, Some((other, why)), _) => Some(format!(
                "{} has the better default route, but {why}",
                other.link.name
            )),
            (_, None, Some(rival)) if rival.route.metric == metric => Some(format!(
                "{} has a default route of the same metric {metric}, and the first by name is taken",
                rival.link.name
            )),
            (_, None, Some(rival)) => Some(format!(
                "its default route has metric {metric}, and that of {} has {}",
                rival.link.name, rival.route.metric
            )),
            (_, None, None) => None,
        };
        return Ok((best.link, reason));
    }
    let Some(tunnel) = seen.routes.iter().min_by_key(|route| route.metric) else {
        let mut detail = "there is no IPv4 default route in the main table".to_owned();
        if let Some(why) = links().find_map(|link| ipv6_alone(link, seen)) {
            detail = format!("{detail}: {why}");
        }
        return Err(nothing(detail));
    };
    let tunnel = seen.link(tunnel.link);
    let tunnel = tunnel.map_or_else(|| "a tunnel".to_owned(), |link| link.name.to_string());
    let with_address = || links().filter(|link| address_on(link, None, seen).is_some());
    let mut real = with_address().filter(|link| link.kind == LinkKind::Other);
    match (real.next(), real.next(), with_address().count()) {
        (Some(one), None, _) => {
            let why = format!(
                "the IPv4 default route leads through {tunnel}, and below it no other interface has an address"
            );
            Ok((one, Some(why)))
        }
        (None, _, 0) => Err(nothing(format!(
            "the only IPv4 default route leads through {tunnel}, and no other interface has an address"
        ))),
        _ => Err(nothing(format!(
            "the only IPv4 default route leads through {tunnel}, and several interfaces have an address: name one as interface in the section [network] of the configuration"
        ))),
    }
}

impl Candidate<'_> {
    /// Why it was passed over.
    fn why_not(&self) -> Option<String> {
        if self.net.is_none() {
            return Some("it has no usable IPv4 address".to_owned());
        }
        self.doubt.as_ref().map(|doubt| format!("it {doubt}"))
    }
}

/// What speaks against a link as the node.
fn doubt(one: &Candidate<'_>, some_gateway: bool) -> Option<String> {
    if one.link.kind == LinkKind::Virtual {
        return Some("is a virtual interface".to_owned());
    }
    let net = one.net?;
    let of_a_vpn = VPN_NETS.iter().any(|vpn| vpn.contains(&net.addr()));
    if net.prefix_len() == 32 || of_a_vpn {
        Some(format!("looks like a VPN adapter with its address {net}"))
    } else if some_gateway && one.route.gateway.is_none() {
        Some("has no gateway".to_owned())
    } else {
        None
    }
}

/// Where VPNs and proxies have their addresses: shared address space (RFC 6598), as
/// Tailscale uses it, and the benchmark's (RFC 2544), as proxies with a TUN use it.
const VPN_NETS: [Ipv4Net; 2] = [
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
];

/// The link's default route with the lowest metric.
fn best_route<'a>(seen: &'a Observation, link: &Link) -> Option<&'a DefaultRoute> {
    let routes = seen.routes.iter().filter(|route| route.link == link.index);
    routes.min_by_key(|route| route.metric)
}

/// Its IPv4 addresses of global scope, and whether each is a secondary one.
fn ipv4_on<'a>(link: &Link, seen: &'a Observation) -> impl Iterator<Item = (Ipv4Net, bool)> + 'a {
    let index = link.index;
    let addresses = seen.addresses.iter();
    let on_link = addresses.filter(move |address| address.link == index && address.global);
    on_link.filter_map(|address| match address.net {
        IpNet::V4(net) => Some((net, address.secondary)),
        IpNet::V6(_) => None,
    })
}

/// What it means that a link has IPv6 alone.
fn ipv6_alone(link: &Link, seen: &Observation) -> Option<String> {
    let mut addresses = seen.addresses.iter();
    let of_ipv6 = addresses.find_map(|address| match address.net {
        IpNet::V6(net) if address.link == link.index && address.global => Some(net.addr()),
        _ => None,
    });
    let alone = of_ipv6.filter(|_| ipv4_on(link, seen).next().is_none())?;
    Some(format!(
        "{} has IPv6 alone ({alone}), and the network file and forwards from Windows are by IPv4; enable it in that network",
        link.name
    ))
}

/// The address that Windows knows this machine by: the route's preferred
/// source, else one from the gateway's subnet, else the first; a secondary
/// address only where there is no other.
fn address_on(link: &Link, route: Option<&DefaultRoute>, seen: &Observation) -> Option<Ipv4Net> {
    // Without DHCP an address is made up (RFC 3927), and WSL gives it global scope.
    let candidates = ipv4_on(link, seen).filter(|(net, _)| !net.addr().is_link_local());
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
