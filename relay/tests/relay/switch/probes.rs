//! What connections of a guest do that are no ordinary ones, by both ways of the link.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use super::*;
use crate::harness::QUIET;
use crate::load::{CLIENTS, raise_limits};
use crate::tcp::broken;

/// What is left of a connection while its guest does something else.
type Kept = (u16, u32, u32);

impl<'a> Connection<'a> {
    fn keep(&self) -> Kept {
        (self.port, self.next, self.ack)
    }

    fn kept(guest: &'a mut Guest, to: (Ipv4Addr, u16), (port, next, ack): Kept) -> Self {
        Self {
            guest,
            to,
            port,
            next,
            ack,
        }
    }

    /// The window of the next segment that acknowledges all, if one comes in time.
    fn window(&self, time: Duration) -> Option<usize> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(Got::Packet(bytes)) = self.guest.got.recv_timeout(left) else {
                return None;
            };
            assert_eq!((bytes[9], bytes[33] & RST), (TCP, 0));
            if bytes[28..32] == self.next.to_be_bytes() {
                return Some(u16::from_be_bytes([bytes[34], bytes[35]]).into());
            }
        }
    }

    /// All data up to the server's end of its side.
    fn receive_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let segment = self.receive();
            assert_eq!(segment.flags & RST, 0);
            all.extend(segment.data);
            self.send(ACK, &[]);
            if segment.flags & FIN != 0 {
                return all;
            }
        }
    }
}

/// A server, and where the guest finds it.
fn listen() -> (TcpListener, (Ipv4Addr, u16)) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, (HOST_V4, port))
}

/// A connection of the guest from that port, and the server's end of it.
fn connected(guest: &mut Guest, port: u16) -> (Connection<'_>, TcpStream) {
    let (listener, to) = listen();
    let mut connection = Connection::new(guest, to, port);
    connection.open();
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    (connection, stream)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

/// How many TCP connections the switch has.
fn active(guest: &mut Guest) -> u32 {
    guest.say(&ToSwitch::GetCounters);
    let FromSwitch::Counters(counters) = guest.message() else {
        panic!("no counters");
    };
    counters.tcp_active
}

fn wait_until_none_is_active(guest: &mut Guest) {
    let until = Instant::now() + DEADLINE;
    while active(guest) > 0 {
        assert!(Instant::now() < until, "connections stay");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn data_of_before_a_close_arrives() {
    both(|guest| {
        // The server's.
        let (mut connection, mut stream) = connected(guest, 40_000);
        let server = thread::spawn(move || stream.write_all(&pattern(300_000)));
        assert!(connection.receive_all() == pattern(300_000));
        server.join().expect("the server").expect("room");
        connection.send(ACK | FIN, &[]);
        wait_until_none_is_active(guest);
        // The guest's, to a server that reads when all is over for the guest.
        let (mut connection, mut stream) = connected(guest, 40_001);
        for data in pattern(60_000).chunks(20_000) {
            connection.send(ACK, data);
        }
        connection.send(ACK | FIN, &[]);
        while connection.window(DEADLINE).is_none() {}
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("data");
        assert!(all == pattern(60_000), "{} bytes", all.len());
        drop(stream);
        assert_eq!(connection.receive_all(), b"");
        wait_until_none_is_active(guest);
    });
}

#[test]
fn server_may_end_its_side_alone() {
    both(|guest| {
        let (mut connection, mut stream) = connected(guest, 40_000);
        stream.write_all(b"hello").expect("room");
        stream.shutdown(std::net::Shutdown::Write).expect("an end");
        assert_eq!(connection.receive_all(), b"hello");
        for _ in 0..3 {
            connection.send(ACK | PUSH, b"more");
        }
        connection.send(ACK | FIN, &[]);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("data");
        assert_eq!(all, b"moremoremore");
        wait_until_none_is_active(guest);
    });
}

#[test]
fn resets_pass_in_both_directions() {
    both(|guest| {
        let (mut connection, mut stream) = connected(guest, 40_000);
        connection.send(ACK | PUSH, b"x");
        stream.read_exact(&mut [0]).expect("data");
        connection.send(RST, &[]);
        assert!(broken(&mut stream), "the server sees no reset");
        wait_until_none_is_active(guest);

        let (mut connection, stream) = connected(guest, 40_001);
        let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a socket");
        drop(stream);
        let end = connection.receive();
        // Wine reports a reset as an end of stream.
        if cfg!(windows) && end.flags & FIN != 0 {
            connection.send(ACK | PUSH, b"x");
            connection.send(ACK | PUSH, b"y");
        } else {
            assert_eq!(end.flags, RST | ACK);
        }
        connection.send(RST, &[]);
        wait_until_none_is_active(guest);
    });
}

#[test]
fn addresses_without_a_machine_are_unreachable() {
    both(|guest| {
        let to = Ipv4Addr::new(192, 168, 127, 9);
        let mut connection = Connection::new(guest, (to, 80), 40_000);
        connection.send(SYN, &[]);
        connection.guest.send_datagram(40_000, (to, 53), b"x");
        for protocol in [TCP, UDP] {
            let packet = guest.packet();
            assert_eq!((packet.protocol, packet.from), (ICMP, GATEWAY_V4.into()));
            assert_eq!(packet.payload[..2], [3, 1]);
            // It quotes the packet.
            assert_eq!(packet.payload[8 + 9], protocol);
        }
    });
}

#[test]
fn server_that_never_reads_stops_its_connection_alone() {
    both(|guest| {
        let (mut connection, mut stream) = connected(guest, 40_000);
        let to = connection.to;
        let (mut total, mut window) = (0, 65_535);
        // Windows that open late are filled too.
        while window > 0 {
            let length = window.min(20_000);
            connection.send(ACK, &pattern(length));
            total += length;
            assert!(total < 64 << 20, "no backpressure");
            window = connection.window(DEADLINE).expect("an ACK");
            if window == 0 {
                window = connection.window(QUIET).unwrap_or(0);
            }
        }
        let kept = connection.keep();
        #[cfg(target_os = "linux")]
        assert!(crate::harness::memory(guest.child.id()) < 64 << 20);
        let (mut other, mut echo) = connected(guest, 40_001);
        other.send(ACK | PUSH, b"question");
        echo.read_exact(&mut [0; 8]).expect("data");
        echo.write_all(b"answer").expect("room");
        assert_eq!(other.receive_bytes(6), b"answer");

        let mut connection = Connection::kept(guest, to, kept);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).map(|count| (count, all))
        });
        while connection.window(DEADLINE).expect("a window") == 0 {}
        connection.send(ACK | FIN, &[]);
        let (count, all) = reader.join().expect("the server").expect("data");
        assert_eq!(count, total);
        assert!(all.starts_with(&pattern(20_000)));
    });
}

#[test]
fn thousand_connections_are_served_and_idle_ones_cost_nothing() {
    raise_limits();
    both(|guest| {
        let (listener, to) = listen();
        let server = thread::spawn(move || {
            let accept = |_| listener.accept().expect("a connection").0;
            let mut streams = Vec::new();
            for number in 0..CLIENTS {
                let mut stream = accept(number);
                let mut data = [0; 8];
                stream.read_exact(&mut data).expect("data");
                stream.write_all(&data).expect("room");
                streams.push(stream);
            }
            streams
        });
        let mut kept = Vec::new();
        for (port, number) in (10_000..).zip(0..CLIENTS) {
            let mut connection = Connection::new(guest, to, port);
            connection.open();
            let data = number.to_be_bytes();
            connection.send(ACK | PUSH, &data);
            assert_eq!(connection.receive_bytes(data.len()), data);
            kept.push(connection.keep());
        }
        let mut streams = server.join().expect("the server");
        assert_eq!(active(guest), u32::try_from(CLIENTS).expect("few"));
        #[cfg(target_os = "linux")]
        {
            use crate::harness::{memory, switches};
            let id = guest.child.id();
            assert!(memory(id) < 64 << 20, "{} bytes", memory(id));
            println!("{} bytes with {CLIENTS} connections", memory(id));
            // Empty buffers are kept for a second; then nothing is due.
            let until = Instant::now() + DEADLINE;
            let mut before = switches(id);
            loop {
                thread::sleep(QUIET);
                let now = switches(id);
                if now == before {
                    break;
                }
                assert!(Instant::now() < until, "it never rests");
                before = now;
            }
            println!("{} bytes when they are idle", memory(id));
        }
        // All of them still work, with more data than before.
        for (stream, kept) in streams.iter_mut().zip(kept) {
            stream.write_all(&pattern(5000)).expect("room");
            let mut connection = Connection::kept(guest, to, kept);
            assert_eq!(connection.receive_bytes(5000), pattern(5000));
        }
        #[cfg(target_os = "linux")]
        {
            let bytes = crate::harness::memory(guest.child.id());
            assert!(bytes < 64 << 20, "{bytes} bytes");
            println!("{bytes} bytes after all were used again");
        }
        drop(streams);
        for _ in 0..CLIENTS {
            assert_eq!(guest.packet().protocol, TCP);
        }
    });
}

#[test]
fn killed_switch_ends_connections_of_servers() {
    both(|guest| {
        let (_, mut stream) = connected(guest, 40_000);
        guest.child.kill().expect("a switch");
        guest.child.wait().expect("its end");
        let end = stream.read(&mut [0]);
        let closed = matches!(end, Ok(0));
        assert!(closed || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    });
}
