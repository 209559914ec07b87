//! Which findings were raised and which cleared.

use std::collections::BTreeMap;

use crate::model::{Code, Finding, Severity, Subject, some_of};

type Key = (Code, Subject);
type Findings = BTreeMap<Key, Finding>;

/// Most findings of a code that are listed: a thousand forwards may lose their ports at once.
const MOST: usize = 20;
/// The subject of what is said of those that are not. No forward has such a name.
pub(super) const OTHERS: &str = "all others";

/// The findings in force.
#[derive(Debug, Default)]
pub struct Tracker {
    all: Findings,
    listed: Findings,
}

/// What an update changed of what is listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Findings that are new.
    pub raised: Vec<Finding>,
    /// Findings that cleared.
    pub cleared: Vec<Finding>,
}

impl Tracker {
    /// Takes the findings of a pass. One that only has other words now is neither raised
    /// nor cleared, nor is one raised that gets the place of another in the list.
    pub fn update(&mut self, findings: impl IntoIterator<Item = Finding>) -> Changes {
        let findings = findings.into_iter();
        let all: Findings = findings
            .map(|finding| ((finding.code, finding.subject.clone()), finding))
            .collect();
        let listed = listed(&all, &self.listed);
        let was = |key: &Key| self.listed.contains_key(key) || self.all.contains_key(key);
        let raised = listed.iter().filter(|(key, _)| !was(key));
        let before = self.listed.iter();
        let cleared = before.filter(|(key, _)| !listed.contains_key(*key));
        let changes = Changes {
            raised: raised.map(|(_, finding)| finding.clone()).collect(),
            cleared: cleared.map(|(_, finding)| finding.clone()).collect(),
        };
        (self.all, self.listed) = (all, listed);
        changes
    }

    /// The findings in force, by code.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.all.values()
    }

    /// At most 20 of each code, and one that counts the others of it.
    pub fn listed(&self) -> impl Iterator<Item = &Finding> {
        self.listed.values()
    }

    /// What the warnings and errors are about that are not listed, by code.
    #[must_use]
    pub fn unlisted(&self) -> BTreeMap<String, Vec<Subject>> {
        let mut unlisted = BTreeMap::<_, Vec<_>>::new();
        let all = self.all.iter();
        for ((code, subject), _) in all.filter(|(key, _)| !self.listed.contains_key(*key)) {
            if code.severity() > Severity::Info {
                let of_code = unlisted.entry(code.to_string()).or_default();
                of_code.push(subject.clone());
            }
        }
        unlisted
    }
}

/// What is listed of all findings, those first that were before.
fn listed(all: &Findings, before: &Findings) -> Findings {
    let mut of_code = BTreeMap::<Code, Vec<(&Key, &Finding)>>::new();
    for one in all {
        of_code.entry(one.0.0).or_default().push(one);
    }
    let mut listed = Findings::new();
    for (code, mut findings) in of_code {
        findings.sort_by_key(|(key, _)| !before.contains_key(*key));
        let others = findings.split_off(findings.len().min(MOST));
        let findings = findings.into_iter();
        listed.extend(findings.map(|(key, finding)| (key.clone(), finding.clone())));
        if !others.is_empty() {
            let count = others.len();
            let subjects = others.into_iter().map(|((_, subject), _)| subject.clone());
            let detail = format!("{count} more: {}", some_of(subjects));
            let others = Finding::new(code, OTHERS, detail);
            listed.insert((code, others.subject.clone()), others);
        }
    }
    listed
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

    fn lost(number: usize) -> Finding {
        Finding::new(Code::ForwardTaken, format!("f{number:03}"), "lost")
    }

    fn subjects(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|one| one.subject.as_str()).collect()
    }

    #[test]
    fn many_of_a_code_are_counted() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.update((0..MOST).map(lost)).raised.len(), MOST);
        assert!(tracker.unlisted().is_empty());
        let other = Finding::new(Code::ForwardChain, "chain", "info");
        let all = || (0..1_000).map(lost).chain([other.clone()]);
        let expected = "980 more: f020, f021, f022, f023, f024, and 975 more";
        let rest = Finding::new(Code::ForwardTaken, OTHERS, expected);
        let raised = tracker.update(all()).raised;
        assert!(raised.len() == 2 && raised.contains(&rest) && raised.contains(&other));
        assert_eq!(tracker.listed().count(), MOST + 2);
        assert_eq!(tracker.findings().count(), 1_001);
        let unlisted = tracker.unlisted();
        assert_eq!(unlisted.keys().collect::<Vec<_>>(), ["forward-taken"]);
        assert_eq!(unlisted["forward-taken"].len(), 980);
    }

    #[test]
    fn what_is_listed_stays() {
        let mut tracker = Tracker::default();
        tracker.update((100..200).map(lost));
        // New ones that come before them change nothing, nor does their order.
        assert_eq!(tracker.update((0..200).rev().map(lost)), Changes::default());
        // The place of one that cleared gets one that was in force already.
        let changes = tracker.update((0..200).filter(|one| *one != 105).map(lost));
        assert_eq!(
            (subjects(&changes.cleared), changes.raised),
            (vec!["f105"], vec![])
        );
        assert!(tracker.listed().any(|one| *one == lost(0)));
        let changes = tracker.update((0..MOST).map(lost));
        assert_eq!(changes.raised, []);
        assert_eq!(changes.cleared.len(), MOST);
        assert!(subjects(&changes.cleared).contains(&OTHERS));
        assert_eq!(tracker.listed().count(), MOST);
    }

    #[test]
    fn a_forward_called_others_is_its_own_finding() {
        let others = Finding::new(Code::ForwardTaken, "others", "lost");
        let mut tracker = Tracker::default();
        tracker.update((0..100).map(lost).chain([others]));
        let listed = |subject: &str| tracker.findings().any(|one| one.subject == subject);
        assert!(listed("others") && !crate::config::is_name(OTHERS));
    }
}
