//! Whom a forward accepts, with clients that this machine does not know: each test in a
//! network of its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Admit, Protocol};

use crate::harness::{
    DEADLINE, Relay, connect_from, datagram, echo, expect_no_datagram, guest, udp, works,
};
use crate::network::inside;
use crate::sessions::session;
use crate::tcp::broken;
use crate::udp::confirm;

/// Makes that network. All of four subnets leads here, so that a client may have any address
/// of them; the machine's own are loopback, 192.0.2.1/24 and 2001:db8::1/64 alone.
const NETWORK: &str = "ip link set lo up; ip address add 192.0.2.1/24 dev lo; \
    ip address add 2001:db8::1/64 dev lo nodad; ip route add local 203.0.113.0/24 dev lo; \
    for net in 2001:db8::/64 2001:db8:f::/64 fd00::/64; do ip route add local $net dev lo; done; \
    echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind";

/// Clients, the address that each asks, and the narrowest that takes it.
const CLIENTS: [(&str, &str, Admit); 9] = [
    ("127.0.0.9", "127.0.0.1", Admit::Host),
    ("192.0.2.1", "127.0.0.1", Admit::Host),
    ("192.0.2.7", "127.0.0.1", Admit::Local),
    (STRANGER, "127.0.0.1", Admit::Any),
    ("::1", "::1", Admit::Host),
    ("2001:db8::1", "::1", Admit::Host),
    ("2001:db8::7", "2001:db8::1", Admit::Local),
    ("2001:db8:f::7", "2001:db8::1", Admit::Any),
    // Unique local, and the machine has no such address.
    ("fd00::7", "2001:db8::1", Admit::Any),
];
const STRANGER: &str = "203.0.113.7";

/// Where a client of a listener on all addresses reaches it.
fn asked(to: &str, at: SocketAddr) -> SocketAddr {
    SocketAddr::new(to.parse().expect("an address"), at.port())
}

/// Each narrower one ends something, and the last one nothing.
const CHANGES: [Admit; 4] = [Admit::Any, Admit::Local, Admit::Host, Admit::Any];

#[test]
fn connections_are_held_to_admit() {
    if !inside("admit::connections_are_held_to_admit", NETWORK) {
        return;
    }
    let (came, comes) = channel();
    let mut relay = Relay::start();
    let at = relay.forward_at(
        Ipv6Addr::UNSPECIFIED.into(),
        Protocol::Tcp,
        guest(move |stream| {
            came.send(()).unwrap();
            echo(stream);
        }),
    );
    let (mut open, mut opened, mut refused) = (Vec::new(), 0, 0);
    for admit in CHANGES {
        relay.wanted.forwards[0].admit = admit;
        relay.apply();
        open.retain_mut(|(from, narrowest, stream)| {
            let is_admitted = admit <= *narrowest;
            let is_as_it_should = if is_admitted { works } else { broken };
            assert!(is_as_it_should(stream), "{from} was open, now {admit:?}");
            is_admitted
        });
        for (from, to, narrowest) in CLIENTS {
            let from: IpAddr = from.parse().unwrap();
            let mut stream = connect_from(from, asked(to, at));
            if admit <= narrowest {
                assert!(works(&mut stream), "{from} with {admit:?}");
                open.push((from, narrowest, stream));
                opened += 1;
            } else {
                assert!(broken(&mut stream), "{from} with {admit:?}");
                refused += 1;
            }
        }
    }
    assert_eq!((opened, refused), (28, 8));
    relay.wait_for_counters(at, |c| {
        (c.opened, c.refused, c.failed) == (opened, refused, 0)
    });
    assert_eq!(
        comes.try_iter().count() as u64,
        opened,
        "what the guest saw"
    );
    // No limit was reached.
    relay.expect_no_event();
}

#[test]
fn datagrams_are_held_to_admit() {
    if !inside("admit::datagrams_are_held_to_admit", NETWORK) {
        return;
    }
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward_at(
        Ipv6Addr::UNSPECIFIED.into(),
        Protocol::Udp,
        peer.local_addr().unwrap(),
    );
    let clients = CLIENTS.map(|(from, to, narrowest)| {
        let from: IpAddr = from.parse().unwrap();
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.connect(asked(to, at)).unwrap();
        (socket, narrowest)
    });
    let mut ports = [None; CLIENTS.len()];
    let mut refused = 0;
    for admit in CHANGES {
        relay.wanted.forwards[0].admit = admit;
        relay.apply_without_waiting();
        let ended = (clients.iter().zip(&mut ports))
            .filter(|((_, narrowest), _)| admit > *narrowest)
            .filter_map(|((client, _), port)| Some((client, port.take()?)));
        let ended: Vec<_> = ended.collect();
        let mut closed = Vec::new();
        while closed.len() < ended.len() {
            closed.extend(relay.closed());
        }
        closed.sort();
        let mut expected: Vec<_> = (ended.iter())
            .map(|(client, port)| session(at, client, *port))
            .collect();
        expected.sort();
        assert_eq!(closed, expected);
        for (client, port) in ended {
            peer.send_to(b"late", port).unwrap();
            expect_no_datagram(client);
        }
        for ((client, narrowest), port) in clients.iter().zip(&mut ports) {
            if admit <= *narrowest {
                let is_new = port.is_none();
                let now = confirm(client, &peer);
                assert_eq!(*port.get_or_insert(now), now, "another port");
                if is_new {
                    assert_eq!(relay.opened(), [session(at, client, now)]);
                }
                continue;
            }
            client.send(b"question").unwrap();
            refused += 1;
            relay.wait_for_counters(at, |counters| counters.refused == refused);
        }
        let open = ports.iter().flatten().count();
        relay.wait_for_counters(at, |counters| counters.active as usize == open);
    }
    assert_eq!(refused, 8);
    // Nothing of those that were refused has come before this.
    udp().send_to(b"last", peer.local_addr().unwrap()).unwrap();
    assert_eq!(datagram(&peer).0, b"last");

    // Nor is a session resumed for one of them.
    let old = session(at, &clients[3].0, ports[3].unwrap());
    relay.wanted.forwards[0].admit = Admit::Host;
    relay.apply();
    relay.wanted.sessions = vec![old];
    relay.apply_without_waiting();
    assert_eq!(relay.closed(), [old]);
    relay.wait_for_counters(at, |counters| counters.active == 4);
}

#[test]
fn new_address_of_this_machine_is_noticed() {
    if !inside("admit::new_address_of_this_machine_is_noticed", NETWORK) {
        return;
    }
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    relay.wanted.forwards[0].admit = Admit::Local;
    relay.apply();
    let stranger: IpAddr = STRANGER.parse().unwrap();
    assert!(broken(&mut connect_from(stranger, at)));
    let added = Command::new("ip")
        .args(["address", "add", "203.0.113.1/24", "dev", "lo"])
        .status();
    assert!(added.unwrap().success());
    let deadline = Instant::now() + DEADLINE;
    while !works(&mut connect_from(stranger, at)) {
        assert!(Instant::now() < deadline, "refused still");
        std::thread::sleep(Duration::from_millis(50));
    }
}
