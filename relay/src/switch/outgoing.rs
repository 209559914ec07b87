//! Frames that are being written, in which control messages go first.

use std::mem;

use serde::Serialize;

use crate::link::{self, PREFIX};

/// Most bytes of control messages that wait for an end that does not read; later ones are
/// left out.
const CONTROL: usize = 64 * 1024;

/// Frames, the first of which may be written in part.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    frames: Vec<u8>,
    written: usize,
    /// Bytes of control messages among the frames.
    control: usize,
}

impl Outgoing {
    /// What is to be written.
    pub(crate) fn rest(&self) -> &[u8] {
        self.frames.get(self.written..).unwrap_or_default()
    }

    /// So many bytes are written.
    pub(crate) fn advance(&mut self, count: usize) {
        self.written = (self.written + count).min(self.frames.len());
    }

    /// Goes on with `next` if all is written.
    pub(crate) fn refill(&mut self, next: &mut Vec<u8>) {
        if self.rest().is_empty() {
            self.frames.clear();
            (self.written, self.control) = (0, 0);
            mem::swap(&mut self.frames, next);
        }
    }

    /// Takes all that is to be written, if none of it is begun; `spare` is a buffer to go on
    /// with.
    pub(crate) fn take(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let taken = mem::replace(&mut self.frames, spare);
        self.frames.clear();
        (self.written, self.control) = (0, 0);
        taken
    }

    /// Puts a control message before the frames that are not begun.
    pub(crate) fn put_control(&mut self, message: &impl Serialize) {
        if self.control >= CONTROL {
            return;
        }
        let mut frame = Vec::new();
        link::put_message(&mut frame, message);
        self.control += frame.len();
        let at = self.boundary();
        self.frames.splice(at..at, frame);
    }

    /// Puts packets and then a message behind all that waits, whatever the limits.
    pub(crate) fn put_last(&mut self, packets: &mut Vec<u8>, message: &impl Serialize) {
        self.frames.append(packets);
        link::put_message(&mut self.frames, message);
    }

    /// Where the first frame begins that is not begun, after the control messages there.
    fn boundary(&self) -> usize {
        let mut at = 0;
        for frame in link::split(&self.frames) {
            let (body, control) = match frame {
                link::Frame::Packet(body) => (body, false),
                link::Frame::Control(body) => (body, true),
            };
            // Those are answered in their sequence.
            if at >= self.written && !control {
                break;
            }
            at += PREFIX + body.len();
        }
        at
    }
}

#[cfg(test)]
mod tests;
