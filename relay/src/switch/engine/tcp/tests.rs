//! The guest's end of a connection, segment by segment, and the socket behind it.

mod ends;
mod hostile;
mod loss;
mod receiving;
mod sending;

use std::net::IpAddr;

use super::segment::{PSH, Segment, sack_option};
use super::sequence::Span;
use super::*;
use crate::link;
use crate::switch::engine::ip::ICMP;
use crate::switch::engine::testing::{Driver, GUEST, GUEST_V6, Shared, body};

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)), 80);
/// Options of an ordinary SYN: MSS 1460, SACK, window scale 7.
const OPTIONS: &[u8] = &[2, 4, 5, 180, 4, 2, 1, 3, 3, 7, 1, 1];
const SECOND: Duration = Duration::from_secs(1);
/// The first sequence number of the guest: it wraps around soon.
const FIRST: u32 = u32::MAX - 1000;

/// A segment that the guest got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    sequence: u32,
    ack: u32,
    flags: u8,
    window: usize,
    data: Vec<u8>,
    sacked: Vec<(u32, u32)>,
    options: Vec<u8>,
}

impl Got {
    fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }
}

/// A connection of the guest.
struct Peer {
    driver: Driver,
    guest: SocketAddr,
    server: SocketAddr,
    /// Our next number, and what the guest has of the server's.
    next: u32,
    ack: u32,
    window: u16,
    socket: Shared,
}

impl Peer {
    /// After a SYN with these options.
    fn begin(guest: IpAddr, server: SocketAddr, options: &[u8]) -> Self {
        let mut driver = Driver::new();
        let guest = SocketAddr::new(guest, 40_000);
        driver.feed(&[segment(
            guest,
            server,
            (FIRST, 0),
            SYN,
            65_535,
            options,
            &[],
        )]);
        let socket = last(&driver);
        assert_eq!(socket.borrow().to, Some(server));
        Self {
            driver,
            guest,
            server,
            next: FIRST.wrapping_add(1),
            ack: 0,
            window: 65_535,
            socket,
        }
    }

    /// The server has accepted.
    fn accept(&mut self) -> Got {
        self.socket.borrow_mut().connected = Some(Ok(()));
        self.wake();
        let got = self.only();
        assert!(got.has(SYN | ACK), "{got:?}");
        self.ack = got.sequence.wrapping_add(1);
        got
    }

    /// An established connection, with nothing left to send.
    fn with(guest: IpAddr, server: SocketAddr, options: &[u8]) -> Self {
        let mut peer = Self::begin(guest, server, options);
        peer.accept();
        peer.send(ACK, &[]);
        // A scaled window is larger than a SYN can say.
        let opens = usize::from(options == OPTIONS);
        assert_eq!(peer.got().len(), opens);
        peer
    }

    fn new() -> Self {
        Self::with(GUEST, SERVER, OPTIONS)
    }

    /// Readiness of the socket, and turns.
    fn wake(&mut self) {
        let token = self.socket.borrow().token;
        self.driver.ready(token);
        self.driver.turns();
    }

    /// The server sends.
    fn serve(&mut self, data: &[u8]) {
        self.socket.borrow_mut().input.extend(data);
        self.wake();
    }

    /// A segment so far behind the next number.
    fn send_at(&mut self, offset: u32, flags: u8, data: &[u8]) {
        let sequence = self.next.wrapping_add(offset);
        self.send_with((sequence, self.ack), flags, &[], data);
    }

    fn send_with(&mut self, numbers: (u32, u32), flags: u8, options: &[u8], data: &[u8]) {
        let (guest, server) = (self.guest, self.server);
        let one = segment(guest, server, numbers, flags, self.window, options, data);
        self.driver.feed(&[one]);
        self.driver.turns();
    }

    /// The next segment.
    fn send(&mut self, flags: u8, data: &[u8]) {
        self.send_at(0, flags, data);
        let length = u32::try_from(data.len()).unwrap() + u32::from(flags & FIN);
        self.next = self.next.wrapping_add(length);
    }

    /// What the guest gets.
    fn got(&mut self) -> Vec<Got> {
        self.driver.take().iter().map(|body| read(body)).collect()
    }

    fn only(&mut self) -> Got {
        let mut all = self.got();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// Gets all data that comes and acknowledges it, until there is no more.
    fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let got = self.got();
            let before = self.ack;
            for one in got {
                if one.sequence != self.ack {
                    continue;
                }
                all.extend(&one.data);
                let length = u32::try_from(one.data.len()).unwrap();
                self.ack = self.ack.wrapping_add(length + u32::from(one.has(FIN)));
            }
            if self.ack == before {
                return all;
            }
            self.send(ACK, &[]);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.driver.pass(time);
    }

    /// How long until something is due.
    fn idle(&self) -> Duration {
        let deadline = self.driver.engine.deadline().expect("a deadline");
        deadline.saturating_duration_since(self.driver.now)
    }

    fn active(&self) -> u32 {
        self.driver.counters().tcp_active
    }

    fn written(&self) -> Vec<u8> {
        self.socket.borrow().written.clone()
    }
}

fn last(driver: &Driver) -> Shared {
    let world = driver.network.0.borrow();
    world.tcp.last().expect("a socket").clone()
}

fn segment(
    guest: SocketAddr,
    server: SocketAddr,
    (sequence, ack): (u32, u32),
    flags: u8,
    window: u16,
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let words = u8::try_from((20 + options.len()) / 4).unwrap();
    let mut payload = Vec::new();
    payload.extend(guest.port().to_be_bytes());
    payload.extend(server.port().to_be_bytes());
    payload.extend(sequence.to_be_bytes());
    payload.extend(ack.to_be_bytes());
    payload.extend([words << 4, flags]);
    payload.extend(window.to_be_bytes());
    payload.extend([0; 4]);
    payload.extend(options);
    payload.extend(data);
    body(guest.ip(), server.ip(), TCP, &payload)
}

fn read(body: &[u8]) -> Got {
    let packet = Packet::parse(body).expect("a packet");
    assert!(packet.is_intact());
    assert_eq!(packet.protocol, TCP, "{packet:?}");
    let segment = Segment::parse(&packet).expect("a segment");
    let (sacked, count) = segment.sacked();
    Got {
        sequence: segment.sequence,
        ack: segment.ack.unwrap_or(0),
        flags: segment.flags,
        window: segment.window.into(),
        data: segment.data.to_vec(),
        sacked: sacked[..count]
            .iter()
            .map(|one| (one.start, one.end))
            .collect(),
        options: packet.payload[20..segment.offset].to_vec(),
    }
}

/// Bytes that show their place.
fn pattern(length: usize) -> Vec<u8> {
    (0..251).cycle().take(length).collect()
}

#[test]
fn sane_guest_is_served() {
    Driver::new().serves();
}

#[test]
fn handshake_agrees_on_options_of_both_families() {
    let v6: SocketAddr = "[2001:db8::9]:80".parse().unwrap();
    for (guest, server, mss) in [(GUEST, SERVER, 1460_u16), (GUEST_V6, v6, 1440)] {
        let [high, low] = mss.to_be_bytes();
        let mut peer = Peer::begin(guest, server, OPTIONS);
        assert_eq!(peer.got(), [], "before the server has accepted");
        let got = peer.accept();
        assert_eq!(got.ack, FIRST.wrapping_add(1));
        assert_eq!(got.window, 65_535);
        assert_eq!(got.options, [2, 4, high, low, 1, 1, 4, 2, 1, 3, 3, 7]);
        peer.send(ACK, &[]);
        // Windows are scaled: the guest's has room for all of it, and ours is in units of 128.
        peer.serve(&pattern(400_000));
        let got = peer.got();
        assert_eq!(got.iter().map(|one| one.data.len()).sum::<usize>(), 400_000);
        peer.send(ACK | PSH, b"x");
        peer.pass(SECOND / 10);
        let window = got[0].window * 128;
        assert!(window > 400_000, "{window}");
        // A guest that offers nothing gets nothing but the MSS.
        let mut peer = Peer::begin(guest, server, &[]);
        assert_eq!(peer.accept().options, [2, 4, high, low]);
        peer.send(ACK, &[]);
        peer.serve(&pattern(100_000));
        let got = peer.got();
        let bytes = got.iter().map(|one| one.data.len()).sum::<usize>();
        assert!((65_000..=65_535).contains(&bytes), "{bytes}");
        assert!(got[0].window > 60_000, "{got:?}");
    }
}

#[test]
fn segments_have_the_mss_of_the_guest() {
    for (options, expected) in [
        (&[2, 4, 3, 0][..], 768_u16),
        (&[2, 4, 0, 1], 536),
        (&[2, 4, 255, 255], 1460),
        (&[], 536),
    ] {
        let mut peer = Peer::with(GUEST, SERVER, options);
        peer.socket.borrow_mut().input.extend(pattern(20_000));
        peer.wake();
        // The virtio-net header says how the kernel cuts it.
        let first = peer.driver.take().remove(0);
        assert_eq!(first[4..6], expected.to_le_bytes(), "{options:?}");
    }
}
