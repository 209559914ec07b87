//! Forwards: ports of this machine whose clients reach the guest, from the gateway's address.

mod clients;

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::udp::{Datagram, Flows};
use super::{Context, Network, addresses, listener_token, tcp, tcp_token};
use crate::forward::failure;
use crate::link::{self, Forward, FromSwitch};
use crate::protocol::{Failure, FailureKind, Listen, Listener, Protocol};
use crate::socket::canonical;
use clients::Clients;

/// A port that could not be had is tried again after that time, which doubles.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After a client could not be accepted for lack of sockets or memory.
const LACK: Duration = Duration::from_millis(100);
/// Most clients that are accepted before it is another one's turn.
const TURN: usize = 64;

/// What a forward has of this machine.
enum State<N: Network> {
    Tcp(N::Listener),
    Udp(N::Udp),
    Failed(Failure),
}

struct Entry<N: Network> {
    forward: Forward,
    state: State<N>,
    ipv4_alone: bool,
    /// When to try again, and after which time then.
    retry: Option<Instant>,
    delay: Duration,
    /// It may have something to take, and is queued for it.
    ready: bool,
}

/// The forwards of the guest's last list, by numbers.
pub(super) struct Forwards<N: Network> {
    entries: Vec<Option<Entry<N>>>,
    /// In the order of the list.
    numbers: Vec<usize>,
    generation: u64,
    /// The guest does not know of the last change.
    news: bool,
    /// The first retry.
    deadline: Option<Instant>,
    ready: VecDeque<usize>,
    clients: Clients,
}

/// What forwards share with the guest's own connections and flows.
type Others<'a, N> = (
    &'a mut tcp::Connections<<N as Network>::Tcp>,
    &'a mut Flows<<N as Network>::Udp>,
);

impl<N: Network> Forwards<N> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            numbers: Vec::new(),
            generation: 0,
            news: false,
            deadline: None,
            ready: VecDeque::new(),
            clients: Clients::default(),
        }
    }

    /// How many clients of UDP there are.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Makes the difference to what listens now.
    pub(super) fn set(
        &mut self,
        context: &mut Context<'_, N>,
        (tcp, udp): Others<'_, N>,
        generation: u64,
        wanted: Vec<Forward>,
    ) {
        (self.generation, self.news) = (generation, true);
        let wanted_at: HashMap<Listen, Forward> =
            wanted.iter().rev().map(|one| (one.listen, *one)).collect();
        let mut kept = HashMap::new();
        // Before others open: one of them may want the port.
        for (number, slot) in self.entries.iter_mut().enumerate() {
            let Some(entry) = slot else { continue };
            let (old, new) = (entry.forward, wanted_at.get(&entry.forward.listen));
            if new != Some(&old) {
                self.clients.close_all_of(number);
            }
            match new {
                Some(new) => {
                    entry.forward = *new;
                    kept.insert(old.listen, number);
                }
                None => {
                    *slot = None;
                    tcp.reset_clients(context, old.listen);
                }
            }
        }
        self.numbers.clear();
        for forward in wanted {
            let number = match kept.get(&forward.listen) {
                Some(number) => *number,
                None => {
                    let number = self.insert(forward);
                    kept.insert(forward.listen, number);
                    number
                }
            };
            if !self.numbers.contains(&number) {
                self.numbers.push(number);
            }
            self.open(context, udp, number);
        }
        self.ready.retain(|number| {
            let slot = self.entries.get(*number);
            slot.is_some_and(Option::is_some)
        });
        self.set_deadline();
    }

    /// Adds one that does not listen yet.
    fn insert(&mut self, forward: Forward) -> usize {
        let free = self.entries.iter().position(Option::is_none);
        let number = free.unwrap_or(self.entries.len());
        let entry = Entry {
            forward,
            state: State::Failed(Failure {
                kind: FailureKind::Other,
                code: 0,
            }),
            ipv4_alone: false,
            retry: None,
            delay: FIRST,
            ready: false,
        };
        match self.entries.get_mut(number) {
            Some(place) => *place = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        number
    }

    /// Opens the port of a forward that does not have it.
    fn open(&mut self, context: &mut Context<'_, N>, udp: &mut Flows<N::Udp>, number: usize) {
        let Some(Some(entry)) = self.entries.get_mut(number) else {
            return;
        };
        if !matches!(entry.state, State::Failed(_)) {
            return;
        }
        let Forward { listen, guest, .. } = entry.forward;
        let token = listener_token(number);
        let opened = if guest.is_some_and(|guest| !addresses::is_guest(guest)) {
            Err(ErrorKind::AddrNotAvailable.into())
        } else {
            match listen.protocol {
                Protocol::Tcp => context
                    .network
                    .listen(listen.address(), token)
                    .map(|(socket, at)| (State::Tcp(socket), at)),
                Protocol::Udp => {
                    bind(context, udp, listen, token).map(|(socket, at)| (State::Udp(socket), at))
                }
            }
        };
        match opened {
            Ok((state, at)) => {
                entry.state = state;
                entry.ipv4_alone = listen.listen_address.is_ipv6() && at.is_ipv4();
                (entry.retry, entry.delay) = (None, FIRST);
                self.news = true;
            }
            Err(error) => {
                let failure = failure(&error);
                self.news |= !matches!(entry.state, State::Failed(old) if old == failure);
                entry.state = State::Failed(failure);
                entry.retry = Some(context.now + entry.delay);
                entry.delay = (entry.delay * 2).min(LONGEST);
            }
        }
    }

    fn set_deadline(&mut self) {
        let retries = self.entries.iter().flatten().filter_map(|one| one.retry);
        self.deadline = retries.min();
    }

    /// What the guest does not know yet: which of its forwards listen.
    pub(super) fn applied(&mut self) -> Option<FromSwitch> {
        if !mem::take(&mut self.news) {
            return None;
        }
        let entries = self.numbers.iter().map(|number| self.entries.get(*number));
        let listeners = entries.flatten().flatten().map(|entry| Listener {
            listen: entry.forward.listen,
            failure: match entry.state {
                State::Failed(failure) => Some(failure),
                State::Tcp(_) | State::Udp(_) => None,
            },
            ipv4_alone: entry.ipv4_alone,
        });
        Some(FromSwitch::Applied {
            generation: self.generation,
            listeners: listeners.collect(),
        })
    }

    /// The socket of a forward may have something to take.
    pub(super) fn ready(&mut self, number: usize) {
        if let Some(Some(entry)) = self.entries.get_mut(number)
            && !mem::replace(&mut entry.ready, true)
        {
            self.ready.push_back(number);
        }
    }

    /// Whether [`Forwards::turns`] has something to do.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A turn for each forward that is ready, while there is room in the output.
    pub(super) fn turns(
        &mut self,
        context: &mut Context<'_, N>,
        tcp: &mut tcp::Connections<N::Tcp>,
    ) {
        for _ in 0..self.ready.len() {
            if context.out.is_full() {
                return;
            }
            let Some(number) = self.ready.pop_front() else {
                return;
            };
            let Some(Some(entry)) = self.entries.get_mut(number) else {
                continue;
            };
            let more = match &mut entry.state {
                State::Failed(_) => false,
                State::Tcp(listener) => {
                    let accepted = accept(context, tcp, listener, entry.forward);
                    if accepted.is_err() {
                        // Its readiness does not change by itself.
                        entry.retry = Some(context.now + LACK);
                        self.deadline = self.deadline.into_iter().chain(entry.retry).min();
                    }
                    accepted.unwrap_or(false)
                }
                State::Udp(socket) => {
                    self.clients
                        .receive(context, socket, (number, entry.forward))
                }
            };
            entry.ready = more;
            if more {
                self.ready.push_back(number);
            }
        }
    }

    /// Takes the guest's answer to a client of UDP. Whether there is one.
    pub(super) fn answer(
        &mut self,
        context: &mut Context<'_, N>,
        datagram: Datagram<'_>,
        segment: Option<u16>,
    ) -> bool {
        let Some((number, client)) = self.clients.client(context.now, &datagram) else {
            return false;
        };
        if let Some(Some(Entry {
            state: State::Udp(socket),
            ..
        })) = self.entries.get_mut(number)
        {
            clients::send(context, socket, datagram.data, segment, client);
        }
        true
    }

    /// When [`Forwards::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.deadline.into_iter().chain(self.clients.deadline());
        deadlines.min()
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, context: &mut Context<'_, N>, udp: &mut Flows<N::Udp>) {
        self.clients.expire(context.now);
        if self.deadline.is_none_or(|at| at > context.now) {
            return;
        }
        for number in 0..self.entries.len() {
            let Some(Some(entry)) = self.entries.get_mut(number) else {
                continue;
            };
            if entry.retry.is_some_and(|at| at <= context.now) {
                entry.retry = None;
                self.ready(number);
                self.open(context, udp, number);
            }
        }
        self.set_deadline();
    }
}

/// The gateway's address of that family, and the guest's.
fn ends(forward: &Forward, client: SocketAddr) -> (IpAddr, SocketAddr) {
    let family = forward.guest.unwrap_or_else(|| canonical(client).ip());
    let (gateway, own): (IpAddr, IpAddr) = if family.is_ipv4() {
        (link::GATEWAY_V4.into(), link::GUEST_V4.into())
    } else {
        (link::GATEWAY_V6.into(), link::GUEST_V6.into())
    };
    let guest = forward.guest.unwrap_or(own);
    (gateway, SocketAddr::new(guest, forward.guest_port.get()))
}

/// Accepts clients, and says whether there may be more.
///
/// # Errors
///
/// There is a lack of something.
fn accept<N: Network>(
    context: &mut Context<'_, N>,
    tcp: &mut tcp::Connections<N::Tcp>,
    listener: &mut N::Listener,
    forward: Forward,
) -> io::Result<bool> {
    for _ in 0..TURN {
        if context.out.is_full() {
            return Ok(true);
        }
        let number = tcp.reserve();
        match context.network.accept(listener, tcp_token(number)) {
            Ok((socket, client)) => {
                let ends = ends(&forward, client);
                tcp.take_in(context, number, socket, forward.listen, ends);
            }
            Err(error) => {
                tcp.give_back(number);
                match error.kind() {
                    ErrorKind::WouldBlock => return Ok(false),
                    // The client went.
                    ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                }
            }
        }
    }
    Ok(true)
}

/// Opens a port of UDP. The system may have given one such as 51820 to a flow of the guest;
/// the forward takes precedence.
fn bind<N: Network>(
    context: &mut Context<'_, N>,
    udp: &mut Flows<N::Udp>,
    listen: Listen,
    token: usize,
) -> io::Result<(N::Udp, SocketAddr)> {
    match context.network.bind_to(listen.address(), token) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            if !udp.vacate(listen.listen_port.get()) {
                return Err(error);
            }
            context.network.bind_to(listen.address(), token)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests;
