//! The story of a recovery, for the journal and the status.

use serde::{Deserialize, Serialize};

use crate::model::{Recovery, RecoveryStep, ResumeSign, StepOutcome, span};

/// The last recovery after a sleep of Windows or a time without a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecoveryEntry {
    /// When it ended, in seconds since 1970 (UTC).
    pub ended_unix: u64,
    /// What showed that the machine was back.
    pub sign: ResumeSign,
    /// How long it was away, in seconds.
    pub away_s: u64,
    /// How long the recovery took, in milliseconds.
    pub duration_ms: u64,
    /// Steps at which something was wrong.
    pub broken: Vec<RecoveryStep>,
    /// Those of them that were well at the end.
    pub repaired: Vec<RecoveryStep>,
    /// The others.
    pub failed: Vec<RecoveryStep>,
    /// The same in one sentence.
    pub summary: String,
}

impl RecoveryEntry {
    /// Of a recovery that ended then.
    #[must_use]
    pub fn of(recovery: &Recovery, ended_unix: u64) -> Self {
        let such = |is: fn(&StepOutcome) -> bool| {
            let steps = recovery.steps.iter().filter(|(_, outcome)| is(outcome));
            Vec::from_iter(steps.map(|(step, _)| *step))
        };
        let repaired = such(|outcome| matches!(outcome, StepOutcome::Repaired(_)));
        let failed =
            such(|outcome| matches!(outcome, StepOutcome::Failed(_) | StepOutcome::Untried(_)));
        Self {
            ended_unix,
            sign: recovery.resume.sign,
            away_s: recovery.resume.away.as_secs(),
            duration_ms: u64::try_from(recovery.took.as_millis()).unwrap_or(u64::MAX),
            broken: such(|outcome| !matches!(outcome, StepOutcome::Skipped | StepOutcome::Well)),
            repaired,
            failed,
            summary: summary(recovery),
        }
    }
}

/// `back after 8 h asleep in 1.9 s: DNS answered after 0.6 s`.
fn summary(recovery: &Recovery) -> String {
    let away = span(recovery.resume.away.as_secs());
    let away = match (recovery.resume.sign, recovery.times) {
        (ResumeSign::Clock, ..=1) => format!("{away} asleep"),
        (ResumeSign::Clock, times) => format!("{away} asleep, {times} times in a row,"),
        (ResumeSign::Link, _) => format!("{away} without a network"),
        (ResumeSign::Handshakes, _) => format!("{away} without a handshake"),
    };
    let clauses: Vec<String> = recovery.steps.iter().filter_map(clause).collect();
    let is_clock = |(step, outcome): &(RecoveryStep, StepOutcome)| {
        *step == RecoveryStep::Time && matches!(outcome, StepOutcome::Repaired(_))
    };
    let was_set = recovery.steps.iter().any(is_clock);
    let what = match clauses.as_slice() {
        [] => "nothing was broken".to_owned(),
        [clock] if was_set => format!("{clock}, nothing else was broken"),
        clauses => clauses.join(", "),
    };
    let took = recovery.took.as_secs_f64();
    format!("back after {away} in {took:.1} s: {what}")
}

fn clause((step, outcome): &(RecoveryStep, StepOutcome)) -> Option<String> {
    match outcome {
        StepOutcome::Skipped | StepOutcome::Well => None,
        StepOutcome::Repaired(note) => Some(note.clone()),
        StepOutcome::Failed(why) => Some(format!("{} failed ({why})", step.in_words())),
        StepOutcome::Untried(needed) => Some(format!(
            "{} was left out (it needs {})",
            step.in_words(),
            needed.in_words()
        )),
    }
}

#[cfg(test)]
mod tests;
