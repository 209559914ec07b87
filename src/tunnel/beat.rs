//! When the switch is asked for a sign of life, and when it counts as dead. Nothing is due
//! while nothing is sent: an idle tunnel has no wakeups.

use std::time::{Duration, Instant};

/// Between two questions while packets are sent.
const PERIOD: Duration = Duration::from_millis(500);
/// A switch that owes an answer and sends nothing for so long is dead.
const DEAD: Duration = Duration::from_millis(1500);

/// What was sent and received so far, in any unit that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Traffic {
    /// To the switch.
    pub(super) sent: u64,
    /// From the switch.
    pub(super) heard: u64,
}

/// The state of the questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Beat {
    /// Nothing was sent since the last answer.
    #[default]
    Idle,
    /// An answer is owed.
    Asked {
        /// When it was asked.
        at: Instant,
        /// Since when nothing was received.
        silent: Instant,
        /// At the time of `silent`, and what had been sent at the time of `at`.
        then: Traffic,
    },
    /// It answered. The next question is due then, if anything is sent until then.
    Resting {
        /// When it is due.
        until: Instant,
        /// What had been sent at the time of the last one.
        sent: u64,
    },
}

/// What to do when time has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask, and call [`Beat::asked`].
    Ask,
    /// Nothing was sent since the last question: nothing is due any more.
    Quiet,
    /// The switch is dead.
    Dead,
}

impl Beat {
    /// When [`Beat::expire`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Asked { silent, .. } => Some(*silent + DEAD),
            Self::Resting { until, .. } => Some(*until),
        }
    }

    /// It was asked.
    pub(super) fn asked(&mut self, now: Instant, then: Traffic) {
        *self = Self::Asked {
            at: now,
            silent: now,
            then,
        };
    }

    /// It answered the last question.
    pub(super) fn answered(&mut self) {
        if let Self::Asked { at, then, .. } = self {
            *self = Self::Resting {
                until: *at + PERIOD,
                sent: then.sent,
            };
        }
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant, traffic: Traffic) -> Due {
        match self {
            Self::Resting { until, sent } if now >= *until => {
                if traffic.sent != *sent {
                    return Due::Ask;
                }
                *self = Self::Idle;
                Due::Quiet
            }
            Self::Asked { silent, then, .. } if now >= *silent + DEAD => {
                // A link that is full in both directions answers late and is not dead.
                if traffic.heard == then.heard {
                    return Due::Dead;
                }
                then.heard = traffic.heard;
                *silent = now;
                Due::Nothing
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
