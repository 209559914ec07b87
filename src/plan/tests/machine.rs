//! A machine described in a few words, for the tables of the concerns.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    config::Settings,
    model::{
        Address, AddressState, DefaultRoute, Device, DeviceReading, HostMemory, InterfaceName,
        Link, LinkKind, Mode, ModeState, NetworkFile, Observation, Peer, Plan, PublicKey,
        ResolvConf, ResolvFile, Resolver, SysctlKey, SysctlReading, SysctlValue,
    },
};

#[derive(Clone)]
pub(in crate::plan) struct Machine(Observation);

pub(in crate::plan) fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

impl Machine {
    /// A machine in NAT mode with no links and no network file.
    pub(in crate::plan) fn new() -> Self {
        Self(Observation {
            links: Vec::new(),
            addresses: Vec::new(),
            routes: Vec::new(),
            mode: ModeState::Known(Mode::Nat),
            network_file: NetworkFile::Missing,
            resolver: Resolver::default(),
            zone_links: BTreeMap::new(),
            sysctls: BTreeMap::new(),
            wireguard: BTreeMap::new(),
            carriers: BTreeMap::new(),
            kernel_ports: Default::default(),
            host: HostMemory::default(),
        })
    }

    /// WSL2 in NAT mode as it starts.
    pub(in crate::plan) fn nat() -> Self {
        Self::new()
            .link("eth0", LinkKind::Other, 1500)
            .address("eth0", "172.28.16.5/20")
            .route("eth0", "172.28.16.1", 0)
    }

    pub(in crate::plan) fn seen(&self) -> Observation {
        self.0.clone()
    }

    pub(in crate::plan) fn with(mut self, change: impl FnOnce(&mut Observation)) -> Self {
        change(&mut self.0);
        self
    }

    /// With a name server.
    pub(in crate::plan) fn named(self) -> Self {
        let conf = ResolvConf::parse(b"nameserver 192.0.2.53\n");
        self.with(|seen| seen.resolver.file = ResolvFile::Read(conf))
    }

    pub(in crate::plan) fn mode(self, mode: Mode) -> Self {
        self.with(|seen| seen.mode = ModeState::Known(mode))
    }

    pub(in crate::plan) fn link(self, link: &str, kind: LinkKind, mtu: u32) -> Self {
        self.with(|seen| {
            let index = u32::try_from(seen.links.len()).unwrap() + 1;
            seen.links.push(Link {
                index,
                name: name(link),
                kind,
                up: true,
                carrier: true,
                mtu,
                guid: None,
            });
        })
    }

    fn index(&self, link: &str) -> u32 {
        self.0
            .links
            .iter()
            .find(|l| l.name.as_str() == link)
            .unwrap()
            .index
    }

    pub(in crate::plan) fn guid(self, link: &str, guid: &str) -> Self {
        let index = self.index(link);
        self.with(|seen| {
            seen.links
                .iter_mut()
                .filter(|l| l.index == index)
                .for_each(|l| l.guid = Some(guid.to_owned()))
        })
    }

    pub(in crate::plan) fn address(self, link: &str, net: &str) -> Self {
        self.add_address(link, net, false)
    }

    pub(in crate::plan) fn secondary(self, link: &str, net: &str) -> Self {
        self.add_address(link, net, true)
    }

    fn add_address(self, link: &str, net: &str, secondary: bool) -> Self {
        let link = self.index(link);
        self.with(|seen| {
            seen.addresses.push(Address {
                link,
                net: net.parse().unwrap(),
                global: true,
                secondary,
                state: AddressState::Ready,
                created: 0,
            })
        })
    }

    pub(in crate::plan) fn route(self, link: &str, gateway: &str, metric: u32) -> Self {
        self.add_route(link, gateway, None, metric)
    }

    pub(in crate::plan) fn route_from(self, link: &str, gateway: &str, source: &str) -> Self {
        let source = Some(source.parse().unwrap());
        self.add_route(link, gateway, source, 0)
    }

    /// Packets to the device's peers leave by this link.
    pub(in crate::plan) fn carried(self, device: &str, by: &str) -> Self {
        let by = self.index(by);
        self.with(|seen| {
            seen.carriers.entry(name(device)).or_default().insert(by);
        })
    }

    /// A default route without a gateway.
    pub(in crate::plan) fn direct(self, link: &str, metric: u32) -> Self {
        self.push_route(link, None, None, metric)
    }

    fn add_route(self, link: &str, gateway: &str, source: Option<IpAddr>, metric: u32) -> Self {
        let gateway = gateway.parse().unwrap();
        self.push_route(link, Some(gateway), source, metric)
    }

    fn push_route(
        self,
        link: &str,
        gateway: Option<IpAddr>,
        source: Option<IpAddr>,
        metric: u32,
    ) -> Self {
        let link = self.index(link);
        self.with(|seen| {
            seen.routes.push(DefaultRoute {
                ipv6: gateway.is_some_and(|gateway| gateway.is_ipv6()),
                link,
                gateway,
                source,
                metric,
                towards_gateway: None,
            })
        })
    }

    pub(in crate::plan) fn device(
        self,
        device: &str,
        listen_port: u16,
        keepalives: &[u16],
    ) -> Self {
        let peers = keepalives
            .iter()
            .enumerate()
            .map(|(place, keepalive)| {
                let state = Peer {
                    keepalive: *keepalive,
                    ..Peer::default()
                };
                (peer(u8::try_from(place).unwrap()), state)
            })
            .collect();
        self.with(|seen| {
            seen.wireguard.insert(
                name(device),
                DeviceReading::Device(Device {
                    listen_port: Some(listen_port),
                    mark: 0,
                    peers,
                }),
            );
        })
    }

    pub(in crate::plan) fn sysctl(self, key: &str, value: &str, writable: bool) -> Self {
        self.with(|seen| {
            seen.sysctls.insert(
                SysctlKey::parse(key).unwrap(),
                SysctlReading::Value {
                    value: SysctlValue::new(value),
                    writable,
                },
            );
        })
    }
}

/// What one concern decides, as within a whole plan.
pub(in crate::plan) fn planned(
    settings: &Settings,
    seen: &Observation,
    concern: fn(&Settings, &Observation, &mut Plan),
) -> Plan {
    let node = crate::plan::node(settings, seen).ok();
    let mut plan = Plan {
        node,
        ..Plan::default()
    };
    concern(settings, seen, &mut plan);
    plan
}

pub(in crate::plan) fn peer(number: u8) -> PublicKey {
    PublicKey::new([number; 32])
}
