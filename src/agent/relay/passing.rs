//! What is over and stays to be seen for a while.

use std::time::Instant;

use crate::model::Finding;

/// Findings, each with the time when it goes.
#[derive(Debug, Default)]
pub(super) struct Passing(Vec<(Finding, Instant)>);

impl Passing {
    /// Adds one, or lets one of its kind stay longer with the new words. Says
    /// whether it is new.
    pub(super) fn add(&mut self, finding: Finding, until: Instant) -> bool {
        let alike = |(old, _): &&mut (Finding, Instant)| {
            (old.code, &old.subject) == (finding.code, &finding.subject)
        };
        match self.0.iter_mut().find(alike) {
            Some(old) => {
                *old = (finding, until);
                false
            }
            None => {
                self.0.push((finding, until));
                true
            }
        }
    }

    /// When the next one goes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    /// Lets those go whose time has come, and says whether there were any.
    pub(super) fn clear(&mut self, now: Instant) -> bool {
        let before = self.0.len();
        self.0.retain(|(_, until)| *until > now);
        self.0.len() < before
    }

    /// Those that are there.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().map(|(finding, _)| finding)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Code;

    #[test]
    fn stays_for_its_time_and_not_twice() {
        let (mut passing, now) = (Passing::default(), Instant::now());
        let second = Duration::from_secs(1);
        let finding = |text: &str| Finding::new(Code::RelayLimit, "wg", text);
        assert!(passing.add(finding("a"), now + second));
        assert!(!passing.add(finding("b"), now + 2 * second));
        assert!(!passing.clear(now + second));
        assert_eq!(passing.findings().collect::<Vec<_>>(), [&finding("b")]);
        assert_eq!(passing.due(), Some(now + 2 * second));
        assert!(passing.clear(now + 2 * second));
        assert_eq!((passing.findings().count(), passing.due()), (0, None));
    }
}
