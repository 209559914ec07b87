//! What an answer of Windows means.

use std::{net::SocketAddrV4, time::Duration};

use crate::{
    host::contract::{
        Answer, CONTRACT, Conflict, FirewallAnswer, FirewallState, PolicyGap, Refused, State,
        Taken, TakenKind,
    },
    model::{
        Code, Finding, ForwardBackend, HostFacts, HostOutcome, HostPrivilege, InstalledRule,
        Listen, PlainText, Protocol, Rule, RuleSet, addresses_overlap, some_of,
    },
};

/// The outcome of a call that Windows answered.
pub(super) fn of(wanted: RuleSet, answer: Answer, took: Duration) -> HostOutcome {
    let conflicts = answer.conflicts.iter();
    let taken = answer.taken.iter();
    let refused = answer.refused.iter();
    let differs = guest_address_finding(&wanted, &answer);
    // A listener may come late: it is looked at again.
    let settled = differs.is_none()
        && answer.silent.is_empty()
        && matches!(
            answer.state,
            State::Synced | State::NotElevated | State::OtherVersion
        );
    let restored = restored(&wanted, &answer);
    let findings = state_finding(&answer)
        .into_iter()
        .chain(differs)
        .chain(conflicts.map(|conflict| conflict_finding(&wanted, conflict)))
        .chain(taken.map(|taken| port_finding(&wanted, taken)))
        .chain(refused.map(|refused| policy_finding(&wanted, refused)))
        .chain((answer.silent.iter()).map(|at| silent_finding(&wanted, *at)))
        .chain(answer.firewall.iter().flat_map(firewall_findings));
    HostOutcome {
        settled,
        findings: Finding::merged(findings),
        changed: changed(&wanted, &answer, &restored, took),
        restored,
        took,
        rules_remain: rules_remain(&wanted, &answer),
        // A script that gave up lists no rules, which says nothing about Windows: it
        // may have given up after it made some.
        facts: (!matches!(answer.state, State::Failed | State::InvalidRequest))
            .then(|| facts(&wanted, answer)),
        wanted,
    }
}

/// Whether rules of the port proxy, or those of the firewall that go with them, are possibly
/// installed; `None` where the answer does not say. What an installation made stays.
fn rules_remain(wanted: &RuleSet, answer: &Answer) -> Option<bool> {
    let firewall = answer.firewall.as_ref();
    let asked = wanted.makes_rules();
    match answer.state {
        State::InvalidRequest => None,
        // A task that did not run leaves the firewall as it was.
        State::Failed | State::TaskFailed | State::TaskTimeout => asked.then_some(true),
        // The firewall was not looked at: its rules are as they were.
        _ if firewall.is_none() && answer.rules.is_empty() && answer.installed.is_some() => None,
        _ => {
            let failed = firewall.is_some_and(|firewall| firewall.state == FirewallState::Failed);
            let made = firewall.is_some_and(|firewall| firewall.added + firewall.kept > 0);
            match answer.installed {
                _ if !answer.rules.is_empty() => Some(true),
                None => Some(failed || made),
                // It does not say whose rules are wrong.
                Some(_) if failed => asked.then_some(true),
                Some(_) => Some(false),
            }
        }
    }
}

/// What the script says, or what it means where it says nothing.
fn detail(said: &Option<PlainText>, fallback: &str) -> String {
    let said = said.as_deref().filter(|text| !text.is_empty());
    said.unwrap_or(fallback).to_owned()
}

/// How the call ended, unless that is as it should be.
fn state_finding(answer: &Answer) -> Option<Finding> {
    let no_reason = "Windows gave no reason";
    let (code, fallback) = match answer.state {
        State::Synced => return None,
        State::NotElevated => (
            Code::ForwardNotElevated,
            "this Windows user is not elevated",
        ),
        // Then all that is wrong is said of the firewall.
        State::Partial if answer.detail.is_none() && answer.firewall.is_some() => return None,
        State::Partial => (Code::ForwardIncomplete, "the rules read back differently"),
        State::ServiceStopped => (Code::ForwardService, "iphlpsvc is not running"),
        State::InvalidRequest | State::Failed | State::Superseded => {
            (Code::ForwardFailed, no_reason)
        }
        State::TaskFailed => (Code::HostTaskFailed, no_reason),
        State::TaskTimeout => (Code::HostTaskTimeout, "it was started"),
        State::GuestAddressUnknown => (
            Code::GuestAddressUnknown,
            "WSL's registry values are not usable",
        ),
        State::OtherVersion => (Code::HostVersion, "it speaks another contract"),
    };
    Some(Finding::new(code, "", detail(&answer.detail, fallback)))
}

/// The first that went wrong, where a call did not do what it was asked for.
pub(super) fn failure(answer: &Answer) -> Option<Finding> {
    if answer.state == State::Synced {
        return None;
    }
    let mut firewall = answer.firewall.iter().flat_map(firewall_findings);
    state_finding(answer).or_else(|| firewall.next())
}

/// The task finds the guest's address by itself, and WSL may write it late.
fn guest_address_finding(wanted: &RuleSet, answer: &Answer) -> Option<Finding> {
    let (found, here) = (answer.guest_address?, wanted.connect_address);
    let text = format!("Windows found {found}, and here it is {here}");
    (found != here && wanted.listens().next().is_some())
        .then(|| Finding::new(Code::GuestAddressDiffers, "", text))
}

/// The names of the wanted forwards that this is about.
fn names(wanted: &RuleSet, about: impl Fn(&Rule) -> bool) -> String {
    let rules = wanted.rules.iter().filter(|rule| about(rule));
    let mut names: Vec<&str> = rules.map(|rule| rule.name.as_str()).collect();
    names.dedup();
    names.join(", ")
}

fn conflict_finding(wanted: &RuleSet, conflict: &Conflict) -> Finding {
    // A rule on all addresses conflicts with each of ours on its port.
    let meets = |rule: &Rule| {
        let (ours, theirs) = (rule.listen.listen_address, conflict.listen_address);
        (rule.listen.protocol, rule.listen.listen_port) == (Protocol::Tcp, conflict.listen_port)
            && addresses_overlap(ours, theirs.into())
    };
    let target = match (&conflict.connect_address, conflict.connect_port) {
        (Some(address), Some(port)) => format!(" to {address}:{port}"),
        (Some(address), None) => format!(" to {address}"),
        (None, _) => String::new(),
    };
    let is_ours = |rule: &Rule| {
        let connect = (conflict.connect_address.as_deref(), conflict.connect_port);
        meets(rule)
            && connect
                == (
                    Some(wanted.connect_address.to_string().as_str()),
                    Some(rule.connect_port),
                )
    };
    // One that a person changed and set back, or typed.
    let again = if wanted.rules.iter().any(is_ours) {
        ", as wslmesh would; it was made or changed by hand: remove it once, and wslmesh makes its own"
    } else {
        ""
    };
    let text = format!(
        "Windows already forwards {}:{}{target}{again}",
        conflict.listen_address, conflict.listen_port
    );
    Finding::new(Code::ForwardConflict, names(wanted, meets), text)
}

fn port_finding(wanted: &RuleSet, taken: &Taken) -> Finding {
    let listen = taken.listen();
    let owner = taken.owner.as_ref().map(|owner| format!(" by {owner}"));
    let owner = owner.unwrap_or_default();
    let (code, text) = match taken.kind {
        TakenKind::InUse => (Code::ForwardTaken, format!("{listen} is in use{owner}")),
        TakenKind::Forbidden => (
            Code::ForwardExcluded,
            format!("{listen} is reserved{owner}"),
        ),
    };
    Finding::new(code, names(wanted, |rule| rule.listen == listen), text)
}

fn policy_finding(wanted: &RuleSet, refused: &Refused) -> Finding {
    let about = |rule: &Rule| {
        let listen = rule.listen;
        (listen.protocol, listen.listen_port, rule.connect_port)
            == (refused.protocol, refused.listen_port, refused.connect_port)
    };
    let why = match refused.reason {
        PolicyGap::OutsidePolicy => "the policy does not allow its ports",
        PolicyGap::ListenAddress => "the policy allows its ports on another listen-address",
        PolicyGap::Firewall => "the policy allows its ports with another firewall",
        PolicyGap::Backend => "the policy allows its ports with another backend",
    };
    let text = format!(
        "{} port {} to {}: {why}",
        refused.protocol, refused.listen_port, refused.connect_port
    );
    Finding::new(Code::ForwardOutsidePolicy, names(wanted, about), text)
}

/// The relay says that it listens there.
fn silent_finding(wanted: &RuleSet, at: Listen) -> Finding {
    let text = format!("Windows has no listener on {at}, where the relay listens");
    Finding::new(
        Code::ForwardNotListening,
        names(wanted, |rule| rule.listen == at),
        text,
    )
}

fn firewall_findings(firewall: &FirewallAnswer) -> impl Iterator<Item = Finding> {
    let fallback = match firewall.state {
        FirewallState::Done => firewall.detail.as_deref(),
        FirewallState::Failed => Some("Windows gave no reason"),
    };
    let failed = fallback.map(|fallback| {
        let text = detail(&firewall.detail, fallback);
        Finding::new(Code::FirewallFailed, "", text)
    });
    let blocked = (!firewall.blocks.is_empty()).then(|| {
        let shown = some_of(firewall.blocks.iter().map(|name| format!("{:?}", &**name)));
        Finding::new(
            Code::FirewallBlocked,
            "",
            format!("these rules block: {shown}"),
        )
    });
    let uncovered = (!firewall.covered && firewall.added + firewall.kept > 0).then(|| {
        let shown = some_of(firewall.profiles.iter().map(ToString::to_string));
        Finding::new(
            Code::FirewallProfile,
            "",
            format!("the networks now are {shown}"),
        )
    });
    [failed, blocked, uncovered].into_iter().flatten()
}

fn facts(wanted: &RuleSet, answer: Answer) -> HostFacts {
    let listen = |listen_address, listen_port| Listen {
        protocol: Protocol::Tcp,
        listen_address,
        listen_port,
    };
    let conflicts = answer.conflicts.iter();
    let conflicts = conflicts.map(|rule| listen(rule.listen_address.into(), rule.listen_port));
    let taken = answer.taken.iter().map(Taken::listen);
    let rules = answer.rules.iter().map(|rule| InstalledRule {
        listen: listen(rule.listen_address.into(), rule.listen_port),
        connect: SocketAddrV4::new(rule.connect_address, rule.connect_port.get()),
    });
    let relayed = wanted.rules.iter();
    let relayed = relayed.filter(|rule| rule.backend == ForwardBackend::Relay);
    let as_granted = relayed.filter(|rule| {
        let ports = |rule: &Rule| {
            (
                rule.listen.protocol,
                rule.listen.listen_port,
                rule.connect_port,
            )
        };
        !(answer.narrower.iter())
            .any(|held| (held.protocol, held.listen_port, held.connect_port) == ports(rule))
    });
    let lowest = answer.lowest_mtu;
    let version = answer
        .installed
        .as_ref()
        .map(|installed| &installed.version);
    HostFacts {
        windows_address: answer.windows_address,
        lowest_mtu: lowest.map(|lowest| (lowest.name.to_string(), lowest.mtu)),
        dynamic: answer.dynamic.unwrap_or_default(),
        blocked: conflicts.chain(taken).collect(),
        rules: rules.collect(),
        privilege: match (&answer.installed, answer.elevated) {
            (_, true) => HostPrivilege::Elevated,
            (Some(_), false) => HostPrivilege::Installed,
            (None, false) => HostPrivilege::None,
        },
        relay_forbidden: (answer.installed.as_ref()).is_some_and(|found| found.relay_forbidden),
        as_granted: as_granted.map(|rule| rule.listen).collect(),
        installed_version: version.map(ToString::to_string),
        installed_relay: answer
            .installed
            .filter(|installed| installed.contract == CONTRACT)
            .and_then(|installed| installed.relay),
        local_app_data: answer.local_app_data,
        firewall: answer.firewall.is_some(),
        guest_firewall: answer.firewall.and_then(|firewall| firewall.guest),
        guest_address: answer.guest_address,
    }
}

/// What was lost on Windows and made again: forwards by their names, rules of the firewall.
fn restored(wanted: &RuleSet, answer: &Answer) -> Vec<String> {
    let is_restored = |rule: &&Rule| {
        let at = rule.listen;
        let mut lost = answer.restored.iter();
        rule.backend == ForwardBackend::Portproxy
            && lost.any(|one| {
                (at.listen_address, at.listen_port) == (one.listen_address.into(), one.listen_port)
            })
    };
    let rules = wanted.rules.iter().filter(is_restored);
    let mut lost: Vec<String> = rules.map(|rule| format!("forward {}", rule.name)).collect();
    // A range of ports is in the rules once for each of its ports.
    lost.dedup();
    let firewall = answer.firewall.iter();
    lost.extend(
        firewall
            .flat_map(|one| &one.restored)
            .map(ToString::to_string),
    );
    lost
}

/// One line for the journal where the call changed something.
fn changed(
    wanted: &RuleSet,
    answer: &Answer,
    restored: &[String],
    took: Duration,
) -> Option<String> {
    let mut parts = Vec::new();
    if !restored.is_empty() {
        let lost = some_of(restored.iter().cloned());
        parts.push(format!(
            "rules were missing on Windows and are restored: {lost}"
        ));
    }
    if answer.added + answer.removed > 0 {
        let rules = &answer.rules;
        let plural = if rules.len() == 1 { "" } else { "s" };
        let listens = rules
            .iter()
            .map(|rule| format!("{}:{}", rule.listen_address, rule.listen_port));
        let leads = if rules.is_empty() {
            String::new()
        } else {
            format!(" -> {}", wanted.connect_address)
        };
        parts.push(format!(
            "Windows forward{plural} {}{leads}: {} set, {} removed, {} kept",
            some_of(listens),
            answer.added,
            answer.removed,
            answer.kept,
        ));
    }
    if let Some(firewall) = answer.firewall.as_ref().filter(|f| f.added + f.removed > 0) {
        parts.push(format!(
            "Windows firewall: {} set, {} removed, {} kept",
            firewall.added, firewall.removed, firewall.kept
        ));
    }
    (!parts.is_empty()).then(|| format!("{}, in {} ms", parts.join("; "), took.as_millis()))
}

#[cfg(test)]
mod tests;
