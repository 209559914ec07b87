//! What dependents were notified of, as a restarted agent has to know it.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    fs::file,
    model::{Change, FactKey, Subject},
};

/// The file does not outlive a boot: after one, all dependents read the first values by
/// themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Notes {
    /// Of the address, where the file of earlier versions has it.
    #[serde(flatten)]
    address: Record,
    /// Of the tunnels.
    #[serde(default)]
    mesh: BTreeMap<FactKey, Record>,
}

/// Of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Record {
    /// The value that all were notified of last, or found at boot; empty for none.
    pub(super) notified: Option<String>,
    /// Those that were notified of another one since, in runs that were interrupted.
    #[serde(default)]
    others: BTreeMap<Subject, Last>,
    /// The interface that had a value last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<String>,
}

/// What one dependent was notified of last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Last {
    /// The value.
    #[serde(rename = "address")]
    value: String,
    /// What it knew before, where it is not certain that it was notified.
    instead_of: Option<String>,
}

impl Last {
    /// What it is to be notified of a change from; `now` itself where it knows that.
    fn known(&self, now: &str) -> &str {
        match &self.instead_of {
            Some(before) if self.value == now => before,
            Some(_) | None => &self.value,
        }
    }
}

impl Record {
    /// All know this value.
    pub(super) fn all(&mut self, value: String, interface: Option<String>) {
        let interface = interface.filter(|name| !name.is_empty());
        *self = Self {
            notified: Some(value),
            others: BTreeMap::new(),
            interface: interface.or(self.interface.take()),
        };
    }

    /// What those know that were notified of another value than all.
    pub(super) fn known(&self, now: &str) -> BTreeMap<Subject, String> {
        let known = |(who, last): (&Subject, &Last)| (who.clone(), last.known(now).to_owned());
        self.others.iter().map(known).collect()
    }

    /// It is not certain that this one was notified since `before`.
    fn doubt(&mut self, who: &str, before: &Self) {
        let Some(last) = self.others.get_mut(who) else {
            return;
        };
        match before.others.get(who) {
            Some(earlier) if earlier == last => {}
            Some(earlier) => last.instead_of = Some(earlier.known(&last.value).to_owned()),
            None => last.instead_of.clone_from(&before.notified),
        }
    }
}

impl Notes {
    /// None where they cannot be read: the dependents are notified once more.
    pub(super) fn read(path: &Path) -> Self {
        let text = file::read(path).map_err(|error| error.to_string());
        let notes = text.and_then(|text| match text {
            Some(text) => serde_json::from_slice(&text).map_err(|error| {
                let aside = file::set_aside(path).map(|to| format!("moved to {}", to.display()));
                let aside = aside.unwrap_or_else(|error| error.to_string());
                format!("{} is damaged: {error} ({aside})", path.display())
            }),
            None => Ok(Self::default()),
        });
        notes.unwrap_or_else(|why| {
            tracing::warn!(event = "state", "{why}; who was notified is not known");
            Self::default()
        })
    }

    /// Those of one key.
    pub(super) fn record(&mut self, key: FactKey) -> &mut Record {
        match key {
            FactKey::WslIp => &mut self.address,
            key => self.mesh.entry(key).or_default(),
        }
    }

    /// This one is being notified of these changes.
    pub(super) fn begun<'a>(&mut self, who: &str, of: impl Iterator<Item = &'a Change>) {
        for Change { key, new, .. } in of {
            let last = Last {
                value: new.clone(),
                instead_of: None,
            };
            self.record(*key).others.insert(who.to_owned(), last);
        }
    }

    /// It is not certain that these were notified since `before`.
    pub(super) fn doubt(&mut self, rest: &[(Subject, Vec<FactKey>)], before: &Self) {
        let mut before = before.clone();
        for (who, keys) in rest {
            for key in keys {
                self.record(*key).doubt(who, before.record(*key));
            }
        }
    }

    /// Without the file, a restarted agent takes its first values for the first of this
    /// boot.
    pub(super) fn save(&self, path: &Path) {
        // The folder may have been removed; where it cannot be made, writing says so.
        path.parent()
            .map(fs::create_dir_all)
            .transpose()
            .unwrap_or_default();
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = file::write(path, &text, 0o644) {
            tracing::debug!(event = "dependent", "{error}");
        }
    }
}

#[cfg(test)]
mod tests;
