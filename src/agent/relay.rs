//! Keeps the relay running as long as a forward needs it.
//!
//! The relay keeps nothing on disk and decides nothing: its forwards come from the
//! plan, and the table of its UDP sessions is kept here, because WireGuard in the
//! guest answers to the port it saw last, even if the relay restarts. Forwards are
//! sent to a running relay within the reconciliation, by one write to a pipe;
//! everything else happens in between and reaches the event loop as a change.

mod reported;
mod state;
mod table;
mod unit;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{select, task::JoinHandle};

use self::{
    reported::{Counting, Listeners, TransientFindings},
    state::{DEADLINE, State},
    table::Table,
};
use crate::{
    backoff::{Retry, until},
    blocking::SingleFlight,
    host::relay::{Pipes, RelayError},
    model::{Code, Finding, RelayMemory, RelayRole, RelaySet, some_of},
    paths::Paths,
};
use wslmesh_relay::protocol::{Command, Event, Limits, Listen, SetForwards, VERSION};

/// How long a relay may take to exit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// A relay that has been silent for so long is asked for a sign of life: WSL's init
/// does not end when its program on Windows vanishes without an exit code.
const SILENCE: Duration = Duration::from_secs(60);
/// A relay that ran for longer is restarted at once.
const LONG_RUN: Duration = Duration::from_secs(60);
/// Longest delay of the next start.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Delay after a start with administrator rights: they stay until WSL restarts.
const ELEVATED_DELAY: Duration = Duration::from_secs(300);
/// How long a transient finding is shown.
const TRANSIENT: Duration = Duration::from_secs(60);

/// The supervisor of one relay. The default one starts nothing: for a single
/// reconciliation, whose relay would exit with it.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    role: RelayRole,
    /// Where our programs are; `None` where no relay may be started.
    lib: Option<PathBuf>,
    /// Whether it becomes a unit of its own.
    in_unit: bool,
    /// The end of the unit before.
    killing: Option<JoinHandle<()>>,
    /// While one start hangs there is no second.
    starts: SingleFlight,
    state: State,
    /// When it must have become ready, have confirmed the last command, have answered
    /// or have exited, or when it is started again.
    deadline: Option<Instant>,
    /// When it sent its last event.
    heard: Option<Instant>,
    /// When it was asked what it has not answered.
    asked: Option<Instant>,
    /// Whether a recovery waits for its sign of life, and how many came.
    awaited: bool,
    alive: u64,
    wanted: Option<RelaySet>,
    /// Number of the last command.
    serial: u64,
    listeners: Listeners,
    table: Table,
    /// Failed starts and short runs.
    retry: Retry,
    /// Why it does not run.
    failure: Option<Finding>,
    /// Why the last one stopped, until the next one serves.
    restart_reason: Option<String>,
    transient: TransientFindings,
    counting: Counting,
    /// What was logged last.
    logged: Option<RelaySet>,
}

impl Supervisor {
    /// A supervisor with the session table of an earlier run.
    pub(super) fn new(paths: &Paths, role: RelayRole) -> Self {
        let table = match role {
            RelayRole::Entry => "relay-sessions.json",
            RelayRole::Loopback => "loopback-sessions.json",
        };
        Self {
            role,
            lib: Some(paths.lib.clone()),
            table: Table::load(paths.runtime.join(table)),
            retry: Retry::up_to(MAX_DELAY),
            ..Self::default()
        }
    }

    /// Sets the wanted forwards, and sends them at once if the relay runs.
    pub(super) fn set_forwards(&mut self, wanted: Option<RelaySet>) -> RelayMemory {
        let location = |set: &Option<RelaySet>| set.as_ref().map(|set| set.location.clone());
        let moved = location(&self.wanted) != location(&wanted);
        self.wanted = wanted;
        if self.lib.is_none() {
            self.failure = self.wanted.as_ref().map(needs_agent);
            return self.memory();
        }
        self.table.want(self.wanted.as_ref());
        match (&self.state, moved) {
            (State::Running { .. }, false) => self.send_forwards(false),
            (State::Idle, _) | (State::Starting(_) | State::Waiting, true) => {
                self.retry.reset();
                self.start();
            }
            (State::AwaitingReady(_) | State::Running { .. }, true) => self.shutdown(),
            // Sent once it is ready, or once the next one is.
            (State::Starting(_) | State::Waiting | State::AwaitingReady(_), false)
            | (State::Stopping(_), _) => {}
        }
        self.memory()
    }

    /// Waits until its state changes. Cancel safe.
    pub(super) async fn next_change(&mut self) -> RelayMemory {
        loop {
            let due = [self.deadline, self.transient.due(), self.table.due];
            let changed = select! {
                received = self.state.next() => self.handle(received),
                () = until(due.into_iter().flatten().min()) => self.on_deadline(Instant::now()),
            };
            if changed {
                return self.memory();
            }
        }
    }

    /// Makes the next start immediate: the cause of the failure may be fixed. A start
    /// under way may still fail from that cause; it then counts as the first. A relay
    /// that runs is asked for a sign of life; gives back the state of one that could
    /// not be asked.
    pub(super) fn retry(&mut self) -> Option<RelayMemory> {
        self.retry.reset();
        if matches!(self.state, State::Waiting) {
            self.deadline = Some(Instant::now());
        }
        self.ask()
    }

    /// The same after a resume: the sign of life is a change of its state then.
    pub(super) fn retry_and_await(&mut self) -> Option<RelayMemory> {
        self.awaited = true;
        self.retry()
    }

    /// Asks a relay that has been silent for [`SILENCE`] for a sign of life. There is
    /// no timer for it: the caller is awake anyway. As [`Supervisor::retry`] otherwise.
    pub(super) fn ask_if_silent(&mut self, now: Instant) -> Option<RelayMemory> {
        let is_silent = self.heard.is_none_or(|heard| now >= heard + SILENCE);
        is_silent.then(|| self.ask()).flatten()
    }

    /// Its present state.
    pub(super) fn memory(&self) -> RelayMemory {
        let findings = self.failure.iter().chain(self.transient.findings());
        RelayMemory {
            wanted: self.wanted.clone(),
            applied: matches!(self.state, State::Running { .. }) && self.listeners.applied(),
            listening: self.listeners.listening(),
            failed: self.listeners.failed().clone(),
            ipv4_alone: self.listeners.ipv4_alone().clone(),
            sessions: self.table.len(),
            counted: self.counting.last.clone(),
            alive: self.alive,
            findings: findings.cloned().collect(),
        }
    }

    /// Like all that handle an event: says whether the state changed.
    fn on_deadline(&mut self, now: Instant) -> bool {
        self.table.save_if_due(now);
        let cleared = self.transient.expire(now);
        if self.deadline.is_none_or(|due| due > now) {
            // The table was saved: its size may have changed.
            return true;
        }
        let late = |action| RelayError::Timeout(action, DEADLINE);
        let applied = self.listeners.applied();
        match &self.state {
            State::Waiting => {
                self.start();
                cleared
            }
            State::AwaitingReady(_) => self.fail(&late("become ready")),
            State::Running { .. } if applied => self.fail(&late("answer")),
            State::Running { .. } => self.fail(&late("confirm its forwards")),
            // Dropping it kills a child.
            State::Stopping(process) => {
                if process.is_unit() {
                    self.kill_unit();
                }
                self.on_exit()
            }
            State::Idle | State::Starting(_) => cleared,
        }
    }

    /// Starts the relay if it is wanted.
    fn start(&mut self) {
        self.state = match (&self.wanted, &self.lib) {
            (Some(wanted), Some(lib)) => {
                let (location, lib) = (wanted.location.clone(), lib.clone());
                let before = self.killing.take();
                let unit = self.in_unit.then_some(self.role);
                State::start(&self.starts, location, lib, unit, before)
            }
            (None, _) | (_, None) => State::Idle,
        };
        self.deadline = None;
        if self.wanted.is_none() {
            if self.in_unit {
                // A start that was given up may have left some.
                Pipes::forget(self.role);
            }
            (self.failure, self.restart_reason, self.logged) = (None, None, None);
            self.transient = TransientFindings::default();
        }
    }

    /// Asks it to exit; what is wanted by then is started after that.
    fn shutdown(&mut self) {
        let state = std::mem::take(&mut self.state);
        if let State::AwaitingReady(mut process) | State::Running { mut process, .. } = state {
            process.shutdown();
            self.state = State::Stopping(process);
            self.deadline = Some(Instant::now() + SHUTDOWN_TIMEOUT);
        }
    }

    /// Sends the wanted forwards; a fresh relay gets the session table too.
    fn send_forwards(&mut self, fresh: bool) {
        let (State::Running { process, .. }, Some(wanted)) = (&mut self.state, &self.wanted) else {
            return;
        };
        self.serial += 1;
        let limits = Limits::default();
        let sessions = if fresh { limits.udp_sessions } else { 0 };
        let command = SetForwards {
            version: VERSION,
            serial: self.serial,
            forwards: wanted.forwards.iter().map(|(_, f)| *f).collect(),
            sessions: self.table.sessions(sessions),
            limits,
        };
        let listens = command.forwards.iter().map(|forward| forward.listen);
        let now = Instant::now();
        self.listeners.sent(self.serial, now, listens.collect());
        match process.send(&Command::SetForwards(command)) {
            Ok(()) => self.expect(),
            Err(error) => {
                self.fail(&error);
            }
        }
    }

    /// Sets the deadline of a relay that runs by what it owes for longest: a later
    /// command gives it no more time for the one before.
    fn expect(&mut self) {
        let owes = [self.listeners.waits_since(), self.asked];
        let since = owes.into_iter().flatten().min();
        self.deadline = since.map(|since| since + DEADLINE);
    }

    fn handle(&mut self, received: Result<Option<Event>, RelayError>) -> bool {
        if let Ok(Some(_)) = received {
            self.heard = Some(Instant::now());
        }
        match (received, &self.state) {
            (Ok(None), _) => {
                self.deadline = Some(Instant::now() + DEADLINE);
                false
            }
            (Ok(Some(_)), State::Stopping(_)) => false,
            (Ok(Some(event)), _) => self.handle_event(event),
            (Err(_), State::Stopping(_)) => self.on_exit(),
            (Err(error), _) => self.fail(&error),
        }
    }

    fn handle_event(&mut self, event: Event) -> bool {
        match event {
            Event::Elevated => self.fail(&RelayError::Elevated),
            Event::Ready {
                version,
                program,
                attached,
            } => self.on_ready(version, &program, attached.is_some()),
            _ if matches!(self.state, State::AwaitingReady(_)) => {
                self.fail(&RelayError::Protocol("an event before it was ready".into()))
            }
            Event::Applied { serial, listeners } => {
                let applied = self.listeners.confirmed(serial, &listeners);
                self.expect();
                if applied {
                    self.on_applied();
                }
                applied
            }
            Event::Sessions {
                complete,
                opened,
                closed,
            } => {
                let wanted = self.wanted.as_ref();
                let possible = self.table.update(wanted, complete, opened, &closed);
                !possible && self.fail(&RelayError::Protocol("it has too many sessions".into()))
            }
            Event::Refused {
                listen,
                limit,
                source,
                count,
            } => {
                let of = source.map_or_else(String::new, |source| format!(" for {source}"));
                let text = format!("{listen}: {count} refused at the limit of {limit}{of}");
                let Some(name) = self.name_of(listen) else {
                    // It was removed meanwhile.
                    return false;
                };
                let finding = Finding::new(Code::RelayLimit, name, text);
                self.transient.add(finding, Instant::now() + TRANSIENT)
            }
            Event::Invalid { line, reason } => {
                let reason = format!("line {line}: {}", crate::model::plain(&reason));
                self.fail(&RelayError::Rejected(reason))
            }
            Event::Counters { forwards } => {
                self.asked = None;
                self.expect();
                let awaited = std::mem::take(&mut self.awaited);
                self.alive += u64::from(awaited);
                if !self.counting.asked {
                    // A sign of life.
                    return awaited;
                }
                self.counting.answered(self.wanted.as_ref(), &forwards) || awaited
            }
        }
    }

    fn on_ready(&mut self, version: u32, program: &str, attached: bool) -> bool {
        if version != VERSION {
            if attached {
                // An upgrade left it: it is replaced, which is no failure.
                self.kill_unit();
                return self.on_exit();
            }
            return self.fail(&RelayError::Version(version));
        }
        let process = match std::mem::take(&mut self.state) {
            State::AwaitingReady(process) => process,
            other => {
                self.state = other;
                return self.fail(&RelayError::Protocol("it became ready twice".into()));
            }
        };
        let program = crate::model::plain(program);
        let how = if attached { "goes on" } else { "started" };
        let pid = process.id();
        tracing::debug!(event = "relay", pid, "relay {program} {how}");
        let since = Instant::now();
        self.state = State::Running { process, since };
        // One that goes on has its sessions.
        self.send_forwards(!attached);
        true
    }

    fn on_applied(&mut self) {
        self.failure = None;
        self.log_applied();
        if let Some(reason) = self.restart_reason.take() {
            let finding = Finding::new(Code::RelayRestarted, "", reason);
            self.transient.add(finding, Instant::now() + TRANSIENT);
        }
    }

    /// Logs the forwards in force unless they are those of the last time.
    fn log_applied(&mut self) {
        if self.logged == self.wanted {
            return;
        }
        self.logged.clone_from(&self.wanted);
        if let Some(wanted) = &self.wanted
            && let Some((_, first)) = wanted.forwards.first()
        {
            let location = wanted.location.in_words();
            let failed = match self.listeners.failed().len() {
                0 => String::new(),
                failed => format!(", {failed} of them not"),
            };
            tracing::info!(
                event = "relay",
                address = %first.connect_address,
                "relay {location} -> {}: {} forwarded{failed}",
                first.connect_address,
                wanted.forwards.len()
            );
        }
    }

    /// Asks a running relay for its counters; the answer is an event. Gives back the
    /// state of one that could not be asked.
    pub(super) fn ask_counters(&mut self) -> Option<RelayMemory> {
        self.counting.asked |= matches!(self.state, State::Running { .. });
        self.ask()
    }

    /// Asks a running relay something, which it must answer. Gives back the state of
    /// one that could not be asked.
    fn ask(&mut self) -> Option<RelayMemory> {
        let State::Running { process, .. } = &mut self.state else {
            return None;
        };
        let sent = process.send(&Command::GetCounters);
        self.asked.get_or_insert_with(Instant::now);
        self.expect();
        self.fail(&sent.err()?);
        Some(self.memory())
    }

    /// The name of the forward that listens there.
    fn name_of(&self, listen: Listen) -> Option<String> {
        let mut forwards = self.wanted.as_ref()?.forwards.iter();
        let (name, _) = forwards.find(|(_, forward)| forward.listen == listen)?;
        Some(name.clone())
    }

    /// It exited as it was asked to.
    fn on_exit(&mut self) -> bool {
        self.forget();
        self.retry.reset();
        self.start();
        true
    }

    /// It cannot be used: kills what is left of it and schedules the next start.
    fn fail(&mut self, error: &RelayError) -> bool {
        let now = Instant::now();
        self.retry.failed(now);
        if let State::Running { since, .. } = &self.state {
            self.restart_reason = Some(error.to_string());
            if now.duration_since(*since) > LONG_RUN {
                self.retry.reset();
            }
        }
        self.deadline = match error {
            RelayError::Elevated => Some(now + ELEVATED_DELAY),
            _ => self.retry.due.or(Some(now)),
        };
        self.forget();
        let subject = match error {
            RelayError::Interop(_) => "relay",
            _ => "",
        };
        self.failure = Some(Finding::new(error.code(), subject, error.to_string()));
        let state = std::mem::replace(&mut self.state, State::Waiting);
        if let State::AwaitingReady(process) | State::Running { process, .. } = state
            && process.is_unit()
        {
            self.kill_unit();
        }
        true
    }

    /// Forgets what the last relay reported, except its sessions.
    fn forget(&mut self) {
        self.listeners = Listeners::default();
        self.counting = Counting::default();
        (self.heard, self.asked) = (None, None);
    }
}

fn needs_agent(wanted: &RelaySet) -> Finding {
    let names = wanted.forwards.iter().map(|(name, _)| name.clone());
    let mut names = Vec::from_iter(names);
    names.dedup();
    let text = format!("it serves {}", some_of(names.into_iter()));
    Finding::new(Code::RelayNeedsAgent, "", text)
}

#[cfg(test)]
mod tests;
