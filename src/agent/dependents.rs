//! Telling those who depend on the address, beside the loop: one round at a
//! time, and dropping this ends it. A job that systemd has begun goes on.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use tokio::{select, task::JoinSet};

use crate::{
    backoff::{Retry, until},
    blocking::SingleFlight,
    config::Settings,
    fs::file,
    model::{AddressChange, Finding, Place, Subject},
    plan::{Due, dependents_due},
    units::{HealthChange, NotifyReport, NotifyRun, Systemd},
};

/// What an agent that is started again has to know. It is gone with a boot, and
/// then everybody reads the first address by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Notes {
    /// The address that everybody was told last, or found at boot.
    told: Option<Ipv4Addr>,
    /// Who was told another one since, in rounds that did not come to their end.
    #[serde(default)]
    others: BTreeMap<Subject, Last>,
}

/// What one of them was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Last {
    address: Ipv4Addr,
    /// What it knew before, where it is not known whether it was told.
    instead_of: Option<Ipv4Addr>,
}

impl Last {
    /// What it is to be told a change from; `now` itself where it knows that.
    fn known(self, now: Ipv4Addr) -> Ipv4Addr {
        match self.instead_of {
            Some(before) if self.address == now => before,
            Some(_) | None => self.address,
        }
    }
}

impl Notes {
    /// What those know who were told another address than everybody.
    fn known(&self, now: Ipv4Addr) -> BTreeMap<Subject, Ipv4Addr> {
        let known = |(who, last): (&Subject, &Last)| (who.clone(), last.known(now));
        self.others.iter().map(known).collect()
    }

    /// Takes it back that these were told since `before`: perhaps they were.
    fn doubt(&mut self, untold: &[Subject], before: &Self) {
        for who in untold {
            let Some(last) = self.others.get_mut(who) else {
                continue;
            };
            match before.others.get(who) {
                Some(earlier) if earlier == last => {}
                Some(earlier) => last.instead_of = Some(earlier.known(last.address)),
                None => last.instead_of = before.told,
            }
        }
    }
}

/// A round that is over.
#[derive(Debug)]
struct Ended {
    /// The address that was told; `None` after a look.
    address: Option<Ipv4Addr>,
    report: NotifyReport,
    notes: Notes,
}

/// Those who depend on the address.
#[derive(Debug)]
pub(super) struct Dependents {
    /// Where the notes are kept.
    path: PathBuf,
    /// The configuration's folder.
    below: PathBuf,
    /// For reading hooks.
    hook_reads: SingleFlight,
    notes: Notes,
    /// The round in flight, at most one.
    round: JoinSet<Ended>,
    /// Whether it should be looked if all can be told.
    look: bool,
    /// The address that a round was made for last.
    tried: Option<Ipv4Addr>,
    /// Rounds for which systemd was out of reach.
    again: Retry,
    findings: BTreeMap<Subject, Finding>,
}

impl Dependents {
    /// Knows what an earlier run of this boot has told.
    pub(super) fn new(runtime: &Path, below: PathBuf) -> Self {
        let path = runtime.join("dependents.json");
        let text = file::read(&path).ok().flatten().unwrap_or_default();
        Self {
            // Rubbish counts as nothing told yet.
            notes: serde_json::from_slice(&text).unwrap_or_default(),
            path,
            below,
            hook_reads: SingleFlight::default(),
            round: JoinSet::new(),
            look: true,
            tried: None,
            again: Retry::default(),
            findings: BTreeMap::new(),
        }
    }

    /// What is wrong with them.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.values().cloned().collect()
    }

    /// Looks at all of them anew, and does not wait with what could not be told.
    pub(super) fn look_again(&mut self) {
        self.look = true;
        self.retry();
    }

    /// Does not wait with what could not be told.
    pub(super) fn retry(&mut self) {
        self.again.reset();
    }

    /// Begins what is due.
    pub(super) fn follow(&mut self, settings: &Settings, place: Option<&Place>) {
        let Some(round) = self.next(settings, place) else {
            return;
        };
        let (path, mut notes) = (self.path.clone(), self.notes.clone());
        self.round.spawn(async move {
            let address = round.change.as_ref().map(|change| change.new.address);
            let note = |who: &str| {
                if let Some(address) = address {
                    let last = Last {
                        address,
                        instead_of: None,
                    };
                    notes.others.insert(who.to_owned(), last);
                    save(&path, &notes);
                }
            };
            let report = round.run(Systemd::connect(), note).await;
            Ended {
                address,
                report,
                notes,
            }
        });
    }

    /// The round that is due now.
    fn next(&mut self, settings: &Settings, place: Option<&Place>) -> Option<NotifyRun> {
        if !self.round.is_empty() {
            return None;
        }
        let change = place.and_then(|place| self.change(place));
        if self.again.due.is_some() || (change.is_none() && !self.look) {
            return None;
        }
        self.look = false;
        let known = match &change {
            Some(change) => self.notes.known(change.new.address),
            None => BTreeMap::new(),
        };
        Some(NotifyRun {
            change,
            dependents: settings.dependents.clone(),
            below: self.below.clone(),
            hook_timeout: settings.hook_timeout,
            known,
            reads: self.hook_reads.clone(),
        })
    }

    /// The change that is to be told.
    fn change(&mut self, place: &Place) -> Option<AddressChange> {
        let now = place.address;
        let old = match dependents_due(self.notes.told, self.notes.known(now).into_values(), now) {
            Due::Nothing => return None,
            Due::First => {
                self.notes = Notes {
                    told: Some(now),
                    ..Notes::default()
                };
                save(&self.path, &self.notes);
                return None;
            }
            Due::Change { old } => old,
        };
        if self.tried.replace(now) != Some(now) {
            // Another address is a reason to try at once.
            self.retry();
        }
        Some(AddressChange {
            old,
            new: place.clone(),
        })
    }

    /// Waits until there is something to tell the loop: a round has ended, or
    /// one that could not be made is due again.
    pub(super) async fn changed(&mut self) {
        select! {
            // A round never panics and nobody aborts one.
            Some(Ok(ended)) = self.round.join_next(), if !self.round.is_empty() => self.take(ended),
            () = until(self.again.due) => self.again.due = None,
        }
    }

    fn take(&mut self, ended: Ended) {
        let NotifyReport {
            health,
            interrupted,
        } = ended.report;
        let mut before = std::mem::take(&mut self.findings);
        for (subject, change) in health {
            let finding = match change {
                HealthChange::Cleared => None,
                HealthChange::Unchanged => before.remove(&subject),
                HealthChange::Raised(finding) => Some(finding),
            };
            self.findings
                .extend(finding.map(|finding| (subject, finding)));
        }
        let earlier = std::mem::replace(&mut self.notes, ended.notes);
        match interrupted {
            Some(interrupted) => {
                self.notes.doubt(&interrupted.rest, &earlier);
                // Should nobody have to be told when it is tried again, it is
                // seen whether systemd is back.
                self.look = true;
                self.again.failed(Instant::now());
                let finding = interrupted.finding;
                self.findings.insert(finding.subject.clone(), finding);
            }
            None => {
                self.again.reset();
                if ended.address.is_some() {
                    self.notes = Notes {
                        told: ended.address,
                        ..Notes::default()
                    };
                }
            }
        }
        save(&self.path, &self.notes);
    }
}

/// Without the file, an agent that is started again takes its first address for
/// the first of this boot.
fn save(path: &Path, notes: &Notes) {
    // If it fails, the file's own error tells.
    path.parent()
        .map(fs::create_dir_all)
        .transpose()
        .unwrap_or_default();
    let text = serde_json::to_vec(notes).unwrap_or_default();
    if let Err(error) = file::write(path, &text, 0o644) {
        tracing::debug!(event = "dependent", "{error}");
    }
}

#[cfg(test)]
mod tests;
