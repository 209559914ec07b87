//! Forwards: the backend of each, and what Windows and the relay should serve.
//!
//! A port has one owner at a time. The relay gets one only where no rule of ours
//! may be installed, as far as Windows has answered, and the port proxy gets one
//! only where the relay does not listen, as far as it has confirmed: a forward that
//! changes hands takes two passes, the second after the first owner's answer.

mod circle;
mod loopback;
mod nat;
mod relay;
mod shared;
mod tunnel;

use std::{collections::BTreeMap, num::NonZeroU16};

use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Action, Code, Finding, ForwardBackend, ForwardState, ForwardStatus, HostPrivilege, Listen,
        Mode, ModeState, Observation, Plan, Protocol, RelayRole, RelaySet, Rule, RuleSet, Subject,
        SyncMode, counted, some_ports,
    },
};

/// What the forwards come to.
#[derive(Debug, Default)]
struct Decision {
    /// What Windows should have; `None` where that is not to be touched now.
    rules: Option<RuleSet>,
    /// What the relay should serve; `None` where it is left as it is.
    relay: Option<Option<RelaySet>>,
    /// What the relay behind it should serve, which leads to loopback.
    loopback: Option<RelaySet>,
    /// Each forward, for a person.
    forwards: Vec<ForwardStatus>,
    findings: Vec<Finding>,
}

impl Decision {
    /// Nothing yet but what the ports alone bring. The dynamic range is whatever Windows says:
    /// an administrator can set it, so that the default would be a guess.
    fn new(settings: &Settings, seen: &Observation) -> Self {
        let mut decision = Self::default();
        // A range of ports is in the settings once for each of its ports.
        let mut within: BTreeMap<_, Vec<NonZeroU16>> = BTreeMap::new();
        for forward in &settings.forwards {
            let (protocol, port) = (forward.protocol, forward.listen_port.first());
            let range = seen.host.facts.dynamic.of(protocol);
            if let Some(range) = range.filter(|range| range.has(port)) {
                let key = (forward.name.as_str(), protocol, range);
                within.entry(key).or_default().push(port);
            }
        }
        for ((name, protocol, range), ports) in within {
            let detail = format!(
                "{protocol} {}: Windows hands out {range}",
                some_ports(ports)
            );
            decision.find(Code::ForwardDynamicRange, name, detail);
        }
        decision
    }

    /// No forward is served.
    fn unserved(settings: &Settings) -> Self {
        let mut decision = Self {
            relay: Some(None),
            ..Self::default()
        };
        for forward in &settings.forwards {
            decision.add(forward, None, ForwardState::Down);
        }
        decision
    }

    fn add(&mut self, forward: &Forward, backend: Option<ForwardBackend>, state: ForwardState) {
        self.forwards.push(status(forward, backend, state));
    }

    fn find(&mut self, code: Code, subject: impl Into<Subject>, detail: impl Into<String>) {
        self.findings.push(Finding::new(code, subject, detail));
    }

    /// Only the relay could serve it, and the configuration does not allow that.
    fn needs_relay(&mut self, forward: &Forward) {
        self.add(forward, None, ForwardState::Down);
        let detail = format!(
            "forward {:?} ({} to port {}) is not served",
            forward.name,
            listen(forward),
            forward.connect_port
        );
        self.find(Code::ForwardNeedsRelay, forward.name.as_str(), detail);
    }

    /// `firewall` does not open these ports.
    fn closed<'a>(&mut self, forwards: impl IntoIterator<Item = &'a Forward>, firewall: &str) {
        let mut ports: BTreeMap<Protocol, Vec<NonZeroU16>> = BTreeMap::new();
        for forward in forwards {
            if forward.firewall != Firewall::None {
                let of_protocol = ports.entry(forward.protocol).or_default();
                of_protocol.push(forward.listen_port.first());
            }
        }
        if !ports.is_empty() {
            let ports = ports.into_iter();
            let ports = ports.map(|(protocol, ports)| format!("{protocol} {}", some_ports(ports)));
            let ports = Vec::from_iter(ports).join(", ");
            let detail = format!("{firewall} was not opened for {ports}");
            self.find(Code::ForwardFirewall, "", detail);
        }
    }
}

pub(super) fn plan(settings: &Settings, seen: &Observation, plan: &mut Plan) {
    let (all, others) = (settings, tunnel::without(settings));
    // Without Windows there are none, which is said of all alike.
    let served = settings.backend != Backend::None && seen.mode != ModeState::Known(Mode::NotWsl);
    let settings = if served { &*others } else { all };
    let mut decision = decide(settings, seen, plan);
    if served {
        plan.tunnel = tunnel::wanted(all);
        if decision.relay.is_some() {
            tunnel::add(&mut decision, all, seen);
        }
    }
    plan.findings.extend(decision.findings);
    let withdrawn = match &decision.rules {
        Some(wanted) => wanted.rules.is_empty() && !seen.host.rules_remain,
        None => settings.backend == Backend::None,
    };
    // Without anything to change, the missing privilege does not matter.
    let applies = |finding: &&Finding| !(withdrawn && finding.code == Code::ForwardNotElevated);
    plan.findings
        .extend(seen.host.findings.iter().filter(applies).cloned());
    if let Some(wanted) = decision.relay {
        plan.forwards = Some(decision.forwards);
        // The one behind listens before the other one leads to it.
        let both = [
            (RelayRole::Loopback, decision.loopback),
            (RelayRole::Entry, wanted),
        ];
        for (role, wanted) in both {
            let memory = seen.host.relay(role);
            if memory.wanted != wanted || !memory.failed.is_empty() {
                plan.actions.push(Action::SyncRelay(role, wanted));
            }
        }
    }
    if let Some(wanted) = decision.rules
        && must_ask(&wanted, settings, seen)
    {
        plan.actions.push(Action::SyncForwards(wanted));
    }
}

fn decide(settings: &Settings, seen: &Observation, plan: &Plan) -> Decision {
    // Pending resolves by itself, and an unknown mode has its own finding.
    let Some(mode) = seen.mode.known() else {
        return Decision::default();
    };
    let forwards = settings.forwards.len();
    if settings.backend == Backend::None || mode == Mode::NotWsl {
        let mut decision = Decision::unserved(settings);
        if seen.host.rules_remain {
            let detail = "rules of an earlier run remain on Windows";
            decision.find(Code::ForwardLeftover, "", detail);
        }
        if settings.backend != Backend::None && forwards > 0 {
            let detail = format!("{} configured", counted(forwards, "forward"));
            decision.find(Code::ForwardNotWsl, "", detail);
        }
        return decision;
    }
    match (mode, &plan.node) {
        (Mode::Nat, Some(node)) => nat::decide(settings, seen, node),
        (Mode::Mirrored, Some(node)) => shared::mirrored(settings, seen, node),
        (Mode::Consomme, Some(node)) => shared::consomme(settings, seen, node),
        (Mode::Bridged, Some(node)) => shared::bridged(settings, seen, node),
        // There is nothing to point at; that has its own finding.
        (Mode::Nat | Mode::Mirrored, None) => Decision::default(),
        // But what NAT has left goes.
        (Mode::Consomme | Mode::Bridged, None) => Decision {
            rules: Some(RuleSet::nothing(SyncMode::Nat)),
            ..Decision::default()
        },
        (Mode::None | Mode::NotWsl, _) => {
            let mut decision = Decision::unserved(settings);
            decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
            if forwards > 0 {
                let detail = "without a network nothing can be forwarded";
                decision.find(Code::ForwardMode, "", detail);
            }
            decision
        }
    }
}

/// Whether Windows has to be asked: for other rules than it has confirmed, or
/// for what it may do for us.
fn must_ask(wanted: &RuleSet, settings: &Settings, seen: &Observation) -> bool {
    let host = &seen.host;
    if host.settled.as_ref().is_some_and(|set| set.same(wanted)) {
        return false;
    }
    let nat = seen.mode == ModeState::Known(Mode::Nat);
    let privilege_wanted =
        nat && host.facts.privilege == HostPrivilege::Unknown && !settings.forwards.is_empty();
    !wanted.rules.is_empty() || host.rules_remain || privilege_wanted
}

fn listen(forward: &Forward) -> Listen {
    Listen {
        protocol: forward.protocol,
        listen_address: forward.listen_address,
        listen_port: forward.listen_port.first(),
    }
}

fn rule(forward: &Forward, backend: ForwardBackend) -> Rule {
    Rule {
        name: forward.name.clone(),
        listen: listen(forward),
        connect_port: forward.connect_port.first(),
        backend,
        firewall: forward.firewall,
    }
}

pub(super) fn status(
    forward: &Forward,
    backend: Option<ForwardBackend>,
    state: ForwardState,
) -> ForwardStatus {
    ForwardStatus {
        name: forward.name.clone(),
        listen: listen(forward),
        connect_port: forward.connect_port.first(),
        connect_address: forward.connect_address,
        ports: 1,
        state_ports: None,
        backend,
        state,
        distribution: None,
        owner: None,
        answers: None,
        unanswered: None,
        discovered: forward.remarks.discovered.clone(),
    }
}

#[cfg(test)]
mod tests;
