//! WSL's networking mode, and when to query it again.

use std::time::Instant;

use crate::{
    backoff::Retry,
    model::{Mode, ModeState},
};

/// What is known of the mode.
#[derive(Debug)]
pub(super) struct ModeQuery {
    /// The last answer.
    pub(super) state: ModeState,
    retry: Retry,
}

impl Default for ModeQuery {
    fn default() -> Self {
        Self {
            state: ModeState::Pending,
            retry: Retry::default(),
        }
    }
}

impl ModeQuery {
    pub(super) fn known(&self) -> Option<Mode> {
        self.state.known()
    }

    /// Takes an answer.
    pub(super) fn answered(&mut self, mode: ModeState) {
        if mode.known().is_some() {
            self.retry.reset();
        } else if self.known().is_some() {
            // The mode cannot change while the virtual machine lives: a failed
            // query does not replace an answer.
            return;
        } else {
            self.retry.failed(Instant::now());
        }
        if self.state != mode {
            tracing::info!(event = "mode", mode = %mode, "networking mode: {mode}");
        }
        self.state = mode;
    }

    /// When the next query is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry.due
    }

    /// Whether it is due; it counts as begun then.
    pub(super) fn take_due(&mut self) -> bool {
        self.retry.take_due(Instant::now())
    }
}
