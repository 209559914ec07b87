//! Clients of UDP forwards. Each has a port of its own at the gateway, from which its
//! datagrams reach the guest, and the answers to that port go back to it.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::udp::{self, Datagram, LONGEST};
use super::super::{Context, Datagrams, Network};
use super::ends;
use crate::link::Forward;

/// How long a client is known without a datagram in either direction; as in
/// [`crate::protocol::Limits`].
const IDLE: Duration = Duration::from_secs(180);
/// The same of one that the guest has never answered: anyone can make up a sender.
const UNANSWERED: Duration = Duration::from_secs(30);
/// Most clients. One without an answer makes room; without such a further one's datagrams
/// are dropped.
const CLIENTS: usize = 4096;
/// Most datagrams of a forward before it is another one's turn.
const TURN: usize = 64;
/// Most errors in a turn.
const UNKNOWN: usize = 8;
/// The gateway's ports that datagrams come from, beside those that it answers on.
const FIRST: u16 = 32_768;

/// A client: the number of its forward, and its address as the socket has it.
type Client = (usize, SocketAddr);
/// A port of the gateway, and the guest's one that it talks to.
type Ends = (SocketAddr, SocketAddr);

#[derive(Debug)]
struct Session {
    ends: Ends,
    answered: bool,
    used: Instant,
    /// Its place in the timers.
    deadline: Instant,
}

impl Session {
    fn idle(&self) -> Duration {
        if self.answered { IDLE } else { UNANSWERED }
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    sessions: HashMap<Client, Session>,
    by_ends: HashMap<Ends, Client>,
    /// Not later than the end of each session: those without an answer, and the others.
    timers: [BTreeSet<(Instant, Client)>; 2],
    /// The last port less [`FIRST`].
    port: u16,
    buffer: Vec<u8>,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Takes what has come for a forward, and says whether there may be more.
    pub(super) fn receive<N: Network>(
        &mut self,
        context: &mut Context<'_, N>,
        socket: &mut N::Udp,
        (number, forward): (usize, Forward),
    ) -> bool {
        self.buffer.resize(LONGEST, 0);
        let mut unknown = 0;
        for _ in 0..TURN {
            if context.out.is_full() {
                return true;
            }
            let (length, client) = match socket.receive(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // Such as an error of ICMP about an answer. What the system says each time is
                // no reason to go on for ever.
                Err(_) => {
                    socket.unreachable();
                    unknown += 1;
                    if unknown > UNKNOWN {
                        return false;
                    }
                    continue;
                }
            };
            let Some((gateway, guest)) = self.ends_of(context, (number, client), &forward) else {
                context.counters.dropped += 1;
                continue;
            };
            let data = self.buffer.get(..length).unwrap_or_default();
            if !udp::put(context.out, (gateway, guest), data, context.config.mtu) {
                context.counters.dropped += 1;
            }
        }
        true
    }

    /// The ends of a client, which is new or known.
    fn ends_of<N>(
        &mut self,
        context: &mut Context<'_, N>,
        client: Client,
        forward: &Forward,
    ) -> Option<Ends> {
        if let Some(session) = self.sessions.get_mut(&client) {
            session.used = context.now;
            return Some(session.ends);
        }
        if self.sessions.len() >= CLIENTS {
            let [unanswered, _] = &self.timers;
            let (_, oldest) = *unanswered.first()?;
            self.close(oldest);
        }
        let (gateway, guest) = ends(forward, client.1);
        let ports = u16::MAX - FIRST;
        let ends = (0..ports).find_map(|_| {
            self.port = (self.port + 1) % ports;
            let ends = (SocketAddr::new(gateway, FIRST + self.port), guest);
            (!self.by_ends.contains_key(&ends)).then_some(ends)
        })?;
        let deadline = context.now + UNANSWERED;
        let session = Session {
            ends,
            answered: false,
            used: context.now,
            deadline,
        };
        let [unanswered, _] = &mut self.timers;
        unanswered.insert((deadline, client));
        self.sessions.insert(client, session);
        self.by_ends.insert(ends, client);
        context.counters.udp_opened += 1;
        Some(ends)
    }

    /// Whom the guest answers.
    pub(super) fn client(&mut self, now: Instant, datagram: &Datagram<'_>) -> Option<Client> {
        let client = *self.by_ends.get(&(datagram.server, datagram.guest))?;
        let session = self.sessions.get_mut(&client)?;
        session.used = now;
        if !session.answered {
            let [unanswered, answered] = &mut self.timers;
            unanswered.remove(&(session.deadline, client));
            session.answered = true;
            session.deadline = now + IDLE;
            answered.insert((session.deadline, client));
        }
        Some(client)
    }

    fn close(&mut self, client: Client) {
        if let Some(session) = self.sessions.remove(&client) {
            self.by_ends.remove(&session.ends);
            for timers in &mut self.timers {
                timers.remove(&(session.deadline, client));
            }
        }
    }

    /// Forgets the clients of a forward.
    pub(super) fn close_all_of(&mut self, number: usize) {
        let all = self.sessions.keys().filter(|(of, _)| *of == number);
        for client in all.copied().collect::<Vec<_>>() {
            self.close(client);
        }
    }

    /// When [`Clients::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.timers.iter().filter_map(BTreeSet::first);
        first.map(|(deadline, _)| *deadline).min()
    }

    /// Forgets clients that are idle.
    pub(super) fn expire(&mut self, now: Instant) {
        for timers in &mut self.timers {
            while let Some((deadline, client)) = timers.first().copied()
                && deadline <= now
            {
                timers.remove(&(deadline, client));
                let Some(session) = self.sessions.get_mut(&client) else {
                    continue;
                };
                let later = session.used + session.idle();
                if later > now {
                    session.deadline = later;
                    timers.insert((later, client));
                } else if let Some(session) = self.sessions.remove(&client) {
                    self.by_ends.remove(&session.ends);
                }
            }
        }
    }
}

/// Sends the guest's answer, or several of the same size, to a client.
pub(super) fn send<N: Network>(
    context: &mut Context<'_, N>,
    socket: &mut N::Udp,
    data: &[u8],
    segment: Option<u16>,
    client: SocketAddr,
) {
    let size = segment.map_or(LONGEST, usize::from).max(1);
    // An empty one is a datagram too.
    let whole = data.is_empty().then_some(data);
    for piece in data.chunks(size).chain(whole) {
        let mut sent = socket.send_to(piece, client);
        // Such an error may belong to an earlier datagram.
        if let Err(error) = &sent
            && error.kind() != ErrorKind::WouldBlock
        {
            socket.unreachable();
            sent = socket.send_to(piece, client);
        }
        if sent.is_err() {
            context.counters.dropped += 1;
        }
    }
}
