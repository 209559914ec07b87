//! What there is of a relay's process.

use std::{future::pending, path::PathBuf, time::Instant};

use tokio::task::JoinHandle;

use wslmesh_relay::protocol::Event;

use crate::{
    blocking::{BlockingError, LIMIT, SingleFlight, run_blocking},
    host::relay::{self, Process, RelayError, Started},
    model::RelayPlace,
};

/// The stages of its life. Dropping any of them leaves no process behind.
#[derive(Debug)]
pub(super) enum Stage {
    /// None is needed.
    Idle,
    /// Being started, in a thread of its own.
    Starting(JoinHandle<Result<Result<Started, RelayError>, BlockingError>>),
    /// Started, and has not said that it is ready.
    Greeting {
        process: Process,
        /// Until when it must have.
        deadline: Instant,
    },
    /// Ready.
    Running {
        process: Process,
        since: Instant,
        /// Until when it must have confirmed what it was told last.
        confirm: Option<Instant>,
    },
    /// Asked to end.
    Stopping {
        process: Process,
        /// Until when it must have.
        deadline: Instant,
    },
    /// It fell; the next start comes later.
    Waiting { until: Instant },
}

/// What happened to it.
#[derive(Debug)]
pub(super) enum Step {
    Started(Result<Started, RelayError>),
    Heard(Result<Event, RelayError>),
}

impl Stage {
    /// Begins a start.
    pub(super) fn start(starts: &SingleFlight, place: RelayPlace, lib: PathBuf) -> Self {
        let permit = starts.begin();
        let call = async { run_blocking(permit?, LIMIT, move || relay::start(&place, &lib)).await };
        Self::Starting(tokio::spawn(call))
    }

    /// When its patience is over.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Idle | Self::Starting(_) => None,
            Self::Greeting { deadline, .. } | Self::Stopping { deadline, .. } => Some(*deadline),
            Self::Running { confirm, .. } => *confirm,
            Self::Waiting { until } => Some(*until),
        }
    }

    /// Waits for what happens next; nothing is lost when the wait is dropped.
    pub(super) async fn step(&mut self) -> Step {
        match self {
            Self::Idle | Self::Waiting { .. } => pending().await,
            Self::Starting(call) => {
                let started = call.await.ok().and_then(Result::ok);
                Step::Started(started.unwrap_or(Err(RelayError::Hangs(LIMIT))))
            }
            Self::Greeting { process, .. }
            | Self::Running { process, .. }
            | Self::Stopping { process, .. } => Step::Heard(process.recv().await),
        }
    }
}
