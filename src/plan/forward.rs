//! Forwards: who serves each, and what Windows and the relay are to be told.
//!
//! A port has one owner at a time. The relay gets one only where no rule of ours
//! stands, as far as Windows has answered, and the port proxy gets one only where
//! the relay does not listen, as far as it has confirmed: a forward that changes
//! hands takes two passes, the second brought by the first owner's news.

mod nat;
mod relay;
mod shared;

use super::Node;
use crate::{
    config::{Backend, Firewall, Forward, Settings},
    model::{
        Action, Code, Finding, HostPrivilege, Listen, Mode, ModeState, Observation, Plan, RelaySet,
        Rule, RuleSet, Served, ServedBy, ServedState, SyncMode,
    },
};

/// First port of the range from which Windows hands out ports by itself
/// (`netsh int ipv4 show dynamicport udp`, the default since Windows Vista).
const DYNAMIC: u16 = 49152;

/// What the forwards come to.
#[derive(Debug, Default)]
struct Decision {
    /// What Windows should have; `None` where that is not to be touched now.
    rules: Option<RuleSet>,
    /// What the relay should serve; `None` where it is left as it is.
    relay: Option<Option<RelaySet>>,
    /// Each forward, for a person.
    served: Vec<Served>,
    findings: Vec<Finding>,
}

pub(super) fn plan(settings: &Settings, seen: &Observation, node: Option<&Node>) -> Plan {
    let decision = decide(settings, seen, node);
    let mut plan = Plan {
        actions: Vec::new(),
        findings: decision.findings,
    };
    let withdrawn = match &decision.rules {
        Some(wanted) => wanted.rules.is_empty() && !seen.host.standing,
        None => settings.backend == Backend::None,
    };
    // Whoever may change nothing has nothing to change.
    let over = |finding: &&Finding| !(withdrawn && finding.code == Code::ForwardNotElevated);
    plan.findings
        .extend(seen.host.findings.iter().filter(over).cloned());
    if let Some(wanted) = decision.rules
        && must_ask(&wanted, settings, seen)
    {
        plan.actions.push(Action::SyncForwards(wanted));
    }
    let memory = &seen.host.relay;
    if let Some(wanted) = decision.relay
        && (memory.wanted != wanted || !memory.failed.is_empty())
    {
        plan.actions.push(Action::SyncRelay(wanted));
    }
    plan
}

/// Each forward and how it stands; `None` while nothing can be decided and they
/// stand as they did.
pub(super) fn served(
    settings: &Settings,
    seen: &Observation,
    node: Option<&Node>,
) -> Option<Vec<Served>> {
    let decision = decide(settings, seen, node);
    decision.relay.is_some().then_some(decision.served)
}

fn decide(settings: &Settings, seen: &Observation, node: Option<&Node>) -> Decision {
    let mode = match &seen.mode {
        ModeState::Known(mode) => *mode,
        // Pending resolves by itself, and an unknown mode has its own finding.
        ModeState::Pending | ModeState::Unknown(_) => return Decision::default(),
    };
    if settings.backend == Backend::None || mode == Mode::NotWsl {
        let mut decision = unserved(settings);
        if seen.host.standing {
            decision.findings.push(Finding::new(
                Code::ForwardStanding,
                "",
                "rules made in an earlier run are left as they are",
            ));
        }
        if settings.backend != Backend::None && !settings.forwards.is_empty() {
            let detail = format!("{} configured", count(settings.forwards.len()));
            let finding = Finding::new(Code::ForwardNotWsl, "", detail);
            decision.findings.push(finding);
        }
        return decision;
    }
    match (mode, node) {
        (Mode::Nat, Some(node)) => nat::decide(settings, seen, node),
        (Mode::Mirrored, Some(node)) => shared::mirrored(settings, seen, node),
        (Mode::Consomme, Some(node)) => shared::consomme(settings, seen, node),
        // There is nothing to point at; that has its own finding.
        (Mode::Nat | Mode::Mirrored | Mode::Consomme, None) => Decision::default(),
        (Mode::Bridged | Mode::None | Mode::NotWsl, _) => {
            let mut decision = unserved(settings);
            decision.rules = Some(RuleSet::nothing(SyncMode::Nat));
            if !settings.forwards.is_empty() {
                let need = if mode == Mode::Bridged {
                    "in bridged mode this machine has its own address in the LAN: reach it there directly"
                } else {
                    "without a network nothing can be forwarded"
                };
                decision
                    .findings
                    .push(Finding::new(Code::ForwardMode, "", need));
            }
            decision
        }
    }
}

/// Nobody serves anything.
fn unserved(settings: &Settings) -> Decision {
    let down = |forward| entry(forward, None, ServedState::Down);
    Decision {
        relay: Some(None),
        served: settings.forwards.iter().map(down).collect(),
        ..Decision::default()
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
    let curious =
        nat && host.facts.privilege == HostPrivilege::Unknown && !settings.forwards.is_empty();
    !wanted.rules.is_empty() || host.standing || curious
}

fn listen(forward: &Forward) -> Listen {
    Listen {
        protocol: forward.protocol,
        listen_address: forward.listen_address,
        listen_port: forward.listen_port,
    }
}

fn rule(forward: &Forward, served_by: ServedBy) -> Rule {
    Rule {
        name: forward.name.clone(),
        protocol: forward.protocol,
        listen_address: forward.listen_address,
        listen_port: forward.listen_port,
        connect_port: forward.connect_port,
        served_by,
        firewall: forward.firewall,
    }
}

fn entry(forward: &Forward, by: Option<ServedBy>, state: ServedState) -> Served {
    Served {
        name: forward.name.clone(),
        listen: listen(forward),
        instead: None,
        connect_port: forward.connect_port,
        by,
        state,
    }
}

fn needs_relay(forward: &Forward) -> Finding {
    let detail = format!(
        "forward {:?} ({} to port {}) is not served",
        forward.name,
        listen(forward),
        forward.connect_port
    );
    Finding::new(Code::ForwardNeedsRelay, forward.name.as_str(), detail)
}

/// Ports that Windows itself may have given away.
fn dynamic(settings: &Settings) -> impl Iterator<Item = Finding> {
    settings
        .forwards
        .iter()
        .filter(|forward| forward.listen_port.get() >= DYNAMIC)
        .map(|forward| {
            Finding::new(
                Code::ForwardDynamicRange,
                forward.name.as_str(),
                format!("{} lies in it", listen(forward)),
            )
        })
}

/// That nobody opens the firewall for these.
fn closed<'a>(forwards: impl IntoIterator<Item = &'a Forward>, who: &str) -> Option<Finding> {
    let ports: Vec<String> = forwards
        .into_iter()
        .filter(|forward| forward.firewall != Firewall::None)
        .map(|forward| format!("{} {}", forward.protocol, forward.listen_port))
        .collect();
    (!ports.is_empty()).then(|| {
        let text = format!(
            "{who} is not told to let clients in to {}",
            ports.join(", ")
        );
        Finding::new(Code::ForwardFirewall, "", text)
    })
}

fn count(forwards: usize) -> String {
    if forwards == 1 {
        "1 forward".to_owned()
    } else {
        format!("{forwards} forwards")
    }
}

#[cfg(test)]
mod tests;
