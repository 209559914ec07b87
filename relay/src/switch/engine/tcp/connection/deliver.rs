//! The guest's data, to the socket.

use std::io::{ErrorKind, IoSlice, Result};
use std::mem;

use super::{Connection, Env, Piece};
use crate::switch::engine::Stream;

/// Most pieces in a write.
const PIECES: usize = 64;

impl<S: Stream> Connection<S> {
    /// Writes what was taken of the chunk; what the socket does not take is kept.
    ///
    /// # Errors
    ///
    /// The connection to the server is lost.
    pub(in super::super) fn deliver(&mut self, chunk: &[u8], env: &mut Env<'_>) -> Result<()> {
        while self.writable && !self.rx.is_empty() {
            let (first, second) = self.rx.slices(0, self.rx.len());
            let written = self
                .socket
                .write(&[IoSlice::new(first), IoSlice::new(second)]);
            let count = self.written(written)?;
            self.rx.consume(count);
        }
        let mut pending = mem::take(&mut self.pending);
        let mut rest = &pending[..];
        // Bytes of the first of the rest that are written.
        let mut skip = 0;
        while self.writable && !rest.is_empty() {
            let mut parts = [IoSlice::new(&[]); PIECES];
            let mut skipped = skip;
            for (part, piece) in parts.iter_mut().zip(rest) {
                let bytes = bytes(piece, chunk);
                *part = IoSlice::new(bytes.get(mem::take(&mut skipped)..).unwrap_or_default());
            }
            let parts = parts.get(..rest.len().min(PIECES)).unwrap_or_default();
            let written = self.socket.write(parts);
            let mut count = self.written(written)?;
            while let Some((first, more)) = rest.split_first() {
                let left = bytes(first, chunk).len() - skip;
                if count < left {
                    skip += count;
                    break;
                }
                count -= left;
                skip = 0;
                rest = more;
            }
        }
        for piece in rest {
            let bytes = bytes(piece, chunk);
            let bytes = bytes.get(mem::take(&mut skip)..).unwrap_or_default();
            self.rx.push(bytes, env.rx);
        }
        pending.clear();
        self.pending = pending;
        self.pending_bytes = 0;
        if self.received_all && self.rx.is_empty() && !self.finished {
            self.finished = true;
            self.socket.finish();
        }
        Ok(())
    }

    fn written(&mut self, result: Result<usize>) -> Result<usize> {
        match result {
            Ok(0) => self.writable = false,
            Ok(count) => return Ok(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => self.writable = false,
                ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        Ok(0)
    }
}

fn bytes<'a>(piece: &'a Piece, chunk: &'a [u8]) -> &'a [u8] {
    match piece {
        Piece::Chunk { at, length } => chunk.get(*at..*at + *length).unwrap_or_default(),
        Piece::Kept(bytes) => bytes,
    }
}
