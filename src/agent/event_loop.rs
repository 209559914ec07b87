//! The event loop: each event leads to one reconciliation.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{
    select,
    signal::unix::Signal,
    time::{self, sleep, timeout_at},
};

use super::{
    dependents::Dependents,
    error::AgentError,
    machine::Linux,
    reconcile::Agent,
    relay::Supervisor,
    timer::Timer,
    windows::{HostEvent, Windows},
};
use crate::{
    backoff::until,
    bus::Bus,
    config::{Settings, Source},
    control::{RequestQueue, Requested},
    interop,
    model::micros,
    netlink::Watch,
    paths::Paths,
    report::Manager,
};

/// What users may ask of a running agent.
pub(super) struct Requests {
    /// SIGHUP: read the configuration, query Windows again.
    pub(super) reload: Signal,
    /// By D-Bus.
    pub(super) queue: RequestQueue,
}

/// Why the loop woke up.
enum Wake {
    Network,
    ClockSet,
    Reload,
    Requested(Requested),
    Due,
    Host(Box<HostEvent>),
    Dependents,
    Watchdog,
}

/// Everything that the loop drives.
pub(super) struct EventLoop {
    agent: Agent<Linux>,
    windows: Windows,
    dependents: Dependents,
    source: Source,
    bus: Bus,
}

impl EventLoop {
    /// Nothing has been looked at yet.
    pub(super) fn new(
        settings: Settings,
        source: Source,
        paths: &Paths,
        bus: Bus,
    ) -> Result<Self, AgentError> {
        let windows = Windows::new(paths, Supervisor::new(paths));
        let dependents = Dependents::new(&paths.runtime, source.folder());
        let mut agent = Agent::on_this_machine(settings, paths)?;
        agent.publisher.attach_bus(bus.clone());
        Ok(Self {
            agent,
            windows,
            dependents,
            source,
            bus,
        })
    }

    /// Reconciles on every event; ends only with an error.
    pub(super) async fn run(
        &mut self,
        manager: &mut Manager,
        requests: Requests,
    ) -> Result<(), AgentError> {
        let Requests {
            mut reload,
            mut queue,
        } = requests;
        let mut watch = Watch::subscribe()?;
        let mut clock = Timer::clock_set().map_err(AgentError::system("watch the wall clock"))?;
        let mut watchdog = Timer::every(Manager::watchdog())
            .map_err(AgentError::system("make the watchdog's timer"))?;
        match interop::mode_at_once() {
            Some(mode) => drop(self.agent.handle_event(HostEvent::Mode(mode))),
            None => self.windows.ask_mode(),
        }
        self.agent.reconcile(&mut self.windows, manager).await;
        manager.ready();
        self.bus.start();
        loop {
            // After the pass, so that they find the new address everywhere.
            let (node, mode) = (self.agent.publisher.node(), &self.agent.mode.state);
            self.dependents.follow(&self.agent.settings, node, mode);
            let wake = select! {
                changed = watch.changed() => {
                    if changed.is_err() {
                        watch = subscribe_again().await?;
                    }
                    Wake::Network
                }
                () = clock.fired() => Wake::ClockSet,
                _ = reload.recv() => Wake::Reload,
                requested = queue.requested() => Wake::Requested(requested),
                () = until(self.agent.next_due()) => Wake::Due,
                event = self.windows.event() => Wake::Host(Box::new(event)),
                () = self.dependents.changed() => Wake::Dependents,
                () = watchdog.fired() => Wake::Watchdog,
            };
            match wake {
                Wake::Watchdog => {
                    manager.alive();
                    continue;
                }
                Wake::Network => self.settle(&mut watch).await?,
                Wake::Due => {
                    if self.agent.mode.take_due() {
                        self.windows.ask_mode();
                    }
                }
                Wake::ClockSet => {
                    // WSL's time synchronisation may step the clock often.
                    tracing::debug!(event = "clock", "the wall clock was set");
                    self.retry_everything();
                }
                Wake::Host(event) => {
                    let counters_only = self.agent.handle_event(*event);
                    queue.set_counters(self.agent.host.relay.counted.as_ref());
                    if counters_only {
                        continue;
                    }
                }
                Wake::Dependents => {
                    let findings = self.dependents.findings();
                    // A run that changed nothing needs no pass.
                    if self.agent.reported.dependents == findings {
                        continue;
                    }
                    self.agent.reported.dependents = findings;
                }
                Wake::Requested(Requested::Counters) => match self.windows.ask_counters() {
                    Some(event) => drop(self.agent.handle_event(event)),
                    None => continue,
                },
                Wake::Reload => {
                    self.reload().unwrap_or_default();
                    self.bus.retry();
                }
                Wake::Requested(Requested::Pass { reload, reapply }) => {
                    if reload {
                        queue.set_reloaded(self.reload());
                    }
                    if reapply {
                        self.retry_everything();
                    }
                    self.agent.reported.name_taken = queue.finding();
                }
            }
            let done = self.agent.reconcile(&mut self.windows, manager).await;
            queue.answer(&done.changes);
        }
    }

    /// Retries whatever failed, at once.
    fn retry_everything(&mut self) {
        self.agent.retry_everything();
        self.windows.retry_relay();
        self.dependents.retry_now();
    }

    /// Reads the configuration again and queries Windows again. A bad new
    /// configuration is refused as a whole and the old one stays.
    fn reload(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        let result = match Settings::load(&self.source) {
            Ok(settings) => {
                tracing::info!(
                    event = "reload",
                    duration_us = micros(begin.elapsed()),
                    "configuration reloaded"
                );
                self.agent.adopt(settings);
                Ok(())
            }
            Err(error) => {
                self.agent.refuse(&error, &path_of(&self.source));
                self.agent.ask_windows_again();
                Err(error.to_string())
            }
        };
        self.windows.retry_relay();
        self.dependents.check_again();
        if self.agent.mode.known().is_none() {
            self.windows.ask_mode();
        }
        result
    }

    /// Waits until the network has been quiet, but not for ever.
    async fn settle(&self, watch: &mut Watch) -> Result<(), AgentError> {
        let (quiet, most) = self.agent.settle_times();
        // A timer that has expired still costs up to two milliseconds.
        if quiet.is_zero() {
            return Ok(());
        }
        let end = time::Instant::now() + most;
        loop {
            let deadline = end.min(time::Instant::now() + quiet);
            match timeout_at(deadline, watch.changed()).await {
                Err(_) => return Ok(()),
                Ok(Err(_)) => *watch = subscribe_again().await?,
                Ok(Ok(())) if time::Instant::now() >= end => return Ok(()),
                Ok(Ok(())) => {}
            }
        }
    }
}

/// The event stream ended, which no kernel does by itself. What happened in
/// between is found by the pass that follows.
async fn subscribe_again() -> Result<Watch, AgentError> {
    sleep(Duration::from_secs(1)).await;
    Ok(Watch::subscribe()?)
}

fn path_of(source: &Source) -> PathBuf {
    match source {
        Source::System => PathBuf::from("/etc/wslmesh/wslmesh.toml"),
        Source::File(path) => path.clone(),
    }
}
