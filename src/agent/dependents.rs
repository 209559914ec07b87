//! Notifies the units and hooks that depend on the address and the tunnels, beside the
//! loop: one run at a time, and dropping this ends it. A job that systemd has begun goes on.

mod notes;
mod settle;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use tokio::{select, task::JoinSet};

use self::{notes::Notes, settle::Settle};
use crate::{
    backoff::{Retry, until},
    blocking::SingleFlight,
    config::Settings,
    model::{Change, Fact, FactKey, Finding, FollowedEvent, Mesh, ModeState, Node, Subject},
    plan::{Due, dependents_due},
    units::{HealthChange, NotifyReport, NotifyRun, Systemd},
};

/// What dependents follow, as of the last pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed<'a> {
    /// The last node.
    pub(super) node: Option<&'a Node>,
    /// WSL's networking mode.
    pub(super) mode: &'a ModeState,
    /// The tunnels.
    pub(super) mesh: &'a Mesh,
}

impl Followed<'_> {
    /// What is known now.
    fn facts(&self) -> Mesh {
        let address = self.node.map(|node| Fact {
            interface: Some(node.link.name.clone()),
            value: node.address().to_string(),
        });
        let mut facts = self.mesh.clone();
        facts.extend(address.map(|address| (FactKey::WslIp, address)));
        facts
    }
}

/// A run that has ended.
#[derive(Debug)]
struct Ended {
    /// The changes; none after a check.
    changes: Vec<Change>,
    report: NotifyReport,
    notes: Notes,
}

/// The units and hooks that depend on the address and the tunnels.
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
    /// The values that a run was made for last.
    tried: BTreeMap<FactKey, String>,
    /// Whether the tunnels have settled.
    settle: Settle,
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
    pub(super) fn follow(&mut self, settings: &Settings, followed: &Followed<'_>) {
        let Some(run) = self.next(settings, followed) else {
            return;
        };
        let (path, mut notes) = (self.path.clone(), self.notes.clone());
        self.run.spawn(async move {
            let changes = run.changes.clone();
            let note = |who: &str, keys: &[FactKey]| {
                let of = changes.iter().filter(|change| keys.contains(&change.key));
                notes.begun(who, of);
                notes.save(&path);
            };
            let report = run.run(Systemd::connect(), note).await;
            Ended {
                changes,
                report,
                notes,
            }
        });
    }

    /// The run that is due now.
    fn next(&mut self, settings: &Settings, followed: &Followed<'_>) -> Option<NotifyRun> {
        if !self.run.is_empty() {
            return None;
        }
        let changes = self.changes(followed);
        if self.retry.due.is_some() || (changes.is_empty() && !self.check) {
            return None;
        }
        let is_of_mesh = |change: &Change| change.key.event() == FollowedEvent::Mesh;
        if changes.iter().any(is_of_mesh) {
            self.settle.notified(Instant::now());
        }
        Some(NotifyRun {
            changes,
            check: std::mem::take(&mut self.check),
            dependents: settings.dependents.clone(),
            usual: settings.dependents_on,
            below: self.below.clone(),
            hook_timeout: settings.hook_timeout,
            mode: followed.mode.clone(),
            gateway: followed.node.and_then(|node| node.gateway),
            reads: self.reads.clone(),
        })
    }

    /// The changes that dependents are to be notified of.
    fn changes(&mut self, followed: &Followed<'_>) -> Vec<Change> {
        let (mut changes, mut first) = (Vec::new(), false);
        for (key, Fact { interface, value }) in followed.facts() {
            let record = self.notes.record(key);
            let others = record.known(&value);
            let interface = interface.map(|name| name.to_string());
            let notified = record.notified.as_deref();
            match dependents_due(notified, others.values().map(String::as_str), &value) {
                Due::Nothing => {}
                Due::First => {
                    record.all(value, interface);
                    first = true;
                }
                Due::Change { old } => changes.push(Change {
                    key,
                    old: old.to_owned(),
                    interface: interface.or(record.interface.clone()).unwrap_or_default(),
                    new: value,
                    known: others,
                }),
            }
        }
        if first {
            self.notes.save(&self.path);
        }
        let is_of_mesh = |change: &Change| change.key.event() == FollowedEvent::Mesh;
        let mesh = changes.iter().filter(|change| is_of_mesh(change));
        let mesh = mesh
            .map(|change| (change.key, change.new.clone()))
            .collect();
        let settled = self.settle.settled(mesh, Instant::now());
        changes.retain(|change| !is_of_mesh(change) || settled.contains(&change.key));
        for Change { key, new, .. } in &changes {
            if self.tried.insert(*key, new.clone()).as_ref() != Some(new) {
                // Another value is a reason to try at once.
                self.retry.reset();
            }
        }
        changes
    }

    /// Waits until there is something for the loop: a run has ended, one that could not be
    /// made is due again, or the tunnels have settled.
    pub(super) async fn changed(&mut self) {
        select! {
            // A run never panics and is never aborted.
            Some(Ok(ended)) = self.run.join_next(), if !self.run.is_empty() => self.record(ended),
            () = until(self.retry.due) => self.retry.due = None,
            () = until(self.settle.due) => self.settle.due = None,
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
                for Change {
                    key,
                    interface,
                    new,
                    ..
                } in ended.changes
                {
                    self.notes.record(key).all(new, Some(interface));
                }
            }
        }
        self.notes.save(&self.path);
    }
}

#[cfg(test)]
mod tests;
