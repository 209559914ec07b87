//! One snapshot of the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    DeviceReading, DrivePath, DynamicPorts, Finding, GuestFirewall, HostPrivilege, InstalledRule,
    InterfaceName, KernelPorts, Listens, Mode, ModeState, RelayMemory, RelayRole, Resolver,
    RuleSet, SysctlKey, SysctlReading, TunnelListeners, Underlay, display_as_serialized,
};

/// Everything a pass decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// All network interfaces of this namespace, by kernel index.
    pub links: Vec<Link>,
    /// All addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// The default routes of the main table; those of IPv6 only where they may decide,
    /// because there is no usable IPv4.
    pub routes: Vec<DefaultRoute>,
    /// WSL's networking mode.
    pub mode: ModeState,
    /// The generated network file.
    pub network_file: NetworkFile,
    /// /etc/resolv.conf. With DNS tunnelling its server is 10.255.255.254, which is not
    /// the Windows host.
    pub resolver: Resolver,
    /// By which link packets to each server of a zone leave; `None` where none leads there.
    pub zone_links: BTreeMap<IpAddr, Option<u32>>,
    /// The parameters that the configuration names.
    pub sysctls: BTreeMap<SysctlKey, SysctlReading>,
    /// WireGuard devices that the configuration names.
    pub wireguard: BTreeMap<InterfaceName, DeviceReading>,
    /// Ports of WireGuard in the kernel; read only where the mode asks for it.
    pub kernel_ports: KernelPorts,
    /// For each WireGuard device that is a tunnel, the interfaces by which packets to
    /// its peers leave.
    pub carriers: BTreeMap<InterfaceName, BTreeSet<u32>>,
    /// What Windows answered last.
    pub host: HostMemory,
}

impl Observation {
    /// Whether IPv6 routes and rules decide anything: by them a tunnel's peer, a gateway
    /// or a zone's server is reached.
    #[must_use]
    pub fn has_ipv6_ways(&self) -> bool {
        let devices = self.wireguard.values().filter_map(DeviceReading::device);
        let peers = devices.flat_map(|device| device.peers.values());
        let endpoints = peers.filter_map(|peer| Some(peer.endpoint?.ip()));
        let gateways = self.routes.iter().filter_map(|route| route.gateway);
        let servers = self.zone_links.keys().copied();
        let mut ways = endpoints.chain(gateways).chain(servers);
        ways.any(|ip| ip.is_ipv6())
    }

    /// Index of the link of the tunnel to Windows, while it is up.
    #[must_use]
    pub fn tunnel(&self) -> Option<u32> {
        let mut links = self.links.iter();
        let link = links.find(|link| link.kind == LinkKind::Tunnel && link.up)?;
        Some(link.index)
    }

    /// The interface of this index.
    #[must_use]
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }
}

display_as_serialized!(LinkKind);

/// What carries a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// `lo`. WSL's DNS tunnelling puts 10.255.255.254 on it with global scope.
    Loopback,
    /// WireGuard in the kernel.
    WireGuard,
    /// A tun device with a WireGuard control socket in /var/run/wireguard.
    #[serde(rename = "wireguard-userspace")]
    WireGuardUserspace,
    /// Any other tun device (Tailscale's, an OpenVPN's).
    Tun,
    /// wslmesh's own tunnel to Windows, which is a way out and no part of a mesh.
    Tunnel,
    /// Made by software here: a bridge, a VLAN, a dummy, an IP tunnel.
    Virtual,
    /// Anything else: eth0, a container's end of a pair.
    Other,
}

impl LinkKind {
    /// Whether this node may be reached by a link of this kind: no tunnel, whose own
    /// underlay it would be, and not `lo`.
    #[must_use]
    pub fn is_underlay(self) -> bool {
        matches!(self, Self::Other | Self::Virtual)
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index; a new interface of an old name has a new index.
    pub index: u32,
    /// Its name.
    pub name: InterfaceName,
    /// What carries it.
    pub kind: LinkKind,
    /// Whether it is set up, as `ip link set up` does; it may have no carrier.
    pub up: bool,
    /// Whether it has a carrier: the other end is there and up.
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// VMBus device GUID, which in mirrored mode is the Windows InterfaceGuid
    /// (microsoft/WSL: src/linux/init/GnsEngine.cpp, GetAdapterId); lower case,
    /// without braces. Read only when the configuration names a GUID.
    pub guid: Option<String>,
}

/// Where this distribution is on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The watched interface.
    pub link: Link,
    /// Its address with the subnet's prefix length: IPv4, or IPv6 where there is no
    /// usable IPv4.
    pub net: IpNet,
    /// The gateway, of the same family; of IPv6 often a link-local one.
    pub gateway: Option<IpAddr>,
    /// Why it is this interface, where its default route alone does not tell.
    pub reason: Option<String>,
}

impl Node {
    /// Its way out without the tunnel to Windows, while packets can leave.
    #[must_use]
    pub fn underlay(&self) -> Option<Underlay> {
        let link = &self.link;
        let gateway = self.gateway.filter(|_| link.up && link.carrier)?;
        Some(Underlay {
            index: link.index,
            link: link.name.clone(),
            gateway,
        })
    }

    /// The address alone.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.net.addr()
    }

    /// The address where it is IPv4.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        match self.net {
            IpNet::V4(net) => Some(net.addr()),
            IpNet::V6(_) => None,
        }
    }
}

/// An address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its interface.
    pub link: u32,
    /// The address with its prefix length.
    pub net: IpNet,
    /// Whether its scope is global (not host, not link).
    pub global: bool,
    /// Whether the kernel calls it secondary: it came after another of its subnet. Of
    /// IPv6 that is a temporary one (RFC 8981), which is replaced again and again.
    pub secondary: bool,
    /// Whether it can be used.
    pub state: AddressState,
    /// When it was made, in hundredths of a second since boot (`cstamp` in the kernel's
    /// linux/if_addr.h).
    pub created: u32,
}

impl Address {
    /// Whether other machines can reach this one by it: not where it is made up without
    /// DHCP (RFC 3927), which WSL gives global scope.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let made_up = matches!(self.net.addr(), IpAddr::V4(ip) if ip.is_link_local());
        self.global && !made_up && self.state == AddressState::Ready
    }
}

/// Whether an address can be used; one of IPv4 always can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressState {
    /// It can.
    #[default]
    Ready,
    /// The kernel still looks for another machine that has it (RFC 4862, section 5.4).
    Tentative,
    /// Another machine has it.
    Duplicate,
    /// Its preferred lifetime has expired: for old connections only (RFC 4862, section 5.5.4).
    Deprecated,
}

impl AddressState {
    /// For a person.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Ready => "usable",
            Self::Tentative => "still being checked for a duplicate",
            Self::Duplicate => "a duplicate of another machine's",
            Self::Deprecated => "deprecated",
        }
    }
}

/// A default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Whether it is IPv6's.
    pub ipv6: bool,
    /// Index of the interface it leaves by.
    pub link: u32,
    /// The gateway; `None` on a link without one. It may be an IPv6 address.
    pub gateway: Option<IpAddr>,
    /// Source address that the route prefers.
    pub source: Option<IpAddr>,
    /// Metric; the lowest wins.
    pub metric: u32,
    /// Index of the interface by which packets to the gateway really leave, by all
    /// rules and tables of the kernel; `None` where that is not known.
    pub towards_gateway: Option<u32>,
}

/// The generated network file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkFile {
    /// There is none yet.
    Missing,
    /// Its bytes.
    Content(Vec<u8>),
    /// It could not be read; the finding says why.
    Unreadable(String),
}

/// What Windows answered last, kept between passes because asking costs a
/// second: a pass never waits for Windows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostMemory {
    /// The rules of the last call that Windows answered for good, so that
    /// asking again would change nothing.
    pub settled: Option<RuleSet>,
    /// Whether rules of ours may remain on Windows, from this run or an earlier one.
    pub rules_remain: bool,
    /// Where port proxy rules of ours are or may be: those that Windows read
    /// back, and those it was asked for since. `None` before the first answer.
    pub possibly_installed: Option<Listens>,
    /// The findings of that call, or of a failed one since.
    pub findings: Vec<Finding>,
    /// What Windows said of itself.
    pub facts: HostFacts,
    /// What the relay that clients reach was sent and answered.
    pub relay: RelayMemory,
    /// The same of the one that leads to services on loopback.
    pub loopback: RelayMemory,
    /// What the tunnel's switch listens for; `None` while there is none.
    pub tunnel: Option<TunnelListeners>,
    /// The networking mode that `.wslconfig` asks for; `None` where that is unknown.
    pub requested_mode: Option<Mode>,
    /// Windows is to be asked again since the call in flight was begun, if one is.
    pub outdated: bool,
}

impl HostMemory {
    /// What this relay was sent and answered.
    #[must_use]
    pub fn relay(&self, role: RelayRole) -> &RelayMemory {
        match role {
            RelayRole::Entry => &self.relay,
            RelayRole::Loopback => &self.loopback,
        }
    }

    /// The same, to be replaced.
    pub fn relay_mut(&mut self, role: RelayRole) -> &mut RelayMemory {
        match role {
            RelayRole::Entry => &mut self.relay,
            RelayRole::Loopback => &mut self.loopback,
        }
    }

    /// Takes the end of a call. The findings of one that is out of date may be about
    /// what is no longer wanted, and it settles nothing.
    pub fn record(&mut self, outcome: HostOutcome) {
        let outdated = std::mem::take(&mut self.outdated);
        if let Some(facts) = outcome.facts {
            let mut rules: Listens = facts.rules.iter().map(|rule| rule.listen).collect();
            if !outcome.settled {
                // A task that answers late may still make what it was asked for.
                rules.extend(outcome.wanted.listens());
            }
            self.possibly_installed = Some(rules);
            let dynamic = facts.dynamic.or(self.facts.dynamic);
            self.facts = HostFacts { dynamic, ..facts };
        }
        self.rules_remain = outcome.rules_remain.unwrap_or(self.rules_remain);
        if outdated {
            self.facts.privilege = HostPrivilege::Unknown;
        } else {
            self.settled = outcome.settled.then_some(outcome.wanted);
            self.findings = outcome.findings;
        }
    }

    /// Notes that a call was begun.
    pub fn sync_begun(&mut self, wanted: &RuleSet) {
        self.outdated = false;
        self.rules_remain |= wanted.makes_rules();
        if let Some(rules) = &mut self.possibly_installed {
            rules.extend(wanted.listens());
        }
    }

    /// Whether the next call asks for the ports that Windows hands out by itself: with the
    /// privilege at the start and after a reload, since each change of address waits for a call.
    #[must_use]
    pub fn asks_ports(&self) -> bool {
        self.facts.privilege == HostPrivilege::Unknown
    }

    /// Windows is asked again whether it still has the rules, and nothing else. A call in
    /// flight looks at them anyway.
    pub fn verify(&mut self) {
        self.settled = None;
    }

    /// Whether the port proxy has rules for us, as Windows confirmed.
    #[must_use]
    pub fn has_portproxy(&self) -> bool {
        let mut settled = self.settled.iter();
        settled.any(|set| set.listens().next().is_some())
    }

    /// Windows is asked again what it may do for us.
    pub fn forget_privilege(&mut self) {
        self.settled = None;
        self.outdated = true;
        self.facts.privilege = HostPrivilege::Unknown;
    }
}

/// Facts that only Windows knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// Windows' own address on its default route.
    pub windows_address: Option<Ipv4Addr>,
    /// Name and MTU of the connected Windows interface with the lowest MTU,
    /// which WSL copies to eth0 in NAT mode (microsoft/WSL:
    /// src/windows/service/exe/WslCoreNetworkingSupport.cpp).
    pub lowest_mtu: Option<(String, u32)>,
    /// The ports that Windows hands out by itself, as it said last.
    pub dynamic: DynamicPorts,
    /// Port proxy rules of ours as read back.
    pub rules: Vec<InstalledRule>,
    /// Where rules of ours were not made, because another program has the port.
    pub blocked: Listens,
    /// What the Windows side may do for us.
    pub privilege: HostPrivilege,
    /// The relay of `wslmesh host install`.
    pub installed_relay: Option<DrivePath>,
    /// The version of the package that was installed.
    pub installed_version: Option<String>,
    /// Whether a policy of Windows kept that relay from being started at the installation.
    pub relay_forbidden: bool,
    /// Where the relay listens and the firewall lets in no more than the forward does.
    pub as_granted: Listens,
    /// %LOCALAPPDATA% of the user behind interop.
    pub local_app_data: Option<DrivePath>,
    /// Whether that call maintained the firewall.
    pub firewall: bool,
    /// Which firewall has the rules for this distribution, in mirrored mode.
    pub guest_firewall: Option<GuestFirewall>,
    /// The guest's address as the elevated task found it.
    pub guest_address: Option<Ipv4Addr>,
}

/// How a call to Windows ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOutcome {
    /// The rules the call asked for.
    pub wanted: RuleSet,
    /// Whether asking again would change nothing until the rules change.
    pub settled: bool,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// What Windows said of itself; `None` where it did not answer.
    pub facts: Option<HostFacts>,
    /// One line for the journal where rules changed.
    pub changed: Option<String>,
    /// What was lost on Windows and made again, as `forward ssh`.
    pub restored: Vec<String>,
    /// From the call to its answer.
    pub took: Duration,
    /// Whether rules of ours remain on Windows; `None` where it did not say.
    pub rules_remain: Option<bool>,
}
