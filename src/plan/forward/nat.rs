//! NAT mode: Windows listens and leads into the guest.

use std::net::Ipv4Addr;

use super::{
    Decision, Node, closed, dynamic, entry, listen, needs_relay,
    relay::{judge, wish},
    rule,
};
use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Code, Finding, HostFacts, HostMemory, HostPrivilege, Listen, Observation, Protocol,
        RelayPlace, RelaySet, RuleSet, ServedBy, ServedState, SyncMode,
    },
};

pub(super) fn decide(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let (host, address) = (&seen.host, node.address());
    let place = place(&host.facts);
    let mut decision = Decision {
        findings: dynamic(settings).collect(),
        ..Decision::default()
    };
    let (mut rules, mut relayed, mut loopback) = (Vec::new(), Vec::new(), Vec::new());
    let mut unopened = Vec::new();
    for forward in &settings.forwards {
        match owner(settings.backend, forward, host) {
            Owner::Nobody => {
                decision.findings.push(needs_relay(forward));
                decision
                    .served
                    .push(entry(forward, None, ServedState::Down));
            }
            Owner::Portproxy => {
                // Until the relay has let the port go, nobody else gets it.
                if !host
                    .relay
                    .listening
                    .iter()
                    .any(|at| at.overlaps(&listen(forward)))
                {
                    rules.push(rule(forward, ServedBy::Portproxy));
                }
                unopened.push(forward);
                let state = portproxy_state(forward, address, host);
                decision
                    .served
                    .push(entry(forward, Some(ServedBy::Portproxy), state));
            }
            Owner::Relay => {
                let Some(place) = &place else {
                    let pending = entry(forward, Some(ServedBy::Relay), ServedState::Pending);
                    decision.served.push(pending);
                    continue;
                };
                let at = relay_listen(place, listen(forward));
                let (mut served, finding) = judge(forward, at, place, host);
                let first = !relayed
                    .iter()
                    .any(|(_, other): &(String, crate::model::RelayForward)| other.listen == at);
                if !first {
                    served.state = ServedState::Down;
                } else if !rule_possibly_installed(forward, host) {
                    relayed.push(wish(forward, at, address));
                }
                if served.instead.is_some() {
                    loopback.push(forward.name.as_str());
                }
                if matches!(place, RelayPlace::Installed { .. }) {
                    unopened.push(forward);
                    if forward.firewall != Firewall::None {
                        rules.push(rule(forward, ServedBy::Relay));
                    }
                }
                decision.served.push(served);
                decision.findings.extend(finding);
            }
        }
    }
    if !loopback.is_empty() {
        let text = format!("127.0.0.1 on Windows alone reaches {}", loopback.join(", "));
        decision
            .findings
            .push(Finding::new(Code::RelayLoopback, "", text));
    }
    if host.facts.privilege != HostPrivilege::Unknown && !host.facts.firewall {
        decision
            .findings
            .extend(closed(unopened, "Windows' firewall"));
    }
    if place.is_none()
        && wants_relay(settings, host)
        && host.facts.privilege != HostPrivilege::Unknown
    {
        let text = "Windows does not say where the user's programs are kept (%LOCALAPPDATA% on a local drive)";
        decision
            .findings
            .push(Finding::new(Code::RelayFailed, "", text));
    }
    decision.rules = Some(RuleSet {
        mode: SyncMode::Nat,
        connect_address: address,
        rules,
    });
    decision.relay = Some(match place {
        Some(place) if !relayed.is_empty() => Some(RelaySet {
            place,
            forwards: relayed,
        }),
        Some(_) | None => None,
    });
    decision
}

enum Owner {
    Portproxy,
    Relay,
    Nobody,
}

/// Who should have a forward's port in the end.
fn owner(backend: Backend, forward: &Forward, host: &HostMemory) -> Owner {
    match (backend, forward.protocol) {
        (Backend::Portproxy, Protocol::Tcp) => Owner::Portproxy,
        (Backend::Portproxy, Protocol::Udp) | (Backend::None, _) => Owner::Nobody,
        (Backend::Relay, _) | (Backend::Auto, Protocol::Udp) => Owner::Relay,
        (Backend::Auto, Protocol::Tcp) => match host.facts.privilege {
            HostPrivilege::Installed | HostPrivilege::Elevated => Owner::Portproxy,
            // A rule that nobody can take away keeps its port.
            HostPrivilege::None if rule_possibly_installed(forward, host) => Owner::Portproxy,
            HostPrivilege::None => Owner::Relay,
            // What is served stays served until Windows has answered.
            HostPrivilege::Unknown if relay_has(forward, host) => Owner::Relay,
            HostPrivilege::Unknown => Owner::Portproxy,
        },
    }
}

fn wants_relay(settings: &Settings, host: &HostMemory) -> bool {
    let relay = |forward| matches!(owner(settings.backend, forward, host), Owner::Relay);
    settings.forwards.iter().any(relay)
}

fn relay_has(forward: &Forward, host: &HostMemory) -> bool {
    let mut listening = host.relay.listening.iter();
    listening.any(|at| at.overlaps(&listen(forward)))
}

/// Whether a rule of ours has the port, or may have it.
fn rule_possibly_installed(forward: &Forward, host: &HostMemory) -> bool {
    match &host.possibly_installed {
        _ if forward.protocol == Protocol::Udp => false,
        Some(rules) => rules.iter().any(|at| at.overlaps(&listen(forward))),
        None => host.standing,
    }
}

/// The relay that an administrator installed, else the user's own.
fn place(facts: &HostFacts) -> Option<RelayPlace> {
    let unpacked = || facts.local_app_data.as_ref()?.join("wslmesh").ok();
    match &facts.installed_relay {
        Some(program) => Some(RelayPlace::Installed {
            program: program.clone(),
            version: facts.installed_version.clone().unwrap_or_default(),
        }),
        None => unpacked().map(RelayPlace::Unpacked),
    }
}

fn relay_listen(place: &RelayPlace, wanted: Listen) -> Listen {
    match place {
        RelayPlace::Unpacked(_) if !wanted.listen_address.is_loopback() => Listen {
            listen_address: Ipv4Addr::LOCALHOST,
            ..wanted
        },
        RelayPlace::Unpacked(_) | RelayPlace::Installed { .. } | RelayPlace::Guest => wanted,
    }
}

fn portproxy_state(forward: &Forward, address: Ipv4Addr, host: &HostMemory) -> ServedState {
    let at = listen(forward);
    let leads = |rule: &crate::model::InstalledRule| {
        rule.listen == at
            && (*rule.connect.ip(), rule.connect.port()) == (address, forward.connect_port.get())
    };
    if host.facts.rules.iter().any(leads) {
        ServedState::Up
    } else if host.facts.privilege == HostPrivilege::None
        || host.facts.blocked.iter().any(|other| other.overlaps(&at))
    {
        ServedState::Down
    } else {
        ServedState::Pending
    }
}
