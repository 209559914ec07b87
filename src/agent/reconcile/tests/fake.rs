//! A described machine, a Windows that only notes what it is asked, and an agent
//! between them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    time::Duration,
};

use super::super::*;
use crate::{
    apply::{ApplyError, saved::SavedError},
    config::settings,
    fs::file::{Fault, FileError},
    model::{
        Address, AddressState, Code, DefaultRoute, Device, DeviceReading, DrivePath, Failure,
        ForwardBackend, HostFacts, HostOutcome, HostPrivilege, InstalledRule, InterfaceName, Link,
        LinkKind, Listen, Mode, ModeState, NetworkFile, Observation, Peer, PublicKey, RelayMemory,
        RelayRole, RelaySet, ResolvConf, ResolvFile, Resolver, Rule, RuleSet, SysctlReading,
    },
};

/// A machine in memory. What is applied is so from then on, unless it is made
/// to fail, or another program undoes it.
pub(super) struct Fake {
    pub(super) world: RefCell<Observation>,
    pub(super) failing: RefCell<BTreeSet<&'static str>>,
}

impl Fake {
    pub(super) fn wsl() -> Self {
        let name = |text| InterfaceName::new(text).unwrap();
        let link = |index, text, kind, mtu| Link {
            index,
            name: name(text),
            kind,
            up: true,
            carrier: true,
            mtu,
            guid: None,
        };
        let address = |link, net: &str| Address {
            link,
            net: net.parse().unwrap(),
            global: true,
            secondary: false,
            state: AddressState::Ready,
            created: 0,
        };
        let device = Device {
            listen_port: Some(51820),
            mark: 0,
            peers: BTreeMap::from([(PublicKey::new([1; 32]), Peer::default())]),
        };
        Self {
            world: RefCell::new(Observation {
                links: vec![
                    link(2, "eth0", LinkKind::Other, 1280),
                    link(3, "wg0", LinkKind::WireGuard, 1420),
                ],
                addresses: vec![address(2, "172.28.16.5/20"), address(3, "10.99.0.1/24")],
                routes: vec![DefaultRoute {
                    ipv6: false,
                    link: 2,
                    gateway: "172.28.16.1".parse().ok(),
                    source: None,
                    metric: 0,
                    towards_gateway: None,
                }],
                mode: ModeState::Pending,
                network_file: NetworkFile::Missing,
                resolver: Resolver {
                    file: ResolvFile::Read(ResolvConf::parse(b"nameserver 192.0.2.53\n")),
                    ..Resolver::default()
                },
                zone_links: BTreeMap::new(),
                sysctls: BTreeMap::new(),
                wireguard: BTreeMap::from([(name("wg0"), DeviceReading::Device(device))]),
                carriers: BTreeMap::new(),
                kernel_ports: Default::default(),
                host: HostMemory::default(),
            }),
            failing: RefCell::default(),
        }
    }

    fn fails(&self, what: &'static str) -> bool {
        self.failing.borrow().contains(what)
    }
}

impl Machine for &Fake {
    async fn observe(
        &self,
        _: &Settings,
        mode: ModeState,
        host: HostMemory,
    ) -> Result<Observation, NetlinkError> {
        if self.fails("kernel") {
            return Err(NetlinkError::Timeout { what: "test" });
        }
        Ok(Observation {
            mode,
            host,
            ..self.world.borrow().clone()
        })
    }

    async fn remember(&self, _: &[Action]) -> Result<(), SavedError> {
        if self.fails("state") {
            return Err(SavedError::File(FileError::new(
                "/state/saved.json".as_ref(),
                Fault::TooBig,
            )));
        }
        Ok(())
    }

    async fn apply(&self, action: &Action) -> Result<bool, ApplyError> {
        let mut world = self.world.borrow_mut();
        if self.fails("vanished") {
            return Ok(false);
        }
        match action {
            Action::WriteNetworkFile(change) if self.fails("file") => {
                return Err(ApplyError::File(FileError::new(
                    &change.path,
                    Fault::Changed,
                )));
            }
            Action::SetMtu(change) if self.fails("mtu") => {
                return Err(ApplyError::Failed {
                    what: format!("{}: MTU", change.name),
                    why: format!("wrote \"{}\" and read back \"{}\"", change.to, change.from),
                    retry: true,
                    code: Code::MtuRefused,
                });
            }
            Action::WriteNetworkFile(change) => {
                world.network_file = NetworkFile::Content(change.after.clone())
            }
            Action::SetMtu(change) => {
                let links = world
                    .links
                    .iter_mut()
                    .filter(|link| link.index == change.index);
                links.for_each(|link| link.mtu = change.to);
            }
            Action::WriteSysctl(change) => {
                let reading = SysctlReading::Value {
                    value: change.to.clone(),
                    writable: true,
                };
                world.sysctls.insert(change.key.clone(), reading);
            }
            Action::SetKeepalive(change) => {
                if let Some(DeviceReading::Device(device)) = world.wireguard.get_mut(&change.name) {
                    device
                        .peers
                        .values_mut()
                        .for_each(|peer| peer.keepalive = change.seconds);
                }
            }
            Action::ClaimPort(_) if self.fails("claim") => {
                return Err(ApplyError::Failed {
                    what: "wg0 port 51820".to_owned(),
                    why: "Windows refused UDP 0.0.0.0:51820".to_owned(),
                    retry: false,
                    code: Code::WireguardPortRefused,
                });
            }
            Action::ClaimPort(claim) => world.kernel_ports.claimed.extend([claim.socket]),
            Action::SyncForwards(_) | Action::SyncRelay(..) => {
                panic!("Windows is not changed by a pass")
            }
        }
        Ok(true)
    }
}

#[derive(Default)]
pub(super) struct Calls {
    pub(super) wanted: Vec<RuleSet>,
    pub(super) syncing: bool,
    pub(super) relay: RelayMemory,
    pub(super) relay_sent: Vec<Option<RelaySet>>,
}

impl Host for Calls {
    /// A relay that reads and has not answered yet.
    fn relay(&mut self, _: RelayRole, wanted: Option<RelaySet>) -> RelayMemory {
        self.relay_sent.push(wanted.clone());
        let sets = wanted.iter();
        let sent = sets.flat_map(|set| set.forwards.iter().map(|(_, forward)| forward.listen));
        self.relay.listening.extend(sent);
        self.relay.wanted = wanted;
        self.relay.applied = false;
        self.relay.clone()
    }

    fn sync(&mut self, wanted: &RuleSet, _: &HostMemory) -> bool {
        if std::mem::replace(&mut self.syncing, true) {
            return false;
        }
        self.wanted.push(wanted.clone());
        true
    }
}

pub(super) const SSH: &str = "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\nfirewall = \"none\"\nbackend = \"portproxy\"\n";

/// An agent on a fake machine, with the folder of its status document.
pub(super) struct Bench<'a> {
    pub(super) agent: Agent<&'a Fake>,
    pub(super) calls: Calls,
    manager: Manager,
    pub(super) folder: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    pub(super) fn new(machine: &'a Fake, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths {
            state: folder.path().to_owned(),
            runtime: folder.path().to_owned(),
            lib: folder.path().to_owned(),
        };
        let mut agent = Agent::new(machine, settings(config), &paths, HostMemory::default());
        agent.handle_event(HostEvent::Mode(ModeState::Known(Mode::Nat)));
        Self {
            agent,
            calls: Calls::default(),
            manager: Manager::default(),
            folder,
        }
    }

    pub(super) async fn pass(&mut self) -> Done {
        self.agent
            .reconcile(&mut self.calls, &mut self.manager)
            .await
    }

    /// Windows answers the call in flight.
    pub(super) fn answer(&mut self, settled: bool, findings: Vec<Finding>) {
        self.calls.syncing = false;
        let wanted = self.calls.wanted.last().unwrap().clone();
        let rules_remain = settled.then_some(true);
        self.agent.handle_event(HostEvent::Forwards(HostOutcome {
            settled,
            findings,
            facts: Some(HostFacts {
                privilege: HostPrivilege::Elevated,
                rules: if settled {
                    installed_rules(&wanted)
                } else {
                    Vec::new()
                },
                ..HostFacts::default()
            }),
            wanted,
            changed: None,
            restored: Vec::new(),
            took: Duration::ZERO,
            rules_remain,
        }));
    }
}

impl Bench<'_> {
    /// Windows makes what it was asked for, where it may.
    pub(super) fn windows_may(&mut self, privilege: HostPrivilege) {
        self.calls.syncing = false;
        let wanted = self.calls.wanted.last().unwrap().clone();
        let may = privilege != HostPrivilege::None;
        let rules = if may {
            installed_rules(&wanted)
        } else {
            Vec::new()
        };
        let refused = !may && !wanted.rules.is_empty();
        self.agent.handle_event(HostEvent::Forwards(HostOutcome {
            settled: true,
            findings: Vec::from_iter(
                refused.then(|| Finding::new(Code::ForwardNotElevated, "", "x")),
            ),
            rules_remain: Some(!rules.is_empty()),
            facts: Some(HostFacts {
                rules,
                privilege,
                firewall: may,
                installed_relay: (privilege == HostPrivilege::Installed)
                    .then(|| DrivePath::new(r"C:\Program Files\wslmesh\relay.exe").unwrap()),
                local_app_data: DrivePath::new(r"C:\Users\me\AppData\Local").ok(),
                ..HostFacts::default()
            }),
            changed: None,
            restored: Vec::new(),
            took: Duration::ZERO,
            wanted,
        }));
    }

    /// The relay confirms what it was sent last, but for these.
    pub(super) fn relay_confirms(&mut self, failed: &[(Listen, Failure)]) {
        let relay = &mut self.calls.relay;
        let wanted = relay.wanted.iter();
        relay.listening = wanted
            .flat_map(|set| set.forwards.iter().map(|(_, forward)| forward.listen))
            .filter(|listen| !failed.iter().any(|(other, _)| other == listen))
            .collect();
        (relay.applied, relay.failed) = (true, failed.iter().copied().collect());
        self.agent
            .handle_event(HostEvent::Relay(RelayRole::Entry, relay.clone()));
    }
}

/// The rules as Windows reads them back.
pub(super) fn installed_rules(wanted: &RuleSet) -> Vec<InstalledRule> {
    let own = |rule: &&Rule| rule.backend == ForwardBackend::Portproxy;
    wanted
        .rules
        .iter()
        .filter(own)
        .map(|rule| InstalledRule {
            listen: rule.listen,
            connect: SocketAddrV4::new(wanted.connect_address, rule.connect_port.get()),
        })
        .collect()
}
