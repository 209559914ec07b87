//! The states of the relay's process.

use std::{
    future::pending,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::task::{JoinHandle, JoinSet};

use wslmesh_relay::protocol::Event;

use crate::{
    blocking::{BlockingError, LIMIT, SingleFlight, run_blocking},
    host::relay::{self, Pipes, Process, RelayError, Started},
    model::{RelayLocation, RelayRole},
};

/// How long a relay may take to become ready, and to confirm its forwards. A
/// start on Windows takes a second.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// A relay that was just started.
#[derive(Debug)]
pub(super) enum Launched {
    /// As a child of the agent.
    Child(Started),
    /// As a unit of its own.
    Unit(Pipes),
}

/// A state. Dropping any of them leaves no child behind.
#[derive(Debug, Default)]
pub(super) enum State {
    /// No relay is needed.
    #[default]
    Idle,
    /// Being started, in a blocking task.
    Starting(JoinSet<Result<Launched, RelayError>>),
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
    /// Begins a start, as a unit where there is systemd, and once the one before has ended.
    pub(super) fn start(
        starts: &SingleFlight,
        location: RelayLocation,
        lib: PathBuf,
        unit: Option<RelayRole>,
        before: Option<JoinHandle<()>>,
    ) -> Self {
        let starts = starts.clone();
        let mut start = JoinSet::new();
        start.spawn(async move {
            let command = blocking(&starts, move || relay::command(&location, &lib)).await?;
            if let Some(before) = before {
                before.await.unwrap_or_default();
            }
            if let Some(role) = unit {
                match relay::unit::start(role, &command).await {
                    Ok(pipes) => return Ok(Launched::Unit(pipes)),
                    // It serves all the same, and ends with the agent.
                    Err(error) => tracing::info!(
                        event = "relay",
                        "the relay gets no unit of its own and ends with the agent: {error}"
                    ),
                }
            }
            let started = blocking(&starts, || Ok(relay::spawn(command)?)).await?;
            Ok(Launched::Child(started))
        });
        Self::Starting(start)
    }

    /// Waits for the next event, or, as `None`, for the end of the start. Cancel
    /// safe.
    ///
    /// # Errors
    /// It could not be started, has exited, or sent something invalid.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, RelayError> {
        match self {
            Self::Idle | Self::Waiting => pending().await,
            Self::Starting(start) => {
                let ended = start.join_next().await.and_then(Result::ok);
                let interrupted = || Err(BlockingError::Interrupted.into());
                *self = Self::AwaitingReady(match ended.unwrap_or_else(interrupted)? {
                    Launched::Child(started) => Process::adopt(started)?,
                    Launched::Unit(pipes) => Process::in_unit(pipes)?,
                });
                Ok(None)
            }
            Self::AwaitingReady(process)
            | Self::Running { process, .. }
            | Self::Stopping(process) => process.recv().await.map(Some),
        }
    }
}

/// Runs one step of a start, whose drive or program may hang.
async fn blocking<T: Send + 'static>(
    starts: &SingleFlight,
    step: impl FnOnce() -> Result<T, RelayError> + Send + 'static,
) -> Result<T, RelayError> {
    run_blocking(starts.begin()?, LIMIT, step).await?
}
