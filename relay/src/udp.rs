//! UDP forwards: a listener, and one socket towards the guest for each client.
//!
//! The sockets are not connected: the source address towards the guest is looked
//! up for each datagram, so it may change at any time, and the system reports
//! few errors of earlier datagrams on an unconnected socket.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use crate::batch::Group;
use crate::context::{Permit, RelayContext, Route};
use crate::os;
use crate::protocol::Session;

/// Receives on one socket before other tasks get their turn.
const RECEIVES_PER_TURN: usize = 64_usize.div_ceil(os::SLOTS);

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
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    route: Rc<Route>,
    socket: UdpSocket,
    sessions: RefCell<HashMap<SocketAddrV4, Entry>>,
}

/// A session and the task that carries the guest's answers.
struct Entry {
    client: Rc<Client>,
    task: JoinHandle<()>,
    _permit: Permit,
}

/// Why a session cannot be opened.
enum OpenError {
    /// That many are open already.
    Limit(u32),
    /// The system refuses the socket.
    Socket,
}

struct Client {
    session: Session,
    address: SockAddr,
    /// Towards the guest.
    socket: UdpSocket,
    last_datagram: Cell<Instant>,
}

impl Udp {
    /// Listens and starts to carry.
    ///
    /// # Errors
    ///
    /// The system refuses the port.
    pub(crate) fn open(route: Rc<Route>) -> io::Result<Self> {
        let address =
            SocketAddrV4::new(route.listen.listen_address, route.listen.listen_port.get());
        let shared = Rc::new(Shared {
            socket: bind(address, LISTENER_BUFFER)?,
            route,
            sessions: RefCell::default(),
        });
        let task = spawn_local(inward(Rc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Closes the listener and all sessions; their sockets are closed when it
    /// returns.
    pub(crate) async fn close(self) {
        self.task.abort();
        for (_, entry) in self.shared.sessions.take() {
            self.shared.closed(&entry);
            entry.task.await.ok();
        }
        // The result says only that it was aborted.
        self.task.await.ok();
    }

    /// Resumes a session of an earlier relay on that port, or on any for 0. An
    /// outcome that the agent does not expect is reported. Returns `false` when the
    /// port is taken.
    pub(crate) fn resume(&self, session: Session, port: u16, now: Instant) -> bool {
        if self.shared.sessions.borrow().contains_key(&session.client) {
            return true;
        }
        let context = &self.shared.route.context;
        match self.shared.open(session.client, port, now) {
            Ok(client) if client.session.port == session.port => {}
            Ok(client) => context.session_opened(client.session),
            Err(OpenError::Socket) if port != 0 => return false,
            Err(_) => context.session_closed(session),
        }
        true
    }

    /// Closes sessions without a datagram after `before`, and returns when the
    /// session that is idle for the longest time had its last one.
    pub(crate) fn expire(&self, before: Option<Instant>) -> Option<Instant> {
        let mut oldest = None;
        self.shared.sessions.borrow_mut().retain(|_, entry| {
            let last = entry.client.last_datagram.get();
            if before.is_some_and(|before| last <= before) {
                self.shared.closed(entry);
                return false;
            }
            oldest = Some(oldest.map_or(last, |oldest: Instant| oldest.min(last)));
            true
        });
        oldest
    }

    /// Closes the session that has this port towards the guest, because a forward
    /// wants it. Returns whether there was one.
    pub(crate) async fn vacate(&self, port: NonZeroU16) -> bool {
        let entry = {
            let mut sessions = self.shared.sessions.borrow_mut();
            let mut found = sessions.extract_if(|_, entry| entry.client.session.port == port);
            found.next()
        };
        let Some((_, entry)) = entry else {
            return false;
        };
        self.shared.closed(&entry);
        drop(entry.client);
        // The result says only that it was aborted.
        entry.task.await.ok();
        true
    }

    /// Every session.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        let sessions = self.shared.sessions.borrow();
        sessions
            .values()
            .map(|entry| entry.client.session)
            .collect()
    }
}

impl Shared {
    /// Opens a session on that port; 0 means any that is free.
    fn open(
        self: &Rc<Self>,
        address: SocketAddrV4,
        port: u16,
        now: Instant,
    ) -> Result<Rc<Client>, OpenError> {
        self.route.check_limit().map_err(OpenError::Limit)?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let client = bind(any, SESSION_BUFFER).and_then(|socket| {
            let port = NonZeroU16::new(socket.local_addr()?.port());
            Ok(Rc::new(Client {
                session: Session {
                    listen_address: self.route.listen.listen_address,
                    listen_port: self.route.listen.listen_port,
                    client: address,
                    port: port.ok_or(ErrorKind::AddrNotAvailable)?,
                },
                address: address.into(),
                socket,
                last_datagram: Cell::new(now),
            }))
        });
        let client = client.map_err(|_| OpenError::Socket)?;
        let entry = Entry {
            client: Rc::clone(&client),
            task: spawn_local(outward(Rc::clone(self), Rc::clone(&client))),
            _permit: Permit::new(&self.route),
        };
        self.sessions.borrow_mut().insert(address, entry);
        Ok(client)
    }

    /// Stops and reports a session that was removed from the table.
    fn closed(&self, entry: &Entry) {
        entry.task.abort();
        self.route.context.session_closed(entry.client.session);
    }

    /// The session of the client that just sent so many datagrams.
    fn session(
        self: &Rc<Self>,
        from: SocketAddrV4,
        datagrams: usize,
        now: Instant,
    ) -> Option<Rc<Client>> {
        if let Some(entry) = self.sessions.borrow().get(&from) {
            return Some(Rc::clone(&entry.client));
        }
        match self.open(from, 0, now) {
            Ok(client) => {
                self.route.context.session_opened(client.session);
                return Some(client);
            }
            Err(OpenError::Limit(limit)) => self.route.refuse(limit, datagrams),
            Err(OpenError::Socket) => self.route.stats.count(|counters| counters.failed += 1),
        }
        None
    }
}

/// From the clients to the guest.
async fn inward(shared: Rc<Shared>) {
    let route = &shared.route;
    carry(&shared.socket, &route.context, |group, now| {
        let Some(client) = shared.session(group.from, group.count, now) else {
            return;
        };
        client.last_datagram.set(now);
        group.send(&client.socket, &route.guest.get().into());
        let bytes = group.bytes as u64;
        route.stats.count(|counters| counters.bytes_in += bytes);
    })
    .await;
}

/// From the guest to one client, from the port that the client sent to.
async fn outward(shared: Rc<Shared>, client: Rc<Client>) {
    let route = &shared.route;
    carry(&client.socket, &route.context, |group, now| {
        if group.from != route.guest.get() {
            return;
        }
        client.last_datagram.set(now);
        group.send(&shared.socket, &client.address);
        let bytes = group.bytes as u64;
        route.stats.count(|counters| counters.bytes_out += bytes);
    })
    .await;
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
        let more = context.with_batch(|batch| {
            for _ in 0..RECEIVES_PER_TURN {
                match batch.receive(socket) {
                    Ok(more) => {
                        for group in batch.groups() {
                            failures = 0;
                            send(&group, now);
                        }
                        if !more {
                            return false;
                        }
                    }
                    Err(_) => failures += 1,
                }
            }
            true
        });
        if more {
            yield_now().await;
        }
    }
}

fn bind(address: SocketAddrV4, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    os::configure_udp(&socket)?;
    // A smaller buffer works too.
    socket.set_recv_buffer_size(buffer).ok();
    socket.set_send_buffer_size(buffer).ok();
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
