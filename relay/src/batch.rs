//! The datagrams of one receive, and groups of them that are sent together.

use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::slice;

use socket2::{MsgHdr, SockAddr, SockRef};
use tokio::net::UdpSocket;

use crate::ancillary::{Ancillary, OwnAddress};
use crate::os::{SLOTS, receive, send_segments};

/// Room for one datagram, in bytes. The longest has 65507; a page boundary, so
/// that short ones touch one page each.
const SLOT: usize = 65536;

/// Most bytes that are sent together: until the system splits them they are one
/// datagram.
const MAX_GROUP: usize = 65_000;

/// The datagrams of one receive. All sockets share one.
pub(crate) struct Batch {
    buffer: Box<[u8]>,
    received: Vec<Datagram>,
}

/// A datagram that was received.
#[derive(Clone, Copy)]
pub(crate) struct Datagram {
    /// The sender.
    pub(crate) from: SocketAddr,
    /// The address that it came to, of a socket that says so.
    pub(crate) to: Option<OwnAddress>,
    /// In bytes.
    pub(crate) length: usize,
}

/// Consecutive datagrams of one sender to one address and of one length; the last may be
/// shorter.
pub(crate) struct Group<'a> {
    /// The sender.
    pub(crate) from: SocketAddr,
    /// The address that they came to, of a socket that says so.
    pub(crate) to: Option<OwnAddress>,
    /// The number of datagrams.
    pub(crate) count: usize,
    /// The bytes of all datagrams.
    pub(crate) bytes: usize,
    pieces: [IoSlice<'a>; SLOTS],
}

impl Default for Batch {
    /// An empty one. Memory is used as datagrams use it.
    fn default() -> Self {
        Self {
            buffer: vec![0; SLOT * SLOTS].into_boxed_slice(),
            received: Vec::with_capacity(SLOTS),
        }
    }
}

impl Batch {
    /// Receives what has arrived, as far as it fits. Returns whether there may be
    /// more.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.received.clear();
        match receive(socket, &mut self.buffer, &mut self.received) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// What was received, in its order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let slots = self.buffer.chunks_exact(SLOT);
        let mut datagrams = (slots.zip(&self.received))
            .filter_map(|(slot, received)| Some((received, slot.get(..received.length)?)))
            .peekable();
        std::iter::from_fn(move || {
            let &(&Datagram { from, to, .. }, _) = datagrams.peek()?;
            let mut group = Group {
                from,
                to,
                count: 0,
                bytes: 0,
                pieces: [IoSlice::new(&[]); SLOTS],
            };
            while let Some((_, datagram)) = datagrams.next_if(|(next, _)| group.accepts(next)) {
                group.push(datagram);
            }
            Some(group)
        })
    }
}

impl<'a> Group<'a> {
    fn pieces(&self) -> &[IoSlice<'a>] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    /// Whether another datagram can be sent together with these.
    fn accepts(&self, next: &Datagram) -> bool {
        let (Some(first), Some(last)) = (self.pieces().first(), self.pieces().last()) else {
            return true;
        };
        (next.from, next.to) == (self.from, self.to)
            && last.len() == first.len()
            && (1..=first.len()).contains(&next.length)
            && self.bytes + next.length <= MAX_GROUP
    }

    fn push(&mut self, datagram: &'a [u8]) {
        if let Some(piece) = self.pieces.get_mut(self.count) {
            *piece = IoSlice::new(datagram);
            self.count += 1;
            self.bytes += datagram.len();
        }
    }

    /// Sends the datagrams, from that address of this machine if it still is one; those that
    /// the system does not take are lost. The runtime is bypassed: it would first have to
    /// learn whether the socket is writable.
    pub(crate) fn send(&self, socket: &UdpSocket, to: &SockAddr, from: Option<OwnAddress>) {
        let socket = SockRef::from(socket);
        let mut control = Ancillary::new();
        if let Some(own) = from {
            control.send_from(own);
        }
        if let [first, _, ..] = self.pieces()
            && let Ok(size) = u16::try_from(first.len())
            && send_segments(&socket, self.pieces(), size, to, control).is_ok()
        {
            return;
        }
        let is_refused = |piece: &IoSlice<'_>| {
            let message = MsgHdr::new().with_addr(to);
            let message = message.with_buffers(slice::from_ref(piece));
            let sent = socket.sendmsg(&message.with_control(control.bytes()), 0);
            sent.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
        };
        for piece in self.pieces() {
            if from.is_none() || is_refused(piece) {
                socket.send_to(piece, to).ok();
            }
        }
    }
}

// Windows has batches of one, which need no groups.
#[cfg(all(test, unix))]
mod tests;
