//! The service manager: READY, STATUS, WATCHDOG and STOPPING by sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

use super::journal;

/// The line to systemd, or to nobody where none was opened.
#[derive(Debug, Default)]
pub struct Manager {
    status: String,
}

impl Manager {
    /// How often the watchdog wants to hear from us; half of what it allows.
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

    /// The loop is alive. What the journal holds back has a chance to be said.
    pub fn alive(&self) {
        journal::say_due();
        send(&[NotifyState::Watchdog]);
    }

    /// The service is going down.
    pub fn stopping(&mut self) {
        send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// One line for `systemctl status`; said only when it changes.
    pub fn status(&mut self, line: &str) {
        if self.status != line {
            line.clone_into(&mut self.status);
            send(&[NotifyState::Status(line)]);
        }
    }
}

/// A manager that does not listen is no reason to fail.
fn send(state: &[NotifyState]) {
    sd_notify::notify(state).unwrap_or_default();
}
