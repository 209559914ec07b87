//! The datagrams of one receive, and those of them that go on together.

use std::io::{self, IoSlice};
use std::net::SocketAddrV4;

use socket2::{SockAddr, SockRef};
use tokio::net::UdpSocket;

use super::super::os::{SLOTS, receive, send_segments};

/// Room for one datagram, in bytes. The longest has 65507; a page boundary, so
/// that short ones touch one page each.
const SLOT: usize = 65536;

/// Most bytes that go on together, so that all of it fits into one datagram
/// until it is cut.
const TOGETHER: usize = 65_000;

/// The datagrams of one receive. There is one of it for all sockets.
pub(crate) struct Batch {
    buffer: Box<[u8]>,
    received: Vec<(SocketAddrV4, usize)>,
}

/// Datagrams in a row from one sender, of one length; the last may be shorter.
pub(crate) struct Group<'a> {
    /// Who sent them.
    pub(crate) from: SocketAddrV4,
    pieces: [IoSlice<'a>; SLOTS],
    count: usize,
    bytes: usize,
}

impl Batch {
    /// An empty one. Memory is used as datagrams use it.
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; SLOT * SLOTS].into_boxed_slice(),
            received: Vec::with_capacity(SLOTS),
        }
    }

    /// Receives what is there, as far as it fits. Whether there may be more.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.received.clear();
        receive(socket, &mut self.buffer, SLOT, &mut self.received)
    }

    /// What was received, in its order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let slots = self.buffer.chunks_exact(SLOT);
        let mut datagrams = (slots.zip(&self.received))
            .filter_map(|(slot, &(from, length))| Some((from, slot.get(..length)?)))
            .peekable();
        std::iter::from_fn(move || {
            let (from, first) = datagrams.next()?;
            let mut group = Group::new(from, first);
            while let Some((_, next)) =
                datagrams.next_if(|(from, next)| group.takes(*from, next.len()))
            {
                group.push(next);
            }
            Some(group)
        })
    }
}

impl<'a> Group<'a> {
    fn new(from: SocketAddrV4, first: &'a [u8]) -> Self {
        let mut group = Self {
            from,
            pieces: [IoSlice::new(&[]); SLOTS],
            count: 0,
            bytes: 0,
        };
        group.push(first);
        group
    }

    fn pieces(&self) -> &[IoSlice<'a>] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    fn takes(&self, from: SocketAddrV4, length: usize) -> bool {
        let first = self.pieces().first().map_or(0, |piece| piece.len());
        let last = self.pieces().last().map_or(0, |piece| piece.len());
        from == self.from
            && last == first
            && (1..=first).contains(&length)
            && self.count < SLOTS
            && self.bytes + length <= TOGETHER
    }

    fn push(&mut self, datagram: &'a [u8]) {
        if let Some(piece) = self.pieces.get_mut(self.count) {
            *piece = IoSlice::new(datagram);
            self.count += 1;
            self.bytes += datagram.len();
        }
    }

    /// How many datagrams they are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// All datagrams' bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends them on or drops them, as datagrams may be. Not by way of the
    /// runtime, which would first have to learn whether the socket can be
    /// written to.
    pub(crate) fn send(&self, socket: &UdpSocket, to: &SockAddr) {
        if let [first, _, ..] = self.pieces()
            && let Ok(size) = u16::try_from(first.len())
            && send_segments(socket, self.pieces(), size, to).is_ok()
        {
            return;
        }
        for piece in self.pieces() {
            SockRef::from(socket).send_to(piece, to).ok();
        }
    }
}

// Windows has batches of one, which need no groups.
#[cfg(all(test, unix))]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// A batch that received datagrams of those senders and lengths.
    fn batch(datagrams: &[(u16, usize)]) -> Batch {
        let mut batch = Batch::new();
        let address = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let received = datagrams
            .iter()
            .map(|&(from, length)| (address(from), length));
        batch.received.extend(received);
        batch
    }

    /// Sender, length of the first and number of each group.
    fn groups(datagrams: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        batch(datagrams)
            .groups()
            .map(|group| (group.from.port(), group.pieces[0].len(), group.len()))
            .collect()
    }

    #[test]
    fn a_group_is_of_one_sender_and_one_length() {
        assert_eq!(groups(&[]), []);
        assert_eq!(groups(&[(1, 10), (1, 10), (1, 10)]), [(1, 10, 3)]);
        assert_eq!(
            groups(&[(1, 10), (2, 10), (1, 10)]),
            [(1, 10, 1), (2, 10, 1), (1, 10, 1)]
        );
        // A short one ends its group, a longer one does not belong to it.
        assert_eq!(
            groups(&[(1, 10), (1, 9), (1, 9), (1, 10)]),
            [(1, 10, 2), (1, 9, 1), (1, 10, 1)]
        );
        // The system could not tell an empty one from none.
        assert_eq!(
            groups(&[(1, 0), (1, 0), (1, 5), (1, 0)]),
            [(1, 0, 1), (1, 0, 1), (1, 5, 1), (1, 0, 1)]
        );
        // What goes together fits into one datagram.
        assert_eq!(groups(&[(1, 30_000); 3]), [(1, 30_000, 2), (1, 30_000, 1)]);
        assert_eq!(groups(&[(1, 65_507); 2]), [(1, 65_507, 1); 2]);
        assert_eq!(groups(&[(1, 1200); SLOTS]), [(1, 1200, SLOTS)]);
    }
}
