//! A network in memory, and packets of a guest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::dns::Query;
use super::ip::Output;
use super::{Config, Datagrams, Engine, Network, Stream};
use crate::link::{self, Counters, Frame, HEADER};

mod fuzz;

/// The guest's address, which tests send from.
pub(crate) const GUEST: IpAddr = IpAddr::V4(link::GUEST_V4);
pub(super) const GUEST_V6: IpAddr = IpAddr::V6(link::GUEST_V6);

/// A socket as tests see it.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    pub(super) token: usize,
    /// Where it was connected to.
    pub(super) to: Option<SocketAddr>,
    /// What was written, or the datagrams that were sent.
    pub(super) written: Vec<u8>,
    pub(super) sent: Vec<(Vec<u8>, SocketAddr)>,
    /// What is to be read, or received.
    pub(super) input: VecDeque<u8>,
    pub(super) incoming: VecDeque<io::Result<(Vec<u8>, SocketAddr)>>,
    /// The errors to come of sending.
    pub(super) send_errors: VecDeque<io::Error>,
    /// Of the last error.
    pub(super) unreachable: Option<SocketAddr>,
    /// It is connected, or why not.
    pub(super) connected: Option<Result<(), ErrorKind>>,
    /// What reading comes to behind the input, and writing.
    pub(super) failure: Option<ErrorKind>,
    /// Bytes that a write takes until more room is made.
    pub(super) room: usize,
    /// The server has closed its side.
    pub(super) ended: bool,
    pub(super) finished: bool,
    pub(super) aborted: bool,
    pub(super) closed: bool,
    /// Writes are given back.
    pub(super) echo: bool,
}

pub(crate) type Shared = Rc<RefCell<Socket>>;

/// All sockets that were made.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(super) tcp: Vec<Shared>,
    pub(super) udp: Vec<Shared>,
    pub(super) asked: Vec<(u64, Query)>,
    /// Listeners, and the clients that wait there.
    pub(super) listeners: Vec<Rc<RefCell<Waiting>>>,
    /// Ports that are taken.
    pub(super) taken: Vec<u16>,
    /// No socket is made.
    pub(super) exhausted: bool,
    /// New connections are established at once, and echo.
    pub(super) echo: bool,
}

/// A listener as tests see it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) at: SocketAddr,
    pub(super) token: usize,
    pub(super) clients: VecDeque<io::Result<(SocketAddr, Shared)>>,
    pub(super) closed: bool,
}

/// A listener as the engine sees it.
#[derive(Debug)]
pub(crate) struct Ear(Rc<RefCell<Waiting>>);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(pub(super) Rc<RefCell<World>>);

/// A socket as the engine sees it.
#[derive(Debug)]
pub(crate) struct Handle(Shared);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

impl Memory {
    fn open(&self, token: usize, to: Option<SocketAddr>) -> io::Result<(Shared, Handle)> {
        let world = self.0.borrow();
        if world.exhausted {
            return Err(io::Error::from(ErrorKind::OutOfMemory));
        }
        let socket = Rc::new(RefCell::new(Socket {
            token,
            to,
            room: usize::MAX,
            connected: world.echo.then_some(Ok(())),
            echo: world.echo,
            ..Socket::default()
        }));
        Ok((Rc::clone(&socket), Handle(socket)))
    }

    /// Forgets the sockets that are closed.
    pub(super) fn tidy(&self) {
        let mut world = self.0.borrow_mut();
        world.tcp.retain(|one| !one.borrow().closed);
        world.udp.retain(|one| !one.borrow().closed);
    }
}

impl Network for Memory {
    type Tcp = Handle;
    type Udp = Handle;
    type Listener = Ear;

    fn connect(&mut self, to: SocketAddr, token: usize) -> io::Result<Handle> {
        let (socket, handle) = self.open(token, Some(to))?;
        self.0.borrow_mut().tcp.push(socket);
        Ok(handle)
    }

    fn bind(&mut self, _family_of: IpAddr, token: usize) -> io::Result<Handle> {
        let (socket, handle) = self.open(token, None)?;
        self.0.borrow_mut().udp.push(socket);
        Ok(handle)
    }

    fn listen(&mut self, at: SocketAddr, token: usize) -> io::Result<(Ear, SocketAddr)> {
        let mut world = self.0.borrow_mut();
        if world.taken.contains(&at.port()) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let waiting = Rc::new(RefCell::new(Waiting {
            at,
            token,
            clients: VecDeque::new(),
            closed: false,
        }));
        world.listeners.push(Rc::clone(&waiting));
        Ok((Ear(waiting), at))
    }

    fn accept(&mut self, listener: &mut Ear, token: usize) -> io::Result<(Handle, SocketAddr)> {
        let next = listener.0.borrow_mut().clients.pop_front();
        let (client, socket) = next.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
        socket.borrow_mut().token = token;
        Ok((Handle(socket), client))
    }

    fn bind_to(&mut self, at: SocketAddr, token: usize) -> io::Result<(Handle, SocketAddr)> {
        if self.0.borrow().taken.contains(&at.port()) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let (socket, handle) = self.open(token, Some(at))?;
        self.0.borrow_mut().udp.push(socket);
        Ok((handle, at))
    }

    fn converse(&mut self, token: usize) -> io::Result<Handle> {
        let (socket, handle) = self.open(token, None)?;
        self.0.borrow_mut().tcp.push(socket);
        Ok(handle)
    }

    fn ask(&mut self, number: u64, query: Query) -> bool {
        self.0.borrow_mut().asked.push((number, query));
        true
    }
}

impl Datagrams for Handle {
    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        let mut socket = self.0.borrow_mut();
        if let Some(error) = socket.send_errors.pop_front() {
            return Err(error);
        }
        if socket.echo {
            socket.incoming.push_back(Ok((data.to_vec(), to)));
        } else {
            socket.sent.push((data.to_vec(), to));
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let next = self.0.borrow_mut().incoming.pop_front();
        let (data, from) = next.unwrap_or_else(|| Err(ErrorKind::WouldBlock.into()))?;
        for (place, byte) in buffer.iter_mut().zip(&data) {
            *place = *byte;
        }
        Ok((data.len(), from))
    }

    fn unreachable(&mut self) -> Option<SocketAddr> {
        self.0.borrow_mut().unreachable.take()
    }

    fn port(&self) -> u16 {
        self.0.borrow().to.map_or(0, |at| at.port())
    }
}

impl Stream for Handle {
    fn is_connected(&mut self) -> io::Result<bool> {
        match self.0.borrow().connected {
            None => Ok(false),
            Some(result) => result.map(|()| true).map_err(Into::into),
        }
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut socket = self.0.borrow_mut();
        let mut count = 0;
        for place in buffers.iter_mut().flat_map(|buffer| buffer.iter_mut()) {
            let Some(byte) = socket.input.pop_front() else {
                break;
            };
            *place = byte;
            count += 1;
        }
        if count == 0 && !socket.ended {
            return Err(socket.failure.unwrap_or(ErrorKind::WouldBlock).into());
        }
        Ok(count)
    }

    fn write(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = self.0.borrow_mut();
        if let Some(failure) = socket.failure {
            return Err(failure.into());
        }
        let bytes: Vec<u8> = data.iter().flat_map(|part| part.to_vec()).collect();
        let count = bytes.len().min(socket.room);
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        socket.room -= count;
        let bytes = bytes.get(..count).unwrap_or_default();
        if socket.echo {
            socket.input.extend(bytes);
        } else {
            socket.written.extend_from_slice(bytes);
        }
        Ok(count)
    }

    fn finish(&mut self) {
        let mut socket = self.0.borrow_mut();
        socket.finished = true;
        socket.ended |= socket.echo;
    }

    fn abort(&mut self) {
        self.0.borrow_mut().aborted = true;
    }
}

/// The body of a frame with a packet of the guest, whose checksum it leaves to us.
pub(crate) fn body(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Output::default();
    assert!(out.put((from, to), protocol, &[payload], u16::MAX, payload.len()));
    bodies(&mut out).remove(0)
}

/// The packet of UDP, as [`body`].
pub(crate) fn udp(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 8).unwrap_or(0);
    let mut payload = Vec::new();
    for field in [from.port(), to.port(), length, 0] {
        payload.extend(field.to_be_bytes());
    }
    payload.extend(data);
    body(from.ip(), to.ip(), super::ip::UDP, &payload)
}

/// Takes the bodies of all frames.
pub(super) fn bodies(out: &mut Output) -> Vec<Vec<u8>> {
    let frames = std::mem::take(out.frames());
    let mut rest = frames.len();
    let bodies = link::split(&frames).map(|frame| match frame {
        Frame::Packet(body) => {
            rest -= body.len() + link::PREFIX;
            body.to_vec()
        }
        Frame::Control(_) => Vec::new(),
    });
    let bodies: Vec<_> = bodies.collect();
    assert_eq!(rest, 0, "whole frames");
    bodies
}

/// An engine with a network in memory and a time of its own.
pub(crate) struct Driver {
    pub(crate) engine: Engine<Memory>,
    pub(super) network: Memory,
    pub(crate) now: Instant,
}

impl Driver {
    pub(crate) fn new() -> Self {
        let (network, now) = (Memory::default(), Instant::now());
        let config = Config {
            mtu: link::MTU,
            nameservers: vec![[10, 9, 8, 7].into()],
        };
        Self {
            engine: Engine::new(config, network.clone(), now),
            network,
            now,
        }
    }

    /// Gives the engine a chunk of frames with these bodies.
    pub(super) fn feed(&mut self, bodies: &[Vec<u8>]) {
        let mut chunk = Vec::new();
        let mut places = Vec::new();
        for body in bodies {
            let at = chunk.len();
            chunk.extend_from_slice(body);
            places.push(at..chunk.len());
        }
        for place in places {
            self.engine.packet(&chunk, place, self.now);
        }
        self.engine.flush(&chunk, self.now);
    }

    /// The socket with that token is ready for all.
    pub(super) fn ready(&mut self, token: usize) {
        self.engine.ready(token, true, true, self.now);
    }

    pub(super) fn answered(&mut self, number: u64, answer: &[u8]) {
        self.engine.answered(number, answer, self.now);
    }

    /// Lets all have their turns.
    pub(super) fn turns(&mut self) {
        for _ in 0..1000 {
            if !self.engine.has_turns() {
                return;
            }
            self.engine.turns(self.now);
        }
        panic!("it goes on for ever");
    }

    /// Lets the time pass, with all deadlines in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.turns();
        let mut steps = 0;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= end) {
            // An engine that is woken again at the same time for nothing never sleeps.
            steps = if deadline <= self.now { steps + 1 } else { 0 };
            assert!(steps < 10_000, "it never sleeps");
            self.now = self.now.max(deadline);
            self.engine.expire(self.now);
            self.turns();
        }
        self.now = end;
    }

    /// What the guest gets.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let bodies = bodies(&mut self.engine.out);
            if bodies.is_empty() {
                return all;
            }
            all.extend(bodies);
            self.turns();
        }
    }

    /// Bytes of memory that grow with what the guest does.
    pub(super) fn memory(&mut self) -> usize {
        assert!(self.network.0.borrow().asked.len() <= 256);
        self.engine.tcp.bytes() + self.engine.fragments.bytes() + self.engine.output().capacity()
    }

    pub(super) fn counters(&self) -> Counters {
        self.engine.counters()
    }

    /// Opens a connection beside all others, sends and gets data, and ends it.
    pub(super) fn serves(&mut self) {
        let others = self.counters().tcp_active;
        let guest = SocketAddr::new(GUEST, 51_234);
        let server = SocketAddr::new([203, 0, 113, 77].into(), 8080);
        let segment = |sequence: u32, ack: u32, flags: u8, data: &[u8]| {
            let mut payload = Vec::new();
            payload.extend(guest.port().to_be_bytes());
            payload.extend(server.port().to_be_bytes());
            payload.extend(sequence.to_be_bytes());
            payload.extend(ack.to_be_bytes());
            payload.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            payload.extend(data);
            body(guest.ip(), server.ip(), super::ip::TCP, &payload)
        };
        let (syn, ack, push, fin) = (2, 16, 24, 17);
        self.take();
        self.feed(&[segment(1000, 0, syn, &[])]);
        let socket = self
            .network
            .0
            .borrow()
            .tcp
            .last()
            .expect("a socket")
            .clone();
        assert_eq!(socket.borrow().to, Some(server));
        socket.borrow_mut().connected = Some(Ok(()));
        let token = socket.borrow().token;
        self.ready(token);
        let answer = self.take().pop().expect("an answer");
        let answer = super::ip::Packet::parse(&answer)
            .expect("a packet")
            .payload
            .to_vec();
        let ours = u32::from_be_bytes(*answer[4..].first_chunk().expect("a number")) + 1;
        assert_eq!(
            (answer[13], &answer[8..12]),
            (18, &1001_u32.to_be_bytes()[..])
        );
        self.feed(&[
            segment(1001, ours, ack, &[]),
            segment(1001, ours, push, b"to server"),
        ]);
        self.turns();
        assert_eq!(socket.borrow().written, b"to server");
        socket.borrow_mut().input.extend(b"to guest");
        socket.borrow_mut().ended = true;
        self.ready(token);
        self.turns();
        let got = self.take();
        assert!(got.iter().any(|body| body.ends_with(b"to guest")));
        self.feed(&[segment(1010, ours + 9, fin, &[])]);
        self.turns();
        assert!(socket.borrow().finished && socket.borrow().closed);
        assert!(!socket.borrow().aborted);
        assert_eq!(self.counters().tcp_active, others);
    }
}
