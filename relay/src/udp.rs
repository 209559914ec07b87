//! UDP forwards: a listener, and one socket towards the guest for each client.
//!
//! The sockets are not connected: the source address towards the guest is looked
//! up for each datagram, so it may change at any time, and the system reports
//! few errors of earlier datagrams on an unconnected socket.
//!
//! Anyone can make up the sender of a datagram, and some guests answer all. So a session
//! counts for little until its client has sent again after an answer, and so has got it:
//! it makes room for a new one, and the agent does not hear of it. It ends sooner while
//! the guest has not answered.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockAddr;
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use crate::ancillary::OwnAddress;
use crate::batch::Group;
use crate::context::{RelayContext, SessionTable};
use crate::os;
use crate::protocol::{Protocol, Session};
use crate::quota::reserve;
use crate::route::{Permit, Route};
use crate::socket;

/// Receives on one socket before other tasks get their turn.
const RECEIVES_PER_TURN: usize = 64_usize.div_ceil(os::SLOTS);

/// Sessions that make room for others in one turn. Opening one takes far longer than
/// receiving a datagram, and a flood must leave time for those of known clients.
const EVICTIONS_PER_TURN: u32 = 4;

/// Failed receives in a row after which a socket pauses: most such errors are
/// about a datagram sent earlier, but one that persists must not spin.
const MAX_FAILURES: u32 = 64;

/// How long it pauses.
const FAILURE_BACKOFF: Duration = Duration::from_millis(100);

/// Buffer of a listening socket, in bytes, shared by all clients; the system may
/// give less.
const LISTENER_BUFFER: usize = 4 << 20;

/// Buffer of a session's socket, in bytes; the system may give less.
const SESSION_BUFFER: usize = 1 << 20;

/// One listening UDP forward.
pub(crate) struct Udp {
    route: Rc<Route>,
    socket: UdpSocket,
    sessions: RefCell<HashMap<SocketAddr, Entry>>,
    /// The clients that have not sent after an answer, the oldest session first.
    unconfirmed: RefCell<BTreeMap<u64, SocketAddr>>,
    /// The sessions that made room in this turn, which began then.
    evictions: Cell<(Option<Instant>, u32)>,
}

/// A session and the task that carries the guest's answers.
struct Entry {
    client: Rc<Client>,
    task: JoinHandle<()>,
    _permit: Permit,
}

struct Client {
    session: Session,
    address: SockAddr,
    /// The address of this machine that it sent to last, where the listener has several.
    asked: Cell<Option<OwnAddress>>,
    /// Towards the guest.
    socket: UdpSocket,
    last_datagram: Cell<Instant>,
    /// The guest has answered.
    is_answered: Cell<bool>,
    /// Its number among the unconfirmed ones, while it is one.
    unconfirmed: Cell<Option<u64>>,
}

impl Udp {
    /// Listens.
    ///
    /// # Errors
    ///
    /// The system refuses the port.
    pub(crate) fn open(route: Rc<Route>) -> io::Result<Rc<Self>> {
        let socket = bind(route.listen.address(), LISTENER_BUFFER)?;
        if route.listen.listen_address.is_unspecified() {
            // Without it answers come from the address that the system chooses.
            os::report_destinations(&socket).ok();
        }
        Ok(Rc::new(Self {
            socket,
            route,
            sessions: RefCell::default(),
            unconfirmed: RefCell::default(),
            evictions: Cell::default(),
        }))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Closes all sessions; their sockets are closed when it returns.
    pub(crate) async fn close(&self) {
        for entry in self.sessions.take().into_values() {
            self.close_session(entry).await.ok();
        }
    }

    /// Resumes a session of an earlier relay on that port, or on any for 0. An
    /// outcome that the agent does not expect is reported. Returns `false` to be
    /// called again with 0.
    pub(crate) fn resume(self: &Rc<Self>, session: Session, port: u16) -> bool {
        if self.sessions.borrow().contains_key(&session.client) {
            return true;
        }
        let context = &self.route.context;
        let may_open = self.route.admits(session.client.ip()) && self.route.has_room();
        let opened = may_open.then(|| self.open_session(session.client, port, true));
        match opened.and_then(Result::ok) {
            Some(client) if client.session.port == session.port => {}
            Some(client) => context.session_changed(client.session, true),
            None if port != 0 => return false,
            None => context.session_changed(session, false),
        }
        true
    }

    /// Closes the sessions that have been idle for their time, and returns when the
    /// next one will have been.
    pub(crate) fn expire(&self, now: Instant) -> Option<Instant> {
        let end = |entry: &Entry| {
            let client = &entry.client;
            client.last_datagram.get() + self.route.context.idle(client.is_answered.get())
        };
        let mut sessions = self.sessions.borrow_mut();
        for (_, entry) in sessions.extract_if(|_, entry| end(entry) <= now) {
            self.close_session(entry);
        }
        sessions.values().map(end).min()
    }

    /// Closes the sessions of clients that the forward accepts no more, and those whose socket
    /// is of another family than the guest's address.
    pub(crate) fn end_unadmitted(&self) {
        let guest = self.route.guest.get();
        let leads_there = |entry: &Entry| {
            let local = entry.client.socket.local_addr();
            local.is_ok_and(|local| local.is_ipv4() == guest.is_ipv4())
        };
        let mut sessions = self.sessions.borrow_mut();
        let ended = sessions
            .extract_if(|client, entry| !self.route.admits(client.ip()) || !leads_there(entry));
        for (_, entry) in ended {
            self.close_session(entry);
        }
    }

    /// Closes the session that has this port towards the guest, because a forward
    /// wants it. Returns whether there was one.
    pub(crate) async fn vacate(&self, port: NonZeroU16) -> bool {
        let found = {
            let mut sessions = self.sessions.borrow_mut();
            let mut found = sessions.extract_if(|_, entry| entry.client.session.port == port);
            found.next()
        };
        let Some((_, entry)) = found else {
            return false;
        };
        self.close_session(entry).await.ok();
        true
    }

    /// Makes room for one more session: of the forwards from which that takes nothing
    /// reserved, the one with the most unconfirmed sessions loses the oldest of them.
    fn make_room(&self) -> bool {
        let context = &self.route.context;
        let tables = context.tables.borrow();
        let (_, limit) = context.usage(Protocol::Udp);
        let reserve = reserve(limit, u32::try_from(tables.len()).unwrap_or(u32::MAX));
        let others = tables.iter().filter(|table| table.active() > reserve);
        let most = others.max_by_key(|table| table.unconfirmed());
        match most.filter(|table| table.unconfirmed() > self.unconfirmed()) {
            Some(other) => other.evict(),
            None => self.evict(),
        }
    }

    /// Stops the task of a session that was removed from the table, and reports it. The
    /// socket is closed when the task has ended; its result says only that it was aborted.
    fn close_session(&self, entry: Entry) -> JoinHandle<()> {
        let Entry { client, task, .. } = entry;
        if let Some(number) = client.unconfirmed.get() {
            self.unconfirmed.borrow_mut().remove(&number);
        } else {
            self.route.context.session_changed(client.session, false);
        }
        task.abort();
        task
    }

    /// Every session that is confirmed.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let sessions = self.sessions.borrow();
        let clients = sessions.values().map(|entry| &entry.client);
        let confirmed = clients.filter(|client| client.unconfirmed.get().is_none());
        confirmed.map(|client| client.session).collect()
    }

    /// Opens a session on that port; 0 means any that is free.
    fn open_session(
        self: &Rc<Self>,
        client: SocketAddr,
        port: u16,
        is_resumed: bool,
    ) -> io::Result<Rc<Client>> {
        let any = match self.route.guest.get().ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = bind(SocketAddr::new(any, port), SESSION_BUFFER)?;
        let port = NonZeroU16::new(socket.local_addr()?.port());
        let now = Instant::now();
        let opened = Rc::new(Client {
            session: Session {
                listen_address: self.route.listen.listen_address,
                listen_port: self.route.listen.listen_port,
                client,
                port: port.ok_or(ErrorKind::AddrNotAvailable)?,
            },
            address: socket::as_sent_from(self.address()?, client).into(),
            asked: Cell::new(None),
            socket,
            last_datagram: Cell::new(now),
            is_answered: Cell::new(is_resumed),
            unconfirmed: Cell::new(None),
        });
        if !is_resumed {
            let mut unconfirmed = self.unconfirmed.borrow_mut();
            let last = unconfirmed.last_key_value();
            let number = last.map_or(0, |(last, _)| last.saturating_add(1));
            unconfirmed.insert(number, client);
            opened.unconfirmed.set(Some(number));
        }
        let entry = Entry {
            client: Rc::clone(&opened),
            task: spawn_local(Rc::clone(self).carry_outward(Rc::clone(&opened))),
            _permit: Permit::new(&self.route),
        };
        self.sessions.borrow_mut().insert(client, entry);
        let context = &self.route.context;
        context.expires(now + context.idle(is_resumed));
        Ok(opened)
    }

    /// The session of the client that sent these datagrams, received in a turn that
    /// began then.
    fn session(self: &Rc<Self>, group: &Group<'_>, turn: Instant) -> Option<Rc<Client>> {
        let from = group.from;
        if let Some(entry) = self.sessions.borrow().get(&from) {
            return Some(Rc::clone(&entry.client));
        }
        if !self.route.admits(from.ip()) {
            let count = group.count as u64;
            self.route.count(|counters| counters.refused += count);
            return None;
        }
        if !self.route.has_room() {
            let (last, count) = self.evictions.get();
            let count = if last == Some(turn) { count } else { 0 };
            if count == EVICTIONS_PER_TURN || !self.make_room() {
                self.route.refuse(group.count, None);
                return None;
            }
            self.evictions.set((Some(turn), count + 1));
            self.route.refuse(1, None);
        }
        let opened = self.open_session(from, 0, false);
        if opened.is_err() {
            self.route.count(|counters| counters.failed += 1);
        }
        opened.ok()
    }

    /// Carries datagrams from the clients to the guest, without end.
    pub(crate) async fn carry_inward(self: Rc<Self>) {
        let route = &self.route;
        carry(&self.socket, &route.context, |group, now| {
            let Some(client) = self.session(group, now) else {
                return;
            };
            client.last_datagram.set(now);
            client.asked.set(group.to);
            if client.is_answered.get()
                && let Some(number) = client.unconfirmed.take()
            {
                self.unconfirmed.borrow_mut().remove(&number);
                route.context.session_changed(client.session, true);
            }
            group.send(&client.socket, &route.guest.get().into(), None);
            route.count(|counters| counters.bytes_in += group.bytes as u64);
        })
        .await;
    }

    /// From the guest to one client, from the address and port that the client sent to.
    async fn carry_outward(self: Rc<Self>, client: Rc<Client>) {
        let route = &self.route;
        carry(&client.socket, &route.context, |group, now| {
            if group.from == route.guest.get() {
                client.is_answered.set(true);
                client.last_datagram.set(now);
                group.send(&self.socket, &client.address, client.asked.get());
                route.count(|counters| counters.bytes_out += group.bytes as u64);
            }
        })
        .await;
    }
}

impl SessionTable for Udp {
    fn active(&self) -> u32 {
        self.route.active()
    }

    fn unconfirmed(&self) -> usize {
        self.unconfirmed.borrow().len()
    }

    fn evict(&self) -> bool {
        let oldest = self.unconfirmed.borrow_mut().pop_first();
        let entry = oldest.and_then(|(_, client)| self.sessions.borrow_mut().remove(&client));
        entry.map(|entry| self.close_session(entry)).is_some()
    }
}

/// Passes every datagram of a socket on, without end.
async fn carry(socket: &UdpSocket, context: &RelayContext, send: impl Fn(&Group<'_>, Instant)) {
    let mut failures = 0;
    loop {
        if socket.readable().await.is_err() || failures >= MAX_FAILURES {
            failures = 0;
            sleep(FAILURE_BACKOFF).await;
        }
        let now = Instant::now();
        let more = {
            let mut batch = context.batch.borrow_mut();
            (0..RECEIVES_PER_TURN).all(|_| match batch.receive(socket) {
                Ok(more) => {
                    for group in batch.groups() {
                        failures = 0;
                        send(&group, now);
                    }
                    more
                }
                Err(_) => {
                    failures += 1;
                    true
                }
            })
        };
        if more {
            yield_now().await;
        }
    }
}

fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = socket::bind(address, Protocol::Udp)?;
    // A smaller buffer works too.
    socket.set_recv_buffer_size(buffer).ok();
    socket.set_send_buffer_size(buffer).ok();
    UdpSocket::from_std(socket.into())
}
