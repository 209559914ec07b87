//! Fragments of the guest's packets: kept until they are whole. RFC 791, RFC 8200 and, for
//! those that overlap, RFC 5722.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::ip::{IpHeader, Packet};
use crate::link::{HEADER, MAX_PACKET};

/// How long the pieces wait for the last one.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most packets that are incomplete; the oldest makes room.
const PACKETS: usize = 64;
/// Most pieces of a packet: one of 65,535 bytes with an MTU of 300.
const PIECES: usize = 256;
/// Most bytes of all pieces.
const BYTES: usize = 1024 * 1024;

/// What the pieces of a packet have in common. RFC 8200 leaves the protocol out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    from: IpAddr,
    to: IpAddr,
    protocol: Option<u8>,
    id: u32,
}

#[derive(Debug)]
struct Incomplete {
    until: Instant,
    /// Sorted by their places, without overlaps.
    pieces: Vec<(usize, Vec<u8>)>,
    /// Known by the last one.
    length: Option<usize>,
    /// Known by the first one.
    protocol: Option<u8>,
    /// It is refused, with the pieces that are to come.
    spoiled: bool,
}

/// The incomplete packets.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    packets: HashMap<Key, Incomplete>,
    bytes: usize,
}

impl Fragments {
    /// Keeps a piece. Returns the frame's body of the packet that it completes.
    pub(super) fn insert(&mut self, packet: &Packet<'_>, now: Instant) -> Option<Vec<u8>> {
        let piece = packet.piece?;
        let headers = if packet.from.is_ipv4() { 20 } else { 40 };
        let end = piece.offset + packet.payload.len();
        let odd = piece.more && !packet.payload.len().is_multiple_of(8);
        if packet.payload.is_empty() || odd || end > MAX_PACKET - headers {
            return None;
        }
        let key = Key {
            from: packet.from,
            to: packet.to,
            protocol: packet.from.is_ipv4().then_some(packet.protocol),
            id: piece.id,
        };
        while !self.packets.contains_key(&key) && self.packets.len() >= PACKETS
            || self.bytes + packet.payload.len() > BYTES
        {
            self.remove_oldest()?;
        }
        let incomplete = self.packets.entry(key).or_insert_with(|| Incomplete {
            until: now + TIMEOUT,
            pieces: Vec::new(),
            length: None,
            protocol: None,
            spoiled: false,
        });
        if incomplete.spoiled {
            return None;
        }
        let before = incomplete.bytes();
        incomplete.insert(piece.offset, packet.payload, piece.more, packet.protocol);
        let after = incomplete.bytes();
        self.bytes = self.bytes + after - before;
        if incomplete.length != Some(after) {
            return None;
        }
        let whole = self.packets.remove(&key)?;
        self.bytes -= after;
        let (addresses, protocol) = ((packet.from, packet.to), whole.protocol?);
        let ip = IpHeader::new(addresses, protocol, after, (0, 0))?;
        let mut body = vec![0; HEADER];
        body.extend_from_slice(ip.bytes());
        for (_, piece) in &whole.pieces {
            body.extend_from_slice(piece);
        }
        Some(body)
    }

    fn remove_oldest(&mut self) -> Option<()> {
        let oldest = self.packets.iter().min_by_key(|(_, one)| one.until);
        let key = *oldest?.0;
        self.bytes -= self.packets.remove(&key)?.bytes();
        Some(())
    }

    /// When [`Fragments::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.packets.values().map(|one| one.until).min()
    }

    /// Gives up what waits for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        self.packets.retain(|_, one| one.until > now);
        self.bytes = self.packets.values().map(Incomplete::bytes).sum();
    }

    /// Bytes of all pieces.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Incomplete {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    /// The same piece twice does no harm; another overlap spoils the packet.
    fn insert(&mut self, offset: usize, data: &[u8], more: bool, protocol: u8) {
        let end = offset + data.len();
        let at = self.pieces.partition_point(|(place, _)| *place < offset);
        let next = self.pieces.get(at);
        if next.is_some_and(|(place, piece)| *place == offset && piece == data) {
            return;
        }
        let former = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        let last = self.pieces.last();
        let last_end = last.map_or(0, |(place, piece)| place + piece.len());
        let overlaps = next.is_some_and(|(place, _)| *place < end)
            || former.is_some_and(|(place, piece)| place + piece.len() > offset);
        let lengths = match self.length {
            Some(length) => end > length || !more,
            None => !more && last_end > end,
        };
        if overlaps || lengths || self.pieces.len() >= PIECES {
            self.pieces = Vec::new();
            self.spoiled = true;
            return;
        }
        if !more {
            self.length = Some(end);
        }
        if offset == 0 {
            self.protocol = Some(protocol);
        }
        self.pieces.insert(at, (offset, data.to_vec()));
    }
}

#[cfg(test)]
mod tests;
