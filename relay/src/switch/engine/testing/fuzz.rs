//! Frames that no sane guest sends, many of them, and then a sane guest. Most are
//! valid ones of a guest that knows its connections; others are changed in a few places.

use std::env;

use super::*;
use crate::switch::engine::ip::{ICMP, ICMPV6, Packet, TCP, UDP};

/// Frames, unless the environment has another number in `WSLMESH_FUZZ_FRAMES`. The first
/// random number is in `WSLMESH_FUZZ_SEED`.
const FRAMES: u64 = 200_000;
/// How many of the frames that the guest got are remembered.
const REMEMBERED: usize = 64;
/// Most bytes of the engine: the rings of both directions, and a first buffer in each of
/// them for each connection.
const MEMORY: usize = 56 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below the limit.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn word(&mut self) -> u16 {
        let bytes = self.next().to_le_bytes();
        u16::from_le_bytes([bytes[2], bytes[3]])
    }
}

/// What the guest knows of a connection.
#[derive(Clone, Copy)]
struct Known {
    guest: SocketAddr,
    server: SocketAddr,
    next: u32,
    ack: u32,
}

struct Fuzzer {
    random: Random,
    driver: Driver,
    known: VecDeque<Known>,
    /// Packets to the guest, to be quoted.
    got: VecDeque<Vec<u8>>,
}

impl Fuzzer {
    fn guest(&mut self) -> IpAddr {
        let addresses = [
            "192.168.127.2",
            "192.168.127.2",
            "192.168.127.3",
            "192.168.127.1",
            "10.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
        ];
        self.random.pick(&addresses).parse().unwrap()
    }

    fn server(&mut self) -> IpAddr {
        let addresses = [
            "203.0.113.9",
            "203.0.113.9",
            "203.0.113.10",
            "192.168.127.1",
            "192.168.127.254",
            "192.168.127.2",
            "224.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "10.9.8.7",
        ];
        self.random.pick(&addresses).parse().unwrap()
    }

    fn addresses(&mut self) -> (IpAddr, IpAddr) {
        if self.random.one_in(4) {
            let guests = ["fd77:736c:6d73::2"; 9];
            let guests = [&guests[..], &["fd77:736c:6d73::1", "fe80::1", "::1"]].concat();
            let servers = [
                "2001:db8::9",
                "fd77:736c:6d73::1",
                "fd77:736c:6d73::fe",
                "ff02::2",
                "::",
                "::ffff:1.2.3.4",
                "fd77:736c:6d73::2",
            ];
            let [guest, server] = [self.random.pick(&guests), self.random.pick(&servers)];
            return (guest.parse().unwrap(), server.parse().unwrap());
        }
        (self.guest(), self.server())
    }

    fn port(&mut self) -> u16 {
        let any = self.random.word();
        self.random
            .pick(&[0, 53, 80, 80, 443, 40_000, 40_001, 65_535, any])
    }

    fn tcp(&mut self) -> Vec<u8> {
        let (guest, server) = self.addresses();
        let mut known = Known {
            guest: SocketAddr::new(guest, self.port()),
            server: SocketAddr::new(server, self.port()),
            next: u32::from(self.random.word()) << 16,
            ack: 0,
        };
        if !self.known.is_empty() && !self.random.one_in(4) {
            known = self.known[self.random.below(self.known.len())];
        }
        let any = self.random.next().to_le_bytes()[0];
        let flags = self
            .random
            .pick(&[2, 2, 16, 16, 16, 24, 17, 4, 20, 18, 0, any]);
        let delta = |random: &mut Random| {
            let near = u32::from(random.word());
            random.pick(&[
                0,
                0,
                0,
                1,
                0_u32.wrapping_sub(1),
                near,
                0_u32.wrapping_sub(near),
                1 << 31,
            ])
        };
        let sequence = known.next.wrapping_add(delta(&mut self.random));
        let ack = known.ack.wrapping_add(delta(&mut self.random));
        let mut options = match self.random.below(6) {
            0 => vec![2, 4, 5, 0xb4, 1, 3, 3, 14, 4, 2, 0, 0],
            1 => vec![2, 4, 0, 0, 3, 3, 255, 5, 5, 40, 1, 1],
            2 => {
                let mut sack = vec![1, 1, 5, 18];
                for base in [ack, sequence] {
                    let start = base.wrapping_add(delta(&mut self.random));
                    sack.extend(start.to_be_bytes());
                    sack.extend(start.wrapping_add(delta(&mut self.random)).to_be_bytes());
                }
                sack
            }
            3 => self.random.bytes(40),
            _ => Vec::new(),
        };
        while options.len() % 4 != 0 {
            options.push(1);
        }
        let data = match self.random.below(8) {
            0 => self.random.bytes(3000),
            1 if self.random.one_in(20) => vec![7; self.random.below(60_000)],
            1 => vec![7; self.random.below(1460)],
            2 => self.random.bytes(3),
            _ => Vec::new(),
        };
        let words = u8::try_from((20 + options.len()) / 4).unwrap();
        let window = self.random.word();
        let window = self.random.pick(&[0, 1, 65_535, 65_535, window]);
        let mut payload = Vec::new();
        payload.extend(known.guest.port().to_be_bytes());
        payload.extend(known.server.port().to_be_bytes());
        payload.extend(sequence.to_be_bytes());
        payload.extend(ack.to_be_bytes());
        payload.extend([words << 4, flags]);
        payload.extend(window.to_be_bytes());
        payload.extend([0; 4]);
        payload.extend(options);
        payload.extend(&data);
        if self.random.one_in(2)
            && let Some(one) = self.known.back_mut()
        {
            one.next = one.next.wrapping_add(u32::try_from(data.len()).unwrap());
        }
        raw(known.guest.ip(), known.server.ip(), TCP, &payload)
    }

    fn datagram(&mut self) -> Vec<u8> {
        let (guest, server) = self.addresses();
        let [from, to] = [self.port(), self.port()];
        let data = if to == 53 || self.random.one_in(4) {
            let mut query = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4];
            query.extend(b"host\x06docker\x08internal\0\0\x01\0\x01");
            query
        } else {
            self.random.bytes(2000)
        };
        let length = u16::try_from(data.len() + 8).unwrap();
        let mut payload = Vec::new();
        for field in [from, to, length, 0] {
            payload.extend(field.to_be_bytes());
        }
        payload.extend(data);
        raw(guest, server, UDP, &payload)
    }

    fn icmp(&mut self) -> Vec<u8> {
        let (guest, server) = self.addresses();
        let protocol = if guest.is_ipv4() { ICMP } else { ICMPV6 };
        let kinds: [[u8; 2]; 6] = [[8, 0], [3, 3], [3, 4], [128, 0], [1, 4], [2, 0]];
        let mut payload = self.random.pick(&kinds).to_vec();
        payload.extend([0; 4]);
        payload.extend(self.random.word().to_be_bytes());
        let mut to = server;
        if !self.got.is_empty() {
            let quoted = &self.got[self.random.below(self.got.len())];
            if let Some(packet) = Packet::parse(quoted) {
                to = packet.from;
                payload.extend(&packet.bytes[..packet.bytes.len().min(80)]);
            }
        }
        let protocol = if to.is_ipv4() { protocol } else { ICMPV6 };
        let from = if to.is_ipv4() { GUEST } else { GUEST_V6 };
        raw(from, to, protocol, &payload)
    }

    fn fragment(&mut self) -> Vec<u8> {
        let (guest, server) = self.addresses();
        let offset = u16::try_from(self.random.below(4)).unwrap() * 64;
        let more = u16::from(self.random.one_in(2));
        let id = self.random.pick(&[1, 2, 3, 4]);
        let payload = vec![9; self.random.pick(&[8, 64, 64, 512, 63])];
        if guest.is_ipv4() {
            let mut body = raw(guest, server, self.random.pick(&[UDP, TCP, ICMP]), &payload);
            body[HEADER + 5] = id;
            let place = ((offset / 8) | (more << 13)).to_be_bytes();
            body[HEADER + 6..HEADER + 8].copy_from_slice(&place);
            fix(&mut body);
            return body;
        }
        let mut extension = vec![UDP, 0];
        extension.extend((offset | more).to_be_bytes());
        extension.extend([0, 0, 0, id]);
        extension.extend(payload);
        raw(guest, server, 44, &extension)
    }

    /// SYNs of many ports, which stay half-open.
    fn flood(&mut self) -> Vec<Vec<u8>> {
        let syn = |port: u16| {
            let mut payload = port.to_be_bytes().to_vec();
            payload.extend([0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x50, 2, 255, 255, 0, 0, 0, 0]);
            raw(GUEST, "203.0.113.9".parse().unwrap(), TCP, &payload)
        };
        (10_000..11_000).map(syn).collect()
    }

    /// A frame's body.
    fn body(&mut self) -> Vec<u8> {
        let mut body = match self.random.below(16) {
            0..=7 => self.tcp(),
            8..=10 => self.datagram(),
            11 | 12 => self.fragment(),
            13 => self.icmp(),
            14 => {
                let (guest, server) = self.addresses();
                let protocol = self.random.next().to_le_bytes()[0];
                let payload = self.random.bytes(60);
                raw(guest, server, protocol, &payload)
            }
            _ => {
                let mut bytes = vec![0; HEADER];
                bytes.extend(self.random.bytes(120));
                bytes
            }
        };
        if !self.random.one_in(3) {
            return body;
        }
        for _ in 0..=self.random.below(3) {
            match self.random.below(4) {
                0 => body.truncate(self.random.below(body.len() + 1).max(HEADER)),
                1 => {
                    let place = self.random.below(body.len());
                    body[place] ^= 1 << self.random.below(8);
                }
                2 => {
                    // In the headers.
                    let place = self.random.below(body.len().min(HEADER + 60));
                    body[place] = self.random.next().to_le_bytes()[0];
                }
                _ => body.extend(self.random.bytes(30)),
            }
        }
        if !self.random.one_in(4) {
            fix(&mut body);
        }
        body
    }

    /// Something happens at a socket.
    fn disturb(&mut self) {
        let sockets = {
            let world = self.driver.network.0.borrow();
            let tcp = world.tcp.iter().cloned();
            tcp.chain(world.udp.iter().cloned()).collect::<Vec<_>>()
        };
        if sockets.is_empty() {
            return;
        }
        let socket = &sockets[self.random.below(sockets.len())];
        let token = {
            let mut socket = socket.borrow_mut();
            match self.random.below(9) {
                0..=2 => socket.connected = Some(Ok(())),
                3 => {
                    let kinds = [
                        ErrorKind::ConnectionRefused,
                        ErrorKind::HostUnreachable,
                        ErrorKind::NetworkUnreachable,
                        ErrorKind::TimedOut,
                        ErrorKind::Other,
                    ];
                    let kind = self.random.pick(&kinds);
                    socket.connected.get_or_insert(Err(kind));
                    socket.incoming.push_back(Err(kind.into()));
                }
                4 | 5 => {
                    let data = vec![3; self.random.below(100_000)];
                    if socket.input.len() < 1 << 20 {
                        socket.input.extend(data);
                    }
                    let data = vec![4; self.random.pick(&[0, 1, 1400, 3000, 60_000])];
                    let from = "203.0.113.9:53".parse().unwrap();
                    if socket.incoming.len() < 20 {
                        socket.incoming.push_back(Ok((data, from)));
                    }
                }
                6 => socket.ended = true,
                7 => socket.room = self.random.below(5000),
                _ => socket.room = usize::MAX,
            }
            socket.written.clear();
            socket.sent.clear();
            socket.token
        };
        self.driver.ready(token);
    }

    /// Remembers what came.
    fn learn(&mut self, bodies: Vec<Vec<u8>>) {
        for body in bodies {
            let packet = Packet::parse(&body).expect("what is sent is valid");
            assert!(packet.piece.is_some() || packet.is_intact());
            let syn_ack = packet.payload.get(13).is_some_and(|flags| *flags & 2 != 0);
            if packet.protocol == TCP && packet.payload.len() >= 20 {
                let at = |place: usize| {
                    u32::from_be_bytes(*packet.payload[place..].first_chunk().unwrap())
                };
                let port = |place: usize| {
                    u16::from_be_bytes(*packet.payload[place..].first_chunk().unwrap())
                };
                let data = u32::try_from(packet.payload.len() - 20).unwrap();
                let known = Known {
                    guest: SocketAddr::new(packet.to, port(2)),
                    server: SocketAddr::new(packet.from, port(0)),
                    next: at(8),
                    ack: at(4).wrapping_add(data + u32::from(syn_ack)),
                };
                if syn_ack || self.random.one_in(2) {
                    self.known.push_back(known);
                }
            }
            self.got.push_back(body);
            if self.got.len() > REMEMBERED {
                self.got.pop_front();
            }
            if self.known.len() > REMEMBERED {
                self.known.pop_front();
            }
        }
    }
}

/// The body of a frame with any packet of any addresses.
fn raw(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    // One of each family is what a mistaken random choice gives.
    let to = match (from, to) {
        (IpAddr::V4(_), IpAddr::V6(_)) => "203.0.113.9".parse().unwrap(),
        (IpAddr::V6(_), IpAddr::V4(_)) => "2001:db8::9".parse().unwrap(),
        _ => to,
    };
    body(from, to, protocol, payload)
}

/// Makes the header's length and checksum right.
fn fix(body: &mut [u8]) {
    let length = u16::try_from(body.len().saturating_sub(HEADER)).unwrap_or(u16::MAX);
    let Some(header) = body.get_mut(HEADER..HEADER + 20) else {
        return;
    };
    if header[0] != 0x45 {
        return;
    }
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[10..12].fill(0);
    let mut total: u32 = header
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let checksum = !u16::try_from(total).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn nothing_stops_the_engine() {
    let frames = number("WSLMESH_FUZZ_FRAMES", FRAMES);
    let seed = number("WSLMESH_FUZZ_SEED", 0x9e37_79b9_7f4a_7c15);
    let mut fuzzer = Fuzzer {
        random: Random(seed),
        driver: Driver::new(),
        known: VecDeque::new(),
        got: VecDeque::new(),
    };
    let mut largest = 0;
    let mut sent = 0;
    while sent < frames {
        let count = 1 + fuzzer.random.below(20);
        let bodies: Vec<_> = if fuzzer.random.one_in(2000) {
            fuzzer.flood()
        } else {
            (0..count).map(|_| fuzzer.body()).collect()
        };
        sent += u64::try_from(bodies.len()).unwrap();
        fuzzer.driver.feed(&bodies);
        for _ in 0..fuzzer.random.below(8) {
            fuzzer.disturb();
        }
        if fuzzer.random.one_in(20) {
            let port = fuzzer.random.word();
            fuzzer.driver.knock(port.max(1));
        }
        let steps = [0, 1, 20, 300, 3000, 3000, 200_000];
        let limit = if fuzzer.random.one_in(50) { 7 } else { 4 };
        let pause = steps[fuzzer.random.below(limit)];
        fuzzer.driver.pass(Duration::from_millis(pause));
        // A guest that reads nothing for a while.
        if !fuzzer.random.one_in(3) {
            let got = fuzzer.driver.take();
            fuzzer.learn(got);
        }
        fuzzer.driver.network.tidy();
        let asked = std::mem::take(&mut fuzzer.driver.network.0.borrow_mut().asked);
        for (number, query) in asked {
            let answer = query.answer(0, &[GUEST]);
            fuzzer.driver.answered(number, &answer);
        }
        largest = largest.max(fuzzer.driver.memory());
        assert!(largest <= MEMORY, "{largest} bytes after {sent} frames");
    }
    // A guest that has never known of it.
    fuzzer.driver.take();
    fuzzer.driver.pass(Duration::from_secs(100_000));
    fuzzer.driver.take();
    fuzzer.driver.serves();
    let counters = fuzzer.driver.counters();
    assert_eq!(counters.tcp_active, 0, "silent connections end");
    // They got beyond the first checks.
    let reached = [
        counters.tcp_opened,
        counters.tcp_refused,
        counters.udp_opened,
        counters.dns_queries,
        counters.packets_out,
    ];
    assert!(!reached.contains(&0), "{counters:?}");
    println!("{sent} frames, at most {largest} bytes, {counters:?}");
}
