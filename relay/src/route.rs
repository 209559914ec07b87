//! One forward's route and statistics.

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::context::RelayContext;
use crate::protocol::{Admit, Counters, Event, Forward, Listen, ProxyProtocol};
use crate::quota;

/// The shortest time between two events of a forward about its limit.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// With many forwards it is as many times this one, so that who floods them all
/// floods no agent.
const REFUSAL_INTERVAL_EACH: Duration = Duration::from_millis(50);

/// Where a forward listens, where it leads, and what it counts. It outlives the
/// forward's sockets.
pub(crate) struct Route {
    pub(crate) listen: Listen,
    pub(crate) guest: Cell<SocketAddr>,
    pub(crate) admit: Cell<Admit>,
    /// Of the connections that come.
    pub(crate) proxy_protocol: Cell<Option<ProxyProtocol>>,
    /// The guest's address has changed, or whom the forward accepts.
    pub(crate) changed: Notify,
    pub(crate) context: Rc<RelayContext>,
    pub(crate) counters: Rc<Cell<Counters>>,
    refusals: Cell<PendingRefusals>,
}

/// Refusals that no event has reported yet.
#[derive(Debug, Clone, Copy, Default)]
struct PendingRefusals {
    count: u64,
    limit: u32,
    source: Option<IpAddr>,
    last_event: Option<Instant>,
}

impl Route {
    /// A route with all counters at 0.
    pub(crate) fn new(forward: &Forward, context: Rc<RelayContext>) -> Self {
        let listen = forward.listen;
        Self {
            listen,
            guest: Cell::new(guest(forward)),
            admit: Cell::new(forward.admit),
            proxy_protocol: Cell::new(forward.proxy_protocol),
            changed: Notify::new(),
            context,
            counters: Rc::new(Cell::new(Counters {
                listen,
                active: 0,
                opened: 0,
                failed: 0,
                refused: 0,
                bytes_in: 0,
                bytes_out: 0,
            })),
            refusals: Cell::default(),
        }
    }

    /// Changes where it leads and whom it accepts. Returns whether that may end some
    /// of what is open.
    pub(crate) fn change(&self, forward: &Forward) -> bool {
        self.proxy_protocol.set(forward.proxy_protocol);
        let guest = guest(forward);
        let before = self.guest.replace(guest);
        // Where it takes more than before, a check ends nothing.
        let has_narrowed = self.admit.replace(forward.admit) != forward.admit;
        if before.ip() != guest.ip() || has_narrowed {
            self.changed.notify_one();
        }
        has_narrowed || before.is_ipv4() != guest.is_ipv4()
    }

    /// Whether a client with this address may come in.
    pub(crate) fn admits(&self, from: IpAddr) -> bool {
        self.context.neighbourhood.admits(self.admit.get(), from)
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

    /// The number of open connections or sessions.
    pub(crate) fn active(&self) -> u32 {
        self.counters.get().active
    }

    /// Whether one more connection or session may be opened.
    pub(crate) fn has_room(&self) -> bool {
        let (used, limit) = self.context.usage(self.listen.protocol);
        let counters = self.context.counters.borrow();
        let others = counters.iter().map(|counters| counters.get());
        let others = others.filter(|other| {
            other.listen.protocol == self.listen.protocol && other.listen != self.listen
        });
        let others = others.map(|other| other.active);
        quota::has_room(limit, used.get(), self.active(), others)
    }

    /// Counts that many connections or datagrams as refused, at the limit of all or
    /// at that of this address.
    pub(crate) fn refuse(&self, count: usize, source: Option<IpAddr>) {
        let count = count as u64;
        self.count(|counters| counters.refused += count);
        let limit = match source {
            Some(_) => self.context.limits.get().tcp_connections_per_source,
            None => self.context.usage(self.listen.protocol).1,
        };
        let pending = self.refusals.get();
        self.refusals.set(PendingRefusals {
            count: pending.count + count,
            limit,
            source,
            ..pending
        });
        if pending.count == 0 {
            self.context.changed.notify_one();
        }
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
        let forwards = u32::try_from(self.context.counters.borrow().len()).unwrap_or(u32::MAX);
        let interval = REFUSAL_INTERVAL.max(REFUSAL_INTERVAL_EACH.saturating_mul(forwards));
        let due = pending.last_event.map(|last| last + interval);
        if due > Some(now) {
            return due;
        }
        let event = Event::Refused {
            listen: self.listen,
            limit: pending.limit,
            source: pending.source,
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

fn guest(forward: &Forward) -> SocketAddr {
    SocketAddr::new(forward.connect_address, forward.connect_port.get())
}

/// An open connection or session, as counted in the limits and statistics.
pub(crate) struct Permit {
    pub(crate) route: Rc<Route>,
    /// Of a connection, where it comes from.
    source: Option<IpAddr>,
}

impl Permit {
    /// Permits a connection from there, or counts it as refused.
    pub(crate) fn for_connection(route: &Rc<Route>, source: IpAddr) -> Option<Self> {
        if !route.admits(source) {
            // The counters alone say so, as a firewall's would.
            route.count(|counters| counters.refused += 1);
            return None;
        }
        let most = route.context.limits.get().tcp_connections_per_source;
        let sources = &route.context.sources;
        let open = sources.borrow().get(&source).copied().unwrap_or_default();
        let at_limit = (open >= most).then_some(source);
        if at_limit.is_some() || !route.has_room() {
            route.refuse(1, at_limit);
            return None;
        }
        *sources.borrow_mut().entry(source).or_default() += 1;
        let mut permit = Self::new(route);
        permit.source = Some(source);
        Some(permit)
    }

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
            source: None,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (used, _) = self.route.context.usage(self.route.listen.protocol);
        used.update(|used| used - 1);
        self.route.count(|counters| counters.active -= 1);
        if let Some(source) = self.source {
            let mut sources = self.route.context.sources.borrow_mut();
            if let Entry::Occupied(mut open) = sources.entry(source) {
                *open.get_mut() -= 1;
                if *open.get() == 0 {
                    open.remove();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
