//! What the guest sent beyond a gap: kept until the gap is filled, and reported by SACK.

use super::sequence::{Span, advance, before, distance};
use crate::switch::engine::ring::Memory;

/// Most pieces, so that tiny segments take no more memory than their bytes.
const PIECES: usize = 512;
/// Neighbours are put into one piece up to this size.
const LARGEST: usize = 64 * 1024;

#[derive(Debug)]
struct Piece {
    start: u32,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u32 {
        advance(self.start, self.data.len())
    }
}

/// The pieces beyond a gap: sorted and apart from each other.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    pieces: Vec<Piece>,
    /// Where the latest began: its block is reported first (RFC 2018, section 4).
    latest: u32,
}

impl Reassembly {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Keeps what is new of the data, which begins after a gap. What it has already is not
    /// replaced.
    pub(super) fn insert(&mut self, start: u32, data: &[u8], memory: &mut Memory) {
        self.latest = start;
        let (mut start, mut rest) = (start, data);
        let mut at = self.pieces.partition_point(|one| !before(start, one.end()));
        while !rest.is_empty() && self.pieces.len() < PIECES {
            let next = self.pieces.get(at);
            let (next_start, next_end) =
                next.map_or((None, None), |next| (Some(next.start), Some(next.end())));
            // Up to the next piece.
            let room = match next_start {
                Some(next) if before(start, next) => distance(start, next),
                Some(_) => 0,
                None => rest.len(),
            };
            let (new, more) = rest.split_at(room.min(rest.len()));
            if !new.is_empty() {
                memory.add(new.len());
                at += self.put(at, start, new);
            }
            start = advance(start, new.len());
            rest = more;
            // Without what the next piece has.
            if let Some(end) = next_end.filter(|_| !rest.is_empty()) {
                let known = distance(start, end).min(rest.len());
                rest = rest.get(known..).unwrap_or_default();
                start = advance(start, known);
                at += 1;
            }
        }
    }

    /// Puts a piece there; returns how many there are more.
    fn put(&mut self, at: usize, start: u32, data: &[u8]) -> usize {
        let former = at.checked_sub(1).and_then(|at| self.pieces.get_mut(at));
        if let Some(former) = former
            && former.end() == start
            && former.data.len() + data.len() <= LARGEST
        {
            former.data.extend_from_slice(data);
            return 0;
        }
        let data = data.to_vec();
        self.pieces.insert(at, Piece { start, data });
        1
    }

    /// The bytes from `next` on, if it has them: the gap before them is filled.
    pub(super) fn take(&mut self, next: u32, memory: &mut Memory) -> Option<Vec<u8>> {
        loop {
            let first = self.pieces.first()?;
            if before(next, first.start) {
                return None;
            }
            let mut piece = self.pieces.remove(0);
            memory.remove(piece.data.len());
            let known = distance(piece.start, next);
            if known < piece.data.len() {
                piece.data.drain(..known);
                return Some(piece.data);
            }
        }
    }

    /// Gives everything up.
    pub(super) fn clear(&mut self, memory: &mut Memory) {
        memory.remove(self.pieces.iter().map(|one| one.data.len()).sum());
        self.pieces = Vec::new();
    }

    /// The blocks for SACK, the latest first, at most four.
    pub(super) fn blocks(&self) -> ([Span; 4], usize) {
        let mut blocks = [Span { start: 0, end: 0 }; 4];
        let mut count = 0;
        let mut open: Option<Span> = None;
        let mut add = |block: Span| {
            let latest = !before(self.latest, block.start) && before(self.latest, block.end);
            if latest {
                blocks.rotate_right(1);
            }
            let place = if latest { 0 } else { count };
            if let Some(place) = blocks.get_mut(place) {
                *place = block;
            }
            count += 1;
        };
        for piece in &self.pieces {
            match &mut open {
                Some(block) if block.end == piece.start => block.end = piece.end(),
                _ => {
                    if let Some(block) = open.replace(Span {
                        start: piece.start,
                        end: piece.end(),
                    }) {
                        add(block);
                    }
                }
            }
        }
        if let Some(block) = open {
            add(block);
        }
        let count = count.min(blocks.len());
        (blocks, count)
    }
}

#[cfg(test)]
mod tests;
