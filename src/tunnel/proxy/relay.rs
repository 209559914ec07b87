//! The relay's program, which carries the ports: started with the first port, ended with the
//! last, started again where it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::select;
use wslmesh_relay::protocol::{
    Admit, Command, Event, FailureKind, Forward, Limits, Listen, Listener, SetForwards, VERSION,
};

use crate::{
    backoff::{Retry, until},
    host::relay::{self, Process, RelayError},
    model::RelayLocation,
};

/// How long it may owe an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Longest time between two attempts, of a start and of a port that is taken.
const LONGEST: Duration = Duration::from_secs(60);

/// The relay and what it is to carry.
pub(super) struct Relay {
    lib: PathBuf,
    upstream: IpAddr,
    wanted: BTreeSet<Listen>,
    process: Option<Process>,
    /// It has said that it reads commands.
    ready: bool,
    serial: u64,
    /// When it counts as dead, while it owes an answer.
    owed: Option<Instant>,
    starts: Retry,
    /// Ports that do not listen, and the next attempt at them.
    failed: BTreeMap<Listen, FailureKind>,
    again: Retry,
}

impl Relay {
    pub(super) fn new(lib: PathBuf, upstream: IpAddr) -> Self {
        Self {
            lib,
            upstream,
            wanted: BTreeSet::new(),
            process: None,
            ready: false,
            serial: 0,
            owed: None,
            starts: Retry::up_to(LONGEST),
            failed: BTreeMap::new(),
            again: Retry::up_to(LONGEST),
        }
    }

    /// These ports, and no others.
    pub(super) fn want(&mut self, wanted: &BTreeSet<Listen>) {
        self.wanted.clone_from(wanted);
        self.again.reset();
        if self.wanted.is_empty() {
            self.end();
            self.starts.reset();
        } else if self.process.is_none() {
            if self.starts.due.is_none() {
                self.start();
            }
        } else if self.ready {
            self.send();
        }
    }

    /// Lets one thing happen: an event of the relay, or an attempt that is due. For ever
    /// without a port. Cancel safe.
    pub(super) async fn run(&mut self) {
        let event = async {
            match &mut self.process {
                Some(process) => process.recv().await,
                None => pending().await,
            }
        };
        let due = [self.owed, self.starts.due, self.again.due];
        select! {
            event = event => match event {
                Ok(event) => self.handle(event),
                Err(error) => self.failed(&error),
            },
            () = until(due.into_iter().flatten().min()) => self.expire(Instant::now()),
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.owed.take_if(|at| *at <= now).is_some() {
            self.failed(&RelayError::Timeout("answer", ANSWER));
        }
        if self.starts.take_due(now) && !self.wanted.is_empty() {
            self.start();
        }
        if self.again.take_due(now) && self.ready {
            self.send();
        }
    }

    /// Starts it: a program of this machine's disk, which takes a moment.
    fn start(&mut self) {
        let started = relay::command(&RelayLocation::Guest, &self.lib)
            .and_then(|command| Ok(relay::spawn(command)?))
            .and_then(Process::adopt);
        match started {
            Ok(process) => {
                self.process = Some(process);
                self.owed = Some(Instant::now() + ANSWER);
            }
            Err(error) => self.failed(&error),
        }
    }

    fn end(&mut self) {
        self.process = None;
        self.ready = false;
        self.owed = None;
        self.failed.clear();
        self.again.reset();
    }

    fn failed(&mut self, error: &RelayError) {
        self.end();
        let due = self.starts.failed(Instant::now());
        let seconds = due.saturating_duration_since(Instant::now()).as_secs() + 1;
        tracing::warn!(
            event = "tunnel",
            "published ports are not on localhost: {error}; the relay is started again in {seconds} s"
        );
    }

    fn send(&mut self) {
        self.serial += 1;
        let forward = |listen: &Listen| Forward {
            listen: *listen,
            connect_address: self.upstream,
            connect_port: listen.listen_port,
            admit: Admit::Any,
            proxy_protocol: None,
        };
        let command = Command::SetForwards(SetForwards {
            version: VERSION,
            serial: self.serial,
            forwards: self.wanted.iter().map(forward).collect(),
            sessions: Vec::new(),
            limits: Limits::default(),
        });
        let Some(process) = &mut self.process else {
            return;
        };
        match process.send(&command) {
            Ok(()) => self.owed = Some(Instant::now() + ANSWER),
            Err(error) => self.failed(&error),
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Ready { version, .. } if version != VERSION => {
                self.failed(&RelayError::Version(version));
            }
            Event::Ready { .. } => {
                self.ready = true;
                self.send();
            }
            Event::Applied { serial, listeners } if serial == self.serial => {
                self.owed = None;
                self.starts.reset();
                self.applied(&listeners);
            }
            Event::Refused {
                listen,
                limit,
                count,
                ..
            } => tracing::warn!(
                event = "tunnel",
                "{listen}: {count} connections or datagrams were refused at the limit of {limit}"
            ),
            Event::Invalid { reason, .. } => self.failed(&RelayError::Rejected(reason)),
            // Its counters, sessions, and answers to what is out of date.
            _ => {}
        }
    }

    /// Says which ports do not listen, once, and tries them again.
    fn applied(&mut self, listeners: &[Listener]) {
        let failed: BTreeMap<_, _> = listeners
            .iter()
            .filter_map(|one| Some((one.listen, one.failure?.kind)))
            .collect();
        for (listen, kind) in &failed {
            if self.failed.get(listen) != Some(kind) {
                let port = listen.listen_port;
                let why = match kind {
                    FailureKind::InUse => {
                        format!("another program has the port: `wslmesh port {port}` says which")
                    }
                    FailureKind::Forbidden => "the system forbids the port".to_owned(),
                    FailureKind::NoAddress => "there is no such address (IPv6 is off)".to_owned(),
                    FailureKind::Other => "the system cannot listen there".to_owned(),
                };
                tracing::warn!(event = "tunnel", "{listen} is not on localhost: {why}");
            }
        }
        for listen in self.failed.keys().filter(|one| !failed.contains_key(one)) {
            if self.wanted.contains(listen) {
                tracing::info!(event = "tunnel", "{listen} is on localhost now");
            }
        }
        self.failed = failed;
        match self.failed.is_empty() {
            true => self.again.reset(),
            false => drop(self.again.failed(Instant::now())),
        }
    }
}
