//! What all forwards share: limits, buffers, and session changes to report.

use std::cell::{Cell, RefCell};
use std::net::SocketAddrV4;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::batch::Batch;
use crate::protocol::{Limits, Listen, Protocol, Session};
use crate::stats::ForwardStats;

/// The buffer for the data of all connections, in bytes. Large enough that a
/// fast connection takes few calls.
const BUFFER: usize = 256 * 1024;

/// Data held for slow receivers, in bytes, up to which each connection may read
/// a full buffer.
const FULL_READ_LIMIT: usize = 8 << 20;

/// What a connection reads at a time beyond that, in bytes. With it, 4096
/// connections that are all stuck in both directions hold 32 MiB more.
const SMALL_READ: usize = 4096;

/// Shared by everything on the data thread.
pub(crate) struct RelayContext {
    /// The limits in force. What is open above them stays open.
    pub(crate) limits: Cell<Limits>,
    udp_sessions: Cell<u32>,
    tcp_connections: Cell<u32>,
    buffer: RefCell<Box<[u8]>>,
    batch: RefCell<Batch>,
    held: Cell<usize>,
    pending: RefCell<PendingEvents>,
    changed: Notify,
}

/// Session changes since the last event.
#[derive(Debug, Default)]
pub(crate) struct PendingEvents {
    pub(crate) opened: Vec<Session>,
    pub(crate) closed: Vec<Session>,
}

impl RelayContext {
    /// Nothing open, the default limits.
    pub(crate) fn new() -> Self {
        Self {
            limits: Cell::default(),
            udp_sessions: Cell::default(),
            tcp_connections: Cell::default(),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            batch: RefCell::new(Batch::new()),
            held: Cell::default(),
            pending: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// How many are open, and the limit.
    fn usage(&self, protocol: Protocol) -> (&Cell<u32>, u32) {
        let limits = self.limits.get();
        match protocol {
            Protocol::Udp => (&self.udp_sessions, limits.udp_sessions),
            Protocol::Tcp => (&self.tcp_connections, limits.tcp_connections),
        }
    }

    /// Lends the read buffer, as much of it as a connection may use now.
    pub(crate) fn with_buffer<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        let mut buffer = self.buffer.borrow_mut();
        let size = if self.held.get() < FULL_READ_LIMIT {
            BUFFER
        } else {
            SMALL_READ
        };
        read(buffer.get_mut(..size).unwrap_or_default())
    }

    /// Lends the datagram batch.
    pub(crate) fn with_batch<T>(&self, receive: impl FnOnce(&mut Batch) -> T) -> T {
        receive(&mut self.batch.borrow_mut())
    }

    /// A connection holds that many bytes more for a slow receiver.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    /// A connection holds that many bytes less.
    pub(crate) fn release(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
    }

    /// A session was opened.
    pub(crate) fn session_opened(&self, session: Session) {
        let mut pending = self.pending.borrow_mut();
        // Of a client that is in both lists the reader could not know which
        // came first; the new session replaces the old one anyway.
        pending.closed.retain(|old| !same_client(old, &session));
        pending.opened.push(session);
        self.changed.notify_one();
    }

    /// A session was closed.
    pub(crate) fn session_closed(&self, session: Session) {
        let mut pending = self.pending.borrow_mut();
        pending.opened.retain(|new| !same_client(new, &session));
        pending.closed.push(session);
        self.changed.notify_one();
    }

    /// Waits until there is something to report.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes the session changes to report.
    pub(crate) fn take_pending(&self) -> PendingEvents {
        self.pending.take()
    }
}

fn same_client(a: &Session, b: &Session) -> bool {
    (a.client, a.listen_port, a.listen_address) == (b.client, b.listen_port, b.listen_address)
}

/// Where a forward listens, where it leads, and what it counts. It outlives the
/// forward's sockets.
pub(crate) struct Route {
    pub(crate) listen: Listen,
    pub(crate) guest: Cell<SocketAddrV4>,
    pub(crate) stats: ForwardStats,
    pub(crate) context: Rc<RelayContext>,
}

impl Route {
    /// A route with all counters at 0.
    pub(crate) fn new(listen: Listen, guest: SocketAddrV4, context: Rc<RelayContext>) -> Self {
        Self {
            listen,
            guest: Cell::new(guest),
            stats: ForwardStats::new(listen),
            context,
        }
    }

    /// Whether one more connection or session may be opened.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub(crate) fn check_limit(&self) -> Result<(), u32> {
        let (used, limit) = self.context.usage(self.listen.protocol);
        if used.get() < limit {
            Ok(())
        } else {
            Err(limit)
        }
    }

    /// Counts connections or datagrams refused at that limit.
    pub(crate) fn refuse(&self, limit: u32, count: usize) {
        if self.stats.refuse(limit, count) {
            self.context.changed.notify_one();
        }
    }
}

/// An open connection or session, as counted in the limits and statistics.
pub(crate) struct Permit(Rc<Route>);

impl Permit {
    /// Counts it as open until the permit is dropped.
    pub(crate) fn new(route: &Rc<Route>) -> Self {
        let (used, _) = route.context.usage(route.listen.protocol);
        used.set(used.get() + 1);
        route.stats.count(|counters| {
            counters.opened += 1;
            counters.active += 1;
        });
        Self(Rc::clone(route))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (used, _) = self.0.context.usage(self.0.listen.protocol);
        used.set(used.get().saturating_sub(1));
        let stats = &self.0.stats;
        stats.count(|counters| counters.active = counters.active.saturating_sub(1));
    }
}
