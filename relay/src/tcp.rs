//! TCP forwards: a listener, and two sockets for each connection.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::board::Board;
use super::os;
use super::tally::Tally;

mod pump;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long the guest may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Rest after an accept that failed for want of sockets or memory; the client
/// stays in the queue, so that trying again at once would spin.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Quiet time after which a connection is asked whether it is alive. WSL and
/// home routers forget quiet connections after minutes to hours.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(120);

/// Time between two such questions; the system's count of them ends it.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// One listening TCP forward.
pub(super) struct Tcp {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    guest: Cell<SocketAddrV4>,
    reset: Notify,
    tally: Rc<Tally>,
    board: Rc<Board>,
}

impl Tcp {
    /// Listens and starts to accept.
    ///
    /// # Errors
    ///
    /// Why the system does not give the port.
    pub(super) fn open(
        listen: SocketAddrV4,
        guest: SocketAddrV4,
        tally: Rc<Tally>,
        board: Rc<Board>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        os::reuse(&socket)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let shared = Rc::new(Shared {
            guest: Cell::new(guest),
            reset: Notify::new(),
            tally,
            board,
        });
        let task = spawn_local(accept(Rc::clone(&shared), listener));
        Ok(Self { shared, task })
    }

    /// New connections go there from now on. Those to a guest whose address is
    /// gone would hang until somebody's patience ends, so they are reset.
    pub(super) fn repoint(&self, guest: SocketAddrV4) {
        let old = self.shared.guest.replace(guest);
        if old.ip() != guest.ip() {
            self.shared.reset.notify_one();
        }
    }

    /// Closes the listener and resets its connections.
    pub(super) async fn close(self) {
        self.task.abort();
        // It was aborted, and that is what the result says.
        self.task.await.ok();
    }
}

async fn accept(shared: Rc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The reset first: it is not for who comes after the order.
            biased;
            () = shared.reset.notified() => connections.abort_all(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => admit(&shared, client, &mut connections),
                Err(error) if transient(&error) => {}
                Err(_) => sleep(ACCEPT_REST).await,
            },
        }
    }
}

/// Whether the error is of one client that went away before it was accepted.
fn transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

fn admit(shared: &Rc<Shared>, client: TcpStream, connections: &mut JoinSet<()>) {
    let client = Breakable::new(client);
    match shared.board.take_connection() {
        Ok(()) => {
            shared.tally.begin();
            let place = Place(Rc::clone(shared));
            connections.spawn_local(async move {
                serve(&place.0, client).await;
                drop(place);
            });
        }
        Err(limit) => {
            if shared.tally.refuse(limit, 1) {
                shared.board.announce();
            }
        }
    }
}

/// A connection's place within the limit.
struct Place(Rc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.board.return_connection();
        self.0.tally.end();
    }
}

async fn serve(shared: &Shared, mut client: Breakable) {
    let guest = SocketAddr::V4(shared.guest.get());
    let connected = timeout(CONNECT, TcpStream::connect(guest)).await;
    let Ok(Ok(guest)) = connected else {
        shared.tally.fail();
        return;
    };
    let mut guest = Breakable::new(guest);
    let done = pump::both_ways(&mut client, &mut guest, &shared.tally, &shared.board).await;
    if done.is_ok() {
        client.end();
        guest.end();
    }
}

/// A connection that tells the other side when it did not end as it should:
/// with a reset, so that half a download does not look like a whole one. The
/// system knows that from the start, so it is so of a relay that is killed too.
struct Breakable {
    stream: TcpStream,
}

impl Breakable {
    fn new(stream: TcpStream) -> Self {
        // Each of these makes the connection better, none makes it possible.
        stream.set_nodelay(true).ok();
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive).ok();
        stream.set_zero_linger().ok();
        Self { stream }
    }

    /// Both directions came to their end: what is on its way still arrives.
    fn end(self) {
        SockRef::from(&self.stream).set_linger(None).ok();
    }
}

impl Deref for Breakable {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Breakable {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
