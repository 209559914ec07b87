//! What the relay reported: its listeners, its counters, and findings that expire.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::Timestamp;
use wslmesh_relay::protocol::{Listen, Listener};

use crate::model::{Counted, CountedForward, Counters, Failure, Finding, Listens, RelaySet};

/// The listeners that were sent and confirmed.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Of commands that are not confirmed, with their numbers and when they were sent.
    unconfirmed: Vec<(u64, Instant, Vec<Listen>)>,
    confirmed: Option<Vec<Listen>>,
    failed: BTreeMap<Listen, Failure>,
    ipv4_alone: BTreeSet<Listen>,
}

impl Listeners {
    /// Notes the listeners of a command.
    pub(super) fn sent(&mut self, serial: u64, at: Instant, listens: Vec<Listen>) {
        self.unconfirmed.push((serial, at, listens));
    }

    /// When the oldest command was sent that is not confirmed.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.unconfirmed.first().map(|(_, at, _)| *at)
    }

    /// Notes that a command is in force. Returns whether it was the last one.
    pub(super) fn confirmed(&mut self, serial: u64, listeners: &[Listener]) -> bool {
        if !self.unconfirmed.iter().any(|(sent, ..)| *sent == serial) {
            return false;
        }
        self.unconfirmed.retain(|(sent, ..)| *sent > serial);
        let listening = listeners.iter().filter(|one| one.failure.is_none());
        self.confirmed = Some(listening.map(|one| one.listen).collect());
        let failed = listeners
            .iter()
            .filter_map(|one| Some((one.listen, one.failure?)));
        self.failed = failed.collect();
        let alone = listeners.iter().filter(|one| one.ipv4_alone);
        self.ipv4_alone = alone.map(|one| one.listen).collect();
        self.unconfirmed.is_empty()
    }

    /// Whether the last command is in force.
    pub(super) fn applied(&self) -> bool {
        self.confirmed.is_some() && self.unconfirmed.is_empty()
    }

    /// Where it listens or may listen.
    pub(super) fn listening(&self) -> Listens {
        let unconfirmed = self.unconfirmed.iter().map(|(.., listens)| listens);
        let all = self.confirmed.iter().chain(unconfirmed).flatten();
        all.copied().collect()
    }

    /// Where it cannot listen, as of its last confirmation.
    pub(super) fn failed(&self) -> &BTreeMap<Listen, Failure> {
        &self.failed
    }

    /// Where it was to take both families and takes IPv4 alone, as of its last confirmation.
    pub(super) fn ipv4_alone(&self) -> &BTreeSet<Listen> {
        &self.ipv4_alone
    }
}

/// Findings about single events, each with the time when it is cleared.
#[derive(Debug, Default)]
pub(super) struct TransientFindings(Vec<(Finding, Instant)>);

impl TransientFindings {
    /// Adds a finding, or replaces that with the same code and subject. Returns
    /// whether it is new.
    pub(super) fn add(&mut self, finding: Finding, until: Instant) -> bool {
        let same = |(old, _): &&mut (Finding, Instant)| {
            (old.code, &old.subject) == (finding.code, &finding.subject)
        };
        if let Some(old) = self.0.iter_mut().find(same) {
            *old = (finding, until);
            return false;
        }
        self.0.push((finding, until));
        true
    }

    /// When the next one is cleared.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    /// Clears those that have expired, and returns whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        self.0.extract_if(.., |(_, until)| *until <= now).count() > 0
    }

    /// The current ones.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().map(|(finding, _)| finding)
    }
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// The last answer of the relay that runs.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) asked: bool,
    pub(super) last: Option<Counted>,
}

impl Counting {
    /// Takes an answer; `false` for one without a question, which is ignored. That of several
    /// ports is their sum. A forward that was removed meanwhile has no name.
    pub(super) fn answered(&mut self, wanted: Option<&RelaySet>, answer: &[Counters]) -> bool {
        if !std::mem::take(&mut self.asked) {
            return false;
        }
        let wanted = wanted.into_iter().flat_map(|set| &set.forwards);
        let mut counters: BTreeMap<Listen, Counters> =
            answer.iter().map(|one| (one.listen, *one)).collect();
        let (mut forwards, mut places) = (Vec::<CountedForward>::new(), BTreeMap::new());
        for (name, forward) in wanted {
            let Some(counters) = counters.remove(&forward.listen) else {
                continue;
            };
            let place = *places.entry(name).or_insert(forwards.len());
            match forwards.get_mut(place) {
                None => forwards.push(CountedForward {
                    name: name.clone(),
                    counters,
                }),
                Some(sum) => add(&mut sum.counters, &counters),
            }
        }
        let now = unix_ms();
        // Each answer has a time of its own, by which it is known as a new one.
        let later = self.last.as_ref().map_or(0, |last| last.taken_unix_ms + 1);
        self.last = Some(Counted {
            taken_unix_ms: now.max(later),
            forwards,
        });
        true
    }
}

/// Adds what another port counted, as far as the numbers go: they are another process's.
fn add(sum: &mut Counters, other: &Counters) {
    sum.active = sum.active.saturating_add(other.active);
    sum.opened = sum.opened.saturating_add(other.opened);
    sum.failed = sum.failed.saturating_add(other.failed);
    sum.refused = sum.refused.saturating_add(other.refused);
    sum.bytes_in = sum.bytes_in.saturating_add(other.bytes_in);
    sum.bytes_out = sum.bytes_out.saturating_add(other.bytes_out);
}

#[cfg(test)]
mod tests;
