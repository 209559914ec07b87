use std::net::{TcpListener, UdpSocket as StdUdpSocket};
use std::time::Instant;

use mio::{Events, Poll};

use super::*;
use crate::switch::resolver::System;

const DEADLINE: Duration = Duration::from_secs(20);
const TOKEN: usize = 40;

fn loopback(is_ipv6: bool) -> IpAddr {
    if is_ipv6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}

struct Bench {
    poll: Poll,
    sockets: Sockets,
}

impl Bench {
    fn new() -> Self {
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let sockets = Sockets::new(registry, Resolver::new(System, || {}));
        Self { poll, sockets }
    }

    /// Tries until it would not block any more, each time that the poll says so.
    fn until<T>(&mut self, mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let deadline = Instant::now() + DEADLINE;
        let mut events = Events::with_capacity(8);
        loop {
            match act() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero());
            self.poll.poll(&mut events, Some(left)).unwrap();
            assert!(events.iter().all(|event| event.token() == Token(TOKEN)));
        }
    }
}

/// What `is_connected` says, as one that blocks.
fn connected(stream: &mut Tcp) -> io::Result<()> {
    match stream.is_connected() {
        Ok(false) => Err(ErrorKind::WouldBlock.into()),
        result => result.map(drop),
    }
}

fn read(stream: &mut Tcp) -> io::Result<Vec<u8>> {
    let mut buffer = [0; 100];
    let (first, second) = buffer.split_at_mut(3);
    let count = stream.read(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])?;
    Ok(buffer[..count].to_vec())
}

#[test]
fn tcp_is_carried() {
    for is_ipv6 in [false, true] {
        let Ok(listener) = TcpListener::bind((loopback(is_ipv6), 0)) else {
            assert!(is_ipv6);
            continue; // this machine has no IPv6
        };
        let mut bench = Bench::new();
        let to = listener.local_addr().unwrap();
        let mut stream = bench.sockets.connect(to, TOKEN).unwrap();
        bench.until(|| connected(&mut stream)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        bench
            .until(|| stream.write(&[IoSlice::new(b"to "), IoSlice::new(b"server")]))
            .unwrap();
        let mut got = [0; 9];
        server.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"to server");
        server.write_all(b"to guest").unwrap();
        assert_eq!(bench.until(|| read(&mut stream)).unwrap(), b"to guest");
        // Half closed, then the other half.
        stream.finish();
        assert_eq!(server.read(&mut got).unwrap(), 0);
        server.write_all(b"late").unwrap();
        assert_eq!(bench.until(|| read(&mut stream)).unwrap(), b"late");
        drop(server);
        assert_eq!(bench.until(|| read(&mut stream)).unwrap(), b"");
    }
}

#[test]
fn tcp_is_refused_and_reset() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind((loopback(false), 0)).unwrap();
    let to = listener.local_addr().unwrap();
    let mut stream = bench.sockets.connect(to, TOKEN).unwrap();
    bench.until(|| connected(&mut stream)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    stream.abort();
    drop(stream);
    match server.read(&mut [0; 9]) {
        // wine ends such a connection in the ordinary way.
        Ok(count) => assert!(cfg!(windows) && count == 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(listener);
    let refused = bench.sockets.connect(to, TOKEN);
    let refused = refused.and_then(|mut stream| bench.until(|| connected(&mut stream)));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn udp_is_carried_and_refused() {
    for is_ipv6 in [false, true] {
        let Ok(server) = StdUdpSocket::bind((loopback(is_ipv6), 0)) else {
            assert!(is_ipv6);
            continue; // this machine has no IPv6
        };
        let to = server.local_addr().unwrap();
        let mut bench = Bench::new();
        let mut socket = bench.sockets.bind(loopback(is_ipv6), TOKEN).unwrap();
        let mut buffer = vec![0; 65_536];
        for length in [0, 1, 1472, 60_000] {
            let data: Vec<u8> = (0..255).cycle().take(length).collect();
            socket.send_to(&data, to).unwrap();
            let (count, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..count], data);
            server.send_to(&data, from).unwrap();
            let (count, from) = bench.until(|| socket.receive(&mut buffer)).unwrap();
            assert_eq!((&buffer[..count], from), (&data[..], to));
        }
        // The port is free again. wine does not report that.
        drop(server);
        if cfg!(windows) {
            continue;
        }
        socket.send_to(b"x", to).unwrap();
        let error = bench.until(|| socket.receive(&mut buffer)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(socket.unreachable(), Some(to));
        assert_eq!(socket.unreachable(), None);
        socket.send_to(b"x", to).unwrap();
    }
}

#[test]
fn clients_are_accepted_and_reset() {
    let mut bench = Bench::new();
    let any = SocketAddr::new(loopback(false), 0);
    let (mut listener, at) = bench.sockets.listen(any, TOKEN).unwrap();
    let accepted = bench.sockets.accept(&mut listener, TOKEN);
    assert_eq!(
        accepted.err().map(|error| error.kind()),
        Some(ErrorKind::WouldBlock)
    );
    let taken = bench.sockets.listen(at, TOKEN);
    assert!(taken.is_err(), "another one on the port");
    let mut client = std::net::TcpStream::connect(at).unwrap();
    client.write_all(b"hello").unwrap();
    let sockets = &mut bench.sockets;
    let (mut stream, from) = bench_accept(sockets, &mut listener, &mut bench.poll);
    assert_eq!(from, client.local_addr().unwrap());
    assert_eq!(bench.until(|| read(&mut stream)).unwrap(), b"hello");
    stream.write(&[IoSlice::new(b"back")]).unwrap();
    let mut got = [0; 4];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"back");
    stream.abort();
    drop(stream);
    match client.read(&mut got) {
        // wine ends such a connection in the ordinary way.
        Ok(count) => assert!(cfg!(windows) && count == 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    drop(listener);
    assert!(std::net::TcpStream::connect(at).is_err());
}

fn bench_accept(
    sockets: &mut Sockets,
    listener: &mut mio::net::TcpListener,
    poll: &mut Poll,
) -> (Tcp, SocketAddr) {
    let deadline = Instant::now() + DEADLINE;
    let mut events = Events::with_capacity(8);
    loop {
        match sockets.accept(listener, TOKEN) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done.unwrap(),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero());
        poll.poll(&mut events, Some(left)).unwrap();
    }
}

#[test]
fn port_of_udp_answers_from_where_it_listens() {
    let mut bench = Bench::new();
    let any = SocketAddr::new(loopback(false), 0);
    let (mut socket, at) = bench.sockets.bind_to(any, TOKEN).unwrap();
    assert_eq!(socket.port(), at.port());
    let client = StdUdpSocket::bind((loopback(false), 0)).unwrap();
    client.send_to(b"hello", at).unwrap();
    let mut buffer = [0; 100];
    let (count, from) = bench.until(|| socket.receive(&mut buffer)).unwrap();
    assert_eq!(&buffer[..count], b"hello");
    socket.send_to(b"back", from).unwrap();
    let (count, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from), (&b"back"[..], at));
}
