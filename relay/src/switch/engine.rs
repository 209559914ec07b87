//! The guest's network: packets in, packets and sockets out. It has no I/O and no clock of
//! its own: sockets are behind [`Network`], and each call is given the time.
//!
//! TCP is split: the guest's connection ends here, and an ordinary socket goes on. What
//! either end of it does (close, half close, reset, not read) is done to the other.

mod addresses;
pub(crate) mod dns;
mod forwards;
mod fragments;
mod icmp;
mod ip;
mod ring;
mod tcp;
mod udp;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Instant;

use crate::link::{Counters, Forward, FromSwitch};
use addresses::Destination;
use fragments::Fragments;
use icmp::{Event, Reason};
use ip::{Output, Packet};

/// Makes sockets. None of them blocks. Their readiness comes by [`Engine::ready`] with
/// the token that they were made with, when it changes (edge-triggered).
pub(crate) trait Network {
    /// A TCP connection; dropping it closes the socket.
    type Tcp: Stream;
    /// A UDP port; dropping it closes the socket.
    type Udp: Datagrams;
    /// A TCP port that clients connect to; dropping it closes the socket.
    type Listener;

    /// Begins to connect.
    ///
    /// # Errors
    ///
    /// The system's.
    fn connect(&mut self, to: SocketAddr, token: usize) -> io::Result<Self::Tcp>;

    /// Opens a UDP port of that address's family, on all addresses.
    ///
    /// # Errors
    ///
    /// The system's.
    fn bind(&mut self, family_of: IpAddr, token: usize) -> io::Result<Self::Udp>;

    /// Listens there; where it does, is returned too.
    ///
    /// # Errors
    ///
    /// The system's.
    fn listen(&mut self, at: SocketAddr, token: usize) -> io::Result<(Self::Listener, SocketAddr)>;

    /// Takes a client's connection.
    ///
    /// # Errors
    ///
    /// The system's; `WouldBlock` if there is none now.
    fn accept(
        &mut self,
        listener: &mut Self::Listener,
        token: usize,
    ) -> io::Result<(Self::Tcp, SocketAddr)>;

    /// Opens that UDP port; where it is, is returned too.
    ///
    /// # Errors
    ///
    /// The system's.
    fn bind_to(&mut self, at: SocketAddr, token: usize) -> io::Result<(Self::Udp, SocketAddr)>;

    /// Begins a conversation with the resolver, as with a nameserver.
    ///
    /// # Errors
    ///
    /// The system's.
    fn converse(&mut self, token: usize) -> io::Result<Self::Tcp>;

    /// Asks the resolver. Its answer is given to [`Engine::answered`], with the number.
    /// Whether it takes the query.
    fn ask(&mut self, number: u64, query: dns::Query) -> bool;
}

/// A connection to a server.
pub(crate) trait Stream {
    /// Whether it is established.
    ///
    /// # Errors
    ///
    /// Why it cannot be.
    fn is_connected(&mut self) -> io::Result<bool>;

    /// Reads; nothing means that the server has closed its side.
    ///
    /// # Errors
    ///
    /// The system's; `WouldBlock` if there is nothing now.
    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Writes some bytes.
    ///
    /// # Errors
    ///
    /// The system's; `WouldBlock` if there is no room now.
    fn write(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Closes our side.
    fn finish(&mut self);

    /// Makes the drop reset the connection.
    fn abort(&mut self);
}

/// A UDP port.
pub(crate) trait Datagrams {
    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// The system's.
    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Receives a datagram: its length, and its sender.
    ///
    /// # Errors
    ///
    /// The system's; `WouldBlock` if there is none now.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Whom the datagram was for that the last error of the other two is about (ICMP's, of
    /// an earlier one), if the system says so.
    fn unreachable(&mut self) -> Option<SocketAddr>;

    /// The port.
    fn port(&self) -> u16;
}

/// What the engine knows from its start on.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Of the guest's interface, in bytes.
    pub(crate) mtu: u16,
    /// Whose port 53 is the resolver's, beside the gateway's.
    pub(crate) nameservers: Vec<IpAddr>,
}

/// What each part of the engine works with.
struct Context<'a, N> {
    config: &'a Config,
    network: &'a mut N,
    out: &'a mut Output,
    counters: &'a mut Counters,
    now: Instant,
}

/// All connections and flows of a guest.
pub(crate) struct Engine<N: Network> {
    config: Config,
    network: N,
    out: Output,
    counters: Counters,
    tcp: tcp::Connections<N::Tcp>,
    udp: udp::Flows<N::Udp>,
    forwards: forwards::Forwards<N>,
    fragments: Fragments,
    /// Bodies of packets that came in fragments, until the chunk is flushed.
    assembled: Vec<Vec<u8>>,
    waiting: dns::Waiting,
}

/// Multicast and broadcast, also from addresses that have no machine: DHCP, router
/// solicitation.
fn is_for_many(packet: &Packet<'_>) -> bool {
    addresses::destination(packet.to) == Destination::Many
}

/// The tokens of connections, flows and listeners.
fn tcp_token(number: usize) -> usize {
    3 * number
}

fn udp_token(number: usize) -> usize {
    3 * number + 1
}

fn listener_token(number: usize) -> usize {
    3 * number + 2
}

/// What the parts work with, and the parts that move data.
type Parts<'a, N> = (
    Context<'a, N>,
    &'a mut tcp::Connections<<N as Network>::Tcp>,
    &'a mut udp::Flows<<N as Network>::Udp>,
    &'a mut dns::Waiting,
    &'a mut forwards::Forwards<N>,
);

impl<N: Network> Engine<N> {
    pub(crate) fn new(config: Config, network: N, now: Instant) -> Self {
        Self {
            config,
            network,
            out: Output::default(),
            counters: Counters::default(),
            tcp: tcp::Connections::new(now),
            udp: udp::Flows::new(),
            forwards: forwards::Forwards::new(),
            fragments: Fragments::default(),
            assembled: Vec::new(),
            waiting: dns::Waiting::default(),
        }
    }

    fn parts(&mut self, now: Instant) -> Parts<'_, N> {
        let context = Context {
            config: &self.config,
            network: &mut self.network,
            out: &mut self.out,
            counters: &mut self.counters,
            now,
        };
        (
            context,
            &mut self.tcp,
            &mut self.udp,
            &mut self.waiting,
            &mut self.forwards,
        )
    }

    /// The guest's nameservers, which it tells in its first message.
    pub(crate) fn set_nameservers(&mut self, nameservers: Vec<IpAddr>) {
        self.config.nameservers = nameservers;
    }

    /// Listens for these and no others.
    pub(crate) fn set_forwards(&mut self, generation: u64, wanted: Vec<Forward>, now: Instant) {
        let (mut context, tcp, udp, _, forwards) = self.parts(now);
        forwards.set(&mut context, (tcp, udp), generation, wanted);
    }

    /// The news for the guest about its forwards.
    pub(crate) fn applied(&mut self) -> Option<FromSwitch> {
        self.forwards.applied()
    }

    /// Takes the body of a packet's frame, which is at this place in a `chunk`. That must be
    /// given to [`Engine::flush`] before it is changed.
    pub(crate) fn packet(&mut self, chunk: &[u8], body: Range<usize>, now: Instant) {
        let at = body.start;
        let body = chunk.get(body).unwrap_or_default();
        self.counters.packets_in += 1;
        self.counters.bytes_in += u64::try_from(body.len()).unwrap_or(0);
        let packet = Packet::parse(body);
        if packet.as_ref().is_some_and(is_for_many) {
            self.counters.dropped += 1;
            return;
        }
        let Some(packet) = packet.filter(|packet| addresses::is_guest(packet.from)) else {
            self.counters.invalid += 1;
            return;
        };
        if packet.piece.is_none() {
            self.whole(&packet, at, now);
        } else if let Some(body) = self.fragments.insert(&packet, now) {
            self.assembled.push(body);
        }
    }

    /// Takes a packet whose body is in the chunk from `at` on.
    fn whole(&mut self, packet: &Packet<'_>, at: usize, now: Instant) {
        let destination = addresses::destination(packet.to);
        if !packet.is_intact() || destination == Destination::Invalid {
            self.counters.invalid += 1;
            return;
        }
        let (mut context, tcp, udp, waiting, forwards) = self.parts(now);
        let context = &mut context;
        match packet.protocol {
            ip::TCP => tcp.packet(context, packet, at + packet.offset, tcp_token),
            ip::UDP => {
                let Some(datagram) = udp::Datagram::parse(packet) else {
                    context.counters.invalid += 1;
                    return;
                };
                match destination {
                    _ if dns::is_nameserver(context.config, datagram.server) => {
                        waiting.ask(context, &datagram);
                    }
                    Destination::Outside(to) => {
                        udp.send(context, (packet, datagram), to, udp_token);
                    }
                    Destination::Gateway => {
                        if !forwards.answer(context, datagram, packet.segment) {
                            icmp::refuse(context.out, packet, Reason::Port);
                        }
                    }
                    _ => icmp::refuse(context.out, packet, Reason::Host),
                }
            }
            ip::ICMP | ip::ICMPV6 => match icmp::receive(context.out, packet) {
                Event::Answered => {}
                Event::PortClosed { guest } => udp.close_port(guest),
                Event::Refused {
                    guest,
                    server,
                    sequence,
                } => tcp.refuse(context, (guest, server), sequence),
                Event::TooBig {
                    guest,
                    server,
                    sequence,
                    mtu,
                } => tcp.too_big(context, (guest, server), sequence, mtu),
                Event::Ignored => context.counters.dropped += 1,
            },
            _ => {
                context.counters.dropped += 1;
                icmp::refuse(context.out, packet, Reason::Protocol);
            }
        }
    }

    /// Finishes what the packets of a chunk began.
    pub(crate) fn flush(&mut self, chunk: &[u8], now: Instant) {
        let (mut context, tcp, ..) = self.parts(now);
        tcp.flush(&mut context, chunk);
        for body in mem::take(&mut self.assembled) {
            if let Some(packet) = Packet::parse(&body) {
                self.whole(&packet, 0, now);
            }
            let (mut context, tcp, ..) = self.parts(now);
            tcp.flush(&mut context, &body);
        }
    }

    /// The socket with that token is ready for something.
    pub(crate) fn ready(&mut self, token: usize, readable: bool, writable: bool, now: Instant) {
        let (mut context, tcp, udp, _, forwards) = self.parts(now);
        let number = token / 3;
        if token == udp_token(number) {
            udp.ready(number);
        } else if token == listener_token(number) {
            forwards.ready(number);
        } else {
            tcp.ready(&mut context, number, readable, writable);
        }
    }

    /// The resolver's answer to the query of that number.
    pub(crate) fn answered(&mut self, number: u64, answer: &[u8], now: Instant) {
        let (mut context, _, _, waiting, _) = self.parts(now);
        waiting.answered(&mut context, number, answer);
    }

    /// Whether [`Engine::turns`] has something to do now.
    pub(crate) fn has_turns(&self) -> bool {
        !self.out.is_full()
            && (self.tcp.has_ready() || self.udp.has_ready() || self.forwards.has_ready())
    }

    /// A turn for each socket that is ready, while there is room in the output.
    pub(crate) fn turns(&mut self, now: Instant) {
        let (mut context, tcp, udp, _, forwards) = self.parts(now);
        tcp.turns(&mut context);
        if udp.has_ready() {
            udp.turns(&mut context);
        }
        forwards.turns(&mut context, tcp);
    }

    /// When [`Engine::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.tcp.deadline(),
            self.udp.deadline(),
            self.forwards.deadline(),
            self.fragments.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        let (mut context, tcp, udp, _, forwards) = self.parts(now);
        tcp.expire(&mut context);
        udp.expire(now);
        forwards.expire(&mut context, udp);
        self.fragments.expire(now);
    }

    /// Whole frames for the guest, to be taken by the caller.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        self.out.frames()
    }

    /// What has happened since the start.
    pub(crate) fn counters(&self) -> Counters {
        let active = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Counters {
            tcp_active: active(self.tcp.len()),
            udp_active: active(self.udp.len() + self.forwards.clients()),
            packets_out: self.out.packets(),
            bytes_out: self.out.bytes(),
            ..self.counters
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
