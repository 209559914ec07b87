//! Many clients at once.

use std::io::{Read, Write};
use std::net::TcpStream;
#[cfg(unix)]
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use wslmesh_relay::protocol::Protocol;

use crate::harness::{Relay, client, connect, datagram, echo, guest, udp};
use crate::tcp::broken;

/// Clients of each protocol. Sockets are expensive under wine.
pub(crate) const CLIENTS: usize = if cfg!(windows) { 100 } else { 1000 };

#[test]
fn a_thousand_clients_of_each_protocol() {
    raise_limits();
    let peer = udp();
    let mut relay = Relay::start();
    let over_tcp = relay.forward(Protocol::Tcp, guest(echo));
    let over_udp = relay.forward(Protocol::Udp, peer.local_addr().unwrap());

    let mut streams: Vec<_> = (0..CLIENTS).map(|_| connect(over_tcp)).collect();
    let clients: Vec<_> = (0..CLIENTS).map(|_| client(over_udp)).collect();
    let answering = thread::spawn(move || {
        for _ in 0..2 * CLIENTS {
            let (data, from) = datagram(&peer);
            peer.send_to(&data, from).unwrap();
        }
    });
    for turn in 0..2_u64 {
        for (number, stream) in (0_u64..).zip(&mut streams) {
            stream.write_all(&(number + turn).to_le_bytes()).unwrap();
        }
        // As many at once as the smallest buffer on the path takes.
        for (number, some) in (0_u64..).zip(clients.chunks(50)) {
            for client in some {
                client.send(&(number + turn).to_le_bytes()).unwrap();
            }
            for client in some {
                assert_eq!(datagram(client).0, (number + turn).to_le_bytes());
            }
        }
        for (number, stream) in (0_u64..).zip(&mut streams) {
            let mut answer = [0; 8];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, (number + turn).to_le_bytes());
        }
    }
    answering.join().unwrap();
    #[cfg(target_os = "linux")]
    assert!(relay.memory() < 64 << 20, "{} bytes", relay.memory());

    let all = u64::try_from(CLIENTS).unwrap();
    relay.wait_for_counters(over_tcp, |c| {
        (u64::from(c.active), c.bytes_out) == (all, all * 16)
    });
    relay.wait_for_counters(over_udp, |c| (c.opened, c.bytes_out) == (all, all * 16));
    // Not before: on a slow machine they would end between two datagrams.
    relay.wanted.limits.udp_idle_seconds = 1;
    relay.apply();
    relay.wait_for_counters(over_udp, |c| c.active == 0);
    drop(streams);
    relay.wait_for_counters(over_tcp, |c| (c.active, c.failed, c.refused) == (0, 0, 0));
}

/// At the limit that the relay is shipped with.
#[cfg(target_os = "linux")]
#[test]
fn connection_4097_is_refused() {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::channel;

    use wslmesh_relay::protocol::{Event, Limits};

    use crate::harness::{DEADLINE, address, connect_from, not_run};

    let limits = Limits::default();
    let (most, sources) = (limits.tcp_connections, 8);
    // Two of them each in this process, beside those of the tests at its side.
    if let Some(files) = raise_limits().filter(|files| *files < 4 * u64::from(most)) {
        return not_run(&format!("{files} open files are too few (ulimit -Hn)"));
    }
    let mut relay = Relay::start();
    assert_eq!((relay.wanted.limits, most), (limits, 4096));
    let (keep, kept) = channel();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |stream| keep.send(stream).unwrap()),
    );
    // From several addresses: one of them may not have them all.
    let open = |number: u32| {
        let source = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number % sources);
        let mut stream = connect_from(source, at);
        stream.write_all(&number.to_le_bytes()).unwrap();
        let guest = kept.recv_timeout(DEADLINE).unwrap();
        guest.set_read_timeout(Some(DEADLINE)).unwrap();
        (stream, guest)
    };
    let mut all: Vec<_> = (0..most).map(open).collect();
    let from = Ipv4Addr::LOCALHOST;
    assert!(broken(&mut connect_from(from, at)));
    relay.until(|event| match event {
        Event::Refused {
            listen,
            limit: 4096,
            source: None,
            count: 1,
        } if address(listen) == at => Some(()),
        _ => None,
    });

    // Each of the others has its own guest still.
    let answers = |number: u32, (stream, guest): &mut (TcpStream, TcpStream)| {
        let mut text = [0; 4];
        guest.read_exact(&mut text).unwrap();
        guest.write_all(&text).unwrap();
        stream.read_exact(&mut text).unwrap();
        assert_eq!(u32::from_le_bytes(text), number);
    };
    for (number, pair) in (0..).zip(&mut all) {
        answers(number, pair);
    }
    relay.wait_for_counters(at, |c| (c.active, c.refused) == (most, 1));
    assert!(relay.memory() < 64 << 20, "{} bytes", relay.memory());
    assert!(kept.try_recv().is_err(), "the guest saw the refused one");

    // One that ends makes room for one.
    drop(all.swap_remove(0));
    relay.wait_for_counters(at, |c| c.active == most - 1);
    answers(most, &mut open(most));
}

/// Adds a forward and opens connections through it.
fn connections(relay: &mut Relay, count: usize) -> Vec<TcpStream> {
    raise_limits();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let mut streams: Vec<_> = (0..count).map(|_| connect(at)).collect();
    for stream in &mut streams {
        stream.write_all(b"x").expect("a connection");
        stream.read_exact(&mut [0; 1]).expect("an echo");
    }
    streams
}

#[test]
fn connections_are_reset_when_the_relay_exits() {
    let mut relay = Relay::start();
    let mut streams = connections(&mut relay, CLIENTS);
    let start = Instant::now();
    assert!(relay.finish().success());
    println!("ended within {:?}", start.elapsed());
    assert!(streams.iter_mut().all(broken));

    let mut relay = Relay::start();
    let mut streams = connections(&mut relay, 10);
    relay.kill();
    assert!(streams.iter_mut().all(broken));
}

/// The soft limit is lower than what the relay needs, the hard limit is not.
#[cfg(unix)]
#[test]
fn low_descriptor_limit_is_raised() {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -S -n 256 && exec \"$0\""])
        .arg(env!("CARGO_BIN_EXE_wslmesh-relay"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut relay = Relay::start_by(shell);
    // Each takes two.
    let streams = connections(&mut relay, 300);
    assert_eq!(streams.len(), 300);
}

/// This process needs two sockets for each of its connections. Returns how many files it
/// may open, if there is a limit.
pub(crate) fn raise_limits() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).expect("a higher limit");
        limit.maximum
    }
    #[cfg(not(unix))]
    None
}

#[cfg(target_os = "linux")]
#[test]
fn idle_relay_does_not_wake_up() {
    use std::time::Duration;

    let peer = udp();
    let mut relay = Relay::start();
    let over_tcp = relay.forward(Protocol::Tcp, guest(echo));
    let over_udp = relay.forward(Protocol::Udp, peer.local_addr().unwrap());
    // An idle connection, and an idle session of 180 s.
    let mut stream = connect(over_tcp);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    crate::udp::confirm(&client(over_udp), &peer);
    relay.opened();
    relay.expect_no_event();
    let before = crate::harness::switches(relay.id());
    // There is no event to wait for: idling is what is tested.
    thread::sleep(Duration::from_secs(2));
    // One for a pending timer of the runtime.
    assert!(crate::harness::switches(relay.id()) <= before + 1);
}
