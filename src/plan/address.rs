//! Which interface and which address are this distribution's.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    config::Interface,
    model::{Code, DefaultRoute, Finding, Link, LinkKind, Node, Observation},
};

pub(super) fn select(interface: &Interface, seen: &Observation) -> Result<Node, Finding> {
    let find = |subject: &str, is: &dyn Fn(&Link) -> bool, missing: String| {
        let found = seen.links.iter().find(|link| is(link));
        found.ok_or_else(|| Finding::new(Code::NoInterface, subject, missing))
    };
    let link = match interface {
        Interface::Auto => default_link(seen)?,
        Interface::Named(name) => {
            let missing = format!("there is no interface {name}");
            find(name.as_str(), &|link| link.name == *name, missing)?
        }
        Interface::Guid(guid) => {
            let missing = "no interface has this Windows InterfaceGuid".to_owned();
            find(guid, &|link| link.guid.as_deref() == Some(guid), missing)?
        }
    };
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
fn default_link(seen: &Observation) -> Result<&Link, Finding> {
    let link_of = |route: &DefaultRoute| seen.links.iter().find(|link| link.index == route.link);
    let counts =
        |route: &DefaultRoute| link_of(route).is_some_and(|link| link.kind == LinkKind::Other);
    best_route(seen, counts)
        .and_then(link_of)
        .ok_or_else(|| Finding::new(Code::NoInterface, "", "there is no IPv4 default route"))
}

fn best_route(seen: &Observation, counts: impl Fn(&DefaultRoute) -> bool) -> Option<&DefaultRoute> {
    seen.routes
        .iter()
        .filter(|route| counts(route))
        .min_by_key(|route| route.metric)
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
mod tests {
    use super::*;
    use crate::plan::testing::Machine;

    fn address(machine: &Machine, interface: &Interface) -> Result<String, Code> {
        select(interface, &machine.seen())
            .map(|node| format!("{} {} via {:?}", node.link.name, node.net, node.gateway))
            .map_err(|finding| finding.code)
    }

    #[test]
    fn picks_the_address_windows_knows() {
        let named = |name: &str| Interface::Named(crate::model::InterfaceName::new(name).unwrap());
        let wsl = || {
            Machine::new()
                .link("lo", LinkKind::Loopback, 65536)
                .address("lo", "10.255.255.254/32")
                .link("eth0", LinkKind::Other, 1500)
        };
        let table: Vec<(&str, Machine, Interface, Result<&str, Code>)> = vec![
            (
                "plain NAT, DNS tunnelling's address on lo ignored",
                wsl()
                    .address("eth0", "172.28.16.5/20")
                    .route("eth0", "172.28.16.1", 0),
                Interface::Auto,
                Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
            ),
            (
                "no route yet",
                wsl().address("eth0", "172.28.16.5/20"),
                Interface::Auto,
                Err(Code::NoInterface),
            ),
            (
                "route without address",
                wsl().route("eth0", "172.28.16.1", 0),
                Interface::Auto,
                Err(Code::NoAddress),
            ),
            (
                "an exit node's default route is not the underlay",
                wsl()
                    .address("eth0", "172.28.16.5/20")
                    .route("eth0", "172.28.16.1", 100)
                    .link("wg0", LinkKind::WireGuard, 1420)
                    .address("wg0", "10.0.0.2/24")
                    .route("wg0", "10.0.0.1", 0),
                Interface::Auto,
                Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
            ),
            (
                "the lowest metric wins",
                wsl()
                    .address("eth0", "192.168.1.9/24")
                    .route("eth0", "192.168.1.1", 25)
                    .link("eth1", LinkKind::Other, 1500)
                    .address("eth1", "10.1.1.9/24")
                    .route("eth1", "10.1.1.1", 20),
                Interface::Auto,
                Ok("eth1 10.1.1.9/24 via Some(10.1.1.1)"),
            ),
            (
                "a second address in the gateway's subnet beats an earlier stranger",
                wsl()
                    .address("eth0", "10.9.9.9/24")
                    .address("eth0", "172.28.16.5/20")
                    .route("eth0", "172.28.16.1", 0),
                Interface::Auto,
                Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
            ),
            (
                "the route's source beats everything",
                wsl()
                    .address("eth0", "172.28.16.5/20")
                    .secondary("eth0", "172.28.16.6/20")
                    .route_from("eth0", "172.28.16.1", "172.28.16.6"),
                Interface::Auto,
                Ok("eth0 172.28.16.6/20 via Some(172.28.16.1)"),
            ),
            (
                "a secondary address only comes after the first",
                wsl()
                    .secondary("eth0", "172.28.16.6/20")
                    .address("eth0", "172.28.16.5/20")
                    .route("eth0", "172.28.16.1", 0),
                Interface::Auto,
                Ok("eth0 172.28.16.5/20 via Some(172.28.16.1)"),
            ),
            (
                "a named interface needs no route",
                wsl().address("eth0", "172.28.16.5/20"),
                named("eth0"),
                Ok("eth0 172.28.16.5/20 via None"),
            ),
            (
                "a named interface that was removed",
                wsl(),
                named("eth7"),
                Err(Code::NoInterface),
            ),
            (
                "a Windows InterfaceGuid",
                wsl()
                    .guid("eth0", "6b29fc40-ca47-1067-b31d-00dd010662da")
                    .address("eth0", "10.0.0.1/8"),
                Interface::Guid("6b29fc40-ca47-1067-b31d-00dd010662da".into()),
                Ok("eth0 10.0.0.1/8 via None"),
            ),
            (
                "IPv6 alone is no address here",
                wsl()
                    .address("eth0", "fd00::5/64")
                    .route("eth0", "172.28.16.1", 0),
                Interface::Auto,
                Err(Code::NoAddress),
            ),
        ];
        for (case, machine, interface, expected) in table {
            assert_eq!(
                address(&machine, &interface),
                expected.map(str::to_owned),
                "{case}"
            );
        }
    }
}
