//! Answers the guest's queries by this machine's resolver, in threads: it blocks. A thread
//! is started for a query and ends when none waits.
//!
//! Addresses are looked up as any program here does it, so the hosts file, a VPN's policies
//! and all other sources count. Other records are asked of this machine's nameservers.

mod conversation;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use conversation::Conversation;

use crate::os;
use crate::switch::engine::dns::{A, AAAA, Failure, NO_ERROR, NO_SUCH_NAME, Query, SERVER_FAILURE};

/// Most threads. A name that cannot be resolved takes one for many seconds.
const THREADS: usize = 16;
/// Most queries that wait for a thread.
const WAITING: usize = 256;
/// How long a nameserver may take, and how many are asked.
const TIMEOUT: Duration = Duration::from_secs(2);
const NAMESERVERS: usize = 3;
/// The longest message.
const LONGEST: usize = 65_535;

/// Where the answers come from: the system, or in tests something else.
pub(crate) trait Source: Send + Sync + 'static {
    /// As [`os::lookup`].
    ///
    /// # Errors
    ///
    /// As [`os::lookup`].
    fn lookup(&self, name: &str, is_ipv6: bool) -> Result<Vec<IpAddr>, Failure>;

    /// Where other records are asked for, in the order of preference.
    fn nameservers(&self) -> Vec<SocketAddr>;
}

/// This machine.
pub(crate) struct System;

impl Source for System {
    fn lookup(&self, name: &str, is_ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
        os::lookup(name, is_ipv6)
    }

    fn nameservers(&self) -> Vec<SocketAddr> {
        let servers = os::nameservers().into_iter();
        servers.map(|server| SocketAddr::new(server, 53)).collect()
    }
}

/// Who gets an answer.
enum Asker {
    /// The engine, by the number of the query.
    Datagram(u64),
    /// A conversation.
    Stream(conversation::Reply),
}

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The answer to the engine's query of that number.
    Answer(u64, Vec<u8>),
    /// The conversation with that token is ready for something.
    Ready(usize),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Asker, Query)>,
    events: Vec<Event>,
    threads: usize,
}

struct Shared {
    source: Box<dyn Source>,
    /// Makes the loop take the events.
    wake: Box<dyn Fn() + Send + Sync>,
    state: Mutex<State>,
}

/// The resolver, by all its users.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Shared>);

impl Resolver {
    pub(crate) fn new(source: impl Source, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            source: Box::new(source),
            wake: Box::new(wake),
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a query of the engine. Whether there is room for it.
    pub(crate) fn ask(&self, number: u64, query: Query) -> bool {
        self.start(Asker::Datagram(number), query)
    }

    /// Begins a conversation, of which events have this token.
    pub(crate) fn converse(&self, token: usize) -> Conversation {
        Conversation::new(self.clone(), token)
    }

    /// What has happened since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    fn report(&self, event: Event) {
        self.state().events.push(event);
        (self.0.wake)();
    }

    fn start(&self, asker: Asker, query: Query) -> bool {
        let mut state = self.state();
        if state.waiting.len() >= WAITING {
            return false;
        }
        state.waiting.push_back((asker, query));
        if state.threads < THREADS {
            let this = self.clone();
            let thread = thread::Builder::new().name("resolver".to_owned());
            let started = thread.spawn(move || this.work());
            // Without a new one, the others do it.
            state.threads += usize::from(started.is_ok());
            if state.threads == 0 {
                state.waiting.pop_back();
                return false;
            }
        }
        true
    }

    /// What a thread does.
    fn work(&self) {
        loop {
            let next = {
                let mut state = self.state();
                let next = state.waiting.pop_front();
                state.threads -= usize::from(next.is_none());
                next
            };
            let Some((asker, query)) = next else {
                return;
            };
            let answer = self.answer(&query);
            match asker {
                Asker::Datagram(number) => self.report(Event::Answer(number, answer)),
                Asker::Stream(reply) => reply.send(self, &answer),
            }
        }
    }

    fn answer(&self, query: &Query) -> Vec<u8> {
        let is_ipv6 = query.kind == AAAA;
        match &query.name {
            Some(name) if [A, AAAA].contains(&query.kind) => {
                let (code, addresses) = self.addresses(name, is_ipv6);
                query.answer(code, &addresses)
            }
            _ => {
                let answer = self.forward(query);
                answer.unwrap_or_else(|| query.answer(SERVER_FAILURE, &[]))
            }
        }
    }

    fn addresses(&self, name: &str, is_ipv6: bool) -> (u8, Vec<IpAddr>) {
        match self.0.source.lookup(name, is_ipv6) {
            Ok(addresses) => (NO_ERROR, addresses),
            Err(Failure::NoAddress) => (NO_ERROR, Vec::new()),
            // Systems say so as well of a name that has addresses of the other family
            // alone. A guest that believed it would not ask for those.
            Err(Failure::NoName) => match self.0.source.lookup(name, !is_ipv6) {
                Err(Failure::NoName) => (NO_SUCH_NAME, Vec::new()),
                _ => (NO_ERROR, Vec::new()),
            },
            Err(Failure::Unknown) => (SERVER_FAILURE, Vec::new()),
        }
    }

    /// The answer of the first nameserver that has one.
    fn forward(&self, query: &Query) -> Option<Vec<u8>> {
        let servers = self.0.source.nameservers();
        let mut servers = servers.into_iter().take(NAMESERVERS);
        servers.find_map(|server| ask(server, query).ok())
    }
}

/// Asks a nameserver. An answer that is too long for a datagram is asked for again over TCP
/// if the guest can take it.
fn ask(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(&query.message)?;
    let until = Instant::now() + TIMEOUT;
    let mut buffer = vec![0; LONGEST];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left).filter(|left| !left.is_zero()))?;
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = socket.recv(&mut buffer)?;
        let answer = buffer.get(..length).unwrap_or_default();
        if query.is_answered_by(answer) {
            let truncated = answer.get(2).is_some_and(|flags| flags & 2 != 0);
            if truncated && query.largest == LONGEST {
                return ask_in_stream(server, query);
            }
            return Ok(answer.to_vec());
        }
    }
}

fn ask_in_stream(server: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(&conversation::framed(&query.message))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    if query.is_answered_by(&answer) {
        return Ok(answer);
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
