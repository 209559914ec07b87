//! Whom a forward accepts, with clients that this machine does not know: each test in a
//! network of its own.

use std::env;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Admit, Protocol};

use crate::harness::{
    DEADLINE, Relay, connect_from, datagram, echo, expect_no_datagram, guest, not_run, udp, works,
};
use crate::sessions::session;
use crate::tcp::broken;
use crate::udp::confirm;

/// Makes that network. All of both subnets leads here, so that a client may have any
/// address of them; the machine's own are 127.0.0.1/8 and 192.0.2.1/24 alone.
const NETWORK: &str = "ip link set lo up; ip address add 192.0.2.1/24 dev lo; \
    ip route add local 203.0.113.0/24 dev lo";

/// Clients, and the narrowest that takes each.
const CLIENTS: [(Ipv4Addr, Admit); 4] = [
    (Ipv4Addr::new(127, 0, 0, 9), Admit::Host),
    (Ipv4Addr::new(192, 0, 2, 1), Admit::Host),
    (Ipv4Addr::new(192, 0, 2, 7), Admit::Local),
    (STRANGER, Admit::Any),
];
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

/// Each narrower one ends something, and the last one nothing.
const CHANGES: [Admit; 4] = [Admit::Any, Admit::Local, Admit::Host, Admit::Any];

/// Runs the test of that name once more in a network of its own, where this returns
/// `true`.
fn inside(name: &str) -> bool {
    const INSIDE: &str = "WSLMESH_INSIDE";
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let run = |script: String| -> std::io::Result<Output> {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "sh", "-ec", &script])
            .arg(env::current_exe()?)
            .args([name, "--exact", "--nocapture"])
            .env(INSIDE, "")
            .stdin(Stdio::null())
            .output()
    };
    let text = |output: &[u8]| String::from_utf8_lossy(output).into_owned();
    match run(NETWORK.to_owned()) {
        Ok(made) if made.status.success() => {}
        Ok(made) => {
            not_run(&format!("no network of its own: {}", text(&made.stderr)));
            return false;
        }
        Err(error) => {
            not_run(&format!("unshare(1): {error}"));
            return false;
        }
    }
    let ran = run(format!("{NETWORK}; exec \"$0\" \"$@\"")).expect("a program that ran before");
    let (stdout, stderr) = (text(&ran.stdout), text(&ran.stderr));
    // Without a test of that name it would succeed too.
    let passed = ran.status.success() && stdout.contains("1 passed");
    assert!(passed, "{stdout}{stderr}");
    false
}

#[test]
fn connections_are_held_to_admit() {
    if !inside("admit::connections_are_held_to_admit") {
        return;
    }
    let (came, comes) = channel();
    let mut relay = Relay::start();
    let at = relay.forward(
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
        for (from, narrowest) in CLIENTS {
            let mut stream = connect_from(from, at);
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
    assert_eq!((opened, refused), (13, 3));
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
    if !inside("admit::datagrams_are_held_to_admit") {
        return;
    }
    let peer = udp();
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    let clients = CLIENTS.map(|(from, narrowest)| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.connect(at).unwrap();
        (socket, narrowest)
    });
    let mut ports = [None; CLIENTS.len()];
    let mut refused = 0;
    for admit in CHANGES {
        relay.wanted.forwards[0].admit = admit;
        relay.apply_without_waiting();
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
            if let Some(old) = port.take() {
                assert_eq!(relay.closed(), [session(at, client, old)]);
                peer.send_to(b"late", old).unwrap();
                expect_no_datagram(client);
            }
            client.send(b"question").unwrap();
            refused += 1;
            relay.wait_for_counters(at, |counters| counters.refused == refused);
        }
        let open = ports.iter().flatten().count();
        relay.wait_for_counters(at, |counters| counters.active as usize == open);
    }
    assert_eq!(refused, 3);
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
    relay.wait_for_counters(at, |counters| counters.active == 2);
}

#[test]
fn new_address_of_this_machine_is_noticed() {
    if !inside("admit::new_address_of_this_machine_is_noticed") {
        return;
    }
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    relay.wanted.forwards[0].admit = Admit::Local;
    relay.apply();
    assert!(broken(&mut connect_from(STRANGER, at)));
    let added = Command::new("ip")
        .args(["address", "add", "203.0.113.1/24", "dev", "lo"])
        .status();
    assert!(added.unwrap().success());
    let deadline = Instant::now() + DEADLINE;
    while !works(&mut connect_from(STRANGER, at)) {
        assert!(Instant::now() < deadline, "refused still");
        std::thread::sleep(Duration::from_millis(50));
    }
}
