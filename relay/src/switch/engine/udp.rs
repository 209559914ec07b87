//! UDP: a port of the guest has a port of this machine, whomever it talks to (RFC 4787,
//! endpoint-independent mapping, which STUN and WireGuard rely on), and gets what anybody
//! sends there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::ErrorKind;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::icmp::{self, Reason};
use super::ip::{Output, Packet, UDP};
use super::{Context, Datagrams, Network, addresses};

/// How long a flow lives without a datagram in either direction; RFC 4787, section 4.3, asks
/// for 2 minutes.
const IDLE: Duration = Duration::from_secs(180);
/// Most flows of the guest. The one that was idle for longest makes room.
const FLOWS: usize = 4096;
/// Most datagrams of a flow before it is another one's turn.
const TURN: usize = 64;
/// Most unknown errors in a turn.
const UNKNOWN: usize = 8;
/// Room for the longest datagram.
pub(super) const LONGEST: usize = 65_536;
/// Bytes of a header.
const HEADER: usize = 8;

#[derive(Debug)]
struct Flow<U> {
    guest: SocketAddr,
    socket: U,
    /// The only one that the guest has sent to; nothing with others.
    peer: Option<SocketAddr>,
    used: Instant,
    /// Its place in the timers.
    deadline: Instant,
    /// It may have something to receive, and is queued for it.
    ready: bool,
}

/// The flows of a guest, by numbers.
#[derive(Debug)]
pub(super) struct Flows<U> {
    flows: Vec<Option<Flow<U>>>,
    free: Vec<usize>,
    by_guest: HashMap<SocketAddr, usize>,
    /// Not later than the end of each flow.
    timers: BTreeSet<(Instant, usize)>,
    ready: VecDeque<usize>,
    buffer: Vec<u8>,
}

/// A datagram of the guest, or several of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Datagram<'a> {
    pub(super) guest: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) data: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads one. `None`: malformed.
    pub(super) fn parse(packet: &Packet<'a>) -> Option<Self> {
        let [s0, s1, d0, d1, l0, l1, _, _] = *packet.payload.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let source = u16::from_be_bytes([s0, s1]);
        let destination = u16::from_be_bytes([d0, d1]);
        let data = packet.payload.get(HEADER..length)?;
        (source != 0 && destination != 0).then_some(Self {
            guest: SocketAddr::new(packet.from, source),
            server: SocketAddr::new(packet.to, destination),
            data,
        })
    }
}

/// Puts a datagram into the output. Whether there was room.
pub(super) fn put(
    out: &mut Output,
    (server, guest): (SocketAddr, SocketAddr),
    data: &[u8],
    mtu: u16,
) -> bool {
    let Ok(length) = u16::try_from(HEADER + data.len()) else {
        return false;
    };
    let [s0, s1] = server.port().to_be_bytes();
    let [d0, d1] = guest.port().to_be_bytes();
    let [l0, l1] = length.to_be_bytes();
    let header = [s0, s1, d0, d1, l0, l1, 0, 0];
    let addresses = (server.ip(), guest.ip());
    let ip = if guest.is_ipv4() { 20 } else { 40 };
    if length.saturating_add(ip) > mtu {
        return out.put_fragments(addresses, header, data, mtu);
    }
    out.put(addresses, UDP, &[&header, data], u16::MAX, HEADER)
}

impl<U: Datagrams> Flows<U> {
    pub(super) fn new() -> Self {
        Self {
            flows: Vec::new(),
            free: Vec::new(),
            by_guest: HashMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            buffer: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_guest.len()
    }

    fn flow(&mut self, number: usize) -> Option<&mut Flow<U>> {
        self.flows.get_mut(number)?.as_mut()
    }

    /// Sends the datagram of a packet, whose address leads to `to`. `token` makes a token
    /// of the flow's number.
    pub(super) fn send<N: Network<Udp = U>>(
        &mut self,
        context: &mut Context<'_, N>,
        (packet, datagram): (&Packet<'_>, Datagram<'_>),
        to: IpAddr,
        token: fn(usize) -> usize,
    ) {
        let now = context.now;
        let number = match self.by_guest.get(&datagram.guest) {
            Some(number) => *number,
            None => match self.open(context, datagram, token) {
                Some(number) => number,
                None => {
                    context.counters.dropped += 1;
                    return;
                }
            },
        };
        let Some(flow) = self.flow(number) else {
            return;
        };
        flow.used = now;
        if flow.peer != Some(datagram.server) {
            flow.peer = None;
        }
        let to = SocketAddr::new(to, datagram.server.port());
        let size = packet.segment.map_or(LONGEST, usize::from);
        // An empty one is a datagram too.
        let whole = datagram.data.is_empty().then_some(datagram.data);
        let mut failed = None;
        for piece in datagram.data.chunks(size).chain(whole) {
            let mut sent = flow.socket.send_to(piece, to);
            // Such an error may belong to an earlier datagram.
            if let Err(error) = &sent
                && Reason::of(error) == Some(Reason::Port)
            {
                report(context, flow, error);
                sent = flow.socket.send_to(piece, to);
            }
            failed = failed.or(sent.err());
        }
        if let Some(error) = failed {
            context.counters.dropped += 1;
            if let Some(reason) = Reason::of(&error) {
                icmp::refuse(context.out, packet, reason);
            }
        }
    }

    fn open<N: Network<Udp = U>>(
        &mut self,
        context: &mut Context<'_, N>,
        datagram: Datagram<'_>,
        token: fn(usize) -> usize,
    ) -> Option<usize> {
        if self.by_guest.len() >= FLOWS {
            self.close_oldest();
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.flows.push(None);
            self.flows.len() - 1
        });
        let socket = context.network.bind(datagram.guest.ip(), token(number));
        let place = self.flows.get_mut(number)?;
        let Ok(socket) = socket else {
            self.free.push(number);
            return None;
        };
        let deadline = context.now + IDLE;
        *place = Some(Flow {
            guest: datagram.guest,
            socket,
            peer: Some(datagram.server),
            used: context.now,
            deadline,
            ready: false,
        });
        self.timers.insert((deadline, number));
        self.by_guest.insert(datagram.guest, number);
        context.counters.udp_opened += 1;
        Some(number)
    }

    /// Closes the flow that was idle for longest.
    fn close_oldest(&mut self) {
        while let Some((deadline, number)) = self.timers.pop_first() {
            if !self.postpone(deadline, number) {
                self.close(number);
                return;
            }
        }
    }

    /// Sets a flow's timer again if it was used since it was set.
    fn postpone(&mut self, deadline: Instant, number: usize) -> bool {
        let Some(flow) = self.flow(number) else {
            return false;
        };
        let later = flow.used + IDLE;
        if later <= deadline {
            return false;
        }
        flow.deadline = later;
        self.timers.insert((later, number));
        true
    }

    fn close(&mut self, number: usize) {
        if let Some(flow) = self.flows.get_mut(number).and_then(Option::take) {
            self.by_guest.remove(&flow.guest);
            self.timers.remove(&(flow.deadline, number));
            self.free.push(number);
            if flow.ready {
                self.ready.retain(|other| *other != number);
            }
        }
    }

    /// The guest says that no program has this port.
    pub(super) fn close_port(&mut self, guest: SocketAddr) {
        if let Some(number) = self.by_guest.get(&guest) {
            self.close(*number);
        }
    }

    /// Closes a flow that has this port of this machine; whether there was one.
    pub(super) fn vacate(&mut self, port: u16) -> bool {
        let has =
            |slot: &Option<Flow<U>>| slot.as_ref().is_some_and(|one| one.socket.port() == port);
        let number = self.flows.iter().position(has);
        if let Some(number) = number {
            self.close(number);
        }
        number.is_some()
    }

    /// The socket of a flow may have something to receive.
    pub(super) fn ready(&mut self, number: usize) {
        if let Some(flow) = self.flow(number)
            && !mem::replace(&mut flow.ready, true)
        {
            self.ready.push_back(number);
        }
    }

    /// Whether [`Flows::turns`] has something to do.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A turn for each flow that is ready, while there is room in the output.
    pub(super) fn turns<N: Network<Udp = U>>(&mut self, context: &mut Context<'_, N>) {
        self.buffer.resize(LONGEST, 0);
        for _ in 0..self.ready.len() {
            if context.out.is_full() {
                return;
            }
            let Some(number) = self.ready.pop_front() else {
                return;
            };
            let Some(flow) = self.flows.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            if turn(context, flow, &mut self.buffer) {
                self.ready.push_back(number);
            } else {
                flow.ready = false;
            }
        }
    }

    /// When [`Flows::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// Closes flows that are idle.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((deadline, number)) = self.timers.first().copied()
            && deadline <= now
        {
            self.timers.remove(&(deadline, number));
            if !self.postpone(deadline, number) {
                self.close(number);
            }
        }
    }
}

/// Receives what has come, and whether there may be more.
fn turn<N: Network>(
    context: &mut Context<'_, N>,
    flow: &mut Flow<N::Udp>,
    buffer: &mut [u8],
) -> bool {
    let mut unknown = 0;
    for _ in 0..TURN {
        if context.out.is_full() {
            return true;
        }
        match flow.socket.receive(buffer) {
            Ok((length, from)) => {
                flow.used = context.now;
                let server = addresses::seen_by_guest(from);
                let data = buffer.get(..length).unwrap_or_default();
                if !put(context.out, (server, flow.guest), data, context.config.mtu) {
                    context.counters.dropped += 1;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if Reason::of(&error).is_some() => report(context, flow, &error),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // Such as an error of ICMP that says nothing to the guest. What the system says
            // each time is no reason to go on for ever.
            Err(_) => {
                flow.socket.unreachable();
                unknown += 1;
                if unknown > UNKNOWN {
                    return false;
                }
            }
        }
    }
    true
}

/// Tells the guest of an error of a datagram that it sent earlier.
fn report<N: Network>(
    context: &mut Context<'_, N>,
    flow: &mut Flow<N::Udp>,
    error: &std::io::Error,
) {
    let server = flow.socket.unreachable();
    let server = server.map(addresses::seen_by_guest).or(flow.peer);
    if let (Some(server), Some(reason)) = (server, Reason::of(error)) {
        // The length of an empty one, and no checksum.
        icmp::unreachable(context.out, (flow.guest, server), UDP, [0, 8, 0, 0], reason);
    }
}

#[cfg(test)]
mod tests;
