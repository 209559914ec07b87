//! What a leader leaves to the next one, which goes on with it until the others have
//! registered again: nothing of theirs is withdrawn meanwhile.
//!
//! Those on standby learn it with each answer. The leader's own next process finds it in a
//! file, since it may lead again before the others have heard of its end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{config::is_name, fs::file, plan::Member};

/// Whom the leader serves, and what Windows may have of theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(in crate::agent) struct Inheritance {
    /// The leader's own distribution, then the others in their order.
    pub(super) members: Vec<Member>,
    /// Whether Windows may have rules of ours.
    pub(in crate::agent) rules_remain: bool,
}

impl Inheritance {
    /// What this leader would leave now.
    pub(in crate::agent) fn of(
        own: impl FnOnce() -> Member,
        others: &[Member],
        rules_remain: bool,
    ) -> Self {
        // Without another distribution there is no heir.
        if others.is_empty() {
            return Self::default();
        }
        Self {
            members: std::iter::once(own())
                .chain(others.iter().cloned())
                .collect(),
            rules_remain,
        }
    }

    /// Without this distribution, and without one whose name is not known yet.
    pub(super) fn without(mut self, distribution: Option<&str>) -> Self {
        self.members.retain(|member| {
            is_name(&member.distribution) && Some(member.distribution.as_str()) != distribution
        });
        self
    }

    /// What an earlier process of this agent left; nothing where that cannot be read.
    pub(in crate::agent) fn load(runtime: &Path) -> Self {
        let text = file::read(&path(runtime)).ok().flatten();
        let read = text.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        read.unwrap_or_default().without(None)
    }

    /// Leaves it to the next process. One that finds nothing serves the others when they
    /// have registered.
    pub(in crate::agent) fn save(&self, runtime: &Path) {
        // Its own forwards are those of its configuration then.
        let left = Self {
            members: self.members.iter().skip(1).cloned().collect(),
            rules_remain: self.rules_remain,
        };
        let text = serde_json::to_vec(&left).unwrap_or_default();
        if let Err(error) = file::write(&path(runtime), &text, 0o600) {
            tracing::info!(event = "members", "{error}");
        }
    }

    /// Another agent leads: what this one left is out of date.
    pub(in crate::agent) fn forget(runtime: &Path) {
        fs::remove_file(path(runtime)).unwrap_or_default();
    }
}

fn path(runtime: &Path) -> PathBuf {
    runtime.join("members.json")
}
