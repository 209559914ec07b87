//! One reconciliation: observe, plan, apply what is due, publish.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::{
    ledger::Ledger,
    machine::{Host, Linux, Machine},
    windows::HostEvent,
};
use crate::{
    apply::{ApplyError, saved::SavedError},
    backoff::Retry,
    bus::Bus,
    config::{ConfigError, Settings},
    control::Signal,
    model::{
        Action, Code, Finding, HostMemory, HostOutcome, HostPrivilege, Listen, ModeState, Place,
        RelayMemory, Served, Subject, micros,
    },
    netlink::NetlinkError,
    paths::Paths,
    plan,
    report::{Manager, Tracker},
};

/// The agent's memory between passes.
#[derive(Debug)]
pub(super) struct Agent<M> {
    machine: M,
    pub(super) settings: Settings,
    pub(super) paths: Paths,
    pub(super) mode: ModeState,
    mode_retry: Retry,
    silent: BTreeSet<(Code, Subject)>,
    look_again: Retry,
    pub(super) host: HostMemory,
    ledger: Ledger,
    pub(super) tracker: Tracker,
    rejected: Option<Finding>,
    pub(super) address: Option<Ipv4Addr>,
    /// The last place in the network that was seen.
    pub(super) place: Option<Place>,
    /// What is wrong with those who depend on the address.
    pub(super) dependents: Vec<Finding>,
    pub(super) served: Vec<Served>,
    pub(super) passes: u64,
    pub(super) status_works: bool,
    /// Who is told on D-Bus, where the agent runs as a service.
    pub(super) bus: Option<Bus>,
    /// What that is to be told with the next document.
    pub(super) signals: Vec<Signal>,
    name_taken: Option<Finding>,
}

/// Why an action was not carried out.
enum Failure<'a> {
    /// Its previous value could not be saved.
    NotSaved(&'a SavedError),
    /// The effect itself.
    Effect(ApplyError),
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Done {
    /// Changes made, one line each.
    pub changes: Vec<String>,
    /// Findings in force after it.
    pub findings: Vec<Finding>,
    /// What went to the journal.
    pub journal: Vec<String>,
}

impl Agent<Linux> {
    /// An agent for this machine.
    pub(super) fn on_this_machine(settings: Settings, paths: Paths) -> Result<Self, NetlinkError> {
        let machine = Linux::new(&paths)?;
        let standing = machine.standing();
        Ok(Self::new(machine, settings, paths, standing))
    }
}

impl<M: Machine> Agent<M> {
    /// An agent that has not looked yet. `standing` says whether rules of ours
    /// may stand on Windows.
    pub(super) fn new(machine: M, settings: Settings, paths: Paths, standing: bool) -> Self {
        Self {
            machine,
            settings,
            paths,
            mode: ModeState::Pending,
            mode_retry: Retry::default(),
            silent: BTreeSet::new(),
            look_again: Retry::default(),
            host: HostMemory {
                standing,
                ..HostMemory::default()
            },
            ledger: Ledger::default(),
            tracker: Tracker::default(),
            rejected: None,
            address: None,
            place: None,
            dependents: Vec::new(),
            served: Vec::new(),
            passes: 0,
            status_works: true,
            bus: None,
            signals: Vec::new(),
            name_taken: None,
        }
    }

    /// Publishes on this bus, too, from now on.
    pub(super) fn attach_bus(&mut self, bus: Bus) {
        self.bus = Some(bus);
    }

    /// Takes what there is to say of the agent's own name on the bus.
    pub(super) fn name_on_the_bus(&mut self, finding: Option<Finding>) {
        self.name_taken = finding;
    }

    pub(super) fn settle_times(&self) -> (Duration, Duration) {
        self.settings.settle_times(self.mode.known())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        [
            self.ledger.next_due(),
            self.mode_retry.due,
            self.look_again.due,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn mode_is_due(&mut self) -> bool {
        self.mode_retry.take_due(Instant::now())
    }

    pub(super) fn retry_everything(&mut self) {
        self.ledger.reset();
    }

    /// Takes new settings; what failed under the old ones is tried at once, and
    /// Windows is asked anew.
    pub(super) fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
        self.rejected = None;
        self.host.findings.clear();
        self.ask_windows_anew();
    }

    /// Forgets what Windows may do for us and asks again: somebody may have
    /// installed something there.
    pub(super) fn ask_windows_anew(&mut self) {
        self.host.settled = None;
        self.host.facts.privilege = HostPrivilege::Unknown;
        self.ledger.reset();
    }

    pub(super) fn refuse(&mut self, error: &ConfigError, path: &Path) {
        let finding = Finding::new(
            Code::ConfigRejected,
            path.display().to_string(),
            error.summary(),
        );
        // The first refusal is said with the health; one after it would be
        // nothing new to the tracker.
        if self.rejected.is_some() {
            tracing::warn!(
                event = "reload",
                health = %finding.code,
                subject = finding.subject,
                "{finding}"
            );
        }
        self.rejected = Some(finding);
    }

    pub(super) fn knows_mode(&self) -> bool {
        self.mode.known().is_some()
    }

    /// Takes the result of a call to Windows, or what the relay reports. Says whether
    /// that was the relay's counters alone, which need no pass.
    pub(super) fn handle_event(&mut self, event: HostEvent) -> bool {
        match event {
            // The mode cannot change while the virtual machine lives: a failed
            // query does not replace an answer.
            HostEvent::Mode(mode) if self.knows_mode() && mode.known().is_none() => {}
            HostEvent::Mode(mode) => {
                if mode.known().is_some() {
                    self.mode_retry.reset();
                } else {
                    self.mode_retry.failed(Instant::now());
                }
                if self.mode != mode {
                    tracing::info!(event = "mode", mode = %mode, "networking mode: {mode}");
                }
                self.mode = mode;
            }
            HostEvent::Forwards(outcome) => self.record_sync(outcome),
            HostEvent::Relay { memory, applied } => {
                let action = Action::SyncRelay(memory.wanted.clone());
                if applied && memory.failed.is_empty() {
                    self.ledger.forget(&action.key());
                } else if applied {
                    self.ledger.failed(&action, None, true, Instant::now());
                }
                let before = std::mem::replace(&mut self.host.relay, memory);
                let now = &self.host.relay;
                return !applied
                    && now.counted != before.counted
                    && *now
                        == RelayMemory {
                            counted: now.counted.clone(),
                            ..before
                        };
            }
        }
        false
    }

    fn record_sync(&mut self, outcome: HostOutcome) {
        let (action, now) = (Action::SyncForwards(outcome.wanted.clone()), Instant::now());
        if outcome.settled {
            self.ledger.done(&action, now);
        } else {
            self.ledger.failed(&action, None, true, now);
        }
        if let Some(line) = &outcome.changed {
            tracing::info!(
                event = "forwards",
                address = %outcome.wanted.connect_address,
                duration_us = micros(outcome.took),
                "{line}"
            );
        }
        if let Some(facts) = outcome.facts {
            let mut standing: Vec<Listen> = facts.rules.iter().map(|rule| rule.listen).collect();
            if !outcome.settled {
                // A task that answers late may still make what it was asked for.
                standing.extend(outcome.wanted.listens());
            }
            self.host.possibly_installed = Some(standing);
            self.host.facts = facts;
        }
        self.host.settled = outcome.settled.then_some(outcome.wanted);
        self.host.findings = outcome.findings;
        self.host.standing = outcome.standing.unwrap_or(self.host.standing);
    }

    /// Reconciles once.
    pub(super) async fn reconcile(
        &mut self,
        windows: &mut impl Host,
        manager: &mut Manager,
    ) -> Done {
        let begin = Instant::now();
        self.passes += 1;
        let seen = match self
            .machine
            .observe(&self.settings, self.mode.clone(), self.host.clone())
            .await
        {
            Ok(seen) => seen,
            Err(error) => return self.on_observe_error(&error, begin, manager),
        };
        let plan = plan::plan(&self.settings, &seen);
        self.ledger.planned(&plan.actions, begin);
        let due: Vec<Action> = plan
            .actions
            .into_iter()
            .filter(|action| self.ledger.allows(action, begin))
            .collect();
        let mut findings = plan.findings;
        let changes = self.carry_out(due, windows).await;
        self.ledger.put_off(begin);
        findings.extend(self.ledger.findings());
        // As it stands after this pass: what the relay was told just now counts.
        findings.extend(self.host.relay.findings.iter().cloned());
        findings.extend(self.dependents.iter().cloned());
        findings.extend(self.rejected.clone());
        findings.extend(self.name_taken.clone());
        self.look_again_for(&findings);
        if let Ok(node) = plan::node(&self.settings, &seen) {
            self.place = Some(Place {
                interface: node.link.name.clone(),
                address: node.address(),
                gateway: node.gateway,
                mode: seen.mode.clone(),
            });
        }
        let mut journal = Vec::from_iter(self.say(&seen, &changes, begin.elapsed()));
        journal.extend(self.publish(Some(&seen), findings, begin.elapsed(), manager));
        Done {
            changes,
            findings: self.tracker.findings().cloned().collect(),
            journal,
        }
    }

    /// Some troubles end without an event: they are looked at again, less and
    /// less often. A new one starts from the beginning; a pass for another
    /// reason changes nothing.
    fn look_again_for(&mut self, findings: &[Finding]) {
        const SILENT: &[Code] = &[
            Code::WireguardBusy,
            Code::WireguardUnreadable,
            Code::NetworkFileUnreadable,
            Code::ObserveFailed,
        ];
        let silent: BTreeSet<_> = findings
            .iter()
            .filter(|finding| SILENT.contains(&finding.code))
            .map(|finding| (finding.code, finding.subject.clone()))
            .collect();
        let now = Instant::now();
        if silent.is_empty() {
            self.look_again.reset();
        } else if !silent.is_subset(&self.silent) {
            self.look_again.reset();
            self.look_again.failed(now);
        } else if self.look_again.due.is_none_or(|due| due <= now) {
            self.look_again.failed(now);
        }
        self.silent = silent;
    }

    /// The kernel does not answer: nothing is changed on a guess, and what was
    /// found before is as true as it was.
    fn on_observe_error(
        &mut self,
        error: &NetlinkError,
        begin: Instant,
        manager: &mut Manager,
    ) -> Done {
        self.ledger.put_off(begin);
        let before = self.tracker.findings().cloned();
        let mut findings: Vec<Finding> = before
            .filter(|finding| finding.code != Code::ObserveFailed)
            .collect();
        findings.push(Finding::new(Code::ObserveFailed, "", error.to_string()));
        self.look_again_for(&findings);
        let journal = self.publish(None, findings.clone(), begin.elapsed(), manager);
        Done {
            changes: Vec::new(),
            findings,
            journal,
        }
    }

    /// Carries actions out side by side; those on Windows are only begun. What
    /// replaces a value that a restore gives back waits until that is saved, and
    /// is left where it cannot be; nothing else waits for it.
    async fn carry_out(&mut self, due: Vec<Action>, windows: &mut impl Host) -> Vec<String> {
        let away =
            |action: &Action| matches!(action, Action::SyncForwards(_) | Action::SyncRelay(_));
        let (host, local): (Vec<Action>, Vec<Action>) = due.into_iter().partition(away);
        for action in host {
            self.ledger.begun(&action);
            match action {
                Action::SyncRelay(wanted) => self.host.relay = windows.relay(wanted),
                Action::SyncForwards(wanted) if !windows.syncing() => {
                    self.host.standing |= !wanted.rules.is_empty();
                    if let Some(standing) = &mut self.host.possibly_installed {
                        standing.extend(wanted.listens());
                    }
                    windows.sync(wanted);
                }
                _ => {}
            }
        }
        let saved = OnceCell::new();
        let carried = local.iter().map(async |action| {
            if action.can_be_restored() {
                let save = || self.machine.remember(&local);
                saved
                    .get_or_init(save)
                    .await
                    .as_ref()
                    .map_err(Failure::NotSaved)?;
            }
            self.machine.apply(action).await.map_err(Failure::Effect)
        });
        let results = join_all(carried).await;
        let now = Instant::now();
        let mut changes = Vec::new();
        for (action, result) in local.iter().zip(results) {
            match result {
                Ok(true) => {
                    self.ledger.done(action, now);
                    changes.push(action.to_string());
                }
                Ok(false) => {}
                Err(Failure::NotSaved(error)) => {
                    let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
                    self.ledger.failed(action, Some(finding), true, now);
                }
                Err(Failure::Effect(error)) => {
                    let finding =
                        Finding::new(error.code(), action.key().to_string(), error.to_string());
                    self.ledger
                        .failed(action, Some(finding), error.retry_can_help(), now);
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests;
