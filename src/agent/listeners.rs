//! Watches what listens at the ports of `[discovery]`.
//!
//! The kernel announces no listen(2), so there is a look at intervals, and none while
//! discovery is off. As long as no socket can have come or gone it asks for no list. What is
//! new is looked at a second time a moment later, before it counts: a socket that is gone by
//! then never becomes a forward.

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
    backoff::{Retry, until},
    config::{Backend, Discovery, Settings},
    model::{Code, Discovered, Finding, Listener, Mode, counted, some_of},
    observe::{self, Owner, Published, Question, RuleWatch, SocketWatch},
};

/// Between two looks: with [`CONFIRM`] a port is found within a second.
const INTERVAL: Duration = Duration::from_millis(800);
/// After a look that found something new, and after changed rules: an engine makes several
/// changes in a row.
const CONFIRM: Duration = Duration::from_millis(100);
/// Between two readings of the rules, however often they change.
const READINGS: Duration = Duration::from_millis(500);
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
    /// The same, for the kernel.
    question: Question,
    timer: Timer,
    /// When the look is due that confirms the last one.
    confirm: Option<Instant>,
    /// Whether sockets can have changed.
    watch: SocketWatch,
    /// Those of the last list; `None` where there is none.
    sockets: Option<BTreeMap<Listener, Owner>>,
    /// Announcements of changed rules.
    rules: Option<RuleWatch>,
    /// When rules are to be read that have changed since they were read.
    stale: Option<Instant>,
    /// When they were read.
    read: Option<Instant>,
    /// Why that failed, and when it is tried again.
    unread: Option<String>,
    retry: Retry,
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
    /// Why the last list failed.
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
        self.question = wanted.map(Question::new).unwrap_or_default();
        (self.confirm, self.busy, self.failure) = (None, false, None);
        let interval = wanted.map(|_| INTERVAL);
        match Timer::every(interval) {
            Ok(timer) => self.timer = timer,
            Err(error) => self.failure = Some(error.to_string()),
        }
        // Before the rules are read, so that no change is missed.
        let (reads, at) = (
            wanted.is_some_and(|wanted| wanted.containers),
            Instant::now(),
        );
        self.published.clear();
        self.retry.reset();
        (self.stale, self.read, self.rules) = (reads.then_some(at), None, None);
        self.unread = None;
        if reads {
            self.watch_rules();
        }
        (self.watch, self.sockets) = (SocketWatch::new(&self.question), None);
        if wanted.is_none() {
            self.found.clear();
        } else if let Some(now) = self.look(at) {
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
        let failed = self.failure.iter().chain(&self.unread);
        let failed = Vec::from_iter(failed.cloned()).join("; ");
        let failed = (!failed.is_empty()).then(|| Finding::new(Code::DiscoveryFailed, "", failed));
        let busy = self.busy.then(|| {
            let detail = format!(
                "more than {CHANGES} changes in a short time; now one every {} s is followed",
                EACH.as_secs()
            );
            Finding::new(Code::DiscoveryBusy, "", detail)
        });
        failed.into_iter().chain(busy)
    }

    /// Looks when it is time, until what counts changes. Cancel safe.
    pub(super) async fn changed(&mut self) {
        loop {
            let confirms = select! {
                () = self.timer.fired() => false,
                () = until(self.confirm) => true,
                () = until(self.stale) => false,
                // More changes until they are read mean nothing new.
                changed = rules_changed(&mut self.rules), if self.stale.is_none() => {
                    if changed.is_err() {
                        self.watch_rules();
                    }
                    self.rules_changed(Instant::now());
                    continue;
                }
            };
            if self.look_again(confirms, Instant::now()) {
                return;
            }
        }
    }

    /// The rules are read soon, but not again and again while they change.
    fn rules_changed(&mut self, at: Instant) {
        let due = self.read.map_or(at, |read| read + READINGS);
        self.stale.get_or_insert(due.max(at + CONFIRM));
    }

    /// Says whether what counts, or what is wrong, is now something else.
    fn look_again(&mut self, confirms: bool, at: Instant) -> bool {
        self.confirm = None;
        let before = (self.failure.take(), self.unread.clone());
        let now = self.look(at);
        let failures = (self.failure.clone(), self.unread.clone());
        let Some(now) = now else {
            return failures != before;
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
        self.busy != was_busy || failures != before
    }

    fn may_change(&self, at: Instant) -> bool {
        self.rested
            .is_none_or(|rested| rested <= at + (CHANGES - 1) * EACH)
    }

    fn watch_rules(&mut self) {
        // A kernel without nftables has neither rules nor announcements of them.
        self.rules = RuleWatch::subscribe().ok();
    }

    fn look(&mut self, at: Instant) -> Option<BTreeMap<Listener, Source>> {
        let Some(wanted) = &self.wanted else {
            return Some(BTreeMap::new());
        };
        if self.stale.is_some_and(|due| due <= at) {
            let published = observe::published(wanted);
            self.take_rules(published, at);
        }
        // Before the list, so that the next look notices what changes meanwhile.
        if self.watch.may_have_changed(at) {
            self.sockets = None;
        }
        if self.sockets.is_none() {
            match self.watch.list(&self.question) {
                Ok(sockets) => self.sockets = Some(sockets),
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
        let sockets = self.sockets.clone()?;
        Some(both(sockets, &self.published))
    }

    /// Takes a reading of the rules. After one that failed, those known before stay, and
    /// changes wait for the next attempt.
    fn take_rules(&mut self, published: io::Result<BTreeMap<Listener, Published>>, at: Instant) {
        self.read = Some(at);
        match published {
            Ok(published) => {
                self.retry.reset();
                (self.published, self.unread, self.stale) = (published, None, None);
            }
            Err(error) => {
                self.unread = Some(format!("the rules of netfilter: {error}"));
                self.stale = Some(self.retry.failed(at));
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
    let at = Instant::now();
    let mut once = Listeners {
        wanted: Some(wanted.clone()),
        question: Question::new(wanted),
        stale: wanted.containers.then_some(at),
        ..Listeners::default()
    };
    // Without an answer nothing is known to listen.
    let found = once.look(at).unwrap_or_default().into_iter();
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
