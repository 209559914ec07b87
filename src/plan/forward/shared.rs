//! Mirrored and consomme mode: Windows' ports are the guest's own, so a forward
//! needs somebody only where its two ports differ, and that is the relay in here.

use super::{
    Decision, Node, closed, dynamic, entry, listen, needs_relay,
    relay::{judge, wish},
    rule,
};
use crate::{
    config::{Backend, Firewall, Settings},
    model::{
        HostPrivilege, Observation, RelayPlace, RelaySet, RuleSet, ServedBy, ServedState, SyncMode,
    },
};

pub(super) fn mirrored(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    let wanted = settings
        .forwards
        .iter()
        .filter(|forward| forward.firewall != Firewall::None);
    let facts = &seen.host.facts;
    decision.rules = Some(if facts.privilege == HostPrivilege::None {
        RuleSet::nothing(SyncMode::Mirrored)
    } else {
        RuleSet {
            mode: SyncMode::Mirrored,
            connect_address: node.address(),
            rules: wanted
                .map(|forward| rule(forward, ServedBy::Guest))
                .collect(),
        }
    });
    if facts.privilege != HostPrivilege::Unknown && !facts.firewall {
        let finding = closed(&settings.forwards, "Windows' Hyper-V firewall");
        decision.findings.extend(finding);
    }
    decision
}

pub(super) fn consomme(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    // Windows' own process listens there for what is bound in here.
    decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
    let finding = closed(&settings.forwards, "Windows' firewall");
    decision.findings.extend(finding);
    decision
}

fn in_the_guest(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = Decision {
        findings: dynamic(settings).collect(),
        ..Decision::default()
    };
    let mut relayed = Vec::new();
    for forward in &settings.forwards {
        if forward.listen_port == forward.connect_port {
            let up = entry(forward, Some(ServedBy::Guest), ServedState::Up);
            decision.served.push(up);
        } else if settings.backend == Backend::Portproxy {
            decision.findings.push(needs_relay(forward));
            let down = entry(forward, None, ServedState::Down);
            decision.served.push(down);
        } else {
            let at = listen(forward);
            relayed.push(wish(forward, at, node.address()));
            let (served, finding) = judge(forward, at, &RelayPlace::Guest, &seen.host);
            decision.served.push(served);
            decision.findings.extend(finding);
        }
    }
    decision.relay = Some((!relayed.is_empty()).then_some(RelaySet {
        place: RelayPlace::Guest,
        forwards: relayed,
    }));
    decision
}
