//! The forwards of all distributions, which one agent serves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{discovery, forward, plan_singles};
use crate::{
    config::{Forward, Settings},
    model::{
        Code, Discovered, Finding, ForwardState, ForwardStatus, Observation, Plan, some_ports,
    },
};

/// What this agent serves besides the forwards of its own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// The name of its own distribution; empty where it is not known.
    pub own: String,
    /// What was discovered here, in the order in which it was found.
    pub discovered: Vec<Discovered>,
    /// The other distributions, in the order in which they registered.
    pub members: Vec<Member>,
}

/// A distribution whose agent is on standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; no two have the same.
    pub distribution: String,
    /// Its forwards, by the names in its own configuration.
    pub forwards: Vec<Forward>,
    /// What it discovered, as forwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub discovered: Vec<Forward>,
}

impl Member {
    /// Its forwards, called `DISTRIBUTION/NAME`.
    fn named(&self) -> impl Iterator<Item = Forward> {
        self.forwards.iter().map(|forward| self.call(forward))
    }

    /// What it discovered, called so.
    fn discovered(&self) -> impl Iterator<Item = Forward> {
        self.discovered.iter().map(|forward| {
            let mut forward = self.call(forward);
            // By what, its own agent knows.
            forward.remarks.discovered = Some(String::new());
            forward
        })
    }

    fn call(&self, forward: &Forward) -> Forward {
        Forward {
            name: format!("{}/{}", self.distribution, forward.name),
            ..forward.clone()
        }
    }
}

/// A forward that gets nothing: a forward before it has the port.
struct Loser {
    distribution: String,
    forward: Forward,
    owner: String,
}

/// Decides as [`plan`] does, with the forwards of all members after our own, in their
/// order, and then what was discovered. A forward of another distribution is called
/// `DISTRIBUTION/NAME`.
#[must_use]
pub fn plan_group(settings: &Settings, group: &Group, seen: &Observation) -> Plan {
    let (discovered, left_out) = discovery::own(settings, &group.discovered, seen);
    let is_single = |forward: &Forward| forward.listen_port.len() == 1;
    let is_plain = group.members.is_empty() && discovered.is_empty();
    let mut plan = if is_plain && settings.forwards.iter().all(is_single) {
        plan_singles(settings, seen)
    } else {
        plan_merged(settings, group, discovered, seen)
    };
    plan.findings.extend(left_out);
    discovery::join(&mut plan.findings);
    plan
}

fn plan_merged(
    settings: &Settings,
    group: &Group,
    discovered: Vec<Forward>,
    seen: &Observation,
) -> Plan {
    let (merged, losers) = merge(settings, group, discovered);
    let mut plan = plan_singles(&merged, seen);
    if let Some(statuses) = &mut plan.forwards {
        for status in statuses.iter_mut() {
            let named = status.name.split_once('/');
            status.distribution = named.map(|(distribution, _)| distribution.to_owned());
        }
        statuses.extend(losers.iter().map(Loser::status));
        *statuses = folded(std::mem::take(statuses));
    }
    plan.findings.extend(losers.iter().map(Loser::finding));
    plan.findings = Finding::merged(plan.findings);
    plan
}

/// The settings with the forwards of all that get their ports, as [`plan_group`] has them;
/// one that gets some of its ports alone is there once for each.
#[must_use]
pub fn settings_of_all(settings: &Settings, group: &Group) -> Settings {
    let (mut merged, losers) = merge(settings, group, Vec::new());
    let lost: BTreeSet<&str> = losers.iter().map(|one| one.forward.name.as_str()).collect();
    let is_whole = |forward: &Forward| !lost.contains(forward.name.as_str());
    merged.forwards.retain(|forward| !is_whole(forward));
    let others = group.members.iter().flat_map(Member::named);
    let whole = settings
        .forwards
        .iter()
        .cloned()
        .chain(others)
        .filter(is_whole);
    merged.forwards = whole.chain(merged.forwards).collect();
    merged
}

/// One status for each forward, in the order of the first: that of several ports is the
/// worst of theirs.
fn folded(singles: Vec<ForwardStatus>) -> Vec<ForwardStatus> {
    let (mut forwards, mut places) = (Vec::<Vec<ForwardStatus>>::new(), BTreeMap::new());
    for single in singles {
        let place = *places.entry(single.name.clone()).or_insert(forwards.len());
        match forwards.get_mut(place) {
            Some(forward) => forward.push(single),
            None => forwards.push(vec![single]),
        }
    }
    forwards.into_iter().filter_map(fold).collect()
}

fn fold(mut singles: Vec<ForwardStatus>) -> Option<ForwardStatus> {
    // Those that another distribution has come last.
    singles.sort_by_key(|single| single.listen.listen_port);
    let state = singles.iter().map(|single| single.state).max()?;
    let those = singles.iter().filter(|single| single.state == state);
    let those = Vec::from_iter(those.map(|single| single.listen.listen_port));
    let of_all = those.len() == singles.len();
    let owned = singles.iter().all(|single| single.owner.is_some());
    let first = singles.first()?;
    Some(ForwardStatus {
        ports: u16::try_from(singles.len()).unwrap_or(u16::MAX),
        state,
        state_ports: (!of_all).then(|| some_ports(those)),
        backend: singles.iter().find_map(|single| single.backend),
        owner: first.owner.clone().filter(|_| owned),
        ..first.clone()
    })
}

/// The settings with the forwards that get their ports, each with one, and those that do
/// not: the first configured wins a port.
fn merge(settings: &Settings, group: &Group, discovered: Vec<Forward>) -> (Settings, Vec<Loser>) {
    let (mut merged, mut losers) = (settings.clone(), Vec::new());
    merged.forwards = settings
        .forwards
        .iter()
        .flat_map(Forward::singles)
        .collect();
    if group.members.is_empty() && discovered.is_empty() {
        return (merged, losers);
    }
    // By protocol and port: there may be many.
    let mut owners: BTreeMap<_, Vec<(Forward, String)>> = BTreeMap::new();
    let port = |forward: &Forward| (forward.protocol, forward.listen_port);
    for forward in &merged.forwards {
        let owner = (forward.clone(), own(group));
        owners.entry(port(forward)).or_default().push(owner);
    }
    for member in &group.members {
        let distribution = &member.distribution;
        for forward in member
            .named()
            .flat_map(|forward| Vec::from_iter(forward.singles()))
        {
            let before = owners.entry(port(&forward)).or_default();
            let owner = before
                .iter()
                .find(|(other, _)| other.clashes_with(&forward));
            if let Some((_, owner)) = owner {
                losers.push(Loser {
                    distribution: distribution.clone(),
                    owner: owner.clone(),
                    forward,
                });
            } else {
                before.push((forward.clone(), distribution.clone()));
                merged.forwards.push(forward);
            }
        }
    }
    // All see the same sockets, so one that has a port already needs no word.
    let of_members = group.members.iter().flat_map(|member| {
        let its = member.discovered();
        let its = its.flat_map(|forward| Vec::from_iter(forward.singles()));
        its.map(|forward| (forward, member.distribution.clone()))
    });
    let discovered = discovered.into_iter().map(|one| (one, own(group)));
    for (forward, owner) in discovered.chain(of_members) {
        let before = owners.entry(port(&forward)).or_default();
        if !before.iter().any(|(other, _)| other.clashes_with(&forward)) {
            before.push((forward.clone(), owner));
            merged.forwards.push(forward);
        }
    }
    (merged, losers)
}

fn own(group: &Group) -> String {
    match group.own.as_str() {
        "" => "the leader's distribution".to_owned(),
        own => own.to_owned(),
    }
}

impl Loser {
    fn status(&self) -> ForwardStatus {
        ForwardStatus {
            distribution: Some(self.distribution.clone()),
            owner: Some(self.owner.clone()),
            ..forward::status(&self.forward, None, ForwardState::Down)
        }
    }

    fn finding(&self) -> Finding {
        let status = self.status();
        let detail = format!("{} has {}", self.owner, status.listen);
        Finding::new(Code::ForwardOwned, status.name, detail)
    }
}

#[cfg(test)]
mod tests;
