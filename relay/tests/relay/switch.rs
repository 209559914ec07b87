//! `wslmesh-relay switch`, with a guest that is made of frames.

mod probes;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use wslmesh_relay::link::{self, Frame, Frames, FromSwitch, GATEWAY_V4, HOST_V4, ToSwitch};

use super::harness::{DEADLINE, program};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PUSH: u8 = 8;
const ACK: u8 = 16;

enum Got {
    Packet(Vec<u8>),
    Message(FromSwitch),
}

/// A guest and its switch, which is killed on drop.
struct Guest {
    child: Child,
    stdin: Option<ChildStdin>,
    got: Receiver<Got>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A packet of the switch: its header's protocol and sender, and its payload.
struct Packet {
    protocol: u8,
    from: IpAddr,
    payload: Vec<u8>,
}

impl Guest {
    fn start(threads: bool) -> Self {
        let mut command = program();
        command.arg("switch");
        if threads {
            command.arg("--threads");
        }
        let mut child = command.spawn().expect("the program");
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().expect("a pipe");
        let (sender, got) = channel();
        thread::spawn(move || {
            let mut frames = Frames::default();
            while let Ok(count) = stdout.read(frames.space()) {
                frames.filled(count);
                while let Some(frame) = frames.next_frame().expect("frames") {
                    let frame = match frame {
                        Frame::Packet(body) => Got::Packet(body[link::HEADER..].to_vec()),
                        Frame::Control(body) => {
                            Got::Message(link::message(body).expect("a message"))
                        }
                    };
                    if sender.send(frame).is_err() {
                        return;
                    }
                }
                if count == 0 {
                    return;
                }
            }
        });
        Self { child, stdin, got }
    }

    /// Starts one and greets it.
    fn greeted(threads: bool) -> Self {
        let mut guest = Self::start(threads);
        guest.say(&hello(link::VERSION));
        let answer = guest.message();
        let ours = env!("CARGO_PKG_VERSION");
        assert!(
            matches!(&answer, FromSwitch::Hello { version: link::VERSION, program, .. } if program == ours),
            "{answer:?}"
        );
        guest
    }

    fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("a pipe");
        stdin.write_all(bytes).expect("the switch reads");
    }

    fn say(&mut self, message: &ToSwitch) {
        let mut out = Vec::new();
        link::put_message(&mut out, message);
        self.write(&out);
    }

    /// Sends a packet whose transport's checksum is left out.
    fn send(&mut self, to: Ipv4Addr, protocol: u8, payload: &[u8]) {
        let length = u16::try_from(20 + payload.len())
            .expect("a packet")
            .to_be_bytes();
        let mut header = vec![
            0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0,
        ];
        header.extend(link::GUEST_V4.octets());
        header.extend(to.octets());
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        let virtio = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut out = Vec::new();
        link::put_packet(&mut out, &[&virtio[..], &header, payload].concat());
        self.write(&out);
    }

    fn next(&self) -> Got {
        self.got.recv_timeout(DEADLINE).expect("a frame in time")
    }

    fn message(&self) -> FromSwitch {
        loop {
            if let Got::Message(message) = self.next() {
                return message;
            }
        }
    }

    /// The next packet, of its fragments if need be.
    fn packet(&self) -> Packet {
        let (mut whole, mut length) = (Vec::new(), None);
        loop {
            let Got::Packet(bytes) = self.next() else {
                continue;
            };
            assert_eq!(bytes[0], 0x45);
            assert_eq!(bytes[16..20], link::GUEST_V4.octets());
            let place = u16::from_be_bytes([bytes[6], bytes[7]]);
            let start = usize::from(place & 0x1fff) * 8;
            let end = start + bytes.len() - 20;
            if whole.len() < end {
                whole.resize(end, 0);
            }
            whole[start..end].copy_from_slice(&bytes[20..]);
            if place & 0x2000 == 0 {
                length = Some(end);
            }
            // The link keeps the order.
            if length == Some(end) {
                return Packet {
                    protocol: bytes[9],
                    from: IpAddr::from([bytes[12], bytes[13], bytes[14], bytes[15]]),
                    payload: whole,
                };
            }
        }
    }

    fn send_datagram(&mut self, from: u16, to: (Ipv4Addr, u16), data: &[u8]) {
        let length = u16::try_from(8 + data.len()).expect("a datagram");
        let mut payload = Vec::new();
        for field in [from, to.1, length, 0] {
            payload.extend(field.to_be_bytes());
        }
        payload.extend(data);
        self.send(to.0, UDP, &payload);
    }

    /// The next datagram, from there: its data.
    fn datagram(&self, port: u16, from: (Ipv4Addr, u16)) -> Vec<u8> {
        let packet = self.packet();
        assert_eq!((packet.protocol, packet.from), (UDP, from.0.into()));
        assert_eq!(packet.payload[..2], from.1.to_be_bytes());
        assert_eq!(packet.payload[2..4], port.to_be_bytes());
        packet.payload[8..].to_vec()
    }

    /// Waits for its end.
    fn exit(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < until, "it does not exit");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn hello(version: u32) -> ToSwitch {
    ToSwitch::Hello {
        version,
        program: "test".to_owned(),
        nameservers: vec![[10, 9, 8, 7].into()],
    }
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !u16::try_from(total).expect("16 bits")
}

/// A connection of the guest.
struct Connection<'a> {
    guest: &'a mut Guest,
    to: (Ipv4Addr, u16),
    port: u16,
    next: u32,
    /// The switch's next number.
    ack: u32,
}

/// A segment of the switch.
struct Segment {
    flags: u8,
    data: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(guest: &'a mut Guest, to: (Ipv4Addr, u16), port: u16) -> Self {
        Self {
            guest,
            to,
            port,
            next: 77,
            ack: 0,
        }
    }

    fn send(&mut self, flags: u8, data: &[u8]) {
        let mut payload = Vec::new();
        payload.extend(self.port.to_be_bytes());
        payload.extend(self.to.1.to_be_bytes());
        payload.extend(self.next.to_be_bytes());
        payload.extend(self.ack.to_be_bytes());
        payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        payload.extend(data);
        self.guest.send(self.to.0, TCP, &payload);
        let flags = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        self.next += u32::try_from(data.len()).expect("little data") + flags;
    }

    /// The next segment that is more than an ACK.
    fn receive(&mut self) -> Segment {
        loop {
            let packet = self.guest.packet();
            assert_eq!((packet.protocol, packet.from), (TCP, self.to.0.into()));
            let bytes = packet.payload;
            let number = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let segment = Segment {
                flags: bytes[13],
                data: bytes[usize::from(bytes[12] >> 4) * 4..].to_vec(),
            };
            if segment.flags & SYN != 0 {
                self.ack = number;
            }
            let taken = segment.flags & (SYN | FIN | RST) != 0 || !segment.data.is_empty();
            // Others have come already.
            if taken && (number == self.ack || segment.flags & RST != 0) {
                let flags = u32::from(segment.flags & (SYN | FIN) != 0);
                self.ack += u32::try_from(segment.data.len()).expect("a segment") + flags;
                return segment;
            }
        }
    }

    fn open(&mut self) {
        self.send(SYN, &[]);
        assert_eq!(self.receive().flags, SYN | ACK);
        self.send(ACK, &[]);
    }

    /// Receives so many bytes, and acknowledges them.
    fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let segment = self.receive();
            assert_eq!(segment.flags & RST, 0);
            all.extend(segment.data);
            self.send(ACK, &[]);
        }
        all
    }
}

/// Both ways of standard input and output, where there are two.
fn both(test: impl Fn(&mut Guest)) {
    for threads in [false, true] {
        test(&mut Guest::greeted(threads));
    }
}

#[test]
fn messages_are_answered() {
    both(|guest| {
        guest.say(&ToSwitch::Ping { id: 5 });
        assert_eq!(guest.message(), FromSwitch::Pong { id: 5 });
        guest.say(&ToSwitch::GetCounters);
        let FromSwitch::Counters(counters) = guest.message() else {
            panic!("no counters");
        };
        assert_eq!((counters.packets_in, counters.tcp_active), (0, 0));
        drop(guest.stdin.take());
        assert!(guest.exit().success());
    });
}

#[test]
fn what_is_no_link_ends_it() {
    let packet = [0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x45];
    let mut ping = Vec::new();
    link::put_message(&mut ping, &ToSwitch::Ping { id: 1 });
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), 5),
        (vec![0, 0, 0, 3, 1, 2, 3], 5),
        (vec![0x80, 0, 0, 2, b'{', b'}'], 5),
        (ping, 5),
        ([&packet[..], &[0xff; 4]].concat(), 5),
    ] {
        let mut guest = Guest::start(false);
        guest.write(&bytes);
        assert_eq!(guest.exit().code(), Some(code), "{bytes:?}");
    }
    let mut guest = Guest::start(false);
    guest.say(&hello(link::VERSION + 1));
    assert!(matches!(guest.message(), FromSwitch::Refused { .. }));
    assert_eq!(guest.exit().code(), Some(4));
}

#[test]
fn tcp_reaches_this_machine() {
    both(|guest| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut all = Vec::new();
            // Until the guest has ended its side, then more.
            stream.read_to_end(&mut all).expect("data");
            stream.write_all(&all.repeat(1000)).expect("an answer");
        });
        let mut connection = Connection::new(guest, (HOST_V4, port), 40_000);
        connection.open();
        connection.send(ACK | PUSH, b"0123");
        connection.send(ACK | PUSH | FIN, b"456789");
        let data = connection.receive_bytes(10_000);
        assert_eq!(data, b"0123456789".repeat(1000));
        server.join().expect("the server");
    });
}

#[test]
fn refused_and_reset_reach_the_guest() {
    both(|guest| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        for (to, port) in [(HOST_V4, port), (GATEWAY_V4, 80)] {
            let mut connection = Connection::new(guest, (to, port), 40_000);
            connection.send(SYN, &[]);
            assert_eq!(connection.receive().flags, RST | ACK);
        }
        // A segment of no connection.
        let mut connection = Connection::new(guest, (HOST_V4, port), 40_001);
        connection.send(ACK, b"x");
        assert_eq!(connection.receive().flags, RST);
    });
}

#[test]
fn udp_of_all_sizes_is_answered() {
    both(|guest| {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = server.local_addr().expect("an address").port();
        server.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut buffer = vec![0; 65_536];
        let mut seen = None;
        for length in [0, 1, 1200, 1472, 1473, 4000, 60_000] {
            let data: Vec<u8> = (0..251).cycle().take(length).collect();
            guest.send_datagram(40_000, (HOST_V4, port), &data);
            let (count, from) = server.recv_from(&mut buffer).expect("a datagram");
            assert_eq!(buffer[..count], data);
            // The same port each time.
            assert_eq!(*seen.get_or_insert(from), from);
            server.send_to(&data, from).expect("an answer");
            assert_eq!(guest.datagram(40_000, (HOST_V4, port)), data);
        }
        // Another address answers.
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let from: SocketAddr = seen.expect("a port");
        other
            .send_to(b"stun", (Ipv4Addr::LOCALHOST, from.port()))
            .expect("a datagram");
        let port = other.local_addr().expect("an address").port();
        assert_eq!(guest.datagram(40_000, (HOST_V4, port)), b"stun");
    });
}

#[test]
#[cfg(target_os = "linux")]
fn udp_to_nobody_is_unreachable() {
    both(|guest| {
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = gone.local_addr().expect("an address").port();
        drop(gone);
        for to in [(HOST_V4, port), (GATEWAY_V4, 9)] {
            guest.send_datagram(40_000, to, b"x");
            let packet = guest.packet();
            assert_eq!((packet.protocol, packet.from), (ICMP, to.0.into()));
            assert_eq!(packet.payload[..2], [3, 3]);
            assert_eq!(packet.payload[8 + 22..8 + 24], to.1.to_be_bytes());
        }
    });
}

#[test]
fn gateway_answers_ping() {
    both(|guest| {
        let mut echo = vec![8, 0, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4];
        let sum = checksum(&echo).to_be_bytes();
        echo[2..4].copy_from_slice(&sum);
        for to in [GATEWAY_V4, HOST_V4] {
            guest.send(to, ICMP, &echo);
            let packet = guest.packet();
            assert_eq!((packet.protocol, packet.from), (ICMP, to.into()));
            assert_eq!(packet.payload[..2], [0, 0]);
            assert_eq!(packet.payload[4..], echo[4..]);
        }
    });
}

/// A query for addresses of IPv4.
fn query(labels: &[&str]) -> Vec<u8> {
    let mut query = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

#[test]
fn names_are_resolved() {
    both(|guest| {
        let nameserver = Ipv4Addr::new(10, 9, 8, 7);
        for server in [GATEWAY_V4, nameserver] {
            for (labels, address) in [
                (&["localhost"][..], [127, 0, 0, 1]),
                (&["host", "wslmesh", "internal"], HOST_V4.octets()),
                (&["gateway", "docker", "internal"], GATEWAY_V4.octets()),
            ] {
                let query = query(labels);
                guest.send_datagram(5000, (server, 53), &query);
                let answer = guest.datagram(5000, (server, 53));
                assert_eq!(answer[..2], query[..2]);
                assert!(answer.ends_with(&address), "{labels:?}: {answer:?}");
            }
        }
        let query = query(&["localhost"]);
        let length = u16::try_from(query.len()).expect("a query").to_be_bytes();
        let mut connection = Connection::new(guest, (nameserver, 53), 40_000);
        connection.open();
        connection.send(ACK | PUSH, &length);
        connection.send(ACK | PUSH | FIN, &query);
        let answer = connection.receive_bytes(2 + query.len() + 16);
        assert_eq!(answer[2..4], query[..2]);
        assert!(answer.ends_with(&[127, 0, 0, 1]));
    });
}
