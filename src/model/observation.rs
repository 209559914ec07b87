//! One snapshot of the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::{
    DeviceReading, DrivePath, Finding, GuestFirewall, HostPrivilege, InstalledRule, InterfaceName,
    KernelPorts, Listen, Mode, ModeState, Nameserver, RelayMemory, RuleSet, SysctlKey,
    SysctlReading, display_as_serialized,
};

/// Everything a pass decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// All network interfaces of this namespace, by kernel index.
    pub links: Vec<Link>,
    /// All addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// The IPv4 default routes of the main table.
    pub routes: Vec<DefaultRoute>,
    /// WSL's networking mode.
    pub mode: ModeState,
    /// The generated network file.
    pub network_file: NetworkFile,
    /// First name server of /etc/resolv.conf.
    pub dns: Option<Nameserver>,
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
    /// Whether IPv6 routes and rules decide anything: by them a tunnel's peer or a
    /// gateway is reached.
    #[must_use]
    pub fn has_ipv6_ways(&self) -> bool {
        let devices = self.wireguard.values().filter_map(DeviceReading::device);
        let peers = devices.flat_map(|device| device.peers.values());
        let endpoints = peers.filter_map(|peer| Some(peer.endpoint?.ip()));
        let gateways = self.routes.iter().filter_map(|route| route.gateway);
        endpoints.chain(gateways).any(|ip| ip.is_ipv6())
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
    /// Made by software here: a bridge, a VLAN, a dummy, an IP tunnel.
    Virtual,
    /// Anything else: eth0, a container's end of a pair.
    Other,
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
    /// Its IPv4 address with the subnet's prefix length.
    pub net: Ipv4Net,
    /// The IPv4 gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Why it is this interface, where its default route alone does not tell.
    pub reason: Option<String>,
}

impl Node {
    /// The address alone.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.net.addr()
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
    /// Whether the kernel calls it secondary: it came after another of its subnet.
    pub secondary: bool,
}

/// An IPv4 default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
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
    pub possibly_installed: Option<Vec<Listen>>,
    /// The findings of that call, or of a failed one since.
    pub findings: Vec<Finding>,
    /// What Windows said of itself.
    pub facts: HostFacts,
    /// What the relay was sent and answered.
    pub relay: RelayMemory,
    /// The networking mode that `.wslconfig` asks for; `None` where that is unknown.
    pub requested_mode: Option<Mode>,
    /// Windows is to be asked again since the call in flight was begun, if one is.
    pub outdated: bool,
}

impl HostMemory {
    /// Takes the end of a call. The findings of one that is out of date may be about
    /// what is no longer wanted, and it settles nothing.
    pub fn record(&mut self, outcome: HostOutcome) {
        let outdated = std::mem::take(&mut self.outdated);
        if let Some(facts) = outcome.facts {
            let mut rules: Vec<Listen> = facts.rules.iter().map(|rule| rule.listen).collect();
            if !outcome.settled {
                // A task that answers late may still make what it was asked for.
                rules.extend(outcome.wanted.listens());
            }
            self.possibly_installed = Some(rules);
            self.facts = facts;
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
    /// Port proxy rules of ours as read back.
    pub rules: Vec<InstalledRule>,
    /// Where rules of ours were not made, because another program has the port.
    pub blocked: Vec<Listen>,
    /// What the Windows side may do for us.
    pub privilege: HostPrivilege,
    /// The relay of `wslmesh host install`.
    pub installed_relay: Option<DrivePath>,
    /// The version of the package that was installed.
    pub installed_version: Option<String>,
    /// Whether a policy of Windows kept that relay from being started at the installation.
    pub relay_forbidden: bool,
    /// Where the relay listens and the firewall lets in no more than the forward does.
    pub as_granted: Vec<Listen>,
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
    /// From the call to its answer.
    pub took: Duration,
    /// Whether rules of ours remain on Windows; `None` where it did not say.
    pub rules_remain: Option<bool>,
}
