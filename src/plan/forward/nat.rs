//! NAT mode: Windows listens and leads into the guest.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4},
};

use super::{Decision, listen, loopback, relay, rule};
use crate::{
    config::{Backend, Forward, Settings},
    model::{
        Admit, Code, FailureKind, Finding, ForwardBackend, ForwardState, ForwardStatus, HostMemory,
        HostPrivilege, Listen, Listens, Node, Observation, Protocol, RelayLocation, RuleSet,
        SyncMode, loopback_of, some_of,
    },
};

/// Where the port proxy's rules lead, by where they listen.
type Connects = BTreeMap<Listen, SocketAddrV4>;
/// What the relay was sent, by where it listens.
type Running<'a> = BTreeMap<Listen, &'a relay::Named>;

pub(super) fn decide(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let host = &seen.host;
    // The port proxy and the relay on Windows lead to an IPv4 address.
    let Some(address) = node.ipv4() else {
        let mut decision = Decision::unserved(settings);
        if !settings.forwards.is_empty() {
            let text = format!(
                "Windows forwards by IPv4 in NAT mode, and {} has {} alone",
                node.link.name,
                node.address()
            );
            decision.find(Code::ForwardIpv6, "", text);
        }
        return decision;
    };
    let answered = host.facts.privilege != HostPrivilege::Unknown;
    let location = location(host);
    let mut decision = Decision::new(settings, seen);
    let (mut rules, mut relayed) = (Vec::new(), Vec::<relay::Named>::new());
    let (mut on_loopback, mut unopened, mut without_location) = (Vec::new(), Vec::new(), false);
    let mut loopback_addresses = Vec::new();
    let mut forbidden = Vec::new();
    // By their places: there may be a thousand of each.
    let mut places = BTreeMap::<Listen, &str>::new();
    let connects: Connects = (host.facts.rules.iter())
        .map(|rule| (rule.listen, rule.connect))
        .collect();
    let running = host.relay.wanted.iter().flat_map(|set| &set.forwards);
    let running: Running = running.map(|one| (one.1.listen, one)).collect();
    let asked = host.settled.iter().flat_map(|set| &set.rules);
    let asked: Listens = asked.map(|rule| rule.listen).collect();
    for forward in &settings.forwards {
        let backend = backend(settings.backend_of(forward), forward, host);
        match backend {
            None => decision.needs_relay(forward),
            Some(ForwardBackend::Portproxy) => {
                // Until the relay has let the port go, nothing else gets it.
                if !relay_has(forward, host) {
                    rules.push(rule(forward, ForwardBackend::Portproxy));
                }
                let state = portproxy_state(forward, address, host, &connects);
                // Windows says itself what it refuses.
                if host.facts.privilege != HostPrivilege::None || state == ForwardState::Up {
                    unopened.push(forward);
                }
                decision.add(forward, backend, state);
            }
            Some(ForwardBackend::Relay | ForwardBackend::Guest | ForwardBackend::Tunnel) => {
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
                let (at, second) = relay_listens(location, listen(forward));
                let (mut status, mut finding) = relay::judge(forward, at, location, &host.relay);
                let taken = places.get(&at);
                if let Some(other) = taken {
                    status.state = ForwardState::Down;
                    let text =
                        format!("forward {other:?} has {at} on Windows, so this one is not served");
                    let name = forward.name.as_str();
                    finding = Some(Finding::new(Code::RelayLoopback, name, text));
                } else if at != listen(forward) && (answered || relay_has(forward, host)) {
                    on_loopback.push(forward.name.as_str());
                    loopback_addresses.extend([Some(at), second].into_iter().flatten());
                }
                if taken.is_none() && !rule_possibly_installed(forward, host) {
                    places.insert(at, &forward.name);
                    let admit = admit(forward, at, location, host, &running);
                    relayed.push(relay::forward(forward, at, address.into(), admit));
                    if let Some(second) = second.filter(|second| !places.contains_key(second)) {
                        places.insert(second, &forward.name);
                        relayed.push(relay::forward(forward, second, address.into(), admit));
                        decision.findings.extend(add_second(
                            forward,
                            second,
                            location,
                            host,
                            &mut status,
                        ));
                    }
                }
                if installed {
                    unopened.push(forward);
                    if relay_serves(at, host, &asked) {
                        rules.push(rule(forward, ForwardBackend::Relay));
                    }
                }
                decision.forwards.push(status);
                decision.findings.extend(finding);
            }
        }
    }
    on_loopback.dedup();
    forbidden.dedup();
    if !on_loopback.is_empty() {
        let names = some_of(on_loopback.into_iter().map(str::to_owned));
        let addresses = loopback_addresses
            .iter()
            .map(|at: &Listen| at.listen_address.to_string());
        let addresses = BTreeSet::from_iter(addresses);
        let reach = if addresses.len() == 1 {
            "reaches"
        } else {
            "reach"
        };
        let addresses = Vec::from_iter(addresses).join(" and ");
        let text = format!("{addresses} on Windows alone {reach} {names}");
        decision.find(Code::RelayLoopback, "", text);
    }
    if !forbidden.is_empty() {
        let text = format!(
            "a policy of Windows kept the relay from being started at the installation, and only the relay may serve {}",
            some_of(forbidden.into_iter().map(str::to_owned))
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
    loopback::behind_windows(&mut decision, settings, seen, node);
    decision
}

/// What should have a forward's port in the end.
fn backend(setting: Backend, forward: &Forward, host: &HostMemory) -> Option<ForwardBackend> {
    // The port proxy's rules are from IPv4 to IPv4.
    let can_proxy = forward.protocol == Protocol::Tcp && forward.listen_address.is_ipv4();
    let portproxy = match setting {
        Backend::None | Backend::Tunnel => return None,
        Backend::Portproxy if !can_proxy => return None,
        Backend::Portproxy => true,
        Backend::Relay => false,
        Backend::Auto if !can_proxy => false,
        Backend::Auto => match host.facts.privilege {
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
fn admit(
    forward: &Forward,
    at: Listen,
    location: &RelayLocation,
    host: &HostMemory,
    running: &Running<'_>,
) -> Admit {
    let installed = matches!(location, RelayLocation::Installed { .. });
    if !installed || host.facts.as_granted.contains(&at) {
        return Admit::Any;
    }
    // As Windows said before this agent began.
    if host.facts.privilege == HostPrivilege::Unknown
        && let Some((name, before)) = running.get(&at)
        && *name == forward.name
    {
        return before.admit;
    }
    relay::admit(forward.firewall)
}

/// Whether Windows is asked what it has of a forward of the relay: once the relay listens
/// there, as it confirmed. While it is re-pointed nothing changes in that.
fn relay_serves(at: Listen, host: &HostMemory, asked: &Listens) -> bool {
    host.relay.listening.contains(&at) && (host.relay.applied || asked.contains(&at))
}

fn relay_has(forward: &Forward, host: &HostMemory) -> bool {
    host.relay.listening.overlaps(&listen(forward))
}

/// Whether a rule of ours has the port, or may have it.
fn rule_possibly_installed(forward: &Forward, host: &HostMemory) -> bool {
    match &host.possibly_installed {
        _ if forward.protocol == Protocol::Udp => false,
        Some(rules) => rules.overlaps(&listen(forward)),
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

/// Where the relay listens for a forward, and where else: an unpacked one has loopback alone,
/// which is one address of each family.
fn relay_listens(location: &RelayLocation, at: Listen) -> (Listen, Option<Listen>) {
    let on = |listen_address| Listen {
        listen_address,
        ..at
    };
    match at.listen_address {
        address if !matches!(location, RelayLocation::Unpacked(_)) || address.is_loopback() => {
            (at, None)
        }
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => (
            on(Ipv4Addr::LOCALHOST.into()),
            Some(on(Ipv6Addr::LOCALHOST.into())),
        ),
        address => (on(loopback_of(address)), None),
    }
}

/// Serves loopback of IPv6 too, for `localhost` is both. A Windows without IPv6 has no such
/// address, which is no fault.
fn add_second(
    forward: &Forward,
    second: Listen,
    location: &RelayLocation,
    host: &HostMemory,
    status: &mut ForwardStatus,
) -> Option<Finding> {
    let failure = host.relay.failed.get(&second);
    if failure.is_some_and(|failure| failure.kind == FailureKind::NoAddress) {
        return None;
    }
    let (judged, finding) = relay::judge(forward, second, location, &host.relay);
    status.state = status.state.max(judged.state);
    finding
}

fn portproxy_state(
    forward: &Forward,
    address: Ipv4Addr,
    host: &HostMemory,
    connects: &Connects,
) -> ForwardState {
    let at = listen(forward);
    let connect = SocketAddrV4::new(address, forward.connect_port.first().get());
    if connects.get(&at) == Some(&connect) {
        ForwardState::Up
    } else if host.facts.privilege == HostPrivilege::None || host.facts.blocked.overlaps(&at) {
        ForwardState::Down
    } else {
        ForwardState::Pending
    }
}
