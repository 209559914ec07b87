//! UDP forwards: datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU16;

use wslmesh_relay::protocol::{Event, FailureKind, Listen, Protocol};

use crate::harness::{Relay, address, client, datagram, expect_no_datagram, noise, to, udp};

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
        exchange(client, &guest);
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

#[test]
fn port_in_use_is_reported_and_retried() {
    let (guest, owner) = (udp(), udp());
    let taken = owner.local_addr().unwrap();
    let mut relay = Relay::start();
    let listen = Listen {
        protocol: Protocol::Udp,
        listen_address: std::net::Ipv4Addr::LOCALHOST,
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
