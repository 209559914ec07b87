//! Events to standard output. A thread of its own writes them, because the
//! reader may be slow or gone and data must not wait for it.

use std::cell::Cell;
use std::future::pending;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::protocol::Event;

/// Most bytes of events that wait for the reader.
const QUEUE_LIMIT: u32 = 1 << 20;

/// A bounded queue of events, which never blocks.
pub(crate) struct EventWriter {
    lines: UnboundedSender<(Vec<u8>, OwnedSemaphorePermit)>,
    /// A permit for each byte. Those of a line return when it is written.
    free: Arc<Semaphore>,
    /// An event did not fit, and the queue was not empty since.
    full: Cell<bool>,
}

impl EventWriter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (lines, mut queue) = unbounded_channel::<(Vec<u8>, OwnedSemaphorePermit)>();
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                let mut output = io::stdout();
                while let Some((line, permit)) = queue.blocking_recv() {
                    if output
                        .write_all(&line)
                        .and_then(|()| output.flush())
                        .is_err()
                    {
                        return;
                    }
                    drop(permit);
                }
            })?;
        Ok(Self {
            lines,
            free: Arc::new(Semaphore::new(QUEUE_LIMIT as usize)),
            full: Cell::default(),
        })
    }

    /// Queues an event. Returns `false` when the queue is full: send again after
    /// [`EventWriter::writable`]. Once standard output is closed, events are
    /// dropped and this returns `true`.
    pub(crate) fn try_send(&self, event: &Event) -> bool {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return true; // Only a map whose keys are not strings fails.
        };
        line.push(b'\n');
        // A longer line waits for the whole queue.
        let size = u32::try_from(line.len()).map_or(QUEUE_LIMIT, |size| size.min(QUEUE_LIMIT));
        match Arc::clone(&self.free).try_acquire_many_owned(size) {
            Ok(permit) => {
                // It fails once standard output is closed.
                self.lines.send((line, permit)).ok();
                true
            }
            Err(_) => {
                self.full.set(true);
                false
            }
        }
    }

    /// Whether an event did not fit, and [`EventWriter::writable`] has not returned
    /// since.
    pub(crate) fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Waits until the queue is empty after an event did not fit.
    pub(crate) async fn writable(&self) {
        if !self.full.get() {
            pending().await
        }
        self.written().await;
        self.full.set(false);
    }

    /// Waits until everything is written, at most that long.
    pub(crate) async fn flush(&self, limit: Duration) {
        // The caller exits on either outcome.
        timeout(limit, self.written()).await.ok();
    }

    async fn written(&self) {
        // The semaphore is never closed.
        drop(self.free.acquire_many(QUEUE_LIMIT).await);
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
