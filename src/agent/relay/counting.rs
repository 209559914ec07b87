//! The relay's counters, which it is asked for on request.

use jiff::Timestamp;

use super::{State, Supervisor};
use wslmesh_relay::protocol::Command;

use crate::model::{Counted, CountedForward, Counters, RelayMemory};

impl Supervisor {
    /// Asks a relay that runs for its counters; its answer comes as news. Gives back
    /// the state of one that could not be asked.
    pub(in crate::agent) fn ask_counters(&mut self) -> Option<RelayMemory> {
        let State::Running { process, .. } = &mut self.state else {
            return None;
        };
        match process.send(&Command::GetCounters) {
            Ok(()) => {
                self.counting.asked = true;
                None
            }
            Err(error) => {
                self.fail(&error);
                Some(self.memory())
            }
        }
    }

    /// Takes its answer. Says whether it was asked.
    pub(super) fn counted(&mut self, forwards: Vec<Counters>) -> bool {
        let named = |counters: Counters| CountedForward {
            name: self.name_of(counters.listen),
            counters,
        };
        let forwards = forwards.into_iter().map(named);
        // A forward that was removed meanwhile has no name.
        let forwards = forwards.filter(|one| !one.name.is_empty()).collect();
        self.counting.answered(forwards)
    }
}

/// The last answer of the relay that runs.
#[derive(Debug, Default)]
pub(super) struct Counting {
    asked: bool,
    last: Option<Counted>,
}

impl Counting {
    /// Takes an answer; `false` for one without a question, which is ignored.
    fn answered(&mut self, forwards: Vec<CountedForward>) -> bool {
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
mod tests {
    use super::*;

    #[test]
    fn one_question_has_one_answer() {
        let mut counting = Counting::default();
        assert!(!counting.answered(Vec::new()));
        assert_eq!(counting.last(), None);
        counting.asked = true;
        assert!(counting.answered(Vec::new()));
        let taken = counting.last().unwrap().taken_unix_ms;
        assert!(taken > 1_700_000_000_000);
        assert!(!counting.answered(Vec::new()), "one question, one answer");
        counting.asked = true;
        assert!(counting.answered(Vec::new()));
        assert!(counting.last().unwrap().taken_unix_ms > taken);
    }
}
