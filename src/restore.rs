//! Puts back what the agent changed, where it is still as the agent left it.

use std::fmt;

use crate::{
    agent,
    apply::{
        self,
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
        /// Parameter or link.
        what: String,
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
            Self::Failed { error, .. } => write!(f, "failed: {error}"),
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
    let mut kept = (
        std::collections::BTreeMap::new(),
        std::collections::BTreeMap::new(),
    );
    for (name, was) in sysctl {
        let outcome = parameter(&name, &was.before, &was.after);
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

fn parameter(name: &str, before: &str, after: &str) -> Outcome {
    let what = name.to_owned();
    let Ok(key) = SysctlKey::parse(name) else {
        return Outcome::Left {
            what,
            why: "wslmesh does not set it".to_owned(),
        };
    };
    match observe::read_sysctl(&key) {
        SysctlReading::Value { value, .. } if value == SysctlValue::new(after) => {
            match apply::write_sysctl(&key, &SysctlValue::new(before)) {
                Ok(_) => Outcome::Restored {
                    what,
                    value: before.to_owned(),
                },
                Err(error) => Outcome::Failed {
                    what,
                    error: error.to_string(),
                },
            }
        }
        SysctlReading::Value { value, .. } if value == SysctlValue::new(before) => {
            Outcome::Restored {
                what,
                value: before.to_owned(),
            }
        }
        SysctlReading::Value { value, .. } => Outcome::Left {
            what,
            why: format!("another program has set it to {value}"),
        },
        SysctlReading::Missing => Outcome::Left {
            what,
            why: "no longer exists".to_owned(),
        },
        SysctlReading::Unreadable(why) => Outcome::Failed {
            what,
            error: format!("{name}: cannot write {before:?}: {why}"),
        },
    }
}

async fn link(netlink: &Netlink, index: u32, name: &str, before: u32, after: u32) -> Outcome {
    let what = format!("{name} mtu");
    let found = match netlink.link(index).await {
        Ok(found) => found
            .filter(|link| name_of(link) == Some(name))
            .as_ref()
            .and_then(mtu_of),
        Err(error) => {
            return Outcome::Failed {
                what,
                error: format!("{name}: {error}"),
            };
        }
    };
    match (found, InterfaceName::new(name)) {
        (Some(found), Some(name)) if found == after => {
            match apply::set_mtu(netlink, index, &name, before).await {
                Ok(_) => Outcome::Restored {
                    what,
                    value: before.to_string(),
                },
                Err(error) => Outcome::Failed {
                    what,
                    error: error.to_string(),
                },
            }
        }
        (Some(found), _) if found == before => Outcome::Restored {
            what,
            value: before.to_string(),
        },
        (Some(found), _) => Outcome::Left {
            what,
            why: format!("another program has set it to {found}"),
        },
        (None, _) => Outcome::Left {
            what,
            why: "no longer exists".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
