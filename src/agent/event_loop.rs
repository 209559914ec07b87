//! The event loop: each event leads to one reconciliation.

mod take;

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
    clock::Clock,
    dependents::{Dependents, Followed},
    dns::Dns,
    election::Leadership,
    endpoints::Endpoints,
    error::AgentError,
    lifetime::Lifetime,
    listeners::Listeners,
    machine::Linux,
    members::{Members, inheritance::Inheritance, wire::Registration},
    metrics::Metrics,
    peers::Peers,
    reconcile::Agent,
    relay::Supervisor,
    resume::{Order, Resumption},
    standby::Inherited,
    tailscale::Tailscale,
    timer::Timer,
    tunnel::Tunnel,
    verify::Verify,
    windows::{HostEvent, Windows},
};
use crate::{
    backoff::until,
    bus::Bus,
    config::{Settings, Source},
    control::{RequestQueue, Requested},
    host::relay::Pipes,
    interop,
    model::{Listener, Mode, ModeState, RelayMemory, RelayRole, micros},
    netlink::Watch,
    paths::Paths,
    plan::discovered_forwards,
    report::{Manager, SampleCause},
    units::TailscaleCall,
};

/// Everything that the loop drives.
pub(super) struct EventLoop {
    agent: Agent<Linux>,
    windows: Windows,
    dependents: Dependents,
    dns: Dns,
    clock: Clock,
    source: Source,
    bus: Bus,
    leadership: Leadership,
    members: Members,
    /// Where this agent leaves to its next process whom it serves.
    runtime: PathBuf,
    listeners: Listeners,
    lifetime: Lifetime,
    tunnel: Tunnel,
    resumption: Resumption,
    peers: Peers,
    tailscale: Tailscale,
    metrics: Metrics,
    /// Whether this distribution's name was asked for.
    named: bool,
}

impl EventLoop {
    /// Nothing has been looked at yet.
    pub(super) fn new(
        settings: Settings,
        source: Source,
        paths: &Paths,
        bus: Bus,
        leadership: Leadership,
        mut left: Vec<Pipes>,
    ) -> Result<Self, AgentError> {
        let mut supervisor = |role| {
            let left = left.extract_if(.., |pipes| pipes.role == role).next();
            let supervisor = Supervisor::new(paths, role);
            match Manager::is_there() {
                true => supervisor.in_unit(left),
                false => supervisor,
            }
        };
        let (relay, loopback) = (
            supervisor(RelayRole::Entry),
            supervisor(RelayRole::Loopback),
        );
        let windows = Windows::new(paths, relay, loopback);
        let dependents = Dependents::new(&paths.runtime, source.folder());
        let dns = Dns::new(paths);
        let clock = Clock::new(&paths.runtime);
        let mut agent = Agent::on_this_machine(settings, paths)?;
        agent.publisher.bus = Some(bus.clone());
        // What it listens on is none of what is discovered.
        agent.host.loopback = windows.loopback.memory();
        let endpoints = Endpoints::default();
        let members = leadership.members();
        Ok(Self {
            members,
            runtime: paths.runtime.clone(),
            listeners: Listeners::default(),
            lifetime: Lifetime::default(),
            tunnel: Tunnel::new(&paths.runtime, Manager::watchdog().is_some()),
            resumption: Resumption::new(endpoints.clone()),
            peers: Peers::new(endpoints, Manager::watchdog().is_some()),
            tailscale: Tailscale::new(),
            metrics: Metrics::default(),
            named: false,
            agent,
            windows,
            dependents,
            dns,
            clock,
            source,
            bus,
            leadership,
        })
    }

    /// Goes on where the leader before ended, and this agent on standby: under this name if
    /// it is known.
    pub(super) fn inherit(&mut self, inherited: Inherited) {
        let Inherited {
            left,
            name,
            lifetime,
            metrics,
        } = inherited;
        (self.lifetime, self.metrics) = (lifetime, metrics);
        self.agent.host.rules_remain |= left.rules_remain;
        self.members.inherit(left);
        if let Some(name) = name {
            (self.agent.group.own, self.named) = (name, true);
        }
    }

    /// Reconciles on every event; ends only with an error. Users ask by SIGHUP, which
    /// reads the configuration and queries Windows again, and by D-Bus.
    pub(super) async fn run(
        &mut self,
        manager: &mut Manager,
        mut reload: Signal,
        mut queue: RequestQueue,
    ) -> Result<(), AgentError> {
        let mut watch = Watch::subscribe()?;
        let mut clock = Timer::clock_set().map_err(AgentError::system("watch the wall clock"))?;
        let period = Manager::watchdog();
        let mut watchdog =
            Timer::every(period).map_err(AgentError::system("make the watchdog's timer"))?;
        self.agent.verify = Verify::new(period.is_some());
        if interop::is_wsl() {
            self.windows.ask_mode();
            self.windows.look_up_requested_mode();
        } else {
            let mode = ModeState::Known(Mode::NotWsl);
            self.agent.handle_event(HostEvent::Mode(mode));
        }
        self.agent.strangers = self.leadership.finding();
        self.take_members();
        self.take_listeners();
        self.take_lifetime();
        self.agent.reconcile(&mut self.windows, manager).await;
        self.take_view();
        manager.ready();
        self.bus.start();
        self.look_at_clock(SampleCause::Start);
        self.write_metrics();
        loop {
            // After the pass, so that they find the new address everywhere.
            let followed = Followed {
                node: self.agent.publisher.node.as_ref(),
                mode: &self.agent.mode.state,
                mesh: &self.agent.publisher.mesh,
            };
            self.dependents.follow(&self.agent.settings, &followed);
            self.dns.follow(&self.agent.settings, &self.agent.dns_plan);
            watch.ipv6_ways = self.agent.ipv6_ways;
            let recovers = self.resumption.is_running();
            // Each arm that does not continue is a reason for a pass.
            select! {
                changed = watch.changed() => {
                    if changed.is_err() {
                        watch = subscribe_again().await?;
                    }
                    self.settle(&mut watch).await?;
                    self.tunnel.look_again();
                }
                () = clock.fired() => {
                    // A recovery begins with a pass of its own.
                    if self.resumption.clock_was_set() {
                        continue;
                    }
                    self.look_at_clock(SampleCause::Set);
                    self.retry_everything();
                }
                order = self.resumption.order() => match order {
                    Order::Begin => {
                        self.tailscale.ask(TailscaleCall::Rebind);
                        self.look_at_clock(SampleCause::Resume);
                        self.retry_after_resume();
                        self.tunnel.retry(false);
                        self.agent.ask_windows_again();
                    }
                    Order::Retry => self.retry_after_resume(),
                    Order::AskWindows => self.agent.ask_windows_again(),
                    Order::TakeReading => {
                        let reading = self.resumption.take_reading();
                        let need = self.peers.take(reading, self.resumption.is_running());
                        if !self.serve_peers(need) {
                            continue;
                        }
                    }
                    Order::Publish => {
                        self.peers.look_again();
                        self.agent.unrecovered = self.resumption.findings.clone();
                        let last = self.resumption.last.as_ref();
                        self.agent.publisher.recovered(last);
                    }
                },
                _ = reload.recv() => {
                    self.reload().unwrap_or_default();
                    self.bus.retry();
                }
                requested = queue.requested() => match requested {
                    Requested::Counters => match self.windows.relay.ask_counters() {
                        Some(memory) => self.take_relay(RelayRole::Entry, memory),
                        None => continue,
                    },
                    Requested::Pass { reload, reapply } => {
                        if reload {
                            queue.set_reloaded(self.reload());
                        }
                        if reapply {
                            self.retry_everything();
                            self.tunnel.retry(true);
                            self.agent.ask_windows_again();
                        }
                        self.agent.name_taken = queue.finding();
                    }
                },
                () = until(self.agent.next_due()) => {
                    if self.agent.mode.retry.take_due(Instant::now()) {
                        self.windows.ask_mode();
                    }
                }
                event = self.windows.event() => {
                    let counters_only = self.agent.handle_event(event);
                    queue.set_counters(self.agent.host.relay.counted.as_ref());
                    if counters_only {
                        continue;
                    }
                }
                () = self.dependents.changed() => {
                    let findings = self.dependents.findings();
                    // A run that changed nothing needs no pass.
                    if self.agent.dependents == findings {
                        continue;
                    }
                    self.agent.dependents = findings;
                }
                () = self.dns.changed() => {
                    let looked = self.dns.looked().clone();
                    if !looked.findings.is_empty() {
                        self.tunnel.look_again();
                    }
                    let before = std::mem::replace(&mut self.agent.dns, looked);
                    if self.agent.dns.is_same(&before) {
                        continue;
                    }
                }
                changed = self.clock.changed() => {
                    if let Some(sample) = self.clock.last() {
                        let numbers = &mut self.agent.publisher.numbers;
                        numbers.looked_at_clock(sample);
                        self.bus.count(numbers);
                    }
                    if !changed {
                        continue;
                    }
                    self.agent.clock = self.clock.findings.clone();
                }
                need = self.peers.changed(recovers) => {
                    if !self.serve_peers(need) {
                        continue;
                    }
                }
                () = self.tailscale.run() => continue,
                changed = self.metrics.changed() => {
                    if !changed {
                        continue;
                    }
                }
                () = self.members.changed() => {}
                () = self.listeners.changed() => {}
                () = self.lifetime.changed() => {}
                () = self.tunnel.changed() => {}
                holder = self.leadership.overruled() => return Err(AgentError::Overruled(holder)),
                () = watchdog.fired() => {
                    manager.alive();
                    self.tunnel.on_tick();
                    self.resumption.read_handshakes(self.peers.is_due());
                    self.look_at_clock_if_due();
                    let path = self.agent.settings.textfile.path();
                    self.metrics.on_tick(path, self.bus.document());
                    // Of all that wakes an idle agent this is the only thing.
                    let now = Instant::now();
                    let changed = self.changed_relays(|one| one.ask_if_silent(now));
                    if !changed && !self.agent.verify.is_due(now) {
                        continue;
                    }
                }
            }
            self.agent.strangers = self.leadership.finding();
            self.take_members();
            self.take_listeners();
            self.take_lifetime();
            self.take_tunnel();
            self.agent.unwritten = self.metrics.finding.clone();
            let done = self.agent.reconcile(&mut self.windows, manager).await;
            self.take_view();
            self.look_at_clock_if_due();
            self.write_metrics();
            let (settings, group) = (&self.agent.settings, &self.agent.group);
            let own = || {
                let found = &group.discovered;
                let found = discovered_forwards(settings, found, Listener::is_everywhere).0;
                Registration::new(&group.own, settings, &found).member()
            };
            let left = Inheritance::of(own, &group.members, self.agent.host.rules_remain);
            let forwards = &self.agent.publisher.forwards;
            let findings = &done.findings;
            if self.members.publish(&group.own, forwards, findings, &left) {
                left.save(&self.runtime);
            }
            queue.answer(&done.changes);
        }
    }

    fn write_metrics(&mut self) {
        let path = self.agent.settings.textfile.path();
        self.metrics.after_pass(path, self.bus.document());
    }

    /// Ends what an ended agent leaves to no one.
    pub(super) async fn stop(&mut self) {
        self.metrics.stop().await;
    }

    fn look_at_clock(&mut self, cause: SampleCause) {
        let wireguard = self.agent.has_wireguard;
        self.clock.look(cause, self.agent.settings.clock, wireguard);
    }

    fn look_at_clock_if_due(&mut self) {
        let wireguard = self.agent.has_wireguard;
        self.clock.look_if_due(self.agent.settings.clock, wireguard);
    }

    /// Retries whatever failed, at once.
    fn retry_everything(&mut self) {
        self.retry_with(Supervisor::retry);
        self.peers.look_again();
    }

    /// The same for a recovery, which waits for a sign of life of each relay.
    fn retry_after_resume(&mut self) {
        self.retry_with(Supervisor::retry_and_await);
    }

    fn retry_with(&mut self, retry: impl Fn(&mut Supervisor) -> Option<RelayMemory>) {
        self.agent.ledger.reset();
        self.changed_relays(retry);
        self.dependents.retry_now();
        self.dns.look_again();
        self.lifetime.retry();
    }

    /// Does this with both relays, and says whether the state of one changed.
    fn changed_relays(&mut self, change: impl Fn(&mut Supervisor) -> Option<RelayMemory>) -> bool {
        let mut changed = false;
        for role in RelayRole::ALL {
            if let Some(memory) = change(self.windows.supervisor(role)) {
                self.take_relay(role, memory);
                changed = true;
            }
        }
        changed
    }

    fn take_relay(&mut self, role: RelayRole, memory: RelayMemory) {
        self.agent.handle_event(HostEvent::Relay(role, memory));
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
                self.agent.refuse(&error, self.source.main());
                self.agent.ask_windows_again();
                Err(error.to_string())
            }
        };
        self.changed_relays(Supervisor::retry);
        self.dependents.check_again();
        self.dns.look_again();
        self.lifetime.look_again();
        self.lifetime.retry();
        self.tunnel.retry(true);
        self.clock.look_again();
        self.peers.look_again();
        self.metrics.retry();
        if self.agent.mode.state.known().is_none() {
            self.windows.ask_mode();
        }
        self.windows.look_up_requested_mode();
        result
    }

    /// Waits until the network has been quiet, but not for ever.
    async fn settle(&self, watch: &mut Watch) -> Result<(), AgentError> {
        let mode = self.agent.mode.state.known();
        let (quiet, most) = self.agent.settings.settle_times(mode);
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

/// The event stream failed, which no kernel does by itself. What happened in
/// between is found by the pass that follows.
async fn subscribe_again() -> Result<Watch, AgentError> {
    sleep(Duration::from_secs(1)).await;
    Ok(Watch::subscribe()?)
}
