//! One forward's route and statistics.

use std::cell::Cell;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::context::RelayContext;
use crate::protocol::{Counters, Event, Listen};

/// The shortest time between two events about one limit.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// Where a forward listens, where it leads, and what it counts. It outlives the
/// forward's sockets.
pub(crate) struct Route {
    pub(crate) listen: Listen,
    pub(crate) guest: Cell<SocketAddrV4>,
    /// The guest's address has changed.
    pub(crate) moved: Notify,
    pub(crate) context: Rc<RelayContext>,
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

impl Route {
    /// A route with all counters at 0.
    pub(crate) fn new(listen: Listen, guest: SocketAddrV4, context: Rc<RelayContext>) -> Self {
        Self {
            listen,
            guest: Cell::new(guest),
            moved: Notify::new(),
            context,
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

    /// Whether one more connection or session may be opened. If not, that many
    /// connections or datagrams are counted as refused.
    pub(crate) fn admits(&self, count: usize) -> bool {
        let (used, limit) = self.context.usage(self.listen.protocol);
        if used.get() < limit {
            return true;
        }
        if count == 0 {
            return false;
        }
        let count = count as u64;
        self.count(|counters| counters.refused += count);
        let pending = self.refusals.get();
        self.refusals.set(PendingRefusals {
            count: pending.count + count,
            limit,
            ..pending
        });
        if pending.count == 0 {
            self.context.changed.notify_one();
        }
        false
    }

    /// Sends the event about refusals if it is due. Returns when it will be.
    pub(crate) fn send_refusals(
        &self,
        now: Instant,
        try_send: impl FnOnce(&Event) -> bool,
    ) -> Option<Instant> {
        let pending = self.refusals.get();
        if pending.count == 0 {
            return None;
        }
        let due = pending.last_event.map(|last| last + REFUSAL_INTERVAL);
        if due > Some(now) {
            return due;
        }
        let event = Event::Refused {
            listen: self.listen,
            limit: pending.limit,
            count: pending.count,
        };
        if try_send(&event) {
            self.refusals.set(PendingRefusals {
                last_event: Some(now),
                ..PendingRefusals::default()
            });
        }
        None
    }
}

/// An open connection or session, as counted in the limits and statistics.
pub(crate) struct Permit {
    pub(crate) route: Rc<Route>,
}

impl Permit {
    /// Counts it as open until the permit is dropped.
    pub(crate) fn new(route: &Rc<Route>) -> Self {
        let (used, _) = route.context.usage(route.listen.protocol);
        used.update(|used| used + 1);
        route.count(|counters| {
            counters.opened += 1;
            counters.active += 1;
        });
        Self {
            route: Rc::clone(route),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (used, _) = self.route.context.usage(self.route.listen.protocol);
        used.update(|used| used - 1);
        self.route.count(|counters| counters.active -= 1);
    }
}

#[cfg(test)]
mod tests;
