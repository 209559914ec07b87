//! One reconciliation: observe, plan, apply what is due, publish.

use std::{collections::HashMap, path::Path, time::Instant};

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::{
    dns::Looked,
    ledger::{Ledger, Recheck},
    machine::{Host, Linux, Machine},
    publish::{Pass, Publisher},
    resume::{Answers, RelayView, Scene, View},
    verify::Verify,
    windows::HostEvent,
};
use crate::{
    apply::{ApplyError, saved::SavedError},
    backoff::Retry,
    config::{ConfigError, Settings},
    model::{
        Action, Code, DnsPlan, Finding, HostMemory, HostOutcome, ModeState, Node, Observation,
        Plan, RelayMemory, RelayRole, TunnelForward, Underlay, micros,
    },
    netlink::NetlinkError,
    paths::Paths,
    plan::{self, Group},
    report::Manager,
};

/// The agent's memory between passes.
#[derive(Debug)]
pub(super) struct Agent<M> {
    machine: M,
    pub(super) settings: Settings,
    pub(super) mode: ModeQuery,
    pub(super) host: HostMemory,
    pub(super) ledger: Ledger,
    /// When Windows is asked whether it still has the rules.
    pub(super) verify: Verify,
    recheck: Recheck,
    /// The configuration that was refused.
    rejected: Option<Finding>,
    /// What is wrong with the dependents.
    pub(super) dependents: Vec<Finding>,
    /// What name resolution depends on, as of the last pass.
    pub(super) dns_plan: DnsPlan,
    /// What was found when it was looked at last.
    pub(super) dns: Looked,
    /// Another process has the agent's name on the bus.
    pub(super) name_taken: Option<Finding>,
    /// What is wrong with discovering ports.
    pub(super) discovery: Vec<Finding>,
    /// Strangers in the leader election.
    pub(super) strangers: Option<Finding>,
    /// The distributions that this agent serves.
    pub(super) group: Group,
    /// When one of them is to be dropped.
    pub(super) group_due: Option<Instant>,
    /// The way out without the tunnel, and the tunnel's link, as of the last pass.
    pub(super) underlay: Option<Underlay>,
    pub(super) tunnel_link: Option<u32>,
    /// What the tunnel's switch is to listen for, as of the last pass.
    pub(super) tunnel_forwards: Vec<TunnelForward>,
    /// What is to be said of the tunnel.
    pub(super) tunnel: Vec<Finding>,
    /// Why this distribution is not held open.
    pub(super) not_held: Option<Finding>,
    /// Whether there was a tunnel of WireGuard in the last pass.
    pub(super) has_wireguard: bool,
    /// What is wrong with the clock.
    pub(super) clock: Vec<Finding>,
    /// What is wrong with names of peers.
    pub(super) peers: Vec<Finding>,
    /// What did not recover after a resume.
    pub(super) unrecovered: Vec<Finding>,
    /// Why the file of the numbers was not written.
    pub(super) unwritten: Option<Finding>,
    /// Whether IPv6 routes decided anything in the last pass.
    pub(super) ipv6_ways: bool,
    /// What a recovery asks of the last pass, of Windows and of the relays.
    scene: Scene,
    answers: Answers,
    relays_lost: HashMap<RelayRole, u64>,
    pub(super) publisher: Publisher,
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Done {
    /// Changes made, one line each.
    pub changes: Vec<String>,
    /// Findings in force after it.
    pub findings: Vec<Finding>,
    /// What went to the journal.
    pub journal: Vec<String>,
}

impl Agent<Linux> {
    /// An agent for this machine.
    pub(super) fn on_this_machine(settings: Settings, paths: &Paths) -> Result<Self, NetlinkError> {
        let machine = Linux::new(paths)?;
        let host = machine.host_memory();
        Ok(Self::new(machine, settings, paths, host))
    }
}

impl<M: Machine> Agent<M> {
    /// An agent that has not looked yet.
    pub(super) fn new(machine: M, settings: Settings, paths: &Paths, host: HostMemory) -> Self {
        Self {
            machine,
            settings,
            mode: ModeQuery::default(),
            host,
            ledger: Ledger::default(),
            verify: Verify::default(),
            recheck: Recheck::default(),
            rejected: None,
            dependents: Vec::new(),
            dns_plan: DnsPlan::default(),
            dns: Looked::default(),
            name_taken: None,
            discovery: Vec::new(),
            strangers: None,
            group: Group::default(),
            group_due: None,
            underlay: None,
            tunnel_link: None,
            tunnel_forwards: Vec::new(),
            tunnel: Vec::new(),
            not_held: None,
            has_wireguard: false,
            clock: Vec::new(),
            peers: Vec::new(),
            unrecovered: Vec::new(),
            unwritten: None,
            ipv6_ways: false,
            scene: Scene::default(),
            answers: Answers::default(),
            relays_lost: HashMap::new(),
            publisher: Publisher::new(paths.runtime.clone()),
        }
    }

    /// What a recovery asks for.
    pub(super) fn view(&self) -> View {
        let relay = |role| {
            let relay = self.host.relay(role);
            RelayView {
                wanted: relay.wanted.is_some(),
                applied: relay.applied,
                alive: relay.alive,
                lost: self.relays_lost.get(&role).copied().unwrap_or_default(),
            }
        };
        View {
            scene: self.scene.clone(),
            windows: Answers {
                settled: self.host.settled.is_some(),
                ..self.answers.clone()
            },
            relay: relay(RelayRole::Entry),
            loopback: relay(RelayRole::Loopback),
            forwards: self.publisher.forwards.clone(),
        }
    }

    /// When the next attempt at anything is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = [
            self.ledger.next_due(),
            self.mode.retry.due,
            self.recheck.retry.due,
            self.group_due,
            self.verify.timer(),
        ];
        due.into_iter().flatten().min()
    }

    /// Takes new settings; what failed under the old ones is tried at once, and
    /// Windows is queried again.
    pub(super) fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
        self.rejected = None;
        self.host.findings.clear();
        self.ask_windows_again();
    }

    /// Forgets what Windows may do for us and asks again: something may have been
    /// installed there.
    pub(super) fn ask_windows_again(&mut self) {
        self.host.forget_privilege();
        self.ledger.reset();
    }

    /// Keeps the old settings; the new ones at `path` have errors.
    pub(super) fn refuse(&mut self, error: &ConfigError, path: &Path) {
        let subject = path.display().to_string();
        let finding = Finding::new(Code::ConfigRejected, subject, error.summary());
        // The first refusal is logged with the health; one after it would be
        // nothing new to the tracker.
        if self.rejected.is_some() {
            tracing::warn!(
                event = "reload",
                health = %finding.code,
                subject = finding.subject,
                "{finding}"
            );
        }
        self.rejected = Some(finding);
    }

    /// Takes the result of a call to Windows, or what the relay reports. Says whether
    /// that was the relay's counters alone, which need no pass.
    pub(super) fn handle_event(&mut self, event: HostEvent) -> bool {
        match event {
            HostEvent::Mode(mode) => {
                if let ModeState::Unknown(_) = mode {
                    self.publisher.numbers.failed(Code::ModeUnknown);
                }
                self.mode.answered(mode);
            }
            HostEvent::RequestedMode(mode) => self.host.requested_mode = mode,
            HostEvent::Distribution(name) => self.group.own = name,
            HostEvent::Forwards(outcome) => self.record_sync(outcome),
            HostEvent::Relay(role, memory) => return self.record_relay(role, memory),
        }
        false
    }

    fn record_sync(&mut self, outcome: HostOutcome) {
        let (action, now) = (Action::SyncForwards(outcome.wanted.clone()), Instant::now());
        self.answers.record(&outcome);
        self.publisher.numbers.called_windows(&outcome);
        // One that is out of date is made again at once.
        match outcome.settled {
            _ if self.host.outdated => {}
            true => self.ledger.done(&action, now),
            false => self.ledger.failed(&action, None, true, now),
        }
        if let Some(line) = &outcome.changed {
            tracing::info!(
                event = "forwards",
                address = %outcome.wanted.connect_address,
                restored = (!outcome.restored.is_empty()).then_some(outcome.restored.len()),
                duration_us = micros(outcome.took),
                "{line}"
            );
        }
        if !outcome.restored.is_empty() {
            self.publisher.restored(&outcome.restored);
        }
        self.verify.asked();
        self.host.record(outcome);
    }

    fn record_relay(&mut self, role: RelayRole, memory: RelayMemory) -> bool {
        let before = self.host.relay(role).clone();
        let applied = memory.applied && !before.applied;
        let action = Action::SyncRelay(role, memory.wanted.clone());
        if applied && memory.failed.is_empty() {
            self.ledger.forget(&action.key());
        } else if applied {
            self.ledger.failed(&action, None, true, Instant::now());
        }
        // Another distribution may have removed it: Windows says what is there now.
        if memory.not_installed() && !before.not_installed() {
            self.host.forget_privilege();
        }
        let now = self.host.relay_mut(role);
        *now = memory;
        let lost = self.relays_lost.entry(role).or_default();
        *lost += u64::from(before.applied && !now.applied);
        let counted = now.counted.clone();
        now.counted != before.counted && *now == RelayMemory { counted, ..before }
    }

    /// Reconciles once.
    pub(super) async fn reconcile(
        &mut self,
        windows: &mut impl Host,
        manager: &mut Manager,
    ) -> Done {
        let begin = Instant::now();
        if self.verify.take_due(begin) {
            self.host.verify();
        }
        let (mode, host) = (self.mode.state.clone(), self.host.clone());
        let seen = self.machine.observe(&self.settings, mode, host).await;
        let (changes, findings) = match &seen {
            Ok(seen) => self.follow_plan(seen, begin, windows).await,
            Err(error) => (Vec::new(), self.findings_unobserved(error)),
        };
        self.ledger.put_off(begin);
        let every = self.settings.verify.0;
        self.verify.follow(every, self.host.has_portproxy(), begin);
        let pass = Pass {
            settings: &self.settings,
            mode: &self.mode.state,
            host: &self.host,
            group: &self.group,
            links: seen.as_ref().ok().map(|seen| seen.links.as_slice()),
            ports: match &seen {
                Ok(seen) => plan::port_ways(&self.settings, seen),
                Err(_) => Vec::new(),
            },
            dns: self.dns.entry(&self.dns_plan),
            changes: &changes,
            took: begin.elapsed(),
        };
        let journal = self.publisher.publish(&pass, findings, manager);
        let findings: Vec<Finding> = self.publisher.findings().cloned().collect();
        self.recheck.update(&findings, Instant::now());
        Done {
            changes,
            findings,
            journal,
        }
    }

    /// Decides and applies what is due. Gives back the changes made and all findings.
    async fn follow_plan(
        &mut self,
        seen: &Observation,
        begin: Instant,
        windows: &mut impl Host,
    ) -> (Vec<String>, Vec<Finding>) {
        let Plan {
            node,
            mesh,
            forwards,
            tunnel,
            dns,
            actions,
            mut findings,
        } = plan::plan_group(&self.settings, &self.group, seen);
        // A node without IPv4 waits for a router of IPv6, or is reached by one.
        let by_ipv4 = node.as_ref().is_some_and(|node| node.ipv4().is_some());
        self.has_wireguard = seen.links.iter().any(|link| link.kind.is_wireguard());
        self.ipv6_ways = !by_ipv4 || seen.has_ipv6_ways();
        let asks = |action: &Action| matches!(action, Action::SyncForwards(_));
        let asks_windows = self.host.settled.is_some() || actions.iter().any(asks);
        self.underlay = node.as_ref().and_then(Node::underlay);
        self.tunnel_link = seen.tunnel();
        self.tunnel_forwards = tunnel;
        self.scene = Scene::of(
            &self.settings,
            seen,
            node.as_ref(),
            self.tunnel_link,
            asks_windows,
        );
        self.ledger.planned(&actions, begin);
        let allowed = |action: &Action| self.ledger.allows(action, begin);
        let due = actions.into_iter().filter(allowed).collect();
        let changes = self.apply(due, windows).await;
        findings.extend(self.ledger.findings());
        // After this pass: what the relay was sent just now counts.
        let relays = RelayRole::ALL
            .iter()
            .flat_map(|role| &self.host.relay(*role).findings);
        let others = relays
            .chain(&self.dependents)
            .chain(&self.rejected)
            .chain(&self.name_taken);
        let others = others.chain(&self.strangers).chain(&self.discovery);
        let others = others.chain(&self.dns.findings);
        let others = others.chain(&self.clock).chain(&self.not_held);
        let others = others.chain(&self.unrecovered).chain(&self.peers);
        let others = others.chain(&self.unwritten).chain(&self.tunnel);
        findings.extend(others.cloned());
        self.publisher.decided(node, mesh, forwards);
        self.dns_plan = dns;
        (changes, findings)
    }

    /// The kernel does not answer: nothing is changed on a guess, and what was
    /// found before is as true as it was.
    fn findings_unobserved(&self, error: &NetlinkError) -> Vec<Finding> {
        let before = self.publisher.findings();
        before
            .filter(|finding| finding.code != Code::ObserveFailed)
            .cloned()
            .chain([Finding::new(Code::ObserveFailed, "", error.to_string())])
            .collect()
    }

    /// Carries actions out side by side; those on Windows are only begun. What
    /// replaces a value that a restore gives back waits until that is saved, and
    /// is left where it cannot be; nothing else waits for it.
    async fn apply(&mut self, due: Vec<Action>, windows: &mut impl Host) -> Vec<String> {
        let on_windows =
            |action: &Action| matches!(action, Action::SyncForwards(_) | Action::SyncRelay(..));
        let (host, local): (Vec<Action>, Vec<Action>) = due.into_iter().partition(on_windows);
        for action in host {
            self.ledger.begun(&action);
            match action {
                Action::SyncRelay(role, wanted) => {
                    *self.host.relay_mut(role) = windows.relay(role, wanted);
                }
                Action::SyncForwards(wanted) if windows.sync(&wanted, &self.host) => {
                    self.host.sync_begun(&wanted);
                }
                _ => {}
            }
        }
        let saved = OnceCell::new();
        let carried = local.iter().map(async |action| {
            if action.can_be_restored() {
                let save = || self.machine.remember(&local);
                let not_saved = |error: &SavedError| {
                    let finding = Finding::new(Code::StateUnwritable, "", error.to_string());
                    (finding, true)
                };
                let saved = saved.get_or_init(save).await;
                saved.as_ref().map_err(not_saved)?;
            }
            let failed = |error: ApplyError| {
                let subject = action.key();
                let finding = Finding::new(error.code(), subject, error.to_string());
                (finding, error.retry_can_help())
            };
            self.machine.apply(action).await.map_err(failed)
        });
        let results = join_all(carried).await;
        let now = Instant::now();
        let mut changes = Vec::new();
        for (action, result) in local.iter().zip(results) {
            match result {
                Ok(true) => {
                    self.ledger.done(action, now);
                    changes.push(action.to_string());
                }
                Ok(false) => {}
                Err((finding, retry)) => self.ledger.failed(action, Some(finding), retry, now),
            }
        }
        changes
    }
}

/// What is known of WSL's networking mode.
#[derive(Debug, Default)]
pub(super) struct ModeQuery {
    /// The last answer.
    pub(super) state: ModeState,
    /// When the next query is due.
    pub(super) retry: Retry,
}

impl ModeQuery {
    /// Takes an answer.
    pub(super) fn answered(&mut self, mode: ModeState) {
        if mode.known().is_some() {
            self.retry.reset();
        } else if self.state.known().is_some() {
            // The mode cannot change while the virtual machine lives: a failed
            // query does not replace an answer.
            return;
        } else {
            self.retry.failed(Instant::now());
        }
        if self.state != mode {
            tracing::info!(event = "mode", mode = %mode, "networking mode: {mode}");
        }
        self.state = mode;
    }
}

#[cfg(test)]
mod tests;
