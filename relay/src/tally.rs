//! What is counted for one forward.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::protocol::{Counters, Event, Listen};

/// The shortest time between two events about one limit.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);

/// The counters of one forward, which outlive its connections.
#[derive(Debug)]
pub(super) struct Tally {
    listen: Listen,
    active: Cell<u32>,
    opened: Cell<u64>,
    failed: Cell<u64>,
    refused: Cell<u64>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    unsaid: Cell<Unsaid>,
}

/// What was refused and not told yet.
#[derive(Debug, Clone, Copy, Default)]
struct Unsaid {
    count: u64,
    limit: u32,
    told: Option<Instant>,
}

impl Tally {
    /// All counters at 0.
    pub(super) fn new(listen: Listen) -> Self {
        Self {
            listen,
            active: Cell::default(),
            opened: Cell::default(),
            failed: Cell::default(),
            refused: Cell::default(),
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
            unsaid: Cell::default(),
        }
    }

    /// A connection or session began.
    pub(super) fn begin(&self) {
        self.opened.set(self.opened.get() + 1);
        self.active.set(self.active.get() + 1);
    }

    /// A connection or session ended.
    pub(super) fn end(&self) {
        self.active.set(self.active.get().saturating_sub(1));
    }

    /// The guest could not be reached.
    pub(super) fn fail(&self) {
        self.failed.set(self.failed.get() + 1);
    }

    /// So many bytes went from a client to the guest.
    pub(super) fn carry_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    /// So many bytes went from the guest to a client.
    pub(super) fn carry_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// So many connections or datagrams were refused at that limit. Whether
    /// nothing was waiting to be told before, so that somebody has to be woken.
    pub(super) fn refuse(&self, limit: u32, count: usize) -> bool {
        let count = count as u64;
        self.refused.set(self.refused.get() + count);
        let unsaid = self.unsaid.get();
        self.unsaid.set(Unsaid {
            count: unsaid.count + count,
            limit,
            ..unsaid
        });
        unsaid.count == 0
    }

    /// When the next event about refusals is due, if any.
    pub(super) fn refusal_due(&self, now: Instant) -> Option<Instant> {
        let unsaid = self.unsaid.get();
        (unsaid.count > 0).then(|| unsaid.told.map_or(now, |told| told + BETWEEN_REFUSALS))
    }

    /// The event that is due.
    pub(super) fn refusal(&self) -> Event {
        let unsaid = self.unsaid.get();
        Event::Refused {
            listen: self.listen,
            limit: unsaid.limit,
            count: unsaid.count,
        }
    }

    /// That event was told.
    pub(super) fn refusal_told(&self, now: Instant) {
        self.unsaid.set(Unsaid {
            told: Some(now),
            ..Unsaid::default()
        });
    }

    /// The counters as the agent gets them.
    pub(super) fn counters(&self) -> Counters {
        Counters {
            listen: self.listen,
            active: self.active.get(),
            opened: self.opened.get(),
            failed: self.failed.get(),
            refused: self.refused.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::num::NonZeroU16;

    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn refusals_are_told_once_a_second_with_all_since() {
        let tally = Tally::new(Listen {
            protocol: Protocol::Udp,
            listen_address: Ipv4Addr::LOCALHOST,
            listen_port: NonZeroU16::MIN,
        });
        let count = |tally: &Tally| match tally.refusal() {
            Event::Refused {
                count, limit: 7, ..
            } => count,
            other => panic!("{other:?}"),
        };
        let start = Instant::now();
        assert_eq!(tally.refusal_due(start), None);

        assert!(tally.refuse(7, 2), "somebody has to be woken");
        assert!(!tally.refuse(7, 1), "somebody is awake");
        assert_eq!(tally.refusal_due(start), Some(start), "the first at once");
        assert_eq!(count(&tally), 3);
        tally.refusal_told(start);
        assert_eq!(tally.refusal_due(start), None);

        assert!(tally.refuse(7, 4));
        let next = start + BETWEEN_REFUSALS;
        assert_eq!(tally.refusal_due(start), Some(next));
        assert_eq!(count(&tally), 4);
        assert_eq!(tally.counters().refused, 7);
    }
}
