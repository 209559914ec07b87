//! The tunnel to Windows, beside the loop: whether Windows' NAT is broken, where that decides,
//! and systemd's unit of the tunnel, which is started and stopped as the configuration says.
//!
//! NAT is looked at for a reason alone: at the start, after a change of the network, a sleep
//! or a reload, and where name resolution or a neighbour fails. Only while it fails, or is to
//! be seen to work again, looks follow each other; then they ride on systemd's watchdog.

mod forwards;
mod unit;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{select, task::JoinSet};

use self::{forwards::Forwards, unit::Unit};
use crate::{
    backoff::until,
    config::TunnelWhen,
    model::{
        Code, Finding, Mode, NatLook, NatState, TunnelForward, TunnelListeners, TunnelReason,
        TunnelState, Underlay,
    },
    netlink::{self, Netlink},
    observe::{look_at_nat, now_unix},
    plan::{NatHistory, NextLook, looks_at_nat, tunnel_wanted},
    report::{TunnelEntry, read_tunnel},
};

/// Between the beginnings of two looks that events cause.
const SPACING: Duration = Duration::from_secs(5);

/// What the last pass has seen and the configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scene {
    /// When the tunnel is wanted.
    pub(super) when: TunnelWhen,
    /// WSL's networking mode, where it is known.
    pub(super) mode: Option<Mode>,
    /// The way out without the tunnel; nothing while the node is cut off.
    pub(super) underlay: Option<Underlay>,
    /// Index of the tunnel's link while it is up.
    pub(super) link: Option<u32>,
    /// What its switch is to listen for.
    pub(super) forwards: Vec<TunnelForward>,
}

/// What looks after the tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Where the tunnel's process says how it is.
    runtime: PathBuf,
    unit: Unit,
    forwards: Forwards,
    scene: Scene,
    /// What the times of the history count from.
    begun: Instant,
    /// Whether a watchdog wakes the agent.
    has_ticks: bool,
    history: NatHistory,
    last: Option<NatLook>,
    /// The look in flight, at most one, and when it began.
    look: JoinSet<NatLook>,
    looked: Option<Instant>,
    /// When the next one is due, by a timer or a tick of the watchdog.
    due: Option<Instant>,
    due_at_tick: Option<Instant>,
    /// Since when the link is up.
    since_unix: Option<u64>,
    /// What a pass has taken.
    taken: Said,
}

/// What there is to publish.
type Said = (Option<TunnelEntry>, Vec<Finding>, Option<TunnelListeners>);

impl Tunnel {
    /// Nothing has been looked at yet.
    pub(super) fn new(runtime: &Path, has_ticks: bool) -> Self {
        Self {
            runtime: runtime.to_owned(),
            unit: Unit::new(runtime),
            forwards: Forwards::new(runtime),
            scene: Scene::default(),
            begun: Instant::now(),
            has_ticks,
            history: NatHistory::default(),
            last: None,
            look: JoinSet::new(),
            looked: None,
            due: None,
            due_at_tick: None,
            since_unix: None,
            taken: Said::default(),
        }
    }

    /// Takes what a pass has seen. Says whether the way out changed.
    pub(super) fn follow(&mut self, scene: Scene) -> bool {
        let before = std::mem::replace(&mut self.scene, scene);
        let (was_looking, link) = (looks_at_nat(before.when, before.mode), before.link);
        if !self.looks() {
            (self.due, self.due_at_tick, self.last) = (None, None, None);
            self.look.abort_all();
            // Where the mode is not known yet, an earlier agent's tunnel may stay.
            self.history = NatHistory::default();
        } else if !was_looking {
            if self.unit.is_ours() {
                self.history = NatHistory::broken_before();
            }
            self.due = Some(Instant::now());
        } else if before.underlay != self.scene.underlay {
            self.look_again();
        }
        let changed = link != self.scene.link;
        if changed {
            self.since_unix = self.scene.link.map(|_| now_unix());
        }
        let is_known = self.scene.when != TunnelWhen::NatBroken || self.scene.mode.is_some();
        self.read_state();
        let wanted = self.scene.forwards.clone();
        self.forwards.follow(wanted, self.scene.link.is_some());
        if is_known {
            self.unit.see(self.scene.link.is_some(), changed);
            self.unit.want(self.wanted());
        }
        changed
    }

    /// Reads what the tunnel's process says of itself, where one runs.
    fn read_state(&mut self) {
        let state = read_tunnel(&self.runtime).ok().flatten();
        self.unit.says = state.map(|state| TunnelState {
            // They change all the time.
            counters: None,
            ..state
        });
    }

    fn looks(&self) -> bool {
        looks_at_nat(self.scene.when, self.scene.mode)
    }

    fn wanted(&self) -> Option<(TunnelReason, String)> {
        let broken = self.history.is_broken();
        let reason = tunnel_wanted(self.scene.when, self.scene.mode, broken)?;
        let look = self
            .last
            .as_ref()
            .filter(|_| reason == TunnelReason::NatBroken);
        let look = look.map(|look| format!(": {look}"));
        Some((reason, format!("{reason}{}", look.unwrap_or_default())))
    }

    /// Something may have changed: NAT is looked at, but not all the time.
    pub(super) fn look_again(&mut self) {
        if self.looks() {
            let now = Instant::now();
            let next = self
                .looked
                .map_or(now, |looked| (looked + SPACING).max(now));
            self.due = Some(self.due.map_or(next, |due| due.min(next)));
        }
    }

    /// The same after a sleep or a reload; what failed is tried at once. `by_hand`: also what
    /// a person has stopped is started again.
    pub(super) fn retry(&mut self, by_hand: bool) {
        self.look_again();
        self.unit.retry(by_hand);
    }

    /// Looks at what is due now that the agent is awake, without another wakeup while all is
    /// well: the kernel's table says whether the gateway failed to answer some packet.
    pub(super) fn on_tick(&mut self) {
        if self.scene.link.is_some() {
            self.read_state();
        }
        let now = Instant::now();
        if self.due_at_tick.is_some_and(|due| due <= now) {
            (self.due, self.due_at_tick) = (Some(now), None);
        } else if self.looks() && !self.history.is_broken() && self.due.is_none() {
            let underlay = self.scene.underlay.as_ref();
            let failed = |one: &Underlay| netlink::neighbour_failed(one.index, one.gateway);
            if underlay.is_some_and(failed) {
                self.look_again();
            }
        }
    }

    /// Waits until there is something for a pass. Cancel safe.
    pub(super) async fn changed(&mut self) {
        while self.taken == self.said() {
            select! {
                // One that was aborted is none.
                Some(look) = self.look.join_next(), if !self.look.is_empty() => {
                    if let Ok(look) = look {
                        self.take(look);
                    }
                }
                () = until(self.due), if self.look.is_empty() => {
                    self.due = None;
                    self.begin();
                }
                () = self.unit.changed() => {}
                () = self.forwards.changed() => {}
            }
            // Another way to go on, or none.
            self.unit.want(self.wanted());
        }
    }

    fn begin(&mut self) {
        let Some(underlay) = self.scene.underlay.clone().filter(|_| self.looks()) else {
            // Its return is an event.
            return;
        };
        let tunnel = self.scene.link;
        self.looked = Some(Instant::now());
        self.look.spawn(async move {
            match Netlink::connect() {
                Ok(netlink) => look_at_nat(&netlink, underlay, tunnel, true).await,
                Err(error) => NatLook::unknown(underlay, error.to_string()),
            }
        });
    }

    fn take(&mut self, look: NatLook) {
        let (now, was) = (Instant::now(), self.history.is_broken());
        tracing::debug!(event = "tunnel", "looked at Windows' NAT: {look}");
        // One of before the node moved says nothing.
        if self.scene.underlay.as_ref() != Some(&look.underlay) {
            return;
        }
        self.history
            .take(look.state(), now.duration_since(self.begun));
        match self.history.next() {
            None => (self.due, self.due_at_tick) = (None, None),
            Some(NextLook::Seldom(pause)) if self.has_ticks => {
                (self.due, self.due_at_tick) = (None, Some(now + pause));
            }
            Some(NextLook::Soon(pause) | NextLook::Seldom(pause)) => self.due = Some(now + pause),
        }
        let broken = self.history.is_broken();
        if broken != was {
            let what = if broken { "is broken" } else { "works again" };
            tracing::info!(event = "tunnel", "Windows' NAT {what}: {look}");
        }
        self.last = Some(look);
    }

    /// What there is to publish now, to be published.
    pub(super) fn publish(&mut self) -> Said {
        self.taken = self.said();
        self.taken.clone()
    }

    fn said(&self) -> Said {
        let listeners = self.forwards.listeners().cloned();
        (self.entry(), self.findings().collect(), listeners)
    }

    /// What is wrong, or good to know.
    fn findings(&self) -> impl Iterator<Item = Finding> + use<> {
        let look = self.last.as_ref().filter(|_| self.history.is_broken());
        let broken = look.map(|look| {
            let detail = match look.state() {
                NatState::Works => {
                    "it seems to work again; the tunnel stays until that has lasted".to_owned()
                }
                NatState::Broken | NatState::Unclear => look.to_string(),
            };
            Finding::new(Code::NatBroken, look.underlay.link.as_str(), detail)
        });
        let up = self
            .scene
            .link
            .map(|_| Finding::new(Code::TunnelUp, "", self.unit.reason()));
        let failed = self.unit.finding().cloned();
        broken.into_iter().chain(up).chain(failed)
    }

    /// What the status document has of it.
    fn entry(&self) -> Option<TunnelEntry> {
        let looks = self.looks();
        if !looks && self.scene.link.is_none() && !self.unit.is_wanted() {
            return None;
        }
        let says = self.unit.says.as_ref();
        let nat = self.last.as_ref().map(|look| match look.state() {
            _ if self.history.is_broken() => "broken",
            NatState::Works => "works",
            NatState::Broken | NatState::Unclear => "unclear",
        });
        Some(TunnelEntry {
            state: self.unit.state(self.scene.link.is_some()).to_owned(),
            reason: self
                .unit
                .reason_word(self.scene.link.is_some())
                .map(str::to_owned),
            since_unix: self.since_unix,
            switch: says
                .map(|says| says.switch.clone())
                .filter(|one| !one.is_empty()),
            restarts: says.map_or(0, |says| says.restarts),
            last_error: says.and_then(|says| says.last_error.clone()),
            nat: nat.filter(|_| looks).map(str::to_owned),
            look: self.last.as_ref().map(ToString::to_string),
            starts: self.unit.starts,
            ..TunnelEntry::default()
        })
    }
}

#[cfg(test)]
mod tests;
