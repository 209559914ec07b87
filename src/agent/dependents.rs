//! Notifies the units and hooks that depend on the address, beside the loop: one
//! run at a time, and dropping this ends it. A job that systemd has begun goes on.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
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
    model::{AddressChange, Finding, ModeState, Node, Subject},
    plan::{Due, dependents_due},
    units::{HealthChange, NotifyReport, NotifyRun, Systemd},
};

/// What a restarted agent has to know. The file does not outlive a boot: after one,
/// all dependents read the first address by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Notes {
    /// The address that all were notified of last, or found at boot.
    notified: Option<IpAddr>,
    /// Those that were notified of another one since, in runs that were interrupted.
    #[serde(default)]
    others: BTreeMap<Subject, Last>,
}

impl Notes {
    /// None where they cannot be read: the dependents are notified once more.
    fn read(path: &Path) -> Self {
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
}

/// What one dependent was notified of last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Last {
    address: IpAddr,
    /// What it knew before, where it is not certain that it was notified.
    instead_of: Option<IpAddr>,
}

impl Last {
    /// What it is to be notified of a change from; `now` itself where it knows that.
    fn known(self, now: IpAddr) -> IpAddr {
        match self.instead_of {
            Some(before) if self.address == now => before,
            Some(_) | None => self.address,
        }
    }
}

impl Notes {
    fn all(address: IpAddr) -> Self {
        Self {
            notified: Some(address),
            ..Self::default()
        }
    }

    /// What those know that were notified of another address than all.
    fn known(&self, now: IpAddr) -> BTreeMap<Subject, IpAddr> {
        let known = |(who, last): (&Subject, &Last)| (who.clone(), last.known(now));
        self.others.iter().map(known).collect()
    }

    /// It is not certain that these were notified since `before`.
    fn doubt(&mut self, rest: &[Subject], before: &Self) {
        for who in rest {
            let Some(last) = self.others.get_mut(who) else {
                continue;
            };
            match before.others.get(who) {
                Some(earlier) if earlier == last => {}
                Some(earlier) => last.instead_of = Some(earlier.known(last.address)),
                None => last.instead_of = before.notified,
            }
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
struct Ended {
    /// The address of the change; `None` after a check.
    address: Option<IpAddr>,
    report: NotifyReport,
    notes: Notes,
}

/// The units and hooks that depend on the address.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    /// Where the notes are kept.
    path: PathBuf,
    /// The configuration's folder.
    below: PathBuf,
    /// Reading the folders of hooks.
    reads: SingleFlight,
    notes: Notes,
    /// The run in flight, at most one.
    run: JoinSet<Ended>,
    /// Whether a check is wanted that all can be notified.
    check: bool,
    /// The address that a run was made for last.
    tried: Option<IpAddr>,
    /// Runs for which systemd was out of reach.
    retry: Retry,
    findings: BTreeMap<Subject, Finding>,
}

impl Dependents {
    /// Knows what an earlier process of this boot has done.
    pub(super) fn new(runtime: &Path, below: PathBuf) -> Self {
        let path = runtime.join("dependents.json");
        Self {
            notes: Notes::read(&path),
            path,
            below,
            check: true,
            ..Self::default()
        }
    }

    /// What is wrong with them.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.values().cloned().collect()
    }

    /// Checks all of them again, and retries what is waiting at once.
    pub(super) fn check_again(&mut self) {
        self.check = true;
        self.retry_now();
    }

    /// Retries what is waiting at once.
    pub(super) fn retry_now(&mut self) {
        self.retry.reset();
    }

    /// Begins the run that is due, if there is one.
    pub(super) fn follow(&mut self, settings: &Settings, node: Option<&Node>, mode: &ModeState) {
        let Some(run) = self.next(settings, node, mode) else {
            return;
        };
        let (path, mut notes) = (self.path.clone(), self.notes.clone());
        self.run.spawn(async move {
            let address = run.change.as_ref().map(|change| change.new.address());
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
            let report = run.run(Systemd::connect(), note).await;
            Ended {
                address,
                report,
                notes,
            }
        });
    }

    /// The run that is due now.
    fn next(
        &mut self,
        settings: &Settings,
        node: Option<&Node>,
        mode: &ModeState,
    ) -> Option<NotifyRun> {
        if !self.run.is_empty() {
            return None;
        }
        let change = node.and_then(|node| self.change(node, mode));
        if self.retry.due.is_some() || (change.is_none() && !self.check) {
            return None;
        }
        self.check = false;
        let known = change
            .as_ref()
            .map(|change| self.notes.known(change.new.address()));
        Some(NotifyRun {
            change,
            dependents: settings.dependents.clone(),
            below: self.below.clone(),
            hook_timeout: settings.hook_timeout,
            known: known.unwrap_or_default(),
            reads: self.reads.clone(),
        })
    }

    /// The change that dependents are to be notified of.
    fn change(&mut self, node: &Node, mode: &ModeState) -> Option<AddressChange> {
        let now = node.address();
        let others = self.notes.known(now).into_values();
        let old = match dependents_due(self.notes.notified, others, now) {
            Due::Nothing => return None,
            Due::First => {
                self.notes = Notes::all(now);
                save(&self.path, &self.notes);
                return None;
            }
            Due::Change { old } => old,
        };
        if self.tried.replace(now) != Some(now) {
            // Another address is a reason to try at once.
            self.retry_now();
        }
        Some(AddressChange {
            old,
            new: node.clone(),
            mode: mode.clone(),
        })
    }

    /// Waits until there is something for the loop: a run has ended, or one that
    /// could not be made is due again.
    pub(super) async fn changed(&mut self) {
        select! {
            // A run never panics and is never aborted.
            Some(Ok(ended)) = self.run.join_next(), if !self.run.is_empty() => self.record(ended),
            () = until(self.retry.due) => self.retry.due = None,
        }
    }

    fn record(&mut self, ended: Ended) {
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
                // Where nothing is left to notify by the next attempt, a check shows
                // whether systemd can be reached again.
                self.check = true;
                self.retry.failed(Instant::now());
                let finding = interrupted.finding;
                self.findings.insert(finding.subject.clone(), finding);
            }
            None => {
                self.retry.reset();
                if let Some(address) = ended.address {
                    self.notes = Notes::all(address);
                }
            }
        }
        save(&self.path, &self.notes);
    }
}

/// Without the file, a restarted agent takes its first address for the first of
/// this boot.
fn save(path: &Path, notes: &Notes) {
    // The folder may have been removed; where it cannot be made, writing says so.
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
