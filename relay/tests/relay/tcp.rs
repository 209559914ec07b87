//! TCP forwards.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Event, FailureKind, Listen, Protocol};

use crate::harness::{
    DEADLINE, QUIET, Relay, address, connect, connect_from, datagram, echo, guest, noise, serve_on,
    to, udp, works,
};

/// Whether the other side reset the connection.
pub(crate) fn broken(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        // Wine reports a reset as an end of stream. After an end of stream this
        // write succeeds, after a reset it fails.
        Ok(0) if cfg!(windows) => stream.write(b"x").is_err_and(|error| is_reset(&error)),
        read => read.is_err_and(|error| is_reset(&error)),
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

#[test]
fn several_forwards_in_one_process() {
    let mut relay = Relay::start();
    let first = relay.forward(Protocol::Tcp, guest(echo));
    let second = relay.forward(
        Protocol::Tcp,
        guest(|mut stream| stream.write_all(b"second").unwrap()),
    );
    let peer = udp();
    let third = relay.forward(Protocol::Udp, peer.local_addr().unwrap());

    let mut stream = connect(first);
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");

    let mut answer = String::new();
    connect(second).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "second");

    udp().send_to(b"third", third).unwrap();
    assert_eq!(datagram(&peer).0, b"third");

    relay.wait_for_counters(first, |c| (c.bytes_in, c.bytes_out, c.active) == (5, 5, 1));
    relay.wait_for_counters(second, |c| (c.bytes_out, c.opened, c.active) == (6, 1, 0));
    relay.wait_for_counters(third, |c| (c.bytes_in, c.opened, c.active) == (5, 1, 1));
}

#[test]
fn client_half_close_keeps_the_answer() {
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(|mut stream| {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).unwrap();
            question.reverse();
            stream.write_all(&question).unwrap();
        }),
    );
    let mut stream = connect(at);
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "noitseuq");
    relay.wait_for_counters(at, |counters| counters.active == 0);
}

#[test]
fn guest_half_close_keeps_the_request() {
    let (sender, receiver) = channel();
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |mut stream| {
            stream.write_all(b"greeting").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            sender.send(rest).unwrap();
        }),
    );
    let mut stream = connect(at);
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "greeting");
    let data = noise(300_000, 1);
    stream.write_all(&data).unwrap();
    drop(stream);
    assert!(receiver.recv_timeout(DEADLINE).unwrap() == data);
}

#[test]
fn bulk_data_arrives_intact_in_both_directions() {
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let transfers: Vec<_> = (0..4)
        .map(|seed| {
            thread::spawn(move || {
                let data = noise(8 << 20, seed * 2 + 1);
                let mut stream = connect(at);
                let mut writer = stream.try_clone().unwrap();
                let sent = data.clone();
                let writing = thread::spawn(move || {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let mut back = Vec::new();
                stream.read_to_end(&mut back).unwrap();
                writing.join().unwrap();
                assert!(back == data);
            })
        })
        .collect();
    for transfer in transfers {
        transfer.join().unwrap();
    }
    let all = 4 * (8 << 20);
    relay.wait_for_counters(at, |c| (c.bytes_in, c.bytes_out, c.active) == (all, all, 0));
}

/// Writes until the connection takes no more. Not by a timeout: Windows does not
/// report how much of such a write was sent.
fn fill(stream: &mut TcpStream, data: &[u8]) -> usize {
    stream.set_nonblocking(true).expect("a socket");
    let mut written = 0;
    let mut last = Instant::now();
    while written < data.len() && last.elapsed() < QUIET {
        match stream.write(&data[written..]) {
            Ok(taken) => {
                written += taken;
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).expect("a socket");
    written
}

#[test]
fn backpressure_reaches_the_client() {
    let (go, goes) = channel::<()>();
    let goes = std::sync::Arc::new(std::sync::Mutex::new(goes));
    let (sender, receiver) = channel();
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |mut stream| {
            goes.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            sender.send(all).unwrap();
        }),
    );
    let data = noise(32 << 20, 3);
    let mut stream = connect(at);
    let written = fill(&mut stream, &data);
    assert!(written < data.len(), "all of it went somewhere");
    #[cfg(target_os = "linux")]
    assert!(relay.memory() < 16 << 20, "{} bytes", relay.memory());

    go.send(()).unwrap();
    stream.write_all(&data[written..]).unwrap();
    drop(stream);
    assert!(receiver.recv_timeout(DEADLINE).unwrap() == data);
    relay.wait_for_counters(at, |counters| counters.active == 0);
}

#[test]
fn client_that_never_reads_stops_its_guest_alone() {
    let data = noise(32 << 20, 9);
    let (sender, receiver) = channel();
    let all = data.clone();
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |mut stream| {
            let written = fill(&mut stream, &all);
            sender.send(written).unwrap();
            stream.write_all(&all[written..]).ok();
        }),
    );
    let mut never = connect(at);
    let written = receiver.recv_timeout(DEADLINE).unwrap();
    assert!(written < data.len(), "all of it went somewhere");
    #[cfg(target_os = "linux")]
    assert!(relay.memory() < 16 << 20, "{} bytes", relay.memory());

    // The next client gets everything, and what waits for the first one stays its own.
    let mut received = Vec::new();
    connect(at).read_to_end(&mut received).unwrap();
    assert!(received == data);
    let mut late = vec![0; data.len()];
    never.read_exact(&mut late).unwrap();
    assert!(late == data);
}

#[cfg(target_os = "linux")]
#[test]
fn stuck_connections_take_little_memory() {
    let mut relay = Relay::start();
    let (keep, kept) = channel();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |stream| keep.send(stream).unwrap()),
    );
    let data = noise(1 << 20, 5);
    let mut streams: Vec<_> = (0..200).map(|_| connect(at)).collect();
    let guests: Vec<_> = streams
        .iter()
        .map(|_| kept.recv_timeout(DEADLINE).unwrap())
        .collect();
    for stream in &mut streams {
        stream.set_nonblocking(true).unwrap();
    }
    // Until none has been writable for a while.
    let mut last = Instant::now();
    while last.elapsed() < QUIET {
        for stream in &mut streams {
            if stream.write(&data).is_ok_and(|taken| taken > 0) {
                last = Instant::now();
            }
        }
    }
    let memory = relay.memory();
    assert!(memory < 32 << 20, "{memory} bytes");
    drop(guests);
}

#[test]
fn reset_is_passed_on() {
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(|mut stream| {
            // Closed with unread data, a connection is reset.
            stream.read_exact(&mut [0; 1]).unwrap();
            stream.peek(&mut [0; 1]).unwrap();
        }),
    );
    let mut stream = connect(at);
    stream.write_all(b"xy").unwrap();
    let mut is_broken = broken(&mut stream);
    // Wine reports an end of stream to the relay too, which passes it on. Only
    // writing to the guest fails.
    let deadline = Instant::now() + DEADLINE;
    while cfg!(windows) && !is_broken && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        is_broken = broken(&mut stream);
    }
    assert!(is_broken, "a broken answer looks whole");
    relay.wait_for_counters(at, |counters| counters.active == 0);
}

#[test]
fn guest_that_starts_later_is_reached() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    drop(listener);
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, there);
    assert!(broken(&mut connect(at)));
    relay.wait_for_counters(at, |c| (c.failed, c.active) == (1, 0));

    serve_on(TcpListener::bind(there).unwrap(), echo);
    let mut stream = connect(at);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn listener_stays_open_when_the_guest_changes() {
    let greet = |text: &'static [u8]| {
        move |mut stream: TcpStream| {
            stream.write_all(text).unwrap();
            echo(stream);
        }
    };
    let old = guest(greet(b"old"));
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).unwrap();
    let new = listener.local_addr().unwrap();
    serve_on(listener, greet(b"new"));

    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, old);
    let mut before = connect(at);
    let mut text = [0; 3];
    before.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"old");

    // A listener that is closed for a moment would refuse connections.
    let (knock, knocks) = channel();
    let knocking = thread::spawn(move || {
        while knock.send(()).is_ok() {
            // Served or reset. More at once than are served would only wait.
            connect(at).read_exact(&mut [0; 1]).ok();
        }
    });
    for turn in 0..10 {
        knocks.recv_timeout(DEADLINE).unwrap();
        relay.repoint(at, if turn % 2 == 0 { new } else { old });
        relay.apply();
    }
    relay.repoint(at, new);
    relay.apply();
    drop(knocks);
    knocking.join().unwrap();

    assert!(
        broken(&mut before),
        "the client would wait for a dead guest"
    );
    let mut after = connect(at);
    after.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"new");

    // The same command again disturbs no connection.
    relay.apply();
    after.write_all(b"yes").unwrap();
    after.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"yes");
}

#[test]
fn connection_above_the_limit_is_refused() {
    let mut relay = Relay::start();
    relay.wanted.limits.tcp_connections = 2;
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let mut kept = [connect(at), connect(at)];
    for stream in &mut kept {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
    let start = Instant::now();
    for _ in 0..20 {
        assert!(broken(&mut connect(at)));
    }
    let mut counts = Vec::new();
    while counts.iter().sum::<u64>() < 20 {
        counts.push(relay.until(|event| match event {
            Event::Refused {
                listen,
                limit: 2,
                source: None,
                count,
            } if address(listen) == at => Some(count),
            _ => None,
        }));
    }
    let most = start.elapsed().as_secs() + 2;
    assert!(counts.len() as u64 <= most, "{counts:?}");

    let [mut first, second] = kept;
    drop(second);
    relay.wait_for_counters(at, |c| (c.active, c.refused) == (1, 20));
    let mut third = connect(at);
    for stream in [&mut first, &mut third] {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
}

#[test]
fn one_address_cannot_take_all_connections() {
    let mut relay = Relay::start();
    relay.wanted.limits.tcp_connections_per_source = 2;
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let other = relay.forward(Protocol::Tcp, guest(echo));
    let greedy = Ipv4Addr::new(127, 0, 0, 2);
    // Over all forwards together.
    let mut kept = [connect_from(greedy, at), connect_from(greedy, other)];
    assert!(kept.iter_mut().all(works));
    assert!(broken(&mut connect_from(greedy, at)));
    relay.until(|event| match event {
        Event::Refused {
            listen,
            limit: 2,
            source: Some(source),
            count: 1,
        } if address(listen) == at && source == greedy => Some(()),
        _ => None,
    });
    assert!(works(&mut connect(at)), "the others are served");
    let [first, second] = kept;
    drop(second);
    relay.wait_for_counters(other, |counters| counters.active == 0);
    assert!(works(&mut connect_from(greedy, at)));
    drop(first);
}

#[test]
fn removed_forward_is_closed() {
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let other = relay.forward(Protocol::Tcp, guest(echo));
    let mut streams = [connect(at), connect(other)];
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
    relay.wanted.forwards.remove(0);
    relay.apply();
    let [mut gone, mut stays] = streams;
    assert!(broken(&mut gone));
    assert!(TcpStream::connect(at).is_err());
    stays.write_all(b"x").unwrap();
    stays.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn port_in_use_is_reported_and_retried() {
    let owner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = owner.local_addr().unwrap();
    let listen = Listen {
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::LOCALHOST.into(),
        listen_port: NonZeroU16::new(taken.port()).unwrap(),
    };
    let peer = guest(echo);
    let mut relay = Relay::start();
    relay.wanted.forwards.push(to(listen, peer));
    let failure = relay.failure().unwrap();
    assert_eq!(failure.kind, FailureKind::InUse);
    assert_ne!(failure.code, 0);

    // Other forwards are not affected.
    let other = relay.forward(Protocol::Tcp, peer);
    let mut stream = connect(other);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();

    drop(owner);
    assert_eq!(relay.failure(), None);
    let mut stream = connect(taken);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn unavailable_address_is_reported() {
    let mut relay = Relay::start();
    // Wine accepts any address for UDP; Windows refuses it for both.
    let protocols: &[Protocol] = if cfg!(windows) {
        &[Protocol::Tcp]
    } else {
        &[Protocol::Tcp, Protocol::Udp]
    };
    for &protocol in protocols {
        let listen = Listen {
            protocol,
            // TEST-NET-3 of RFC 5737: no machine has it.
            listen_address: [203, 0, 113, 1].into(),
            listen_port: NonZeroU16::new(4000).unwrap(),
        };
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        relay.wanted.forwards = vec![to(listen, nowhere)];
        assert_eq!(relay.failure().unwrap().kind, FailureKind::NoAddress);
    }
}
