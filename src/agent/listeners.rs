//! Watches what listens at the ports of `[discovery]`.
//!
//! The kernel announces no listen(2), so it is asked at intervals, and not at all while
//! discovery is off. What it lists is asked for a second time a moment later, before it
//! counts: a socket that is gone by then never becomes a forward.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    path::Path,
    time::{Duration, Instant},
};

use tokio::select;

use super::timer::Timer;
use crate::{
    backoff::until,
    config::{Backend, Discovery, Settings},
    model::{Code, Discovered, Finding, Listener, Mode, counted, some_of},
    observe::{self, Owner, Published, RuleWatch},
};

/// Between two looks. With [`CONFIRM`] a port is found within 0.6 s (docs/benchmarks.md has
/// what the looks cost).
const INTERVAL: Duration = Duration::from_millis(500);
/// After a look that found something new.
const CONFIRM: Duration = Duration::from_millis(100);
/// Changes that are taken at once, and the time until one more is: each may be a call to
/// Windows.
const CHANGES: u32 = 12;
const EACH: Duration = Duration::from_secs(5);

/// What makes a port count.
#[derive(Debug, Clone)]
enum Source {
    Socket(Owner),
    /// A rule that passes packets on, which is announced, so that it counts at once.
    Rule(Published),
}

/// What listens, as far as it was looked for.
#[derive(Default)]
pub(super) struct Listeners {
    /// What to look for; `None` where discovery is off.
    wanted: Option<Discovery>,
    timer: Timer,
    /// When the look is due that confirms the last one.
    confirm: Option<Instant>,
    /// Announcements of changed rules.
    rules: Option<RuleWatch>,
    /// Whether rules have changed since they were read.
    stale: bool,
    /// What rules pass on.
    published: BTreeMap<Listener, Published>,
    /// What was there at the last look.
    last: BTreeMap<Listener, Source>,
    /// What counts, in the order in which it was found.
    found: Vec<Discovered>,
    /// When as many changes may be taken at once as at first.
    rested: Option<Instant>,
    /// Whether changes wait.
    busy: bool,
    /// Why the last look failed.
    failure: Option<String>,
}

impl Listeners {
    /// Looks for what these settings want from now on. What is there already counts at
    /// once: forwards that another agent had made for it go on.
    pub(super) fn follow(&mut self, settings: &Settings, mode: Option<Mode>) {
        let wanted = wanted(settings, mode);
        if self.wanted.as_ref() == wanted {
            return;
        }
        self.wanted = wanted.cloned();
        (self.confirm, self.busy, self.failure) = (None, false, None);
        let interval = wanted.map(|_| INTERVAL);
        match Timer::every(interval) {
            Ok(timer) => self.timer = timer,
            Err(error) => self.failure = Some(error.to_string()),
        }
        // Before the rules are read, so that no change is missed.
        let reads = wanted.is_some_and(|wanted| wanted.containers);
        self.published.clear();
        (self.stale, self.rules) = (reads, None);
        if reads {
            self.watch_rules();
        }
        if wanted.is_none() {
            self.found.clear();
        } else if let Some(now) = self.look() {
            self.last.clone_from(&now);
            self.take(now);
        }
    }

    /// What counts now.
    pub(super) fn found(&self) -> &[Discovered] {
        &self.found
    }

    /// What is wrong with looking.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        let failed = self.failure.iter();
        let failed = failed.map(|why| Finding::new(Code::DiscoveryFailed, "", why.clone()));
        let busy = self.busy.then(|| {
            let detail = format!(
                "more than {CHANGES} changes in a short time; now one every {} s is followed",
                EACH.as_secs()
            );
            Finding::new(Code::DiscoveryBusy, "", detail)
        });
        failed.chain(busy)
    }

    /// Looks when it is time, until what counts changes. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            let confirms = select! {
                () = self.timer.fired() => false,
                () = until(self.confirm) => true,
                changed = rules_changed(&mut self.rules) => {
                    if changed.is_err() {
                        self.watch_rules();
                    }
                    // An engine makes several changes in a row.
                    self.stale = true;
                    self.confirm.get_or_insert(Instant::now() + CONFIRM);
                    continue;
                }
            };
            if self.look_again(confirms, Instant::now()) {
                return;
            }
        }
    }

    /// Says whether what counts, or what is wrong, is now something else.
    fn look_again(&mut self, confirms: bool, at: Instant) -> bool {
        self.confirm = None;
        let before = self.failure.take();
        let Some(now) = self.look() else {
            return self.failure != before;
        };
        let last = std::mem::replace(&mut self.last, now);
        let counting: BTreeSet<Listener> = self.found.iter().map(|one| one.at).collect();
        let is_new = |(at, source): &(&Listener, &Source)| {
            let is_socket = matches!(source, Source::Socket(_));
            is_socket && !counting.contains(at) && !last.contains_key(at)
        };
        // One look more for those that are new; in a flood no more than that.
        if !confirms && self.last.iter().any(|one| is_new(&one)) {
            self.confirm = Some(at + CONFIRM);
        }
        let now = self.last.iter().filter(|one| !is_new(one));
        let now: BTreeMap<Listener, Source> = now.map(|(at, one)| (*at, one.clone())).collect();
        let same = now.keys().eq(&counting);
        let was_busy = self.busy;
        self.busy = !same && !self.may_change(at);
        if !same && !self.busy {
            self.rested = Some(self.rested.unwrap_or(at).max(at) + EACH);
            self.take(now);
            return true;
        }
        self.busy != was_busy || self.failure != before
    }

    fn may_change(&self, at: Instant) -> bool {
        self.rested
            .is_none_or(|rested| rested <= at + (CHANGES - 1) * EACH)
    }

    fn watch_rules(&mut self) {
        // A kernel without nftables has neither rules nor announcements of them.
        self.rules = RuleWatch::subscribe().ok();
    }

    fn look(&mut self) -> Option<BTreeMap<Listener, Source>> {
        let Some(wanted) = &self.wanted else {
            return Some(BTreeMap::new());
        };
        if self.stale {
            match observe::published(wanted) {
                Ok(published) => (self.published, self.stale) = (published, false),
                // Those known before stay, and it is tried again at the next look.
                Err(error) => self.failure = Some(format!("the rules of netfilter: {error}")),
            }
        }
        match observe::listeners(wanted) {
            Ok(sockets) => Some(both(sockets, &self.published)),
            Err(error) => {
                self.failure = Some(error.to_string());
                None
            }
        }
    }

    /// Has these count, and writes what is new and what ended to the journal.
    fn take(&mut self, now: BTreeMap<Listener, Source>) {
        let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.found)
            .into_iter()
            .partition(|one| now.contains_key(&one.at));
        let known: BTreeSet<Listener> = kept.iter().map(|one| one.at).collect();
        let new = now.into_iter().filter(|(at, _)| !known.contains(at));
        let new: Vec<(Listener, Source)> = new.collect();
        let owners = new.iter().filter_map(|(_, source)| match source {
            Source::Socket(owner) => Some(*owner),
            Source::Rule(_) => None,
        });
        let names = observe::owners(Path::new("/"), &owners.collect());
        let new = new.into_iter().map(|(at, source)| match source {
            Source::Socket(owner) => Discovered {
                at,
                by: names.get(&owner).cloned().unwrap_or_default(),
                to: None,
            },
            Source::Rule(Published { by, to }) => Discovered { at, by, to },
        });
        let new: Vec<Discovered> = new.collect();
        let line = |what: &str, all: &[Discovered]| {
            let shown = some_of(all.iter().map(ToString::to_string));
            let count = counted(all.len(), "port");
            (!all.is_empty()).then(|| format!("{count} {what}: {shown}"))
        };
        let lines = [line("opened", &new), line("closed", &ended)];
        let line = Vec::from_iter(lines.into_iter().flatten()).join("; ");
        if !line.is_empty() {
            tracing::info!(event = "discovery", "{line}");
        }
        self.found = kept;
        self.found.extend(new);
    }
}

/// The settings' discovery, where it is on and its forwards are served.
fn wanted(settings: &Settings, mode: Option<Mode>) -> Option<&Discovery> {
    let is_served = settings.backend != Backend::None && mode != Some(Mode::NotWsl);
    Some(&settings.discovery).filter(|discovery| is_served && discovery.is_on())
}

/// What listens now, for a pass by hand.
pub(super) fn now(settings: &Settings, mode: Option<Mode>) -> Vec<Discovered> {
    let Some(wanted) = wanted(settings, mode) else {
        return Vec::new();
    };
    let mut once = Listeners {
        wanted: Some(wanted.clone()),
        stale: wanted.containers,
        ..Listeners::default()
    };
    // Without an answer nothing is known to listen.
    let found = once.look().unwrap_or_default().into_iter();
    let discovered = found.map(|(at, source)| match source {
        Source::Socket(_) => (at, String::new(), None),
        Source::Rule(Published { by, to }) => (at, by, to),
    });
    (discovered.map(|(at, by, to)| Discovered { at, by, to })).collect()
}

/// Sockets and rules; where there are both, as with Docker's userland proxy, it is the rule.
fn both(
    sockets: BTreeMap<Listener, Owner>,
    published: &BTreeMap<Listener, Published>,
) -> BTreeMap<Listener, Source> {
    let sockets = sockets.into_iter();
    let sockets = sockets.map(|(at, owner)| (at, Source::Socket(owner)));
    let rules = published.iter();
    let rules = rules.map(|(at, rule)| (*at, Source::Rule(rule.clone())));
    sockets.chain(rules).collect()
}

/// Waits for changed rules, where they are announced.
async fn rules_changed(rules: &mut Option<RuleWatch>) -> io::Result<()> {
    match rules {
        Some(rules) => rules.changed().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
