//! Events to standard output. A thread of its own writes them, because the
//! reader may be slow or gone and data must not wait for it.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::protocol::Event;

/// Most bytes of events that wait for the reader.
const QUEUE_LIMIT: u32 = 1 << 20;

/// A bounded queue of events, which never blocks.
pub(crate) struct EventWriter {
    lines: Sender<(Vec<u8>, OwnedSemaphorePermit)>,
    /// A permit for each byte. Those of a line return when it is written.
    free: Arc<Semaphore>,
    /// The size of the largest event that did not fit, 0 once there is room for it.
    missing: Cell<u32>,
}

impl EventWriter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(crate) fn start(mut output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = channel::<(Vec<u8>, OwnedSemaphorePermit)>();
        thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                for (line, permit) in queue {
                    let written = output.write_all(&line).and_then(|()| output.flush());
                    if written.is_err() {
                        return;
                    }
                    drop(permit);
                }
            })?;
        Ok(Self {
            lines,
            free: Arc::new(Semaphore::new(QUEUE_LIMIT as usize)),
            missing: Cell::default(),
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
        let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(size) else {
            self.missing.update(|missing| missing.max(size));
            return false;
        };
        // It fails once standard output is closed.
        self.lines.send((line, permit)).ok();
        true
    }

    /// Whether an event did not fit, and [`EventWriter::writable`] has not returned
    /// since.
    pub(crate) fn is_full(&self) -> bool {
        self.missing.get() > 0
    }

    /// Waits until there is room for the largest event that did not fit.
    pub(crate) async fn writable(&self) {
        // The semaphore is never closed.
        drop(self.free.acquire_many(self.missing.get()).await);
        self.missing.set(0);
    }

    /// Waits until everything is written, at most that long.
    pub(crate) async fn flush(&self, limit: Duration) {
        // The caller exits on either outcome.
        drop(timeout(limit, self.free.acquire_many(QUEUE_LIMIT)).await);
    }
}

#[cfg(test)]
mod tests;
