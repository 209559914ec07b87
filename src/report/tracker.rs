//! Which findings were raised and which cleared.

use std::collections::BTreeMap;

use crate::model::{Code, Finding, Subject};

type Findings = BTreeMap<(Code, Subject), Finding>;

/// The findings in force.
#[derive(Debug, Default)]
pub struct Tracker(Findings);

/// What an update changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that are new.
    pub raised: Vec<Finding>,
    /// Findings that cleared.
    pub cleared: Vec<Finding>,
}

impl Tracker {
    /// Takes the findings of a pass. One that only has other words now is
    /// neither raised nor cleared.
    pub fn update(&mut self, findings: impl IntoIterator<Item = Finding>) -> Changes {
        let findings = findings.into_iter();
        let now: Findings = findings
            .map(|finding| ((finding.code, finding.subject.clone()), finding))
            .collect();
        let missing_in = |these: &Findings, all: &Findings| {
            let missing = all.iter().filter(|(key, _)| !these.contains_key(key));
            missing.map(|(_, finding)| finding.clone()).collect()
        };
        let changes = Changes {
            raised: missing_in(&self.0, &now),
            cleared: missing_in(&now, &self.0),
        };
        self.0 = now;
        changes
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
