//! Modes in which clients reach this distribution itself: in mirrored and consomme mode
//! Windows' ports are the guest's own, in bridged mode it has an address in the LAN. So a
//! forward needs a backend only where its two ports differ, or its service listens on loopback
//! alone, and that is the relay in this distribution.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Decision, circle, loopback, relay, rule};
use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Admit, Code, Finding, ForwardBackend, ForwardState, HostPrivilege, Listen, Node,
        Observation, RelayLocation, RuleSet, SyncMode,
    },
};

pub(super) fn mirrored(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    let served = served(settings, &decision);
    let facts = &seen.host.facts;
    decision.rules = Some(if facts.privilege == HostPrivilege::None {
        RuleSet::nothing(SyncMode::Mirrored)
    } else {
        RuleSet {
            mode: SyncMode::Mirrored,
            connect_address: node.ipv4().unwrap_or(RuleSet::NOWHERE),
            rules: (served.iter())
                .filter(|forward| forward.firewall != Firewall::None)
                .map(|forward| rule(forward, ForwardBackend::Guest))
                .collect(),
        }
    });
    if facts.privilege != HostPrivilege::Unknown && !facts.firewall {
        decision.closed(served, "Windows' Hyper-V firewall");
    }
    decision
}

pub(super) fn consomme(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    // Windows' own process listens there for what is bound in the guest.
    decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
    let served = served(settings, &decision);
    decision.closed(served, "Windows' firewall");
    decision
}

/// Windows and its firewall have no part in it.
pub(super) fn bridged(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = in_the_guest(settings, seen, node);
    decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
    decision
}

/// The forwards that have a backend: nothing is opened for others.
fn served<'a>(settings: &'a Settings, decision: &Decision) -> Vec<&'a Forward> {
    let all = settings.forwards.iter().zip(&decision.forwards);
    let served = all.filter(|(_, status)| status.backend.is_some());
    served.map(|(forward, _)| forward).collect()
}

/// Whether Windows keeps the forward's port for itself.
fn kept(forward: &Forward, seen: &Observation) -> bool {
    let mode = seen.mode.known();
    mode.is_some_and(|mode| mode.keeps(forward.protocol, forward.listen_port.first().get()))
}

fn is_one_port(forward: &Forward) -> bool {
    forward.listen_port == forward.connect_port
}

/// Whether clients reach the service without anything of ours. One that is on loopback alone
/// Windows' own loopback reaches.
fn reaches_itself(forward: &Forward) -> bool {
    let at = forward.listen_address;
    is_one_port(forward)
        && forward
            .connect_address
            .is_none_or(|to| IpAddr::from(to) == at)
}

fn in_the_guest(settings: &Settings, seen: &Observation, node: &Node) -> Decision {
    let mut decision = Decision::new(settings, seen);
    let (mut relayed, mut of_relayed) = (Vec::new(), Vec::new());
    for forward in &settings.forwards {
        if kept(forward, seen) {
            decision.add(forward, None, ForwardState::Down);
            let text = format!(
                "{} {} gets no traffic",
                forward.protocol, forward.listen_port
            );
            decision.find(Code::ForwardKept, forward.name.as_str(), text);
        } else if reaches_itself(forward) && forward.proxy_protocol.is_some() {
            decision.add(forward, None, ForwardState::Down);
            let text = format!("{} reaches the service itself", super::listen(forward));
            decision.find(Code::ForwardNoHeader, forward.name.as_str(), text);
        } else if reaches_itself(forward) {
            decision.add(forward, Some(ForwardBackend::Guest), ForwardState::Up);
        } else if settings.backend_of(forward) == Backend::Portproxy {
            decision.needs_relay(forward);
        } else {
            let mut at = super::listen(forward);
            let (to, admit) = match forward.connect_address {
                // The services often know no password, and not all modes have a firewall.
                Some(loopback) => (loopback.into(), relay::admit(forward.firewall)),
                None => (node.address(), Admit::Any),
            };
            // On all addresses the relay and the service would be in each other's way.
            if forward.connect_address.is_some()
                && at.listen_address.is_unspecified()
                && is_one_port(forward)
            {
                at = loopback::listen(forward, node);
            }
            // Its clients come to the node's own address.
            if node.ipv4().is_none()
                && at.listen_address.is_ipv4()
                && !at.listen_address.is_loopback()
            {
                let text = format!(
                    "it listens on {at}, and {} has {} alone",
                    node.link.name,
                    node.address()
                );
                let finding = Finding::new(Code::ForwardIpv6, forward.name.as_str(), text);
                of_relayed.push((at, finding));
            }
            relayed.push(relay::forward(forward, at, to, admit));
            let (status, finding) =
                relay::judge(forward, at, &RelayLocation::Guest, &seen.host.relay);
            decision.forwards.push(status);
            of_relayed.extend(finding.map(|finding| (at, finding)));
        }
    }
    let failed = &seen.host.relay.failed;
    let (relayed, found) = circle::untangle(relayed, |at| failed.contains_key(&at));
    let loops = found
        .iter()
        .filter(|(_, one)| one.code == Code::ForwardLoop);
    let loops: BTreeSet<Listen> = loops.map(|(at, _)| *at).collect();
    for status in decision.forwards.iter_mut() {
        if loops.contains(&status.listen) {
            (status.backend, status.state) = (None, ForwardState::Down);
        }
    }
    // The loop alone is what is wrong with one that is not served.
    of_relayed.retain(|(at, _)| !loops.contains(at));
    let found = of_relayed.into_iter().chain(found);
    decision.findings.extend(found.map(|(_, one)| one));
    decision.relay = Some(relay::set(Some(RelayLocation::Guest), relayed));
    decision
}
