//! Which interface and which address are this distribution's.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    config::Interface,
    model::{
        Address, AddressState, Code, DefaultRoute, Finding, Link, LinkKind, Node, Observation,
        Plan, some_of,
    },
};

/// The protocol that the node is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// IPv6 only counts where there is no node by IPv4: Windows forwards by IPv4 in NAT mode,
/// and IPv4 addresses change less often.
pub(super) fn select(interface: &Interface, seen: &Observation) -> Result<Node, Finding> {
    by_family(Family::Ipv4, interface, seen).or_else(|by_ipv4| {
        by_family(Family::Ipv6, interface, seen).map_err(|by_ipv6| {
            by_ipv4.or(by_ipv6).unwrap_or_else(|| {
                let detail = "there is no default route in the main table";
                Finding::new(Code::NoInterface, "", detail)
            })
        })
    })
}

/// The node by one protocol, or why there is none; nothing where that has no default route.
fn by_family(
    family: Family,
    interface: &Interface,
    seen: &Observation,
) -> Result<Node, Option<Finding>> {
    let find = |subject: &str, is: &dyn Fn(&Link) -> bool, missing: String| {
        let found = seen.links.iter().filter(|link| is(link));
        // Beside `wlan0`, mirrored mode has a `_wlan0` with the same GUID.
        let found = found.min_by_key(|link| link.name.as_str().starts_with('_'));
        found.ok_or_else(|| Finding::new(Code::NoInterface, subject, missing))
    };
    let (link, reason) = match interface {
        Interface::Auto => default_link(family, seen)?,
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
    let route = best_route(family, seen, link);
    let net = address_on(family, link, route, seen).ok_or_else(|| {
        let detail = why_none(link, seen);
        Finding::new(Code::NoAddress, link.name.as_str(), detail)
    })?;
    Ok(Node {
        link: link.clone(),
        net,
        gateway: route.and_then(|route| gateway(family, route)),
        reason,
    })
}

/// Why no address of a link is the node's.
fn why_none(link: &Link, seen: &Observation) -> String {
    let here = seen.addresses.iter().filter(|one| one.link == link.index);
    let why = |one: &Address| {
        let why = match one.state {
            AddressState::Ready if one.secondary && one.net.addr().is_ipv6() => "temporary",
            // An IPv6 address counts once a router has made itself known.
            AddressState::Ready if one.is_usable() => "without a default route of its protocol",
            AddressState::Ready => "link-local",
            state => state.in_words(),
        };
        format!("{} is {why}", one.net)
    };
    if here.clone().next().is_none() {
        return format!("{} has no address", link.name);
    }
    let all = some_of(here.map(why));
    format!("{} has no usable address: {all}", link.name)
}

/// Finds a gateway that packets reach another way than the node's, as through an exit
/// node: what Windows forwards to this distribution then gets no answer.
pub(super) fn plan(seen: &Observation, plan: &mut Plan) {
    let Some(node) = &plan.node else { return };
    let family = Family::of(node.address());
    let Some(route) = best_route(family, seen, &node.link) else {
        return;
    };
    let by = route.towards_gateway.filter(|by| *by != node.link.index);
    let by = by.and_then(|by| seen.link(by));
    // The tunnel to Windows answers for a gateway that is the name server.
    let by = by.filter(|by| by.kind != LinkKind::Tunnel);
    if let (Some(by), Some(gateway)) = (by, route.gateway) {
        let detail = format!(
            "packets to the gateway {gateway} leave by {} and not by {}",
            by.name, node.link.name
        );
        plan.find(Code::GatewayRoute, by.name.as_str(), detail);
    }
}

/// The route's gateway, where it is of its protocol.
fn gateway(family: Family, route: &DefaultRoute) -> Option<IpAddr> {
    route
        .gateway
        .filter(|gateway| Family::of(*gateway) == family)
}

/// A link that the node may be, with its best default route.
struct Candidate<'a> {
    link: &'a Link,
    net: Option<IpNet>,
    route: &'a DefaultRoute,
    /// Why another one is to be preferred.
    doubt: Option<String>,
}

/// The interface of the best default route, and why, where that is not obvious. `lo`
/// and tunnels never count: an exit node's default route must not make the tunnel its
/// own underlay. An interface without an address, a bridge or another virtual one,
/// and what looks like a VPN adapter of Windows (which mirrored mode shows as `ethN`)
/// only count where there is no better one. The error is as that of [`by_family`].
fn default_link(
    family: Family,
    seen: &Observation,
) -> Result<(&Link, Option<String>), Option<Finding>> {
    let nothing = |detail: String| Some(Finding::new(Code::NoInterface, "", detail));
    let links = || seen.links.iter().filter(|link| link.kind.is_underlay());
    let mut candidates: Vec<Candidate<'_>> = links()
        .filter_map(|link| {
            let route = best_route(family, seen, link)?;
            Some(Candidate {
                link,
                net: address_on(family, link, Some(route), seen),
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
        let passed_over = passed_over.find_map(|other| Some((other, other.why_not(family)?)));
        let rival = others
            .first()
            .filter(|other| other.why_not(family).is_none());
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
    let Some(tunnel) = routes(family, seen).min_by_key(|route| route.metric) else {
        return Err(None);
    };
    let tunnel = seen.link(tunnel.link);
    let tunnel = tunnel.map_or_else(|| "a tunnel".to_owned(), |link| link.name.to_string());
    let with_address = || links().filter(|link| address_on(family, link, None, seen).is_some());
    let mut real = with_address().filter(|link| link.kind == LinkKind::Other);
    match (real.next(), real.next(), with_address().count()) {
        (Some(one), None, _) => {
            let why = format!(
                "the {family} default route leads through {tunnel}, and below it no other interface has an address"
            );
            Ok((one, Some(why)))
        }
        (None, _, 0) => Err(nothing(format!(
            "the only {family} default route leads through {tunnel}, and no other interface has an address"
        ))),
        _ => Err(nothing(format!(
            "the only {family} default route leads through {tunnel}, and several interfaces have an address: name one as interface in the section [network] of the configuration"
        ))),
    }
}

impl Candidate<'_> {
    /// Why it was passed over.
    fn why_not(&self, family: Family) -> Option<String> {
        if self.net.is_none() {
            return Some(format!("it has no usable {family} address"));
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
    // One address alone is what DHCPv6 gives out.
    let alone = matches!(net, IpNet::V4(net) if net.prefix_len() == 32);
    if alone || VPN_NETS.iter().any(|vpn| vpn.contains(&net.addr())) {
        Some(format!("looks like a VPN adapter with its address {net}"))
    } else if some_gateway && one.route.gateway.is_none() {
        Some("has no gateway".to_owned())
    } else {
        None
    }
}

/// Where VPNs and proxies have their addresses: shared address space (RFC 6598), as
/// Tailscale uses it, the benchmark's (RFC 2544), as proxies with a TUN use it, and
/// Tailscale's of IPv6 (its net/tsaddr/tsaddr.go).
const VPN_NETS: [IpNet; 3] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15)),
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0),
        48,
    )),
];

/// The default routes of a protocol.
fn routes(family: Family, seen: &Observation) -> impl Iterator<Item = &DefaultRoute> {
    let is_one = move |route: &&DefaultRoute| route.ipv6 == (family == Family::Ipv6);
    seen.routes.iter().filter(is_one)
}

/// The link's default route with the lowest metric; of several routers of IPv6, whose
/// order in the kernel changes, that with the lowest address.
fn best_route<'a>(family: Family, seen: &'a Observation, link: &Link) -> Option<&'a DefaultRoute> {
    let on_link = routes(family, seen).filter(|route| route.link == link.index);
    on_link.min_by_key(|route| (route.metric, route.gateway.filter(|_| route.ipv6)))
}

/// The address that Windows knows this machine by: the route's preferred
/// source, else one from the gateway's subnet, else the first; a secondary
/// address only where there is no other. Of IPv6 one that stays: not a temporary one,
/// and the oldest of equal ones, so that a new one beside it changes nothing.
fn address_on(
    family: Family,
    link: &Link,
    route: Option<&DefaultRoute>,
    seen: &Observation,
) -> Option<IpNet> {
    let is_one = |one: &&Address| {
        one.link == link.index && one.global && Family::of(one.net.addr()) == family
    };
    let here = || seen.addresses.iter().filter(is_one);
    // Of a new network's addresses the temporary one may be ready first: the other one is
    // waited for.
    let mut stable = here().filter(|one| !one.secondary);
    let wait = stable.any(|one| one.state == AddressState::Tentative);
    let usable = here().filter(|one| one.is_usable() && !(wait && one.secondary));
    let gateway = route.and_then(|route| gateway(family, route));
    let rank = |one: &&Address| {
        let own = one.net.addr();
        let preferred = route.and_then(|route| route.source) == Some(own);
        let with_gateway = gateway.is_some_and(|gateway| one.net.contains(&gateway));
        let (temporary, local, age) = match own {
            IpAddr::V4(_) => (false, false, None),
            IpAddr::V6(ip) => (one.secondary, ip.is_unique_local(), Some((one.created, ip))),
        };
        (
            !preferred,
            temporary,
            local,
            !with_gateway,
            one.secondary,
            age,
        )
    };
    usable.min_by_key(rank).map(|one| one.net)
}

#[cfg(test)]
mod tests;
