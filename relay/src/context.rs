//! What all forwards share: limits, buffers, and session changes to report.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::admit::Neighbourhood;
use crate::batch::Batch;
use crate::protocol::{Counters, Limits, Protocol, Session};

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
#[derive(Default)]
pub(crate) struct RelayContext {
    /// Where clients are.
    pub(crate) neighbourhood: Neighbourhood,
    /// The limits in force. What is open above them stays open.
    pub(crate) limits: Cell<Limits>,
    udp_sessions: Cell<u32>,
    tcp_connections: Cell<u32>,
    /// TCP connections by their client's address.
    pub(crate) sources: RefCell<HashMap<IpAddr, u32>>,
    /// Of every wanted forward.
    pub(crate) counters: RefCell<Vec<Rc<Cell<Counters>>>>,
    /// Of those of UDP that listen.
    pub(crate) tables: RefCell<Vec<Rc<dyn SessionTable>>>,
    /// When the first of the UDP sessions ends if nothing happens.
    pub(crate) expiry: Cell<Option<Instant>>,
    buffer: RefCell<Vec<u8>>,
    /// The datagrams of one receive.
    pub(crate) batch: RefCell<Batch>,
    /// Bytes that connections hold for slow receivers.
    pub(crate) held: Cell<usize>,
    sessions: RefCell<SessionChanges>,
    /// There is something to report.
    pub(crate) changed: Notify,
}

/// The sessions of one UDP forward.
pub(crate) trait SessionTable {
    /// How many there are.
    fn active(&self) -> u32;

    /// How many are not confirmed: their client has not sent after an answer.
    fn unconfirmed(&self) -> usize;

    /// Closes the oldest one that is not confirmed. Returns whether there was one.
    fn evict(&self) -> bool;
}

/// Sessions to report, by forward and client, and whether they were opened. A
/// client has one entry: the reader could not know which of two came first, and
/// a new session replaces the old one anyway.
pub(crate) type SessionChanges = BTreeMap<(IpAddr, NonZeroU16, SocketAddr), (Session, bool)>;

impl RelayContext {
    /// Nothing open, the default limits.
    pub(crate) fn new() -> Self {
        Self {
            buffer: RefCell::new(vec![0; BUFFER]),
            ..Self::default()
        }
    }

    /// How many connections or sessions are open, and the limit.
    pub(crate) fn usage(&self, protocol: Protocol) -> (&Cell<u32>, u32) {
        let limits = self.limits.get();
        match protocol {
            Protocol::Udp => (&self.udp_sessions, limits.udp_sessions),
            Protocol::Tcp => (&self.tcp_connections, limits.tcp_connections),
        }
    }

    /// The read buffer, as much of it as a connection may use now.
    pub(crate) fn buffer(&self) -> RefMut<'_, [u8]> {
        let size = if self.held.get() < FULL_READ_LIMIT {
            BUFFER
        } else {
            SMALL_READ
        };
        RefMut::map(self.buffer.borrow_mut(), |buffer| {
            buffer.get_mut(..size).unwrap_or_default()
        })
    }

    /// A session was opened, or else closed.
    pub(crate) fn session_changed(&self, session: Session, is_open: bool) {
        let client = (session.listen_address, session.listen_port, session.client);
        let mut sessions = self.sessions.borrow_mut();
        sessions.insert(client, (session, is_open));
        self.changed.notify_one();
    }

    /// How long a UDP session lasts without a datagram.
    pub(crate) fn idle(&self, is_answered: bool) -> Duration {
        let limits = self.limits.get();
        let seconds = if is_answered {
            limits.udp_idle_seconds
        } else {
            limits.udp_unanswered_seconds.min(limits.udp_idle_seconds)
        };
        Duration::from_secs(seconds.into())
    }

    /// A UDP session ends then if nothing happens.
    pub(crate) fn expires(&self, at: Instant) {
        if self.expiry.get().is_none_or(|expiry| at < expiry) {
            self.expiry.set(Some(at));
            self.changed.notify_one();
        }
    }

    /// Takes the session changes to report.
    pub(crate) fn take_sessions(&self) -> SessionChanges {
        self.sessions.take()
    }
}
