//! Looks for signs that the machine is back. Nothing here has a timer of its own: the
//! kernel says that the clock was set, a pass sees the link, and WireGuard is looked at
//! when systemd's watchdog wakes the agent anyway.

use std::time::Instant;

use tokio::task::JoinSet;

use super::view::View;
use crate::{
    agent::endpoints::Reading,
    model::{Clocks, Resume, span},
    observe::{self, Devices},
    plan::{ClockChange, Handshakes, LEAST_STEP_MS, clock_change, last_step, link_back},
};

/// What was seen before.
#[derive(Debug)]
pub(super) struct Signs {
    clocks: Clocks,
    /// The last step of the wall clock, in milliseconds.
    last_step: i64,
    /// Whether the node was connected in a pass.
    was_connected: bool,
    /// Since when it is not any more.
    lost: Option<Instant>,
    /// When it was back the last time.
    back: Option<Instant>,
    handshakes: Handshakes,
    /// When devices are read next, in seconds since 1970.
    due_unix: u64,
    devices: Devices,
    reads: JoinSet<Reading>,
}

impl Signs {
    pub(super) fn new() -> Self {
        Self {
            clocks: observe::clocks(),
            last_step: 0,
            was_connected: false,
            lost: None,
            back: None,
            handshakes: Handshakes::default(),
            due_unix: 0,
            devices: Devices::default(),
            reads: JoinSet::new(),
        }
    }

    /// The wall clock was set.
    pub(super) fn clock_was_set(&mut self) -> Option<Resume> {
        let now = observe::clocks();
        let before = std::mem::replace(&mut self.clocks, now);
        let change = clock_change(&before, &now, self.last_step);
        if change == ClockChange::None {
            return None;
        }
        // Their stamps are by the clock before.
        (self.handshakes, self.due_unix) = (Handshakes::default(), 0);
        match change {
            ClockChange::None => None,
            ClockChange::Set(step) => {
                self.last_step = last_step(self.last_step, step);
                log_step(step);
                None
            }
            ClockChange::Back(resume) => {
                self.last_step = 0;
                Some(resume)
            }
        }
    }

    /// Takes what a pass has seen.
    pub(super) fn look(&mut self, view: &View) -> Option<Resume> {
        let now = Instant::now();
        if !view.is_connected() {
            if self.was_connected {
                self.lost.get_or_insert(now);
            }
            return None;
        }
        self.was_connected = true;
        let away = now.duration_since(self.lost.take()?);
        let last = self.back.map(|back| now.duration_since(back));
        let resume = link_back(away, last, observe::now_unix());
        if resume.is_some() {
            self.back = Some(now);
        }
        resume
    }

    /// Reads the devices where it is time for that, or at once. Without one this costs
    /// nothing.
    pub(super) fn read_handshakes(&mut self, view: &View, at_once: bool) {
        let devices = &view.scene.devices;
        let is_due = at_once || observe::now_unix() >= self.due_unix;
        if devices.is_empty() || !self.reads.is_empty() || !is_due {
            return;
        }
        let (reader, devices) = (self.devices.clone(), devices.clone());
        self.reads
            .spawn(async move { reader.read_plain(&devices).await });
    }

    /// Whether devices are being read.
    #[cfg(test)]
    pub(super) fn is_reading(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Waits until the devices are read, and says whether they show that the machine is back.
    /// Cancel safe.
    pub(super) async fn handshakes(&mut self) -> (Reading, Option<Resume>) {
        let devices = match self.reads.join_next().await {
            Some(devices) => devices.unwrap_or_default(),
            None => std::future::pending().await,
        };
        let now = observe::now_unix();
        let resume = self.handshakes.update(&devices, now);
        self.due_unix = self.handshakes.due_unix(now);
        (devices, resume)
    }
}

/// A step of the wall clock that is no sleep, in milliseconds.
fn log_step(step: i64) {
    let by = step.unsigned_abs();
    let way = if step < 0 { "back" } else { "forward" };
    if by < LEAST_STEP_MS {
        tracing::debug!(event = "clock", "the wall clock was set {way} by {by} ms");
        return;
    }
    let by = span(by / 1_000);
    tracing::info!(
        event = "clock",
        "the wall clock was set {way} by {by}; the machine did not sleep"
    );
}
