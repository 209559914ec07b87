//! WSL's networking mode, and when to query it again.

use std::time::Instant;

use crate::{backoff::Retry, model::ModeState};

/// What is known of the mode.
#[derive(Debug, Default)]
pub(super) struct ModeQuery {
    /// The last answer.
    pub(super) state: ModeState,
    /// When the next query is due.
    pub(super) retry: Retry,
}

impl ModeQuery {
    /// Takes an answer.
    pub(super) fn answered(&mut self, mode: ModeState) {
        if mode.known().is_some() {
            self.retry.reset();
        } else if self.state.known().is_some() {
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
}
