//! TCP forwards.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use wslmesh_relay::protocol::{Event, FailureKind, Listen, Protocol};

use crate::harness::{
    DEADLINE, QUIET, Relay, address, connect, datagram, echo, guest, noise, serve_on, to, udp,
};

/// Whether the other side broke the connection off.
pub(crate) fn broken(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        // Wine says that to a reset as to an end. After an end this write goes
        // out, after a reset it does not.
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

    relay.counted(first, |c| (c.bytes_in, c.bytes_out, c.active) == (5, 5, 1));
    relay.counted(second, |c| (c.bytes_out, c.opened, c.active) == (6, 1, 0));
    relay.counted(third, |c| (c.bytes_in, c.opened, c.active) == (5, 1, 1));
}

#[test]
fn a_client_that_has_said_all_still_hears() {
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
    relay.counted(at, |counters| counters.active == 0);
}

#[test]
fn a_guest_that_has_said_all_still_hears() {
    let (heard, hears) = channel();
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |mut stream| {
            stream.write_all(b"greeting").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            heard.send(rest).unwrap();
        }),
    );
    let mut stream = connect(at);
    let mut greeting = String::new();
    stream.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "greeting");
    let data = noise(300_000, 1);
    stream.write_all(&data).unwrap();
    drop(stream);
    assert!(hears.recv_timeout(DEADLINE).unwrap() == data);
}

#[test]
fn much_data_both_ways_arrives_as_it_was_sent() {
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
    relay.counted(at, |c| (c.bytes_in, c.bytes_out, c.active) == (all, all, 0));
}

/// Writes until nobody takes more. Not by a timeout: Windows does not say how
/// much of such a write went out.
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
fn a_guest_that_does_not_read_stops_its_client() {
    let (go, goes) = channel::<()>();
    let goes = std::sync::Arc::new(std::sync::Mutex::new(goes));
    let (heard, hears) = channel();
    let mut relay = Relay::start();
    let at = relay.forward(
        Protocol::Tcp,
        guest(move |mut stream| {
            goes.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            heard.send(all).unwrap();
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
    assert!(hears.recv_timeout(DEADLINE).unwrap() == data);
    relay.counted(at, |counters| counters.active == 0);
}

#[cfg(target_os = "linux")]
#[test]
fn many_stuck_connections_take_little_memory() {
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
    // Until nobody could write any more for a while.
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
fn a_reset_is_handed_on() {
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
    // Wine says "end" to the relay too, which hands that on. It learns more
    // from what it cannot deliver to the guest.
    let deadline = Instant::now() + DEADLINE;
    while cfg!(windows) && !is_broken && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        is_broken = broken(&mut stream);
    }
    assert!(is_broken, "a broken answer looks whole");
    relay.counted(at, |counters| counters.active == 0);
}

#[test]
fn a_guest_that_is_not_there_is_found_when_it_comes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    drop(listener);
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, there);
    assert!(broken(&mut connect(at)));
    relay.counted(at, |c| (c.failed, c.active) == (1, 0));

    serve_on(TcpListener::bind(there).unwrap(), echo);
    let mut stream = connect(at);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_new_guest_gets_the_clients_of_the_same_listener() {
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

    // Nobody can connect to a listener that is gone for a moment.
    let (knock, knocks) = channel();
    let knocking = thread::spawn(move || {
        while knock.send(()).is_ok() {
            // Served or broken off; more at once than are served would only wait.
            connect(at).read_exact(&mut [0; 1]).ok();
        }
    });
    for turn in 0..10 {
        knocks.recv_timeout(DEADLINE).unwrap();
        relay.point(at, if turn % 2 == 0 { new } else { old });
        relay.apply();
    }
    relay.point(at, new);
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

    // The same order again disturbs nobody.
    relay.apply();
    after.write_all(b"yes").unwrap();
    after.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"yes");
}

#[test]
fn a_connection_above_the_limit_is_refused_and_told() {
    let mut relay = Relay::start();
    relay.want.limits.tcp_connections = 2;
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
    let mut told = Vec::new();
    while told.iter().sum::<u64>() < 20 {
        told.push(relay.until(|event| match event {
            Event::Refused {
                listen,
                limit: 2,
                count,
            } if address(listen) == at => Some(count),
            _ => None,
        }));
    }
    let most = start.elapsed().as_secs() + 2;
    assert!(told.len() as u64 <= most, "{told:?}");

    let [mut first, second] = kept;
    drop(second);
    relay.counted(at, |c| (c.active, c.refused) == (1, 20));
    let mut third = connect(at);
    for stream in [&mut first, &mut third] {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
}

#[test]
fn a_forward_that_is_no_longer_wanted_is_closed() {
    let mut relay = Relay::start();
    let at = relay.forward(Protocol::Tcp, guest(echo));
    let other = relay.forward(Protocol::Tcp, guest(echo));
    let mut streams = [connect(at), connect(other)];
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
    }
    relay.want.forwards.remove(0);
    relay.apply();
    let [mut gone, mut stays] = streams;
    assert!(broken(&mut gone));
    assert!(TcpStream::connect(at).is_err());
    stays.write_all(b"x").unwrap();
    stays.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named_and_tried_again() {
    let owner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = owner.local_addr().unwrap();
    let listen = Listen {
        protocol: Protocol::Tcp,
        listen_address: Ipv4Addr::LOCALHOST,
        listen_port: NonZeroU16::new(taken.port()).unwrap(),
    };
    let peer = guest(echo);
    let mut relay = Relay::start();
    relay.want.forwards.push(to(listen, peer));
    let failure = relay.failure().unwrap();
    assert_eq!(failure.kind, FailureKind::InUse);
    assert_ne!(failure.code, 0);

    // Others listen all the same.
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
fn an_address_that_is_not_here_is_named() {
    let mut relay = Relay::start();
    // Wine gives any address to UDP; Windows names it for both.
    let protocols: &[Protocol] = if cfg!(windows) {
        &[Protocol::Tcp]
    } else {
        &[Protocol::Tcp, Protocol::Udp]
    };
    for &protocol in protocols {
        let listen = Listen {
            protocol,
            // TEST-NET-3 of RFC 5737: nobody has it.
            listen_address: Ipv4Addr::new(203, 0, 113, 1),
            listen_port: NonZeroU16::new(4000).unwrap(),
        };
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        relay.want.forwards = vec![to(listen, nowhere)];
        assert_eq!(relay.failure().unwrap().kind, FailureKind::NoAddress);
    }
}
