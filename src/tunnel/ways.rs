//! The tunnel's addresses, routes and rules. All but the rules end with its device.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, IpProtocol, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{LinkAttribute, LinkFlags, LinkMessage},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
    rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange},
};
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rustix::io::Errno;
use wslmesh_relay::link::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6, MTU, PREFIX_V4, PREFIX_V6};

use super::servers::Servers;
use crate::netlink::{Netlink, NetlinkError, attribute, dump};

/// The table of name servers of which only port 53 leads through the tunnel, and the priority
/// of the rules that lead there: before the main table's, after a VPN's usual ones.
const TABLE: u32 = 19_216;
const PRIORITY: u32 = 30_000;
const DNS: u16 = 53;
/// The metric of IPv6's default route: the kernel gives one of 0 the metric 1024.
const METRIC_V6: u32 = 1;
/// How often within [`CONTEST`] the default route is put before another program's.
const PUTS: usize = 4;
const CONTEST: Duration = Duration::from_secs(60);

/// A route as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    link: u32,
    table: u32,
    to: IpAddr,
    prefix: u8,
    metric: u32,
}

impl Route {
    fn is_default(&self) -> bool {
        self.prefix == 0 && self.table == u32::from(RouteHeader::RT_TABLE_MAIN)
    }
}

/// The way through one device.
#[derive(Debug)]
pub(super) struct Ways {
    netlink: Netlink,
    index: u32,
    ipv6: bool,
    puts: Vec<Instant>,
}

/// An address of the link.
fn address(index: u32, ip: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.header.family = family(ip);
    if ip.is_ipv6() {
        // Nobody else is on the link who could have it.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes.push(AddressAttribute::Address(ip));
    if ip.is_ipv4() {
        message.attributes.push(AddressAttribute::Local(ip));
    }
    message
}

const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn bytes(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// A route by the link, through a gateway where there is one.
fn message(route: &Route, gateway: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.to);
    header.destination_prefix_length = route.prefix;
    header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    header.protocol = RouteProtocol::Static;
    header.kind = RouteType::Unicast;
    header.scope = match gateway {
        None if route.to.is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Oif(route.link));
    if route.prefix > 0 {
        attributes.push(RouteAttribute::Destination(bytes(route.to)));
    }
    if let Some(gateway) = gateway {
        attributes.push(RouteAttribute::Gateway(bytes(gateway)));
    }
    if route.metric > 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

/// A rule for one name server.
fn rule(to: IpAddr, protocol: IpProtocol) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(to);
    message.header.dst_len = if to.is_ipv4() { 32 } else { 128 };
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Destination(to),
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Table(TABLE),
        RuleAttribute::IpProtocol(protocol),
        RuleAttribute::DestinationPortRange(RulePortRange {
            start: DNS,
            end: DNS,
        }),
    ];
    message
}

/// A refusal because what was to be done is done.
fn unless(errno: Errno, done: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match done {
        Err(error) if error.refusal().and_then(Errno::from_io_error) == Some(errno) => Ok(()),
        done => done,
    }
}

impl Ways {
    /// Sets the link up with its addresses, and takes rules away that a killed process left.
    pub(super) async fn up(netlink: Netlink, index: u32) -> Result<Self, NetlinkError> {
        let mut ways = Self {
            netlink,
            index,
            ipv6: true,
            puts: Vec::new(),
        };
        ways.withdraw().await?;
        set_up(&ways.netlink, index, MTU.into()).await?;
        add_address(&ways.netlink, index, GUEST_V4.into(), PREFIX_V4).await?;
        // IPv6 may be off (sysctl disable_ipv6).
        let v6 = add_address(&ways.netlink, index, GUEST_V6.into(), PREFIX_V6);
        ways.ipv6 = v6.await.is_ok();
        Ok(ways)
    }

    /// Whether the link has an address of IPv6.
    pub(super) fn has_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Makes the routes those that are wanted; nothing is changed where they are. `ipv6`:
    /// whether the switch's machine has it.
    pub(super) async fn sync(&mut self, servers: &Servers, ipv6: bool) -> Result<(), NetlinkError> {
        let found = routes().await?;
        self.put_first(&found).await?;
        let main = u32::from(RouteHeader::RT_TABLE_MAIN);
        let mut wanted = BTreeSet::new();
        let host = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
        let usable = |ip: &IpAddr| ip.is_ipv4() || self.ipv6;
        for to in servers.whole.iter().copied().filter(usable) {
            wanted.insert(self.route(main, to, host(to), to.is_ipv6()));
        }
        for to in servers.by_port.iter().copied().filter(usable) {
            let any = if to.is_ipv4() { V4 } else { V6 };
            wanted.insert(self.route(TABLE, any, 0, to.is_ipv6()));
        }
        if ipv6 && self.ipv6 {
            wanted.insert(self.route(main, V6, 0, true));
        }
        // Only kinds that are made here: the kernel has some of its own on each link.
        let ours = found.into_iter().filter(|route| {
            let v4_default = route.to.is_ipv4() && route.is_default();
            let made = route.prefix == host(route.to) || route.prefix == 0 && !v4_default;
            route.link == self.index && [main, TABLE].contains(&route.table) && made
        });
        let ours: BTreeSet<Route> = ours.collect();
        for route in ours.difference(&wanted) {
            let del = RouteNetlinkMessage::DelRoute(message(route, None));
            let what = "remove a route of the tunnel";
            unless(Errno::SRCH, self.netlink.change(what, del, 0).await)?;
        }
        for route in wanted.difference(&ours) {
            let gateway = (route.is_default() && route.to.is_ipv6()).then_some(GATEWAY_V6.into());
            let new = RouteNetlinkMessage::NewRoute(message(route, gateway));
            let flags = NLM_F_CREATE | NLM_F_EXCL;
            let what = "add a route of the tunnel";
            unless(Errno::EXIST, self.netlink.change(what, new, flags).await)?;
        }
        self.sync_rules(servers).await
    }

    fn route(&self, table: u32, to: IpAddr, prefix: u8, is_v6: bool) -> Route {
        Route {
            link: self.index,
            table,
            to,
            prefix,
            metric: if is_v6 { METRIC_V6 } else { 0 },
        }
    }

    /// Puts IPv4's default route before others of the same metric, where it is not: the
    /// kernel takes the first. A program that puts its own there again and again is let.
    async fn put_first(&mut self, found: &[Route]) -> Result<(), NetlinkError> {
        let defaults = found
            .iter()
            .filter(|route| route.is_default() && route.metric == 0);
        let mut defaults = defaults.filter(|route| route.to.is_ipv4()).peekable();
        if defaults
            .peek()
            .is_some_and(|first| first.link == self.index)
        {
            return Ok(());
        }
        let now = Instant::now();
        self.puts.retain(|put| now.duration_since(*put) < CONTEST);
        if self.puts.len() >= PUTS {
            tracing::warn!(
                event = "tunnel",
                "another program puts its default route before the tunnel's again and again: `ip monitor route` shows which; left alone for a minute"
            );
            return Ok(());
        }
        self.puts.push(now);
        let main = u32::from(RouteHeader::RT_TABLE_MAIN);
        let own = message(&self.route(main, V4, 0, false), Some(GATEWAY_V4.into()));
        if defaults.any(|other| other.link == self.index) {
            let del = RouteNetlinkMessage::DelRoute(own.clone());
            let what = "move the tunnel's default route";
            unless(Errno::SRCH, self.netlink.change(what, del, 0).await)?;
        }
        // Without NLM_F_EXCL, NLM_F_REPLACE and NLM_F_APPEND the kernel puts it before
        // others of its metric (net/ipv4/fib_trie.c, fib_table_insert): the others stay.
        let new = RouteNetlinkMessage::NewRoute(own);
        let what = "add the tunnel's default route";
        self.netlink.change(what, new, NLM_F_CREATE).await
    }

    async fn sync_rules(&self, servers: &Servers) -> Result<(), NetlinkError> {
        let wanted: BTreeSet<IpAddr> = servers.by_port.iter().copied().collect();
        let found = rules().await?;
        if found == wanted {
            return Ok(());
        }
        for to in found.difference(&wanted) {
            self.remove_rules(*to).await?;
        }
        for to in &wanted {
            for protocol in [IpProtocol::Udp, IpProtocol::Tcp] {
                let new = RouteNetlinkMessage::NewRule(rule(*to, protocol));
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                let what = "add a rule for the tunnel's name server";
                unless(Errno::EXIST, self.netlink.change(what, new, flags).await)?;
            }
        }
        Ok(())
    }

    async fn remove_rules(&self, to: IpAddr) -> Result<(), NetlinkError> {
        for protocol in [IpProtocol::Udp, IpProtocol::Tcp] {
            let del = RouteNetlinkMessage::DelRule(rule(to, protocol));
            let what = "remove a rule of the tunnel";
            unless(Errno::NOENT, self.netlink.change(what, del, 0).await)?;
        }
        Ok(())
    }

    /// Takes the rules away, which do not end with the device.
    pub(super) async fn withdraw(&self) -> Result<(), NetlinkError> {
        withdraw(&self.netlink).await
    }
}

async fn set_up(netlink: &Netlink, index: u32, mtu: u32) -> Result<(), NetlinkError> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes.push(LinkAttribute::Mtu(mtu));
    let set = RouteNetlinkMessage::SetLink(link);
    netlink.change("set the tunnel's link up", set, 0).await
}

async fn add_address(
    netlink: &Netlink,
    index: u32,
    ip: IpAddr,
    prefix: u8,
) -> Result<(), NetlinkError> {
    let new = RouteNetlinkMessage::NewAddress(address(index, ip, prefix));
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let added = netlink.change("add the tunnel's address", new, flags);
    unless(Errno::EXIST, added.await)
}

/// One address and one default route, for a device that another program serves.
pub(super) async fn plain(
    netlink: &Netlink,
    index: u32,
    address: IpNet,
    gateway: Option<IpAddr>,
    mtu: u32,
) -> Result<(), NetlinkError> {
    set_up(netlink, index, mtu).await?;
    add_address(netlink, index, address.addr(), address.prefix_len()).await?;
    let Some(gateway) = gateway else {
        return Ok(());
    };
    let route = Route {
        link: index,
        table: RouteHeader::RT_TABLE_MAIN.into(),
        to: if gateway.is_ipv4() { V4 } else { V6 },
        prefix: 0,
        metric: u32::from(gateway.is_ipv6()),
    };
    let new = RouteNetlinkMessage::NewRoute(message(&route, Some(gateway)));
    netlink
        .change("add the default route", new, NLM_F_CREATE)
        .await
}

/// Takes away the rules of a tunnel that was killed.
pub(super) async fn withdraw(netlink: &Netlink) -> Result<(), NetlinkError> {
    let ways = Ways {
        netlink: netlink.clone(),
        index: 0,
        ipv6: false,
        puts: Vec::new(),
    };
    for to in rules().await? {
        ways.remove_rules(to).await?;
    }
    Ok(())
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// All routes, those of one metric in the order in which the kernel takes them.
async fn routes() -> Result<Vec<Route>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        let keep = |entry| match entry {
            RouteNetlinkMessage::NewRoute(message) => read(&message),
            _ => None,
        };
        found.extend(dump("list the routes", RouteNetlinkMessage::GetRoute(all), keep).await?);
    }
    Ok(found)
}

fn read(message: &RouteMessage) -> Option<Route> {
    let attributes = &message.attributes;
    let to = match attribute!(attributes, RouteAttribute::Destination) {
        Some(RouteAddress::Inet(ip)) => IpAddr::V4(*ip),
        Some(RouteAddress::Inet6(ip)) => IpAddr::V6(*ip),
        Some(_) => return None,
        None if message.header.address_family == AddressFamily::Inet6 => V6,
        None => V4,
    };
    if message.header.kind != RouteType::Unicast || message.header.tos != 0 {
        return None;
    }
    let table = attribute!(attributes, RouteAttribute::Table).copied();
    Some(Route {
        link: attribute!(attributes, RouteAttribute::Oif)
            .copied()
            .unwrap_or(0),
        table: table.unwrap_or_else(|| message.header.table.into()),
        to,
        prefix: message.header.destination_prefix_length,
        metric: attribute!(attributes, RouteAttribute::Priority)
            .copied()
            .unwrap_or(0),
    })
}

/// The gateways of default routes that do not lead through this link.
pub(super) async fn gateways(but: u32) -> Result<Vec<IpAddr>, NetlinkError> {
    let all = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let keep = |entry| match entry {
        RouteNetlinkMessage::NewRoute(message) => gateway(&message, but),
        _ => None,
    };
    dump("list the routes", all, keep).await
}

fn gateway(message: &RouteMessage, but: u32) -> Option<IpAddr> {
    let attributes = &message.attributes;
    let link = attribute!(attributes, RouteAttribute::Oif).copied();
    if message.header.destination_prefix_length > 0 || link == Some(but) {
        return None;
    }
    match attribute!(attributes, RouteAttribute::Gateway)? {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// The addresses for which there are rules of the tunnel.
async fn rules() -> Result<BTreeSet<IpAddr>, NetlinkError> {
    let all = RouteNetlinkMessage::GetRule(RuleMessage::default());
    let keep = |entry| match entry {
        RouteNetlinkMessage::NewRule(message) => {
            let attributes = &message.attributes;
            let ours = attribute!(attributes, RuleAttribute::Table) == Some(&TABLE)
                && attribute!(attributes, RuleAttribute::Priority) == Some(&PRIORITY);
            attribute!(attributes, RuleAttribute::Destination)
                .copied()
                .filter(|_| ours)
        }
        _ => None,
    };
    Ok(dump("list the rules", all, keep)
        .await?
        .into_iter()
        .collect())
}
