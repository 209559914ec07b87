//! TCP forwards: a listener, and two sockets for each connection.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::protocol::{Protocol, ProxyProtocol};
use crate::route::{Permit, Route};
use crate::socket::{bind, canonical};

pub(crate) mod proxy;
mod pump;

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long the guest may take to accept a connection, in seconds.
const CONNECT_SECONDS: u32 = 10;

/// Pause after an accept that failed for lack of sockets or memory; the client
/// stays in the queue, so an immediate retry would spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Idle time before the first keepalive probe. WSL and home routers forget idle
/// connections after minutes to hours.
const KEEPALIVE_TIME: Duration = Duration::from_secs(120);

/// Time between two probes; the system's own count of them ends the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// Listens and starts to accept; the address too that it listens on. When the task is
/// aborted, the listener is closed and its connections are reset.
///
/// # Errors
///
/// The system refuses the port.
pub(crate) fn listen(route: Rc<Route>) -> io::Result<(JoinHandle<()>, SocketAddr)> {
    let socket = bind(route.listen.address(), Protocol::Tcp)?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let at = listener.local_addr()?;
    Ok((spawn_local(accept(route, listener)), at))
}

async fn accept(route: Rc<Route>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    // The guest's address and the client's of each.
    let mut ends = HashMap::new();
    loop {
        tokio::select! {
            // The reset first: it does not affect clients that connect after the command.
            biased;
            // With an address that is gone they would hang until the client's timeout.
            () = route.changed.notified() => {
                for (connection, guest, source) in ends.values() {
                    let has_moved = route.guest.get().ip() != *guest;
                    if has_moved || !route.admits(*source) {
                        AbortHandle::abort(connection);
                    }
                }
            }
            Some(ended) = connections.join_next_with_id() => {
                ends.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            accepted = listener.accept() => match accepted {
                Ok((client, from)) => {
                    configure(&client);
                    let from = canonical(from).ip();
                    if let Some(permit) = Permit::for_connection(&route, from) {
                        let guest = route.guest.get();
                        let connection = connections.spawn_local(serve(permit, client, guest));
                        ends.insert(connection.id(), (connection, guest.ip(), from));
                    }
                }
                // One client left before it was accepted.
                Err(error) if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset
                        | ErrorKind::Interrupted
                ) => {}
                Err(_) => sleep(ACCEPT_BACKOFF).await,
            },
        }
    }
}

/// Tells the guest who the client is, where the forward says so. Nothing else was sent to it
/// yet, so the header fits into the socket's buffer.
async fn introduce(route: &Route, client: &TcpStream, guest: &TcpStream) -> io::Result<()> {
    let header = match route.proxy_protocol.get() {
        None => return Ok(()),
        Some(ProxyProtocol::V2) => proxy::header(client.peer_addr()?, client.local_addr()?),
    };
    loop {
        guest.writable().await?;
        match guest.try_write(&header) {
            Ok(sent) if sent == header.len() => return Ok(()),
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Carries one connection. Both sides are reset when it does not end properly,
/// be it because this task is aborted.
async fn serve(permit: Permit, mut client: TcpStream, guest: SocketAddr) {
    let route = &permit.route;
    let reached = async {
        let guest = connect(&client, guest).await?;
        configure(&guest);
        introduce(route, &client, &guest).await?;
        io::Result::Ok(guest)
    };
    let Ok(mut guest) = reached.await else {
        route.count(|counters| counters.failed += 1);
        return;
    };
    let ended = pump::both_ways(&mut client, &mut guest, route).await;
    if ended.is_ok() {
        // Data in flight still arrives.
        for stream in [&client, &guest] {
            SockRef::from(stream).set_linger(None).ok();
        }
    }
}

/// Connects to the guest, while its client is there. A client that has ended its
/// direction is: it may want the answer, or a greeting.
async fn connect(client: &TcpStream, guest: SocketAddr) -> io::Result<TcpStream> {
    let mut connecting = pin!(TcpStream::connect(guest));
    for _ in 0..CONNECT_SECONDS {
        if let Ok(connected) = timeout(Duration::from_secs(1), &mut connecting).await {
            return connected;
        }
        check(client)?;
    }
    Err(ErrorKind::TimedOut.into())
}

/// Fails on a connection that is no more. It sends nothing.
fn check(stream: &TcpStream) -> io::Result<()> {
    match SockRef::from(stream).send(&[]) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
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
