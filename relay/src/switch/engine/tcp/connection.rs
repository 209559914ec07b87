//! A connection: the guest's end of it, and the socket to the server.

mod acknowledge;
mod deliver;
mod inward;
mod send;
mod timers;

pub(super) use send::Turn;

use std::mem;
use std::time::Instant;

use super::flight::Flight;
use super::reassembly::Reassembly;
use super::rtt::Rtt;
use super::segment::{self, ACK, FIN, Header, Key, Offer, RST, SYN, Segment};
use super::sequence::{advance, before, distance, latest};
use crate::link::Counters;
use crate::protocol::Listen;
use crate::switch::engine::Stream;
use crate::switch::engine::ip::Output;
use crate::switch::engine::ring::{LARGEST, Memory, Ring};

/// Most bytes that the rings of each direction take together, beyond the first buffer that
/// every connection may have.
pub(super) const MEMORY: usize = 20 * 1024 * 1024;
/// Our window scale.
const SCALE: u8 = 7;
/// What a connection works with.
pub(super) struct Env<'a> {
    pub(super) out: &'a mut Output,
    /// Towards the server, and towards the guest.
    pub(super) rx: &'a mut Memory,
    pub(super) tx: &'a mut Memory,
    pub(super) counters: &'a mut Counters,
    pub(super) challenges: &'a mut Challenges,
    pub(super) mtu: u16,
    pub(super) now: Instant,
}

/// ACKs that answer what may be forged: a limited number a second, RFC 5961, section 7.
#[derive(Debug)]
pub(super) struct Challenges {
    since: Instant,
    count: u32,
}

impl Challenges {
    /// Most in a second.
    const LIMIT: u32 = 100;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    fn allow(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since).as_secs() >= 1 {
            *self = Self::new(now);
        }
        self.count += 1;
        self.count <= Self::LIMIT
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The server has not answered.
    Connecting,
    /// The guest was asked, for a client.
    SynSent,
    /// The server has; the guest has its SYN.
    SynReceived,
    Established,
}

/// Whether the guest is owed an ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    /// It may go with the next data to the guest.
    Soon,
    /// It waits for its deadline.
    Delayed,
    Now,
}

/// Data of the guest that is on its way to the socket.
#[derive(Debug)]
enum Piece {
    /// In the chunk that was read from the link.
    Chunk { at: usize, length: usize },
    /// It waited for the bytes before it.
    Kept(Vec<u8>),
}

/// A connection of the guest.
#[derive(Debug)]
pub(super) struct Connection<S> {
    pub(super) key: Key,
    socket: S,
    pub(super) state: State,
    offer: Offer,
    scale: u8,
    readable: bool,
    writable: bool,
    /// It is queued for a turn.
    pub(super) queued: bool,
    /// It waits for the deadline of a delayed ACK.
    pub(super) late: bool,
    /// What counts as half-open.
    pub(super) counted: bool,
    /// It was opened for a client of this listener.
    pub(super) inward: Option<Listen>,

    /// The next byte of the guest.
    next: u32,
    pending: Vec<Piece>,
    pending_bytes: usize,
    /// What the socket did not take.
    rx: Ring,
    beyond: Reassembly,
    /// Where the guest's data ends.
    fin: Option<u32>,
    /// All of the guest's data has come.
    received_all: bool,
    /// The server has the end of the guest's data.
    finished: bool,
    pub(super) owed: Owed,
    /// The last ACK, and where the window ends that was promised.
    acked: u32,
    edge: u32,

    /// The first byte that the guest has not acknowledged, and the next to send.
    una: u32,
    unsent: u32,
    window: usize,
    /// From `una` on.
    tx: Ring,
    /// The server has closed its side.
    ended: bool,
    fin_sent: bool,
    fin_acked: bool,
    duplicates: u8,
    flight: Flight,
    rtt: Rtt,
    /// Most bytes in flight, after a timeout.
    limit: Option<usize>,

    retransmit: Option<Instant>,
    opened: Instant,
    /// When the guest was heard last, and probes since then.
    heard: Instant,
    probes: u8,
    probed: Option<Instant>,
    /// When something was sent or received.
    used: Instant,
    /// The deadline that the timers have.
    pub(super) armed: Option<Instant>,
}

impl<S: Stream> Connection<S> {
    /// For a SYN of the guest. `isn` is our first sequence number.
    pub(super) fn new(syn: &Segment<'_>, socket: S, isn: u32, env: &Env<'_>) -> Self {
        let next = syn.sequence.wrapping_add(1);
        let offer = Offer::of(syn, env.mtu);
        Self {
            next,
            acked: next,
            edge: next,
            window: syn.window.into(),
            ..Self::begin(syn.key, offer, socket, isn, env.now)
        }
    }

    fn begin(key: Key, offer: Offer, socket: S, isn: u32, now: Instant) -> Self {
        Self {
            key,
            socket,
            state: State::Connecting,
            offer,
            scale: if offer.scale.is_some() { SCALE } else { 0 },
            readable: false,
            writable: false,
            queued: false,
            late: false,
            counted: true,
            inward: None,
            next: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            rx: Ring::default(),
            beyond: Reassembly::default(),
            fin: None,
            received_all: false,
            finished: false,
            owed: Owed::Nothing,
            acked: 0,
            edge: 0,
            una: isn,
            unsent: isn,
            window: 0,
            tx: Ring::default(),
            ended: false,
            fin_sent: false,
            fin_acked: false,
            duplicates: 0,
            flight: Flight::default(),
            rtt: Rtt::default(),
            limit: None,
            retransmit: None,
            opened: now,
            heard: now,
            probes: 0,
            probed: None,
            used: now,
            armed: None,
        }
    }

    /// The next sequence numbers of both sides: ours, and the guest's.
    pub(super) fn sequences(&self) -> (u32, u32) {
        (self.unsent, self.next)
    }

    /// Takes a segment whose data is in the chunk from `at` on. Whether the connection
    /// goes on.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, at: usize, env: &mut Env<'_>) -> bool {
        match self.state {
            State::Connecting => return self.segment_early(segment, env),
            State::SynSent => return self.segment_answer(segment, env),
            State::SynReceived | State::Established => {}
        }
        let syn = segment.has(SYN);
        if segment.has(RST) {
            // RFC 5961, section 3.2.
            if segment.sequence == self.next {
                self.socket.abort();
                return false;
            }
            if self.is_in_window(segment.sequence) {
                self.challenge(env);
            } else {
                env.counters.invalid += 1;
            }
            return true;
        }
        if syn && self.state == State::SynReceived && segment.sequence.wrapping_add(1) == self.next
        {
            // The guest has not got our answer.
            self.send_syn(env);
            return true;
        }
        if syn || before(self.edge, segment.sequence) {
            self.challenge(env);
            return true;
        }
        let Some(ack) = segment.ack else {
            env.counters.invalid += 1;
            return true;
        };
        if !self.acknowledge(segment, ack, env) {
            return true;
        }
        self.heard = env.now;
        (self.probes, self.probed) = (0, None);
        self.take(segment, at, env);
        true
    }

    /// Takes a segment while the server has not answered.
    fn segment_early(&mut self, segment: &Segment<'_>, env: &Env<'_>) -> bool {
        let first = segment.sequence.wrapping_add(1);
        if segment.has(RST) {
            return segment.sequence != self.next && first != self.next;
        }
        if segment.has(SYN) && segment.ack.is_none() && first != self.next {
            // The guest has given up and tries again from the same port.
            self.next = first;
            (self.acked, self.edge) = (first, first);
            self.offer = Offer::of(segment, env.mtu);
            self.scale = if self.offer.scale.is_some() { SCALE } else { 0 };
            self.window = segment.window.into();
        }
        true
    }

    fn is_in_window(&self, sequence: u32) -> bool {
        !before(sequence, self.next) && !before(self.edge, sequence)
    }

    /// Tells the guest what we have and expect.
    fn challenge(&mut self, env: &mut Env<'_>) {
        if env.challenges.allow(env.now) {
            self.send_ack(env);
        }
    }

    /// Takes the data and the end of it.
    fn take(&mut self, segment: &Segment<'_>, at: usize, env: &mut Env<'_>) {
        let fin = segment.has(FIN);
        if segment.data.is_empty() && !fin {
            if segment.sequence != self.next {
                self.owed = Owed::Now; // a keep-alive, or a probe of the window
            }
            return;
        }
        self.used = env.now;
        if fin && self.fin.is_none() {
            let end = advance(segment.sequence, segment.data.len());
            self.fin = self.is_in_window(end).then_some(end);
        }
        let (mut start, mut at, mut data) = (segment.sequence, at, segment.data);
        if before(start, self.next) {
            let known = distance(start, self.next).min(data.len());
            data = data.get(known..).unwrap_or_default();
            start = advance(start, known);
            at += known;
            self.owed = Owed::Now;
        }
        let end = self.fin.unwrap_or(self.edge);
        let room = if before(start, end) {
            distance(start, end)
        } else {
            0
        };
        if room < data.len() {
            data = data.get(..room).unwrap_or_default();
            // It may be a probe of the window.
            self.owed = Owed::Now;
        }
        if start == self.next {
            self.take_next(at, data, env);
        } else {
            if !data.is_empty() && env.rx.used() + data.len() <= MEMORY {
                self.beyond.insert(start, data, env.rx);
            } else if !data.is_empty() {
                env.counters.dropped += 1;
            }
            // At once, for each: the guest counts them.
            self.send_ack(env);
        }
        if self.fin == Some(self.next) && !self.received_all {
            self.received_all = true;
            self.next = self.next.wrapping_add(1);
            self.edge = latest(self.edge, self.next);
            self.beyond.clear(env.rx);
            self.owed = Owed::Now;
        }
    }

    /// Takes data that is next, and what was kept behind it.
    fn take_next(&mut self, at: usize, data: &[u8], env: &mut Env<'_>) {
        if data.is_empty() {
            return;
        }
        let waits = !self.writable || !self.rx.is_empty();
        if waits && env.rx.used() + self.pending_bytes + data.len() > MEMORY {
            env.counters.dropped += 1;
            self.owed = Owed::Now;
            return;
        }
        self.next = advance(self.next, data.len());
        self.pending_bytes += data.len();
        match self.pending.last_mut() {
            Some(Piece::Chunk { at: last, length }) if *last + *length == at => {
                *length += data.len();
            }
            _ => self.pending.push(Piece::Chunk {
                at,
                length: data.len(),
            }),
        }
        if self.owed == Owed::Nothing {
            self.owed = Owed::Soon;
        }
        if self.beyond.is_empty() {
            return;
        }
        self.owed = Owed::Now;
        while let Some(kept) = self.beyond.take(self.next, env.rx) {
            self.next = advance(self.next, kept.len());
            self.pending_bytes += kept.len();
            self.pending.push(Piece::Kept(kept));
        }
    }

    /// The window that is promised: its end, and what the header says.
    fn promise(&self, env: &Env<'_>) -> (u32, u16) {
        let most = if env.rx.used() < MEMORY / 2 {
            LARGEST
        } else {
            crate::switch::engine::ring::FIRST
        };
        let room = most.saturating_sub(self.rx.len() + self.pending_bytes);
        // What was promised stays.
        let room = room.max(distance(self.next, self.edge));
        let window = u16::try_from(room >> self.scale).unwrap_or(u16::MAX);
        let edge = advance(self.next, usize::from(window) << self.scale);
        (latest(edge, self.edge), window)
    }

    /// Puts a segment without data into the output.
    fn put(&mut self, sequence: u32, flags: u8, options: &[u8], env: &mut Env<'_>) -> bool {
        let (edge, window) = self.promise(env);
        let header = Header {
            sequence,
            ack: self.next,
            flags,
            window,
        };
        if !segment::put(env.out, &self.key, header, options, (&[], &[]), 1) {
            return false;
        }
        self.promised(edge);
        true
    }

    /// The guest was sent an ACK and this window.
    fn promised(&mut self, edge: u32) {
        self.edge = edge;
        self.acked = self.next;
        self.owed = Owed::Nothing;
    }

    /// An ACK at once, with what is beyond a gap.
    pub(super) fn send_ack(&mut self, env: &mut Env<'_>) {
        let mut options = Vec::new();
        self.put_sack(&mut options);
        if !self.put(self.unsent, ACK, &options, env) {
            self.owed = Owed::Now;
        }
    }

    fn put_sack(&self, options: &mut Vec<u8>) {
        if self.offer.sack && !self.beyond.is_empty() {
            let (blocks, count) = self.beyond.blocks();
            segment::sack_option(blocks.get(..count).unwrap_or_default(), options);
        }
    }

    /// Resets the guest's end.
    pub(super) fn reset_guest(&mut self, env: &mut Env<'_>) {
        self.put(self.unsent, RST | ACK, &[], env);
    }

    /// Resets both ends: the connection is given up.
    pub(super) fn reset(&mut self, env: &mut Env<'_>) {
        self.reset_guest(env);
        self.socket.abort();
    }

    /// Returns its memory.
    pub(super) fn release(&mut self, env: &mut Env<'_>) {
        self.rx.consume(self.rx.len());
        self.rx.release(env.rx);
        self.tx.consume(self.tx.len());
        self.tx.release(env.tx);
        self.beyond.clear(env.rx);
        drop(mem::take(&mut self.pending));
    }
}
