//! A guest that answers no attempt to connect.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use wslmesh_relay::protocol::Protocol;

use crate::harness::{QUIET, Relay, connect, echo, guest, works};
use crate::tcp::broken;

/// How long the relay lets a guest take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that wait.
const CLIENTS: u32 = 100;

/// A guest whose queue is full and stays so, while these live: Linux drops what comes.
fn silent() -> (SocketAddr, Socket, TcpStream) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 3), 0));
    listener.bind(&any.into()).expect("a free port");
    listener.listen(0).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let address = address.as_socket().expect("an address of IPv4");
    let first = TcpStream::connect(address).expect("room for one");
    let next = TcpStream::connect_timeout(&address, QUIET);
    let error = next.expect_err("a full queue");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    (address, listener, first)
}

/// As many clients of it.
fn waiting(relay: &mut Relay, at: SocketAddr) -> Vec<TcpStream> {
    let before = relay.counters(at).opened;
    let clients = (0..CLIENTS).map(|_| connect(at)).collect();
    relay.wait_for_counters(at, |c| c.opened == before + u64::from(CLIENTS));
    clients
}

#[test]
fn guest_that_never_answers_holds_up_its_clients_alone() {
    let silent = silent();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, silent.0);
    let other = relay.forward(Protocol::Tcp, guest(echo));
    let files = relay.files();
    let start = Instant::now();
    let mut stay = waiting(&mut relay, at);
    let mut go = waiting(&mut relay, at);
    assert_eq!(relay.counters(at).active, 2 * CLIENTS);
    assert!(relay.memory() < 16 << 20, "{} bytes", relay.memory());

    let asked = Instant::now();
    assert!(works(&mut connect(other)));
    let took = asked.elapsed();
    assert!(took < CONNECT_TIMEOUT / 2, "another guest: {took:?}");

    // A client that goes ends its attempt, whether it has sent something or not.
    for stream in go.iter_mut().step_by(2) {
        stream.write_all(b"question").unwrap();
    }
    for stream in go {
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    relay.wait_for_counters(at, |c| (c.active, c.failed) == (CLIENTS, CLIENTS.into()));
    assert!(start.elapsed() < CONNECT_TIMEOUT, "{:?}", start.elapsed());

    // One that only sends no more waits like the others.
    stay[0].shutdown(Shutdown::Write).unwrap();
    assert!(stay.iter_mut().all(broken));
    let took = start.elapsed();
    assert!(took >= CONNECT_TIMEOUT, "given up after {took:?}");
    assert!(took < CONNECT_TIMEOUT * 2, "given up after {took:?}");
    relay.wait_for_counters(at, |c| (c.active, c.failed) == (0, u64::from(2 * CLIENTS)));
    assert_eq!(relay.files(), files);
}

#[test]
fn clients_of_a_silent_guest_do_not_hold_up_the_relay() {
    let silent = silent();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, silent.0);
    let start = Instant::now();
    let mut moved = waiting(&mut relay, at);
    relay.repoint(at, guest(echo));
    relay.apply();
    assert!(
        moved.iter_mut().all(broken),
        "they wait for a guest that is gone"
    );
    assert!(works(&mut connect(at)));

    relay.repoint(at, silent.0);
    relay.apply();
    let mut removed = waiting(&mut relay, at);
    let forward = relay.wanted.forwards.pop().unwrap();
    relay.apply();
    assert!(removed.iter_mut().all(broken));

    relay.wanted.forwards.push(forward);
    relay.apply();
    let mut left = waiting(&mut relay, at);
    assert!(relay.finish().success());
    assert!(left.iter_mut().all(broken));
    assert!(start.elapsed() < CONNECT_TIMEOUT, "{:?}", start.elapsed());
}
