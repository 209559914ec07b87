//! The clock against Windows', beside the loop: how far it is from it, kept for `wslmesh
//! doctor clock`, and set where that is configured and nothing else keeps it.
//!
//! Nothing here has a timer of its own: it is looked at when it was set and after a sleep,
//! and else when a pass or systemd's watchdog comes anyway.

use std::{
    future::pending,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    apply,
    blocking::{SingleFlight, run_blocking},
    config,
    model::{ClockKeepers, Clocks, Finding},
    observe::{self, Drift},
    plan::{CLOCK_LIMIT_MS, WrongClock, clock_keeper},
    report::{ClockHistory, ClockSample, SampleCause},
    units::{Systemd, UnitsError},
};

/// How often it is looked at, at most, while nothing happens.
const EVERY: Duration = Duration::from_secs(600);
/// And while it is wrong. What is not wrong for so long may be corrected just now:
/// Hyper-V's driver looks every 5 s, WSL's chronyd every 8 s.
const SOON: Duration = Duration::from_secs(20);
/// Longest wait for the other clock.
const DEADLINE: Duration = Duration::from_secs(1);
/// It was set where CLOCK_REALTIME has left CLOCK_BOOTTIME by more, in milliseconds. A
/// clock that is made to run faster or slower takes both along.
const SET: u64 = 5;
/// It is right where it differs from Windows' by less, in milliseconds.
const RIGHT: u64 = 1_000;

/// This machine's clock, and what is known of it.
pub(super) trait ClockMachine: Clone + Send + Sync + 'static {
    /// What it shows.
    fn clocks(&self) -> Clocks;

    /// How far it is from others; may block.
    fn drift(&self) -> Drift;

    /// Who keeps it.
    fn keepers(&self) -> impl Future<Output = Result<ClockKeepers, UnitsError>> + Send;

    /// Sets it back by so many milliseconds, or forward.
    fn set_back(&self, by_ms: i64) -> io::Result<()>;
}

/// This machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here;

impl ClockMachine for Here {
    fn clocks(&self) -> Clocks {
        observe::clocks()
    }

    fn drift(&self) -> Drift {
        observe::drift(Path::new("/"))
    }

    async fn keepers(&self) -> Result<ClockKeepers, UnitsError> {
        Systemd::connect().await?.clock_keepers().await
    }

    fn set_back(&self, by_ms: i64) -> io::Result<()> {
        apply::set_clock_back(by_ms)
    }
}

/// What a look is made for.
#[derive(Debug, Clone)]
struct Asked {
    cause: SampleCause,
    settings: config::Clock,
    /// Whether there is a tunnel of WireGuard.
    wireguard: bool,
    /// How far it was from Windows' clock a while ago, where that was too far.
    before: Option<i64>,
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME at the look before, in milliseconds.
    offset_ms: i64,
}

/// What came of a look.
#[derive(Debug)]
struct Looked {
    sample: ClockSample,
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME, in milliseconds.
    offset_ms: i64,
    /// Whether it is known how far it was a while ago.
    judged: bool,
    finding: Option<Finding>,
}

/// What looks at the clock.
#[derive(Debug)]
pub(super) struct Clock<M = Here> {
    machine: M,
    runtime: PathBuf,
    history: ClockHistory,
    last: Option<ClockSample>,
    flight: SingleFlight,
    /// The look in flight, at most one.
    run: JoinSet<Looked>,
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME at the last look, in milliseconds.
    offset_ms: i64,
    /// How far it was from Windows' clock, and when that was seen, while it is too far.
    wrong: Option<(i64, Instant)>,
    /// When it is looked at next; never where there is nothing to compare it with.
    due: Option<Instant>,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
}

impl Clock {
    /// The clock of this machine, with what an agent before has kept in this directory.
    pub(super) fn new(runtime: &Path) -> Self {
        Self::of(Here, runtime)
    }
}

impl<M: ClockMachine> Clock<M> {
    fn of(machine: M, runtime: &Path) -> Self {
        let now = machine.clocks();
        Self {
            history: ClockHistory::read(runtime, now.boot_ms),
            machine,
            runtime: runtime.to_owned(),
            last: None,
            flight: SingleFlight::default(),
            run: JoinSet::new(),
            offset_ms: offset(&now),
            wrong: None,
            due: None,
            findings: Vec::new(),
        }
    }

    /// Looks at it, beside the loop.
    pub(super) fn look(&mut self, cause: SampleCause, settings: config::Clock, wireguard: bool) {
        let now = Instant::now();
        if !self.run.is_empty() {
            // What happened meanwhile counts.
            self.due = Some(now);
            return;
        }
        self.due = Some(now + EVERY);
        let long_ago = |(_, seen): &(i64, Instant)| now.duration_since(*seen) >= SOON;
        let asked = Asked {
            cause,
            settings,
            wireguard,
            before: self.wrong.filter(long_ago).map(|(ahead, _)| ahead),
            offset_ms: self.offset_ms,
        };
        let (machine, flight) = (self.machine.clone(), self.flight.clone());
        self.run
            .spawn(async move { look(&machine, &flight, asked).await });
    }

    /// The same where it is time for that.
    pub(super) fn look_if_due(&mut self, settings: config::Clock, wireguard: bool) {
        if self.due.is_some_and(|due| due <= Instant::now()) {
            self.look(SampleCause::Time, settings, wireguard);
        }
    }

    /// Has it looked at with the next pass: the configuration may have changed.
    pub(super) fn look_again(&mut self) {
        self.due = self.due.map(|_| Instant::now());
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Option<&ClockSample> {
        self.last.as_ref()
    }

    /// Waits until it was looked at, and says whether the findings have changed. Cancel
    /// safe.
    pub(super) async fn changed(&mut self) -> bool {
        match self.run.join_next().await {
            Some(Ok(looked)) => self.take(looked, Instant::now()),
            // A look never panics and is never aborted.
            Some(Err(_)) => false,
            None => pending().await,
        }
    }

    fn take(&mut self, looked: Looked, now: Instant) -> bool {
        let sample = looked.sample;
        self.last = Some(sample);
        self.offset_ms = looked.offset_ms;
        let was_set = sample.set_ms.unsigned_abs() > SET;
        let wrong = sample
            .ahead_ms
            .filter(|ahead| !sample.by_rtc && ahead.unsigned_abs() >= CLOCK_LIMIT_MS);
        self.wrong = match (wrong, self.wrong) {
            (None, _) => None,
            // Not long enough ago to be compared with.
            (Some(_), Some(before)) if !was_set && now.duration_since(before.1) < SOON => {
                Some(before)
            }
            (Some(ahead), _) => Some((ahead, now)),
        };
        let findings = match wrong {
            // What was found before is as true as it was.
            Some(_) if !looked.judged => self.findings.clone(),
            _ => Vec::from_iter(looked.finding),
        };
        let changed = self.findings != findings;
        let soon = match wrong {
            Some(_) if changed || !looked.judged => SOON,
            _ => EVERY,
        };
        self.findings = findings;
        self.due = match self.due {
            // It was asked for while this look was made.
            Some(due) if due <= now => Some(due),
            _ => sample.ahead_ms.map(|_| now + soon),
        };
        // Without a comparison only what was done to it is worth keeping.
        if sample.ahead_ms.is_some() || was_set {
            self.history.push(sample);
            // Without the file doctor has no history; a runtime directory that cannot be
            // written is a finding of the status document's.
            self.history.write(&self.runtime).unwrap_or_default();
        }
        changed
    }
}

fn offset(clocks: &Clocks) -> i64 {
    clocks.real_ms.saturating_sub(clocks.boot_ms)
}

/// Compares the clock with others, and sets it where that may be.
async fn look<M: ClockMachine>(machine: &M, flight: &SingleFlight, asked: Asked) -> Looked {
    let drift = drift(machine, flight).await;
    let host = drift.as_ref().and_then(|drift| drift.host.clone().ok());
    let rtc = drift.as_ref().and_then(|drift| drift.rtc);
    let mut looked = looked(machine, &asked, host.or(rtc));
    looked.sample.by_rtc = host.is_none() && rtc.is_some();
    let Some(wrong) = WrongClock::of(asked.before, host, asked.wireguard) else {
        return looked;
    };
    let withheld = match wrong.withheld(&asked.settings) {
        None => match machine.keepers().await {
            Ok(keepers) => clock_keeper(&keepers),
            Err(error) => Some(format!("who else sets it is not known: {error}")),
        },
        withheld => withheld,
    };
    let set = match withheld {
        Some(why) => Err(why),
        None => set(machine, flight, &wrong).await,
    };
    match set {
        Err(why) => looked.finding = Some(wrong.finding(&why)),
        Ok(ahead) => {
            tracing::info!(event = "clock", "{}", wrong.was_set());
            let cause = SampleCause::Step;
            looked = self::looked(machine, &Asked { cause, ..asked }, Some(ahead));
        }
    }
    looked
}

fn looked(machine: &impl ClockMachine, asked: &Asked, ahead_ms: Option<i64>) -> Looked {
    let now = machine.clocks();
    let offset_ms = offset(&now);
    Looked {
        sample: ClockSample {
            boot_ms: now.boot_ms,
            unix: now.real_ms.div_euclid(1_000),
            ahead_ms,
            by_rtc: false,
            set_ms: offset_ms.saturating_sub(asked.offset_ms),
            cause: asked.cause,
        },
        offset_ms,
        judged: asked.before.is_some(),
        finding: None,
    }
}

/// How far it is from other clocks, where they answer in time.
async fn drift<M: ClockMachine>(machine: &M, flight: &SingleFlight) -> Option<Drift> {
    let (permit, machine) = (flight.begin().ok()?, machine.clone());
    let read = move || machine.drift();
    run_blocking(permit, DEADLINE, read).await.ok()
}

/// How far it is from Windows', where that answers in time.
async fn host<M: ClockMachine>(machine: &M, flight: &SingleFlight) -> Option<i64> {
    drift(machine, flight).await?.host.ok()
}

/// Sets it to Windows' clock: reads, compares, writes and reads back. Gives how far it is
/// from that then.
///
/// # Errors
/// Why it is not right now.
async fn set<M: ClockMachine>(
    machine: &M,
    flight: &SingleFlight,
    wrong: &WrongClock,
) -> Result<i64, String> {
    let silent = || "Windows' clock does not answer any more".to_owned();
    let ahead = host(machine, flight).await.ok_or_else(silent)?;
    if ahead.abs_diff(wrong.ahead_ms) >= RIGHT {
        return Err("something sets it just now".to_owned());
    }
    machine.set_back(ahead).map_err(|error| {
        format!("the kernel refuses ({error}): the service needs the drop-in clock.service.conf")
    })?;
    let ahead = host(machine, flight).await.ok_or_else(silent)?;
    if ahead.unsigned_abs() >= RIGHT {
        return Err("it was set, and reads back as wrong".to_owned());
    }
    Ok(ahead)
}

#[cfg(test)]
mod tests;
