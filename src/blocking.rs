//! Blocking calls that may hang in the kernel, off the event loop.
//!
//! A Windows drive, a stalled disk or a WireGuard daemon answers when it likes,
//! and a thread that waits for it cannot be ended. So each call has a deadline,
//! and each kind of call a [`SingleFlight`]: while one hangs there is no second.
//!
//! The threads are std's. tokio's pool panics where the kernel refuses a thread
//! (EAGAIN), lets calls wait behind one that hangs, and wakes up to end threads.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime, select, sync::oneshot, time::timeout};

/// Deadline of a call that has deadlines of its own within it: looking at a
/// Windows drive that hangs has none.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Why a blocking call has no result.
#[derive(Debug, thiserror::Error)]
pub enum BlockingError {
    /// The thread of an earlier call is still in the kernel.
    #[error("an earlier call still hangs")]
    Busy,
    /// The call was abandoned; its thread may still be in the kernel.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The kernel refused a thread (EAGAIN: TasksMax= or RLIMIT_NPROC) or what
    /// its runtime needs.
    #[error("cannot start a thread: {0}")]
    NoThread(#[from] io::Error),
    /// The thread ended without a result.
    #[error("the call was interrupted")]
    Interrupted,
}

/// One kind of call, made one at a time. Clones are the same flight.
#[derive(Debug, Clone, Default)]
pub struct SingleFlight(Arc<AtomicBool>);

impl SingleFlight {
    /// Permits the next call.
    ///
    /// # Errors
    /// [`BlockingError::Busy`] until the permit before it is dropped, with which a
    /// thread ends.
    pub fn begin(&self) -> Result<Permit, BlockingError> {
        if self.0.swap(true, Ordering::AcqRel) {
            return Err(BlockingError::Busy);
        }
        Ok(Permit(Arc::clone(&self.0)))
    }

    /// Whether a call is in flight.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A [`SingleFlight`] for each key, such as a device.
#[derive(Debug, Clone)]
pub struct KeyedFlights<K>(Arc<Mutex<BTreeMap<K, SingleFlight>>>);

impl<K> Default for KeyedFlights<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord + Clone> KeyedFlights<K> {
    /// Permits the next call for this key.
    ///
    /// # Errors
    /// See [`SingleFlight::begin`].
    pub fn begin(&self, key: &K) -> Result<Permit, BlockingError> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.busy());
        flights.entry(key.clone()).or_default().begin()
    }

    /// How many calls are in flight.
    #[must_use]
    pub fn count(&self) -> usize {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.values().filter(|flight| flight.busy()).count()
    }
}

/// Permission for one call, held by its thread. The default one is no flight's:
/// for a call that a process makes once.
#[derive(Debug, Default)]
pub struct Permit(Arc<AtomicBool>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Makes a call in a thread of its own and abandons it at the deadline.
///
/// # Errors
/// See [`BlockingError`].
pub async fn run_blocking<T: Send + 'static>(
    permit: Permit,
    deadline: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    run_in(thread::Builder::new(), permit, deadline, call).await
}

/// The same for an async call that blocks here and there. Dropping this future
/// ends the call where it waits.
///
/// # Errors
/// See [`BlockingError`].
pub async fn run_async<W: Future>(
    permit: Permit,
    deadline: Duration,
    call: impl FnOnce() -> W + Send + 'static,
) -> Result<W::Output, BlockingError>
where
    W::Output: Send + 'static,
{
    let (_held, dropped) = oneshot::channel::<()>();
    let thread = move || {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            select! {
                result = call() => Ok(result),
                _ = dropped => Err(BlockingError::Interrupted),
            }
        })
    };
    run_blocking(permit, deadline, thread).await?
}

async fn run_in<T: Send + 'static>(
    builder: thread::Builder,
    permit: Permit,
    deadline: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let (sender, result) = oneshot::channel();
    let counted = Counted::new();
    builder.spawn(move || {
        let _counted = counted;
        let result = call();
        drop(permit);
        // If the caller no longer waits, the result, such as a process, is dropped
        // here.
        drop(sender.send(result));
    })?;
    match timeout(deadline, result).await {
        Ok(result) => result.map_err(|_| BlockingError::Interrupted),
        Err(_) => Err(BlockingError::TimedOut(deadline)),
    }
}

/// How many threads of this module there are.
static THREADS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of them.
struct Counted;

impl Counted {
    fn new() -> Self {
        *THREADS.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *THREADS.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        THREADS.1.notify_all();
    }
}

/// Waits at the process' end for calls in flight, so that a file is renamed and
/// a child ended; one that hangs is not waited for longer than this.
pub fn wait_for_threads(limit: Duration) {
    let threads = THREADS.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = THREADS
        .1
        .wait_timeout_while(threads, limit, |left| *left > 0);
    drop(waited);
}

#[cfg(test)]
mod tests;
