//! Links, addresses and default routes.

use std::{fs, net::IpAddr, path::Path};

use ipnet::IpNet;
use netlink_packet_route::{
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage},
};

use crate::{
    config::Interface,
    model::{Address, DefaultRoute, InterfaceName, Link, LinkKind},
    netlink::{Netlink, NetlinkError, mtu_of, name_of},
    wireguard,
};

/// How often the tables are read until none changes meanwhile; the next event
/// brings another pass anyway.
const ROUNDS: usize = 4;

pub(super) struct Tables {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<DefaultRoute>,
}

pub(super) async fn read(netlink: &Netlink, interface: &Interface) -> Result<Tables, NetlinkError> {
    let want_guids = matches!(interface, Interface::Guid(_));
    let links = netlink
        .links()
        .await?
        .iter()
        .filter_map(|message| link(message, want_guids))
        .collect();
    let mut addresses = read_addresses(netlink).await?;
    let mut routes = Vec::new();
    for _ in 0..ROUNDS {
        // IPv6 routes decide nothing here and may be many: only IPv4's are read.
        routes = netlink
            .default_routes()
            .await?
            .iter()
            .flat_map(default_routes)
            .collect();
        // Each table is its own question, and a change between two of them
        // would pair an old address with a new gateway.
        let before = std::mem::replace(&mut addresses, read_addresses(netlink).await?);
        if before == addresses {
            break;
        }
    }
    Ok(Tables {
        links,
        addresses,
        routes,
    })
}

async fn read_addresses(netlink: &Netlink) -> Result<Vec<Address>, NetlinkError> {
    Ok(netlink
        .addresses()
        .await?
        .iter()
        .filter_map(address)
        .collect())
}

fn link(message: &LinkMessage, want_guid: bool) -> Option<Link> {
    let name = name_of(message).and_then(InterfaceName::new)?;
    let kind = kind(message, &name);
    let guid = if want_guid { guid(&name) } else { None };
    Some(Link {
        index: message.header.index,
        kind,
        mtu: mtu_of(message)?,
        guid,
        name,
    })
}

fn kind(message: &LinkMessage, name: &InterfaceName) -> LinkKind {
    if message.header.flags.contains(LinkFlags::Loopback) {
        return LinkKind::Loopback;
    }
    let info = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| {
                if let LinkInfo::Kind(kind) = info {
                    Some(kind)
                } else {
                    None
                }
            }),
            _ => None,
        });
    match info {
        Some(InfoKind::Wireguard) => LinkKind::WireGuard,
        Some(InfoKind::Tun) if wireguard::has_control_socket(name) => LinkKind::WireGuardUserspace,
        Some(InfoKind::Tun) => LinkKind::Tun,
        _ => LinkKind::Other,
    }
}

/// The VMBus device behind an interface is a folder named by its GUID.
fn guid(name: &InterfaceName) -> Option<String> {
    let device = fs::read_link(
        Path::new("/sys/class/net")
            .join(name.as_str())
            .join("device"),
    )
    .ok()?;
    Some(device.file_name()?.to_str()?.to_ascii_lowercase())
}

fn address(message: &AddressMessage) -> Option<Address> {
    // On a point-to-point link Address is the other end and Local our own.
    let local = message.attributes.iter().find_map(|attribute| {
        if let AddressAttribute::Local(ip) = attribute {
            Some(*ip)
        } else {
            None
        }
    });
    let other = || {
        message.attributes.iter().find_map(|attribute| {
            if let AddressAttribute::Address(ip) = attribute {
                Some(*ip)
            } else {
                None
            }
        })
    };
    let ip: IpAddr = local.or_else(other)?;
    let net = IpNet::new(ip, message.header.prefix_len).ok()?;
    // IPv6's temporary flag has the same bit as IPv4's secondary.
    let secondary = ip.is_ipv4()
        && (message.header.flags.contains(AddressHeaderFlags::Secondary)
            || message.attributes.iter().any(|attribute| matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Secondary))));
    Some(Address {
        link: message.header.index,
        net,
        global: message.header.scope == AddressScope::Universe,
        secondary,
    })
}

/// A route with several next hops is one default route for each.
fn default_routes(message: &RouteMessage) -> Vec<DefaultRoute> {
    let main = message.header.table == RouteHeader::RT_TABLE_MAIN
        || message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Table(table) if *table == u32::from(RouteHeader::RT_TABLE_MAIN)));
    if !main {
        // A VPN's own table is reached by its rules only.
        return Vec::new();
    }
    let mut metric = 0;
    let mut source = None;
    let mut hops = vec![hop(&message.attributes, None)];
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::PrefSource(preferred) => source = ip(preferred),
            RouteAttribute::MultiPath(paths) => hops.extend(
                paths
                    .iter()
                    .map(|path| hop(&path.attributes, Some(path.interface_index))),
            ),
            _ => {}
        }
    }
    hops.into_iter()
        .flatten()
        .map(|(link, gateway)| DefaultRoute {
            link,
            gateway,
            source,
            metric,
        })
        .collect()
}

fn hop(attributes: &[RouteAttribute], link: Option<u32>) -> Option<(u32, Option<IpAddr>)> {
    let out = attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Oif(index) = attribute {
            Some(*index)
        } else {
            None
        }
    });
    let gateway = attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Gateway(gateway) = attribute {
            ip(gateway)
        } else {
            None
        }
    });
    Some((link.or(out)?, gateway))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
