//! UDP sessions: their lifetime, and how they survive their relay.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::thread::sleep;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Command, Event, Listen, Protocol, Session};

use crate::harness::{
    DEADLINE, Relay, client, connect, datagram, echo, expect_no_datagram, guest, to, udp,
};
use crate::udp::{confirm, exchange};

/// The session of that client, as the relay should report it.
pub(crate) fn session(at: SocketAddr, client: &UdpSocket, port: SocketAddr) -> Session {
    Session {
        listen_address: at.ip(),
        listen_port: NonZeroU16::new(at.port()).expect("a port"),
        client: client.local_addr().expect("an address"),
        port: NonZeroU16::new(port.port()).expect("a port"),
    }
}

#[test]
fn session_is_reported_once() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &guest);
    // The client may be made up until it sends again.
    relay.expect_no_event();
    exchange(&client, &guest);
    assert_eq!(relay.opened(), [session(at, &client, port)]);
    exchange(&client, &guest);
    relay.expect_no_event();

    relay.wanted.forwards.clear();
    relay.apply_without_waiting();
    assert_eq!(relay.closed(), [session(at, &client, port)]);
}

/// A second agent gets what the relay is and has, and cuts no connection.
#[test]
fn next_agent_takes_over() {
    let (guest, peer) = (guest(echo), udp());
    let mut relay = Relay::start();
    let tcp = relay.forward(Protocol::Tcp, guest);
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let client = client(at);
    let port = confirm(&client, &peer);
    relay.opened();
    let mut stream = connect(tcp);
    let mut echoes = |text: &[u8; 5]| {
        stream.write_all(text).unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, text);
    };
    echoes(b"first");

    // The first one was killed in the middle of a line.
    relay.write(b"{\"command\":\"set-for");
    relay.write(b"\n");
    relay.send(&Command::Attach { id: 1000 });
    let own = relay.until(|event| match event {
        Event::Ready { attached, .. } => Some(attached),
        _ => None,
    });
    assert_eq!(own, Some(1000));
    let Event::Sessions {
        complete: true,
        opened,
        closed,
    } = relay.event()
    else {
        panic!("the whole table");
    };
    assert_eq!((opened, closed), (vec![session(at, &client, port)], vec![]));
    let Event::Applied { serial, listeners } = relay.event() else {
        panic!("the forwards in force");
    };
    assert_eq!((serial, listeners.len()), (1000, 2));
    assert!(listeners.iter().all(|one| one.failure.is_none()));
    relay.wanted.serial = 1000;
    relay.apply();
    echoes(b"again");
    assert_eq!(exchange(&client, &peer), port);
}

#[test]
fn idle_session_is_closed() {
    let guest = udp();
    let mut relay = Relay::start();
    relay.wanted.limits.udp_idle_seconds = 2;
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let (quiet, talker, listener) = (client(at), client(at), client(at));
    let of_quiet = confirm(&quiet, &guest);
    let of_talker = confirm(&talker, &guest);
    let of_listener = confirm(&listener, &guest);

    // A datagram in either direction keeps a session.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(3500) {
        talker.send(b"up").unwrap();
        assert_eq!(datagram(&guest), (b"up".to_vec(), of_talker));
        guest.send_to(b"down", of_listener).unwrap();
        assert_eq!(datagram(&listener).0, b"down");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(relay.closed(), [session(at, &quiet, of_quiet)]);
    relay.wait_for_counters(at, |counters| counters.active == 2);

    // Its port is closed, and the next datagram opens a new session.
    guest.send_to(b"late", of_quiet).unwrap();
    expect_no_datagram(&quiet);
    let mut ended = relay.closed();
    while ended.len() < 2 {
        ended.extend(relay.closed());
    }
    relay.wait_for_counters(at, |counters| counters.active == 0);
    exchange(&quiet, &guest);
    relay.wait_for_counters(at, |c| (c.active, c.opened) == (1, 4));
}

#[test]
fn idle_sessions_are_closed_in_batches() {
    let guest = udp();
    let mut relay = Relay::start();
    relay.wanted.limits.udp_idle_seconds = 2;
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let clients: Vec<_> = (0..100).map(|_| client(at)).collect();
    let start = Instant::now();
    for client in &clients {
        confirm(client, &guest);
        sleep(Duration::from_millis(2));
    }
    let (mut ended, mut looks) = (0, 0);
    while ended < clients.len() {
        ended += relay.closed().len();
        looks += 1;
    }
    // None ends too early, and a look is a hundredth of their time apart.
    let since = start.elapsed().checked_sub(Duration::from_secs(2));
    let most = since.expect("none ended early").as_millis() / 20 + 2;
    assert!(looks <= most, "{looks} looks, {most} would do");
}

/// A session could not be resumed: another program has its port.
struct PortTaken;

/// A relay is killed and the guest is the next one to send.
fn crash() -> Result<(), PortTaken> {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().expect("an address"));
    let (client, other) = (client(at), client(at));
    let ports = [confirm(&client, &guest), confirm(&other, &guest)];
    let mut sessions = relay.opened();
    while sessions.len() < 2 {
        sessions.extend(relay.opened());
    }
    let mut wanted = relay.wanted.clone();
    relay.kill();

    let mut relay = Relay::start();
    // A session of a forward that is not wanted.
    let foreign = Session {
        listen_port: NonZeroU16::MIN,
        ..sessions[0]
    };
    wanted.sessions = sessions;
    wanted.sessions.push(foreign);
    relay.wanted = wanted;
    if relay.failure().is_some() {
        return Err(PortTaken);
    }
    for (client, port) in [(&client, ports[0]), (&other, ports[1])] {
        guest.send_to(b"still there?", port).expect("sent");
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a socket");
        let mut answer = [0; 12];
        match client.recv(&mut answer) {
            Ok(12) => assert_eq!(&answer, b"still there?"),
            _ => return Err(PortTaken),
        }
        client.set_read_timeout(Some(DEADLINE)).expect("a socket");
        assert_eq!(
            exchange(client, &guest),
            port,
            "another port after the crash"
        );
    }
    relay.expect_no_event(); // Unchanged sessions are not reported.
    relay.wait_for_counters(at, |c| (c.active, c.failed) == (2, 0));

    // Existing sessions are ignored.
    relay.apply();
    relay.expect_no_event();
    assert_eq!(exchange(&client, &guest), ports[0]);
    Ok(())
}

#[test]
fn sessions_survive_a_crash_and_the_guest_may_send_first() {
    // Another program may get one of the ports, but not three times in a row.
    let tries = (0..3).map(|_| crash());
    assert!(tries.into_iter().any(|outcome| outcome.is_ok()));
}

#[test]
fn session_with_a_port_in_use_gets_another_one() {
    let (guest, owner) = (udp(), UdpSocket::bind("0.0.0.0:0").unwrap());
    let taken = owner.local_addr().unwrap();
    let client = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    client.connect(at).unwrap();
    relay.wanted.sessions = vec![session(at, &client, taken)];
    relay.apply_without_waiting();
    // The table is complete before the command is confirmed.
    let (sessions, applied) = (relay.event(), relay.event());
    let Event::Sessions {
        complete: false,
        opened,
        closed,
    } = sessions
    else {
        panic!("{sessions:?}");
    };
    assert!(closed.is_empty());
    assert!(matches!(applied, Event::Applied { .. }), "{applied:?}");
    let port = exchange(&client, &guest);
    assert_ne!(port.port(), taken.port());
    assert_eq!(opened, [session(at, &client, port)]);
}

#[test]
fn sessions_above_the_limit_are_not_resumed() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let clients = [udp(), udp()];
    relay.wanted.limits.udp_sessions = 1;
    relay.wanted.sessions = clients
        .iter()
        .map(|client| {
            let free = UdpSocket::bind("0.0.0.0:0").unwrap();
            session(at, client, free.local_addr().unwrap())
        })
        .collect();
    relay.apply_without_waiting();
    assert_eq!(relay.closed(), [relay.wanted.sessions[1]]);
    relay.wait_for_counters(at, |counters| counters.active == 1);
}

#[test]
fn forward_takes_its_port_from_a_session() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let client = client(at);
    let old = exchange(&client, &guest);
    let listen = Listen {
        protocol: Protocol::Udp,
        listen_address: at.ip(),
        listen_port: NonZeroU16::new(old.port()).unwrap(),
    };
    let new_guest = guest.local_addr().unwrap();
    relay.wanted.forwards.push(to(listen, new_guest));
    let applied = relay.apply();
    assert_eq!(applied[1].failure, None);
    let new = exchange(&client, &guest);
    assert_ne!(old, new);
    let through_new = crate::harness::client(SocketAddr::from((listen.listen_address, old.port())));
    exchange(&through_new, &guest);
}
