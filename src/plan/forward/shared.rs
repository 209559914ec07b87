//! Mirrored and consomme mode: Windows' ports are the guest's own, so a forward
//! needs a backend only where its two ports differ, and that is the relay in this distribution.

use super::{Decision, relay, rule};
use crate::{
    config::{Backend, Firewall, Settings},
    model::{
        Admit, ForwardBackend, ForwardState, HostPrivilege, Node, Observation, RelayLocation,
        RuleSet, SyncMode,
    },
};

pub(super) fn mirrored(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    let forwards = settings.forwards.iter();
    let opened = forwards.filter(|forward| forward.firewall != Firewall::None);
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

fn in_the_guest(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = Decision::new(settings);
    let mut relayed = Vec::new();
    for forward in &settings.forwards {
        if forward.listen_port == forward.connect_port {
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
