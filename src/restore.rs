//! Puts back what the agent changed, where it is still as the agent left it.

use std::{collections::BTreeMap, fmt};

use crate::{
    agent,
    apply::{
        self, ApplyError,
        saved::{Saved, SavedError, Values},
    },
    model::{Finding, InterfaceName, SysctlKey, SysctlReading, SysctlValue},
    netlink::{Netlink, NetlinkError, mtu_of, name_of},
    observe,
    paths::Paths,
};

/// What became of one saved value.
#[derive(Debug)]
pub enum Outcome {
    /// It has its previous value.
    Restored {
        /// Parameter or link.
        what: String,
        /// Value now.
        value: String,
    },
    /// Another program has set it since, or it no longer exists.
    Left {
        /// Parameter or link.
        what: String,
        /// Why.
        why: String,
    },
    /// It could not be put back; it stays saved.
    Failed {
        /// Why.
        error: String,
    },
    /// No rule of ours remains on Windows.
    Withdrawn {
        /// What was removed; `None` where no rule was installed.
        what: Option<String>,
    },
    /// Rules of ours may remain on Windows.
    Remaining {
        /// Why, and what to do.
        why: Vec<Finding>,
    },
}

impl Outcome {
    /// Whether something is not as it was before the agent.
    #[must_use]
    pub fn failed(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::Remaining { .. } => true,
            Self::Restored { .. } | Self::Left { .. } | Self::Withdrawn { .. } => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored { what, value } => write!(f, "restored: {what} {value}"),
            Self::Left { what, why } => write!(f, "left: {what}: {why}"),
            Self::Failed { error } => write!(f, "failed: {error}"),
            Self::Withdrawn { what: Some(what) } => write!(f, "withdrawn: {what}"),
            Self::Withdrawn { what: None } => f.write_str("withdrawn: no rules were installed"),
            Self::Remaining { why } => {
                f.write_str("failed: rules may remain on Windows")?;
                why.iter().try_for_each(|finding| write!(f, "; {finding}"))
            }
        }
    }
}

/// Why nothing could be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The saved values.
    #[error(transparent)]
    Saved(#[from] SavedError),
    /// The kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Puts all saved values of this boot back and forgets those that are restored.
///
/// # Errors
/// The saved values cannot be read or written, or there is no rtnetlink.
pub async fn restore(paths: &Paths) -> Result<Vec<Outcome>, RestoreError> {
    let saved = Saved::new(&paths.state);
    let Values { sysctl, mtu, .. } = saved.load()?;
    let netlink = Netlink::connect()?;
    let mut outcomes = Vec::new();
    let mut kept = (BTreeMap::new(), BTreeMap::new());
    for (name, was) in sysctl {
        let outcome = parameter(&name, &was.before, &was.after).await;
        if matches!(outcome, Outcome::Failed { .. }) {
            kept.0.insert(name, was);
        }
        outcomes.push(outcome);
    }
    for (index, was) in mtu {
        let outcome = link(&netlink, index, &was.name, was.mtu.before, was.mtu.after).await;
        if matches!(outcome, Outcome::Failed { .. }) {
            kept.1.insert(index, was);
        }
        outcomes.push(outcome);
    }
    saved.update(|values| (values.sysctl, values.mtu) = kept)?;
    Ok(outcomes)
}

/// Withdraws the rules on Windows, where any may remain.
///
/// # Errors
/// The saved values cannot be read.
pub async fn withdraw(paths: &Paths) -> Result<Option<Outcome>, RestoreError> {
    if !Saved::new(&paths.state).load()?.forwards {
        return Ok(None);
    }
    let outcome = agent::withdraw(paths).await;
    Ok(Some(if outcome.rules_remain == Some(false) {
        Outcome::Withdrawn {
            what: outcome.changed,
        }
    } else {
        Outcome::Remaining {
            why: outcome.findings,
        }
    }))
}

async fn parameter(name: &str, before: &str, after: &str) -> Outcome {
    let what = name.to_owned();
    let Ok(key) = SysctlKey::parse(name) else {
        return Outcome::Left {
            what,
            why: "wslmesh does not set it".to_owned(),
        };
    };
    let found = match observe::read_sysctl(&key) {
        SysctlReading::Value { value, .. } => Some(value),
        SysctlReading::Missing => None,
        SysctlReading::Unreadable(why) => {
            let error = format!("{name}: cannot write {before:?}: {why}");
            return Outcome::Failed { error };
        }
    };
    let (before, after) = (SysctlValue::new(before), SysctlValue::new(after));
    let write = async || apply::write_sysctl(&key, &before);
    put_back(what, found, &before, &after, write).await
}

async fn link(netlink: &Netlink, index: u32, name: &str, before: u32, after: u32) -> Outcome {
    let what = format!("{name} mtu");
    let Some(interface) = InterfaceName::new(name) else {
        return Outcome::Left {
            what,
            why: "no longer exists".to_owned(),
        };
    };
    let found = match netlink.link(index).await {
        Ok(found) => found.filter(|link| name_of(link) == Some(name)),
        Err(error) => {
            let error = format!("{name}: {error}");
            return Outcome::Failed { error };
        }
    };
    let found = found.as_ref().and_then(mtu_of);
    let write = async || apply::set_mtu(netlink, index, &interface, before).await;
    put_back(what, found, &before, &after, write).await
}

/// Gives a value that is still as the agent set it its previous value.
async fn put_back<T: PartialEq + fmt::Display>(
    what: String,
    found: Option<T>,
    before: &T,
    after: &T,
    write: impl AsyncFnOnce() -> Result<bool, ApplyError>,
) -> Outcome {
    let value = before.to_string();
    match found {
        Some(found) if found == *after => match write().await {
            Ok(_) => Outcome::Restored { what, value },
            Err(error) => Outcome::Failed {
                error: error.to_string(),
            },
        },
        Some(found) if found == *before => Outcome::Restored { what, value },
        Some(found) => Outcome::Left {
            what,
            why: format!("another program has set it to {found}"),
        },
        None => Outcome::Left {
            what,
            why: "no longer exists".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
