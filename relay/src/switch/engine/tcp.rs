//! TCP: all connections of a guest. RFC 9293.

mod connection;
mod flight;
mod inward;
mod reassembly;
mod rtt;
mod segment;
mod sequence;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::addresses::{self, Destination};
use super::icmp::{self, Reason};
use super::ip::{Packet, TCP};
use super::ring::Memory;
use super::{Context, Network, Stream, dns};
use connection::{Challenges, Connection, Env, Owed, State};
use segment::{ACK, FIN, Header, Key, RST, SYN, Segment};

/// Most connections of the guest. The SYNs of further ones are dropped.
const CONNECTIONS: usize = 4096;
/// Most connections that are not established: a flood of SYNs takes no more sockets.
const HALF_OPEN: usize = 512;
/// How long an ACK may wait for data that takes it along.
const ACK_DELAY: Duration = Duration::from_millis(1);
/// How many ended connections are remembered, so that a FIN whose ACK was lost is
/// acknowledged again.
const ENDED: usize = 256;

type Slot<S> = Option<Box<Connection<S>>>;

/// The connections of a guest, by numbers.
#[derive(Debug)]
pub(super) struct Connections<S> {
    slots: Vec<Slot<S>>,
    free: Vec<usize>,
    by_key: HashMap<Key, usize>,
    half_open: usize,
    inward: inward::Inward,
    /// Those that a segment was taken for since the last flush.
    touched: Vec<usize>,
    ready: VecDeque<usize>,
    /// Those with a delayed ACK, in the order of its deadline.
    delayed: VecDeque<(Instant, usize)>,
    /// One deadline of each, not later than its own.
    timers: BTreeSet<(Instant, usize)>,
    ended: Ended,
    rx: Memory,
    tx: Memory,
    challenges: Challenges,
    secret: RandomState,
    started: Instant,
}

/// Ended connections, with the next sequence numbers: ours, and the guest's.
#[derive(Debug, Default)]
struct Ended {
    numbers: HashMap<Key, (u32, u32)>,
    keys: VecDeque<Key>,
}

impl Ended {
    fn add(&mut self, key: Key, numbers: (u32, u32)) {
        if self.keys.len() >= ENDED
            && let Some(oldest) = self.keys.pop_front()
        {
            self.numbers.remove(&oldest);
        }
        self.keys.push_back(key);
        self.numbers.insert(key, numbers);
    }
}

impl<S: Stream> Connections<S> {
    pub(super) fn new(now: Instant) -> Self {
        let secret = RandomState::new();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            half_open: 0,
            inward: inward::Inward::new(&secret),
            touched: Vec::new(),
            ready: VecDeque::new(),
            delayed: VecDeque::new(),
            timers: BTreeSet::new(),
            ended: Ended::default(),
            rx: Memory::default(),
            tx: Memory::default(),
            challenges: Challenges::new(now),
            secret,
            started: now,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Bytes of buffers.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.rx.used() + self.tx.used()
    }

    fn env<'a, N>(
        rx: &'a mut Memory,
        tx: &'a mut Memory,
        challenges: &'a mut Challenges,
        context: &'a mut Context<'_, N>,
    ) -> Env<'a> {
        Env {
            out: context.out,
            rx,
            tx,
            counters: context.counters,
            challenges,
            mtu: context.config.mtu,
            now: context.now,
        }
    }

    /// Works with a connection, and with what it works with. It ends if the work says so.
    fn with<N>(
        &mut self,
        context: &mut Context<'_, N>,
        number: usize,
        work: impl FnOnce(&mut Connection<S>, &mut Env<'_>) -> bool,
    ) {
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        let Some(connection) = slot else {
            return;
        };
        let mut env = Self::env(&mut self.rx, &mut self.tx, &mut self.challenges, context);
        let goes_on = work(connection, &mut env);
        if connection.counted && (!goes_on || connection.state == State::Established) {
            connection.counted = false;
            if connection.inward.is_some() {
                self.inward.half_open -= 1;
            } else {
                self.half_open -= 1;
            }
        }
        if !goes_on {
            connection.release(&mut env);
            self.inward.open -= usize::from(connection.inward.is_some());
            if let Some(armed) = connection.armed {
                self.timers.remove(&(armed, number));
            }
            self.by_key.remove(&connection.key);
            *slot = None;
            self.free.push(number);
            return;
        }
        if connection.owed == Owed::Delayed && !connection.late {
            connection.late = true;
            self.delayed.push_back((context.now + ACK_DELAY, number));
        }
        let deadline = connection.deadline();
        if connection.armed.is_none_or(|armed| deadline < armed) {
            if let Some(armed) = connection.armed.replace(deadline) {
                self.timers.remove(&(armed, number));
            }
            self.timers.insert((deadline, number));
        }
    }

    /// Takes a segment of the guest. The `packet`'s payload is in the chunk from `at` on.
    pub(super) fn packet<N: Network<Tcp = S>>(
        &mut self,
        context: &mut Context<'_, N>,
        packet: &Packet<'_>,
        at: usize,
        token: fn(usize) -> usize,
    ) {
        let Some(segment) = Segment::parse(packet) else {
            context.counters.invalid += 1;
            return;
        };
        let Some(number) = self.by_key.get(&segment.key).copied() else {
            if segment.has(SYN) && !segment.has(RST | ACK | FIN) {
                self.open(context, &segment, token);
            } else {
                self.unknown(context, &segment);
            }
            return;
        };
        let at = at + segment.offset;
        self.with(context, number, |connection, env| {
            connection.segment(&segment, at, env)
        });
        if self.touched.last() != Some(&number) {
            self.touched.push(number);
        }
    }

    /// A segment of no connection.
    fn unknown<N>(&mut self, context: &mut Context<'_, N>, segment: &Segment<'_>) {
        if segment.has(RST) {
            return;
        }
        let end = segment.span().end;
        let numbers = self.ended.numbers.get(&segment.key);
        let (sequence, ack, flags) = match (numbers, segment.ack) {
            (Some((ours, guests)), Some(_)) if segment.has(FIN) && end == *guests => {
                (*ours, *guests, ACK)
            }
            // RFC 9293, section 3.10.7.1.
            (_, Some(ack)) => (ack, 0, RST),
            (_, None) => (0, end, RST | ACK),
        };
        answer(context, &segment.key, sequence, ack, flags);
    }

    /// Takes a SYN.
    fn open<N: Network<Tcp = S>>(
        &mut self,
        context: &mut Context<'_, N>,
        syn: &Segment<'_>,
        token: fn(usize) -> usize,
    ) {
        if self.by_key.len() >= CONNECTIONS || self.half_open >= HALF_OPEN {
            context.counters.tcp_refused += 1;
            return;
        }
        let key = syn.key;
        let number = self.reserve();
        let token = token(number);
        let resolver = dns::is_nameserver(context.config, key.server);
        let socket = match addresses::destination(key.server.ip()) {
            _ if key.server.port() == 0 => Err(ErrorKind::ConnectionRefused.into()),
            _ if resolver => context.network.converse(token),
            Destination::Outside(to) => {
                let to = SocketAddr::new(to, key.server.port());
                context.network.connect(to, token)
            }
            Destination::Gateway => Err(ErrorKind::ConnectionRefused.into()),
            Destination::Unassigned | Destination::Many | Destination::Invalid => {
                Err(ErrorKind::HostUnreachable.into())
            }
        };
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                self.give_back(number);
                context.counters.tcp_failed += 1;
                refuse(context, &key, syn.sequence, &error);
                return;
            }
        };
        let isn = self.first_sequence(&key, context.now);
        let env = Self::env(&mut self.rx, &mut self.tx, &mut self.challenges, context);
        let connection = Connection::new(syn, socket, isn, &env);
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        *slot = Some(Box::new(connection));
        self.by_key.insert(key, number);
        self.half_open += 1;
        context.counters.tcp_opened += 1;
        // Sets its timer.
        self.with(context, number, |_, _| true);
    }

    /// RFC 6528: a clock of 4 microseconds, and a secret of the connection.
    fn first_sequence(&self, key: &Key, now: Instant) -> u32 {
        let clock = now.saturating_duration_since(self.started).as_micros() / 4;
        let [a, b, c, d, ..] = clock.to_le_bytes();
        let [e, f, g, h, ..] = self.secret.hash_one(key).to_le_bytes();
        u32::from_le_bytes([a, b, c, d]).wrapping_add(u32::from_le_bytes([e, f, g, h]))
    }

    /// Lets all go on that took something of the chunk.
    pub(super) fn flush<N>(&mut self, context: &mut Context<'_, N>, chunk: &[u8]) {
        let mut touched = mem::take(&mut self.touched);
        for number in touched.drain(..) {
            self.go_on(context, number, chunk);
        }
        self.touched = touched;
    }

    /// Lets a connection do what it can.
    fn go_on<N>(&mut self, context: &mut Context<'_, N>, number: usize, chunk: &[u8]) {
        let mut ended = None;
        let mut more = false;
        self.with(context, number, |connection, env| {
            let delivered = connection.deliver(chunk, env);
            // What the server has sent before it was lost is the guest's.
            let turn = connection.advance(env);
            match delivered.and(turn) {
                Ok(turn) => {
                    more = turn == connection::Turn::More
                        && !mem::replace(&mut connection.queued, true);
                    if turn == connection::Turn::Ended {
                        ended = Some((connection.key, connection.sequences()));
                    }
                    turn != connection::Turn::Ended
                }
                Err(_) => {
                    connection.reset_guest(env);
                    false
                }
            }
        });
        if more {
            self.ready.push_back(number);
        }
        if let Some((key, numbers)) = ended {
            self.ended.add(key, numbers);
        }
    }

    /// The socket of a connection is ready for something.
    pub(super) fn ready<N>(
        &mut self,
        context: &mut Context<'_, N>,
        number: usize,
        readable: bool,
        writable: bool,
    ) {
        let mut failed = None;
        let mut queue = false;
        self.with(context, number, |connection, env| {
            match connection.ready(readable, writable, env) {
                Ok(()) => {
                    queue = connection.state == State::Established
                        && !mem::replace(&mut connection.queued, true);
                    true
                }
                Err(error) => {
                    let syn = connection.sequences().1.wrapping_sub(1);
                    failed = Some((connection.key, syn, error));
                    false
                }
            }
        });
        if queue {
            self.ready.push_back(number);
        }
        if let Some((key, syn, error)) = failed {
            context.counters.tcp_failed += 1;
            refuse(context, &key, syn, &error);
        }
    }

    /// Whether [`Connections::turns`] has something to do.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A turn for each connection that is ready, while there is room in the output.
    pub(super) fn turns<N>(&mut self, context: &mut Context<'_, N>) {
        for _ in 0..self.ready.len() {
            if context.out.is_full() {
                return;
            }
            let Some(number) = self.ready.pop_front() else {
                return;
            };
            if let Some(Some(connection)) = self.slots.get_mut(number) {
                connection.queued = false;
            }
            self.go_on(context, number, &[]);
        }
    }

    /// When [`Connections::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(deadline, _)| *deadline);
        let delayed = self.delayed.front().map(|(deadline, _)| *deadline);
        timer.into_iter().chain(delayed).min()
    }

    /// Does what is due.
    pub(super) fn expire<N>(&mut self, context: &mut Context<'_, N>) {
        let now = context.now;
        while let Some((deadline, number)) = self.delayed.front().copied()
            && deadline <= now
        {
            self.delayed.pop_front();
            self.with(context, number, |connection, env| {
                connection.late = false;
                connection.acknowledge_late(env);
                true
            });
        }
        while let Some((deadline, number)) = self.timers.first().copied()
            && deadline <= now
        {
            self.timers.pop_first();
            self.with(context, number, |connection, env| {
                connection.armed = None;
                connection.deadline() > env.now || connection.expire(env)
            });
        }
    }

    /// A segment was too large for the way to the guest's machines.
    pub(super) fn too_big<N>(
        &mut self,
        context: &mut Context<'_, N>,
        (guest, server): (SocketAddr, SocketAddr),
        sequence: u32,
        mtu: u16,
    ) {
        if let Some(number) = self.by_key.get(&Key { guest, server }).copied() {
            self.with(context, number, |connection, _| {
                connection.shrink(sequence, mtu);
                true
            });
            self.go_on(context, number, &[]);
        }
    }
}

/// Answers a segment of no connection.
fn answer<N>(context: &mut Context<'_, N>, key: &Key, sequence: u32, ack: u32, flags: u8) {
    let header = Header {
        sequence,
        ack,
        flags,
        window: 0,
    };
    if !segment::put(context.out, key, header, &[], (&[], &[]), 1) {
        context.counters.dropped += 1;
    }
}

/// Tells the guest why its SYN leads nowhere.
fn refuse<N>(context: &mut Context<'_, N>, key: &Key, sequence: u32, error: &io::Error) {
    match Reason::of(error) {
        // The guest finds out by itself.
        None if error.kind() == ErrorKind::TimedOut => {}
        None | Some(Reason::Port) => answer(context, key, 0, sequence.wrapping_add(1), RST | ACK),
        Some(reason) => {
            let addresses = (key.guest, key.server);
            icmp::unreachable(context.out, addresses, TCP, sequence.to_be_bytes(), reason);
        }
    }
}

#[cfg(test)]
mod tests;
