//! The states of the relay's process.

use std::{
    future::pending,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

use wslmesh_relay::protocol::Event;

use crate::{
    blocking::{BlockingError, LIMIT, SingleFlight, run_blocking},
    host::relay::{self, Process, RelayError, Started},
    model::RelayLocation,
};

/// How long a relay may take to become ready, and to confirm its forwards. A
/// start on Windows takes a second.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// A state. Dropping any of them leaves no process behind.
#[derive(Debug, Default)]
pub(super) enum State {
    /// No relay is needed.
    #[default]
    Idle,
    /// Being started, in a blocking task.
    Starting(JoinHandle<Result<Result<Started, RelayError>, BlockingError>>),
    /// Started, and not ready yet.
    AwaitingReady(Process),
    /// Ready.
    Running { process: Process, since: Instant },
    /// Asked to exit.
    Stopping(Process),
    /// Failed; the next start is scheduled.
    Waiting,
}

impl State {
    /// Begins a start.
    pub(super) fn start(starts: &SingleFlight, location: RelayLocation, lib: PathBuf) -> Self {
        let permit = starts.begin();
        let call =
            async { run_blocking(permit?, LIMIT, move || relay::start(&location, &lib)).await };
        Self::Starting(tokio::spawn(call))
    }

    /// Waits for the next event, or, as `None`, for the end of the start. Cancel
    /// safe.
    ///
    /// # Errors
    /// It could not be started, has exited, or sent something invalid.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, RelayError> {
        match self {
            Self::Idle | Self::Waiting => pending().await,
            Self::Starting(call) => {
                let started = call.await.unwrap_or(Err(BlockingError::Interrupted))??;
                *self = Self::AwaitingReady(Process::adopt(started)?);
                Ok(None)
            }
            Self::AwaitingReady(process)
            | Self::Running { process, .. }
            | Self::Stopping(process) => process.recv().await.map(Some),
        }
    }
}
