//! The steps of a recovery, one after the other: look, repair, look again, until it is
//! well or the step's time is over.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::model::{RecoveryStep, StepOutcome};

/// Between two looks, doubling: most things are well at once.
const SOON: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(500);
/// Until the next repair, doubling.
const AGAIN: Duration = Duration::from_secs(1);

/// What a look at a step has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    /// It has no meaning here.
    Skip,
    /// All is well.
    Well {
        /// What is right, as a clause of the journal's line.
        note: String,
        /// Whether it was wrong before this look.
        is_news: bool,
    },
    /// Something is wrong, for this reason.
    Broken(String),
}

/// What a recovery looks at and repairs. Both may hang: the step's deadline cuts them
/// off, and what comes later is not waited for.
pub(super) trait World {
    /// Looks whether a step is well.
    async fn check(&self, step: RecoveryStep) -> Check;

    /// Does what can be done about a step that is not.
    async fn repair(&self, step: RecoveryStep);

    /// Waits until a look may show something else.
    async fn changed(&self);
}

/// Goes through these steps. One that fails does not keep those from being tried that
/// do not need it.
pub(super) async fn recover(
    world: &impl World,
    steps: &[RecoveryStep],
) -> Vec<(RecoveryStep, StepOutcome)> {
    let mut ended: Vec<(RecoveryStep, StepOutcome)> = Vec::new();
    for step in steps {
        let is_bad = |needed: &RecoveryStep| {
            let of_it = ended.iter().find(|(step, _)| step == needed);
            let outcome = of_it.map(|(_, outcome)| outcome);
            matches!(
                outcome,
                Some(StepOutcome::Failed(_) | StepOutcome::Untried(_))
            )
        };
        let outcome = match step.needs().filter(is_bad) {
            Some(needed) => StepOutcome::Untried(needed),
            None => {
                let begun = Instant::now();
                let outcome = go_through(world, *step).await;
                let took = begun.elapsed().as_millis();
                tracing::debug!(event = "resume", "step {step}: {took} ms: {outcome:?}");
                outcome
            }
        };
        ended.push((*step, outcome));
    }
    ended
}

async fn go_through(world: &impl World, step: RecoveryStep) -> StepOutcome {
    let mut broken = None;
    let begun = Instant::now();
    let attempts = async {
        let (mut pause, mut gap, mut due) = (SOON, AGAIN, begun);
        loop {
            match world.check(step).await {
                Check::Skip => return StepOutcome::Skipped,
                Check::Well { note, is_news } if is_news || broken.is_some() => {
                    return StepOutcome::Repaired(note);
                }
                Check::Well { .. } => return StepOutcome::Well,
                Check::Broken(why) => {
                    if broken.is_none() {
                        tracing::debug!(event = "resume", "step {step} is broken: {why}");
                    }
                    broken = Some(why);
                }
            }
            if Instant::now() >= due {
                world.repair(step).await;
                due = Instant::now() + gap;
                gap *= 2;
            }
            // News or not: what a look shows may change without.
            timeout(pause, world.changed()).await.unwrap_or_default();
            pause = (pause * 2).min(LATER);
        }
    };
    let ended = timeout(step.deadline(), attempts).await;
    ended.unwrap_or_else(|_| {
        let seconds = step.deadline().as_secs();
        let silent = || format!("no answer within {seconds} s");
        StepOutcome::Failed(broken.unwrap_or_else(silent))
    })
}

#[cfg(test)]
pub(super) mod tests;
