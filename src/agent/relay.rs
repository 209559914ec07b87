//! Keeps the relay running as long as a forward needs it.
//!
//! The relay keeps nothing on disk and decides nothing: its forwards come from the
//! plan, and the table of its UDP sessions is kept here, because WireGuard in the
//! guest answers to the port it saw last, even if the relay restarts. Forwards are
//! sent to a running relay within the reconciliation, by one write to a pipe;
//! everything else happens in between and reaches the event loop as a change.

mod counting;
mod reported;
mod state;
mod table;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::select;

use self::{
    counting::Counting,
    reported::{Listeners, TransientFindings},
    state::{DEADLINE, State},
    table::Table,
};
use crate::{
    backoff::{Retry, until},
    blocking::SingleFlight,
    host::relay::RelayError,
    model::{Code, CountedForward, Counters, Finding, RelayMemory, RelaySet},
    paths::Paths,
};
use wslmesh_relay::protocol::{Command, Event, Limits, Listen, SetForwards, VERSION};

/// How long a relay may take to exit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// A relay that ran for longer is restarted at once.
const LONG_RUN: Duration = Duration::from_secs(60);
/// Longest delay of the next start.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// Delay after a start with administrator rights: they stay until WSL restarts.
const ELEVATED_DELAY: Duration = Duration::from_secs(300);
/// How long a transient finding is shown.
const TRANSIENT: Duration = Duration::from_secs(60);

/// The relay's supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Where our programs are; `None` where no relay may be started.
    lib: Option<PathBuf>,
    /// While one start hangs there is no second.
    starts: SingleFlight,
    state: State,
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

/// What changed between reconciliations.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The relay has confirmed its forwards.
    Applied,
    Other,
}

impl Supervisor {
    /// A supervisor with the session table of an earlier run.
    pub(super) fn new(paths: &Paths) -> Self {
        // systemd makes the folder; if this fails, writing the table reports it.
        fs::create_dir_all(&paths.runtime).unwrap_or_default();
        Self {
            lib: Some(paths.lib.clone()),
            table: Table::load(paths.runtime.join("relay-sessions.json")),
            ..Self::absent()
        }
    }

    /// A supervisor that starts nothing: for a single reconciliation, whose relay
    /// would exit with it.
    pub(super) fn absent() -> Self {
        Self {
            lib: None,
            starts: SingleFlight::default(),
            state: State::Idle,
            wanted: None,
            serial: 0,
            listeners: Listeners::default(),
            table: Table::default(),
            retry: Retry::up_to(MAX_DELAY),
            failure: None,
            restart_reason: None,
            transient: TransientFindings::default(),
            counting: Counting::default(),
            logged: None,
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
        self.table.keep(self.wanted.as_ref());
        match (&self.state, moved) {
            (State::Running { .. }, false) => self.send_forwards(false),
            (State::Idle, _) | (State::Starting(_) | State::Waiting, true) => {
                self.retry.reset();
                self.start();
            }
            (State::AwaitingReady { .. } | State::Running { .. }, true) => self.shutdown(),
            // Sent once it is ready, or once the next one is.
            (State::Starting(_) | State::Waiting | State::AwaitingReady { .. }, false)
            | (State::Stopping { .. }, _) => {}
        }
        self.memory()
    }

    /// Waits for a change: the relay's state, and whether it has just confirmed
    /// its forwards. Cancel safe.
    pub(super) async fn next_change(&mut self) -> (RelayMemory, bool) {
        loop {
            let due = [self.due(), self.transient.due(), self.table.due()];
            let change = select! {
                received = self.state.next() => self.handle(received),
                () = until(due.into_iter().flatten().min()) => self.on_deadline(Instant::now()),
            };
            if let Some(change) = change {
                return (self.memory(), change == Change::Applied);
            }
        }
    }

    /// Makes the next start immediate: the cause of the failure may be fixed. A start
    /// under way may still fail from that cause; it then counts as the first.
    pub(super) fn retry(&mut self) {
        self.retry.reset();
        if matches!(self.state, State::Waiting) {
            self.retry.due = Some(Instant::now());
        }
    }

    fn memory(&self) -> RelayMemory {
        let findings = self.failure.iter().chain(self.transient.findings());
        RelayMemory {
            wanted: self.wanted.clone(),
            applied: matches!(self.state, State::Running { .. }) && self.listeners.applied(),
            listening: self.listeners.listening(),
            failed: self.listeners.failed().to_vec(),
            sessions: self.table.len(),
            counted: self.counting.last().cloned(),
            findings: findings.cloned().collect(),
        }
    }

    /// When the state's deadline is.
    fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Idle | State::Starting(_) => None,
            State::AwaitingReady { deadline, .. } | State::Stopping { deadline, .. } => {
                Some(*deadline)
            }
            State::Running { confirm_by, .. } => *confirm_by,
            State::Waiting => self.retry.due,
        }
    }

    fn on_deadline(&mut self, now: Instant) -> Option<Change> {
        self.table.save_if_due(now);
        let cleared = self.transient.expire(now).then_some(Change::Other);
        if self.due().is_none_or(|due| due > now) {
            // The table was saved: its size may have changed.
            return Some(Change::Other);
        }
        let late = |action| RelayError::Timeout {
            action,
            after: DEADLINE,
        };
        match &self.state {
            State::Waiting => {
                self.start();
                cleared
            }
            State::AwaitingReady { .. } => self.fail(&late("become ready")),
            State::Running { .. } => self.fail(&late("confirm its forwards")),
            // Dropping it kills it.
            State::Stopping { .. } => self.on_exit(),
            State::Idle | State::Starting(_) => cleared,
        }
    }

    /// Starts the relay if it is wanted.
    fn start(&mut self) {
        self.state = match (&self.wanted, &self.lib) {
            (Some(wanted), Some(lib)) => {
                State::start(&self.starts, wanted.location.clone(), lib.clone())
            }
            (None, _) | (_, None) => State::Idle,
        };
        if self.wanted.is_none() {
            (self.failure, self.restart_reason, self.logged) = (None, None, None);
            self.transient = TransientFindings::default();
        }
    }

    /// Asks it to exit; what is wanted by then is started after that.
    fn shutdown(&mut self) {
        let state = std::mem::take(&mut self.state);
        if let State::AwaitingReady { mut process, .. } | State::Running { mut process, .. } = state
        {
            process.shutdown();
            self.state = State::Stopping {
                process,
                deadline: Instant::now() + SHUTDOWN_TIMEOUT,
            };
        }
    }

    /// Sends the wanted forwards; a fresh relay gets the session table too.
    fn send_forwards(&mut self, fresh: bool) {
        let State::Running {
            process,
            confirm_by,
            ..
        } = &mut self.state
        else {
            return;
        };
        let Some(wanted) = &self.wanted else { return };
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
        self.listeners.sent(self.serial, listens.collect());
        match process.send(&Command::SetForwards(command)) {
            Ok(()) => *confirm_by = Some(Instant::now() + DEADLINE),
            Err(error) => drop(self.fail(&error)),
        }
    }

    fn handle(&mut self, received: Result<Option<Event>, RelayError>) -> Option<Change> {
        let stopping = matches!(self.state, State::Stopping { .. });
        match received {
            Ok(None) => None,
            Ok(Some(_)) if stopping => None,
            Ok(Some(event)) => self.handle_event(event),
            Err(_) if stopping => self.on_exit(),
            Err(error) => self.fail(&error),
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Change> {
        match event {
            Event::Elevated => self.fail(&RelayError::Elevated),
            Event::Ready { version, program } => self.on_ready(version, &program),
            _ if matches!(self.state, State::AwaitingReady { .. }) => {
                self.fail(&RelayError::Protocol("an event before it was ready".into()))
            }
            Event::Applied { serial, listeners } => {
                if !self.listeners.confirmed(serial, &listeners) {
                    return None;
                }
                if let State::Running { confirm_by, .. } = &mut self.state {
                    *confirm_by = None;
                }
                self.log_applied();
                self.failure = None;
                if let Some(reason) = self.restart_reason.take() {
                    let finding = Finding::new(Code::RelayRestarted, "", reason);
                    self.transient.add(finding, Instant::now() + TRANSIENT);
                }
                Some(Change::Applied)
            }
            Event::Sessions {
                complete,
                opened,
                closed,
            } => {
                self.table.update(complete, opened, &closed);
                None
            }
            Event::Refused {
                listen,
                limit,
                count,
            } => {
                let text = format!("{listen}: {count} refused at the limit of {limit}");
                let finding = Finding::new(Code::RelayLimit, self.name_of(listen), text);
                let new = self.transient.add(finding, Instant::now() + TRANSIENT);
                new.then_some(Change::Other)
            }
            Event::Invalid { line, reason } => {
                let reason = format!("line {line}: {}", crate::model::plain(&reason));
                self.fail(&RelayError::Rejected(reason))
            }
            Event::Counters { forwards } => self.counted(forwards).then_some(Change::Other),
        }
    }

    fn on_ready(&mut self, version: u32, program: &str) -> Option<Change> {
        let State::AwaitingReady { process, .. } = std::mem::take(&mut self.state) else {
            return self.fail(&RelayError::Protocol("it became ready twice".into()));
        };
        if version != VERSION {
            return self.fail(&RelayError::Version(version));
        }
        let program = crate::model::plain(program);
        tracing::debug!(
            event = "relay",
            pid = process.id(),
            "relay {program} started"
        );
        self.state = State::Running {
            process,
            since: Instant::now(),
            confirm_by: None,
        };
        self.send_forwards(true);
        Some(Change::Other)
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
        let State::Running { process, .. } = &mut self.state else {
            return None;
        };
        match process.send(&Command::GetCounters) {
            Ok(()) => {
                self.counting.asked = true;
                None
            }
            Err(error) => {
                self.fail(&error);
                Some(self.memory())
            }
        }
    }

    /// Takes its answer. Says whether it was asked.
    fn counted(&mut self, forwards: Vec<Counters>) -> bool {
        let named = |counters: Counters| CountedForward {
            name: self.name_of(counters.listen),
            counters,
        };
        let forwards = forwards.into_iter().map(named);
        // A forward that was removed meanwhile has no name.
        let forwards = forwards.filter(|one| !one.name.is_empty()).collect();
        self.counting.answered(forwards)
    }

    /// The name of the forward that listens there; empty if none does.
    fn name_of(&self, listen: Listen) -> String {
        let mut forwards = self.wanted.iter().flat_map(|set| &set.forwards);
        let named = forwards.find(|(_, forward)| forward.listen == listen);
        named.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// It exited as it was asked to.
    fn on_exit(&mut self) -> Option<Change> {
        self.forget();
        self.retry.reset();
        self.start();
        Some(Change::Other)
    }

    /// It cannot be used: kills what is left of it and schedules the next start.
    fn fail(&mut self, error: &RelayError) -> Option<Change> {
        let now = Instant::now();
        let ran = match &self.state {
            State::Running { since, .. } => Some(now.duration_since(*since)),
            _ => None,
        };
        if ran.is_some() {
            self.restart_reason = Some(error.to_string());
        }
        if ran.is_some_and(|ran| ran > LONG_RUN) {
            self.retry.reset();
            self.retry.due = Some(now);
        } else {
            self.retry.failed(now);
        }
        if matches!(error, RelayError::Elevated) {
            self.retry.due = Some(now + ELEVATED_DELAY);
        }
        self.forget();
        let subject = match error {
            RelayError::Interop(_) => "relay",
            _ => "",
        };
        self.failure = Some(Finding::new(error.code(), subject, error.to_string()));
        self.state = State::Waiting;
        Some(Change::Other)
    }

    /// Forgets what the last relay reported, except its sessions.
    fn forget(&mut self) {
        self.listeners = Listeners::default();
        self.counting = Counting::default();
    }
}

fn needs_agent(wanted: &RelaySet) -> Finding {
    let names: Vec<&str> = wanted
        .forwards
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let text = format!("it serves {}", names.join(", "));
    Finding::new(Code::RelayNeedsAgent, "", text)
}

#[cfg(test)]
mod tests;
