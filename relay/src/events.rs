//! Events to standard output. A thread of its own writes them, because the
//! reader may be slow or gone and data must not wait for it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use crate::protocol::{Event, MAX_LINE};

/// Most bytes of events that wait for the reader.
const QUEUE_LIMIT: usize = MAX_LINE;

/// A bounded queue of events. Only [`EventWriter::flush`] blocks.
pub(crate) struct EventWriter {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    writable: Notify,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// Of the lines, and of the one being written.
    bytes: usize,
    /// An event did not fit, and none was written since.
    full: bool,
    /// Standard output cannot be written any more.
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until standard output is closed.
    fn write(&self) {
        let mut output = io::stdout();
        loop {
            let queue = self
                .changed
                .wait_while(self.lock(), |queue| queue.lines.is_empty());
            let line = queue
                .unwrap_or_else(PoisonError::into_inner)
                .lines
                .pop_front()
                .unwrap_or_default();
            let written = output.write_all(&line).and_then(|()| output.flush());
            let mut queue = self.lock();
            queue.bytes = queue.bytes.saturating_sub(line.len());
            if std::mem::take(&mut queue.full) {
                self.writable.notify_one();
            }
            if written.is_err() {
                *queue = Queue {
                    closed: true,
                    ..Queue::default()
                };
            }
            self.changed.notify_all();
            if queue.closed {
                return;
            }
        }
    }
}

impl EventWriter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.write())?;
        Ok(Self { shared })
    }

    /// Queues an event. Returns `false` when the queue is full: send again after
    /// [`EventWriter::writable`]. Once standard output is closed, events are
    /// dropped and this returns `true`.
    pub(crate) fn try_send(&self, event: &Event) -> bool {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return true; // Only a map whose keys are not strings fails.
        };
        line.push(b'\n');
        let mut queue = self.shared.lock();
        if queue.closed {
            return true;
        }
        if queue.bytes > 0 && queue.bytes + line.len() > QUEUE_LIMIT {
            queue.full = true;
            return false;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        self.shared.changed.notify_all();
        true
    }

    /// Whether an event did not fit and none was written since.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.lock().full
    }

    /// Waits until an event was written after one did not fit.
    pub(crate) async fn writable(&self) {
        self.shared.writable.notified().await;
    }

    /// Blocks until everything is written, at most that long.
    pub(crate) fn flush(&self, timeout: Duration) {
        let queue = self.shared.lock();
        let unwritten = |queue: &mut Queue| queue.bytes > 0;
        // The caller exits on either outcome.
        drop(
            self.shared
                .changed
                .wait_timeout_while(queue, timeout, unwritten),
        );
    }
}

/// Writes a text to standard output, for `--help` and `--version`. A closed
/// standard output is no error.
pub(crate) fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

/// Writes a text to standard error, for what keeps the program from running.
pub(crate) fn print_error(text: &str) {
    io::stderr().write_all(text.as_bytes()).ok();
}
