//! The relay's counters, which it is asked for on request.

use jiff::Timestamp;

use crate::model::{Counted, CountedForward};

/// The last answer of the relay that runs.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) asked: bool,
    last: Option<Counted>,
}

impl Counting {
    /// Takes an answer; `false` for one without a question, which is ignored.
    pub(super) fn answered(&mut self, forwards: Vec<CountedForward>) -> bool {
        if !std::mem::take(&mut self.asked) {
            return false;
        }
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        // Each answer has a time of its own, by which it is known as a new one.
        let later = self.last.as_ref().map_or(0, |last| last.taken_unix_ms + 1);
        self.last = Some(Counted {
            taken_unix_ms: now.max(later),
            forwards,
        });
        true
    }

    pub(super) fn last(&self) -> Option<&Counted> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests;
