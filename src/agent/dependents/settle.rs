//! Tunnels that flap must not restart units in a storm: a change of them is notified once it
//! has lasted, and the next one after more time.

use std::{
    collections::BTreeMap,
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
    /// The values that differ from what was notified.
    changes: BTreeMap<FactKey, String>,
    /// When they will have lasted; `None` when they have.
    pub(super) due: Option<Instant>,
    /// Runs that followed each other.
    runs: u32,
    /// The last one of them.
    last: Option<Instant>,
}

impl Settle {
    /// Whether these values have lasted.
    pub(super) fn has(&mut self, changes: BTreeMap<FactKey, String>, now: Instant) -> bool {
        if changes != self.changes {
            self.due = (!changes.is_empty()).then(|| now + self.pause(now));
            self.changes = changes;
        }
        self.due.is_none_or(|due| due <= now)
    }

    /// Dependents are being notified.
    pub(super) fn notified(&mut self, now: Instant) {
        self.runs = self.runs_until(now).saturating_add(1);
        self.last = Some(now);
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
