//! The relay as a unit of its own: taken over from an earlier agent, and stopped.

use std::time::Instant;

use super::{
    Supervisor,
    reported::unix_ms,
    state::{DEADLINE, State},
};
use crate::host::relay::{Pipes, Process, unit};

impl Supervisor {
    /// Under systemd a relay becomes a unit of its own, and that of an earlier agent goes
    /// on: it is asked what it has.
    pub(in super::super) fn in_unit(mut self, left: Option<Pipes>) -> Self {
        self.in_unit = true;
        let Some(pipes) = left else {
            return self;
        };
        // Without its file it is not known where it runs.
        let Some(wanted) = self.table.wanted().cloned() else {
            self.kill_unit();
            return self;
        };
        // Above all numbers of the agent before, whose clock was this one.
        self.serial = unix_ms();
        match Process::attach(pipes, self.serial) {
            Ok(process) => {
                let now = Instant::now();
                self.listeners.sent(self.serial, now, Vec::new());
                self.state = State::AwaitingReady(process);
                self.deadline = Some(now + DEADLINE);
                self.wanted = Some(wanted);
            }
            // It ended with its agent, or is to be replaced.
            Err(_) => self.kill_unit(),
        }
        self
    }

    /// Stops the unit, beside everything else but the next start, which waits for it.
    pub(super) fn kill_unit(&mut self) {
        let role = self.role;
        self.killing = Some(tokio::spawn(async move {
            if let Err(error) = unit::stop(role).await {
                tracing::info!(event = "relay", "the relay's unit was not stopped: {error}");
            }
        }));
    }
}
