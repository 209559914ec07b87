//! Tunnels that flap must not restart units in a storm: a change of them is notified once it
//! has lasted, and the next one after more time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::model::FactKey;

/// How long a change has to last. `wg-quick` and tailscaled are restarted within that, and a
/// tunnel that is the same again is no change.
const FIRST: Duration = Duration::from_secs(5);
/// Where changes do not end.
const LONGEST: Duration = Duration::from_secs(300);
/// After this time without a change the next one is the first again.
const CALM: Duration = Duration::from_secs(600);

/// Whether the tunnels have settled.
#[derive(Debug, Default)]
pub(super) struct Settle {
    /// The values that differ from what was notified, and since when.
    changes: BTreeMap<FactKey, (String, Instant)>,
    /// When the last of them came, and how long it has to last.
    last_change: Option<(Instant, Duration)>,
    /// When the next one will have lasted; `None` when all have.
    pub(super) due: Option<Instant>,
    /// Runs that followed each other.
    runs: u32,
    /// The last one of them.
    last: Option<Instant>,
}

impl Settle {
    /// Which of these values have lasted. What changes together is notified together; where
    /// one flaps, another is waited for twice as long at most.
    pub(super) fn settled(
        &mut self,
        changes: BTreeMap<FactKey, String>,
        now: Instant,
    ) -> BTreeSet<FactKey> {
        let before = self.changes.iter().map(|(key, (value, _))| (key, value));
        if !before.eq(&changes) {
            let before = std::mem::take(&mut self.changes);
            let since = |key: &FactKey, value: &String| match before.get(key) {
                Some((old, since)) if old == value => *since,
                Some(_) | None => now,
            };
            let changes = changes.into_iter();
            self.changes = changes
                .map(|(key, value)| (key, (value.clone(), since(&key, &value))))
                .collect();
            self.last_change = Some((now, self.pause(now)));
        }
        let Some((last, pause)) = self.last_change else {
            return BTreeSet::new();
        };
        let end = |since: Instant| (last + pause).min(since + pause * 2);
        let ends = self
            .changes
            .iter()
            .map(|(key, (_, since))| (key, end(*since)));
        let (settled, waiting): (Vec<_>, Vec<_>) = ends.partition(|(_, end)| *end <= now);
        self.due = waiting.into_iter().map(|(_, end)| end).min();
        settled.into_iter().map(|(key, _)| *key).collect()
    }

    /// Dependents are being notified.
    pub(super) fn notified(&mut self, now: Instant) {
        self.runs = self.runs_until(now).saturating_add(1);
        self.last = Some(now);
    }

    /// As if they had lasted.
    #[cfg(test)]
    pub(super) fn skip_pause(&mut self) {
        self.last_change = self.last_change.map(|(last, _)| (last, Duration::ZERO));
    }

    fn runs_until(&self, now: Instant) -> u32 {
        let is_calm = |last| now.saturating_duration_since(last) > CALM;
        if self.last.is_none_or(is_calm) {
            0
        } else {
            self.runs
        }
    }

    fn pause(&self, now: Instant) -> Duration {
        let doublings = self.runs_until(now).min(16);
        FIRST.saturating_mul(1 << doublings).min(LONGEST)
    }
}

#[cfg(test)]
mod tests;
