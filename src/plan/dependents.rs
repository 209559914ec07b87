//! Whether dependents are to be notified of the address.

use std::net::Ipv4Addr;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// All know it.
    Nothing,
    /// The first address of this boot: none has read another one.
    First,
    /// Some know another address.
    Change {
        /// The address that all were notified of last, except for those notified in
        /// a run that was interrupted.
        old: Ipv4Addr,
    },
}

/// Decides for an address. `notified` is the one that all were notified of last or
/// found at boot; `others` are those of some since, in runs that were interrupted.
#[must_use]
pub fn due(
    notified: Option<Ipv4Addr>,
    others: impl IntoIterator<Item = Ipv4Addr>,
    now: Ipv4Addr,
) -> Due {
    match notified {
        None => Due::First,
        Some(old) if old != now || others.into_iter().any(|other| other != now) => {
            Due::Change { old }
        }
        Some(_) => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_due() {
        let address = |last| Ipv4Addr::new(172, 28, 16, last);
        let change = |old| Due::Change { old: address(old) };
        let table: [(_, &[u8], _, _); 9] = [
            (None, &[], 1, Due::First),
            (None, &[2], 1, Due::First),
            (Some(1), &[], 1, Due::Nothing),
            (Some(1), &[], 2, change(1)),
            // A run that was begun for 2, and not ended.
            (Some(1), &[2], 2, change(1)),
            (Some(1), &[2], 3, change(1)),
            (Some(1), &[2], 1, change(1)),
            // One more, for 3.
            (Some(1), &[2, 3], 3, change(1)),
            (Some(1), &[1, 1], 1, Due::Nothing),
        ];
        for (notified, others, now, expected) in table {
            let others = others.iter().copied().map(address);
            assert_eq!(
                due(notified.map(address), others, address(now)),
                expected,
                "{notified:?} {now}"
            );
        }
    }
}
