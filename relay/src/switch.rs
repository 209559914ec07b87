//! The switch: the network of a guest, by ordinary sockets of this machine. Its end of the
//! link ([`crate::link`]) is standard input and output. One thread carries all data; what
//! blocks has threads of its own.

pub(crate) mod engine;
mod outgoing;
mod resolver;
mod session;
mod sockets;
mod stdio;

use std::io;
use std::net::{Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::os;
use engine::{Config, Engine};
use resolver::{Event, Resolver, System};
pub(crate) use session::End;
use session::Session;
use sockets::Sockets;
use stdio::Link;

/// Tokens of the loop's own; those of sockets are small numbers.
const INPUT: Token = Token(usize::MAX - 1);
const OUTPUT: Token = Token(usize::MAX - 2);
/// A thread has something for the loop.
const WAKE: Token = Token(usize::MAX - 3);

/// Most events of a poll.
const EVENTS: usize = 1024;
/// Chunks of the link that are taken before sockets have their turn.
const CHUNKS: usize = 4;

/// Runs the switch until the link ends, and says why it did. With `threads`, standard input
/// and output have threads on every system, as on Windows.
///
/// # Errors
///
/// The system's, at the start.
pub(crate) fn run(threads: bool) -> io::Result<End> {
    os::raise_limits();
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let wake = {
        let waker = Arc::clone(&waker);
        move || waker.wake().unwrap_or_default()
    };
    let resolver = Resolver::new(System, wake);
    let sockets = Sockets::new(poll.registry().try_clone()?, resolver.clone());
    let config = Config {
        mtu: crate::link::MTU,
        nameservers: Vec::new(),
    };
    let engine = Engine::new(config, sockets, Instant::now());
    let mut session = Session::new(engine, has_ipv6());
    let mut link = Link::open(poll.registry(), (INPUT, OUTPUT), &waker, threads)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let timeout = if link.has_input() || session.engine.has_turns() {
            Some(Duration::ZERO)
        } else {
            let deadline = session.engine.deadline();
            deadline.map(|at| at.saturating_duration_since(Instant::now()))
        };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = Instant::now();
        for event in &events {
            match event.token() {
                INPUT => link.readable(),
                OUTPUT => link.writable(),
                WAKE => {
                    link.woken();
                    for event in resolver.events() {
                        match event {
                            Event::Answer(number, answer) => {
                                session.engine.answered(number, &answer, now);
                            }
                            Event::Ready(token) => session.engine.ready(token, true, true, now),
                        }
                    }
                }
                Token(token) => {
                    let failed = event.is_error();
                    let readable = event.is_readable() || event.is_read_closed() || failed;
                    let writable = event.is_writable() || failed;
                    session.engine.ready(token, readable, writable, now);
                }
            }
        }
        for _ in 0..CHUNKS {
            if let Some(end) = link.read(|chunk| session.chunk(chunk, now)) {
                // What the guest is told last, as far as it fits.
                link.write(&mut session)?;
                return Ok(end);
            }
        }
        if session.engine.has_turns() {
            session.engine.turns(now);
        }
        if session.engine.deadline().is_some_and(|at| at <= now) {
            session.engine.expire(now);
        }
        if !link.write(&mut session)? {
            return Ok(End::Closed);
        }
    }
}

/// Whether there is a route into the internet of IPv6. Nothing is sent.
fn has_ipv6() -> bool {
    // A public resolver.
    let address = Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888);
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect((address, 53)).is_ok())
}
