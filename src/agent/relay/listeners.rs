//! Where the relay listens, may listen, and cannot.

use wslmesh_relay::protocol::{Listen, Listener};

use crate::model::Failure;

/// What it was told and what it confirmed.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// The last orders that are not confirmed, with their numbers.
    told: Vec<(u64, Vec<Listen>)>,
    confirmed: Vec<Listen>,
    failed: Vec<(Listen, Failure)>,
    ever: bool,
}

impl Listeners {
    /// Notes an order.
    pub(super) fn told(&mut self, serial: u64, listens: Vec<Listen>) {
        self.told.push((serial, listens));
    }

    /// Takes the word that an order is in force. Says whether it was the last one.
    pub(super) fn confirmed(&mut self, serial: u64, listeners: &[Listener]) -> bool {
        let known = self.told.iter().any(|(told, _)| *told == serial);
        if !known {
            return false;
        }
        self.told.retain(|(told, _)| *told > serial);
        self.ever = true;
        let listens = listeners.iter().filter(|one| one.failure.is_none());
        self.confirmed = listens.map(|one| one.listen).collect();
        let failed = listeners.iter();
        self.failed = failed
            .filter_map(|one| Some((one.listen, one.failure?)))
            .collect();
        self.told.is_empty()
    }

    /// Whether the last order is in force.
    pub(super) fn applied(&self) -> bool {
        self.ever && self.told.is_empty()
    }

    /// Where it listens or may listen.
    pub(super) fn listening(&self) -> Vec<Listen> {
        let mut all = self.confirmed.clone();
        all.extend(self.told.iter().flat_map(|(_, listens)| listens));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Where it cannot listen, as it said last.
    pub(super) fn failed(&self) -> &[(Listen, Failure)] {
        &self.failed
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use wslmesh_relay::protocol::{FailureKind, Protocol};

    fn listen(port: u16) -> Listen {
        Listen {
            protocol: Protocol::Udp,
            listen_address: [0, 0, 0, 0].into(),
            listen_port: NonZeroU16::new(port).unwrap(),
        }
    }

    #[test]
    fn what_was_told_may_listen_until_a_later_word() {
        let mut listeners = Listeners::default();
        assert!(!listeners.applied());
        listeners.told(1, vec![listen(1), listen(2)]);
        listeners.told(2, vec![listen(2), listen(3)]);
        assert_eq!(listeners.listening(), [listen(1), listen(2), listen(3)]);
        let fine = |port| Listener {
            listen: listen(port),
            failure: None,
        };
        assert!(!listeners.confirmed(1, &[fine(1), fine(2)]));
        assert!(!listeners.applied());
        assert_eq!(listeners.listening(), [listen(1), listen(2), listen(3)]);
        let failure = Failure {
            kind: FailureKind::InUse,
            code: 98,
        };
        let taken = Listener {
            listen: listen(3),
            failure: Some(failure),
        };
        assert!(listeners.confirmed(2, &[fine(2), taken]));
        assert!(listeners.applied());
        assert_eq!(listeners.listening(), [listen(2)]);
        assert_eq!(listeners.failed(), [(listen(3), failure)]);
        assert!(!listeners.confirmed(7, &[]), "nobody told it that");
        assert_eq!(listeners.listening(), [listen(2)]);
    }
}
