//! UDP forwards: datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Command, Event, FailureKind, Listen, Protocol};

use crate::harness::{
    DEADLINE, Relay, address, client, datagram, expect_no_datagram, noise, to, udp,
};

/// Sends one datagram to the guest and one back; returns the address that the
/// guest saw.
pub(crate) fn exchange(client: &UdpSocket, guest: &UdpSocket) -> SocketAddr {
    client.send(b"question").expect("sent");
    let (question, from) = datagram(guest);
    assert_eq!(question, b"question");
    guest.send_to(b"answer", from).expect("sent");
    assert_eq!(datagram(client).0, b"answer");
    from
}

/// The same until the relay knows that the client is there.
pub(crate) fn confirm(client: &UdpSocket, guest: &UdpSocket) -> SocketAddr {
    exchange(client, guest);
    exchange(client, guest)
}

#[test]
fn answers_come_from_the_listening_port() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let (first, second) = (client(at), client(at));
    let port = exchange(&first, &guest);
    let other = exchange(&second, &guest);
    assert_ne!(port, other, "two clients behind one port");
    assert_eq!(
        exchange(&first, &guest),
        port,
        "another port for one client"
    );
    relay.wait_for_counters(at, |c| (c.active, c.bytes_in, c.bytes_out) == (2, 24, 18));
}

#[test]
fn datagrams_of_every_length_arrive_in_order() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &guest);
    // Runs of one length, a shorter one at their end, empty ones, the longest.
    let lengths = [
        [1200; 12].as_slice(),
        &[300, 300, 299, 300],
        &[0, 0, 1, 1, 0],
        &[9000, 9000, 9000],
        &[65507],
        &[65507, 20],
    ];
    for (seed, row) in (1..).zip(lengths) {
        let data: Vec<_> = (seed * 100..)
            .zip(row)
            .map(|(seed, &length)| noise(length, seed))
            .collect();
        for datagram in &data {
            client.send(datagram).unwrap();
        }
        let there: Vec<_> = data.iter().map(|_| datagram(&guest)).collect();
        for datagram in &data {
            guest.send_to(datagram, port).unwrap();
        }
        for (sent, (received, from)) in data.iter().zip(there) {
            assert_eq!(from, port);
            assert!(*sent == received, "{} bytes to the guest", sent.len());
            assert!(*sent == datagram(&client).0, "{} bytes back", sent.len());
        }
    }
}

#[test]
fn each_client_gets_its_own_answers() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let clients: Vec<_> = (0..20_u8).map(|n| (n, client(at))).collect();
    for turn in 0..5_u8 {
        for (n, client) in &clients {
            client.send(&[*n, turn]).unwrap();
        }
        for _ in &clients {
            let (data, from) = datagram(&guest);
            guest.send_to(&data, from).unwrap();
        }
        for (n, client) in &clients {
            assert_eq!(datagram(client).0, [*n, turn]);
        }
    }
}

#[test]
fn datagram_from_another_sender_is_dropped() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &guest);
    udp().send_to(b"forged", port).unwrap();
    expect_no_datagram(&client);
    exchange(&client, &guest);
}

#[test]
fn session_keeps_its_port_when_the_guest_changes() {
    let (old, new) = (udp(), udp());
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, old.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &old);
    relay.repoint(at, new.local_addr().unwrap());
    relay.apply();

    // Either side may be the first to send after that.
    new.send_to(b"first", port).unwrap();
    assert_eq!(datagram(&client).0, b"first");
    assert_eq!(exchange(&client, &new), port);
    old.send_to(b"late", port).unwrap();
    expect_no_datagram(&client);
    relay.wait_for_counters(at, |counters| counters.opened == 1);
}

#[test]
fn guest_that_restarts_is_reached_again() {
    let guest = udp();
    let there = guest.local_addr().unwrap();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, there);
    let client = client(at);
    let port = exchange(&client, &guest);
    drop(guest);
    // Each of them causes "port unreachable".
    for _ in 0..100 {
        client.send(b"message").unwrap();
    }
    relay.wait_for_counters(at, |counters| counters.bytes_in == 8 + 700);
    let guest = UdpSocket::bind(there).unwrap();
    guest
        .set_read_timeout(Some(crate::harness::DEADLINE))
        .unwrap();
    assert_eq!(exchange(&client, &guest), port);
    relay.wait_for_counters(at, |counters| counters.opened == 1);
}

#[test]
fn closed_client_does_not_disturb_others() {
    let guest = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let (gone, stays) = (client(at), client(at));
    let port = exchange(&gone, &guest);
    drop(gone);
    for _ in 0..100 {
        guest.send_to(b"message", port).unwrap();
    }
    relay.wait_for_counters(at, |counters| counters.bytes_out == 6 + 700);
    exchange(&stays, &guest);
}

#[test]
fn session_above_the_limit_is_refused() {
    let guest = udp();
    let mut relay = Relay::start();
    relay.wanted.limits.udp_sessions = 2;
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let kept = [client(at), client(at)];
    for client in &kept {
        confirm(client, &guest);
    }
    let refused = client(at);
    for _ in 0..10 {
        refused.send(b"question").unwrap();
    }
    let mut count = 0;
    while count < 10 {
        count += relay.until(|event| match event {
            Event::Refused {
                listen,
                limit: 2,
                source: None,
                count,
            } if address(listen) == at => Some(count),
            _ => None,
        });
    }
    expect_no_datagram(&guest);
    for client in &kept {
        exchange(client, &guest);
    }
    relay.wait_for_counters(at, |c| (c.active, c.refused) == (2, 10));

    relay.wanted.limits.udp_sessions = 3;
    relay.apply();
    exchange(&refused, &guest);
}

/// A guest that answers questions and nothing else.
fn answering() -> SocketAddr {
    let guest = udp();
    let address = guest.local_addr().expect("an address");
    guest.set_read_timeout(None).expect("a socket");
    thread::spawn(move || {
        loop {
            let (data, from) = datagram(&guest);
            if data == b"question" {
                guest.send_to(b"answer", from).expect("sent");
            }
        }
    });
    address
}

/// Asks until there is an answer, and returns how long that took.
fn ask(client: &UdpSocket) -> Duration {
    let start = Instant::now();
    let again = Duration::from_millis(100);
    client.set_read_timeout(Some(again)).expect("a socket");
    while start.elapsed() < DEADLINE {
        client.send(b"question").expect("sent");
        if client.recv(&mut [0; 16]).is_ok() {
            return start.elapsed();
        }
    }
    panic!("no answer");
}

/// Sends that many datagrams, each from another port.
fn flood(at: SocketAddr, count: usize) {
    for _ in 0..count {
        client(at).send(b"noise").expect("sent");
    }
}

#[test]
fn made_up_senders_shut_nobody_out() {
    let count = if cfg!(windows) { 500 } else { 20_000 };
    let mut relay = Relay::start();
    relay.wanted.limits.udp_sessions = if cfg!(windows) { 64 } else { 4096 };
    let flooded = relay.forward(Protocol::Udp, answering());
    let other = relay.forward(Protocol::Udp, answering());
    let known = [client(flooded), client(other)];
    known.iter().chain(&known).map(ask).for_each(drop);
    let opened = relay.opened().len() + relay.opened().len();
    assert_eq!(opened, 2);

    let flooding = thread::spawn(move || flood(flooded, count));
    let mut slowest = [Duration::ZERO; 4];
    while !flooding.is_finished() {
        // A new peer of each forward each time, and those of before.
        let new = [client(other), client(flooded)];
        for (slowest, client) in slowest.iter_mut().zip(new.iter().chain(&known)) {
            *slowest = ask(client).max(*slowest);
        }
    }
    flooding.join().unwrap();
    println!("slowest answers: {slowest:?}");
    assert!(
        slowest.iter().all(|slowest| slowest.as_secs() == 0),
        "{slowest:?}"
    );
    let new = ask(&client(flooded));
    assert!(new < Duration::from_secs(1), "a new peer: {new:?}");
    relay.wait_for_counters(flooded, |c| c.refused > 0 && c.active < 4096);
    relay.wait_for_counters(other, |counters| counters.refused == 0);

    // The sessions that were confirmed are the ones from before.
    known.iter().map(ask).for_each(drop);
    relay.wait_for_counters(flooded, |c| c.failed == 0);
    #[cfg(target_os = "linux")]
    assert!(relay.memory() < 64 << 20, "{} bytes", relay.memory());
}

/// A flood that does not end takes little from a client that is known.
#[cfg(target_os = "linux")]
#[test]
fn known_client_gets_through_a_flood() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let mut relay = Relay::start();
    relay.wanted.limits.udp_sessions = 512;
    let at = relay.forward(Protocol::Udp, answering());
    let known = client(at);
    ask(&known);
    ask(&known);
    let over = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    flood(at, 100);
                }
            });
        }
        relay.wait_for_counters(at, |counters| counters.refused > 5000);
        let answered = (0..50).filter(|_| {
            known.send(b"question").unwrap();
            known.recv(&mut [0; 16]).is_ok()
        });
        let answered = answered.count();
        over.store(true, Ordering::Relaxed);
        answered
    });
    println!("{answered} of 50 answered");
    assert!(answered >= 30, "{answered} of 50 answered");
}

#[test]
fn answers_to_made_up_senders_shut_nobody_out() {
    let mut relay = Relay::start();
    relay.wanted.limits.udp_sessions = 64;
    // A guest that answers whatever comes, as a name server does.
    let at = relay.forward(Protocol::Udp, answering());
    let known = client(at);
    ask(&known);
    ask(&known);
    assert_eq!(relay.opened().len(), 1);
    // All are kept: none gets the port of another.
    let made_up: Vec<_> = (0..200).map(|_| client(at)).collect();
    for client in &made_up {
        client.send(b"question").unwrap();
        client.recv(&mut [0; 16]).unwrap();
    }
    let new = client(at);
    assert!(ask(&new) < Duration::from_secs(1));
    ask(&new);
    assert_eq!(relay.opened().len(), 1);
    ask(&known);
    relay.wait_for_counters(at, |c| (c.active, c.opened) == (64, 202));
}

#[test]
fn made_up_senders_are_not_reported_and_end_sooner() {
    let mut relay = Relay::start();
    relay.wanted.limits.udp_unanswered_seconds = 1;
    let at = relay.forward(Protocol::Udp, answering());
    let known = client(at);
    ask(&known);
    ask(&known);
    assert_eq!(relay.opened().len(), 1);
    flood(at, 100);
    let deadline = Instant::now() + DEADLINE;
    loop {
        relay.send(&Command::GetCounters);
        let event = relay.event();
        let Event::Counters { forwards } = &event else {
            panic!("{event:?}");
        };
        // A port may have come twice.
        if forwards[0].opened > 90 && forwards[0].active == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{event:?}");
        thread::sleep(Duration::from_millis(20));
    }

    // An answer that comes in time keeps a session.
    let guest = udp();
    let at = relay.forward(Protocol::Udp, guest.local_addr().unwrap());
    let client = client(at);
    let port = exchange(&client, &guest);
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(exchange(&client, &guest), port);
}

#[test]
fn forward_leaves_the_others_their_share() {
    let mut relay = Relay::start();
    relay.wanted.limits.udp_sessions = 8;
    let (greedy, modest) = (answering(), answering());
    let greedy = relay.forward(Protocol::Udp, greedy);
    let modest = relay.forward(Protocol::Udp, modest);
    let clients: Vec<_> = (0..6).map(|_| client(greedy)).collect();
    clients.iter().chain(&clients).map(ask).for_each(drop);
    let refused = client(greedy);
    refused.send(b"question").unwrap();
    relay.wait_for_counters(greedy, |c| (c.active, c.refused) == (6, 1));
    let others: Vec<_> = (0..2).map(|_| client(modest)).collect();
    others.iter().map(ask).for_each(drop);
    relay.wait_for_counters(modest, |c| (c.active, c.refused) == (2, 0));
}

#[test]
fn port_in_use_is_reported_and_retried() {
    let (guest, owner) = (udp(), udp());
    let taken = owner.local_addr().unwrap();
    let mut relay = Relay::start();
    let listen = Listen {
        protocol: Protocol::Udp,
        listen_address: std::net::Ipv4Addr::LOCALHOST.into(),
        listen_port: NonZeroU16::new(taken.port()).unwrap(),
    };
    relay
        .wanted
        .forwards
        .push(to(listen, guest.local_addr().unwrap()));
    assert_eq!(relay.failure().unwrap().kind, FailureKind::InUse);
    drop(owner);
    assert_eq!(relay.failure(), None);
    exchange(&client(taken), &guest);
}
