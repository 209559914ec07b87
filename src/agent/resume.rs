//! The machine is back: goes through what a sleep of Windows breaks, in order, beside the
//! passes, and tells the story in one line.

mod here;
mod signs;
mod steps;
mod tunnels;
mod view;

use std::{future::pending, pin::Pin};

use tokio::{
    select,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        watch,
    },
    time::Instant,
};

pub(super) use self::view::{Answers, Place, RelayView, Scene, View};
use self::{
    here::{Calls, Task},
    signs::Signs,
};
use super::endpoints::{Endpoints, Reading};
use crate::{
    backoff::{Retry, until},
    model::{Finding, Recovery, RecoveryStep, Resume, ResumeSign, StepOutcome, micros},
    observe,
    plan::unrecovered,
    report::RecoveryEntry,
};

/// What the loop is to do for a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Begin: retry everything, and ask Windows and the relay again. A call to Windows takes
    /// long, so it is made beside the first steps.
    Begin,
    /// Retry everything inside Linux, and ask the relay for a sign of life.
    Retry,
    /// Ask Windows again.
    AskWindows,
    /// Publish how it ended.
    Publish,
    /// Take the devices that were read ([`Resumption::take_reading`]).
    TakeReading,
}

type Steps = Vec<(RecoveryStep, StepOutcome)>;
/// Steps under way; dropping it ends them where they wait.
type Ending = Pin<Box<dyn Future<Output = Steps>>>;

/// A recovery under way.
struct Running {
    resume: Resume,
    /// How often the machine slept.
    times: u32,
    begun: Instant,
    before: View,
    /// Whether this is another look at what failed, which has no story of its own.
    again: bool,
    steps: Ending,
}

/// Signs of a sleep, and the recovery after it.
pub(super) struct Resumption {
    signs: Signs,
    view: watch::Sender<View>,
    /// The last one of a connected node: a pass may see the link go before the clock is
    /// set.
    connected: Option<View>,
    orders: UnboundedReceiver<Order>,
    ordered: UnboundedSender<Order>,
    running: Option<Running>,
    /// What has failed, and from where to go on.
    failed: Option<(Vec<RecoveryStep>, Resume, View)>,
    retry: Retry,
    recover: Box<dyn Fn(Task) -> Ending>,
    /// The last recovery.
    pub(super) last: Option<RecoveryEntry>,
    /// What did not recover.
    pub(super) findings: Vec<Finding>,
    reading: Reading,
}

impl Resumption {
    /// Looks names of peers up by these.
    pub(super) fn new(endpoints: Endpoints) -> Self {
        let calls = Calls::new(endpoints);
        Self::with(Box::new(move |task| calls.recover(task)))
    }

    fn with(recover: Box<dyn Fn(Task) -> Ending>) -> Self {
        let (ordered, orders) = mpsc::unbounded_channel();
        Self {
            signs: Signs::new(),
            view: watch::Sender::default(),
            connected: None,
            orders,
            ordered,
            running: None,
            failed: None,
            retry: Retry::default(),
            recover,
            last: None,
            findings: Vec::new(),
            reading: Reading::new(),
        }
    }

    /// The wall clock was set. Says whether a recovery begins.
    pub(super) fn clock_was_set(&mut self) -> bool {
        let resume = self.signs.clock_was_set();
        let begins = resume.is_some();
        if let Some(resume) = resume {
            self.begin(resume);
        }
        begins
    }

    /// Takes what the loop knows after a pass.
    pub(super) fn see(&mut self, view: View) {
        // The pass may have come before the kernel's word.
        self.clock_was_set();
        let back = self.signs.look(&view);
        self.view.send_if_modified(|before| {
            let differs = *before != view;
            before.clone_from(&view);
            differs
        });
        // A recovery under way waits for the link itself.
        if let Some(resume) = back.filter(|_| !self.is_recovering()) {
            self.begin(resume);
        }
        if view.is_connected() {
            self.connected = Some(view);
        }
    }

    /// Reads WireGuard's devices, where it is time for that, or at once.
    pub(super) fn read_handshakes(&mut self, at_once: bool) {
        self.signs.read_handshakes(&self.view.borrow(), at_once);
    }

    /// The devices that were read last, once.
    pub(super) fn take_reading(&mut self) -> Reading {
        std::mem::take(&mut self.reading)
    }

    /// Waits until the loop is to do something. Cancel safe.
    pub(super) async fn order(&mut self) -> Order {
        loop {
            select! {
                Some(order) = self.orders.recv() => return order,
                (reading, resume) = self.signs.handshakes() => {
                    self.reading = reading;
                    if let Some(resume) = resume.filter(|_| !self.is_recovering()) {
                        self.begin(resume);
                    }
                    return Order::TakeReading;
                }
                steps = steps_of(&mut self.running) => {
                    self.ended(steps);
                    return Order::Publish;
                }
                () = until(self.retry.due) => self.look_again(),
            }
        }
    }

    /// Whether steps are under way, of whichever kind.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether a recovery is under way, other than another look at what has failed.
    fn is_recovering(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.again)
    }

    /// Begins a recovery. One under way is begun again, as the same story.
    fn begin(&mut self, resume: Resume) {
        let under_way = self.running.take().filter(|running| !running.again);
        let slept = u32::from(resume.sign == ResumeSign::Clock);
        let (resume, times, begun, before) = match under_way {
            None => {
                let before = self.connected.clone().unwrap_or_default();
                (resume, slept, Instant::now(), before)
            }
            Some(Running {
                resume: first,
                times,
                begun,
                before,
                ..
            }) => {
                let times = times.saturating_add(slept);
                (first.followed_by(resume), times, begun, before)
            }
        };
        tracing::debug!(event = "resume", sign = %resume.sign, "back; checking what is broken");
        (self.failed, self.retry) = (None, Retry::default());
        self.ordered.send(Order::Begin).unwrap_or_default();
        let steps = self.steps(resume, before.clone(), &RecoveryStep::ALL, true);
        self.running = Some(Running {
            resume,
            times,
            begun,
            before,
            again: false,
            steps,
        });
    }

    fn steps(&self, resume: Resume, before: View, steps: &[RecoveryStep], asked: bool) -> Ending {
        (self.recover)(Task {
            resume,
            before,
            steps: steps.to_vec(),
            view: self.view.subscribe(),
            orders: self.ordered.clone(),
            asked,
        })
    }

    /// Looks again at what has failed.
    fn look_again(&mut self) {
        self.retry.due = None;
        let Some((failed, resume, before)) = self.failed.clone() else {
            return;
        };
        if self.running.is_none() {
            let steps = self.steps(resume, before.clone(), &failed, false);
            self.running = Some(Running {
                resume,
                times: 0,
                begun: Instant::now(),
                before,
                again: true,
                steps,
            });
        }
    }

    fn ended(&mut self, steps: Steps) {
        let Some(running) = self.running.take() else {
            return;
        };
        let recovery = Recovery {
            resume: running.resume,
            times: running.times,
            steps,
            took: running.begun.elapsed(),
        };
        self.findings = unrecovered(&recovery);
        let bad = recovery.steps.iter().filter(|(_, outcome)| {
            matches!(outcome, StepOutcome::Failed(_) | StepOutcome::Untried(_))
        });
        let bad: Vec<RecoveryStep> = bad.map(|(step, _)| *step).collect();
        if self.findings.is_empty() {
            (self.failed, self.retry) = (None, Retry::default());
        } else {
            self.failed = Some((bad, running.resume, running.before));
            self.retry.failed(Instant::now().into_std());
        }
        if !running.again {
            let entry = RecoveryEntry::of(&recovery, observe::now_unix());
            log(&entry, &recovery);
            self.last = Some(entry);
        }
    }
}

/// The steps of what is under way, once they have ended.
async fn steps_of(running: &mut Option<Running>) -> Steps {
    match running {
        Some(running) => running.steps.as_mut().await,
        None => pending().await,
    }
}

/// The story, in one line.
fn log(entry: &RecoveryEntry, recovery: &Recovery) {
    let words = |steps: &[RecoveryStep]| {
        let words: Vec<String> = steps.iter().map(ToString::to_string).collect();
        words.join(" ")
    };
    tracing::info!(
        event = "resume",
        slept_s = entry.away_s,
        sign = %entry.sign,
        broken = words(&entry.broken),
        repaired = words(&entry.repaired),
        failed = words(&entry.failed),
        duration_us = micros(recovery.took),
        "{}",
        entry.summary
    );
}

#[cfg(test)]
mod tests;
