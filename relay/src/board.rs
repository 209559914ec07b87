//! What all forwards share: limits, the one buffer, and what has to be told.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

use super::protocol::{Limits, Session};
use super::udp::batch::Batch;

/// The buffer that all connections' data goes through, in bytes. Large enough
/// that a fast one costs few calls.
const BUFFER: usize = 256 * 1024;

/// What connections may hold for slow receivers before they read less at a
/// time, in bytes.
const HELD_FREELY: usize = 8 << 20;

/// What a connection reads at a time from then on, in bytes. With it, 4096
/// connections that are all stuck in both directions hold 32 MiB more.
const FRUGAL_READ: usize = 4096;

/// Shared by everything on the one thread.
pub(super) struct Board {
    limits: Cell<Limits>,
    udp_sessions: Cell<u32>,
    tcp_connections: Cell<u32>,
    buffer: RefCell<Box<[u8]>>,
    batch: RefCell<Batch>,
    held: Cell<usize>,
    unsaid: RefCell<Unsaid>,
    news: Notify,
}

/// Sessions that came and went since the last event.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    /// New ones.
    pub(super) opened: Vec<Session>,
    /// Those that ended.
    pub(super) closed: Vec<Session>,
}

impl Board {
    /// Nothing open, the default limits.
    pub(super) fn new() -> Self {
        Self {
            limits: Cell::default(),
            udp_sessions: Cell::default(),
            tcp_connections: Cell::default(),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
            batch: RefCell::new(Batch::new()),
            held: Cell::default(),
            unsaid: RefCell::default(),
            news: Notify::new(),
        }
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// Sets the limits. What is open above them stays open.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// Counts a new UDP session.
    ///
    /// # Errors
    ///
    /// The limit, when it is reached; nothing is counted then.
    pub(super) fn take_session(&self) -> Result<(), u32> {
        take(&self.udp_sessions, self.limits.get().udp_sessions)
    }

    /// A UDP session ended.
    pub(super) fn return_session(&self) {
        self.udp_sessions
            .set(self.udp_sessions.get().saturating_sub(1));
    }

    /// Counts a new TCP connection.
    ///
    /// # Errors
    ///
    /// The limit, when it is reached; nothing is counted then.
    pub(super) fn take_connection(&self) -> Result<(), u32> {
        take(&self.tcp_connections, self.limits.get().tcp_connections)
    }

    /// A TCP connection ended.
    pub(super) fn return_connection(&self) {
        self.tcp_connections
            .set(self.tcp_connections.get().saturating_sub(1));
    }

    /// The buffer, for as long as nobody waits for anything.
    pub(super) fn with_buffer<T>(&self, use_it: impl FnOnce(&mut [u8]) -> T) -> T {
        use_it(&mut self.buffer.borrow_mut())
    }

    /// The batch, for as long as nobody waits for anything.
    pub(super) fn with_batch<T>(&self, use_it: impl FnOnce(&mut Batch) -> T) -> T {
        use_it(&mut self.batch.borrow_mut())
    }

    /// How much a connection may read at a time, in bytes.
    pub(super) fn read_size(&self) -> usize {
        if self.held.get() < HELD_FREELY {
            BUFFER
        } else {
            FRUGAL_READ
        }
    }

    /// A connection holds that many bytes more.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.set(self.held.get() + bytes);
    }

    /// A connection holds that many bytes less.
    pub(super) fn release(&self, bytes: usize) {
        self.held.set(self.held.get().saturating_sub(bytes));
    }

    /// A session began.
    pub(super) fn opened(&self, session: Session) {
        let mut unsaid = self.unsaid.borrow_mut();
        // Of a client that is in both lists the reader could not tell which
        // came first; the new session replaces the old one anyway.
        unsaid.closed.retain(|old| !same_client(old, &session));
        unsaid.opened.push(session);
        self.news.notify_one();
    }

    /// A session ended.
    pub(super) fn closed(&self, session: Session) {
        let mut unsaid = self.unsaid.borrow_mut();
        unsaid.opened.retain(|new| !same_client(new, &session));
        unsaid.closed.push(session);
        self.news.notify_one();
    }

    /// There is something to be told.
    pub(super) fn announce(&self) {
        self.news.notify_one();
    }

    /// Waits for something to be told.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Takes what has to be told about sessions.
    pub(super) fn take_unsaid(&self) -> Unsaid {
        std::mem::take(&mut self.unsaid.borrow_mut())
    }
}

fn take(count: &Cell<u32>, limit: u32) -> Result<(), u32> {
    if count.get() >= limit {
        return Err(limit);
    }
    count.set(count.get() + 1);
    Ok(())
}

fn same_client(a: &Session, b: &Session) -> bool {
    (a.client, a.listen_port, a.listen_address) == (b.client, b.listen_port, b.listen_address)
}
