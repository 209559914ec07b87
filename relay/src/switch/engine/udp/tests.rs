use std::io;
use std::net::Ipv4Addr;

use super::super::Config;
use super::super::ip::ICMP;
use super::super::testing::{GUEST, GUEST_V6, Handle, Memory, Shared, bodies, udp};
use super::*;
use crate::link::{self, Counters};

const PORT: SocketAddr = SocketAddr::new(GUEST, 40_000);
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 3478);
const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), 5000);

/// The flows with all that they need.
struct Bench {
    flows: Flows<Handle>,
    network: Memory,
    out: Output,
    counters: Counters,
    config: Config,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self {
            flows: Flows::new(),
            network: Memory::default(),
            out: Output::default(),
            counters: Counters::default(),
            config: Config {
                mtu: link::MTU,
                nameservers: Vec::new(),
            },
            now: Instant::now(),
        }
    }

    fn with<R>(
        &mut self,
        act: impl FnOnce(&mut Flows<Handle>, &mut Context<'_, Memory>) -> R,
    ) -> R {
        let mut context = Context {
            config: &self.config,
            network: &mut self.network,
            out: &mut self.out,
            counters: &mut self.counters,
            now: self.now,
        };
        act(&mut self.flows, &mut context)
    }

    fn send_body(&mut self, body: &[u8]) {
        let packet = Packet::parse(body).unwrap();
        let datagram = Datagram::parse(&packet).unwrap();
        let to = match addresses::destination(packet.to) {
            addresses::Destination::Outside(to) => to,
            other => panic!("{other:?}"),
        };
        self.with(|flows, context| {
            flows.send(context, (&packet, datagram), to, |number| number * 2 + 1)
        });
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        self.send_body(&udp(from, to, data));
    }

    fn socket(&self, number: usize) -> Shared {
        self.network.0.borrow().udp[number].clone()
    }

    /// The datagrams that the guest gets after these have come.
    fn receive(&mut self, number: usize, incoming: &[(&[u8], SocketAddr)]) -> Vec<Vec<u8>> {
        let socket = self.socket(number);
        for (data, from) in incoming {
            socket
                .borrow_mut()
                .incoming
                .push_back(Ok((data.to_vec(), *from)));
        }
        let token = socket.borrow().token;
        self.flows.ready(token / 2);
        self.turns()
    }

    fn turns(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while self.flows.has_ready() {
            self.with(|flows, context| flows.turns(context));
            all.extend(bodies(&mut self.out));
        }
        all.extend(bodies(&mut self.out));
        all
    }
}

/// The datagram in a body: from, to, data.
fn read(body: &[u8]) -> (SocketAddr, SocketAddr, Vec<u8>) {
    let packet = Packet::parse(body).unwrap();
    assert!(packet.is_intact());
    let datagram = Datagram::parse(&packet).unwrap();
    (datagram.guest, datagram.server, datagram.data.to_vec())
}

#[test]
fn a_port_of_the_guest_has_one_port() {
    let mut bench = Bench::new();
    bench.send(PORT, SERVER, b"one");
    bench.send(PORT, OTHER, b"two");
    bench.send(PORT, SERVER, b"");
    assert_eq!(bench.flows.len(), 1);
    let expected = [(&b"one"[..], SERVER), (b"two", OTHER), (b"", SERVER)];
    assert_eq!(
        bench.socket(0).borrow().sent,
        expected.map(|(data, to)| (data.to_vec(), to))
    );
    // Whoever answers.
    let third = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 7).into(), 9);
    let answers = bench.receive(0, &[(b"1", SERVER), (b"2", OTHER), (b"3", third)]);
    let answers: Vec<_> = answers.iter().map(|body| read(body)).collect();
    let expected = [(SERVER, b"1"), (OTHER, b"2"), (third, b"3")];
    assert_eq!(
        answers,
        expected.map(|(from, data)| (from, PORT, data.to_vec()))
    );
    // Another port, and the same of the other family.
    bench.send(SocketAddr::new(GUEST, 40_001), SERVER, b"x");
    bench.send(
        SocketAddr::new(GUEST_V6, 40_000),
        "[2001:db8::9]:1".parse().unwrap(),
        b"x",
    );
    assert_eq!(bench.flows.len(), 3);
    assert_eq!(bench.counters.udp_opened, 3);
}

#[test]
fn the_machine_itself_is_254() {
    let mut bench = Bench::new();
    let host = SocketAddr::new(link::HOST_V4.into(), 53_000);
    let loopback = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53_000);
    bench.send(PORT, host, b"x");
    assert_eq!(bench.socket(0).borrow().sent[0].1, loopback);
    let answer = bench.receive(0, &[(b"y", loopback)]);
    assert_eq!(read(&answer[0]), (host, PORT, b"y".to_vec()));
}

#[test]
fn large_datagrams_come_in_fragments() {
    for guest in [PORT, SocketAddr::new(GUEST_V6, 7)] {
        let mut bench = Bench::new();
        let server = match guest.ip() {
            IpAddr::V4(_) => SERVER,
            IpAddr::V6(_) => "[2001:db8::9]:1".parse().unwrap(),
        };
        bench.send(guest, server, b"x");
        for length in [1, 1472, 1473, 4000, 60_000] {
            let data = vec![5; length];
            let bodies = bench.receive(0, &[(&data, server)]);
            let mut fragments = super::super::fragments::Fragments::default();
            let mut whole = None;
            for body in &bodies {
                let packet = Packet::parse(body).unwrap();
                assert!(packet.bytes.len() <= 1500);
                whole = match packet.piece {
                    Some(_) => fragments.insert(&packet, bench.now),
                    None => Some(body.clone()),
                };
            }
            assert_eq!(read(&whole.unwrap()), (server, guest, data), "{length}");
        }
    }
}

#[test]
fn segments_are_sent_one_by_one() {
    let mut bench = Bench::new();
    let mut body = udp(PORT, SERVER, &[1, 2, 3, 4, 5, 6, 7]);
    body[1] = 5;
    body[4] = 3;
    bench.send_body(&body);
    let sent: Vec<_> = bench
        .socket(0)
        .borrow()
        .sent
        .iter()
        .map(|(data, _)| data.clone())
        .collect();
    assert_eq!(sent, [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
}

#[test]
fn errors_reach_the_guest() {
    let refused = || io::Error::from(ErrorKind::ConnectionRefused);
    let quoted = |body: &[u8]| {
        let error = Packet::parse(body).unwrap();
        assert_eq!((error.protocol, error.to), (ICMP, GUEST));
        assert!(error.is_intact());
        (error.payload[1], error.payload[8 + 16..8 + 24].to_vec())
    };
    let ports =
        |server: SocketAddr| [PORT.port().to_be_bytes(), server.port().to_be_bytes()].concat();
    let about = |server: SocketAddr| match server.ip() {
        IpAddr::V4(ip) => [&ip.octets()[..], &ports(server)].concat(),
        IpAddr::V6(_) => Vec::new(),
    };
    // Found when receiving, without word of whom: the only one.
    let mut bench = Bench::new();
    bench.send(PORT, SERVER, b"x");
    bench
        .socket(0)
        .borrow_mut()
        .incoming
        .push_back(Err(refused()));
    assert_eq!(quoted(&bench.receive(0, &[])[0]), (3, about(SERVER)));
    // When sending: an earlier one's.
    bench
        .socket(0)
        .borrow_mut()
        .send_errors
        .push_back(refused());
    bench.send(PORT, SERVER, b"again");
    assert_eq!(quoted(&bench.turns()[0]), (3, about(SERVER)));
    assert_eq!(bench.socket(0).borrow().sent.len(), 2);
    // Of several, none; unless the system says whom.
    bench.send(PORT, OTHER, b"x");
    bench
        .socket(0)
        .borrow_mut()
        .incoming
        .push_back(Err(refused()));
    assert_eq!(bench.receive(0, &[]).len(), 0);
    bench
        .socket(0)
        .borrow_mut()
        .incoming
        .push_back(Err(refused()));
    bench.socket(0).borrow_mut().unreachable = Some(OTHER);
    assert_eq!(quoted(&bench.receive(0, &[])[0]), (3, about(OTHER)));
    // Nothing leads there.
    bench
        .socket(0)
        .borrow_mut()
        .send_errors
        .push_back(ErrorKind::NetworkUnreachable.into());
    bench.send(PORT, SERVER, b"x");
    assert_eq!(quoted(&bench.turns()[0]).0, 0);
    assert_eq!(bench.counters.dropped, 1);
    // No room in the socket.
    bench
        .socket(0)
        .borrow_mut()
        .send_errors
        .push_back(ErrorKind::WouldBlock.into());
    bench.send(PORT, SERVER, b"x");
    assert_eq!((bench.turns().len(), bench.counters.dropped), (0, 2));
}

#[test]
fn unknown_errors_do_not_stop_a_flow() {
    let mut bench = Bench::new();
    bench.send(PORT, SERVER, b"x");
    let error = || Err(ErrorKind::InvalidData.into());
    bench.socket(0).borrow_mut().incoming.push_back(error());
    assert_eq!(bench.receive(0, &[(b"1", SERVER)]).len(), 1);
    bench
        .socket(0)
        .borrow_mut()
        .incoming
        .extend((0..1000).map(|_| error()));
    assert_eq!(bench.receive(0, &[]).len(), 0);
    assert_eq!(bench.socket(0).borrow().incoming.len(), 1000 - 9);
}

#[test]
fn idle_flows_end() {
    let mut bench = Bench::new();
    let start = bench.now;
    bench.send(PORT, SERVER, b"x");
    bench.send(SocketAddr::new(GUEST, 2), SERVER, b"x");
    assert_eq!(bench.flows.deadline(), Some(start + IDLE));
    // An answer keeps the first one.
    bench.now = start + Duration::from_secs(100);
    bench.receive(0, &[(b"x", SERVER)]);
    bench.flows.expire(start + IDLE);
    assert_eq!(bench.flows.len(), 1);
    assert!(bench.socket(1).borrow().closed && !bench.socket(0).borrow().closed);
    assert_eq!(bench.flows.deadline(), Some(bench.now + IDLE));
    bench.flows.expire(bench.now + IDLE);
    assert_eq!((bench.flows.len(), bench.flows.deadline()), (0, None));
    // Its number is used again.
    bench.send(PORT, SERVER, b"x");
    assert_eq!(bench.flows.flows.len(), 2);
    // The guest has closed the port.
    bench.flows.ready(0);
    bench.flows.ready(1);
    bench.flows.close_port(SocketAddr::new(GUEST, 3));
    assert_eq!(bench.flows.len(), 1);
    bench.flows.close_port(PORT);
    assert_eq!((bench.flows.len(), bench.flows.deadline()), (0, None));
    assert!(!bench.flows.has_ready());
}

#[test]
fn flows_have_a_limit() {
    let mut bench = Bench::new();
    bench.send(PORT, SERVER, b"x");
    for port in 1..=20_000 {
        bench.now += Duration::from_micros(1);
        bench.send(SocketAddr::new(GUEST, port), SERVER, b"x");
        if port % 1000 == 0 {
            bench.send(PORT, SERVER, b"still in use");
        }
        assert!(bench.flows.timers.len() == bench.flows.len() && bench.flows.len() <= FLOWS);
        assert!(bench.flows.flows.len() <= FLOWS);
    }
    assert!(!bench.socket(0).borrow().closed);
    assert_eq!(bench.socket(0).borrow().sent.len(), 21);
}

#[test]
fn without_sockets_datagrams_are_dropped() {
    let mut bench = Bench::new();
    bench.network.0.borrow_mut().exhausted = true;
    for _ in 0..10 {
        bench.send(PORT, SERVER, b"x");
    }
    assert_eq!((bench.flows.len(), bench.counters.dropped), (0, 10));
    assert_eq!(bench.flows.flows.len(), 1);
    bench.network.0.borrow_mut().exhausted = false;
    bench.send(PORT, SERVER, b"x");
    assert_eq!(bench.flows.len(), 1);
}

#[test]
fn full_output_leaves_datagrams_in_the_socket() {
    let mut bench = Bench::new();
    bench.send(PORT, SERVER, b"x");
    let data = vec![0; 1400];
    let socket = bench.socket(0);
    for _ in 0..1000 {
        socket
            .borrow_mut()
            .incoming
            .push_back(Ok((data.clone(), SERVER)));
    }
    bench.flows.ready(0);
    for _ in 0..100 {
        bench.with(|flows, context| flows.turns(context));
    }
    assert!(bench.out.is_full() && bench.flows.has_ready());
    assert!(socket.borrow().incoming.len() > 500);
    let got = bodies(&mut bench.out).len();
    assert_eq!(got + bench.turns().len(), 1000);
}

#[test]
fn malformed_datagrams_are_refused() {
    let good = udp(PORT, SERVER, b"abc");
    let offset = good.len() - 11;
    for (place, value) in [(0, [0, 0]), (2, [0, 0]), (4, [0, 7]), (4, [0, 12])] {
        let mut bad = good.clone();
        bad[offset + place..offset + place + 2].copy_from_slice(&value);
        assert_eq!(Datagram::parse(&Packet::parse(&bad).unwrap()), None);
    }
    let mut shorter = good.clone();
    shorter[offset + 5] = 10;
    let packet = Packet::parse(&shorter).unwrap();
    assert_eq!(Datagram::parse(&packet).unwrap().data, b"ab");
}
