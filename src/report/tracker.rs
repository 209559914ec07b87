//! Which findings are new and which are over.

use std::collections::BTreeMap;

use crate::model::{Code, Finding, Subject};

/// The findings in force.
#[derive(Debug, Default)]
pub struct Tracker(BTreeMap<(Code, Subject), Finding>);

/// What an update changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that were not there before.
    pub raised: Vec<Finding>,
    /// Findings that are over.
    pub cleared: Vec<Finding>,
}

impl Tracker {
    /// Takes the findings of a pass. One that only has other words now is
    /// neither new nor over.
    pub fn update(&mut self, findings: impl IntoIterator<Item = Finding>) -> Changes {
        let now: BTreeMap<_, _> = findings
            .into_iter()
            .map(|finding| ((finding.code, finding.subject.clone()), finding))
            .collect();
        let raised = now
            .iter()
            .filter(|(key, _)| !self.0.contains_key(key))
            .map(|(_, finding)| finding.clone())
            .collect();
        let cleared = self
            .0
            .iter()
            .filter(|(key, _)| !now.contains_key(key))
            .map(|(_, finding)| finding.clone())
            .collect();
        self.0 = now;
        Changes { raised, cleared }
    }

    /// The findings in force, by code.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_thing_once() {
        let finding = |detail: &str| Finding::new(Code::NoAddress, "eth0", detail);
        let mut tracker = Tracker::default();
        assert_eq!(tracker.update([finding("a")]).raised.len(), 1);
        assert_eq!(tracker.update([finding("b")]), Changes::default());
        assert_eq!(tracker.findings().next().unwrap().detail, "b");
        assert_eq!(tracker.update([]).cleared, [finding("b")]);
    }
}
