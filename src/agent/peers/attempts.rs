//! When the names of silent peers are looked up: each on its own, less and less often, and
//! few at a time however many peers went silent at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    agent::endpoints::{LookedUp, NAMES},
    backoff::Retry,
    model::{Code, EndpointName, Finding},
};

/// Until a name is looked up again, doubling to 5 min.
const FIRST: Duration = Duration::from_secs(5);

/// From one set of look-ups to the next: a thousand names take half a minute.
const BETWEEN: Duration = Duration::from_secs(1);

/// How long a peer has to answer from an address before the next one has its turn:
/// WireGuard begins a handshake every 5 s.
const TURN: Duration = Duration::from_secs(10);

/// Look-ups in a row that have to fail: a name server that starts late is no finding.
const FAILURES: u32 = 2;

impl Attempt {
    fn due(now: Instant) -> Self {
        let mut retry = Retry::starting_at(FIRST);
        retry.due = Some(now);
        Self {
            retry,
            since: None,
            failed: (0, String::new()),
        }
    }
}

/// Names whose peers are silent.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    names: BTreeMap<EndpointName, Attempt>,
    /// When the last set of look-ups began.
    last: Option<Instant>,
}

/// One of them.
#[derive(Debug)]
struct Attempt {
    retry: Retry,
    /// When its peers got the address that they have now; `None` where they had it when they
    /// went silent.
    since: Option<Instant>,
    /// How many look-ups in a row failed, and why.
    failed: (u32, String),
}

impl Attempts {
    /// Takes the names whose peers are silent now.
    pub(super) fn update(&mut self, silent: &BTreeSet<&EndpointName>, now: Instant) {
        self.names.retain(|name, _| silent.contains(name));
        for name in silent {
            if !self.names.contains_key(*name) {
                self.names.insert((*name).clone(), Attempt::due(now));
            }
        }
    }

    /// Has the waiting names looked up as if their peers went silent now.
    pub(super) fn retry_now(&mut self, now: Instant) {
        for one in self.names.values_mut() {
            if one.retry.due.is_some() {
                one.retry.reset();
                one.retry.due = Some(now);
            }
        }
    }

    /// When the next look-up is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.names.values().filter_map(|one| one.retry.due).min()?;
        Some(self.last.map_or(due, |last| due.max(last + BETWEEN)))
    }

    /// The names that are to be looked up now, and those of them of which the next address
    /// has its turn.
    pub(super) fn begin(
        &mut self,
        now: Instant,
    ) -> (BTreeSet<EndpointName>, BTreeSet<EndpointName>) {
        let (mut asked, mut next) = (BTreeSet::new(), BTreeSet::new());
        if self.due().is_none_or(|due| due > now) {
            return (asked, next);
        }
        let mut due: Vec<_> = self.names.iter_mut().collect();
        due.retain(|(_, one)| one.retry.due.is_some_and(|due| due <= now));
        due.sort_by_key(|(_, one)| one.retry.due);
        for (name, one) in due.into_iter().take(NAMES) {
            one.retry.due = None;
            let had_time = one
                .since
                .is_none_or(|since| now.duration_since(since) >= TURN);
            if one.retry.failures > 0 && had_time {
                next.insert(name.clone());
            }
            asked.insert(name.clone());
        }
        self.last = Some(now);
        (asked, next)
    }

    /// Takes what came of look-ups, and schedules the next ones.
    pub(super) fn record(&mut self, asked: &BTreeSet<EndpointName>, found: LookedUp, now: Instant) {
        for name in asked {
            let Some(one) = self.names.get_mut(name) else {
                continue;
            };
            if found.moved.contains_key(name) {
                one.since = Some(now);
            }
            match found.failed.get(name) {
                Some(why) => one.failed = (one.failed.0.saturating_add(1), why.clone()),
                None => one.failed.0 = 0,
            }
            one.retry.failed(now);
        }
    }

    /// Names that cannot be looked up.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let failed = self.names.iter().filter_map(|(name, one)| {
            let (times, why) = &one.failed;
            let finding = || Finding::new(Code::EndpointUnresolved, &name.host, why);
            (*times >= FAILURES).then(finding)
        });
        failed.collect()
    }
}

#[cfg(test)]
mod tests;
