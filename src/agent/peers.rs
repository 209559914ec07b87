//! WireGuard's peers, beside the loop: the names of those that do not answer are looked up
//! until they do, and all learn the node's new way at once when its address changed.
//!
//! While they answer nothing here has a timer of its own: that one went silent shows in the
//! devices that are read when systemd's watchdog wakes the agent anyway. Without a watchdog
//! there is one timer, due when the first handshake can be stale. A recovery after a sleep
//! looks names up itself, and this waits for its end.

mod attempts;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{select, task::JoinSet};

use self::attempts::Attempts;
use super::{
    endpoints::{Endpoints, LookedUp, Reading, Search},
    resume::{Place, View},
};
use crate::{
    backoff::until,
    model::{EndpointName, EndpointNames, Finding, WireguardLink},
    netlink::Netlink,
    observe,
    plan::{next_stale, silent_names},
};

/// Devices are read for peers with names once in this time at most: a session in use has a new
/// handshake a minute before the last one is stale.
const LEAST: Duration = Duration::from_secs(10);

/// And once in this time where nothing says when.
const SELDOM: Duration = Duration::from_secs(60);

/// What the loop is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// Read WireGuard's devices.
    Reading,
    /// Make a pass: there are other findings.
    Pass,
}

/// What was done beside the loop.
#[derive(Debug)]
enum Done {
    /// Names were looked up, or only read where none was asked for.
    LookedUp {
        reading: Arc<Reading>,
        names: Option<EndpointNames>,
        asked: BTreeSet<EndpointName>,
        found: LookedUp,
    },
    /// So many packets were sent.
    Nudged(usize),
}

/// Looks after peers.
#[derive(Debug)]
pub(super) struct Peers {
    endpoints: Endpoints,
    /// Whether a watchdog wakes the agent.
    has_ticks: bool,
    /// Where the node was last, and whether it was cut off since.
    before: Option<Place>,
    /// The tunnel to Windows, by which its packets left then.
    tunnel: Option<u32>,
    cut_off: bool,
    links: Vec<WireguardLink>,
    count: usize,
    /// `None` until they are read.
    names: Option<EndpointNames>,
    attempts: Attempts,
    /// Whether peers are to learn a new way.
    nudges: bool,
    /// When devices are to be read, by a timer of its own or a tick of the watchdog.
    due: Option<Instant>,
    due_at_tick: Option<Instant>,
    /// The look-ups in flight, at most one set, and packets that are being sent.
    run: JoinSet<Done>,
    is_looking: bool,
    /// Whether those in flight are of other devices or another configuration.
    is_outdated: bool,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
}

impl Peers {
    /// Looks names up by these.
    pub(super) fn new(endpoints: Endpoints, has_ticks: bool) -> Self {
        Self {
            endpoints,
            has_ticks,
            before: None,
            tunnel: None,
            cut_off: false,
            links: Vec::new(),
            count: 0,
            names: None,
            attempts: Attempts::default(),
            nudges: false,
            due: None,
            due_at_tick: None,
            run: JoinSet::new(),
            is_looking: false,
            is_outdated: false,
            findings: Vec::new(),
        }
    }

    /// Takes what a pass has seen. Says whether the node is elsewhere, or back.
    pub(super) fn see(&mut self, view: &View) -> bool {
        let scene = &view.scene;
        if (&self.links, self.count) != (&scene.devices, scene.peers) {
            self.links.clone_from(&scene.devices);
            self.count = scene.peers;
            self.look_again();
        }
        if !view.is_connected() {
            self.cut_off = true;
            return false;
        }
        let cut_off = std::mem::take(&mut self.cut_off);
        let tunnel = std::mem::replace(&mut self.tunnel, scene.tunnel);
        let is_same = self.before == scene.place && tunnel == scene.tunnel;
        let moved = self.before.is_some() && (cut_off || !is_same);
        if !is_same {
            self.before.clone_from(&scene.place);
        }
        if (moved || cut_off) && !self.links.is_empty() {
            let now = Instant::now();
            // What could not be looked up where it was may resolve here.
            self.attempts.retry_now(now);
            self.nudges = moved;
            self.due = Some(now);
        }
        moved
    }

    /// Has names and devices read again.
    pub(super) fn look_again(&mut self) {
        (self.names, self.is_outdated) = (None, true);
        let (has_any, now) = (
            !self.links.is_empty() || !self.findings.is_empty(),
            Instant::now(),
        );
        self.attempts.retry_now(now);
        self.due = has_any.then_some(now);
    }

    /// Whether devices are to be read now that the agent is awake.
    pub(super) fn is_due(&self) -> bool {
        self.due_at_tick.is_some_and(|due| due <= Instant::now())
    }

    /// Takes devices that were read. Looks no name up while a recovery does.
    pub(super) fn take(&mut self, reading: Reading, is_recovering: bool) -> Need {
        let reading = Arc::new(reading);
        if std::mem::take(&mut self.nudges) {
            let (endpoints, links) = (self.endpoints.clone(), self.links.clone());
            let reading = Arc::clone(&reading);
            self.run.spawn(async move {
                match Netlink::connect() {
                    Ok(netlink) => Done::Nudged(endpoints.nudge(&netlink, &links, &reading).await),
                    Err(_) => Done::Nudged(0),
                }
            });
        }
        self.consider(reading, is_recovering);
        self.need()
    }

    fn consider(&mut self, reading: Arc<Reading>, is_recovering: bool) {
        (self.due, self.due_at_tick) = (None, None);
        let (now, now_unix) = (Instant::now(), observe::now_unix());
        let Some(names) = &self.names else {
            if !self.is_looking {
                self.look(reading, BTreeSet::new(), BTreeSet::new());
            }
            return;
        };
        let silent = silent_names(names, &reading, now_unix);
        self.attempts.update(&silent.into_keys().collect(), now);
        if !names.is_empty() {
            let next = next_stale(names, &reading, now_unix).map(Duration::from_secs);
            let next = now + next.unwrap_or(SELDOM).max(LEAST);
            match self.has_ticks {
                true => self.due_at_tick = Some(next),
                false => self.due = Some(next),
            }
        }
        if is_recovering || self.cut_off || self.is_looking {
            // They are looked at again when that has ended.
            return;
        }
        let (asked, turns) = self.attempts.begin(now);
        if !asked.is_empty() {
            return self.look(reading, asked, turns);
        }
        if let Some(due) = self.attempts.due() {
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
    }

    fn look(
        &mut self,
        reading: Arc<Reading>,
        asked: BTreeSet<EndpointName>,
        next: BTreeSet<EndpointName>,
    ) {
        (self.is_looking, self.is_outdated) = (true, false);
        let (endpoints, links) = (self.endpoints.clone(), self.links.clone());
        self.run.spawn(async move {
            // What the configuration says may have changed.
            let names = endpoints.names(&links).await;
            let mut found = LookedUp::default();
            if !asked.is_empty()
                && let Some(names) = &names
                && let Ok(netlink) = Netlink::connect()
            {
                let search = Search {
                    links: &links,
                    devices: &reading,
                    names,
                    only: Some(&asked),
                    next: &next,
                };
                found = endpoints.follow(&netlink, search).await;
            }
            Done::LookedUp {
                reading,
                names,
                asked,
                found,
            }
        });
    }

    /// Waits until there is something for the loop. Cancel safe.
    pub(super) async fn changed(&mut self, is_recovering: bool) -> Need {
        select! {
            // It never panics and is never aborted.
            Some(Ok(done)) = self.run.join_next(), if !self.run.is_empty() => {
                self.end(done, is_recovering)
            }
            () = until(self.due) => {
                self.due = None;
                if !self.links.is_empty() {
                    return Need::Reading;
                }
                self.attempts = Attempts::default();
                self.need()
            }
        }
    }

    fn end(&mut self, done: Done, is_recovering: bool) -> Need {
        match done {
            Done::Nudged(0) => {}
            Done::Nudged(count) => {
                tracing::debug!(event = "endpoint", "sent a packet to each of {count} peers");
            }
            Done::LookedUp {
                reading,
                names,
                asked,
                found,
            } => {
                let now = Instant::now();
                self.is_looking = false;
                self.attempts.record(&asked, found, now);
                if self.is_outdated {
                    self.due = Some(now);
                    return self.need();
                }
                self.names = names.or(self.names.take());
                match self.names {
                    Some(_) => self.consider(reading, is_recovering),
                    None => self.due = Some(now + SELDOM),
                }
            }
        }
        self.need()
    }

    fn need(&mut self) -> Need {
        let findings = self.attempts.findings();
        if self.findings == findings {
            return Need::Nothing;
        }
        self.findings = findings;
        Need::Pass
    }
}

#[cfg(test)]
mod tests;
