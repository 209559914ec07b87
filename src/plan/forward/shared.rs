//! Modes in which clients reach this distribution itself: in mirrored and consomme mode
//! Windows' ports are the guest's own, in bridged mode it has an address in the LAN. So a
//! forward needs a backend only where its two ports differ, and that is the relay in this
//! distribution.

use super::{Decision, relay, rule};
use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Admit, Code, ForwardBackend, ForwardState, HostPrivilege, Node, Observation, RelayLocation,
        RuleSet, SyncMode,
    },
};

pub(super) fn mirrored(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    let forwards = settings.forwards.iter();
    let opened =
        forwards.filter(|forward| forward.firewall != Firewall::None && !kept(forward, seen));
    let facts = &seen.host.facts;
    decision.rules = Some(if facts.privilege == HostPrivilege::None {
        RuleSet::nothing(SyncMode::Mirrored)
    } else {
        RuleSet {
            mode: SyncMode::Mirrored,
            connect_address: node.address(),
            rules: opened
                .map(|forward| rule(forward, ForwardBackend::Guest))
                .collect(),
        }
    });
    if facts.privilege != HostPrivilege::Unknown && !facts.firewall {
        decision.closed(&settings.forwards, "Windows' Hyper-V firewall");
    }
    decision
}

pub(super) fn consomme(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    // Windows' own process listens there for what is bound in the guest.
    decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
    decision.closed(&settings.forwards, "Windows' firewall");
    decision
}

/// Windows and its firewall have no part in it.
pub(super) fn bridged(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
    decision
}

/// Whether Windows keeps the forward's port for itself.
fn kept(forward: &Forward, seen: &Observation) -> bool {
    let mode = seen.mode.known();
    mode.is_some_and(|mode| {
        let kept = mode.kept_ports(forward.protocol);
        kept.contains(&forward.listen_port.first().get())
    })
}

fn in_the_guest(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = Decision::new(settings);
    let mut relayed = Vec::new();
    for forward in &settings.forwards {
        if kept(forward, seen) {
            decision.add(forward, None, ForwardState::Down);
            let text = format!(
                "{} {} gets no traffic",
                forward.protocol, forward.listen_port
            );
            decision.find(Code::ForwardKept, forward.name.as_str(), text);
        } else if forward.listen_port == forward.connect_port && forward.proxy_protocol.is_some() {
            decision.add(forward, None, ForwardState::Down);
            let text = format!("{} reaches the service itself", super::listen(forward));
            decision.find(Code::ForwardNoHeader, forward.name.as_str(), text);
        } else if forward.listen_port == forward.connect_port {
            decision.add(forward, Some(ForwardBackend::Guest), ForwardState::Up);
        } else if settings.backend_of(forward) == Backend::Portproxy {
            decision.needs_relay(forward);
        } else {
            let at = super::listen(forward);
            relayed.push(relay::forward(forward, at, node, Admit::Any));
            let (status, finding) = relay::judge(forward, at, &RelayLocation::Guest, &seen.host);
            decision.forwards.push(status);
            decision.findings.extend(finding);
        }
    }
    decision.relay = Some(relay::set(Some(RelayLocation::Guest), relayed));
    decision
}
