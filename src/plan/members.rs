//! The forwards of all distributions, which one agent serves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{forward, plan};
use crate::{
    config::{Forward, Settings},
    model::{Code, Finding, ForwardState, ForwardStatus, Observation, Plan},
};

/// Whom this agent serves besides its own distribution.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Group {
    /// The name of its own distribution; empty where it is not known.
    pub own: String,
    /// The others, in the order in which they registered.
    pub members: Vec<Member>,
}

/// A distribution whose agent is on standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name; no two have the same.
    pub distribution: String,
    /// Its forwards, by the names in its own configuration.
    pub forwards: Vec<Forward>,
}

/// A forward that gets nothing: a forward before it has the port.
struct Loser {
    distribution: String,
    forward: Forward,
    owner: String,
}

/// Decides as [`plan`] does, with the forwards of all members after our own, in their
/// order. A forward of another distribution is called `DISTRIBUTION/NAME`.
#[must_use]
pub fn plan_group(settings: &Settings, group: &Group, seen: &Observation) -> Plan {
    if group.members.is_empty() {
        return plan(settings, seen);
    }
    let (merged, losers) = merge(settings, group);
    let mut plan = plan(&merged, seen);
    if let Some(statuses) = &mut plan.forwards {
        for status in statuses.iter_mut() {
            let named = status.name.split_once('/');
            status.distribution = named.map(|(distribution, _)| distribution.to_owned());
        }
        statuses.extend(losers.iter().map(Loser::status));
    }
    plan.findings.extend(losers.iter().map(Loser::finding));
    plan
}

/// The settings with the forwards of all that get their ports, as [`plan_group`] has them.
#[must_use]
pub fn settings_of_all(settings: &Settings, group: &Group) -> Settings {
    merge(settings, group).0
}

/// The settings with the forwards that get their ports, and those that do not: the
/// first configured wins a port.
fn merge(settings: &Settings, group: &Group) -> (Settings, Vec<Loser>) {
    let (mut merged, mut losers) = (settings.clone(), Vec::new());
    // By protocol and port: there may be many.
    let mut owners: BTreeMap<_, Vec<(Forward, String)>> = BTreeMap::new();
    let port = |forward: &Forward| (forward.protocol, forward.listen_port);
    for forward in &settings.forwards {
        let owner = (forward.clone(), own(group));
        owners.entry(port(forward)).or_default().push(owner);
    }
    for Member {
        distribution,
        forwards,
    } in &group.members
    {
        for one in forwards {
            let mut forward = one.clone();
            forward.name = format!("{distribution}/{}", one.name);
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
