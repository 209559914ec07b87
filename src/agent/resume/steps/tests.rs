//! Recoveries of a made-up machine, in made-up time.

use std::{cell::RefCell, collections::BTreeMap, future::pending};

use super::*;

/// How a step of the machine behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::agent::resume) enum State {
    Well,
    Skip,
    /// Until it was repaired so often.
    Repairs(u32),
    /// By itself, so long after the start.
    After(Duration),
    Never,
    /// A look does not return.
    Hangs,
    /// A look says that it is broken, the repair does not return.
    HangsInRepair,
}

#[derive(Default)]
pub(in crate::agent::resume) struct Fake {
    states: BTreeMap<RecoveryStep, State>,
    repairs: RefCell<BTreeMap<RecoveryStep, u32>>,
    looks: RefCell<Vec<RecoveryStep>>,
    begun: Option<Instant>,
}

impl Fake {
    pub(in crate::agent::resume) fn with(states: &[(RecoveryStep, State)]) -> Self {
        Self {
            states: states.iter().copied().collect(),
            begun: Some(Instant::now()),
            ..Self::default()
        }
    }

    fn state(&self, step: RecoveryStep) -> State {
        self.states.get(&step).copied().unwrap_or(State::Well)
    }

    fn repaired(&self, step: RecoveryStep) -> u32 {
        self.repairs.borrow().get(&step).copied().unwrap_or(0)
    }
}

impl World for Fake {
    async fn check(&self, step: RecoveryStep) -> Check {
        self.looks.borrow_mut().push(step);
        let well = match self.state(step) {
            State::Well => true,
            State::Skip => return Check::Skip,
            State::Repairs(times) => self.repaired(step) >= times,
            State::After(time) => self.begun.is_some_and(|begun| begun.elapsed() >= time),
            State::Never | State::HangsInRepair => false,
            State::Hangs => pending().await,
        };
        match well {
            true => Check::Well {
                note: format!("{step} is right"),
                is_news: false,
            },
            false => Check::Broken(format!("{step} is wrong")),
        }
    }

    async fn repair(&self, step: RecoveryStep) {
        *self.repairs.borrow_mut().entry(step).or_default() += 1;
        if self.state(step) == State::HangsInRepair {
            pending().await
        }
    }

    async fn changed(&self) {
        pending().await
    }
}

/// The outcomes, and how long it took.
async fn run(world: &Fake) -> (BTreeMap<RecoveryStep, StepOutcome>, Duration) {
    let begun = Instant::now();
    let steps = recover(world, &RecoveryStep::ALL).await;
    assert!(steps.iter().map(|(step, _)| *step).eq(RecoveryStep::ALL));
    (steps.into_iter().collect(), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn all_is_well_at_once() {
    let world = Fake::default();
    let (steps, took) = run(&world).await;
    assert_eq!(took, Duration::ZERO);
    assert!(steps.values().all(|outcome| *outcome == StepOutcome::Well));
    assert_eq!(*world.looks.borrow(), RecoveryStep::ALL);
    assert_eq!(world.repairs.borrow().len(), 0);
}

/// Each step in each state: it ends within its deadline, and what does not need it is
/// tried all the same.
#[tokio::test(start_paused = true)]
async fn each_step_in_each_state() {
    let failed = |why: String| StepOutcome::Failed(why);
    for step in RecoveryStep::ALL {
        let right = || StepOutcome::Repaired(format!("{step} is right"));
        let wrong = || failed(format!("{step} is wrong"));
        let seconds = step.deadline().as_secs();
        let silent = || failed(format!("no answer within {seconds} s"));
        let soon = Duration::from_millis(600);
        for (state, outcome, limit) in [
            (State::Skip, StepOutcome::Skipped, Duration::ZERO),
            (State::Repairs(1), right(), SOON),
            (State::Repairs(2), right(), Duration::from_secs(2)),
            (State::After(soon), right(), soon * 2),
            (State::Never, wrong(), step.deadline()),
            (State::Hangs, silent(), step.deadline()),
            (State::HangsInRepair, wrong(), step.deadline()),
        ] {
            let world = Fake::with(&[(step, state)]);
            let (steps, took) = run(&world).await;
            assert_eq!(steps[&step], outcome, "{step} {state:?}");
            assert!(took <= limit, "{step} {state:?}: {took:?}");
            let is_failed = matches!(outcome, StepOutcome::Failed(_));
            for other in RecoveryStep::ALL {
                let needs = other.needs();
                let above = needs.and_then(RecoveryStep::needs);
                let missed = is_failed && (needs == Some(step) || above == Some(step));
                let expected = match (other == step, missed) {
                    (true, _) => continue,
                    (false, true) => StepOutcome::Untried(needs.unwrap()),
                    (false, false) => StepOutcome::Well,
                };
                assert_eq!(steps[&other], expected, "{step} {state:?}, {other}");
            }
        }
    }
}

/// Another try has longer and longer waits before it: a repair may be a call to Windows.
#[tokio::test(start_paused = true)]
async fn repairs_are_few() {
    let world = Fake::with(&[(RecoveryStep::Wireguard, State::Never)]);
    run(&world).await;
    assert_eq!(
        world.repaired(RecoveryStep::Wireguard),
        5,
        "at 0, 1, 3, 7 and 15 s"
    );
    assert!(world.looks.borrow().len() < 70);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_in_which_all_fails_ends() {
    let all = RecoveryStep::ALL.map(|step| (step, State::Hangs));
    let (_, took) = run(&Fake::with(&all)).await;
    let most: Duration = RecoveryStep::ALL
        .into_iter()
        .map(RecoveryStep::deadline)
        .sum();
    assert_eq!(most, Duration::from_secs(97), "as the documentation says");
    assert!(took < most);
}
