//! UDP forwards: a listener, and one socket towards the guest for each client.
//!
//! The sockets are not connected: which of the machine's addresses reaches the
//! guest is looked up for each datagram, so it may change at any time, and the
//! system tells an unconnected socket little of the errors of earlier datagrams.

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

use super::board::Board;
use super::os;
use super::protocol::{Listen, Session};
use super::tally::Tally;

pub(super) mod batch;

use batch::Group;

/// Receives of one socket before others get their turn.
const TURN: usize = 64_usize.div_ceil(os::SLOTS);

/// Failed receives in a row after which a socket rests: most such errors are
/// about a datagram sent earlier, but one that stays must not spin.
const FAILURES: u32 = 64;

/// How long it rests.
const REST: Duration = Duration::from_millis(100);

/// Buffer of a listening socket, in bytes; the system may give less. All
/// clients share it.
const LISTENER_BUFFER: usize = 4 << 20;

/// Buffer of a session's socket, in bytes; the system may give less.
const SESSION_BUFFER: usize = 1 << 20;

/// One listening UDP forward.
pub(super) struct Udp {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    listen: Listen,
    socket: UdpSocket,
    guest: Cell<SocketAddrV4>,
    sessions: RefCell<HashMap<SocketAddrV4, Entry>>,
    tally: Rc<Tally>,
    board: Rc<Board>,
}

/// A session and what carries the guest's answers.
struct Entry {
    client: Rc<Client>,
    task: JoinHandle<()>,
}

/// Why a client gets no session.
enum NotBegun {
    /// There are as many as this already.
    Limit(u32),
    /// The system gives no socket.
    NoSocket,
}

struct Client {
    address: SockAddr,
    /// The port towards the guest is this socket's.
    socket: UdpSocket,
    port: NonZeroU16,
    last: Cell<Instant>,
}

impl Udp {
    /// Listens and starts to carry.
    ///
    /// # Errors
    ///
    /// Why the system does not give the port.
    pub(super) fn open(
        listen: Listen,
        guest: SocketAddrV4,
        tally: Rc<Tally>,
        board: Rc<Board>,
    ) -> io::Result<Self> {
        let address = SocketAddrV4::new(listen.listen_address, listen.listen_port.get());
        let shared = Rc::new(Shared {
            listen,
            socket: bind(address, LISTENER_BUFFER)?,
            guest: Cell::new(guest),
            sessions: RefCell::default(),
            tally,
            board,
        });
        let task = spawn_local(inward(Rc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// The guest is there from now on. Sessions and their ports stay.
    pub(super) fn repoint(&self, guest: SocketAddrV4) {
        self.shared.guest.set(guest);
    }

    /// Closes the listener and all sessions; their sockets are closed when it
    /// returns.
    pub(super) async fn close(self) {
        self.task.abort();
        let entries: Vec<(SocketAddrV4, Entry)> = self.shared.sessions.take().into_iter().collect();
        for (client, entry) in entries {
            self.shared.ended(client, &entry);
            entry.task.await.ok();
        }
        // It was aborted, and that is what the result says.
        self.task.await.ok();
    }

    /// Takes a session of an earlier relay up again. What became of it is told
    /// when it is not what the agent believes. `false`: its port is taken.
    pub(super) fn resume(&self, session: Session, now: Instant) -> bool {
        if self.shared.sessions.borrow().contains_key(&session.client) {
            return true;
        }
        match self.shared.begin(session.client, session.port.get(), now) {
            Ok(_) => true,
            Err(NotBegun::Limit(_)) => {
                self.shared.board.closed(session);
                true
            }
            Err(NotBegun::NoSocket) => false,
        }
    }

    /// Takes a session up whose port is taken: on another one, which is told.
    pub(super) fn replace(&self, session: Session, now: Instant) {
        match self.shared.begin(session.client, 0, now) {
            Ok(client) => self.shared.board.opened(Session {
                port: client.port,
                ..session
            }),
            Err(_) => self.shared.board.closed(session),
        }
    }

    /// Ends sessions that saw no datagram after `before`, and says when the last
    /// datagram was of the one that is quiet for the longest time.
    pub(super) fn expire(&self, before: Option<Instant>) -> Option<Instant> {
        let mut oldest = None;
        self.shared.sessions.borrow_mut().retain(|&client, entry| {
            let last = entry.client.last.get();
            if before.is_some_and(|before| last <= before) {
                self.shared.ended(client, entry);
                return false;
            }
            oldest = Some(oldest.map_or(last, |oldest: Instant| oldest.min(last)));
            true
        });
        oldest
    }

    /// Ends the session that has this port towards the guest, because a forward
    /// wants it. Whether there was one.
    pub(super) async fn vacate(&self, port: NonZeroU16) -> bool {
        let Some((client, entry)) = self.shared.take_by_port(port) else {
            return false;
        };
        self.shared.ended(client, &entry);
        drop(entry.client);
        // It was aborted, and that is what the result says.
        entry.task.await.ok();
        true
    }

    /// Every session.
    pub(super) fn sessions(&self) -> Vec<Session> {
        let sessions = self.shared.sessions.borrow();
        sessions
            .iter()
            .map(|(&client, entry)| self.shared.described(client, &entry.client))
            .collect()
    }
}

impl Shared {
    /// A new session on that port; 0 means any that is free.
    fn begin(
        self: &Rc<Self>,
        address: SocketAddrV4,
        port: u16,
        now: Instant,
    ) -> Result<Rc<Client>, NotBegun> {
        self.board.take_session().map_err(NotBegun::Limit)?;
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let client = bind(any, SESSION_BUFFER).and_then(|socket| {
            let port = NonZeroU16::new(socket.local_addr()?.port());
            Ok(Rc::new(Client {
                address: address.into(),
                port: port.ok_or(ErrorKind::AddrNotAvailable)?,
                socket,
                last: Cell::new(now),
            }))
        });
        let Ok(client) = client else {
            self.board.return_session();
            return Err(NotBegun::NoSocket);
        };
        self.tally.begin();
        let task = spawn_local(outward(Rc::clone(self), Rc::clone(&client)));
        let entry = Entry {
            client: Rc::clone(&client),
            task,
        };
        self.sessions.borrow_mut().insert(address, entry);
        Ok(client)
    }

    fn take_by_port(&self, port: NonZeroU16) -> Option<(SocketAddrV4, Entry)> {
        let mut sessions = self.sessions.borrow_mut();
        let mut all = sessions.iter();
        let client = *all.find(|(_, entry)| entry.client.port == port)?.0;
        sessions.remove_entry(&client)
    }

    /// A session is over and taken out of the table.
    fn ended(&self, client: SocketAddrV4, entry: &Entry) {
        entry.task.abort();
        self.board.return_session();
        self.tally.end();
        self.board.closed(self.described(client, &entry.client));
    }

    fn described(&self, address: SocketAddrV4, client: &Client) -> Session {
        Session {
            listen_address: self.listen.listen_address,
            listen_port: self.listen.listen_port,
            client: address,
            port: client.port,
        }
    }

    /// The session of the client that just spoke so many times.
    fn session(
        self: &Rc<Self>,
        from: SocketAddrV4,
        datagrams: usize,
        now: Instant,
    ) -> Option<Rc<Client>> {
        if let Some(entry) = self.sessions.borrow().get(&from) {
            return Some(Rc::clone(&entry.client));
        }
        match self.begin(from, 0, now) {
            Ok(client) => {
                self.board.opened(self.described(from, &client));
                return Some(client);
            }
            Err(NotBegun::Limit(limit)) => {
                if self.tally.refuse(limit, datagrams) {
                    self.board.announce();
                }
            }
            Err(NotBegun::NoSocket) => self.tally.fail(),
        }
        None
    }
}

/// From the clients to the guest.
async fn inward(shared: Rc<Shared>) {
    receive(&shared.socket, &shared.board, |group, now| {
        let Some(client) = shared.session(group.from, group.len(), now) else {
            return;
        };
        client.last.set(now);
        group.send(&client.socket, &shared.guest.get().into());
        shared.tally.carry_in(group.bytes());
    })
    .await;
}

/// From the guest to one client, out of the port that the client spoke to.
async fn outward(shared: Rc<Shared>, client: Rc<Client>) {
    receive(&client.socket, &shared.board, |group, now| {
        if group.from != shared.guest.get() {
            return;
        }
        client.last.set(now);
        group.send(&shared.socket, &client.address);
        shared.tally.carry_out(group.bytes());
    })
    .await;
}

/// Hands on every datagram of a socket, without end.
async fn receive(socket: &UdpSocket, board: &Board, hand_on: impl Fn(&Group<'_>, Instant)) {
    let mut failures = 0;
    loop {
        if socket.readable().await.is_err() || failures >= FAILURES {
            failures = 0;
            sleep(REST).await;
        }
        let now = Instant::now();
        let more = board.with_batch(|batch| {
            for _ in 0..TURN {
                match batch.receive(socket) {
                    Ok(more) => {
                        for group in batch.groups() {
                            failures = 0;
                            hand_on(&group, now);
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
    os::own_port(&socket)?;
    // As far as the system does it: receiving bears such errors, and smaller buffers.
    os::keep_datagram_errors_away(&socket).ok();
    socket.set_recv_buffer_size(buffer).ok();
    socket.set_send_buffer_size(buffer).ok();
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
