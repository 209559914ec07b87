//! Notifications to the service manager: READY, STATUS, WATCHDOG and STOPPING by
//! sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

use super::journal;

/// Sends notifications; does nothing without `$NOTIFY_SOCKET`.
#[derive(Debug, Default)]
pub struct Manager {
    status: String,
}

impl Manager {
    /// How often to notify the watchdog: half of its timeout.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled()
            .map(|limit| limit / 2)
            .filter(|period| !period.is_zero())
    }

    /// The service is up.
    pub fn ready(&mut self) {
        send(&[NotifyState::Ready, NotifyState::Status(&self.status)]);
    }

    /// The loop is alive. Also writes the journal's expired summaries.
    pub fn alive(&self) {
        journal::flush_expired();
        send(&[NotifyState::Watchdog]);
    }

    /// The service is going down.
    pub fn stopping(&mut self) {
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// One line for `systemctl status`; sent only when it changes.
    pub fn status(&mut self, line: &str) {
        if self.status != line {
            line.clone_into(&mut self.status);
            send(&[NotifyState::Status(line)]);
        }
    }
}

/// Errors are ignored: the agent works without a service manager.
fn send(state: &[NotifyState]) {
    sd_notify::notify(state).unwrap_or_default();
}
