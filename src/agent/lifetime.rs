//! Whether WSL stops this distribution, and what keeps it from that: one `wsl.exe` on
//! Windows, where `[lifetime] keep-alive` is on.
//!
//! Each agent does this for its own distribution, also on standby.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use tokio::{select, task::JoinSet};

use crate::{
    backoff::{Retry, until},
    blocking::{BlockingError, LIMIT, Permit, SingleFlight, run_async},
    host::{
        anchor::{self, Anchor, AnchorError},
        relay::Started,
    },
    interop,
    model::{Code, Finding, Idle, IdleFacts, IdleFate},
    observe::now_unix,
    plan,
    report::LifetimeEntry,
};

/// How long `wsl.exe` may take to open its session, and to answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// One that ran for longer is started again without the delay of those before it.
const LONG_RUN: Duration = Duration::from_secs(60);

/// The state of `wsl.exe`. Dropping any of them leaves no process behind.
#[derive(Debug, Default)]
enum State {
    /// It is not wanted.
    #[default]
    Off,
    /// Being started, in a blocking task.
    Starting(JoinSet<Result<Started, AnchorError>>),
    /// Started.
    Running(Anchor),
    /// Failed; the next start is scheduled.
    Waiting,
}

impl State {
    /// Waits for the end of the start, with what was started, or for an answer. Cancel safe.
    async fn next(&mut self) -> Result<Option<Started>, AnchorError> {
        match self {
            Self::Off | Self::Waiting => pending().await,
            Self::Starting(start) => {
                let ended = start.join_next().await.and_then(Result::ok);
                let interrupted = || Err(BlockingError::Interrupted.into());
                ended.unwrap_or_else(interrupted).map(Some)
            }
            Self::Running(anchor) => anchor.answered().await.map(|()| None),
        }
    }
}

/// What is known of this distribution's life, and what holds it open.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    /// Whether it was looked at.
    looked: bool,
    looks: JoinSet<Idle>,
    look: SingleFlight,
    idle: Option<Idle>,
    /// While one start hangs there is no second.
    starts: SingleFlight,
    state: State,
    /// When it must have answered, or is started again.
    deadline: Option<Instant>,
    retry: Retry,
    /// Since when it holds, by both clocks.
    held: Option<(Instant, u64)>,
    failure: Option<Finding>,
}

impl Lifetime {
    /// Looks what `.wslconfig` says now, beside the loop.
    pub(super) fn look_again(&mut self) {
        if !interop::is_wsl() {
            return;
        }
        // One that still hangs will answer.
        if let Ok(permit) = self.look.begin() {
            self.looks.spawn(look(permit));
        }
    }

    /// Holds this distribution open, or no longer.
    pub(super) fn follow(&mut self, hold: bool) {
        if !std::mem::replace(&mut self.looked, true) {
            self.look_again();
        }
        match (hold, &self.state) {
            (true, State::Off) if interop::is_wsl() => {
                self.start();
            }
            (false, State::Starting(_) | State::Running(_) | State::Waiting) => {
                (self.state, self.deadline) = (State::Off, None);
                self.failure = None;
                self.retry.reset();
                if self.held.take().is_some() {
                    tracing::info!(
                        event = "lifetime",
                        "this distribution is no longer held open"
                    );
                }
            }
            (true, _) | (false, State::Off) => {}
        }
    }

    /// Makes the next start immediate: the cause of the failure may be gone. One that runs
    /// is asked for an answer.
    pub(super) fn retry(&mut self) {
        self.retry.reset();
        match &mut self.state {
            State::Waiting => self.deadline = Some(Instant::now()),
            State::Running(anchor) if self.deadline.is_none() => {
                anchor.ask();
                self.deadline = Some(Instant::now() + DEADLINE);
            }
            State::Off | State::Starting(_) | State::Running(_) => {}
        }
    }

    /// Waits until there is something else to publish. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            let changed = select! {
                // A look never panics and is never aborted.
                Some(Ok(idle)) = self.looks.join_next(), if !self.looks.is_empty() => {
                    self.record(idle)
                }
                next = self.state.next() => self.handle(next),
                () = until(self.deadline) => self.on_deadline(),
            };
            if changed {
                return;
            }
        }
    }

    /// What the status document has of it.
    pub(super) fn entry(&self) -> Option<LifetimeEntry> {
        if let Some((_, since)) = self.held {
            return Some(LifetimeEntry {
                state: IdleFate::Kept.word().to_owned(),
                detail: "held open by wslmesh".to_owned(),
                remediation: None,
                held_since_unix: Some(since),
            });
        }
        self.idle.as_ref().map(|idle| LifetimeEntry {
            state: idle.fate.word().to_owned(),
            detail: idle.detail.clone(),
            remediation: idle.fix.clone(),
            held_since_unix: None,
        })
    }

    /// Why it is not held open.
    pub(super) fn failure(&self) -> Option<&Finding> {
        self.failure.as_ref()
    }

    /// Like all that handle an event: says whether there is something else to publish.
    fn record(&mut self, idle: Idle) -> bool {
        if self.idle.as_ref() == Some(&idle) {
            return false;
        }
        if idle.fate == IdleFate::Stopped && matches!(self.state, State::Off) {
            tracing::info!(event = "lifetime", "{}", idle.detail);
        }
        self.idle = Some(idle);
        true
    }

    fn handle(&mut self, next: Result<Option<Started>, AnchorError>) -> bool {
        let started = match next {
            Ok(None) => return self.answered(),
            Ok(Some(started)) => Anchor::adopt(started),
            Err(error) => Err(error),
        };
        match started {
            Ok(mut anchor) => {
                anchor.ask();
                self.state = State::Running(anchor);
                self.deadline = Some(Instant::now() + DEADLINE);
                false
            }
            Err(error) => self.fail(&error),
        }
    }

    fn answered(&mut self) -> bool {
        self.deadline = None;
        if self.held.is_some() {
            return false;
        }
        self.held = Some((Instant::now(), now_unix()));
        self.failure = None;
        tracing::info!(
            event = "lifetime",
            "this distribution is held open by wsl.exe on Windows"
        );
        true
    }

    fn on_deadline(&mut self) -> bool {
        match self.state {
            State::Waiting => self.start(),
            State::Running(_) => self.fail(&AnchorError::Timeout(DEADLINE)),
            State::Off | State::Starting(_) => {
                self.deadline = None;
                false
            }
        }
    }

    fn start(&mut self) -> bool {
        let permit = match self.starts.begin() {
            Ok(permit) => permit,
            Err(error) => return self.fail(&error.into()),
        };
        let mut start = JoinSet::new();
        start.spawn(async { run_async(permit, LIMIT, anchor::start).await? });
        (self.state, self.deadline) = (State::Starting(start), None);
        false
    }

    fn fail(&mut self, error: &AnchorError) -> bool {
        let now = Instant::now();
        let held = self.held.take();
        if held.is_some_and(|(since, _)| now >= since + LONG_RUN) {
            self.retry.reset();
        }
        self.deadline = Some(self.retry.failed(now));
        self.state = State::Waiting;
        let finding = Finding::new(Code::KeepAliveFailed, "", error.to_string());
        let is_new = self.failure.as_ref() != Some(&finding);
        self.failure = Some(finding);
        is_new || held.is_some()
    }
}

/// Reads `.wslconfig`, and asks WSL for its version where that matters.
async fn look(permit: Permit) -> Idle {
    let read = || async {
        let timeouts = interop::idle_timeouts();
        let is_set = timeouts.as_ref().is_ok_and(|one| one.instance_ms.is_some());
        let version = if is_set {
            interop::ask_wsl_version().await
        } else {
            None
        };
        (timeouts, version)
    };
    let read = run_async(permit, LIMIT, read).await;
    let (timeouts, version) = read.unwrap_or_else(|error| (Err(error.to_string()), None));
    plan::idle(&IdleFacts {
        timeouts,
        knows: interop::knows_idle_timeout(version.as_deref()),
        may_be_started: false,
        sessions: None,
    })
}
