use std::cell::RefCell;
use std::num::NonZeroU16;
use std::rc::Rc;

use super::super::ip::{self, Packet};
use super::super::testing::{Driver, GUEST, GUEST_V6, Shared, Socket, Waiting, body};
use super::*;

mod udp;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

fn forward(protocol: Protocol, listen: &str, port: u16) -> Forward {
    let at: SocketAddr = listen.parse().unwrap();
    Forward {
        listen: Listen {
            protocol,
            listen_address: at.ip(),
            listen_port: NonZeroU16::new(at.port()).unwrap(),
        },
        guest: None,
        guest_port: NonZeroU16::new(port).unwrap(),
    }
}

/// A generation, and each port with its failure.
type Applied = (u64, Vec<(u16, Option<FailureKind>)>);

/// What the guest learns.
fn applied(driver: &mut Driver) -> Option<Applied> {
    match driver.engine.applied()? {
        FromSwitch::Applied {
            generation,
            listeners,
        } => {
            let of = |one: Listener| {
                let kind = one.failure.map(|failure| failure.kind);
                (one.listen.listen_port.get(), kind)
            };
            Some((generation, listeners.into_iter().map(of).collect()))
        }
        other => panic!("{other:?}"),
    }
}

impl Driver {
    /// A client of a forward of TCP arrives, and one of UDP.
    pub(in super::super) fn knock(&mut self, port: u16) {
        if self.network.0.borrow().listeners.is_empty() {
            let both = [
                forward(TCP, "0.0.0.0:1000", 80),
                forward(UDP, "0.0.0.0:1000", 80),
            ];
            self.set(1, &both);
        }
        let client = format!("203.0.113.5:{port}");
        let socket = self.client(1000, &client);
        socket.borrow_mut().input.extend([1; 2000]);
        let world = self.network.0.borrow();
        let at = Some("0.0.0.0:1000".parse().unwrap());
        let udp = world.udp.iter().find(|one| one.borrow().to == at);
        let udp = Rc::clone(udp.unwrap());
        drop(world);
        arrive(self, &udp, b"datagram", &client);
    }
}

/// A segment to the guest: from where, to which port, sequence number, ACK, flags.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    ack: u32,
    flags: u8,
    data: Vec<u8>,
}

impl Driver {
    fn set(&mut self, generation: u64, forwards: &[Forward]) {
        self.engine
            .set_forwards(generation, forwards.to_vec(), self.now);
    }

    fn listener(&self, port: u16) -> Rc<RefCell<Waiting>> {
        let world = self.network.0.borrow();
        let open =
            |one: &&Rc<RefCell<Waiting>>| !one.borrow().closed && one.borrow().at.port() == port;
        let found = world.listeners.iter().find(open);
        Rc::clone(found.expect("a listener"))
    }

    /// A client connects there.
    fn client(&mut self, port: u16, from: &str) -> Shared {
        let socket = Rc::new(RefCell::new(Socket {
            connected: Some(Ok(())),
            room: usize::MAX,
            ..Socket::default()
        }));
        let listener = self.listener(port);
        let client = Ok((from.parse().unwrap(), Rc::clone(&socket)));
        listener.borrow_mut().clients.push_back(client);
        let token = listener.borrow().token;
        self.ready(token);
        self.turns();
        socket
    }

    fn segments(&mut self) -> Vec<Got> {
        let bodies = self.take();
        let segments = bodies.iter().map(|body| {
            let packet = Packet::parse(body).expect("a packet");
            assert_eq!(packet.protocol, ip::TCP);
            let bytes = packet.payload;
            let word = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
            let port = |at: usize| u16::from_be_bytes(*bytes[at..].first_chunk().unwrap());
            Got {
                from: SocketAddr::new(packet.from, port(0)),
                to: SocketAddr::new(packet.to, port(2)),
                sequence: word(4),
                ack: word(8),
                flags: bytes[13],
                data: bytes[usize::from(bytes[12] >> 4) * 4..].to_vec(),
            }
        });
        segments.collect()
    }

    /// The guest answers a segment.
    fn answer(&mut self, got: &Got, (sequence, ack): (u32, u32), flags: u8, data: &[u8]) {
        let mut payload = Vec::new();
        payload.extend(got.to.port().to_be_bytes());
        payload.extend(got.from.port().to_be_bytes());
        payload.extend(sequence.to_be_bytes());
        payload.extend(ack.to_be_bytes());
        payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        payload.extend(data);
        self.feed(&[body(got.to.ip(), got.from.ip(), ip::TCP, &payload)]);
        self.turns();
    }

    /// The SYN that the guest gets.
    fn syn(&mut self) -> Got {
        let segments = self.segments();
        let [syn] = &segments[..] else {
            panic!("{segments:?}");
        };
        assert_eq!((syn.flags, syn.ack), (SYN, 0));
        syn.clone()
    }

    /// The guest takes a connection, with the number 7000.
    fn establish(&mut self) -> Got {
        let syn = self.syn();
        self.answer(&syn, (7000, syn.sequence + 1), SYN | ACK, &[]);
        syn
    }
}

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

#[test]
fn client_and_guest_talk_and_end() {
    let mut driver = Driver::new();
    driver.set(3, &[forward(TCP, "0.0.0.0:8080", 80)]);
    assert_eq!(applied(&mut driver), Some((3, vec![(8080, None)])));
    assert_eq!(applied(&mut driver), None);
    let socket = driver.client(8080, "203.0.113.5:40000");
    // What the client sends early waits.
    socket.borrow_mut().input.extend(b"to guest");
    let token = socket.borrow().token;
    driver.ready(token);
    let syn = driver.establish();
    assert_eq!(syn.from.ip(), IpAddr::from(link::GATEWAY_V4));
    assert_eq!(syn.to, SocketAddr::new(GUEST, 80));
    assert!(syn.from.port() >= 32_768);
    let got = driver.segments();
    assert_eq!(got.concat_data(), b"to guest");
    assert!(got.iter().all(|one| one.ack == 7001), "{got:?}");
    driver.answer(&syn, (7001, syn.sequence + 9), ACK, b"to client");
    assert_eq!(socket.borrow().written, b"to client");
    // The client closes its side first; the guest still sends.
    socket.borrow_mut().ended = true;
    driver.ready(token);
    driver.turns();
    assert!(driver.segments().iter().any(|one| one.flags & 1 != 0));
    assert!(!socket.borrow().finished);
    driver.answer(&syn, (7010, syn.sequence + 10), ACK | 1, b"bye");
    assert_eq!(socket.borrow().written, b"to clientbye");
    assert!(socket.borrow().finished && socket.borrow().closed);
    assert!(!socket.borrow().aborted);
    assert_eq!(driver.counters().tcp_active, 0);
    assert_eq!(driver.counters().tcp_failed, 0);
    driver.serves();
}

trait Data {
    fn concat_data(&self) -> Vec<u8>;
}

impl Data for Vec<Got> {
    fn concat_data(&self) -> Vec<u8> {
        self.iter().flat_map(|one| one.data.clone()).collect()
    }
}

#[test]
fn refusal_of_the_guest_resets_the_client() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:8080", 80)]);
    let socket = driver.client(8080, "203.0.113.5:40000");
    let syn = driver.syn();
    // Forged: another number.
    driver.answer(&syn, (0, syn.sequence), RST | ACK, &[]);
    assert!(!socket.borrow().closed);
    driver.answer(&syn, (0, syn.sequence + 1), RST | ACK, &[]);
    assert!(socket.borrow().closed && socket.borrow().aborted);
    assert_eq!(driver.counters().tcp_failed, 1);
    assert_eq!(driver.counters().tcp_active, 0);

    // A firewall's refusal quotes the SYN.
    let socket = driver.client(8080, "203.0.113.5:40001");
    let quoted = driver.take().remove(0);
    let quoted = &quoted[link::HEADER..];
    let message = [&[3, 10, 0, 0, 0, 0, 0, 0], &quoted[..28]].concat();
    let mut wrong = message.clone();
    wrong[8 + 20 + 4] ^= 1;
    for (message, closed) in [(wrong, false), (message, true)] {
        driver.feed(&[body(GUEST, link::GATEWAY_V4.into(), ip::ICMP, &message)]);
        assert_eq!(socket.borrow().aborted, closed);
    }
}

#[test]
fn silent_guest_is_asked_again_and_given_up() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:8080", 80)]);
    let socket = driver.client(8080, "203.0.113.5:40000");
    let first = driver.syn();
    driver.pass(Duration::from_millis(300));
    assert_eq!(driver.syn(), first);
    driver.pass(Duration::from_secs(30));
    assert!(socket.borrow().closed && socket.borrow().aborted);
    assert!(driver.segments().iter().all(|one| one.flags == SYN));
    assert_eq!(driver.engine.deadline(), None);
    // It answers too late.
    driver.answer(&first, (7000, first.sequence + 1), SYN | ACK, &[]);
    assert_eq!(driver.segments()[0].flags, RST);
}

#[test]
fn connection_of_an_earlier_switch_is_reset_first() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:8080", 80)]);
    let socket = driver.client(8080, "203.0.113.5:40000");
    let syn = driver.syn();
    driver.answer(&syn, (99, syn.sequence.wrapping_sub(500)), ACK, &[]);
    let reset = &driver.segments()[0];
    let wanted = (RST, syn.sequence.wrapping_sub(500));
    assert_eq!((reset.flags, reset.sequence), wanted);
    driver.pass(Duration::from_millis(300));
    driver.establish();
    assert!(!socket.borrow().closed);
    assert_eq!(driver.counters().tcp_active, 1);
}

#[test]
fn backpressure_reaches_both() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:8080", 80)]);
    let socket = driver.client(8080, "203.0.113.5:40000");
    socket.borrow_mut().room = 10;
    socket.borrow_mut().input.extend(vec![5; 1 << 20]);
    let token = socket.borrow().token;
    driver.ready(token);
    let syn = driver.establish();
    // As much as the guest's window, which is not scaled here.
    assert!(driver.segments().concat_data().len() <= 65_535);
    assert!(socket.borrow().input.len() > 300_000);
    driver.answer(&syn, (7001, syn.sequence + 1), ACK, &[7; 1000]);
    assert_eq!(socket.borrow().written.len(), 10);
    socket.borrow_mut().room = usize::MAX;
    driver.ready(token);
    driver.turns();
    assert_eq!(socket.borrow().written.len(), 1000);
}

#[test]
fn family_of_the_client_decides_unless_it_is_named() {
    let mut driver = Driver::new();
    let both = forward(TCP, "[::]:8080", 80);
    let named = Forward {
        guest: Some(GUEST),
        ..forward(TCP, "[::1]:8081", 81)
    };
    let stranger = Forward {
        guest: Some([10, 0, 0, 1].into()),
        ..forward(TCP, "[::1]:8082", 82)
    };
    driver.set(1, &[both, named, stranger]);
    let none = Some(FailureKind::NoAddress);
    let wanted = vec![(8080, None), (8081, None), (8082, none)];
    assert_eq!(applied(&mut driver), Some((1, wanted)));
    for (port, client, to) in [
        (8080, "[2001:db8::5]:4000", GUEST_V6),
        (8080, "[::ffff:203.0.113.5]:4000", GUEST),
        (8081, "[::1]:4000", GUEST),
    ] {
        let _socket = driver.client(port, client);
        assert_eq!(driver.syn().to.ip(), to, "{client}");
    }
}

#[test]
fn lists_make_the_difference() {
    let mut driver = Driver::new();
    let (first, second) = (
        forward(TCP, "0.0.0.0:1000", 80),
        forward(TCP, "0.0.0.0:1001", 80),
    );
    driver.set(1, &[first, second]);
    let (listener, kept) = (driver.listener(1000), driver.client(1000, "203.0.113.5:1"));
    driver.establish();
    let ended = driver.client(1001, "203.0.113.5:2");
    driver.segments();
    let moved = Forward {
        guest_port: NonZeroU16::new(81).unwrap(),
        ..first
    };
    driver.set(2, &[moved, moved]);
    assert_eq!(applied(&mut driver), Some((2, vec![(1000, None)])));
    assert!(!listener.borrow().closed && !kept.borrow().closed);
    assert!(ended.borrow().closed && ended.borrow().aborted);
    driver.segments();
    let _socket = driver.client(1000, "203.0.113.5:3");
    assert_eq!(driver.syn().to.port(), 81);
    driver.set(3, &[]);
    assert_eq!(applied(&mut driver), Some((3, vec![])));
    assert!(listener.borrow().closed && kept.borrow().aborted);
    assert_eq!(driver.counters().tcp_active, 0);
    assert_eq!(driver.engine.deadline(), None);
}

#[test]
fn port_that_is_taken_is_tried_again() {
    let mut driver = Driver::new();
    driver.network.0.borrow_mut().taken = vec![1000];
    driver.set(5, &[forward(TCP, "0.0.0.0:1000", 80)]);
    let taken = Some(FailureKind::InUse);
    assert_eq!(applied(&mut driver), Some((5, vec![(1000, taken)])));
    // Later and later: 1, 2, 4, 8, 16, 32, 60 s.
    let mut tries = 0;
    let start = driver.now;
    while driver.now < start + Duration::from_secs(200) {
        let next = driver.engine.deadline().unwrap();
        driver.pass(next - driver.now);
        tries += 1;
    }
    assert_eq!(tries, 9);
    assert_eq!(applied(&mut driver), None);
    driver.network.0.borrow_mut().taken.clear();
    driver.pass(LONGEST);
    assert_eq!(applied(&mut driver), Some((5, vec![(1000, None)])));
    assert_eq!(driver.engine.deadline(), None);
}

#[test]
fn clients_beyond_the_limit_are_reset_and_the_guest_connects() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:1000", 80)]);
    let sockets: Vec<_> = (0..600)
        .map(|_| driver.client(1000, "203.0.113.5:1"))
        .collect();
    let reset = sockets.iter().filter(|one| one.borrow().aborted).count();
    assert_eq!(reset, 600 - 512);
    assert_eq!(driver.counters().tcp_refused, 88);
    let ports: std::collections::HashSet<_> = driver
        .segments()
        .iter()
        .map(|one| one.from.port())
        .collect();
    assert_eq!(ports.len(), 512);
    driver.network.0.borrow_mut().tcp.clear();
    driver.pass(Duration::from_secs(30));
    driver.serves();
}

#[test]
fn lack_of_sockets_is_waited_for() {
    let mut driver = Driver::new();
    driver.set(1, &[forward(TCP, "0.0.0.0:1000", 80)]);
    let listener = driver.listener(1000);
    let lack = Err(io::Error::from(ErrorKind::OutOfMemory));
    listener.borrow_mut().clients.push_back(lack);
    driver.client(1000, "203.0.113.5:1");
    assert!(driver.segments().is_empty());
    driver.pass(LACK);
    driver.syn();
}

fn arrive(driver: &mut Driver, socket: &Shared, data: &[u8], from: &str) {
    let datagram = Ok((data.to_vec(), from.parse().unwrap()));
    socket.borrow_mut().incoming.push_back(datagram);
    let token = socket.borrow().token;
    driver.ready(token);
    driver.turns();
}
