//! When Windows is asked whether it still has the rules of the port proxy, where that is
//! configured: another program may have reset them (`netsh interface portproxy reset`), and
//! no event tells.

use std::time::{Duration, Instant};

/// When the next question is due. It rides on systemd's watchdog, so that it wakes nothing.
#[derive(Debug, Default)]
pub(super) struct Verify {
    due: Option<Instant>,
    /// Whether no watchdog comes, so that it needs a timer of its own.
    alone: bool,
}

impl Verify {
    /// Nothing is due yet.
    pub(super) fn new(has_watchdog: bool) -> Self {
        Self {
            due: None,
            alone: !has_watchdog,
        }
    }

    /// Goes by the configuration, and by whether the port proxy has rules for us.
    pub(super) fn follow(&mut self, every: Option<Duration>, has_rules: bool, now: Instant) {
        let next = every.filter(|_| has_rules).map(|every| now + every);
        self.due = next.map(|next| self.due.map_or(next, |due| due.min(next)));
    }

    /// Whether it is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The same, and it is due no more.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.is_due(now);
        if is_due {
            self.due = None;
        }
        is_due
    }

    /// Windows has answered, for whatever reason: the period begins anew.
    pub(super) fn asked(&mut self) {
        self.due = None;
    }

    /// When it has to wake the loop.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.due.filter(|_| self.alone)
    }
}

#[cfg(test)]
mod tests;
