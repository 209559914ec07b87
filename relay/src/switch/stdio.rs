//! A stream in each direction as a way of frames, such as standard input and output: in the loop where the system can wait for them,
//! or else with a thread for each. Both are always read, whatever the state of the other:
//! two ends that each wait to write would wait forever.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use mio::{Registry, Token, Waker};

use super::engine::Network;
use super::session::{End, Session, Way};
use crate::link::{Frames, LinkError};
use crate::os::{self, Stream};

/// Chunks that were read and not taken, before the thread waits.
const CHUNKS: usize = 8;

/// A way of frames.
pub(crate) enum Link {
    Direct(Direct),
    Threads(Arc<Shared>, bool),
}

/// The loop waits for them.
pub(crate) struct Direct {
    input: Stream,
    output: Stream,
    frames: Frames,
    readable: bool,
    writable: bool,
}

/// What the loop shares with the threads.
#[derive(Default)]
pub(crate) struct Shared {
    input: Mutex<Input>,
    taken: Condvar,
    output: Mutex<Output>,
    given: Condvar,
}

#[derive(Default)]
struct Input {
    chunks: VecDeque<Vec<u8>>,
    spares: Vec<Vec<u8>>,
    end: Option<End>,
}

#[derive(Default)]
struct Output {
    frames: Vec<u8>,
    /// The loop wants to be woken when it may give more.
    wanted: bool,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Opens both.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn open(
        registry: &Registry,
        (input_token, output_token): (Token, Token),
        waker: &Arc<Waker>,
        threads: bool,
        (input, output): (Stream, Stream),
    ) -> io::Result<Self> {
        let (from, to) = ((&input, input_token), (&output, output_token));
        if !threads && os::wait_for(registry, from, to).is_ok() {
            return Ok(Self::Direct(Direct {
                input,
                output,
                frames: Frames::default(),
                readable: true,
                writable: true,
            }));
        }
        let shared = Arc::new(Shared::default());
        let (ours, wake) = (Arc::clone(&shared), Arc::clone(waker));
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || ours.read(input, &wake))?;
        let (ours, wake) = (Arc::clone(&shared), Arc::clone(waker));
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || ours.write(output, &wake))?;
        Ok(Self::Threads(shared, false))
    }

    /// There may be input.
    pub(crate) fn readable(&mut self) {
        if let Self::Direct(direct) = self {
            direct.readable = true;
        }
    }

    /// There may be room for output.
    pub(crate) fn writable(&mut self) {
        if let Self::Direct(direct) = self {
            direct.writable = true;
        }
    }

    /// A thread has done something.
    pub(crate) fn woken(&mut self) {
        if let Self::Threads(_, input) = self {
            *input = true;
        }
    }

    /// Whether [`Link::read`] has something to do.
    pub(crate) fn has_input(&self) -> bool {
        match self {
            Self::Direct(direct) => direct.readable,
            Self::Threads(_, input) => *input,
        }
    }

    /// Gives the next chunk of whole frames to `take`. Why the link ends, if it does.
    pub(crate) fn read(&mut self, take: impl FnOnce(&[u8]) -> Result<(), End>) -> Option<End> {
        match self {
            Self::Direct(direct) => direct.read(take).err(),
            Self::Threads(shared, has_input) => {
                let mut input = lock(&shared.input);
                let Some(chunk) = input.chunks.pop_front() else {
                    *has_input = false;
                    return input.end.clone();
                };
                shared.taken.notify_one();
                drop(input);
                let result = take(&chunk);
                let mut input = lock(&shared.input);
                if input.spares.len() < CHUNKS {
                    input.spares.push(chunk);
                }
                result.err()
            }
        }
    }

    /// Writes what the session has, as far as there is room. Whether the link goes on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn write<N: Network>(
        &mut self,
        session: &mut Session<N>,
        way: Way,
    ) -> io::Result<bool> {
        match self {
            Self::Direct(direct) => direct.write(session, way),
            Self::Threads(shared, _) => {
                let outgoing = session.outgoing(way);
                if outgoing.rest().is_empty() {
                    return Ok(!lock(&shared.output).closed);
                }
                let mut output = lock(&shared.output);
                if output.frames.is_empty() {
                    let spare = mem::take(&mut output.frames);
                    output.frames = outgoing.take(spare);
                    shared.given.notify_one();
                } else {
                    output.wanted = true;
                }
                Ok(!output.closed)
            }
        }
    }
}

impl Direct {
    fn read(&mut self, take: impl FnOnce(&[u8]) -> Result<(), End>) -> Result<(), End> {
        if !self.readable {
            return Ok(());
        }
        match (&self.input).read(self.frames.space()) {
            Ok(0) => return Err(End::Closed),
            Ok(count) => self.frames.filled(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                ErrorKind::Interrupted => return Ok(()),
                _ => return Err(End::Closed),
            },
        }
        let whole = self.frames.whole().map_err(End::Invalid)?;
        let size = whole.len();
        if size > 0 {
            take(whole)?;
            self.frames.consume(size);
        }
        // An invalid one behind them ends the link as well.
        self.frames.whole().map_err(End::Invalid).map(drop)
    }

    fn write<N: Network>(&mut self, session: &mut Session<N>, way: Way) -> io::Result<bool> {
        while self.writable {
            let outgoing = session.outgoing(way);
            if outgoing.rest().is_empty() {
                return Ok(true);
            }
            match (&self.output).write(outgoing.rest()) {
                Ok(0) => return Ok(false),
                Ok(count) => outgoing.advance(count),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => return Ok(false),
                    _ => return Err(error),
                },
            }
        }
        Ok(true)
    }
}

impl Shared {
    /// What the thread of the input does.
    fn read(&self, input: Stream, waker: &Waker) {
        let mut frames = Frames::default();
        let end = loop {
            match (&input).read(frames.space()) {
                Ok(0) => break End::Closed,
                Ok(count) => frames.filled(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break End::Closed,
            }
            if let Err(error) = self.give(&mut frames, waker) {
                break End::Invalid(error);
            }
        };
        lock(&self.input).end = Some(end);
        // The loop cannot do without.
        waker.wake().unwrap_or_default();
    }

    /// Gives all whole frames to the loop.
    fn give(&self, frames: &mut Frames, waker: &Waker) -> Result<(), LinkError> {
        loop {
            let spare = lock(&self.input).spares.pop().unwrap_or_default();
            let Some(chunk) = frames.take(spare)? else {
                return Ok(());
            };
            let mut input = lock(&self.input);
            while input.chunks.len() >= CHUNKS {
                input = self
                    .taken
                    .wait(input)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            input.chunks.push_back(chunk);
            drop(input);
            waker.wake().unwrap_or_default();
        }
    }

    /// What the thread of the output does.
    fn write(&self, to: Stream, waker: &Waker) {
        let mut frames = Vec::new();
        loop {
            {
                let mut output = lock(&self.output);
                while output.frames.is_empty() {
                    output = self
                        .given
                        .wait(output)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                mem::swap(&mut output.frames, &mut frames);
                if mem::take(&mut output.wanted) {
                    waker.wake().unwrap_or_default();
                }
            }
            if (&to).write_all(&frames).is_err() {
                lock(&self.output).closed = true;
                waker.wake().unwrap_or_default();
                return;
            }
            frames.clear();
        }
    }
}
