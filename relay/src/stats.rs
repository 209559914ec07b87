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
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU16;

    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn refusals_are_reported_once_a_second_with_their_count() {
        let stats = ForwardStats::new(Listen {
            protocol: Protocol::Udp,
            listen_address: Ipv4Addr::LOCALHOST,
            listen_port: NonZeroU16::MIN,
        });
        let count = |stats: &ForwardStats| match stats.refusal() {
            Event::Refused {
                count, limit: 7, ..
            } => count,
            other => panic!("{other:?}"),
        };
        let start = Instant::now();
        assert_eq!(stats.refusal_due(start), None);

        assert!(stats.refuse(7, 2), "the event loop must be woken");
        assert!(!stats.refuse(7, 1), "the event loop is awake");
        assert_eq!(stats.refusal_due(start), Some(start), "the first at once");
        assert_eq!(count(&stats), 3);
        stats.refusal_sent(start);
        assert_eq!(stats.refusal_due(start), None);

        assert!(stats.refuse(7, 4));
        let next = start + REFUSAL_INTERVAL;
        assert_eq!(stats.refusal_due(start), Some(next));
        assert_eq!(count(&stats), 4);
        assert_eq!(stats.counters().refused, 7);
    }
}
