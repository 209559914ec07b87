//! Keeps the relay running and told, as long as a forward needs it.
//!
//! The relay holds nothing on disk and no decisions: what it is to serve comes
//! from the plan, and the table of its UDP clients is kept here, because
//! WireGuard in the guest answers to the port it saw last, whatever happens to
//! the relay. Telling a relay that runs is one write to a pipe, made in the pass
//! itself; everything else happens between passes and comes to the loop as news.

mod counting;
mod listeners;
mod passing;
mod stage;
mod table;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::select;

use self::{
    counting::Counting,
    listeners::Listeners,
    passing::Passing,
    stage::{Stage, Step},
    table::Table,
};
use crate::{
    backoff::{Retry, until},
    blocking::SingleFlight,
    host::relay::{Process, RelayError},
    model::{Code, Finding, RelayMemory, RelayPlace, RelaySet},
    paths::Paths,
};
use wslmesh_relay::protocol::{Command, Event, Limits, Listen, SetForwards, VERSION};

/// Longest wait for a relay's first word, and for its word that an order is in
/// force. A start on Windows takes a second.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long a relay may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
/// A relay that lived longer is started again at once.
const LONG_LIFE: Duration = Duration::from_secs(60);
/// Longest wait before the next start.
const LONGEST: Duration = Duration::from_secs(60);
/// Wait after a start with administrator rights: they stay until WSL is restarted.
const ELEVATED: Duration = Duration::from_secs(300);
/// How long something that is over stays to be seen.
const SEEN: Duration = Duration::from_secs(60);

/// The relay's supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Where our programs are; `None` where no relay is to be started.
    lib: Option<PathBuf>,
    /// Starts: one that hangs gets no second.
    starts: SingleFlight,
    stage: Stage,
    wanted: Option<RelaySet>,
    serial: u64,
    listeners: Listeners,
    table: Table,
    /// Starts that failed and short lives, in a row.
    retry: Retry,
    /// Why it does not run.
    trouble: Option<Finding>,
    /// Why it had to be started again.
    ended: Option<String>,
    passing: Passing,
    counting: Counting,
    /// What the journal was told last.
    said: Option<RelaySet>,
}

impl Supervisor {
    /// A supervisor that knows the clients of an earlier run.
    pub(super) fn new(paths: &Paths) -> Self {
        // systemd makes the folder; if this fails, writing the table tells.
        fs::create_dir_all(&paths.runtime).unwrap_or_default();
        Self {
            lib: Some(paths.lib.clone()),
            table: Table::load(paths.runtime.join("relay-sessions.json")),
            ..Self::absent()
        }
    }

    /// A supervisor that starts nothing: for a pass by hand, whose relay would
    /// end with it.
    pub(super) fn absent() -> Self {
        Self {
            lib: None,
            starts: SingleFlight::default(),
            stage: Stage::Idle,
            wanted: None,
            serial: 0,
            listeners: Listeners::default(),
            table: Table::default(),
            retry: Retry::up_to(LONGEST),
            trouble: None,
            ended: None,
            passing: Passing::default(),
            counting: Counting::default(),
            said: None,
        }
    }

    /// Takes what the relay is to serve. A relay that runs is told at once.
    pub(super) fn tell(&mut self, wanted: Option<RelaySet>) -> RelayMemory {
        let moves = match (&self.wanted, &wanted) {
            (Some(old), Some(new)) => old.place != new.place,
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        self.wanted = wanted;
        if self.lib.is_none() {
            return self.absence();
        }
        self.table.keep(self.wanted.as_ref());
        match (&mut self.stage, moves) {
            (Stage::Running { .. }, false) => self.want(false),
            (Stage::Idle, _) | (Stage::Starting(_) | Stage::Waiting { .. }, true) => {
                self.retry.reset();
                self.begin();
            }
            (Stage::Greeting { .. } | Stage::Running { .. }, true) => self.dismiss(),
            // They get to know what is wanted then when they are through.
            (Stage::Starting(_) | Stage::Waiting { .. } | Stage::Greeting { .. }, false)
            | (Stage::Stopping { .. }, _) => {}
        }
        self.memory()
    }

    /// Waits until there is something to tell: how the relay stands, and whether
    /// it has just confirmed its forwards.
    pub(super) async fn news(&mut self) -> (RelayMemory, bool) {
        loop {
            let due = [self.stage.due(), self.passing.due(), self.table.due()];
            let due = due.into_iter().flatten().min();
            let news = select! {
                step = self.stage.step() => self.take(step),
                () = until(due) => self.wake(Instant::now()),
            };
            match news {
                Some(News::Applied) => return (self.memory(), true),
                Some(News::Other) => return (self.memory(), false),
                None => {}
            }
        }
    }

    /// Starts a relay that waits for its next start at once: somebody may have
    /// done what was missing.
    pub(super) fn retry(&mut self) {
        if let Stage::Waiting { until } = &mut self.stage {
            *until = Instant::now();
            self.retry.reset();
        }
    }

    fn memory(&self) -> RelayMemory {
        RelayMemory {
            wanted: self.wanted.clone(),
            applied: matches!(self.stage, Stage::Running { .. }) && self.listeners.applied(),
            listening: self.listeners.listening(),
            failed: self.listeners.failed().to_vec(),
            sessions: self.table.len(),
            counted: self.counting.last().cloned(),
            findings: self
                .trouble
                .iter()
                .chain(self.passing.findings())
                .cloned()
                .collect(),
        }
    }

    fn absence(&self) -> RelayMemory {
        let finding = |set: &RelaySet| {
            let names: Vec<&str> = set.forwards.iter().map(|(name, _)| name.as_str()).collect();
            Finding::new(
                Code::RelayNeedsAgent,
                "",
                format!("it serves {}", names.join(", ")),
            )
        };
        RelayMemory {
            wanted: self.wanted.clone(),
            findings: self.wanted.iter().map(finding).collect(),
            ..RelayMemory::default()
        }
    }

    /// Starts the relay, or does without.
    fn begin(&mut self) {
        self.stage = match (&self.wanted, &self.lib) {
            (Some(wanted), Some(lib)) => {
                Stage::start(&self.starts, wanted.place.clone(), lib.clone())
            }
            (None, _) | (_, None) => Stage::Idle,
        };
        if self.wanted.is_none() {
            (self.trouble, self.ended, self.said) = (None, None, None);
            self.passing = Passing::default();
        }
    }

    /// Asks it to end; what is wanted then is begun after that.
    fn dismiss(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        if let Stage::Greeting { mut process, .. } | Stage::Running { mut process, .. } = stage {
            process.shutdown();
            self.stage = Stage::Stopping {
                process,
                deadline: Instant::now() + FAREWELL,
            };
        }
    }

    /// Says what is wanted. A fresh relay gets the table of clients with it.
    fn want(&mut self, fresh: bool) {
        let (
            Stage::Running {
                process, confirm, ..
            },
            Some(wanted),
        ) = (&mut self.stage, &self.wanted)
        else {
            return;
        };
        self.serial += 1;
        let listens: Vec<Listen> = wanted.forwards.iter().map(|(_, f)| f.listen).collect();
        let mut want = SetForwards {
            version: VERSION,
            serial: self.serial,
            forwards: wanted.forwards.iter().map(|(_, f)| *f).collect(),
            sessions: Vec::new(),
            limits: Limits::default(),
        };
        if fresh {
            want.sessions = self.table.sessions(want.limits.udp_sessions);
        }
        self.listeners.told(self.serial, listens);
        match process.send(&Command::SetForwards(want)) {
            Ok(()) => *confirm = Some(Instant::now() + DEADLINE),
            Err(error) => self.fell(&error),
        }
    }

    fn take(&mut self, step: Step) -> Option<News> {
        match step {
            Step::Started(Ok(started)) => match Process::adopt(started) {
                Ok(process) => {
                    self.stage = Stage::Greeting {
                        process,
                        deadline: Instant::now() + DEADLINE,
                    };
                    None
                }
                Err(error) => self.fall(&error),
            },
            Step::Started(Err(error)) => self.fall(&error),
            Step::Heard(_) if matches!(self.stage, Stage::Stopping { .. }) => {
                if matches!(step, Step::Heard(Err(_))) {
                    return self.gone();
                }
                None
            }
            Step::Heard(Ok(event)) => self.heard(event),
            Step::Heard(Err(error)) => self.fall(&error),
        }
    }

    fn heard(&mut self, event: Event) -> Option<News> {
        match event {
            Event::Elevated => self.fall(&RelayError::Elevated),
            Event::Ready { version, program } => self.greet(version, &program),
            _ if matches!(self.stage, Stage::Greeting { .. }) => {
                let text = "an event before it was ready".to_owned();
                self.fall(&RelayError::Protocol(text))
            }
            Event::Applied { serial, listeners } => {
                if !self.listeners.confirmed(serial, &listeners) {
                    return None;
                }
                if let Stage::Running { confirm, .. } = &mut self.stage {
                    *confirm = None;
                }
                self.say_applied();
                self.trouble = None;
                if let Some(why) = self.ended.take() {
                    let finding = Finding::new(Code::RelayRestarted, "", why);
                    self.passing.add(finding, Instant::now() + SEEN);
                }
                Some(News::Applied)
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
                let text = format!("{listen}: {count} turned away at the limit of {limit}");
                let finding = Finding::new(Code::RelayLimit, self.name_of(listen), text);
                // One that is known already only lasts longer.
                let new = self.passing.add(finding, Instant::now() + SEEN);
                new.then_some(News::Other)
            }
            Event::Invalid { line, reason } => {
                let reason = format!("line {line}: {}", crate::model::plain(&reason));
                self.fall(&RelayError::Rejected(reason))
            }
            Event::Counters { forwards } => self.counted(forwards).then_some(News::Other),
        }
    }

    fn greet(&mut self, version: u32, program: &str) -> Option<News> {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let Stage::Greeting { process, .. } = stage else {
            let text = "it said twice that it is ready".to_owned();
            return self.fall(&RelayError::Protocol(text));
        };
        if version != VERSION {
            return self.fall(&RelayError::Version(version));
        }
        let program = crate::model::plain(program);
        tracing::debug!(
            event = "relay",
            pid = process.id(),
            "relay {program} started"
        );
        self.stage = Stage::Running {
            process,
            since: Instant::now(),
            confirm: None,
        };
        self.want(true);
        Some(News::Other)
    }

    /// One line where the forwards in force are others than those before.
    fn say_applied(&mut self) {
        if self.said == self.wanted {
            return;
        }
        self.said.clone_from(&self.wanted);
        if let Some(wanted) = &self.wanted
            && let Some((_, first)) = wanted.forwards.first()
        {
            let place = match wanted.place {
                RelayPlace::Guest => "here",
                RelayPlace::Installed { .. } | RelayPlace::Unpacked(_) => "on Windows",
            };
            let failed = match self.listeners.failed().len() {
                0 => String::new(),
                failed => format!(", {failed} of them not"),
            };
            tracing::info!(
                event = "relay",
                address = %first.connect_address,
                "relay {place} -> {}: {} forwarded{failed}",
                first.connect_address,
                wanted.forwards.len()
            );
        }
    }

    fn name_of(&self, listen: Listen) -> String {
        let forwards = self.wanted.iter().flat_map(|set| &set.forwards);
        let mut names = forwards.filter(|(_, f)| f.listen == listen);
        names
            .next()
            .map(|(name, _)| name.clone())
            .unwrap_or_default()
    }

    fn wake(&mut self, now: Instant) -> Option<News> {
        self.table.save_if_due(now);
        let news = self.passing.clear(now).then_some(News::Other);
        if self.stage.due().is_none_or(|due| due > now) {
            // The table was saved: its size is worth a look.
            return Some(News::Other);
        }
        match &self.stage {
            Stage::Waiting { .. } => {
                self.begin();
                news
            }
            Stage::Greeting { .. } => self.fall(&late("become ready")),
            Stage::Running { .. } => self.fall(&late("confirm its forwards")),
            // Dropping it kills it.
            Stage::Stopping { .. } => self.gone(),
            Stage::Idle | Stage::Starting(_) => news,
        }
    }

    /// A relay that was asked to end has ended.
    fn gone(&mut self) -> Option<News> {
        self.listeners = Listeners::default();
        self.counting = Counting::default();
        self.retry.reset();
        self.begin();
        Some(News::Other)
    }

    fn fall(&mut self, error: &RelayError) -> Option<News> {
        self.fell(error);
        Some(News::Other)
    }

    /// It does not run any more, or is of no use: what is left of it is killed,
    /// and it is started again after a while.
    fn fell(&mut self, error: &RelayError) {
        let now = Instant::now();
        let lived = match &self.stage {
            Stage::Running { since, .. } => Some(now.duration_since(*since)),
            _ => None,
        };
        if lived.is_some() {
            self.ended = Some(error.to_string());
        }
        let mut until = if lived.is_some_and(|lived| lived > LONG_LIFE) {
            self.retry.reset();
            now
        } else {
            self.retry.failed(now)
        };
        if matches!(error, RelayError::Elevated) {
            until = now + ELEVATED;
        }
        self.listeners = Listeners::default();
        self.counting = Counting::default();
        let code = error.code();
        let subject = if matches!(error, RelayError::Interop(_)) {
            "relay"
        } else {
            ""
        };
        self.trouble = Some(Finding::new(code, subject, error.to_string()));
        self.stage = Stage::Waiting { until };
    }
}

/// What the loop should look at.
enum News {
    /// The relay has confirmed what it was told.
    Applied,
    Other,
}

fn late(action: &'static str) -> RelayError {
    RelayError::Timeout {
        action,
        after: DEADLINE,
    }
}

#[cfg(test)]
mod tests;
