//! The switch: the network of a guest, by ordinary sockets of this machine. Its end of the
//! link ([`crate::link`]) is standard input and output, from which packets may move to
//! a connection. One thread carries all data; what blocks has threads of its own.

pub(crate) mod engine;
mod outgoing;
mod resolver;
mod second;
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
use second::Second;
pub(crate) use session::End;
use session::{Session, Step, Way};
use sockets::Sockets;
use stdio::Link;

/// Tokens of the loop's own; those of sockets are small numbers.
const INPUT: Token = Token(usize::MAX - 1);
const OUTPUT: Token = Token(usize::MAX - 2);
/// A thread has something for the loop.
const WAKE: Token = Token(usize::MAX - 3);
const PACKETS_IN: Token = Token(usize::MAX - 4);
const PACKETS_OUT: Token = Token(usize::MAX - 5);

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
    let tokens = (INPUT, OUTPUT);
    let streams = os::standard_files()?;
    let mut link = Link::open(poll.registry(), tokens, &waker, threads, streams)?;
    let mut second = Second::default();
    let mut events = Events::with_capacity(EVENTS);
    loop {
        let has_input = |link: &Link| link.has_input();
        let waits = link.has_input() || second.link.as_ref().is_some_and(has_input);
        let timeout = if waits || session.engine.has_turns() {
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
                PACKETS_IN => second.link.iter_mut().for_each(Link::readable),
                PACKETS_OUT => second.link.iter_mut().for_each(Link::writable),
                WAKE => {
                    link.woken();
                    second.link.iter_mut().for_each(Link::woken);
                    if let Some(result) = second.result() {
                        session.connected(result);
                    }
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
            let mut end = link.read(|chunk| session.chunk(chunk, Way::Standard, now));
            if let Some(step) = session.step() {
                match step {
                    Step::Connect(to, token) => {
                        if let Err(why) = second.connect(to, token, &waker) {
                            session.connected(Err(why));
                        }
                    }
                    Step::Take => second.take(poll.registry(), &waker, threads)?,
                    Step::Close => second.close(),
                }
            }
            if let (None, Some(second)) = (&end, &mut second.link) {
                end = second.read(|chunk| session.chunk(chunk, Way::Second, now));
            }
            if let Some(end) = end {
                // The last messages to the guest, as far as they fit.
                link.write(&mut session, Way::Standard)?;
                return Ok(end);
            }
        }
        if session.engine.has_turns() {
            session.engine.turns(now);
        }
        if session.engine.deadline().is_some_and(|at| at <= now) {
            session.engine.expire(now);
        }
        if !link.write(&mut session, Way::Standard)? {
            return Ok(End::Closed);
        }
        if let Some(second) = &mut second.link
            && !second.write(&mut session, Way::Second)?
        {
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
