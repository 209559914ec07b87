//! Connections towards the guest, for clients of the machine's listeners.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use super::super::{Context, Network, Stream};
use super::connection::Connection;
use super::segment::Key;
use super::{CONNECTIONS, Connections};
use crate::protocol::Listen;

/// Most connections of clients; the rest of all is the guest's own.
const OPEN: usize = CONNECTIONS / 2;
/// Most of those that the guest has not answered. The guest's own do not count here, so that
/// no client of a dead port keeps it from connecting.
const HALF_OPEN: usize = 512;
/// The gateway's ports that connections come from, beside those that it answers on.
const FIRST: u16 = 32_768;
/// How many.
const PORTS: u16 = u16::MAX - FIRST;

/// How many there are.
#[derive(Debug)]
pub(super) struct Inward {
    pub(super) open: usize,
    pub(super) half_open: usize,
    /// The last port less [`FIRST`].
    port: u16,
}

impl Inward {
    /// With another first port each time: the guest may still have connections of an earlier
    /// switch.
    pub(super) fn new(secret: &RandomState) -> Self {
        let [low, high, ..] = secret.hash_one(FIRST).to_le_bytes();
        Self {
            open: 0,
            half_open: 0,
            port: u16::from_le_bytes([low, high]) % PORTS,
        }
    }
}

impl<S: Stream> Connections<S> {
    /// Takes a number for a connection; [`Connections::take_in`] or [`Connections::give_back`]
    /// has to follow.
    pub(in super::super) fn reserve(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    /// The number was not needed.
    pub(in super::super) fn give_back(&mut self, number: usize) {
        self.free.push(number);
    }

    /// Opens a connection from the gateway's address to the guest's for a client's `socket`,
    /// which was made with the token of that number. At a limit it is reset.
    pub(in super::super) fn take_in<N: Network<Tcp = S>>(
        &mut self,
        context: &mut Context<'_, N>,
        number: usize,
        mut socket: S,
        listen: Listen,
        (gateway, guest): (IpAddr, SocketAddr),
    ) {
        let full = self.inward.open >= OPEN
            || self.inward.half_open >= HALF_OPEN
            || self.by_key.len() >= CONNECTIONS;
        let Some(key) = self.key(gateway, guest).filter(|_| !full) else {
            context.counters.tcp_refused += 1;
            socket.abort();
            self.give_back(number);
            return;
        };
        let isn = self.first_sequence(&key, context.now);
        let mut env = Self::env(&mut self.rx, &mut self.tx, &mut self.challenges, context);
        let connection = Connection::ask((key, listen), socket, isn, &mut env);
        let Some(slot) = self.slots.get_mut(number) else {
            return;
        };
        *slot = Some(Box::new(connection));
        self.by_key.insert(key, number);
        self.inward.open += 1;
        self.inward.half_open += 1;
        context.counters.tcp_opened += 1;
        // Sets its timer.
        self.with(context, number, |_, _| true);
    }

    /// With a port that no other connection to the guest's has.
    fn key(&mut self, gateway: IpAddr, guest: SocketAddr) -> Option<Key> {
        (0..PORTS).find_map(|_| {
            self.inward.port = (self.inward.port + 1) % PORTS;
            let server = SocketAddr::new(gateway, FIRST + self.inward.port);
            let key = Key { guest, server };
            (!self.by_key.contains_key(&key)).then_some(key)
        })
    }

    /// Resets the connections of a listener's clients.
    pub(in super::super) fn reset_clients<N>(&mut self, context: &mut Context<'_, N>, of: Listen) {
        for number in 0..self.slots.len() {
            self.with(context, number, |connection, env| {
                let goes = connection.inward == Some(of);
                if goes {
                    connection.reset(env);
                }
                !goes
            });
        }
    }

    /// The guest refuses, by a message of ICMP, a segment of ours with that number.
    pub(in super::super) fn refuse<N>(
        &mut self,
        context: &mut Context<'_, N>,
        (guest, server): (SocketAddr, SocketAddr),
        sequence: u32,
    ) {
        if let Some(number) = self.by_key.get(&Key { guest, server }).copied() {
            self.with(context, number, |connection, env| {
                let refused = connection.asked_with(sequence);
                if refused {
                    connection.refused(env);
                }
                !refused
            });
        }
    }
}
