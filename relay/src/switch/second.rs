//! The second way at the switch's end: the connection, and the link by it once packets move.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Registry, Waker};

use super::stdio::Link;
use super::{PACKETS_IN, PACKETS_OUT};
use crate::link::second::{Place, Token};
use crate::os::{self, Stream};

/// Longest wait for a connection.
const LIMIT: Duration = Duration::from_secs(1);

type Streams = (Stream, Stream);

/// The second way.
#[derive(Default)]
pub(crate) struct Second {
    /// The thread that connects, which the system may hold for longer than it should.
    thread: Option<JoinHandle<()>>,
    wanted: Option<(Receiver<io::Result<Streams>>, Token)>,
    ready: Option<Streams>,
    /// Once packets move.
    pub(crate) link: Option<Link>,
}

impl Second {
    /// Begins to connect, by a thread that wakes the loop.
    ///
    /// # Errors
    ///
    /// The system's, or another attempt has not ended.
    pub(crate) fn connect(
        &mut self,
        to: Place,
        token: Token,
        waker: &Arc<Waker>,
    ) -> Result<(), String> {
        if self.thread.as_ref().is_some_and(|one| !one.is_finished()) {
            return Err("the connection before has not failed yet".to_owned());
        }
        let (sender, receiver) = mpsc::channel();
        let waker = Arc::clone(waker);
        let connect = move || {
            // The other end is gone where the guest gave it up.
            drop(sender.send(os::connect(&to, LIMIT)));
            waker.wake().unwrap_or_default();
        };
        let thread = thread::Builder::new().name("connect".to_owned());
        self.thread = Some(thread.spawn(connect).map_err(in_words)?);
        self.wanted = Some((receiver, token));
        Ok(())
    }

    /// What came of it, once, where that is known. The token is shown.
    pub(crate) fn result(&mut self) -> Option<Result<(), String>> {
        let (receiver, token) = self.wanted.as_ref()?;
        let streams = match receiver.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(ErrorKind::Other.into()),
        };
        let token = *token;
        self.wanted = None;
        Some(
            streams
                .and_then(|streams| self.show(streams, &token))
                .map_err(in_words),
        )
    }

    fn show(&mut self, streams: Streams, token: &Token) -> io::Result<()> {
        // As short as it is, it does not wait on a new connection.
        (&streams.1).write_all(token.bytes())?;
        self.ready = Some(streams);
        Ok(())
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        (self.wanted, self.ready) = (None, None);
    }

    /// Reads from it and writes to it from now on.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn take(
        &mut self,
        registry: &Registry,
        waker: &Arc<Waker>,
        threads: bool,
    ) -> io::Result<()> {
        let streams = self.ready.take().ok_or(ErrorKind::NotConnected)?;
        let tokens = (PACKETS_IN, PACKETS_OUT);
        self.link = Some(Link::open(registry, tokens, waker, threads, streams)?);
        Ok(())
    }
}

fn in_words(error: io::Error) -> String {
    format!("it cannot connect: {error}")
}

#[cfg(test)]
mod tests;
