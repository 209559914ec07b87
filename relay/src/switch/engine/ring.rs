//! Bytes in a ring whose buffer grows, and the memory that all rings share.

use std::io::IoSliceMut;
use std::mem;

/// A new ring's bytes. Every connection may have so many in each direction, whatever the
/// others hold.
pub(super) const FIRST: usize = 16 * 1024;

/// Most bytes of a ring.
pub(super) const LARGEST: usize = 512 * 1024;

/// Most buffers of [`FIRST`] bytes that wait for the next ring.
const SPARES: usize = 64;

/// The memory of the rings of one direction.
#[derive(Debug, Default)]
pub(super) struct Memory {
    spares: Vec<Vec<u8>>,
    used: usize,
}

impl Memory {
    /// Bytes in use, whether filled or not.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Counts bytes that are kept elsewhere.
    pub(super) fn add(&mut self, count: usize) {
        self.used += count;
    }

    /// Undoes [`Memory::add`].
    pub(super) fn remove(&mut self, count: usize) {
        self.used = self.used.saturating_sub(count);
    }

    fn take(&mut self, size: usize) -> Vec<u8> {
        self.used += size;
        let spare = (size == FIRST).then(|| self.spares.pop()).flatten();
        spare.unwrap_or_else(|| vec![0; size])
    }

    fn give(&mut self, buffer: Vec<u8>) {
        self.remove(buffer.len());
        if buffer.len() == FIRST && self.spares.len() < SPARES {
            self.spares.push(buffer);
        }
    }
}

/// A queue of bytes. Its buffer has no bytes or a power of two, at least [`FIRST`].
#[derive(Debug, Default)]
pub(super) struct Ring {
    buffer: Vec<u8>,
    head: usize,
    length: usize,
}

impl Ring {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.length == self.buffer.len()
    }

    /// The bytes from `offset`, at most `count`, in two pieces.
    pub(super) fn slices(&self, offset: usize, count: usize) -> (&[u8], &[u8]) {
        let offset = offset.min(self.length);
        let count = count.min(self.length - offset);
        let start = self.wrapped(self.head + offset);
        let first = count.min(self.buffer.len() - start);
        let piece = |from: usize, size: usize| self.buffer.get(from..from + size);
        (
            piece(start, first).unwrap_or_default(),
            piece(0, count - first).unwrap_or_default(),
        )
    }

    /// Where further bytes go; [`Ring::filled`] tells how many came.
    pub(super) fn space(&mut self) -> [IoSliceMut<'_>; 2] {
        let free = self.buffer.len() - self.length;
        let start = self.wrapped(self.head + self.length);
        let first = free.min(self.buffer.len() - start);
        let (front, back) = self.buffer.split_at_mut(start);
        let front = front.get_mut(..free - first).unwrap_or_default();
        let back = back.get_mut(..first).unwrap_or_default();
        [IoSliceMut::new(back), IoSliceMut::new(front)]
    }

    /// So many bytes were written to [`Ring::space`].
    pub(super) fn filled(&mut self, count: usize) {
        self.length = (self.length + count).min(self.buffer.len());
    }

    /// Appends the bytes, growing as needed.
    pub(super) fn push(&mut self, data: &[u8], memory: &mut Memory) {
        let needed = self.length + data.len();
        if needed > self.buffer.len() {
            self.resize(needed.next_power_of_two().max(FIRST), memory);
        }
        let [mut back, mut front] = self.space();
        let (first, second) = data.split_at(data.len().min(back.len()));
        if let Some(to) = back.get_mut(..first.len()) {
            to.copy_from_slice(first);
        }
        if let Some(to) = front.get_mut(..second.len()) {
            to.copy_from_slice(second);
        }
        self.filled(data.len());
    }

    /// Removes so many bytes from the front.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.length);
        self.length -= count;
        // An empty one begins anew: what comes next is in one piece.
        self.head = if self.length == 0 {
            0
        } else {
            self.wrapped(self.head + count)
        };
    }

    /// Doubles the buffer, or makes the first.
    pub(super) fn grow(&mut self, memory: &mut Memory) {
        self.resize((self.buffer.len() * 2).max(FIRST), memory);
    }

    /// Returns the buffer of an empty ring.
    pub(super) fn release(&mut self, memory: &mut Memory) {
        if self.length == 0 && !self.buffer.is_empty() {
            memory.give(mem::take(&mut self.buffer));
            self.head = 0;
        }
    }

    fn resize(&mut self, size: usize, memory: &mut Memory) {
        let mut buffer = memory.take(size);
        let (first, second) = self.slices(0, self.length);
        let (to, rest) = buffer.split_at_mut(first.len());
        to.copy_from_slice(first);
        if let Some(to) = rest.get_mut(..second.len()) {
            to.copy_from_slice(second);
        }
        self.head = 0;
        let old = mem::replace(&mut self.buffer, buffer);
        if !old.is_empty() {
            memory.give(old);
        }
    }

    /// A place in the buffer. Its size is a power of two, or nothing.
    fn wrapped(&self, place: usize) -> usize {
        place & self.buffer.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests;
