//! DNS in a stream, RFC 7766: what the guest takes for a TCP connection to its nameserver.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Asker, Event, Resolver};
use crate::switch::engine::Stream;
use crate::switch::engine::dns::{Message, Query};

/// Most bytes of queries that are not asked yet: the longest message and its length.
const INPUT: usize = 2 + 65_535;
/// Most bytes of answers that the guest has not taken, before more is asked.
const OUTPUT: usize = 64 * 1024;
/// Most queries that wait for an answer.
const WAITING: usize = 16;

#[derive(Debug, Default)]
struct State {
    input: Vec<u8>,
    output: Vec<u8>,
    waiting: usize,
    finished: bool,
    /// What came is no query.
    failed: bool,
}

/// Where an answer goes.
pub(super) struct Reply {
    state: Arc<Mutex<State>>,
    token: usize,
}

impl Reply {
    pub(super) fn send(&self, resolver: &Resolver, answer: &[u8]) {
        {
            let mut state = lock(&self.state);
            state.waiting = state.waiting.saturating_sub(1);
            state.output.extend(framed(answer));
        }
        resolver.report(Event::Ready(self.token));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message with its length before it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&length, message].concat()
}

/// The end of the stream that is ours.
pub(crate) struct Conversation {
    resolver: Resolver,
    state: Arc<Mutex<State>>,
    token: usize,
}

impl Conversation {
    pub(super) fn new(resolver: Resolver, token: usize) -> Self {
        // It is connected.
        resolver.report(Event::Ready(token));
        Self {
            resolver,
            state: Arc::default(),
            token,
        }
    }

    /// Asks what was written. Whether there is something to read that was not before.
    fn advance(&self, state: &mut State) -> bool {
        let before = state.output.len();
        while !state.failed && state.waiting < WAITING && state.output.len() < OUTPUT {
            let Some((length, rest)) = state.input.split_first_chunk() else {
                break;
            };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else {
                break;
            };
            let message = Query::parse(message, false);
            state.input.drain(..2 + length);
            let query = match message {
                Message::Query(query) => query,
                Message::Refused(answer) => {
                    state.output.extend(framed(&answer));
                    continue;
                }
                Message::Invalid => {
                    state.failed = true;
                    break;
                }
            };
            let reply = Reply {
                state: Arc::clone(&self.state),
                token: self.token,
            };
            if let Some(answer) = query.local() {
                state.output.extend(framed(&answer));
            } else if self.resolver.start(Asker::Stream(reply), query) {
                state.waiting += 1;
            } else {
                // Better none than one that never comes.
                state.failed = true;
            }
        }
        state.output.len() > before || state.failed
    }

    fn report(&self) {
        self.resolver.report(Event::Ready(self.token));
    }
}

impl Stream for Conversation {
    fn is_connected(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut state = lock(&self.state);
        self.advance(&mut state);
        if state.output.is_empty() {
            return match &*state {
                State { failed: true, .. } => Err(ErrorKind::ConnectionReset.into()),
                State {
                    finished: true,
                    waiting: 0,
                    ..
                } => Ok(0),
                _ => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let mut output = &state.output[..];
        let mut count = 0;
        for buffer in buffers {
            count += io::Read::read(&mut output, buffer)?;
        }
        state.output.drain(..count);
        // There may be room for what was written.
        let (input, waiting) = (state.input.len(), state.waiting);
        self.advance(&mut state);
        let moved = (input, waiting) != (state.input.len(), state.waiting);
        drop(state);
        if moved {
            self.report();
        }
        Ok(count)
    }

    fn write(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let mut count = 0;
        for part in data {
            let room = INPUT.saturating_sub(state.input.len()).min(part.len());
            state
                .input
                .extend_from_slice(part.get(..room).unwrap_or_default());
            count += room;
        }
        let readable = self.advance(&mut state);
        drop(state);
        if readable {
            self.report();
        }
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn finish(&mut self) {
        lock(&self.state).finished = true;
        self.report();
    }

    fn abort(&mut self) {
        let mut state = lock(&self.state);
        state.finished = true;
        drop(mem::take(&mut state.output));
    }
}
