//! Calls that block, off the loop.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Builder, select, sync::oneshot, task::spawn_blocking, time::timeout};

/// Longest wait for a whole call, beyond the deadlines within it: looking at a
/// Windows drive that hangs has none.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Makes a call in a thread of its own, because looking at Windows' drives,
/// connecting to WSL's sockets and starting a program block, and the loop must
/// not. `None` when it does not come back in time.
pub async fn off_the_loop<F, W, T>(ticket: Ticket, call: F) -> Option<T>
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    if ticket.earlier_hangs {
        return None;
    }
    let thread = spawn_blocking(move || {
        let _running = ticket.running;
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            select! {
                result = call() => Some(result),
                _ = ticket.gone => None,
            }
        })
    });
    timeout(LIMIT, thread).await.ok()?.ok()?
}

/// One kind of call, made one at a time.
#[derive(Debug, Default)]
pub struct Lane {
    /// Held while a call is in flight: dropping it ends the call at once, even
    /// where the runtime is already going down.
    alive: Option<oneshot::Sender<()>>,
    /// Shared with the threads. One that hangs in the kernel cannot be ended,
    /// and there shall not be a second.
    running: Arc<()>,
}

/// What a call's thread is given.
pub struct Ticket {
    gone: oneshot::Receiver<()>,
    running: Arc<()>,
    earlier_hangs: bool,
}

impl Lane {
    /// A ticket for the next call; the one before it is over.
    pub fn begin(&mut self) -> Ticket {
        let (alive, gone) = oneshot::channel();
        self.alive = Some(alive);
        Ticket {
            gone,
            earlier_hangs: Arc::strong_count(&self.running) > 1,
            running: Arc::clone(&self.running),
        }
    }

    /// Whether a call is in flight.
    pub fn busy(&self) -> bool {
        self.alive.is_some()
    }

    /// Notes that the call has ended.
    pub fn end(&mut self) {
        self.alive = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn dropping_the_lane_ends_the_call() {
        let mut lane = Lane::default();
        let call = off_the_loop(lane.begin(), pending::<()>);
        drop(lane);
        assert_eq!(call.await, None);
    }

    #[tokio::test]
    async fn a_thread_that_hangs_gets_no_second() {
        let mut lane = Lane::default();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn(off_the_loop(lane.begin(), || async move {
            held.recv().is_err()
        }));
        assert_eq!(off_the_loop(lane.begin(), || async { 1 }).await, None);
        drop(release);
        first.await.unwrap();
        assert_eq!(off_the_loop(lane.begin(), || async { 2 }).await, Some(2));
    }
}
