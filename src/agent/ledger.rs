//! Remembers what was tried: when a failed action is due again, and whether
//! another program keeps undoing one that succeeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    backoff::Retry,
    model::{Action, Code, Finding, Subject},
};

/// A change that was made so often within this time and is wanted again is contested.
const ROUNDS: (usize, Duration) = (4, Duration::from_secs(60));
/// The same for an MTU. WSL sets eth0's back once after a change of Windows' adapters
/// (microsoft/WSL: NatNetworking.cpp), so a second change lasts; each one costs
/// connections their full packets for a moment, so there is no third.
const MTU_ROUNDS: (usize, Duration) = (2, ASIDE);
/// How long the agent steps aside.
const ASIDE: Duration = Duration::from_secs(300);
/// After so many failures in a row, a call to Windows waits at least
/// [`BREAKER`] even where what it is to do has changed.
const BREAKER_FAILURES: u32 = 3;
const BREAKER: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Entry {
    action: Action,
    /// Failures without a time mean: not until something changes.
    retry: Retry,
    last_try: Instant,
    done: Vec<Instant>,
    finding: Option<Finding>,
}

impl Entry {
    /// Whether the breaker is open for this action, another than the one that failed.
    fn holds_back(&self, action: &Action) -> bool {
        matches!(action, Action::SyncForwards(_))
            && self.retry.failures >= BREAKER_FAILURES
            && !self.action.same_end(action)
    }

    fn rounds(&self) -> (usize, Duration) {
        match self.action {
            Action::SetMtu(_) => MTU_ROUNDS,
            _ => ROUNDS,
        }
    }

    fn forget_old(&mut self, now: Instant) {
        let (_, window) = self.rounds();
        self.done.retain(|time| now.duration_since(*time) < window);
    }

    /// Steps aside where another program undid this each time.
    fn contest(&mut self, now: Instant) {
        let (times, (most, window)) = (self.done.len(), self.rounds());
        if times < most {
            return;
        }
        let (action, seconds) = (&self.action, window.as_secs());
        let text =
            format!("{action} was done {times} times within {seconds} s and undone each time");
        self.finding = Some(Finding::new(Code::Contested, action.key(), text));
        self.retry.due = Some(now + ASIDE);
        self.done.clear();
    }
}

/// All actions that failed or were done lately.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, Entry>);

impl Ledger {
    /// Whether an action may be tried now.
    pub(super) fn allows(&self, action: &Action, now: Instant) -> bool {
        let Some(entry) = self.0.get(&action.key()) else {
            return true;
        };
        if entry.action.same_end(action) {
            let never_failed = entry.retry.failures == 0;
            return entry.retry.due.map_or(never_failed, |due| due <= now);
        }
        !entry.holds_back(action) || now >= entry.last_try + BREAKER
    }

    /// Notes that a call was begun whose end comes later: until then nothing is
    /// due, or the loop would wake up for it again and again.
    pub(super) fn begun(&mut self, action: &Action) {
        if let Some(entry) = self.0.get_mut(&action.key()) {
            entry.retry.due = None;
        }
    }

    /// The entry of an action that was tried now, without what it held of another end.
    fn tried(&mut self, action: &Action, now: Instant) -> &mut Entry {
        let entry = self.0.entry(action.key()).or_insert_with(|| Entry {
            action: action.clone(),
            retry: Retry::default(),
            last_try: now,
            done: Vec::new(),
            finding: None,
        });
        if !entry.action.same_end(action) {
            entry.done.clear();
            // Windows that does not answer is not healed by a new address.
            if !matches!(action, Action::SyncForwards(_)) {
                entry.retry.reset();
            }
        }
        (entry.action, entry.last_try) = (action.clone(), now);
        entry
    }

    /// Notes a failure; `retry` says whether the same can succeed later.
    pub(super) fn failed(
        &mut self,
        action: &Action,
        finding: Option<Finding>,
        retry: bool,
        now: Instant,
    ) {
        let entry = self.tried(action, now);
        entry.retry.failed(now);
        if !retry {
            entry.retry.due = None;
        }
        entry.finding = finding;
        entry.done.clear();
    }

    /// Notes a success.
    pub(super) fn done(&mut self, action: &Action, now: Instant) {
        let entry = self.tried(action, now);
        entry.retry.reset();
        entry.finding = None;
        entry.done.push(now);
    }

    /// Forgets what was tried: it succeeded, and no other program can undo it.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Forgets failures of what is no longer wanted, and old successes. What succeeded
    /// repeatedly and is wanted again is contested: the agent steps aside.
    pub(super) fn planned(&mut self, actions: &[Action], now: Instant) {
        self.0.retain(|key, entry| {
            let wanted = actions.iter().find(|action| action.key() == *key);
            if entry.retry.due.is_some() && wanted.is_some_and(|action| entry.holds_back(action)) {
                entry.retry.due = Some(entry.last_try + BREAKER);
            }
            let contested = |finding: &Finding| finding.code == Code::Contested;
            if wanted.is_none() && !entry.finding.as_ref().is_some_and(contested) {
                entry.retry.reset();
                entry.finding = None;
            }
            if entry.retry.failures == 0 && entry.retry.take_due(now) {
                entry.finding = None;
            }
            entry.forget_old(now);
            if wanted.is_some_and(|action| entry.action.same_end(action)) {
                entry.contest(now);
            }
            entry.retry != Retry::default() || !entry.done.is_empty()
        });
    }

    /// Puts off what was due in a pass that began then and was not tried all the
    /// same, as when a call to Windows is still in flight: what stays due would
    /// wake the loop without end.
    pub(super) fn put_off(&mut self, begin: Instant) {
        for entry in self.0.values_mut() {
            if entry.retry.due.is_some_and(|due| due <= begin) && entry.last_try < begin {
                entry.retry.postpone(begin);
            }
        }
    }

    /// What failed and what is contested.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.0.values().filter_map(|entry| entry.finding.clone())
    }

    /// When the next action is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(|entry| entry.retry.due).min()
    }

    /// Everything may be tried at once: the user asked, or the machine woke up.
    pub(super) fn reset(&mut self) {
        self.0.clear();
    }
}

/// Problems that end without an event: they are looked at again, less and less
/// often. A new one starts from the beginning; a pass for another reason changes
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Recheck {
    silent: BTreeSet<(Code, Subject)>,
    pub(super) retry: Retry,
}

impl Recheck {
    /// Takes the findings of a pass.
    pub(super) fn update(&mut self, findings: &[Finding], now: Instant) {
        const SILENT: &[Code] = &[
            Code::WireguardBusy,
            Code::WireguardUnreadable,
            Code::WireguardPortUnclaimed,
            Code::NetworkFileUnreadable,
            Code::ObserveFailed,
            Code::StatusUnwritable,
        ];
        let silent: BTreeSet<_> = findings
            .iter()
            .filter(|finding| SILENT.contains(&finding.code))
            .map(|finding| (finding.code, finding.subject.clone()))
            .collect();
        let new = !silent.is_subset(&self.silent);
        if silent.is_empty() || new {
            self.retry.reset();
        }
        let due = self.retry.due.is_none_or(|due| due <= now);
        if !silent.is_empty() && due {
            self.retry.failed(now);
        }
        self.silent = silent;
    }
}

#[cfg(test)]
mod tests;
