//! Events to standard output. A thread of its own writes them, because the
//! reader may be slow or gone, and the data must not wait for that.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::protocol::{Event, MAX_LINE};

/// Events that wait for the reader, in bytes. What does not fit is said later
/// and shorter.
const LIMIT: usize = MAX_LINE;

/// The way out. Every method returns at once but [`Outbox::settle`].
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    room: Notify,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, and of the one being written.
    bytes: usize,
    /// Something did not fit.
    missed: bool,
    /// Nobody will ever read.
    gone: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until standard output is closed.
    fn write(&self) {
        let mut output = io::stdout();
        loop {
            let line = {
                let waiting = |queue: &mut Queue| queue.lines.is_empty();
                let held = self.changed.wait_while(self.lock(), waiting);
                let mut queue = held.unwrap_or_else(PoisonError::into_inner);
                queue.lines.pop_front().unwrap_or_default()
            };
            let written = output.write_all(&line).and_then(|()| output.flush());
            let mut queue = self.lock();
            queue.bytes = queue.bytes.saturating_sub(line.len());
            if written.is_err() {
                *queue = Queue {
                    gone: true,
                    ..Queue::default()
                };
            }
            if std::mem::take(&mut queue.missed) {
                self.room.notify_one();
            }
            self.changed.notify_all();
            if queue.gone {
                return;
            }
        }
    }
}

impl Outbox {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system's error when it gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.write())?;
        Ok(Self { shared })
    }

    /// Takes an event to be written, or says `false`: too much waits already,
    /// and [`Outbox::room`] tells when it is worth while to come again. Of
    /// events that nobody can read any more it takes all.
    pub(super) fn offer(&self, event: &Event) -> bool {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return true; // Only a map with keys that are no texts cannot be written.
        };
        line.push(b'\n');
        let mut queue = self.shared.lock();
        if queue.gone {
            return true;
        }
        if queue.bytes > 0 && queue.bytes + line.len() > LIMIT {
            queue.missed = true;
            return false;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        self.shared.changed.notify_all();
        true
    }

    /// Whether a line was not taken and none was written since: not worth while
    /// to make another one.
    pub(super) fn is_full(&self) -> bool {
        self.shared.lock().missed
    }

    /// Waits until a line was written after one was not taken.
    pub(super) async fn room(&self) {
        self.shared.room.notified().await;
    }

    /// Waits until everything is written, at most that long.
    pub(super) fn settle(&self, most: Duration) {
        let waiting = |queue: &mut Queue| queue.bytes > 0;
        // On either outcome the caller ends.
        drop(
            self.shared
                .changed
                .wait_timeout_while(self.shared.lock(), most, waiting),
        );
    }
}

/// Writes a text to standard output, for `--help` and `--version`. A reader
/// that is gone needs none.
pub(super) fn say(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// Writes a text to standard error, for what keeps the program from running.
pub(super) fn complain(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}
