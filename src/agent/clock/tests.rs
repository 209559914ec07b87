use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::{config::StepAbove, observe::NoReference};

const HOUR: i64 = 3_600_000;
const YEARS: i64 = 10 * 365 * 24 * HOUR;

/// A machine whose clock is so far ahead of Windows'.
#[derive(Debug, Clone)]
struct Fake(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    ahead: Result<i64, NoReference>,
    rtc: Option<i64>,
    boot_ms: i64,
    keepers: Result<ClockKeepers, UnitsError>,
    may_set: bool,
    /// Whether setting it has an effect.
    works: bool,
    set: Vec<i64>,
}

impl Fake {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap());
    }

    /// Time passes, and this was seen long ago.
    fn later(clock: &mut Clock<Self>) {
        if let Some((_, seen)) = &mut clock.wrong {
            *seen -= SOON;
        }
    }
}

impl ClockMachine for Fake {
    fn clocks(&self) -> Clocks {
        let mut state = self.0.lock().unwrap();
        state.boot_ms += 1;
        let ahead = state.ahead.clone().unwrap_or_default();
        Clocks {
            real_ms: 1_800_000_000_000 + state.boot_ms + ahead,
            boot_ms: state.boot_ms,
            monotonic_ms: state.boot_ms,
        }
    }

    fn drift(&self) -> Drift {
        let state = self.0.lock().unwrap();
        Drift {
            host: state.ahead.clone(),
            rtc: state.rtc,
        }
    }

    async fn keepers(&self) -> Result<ClockKeepers, UnitsError> {
        self.0.lock().unwrap().keepers.clone()
    }

    fn set_back(&self, by_ms: i64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if !state.may_set {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.set.push(by_ms);
        if state.works {
            state.ahead = state.ahead.clone().map(|ahead| ahead - by_ms);
        }
        Ok(())
    }
}

fn machine(ahead: i64) -> (Clock<Fake>, Fake, TempDir) {
    let fake = Fake(Arc::new(Mutex::new(State {
        ahead: Ok(ahead),
        rtc: None,
        boot_ms: 1_000,
        keepers: Ok(ClockKeepers::default()),
        may_set: true,
        works: true,
        set: Vec::new(),
    })));
    let folder = tempfile::tempdir().unwrap();
    (Clock::of(fake.clone(), folder.path()), fake, folder)
}

const OFF: config::Clock = config::Clock {
    step_above: StepAbove(None),
    step_back: false,
};

const ON: config::Clock = config::Clock {
    step_above: StepAbove(Some(Duration::from_secs(60))),
    step_back: true,
};

/// Looks once, and says whether the findings changed.
async fn looks(clock: &mut Clock<Fake>, settings: config::Clock) -> bool {
    clock.look(SampleCause::Time, settings, true);
    clock.changed().await
}

/// Looks twice, with time between.
async fn looks_twice(clock: &mut Clock<Fake>, settings: config::Clock) -> String {
    looks(clock, settings).await;
    Fake::later(clock);
    looks(clock, settings).await;
    let details = clock.findings.iter().map(|finding| finding.detail.clone());
    Vec::from_iter(details).join("; ")
}

#[tokio::test]
async fn a_clock_that_stays_wrong_is_set_and_the_history_says_so() {
    for ahead in [-YEARS, -HOUR, HOUR, YEARS] {
        let (mut clock, fake, folder) = machine(ahead);
        assert_eq!(looks_twice(&mut clock, ON).await, "");
        fake.change(|state| assert_eq!((&*state.set, &state.ahead), (&[ahead][..], &Ok(0))));
        let kept = ClockHistory::read(folder.path(), i64::MAX).samples;
        let seen = Vec::from_iter(kept.iter().map(|one| (one.cause, one.ahead_ms, one.set_ms)));
        let [(_, Some(first), 0), (SampleCause::Step, Some(0), set)] = seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!((first, set), (ahead, -ahead));
        // It is right now: nothing is set again.
        Fake::later(&mut clock);
        assert_eq!(looks_twice(&mut clock, ON).await, "");
        fake.change(|state| assert_eq!(state.set.len(), 1));
    }
}

#[tokio::test]
async fn it_is_not_set_unless_all_agrees() {
    type Change = fn(&mut State);
    let cases: [(config::Clock, Change, &str); 7] = [
        (OFF, |_| {}, "step-above is \"never\""),
        (
            config::Clock {
                step_back: false,
                ..ON
            },
            |_| {},
            "peers of WireGuard refuse handshakes",
        ),
        (
            ON,
            |state| {
                state.keepers = Ok(ClockKeepers {
                    units: vec!["chrony.service".into()],
                    kept: false,
                })
            },
            "chrony.service sets it",
        ),
        (
            ON,
            |state| {
                state.keepers = Ok(ClockKeepers {
                    units: Vec::new(),
                    kept: true,
                })
            },
            "a program keeps it",
        ),
        (
            ON,
            |state| state.keepers = Err(UnitsError::Unreachable("no bus".into())),
            "who else sets it is not known",
        ),
        (ON, |state| state.may_set = false, "clock.service.conf"),
        (ON, |state| state.works = false, "reads back as wrong"),
    ];
    for (settings, change, why) in cases {
        let (mut clock, fake, _folder) = machine(HOUR);
        fake.change(change);
        let found = looks_twice(&mut clock, settings).await;
        assert!(found.contains(why), "{found:?}: {why}");
        fake.change(|state| assert!(state.set.is_empty() || !state.works, "{why}"));
        // Right again, it is no finding.
        fake.change(|state| state.ahead = Ok(3));
        assert!(looks(&mut clock, settings).await && clock.findings.is_empty());
    }
}

#[tokio::test]
async fn one_look_is_not_enough_and_what_moves_is_left_alone() {
    let (mut clock, fake, _folder) = machine(-HOUR);
    for _ in 0..5 {
        assert!(!looks(&mut clock, ON).await);
    }
    // Set meanwhile: what was seen before counts no more.
    Fake::later(&mut clock);
    fake.change(|state| state.ahead = Ok(-60_000 - HOUR));
    let changed = looks(&mut clock, ON).await;
    assert!(changed && clock.findings[0].detail.contains("something corrects it"));
    // It stays a finding until it can be judged again.
    assert!(!looks(&mut clock, ON).await);
    fake.change(|state| assert!(state.set.is_empty()));
}

#[tokio::test]
async fn without_another_clock_it_is_no_error_and_not_looked_at_again() {
    for why in [
        NoReference::Absent,
        NoReference::Failed("/dev/ptp0".into(), "Input/output error".into()),
        NoReference::Implausible("/dev/ptp0".into(), 0),
    ] {
        let (mut clock, fake, folder) = machine(0);
        fake.change(|state| state.ahead = Err(why));
        assert_eq!(looks_twice(&mut clock, ON).await, "");
        assert_eq!(clock.due, None);
        clock.look_again();
        clock.look_if_due(ON, true);
        assert!(clock.run.is_empty());
        assert_eq!(
            ClockHistory::read(folder.path(), i64::MAX),
            ClockHistory::default()
        );
        // The hardware clock is kept, and sets nothing.
        fake.change(|state| state.rtc = Some(HOUR));
        assert_eq!(looks_twice(&mut clock, ON).await, "");
        let kept = ClockHistory::read(folder.path(), i64::MAX).samples;
        assert!(
            kept.iter()
                .all(|one| one.by_rtc && one.ahead_ms == Some(HOUR))
                && kept.len() == 2
        );
        fake.change(|state| assert!(state.set.is_empty()));
    }
}

#[tokio::test]
async fn it_is_looked_at_when_it_is_due() {
    let (mut clock, fake, _folder) = machine(0);
    clock.look_if_due(OFF, false);
    assert!(clock.run.is_empty(), "nothing is due before the first look");
    looks(&mut clock, OFF).await;
    let left = |clock: &Clock<Fake>| clock.due.unwrap() - Instant::now();
    assert!(left(&clock) > EVERY / 2);
    clock.look_if_due(OFF, false);
    assert!(clock.run.is_empty());
    clock.look_again();
    clock.look_if_due(OFF, false);
    // What happens during a look is looked at after it.
    clock.look(SampleCause::Set, OFF, false);
    clock.changed().await;
    assert!(clock.due.unwrap() <= Instant::now());
    fake.change(|state| state.ahead = Ok(HOUR));
    looks(&mut clock, OFF).await;
    assert!(left(&clock) <= SOON);
}
