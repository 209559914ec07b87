//! What an answer of Windows means.

use std::{net::SocketAddrV4, time::Duration};

use crate::{
    host::{
        contract::{
            Answer, Conflict, FirewallAnswer, FirewallState, PolicyGap, Refused, State, Taken,
            TakenKind,
        },
        json::VERSION,
    },
    model::{
        Code, Finding, HostFacts, HostOutcome, HostPrivilege, InstalledRule, Listen, PlainText,
        Protocol, Rule, RuleSet,
    },
};

/// The outcome of a call that Windows answered.
pub(super) fn of(wanted: RuleSet, answer: Answer, took: Duration) -> HostOutcome {
    let mut findings = Findings::default();
    let settled =
        state(&answer, &mut findings) & check_guest_address(&wanted, &answer, &mut findings);
    for conflict in &answer.conflicts {
        conflict_finding(&wanted, conflict, &mut findings);
    }
    for taken in &answer.taken {
        port_finding(&wanted, taken, &mut findings);
    }
    for refused in &answer.refused {
        policy_finding(&wanted, refused, &mut findings);
    }
    if let Some(firewall) = &answer.firewall {
        firewall_findings(firewall, &mut findings);
    }
    HostOutcome {
        settled,
        findings: findings.0,
        changed: changed(&wanted, &answer, took),
        took,
        rules_remain: rules_remain(&answer),
        // A script that gave up lists no rules, which says nothing about Windows: it
        // may have given up after it made some.
        facts: (!matches!(answer.state, State::Failed | State::InvalidRequest))
            .then(|| facts(answer)),
        wanted,
    }
}

/// Whether rules of ours are possibly installed; `None` where the answer does not say.
fn rules_remain(answer: &Answer) -> Option<bool> {
    let firewall = answer.firewall.as_ref();
    match answer.state {
        State::InvalidRequest => None,
        // A task that did not run leaves the firewall as it was.
        State::Failed | State::TaskFailed | State::TaskTimeout => Some(true),
        // The firewall was not looked at: its rules are as they were.
        _ if firewall.is_none() && answer.rules.is_empty() && answer.installed.is_some() => None,
        _ => Some(
            !answer.rules.is_empty()
                || firewall.is_some_and(|firewall| {
                    firewall.state == FirewallState::Failed || firewall.added + firewall.kept > 0
                }),
        ),
    }
}

/// One finding for each code and subject, whatever the number of its reasons.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: Code, subject: &str, detail: String) {
        let same = |finding: &&mut Finding| finding.code == code && finding.subject == subject;
        match self.0.iter_mut().find(same) {
            Some(finding) => finding.detail = format!("{}; {detail}", finding.detail),
            None => self.0.push(Finding::new(code, subject, detail)),
        }
    }
}

/// What the script says, or what it means where it says nothing.
fn detail(said: &Option<PlainText>, fallback: &str) -> String {
    let said = said.as_deref().filter(|text| !text.is_empty());
    said.unwrap_or(fallback).to_owned()
}

/// Notes how the call ended, and says whether asking again would change nothing.
fn state(answer: &Answer, findings: &mut Findings) -> bool {
    let (code, settled, fallback) = match answer.state {
        State::Synced => return true,
        State::NotElevated => (
            Code::ForwardNotElevated,
            true,
            "this Windows user is not elevated",
        ),
        State::Partial => (
            Code::ForwardIncomplete,
            false,
            "the rules read back differently",
        ),
        State::ServiceStopped => (Code::ForwardService, false, "iphlpsvc is not running"),
        State::InvalidRequest | State::Failed => {
            (Code::ForwardFailed, false, "Windows gave no reason")
        }
        State::TaskFailed => (Code::HostTaskFailed, false, "Windows gave no reason"),
        State::TaskTimeout => (Code::HostTaskTimeout, false, "it was started"),
        State::GuestAddressUnknown => (
            Code::GuestAddressUnknown,
            false,
            "WSL's registry values are not usable",
        ),
        State::OtherVersion => (Code::HostVersion, true, "it speaks another contract"),
    };
    findings.add(code, "", detail(&answer.detail, fallback));
    settled
}

/// The task finds the guest's address by itself, and WSL may write it late.
fn check_guest_address(wanted: &RuleSet, answer: &Answer, findings: &mut Findings) -> bool {
    let other = answer
        .guest_address
        .filter(|found| *found != wanted.connect_address && wanted.listens().next().is_some());
    if let Some(found) = other {
        let text = format!(
            "Windows found {found}, and here it is {}",
            wanted.connect_address
        );
        findings.add(Code::GuestAddressDiffers, "", text);
    }
    other.is_none()
}

/// The names of the wanted forwards that this is about.
fn names(wanted: &RuleSet, about: impl Fn(&Rule) -> bool) -> String {
    let names: Vec<&str> = wanted
        .rules
        .iter()
        .filter(|rule| about(rule))
        .map(|rule| rule.name.as_str())
        .collect();
    names.join(", ")
}

fn conflict_finding(wanted: &RuleSet, conflict: &Conflict, findings: &mut Findings) {
    // A rule on all addresses conflicts with each of ours on its port.
    let meets = |rule: &Rule| {
        let (ours, theirs) = (rule.listen.listen_address, conflict.listen_address);
        (rule.listen.protocol, rule.listen.listen_port) == (Protocol::Tcp, conflict.listen_port)
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    };
    let target = match (&conflict.connect_address, conflict.connect_port) {
        (Some(address), Some(port)) => format!(" to {address}:{port}"),
        (Some(address), None) => format!(" to {address}"),
        (None, _) => String::new(),
    };
    let text = format!(
        "Windows already forwards {}:{}{target}",
        conflict.listen_address, conflict.listen_port
    );
    findings.add(Code::ForwardConflict, &names(wanted, meets), text);
}

fn port_finding(wanted: &RuleSet, taken: &Taken, findings: &mut Findings) {
    let listen = Listen {
        protocol: taken.protocol,
        listen_address: taken.listen_address,
        listen_port: taken.listen_port,
    };
    let owner = match &taken.owner {
        Some(owner) => format!(" by {owner}"),
        None => String::new(),
    };
    let (code, text) = match taken.kind {
        TakenKind::InUse => (Code::ForwardTaken, format!("{listen} is in use{owner}")),
        TakenKind::Forbidden => (
            Code::ForwardExcluded,
            format!("{listen} is reserved{owner}"),
        ),
    };
    findings.add(code, &names(wanted, |rule| rule.listen == listen), text);
}

fn policy_finding(wanted: &RuleSet, refused: &Refused, findings: &mut Findings) {
    let about = |rule: &Rule| {
        let listen = rule.listen;
        (listen.protocol, listen.listen_port, rule.connect_port)
            == (refused.protocol, refused.listen_port, refused.connect_port)
    };
    let why = match refused.reason {
        PolicyGap::OutsidePolicy => "the policy does not allow its ports",
        PolicyGap::ListenAddress => "the policy allows its ports on another listen-address",
        PolicyGap::Firewall => "the policy allows its ports with another firewall",
    };
    let text = format!(
        "{} port {} to {}: {why}",
        refused.protocol, refused.listen_port, refused.connect_port
    );
    findings.add(Code::ForwardOutsidePolicy, &names(wanted, about), text);
}

fn firewall_findings(firewall: &FirewallAnswer, findings: &mut Findings) {
    let fallback = match firewall.state {
        FirewallState::Done => None,
        FirewallState::Failed => Some("Windows gave no reason"),
        FirewallState::Unavailable => Some("this Windows has no such firewall"),
    };
    if let Some(fallback) = fallback {
        findings.add(Code::FirewallFailed, "", detail(&firewall.detail, fallback));
    }
    if !firewall.blocks.is_empty() {
        let shown = some_of(firewall.blocks.iter().map(|name| format!("{:?}", &**name)));
        let text = format!("these rules block: {shown}");
        findings.add(Code::FirewallBlocked, "", text);
    }
    if !firewall.covered && firewall.added + firewall.kept > 0 {
        let text = format!(
            "the networks now are {}",
            some_of(firewall.profiles.iter().map(ToString::to_string))
        );
        findings.add(Code::FirewallProfile, "", text);
    }
}

fn facts(answer: Answer) -> HostFacts {
    let listen = |listen_address, listen_port| Listen {
        protocol: Protocol::Tcp,
        listen_address,
        listen_port,
    };
    let conflicts = answer
        .conflicts
        .iter()
        .map(|conflict| listen(conflict.listen_address, conflict.listen_port));
    let taken = answer.taken.iter().map(|taken| Listen {
        protocol: taken.protocol,
        listen_address: taken.listen_address,
        listen_port: taken.listen_port,
    });
    HostFacts {
        windows_address: answer.windows_address,
        lowest_mtu: answer
            .lowest_mtu
            .map(|lowest| (lowest.name.to_string(), lowest.mtu)),
        blocked: conflicts.chain(taken).collect(),
        rules: answer
            .rules
            .iter()
            .map(|rule| InstalledRule {
                listen: listen(rule.listen_address, rule.listen_port),
                connect: SocketAddrV4::new(rule.connect_address, rule.connect_port.get()),
            })
            .collect(),
        privilege: match (&answer.installed, answer.elevated) {
            (Some(_), _) => HostPrivilege::Installed,
            (None, true) => HostPrivilege::Elevated,
            (None, false) => HostPrivilege::None,
        },
        installed_version: answer
            .installed
            .as_ref()
            .map(|installed| installed.version.to_string()),
        installed_relay: answer
            .installed
            .filter(|installed| installed.contract == VERSION)
            .and_then(|installed| installed.relay),
        local_app_data: answer.local_app_data,
        firewall: answer.firewall.is_some(),
        guest_address: answer.guest_address,
    }
}

/// One line for the journal where the call changed something.
fn changed(wanted: &RuleSet, answer: &Answer, took: Duration) -> Option<String> {
    let mut parts = Vec::new();
    if answer.added + answer.removed > 0 {
        let rules = &answer.rules;
        let listens = rules
            .iter()
            .map(|rule| format!("{}:{}", rule.listen_address, rule.listen_port));
        let leads = if rules.is_empty() {
            String::new()
        } else {
            format!(" -> {}", wanted.connect_address)
        };
        parts.push(format!(
            "Windows {} {}{leads}: {} set, {} removed, {} kept",
            if rules.len() == 1 {
                "forward"
            } else {
                "forwards"
            },
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

/// The first few of a list, and the number of the others.
fn some_of(mut all: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<String> = all.by_ref().take(SHOWN).collect();
    let more = all.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() {
        "(none)".to_owned()
    } else {
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests;
