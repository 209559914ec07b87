//! TCP forwards: a listener, and two sockets for each connection.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::context::{Permit, Route};
use crate::os;

mod pump;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long the guest may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after an accept that failed for lack of sockets or memory; the client
/// stays in the queue, so an immediate retry would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Idle time before the first keepalive probe. WSL and home routers forget idle
/// connections after minutes to hours.
const KEEPALIVE_TIME: Duration = Duration::from_secs(120);

/// Time between two probes; the system's own count of them ends the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// One listening TCP forward.
pub(crate) struct Tcp {
    reset: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Tcp {
    /// Listens and starts to accept.
    ///
    /// # Errors
    ///
    /// The system refuses the port.
    pub(crate) fn open(route: Rc<Route>) -> io::Result<Self> {
        let listen = SocketAddrV4::new(route.listen.listen_address, route.listen.listen_port.get());
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        os::configure_listener(&socket)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let reset = Rc::new(Notify::new());
        let task = spawn_local(accept(route, listener, Rc::clone(&reset)));
        Ok(Self { reset, task })
    }

    /// Resets the open connections: the guest's address has changed, and they
    /// would hang until the client's timeout.
    pub(crate) fn reset_connections(&self) {
        self.reset.notify_one();
    }

    /// Closes the listener and resets its connections.
    pub(crate) async fn close(self) {
        self.task.abort();
        // The result says only that it was aborted.
        self.task.await.ok();
    }
}

async fn accept(route: Rc<Route>, listener: TcpListener, reset: Rc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // The reset first: it does not affect clients that connect after the command.
            biased;
            () = reset.notified() => connections.abort_all(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    configure(&client);
                    match route.check_limit() {
                        Ok(()) => {
                            let permit = Permit::new(&route);
                            connections.spawn_local(serve(permit, Rc::clone(&route), client));
                        }
                        Err(limit) => route.refuse(limit, 1),
                    }
                }
                Err(error) if is_transient(&error) => {}
                Err(_) => sleep(ACCEPT_BACKOFF).await,
            },
        }
    }
}

/// Whether the error is about one client that left before it was accepted.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

/// Carries one connection. Both sides are reset when it does not end properly,
/// be it because this task is aborted.
async fn serve(_permit: Permit, route: Rc<Route>, mut client: TcpStream) {
    let guest = SocketAddr::V4(route.guest.get());
    let Ok(Ok(mut guest)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(guest)).await else {
        route.stats.count(|counters| counters.failed += 1);
        return;
    };
    configure(&guest);
    if pump::both_ways(&mut client, &mut guest, &route)
        .await
        .is_ok()
    {
        // Both directions ended: data in flight still arrives.
        for stream in [&client, &guest] {
            SockRef::from(stream).set_linger(None).ok();
        }
    }
}

/// Sets the options of a connection, none of which is vital. Without linger it
/// is reset when it is dropped: half a download must not look like a whole one.
/// The kernel knows that from the start, so it holds for a killed relay too.
fn configure(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keepalive).ok();
    stream.set_zero_linger().ok();
}
