//! What the loop knows, as far as a recovery asks.

use std::net::IpAddr;

use crate::{
    config::Settings,
    model::{
        DeviceReading, ForwardState, ForwardStatus, HostOutcome, InterfaceName, Mode, Node,
        Observation, WireguardLink, counted,
    },
};

/// The node's interface and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Place {
    /// The interface.
    pub(in crate::agent) interface: InterfaceName,
    /// The address.
    pub(in crate::agent) address: IpAddr,
    /// The gateway.
    pub(in crate::agent) gateway: Option<IpAddr>,
    /// Whether packets can leave: it is up and has a carrier.
    pub(in crate::agent) connected: bool,
}

/// What the last pass saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::agent) struct Scene {
    /// WSL's networking mode, where it is known.
    pub(super) mode: Option<Mode>,
    /// Where the node is, if it is anywhere.
    pub(in crate::agent) place: Option<Place>,
    /// Index of the link of the tunnel to Windows while it is up: another way out.
    pub(in crate::agent) tunnel: Option<u32>,
    /// Whether resolv.conf names a server.
    pub(super) has_dns: bool,
    /// WireGuard devices that the configuration names.
    pub(in crate::agent) devices: Vec<WireguardLink>,
    /// How many peers they have.
    pub(in crate::agent) peers: usize,
    /// Whether Windows has to be asked, or was, for these settings.
    pub(super) asks_windows: bool,
}

impl Scene {
    /// What is needed of an observation and of what was planned by it.
    pub(in crate::agent) fn of(
        settings: &Settings,
        seen: &Observation,
        node: Option<&Node>,
        tunnel: Option<u32>,
        asks_windows: bool,
    ) -> Self {
        let is_ours = |name: &InterfaceName| {
            let link = seen.links.iter().find(|link| link.name == *name)?;
            let covered = settings.wireguard_interfaces.covers(link);
            covered.then(|| WireguardLink {
                index: link.index,
                name: name.clone(),
                kind: link.kind,
            })
        };
        Self {
            mode: seen.mode.known(),
            place: node.map(|node| Place {
                interface: node.link.name.clone(),
                address: node.address(),
                gateway: node.gateway,
                connected: node.link.up && node.link.carrier,
            }),
            tunnel,
            has_dns: !seen.resolver.servers().is_empty(),
            devices: seen.wireguard.keys().filter_map(is_ours).collect(),
            peers: seen
                .wireguard
                .values()
                .filter_map(DeviceReading::device)
                .map(|device| device.peers.len())
                .sum(),
            asks_windows,
        }
    }
}

/// What Windows has answered since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::agent) struct Answers {
    /// Calls that ended.
    pub(in crate::agent) ended: u64,
    /// Those that changed rules.
    pub(in crate::agent) changed: u64,
    /// Why the last one was not answered.
    pub(in crate::agent) failure: Option<String>,
    /// Whether Windows has what it should have.
    pub(in crate::agent) settled: bool,
}

impl Answers {
    /// Takes the end of a call.
    pub(in crate::agent) fn record(&mut self, outcome: &HostOutcome) {
        self.ended += 1;
        self.changed += u64::from(outcome.changed.is_some());
        let why = || {
            let finding = outcome.findings.first();
            finding.map_or_else(
                || "Windows did not answer".to_owned(),
                |one| one.detail.clone(),
            )
        };
        self.failure = outcome.facts.is_none().then(why);
    }
}

/// A relay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::agent) struct RelayView {
    /// Whether one is needed.
    pub(in crate::agent) wanted: bool,
    /// Whether it serves.
    pub(in crate::agent) applied: bool,
    /// Signs of life that were asked for after a resume.
    pub(in crate::agent) alive: u64,
    /// How often it stopped serving.
    pub(in crate::agent) lost: u64,
}

/// All of it, after the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::agent) struct View {
    pub(in crate::agent) scene: Scene,
    pub(in crate::agent) windows: Answers,
    pub(in crate::agent) relay: RelayView,
    /// The one behind it, which leads to services on loopback.
    pub(in crate::agent) loopback: RelayView,
    pub(in crate::agent) forwards: Vec<ForwardStatus>,
}

impl View {
    /// Whether the node has its address, and packets can leave.
    pub(in crate::agent) fn is_connected(&self) -> bool {
        self.scene
            .place
            .as_ref()
            .is_some_and(|place| place.connected)
    }

    /// The forwards in one of these states.
    pub(super) fn forwards_in(&self, states: &[ForwardState]) -> Vec<&str> {
        let all = self.forwards.iter();
        let such = all.filter(|forward| states.contains(&forward.state));
        such.map(|forward| forward.name.as_str()).collect()
    }
}

/// `forward web`, `forwards ssh and web`, `12 forwards`.
pub(super) fn named(forwards: &[&str]) -> String {
    match forwards {
        [one] => format!("forward {one}"),
        [one, two] => format!("forwards {one} and {two}"),
        many => counted(many.len(), "forward"),
    }
}
