//! NAT mode: Windows listens and leads into the guest.

use std::net::Ipv4Addr;

use super::{Decision, listen, relay, rule};
use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Admit, Code, Finding, ForwardBackend, ForwardState, HostMemory, HostPrivilege,
        InstalledRule, Listen, Node, Observation, Protocol, RelayLocation, RuleSet, SyncMode,
    },
};

pub(super) fn decide(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let (host, address) = (&seen.host, node.address());
    let answered = host.facts.privilege != HostPrivilege::Unknown;
    let location = location(host);
    let mut decision = Decision::new(settings);
    let (mut rules, mut relayed) = (Vec::new(), Vec::<relay::Named>::new());
    let (mut loopback, mut unopened, mut without_location) = (Vec::new(), Vec::new(), false);
    let mut forbidden = Vec::new();
    for forward in &settings.forwards {
        let backend = backend(settings.backend_of(forward), forward, host);
        match backend {
            None => decision.needs_relay(forward),
            Some(ForwardBackend::Portproxy) => {
                // Until the relay has let the port go, nothing else gets it.
                if !relay_has(forward, host) {
                    rules.push(rule(forward, ForwardBackend::Portproxy));
                }
                let state = portproxy_state(forward, address, host);
                // Windows says itself what it refuses.
                if host.facts.privilege != HostPrivilege::None || state == ForwardState::Up {
                    unopened.push(forward);
                }
                decision.add(forward, backend, state);
            }
            Some(ForwardBackend::Relay | ForwardBackend::Guest) => {
                let Some(location) = &location else {
                    without_location = true;
                    decision.add(forward, backend, ForwardState::Pending);
                    continue;
                };
                let installed = matches!(location, RelayLocation::Installed { .. });
                if installed && host.facts.relay_forbidden {
                    forbidden.push(forward.name.as_str());
                    decision.add(forward, backend, ForwardState::Down);
                    continue;
                }
                let at = relay_listen(location, listen(forward));
                let (mut status, mut finding) = relay::judge(forward, at, location, host);
                let taken = relayed.iter().find(|(_, other)| other.listen == at);
                if let Some((other, _)) = taken {
                    status.state = ForwardState::Down;
                    let text =
                        format!("forward {other:?} has {at} on Windows, so this one is not served");
                    let name = forward.name.as_str();
                    finding = Some(Finding::new(Code::RelayLoopback, name, text));
                } else if at != listen(forward) && (answered || relay_has(forward, host)) {
                    loopback.push(forward.name.as_str());
                }
                if taken.is_none() && !rule_possibly_installed(forward, host) {
                    let admit = admit(forward, at, location, host);
                    relayed.push(relay::forward(forward, at, node, admit));
                }
                if installed {
                    unopened.push(forward);
                    if relay_serves(at, host) {
                        rules.push(rule(forward, ForwardBackend::Relay));
                    }
                }
                decision.forwards.push(status);
                decision.findings.extend(finding);
            }
        }
    }
    loopback.dedup();
    forbidden.dedup();
    if !loopback.is_empty() {
        let text = format!("127.0.0.1 on Windows alone reaches {}", loopback.join(", "));
        decision.find(Code::RelayLoopback, "", text);
    }
    if !forbidden.is_empty() {
        let text = format!(
            "a policy of Windows kept the relay from being started at the installation, and only the relay may serve {}",
            forbidden.join(", ")
        );
        decision.find(Code::RelayFailed, "", text);
    }
    if answered && !host.facts.firewall {
        decision.closed(unopened, "Windows' firewall");
    }
    if answered && without_location {
        let text = "Windows does not say where the user's programs are kept (%LOCALAPPDATA% on a local drive)";
        decision.find(Code::RelayFailed, "", text);
    }
    decision.rules = Some(RuleSet {
        mode: SyncMode::Nat,
        connect_address: address,
        rules,
    });
    decision.relay = Some(relay::set(location, relayed));
    decision
}

/// What should have a forward's port in the end.
fn backend(setting: Backend, forward: &Forward, host: &HostMemory) -> Option<ForwardBackend> {
    let portproxy = match (setting, forward.protocol) {
        (Backend::Portproxy, Protocol::Udp) | (Backend::None, _) => return None,
        (Backend::Portproxy, Protocol::Tcp) => true,
        (Backend::Relay, _) | (Backend::Auto, Protocol::Udp) => false,
        (Backend::Auto, Protocol::Tcp) => match host.facts.privilege {
            // An installation of another version has no relay for us, and its rules serve.
            HostPrivilege::Installed => {
                host.facts.relay_forbidden
                    || host.facts.installed_relay.is_none()
                        && rule_possibly_installed(forward, host)
            }
            // The relay refuses administrator rights.
            HostPrivilege::Elevated => true,
            // A rule that cannot be removed keeps its port.
            HostPrivilege::None => rule_possibly_installed(forward, host),
            // What serves goes on serving until Windows has answered.
            HostPrivilege::Unknown => host.rules_remain && !relay_has(forward, host),
        },
    };
    Some(if portproxy {
        ForwardBackend::Portproxy
    } else {
        ForwardBackend::Relay
    })
}

/// Whom the relay accepts. Where it was installed the firewall lets in whom the grant says,
/// which may be more than the forward's own firewall.
fn admit(forward: &Forward, at: Listen, location: &RelayLocation, host: &HostMemory) -> Admit {
    let installed = matches!(location, RelayLocation::Installed { .. });
    if !installed || host.facts.as_granted.contains(&at) {
        return Admit::Any;
    }
    let mut running = host.relay.wanted.iter().flat_map(|set| &set.forwards);
    let before = running.find(|(name, other)| *name == forward.name && other.listen == at);
    match (before, forward.firewall) {
        // As Windows said before this agent began.
        (Some((_, before)), _) if host.facts.privilege == HostPrivilege::Unknown => before.admit,
        (_, Firewall::None) => Admit::Host,
        (_, Firewall::Local) => Admit::Local,
        (_, Firewall::Full) => Admit::Any,
    }
}

/// Whether Windows is asked what it has of a forward of the relay: once the relay listens
/// there, as it confirmed. While it is re-pointed nothing changes in that.
fn relay_serves(at: Listen, host: &HostMemory) -> bool {
    let mut asked = host.settled.iter().flat_map(|set| &set.rules);
    host.relay.listening.contains(&at)
        && (host.relay.applied || asked.any(|rule| rule.listen == at))
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
        None => host.rules_remain,
    }
}

/// The relay that an administrator installed, else the user's own; the one that runs as
/// long as Windows has not answered.
fn location(host: &HostMemory) -> Option<RelayLocation> {
    let facts = &host.facts;
    if facts.privilege == HostPrivilege::Unknown
        && let Some(running) = &host.relay.wanted
    {
        return Some(running.location.clone());
    }
    let Some(program) = facts.installed_relay.clone() else {
        let folder = facts.local_app_data.as_ref()?.join("wslmesh").ok()?;
        return Some(RelayLocation::Unpacked(folder));
    };
    let version = facts.installed_version.clone().unwrap_or_default();
    Some(RelayLocation::Installed { program, version })
}

fn relay_listen(location: &RelayLocation, mut at: Listen) -> Listen {
    if matches!(location, RelayLocation::Unpacked(_)) && !at.listen_address.is_loopback() {
        at.listen_address = Ipv4Addr::LOCALHOST;
    }
    at
}

fn portproxy_state(forward: &Forward, address: Ipv4Addr, host: &HostMemory) -> ForwardState {
    let at = listen(forward);
    let leads = |rule: &InstalledRule| {
        rule.listen == at
            && (*rule.connect.ip(), rule.connect.port())
                == (address, forward.connect_port.first().get())
    };
    if host.facts.rules.iter().any(leads) {
        ForwardState::Up
    } else if host.facts.privilege == HostPrivilege::None
        || host.facts.blocked.iter().any(|other| other.overlaps(&at))
    {
        ForwardState::Down
    } else {
        ForwardState::Pending
    }
}
