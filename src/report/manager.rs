//! Notifications to the service manager: READY, STATUS, WATCHDOG and STOPPING by
//! sd_notify(3).

use std::{
    env,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

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

    /// Whether there is one.
    #[must_use]
    pub fn is_there() -> bool {
        env::var_os("NOTIFY_SOCKET").is_some()
    }

    /// Has the manager keep an open file for the next process of this service
    /// (`FileDescriptorStoreMax=`), until the service is stopped.
    pub fn keep_open(name: &str, file: BorrowedFd<'_>) {
        let state = [NotifyState::FdStore, NotifyState::FdName(name)];
        sd_notify::notify_with_fds(&state, &[file]).unwrap_or_default();
    }

    /// Has it close what it keeps under this name.
    pub fn close(name: &str) {
        send(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }

    /// What an earlier process of this service had it keep, by name. To be asked once.
    #[must_use]
    pub fn kept_open() -> Vec<(String, OwnedFd)> {
        let kept = sd_listen_fds::get().unwrap_or_default();
        let kept = kept.into_iter().filter_map(|(name, file)| {
            let file = file.into_std();
            // No program of ours gets it.
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).ok()?;
            Some((name?, file))
        });
        kept.collect()
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
