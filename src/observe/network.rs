//! Links, addresses and default routes.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia},
};

use crate::{
    config::Interface,
    model::{Address, DefaultRoute, InterfaceName, Link, LinkKind, TUNNEL_LINK, guid},
    netlink::{self, ATTEMPTS, Netlink, NetlinkError, attribute, dump, kind_of, mtu_of, name_of},
    wireguard,
};

/// The tables of links, addresses and default routes.
pub(super) async fn read(
    netlink: &Netlink,
    interface: &Interface,
) -> Result<(Vec<Link>, Vec<Address>, Vec<DefaultRoute>), NetlinkError> {
    let want_guids = matches!(interface, Interface::Guid(_));
    let mut all = LinkMessage::default();
    let mask = vec![LinkExtentMask::SkipStats];
    all.attributes.push(LinkAttribute::ExtMask(mask));
    let keep = |entry| match entry {
        RouteNetlinkMessage::NewLink(message) => link(&message, want_guids),
        _ => None,
    };
    let links = dump("list the links", RouteNetlinkMessage::GetLink(all), keep).await?;
    let mut addresses = netlink::addresses().await?;
    let mut routes = Vec::new();
    for _ in 0..ATTEMPTS {
        routes = read_routes(AddressFamily::Inet).await?;
        if !has_ipv4(interface, &links, &addresses, &routes) {
            routes.extend(read_routes(AddressFamily::Inet6).await?);
        }
        // Each table is a request of its own, and a change between two of them
        // would pair an old address with a new gateway.
        let before = std::mem::replace(&mut addresses, netlink::addresses().await?);
        if before == addresses {
            break;
        }
    }
    for route in &mut routes {
        route.towards_gateway = match route.gateway {
            // A link-local one is on the route's own link.
            Some(IpAddr::V6(gateway)) if gateway.is_unicast_link_local() => None,
            Some(gateway) => netlink.link_towards(gateway, 0).await?,
            None => None,
        };
    }
    Ok((links, addresses, routes))
}

/// By which link packets to each of these addresses leave.
pub(super) async fn towards(
    netlink: &Netlink,
    addresses: impl Iterator<Item = &IpAddr>,
) -> Result<BTreeMap<IpAddr, Option<u32>>, NetlinkError> {
    let mut links = BTreeMap::new();
    for address in addresses {
        links.insert(*address, netlink.link_towards(*address, 0).await?);
    }
    Ok(links)
}

/// Whether the node certainly has IPv4. Then IPv6's routes, which may be many, decide
/// nothing and are not read.
fn has_ipv4(
    interface: &Interface,
    links: &[Link],
    addresses: &[Address],
    routes: &[DefaultRoute],
) -> bool {
    let may_be_it = |link: &&Link| match interface {
        Interface::Auto => {
            let has_route = routes.iter().any(|route| route.link == link.index);
            has_route && link.kind.is_underlay()
        }
        Interface::Named(name) => link.name == *name,
        Interface::Guid(guid) => link.guid.as_deref() == Some(guid),
    };
    let mut links = links.iter().filter(may_be_it);
    links.any(|link| {
        let mut here = addresses
            .iter()
            .filter(|address| address.link == link.index);
        here.any(|address| address.is_usable() && address.net.addr().is_ipv4())
    })
}

async fn read_routes(family: AddressFamily) -> Result<Vec<DefaultRoute>, NetlinkError> {
    let mut all = RouteMessage::default();
    all.header.address_family = family;
    let keep = |entry| match entry {
        RouteNetlinkMessage::NewRoute(message) => default_routes(&message),
        _ => Vec::new(),
    };
    dump("list the routes", RouteNetlinkMessage::GetRoute(all), keep).await
}

fn link(message: &LinkMessage, want_guid: bool) -> Option<Link> {
    let name = name_of(message).and_then(InterfaceName::new)?;
    let kind = kind(message, &name);
    Some(Link {
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        index: message.header.index,
        kind,
        mtu: mtu_of(message)?,
        guid: want_guid.then(|| guid_of(&name)).flatten(),
        name,
    })
}

fn kind(message: &LinkMessage, name: &InterfaceName) -> LinkKind {
    if message.header.flags.contains(LinkFlags::Loopback) {
        return LinkKind::Loopback;
    }
    match kind_of(message) {
        Some(InfoKind::Wireguard) => LinkKind::WireGuard,
        Some(InfoKind::Tun) if wireguard::has_control_socket(name) => LinkKind::WireGuardUserspace,
        Some(InfoKind::Tun) if name.as_str() == TUNNEL_LINK => LinkKind::Tunnel,
        Some(InfoKind::Tun) => LinkKind::Tun,
        // WSL's own devices have no kind, and a container's uplink is a pair's end.
        None | Some(InfoKind::Veth) => LinkKind::Other,
        Some(_) => LinkKind::Virtual,
    }
}

fn guid_of(name: &InterfaceName) -> Option<String> {
    guid_in(&fs::read_link(format!("/sys/class/net/{name}")).ok()?)
}

/// The GUID in where /sys/class/net/NAME leads: the VMBus device's folder, two above
/// the interface's own; four for `wlan*`, and three more where a virtio device is
/// between them, as in consomme mode.
fn guid_in(link: &Path) -> Option<String> {
    let starts = |path: &Path, prefix: &str| {
        let name = path.file_name()?.to_str()?;
        Some(name.starts_with(prefix))
    };
    let mut device = link
        .ancestors()
        .nth(if starts(link, "wlan")? { 4 } else { 2 })?;
    if starts(device, "virtio")? {
        device = device.ancestors().nth(3)?;
    }
    guid(device.file_name()?.to_str()?)
}

/// A route with several next hops is one default route for each.
fn default_routes(message: &RouteMessage) -> Vec<DefaultRoute> {
    let attributes = &message.attributes;
    let main = RouteHeader::RT_TABLE_MAIN;
    let table = attribute!(attributes, RouteAttribute::Table);
    let in_main = message.header.table == main || table == Some(&u32::from(main));
    // A VPN's own table is reached by its rules only, and a route with a type of
    // service by packets of that service only.
    let is_default =
        message.header.destination_prefix_length == 0 && message.header.kind == RouteType::Unicast;
    if !is_default || !in_main || message.header.tos != 0 {
        return Vec::new();
    }
    let metric = attribute!(attributes, RouteAttribute::Priority);
    let source = attribute!(attributes, RouteAttribute::PrefSource).and_then(ip);
    let paths = attribute!(attributes, RouteAttribute::MultiPath);
    let paths = paths.into_iter().flatten();
    let hops = paths.map(|path| hop(&path.attributes, Some(path.interface_index)));
    std::iter::once(hop(attributes, None))
        .chain(hops)
        .flatten()
        .map(|(link, gateway)| DefaultRoute {
            ipv6: message.header.address_family == AddressFamily::Inet6,
            link,
            gateway,
            source,
            metric: metric.copied().unwrap_or(0),
            towards_gateway: None,
        })
        .collect()
}

fn hop(attributes: &[RouteAttribute], link: Option<u32>) -> Option<(u32, Option<IpAddr>)> {
    let out = attribute!(attributes, RouteAttribute::Oif).copied();
    let gateway = attribute!(attributes, RouteAttribute::Gateway).and_then(ip);
    // An IPv4 route over an IPv6 gateway (RFC 5549).
    let via = attribute!(attributes, RouteAttribute::Via).and_then(|via| match via {
        RouteVia::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    Some((link.or(out)?, gateway.or(via)))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
