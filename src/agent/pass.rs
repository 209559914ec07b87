//! One pass: observe, plan, apply what is due, publish.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    AgentError, backoff,
    ledger::Ledger,
    windows::{News, Windows},
};
use crate::{
    apply::{self, saved::Saved},
    config::{ConfigError, Settings},
    model::{Action, Finding, HostMemory, ModeState, Observation, Plan},
    netlink::{Netlink, NetlinkError},
    observe::{self, Devices},
    paths::Paths,
    plan,
    report::{Changes, Code, Document, Manager, Severity, Tracker, write_status},
};

/// How soon to look again at a device that wg-quick is working on, or at a
/// kernel that did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The agent's memory between passes.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    paths: Paths,
    netlink: Netlink,
    devices: Devices,
    saved: Saved,
    mode: ModeState,
    mode_failures: u32,
    mode_due: Option<Instant>,
    look_again: Option<Instant>,
    host: HostMemory,
    ledger: Ledger,
    tracker: Tracker,
    rejected: Option<Finding>,
    address: Option<Ipv4Addr>,
    passes: u64,
    status_works: bool,
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Done {
    /// Changes made, one line each.
    pub changes: Vec<String>,
    /// Findings in force after it.
    pub findings: Vec<Finding>,
}

/// Observes and plans without changing anything.
///
/// # Errors
/// The kernel's network tables are out of reach.
pub async fn look(settings: &Settings, paths: &Paths) -> Result<Plan, NetlinkError> {
    let mode = observe::ask_mode().await;
    let host = HostMemory {
        standing: standing(&Saved::new(&paths.state)),
        ..HostMemory::default()
    };
    let seen = observe::observe(
        settings,
        &Netlink::connect()?,
        &Devices::default(),
        mode,
        host,
    )
    .await?;
    Ok(plan::plan(settings, &seen))
}

fn standing(saved: &Saved) -> bool {
    saved.load().is_ok_and(|values| values.forwards)
}

impl Agent {
    /// An agent that has not looked yet.
    ///
    /// # Errors
    /// No rtnetlink socket.
    pub fn new(settings: Settings, paths: Paths) -> Result<Self, AgentError> {
        let saved = Saved::new(&paths.state);
        let host = HostMemory {
            standing: standing(&saved),
            ..HostMemory::default()
        };
        Ok(Self {
            settings,
            paths,
            netlink: Netlink::connect()?,
            devices: Devices::default(),
            saved,
            mode: ModeState::Pending,
            mode_failures: 0,
            mode_due: None,
            look_again: None,
            host,
            ledger: Ledger::default(),
            tracker: Tracker::default(),
            rejected: None,
            address: None,
            passes: 0,
            status_works: true,
        })
    }

    pub(super) fn settle_times(&self) -> (Duration, Duration) {
        self.settings.settle_times(self.mode.known())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        [self.ledger.next_due(), self.mode_due, self.look_again]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn mode_is_due(&mut self) -> bool {
        self.mode_due
            .take_if(|due| *due <= Instant::now())
            .is_some()
    }

    pub(super) fn try_everything_again(&mut self) {
        self.ledger.reset();
    }

    /// Takes new settings; what failed under the old ones is tried at once, and
    /// Windows is asked anew.
    pub(super) fn adopt(&mut self, settings: Settings) {
        self.settings = settings;
        self.rejected = None;
        self.host.settled = None;
        self.host.findings.clear();
        self.ledger.reset();
    }

    pub(super) fn refuse(&mut self, error: &ConfigError, path: &Path) {
        let finding = Finding::new(
            Code::ConfigRejected,
            path.display().to_string(),
            error.to_string(),
        );
        tracing::error!(event = "reload", health = %finding.code, "{finding}");
        self.rejected = Some(finding);
    }

    /// Takes what a call to Windows brought.
    pub fn take(&mut self, news: News) {
        match news {
            News::Mode(mode) => {
                self.mode_failures = if mode.known().is_some() {
                    0
                } else {
                    self.mode_failures.saturating_add(1)
                };
                self.mode_due = (self.mode_failures > 0).then(|| {
                    Instant::now() + backoff::delay(self.mode_failures, backoff::random())
                });
                if self.mode != mode {
                    tracing::info!(event = "mode", mode = %mode, "networking mode: {mode}");
                }
                self.mode = mode;
            }
            News::Forwards(outcome) => {
                let (action, now) = (Action::SyncForwards(outcome.wanted.clone()), Instant::now());
                if outcome.settled {
                    self.ledger.done(&action, now);
                } else {
                    self.ledger.failed(&action, None, true, now);
                }
                if let Some(line) = &outcome.changed {
                    tracing::info!(event = "forwards", address = %outcome.wanted.connect_address, "{line}");
                }
                if let Some(facts) = outcome.facts {
                    self.host.facts = facts;
                }
                self.host.settled = outcome.settled.then_some(outcome.wanted);
                self.host.findings = outcome.findings;
                if let Some(standing) = outcome.standing {
                    self.remember_standing(standing);
                }
            }
        }
    }

    /// Rules on Windows outlive this process, so that they exist must too.
    fn remember_standing(&mut self, standing: bool) {
        if self.host.standing != standing {
            self.host.standing = standing;
            if let Err(error) = self.saved.update(|values| values.forwards = standing) {
                self.host
                    .findings
                    .push(Finding::new(Code::StateUnwritable, "", error.to_string()));
            }
        }
    }

    /// Makes one pass.
    pub async fn pass(&mut self, windows: &mut Windows, manager: &mut Manager) -> Done {
        let begin = Instant::now();
        self.passes += 1;
        let seen = match observe::observe(
            &self.settings,
            &self.netlink,
            &self.devices,
            self.mode.clone(),
            self.host.clone(),
        )
        .await
        {
            Ok(seen) => seen,
            Err(error) => return self.blind(&error, manager),
        };
        let plan = plan::plan(&self.settings, &seen);
        self.ledger.planned(&plan.actions, begin);
        let mut due: Vec<Action> = plan
            .actions
            .into_iter()
            .filter(|action| self.ledger.allows(action, begin))
            .collect();
        let mut findings = plan.findings;
        if let Err(error) = self.saved.remember(&due) {
            findings.push(Finding::new(Code::StateUnwritable, "", error.to_string()));
            due.retain(|action| !matches!(action, Action::SetMtu(_) | Action::WriteSysctl(_)));
        }
        let changes = self.carry_out(due, windows).await;
        findings.extend(self.ledger.findings());
        findings.extend(self.rejected.clone());
        let busy = findings
            .iter()
            .any(|finding| finding.code == Code::WireguardBusy);
        self.look_again = busy.then(|| Instant::now() + LOOK_AGAIN);
        self.say(&seen, &changes, begin.elapsed());
        self.publish(Some(&seen), findings, begin.elapsed(), manager);
        Done {
            changes,
            findings: self.tracker.findings().cloned().collect(),
        }
    }

    /// The kernel does not answer: nothing is changed on a guess.
    fn blind(&mut self, error: &NetlinkError, manager: &mut Manager) -> Done {
        self.look_again = Some(Instant::now() + LOOK_AGAIN);
        let findings = vec![Finding::new(Code::ObserveFailed, "", error.to_string())];
        self.publish(None, findings.clone(), Duration::ZERO, manager);
        Done {
            changes: Vec::new(),
            findings,
        }
    }

    /// Carries actions out side by side; those on Windows are only begun.
    async fn carry_out(&mut self, due: Vec<Action>, windows: &mut Windows) -> Vec<String> {
        let (host, local): (Vec<Action>, Vec<Action>) = due
            .into_iter()
            .partition(|action| matches!(action, Action::SyncForwards(_)));
        for action in host {
            if let (Action::SyncForwards(wanted), false) = (action, windows.syncing()) {
                windows.sync(self.paths.state.join("windows"), wanted);
            }
        }
        let results = join_all(
            local
                .iter()
                .map(|action| apply::apply(action, &self.netlink)),
        )
        .await;
        let now = Instant::now();
        let mut changes = Vec::new();
        for (action, result) in local.iter().zip(results) {
            match result {
                Ok(()) => {
                    self.ledger.done(action, now);
                    changes.push(action.to_string());
                }
                Err(error) => {
                    let finding =
                        Finding::new(error.code(), action.key().to_string(), error.to_string());
                    self.ledger
                        .failed(action, Some(finding), error.retry_can_help(), now);
                }
            }
        }
        changes
    }

    /// One line for a pass that did something.
    fn say(&mut self, seen: &Observation, changes: &[String], took: Duration) {
        let node = plan::node(&self.settings, seen).ok();
        let (old, new) = (self.address, node.as_ref().map(plan::Node::address));
        let mut parts = Vec::new();
        if let (Some(node), Some(new)) = (&node, new)
            && old != Some(new)
        {
            parts.push(match old {
                Some(old) => format!("{} address {old} -> {new}", node.link.name),
                None => format!("{} address {new}", node.link.name),
            });
            self.address = Some(new);
        }
        parts.extend(changes.iter().cloned());
        if parts.is_empty() {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            event = "pass",
            mode = %seen.mode,
            interface = node.as_ref().map(|node| node.link.name.to_string()),
            address_old = old.map(|old| old.to_string()),
            address_new = new.map(|new| new.to_string()),
            duration_us = micros,
            "{} ({:.1} ms)",
            parts.join("; "),
            took.as_secs_f64() * 1e3
        );
    }

    fn publish(
        &mut self,
        seen: Option<&Observation>,
        findings: Vec<Finding>,
        took: Duration,
        manager: &mut Manager,
    ) {
        say_health(&self.tracker.update(findings));
        manager.status(&self.status_line());
        let document = self.document(seen, took);
        match write_status(&self.paths.runtime, &document) {
            Ok(()) => self.status_works = true,
            Err(error) => {
                if std::mem::replace(&mut self.status_works, false) {
                    tracing::info!(event = "status", "no status document: {error}");
                }
            }
        }
    }

    fn status_line(&self) -> String {
        let address = self
            .address
            .map_or_else(|| "no address".to_owned(), |address| address.to_string());
        let forwards = self
            .host
            .settled
            .as_ref()
            .filter(|set| !set.rules.is_empty() && self.host.findings.is_empty());
        let forwards = forwards.map_or_else(String::new, |set| {
            format!(", {} forwarded", set.rules.len())
        });
        let troubles: Vec<&str> = self
            .tracker
            .findings()
            .filter(|finding| finding.code.severity() > Severity::Info)
            .map(|finding| finding.code.as_str())
            .collect();
        let health = if troubles.is_empty() {
            "healthy".to_owned()
        } else {
            format!("degraded: {}", troubles.join(", "))
        };
        format!("{address} ({}){forwards}, {health}", self.mode)
    }

    fn document(&self, seen: Option<&Observation>, took: Duration) -> Document {
        let node = seen.and_then(|seen| plan::node(&self.settings, seen).ok());
        let confirmed = self.host.settled.as_ref().filter(|_| self.host.standing);
        Document {
            version: crate::report::STATUS_VERSION,
            pid: std::process::id(),
            role: "active".to_owned(),
            mode: self.mode.to_string(),
            interface: node.as_ref().map(|node| node.link.name.to_string()),
            address: node.as_ref().map(plan::Node::address),
            gateway: node.as_ref().and_then(|node| node.gateway),
            network_file: self.settings.config_file.clone(),
            forwards: confirmed.map(|set| crate::report::Forwards {
                count: set.rules.len(),
                connect_address: set.connect_address,
            }),
            windows_address: self.host.facts.windows_address,
            passes: self.passes,
            last_pass_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            health: self.tracker.findings().map(Into::into).collect(),
        }
    }
}

/// One line for each finding that is new or over.
fn say_health(changes: &Changes) {
    for finding in &changes.raised {
        let (health, subject) = (finding.code.as_str(), finding.subject.as_str());
        match finding.code.severity() {
            Severity::Error => tracing::error!(event = "health", health, subject, "{finding}"),
            Severity::Warning => tracing::warn!(event = "health", health, subject, "{finding}"),
            Severity::Info => tracing::info!(event = "health", health, subject, "{finding}"),
        }
    }
    for finding in &changes.cleared {
        let subject = if finding.subject.is_empty() {
            String::new()
        } else {
            format!(" ({})", finding.subject)
        };
        tracing::info!(
            event = "health-cleared",
            health = finding.code.as_str(),
            subject = finding.subject.as_str(),
            "{}{subject} is over",
            finding.code
        );
    }
}

/// The status document of an agent that stands by.
pub(super) fn publish_standby(paths: &Paths, finding: &Finding) {
    let document = Document {
        version: crate::report::STATUS_VERSION,
        pid: std::process::id(),
        role: "standby".to_owned(),
        mode: ModeState::Pending.to_string(),
        interface: None,
        address: None,
        gateway: None,
        network_file: PathBuf::new(),
        forwards: None,
        windows_address: None,
        passes: 0,
        last_pass_us: 0,
        health: vec![finding.into()],
    };
    // Two agents of one distribution share the folder: the leader's document stays.
    if crate::report::read_status(&paths.runtime)
        .ok()
        .flatten()
        .is_none()
    {
        write_status(&paths.runtime, &document).unwrap_or_default();
    }
}
