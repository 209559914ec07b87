//! The statistics of one forward.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{Counters, Event, Listen};

/// The shortest time between two events about one limit.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// The counters of one forward, which outlive its connections.
#[derive(Debug)]
pub(crate) struct ForwardStats {
    counters: Cell<Counters>,
    refusals: Cell<PendingRefusals>,
}

/// Refusals that no event has reported yet.
#[derive(Debug, Clone, Copy, Default)]
struct PendingRefusals {
    count: u64,
    limit: u32,
    last_event: Option<Instant>,
}

impl ForwardStats {
    /// All counters at 0.
    pub(crate) fn new(listen: Listen) -> Self {
        Self {
            counters: Cell::new(Counters {
                listen,
                active: 0,
                opened: 0,
                failed: 0,
                refused: 0,
                bytes_in: 0,
                bytes_out: 0,
            }),
            refusals: Cell::default(),
        }
    }

    /// Changes the counters.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// The counters as the agent gets them.
    pub(crate) fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Counts connections or datagrams refused at that limit. Returns whether
    /// these are the first ones since the last event.
    pub(crate) fn refuse(&self, limit: u32, count: usize) -> bool {
        let count = count as u64;
        self.count(|counters| counters.refused += count);
        let pending = self.refusals.get();
        self.refusals.set(PendingRefusals {
            count: pending.count + count,
            limit,
            ..pending
        });
        pending.count == 0
    }

    /// When the next event about refusals is due, if any.
    pub(crate) fn refusal_due(&self, now: Instant) -> Option<Instant> {
        let pending = self.refusals.get();
        (pending.count > 0).then(|| {
            pending
                .last_event
                .map_or(now, |last| last + REFUSAL_INTERVAL)
        })
    }

    /// The event that is due.
    pub(crate) fn refusal(&self) -> Event {
        let pending = self.refusals.get();
        Event::Refused {
            listen: self.counters.get().listen,
            limit: pending.limit,
            count: pending.count,
        }
    }

    /// That event was sent.
    pub(crate) fn refusal_sent(&self, now: Instant) {
        self.refusals.set(PendingRefusals {
            last_event: Some(now),
            ..PendingRefusals::default()
        });
    }
}

#[cfg(test)]
mod tests;
